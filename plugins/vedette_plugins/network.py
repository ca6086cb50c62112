"""Collector ``network``: bytes, packets, errors and drops per interface, from /proc/net/dev.

The inner ends of containers and virtual machines repeat what a real interface carries and come and
go, so they are left out by default; so is an interface that never carried a packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, hookimpl
from vedette_plugins._procfs import Choice, KernelFile, numbers, printable

_DIRECTED = ["network.interface.name", "network.io.direction"]
DIRECTIONS = ("receive", "transmit")


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which interfaces are read."""

    include: Annotated[
        tuple[str, ...], Meta(description="Globs of interfaces to read whatever `exclude` says.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of interfaces that are not read.")
    ] = (
        "br-*",
        "cali*",
        "cni*",
        "docker*",
        "flannel*",
        "ifb*",
        "lxc*",
        "veth*",
        "virbr*",
        "vnet*",
    )


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

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self._choice = Choice(config.include, config.exclude)
        self._dev: KernelFile | None = None
        self._used: set[str] = set()

    def probe(self) -> None:
        self._read()

    def collect(self) -> Iterator[Sample]:
        present: set[str] = set()
        for interface, traffic in interfaces(self._read()):
            if self._choice.verdict(interface) is False or interface in present:
                continue
            # A driver that was loaded anew starts at zero: what was used once stays in.
            if interface not in self._used and not any(one.packets for one in traffic):
                continue
            present.add(interface)
            for direction, counts in zip(DIRECTIONS, traffic, strict=True):
                repeats = interface == "lo" and direction == "transmit"
                octets = self.repeated if repeats else self.io
                yield octets(counts.octets, interface, direction)
                yield self.packets(counts.packets, interface, direction)
                yield self.errors(counts.errors, interface, direction)
                yield self.dropped(counts.dropped, interface, direction)
        self._used = present

    def close(self) -> None:
        if self._dev is not None:
            self._dev.close()

    def _read(self) -> bytes:
        if self._dev is None:
            # In a container with the host's /proc, "self" would be the container's interfaces.
            owner = "self" if self.host.root == "/" else "1"
            self._dev = KernelFile(f"{owner}/net/dev")
        text = self._dev.read(self.host.proc)
        if b"|" not in text:
            raise Unavailable(f"{self.host.proc}/{self._dev.name} is no table of interfaces")
        return text


def interfaces(text: bytes) -> Iterator[tuple[str, tuple[Traffic, Traffic]]]:
    """Yield name, received and sent of each interface in the text of /proc/net/dev."""
    for line in text.split(b"\n"):
        before, _, rest = line.rpartition(b":")
        name = before.strip()
        values = numbers(rest.split(None, 16)[:16]) if name else None
        if values is None or len(values) < 12:
            continue
        yield printable(name), (Traffic(*values[0:4]), Traffic(*values[8:12]))


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Network]
