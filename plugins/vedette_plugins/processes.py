"""Collector ``processes``: how many there are, the largest consumers, and who may be to blame.

One scan reads /proc/PID/stat of every process and nothing else; /proc/PID/io is read only of those
that did something since the previous scan. Processes are folded by name (``comm``; kernel threads
without their number), never told apart by pid, so series stay few: those of the ``top`` executables
by CPU and by memory, each kept for ``HOLD`` scans after it left the top.

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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, Usage, gauge, hookimpl, updown
from vedette_plugins._process_table import Process, Scan, cpu_spent, ended, octets_moved, scan
from vedette_plugins._procfs import KernelFile, number_after

#: Scans for which an executable stays among the series after it left the top.
HOLD = 30
#: Of one CPU: below this share an executable does not enter the top by CPU.
LEAST_CPU = 0.01
#: Suspects named per resource, and the share of the host's resource under which none is.
SUSPECTS = 5
LEAST_SHARE = 0.005
#: Bytes per second under which a process is no suspect for a disk.
LEAST_IO = 64 * 1024
#: Processes whose /proc/PID/io is read: at the first scan, to have a start, and at any later one.
IO_FIRST, IO_MOST = 512, 64
KIB = 1024
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

STATES = {
    "R": "running",
    "S": "sleeping",
    "I": "sleeping",
    "D": "blocked",
    "T": "stopped",
    "t": "stopped",
    "Z": "defunct",
    "X": "defunct",
}


class ProcessesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many executables have series of their own."""

    top: Annotated[
        int,
        Meta(
            description="Executables by CPU and by memory that have series of their own; "
            "three times as many at most, while they take turns.",
            ge=0,
            le=50,
        ),
    ] = 5


class DiskUse(msgspec.Struct, frozen=True, gc=False):
    """What a process had read and written when it had spent ``cpu`` ticks."""

    start: int
    cpu: int
    octets: int


class Processes(Collector):
    """Processes by state, the largest consumers by executable, and suspects."""

    name = "processes"
    Config = ProcessesConfig
    interval_s = 10.0
    explains = ("cpu", "memory", "disk", "process")

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
    threads = updown(
        "vedette.process.threads",
        "{thread}",
        "Threads of all processes.",
        resource="process",
        alarm="never",
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

    def __init__(self, config: ProcessesConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self.tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self.page = os.sysconf("SC_PAGE_SIZE")
        self._stat = KernelFile("stat", one_record=True)
        self._meminfo = KernelFile("meminfo", one_record=True)
        self._before: Scan = {}
        self._scanned_at = float("nan")
        self._held: dict[str, int] = {}
        self._disk: dict[int, DiskUse] = {}

    def probe(self) -> None:
        self._capacity()

    def collect(self) -> Iterator[Sample | Usage]:
        cpus, memory = self._capacity()
        now = self.monotonic()
        processes = scan(self.host.proc)
        if not processes:
            raise Unavailable(f"no process can be seen in {self.host.proc}")
        elapsed = now - self._scanned_at
        before, self._before, self._scanned_at = self._before, processes, now
        yield from self._counts(processes.values())
        spent = cpu_spent(before, processes) if before and elapsed > 0 else None
        capacity = elapsed * cpus / self.tick_s
        yield from self._executables(processes, spent, capacity, elapsed)
        if spent is not None:
            yield from cpu_suspects(processes, spent, capacity, cpus)
        yield from self._memory_suspects(processes.values(), memory)
        yield from self._disk_suspects(before, processes, spent, elapsed)
        yield from crowd_suspects(processes.values())

    def close(self) -> None:
        self._stat.close()
        self._meminfo.close()

    def _capacity(self) -> tuple[int, int]:
        """Return the number of CPUs and the bytes of RAM of this host."""
        cpus = self._stat.read(self.host.proc).count(b"\ncpu")
        memory = number_after(b"\n" + self._meminfo.read(self.host.proc), b"\nMemTotal:")
        if not cpus or not memory:
            raise Unavailable(f"{self.host.proc} does not say how many CPUs or how much RAM")
        return cpus, memory * KIB

    def _counts(self, processes: Iterable[Process]) -> Iterator[Sample]:
        states = Counter(STATES.get(one.state, "sleeping") for one in processes)
        yield self.count(states["sleeping"], "sleeping")
        yield self.count(states["defunct"], "defunct")
        for state in ("running", "blocked", "stopped"):
            yield self.passing(states[state], state)
        yield self.threads(sum(one.threads for one in processes))

    def _executables(
        self, processes: Scan, spent: Mapping[int, int] | None, capacity: float, elapsed: float
    ) -> Iterator[Sample]:
        resident: Counter[str] = Counter()
        ticks: Counter[str] = Counter()
        for pid, one in processes.items():
            resident[one.name] += one.resident
            if spent is not None:
                ticks[one.name] += spent[pid]
        least = LEAST_CPU * elapsed / self.tick_s
        top = [name for name, used in ticks.most_common(self.config.top) if used >= least]
        top += [name for name, pages in resident.most_common(self.config.top) if pages]
        self._hold(top)
        for name in self._held:
            if name in resident:
                if spent is not None:
                    yield self.cpu(min(1.0, ticks[name] / capacity), name)
                yield self.memory(resident[name] * self.page, name)

    def _hold(self, top: Iterable[str]) -> None:
        """Keep the names of the top, and for a while those that were; the longest gone go first."""
        held = {name: left - 1 for name, left in self._held.items() if left > 1}
        held.update(dict.fromkeys(top, HOLD))
        if len(held) > 3 * self.config.top:
            newest = sorted(held, key=lambda name: held[name], reverse=True)
            held = {name: held[name] for name in newest[: 3 * self.config.top]}
        self._held = held

    def _memory_suspects(self, processes: Iterable[Process], memory: int) -> Iterator[Usage]:
        for one in sorted(processes, key=lambda one: one.resident, reverse=True)[:SUSPECTS]:
            octets = one.resident * self.page
            share = min(1.0, octets / memory)
            if share >= LEAST_SHARE:
                yield Usage("memory", "process", one.name, str(one.pid), share, amount(octets))

    def _disk_suspects(
        self, before: Scan, now: Scan, spent: Mapping[int, int] | None, elapsed: float
    ) -> Iterator[Usage]:
        """Read what the active have read and written; name those who moved most.

        A process is compared with itself only where all the difference falls into the time since
        the previous scan.
        """
        moved: dict[int, int] = {}
        known = Counter[int]()
        for gone, reaper in ended(before, now):
            if gone.pid in self._disk:
                known[reaper] += self._disk[gone.pid].octets
        table = {pid: use for pid, use in self._disk.items() if pid in now}
        for one in io_candidates(now, spent):
            octets = octets_moved(self.host.proc, one.pid)
            if octets is None:
                continue
            old, seen = table.get(one.pid), before.get(one.pid)
            table[one.pid] = DiskUse(one.start, one.cpu, octets)
            if seen is None or seen.start != one.start:
                moved[one.pid] = octets
            elif old is not None and old.start == one.start and old.cpu == seen.cpu:
                # It rested from that reading to the previous scan, or that scan took the reading.
                moved[one.pid] = max(0, octets - old.octets - known[one.pid])
        self._disk = table
        if spent is None:
            return
        total = sum(moved.values())
        for pid in sorted(moved, key=lambda pid: moved[pid], reverse=True)[:SUSPECTS]:
            rate = moved[pid] / elapsed
            if rate >= LEAST_IO:
                text = f"{amount(rate)}/s"
                yield Usage("disk", "process", now[pid].name, str(pid), moved[pid] / total, text)


def cpu_suspects(
    processes: Scan, spent: Mapping[int, int], capacity: float, cpus: int
) -> Iterator[Usage]:
    """Yield the processes that used most CPU; ``capacity`` is what all CPUs had, in ticks."""
    for pid in sorted(spent, key=lambda pid: spent[pid], reverse=True)[:SUSPECTS]:
        share = min(1.0, spent[pid] / capacity)
        if share >= LEAST_SHARE:
            text = f"{share * 100:.0f} % of {cpus} core{'s' if cpus > 1 else ''}"
            yield Usage("cpu", "process", processes[pid].name, str(pid), share, text)


def crowd_suspects(processes: Iterable[Process]) -> Iterator[Usage]:
    """Yield the executables with most processes; they have no pid of their own."""
    crowd = Counter(one.name for one in processes if not one.is_kernel)
    total = crowd.total()
    for name, count in crowd.most_common(SUSPECTS):
        if count > 1:
            yield Usage("process", "process", name, "", count / total, f"{count} processes")


def io_candidates(processes: Scan, spent: Mapping[int, int] | None) -> list[Process]:
    """Return whose I/O is worth a look: the blocked and the active; at first everyone."""
    if spent is None:
        return [one for one in processes.values() if not one.is_kernel][:IO_FIRST]
    busy = [
        one
        for pid, one in processes.items()
        if not one.is_kernel and (one.state == "D" or spent[pid])
    ]
    busy.sort(key=lambda one: (one.state == "D", spent[one.pid]), reverse=True)
    return busy[:IO_MOST]


def amount(octets: float) -> str:
    """Return bytes as a person reads them."""
    unit = 0
    while octets >= 1024 and unit < len(UNITS) - 1:
        octets /= 1024
        unit += 1
    return f"{octets:.0f} {UNITS[unit]}" if octets >= 100 else f"{octets:.1f} {UNITS[unit]}"


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Processes]
