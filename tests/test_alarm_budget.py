"""The false alarms that the operator allows, on hosts simulated for months."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from vedette.alarm_budget import (
    CLUSTER_NS,
    DAY_NS,
    FREE,
    HIGHEST,
    KEPT,
    MOST,
    TOLERATED,
    WEEK_NS,
    AlarmBudget,
    Repeats,
)

S = 1_000_000_000
START = 1_795_183_200 * S
LOOK_NS = 600 * S
LOOKS_A_DAY = DAY_NS // LOOK_NS

Peak = Callable[[np.random.Generator], float]
PEAKS: dict[str, Peak] = {
    "exponential": lambda random: 1 + random.exponential(0.3),
    "thin": lambda random: 1 + random.exponential(0.05),
    "Pareto": lambda random: float((1 - random.random()) ** (-1 / 3)),
}


class Simulated:
    """A host with clusters of candidates at random, and a fault a week if there is one."""

    def __init__(self, peak: Peak, per_day: float, *, fault: float = 0, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.peak, self.per_day, self.fault = peak, per_day, fault
        self.budget = AlarmBudget(1.0)
        self.now = START
        self.rang: list[float] = []
        self.found: list[bool] = []
        self.candidates = 0

    def run(self, days: int) -> None:
        for _ in range(days * LOOKS_A_DAY):
            self.now += LOOK_NS
            false = self.random.random() < self.per_day / LOOKS_A_DAY
            if false and self._candidate(self.peak(self.random)):
                self.rang.append((self.now - START) / DAY_NS)
            if self.fault and (self.now - START) % WEEK_NS == 5 * DAY_NS:
                self.found.append(self._candidate(self.fault))
            self.budget.step(self.now)

    def _candidate(self, peak: float) -> bool:
        self.candidates += 1
        rings = peak >= self.budget.bar
        self.budget.note(self.now, peak, rang=rings)
        return rings

    def a_week(self, days: int) -> float:
        """Return the findings a week, from the second day on."""
        return sum(day > 1 for day in self.rang) * 7 / (days - 1)


def test_the_bar_is_not_moved_before_a_day() -> None:
    host = Simulated(PEAKS["exponential"], 40)
    host.run(1)
    assert host.budget.bar == 1
    assert len(host.rang) > 20
    host.run(1)
    assert host.budget.bar > 1.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("peaks", "per_day"),
    [("exponential", 2), ("exponential", 20), ("thin", 5), ("Pareto", 1), ("Pareto", 4)],
)
def test_over_two_months_few_more_ring_than_are_tolerated(
    peaks: str, per_day: int, seed: int
) -> None:
    host = Simulated(PEAKS[peaks], per_day, seed=seed)
    host.run(60)
    # Of twenty a day more pass the highest bar than are tolerated, which is what it is for; of one
    # a day it takes weeks to be sure that they are more than that.
    most = {20: 12.0, 1: 6.3}.get(per_day, 2 * TOLERATED)
    assert 0.3 <= host.a_week(60) <= most
    assert host.a_week(60) < 0.9 * 7 * per_day


def test_a_host_with_a_few_incidents_a_week_keeps_the_shipped_thresholds() -> None:
    for seed in range(5):
        host = Simulated(PEAKS["exponential"], 2.5 / 7, seed=seed)
        host.run(60)
        assert len(host.rang) >= 0.75 * host.candidates > 10


def test_a_quiet_host_keeps_the_shipped_thresholds() -> None:
    host = Simulated(PEAKS["exponential"], 0.05)
    host.run(60)
    assert host.budget.bar == 1


@pytest.mark.parametrize("peaks", PEAKS)
def test_a_fault_a_week_stays_found_amid_false_alarms(peaks: str) -> None:
    host = Simulated(PEAKS[peaks], 5, fault=HIGHEST + 0.1)
    host.run(60)
    assert host.found == [True] * 8


def test_faults_do_not_set_the_scale() -> None:
    """Of the bar that a host has without them, not much more is asked for because of them."""
    bars = []
    for fault in (0, HIGHEST):
        host = Simulated(PEAKS["thin"], 5, fault=fault)
        host.run(10)
        bars.append(host.budget.bar)
    assert 1.1 < bars[0] <= bars[1] < 1.3


def test_the_bar_comes_down_when_it_has_become_quiet() -> None:
    host = Simulated(PEAKS["exponential"], 10)
    host.run(14)
    assert host.budget.bar > 1.5
    host.per_day = 0
    host.run(8)
    assert host.budget.bar == 1
    assert not host.budget.clusters


def test_the_bar_is_never_beyond_the_highest_and_a_budget_of_0_never_moves_it() -> None:
    for per_week, bar in ((0.0, 1.0), (1e-6, HIGHEST)):
        host = Simulated(PEAKS["Pareto"], 20)
        host.budget.per_week = per_week
        host.run(5)
        assert host.budget.bar == bar


def test_what_is_strange_together_is_one_cluster() -> None:
    budget = AlarmBudget()
    for second in range(0, 3_600, 10):
        budget.note(START + second * S, 1 + second / 3_600, rang=second > 600)
    assert len(budget.clusters) == 1
    (cluster,) = budget.clusters
    assert (cluster.since_ns, cluster.rang) == (START, True)
    assert cluster.peak == pytest.approx(1 + 3_590 / 3_600)
    budget.note(START + 3_590 * S + CLUSTER_NS + 1, 1.1, rang=False)
    assert len(budget.clusters) == 2


def test_clusters_are_bounded() -> None:
    budget = AlarmBudget()
    for number in range(2 * KEPT):
        budget.note(START + 2 * number * CLUSTER_NS, 1.1, rang=False)
    assert len(budget.clusters) == KEPT


def test_what_is_known_survives_a_restart() -> None:
    host = Simulated(PEAKS["Pareto"], 5)
    host.run(20)
    after = AlarmBudget(1.0)
    after.restore(json.loads(json.dumps(host.budget.export())))
    assert after.bar == host.budget.bar > 1
    after.step(host.now)
    assert after.export() == host.budget.export()


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"since_ns": "x"},
        {"clusters": [[1, 2]]},
        {"stretch": None},
    ],
)
def test_what_is_something_else_is_not_taken_up(known: dict[str, object]) -> None:
    sound = AlarmBudget().export()
    AlarmBudget().restore(sound)
    with pytest.raises(ValueError, match=r"\$|missing"):
        AlarmBudget().restore(sound | known if known else known)


def test_a_clock_set_back_neither_keeps_the_future_nor_stops_the_bar() -> None:
    host = Simulated(PEAKS["exponential"], 20)
    host.run(7)
    host.now -= 3 * DAY_NS
    host.budget.step(host.now)
    assert all(one.last_ns <= host.now for one in host.budget.clusters)
    host.now -= 30 * DAY_NS
    host.budget.step(host.now)
    assert not host.budget.clusters
    host.run(2)
    assert host.budget.bar > 1.5


def test_time_in_which_nothing_ran_earns_no_false_alarms() -> None:
    host = Simulated(PEAKS["exponential"], 20)
    host.run(7)
    before = host.budget.export()["stretch"]
    host.budget.step(host.now + 5 * DAY_NS)
    assert host.budget.export()["stretch"] == pytest.approx(before, rel=0.01)


def test_a_series_that_alone_rings_is_held_back_and_it_wears_off() -> None:
    repeats = Repeats(2)
    bars = []
    for hour in range(24):
        now = START + hour * 3_600 * S
        bars.append(repeats.bar(0, now))
        repeats.note(0, now)
    assert bars[: int(FREE) + 1] == [1.0] * (int(FREE) + 1)
    assert bars == sorted(bars)
    assert bars[-1] == MOST
    assert repeats.bar(1, now) == 1
    assert 1 < repeats.bar(0, now + 7 * DAY_NS) < MOST
    assert repeats.bar(0, now + 14 * DAY_NS) == 1


def test_a_fault_a_week_does_not_raise_its_series_bar() -> None:
    repeats = Repeats(1)
    for week in range(20):
        assert repeats.bar(0, START + week * WEEK_NS) == 1
        repeats.note(0, START + week * WEEK_NS)


def test_after_a_clock_set_back_a_series_bar_wears_off_as_before() -> None:
    repeats = Repeats(1)
    for _ in range(10):
        repeats.note(0, START + 100 * DAY_NS)
    assert repeats.bar(0, START) == MOST
    assert repeats.bar(0, START + 20 * DAY_NS) == 1


def test_rows_come_and_go() -> None:
    repeats = Repeats(1)
    repeats.grow(3)
    for _ in range(10):
        repeats.note(2, START)
    assert repeats.bar(2, START) == MOST
    repeats.forget(np.array([2]))
    assert repeats.bar(2, START) == 1
