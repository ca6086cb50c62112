"""The verbs that ask a running agent, against a real control socket with known answers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette.api import Incident, Suspect, Track
from vedette.cli import main
from vedette.commands import live
from vedette.commands.locate import candidates
from vedette.control import ControlServer

S = 1_000_000_000
BEGAN = 1_700_000_000 * S


def incident(id: str, state: str = "open", name: str = "stress") -> Incident:
    return Incident(
        id=id,
        state=state,  # type: ignore[arg-type]
        severity="critical",
        resource="cpu",
        title="The CPU is 99 % busy, usually 2 to 20 %",
        onset_ns=BEGAN,
        opened_ns=BEGAN + 4 * S,
        updated_ns=BEGAN + 4 * S,
        resolved_ns=BEGAN + 90 * S if state == "resolved" else None,
        series=("vedette.cpu.busy",),
        suspects=(Suspect("process", name, "4711", 0.97, "97 % of 2 cores"),),
        evidence=(Track("vedette.cpu.busy", "1", BEGAN, S, (0.02, 0.03, None, 0.99), None, 0.2),),
        detectors=("robust",),
    )


KNOWN = [incident("b2c3"), incident("a1b2", "resolved"), incident("a1ff", "resolved")]

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 4711,
    "agent": "0f8c",
    "uptime_s": 3725.0,
    "health": "ok",
    "reasons": [],
    "series": 231,
    "learning": 0.25,
    "incidents_open": 1,
    "cpu_share": 0.0031,
    "rss_bytes": 50 * 1024 * 1024,
    "spool": {"appended": 12, "bytes": 2048},
    "collectors": [
        {
            "name": "cpu",
            "state": "failing",
            "reason": "it\x1b[31m broke",
            "interval_s": 1.0,
            "samples": 23,
            "duration_s": 0.0004,
            "late": 0,
            "failures": 3,
            "cut": 12,
            "configured_s": 1.0,
            "cpu_share": 0.00012,
            "cpu_s": 0.5,
            "tick_cpu_s": 0.000123,
            "sample_cpu_s": 0.0000053,
        },
        {
            "name": "gpu",
            "state": "resting",
            "reason": "no driver",
            "interval_s": 10.0,
            "configured_s": 10.0,
            "cpu_share": 0.0,
        },
        {
            "name": "processes",
            "state": "ok",
            "reason": "",
            "interval_s": 40.0,
            "configured_s": 10.0,
            "samples": 16,
            "duration_s": 0.02,
            "cpu_share": 0.0015,
            "cpu_s": 0.1,
            "tick_cpu_s": 0.06,
            "sample_cpu_s": None,
        },
    ],
    "cost": {
        "share": 0.0042,
        "collectors": 0.0016,
        "parts": {"pipeline": 0.002, "shipping": 0.0},
        "rest": 0.0006,
        "budget": 0.005,
        "exhausted": False,
    },
    "destinations": [
        {"name": "otlp", "state": "ok", "reason": "", "backlog": 2, "last_success_ns": BEGAN}
    ],
}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wrap, whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    def incidents(request: dict[str, Any]) -> dict[str, Any]:
        return {"incidents": [i for i in KNOWN if request["all"] or i.state == "open"]}

    server = ControlServer(tmp_path, {"status": lambda request: STATUS, "incidents": incidents})
    server.start()
    yield tmp_path
    server.stop()


def asked(
    capsys: pytest.CaptureFixture[str], state_dir: Path, *arguments: str
) -> tuple[int, str, str]:
    code = main([*arguments, "--state-dir", str(state_dir)])
    told = capsys.readouterr()
    return code, told.out, told.err


def listed(shown: str) -> list[str]:
    """Return the ids of a list of incidents."""
    return [line.split()[0] for line in shown.splitlines() if not line.startswith(" ")]


def test_the_status_shows_every_part_and_ends_with_zero_when_healthy(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = asked(capsys, state_dir, "status")
    assert code == 0
    assert shown.startswith("vedette 0.1.0  ok  up 1 h 2 min  pid 4711\n")
    assert "231, 25% of them still learning" in shown
    assert "0.42% of one core (budget 0.5%), 50.0 MiB" in shown
    assert "collectors 0.16%, pipeline 0.20%, shipping 0.00%, rest 0.06%" in shown
    assert "\x1b" not in shown
    row = next(line for line in shown.splitlines() if line.startswith("cpu"))
    assert row.split()[:8] == ["cpu", "failing", "1", "s", "23", "0.4", "123", "0.012%"]
    assert row.endswith("broke, 3 failed, 12 cut")
    row = next(line for line in shown.splitlines() if line.startswith("processes"))
    assert row.split()[2:4] == ["40", "s"]
    assert row.endswith("stretched from 10 s: CPU budget")
    assert "\ngpu      no driver\n" in shown
    assert "destination otlp" in shown


def test_the_weight_is_told_before_there_are_costs_of_a_minute(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STATUS, "cost", {"share": None, "budget": 0.02, "parts": {}})
    for one in STATUS["collectors"]:
        monkeypatch.setitem(one, "cpu_share", None)
        monkeypatch.setitem(one, "tick_cpu_s", None)
    _, shown, _ = asked(capsys, state_dir, "status")
    assert "0.31% of one core (budget 2%), 50.0 MiB" in shown
    assert "pipeline" not in shown
    row = next(line for line in shown.splitlines() if line.startswith("cpu"))
    assert row.split()[6:8] == ["-", "-"]


def topped(state_dir: Path, **options: Any) -> int:
    known = {"state_dir": state_dir, "json": False, "once": False, "every": 5}
    return live.top(argparse.Namespace(**(known | options)))


def test_top_lists_what_runs_the_most_expensive_first(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert topped(state_dir) == 0  # once: the output is no terminal
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    rows = [line.split() for line in shown.split("COLLECTOR")[1].splitlines()[1:3]]
    assert rows[0][:7] == ["processes", "0.150%", "60000", "-", "16", "40", "s"]
    assert rows[1][:7] == ["cpu", "0.012%", "123", "5.3", "23", "1", "s"]
    assert "stretched from 10 s" in shown
    assert "failing, it\\x1b[31m broke" in shown
    assert "collectors 0.16%, pipeline 0.20%" in shown
    assert "1 more rest" in shown


def test_top_as_json_is_sorted_by_cost(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert topped(state_dir, json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in shown["collectors"]] == ["processes", "cpu", "gpu"]
    assert shown["cost"] == STATUS["cost"]
    assert "destinations" not in shown


def test_on_a_terminal_top_goes_on_until_interrupted(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(live, "clear", lambda: True)
    monkeypatch.setattr(live.time, "sleep", sleep)
    assert topped(state_dir) == 0
    assert waits == [5, 5, 5]
    assert capsys.readouterr().out.count("US/SAMPLE") == 3


def test_top_says_when_the_budget_cannot_be_kept(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STATUS, "cost", STATUS["cost"] | {"exhausted": True})
    topped(state_dir)
    assert "exceeded, and no collector could usefully run less often" in capsys.readouterr().out


def test_the_status_of_a_degraded_agent_ends_with_one_and_says_why(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STATUS, "health", "degraded")
    monkeypatch.setitem(STATUS, "reasons", ["collector gpu is stuck"])
    code, shown, _ = asked(capsys, state_dir, "status")
    assert code == 1
    assert "because   collector gpu is stuck" in shown


def test_the_status_as_json_is_the_agents_answer_and_its_place(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = asked(capsys, state_dir, "status", "--json")
    assert code == 0
    assert json.loads(shown) == {"state_dir": str(state_dir), **STATUS}


def test_open_incidents_are_listed_and_all_on_request(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown, _ = asked(capsys, state_dir, "incidents")
    assert listed(shown) == ["b2c3"]
    assert "    The CPU is 99 % busy" in shown
    _, shown, _ = asked(capsys, state_dir, "incidents", "list", "--all")
    assert listed(shown) == ["b2c3", "a1b2", "a1ff"]


def test_an_incident_is_shown_with_suspects_and_evidence(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = asked(capsys, state_dir, "incidents", "show", "a1b")
    assert code == 0
    assert shown.startswith("The CPU is 99 % busy, usually 2 to 20 %\n")
    assert "  lasted    1 min 30 s\n" in shown
    assert "process  stress  4711  97%  97 % of 2 cores" in shown
    assert "  ▁▁·█\n" in shown
    assert "from 0.02 to 0.99, last 0.99; usual - to 0.2" in shown


def test_an_incident_of_that_id_must_exist_and_be_the_only_one(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, told = asked(capsys, state_dir, "incidents", "show", "zz")
    assert (code, "no incident 'zz' is known" in told) == (2, True)
    code, _, told = asked(capsys, state_dir, "incidents", "show", "a1")
    assert (code, "several incidents: a1b2, a1ff" in told) == (2, True)
    code, _, told = asked(capsys, state_dir, "incidents", "show")
    assert (code, "which incident?" in told) == (2, True)


def test_without_an_agent_the_incidents_come_from_its_directory_and_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = incident("c3d4", name="evil\x1b]0;title\x07")
    (tmp_path / "incidents.json").write_bytes(msgspec.json.encode({"incidents": [evil, *KNOWN]}))
    code, shown, told = asked(capsys, tmp_path, "incidents")
    assert code == 0
    assert listed(shown) == ["c3d4", "b2c3"]
    assert "no agent is running" in told
    _, shown, _ = asked(capsys, tmp_path, "incidents", "show", "c3d4")
    assert "\x1b" not in shown
    assert "evil\\x1b]0;title\\x07" in shown
    _, shown, _ = asked(capsys, tmp_path, "incidents", "--json")
    assert [one["id"] for one in json.loads(shown)["incidents"]] == ["c3d4", "b2c3"]


def test_a_damaged_file_of_incidents_is_an_error_not_an_empty_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "incidents.json").write_bytes(b'{"incidents": [')
    code, shown, told = asked(capsys, tmp_path, "incidents")
    assert (code, shown) == (2, "")
    assert "is damaged" in told


def test_an_incident_of_an_unknown_form_asks_for_the_same_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "incidents.json").write_text('{"incidents": [{"id": "x", "state": "open"}]}')
    code, _, told = asked(capsys, tmp_path, "incidents")
    assert code == 2
    assert "same version" in told


def test_no_agent_and_no_file_is_told_with_the_places_looked_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("status", "incidents"):
        code, _, told = asked(capsys, tmp_path, verb)
        assert code == 2
        assert f"looked in {tmp_path}" in told


def test_a_development_agent_in_the_current_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert candidates(tmp_path) == [tmp_path]
    assert Path(".run/agent") not in candidates(None)
    (tmp_path / ".run" / "agent").mkdir(parents=True)
    assert Path(".run/agent") in candidates(None)


def test_a_drill_without_an_agent_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, told = asked(capsys, tmp_path, "drill", "cpu", "--for", "5s")
    assert code == 2
    assert "nothing to drill: no agent is running" in told


def test_the_status_and_the_incidents_fit_into_eighty_columns(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setitem(STATUS, "reasons", ["a reason of many words " * 10])
    for verb in (["status"], ["top"], ["incidents", "--all"], ["incidents", "show", "b2"]):
        if verb == ["top"]:
            topped(state_dir)
            shown = capsys.readouterr().out
        else:
            _, shown, _ = asked(capsys, state_dir, *verb)
        wide = [line for line in shown.splitlines() if len(line) > 80 and "/" not in line]
        assert wide == []
