"""All lanes together: a collector that hangs, raises or dawdles never costs another its ticks."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pytest

from vedette.api import Collector, Frame, NoConfig, Sample, Unavailable, gauge
from vedette.lanes import AgentCost, Assignment, CollectorStatus, Lanes, RunnerMetrics
from vedette.lanes.metrics import OF_THE_AGENT, PER_COLLECTOR
from vedette.lanes.schedule import TickScheduler

S = 1_000_000_000
T0 = 1_700_000_000 * S


class Scripted(Collector):
    """Does what the test says and yields one reading."""

    name = "scripted"
    interval_s = 1.0
    value = gauge("test.value", "1", "A value.")

    def __init__(self, behave: Callable[[], object] = lambda: None) -> None:
        super().__init__(NoConfig())
        self.behave = behave
        self.threads: list[str] = []
        self.closed_in = ""

    def collect(self) -> Iterable[Sample]:
        self.threads.append(threading.current_thread().name)
        self.behave()
        return [self.value(1.0)]

    def close(self) -> None:
        self.closed_in = threading.current_thread().name


class Shared(Scripted):
    may_block = False


class Seldom(Scripted):
    may_block = "seldom"


class Absent(Scripted):
    """Has no source until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.here = False
        self.look: Callable[[], object] = lambda: None
        self.probed_in: list[str] = []

    def probe(self) -> None:
        self.probed_in.append(threading.current_thread().name)
        self.look()
        if not self.here:
            raise Unavailable("not here")


class Explaining(Scripted):
    explains = ("cpu",)


class Gate:
    """Holds whoever enters until opened."""

    def __init__(self) -> None:
        self.inside, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.inside.set()
        self.open.wait(30)


class Bench:
    """Lanes with real threads, ticked by hand; the clock passes only when told to."""

    def __init__(self, collectors: dict[str, Scripted], base_interval_s: float = 1.0) -> None:
        self.passed_ns = 0
        self.batches: queue.SimpleQueue[tuple[Frame, ...]] = queue.SimpleQueue()
        self.lanes = Lanes(
            [Assignment(one, one.interval_s, name=name) for name, one in collectors.items()],
            self.batches.put,
            base_interval_s=base_interval_s,
            max_series=10,
            clock_ns=lambda: T0 + self.passed_ns,
            monotonic_ns=lambda: S + self.passed_ns,
        )

    def sleep(self, seconds: float) -> None:
        self.passed_ns += round(seconds * S)

    def tick(self) -> None:
        """Let a second pass and do what the schedule would."""
        self.sleep(1)
        self.lanes.look_after()
        self.lanes.tick(S, (T0 + self.passed_ns) // S * S)

    def names(self, batches: int) -> list[tuple[str, ...]]:
        """Return who delivered in the next batches, sorted; the agent's own counters left out."""
        got = []
        while len(got) < batches:
            names = tuple(
                frame.collector
                for frame in self.batches.get(timeout=10)
                if frame.collector != RunnerMetrics.name
            )
            if names:
                got.append(names)
        return sorted(got)

    def settled(self) -> None:
        """Wait until every lane has done its work."""
        until = time.monotonic() + 10
        lanes = (*self.lanes._shared.values(), *self.lanes._own.values())
        while not all(lane.idle for lane in lanes):
            assert time.monotonic() < until
            time.sleep(0.001)

    def status(self, name: str) -> CollectorStatus:
        return next(status for status in self.lanes.status() if status.name == name)


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**collectors: Scripted) -> Bench:
        made.append(Bench(collectors))
        return made[-1]

    yield make
    for one in made:
        one.lanes.stop(0.2)


def test_the_shared_lane_delivers_one_batch_per_tick_and_own_lanes_their_own(
    bench: Callable[..., Bench],
) -> None:
    a, b, c = Shared(), Shared(), Scripted()
    one = bench(a=a, b=b, c=c)
    one.tick()
    assert one.names(2) == [("a", "b"), ("c",)]
    assert set(a.threads + b.threads) == {"vedette-shared"}
    assert c.threads == ["vedette-c"]


def test_a_collector_of_a_longer_interval_joins_the_shared_tick_it_is_due_at(
    bench: Callable[..., Bench],
) -> None:
    slow = Shared()
    slow.interval_s = 5.0  # type: ignore[misc]
    one = bench(quick=Shared(), slow=slow)
    got = []
    for _ in range(6):
        one.tick()
        got += one.names(1)
    assert got == [("quick",)] * 4 + [("quick", "slow")] + [("quick",)]


def test_a_lane_still_busy_skips_ticks_and_counts_them(bench: Callable[..., Bench]) -> None:
    gate = Gate()
    one = bench(busy=Scripted(gate), well=Scripted())
    for _ in range(5):
        one.tick()
        assert one.names(1) == [("well",)]
        assert gate.inside.wait(10)
    status = one.status("busy")
    assert (status.ticks, status.skipped, status.state) == (1, 4, "stuck")
    gate.open.set()


def test_no_second_thread_is_started_for_a_collector_that_hangs(
    bench: Callable[..., Bench],
) -> None:
    gate = Gate()
    one = bench(busy=Scripted(gate), stuck=Shared(gate))
    one.tick()
    assert gate.inside.wait(10)
    for _ in range(10):  # by then both are called stuck, and the shared lane has a thread anew
        one.tick()
    before = threading.active_count()
    for _ in range(50):
        one.tick()
    assert threading.active_count() == before
    gate.open.set()


def test_a_lane_of_one_that_rests_has_no_thread_until_the_next_probe(
    bench: Callable[..., Bench],
) -> None:
    absent, well = Absent(), Scripted()
    one = bench(absent=absent, well=well)
    one.tick()
    assert one.names(1) == [("well",)]
    one.settled()
    lane = one.lanes._own["absent"]
    assert lane.join(10)
    for _ in range(30):
        one.tick()
        one.settled()
        assert lane._thread is None
    assert absent.probed_in == ["vedette-absent"]
    absent.here = True
    one.sleep(60)
    one.tick()
    one.settled()
    assert absent.threads == ["vedette-absent"]
    assert one.status("absent").state == "ok"
    assert lane._thread is not None
    one.tick()
    one.settled()
    assert len(absent.probed_in) == 2


def test_a_probe_that_hangs_costs_nobody_else_and_one_thread_only(
    bench: Callable[..., Bench],
) -> None:
    gate = Gate()
    absent = {f"absent{n}": Absent() for n in range(5)}
    absent["absent2"].look = gate
    one = bench(well=Shared(), **absent)
    one.tick()
    assert gate.inside.wait(10)
    for _ in range(60):
        one.tick()
        assert one.names(1) == [("well",)]
    others = [one.lanes._own[name] for name in absent if name != "absent2"]
    assert all(lane.join(10) for lane in others)
    assert one.status("absent2").state == "stuck"
    assert one.status("absent3").state == "resting"
    gate.open.set()
    one.settled()
    assert one.status("absent2").state == "resting"


def test_one_that_rests_is_closed_in_its_lane_all_the_same(bench: Callable[..., Bench]) -> None:
    absent = Absent()
    one = bench(absent=absent)
    one.tick()
    one.settled()
    assert one.lanes._own["absent"].join(10)
    one.lanes.stop(2.0)
    assert absent.closed_in == "vedette-absent"
    assert one.status("absent").state == "stopped"


def test_a_lane_without_a_thread_is_a_skipped_tick_not_an_error(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(well=Shared(), own=Scripted())

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        one.tick()
        one.tick()
    assert (one.status("own").skipped, one.status("well").skipped) == (2, 2)
    assert caplog.text.count("lane=own has no thread") == 1
    one.tick()
    assert one.names(2) == [("own",), ("well",)]


def test_a_tick_that_waited_behind_a_hang_is_not_run_beside_the_new_lane(
    bench: Callable[..., Bench],
) -> None:
    gate = Gate()
    gate.open.set()

    class Asked(Explaining, Shared):
        pass

    asked, other = Asked(gate), Shared()
    one = bench(asked=asked, other=other)
    one.tick()
    one.names(1)
    one.settled()
    gate.open.clear()
    gate.inside.clear()
    one.sleep(1.5)
    one.lanes.request("cpu")
    assert gate.inside.wait(10)
    hung = one.lanes._shared["shared"]
    one.lanes.tick(S, T0 + one.passed_ns // S * S)  # waits behind the request
    one.tick()
    assert one.lanes._shared["shared"] is not hung
    assert one.names(1) == [("other",)]
    before = len(other.threads)
    gate.open.set()
    one.settled()
    assert len(other.threads) == before


def test_one_that_hangs_in_the_shared_lane_keeps_the_thread_and_the_others_go_on(
    bench: Callable[..., Bench],
) -> None:
    gate = Gate()
    first, stuck, last = Shared(), Shared(gate), Shared()
    one = bench(first=first, stuck=stuck, last=last)
    one.tick()
    assert gate.inside.wait(10)
    one.tick()
    # What was read before the hang is delivered, the rest comes late, and the next tick is whole.
    assert one.names(3) == [("first",), ("first", "last"), ("last",)]
    assert (one.status("first").skipped, one.status("last").skipped) == (0, 0)
    for _ in range(3):
        one.tick()
        assert one.names(1) == [("first", "last")]
    status = one.status("stuck")
    assert (status.lane, status.state, status.late) == ("stuck", "stuck", 1)
    gate.open.set()
    one.settled()
    one.sleep(2)
    stuck.behave = lambda: None
    one.tick()
    assert one.names(2) == [("first", "last"), ("stuck",)]
    assert set(stuck.threads) == {"vedette-shared"}  # the thread it hung in, its own by now
    assert one.status("stuck").state == "ok"


def test_a_result_that_came_in_time_for_the_new_lane_is_delivered(
    bench: Callable[..., Bench],
) -> None:
    gate = Gate()
    slow = Shared(gate)
    slow.interval_s = 10.0  # type: ignore[misc]
    one = bench(slow=slow, well=Shared())
    one.sleep(9)
    one.tick()
    assert gate.inside.wait(10)
    one.tick()
    gate.open.set()
    assert one.names(3) == [("slow",), ("well",), ("well",)]


def test_those_that_seldom_block_share_a_lane_and_one_that_often_does_leaves_it(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(well=Seldom())

    def dawdle() -> None:
        one.sleep(0.3)

    well, slow = Seldom(), Seldom(dawdle)
    one = bench(well=well, slow=slow, quick=Shared())
    for _ in range(8):
        one.tick()
        one.settled()
        one.passed_ns = one.passed_ns // S * S
    assert set(well.threads) == {"vedette-unhurried"}
    assert slow.threads == ["vedette-unhurried"] * 3 + ["vedette-slow"] * 5
    assert (one.status("slow").late, one.status("slow").samples_total) == (0, 8)
    assert caplog.text.count("too slow for the unhurried lane") == 1


def test_one_that_hangs_in_the_unhurried_lane_is_waited_for_until_the_next_look(
    bench: Callable[..., Bench],
) -> None:
    gate = Gate()
    stuck, last = Seldom(gate), Seldom()
    stuck.interval_s = last.interval_s = 10.0  # type: ignore[misc]
    one = bench(stuck=stuck, last=last)
    one.sleep(9)
    one.tick()
    assert gate.inside.wait(10)
    one.lanes.look_after()  # no time has passed
    assert one.status("stuck").lane == "unhurried"
    one.tick()
    assert one.names(1) == [("last",)]
    gate.open.set()
    assert one.names(1) == [("stuck",)]  # a second is within its deadline
    assert (one.status("stuck").lane, one.status("stuck").late) == ("stuck", 0)
    assert one.status("last").lane == "unhurried"


def test_a_tick_that_comes_before_the_next_look_is_missed_by_nobody_but_who_hangs(
    bench: Callable[..., Bench],
) -> None:
    gate = Gate()
    one = bench(stuck=Seldom(gate), last=Seldom())
    one.tick()
    assert gate.inside.wait(10)
    one.sleep(1)
    one.lanes.tick(S, (T0 + one.passed_ns) // S * S)
    assert one.names(2) == [("last",)] * 2
    assert (one.status("last").ticks, one.status("last").skipped) == (2, 0)
    assert one.status("last").lane == "unhurried"
    gate.open.set()


def test_a_tick_of_both_shared_lanes_is_delivered_as_one_and_a_hang_loses_nothing_of_it() -> None:
    gate = Gate()
    gate.open.set()
    got: queue.SimpleQueue[tuple[Frame, ...]] = queue.SimpleQueue()
    collectors = {"quick": Shared(), "well": Seldom(), "stuck": Seldom(gate), "last": Seldom()}
    lanes = Lanes(
        [Assignment(one, 0.2, timeout_s=9.0, name=name) for name, one in collectors.items()],
        got.put,
        base_interval_s=0.2,
        max_series=10,
    )
    lanes.start()
    whole = {"quick", "well", "stuck", "last"}
    names: set[str] = set()
    while names != whole:
        names = {frame.collector for frame in got.get(timeout=10)} - {RunnerMetrics.name}
    gate.open.clear()
    gate.inside.clear()
    assert gate.inside.wait(10)
    while not got.empty():
        got.get()
    until = time.monotonic() + 10
    ticks: dict[str, set[int]] = {name: set() for name in whole | {RunnerMetrics.name}}
    while len(ticks["last"]) < 5 and time.monotonic() < until:
        lanes.look_after()
        time.sleep(0.02)
        while not got.empty():
            for frame in got.get():
                ticks[frame.collector].add(frame.tick_ns)
    gate.open.set()
    lanes.stop(1.0)
    # What was read before the hang, and by the quick ones at the same tick, came with the split.
    assert min(ticks["quick"]) == min(ticks["well"]) == min(ticks["last"])
    assert len(ticks["last"]) >= 5


def test_the_schedule_goes_on_when_one_hangs_in_the_lane_that_keeps_it() -> None:
    gate = Gate()
    gate.open.set()
    got: queue.SimpleQueue[tuple[Frame, ...]] = queue.SimpleQueue()
    lanes = Lanes(
        [
            Assignment(one, 0.1, name=name)
            for name, one in {"stuck": Shared(gate), "own": Scripted()}.items()
        ],
        got.put,
        base_interval_s=0.1,
        max_series=10,
    )
    lanes.start()
    own = 0
    gate.open.clear()
    gate.inside.clear()
    assert gate.inside.wait(10)
    while not got.empty():
        got.get()
    until = time.monotonic() + 10
    while own < 5 and time.monotonic() < until:
        lanes.look_after()
        time.sleep(0.02)
        while not got.empty():
            own += sum(frame.collector == "own" for frame in got.get())
    gate.open.set()
    lanes.stop(1.0)
    assert own >= 5


def scheduled(*collectors: Scripted) -> Generator[tuple[Frame, ...], None, None]:
    """Yield what lanes deliver that the real schedule ticks every 0.1 s."""
    got: queue.SimpleQueue[tuple[Frame, ...]] = queue.SimpleQueue()
    lanes = Lanes(
        [Assignment(one, 0.1, name=f"{n}") for n, one in enumerate(collectors)],
        got.put,
        base_interval_s=0.1,
        max_series=10,
    )
    lanes.start()
    try:
        while True:
            yield got.get(timeout=10)
    finally:
        lanes.stop(1.0)


def test_a_shared_tick_that_brings_nothing_still_hands_the_others_theirs() -> None:
    def broken() -> None:
        raise OSError("gone")

    batches = scheduled(Shared(broken), Seldom(), Scripted())
    ticks: dict[str, set[int]] = {"1": set(), "2": set()}
    while min(len(found) for found in ticks.values()) < 4:
        for frame in next(batches):
            ticks.setdefault(frame.collector, set()).add(frame.tick_ns)
    batches.close()


def test_a_tick_takes_one_turn_of_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []
    turn = TickScheduler.turn

    def counted(scheduler: TickScheduler) -> float:
        turns.append(time.monotonic())
        return turn(scheduler)

    monkeypatch.setattr(TickScheduler, "turn", counted)
    batches = scheduled(Shared(), Seldom(), Scripted())
    ticks: set[int] = set()
    while len(ticks) < 12:
        ticks |= {frame.tick_ns for frame in next(batches) if frame.collector == "0"}
    batches.close()
    # The first tick is read without the schedule; its start asks for two turns.
    assert len(turns) <= len(ticks) + 3


def test_a_schedule_without_a_thread_gets_one_as_soon_as_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: queue.SimpleQueue[tuple[Frame, ...]] = queue.SimpleQueue()
    one = Assignment(Shared(), 0.1, name="well")
    lanes = Lanes([one], got.put, base_interval_s=0.1, max_series=10)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        lanes.start()
        lanes.look_after()
    assert got.empty()
    lanes.look_after()
    try:
        assert got.get(timeout=10)[0].collector == "well"
    finally:
        lanes.stop(1.0)


def test_one_that_dawdles_in_the_shared_lane_is_moved_out_for_good(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(well=Shared())

    def dawdle() -> None:
        one.sleep(0.2)

    slow = Shared(dawdle)
    one = bench(well=Shared(), slow=slow)
    for _ in range(8):
        one.tick()
        one.settled()
        one.passed_ns = one.passed_ns // S * S
    assert slow.threads == ["vedette-shared"] * 3 + ["vedette-slow"] * 5
    assert one.status("slow").state == "ok"
    assert one.status("slow").late == 3
    assert caplog.text.count("too slow for the shared lane") == 1


def test_a_request_reads_those_that_explain_the_resource_off_schedule(
    bench: Callable[..., Bench],
) -> None:
    processes, disk = Explaining(), Scripted()
    one = bench(processes=processes, disk=disk)
    one.tick()
    one.names(2)
    one.settled()
    one.sleep(1.5)
    one.lanes.request("cpu")
    (frame,) = one.batches.get(timeout=10)
    assert (frame.collector, frame.tick_ns) == ("processes", T0 + 2 * S)
    one.settled()
    one.lanes.request("cpu")  # read just now
    one.lanes.request("memory")
    one.settled()
    assert one.batches.empty()
    assert len(disk.threads) == 1


def test_a_request_in_progress_does_not_cost_the_tick(bench: Callable[..., Bench]) -> None:
    gate = Gate()
    gate.open.set()
    processes = Explaining(gate)
    one = bench(processes=processes)
    one.tick()
    one.names(1)
    one.settled()
    gate.open.clear()
    gate.inside.clear()
    one.sleep(1.1)
    one.lanes.request("cpu")
    assert gate.inside.wait(10)
    one.tick()
    gate.open.set()
    one.settled()
    assert one.status("processes").skipped == 0
    assert one.status("processes").ticks == 3


def test_stop_closes_every_collector_in_its_lane_but_a_hung_one(
    bench: Callable[..., Bench],
) -> None:
    gate = Gate()
    shared, own, hung = Shared(), Scripted(), Scripted(gate)
    one = bench(shared_one=shared, own=own, hung=hung)
    one.tick()
    one.names(2)
    assert gate.inside.wait(10)
    started = time.monotonic()
    one.lanes.stop(0.2)
    assert time.monotonic() - started < 5
    assert (shared.closed_in, own.closed_in) == ("vedette-shared", "vedette-own")
    assert hung.closed_in == ""
    assert [status.state for status in one.lanes.status()] == ["stopped", "stopped", "starting"]
    gate.open.set()
    one.lanes._own["hung"].join(10)
    assert hung.closed_in == "vedette-hung"
    assert all(frame.collector != "hung" for frame in _rest(one.batches))


def _rest(batches: queue.SimpleQueue[tuple[Frame, ...]]) -> list[Frame]:
    frames: list[Frame] = []
    while not batches.empty():
        frames += batches.get()
    return frames


def test_the_runners_own_counters_come_every_ten_seconds(bench: Callable[..., Bench]) -> None:
    def broken() -> None:
        raise OSError("gone")

    one = bench(well=Shared(), broken=Scripted(broken))
    for _ in range(20):
        one.tick()
        one.settled()
    frames = [frame for frame in _rest(one.batches) if frame.collector == "vedette"]
    assert [frame.tick_ns for frame in frames] == [T0 + 10 * S, T0 + 20 * S]
    readings = dict(
        zip([series.key for series in frames[-1].series], frames[-1].values, strict=True)
    )
    assert readings["vedette.collector.failures{vedette.collector.name=broken}"] >= 3
    assert {key for key in readings if "=well}" in key} == {
        f"vedette.collector.{name}{{vedette.collector.name=well}}"
        for name in ("cpu.time", "duration")
    }
    assert "vedette" not in [status.name for status in one.lanes.status()]


def status_of(name: str, **numbers: Any) -> CollectorStatus:
    """Return the status of a collector that is well, but for these numbers."""
    known: dict[str, Any] = dict.fromkeys(
        ("late", "skipped", "failures", "invalid", "cut", "duration_s", "cpu_s", "since_ns"), 0
    )
    known |= {"name": name, "state": "ok", "reason": "", "lane": "shared", "ticks": 9}
    known |= {"interval_s": 1.0, "configured_s": 1.0, "samples": 3, "samples_total": 27}
    return CollectorStatus(**(known | numbers))


def told(metrics: RunnerMetrics) -> dict[str, set[str]]:
    """Return what is told of each collector, without the common beginning of the names."""
    found: dict[str, set[str]] = {}
    for sample in metrics.collect():
        name = sample.series.instrument.name
        for value in sample.series.values or ("",):
            found.setdefault(value, set()).add(name.removeprefix("vedette.collector."))
    return found


def test_only_what_there_is_something_to_say_about_is_told_of_a_collector_and_then_for_good() -> (
    None
):
    states: list[CollectorStatus] = []
    metrics = RunnerMetrics(lambda: states)
    usual = {"cpu.time", "duration"}
    states[:] = [status_of("a"), status_of("b", state="resting"), status_of("c", ticks=0)]
    assert told(metrics) == {"a": usual}
    states[:] = [status_of("a", late=1, cut=7, interval_s=4.0), status_of("b", failures=2)]
    assert told(metrics) == {"a": usual | {"late", "cut", "interval"}, "b": usual | {"failures"}}
    states[:] = [status_of("a", late=1, cut=7), status_of("b", failures=2, state="resting")]
    assert told(metrics) == {"a": usual | {"late", "cut", "interval"}}


def test_the_most_that_can_be_told_is_bounded_and_is_all_that_is_declared() -> None:
    everything = dict.fromkeys(("late", "skipped", "failures", "invalid", "cut"), 1)
    statuses = [status_of(name, interval_s=2.0, **everything) for name in "abc"]
    metrics = RunnerMetrics(lambda: statuses, lambda: AgentCost(share=0.01, budget=0.02))
    samples = list(metrics.collect())
    assert len(samples) == len({sample.series for sample in samples})
    assert len(samples) == 3 * PER_COLLECTOR + OF_THE_AGENT
    assert {sample.series.instrument for sample in samples} == set(metrics.instruments())
    assert samples[0].value == 0.5


def test_a_delivery_that_raises_costs_a_tick_not_the_lane(caplog: pytest.LogCaptureFixture) -> None:
    got: queue.SimpleQueue[int] = queue.SimpleQueue()
    broken = [True]

    def deliver(frames: tuple[Frame, ...]) -> None:
        got.put(frames[0].tick_ns)
        if broken.pop() if broken else False:
            raise RuntimeError("queue gone")

    lanes = Lanes([Assignment(Scripted(), 1.0)], deliver, base_interval_s=1.0, max_series=10)
    for second in (1, 2):
        lanes.tick(S, T0 + second * S)
        assert got.get(timeout=10) == T0 + second * S
        while not lanes._own["scripted"].idle:
            time.sleep(0.001)
    assert "tick lost" in caplog.text
    lanes.stop(1)


@pytest.mark.parametrize(
    ("assignments", "why"),
    [
        ([Assignment(Scripted(), 1.5)], "no multiple"),
        ([Assignment(Scripted(), 0.0)], "no multiple"),
        ([Assignment(Scripted(), 1.0), Assignment(Shared(), 1.0)], "is taken"),
        ([Assignment(Scripted(), 1.0, name="vedette")], "is taken"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(assignments: list[Assignment], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Lanes(assignments, lambda _: None, base_interval_s=1.0, max_series=10)


def test_lanes_that_never_started_can_be_stopped() -> None:
    lanes = Lanes([Assignment(Scripted(), 1.0)], lambda _: None, base_interval_s=1, max_series=1)
    lanes.stop(0.1)


@pytest.mark.slow
def test_among_hanging_and_raising_ones_the_healthy_keep_every_tick() -> None:
    free = threading.Event()

    def hang() -> None:
        free.wait(60)

    def leave() -> None:
        raise SystemExit(1)

    def endless() -> Iterable[Sample]:
        while True:
            yield Scripted.value(1.0)

    endless_one = Scripted()
    endless_one.collect = endless  # type: ignore[method-assign]
    collectors: dict[str, Scripted] = {"endless": endless_one}
    for n in range(6):
        collectors |= {f"shared{n}": Shared(), f"own{n}": Scripted()}
        collectors |= {f"hung{n}": Scripted(hang), f"raising{n}": Scripted(leave)}
    collectors |= {"shared_hung1": Shared(hang), "shared_hung2": Shared(hang)}
    ticks: dict[str, list[int]] = {name: [] for name in collectors}

    def deliver(frames: tuple[Frame, ...]) -> None:
        for frame in frames:
            ticks.setdefault(frame.collector, []).append(frame.tick_ns)

    lanes = Lanes(
        [Assignment(one, 0.2, timeout_s=0.15, name=name) for name, one in collectors.items()],
        deliver,
        base_interval_s=0.2,
        max_series=10,
    )
    lanes.start()
    started = time.monotonic()
    while time.monotonic() - started < 6:
        time.sleep(0.1)
        lanes.look_after()
    started = time.monotonic()
    lanes.stop(1.0)
    assert time.monotonic() - started < 4
    free.set()
    states = {status.name: status.state for status in lanes.status()}
    healthy = Counter({name: len(ticks[name]) for name in states if name[:-1] in ("shared", "own")})
    steps = {b - a for name in healthy for a, b in zip(ticks[name], ticks[name][1:], strict=False)}
    # Own lanes lose nothing; the shared lane at most one tick for each that hung in it.
    assert len(healthy) == 12
    own = [healthy[f"own{n}"] for n in range(6)]
    assert min(own) >= 20, own  # of 30, on however busy a host
    assert min(healthy.values()) >= min(own) - 4, healthy
    assert all(step % (S // 5) == 0 and step > 0 for step in steps)
    assert {states[f"hung{n}"] for n in range(6)} <= {"stuck", "stopped"}
    assert states["shared_hung1"] in ("stuck", "stopped")
    assert not any(ticks[f"hung{n}"] or ticks[f"raising{n}"] for n in range(6))
