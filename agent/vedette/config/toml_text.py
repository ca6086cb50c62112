"""Write plain values as TOML text."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["toml_key", "toml_lines", "toml_value"]

WIDTH = 98

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(*parts: str) -> str:
    """Return a dotted key, quoting the parts that need it."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else _string(part) for part in parts)


def toml_value(value: Any) -> str:
    """Return a value on one line.

    Takes what TOML can say (text, bool, number, date, time, sequence, mapping) and raises
    ``TypeError`` for anything else.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{toml_key(str(key))} = {toml_value(v)}" for key, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    raise TypeError(f"TOML has no form for a {type(value).__name__}")


def toml_lines(key: str, value: Any) -> list[str]:
    """Return ``key = value``; a list of tables, or one that is long, takes several lines."""
    line = f"{toml_key(key)} = {toml_value(value)}"
    if not isinstance(value, list | tuple) or not value:
        return [line]
    entries = [f"{toml_value(item)}," for item in value]
    if not all(isinstance(item, Mapping) for item in value):
        if len(line) <= WIDTH:
            return [line]
        entries = _filled(entries)
    return [f"{toml_key(key)} = [", *(f"    {entry}" for entry in entries), "]"]


def _filled(words: Sequence[str]) -> list[str]:
    """Join words into lines of bearable width."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH - 6:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def _string(text: str) -> str:
    # A JSON string is a TOML basic string but for DEL, which TOML wants escaped, and for lone
    # surrogates, which neither may carry.
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007f")
