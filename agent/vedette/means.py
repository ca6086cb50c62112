"""Keep the means of the readings over whole minutes: what slow detectors look at.

What is learned about a day or a week needs no seconds, and a detector whose constants are in
samples means the same on a host read each second as on data read each minute. Owned by the pipeline
thread. Cost: three array operations per tick, and 4 bytes per series and period that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vedette.api import Series, Window
from vedette.growth import grown


class Means:
    """Means per row over periods of ``period_ns``; the newest ``kept`` of them."""

    def __init__(self, period_ns: int, interval_ns: int, rows: int, kept: int = 128) -> None:
        self.period_ns = period_ns
        self.interval_ns = interval_ns
        self.kept = kept
        self._sum = np.zeros(rows)
        self._count = np.zeros(rows, dtype=np.float32)
        self._period: int | None = None
        # Period-major with slack, as the ring of the table: a window is a view.
        self._ring = np.full((kept + max(kept // 4, 1), rows), np.nan, dtype=np.float32)
        self._time = np.zeros(len(self._ring), dtype=np.int64)
        self._end = 0

    def fold(self, tick_ns: int, column: NDArray[np.float64]) -> bool:
        """Take the column of a tick; return whether a period is complete with it.

        A period that went by without its last tick is complete at the first one after it, which is
        then of the next: nothing is lost, and never are two complete at once. A period without a
        tick leaves nothing; after the clock was set back the times go back too.
        """
        rows = len(column)
        if rows > len(self._sum):
            self._grow(rows)
        period = tick_ns // self.period_ns
        late = self._period is not None and period != self._period
        if late:
            self._close()
        self._period = period
        read = np.isfinite(column)
        self._sum += np.where(read, column, 0)
        self._count += read
        if late or (tick_ns + self.interval_ns) // self.period_ns == period:
            return late
        self._close()
        return True

    def window(self, columns: int, series: Sequence[Series | None], generation: int) -> Window:
        """Return a view of the newest periods; the time is the start of each."""
        start = max(0, self._end - min(columns, self.kept))
        values = self._ring[start : self._end].T
        values.flags.writeable = False
        return Window(self._time[start : self._end], values, series, generation)

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Forget rows that are no longer of their series."""
        inside = rows[rows < len(self._sum)]
        self._sum[inside] = 0
        self._count[inside] = 0
        self._ring[:, inside] = np.nan

    def _close(self) -> None:
        if self._end == len(self._ring):
            keep = self.kept - 1
            self._ring[:keep] = self._ring[self._end - keep :]
            self._time[:keep] = self._time[self._end - keep :]
            self._end = keep
        with np.errstate(invalid="ignore", over="ignore"):
            self._ring[self._end] = self._sum / self._count
        self._time[self._end] = (self._period or 0) * self.period_ns
        self._period = None
        self._end += 1
        self._sum[:] = 0
        self._count[:] = 0

    def _grow(self, rows: int) -> None:
        self._sum = grown(self._sum, rows, 0)
        self._count = grown(self._count, rows, 0)
        ring = np.full((len(self._ring), rows), np.nan, dtype=np.float32)
        ring[:, : self._ring.shape[1]] = self._ring
        self._ring = ring
