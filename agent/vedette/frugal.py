"""Keep the process small and out of others' way.

It has one heap, a patient scheduling class, and no pages of programs that nothing runs any more.

What an agent runs in its first second it mostly never runs again: numpy tries its loops, OpenSSL
reads the certificates, Python compiles expressions. The pages of the libraries that were read for
it stay in its resident memory, some 10 of 60 MiB, until the host is short of memory. The kernel can
be told at once: the page stays in its cache of files and comes back, at about a microsecond, when
it is needed after all.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
from collections.abc import Iterator

import numpy as np

log = logging.getLogger(__name__)

#: Parameters of mallopt(3): the number of heaps, what is large, and how much may stay at the end.
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1
LARGE_BYTES = 128 << 10
#: madvise(2).
MADV_DONTNEED = 4
#: Bits of an entry of /proc/PID/pagemap: in memory; a page of a file, not one of its own.
_PRESENT, _OF_A_FILE = np.uint64(1 << 63), np.uint64(1 << 61)
_ENTRY_BYTES = 8


def use_one_heap() -> None:
    """Have the C library keep little memory that is not in use.

    All threads share one heap (a heap each costs a megabyte and more), and large arrays get pages
    of their own, which go back to the system with them; without being told so glibc raises the
    size that counts as large, and what a report took for a moment stays. glibc's mallopt(3);
    another C library has no such heaps and no such function.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, LARGE_BYTES)


def give_back_heap() -> None:
    """Give the system the free pages amid the heap, where what is in use lies beyond them.

    glibc's malloc_trim(3); a millisecond or two for 20 MiB.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_way() -> None:
    """Have the kernel never interrupt whoever runs because a thread of the agent woke up.

    sched(7), SCHED_BATCH: a woken thread waits for the next free moment instead. The host's work is
    not cut short by its watcher; and a thread that hands over to another goes on to its own wait
    first, where it lets go of the interpreter's lock, so that neither has to wait twice. On a CPU
    that is never free a tick begins a few ms later. The policy of whoever asked for one stays.
    Threads and worker processes started later inherit it.
    """
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:  # a sandbox may forbid it
        log.info("agent scheduling=default reason=%r", str(error))


def give_back_pages() -> int:
    """Take the unchanged pages of files that are mapped for reading out of this process' memory.

    Returns how many were asked back. Pages that were written to (by the linker, by a debugger) have
    no copy in the file and stay; where the kernel does not tell which those are, all stay. Costs
    about 4 ms, and as much again until what is in use has come back.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return 0
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    given = 0
    try:
        pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        for start, end in _programs():
            for first, after in _unchanged(pagemap, start, end):
                if madvise(first, after - first, MADV_DONTNEED) == 0:
                    given += (after - first) // mmap.PAGESIZE
    except (OSError, ValueError) as error:
        log.info("agent pages=kept reason=%r", str(error))
    finally:
        os.close(pagemap)
    return given


def _programs() -> Iterator[tuple[int, int]]:
    """Yield the ends of each private mapping of a file that cannot be written to."""
    with open("/proc/self/maps", "rb") as file:
        lines = file.read().splitlines()
    for line in lines:
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5].startswith(b"/") and fields[1] in (b"r-xp", b"r--p"):
            start, _, end = fields[0].partition(b"-")
            yield int(start, 16), int(end, 16)


def _unchanged(pagemap: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of pages from ``start`` to ``end`` that are as they are in the file."""
    pages = (end - start) // mmap.PAGESIZE
    data = os.pread(pagemap, pages * _ENTRY_BYTES, start // mmap.PAGESIZE * _ENTRY_BYTES)
    entries = np.frombuffer(data, np.uint64)
    given = np.zeros(len(entries) + 2, np.int8)
    given[1:-1] = (entries & (_PRESENT | _OF_A_FILE)) == (_PRESENT | _OF_A_FILE)
    edges = np.flatnonzero(np.diff(given))
    for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield start + first * mmap.PAGESIZE, start + after * mmap.PAGESIZE
