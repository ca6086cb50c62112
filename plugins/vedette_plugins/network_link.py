"""Collector ``network_link``: whether each interface's line is up, how fast, and how often it went.

From /sys/class/net. The kernel answers for ``speed`` only under its one lock for network
configuration, which a card that resets itself may hold for seconds: so this collector has a thread
of its own, and asks for the speed of a line only when it is new, went up or down, or was not asked
for five minutes. The other files take no lock; they are kept open, which costs a sixth of opening
them anew (1.5 instead of 9 µs each), and opened again with every speed: two interfaces may have
swapped their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, gauge, hookimpl
from vedette_plugins._attributes import names, number
from vedette_plugins._netfiles import INNER
from vedette_plugins._procfs import Choice, KernelFile, numbers

_NAMED = ["network.interface.name"]
#: What the kernel says of a line that carries traffic: ``unknown`` is a running interface whose
#: driver does not tell (Documentation/networking/operstates).
UP = (b"up", b"unknown")
#: The kernel gives the speed in Mbit/s.
MEGABIT = 1_000_000 / 8
#: Readings after which a speed, and the size of packets, are asked for again.
SPEED_AGE, MTU_AGE = 30, 5


class NetworkLinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which interfaces are read."""

    include: Annotated[
        tuple[str, ...], Meta(description="Globs of interfaces to read whatever `exclude` says.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of interfaces that are not read.")
    ] = (*INNER, "lo")
    max_interfaces: Annotated[int, Meta(ge=1, description="Interfaces read at most.")] = 64


class Link:
    """What is remembered of one interface, and its files."""

    def __init__(self, base: str, interface: str) -> None:
        self.was_up = False
        self.changes = -1
        self.speed = 0.0
        self.mtu: int | None = None
        self.age = 0
        self._base = base
        self._files = {
            name: KernelFile(f"class/net/{interface}/{name}", one_record=True)
            for name in ("operstate", "carrier_changes", "mtu")
        }

    def text(self, name: str) -> bytes:
        """Return what a file says; empty when it cannot be read."""
        file = self._files[name]
        for _ in range(2):  # a card that was away comes back under its name with other files
            try:
                return file.read(self._base).strip()
            except Unavailable:
                break
            except OSError:
                self.age = 0  # nothing that was known need be true of it
        return b""

    def number(self, name: str) -> int | None:
        """Return the number that a file begins with; None when there is none."""
        values = numbers(self.text(name).split(None, 1)[:1])
        return values[0] if values else None

    def close(self) -> None:
        """Let go of the files; they are opened anew when they are read."""
        for file in self._files.values():
            file.close()


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
            link = self._links.get(interface)
            if link is None:
                link = self._links[interface] = Link(self.host.sys, interface)
            state = link.text("operstate")
            if not state:
                continue
            present[interface] = link
            is_up = state in UP
            link.was_up |= is_up
            if not link.was_up:
                continue
            yield self.up(int(is_up), interface)
            changes = link.number("carrier_changes")
            if changes is not None:
                yield self.changes(changes, interface)
            self._ask_for_speed(link, interface, -1 if changes is None else changes)
            # Just after a speed the files are new, and do not tell that the interface is another.
            if link.age % MTU_AGE == 0 or link.age == SPEED_AGE - 1:
                link.mtu = link.number("mtu")
            if link.mtu is not None:
                yield self.mtu(link.mtu, interface)
            if is_up and link.speed > 0:
                yield self.speed(link.speed, interface)
        for interface in self._links.keys() - present.keys():
            self._links.pop(interface).close()

    def close(self) -> None:
        for link in self._links.values():
            link.close()

    def _chosen(self) -> list[str]:
        wanted = [
            name
            for name in names(f"{self.host.sys}/class/net")
            if name.isprintable() and self._choice.verdict(name) is not False
        ]
        return wanted[: self.config.max_interfaces]

    def _ask_for_speed(self, link: Link, interface: str, changes: int) -> None:
        link.age -= 1
        if link.age < 0 or changes != link.changes:
            link.age, link.changes = SPEED_AGE, changes
            link.close()
            # An error where the line is down, -1 where the driver does not know (virtio, wireless).
            megabits = number(f"{self.host.sys}/class/net/{interface}/speed")
            # 2 ** 32 - 1 is what old kernels write for -1.
            known = megabits is not None and megabits < (1 << 32) - 1
            link.speed = (megabits or 0) * MEGABIT if known else 0.0


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [NetworkLink]
