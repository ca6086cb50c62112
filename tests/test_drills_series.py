"""A series of drills: its order, what is kept of it, and that it can be broken off."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psutil
import pytest

from vedette.api import Incident, Suspect
from vedette.commands.drill import drill
from vedette.control import ControlServer
from vedette.drills.faults import FAULTS
from vedette.drills.plan import Drill, Place
from vedette.drills.score import AFTERMATH_S
from vedette.drills.series import Record, Series, Step, length_s, schedule
from vedette.terminal import CommandError

sys.path.insert(0, str(Path(__file__).parent))
from drill_cases import BEGAN, Clock, FakeLoad, S, incident, options

NAMES = ("cpu", "memory", "disk", "network", "forks")


def drawn(seed: int = 1, **changes: Any) -> tuple[Step, ...]:
    given: dict[str, Any] = {"repeat": 4, "gap_s": (60.0, 110.0), "seconds": 50.0}
    return schedule(NAMES, chance=Random(seed), **{**given, **changes})


# ---------------------------------------------------------------- the order


def test_every_fault_comes_as_often_as_it_should_and_never_twice_in_a_row() -> None:
    for seed in range(50):
        steps = drawn(seed)
        assert Counter(name for step in steps for name in step.names) == dict.fromkeys(NAMES, 4)
        assert all(before.names != after.names for before, after in pairwise(steps))
        assert {frozenset(s.names[0] for s in steps[i : i + 5]) for i in range(0, 20, 5)} == {
            frozenset(NAMES)
        }


def test_a_seed_draws_the_same_series_again_and_another_one_another() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_gaps_are_spread_over_their_span() -> None:
    gaps = [step.gap_s for seed in range(20) for step in drawn(seed)]
    assert min(gaps) >= 60
    assert max(gaps) <= 110
    assert 80 < sum(gaps) / len(gaps) < 90
    assert all(step.gap_s == 70 for step in drawn(gap_s=(70, 70)))


def test_pairs_are_of_two_different_faults_and_leave_none_out() -> None:
    for seed in range(50):
        steps = drawn(seed, pairs=True)
        assert len(steps) == 4 * 3
        for step in steps:
            assert len(set(step.names)) == 2
        assert {name for step in steps[:3] for name in step.names} == set(NAMES)
    with pytest.raises(ValueError, match="two different drills"):
        schedule(("cpu",), repeat=1, gap_s=(1, 1), seconds=5, chance=Random(1), pairs=True)


def test_one_fault_alone_may_follow_itself() -> None:
    steps = schedule(("cpu",), repeat=3, gap_s=(1, 1), seconds=5, chance=Random(1))
    assert [step.names for step in steps] == [("cpu",)] * 3


def test_the_length_of_a_series_is_known_before() -> None:
    steps = (Step(("cpu",), 10, 50), Step(("disk",), 20, 50))
    assert length_s(steps) == 130 + AFTERMATH_S


# ---------------------------------------------------------------- a series, on a clock of its own


class Loads:
    """Makes loads that last by the test's clock, and remembers them."""

    def __init__(self, clock: Clock, failing: str = "") -> None:
        self.clock = clock
        self.failing = failing
        self.made: list[FakeLoad] = []
        self.log: list[tuple[float, str, str]] = []

    def __call__(self, planned: Drill, lasts_s: float | None) -> FakeLoad:
        loads = self

        class Load(FakeLoad):
            def _start(self) -> None:
                loads.log.append((self.clock.now_s, "start", planned.name))

            def begin(self) -> None:
                loads.log.append((self.clock.now_s, "begin", planned.name))

            def end(self) -> None:
                loads.log.append((self.clock.now_s, "end", planned.name))

            def stop(self) -> None:
                loads.log.append((self.clock.now_s, "stop", planned.name))

            def failure(self) -> str:
                return "no more disk" if planned.name == loads.failing else ""

        made = Load(self.clock, planned.seconds, planned.name)
        self.made.append(made)
        return made


def run(
    steps: Sequence[Step],
    timeline: Callable[[float], Sequence[Incident] | None] = lambda now: (),
    *,
    failing: str = "",
    stop_s: float = 1e9,
    place: Path = Path("/"),
) -> tuple[Record, Loads, Clock]:
    clock = Clock()
    loads = Loads(clock, failing)
    series = Series(
        steps,
        Place(place),
        lambda: timeline(clock.now_s),
        stopped=lambda: clock.now_s >= stop_s,
        load=loads,
        clock_ns=clock.ns,
        sleep=clock.sleep,
    )
    return series.run(), loads, clock


def times(record: Record) -> list[tuple[tuple[str, ...], float, float]]:
    return [
        (one.names, (one.start_ns - BEGAN) / S, (one.end_ns - BEGAN) / S)
        for one in record.injections
    ]


def test_faults_come_after_their_gaps_and_a_minute_is_watched_at_the_end() -> None:
    record, loads, clock = run((Step(("cpu",), 60, 50), Step(("forks",), 70, 40)))
    assert times(record) == [(("cpu",), 60, 110), (("forks",), 180, 220)]
    assert clock.now_s == 280
    assert (record.began_ns, record.ended_ns) == (BEGAN, BEGAN + 280 * S)
    assert loads.log == [
        (60, "start", "cpu"),
        (110, "stop", "cpu"),
        (180, "start", "forks"),
        (220, "stop", "forks"),
    ]
    assert record.ended == ""


def test_what_has_a_lead_works_from_the_beginning_and_is_spoilt_in_its_turn() -> None:
    _, loads, _ = run((Step(("cpu",), 60, 50), Step(("stuck",), 60, 50)))
    assert loads.log == [
        (0, "start", "stuck"),
        (60, "start", "cpu"),
        (110, "stop", "cpu"),
        (170, "begin", "stuck"),
        (220, "end", "stuck"),
        (280, "stop", "stuck"),
    ]


def test_two_at_once_begin_and_end_together() -> None:
    record, loads, _ = run((Step(("cpu", "stuck"), 60, 50),))
    assert times(record) == [(("cpu", "stuck"), 60, 110)]
    assert (60, "start", "cpu") in loads.log
    assert (60, "begin", "stuck") in loads.log


def test_an_incident_is_kept_as_first_told_and_as_last_seen() -> None:
    first = incident("a", 65)
    then = msgspec.structs.replace(first, severity="critical")

    def timeline(now: float) -> list[Incident]:
        return [incident("old", -10), *([] if now < 65 else [first] if now < 80 else [then])]

    record, _, _ = run((Step(("cpu",), 60, 50),), timeline)
    assert record.incidents == {"a": first}
    assert record.last["a"] == then


def test_a_fault_without_room_is_left_out_with_the_reason(tmp_path: Path) -> None:
    record, loads, _ = run((Step(("log",), 60, 50), Step(("cpu", "log"), 60, 50)), place=tmp_path)
    assert [one.name for one in record.skipped] == ["log", "log"]
    assert "no log file was named" in record.skipped[0].reason
    assert [one.names for one in record.injections] == [("cpu",)]
    assert len(loads.made) == 1


def test_a_fault_that_fails_counts_for_nothing_but_its_time_is_known() -> None:
    record, _, _ = run((Step(("cpu",), 60, 50), Step(("forks",), 60, 50)), failing="cpu")
    assert times(record) == [((), 60, 110), (("forks",), 170, 220)]
    assert [(one.name, one.reason) for one in record.skipped] == [("cpu", "no more disk")]


def test_a_series_that_is_broken_off_has_kept_what_was_done() -> None:
    steps = (Step(("cpu",), 60, 50), Step(("forks",), 60, 50), Step(("cpu",), 60, 50))
    record, loads, clock = run(steps, stop_s=180)
    assert record.ended == "interrupted"
    assert times(record) == [(("cpu",), 60, 110), ((), 170, 180)]
    assert loads.log[-1] == (180, "stop", "forks")
    assert clock.now_s == 180


def test_an_agent_that_is_silent_for_a_minute_ends_the_series() -> None:
    record, _, clock = run((Step(("cpu",), 600, 50),), lambda now: None if now > 100 else ())
    assert "gave no answer" in record.ended
    assert 160 < clock.now_s < 165


def test_an_agent_that_is_silent_for_a_while_only_does_not() -> None:
    record, _, _ = run((Step(("cpu",), 60, 50),), lambda now: None if 60 < now < 110 else ())
    assert record.ended == ""


# ---------------------------------------------------------------- the verb


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose agent finds every drill that opens files, half a second after it."""
    found: list[Incident] = []
    before = {child.pid for child in psutil.Process().children()}

    def incidents(_request: dict[str, Any]) -> dict[str, Any]:
        # A child of this process: other tests, side by side, run drills of this name as well.
        own = [child for child in psutil.Process().children() if child.pid not in before]
        if not found and any(_name(child) == "drill-files" for child in own):
            suspect = Suspect("process", "drill-files", "1", 0.9, "")
            told = incident("a", 0, resource="kernel", suspects=(suspect,))
            found.append(msgspec.structs.replace(told, opened_ns=time.time_ns()))
        return {"incidents": [msgspec.to_builtins(one) for one in found]}

    status = {"version": "1", "uptime_s": 4000.0, "learning": 0.0, "series": 400}
    server = ControlServer(tmp_path, {"status": lambda _: status, "incidents": incidents})
    server.start()
    yield tmp_path
    server.stop()


@pytest.mark.slow
def test_a_series_is_scored_shown_and_written(
    agent: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette.drills.series.AFTERMATH_S", 1.0)
    out = agent / "report.json"
    given = options(agent, "files", "log", series=True, out=out, gap="1s", seed=42)
    assert drill(given) == 0
    said = capsys.readouterr().out
    assert "series    1 injections, seed 42" in said
    assert "left out: no log file was named" in said
    row = next(line for line in said.splitlines() if line.startswith("files  "))
    assert row.split()[:3] == ["files", "1", "1"]
    assert row.split()[-2:] == ["1/1", "1/1"]
    assert "false incidents: 0 in" in said
    written = json.loads(out.read_text())
    assert written["seed"] == 42
    assert written["agent"]["series"] == 400
    assert written["report"]["total"]["found"] == 1
    assert written["record"]["injections"][0]["names"] == ["files"]
    assert written["record"]["incidents"]["a"]["resource"] == "kernel"


def test_a_series_of_nothing_that_fits_is_refused(agent: Path) -> None:
    with pytest.raises(CommandError, match="log: no log file was named"):
        drill(options(agent, "log", series=True))
    with pytest.raises(CommandError, match="two different drills"):
        drill(options(agent, "cpu", series=True, pairs=True))


def test_a_series_without_an_agent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nothing to drill"):
        drill(options(tmp_path, *FAULTS, series=True))
