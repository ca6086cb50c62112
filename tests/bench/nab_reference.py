"""Re-run detectors with published scores on NAB, so that the scorer can be held against them.

What each detector does is told by numenta/NAB (``nab/detectors``); the code is our own. All see
what NAB's base class hands over, the smallest and the largest value of the whole file among it, so
they are no models to follow. NAB wrote its results with 12 digits, and that matters: whatever is
nearer to 1 than 5e-13 becomes 1, and 1 is a threshold.

Published are the scores of a sweep over NAB's committed results, and where they differ those at its
committed thresholds (``config/thresholds.json``, ``results/final_results.json``).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nab_scorer import probation
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Reference(NamedTuple):
    """A detector, values ``(rows,)`` to scores ``(rows,)``, and its published scores.

    ``published`` has the score of a sweep for each of ``nab_scorer.PROFILES``; ``committed`` the
    thresholds that NAB has for them and the scores there, where a sweep finds better ones.
    """

    name: str
    detect: Callable[[Values], Values]
    published: tuple[float, float, float]
    committed: tuple[tuple[float, float], ...] = ()


def read_values(path: Path) -> Values:
    """Return the second column of a CSV, ``(rows,)``."""
    lines = path.read_text().splitlines()[1:]
    return np.array([line.split(",", 2)[1] for line in lines], dtype=np.float64)


def null(values: Values) -> Values:
    """Say 0.5 always: what every score is measured from."""
    return np.full(len(values), 0.5)


def clock(values: Values, every: int = 500) -> Values:
    """Ring every 500 scored rows, whatever happens: what knowing nothing is worth."""
    row = np.arange(len(values)) - probation(len(values))
    return np.where(row % every == 0, 1.0, 0.0)


def random_numbers(values: Values) -> Values:
    """Draw from the same generator and seed as NAB, anew for each file."""
    drawn = random.Random(42)
    return np.array([drawn.random() for _ in values])


def windowed_gaussian(values: Values, window: int = 6_400, step: int = 100) -> Values:
    """Return the normal distribution's mass on the near side of a value.

    Mean and standard deviation are of all values before until there are ``window``, then of a
    window that moves on by ``step``.
    """
    scores = np.zeros(len(values))
    mean = deviation = 0.0
    for row, value in enumerate(values.tolist()):
        if row:
            distance = abs(value - mean) / deviation
            scores[row] = _printed(1 - 0.5 * math.erfc(distance / math.sqrt(2)))
        begin = row + 1 - window
        if begin <= 0 or begin % step == 0:
            seen = values[max(begin, 0) : row + 1]
            mean, deviation = float(seen.mean()), float(seen.std()) or 1e-6
    return scores


#: The 0.99 quantile of chi-squared with four degrees of freedom.
_CHI_SQUARED = 13.276704135987622


def relative_entropy(values: Values, window: int = 52, bins: int = 5) -> Values:
    """Return 1 where the histogram of the last ``window`` values is like none seen before.

    Wang and others, "Statistical Techniques for Online Anomaly Detection in Data Centers", IM
    2011: two histograms agree if their relative entropy, doubled and times the window, is below a
    quantile of chi-squared. The bins are equal parts of the file's own range.
    """
    low, high = values.min(), values.max()
    width = (high - low) / bins
    scores = np.zeros(len(values))
    if width == 0:
        return scores
    places = np.ceil((values - low) / width)
    # The last bin has both edges; what rounding puts beyond it is in no bin.
    bin_of = np.where(places > bins, -1, np.minimum(places, bins - 1)).astype(int)
    known = np.empty((0, bins))
    agreed: set[bytes] = set()
    for row in range(window - 1, len(values)):
        taken = bin_of[row + 1 - window : row + 1]
        counts = np.bincount(taken[taken >= 0], minlength=bins)
        mark = counts.tobytes()
        if mark in agreed:
            continue
        agreed.add(mark)
        share = counts / counts.sum()
        if not (2 * window * _entropies(share, known) < _CHI_SQUARED).any():
            scores[row] = 1.0 if len(known) else 0.0
            known = np.vstack((known, share))
    return scores


def _entropies(share: Values, others: Values) -> Values:
    """Return the relative entropy of one histogram to each of several, ``(others,)``."""
    used = share > 0
    with np.errstate(divide="ignore"):
        told: Values = (share[used] * np.log(share[used] / others[:, used])).sum(axis=1)
    return told


def bayes_change_points(values: Values, longest: int = 500) -> Values:
    """Return by what share the likeliest run length fell.

    Adams and MacKay, "Bayesian Online Changepoint Detection", arXiv 0710.3742: a normal with
    unknown mean and variance per run length, a change every 250 values, runs up to ``longest``.
    """
    runs = np.arange(longest + 1)
    alpha, kappa = 0.1 + 0.5 * runs, 1.0 + runs
    degrees = 2 * alpha
    gammas = [math.exp(math.lgamma(a + 0.5) - math.lgamma(a)) for a in alpha.tolist()]
    peak = np.array(gammas) / np.sqrt(degrees * np.pi)
    spread = np.sqrt((kappa + 1) / (alpha * kappa))
    mean, beta = np.zeros(longest + 1), np.full(longest + 1, 0.001)
    share = np.zeros(longest + 2)
    share[0] = 1.0
    scores = np.zeros(len(values))
    before = 1
    for row, value in enumerate(values.tolist()):
        n = min(row, longest) + 1
        scale = np.sqrt(beta[:n]) * spread[:n]
        distance = (value - mean[:n]) / scale
        with np.errstate(over="ignore"):  # a density of zero
            tail = scale * (1 + distance**2 / degrees[:n]) ** (alpha[:n] + 0.5)
        likely = share[:n] * peak[:n] / tail
        share[1 : n + 1] = likely * (1 - 1 / 250)
        share[0] = likely.sum() / 250
        share /= share.sum()
        off = value - mean[:longest]
        beta[1:] = beta[:longest] + kappa[:longest] * off**2 / (2 * (kappa[:longest] + 1))
        mean[1:] = (kappa[:longest] * mean[:longest] + value) / (kappa[:longest] + 1)
        now = int(share.argmax())
        if now < before:
            scores[row] = _printed(1 - now / before)
        before = now
    return scores


def _printed(score: float) -> float:
    """Return a score as NAB's files have it: with 12 digits."""
    return float(f"{score:.12g}")


REFERENCES = (
    Reference("null", null, (0.0, 0.0, 0.0)),
    # Not of NAB: what another scorer said of a clock that starts with the scored rows.
    Reference("clock", clock, (20.4, 0.0, 32.3)),
    Reference(
        "random",
        random_numbers,
        (17.66, 7.48, 27.57),
        ((0.9984497070312507, 16.83), (0.9995117187500009, 5.76), (0.9984497070312507, 25.88)),
    ),
    Reference("windowed Gaussian", windowed_gaussian, (39.65, 20.87, 47.41)),
    Reference("relative entropy", relative_entropy, (54.64, 47.60, 58.84)),
    Reference(
        "Bayesian change point",
        bayes_change_points,
        (17.71, 5.13, 32.26),
        ((0.9845962524414067, 17.71), (0.9945251464843755, 3.21), (0.9813537597656257, 32.26)),
    ),
)
