"""One value through kill, damage and a full disk."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.positions import Position, Positions, Store, decode_positions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs.state"


def test_the_newest_value_is_read_back(path: Path) -> None:
    assert Store(path).load() is None
    store = Store(path)
    for value in (b"one", b"", b"three" * 10_000, b"4"):
        store.save(value)
        again = Store(path)
        assert again.load() == value
        assert again.damaged == 0
    assert (path.parent / "logs.state.0").stat().st_mode & 0o777 == 0o600


def test_a_store_that_was_loaded_goes_on(path: Path) -> None:
    for i in range(5):
        store = Store(path)
        store.load()
        store.save(b"%d" % i)
    assert Store(path).load() == b"4"


@pytest.mark.parametrize("slot", [0, 1])
def test_any_damage_falls_back_to_the_older_value(path: Path, slot: int) -> None:
    rng = random.Random(slot)
    values = [b"older" * 20, b"newer" * 20]
    for trial in range(120):
        store = Store(path)
        store.load()
        for value in values:
            store.save(value)
        file = path.with_name(f"logs.state.{slot}")
        sound = file.read_bytes()
        used = len(sound.rstrip(b"\0"))
        data = bytearray(sound)
        if trial % 3 == 0:
            del data[rng.randrange(used) :]
        else:
            data[rng.randrange(used)] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
        again = Store(path)
        assert again.load() in values
        if data[: used + 4] != sound[: used + 4]:
            assert again.damaged == 1
            assert path.with_name(f"logs.state.{slot}.damaged").exists()
        again.save(b"next")
        assert Store(path).load() == b"next"


def test_both_damaged_is_a_fresh_start_that_is_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(path)
    store.save(b"one")
    store.save(b"two")
    for slot in (0, 1):
        path.with_name(f"logs.state.{slot}").write_bytes(b"VEDLOGS1 and no more")
    again = Store(path)
    assert again.load() is None
    assert again.damaged == 2
    assert "set aside" in caplog.text
    again.save(b"fresh")
    assert Store(path).load() == b"fresh"


@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
def test_something_else_in_the_way_is_no_value(path: Path, kind: str) -> None:
    slot = path.with_name("logs.state.0")
    if kind == "directory":
        slot.mkdir()
    elif kind == "fifo":
        os.mkfifo(slot)
    else:
        slot.symlink_to("/dev/zero")
    store = Store(path)
    assert store.load() is None
    store.save(b"value")
    assert Store(path).load() == b"value"


def test_a_full_disk_keeps_the_older_value_and_the_next_write_succeeds(path: Path) -> None:
    store = Store(path)
    store.save(b"one" * 100)
    store.save(b"two" * 100)
    with largest_file(6_000):
        with pytest.raises(OSError, match="File too large"):
            store.save(b"big" * 10_000)
        assert Store(path).load() == b"two" * 100
        store.save(b"fits" * 100)  # its slot has the room
        assert Store(path).load() == b"fits" * 100
    store.save(b"big" * 10_000)
    assert Store(path).load() == b"big" * 10_000


def test_a_value_that_grows_a_little_needs_no_new_room(path: Path) -> None:
    store = Store(path)
    store.save(b"x" * 100_000)
    store.save(b"x" * 100_000)
    sizes = [path.with_name(f"logs.state.{slot}").stat().st_blocks for slot in (0, 1)]
    for size in range(100_000, 120_000, 1_000):
        store.save(b"y" * size)
    assert [path.with_name(f"logs.state.{slot}").stat().st_blocks for slot in (0, 1)] == sizes


def test_killed_at_any_moment_a_whole_value_is_left(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from vedette.logs.positions import Store\n"
        "store = Store(Path(sys.argv[1])); store.load(); n = 0\n"
        "while True:\n"
        "    n += 1; store.save(b'%08d' % n * 20_000); print(n, flush=True)\n"
    )
    rng = random.Random(5)
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            said = 0
            for _ in range(rng.randrange(1, 30)):
                said = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split()
        value = Store(path).load()
        assert value is not None
        assert value == value[:8] * 20_000
        assert int(value[:8]) >= int(rest[-1] if rest else said)


positions = st.builds(
    Position,
    path=st.binary(max_size=20),
    device=st.integers(0, 2**64 - 1),
    inode=st.integers(0, 2**64 - 1),
    offset=st.integers(0, 2**63),
    size=st.integers(0, 2**63),
    mtime_ns=st.integers(-(2**63), 2**63 - 1),
    head_length=st.integers(0, 256),
    head=st.integers(0, 2**64 - 1),
    tail=st.integers(-1, 2**32 - 1),
    marks=st.binary(max_size=100),
)


@given(st.lists(positions, max_size=5), st.lists(st.text("abc*/", max_size=5), max_size=3))
def test_positions_come_back(files: list[Position], patterns: list[str]) -> None:
    kept = Positions(tuple(patterns), tuple(files))
    assert decode_positions(kept.encode()) == kept


@given(st.binary(max_size=200))
def test_any_bytes_are_positions_or_none(data: bytes) -> None:
    decoded = decode_positions(data)
    assert decoded is None or isinstance(decoded, Positions)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
