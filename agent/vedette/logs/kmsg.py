"""Read the kernel's log from /dev/kmsg, where no journal does: each record once, losses counted.

A read gives one record, ``priority,sequence,microseconds,flags[,..];text``, and what lines of
``KEY=value`` say of a device (Linux, Documentation/ABI/testing/dev-kmsg). Sequence numbers have no
holes, so what the kernel overwrote before it was read is known exactly. They begin anew with each
boot, so a place is kept as boot and number: ``kmsg;b=<boot id>;n=<sequence>``.

Where there is a journal, it has the kernel's lines and this module is not used, or they would count
twice. The collector ``kernel_log`` reads the same device for its metrics; that is another count.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable

import msgspec

from vedette.api import Unavailable
from vedette.logs.entry import Entry
from vedette.logs.journal_entry import KERNEL, fields_of, severity_of

#: Longer records the kernel does not make (``CONSOLE_EXT_LOG_MAX``, ``PRINTKRB_RECORD_MAX``).
RECORD_MAX = 8192
#: More records no kernel's buffer holds.
RECORDS_MAX = 1_000_000
#: A message in pieces is given out at the latest when it has so many bytes.
JOINED_MAX = 65_536

_CURSOR = re.compile(r"kmsg;b=(?P<boot>[0-9a-f-]{36});n=(?P<number>\d{1,20})")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_FACILITIES = {1: "user", 3: "daemon", 4: "auth", 5: "syslog", 10: "authpriv"}


class Record(msgspec.Struct, frozen=True):
    """One record: syslog facility and priority, number, microseconds since boot, and the text.

    ``piece`` is what the kernel says of a line printed in pieces: ``c`` its first one, ``+`` a
    further one (before Linux 4.10), ``-`` a whole line.
    """

    facility: int
    priority: int
    number: int
    monotonic_us: int
    piece: str
    text: bytes
    size: int


class KernelRead(msgspec.Struct, frozen=True):
    """What one look brought; ``lost`` counts records overwritten before they could be read."""

    entries: list[Entry]
    cursor: str
    lost: int = 0
    damaged: int = 0
    ended: bool = True


def parse_record(record: bytes) -> Record | None:
    """Return what a record says; None for what is none."""
    head, found, rest = record.partition(b";")
    parts = head.split(b",", 4)
    if not found or len(parts) < 4:
        return None
    numbers = parts[:3]
    if not all(number.isdigit() and len(number) <= 20 for number in numbers):
        return None
    priority, number, monotonic_us = map(int, numbers)
    piece = parts[3].decode("ascii", "replace")[:1]
    text = rest.split(b"\n", 1)[0]
    return Record(
        priority >> 3, priority & 7, number, monotonic_us, piece, _unescape(text), len(record)
    )


def parse_kernel_cursor(cursor: str) -> tuple[str, int] | None:
    """Return boot id and sequence number of a cursor of this module; None for anything else."""
    match = _CURSOR.fullmatch(cursor)
    return (match["boot"], int(match["number"])) if match else None


class KernelLog:
    """The kernel's log from a cursor on; without a cursor from its end, or its begin.

    ``clocks`` gives Unix and monotonic nanoseconds, of one moment.
    """

    def __init__(
        self,
        root: str = "/",
        cursor: str = "",
        *,
        from_start: bool = False,
        clocks: Callable[[], tuple[int, int]] = lambda: (time.time_ns(), time.monotonic_ns()),
    ) -> None:
        self._clocks = clocks
        self._boot = _boot_id(root)
        self._pieces: list[Record] = []
        known = parse_kernel_cursor(cursor)
        #: The last record that was given out, and the last that was read; -1 for none yet.
        self._given = self._read_last = -1
        if known is not None:
            # After a boot all of the log is new, and its numbers begin at 0.
            self._given = self._read_last = known[1] if known[0] == self._boot else -1
        self._counts_gaps = known is not None
        self._descriptor = _open(root)
        if known is None and not from_start:
            self._pass_over()

    @property
    def cursor(self) -> str:
        """The place behind the last record that was given out; empty as long as there is none."""
        return f"kmsg;b={self._boot};n={self._given}" if self._given >= 0 else ""

    def read(self, entries_max: int, size_max: int) -> KernelRead:
        """Return the next entries: at most so many, and no more once so many bytes are reached.

        Raises Unavailable when the device cannot be read any more.
        """
        entries: list[Entry] = []
        lost = damaged = size = 0
        wall_ns, monotonic_ns = self._clocks()
        offset_ns = wall_ns - monotonic_ns
        ended = False
        for _ in range(entries_max * 2):
            if len(entries) >= entries_max or size >= size_max:
                break
            raw = self._read_one()
            if raw is None:
                ended = True
                break
            record = parse_record(raw) if raw else None
            if record is None:
                damaged += bool(raw)
                continue
            if record.number <= self._read_last:
                continue
            missing = self._gap(record)
            if missing:
                lost += missing
                entries += self._flush(offset_ns)
            for entry in self._join(record, offset_ns):
                entries.append(entry)
                size += entry.size
        if ended:  # whoever prints in pieces has stopped: nothing more is waited for
            entries += self._flush(offset_ns)
        return KernelRead(entries, self.cursor, lost, damaged, ended)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _pass_over(self) -> None:
        """Read up to the end, so that the place is known even if nothing is logged for long."""
        for _ in range(RECORDS_MAX):
            raw = self._read_one()
            if raw is None:
                return
            record = parse_record(raw)
            if record is not None:
                self._given = self._read_last = record.number
                self._counts_gaps = True

    def _read_one(self) -> bytes | None:
        """Return one record; None when there is none now, nothing when some were overwritten."""
        try:
            return os.read(self._descriptor, RECORD_MAX) or None
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EPIPE:  # the next read gives the oldest record there is
                return b""
            raise Unavailable(f"cannot read /dev/kmsg: {error.strerror}") from error

    def _gap(self, record: Record) -> int:
        """Return how many records are missing before this one."""
        missing = record.number - self._read_last - 1 if self._counts_gaps else 0
        self._counts_gaps = True
        self._read_last = record.number
        return missing

    def _join(self, record: Record, offset_ns: int) -> list[Entry]:
        """Return what is complete with this record: a line in pieces is one entry."""
        pieces = self._pieces
        if pieces and record.piece == "+" and sum(len(piece.text) for piece in pieces) < JOINED_MAX:
            pieces.append(record)
            return []
        done = self._flush(offset_ns)
        if record.piece == "c":
            self._pieces = [record]
            return done
        done.append(_entry([record], offset_ns))
        self._given = record.number
        return done

    def _flush(self, offset_ns: int) -> list[Entry]:
        pieces, self._pieces = self._pieces, []
        if not pieces:
            return []
        self._given = pieces[-1].number
        return [_entry(pieces, offset_ns)]


def _entry(records: list[Record], offset_ns: int) -> Entry:
    first = records[0]
    body = b"".join(record.text for record in records)
    return Entry(
        body,
        max(first.monotonic_us * 1000 + offset_ns, 0),
        severity_of(b"%d" % first.priority),
        _FACILITIES.get(first.facility, "user") if first.facility else "kernel",
        fields_of(KERNEL),
        sum(record.size for record in records),
        body.count(b"\n") + 1,
    )


def _unescape(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), text)


def _boot_id(root: str) -> str:
    """Return this boot's id; zeros where the kernel does not tell it."""
    try:
        with open(os.path.join(root, "proc/sys/kernel/random/boot_id")) as file:
            text = file.read(64).strip()
    except (OSError, ValueError):
        text = ""
    return text if re.fullmatch(r"[0-9a-f-]{36}", text) else "00000000-0000-0000-0000-000000000000"


def _open(root: str) -> int:
    path = os.path.join(root, "dev/kmsg")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        hint = " (needs root or CAP_SYSLOG)" if error.errno in (errno.EPERM, errno.EACCES) else ""
        raise Unavailable(f"cannot read {path}: {error.strerror}{hint}") from error
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)  # the oldest record there is
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    return descriptor
