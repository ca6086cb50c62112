"""The Decider: calibrated tails, confirmation, hysteresis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.api import Detector, Evidence, Series, Window, gauge
from vedette.decide import Decider, FindingChange, Policy

S = 1_000_000_000
LEVEL = gauge("test.level", "1", "A level.", ("which",), limit=1.0)
State = Mapping[str, NDArray[np.float32]]


class Given(Detector):
    """Its scores are handed in."""

    name = "given"

    def score(self, window: Window, state: State) -> NDArray[np.float32]:
        raise AssertionError("the scores are handed in")

    def explain(self, window: Window, state: State, row: int) -> Evidence:
        return Evidence(0.1, 0.2)


class Rule(Given):
    name = "rule"
    scale = "level"


class Drive:
    """Feeds scores of one or more series to a Decider, a second each."""

    def __init__(self, detector: Detector | None = None, rows: int = 1) -> None:
        self.decider = Decider(Policy())
        self.detector = detector or Given(None)
        self.series: list[Series | None] = [LEVEL.series(str(row)) for row in range(rows)]
        self.tick = 0

    def step(self, *scores: float, value: float = 0.5) -> list[FindingChange]:
        self.tick += 1
        rows = len(self.series)
        window = Window(
            np.array([self.tick * S]),
            np.full((rows, 1), value, dtype=np.float32),
            self.series,
            1,
        )
        return self.decider.step(self.detector, np.array(scores, dtype=np.float32), window, {})


def test_p_values_hold_on_quiet_data() -> None:
    """For normal, exponential and heavy tails no more scores than stated are below a p."""
    random = np.random.default_rng(3)
    rows, ticks = 60, 6000
    kinds = [
        np.abs(random.normal(0, 1.25, (ticks, 20))),
        random.exponential(2.0, (ticks, 20)),
        np.abs(random.standard_t(4, (ticks, 20))) * 3,
    ]
    scores = np.concatenate(kinds, axis=1).astype(np.float32)
    drive = Drive(rows=rows)
    found = np.zeros((ticks, rows))
    for tick in range(ticks):
        judgement = drive.decider._judgement("given", rows)
        found[tick] = drive.decider._probability(judgement, scores[tick])
        drive.step(*scores[tick])
    settled = found[2000:]
    for kind in range(3):
        of_kind = settled[:, kind * 20 : kind * 20 + 20]
        assert 0.01 / 3 < (of_kind <= 0.01).mean() < 0.01 * 3
        # The tail is heavier than that of thin-tailed series: for those p errs to the safe side.
        assert (of_kind <= 0.001).mean() < 0.001 * 3
        assert (of_kind <= 0.0002).mean() < 0.0002 * 3


def test_a_finding_opens_after_its_confirmation_and_says_since_when() -> None:
    drive = Drive()
    for _ in range(200):
        assert drive.step(1.0) == []
    changes = [drive.step(60.0) for _ in range(8)]
    opened = [change for step in changes for change in step if change.change == "opened"]
    assert len(opened) == 1
    finding = opened[0].finding
    assert finding.since_ns == 201 * S
    assert finding.last_ns == 205 * S
    assert (finding.low, finding.high) == (0.1, 0.2)
    assert finding.p < 1e-4
    assert finding.severity == "info"


def test_one_reading_in_between_does_not_break_a_run_and_two_do() -> None:
    drive = Drive()
    for _ in range(200):
        drive.step(1.0)
    for score in (60, 60, 1, 60, 60):
        changes = drive.step(score)
    assert [change.change for change in changes] == ["opened"]
    drive = Drive()
    for _ in range(200):
        drive.step(1.0)
    for score in (60, 60, 1, 1, 60, 60, 1, 1):
        assert drive.step(score) == []


def test_a_finding_closes_only_when_calm_for_a_while() -> None:
    drive = Drive()
    for _ in range(200):
        drive.step(1.0)
    for _ in range(20):
        drive.step(60.0)
    changes = []
    for score in [1.0] * 8 + [60.0] + [1.0] * 11:
        changes += drive.step(score)
    assert [change.change for change in changes] == ["continued", "closed"]
    assert changes[-1].finding.last_ns == 230 * S


def test_a_finding_near_the_limit_becomes_a_warning_when_it_lasts() -> None:
    drive = Drive()
    for _ in range(200):
        drive.step(1.0)
    severities = []
    for _ in range(40):
        severities += [one.finding.severity for one in drive.step(60.0, value=0.95)]
    assert severities[0] == "info"
    assert severities[-1] == "warning"
    assert severities.index("warning") == 16


def test_what_recurs_every_minute_becomes_ordinary() -> None:
    drive = Drive()
    for _ in range(60):
        for _ in range(58):
            drive.step(1.0)
        for _ in range(2):
            drive.step(9.0)
    changes = [change for _ in range(10) for change in drive.step(9.0)]
    assert changes == []


def test_no_score_is_no_opinion() -> None:
    drive = Drive(rows=2)
    for _ in range(300):
        assert drive.step(float("nan"), 1.0) == []
    assert drive.decider._judgements["given"].seen.tolist() == [0, 300]


def test_a_rule_is_its_own_confirmation() -> None:
    drive = Drive(Rule(None))
    assert drive.step(0.95) == []
    changes = drive.step(1.0)
    assert [(one.change, one.finding.severity) for one in changes] == [("opened", "warning")]
    changes = drive.step(2.0)
    assert [(one.change, one.finding.severity) for one in changes] == [("continued", "critical")]
    for _ in range(30):
        assert all(one.change == "continued" for one in drive.step(0.95))
    changes = [change for _ in range(12) for change in drive.step(0.0)]
    assert [change.change for change in changes] == ["closed"]


def test_a_row_that_went_away_closes_its_finding() -> None:
    drive = Drive()
    for _ in range(200):
        drive.step(1.0)
    for _ in range(10):
        drive.step(60.0)
    changes = drive.decider.forget(np.array([0]), 999 * S)
    assert [(one.change, one.finding.last_ns) for one in changes] == [("closed", 999 * S)]
    assert drive.decider.open == 0


def test_a_detector_that_was_switched_off_closes_its_findings() -> None:
    drive = Drive()
    for _ in range(200):
        drive.step(1.0)
    for _ in range(10):
        drive.step(60.0)
    assert [one.change for one in drive.decider.drop([], 999 * S)] == ["closed"]


@pytest.mark.parametrize("rows", [1, 7])
def test_growing_keeps_what_was_learned(rows: int) -> None:
    drive = Drive(rows=rows)
    for _ in range(500):
        drive.step(*[3.0] * rows)
    learned = drive.decider._judgements["given"].quantile.copy()
    drive.series += [LEVEL.series("new")]
    drive.step(*[3.0] * rows, float("nan"))
    assert drive.decider._judgements["given"].quantile[:rows] == pytest.approx(learned, rel=0.05)
