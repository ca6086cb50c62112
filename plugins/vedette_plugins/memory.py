"""Collector ``memory``: what the RAM holds, from one read of /proc/meminfo.

The four states add up to the total. ``cached`` is what the kernel can give back (page cache and
reclaimable slab) without shared memory: a full tmpfs cannot be reclaimed and counts as ``used``.
ZFS keeps its cache outside the page cache, so there it is ``used`` too.

All else is detail that tells what ``used`` and ``cached`` consist of. What the host does not use
(hugepages, swap, zswap) has no series.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from vedette.api import (
    Collector,
    Instrument,
    NoConfig,
    Sample,
    Series,
    Unavailable,
    gauge,
    hookimpl,
    updown,
)
from vedette_plugins._keyed import KeyedNumbers
from vedette_plugins._procfs import WIDEST, KernelFile

_STATE = ["system.memory.state"]
_HUGE_STATE = ["system.memory.linux.hugepages.state"]
_SHARE = "Share of the RAM in this state, 0 to 1."
KIB = 1024

#: Numbers of /proc/meminfo that are not an amount emitted as it is.
_PARTS = (
    b"MemFree:",
    b"Buffers:",
    b"Cached:",
    b"SwapTotal:",
    b"SwapCached:",
    b"Zswap:",
    b"Zswapped:",
    b"HugePages_Total:",
    b"HugePages_Free:",
    b"HugePages_Rsvd:",
    b"HugePages_Surp:",
    b"Hugepagesize:",
)


_detail = partial(updown, resource="memory", alarm="never")


class Memory(Collector):
    """RAM by state, what is available, and what it is used for."""

    name = "memory"
    source = "/proc/meminfo"
    interval_s = 1.0
    may_block = False

    usage = updown(
        "system.memory.usage",
        "By",
        "RAM in this state; the states add up to the total.",
        _STATE,
        resource="memory",
        alarm="never",
    )
    utilization = gauge(
        "system.memory.utilization",
        "1",
        _SHARE,
        _STATE,
        resource="memory",
        alarm="never",
        limit=1.0,
    )
    # The same metric: only what cannot be given back concerns a person.
    used_share = gauge(
        "system.memory.utilization",
        "1",
        _SHARE,
        _STATE,
        resource="memory",
        alarm="high",
        limit=1.0,
    )
    total = _detail("system.memory.limit", "By", "RAM of the host.")
    available = _detail(
        "system.memory.linux.available",
        "By",
        "RAM that new programs could take without swapping, as the kernel estimates it.",
    )
    shared = _detail("system.memory.linux.shared", "By", "Shared memory, files in tmpfs included.")
    slab = _detail(
        "system.memory.linux.slab.usage",
        "By",
        "RAM in the kernel's caches of its own objects.",
        ["system.memory.linux.slab.state"],
    )
    dirty = _detail(
        "vedette.memory.dirty", "By", "File data in RAM that waits to be written to disk."
    )
    writeback = _detail(
        "vedette.memory.writeback", "By", "File data in RAM that is being written to disk."
    )
    anonymous = _detail("vedette.memory.anonymous", "By", "Memory of processes that no file backs.")
    huge_anonymous = _detail(
        "vedette.memory.transparent_hugepages.usage",
        "By",
        "Memory of processes that no file backs and that lies in transparent hugepages.",
    )
    mapped = _detail("vedette.memory.mapped", "By", "Files in RAM that processes have mapped.")
    reclaim_list = _detail(
        "vedette.memory.reclaim_list.usage",
        "By",
        "RAM by what it holds and whether it was used of late; reclaim takes the inactive first.",
        ["vedette.memory.page.type", "vedette.memory.page.activity"],
    )
    unevictable = _detail("vedette.memory.unevictable", "By", "RAM that reclaim may not take.")
    locked = _detail("vedette.memory.locked", "By", "RAM that processes have locked with mlock.")
    kernel = _detail(
        "vedette.memory.kernel.usage",
        "By",
        "RAM the kernel needs for itself, apart from the slab.",
        ["vedette.memory.kernel.use"],
    )
    committed = _detail(
        "vedette.memory.commit.usage",
        "By",
        "Memory promised to processes, whether they have touched it or not.",
    )
    commit_limit = _detail(
        "vedette.memory.commit.limit",
        "By",
        "Memory that may be promised where the kernel does not overcommit.",
    )
    corrupted = updown(
        "vedette.memory.hardware_corrupted",
        "By",
        "RAM taken out of use because the hardware found it faulty.",
        resource="memory",
        alarm="high",
    )
    swap_cached = _detail(
        "vedette.memory.swap_cached",
        "By",
        "Memory that came back from swap and still has its place there; absent without swap.",
    )
    zswap = _detail(
        "vedette.memory.zswap.usage",
        "By",
        "RAM that holds swapped memory compressed; absent until it is used.",
    )
    zswapped = _detail(
        "vedette.memory.zswap.stored",
        "By",
        "Size before compression of the memory in zswap; absent until it is used.",
    )
    huge_limit = _detail(
        "system.memory.linux.hugepages.limit",
        "{page}",
        "Hugepages set aside, surplus ones included; absent where there are none, like its kin.",
    )
    huge_size = _detail("system.memory.linux.hugepages.page_size", "By", "Size of a hugepage.")
    huge_reserved = _detail(
        "system.memory.linux.hugepages.reserved",
        "{page}",
        "Free hugepages already promised to a process.",
    )
    huge_surplus = _detail(
        "system.memory.linux.hugepages.surplus", "{page}", "Hugepages beyond the number configured."
    )
    huge_usage = _detail(
        "system.memory.linux.hugepages.usage", "{page}", "Hugepages in this state.", _HUGE_STATE
    )
    huge_share = gauge(
        "system.memory.linux.hugepages.utilization",
        "1",
        "Share of the hugepages in this state, 0 to 1.",
        _HUGE_STATE,
        resource="memory",
        alarm="never",
        limit=1.0,
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._meminfo = KernelFile("meminfo", one_record=True)
        self._is_zswap_used = False
        self._states = tuple(
            (self.usage.series(state), share.series(state))
            for state, share in (
                ("used", self.used_share),
                ("free", self.utilization),
                ("cached", self.utilization),
                ("buffers", self.utilization),
            )
        )
        amounts: tuple[tuple[bytes, Instrument, tuple[str, ...]], ...] = (
            (b"MemTotal:", self.total, ()),
            (b"MemAvailable:", self.available, ()),
            (b"Dirty:", self.dirty, ()),
            (b"Writeback:", self.writeback, ()),
            (b"Shmem:", self.shared, ()),
            (b"SReclaimable:", self.slab, ("reclaimable",)),
            (b"SUnreclaim:", self.slab, ("unreclaimable",)),
            (b"AnonPages:", self.anonymous, ()),
            (b"AnonHugePages:", self.huge_anonymous, ()),
            (b"Mapped:", self.mapped, ()),
            (b"Active(anon):", self.reclaim_list, ("anon", "active")),
            (b"Inactive(anon):", self.reclaim_list, ("anon", "inactive")),
            (b"Active(file):", self.reclaim_list, ("file", "active")),
            (b"Inactive(file):", self.reclaim_list, ("file", "inactive")),
            (b"Unevictable:", self.unevictable, ()),
            (b"Mlocked:", self.locked, ()),
            (b"KernelStack:", self.kernel, ("stack",)),
            (b"PageTables:", self.kernel, ("page_tables",)),
            (b"VmallocUsed:", self.kernel, ("vmalloc",)),
            (b"Percpu:", self.kernel, ("percpu",)),
            (b"Committed_AS:", self.committed, ()),
            (b"CommitLimit:", self.commit_limit, ()),
            (b"HardwareCorrupted:", self.corrupted, ()),
        )
        self._amounts = [(key, one.series(*values)) for key, one, values in amounts]
        self._present: list[tuple[bytes, Series]] = []
        self._keys: tuple[bytes, ...] = ()
        keys = (*_PARTS, *(key for key, _ in self._amounts))
        # An amount of more bytes than 64 bits can say is a difference that fell below zero: some
        # kernels give such a commit limit where hugepages take most of the RAM.
        self._numbers = KeyedNumbers(keys, below=WIDEST // KIB)

    def probe(self) -> None:
        self._meminfo.read(self.host.proc)

    def collect(self) -> list[Sample]:
        found = self._numbers.read(self._meminfo.read(self.host.proc))
        total = found.get(b"MemTotal:")
        if not total:
            raise Unavailable(f"{self.host.proc}/meminfo does not say how much RAM there is")
        samples: list[Sample] = []
        for (usage, share), amount in zip(self._states, states(found, total), strict=False):
            samples += Sample(usage, amount * KIB), Sample(share, amount / total)
        if self._numbers.keys is not self._keys:
            self._keys = self._numbers.keys
            self._present = [row for row in self._amounts if row[0] in found]
        samples += [Sample(series, found[key] * KIB) for key, series in self._present]
        if found.get(b"SwapTotal:"):
            samples += self._swap(found)
        if found.get(b"HugePages_Total:"):
            samples += self._hugepages(found)
        return samples

    def close(self) -> None:
        self._meminfo.close()

    def _swap(self, found: Mapping[bytes, int]) -> Iterator[Sample]:
        if b"SwapCached:" in found:
            yield self.swap_cached(found[b"SwapCached:"] * KIB)
        compressed, stored = found.get(b"Zswap:"), found.get(b"Zswapped:")
        if compressed is None or stored is None:
            return
        self._is_zswap_used = self._is_zswap_used or stored > 0
        if self._is_zswap_used:
            yield self.zswap(compressed * KIB)
            yield self.zswapped(stored * KIB)

    def _hugepages(self, found: Mapping[bytes, int]) -> Iterator[Sample]:
        total, free = found[b"HugePages_Total:"], found.get(b"HugePages_Free:", -1)
        yield self.huge_limit(total)
        if 0 <= free <= total:
            for state, pages in (("used", total - free), ("free", free)):
                yield self.huge_usage(pages, state)
                yield self.huge_share(pages / total, state)
        if b"HugePages_Rsvd:" in found:
            yield self.huge_reserved(found[b"HugePages_Rsvd:"])
        if b"HugePages_Surp:" in found:
            yield self.huge_surplus(found[b"HugePages_Surp:"])
        if b"Hugepagesize:" in found:
            yield self.huge_size(found[b"Hugepagesize:"] * KIB)


def states(found: Mapping[bytes, int], total: int) -> tuple[int, ...]:
    """Return KiB used, free, cached and in buffers; empty when one of the parts is missing."""
    free = found.get(b"MemFree:")
    buffers = found.get(b"Buffers:")
    pages = found.get(b"Cached:")
    if free is None or buffers is None or pages is None:
        return ()
    cached = max(0, pages + found.get(b"SReclaimable:", 0) - found.get(b"Shmem:", 0))
    used = total - free - buffers - cached
    if used < 0 or free > total:
        return ()
    return used, free, cached, buffers


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Memory]
