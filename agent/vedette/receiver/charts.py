"""Make chart lines and series lists of one host from its stored bodies, decoded when asked for.

An hour of one host is some 60 bodies. The samples of one metric of one body never change, so they
are kept, newest use first, up to ``CACHE_SAMPLES``; a page that polls decodes one new body.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from vedette.receiver.limits import DAY_NS, SECOND_NS
from vedette.receiver.points import Sample, Spread, samples_named, samples_of
from vedette.receiver.query import MS_NS, Reader
from vedette.receiver.views import LineView, MetricsAnswer, SeriesView
from vedette.receiver.wire import unpack

log = logging.getLogger(__name__)

#: An unchanged series is sent again once an hour; older than this it is no more.
CARRY_NS = 65 * 60 * SECOND_NS
CACHE_SAMPLES = 40_000
#: Bodies one answer may decode: two days of one-minute windows.
BODIES_MAX = 3_000
POINTS_MAX = 200_000
RANGE_MAX_NS = 31 * DAY_NS
#: Hosts whose series list is kept up to date, and series per host.
CATALOGUES = 8
SERIES_MAX = 20_000

_BATCHES = """
SELECT id FROM batch WHERE agent = ? AND window_end >= ? AND window_start <= ?
  AND signal = 'metrics' ORDER BY window_end, id LIMIT ?
"""
_WINDOWS = """
SELECT DISTINCT window_end FROM batch WHERE agent = ? AND window_end BETWEEN ? AND ?
  AND epoch <> '' ORDER BY window_end
"""
_Point = tuple[int, float | None, float | None, float | None, float | None, int]


class TooWideError(ValueError):
    """The question needs more than one answer may hold; the text says how to narrow it."""


class Charts:
    """Decode bodies for charts; any thread."""

    def __init__(self, reader: Reader, cache_samples: int = CACHE_SAMPLES) -> None:
        self._reader = reader
        self._cache = _SampleCache(cache_samples)
        self._lock = threading.Lock()
        self._catalogues: OrderedDict[str, _Catalogue] = OrderedDict()
        self.damaged_bodies = 0

    def lines(
        self, agent: str, name: str, keys: frozenset[str], from_ns: int, to_ns: int, limit: int
    ) -> MetricsAnswer:
        """Return the lines of one metric, ``limit`` newest points each; raises ``TooWideError``."""
        ids = [
            row[0]
            for row in self._reader.rows(
                _BATCHES, (agent, from_ns - CARRY_NS, to_ns, BODIES_MAX + 1)
            )
        ]
        if len(ids) > BODIES_MAX:
            raise TooWideError(
                f"the range covers more than {BODIES_MAX} batches, ask for a shorter one"
            )
        windows = [row[0] for row in self._reader.rows(_WINDOWS, (agent, from_ns, to_ns))]
        found: dict[str, _Line] = {}
        for sample in self._samples(ids, name):
            if not keys or sample.key in keys:
                found.setdefault(sample.key, _Line()).add(sample)
        lines = []
        for key in sorted(found):
            line = found[key]
            points = [p for p in line.points(windows, to_ns) if p[0] >= from_ns][-limit:]
            if points:
                tails = line.tails(points)
                lines.append((line, LineView(key, line.attributes, _in_ms(points), tails)))
        if sum(len(view.points) for _, view in lines) > POINTS_MAX:
            raise TooWideError(
                f"more than {POINTS_MAX} points, ask for a shorter range or with key="
            )
        kind, unit = _meaning(line for line, _ in lines)
        return MetricsAnswer(name, unit, kind, [view for _, view in lines])

    def series(self, agent: str) -> list[SeriesView]:
        """Return the series of a host that were sent within the last hour it reported."""
        with self._lock:
            catalogue = self._catalogues.setdefault(agent, _Catalogue())
            self._catalogues.move_to_end(agent)
            if len(self._catalogues) > CATALOGUES:
                self._catalogues.popitem(last=False)
        with catalogue.lock:
            self._refresh(agent, catalogue)
            return [catalogue.entries[key].view() for key in sorted(catalogue.entries)]

    def _refresh(self, agent: str, catalogue: _Catalogue) -> None:
        rows = self._reader.rows(
            "SELECT id FROM batch WHERE agent = ?1 AND signal = 'metrics' AND id > ?2"
            " AND window_end > (SELECT max(window_end) FROM batch WHERE agent = ?1) - ?3"
            " ORDER BY window_end, id",
            (agent, catalogue.newest_id, CARRY_NS),
        )
        for (identity,) in rows:
            data = self._body(identity)
            if data:
                request = ExportMetricsServiceRequest.FromString(data)
                catalogue.fold(
                    sample
                    for resource in request.resource_metrics
                    for scope in resource.scope_metrics
                    for metric in scope.metrics
                    for sample in samples_of(metric, medians=False)
                )
            catalogue.newest_id = max(catalogue.newest_id, identity)
        catalogue.forget()

    def _samples(self, ids: Sequence[int], name: str) -> Iterator[Sample]:
        for identity in ids:
            samples = self._cache.get(identity, name)
            if samples is None:
                samples = self._cache.put(identity, name, self._decode(identity, name))
            yield from samples

    def _decode(self, identity: int, name: str) -> tuple[Sample, ...]:
        data = self._body(identity)
        try:
            return tuple(samples_named(data, name))
        except (DecodeError, IndexError) as error:
            # A parser takes groups and odd field orders that the walk over the bytes does not.
            self._damaged(identity, error)
            return ()

    def _body(self, identity: int) -> bytes:
        """Return a body, empty when it was dropped meanwhile or is damaged (counted)."""
        rows = self._reader.rows("SELECT data FROM body WHERE batch = ?", (identity,))
        if not rows:
            return b""
        try:
            return unpack(rows[0][0])
        except (OSError, EOFError, zlib.error) as error:
            self._damaged(identity, error)
            return b""

    def _damaged(self, identity: int, error: Exception) -> None:
        self.damaged_bodies += 1
        log.warning("body=unreadable batch=%d error=%r", identity, str(error))


class _SampleCache:
    """The samples of (body, metric), least recently used out first; bounded by their number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._known: OrderedDict[tuple[int, str], tuple[Sample, ...]] = OrderedDict()
        #: One sample per series whose texts the others share: most of a sample is its key.
        self._texts: dict[str, Sample] = {}
        self._lock = threading.Lock()

    def get(self, identity: int, name: str) -> tuple[Sample, ...] | None:
        with self._lock:
            samples = self._known.get((identity, name))
            if samples is not None:
                self._known.move_to_end((identity, name))
            return samples

    def put(self, identity: int, name: str, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        with self._lock:
            if (identity, name) in self._known:
                return samples
            samples = tuple(map(self._shared, samples))
            self._known[identity, name] = samples
            self._held += 1 + len(samples)
            while self._held > self._most and len(self._known) > 1:
                _, dropped = self._known.popitem(last=False)
                self._held -= 1 + len(dropped)
            return samples

    def _shared(self, sample: Sample) -> Sample:
        if len(self._texts) >= SERIES_MAX:
            self._texts.clear()
        known = self._texts.setdefault(sample.key, sample)
        if known is sample or known.attributes != sample.attributes:
            return sample
        return msgspec.structs.replace(
            sample, key=known.key, name=known.name, attributes=known.attributes
        )


class _Line:
    """One series over time, put together from its samples in the order of their windows."""

    def __init__(self) -> None:
        self.attributes: dict[str, str] = {}
        self.kind = ""
        self.level_unit = ""
        self.spread_unit = ""
        self._levels: dict[int, Sample] = {}
        self._spreads: dict[int, Sample] = {}

    def add(self, sample: Sample) -> None:
        self.attributes = sample.attributes
        if sample.kind == "distribution":
            self.kind = self.kind or sample.kind
            self.spread_unit = sample.unit
            self._spreads[sample.end_ns] = sample
        else:
            self.kind = sample.kind
            self.level_unit = sample.unit
            self._levels[sample.end_ns] = sample

    @property
    def unit(self) -> str:
        """The unit of the points: that of a rate for a counter."""
        if self.kind == "counter":
            return self.spread_unit or f"{self.level_unit}/s"
        return self.level_unit or self.spread_unit

    def tails(self, points: Iterable[_Point]) -> list[float | None]:
        """Return the 95th percentile of each point; nothing where none has one."""
        spreads = [self._spreads.get(point[0]) for point in points]
        found = [one.spread.p95 if one and one.spread else None for one in spreads]
        return found if any(value is not None for value in found) else []

    def points(self, windows: Iterable[int], to_ns: int) -> Iterator[_Point]:
        """Yield the points up to ``to_ns``; also the ones before ``windows`` that carry into it."""
        own = self._levels.keys() | self._spreads.keys()
        carried: Spread | None = None
        carried_ns = 0
        before: Sample | None = None
        for end_ns in sorted(own.union(windows)):
            if end_ns > to_ns:
                return
            if end_ns not in own:
                if carried is not None and end_ns - carried_ns <= CARRY_NS:
                    yield _point(end_ns, carried)
                continue
            level, distribution = self._levels.get(end_ns), self._spreads.get(end_ns)
            if (level is not None and level.gone) or (distribution and distribution.gone):
                carried = before = None
                continue
            spread = _spread_of(level, distribution, before)
            carried, carried_ns = _carried(level, spread), end_ns
            before = level if level is not None and level.running else before
            if spread is not None:
                yield _point(end_ns, spread)


def _spread_of(
    level: Sample | None, distribution: Sample | None, before: Sample | None
) -> Spread | None:
    """Return what is shown of one window: its distribution, else its value, else its rate."""
    if distribution is not None and distribution.spread is not None:
        return distribution.spread
    value = None if level is None else level.value
    if level is not None and level.running:
        value = rate_between(before, level)
    return None if value is None else Spread(value, value, value, value, 1)


def rate_between(before: Sample | None, now: Sample) -> float | None:
    """Return the change per second between two running totals; None across a reset."""
    if before is None or before.value is None or now.value is None:
        return None
    span_ns = now.end_ns - before.end_ns
    if span_ns <= 0 or now.start_ns != before.start_ns or now.value < before.value:
        return None
    return (now.value - before.value) * SECOND_NS / span_ns


def _carried(level: Sample | None, spread: Spread | None) -> Spread | None:
    """Return what a following window without a point was like: it stayed at the last value."""
    value = None if level is None or level.running else level.value
    if value is None and spread is not None:
        value = spread.mean if spread.mean is not None else spread.p50
    return None if value is None else Spread(value, value, value, value, 0)


def _point(end_ns: int, spread: Spread) -> _Point:
    return end_ns, spread.p50, spread.min, spread.max, spread.mean, spread.count


def _in_ms(points: Iterable[_Point]) -> list[_Point]:
    return [(point[0] // MS_NS, *point[1:]) for point in points]


def _meaning(lines: Iterable[_Line]) -> tuple[str, str]:
    """Return (kind, unit) of a metric; empty when it has no line."""
    for line in lines:
        return line.kind, line.unit
    return "", ""


class _Entry(msgspec.Struct):
    """The newest that is known of one series."""

    newest: Sample
    level: Sample | None = None
    last: float | None = None

    def view(self) -> SeriesView:
        meaning = self.level or self.newest
        return SeriesView(
            key=meaning.key,
            name=meaning.name,
            attributes=meaning.attributes,
            unit=meaning.unit,
            kind=meaning.kind,
            last=self.last,
            last_ms=self.newest.end_ns // MS_NS,
        )


class _Catalogue:
    """The series of one host, folded from its bodies; used under its lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.newest_id = 0
        self.entries: dict[str, _Entry] = {}

    def fold(self, samples: Iterable[Sample]) -> None:
        """Take in the samples of one body, older or newer than what is known."""
        for sample in samples:
            entry = self.entries.get(sample.key)
            if entry is None:
                if len(self.entries) >= SERIES_MAX:
                    continue
                entry = self.entries[sample.key] = _Entry(sample)
            if sample.end_ns >= entry.newest.end_ns:
                _advance(entry, sample)

    def forget(self) -> None:
        """Forget series that went away or were not sent for longer than an unchanged one is."""
        newest_ns = max((e.newest.end_ns for e in self.entries.values()), default=0)
        self.entries = {
            key: entry
            for key, entry in self.entries.items()
            if not entry.newest.gone and entry.newest.end_ns > newest_ns - CARRY_NS
        }


def _advance(entry: _Entry, sample: Sample) -> None:
    entry.newest = sample
    if sample.kind == "distribution":
        spread = sample.spread
        if spread is not None and (entry.level is None or entry.level.running):
            entry.last = spread.p50 if spread.mean is None else spread.mean
        return
    if not sample.running:
        entry.last = sample.value
    elif entry.level is not None and entry.level.end_ns < sample.end_ns:
        entry.last = rate_between(entry.level, sample)
    entry.level = sample
