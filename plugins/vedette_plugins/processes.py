"""Collector ``processes``: how many there are, who uses most, who is watched, who may be to blame.

One scan reads /proc/PID/stat of every process; /proc/PID/io only of those that did something since
the previous scan, open files only of the largest and of those watched. Processes are folded by name
(``comm``; kernel threads without their number), never told apart by pid, so series stay few: those
of the ``top`` executables by CPU, by memory and by disk traffic, each kept for ``HOLD`` scans after
it left the top.

CPU time is counted from scan to scan on the monotonic clock, so a scan off schedule is as exact as
one on time, within a clock tick of the kernel (10 ms). Processes that begin and end between two
scans are counted with the parent that reaped them: its children's time as the kernel has it, less
what was already counted of children seen alive (bytes likewise). A parent that ignores SIGCHLD
hides them.
Memory is resident memory; pages that processes share are counted with each of them.
``process.cpu.utilization`` is a share of all CPUs, as the semantic conventions have it: on a host
with 4 CPUs a process that keeps one busy is at 0.25.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nlargest
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, Usage, counter, gauge, hookimpl, updown
from vedette_plugins._process_details import Octets, OpenFiles, Traffic, resident_pages
from vedette_plugins._process_space import CROWDED, Fillers
from vedette_plugins._process_table import (
    STATES,
    Changes,
    Table,
    child_faults,
    cpu_spent,
    system_spent,
)
from vedette_plugins._procfs import LONGEST_TEXT, KernelFile, number_after, numbers
from vedette_plugins._suspects import (
    LEAST_IO,
    Busiest,
    cpu_suspects,
    crowd_suspects,
    disk_suspects,
    file_suspects,
    fork_suspects,
    io_candidates,
    memory_suspects,
    space_suspects,
    stopped,
    stopped_suspects,
    system_suspects,
)
from vedette_plugins._watched import WATCHES_MAX, YOUNG_S, Scanned, Watches, WatchSeries

#: Scans for which an executable stays among the series after it left the top.
HOLD = 60
#: Of one CPU: below this share an executable does not enter the top by CPU.
LEAST_CPU = 0.01
#: Of an executable with more processes than this the open files are not counted.
FILES_MOST = 20
#: What bounds the threads of all processes: their number, and that of process ids.
LIMITS = ("sys/kernel/threads-max", "sys/kernel/pid_max")
#: Seconds; no host runs for 30,000 years.
UPTIME_MAX = 1e12
#: A scan that comes sooner after the last than this part of the interval was asked for.
OFF_SCHEDULE = 0.9
KIB = 1024


class ProcessesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many executables have series of their own, and which processes are watched."""

    top: Annotated[
        int,
        Meta(
            description="Executables by CPU, by memory and by disk traffic that have series of "
            "their own; a few times as many at most, while they take turns.",
            ge=0,
            le=50,
        ),
    ] = 5
    watch: Annotated[
        dict[str, str],
        Meta(
            description="Processes to watch, a name and a glob each, such as { web = 'nginx', "
            "jobs = 'cmdline:*python* worker.py' }. The glob is for the name of the executable; "
            "with a space in it, or after `cmdline:`, for the command line from its beginning, "
            "whatever follows. Restarts are those of the oldest process that matches."
        ),
    ] = {}

    def __post_init__(self) -> None:
        if len(self.watch) > WATCHES_MAX:
            raise ValueError(f"watch: at most {WATCHES_MAX} can be watched")
        for name, pattern in self.watch.items():
            if not 0 < len(name) <= LONGEST_TEXT or not name.isprintable():
                raise ValueError(f"watch: {name[:LONGEST_TEXT]!r} is no name of 1 to 64 letters")
            if not pattern.removeprefix("cmdline:").strip():
                raise ValueError(f"watch: {name!r} has no pattern")


class Processes(WatchSeries, Collector):
    """Processes by state, the largest consumers by executable, those watched, and suspects."""

    name = "processes"
    Config = ProcessesConfig
    source = "/proc/PID/stat"
    interval_s = 5.0
    may_block = "seldom"
    explains = ("cpu", "memory", "disk", "process", "files", "forks", "space", "stopped", "system")

    count = updown(
        "system.process.count",
        "{process}",
        "Processes in this state, kernel threads included.",
        ["process.state"],
        resource="process",
        alarm="high",
    )
    # The same metric: what runs follows the load, and ``vedette.process.blocked`` is read sooner.
    passing = updown(
        "system.process.count",
        "{process}",
        "Processes in this state, kernel threads included.",
        ["process.state"],
        resource="process",
        alarm="never",
    )
    stopped = updown(
        "vedette.process.stopped",
        "{process}",
        "Processes stopped by a signal that have no terminal, so not by somebody at one.",
        resource="process",
        alarm="high",
    )
    threads = updown(
        "vedette.process.threads",
        "{thread}",
        "Threads of all processes.",
        resource="process",
        alarm="never",
    )
    threads_share = gauge(
        "vedette.process.threads.utilization",
        "1",
        "Threads of all processes as a share of those there may be, 0 to 1.",
        resource="process",
        alarm="high",
        limit=1.0,
        source="/proc/PID/stat, /proc/sys/kernel/threads-max, /proc/sys/kernel/pid_max",
    )
    cpu = gauge(
        "process.cpu.utilization",
        "1",
        "Share of the time of all CPUs that processes of this executable used, 0 to 1.",
        ["process.executable.name"],
        resource="cpu",
        alarm="never",
        limit=1.0,
    )
    memory = updown(
        "process.memory.usage",
        "By",
        "Resident memory of all processes of this executable.",
        ["process.executable.name"],
        resource="memory",
        alarm="never",
    )

    files = updown(
        "process.unix.file_descriptor.count",
        "{file_descriptor}",
        "File descriptors that the processes of this executable hold open.",
        ["process.executable.name"],
        resource="process",
        alarm="never",
        source="/proc/PID/fd",
    )
    io = counter(
        "process.disk.io",
        "By",
        "Bytes that processes of this executable read from or wrote to disks, since it came to "
        "the top.",
        ["process.executable.name", "disk.io.direction"],
        resource="disk",
        alarm="never",
        source="/proc/PID/io",
    )

    def __init__(self, config: ProcessesConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self.tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self.page = os.sysconf("SC_PAGE_SIZE")
        names = ("stat", "meminfo", "uptime", *LIMITS)
        self._kernel = {name: KernelFile(name, one_record=True) for name in names}
        self._table = Table()
        self._scanned_at = float("nan")
        self._created = deque([0], maxlen=2)
        self._largest: dict[str, int] = {}
        self._movers: dict[str, int] = {}
        self._octets: dict[str, Octets] = {}
        self._traffic = Traffic()
        self._files = OpenFiles()
        self._fillers = Fillers()
        self._busiest = {resource: Busiest() for resource in ("disk", "space", "forks")}
        self._watches = Watches(config.watch)

    def probe(self) -> None:
        self._capacity()

    def collect(self) -> Iterator[Sample | Usage]:
        cpus, memory = self._capacity()
        now, proc, table = self.monotonic(), self.host.proc, self._table
        is_first = not table.processes
        changes = table.scan(proc)
        elapsed, self._scanned_at = now - self._scanned_at, now
        uptime = self._uptime() if self._watches.all else None
        began = float("inf") if uptime is None else (uptime - YOUNG_S) / self.tick_s
        self._watches.follow(proc, table, changes, began)
        self._files.begin(proc, changes.ended)
        spent = None if is_first or not elapsed > 0 else cpu_spent(changes)
        moved = self._moved(changes, spent)
        if not table.processes:
            raise Unavailable(f"no process can be seen in {proc}")
        capacity = elapsed * cpus / self.tick_s
        yield from self._counts()
        yield from self._executables(spent, capacity, elapsed)
        yield from self._disk_io(moved, elapsed)
        scanned = Scanned(proc, spent, capacity, uptime, self.tick_s, self.page)
        for watch in self._watches.all:
            yield from self.of_watch(watch, scanned, self._files)
        if spent is not None:
            yield from cpu_suspects(table.processes, spent, capacity, cpus)
            yield from system_suspects(table.processes, system_spent(changes), capacity, cpus)
        yield from memory_suspects(table.processes, memory / self.page, self.page)
        yield from disk_suspects(table.processes, moved, elapsed, self._busiest["disk"])
        yield from crowd_suspects(table.executables)
        yield from self._suspects(changes, elapsed, spent)

    def _suspects(
        self, changes: Changes, elapsed: float, spent: Mapping[int, int] | None
    ) -> Iterator[Usage]:
        """Yield who holds files, starts processes, and stands still."""
        processes, proc = self._table.processes, self.host.proc
        moving = [*changes.appeared, *(new for _, new in changes.changed)]
        users = [one for one in moving if not one.is_kernel]
        users.sort(key=lambda one: (spent or {}).get(one.pid, 0), reverse=True)
        self._files.follow(proc, users)
        yield from file_suspects(processes, self._files.held)
        # Off schedule is when somebody asks who it is.
        asked, now = elapsed < OFF_SCHEDULE * self.interval_s, self._scanned_at
        if not asked:
            users = [one for one in users if self._files.held.get(one.pid, 0) <= CROWDED]
        rates = self._fillers.rates(proc, processes, users, now, asked=asked)
        yield from space_suspects(processes, rates, elapsed, self._busiest["space"])
        if spent is not None:
            before, created = self._created
            faults = child_faults(changes)
            many = max(0, created - before)
            yield from fork_suspects(processes, faults, many, elapsed, self._busiest["forks"])
        yield from stopped_suspects(stopped(processes))

    def close(self) -> None:
        self._table.close()
        for file in self._kernel.values():
            file.close()

    def _capacity(self) -> tuple[int, int]:
        """Return the number of CPUs and the bytes of RAM of this host."""
        proc = self.host.proc
        stat = self._kernel["stat"].read(proc)
        cpus = stat.count(b"\ncpu")
        self._created.append(number_after(stat, b"\nprocesses ") or 0)
        memory = number_after(b"\n" + self._kernel["meminfo"].read(proc), b"\nMemTotal:")
        if not cpus or not memory:
            raise Unavailable(f"{proc} does not say how many CPUs or how much RAM")
        return cpus, memory * KIB

    def _number(self, name: str) -> int:
        """Return the whole number that a file begins with; 0 when it has none."""
        try:
            text = self._kernel[name].read(self.host.proc)
        except (Unavailable, OSError):
            return 0
        return (numbers(text.split(None, 1)[:1]) or [0])[0]

    def _uptime(self) -> float | None:
        """Return the seconds since the host was started; None when that is not told."""
        try:
            uptime = float(self._kernel["uptime"].read(self.host.proc).split(None, 1)[0])
        except (Unavailable, OSError, ValueError, IndexError):
            return None
        return uptime if 0 <= uptime < UPTIME_MAX else None

    def _counts(self) -> Iterator[Sample]:
        table = self._table
        states: Counter[str] = Counter()
        for letter, count in table.states.items():
            states[STATES.get(letter, "sleeping")] += count
        yield self.count(states["sleeping"], "sleeping")
        yield self.count(states["defunct"], "defunct")
        for state in ("running", "blocked", "stopped"):
            yield self.passing(states[state], state)
        yield self.stopped(len(stopped(table.processes)))
        yield self.threads(table.threads)
        if limits := list(filter(None, map(self._number, LIMITS))):
            yield self.threads_share(min(1.0, table.threads / min(limits)))

    def _executables(
        self, spent: Mapping[int, int] | None, capacity: float, elapsed: float
    ) -> Iterator[Sample]:
        table, most = self._table, self.config.top
        ticks: Counter[str] = Counter()
        for pid, used in (spent or {}).items():
            ticks[table.processes[pid].name] += used
        least = LEAST_CPU * elapsed / self.tick_s
        top = [name for name, used in ticks.most_common(most) if used >= least]
        resident = {name: one.resident for name, one in table.executables.items() if one.resident}
        top += nlargest(most, resident, key=lambda name: resident[name])
        self._largest = hold(self._largest, top, 3 * most)
        held = [name for name in self._largest if name in table.executables]
        for name in held:
            if spent is not None:
                yield self.cpu(min(1.0, ticks[name] / capacity), name)
        exact = self._exact(held)
        for name in held:
            yield self.memory(exact.get(name, table.executables[name].resident) * self.page, name)
        for name, count in self._open_files(held).items():
            yield self.files(count, name)

    def _exact(self, names: Iterable[str]) -> dict[str, int]:
        """Return the exact resident pages of executables with few processes."""
        table = self._table
        few = {name: 0 for name in names if 0 < table.executables[name].users <= FILES_MOST}
        for pid, one in table.processes.items():
            if one.name in few and not one.is_kernel:
                pages = resident_pages(self.host.proc, pid)
                few[one.name] += one.resident if pages is None else pages
        return few

    def _open_files(self, names: Iterable[str]) -> dict[str, int]:
        """Count the open files of executables with few processes, where all can be counted."""
        table = self._table
        few = {name: 0 for name in names if 0 < table.executables[name].users <= FILES_MOST}
        hidden = set()
        for pid, one in table.processes.items():
            if one.name in few and not one.is_kernel:
                count = self._files.count(self.host.proc, pid)
                if count is None:
                    hidden.add(one.name)
                else:
                    few[one.name] += count
        return {name: count for name, count in few.items() if name not in hidden}

    def _moved(self, changes: Changes, spent: Mapping[int, int] | None) -> dict[int, Octets]:
        """Return what the active, and those watched, moved to and from disks; book the latter."""
        table = self._table
        whom = {one.pid: one for one in self._watches.movers(changes)}
        for one in io_candidates(table.processes, spent):
            whom[one.pid] = one
        moved = self._traffic.moved(self.host.proc, changes, whom.values())
        if spent is None:
            moved = {}
        self._watches.add(moved, self._traffic)
        return moved

    def _disk_io(self, moved: Mapping[int, Octets], elapsed: float) -> Iterator[Sample]:
        """Yield the totals of the executables that move most, counted from when they came up."""
        new: dict[str, Octets] = {}
        for pid, (read, written) in moved.items():
            name = self._table.processes[pid].name
            known = new.get(name, Octets(0, 0))
            new[name] = Octets(known.read + read, known.written + written)
        rates = {name: sum(octets) / elapsed for name, octets in new.items()}
        busy = [name for name, rate in rates.items() if rate >= LEAST_IO]
        top = nlargest(self.config.top, busy, key=lambda name: rates[name])
        self._movers = hold(self._movers, top, 3 * self.config.top)
        before, self._octets = self._octets, {}
        for name in self._movers:
            (read, written), (more, more_written) = (
                one.get(name, Octets(0, 0)) for one in (before, new)
            )
            total = self._octets[name] = Octets(read + more, written + more_written)
            yield self.io(total.read, name, "read")
            yield self.io(total.written, name, "write")


def hold(held: Mapping[str, int], top: Iterable[str], most: int) -> dict[str, int]:
    """Return the names of the top, and for a while those that were; the longest gone go first."""
    kept = {name: left - 1 for name, left in held.items() if left > 1}
    kept.update(dict.fromkeys(top, HOLD))
    if len(kept) > most:
        kept = {name: kept[name] for name in nlargest(most, kept, key=lambda name: kept[name])}
    return kept


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Processes]
