"""Read what a control group uses, from version 2 of the kernel's interface or version 1.

Both yield the same numbers; what a kernel or a group lacks is None. With version 1 each controller
has a tree of its own in which the group has the same path.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from vedette.api import Unavailable
from vedette_plugins._procfs import WIDEST, number_after, numbers

#: One read takes all of a file but the I/O of very many devices; what is larger is cut.
CHUNK = 4096
LARGEST = 256 * 1024
#: Version 1 writes a page less than 8 EiB for "no limit".
UNLIMITED = 1 << 62
RESOURCES = ("cpu", "memory", "io")
#: Version 1's trees that are read; the first that exists is the one walked.
CONTROLLERS = ("memory", "pids", "cpuacct", "cpu", "blkio")


Parsed = TypeVar("Parsed")


class Reading(msgspec.Struct):
    """What a group used; times in seconds, amounts in bytes, None = not there."""

    cpu_s: float | None = None
    user_s: float | None = None
    system_s: float | None = None
    throttled_s: float | None = None
    throttled: int | None = None
    memory: int | None = None
    working_set: int | None = None
    swap: int | None = None
    oom_kills: int | None = None
    limit_hits: int | None = None
    high_hits: int | None = None
    tasks: int | None = None
    read: int | None = None
    written: int | None = None
    pressure: list[tuple[str, str, float]] = []


class Limits(NamedTuple):
    """What a group may use; None = no limit."""

    cpus: float | None = None
    memory: int | None = None
    tasks: int | None = None


class Files:
    """The files of one group, kept open when ``keep``; what is not there is not tried again."""

    def __init__(self, root: str, path: str, *, keep: bool) -> None:
        self.keep = keep
        self._root = root
        self._path = path
        self._open: dict[str, int] = {}
        self._absent: set[str] = set()
        self._parsed: dict[str, tuple[bytes, Any]] = {}

    def text(self, name: str, controller: str = "", *, once: bool = False) -> bytes:
        """Return what a file says, empty when it cannot be read; ``once`` is not kept open."""
        descriptor = self._open.get(name)
        if descriptor is None:
            if name in self._absent:
                return b""
            place = f"{self._root}/{controller}/{self._path}/{name}"
            try:
                descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self._absent.add(name)
                return b""
            self._open[name] = descriptor
        try:
            text = _whole(descriptor)
        except OSError:
            # The group is gone; another may have its path by the next reading.
            text, once = b"", True
        if once or not self.keep:
            os.close(self._open.pop(name))
        return text

    def parsed(self, name: str, parse: Callable[[bytes], Parsed], controller: str = "") -> Parsed:
        """Return what ``parse`` makes of a file; what it made before while the text is the same."""
        text = self.text(name, controller)
        before = self._parsed.get(name)
        if before is None or before[0] != text:
            before = self._parsed[name] = text, parse(text)
        found: Parsed = before[1]
        return found

    def number(self, name: str, controller: str = "", *, once: bool = False) -> int | None:
        """Return the number that is all a file holds; None for ``max`` and the like."""
        try:
            value = int(self.text(name, controller, once=once))
        except ValueError:
            return None
        return value if 0 <= value < WIDEST else None

    def retry(self) -> None:
        """Try again what was not there: a controller may have been switched on."""
        self._absent.clear()

    def close(self) -> None:
        """Let go of the descriptors; what is read next is opened anew."""
        while self._open:
            os.close(self._open.popitem()[1])


def _whole(descriptor: int) -> bytes:
    text = os.pread(descriptor, CHUNK, 0)
    part = text if len(text) == CHUNK else b""
    while part and len(text) < LARGEST:
        part = os.pread(descriptor, CHUNK, len(text))
        text += part
    return text


class Layout(Protocol):
    """How this kernel shows its groups."""

    root: str
    #: The tree to walk.
    tree: str

    def read(self, files: Files, *, full: bool, working_set: bool, pressure: bool) -> Reading:
        """Return CPU time, memory, tasks and OOM kills; with ``full`` all there is."""
        ...

    def size(self, files: Files) -> Reading:
        """Return CPU time and memory only."""
        ...

    def limits(self, files: Files) -> Limits:
        """Return what the group may use."""
        ...


def layout(root: str) -> Layout:
    """Return how the groups mounted below a folder are read; raises ``Unavailable``."""
    if os.access(f"{root}/cgroup.controllers", os.F_OK):
        return Version2(root)
    folders = {name: folder for name in CONTROLLERS if (folder := _mounted(root, name))}
    if not folders:
        raise Unavailable(f"no control groups are mounted at {root}")
    return Version1(root, folders)


def _mounted(root: str, controller: str) -> str:
    for folder in (controller, "cpu,cpuacct", "cpuacct,cpu"):
        if controller in folder.split(",") and Path(root, folder).is_dir():
            return folder
    return ""


class Version2:
    """One tree for all controllers."""

    def __init__(self, root: str) -> None:
        self.root = self.tree = root

    def read(self, files: Files, *, full: bool, working_set: bool, pressure: bool) -> Reading:
        cpu = pairs(files.text("cpu.stat"))
        events = files.parsed("memory.events", pairs)
        found = Reading(
            cpu_s=_scaled(cpu.get(b"usage_usec"), 1e6),
            user_s=_scaled(cpu.get(b"user_usec"), 1e6),
            system_s=_scaled(cpu.get(b"system_usec"), 1e6),
            throttled_s=_scaled(cpu.get(b"throttled_usec"), 1e6),
            throttled=cpu.get(b"nr_throttled"),
            memory=files.number("memory.current"),
            oom_kills=events.get(b"oom_kill"),
            limit_hits=events.get(b"max"),
            high_hits=events.get(b"high"),
            tasks=files.number("pids.current"),
        )
        if working_set and found.memory is not None:
            inactive = number_after(b"\n" + files.text("memory.stat"), b"\ninactive_file ")
            found.working_set = None if inactive is None else max(0, found.memory - inactive)
        if full:
            found.swap = files.number("memory.swap.current")
            found.read, found.written = files.parsed("io.stat", moved)
        if pressure:
            found.pressure = [
                (resource, *one)
                for resource in RESOURCES
                for one in files.parsed(f"{resource}.pressure", stalls)
            ]
        return found

    def size(self, files: Files) -> Reading:
        spent = pairs(files.text("cpu.stat")).get(b"usage_usec")
        return Reading(cpu_s=_scaled(spent, 1e6), memory=files.number("memory.current"))

    def limits(self, files: Files) -> Limits:
        cpu = numbers(files.text("cpu.max", once=True).split(None, 2)[:2])
        cpus = cpu[0] / cpu[1] if cpu and len(cpu) == 2 and cpu[0] and cpu[1] else None
        return Limits(
            cpus, files.number("memory.max", once=True), files.number("pids.max", once=True)
        )


class Version1:
    """A tree for each controller; a group may be missing in some."""

    def __init__(self, root: str, folders: dict[str, str]) -> None:
        self.root = root
        self.tree = f"{root}/{next(iter(folders.values()))}"
        self._second = os.sysconf("SC_CLK_TCK")
        self._folder = {name: folders.get(name, name) for name in CONTROLLERS}

    def read(self, files: Files, *, full: bool, working_set: bool, pressure: bool) -> Reading:
        folder = self._folder
        throttle = files.parsed("cpu.stat", pairs, folder["cpu"])
        oom = files.parsed("memory.oom_control", pairs, folder["memory"])
        found = Reading(
            cpu_s=_scaled(files.number("cpuacct.usage", folder["cpuacct"]), 1e9),
            throttled_s=_scaled(throttle.get(b"throttled_time"), 1e9),
            throttled=throttle.get(b"nr_throttled"),
            memory=files.number("memory.usage_in_bytes", folder["memory"]),
            oom_kills=oom.get(b"oom_kill"),
            limit_hits=files.number("memory.failcnt", folder["memory"]),
            tasks=files.number("pids.current", folder["pids"]),
        )
        if (working_set or full) and found.memory is not None:
            detail = b"\n" + files.text("memory.stat", folder["memory"])
            inactive = number_after(detail, b"\ntotal_inactive_file ")
            found.working_set = None if inactive is None else max(0, found.memory - inactive)
            found.swap = number_after(detail, b"\ntotal_swap ")
        if full:
            spent = pairs(files.text("cpuacct.stat", folder["cpuacct"]))
            found.user_s = _scaled(spent.get(b"user"), self._second)
            found.system_s = _scaled(spent.get(b"system"), self._second)
            name = "blkio.throttle.io_service_bytes_recursive"
            found.read, found.written = files.parsed(name, moved_1, folder["blkio"])
        return found

    def size(self, files: Files) -> Reading:
        spent = files.number("cpuacct.usage", self._folder["cpuacct"])
        memory = files.number("memory.usage_in_bytes", self._folder["memory"])
        return Reading(cpu_s=_scaled(spent, 1e9), memory=memory)

    def limits(self, files: Files) -> Limits:
        quota = files.number("cpu.cfs_quota_us", self._folder["cpu"], once=True)
        period = files.number("cpu.cfs_period_us", self._folder["cpu"], once=True)
        memory = files.number("memory.limit_in_bytes", self._folder["memory"], once=True)
        return Limits(
            quota / period if quota and period else None,
            memory if memory is not None and memory < UNLIMITED else None,
            files.number("pids.max", self._folder["pids"], once=True),
        )


def pairs(text: bytes) -> dict[bytes, int]:
    """Return the numbers of a file of ``key value`` lines; garbled lines are left out."""
    words = text.split()
    values = numbers(words[1::2])
    if values is not None and len(words) == 2 * len(values):
        return dict(zip(words[::2], values, strict=True))
    found = {}
    for line in text.split(b"\n"):
        words = line.split()
        values = numbers(words[1:]) if len(words) == 2 else None
        if values:
            found[words[0]] = values[0]
    return found


def moved(text: bytes) -> tuple[int | None, int | None]:
    """Return bytes read and written over all devices of io.stat; None when it names none."""
    totals = {b"rbytes": 0, b"wbytes": 0}
    is_there = False
    for word in text.split():
        key, _, number = word.partition(b"=")
        values = numbers([number]) if key in totals else None
        if values:
            totals[key] += values[0]
            is_there = True
    return (totals[b"rbytes"], totals[b"wbytes"]) if is_there else (None, None)


def moved_1(text: bytes) -> tuple[int | None, int | None]:
    """Return the same of version 1's ``device Read number`` lines."""
    totals = {b"Read": 0, b"Write": 0}
    is_there = False
    for line in text.split(b"\n"):
        words = line.split()
        values = numbers(words[2:]) if len(words) == 3 and words[1] in totals else None
        if values:
            totals[words[1]] += values[0]
            is_there = True
    return (totals[b"Read"], totals[b"Write"]) if is_there else (None, None)


def stalls(text: bytes) -> list[tuple[str, float]]:
    """Return kind (``some``, ``full``) and seconds stalled of a pressure file; the first counts."""
    found: dict[str, float] = {}
    for line in text.split(b"\n", 2)[:2]:
        kind = line[:4].decode("ascii", "replace")
        values = numbers([line.rpartition(b" total=")[2]]) if kind in ("some", "full") else None
        if values:
            found.setdefault(kind, values[0] / 1e6)
    return list(found.items())


def _scaled(value: int | None, per_second: float) -> float | None:
    return None if value is None else value / per_second
