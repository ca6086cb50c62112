"""Turn the readings of one report window into statistics and histograms per series.

A tick costs one row copy into a block of float64 ``(ticks, rows)`` that is used again for every
window; everything else happens once, vectorised, when the window closes: 60 times less often, and
over contiguous memory.

Half of a host's series do not move, and names and attributes are most of what a report costs.
So ``moved`` marks the series worth sending: carrying their last point forward would be wrong. That
holds when any reading differs from the constant the last sent window consisted of (one that varied
has none, so the first quiet window after it is sent too), when a counter's total differs, and once
per ``refresh_ns``. The refresh of a row has a slot of its own within that period (the rows are
spread by the golden ratio), so constant series come a few per window and not all at once.

Cost for 60 ticks of 2,000 series: 3 µs per tick and 5 ms per window when three in four moved; 8
bytes per series and tick for the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from vedette.api import Series
from vedette.histogram import MAX_BUCKETS
from vedette.histograms import Histograms

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["REFRESH_NS", "Summariser", "WindowSummary"]

REFRESH_NS = 3_600_000_000_000
#: Ticks the block begins with (one window of 60 s at 1 s), and at most grows to.
FIRST_TICKS = 64
MAX_TICKS = 1_024
#: Rows are added in steps of this, so that a few new series do not copy the block each time.
ROW_STEP = 64
#: Multiples of it fill an interval evenly whatever their number (Weyl sequence).
GOLDEN = 0.618_033_988_749_894_9
#: In no slot yet: due at once.
NEVER = np.iinfo(np.int64).min


class WindowSummary(msgspec.Struct, frozen=True, eq=False):
    """One closed window: arrays over the ``n`` series that were read in it.

    ``count`` is int64 ``(n,)``, at least 1; ``sum``, ``min``, ``max`` and ``last`` are float64
    ``(n,)`` of gauge values, or of per-second rates for counters; a sum past float64 is infinite.
    ``total`` is a counter's newest running total (NaN: not a counter, or not known) and
    ``total_start_ns`` when it began. ``moved`` is False where carrying the last sent point forward
    is right; ``histograms`` are empty there.
    """

    start_ns: int
    end_ns: int
    series: tuple[Series, ...]
    count: NDArray[np.int64]
    sum: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    last: NDArray[np.float64]
    total: NDArray[np.float64]
    total_start_ns: NDArray[np.int64]
    moved: NDArray[np.bool_]
    histograms: Histograms


class Summariser:
    """Gather ticks, close windows. Rows are those of the series table; owned by one thread.

    ``infinite`` counts infinite readings and ``overrun`` ticks that came after ``MAX_TICKS`` in one
    window; both were left out.
    """

    def __init__(
        self, scale: int = 5, max_buckets: int = MAX_BUCKETS, refresh_ns: int = REFRESH_NS
    ) -> None:
        if refresh_ns <= 0:
            raise ValueError(f"refresh_ns must be above zero, got {refresh_ns}")
        self.infinite = 0
        self.overrun = 0
        self._scale = scale
        self._max_buckets = max_buckets
        self._refresh_ns = refresh_ns
        self._ticks = 0
        self._block = np.empty((FIRST_TICKS, 0), np.float64)
        # What the last sent point of a row said: its constant (NaN: it varied), total and slot.
        self._constant = np.empty(0, np.float64)
        self._total = np.empty(0, np.float64)
        self._slot = np.empty(0, np.int64)

    def fold(self, values: NDArray[np.float64]) -> None:
        """Take one tick, float64 ``(rows,)``, NaN = not read; rows may grow between calls."""
        if self._ticks >= MAX_TICKS:
            self.overrun += 1
            return
        rows = len(values)
        if self._ticks == len(self._block) or rows > self._block.shape[1]:
            self._grow(rows)
        tick = self._block[self._ticks]
        np.add(values, 0.0, out=tick[:rows])  # a copy that makes -0.0 a plain zero
        tick[rows:] = np.nan
        self._ticks += 1

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Drop all that is known of these rows: they belong to other series from now on."""
        rows = rows[rows < self._block.shape[1]]
        self._block[: self._ticks, rows] = np.nan
        self._constant[rows] = np.nan
        self._total[rows] = np.nan
        self._slot[rows] = NEVER

    def resend(self) -> None:
        """Have every series sent with the next window: the last one was lost before the spool."""
        self._slot[:] = NEVER

    def close(
        self,
        start_ns: int,
        end_ns: int,
        series: Sequence[Series | None],
        totals: NDArray[np.float64],
        total_start_ns: NDArray[np.int64],
    ) -> WindowSummary:
        """Summarise what was folded since the last call, and begin the next window.

        ``series``, ``totals`` and ``total_start_ns`` have an entry for every row folded, or
        ``ValueError``. Rows without a series, or without a finite reading, are left out.
        """
        block = self._block[: self._ticks]
        finite = np.isfinite(block)
        infinite = np.isinf(block)
        self.infinite += int(infinite.sum())
        block[infinite] = np.nan
        rows = _read_rows(finite, series, min(len(totals), len(total_start_ns)))
        readings, finite = block[:, rows], finite[:, rows]
        self._ticks = 0

        low = np.fmin.reduce(readings, axis=0, initial=np.nan)
        high = np.fmax.reduce(readings, axis=0, initial=np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.add.reduce(readings, axis=0, where=finite)
        newest = len(readings) - 1 - np.argmax(finite[::-1], axis=0) if len(rows) else rows
        moved = self._moved(rows, low, high, totals[rows], end_ns)
        return WindowSummary(
            start_ns=start_ns,
            end_ns=end_ns,
            series=tuple(one for row in rows if (one := series[row]) is not None),
            count=finite.sum(axis=0, dtype=np.int64),
            sum=total,
            min=low,
            max=high,
            last=readings[newest, np.arange(len(rows))],
            total=totals[rows],
            total_start_ns=total_start_ns[rows],
            moved=moved,
            histograms=Histograms.of(readings.T, self._scale, self._max_buckets, moved),
        )

    def _moved(
        self,
        rows: NDArray[np.intp],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        total: NDArray[np.float64],
        end_ns: int,
    ) -> NDArray[np.bool_]:
        """Return which rows to send, and remember that they were."""
        phase = (rows * GOLDEN % 1.0 * self._refresh_ns).astype(np.int64)
        slot = (end_ns + phase) // self._refresh_ns
        before = self._total[rows]
        still = (low == high) & (low == self._constant[rows]) & (slot == self._slot[rows])
        still &= (total == before) | (np.isnan(total) & np.isnan(before))
        moved: NDArray[np.bool_] = ~still
        self._constant[rows] = np.where(low == high, low, np.nan)
        self._total[rows] = total
        self._slot[rows] = slot
        return moved

    def _grow(self, rows: int) -> None:
        ticks, width = self._block.shape
        if self._ticks == ticks:
            ticks = min(ticks * 2, MAX_TICKS)
        if rows > width:
            width = max(-(-rows // ROW_STEP) * ROW_STEP, min(width * 5 // 4, rows + 1_024))
        block = np.full((ticks, width), np.nan)
        block[: self._ticks, : self._block.shape[1]] = self._block[: self._ticks]
        self._block = block
        more = width - len(self._constant)
        self._constant = np.append(self._constant, np.full(more, np.nan))
        self._total = np.append(self._total, np.full(more, np.nan))
        self._slot = np.append(self._slot, np.full(more, NEVER))


def _read_rows(
    finite: NDArray[np.bool_], series: Sequence[Series | None], known: int
) -> NDArray[np.intp]:
    read = np.flatnonzero(finite.any(axis=0))
    if len(read) and read[-1] >= min(len(series), known):
        raise ValueError(
            f"row {read[-1]} was read, but there are {len(series)} series and {known} totals"
        )
    return np.array([row for row in read.tolist() if series[row] is not None], np.intp)
