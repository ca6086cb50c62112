"""Series that stand still or fall silent: ticks as the agent hands them over."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.api import Duration, Series, Window, gauge
from vedette.testing import check_detector, new_state, window
from vedette_plugins.stuck import Stuck, StuckConfig

S = 1_000_000_000
START_NS = 1_700_000_000 * S

HEAT = gauge("test.heat", "Cel", "A sensor.", ("which",))
LOAD = gauge("test.load", "1", "A load.", limit=1.0)
OTHER = gauge("test.other", "1", "Another.")
NEVER = gauge("test.never", "1", "Nobody cares.", alarm="never")

Floats = NDArray[np.floating]

_GENERATIONS = itertools.count(1)


class Ticks:
    """A detector that is asked each ``step_s``; a day is long, so it settles in an hour here."""

    def __init__(self, series: Sequence[Series], step_s: float = 10.0) -> None:
        self.detector = Stuck(StuckConfig(settle=Duration(3600)))
        self.series = tuple(series)
        self.step_s = step_s
        self.state = new_state(self.detector, len(self.series))
        self.generation = next(_GENERATIONS)
        self.values: list[Floats] = []
        self.now_ns = START_NS

    def view(self) -> Window:
        return window(
            np.array(self.values[-self.detector.lookback :]).T,
            self.series,
            step_s=self.step_s,
            end_ns=self.now_ns,
            generation=self.generation,
        )

    def run(self, values: Floats) -> Iterator[NDArray[np.float32]]:
        """Go through ``values`` ``(ticks, series)`` and yield the scores."""
        for row in values:
            self.now_ns += int(self.step_s * S)
            self.values.append(row)
            view = self.view()
            yield self.detector.score(view, self.state)
            self.detector.learn(view, self.state)

    def scores(self, values: Floats) -> NDArray[np.float32]:
        return np.array(list(self.run(values)))

    def text(self, row: int = 0) -> str:
        return self.detector.explain(self.view(), self.state, row).text


def moving(ticks: int, series: int = 1, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(50.0, 5.0, (ticks, series))


def still(ticks: int, value: float = 47.0) -> Floats:
    return np.full((ticks, 1), value)


# ---------------------------------------------------------------- stuck


def test_a_series_that_always_moved_rings_after_ten_minutes_of_the_same_value() -> None:
    host = Ticks([HEAT.series("cpu")])
    assert not (host.scores(moving(720)) >= 1).any()
    scores = host.scores(still(100))[:, 0]
    # 61 readings of the value span ten minutes.
    assert np.flatnonzero(scores >= 1)[0] == 60
    assert (scores[60:] >= 1).all()
    assert host.scores(moving(1))[0, 0] == 0


def test_the_words_say_how_long_and_what_is_usual() -> None:
    host = Ticks([HEAT.series("cpu")])
    host.scores(moving(720))
    host.scores(still(90))
    assert host.text() == "exactly the same for 15 min; never before twice in a row"
    host.scores(moving(720))
    host.scores(still(3))
    assert host.text().endswith("never before for longer than 15 min")


def test_a_longer_run_than_ever_is_ten_times_the_longest() -> None:
    host = Ticks([HEAT.series("cpu")])
    values = moving(1440)
    values[200:221] = 47.0  # 200 s
    host.scores(values)
    scores = host.scores(still(300))[:, 0]
    assert np.flatnonzero(scores >= 1)[0] == pytest.approx(200, abs=2)


def test_a_long_rest_is_known_from_the_second_time_on() -> None:
    host = Ticks([HEAT.series("cpu")], step_s=60.0)
    day = np.concatenate([moving(720), still(720)])
    first = host.scores(day)
    assert (first >= 1).any()
    assert not (host.scores(np.concatenate([day, day])) >= 1).any()


@pytest.mark.parametrize(
    "usual",
    [
        lambda random, ticks: np.full(ticks, 50.0),
        lambda random, ticks: random.integers(0, 3, ticks) * 1.0,
        lambda random, ticks: np.cumsum(random.random(ticks) < 0.3) * 1.0,
        lambda random, ticks: random.normal(0, 1, ticks) * (random.random(ticks) < 0.7),
    ],
    ids=["constant", "few values", "seldom moves", "often idle"],
)
def test_no_opinion_of_what_often_stands_still(
    usual: Callable[[np.random.Generator, int], Floats],
) -> None:
    host = Ticks([HEAT.series("cpu")])
    host.scores(usual(np.random.default_rng(1), 1000)[:, None])
    assert np.isnan(host.scores(still(500))).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_idle_and_saturated_are_not_stuck(value: float) -> None:
    host = Ticks([LOAD.series()])
    host.scores(np.random.default_rng(1).random((720, 1)))
    assert not (host.scores(still(720, value)) >= 1).any()


def test_nothing_is_said_of_a_series_that_is_new_or_not_to_ring() -> None:
    host = Ticks([HEAT.series("cpu"), NEVER.series()])
    assert np.isnan(host.scores(moving(300, 2))).all()
    assert host.detector.learning(host.view(), host.state).tolist() == [True, False]
    host.scores(moving(420, 2, seed=2))
    assert host.detector.learning(host.view(), host.state).tolist() == [False, False]
    scores = host.scores(np.full((100, 2), 47.0))
    assert scores[-1, 0] >= 1
    assert np.isnan(scores[:, 1]).all()


def test_a_freeze_does_not_excuse_itself() -> None:
    host = Ticks([HEAT.series("cpu")])
    host.scores(moving(720))
    assert (host.scores(still(5000))[60:] >= 1).all()


def test_a_pause_of_the_whole_agent_is_no_run() -> None:
    host = Ticks([HEAT.series("cpu"), OTHER.series()])
    host.scores(moving(720, 2))
    host.now_ns += 8 * 3600 * S
    values = moving(3, 2)
    values[:, 0] = host.values[-1][0]
    assert not (host.scores(values) >= 1).any()


# ---------------------------------------------------------------- silent


def read_and_then_not(ticks: int) -> Floats:
    values = moving(ticks, 2, seed=2)
    values[:, 0] = np.nan
    return values


def test_a_metric_that_is_not_read_any_more_rings_after_two_minutes() -> None:
    host = Ticks([LOAD.series(), OTHER.series()])
    host.scores(moving(720, 2))
    scores = host.scores(read_and_then_not(30))
    assert np.flatnonzero(scores[:, 0] >= 1)[0] == 11
    assert not (scores[:, 1] >= 1).any()
    assert host.text() == "no reading for 5 min; never before for longer than 10 s"
    assert host.scores(moving(1, 2))[0, 0] == 0


def test_what_has_attributes_ended_and_is_not_silent() -> None:
    host = Ticks([HEAT.series("cpu"), OTHER.series()])
    host.scores(moving(720, 2))
    assert np.isnan(host.scores(read_and_then_not(60))[:, 0]).all()


def test_what_is_read_now_and_then_is_silent_later_or_never() -> None:
    host = Ticks([LOAD.series(), OTHER.series()])
    values = moving(2400, 2)
    values[np.arange(2400) % 4 > 0, 0] = np.nan  # every 40 s
    host.scores(values)
    scores = host.scores(read_and_then_not(59))[:, 0]
    assert np.flatnonzero(scores >= 1)[0] == pytest.approx(400 / 10 - 4, abs=2)
    seldom = Ticks([LOAD.series(), OTHER.series()])
    values[np.arange(2400) % 16 > 0, 0] = np.nan  # every 160 s: too seldom to tell
    seldom.scores(np.concatenate([values, values, values, values]))
    assert np.isnan(seldom.scores(read_and_then_not(59))[:, 0]).all()


def test_when_most_are_missing_it_is_not_the_sources() -> None:
    names = [gauge(f"test.gauge{place}", "1", "One of many.") for place in range(8)]
    host = Ticks([one.series() for one in names])
    host.scores(moving(720, 8))
    values = moving(40, 8)
    values[:, :5] = np.nan
    assert not (host.scores(values) >= 1).any()
    values[:, 3:5] = moving(40, 2)
    assert (host.scores(values)[-1, :3] >= 1).all()


def test_a_tick_without_any_reading_says_nothing() -> None:
    host = Ticks([LOAD.series(), OTHER.series()])
    host.scores(moving(720, 2))
    assert np.isnan(host.scores(np.full((40, 2), np.nan))).all()


# ---------------------------------------------------------------- the contract


def test_it_keeps_the_contract() -> None:
    check_detector(Stuck)
    check_detector(Stuck(StuckConfig(settle=Duration(0))), ticks=400)


@pytest.mark.parametrize("every", [1, 5])
def test_runs_are_counted_as_by_hand(every: int) -> None:
    """The longest run and the share of equal readings, against a loop over the readings.

    Where there is one each second, every fifth is looked at.
    """
    random = np.random.default_rng(4)
    values = random.integers(1, 6, 500) * 1.0
    host = Ticks([HEAT.series("cpu")], step_s=5.0 / every)
    host.detector = Stuck(StuckConfig(settle=Duration(1e6)))
    host.now_ns -= int(host.step_s * S)  # the first is at a whole five seconds
    host.scores(spread(values, every))
    runs = [len(list(group)) - 1 for _, group in itertools.groupby(values)]
    assert host.state["longest"][0] == pytest.approx(5 * max(runs[:-1]), rel=0.01)
    assert host.state["moves"][0] == len(runs) - 1
    equal = sum(runs) / (len(values) - 1)
    assert host.state["alike"][0] == pytest.approx(equal, abs=0.01)


def spread(values: Floats, every: int) -> Floats:
    """Return the values with others between them, one column."""
    between = moving(len(values) * every)
    between[::every, 0] = values
    return between
