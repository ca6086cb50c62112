"""Collector ``infiniband``: traffic, errors and state of each port of InfiniBand and RoCE cards.

From /sys/class/infiniband. The driver asks the card for each counter, so this has a thread of its
own, on hosts with such a card only. Its traffic passes the kernel by and shows nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, gauge, hookimpl
from vedette_plugins._attributes import attribute, names, number

#: Ports read at most, and readings after which they are looked for again.
PORTS_MAX = 32
LIST_AGE = 30
#: Data is counted in words of four bytes, whatever the number of lanes.
WORD = 4
_PORT = ["system.device", "vedette.infiniband.port"]
_DIRECTED = [*_PORT, "network.io.direction"]
#: Files of the errors that are counted, and what they are called here.
ERRORS = {
    "port_rcv_errors": "receive",
    "port_rcv_remote_physical_errors": "remote_physical",
    "port_xmit_discards": "transmit_discard",
    "symbol_error": "symbol",
    "link_error_recovery": "link_recovery",
    "local_link_integrity_errors": "link_integrity",
    "excessive_buffer_overrun_errors": "buffer_overrun",
}


class Infiniband(Collector):
    """Traffic, errors and state of each port."""

    name = "infiniband"
    interval_s = 10.0
    may_block = "seldom"
    source = "/sys/class/infiniband/DEVICE/ports/PORT/counters"

    up = gauge(
        "vedette.infiniband.up",
        "1",
        "Whether the port is active, 1 or 0; ports that never were are left out.",
        _PORT,
        resource="network",
        alarm="low",
        source="/sys/class/infiniband/DEVICE/ports/PORT/state",
    )
    rate = gauge(
        "vedette.infiniband.rate",
        "By/s",
        "What the port can carry in each direction.",
        _PORT,
        resource="network",
        alarm="never",
        source="/sys/class/infiniband/DEVICE/ports/PORT/rate",
    )
    io = counter(
        "vedette.infiniband.io",
        "By",
        "Bytes received or sent.",
        _DIRECTED,
        resource="network",
        alarm="high",
    )
    packets = counter(
        "vedette.infiniband.packets",
        "{packet}",
        "Packets received or sent.",
        _DIRECTED,
        resource="network",
        alarm="never",
    )
    errors = counter(
        "vedette.infiniband.errors",
        "{error}",
        "Faults of the line, and packets damaged or thrown away.",
        [*_PORT, "error.type"],
        resource="network",
        alarm="high",
    )
    downed = counter(
        "vedette.infiniband.link_downed",
        "{change}",
        "Times the line was lost and could not be recovered.",
        _PORT,
        resource="network",
        alarm="high",
    )
    wait = counter(
        "vedette.infiniband.transmit_wait",
        "{tick}",
        "Ticks of the port's clock in which it had data to send and might not.",
        _PORT,
        resource="network",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._ports: list[tuple[str, str]] = []
        self._age = 0
        self._was_up: set[tuple[str, str]] = set()

    def probe(self) -> None:
        self._list()
        if not self._ports:
            raise Unavailable("no InfiniBand or RoCE card")

    def collect(self) -> Iterator[Sample]:
        self._age -= 1
        if self._age < 0:
            self._list()
        for port in self._ports:
            folder = f"{self.host.sys}/class/infiniband/{port[0]}/ports/{port[1]}"
            state = attribute(f"{folder}/state")
            if not state:
                continue
            is_up = state.startswith(b"4:")
            if is_up:
                self._was_up.add(port)
            if port not in self._was_up:
                continue
            yield self.up(int(is_up), *port)
            rate = octets_per_second(attribute(f"{folder}/rate") or b"")
            if rate is not None:
                yield self.rate(rate, *port)
            yield from self._counters(f"{folder}/counters", port)

    def _counters(self, folder: str, port: tuple[str, str]) -> Iterator[Sample]:
        for direction, mark in (("receive", "rcv"), ("transmit", "xmit")):
            words = number(f"{folder}/port_{mark}_data")
            if words is not None:
                yield self.io(words * WORD, *port, direction)
            packets = number(f"{folder}/port_{mark}_packets")
            if packets is not None:
                yield self.packets(packets, *port, direction)
        for file, kind in ERRORS.items():
            count = number(f"{folder}/{file}")
            if count is not None:
                yield self.errors(count, *port, kind)
        for file, instrument in (("link_downed", self.downed), ("port_xmit_wait", self.wait)):
            count = number(f"{folder}/{file}")
            if count is not None:
                yield instrument(count, *port)

    def _list(self) -> None:
        self._age = LIST_AGE
        root = f"{self.host.sys}/class/infiniband"
        ports = [
            (device, port) for device in names(root) for port in names(f"{root}/{device}/ports")
        ]
        self._ports = [one for one in ports if "".join(one).isprintable()][:PORTS_MAX]
        self._was_up.intersection_update(self._ports)


def octets_per_second(text: bytes) -> float | None:
    """Return the speed in a text like ``100 Gb/sec (4X EDR)``; None when it is none."""
    amount, _, unit = text.partition(b" ")
    try:
        gigabits = float(amount)
    except ValueError:
        return None
    # Faster than the fastest line is garbage, and so is what is not a number at all.
    if not unit.startswith(b"Gb/sec") or not 0 < gigabits < 1e6:
        return None
    return gigabits * 1e9 / 8


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Infiniband]
