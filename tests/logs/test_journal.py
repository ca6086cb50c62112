"""The journal as its caller sees it: exactly once across restarts, rotation, vacuum and damage."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from journal_files import (
    OTHER_BOOT,
    START_US,
    append,
    bodies,
    continue_line,
    needs_journalctl,
    needs_library,
    needs_remote,
    service_entry,
    services,
    unpack_fixture,
)

from vedette.api import Unavailable
from vedette.logs.journal import (
    FIRST_PAUSE_NS,
    SETTLE_NS,
    Journal,
    JournalBatch,
    JournalError,
    JournalSettings,
)
from vedette.logs.journal_entry import parse_cursor
from vedette.logs.journal_guard import FaultGuard

S = 1_000_000_000
NOW = (START_US + 1_000_000) * 1000
MUCH = 1 << 30
PATIENCE_S = 20


class Caller:
    """Polls a journal and keeps entries with the cursor, as the agent does."""

    def __init__(self, place: Path | str, **settings: object) -> None:
        self.settings = {"directory": str(place), "way": "library", **settings}
        self.now = NOW
        self.bodies: list[bytes] = []
        self.cursor = ""
        self.lost = self.damaged = self.gaps = 0
        self.journal = self._journal()

    def _journal(self) -> Journal:
        return Journal(JournalSettings(**{**self.settings, "cursor": self.cursor}))  # type: ignore[arg-type]

    def poll(self, budget: int = MUCH) -> JournalBatch:
        batch = self.journal.poll(self.now, budget)
        self.now += S
        self.bodies += [entry.body for entry in batch.entries]
        self.cursor = batch.cursor
        self.lost += batch.lost
        self.damaged += batch.damaged
        self.gaps += batch.gap
        return batch

    def poll_until(self, count: int, budget: int = MUCH) -> None:
        """Poll until so many entries have come in all; a child takes its time."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.bodies) < count and time.monotonic() < deadline:
            if not self.poll(budget).entries:
                time.sleep(0.02)

    def restart(self) -> None:
        """As after kill -9: what is left is the cursor that was kept."""
        self.journal.close()
        self.journal = self._journal()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


WAYS = pytest.mark.parametrize(
    "way", [pytest.param("library"), pytest.param("journalctl", marks=needs_journalctl)]
)


@needs_library
@WAYS
def test_restarts_between_any_two_polls_repeat_and_lose_nothing(directory: Path, way: str) -> None:
    unpack_fixture(directory)
    caller = Caller(directory, start="start", way=way)
    for budget in (1, 25, 500):
        caller.poll_until(len(caller.bodies) + 1, budget)
        caller.restart()
    assert len(caller.bodies) < 200
    caller.poll_until(207)
    assert caller.bodies[:200] == bodies(0, 200)
    assert len(caller.bodies) == 207
    assert (caller.lost, caller.damaged, caller.gaps) == (0, 0, 0)
    assert caller.poll().entries == []
    caller.journal.close()


@needs_library
@needs_remote
@WAYS
def test_at_the_first_start_only_what_is_new_counts(directory: Path, way: str) -> None:
    path = append(directory / "system.journal", services(0, 5))
    caller = Caller(directory, way=way)
    assert caller.poll().entries == []
    caller.restart()
    append(path, services(5, 2))
    caller.poll_until(2)
    assert caller.bodies == bodies(5, 2)
    assert (caller.lost, caller.gaps) == (0, 0)
    caller.journal.close()


@needs_library
def test_a_start_may_be_a_time(directory: Path) -> None:
    unpack_fixture(directory)
    caller = Caller(directory, start=(START_US + 206_000) * 1000)
    caller.poll()
    assert caller.bodies == [b"x" * 65_536, b"the last one"]


@needs_library
@needs_remote
@WAYS
def test_a_rotation_while_reading_is_followed(directory: Path, way: str) -> None:
    system = append(directory / "system.journal", services(0, 5))
    caller = Caller(directory, start="start", way=way)
    caller.poll_until(2)
    append(system, services(5, 5))
    archived = system.rename(directory / "system@1.journal")
    continue_line(archived, system, 11, service_entry(10))
    append(system, services(11, 4))
    caller.poll_until(15)
    assert caller.bodies == bodies(0, 15)
    assert (caller.lost, caller.gaps, caller.damaged) == (0, 0, 0)
    append(system, services(15, 1))
    caller.poll_until(16)
    assert caller.bodies == bodies(0, 16)
    caller.journal.close()


@needs_library
@needs_remote
def test_a_file_deleted_with_a_backlog_in_it_is_read_to_its_end(directory: Path) -> None:
    system = append(directory / "system.journal", services(0, 20))
    caller = Caller(directory, start="start")
    assert caller.poll(budget=25).backlog
    archived = system.rename(directory / "system@1.journal")
    continue_line(archived, system, 21, service_entry(20))
    archived.unlink()
    while caller.poll(budget=50).backlog:
        pass
    assert caller.bodies == bodies(0, 21)
    assert (caller.lost, caller.gaps) == (0, 0)


@needs_library
@needs_remote
@WAYS
def test_what_was_vacuumed_unread_is_counted_to_the_entry(directory: Path, way: str) -> None:
    system = append(directory / "system.journal", services(0, 5))
    caller = Caller(directory, start="start", way=way)
    caller.poll_until(5)
    caller.restart()
    append(system, services(5, 7))  # numbers 6 to 12
    archived = system.rename(directory / "system@1.journal")
    continue_line(archived, system, 13, service_entry(12))
    archived.unlink()
    caller.poll_until(6)
    assert caller.bodies == [*bodies(0, 5), b"request 12"]
    assert (caller.lost, caller.gaps) == (7, 0)
    caller.journal.close()


@needs_library
@needs_remote
@WAYS
def test_a_journal_begun_anew_is_a_gap_of_unknown_size(directory: Path, way: str) -> None:
    system = append(directory / "system.journal", services(0, 5))
    caller = Caller(directory, start="start", way=way)
    caller.poll_until(5)
    caller.restart()
    system.unlink()
    append(system, services(0, 3, boot=OTHER_BOOT) + services(8, 2, boot=OTHER_BOOT))
    caller.poll_until(7)
    # Of another boot and line only the time says what comes after the cursor.
    assert caller.bodies == bodies(0, 5) + bodies(8, 2)
    assert (caller.lost, caller.gaps) == (0, 1)
    caller.poll()
    assert caller.gaps == 1
    caller.journal.close()


@needs_library
@needs_remote
def test_entries_moved_from_memory_to_disk_are_not_read_again(tmp_path: Path) -> None:
    volatile, lasting = (tmp_path / top / "log/journal" / ("a" * 32) for top in ("run", "var"))
    append(volatile / "system.journal", services(0, 5))
    caller = Caller("", root=str(tmp_path), start="start")
    caller.poll()
    append(lasting / "system.journal", services(0, 5))
    shutil.rmtree(volatile)
    caller.poll()
    append(lasting / "system.journal", services(5, 2))
    caller.poll_until(7)
    assert caller.bodies == bodies(0, 7)
    assert (caller.lost, caller.gaps) == (0, 0)


@needs_library
@needs_remote
def test_both_places_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    append(tmp_path / "run/log/journal" / ("a" * 32) / "system.journal", services(3, 3))
    append(tmp_path / "var/log/journal" / ("a" * 32) / "system.journal", services(0, 3))
    caller = Caller("", root=str(tmp_path), start="start")
    caller.poll()
    assert caller.bodies == bodies(0, 6)


@needs_library
@needs_remote
@WAYS
def test_a_vanished_directory_is_waited_for(directory: Path, way: str) -> None:
    append(directory / "system.journal", services(0, 5))
    caller = Caller(directory, start="start", way=way)
    caller.poll_until(5)
    away = directory.rename(directory.with_name("away"))
    # A reader notices only when it has nothing left to read.
    caller.poll()
    for _ in range(3):
        with pytest.raises(Unavailable, match="there is no journal of this machine in"):
            caller.poll()
        caller.now += 60 * S
    away.rename(directory)
    append(directory / "system.journal", services(5, 1))
    caller.poll_until(6)
    assert caller.bodies == bodies(0, 6)
    assert (caller.lost, caller.gaps) == (0, 0)
    caller.journal.close()


@needs_library
@needs_remote
def test_a_corrupt_file_costs_its_entries_only_and_they_are_counted(directory: Path) -> None:
    first = append(directory / "system@1.journal", services(0, 5))
    second = continue_line(first, directory / "system@2.journal", 6, service_entry(5))
    append(second, services(6, 4))
    third = continue_line(first, directory / "system.journal", 11, service_entry(10))
    append(third, services(11, 4))
    second.write_bytes(os.urandom(second.stat().st_size // 100))
    caller = Caller(directory, start="start")
    caller.poll(budget=25)
    caller.poll()
    assert caller.bodies == bodies(0, 5) + bodies(10, 5)
    assert caller.lost == 5


@needs_library
@needs_remote
def test_a_file_cut_off_under_the_reader_is_survived_and_the_rest_read(directory: Path) -> None:
    system = append(directory / "system.journal", services(0, 2000))
    caller = Caller(directory, start="start")
    caller.poll(budget=100)
    read = len(caller.bodies)
    continue_line(system, directory / "user-1000.journal", 2001, service_entry(2000))
    os.truncate(system, 8192)
    while caller.poll().backlog:
        pass
    assert caller.bodies[:read] == bodies(0, read)
    assert caller.bodies[-1] == b"request 2000"
    assert caller.damaged > 0
    assert len(caller.bodies) + caller.lost + caller.damaged >= 2001
    assert len(set(caller.bodies)) == len(caller.bodies)


@needs_library
@needs_remote
def test_a_file_that_became_readable_late_is_found(directory: Path) -> None:
    """A new file is there before its header is: the library passes it over when it is opened."""
    append(directory / "system.journal", services(0, 2))
    late = append(directory / "late.journal", services(2, 2))
    content = late.read_bytes()
    late.write_bytes(b"")
    caller = Caller(directory, start="start")
    caller.poll()
    assert caller.bodies == bodies(0, 2)
    late.write_bytes(content)  # in place: nothing about the directory changes
    caller.now += SETTLE_NS
    caller.poll()
    caller.poll()
    assert caller.bodies == bodies(0, 4)
    reader = caller.journal._reader
    for _ in range(5):
        caller.poll()
    assert caller.journal._reader is reader is not None


@needs_library
def test_a_cursor_that_is_nonsense_is_a_gap_at_the_end(directory: Path) -> None:
    unpack_fixture(directory)
    journal = Journal(JournalSettings(directory=str(directory), cursor="nonsense"))
    batch = journal.poll(NOW, MUCH)
    assert (batch.entries, batch.gap) == ([], True)
    assert parse_cursor(batch.cursor) is not None
    assert not journal.poll(NOW + S, MUCH).gap


@needs_library
@needs_remote
def test_a_damaged_cursor_still_has_its_time(directory: Path) -> None:
    append(directory / "system.journal", services(0, 5))
    damaged = f"s=zz;i=1;t={START_US + 3000:x};x"
    journal = Journal(JournalSettings(directory=str(directory), cursor=damaged))
    assert [entry.body for entry in journal.poll(NOW, MUCH).entries] == bodies(3, 2)


def test_a_host_without_a_journal_says_so_and_is_not_asked_all_the_time(tmp_path: Path) -> None:
    journal = Journal(JournalSettings(root=str(tmp_path)))
    reason = r"no journal of this machine in .*var/log/journal or .*run/log/journal; cannot read"
    with pytest.raises(Unavailable, match=reason):
        journal.poll(NOW, MUCH)
    retry = journal._retry_ns
    assert retry == NOW + FIRST_PAUSE_NS
    with pytest.raises(Unavailable, match=reason):
        journal.poll(NOW + FIRST_PAUSE_NS // 2, MUCH)
    assert journal._retry_ns == retry
    with pytest.raises(Unavailable, match=reason):
        journal.poll(retry, MUCH)
    assert journal._retry_ns == retry + 2 * FIRST_PAUSE_NS
    with pytest.raises(Unavailable, match=reason):
        journal.poll(NOW - 10**18, MUCH)  # the clock was set back: no waiting for years
    assert journal._retry_ns < NOW


@needs_library
def test_a_journal_that_may_not_be_read_names_the_group(directory: Path) -> None:
    file = unpack_fixture(directory)
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(Unavailable, match=r"may not be read.*systemd-journal"):
        Journal(JournalSettings(directory=str(directory))).poll(NOW, MUCH)


def test_files_that_cannot_be_opened_are_told_apart_from_none(directory: Path) -> None:
    directory.mkdir()
    (directory / "system.journal").symlink_to(directory / "nowhere")
    with pytest.raises(Unavailable, match="may not be read"):
        Journal(JournalSettings(directory=str(directory))).poll(NOW, MUCH)


@needs_library
def test_without_the_library_a_child_reads(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack_fixture(directory)
    monkeypatch.setattr("vedette.logs.journal.Library", _no_library)
    caller = Caller(directory, way="auto", start="start")
    if shutil.which("journalctl"):
        caller.poll_until(207)
        assert (len(caller.bodies), caller.journal.way) == (207, "journalctl")
    monkeypatch.setenv("PATH", "/none")
    monkeypatch.setattr("vedette.logs.journal_export._ENVIRONMENT", {"PATH": "/none"})
    caller.restart()
    with pytest.raises(Unavailable, match="no library here; journalctl is not installed"):
        caller.poll()


def _no_library() -> None:
    raise JournalError("no library here")


@needs_library
def test_a_way_that_fails_again_and_again_gives_way_to_the_other(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack_fixture(directory)
    caller = Caller(directory, way="auto", start="start")
    monkeypatch.setattr("vedette.logs.journal_lib.LibraryReader._read", _no_reading)
    for _ in range(3):
        with pytest.raises(Unavailable, match="no reading here"):
            caller.poll()
        caller.now += 60 * S
    assert caller.journal._ways() == ("journalctl", "library")
    if shutil.which("journalctl"):
        caller.poll_until(207)
        assert len(caller.bodies) == 207
    caller.journal.close()


def _no_reading(*_: object) -> None:
    raise JournalError("no reading here")


@needs_library
def test_an_error_of_the_system_is_a_reason_too(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack_fixture(directory)
    monkeypatch.setattr("vedette.logs.journal_guard.WAIT_S", 0.01)
    journal = Journal(JournalSettings(directory=str(directory), start="start"))
    journal.poll(NOW, 1)
    with FaultGuard(), pytest.raises(Unavailable, match="another thread reads a journal"):
        journal.poll(NOW + S, 1)
    assert journal.poll(NOW + 5 * S, 1).entries[0].body == b"request 1"


@needs_library
def test_two_threads_at_once_are_refused(directory: Path) -> None:
    unpack_fixture(directory)
    journal = Journal(JournalSettings(directory=str(directory)))
    with journal._alone, pytest.raises(JournalError, match="another thread"):
        journal.poll(NOW, MUCH)
    # One after the other they may: a lane's thread is another one each time it has work.
    found: list[JournalBatch] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(journal.poll(NOW, MUCH)))
        thread.start()
        thread.join(30)
    assert len(found) == 2


@needs_library
@needs_remote
def test_what_comes_into_an_empty_journal_is_not_lost_by_a_restart(directory: Path) -> None:
    directory.mkdir()
    (directory / "damaged.journal").write_bytes(b"no journal")
    caller = Caller(directory)
    caller.now = START_US * 1000
    assert caller.poll().entries == []
    caller.restart()
    append(directory / "system.journal", services(1, 2))
    caller.poll()
    assert caller.bodies == bodies(1, 2)
    assert caller.gaps == 0


@needs_library
@needs_remote
@WAYS
def test_a_long_reading_gives_its_memory_back_and_misses_nothing(
    directory: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette.logs.journal.TOUCHED_MAX", 5000)
    append(directory / "system.journal", services(0, 40))
    caller = Caller(directory, start="start", way=way)
    readers = set()
    while len(caller.bodies) < 40:
        caller.poll_until(len(caller.bodies) + 1, budget=30)
        readers.add(id(caller.journal._reader))
    assert caller.bodies == bodies(0, 40)
    assert len(readers) > 2
    caller.journal.close()


@needs_library
@needs_remote
def test_when_a_journal_comes_it_takes_over_from_the_kernels_log(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").touch()
    kept = "kmsg;b=450d9131-830a-4c5d-8db5-847bede8655a;n=7"
    caller = Caller("", root=str(tmp_path), way="auto", start="start")
    caller.cursor = kept
    caller.restart()
    assert (caller.poll().entries, caller.journal.way) == ([], "kmsg")
    system = tmp_path / "run/log/journal" / ("a" * 32) / "system.journal"
    caller.now = (START_US + 3000) * 1000
    append(system, services(0, 6))
    # What journald took over from the kernel's log was read there: only what is new from now on.
    caller.poll()
    assert (caller.bodies, caller.journal.way) == (bodies(3, 3), "library")
    assert (caller.lost, caller.gaps) == (0, 0)
