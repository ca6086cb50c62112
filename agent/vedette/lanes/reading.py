"""Turn what one ``collect()`` yields into a Frame, and throw out what does not belong in one.

A collector is foreign code: it may yield something that is no sample, an instrument it never
declared (unless its source decides which there are), an infinite value, one series twice, or go on
for ever. Each such thing is dropped and counted here, so that everything behind the lanes may trust
a Frame.

A collector usually reads the same series at every tick. The tuple of a Frame is then the very
object of the tick before, in the same order, so that the table can find its rows by identity; and
readings are taken in that order without a look at anything but their values, for as long as they
come so. The first that does not come as before ends that, and the rest is looked at one by one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from math import isfinite, isinf
from typing import Any

import msgspec

from vedette.api import (
    Collector,
    Event,
    Frame,
    HistogramSample,
    Instrument,
    Observation,
    Record,
    Sample,
    Series,
    Usage,
)

#: Items between two looks at the clock.
CLOCK_EVERY = 256
#: Numbers of these types between these two are readings at a glance.
NUMBERS, LEAST, MOST = frozenset({int, float}), -1e18, 1e18
#: What one collector may tell at one tick beside its readings: suspects and events, of which more
#: cannot be of use to a person, and records.
BESIDE_MAX: dict[object, int] = {Usage: 64, Event: 64, Record: 4096, HistogramSample: 4096}
#: Buckets of one distribution: Prometheus' clients make a dozen, an engine's own two hundred.
BUCKETS_MAX = 1024


class Late(Exception):  # noqa: N818 - an outcome the runner counts, like Unavailable
    """Say that the deadline of a ``collect()`` has passed."""


class Reading(msgspec.Struct, frozen=True):
    """One tick of one collector: its Frame, and how much was dropped on the way to it.

    ``invalid`` counts what was no valid sample, ``duplicates`` the readings that a later one of
    the same series replaced, ``cut`` the readings of series over ``max_series``: counting ends, and
    the collector is not asked for more, when there are as many of those again.
    """

    frame: Frame
    invalid: int
    duplicates: int
    cut: int


class Beside:
    """What came beside the readings of a tick, kind by kind, as far as there is room."""

    def __init__(self, is_ours: Callable[[HistogramSample], bool] = lambda _: True) -> None:
        self._is_ours = is_ours
        self.histograms: list[HistogramSample] = []
        self.usages: list[Usage] = []
        self.events: list[Event] = []
        self.records: list[Record] = []
        self._lists: dict[object, list[Any]] = {
            Usage: self.usages,
            Event: self.events,
            Record: self.records,
            HistogramSample: self.histograms,
        }

    def take(self, item: object) -> bool:
        """Keep an item; False when it is none of these, or one too many."""
        kind = item.__class__
        kept = self._lists.get(kind)
        if kept is None or len(kept) >= BESIDE_MAX[kind]:
            return False
        if isinstance(item, HistogramSample) and not (
            is_distribution(item) and self._is_ours(item)
        ):
            return False
        kept.append(item)
        return True


class Reader:
    """Consume the ticks of one collector; remembers the series of the last one."""

    def __init__(
        self,
        collector: Collector,
        declared: Iterable[Instrument],
        *,
        name: str,
        max_series: int,
        monotonic_ns: Callable[[], int],
    ) -> None:
        self._collector = collector
        self._name = name
        self._max_series = max_series
        self._monotonic_ns = monotonic_ns
        self._declared = frozenset(declared)
        self._open_ended = collector.open_ended
        self._series: tuple[Series, ...] = ()
        self._known: frozenset[Series] = frozenset()

    def read(self, tick_ns: int, read_ns: int, deadline_ns: int) -> Reading:
        """Collect once; raises ``Late`` past the deadline (monotonic ns) and what the source does.

        A generator is closed before this returns.
        """
        items = iter(self._collector.collect())
        values: list[float] = []
        beside = Beside(self._is_own_histogram)
        duplicates = invalid = cut = 0
        try:
            odd = self._follow(items, values, beside, deadline_ns)
            if odd or len(values) < len(self._series):
                latest = dict(zip(self._series, values, strict=False))
                rest = chain(odd, items) if odd else ()
                valid, invalid, cut = self._consume(rest, latest, beside, deadline_ns)
                duplicates = len(values) + valid - len(latest)
                ordered = self._in_order(latest)
            else:
                ordered = array("d", values)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        frame = Frame(
            self._name,
            tick_ns,
            read_ns,
            self._series,
            ordered,
            tuple(beside.usages),
            tuple(beside.events),
            tuple(beside.records),
            tuple(beside.histograms),
        )
        return Reading(frame, invalid, duplicates, cut)

    def _follow(
        self,
        items: Iterator[Observation],
        values: list[float],
        beside: Beside,
        deadline_ns: int,
    ) -> tuple[Observation, ...]:
        """Take readings while they are of the series of the last tick, in its order.

        Returns the first item that is not what was expected; nothing when there is none.
        """
        expected = iter(self._series)
        for item in items:
            if item.__class__ is Sample:
                value = item.value
                if item.series is not next(expected, None):
                    return (item,)
                if value.__class__ not in NUMBERS or not LEAST < value < MOST:
                    return (item,)
                values.append(value)
                if not len(values) % CLOCK_EVERY and self._monotonic_ns() > deadline_ns:
                    raise Late
            elif not beside.take(item):
                return (item,)
        return ()

    def _consume(
        self,
        items: Iterable[Observation],
        latest: dict[Series, float],
        beside: Beside,
        deadline_ns: int,
    ) -> tuple[int, int, int]:
        """Sort items into ``latest`` and ``beside``; returns valid, invalid, cut."""
        most = self._max_series
        seen = valid = invalid = cut = 0
        for item in items:
            seen += 1
            if not seen % CLOCK_EVERY and self._monotonic_ns() > deadline_ns:
                raise Late
            if isinstance(item, Sample):
                series, value = item.series, item.value
                if not is_reading(value) or not self._is_ours(series):
                    invalid += 1
                    continue
                if len(latest) >= most and series not in latest:
                    cut += 1
                    if cut >= most:
                        break
                    continue
                latest[series] = value
                valid += 1
            elif not beside.take(item):
                invalid += 1
        return valid, invalid, cut

    def _is_ours(self, series: object) -> bool:
        if not isinstance(series, Series):
            return False
        return series in self._known or (
            self._is_declared(series) and series.instrument.kind != "histogram"
        )

    def _is_declared(self, series: Series) -> bool:
        known = self._open_ended or series.instrument in self._declared
        return known and len(series.values) == len(series.instrument.attributes)

    def _is_own_histogram(self, item: HistogramSample) -> bool:
        return item.series.instrument.kind == "histogram" and self._is_declared(item.series)

    def _in_order(self, latest: dict[Series, float]) -> array[float]:
        """Return the values in the order of ``self._series``, which changes only with the set."""
        series = tuple(latest)
        if series == self._series:
            return array("d", latest.values())
        if len(series) == len(self._series) and latest.keys() == self._known:
            return array("d", [latest[one] for one in self._series])
        known = frozenset(series)
        for one in self._known - known:
            one.instrument.forget(one)
        self._series, self._known = series, known
        return array("d", latest.values())


def is_reading(value: object) -> bool:
    """Tell whether a value is a number a table can hold: finite, or NaN for not read."""
    if isinstance(value, float):
        return not isinf(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 1023


def is_distribution(item: HistogramSample) -> bool:
    """Tell whether counts and bounds fit each other and are such."""
    bounds, counts, total = item.bounds, item.counts, item.sum
    try:
        return (
            isinstance(item.series, Series)
            and 1 <= len(counts) <= BUCKETS_MAX
            and len(counts) == len(bounds) + 1
            and all(one.__class__ is int and 0 <= one < 1 << 63 for one in counts)
            and all(isfinite(one) for one in bounds)
            and all(low < high for low, high in pairwise(bounds))
            and (total is None or isfinite(total))
        )
    except TypeError:
        return False


def printable(text: str, most: int = 200) -> str:
    """Return the first line of a text from outside, fit for a log line and a status."""
    line = text.strip().partition("\n")[0]
    return "".join(one if one.isprintable() else "?" for one in line[:most])


def reason_of(error: BaseException) -> str:
    """Return an exception as type and first line."""
    try:
        text = printable(str(error))
    except Exception:  # noqa: BLE001 - a plugin's own exception class may fail to print itself
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name
