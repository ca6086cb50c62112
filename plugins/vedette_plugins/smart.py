"""Collector ``smart``: what disks say of their own health, asked of ``smartctl``.

Every five minutes and never more than the attributes. A disk that sleeps is not woken: it is left
out until somebody else wakes it. Virtual disks are not asked; one that gives no answer (no SMART, a
RAID controller or USB bridge in between) is asked again once an hour only. Opening a disk needs
root, or a wrapper as ``program`` that becomes root.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from vedette.api import (
    Collector,
    Duration,
    Sample,
    Unavailable,
    counter,
    gauge,
    hookimpl,
    updown,
)
from vedette_plugins._attributes import names, number, word
from vedette_plugins._procfs import Choice
from vedette_plugins._smart_answer import (
    NVME,
    amount,
    ata_table,
    bad_sectors,
    failures,
    find,
    percent,
    wear,
)
from vedette_plugins._smartctl import ASLEEP, Answer, Asker, find_program

DISKS_MAX = 512
#: Rounds until a disk that did not answer is asked again.
REST = 12
#: Seconds after which a round stops asking, and what one disk may take at most.
ROUND_S, TIMEOUT_MAX_S = 100.0, 40.0
HOTTEST_C = 200
_DEVICE = ["system.device"]


class SmartConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which disks are asked, and how."""

    program: Annotated[
        str, Meta(description="smartctl: its name, or the path of it or of a wrapper.")
    ] = "smartctl"
    include: Annotated[
        tuple[str, ...], Meta(description="Globs of disks to ask whatever `exclude` says.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of disks that are not asked.")
    ] = ("fd*", "mmcblk*", "mtdblock*", "nbd*", "pmem*", "rbd*", "sr*", "vd*", "xvd*")  # fmt: skip
    answer_within: Annotated[
        Duration, Meta(description="How long one disk may take to answer.")
    ] = Duration(10.0)


class Smart(Collector):
    """Health, wear, defects and errors of each physical disk."""

    name = "smart"
    Config = SmartConfig
    source = "smartctl --json --health --attributes"
    interval_s = 300.0

    healthy = gauge(
        "vedette.smart.healthy",
        "1",
        "1 while the disk says that it will not fail soon, else 0.",
        _DEVICE,
        resource="disk",
        alarm="low",
    )
    critical_warnings = updown(
        "vedette.smart.critical_warnings",
        "{warning}",
        "Critical warnings of an NVMe disk: little spare, too hot, unreliable, read-only, no backup"
        " power.",
        _DEVICE,
        resource="disk",
        alarm="high",
    )
    sectors = updown(
        "vedette.smart.sectors",
        "{sector}",
        "Bad sectors: replaced by spare ones (reallocated), waiting to be (pending), or found bad"
        " by a scan (uncorrectable).",
        [*_DEVICE, "vedette.smart.sector.state"],
        resource="disk",
        alarm="high",
    )
    errors = counter(
        "vedette.smart.errors",
        "{error}",
        "Data the disk could not give back (uncorrected), or damaged on the cable (crc).",
        [*_DEVICE, "error.type"],
        resource="disk",
        alarm="high",
    )
    wear = gauge(
        "vedette.smart.wear",
        "1",
        "Share of the writing a flash disk was made for that is used up; no more than 1.",
        _DEVICE,
        resource="disk",
        alarm="high",
        limit=1.0,
    )
    spare = gauge(
        "vedette.smart.spare",
        "1",
        "Share of its spare capacity a flash disk has left, 0 to 1.",
        _DEVICE,
        resource="disk",
        alarm="low",
    )
    temperature = gauge(
        "vedette.smart.temperature",
        "Cel",
        "Temperature the disk measures.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    power_on_time = gauge(
        "vedette.smart.power_on_time",
        "s",
        "Time the disk has been switched on in its life.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    power_cycles = counter(
        "vedette.smart.power_cycles",
        "{cycle}",
        "Times the disk was switched on.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    unsafe_shutdowns = counter(
        "vedette.smart.unsafe_shutdowns",
        "{shutdown}",
        "Times an NVMe disk lost power unprepared.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )

    def __init__(self, config: SmartConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self._choice = Choice(config.include, config.exclude)
        self._asker = Asker()
        # Rounds that a disk which never answered still rests, and why; and those that did.
        self._resting: dict[str, tuple[int, str]] = {}
        self._known: set[str] = set()

    def probe(self) -> None:
        if find_program(self.config.program) is None:
            raise Unavailable(f"{self.config.program} is not installed")
        if not self._disks():
            raise Unavailable("no disk that could know of its health (see include and exclude)")

    def collect(self) -> Iterator[Sample]:
        program = find_program(self.config.program)
        if program is None:
            raise Unavailable(f"{self.config.program} is not installed")
        before, self._resting = self._resting, {}
        reason, is_of_use = "no disk", False
        ends = self.monotonic() + ROUND_S
        disks = self._disks()
        self._known.intersection_update(disks)
        for disk in disks:
            if self.monotonic() > ends:
                break
            rounds, reason_before = before.get(disk, (0, ""))
            if rounds:
                self._resting[disk] = rounds - 1, reason_before
                reason = f"{disk}: {reason_before}"
                continue
            answer = self._ask(program, disk)
            if answer.data is not None:
                self._known.add(disk)
                yield from self._samples(disk, answer.data)
            elif not answer.is_asleep:
                if disk not in self._known:
                    self._resting[disk] = REST - 1, answer.reason
                reason = f"{disk}: {answer.reason}"
                continue
            is_of_use = True
        if not is_of_use:
            hint = " (root is needed)" if "ermission denied" in reason else ""
            raise Unavailable(f"no disk answers smartctl; {reason}{hint}")

    def _disks(self) -> list[str]:
        """Return the disks to ask: those with hardware behind them, unless a glob says other."""
        found = []
        for name in names(f"{self.host.sys}/block"):
            # sysfs writes a slash in a name as an exclamation mark.
            verdict = self._choice.verdict(name.replace("!", "/"))
            if verdict is None:
                folder = f"{self.host.sys}/block/{name}"
                # The paths of a multipath NVMe disk are hidden behind the disk itself.
                verdict = os.path.exists(f"{folder}/device") and not number(f"{folder}/hidden")
            if verdict:
                found.append(name.replace("!", "/"))
        return found[:DISKS_MAX]

    def _ask(self, program: str, disk: str) -> Answer:
        vendor = word(f"{self.host.sys}/block/{disk.replace('/', '!')}/device/vendor")
        # Finding out the type by itself, smartctl could wake the disk.
        if disk.startswith("nvme"):
            how = ["-d", "nvme"]
        elif vendor == "ATA":
            how = ["-d", "sat"]
        else:
            # Of a SAS disk the errors are in a log of their own.
            how = ["-d", "auto", "-l", "error"]
        argv = [program, "--json=c", "-n", f"standby,{ASLEEP}", "-H", "-A", *how, f"/dev/{disk}"]
        return self._asker.ask(argv, disk, min(max(self.config.answer_within, 1.0), TIMEOUT_MAX_S))

    def _samples(self, disk: str, data: dict[str, Any]) -> Iterator[Sample]:
        passed = find(data, "smart_status", "passed")
        if isinstance(passed, bool):
            yield self.healthy(float(passed), disk)
        celsius = amount(find(data, "temperature", "current"))
        if celsius is not None and celsius < HOTTEST_C:
            yield self.temperature(celsius, disk)
        hours = amount(find(data, "power_on_time", "hours"))
        if hours is not None:
            minutes = amount(find(data, "power_on_time", "minutes")) or 0
            yield self.power_on_time(hours * 3600 + minutes * 60, disk)
        cycles = amount(find(data, "power_cycle_count"))
        if cycles is not None:
            yield self.power_cycles(cycles, disk)
        table = ata_table(data)
        for state, count in bad_sectors(data, table).items():
            yield self.sectors(count, disk, state)
        for kind, count in failures(data, table).items():
            yield self.errors(count, disk, kind)
        used = wear(data, table)
        if used is not None:
            yield self.wear(used, disk)
        left = percent(find(data, NVME, "available_spare"))
        if left is None:
            left = percent(find(data, "spare_available", "current_percent"))
        if left is not None:
            yield self.spare(left, disk)
        warnings = amount(find(data, NVME, "critical_warning"))
        if warnings is not None:
            yield self.critical_warnings(int(warnings).bit_count(), disk)
        shutdowns = amount(find(data, NVME, "unsafe_shutdowns"))
        if shutdowns is not None:
            yield self.unsafe_shutdowns(shutdowns, disk)


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Smart]
