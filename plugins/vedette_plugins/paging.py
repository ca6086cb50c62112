"""Collector ``paging``: swap space, swapping, page faults, and how hard the kernel looks for RAM.

``system.paging.operations`` counts pages that went to or came from swap, which is what hurts;
``vedette.paging.io`` is all that was read and written, files above all. Of reclaim, a person acts
on what makes programs wait: an allocation that had to free memory itself (a stall). What kswapd
frees in the background is detail.

What a host does not use (swap, zswap, the balloon of a virtual machine) has no series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from vedette.api import (
    Collector,
    Instrument,
    NoConfig,
    Sample,
    Series,
    counter,
    gauge,
    hookimpl,
    updown,
)
from vedette_plugins._keyed import KeyedNumbers
from vedette_plugins._procfs import KernelFile, number_after

_STATE = ["system.paging.state"]
_DIRECTION = "system.paging.direction"
_BY = ["vedette.memory.reclaim.by"]
#: Old kernels count some events per memory zone; the sum over the zones is the number meant.
ZONES = (b"dma", b"dma32", b"normal", b"high", b"movable", b"device")
KIB = 1024
#: Readings between two looks whether a host without swap has got some.
SWAPLESS = 10

#: A series, a factor, the keys whose numbers are added up, and whether it begins when it counts.
Row = tuple[Series, int, tuple[bytes, ...], bool]
#: The same on this kernel: the first of the keys that it has, and the others.
Present = tuple[Series, int, bytes, tuple[bytes, ...], bool]

_detail = partial(counter, resource="memory", alarm="never")


class Paging(Collector):
    """Swap in use and swapping, page faults, reclaim, out-of-memory kills."""

    name = "paging"
    source = "/proc/vmstat"
    interval_s = 1.0
    may_block = False

    usage = updown(
        "system.paging.usage",
        "By",
        "Swap space in this state; absent on a host without swap.",
        _STATE,
        resource="memory",
        alarm="never",
        source="/proc/meminfo",
    )
    utilization = gauge(
        "system.paging.utilization",
        "1",
        "Share of the swap space in this state, 0 to 1; absent on a host without swap.",
        _STATE,
        resource="memory",
        alarm="never",
        limit=1.0,
        source="/proc/meminfo",
    )
    operations = counter(
        "system.paging.operations",
        "{operation}",
        "Pages that came from swap (in) or went to it (out).",
        [_DIRECTION, "system.paging.fault.type"],
        resource="memory",
        alarm="high",
    )
    faults = _detail(
        "system.paging.faults",
        "{fault}",
        "Page faults; a major one had to wait for a disk.",
        ["system.paging.fault.type"],
    )
    kills = counter(
        "vedette.memory.oom_kills",
        "{kill}",
        "Processes killed by the kernel because memory had run out.",
        resource="memory",
        alarm="high",
    )
    stalls = counter(
        "vedette.memory.allocation.stalls",
        "{stall}",
        "Allocations that had to wait and free memory themselves.",
        resource="memory",
        alarm="high",
    )
    io = _detail(
        "vedette.paging.io",
        "By",
        "Bytes read from (in) or written to (out) block devices, files and swap together.",
        [_DIRECTION],
    )
    scanned = _detail(
        "vedette.memory.reclaim.scanned",
        "{page}",
        "Pages looked at to free memory, by kswapd or by the allocation that wanted it (direct).",
        _BY,
    )
    freed = _detail("vedette.memory.reclaim.freed", "{page}", "Pages freed by reclaim.", _BY)
    refaults = _detail(
        "vedette.memory.refaults",
        "{page}",
        "Pages that had to be read again soon after reclaim had freed them.",
        ["vedette.memory.page.type"],
    )
    compactions = _detail(
        "vedette.memory.compaction.stalls",
        "{stall}",
        "Allocations that had to wait while memory was moved to make room for a large page.",
    )
    huge_faults = _detail(
        "vedette.memory.transparent_hugepages.faults",
        "{fault}",
        "Page faults served with a hugepage, or with small pages for want of one (fallback).",
        ["vedette.memory.fault.result"],
    )
    huge_splits = _detail(
        "vedette.memory.transparent_hugepages.splits",
        "{split}",
        "Transparent hugepages that were split into small pages.",
    )
    drops = _detail(
        "vedette.memory.cache_drops", "{drop}", "Times someone told the kernel to drop its caches."
    )
    balloon = _detail(
        "vedette.memory.balloon.pages",
        "{page}",
        "Pages the hypervisor took (inflate) or gave back (deflate); absent until it does.",
        ["vedette.memory.balloon.direction"],
    )
    zswap = _detail(
        "vedette.memory.zswap.operations",
        "{page}",
        "Pages that came from zswap (in) or went to it (out); absent until it is used.",
        [_DIRECTION],
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._meminfo = KernelFile("meminfo", one_record=True)
        self._vmstat = KernelFile("vmstat")
        rare = (self.balloon, self.zswap)
        rows: tuple[tuple[Instrument, tuple[str, ...], int, tuple[bytes, ...]], ...] = (
            (self.operations, ("in", "major"), 1, (b"pswpin",)),
            (self.operations, ("out", "major"), 1, (b"pswpout",)),
            (self.kills, (), 1, (b"oom_kill",)),
            (self.stalls, (), 1, zoned(b"allocstall")),
            (self.io, ("in",), KIB, (b"pgpgin",)),
            (self.io, ("out",), KIB, (b"pgpgout",)),
            (self.scanned, ("kswapd",), 1, zoned(b"pgscan_kswapd")),
            (self.scanned, ("direct",), 1, zoned(b"pgscan_direct")),
            (self.freed, ("kswapd",), 1, zoned(b"pgsteal_kswapd")),
            (self.freed, ("direct",), 1, zoned(b"pgsteal_direct")),
            (self.refaults, ("anon",), 1, (b"workingset_refault_anon",)),
            (self.refaults, ("file",), 1, (b"workingset_refault_file", b"workingset_refault")),
            (self.compactions, (), 1, (b"compact_stall",)),
            (self.huge_faults, ("huge",), 1, (b"thp_fault_alloc",)),
            (self.huge_faults, ("fallback",), 1, (b"thp_fault_fallback",)),
            (self.huge_splits, (), 1, (b"thp_split_page", b"thp_split")),
            (self.drops, (), 1, (b"drop_pagecache",)),
            (self.balloon, ("inflate",), 1, (b"balloon_inflate",)),
            (self.balloon, ("deflate",), 1, (b"balloon_deflate",)),
            (self.zswap, ("in",), 1, (b"zswpin",)),
            (self.zswap, ("out",), 1, (b"zswpout",)),
        )
        self._every: list[Row] = [
            (one.series(*values), factor, keys, one in rare) for one, values, factor, keys in rows
        ]
        keys = (key for row in self._every for key in row[2])
        self._numbers = KeyedNumbers((b"pgfault", b"pgmajfault", *keys))
        self._keys: tuple[bytes, ...] = ()
        self._rows: list[Present] = []
        self._major, self._minor = self.faults.series("major"), self.faults.series("minor")
        self._swapless_left = 0

    def probe(self) -> None:
        self._vmstat.read(self.host.proc)

    def collect(self) -> list[Sample]:
        samples = [] if self._swapless() else self._swap()
        found = self._numbers.read(self._vmstat.read(self.host.proc))
        samples += self._faults(found)
        if self._numbers.keys is not self._keys:
            self._keys, self._rows = self._numbers.keys, present(self._every, found)
        for series, factor, first, others, is_rare in self._rows:
            amount = found[first]
            for key in others:
                amount += found[key]
            if amount or not is_rare:
                samples.append(Sample(series, amount * factor))
        return samples

    def close(self) -> None:
        self._meminfo.close()
        self._vmstat.close()

    def _swapless(self) -> bool:
        """Return whether the host had no swap when it was asked of late."""
        self._swapless_left -= 1
        return self._swapless_left >= 0

    def _swap(self) -> list[Sample]:
        text = b"\n" + self._meminfo.read(self.host.proc)
        total = number_after(text, b"\nSwapTotal:")
        free = number_after(text, b"\nSwapFree:")
        self._swapless_left = SWAPLESS - 1 if total == 0 else 0
        if not total or free is None or free > total:
            return []
        samples: list[Sample] = []
        for state, amount in (("used", total - free), ("free", free)):
            samples += self.usage(amount * KIB, state), self.utilization(amount / total, state)
        return samples

    def _faults(self, found: Mapping[bytes, int]) -> list[Sample]:
        major, every = found.get(b"pgmajfault"), found.get(b"pgfault")
        if major is None:
            return []
        if every is None or every < major:
            return [Sample(self._major, major)]
        return [Sample(self._major, major), Sample(self._minor, every - major)]


def zoned(key: bytes) -> tuple[bytes, ...]:
    """Return a key as new kernels name it, and as older ones do per zone."""
    return (key, *(key + b"_" + zone for zone in ZONES))


def present(rows: Sequence[Row], found: Mapping[bytes, int]) -> list[Present]:
    """Return the rows of which this kernel has a part, without the parts it does not have."""
    kept = []
    for series, factor, keys, is_rare in rows:
        parts = tuple(key for key in keys if key in found)
        if parts:
            kept.append((series, factor, parts[0], parts[1:], is_rare))
    return kept


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Paging]
