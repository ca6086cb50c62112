"""Detector ``surge``: what fills so fast that it is full within minutes, or multiplies in one.

Idea: what rose over the last seconds, carried on in a straight line: at the median pace of the
parts of that time, for what one second brought does not go on, and no further than ``REACH`` times
as far as it was seen to rise. ``forecast`` looks at minutes and is sure of what it says; a leak of
gigabytes a minute is over before that. So this one looks at ten and at twenty seconds, and says
something when

- the rise is at least ``matters`` of the limit, and goes on: each quarter of the time has its part
  in it (each half, where readings are 5 s apart), so a step is none, nor is a program that takes
  its memory at once;
- at this rate the resource is full within ``horizon``, and within ``REACH`` times the seconds
  looked at; what is counted and has no limit (open files, connections, processes) has doubled
  within half a minute, or grown by a quarter in the longer of the two times; of fewer than ``FEW``
  it has to become so many;
- it is more than this series rises at a time anyway: where a rise came to rest again and again
  (``OFTEN`` times, each forgotten over three days), only one well larger than the largest counts.

Judged is what has an alarm for high values: gauges with a declared limit that say how full they
are, not how busy, and counts. The score is the horizon by the time that is left: 1 rings, and is
its own confirmation, as the reading has been rising for ten seconds. What fills while nobody
minds, a file that is copied, is an incident of the lowest grade, and resolved when the rise ends.

A series has to be read three times in twenty seconds. Cost: 16 bytes of state per series; some
twenty array operations a tick on the few rows that can fill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vedette.api import Detector, Duration, Evidence, Series, StateArray, Window, hookimpl

State = Mapping[str, NDArray[np.float32]]
Floats = NDArray[np.float32]

#: Over how long a rise is looked at, in seconds, and how early or late a reading may be.
SPANS, LATE_S = (10.0, 20.0), 1.6
#: A rise is carried on for no more than this many times as long as it was seen to last.
REACH = 45.0
#: Each part of the span has at least this much of what would be its even share of the rise.
SHARE_LEAST = 0.5
PARTS = 4
#: The shorter span begins, and the longer one has its middle, so many seconds ago; what rises has
#: made at least this part of its rise since, however late its readings are.
HALF_S = SPANS[0]
HALF_LEAST = np.float32(SHARE_LEAST * (HALF_S - LATE_S) / (SPANS[1] + LATE_S))
#: Readings of a series before it is judged.
WARM = 30.0
#: From so many rises on they are usual, and one has to be larger than the largest by this factor.
OFTEN, MORE, MEMORY_S = 6.0, 1.5, 3 * 86_400.0
#: A count that doubles within so many seconds rings; one of less than this is taken for as many.
DOUBLES_S, FEW = 30.0, 200.0
#: So does one that grew by this part for the longest span.
GROWS = 0.25
#: The part of what there is that a count has to rise by.
COUNT_MATTERS = 0.1
#: Words at the end of a metric's name that say how busy something is, and words in it that say so,
#: or how hot; the memory of a GPU is filled by each model that is loaded.
_NOT_FILLING = ("cpu.utilization", "busy", "disk.utilization", "accept_queue.utilization")
_NOT_FILLING_WORDS = ("temperature", "pressure", "frequency", "gpu")


class SurgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How soon it would have to be full, and which rises are too small to matter."""

    horizon: Annotated[
        Duration,
        Meta(description="Ring when it would be full within this time, 1 to 60 minutes."),
    ] = Duration(600)
    matters: Annotated[
        float,
        Meta(description="Part of the limit under which a rise is never strange.", gt=0, le=1),
    ] = 0.01

    def __post_init__(self) -> None:
        if not 60 <= self.horizon <= 3600:
            raise ValueError(f"horizon = {self.horizon:g}s is not between 1min and 1h")


class Surge(Detector):
    """What will be full in minutes, or multiplies."""

    name = "surge"
    Config = SurgeConfig
    threshold = 1.0
    confirm = 1
    release = 2
    release_s = 10.0
    coarsest_s = 10.0
    lookback = int(max(SPANS) + LATE_S) + 1
    state: ClassVar[Mapping[str, StateArray]] = {
        "reads": StateArray(0.0),
        # The rise that goes on, as a part of the limit; the largest of those that came to an end,
        # and how many those are.
        "rise": StateArray(0.0, transient=True),
        "largest": StateArray(0.0),
        "times": StateArray(0.0),
    }

    def __init__(self, config: SurgeConfig) -> None:
        super().__init__(config)
        self._generation = -1
        self._rows: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._limits = self._least = np.empty(0, dtype=np.float32)
        # What ``score`` saw of the newest column, for ``learn``.
        self._seen: tuple[Window, NDArray[np.intp], Floats] | None = None

    def score(self, window: Window, state: State) -> Floats:
        self._prepare(window)
        scores = np.full(len(window.series), np.nan, dtype=np.float32)
        rows = self._read(window)
        if len(rows):
            known = state["reads"][rows] >= WARM
            found, rise = self._look(window, rows)
            self._seen = window, rows, rise
            usual = np.where(state["times"][rows] < OFTEN, 0, state["largest"][rows])
            beyond = rise > MORE * usual
            scores[rows] = np.where(known, np.where(beyond, found, np.float32(0)), np.nan)
        return scores

    def learn(self, window: Window, state: State) -> None:
        """Follow the rises of each row, and remember the largest once it has come to an end."""
        seen, self._seen = self._seen, None
        if seen is None or seen[0] is not window:
            self._prepare(window)
            rows = self._read(window)
            seen = window, rows, self._look(window, rows)[1]
        _, rows, now = seen
        if not len(rows):
            return
        state["reads"][rows] += 1
        rise = state["rise"][rows]
        ended = now < rise / 2
        counts = ended & (rise >= self._least[rows])
        kept = np.float32(math.exp(-_elapsed(window) / MEMORY_S))
        largest = state["largest"][rows] * kept
        state["largest"][rows] = np.where(counts, np.maximum(largest, rise), largest)
        state["times"][rows] = state["times"][rows] * kept + counts
        state["rise"][rows] = np.where(ended, now, np.maximum(rise, now))

    def learning(self, window: Window, state: State) -> NDArray[np.bool_]:
        self._prepare(window)
        young = np.zeros(len(window.series), dtype=bool)
        young[self._rows] = state["reads"][self._rows] < WARM
        return young

    def explain(self, window: Window, state: State, row: int) -> Evidence:
        none = Evidence(float("nan"), float("nan"))
        self._prepare(window)
        rows = self._rows[self._rows == row]
        if not len(rows):
            return none
        found, _ = self._look(window, rows)
        if not found[0] > 0:
            return none
        if np.isnan(self._limits[row]):
            rises = [_rise(window.time, window.values[rows], span) for span in SPANS]
            rate = max(float(rise[0] / seconds[0]) for rise, seconds, _ in rises)
            return Evidence(none.low, none.high, f"{rate:.0f} more each second")
        left = self.config.horizon / float(found[0])
        words = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
        return Evidence(none.low, none.high, f"full in {words} at this rate")

    def _read(self, window: Window) -> NDArray[np.intp]:
        """Return the rows that can fill and were read at the newest tick."""
        if not len(self._rows) or not window.values.shape[1]:
            return self._rows[:0]
        read: NDArray[np.intp] = self._rows[np.isfinite(window.values[self._rows, -1])]
        return read

    def _look(self, window: Window, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return score and rise of rows that were read; 0 where it is too small to matter.

        Most rows are where they were: one look at what they were ten seconds ago tells.
        """
        score, rise = (np.zeros(len(rows), dtype=np.float32) for _ in range(2))
        ago = (window.time[-1] - window.time) / 1e9
        then = np.flatnonzero(np.abs(ago - HALF_S) <= LATE_S)
        if not len(then):
            return score, rise
        limits = self._limits[rows]
        matters = self._least[rows] * np.where(np.isnan(limits), np.float32(FEW), limits)
        before = np.fmin.reduce(window.values[rows[:, None], then], axis=1)
        some = np.flatnonzero(window.values[rows, -1] - before >= HALF_LEAST * matters)
        if len(some):
            values = window.values[rows[some]]
            score[some], rise[some] = self._rising(window.time, values, rows[some])
        return score, rise

    def _rising(
        self, time: NDArray[np.int64], values: Floats, rows: NDArray[np.intp]
    ) -> tuple[Floats, Floats]:
        """Return score and rise of some rows, by the span that says most."""
        limits, least = self._limits[rows], self._least[rows]
        counted = np.isnan(limits)
        score, largest = (np.zeros(len(rows), dtype=np.float32) for _ in range(2))
        for span in SPANS:
            rise, seconds, pace = _rise(time, values, span)
            now = values[:, -1]
            whole = np.where(counted, np.maximum(now - rise, FEW), limits)
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                left = np.maximum(whole - now, 0) / pace
                full = np.where(left <= REACH * seconds, self.config.horizon / left, 0)
                much = np.maximum(
                    DOUBLES_S * rise / seconds, rise / GROWS if span == max(SPANS) else 0
                )
                found = np.where(counted, much / whole, full)
                found = np.where(rise >= least * whole, np.minimum(found, 1e3), 0)
            score = np.fmax(score, found.astype(np.float32))
            largest = np.fmax(largest, (rise / whole).astype(np.float32))
        return score, largest

    def _prepare(self, window: Window) -> None:
        """Find the rows that can be full, once per generation."""
        if window.generation == self._generation and len(self._limits) == len(window.series):
            return
        minded = [_minded(one) for one in window.series]
        self._limits = np.array([limit for limit, _ in minded], dtype=np.float32)
        counted = np.array([is_counted for _, is_counted in minded], dtype=bool)
        self._least = np.where(counted, COUNT_MATTERS, self.config.matters).astype(np.float32)
        self._rows = np.flatnonzero(np.isfinite(self._limits) | counted)
        self._generation = window.generation


def _rise(time: NDArray[np.int64], shares: Floats, span: float) -> tuple[Floats, Floats, Floats]:
    """Return by how much each row rose over a span, in how many seconds, and its pace a second.

    0 when it did not rise steadily. The pace is the median of the parts, of two the lesser. From
    the reading nearest to the beginning of the span, by way of those nearest to the ends of its
    parts, as far as there are any; that in the middle has to be there.
    """
    ago = ((time[-1] - time) / 1e9).astype(np.float32)
    first, steady = _nearest(ago, shares, span)
    rows = np.arange(len(shares))
    rise, seconds = shares[:, -1] - shares[rows, first], np.maximum(ago[first], 1e-3)
    least = SHARE_LEAST * np.maximum(rise, 0) / seconds
    before = first
    paces = np.full((PARTS, len(shares)), np.inf, dtype=np.float32)
    for part in range(1, PARTS + 1):
        at, there = _nearest(ago, shares, span * (1 - part / PARTS))
        if 2 * part == PARTS:
            steady &= there
        with np.errstate(invalid="ignore", divide="ignore"):
            grew, took = shares[rows, at] - shares[rows, before], ago[before] - ago[at]
            paces[part - 1] = np.where(there & (took > 0), grew / took, np.float32(np.inf))
            grew = grew >= least * took
        steady &= grew | ~there
        before = np.where(there, at, before)
    steady &= rise > 0
    paces.sort(axis=0)
    parts = np.isfinite(paces).sum(axis=0)
    lower, upper = paces[np.maximum(parts - 1, 0) // 2, rows], paces[parts // 2 % PARTS, rows]
    pace = np.where(parts > 2, (lower + upper) / 2, lower)
    rise, pace = (np.where(steady, one, np.float32(0)) for one in (rise, pace))
    return rise, seconds.astype(np.float32), pace


def _nearest(
    ago: Floats, shares: Floats, seconds: float
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the column of each row's reading nearest to so long ago, and whether it is near."""
    off = np.where(np.isfinite(shares), np.abs(ago - np.float32(seconds)), np.float32(np.inf))
    found: NDArray[np.intp] = off.argmin(axis=1)
    return found, off[np.arange(len(shares)), found] <= LATE_S


def _minded(series: Series | None) -> tuple[float, bool]:
    """Return the limit towards which a series can fill, NaN when it cannot, and whether it is a
    number of things that has no limit.
    """
    if series is None or series.instrument.alarm not in ("high", "both"):
        return math.nan, False
    one = series.instrument
    if not one.limit:
        return math.nan, one.kind == "updown" and one.unit.startswith("{")
    return one.limit if one.kind != "counter" and not _is_busy(one.name) else math.nan, False


@lru_cache(maxsize=4096)
def _is_busy(metric: str) -> bool:
    """Say whether a metric tells how busy, or how hot, something is."""
    return metric.endswith(_NOT_FILLING) or any(word in metric for word in _NOT_FILLING_WORDS)


def _elapsed(window: Window) -> float:
    """Return the seconds since the tick before."""
    return float(window.time[-1] - window.time[-2]) / 1e9 if len(window.time) > 1 else 0.0


@hookimpl
def register_detectors() -> list[type[Detector]]:
    return [Surge]
