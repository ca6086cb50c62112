"""Lay lines through the newest readings of many rows at once, and say how sure they are.

Exponentially weighted least squares with Huber's weights (Robust Estimation of a Location
Parameter, 1964), repeated a fixed number of times; the slope's error allows for residuals that hang
together (Newey and West, Econometrica 1987, with one lag). Pure; times are minutes from the newest
reading, 0 and below. Cost: about 60 array operations for all rows together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

#: Readings within a span that a line needs.
READINGS_LEAST = 8
#: A reading at the beginning of the span weighs exp of this, of the newest one's weight.
OLDEST_WEIGHS = -2.0
#: Residuals beyond this many scales weigh less (Huber 1964: 95 % as good on normal noise).
HUBER = 1.345
#: The fit is repeated with the weights of the one before.
FITS = 3
#: A share that is known no better than this moves by it for no reason: float32, rounded sources.
RESOLUTION = 1e-6
#: A step counts as this many mean steps at the most where the steps of a walk are measured.
BIG_STEP = 4.0
#: Parts of a span, steps up among those between them, most of the rise that two may make up.
PARTS, STEPS_UP, TWO_STEPS_MOST = 6, 4, 0.7


class Trend(NamedTuple):
    """Lines through rows of readings: share of the limit now, its rise a minute, that one's error.

    Each float64 ``(rows,)``; NaN where there are too few readings.
    """

    level: Floats
    slope: Floats
    error: Floats

    def minutes(self, deviations: float = 0.0) -> Floats:
        """Return the minutes to the limit with the slope so many errors off; inf: never."""
        slope = self.slope + deviations * self.error
        left = np.maximum(1.0 - self.level, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(slope > 0, left / slope, np.inf)


def fit(time: Floats, shares: NDArray[np.floating], span: float) -> Trend:
    """Lay a line through each row of ``shares`` ``(rows, n)`` at ``time`` ``(n,)``, minutes <= 0.

    Weights fall by e over half of the span, and by Huber's function; NaN counts for nothing.
    """
    known = np.isfinite(shares)
    y = np.where(known, shares, 0.0)
    usual = np.where(known, np.exp(time * (-OLDEST_WEIGHS / span)), 0.0)
    weight = usual
    for _ in range(FITS):
        centre, slope, x = _line(time, y, weight)
        off = np.where(known, y - centre[:, None] - slope[:, None] * x, 0.0)
        scale = _scale(off, usual)
        weight = usual * np.minimum(1.0, HUBER * scale[:, None] / np.maximum(np.abs(off), 1e-12))
    spread = (usual * x**2).sum(axis=1)
    noise = np.maximum((usual * off**2).sum(axis=1) / usual.sum(axis=1), RESOLUTION**2)
    error = np.sqrt(noise * _inertia(off, usual) * ((usual * x) ** 2).sum(axis=1)) / spread
    mean_time = time - x
    trend = Trend(centre - slope * mean_time[:, 0], slope, error)
    few = known.sum(axis=1) < READINGS_LEAST
    for values in trend:
        values[few] = np.nan
    return trend


def _line(time: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the weighted mean, the slope, and the time from its weighted mean, ``(rows, n)``."""
    total = np.maximum(weight.sum(axis=1), 1e-12)
    x = time - ((weight * time).sum(axis=1) / total)[:, None]
    centre = (weight * y).sum(axis=1) / total
    spread = np.maximum((weight * x**2).sum(axis=1), 1e-12)
    slope = (weight * x * y).sum(axis=1) / spread
    return centre, slope, x


def _scale(off: Floats, weight: Floats) -> Floats:
    """Return the residuals' scale: their mean size as a normal standard deviation."""
    size = (weight * np.abs(off)).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)
    scale: Floats = np.maximum(size * math.sqrt(math.pi / 2), RESOLUTION)
    return scale


def _inertia(off: Floats, weight: Floats) -> Floats:
    """Return by how much the slope's variance grows because neighbouring residuals are alike."""
    whole = np.maximum((weight * off**2).sum(axis=1), 1e-30)
    alike = (weight[:, 1:] * off[:, 1:] * off[:, :-1]).sum(axis=1) / whole
    # A line takes out some of the correlation, the more the fewer readings it goes through.
    readings = np.maximum((weight > 0).sum(axis=1), 1)
    alike = np.clip(alike + 4.0 / readings, 0.0, 0.95)
    grown: Floats = (1.0 + alike) / (1.0 - alike)
    return grown


def wandering(shares: NDArray[np.floating], begin: int) -> Floats:
    """Return the error of the rise per column since ``begin``, were the readings a random walk.

    Its steps have the variance and the lag-1 covariance of all steps in ``shares`` ``(rows, n)``;
    those of noise about a line cancel out, and single big ones (a clean-up) count for less.
    """
    steps = np.diff(np.asarray(shares, dtype=np.float64), axis=1)
    known = np.isfinite(steps)
    steps = np.where(known, steps, 0.0)
    count = np.maximum(known.sum(axis=1), 1)
    most = BIG_STEP * (np.abs(steps).sum(axis=1) / count)[:, None]
    steps = np.clip(steps, -most, most)
    for part, there in zip(np.hsplit(steps, [begin]), np.hsplit(known, [begin]), strict=True):
        mean = part.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        part -= np.where(there, mean[:, None], 0.0)
    lasting = (steps**2).sum(axis=1) + 2 * (steps[:, 1:] * steps[:, :-1]).sum(axis=1)
    within = max(shares.shape[1] - begin, 1)
    error: Floats = np.sqrt(np.maximum(lasting, 0.0) / count / within)
    return error


def steady(time: Floats, shares: NDArray[np.floating], span: float) -> NDArray[np.bool_]:
    """Say of which rows most parts of the span lie above the one before, without one big step."""
    edges = np.searchsorted(time, np.linspace(-span, 0.0, PARTS + 1)[:-1])
    known = np.isfinite(shares)
    count = np.add.reduceat(known, edges, axis=1)
    total = np.add.reduceat(np.where(known, shares, 0.0), edges, axis=1)
    steps = np.diff(total / np.maximum(count, 1), axis=1)
    up = np.maximum(steps, 0.0)
    pairs = (up[:, 1:] + up[:, :-1]).max(axis=1)
    many = (steps > 0).sum(axis=1) >= STEPS_UP
    level = pairs <= TWO_STEPS_MOST * up.sum(axis=1)
    found: NDArray[np.bool_] = np.all(count > 0, axis=1) & many & level
    return found
