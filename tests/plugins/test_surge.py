"""What fills within minutes: second after second, as the agent hands readings over."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.api import Instrument, Window, counter, gauge, updown
from vedette.testing import check_detector, new_state, window
from vedette_plugins.surge import MORE, OFTEN, WARM, Surge, SurgeConfig

S = 1_000_000_000
START_NS = 1_800_000_000 * S
SHARE = gauge("test.memory", "1", "A share.", alarm="high", limit=1.0)

Floats = NDArray[np.float64]
_GENERATIONS = itertools.count(1)


class Seconds:
    """A detector asked once a second; ``every`` is how often the series is read."""

    def __init__(self, instrument: Instrument = SHARE, every: int = 1, horizon: int = 600) -> None:
        self.detector = Surge(SurgeConfig(horizon=horizon))
        self.series = (instrument.series(),)
        self.every = every
        self.state = new_state(self.detector, 1)
        self.values: list[float] = []
        self.generation = next(_GENERATIONS)

    def rings(self, values: Floats) -> list[int]:
        """Go through readings, one a second; return the places at which it rings."""
        found = []
        for place, value in enumerate(values):
            read = len(self.values) % self.every == 0
            self.values.append(float(value) if read else float("nan"))
            if self.detector.score(self.view(), self.state)[0] >= 1:
                found.append(place)
            self.detector.learn(self.view(), self.state)
        return found

    def view(self):
        newest = np.array([self.values[-self.detector.lookback :]])
        end = START_NS + len(self.values) * S
        return window(newest, self.series, step_s=1.0, end_ns=end, generation=self.generation)

    def words(self) -> str:
        return self.detector.explain(self.view(), self.state, 0).text


def quiet(seconds: int, level: float = 0.3, seed: int = 1) -> Floats:
    return level + np.random.default_rng(seed).normal(0, 2e-4, seconds)


def rise(seconds: int, to_full_s: float, begin: float = 0.3) -> Floats:
    """Readings that would reach the limit in so many seconds from the beginning."""
    return begin + (1 - begin) * np.arange(1, seconds + 1) / to_full_s


def test_it_is_a_detector_as_the_agent_expects_one() -> None:
    check_detector(Surge(SurgeConfig()))


def test_a_leak_that_fills_in_minutes_rings_within_a_dozen_seconds() -> None:
    made = Seconds()
    assert made.rings(quiet(300)) == []
    rings = made.rings(rise(30, 350))
    assert 8 <= rings[0] <= 12
    assert rings[-1] == 29


def test_the_further_away_the_limit_the_longer_it_has_to_rise() -> None:
    for to_full_s, after_s in ((300, 10), (560, 14)):
        made = Seconds()
        made.rings(quiet(300, 0.05))
        rings = made.rings(rise(40, to_full_s, 0.05))
        assert after_s - 3 <= rings[0] <= after_s + 6
        assert rings[-1] == 39


def test_what_one_second_brings_on_top_of_a_slow_rise_does_not_go_on() -> None:
    made = Seconds()
    made.rings(quiet(300, 0.05))
    slow = 0.05 + 0.001 * np.arange(1, 41)
    slow[20:] += 0.009
    assert made.rings(slow) == []


def test_the_time_that_is_left_is_told_as_a_straight_line_has_it() -> None:
    made = Seconds()
    made.rings(quiet(300, seed=2))
    made.rings(rise(30, 570))
    assert made.words() == "full in 9 min at this rate"


def test_what_is_read_every_five_seconds_rings_at_the_third_reading_of_the_rise() -> None:
    made = Seconds(every=5)
    made.rings(quiet(300))
    (first, *_) = made.rings(rise(40, 300))
    assert first <= 15


@pytest.mark.parametrize("every", [1, 3, 5])
def test_no_rise_is_passed_over_by_the_first_look(every: int) -> None:
    rng = np.random.default_rng(every)
    made = Seconds(every=every, horizon=3600)
    detector = made.detector
    rang = 0
    for _ in range(800):
        at = np.arange(-22.0, 1) + rng.uniform(-0.3, 0.3, 23) * (np.arange(23) < 22)
        pace = np.repeat(rng.uniform(0.3, 2, 5), 5)[:23]
        values = 0.95 + np.cumsum(pace) * rng.uniform(3e-4, 6e-4)
        values[(np.arange(23) + 1) % every != 23 % every] = np.nan
        time = START_NS + (at * S).astype(np.int64)
        view = Window(time, values[None].astype(np.float32), list(made.series), made.generation)
        detector.score(view, made.state)
        rows = np.array([0])
        seen = detector._look(view, rows)[0]
        rings = detector._rising(view.time, view.values[rows], rows)[0] >= 1
        rang += int(rings[0])
        assert (seen[0] >= 1) == rings[0]
    assert 80 < rang < 720


def test_a_step_a_burst_and_a_slow_rise_ring_for_nothing() -> None:
    made = Seconds()
    made.rings(quiet(300))
    assert made.rings(quiet(60, 0.7)) == []
    assert made.rings(0.7 + 0.02 * np.minimum(np.arange(30), 4)) == []
    assert made.rings(rise(120, 7200, begin=0.5)) == []


def test_a_fast_rise_too_small_to_matter_is_quiet() -> None:
    made = Seconds()
    made.rings(quiet(300, 0.97))
    assert made.rings(np.concatenate([0.97 + 0.0008 * np.arange(11), quiet(20, 0.978)])) == []


def test_a_rise_that_is_usual_here_is_quiet_and_a_larger_one_is_not() -> None:
    made = Seconds()
    made.rings(quiet(300))
    job = np.concatenate([rise(15, 300), quiet(60, 0.335), quiet(60)])
    for _ in range(int(OFTEN) + 1):
        assert made.rings(job)
    assert made.rings(job) == []
    assert made.rings(rise(30, 300 / (MORE + 0.5)))


def test_a_count_that_doubles_within_a_minute_rings_and_one_that_grows_slowly_does_not() -> None:
    open_files = updown("test.files", "{file}", "Open.", alarm="high")
    made = Seconds(open_files)
    made.rings(1000 * quiet(300, 1.8))
    assert made.rings(1800 + 10.0 * np.arange(60)) == []
    made.rings(np.full(60, 2400.0))
    (first, *_) = made.rings(2400 + 100.0 * np.arange(30))
    assert first <= 12
    assert made.words() == "100 more each second"


def test_a_count_of_many_rings_when_it_grows_by_a_quarter_without_a_rest() -> None:
    made = Seconds(updown("test.files", "{file}", "Open.", alarm="high"))
    made.rings(np.full(100, 6000.0))
    assert 16 <= made.rings(6000.0 + 100 * np.arange(40))[0] <= 22
    made.rings(np.full(60, 9900.0))
    assert made.rings(9900.0 + 100 * np.arange(40) * (np.arange(40) % 12 < 6)) == []


def test_a_count_of_few_has_to_become_many() -> None:
    connections = updown("test.connections", "{connection}", "Open.", alarm="high")
    made = Seconds(connections)
    made.rings(np.full(100, 2.0))
    assert made.rings(2.0 + 2 * np.arange(30)) == []
    made.rings(np.full(60, 62.0))
    assert made.rings(62.0 + 40 * np.arange(15))[0] <= 12


def test_nothing_is_said_of_a_series_that_is_new() -> None:
    made = Seconds()
    made.rings(quiet(10))
    assert made.rings(rise(int(WARM) - 11, 200)) == []


@pytest.mark.parametrize(
    "instrument",
    [
        gauge("system.cpu.utilization", "1", "Busy.", alarm="high", limit=1.0),
        gauge("vedette.disk.utilization", "1", "Busy.", alarm="high", limit=1.0),
        gauge("hw.gpu.memory.utilization", "1", "Used.", alarm="high", limit=1.0),
        gauge("test.share", "1", "Evidence.", alarm="never", limit=1.0),
        gauge("test.bytes", "By", "Without a limit.", alarm="high"),
        counter("test.time", "s", "A rate.", alarm="high", limit=1.0),
    ],
    ids=lambda one: one.name,
)
def test_what_cannot_fill_is_not_judged(instrument: Instrument) -> None:
    made = Seconds(instrument)
    made.rings(quiet(100))
    assert made.rings(rise(30, 350)) == []
    assert not made.detector.learning(made.view(), made.state).any()


@pytest.mark.parametrize("horizon", [59, 3601])
def test_a_horizon_out_of_reach_is_refused(horizon: int) -> None:
    with pytest.raises(ValueError, match="horizon"):
        SurgeConfig(horizon=horizon)
