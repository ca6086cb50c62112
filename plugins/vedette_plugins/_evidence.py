"""Say how strange a residual is: beyond which quantile, by what odds, and beyond which record.

Per channel and side the 0.99 quantile is followed in steps of a robust scale (stochastic
approximation), and mean and second moment of what exceeds it, which give a generalised Pareto tail
by moments: the evidence is -log10 of its probability, from 2 upwards, 0 below the quantile. The
*record* is the largest excess so far, slowly forgotten; an excess is told as a multiple of it too.
Learning comes after judging, and what is strange is clipped before it teaches.

Source: peaks over threshold (Pickands 1975), on streams Siffer et al., SPOT (KDD 2017); moments
after Hosking and Wallis (1987). Deviations: the shape is at most ``SHAPE_MOST``, because a few
excesses promise too little; the quantile moves by parts of a scale that is itself clipped, so a
fault of an hour cannot carry it off; the warm-up begins with the three largest residuals of it.

Per series 18 channels with 2 sides of 4 numbers, and their scales: 0.66 kB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vedette.api import StateArray
from vedette_plugins._channels import (
    COUNT,
    DAY,
    FIRST,
    LARGEST,
    LOGS,
    TINY,
    WEEK,
    Array,
    Residuals,
)

#: The quantile, and its step down in scales; up it is so much larger that 1 in 100 balances it.
ABOVE = 0.01
STEP = 2e-5
#: Span of the scales in readings, and the residual in scales beyond which one teaches no more.
SCALE_GAIN = 2 / 1001
CLIP = 5.0
SHAPE_MOST = 0.45
#: Gain of the moments per excess, and the most means that one excess teaches.
EXCESS_GAIN = 0.05
EXCESS_MOST = 20.0
#: What a record loses in five minutes, and the least it is, in scales.
FORGET = 1e-4
RECORD_LEAST = 0.5
#: A mean excess is never below this part of a scale.
EXCESS_LEAST = 0.05
#: Residuals before a channel is judged: readings 150 and 300, without the first dozen. Those of the
#: profiles begin when their bins were seen once.
WARM = 150.0 - FIRST
WARM_PROFILES = 300.0 - FIRST
#: Evidence is told up to this.
MOST = 20.0

_SIDES = 2 * COUNT
STATE: Mapping[str, StateArray] = {
    # Residuals of the channel, of the profiles' channels.
    "known": StateArray(0.0, width=3),
    "scale": StateArray(0.0, width=COUNT),
    "middle": StateArray(float("nan"), width=len(LOGS)),
    # Channel by channel: of what is too high, of what is too low. While it warms up the third,
    # second and first largest residual; a square below 0 says that it does.
    "quantile": StateArray(float("-inf"), width=_SIDES),
    "mean": StateArray(float("-inf"), width=_SIDES),
    "square": StateArray(-1.0, width=_SIDES),
    "record": StateArray(float("-inf"), width=_SIDES),
}
_LN10 = np.float32(np.log(10))


class Strange(NamedTuple):
    """What exceeds its quantile: places in ``(channels * 2, rows)``, flat, with their evidence."""

    #: Residuals of both sides ``(channels * 2, rows)``, and which channels are judged.
    sides: Array
    warm: NDArray[np.bool_]
    places: NDArray[np.intp]
    excess: Array
    #: -log10 p, and the multiple of the record.
    odds: Array
    ratio: Array

    def dense(self, values: Array) -> Array:
        """Return values of the places as ``(channels, 2, rows)``, 0 elsewhere."""
        out = np.zeros(self.sides.shape, dtype=np.float32)
        out.ravel()[self.places] = values
        return out.reshape(COUNT, 2, -1)


def strange(seen: Residuals, state: Mapping[str, Array]) -> Strange:
    """Find what exceeds its quantile, and say by how much."""
    rows = seen.left.shape[1]
    sides = np.empty((_SIDES, rows), dtype=np.float32)
    sides[0::2] = seen.left
    np.negative(seen.left, out=sides[1::2])
    warm = state["square"].T[0::2] >= 0
    quantile = state["quantile"].T
    with np.errstate(invalid="ignore"):
        beyond = (sides > quantile) & np.repeat(warm, 2, axis=0)
    places = np.flatnonzero(beyond)
    scale = np.maximum(_at(state["scale"].T, _channel(places, rows)), TINY)
    excess: Array = _at(sides, places) - _at(quantile, places)
    mean = np.clip(_at(state["mean"].T, places), EXCESS_LEAST * scale, LARGEST)
    odds = _odds(excess, mean, _at(state["square"].T, places))
    record = np.maximum(_at(state["record"].T, places), RECORD_LEAST * scale)
    ratio: Array = (excess / record).astype(np.float32)
    return Strange(sides, warm, places, excess, odds, ratio)


def learn(seen: Residuals, found: Strange, state: Mapping[str, Array]) -> None:
    """Fold the newest residuals in."""
    left = seen.left
    rows = left.shape[1]
    fresh = np.isfinite(left)
    known = state["known"].T
    known[0] += fresh[0]
    known[1] += fresh[DAY]
    known[2] += fresh[WEEK]
    of_channel = _per_channel(known)
    _scales(left, fresh, of_channel, found.warm, state)
    scale = state["scale"].T
    live = np.repeat(fresh & found.warm, 2, axis=0)
    quantile, record = state["quantile"].T, state["record"].T
    step = np.repeat(np.float32(STEP) * scale, 2, axis=0)
    np.subtract(quantile, step, out=quantile, where=live)
    np.multiply(record, 1 - FORGET * seen.part, out=record, where=live, casting="same_kind")
    if len(found.places):
        _excesses(found, step, state)
    cold = fresh & ~found.warm
    if cold.any():
        _warm_up(found.sides, cold, of_channel, scale, state, rows)


def _scales(
    left: Array,
    fresh: NDArray[np.bool_],
    of_channel: Array,
    warm: NDArray[np.bool_],
    state: Mapping[str, Array],
) -> None:
    """Follow the mean absolute residual of each channel, from clipped residuals."""
    scale, middle = state["scale"].T, state["middle"].T
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.maximum(np.float32(SCALE_GAIN), 1 / of_channel)
        reach = np.where(warm, np.float32(CLIP) * scale, np.float32(np.inf))
        size = left.copy()
        # A value as it is has its mean of 1,000 for a middle, a logarithm one of its own.
        size[0] = left[3]
        logs = list(LOGS)
        np.copyto(middle, left[logs], where=fresh[logs] & np.isnan(middle))
        size[logs] -= middle
        clipped = np.clip(size, -reach, reach)
        moved = gain[logs] * clipped[logs]
        np.add(middle, moved, out=middle, where=fresh[logs])
        change = gain * (np.abs(clipped) - scale)
    np.add(scale, change, out=scale, where=fresh)


def _excesses(found: Strange, step: Array, state: Mapping[str, Array]) -> None:
    """Let what exceeded teach quantile, moments and record."""
    places = found.places
    quantile, record = state["quantile"].T, state["record"].T
    up = np.float32(1 / ABOVE) * _at(step, places)
    _set(quantile, places, _at(quantile, places) + up)
    mean, square = _at(state["mean"].T, places), _at(state["square"].T, places)
    most = np.minimum(EXCESS_MOST * np.maximum(mean, TINY), LARGEST)
    taught = np.minimum(found.excess, most)
    _set(state["mean"].T, places, mean + EXCESS_GAIN * (taught - mean))
    _set(state["square"].T, places, square + EXCESS_GAIN * (taught * taught - square))
    _set(record, places, np.maximum(_at(record, places), found.excess))


def _warm_up(
    sides: Array,
    cold: NDArray[np.bool_],
    of_channel: Array,
    scale: Array,
    state: Mapping[str, Array],
    rows: int,
) -> None:
    """Keep the three largest residuals; of channels that become warm make the first tail."""
    learning = np.repeat(cold, 2, axis=0)
    value = np.where(learning, sides, np.float32(-np.inf))
    third, second, first = state["quantile"].T, state["mean"].T, state["record"].T
    np.maximum(third, np.minimum(second, value), out=third, where=learning)
    np.maximum(second, np.minimum(first, value), out=second, where=learning)
    np.maximum(first, value, out=first, where=learning)
    # A channel waits for a residual of its own, and for the third: there may have been gaps.
    enough = cold & _reached(of_channel) & (third[0::2] > -np.inf)
    ready = np.flatnonzero(np.repeat(enough, 2, axis=0))
    if not len(ready):
        return
    # Of 150 residuals the 0.99 quantile lies half way between the second and the third.
    begin = (_at(third, ready) + _at(second, ready)) / 2
    least = np.maximum(_at(scale, _channel(ready, rows)), TINY) / 10
    largest = np.maximum(_at(first, ready) - begin, least)
    mean = np.minimum(np.float32(0.7) * largest, LARGEST)
    _set(state["quantile"].T, ready, begin)
    _set(state["record"].T, ready, largest)
    _set(state["mean"].T, ready, mean)
    _set(state["square"].T, ready, 2 * mean * mean)


def _odds(excess: Array, mean: Array, square: Array) -> Array:
    """Return -log10 p of excesses by a generalised Pareto tail with these moments."""
    variance = np.maximum(square - mean * mean, np.float32(1e-6) * mean * mean)
    form = mean * mean / variance
    shape = np.clip((1 - form) / 2, np.float32(0.01), np.float32(SHAPE_MOST))
    size = mean * (1 - shape)
    odds = 2 + np.log1p(shape * excess / size) / (shape * _LN10)
    capped: Array = np.minimum(odds, np.float32(MOST)).astype(np.float32)
    return capped


def _per_channel(known: Array) -> Array:
    """Return of each channel how many residuals it had, ``(channels, rows)``."""
    out = np.repeat(known[:1], COUNT, axis=0)
    out[DAY], out[WEEK] = known[1], known[2]
    return out


def _reached(of_channel: Array) -> NDArray[np.bool_]:
    reached = of_channel >= WARM
    reached[[DAY, WEEK]] = of_channel[[DAY, WEEK]] >= WARM_PROFILES
    return reached


def _channel(places: NDArray[np.intp], rows: int) -> NDArray[np.intp]:
    """Return the place in ``(channels, rows)``, flat, of each place with its side."""
    return places // (2 * rows) * rows + places % rows


def _at(array: Array, places: NDArray[np.intp]) -> Array:
    found: Array = np.take(array, places)
    return found


def _set(array: Array, places: NDArray[np.intp], values: NDArray[np.floating]) -> None:
    np.put(array, places, values)
