"""Collector ``network_link``: whether each interface's line is up, how fast, and how often it went.

From /sys/class/net. The kernel answers for ``speed`` only under its one lock for network
configuration, which a card that resets itself may hold for seconds: so this collector has a thread
of its own, and asks for the speed of a line only when it is new, went up or down, or was not asked
for five minutes. The other files take no lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, gauge, hookimpl
from vedette_plugins._attributes import attribute, names, number
from vedette_plugins._netfiles import INNER
from vedette_plugins._procfs import Choice

_NAMED = ["network.interface.name"]
#: What the kernel says of a line that carries traffic: ``unknown`` is a running interface whose
#: driver does not tell (Documentation/networking/operstates).
UP = (b"up", b"unknown")
#: The kernel gives the speed in Mbit/s.
MEGABIT = 1_000_000 / 8
#: Readings after which a speed is asked for again.
SPEED_AGE = 30


class NetworkLinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which interfaces are read."""

    include: Annotated[
        tuple[str, ...], Meta(description="Globs of interfaces to read whatever `exclude` says.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of interfaces that are not read.")
    ] = (*INNER, "lo")
    max_interfaces: Annotated[int, Meta(ge=1, description="Interfaces read at most.")] = 64


class Link(msgspec.Struct):
    """What is remembered of one interface."""

    was_up: bool = False
    changes: int = -1
    speed: float = 0.0
    age: int = 0


class NetworkLink(Collector):
    """State and speed of each network interface."""

    name = "network_link"
    Config = NetworkLinkConfig
    interval_s = 10.0
    may_block = "seldom"
    source = "/sys/class/net"

    up = gauge(
        "vedette.network.link.up",
        "1",
        "Whether the line can carry traffic, 1 or 0; interfaces that never were up are left out.",
        _NAMED,
        resource="network",
        alarm="low",
        source="/sys/class/net/NAME/operstate",
    )
    changes = counter(
        "vedette.network.link.carrier_changes",
        "{change}",
        "Times the line was lost or came back.",
        _NAMED,
        resource="network",
        alarm="high",
        source="/sys/class/net/NAME/carrier_changes",
    )
    speed = gauge(
        "vedette.network.link.speed",
        "By/s",
        "What the line can carry in each direction.",
        _NAMED,
        resource="network",
        alarm="never",
        source="/sys/class/net/NAME/speed",
    )
    mtu = gauge(
        "vedette.network.link.mtu",
        "By",
        "Largest packet the interface sends in one piece.",
        _NAMED,
        resource="network",
        alarm="never",
        source="/sys/class/net/NAME/mtu",
    )

    def __init__(self, config: NetworkLinkConfig) -> None:
        super().__init__(config)
        self._choice = Choice(config.include, config.exclude)
        self._links: dict[str, Link] = {}

    def probe(self) -> None:
        if not self._chosen():
            raise Unavailable(f"no interface in {self.host.sys}/class/net (see include, exclude)")

    def collect(self) -> Iterator[Sample]:
        present: dict[str, Link] = {}
        for interface in self._chosen():
            folder = f"{self.host.sys}/class/net/{interface}"
            state = attribute(f"{folder}/operstate")
            if not state:
                continue
            present[interface] = link = self._links.get(interface) or Link()
            is_up = state in UP
            link.was_up |= is_up
            if not link.was_up:
                continue
            yield self.up(int(is_up), interface)
            changes = number(f"{folder}/carrier_changes")
            if changes is not None:
                yield self.changes(changes, interface)
            mtu = number(f"{folder}/mtu")
            if mtu is not None:
                yield self.mtu(mtu, interface)
            self._ask_for_speed(link, folder, -1 if changes is None else changes)
            if is_up and link.speed > 0:
                yield self.speed(link.speed, interface)
        self._links = present

    def _chosen(self) -> list[str]:
        wanted = [
            name
            for name in names(f"{self.host.sys}/class/net")
            if name.isprintable() and self._choice.verdict(name) is not False
        ]
        return wanted[: self.config.max_interfaces]

    def _ask_for_speed(self, link: Link, folder: str, changes: int) -> None:
        link.age -= 1
        if link.age < 0 or changes != link.changes:
            link.age, link.changes = SPEED_AGE, changes
            # An error where the line is down, -1 where the driver does not know (virtio, wireless).
            megabits = number(f"{folder}/speed")
            # 2 ** 32 - 1 is what old kernels write for -1.
            known = megabits is not None and megabits < (1 << 32) - 1
            link.speed = (megabits or 0) * MEGABIT if known else 0.0


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [NetworkLink]
