"""What every child process of a drill shares: its task, its life, its name, its limits.

Standard library only: the load should be the load, not a program that starts.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

__all__ = [
    "GRACE_S",
    "MIB",
    "Phase",
    "Task",
    "cleaned",
    "confine",
    "forked",
    "limit",
    "pause",
    "rename",
    "scratch",
    "uninterrupted",
]

MIB = 1024 * 1024
PAGE = resource.getpagesize()
#: prctl options, from linux/prctl.h.
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
#: Seconds after the deadline at which the alarm ends a child that is stuck in a system call.
GRACE_S = 5
#: What every file that a drill gives a name begins with.
PREFIX = ".vedette-drill-"
_ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_libc = ctypes.CDLL(None, use_errno=True)


class Task(NamedTuple):
    """What a child is to do until ``deadline`` (monotonic seconds): how much, how fast, where."""

    deadline: float
    seconds: float
    amount: int = 0
    rate: int = 0
    path: str = ""
    port: int = 0
    listener: int = -1

    def left(self) -> float:
        """Return the seconds until the deadline, never negative."""
        return max(0.0, self.deadline - time.monotonic())


class Phase:
    """Whether the fault is on: the parent says so on standard input, ``on`` or ``off`` a line.

    When the parent is gone the input ends, and so does this process.
    """

    def __init__(self) -> None:
        self.on = False

    def wait(self, seconds: float, *also: int) -> None:
        """Wait so long, or shorter: until the parent or one of these descriptors has something."""
        ready, _, _ = select.select([0, *also], [], [], max(0.0, seconds))
        if 0 in ready:
            said = os.read(0, 4096).split()
            if not said:
                sys.exit(0)
            self.on = said[-1] == b"on"


def pause(task: Task, began: float, done: float, rate: float) -> None:
    """Sleep when more was done since ``began`` than the rate (a second) allows."""
    ahead = min(began + done / rate, task.deadline) - time.monotonic()
    if ahead > 0.002:
        time.sleep(ahead)


# ---------------------------------------------------------------- life and limits


def confine(name: str, seconds: float, parent: int) -> None:
    """Take the name, tie the life to the parent's, bound the time.

    Ends by SIGTERM as by the end of the work: what is to be cleaned up is.
    """
    _tie(name, parent, signal.SIGTERM)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S)  # the default action is to end
    whole = int(seconds) + GRACE_S
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit(kind: str, amount: int) -> None:
    """Let the kernel hold the child to what its task may take; ``amount`` in bytes."""
    writes = kind in ("disk", "disk-fill", "log")
    resource.setrlimit(resource.RLIMIT_FSIZE, (amount if writes else 0,) * 2)
    if kind == "memory":
        room = _address_space() + amount + 64 * MIB
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # whoever runs out of memory, this process goes first


def forked(name: str) -> int:
    """Fork; the child (which gets 0) is named and dies with this process, at once."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _tie(name, parent, signal.SIGKILL)
    return pid


def rename(name: str) -> None:
    """Take the name that process lists, and so suspects, show (the kernel keeps 15 characters)."""
    _libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def _tie(name: str, parent: int, number: signal.Signals) -> None:
    rename(name)
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before the tie was made
        os._exit(1)


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * PAGE


# ---------------------------------------------------------------- cleaning up


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let signals that ask this process to end wait until the block is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ASKING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def cleaned(path: str) -> Iterator[None]:
    """Remove a file or a directory when the block ends, or this process does, in any way.

    A process of its own does it, when a pipe to this one closes, so SIGKILL is no way out either.
    """
    read, write = os.pipe()
    with uninterrupted():
        cleaner = os.fork()
        if cleaner == 0:
            _await_and_remove(read, write, path)
    os.close(read)
    try:
        yield
    finally:
        os.close(write)
        os.waitpid(cleaner, 0)


@contextmanager
def scratch(directory: str) -> Iterator[str]:
    """Make a directory for many files, remove it afterwards; yield its path.

    One that was left behind, because process and cleaner were killed together, is removed first:
    nobody holds its lock.
    """
    import tempfile

    for left in Path(directory).glob(f"{PREFIX}*"):
        _remove_abandoned(left)
    with ExitStack() as stack:
        with uninterrupted():
            made = tempfile.mkdtemp(prefix=PREFIX, dir=directory)
            lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)  # the cleaner holds it too, being forked
            stack.enter_context(cleaned(made))
            stack.callback(os.close, lock)
        yield made


def _await_and_remove(read: int, write: int, path: str) -> None:
    try:
        os.setsid()
        rename("drill-cleaner")
        os.close(write)
        os.read(read, 1)
        _remove(Path(path))
    finally:
        os._exit(0)


def _remove_abandoned(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if os.fstat(handle).st_uid == os.geteuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
    except BlockingIOError:
        pass
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
