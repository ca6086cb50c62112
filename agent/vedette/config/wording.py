"""Say in words where a configuration value stands, what it may be and what was found instead."""

from __future__ import annotations

import math
import re
from typing import Any

from msgspec import inspect

from vedette.api import Duration, Secret, Size
from vedette.config.toml_positions import Path
from vedette.config.toml_text import toml_key
from vedette.config.units import Share

__all__ = ["accepted", "found", "label", "section"]

_SHOWN_TEXT = 40
_SHOWN_NUMBER = 10**30
#: Keys whose values are not repeated in a message, whatever their type.
_SENSITIVE = re.compile(r"token|secret|passw|credential|auth|header|api_?key", re.IGNORECASE)

_OWN = {
    Duration: "a duration such as '10s'",
    Size: "a size such as '64MiB'",
    Share: "a share such as '2%' or 'off'",
    Secret: "{ file = ... } or { env = ... }",
}
_PLAIN: dict[type, str] = {
    inspect.AnyType: "anything",
    inspect.BoolType: "true or false",
    inspect.DateTimeType: "a date with time",
    inspect.DateType: "a date",
    inspect.TimeType: "a time of day",
    inspect.DictType: "a table",
    inspect.StructType: "a table",
}


def section(path: Path) -> str:
    """Name a table: ``[agent.labels]``, ``[[detectors.level.rules]] number 2``.

    An element of an array is told by its number, counted from 1.
    """
    numbers = [position for position, part in enumerate(path) if isinstance(part, int)]
    if not numbers:
        return f"[{_dotted(path)}]" if path else "the file"
    last = numbers[-1]
    element = f"[[{_dotted(path[:last])}]] number {int(path[last]) + 1}"
    return f"{element} '{_dotted(path[last + 1 :])}'" if path[last + 1 :] else element


def label(path: Path) -> str:
    """Name a key: ``[agent] 'interval'``, ``[agent] 'disable' number 2``."""
    *parent, key = path
    if isinstance(key, int):
        return f"{label(tuple(parent))} number {key + 1}"
    return f"{section(tuple(parent))} {key!r}" if parent else repr(key)


def _dotted(path: Path) -> str:
    return toml_key(*(part for part in path if isinstance(part, str)))


def found(value: Any, path: Path, type_: Any = None) -> str:
    """Name a value that does not fit; never one that may be a secret."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    sensitive = type_ is Secret or any(_SENSITIVE.search(str(part)) for part in path[-2:])
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN_TEXT else value[:_SHOWN_TEXT] + "…"
        return "a text" if sensitive else f"the text {short!r}"
    if isinstance(value, int | float):
        if sensitive or _SHOWN_NUMBER < abs(value) < math.inf:
            return "a number"
        return f"the number {value}"
    return f"a {type(value).__name__}"


def accepted(type_: Any) -> str:
    """Say what values a type takes: ``a whole number of at least 1``."""
    return _accepted(inspect.type_info(type_))


def _accepted(info: inspect.Type) -> str:
    if isinstance(info, inspect.Metadata):
        return _accepted(info.type)
    if isinstance(info, inspect.CustomType):
        return _OWN.get(info.cls, f"a {info.cls.__name__}")
    if isinstance(info, inspect.IntType | inspect.FloatType):
        kind = "a whole number" if isinstance(info, inspect.IntType) else "a number"
        return kind + _range(info)
    if isinstance(info, inspect.StrType):
        return "a text" + (f" matching {info.pattern}" if info.pattern else _length(info))
    if isinstance(info, inspect.LiteralType | inspect.EnumType):
        values = info.values if isinstance(info, inspect.LiteralType) else info.cls
        return "one of " + ", ".join(repr(getattr(value, "value", value)) for value in values)
    if isinstance(info, inspect.UnionType):
        parts = [part for part in info.types if not isinstance(part, inspect.NoneType)]
        return " or ".join(_accepted(part) for part in parts)
    if isinstance(info, inspect.TupleType):
        return f"a list of {len(info.item_types)} values"
    if isinstance(
        info, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType
    ):
        return "a list, each entry " + _accepted(info.item_type)
    return _PLAIN.get(type(info), "another type")


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f" from {info.ge} to {info.le}"
    bounds = [
        (info.ge, "of at least"),
        (info.gt, "above"),
        (info.le, "of at most"),
        (info.lt, "below"),
        (info.multiple_of, "that is a multiple of"),
    ]
    words = [f" {word} {bound}" for bound, word in bounds if bound is not None]
    return " and".join(words)


def _length(info: inspect.StrType) -> str:
    if info.min_length:
        return f" of at least {info.min_length} characters"
    return f" of at most {info.max_length} characters" if info.max_length is not None else ""
