"""Faults of disks, filesystems and logs, as a child process makes them.

What needs no name has none (an unlinked file is gone with its process); what needs one is removed
by a cleaner that outlives the process.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path

from vedette.drills.task import MIB, PREFIX, Task, cleaned, pause, scratch, uninterrupted

__all__ = ["churn", "fill", "log", "sync"]

#: Written between two syncs: little, so that even a fast disk is busy all the time.
SYNC_BYTES = 64 * 1024
#: The part of the time in which a file grows to its size.
FILL_SHARE = 0.7
FILL_STEP = 16 * MIB

_ERRORS = (
    "ERROR vedette-drill: connection to database lost: timeout after 5000 ms",
    "ERROR vedette-drill: request failed: upstream returned status 503",
    "CRITICAL vedette-drill: worker exited unexpectedly with code 137",
)


def sync(task: Task) -> None:
    """Write and sync a file of at most ``amount`` bytes, over and over, ``rate`` bytes a second."""
    chunk = os.urandom(SYNC_BYTES)
    with tempfile.TemporaryFile(dir=task.path, prefix=PREFIX, buffering=0) as file:
        began = time.monotonic()
        written = 0
        while task.left():
            os.pwrite(file.fileno(), chunk, written % (task.amount - task.amount % SYNC_BYTES))
            os.fdatasync(file.fileno())
            written += SYNC_BYTES
            pause(task, began, written, task.rate)


def fill(task: Task) -> None:
    """Take ``amount`` bytes of the filesystem, evenly over most of the time; hold them.

    Space is allocated, not written: what is tried is a filesystem that fills, not a disk.
    """
    rate = task.amount / (task.seconds * FILL_SHARE)
    with tempfile.TemporaryFile(dir=task.path, prefix=PREFIX, buffering=0) as file:
        began = time.monotonic()
        for taken in range(0, task.amount, FILL_STEP):
            pause(task, began, taken, rate)
            if not task.left():
                return
            os.posix_fallocate(file.fileno(), taken, min(FILL_STEP, task.amount - taken))
        time.sleep(task.left())


def churn(task: Task) -> None:
    """Make ``rate`` files a second; from ``amount`` files on, remove the oldest for each."""
    with scratch(task.path) as directory:
        alive: deque[Path] = deque()
        began = time.monotonic()
        made = 0
        while task.left():
            name = f"{directory}/{made}"
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            alive.append(Path(name))
            made += 1
            if len(alive) > task.amount:
                alive.popleft().unlink()
            pause(task, began, made, task.rate)


def log(task: Task) -> None:
    """Append ``rate`` lines of errors a second; a file that was not there before is removed."""
    with ExitStack() as stack:
        with uninterrupted():
            try:
                file = stack.enter_context(open(task.path, "xb", buffering=0))
                stack.enter_context(cleaned(task.path))
            except FileExistsError:
                file = stack.enter_context(open(task.path, "ab", buffering=0))
        _append_errors(task, file.fileno())


def _append_errors(task: Task, file: int) -> None:
    began = time.monotonic()
    written = 0
    while task.left():
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.write(file, f"{stamp} {_ERRORS[written % len(_ERRORS)]} ({written})\n".encode())
        written += 1
        pause(task, began, written, task.rate)
