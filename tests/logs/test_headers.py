"""Headers of many programs, taken off by one stripper that knows none of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.entry import Severity
from vedette.logs.headers import LAYOUTS_MAX, PATHS_MAX, RECHECK, Header, Stripper
from vedette.logs.levels import severity_of_body, severity_of_number, severity_of_word

#: A line, split where its body begins, and its level.
LINES = [
    # access and error logs
    ('127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] |"GET /a.gif HTTP/1.0" 200 2326', ""),
    ("2024/03/12 06:25:24 [error] 1234#1234: |*57 open() failed (2: No such file)", "error"),
    ("[Tue Mar 12 06:25:24.123456 2024] [core:error] [pid 35708:tid 1398] |boom", "error"),
    ("[Sun Dec 04 04:47:44 2005] [notice] |workerEnv.init() ok /etc/x.properties", "notice"),
    # glog, klog
    ("I0102 15:04:05.000000 1234 controller.go:116] |loading spec failed", "I"),
    ("E0102 15:04:05.000000    1234 reflector.go:138] |Failed to watch", "E"),
    # Java
    ("2024-01-02 03:04:05.678  INFO 12345 --- [           main] o.s.b.Tomcat  : |up", "INFO"),
    ("03:04:05.678 [http-nio-8080-exec-2] ERROR com.example.web.Orders - |Order failed", "ERROR"),
    ("2015-10-18 18:01:47,978 INFO [IPC Server handler 0 on 62270] org.a.b.App: |Ready", "INFO"),
    ("02-Jan-2024 03:04:05.678 INFO [main] |Server startup in 123 ms", "INFO"),
    ("INFO  [2024-01-02 03:04:05,678] org.foo.Bar: |started", "INFO"),
    ("[2024-01-02T03:04:05,678][INFO ][o.e.n.Node               ] [node-1] |started", "INFO"),
    # Python
    ("2024-01-02 03:04:05,678 - myapp.db - WARNING - |connection lost", "WARNING"),
    ("WARNING:root:|disk is nearly full", "WARNING"),
    ("INFO:     |Application startup complete.", "INFO"),
    ("[2024-01-02 03:04:05 +0000] [4711] [INFO] |Booting worker", "INFO"),
    ("[2024-01-02 03:04:05,123: ERROR/ForkPoolWorker-1] |Task raised", "ERROR"),
    # databases
    ("2024-01-02 03:04:05.678 UTC [1234] LOG:  |database system is ready", "LOG"),
    ('2024-01-02 03:04:05.678 UTC [1234] app@orders ERROR:  |relation "x" does not', "ERROR"),
    ("2024-01-02T03:04:05.678901Z 8 [Warning] [MY-013360] [Server] |Plugin reported", "Warning"),
    ("2024-01-02  3:04:05 0 [Note] InnoDB: |Buffer pool(s) load completed", "Note"),
    ("1234:M 02 Jan 2024 03:04:05.678 * |Ready to accept connections", "*"),
    ("1234:M 02 Jan 2024 03:04:05.678 # |WARNING overcommit_memory is set to 0", "#"),
    # Ruby, Elixir, Erlang, Rust, Go, .NET, PHP
    ("E, [2024-01-02T03:04:05.678901 #1234] ERROR -- myprog: |boom", "ERROR"),
    ("03:04:05.678 request_id=F1aB2c [info] |Sent 200 in 12ms", "info"),
    ("2024-01-02 03:04:05.678 [WARNING] <0.684.0> |closing connection", "WARNING"),
    ("[2024-01-02T03:04:05Z INFO  mycrate::server] |listening", "INFO"),
    ("2024-01-02T03:04:05.678901Z  INFO mycrate::server: |listening", "INFO"),
    ("2009/11/10 23:00:00 main.go:23: |hello world", ""),
    ("2024-01-02T03:04:05.678Z\tINFO\tcmd/main.go:12\t|starting", "INFO"),
    ("2024-01-02T03:04:05.678Z [INFO]  agent.server: |Started DNS server", "INFO"),
    ("[03:04:05 INF] |Now listening on: http://localhost:5000", "INF"),
    ("fail: |Microsoft.AspNetCore.Server.Kestrel[13]", "fail"),
    ("[2024-01-02 03:04:05] production.ERROR: |Undefined variable", "ERROR"),
    # syslog and its kin
    ("Jan  2 03:04:05 web1 sshd[1234]: |Accepted publickey for root", ""),
    ("Jan  2 03:04:05 web1 sshd(pam_unix)[1234]: |session opened", ""),
    ("2024-01-02T03:04:05.678901+01:00 web1 systemd[1]: |Started Session 3", ""),
    ("Jan  2 03:04:05 web1 kernel: [12345.678901] |eth0: link up", ""),
    ("Jan  2 03:04:05 web1 NetworkManager[678]: <info>  [1704164645.1] |device up", "info"),
    ("Jan  2 03:04:05 mac Google Chrome[12]: |deprecated", ""),
    ("Jan  2 03:04:05 myapp: |no host here", ""),
    ("Oct 10 13:55:36 fw |%ASA-6-302013: Built outbound TCP connection", ""),
    ("Thu Jan  2 03:04:05 2024 daemon.info dnsmasq[123]: |started", "info"),
    ("[12345.678901] |usb 1-1: new high-speed USB device", ""),
    ("2024-01-02 03:04:05.678 UTC [835] a@b LOG:  |duration: 37.118 ms  statement: SELECT", "LOG"),
    ("[2017-04-04 13:43:09 +0200] debug/GraphiteWriter: |Add to metric list", "debug"),
    ("2024-01-02T03:04:05Z E! [inputs.cpu] |Error in plugin", "E"),
    ("[12:00:00] [Server thread/INFO]: |Starting server", "INFO"),
    # others
    ("03-17 16:13:38.811  1702  2395 D WindowManager: |printFreezing", "D"),
    ("D/WindowManager( 1702): |printFreezing", "D"),
    ("2024-01-02 03:04:05|INFO|worker-1|~task finished", "INFO"),
    ("2024.01.02 03:04:05.678901 [ 1234 ] {abc-def} <Debug> executeQuery: |SELECT 1", "Debug"),
]


def split(line: str) -> tuple[bytes, int]:
    """Return a line of the table, and where its body begins (``~`` where pipes are columns)."""
    mark = "~" if "~" in line else "|"
    return line.replace(mark, "").encode(), line.index(mark)


@pytest.mark.parametrize(("text", "level"), LINES, ids=[line[:40] for line, _ in LINES])
def test_one_line_is_enough_for_most_headers(text: str, level: str) -> None:
    line, end = split(text)
    found = Stripper().header(line)
    assert line[found.end :] == line[end:]
    assert found.level == level.encode()


@pytest.mark.parametrize(("text", "level"), LINES, ids=[line[:40] for line, _ in LINES])
def test_a_layout_finds_what_the_first_line_said(text: str, level: str) -> None:
    line, _ = split(text)
    stripper = Stripper()
    first = stripper.header(line)
    stripper.header(line)
    known = stripper.known(line)
    assert known is not None
    assert (known.level, known.stamp) == (first.level, first.stamp)
    assert (known.end, known.program, known.logger) == (first.end, first.program, first.logger)


@pytest.mark.parametrize(
    "line",
    [
        b"Connection refused",
        b"Backup finished at 2024-01-02 03:04:05 with 3 errors",
        b"error: could not compile `foo`",
        b"Start-Date: 2024-01-02  03:04:05",
        b"    at com.foo.Bar.baz(Bar.java:12)",
        b"  indented text",
        b"Error: boom",
        b"",
        b"12 monkeys",
    ],
)
def test_a_text_is_no_header(line: bytes) -> None:
    assert Stripper().header(line) == Header(0)


def test_a_column_all_lines_have_is_header_and_a_word_some_have_is_text() -> None:
    stripper = Stripper()
    lines = [
        b"2016-09-28 04:30:%02d, Info                  %s    Loaded pack %d" % (n, part, n)
        for n, part in enumerate([b"CBS", b"CSI", b"CBS", b"DPX"] * 12)
    ]
    stripper.learn(lines)
    assert {line[stripper.header(line).end :] for line in lines[:2]} == {
        b"Loaded pack 0",
        b"Loaded pack 1",
    }
    texts = [b"2024-01-02 03:04:%02d INFO job: started" % (n % 60) for n in range(4)]
    texts += [b"2024-01-02 03:04:%02d INFO all is well" % (n % 60) for n in range(60)]
    other = Stripper()
    other.learn(texts)
    assert texts[0][other.header(texts[0]).end :] == b"job: started"


def test_columns_before_the_stamp_are_learned() -> None:
    lines = [
        b"%d node-%d unix.hw state_change.up %d 1 Link up on port %d"
        % (n, n % 7, 1077804742 + n, n)
        for n in range(40)
    ]
    stripper = Stripper()
    stripper.learn(lines)
    assert lines[9][stripper.header(lines[9]).end :] == b"Link up on port 9"
    repeated = [
        b"- %d 2005.06.03 R02-M1 2005-06-03-15.42.50.675872 R02-M1 RAS KERNEL INFO parity %d"
        % (1117838570 + n, n)
        for n in range(40)
    ]
    stripper = Stripper()
    stripper.learn(repeated)
    found = stripper.header(repeated[7])
    assert (repeated[7][found.end :], found.level) == (b"parity 7", b"INFO")
    assert found.form is not None
    assert found.form.name == "dotted", "of several stamps the one that tells most counts"


def test_a_sentence_in_which_a_time_follows_a_preposition_stays_whole() -> None:
    lines = [b"job-%d finished at 2024-01-02 03:04:%02d, all well" % (n, n % 60) for n in range(60)]
    stripper = Stripper()
    stripper.learn(lines)
    assert all(not stripper.header(line).end for line in lines)


def test_another_format_in_the_middle_of_a_file_is_read_too() -> None:
    stripper = Stripper()
    for n in range(300):
        stripper.seen += 1
        stripper.header(b"2024-01-02 03:04:%02d INFO app.main: request %d" % (n % 60, n))
    line = b"Jan  2 03:04:05 web1 sshd[1234]: Accepted publickey"
    for _ in range(3):
        found = stripper.header(line)
        assert line[found.end :] == b"Accepted publickey"
    back = b"2024-01-02 03:04:59 ERROR app.main: failed"
    assert back[stripper.header(back).end :] == b"failed"


def test_a_longer_layout_that_appears_later_is_noticed() -> None:
    stripper = Stripper()
    for n in range(100):
        stripper.seen += 1
        stripper.header(b"2024-01-02 03:04:%02d INFO request %d" % (n % 60, n))
    line = b"2024-01-02 03:04:05 INFO [worker-3] done"
    for _ in range(3 * RECHECK):
        stripper.seen += 1
        stripper.header(line)
    assert len(stripper.layouts) >= 1
    assert stripper.header(line).level == b"INFO"


def test_the_same_lines_give_the_same_headers() -> None:
    lines = [split(text)[0] for text, _ in LINES] * 8
    runs = []
    for _ in range(2):
        stripper = Stripper()
        runs.append([stripper.header(line) for line in lines])
    assert runs[0] == runs[1]


def test_layouts_and_counts_are_bounded_whatever_comes() -> None:
    stripper = Stripper()
    for n in range(3000):
        stripper.seen += 1
        columns = b" ".join(
            b"%d" % (n >> shift) if n >> shift & 1 else b"[x]" for shift in range(9)
        )
        stripper.header(b"2024-01-02 03:04:05 INFO " + columns + b" [a%d] b%d: text" % (n, n))
    assert len(stripper.layouts) <= LAYOUTS_MAX
    assert len(stripper._counts) <= PATHS_MAX


@given(st.lists(st.binary(max_size=120), max_size=20))
def test_no_bytes_raise_and_a_header_ends_within_its_line(lines: list[bytes]) -> None:
    stripper = Stripper()
    for line in lines:
        for whole in (line, b"2024-01-02 03:04:05 " + line, b"Jan  2 03:04:05 h " + line):
            assert 0 <= stripper.header(whole).end <= len(whole)


@given(st.lists(st.sampled_from([split(text)[0] for text, _ in LINES]), max_size=60), st.data())
def test_mutilated_headers_never_raise(lines: list[bytes], data: st.DataObject) -> None:
    stripper = Stripper()
    for line in lines:
        at = data.draw(st.integers(0, len(line)))
        broken = line[:at] + data.draw(st.binary(max_size=3)) + line[at + 1 :]
        assert 0 <= stripper.header(broken).end <= len(broken)


@pytest.mark.parametrize(
    ("words", "severity"),
    [
        ("WARN WARNING W warn Warning wrn", Severity.WARN),
        ("ERR ERROR E error Error SEVERE fail failure", Severity.ERROR),
        ("CRIT CRITICAL FATAL F PANIC ALERT EMERG emergency dpanic", Severity.FATAL),
        ("INFO Info information NOTICE note LOG I inf", Severity.INFO),
        ("DEBUG D dbg fine DEBUG1", Severity.DEBUG),
        ("TRACE V verbose finest trce", Severity.TRACE),
        ("hello 12345 -", Severity.UNKNOWN),
    ],
)
def test_level_words_in_their_spellings(words: str, severity: Severity) -> None:
    for word in words.encode().split():
        if word != b"-":
            assert severity_of_word(word) is severity, word


def test_numeric_levels_of_pino_bunyan_and_syslog() -> None:
    pino = {10: "TRACE", 20: "DEBUG", 30: "INFO", 40: "WARN", 50: "ERROR", 60: "FATAL"}
    assert {n: severity_of_number(n).name for n in pino} == pino
    assert severity_of_number(3) is Severity.ERROR
    assert severity_of_number(-1) is severity_of_number(4711) is Severity.UNKNOWN


@pytest.mark.parametrize(
    ("body", "severity"),
    [
        (b"ERROR: something failed", Severity.ERROR),
        (b"level=error msg=x", Severity.ERROR),
        (b'{"level":"warn"}', Severity.WARN),
        (b"panic: runtime error", Severity.FATAL),
        (b"Traceback (most recent call last):", Severity.ERROR),
        (b"java.lang.IllegalStateException: x", Severity.ERROR),
        (b"[WARN] low disk", Severity.WARN),
        (b"ERROR could not connect", Severity.ERROR),
        (b"Warning: deprecated", Severity.WARN),
        (b"0 errors found", Severity.UNKNOWN),
        (b"error rate is low", Severity.UNKNOWN),
        (b"No error", Severity.UNKNOWN),
        (b"INFORMATION about x", Severity.UNKNOWN),
        (b"", Severity.UNKNOWN),
    ],
)
def test_the_first_words_of_a_body_tell_only_what_is_certain(
    body: bytes, severity: Severity
) -> None:
    assert severity_of_body(body) is severity
