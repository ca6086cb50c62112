"""Deleted files whose end is never reached are let go of, and it is told (logs/tail_deleted.py)."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tail_cases import Reading, append, numbered, text

MANY = 60_000
LINE = len(text(numbered(0, 1)))


def open_files(directory: Path) -> int:
    """Return how many files of a directory this process has open."""
    links = (one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink())
    found = 0
    for link in links:
        found += str(link).startswith(str(directory))
    return found


def flooded(reading: Reading, name: str, lines: int) -> None:
    """Write more than a poll may read, let the tail begin with it, and delete it."""
    append(reading.directory / name, text(numbered(0, lines)))
    reading.poll()
    (reading.directory / name).unlink()


def slow(tmp_path: Path, **settings: object) -> Reading:
    """A tail that reads one block of 256 KiB in a poll."""
    return Reading(tmp_path, budget=1, discover_s=0.0, **settings)


def test_a_deleted_file_that_is_written_faster_than_it_is_read_is_given_up_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reading = slow(tmp_path, deleted_s=600.0)
    written = 20_000
    with (tmp_path / "app.log").open("ab", buffering=0) as writer:
        writer.write(text(numbered(0, written)))
        reading.poll()
        (tmp_path / "app.log").unlink()
        with caplog.at_level(logging.WARNING):
            for _ in range(70):
                writer.write(text(numbered(0, 10_000)))
                written += 10_000
                reading.poll(10)
        counters = reading.tail.counters
        assert counters.given_up == 1
        assert open_files(tmp_path) == 1  # the writer's own
        assert reading.tail.descriptors == 0
    assert "not read to its end" in caplog.text
    # What is read and what is told to be lost is all that there was when it was given up.
    reached = len(reading.lines) * LINE + counters.lost_bytes
    assert counters.lost_bytes > 0
    assert written * LINE - 12 * 10_000 * LINE <= reached <= written * LINE


def test_a_deleted_file_is_read_to_its_end_however_long_that_is_short_of_the_limit(
    tmp_path: Path,
) -> None:
    reading = slow(tmp_path, deleted_s=600.0)
    flooded(reading, "app.log", 100_000)
    for _ in range(50):
        reading.poll(11)
    assert reading.lines == numbered(0, 100_000)
    counters = reading.tail.counters
    assert (counters.given_up, counters.lost_bytes) == (0, 0)
    assert open_files(tmp_path) == 0


def test_of_too_many_deleted_files_the_first_are_given_up(tmp_path: Path) -> None:
    reading = slow(tmp_path, deleted_files=3)
    for name in "abcde":
        append(tmp_path / f"{name}.log", text(numbered(0, MANY, name)))
    for _ in range(6):
        reading.poll()  # all are begun, none is finished
    for name in "abcde":
        (tmp_path / f"{name}.log").unlink()
        reading.poll()
    reading.poll()
    assert reading.tail.counters.given_up == 2
    for _ in range(120):
        reading.poll(6)
    assert reading.lines_of("e.log") == numbered(0, MANY, "e")
    read = sum(len(reading.lines_of(f"{name}.log")) for name in "abcde")
    lost = reading.tail.counters.lost_bytes
    assert read * len(text(numbered(0, 1, "a"))) + lost == 5 * len(text(numbered(0, MANY, "a")))
    assert open_files(tmp_path) == 0


def test_deleted_files_hold_no_more_of_the_disk_than_is_allowed(tmp_path: Path) -> None:
    reading = slow(tmp_path, deleted_bytes=1 << 20)
    flooded(reading, "app.log", 60_000)
    reading.poll()
    counters = reading.tail.counters
    assert counters.given_up == 1
    assert len(reading.lines) * LINE + counters.lost_bytes == 60_000 * LINE
    assert open_files(tmp_path) == 0


def test_a_deleted_file_that_was_caught_up_with_is_followed_for_as_long_as_it_is_written(
    tmp_path: Path,
) -> None:
    reading = Reading(tmp_path, deleted_s=60.0)
    with (tmp_path / "app.log").open("ab", buffering=0) as writer:
        writer.write(b"first\n")
        reading.poll()
        (tmp_path / "app.log").unlink()
        for at in range(100):
            writer.write(b"%d\nunfinished" % at)
            reading.poll(3)
    assert reading.tail.counters.given_up == 0
    assert len(reading.lines) >= 100
