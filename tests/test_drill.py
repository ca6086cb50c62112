"""A drill: what is said of the agent's answer, and what the verb does with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette.api import Incident, Suspect
from vedette.commands.drill import drill
from vedette.control import ControlServer
from vedette.drills.faults import FAULTS, family_of
from vedette.drills.load import Load
from vedette.drills.plan import Drill, Refused
from vedette.drills.task import MIB
from vedette.drills.watch import Outcome, watch
from vedette.terminal import CommandError

sys.path.insert(0, str(Path(__file__).parent))
from drill_cases import Clock, FakeLoad, S, WrongUsageError, incident, options


def drilled(
    timeline: Callable[[float], Sequence[Incident]], *, wait: bool = True, name: str = "cpu"
) -> tuple[Outcome, float]:
    """Run a drill of 10 s against an agent that knows these incidents at each second."""
    clock = Clock()
    load = FakeLoad(clock, name=name)
    outcome = watch(
        load, lambda: timeline(clock.now_s), wait=wait, clock_ns=clock.ns, sleep=clock.sleep
    )
    assert load.stopped
    return outcome, clock.now_s


# ---------------------------------------------------------------- the faults there are


def test_every_fault_has_a_process_name_the_kernel_keeps_whole() -> None:
    for name, fault in FAULTS.items():
        assert fault.name == name
        assert fault.comm == f"drill-{name}"
        assert len(fault.comm) <= 15


@pytest.mark.parametrize(
    ("series", "family"),
    [
        ("system.cpu.utilization{cpu.mode=user}", "cpu"),
        ("system.cpu.utilization{cpu.mode=iowait}", "disk"),
        ("system.paging.operations{system.paging.type=major}", "memory"),
        ("vedette.tcp.retransmits", "network"),
        (
            "vedette.pressure.time{vedette.pressure.resource=io,vedette.pressure.kind=full}",
            "disk",
        ),
        ("vedette.pressure.time{vedette.pressure.resource=memory}", "memory"),
        ("vedette.filesystem.inodes.utilization{system.filesystem.mountpoint=/}", "filesystem"),
        ("process.cpu.utilization{process.executable.name=x}", "process"),
        ("alone", "alone"),
        ("", ""),
    ],
)
def test_the_family_of_a_series_is_read_from_its_name(series: str, family: str) -> None:
    assert family_of(series) == family


# ---------------------------------------------------------------- the watching


def test_a_load_noticed_as_one_incident_that_resolves_is_a_success() -> None:
    def timeline(now: float) -> list[Incident]:
        if now < 6:
            return []
        return [incident("a", 6, resolved_s=20 if now >= 20 else None)]

    outcome, took = drilled(timeline)
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
    suspect = Suspect("process", "drill-network", "1", 0.9, "90 %")
    found = incident("a", 5, suspects=(suspect,))
    outcome, _ = drilled(lambda now: [found] if now >= 5 else [], wait=False, name="network")
    assert outcome.exactly_one


def test_the_time_of_a_fault_with_a_lead_is_counted_from_its_beginning() -> None:
    lead_s = FAULTS["stuck"].lead_s
    clock = Clock()
    load = FakeLoad(clock, name="stuck")
    seen: list[float] = []
    early = incident("early", lead_s - 5, resource="process")
    late = incident("late", lead_s + 4, resource="process")

    def known() -> list[Incident]:
        return [one for one in (early, late) if one.opened_ns <= clock.ns()]

    outcome = watch(
        load,
        known,
        wait=False,
        progress=lambda seconds, outcome: seen.append(seconds),
        clock_ns=clock.ns,
        sleep=clock.sleep,
    )
    assert load.began_s == lead_s
    assert seen[0] == -lead_s
    assert outcome.incidents == (late,)
    assert outcome.noticed_s == 4
    assert clock.now_s == lead_s + 10


def test_a_load_that_fails_is_an_error_not_an_unnoticed_drill(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="ended early: disk:"):
        watch(Load(Drill("disk", 5, MIB, "", MIB, str(tmp_path / "gone"))), list)


def test_the_outcome_is_plain_json() -> None:
    outcome, _ = drilled(lambda now: [incident("a", 5)] if now >= 5 else [], wait=False)
    assert msgspec.json.decode(msgspec.json.encode(outcome))["incident"]["id"] == "a"


# ---------------------------------------------------------------- the verb


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose agent tells of an incident two seconds after its first look."""
    began = time.time_ns()

    def incidents(_request: dict[str, Any]) -> dict[str, Any]:
        now = time.time_ns()
        if now < began + 2 * S:
            return {"incidents": []}
        told = incident("a", 0, suspects=(Suspect("process", "drill-files", "1", 0.9, "90 %"),))
        told = msgspec.structs.replace(told, opened_ns=began + 2 * S, resource="kernel")
        return {"incidents": [msgspec.to_builtins(told)]}

    status = {"uptime_s": 60.0, "learning": 0.5, "incidents_open": 1, "version": "1"}
    server = ControlServer(tmp_path, {"status": lambda _: status, "incidents": incidents})
    server.start()
    yield tmp_path
    server.stop()


def test_the_drill_says_what_it_will_do_and_what_was_noticed(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drill(options(agent, "files")) == 0
    said = capsys.readouterr().out
    assert "load      100 files a second opened and not closed" in said
    assert "for 5 s" in said
    assert "process   drill-files, ends with this command" in said
    assert "50% of its series are still learning" in said
    assert "incidents open already: 1" in said
    assert "noticed after 2." in said or "noticed after 1." in said
    assert "process drill-files (1)" in said


def test_a_drill_for_which_there_is_no_room_is_refused(agent: Path) -> None:
    with pytest.raises(CommandError, match="no log file was named"):
        drill(options(agent, "log"))
    with pytest.raises(CommandError, match="cannot write in"):
        drill(options(agent, "disk", path=agent / "missing"))


def test_a_drill_without_an_agent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nothing to drill: no agent is running"):
        drill(options(tmp_path, "cpu"))


@pytest.mark.parametrize(
    ("names", "changes", "why"),
    [
        ((), {}, "name one drill"),
        (("cpu", "memory"), {}, "name one drill"),
        (("gpu",), {}, "there is no drill 'gpu'; there are cpu,"),
        (("cpu",), {"duration": "9999s"}, "--for: 9999s is not between 5s and 10m"),
        (("cpu",), {"duration": "long"}, "--for: 'long' is no duration"),
        (("cpu",), {"series": True, "gap": "9s..1s"}, "--gap: 9s..1s is no span"),
        (("cpu",), {"series": True, "gap": "soon"}, "--gap: 'soon' is no duration"),
        (("gpu",), {"series": True}, "there is no drill 'gpu'"),
    ],
)
def test_wrong_usage_is_told(
    tmp_path: Path, names: tuple[str, ...], changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(WrongUsageError, match=why.replace("'", ".")):
        drill(options(tmp_path, *names, **changes))


def test_the_list_has_every_drill_and_needs_no_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    assert drill(options(tmp_path, list=True, json=True)) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["drills"]}
    assert set(listed) == set(FAULTS)
    assert listed["cpu"]["state"] == "ready"
    assert listed["log"] == {
        "name": "log",
        "about": "errors written to a log file",
        "state": "refused",
        "text": "no log file was named: --log FILE",
    }
    assert drill(options(tmp_path, list=True)) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1 + len(FAULTS)
    assert shown[1].split()[:2] == ["cpu", "ready"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drill_that_is_interrupted_leaves_nothing(agent: Path, number: int) -> None:
    program = (
        "import signal, sys; sys.path.insert(0, sys.argv[2])\n"
        # Whoever runs in the background may have been told to ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path; from drill_cases import options; import vedette.cli as cli\n"
        "import vedette.commands.drill as verb\n"
        "class Parser:\n"
        "  def parse_args(self, _):\n"
        "    given = options(Path(sys.argv[1]), 'inodes', path=Path(sys.argv[1]))\n"
        "    given.verb = 'vedette.commands.drill:drill'; return given\n"
        "cli.parser = Parser\n"
        "sys.exit(cli.main([]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(agent), str(Path(__file__).parent)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80"},
    )
    deadline = time.monotonic() + 20
    while not list(agent.glob(".vedette-drill-*/*")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(40) == 130  # a busy disk takes its time to remove what was made
    assert process.stderr is not None
    process.stderr.close()
    assert list(agent.glob(".vedette-drill-*")) == []
