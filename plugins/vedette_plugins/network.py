"""Collector ``network``: bytes, packets, errors and drops per interface, from /proc/net/dev.

The inner ends of containers and virtual machines repeat what a real interface carries and come and
go, so they are left out by default; so is an interface that never carried a packet. Multicast,
collisions and the kinds of error begin when there is one: on most cards there never is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Series, Unavailable, counter, hookimpl
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


class Interface:
    """One interface in use: its series, looked up once, and which seldom counters have begun."""

    __slots__ = ("begun", "fixed")

    def __init__(self, network: Network, name: str) -> None:
        self.fixed: list[Series] = []
        for direction in DIRECTIONS:
            repeats = name == "lo" and direction == "transmit"
            octets = network.repeated if repeats else network.io
            counters = (octets, network.packets, network.errors, network.dropped)
            self.fixed += [one.series(name, direction) for one in counters]
        self.begun: set[int] = set()


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
        self._used: dict[str, Interface] = {}
        #: What the lines of the previous reading gave, and whose they were.
        self._lines: dict[bytes, tuple[str, list[Sample]]] = {}
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

    def collect(self) -> list[Sample]:
        before, self._lines = self._lines, {}
        present: dict[str, Interface] = {}
        samples: list[Sample] = []
        for line in self._read().split(b"\n"):
            told = before.get(line) or self._tell(line, present)
            if told is None or told[0] in present:
                continue
            name, found = told
            present[name] = self._used[name]
            self._lines[line] = told
            samples += found
        self._used = present
        return samples

    def close(self) -> None:
        self._dev.close()

    def _tell(
        self, line: bytes, present: Mapping[str, Interface]
    ) -> tuple[str, list[Sample]] | None:
        """Return the name of an interface in use, and its samples; None for one that was told."""
        values = counts(line)
        if values is None:
            return None
        name = printable(line.rpartition(b":")[0].strip())
        if name in present or self._choice.verdict(name) is False:
            return None
        used = self._used.get(name)
        # A driver that was loaded anew starts at zero: what was used once stays in.
        if used is None:
            if not (values[1] or values[9]):
                return None
            used = self._used[name] = Interface(self, name)
        samples = list(map(Sample, used.fixed, (*values[0:4], *values[8:12])))
        if used.begun or any(values[4:8]) or any(values[12:15]):
            samples += self._detail(used, name, values)
        return name, samples

    def _detail(self, used: Interface, name: str, values: Sequence[int]) -> Iterator[Sample]:
        for at, instrument, direction in self._rare:
            if values[at] or at in used.begun:
                used.begun.add(at)
                yield instrument(values[at], name, *direction)

    def _read(self) -> bytes:
        text = self._dev.read(self.host)
        if b"|" not in text:
            raise Unavailable(f"{self.host.proc}/net/dev is no table of interfaces")
        return text


def counts(line: bytes) -> list[int] | None:
    """Return the 16 numbers of an interface's line in /proc/net/dev; None for any other line."""
    before, _, rest = line.rpartition(b":")
    values = numbers(rest.split(None, 16)[:16]) if before.strip() else None
    if values is None or len(values) < 12:
        return None
    return values + [0] * (16 - len(values))


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Network]
