"""One inference as it is read from a log: what was asked, what was answered, what proved true.

Of values that are no scalar: a mapping is laid flat (``address.city``), a short list of scalars
gets a field each (``x[0]``), of a long list of numbers mean and deviation are kept, of any other
its length alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Row", "flat", "into"]

DEPTH_MAX, LIST_MAX = 4, 64
#: Numbers of a long list that are looked at.
LOOK = 4_096
SCALARS = frozenset({float, int, bool, str, type(None)})


class Row(msgspec.Struct, gc=False):
    """One inference, or a part of one that is told in a line of its own.

    ``fields`` is what was asked. ``part`` says that the rest comes in another line with the same
    ``id``: a ``request``, its ``response``, or the ``label`` that proved true.
    """

    model: str = ""
    id: str = ""
    fields: dict[str, Any] = {}
    prediction: Any = None
    score: float | None = None
    label: Any = None
    part: str = ""


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with scalars alone, and lists whose length is what counts."""
    if SCALARS.issuperset(map(type, values.values())):
        return dict(values)
    found: dict[str, Any] = {}
    for name, value in values.items():
        into(found, str(name), value)
    return found


def into(found: dict[str, Any], name: str, value: Any, depth: int = 0) -> None:
    """Put a value of JSON under a name, laid flat."""
    if isinstance(value, dict):
        if depth < DEPTH_MAX:
            for key, inner in value.items():
                into(found, f"{name}.{key}" if name else str(key), inner, depth + 1)
        return
    if not isinstance(value, list):
        found[name] = value
        return
    if len(value) <= LIST_MAX and SCALARS.issuperset(map(type, value)):
        for at, inner in enumerate(value):
            found[f"{name}[{at}]"] = inner
        return
    numbers = _numbers(value, [])
    if numbers:
        mean = math.fsum(numbers) / len(numbers)
        found[f"{name}.mean"] = mean
        square = math.fsum((one - mean) ** 2 for one in numbers) / len(numbers)
        found[f"{name}.deviation"] = math.sqrt(square)
    else:
        found[name] = value


def _numbers(value: list[Any], found: list[float], depth: int = 0) -> list[float]:
    """Return the first numbers of a nested list; none when there is anything else in it."""
    for inner in value:
        if len(found) >= LOOK:
            break
        if isinstance(inner, list) and depth < DEPTH_MAX:
            before = len(found)
            _numbers(inner, found, depth + 1)
            if inner and len(found) == before:
                return []
        elif isinstance(inner, float | int) and math.isfinite(inner) and abs(inner) < 1e150:
            found.append(float(inner))
        else:
            found.clear()
            return found
    return found
