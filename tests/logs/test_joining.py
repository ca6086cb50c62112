"""Lines of one event joined: traces of each language, with and without headers, and bounds."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.columns import Columns
from vedette.logs.entry import Entry, Severity
from vedette.logs.framing import Framer
from vedette.logs.joining import BYTES_MAX, COUNTED_MAX, HELD_MAX, LINES_MAX, NS, WAIT_S, Joiner

NOW = 1_718_452_800 * NS

TRACES = {
    "python": b"""Traceback (most recent call last):
  File "/app/x.py", line 3, in f
    g(a)
    ~^^^
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/x.py", line 9, in <module>
    main()
ValueError: bad""",
    "python cause": b"""Traceback (most recent call last):
  File "/app/x.py", line 3, in f
    g(a)
app.errors.Inner: x

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/x.py", line 9, in <module>
    main()
app.errors.Outer""",
    "python group": b"""  + Exception Group Traceback (most recent call last):
  |   File "/x.py", line 1, in <module>
  |     raise ExceptionGroup("two", [ValueError(1), KeyError(2)])
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +---------------- 2 ----------------
    | KeyError: 2
    +------------------------------------""",
    "java": b"""java.lang.IllegalStateException: outer
\tat com.foo.Bar.baz(Bar.java:12)
\tat com.foo.Bar.main(Bar.java:3)
\tSuppressed: java.io.IOException: closing
\t\tat com.foo.Bar.close(Bar.java:30)
Caused by: java.lang.NullPointerException
\tat com.foo.Bar.inner(Bar.java:22)
\t... 23 more""",
    "java thread": b"""Exception in thread "main" java.lang.RuntimeException: x
\tat Main.main(Main.java:5)""",
    "go": b"""panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.foo(0x1, 0x2)
\t/app/main.go:12 +0x1d
main.(*T).bar(...)
\t/app/main.go:15
created by main.main in goroutine 7
\t/app/main.go:20 +0x2a
exit status 2""",
    "node": b"""/app/x.js:12
    throw new Error("boom")
    ^

Error: boom
    at foo (/app/x.js:12:11)
    at Module._compile (node:internal/modules/cjs/loader:1105:14) {
  code: 'E'
}

Node.js v18.1.0""",
    "rust": b"""thread 'main' panicked at src/main.rs:4:5:
index out of bounds: the len is 3 but the index is 5
stack backtrace:
   0: rust_begin_unwind
             at /rustc/x/library/std/src/panicking.rs:645:5
   1: core::panicking::panic_fmt
note: run with `RUST_BACKTRACE=full` for a verbose backtrace""",
    "dotnet": b"""Unhandled exception. System.InvalidOperationException: bad
 ---> System.Exception: inner
   at Foo.Bar() in /x.cs:line 12
   --- End of inner exception stack trace ---
   at Foo.Main() in /x.cs:line 3""",
    "ruby": b"""app.rb:3:in `foo': boom (RuntimeError)
\tfrom app.rb:6:in `bar'
\tfrom app.rb:9:in `<main>'""",
    "php": b"""PHP Fatal error:  Uncaught Exception: boom in /x.php:3
Stack trace:
#0 /x.php(5): foo()
#1 {main}
  thrown in /x.php on line 3""",
}
WRAPPINGS = {
    "file": b"%s",
    "cri": b"2024-01-02T03:04:05.123456789Z stderr F %s",
    "syslog": b"Jan  2 03:04:05 web1 app[12]: %s",
}


def joined(lines: list[bytes], steady: int = 0) -> list[Entry]:
    """Return the events in lines, after so many ordinary lines of the same source."""
    framer, joiner = Framer(), Joiner()
    ordinary = [b"2024-01-02 03:04:%02d INFO app.main: request %d" % (n % 60, n) for n in range(60)]
    joiner.join(framer.columns(ordinary[:steady], NOW), NOW)
    joiner.flush(NOW, everything=True)
    out = joiner.join(framer.columns(lines, NOW), NOW).entries()
    out += joiner.flush(NOW, everything=True).entries()
    assert sum(entry.lines for entry in out) == len(lines)
    assert sum(entry.size for entry in out) == sum(len(line) + 1 for line in lines)
    return out


def wrapped(wrapping: str, text: bytes) -> list[bytes]:
    return [WRAPPINGS[wrapping] % line for line in text.split(b"\n")]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("language", TRACES)
def test_a_trace_is_one_event_between_its_neighbours(language: str, wrapping: str) -> None:
    trace = wrapped(wrapping, TRACES[language])
    before, after = wrapped(wrapping, b"service is up\nservice is down")
    events = joined([before, before, *trace, after, after])
    assert [event.body for event in events[:2]] == [b"service is up"] * 2
    assert [event.body for event in events[-2:]] == [b"service is down"] * 2
    (event,) = events[2:-2]
    assert event.lines == len(trace)
    assert event.body.split() == TRACES[language].split()


@pytest.mark.parametrize("wrapping", ["file", "cri"])
@pytest.mark.parametrize("language", ["python", "java", "go", "php", "rust"])
def test_a_trace_belongs_to_the_error_logged_with_it(language: str, wrapping: str) -> None:
    text = (
        b"2024-01-02 03:04:05 ERROR app.main: it failed\n%s\n2024-01-02 03:04:06 INFO app.main: on"
    )
    lines = wrapped(wrapping, text % TRACES[language])
    first, second = joined(lines, steady=60 if wrapping == "file" else 0)
    assert first.severity is Severity.ERROR
    assert first.body.startswith(b"it failed\n" + TRACES[language][:10])
    assert (second.body, second.severity) == (b"on", Severity.INFO)


def test_a_trace_after_an_all_is_well_is_an_event_of_its_own() -> None:
    lines = [b"2024-01-02 03:04:05 INFO app.main: fine", *TRACES["python"].split(b"\n")]
    first, second = joined(lines, steady=60)
    assert (first.body, first.lines) == (b"fine", 1)
    assert second.body.startswith(b"Traceback")


def test_lines_that_come_between_are_not_glued() -> None:
    ordinary = b"2024-01-02 03:04:05 INFO app.main: request done"
    lines = []
    for line in TRACES["java"].split(b"\n")[:4]:
        lines += [line, ordinary]
    events = joined(lines, steady=60)
    assert [event.body for event in events[1::2]] == [b"request done"] * 4
    assert [event.lines for event in events] == [1] * 8


def test_two_streams_of_a_container_are_kept_apart() -> None:
    trace = TRACES["python"].split(b"\n")
    lines = []
    for line in trace:
        lines += [
            b"2024-01-02T03:04:05Z stderr F " + line,
            b"2024-01-02T03:04:05Z stdout F GET /",
        ]
    events = joined(lines)
    assert [event.body for event in events].count(b"GET /") == len(trace)
    (event,) = [event for event in events if event.fields == {"stream": b"stderr"}]
    assert event.body == TRACES["python"]


def test_two_programs_of_a_syslog_are_kept_apart() -> None:
    lines = []
    for line in TRACES["java"].split(b"\n"):
        lines += [
            b"Jan  2 03:04:05 web1 app[12]: " + line,
            b"Jan  2 03:04:05 web1 cron[1]: (root) CMD (x)",
        ]
    events = joined(lines)
    assert sorted({event.unit for event in events}) == ["app", "cron"]
    (event,) = [event for event in events if event.unit == "app"]
    assert event.lines == 8


def test_entries_of_the_journal_are_joined_too() -> None:
    lines = TRACES["java"].split(b"\n")
    entries = [Entry(line, NOW, Severity.INFO, "app.service", size=len(line) + 1) for line in lines]
    joiner = Joiner()
    assert len(joiner.join(Columns.of(entries), NOW)) == 0
    (event,) = joiner.flush(NOW, everything=True).entries()
    assert (event.body, event.unit, event.lines) == (TRACES["java"], "app.service", 8)


def test_what_is_indented_below_a_header_belongs_to_it() -> None:
    head = b"2024-01-02 03:04:05 INFO app.main: "
    lines = [
        head + b"configuration",
        b"  a: 1",
        b"\tb: 2",
        head + b"{",
        b'  "x": 1',
        b"}",
        head + b"next",
    ]
    assert [event.lines for event in joined(lines, steady=60)] == [3, 3, 1]


def test_indented_lines_of_a_source_without_headers_stay_apart() -> None:
    lines = [b"total 12", b"  4 a", b"  8 b", b"total 7", b"  7 c"] * 20
    assert len(joined(lines)) == 100


def test_the_two_lines_of_java_util_logging_are_one_event() -> None:
    lines = [
        b"Jan 02, 2024 3:04:05 AM org.apache.catalina.core.StandardService startInternal",
        b"INFO: Starting service",
        b"Jan 02, 2024 3:04:06 AM org.apache.catalina.core.StandardService startInternal",
        b"SEVERE: broken",
        b"java.lang.NullPointerException",
        b"\tat com.foo.Bar.inner(Bar.java:22)",
    ]
    first, second = joined(lines)
    assert (first.body, first.severity) == (b"Starting service", Severity.INFO)
    assert (second.severity, second.lines) == (Severity.ERROR, 4)
    assert second.body.startswith(b"broken\njava.lang.NullPointerException\n")


def test_the_console_of_dotnet_is_joined() -> None:
    lines = [
        b"info: Microsoft.Hosting.Lifetime[14]",
        b"      Now listening on: http://localhost:5000",
        b"fail: Microsoft.AspNetCore.Server.Kestrel[13]",
        b"      System.Exception: boom",
        b"         at Foo.Bar() in /x.cs:line 12",
    ] * 3
    assert [event.lines for event in joined(lines)] == [2, 3] * 3


def test_real_tracebacks_of_this_python_are_joined() -> None:
    program = """
import logging
logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
def f(n):
    try:
        {}[n] + 1
    except KeyError as error:
        raise ValueError("chained") from error
for n in range(3):
    logging.info("round %d", n)
    try:
        f(n)
    except ValueError:
        logging.exception("round %d failed", n)
try:
    raise ExceptionGroup("group", [ValueError(1), TypeError("t")])
except ExceptionGroup:
    logging.exception("grouped")
logging.info("end")
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=60
    )
    events = joined(ran.stderr.rstrip(b"\n").split(b"\n"))
    firsts = [event.body.split(b"\n")[0] for event in events]
    rounds = [part for n in range(3) for part in (b"round %d" % n, b"round %d failed" % n)]
    assert firsts == [*rounds, b"grouped", b"end"]
    assert events[1].body.endswith(b"ValueError: chained")
    assert events[6].body.rstrip().endswith(b"+------------------------------------")


def test_the_newest_event_is_held_until_its_time() -> None:
    framer, joiner = Framer(), Joiner()
    first = joiner.join(framer.columns([b"Traceback (most recent call last):"], NOW), NOW)
    assert len(first) == 0
    later = NOW + NS
    assert len(joiner.join(framer.columns([b'  File "x", line 1'], later), later)) == 0
    assert len(joiner.flush(later + int(WAIT_S * NS) - 1)) == 0
    (event,) = joiner.flush(later + int(WAIT_S * NS)).entries()
    assert event.lines == 2


def test_an_event_is_bounded_and_its_lines_are_counted() -> None:
    head = b"2024-01-02 03:04:05 ERROR app.main: failed"
    lines = [head, *[b"  indented line %d" % n for n in range(COUNTED_MAX + 50)]]
    events = joined(lines, steady=60)
    assert events[0].lines == COUNTED_MAX
    assert events[0].body.count(b"\n") < LINES_MAX
    fat = [head, *[b"\tat " + b"x" * 9000 for _ in range(50)]]
    (event,) = joined(fat, steady=60)
    assert len(event.body) <= BYTES_MAX
    assert event.lines == 51


def test_programs_held_are_bounded() -> None:
    joiner = Joiner()
    entries = [Entry(b"panic: x", NOW, unit=f"u{n}", size=9) for n in range(500)]
    out = len(joiner.join(Columns.of(entries), NOW))
    assert len(joiner._held) <= HELD_MAX
    assert out + len(joiner.flush(NOW, everything=True)) == 500


def test_batches_may_end_anywhere() -> None:
    text = b"\n".join(
        b"2024-01-02 03:04:05 ERROR app.main: failed\n" + trace for trace in TRACES.values()
    )
    lines = text.split(b"\n")
    whole = joined(lines, steady=60)
    framer, joiner = Framer(), Joiner()
    ordinary = [b"2024-01-02 03:04:%02d INFO app.main: request %d" % (n % 60, n) for n in range(60)]
    joiner.join(framer.columns(ordinary, NOW), NOW)
    joiner.flush(NOW, everything=True)
    single = []
    for line in lines:
        single += joiner.join(framer.columns([line], NOW), NOW).entries()
    single += joiner.flush(NOW, everything=True).entries()
    assert single == whole


PARTS = st.sampled_from(
    [
        *[line for trace in TRACES.values() for line in trace.split(b"\n")],
        b"2024-01-02 03:04:05 ERROR app.main: failed",
        b"2024-01-02 03:04:05 INFO app.main: fine",
        b"Jan  2 03:04:05 web1 app[1]: Traceback (most recent call last):",
        b"2024-01-02T03:04:05Z stdout P half ",
        b"",
        b"}",
        b"\xff\x00",
    ]
)


@given(st.lists(st.lists(PARTS | st.binary(max_size=30), max_size=20), max_size=6))
def test_nothing_is_lost_whatever_follows_what(batches: list[list[bytes]]) -> None:
    batches = [[line.replace(b"\n", b"") for line in batch] for batch in batches]
    framer, joiner = Framer(), Joiner()
    events = []
    for at, batch in enumerate(batches):
        now = NOW + at * NS
        events += joiner.join(framer.columns(batch, now), now).entries()
    events += joiner.join(framer.flush(NOW, everything=True), NOW).entries()
    events += joiner.flush(NOW + 10 * NS, everything=True).entries()
    lines = [line for batch in batches for line in batch]
    assert sum(event.lines for event in events) == len(lines)
    assert sum(event.size for event in events) == sum(len(line) + 1 for line in lines)
