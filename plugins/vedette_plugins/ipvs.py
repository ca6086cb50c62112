"""Collector ``ipvs``: what the kernel's load balancer handles, added up over its services.

Totals from /proc/net/ip_vs_stats; services, backends and their connections from /proc/net/ip_vs,
which has a line for each and may be thousands of lines long: so this has a thread of its own, on
hosts that balance only.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, hookimpl, updown
from vedette_plugins._netfiles import NetFile
from vedette_plugins._procfs import WIDEST, numbers

_TOTALS = "/proc/net/ip_vs_stats"


class Ipvs(Collector):
    """Connections and traffic through the load balancer."""

    name = "ipvs"
    interval_s = 10.0
    may_block = "seldom"
    source = "/proc/net/ip_vs"

    connections = counter(
        "vedette.ipvs.connections",
        "{connection}",
        "Connections that were balanced.",
        resource="network",
        alarm="never",
        source=_TOTALS,
    )
    packets = counter(
        "vedette.ipvs.packets",
        "{packet}",
        "Packets of balanced connections.",
        ["network.io.direction"],
        resource="network",
        alarm="never",
        source=_TOTALS,
    )
    io = counter(
        "vedette.ipvs.io",
        "By",
        "Bytes of balanced connections.",
        ["network.io.direction"],
        resource="network",
        alarm="never",
        source=_TOTALS,
    )
    services = updown(
        "vedette.ipvs.services",
        "{service}",
        "Addresses that are balanced.",
        resource="network",
        alarm="never",
    )
    backends = updown(
        "vedette.ipvs.backends",
        "{backend}",
        "Backends of all services.",
        resource="network",
        alarm="never",
    )
    active = updown(
        "vedette.ipvs.active_connections",
        "{connection}",
        "Established connections to all backends.",
        resource="network",
        alarm="never",
    )
    inactive = updown(
        "vedette.ipvs.inactive_connections",
        "{connection}",
        "Connections to all backends in any other state.",
        resource="network",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._stats = NetFile("ip_vs_stats", one_record=True)
        self._table = NetFile("ip_vs")

    def probe(self) -> None:
        try:
            table = self._table.read(self.host)
        except Unavailable:
            raise Unavailable("the kernel's load balancer (IPVS) is not loaded") from None
        if b"->" not in table.partition(b"Weight")[2]:
            raise Unavailable("no service is balanced")

    def collect(self) -> Iterator[Sample]:
        services, backends, active, inactive = balanced(self._table.read(self.host))
        yield self.services(services)
        yield self.backends(backends)
        yield self.active(active)
        yield self.inactive(inactive)
        sums = totals(self._stats.read_if_there(self.host))
        if sums is not None:
            connections, packets_in, packets_out, octets_in, octets_out = sums
            yield self.connections(connections)
            yield self.packets(packets_in, "receive")
            yield self.packets(packets_out, "transmit")
            yield self.io(octets_in, "receive")
            yield self.io(octets_out, "transmit")

    def close(self) -> None:
        self._table.close()
        self._stats.close()


def balanced(text: bytes) -> tuple[int, int, int, int]:
    """Return how many services, backends, active and inactive connections the table has."""
    services = backends = active = inactive = 0
    # Two lines of heading and one that names the columns.
    for line in text.split(b"\n")[3:]:
        if line.startswith(b"  ->"):
            counts = numbers(line.split()[-2:])
            if counts is not None and len(counts) == 2:
                backends += 1
                active += counts[0]
                inactive += counts[1]
        elif line[:1].isalpha():
            services += 1
    return services, backends, active, inactive


def totals(text: bytes) -> list[int] | None:
    """Return connections, packets in and out, bytes in and out; None when they are garbled."""
    fields = text.split(b"\n", 3)[2:3]
    try:
        values = [int(field, 16) for field in fields[0].split()] if fields else []
    except ValueError:
        return None
    return values if len(values) == 5 and 0 <= min(values) <= max(values) < WIDEST else None


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Ipvs]
