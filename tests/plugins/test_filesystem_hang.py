"""Collector filesystem on a real FUSE filesystem whose daemon stops answering.

A process that waits for such a daemon cannot be killed, so what is tested is that nobody but the
helper waits: the collector goes on, closes, and its process ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuse_daemon import MNT_DETACH, Daemon
from vedette.api import Duration, Host
from vedette_plugins.filesystem import Filesystem

#: In the tests a mount that is well has this long to answer.
TIMEOUT_S = 1.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    point = tmp_path / "mount"
    point.mkdir()
    try:
        served = Daemon(point)
    except OSError as error:
        pytest.skip(f"no FUSE filesystem can be mounted here: {error}")
    yield served
    served.end()


class Clocked:
    """A collector of this host's FUSE mount of the test, with a clock that can be set forward."""

    def __init__(self, daemon: Daemon) -> None:
        config = Filesystem.Config(
            include=(daemon.point, "/"), exclude=("*",), remote_timeout=Duration(TIMEOUT_S)
        )
        self.point = daemon.point
        self.collector = Filesystem(config)
        self.ahead_s = 0.0
        clock = self.collector.reader.monotonic
        self.collector.reader.monotonic = lambda: clock() + self.ahead_s

    def read(self) -> dict[str, dict[str, float]]:
        """Collect once; return values by mount point and metric, the states added up."""
        seen: dict[str, dict[str, float]] = {}
        for one in self.collector.collect():
            if one.series.values:
                values = seen.setdefault(one.series.values[1], {})
                name = one.series.instrument.name
                values[name] = values.get(name, 0) + one.value
        return seen


@pytest.fixture
def clocked(daemon: Daemon) -> Iterator[Clocked]:
    made = Clocked(daemon)
    yield made
    daemon.silent = False
    daemon.speak()
    made.collector.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what comes by itself, ten seconds at most."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited in vain")


def state_of(pid: int) -> str:
    """The state letter of a process: D waits and cannot be killed, Z has ended."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text.rpartition(")")[2].split()[0]


def test_a_fuse_mount_is_read_by_the_helper(clocked: Clocked) -> None:
    read = clocked.read()[clocked.point]
    assert read["vedette.filesystem.responding"] == 1
    assert read["system.filesystem.limit"] == 1000 * 4096
    assert read["system.filesystem.usage"] == 1000 * 4096
    assert read["system.filesystem.utilization"] == pytest.approx(600 / 900)
    assert read["vedette.filesystem.inodes.utilization"] == pytest.approx(0.6)


def test_a_daemon_that_stops_answering_is_reported_and_comes_back(
    daemon: Daemon, clocked: Clocked
) -> None:
    daemon.silent = True
    for _ in range(3):
        read = clocked.read()
        assert read[clocked.point] == {"vedette.filesystem.responding": 0}
        assert read["/"]["vedette.filesystem.responding"] == 1
        clocked.ahead_s += 10_000
    stuck = list(clocked.collector.reader._stuck.values())
    assert len(stuck) == 1, "the mount was asked again while a helper still waits for it"
    until(lambda: state_of(stuck[0]) == "D")
    daemon.speak()
    until(lambda: state_of(stuck[0]) == "Z")
    for _ in range(2):
        assert clocked.read()[clocked.point]["vedette.filesystem.responding"] == 1
    assert clocked.collector.reader._stuck == {}


def test_closing_does_not_wait_for_a_helper_that_hangs(daemon: Daemon, clocked: Clocked) -> None:
    daemon.silent = True
    clocked.read()
    closed = threading.Thread(target=clocked.collector.close, daemon=True)
    closed.start()
    closed.join(5)
    assert not closed.is_alive()


def test_a_mount_whose_daemon_died_does_not_respond(tmp_path: Path) -> None:
    point = tmp_path / "mount"
    point.mkdir()
    try:
        served = Daemon(point)
    except OSError as error:
        pytest.skip(f"no FUSE filesystem can be mounted here: {error}")
    clocked = Clocked(served)
    umount = served._libc.umount2
    try:
        served._libc.umount2 = lambda *_: 0
        served.end()
        assert clocked.read()[clocked.point] == {"vedette.filesystem.responding": 0}
    finally:
        clocked.collector.close()
        umount(os.fsencode(served.point), MNT_DETACH)


AGENT = """
import sys
from vedette_plugins.filesystem import Filesystem
from vedette.api import Duration
config = Filesystem.Config(include=(sys.argv[1],), exclude=("*",), remote_timeout=Duration(0.5))
collector = Filesystem(config)
seen = [one.value for one in collector.collect() if "responding" in one.series.instrument.name]
print(seen, list(collector.reader._stuck.values()), flush=True)
"""


@pytest.mark.parametrize("how", ["by itself", "killed"])
def test_a_process_whose_helper_hangs_ends_at_once(daemon: Daemon, how: str) -> None:
    daemon.silent = True
    wait = "sys.stdin.read()" if how == "killed" else ""
    process = subprocess.Popen(
        [sys.executable, "-c", AGENT + wait, daemon.point],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        line = process.stdout.readline().decode()
        assert line.startswith("[0] ["), line
        helper = int(line.split("[")[2].rstrip("]\n"))
        until(lambda: state_of(helper) == "D")
        if how == "killed":
            process.kill()
        assert process.wait(5) in (0, -signal.SIGKILL)
        assert state_of(helper) == "D"
    finally:
        process.kill()
        daemon.speak()
        process.communicate(timeout=5)


def test_the_table_of_the_kernel_tells_of_a_new_mount(tmp_path: Path) -> None:
    collector = Filesystem(Filesystem.Config(include=(f"{tmp_path}/*",), exclude=("*",)))
    collector.host = Host()
    point = tmp_path / "mount"
    point.mkdir()
    try:
        list(collector.collect())
        list(collector.collect())
        try:
            served = Daemon(point)
        except OSError as error:
            pytest.skip(f"no FUSE filesystem can be mounted here: {error}")
        try:
            read: list[Any] = list(collector.collect())
        finally:
            served.end()
        assert str(point) in {one.series.values[1] for one in read if one.series.values}
        after: list[Any] = list(collector.collect())
        assert [one.series.values for one in after] == [()]
    finally:
        collector.close()
