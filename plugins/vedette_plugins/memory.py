"""Collector ``memory``: what the RAM holds, from one read of /proc/meminfo.

The four states add up to the total. ``cached`` is what the kernel can give back (page cache and
reclaimable slab) without shared memory: a full tmpfs cannot be reclaimed and counts as ``used``.
ZFS keeps its cache outside the page cache, so there it is ``used`` too.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, Unavailable, gauge, hookimpl, updown
from vedette_plugins._procfs import KernelFile, number_after

_STATE = ["system.memory.state"]
_SHARE = "Share of the RAM in this state, 0 to 1."
KIB = 1024


class Memory(Collector):
    """RAM by state, available, dirty and under writeback."""

    name = "memory"
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
    total = updown(
        "system.memory.limit", "By", "RAM of the host.", resource="memory", alarm="never"
    )
    available = updown(
        "system.memory.linux.available",
        "By",
        "RAM that new programs could take without swapping, as the kernel estimates it.",
        resource="memory",
        alarm="never",
    )
    dirty = updown(
        "vedette.memory.dirty",
        "By",
        "File data in RAM that waits to be written to disk.",
        resource="memory",
        alarm="never",
    )
    writeback = updown(
        "vedette.memory.writeback",
        "By",
        "File data in RAM that is being written to disk.",
        resource="memory",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._meminfo = KernelFile("meminfo", one_record=True)
        self._single = (
            (self.total, b"\nMemTotal:"),
            (self.available, b"\nMemAvailable:"),
            (self.dirty, b"\nDirty:"),
            (self.writeback, b"\nWriteback:"),
        )

    def probe(self) -> None:
        self._meminfo.read(self.host.proc)

    def collect(self) -> Iterator[Sample]:
        text = b"\n" + self._meminfo.read(self.host.proc)
        total = number_after(text, b"\nMemTotal:")
        if not total:
            raise Unavailable(f"{self.host.proc}/meminfo does not say how much RAM there is")
        for state, amount in states(text, total).items():
            share = self.used_share if state == "used" else self.utilization
            yield self.usage(amount * KIB, state)
            yield share(amount / total, state)
        for instrument, key in self._single:
            value = number_after(text, key)
            if value is not None:
                yield instrument(value * KIB)

    def close(self) -> None:
        self._meminfo.close()


def states(text: bytes, total: int) -> dict[str, int]:
    """Return KiB per state of the RAM; empty when the text lacks one of its parts."""
    free = number_after(text, b"\nMemFree:")
    buffers = number_after(text, b"\nBuffers:")
    pages = number_after(text, b"\nCached:")
    if free is None or buffers is None or pages is None:
        return {}
    slab = number_after(text, b"\nSReclaimable:") or 0
    shared = number_after(text, b"\nShmem:") or 0
    cached = max(0, pages + slab - shared)
    used = total - free - buffers - cached
    if used < 0 or free > total:
        return {}
    return {"used": used, "free": free, "cached": cached, "buffers": buffers}


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Memory]
