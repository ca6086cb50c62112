"""Name the processes that may be to blame for what a resource suffers from: pure, from one scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest

from vedette.api import Usage
from vedette_plugins._process_details import Octets
from vedette_plugins._process_table import Executable, Process

#: Suspects named per resource, and the share of the host's resource under which none is.
SUSPECTS = 5
LEAST_SHARE = 0.005
#: Bytes per second under which a process is no suspect for a disk.
LEAST_IO = 64 * 1024
#: Processes whose /proc/PID/io is read: at the first scan, to have a start, and at any later one.
IO_FIRST, IO_MOST = 512, 64
#: Page faults per second of children that ended, under which nobody is a suspect for starting
#: processes: some five a second.
LEAST_FAULTS = 300
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

Processes = Mapping[int, Process]
#: Of what was moved in the busiest second half counts after this time.
HALF_S = 20.0


class Busiest:
    """The most that all together did in a second, lately.

    What somebody moves is a share of that: who writes a page when a gigabyte was just written would
    else have written all of it.
    """

    def __init__(self) -> None:
        self._most = 0.0

    def whole(self, rate: float, elapsed: float) -> float:
        """Return what shares of ``rate``, the last ``elapsed`` seconds', are parts of."""
        if elapsed > 0:  # before the second scan nobody knows
            rate = max(rate, self._most * 0.5 ** (elapsed / HALF_S))
            self._most = rate
        return rate


def cpu_suspects(
    processes: Processes, spent: Mapping[int, int], capacity: float, cpus: int
) -> Iterator[Usage]:
    """Yield the processes that used most CPU; ``capacity`` is what all CPUs had, in ticks."""
    for pid in nlargest(SUSPECTS, spent, key=lambda pid: spent[pid]):
        share = min(1.0, spent[pid] / capacity)
        if share >= LEAST_SHARE:
            text = f"{share * 100:.0f} % of {cpus} core{'s' if cpus > 1 else ''}"
            yield Usage("cpu", "process", processes[pid].name, str(pid), share, text)


def system_suspects(
    processes: Processes, spent: Mapping[int, int], capacity: float, cpus: int
) -> Iterator[Usage]:
    """Yield the processes that the kernel worked most for; as for the CPU as a whole."""
    for pid in nlargest(SUSPECTS, spent, key=lambda pid: spent[pid]):
        share = min(1.0, spent[pid] / capacity)
        if share >= LEAST_SHARE:
            text = f"{share * 100:.0f} % of {cpus} core{'s' if cpus > 1 else ''} in the kernel"
            yield Usage("system", "process", processes[pid].name, str(pid), share, text)


def memory_suspects(processes: Processes, pages: float, page: int) -> Iterator[Usage]:
    """Yield the processes with most resident memory; ``pages`` are those of the host."""
    least = LEAST_SHARE * pages
    large = [one for one in processes.values() if one.resident >= least]
    for one in nlargest(SUSPECTS, large, key=lambda one: one.resident):
        share = min(1.0, one.resident / pages)
        text = amount(one.resident * page)
        yield Usage("memory", "process", one.name, str(one.pid), share, text)


def disk_suspects(
    processes: Processes, moved: Mapping[int, Octets], elapsed: float, busiest: Busiest
) -> Iterator[Usage]:
    """Yield the processes that moved most bytes to or from disks in ``elapsed`` seconds."""
    octets = {pid: sum(both) for pid, both in moved.items()}
    whole = busiest.whole(sum(octets.values()) / elapsed if elapsed else 0.0, elapsed)
    for pid in nlargest(SUSPECTS, octets, key=lambda pid: octets[pid]):
        rate = octets[pid] / elapsed
        if rate >= LEAST_IO:
            share = rate / whole
            yield Usage(
                "disk", "process", processes[pid].name, str(pid), share, f"{amount(rate)}/s"
            )


def crowd_suspects(executables: Mapping[str, Executable]) -> Iterator[Usage]:
    """Yield the executables with most processes; they have no pid of their own."""
    crowd = {name: one.users for name, one in executables.items() if one.users}
    total = sum(crowd.values())
    for name in nlargest(SUSPECTS, crowd, key=lambda name: crowd[name]):
        if crowd[name] > 1:
            share, text = crowd[name] / total, f"{crowd[name]} processes"
            yield Usage("process", "process", name, "", share, text)


def space_suspects(
    processes: Processes, rates: Mapping[int, float], elapsed: float, busiest: Busiest
) -> Iterator[Usage]:
    """Yield the processes whose open files grow most, in bytes a second."""
    whole = busiest.whole(sum(rates.values()), elapsed)
    for pid in nlargest(SUSPECTS, rates, key=lambda pid: rates[pid]):
        if rates[pid] >= LEAST_IO:
            share, text = rates[pid] / whole, f"{amount(rates[pid])}/s into open files"
            yield Usage("space", "process", processes[pid].name, str(pid), share, text)


def file_suspects(processes: Processes, held: Mapping[int, int]) -> Iterator[Usage]:
    """Yield the processes that hold most open files; ``held`` says how many, by pid."""
    total = sum(held.values())
    for pid in nlargest(SUSPECTS, held, key=lambda pid: held[pid]):
        share = held[pid] / max(total, 1)
        if share >= LEAST_SHARE and pid in processes:
            yield Usage(
                "files", "process", processes[pid].name, str(pid), share, f"{held[pid]} open files"
            )


def fork_suspects(
    processes: Processes,
    faults: Mapping[int, int],
    created: int,
    elapsed: float,
    busiest: Busiest,
) -> Iterator[Usage]:
    """Yield the processes that started most short-lived ones, by the page faults of those.

    ``created`` is how many were started by all in ``elapsed`` seconds.
    """
    total = sum(faults.values())
    whole = busiest.whole(total / elapsed, elapsed) * elapsed
    for pid in nlargest(SUSPECTS, faults, key=lambda pid: faults[pid]):
        if faults[pid] >= LEAST_FAULTS * elapsed:
            many = max(1, created * faults[pid] / total / elapsed)
            share, text = faults[pid] / whole, f"about {many:.0f} processes a second"
            yield Usage("forks", "process", processes[pid].name, str(pid), share, text)


def stopped_suspects(stopped: Sequence[Process]) -> Iterator[Usage]:
    """Yield the processes that are stopped."""
    for one in sorted(stopped, key=lambda one: one.cpu, reverse=True)[:SUSPECTS]:
        yield Usage("stopped", "process", one.name, str(one.pid), 1 / len(stopped), "stopped")


def stopped(processes: Processes) -> list[Process]:
    """Return who was stopped by a signal, and not by somebody at a terminal, or a debugger."""
    return [one for one in processes.values() if one.state == "T" and not one.has_terminal]


def io_candidates(processes: Processes, spent: Mapping[int, int] | None) -> list[Process]:
    """Return whose I/O is worth a look: the blocked and the active; at first everyone."""
    if spent is None:
        return [one for one in processes.values() if not one.is_kernel][:IO_FIRST]
    blocked = [one for one in processes.values() if one.state == "D"]
    active = [processes[pid] for pid in spent if processes[pid].state != "D"]
    for some in (blocked, active):
        some.sort(key=lambda one: spent.get(one.pid, 0), reverse=True)
    return [one for one in blocked + active if not one.is_kernel][:IO_MOST]


def amount(octets: float) -> str:
    """Return bytes as a person reads them."""
    unit = 0
    while octets >= 1024 and unit < len(UNITS) - 1:
        octets /= 1024
        unit += 1
    return f"{octets:.0f} {UNITS[unit]}" if octets >= 100 else f"{octets:.1f} {UNITS[unit]}"
