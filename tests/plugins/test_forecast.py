"""The forecast of a limit: minutes as the agent hands them over, one after the other."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.api import Alarm, Duration, Instrument, Series, Window, counter, gauge
from vedette.testing import check_detector, new_state, window
from vedette_plugins._trend import Trend, fit, steady, wandering
from vedette_plugins.forecast import INTERVAL, Forecast, ForecastConfig

MINUTE_NS = 60_000_000_000
#: A minute, 2023-11-14.
START_NS = 28_333_333 * MINUTE_NS

SHARE = gauge("test.share", "1", "A share.", ("which",), alarm="high", limit=1.0)

Floats = NDArray[np.float64]

_GENERATIONS = itertools.count(1)


class Minutes:
    """A detector that is asked once a minute; ``scores`` and ``said`` are of the newest one."""

    def __init__(self, series: Sequence[Series] = (SHARE.series("a"),), step_min: int = 1) -> None:
        self.detector = Forecast(ForecastConfig())
        self.series = tuple(series)
        self.step_min = step_min
        self.state = new_state(self.detector, len(self.series))
        self.generation = next(_GENERATIONS)
        self.values: list[Floats] = []
        self.minute = 0

    def view(self) -> Window:
        return window(
            np.array(self.values[-self.detector.lookback :]).T,
            self.series,
            step_s=60.0 * self.step_min,
            end_ns=START_NS + self.minute * MINUTE_NS,
            generation=self.generation,
        )

    def run(self, values: Floats) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Go through ``values`` ``(minutes,)`` or ``(minutes, series)``."""
        for place, value in enumerate(values):
            self.minute += self.step_min
            self.values.append(np.atleast_1d(value))
            view = self.view()
            yield place, self.detector.score(view, self.state)
            self.detector.learn(view, self.state)

    def rings(self, values: Floats) -> list[int]:
        """Return the places at which the first series rings."""
        return [place for place, scores in self.run(values) if scores[0] >= 1]

    def words(self) -> str:
        return self.detector.explain(self.view(), self.state, 0).text


def noise(count: int, size: float = 0.0005, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(0.0, size, count)


def fill(minutes: int, flat: int = 120, begin: float = 0.6) -> Floats:
    """Two hours at one level, then steadily to the limit within so many minutes."""
    return np.concatenate([np.full(flat, begin), np.linspace(begin, 1.0, minutes + 1)[1:]])


# ---------------------------------------------------------------- the line


def test_the_line_is_the_one_that_polyfit_lays_through_the_same_points() -> None:
    random = np.random.default_rng(3)
    time = np.arange(-60.0, 1.0)
    rows = 0.7 + 0.002 * time + random.normal(0, 1e-4, (5, 61))
    rows[2, ::7] = np.nan
    trend = fit(time, rows, 60.0)
    for row, readings in enumerate(rows):
        known = np.isfinite(readings)
        # polyfit weighs residuals, not their squares: the root of exp(time / 30).
        weight = np.exp(time[known] / 60)
        slope, level = np.polyfit(time[known], readings[known], 1, w=weight)
        assert trend.slope[row] == pytest.approx(slope, rel=0.01)
        assert trend.level[row] == pytest.approx(level, abs=1e-4)


def test_without_outliers_in_reach_of_huber_the_line_is_exactly_that_of_polyfit() -> None:
    time = np.arange(-20.0, 1.0)
    readings = 0.5 + 0.003 * time + 1e-4 * (-1.0) ** np.arange(21)
    trend = fit(time, readings[None], 20.0)
    slope, level = np.polyfit(time, readings, 1, w=np.exp(time / 20))
    assert trend.slope[0] == pytest.approx(slope, rel=1e-9)
    assert trend.level[0] == pytest.approx(level, rel=1e-9)


def test_single_outliers_hardly_turn_the_line() -> None:
    time = np.arange(-60.0, 1.0)
    readings = 0.5 + 0.002 * time + noise(61)
    spoilt = readings.copy()
    spoilt[[20, 55]] += 0.2
    plain, robust = np.polyfit(time, spoilt, 1)[0], fit(time, spoilt[None], 60.0).slope[0]
    assert abs(robust - 0.002) < 0.2 * abs(plain - 0.002)


def test_the_error_of_the_slope_is_how_much_slopes_scatter() -> None:
    time = np.arange(-60.0, 1.0)
    trend = fit(time, 0.001 * time + np.random.default_rng(5).normal(0, 0.01, (2000, 61)), 60.0)
    assert np.median(trend.error) == pytest.approx(trend.slope.std(), rel=0.1)


def test_too_few_readings_are_no_line() -> None:
    time = np.arange(-10.0, 1.0)
    readings = np.full((1, 11), np.nan)
    readings[0, -5:] = 0.5
    assert np.isnan(fit(time, readings, 10.0).slope[0])


def test_a_steady_rise_is_one_without_a_big_step() -> None:
    time = np.arange(-60.0, 1.0)
    line, step, stairs = time / 60, (time > -20) * 1.0, np.floor(time / 10)
    back = -np.abs(time + 30)
    gap = np.where((time > -45) & (time < -15), np.nan, line)
    found = steady(time, np.array([line, step, stairs, back, gap]), 60.0)
    assert found.tolist() == [True, False, True, False, False]


def test_the_steps_of_a_walk_add_up_and_those_of_noise_do_not() -> None:
    random = np.random.default_rng(2)
    walks = random.normal(0, 0.01, (500, 121)).cumsum(axis=1)
    # The mean of 60 steps scatters by a step's size over the root of 60.
    assert np.median(wandering(walks, 61)) == pytest.approx(0.01 / 60**0.5, rel=0.15)
    noises = random.normal(0, 0.01, (500, 121))
    assert np.median(wandering(noises, 61)) < 0.4 * 0.01 / 60**0.5
    walks[:, 30] += 5.0
    assert np.median(wandering(walks, 61)) < 5.0 / 60**0.5 / 10


def test_the_minutes_to_the_limit_have_an_early_and_a_late_end() -> None:
    trend = Trend(np.array([0.8]), np.array([0.01]), np.array([0.001]))
    assert trend.minutes()[0] == pytest.approx(20)
    assert trend.minutes(INTERVAL)[0] == pytest.approx(0.2 / (0.01 + 0.0012816))
    assert np.isinf(Trend(np.array([0.8]), np.array([0.0]), np.array([0.0])).minutes()[0])


# ---------------------------------------------------------------- what rings


@pytest.mark.parametrize(("minutes", "delay"), [(40, 10), (90, 18), (240, 40)])
def test_a_fill_rings_in_time(minutes: int, delay: int) -> None:
    host = Minutes()
    values = fill(minutes)
    rings = host.rings(values + noise(len(values)))
    assert 120 < rings[0] <= 120 + delay
    assert len(rings) >= minutes - delay  # and goes on ringing


@pytest.mark.parametrize(("minutes", "error"), [(40, 0.05), (240, 0.05)])
def test_halfway_the_time_told_is_nearly_right(minutes: int, error: float) -> None:
    for seed in range(5):
        host = Minutes()
        values = fill(minutes)[: 120 + minutes // 2]
        for _ in host.run(values + noise(len(values), seed=seed)):
            pass
        rows = np.array([0])
        scores = {span: host.detector._of_span(host.view(), host.state, rows, span, reach)[0]
                  for span, reach in host.detector.spans}  # fmt: skip
        span = max(scores, key=lambda one: scores[one])
        trend = host.detector._trend(host.view(), rows, span)
        assert trend.minutes()[0] == pytest.approx(minutes / 2, rel=error)


def test_a_fill_turns_critical_an_hour_before_it_is_full() -> None:
    host = Minutes()
    values = fill(240)
    critical = [place - 120 for place, score in host.run(values) if score[0] >= 2]
    assert 175 <= critical[0] <= 185


def test_the_words_say_when_and_how_surely() -> None:
    host = Minutes()
    host.rings(fill(300)[:300])
    assert host.words() == "full in 2 h at the rate of the last hour"
    host = Minutes()
    values = fill(300)[:300]
    host.rings(values + noise(len(values), 0.01))
    assert re.fullmatch(
        r"full in \d h( \d+ min)? \(.+ to .+\) at the rate of the last hour", host.words()
    )


def test_what_stands_still_has_no_words() -> None:
    host = Minutes()
    host.rings(np.full(100, 0.8))
    assert host.words() == ""


def test_a_share_in_bytes_fills_like_one_of_one() -> None:
    bytes_used = gauge("test.bytes", "By", "Bytes.", alarm="high", limit=64e9)
    host = Minutes([bytes_used.series()])
    assert host.rings(fill(90) * 64e9)[0] <= 120 + 18


def test_a_fill_shows_in_readings_five_minutes_apart() -> None:
    host = Minutes(step_min=5)
    values = fill(240)[::5]
    rings = host.rings(values + noise(len(values)))
    assert 24 < rings[0] <= 24 + 14


# ---------------------------------------------------------------- what is quiet


def test_noise_a_step_and_a_slow_rise_are_quiet() -> None:
    hours = 600
    quiet = [
        0.8 + noise(hours, 0.02),
        np.where(np.arange(hours) < 300, 0.6, 0.8) + noise(hours),
        0.6 + 0.04 * np.arange(hours) / hours + noise(hours),
        np.concatenate([fill(40, begin=0.0)[: 120 + 19], np.full(461, 0.48)]),  # not half full
    ]
    series = [SHARE.series(str(row)) for row in range(len(quiet))]
    scores = np.array([scores for _, scores in Minutes(series).run(np.stack(quiet, axis=1))])
    assert not (scores >= 1).any()


def test_a_rise_that_comes_to_rest_is_quiet_soon_after() -> None:
    host = Minutes()
    values = np.minimum(fill(120), 0.9) + noise(240)
    values = np.concatenate([values, 0.9 + noise(300, seed=2)])
    rings = host.rings(values)
    assert rings  # it rose by 20 % an hour
    assert rings[-1] < 120 + 90 + 30


def sawtooth(minutes: int, step_min: int = 5) -> Floats:
    """From 55 to 85 %, and back, every three hours."""
    minute = np.arange(0, minutes, step_min)
    return 0.55 + 0.3 * (minute % 180) / 180 + noise(len(minute), 0.001)


def nights(count: int, step_min: int = 5) -> Floats:
    """How far the job of each night has come, 0 to 1: it takes an hour. ``(minutes,)``."""
    return np.clip((np.arange(0, count * 1440, step_min) % 1440 - 120) / 60, 0, 1)


def test_a_sawtooth_is_known_from_its_third_tooth_on() -> None:
    rings = Minutes(step_min=5).rings(sawtooth(2880))
    assert {place * 5 // 180 for place in rings} == {0, 1}


def test_a_fill_beyond_the_teeth_rings() -> None:
    host = Minutes(step_min=5)
    assert host.rings(sawtooth(1440))[-1] < 72
    rings = host.rings(np.linspace(0.55, 1.0, 49))
    assert rings
    assert 0.85 < 0.55 + 0.45 * rings[0] / 48 < 0.9


def test_a_nightly_job_is_known_from_its_third_night_on() -> None:
    of_day = np.arange(0, 5 * 1440, 5) % 1440
    values = 0.6 + 0.15 * nights(5) * (of_day < 300)
    rings = Minutes(step_min=5).rings(values + noise(len(values)))
    assert {place * 5 // 1440 for place in rings} == {0, 1}


def test_a_usual_rise_that_would_end_beyond_the_limit_rings() -> None:
    # Each night 12 % more, and nothing is ever deleted.
    values = 0.28 + 0.12 * (nights(6) + np.arange(0, 6 * 1440, 5) // 1440)
    rings = Minutes(step_min=5).rings(values + noise(len(values)))
    assert {place * 5 // 1440 for place in rings} - {0, 1} == {5}


def test_a_random_walk_seldom_rings() -> None:
    random, level = np.random.default_rng(1), np.full(60, 0.8)
    series = [SHARE.series(str(row)) for row in range(60)]
    walks = np.empty((720, 60))
    for minute in range(720):
        level = level + random.normal(0, 0.002, 60) - (level - 0.8) / 300
        walks[minute] = level
    ringing = np.array([scores >= 1 for _, scores in Minutes(series).run(walks)])
    confirmed = ringing[2:] & ringing[1:-1] & ringing[:-2]
    opened = (confirmed[1:] & ~confirmed[:-1]).sum()
    assert opened / 30 <= 0.1  # per series and day


# ---------------------------------------------------------------- of which series


@pytest.mark.parametrize(
    "instrument",
    [
        gauge("test.share", "1", "No limit.", alarm="high"),
        gauge("test.share", "1", "Nobody cares.", alarm="never", limit=1.0),
        gauge("test.share", "1", "The other side.", alarm="low", limit=1.0),
        counter("test.time", "s", "A rate.", alarm="high", limit=1.0),
        gauge("vedette.cpu.busy", "1", "Busy.", alarm="high", limit=1.0),
    ],
)
def test_no_opinion_on_what_cannot_fill(instrument: Instrument) -> None:
    host = Minutes([instrument.series()])
    assert all(np.isnan(scores[0]) for _, scores in host.run(fill(60)))


@pytest.mark.parametrize("alarm", ["high", "both"])
def test_it_keeps_the_contract(alarm: Alarm) -> None:
    check_detector(Forecast)
    check_detector(
        Forecast, instrument=gauge("test.full", "1", "Full.", ("n",), alarm=alarm, limit=1.0)
    )


def test_gaps_and_missing_series_are_no_trouble() -> None:
    host = Minutes([SHARE.series("a"), SHARE.series("b")])
    values = np.stack([fill(90), np.full(210, np.nan)], axis=1)
    values[150:156, 0] = np.nan
    scores = np.array([scores for _, scores in host.run(values)])
    assert np.isnan(scores[:, 1]).all()
    assert np.isnan(scores[150:156, 0]).all()
    assert (scores[175:, 0] >= 1).all()


def test_what_was_learned_holds_after_a_restart() -> None:
    before, after = Minutes(step_min=5), Minutes(step_min=5)
    assert before.rings(sawtooth(1440))
    after.state = before.state
    assert after.rings(sawtooth(360)) == []


def test_the_times_are_checked() -> None:
    with pytest.raises(ValueError, match="horizon"):
        ForecastConfig(horizon=Duration(60))
    with pytest.raises(ValueError, match="critical"):
        ForecastConfig(critical=Duration(7 * 3600))
