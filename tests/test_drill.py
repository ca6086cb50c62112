"""Drills: how large a load may be, that it ends, and what is said of the agent's answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import psutil
import pytest

from vedette.api import Incident, Suspect
from vedette.drill import (
    GIB,
    MIB,
    Drill,
    Load,
    Outcome,
    Refused,
    available_memory,
    disk_amount,
    filesystem,
    memory_amount,
    plan,
    watch,
)

S = 1_000_000_000
#: A moment to begin at, so that seconds read well.
BEGAN = 1_800_000_000 * S


def incident(
    id: str,
    opened_s: float,
    *,
    resource: str = "cpu",
    resolved_s: float | None = None,
    suspects: tuple[Suspect, ...] = (),
) -> Incident:
    opened = BEGAN + int(opened_s * S)
    return Incident(
        id=id,
        state="open" if resolved_s is None else "resolved",
        severity="warning",
        resource=resource,
        title=f"{resource} is unusually busy",
        onset_ns=opened - 3 * S,
        opened_ns=opened,
        updated_ns=opened,
        resolved_ns=None if resolved_s is None else BEGAN + int(resolved_s * S),
        series=(f"system.{resource}.something",),
        suspects=suspects,
    )


class FakeLoad(Load):
    """A load that lasts by the test's clock and starts no process."""

    def __init__(self, clock: Clock, seconds: float = 10, resource: str = "cpu") -> None:
        super().__init__(Drill(resource, seconds, 1, ""))  # type: ignore[arg-type]
        self.clock = clock
        self.stopped = False

    def _start(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True

    def running(self) -> bool:
        return self.clock.now_s < self.drill.seconds


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def ns(self) -> int:
        return BEGAN + int(self.now_s * S)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def drilled(
    timeline: Callable[[float], Sequence[Incident]], *, wait: bool = True, resource: str = "cpu"
) -> tuple[Outcome, float]:
    """Run a drill of 10 s against an agent that knows these incidents at each second."""
    clock = Clock()
    load = FakeLoad(clock, resource=resource)
    outcome = watch(
        load, lambda: timeline(clock.now_s), wait=wait, clock_ns=clock.ns, sleep=clock.sleep
    )
    assert load.stopped
    return outcome, clock.now_s


# ---------------------------------------------------------------- how much


def test_a_memory_drill_takes_a_quarter_up_to_four_gib() -> None:
    assert memory_amount(2 * GIB) == GIB // 2
    assert memory_amount(100 * GIB) == 4 * GIB


def test_a_memory_drill_is_refused_when_less_than_a_gib_is_available() -> None:
    with pytest.raises(Refused, match="only 1000 MiB"):
        memory_amount(1000 * MIB)


def test_a_disk_drill_takes_a_twentieth_of_the_free_space_up_to_a_gib() -> None:
    assert disk_amount(10 * GIB, 20 * GIB) == GIB // 2
    assert disk_amount(500 * GIB, 1000 * GIB) == GIB


@pytest.mark.parametrize(("free", "total"), [(1.9 * GIB, 4 * GIB), (14 * GIB, 100 * GIB)])
def test_a_disk_drill_is_refused_on_a_full_disk(free: float, total: float) -> None:
    with pytest.raises(Refused, match="15 %"):
        disk_amount(int(free), int(total))


def test_a_disk_drill_in_memory_or_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot write"):
        plan("disk", 5, tmp_path / "missing")
    device = os.stat(tmp_path).st_dev
    line = f"22 1 {os.major(device)}:{os.minor(device)} / /x rw shared:1 - tmpfs tmpfs rw\n"
    assert filesystem(tmp_path, "21 1 0:3 / /proc rw - proc proc rw\n" + line) == "tmpfs"
    assert filesystem(tmp_path, "") == ""


def test_the_cpu_drill_has_a_process_for_every_core_it_may_use() -> None:
    assert plan("cpu", 5, Path()).amount == len(os.sched_getaffinity(0))


def test_available_memory_is_within_what_the_host_has() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total


# ---------------------------------------------------------------- the load


def processes(load: Load) -> list[psutil.Process]:
    return [psutil.Process(child.pid) for child in load.children]


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def comm(process: psutil.Process) -> str:
    return Path(f"/proc/{process.pid}/comm").read_text("ascii").strip()


def ended(load: Load) -> bool:
    return until(lambda: not load.running()) and load.failure() == ""


def test_a_cpu_load_is_named_recognisably_and_ends_by_itself() -> None:
    with Load(Drill("cpu", 0.4, 2, "")) as load:
        assert until(lambda: all(comm(one) == "vedette-drill" for one in processes(load)))
        assert ended(load)


def test_a_memory_load_touches_what_it_says_and_no_more() -> None:
    amount = 96 * MIB
    with Load(Drill("memory", 3, amount, "")) as load:
        (process,) = processes(load)
        assert until(lambda: process.memory_info().rss >= amount)
        assert process.memory_info().rss < amount + 64 * MIB


def test_a_memory_load_ends_by_itself() -> None:
    with Load(Drill("memory", 0.2, 4 * MIB, "")) as load:
        assert ended(load)


def test_a_disk_load_writes_and_leaves_no_file_even_when_killed(tmp_path: Path) -> None:
    with Load(Drill("disk", 30, 8 * MIB, "", str(tmp_path))) as load:
        (process,) = processes(load)
        assert until(lambda: process.io_counters().write_bytes > 0 or not load.running())
        assert load.failure() == ""
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_disk_load_without_room_says_why(tmp_path: Path) -> None:
    with Load(Drill("disk", 5, MIB, "", str(tmp_path / "gone"))) as load:
        assert until(lambda: not load.running())
        assert "disk:" in load.failure()


def test_a_network_load_flows_over_loopback_alone() -> None:
    def flown() -> int:
        return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)

    before = flown()
    with Load(Drill("network", 30, 0, "")) as load:
        assert until(lambda: flown() - before > 20 * MIB)
        for process in processes(load):
            assert {c.laddr.ip for c in process.net_connections()} == {"127.0.0.1"}


def test_a_network_load_ends_by_itself() -> None:
    with Load(Drill("network", 0.3, 0, "")) as load:
        assert ended(load)


def test_nothing_runs_on_after_the_drill_was_left() -> None:
    with Load(Drill("cpu", 60, 1, "")) as load:
        pids = [child.pid for child in load.children]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    load.stop()


def test_a_load_ends_with_its_parent_however_that_dies() -> None:
    program = (
        "import sys, time; from vedette.drill import *\n"
        "with Load(Drill('cpu', 60, 1, '')) as load:\n"
        "  print(load.children[0].pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert until(lambda: comm(child) == "vedette-drill")
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    assert until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


# ---------------------------------------------------------------- the watching


def test_a_load_noticed_as_one_incident_that_resolves_is_a_success() -> None:
    def timeline(now: float) -> Iterator[Incident] | list[Incident]:
        if now < 6:
            return []
        return [incident("a", 6, resolved_s=20 if now >= 20 else None)]

    outcome, took = drilled(timeline)  # type: ignore[arg-type]
    assert outcome.exactly_one
    assert (outcome.noticed_s, outcome.onset_s, outcome.resolved_s) == (6, 3, 20)
    assert took == 20


def test_a_load_nobody_notices_ends_thirty_seconds_after_it() -> None:
    outcome, took = drilled(lambda now: [])
    assert outcome.incident is None
    assert not outcome.exactly_one
    assert took == 40


def test_an_incident_of_before_does_not_count() -> None:
    outcome, _ = drilled(lambda now: [incident("old", -100)])
    assert outcome.incidents == ()


def test_an_incident_late_but_within_thirty_seconds_counts() -> None:
    outcome, _ = drilled(lambda now: [incident("a", 35)] if now >= 35 else [], wait=False)
    assert outcome.noticed_s == 35


def test_an_incident_that_stays_open_is_given_two_minutes() -> None:
    outcome, took = drilled(lambda now: [incident("a", 5)] if now >= 5 else [])
    assert outcome.exactly_one
    assert outcome.resolved_s is None
    assert took == 130


def test_without_waiting_the_drill_ends_with_the_load() -> None:
    outcome, took = drilled(lambda now: [incident("a", 5)] if now >= 5 else [], wait=False)
    assert outcome.noticed_s == 5
    assert took == 10


def test_two_incidents_for_one_load_are_not_a_success() -> None:
    def timeline(now: float) -> list[Incident]:
        both = [incident("b", 7, resource="load"), incident("a", 5)]
        return both if now >= 7 else []

    outcome, _ = drilled(timeline, wait=False)
    assert outcome.incident is not None
    assert outcome.incident.id == "a"
    assert [one.id for one in outcome.incidents] == ["a", "b"]
    assert not outcome.exactly_one


def test_an_incident_about_something_else_is_not_the_drill_noticed() -> None:
    outcome, _ = drilled(lambda now: [incident("a", 5, resource="disk")] if now >= 5 else [])
    assert outcome.incident is None
    assert len(outcome.incidents) == 1


def test_an_incident_that_suspects_the_drill_is_the_drill_noticed() -> None:
    suspect = Suspect("process", "vedette-drill", "1", 0.9, "90 %")
    found = incident("a", 5, suspects=(suspect,))
    outcome, _ = drilled(lambda now: [found] if now >= 5 else [], wait=False, resource="network")
    assert outcome.exactly_one


def test_a_load_that_fails_is_an_error_not_an_unnoticed_drill(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="ended early: disk:"):
        watch(Load(Drill("disk", 5, MIB, "", str(tmp_path / "gone"))), list)


def test_the_outcome_is_plain_json() -> None:
    outcome, _ = drilled(lambda now: [incident("a", 5)] if now >= 5 else [], wait=False)
    assert msgspec.json.decode(msgspec.json.encode(outcome))["incident"]["id"] == "a"
