"""Say which processes have a log file open to write to it.

Looked for when a log rings, so seldom: the descriptors of every process that may be seen are read
by name only (``readlink``), which waits for no disk and no server, and for no longer than
``WITHIN_S``. A program that opens its log for each line is hardly ever seen. The source is
``/proc/PID/fd`` and ``fdinfo``, proc(5).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgspec

WITHIN_S = 0.05
#: Programs that are told, at most.
MOST = 4


class Writer(msgspec.Struct, frozen=True):
    """A program that writes: the lowest of its processes' numbers, and its name."""

    pid: int
    name: str


def writers(
    path: str, proc: str = "/proc", *, clock: Callable[[], float] = time.monotonic
) -> list[Writer]:
    """Return the programs that have a file open for writing, each once; never this one."""
    try:
        with os.scandir(proc) as entries:
            pids = sorted(int(one.name) for one in entries if one.name.isdigit())
    except OSError:
        return []
    until, found = clock() + WITHIN_S, dict[str, Writer]()

    def is_late() -> bool:
        return clock() > until

    for pid in pids:
        if len(found) >= MOST or is_late():
            break
        if pid != os.getpid() and _writes(path, f"{proc}/{pid}", is_late):
            name = _name(f"{proc}/{pid}")
            found.setdefault(name, Writer(pid, name))
    return [one for one in found.values() if one.name]


def _writes(path: str, folder: str, is_late: Callable[[], bool]) -> bool:
    try:
        with os.scandir(f"{folder}/fd") as entries:
            for one in entries:
                if is_late():
                    return False
                place = os.readlink(one.path)  # noqa: PTH115 - thousands of them
                if place == path and _is_for_writing(folder, one.name):
                    return True
    except OSError:  # it ended, or is not ours to look at
        pass
    return False


def _is_for_writing(folder: str, number: str) -> bool:
    with open(f"{folder}/fdinfo/{number}", "rb") as file:
        lines = file.read(4096).splitlines()
    flags = next((line.split()[1] for line in lines if line.startswith(b"flags:")), b"0")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _name(folder: str) -> str:
    try:
        with open(f"{folder}/comm", "rb") as file:
            return file.read(64).strip().decode("utf-8", "replace")
    except OSError:
        return ""
