"""Digests of files: reckoned piece by piece, remembered, and right."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from vedette.serving.digests import PIECE, STEP_MAX_S, Digests, Identity


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def written(path: Path, size: int, fill: bytes = b"vedette") -> tuple[Identity, str]:
    body = (fill * (size // len(fill) + 1))[:size]
    path.write_bytes(body)
    return identity(path), hashlib.sha256(body).hexdigest()


def identity(path: Path) -> Identity:
    now = path.stat()
    return Identity(str(path), now.st_size, now.st_mtime_ns, now.st_ino)


def run(digests: Digests, clock: Clock, steps: int, seconds: float = 1.0) -> None:
    for _ in range(steps):
        clock.now += seconds
        digests.step()


def test_a_digest_is_that_of_the_whole_file_whatever_its_length(tmp_path: Path) -> None:
    clock = Clock()
    digests = Digests(None, 64 << 20, clock)
    files = [
        (tmp_path / f"{size}", size) for size in (0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7)
    ]
    made = [written(path, size) for path, size in files]
    digests.want((one, one.path) for one, _ in made)
    run(digests, clock, 40)
    assert [digests.get(one) for one, _ in made] == [sha256 for _, sha256 in made]
    assert digests.left_bytes == 0


def test_no_more_is_read_than_the_rate_allows(tmp_path: Path) -> None:
    clock = Clock()
    digests = Digests(None, PIECE, clock)
    one, sha256 = written(tmp_path / "weights", 6 * PIECE)
    digests.want([(one, one.path)])
    left = []
    for _ in range(7):
        run(digests, clock, 1)
        left.append(digests.left_bytes)
    assert left[:5] == [5 * PIECE, 4 * PIECE, 3 * PIECE, 2 * PIECE, PIECE]
    assert digests.get(one) == sha256


def test_a_host_that_slept_does_not_catch_up(tmp_path: Path) -> None:
    clock = Clock()
    digests = Digests(None, PIECE / STEP_MAX_S, clock)
    one, _ = written(tmp_path / "weights", 8 * PIECE)
    digests.want([(one, one.path)])
    run(digests, clock, 1, seconds=86_400)
    assert digests.left_bytes >= 6 * PIECE


def test_small_files_come_first(tmp_path: Path) -> None:
    clock = Clock()
    digests = Digests(None, PIECE, clock)
    large, _ = written(tmp_path / "a", 8 * PIECE)
    small, sha256 = written(tmp_path / "b", 100)
    digests.want([(large, large.path), (small, small.path)])
    run(digests, clock, 2)
    assert (digests.get(small), digests.get(large)) == (sha256, "")


def test_a_restart_does_not_read_again_what_is_known(tmp_path: Path) -> None:
    clock, state = Clock(), tmp_path / "state"
    one, sha256 = written(tmp_path / "weights", 2 * PIECE)
    first = Digests(state, 64 << 20, clock)
    first.want([(one, one.path)])
    run(first, clock, 5)
    first.close()
    again = Digests(state, 64 << 20, clock)
    again.want([(one, "/nowhere/it/would/fail")])
    assert (again.get(one), again.left_bytes) == (sha256, 0)


@pytest.mark.parametrize("body", [b"", b"[1, 2", b'{"a": 1}', b"\xff\xfe"])
def test_a_broken_state_file_is_begun_anew(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "digests.json").write_bytes(body)
    digests = Digests(tmp_path, 1 << 20)
    one, _ = written(tmp_path / "weights", 10)
    assert digests.get(one) == ""


def test_a_file_that_changes_while_it_is_read_has_no_digest(tmp_path: Path) -> None:
    clock = Clock()
    digests = Digests(None, PIECE, clock)
    path = tmp_path / "weights"
    one, _ = written(path, 4 * PIECE)
    digests.want([(one, one.path)])
    run(digests, clock, 2)
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=(0, 1))
    run(digests, clock, 6)
    assert digests.get(one) == ""
    assert digests.failed[one] == "it changed while it was read"
    now = identity(path)
    digests.want([(now, now.path)])
    run(digests, clock, 8)
    assert digests.get(now) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert digests.failed == {}


def test_what_may_not_be_read_is_said_and_harms_nothing(tmp_path: Path) -> None:
    clock = Clock()
    digests = Digests(None, 64 << 20, clock)
    gone, _ = written(tmp_path / "gone", 10)
    (tmp_path / "gone").unlink()
    link, _ = written(tmp_path / "link", 10)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")
    fifo = identity(tmp_path / "fifo")
    fine, sha256 = written(tmp_path / "fine", 10)
    digests.want((one, one.path) for one in (gone, link, fifo, fine))
    run(digests, clock, 3)
    assert digests.get(fine) == sha256
    assert set(digests.failed) == {gone, link, fifo}


def is_open(path: Path) -> bool:
    """Say whether this process has a file open, whatever else is closed meanwhile."""
    links = (one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink())
    return path in links


def test_what_is_no_longer_wanted_is_left(tmp_path: Path) -> None:
    clock = Clock()
    digests = Digests(None, PIECE, clock)
    one, _ = written(tmp_path / "weights", 6 * PIECE)
    digests.want([(one, one.path)])
    run(digests, clock, 1)
    assert is_open(Path(one.path))
    digests.want([])
    assert not is_open(Path(one.path))
    assert digests.left_bytes == 0
    run(digests, clock, 10)
    assert digests.get(one) == ""


def test_a_state_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory should be")
    clock = Clock()
    digests = Digests(tmp_path / "state", 64 << 20, clock)
    one, sha256 = written(tmp_path / "weights", 10)
    digests.want([(one, one.path)])
    run(digests, clock, 3)
    assert digests.get(one) == sha256
    digests.close()


def cached(path: Path) -> int:
    """Return how many pieces of a file begin in the page cache; a probe may bring one in."""
    descriptor = os.open(path, os.O_RDONLY)
    # Random: what is asked for here is not read ahead for others.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    found = 0
    for at in range(0, path.stat().st_size, PIECE):
        try:
            found += os.preadv(descriptor, [bytearray(16)], at, os.RWF_NOWAIT) > 0
        except BlockingIOError:
            continue
    os.close(descriptor)
    return found


def forget(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def test_the_page_cache_is_as_it_was(tmp_path: Path) -> None:
    clock = Clock()
    made = {name: written(tmp_path / name, 8 * PIECE) for name in ("warm", "cold", "probe")}
    for name in ("cold", "probe"):
        forget(tmp_path / name)
    if cached(tmp_path / "probe") or not cached(tmp_path / "warm"):
        pytest.skip("this file system keeps all, or nothing")
    digests = Digests(None, 64 << 20, clock)
    digests.want((one, one.path) for one, _ in made.values())
    run(digests, clock, 10)
    assert [digests.get(one) for one, _ in made.values()] == [x for _, x in made.values()]
    assert cached(tmp_path / "warm") > 0
    assert cached(tmp_path / "cold") == 0
