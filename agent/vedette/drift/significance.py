"""Say how probable a difference is by chance alone: tails of the distributions that are needed.

Written out because scipy weighs more than the agent. The incomplete gamma function is that of
Numerical Recipes 6.2: the series below ``a + 1``, Lentz's continued fraction above it; all of it in
logarithms, so that the tails of large differences are told apart and none is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["chi_square", "cut_of", "homogeneity", "normal", "poisson", "shares"]

#: The least p that is told: the natural logarithm of the least float.
_LEAST = 5e-324
_STEPS = 500
_TINY = 1e-300
_ENOUGH = 1e-14


def chi_square(value: float, degrees: int) -> float:
    """Return the probability of a chi-square of this or more."""
    return _upper_gamma(degrees / 2, value / 2) if degrees > 0 and value > 0 else 1.0


def poisson(count: int, mean: float) -> float:
    """Return the probability of so many or more where ``mean`` are expected."""
    if count <= 0:
        return 1.0
    return _lower_gamma(count, mean) if mean > 0 else _LEAST


def normal(z: float) -> float:
    """Return the probability of a standard normal of this or more (one side)."""
    return max(math.erfc(z / math.sqrt(2)) / 2, _LEAST)


def homogeneity(one: ArrayLike, other: ArrayLike, least: float = 5.0) -> float:
    """Return the probability that two rows of counts ``(k,)`` are of one distribution.

    The chi-square test. Bins of which fewer than ``least`` are expected in the smaller row are
    joined, the smallest first, since below that its tail is not to be trusted (Cochran 1954).
    """
    counts = np.array([one, other], dtype=np.float64)
    totals = counts.sum(axis=1)
    if not totals.all():
        return 1.0
    counts = counts[:, np.argsort(counts.sum(axis=0), kind="stable")]
    needed = least * totals.sum() / totals.min()
    joined: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    held = np.zeros(2)
    for column in counts.T:
        held = held + column
        if held.sum() >= needed:
            joined.append(held)
            held = np.zeros(2)
    if held.any() and joined:
        joined[-1] = joined[-1] + held
    if len(joined) < 2:
        return 1.0
    table = np.array(joined).T
    ratio = math.sqrt(totals[1] / totals[0])
    value = ((table[0] * ratio - table[1] / ratio) ** 2 / table.sum(axis=0)).sum()
    return chi_square(float(value), table.shape[1] - 1)


def shares(some: int, of: int, others: int, of_others: int) -> float:
    """Return the probability that two shares differ so by chance (Yates' correction)."""
    if not of or not of_others:
        return 1.0
    total, hits = of + of_others, some + others
    if hits in (0, total):
        return 1.0
    cross = abs(some * (of_others - others) - others * (of - some))
    apart = max(cross - total / 2, 0.0)
    return chi_square(total * apart * apart / of / of_others / hits / (total - hits), 1)


def cut_of(found: Sequence[float], rate: float) -> float:
    """Return the p at which one is taken for real, so that of those a share of ``rate`` is not.

    Benjamini and Hochberg 1995. Where nothing is real, that is the chance that any one of the whole
    family rings. Of none that is taken it is the bar that the smallest would have to pass.
    """
    if not found:
        return rate
    ranked = sorted(found)
    bars = [rate * place / len(ranked) for place in range(1, len(ranked) + 1)]
    passed = [bar for p, bar in zip(ranked, bars, strict=True) if p <= bar]
    return max(passed, default=bars[0])


def _lower_gamma(a: float, x: float) -> float:
    if x >= a + 1:
        return 1.0 - _upper_gamma(a, x)
    term = total = 1.0 / a
    for step in range(1, _STEPS):
        term *= x / (a + step)
        total += term
        if term < total * _ENOUGH:
            break
    return max(min(math.exp(_front(a, x) + math.log(total)), 1.0), _LEAST)


def _upper_gamma(a: float, x: float) -> float:
    if x < a + 1:
        return 1.0 - _lower_gamma(a, x) if x > 0 else 1.0
    b = x + 1 - a
    c = 1 / _TINY
    d = 1 / b
    fraction = d
    for step in range(1, _STEPS):
        an = -step * (step - a)
        b += 2
        d = 1 / (_nonzero(an * d + b))
        c = _nonzero(b + an / c)
        fraction *= d * c
        if abs(d * c - 1) < _ENOUGH:
            break
    log = _front(a, x) + math.log(fraction)
    return max(math.exp(log) if log > -744 else 0.0, _LEAST)


def _front(a: float, x: float) -> float:
    return -x + a * math.log(x) - math.lgamma(a)


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
