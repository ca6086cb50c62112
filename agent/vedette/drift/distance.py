"""Measure how far two distributions are from each other, from what sketches have of them.

From two rows of counts in the same bins: PSI and Jensen-Shannon. From histograms laid side by side
(``numbers.spread``): Kolmogorov-Smirnov and Wasserstein.

PSI (the sum of ``(p - q) ln(p / q)``, twice the mean of both Kullback-Leibler divergences) is too
large in small windows: without any drift its mean is ``(B - 1)(1/n + 1/m)`` in ``B`` bins, which of
200 records against 200 is 0.09 of the 0.1 that is commonly taken for drift. That is taken off, so
it is 0 on average where nothing drifts, however small the window; it may be a little below 0.
Bins are the tenths of the baseline, as near as its buckets tell, fewer in small windows.

Kolmogorov-Smirnov sees a difference at the edges of buckets alone, and is too small by what lies
within the fullest of them. Wasserstein is the area between both distribution functions, in standard
deviations of the baseline.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vedette.drift.numbers import Counts, Spread

__all__ = ["jensen_shannon", "kolmogorov_smirnov", "psi", "tenths", "wasserstein"]

BINS = 10
#: Records of the smaller side for each bin.
PER_BIN = 20


def psi(base: Counts, now: Counts) -> float:
    """Return the population stability index of counts ``(k,)``, less what chance makes of it.

    Half a record is added to each bin, so that an empty one is not infinitely far (Jeffreys).
    """
    used = (base + now) > 0
    base, now = base[used], now[used]
    n, m = int(base.sum()), int(now.sum())
    if not n or not m or len(base) < 2:
        return 0.0
    p, q = _smoothed(base), _smoothed(now)
    found = float(((p - q) * np.log(p / q)).sum())
    return found - (len(base) - 1) * (1 / n + 1 / m)


def jensen_shannon(base: Counts, now: Counts) -> float:
    """Return the Jensen-Shannon distance (the root of the divergence in bits), 0 to 1."""
    if not base.sum() or not now.sum():
        return 0.0
    p, q = base / base.sum(), now / now.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.nansum(p * np.log2(p / middle)) + np.nansum(q * np.log2(q / middle))
    return math.sqrt(min(max(float(parts) / 2, 0.0), 1.0))


def kolmogorov_smirnov(both: Spread) -> float:
    """Return the greatest distance of both distribution functions, 0 to 1."""
    base, now = _functions(both)
    return float(np.abs(base - now).max(initial=0.0))


def wasserstein(both: Spread, deviation: float) -> float:
    """Return the mean distance that a value has moved, in deviations of the baseline.

    Infinite when the baseline has no deviation and something moved.
    """
    base, now = _functions(both)
    moved = float((np.abs(base - now)[:-1] * np.diff(both.middles)).sum())
    if not moved:
        return 0.0
    return moved / deviation if deviation > 0 else math.inf


def tenths(both: Spread) -> Counts:
    """Return the counts of both in bins of even weight in the baseline, int64 ``(2, k)``.

    What is below or above all of the baseline belongs to its first and last bin. A baseline of one
    value gives three bins: below, there, above.
    """
    base = both.counts[0]
    total, smaller = int(base.sum()), int(both.counts.sum(axis=1).min())
    if not total:
        return np.zeros((2, 0), np.int64)
    bins = min(BINS, max(2, smaller // PER_BIN))
    running = np.cumsum(base)
    wanted = np.arange(1, bins) * (total / bins)
    # A bucket ends a bin when what lies up to its end is nearest to what is wanted.
    after = np.searchsorted(running, wanted)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(running[before] - wanted) < np.abs(running[after] - wanted)
    # Each of them once; np.unique loads numpy.ma, half a megabyte.
    ends = np.flatnonzero(np.bincount(np.where(nearer, before, after))) + 1
    inner = ends[(running[ends - 1] > 0) & (running[ends - 1] < total)]
    if not len(inner):  # one bucket has it all
        at = int(np.argmax(base))
        inner = np.array([one for one in (at, at + 1) if 0 < one < len(base)], dtype=np.int64)
    starts = np.concatenate((np.zeros(1, np.int64), inner))
    found: NDArray[np.int64] = np.add.reduceat(both.counts, starts, axis=1)
    return found


def _smoothed(counts: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares


def _functions(both: Spread) -> NDArray[np.float64]:
    totals = np.maximum(both.counts.sum(axis=1, keepdims=True), 1)
    functions: NDArray[np.float64] = np.cumsum(both.counts, axis=1) / totals
    return functions
