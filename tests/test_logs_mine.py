"""`vedette logs mine`: every line is of one template, whatever it is part of."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.cli import main
from vedette.commands import logs_mine_ledger, logs_mine_source
from vedette.commands.logs_mine_ledger import LOOKED_UP, Ledger
from vedette.commands.logs_mine_sessions import key_of
from vedette.commands.logs_mine_source import BATCH, LINE_MAX, Source, batches
from vedette.logs.framing import STREAMS_MAX
from vedette.logs.joining import HELD_MAX, LINES_MAX
from vedette.logs.miner import OVERFLOW, Miner
from vedette.logs.miner_template import Settings

NOW = 1_750_000_000 * 10**9

SYSLOG = b"".join(
    b"Jun 15 12:%02d:%02d web1 %s\n" % (n // 60, n % 60, text % n)
    for n in range(240)
    for text in (
        b"sshd[412]: Accepted publickey for root from 10.0.0.9 port %d ssh2",
        b"app: %d up",
    )
)
TRACE = b"""\
java.lang.IllegalStateException: no lease
\tat com.acme.Store.take(Store.java:12)
\tat com.acme.Main.main(Main.java:3)
Caused by: java.io.IOException: gone
\tat com.acme.Disk.read(Disk.java:7)
\t... 2 more
"""
JAVA = b"".join(
    b"2024-06-15 12:00:%02d,123 INFO  [main] c.a.Store - took lease %d\n" % (n % 60, n)
    + (
        b"2024-06-15 12:00:%02d,200 ERROR [main] c.a.Store - failed %d\n" % (n % 60, n) + TRACE
        if n % 10 == 3
        else b""
    )
    for n in range(50)
)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wrap, whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "1000")


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["logs", "mine", *map(str, arguments)])
    told = capsys.readouterr()
    return code, told.out, told.err


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mined(tmp_path: Path, *arguments: object) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return the rows of --assign, and the pattern of each template."""
    assign, templates = tmp_path / "assign.csv", tmp_path / "templates.csv"
    code = main(
        ["logs", "mine", *map(str, arguments), f"--assign={assign}", f"--templates={templates}"]
    )
    assert code == 0
    return rows(assign), {one["template"]: one["pattern"] for one in rows(templates)}


# ---------------------------------------------------------------- each line once


@pytest.mark.parametrize("data", [SYSLOG, JAVA, b"", b"\n", b"one", b"a 1\n\n\nb\r\n\0\0\n\xff\n"])
@pytest.mark.parametrize("options", [(), ("--body",)])
def test_every_line_is_of_one_template(
    tmp_path: Path, data: bytes, options: tuple[str, ...]
) -> None:
    path = put(tmp_path / "a.log", data)
    assigned, patterns = mined(tmp_path, path, *options)
    lines = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    assert [(row["file"], int(row["line"])) for row in assigned] == [
        (str(path), number) for number in range(1, lines + 1)
    ]
    assert {row["template"] for row in assigned} == set(patterns)


def test_syslog_lines_are_without_their_header(tmp_path: Path) -> None:
    assigned, patterns = mined(tmp_path, put(tmp_path / "a.log", SYSLOG))
    assert [patterns[row["template"]] for row in assigned[:2]] == [
        "Accepted publickey for root from <*> port <*> ssh2",
        "<*> up",
    ]
    assert set(Counter(row["template"] for row in assigned).values()) == {240}


def test_the_lines_of_a_trace_are_of_the_template_of_their_entry(tmp_path: Path) -> None:
    assigned, patterns = mined(tmp_path, put(tmp_path / "a.log", JAVA))
    lines = JAVA.splitlines()
    first = lines.index(next(line for line in lines if b"ERROR" in line))
    ids = [row["template"] for row in assigned]
    assert len(set(ids[first : first + 7])) == 1
    assert patterns[ids[first]] == "failed <*>"
    assert ids[first - 1] == ids[first + 7] != ids[first]
    told = rows(tmp_path / "templates.csv")
    assert [(one["count"], one["level"], one["first_line"]) for one in told] == [
        ("50", "info", "1"),
        ("5", "error", str(first + 1)),
    ]
    assert told[1]["example"].startswith("failed 3\n")


def test_traces_of_programs_that_interleave_keep_their_own_lines(tmp_path: Path) -> None:
    trace = [b"Traceback (most recent call last):", b'  File "/a.py", line 3, in f', b"KeyError: 1"]
    of_app = [b"Jun 15 12:00:00 web1 app[7]: " + line for line in trace] * 20
    of_cron = [b"Jun 15 12:00:00 web1 cron[9]: (root) CMD (run %d)" % n for n in range(60)]
    data = b"".join(a + b"\n" + b + b"\n" for a, b in zip(of_app, of_cron, strict=True))
    assigned, patterns = mined(tmp_path, put(tmp_path / "a.log", data))
    texts = [patterns[row["template"]].split(" ")[0] for row in assigned]
    assert texts == ["Traceback", "(root)"] * 60


def test_the_parts_of_a_line_that_an_engine_split_are_one_entry(tmp_path: Path) -> None:
    stamp = b"2024-06-15T12:00:00.%09dZ"
    data = b"".join(
        stamp % (3 * n) + b" stdout P pulled image %d of \n" % n
        + stamp % (3 * n + 1) + b" stderr F cannot resolve host %d\n" % n
        + stamp % (3 * n + 2) + b" stdout F %d layers\n" % n
        for n in range(1500)
    )  # fmt: skip
    assigned, patterns = mined(tmp_path, put(tmp_path / "a.log", data))
    texts = [patterns[row["template"]] for row in assigned]
    image, host = "pulled image <*> of <*> layers", "cannot resolve host <*>"
    assert texts == [image, host, image] * 1500


def test_lines_of_several_files_are_numbered_in_each(tmp_path: Path) -> None:
    files = [put(tmp_path / name, b"up %d\n" % n * n) for n, name in enumerate("abc")]
    assigned, _ = mined(tmp_path, *files)
    assert [(row["file"][-1], row["line"]) for row in assigned] == [
        ("b", "1"),
        ("c", "1"),
        ("c", "2"),
    ]
    assert len({row["template"] for row in assigned}) == 1


STAMP, APP = b"2024-06-15 12:00:00,123 ", b"Jun 15 12:00:00 web1 app[7]: "
OF_TRACE = [line + b" #" for line in TRACE.splitlines()]
DOCKER = b'{"log":"part #%s","stream":"%s","time":"2024-06-15T12:00:00Z"}'
#: Events, each as lines that carry their number where the sign is.
KINDS = (
    [b"Jun 15 12:00:00 web1 cron[9]: run #"],
    [APP + b"failed #", *(APP + line for line in OF_TRACE)],
    [STAMP + b"ERROR c.a.B - failed #", *OF_TRACE],
    [STAMP + b"INFO c.a.B - well #"],
    [DOCKER % (b"\\n", b"stdout")],
    [DOCKER % (b"", b"stderr")],
    [DOCKER % (b"", b"stdout")],
    [b"2024-06-15T12:00:00.1Z stderr P long #"],
    [b"2024-06-15T12:00:00.1Z stderr F line #"],
    [b"2024-06-15T12:00:00.1Z stdout F panic: no #"],
    [b'{"level":"error","stream":"stdout","msg":"own #"}'],
    [b"#", b"   indented #", b"Traceback (most recent call last): #"],
)


def interleaved(random: Random, count: int) -> list[bytes]:
    """Return lines of events of some kinds, of which two run at a time."""
    kinds = random.sample(KINDS, random.randint(1, len(KINDS)))
    running: list[list[bytes]] = []
    lines: list[bytes] = []
    while len(lines) < count:
        running = [one for one in running if one]
        if len(running) < 2:
            running.append(list(random.choice(kinds)))
        one = random.choice(running)
        lines.append(one.pop(0).replace(b"#", b"#%d" % len(lines)))
    return lines


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_an_event_consists_of_the_lines_it_was_made_of(seed: int) -> None:
    random = Random(seed)
    lines = interleaved(random, 600)
    source, found, at = Source(NOW), [], 0
    events = []
    while at < len(lines):
        size = random.choice((1, 3, 40, 500))
        events.append(source.feed(lines[at : at + size], at))
        at += size
    for columns, numbers in [*events, *source.end()]:
        assert sum(columns.lines) == len(numbers)
        rest = iter(numbers)
        for body, count in zip(columns.bodies, columns.lines, strict=True):
            own = [next(rest) for _ in range(count)]
            told = [int(one) for one in re.findall(rb"#(\d+)", body)]
            assert told == own[: len(told)]
            assert len(told) >= min(count, LINES_MAX)
            found += own
    assert sorted(found) == list(range(len(lines)))


def test_lines_that_are_not_what_they_look_like_are_of_one_event_each() -> None:
    # The framer sees that a container's engine writes at the 256th line of it, at the latest.
    plain = [b"2024-06-15T12:00:00.1Z well #%d" % n for n in range(400)]
    split = [
        b"2024-06-15T12:00:00.1Z stdout %s part #%d" % (b"PF"[n % 2 :][:1], n) for n in range(500)
    ]
    source, lines = Source(NOW), [*plain, *split]
    events = [source.feed(lines[at : at + 100], at) for at in range(0, len(lines), 100)]
    events += source.end()
    numbers = [number for one in events for number in one.numbers]
    assert sorted(numbers) == list(range(len(lines)))
    assert [sum(one.columns.lines) for one in events] == [len(one.numbers) for one in events]
    assert sum(len(one.columns) for one in events) < len(lines)


# ---------------------------------------------------------------- ids


def words(random: Random) -> Iterator[str]:
    while True:
        yield "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=7))


def test_ids_that_became_part_of_another_long_ago_are_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new, few = words(Random(1)), Settings(max_aliases=500)
    groups = [[next(new) for _ in range(4)] for _ in range(600)]
    lines = [
        f"{a} {b} {next(new)} {c} {d} in order".encode() for a, b, c, d in groups for _ in range(5)
    ]
    forgetful, roomy = Miner(few), Miner()
    forgotten = [forgetful.resolve(one) for one in forgetful.learn(lines)]
    expected = [roomy.resolve(one) for one in roomy.learn(lines)]
    assert forgotten.count(OVERFLOW) > 0 == expected.count(OVERFLOW)

    monkeypatch.setattr(logs_mine_ledger, "Miner", lambda: Miner(few))
    monkeypatch.setattr(logs_mine_ledger, "LOOKED_UP", 100)
    ledger = Ledger(lines=True)
    ledger.begin("-", normal=False)
    for start in range(0, len(lines), 100):
        some = lines[start : start + 100]
        ledger.take(some, [1] * len(some), range(ledger.read(some), start + len(some)))
    ((_, _, final),) = ledger.assigned()
    assert final == expected
    assert {one.id: one.count for one in ledger.templates()} == Counter(final)


def test_the_batches_are_small_enough_for_what_a_miner_remembers() -> None:
    # What is alive and what came since ids were looked up may all become part of another.
    assert (
        BATCH + HELD_MAX + STREAMS_MAX + LOOKED_UP + Settings().max_templates
        < Settings().max_aliases
    )


def test_the_first_line_of_a_template_is_the_first_of_all_that_became_it(tmp_path: Path) -> None:
    new = words(Random(2))
    path = put(
        tmp_path / "a.log",
        b"begin\n" + b"".join(f"the job {next(new)} of today is due\n".encode() for _ in range(40)),
    )
    assigned, patterns = mined(tmp_path, path, "--body")
    assert patterns[assigned[1]["template"]] == "the job <*> of today is due"
    told = {one["template"]: one for one in rows(tmp_path / "templates.csv")}
    last = told[assigned[-1]["template"]]
    assert (last["first_line"], last["count"]) == ("2", "40")
    assert last["example"] == path.read_text().splitlines()[1]


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("how", ["gz", "xz", "bz2", "-"])
def test_a_compressed_file_and_standard_input_are_read_like_a_plain_one(
    tmp_path: Path, how: str
) -> None:
    plain, _ = mined(tmp_path, put(tmp_path / "a.log", JAVA))
    pack = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "-": bytes}[how]
    path = put(tmp_path / f"b.log.{how}", pack(JAVA))
    out = tmp_path / "out.csv"
    name = "-" if how == "-" else str(path)
    with path.open("rb") as file:
        subprocess.run(
            [sys.executable, "-m", "vedette", "logs", "mine", name, "--assign", str(out)],
            stdin=file,
            timeout=60,
            check=True,
        )
    assert [row["template"] for row in rows(out)] == [row["template"] for row in plain]
    assert {row["file"] for row in rows(out)} == {name}


def test_bytes_that_are_no_text_survive_as_escapes(tmp_path: Path) -> None:
    name = os.fsdecode(b"n\xfe.log")
    path = put(tmp_path / name, b'\xff says "x", 7\n' * 3)
    assigned, _ = mined(tmp_path, path, "--body")
    assert {row["file"] for row in assigned} == {str(tmp_path / "n\\udcfe.log")}
    assert rows(tmp_path / "templates.csv")[0]["example"] == '\\xff says "x", 7'


def test_a_long_line_and_a_hole_are_one_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_mine_source, "HOLE_MAX", 100_000)
    monkeypatch.setattr(logs_mine_source, "BLOCK", 4096)
    path = put(tmp_path / "a", b"x" * 300_000 + b"\n" + b"\0" * 300_000 + b"b\nc\n" + b"\0" * 9)
    assert [line for some in batches(str(path)) for line in some] == [b"x" * LINE_MAX, b"b", b"c"]


def test_a_file_of_windows_is_read(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.log", "\ufeffservice 7 stopped\r\nservice 8 stopped\r\n".encode("utf-16-le")
    )
    assigned, patterns = mined(tmp_path, path)
    assert [patterns[row["template"]] for row in assigned] == ["service <*> stopped"] * 2


# ---------------------------------------------------------------- what is told


def test_the_templates_are_told_by_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = asked(capsys, put(tmp_path / "a.log", JAVA))
    lines = shown.splitlines()
    assert code == 0
    assert lines[0].split() == ["count", "id", "level", "template"]
    assert lines[1].split(maxsplit=3) == ["50", "1", "info", "took lease <num>"]
    assert lines[2].split(maxsplit=3) == ["5", "2", "error", "failed <num>"]
    assert re.fullmatch(
        r"85 lines of 1 file: 55 entries, 2 templates, in \d+\.\d\d s", lines[-1]
    ), lines[-1]


def test_fifty_templates_are_told_or_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = words(Random(3))
    path = put(
        tmp_path / "a",
        "".join(" ".join(next(new) for _ in range(2 + n % 8)) + "\n" for n in range(80)).encode(),
    )
    _, shown, _ = asked(capsys, path, "--body")
    count = int(re.findall(r"(\d+) templates", shown)[0])
    assert count > 60
    assert f"and {count - 50} more (--all shows them)" in shown
    _, shown, _ = asked(capsys, path, "--body", "--all")
    assert len(shown.splitlines()) == 1 + count + 2


def test_json_has_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = asked(capsys, put(tmp_path / "a.log", JAVA), "--json")
    told = json.loads(shown)
    assert (code, told["lines"], told["entries"], told["given_up"]) == (0, 85, 55, 0)
    assert told["seconds"] >= 0
    assert told["templates"][0] == {
        "id": 1,
        "pattern": "took lease <*>",
        "text": "took lease <num>",
        "count": 50,
        "level": "info",
        "first_file": str(tmp_path / "a.log"),
        "first_line": 1,
        "example": "took lease 0",
    }


def test_the_level_is_that_of_most_entries_that_have_one(tmp_path: Path) -> None:
    levels = ["WARN", "INFO", "WARN", "NOTE:"] * 10
    lines = [f"2024-06-15 12:00:00 {level} disk {n} busy\n" for n, level in enumerate(levels)]
    mined(tmp_path, put(tmp_path / "a.log", "".join(lines).encode()))
    told = {one["pattern"]: one["level"] for one in rows(tmp_path / "templates.csv")}
    assert told["disk <*> busy"] == "warning"


def test_control_characters_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown, _ = asked(capsys, put(tmp_path / "a", b"clear \x1b[2J now\n"), "--body")
    assert "\x1b" not in shown


# ---------------------------------------------------------------- sessions


def job(random: Random, number: int, *, broken: bool = False) -> list[str]:
    lines = ["queued", *["reads a page"] * random.randint(0, 9), "writes", "syncs", "ends"]
    if broken:
        lines.remove("syncs")
    return [f"job {number}: {line}" for line in lines]


def jobs(path: Path, count: int, *broken: int, seed: int = 1) -> Path:
    random = Random(seed)
    lines = [line for n in range(count) for line in job(random, n, broken=n in broken)]
    lines.insert(3, "a line of no job")
    return put(path, "".join(line + "\n" for line in lines).encode())


def test_broken_sessions_are_told_by_normal_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    normal, path = jobs(tmp_path / "n.log", 600), jobs(tmp_path / "a.log", 40, 7, 30, seed=2)
    verdicts, assign = tmp_path / "v.csv", tmp_path / "a.csv"
    code, shown, _ = asked(
        capsys, path, "--body", "--session", r"job (\d+):", "--normal", normal,
        "--verdicts", verdicts, "--assign", assign,
    )  # fmt: skip
    assert code == 0
    assert "40 sessions, 2 abnormal" in shown
    told = rows(verdicts)
    assert list(told[0]) == ["session", "abnormal", "score", "reason", "templates"]
    assert [one["session"] for one in told] == [str(n) for n in range(40)]
    assert [n for n, one in enumerate(told) if one["abnormal"] == "1"] == [7, 30]
    assert "'job <num>: syncs' is missing" in told[7]["reason"]
    assert float(told[7]["score"]) > 6 > float(told[8]["score"])
    assert told[8]["reason"] == told[8]["templates"] == ""
    assert {row["file"] for row in rows(assign)} == {str(path)}
    assert len(rows(assign)) == path.read_bytes().count(b"\n")


def test_templates_count_what_was_not_given_as_normal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    normal, path = jobs(tmp_path / "n.log", 60), jobs(tmp_path / "a.log", 10, *range(10))
    out = tmp_path / "t.csv"
    asked(capsys, path, "--body", "--session", r"(job \d+)", "--normal", normal, "--templates", out)
    counts = {one["pattern"]: one["count"] for one in rows(out)}
    assert (counts["job <*>: queued"], counts["job <*>: syncs"]) == ("10", "0")


def test_without_normal_ones_a_session_is_judged_by_those_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, verdicts = jobs(tmp_path / "a.log", 1500, 20, 900), tmp_path / "v.csv"
    code, shown, _ = asked(
        capsys, path, "--body", "--session", r"job (?P<n>\d+)", "--verdicts", verdicts
    )
    assert code == 0
    told = rows(verdicts)
    assert told[900]["abnormal"] == "1"
    assert sum(one["abnormal"] == "1" for one in told) <= 15
    assert [one["score"] for one in told[:50]] == [""] * 50
    assert "50 not judged: fewer than 50 sessions before" in shown


def test_abnormal_sessions_are_shown_and_in_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    normal, path = jobs(tmp_path / "n.log", 600), jobs(tmp_path / "a.log", 40, 7)
    asking = (path, "--body", "--session", r"job (\d+):", "--normal", normal)
    _, shown, _ = asked(capsys, *asking)
    last = shown.splitlines()[-1].split(maxsplit=2)
    assert last[0] == "7"
    assert "'job <num>: syncs' is missing" in last[2]
    _, shown, _ = asked(capsys, *asking, "--json")
    told = json.loads(shown)
    assert (told["sessions"], [one["session"] for one in told["abnormal"]]) == (40, ["7"])


def test_a_session_goes_on_in_the_next_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = jobs(tmp_path / "all", 600).read_bytes().splitlines(keepends=True)
    verdicts = []
    for cuts in ((0, None), (0, 777, 2222, None)):
        files = [
            put(tmp_path / f"{n}.log", b"".join(lines[slice(*cut)]))
            for n, cut in enumerate(pairwise(cuts))
        ]
        out = tmp_path / "v.csv"
        asked(capsys, *files, "--body", "--session", r"job (\d+)", "--verdicts", out)
        verdicts.append(rows(out))
    assert verdicts[0] == verdicts[1]


def test_an_entry_of_several_lines_is_in_a_session_once() -> None:
    ledger = Ledger(lines=False, key=key_of(r"(blk_\d)"))
    ledger.begin("-", normal=False)
    ledger.read([b"blk_1 up", b"failed", b" at blk_1", b" at blk_2", b"blk_2 up"])
    ledger.take([b"blk_1 up", b"failed\n at blk_1\n at blk_2", b"blk_2 up"], [1, 3, 1], range(5))
    (up, failed), (failed_too, up_too) = (ids for _, ids in ledger.sessions(normal=False))
    assert up == up_too != failed == failed_too


def test_a_line_that_names_several_sessions_is_in_each() -> None:
    ledger = Ledger(lines=False, key=key_of(r"(blk_\d)"))
    ledger.begin("-", normal=False)
    lines = [b"blk_1 up", b"blk_2 up", b"delete blk_1 blk_2 blk_1"]
    ledger.read(lines)
    ledger.take(lines, [1, 1, 1], range(3))
    (up, gone), (up_too, gone_too) = (ids for _, ids in ledger.sessions(normal=False))
    assert up == up_too != gone == gone_too


def test_a_line_without_a_key_is_in_no_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = put(tmp_path / "a", b"up\n"), tmp_path / "v.csv"
    code, shown, _ = asked(capsys, path, "--session", r"(blk_\d+)", "--verdicts", out)
    assert code == 0
    assert "no session: no line has a key that --session finds" in shown
    assert rows(out) == []


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ([], "the following arguments are required: FILE"),
        (["a", "--verdicts", "v.csv"], "--verdicts needs --session"),
        (["a", "--normal", "b"], "--normal needs --session"),
        (["a", "--session", "blk_"], "--session: 'blk_' has no group"),
        (["a", "--session", "blk_("], "--session: no regular expression: 'blk_('"),
        (["a", "--session", "(a)(b)"], "--session: '(a)(b)' has 2 groups"),
        (["-", "-"], "standard input"),
    ],
)
def test_wrong_usage_names_the_option_and_the_value(
    wrong: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["logs", "mine", *wrong])
    assert ended.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_named_group_among_others_is_the_key() -> None:
    key = key_of(r"(job|task) (?P<n>\d+)")
    assert key.of(b"task 17 ends") == [b"17"]
    assert key.of(b"no such") == []


def test_everything_that_cannot_be_read_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, told = asked(capsys, tmp_path / "none", tmp_path, "--assign", tmp_path / "a.csv")
    assert code == 2
    assert f"cannot read {tmp_path / 'none'}: No such file or directory" in told
    assert f"cannot read {tmp_path}: it is a directory" in told
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2"])
@pytest.mark.parametrize("data", [b"no such format", None])
def test_a_damaged_file_is_told(
    tmp_path: Path, suffix: str, data: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}[suffix]
    path = put(tmp_path / f"a.{suffix}", pack(SYSLOG)[:-9] if data is None else data)
    code, _, told = asked(capsys, path)
    assert code == 2
    assert told.startswith(f"vedette: cannot read {path}: ")


@pytest.mark.parametrize("option", ["--assign", "--templates"])
def test_an_output_that_cannot_be_written_is_told(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "a.log", SYSLOG)
    for where, why in (
        (tmp_path / "none" / "a.csv", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (Path("/dev/full"), "No space left on device"),
    ):
        code, _, told = asked(capsys, path, option, where)
        assert (code, told) == (2, f"vedette: cannot write {where}: {why}\n")


def test_what_is_read_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "a.log", SYSLOG)
    code, _, told = asked(capsys, path, "--assign", path, "--templates", tmp_path / "b")
    assert (code, f"--assign {path} would overwrite {path}" in told) == (2, True)
    code, _, told = asked(capsys, path, "--assign", tmp_path / "b", "--templates", tmp_path / "b")
    assert (code, f"would overwrite --assign {tmp_path / 'b'}" in told) == (2, True)
    assert path.read_bytes() == SYSLOG
    assert not (tmp_path / "b").exists()
