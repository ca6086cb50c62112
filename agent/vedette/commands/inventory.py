"""Show what this host is made of, the way the agent would send it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import groupby

from vedette.api import Host
from vedette.commands.json_text import out_json
from vedette.commands.loading import loaded
from vedette.inventory import gather
from vedette.terminal import hanging, number, out, paint, size

__all__ = ["inventory"]


def inventory(options: argparse.Namespace) -> int:
    """Ask every plugin and print what they know."""
    registry = loaded(options.config).registry
    found = gather(registry.ask("describe_host", host=Host()))
    if options.json:
        out_json(found)
        return 0
    for kind, items in groupby(found.items, lambda one: one.kind):
        out(paint(kind, "bold"))
        for item in items:
            out(hanging(_facts(item.facts), 4, f"  {item.name}  "))
    out()
    out(f"{len(found.items)} items, digest {found.digest}")
    return 0


def _facts(facts: Mapping[str, str | float | bool]) -> str:
    return ", ".join(f"{key} {_value(key, value)}" for key, value in facts.items())


def _value(key: str, value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return size(value) if key.endswith(("size", "bytes", "total")) else number(float(value))
