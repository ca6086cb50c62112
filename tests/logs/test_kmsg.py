"""The kernel's log: each record once, what was overwritten counted."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette.logs.entry import Severity
from vedette.logs.journal import Journal, JournalSettings
from vedette.logs.kmsg import KernelLog, KernelRead, parse_kernel_cursor, parse_record

BOOT = "450d9131-830a-4c5d-8db5-847bede8655a"
S = 1_000_000_000
#: The machine was started at 1000 s.
CLOCKS = (1500 * S, 500 * S)
MUCH = 1 << 30


class Device:
    """A device of one record a read, as /dev/kmsg: a socket that keeps messages apart."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("dev", "proc/sys/kernel/random"):
            (root / name).mkdir(parents=True)
        (root / "dev/kmsg").touch()
        self.reboot(BOOT)
        self.logs: list[KernelLog] = []
        self._ours: list[socket.socket] = []

    def reboot(self, boot: str) -> None:
        (self.root / "proc/sys/kernel/random/boot_id").write_text(f"{boot}\n")

    def open(self, cursor: str = "", *records: bytes) -> KernelLog:
        """Open the log with these records in it."""
        log = KernelLog(str(self.root), cursor, from_start=True, clocks=lambda: CLOCKS)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        os.dup2(theirs.fileno(), log._descriptor)
        theirs.close()
        self.logs.append(log)
        self._ours.append(ours)
        self.add(*records)
        return log

    def add(self, *records: bytes) -> None:
        for record in records:
            self._ours[-1].send(record)

    def close(self) -> None:
        for log in self.logs:
            log.close()
        for ours in self._ours:
            ours.close()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path)
    yield made
    made.close()


def record(number: int, text: str = "", *, priority: int = 6, piece: str = "-") -> bytes:
    text = text or f"record {number}"
    return f"{priority},{number},{number * 1_000_000},{piece};{text}\n SUBSYSTEM=pci\n".encode()


def bodies(read: KernelRead) -> list[bytes]:
    return [entry.body for entry in read.entries]


def test_a_record_is_an_entry_with_time_severity_and_writer(device: Device) -> None:
    log = device.open("", record(3, "oom", priority=2), record(4, "unit started", priority=30))
    oom, started = log.read(10, MUCH).entries
    assert (oom.body, oom.time_ns, oom.severity) == (b"oom", 1003 * S, Severity.FATAL)
    assert (oom.unit, oom.fields) == ("kernel", {"_TRANSPORT": b"kernel"})
    assert oom.size == len(record(3, "oom", priority=2))
    assert (started.unit, started.severity) == ("daemon", Severity.INFO)


def test_reading_goes_on_behind_the_record_of_a_cursor(device: Device) -> None:
    records = [record(number) for number in range(5)]
    first = device.open("", *records)
    read = first.read(2, MUCH)
    assert (bodies(read), read.cursor, read.ended) == (
        [b"record 0", b"record 1"],
        f"kmsg;b={BOOT};n=1",
        False,
    )
    second = device.open(read.cursor, *records)
    assert bodies(second.read(10, MUCH)) == [b"record 2", b"record 3", b"record 4"]
    assert second.read(10, MUCH) == KernelRead([], f"kmsg;b={BOOT};n=4")


def test_a_budget_of_bytes_ends_a_reading(device: Device) -> None:
    log = device.open("", *(record(number) for number in range(5)))
    assert len(log.read(10, len(record(0)) + 1).entries) == 2


def test_what_was_overwritten_while_away_is_counted(device: Device) -> None:
    log = device.open(f"kmsg;b={BOOT};n=1", record(7), record(8))
    read = log.read(10, MUCH)
    assert (bodies(read), read.lost) == ([b"record 7", b"record 8"], 5)


def test_what_was_overwritten_while_reading_is_counted(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = device.open("", record(0), record(9))
    assert bodies(log.read(1, MUCH)) == [b"record 0"]
    real, calls = os.read, iter([True, False, False])

    def read(descriptor: int, size: int) -> bytes:
        if next(calls):
            raise OSError(errno.EPIPE, "overwritten")
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", read)
    found = log.read(10, MUCH)
    assert (bodies(found), found.lost, found.ended) == ([b"record 9"], 8, True)


def test_after_a_boot_everything_is_new_and_nothing_lost(device: Device) -> None:
    device.reboot("aaaaaaaa-830a-4c5d-8db5-847bede8655a")
    log = device.open(f"kmsg;b={BOOT};n=700", record(0), record(1))
    read = log.read(10, MUCH)
    assert (bodies(read), read.lost) == ([b"record 0", b"record 1"], 0)
    assert read.cursor == "kmsg;b=aaaaaaaa-830a-4c5d-8db5-847bede8655a;n=1"


def test_a_boots_first_records_that_are_gone_are_counted(device: Device) -> None:
    device.reboot("aaaaaaaa-830a-4c5d-8db5-847bede8655a")
    assert device.open(f"kmsg;b={BOOT};n=700", record(4)).read(10, MUCH).lost == 4


def test_the_oldest_record_of_a_first_reading_is_no_loss(device: Device) -> None:
    assert device.open("", record(4)).read(10, MUCH).lost == 0


def test_a_line_in_pieces_is_one_entry(device: Device) -> None:
    log = device.open(
        "",
        record(1, "cpus:", piece="c"),
        record(2, " 0", piece="+"),
        record(3, " 1", piece="+"),
        record(4, "next"),
        record(5, "open", piece="c"),
    )
    read = log.read(2, MUCH)
    assert (bodies(read), read.cursor) == ([b"cpus: 0 1", b"next"], f"kmsg;b={BOOT};n=4")
    assert read.entries[0].time_ns == 1001 * S
    # Nothing more comes: what there is of the line is the line.
    assert bodies(log.read(10, MUCH)) == [b"open"]


def test_a_place_is_never_inside_of_a_line(device: Device) -> None:
    records = [record(1), record(2, "a", piece="c"), record(3, "b", piece="+"), record(4)]
    read = device.open("", *records).read(1, MUCH)
    again = device.open(read.cursor, *records)
    assert bodies(again.read(10, MUCH)) == [b"ab", b"record 4"]


def test_pieces_are_not_joined_over_a_loss(device: Device) -> None:
    log = device.open("", record(1, "a", piece="c"), record(5, "b", piece="+"))
    read = log.read(10, MUCH)
    assert (bodies(read), read.lost) == ([b"a", b"b"], 3)


def test_bytes_that_the_kernel_escapes_come_back() -> None:
    found = parse_record(rb"6,1,2,-;one\x0atwo \x5cx41 \xff")
    assert found is not None
    assert found.text == b"one\ntwo \\x41 \xff"


def test_more_parts_in_the_head_are_no_harm() -> None:
    found = parse_record(b"6,1,2,-,caller=T1,more;text;with semicolon\n KEY=v\n")
    assert found is not None
    assert (found.text, found.facility, found.priority) == (b"text;with semicolon", 0, 6)


@pytest.mark.parametrize(
    "text", [b"", b";", b"6,1;x", b"x,1,2,-;x", b"6,-1,2,-;x", b"6,1,2,-", b"9" * 30 + b",1,2,-;x"]
)
def test_what_is_no_record_is_none(text: bytes) -> None:
    assert parse_record(text) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    parse_record(data)
    parse_record(b"6,1,2,-;" + data)


def test_garbage_is_counted_and_passed(device: Device) -> None:
    read = device.open("", record(1), b"garbage", record(2)).read(10, MUCH)
    assert (bodies(read), read.damaged) == ([b"record 1", b"record 2"], 1)


@pytest.mark.parametrize("text", ["", "kmsg", f"kmsg;b={BOOT};n=-1", f"kmsg;b={BOOT};n=1x", "s=1"])
def test_other_texts_are_no_cursors(text: str) -> None:
    assert parse_kernel_cursor(text) is None


def test_a_host_without_the_device_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot read .*dev/kmsg: No such file"):
        KernelLog(str(tmp_path))


def test_a_device_that_fails_is_told(device: Device) -> None:
    log = device.open("")
    directory = os.open(device.root, os.O_RDONLY)
    os.dup2(directory, log._descriptor)
    os.close(directory)
    with pytest.raises(Unavailable, match="cannot read /dev/kmsg: Is a directory"):
        log.read(10, MUCH)


def test_without_a_journal_the_kernels_log_is_what_there_is(device: Device) -> None:
    journal = Journal(JournalSettings(root=str(device.root), start="start"))
    assert journal.poll(1500 * S, MUCH).entries == []
    assert journal.way == "kmsg"
    kernel = journal._kernel
    assert kernel is not None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    os.dup2(theirs.fileno(), kernel._descriptor)
    ours.send(record(5))
    batch = journal.poll(1501 * S, MUCH)
    assert [entry.body for entry in batch.entries] == [b"record 5"]
    assert batch.cursor == f"kmsg;b={BOOT};n=5"
    for end in (ours, theirs):
        end.close()
    journal.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": False},
        {"way": "library"},
        {"cursor": f"s={'a' * 32};i=1;b={'b' * 32};m=1;t=1;x=1"},
    ],
    ids=["not wanted", "only the library", "a journal was there once"],
)
def test_the_kernels_log_is_no_replacement_for_a_journal(
    device: Device, settings: dict[str, object]
) -> None:
    journal = Journal(JournalSettings(root=str(device.root), **settings))  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="there is no journal"):
        journal.poll(1500 * S, MUCH)


def _readable() -> bool:
    try:
        KernelLog().close()
    except Unavailable:
        return False
    return True


@pytest.mark.skipif(not _readable(), reason="/dev/kmsg may not be read here")
def test_the_real_device_is_read_once_from_its_start_and_not_from_its_end() -> None:
    log = KernelLog(from_start=True)
    read = log.read(1_000_000, MUCH)
    log.close()
    assert read.ended
    assert read.damaged == 0
    at_end = KernelLog()
    assert parse_kernel_cursor(at_end.cursor) is not None or not read.entries
    assert all(entry.time_ns >= read.entries[-1].time_ns for entry in at_end.read(9, 99).entries)
    at_end.close()
    again = KernelLog(cursor=read.cursor)
    assert len(again.read(1_000_000, MUCH).entries) <= len(read.entries) // 2
    again.close()
