"""Surprises: bounds that hold, against exact tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.surprise import (
    RARITY_S,
    RINGS,
    Rarity,
    Share,
    beyond,
    beyond_one,
    excess,
    excess_one,
    joined,
)


def exact_tail(count: int, mean: float, spread: float) -> float:
    """Return P(X >= count) of the negative binomial by adding up its probabilities."""
    size = 1 / spread
    part = mean / (mean + size)
    below = sum(
        math.exp(
            math.lgamma(one + size)
            - math.lgamma(size)
            - math.lgamma(one + 1)
            + one * math.log(part)
            + size * math.log(1 - part)
        )
        for one in range(count)
    )
    return 1 - below


@pytest.mark.parametrize(
    ("count", "mean", "spread"), [(8, 3.0, 0.1), (30, 10.0, 0.3), (5, 0.5, 2.0), (60, 40.0, 0.01)]
)
def test_an_excess_never_claims_more_than_the_exact_tail(
    count: int, mean: float, spread: float
) -> None:
    exact = -math.log(exact_tail(count, mean, spread))
    found = excess_one(count, mean, spread)
    assert 0.4 * exact - 1 < found <= exact + 1e-9


def test_a_count_at_its_mean_is_no_surprise() -> None:
    assert excess_one(5, 5.0, 0.1) == 0
    assert excess_one(3, 5.0, 0.1) == 0


@given(
    st.floats(0, 1e6),
    st.floats(1e-4, 1e5),
    st.floats(1e-4, 100),
    st.floats(1.01, 50),
    st.floats(0, 1e4),
)
def test_arrays_and_single_numbers_agree(
    count: float, mean: float, spread: float, ratio: float, times: float
) -> None:
    one = excess_one(count, mean, spread)
    many = float(excess(*(np.array([x], dtype=np.float32) for x in (count, mean, spread)))[0])
    assert many == pytest.approx(one, rel=0.02, abs=0.02 * (1 + count * 1e-2))
    many = float(beyond(*(np.array([x], np.float32) for x in (ratio, 1.0, times, 4.0)))[0])
    assert many == pytest.approx(beyond_one(ratio, 1.0, times, 4.0), rel=1e-3, abs=1e-3)


def test_what_is_not_above_the_largest_is_ordinary() -> None:
    assert beyond_one(10, 10, 1000, 4.0) == 0
    assert beyond_one(11, 10, 1000, 4.0) > math.log(1000)


def test_first_times_become_rare_with_age_and_common_when_they_go_on() -> None:
    rarity = Rarity(0.0)
    young, old = rarity.surprise(60.0), rarity.surprise(10 * RARITY_S)
    assert young < 7 < 13 < old
    for hour in range(100):
        rarity.note(10 * RARITY_S + 3600 * hour)
    assert rarity.surprise(10 * RARITY_S + 360_000) < 9


def test_first_times_of_a_young_source_teach_little() -> None:
    young, old = Rarity(0.0), Rarity(0.0)
    for second in range(50):
        young.note(second)
        old.note(RARITY_S + second)
    assert young.decayed(50) < 0.2
    assert old.decayed(RARITY_S + 50) > 40


def test_several_first_times_at_once_are_a_bit_stranger_than_one() -> None:
    assert joined([]) == 0
    assert joined([12.0]) == 12.0
    assert 12 < joined([12.0, 12.0, 3.0]) < 14


def steady(share: Share, minutes: int, hits: int = 2, lines: int = 100) -> float:
    """Feed a share that stays; return the strangest."""
    return max(share.feed(60.0 * minute, hits, lines) for minute in range(minutes))


def test_a_share_that_stays_is_ordinary_and_one_that_grows_tenfold_rings() -> None:
    share = Share(60.0)
    assert steady(share, 200) == 0
    assert share.share() == pytest.approx(0.02, rel=0.05)
    assert share.feed(60.0 * 200, 40, 100) > RINGS


def test_the_first_lines_of_a_block_are_no_sample_of_it() -> None:
    share = Share(60.0)
    steady(share, 200, 200, 10_000)
    assert share.feed(60.0 * 200, 30, 30) == 0


def test_a_share_is_not_judged_before_it_is_known() -> None:
    share = Share(60.0)
    assert steady(share, 5, 0) == 0
    assert share.feed(60.0 * 5, 100, 100) == 0


def test_a_share_that_stays_high_is_learned_in_the_end() -> None:
    share = Share(60.0)
    steady(share, 200)
    scores = [share.feed(60.0 * (200 + minute), 60, 100) for minute in range(60)]
    assert min(scores[:8]) > RINGS
    assert scores[-1] < RINGS


def test_the_spread_of_what_comes_in_bunches_is_learned() -> None:
    rng = np.random.default_rng(1)
    even, bunched = Share(60.0), Share(60.0)
    for minute in range(500):
        even.feed(60.0 * minute, float(rng.poisson(10)), 1000)
        bunched.feed(60.0 * minute, float(rng.poisson(200) * (rng.random() < 0.05)), 1000)
    assert even.spread() < 0.1
    assert bunched.spread() > 5
