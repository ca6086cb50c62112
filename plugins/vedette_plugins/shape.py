"""Detector ``shape``: whether the last eight readings look like any eight readings before.

Idea: LODA, the lightweight on-line detector of anomalies (Pevny, Machine Learning 2016), on windows
of eight readings. Each window is looked at from eight sides: projections to one number each. Per
series and projection a histogram of what was seen is kept, slowly forgotten; a window is as strange
as the mean of -log of its eight shares. So a level, a slope or a jump that would be nothing special
elsewhere is strange for this series, from below or above or in the gap between two usual ones.

Deviations from the paper, each measured on the same data:

- The projections are chosen and not drawn: the newest reading, its first and second difference, the
  means over 4 and 8, the differences of neighbouring means of 2 and of 4, and the newest less the
  mean of the eight before it. Eight random ones find less on two of three data sets, and the seed
  alone moves the result (VUS-PR of the Microsoft set .51 to .60, of ASD .21 to .30).
- Bins are of equal width in sign(y) log(1 + abs(y)), y the projection in scales of the series: fine
  in the middle, coarse far out, no range to be known beforehand.
- Location and scale of the series are exponentially weighted with clipped learning (as ``robust``).

The other candidate was the idea of Netdata's detector, the distance of a vector of smoothed
differences to what k-means found usual: a codebook of eight windows per series, learned on-line, at
the same price. Its best variants found fewer events on all three sets (below).

No opinion (NaN) until a series was read for ``LEARN`` + ``WARM`` readings, moved ``MOVES`` times,
and the last nine readings are there without a gap: what is read less often than once a minute has
none. Nor where ``alarm = "never"``. A reading on the side on which nobody cares is not strange, nor
a window that is less than ``matters`` of a declared limit off.

The score is a mean of -log of shares, so it means the same for every series: half of all readings
are under 0.7, one in a hundred over 3, one in ten thousand over 6 to 7, in each of the data sets.
Hence one threshold for all, high enough for a host of thousands of series: what is less strange
serves as evidence.

Measured: the raw score with one setting for all (VUS-PR / best event F1 / recall at one false alarm
a week), beside the codebook, and beside eight random projections with the same bins and memory:

=========================  ====================  ====================  ====================
data                       this                  codebook, the best    random
=========================  ====================  ====================  ====================
Microsoft monitoring       .650 / .502 / .659    .602 / .495 / .645    .596 / .471 / .594
ASD, strangest fifth       .337 / .608 / .526    .373 / .321 / .211    .300 / .424 / .342
NAB standard, FP, FN       39.9 / 32.5 / 44.6    9.8 / 5.1 / 12.3      36.3 / 27.4 / 44.2
=========================  ====================  ====================  ====================

At the threshold, twice in a row: no false alarm in 1,654 series-days of the first set and 180
host-days of the second, with 1 and 5 % of the events found; on NAB 11 of 116 windows and no false
row.

Cost: 376 bytes of state per series; for 2,000 series 0.2 ms to score and 0.25 ms to learn, once a
minute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vedette.api import Detector, Evidence, StateArray, Window, hookimpl
from vedette_plugins._minded import least, sides

State = Mapping[str, NDArray[np.float32]]
Floats = NDArray[np.floating]

#: Readings that one look takes in.
LENGTH = 9
#: What is looked at: weights of the readings, newest last, and how to say it.
_SIDES: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("its value", (0, 0, 0, 0, 0, 0, 0, 0, 1)),
    ("its last step", (0, 0, 0, 0, 0, 0, 0, -1, 1)),
    ("the bend of its last steps", (0, 0, 0, 0, 0, 0, 1, -2, 1)),
    ("its level over 4 readings", (0, 0, 0, 0, 0, 1 / 4, 1 / 4, 1 / 4, 1 / 4)),
    ("its level over 8 readings", (0, *(1 / 8,) * 8)),
    ("its change within 4 readings", (0, 0, 0, 0, 0, -1 / 2, -1 / 2, 1 / 2, 1 / 2)),
    ("its change within 8 readings", (0, *(-1 / 4,) * 4, *(1 / 4,) * 4)),
    ("its distance from the 8 readings before", (*(-1 / 8,) * 8, 1)),
)
SIDES = np.array([weights for _, weights in _SIDES], dtype=np.float32)
#: Bins of each histogram, and where they end, in scales of the series.
BINS, REACH = 11, 30.0
_EDGE = math.log1p(REACH)
#: A bin that was never hit counts as hit this often.
PRIOR = 0.1
#: Readings over which a histogram is forgotten to a third: two days at one a minute.
MEMORY = 3000.0
#: The weight of a reading grows, instead of all others' shrinking, up to here.
WEIGHT_MOST = 1e4
#: Readings over which location and scale are learned, and how far off one may be to count whole.
SPAN, CLIP = 1000.0, 4.0
#: A scale is never under this part of the location: what moves less is rounding.
FLOOR = 0.001
#: Readings before the first histogram entry, and entries before the first score.
LEARN, WARM = 60.0, 150.0
#: Readings at which it moved, before it is taken for a series that does (as `robust`).
MOVES = 3.0


class ShapeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is too small to matter."""

    matters: Annotated[
        float,
        Meta(
            description="Part of a declared limit below which a deviation is never strange.",
            ge=0,
            le=1,
        ),
    ] = 0.1


class Shape(Detector):
    """Windows of readings by the histograms of their projections."""

    name = "shape"
    Config = ShapeConfig
    threshold = 7.0
    confirm = 2
    release = 5
    cadence_s = 60
    lookback = LENGTH
    state: ClassVar[Mapping[str, StateArray]] = {
        "count": StateArray(0.0),
        "moves": StateArray(0.0),
        "location": StateArray(0.0),
        "scale": StateArray(0.0),
        "weight": StateArray(1.0),
        "total": StateArray(0.0),
        "bins": StateArray(0.0, width=len(SIDES) * BINS),
    }

    def __init__(self, config: ShapeConfig) -> None:
        super().__init__(config)
        self.matters = config.matters
        self._generation = -1
        self._high = self._low = np.empty(0, dtype=bool)
        self._least = np.empty(0, dtype=np.float32)
        self._limited = np.empty(0, dtype=np.intp)

    def score(self, window: Window, state: State) -> NDArray[np.float32]:
        self._prepare(window)
        scores = np.full(len(window.series), np.nan, dtype=np.float32)
        if window.values.shape[1] < LENGTH:
            return scores
        ready = (state["count"] >= LEARN + WARM) & (state["moves"] >= MOVES)
        ready &= (self._high | self._low) & np.isfinite(window.values).all(axis=1)
        rows = np.flatnonzero(ready)
        if len(rows):
            off = window.values[rows, -1] - state["location"][rows]
            cared = np.where(off >= 0, self._high[rows], self._low[rows])
            found = _rarity(window.values, state, rows).mean(axis=0)
            scores[rows] = np.where(cared, found, 0)
            small = self._limited[ready[self._limited]]
            farthest = np.abs(window.values[small] - state["location"][small, None]).max(axis=1)
            scores[small[farthest < self._least[small]]] = 0
        return scores

    def learn(self, window: Window, state: State) -> None:
        values = window.values
        now = values[:, -1]
        read = np.isfinite(now)
        if values.shape[1] == LENGTH:
            whole = np.isfinite(values).all(axis=1) & (state["count"] >= LEARN)
            _enter(values, state, np.flatnonzero(whole))
        count, location, scale = state["count"], state["location"], state["scale"]
        first = read & (count == 0)
        location[first] = now[first]
        count += read
        if values.shape[1] > 1:
            with np.errstate(invalid="ignore"):
                moved = read & (np.abs(now - values[:, -2]) > 0)
            state["moves"] += moved
        gain = np.where(read, 1 / np.clip(count, 1, SPAN), 0).astype(np.float32)
        reach = np.where(count > LEARN, CLIP * np.maximum(scale, FLOOR * np.abs(location)), np.inf)
        off = np.where(read, np.clip(now - location, -reach, reach), 0).astype(np.float32)
        location += gain * off
        scale += gain * (np.abs(off) - scale)

    def learning(self, window: Window, state: State) -> NDArray[np.bool_]:
        self._prepare(window)
        return (state["count"] < LEARN + WARM) & (self._high | self._low)

    def explain(self, window: Window, state: State, row: int) -> Evidence:
        location, scale = float(state["location"][row]), float(state["scale"][row])
        low, high = location - 3 * scale, location + 3 * scale
        series = window.series[row]
        # What was never negative is not expected to become so.
        if series is not None and series.instrument.unit != "Cel" and location >= 0:
            low = max(0.0, low)
        if window.values.shape[1] < LENGTH or not np.isfinite(window.values[row]).all():
            return Evidence(low, high)
        rarest = int(_rarity(window.values, state, np.array([row]))[:, 0].argmax())
        return Evidence(
            low, high, f"its course is unlike any before, most of all {_SIDES[rarest][0]}"
        )

    def _prepare(self, window: Window) -> None:
        """Derive what the instruments say about each row, once per generation."""
        if window.generation == self._generation and len(self._high) == len(window.series):
            return
        self._high, self._low = sides(window.series) > 0
        self._least = least(window.series, self.matters)
        self._limited = np.flatnonzero(self._least)
        self._generation = window.generation


def _places(values: NDArray[np.float32], state: State, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return into which bin each projection of the rows falls, ``(projections, rows)``."""
    location, scale = state["location"][rows], state["scale"][rows]
    width = np.maximum(np.maximum(scale, FLOOR * np.abs(location)), np.float32(1e-30))
    with np.errstate(over="ignore"):
        scaled = (values.T.take(rows, axis=1) - location) / width
    scaled = np.clip(scaled, -1e6, 1e6)
    sides = SIDES @ scaled
    # log and not log1p: of float32 it is ten times as fast.
    bent = np.copysign(np.log(np.abs(sides) + 1), sides)
    scaled = np.clip((bent + _EDGE) * (BINS / (2 * _EDGE)), 0, BINS - 1)
    places: NDArray[np.intp] = scaled.astype(np.intp)
    places += np.arange(len(SIDES), dtype=np.intp)[:, None] * BINS
    return places


def _rarity(values: NDArray[np.float32], state: State, rows: NDArray[np.intp]) -> Floats:
    """Return -log of the share of each projection's bin, ``(projections, rows)``."""
    # Looked up in one dimension: a fifth of the time that a pair of indices takes.
    bins = state["bins"]
    hits = bins.ravel(order="F").take(_places(values, state, rows) * len(bins) + rows)
    prior = PRIOR * state["weight"][rows]
    share = (hits + prior) / (state["total"][rows] + BINS * prior)
    found: Floats = -np.log(share)
    return found


def _enter(values: NDArray[np.float32], state: State, rows: NDArray[np.intp]) -> None:
    """Count the windows of the rows in the histograms."""
    if not len(rows):
        return
    weight, total, bins = state["weight"], state["total"], state["bins"].T
    grown = weight[rows] * np.float32(1 + 1 / MEMORY)
    weight[rows] = grown
    # A bin holds one entry per row: no index comes twice.
    bins[_places(values, state, rows), rows] += grown
    total[rows] += grown
    heavy = rows[grown > WEIGHT_MOST]
    if len(heavy):
        bins[:, heavy] /= weight[heavy]
        total[heavy] /= weight[heavy]
        weight[heavy] = 1


@hookimpl
def register_detectors() -> list[type[Detector]]:
    return [Shape]
