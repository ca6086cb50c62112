"""Distances from sketches, against exact ones from the values themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from vedette.drift.distance import (
    jensen_shannon,
    kolmogorov_smirnov,
    psi,
    tenths,
    wasserstein,
)
from vedette.drift.numbers import Grid, NumberSketch, Spread, grid_of, spread

sys.path.insert(0, str(Path(__file__).parent))
from sketch_cases import exact_ks, exact_psi, exact_wasserstein

CASES = {
    "none": lambda rng, n: rng.lognormal(3, 1, n),
    "moved": lambda rng, n: rng.lognormal(3.3, 1, n),
    "wider": lambda rng, n: rng.lognormal(3, 1.3, n),
    "outliers": lambda rng, n: np.where(
        rng.random(n) < 0.05, rng.lognormal(6, 1, n), rng.lognormal(3, 1, n)
    ),
}


def sketch(values: np.ndarray, grid: Grid) -> NumberSketch:
    made = NumberSketch(grid)
    made.add(values)
    return made


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("origin", [0.0, 1000.0])
def test_distances_are_near_the_exact_ones(case: str, origin: float) -> None:
    rng = np.random.default_rng(1)
    base = rng.lognormal(3, 1, 50_000) + origin
    parts = [CASES[case](rng, 1000) + origin for _ in range(20)]
    now = np.concatenate(parts)
    grid = grid_of(base)
    window = NumberSketch(grid)
    for part in parts:
        window.merge(sketch(part, grid))
    both = spread(sketch(base, grid), window)
    counts = tenths(both)
    assert psi(counts[0], counts[1]) == pytest.approx(exact_psi(base, now), abs=0.004, rel=0.08)
    assert kolmogorov_smirnov(both) == pytest.approx(exact_ks(base, now), abs=0.015)
    moved = exact_wasserstein(base, now) / base.std()
    assert wasserstein(both, float(base.std())) == pytest.approx(moved, abs=0.01, rel=0.1)


@pytest.mark.parametrize("count", [100, 200, 500, 2000])
def test_without_drift_the_index_is_zero_on_average_however_small_the_window(count: int) -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        base, now = rng.normal(size=count), rng.normal(size=count)
        grid = grid_of(base)
        counts = tenths(spread(sketch(base, grid), sketch(now, grid)))
        found.append(psi(counts[0], counts[1]))
    plain = 9 * 2 / count
    assert abs(float(np.mean(found))) < 0.1 * plain + 0.002


def test_bins_are_even_in_the_baseline_and_fewer_in_small_windows() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(size=10_000)
    grid = grid_of(base)
    counts = tenths(spread(sketch(base, grid), sketch(base[:1000], grid)))
    assert counts.shape == (2, 10)
    assert counts[0].min() > 600
    assert counts[0].sum() == 10_000
    assert tenths(spread(sketch(base, grid), sketch(base[:60], grid))).shape == (2, 3)


def test_a_value_that_was_always_the_same_and_moves_is_seen() -> None:
    grid = Grid()
    base = sketch(np.full(1000, 5.0), grid)
    for moved in (4.0, 6.0):
        counts = tenths(spread(base, sketch(np.full(300, moved), grid)))
        assert psi(counts[0], counts[1]) > 1
    same = tenths(spread(base, sketch(np.full(300, 5.0), grid)))
    assert psi(same[0], same[1]) == 0.0
    assert wasserstein(spread(base, base), 0.0) == 0.0
    assert wasserstein(spread(base, sketch(np.full(9, 7.0), grid)), 0.0) == float("inf")


def test_jensen_shannon_is_nothing_of_the_same_and_one_of_what_has_nothing_in_common() -> None:
    one = np.array([10, 30, 0, 0])
    assert jensen_shannon(one, one * 7) == pytest.approx(0.0, abs=1e-7)
    assert jensen_shannon(one, np.array([0, 0, 5, 5])) == pytest.approx(1.0)
    p, q = np.array([0.25, 0.75]), np.array([0.5, 0.5])
    middle = (p + q) / 2
    exact = np.sqrt(((p * np.log2(p / middle)).sum() + (q * np.log2(q / middle)).sum()) / 2)
    assert jensen_shannon(np.array([1, 3]), np.array([2, 2])) == pytest.approx(float(exact))


def test_nothing_is_no_distance_from_anything() -> None:
    nothing, some = np.zeros(3, np.int64), np.array([1, 2, 3])
    assert psi(nothing, some) == psi(some, nothing) == 0.0
    assert jensen_shannon(nothing, some) == 0.0
    empty = Spread(np.zeros(1), np.zeros((2, 1), np.int64))
    assert tenths(empty).shape == (2, 0)
