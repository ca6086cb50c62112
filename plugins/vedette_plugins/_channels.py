"""Look at each series in eighteen ways: what is left when what is expected is taken off.

A *channel* is a residual of the newest reading: from a slow mean, from readings a little earlier,
from the usual value of this time of day; or a quantity that has no expectation of its own, such as
the logarithm of a short standard deviation. Each sees another sort of change. The list is that of
the bank of detectors measured in ``docs/quality.md``; no channel was chosen by its score on a data
set. All constants are in readings, but for the gains of the two profiles: these see more readings
in a bin the shorter the step, and learn as much of an hour whatever the step is.

Arrays are float32 ``(channels, rows)``, one channel of all series contiguous.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vedette.api import StateArray, Window

Array = NDArray[np.float32]

#: Spans of the exponentially weighted means, in readings.
SPANS = (5, 12, 30, 100, 300, 1000, 3000)
#: Windows of the rolling standard deviations, in readings.
WINDOWS = (6, 12, 30, 100)
LAGS = (1, 3, 12)
NAMES = (
    "value", "mean100", "mean300", "mean1000", "mean3000",
    "step1", "step3", "step12",
    "trend5", "trend12", "trend30",
    "spread6", "spread12", "spread30", "spread100",
    "day", "week", "roughness",
)  # fmt: skip
COUNT = len(NAMES)
#: Those that are logarithms of a spread: they have a middle of their own.
LOGS = (11, 12, 13, 14, 17)
DAY, WEEK = 15, 16
#: Bins of the profiles, their length, and how much of a five-minute reading each takes over.
DAY_BINS, DAY_BIN_S, DAY_GAIN = 96, 900, 0.3
WEEK_BINS, WEEK_BIN_S, WEEK_GAIN = 168, 3600, 0.1
PROFILE_STEP_S = 300.0
#: A reading counts for no less than this part of five minutes: a second.
PART_LEAST = 1 / 300
#: Span of the roughness, in readings.
ROUGH_GAIN = np.float32(2 / 13)
#: Readings over which the scale of the whole series is learned; it is clipped once that many of
#: ``SETTLED`` were seen.
SCALE_GAIN = 1e-3
SETTLED = 150.0
CLIP = 5.0
#: A short spread counts as no less than this part of the scale of the whole series.
SPREAD_LEAST = np.float32(1e-3)
#: No scale is below this: the square of a thousandth is still a float32.
TINY = np.float32(1e-15)
#: Nothing teaches more than this: its square has to be a float32 as well.
LARGEST = np.float32(1e18)
LOOKBACK = max(WINDOWS)
#: Readings of a series before there are residuals: as far as the longest lag reaches. What the
#: first ones differ by from means of two or three readings would stand as records for weeks.
FIRST = float(LAGS[-1])

STATE: Mapping[str, StateArray] = {
    "count": StateArray(0.0),
    "last": StateArray(float("nan"), transient=True),
    "means": StateArray(0.0, width=len(SPANS)),
    "day": StateArray(float("nan"), width=DAY_BINS),
    "week": StateArray(float("nan"), width=WEEK_BINS),
    "whole": StateArray(0.0),
    "rough": StateArray(0.0, width=2),
}

_GAINS = np.array([[2 / (span + 1)] for span in SPANS], dtype=np.float32)


class Residuals(NamedTuple):
    """What is left of the newest reading, and what it makes of the means; NaN = not known."""

    #: ``(COUNT, rows)``.
    left: Array
    #: The readings ``(rows,)``, and which rows have one.
    now: Array
    read: NDArray[np.bool_]
    #: The means with this reading ``(spans, rows)``, the two of the roughness ``(2, rows)``.
    means: Array
    rough: Array
    #: Bins of the profiles, and the time from one reading to the next.
    day: int
    week: int
    step_s: float

    @property
    def part(self) -> float:
        """The part of a five-minute reading that this one is, at most 1."""
        return min(max(self.step_s / PROFILE_STEP_S, PART_LEAST), 1.0)


def residuals(window: Window, state: Mapping[str, Array]) -> Residuals:
    """Compute all channels of the newest column."""
    now = window.values[:, -1]
    rows = len(now)
    read = np.isfinite(now)
    seconds = int(window.time[-1]) // 1_000_000_000
    day, week = seconds // DAY_BIN_S % DAY_BINS, seconds // WEEK_BIN_S % WEEK_BINS
    left = np.full((COUNT, rows), np.nan, dtype=np.float32)
    before, count = state["means"].T, state["count"]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        gains = np.maximum(_GAINS, (1 / (count + 1)).astype(np.float32))
        means = before + gains * (now - before)
        left[0] = now
        np.subtract(now, before[3:7], out=left[1:5])
        left[5] = now - state["last"]
        for place, lag in ((6, LAGS[1]), (7, LAGS[2])):
            if window.values.shape[1] > lag:
                left[place] = now - window.values[:, -1 - lag]
        left[8] = means[0] - before[3]
        left[9] = means[1] - before[4]
        left[10] = means[2] - before[4]
        floor = np.maximum(SPREAD_LEAST * state["whole"], TINY)
        _spreads(window, before[2], floor, left[11:15])
        left[DAY] = now - state["day"][:, day]
        left[WEEK] = now - state["week"][:, week]
        rough = _roughness(state["rough"].T, left[5], now - before[1])
        left[17] = np.log((rough[0] + floor) / (rough[1] + floor))
    left[:, ~read | (count < FIRST)] = np.nan
    return Residuals(left, now, read, means, rough, day, week, _step_s(window))


def follow(seen: Residuals, state: Mapping[str, Array]) -> None:
    """Fold the newest column into the state."""
    read, now, count = seen.read, seen.now, state["count"]
    means = state["means"].T
    first = read & (count == 0)
    np.copyto(means, np.where(first, now, seen.means), where=read)
    np.copyto(state["rough"].T, np.where(first, 0, seen.rough), where=read)
    for name, at, gain in (("day", seen.day, DAY_GAIN), ("week", seen.week, WEEK_GAIN)):
        profile = state[name][:, at]
        gain = 1 - (1 - gain) ** seen.part
        with np.errstate(invalid="ignore"):
            taught = np.where(np.isnan(profile), now, profile + gain * (now - profile))
        np.copyto(profile, taught, where=read, casting="same_kind")
    count += read
    deviation = np.abs(np.where(read, now - means[3], 0))
    gain_whole = np.maximum(SCALE_GAIN, 1 / np.maximum(count, 1))
    whole = state["whole"]
    reach = np.where(count > SETTLED, CLIP * whole, np.inf)
    taught = whole + gain_whole * (np.minimum(deviation, reach) - whole)
    np.copyto(whole, taught, where=read, casting="same_kind")
    np.copyto(state["last"], now, where=read)


def _spreads(window: Window, centre: Array, floor: Array, out: Array) -> None:
    """Write the logarithms of the rolling standard deviations, where half of a window was read.

    After a gap, or a start of the agent, a few readings would look like a series that came to rest.
    """
    values = window.values[:, -LOOKBACK:].T - centre
    known = np.isfinite(values)
    if not known.all():
        values = np.where(known, values, 0)
    squares = values * values
    total = np.zeros((3, len(centre)), dtype=np.float32)
    end = len(values)
    for place, width in enumerate(WINDOWS):
        start = max(0, len(values) - width)
        total[0] += known[start:end].sum(axis=0)
        total[1] += values[start:end].sum(axis=0)
        total[2] += squares[start:end].sum(axis=0)
        end = start
        mean = total[1] / total[0]
        variance = np.maximum(total[2] / total[0] - mean * mean, 0)
        np.log(np.maximum(np.sqrt(variance), floor), out=out[place])
        out[place, total[0] < width / 2] = np.nan


def _roughness(before: Array, step: Array, deviation: Array) -> Array:
    """Return the short means of the absolute step and of the absolute deviation ``(2, rows)``."""
    after = before.copy()
    known = np.isfinite(step)
    after[0] += np.where(known, ROUGH_GAIN * (np.abs(step) - before[0]), 0)
    after[1] += ROUGH_GAIN * (np.abs(deviation) - before[1])
    return after


def _step_s(window: Window) -> float:
    """Return the step of the newest readings; before there are two, five minutes."""
    if len(window.time) < 2:
        return PROFILE_STEP_S
    steps = np.diff(window.time[-8:])
    forward = steps[steps > 0]  # where the clock was set back one is none, or goes back
    return float(forward.min()) * 1e-9 if len(forward) else PROFILE_STEP_S
