"""The verbs with which the operator says what was real: real socket, real pipeline thread."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette import errand, feedback_store, incident_store
from vedette.api import Incident, Strength
from vedette.cli import main
from vedette.control import ControlServer
from vedette.correlate import Correlator
from vedette.feedback import Marks
from vedette.feedback_desk import FeedbackDesk
from vedette.pipeline import Pipeline
from vedette.settings import Settings
from vedette.table import SeriesTable

S = 1_000_000_000
NOW = 1_795_183_200 * S
ID = "20261120T140000Z-cpu"


def incident(id: str, opened_ns: int = NOW) -> Incident:
    return Incident(
        id=id,
        state="resolved",
        severity="info",
        resource="cpu",
        title="The CPU is 99 % busy, usually 2 to 20 %",
        onset_ns=opened_ns - 4 * S,
        opened_ns=opened_ns,
        updated_ns=opened_ns + 90 * S,
        resolved_ns=opened_ns + 60 * S,
        series=("test.loud", "test.disk{system.device=sda}"),
        suspects=(),
        detectors=("robust",),
        strengths=(
            Strength("test.loud", "robust", 1.6),
            Strength("test.disk{system.device=sda}", "robust", 1.4),
        ),
    )


class Agent:
    """A pipeline on its own thread behind a control socket, as the agent runs them."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        state_dir.mkdir(exist_ok=True)
        kept = [incident("20261119T120000Z-disk", NOW - 9000 * S), incident(ID)]
        incident_store.save(state_dir, kept)
        settings = Settings(S, 60 * S, 0, {"service.name": "vedette"}, state_dir)
        self.pipeline = Pipeline(
            settings, [], table=SeriesTable(), correlator=Correlator(), spool=None
        )
        self.desk = FeedbackDesk(self.pipeline, lambda: NOW + 100 * S, "web1")
        self.server = ControlServer(
            state_dir, {"feedback": self.desk.handle, "incidents": self._incidents}
        )
        self.pipeline.start()
        self.server.start()

    def _incidents(self, request: dict[str, Any]) -> dict[str, Any]:
        mutes = self.pipeline.word.marks.mutes(NOW + 100 * S)
        return {"incidents": self.pipeline.view.incidents, "mutes": len(mutes)}

    def stop(self) -> None:
        self.server.stop()
        assert self.pipeline.stop(5.0)

    def run(self, *arguments: str) -> int:
        return main(["incidents", *arguments, "--state-dir", str(self.state_dir)])


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say who calls, and let nothing wrap."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setattr("os.getuid", lambda: 0)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    running = Agent(tmp_path / "state")
    yield running
    running.stop()


Told = pytest.CaptureFixture[str]


def test_a_false_alarm_is_told_with_what_it_does_and_how_to_take_it_back(
    agent: Agent, capsys: Told
) -> None:
    assert agent.run("false-alarm", "last", "--note", "the backup") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("1  ")
    assert first.endswith(f"alice: false-alarm {ID}")
    rings = "rings from 2 times the usual threshold on: test.loud (robust)"
    assert lines == [
        "    The CPU is 99 % busy, usually 2 to 20 %",
        '    "the backup"',
        f"    {rings}, 1 more finding from 1.5 times",
        "    `vedette incidents undo 1` takes it back",
    ]


def test_the_incident_bears_what_was_said(agent: Agent, capsys: Told) -> None:
    assert agent.run("ack", "20261119") == 0
    assert agent.run("mute", "test.*", "--for", "2h") == 0
    capsys.readouterr()
    assert agent.run("list", "--all") == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown if line.startswith("2")] == [
        ID,
        "20261119T120000Z-disk",
    ]
    assert sum(line.endswith("ack by alice") for line in shown) == 1
    assert shown[-1] == "1 mute is in force; `vedette incidents feedback` lists them"
    assert agent.run("show", "20261119") == 0
    assert "  said      ack by alice, " in capsys.readouterr().out
    assert agent.run("show", "last", "--json") == 0
    assert json.loads(capsys.readouterr().out)["incident"]["id"] == ID


def test_what_was_said_is_listed_newest_first_with_and_without_an_agent(
    agent: Agent, capsys: Told
) -> None:
    agent.run("false-alarm", "last")
    agent.run("mute", "--resource", "disk", "--for", "ever", "--note", "old disks")
    capsys.readouterr()
    assert agent.run("feedback", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["number"] for one in told["marks"]] == [2, 1]
    assert told["marks"][0]["effect"] == "silent until it is taken back, 0 series at present"
    agent.server.stop()
    assert agent.run("feedback") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("alice: mute resource disk")
    assert lines[1:3] == ['    "old disks"', "    silent until it is taken back"]
    assert any(line.endswith(f"alice: false-alarm {ID}") for line in lines)


def test_what_is_taken_back_is_told_and_what_holds_again(agent: Agent, capsys: Told) -> None:
    agent.run("false-alarm", "last")
    agent.run("ack", "last")
    capsys.readouterr()
    assert agent.run("undo", "2") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("taken back: 2  ")
    assert "what was said before holds again:\n1  " in shown
    agent.run("mute", "test.*")
    agent.run("mute", "last")
    capsys.readouterr()
    assert agent.run("unmute", "test.*") == 0
    assert agent.run("unmute", "4") == 0
    assert capsys.readouterr().out.count("taken back: ") == 2
    assert len(agent.pipeline.word.marks.marks) == 1


def test_marks_travel_to_another_host_once_however_many(
    agent: Agent, tmp_path: Path, capsys: Told
) -> None:
    marks = Marks()
    for number in range(200):
        note = f"{number} " + "x" * 490
        marks, _ = marks.judge("ack", incident(f"{ID}-{number}"), "carol", NOW + number, note)
    agent.pipeline.hear(marks, NOW)
    file = tmp_path / "marks.json"
    assert agent.run("feedback", "--export", str(file)) == 0
    assert capsys.readouterr().out == f"200 marks written to {file}\n"
    assert file.stat().st_size > 3 * 65536
    other = Agent(tmp_path / "other")
    other.desk._host = "db1"
    try:
        assert other.run("feedback", "--import", str(file)) == 0
        assert capsys.readouterr().out == "200 marks taken over\n"
        assert other.run("feedback", "--import", str(file)) == 0
        assert capsys.readouterr().out == "0 marks taken over; 200 more known already\n"
        taken = other.pipeline.word.marks.marks
        assert {one.host for one in taken} == {"web1"}
        assert other.pipeline.word.marks.verdict(f"{ID}-7") is None
    finally:
        other.stop()
    agent.run("undo", "1")
    capsys.readouterr()
    assert agent.run("feedback", "--import", str(file)) == 0
    assert capsys.readouterr().out == "1 mark taken over; 199 more known already\n"
    assert {one.host for one in agent.pipeline.word.marks.marks} == {""}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ack", "2026"), f"several incidents: {ID}, 20261119T120000Z-disk"),
        (("ack", "nosuch"), "no incident 'nosuch' is known"),
        (("false-alarm", "last", "--note", "x" * 501), "the note is longer than 500 characters"),
        (("mute",), "mute what?"),
        (("mute", "cpu"), "a family is --resource NAME"),
        (("mute", "a.*", "--for", "soon"), "'soon' is no duration"),
        (("mute", "a.*", "--for", "0s"), "0s is less than 1s"),
        (("mute", "a.*", "--for", "9999999d"), "up to ten years, or for ever"),
        (("unmute", "a.*"), "no mute is called 'a.*'; none is"),
        (("undo", "7"), "there is no mark 7"),
        (("feedback", "--import", "/nonexistent"), "cannot read /nonexistent"),
        (("feedback", "--export", "/nonexistent/x"), "cannot write /nonexistent/x"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(
    agent: Agent, capsys: Told, arguments: tuple[str, ...], said: str
) -> None:
    assert agent.run(*arguments) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""
    assert agent.pipeline.word.marks == Marks()


def test_a_file_of_something_else_is_not_taken_over(
    agent: Agent, tmp_path: Path, capsys: Told
) -> None:
    (tmp_path / "x.json").write_text('{"version": 9}')
    assert agent.run("feedback", "--import", str(tmp_path / "x.json")) == 2
    assert "version 9, this program knows version 1" in capsys.readouterr().err


def test_nothing_can_be_said_without_an_agent(tmp_path: Path, capsys: Told) -> None:
    for arguments in (["ack", "last"], ["mute", "x.*"], ["undo", "1"], ["feedback"]):
        assert main(["incidents", *arguments, "--state-dir", str(tmp_path)]) == 2
        assert "no agent is running" in capsys.readouterr().err


def test_a_wish_that_came_too_late_is_withdrawn(
    agent: Agent, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Any] = []
    monkeypatch.setattr(errand, "PATIENCE_S", 0.01)
    monkeypatch.setattr(agent.pipeline, "submit", waiting.append)
    assert agent.run("ack", "last") == 2
    assert "the pipeline is busy; nothing was done" in capsys.readouterr().err
    waiting[0]()
    assert agent.pipeline.word.marks == Marks()


def test_a_full_disk_is_told_and_nothing_was_done(agent: Agent, capsys: Told) -> None:
    (agent.state_dir / "feedback.json.new").mkdir()
    assert agent.run("ack", "last") == 2
    assert "it cannot be kept, nothing was done" in capsys.readouterr().err
    assert agent.pipeline.word.marks == Marks()


def test_a_request_that_makes_no_sense_is_refused(agent: Agent) -> None:
    from vedette.control import ControlError, call

    for wrong in ({}, {"action": "judge"}, {"action": "judge", "word": "x", "id": "", "by": ""}):
        with pytest.raises(ControlError, match="not understood"):
            call(agent.state_dir, "feedback", **wrong)


def test_the_marks_lie_in_the_state_directory_as_they_are_told(agent: Agent) -> None:
    agent.run("ack", "last", "--note", "seen")
    (mark,) = feedback_store.load(agent.state_dir).marks
    assert msgspec.to_builtins(mark)["by"] == "alice"
    assert mark.note == "seen"


def test_each_mark_is_a_line_in_the_log(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vedette.feedback_desk")
    agent.run("ack", "last", "--note", "two\nlines")
    agent.run("undo", "1")
    assert caplog.messages == [
        f"feedback mark=1 by='alice' word=ack about='{ID}' host='' note='two\\nlines'",
        f"feedback taken_back=1 by='alice' word=ack about='{ID}'",
    ]
