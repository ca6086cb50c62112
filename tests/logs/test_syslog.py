"""RFC 3164 and RFC 5424, with the examples of the standards."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.entry import Entry, Severity
from vedette.logs.framing import Framer
from vedette.logs.syslog import FIELDS_MAX, parse_5424, priority_of

NOW = int(datetime(2003, 10, 12, tzinfo=UTC).timestamp()) * 10**9


def read(line: bytes, zone: str = "UTC") -> Entry:
    (entry,) = Framer(zone).frame([line], NOW)
    return entry


def utc_ns(*parts: int, nanoseconds: int = 0) -> int:
    moment = datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]
    return int(moment.timestamp()) * 10**9 + nanoseconds


def test_the_first_example_of_rfc_5424() -> None:
    entry = read(
        b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - "
        b"\xef\xbb\xbf'su root' failed for lonvick on /dev/pts/8"
    )
    assert entry.body == b"'su root' failed for lonvick on /dev/pts/8"
    assert entry.time_ns == utc_ns(2003, 10, 11, 22, 14, 15, nanoseconds=3_000_000)
    assert (entry.severity, entry.unit) == (Severity.FATAL, "su")


def test_structured_data_of_rfc_5424_is_fields() -> None:
    entry = read(
        b"<165>1 2003-10-11T22:14:15.000003-07:00 192.0.2.1 evntslog 8710 ID47 "
        b'[exampleSDID@32473 iut="3" eventSource="a \\"b\\" \\] c"][more@1 x="y"] An event'
    )
    assert entry.body == b"An event"
    assert entry.fields == {
        "exampleSDID@32473.iut": b"3",
        "exampleSDID@32473.eventSource": b'a "b" ] c',
        "more@1.x": b"y",
    }
    assert entry.severity is Severity.INFO
    assert entry.time_ns == utc_ns(2003, 10, 12, 5, 14, 15, nanoseconds=3000)


def test_structured_data_without_a_message_and_nothing_at_all() -> None:
    entry = read(b'<165>1 - - - - - [a@1 b="c"]')
    assert (entry.body, entry.fields, entry.time_ns, entry.unit) == (b"", {"a@1.b": b"c"}, None, "")


def test_broken_structured_data_is_left_in_the_message() -> None:
    entry = read(b'<165>1 2003-10-11T22:14:15Z h p - - [a@1 b="c"][broken text')
    assert entry.body == b"[broken text"


@pytest.mark.parametrize(
    ("line", "unit", "body", "severity"),
    [
        (b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed", "su", b"'su root' failed", "FATAL"),
        (b"<13>Oct 11 22:14:15 web1 app[77]: hello", "app", b"hello", "INFO"),
        (b"Oct 11 22:14:15 web1 CRON[77]: (root) CMD (x)", "CRON", b"(root) CMD (x)", "UNKNOWN"),
        (b"<12>Oct 11 22:14:15 app: no host", "app", b"no host", "WARN"),
        (b"2003-10-11T22:14:15.000000+00:00 web1 sshd[1]: ok", "sshd", b"ok", "UNKNOWN"),
        (b"<11>2003-10-11T22:14:15Z web1 sshd[1]: bad", "sshd", b"bad", "ERROR"),
        (b"<4>[12345.678901] usb 1-1: reset", "", b"usb 1-1: reset", "WARN"),
    ],
)
def test_rfc_3164_as_it_is_written(line: bytes, unit: str, body: bytes, severity: str) -> None:
    entry = read(line)
    assert (entry.unit, entry.body, entry.severity.name) == (unit, body, severity)
    if b"22:14:15" in line:
        assert entry.time_ns == utc_ns(2003, 10, 11, 22, 14, 15)


def test_rfc_3164_is_in_the_zone_of_its_source() -> None:
    entry = read(b"<34>Oct 11 22:14:15 mymachine su: x", zone="Europe/Berlin")
    assert entry.time_ns == utc_ns(2003, 10, 11, 20, 14, 15)


def test_a_level_in_the_line_goes_before_the_priority() -> None:
    assert read(b"<14>Oct 11 22:14:15 web1 nm[1]: <warn>  [1065910455.5] link down").severity is (
        Severity.WARN
    )


def test_a_message_in_json_or_logfmt_is_read_as_such() -> None:
    entry = read(b'Oct 11 22:14:15 web1 app[1]: {"level":"error","msg":"boom","n":3}')
    assert (entry.body, entry.severity, entry.unit) == (b"boom", Severity.ERROR, "app")
    assert entry.fields == {"n": b"3"}
    assert entry.time_ns == utc_ns(2003, 10, 11, 22, 14, 15)
    entry = read(
        b'Oct 11 22:14:15 web1 dockerd[1]: time="2003-10-11T22:14:16Z" level=info msg="up"'
    )
    assert (entry.body, entry.unit) == (b"up", "dockerd")
    assert entry.time_ns == utc_ns(2003, 10, 11, 22, 14, 16)


@pytest.mark.parametrize("line", [b"<192>x", b"<>x", b"<1234>x", b"<-1>x", b"x<1>"])
def test_what_is_no_priority_is_text(line: bytes) -> None:
    assert priority_of(line) is None
    assert read(line).body == line


def test_parameters_are_bounded() -> None:
    pairs = b"".join(b' k%d="v"' % n for n in range(1000))
    parsed = parse_5424(b"<1>1 - - - - - [a@1" + pairs + b"] x")
    assert parsed is not None
    assert len(parsed.fields) == FIELDS_MAX
    assert parsed.body == b"x"


@given(st.integers(0, 191), st.binary(max_size=60).filter(lambda text: b"\n" not in text))
def test_a_body_is_the_end_of_its_line(priority: int, text: bytes) -> None:
    line = b"<%d>1 2003-10-11T22:14:15Z host app 1 - - %s" % (priority, text)
    parsed = parse_5424(line)
    assert parsed is not None
    assert line.endswith(parsed.body)
    assert parsed.priority == priority


@given(st.binary(max_size=100))
def test_no_bytes_raise(line: bytes) -> None:
    for whole in (line, b"<13>" + line, b"<13>1 - - - - - [" + line):
        entry = read(whole)
        assert entry.size == len(whole) + 1
