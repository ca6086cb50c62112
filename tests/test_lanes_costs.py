"""What is reckoned from running totals: shares of a window, means that fade."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.lanes.costs import MARKS_MAX, Costs

S = 1_000_000_000


def test_nothing_is_known_before_the_second_mark() -> None:
    costs = Costs(1)
    assert (costs.share(0), costs.tick_s(0), costs.sample_s(0)) == (None, None, None)
    costs.mark(0, [5 * S], [1], [3])
    assert (costs.share(0), costs.tick_s(0), costs.sample_s(0)) == (None, None, None)


def test_what_came_before_the_first_mark_never_counts() -> None:
    costs = Costs(1)
    costs.mark(0, [100 * S], [1], [3])
    costs.mark(10, [100 * S + S // 10], [11], [33])
    assert costs.share(0) == pytest.approx(0.01)
    assert costs.tick_s(0) == pytest.approx(0.01)
    assert costs.sample_s(0) == pytest.approx(0.01 / 3)


def test_a_share_is_that_of_the_last_minute_alone() -> None:
    costs = Costs(2)
    total = 0
    for step in range(20):
        total += S if step < 10 else 0
        costs.mark(10 * step, [total, 7 * step], [step, step], [step, step])
    assert costs.share(0) == 0
    assert costs.covered_s == 60
    assert costs.share(1) == pytest.approx(0.7e-9)


def test_one_that_ran_once_minutes_ago_still_has_a_mean_and_after_an_hour_none() -> None:
    costs = Costs(1)
    costs.mark(0, [0], [0], [0])
    costs.mark(10, [S], [1], [50])
    for step in range(2, 60):
        costs.mark(10 * step, [S], [1], [50])
    assert costs.tick_s(0) == pytest.approx(1.0)
    assert costs.sample_s(0) == pytest.approx(0.02)
    costs.mark(4200, [S], [1], [50])
    assert costs.tick_s(0) is None


def test_the_mean_of_a_tick_follows_what_it_costs_now() -> None:
    costs = Costs(1)
    total = 0
    for step in range(60):
        total += S if step < 30 else S // 1000
        costs.mark(10 * step, [total], [step], [step])
    assert costs.tick_s(0) is not None
    assert 0.001 < (costs.tick_s(0) or 0) < 0.3


def test_parts_without_ticks_have_a_share_only() -> None:
    costs = Costs(2)
    costs.mark(0, [0, 0], [0], [0])
    costs.mark(10, [0, S], [0], [0])
    assert costs.share(1) == pytest.approx(0.1)
    assert costs.tick_s(1) is None


def test_a_total_that_fell_is_no_negative_share() -> None:
    costs = Costs(1)
    costs.mark(0, [S], [1], [1])
    costs.mark(10, [0], [2], [2])
    assert costs.share(0) == 0
    assert costs.tick_s(0) == 0


@given(
    st.lists(
        st.tuples(st.floats(0.001, 200), st.integers(0, 10**10), st.integers(0, 100)), max_size=120
    )
)
def test_whenever_it_is_marked_shares_are_sound_and_memory_is_bounded(
    steps: list[tuple[float, int, int]],
) -> None:
    costs = Costs(1)
    now = cpu = ticks = 0.0
    for passed, spent, ticked in steps:
        now, cpu, ticks = now + passed, cpu + spent, ticks + ticked
        costs.mark(now, [int(cpu)], [int(ticks)], [int(ticks)])
        share, tick_s = costs.share(0), costs.tick_s(0)
        assert share is None or 0 <= share <= cpu
        assert tick_s is None or 0 <= tick_s <= cpu
    assert len(costs._marks) <= MARKS_MAX
