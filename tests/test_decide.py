"""The Decider: calibrated tails, confirmation, hysteresis, what is held back."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.alarm_budget import DAY_NS, HIGHEST, AlarmBudget
from vedette.api import Detector, Evidence, Head, Series, Window, gauge
from vedette.decide import BUDGET_EVERY, Decider, FindingChange
from vedette.judgement import LEAST_OPEN_P, LONGER, MANY, OPEN_P
from vedette.tails import PRIOR_LENGTH

sys.path.insert(0, str(Path(__file__).parent))
from quiet_scores import quiet

S = 1_000_000_000
LEVEL = gauge("test.level", "1", "A level.", ("which",), limit=1.0)
NAN = float("nan")
State = Mapping[str, NDArray[np.float32]]


class Given(Detector):
    """Its scores are handed in; decided by their p."""

    name = "given"
    confirm_s = 4.0
    release_s = 10.0

    def score(self, window: Window, state: State) -> NDArray[np.float32]:
        raise AssertionError("the scores are handed in")

    def explain(self, window: Window, state: State, row: int) -> Evidence:
        return Evidence(0.1, 0.2)


class Fixed(Given):
    """Decided by a threshold of its own."""

    name = "fixed"
    threshold = 10.0
    confirm = 2
    confirm_s = 0.0
    release = 4
    release_s = 0.0


class Rule(Given):
    name = "rule"
    scale = "level"
    confirm = 1
    confirm_s = 0.0
    release = 1


class Twice(Given):
    name = "twice"
    heads: ClassVar[tuple[Head, ...]] = (
        Head("twice.quick", threshold=5.0, confirm=1),
        Head("twice.slow", threshold=5.0, confirm=4),
    )


class Seldom(Given):
    """Its own threshold, and a series that has it more often than three times a week is quiet."""

    name = "seldom"
    heads: ClassVar[tuple[Head, ...]] = (
        Head("seldom", threshold=10.0, confirm=1, release=1, weekly=3.0),
    )


class Oftener(Given):
    """Wants more confirmation where many series score."""

    name = "oftener"
    heads: ClassVar[tuple[Head, ...]] = (Head("oftener", threshold=10.0, confirm=2, oftener=6),)


class Drive:
    """Feeds scores of one or more series to a Decider, a second each."""

    def __init__(self, detector: Detector | None = None, rows: int = 1) -> None:
        self.decider = Decider()
        self.detector = detector or Given(None)
        self.name = self.detector.all_heads()[0].name
        self.series: list[Series | None] = [LEVEL.series(str(row)) for row in range(rows)]
        self.tick = 0

    def step(self, *scores: float, value: float = 0.5) -> list[FindingChange]:
        return self.take(np.array(scores, dtype=np.float32), value)

    def take(self, scores: NDArray[np.float32], value: float = 0.5) -> list[FindingChange]:
        self.tick += 1
        values = np.full((len(self.series), 1), value, dtype=np.float32)
        window = Window(np.array([self.tick * S]), values, self.series, 1)
        return self.decider.step(self.detector, scores, window, {})

    def calm(self, ticks: int = 200) -> Drive:
        for _ in range(ticks):
            assert self.step(*[1.0] * len(self.series)) == []
        return self


def said(changes: list[FindingChange]) -> list[str]:
    return [one.change for one in changes]


def test_a_finding_opens_after_its_confirmation_and_says_since_when() -> None:
    drive = Drive().calm()
    changes = [drive.step(60.0) for _ in range(8)]
    opened = [change for step in changes for change in step if change.change == "opened"]
    assert len(opened) == 1
    finding = opened[0].finding
    assert finding.since_ns == 201 * S
    assert finding.last_ns == 205 * S
    assert (finding.low, finding.high) == (0.1, 0.2)
    assert finding.p < OPEN_P
    assert finding.severity == "info"


def test_what_is_told_is_the_reading_that_was_outside_though_it_is_back_within() -> None:
    drive = Drive(Fixed(None)).calm()
    series: list[Series | None] = [LEVEL.series("a")]

    def opened(*values: float) -> FindingChange:
        for score in (60.0, 60.0):
            drive.tick += 1
            time = np.arange(drive.tick - len(values) + 1, drive.tick + 1) * S
            window = Window(time, np.array([values], dtype=np.float32), series, 1)
            changes = drive.decider.step(
                drive.detector, np.array([score], dtype=np.float32), window, {}
            )
        drive.decider = Decider()
        return changes[0]

    spike = opened(0.15, 0.9, 0.3, 0.15, 0.16).finding
    assert spike.observed == pytest.approx(0.9)
    assert spike.since_ns == (drive.tick - 3) * S
    dip = opened(NAN, 0.15, 0.01, 0.15).finding
    assert (dip.observed, dip.since_ns) == (pytest.approx(0.01), (drive.tick - 1) * S)
    assert opened(0.9, 0.3).finding.observed == pytest.approx(0.3)
    within = opened(0.12, 0.15, NAN, 0.16).finding
    assert (within.observed, within.since_ns) == (pytest.approx(0.16), (drive.tick - 1) * S)


def test_one_reading_in_between_does_not_break_a_run_and_two_do() -> None:
    drive = Drive().calm()
    for score in (60, 60, 1, 60, 60):
        changes = drive.step(score)
    assert said(changes) == ["opened"]
    drive = Drive().calm()
    for score in (60, 60, 1, 1, 60, 60, 1, 1):
        assert drive.step(score) == []


def test_a_tick_without_a_reading_neither_breaks_a_run_nor_makes_one() -> None:
    drive = Drive().calm()
    for score in (60, NAN, NAN, NAN, 60, NAN):
        assert drive.step(score) == []
    assert said(drive.step(60)) == ["opened"]


def test_a_finding_closes_only_when_calm_for_a_while() -> None:
    drive = Drive().calm()
    for _ in range(20):
        drive.step(60.0)
    changes = []
    for score in [1.0] * 8 + [60.0] + [1.0] * 11:
        changes += drive.step(score)
    assert said(changes) == ["continued", "closed"]
    assert changes[-1].finding.last_ns == 230 * S


def test_a_finding_without_readings_stays_open() -> None:
    drive = Drive().calm()
    for _ in range(10):
        drive.step(60.0)
    for _ in range(100):
        assert drive.step(NAN) == []
    assert drive.decider.open == 1
    assert drive.decider.open_rows("given").tolist() == [True]
    assert [one.since_ns for one in drive.decider.findings("given")] == [201 * S]


def test_a_head_with_a_threshold_is_decided_by_it() -> None:
    drive = Drive(Fixed(None)).calm()
    assert drive.step(9.99) == []
    assert drive.step(10.0) == []
    changes = drive.step(12.0)
    assert said(changes) == ["opened"]
    assert drive.decider.ratio("fixed").tolist() == pytest.approx([1.2])
    # Above 0.54 of the threshold it is not calm.
    for score in (5.5, 5.3, 5.3, 5.5, 5.3, 5.3, 5.3):
        assert drive.step(score) == []
    changes = drive.step(5.3)
    assert said(changes) == ["closed"]
    assert changes[0].finding.last_ns == (drive.tick - 3) * S


def test_each_head_of_a_detector_is_judged_apart() -> None:
    drive = Drive(Twice(None), rows=2)
    scores = np.array([[6, 0], [0, 7]], dtype=np.float32)
    changes = [[(one.row, one.finding.detector) for one in drive.take(scores)] for _ in range(4)]
    assert changes[0] == [(0, "twice.quick")]
    assert changes[3] == [(0, "twice.quick"), (1, "twice.slow")]
    assert drive.decider.ratio("twice.slow").tolist() == pytest.approx([0, 1.4])


def test_only_a_rule_grades_a_finding() -> None:
    drive = Drive().calm()
    severities = [one.finding.severity for _ in range(40) for one in drive.step(60.0, value=0.99)]
    assert set(severities) == {"info"}


def test_what_recurs_every_minute_becomes_ordinary() -> None:
    drive = Drive()
    for _ in range(60):
        for _ in range(58):
            drive.step(1.0)
        for _ in range(2):
            drive.step(9.0)
    changes = [change for _ in range(10) for change in drive.step(9.0)]
    assert changes == []


def test_a_fault_that_comes_again_is_found_again() -> None:
    drive = Drive(rows=4)
    found = []
    for tick, scores in enumerate(quiet("student", 4, 8_000)):
        if tick >= 2_000 and tick % 2_000 < 60:
            scores[1] = 200.0
        changes = [one for one in drive.take(scores) if one.row == 1 and one.change == "opened"]
        found += [tick // 2_000 for _ in changes]
    assert found == [1, 2, 3]


@pytest.mark.parametrize("kind", ["autocorrelated", "bursts", "heteroscedastic"])
def test_p_holds_though_quiet_data_rings_now_and_then(kind: str) -> None:
    drive = Drive(rows=100)
    below = np.zeros(3)
    for scores in quiet(kind, 100, 6_000):
        drive.take(scores)
        p = drive.decider.p("given")
        below += [np.count_nonzero(p < level) for level in (1e-2, 1e-3, 1e-4)]
    shares = below / (100 * 6_000) / (1e-2, 1e-3, 1e-4)
    assert shares.min() > 0.5
    assert shares.max() < 2


def test_where_strange_scores_last_a_reading_has_to_be_the_stranger() -> None:
    drive = Drive(rows=2).calm()
    judgement = drive.decider._judgements[drive.name]
    drive.step(6.0, 6.0)
    before = judgement.ratio()
    judgement.tails.length[1] = 2 * PRIOR_LENGTH
    after = judgement.ratio()
    assert after[0] == before[0]
    # On a scale of logarithms.
    expected = math.log10(OPEN_P) / max(math.log10(OPEN_P / 2**LONGER), math.log10(LEAST_OPEN_P))
    assert after[1] / before[1] == pytest.approx(expected, rel=1e-4)
    judgement.tails.length[1] = 100
    assert judgement.ratio()[1] / before[1] == pytest.approx(
        math.log10(OPEN_P) / math.log10(LEAST_OPEN_P), rel=1e-4
    )


@pytest.mark.parametrize(("lively", "resting"), [(MANY, 500), (200, 20)])
def test_where_more_series_are_lively_each_has_to_be_the_stranger(
    lively: int, resting: int
) -> None:
    drive = Drive(rows=lively + resting)
    scores = np.zeros(lively + resting, dtype=np.float32)
    scores[:lively] = 1.0
    # So long that the quantile of those that score nothing comes down to nothing.
    for _ in range(2_500):
        drive.take(scores)
    drive.take(np.full(lively + resting, 30.0, dtype=np.float32))
    log_p = np.log10(drive.decider.p(drive.name))
    expected = log_p / (math.log10(OPEN_P) - math.log10(lively / MANY))
    # Where there was nothing before, there were no long runs either.
    assert drive.decider.ratio(drive.name)[lively:] == pytest.approx(expected[lively:], rel=1e-4)


@pytest.mark.parametrize(("lively", "readings"), [(1, 2), (MANY, 2), (10 * MANY, 8)])
def test_where_far_more_series_are_lively_more_readings_have_to_be_strange(
    lively: int, readings: int
) -> None:
    drive = Drive(Oftener(None), rows=lively)
    for tick in range(200):
        drive.step(*[6.0 if tick % 50 == 0 else 1.0] * lively)
    strange = [1.0] * lively
    strange[0] = 30.0
    opened = [bool(drive.step(*strange)) for _ in range(10)]
    assert opened.index(True) + 1 == readings


def test_minutes_that_were_not_found_do_not_make_deaf_to_the_next() -> None:
    drive = Drive(rows=40)
    found = 0
    for tick, scores in enumerate(quiet("normal", 40, 4_000)):
        # A minute every three, each in another series.
        if tick > 1_000 and tick % 180 < 60:
            noise = np.random.default_rng(tick).normal(1, 0.3)
            scores[tick // 180 % 40] = 8.0 * abs(noise)
        found += said(drive.take(scores)).count("opened")
    assert 13 <= found <= 17


def test_no_score_is_no_opinion() -> None:
    drive = Drive(rows=2)
    for _ in range(300):
        assert drive.step(NAN, 1.0) == []
    for values in (drive.decider.p("given"), drive.decider.ratio("given")):
        assert np.isnan(values).tolist() == [True, False]


def test_a_rule_is_its_own_confirmation() -> None:
    drive = Drive(Rule(None))
    assert drive.step(0.95) == []
    changes = drive.step(1.0)
    assert [(one.change, one.finding.severity) for one in changes] == [("opened", "warning")]
    assert changes[0].finding.p == 0
    changes = drive.step(2.0)
    assert [(one.change, one.finding.severity) for one in changes] == [("continued", "critical")]
    for _ in range(30):
        assert all(one.change == "continued" for one in drive.step(0.95))
    changes = [change for _ in range(12) for change in drive.step(0.0)]
    assert said(changes) == ["closed"]
    assert drive.decider.arrays("rule") == {}
    assert drive.decider.p("rule").tolist() == [1.0]
    drive.step(NAN)
    assert np.isnan(drive.decider.p("rule")).all()


def test_a_row_that_went_away_closes_its_finding_and_starts_anew() -> None:
    drive = Drive().calm()
    for _ in range(10):
        drive.step(60.0)
    changes = drive.decider.forget(np.array([0]), 999 * S)
    assert [(one.change, one.finding.last_ns) for one in changes] == [("closed", 999 * S)]
    assert drive.decider.open == 0
    # Nothing is left of the run either: it has to be confirmed anew.
    drive.calm()
    assert [drive.step(60.0) for _ in range(4)] == [[]] * 4
    assert said(drive.step(60.0)) == ["opened"]


def test_a_detector_that_was_switched_off_closes_its_findings() -> None:
    drive = Drive().calm()
    for _ in range(10):
        drive.step(60.0)
    assert drive.decider.drop(["given"], 999 * S) == []
    assert said(drive.decider.drop([], 999 * S)) == ["closed"]


def test_heads_are_exchanged_with_another_decider_and_what_both_found_goes_on() -> None:
    one, other = Drive(Fixed(None), rows=3), Drive(Fixed(None), rows=3)
    for _ in range(3):
        one.step(20, 20, 0)
        other.step(0, 20, 20)
    changes = one.decider.exchange(["fixed"], other.decider, 999 * S)
    assert [(change.change, change.row) for change in changes] == [("closed", 0), ("opened", 2)]
    assert one.decider.open_rows("fixed").tolist() == [False, True, True]
    assert other.decider.open_rows("fixed").tolist() == [True, True, False]


@pytest.mark.parametrize("rows", [1, 7])
def test_growing_keeps_what_was_learned(rows: int) -> None:
    drive = Drive(rows=rows)
    for _ in range(500):
        drive.step(*[3.0] * rows)
    learned = drive.decider.arrays("given")["quantile"].copy()
    drive.series += [LEVEL.series("new")]
    drive.step(*[3.0] * rows, NAN)
    assert drive.decider.arrays("given")["quantile"][:rows] == pytest.approx(learned, rel=0.05)


def test_a_run_that_began_before_the_clock_was_set_back_begins_with_it() -> None:
    drive = Drive().calm()
    drive.step(60.0)
    drive.tick = 100
    changes = [drive.step(60.0) for _ in range(5)]
    assert [said(one) for one in changes] == [[]] * 4 + [["opened"]]
    assert changes[-1][0].finding.since_ns == 101 * S
    drive.step(1.0)
    drive.tick = 20
    closed = [said(drive.step(1.0)) for _ in range(12)]
    assert ["closed"] in closed


def test_a_muted_series_opens_nothing_and_a_lenient_one_less() -> None:
    for detector in (Fixed(None), Rule(None)):
        drive = Drive(detector, rows=3)
        raised = np.array([math.inf, 2.0], dtype=np.float32)
        drive.decider.lenience = lambda head, raised=raised: raised
        opened = [one.row for _ in range(5) for one in drive.step(15, 15, 15) if said([one])]
        expected = {2} if isinstance(detector, Fixed) else {1, 2}
        assert set(opened) == expected
        opened = [one.row for _ in range(5) for one in drive.step(25, 25, 25) if said([one])]
        assert set(opened) == {1, 2}


def test_a_series_that_alone_rings_is_held_back_and_no_other() -> None:
    drive = Drive(Fixed(None), rows=2)
    opened = []
    for hour in range(20):
        drive.tick = 3_600 * (hour + 1)
        for scores in ((11, 0), (11, 0), (0, 0), (0, 0), (0, 0), (0, 0)):
            opened += [hour for one in drive.step(*scores) if one.change == "opened"]
    assert opened == [0, 1, 2]
    # What its own bar holds back is no reason to raise that of all.
    assert len(drive.decider.budget.clusters) == 3
    assert said(drive.step(0, 12) + drive.step(0, 12)) == ["opened"]
    # And far enough beyond it is found nevertheless.
    assert said(drive.step(31, 0) + drive.step(31, 0)) == ["opened"]


def test_a_host_that_rings_too_often_gets_a_bar_and_a_fire_is_found_nevertheless() -> None:
    drive = Drive(Fixed(None), rows=40)
    drive.decider.budget = AlarmBudget(1.0)
    zeros = np.zeros(40, dtype=np.float32)
    opened = []
    for half_hour in range(48 * 3):
        drive.tick = 1_800 * (half_hour + 1)
        scores = zeros.copy()
        scores[half_hour % 40] = 14
        for given in (scores, scores, *[zeros] * BUDGET_EVERY):
            opened += [half_hour for one in drive.take(given) if one.change == "opened"]
    assert len(opened) < 48 * 3 * 0.6
    assert len(opened) > 40
    bar = drive.decider.budget.bar
    assert 1.4 < bar <= HIGHEST
    scores = zeros.copy()
    scores[7] = 10 * HIGHEST + 0.1
    assert said(drive.take(scores) + drive.take(scores)) == ["opened"]


def test_an_open_finding_belongs_to_its_cluster_as_long_as_it_is_strange() -> None:
    drive = Drive(Fixed(None), rows=2)
    for _ in range(1_000):
        drive.step(12, 0)
    drive.step(30, 0)
    for _ in range(5):
        drive.step(12, 12)
    (cluster,) = drive.decider.budget.clusters
    assert cluster.rang
    assert cluster.peak == 3
    assert cluster.last_ns == drive.tick * S


@pytest.mark.parametrize(("step_s", "weeks", "rings"), [(300, 3, 14), (3_600, 36, 37)])
def test_what_a_series_often_shows_is_no_finding_however_high(
    step_s: int, weeks: int, rings: int
) -> None:
    decider, detector = Decider(AlarmBudget(0.0)), Seldom(None)
    random = np.random.default_rng(1)
    series: list[Series | None] = [LEVEL.series("often"), LEVEL.series("never")]
    values = np.full((2, 2), 0.5, dtype=np.float32)
    opened = np.zeros(2, dtype=int)

    def take(tick: int, often: float, never: float) -> None:
        window = Window(np.array([tick, tick + step_s]) * S, values, series, 1)
        scores = np.array([often, never], dtype=np.float32)
        for change in decider.step(detector, scores, window, {}):
            opened[change.row] += change.change == "opened"

    # Of readings each five minutes fifteen a week are above the threshold, each hour one.
    readings = weeks * 7 * 86_400 // step_s
    for tick in range(0, readings * step_s, step_s):
        often, never = random.exponential(1, 2)
        take(tick, 12.0 + often if random.random() < 0.007 else often, never)
    assert opened.tolist() == [rings, 0]
    opened[:] = 0
    take(readings * step_s, 1.0, 30.0)
    assert opened.tolist() == [0, 1]


def test_what_is_known_of_the_host_survives_a_restart() -> None:
    drive = Drive(rows=30)
    for scores in quiet("student", 30, 3_000):
        drive.take(scores)
    drive.decider.budget.note(drive.tick * S, 1.5, rang=True)
    exported = json.loads(json.dumps(drive.decider.export()))
    after = Drive(rows=30)
    heads = after.detector.all_heads()
    after.decider.take_up(exported, heads)
    for row in range(30):
        values = {name: array[row] for name, array in drive.decider.arrays("given").items()}
        after.decider.restore(heads[0], row, values, 30)
    assert after.decider.export() == drive.decider.export()
    scores = np.full(30, 9.0, dtype=np.float32)
    drive.take(scores)
    after.take(scores)
    assert after.decider.p("given") == pytest.approx(drive.decider.p("given"), rel=0.05)


@pytest.mark.parametrize(
    "known",
    [{}, {"tails": {}, "budget": {}}, {"tails": {"given": [1, 2]}, "budget": 3}, {"tails": 1}],
)
def test_what_is_something_else_is_not_taken_up(known: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Decider().take_up(known, Given(None).all_heads())


def test_the_budget_is_looked_at_now_and_then() -> None:
    drive = Drive(Fixed(None))
    drive.tick = DAY_NS // S
    for hour in range(20):
        drive.decider.budget.note(hour * 3_600 * S, 1.5, rang=True)
    drive.calm(BUDGET_EVERY)
    assert drive.decider.budget.bar == 1
    drive.tick = 2 * DAY_NS // S + BUDGET_EVERY
    drive.calm(BUDGET_EVERY)
    assert drive.decider.budget.bar > 1
