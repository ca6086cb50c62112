"""Collector ``cpu``: where the processors' time goes, from one read of /proc/stat.

Shares are of the time that passed in the counters themselves, not on a clock, so they add up to 1
whatever the tick's lateness, and a suspended host shows no spike. The time of virtual machines is
part of ``user`` and ``nice`` in the kernel's own accounting, so it has a metric of its own, left
out until a guest ran. A host with 256 cores takes 0.7 ms, the kernel's own work aside.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import sub
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Series, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._procfs import WIDEST, KernelFile, number_after, numbers

MODES = ("user", "nice", "system", "idle", "iowait", "interrupt", "steal")
GUEST_MODES = ("user", "nice")
#: Begins the line of all CPUs together; ``cpu7`` that of one.
HOST = b"cpu"
#: Columns of a line that add up to the time that passed; two of them are one mode, ``interrupt``.
COLUMNS = 8
IDLE, IOWAIT, HARD, SOFT, STEAL = 3, 4, 5, 6, 7
#: Ticks by which a total may fall and still be held: idle and iowait of the kernel slip back
#: a little when a core sleeps. More than that is a reset.
SLIP = 1000
#: What begins the lines of the host's totals.
TOTALS = (
    b"\nctxt ",
    b"\nintr ",
    b"\nsoftirq ",
    b"\nprocesses ",
    b"\nprocs_running ",
    b"\nprocs_blocked ",
)
#: The lines behind that of the interrupts (fs/proc/stat.c).
LAST = (b"ctxt", b"btime", b"processes", b"procs_running", b"procs_blocked", b"softirq")
#: The line of all CPUs is shorter: a name and ten 64-bit numbers.
LONGEST_LINE = 256
#: ``cpu8191``: the kernel knows no more cores.
LONGEST_NAME = 7
#: Cores whose series are remembered before all are forgotten.
CORES_MAX = 8192

_SHARE = "Share of the time of all CPUs in this mode since the previous reading, 0 to 1."

Ticks = tuple[int, ...]


class CpuConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much detail per core."""

    per_core: Annotated[
        Literal["busy", "modes", "off"],
        Meta(description="Per core: `busy` (one series each), `modes` (seven more each) or `off`."),
    ] = "busy"


class Cpu(Collector):
    """Time per mode, utilisation, context switches and forks of the whole host."""

    name = "cpu"
    Config = CpuConfig
    source = "/proc/stat"
    interval_s = 1.0
    may_block = False

    seconds = counter(
        "system.cpu.time",
        "s",
        "Time all CPUs together spent in this mode.",
        ["cpu.mode"],
        resource="cpu",
        alarm="never",
    )
    utilization = gauge(
        "system.cpu.utilization",
        "1",
        _SHARE,
        ["cpu.mode"],
        resource="cpu",
        alarm="never",
        limit=1.0,
    )
    # The same metric: waiting for a disk and being robbed by the hypervisor concern a person.
    iowait = gauge(
        "system.cpu.utilization",
        "1",
        _SHARE,
        ["cpu.mode"],
        resource="disk",
        alarm="high",
        limit=1.0,
    )
    steal = gauge(
        "system.cpu.utilization",
        "1",
        _SHARE,
        ["cpu.mode"],
        resource="cpu",
        alarm="high",
        limit=1.0,
    )
    guest = counter(
        "vedette.cpu.guest.time",
        "s",
        "Time of all CPUs spent in virtual machines, which is also part of this mode's own time.",
        ["cpu.mode"],
        resource="cpu",
        alarm="never",
    )
    busy = gauge(
        "vedette.cpu.busy",
        "1",
        "Share of the time of all CPUs that was neither idle nor waiting for I/O, 0 to 1.",
        resource="cpu",
        alarm="high",
        limit=1.0,
    )
    core_busy = gauge(
        "vedette.cpu.core.busy",
        "1",
        "Share of one core's time that was neither idle nor waiting for I/O, 0 to 1.",
        ["cpu.logical_number"],
        resource="cpu",
        alarm="never",
        limit=1.0,
    )
    core_utilization = gauge(
        "vedette.cpu.core.utilization",
        "1",
        'Share of one core\'s time in this mode, 0 to 1; only with per_core = "modes".',
        ["cpu.logical_number", "cpu.mode"],
        resource="cpu",
        alarm="never",
        limit=1.0,
    )
    count = updown(
        "system.cpu.logical.count",
        "{cpu}",
        "Logical processors that are online.",
        resource="cpu",
        alarm="never",
    )
    switches = counter(
        "vedette.cpu.context_switches",
        "{context_switch}",
        "Context switches of the whole host.",
        resource="cpu",
        alarm="never",
    )
    interrupts = counter(
        "vedette.cpu.interrupts",
        "{interrupt}",
        "Hardware interrupts served.",
        resource="cpu",
        alarm="never",
    )
    soft_interrupts = counter(
        "vedette.cpu.softirqs",
        "{softirq}",
        "Soft interrupts served: what drivers and timers left to do after a hardware interrupt.",
        resource="cpu",
        alarm="never",
    )
    created = counter(
        "system.process.created",
        "{process}",
        "Processes and threads created since boot.",
        resource="process",
        alarm="high",
    )
    runnable = updown(
        "vedette.process.runnable",
        "{thread}",
        "Threads that run or want to run at the moment of reading.",
        resource="cpu",
        alarm="never",
    )
    blocked = updown(
        "vedette.process.blocked",
        "{thread}",
        "Threads that wait for I/O uninterruptibly at the moment of reading.",
        resource="disk",
        alarm="high",
    )

    def __init__(self, config: CpuConfig) -> None:
        super().__init__(config)
        self._stat = KernelFile("stat", one_record=True)
        self._before: dict[bytes, Ticks] = {}
        self._cores: dict[bytes, Series] = {}
        self._had_guests = False
        self._second = 1.0 / os.sysconf("SC_CLK_TCK")
        self._shares = tuple(
            {"iowait": self.iowait, "steal": self.steal}.get(mode, self.utilization).series(mode)
            for mode in MODES
        )
        self._seconds = [self.seconds.series(mode) for mode in MODES]
        self._busy = self.busy.series()
        self._count = self.count.series()
        self._totals = (
            self.switches.series(),
            self.interrupts.series(),
            self.soft_interrupts.series(),
            self.created.series(),
            self.runnable.series(),
            self.blocked.series(),
        )

    def probe(self) -> None:
        self._stat.read(self.host.proc)

    def collect(self) -> list[Sample]:
        text = b"\n" + self._stat.read(self.host.proc)
        before, self._before = self._before, times(text)
        if HOST not in self._before:
            raise Unavailable(f"{self.host.proc}/stat has no line for all CPUs")
        samples = self._whole_host(before)
        samples += self._guests(text)
        if self.config.per_core != "off":
            samples += self._each_core(before)
        samples.append(Sample(self._count, len(self._before) - 1))
        for series, value in zip(self._totals, totals(text), strict=True):
            if value is not None:
                samples.append(Sample(series, value))
        return samples

    def close(self) -> None:
        self._stat.close()

    def _whole_host(self, before: dict[bytes, Ticks]) -> list[Sample]:
        passed = self._passed(HOST, before)
        second = self._second
        ticks = modes(self._before[HOST])
        samples = list(map(Sample, self._seconds, [one * second for one in ticks]))
        total = sum(passed)
        if total:
            samples += map(Sample, self._shares, [one / total for one in modes(passed)])
            samples.append(Sample(self._busy, busy_share(passed, total)))
        return samples

    def _guests(self, text: bytes) -> list[Sample]:
        ticks = guest_ticks(text)
        self._had_guests = self._had_guests or any(ticks)
        if not self._had_guests:
            return []
        seconds = [one * self._second for one in ticks]
        return list(map(self.guest, seconds, GUEST_MODES))

    def _each_core(self, before: dict[bytes, Ticks]) -> list[Sample]:
        with_modes = self.config.per_core == "modes"
        samples = []
        for name in self._before:
            if name == HOST:
                continue
            passed = self._passed(name, before)
            total = sum(passed)
            if not total:
                continue
            series = self._cores.get(name) or self._remember(name)
            samples.append(Sample(series, busy_share(passed, total)))
            if with_modes:
                core = series.values[0]
                samples += [
                    self.core_utilization(ticks / total, core, mode)
                    for mode, ticks in zip(MODES, modes(passed), strict=True)
                ]
        return samples

    def _passed(self, name: bytes, before: dict[bytes, Ticks]) -> Sequence[int]:
        """Return the ticks that passed per column since the reading before; empty at the first.

        A column that slipped back by less than ``SLIP`` is held at what it was.
        """
        old = before.get(name)
        if old is None:
            return ()
        new = self._before[name]
        passed = list(map(sub, new, old))
        if min(passed) < 0:
            held = tuple(a if 0 < a - b < SLIP else b for a, b in zip(old, new, strict=True))
            self._before[name] = held
            passed = [max(0, b - a) for a, b in zip(old, held, strict=True)]
        return passed

    def _remember(self, name: bytes) -> Series:
        if len(self._cores) >= CORES_MAX:
            self._cores.clear()
        series = self._cores[name] = self.core_busy.series(name[len(HOST) :].decode())
        return series


def times(text: bytes) -> dict[bytes, Ticks]:
    """Return the ticks per column of all CPUs and of each, by the first word of their lines."""
    found: dict[bytes, Ticks] = {}
    end = text.find(b"\nintr")
    lines = text[1:end] if end > 0 else text[1:]
    # Sign and width of each number would take half the time of a large host's reading. What is
    # too wide for a counter makes no wild value of a core, only of the host.
    signed = b"-" in lines
    for line in lines.split(b"\n"):
        if not line.startswith(HOST):
            break
        fields = line.split()
        name = fields[0]
        try:
            ticks = tuple(map(int, fields[1 : COLUMNS + 1]))
        except ValueError:
            continue
        if len(ticks) < COLUMNS:
            ticks += (0,) * (COLUMNS - len(ticks))
        if len(fields) < 5 or (signed and b"-" in line):
            continue
        if name == HOST:
            valid = max(ticks) < WIDEST
        else:
            valid = name[len(HOST) :].isdigit() and len(name) <= LONGEST_NAME
        if valid:
            found[name] = ticks
    return found


def totals(text: bytes) -> Sequence[int | None]:
    """Return the numbers of the lines of ``TOTALS``; None for one that is missing or garbled.

    Behind the one line of all interrupts, which is most of the text of a large host, come some
    short ones, always in the same order: they are split at once.
    """
    words = text[max(0, text.find(TOTALS[0])) :].split(None, len(LAST) * 2 + 1)
    if tuple(words[: len(LAST) * 2 : 2]) == LAST:
        values = numbers(words[1 : len(LAST) * 2 : 2])
        interrupts = number_after(text, TOTALS[1])
        if values is not None and len(values) == len(LAST):
            switches, _, created, runnable, blocked, soft = values
            return switches, interrupts, soft, created, runnable, blocked
    return [number_after(text, key) for key in TOTALS]


def guest_ticks(text: bytes) -> list[int]:
    """Return the guests' ticks in user and in nice mode; fewer on a kernel without them."""
    fields = text[1:LONGEST_LINE].split(b"\n", 1)[0].split()
    if fields[:1] != [HOST]:
        return []
    return numbers(fields[COLUMNS + 1 : COLUMNS + 3]) or []


def modes(ticks: Sequence[int]) -> tuple[int, ...]:
    """Return the ticks per mode of ``MODES`` from those per column."""
    return (*ticks[:HARD], ticks[HARD] + ticks[SOFT], ticks[STEAL])


def busy_share(passed: Sequence[int], total: int) -> float:
    """Return the share of the time that passed in which a CPU worked, 0 to 1."""
    return 1.0 - (passed[IDLE] + passed[IOWAIT]) / total


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Cpu]
