"""Where logs are read from, and what is taken for a copy of something else."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from vedette.logs.columns import Columns
from vedette.logs.framing import Framer
from vedette.logs.intake import Intake, IntakeState
from vedette.logs.joining import Joiner
from vedette.logs.options import COPIES, FILES, LogsConfig

S = 1_000_000_000
NOW = 1_795_183_200 * S
MACHINE = "0123456789abcdef0123456789abcdef"
JOURNAL = Path(__file__).parents[1] / "fixtures/logs/journal/entries.journal.gz"


def with_journal(root: Path) -> Path:
    folder = root / "var/log/journal" / MACHINE
    folder.mkdir(parents=True)
    (folder / "system.journal").write_bytes(gzip.decompress(JOURNAL.read_bytes()))
    return root


def test_where_the_journal_is_read_its_copies_are_not(tmp_path: Path) -> None:
    with_journal(tmp_path)
    for path in COPIES:
        (tmp_path / path[1:]).write_text("x\n")
    (tmp_path / "var/log/dpkg.log").write_text("x\n")
    intake = Intake(LogsConfig(), str(tmp_path))
    intake.read(NOW, 0.0)
    assert intake.reads_journal
    assert intake.tail.paths == [str(tmp_path / "var/log/dpkg.log")]
    also = Intake(LogsConfig(also=("/var/log/syslog",)), str(tmp_path))
    also.read(NOW, 0.0)
    assert str(tmp_path / "var/log/syslog") in also.tail.paths
    without = Intake(LogsConfig(journal=False), str(tmp_path))
    without.read(NOW, 0.0)
    assert len(without.tail.paths) > 5
    for one in (intake, also, without):
        one.close()


def test_entries_of_the_journal_are_of_the_units_that_wrote_them(tmp_path: Path) -> None:
    intake = Intake(LogsConfig(begin="beginning"), str(with_journal(tmp_path)))
    found: Counter[str] = Counter()
    for at in range(10):
        for batch in intake.read(NOW + at * S, float(at)):
            found[batch.source] += len(batch.columns)
    if intake.journal_trouble:
        pytest.skip(intake.journal_trouble)
    assert len(found) >= 3
    assert sum(found.values()) >= 20
    ignored = Intake(LogsConfig(begin="beginning", ignore=("*",)), str(tmp_path))
    assert [one for at in range(10) for one in ignored.read(NOW + at * S, float(at))] == []
    intake.close()
    ignored.close()


def test_what_is_held_back_is_in_the_state(tmp_path: Path) -> None:
    log = tmp_path / "var/log/app.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-11-24 14:00:00 ERROR it broke\nTraceback (most recent call last):\n")
    config = LogsConfig(begin="beginning", journal=False)
    intake = Intake(config, str(tmp_path))
    assert intake.read(NOW, 0.0) == []
    state = intake.state(0.0)
    assert state.held
    with open(log, "a") as file:
        file.write('  File "a.py", line 1, in <module>\nValueError: no\n')
    other = Intake(config, str(tmp_path))
    other.restore(state, 0.0)
    batches = other.read(NOW + S, 1.0) + other.read(NOW + 9 * S, 9.0)
    (batch,) = batches
    assert batch.columns.lines == [4]
    assert batch.columns.bodies[0].endswith(b"ValueError: no")
    intake.close()
    other.close()


def test_more_files_than_are_remembered_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette.logs.intake.STREAMS_MAX", 20)
    folder = tmp_path / "var/log"
    folder.mkdir(parents=True)
    intake = Intake(LogsConfig(begin="beginning", journal=False), str(tmp_path))
    read, written = 0, 0
    for at in range(12):
        for number in range(60):
            if (at + number) % 3:
                with open(folder / f"app{number}x.log", "a") as file:
                    file.write(f"2026-11-24 14:00:00 INFO app: number {at}\n" * 2)
                written += 2
        read += sum(sum(one.columns.lines) for one in intake.read(NOW + at * S, float(at)))
        assert len(intake._streams) <= 21
    read += sum(sum(one.columns.lines) for one in intake.read(NOW + 60 * S, 60.0))
    assert read == written
    intake.close()


def test_a_damaged_state_is_said_and_the_rest_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "var/log/app.log"
    log.parent.mkdir(parents=True)
    log.write_text("a\n")
    intake = Intake(LogsConfig(begin="beginning", journal=False), str(tmp_path))
    intake.restore(IntakeState(held={str(log): (b"\xff\xff", b"nonsense")}), 0.0)
    assert "lines held back are lost" in caplog.text
    assert intake.read(NOW, 0.0) + intake.read(NOW + 5 * S, 5.0)
    intake.close()


def test_lines_in_parts_and_held_events_survive_a_save() -> None:
    docker = b'{"log":"begun ","stream":"stdout","time":"2026-11-24T14:00:00Z"}'
    framer, joiner = Framer(), Joiner()
    assert len(framer.columns([docker], NOW)) == 0
    assert framer.waits
    other = Framer()
    other.restore(framer.save())
    rest = other.columns([docker.replace(b"begun ", b"and done\\n")], NOW)
    assert rest.bodies == [b"begun and done"]
    assert rest.lines == [2]
    assert len(joiner.join(rest, NOW)) == 0
    assert joiner.holds
    again = Joiner()
    again.restore(joiner.save())
    assert again.flush(NOW, everything=True).bodies == [b"begun and done"]
    assert (Framer().save(), Joiner().save()) == (b"", b"")


def test_rows_can_be_selected() -> None:
    framer = Framer()
    all_ = framer.columns([b"a 1", b"b 2", b"c 3"], NOW)
    some: Columns = all_.select([2, 0])
    assert some.bodies == [b"c 3", b"a 1"]
    assert len(some.units) == len(some.fields) == len(some.times) == 2


def test_the_usual_places_have_no_rotated_files() -> None:
    assert all(not one.endswith("*") for one in FILES)
