"""Collector ``conntrack``: how full the table of tracked connections is, and what it had to refuse.

When the table is full the kernel drops new connections, which looks like a network that fails now
and then. Count and limit are those of the network the agent lives in.
"""

from __future__ import annotations

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._netfiles import NetFile, added_up
from vedette_plugins._procfs import KernelFile, numbers

_COUNTERS = "/proc/net/stat/nf_conntrack"


class Conntrack(Collector):
    """Tracked connections against their limit."""

    name = "conntrack"
    interval_s = 10.0
    may_block = False
    source = "/proc/sys/net/netfilter/nf_conntrack_count, /proc/sys/net/netfilter/nf_conntrack_max"

    count = updown(
        "vedette.conntrack.count",
        "{connection}",
        "Connections being tracked.",
        resource="network",
        alarm="never",
    )
    limit = updown(
        "vedette.conntrack.limit",
        "{connection}",
        "Connections that can be tracked at most.",
        resource="network",
        alarm="never",
    )
    utilization = gauge(
        "vedette.conntrack.utilization",
        "1",
        "Share of the table of tracked connections that is taken, 0 to 1.",
        resource="network",
        alarm="high",
        limit=1.0,
    )
    drops = counter(
        "vedette.conntrack.drops",
        "{packet}",
        "Packets dropped because their connection could not be tracked.",
        resource="network",
        alarm="high",
        source=_COUNTERS,
    )
    early_drops = counter(
        "vedette.conntrack.early_drops",
        "{connection}",
        "Tracked connections forgotten early to make room for new ones.",
        resource="network",
        alarm="never",
        source=_COUNTERS,
    )
    insert_failed = counter(
        "vedette.conntrack.insert_failed",
        "{connection}",
        "Connections not tracked, mostly because another packet of theirs came first.",
        resource="network",
        alarm="never",
        source=_COUNTERS,
    )
    invalid = counter(
        "vedette.conntrack.invalid",
        "{packet}",
        "Packets that belong to no connection and could not begin one.",
        resource="network",
        alarm="never",
        source=_COUNTERS,
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._count = KernelFile("sys/net/netfilter/nf_conntrack_count", one_record=True)
        self._max = KernelFile("sys/net/netfilter/nf_conntrack_max", one_record=True)
        self._stat = NetFile("stat/nf_conntrack")
        #: The text of the counters that was read last, and what it gave.
        self._text = b""
        self._sums: list[Sample] = []
        self._totals = {
            b"drop": self.drops,
            b"early_drop": self.early_drops,
            b"insert_failed": self.insert_failed,
            b"invalid": self.invalid,
        }

    def probe(self) -> None:
        if self._number(self._count) is None:
            raise Unavailable("connections are not tracked")

    def collect(self) -> list[Sample]:
        count, limit = self._number(self._count), self._number(self._max)
        if count is None:
            raise Unavailable("connections are not tracked any more")
        samples = [self.count(count)]
        if limit:
            samples += self.limit(limit), self.utilization(min(1.0, count / limit))
        text = self._stat.read_if_there(self.host)
        if text != self._text:
            sums = added_up(text, tuple(self._totals))
            self._sums = [self._totals[name](total) for name, total in sums.items()]
            self._text = text
        return samples + self._sums

    def close(self) -> None:
        for file in (self._count, self._max, self._stat):
            file.close()

    def _number(self, file: KernelFile) -> int | None:
        try:
            values = numbers(file.read(self.host.proc).split(None, 1)[:1])
        except (Unavailable, OSError):
            return None
        return values[0] if values else None


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Conntrack]
