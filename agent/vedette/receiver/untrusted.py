"""Make plain values of what came from the network: types are checked, texts cut, lists bounded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from vedette.receiver.batch import INTEGER_MAX
from vedette.receiver.limits import DEPTH_MAX, ITEMS_MAX, KEY_MAX, VALUES_MAX, clip

_T = TypeVar("_T")


def attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return OTLP attributes as plain values, the first 256 of them; a repeated key: the last."""
    return _pairs(pairs, 0)


def _pairs(pairs: Iterable[Any], depth: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        values[distinct(pair.key, KEY_MAX)] = _value(pair.value, depth)
        if len(values) >= ITEMS_MAX:
            break
    return values


def _value(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return clip(value.string_value)
    if kind is None or depth > DEPTH_MAX:
        return None
    if kind == "array_value":
        return [_value(item, depth + 1) for item in value.array_value.values[:VALUES_MAX]]
    if kind == "kvlist_value":
        return _pairs(value.kvlist_value.values, depth + 1)
    if kind == "bytes_value":
        return value.bytes_value[:KEY_MAX].hex()
    return getattr(value, kind)


def distinct(text: str, size: int) -> str:
    """Return a text of at most ``size`` characters; two long ones never become the same."""
    if len(text) <= size:
        return text
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    return f"{text[: size - 17]}-{digest}"


def text_of(value: Any) -> str:
    """Return a text or a number as text, else nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return ""


def texts_of(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, the first 256."""
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value[:ITEMS_MAX] if isinstance(item, str))


def mapping_of(value: Any) -> dict[str, str]:
    """Return a mapping's values as texts."""
    if not isinstance(value, dict):
        return {}
    return {key: text_of(item) for key, item in value.items()}


def integer_of(value: Any) -> int | None:
    """Return a whole number from 0 that SQLite can keep, None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return int(value) if 0 <= value <= INTEGER_MAX else None


def real_of(value: Any) -> float | None:
    """Return a finite number, None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def each_of(
    value: Any, build: Callable[[dict[str, Any]], _T | None], most: int = ITEMS_MAX
) -> tuple[_T, ...]:
    """Build one thing per kvlist of an array, leaving out what is none."""
    items = value[:most] if isinstance(value, list) else []
    built = (build(item) for item in items if isinstance(item, dict))
    return tuple(item for item in built if item is not None)
