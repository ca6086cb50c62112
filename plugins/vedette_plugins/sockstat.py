"""Collector ``sockstat``: the sockets in use and the memory they take, from two tiny kernel files.

The kernel counts these itself, so it costs the same with ten sockets and with a million; the states
of connections are the collector ``sockets``'. TCP's memory, its orphans and its allocated sockets
are of the whole kernel, the rest of the host's own network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from vedette.api import (
    Collector,
    NoConfig,
    Sample,
    Series,
    Unavailable,
    gauge,
    hookimpl,
    updown,
)
from vedette_plugins._netfiles import PATIENCE, Columns, NetFile
from vedette_plugins._procfs import KernelFile, numbers

PAGE = os.sysconf("SC_PAGE_SIZE")
_TYPED = ["network.type"]


class Sockstat(Collector):
    """Sockets in use, and the memory of TCP and UDP."""

    name = "sockstat"
    interval_s = 1.0
    may_block = False
    source = "/proc/net/sockstat, /proc/net/sockstat6"

    used = updown(
        "vedette.sockets.used",
        "{socket}",
        "Sockets of all kinds.",
        resource="network",
        alarm="never",
    )
    in_use = updown(
        "vedette.sockets.in_use",
        "{socket}",
        "Sockets of this transport in use.",
        ["network.type", "network.transport"],
        resource="network",
        alarm="never",
    )
    orphans = updown(
        "vedette.tcp.orphans",
        "{socket}",
        "TCP sockets that no program holds any more.",
        resource="network",
        alarm="high",
    )
    time_wait = updown(
        "vedette.tcp.time_wait",
        "{socket}",
        "Closed TCP connections remembered until late packets are gone.",
        resource="network",
        alarm="never",
    )
    allocated = updown(
        "vedette.tcp.allocated",
        "{socket}",
        "TCP sockets in any state, unconnected ones included.",
        resource="network",
        alarm="never",
    )
    tcp_memory = updown(
        "vedette.tcp.memory.usage",
        "By",
        "Memory of the buffers of all TCP sockets.",
        resource="network",
        alarm="never",
    )
    tcp_memory_limit = updown(
        "vedette.tcp.memory.limit",
        "By",
        "Memory that the buffers of all TCP sockets may take at most.",
        resource="network",
        alarm="never",
        source="/proc/sys/net/ipv4/tcp_mem",
    )
    tcp_memory_utilization = gauge(
        "vedette.tcp.memory.utilization",
        "1",
        "Share of the memory that TCP's buffers may take which they do take, 0 to 1.",
        resource="network",
        alarm="high",
        limit=1.0,
        source="/proc/net/sockstat, /proc/sys/net/ipv4/tcp_mem",
    )
    udp_memory = updown(
        "vedette.udp.memory.usage",
        "By",
        "Memory of the buffers of all UDP sockets.",
        resource="network",
        alarm="never",
    )
    fragments = updown(
        "vedette.ip.reassembly.pending",
        "{packet}",
        "IP packets of which only some fragments have arrived.",
        _TYPED,
        resource="network",
        alarm="never",
    )
    fragment_memory = updown(
        "vedette.ip.reassembly.memory",
        "By",
        "Memory of fragments that wait for others.",
        _TYPED,
        resource="network",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._sockstat = NetFile("sockstat", one_record=True)
        self._sockstat6 = NetFile("sockstat6", one_record=True)
        self._tcp_mem = KernelFile("sys/net/ipv4/tcp_mem", one_record=True)
        self._limit = 0
        self._limit_age = PATIENCE
        #: The text read last, what it gave, and where TCP's memory is in that.
        self._text = b""
        self._samples: list[Sample] = []
        self._memory_at = -1
        self._tables = {table: Columns(wanted) for table, wanted in self._wanted().items()}

    def probe(self) -> None:
        if b"inuse" not in self._sockstat.read(self.host):
            raise Unavailable(f"{self.host.proc}/net/sockstat has no sockets in use")

    def collect(self) -> list[Sample]:
        text = self._sockstat.read(self.host) + self._sockstat6.read_if_there(self.host)
        if text != self._text:
            self._text, self._samples = text, line_samples(text, self._tables)
            places = [
                at
                for at, one in enumerate(self._samples)
                if one.series.instrument is self.tcp_memory
            ]
            self._memory_at = places[0] if places else -1
        if self._memory_at < 0:
            return self._samples
        behind = self._memory_at + 1
        against = self._against_limit(self._samples[self._memory_at].value)
        return [*self._samples[:behind], *against, *self._samples[behind:]]

    def close(self) -> None:
        for file in (self._sockstat, self._sockstat6, self._tcp_mem):
            file.close()

    def _against_limit(self, memory: float) -> list[Sample]:
        self._limit_age += 1
        if self._limit_age > PATIENCE:
            self._limit_age = 0
            self._limit = self._read_limit()
        if self._limit <= 0:
            return []
        share = min(1.0, memory / self._limit)
        return [self.tcp_memory_limit(self._limit), self.tcp_memory_utilization(share)]

    def _read_limit(self) -> int:
        """Return the bytes TCP's buffers may take; 0 where the kernel does not tell."""
        try:
            values = numbers(self._tcp_mem.read(self.host.proc).split())
        except (Unavailable, OSError):
            return 0
        # Below the first of the three all is well, from the second on TCP saves memory.
        return values[2] * PAGE if values is not None and len(values) == 3 else 0

    def _wanted(self) -> dict[bytes, dict[bytes, tuple[Series, float]]]:
        use, parts, memory = self.in_use.series, self.fragments.series, self.fragment_memory.series
        return {
            b"sockets:": {b"used": (self.used.series(), 1)},
            b"TCP:": {
                b"inuse": (use("ipv4", "tcp"), 1),
                b"orphan": (self.orphans.series(), 1),
                b"tw": (self.time_wait.series(), 1),
                b"alloc": (self.allocated.series(), 1),
                b"mem": (self.tcp_memory.series(), PAGE),
            },
            b"UDP:": {
                b"inuse": (use("ipv4", "udp"), 1),
                b"mem": (self.udp_memory.series(), PAGE),
            },
            b"RAW:": {b"inuse": (use("ipv4", "raw"), 1)},
            b"FRAG:": {b"inuse": (parts("ipv4"), 1), b"memory": (memory("ipv4"), 1)},
            b"TCP6:": {b"inuse": (use("ipv6", "tcp"), 1)},
            b"UDP6:": {b"inuse": (use("ipv6", "udp"), 1)},
            b"RAW6:": {b"inuse": (use("ipv6", "raw"), 1)},
            b"FRAG6:": {b"inuse": (parts("ipv6"), 1), b"memory": (memory("ipv6"), 1)},
        }


def line_samples(text: bytes, tables: Mapping[bytes, Columns]) -> list[Sample]:
    """Return the wanted samples of lines that are a table's name, then a name and a number each."""
    samples: list[Sample] = []
    left = dict(tables)
    for line in text.split(b"\n"):
        fields = line.split()
        if fields and fields[0] in left:
            samples += left.pop(fields[0]).samples(fields[1::2], fields[2::2])
    return samples


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Sockstat]
