"""The CPU budget: what it decides, what it costs the readings, and that it really holds."""

from __future__ import annotations

import logging
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import Collector, Detector, Frame, NoConfig, Sample, Series, counter, gauge
from vedette.lanes import Assignment, Budget, Lanes
from vedette.lanes.account import thread_cpu_ns
from vedette.lanes.budget import ROOM, STRETCH_MAX, TARGET, WORTH, Load, most_stretch
from vedette_plugins.level import Level, LevelConfig
from vedette_plugins.robust import Robust, RobustConfig

S = 1_000_000_000
#: Seconds between two looks at the costs.
STEP_S = 10
BUDGET = 0.02


class Model:
    """An agent of constant costs: shares at their own interval, and a rest nothing can change."""

    def __init__(self, shares: dict[str, float], rest: float = 0.0, most: int = 16) -> None:
        self.shares, self.rest = shares, rest
        self.most = dict.fromkeys(shares, most)
        self.stretch = dict.fromkeys(shares, 1)
        self.budget = Budget(BUDGET)
        self.now_s = 0.0
        self.asked = 0
        self.changes: list[tuple[float, str, int]] = []
        #: What was used in each of the steps of the last minute.
        self.recent: deque[float] = deque(maxlen=6)

    @property
    def used(self) -> float:
        return self.rest + sum(self.shares[name] / self.stretch[name] for name in self.shares)

    def loads(self) -> dict[str, Load]:
        self.asked += 1
        return {
            name: Load(self.shares[name] / self.stretch[name], self.stretch[name], most)
            for name, most in self.most.items()
        }

    def run(self, seconds: float, extra: float = 0.0) -> list[tuple[float, str, int]]:
        """Let time pass; return the changes: when, who, how far stretched then."""
        before = len(self.changes)
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            self.recent.append(self.used + extra)
            mean = sum(self.recent) / len(self.recent)
            for name, stretch in self.budget.step(self.now_s, mean, self.loads).items():
                self.stretch[name] = stretch
                self.changes.append((self.now_s, name, stretch))
        return self.changes[before:]


def test_below_the_budget_nothing_ever_changes() -> None:
    model = Model({"a": 0.01, "b": 0.005})
    assert model.run(7200) == []
    assert model.asked == 0  # and that costs nothing


def test_the_most_expensive_is_stretched_first_until_the_forecast_fits() -> None:
    model = Model({"cheap": 0.002, "dear": 0.030, "middle": 0.006})
    first = model.run(600)
    assert [(name, stretch) for _, name, stretch in first] == [("dear", 4)]
    assert model.used <= TARGET * BUDGET
    assert 120 <= first[0][0] <= 200  # the first minute does not count, then it has to last


def test_the_start_does_not_count() -> None:
    model = Model({"a": 0.001})
    model.run(60, extra=0.5)
    assert model.run(600) == []


@pytest.mark.parametrize("seconds", [1, 5, 10])
def test_a_single_burst_does_nothing(seconds: int) -> None:
    model = Model({"a": 0.008})
    model.run(600)
    assert model.run(STEP_S, extra=1.0 * seconds / STEP_S) == []
    assert model.run(600) == []


def test_bursts_that_straddle_two_looks_do_nothing() -> None:
    model = Model({"a": 0.008})
    model.run(600)
    assert model.run(2 * STEP_S, extra=0.5) == []
    assert model.run(600) == []


def test_what_lasts_is_answered_within_two_and_a_half_minutes() -> None:
    model = Model({"a": 0.008})
    model.run(600)
    model.shares["a"] = 0.025
    assert [name for _, name, _ in model.run(150)] == ["a"]


def test_room_is_given_back_step_by_step_and_slowly() -> None:
    model = Model({"a": 0.16, "b": 0.012})
    model.run(1200)
    assert model.used <= TARGET * BUDGET
    stretched = dict(model.stretch)
    assert stretched["a"] == 16
    model.shares |= {"a": 0.004, "b": 0.002}
    given = model.run(4 * 3600)
    assert model.stretch == {"a": 1, "b": 1}
    assert len(given) == 4 + stretched["b"].bit_length() - 1
    times = [when for when, _, _ in given]
    assert min(b - a for a, b in pairwise(times)) >= 300


def test_stretching_again_soon_after_giving_back_doubles_the_patience() -> None:
    model = Model({"a": 0.030})
    model.run(600)
    waits = []
    for _ in range(4):
        # It looks as if there were room, but at the shorter interval everything is dearer.
        model.shares["a"] = 0.005
        began = model.now_s
        while not (given := model.run(STEP_S)):
            assert model.now_s - began < 4 * 3600
        waits.append(given[0][0] - began)
        model.shares["a"] = 0.030
        model.run(200)
    assert waits == sorted(waits)
    assert waits[-1] >= 4 * 300
    model.shares["a"] = 0.005
    model.run(4 * 3600)
    assert model.stretch["a"] == 1


def test_a_budget_that_cannot_be_kept_is_said_and_costs_no_resolution_for_nothing() -> None:
    model = Model({"a": 0.004, "tiny": BUDGET * WORTH}, rest=0.05)
    model.run(1200)
    assert model.budget.exhausted
    assert model.stretch["a"] > 1
    assert model.stretch["tiny"] == 1
    model.rest = 0.0
    model.run(120)
    assert not model.budget.exhausted


SHARES = st.dictionaries(
    st.sampled_from("abcdefgh"), st.floats(0, 0.1, allow_subnormal=False), max_size=8
)


@given(shares=SHARES, rest=st.floats(0, 0.03), limits=st.data())
def test_with_constant_costs_it_comes_below_the_budget_when_it_can_and_stays(
    shares: dict[str, float], rest: float, limits: st.DataObject
) -> None:
    model = Model(shares, rest)
    for name in shares:
        model.most[name] = limits.draw(st.sampled_from([1, 2, 4, 8, 16]))
    began = model.run(3600)
    assert all(1 <= stretch <= model.most[name] for _, name, stretch in began)
    assert all(stretch & (stretch - 1) == 0 for _, _, stretch in began)
    left = [
        shares[name] / model.stretch[name] / 2
        for name in shares
        if model.stretch[name] < model.most[name]
    ]
    fits = model.used <= TARGET * BUDGET * (1 + 1e-9)
    assert fits or max(left, default=0.0) < WORTH * BUDGET
    assert model.run(6 * 3600) == []


@given(
    steps=st.lists(st.tuples(SHARES, st.floats(0, 0.05), st.integers(1, 600)), max_size=12),
)
def test_whatever_the_costs_do_limits_hold_and_in_the_end_all_is_given_back(
    steps: list[tuple[dict[str, float], float, int]],
) -> None:
    model = Model(dict.fromkeys("abcdefgh", 0.0))
    for shares, rest, seconds in steps:
        model.shares = dict.fromkeys("abcdefgh", 0.0) | shares
        model.rest = rest
        model.run(seconds)
        assert all(1 <= stretch <= 16 for stretch in model.stretch.values())
    model.shares, model.rest = dict.fromkeys("abcdefgh", 0.0001), 0.0
    model.run(20 * 3600)  # eight collectors of four steps each, five minutes and a window apart
    assert set(model.stretch.values()) == {1}


@pytest.mark.parametrize(
    ("interval_s", "most"),
    [(0.1, 16), (1, 16), (3, 16), (5, 8), (10, 4), (30, 2), (31, 1), (60, 1), (3600, 1)],
)
def test_an_interval_grows_to_a_minute_or_sixteen_times_at_most(
    interval_s: float, most: int
) -> None:
    assert most_stretch(round(interval_s * S)) == most


def test_room_leaves_a_gap_to_the_target() -> None:
    assert ROOM < TARGET < 1
    assert STRETCH_MAX == 16


# ---------------------------------------------------------------- a stretched rhythm downstream

BUSY = gauge("vedette.cpu.busy", "1", "Busy.", resource="cpu", alarm="high", limit=1.0)
DISK = counter("system.disk.io", "By", "Disk.", ("device",), resource="disk", alarm="high")
BEAT = gauge("test.beat", "1", "Each second.", alarm="never")


class Rhythm:
    """A simulated host of two collectors: one reads each second, one at a stretched interval."""

    def __init__(self, host: Any, seed: int = 3) -> None:
        self.host, self.random = host, np.random.default_rng(seed)
        self.written = 0.0
        self.load = 0.0
        self.beat: tuple[Series, ...] = (BEAT.series(),)
        self.slow: tuple[Series, ...] = (BUSY.series(), DISK.series("vda"))

    def frame(self, name: str, series: tuple[Series, ...], values: list[float]) -> Frame:
        tick_ns = self.host.now_s * S
        return Frame(name, tick_ns, tick_ns, series, array("d", values))

    def run(self, seconds: int, stretch: int) -> None:
        for _ in range(seconds):
            self.host.now_s += 1
            # Bursts: a mean over 16 s of them looks calm, the same read each second does not.
            self.written += self.random.exponential(4e6) if self.random.random() < 0.15 else 0.0
            frames = [self.frame("beat", self.beat, [1.0])]
            if self.host.now_s % stretch == 0:
                noise = float(self.random.normal(0, 0.015))
                busy = min(1.0, max(0.0, 0.05 + noise + self.load))
                frames.append(self.frame("slow", self.slow, [busy, self.written]))
            self.host.pipeline.take(tuple(frames))


@pytest.fixture
def rhythm(tmp_path: Path, simulated_host: type) -> Rhythm:
    detectors: list[Detector] = [Robust(RobustConfig()), Level(LevelConfig())]
    return Rhythm(simulated_host(tmp_path, detectors))


@pytest.mark.parametrize("most", [2, 4, 16])
def test_a_stretched_and_restored_rhythm_raises_no_finding(rhythm: Rhythm, most: int) -> None:
    rhythm.run(1200, 1)
    rhythm.run(3600, most)
    while most > 1:
        most //= 2
        rhythm.run(420, most)
    rhythm.run(1800, 1)
    assert rhythm.host.told == []


def test_each_tick_is_closed_once_and_a_rate_is_per_second_at_any_rhythm(rhythm: Rhythm) -> None:
    rhythm.run(60, 1)
    rhythm.run(64, 4)
    rhythm.run(60, 1)
    table = rhythm.host.pipeline.table
    window = table.window()
    assert set(np.diff(window.time)) == {S}
    row = table.row(DISK.series("vda"))
    read = window.values[row][np.isfinite(window.values[row])]
    assert len(read) < len(window.time) - 40
    assert np.isfinite(window.values[table.row(BEAT.series())]).all()
    # The mean of the rates, each for as long as it stands for, is what was written in all.
    times = window.time[np.isfinite(window.values[row])] / S
    lasted = np.diff(times, prepend=times[0] - 1)
    assert float((read * lasted).sum()) == pytest.approx(rhythm.written, rel=0.2)


def test_a_fault_at_a_stretched_rhythm_is_still_found(rhythm: Rhythm) -> None:
    rhythm.run(1200, 1)
    rhythm.run(600, 4)
    assert rhythm.host.told == []
    rhythm.load = 0.9
    rhythm.run(60, 4)
    assert [change.change for change in rhythm.host.told][:1] == ["opened"]


# ---------------------------------------------------------------- real lanes that really burn


class Burner(Collector):
    """Burns as much CPU time as the test says, then yields one reading."""

    name = "burner"
    interval_s = 0.1
    value = gauge("test.value", "1", "A value.")

    def __init__(self) -> None:
        super().__init__(NoConfig())
        self.burn_s = 0.0

    def collect(self) -> Iterable[Sample]:
        until = time.thread_time() + self.burn_s
        while time.thread_time() < until:
            pass
        return [self.value(1.0)]


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def lanes_of() -> Iterator[Callable[..., Lanes]]:
    made: list[Lanes] = []

    def make(collectors: dict[str, Collector], budget: Budget | None, **more: Any) -> Lanes:
        one = Lanes(
            [
                Assignment(collector, 0.1, timeout_s=5.0, name=name)
                for name, collector in collectors.items()
            ],
            more.pop("deliver", lambda _: None),
            base_interval_s=0.1,
            max_series=10,
            budget=budget,
            metrics_s=0.2,
            **more,
        )
        made.append(one)
        one.start()
        return one

    yield make
    for one in made:
        one.stop(1.0)


@pytest.mark.slow
def test_a_collector_that_burns_is_slowed_down_to_the_budget_and_sped_up_again(
    lanes_of: Callable[..., Lanes], caplog: pytest.LogCaptureFixture
) -> None:
    burner, calm = Burner(), Burner()
    burner.burn_s = 0.05
    ticks: list[int] = []
    readings: dict[str, float] = {}

    def deliver(frames: tuple[Frame, ...]) -> None:
        for frame in frames:
            if frame.collector == "burner":
                ticks.append(frame.tick_ns)
            for series, value in zip(frame.series, frame.values, strict=True):
                readings[series.key] = value

    budget = Budget(0.25, settle_s=0.2, window_s=0.6, hold_s=0.6, patience_s=1.0)
    with caplog.at_level(logging.INFO, logger="vedette.lanes.account"):
        lanes = lanes_of({"burner": burner, "calm": calm}, budget, deliver=deliver)

        def stretched(name: str) -> float:
            one = next(one for one in lanes.status() if one.name == name)
            return one.interval_s / one.configured_s

        until(lambda: stretched("burner") > 1, "not slowed down")
        until(lambda: (lanes.cost().share or 1.0) <= 0.25, "still over its budget")
        assert stretched("calm") == 1
        factor, first = stretched("burner"), len(ticks) + 1
        until(lambda: len(ticks) > first + 2, "no more ticks")
        if factor == stretched("burner"):
            assert all(tick % round(factor * S / 10) == 0 for tick in ticks[first:])
        assert readings["vedette.collector.interval{vedette.collector.name=burner}"] > 0.1
        assert readings["vedette.agent.cpu.budget.utilization"] > 0
        burner.burn_s = 0.0
        until(lambda: stretched("burner") == 1, "not sped up again")
    changes = [record.getMessage() for record in caplog.records]
    assert changes[0].startswith("collector=burner interval_s=0.2 was_s=0.1") or changes[
        0
    ].startswith("collector=burner interval_s=0.4 was_s=0.1")
    assert "its CPU budget is 25.00%" in changes[0]
    assert changes[-1].startswith("collector=burner interval_s=0.1 was_s=0.2")
    assert "there is room" in changes[-1]


@pytest.mark.slow
def test_without_a_budget_nothing_is_slowed_down_and_costs_are_told_all_the_same(
    lanes_of: Callable[..., Lanes],
) -> None:
    burner, calm = Burner(), Burner()
    burner.burn_s = 0.02
    lanes = lanes_of({"burner": burner, "calm": calm}, None, parts={"reading": "vedette-burner"})
    until(lambda: (lanes.status()[0].tick_cpu_s or 0) > 0.015, "no costs")
    until(lambda: lanes.cost().parts.get("reading", 0.0) > 0, "no parts")

    def adds_up() -> bool:
        # Of a window as short as the first ones, a reading cut in two by its begin is a good part.
        cost = lanes.cost()
        return 0 < (cost.collectors or 0) <= (cost.share or 0) * 1.1

    until(adds_up, "the collectors cost more than the agent")
    status, cost = lanes.status(), lanes.cost()
    assert (status[0].interval_s, status[0].configured_s) == (0.1, 0.1)
    assert status[0].tick_cpu_s == pytest.approx(status[0].sample_cpu_s)
    assert (status[0].cpu_share or 0) > (status[1].cpu_share or 0)
    assert cost.budget == 0
    assert cost.utilization is None


def test_the_cpu_time_of_another_thread_is_read_and_that_of_an_ended_one_is_harmless() -> None:
    burnt, free = threading.Event(), threading.Event()

    def burn() -> None:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        burnt.set()
        free.wait(30)

    thread = threading.Thread(target=burn, daemon=True)
    assert thread_cpu_ns(thread) == 0  # not started
    thread.start()
    assert burnt.wait(30)
    assert 0.02 <= thread_cpu_ns(thread) / 1e9 < 1
    free.set()
    thread.join(30)
    assert thread_cpu_ns(thread) >= 0
