"""Print what a program is to read: values as indented JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from vedette.terminal import out

__all__ = ["json_text", "out_json"]


def json_text(value: Any) -> str:
    """Return a value as indented JSON, without a line break at the end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def out_json(value: Any) -> None:
    """Print a value as indented JSON."""
    out(json_text(value))
