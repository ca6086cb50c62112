"""Detector ``robust``: how far a series is from its own adaptive location, in its own scale.

Idea: per series an exponentially weighted location and mean absolute deviation. They begin, when
``warm_up`` readings are there, as the median and the deviation of the calmer part of those, so that
a burst during the warm-up does not pass for the rule. From then on they learn with gain 1/n until
``span`` readings are seen, from readings clipped at ``CLIP`` scales (Huber's influence function):
an outlier moves neither, and a lasting level shift is accepted slowly.

A reading is as strange as the lesser of two: the newest reading, and a short mean over ``smooth``
readings. So a step shows within a few readings, a single spike counts little, and what is over is
over at once. Scores are in units of the scale, on the side on which the instrument's ``alarm`` says
a person cares.

The same number is told twice. ``robust`` is that of the newest reading: quick, and calibrated by
the past of the series. ``lasting`` is the least of the last whole block and of the one begun,
five to ten seconds, or readings where ticks are further apart: bursts and spikes are none, so one
threshold serves all series, and stays where it is when a fault has come before. What a series does
for an hour each night is its habit: the level that it is above for more than ``SELDOM`` of the time
is followed by slow stochastic approximation, and what lasts has to be well above that.

No opinion (NaN) while a series has been read fewer than ``warm_up`` times, or has not moved at
least ``MOVES`` times (constant series), or is declared ``alarm="never"``. For a series with a
declared ``limit`` a deviation under ``matters`` of that limit is never strange: a CPU that goes
from 1 to 4 % is no one's incident, whatever its scale; nor are some kilobytes a second more of
traffic on an interface that has none as a rule.

Sources: Huber, Robust Estimation of a Location Parameter (1964); exponentially weighted moments as
in West, Updating mean and variance estimates (CACM 1979). Deviation from them: the scale is the
mean absolute deviation (no square, float32 safe), and gains are per reading, so a series read every
10 s learns ten times slower than one read each second.
Cost: 40 bytes of state per series; about 35 array operations a tick, 0.04 to 0.15 µs per series.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vedette.api import Detector, Evidence, Head, Instrument, StateArray, Window, hookimpl
from vedette_plugins._minded import band, sides

#: Readings further than this many scales from the location teach no more than one at that distance.
CLIP = 4.0
#: The warm-up's strangest readings, as a part of them, do not count for the first scale ...
TRIM = 0.25
#: (of normal noise the rest deviates by this part of the whole) ...
CALM_PART = 0.645
#: ... which is never under this part of the scale with them: what is quiet but for bursts has one.
TRIMMED_LEAST = 0.25
#: Ticks in which the warm-up's readings are looked for: 60 readings, 10 s apart.
LOOKBACK = 620
#: Changes of value after which a series is no longer taken for constant.
MOVES = 3.0
#: A scale is never under this part of the location: float32 and rounding noise is not strangeness.
FLOOR = 0.01
#: What is counted in whole things (a unit in braces) is never steadier than chance would have it:
#: the mean absolute deviation of a Poisson variable is about this part of its mean's root. Of what
#: there is (no counter) one more or less is chance even where there is none as a rule.
CHANCE = 0.8
#: By how much a rate has to differ, by its unit: less is no burden to any disk or network (bytes),
#: filesystem (files made) or scheduler (processes started), however quiet the host was before.
RATES_MATTER = {"By": 4 * 1024.0 * 1024.0, "{inode}": 200.0, "{process}": 20.0}
#: Seconds of a block, and its readings where ticks are further apart than a second: what lasts is
#: known ten seconds after it began, or ten readings.
BLOCK_S, BLOCK_READINGS = 5.0, 5
#: Ticks are that early or late at most.
HALF_TICK_S = 0.5
#: Scales that a whole block was off, from which that is a finding. Of 90 series of a host whose two
#: cores ran tests all the time, none got there in the 20 minutes between faults.
LASTING = 20.0
#: Readings that it has to be so for, besides, for each tenfold of lively series beyond eight: there
#: one or the other is in a burst at any time.
OFTENER = 15.0
#: How far what lasts has to be above the level that a series exceeds for this part of the time; and
#: the step, of the logarithm, by which that level rises with each reading above it.
MORE, SELDOM, HABIT_STEP = 1.5, 0.003, 0.002


class RobustConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How quickly normal is learned, and what is too small to matter."""

    warm_up: Annotated[
        int, Meta(description="Readings of a series before it is judged at all.", ge=10)
    ] = 60
    span: Annotated[
        int,
        Meta(description="Readings over which location and scale are learned, once warm.", ge=30),
    ] = 900
    smooth: Annotated[
        int, Meta(description="Readings of the short mean that is judged.", ge=1, le=60)
    ] = 4
    matters: Annotated[
        float,
        Meta(
            description="Part of a declared limit below which a deviation is never strange.",
            ge=0,
            le=1,
        ),
    ] = 0.1


class Robust(Detector):
    """Adaptive location and scale per series, with clipped learning."""

    name = "robust"
    Config = RobustConfig
    lookback = LOOKBACK
    heads = (
        Head("robust", confirm=3, confirm_s=4.0, release=2, release_s=10.0),
        Head(
            "lasting",
            threshold=LASTING,
            confirm=1,
            release=2,
            release_s=10.0,
            oftener=OFTENER,
        ),
    )
    coarsest_s = 30.0
    state: ClassVar[Mapping[str, StateArray]] = {
        "count": StateArray(0.0),
        "moves": StateArray(0.0),
        "last": StateArray(float("nan"), transient=True),
        "location": StateArray(float("nan")),
        "scale": StateArray(0.0),
        "fast": StateArray(float("nan"), transient=True),
        # The least score of the block of readings that is under way, and of the one before.
        "least": StateArray(float("inf"), transient=True),
        "before": StateArray(0.0, transient=True),
        # How old the block that is under way is, in seconds; a tick is one at most.
        "age": StateArray(0.0, transient=True),
        # The logarithm of one and the level of what lasts that is exceeded seldom.
        "habit": StateArray(0.0),
    }

    def __init__(self, config: RobustConfig) -> None:
        super().__init__(config)
        self.warm_up = config.warm_up
        self.span = float(config.span)
        self.smoothing = np.float32(2.0 / (config.smooth + 1.0))
        self.matters = config.matters
        self._generation = -1
        self._seen: tuple[Window, NDArray[np.float32], NDArray[np.float32]] | None = None
        self._high = self._low = self._least = self._one = np.empty(0, dtype=np.float32)
        self._counted = np.empty(0, dtype=bool)

    def score(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        quick = self._quick(window, state)
        self._seen = window, state["count"], quick
        habit = np.maximum(np.expm1(state["habit"]) * np.float32(MORE / LASTING), np.float32(1))
        return np.stack((quick, _lasting(quick, state) / habit))

    def _quick(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Return the strangeness of the newest readings."""
        self._prepare(window)
        now = window.values[:, -1]
        fast, location = state["fast"], state["location"]
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            lasting = fast + self.smoothing * (now - fast) - location
            newest = now - location
            above = np.minimum(lasting, newest)
            below = np.minimum(-lasting, -newest)
            deviation = np.maximum(above * self._high, below * self._low)
            wide = np.maximum(state["scale"], FLOOR * np.abs(location))
            by_chance = CHANCE * np.sqrt(np.maximum(np.abs(location), self._one))
            wide = np.where(self._counted, np.maximum(wide, by_chance), wide)
            scores = deviation / np.maximum(wide, np.float32(1e-9))
            scores = np.where(deviation < self._least, np.float32(0), scores)
            silent = (
                (state["count"] < self.warm_up)
                | (state["moves"] < MOVES)
                | (self._high + self._low == 0)
            )
        scores[silent] = np.nan
        quick: NDArray[np.float32] = np.maximum(scores, np.float32(0))
        return quick

    def learn(self, window: Window, state: Mapping[str, NDArray[np.float32]]) -> None:
        now = window.values[:, -1]
        read = np.isfinite(now)
        state["age"] += min(_elapsed(window), BLOCK_S / BLOCK_READINGS)
        if not read.any():
            return
        self._follow(window, state, read)
        count, location, scale = state["count"], state["location"], state["scale"]
        fast, last, moves = state["fast"], state["last"], state["moves"]
        first = read & np.isnan(location)
        location[first] = now[first]
        resumed = read & np.isnan(fast)
        fast[resumed] = last[resumed] = now[resumed]
        value = np.where(read, now, location)
        np.add(count, read, out=count, casting="unsafe")
        np.add(moves, value != np.where(read, last, location), out=moves, where=read)
        gain = np.where(read, 1.0 / np.clip(count, 1.0, self.span), 0).astype(np.float32)
        deviation = value - location
        # Before it is warm the scale is still growing towards its size: nothing is clipped then.
        reach = np.where(count > self.warm_up, CLIP * scale + FLOOR * np.abs(location), np.inf)
        clipped = np.clip(deviation, -reach, reach)
        location += gain * clipped
        scale += gain * (np.abs(clipped) - scale)
        fast += np.where(read, self.smoothing * (value - fast), 0).astype(np.float32)
        np.copyto(last, value, where=read)
        warm = np.flatnonzero(read & (count == self.warm_up))
        if len(warm):
            location[warm], scale[warm] = _begin(window.values[warm])

    def _follow(
        self,
        window: Window,
        state: Mapping[str, NDArray[np.float32]],
        read: NDArray[np.bool_],
    ) -> None:
        """Fold the newest scores into the blocks; call before anything else is learned."""
        seen, self._seen = self._seen, None
        if seen is None or seen[0] is not window or seen[1] is not state["count"]:
            seen = window, state["count"], self._quick(window, state)
        least, before, habit = state["least"], state["before"], state["habit"]
        with np.errstate(invalid="ignore"):
            above = _lasting(seen[2], state) > np.expm1(habit)
        step = np.where(above, np.float32(HABIT_STEP), np.float32(-HABIT_STEP * SELDOM))
        np.maximum(habit + step, np.float32(0), out=habit, where=read)
        newest = np.where(np.isnan(seen[2]), np.float32(0), seen[2])
        np.minimum(least, newest, out=least, where=read)
        age = state["age"]
        whole = read & (age >= BLOCK_S - HALF_TICK_S)
        before[whole] = least[whole]
        least[whole] = np.inf
        age[whole] = 0

    def learning(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.bool_]:
        self._prepare(window)
        return (state["count"] < self.warm_up) & (self._high + self._low > 0)

    def explain(
        self, window: Window, state: Mapping[str, NDArray[np.float32]], row: int
    ) -> Evidence:
        location, scale = float(state["location"][row]), float(state["scale"][row])
        return band(window.series[row], location, 3 * scale)

    def _prepare(self, window: Window) -> None:
        """Derive what the instruments say about each row, once per generation."""
        if window.generation == self._generation and len(self._high) == len(window.series):
            return
        self._high, self._low = sides(window.series)
        self._least = np.array(
            [self._matter(one.instrument) if one else 0.0 for one in window.series],
            dtype=np.float32,
        )
        instruments = [one.instrument if one else None for one in window.series]
        self._counted = np.array([one and one.unit.startswith("{") for one in instruments], bool)
        self._one = np.array(
            [1.0 if one and one.kind != "counter" else 0.0 for one in instruments], np.float32
        )
        self._generation = window.generation

    def _matter(self, one: Instrument) -> float:
        """Return the deviation below which nothing is strange."""
        if one.kind == "counter" or one.unit.endswith("/s"):
            return RATES_MATTER.get(one.unit.removesuffix("/s"), self.matters * (one.limit or 0.0))
        return self.matters * (one.limit or 0.0)


def _lasting(
    quick: NDArray[np.float32], state: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the least score of the newest readings, this one and a whole block among them."""
    least: NDArray[np.float32] = np.minimum(quick, np.minimum(state["least"], state["before"]))
    return least


def _elapsed(window: Window) -> float:
    """Return the seconds since the tick before."""
    return float(window.time[-1] - window.time[-2]) / 1e9 if len(window.time) > 1 else 0.0


def _begin(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return location and scale of the readings ``(rows, ticks)`` of series that became warm."""
    # np.nanmedian would load all of numpy.ma, more than a megabyte, for this one call.
    count = np.isfinite(values).sum(axis=1)
    ordered = np.sort(values, axis=1)  # NaN last
    lower = np.take_along_axis(ordered, ((count - 1) // 2)[:, None], axis=1)
    upper = np.take_along_axis(ordered, (count // 2)[:, None], axis=1)
    centre = (lower + upper)[:, 0] / 2
    deviation = np.sort(np.abs(values - centre[:, None]), axis=1)
    whole = np.nanmean(deviation, axis=1)
    kept = (count * (1 - TRIM)).astype(np.intp)
    inside = np.arange(deviation.shape[1]) < kept[:, None]
    calm = np.where(inside, deviation, 0).sum(axis=1) / np.maximum(kept, 1)
    scale = np.maximum(calm / CALM_PART, TRIMMED_LEAST * whole)
    return centre.astype(np.float32), scale.astype(np.float32)


@hookimpl
def register_detectors() -> list[type[Detector]]:
    return [Robust]
