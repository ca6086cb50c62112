"""Collector ``disk``: traffic, waiting and busy time per disk, from one read of /proc/diskstats.

Whole disks only: partitions repeat their disk, and device-mapper, RAID, loop and zram devices
repeat the disks (or the memory) below them. A disk that was never used is left out until it is;
discards and flushes likewise, as many disks never see one.
Counters are passed on as the kernel has them; the 32-bit ones wrap, which the table treats as a
reset. A line that did not change is not parsed again, so an idle disk costs next to nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Series, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._procfs import Choice, KernelFile, numbers, printable

#: The kernel counts in units of 512 bytes whatever the disk's own sectors are.
SECTOR = 512
MS = 0.001
#: Block devices remembered as disk or not before all are forgotten.
DEVICES_MAX = 4096
#: The mean wait of fewer operations in a tick is not told: one that hit a sleeping disk, or a
#: write cache that was being emptied, would look like a slow disk.
OPERATIONS_MIN = 10
#: Columns of /proc/diskstats behind the name; discards came with Linux 4.18, flushes with 5.5.
READS, READS_MERGED, READ_SECTORS, READ_MS = range(4)
WRITES, WRITES_MERGED, WRITE_SECTORS, WRITE_MS = range(4, 8)
PENDING, BUSY_MS, WEIGHTED_MS = range(8, 11)
DISCARDS, _DISCARDS_MERGED, DISCARD_SECTORS, DISCARD_MS = range(11, 15)
FLUSHES, FLUSH_MS = range(15, 17)
_DEVICE = ["system.device"]
_DIRECTED = ["system.device", "disk.io.direction"]
_WAIT = "Mean time an operation took since the previous reading; absent with fewer than ten."


class DiskConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which block devices are read."""

    include: Annotated[
        tuple[str, ...],
        Meta(description="Globs of device names to read whatever they are, partitions too."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of device names that are not read.")
    ] = ("loop*", "ram*", "zram*", "dm-*", "md*", "sr*", "fd*")


class Disk(Collector):
    """Traffic, waiting and busy share of each disk."""

    name = "disk"
    Config = DiskConfig
    source = "/proc/diskstats"
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
    merged = counter(
        "system.disk.merged",
        "{operation}",
        "Reads or writes that were joined to a neighbour before they went to the disk.",
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
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    weighted_time = counter(
        "vedette.disk.weighted_io_time",
        "s",
        "Time the disk had operations in progress, times their number.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    discarded = counter(
        "vedette.disk.discard.io",
        "By",
        "Bytes the disk was told to forget (TRIM); absent until there are some.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    discards = counter(
        "vedette.disk.discard.operations",
        "{operation}",
        "Discards the disk completed; absent until there are some.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    discard_time = counter(
        "vedette.disk.discard.time",
        "s",
        "Time of all discards added up; absent until there are some.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    flushes = counter(
        "vedette.disk.flush.operations",
        "{operation}",
        "Times the disk emptied its write cache when told to; absent until there are some.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    flush_time = counter(
        "vedette.disk.flush.time",
        "s",
        "Time of all flushes added up; absent until there are some.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    utilization = gauge(
        "vedette.disk.utilization",
        "1",
        "Share of the time since the previous reading with an operation in progress, 0 to 1.",
        _DEVICE,
        resource="disk",
        alarm="high",
        limit=1.0,
    )
    pending = updown(
        "vedette.disk.pending",
        "{operation}",
        "Operations in progress at the moment of reading.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    queue = gauge(
        "vedette.disk.queue.length",
        "{operation}",
        "Mean number of operations in progress since the previous reading.",
        _DEVICE,
        resource="disk",
        alarm="never",
    )
    # Somebody waits for a read; writes wait in crowds whenever the page cache is written back.
    read_wait = gauge(
        "vedette.disk.operation.wait",
        "s",
        _WAIT,
        _DIRECTED,
        resource="disk",
        alarm="high",
    )
    write_wait = gauge(
        "vedette.disk.operation.wait",
        "s",
        _WAIT,
        _DIRECTED,
        resource="disk",
        alarm="never",
    )

    def __init__(self, config: DiskConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self._diskstats = KernelFile("diskstats")
        self._choice = Choice(config.include, config.exclude)
        self._whole: dict[bytes, bool] = {}
        # What the lines of the previous reading were, and which disk each name was.
        self._lines: dict[bytes, Line | None] = {}
        self._disks: dict[str, Line] = {}
        self._read_at = float("nan")

    def probe(self) -> None:
        text = self._diskstats.read(self.host.proc)
        if not any(self._parse(line, {}) for line in text.split(b"\n")):
            raise Unavailable("no disk in use (see include and exclude)")

    def collect(self) -> Iterator[Sample]:
        now = self.monotonic()
        text = self._diskstats.read(self.host.proc)
        elapsed_ms = (now - self._read_at) * 1000.0
        self._read_at = now
        lines, self._lines = self._lines, {}
        disks, self._disks = self._disks, {}
        for row in text.split(b"\n"):
            line = lines[row] if row in lines else self._parse(row, disks)
            self._lines[row] = line
            if line is None or line.device.name in self._disks:
                continue
            name = line.device.name
            self._disks[name] = line
            yield from line.samples
            before = disks.get(name)
            if before is not None and elapsed_ms > 0:
                yield from line.device.passed(before.counts, line.counts, elapsed_ms)

    def close(self) -> None:
        self._diskstats.close()

    def _parse(self, row: bytes, known: dict[str, Line]) -> Line | None:
        """Return what a line says of a disk that is read and in use."""
        fields = row.split(None, 20)
        if len(fields) < 14:
            return None
        name = printable(fields[2])
        verdict = self._choice.verdict(name)
        if verdict is False or (verdict is None and not self._is_whole(fields[2])):
            return None
        counts = parse_counts(fields)
        if counts is None or not (counts[READS] or counts[WRITES]):
            return None
        before = known.get(name)
        return Line(before.device if before is not None else Device(self, name), counts)

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


class Device:
    """One disk: its name and its series, looked up once."""

    def __init__(self, disk: Disk, name: str) -> None:
        self.name = name
        #: Column, factor and series of what is passed on as the kernel counts it.
        self.always: list[tuple[int, float, Series]] = [
            (READ_SECTORS, SECTOR, disk.io.series(name, "read")),
            (WRITE_SECTORS, SECTOR, disk.io.series(name, "write")),
            (READS, 1, disk.operations.series(name, "read")),
            (WRITES, 1, disk.operations.series(name, "write")),
            (READS_MERGED, 1, disk.merged.series(name, "read")),
            (WRITES_MERGED, 1, disk.merged.series(name, "write")),
            (READ_MS, MS, disk.operation_time.series(name, "read")),
            (WRITE_MS, MS, disk.operation_time.series(name, "write")),
            (BUSY_MS, MS, disk.io_time.series(name)),
            (WEIGHTED_MS, MS, disk.weighted_time.series(name)),
            (PENDING, 1, disk.pending.series(name)),
        ]
        self.discards: list[tuple[int, float, Series]] = [
            (DISCARD_SECTORS, SECTOR, disk.discarded.series(name)),
            (DISCARDS, 1, disk.discards.series(name)),
            (DISCARD_MS, MS, disk.discard_time.series(name)),
        ]
        self.flushes: list[tuple[int, float, Series]] = [
            (FLUSHES, 1, disk.flushes.series(name)),
            (FLUSH_MS, MS, disk.flush_time.series(name)),
        ]
        self.utilization = disk.utilization.series(name)
        self.queue = disk.queue.series(name)
        self.waits = (
            (READS, READ_MS, disk.read_wait.series(name, "read")),
            (WRITES, WRITE_MS, disk.write_wait.series(name, "write")),
        )
        self.idle = [Sample(self.utilization, 0.0), Sample(self.queue, 0.0)]

    def totals(self, counts: list[int]) -> list[Sample]:
        """Return what is passed on of a line's counts."""
        used = self.always
        if len(counts) > DISCARD_MS and counts[DISCARDS]:
            used = used + self.discards
        if len(counts) > FLUSH_MS and counts[FLUSHES]:
            used = used + self.flushes
        return [Sample(series, counts[column] * factor) for column, factor, series in used]

    def passed(self, before: list[int], now: list[int], elapsed_ms: float) -> list[Sample]:
        """Return what happened between two readings; a count that fell says nothing of it."""
        if now is before:
            return self.idle
        found = []
        if now[BUSY_MS] >= before[BUSY_MS]:
            share = (now[BUSY_MS] - before[BUSY_MS]) / elapsed_ms
            found.append(Sample(self.utilization, min(1.0, share)))
        if now[WEIGHTED_MS] >= before[WEIGHTED_MS]:
            length = (now[WEIGHTED_MS] - before[WEIGHTED_MS]) / elapsed_ms
            found.append(Sample(self.queue, length))
        for operations, spent_ms, series in self.waits:
            count = now[operations] - before[operations]
            if count >= OPERATIONS_MIN and now[spent_ms] >= before[spent_ms]:
                mean_ms = (now[spent_ms] - before[spent_ms]) / count
                found.append(Sample(series, mean_ms * MS))
        return found


class Line:
    """What one line of /proc/diskstats said: the counts, and the samples made of them."""

    __slots__ = ("counts", "device", "samples")

    def __init__(self, device: Device, counts: list[int]) -> None:
        self.device = device
        self.counts = counts
        self.samples = device.totals(counts)


def parse_counts(fields: list[bytes]) -> list[int] | None:
    """Return the counters of a split line of /proc/diskstats; None when it is garbled.

    Later columns than the first eleven are taken in the groups the kernel added them in.
    """
    counts = numbers(fields[3:14])
    if counts is None or len(counts) < 11:
        return None
    for begin, end in ((14, 18), (18, 20)):
        more = numbers(fields[begin:end])
        if more is None or len(more) < end - begin:
            break
        counts += more
    return counts


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Disk]
