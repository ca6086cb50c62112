"""One collector's status machine, driven by hand with a clock of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vedette.api import Collector, NoConfig, Sample, Unavailable, gauge
from vedette.lanes.assignment import Assignment
from vedette.lanes.rota import Rota
from vedette.lanes.runner import FORGIVEN_AFTER, Runner, S
from vedette.worker import load_class

T0 = 1_700_000_000 * S


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.passed_ns = 0

    def wall(self) -> int:
        return T0 + self.passed_ns

    def monotonic(self) -> int:
        return 1000 * S + self.passed_ns

    def sleep(self, seconds: float) -> None:
        self.passed_ns += round(seconds * S)


class Scripted(Collector):
    """Does what the test says, and notes what was asked of it."""

    name = "scripted"
    interval_s = 1.0
    value = gauge("test.value", "1", "A value.")

    def __init__(self, clock: Clock) -> None:
        super().__init__(NoConfig())
        self.clock = clock
        self.behave: Callable[[], object] = lambda: None
        self.look: Callable[[], object] = lambda: None
        self.calls: list[str] = []

    def probe(self) -> None:
        self.calls.append("probe")
        self.look()

    def collect(self) -> Iterable[Sample]:
        self.calls.append("collect")
        self.behave()
        return [self.value(1.0)]

    def close(self) -> None:
        self.calls.append("close")


class Shared(Scripted):
    may_block = False


class Bench:
    """A runner, its collector and a second hand."""

    def __init__(self, kind: type[Scripted] = Scripted, **settings: Any) -> None:
        self.clock = Clock()
        self.collector = kind(self.clock)
        self.runner = Runner(
            Assignment(self.collector, settings.pop("interval_s", 1.0), **settings),
            max_series=10,
            clock_ns=self.clock.wall,
            monotonic_ns=self.clock.monotonic,
        )
        self.rota = Rota((self.runner,))

    def due(self, tick_ns: int) -> bool:
        return bool(self.rota.due(tick_ns, self.clock.monotonic()))

    def tick(self) -> bool:
        """Let a second pass; returns whether a frame came of it."""
        self.clock.sleep(1)
        now = self.clock.wall() // S * S
        return self.due(now) and self.runner.run(now) is not None

    def raising(self, error: BaseException) -> None:
        def behave() -> None:
            raise error

        self.collector.behave = behave

    def slow(self, seconds: float) -> None:
        self.collector.behave = lambda: self.clock.sleep(seconds)

    def well(self) -> None:
        self.collector.behave = lambda: None

    @property
    def state(self) -> tuple[str, str]:
        status = self.runner.status()
        return status.state, status.reason


def test_it_probes_once_then_collects_at_every_tick() -> None:
    bench = Bench()
    assert bench.state == ("starting", "")
    assert bench.tick()
    assert bench.tick()
    assert bench.collector.calls == ["probe", "collect", "collect"]
    status = bench.runner.status()
    assert (status.state, status.ticks, status.samples, status.samples_total) == ("ok", 2, 1, 2)
    assert status.since_ns == T0 + S


def test_a_frame_carries_the_scheduled_time_and_the_label() -> None:
    bench = Bench(name="scripted.one")
    bench.clock.sleep(1)
    frame = bench.runner.run(T0 + S)
    assert frame is not None
    assert (frame.collector, frame.tick_ns) == ("scripted.one", T0 + S)
    assert frame.read_ns == bench.clock.monotonic()


def test_it_is_due_at_multiples_of_its_interval_only() -> None:
    bench = Bench(interval_s=5.0)
    assert [second for second in range(11) if bench.due(T0 + second * S)] == [0, 5, 10]


def test_stretched_it_is_due_at_multiples_of_the_longer_interval_with_the_same_deadline() -> None:
    bench = Bench(interval_s=5.0)
    bench.runner.stretch = 4
    assert [second for second in range(61) if bench.due(T0 + second * S)] == [0, 20, 40, 60]
    assert bench.runner.timeout_ns == 2.5 * S
    status = bench.runner.status()
    assert (status.interval_s, status.configured_s) == (20.0, 5.0)


def test_a_multiple_that_was_slept_over_is_made_up_for_once() -> None:
    bench = Bench(interval_s=5.0)
    seconds = [0, 1, 4, 7, 8, 9, 10, 16, 17, 20]  # the schedule came late to 5 and to 15
    assert [second for second in seconds if bench.due(T0 + second * S)] == [0, 7, 10, 16, 20]


def test_an_absent_source_rests_and_is_probed_after_one_minute_then_two() -> None:
    bench = Bench()

    def absent() -> None:
        raise Unavailable("no NVIDIA driver")

    bench.collector.look = absent
    probes = []
    for second in range(1, 400):
        bench.tick()
        if len(bench.collector.calls) > len(probes):
            probes.append(second)
    assert bench.state == ("resting", "no NVIDIA driver")
    assert probes == [1, 61, 181]
    assert bench.runner.status().failures == 0


def test_it_is_parked_while_it_waits_for_a_probe_only() -> None:
    bench = Bench()
    assert not bench.runner.parked  # the first look is due at once
    bench.collector.look = lambda: (_ for _ in ()).throw(Unavailable("not yet"))
    bench.tick()
    assert bench.runner.parked
    bench.collector.look = lambda: None
    bench.clock.sleep(60)
    assert bench.tick()
    assert not bench.runner.parked
    bench.raising(OSError("gone"))
    for _ in range(10):
        bench.tick()
    assert not bench.runner.parked  # failing, but what it opened is still its own


def test_probing_never_slows_below_once_an_hour() -> None:
    bench = Bench()

    def absent() -> None:
        raise Unavailable("nothing")

    bench.collector.look = absent
    for _ in range(40):
        bench.clock.sleep(3600)
        bench.tick()
    assert len(bench.collector.calls) == 40


def test_a_source_that_comes_is_collected_at_once_and_that_goes_rests_again() -> None:
    bench = Bench()
    bench.collector.look = lambda: (_ for _ in ()).throw(Unavailable("not yet"))
    assert not bench.tick()
    bench.collector.look = lambda: None
    bench.clock.sleep(60)
    assert bench.tick()
    assert bench.state == ("ok", "")
    bench.raising(Unavailable("unplugged"))
    assert not bench.tick()
    assert bench.state == ("resting", "unplugged")
    bench.well()
    assert not any(bench.tick() for _ in range(58))
    bench.clock.sleep(2)
    assert bench.tick()
    assert bench.collector.calls[-2:] == ["probe", "collect"]


def test_a_worker_ends_while_the_source_is_gone(tmp_path: Path) -> None:
    plugin = tmp_path / "foreign.py"
    plugin.write_text(
        "from vedette.api import Collector, Unavailable\n"
        "class Foreign(Collector):\n"
        "    name = 'foreign'\n"
        "    def collect(self):\n"
        "        raise Unavailable('unplugged')\n"
    )
    kind = load_class(str(plugin), "Foreign")
    assignment = Assignment(
        kind(NoConfig()), 1.0, timeout_s=20.0, isolation="process", origin=str(plugin)
    )
    runner = Runner(assignment, max_series=10)
    try:
        assert runner.run(T0) is None
        assert runner.status().state == "resting"
        assert runner._remote is not None
        assert (runner._remote.starts, runner._remote.alive) == (1, False)
        assert runner.worker_ns > 0
    finally:
        runner.close()


def test_a_probe_that_breaks_is_failing_and_tried_again_slowly() -> None:
    bench = Bench()
    bench.collector.look = lambda: 1 // 0
    bench.tick()
    assert bench.state[0] == "failing"
    assert bench.state[1].startswith("probe: ZeroDivisionError")
    assert not any(bench.tick() for _ in range(50))
    assert bench.collector.calls == ["probe"]
    bench.collector.look = lambda: None
    bench.clock.sleep(10)
    assert bench.tick()
    assert bench.state == ("ok", "")


def test_two_exceptions_are_counted_and_the_third_is_failing() -> None:
    bench = Bench()
    bench.tick()
    bench.raising(ValueError("bad line\nsecret second line"))
    bench.tick()
    bench.tick()
    assert bench.state[0] == "ok"
    bench.tick()
    assert bench.state == ("failing", "ValueError: bad line")
    assert bench.runner.status().failures == 3


def test_a_failing_collector_is_tried_ever_more_slowly_up_to_five_minutes() -> None:
    bench = Bench()
    bench.raising(OSError("gone"))
    tries = []
    for second in range(1, 2000):
        before = bench.runner.status().ticks
        bench.tick()
        if bench.runner.status().ticks > before:
            tries.append(second)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[:9] == [1, 1, 2, 4, 8, 16, 32, 64, 128]
    assert set(gaps[10:]) == {300}


def test_one_good_tick_makes_it_ok_again_at_full_pace() -> None:
    bench = Bench()
    bench.raising(OSError("gone"))
    for _ in range(60):
        bench.tick()
    bench.well()
    while not bench.tick():
        pass
    assert bench.state == ("ok", "")
    assert all(bench.tick() for _ in range(5))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_even_what_ends_programs_ends_only_a_tick(error: BaseException) -> None:
    bench = Bench()
    bench.raising(error)
    assert not bench.tick()
    assert bench.runner.status().failures == 1


def test_a_late_result_is_dropped_and_counted() -> None:
    bench = Bench()
    bench.tick()
    bench.slow(0.6)  # the deadline is half the interval
    assert not bench.tick()
    status = bench.runner.status()
    assert (status.late, status.state) == (1, "ok")
    bench.slow(0.4)
    assert bench.tick()


def test_three_late_ticks_in_a_row_are_stuck_and_slow_down() -> None:
    bench = Bench()
    bench.slow(0.6)
    for _ in range(3):
        bench.tick()
    assert bench.state == ("stuck", "over its deadline of 0.5 s")
    before = bench.runner.status().ticks
    for _ in range(14):
        bench.tick()
    assert bench.runner.status().ticks - before == 3  # after 2, 4 and 8 s
    bench.well()
    for _ in range(16):
        bench.tick()
    assert bench.state == ("ok", "")


def test_a_timeout_of_its_own_is_the_deadline() -> None:
    bench = Bench(timeout_s=0.9)
    bench.slow(0.8)
    assert bench.tick()

    class Patient(Scripted):
        timeout_s = 0.7

    patient = Bench(Patient)
    patient.slow(0.6)
    assert patient.tick()
    patient.slow(0.8)
    assert not patient.tick()


def test_in_the_shared_lane_the_deadline_is_short_and_three_overruns_are_too_many() -> None:
    bench = Bench(Shared)
    bench.slow(0.2)
    for _ in range(2):
        assert not bench.tick()
    assert not bench.runner.overstays
    bench.tick()
    assert bench.runner.overstays
    bench.runner.move_to("scripted")
    assert not bench.runner.overstays
    assert bench.tick()  # half a second now, and no pause
    assert bench.runner.status().lane == "scripted"


def test_overruns_long_ago_are_forgiven() -> None:
    bench = Bench(Shared)
    for _ in range(4):
        bench.slow(0.2)
        bench.tick()
        bench.well()
        for _ in range(FORGIVEN_AFTER):
            bench.tick()
    assert not bench.runner.overstays


def hang(bench: Bench) -> tuple[threading.Thread, threading.Event]:
    """Let the next tick hang in a thread; returns that and what ends it."""
    inside, free = threading.Event(), threading.Event()

    def behave() -> None:
        inside.set()
        free.wait(30)

    bench.collector.behave = behave
    thread = threading.Thread(target=bench.tick, daemon=True)
    thread.start()
    assert inside.wait(10)
    return thread, free


def test_a_call_that_hangs_is_late_then_stuck_since_it_began() -> None:
    bench = Bench()
    bench.tick()
    thread, free = hang(bench)
    assert not bench.runner.watch()
    bench.clock.sleep(0.6)
    assert bench.runner.watch()
    assert bench.runner.status().late == 1
    assert bench.state[0] == "ok"
    bench.clock.sleep(1.0)
    assert bench.runner.watch()
    assert bench.state == ("stuck", "collect() has not returned")
    assert bench.runner.status().since_ns == T0 + 2 * S
    assert bench.runner.status().late == 1
    free.set()
    thread.join(10)
    assert not bench.runner.watch()
    assert bench.runner.status().late == 1
    bench.well()
    assert not bench.tick()  # tried again only after a pause
    bench.clock.sleep(2)
    assert bench.tick()
    assert bench.state == ("ok", "")


def test_invalid_duplicate_and_cut_readings_are_counted_and_the_cut_is_said() -> None:
    bench = Bench()
    value = Scripted.value
    bench.collector.collect = lambda: [value(1.0), value(2.0), value(float("inf"))]  # type: ignore[method-assign]
    assert bench.tick()
    assert bench.runner.status().invalid == 2

    class Many(Scripted):
        row = gauge("test.row", "1", "Rows.", ["row"])

        def collect(self) -> Iterable[Sample]:
            return [self.row(0.0, str(n)) for n in range(11)]

    many = Bench(Many)
    assert many.tick()
    assert many.state == ("ok", "more than 10 series: the rest was cut off")
    assert many.runner.status().samples == 10
    assert (many.runner.status().cut, many.runner.status().invalid) == (1, 0)


def test_a_change_is_logged_once_and_once_when_it_changes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    with caplog.at_level(logging.INFO, logger="vedette.lanes.runner"):
        bench.tick()
        bench.raising(OSError("gone"))
        for _ in range(200):
            bench.tick()
        bench.well()
        for _ in range(300):
            bench.tick()
    assert [record.getMessage() for record in caplog.records] == [
        "collector=scripted state=ok reason=''",
        "collector=scripted state=failing reason='OSError: gone'",
        "collector=scripted state=ok reason=''",
    ]


def test_it_wants_a_reading_off_schedule_when_well_idle_and_not_fresh() -> None:
    bench = Bench()
    assert not bench.runner.wants(T0, S)  # never read
    bench.tick()
    assert not bench.runner.wants(T0 + S, S)
    bench.clock.sleep(1.5)
    assert bench.runner.wants(T0 + 2 * S, S)
    assert not bench.runner.wants(T0 + S, S)  # that tick is there already


def test_closing_stops_it_even_when_close_fails(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.tick()
    bench.collector.close = lambda: 1 // 0  # type: ignore[assignment, return-value]
    bench.runner.close()
    assert bench.state == ("stopped", "")
    assert "close failed reason=ZeroDivisionError" in caplog.text
