"""Tails of distributions, against tables, sums and counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vedette.drift.significance import (
    chi_square,
    cut_of,
    homogeneity,
    normal,
    poisson,
    shares,
)


@pytest.mark.parametrize(
    ("value", "degrees", "p"),
    [  # Abramowitz and Stegun, table 26.8
        (3.841459, 1, 0.05),
        (10.82757, 1, 0.001),
        (15.50731, 8, 0.05),
        (16.91898, 9, 0.05),
        (27.87716, 9, 0.001),
        (33.71995, 9, 0.0001),
        (124.3421, 100, 0.05),
    ],
)
def test_the_tail_of_chi_square_is_that_of_the_tables(value: float, degrees: int, p: float) -> None:
    assert chi_square(value, degrees) == pytest.approx(p, rel=1e-3)


@pytest.mark.parametrize("value", [0.1, 1.0, 5.0, 50.0, 700.0, 1400.0])
def test_with_two_degrees_it_is_an_exponential(value: float) -> None:
    assert chi_square(value, 2) == pytest.approx(math.exp(-value / 2), rel=1e-9)


def test_it_is_never_zero_nor_above_one() -> None:
    assert 0 < chi_square(1e9, 9) < 1e-300
    assert chi_square(0.0, 9) == chi_square(-1.0, 9) == chi_square(5.0, 0) == 1.0


@pytest.mark.parametrize(("count", "mean"), [(1, 0.5), (3, 0.5), (10, 8.0), (40, 8.0), (2, 30.0)])
def test_the_tail_of_poisson_is_the_sum_of_its_terms(count: int, mean: float) -> None:
    exact = math.fsum(
        math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(count, count + 400)
    )
    assert poisson(count, mean) == pytest.approx(exact, rel=1e-9)
    assert poisson(0, mean) == 1.0
    assert poisson(3, 0.0) > 0


def test_the_tail_of_the_normal_is_that_of_the_tables() -> None:
    assert normal(1.959964) == pytest.approx(0.025, rel=1e-5)
    assert normal(-1.0) == pytest.approx(0.8413447, rel=1e-6)
    assert normal(100.0) > 0


def test_samples_of_one_distribution_pass_as_often_as_is_asked() -> None:
    rng = np.random.default_rng(1)
    share = [0.4, 0.3, 0.15, 0.1, 0.04, 0.008, 0.002]
    found = np.array(
        [
            homogeneity(rng.multinomial(2000, share), rng.multinomial(300, share))
            for _ in range(4000)
        ]
    )
    for rate in (0.1, 0.01, 0.001):
        passed = int((found < rate).sum())
        assert passed <= 4000 * rate + 3.5 * math.sqrt(4000 * rate)


def test_rare_bins_are_joined_until_enough_is_expected() -> None:
    assert homogeneity([1000, 1, 0], [100, 0, 1]) == 1.0  # one bin is left
    assert homogeneity([], []) == 1.0
    assert homogeneity([5, 5], [0, 0]) == 1.0
    assert homogeneity([1000, 1000], [50, 500]) < 1e-10


def test_two_shares_that_differ_by_chance_pass_no_more_often_than_is_asked() -> None:
    rng = np.random.default_rng(2)
    pairs = zip(rng.binomial(2000, 0.05, 4000), rng.binomial(500, 0.05, 4000), strict=True)
    found = np.array([shares(int(a), 2000, int(b), 500) for a, b in pairs])
    assert (found < 0.01).sum() <= 4000 * 0.01 + 3.5 * math.sqrt(40)
    assert shares(0, 100, 0, 100) == shares(100, 100, 50, 50) == shares(0, 0, 1, 1) == 1.0
    assert shares(0, 2000, 250, 500) < 1e-100


def test_the_bar_rises_with_how_many_are_real() -> None:
    assert cut_of([], 0.01) == 0.01
    assert cut_of([0.5, 0.6], 0.01) == pytest.approx(0.005)
    assert cut_of([1e-9, 2e-9, 0.9, 0.9], 0.01) == pytest.approx(0.005)
    # By hand: 0.02 <= 0.05 * 2/4 and 0.03 <= 0.05 * 3/4, 0.5 is not.
    assert cut_of([0.5, 0.03, 0.02, 0.001], 0.05) == pytest.approx(0.0375)
