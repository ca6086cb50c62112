"""What decides about models: promotion, rollback, thrift, drift."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from model_cases import HOUR, MINUTE, START, all_series
from vedette.api import gauge
from vedette.models import schedule
from vedette.models.drift import MEMORY_MIN, REFERENCE_MIN, Drift
from vedette.models.rules import (
    Agreement,
    Rang,
    Word,
    agreement,
    decide,
    explodes,
    miscalibrated,
)
from vedette.models.shadow import thinned
from vedette.models.tally import Figures, Tally

SOUND = Figures(0, 6 * HOUR, 360, 100_000, 1_000, 100, 2, 1, 0, 0.9)
NOTHING = Agreement()


def figures(**changes: Any) -> Figures:
    return msgspec.structs.replace(SOUND, **changes)


def against(shadow: Figures, champion: Figures = SOUND, said: Agreement = NOTHING) -> list[str]:
    return list(decide(champion, shadow, said, series=300, calibrated=True).reasons)


def test_one_that_is_as_good_passes_with_its_figures_told() -> None:
    decision = decide(SOUND, SOUND, NOTHING, series=300, calibrated=True)
    assert decision.passed
    assert decision.figures["p_below_0.01"] == 0.01
    assert decision.figures["champion_findings"] == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"below2": 2_001}, "p is below 0.01"),
        ({"below2": 499}, "p is below 0.01"),
        ({"below3": 201}, "p is below 0.001"),
        ({"findings": 4}, "4 findings"),
        ({"storm": 21}, "21 findings within a minute"),
        ({"infinite": 1}, "infinite"),
        ({"coverage": 0.85}, "opinion on 85%"),
    ],
)
def test_each_rule_speaks_for_itself(changes: dict[str, Any], reason: str) -> None:
    reasons = against(figures(**changes))
    assert len(reasons) == 1
    assert reason in reasons[0]


@pytest.mark.parametrize(
    "changes",
    [{"below2": 1_999}, {"below2": 501}, {"below3": 199}, {"findings": 3}, {"storm": 20}],
)
def test_the_bounds_themselves_pass(changes: dict[str, Any]) -> None:
    assert against(figures(**changes)) == []


def test_badly_calibrated_is_good_enough_where_the_champion_is_worse() -> None:
    assert against(figures(below3=900), figures(below3=1_000)) == []
    assert against(figures(below3=1_000), figures(below3=900))


def test_a_rule_of_the_operator_s_own_has_no_calibration() -> None:
    wild = figures(below2=50_000, below3=50_000)
    assert decide(SOUND, wild, NOTHING, series=300, calibrated=False).passed


def test_a_level_of_which_too_little_was_seen_is_not_judged() -> None:
    assert against(figures(scored=5_000, below2=50, below3=40)) == []


def test_an_acknowledged_incident_that_it_missed_is_told() -> None:
    assert "missed 1 of 3" in against(SOUND, said=Agreement(2, 2, 3, 2))[0]
    assert against(SOUND, said=Agreement(2, 2, 3, 3)) == []


def test_words_are_compared_by_series_time_and_detector() -> None:
    words = [
        Word("false alarm", ("a", "b"), ("plain",), 10 * HOUR, 11 * HOUR),
        Word("acknowledged", ("c",), ("plain",), 20 * HOUR, 21 * HOUR),
        Word("acknowledged", ("d",), ("plain",), 30 * HOUR, 31 * HOUR),
        Word("acknowledged", ("a",), ("other",), 10 * HOUR, 11 * HOUR),
    ]
    rang = [
        Rang("plain", "b", 11 * HOUR + MINUTE, 11 * HOUR + 2 * MINUTE),  # just after: of it
        Rang("plain", "c", 25 * HOUR, 26 * HOUR),  # at another time
        Rang("plain", "d", 29 * HOUR, 30 * HOUR),
    ]
    assert agreement(words, rang, ["plain"]) == Agreement(1, 1, 2, 1)


@pytest.mark.parametrize(
    ("before", "findings", "hours", "is_bad"),
    [
        (0.0, 3, 0.1, False),
        (0.0, 4, 0.1, True),
        (1.0, 6, 1.0, False),
        (1.0, 7, 1.0, True),
        (1.0, 33, 10.0, False),
        (1.0, 34, 10.0, True),
    ],
)
def test_an_explosion_is_three_times_the_usual_and_three_more(
    before: float, findings: int, hours: float, is_bad: bool
) -> None:
    assert bool(explodes(before, findings, 0, int(hours * HOUR))) is is_bad


def test_calibration_breaks_at_five_times_the_level() -> None:
    assert miscalibrated(figures(below3=501))
    assert not miscalibrated(figures(below3=500))
    assert not miscalibrated(figures(scored=5_000, below3=500))


def test_a_tally_counts_what_is_not_part_of_a_finding() -> None:
    tally = Tally(0)
    p = np.array([0.5, 0.005, 0.0005, 0.00001, np.nan], dtype=np.float32)
    scores = np.array([1, 2, 3, 4, np.nan], dtype=np.float32)
    open_ = np.array([0, 0, 0, 1, 0], dtype=bool)
    newest = np.array([1, 1, 1, 1, 1], dtype=np.float32)
    tally.scores(MINUTE, scores, newest, [(p, open_)])
    told = tally.figures()
    assert (told.scored, told.below2, told.below3) == (3, 2, 1)
    assert told.coverage == 0.8
    for tick, count in ((0, 3), (59, 2), (60, 1)):
        tally.opened(tick * 1_000_000_000, count)
    assert (tally.findings, tally.storm) == (6, 5)


def test_thrift_goes_down_by_halves_and_comes_back_when_there_is_room() -> None:
    every, seen = 1, []
    for _ in range(5):
        every = thinned(every, 0.01, 0.95)
        seen.append(every)
    for used in (0.8, 0.7, 0.7, 0.7, 0.7, 0.7):
        every = thinned(every, 0.01, used)
        seen.append(every)
    assert seen == [2, 4, 8, 0, 0, 0, 8, 4, 2, 1, 1]


def test_a_shadow_that_costs_much_is_asked_less_often_and_stays_so() -> None:
    every = 1
    for _ in range(20):  # at every tick it would take a quarter of the budget
        every = thinned(every, 0.25 / every if every else 0.0, 0.5)
    assert every == 4


def test_without_a_budget_nothing_is_spared() -> None:
    assert thinned(4, 5.0, None) == 1


# ---------------------------------------------------------------- when


def test_hosts_train_at_night_and_not_all_at_once() -> None:
    crons = {schedule.nightly(f"host-{place}") for place in range(200)}
    assert len(crons) > 100
    for cron in crons:
        minute, hour = (int(part) for part in cron.split()[:2])
        assert 1 <= hour <= 4
        assert 0 <= minute <= 59
    assert schedule.nightly("host-1") == schedule.nightly("host-1")


def test_the_next_time_is_after_now_and_a_day_apart() -> None:
    times = [START]
    for _ in range(3):
        times.append(schedule.following("30 2 * * *", times[-1], UTC))
    assert [datetime.fromtimestamp(one / 1e9, UTC).hour for one in times[1:]] == [2, 2, 2]
    assert [later - before for before, later in pairwise(times[1:])] == [24 * HOUR, 24 * HOUR]


# ---------------------------------------------------------------- drift


def psi(then: np.ndarray, now: np.ndarray) -> float:
    """Straight from the book."""
    then, now = then / then.sum(), now / now.sum()
    return float(sum((b - a) * math.log(b / a) for a, b in zip(then, now, strict=True)))


def test_the_index_is_that_of_the_book() -> None:
    drift = Drift(1)
    then = np.array([10, 100, 300, 500, 300, 100, 10.0])
    now = np.array([200, 100, 300, 500, 300, 100, 300.0])
    drift.then[0], drift.now[0] = then, now
    assert drift.index()[0] == pytest.approx(psi(then + 5, now + 5), rel=1e-4)


def test_a_host_that_stays_as_it_is_does_not_drift_and_one_that_changes_does() -> None:
    random = np.random.default_rng(5)
    drift, minutes = Drift(), int(REFERENCE_MIN)
    moved = np.zeros(40)
    moved[:15] = 6.0

    def live(count: int, by: np.ndarray) -> None:
        for _ in range(count):
            drift.fold((10 + random.normal(size=40) + by).astype(np.float32))

    live(minutes + 1_000, 0 * moved)
    assert np.isnan(drift.index()).all()
    live(1_000, 0 * moved)
    assert np.nanmax(drift.index()) < 0.1
    live(720, moved)
    instrument = gauge("a.b", "1", "x", ("which",), resource="disk")
    series = [instrument.series(str(place)) for place in range(40)]
    (family,) = drift.families(series)
    assert (family.name, family.series, family.moved) == ("disk", 40, 15)
    assert family.drifted
    drift.rebase()
    assert drift.families(series) == ()


def test_gaps_and_constant_series_are_no_drift() -> None:
    drift = Drift()
    random = np.random.default_rng(6)
    for minute in range(int(REFERENCE_MIN + MEMORY_MIN)):
        values = np.array([7.0, np.nan, random.normal(), 0.0], dtype=np.float32)
        if minute % 3 == 0:
            values[2] = np.nan
        drift.fold(values)
    index = drift.index()
    assert index[0] == pytest.approx(0, abs=0.01)
    assert np.isnan(index[1])
    assert index[3] == pytest.approx(0, abs=0.01)


def test_drift_goes_on_after_a_restart(tmp_path: Path) -> None:
    series = all_series(4)
    drift = Drift()
    random = np.random.default_rng(7)
    for _ in range(900):
        drift.fold(random.normal(size=4).astype(np.float32))
    drift.save(tmp_path / "drift.state", series)
    again = Drift()
    again.load(tmp_path / "drift.state")
    moved = [series[2], None, series[0], series[3]]
    again.welcome([0, 2, 3], moved)
    assert again.then[0].tolist() == drift.then[2].tolist()
    assert again.location[3] == drift.location[3]
    assert again.seen[1] == 0
    (tmp_path / "drift.state").write_bytes(b"nothing")
    Drift().load(tmp_path / "drift.state")
