"""Hold the newest readings of all series: counters as rates, gaps as NaN, bounded in every way.

One row per series, one column per tick. The ring is kept tick-major, ``(ticks, rows)`` float32, so
that a tick is one contiguous copy and a ``Window`` is a transposed view without a copy: new ticks
are appended until the slack behind the ring is used up, then the newest part moves to the front
(one memcpy every ``slack`` ticks).

A frame whose tuple of series is the very object of the collector's last frame costs no look-up at
all: rows are cached per collector. The frames of a tick are only gathered, and written all at once
when it closes: most of what numpy costs here it costs per call. Cost: 2 µs per frame, 40 µs per
tick and about 20 ns per series and tick; 4 bytes per series and tick in the ring and 45 bytes per
series beside it.

Owned by the pipeline thread; nothing here is safe to share.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.api import Frame, Series, Window
from vedette.growth import grown

log = logging.getLogger(__name__)

#: A counter not read for longer than this has no rate for the time between: a gap, not an average.
MAX_GAP_NS = 120_000_000_000
#: Rows by which the arrays grow, at least.
GROWTH_MIN = 64
#: Combinations of collectors that deliver at the same tick whose rows are remembered.
BATCHES_MAX = 16
#: Columns of slack behind the ring, as a part of it: the newest ticks move once per slack.
SLACK = 1 / 16


class Expired(msgspec.Struct, frozen=True, eq=False):
    """Series that went away: their rows (now free) and what they were."""

    rows: NDArray[np.intp]
    series: tuple[Series, ...]


class _Layout:
    """Where the values of one collector's frames go, for one tuple of series."""

    __slots__ = ("counter", "keep", "rows", "series")

    def __init__(self, series: tuple[Series, ...], rows: NDArray[np.intp]) -> None:
        self.series = series
        self.rows = rows  # -1: refused
        self.keep = rows >= 0
        self.counter = np.array([one.instrument.kind == "counter" for one in series], dtype=bool)


class _Batch:
    """Where the values of several frames go, one after the other.

    ``gauges`` and ``counters`` are places among all values, ``gauge_rows`` and ``counter_rows``
    the rows they go to; ``frame`` says which frame each counter is of.
    """

    __slots__ = ("counter_rows", "counters", "frame", "gauge_rows", "gauges", "rows")

    def __init__(self, layouts: Sequence[_Layout]) -> None:
        rows = np.concatenate([one.rows for one in layouts])
        keep = np.concatenate([one.keep for one in layouts])
        counter = np.concatenate([one.counter for one in layouts])
        frame = np.repeat(np.arange(len(layouts)), [len(one.rows) for one in layouts])
        self.rows = rows[keep]
        self.gauges = np.flatnonzero(keep & ~counter)
        self.counters = np.flatnonzero(keep & counter)
        self.gauge_rows, self.counter_rows = rows[self.gauges], rows[self.counters]
        self.frame = frame[self.counters]


class SeriesTable:
    """The table of all series of this host.

    ``ticks`` is how many of the newest ticks are kept, ``max_series`` and ``max_per_collector`` cap
    the rows (what is over is refused, counted in ``refused`` and said once per collector), and a
    series not read for ``expire_ticks`` ticks is given up by ``expire``.
    """

    def __init__(
        self,
        *,
        ticks: int = 960,
        max_series: int = 20_000,
        max_per_collector: int = 2_000,
        expire_ticks: int = 600,
        capacity: int = 256,
    ) -> None:
        self.ticks = ticks
        self.max_series = max_series
        self.max_per_collector = max_per_collector
        self.expire_ticks = expire_ticks
        #: Changes whenever a row gets another series or none.
        self.generation = 0
        #: The series of each row, None for a free one; as long as ``capacity``.
        self.series: list[Series | None] = [None] * capacity
        #: Samples refused because of the caps, and counter resets seen, per collector.
        self.refused: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        #: Newest raw total of each counter row, and the Unix ns since when it counts; NaN, 0 else.
        self.totals = np.full(capacity, np.nan)
        self.total_start_ns = np.zeros(capacity, dtype=np.int64)
        self._rows: dict[Series, int] = {}
        self._owner: list[str] = [""] * capacity
        self._owned: Counter[str] = Counter()
        self._layouts: dict[str, _Layout] = {}
        self._waiting: dict[_Layout, Frame] = {}
        self._batches: dict[tuple[_Layout, ...], _Batch] = {}
        self._full: set[str] = set()
        self._free: list[int] = list(range(capacity - 1, -1, -1))
        self._read_ns = np.zeros(capacity, dtype=np.int64)
        self._seen = np.zeros(capacity, dtype=np.int64)
        self._current = np.full(capacity, np.nan)
        self._tick = 0
        slack = max(16, int(ticks * SLACK))
        self._ring = np.full((ticks + slack, capacity), np.nan, dtype=np.float32)
        self._time = np.zeros(ticks + slack, dtype=np.int64)
        self._end = 0

    @property
    def capacity(self) -> int:
        """Rows the arrays have now; grows by a quarter: the ring takes 3 KiB a row."""
        return len(self.series)

    def __len__(self) -> int:
        """Series that have a row."""
        return len(self._rows)

    def row(self, series: Series) -> int | None:
        """Return the row of a series, None when it has none."""
        return self._rows.get(series)

    def put(self, frame: Frame) -> list[int]:
        """Take a frame for the open tick; return the rows that are new.

        A counter becomes a rate by the time between its readings; its first reading, one below the
        last (reset or wrap) and one after a long gap give NaN. ``totals`` knows of it once the tick
        is closed.
        """
        layout = self._layouts.get(frame.collector)
        created: list[int] = []
        if layout is None or layout.series is not frame.series:
            layout, created = self._intern(frame)
        if layout in self._waiting:  # the second of its collector at one tick
            self._write()
        self._waiting[layout] = frame
        return created

    def close_tick(self, tick_ns: int) -> NDArray[np.float64]:
        """End the open tick; return its column, float64 ``(capacity,)``, NaN = not read."""
        self._write()
        if self._end == len(self._ring):
            keep = self.ticks - 1
            self._ring[:keep] = self._ring[self._end - keep :]
            self._time[:keep] = self._time[self._end - keep :]
            self._end = keep
        with np.errstate(over="ignore"):  # beyond float32 a reading is infinite, and says so
            self._ring[self._end] = self._current
        self._time[self._end] = tick_ns
        self._end += 1
        self._tick += 1
        column = self._current
        self._current = np.full(self.capacity, np.nan)
        return column

    def window(self, ticks: int | None = None) -> Window:
        """Return views of the newest ticks (all that are kept when None)."""
        wanted = self.ticks if ticks is None else min(ticks, self.ticks)
        start = max(0, self._end - wanted)
        values = self._ring[start : self._end].T
        values.flags.writeable = False
        return Window(self._time[start : self._end], values, self.series, self.generation)

    def expire(self) -> Expired | None:
        """Give up series not read for ``expire_ticks`` ticks; None when there are none."""
        if not self._rows:
            return None
        self._write()
        taken = np.fromiter(self._rows.values(), dtype=np.intp, count=len(self._rows))
        rows = taken[self._seen[taken] < self._tick - self.expire_ticks]
        if not len(rows):
            return None
        gone: list[Series] = []
        for row in rows.tolist():
            series = self.series[row]
            if series is None:
                continue
            gone.append(series)
            del self._rows[series]
            owner = self._owner[row]
            self._owned[owner] -= 1
            if self._owned[owner] < self.max_per_collector and owner in self._full:
                self._full.discard(owner)
                log.info("series of a collector are under the cap again collector=%s", owner)
            self.series[row] = None
            self._owner[row] = ""
            self._free.append(row)
        self._clear(rows)
        self._layouts.clear()
        self._batches.clear()
        self.generation += 1
        return Expired(rows, tuple(gone))

    def _clear(self, rows: NDArray[np.intp]) -> None:
        self.totals[rows] = np.nan
        self.total_start_ns[rows] = 0
        self._read_ns[rows] = 0
        self._current[rows] = np.nan
        self._ring[:, rows] = np.nan

    def _write(self) -> None:
        """Write the frames that wait into the open tick."""
        if not self._waiting:
            return
        layouts, frames = tuple(self._waiting), tuple(self._waiting.values())
        self._waiting.clear()
        batch = self._batches.get(layouts)
        if batch is None:
            if len(self._batches) >= BATCHES_MAX:
                self._batches.clear()
            batch = self._batches[layouts] = _Batch(layouts)
        values = np.frombuffer(b"".join([frame.values for frame in frames]), dtype=np.float64)
        if len(batch.rows) < len(values):
            for layout, frame in zip(layouts, frames, strict=True):
                self.refused[frame.collector] += len(layout.keep) - int(layout.keep.sum())
        self._seen[batch.rows] = self._tick
        self._current[batch.gauge_rows] = values[batch.gauges]
        if len(batch.counters):
            self._write_counters(frames, batch, values[batch.counters])

    def _write_counters(
        self, frames: Sequence[Frame], batch: _Batch, totals: NDArray[np.float64]
    ) -> None:
        rows = batch.counter_rows
        read_ns = np.array([frame.read_ns for frame in frames])[batch.frame]
        before = self.totals[rows]
        elapsed = read_ns - self._read_ns[rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            grown = totals - before
            rates = grown / (elapsed * 1e-9)
            usable = (grown >= 0) & (elapsed > 0) & (elapsed <= MAX_GAP_NS)
        if usable.all():  # as nearly always
            self._current[rows] = rates
            self.totals[rows] = totals
            self._read_ns[rows] = read_ns
            return
        with np.errstate(invalid="ignore"):
            fell = grown < 0
        for place in batch.frame[fell].tolist():
            self.resets[frames[place].collector] += 1
        known = ~np.isnan(totals)
        began = known & (np.isnan(before) | fell)
        if began.any():
            tick_ns = np.array([frame.tick_ns for frame in frames])
            self.total_start_ns[rows[began]] = tick_ns[batch.frame[began]]
        self._current[rows] = np.where(usable, rates, np.nan)
        self.totals[rows] = np.where(known, totals, before)
        self._read_ns[rows[known]] = read_ns[known]

    def _intern(self, frame: Frame) -> tuple[_Layout, list[int]]:
        rows = np.empty(len(frame.series), dtype=np.intp)
        created: list[int] = []
        find = self._rows.get
        for index, series in enumerate(frame.series):
            row = find(series)
            if row is None:
                row = self._allocate(series, frame.collector)
                if row >= 0:
                    created.append(row)
            rows[index] = row
        before = self._layouts.get(frame.collector)
        if before is not None:
            self._write()
            self._batches = {key: one for key, one in self._batches.items() if before not in key}
        layout = self._layouts[frame.collector] = _Layout(frame.series, rows)
        if created:
            self.generation += 1
        return layout, created

    def _allocate(self, series: Series, collector: str) -> int:
        if self._owned[collector] >= self.max_per_collector or len(self._rows) >= self.max_series:
            if collector not in self._full:
                self._full.add(collector)
                log.warning(
                    "too many series, new ones are refused collector=%s has=%d cap=%d",
                    collector,
                    self._owned[collector],
                    min(self.max_per_collector, self.max_series),
                )
            return -1
        if not self._free:
            self._grow()
        row = self._free.pop()
        self._rows[series] = row
        self.series[row] = series
        self._owner[row] = collector
        self._owned[collector] += 1
        self._seen[row] = self._tick
        return row

    def _grow(self) -> None:
        old = self.capacity
        new = old + max(GROWTH_MIN, old // 4)
        self.series += [None] * (new - old)
        self._owner += [""] * (new - old)
        self._free = list(range(new - 1, old - 1, -1))
        self.totals = grown(self.totals, new, np.nan)
        self.total_start_ns = grown(self.total_start_ns, new, 0)
        self._read_ns = grown(self._read_ns, new, 0)
        self._seen = grown(self._seen, new, 0)
        self._current = grown(self._current, new, np.nan)
        ring = np.full((len(self._ring), new), np.nan, dtype=np.float32)
        ring[:, :old] = self._ring
        self._ring = ring


def align(keys: Sequence[str], series: Sequence[Series | None]) -> NDArray[np.intp]:
    """Return for each row the index of its series in ``keys``, -1 where it is not among them."""
    index = {key: position for position, key in enumerate(keys)}
    return np.array(
        [-1 if one is None else index.get(one.key, -1) for one in series], dtype=np.intp
    )
