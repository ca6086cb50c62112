"""What an entry of the journal says of itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.entry import Severity
from vedette.logs.journal_entry import (
    at_time,
    entry_of,
    kernel_time,
    missing_between,
    one_line,
    parse_cursor,
    realtime_of,
    severity_of,
    time_of,
    unit_of,
)

LINE, BOOT = "5a85b17fbc444720898edd79cc17e8ee", "0123456789abcdef0123456789abcdef"


def cursor(number: int, *, line: str = LINE, monotonic: int = 7, digest: int = 9) -> str:
    return f"s={line};i={number:x};b={BOOT};m={monotonic:x};t=660b5abec4498;x={digest:x}"


def test_a_cursor_of_the_library_is_understood() -> None:
    place = parse_cursor(cursor(0xC350))
    assert place is not None
    assert (place.line, place.number, place.boot) == (LINE, 50_000, BOOT)
    assert (place.monotonic_us, place.realtime_us, place.digest) == (7, 1_795_183_249_999_000, 9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "t=5",
        cursor(1)[:-4] + ";x=zz",
        cursor(1) + "\n",
        cursor(1) + "\0",
        "s=" * 999,
    ],
)
def test_other_texts_are_no_cursors(text: str) -> None:
    assert parse_cursor(text) is None


@given(st.text())
def test_no_text_breaks_the_parsing(text: str) -> None:
    assert parse_cursor(text) is None
    assert realtime_of(text) is None or "t=" in text


def test_a_time_is_a_cursor_and_a_cursor_has_a_time() -> None:
    assert realtime_of(at_time(12_345)) == 12_345
    assert realtime_of(cursor(1)) == 1_795_183_249_999_000
    assert at_time(-5) == "t=0"


def test_an_entry_moved_to_the_disk_is_still_the_same_entry() -> None:
    here, there = parse_cursor(cursor(5)), parse_cursor(cursor(9, line="b" * 32))
    assert here is not None
    assert there is not None
    assert here.same_entry(there)
    for other in (cursor(9, line="b" * 32, monotonic=8), cursor(9, line="b" * 32, digest=1)):
        place = parse_cursor(other)
        assert place is not None
        assert not here.same_entry(place)


def test_two_entries_of_one_moment_and_text_are_two() -> None:
    first, second = parse_cursor(cursor(5)), parse_cursor(cursor(6))
    assert first is not None
    assert second is not None
    assert not first.same_entry(second)


@pytest.mark.parametrize(
    ("before", "after", "read", "missing"),
    [
        (cursor(5), cursor(9), 4, 0),
        (cursor(5), cursor(9), 1, 3),
        (cursor(5), cursor(9), 6, 0),
        (cursor(5), cursor(9, line="b" * 32), 1, 0),
        ("t=0", cursor(9), 1, 0),
        ("", "", 0, 0),
    ],
)
def test_what_is_missing_is_known_within_one_line(
    before: str, after: str, read: int, missing: int
) -> None:
    assert missing_between(before, after, read) == missing


def test_one_line_needs_two_places() -> None:
    assert one_line(cursor(1), cursor(2))
    assert not one_line(cursor(1), cursor(2, line="b" * 32))
    assert not one_line(cursor(1), "t=0")


@pytest.mark.parametrize(
    ("priority", "severity"),
    [
        (b"0", Severity.FATAL),
        (b"3", Severity.ERROR),
        (b"4", Severity.WARN),
        (b"6", Severity.INFO),
        (b"7", Severity.DEBUG),
        (b"8", Severity.UNKNOWN),
        (b"-1", Severity.UNKNOWN),
        (b"", Severity.UNKNOWN),
        (None, Severity.UNKNOWN),
    ],
)
def test_priorities_are_those_of_syslog(priority: bytes | None, severity: Severity) -> None:
    assert severity_of(priority) == severity


@pytest.mark.parametrize(
    ("said", "unit"),
    [
        ((b"web-1", b"docker.service"), "web-1"),
        ((None, b"nginx.service", None, b"nginx", b"nginx"), "nginx.service"),
        ((None, b"postgresql@15-main.service"), "postgresql@15-main.service"),
        ((None, b"user@1000.service", b"pipewire.service"), "pipewire.service"),
        ((None, b"user@1000.service", b"app-shell-812.scope", b"shell"), "shell"),
        ((None, b"session-14.scope", None, b"sudo", b"sudo"), "sudo"),
        ((None, b"session-14.scope", None, None, b"bash"), "bash"),
        ((None, b"init.scope", None, b"systemd", b"systemd"), "systemd"),
        ((None, b"session-14.scope"), "session-14.scope"),
        ((None, b"sshd@5-10.0.0.1:22-10.0.0.9:51514.service"), "sshd@.service"),
        ((None, b"sshd@12-2001:db8::1:22-2001:db8::9:51514.service"), "sshd@.service"),
        ((None, None, None, b"cron"), "cron"),
        ((None, None, None, b"\xff"), "\\xff"),
        ((), ""),
    ],
)
def test_the_writer_is_the_most_telling_name(said: tuple[bytes | None, ...], unit: str) -> None:
    assert unit_of(*said) == unit


@pytest.mark.parametrize(
    ("source", "time_us"),
    [
        (b"1795183200000000", 1_795_183_200_000_000),
        (b"1795179600000000", 1_795_179_600_000_000),
        (b"1795179599999999", 1_795_183_200_000_000),
        (b"9" * 17, 1_795_183_200_000_000),
        (b"9" * 5000, 1_795_183_200_000_000),
        (b"12 ", 1_795_183_200_000_000),
        (None, 1_795_183_200_000_000),
    ],
)
def test_the_senders_time_counts_unless_the_clock_was_set(
    source: bytes | None, time_us: int
) -> None:
    assert time_of(1_795_183_200_000_000, source) == time_us * 1000


def test_a_kernels_line_is_as_old_as_its_stamp_says() -> None:
    assert kernel_time(10_000_000, 5_000_000, b"2000000") == 7_000_000_000
    assert kernel_time(10_000_000, 5_000_000, b"6000000") == 10_000_000_000
    assert kernel_time(10_000_000, 5_000_000, None) == 10_000_000_000


def test_fields_of_an_export_without_text_or_time_are_no_entry() -> None:
    assert entry_of({b"MESSAGE": b"x"}, 1) is None
    assert entry_of({b"__REALTIME_TIMESTAMP": b"5"}, 0) is None
    assert entry_of({b"__REALTIME_TIMESTAMP": b"-5", b"MESSAGE": b"x"}, 1) is None
    entry = entry_of({b"__REALTIME_TIMESTAMP": b"5", b"MESSAGE": b"x\ny"}, 3)
    assert entry is not None
    assert (entry.time_ns, entry.lines, entry.size, entry.unit) == (5000, 2, 4, "")
