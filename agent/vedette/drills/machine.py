"""Faults of processor, memory and processes, as a child process makes them."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import time

from vedette.drills.task import MIB, Phase, Task, forked, pause, rename

__all__ = ["fork", "leak", "open_files", "spin", "stop"]

#: What a process that will be stopped does with a core before: in a series it runs all the time,
#: and is to be no fault of its own.
BUSY_SHARE = 0.03
#: Descriptors that are not leaked: what the process itself needs.
OWN_FILES = 32


_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def spin(task: Task) -> None:
    """Keep a core busy."""
    while time.monotonic() < task.deadline:
        for _ in range(20_000):
            pass


def leak(task: Task) -> None:
    """Touch ``rate`` bytes a second, page by page, up to ``amount``; hold them."""
    block = min(4 * MIB, task.amount)
    began = time.monotonic()
    held: list[mmap.mmap] = []
    for taken in range(0, task.amount, block):
        pause(task, began, taken, task.rate)
        if not task.left():
            return
        # Shared memory would be an open file besides.
        memory = mmap.mmap(-1, min(block, task.amount - taken), flags=_PRIVATE)
        for offset in range(0, len(memory), mmap.PAGESIZE):
            memory[offset] = 1
        held.append(memory)
    time.sleep(task.left())


def open_files(task: Task) -> None:
    """Open ``rate`` files a second, up to ``amount``, and close none."""
    room = task.amount + OWN_FILES
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(room, most), most))
    began = time.monotonic()
    for opened in range(task.amount):
        pause(task, began, opened, task.rate)
        if not task.left():
            return
        os.open(os.devnull, os.O_RDONLY)
    time.sleep(task.left())


def fork(task: Task) -> None:
    """Start ``rate`` processes a second that end at once."""
    began = time.monotonic()
    started = 0
    while task.left():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        started += 1
        pause(task, began, started, task.rate)


def stop(task: Task) -> None:
    """Keep a process busy, and stopped (SIGSTOP) while the fault is on."""
    phase, stopped = Phase(), False
    pid = forked("drill-stuck")
    if pid == 0:
        _be_busy()
    rename("drill-stopper")
    try:
        while task.left():
            phase.wait(min(1.0, task.left()))
            if phase.on != stopped:
                stopped = phase.on
                os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _be_busy() -> None:
    """Use ``BUSY_SHARE`` of a core until killed."""
    turn_s = 0.05
    while True:
        until = time.monotonic() + turn_s * BUSY_SHARE
        while time.monotonic() < until:
            pass
        time.sleep(turn_s * (1 - BUSY_SHARE))
