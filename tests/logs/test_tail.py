"""Whatever rotation, truncation, deletion and restarts do to files, each line comes once."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tail_cases import Reading, append, numbered, text

from vedette.logs.tail_settings import Container, source_of


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(tmp_path)


def test_lines_come_as_they_are_written(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"one\ntwo\n")
    assert reading.poll() == [b"one", b"two"]
    assert reading.poll() == []
    append(log, b"three\n")
    assert reading.poll() == [b"three"]
    (chunk,) = reading.chunks[1:]
    assert chunk.source.path == str(log)
    assert chunk.identity == (log.stat().st_dev, log.stat().st_ino)
    assert chunk.position.offset == log.stat().st_size
    assert (reading.tail.counters.lines, reading.tail.counters.bytes) == (3, 14)


def test_a_file_larger_than_a_block_is_read_whole(reading: Reading) -> None:
    lines = numbered(0, 20_000)
    append(reading.directory / "app.log", text(lines))
    assert reading.poll() == lines
    assert len(reading.chunks) > 2


# ---------------------------------------------------------------- renamed


def test_a_renamed_file_is_read_to_its_end_before_the_new_one(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\n")
    reading.poll()
    append(log, b"a2\n")
    log.rename(log.with_name("app.log.1"))
    append(log, b"b1\n")
    append(log.with_name("app.log.1"), b"a3\n")
    assert reading.poll() == [b"a2", b"a3", b"b1"]
    assert {chunk.source.path for chunk in reading.chunks} == {str(log)}
    assert reading.tail.counters.rotations == 1


def test_a_writer_that_keeps_the_old_file_is_read_for_hours(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\n")
    reading.poll()
    log.rename(log.with_name("app.log.1"))
    append(log, b"b1\n")
    reading.poll()
    for hour in range(3):
        append(log.with_name("app.log.1"), b"late %d\n" % hour)
        assert reading.poll(3_600) == [b"late %d" % hour]
        assert reading.poll(3_600) == []


def test_rotation_then_compression_and_deletion(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\n")
    reading.poll()
    append(log, b"a2\n")
    old = log.with_name("app.log.1")
    log.rename(old)
    append(log, b"b1\n")
    with gzip.open(old.with_name("app.log.1.gz"), "wb") as packed:
        packed.write(old.read_bytes())
    old.unlink()
    assert reading.poll() == [b"a2", b"b1"]
    assert reading.poll(60) == []
    assert reading.tail.counters.lost_bytes == 0
    assert reading.tail.descriptors == 1


def test_several_rotations_between_two_polls_are_read_in_order(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"first\n")
    reading.poll()
    expected = []
    for generation in range(4):
        append(log, b"generation %d\n" % generation)
        expected.append(b"generation %d" % generation)
        shift(log)
    append(log, b"newest\n")
    assert reading.poll() == [*expected, b"newest"]
    assert reading.poll(30) == []


def test_generations_from_before_the_agent_are_not_read(reading: Reading) -> None:
    log = reading.directory / "app.log"
    for age in (3, 2, 1):
        append(log.with_name(f"app.log.{age}"), b"old %d\n" % age)
        os.utime(log.with_name(f"app.log.{age}"), ns=(0, 10**18 - age * 10**9))
    append(log, b"a1\n")
    assert reading.poll() == [b"a1"]
    shift(log)
    append(log, b"b1\n")
    assert reading.poll() == [b"b1"]


def test_names_with_dates(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a\n")
    reading.poll()
    log.rename(log.with_name("app.log-20260801"))
    append(log, b"b\n")
    log.rename(log.with_name("app.log-20260802"))
    append(log, b"c\n")
    log.rename(log.with_name("app.log-20260803"))
    append(log, b"d\n")
    assert reading.poll() == [b"b", b"c", b"d"]


@pytest.mark.parametrize("down", [False, True])
def test_rotation_into_another_directory(reading: Reading, down: bool) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\n")
    reading.poll()
    reading.commit()
    append(log, b"a2\n")
    archive = reading.directory / "archive"
    archive.mkdir()
    log.rename(archive / "app.log.1")
    append(log, b"b1\n")
    if down:
        reading.restart()
    assert reading.poll() == [b"a2", b"b1"]


def test_rotation_by_copy_into_a_named_directory_while_down(tmp_path: Path) -> None:
    logs, old = tmp_path / "logs", tmp_path / "old"
    logs.mkdir()
    old.mkdir()
    reading = Reading(logs, rotated_to=(str(old),))
    log = logs / "app.log"
    append(log, text(numbered(0, 20)))
    reading.poll()
    reading.commit()
    append(log, b"unread\n")
    shutil.copy(log, old / "app.log.1")
    log.unlink()
    append(log, b"new\n")
    reading.restart()
    assert reading.poll() == [b"unread", b"new"]


def test_rotated_names_that_match_the_pattern_too_are_read_once(tmp_path: Path) -> None:
    reading = Reading(tmp_path, "app.log*")
    log = tmp_path / "app.log"
    written = []
    for generation in range(12):
        for part in range(3):
            line = b"%d/%d %s" % (generation, part, b"x" * 300)
            append(log, line + b"\n")
            written.append(line)
            if part != 1:
                reading.poll()
        shift(log)
        append(log, b"head %d\n" % generation)
        written.append(b"head %d" % generation)
        reading.poll(3)
    reading.poll(60)
    reading.poll(60)
    assert sorted(reading.lines) == sorted(written)
    assert set(reading.lines_of("app.log")) == set(written)


# ---------------------------------------------------------------- copied and truncated


def test_copytruncate_with_what_was_written_before_the_copy(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, text(numbered(0, 10)))
    reading.poll()
    append(log, b"only in the copy\n")
    copytruncate(log)
    append(log, b"after\n")
    assert reading.poll() == [b"only in the copy", b"after"]
    assert reading.tail.counters.salvaged_bytes == len(b"only in the copy\n")
    assert reading.tail.counters.lost_bytes == 0


def test_copytruncate_that_grew_beyond_the_old_place(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, text(numbered(0, 10)))
    reading.poll()
    append(log, b"only in the copy\n")
    copytruncate(log)
    after = numbered(100, 150)
    append(log, text(after))
    assert reading.poll() == [b"only in the copy", *after]


def test_copytruncate_several_times_between_two_polls(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, text(numbered(0, 10)))
    reading.poll()
    expected = []
    for generation in range(3):
        lines = numbered(generation * 100, generation * 100 + 30, "again")
        append(log, text(lines))
        expected += lines
        copytruncate(log)
    append(log, b"newest\n")
    assert reading.poll() == [*expected, b"newest"]


@pytest.mark.parametrize("down", [False, True])
def test_copies_that_match_the_pattern_are_not_read_twice(tmp_path: Path, down: bool) -> None:
    reading = Reading(tmp_path, "app.log*")
    log = tmp_path / "app.log"
    written = []
    for generation in range(4):
        lines = numbered(generation * 100, generation * 100 + 30)
        append(log, text(lines[:20]))
        reading.poll()
        append(log, text(lines[20:]))
        written += lines
        shutil.copy(log, tmp_path / "copy")
        for age in range(4, 0, -1):
            if (tmp_path / f"app.log.{age}").exists():
                (tmp_path / f"app.log.{age}").rename(tmp_path / f"app.log.{age + 1}")
        (tmp_path / "copy").rename(tmp_path / "app.log.1")
        if generation == 2:
            reading.poll(3)  # sees the copy before the file is truncated
        reading.commit()
        os.truncate(log, 0)
        if down:
            reading.restart()
    reading.poll(3)
    reading.poll(3)
    assert reading.lines == written


def test_a_copy_that_becomes_a_log_of_its_own(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    append(tmp_path / "app.log", text(numbered(0, 20)))
    reading.poll()
    shutil.copy(tmp_path / "app.log", tmp_path / "app.two.log")
    assert reading.poll(3) == []
    append(tmp_path / "app.two.log", b"own\n")
    assert reading.poll(3) == [b"own"]


def test_truncation_without_a_copy_tells_what_was_lost(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\npartial")
    reading.poll()
    os.truncate(log, 0)
    append(log, b"b\n")
    assert reading.poll() == [b"b"]
    assert reading.tail.counters.truncations == 1
    assert (reading.tail.counters.gaps, reading.tail.counters.lost_bytes) == (1, len(b"partial"))


def test_truncated_and_grown_beyond_the_old_place(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\na2\n")
    reading.poll()
    os.truncate(log, 0)
    lines = numbered(0, 40)
    append(log, text(lines))
    assert reading.poll() == lines


def test_truncated_and_written_to_the_same_size(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\na2\n")
    reading.poll()
    log.write_bytes(b"b1\nb2\n")
    os.utime(log, (5, 5))
    assert reading.poll() == [b"b1", b"b2"]


def test_cut_to_a_part_of_itself_what_is_left_is_not_read_again(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, text(numbered(0, 100)))
    reading.poll()
    os.truncate(log, len(text(numbered(0, 60))))
    assert reading.poll() == []
    append(log, b"new\n")
    assert reading.poll() == [b"new"]


def test_a_smaller_file_with_other_content_is_read_from_its_beginning(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, text(numbered(0, 100)))
    reading.poll()
    log.write_bytes(text(numbered(200, 260)))
    assert reading.poll() == numbered(200, 260)


def test_a_hole_left_by_a_writer_that_does_not_append(reading: Reading) -> None:
    log = reading.directory / "app.log"
    with log.open("wb", buffering=0) as writer:
        writer.write(text(numbered(0, 5_000)))
        reading.poll()
        copytruncate(log)
        writer.write(b"after the hole\n")
        assert log.stat().st_size > 100_000
        assert reading.poll() == [b"after the hole"]
        writer.write(b"more\n")
        assert reading.poll() == [b"more"]


# ---------------------------------------------------------------- deleted, replaced


def test_deleted_and_made_anew(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\n")
    reading.poll()
    append(log, b"a2\n")
    log.unlink()
    append(log, b"b1\n")
    assert reading.poll() == [b"a2", b"b1"]


def test_an_inode_used_again_at_once(tmp_path: Path) -> None:
    reading = Reading(tmp_path, descriptors=1)
    log, other = tmp_path / "app.log", tmp_path / "other.log"
    append(log, b"a1\na2\n")
    append(other, b"x\n")
    reading.poll()
    append(other, b"y\n")
    reading.poll()  # the only descriptor is the other's: nothing holds the inode
    inode = log.stat().st_ino
    for attempt in range(200):  # some file systems give the number back at once, some later
        log.unlink()
        append(log, b"b1\nb2\nb3\n")
        if log.stat().st_ino == inode:
            break
        append(tmp_path / f"in the way {attempt}", b"")
    assert reading.poll(3) == [b"b1", b"b2", b"b3"]


def test_an_inode_given_to_another_path(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    log = tmp_path / "a.log"
    append(log, b"a1\na2\n")
    reading.poll()
    reading.commit()
    reading.tail.close()
    inode = log.stat().st_ino
    log.unlink()
    append(tmp_path / "b.log", b"b1\nb2\nb3\n")
    if (tmp_path / "b.log").stat().st_ino != inode:
        pytest.skip("this file system does not use inodes again at once")
    reading.restart()
    assert reading.poll() == [b"b1", b"b2", b"b3"]


def test_deleted_and_still_written_is_read_until_nothing_comes(reading: Reading) -> None:
    log = reading.directory / "app.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a1\n")
        reading.poll()
        log.unlink()
        assert reading.poll() == []
        for second in range(20):
            writer.write(b"late %d\n" % second)
            assert reading.poll(3) == [b"late %d" % second]
        writer.write(b"last words")
        assert reading.poll(3) == []
        reading.poll(6)
        reading.poll(6)
    assert reading.lines[-1] == b"last words"
    assert reading.tail.descriptors == 0
    assert reading.tail.counters.lost_bytes == 0


def test_deleted_unread_is_told(tmp_path: Path) -> None:
    reading = Reading(tmp_path, descriptors=1)
    append(tmp_path / "a.log", b"a1\n")
    append(tmp_path / "b.log", b"b1\n")
    reading.poll()
    reading.commit()
    append(tmp_path / "a.log", b"unread\n")
    reading.poll(0)
    # seen and delivered, but not kept: a kill and a deletion now are a loss that is known
    reading.restart()
    (tmp_path / "a.log").unlink()
    append(tmp_path / "a.log", b"a2\n")
    assert reading.poll() == [b"a2"]


def test_replaced_by_an_editor_goes_on_where_it_was(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, text(numbered(0, 50)))
    reading.poll()
    new = log.with_name("app.log~")
    new.write_bytes(log.read_bytes() + b"added\n")
    new.replace(log)
    assert reading.poll() == [b"added"]
    append(log, b"later\n")
    assert reading.poll() == [b"later"]


def test_replaced_by_other_content_is_read_from_its_beginning(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, text(numbered(0, 50)))
    reading.poll()
    new = log.with_name("new")
    new.write_bytes(text(numbered(60, 120)))
    new.replace(log)
    assert reading.poll() == numbered(60, 120)


# ---------------------------------------------------------------- links and Kubernetes


def test_a_link_moved_to_another_file(tmp_path: Path) -> None:
    reading = Reading(tmp_path, "current")
    link = tmp_path / "current"
    append(tmp_path / "app-01", b"a1\n")
    link.symlink_to("app-01")
    assert reading.poll() == [b"a1"]
    append(tmp_path / "app-01", b"a2\n")
    for day in ("02", "03"):
        append(tmp_path / f"app-{day}", b"day %s\n" % day.encode())
        (tmp_path / "new").symlink_to(f"app-{day}")
        (tmp_path / "new").replace(link)
    assert reading.poll() == [b"a2", b"day 02", b"day 03"]
    assert {one.source.path for one in reading.chunks} == {str(link)}


def test_a_file_with_several_names_is_read_once(tmp_path: Path) -> None:
    reading = Reading(tmp_path, "*.log", "app*", "sub/*.log")
    append(tmp_path / "app.log", b"a1\n")
    os.link(tmp_path / "app.log", tmp_path / "hard.log")
    (tmp_path / "soft.log").symlink_to("app.log")
    (tmp_path / "sub").symlink_to(".")
    assert reading.poll() == [b"a1"]
    append(tmp_path / "hard.log", b"a2\n")
    assert reading.poll() == [b"a2"]
    (tmp_path / "app.log").unlink()
    append(tmp_path / "hard.log", b"a3\n")
    append(tmp_path / "app.log", b"b1\n")
    assert sorted(reading.poll() + reading.poll(10)) == [b"a3", b"b1"]


def test_kubernetes_links_and_rotation_beneath_them(tmp_path: Path) -> None:
    pod = tmp_path / "pods" / "shop_web-5d9_1f2e" / "nginx"
    links = tmp_path / "containers"
    pod.mkdir(parents=True)
    links.mkdir()
    append(pod / "0.log", b"a1\n")
    link = links / f"web-5d9_shop_nginx-{'0a' * 32}.log"
    link.symlink_to(pod / "0.log")
    reading = Reading(tmp_path, "containers/*.log", "pods/*/*/*.log")
    assert reading.poll() == [b"a1"]
    append(pod / "0.log", b"a2\n")
    (pod / "0.log").rename(pod / "0.log.20260801-120000")
    append(pod / "0.log", b"b1\n")
    assert reading.poll() == [b"a2", b"b1"]
    (chunk, *_) = reading.chunks
    assert chunk.source.container == Container("shop", "web-5d9", "nginx")
    assert source_of(str(pod / "0.log")).container == Container("shop", "web-5d9", "nginx")
    assert source_of("/var/log/syslog").container is None


# ---------------------------------------------------------------- where to begin, restarts


def test_the_first_start_begins_at_the_end_and_later_files_at_their_beginning(
    tmp_path: Path,
) -> None:
    reading = Reading(tmp_path, begin="end")
    append(tmp_path / "old.log", b"history\nunfinished")
    assert reading.poll() == []
    append(tmp_path / "old.log", b" rest\nnew\n")
    append(tmp_path / "young.log", b"young\n")
    assert sorted(reading.poll(3)) == [b"new", b"young"]
    reading.commit()
    append(tmp_path / "born while down.log", b"born\n")
    append(tmp_path / "old.log", b"later\n")
    reading.restart()
    assert sorted(reading.poll()) == [b"born", b"later"]


def test_a_pattern_new_in_the_settings_begins_at_the_end(tmp_path: Path) -> None:
    append(tmp_path / "a.log", b"history\n")
    append(tmp_path / "b.txt", b"history\n")
    reading = Reading(tmp_path, begin="end")
    reading.poll()
    reading.commit()
    both = (str(tmp_path / "*.log"), str(tmp_path / "*.txt"))
    reading.settings = type(reading.settings)(both, begin="end")
    append(tmp_path / "a.log", b"a\n")
    reading.restart()
    assert reading.poll() == [b"a"]
    append(tmp_path / "b.txt", b"b\n")
    assert reading.poll() == [b"b"]


def test_what_was_not_kept_is_read_again_after_a_kill(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\na2\n")
    reading.poll()
    reading.commit()
    append(log, b"a3\n")
    reading.poll()
    reading.restart()
    assert reading.poll() == [b"a3"]
    reading.commit()
    reading.restart()
    assert reading.poll() == []


@pytest.mark.parametrize("times", [1, 3])
def test_rotated_while_down(reading: Reading, times: int) -> None:
    log = reading.directory / "app.log"
    append(log, b"a1\n")
    reading.poll()
    reading.commit()
    expected = []
    for generation in range(times):
        append(log, b"unread %d\n" % generation)
        expected.append(b"unread %d" % generation)
        shift(log)
    append(log, b"b1\n")
    reading.restart()
    assert reading.poll() == [*expected, b"b1"]
    reading.commit()
    reading.restart()
    assert reading.poll() == []


def test_copied_and_truncated_while_down(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, text(numbered(0, 10)))
    reading.poll()
    reading.commit()
    append(log, b"unread\n")
    copytruncate(log)
    after = numbered(100, 150)
    append(log, text(after))
    reading.restart()
    assert reading.poll() == [b"unread", *after]


def test_killed_between_a_rotation_and_the_end_of_the_old_file(tmp_path: Path) -> None:
    reading = Reading(tmp_path, budget=1)
    log = tmp_path / "app.log"
    lines = numbered(0, 30_000)
    append(log, text(lines))
    reading.poll()
    shift(log)
    append(log, b"b1\n")
    reading.poll()
    reading.commit()
    shift(log)
    append(log, b"c1\n")
    reading.restart()
    while reading.poll():
        pass
    assert reading.lines == [*lines, b"b1", b"c1"]


def test_a_device_number_that_is_another_after_a_boot(reading: Reading) -> None:
    log = reading.directory / "app.log"
    append(log, text(numbered(0, 5)))
    reading.poll()
    reading.commit()
    files = tuple(msgspec.structs.replace(one, device=99) for one in reading.kept.files)
    reading.kept = type(reading.kept)(reading.kept.patterns, files)
    append(log, b"after the boot\n")
    reading.restart()
    assert reading.poll() == [b"after the boot"]


def test_a_directory_that_vanishes_and_returns(tmp_path: Path) -> None:
    reading = Reading(tmp_path, "mount/*.log")
    mount, away = tmp_path / "mount", tmp_path / "away"
    mount.mkdir()
    append(mount / "app.log", b"a1\n")
    assert reading.poll() == [b"a1"]
    mount.rename(away)
    for _ in range(40):
        assert reading.poll(5) == []
    append(away / "app.log", b"a2\n")
    away.rename(mount)
    assert reading.poll(12) == [b"a2"]


def test_a_clock_that_stands_still_or_jumps_loses_nothing(reading: Reading) -> None:
    log = reading.directory / "app.log"
    for i, step in enumerate((0.0, 0.0, 86_400.0, -80_000.0, 0.0, 90_000.0, 20.0)):
        append(log, b"%d\n" % i)
        os.utime(log, (i * 7919 % 13, 1e9 - i * 1e6))
        reading.poll(step)
    reading.poll(100_000.0)
    assert reading.lines == [b"%d" % i for i in range(7)]


# ---------------------------------------------------------------- helpers


def shift(log: Path, last: int = 20) -> None:
    """Rotate as logrotate does: .1 to .2 and so on, the log to .1; nothing at the path then."""
    for age in range(last, 0, -1):
        old = log.with_name(f"{log.name}.{age}")
        if old.exists():
            old.rename(log.with_name(f"{log.name}.{age + 1}"))
    log.rename(log.with_name(f"{log.name}.1"))


def copytruncate(log: Path) -> None:
    """Rotate as logrotate does for writers that cannot be told: copy, then truncate."""
    for age in range(20, 0, -1):
        old = log.with_name(f"{log.name}.{age}")
        if old.exists():
            old.rename(log.with_name(f"{log.name}.{age + 1}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)
