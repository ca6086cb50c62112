"""Unfinished, huge and odd lines, encodings, and what is no log at all."""

from __future__ import annotations

import os
import socket
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from tail_cases import Reading, append

from vedette.logs.splitting import split

MAX_LINE = 1_000


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(tmp_path, max_line=MAX_LINE)


# ---------------------------------------------------------------- unfinished lines


def test_an_unfinished_line_is_held_back_until_its_end_comes(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"one\ntw")
    assert reading.poll() == [b"one"]
    append(log, b"o")
    assert reading.poll(20) == []
    append(log, b"\nthree\n")
    assert reading.poll(20) == [b"two", b"three"]
    assert reading.tail.counters.flushed == 0


def test_an_unfinished_line_is_delivered_in_the_end_and_its_rest_is_no_line(
    reading: Reading,
) -> None:
    log = reading.directory / "app.log"
    append(log, b"one\nlast words")
    reading.poll()
    reading.poll(31)
    reading.poll(31)
    assert reading.lines == [b"one", b"last words"]
    reading.commit()
    reading.restart()  # the rest is still known to be a rest
    append(log, b" and more\nnext\n")
    assert reading.poll() == [b"next"]
    assert reading.tail.counters.cut_bytes == len(b" and more")


def test_a_line_delivered_unfinished_may_just_end(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"last words")
    reading.poll()
    reading.poll(31)
    append(log, b"\nnext\n")
    assert reading.poll() == [b"next"]
    assert reading.lines == [b"last words", b"next"]
    assert reading.tail.counters.flushed == 1
    assert reading.tail.counters.cut_bytes == 0


def test_an_unfinished_line_is_read_anew_after_a_kill(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"one\ntw")
    reading.poll()
    reading.commit()
    reading.restart()
    append(log, b"o\n")
    assert reading.poll() == [b"two"]


# ---------------------------------------------------------------- huge lines


def test_a_long_line_is_cut_and_its_rest_skipped(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"one\n" + b"x" * 5_000 + b"\ntwo\n")
    assert reading.poll() == [b"one", b"x" * MAX_LINE, b"two"]
    assert reading.tail.counters.cut_lines == 1
    assert reading.tail.counters.cut_bytes == 4_000


def test_a_long_line_is_the_same_however_it_comes(reading: Reading) -> None:
    log = reading.directory / "app.log"
    for _ in range(50):
        append(log, b"x" * 100)
        reading.poll()
        reading.commit()
        reading.restart()
    append(log, b"\ntwo\n")
    reading.poll()
    assert reading.lines == [b"x" * MAX_LINE, b"two"] or len(reading.lines[0]) > MAX_LINE - 100
    assert reading.lines[1:] == [b"two"]


def test_a_hundred_megabytes_without_an_end_take_no_memory(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    log = tmp_path / "app.log"
    with log.open("wb") as file:
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\nnext\n")
    tracemalloc.start()
    polls = 0
    while b"next" not in reading.lines and polls < 200:
        reading.poll()
        polls += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(line) for line in reading.lines] == [128 * 1024, 4]
    assert reading.tail.counters.cut_bytes == (100 << 20) - 128 * 1024
    assert peak < 4 << 20


# ---------------------------------------------------------------- bytes


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"10%\r50%\r100%\ndone\n", [b"10%\r50%\r100%", b"done"]),
        (b"\n\na\n", [b"", b"", b"a"]),
        (b"caf\xe9\n\xff\xfe\x80\n", [b"caf\xe9", b"\xff\xfe\x80"]),
        (b"\xef\xbb\xbfa\nb\n", [b"a", b"b"]),
        ("\ufeffgrün\r\nnaïve 🚀\n".encode("utf-16-le"), ["grün".encode(), "naïve 🚀".encode()]),
        ("\ufeffgrün\nЖ\n".encode("utf-16-be"), ["grün".encode(), "Ж".encode()]),
        (
            "\ufeff\u0a0a\u0a00\u000a\u0a0a\n".encode("utf-16-le"),
            ["\u0a0a\u0a00".encode(), "\u0a0a".encode()],
        ),
        (b"\0\0\0a\n\0b\0\n", [b"a", b"b"]),
        (b"", []),
    ],
)
def test_bytes_become_lines(reading: Reading, written: bytes, lines: list[bytes]) -> None:
    append(reading.directory / "app.log", written)
    assert reading.poll() == lines


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_that_comes_in_odd_pieces_over_restarts(reading: Reading, codec: str) -> None:
    log = reading.directory / "app.log"
    data = "\ufeffgrün 🚀\nЖ\nlast\n".encode(codec)
    for i in range(0, len(data), 3):
        append(log, data[i : i + 3])
        reading.poll()
        reading.commit()
        reading.restart()
    reading.poll()
    assert reading.lines == ["grün 🚀".encode(), "Ж".encode(), b"last"]


def test_a_file_allocated_in_advance_is_read_as_it_is_filled(reading: Reading) -> None:
    log = reading.directory / "app.log"
    log.write_bytes(bytes(20_000))
    assert reading.poll() == []
    written = 0
    for i in range(5):
        with log.open("r+b") as file:
            file.seek(written)
            file.write(b"line %d\npart" % i)
            written += 7
        os.utime(log, (i, i))
        reading.poll()
        reading.poll(31)
    assert reading.lines[0] == b"line 0"
    assert [line for line in reading.lines if line.startswith(b"line")][:1] == [b"line 0"]


def test_runs_of_nuls_that_are_no_hole_are_passed_over(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    append(tmp_path / "app.log", b"a\n" + bytes(3 << 20) + b"b\n")
    for _ in range(5):
        reading.poll()
    assert reading.lines == [b"a", b"b"]


@given(
    st.lists(
        st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b"x" * 30, b"", b"\xff"]), max_size=40
    ),
    st.lists(st.integers(1, 20), min_size=1, max_size=60),
)
def test_blocks_do_not_matter(pieces: list[bytes], sizes: list[int]) -> None:
    data = b"".join(pieces)
    expected = [line.removesuffix(b"\r")[:10] for line in data.split(b"\n")[:-1]]
    lines: list[bytes] = []
    at, mid_line, end = 0, False, 0
    for size in [*sizes, len(data)]:
        end = min(len(data), end + size)
        result = split(data[at:end], mid_line=mid_line, max_line=10)
        lines += result.lines
        at += result.used
        mid_line = result.mid_line
    assert [line[:9] for line in lines[: len(expected)]] == [line[:9] for line in expected]
    assert len(lines) - len(expected) == (1 if mid_line else 0)


@given(st.binary(max_size=300), st.integers(0, 2), st.booleans(), st.booleans())
def test_any_bytes_are_split_and_never_more_than_there_are(
    data: bytes, codec: int, mid_line: bool, final: bool
) -> None:
    result = split(data, codec=codec, mid_line=mid_line, max_line=50, final=final)
    assert 0 <= result.used <= len(data)
    assert all(b"\n" not in line for line in result.lines)
    assert all(len(line) <= 150 for line in result.lines)


# ---------------------------------------------------------------- what is no log


def test_what_is_no_log_is_ignored_with_the_reason(tmp_path: Path) -> None:
    reading = Reading(tmp_path, "*")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link to fifo").symlink_to("fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "directory").mkdir()
    (tmp_path / "empty").touch()
    for ending in ("gz", "xz", "zst", "bz2"):
        append(tmp_path / f"old.{ending}", b"packed\n")
    append(tmp_path / "wtmp", b"binary\n")
    with bound(tmp_path / "socket"):
        assert reading.poll() == []
    assert reading.tail.paths == [str(tmp_path / "empty")]
    assert {os.path.basename(path): why for path, why in reading.tail.ignored.items()} == {
        "fifo": "not a regular file",
        "link to fifo": "not a regular file",
        "socket": "not a regular file",
        "old.gz": "compressed",
        "old.xz": "compressed",
        "old.zst": "compressed",
        "old.bz2": "compressed",
    }


def test_files_of_the_kernel_are_not_read() -> None:
    reading = Reading(Path("/proc"), "uptime", "self/*")
    assert reading.poll() == []
    assert reading.tail.ignored["/proc/uptime"] == "made up by the kernel"
    assert reading.tail.paths == []


def test_a_file_is_not_marked_as_read(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a\n")
    os.utime(log, ns=(1_000, 2_000))
    reading.poll()
    assert log.stat().st_atime_ns == 1_000


@contextmanager
def bound(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        yield
