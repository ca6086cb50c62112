"""Collector ``disk``: bytes, operations and busy time per disk, from one read of /proc/diskstats.

Whole disks only: partitions repeat their disk, and device-mapper, RAID, loop and zram devices
repeat the disks (or the memory) below them. A disk that was never used is left out until it is.
Counters are passed on as the kernel has them; the 32-bit ones wrap, which the table treats as a
reset.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._procfs import Choice, KernelFile, numbers, printable

#: The kernel counts in units of 512 bytes whatever the disk's own sectors are.
SECTOR = 512
#: Block devices remembered as disk or not before all are forgotten.
DEVICES_MAX = 4096
_DIRECTED = ["system.device", "disk.io.direction"]


class DiskConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which block devices are read."""

    include: Annotated[
        tuple[str, ...],
        Meta(description="Globs of device names to read whatever they are, partitions too."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of device names that are not read.")
    ] = ("loop*", "ram*", "zram*", "dm-*", "md*", "sr*", "fd*")


class Counts(NamedTuple):
    """One line of /proc/diskstats, as far as it is used; times in ms."""

    reads: int
    read_sectors: int
    read_ms: int
    writes: int
    write_sectors: int
    write_ms: int
    pending: int
    busy_ms: int


class Disk(Collector):
    """Traffic and busy share of each disk."""

    name = "disk"
    Config = DiskConfig
    interval_s = 1.0
    may_block = False

    io = counter(
        "system.disk.io",
        "By",
        "Bytes read from or written to the disk.",
        _DIRECTED,
        resource="disk",
        alarm="high",
    )
    operations = counter(
        "system.disk.operations",
        "{operation}",
        "Reads or writes the disk completed.",
        _DIRECTED,
        resource="disk",
        alarm="never",
    )
    operation_time = counter(
        "system.disk.operation_time",
        "s",
        "Time of all reads or writes added up, waiting in the queue included.",
        _DIRECTED,
        resource="disk",
        alarm="never",
    )
    io_time = counter(
        "system.disk.io_time",
        "s",
        "Time the disk had at least one operation in progress.",
        ["system.device"],
        resource="disk",
        alarm="never",
    )
    utilization = gauge(
        "vedette.disk.utilization",
        "1",
        "Share of the time since the previous reading with an operation in progress, 0 to 1.",
        ["system.device"],
        resource="disk",
        alarm="high",
        limit=1.0,
    )
    pending = updown(
        "vedette.disk.pending",
        "{operation}",
        "Operations in progress at the moment of reading.",
        ["system.device"],
        resource="disk",
        alarm="never",
    )

    def __init__(self, config: DiskConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self._diskstats = KernelFile("diskstats")
        self._choice = Choice(config.include, config.exclude)
        self._whole: dict[bytes, bool] = {}
        self._before: dict[str, int] = {}
        self._read_at = float("nan")

    def probe(self) -> None:
        if not any(True for _ in self._chosen(self._diskstats.read(self.host.proc))):
            raise Unavailable("no disk in use (see include and exclude)")

    def collect(self) -> Iterator[Sample]:
        now = self.monotonic()
        elapsed_ms = (now - self._read_at) * 1000.0
        before, self._before, self._read_at = self._before, {}, now
        for device, counts in self._chosen(self._diskstats.read(self.host.proc)):
            if device in self._before:
                continue
            self._before[device] = counts.busy_ms
            yield self.io(counts.read_sectors * SECTOR, device, "read")
            yield self.io(counts.write_sectors * SECTOR, device, "write")
            yield self.operations(counts.reads, device, "read")
            yield self.operations(counts.writes, device, "write")
            yield self.operation_time(counts.read_ms / 1000.0, device, "read")
            yield self.operation_time(counts.write_ms / 1000.0, device, "write")
            yield self.io_time(counts.busy_ms / 1000.0, device)
            yield self.pending(counts.pending, device)
            busy_before = before.get(device)
            # A wrapped or reset busy time says nothing about this tick.
            if busy_before is not None and counts.busy_ms >= busy_before and elapsed_ms > 0:
                busy_ms = counts.busy_ms - busy_before
                yield self.utilization(min(1.0, busy_ms / elapsed_ms), device)

    def close(self) -> None:
        self._diskstats.close()

    def _chosen(self, text: bytes) -> Iterator[tuple[str, Counts]]:
        for line in text.split(b"\n"):
            fields = line.split(None, 14)
            if len(fields) < 14:
                continue
            name = fields[2]
            device = printable(name)
            verdict = self._choice.verdict(device)
            if verdict is False or (verdict is None and not self._is_whole(name)):
                continue
            counts = parse_counts(fields)
            if counts is not None and (counts.reads or counts.writes):
                yield device, counts

    def _is_whole(self, name: bytes) -> bool:
        """Say whether the kernel lists the device as a disk of its own; remembered.

        Raises ``Unavailable`` when the kernel's list of disks cannot be read.
        """
        known = self._whole.get(name)
        if known is None:
            if len(self._whole) >= DEVICES_MAX:
                self._whole.clear()
            folder = f"{self.host.sys}/block"
            try:
                with os.scandir(folder) as entries:
                    names = [os.fsencode(entry.name) for entry in entries]
            except OSError as error:
                raise Unavailable(f"cannot list {folder}: {error.strerror}") from error
            for disk in names:
                # sysfs writes the slash of names such as cciss/c0d0 as an exclamation mark.
                self._whole[disk.replace(b"!", b"/")] = True
            known = self._whole.setdefault(name, False)
        return known


def parse_counts(fields: list[bytes]) -> Counts | None:
    """Return the counters of a split line of /proc/diskstats; None when it is garbled."""
    values = numbers(fields[3:13])
    if values is None or len(values) < 10:
        return None
    return Counts(
        reads=values[0],
        read_sectors=values[2],
        read_ms=values[3],
        writes=values[4],
        write_sectors=values[6],
        write_ms=values[7],
        pending=values[8],
        busy_ms=values[9],
    )


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Disk]
