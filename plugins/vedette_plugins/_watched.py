"""Follow the processes that an operator named: are they there, were they restarted, what they use.

A watch is a name and a glob. Who matches is decided when a process appears, takes another name or
dies, and for command lines again while the process is young, as servers set theirs after they
began; in between only those that changed are looked at.

The main process of a watch is the oldest. When it is gone and a process is there that was not
before, the oldest of the new ones is the main process now, and the watch counts a restart; when
none is new, the oldest that is left takes over. So workers that come and go below their server are
no restarts, and sessions that outlive it do not hide one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from typing import NamedTuple

from vedette.api import Sample, counter, gauge, updown
from vedette_plugins._process_details import Octets, OpenFiles, Traffic, command_line
from vedette_plugins._process_table import Changes, Process, Table

#: Watches at most, processes of one whose open files are counted, and of all whose disk traffic is.
WATCHES_MAX, FILES_MAX, MOVERS_MAX = 32, 256, 256
#: Command lines read per scan; the rest waits for the next one.
COMMANDS_MAX = 500
#: Seconds after its start for which the command line of a process is read at each scan.
YOUNG_S = 30.0
#: Names of executables whose watches are remembered before all are forgotten.
NAMES_MAX = 4096
#: The kernel keeps this much of an executable's name.
NAME_LENGTH = 15
COMMAND = "cmdline:"
DEAD = ("Z", "X")


class Pattern:
    """A glob on the name of the executable, or from the beginning of the command line."""

    def __init__(self, text: str) -> None:
        self.on_command = text.startswith(COMMAND) or " " in text
        if self.on_command:
            glob = text.removeprefix(COMMAND).strip() + "*"
        else:
            is_glob = any(letter in text for letter in "*?[")
            glob = text if is_glob else text[:NAME_LENGTH]
        self._match = re.compile(translate(glob)).match

    def matches(self, text: str) -> bool:
        """Say whether a name or command line matches."""
        return self._match(text) is not None


class Watch:
    """One watch: who belongs to it now, and what was counted since it began."""

    def __init__(self, name: str, pattern: str) -> None:
        self.name = name
        self.pattern = Pattern(pattern)
        self.members: dict[int, Process] = {}
        self.restarts = 0
        self.octets: Octets | None = None
        self._main: Process | None = None
        self._before: dict[int, int] = {}
        self._changed = False

    @property
    def oldest(self) -> Process | None:
        """The member that began first."""
        return min(self.members.values(), key=_age, default=None)

    def take(self, one: Process) -> None:
        """Make a process a member, or take what it became."""
        self._changed |= one.pid not in self.members
        self.members[one.pid] = one

    def drop(self, pid: int) -> None:
        """Forget a process that ended, or no longer matches."""
        self._changed |= self.members.pop(pid, None) is not None

    def settle(self) -> None:
        """See after a scan whether the main process is another."""
        if not self._changed:
            return
        self._changed = False
        before = self._before
        self._before = {pid: one.start for pid, one in self.members.items()}
        main = self._main
        if main is not None and self._before.get(main.pid) == main.start:
            return
        new = [one for pid, one in self.members.items() if before.get(pid) != one.start]
        if new and main is not None:
            self.restarts += 1
            self._main = min(new, key=_age)
        else:
            self._main = self.oldest or main


class Watches:
    """All watches of a configuration; follows the scans of a table."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self.all = [Watch(name, pattern) for name, pattern in patterns.items()]
        self._by_command = [watch for watch in self.all if watch.pattern.on_command]
        self._names: dict[str, list[Watch]] = {}
        #: The watches each member belongs to, and those whose command line is to be read.
        self._homes: dict[int, list[Watch]] = {}
        self._young: dict[int, None] = {}

    def follow(self, proc: str, table: Table, changes: Changes, began: float) -> None:
        """Find out who belongs to which watch; who began after ``began`` (ticks) is young."""
        if not self.all:
            return
        for old in changes.ended:
            self._young.pop(old.pid, None)
            for watch in self._homes.pop(old.pid, ()):
                watch.drop(old.pid)
        for one in changes.appeared:
            self._judge(one)
        for old, new in changes.changed:
            if old.name != new.name or new.state in DEAD:
                self._judge(new)
            else:
                for watch in self._homes.get(new.pid, ()):
                    watch.take(new)
        for pid in list(self._young)[:COMMANDS_MAX]:
            del self._young[pid]
            one = table.processes[pid]
            self._read(proc, one)
            if one.start > began:
                self._young[pid] = None
        for watch in self.all:
            watch.settle()

    def movers(self, changes: Changes) -> list[Process]:
        """Return the members that did something, whose disk traffic is worth a reading."""
        new = [*changes.appeared, *(new for _, new in changes.changed)]
        return [one for one in new if one.pid in self._homes][:MOVERS_MAX]

    def add(self, moved: Mapping[int, Octets], traffic: Traffic) -> None:
        """Add what the members moved to and from disks."""
        for watch in self.all:
            if watch.octets is None and any(traffic.knows(pid) for pid in watch.members):
                watch.octets = Octets(0, 0)
        for pid, octets in moved.items():
            for watch in self._homes.get(pid, ()):
                if watch.octets is not None:
                    read, written = watch.octets
                    watch.octets = Octets(read + octets.read, written + octets.written)

    def _judge(self, one: Process) -> None:
        """Match the name; have the command line read where a watch asks for it."""
        if one.state in DEAD:
            self._place(one, [])
            self._young.pop(one.pid, None)
            return
        kept = [watch for watch in self._homes.get(one.pid, ()) if watch.pattern.on_command]
        self._place(one, self._named(one.name) + kept)
        if self._by_command and not one.is_kernel:
            self._young[one.pid] = None

    def _read(self, proc: str, one: Process) -> None:
        command = command_line(proc, one.pid)
        homes = [watch for watch in self._homes.get(one.pid, ()) if not watch.pattern.on_command]
        if command:
            homes += [watch for watch in self._by_command if watch.pattern.matches(command)]
        self._place(one, homes)

    def _place(self, one: Process, homes: list[Watch]) -> None:
        for watch in self._homes.pop(one.pid, ()):
            if watch not in homes:
                watch.drop(one.pid)
        for watch in homes:
            watch.take(one)
        if homes:
            self._homes[one.pid] = homes

    def _named(self, name: str) -> list[Watch]:
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= NAMES_MAX:
                self._names.clear()
            patterns = ((watch, watch.pattern) for watch in self.all)
            known = self._names[name] = [
                watch for watch, one in patterns if not one.on_command and one.matches(name)
            ]
        return known


class Scanned(NamedTuple):
    """What a scan told, in the units it was told in, and what they are worth.

    ``spent`` are ticks by pid (None: at the first scan), ``capacity`` those of all CPUs together,
    ``uptime`` seconds (None: unknown).
    """

    proc: str
    spent: Mapping[int, int] | None
    capacity: float
    uptime: float | None
    tick_s: float
    page: int


_WATCH = ["vedette.watch.name"]


class WatchSeries:
    """The series of one watch each: part of the collector of processes."""

    watch_count = updown(
        "vedette.watch.process.count",
        "{process}",
        "Processes that match the watch, defunct ones not counted.",
        _WATCH,
        resource="process",
        alarm="low",
    )
    watch_restarts = counter(
        "vedette.watch.restarts",
        "{restart}",
        "Times the main process of the watch, the oldest one, was replaced by a new one.",
        _WATCH,
        resource="process",
        alarm="high",
    )
    watch_age = gauge(
        "vedette.watch.uptime",
        "s",
        "Time since the oldest process of the watch began.",
        _WATCH,
        resource="process",
        alarm="never",
        source="/proc/PID/stat, /proc/uptime",
    )
    watch_cpu = gauge(
        "vedette.watch.cpu.utilization",
        "1",
        "Share of the time of all CPUs that the processes of the watch used, 0 to 1.",
        _WATCH,
        resource="cpu",
        alarm="never",
        limit=1.0,
    )
    watch_memory = updown(
        "vedette.watch.memory.usage",
        "By",
        "Resident memory of the processes of the watch.",
        _WATCH,
        resource="memory",
        alarm="never",
    )
    watch_threads = updown(
        "vedette.watch.thread.count",
        "{thread}",
        "Threads of the processes of the watch.",
        _WATCH,
        resource="process",
        alarm="never",
    )
    watch_files = updown(
        "vedette.watch.unix.file_descriptor.count",
        "{file_descriptor}",
        "File descriptors that the processes of the watch hold open.",
        _WATCH,
        resource="process",
        alarm="never",
        source="/proc/PID/fd",
    )
    watch_files_share = gauge(
        "vedette.watch.unix.file_descriptor.utilization",
        "1",
        "Open file descriptors as a share of the soft limit, 0 to 1, of the process nearest to it.",
        _WATCH,
        resource="process",
        alarm="high",
        limit=1.0,
        source="/proc/PID/fd, /proc/PID/limits",
    )
    watch_io = counter(
        "vedette.watch.disk.io",
        "By",
        "Bytes that processes of the watch read from or wrote to disks, since the agent began.",
        [*_WATCH, "disk.io.direction"],
        resource="disk",
        alarm="never",
        source="/proc/PID/io",
    )

    def of_watch(self, watch: Watch, scanned: Scanned, files: OpenFiles) -> Iterator[Sample]:
        """Yield what there is to say of a watch; without members only that there are none."""
        name, members = watch.name, watch.members
        yield self.watch_count(len(members), name)
        yield self.watch_restarts(watch.restarts, name)
        if watch.octets is not None:
            yield self.watch_io(watch.octets.read, name, "read")
            yield self.watch_io(watch.octets.written, name, "write")
        oldest = watch.oldest
        if oldest is None:
            return
        if scanned.uptime is not None:
            yield self.watch_age(max(0.0, scanned.uptime - oldest.start * scanned.tick_s), name)
        if scanned.spent is not None:
            used = sum(scanned.spent.get(pid, 0) for pid in members)
            yield self.watch_cpu(min(1.0, used / scanned.capacity), name)
        yield self.watch_memory(sum(one.resident for one in members.values()) * scanned.page, name)
        yield self.watch_threads(sum(one.threads for one in members.values()), name)
        if len(members) <= FILES_MAX:
            yield from self._files_of(watch, scanned.proc, files)

    def _files_of(self, watch: Watch, proc: str, files: OpenFiles) -> Iterator[Sample]:
        total, nearest = 0, -1.0
        for pid in watch.members:
            held = files.count(proc, pid)
            if held is None:
                return
            total += held
            limit = files.limit(proc, pid, held)
            if limit is not None:
                nearest = max(nearest, min(1.0, held / limit))
        yield self.watch_files(total, watch.name)
        if nearest >= 0:
            yield self.watch_files_share(nearest, watch.name)


def _age(one: Process) -> tuple[int, int]:
    return one.start, one.pid
