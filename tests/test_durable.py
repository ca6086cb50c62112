"""Values through kill, damage and a full disk."""

from __future__ import annotations

import logging
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

from vedette.durable import Durable, Store


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
        "import sys; from pathlib import Path; from vedette.durable import Store\n"
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


def test_values_of_a_directory_come_back_by_name_and_type(tmp_path: Path) -> None:
    kept = Durable(str(tmp_path / "made" / "deep"), "test", "what was counted")
    assert kept.load("now", list[int]) is None
    assert kept.save("now", [1, 2])
    assert kept.save("hours", {"a": 0.5})
    again = Durable(str(tmp_path / "made" / "deep"), "test", "what was counted")
    assert again.load("now", list[int]) == [1, 2]
    assert again.load("hours", dict[str, float]) == {"a": 0.5}
    assert again.load("other", str) is None


def test_without_a_directory_nothing_is_kept_and_nothing_fails() -> None:
    kept = Durable("", "test", "what was counted")
    assert kept.save("now", [1]) == 0
    assert kept.load("now", list[int]) is None


def test_a_value_of_another_type_is_said_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Durable(str(tmp_path), "test", "what was counted").save("now", ["a"])
    Store(tmp_path / "hours").save(b"not compressed")
    kept = Durable(str(tmp_path), "test", "what was counted")
    assert kept.load("now", list[int]) is None
    assert kept.load("hours", list[int]) is None
    assert caplog.text.count("test: what was kept is not to be used reason=") == 2


def test_a_full_disk_is_told_once_and_once_when_it_takes_values_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kept = Durable(str(tmp_path), "test", "what was counted")
    kept.load("now", str)
    kept.save("now", "sound")
    with largest_file(0):
        for name in ("now", "hours", "now"):
            assert kept.save(name, "lost") is None
    assert [(one.levelname, one.getMessage().split(" reason=")[0]) for one in caplog.records] == [
        ("ERROR", "test: what was counted cannot be kept")
    ]
    assert "File too large" in caplog.text
    assert Durable(str(tmp_path), "test", "").load("now", str) == "sound"
    caplog.clear()
    assert kept.save("hours", "back")
    assert kept.save("now", "newest")
    assert caplog.messages == ["test: what was counted is kept again"]
    assert Durable(str(tmp_path), "test", "").load("now", str) == "newest"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
