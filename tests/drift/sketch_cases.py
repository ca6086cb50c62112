"""Records that tests of drift make, and exact statistics to compare sketches with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.drift.sketch import ModelSketch

Floats = NDArray[np.float64]


def records(
    rng: np.random.Generator, count: int, fields: int = 5, shift: float = 0.0
) -> list[dict[str, Any]]:
    """Make records of normal numbers, of which the first is moved, and a category."""
    numbers = rng.normal(size=(count, fields))
    numbers[:, 0] += shift
    names = rng.choice(["red", "green", "blue"], p=[0.5, 0.3, 0.2], size=count)
    return [
        {**{f"x{at}": value for at, value in enumerate(row)}, "colour": str(name)}
        for row, name in zip(numbers.tolist(), names, strict=True)
    ]


def sketch_of(some: list[dict[str, Any]], like: ModelSketch | None = None) -> ModelSketch:
    made = like.like() if like is not None else ModelSketch()
    made.add(some, 1)
    return made


def exact_ks(one: Floats, other: Floats) -> float:
    both = np.sort(np.concatenate((one, other)))
    below = np.searchsorted(np.sort(one), both, side="right") / len(one)
    beside = np.searchsorted(np.sort(other), both, side="right") / len(other)
    return float(np.abs(below - beside).max())


def exact_wasserstein(one: Floats, other: Floats) -> float:
    both = np.sort(np.concatenate((one, other)))
    below = np.searchsorted(np.sort(one), both[:-1], side="right") / len(one)
    beside = np.searchsorted(np.sort(other), both[:-1], side="right") / len(other)
    return float((np.abs(below - beside) * np.diff(both)).sum())


def exact_psi(base: Floats, now: Floats, bins: int = 10) -> float:
    edges = np.quantile(base, np.arange(1, bins) / bins)
    p = np.bincount(np.searchsorted(edges, base), minlength=bins) + 0.5
    q = np.bincount(np.searchsorted(edges, now), minlength=bins) + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum()) - (bins - 1) * (1 / len(base) + 1 / len(now))
