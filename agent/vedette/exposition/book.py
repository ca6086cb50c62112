"""Turn the pages of one target into readings: numbers, totals, distributions.

Of a page that has the series of the page before nothing is made but its readings, in the same
order: those that are always there first, those that come only when something was counted last.
Cost: 2 µs a series, the points and their changes included (``tests/bench/openmetrics_bench.py``).

What is over the cap is left out, by the order in which it came, so that what is told stays the
same. A series that is not on the page any more is forgotten after ``FORGET_AFTER`` pages. Pure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat

import msgspec

from vedette.api import Alarm, HistogramSample, Instrument, Kind, Sample, Series
from vedette.exposition.change import RESETS, Change, CounterChange
from vedette.exposition.follow import Changes
from vedette.exposition.meaning import (
    QUANTILE,
    TARGET,
    Sort,
    attribute_names,
    attribute_value,
    help_of,
    metric_name,
    sort_of,
    unit_of,
)
from vedette.exposition.model import Family, Histogram, Key, Labels, Point, Summary
from vedette.exposition.page import Page
from vedette.exposition.rows import (
    Counter,
    Distribution,
    Gauge,
    Level,
    Quantiles,
    Readings,
    Row,
)

#: Pages after which a series that left is forgotten, as in ``follow`` and ``reading``.
FORGET_AFTER = 10
#: What is derived of a histogram: the mean, and ``rows.QUANTILES``.
DERIVED = (".mean", ".p50", ".p95")
#: So many series at least count from zero, and more than go on counting, when all began anew.
RESTART_LEAST = 3

#: Types that are compared with the page before.
_FOLLOWED = frozenset({"counter", "histogram", "summary"})


class Told(msgspec.Struct):
    """What one page says."""

    samples: list[Sample]
    histograms: list[HistogramSample]
    #: Series that are told, and series there was no room for.
    series: int
    cut: int
    #: The source began anew since the page before.
    restarted: bool


class Meaning(msgspec.Struct, frozen=True):
    """What somebody said of the metrics of a target."""

    target: str
    series_max: int = 2000
    counts: Callable[[str], bool] = lambda _: False
    watched: Callable[[str], bool] = lambda _: False
    info: bool = False
    resource: str = "service"


class Book:
    """The series of one target. Not for several threads at once."""

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._changes = Changes(forget_after=FORGET_AFTER)
        #: Families that count although their TYPE does not say so.
        self._counters: frozenset[str] = frozenset()
        self._families: dict[str, tuple[Family, Sort]] = {}
        self._rows: dict[Key, Row] = {}
        #: Rows whose series left, with the number of the first page without it.
        self._missing: dict[Key, int] = {}
        self._instruments: dict[Instrument, Instrument] = {}
        self._pages = 0
        self._size = 0
        self._cut = 0

    @property
    def mixed(self) -> bool:
        """Several workers answer in turn, so nothing that counts can be followed."""
        return self._changes.mixed

    def take(self, page: Page, now_s: float, wall_s: float) -> Told:
        """Return what a page says; ``now_s`` is a clock that never goes back."""
        self._pages += 1
        families = self._look(page)
        changes = self._changes.advance(page, now_s, wall_s=wall_s)
        into = Readings([], [], [])
        self._cut = seen = at = 0
        for family, sort in families:
            points = page.points(family.name)
            mine: Iterable[Change | None] = repeat(None)
            if family.type in _FOLLOWED or family.name in self._counters:
                mine = changes[at : at + len(points)]
                at += len(points)
            if sort != "nothing":
                self._add(family, sort, points, mine, into)
                seen += len(points)
        if len(self._rows) > seen or self._missing or self._cut:
            self._forget(page)
        samples = into.samples + into.tail
        return Told(samples, into.histograms, len(samples), self._cut, self._restarted(changes))

    def _add(
        self,
        family: Family,
        sort: Sort,
        points: Sequence[Point],
        changes: Iterable[Change | None],
        into: Readings,
    ) -> None:
        get = self._rows.get
        for point, change in zip(points, changes, strict=False):
            row = get(point.key) or self._begin(family, sort, point)
            if row is not None:
                row.add(point, change, into)

    # ------------------------------------------------------------ coming and going

    def _look(self, page: Page) -> list[tuple[Family, Sort]]:
        """Return the families of a page, in its order, and what becomes of them."""
        found = []
        for name in page.names:
            family = page.family(name)
            if family is None:
                continue
            known = self._families.get(name)
            if known is None or known[0] is not family:
                known = self._sorted(family, known)
            found.append(known)
        if len(found) < len(self._families):
            self._families = {one[0].name: one for one in found}
        counters = {one.name for one, sort in found if sort == "counter" != one.type}
        if not counters <= self._counters:
            self._counters |= counters
            self._changes = Changes(counters=self._counters, forget_after=FORGET_AFTER)
        return found

    def _sorted(self, family: Family, before: tuple[Family, Sort] | None) -> tuple[Family, Sort]:
        """Say what becomes of a family; of one that is another now all rows are forgotten."""
        counts = self._meaning.counts(family.name)
        known = family, sort_of(family, counts=counts, info=self._meaning.info)
        if before is not None and (before[1], before[0].unit) != (known[1], family.unit):
            for key in [key for key in self._rows if key.name == family.name]:
                self._let_go(key)
        self._families[family.name] = known
        return known

    def _forget(self, page: Page) -> None:
        """Forget the rows that have not been on the page for long."""
        there = {point.key for name in page.names for point in page.points(name)}
        for key in [key for key in self._missing if key in there]:
            del self._missing[key]
        for key in [key for key in self._rows if key not in there]:
            if self._pages - self._missing.setdefault(key, self._pages) >= FORGET_AFTER:
                self._let_go(key)
        if len(self._instruments) > 8 * len(self._rows) + 64:  # of series that are gone
            self._instruments.clear()

    def _let_go(self, key: Key) -> None:
        self._size -= self._rows.pop(key).size
        self._missing.pop(key, None)

    def _restarted(self, changes: Sequence[Change]) -> bool:
        if self._changes.mixed:
            return False
        if self._changes.restarted:
            return True
        reset = [one.note for one in changes if one.note in RESETS]
        if len(reset) < RESTART_LEAST:
            return False
        return len(reset) > sum(not one.note and _gained(one) > 0 for one in changes)

    # ------------------------------------------------------------ rows

    def _begin(self, family: Family, sort: Sort, point: Point) -> Row | None:
        """Make the row of a series that is new; None when there is no room."""
        need = _need(sort, point)
        if self._size + need > self._meaning.series_max:
            self._cut += need
            return None
        self._size += need
        row = self._rows[point.key] = self._row(family, sort, point)
        return row

    def _row(self, family: Family, sort: Sort, point: Point) -> Row:
        make = _Maker(self._meaning, self._instruments, family, point.key.labels)
        if isinstance(point, Summary):
            return Quantiles(
                make.series(".count", "counter", "1"),
                make.series(".sum", "counter"),
                make.series(".mean"),
                {q: make.series(quantile=f"{q:g}") for q in point.quantiles},
            )
        if isinstance(point, Histogram) and sort == "gaugehistogram":
            return Level(make.series(".count", "gauge", "1"), make.series(".mean"))
        if isinstance(point, Histogram):
            return Distribution(
                make.series("", "histogram"),
                make.series(".count", "counter", "1"),
                tuple(map(make.series, DERIVED)),
            )
        return Counter(make.series("", "counter")) if sort == "counter" else Gauge(make.series())


class _Maker:
    """Make the series of one point."""

    def __init__(
        self,
        meaning: Meaning,
        instruments: dict[Instrument, Instrument],
        family: Family,
        labels: Labels,
    ) -> None:
        self._meaning = meaning
        self._instruments = instruments
        self._family = family
        self._keys = (TARGET, *attribute_names(labels))
        self._values = (meaning.target, *(attribute_value(value) for _, value in labels))
        self._name, self._unit = metric_name(family.name), unit_of(family)

    def series(
        self, ending: str = "", kind: Kind = "gauge", unit: str = "", *, quantile: str = ""
    ) -> Series:
        """Return one series; the unit is the family's where none is given."""
        name = sys.intern(self._name + ending)  # the same for all targets of a kind
        keys, values = self._keys, self._values
        if quantile:
            keys = (*keys, QUANTILE if QUANTILE not in keys else f"exported_{QUANTILE}")
            values = (*values, quantile)
        side: Alarm = "high" if ending in DERIVED else "both"
        made = Instrument(
            name,
            kind,
            unit or self._unit,
            help_of(self._family),
            keys,
            resource=self._meaning.resource,
            alarm=side if self._meaning.watched(name) else "never",
        )
        return Series(self._instruments.setdefault(made, made), values)


def _gained(change: Change) -> float:
    return change.delta if isinstance(change, CounterChange) else change.count


def _need(sort: Sort, point: Point) -> int:
    """Return how many series a point becomes at most."""
    if isinstance(point, Histogram):
        return 2 if sort == "gaugehistogram" else 1 + len(DERIVED)
    return 3 + len(point.quantiles) if isinstance(point, Summary) else 1
