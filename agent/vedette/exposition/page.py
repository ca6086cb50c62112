"""Make points, and pages of points, from the values of a page.

A recipe says which values are one point; making is left until somebody asks for the family. Where
labels were dropped (``choice``), several series of the server are one point:

    counter, histogram, summary   added; a histogram at the bounds that all of them have, a
                                  summary without its quantiles, which cannot be added
    gauge and the rest            the largest, which one of them really has and which does not
                                  depend on the order; added where the choice says so

``sources`` of such a point changes when the set of series behind it does, so that a sum which fell
because a client left is not taken for a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf, isfinite, nan

import msgspec

from vedette.exposition.model import (
    Family,
    FamilyType,
    Fault,
    Histogram,
    Key,
    Labels,
    Number,
    Point,
    Summary,
)

#: What a value is within its point: a word, or the bound of a bucket or quantile.
Role = str | float
#: Values by slot; None where the series is not on the page.
Values = Sequence[float | None]


class Sizes(msgspec.Struct, frozen=True):
    """Count what a page held. ``series`` and ``new`` are lines, those of no interest included."""

    bytes: int = 0
    lines: int = 0
    series: int = 0
    new: int = 0
    exemplars: int = 0


class Page:
    """What a server said at one time. Not changed once made, and may cross threads."""

    def __init__(
        self,
        kept: Mapping[str, Kept],
        values: Values,
        times: Mapping[int, float],
        *,
        faults: tuple[Fault, ...] = (),
        fault_counts: Mapping[str, int] | None = None,
        over: Mapping[str, int] | None = None,
        sizes: Sizes | None = None,
    ) -> None:
        self._kept = kept
        self._values = values
        self._times = times
        self._made: dict[str, tuple[Point, ...]] = {}
        #: The first faults; ``fault_counts`` has all, by kind.
        self.faults = faults
        self.fault_counts = fault_counts or {}
        #: What went over a cap, by the name of the cap (``Caps``): how many were left out.
        self.over = over or {}
        #: Nothing was left out, cut off or unreadable: a series not here is not on the server.
        self.complete = not self.over and not self.fault_counts
        self.sizes = sizes or Sizes()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the families this page has, or a page before had lately."""
        return tuple(self._kept)

    def family(self, name: str) -> Family | None:
        """Return what is declared of a name."""
        kept = self._kept.get(name)
        return kept.family if kept is not None else None

    def points(self, name: str) -> tuple[Point, ...]:
        """Return the points of a family in the order of the page; empty when it is not there."""
        made = self._made.get(name)
        if made is None:
            kept = self._kept.get(name)
            if kept is None:
                return ()
            points = (recipe.make(self._values, self._times) for recipe in kept.recipes)
            made = self._made[name] = tuple(point for point in points if point is not None)
        return made

    def numbers(self, name: str) -> tuple[Number, ...]:
        """Return the points that are a single value."""
        return tuple(one for one in self.points(name) if isinstance(one, Number))

    def histograms(self, name: str) -> tuple[Histogram, ...]:
        """Return the points that are histograms."""
        return tuple(one for one in self.points(name) if isinstance(one, Histogram))

    def summaries(self, name: str) -> tuple[Summary, ...]:
        """Return the points that are summaries."""
        return tuple(one for one in self.points(name) if isinstance(one, Summary))

    def __iter__(self) -> Iterator[tuple[Family, tuple[Point, ...]]]:
        for name, kept in self._kept.items():
            points = self.points(name)
            if points:
                yield kept.family, points


class Kept(msgspec.Struct, frozen=True):
    """A family and its recipes: what a page needs to make points."""

    family: Family
    recipes: tuple[Recipe, ...]


class Source(msgspec.Struct, gc=False):
    """The slots of one series, or of one histogram or summary, of the page."""

    bounds: tuple[float, ...]
    bound_slots: tuple[int, ...]
    total: int  # of the +Inf bucket
    value: int  # of a number; of the count otherwise
    sum: int
    created: int


class Recipe(msgspec.Struct):
    """Make one point; from several sources when their labels were dropped."""

    key: Key
    type: FamilyType
    sources: tuple[tuple[Labels, Source], ...]
    adds: bool

    def make(self, values: Values, times: Mapping[int, float]) -> Point | None:
        """Return the point as the values have it; None when it is not on the page."""
        make = _MAKERS.get(self.type, _number)
        if len(self.sources) == 1:
            dropped, source = self.sources[0]
            return make(self.key, source, values, times, hash((dropped,)) if dropped else 0)
        found = [
            (dropped, point)
            for dropped, source in self.sources
            if (point := make(self.key, source, values, times, 0)) is not None
        ]
        if not found:
            return None
        mark = hash(tuple(dropped for dropped, _ in found)) or 1
        return _together([point for _, point in found], mark, self.type, self.adds)


def source_of(kind: FamilyType, roles: Mapping[Role, int], created: int) -> Source:
    """Sort the slots of one point by what they are."""
    bounds = sorted(role for role in roles if isinstance(role, float) and isfinite(role))
    return Source(
        tuple(bounds),
        tuple(roles[bound] for bound in bounds),
        roles.get(inf, -1),
        roles.get("count" if kind in _MAKERS else "value", -1),
        roles.get("sum", -1),
        created,
    )


# ---------------------------------------------------------------- points


def _at(values: Values, slot: int) -> float:
    value = values[slot] if slot >= 0 else None
    return nan if value is None else value


def _time(source: Source, times: Mapping[int, float]) -> float:
    if not times:
        return nan
    slots = (*source.bound_slots, source.total, source.value, source.sum)
    return max((times[slot] for slot in slots if slot in times), default=nan)


def _number(
    key: Key, source: Source, values: Values, times: Mapping[int, float], mark: int
) -> Number | None:
    value = values[source.value] if source.value >= 0 else None
    if value is None:
        return None
    return Number(key, value, _at(values, source.created), _time(source, times), mark)


def _histogram(
    key: Key, source: Source, values: Values, times: Mapping[int, float], mark: int
) -> Histogram | None:
    bounds = source.bounds
    counts = [values[slot] for slot in source.bound_slots]
    if None in counts:
        there = [index for index, count in enumerate(counts) if count is not None]
        bounds = tuple(bounds[index] for index in there)
        counts = [counts[index] for index in there]
    total, count = _at(values, source.total), _at(values, source.value)
    if total != total:  # NaN: no +Inf bucket
        total = count if count == count or not counts else counts[-1] or 0.0
    if count != count:
        count = total
    if count != count and not counts:
        return None
    return Histogram(
        key,
        bounds,
        (*counts, total),  # type: ignore[arg-type]
        _at(values, source.sum),
        count,
        _at(values, source.created),
        _time(source, times),
        mark,
    )


def _summary(
    key: Key, source: Source, values: Values, times: Mapping[int, float], mark: int
) -> Summary | None:
    there = [
        (bound, value)
        for bound, slot in zip(source.bounds, source.bound_slots, strict=True)
        if (value := values[slot]) is not None
    ]
    total, count = _at(values, source.sum), _at(values, source.value)
    if not there and total != total and count != count:
        return None
    return Summary(
        key,
        tuple(bound for bound, _ in there),
        tuple(value for _, value in there),
        total,
        count,
        _at(values, source.created),
        _time(source, times),
        mark,
    )


_MAKERS: dict[str, Callable[..., Point | None]] = {
    "histogram": _histogram,
    "gaugehistogram": _histogram,
    "summary": _summary,
}


def _together(points: list[Point], mark: int, kind: FamilyType, adds: bool) -> Point:
    """Put points of one type together whose labels became the same."""
    first = points[0]
    created = max((one.created for one in points if one.created == one.created), default=nan)
    time_s = max((one.time_s for one in points if one.time_s == one.time_s), default=nan)
    if isinstance(first, Number):
        figures = [one.value for one in points if isinstance(one, Number)]
        if kind == "counter" or adds:
            value = sum(figures)
        else:
            value = max((one for one in figures if one == one), default=nan)
        return Number(first.key, value, created, time_s, mark)
    total = sum(one.sum for one in points if not isinstance(one, Number))
    count = sum(one.count for one in points if not isinstance(one, Number))
    if isinstance(first, Summary):
        return Summary(first.key, (), (), total, count, created, time_s, mark)
    many = [one for one in points if isinstance(one, Histogram)]
    shared = set(first.bounds).intersection(*(one.bounds for one in many))
    bounds = tuple(bound for bound in first.bounds if bound in shared)
    at = [dict(zip((*one.bounds, inf), one.cumulative, strict=True)) for one in many]
    counts = tuple(sum(one[bound] for one in at) for bound in (*bounds, inf))
    return Histogram(first.key, bounds, counts, total, count, created, time_s, mark)
