"""Collector ``cpu``: where the processors' time goes, from one read of /proc/stat.

Shares are of the time that passed in the counters themselves, not on a clock, so they add up to 1
whatever the tick's lateness, and a suspended host shows no spike. ``guest`` time is part of
``user`` in the kernel's own accounting and is not counted twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._procfs import KernelFile, number_after, numbers

MODES = ("user", "nice", "system", "idle", "iowait", "interrupt", "steal")
#: Stands for all CPUs together where others are keyed by their logical number.
HOST = ""
IDLE, IOWAIT = MODES.index("idle"), MODES.index("iowait")
#: Ticks by which a total may fall and still be held: idle and iowait of the kernel slip back
#: a little when a core sleeps. More than that is a reset.
SLIP = 1000

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
    created = counter(
        "system.process.created",
        "{process}",
        "Processes and threads created since boot.",
        resource="process",
        alarm="never",
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
        self._before: dict[str, Ticks] = {}
        self._second = 1.0 / os.sysconf("SC_CLK_TCK")
        self._instruments = tuple(
            {"iowait": self.iowait, "steal": self.steal}.get(mode, self.utilization)
            for mode in MODES
        )
        self._totals = (
            (self.switches, b"\nctxt "),
            (self.interrupts, b"\nintr "),
            (self.created, b"\nprocesses "),
            (self.runnable, b"\nprocs_running "),
            (self.blocked, b"\nprocs_blocked "),
        )

    def probe(self) -> None:
        self._stat.read(self.host.proc)

    def collect(self) -> Iterator[Sample]:
        text = b"\n" + self._stat.read(self.host.proc)
        now = self._hold(times(text))
        before, self._before = self._before, now
        if HOST not in now:
            raise Unavailable(f"{self.host.proc}/stat has no line for all CPUs")
        yield from self._whole_host(before.get(HOST), now[HOST])
        if self.config.per_core != "off":
            for core, ticks in now.items():
                if core != HOST:
                    yield from self._core(core, before.get(core), ticks)
        yield self.count(len(now) - 1)
        for instrument, key in self._totals:
            value = number_after(text, key)
            if value is not None:
                yield instrument(value)

    def close(self) -> None:
        self._stat.close()

    def _whole_host(self, before: Ticks | None, now: Ticks) -> Iterator[Sample]:
        for mode, ticks in zip(MODES, now, strict=True):
            yield self.seconds(ticks * self._second, mode)
        parts = shares(before, now)
        if parts is None:
            return
        for instrument, mode, part in zip(self._instruments, MODES, parts, strict=True):
            yield instrument(part, mode)
        yield self.busy(busy_share(parts))

    def _core(self, core: str, before: Ticks | None, now: Ticks) -> Iterator[Sample]:
        parts = shares(before, now)
        if parts is None:
            return
        yield self.core_busy(busy_share(parts), core)
        if self.config.per_core == "modes":
            for mode, part in zip(MODES, parts, strict=True):
                yield self.core_utilization(part, core, mode)

    def _hold(self, now: dict[str, Ticks]) -> dict[str, Ticks]:
        """Keep the totals of each mode from slipping back by less than ``SLIP``."""
        for core, ticks in now.items():
            before = self._before.get(core)
            if before is not None:
                now[core] = tuple(
                    old if 0 < old - new < SLIP else new
                    for old, new in zip(before, ticks, strict=True)
                )
        return now


def times(text: bytes) -> dict[str, Ticks]:
    """Return ticks per mode by logical number; ``HOST`` for all together."""
    found: dict[str, Ticks] = {}
    begin = 1
    while text.startswith(b"cpu", begin):
        end = text.find(b"\n", begin)
        fields = text[begin : end if end >= 0 else len(text)].split(None, 9)
        core = fields[0][3:]
        ticks = numbers(fields[1:9])
        if ticks is not None and len(ticks) >= 4 and (not core or core.isdigit()):
            ticks += [0] * (8 - len(ticks))
            user, nice, system, idle, iowait, hard, soft, steal = ticks
            found[core.decode()] = (user, nice, system, idle, iowait, hard + soft, steal)
        if end < 0:
            break
        begin = end + 1
    return found


def shares(before: Ticks | None, now: Ticks) -> list[float] | None:
    """Return each mode's share of the time that passed; None when none did."""
    if before is None:
        return None
    passed = [new - old if new > old else 0 for old, new in zip(before, now, strict=True)]
    total = sum(passed)
    return [part / total for part in passed] if total else None


def busy_share(parts: list[float]) -> float:
    """Return the share of the modes in which a CPU works, 0 to 1."""
    return min(1.0, max(0.0, 1.0 - parts[IDLE] - parts[IOWAIT]))


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Cpu]
