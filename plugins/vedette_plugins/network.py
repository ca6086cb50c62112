"""Collector ``network``: bytes, packets, errors and drops per interface, from /proc/net/dev.

The inner ends of containers and virtual machines repeat what a real interface carries and come and
go, so they are left out by default; so is an interface that never carried a packet. Multicast,
collisions and the kinds of error begin when there is one: on most cards there never is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, hookimpl
from vedette_plugins._netfiles import INNER, NetFile
from vedette_plugins._procfs import Choice, numbers, printable

_NAMED = ["network.interface.name"]
_DIRECTED = ["network.interface.name", "network.io.direction"]
DIRECTIONS = ("receive", "transmit")


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which interfaces are read."""

    include: Annotated[
        tuple[str, ...], Meta(description="Globs of interfaces to read whatever `exclude` says.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of interfaces that are not read.")
    ] = INNER


class Traffic(NamedTuple):
    """The counters of one interface in one direction."""

    octets: int
    packets: int
    errors: int
    dropped: int


class Network(Collector):
    """Traffic of each network interface."""

    name = "network"
    Config = NetworkConfig
    interval_s = 1.0
    may_block = False
    source = "/proc/net/dev"

    io = counter(
        "system.network.io",
        "By",
        "Bytes received or sent.",
        _DIRECTED,
        resource="network",
        alarm="high",
    )
    # The same metric: what the loopback sends is what it receives.
    repeated = counter(
        "system.network.io",
        "By",
        "Bytes received or sent.",
        _DIRECTED,
        resource="network",
        alarm="never",
    )
    packets = counter(
        "system.network.packet.count",
        "{packet}",
        "Packets received or sent.",
        _DIRECTED,
        resource="network",
        alarm="never",
    )
    errors = counter(
        "system.network.errors",
        "{error}",
        "Packets that arrived damaged or could not be sent.",
        _DIRECTED,
        resource="network",
        alarm="high",
    )
    dropped = counter(
        "system.network.packet.dropped",
        "{packet}",
        "Packets dropped although nothing was wrong with them.",
        _DIRECTED,
        resource="network",
        alarm="high",
    )

    multicast = counter(
        "vedette.network.multicast",
        "{packet}",
        "Multicast packets received.",
        _NAMED,
        resource="network",
        alarm="never",
    )
    fifo_errors = counter(
        "vedette.network.fifo_errors",
        "{error}",
        "Packets lost because the card's queue ran over or dry.",
        _DIRECTED,
        resource="network",
        alarm="never",
    )
    frame_errors = counter(
        "vedette.network.frame_errors",
        "{error}",
        "Packets received with a wrong length, checksum or alignment.",
        _NAMED,
        resource="network",
        alarm="never",
    )
    carrier_errors = counter(
        "vedette.network.carrier_errors",
        "{error}",
        "Packets not sent because the line was lost or the sending was aborted.",
        _NAMED,
        resource="network",
        alarm="never",
    )
    collisions = counter(
        "vedette.network.collisions",
        "{collision}",
        "Collisions while sending.",
        _NAMED,
        resource="network",
        alarm="never",
    )

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self._choice = Choice(config.include, config.exclude)
        self._dev = NetFile("dev")
        #: Which counters that seldom count have begun, by interface in use.
        self._used: dict[str, set[int]] = {}
        self._rare = (
            (4, self.fifo_errors, ("receive",)),
            (5, self.frame_errors, ()),
            (7, self.multicast, ()),
            (12, self.fifo_errors, ("transmit",)),
            (13, self.collisions, ()),
            (14, self.carrier_errors, ()),
        )

    def probe(self) -> None:
        self._read()

    def collect(self) -> Iterator[Sample]:
        present: dict[str, set[int]] = {}
        for interface, values in interfaces(self._read()):
            if self._choice.verdict(interface) is False or interface in present:
                continue
            traffic = Traffic(*values[0:4]), Traffic(*values[8:12])
            begun = self._used.get(interface)
            # A driver that was loaded anew starts at zero: what was used once stays in.
            if begun is None and not any(one.packets for one in traffic):
                continue
            present[interface] = begun = set() if begun is None else begun
            for direction, counts in zip(DIRECTIONS, traffic, strict=True):
                repeats = interface == "lo" and direction == "transmit"
                octets = self.repeated if repeats else self.io
                yield octets(counts.octets, interface, direction)
                yield self.packets(counts.packets, interface, direction)
                yield self.errors(counts.errors, interface, direction)
                yield self.dropped(counts.dropped, interface, direction)
            if begun or any(values[4:8]) or any(values[12:15]):
                yield from self._detail(interface, values, begun)
        self._used = present

    def close(self) -> None:
        self._dev.close()

    def _detail(self, interface: str, values: Sequence[int], begun: set[int]) -> Iterator[Sample]:
        for at, instrument, direction in self._rare:
            if values[at] or at in begun:
                begun.add(at)
                yield instrument(values[at], interface, *direction)

    def _read(self) -> bytes:
        text = self._dev.read(self.host)
        if b"|" not in text:
            raise Unavailable(f"{self.host.proc}/net/dev is no table of interfaces")
        return text


def interfaces(text: bytes) -> Iterator[tuple[str, list[int]]]:
    """Yield the name and the 16 numbers of each interface in the text of /proc/net/dev."""
    for line in text.split(b"\n"):
        before, _, rest = line.rpartition(b":")
        name = before.strip()
        values = numbers(rest.split(None, 16)[:16]) if name else None
        if values is None or len(values) < 12:
            continue
        yield printable(name), values + [0] * (16 - len(values))


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Network]
