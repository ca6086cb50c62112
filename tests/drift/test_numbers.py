"""Histograms of numbers: exact in counts, near in values, and mergeable in any order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.drift.numbers import Grid, GridError, NumberSketch, grid_of, spread

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


ABOUT_ZERO = Grid()


def of(values: list[float], grid: Grid = ABOUT_ZERO) -> NumberSketch:
    made = NumberSketch(grid)
    made.add(np.array(values, dtype=np.float64))
    return made


@given(st.lists(st.lists(FINITE, max_size=30), min_size=1, max_size=5))
def test_parts_merged_in_any_order_are_the_whole(parts: list[list[float]]) -> None:
    grid = Grid(1.0, 0.25)
    whole = of([one for part in parts for one in part], grid)
    forwards, backwards = NumberSketch(grid), NumberSketch(grid)
    for part in parts:
        forwards.merge(of(part, grid))
    for part in reversed(parts):
        backwards.merge(of(part, grid))
    assert forwards.histogram() == backwards.histogram() == whole.histogram()
    assert (forwards.low, forwards.high) == (whole.low, whole.high)
    assert forwards.count == sum(map(len, parts))
    assert forwards.sum == pytest.approx(whole.sum, rel=1e-9, abs=1e-3)


@given(st.lists(FINITE, min_size=1, max_size=50))
def test_what_is_kept_comes_back_as_it_was(values: list[float]) -> None:
    made = of(values, grid_of(np.array(values)))
    again = NumberSketch.of_state(made.state())
    assert again.state() == made.state()
    assert again.count == len(values)


@pytest.mark.parametrize("name", ["normal", "lognormal", "kelvin", "uniform"])
def test_a_quantile_is_within_a_bucket_of_the_exact_one(name: str) -> None:
    rng = np.random.default_rng(1)
    values = {
        "normal": rng.normal(size=20_000),
        "lognormal": rng.lognormal(3, 1, 20_000),
        "kelvin": 293.15 + rng.normal(size=20_000),
        "uniform": rng.uniform(0, 1, 20_000),
    }[name]
    made = of(values.tolist(), grid_of(values))
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        exact = float(np.quantile(values, q))
        near = 0.05 * abs(exact - made.grid.origin) + 0.01 * float(values.std())
        assert made.quantile(q) == pytest.approx(exact, abs=near)
    assert made.mean == pytest.approx(values.mean(), rel=1e-9)
    assert made.deviation == pytest.approx(values.std(), rel=1e-6)


def test_numbers_far_from_zero_are_told_apart_about_their_own_middle() -> None:
    rng = np.random.default_rng(2)
    values = 293.15 + rng.normal(size=1000)
    about_zero, about_own = of(values.tolist()), of(values.tolist(), grid_of(values))
    assert np.count_nonzero(spread(about_zero).counts) <= 2
    assert np.count_nonzero(spread(about_own).counts) > 40


def test_numbers_near_the_origin_cost_no_octaves() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=100_000)
    values[:100] = 10.0 ** -rng.uniform(3, 300, 100)
    made = of(values.tolist(), grid_of(values))
    assert made.scale == 3


def test_a_range_of_all_floats_is_kept_in_coarser_buckets() -> None:
    made = of([1e-300, -1e300, 1.0, 1e300, 0.0, 5e-324])
    assert made.count == 6
    assert made.zero == 1
    assert made.scale < 0
    assert made.quantile(1.0) == 1e300


def test_grids_that_differ_are_refused() -> None:
    one, other = of([1.0]), of([1.0], Grid(300.0))
    with pytest.raises(GridError, match="300"):
        one.merge(other)
    with pytest.raises(GridError):
        spread(one, other)
    other.merge(NumberSketch(Grid()))  # nothing fits anything


@pytest.mark.parametrize("values", [[], [3.0] * 50, [math.pi], [-1e308, 1e308]])
def test_a_grid_is_found_for_any_values(values: list[float]) -> None:
    grid = grid_of(np.array(values))
    assert math.isfinite(grid.origin)
    assert math.isfinite(grid.floor)
    assert of(values, grid).count == len(values)


def test_a_state_that_cannot_be_is_refused() -> None:
    state = of([1.0, 2.0]).state()
    for broken in (
        {"histogram": {"scale": 9}},
        {"histogram": {"scale": 3, "zero_count": -1}},
        {"histogram": {"scale": 3, "positive": [1] * 200}},
        {"histogram": {"scale": 3, "zero_count": 2}, "low": None},
    ):
        import msgspec

        plain = {**msgspec.to_builtins(state), **broken}
        with pytest.raises(ValueError, match="histogram"):
            NumberSketch.of_state(msgspec.convert(plain, type(state)))
