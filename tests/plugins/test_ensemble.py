"""Onsets and what was never seen, of series whose story is known."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.api import Alarm, Series, Window, gauge
from vedette.backtest import replay
from vedette.csv_series import Readings
from vedette.testing import check_detector, new_state, window
from vedette_plugins import _channels, _windows, ensemble
from vedette_plugins._channels import Residuals
from vedette_plugins.ensemble import Ensemble, EnsembleConfig

VALUE = gauge("test.value", "1", "A value.", ("which",))
ONSET, NOVELTY, TOGETHER = Ensemble.heads
#: Readings before a series is judged.
QUIET = 150
S = 1_000_000_000
_GENERATIONS = itertools.count(1)

Floats = NDArray[np.floating]


class Minutes:
    """A detector that is asked once a minute, of some series."""

    def __init__(
        self, series: Sequence[Series], config: EnsembleConfig | None = None, step_s: int = 60
    ) -> None:
        self.detector = Ensemble(config or EnsembleConfig())
        self.series = tuple(series)
        self.state = new_state(self.detector, len(self.series))
        self.values = np.empty((len(self.series), 0), dtype=np.float32)
        self.generation = next(_GENERATIONS)
        self.step_s = step_s

    def view(self) -> Window:
        return window(
            self.values[:, -self.detector.lookback :],
            self.series,
            step_s=float(self.step_s),
            end_ns=1_700_000_000 * S + self.values.shape[1] * self.step_s * S,
            generation=self.generation,
        )

    def left(self) -> Residuals:
        return _channels.residuals(self.view(), self.state)

    def scores(self, values: Floats) -> NDArray[np.float32]:
        """Go through ``values`` ``(series, minutes)``; return ``(heads, series, minutes)``."""
        found = []
        for column in np.atleast_2d(values).T.astype(np.float32):
            self.values = np.concatenate((self.values, column[:, None]), axis=1)
            view = self.view()
            found.append(self.detector.score(view, self.state))
            self.detector.learn(view, self.state)
        return np.stack(found, axis=2)


def minded(alarm: Alarm, limit: float | None = None) -> Series:
    return gauge("test.value", "1", "A value.", ("which",), alarm=alarm, limit=limit).series("a")


def noise(minutes: int, seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(50, 2, minutes).astype(np.float32)


def rings(scores: NDArray[np.float32], head: int) -> NDArray[np.intp]:
    """Return the minutes in which a series is at its threshold."""
    threshold = Ensemble.heads[head].threshold
    assert threshold is not None
    return np.flatnonzero(scores[head, 0] >= np.float32(threshold))


def test_the_contract_is_kept() -> None:
    check_detector(Ensemble, ticks=420)


@pytest.mark.parametrize("alarm", ["high", "low"])
def test_the_contract_is_kept_of_series_with_one_side(alarm: Alarm) -> None:
    one_side = gauge("test.value", "1", "A value.", ("row",), alarm=alarm, limit=1.0)
    check_detector(Ensemble, instrument=one_side, ticks=420)


def test_a_level_shift_rings_at_once_and_then_is_ordinary() -> None:
    values = noise(3_000)
    values[1_000:] += 30
    scores = Minutes([VALUE.series("a")]).scores(values)
    for head in (0, 1):
        assert 1_000 <= rings(scores, head)[0] <= 1_003
    assert rings(scores, 0)[-1] < 1_030


def test_a_single_spike_rings_at_once() -> None:
    values = noise(1_200)
    values[1_000] += 60
    scores = Minutes([VALUE.series("a")]).scores(values)
    assert rings(scores, 0)[0] == 1_000
    assert rings(scores, 1)[0] == 1_000


def test_ordinary_noise_seldom_rings() -> None:
    series = [VALUE.series(str(row)) for row in range(30)]
    values = np.stack([noise(2_000, seed) for seed in range(30)])
    scores = Minutes(series).scores(values)
    days = 30 * (2_000 - QUIET) / 1_440
    for head, threshold in enumerate((ONSET.threshold, NOVELTY.threshold)):
        assert threshold is not None
        begins = np.diff((scores[head] >= threshold).astype(np.int8), axis=1) > 0
        assert begins.sum() / days < (0.02, 0.4)[head]


def test_a_score_wears_off_by_a_tenth_per_reading() -> None:
    values = noise(1_620)
    values[1_600] += 60
    machine = Minutes([VALUE.series("a")])
    # Less what is taken off because readings come each minute, and by the channels alone.
    told = machine.scores(values[:1_601])[0, 0, -1] + 16 * np.log10(60)
    held = np.append(np.zeros(1_600), machine.state["onset"])
    assert told > held[1_600]
    for value in values[1_601:]:
        machine.scores(np.array([[value]]))
        held = np.append(held, machine.state["onset"])
    np.testing.assert_allclose(held[1_603:1_609] / held[1_602:1_608], 0.9, rtol=1e-5)


def test_what_a_series_usually_scores_counts_against_it() -> None:
    calm, restless = noise(2_000), noise(2_000)
    restless[np.arange(200, 1_900, 25)] += 15
    calm[1_900] += 15
    restless[1_900] += 15
    scores = Minutes([VALUE.series("a"), VALUE.series("b")]).scores(np.stack((calm, restless)))
    assert scores[0, 0, 1_900] > scores[0, 1, 1_900] + 10


def test_a_lone_record_needs_to_be_twice_as_large() -> None:
    state = new_state(Ensemble(EnsembleConfig()), 3)
    candidate = np.array([1.3, 2.0, 3.0], dtype=np.float32)
    np.testing.assert_allclose(ensemble._novelty(candidate, state), [0, 1, 1.5])


def test_the_lesser_of_two_records_counts() -> None:
    state = new_state(Ensemble(EnsembleConfig()), 3)
    state["pending"][:, 0] = (1.2, 1.6, 1.6)
    state["pending"][:, 1] = (1, 1, ensemble.WITHIN)
    candidate = np.array([1.5, 1.5, 1.5], dtype=np.float32)
    np.testing.assert_allclose(ensemble._novelty(candidate, state), [1.2, 1.5, 0])


def test_novelty_is_quiet_for_a_while_after_it_rang() -> None:
    state = new_state(Ensemble(EnsembleConfig()), 4)
    state["rung"][:, 0] = (ensemble.BEATEN, ensemble.BEATEN, 1.05, 0)
    state["rung"][:, 1] = (ensemble.SILENCE, ensemble.SILENCE + 1, 3, 3)
    candidate = np.full(4, 2.4, dtype=np.float32)
    np.testing.assert_allclose(
        ensemble._novelty(candidate, state),
        [0, 1.2, 1.2, 1.2],
    )


def test_a_young_record_has_to_be_beaten_by_more() -> None:
    # A spike three times as large as any before, early and late.
    largest = []
    for at in (180, 1_500):
        values = noise(at + 1)
        values[at] += 25
        largest.append(float(Minutes([VALUE.series("a")]).scores(values)[1, 0, at]))
    assert largest[0] == 0
    assert largest[1] > 1


def test_of_a_young_series_an_onset_has_to_score_more() -> None:
    machine = Minutes([VALUE.series(str(row)) for row in range(4)])
    machine.values = np.zeros((4, 2), dtype=np.float32)
    machine.state["known"][:, 0] = (180, 360, 720, 5_000)
    left = machine.left()
    np.testing.assert_allclose(ensemble._youth(left, machine.state), [30, 20, 10, 0], rtol=1e-5)


@pytest.mark.parametrize(("step_s", "factor"), [(60, 60), (300, 12), (3_600, 1), (86_400, 1)])
def test_the_more_readings_an_hour_the_more_an_onset_has_to_score(step_s: int, factor: int) -> None:
    machine = Minutes([VALUE.series("a")], step_s=step_s)
    machine.scores(noise(2_000))
    machine.state["known"][:, 0] = 200_000
    seen = machine.detector._look(machine.view(), machine.state)
    rarity = _windows.rarity(machine.view(), machine.state, np.ones((2, 1), dtype=np.float32))
    allowed = seen.held + 2 * rarity - seen.onset
    np.testing.assert_allclose(allowed, 16 * np.log10(factor), atol=1e-4)


@pytest.mark.parametrize(("rows", "rings"), [(1, True), (ensemble.SERIES_LEAST, False)])
def test_of_many_series_a_record_that_is_no_onset_is_not_new(rows: int, rings: bool) -> None:
    machine = Minutes([VALUE.series(str(row)) for row in range(rows)])
    machine.scores(np.stack([noise(1_500, seed) for seed in range(rows)]))
    machine.state["usual"][:] = 60  # it scores as much all the time
    scores = machine.scores(np.full((rows, 1), 110.0))
    assert bool(scores[1, 0, 0] >= 1) is rings


def test_many_series_a_little_strange_at_once_are_the_hosts_and_no_single_one_is_enough() -> None:
    series = [VALUE.series(str(row)) for row in range(20)]
    values = np.stack([noise(2_200, seed) for seed in range(20)])
    values[:5, 2_000:2_010] += 11
    scores = Minutes(series).scores(values)
    together, onset = scores[2], scores[0]
    assert TOGETHER.threshold is not None
    assert ONSET.threshold is not None
    assert (together[:5, 2_000] >= TOGETHER.threshold).sum() >= 3
    assert not (together[5:, 2_000] >= TOGETHER.threshold).any()
    assert not (together[:, QUIET:2_000] >= TOGETHER.threshold).any()
    assert not (onset[:, 2_000] >= ONSET.threshold).any()


@pytest.mark.parametrize("rows", [1, 2, ensemble.SERIES_LEAST - 1])
def test_of_several_series_one_has_to_be_the_stranger(rows: int) -> None:
    machine = Minutes([VALUE.series(str(row)) for row in range(rows)])
    machine.scores(np.stack([noise(2_000, seed) for seed in range(rows)]))
    seen = machine.detector._look(machine.view(), machine.state)
    machine.state["known"][:, 0] = 200_000
    seen = machine.detector._look(machine.view(), machine.state)
    rarity = _windows.rarity(machine.view(), machine.state, np.ones((2, rows), dtype=np.float32))
    allowed = seen.held + 2 * rarity - seen.onset
    np.testing.assert_allclose(allowed, 16 * np.log10(60 * rows), atol=1e-4)


def test_a_host_whose_series_are_often_strange_has_to_be_the_stranger() -> None:
    random = np.random.default_rng(4)
    rows = 20
    calm = random.normal(50, 5, (rows, 2_500))
    wild = 50 + 5 * random.standard_t(2, (rows, 2_500))
    usual, rung = [], []
    for values in (calm, wild):
        machine = Minutes([VALUE.series(str(row)) for row in range(rows)])
        scores = machine.scores(values.astype(np.float32))
        usual.append(ensemble._of_host(machine.state)[0])
        rung.append(int((scores[2] >= ensemble.TOGETHER).any(axis=0).sum()))
    # That of normal noise is the unit.
    assert usual[0] == pytest.approx(ensemble.RESTLESS, rel=0.1)
    assert usual[1] > 1.4 * ensemble.RESTLESS
    assert rung == [0, 0]


def test_a_host_is_taken_for_restless_until_it_was_seen_to_be_calm() -> None:
    state = new_state(Ensemble(EnsembleConfig()), 10)
    begins = (ensemble.RESTLESS_BEGIN) ** ensemble.RESTLESS_POWER
    assert ensemble._restlessness(state, 10) == pytest.approx(begins)
    assert ensemble._restlessness(state, ensemble.SERIES_LEAST - 1) == 1
    calm = np.full(10, 4, dtype=np.float32)
    for _ in range(500):
        ensemble._rest(calm, state)
    assert ensemble._restlessness(state, 10) == 1
    # A series that is new is told by the others; what was learned of few is not heard.
    state["restless"][3] = 0
    ensemble._rest(calm, state)
    assert (state["restless"][:, 1] == 501).all()
    ensemble._rest(np.where(np.arange(10) < 4, calm, np.float32(np.nan)), state)
    assert (state["restless"][:, 1] == 501).all()
    # Half a day of trouble, in minutes, does not make it one.
    for _ in range(1_000):
        ensemble._rest(calm, state)
    for _ in range(720):
        ensemble._rest(np.full(10, 40, dtype=np.float32), state)
    assert ensemble._restlessness(state, 10) < 1.5


def test_a_record_that_nothing_speaks_for_does_not_ring_and_keeps_none_from_it() -> None:
    state = new_state(Ensemble(EnsembleConfig()), 3)
    candidate = np.full(3, 2.6, dtype=np.float32)
    alone = np.array([True, False, False])
    state["rung"][1] = (ensemble.NEARLY, 2)
    state["rung"][2] = (ensemble.BEATEN, 2)
    novelty = ensemble._novelty(candidate, state, alone)
    np.testing.assert_allclose(novelty, [ensemble.NEARLY, 1.3, 0])
    assert novelty[0] < ensemble.BEATEN
    state["rung"][:] = (ensemble.NEARLY, 2)
    assert ensemble._novelty(candidate, state, np.ones(3, dtype=bool)).tolist() == [0, 0, 0]


def test_the_hosts_score_is_the_mean_of_its_strangest_series() -> None:
    onset = np.array([5, np.nan, 30, -3, 20, 10, 1, 2, 25, 4, 6], dtype=np.float32)
    together = ensemble._together(onset, 10)
    # A fifth of ten are two: at least three. The last is below the mean.
    assert together[[2, 8, 4]].tolist() == [25, 25, 20]
    assert np.isnan(together[1])
    assert (together[[0, 3, 5, 6, 7, 9, 10]] == 0).all()
    assert np.isnan(ensemble._together(onset, 7)).all()


def test_nothing_is_said_before_a_series_is_known() -> None:
    values = noise(QUIET + 20)
    values[100] += 100
    machine = Minutes([VALUE.series("a")])
    scores = machine.scores(values[:QUIET])
    assert np.isnan(scores).all()
    # Of the host as a whole a single series says nothing.
    assert np.isfinite(machine.scores(values[QUIET:])[:2]).all()


def test_it_says_of_which_series_it_is_still_learning() -> None:
    machine = Minutes([VALUE.series("a"), minded("never")])
    values = np.stack((noise(QUIET), noise(QUIET)))
    machine.scores(values[:, :-1])
    assert machine.detector.learning(machine.view(), machine.state).tolist() == [True, False]
    machine.scores(values[:, -1:])
    assert machine.detector.learning(machine.view(), machine.state).tolist() == [False, False]


@pytest.mark.parametrize("value", [0.0, 1e-12, 7.3, -4e8, 1e18])
def test_a_constant_series_is_never_judged(value: float) -> None:
    assert np.isnan(Minutes([VALUE.series("a")]).scores(np.full(400, value))).all()


def test_a_series_is_judged_from_its_third_change_on() -> None:
    values = np.full(600, 5.0)
    values[300:] = 6
    values[400:] = 7
    values[500:] = 9
    scores = Minutes([VALUE.series("a")]).scores(values)[0, 0]
    assert np.isnan(scores[:501]).all()
    assert np.isfinite(scores[501:]).all()


@pytest.mark.parametrize(
    ("alarm", "rises", "falls"),
    [("both", True, True), ("high", True, False), ("low", False, True), ("never", False, False)],
)
def test_only_the_side_that_matters_rings(alarm: Alarm, rises: bool, falls: bool) -> None:
    for step, expected in ((40, rises), (-40, falls)):
        values = noise(1_030)
        values[1_000:] += step
        scores = Minutes([minded(alarm)]).scores(values)
        for head in (0, 1):
            found = rings(scores, head)
            assert bool(len(found[found >= 1_000])) == expected
        if alarm == "never":
            assert np.isnan(scores).all()


def test_what_is_small_beside_a_limit_is_not_judged() -> None:
    values = noise(1_010)
    values[1_000:] += 30
    for limit, silent in ((200.0, False), (1_000.0, True)):
        scores = Minutes([minded("high", limit)]).scores(values)
        assert np.isnan(scores[0, 0, 1_000]) == silent
    exact = Minutes([minded("high", 1_000.0)], EnsembleConfig(matters=0.0)).scores(values)
    assert np.isfinite(exact[0, 0, 1_000])


def test_a_reading_that_is_missing_changes_nothing() -> None:
    machine = Minutes([VALUE.series("a"), VALUE.series("b")])
    machine.scores(np.stack((noise(400, 1), noise(400, 2))))
    before = {name: array.copy() for name, array in machine.state.items()}
    scores = machine.scores(np.array([[np.nan], [51.0]]))
    assert np.isnan(scores[:, 0]).all()
    assert np.isfinite(scores[:2, 1]).all()
    for name, array in machine.state.items():
        np.testing.assert_array_equal(array[0], before[name][0], err_msg=name)


def test_scores_do_not_change_when_what_follows_is_cut_off() -> None:
    values = noise(900)
    values[500:] *= 1.5
    whole = Minutes([VALUE.series("a")]).scores(values)
    cut = Minutes([VALUE.series("a")]).scores(values[:600])
    np.testing.assert_array_equal(whole[:, :, :600], cut)


def test_what_is_learned_survives_being_saved() -> None:
    values = np.stack((noise(700, 1), noise(700, 2)))
    values[0, 600:] += 9
    series = [VALUE.series("a"), VALUE.series("b")]
    machine = Minutes(series)
    machine.scores(values[:, :500])
    file = io.BytesIO()
    np.savez(file, **machine.state)  # type: ignore[arg-type]
    again = Minutes(series)
    file.seek(0)
    with np.load(file) as saved:
        again.state = {name: np.asfortranarray(saved[name]) for name in saved}
    again.values = machine.values
    np.testing.assert_array_equal(again.scores(values[:, 500:]), machine.scores(values[:, 500:]))


def test_without_the_last_readings_it_is_soon_itself_again() -> None:
    values = noise(900)
    values[850:] += 20
    machine = Minutes([VALUE.series("a")])
    machine.scores(values[:600])
    again = Minutes([VALUE.series("a")])
    kept = {name: array.copy() for name, array in machine.state.items()}
    for name, declared in Ensemble.state.items():
        if declared.transient:
            kept[name][:] = declared.initial
    again.state = kept
    one, other = machine.scores(values[600:]), again.scores(values[600:])
    assert np.isfinite(other[:2]).all()
    assert not (other[0, 0, :240] >= ONSET.threshold).any()
    np.testing.assert_allclose(one[0, 0, 250:255], other[0, 0, 250:255], rtol=0.01)


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**50])
def test_the_unit_of_a_series_does_not_matter(factor: float) -> None:
    values = noise(700).astype(np.float64)
    values[600:] += 20
    one = Minutes([VALUE.series("a")]).scores(values)
    other = Minutes([VALUE.series("a")]).scores(values * factor)
    # The logarithms of the spreads are as fine as float32 is at their size.
    np.testing.assert_allclose(one, other, atol=0.02)


@pytest.mark.parametrize("middle", [0.0, 1e-12, 1e18, -1e18, 3e37])
def test_scores_are_finite_at_any_magnitude(middle: float) -> None:
    random = np.random.default_rng(4)
    values = middle * (1 + 0.1 * random.normal(0, 1, 500)) + 1e-30 * random.normal(0, 1, 500)
    values[400:] *= 3
    scores = Minutes([VALUE.series("a")]).scores(values)
    assert np.isfinite(scores[0, 0, QUIET:]).all()
    assert not np.isinf(scores).any()


def test_a_daily_peak_is_expected_and_one_at_another_hour_is_not() -> None:
    days, step = 12, 288
    place = np.arange(days * step) % step
    # From the full hour on for three of them.
    values = 20 + np.where((place >= 201) & (place < 237), 40.0, 0.0)
    values += np.random.default_rng(8).normal(0, 1, len(values))
    odd = 11 * step + 99
    values[odd : odd + 30] += 40
    machine = Minutes([VALUE.series("a")])
    found = []
    for tick, value in enumerate(values.astype(np.float32)):
        machine.values = np.concatenate((machine.values[:, -99:], [[value]]), axis=1)
        view = window(
            machine.values, machine.series, step_s=300.0, end_ns=(1_700_000_100 + 300 * tick) * S
        )
        found.append(machine.detector.score(view, machine.state))
        machine.detector.learn(view, machine.state)
    rung = np.flatnonzero(np.stack(found)[:, 1, 0] >= np.float32(ensemble.BEATEN))
    peaks = rung[(place[rung] >= 201) & (place[rung] < 240)]
    assert not (peaks >= 3 * step).any()
    assert ((rung >= odd) & (rung < odd + 30)).any()


def test_the_band_is_around_what_is_usual() -> None:
    machine = Minutes([VALUE.series("a"), VALUE.series("b")])
    machine.scores(np.stack((noise(600), np.abs(noise(600, 5) - 50))))
    around = machine.detector.explain(machine.view(), machine.state, 0)
    assert 30 < around.low < 46 < 54 < around.high
    assert machine.detector.explain(machine.view(), machine.state, 1).low >= 0


def test_a_course_unlike_any_before_is_told_in_words() -> None:
    machine = Minutes([VALUE.series("a")])
    machine.scores(noise(1_000))
    assert machine.detector.explain(machine.view(), machine.state, 0).text == ""
    machine.values = np.append(machine.values, [[np.float32(110)]], axis=1)
    text = machine.detector.explain(machine.view(), machine.state, 0).text
    assert text.startswith("its course is unlike any before, most of all its ")


def test_what_was_saved_before_there_were_windows_learns_them_anew() -> None:
    old, whole = Minutes([VALUE.series("a")]), Minutes([VALUE.series("a")])
    for machine in (old, whole):
        machine.scores(noise(1_000))
    for name, declared in _windows.STATE.items():
        old.state[name][:] = declared.initial
    later = noise(400, 8)
    scores = old.scores(later)[0, 0]
    young = int(_windows.LEARN + _windows.WARM)
    assert (scores[:young] < whole.scores(later)[0, 0][:young]).all()
    cared = np.ones((2, 1), dtype=np.float32)
    assert _windows.rarity(old.view(), old.state, cared)[0] > 0


def test_of_an_unknown_series_there_is_no_band() -> None:
    machine = Minutes([VALUE.series("a")])
    machine.values = np.zeros((1, 1), dtype=np.float32)
    band = machine.detector.explain(machine.view(), machine.state, 0)
    assert np.isnan(band.low)
    assert np.isnan(band.high)


def test_learning_without_asking_first_is_the_same() -> None:
    values = noise(400)
    asked, told = Minutes([VALUE.series("a")]), Minutes([VALUE.series("a")])
    asked.scores(values)
    for value in values:
        told.values = np.concatenate((told.values, [[value]]), axis=1)
        told.detector.learn(told.view(), told.state)
    for name, array in asked.state.items():
        np.testing.assert_array_equal(array, told.state[name], err_msg=name)


def readings(values: Floats, step_s: int) -> Readings:
    """Return one column, from a full hour on."""
    rows = len(values)
    seconds = 1_699_999_200 + np.arange(rows, dtype=np.int64) * step_s
    return Readings(
        columns=("a",),
        stamps=tuple(str(one) for one in seconds.tolist()),
        time=seconds * S,
        values=values[:, None].astype(np.float64),
        labels=None,
        taken=np.ones(rows, dtype=bool),
        step_ns=step_s * S,
    )


def test_a_host_read_each_second_is_judged_as_a_file_of_its_minutes() -> None:
    random = np.random.default_rng(12)
    minutes = random.normal(50, 2, 240)
    minutes[200:210] += 20
    each_second = np.repeat(minutes, 60)
    # Whatever happens within a minute, its mean is that of the file.
    wobble = random.normal(0, 3, (240, 60))
    each_second += (wobble - wobble.mean(axis=1, keepdims=True)).ravel()
    fine = replay(readings(each_second, 1), [Ensemble(EnsembleConfig())], own_score="onset")
    coarse = replay(readings(minutes, 60), [Ensemble(EnsembleConfig())], own_score="onset")
    # A minute is told with its last second, and holds until the next one.
    np.testing.assert_allclose(fine.score[59::60, 0], coarse.score[:, 0], atol=0.02)
    assert np.isfinite(coarse.score[QUIET:]).all()


def test_the_heads_have_a_threshold_of_their_own() -> None:
    assert ensemble.register_detectors() == [Ensemble]
    assert [head.name for head in Ensemble.heads] == ["onset", "novelty", "together"]
    assert all(head.threshold for head in Ensemble.heads)
