"""Closed windows, against numpy's own reductions, and which series are worth sending."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vedette import summarise
from vedette.api import Series, counter, gauge
from vedette.histograms import histogram_of
from vedette.summarise import Summariser, WindowSummary

NAN, INF = math.nan, math.inf
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
#: A whole minute, a moment after a whole hour.
BEGIN = 1_700_002_860 * SECOND

LOAD = gauge("system.load", "1", "Load.", ("cpu",))
BYTES = counter("system.disk.io", "By", "Bytes.", ("device",))
OTHER = gauge("system.other", "1", "Another.", ("x",))


def gauges(n: int) -> list[Series | None]:
    return [LOAD.series(str(row)) for row in range(n)]


class Run:
    """A summariser with a clock of one-minute windows."""

    def __init__(
        self, series: Sequence[Series | None], refresh_ns: int = 3_600 * SECOND, **options: int
    ) -> None:
        self.summariser = Summariser(refresh_ns=refresh_ns, **options)
        self.series = list(series)
        self.now = BEGIN

    def window(
        self, *ticks: Sequence[float], totals: Sequence[float] | None = None, ns: int = MINUTE
    ) -> WindowSummary:
        for tick in ticks:
            self.summariser.fold(np.array(tick, dtype=np.float64))
        start, self.now = self.now, self.now + ns
        rows = len(self.series)
        known = np.full(rows, NAN) if totals is None else np.array(totals, dtype=np.float64)
        began = np.where(np.isnan(known), 0, BEGIN)
        return self.summariser.close(start, self.now, self.series, known, began)

    def moved(self, *ticks: Sequence[float], totals: Sequence[float] | None = None) -> list[bool]:
        moved: list[bool] = self.window(*ticks, totals=totals).moved.tolist()
        return moved


# ---------------------------------------------------------------- statistics


def test_a_window_has_count_sum_ends_and_last_of_what_was_read() -> None:
    closed = Run(gauges(3)).window([1.0, NAN, 5.0], [4.0, 2.0, NAN], [3.0, NAN, NAN])
    assert [one.key for one in closed.series] == [f"system.load{{cpu={row}}}" for row in range(3)]
    assert (closed.start_ns, closed.end_ns) == (BEGIN, BEGIN + MINUTE)
    assert closed.count.tolist() == [3, 1, 1]
    assert closed.sum.tolist() == [8.0, 2.0, 5.0]
    assert closed.min.tolist() == [1.0, 2.0, 5.0]
    assert closed.max.tolist() == [4.0, 2.0, 5.0]
    assert closed.last.tolist() == [3.0, 2.0, 5.0]


def test_a_series_that_was_not_read_is_not_in_the_window() -> None:
    closed = Run(gauges(3)).window([NAN, 7.0, NAN], [NAN, 7.0, NAN])
    assert closed.series == (LOAD.series("1"),)
    assert closed.last.tolist() == [7.0]
    assert len(closed.histograms) == 1


def test_a_row_without_a_series_is_not_in_the_window() -> None:
    series = gauges(3)
    series[1] = None
    closed = Run(series).window([1.0, 2.0, 3.0])
    assert closed.last.tolist() == [1.0, 3.0]


def test_a_window_without_a_tick_is_empty() -> None:
    run = Run(gauges(2))
    assert run.window().series == ()
    assert run.window([NAN, NAN]).series == ()
    assert Run([]).window([]).series == ()
    assert run.window([1.0, 2.0]).count.tolist() == [1, 1]


def test_one_window_does_not_see_the_readings_of_the_one_before() -> None:
    run = Run(gauges(2))
    run.window([1.0, 2.0], [9.0, 9.0])
    closed = run.window([3.0, NAN])
    assert closed.series == (LOAD.series("0"),)
    assert (closed.count.tolist(), closed.max.tolist()) == ([1], [3.0])


def test_rows_may_come_within_a_window() -> None:
    run = Run(gauges(200))
    closed = run.window([1.0], [2.0, 5.0], [NAN] * 199 + [7.0])
    assert closed.count.tolist() == [2, 1, 1]
    assert closed.last.tolist() == [2.0, 5.0, 7.0]


def test_ticks_with_fewer_rows_than_before_leave_the_rest_unread() -> None:
    run = Run(gauges(2))
    run.window([1.0, 2.0])
    assert run.window([1.5], [1.5]).series == (LOAD.series("0"),)


def test_a_window_longer_than_the_block_keeps_every_tick() -> None:
    closed = Run(gauges(1)).window(*[[float(tick)] for tick in range(300)])
    assert (closed.count[0], closed.min[0], closed.max[0]) == (300, 0.0, 299.0)


def test_ticks_past_the_bound_are_counted_and_left_out() -> None:
    run = Run(gauges(1))
    closed = run.window(*[[1.0]] * (summarise.MAX_TICKS + 5))
    assert closed.count[0] == summarise.MAX_TICKS
    assert run.summariser.overrun == 5
    assert run.window([1.0]).count[0] == 1


def test_negative_zero_becomes_zero() -> None:
    closed = Run(gauges(1)).window([-0.0], [-0.0])
    for value in (closed.min[0], closed.max[0], closed.last[0], closed.sum[0]):
        assert math.copysign(1.0, value) == 1.0


@pytest.mark.filterwarnings("error")
def test_a_sum_past_float64_is_infinite_without_a_warning() -> None:
    closed = Run(gauges(2)).window([1.7e308, -1.7e308], [1.7e308, -1.7e308])
    assert closed.sum.tolist() == [INF, -INF]
    assert closed.max.tolist() == [1.7e308, -1.7e308]


@pytest.mark.filterwarnings("error")
def test_an_infinite_reading_is_left_out_and_counted() -> None:
    run = Run(gauges(3))
    closed = run.window([1.0, INF, -INF], [INF, NAN, 2.0])
    assert closed.series == (LOAD.series("0"), LOAD.series("2"))
    assert closed.sum.tolist() == [1.0, 2.0]
    assert closed.histograms.count.tolist() == closed.count.tolist()
    assert run.summariser.infinite == 3


def test_the_tick_given_may_be_changed_afterwards() -> None:
    run = Run(gauges(1))
    tick = np.array([1.0])
    run.summariser.fold(tick)
    tick[0] = 99.0
    assert run.window().max[0] == 1.0


def test_a_row_that_nobody_knows_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="row 2 was read, but there are 2 series and 2 totals"):
        Run(gauges(2)).window([1.0, 2.0, 3.0])


def test_a_counter_carries_its_total_and_since_when() -> None:
    closed = Run([BYTES.series("sda"), LOAD.series("0")]).window([10.0, 1.0], totals=[4_711.0, NAN])
    assert closed.total.tolist() == [4_711.0, pytest.approx(NAN, nan_ok=True)]
    assert closed.total_start_ns.tolist() == [BEGIN, 0]


ticks = st.lists(
    st.lists(
        st.one_of(st.just(NAN), st.floats(allow_nan=False), st.floats(-100, 100)),
        min_size=4,
        max_size=4,
    ),
    max_size=8,
)


@given(ticks=ticks)
def test_statistics_are_those_of_numpy(ticks: list[list[float]]) -> None:
    closed = Run(gauges(4)).window(*ticks)
    block: NDArray[np.float64] = np.array(ticks, dtype=np.float64).reshape(len(ticks), 4)
    at = 0
    for row in range(4):
        read = block[np.isfinite(block[:, row]), row]
        if not read.size:
            continue
        assert closed.series[at] == LOAD.series(str(row))
        assert closed.count[at] == read.size
        assert (closed.min[at], closed.max[at]) == (read.min(), read.max())
        assert closed.last[at] == read[-1]
        alone = histogram_of(read)
        in_batch = closed.histograms.at(at)
        assert (in_batch.scale, in_batch.positive) == (alone.scale, alone.positive)
        assert (in_batch.zero_count, in_batch.negative) == (alone.zero_count, alone.negative)
        at += 1
    assert at == len(closed.series)


# ---------------------------------------------------------------- what is sent


def test_everything_is_sent_in_its_first_window() -> None:
    run = Run(gauges(2))
    assert run.moved([1.0, NAN]) == [True]
    assert run.moved([1.0, 2.0]) == [False, True]


def test_a_series_that_stays_what_was_sent_is_not_sent_again() -> None:
    run = Run(gauges(2))
    run.window([1.0, 0.0], [1.0, 0.0])
    for _ in range(5):
        assert run.moved([1.0, 0.0], [1.0, NAN]) == [False, False]


def test_a_single_other_reading_is_enough_to_send() -> None:
    run = Run(gauges(1))
    run.window([1.0])
    assert run.moved([1.0], [2.0], [1.0]) == [True]


def test_a_series_that_changed_between_windows_is_sent() -> None:
    run = Run(gauges(1))
    run.window([1.0])
    assert run.moved([2.0], [2.0]) == [True]
    assert run.moved([2.0], [2.0]) == [False]


def test_the_first_quiet_window_after_a_lively_one_is_sent() -> None:
    # Carried forward, the lively window's distribution would say that it never ended.
    run = Run(gauges(1))
    run.window([0.0], [900.0], [0.0])
    assert run.moved([0.0], [0.0]) == [True]
    assert run.moved([0.0], [0.0]) == [False]


def test_a_counter_whose_total_grew_at_a_constant_rate_is_sent() -> None:
    run = Run([BYTES.series("sda")])
    run.window([5.0], totals=[100.0])
    assert run.moved([5.0], totals=[105.0]) == [True]
    assert run.moved([5.0], totals=[105.0]) == [False]


def test_an_idle_counter_is_not_sent() -> None:
    run = Run([BYTES.series("sda")])
    run.window([0.0], totals=[100.0])
    assert run.moved([0.0], totals=[100.0]) == [False]


def test_a_series_read_rarely_is_compared_with_what_was_sent_of_it() -> None:
    run = Run(gauges(1))
    run.window([3.0])
    assert run.moved([NAN]) == []
    assert run.moved([3.0]) == [False]


def test_a_constant_series_is_sent_once_per_refresh() -> None:
    run = Run(gauges(1), refresh_ns=10 * MINUTE)
    run.window([1.0])
    sent = [run.moved([1.0])[0] for _ in range(40)]
    places = [place for place, moved in enumerate(sent) if moved]
    assert len(places) == 4
    assert set(np.diff(places)) == {10}


def test_the_refreshes_of_constant_series_are_spread_over_the_period() -> None:
    n = 300
    run = Run(gauges(n))
    run.window([1.0] * n)
    sent = np.array([run.moved([1.0] * n) for _ in range(60)])
    assert (sent.sum(axis=0) == 1).all()
    assert sent.sum(axis=1).max() <= 2 * n / 60


def test_a_refresh_missed_while_suspended_happens_at_once() -> None:
    run = Run(gauges(20))
    run.window([1.0] * 20)
    run.now += 7_200 * SECOND
    assert run.moved([1.0] * 20) == [True] * 20


def test_a_clock_set_back_sends_and_then_goes_quiet_again() -> None:
    run = Run(gauges(3))
    run.window([1.0] * 3)
    run.now -= 86_400 * SECOND
    assert run.moved([1.0] * 3) == [True] * 3
    assert sum(sum(run.moved([1.0] * 3)) for _ in range(60)) == 3


def test_a_window_lost_before_the_spool_is_made_up_for_by_the_next() -> None:
    run = Run(gauges(2))
    run.window([1.0, 2.0])
    run.summariser.resend()
    assert run.moved([1.0, 2.0]) == [True, True]
    assert run.moved([1.0, 2.0]) == [False, False]


def test_only_what_moved_has_a_histogram() -> None:
    run = Run(gauges(2))
    run.window([1.0, 2.0])
    closed = run.window([1.0, 5.0], [1.0, 6.0])
    assert closed.moved.tolist() == [False, True]
    assert closed.histograms.count.tolist() == [0, 2]
    assert closed.count.tolist() == [2, 2]


def test_a_forgotten_row_drops_its_readings_and_is_new_afterwards() -> None:
    run = Run(gauges(3))
    run.window([1.0, 1.0, 1.0])
    run.summariser.fold(np.array([8.0, 8.0, 1.0]))
    run.summariser.forget(np.array([0, 1]))
    run.series[0] = OTHER.series("new")
    run.series[1] = None
    closed = run.window([1.0, NAN, 1.0])
    assert closed.series == (OTHER.series("new"), LOAD.series("2"))
    assert closed.max.tolist() == [1.0, 1.0]
    assert closed.moved.tolist() == [True, False]


def test_rows_never_folded_may_be_forgotten() -> None:
    run = Run(gauges(1))
    run.summariser.forget(np.array([0, 5_000]))
    assert run.moved([1.0]) == [True]


def test_scale_and_buckets_are_those_asked_for() -> None:
    run = Run(gauges(1), scale=3, max_buckets=4)
    closed = run.window([1.0], [1.05])
    assert closed.histograms.scale.tolist() == [3]
    closed = run.window([1.0], [100.0])
    assert closed.histograms.at(0).scale < 1
    assert len(closed.histograms.at(0).positive) <= 4


def test_a_refresh_of_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="refresh_ns must be above zero, got 0"):
        Summariser(refresh_ns=0)
