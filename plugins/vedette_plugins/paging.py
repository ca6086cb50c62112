"""Collector ``paging``: swap space, swapping, page faults and kills for want of memory.

``system.paging.operations`` counts pages that went to or came from swap, which is what hurts;
``pgpgin`` and ``pgpgout`` of the kernel are file I/O in KiB and are the disk collector's business.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, counter, gauge, hookimpl, updown
from vedette_plugins._procfs import KernelFile, number_after

_STATE = ["system.paging.state"]
KIB = 1024


class Paging(Collector):
    """Swap in use, pages swapped in and out, page faults, out-of-memory kills."""

    name = "paging"
    interval_s = 1.0
    may_block = False

    usage = updown(
        "system.paging.usage",
        "By",
        "Swap space in this state; absent on a host without swap.",
        _STATE,
        resource="memory",
        alarm="never",
    )
    utilization = gauge(
        "system.paging.utilization",
        "1",
        "Share of the swap space in this state, 0 to 1; absent on a host without swap.",
        _STATE,
        resource="memory",
        alarm="never",
        limit=1.0,
    )
    operations = counter(
        "system.paging.operations",
        "{operation}",
        "Pages that came from swap (in) or went to it (out).",
        ["system.paging.direction", "system.paging.fault.type"],
        resource="memory",
        alarm="high",
    )
    faults = counter(
        "system.paging.faults",
        "{fault}",
        "Page faults; a major one had to wait for a disk.",
        ["system.paging.fault.type"],
        resource="memory",
        alarm="never",
    )
    kills = counter(
        "vedette.memory.oom_kills",
        "{kill}",
        "Processes killed by the kernel because memory had run out.",
        resource="memory",
        alarm="high",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._meminfo = KernelFile("meminfo", one_record=True)
        self._vmstat = KernelFile("vmstat")

    def probe(self) -> None:
        self._vmstat.read(self.host.proc)

    def collect(self) -> Iterator[Sample]:
        yield from self._swap(b"\n" + self._meminfo.read(self.host.proc))
        text = b"\n" + self._vmstat.read(self.host.proc)
        for direction, key in (("in", b"\npswpin "), ("out", b"\npswpout ")):
            pages = number_after(text, key)
            if pages is not None:
                yield self.operations(pages, direction, "major")
        major = number_after(text, b"\npgmajfault ")
        every = number_after(text, b"\npgfault ")
        if major is not None:
            yield self.faults(major, "major")
            if every is not None and every >= major:
                yield self.faults(every - major, "minor")
        kills = number_after(text, b"\noom_kill ")
        if kills is not None:
            yield self.kills(kills)

    def close(self) -> None:
        self._meminfo.close()
        self._vmstat.close()

    def _swap(self, text: bytes) -> Iterator[Sample]:
        total = number_after(text, b"\nSwapTotal:")
        free = number_after(text, b"\nSwapFree:")
        if not total or free is None or free > total:
            return
        for state, amount in (("used", total - free), ("free", free)):
            yield self.usage(amount * KIB, state)
            yield self.utilization(amount / total, state)


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Paging]
