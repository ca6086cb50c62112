"""Let a fresh instance of a detector, and its tails, learn from readings of the past.

The same order as live: window, score, decide, learn. What it finds on the way is noted, so that it
can be compared with what the operator said of those times. One array step per tick, so what it
costs is what the detector costs live; ``Pace`` keeps it to a share of a core by resting in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Event

import numpy as np
from numpy.typing import NDArray

from vedette.api import Series
from vedette.means import Means
from vedette.models.readings import PERIOD_NS, Chunk
from vedette.models.shadow import Shadow
from vedette.models.version import Data, Origin

#: Ticks between looks at the pace.
LOOK_EVERY = 20
#: Readings of a series that training is worth it from; below, it learns as much live in a while.
READINGS_LEAST = 60

Column = tuple[int, NDArray[np.float64]]
Columns = Iterator[Column]


class Cancelled(Exception):  # noqa: N818 - asked for, not an error
    """Training was asked to stop."""


class Pace:
    """Keep a thread to a share of a core; ``stopping`` ends it at the next look."""

    def __init__(
        self,
        share: float,
        stopping: Event,
        *,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.share = share
        self.used_s = 0.0
        self._stopping = stopping
        self._clock = clock
        self._since = clock()

    def look(self) -> None:
        """Rest as long as the share asks for; raises ``Cancelled``."""
        now = self._clock()
        spent = now - self._since
        self.used_s += spent
        if self._stopping.wait(spent * (1 / self.share - 1)):
            raise Cancelled
        self._since = self._clock()


def train(
    shadow: Shadow,
    series: Sequence[Series],
    columns: Iterable[Column],
    step_ns: int,
    origin: Origin,
    pace: Pace | None = None,
) -> Data:
    """Have a shadow learn from columns float64 ``(series,)``, evenly spaced by ``step_ns``.

    Returns what it has learned from. Raises ``ValueError`` when that is too little, ``Cancelled``.
    """
    rows = len(series)
    detector = shadow.detector
    ring = Means(step_ns, step_ns, rows, kept=max(detector.lookback, 1))
    none = np.ones(0, dtype=np.float32)
    first = last = ticks = readings = 0
    for tick_ns, column in columns:
        ring.fold(tick_ns, column)
        shadow.step(ring.window(detector.lookback, series, 1), lambda head: none, time.thread_time)
        first, last = first or tick_ns, tick_ns
        ticks += 1
        readings += int(np.count_nonzero(np.isfinite(column)))
        if pace is not None and ticks % LOOK_EVERY == 0:
            pace.look()
    if ticks < READINGS_LEAST:
        raise ValueError(f"there are readings of {ticks} times only, {READINGS_LEAST} are needed")
    return Data(origin, first, last, rows, readings)


def from_kept(
    chunks: Iterable[Chunk], series: Sequence[Series], least_step_ns: int = PERIOD_NS
) -> Columns:
    """Yield the columns of kept minutes; a row per series, NaN where it was not there."""
    rows = {one.key: row for row, one in enumerate(series)}
    last_ns = 0
    for chunk in chunks:
        places = [(index, rows[key]) for index, key in enumerate(chunk.keys) if key in rows]
        source = np.array([index for index, _ in places], dtype=np.intp)
        target = np.array([row for _, row in places], dtype=np.intp)
        for minute, time_ns in enumerate(chunk.time.tolist()):
            if time_ns < last_ns + least_step_ns:
                continue
            column = np.full(len(series), np.nan)
            column[target] = chunk.values[source, minute]
            last_ns = time_ns
            yield time_ns, column


def from_rows(
    time: NDArray[np.int64], values: NDArray[np.float64], step_ns: int, period_ns: int = 0
) -> Columns:
    """Yield the rows ``(ticks, series)`` of a file; with a period the means over each of them."""
    if not period_ns or step_ns >= period_ns:
        yield from zip(time.tolist(), values, strict=True)
        return
    means = Means(period_ns, step_ns, values.shape[1], kept=1)
    for tick_ns, column in zip(time.tolist(), values, strict=True):
        if means.fold(tick_ns, column):
            window = means.window(1, (), 0)
            yield int(window.time[-1]), window.values[:, -1].astype(np.float64)
