"""Many files, floods, permissions, bounds: what a host does to a tail that only wants to read."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tail_cases import Reading, append, numbered, text, unprivileged

from vedette.logs.globs import Finder
from vedette.logs.tail_register import Place


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that every user may pass through."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def test_few_descriptors_for_many_files_and_nothing_lost(tmp_path: Path) -> None:
    reading = Reading(tmp_path, descriptors=8)
    expected = []
    for turn in range(4):
        for i in range(60):
            name = f"app{i:02d}.log"
            append(tmp_path / name, b"%d of %d\n" % (turn, i))
            expected.append(b"%d of %d" % (turn, i))
        if turn == 2:
            for i in range(0, 60, 3):
                (tmp_path / f"app{i:02d}.log").rename(tmp_path / f"app{i:02d}.log.1")
        reading.poll(3)
        assert reading.tail.descriptors <= 8
    reading.poll(15)
    assert sorted(reading.lines) == sorted(expected)
    assert reading.tail.counters.lost_bytes == 0


def test_idle_files_are_looked_at_seldom_and_none_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(tmp_path)
    for i in range(1_000):
        append(tmp_path / f"idle{i}.log", b"once\n")
    for _ in range(3):
        reading.poll()
    for _ in range(30):
        reading.poll(4)
    looked: list[str] = []
    look = reading.tail._places.look

    def noted(place: Place, now: float) -> None:
        looked.append(place.path)
        look(place, now)

    monkeypatch.setattr(reading.tail._places, "look", noted)
    for _ in range(8):
        reading.poll(0.25)
    assert 500 <= len(looked) <= 1_500
    append(tmp_path / "idle7.log", b"awake\n")
    waited = 0
    while not reading.poll(0.25):
        waited += 1
    assert waited * 0.25 <= 2.0  # a thousand files: each is looked at every two seconds
    assert reading.lines[-1] == b"awake"
    append(tmp_path / "idle7.log", b"again\n")
    assert reading.poll(0.25) == [b"again"]  # what changed lately is looked at in each poll


def test_a_flood_does_not_starve_the_others(tmp_path: Path) -> None:
    reading = Reading(tmp_path, budget=1 << 20)
    flood = numbered(0, 100_000)
    append(tmp_path / "a flood.log", text(flood))
    for i in range(50):
        append(tmp_path / f"quiet{i}.log", b"quiet\n")
    assert reading.poll().count(b"quiet") == 50
    assert reading.tail.backlog > 1 << 20
    before = reading.tail.counters.bytes
    append(tmp_path / "quiet3.log", b"more\n")
    assert b"more" in reading.poll()
    assert reading.tail.counters.bytes - before <= (1 << 20) + (256 << 10)
    while reading.tail.backlog:
        reading.poll()
    assert reading.lines_of("a flood.log") == flood


def test_permission_given_later(open_path: Path) -> None:
    append(open_path / "old.log", b"history\n")
    (open_path / "old.log").chmod(0)
    with unprivileged():
        reading = Reading(open_path, begin="end")
        assert reading.poll() == []
    append(open_path / "old.log", b"written meanwhile\n")
    append(open_path / "young.log", b"young\n")
    (open_path / "young.log").chmod(0)
    with unprivileged():
        assert reading.poll(3) == []
        assert set(reading.tail.troubles.values()) == {"Permission denied"}
        assert len(reading.tail.troubles) == 2
    for name in ("old.log", "young.log"):
        (open_path / name).chmod(0o644)
    with unprivileged():
        lines = reading.poll(12)
    assert sorted(lines) == [b"written meanwhile", b"young"]
    assert reading.tail.troubles == {}


def test_a_file_rotated_while_it_could_not_be_read(open_path: Path) -> None:
    log = open_path / "app.log"
    append(log, b"a1\n")
    log.chmod(0)
    with unprivileged():
        reading = Reading(open_path)
        reading.poll()
    log.rename(open_path / "app.log.1")
    append(log, b"b1\n")
    log.chmod(0)
    with unprivileged():
        reading.poll(3)
    log.chmod(0o644)
    (open_path / "app.log.1").chmod(0o644)
    with unprivileged():
        lines = reading.poll(12) + reading.poll(12)
    assert sorted(lines) == [b"a1", b"b1"]


def test_a_state_is_said_once(open_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    append(open_path / "app.log", b"a\n")
    (open_path / "app.log").chmod(0)
    with unprivileged():
        reading = Reading(open_path)
        for _ in range(50):
            reading.poll(2)
        assert len(caplog.records) == 1
        assert "reason=Permission denied" in caplog.text
    (open_path / "app.log").chmod(0o644)
    reading.poll(12)
    assert len(caplog.records) == 2


def test_an_unreadable_directory_and_what_was_in_it(open_path: Path) -> None:
    closed = open_path / "closed"
    closed.mkdir()
    append(closed / "app.log", b"history\n")
    closed.chmod(0)
    with unprivileged():
        reading = Reading(open_path, "*/*.log", begin="end")
        assert reading.poll() == []
        assert reading.tail.troubles == {str(closed): "Permission denied"}
    closed.chmod(0o755)
    assert reading.poll(3) == []
    append(closed / "app.log", b"new\n")
    assert reading.poll(3) == [b"new"]
    assert reading.tail.troubles == {}


def test_files_come_and_go_within_bounds(tmp_path: Path) -> None:
    reading = Reading(tmp_path, "**/*.log", files=500, steps=200)
    for i in range(600):
        directory = tmp_path / f"d{i % 20}"
        directory.mkdir(exist_ok=True)
        append(directory / f"{i}.log", b"%d\n" % i)
    for _ in range(5):
        reading.poll(3)
    assert len(reading.tail.paths) == 500
    assert len(reading.lines) == 500
    for i in range(600):
        (tmp_path / f"d{i % 20}" / f"{i}.log").unlink()
    for _ in range(30):
        reading.poll(20)
    assert reading.tail.paths == []
    assert reading.tail.descriptors == 0
    assert reading.tail.positions(reading.now).files == ()


# ---------------------------------------------------------------- patterns


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path in (
        "a.log",
        "b.txt",
        ".hidden.log",
        "x/a.log",
        "x/y/b.log",
        "x/.git/c.log",
        "z1/q",
        "z[/r",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "x" / "loop").symlink_to("..")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.log", {"a.log"}),
        ("*", {"a.log", "b.txt"}),
        (".*.log", {".hidden.log"}),
        ("[ab].*", {"a.log", "b.txt"}),
        ("[!a].*", {"b.txt"}),
        ("?.log", {"a.log"}),
        ("*/a.log", {"x/a.log"}),
        ("**/*.log", {"a.log", "x/a.log", "x/y/b.log", "x/.git/c.log"}),
        ("x/**", {"x/a.log", "x/y/b.log", "x/.git/c.log"}),
        ("z1/q", {"z1/q"}),
        ("z1/nothing", set()),
        ("z[[]/r", {"z[/r"}),
        ("[z-a]*", set()),
        ("x/*/b.txt", {"x/loop/b.txt"}),
    ],
)
def test_patterns_find(tree: Path, pattern: str, found: set[str]) -> None:
    finder = Finder([str(tree / pattern)])
    paths = {os.path.relpath(match.path, tree) for match in finder.find(0.0)}
    assert paths == found
    assert all(finder.matches(str(tree / path)) for path in found)


def test_exclusions(tree: Path) -> None:
    finder = Finder([str(tree / "**/*.log")], ["b*", str(tree / "x/.git/**")])
    assert {os.path.relpath(one.path, tree) for one in finder.find(0.0)} == {"a.log", "x/a.log"}
    assert not finder.matches(str(tree / "x/y/b.log"))


def test_a_search_is_bounded_in_depth_and_entries(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(12):
        deep = deep / "d"
        deep.mkdir()
        (deep / "a.log").touch()
    assert len(Finder([str(tmp_path / "**/*.log")], depth=5).find(0.0)) == 5
    bounded = Finder([str(tmp_path / "**/*.log")], depth=50, entries=10)
    assert 1 <= len(bounded.find(0.0)) <= 10
    assert bounded.full


def test_a_file_made_in_the_tick_of_the_listing_is_found(tmp_path: Path) -> None:
    finder = Finder([str(tmp_path / "*.log")])
    stamp = tmp_path.stat()
    assert finder.find(0.0) == []
    (tmp_path / "a.log").touch()
    os.utime(tmp_path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # the same tick
    assert len(finder.find(0.5)) == 1


def test_a_directory_that_did_not_change_is_not_listed_again(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    finder = Finder([str(tmp_path / "*.log")])
    for now in (0.0, 1.0, 2.5):
        finder.find(now)
    (finder.find(5.0), finder.find(9.0))
    assert finder.changed == set()
    (tmp_path / "b.log").touch()
    assert len(finder.find(12.0)) == 2
    assert finder.changed == {str(tmp_path)}
