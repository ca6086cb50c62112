"""How unlike any before the last eight readings are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.api import Alarm, Series, Window, gauge
from vedette.testing import new_state, window
from vedette_plugins import _windows
from vedette_plugins._minded import sides
from vedette_plugins.ensemble import Ensemble, EnsembleConfig

VALUE = gauge("test.value", "1", "A value.", ("which",))

Floats = NDArray[np.floating]

_GENERATIONS = itertools.count(1)
START_NS = 28_333_333 * 60_000_000_000


class Minutes:
    """Windows that are looked at once a minute, and by the detector whose they are."""

    def __init__(self, series: Sequence[Series] = (VALUE.series("a"),)) -> None:
        self.detector = Ensemble(EnsembleConfig())
        self.series = tuple(series)
        self.state = new_state(self.detector, len(self.series))
        self.generation = next(_GENERATIONS)
        self.values: list[Floats] = []

    def view(self) -> Window:
        return window(
            np.array(self.values[-self.detector.lookback :]).T,
            self.series,
            step_s=60.0,
            end_ns=START_NS + len(self.values) * 60_000_000_000,
            generation=self.generation,
        )

    def rarity(self) -> NDArray[np.float32]:
        return _windows.rarity(self.view(), self.state, sides(self.series))

    def scores(self, values: Floats) -> NDArray[np.float32]:
        """Go through ``values`` ``(minutes,)`` or ``(minutes, series)``; return rarities."""
        found = []
        for value in values:
            self.values.append(np.atleast_1d(value))
            found.append(self.rarity())
            _windows.learn(self.view(), self.state)
        return np.array(found)


def noise(minutes: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(10.0, 1.0, minutes)


def switching(minutes: int, seed: int = 1) -> Floats:
    """Half hours at 5 and at 15."""
    return noise(minutes, seed) * 0.2 + 3 + 10 * (np.arange(minutes) // 30 % 2)


def far(scores: Floats, usual: Floats) -> float:
    """Return the strangest score less the strangest usual one, in spreads of the usual ones."""
    return float((np.nanmax(scores) - np.nanmax(usual)) / np.nanstd(usual))


# ---------------------------------------------------------------- what is strange


def test_a_level_never_seen_is_strange() -> None:
    host = Minutes()
    usual = host.scores(noise(1000))
    assert far(host.scores(noise(5, 2) + 8), usual[300:]) > 2


def test_a_level_between_two_usual_ones_is_strange() -> None:
    host = Minutes()
    usual = host.scores(switching(1200))
    assert 5 < 9.6 < 15
    assert far(host.scores(noise(10, 2) * 0.2 + 7.6), usual[300:]) > 1


def test_a_flat_line_in_a_wave_is_strange_though_its_level_is_usual() -> None:
    host = Minutes()
    minute = np.arange(1500)
    usual = host.scores(10 + 5 * np.sin(minute / 4) + 0.1 * noise(1500))
    between = host.scores(np.full(12, 11.0) + 0.1 * noise(12, 2))
    assert far(between, usual[300:]) > 0.5


def test_what_was_strange_is_usual_once_it_has_been_for_long() -> None:
    host = Minutes()
    host.scores(noise(1000))
    other = host.scores(noise(1000, 2) + 8)
    assert np.nanmean(other[-100:]) < 0.6 * np.nanmean(other[2:12])


def test_the_score_is_that_of_histograms_counted_one_by_one() -> None:
    """An oracle that keeps all windows and weighs them by age."""
    values = np.random.default_rng(6).normal(10.0, 2.0, 400).astype(np.float32)
    host = Minutes()
    scores = host.scores(values)[:, 0]
    location = scale = 0.0
    entries: list[tuple[int, list[int]]] = []
    for minute, value in enumerate(values.tolist()):
        if minute >= _windows.LEARN:
            lags = (values[minute - 8 : minute + 1].astype(float) - location) / scale
            places = []
            for weights in _windows.SIDES.tolist():
                side = sum(w * lag for w, lag in zip(weights, lags, strict=True))
                bent = math.copysign(math.log1p(abs(side)), side)
                place = int((bent / math.log1p(_windows.REACH) + 1) / 2 * _windows.BINS)
                places.append(min(max(place, 0), _windows.BINS - 1))
            if minute == 399:
                break
            entries.append((minute, places))
        if minute == 0:
            location = value
        gain = 1 / min(minute + 1, _windows.SPAN)
        reach = _windows.CLIP * scale if minute + 1 > _windows.LEARN else math.inf
        off = min(max(value - location, -reach), reach)
        location += gain * off
        scale += gain * (abs(off) - scale)
    weights = [(1 + 1 / _windows.MEMORY) ** (minute - 398) for minute, _ in entries]
    total, rarity = sum(weights), []
    for side, place in enumerate(places):
        hits = sum(w for w, (_, one) in zip(weights, entries, strict=True) if one[side] == place)
        rarity.append(-math.log((hits + _windows.PRIOR) / (total + _windows.BINS * _windows.PRIOR)))
    assert scores[399] == pytest.approx(np.mean(rarity), rel=1e-3)


def test_weights_start_anew_without_a_trace() -> None:
    plain, heavy = Minutes(), Minutes()
    values = noise(600)
    plain.scores(values[:500])
    heavy.scores(values[:500])
    for name in ("weight", "total", "bins"):
        heavy.state[name] *= 9_900.0
        heavy.state[name] /= plain.state["weight"][0]
    scores = heavy.scores(values[500:])
    assert scores == pytest.approx(plain.scores(values[500:]), rel=1e-3)
    assert heavy.state["weight"][0] < 10


# ---------------------------------------------------------------- what is not


@pytest.mark.parametrize(("alarm", "up", "down"), [("high", True, False), ("low", False, True)])
def test_only_the_side_counts_on_which_a_person_cares(alarm: Alarm, up: bool, down: bool) -> None:
    one = gauge("test.sided", "1", "One side.", alarm=alarm)
    for step, rings in ((8.0, up), (-8.0, down)):
        host = Minutes([one.series()])
        host.scores(noise(500))
        assert (np.nanmax(host.scores(noise(4, 2) + step)) > 0) == rings


def test_nothing_is_rare_of_new_and_gappy_series_and_of_those_nobody_cares_for() -> None:
    never = gauge("test.never", "1", "Nobody cares.", alarm="never")
    host = Minutes([VALUE.series("a"), VALUE.series("b"), never.series()])
    values = np.stack([noise(300), noise(300), noise(300)], axis=1)
    values[::5, 1] = np.nan
    scores = host.scores(values)
    assert (scores[:210, 0] == 0).all()
    assert (scores[210:, 0] > 0).all()
    assert (scores[:, 1:] == 0).all()


def test_after_a_gap_it_waits_for_a_whole_window() -> None:
    host = Minutes()
    host.scores(noise(300))
    assert (host.scores(np.full(20, np.nan)) == 0).all()
    scores = host.scores(noise(20, 2))[:, 0]
    assert (scores[:8] == 0).all()
    assert (scores[8:] > 0).all()


def test_the_words_name_what_is_strangest() -> None:
    host = Minutes()
    host.scores(noise(500))
    host.scores(np.full(20, 10.0))
    host.values.append(np.array([60.0]))
    assert _windows.rarest(host.view(), host.state, 0) in ("its value", "its last step")


def test_extreme_values_do_no_harm() -> None:
    host = Minutes()
    values = noise(300) * 1e30
    values[250] = 3e38
    values[260:270] = 0.0
    with np.errstate(all="raise"):
        scores = host.scores(values)
    assert np.isfinite(scores[-1]).all()
