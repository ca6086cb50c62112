"""Four things that happen to a host, for real, and what collectors tell of them meanwhile.

Each is a function that takes ``samples`` (the number of samples of a collector of the agent, by its
name), a folder and a time, and returns an ``Outcome``. Whatever it made is gone when it returns.
What the samples were is read by a second instance of the collector, in this process.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fuse_daemon import Daemon
from vedette.api import Collector, Duration, Sample
from vedette_plugins.disk import Disk
from vedette_plugins.filesystem import Filesystem
from vedette_plugins.network import Network

Samples = Callable[[str], int]

LOOP_SET_FD, LOOP_CLR_FD = 0x4C00, 0x4C01
LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81
DISK_BYTES = 16 << 20
BEFORE, AFTER, OTHER = "vdt0", "vdt2", "vdt1"
#: An Ethernet frame of a type kept for local experiments, that nobody answers.
FRAME = b"\xff" * 6 + b"\x02" + b"\0" * 5 + b"\x88\xb5" + b"\0" * 100
PROCESSES_PER_S = 500
CHURN = """
import os, sys, time
rate, seconds = map(float, sys.argv[1:])
began = time.monotonic()
done = 0
while (passed := time.monotonic() - began) < seconds:
    if done > passed * rate:
        time.sleep(1 / rate)
        continue
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    done += 1
print(done / (time.monotonic() - began))
"""


class Outcome(NamedTuple):
    """What was told of what was hit, and whether that is how it was."""

    facts: list[str]
    is_told: bool


def until(condition: Callable[[], bool], patience_s: float) -> float | None:
    """Wait for what comes by itself; return how long it took, None when it did not come."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < patience_s:
        if condition():
            return passed
        time.sleep(0.4)
    return None


class Story:
    """The facts of one hazard; whatever does not come is a fact too, and a bad one."""

    def __init__(self) -> None:
        self.facts: list[str] = []
        self.is_told = True

    def expect(self, text: str, condition: Callable[[], bool], patience_s: float) -> None:
        took = until(condition, patience_s)
        self.is_told &= took is not None
        when = f"after {took:.1f} s" if took is not None else f"NOT within {patience_s:g} s"
        self.facts.append(f"{text}: {when}")

    def end(self) -> Outcome:
        return Outcome(self.facts, self.is_told)


def read(collector: Collector, name: str) -> dict[str, float]:
    """Collect once, here; return the values of what has that name, by metric."""
    found: dict[str, float] = {}
    for one in collector.collect():
        if isinstance(one, Sample) and name in one.series.values:
            metric = one.series.instrument.name
            found[metric] = found.get(metric, 0.0) + one.value
    return found


def fuse(samples: Samples, folder: Path, seconds: float) -> Outcome:
    """Let a mount hang until the agent told of it, and half that time longer."""
    story, point = Story(), folder / "hanging"
    point.mkdir()
    beside = Filesystem(
        Filesystem.Config(include=(str(point),), exclude=("*",), remote_timeout=Duration(0.5))
    )
    responding = "vedette.filesystem.responding"
    patience = max(seconds, 15.0)
    before = samples("filesystem")
    daemon = Daemon(point)
    try:
        story.expect(
            "agent reads the new mount", lambda: samples("filesystem") > before + 1, patience
        )
        story.expect("responding is 1", lambda: read(beside, str(point)).get(responding) == 1, 5)
        daemon.silent = True
        story.expect(
            "hangs: agent tells one series of it",
            lambda: samples("filesystem") == before + 1,
            patience,
        )
        story.expect(
            "hangs: responding is 0", lambda: read(beside, str(point)) == {responding: 0}, 5
        )
        time.sleep(seconds / 2)
        daemon.speak()
        story.expect(
            "is back: agent reads it", lambda: samples("filesystem") > before + 1, patience
        )
        story.expect(
            "is back: responding is 1", lambda: read(beside, str(point)).get(responding) == 1, 5
        )
    finally:
        daemon.silent = False
        daemon.end()
        beside.close()
        point.rmdir()
    story.expect(
        "unmounted: agent reads it no more",
        lambda: samples("filesystem") == before,
        patience,
    )
    return story.end()


def churn(samples: Samples, folder: Path, seconds: float) -> Outcome:
    """Begin and end processes, one after the other."""
    began = forks()
    command = [sys.executable, "-c", CHURN, str(PROCESSES_PER_S), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        rate = float(process.communicate(timeout=seconds + 15)[0])
    finally:
        process.kill()
        process.wait(5)
    kernel = (forks() - began) / seconds
    fact = f"{rate:.0f} processes a second for {seconds:g} s ({kernel:.0f} began by /proc/stat)"
    return Outcome([fact], rate > PROCESSES_PER_S / 2)


def forks() -> int:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("processes "):
            return int(line.split()[1])
    return 0


def disk(samples: Samples, folder: Path, seconds: float) -> Outcome:
    """Write to a disk and take it away."""
    story = Story()
    before = samples("disk")
    with loop_disk(folder) as (name, vanish):
        beside = Disk(Disk.Config(include=(name,), exclude=("*",)))
        try:
            story.expect(f"agent reads {name}", lambda: samples("disk") >= before + 9, 10)
            story.expect(
                "its bytes are told", lambda: read(beside, name).get("system.disk.io", 0) > 0, 5
            )
            time.sleep(seconds / 2)
            most = samples("disk")
            began = time.monotonic()
            vanish()
            story.facts.append(f"removed in {1000 * (time.monotonic() - began):.0f} ms")
            story.expect("agent reads it no more", lambda: samples("disk") <= most - 9, 10)
            story.expect("its series have ended", lambda: not read(beside, name), 5)
        finally:
            beside.close()
    return story.end()


@contextmanager
def loop_disk(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Add a loop device over memory and keep it busy; yields its name and what removes it."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    memory = os.memfd_create("vedette-hazard")
    os.ftruncate(memory, DISK_BYTES)
    number = fcntl.ioctl(control, LOOP_CTL_ADD, -1)
    name, node = f"loop{number}", folder / f"loop{number}"
    idle, present = threading.Event(), True

    def work() -> None:
        device = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        try:
            place = 0
            while not idle.is_set():
                os.pwrite(device, os.urandom(1 << 16), place % DISK_BYTES)
                os.fdatasync(device)
                place += 1 << 16
                time.sleep(0.005)
        finally:
            os.close(device)

    def vanish() -> None:
        nonlocal present
        if not present:
            return
        idle.set()
        busy.join(10)
        device = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        with suppress(OSError):
            fcntl.ioctl(device, LOOP_CLR_FD)
        os.close(device)
        removed = until(lambda: remove(control, number), 10)
        present = removed is None

    busy = threading.Thread(target=work, daemon=True)
    try:
        major, minor = map(int, Path(f"/sys/block/{name}/dev").read_text().split(":"))
        os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(major, minor))
        device = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(device, LOOP_SET_FD, memory)
        os.close(device)
        busy.start()
        yield name, vanish
    finally:
        idle.set()
        if busy.ident is None:
            remove(control, number)
        else:
            vanish()
        node.unlink(missing_ok=True)
        os.close(memory)
        os.close(control)


def remove(control: int, number: int) -> bool:
    try:
        fcntl.ioctl(control, LOOP_CTL_REMOVE, number)
    except OSError:
        return False
    return True


def interface(samples: Samples, folder: Path, seconds: float) -> Outcome:
    """Rename an interface while it is in use, then delete it."""
    story = Story()
    before = samples("network")
    beside = Network(Network.Config(include=("vdt*",), exclude=("*",)))
    try:
        ip("link", "add", BEFORE, "type", "veth", "peer", "name", OTHER)
        for end in (BEFORE, OTHER):
            ip("link", "set", end, "up")
        with traffic():
            story.expect("agent reads both ends", lambda: samples("network") >= before + 16, 10)
            time.sleep(seconds / 4)
            ip("link", "set", BEFORE, "down")
            ip("link", "set", BEFORE, "name", AFTER)
            ip("link", "set", AFTER, "up")
            story.expect(
                f"renamed: {BEFORE} has ended and {AFTER} has begun",
                lambda: not read(beside, BEFORE) and bool(read(beside, AFTER)),
                5,
            )
            time.sleep(seconds / 4)
            most = samples("network")
            ip("link", "del", AFTER)
        story.expect(
            "deleted: agent reads neither end",
            lambda: samples("network") <= most - 16,
            10,
        )
        gone = lambda: not any(read(beside, end) for end in (BEFORE, AFTER, OTHER))  # noqa: E731
        story.expect("deleted: no series is left", gone, 5)
    finally:
        for end in (BEFORE, AFTER):
            if Path(f"/sys/class/net/{end}").exists():
                ip("link", "del", end)
        beside.close()
    return story.end()


def ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, timeout=10, capture_output=True)


@contextmanager
def traffic() -> Iterator[None]:
    """Send frames from one end of the pair to the other."""
    idle = threading.Event()

    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((OTHER, 0))
            while not idle.wait(0.01):
                with suppress(OSError):  # the other end is down, or both are gone
                    sender.send(FRAME)

    sending = threading.Thread(target=work, daemon=True)
    sending.start()
    try:
        yield
    finally:
        idle.set()
        sending.join(5)
