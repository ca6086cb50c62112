"""Raw lines to events: formats recognised, mixed, wrapped, split; nothing lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.entry import Entry, Severity
from vedette.logs.framing import NS, PARTIAL_MAX, PARTIAL_WAIT_S, STREAMS_MAX, Framer

NOW = 1_718_452_800 * NS
T = 1_704_164_645 * NS  # 2024-01-02T03:04:05Z

#: One line of each format, with its body and severity.
FORMATS = [
    (b"Jan  2 03:04:05 web1 sshd[1]: Accepted publickey", b"Accepted publickey", "UNKNOWN"),
    (b"<11>Jan  2 03:04:05 web1 app[1]: broken", b"broken", "ERROR"),
    (b"<11>1 2024-01-02T03:04:05Z web1 app 1 - - broken", b"broken", "ERROR"),
    (b"2024-01-02T03:04:05Z stdout F 2024-01-02 03:04:05 WARN db: slow", b"slow", "WARN"),
    (
        (
            b'{"log":"{\\"level\\":\\"error\\",\\"msg\\":\\"bad\\"}\\n","stream":"stderr",'
            b'"time":"2024-01-02T03:04:05Z"}'
        ),
        b"bad",
        "ERROR",
    ),
    (b'{"level":"warn","ts":1704164645,"msg":"hot"}', b"hot", "WARN"),
    (b"time=2024-01-02T03:04:05Z level=info msg=ready", b"ready", "INFO"),
    (b"2024-01-02 03:04:05,000 ERROR [main] org.foo.Bar: failed", b"failed", "ERROR"),
    (b'10.0.0.5 - - [02/Jan/2024:03:04:05 +0000] "GET / HTTP/1.1" 502 23', None, "ERROR"),
    (b'10.0.0.5 - - [02/Jan/2024:03:04:05 +0000] "GET / HTTP/1.1" 404 23', None, "INFO"),
    (b"E0102 03:04:05.000000 1234 x.go:1] lost", b"lost", "ERROR"),
    (b"a plain text", b"a plain text", "UNKNOWN"),
]


@pytest.mark.parametrize(("line", "body", "severity"), FORMATS)
def test_a_format_is_recognised_by_one_line(line: bytes, body: bytes | None, severity: str) -> None:
    (entry,) = Framer().frame([line], NOW)
    assert entry.body == (line[line.index(b'"') :] if body is None else body)
    assert entry.severity.name == severity
    assert entry.time_ns == (None if b"plain" in line else T)
    assert (entry.size, entry.lines) == (len(line) + 1, 1)


def test_formats_mix_within_one_file() -> None:
    lines = [line for _ in range(60) for line, _, _ in FORMATS]
    entries = Framer().frame(lines, NOW)
    for index, entry in enumerate(entries):
        line, body, severity = FORMATS[index % len(FORMATS)]
        assert entry.body == (line[line.index(b'"') :] if body is None else body)
        assert entry.severity.name == severity


def test_a_format_may_change_for_another() -> None:
    framer = Framer()
    for line, body, severity in FORMATS:
        entries = framer.frame([line] * 300, NOW)
        expected = line[line.index(b'"') :] if body is None else body
        assert {entry.body for entry in entries} == {expected}
        assert {entry.severity.name for entry in entries} == {severity}


def test_one_batch_and_line_by_line_agree() -> None:
    lines = [
        b"2024-01-02 03:04:%02d,%03d INFO [worker-%d] org.foo.Bar: request %d took %d ms"
        % (n % 60, n, n % 7, n, n * 3)
        for n in range(400)
    ]
    whole = Framer().frame(lines, NOW)
    framer = Framer()
    single = [entry for line in lines for entry in framer.frame([line], NOW)]
    assert whole == single
    assert whole[7].body == b"request 7 took 21 ms"
    assert whole[7].fields == {"logger": b"org.foo.Bar"}
    assert whole[7].time_ns == T + 2 * NS + 7_000_000


def test_the_program_is_the_unit_and_the_logger_a_field() -> None:
    lines = [b"Jan  2 03:04:05 web1 app[7]: 2024-01-02 03:04:05 ERROR db.pool: gone"] * 40
    for entry in Framer().frame(lines, NOW):
        assert (entry.unit, entry.fields) == ("app", {"logger": b"db.pool"})
        assert (entry.body, entry.severity) == (b"gone", Severity.ERROR)


def test_a_container_keeps_its_stream_and_the_programs_own_time() -> None:
    line = b"2024-01-02T03:04:07.5Z stderr F 2024-01-02 03:04:05 INFO app: up"
    (entry,) = Framer().frame([line], NOW)
    assert entry.fields == {"logger": b"app", "stream": b"stderr"}
    assert entry.time_ns == T
    (bare,) = Framer().frame([b"2024-01-02T03:04:05.000000005Z stdout F no header"], NOW)
    assert (bare.body, bare.time_ns) == (b"no header", T + 5)


def test_indentation_survives_the_container() -> None:
    (entry,) = Framer().frame([b"2024-01-02T03:04:05Z stderr F     at com.foo.Bar"], NOW)
    assert entry.body == b"    at com.foo.Bar"


def test_parts_of_a_cri_line_are_one_event() -> None:
    framer = Framer()
    lines = [
        b"2024-01-02T03:04:05Z stdout P first ",
        b"2024-01-02T03:04:05Z stderr F between",
        b"2024-01-02T03:04:06Z stdout P second ",
    ]
    assert [entry.body for entry in framer.frame(lines, NOW)] == [b"between"]
    (entry,) = framer.frame([b"2024-01-02T03:04:07Z stdout F third"], NOW)
    assert (entry.body, entry.lines, entry.time_ns) == (b"first second third", 3, T)
    assert entry.size == len(lines[0]) + len(lines[2]) + 36 + 2


def test_parts_of_a_docker_line_end_with_its_newline() -> None:
    def record(text: str) -> bytes:
        return json.dumps(
            {"log": text, "stream": "stdout", "time": "2024-01-02T03:04:05Z"},
            separators=(",", ":"),
        ).encode()

    lines = [record("a" * 16384), record("b" * 16384), record("c\n"), record("d\n")]
    first, second = Framer().frame(lines, NOW)
    assert first.body == b"a" * 16384 + b"b" * 16384 + b"c"
    assert (first.lines, first.size) == (3, sum(len(line) + 1 for line in lines[:3]))
    assert second.body == b"d"


def test_a_line_that_never_ends_is_bounded_and_comes_out_in_time() -> None:
    framer = Framer()
    part = b"2024-01-02T03:04:05Z stdout P " + b"x" * 16384
    assert framer.frame([part] * 100, NOW) == []
    assert len(framer.flush(NOW + NS)) == 0
    (entry,) = framer.flush(NOW + int(PARTIAL_WAIT_S * NS)).entries()
    assert len(entry.body) == PARTIAL_MAX
    assert (entry.lines, entry.size) == (100, 100 * (len(part) + 1))


def test_streams_without_end_are_bounded() -> None:
    framer = Framer()
    lines = [b'{"log":"x","stream":"s%d","time":"2024-01-02T03:04:05Z"}' % n for n in range(100)]
    out = framer.frame(lines, NOW) + framer.flush(NOW, everything=True).entries()
    assert sum(entry.lines for entry in out) == 100
    assert len(framer._partials) <= STREAMS_MAX


def test_entries_of_the_journal_are_refined() -> None:
    entries = [
        Entry(b"2024-01-02 03:04:05 ERROR db: gone", T + 1, Severity.INFO, "app.service"),
        Entry(b'{"level":"warn","msg":"hot","n":1}', T + 2, Severity.INFO, "x", {"a": b"b"}, 9, 2),
        Entry(b"Started Session 3", T + 3, Severity.INFO, "systemd"),
    ]
    first, second, third = Framer().refine(entries, NOW).entries()
    assert (first.body, first.severity, first.time_ns) == (b"gone", Severity.ERROR, T)
    assert first.unit == "app.service"
    assert (second.body, second.severity, second.time_ns) == (b"hot", Severity.WARN, T + 2)
    assert (second.fields, second.size, second.lines) == ({"a": b"b", "n": b"1"}, 9, 2)
    assert third == entries[2]


def test_an_audit_line_keeps_what_it_is_about() -> None:
    line = b"type=SYSCALL msg=audit(1704164645.123:456): arch=c000003e syscall=59 success=yes"
    (entry,) = Framer().frame([line], NOW)
    assert (entry.body, entry.unit, entry.time_ns) == (line, "audit", T + 123_000_000)


def test_kernel_lines_have_a_time_when_the_boot_is_known() -> None:
    lines = [b"[   12.500000] usb 1-1: new device", b"<4>[   13.000000] usb 1-1: reset"]
    first, second = Framer(boot_ns=T).frame(lines, NOW)
    assert (first.body, first.time_ns) == (b"usb 1-1: new device", T + 12_500_000_000)
    assert (second.body, second.severity) == (b"usb 1-1: reset", Severity.WARN)


LINE = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([line for line, _, _ in FORMATS]),
    st.sampled_from(
        [
            b"2024-01-02T03:04:05Z stdout P half ",
            b'{"log":"half","stream":"stdout","time":""}',
            b"",
            b"\x00" * 40,
            b" " * 30,
            b"{",
            b"<13>",
            b"2024-01-02 03:04:05 ",
            b"\xff\xfe2024-01-02",
        ]
    ),
).map(lambda line: line.replace(b"\n", b"")[:200])


@given(st.lists(st.lists(LINE, max_size=30), max_size=6))
def test_no_bytes_raise_and_nothing_is_lost(batches: list[list[bytes]]) -> None:
    framer = Framer("Europe/Berlin")
    entries = [entry for lines in batches for entry in framer.frame(lines, NOW)]
    entries += framer.flush(NOW, everything=True).entries()
    lines = [line for batch in batches for line in batch]
    assert sum(entry.lines for entry in entries) == len(lines)
    assert sum(entry.size for entry in entries) == sum(len(line) + 1 for line in lines)


@given(st.lists(st.binary(max_size=60).map(lambda b: b.replace(b"\n", b" ")), max_size=40))
def test_a_body_is_the_end_of_its_line(texts: list[bytes]) -> None:
    lines = [
        b"2024-01-02 03:04:05 INFO app: " + text.replace(b"{", b"(").replace(b"=", b"-")
        for text in texts
    ]
    for line, entry in zip(lines, Framer().frame(lines, NOW), strict=True):
        assert line.rstrip().endswith(entry.body)
