"""Keep, for each series of a page, what it is told as: series of the agent, and where they stand.

Series are made once and given out again and again, since the lanes know a series that comes as it
did before by its identity. Pure.

A total is the source's own as long as it grows. Where the source began anew (``follow``) and what
it shows is less than what was told last, that is told, and the table sees a counter that fell.
Where it has already more, the total is told from there on, beginning with 0: told as it is, it
would look as if the difference had been counted since. Between, while nothing can be followed
(workers that answer in turn), it is not a number, and afterwards it begins anew as well.
"""

from __future__ import annotations

from math import inf, isfinite, nan
from typing import Protocol

import msgspec

from vedette.api import HistogramSample, Sample, Series
from vedette.exposition.change import RESETS, Change, HistogramChange, Note, SummaryChange
from vedette.exposition.model import Histogram, Number, Point, Summary

#: Notes after which a total cannot be told.
_UNKNOWN = frozenset({"workers", "unsteady", "no number"})
#: Buckets of one distribution that the lanes take.
BUCKETS_MAX = 1024
_COUNT_MOST = 2.0**62
#: Quantiles of what was counted between two pages.
QUANTILES = (0.5, 0.95)


class Readings(msgspec.Struct):
    """What is told of one page. ``tail`` comes after ``samples``: what is not always there."""

    samples: list[Sample] = []
    tail: list[Sample] = []
    histograms: list[HistogramSample] = []


class Row(Protocol):
    """What one point of a page is told as."""

    @property
    def size(self) -> int:
        """How many series that are at most."""

    def add(self, point: Point, change: Change | None, into: Readings) -> None:
        """Add the readings of a point, and of what it gained."""


class Total:
    """A running total of the source, as the table expects one."""

    __slots__ = ("_broken", "_last", "_offset")

    def __init__(self) -> None:
        self._offset = 0.0
        self._last = inf
        self._broken = False

    def told(self, value: float, note: Note) -> float:
        """Return what is told of a total; NaN when nothing can be."""
        if note in _UNKNOWN or value - value != 0:
            self._broken = True
            return nan
        if self._broken or note in RESETS or value < self._offset:
            self._offset = 0.0 if value < self._last else value
            self._broken = False
        self._last = value - self._offset
        return self._last


class Gauge:
    """A number that is what it is when read."""

    __slots__ = ("_series",)

    def __init__(self, series: Series) -> None:
        self._series = series

    @property
    def size(self) -> int:
        """How many series that are."""
        return 1

    def add(self, point: Point, change: Change | None, into: Readings) -> None:
        """Add its reading."""
        if isinstance(point, Number):
            into.samples.append(Sample(self._series, finite(point.value)))


class Counter(Total):
    """A counter: one series."""

    __slots__ = ("_series",)

    def __init__(self, series: Series) -> None:
        super().__init__()
        self._series = series

    @property
    def size(self) -> int:
        """How many series that are."""
        return 1

    def add(self, point: Point, change: Change | None, into: Readings) -> None:
        """Add its reading."""
        if isinstance(point, Number) and change is not None:
            into.samples.append(Sample(self._series, self.told(point.value, change.note)))


class Distribution(Total):
    """A histogram: what was counted in its buckets, its count, and its mean, median and tail.

    The last three begin when something was counted, and from then on are told each time, NaN when
    nothing was: the set of series is steady.
    """

    __slots__ = ("_count", "_derived", "_seen", "_series")

    def __init__(self, series: Series, count: Series, derived: tuple[Series, ...]) -> None:
        """``derived``: of the mean, and of each of ``QUANTILES``."""
        super().__init__()
        self._series, self._count = series, count
        self._derived = derived
        self._seen = False

    @property
    def size(self) -> int:
        """How many series that are at most; the distribution itself takes no row."""
        return 1 + len(self._derived)

    def add(self, point: Point, change: Change | None, into: Readings) -> None:
        """Add its readings."""
        if not isinstance(point, Histogram) or not isinstance(change, HistogramChange):
            return
        into.samples.append(Sample(self._count, self.told(point.count, change.note)))
        counted = change.count > 0 and bool(change.counts)
        if not counted:
            if self._seen:
                into.tail += [Sample(one, nan) for one in self._derived]
            return
        self._seen = True
        figures = (change.mean, *(change.quantile(q).value for q in QUANTILES))
        into.tail += map(Sample, self._derived, map(finite, figures))
        if len(change.counts) <= BUCKETS_MAX and max(change.counts) < _COUNT_MOST:
            counts = tuple(map(round, change.counts))
            total = change.sum if isfinite(change.sum) else None
            into.histograms.append(HistogramSample(self._series, change.bounds, counts, total))


class Level:
    """A histogram of what is now, which may fall: how much there is, and the mean of it."""

    __slots__ = ("_count", "_mean")

    def __init__(self, count: Series, mean: Series) -> None:
        self._count, self._mean = count, mean

    @property
    def size(self) -> int:
        """How many series that are."""
        return 2

    def add(self, point: Point, change: Change | None, into: Readings) -> None:
        """Add its readings."""
        if isinstance(point, Histogram):
            mean = point.sum / point.count if point.count > 0 else nan
            into.samples.append(Sample(self._count, finite(point.count)))
            into.tail.append(Sample(self._mean, finite(mean)))


class Quantiles:
    """A summary: its quantiles, over a time that the source chose, its count, sum and mean."""

    __slots__ = ("_count", "_mean", "_quantiles", "_seen", "_sum", "_totals")

    def __init__(
        self, count: Series, sum_: Series, mean: Series, quantiles: dict[float, Series]
    ) -> None:
        self._count, self._sum, self._mean = count, sum_, mean
        self._totals = Total(), Total()
        self._quantiles = quantiles
        self._seen: frozenset[Series] = frozenset()

    @property
    def size(self) -> int:
        """How many series that are at most."""
        return 3 + len(self._quantiles)

    def add(self, point: Point, change: Change | None, into: Readings) -> None:
        """Add its readings; a quantile that it had not at first is left out."""
        if not isinstance(point, Summary) or not isinstance(change, SummaryChange):
            return
        of_count, of_sum = self._totals
        if point.count == point.count:
            into.samples.append(Sample(self._count, of_count.told(point.count, change.note)))
        if point.sum == point.sum:
            into.samples.append(Sample(self._sum, of_sum.told(point.sum, change.note)))
        self._add_derived(self._mean, change.mean, into)
        for q, value in zip(point.quantiles, point.values, strict=True):
            if q in self._quantiles:
                self._add_derived(self._quantiles[q], value, into)

    def _add_derived(self, series: Series, value: float, into: Readings) -> None:
        """Add what is there only when something was counted; from then on it always is."""
        if value - value == 0 and series not in self._seen:
            self._seen |= {series}
        if series in self._seen:
            into.tail.append(Sample(series, finite(value)))


def finite(value: float) -> float:
    """Return a number the table can hold: NaN for an infinite one."""
    return value if value - value == 0 else nan
