"""The means over whole minutes that slow detectors look at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.means import Means

S = 1_000_000_000
MINUTE = 60 * S
#: On a minute.
START = 1_795_183_200 * S


def fold(means: Means, second: float, *values: float) -> bool:
    return means.fold(START + round(second * S), np.array(values))


def newest(means: Means, columns: int = 1) -> list[list[float]]:
    window = means.window(columns, [None] * 9, 1)
    return window.values.T.tolist()


def test_a_minute_is_complete_with_its_last_tick() -> None:
    means = Means(MINUTE, S, 1)
    assert [second for second in range(120) if fold(means, second, second)] == [59, 119]
    assert newest(means, 5) == [[29.5], [89.5]]
    assert means.window(5, [None], 1).time.tolist() == [START, START + MINUTE]


def test_a_minute_without_its_last_tick_is_complete_at_the_next() -> None:
    means = Means(MINUTE, S, 1)
    for second in range(50):
        assert not fold(means, second, 1.0)
    assert fold(means, 70, 5.0)
    assert newest(means) == [[1.0]]
    assert fold(means, 119, 7.0)
    assert newest(means) == [[6.0]]


def test_the_first_tick_after_a_gap_is_never_lost_though_it_is_its_minutes_last() -> None:
    means = Means(MINUTE, S, 1)
    fold(means, 0, 1.0)
    assert fold(means, 119, 5.0)
    assert newest(means, 2) == [[1.0]]
    assert fold(means, 120, 9.0)
    assert newest(means, 2) == [[1.0], [5.0]]


def test_the_first_minute_of_all_time_is_one_too() -> None:
    means = Means(MINUTE, S, 1)
    means.fold(0, np.array([1.0]))
    assert means.fold(MINUTE, np.array([3.0]))
    assert newest(means, 2) == [[1.0]]


def test_what_was_not_read_counts_for_nothing() -> None:
    means = Means(MINUTE, 20 * S, 3)
    fold(means, 0, 1.0, np.nan, np.nan)
    fold(means, 20, np.inf, 4.0, np.nan)
    assert fold(means, 40, 3.0, np.nan, np.nan)
    (values,) = newest(means)
    assert values[:2] == [2.0, 4.0]
    assert np.isnan(values[2])


def test_a_clock_set_back_loses_nothing() -> None:
    means = Means(MINUTE, S, 1)
    for second in range(90):
        fold(means, second, 1.0)
    assert fold(means, 10, 2.0)
    assert newest(means) == [[1.0]]
    assert [second for second in range(11, 60) if fold(means, second, 2.0)] == [59]
    assert newest(means) == [[2.0]]


def test_rows_that_come_have_no_past_and_those_that_go_none_left() -> None:
    means = Means(MINUTE, 30 * S, 1)
    for second in (0, 30, 60):
        fold(means, second, 1.0)
    assert fold(means, 90, 1.0, 5.0)
    first, second = newest(means, 2)
    assert first[0] == 1.0
    assert np.isnan(first[1])
    assert second == [1.0, 5.0]
    fold(means, 120, 1.0, 5.0)
    means.forget(np.array([0, 7]))
    assert fold(means, 150, 3.0, 5.0)
    first, second = newest(means, 2)
    assert np.isnan(first[0])
    assert second == [3.0, 5.0]


@pytest.mark.parametrize("kept", [1, 2, 5, 128])
def test_the_newest_are_kept(kept: int) -> None:
    means = Means(MINUTE, MINUTE, 2, kept=kept)
    for minute in range(300):
        assert fold(means, 60 * minute, minute, -minute)
    expected = [[float(minute), -float(minute)] for minute in range(300 - kept, 300)]
    assert newest(means, kept) == expected
    assert newest(means, 1_000) == expected
    assert means.window(kept, [None] * 2, 1).time.tolist() == [
        START + minute * MINUTE for minute in range(300 - kept, 300)
    ]


def test_a_window_cannot_be_written_to() -> None:
    means = Means(MINUTE, MINUTE, 1)
    fold(means, 0, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        means.window(1, [None], 1).values[0, 0] = 2.0


@given(st.lists(st.integers(0, 1_200), unique=True, min_size=1))
def test_each_reading_is_in_the_mean_of_its_minute(seconds: list[int]) -> None:
    means = Means(MINUTE, S, 1)
    found: dict[int, float] = {}
    for second in [*sorted(seconds), 1_260, 1_320]:
        if fold(means, second, second):
            window = means.window(1, [None], 1)
            found[int(window.time[0] - START) // MINUTE] = float(window.values[0, 0])
    expected: dict[int, list[int]] = {}
    for second in [*seconds, 1_260]:
        expected.setdefault(second // 60, []).append(second)
    assert found == pytest.approx(
        {minute: sum(one) / len(one) for minute, one in expected.items()}, rel=1e-6
    )
