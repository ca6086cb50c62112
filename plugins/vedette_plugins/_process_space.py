"""Find who makes a filesystem fuller: whose open files grow, from one look to the next.

What a process wrote tells it late, or not at all: what is written lies in memory at first, and
space can be taken without a write. A file that has no name any more is found here as well.

Each look lists the open files of a few processes and asks the size of those that can be written; of
more than the busiest when somebody wants to know. Files on a server, or on anything else that may
not answer, are never asked about: the mount of each is known from /proc/PID/fdinfo. Between looks
that somebody asked for, what could not be written is not looked at again for ``DULL_LOOKS`` of
them, and who has many files open not at all: to list them costs 0.4 µs each and more.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from itertools import chain, islice

from vedette_plugins._process_table import Process
from vedette_plugins._procfs import beginning, number_after, numbers, whole

#: Processes looked at when somebody asks and otherwise, and open files of each.
PROCESSES, FILES = (64, 8), (128, 24)
#: Open files up to which a process should be looked at though nobody asks: listing costs.
CROWDED = 128
#: Looks nobody asked for after which what could not be written is looked at again.
DULL_LOOKS = 12
#: A block of ``st_blocks``, whatever the filesystem's are.
BLOCK = 512
#: Filesystems that lie on this host.
LOCAL = frozenset(
    {b"bcachefs", b"btrfs", b"ext2", b"ext3", b"ext4", b"f2fs", b"jfs", b"xfs", b"zfs"}
)

File = tuple[int, int]
#: A process and the name of one of its descriptors.
Open = tuple[int, str]


class Fillers:
    """How large open files were at the last look."""

    def __init__(self) -> None:
        self._sizes: dict[File, int] = {}
        self._writers: list[int] = []
        self._looked_at = float("nan")
        self._dull: set[Open] = set()
        self._looks = 0
        self._mounts = (b"", frozenset[int]())

    def rates(
        self,
        proc: str,
        processes: Mapping[int, Process],
        moving: Sequence[Process],
        now: float,
        *,
        asked: bool,
    ) -> dict[int, float]:
        """Return the bytes a second by which open files grew since the last look, by pid.

        Looked at are the first of those that are ``moving``; when somebody ``asked`` also who had
        files to write at the last look (space is taken in less time than the kernel counts), and
        the youngest of the others. What was not open then counts from the next look on.
        """
        others: list[Process] = []
        if asked:
            others = [processes[pid] for pid in self._writers if pid in processes]
            others += sorted(processes.values(), key=lambda one: one.start, reverse=True)
        most, files = (PROCESSES[0], FILES[0]) if asked else (PROCESSES[1], FILES[1])
        whom = {one.pid: None for one in chain(moving, others) if not one.is_kernel}
        before, self._sizes, self._writers = self._sizes, {}, []
        if asked or self._looks % DULL_LOOKS == 0:
            self._dull.clear()
        self._looks += 1
        local = self._local(proc)
        elapsed, self._looked_at = now - self._looked_at, now
        rates: dict[int, float] = {}
        for pid in islice(whom, most):
            sizes = open_sizes(proc, pid, local, files, self._dull)
            if not sizes:
                continue
            self._writers.append(pid)
            more = sum(max(0, size - before.get(file, size)) for file, size in sizes.items())
            self._sizes.update(sizes)
            if more and elapsed > 0:
                rates[pid] = more / elapsed
        return rates

    def _local(self, proc: str) -> frozenset[int]:
        """Return the mounts on this host's own disks; they are found anew when any has changed."""
        text = whole(f"{proc}/self/mountinfo")
        if text != self._mounts[0]:
            self._mounts = text, local_mounts(text)
        return self._mounts[1]


def local_mounts(mountinfo: bytes) -> frozenset[int]:
    """Return the numbers of the mounts that are on this host's own disks."""
    found = set()
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(b" - ")
        number = numbers(mount.split(None, 1)[:1])
        if number and source.split(None, 1)[:1] and source.split(None, 1)[0] in LOCAL:
            found.add(number[0])
    return frozenset(found)


def open_sizes(
    proc: str, pid: int, local: frozenset[int], most: int, dull: set[Open]
) -> dict[File, int]:
    """Return the bytes on disk of the first files that a process has open to be written.

    What is ``dull`` is passed over, and what could not be written is added to it.
    """
    sizes: dict[File, int] = {}
    try:
        with os.scandir(f"{proc}/{pid}/fdinfo") as entries:
            names = [entry.name for entry in islice(entries, most)]
    except OSError:
        return sizes
    for name in names:
        if (pid, name) in dull:
            continue
        if not _is_written(b"\n" + beginning(f"{proc}/{pid}/fdinfo/{name}"), local):
            dull.add((pid, name))
            continue
        try:
            found = os.stat(f"{proc}/{pid}/fd/{name}")
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            sizes[found.st_dev, found.st_ino] = found.st_blocks * BLOCK
    return sizes


def _is_written(text: bytes, local: frozenset[int]) -> bool:
    """Say whether an open file can be written and lies on this host, from its fdinfo."""
    flags, mount = number_after(text, b"\nflags:"), number_after(text, b"\nmnt_id:")
    # The flags are octal; their last digit tells how it was opened, and is the same in decimal.
    return mount in local and flags is not None and flags % 10 & os.O_ACCMODE != os.O_RDONLY
