"""Understand an entry of the journal, whichever way it was read: where it stands, who wrote it.

A cursor is the journal's own text for a place, ``s=..;i=..;b=..;m=..;t=..;x=..``: a line and the
number on it, boot and microseconds since boot, Unix microseconds, a hash; all in hexadecimal.
Vedette adds one form, ``t=..`` alone: before the first entry of that time or later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from vedette.logs.entry import NO_FIELDS, Entry, Severity
from vedette.logs.levels import PRIORITIES

#: What is asked of an entry; anything else the journal knows of it is left there.
MESSAGE = b"MESSAGE"
PRIORITY = b"PRIORITY"
TRANSPORT = b"_TRANSPORT"
SOURCE_TIME = b"_SOURCE_REALTIME_TIMESTAMP"
SOURCE_MONOTONIC = b"_SOURCE_MONOTONIC_TIMESTAMP"
CONTAINER = b"CONTAINER_NAME"
MESSAGE_ID = b"MESSAGE_ID"
SUBJECT = b"UNIT"
PROCESS = b"_PID"
UNIT = b"_SYSTEMD_UNIT"
USER_UNIT = b"_SYSTEMD_USER_UNIT"
IDENTIFIER = b"SYSLOG_IDENTIFIER"
COMMAND = b"_COMM"
WRITERS = (UNIT, USER_UNIT, IDENTIFIER, COMMAND)
#: What only programs that speak the journal's own protocol can say.
NATIVE = (CONTAINER, MESSAGE_ID, SUBJECT)
WANTED = (MESSAGE, PRIORITY, TRANSPORT, SOURCE_TIME, SOURCE_MONOTONIC, *WRITERS, *NATIVE, PROCESS)
#: Ways into the journal: the kernel's, and those that carry a text and no more.
KERNEL, STDOUT = b"kernel", b"stdout"
PLAIN = (b"syslog", STDOUT, b"audit", b"driver")

#: A message is cut off here: no text of a person is longer, core dumps and the like are.
MESSAGE_MAX = 65_536
#: Any other field: names of units have at most 255 letters, cursors fewer.
FIELD_MAX = 256
#: A writer's clock that is further from the journal's was set in between.
CLOCKS_APART_MAX_US = 3_600_000_000

_NUMBER_MAX = 2**64
_HEX = re.compile(r"[0-9a-f]{1,16}\Z")
_CURSOR = re.compile(
    r"s=(?P<s>[0-9a-f]{32});i=(?P<i>[0-9a-f]{1,16});b=(?P<b>[0-9a-f]{32});"
    r"m=(?P<m>[0-9a-f]{1,16});t=(?P<t>[0-9a-f]{1,16});x=(?P<x>[0-9a-f]{1,16})"
)
#: A service of one connection: ``sshd@5-10.0.0.1:22-10.0.0.9:51514.service``.
_OF_A_CONNECTION = re.compile(r"@\d+-.*[:.]\d+-.*\d+.*\.service\Z")
_SEVERITIES = {b"%d" % priority: severity for priority, severity in enumerate(PRIORITIES)}


class Position(msgspec.Struct, frozen=True):
    """A place in the journal; ``line`` and ``number`` are its sequence's id and number."""

    line: str
    number: int
    boot: str
    monotonic_us: int
    realtime_us: int
    digest: int

    def same_entry(self, other: Position) -> bool:
        """Tell whether both are one entry.

        When journald moves its files from /run to /var an entry gets another number on another
        line; its boot, its times and its content stay.
        """
        if self.line == other.line:
            return self.number == other.number
        return (self.boot, self.monotonic_us, self.realtime_us, self.digest) == (
            other.boot,
            other.monotonic_us,
            other.realtime_us,
            other.digest,
        )


def parse_cursor(cursor: str) -> Position | None:
    """Return the place a cursor of the journal names; None for anything else."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        return None
    number, monotonic, realtime, digest = (int(match[key], 16) for key in "imtx")
    return Position(match["s"], number, match["b"], monotonic, realtime, digest)


def realtime_of(cursor: str) -> int | None:
    """Return the Unix microseconds in a cursor of either form, even a damaged one; None without."""
    for part in cursor[:256].split(";"):
        key, _, value = part.partition("=")
        if key == "t" and _HEX.match(value):
            return int(value, 16)
    return None


def at_time(realtime_us: int) -> str:
    """Return the cursor before the first entry of this time or later."""
    return f"t={min(max(realtime_us, 0), _NUMBER_MAX - 1):x}"


def missing_between(before: str, after: str, read: int) -> int:
    """Return how many entries the journal numbered from one place to another, less those read.

    0 where that cannot be said: entries of another line lay between, or only times are known.
    A rotation can, seldom, use up a number for no entry, so this is "at most".
    """
    first, last = parse_cursor(before), parse_cursor(after)
    if first is None or last is None or first.line != last.line:
        return 0
    return max(last.number - first.number - read, 0)


def one_line(before: str, after: str) -> bool:
    """Tell whether two cursors are numbered in one line, so that what is between is known."""
    first, last = parse_cursor(before), parse_cursor(after)
    return first is not None and last is not None and first.line == last.line


def severity_of(priority: bytes | None) -> Severity:
    """Return the severity of a syslog priority (0 to 7); unknown for none or anything else."""
    return _SEVERITIES.get(priority or b"", Severity.UNKNOWN)


@lru_cache(maxsize=1024)
def unit_of(
    container: bytes | None = None,
    unit: bytes | None = None,
    user_unit: bytes | None = None,
    identifier: bytes | None = None,
    command: bytes | None = None,
) -> str:
    """Return the name of who wrote an entry; empty when nothing says it.

    A container's name comes first, because all of them write through the service of their engine.
    Then the service: the user's own rather than ``user@1000.service``, and one started for a single
    connection by its template, or each had its own name. A scope (a login session, a desktop
    program) is not named after what runs in it: there the writer's identifier counts, then its
    command.
    """
    if container:
        return _text(container)
    service = user_unit or unit
    if service and service.endswith(b".service"):
        return _OF_A_CONNECTION.sub("@.service", _text(service))
    for name in (identifier, command, service):
        if name:
            return _text(name)
    return ""


def kernel_unit(identifier: bytes | None) -> str:
    """Return who wrote into the kernel's log: early in a boot, systemd and others do as well."""
    return _text(identifier) if identifier else "kernel"


def time_of(realtime_us: int, source_us: bytes | None) -> int:
    """Return Unix ns of an entry: when it was sent, if that is told and close to when it came.

    ``realtime_us`` is when journald took the entry, which is late while it is overrun.
    """
    if source_us is not None and source_us.isdigit() and len(source_us) <= 17:
        sent = int(source_us)
        if abs(realtime_us - sent) <= CLOCKS_APART_MAX_US:
            return sent * 1000
    return realtime_us * 1000


def kernel_time(realtime_us: int, monotonic_us: int, source_us: bytes | None) -> int:
    """Return Unix ns of a line of the kernel, which says the microseconds since boot.

    Both other times are of the entry's arrival; journald takes all lines of a boot in one go.
    """
    if source_us is not None and source_us.isdigit() and len(source_us) <= 17:
        age = monotonic_us - int(source_us)
        if 0 <= age <= CLOCKS_APART_MAX_US:
            return (realtime_us - age) * 1000
    return realtime_us * 1000


@lru_cache(maxsize=1024)
def fields_of(
    transport: bytes | None, message_id: bytes | None = None, subject: bytes | None = None
) -> Mapping[str, bytes]:
    """Return the fields an entry keeps: how it came, its kind in the catalogue, whom it is about.

    The mapping is shared by all entries that say the same: not to be changed.
    """
    pairs = (("_TRANSPORT", transport), ("MESSAGE_ID", message_id), ("UNIT", subject))
    found = {name: value for name, value in pairs if value}
    return found or NO_FIELDS


def head_of(identifier: bytes | None, command: bytes | None, process: bytes | None) -> bytes:
    """Return what stands before a message where journalctl or a syslog daemon writes it."""
    name = identifier or command or b""
    return name + (b"[%s]: " % process if process else b": ")


def entry_of(fields: Mapping[bytes, bytes], size: int, *, heads: bool = False) -> Entry | None:
    """Return the entry of the fields in an export; None without a message or a time.

    ``size`` is the message's, before it was cut off; ``heads``: what stands before it is wanted.
    """
    message = fields.get(MESSAGE)
    realtime = _number(fields.get(b"__REALTIME_TIMESTAMP"))
    if not message or realtime is None:
        return None
    transport = fields.get(TRANSPORT)
    container = message_id = subject = None
    if transport == KERNEL:
        monotonic = _number(fields.get(b"__MONOTONIC_TIMESTAMP")) or 0
        time_ns = kernel_time(realtime, monotonic, fields.get(SOURCE_MONOTONIC))
        unit = kernel_unit(fields.get(IDENTIFIER))
    else:
        if transport not in PLAIN:
            container, message_id, subject = map(fields.get, NATIVE)
        source = fields.get(SOURCE_TIME) if transport != STDOUT else None
        time_ns = time_of(realtime, source)
        unit = unit_of(container, *map(fields.get, WRITERS))
    return Entry(
        message,
        time_ns,
        severity_of(fields.get(PRIORITY)),
        unit,
        fields_of(transport, message_id, subject),
        size + 1,
        message.count(b"\n") + 1,
        head_of(*map(fields.get, (IDENTIFIER, COMMAND, PROCESS))) if heads else b"",
    )


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and len(text) <= 20 and text.isdigit() else None


def _text(name: bytes) -> str:
    return name[:FIELD_MAX].decode("utf-8", "backslashreplace")
