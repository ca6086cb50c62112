"""Read the process table: every process once, from /proc/PID/stat alone.

One scan is an open, a read and a close per process; nothing is kept open, so processes may come
and go as they like. Two scans tell what each process did in between.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from vedette_plugins._procfs import number_after, numbers, printable

#: A line of /proc/PID/stat has at most 52 numbers and a name of 64 bytes.
LONGEST_STAT = 2048
#: Ancestors followed to find who reaped a process.
ANCESTORS = 64
#: PF_KTHREAD of the kernel's include/linux/sched.h.
KERNEL_THREAD = 0x00200000


class Process(msgspec.Struct, frozen=True, gc=False):
    """One process as /proc/PID/stat has it: times in clock ticks, ``resident`` in pages."""

    pid: int
    name: str
    state: str
    parent: int
    is_kernel: bool
    cpu: int
    children: int
    threads: int
    start: int
    resident: int


Scan = Mapping[int, Process]


def scan(proc: str) -> Scan:
    """Return every process that can be seen; one that ends meanwhile is left out."""
    found: dict[int, Process] = {}
    with os.scandir(proc) as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    for pid in pids:
        try:
            descriptor = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            text = os.read(descriptor, LONGEST_STAT)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        process = parse_stat(pid, text)
        if process is not None:
            found[process.pid] = process
    return found


def parse_stat(pid: int, text: bytes) -> Process | None:
    """Return the process of a line of /proc/PID/stat; None when it is garbled.

    The name stands in parentheses and may hold anything, parentheses and line breaks too, so it
    ends at the last one.
    """
    begin, end = text.find(b"("), text.rfind(b")")
    fields = text[end + 1 :].split(None, 22)
    if begin < 0 or end < begin or len(fields) < 22 or len(fields[0]) != 1:
        return None
    values = numbers([fields[at] for at in (1, 6, 11, 12, 13, 14, 17, 19, 21)])
    if values is None:
        return None
    parent, flags, user, system, children_user, children_system, threads, start, resident = values
    name = text[begin + 1 : end]
    is_kernel = bool(flags & KERNEL_THREAD)
    if is_kernel:
        # kworker/3:1-events and its like: one name for all.
        name = name.partition(b"/")[0].partition(b":")[0]
    return Process(
        pid=pid,
        name=printable(name) or "(no name)",
        state=fields[0].decode("ascii", "replace"),
        parent=parent,
        is_kernel=is_kernel,
        cpu=user + system,
        children=children_user + children_system,
        threads=threads,
        start=start,
        resident=resident,
    )


def ended(before: Scan, now: Scan) -> Iterator[tuple[Process, int]]:
    """Yield each process that ended since the previous scan, and the pid of who reaped it.

    That is the nearest ancestor that still lives: the kernel adds to a parent what its children
    and their children used once they are gone.
    """
    for old in before.values():
        if _lives(old.pid, before, now):
            continue
        parent = old.parent
        for _ in range(ANCESTORS):
            if parent not in before or _lives(parent, before, now):
                break
            parent = before[parent].parent
        yield old, parent


#: The process that orphans are given to.
INIT = 1


def cpu_spent(before: Scan, now: Scan) -> dict[int, int]:
    """Return the ticks each process spent since the previous scan, reaped children's included.

    Not for the first process: it reaps orphans, whose work was never its own.
    """
    known = Counter[int]()
    for old, reaper in ended(before, now):
        known[reaper] += old.cpu + old.children
    spent: dict[int, int] = {}
    for pid, new in now.items():
        own, reaped = new.cpu, new.children
        if _lives(pid, before, now):
            own, reaped = own - before[pid].cpu, reaped - before[pid].children
        spent[pid] = max(0, own) + (max(0, reaped - known[pid]) if pid != INIT else 0)
    return spent


def _lives(pid: int, before: Scan, now: Scan) -> bool:
    """Say whether the pid was and is the same process."""
    return pid in before and pid in now and before[pid].start == now[pid].start


def octets_moved(proc: str, pid: int) -> int | None:
    """Return the bytes a process has read from and written to disks; None when not readable.

    Those of its reaped children are part of them.
    """
    try:
        descriptor = os.open(f"{proc}/{pid}/io", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = b"\n" + os.read(descriptor, LONGEST_STAT)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    read, written = number_after(text, b"\nread_bytes:"), number_after(text, b"\nwrite_bytes:")
    return None if read is None or written is None else read + written
