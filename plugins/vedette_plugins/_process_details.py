"""Read what /proc tells of one process at a price: disk traffic, open files, command line.

Each costs an open, a read and a close (3 to 8 µs), so they are read of few processes only. Another
user's may be hidden from this one: None then.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from vedette_plugins._process_table import Changes, Process, reaped
from vedette_plugins._procfs import beginning, first_number, number_after

#: Descriptors counted one by one at most, where the kernel does not tell their number.
COUNTED = 20_000
#: Scans after which a limit is read again though it is far.
LIMIT_SCANS = 60
#: Processes whose open files are counted anew per scan to know who holds most, where the kernel
#: tells the number and where it does not; at the first scan more, to have a start.
HOLDERS, HOLDERS_COUNTED, HOLDERS_FIRST = 256, 32, 2048
_OPEN_FILES = b"\nMax open files "


def resident_pages(proc: str, pid: int) -> int | None:
    """Return the resident pages of a process, exact; None when it is gone.

    What /proc/PID/stat says leaves out what Linux 6.2 and later have not added up yet, up to some
    pages per CPU: much on a large host, for a small process.
    """
    pages = beginning(f"{proc}/{pid}/statm").split(None, 1)[1:]
    return first_number(pages[0]) if pages else None


class Octets(NamedTuple):
    """Bytes read from and written to disks."""

    read: int
    written: int


class _Use(msgspec.Struct, frozen=True, gc=False):
    """What a process had moved when it had spent ``cpu`` ticks."""

    cpu: int
    octets: Octets


class Traffic:
    """What processes moved to and from disks, between one scan and the next."""

    def __init__(self) -> None:
        self._uses: dict[int, _Use] = {}

    def knows(self, pid: int) -> bool:
        """Say whether what the process moves can be read."""
        return pid in self._uses

    def moved(self, proc: str, changes: Changes, whom: Iterable[Process]) -> dict[int, Octets]:
        """Return what each of ``whom`` moved since the previous scan, by pid, where it is known.

        A process is compared with itself only where all the difference falls into that time. What
        children moved that were seen alive is not counted with the parent that reaped them.
        """
        read, written = Counter[int](), Counter[int]()
        for gone, reaper in reaped(changes.ended):
            use = self._uses.pop(gone.pid, None)
            if use is not None:
                read[reaper] += use.octets.read
                written[reaper] += use.octets.written
        appeared = {one.pid for one in changes.appeared}
        before = {new.pid: old.cpu for old, new in changes.changed}
        moved: dict[int, Octets] = {}
        for one in whom:
            pid = one.pid
            octets = octets_moved(proc, pid)
            if octets is None:
                continue
            old = self._uses.get(pid)
            self._uses[pid] = _Use(one.cpu, octets)
            if pid in appeared:
                moved[pid] = octets
            elif old is not None and old.cpu == before.get(pid, one.cpu):
                # It rested from that reading to the previous scan, or that scan took the reading.
                moved[pid] = Octets(
                    max(0, octets.read - old.octets.read - read[pid]),
                    max(0, octets.written - old.octets.written - written[pid]),
                )
        return moved


class OpenFiles:
    """How many descriptors processes hold, and of how many they may."""

    def __init__(self) -> None:
        self._told: bool | None = None
        self._limits: dict[int, int | None] = {}
        self._scans = 0
        #: How many each process held when that was looked at last, by pid.
        self.held: dict[int, int] = {}

    def begin(self, proc: str, ended: Iterable[Process]) -> None:
        """Begin a scan: forget who ended; find out at the first whether the kernel counts."""
        self._scans += 1
        for one in ended:
            self._limits.pop(one.pid, None)
            self.held.pop(one.pid, None)
        if self._told is None:
            try:
                # Since Linux 6.2 the size of the folder is the number of descriptors.
                self._told = os.stat(f"{proc}/self/fd").st_size > 0
            except OSError:
                self._told = False

    def count(self, proc: str, pid: int) -> int | None:
        """Return how many descriptors a process holds, 0 when it ended meanwhile.

        None when that is hidden from this user, or they are more than can be counted cheaply.
        """
        folder = f"{proc}/{pid}/fd"
        try:
            if self._told:
                return os.stat(folder).st_size
            with os.scandir(folder) as entries:
                found = sum(1 for _ in islice(entries, COUNTED + 1))
        except FileNotFoundError:
            return 0
        except OSError:
            return None
        return found if found <= COUNTED else None

    def follow(self, proc: str, whom: Sequence[Process]) -> None:
        """Count anew what these hold, in this order as far as there is room.

        Who opens a file does something, so those that did nothing hold what they held.
        """
        most = HOLDERS if self._told else HOLDERS_COUNTED
        if self._scans == 1 and self._told:
            most = HOLDERS_FIRST
        for one in whom[:most]:
            held = self.count(proc, one.pid)
            if held is not None:
                self.held[one.pid] = held

    def limit(self, proc: str, pid: int, held: int) -> int | None:
        """Return how many descriptors a process may hold; None without a limit.

        Remembered while it is far, as it is seldom changed.
        """
        known = self._limits.get(pid, 0)
        near = known is not None and 2 * held >= known
        if near or (self._scans + pid) % LIMIT_SCANS == 0:
            known = self._limits[pid] = file_limit(proc, pid)
        return known


def octets_moved(proc: str, pid: int) -> Octets | None:
    """Return the bytes a process has read from and written to disks; None when not readable.

    Those of its reaped children are part of them.
    """
    text = b"\n" + beginning(f"{proc}/{pid}/io")
    read, written = number_after(text, b"\nread_bytes:"), number_after(text, b"\nwrite_bytes:")
    return None if read is None or written is None else Octets(read, written)


def file_limit(proc: str, pid: int) -> int | None:
    """Return the soft limit of open files; None when there is none, or it is not readable."""
    text = b"\n" + beginning(f"{proc}/{pid}/limits")
    begin = text.find(_OPEN_FILES)
    words = text[begin + len(_OPEN_FILES) :].split(None, 1) if begin >= 0 else []
    limit = first_number(words[0]) if words else None
    return limit or None


def command_line(proc: str, pid: int) -> str:
    """Return a command line's first page, arguments with a space between; empty without one."""
    text = beginning(f"{proc}/{pid}/cmdline").rstrip(b"\0 ")
    return text.replace(b"\0", b" ").decode("utf-8", "replace")
