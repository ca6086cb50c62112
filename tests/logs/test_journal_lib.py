"""The library's way, on a real journal file that comes with the tests."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from journal_files import (
    BOOT,
    START_US,
    append,
    bodies,
    descriptors,
    exported,
    needs_library,
    needs_remote,
    service_entry,
    services,
    unpack_fixture,
)

from vedette.logs.entry import Severity
from vedette.logs.journal_entry import at_time, parse_cursor
from vedette.logs.journal_lib import JournalError, Library, LibraryReader, Read
from vedette.logs.journal_places import Places

pytestmark = needs_library

FROM_START = at_time(0)
LAST = b"the last one"


@pytest.fixture(scope="module")
def library() -> Library:
    return Library()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return unpack_fixture(tmp_path / "journal").parent


def read_all(library: Library, directory: Path, cursor: str = FROM_START) -> Read:
    reader = LibraryReader(library, Places(directory=str(directory)), cursor)
    try:
        return reader.read(100_000, 1 << 30)
    finally:
        reader.close()


def test_every_entry_is_read_in_order_with_its_place(library: Library, directory: Path) -> None:
    read = read_all(library, directory)
    assert [entry.body for entry in read.entries[:200]] == bodies(0, 200)
    assert read.entries[-1].body == LAST
    assert (read.seen, read.damaged, read.ended) == (208, 0, True)
    place = parse_cursor(read.cursor)
    assert place is not None
    assert (place.number, place.boot) == (208, BOOT)
    assert place.realtime_us == START_US + 207 * 1000


def test_an_entry_says_when_how_grave_and_by_whom(library: Library, directory: Path) -> None:
    first = read_all(library, directory).entries[0]
    assert first.time_ns == (START_US - 50) * 1000
    assert (first.severity, first.unit) == (Severity.ERROR, "nginx.service")
    assert (first.fields, first.size, first.lines) == (
        {"_TRANSPORT": b"syslog"},
        len(b"request 0\n"),
        1,
    )


def test_a_message_of_bytes_and_lines_is_kept_as_it_is(library: Library, directory: Path) -> None:
    entry = read_all(library, directory).entries[200]
    assert entry.body == b"two lines\nof \xff bytes"
    assert (entry.lines, entry.severity) == (2, Severity.FATAL)


def test_of_a_clock_that_was_set_the_journals_time_counts(
    library: Library, directory: Path
) -> None:
    entry = read_all(library, directory).entries[201]
    assert entry.time_ns == (START_US + 201_000) * 1000


def test_a_line_of_the_kernel_has_the_time_of_its_printing(
    library: Library, directory: Path
) -> None:
    entry = read_all(library, directory).entries[202]
    # Printed 1 s after the boot, taken by journald 202 ms later.
    assert entry.time_ns == START_US * 1000
    assert (entry.unit, entry.fields) == ("kernel", {"_TRANSPORT": b"kernel"})


def test_a_container_is_the_writer_not_its_engine(library: Library, directory: Path) -> None:
    entry = read_all(library, directory).entries[203]
    assert entry.unit == "web-1"
    assert entry.fields == {"_TRANSPORT": b"journal", "MESSAGE_ID": b"a" * 32}


def test_what_systemd_says_of_a_service_names_both(library: Library, directory: Path) -> None:
    entry = read_all(library, directory).entries[204]
    assert (entry.unit, entry.fields["UNIT"]) == ("systemd", b"nginx.service")
    assert entry.severity == Severity.UNKNOWN


def test_a_long_message_is_cut_off_and_an_entry_without_one_is_passed(
    library: Library, directory: Path
) -> None:
    read = read_all(library, directory)
    assert len(read.entries) == read.seen - 1
    assert read.entries[205].body == b"x" * 65_536


def test_reading_goes_on_behind_the_entry_of_a_cursor(library: Library, directory: Path) -> None:
    places = Places(directory=str(directory))
    first = LibraryReader(library, places, FROM_START)
    read = first.read(3, 1 << 20)
    first.close()
    assert ([entry.body for entry in read.entries], read.ended) == (bodies(0, 3), False)
    second = LibraryReader(library, places, read.cursor)
    assert [entry.body for entry in second.read(2, 1 << 20).entries] == bodies(3, 2)
    assert second.found
    second.close()


def test_a_budget_of_bytes_ends_a_reading(library: Library, directory: Path) -> None:
    reader = LibraryReader(library, Places(directory=str(directory)), FROM_START)
    assert len(reader.read(1000, 25).entries) == 3
    assert [entry.body for entry in reader.read(1, 1).entries] == bodies(3, 1)
    reader.close()


def test_without_a_cursor_only_what_is_new_counts(library: Library, directory: Path) -> None:
    read = read_all(library, directory, "")
    assert read.entries == []
    assert read.cursor == read_all(library, directory).cursor


def test_a_time_is_a_place_too(library: Library, directory: Path) -> None:
    read = read_all(library, directory, at_time(START_US + 207_000))
    assert [entry.body for entry in read.entries] == [LAST]


def test_a_file_that_is_no_journal_does_not_hide_the_others(
    library: Library, directory: Path
) -> None:
    (directory / "empty.journal").touch()
    (directory / "garbage.journal").write_bytes(os.urandom(1 << 16))
    (directory / "cut.journal").write_bytes((directory / "entries.journal").read_bytes()[:5000])
    assert read_all(library, directory).seen == 208


@pytest.mark.parametrize("size", [0, 272, 100_000, 3_744_000, 3_780_000, 3_820_000])
def test_a_file_cut_off_while_it_is_read_costs_its_entries_not_the_process(
    library: Library, directory: Path, size: int
) -> None:
    reader = LibraryReader(library, Places(directory=str(directory)), FROM_START)
    assert len(reader.read(10, 1 << 20).entries) == 10
    os.truncate(directory / "entries.journal", size)
    read = reader.read(1000, 1 << 20)
    bodies_read = [entry.body for entry in read.entries]
    assert bodies_read[:190] == bodies(10, min(len(bodies_read), 190))
    assert read.damaged > 0 or len(bodies_read) > 150
    reader.close()


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bytes_cost_entries_not_the_process(
    library: Library, directory: Path, seed: int
) -> None:
    path = directory / "entries.journal"
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"MESSAGE=request 0") - 1000, len(data.rstrip(b"\0"))
    for n in range(40):
        at = begin + (seed * 7919 + n * 104_729) % (end - begin)
        data[at] ^= 1 << (n % 8)
    path.write_bytes(data)
    read = read_all(library, directory)
    assert read.seen <= 208
    assert len(read.entries) + read.damaged <= read.seen + 1


def test_a_missing_library_is_told_in_words() -> None:
    with pytest.raises(JournalError, match="cannot use libnone"):
        Library("libnone.so.9")
    with pytest.raises(JournalError, match=r"cannot use libc\.so\.6.*sd_journal"):
        Library("libc.so.6")


def test_a_missing_directory_and_a_failing_call_are_told_in_words(
    library: Library, tmp_path: Path
) -> None:
    with pytest.raises(JournalError, match="sd_journal_open_directory: No such file"):
        LibraryReader(library, Places(directory=str(tmp_path / "none")), "")
    with pytest.raises(JournalError, match="sd_journal_next: Invalid argument"):
        library.call("next", ctypes.c_void_p())


def test_a_closed_reader_says_so_and_closes_again(library: Library, directory: Path) -> None:
    reader = LibraryReader(library, Places(directory=str(directory)), FROM_START)
    reader.close()
    reader.close()
    with pytest.raises(JournalError, match="closed"):
        reader.read(1, 1)


def test_readers_leave_no_descriptors_behind(library: Library, directory: Path) -> None:
    read_all(library, directory)
    before = descriptors()
    for _ in range(5):
        read_all(library, directory)
    assert descriptors() == before


def test_each_thread_reads_with_a_handle_of_its_own(library: Library, directory: Path) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(read_all(library, directory).seen))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [208] * 4


@needs_remote
def test_entries_that_are_appended_are_read_by_the_open_reader(
    library: Library, tmp_path: Path
) -> None:
    path = append(tmp_path / "live.journal", services(0, 2))
    reader = LibraryReader(library, Places(directory=str(tmp_path)), "")
    assert reader.read(10, 1000).entries == []
    for first in (2, 5, 8):
        append(path, services(first, 3))
        read = reader.read(10, 1000)
        assert [entry.body for entry in read.entries] == bodies(first, 3)
        assert read.ended
    reader.close()


@needs_remote
def test_entries_of_two_files_are_read_in_the_order_of_time(
    library: Library, tmp_path: Path
) -> None:
    texts = [exported(service_entry(number)) for number in range(20)]
    append(tmp_path / "even.journal", b"".join(texts[::2]))
    append(tmp_path / "odd.journal", b"".join(texts[1::2]))
    assert [entry.body for entry in read_all(library, tmp_path).entries] == bodies(0, 20)
