"""Collector ``zram``: what the compressed disks in memory hold, take, and fail at.

Swap on zram fills before its size says so: what it takes depends on how well the data compresses.
Where a limit is set, a write beyond it fails like one to a broken disk. The kernel holds a lock
while it takes such a disk apart, so this has a thread of its own, on hosts that use one only.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._attributes import attribute, names, number
from vedette_plugins._procfs import numbers

#: Disks read at most, and readings after which they are looked for again.
DISKS_MAX, LOOK_EVERY = 32, 6
_DISK = ["system.device"]


class Zram(Collector):
    """Data, memory and failures of each compressed disk in memory."""

    name = "zram"
    source = "/sys/block/zram*/mm_stat"
    interval_s = 10.0
    may_block = "seldom"

    original = updown(
        "vedette.memory.zram.original",
        "By",
        "Data that the disk keeps, before compression.",
        _DISK,
        resource="memory",
        alarm="never",
    )
    compressed = updown(
        "vedette.memory.zram.compressed",
        "By",
        "Data that the disk keeps, after compression.",
        _DISK,
        resource="memory",
        alarm="never",
    )
    usage = updown(
        "vedette.memory.zram.usage",
        "By",
        "Memory that the disk takes, gaps and bookkeeping of its allocator included.",
        _DISK,
        resource="memory",
        alarm="never",
    )
    limit = updown(
        "vedette.memory.zram.limit",
        "By",
        "Memory that the disk may take; absent where there is no limit.",
        _DISK,
        resource="memory",
        alarm="never",
    )
    utilization = gauge(
        "vedette.memory.zram.utilization",
        "1",
        "Share of the memory that the disk may take, 0 to 1; absent where there is no limit.",
        _DISK,
        resource="memory",
        alarm="high",
        limit=1.0,
    )
    errors = counter(
        "vedette.memory.zram.errors",
        "{error}",
        "Reads and writes that failed, of pages; writes do when there is no memory left.",
        [*_DISK, "disk.io.direction"],
        resource="memory",
        alarm="high",
        source="/sys/block/zram*/io_stat",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._disks: list[str] = []
        self._readings = 0

    def probe(self) -> None:
        self._look()
        if not self._disks:
            raise Unavailable("no compressed disk in memory (zram) is in use")

    def collect(self) -> Iterator[Sample]:
        if self._readings % LOOK_EVERY == 0:
            self._look()
        self._readings += 1
        for disk in self._disks:
            folder = f"{self.host.sys}/block/{disk}"
            memory = columns(attribute(f"{folder}/mm_stat"), 4)
            if memory is not None:
                yield from self._memory(disk, *memory)
            failed = columns(attribute(f"{folder}/io_stat"), 2)
            if failed is not None:
                yield self.errors(failed[0], disk, "read")
                yield self.errors(failed[1], disk, "write")

    def _memory(
        self, disk: str, original: int, compressed: int, used: int, limit: int
    ) -> Iterator[Sample]:
        yield self.original(original, disk)
        yield self.compressed(compressed, disk)
        yield self.usage(used, disk)
        if limit:
            yield self.limit(limit, disk)
            yield self.utilization(min(1.0, used / limit), disk)

    def _look(self) -> None:
        """Find the disks that have a size; the kernel makes one without at boot."""
        base = f"{self.host.sys}/block"
        found = names(base, "zram")[:DISKS_MAX]
        self._disks = [disk for disk in found if number(f"{base}/{disk}/initstate")]


def columns(text: bytes | None, count: int) -> list[int] | None:
    """Return the first columns of a line; None when they are not all numbers."""
    values = numbers(text.split(None, count)[:count]) if text else None
    return values if values is not None and len(values) == count else None


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Zram]
