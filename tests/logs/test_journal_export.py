"""The child's way: the same entries as the library's, and no process left behind."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from journal_files import (
    append,
    bodies,
    descriptors,
    needs_journalctl,
    needs_library,
    needs_remote,
    services,
    unpack_fixture,
)

from vedette.logs.entry import Entry
from vedette.logs.journal_entry import at_time
from vedette.logs.journal_export import ExportReader, program
from vedette.logs.journal_lib import JournalError, Library, LibraryReader
from vedette.logs.journal_places import Places

PATIENCE_S = 20
READ_AND_SLEEP = """
import sys, time
from vedette.logs.journal_export import ExportReader, program
from vedette.logs.journal_places import Places
reader = ExportReader(program(), Places(directory=sys.argv[1]), "t=0")
print(reader._child.pid, flush=True)
time.sleep(60)
"""
FROM_START = at_time(0)

Open = Callable[..., ExportReader]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return unpack_fixture(tmp_path / "journal").parent


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open readers, and see that each ends its child."""
    readers: list[ExportReader] = []

    def reader(path: str, directory: Path, cursor: str = FROM_START) -> ExportReader:
        readers.append(ExportReader(path, Places(directory=str(directory)), cursor))
        return readers[-1]

    yield reader
    for each in readers:
        each.close()
        assert each._child.returncode is not None


def until(reader: ExportReader, count: int, entries_max: int = 1000) -> list[Entry]:
    """Read until there are so many entries."""
    found: list[Entry] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < deadline:
        read = reader.read(entries_max, 1 << 30)
        found += read.entries
        if read.ended:
            reader._wait.poll(100)
    return found


def script(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@needs_journalctl
@needs_library
def test_both_ways_tell_the_same(opened: Open, directory: Path) -> None:
    library = LibraryReader(Library(), Places(directory=str(directory)), FROM_START)
    by_library = library.read(1000, 1 << 30)
    library.close()
    reader = opened(program(), directory)
    by_child = until(reader, 207)
    # A compressed value that is cut off has a size that the library does not tell.
    assert len(by_child) == len(by_library.entries) == 207
    for ours, theirs in zip(by_library.entries, by_child, strict=True):
        if theirs.size < 65_536:
            assert ours == theirs
        else:
            assert (ours.body, ours.time_ns, ours.unit) == (
                theirs.body,
                theirs.time_ns,
                theirs.unit,
            )
    assert reader.cursor == by_library.cursor


@needs_journalctl
def test_reading_goes_on_behind_the_entry_of_a_cursor(opened: Open, directory: Path) -> None:
    first = opened(program(), directory)
    assert [entry.body for entry in until(first, 3, entries_max=3)] == bodies(0, 3)
    second = opened(program(), directory, first.cursor)
    assert [entry.body for entry in until(second, 2, entries_max=2)] == bodies(3, 2)
    assert second.found


@needs_journalctl
@needs_remote
def test_without_a_cursor_only_what_is_new_comes_and_it_comes_live(
    opened: Open, tmp_path: Path
) -> None:
    path = append(tmp_path / "live.journal", services(0, 5))
    reader = opened(program(), tmp_path, "")
    assert reader.cursor.startswith("s=")
    append(path, services(5, 3))
    assert [entry.body for entry in until(reader, 3)] == bodies(5, 3)
    append(path, services(8, 2))
    assert [entry.body for entry in until(reader, 2)] == bodies(8, 2)


@needs_journalctl
@needs_remote
def test_a_new_file_is_followed(opened: Open, tmp_path: Path) -> None:
    append(tmp_path / "one.journal", services(0, 5))
    reader = opened(program(), tmp_path)
    assert [entry.body for entry in until(reader, 5)] == bodies(0, 5)
    append(tmp_path / "two.journal", services(5, 5))
    assert [entry.body for entry in until(reader, 5)] == bodies(5, 5)


@needs_journalctl
def test_the_child_ends_when_its_reader_is_killed(tmp_path: Path, directory: Path) -> None:
    agent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            READ_AND_SLEEP,
            str(directory),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert agent.stdout is not None
    child = int(agent.stdout.readline())
    agent.kill()
    agent.wait()
    agent.stdout.close()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_that_fails_says_why(opened: Open, tmp_path: Path) -> None:
    path = script(tmp_path / "journalctl", "echo 'cannot  open' >&2\necho it >&2\nexit 3\n")
    reader = opened(path, tmp_path)
    reader._child.wait(PATIENCE_S)
    with pytest.raises(JournalError, match="ended with status 3: cannot open it"):
        reader.read(10, 1000)
    with pytest.raises(JournalError, match=r"journalctl: cannot open it"):
        opened(path, tmp_path, "")


def test_a_program_that_does_not_start_says_so(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"cannot start .*: No such file"):
        opened(str(tmp_path / "none"), tmp_path)


def test_a_question_without_an_answer_is_given_up(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette.logs.journal_export.ANSWER_TIMEOUT_S", 0.2)
    path = script(tmp_path / "journalctl", "exec sleep 60\n")
    with pytest.raises(JournalError, match=r"no answer in 0\.2 s"):
        opened(path, tmp_path, "")


def test_a_child_that_will_not_end_is_killed(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette.logs.journal_export.END_TIMEOUT_S", 0.2)
    path = script(tmp_path / "journalctl", "trap '' TERM\necho >&2\nwhile :; do sleep 0.1; done\n")
    reader = opened(path, tmp_path)
    while not reader._words:  # until it has set its trap
        reader._listen()
        time.sleep(0.01)
    reader.close()
    assert reader._child.returncode == -signal.SIGKILL


def test_a_child_that_writes_nothing_is_not_waited_for(opened: Open, tmp_path: Path) -> None:
    reader = opened(script(tmp_path / "journalctl", "exec sleep 60\n"), tmp_path)
    read = reader.read(10, 1000)
    assert (read.entries, read.ended, read.cursor) == ([], True, FROM_START)


def test_complaints_without_end_do_not_stop_the_child(opened: Open, tmp_path: Path) -> None:
    text = services(0, 1).decode()
    path = script(
        tmp_path / "journalctl",
        f"head -c 300000 /dev/zero >&2\ncat <<'E'\n{text}E\nexec sleep 60\n",
    )
    assert [entry.body for entry in until(opened(path, tmp_path), 1)] == bodies(0, 1)


def test_what_a_dying_child_wrote_is_read_first(opened: Open, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"garbage\n\n" + services(0, 2) + b"MESSAGE=half of")
    reader = opened(script(tmp_path / "journalctl", f"cat {data}\n"), tmp_path)
    reader._child.wait(PATIENCE_S)
    read = reader.read(10, 1000)
    assert ([entry.body for entry in read.entries], read.damaged) == (bodies(0, 2), 1)
    with pytest.raises(JournalError, match="status 0: it said nothing"):
        reader.read(10, 1000)


def test_a_reader_leaves_no_descriptors_behind(opened: Open, tmp_path: Path) -> None:
    path = script(tmp_path / "journalctl", "exec sleep 60\n")
    before = descriptors()
    opened(path, tmp_path).close()
    assert descriptors() == before
