"""Collector ``bonding``: how many of the lines behind each bond work, from /proc/net/bonding.

A bond goes on with one line lost, so nothing else notices until the second is lost too.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, Sample, Unavailable, hookimpl, updown
from vedette_plugins._attributes import names
from vedette_plugins._netfiles import net_owner
from vedette_plugins._procfs import KernelFile

#: Bonds read at most.
BONDS_MAX = 64
_NAMED = ["network.interface.name"]


class Bonding(Collector):
    """Lines of each bond, configured and working."""

    name = "bonding"
    interval_s = 10.0
    may_block = False
    source = "/proc/net/bonding"

    slaves = updown(
        "vedette.network.bonding.slaves",
        "{interface}",
        "Interfaces that belong to the bond.",
        _NAMED,
        resource="network",
        alarm="never",
    )
    active = updown(
        "vedette.network.bonding.active",
        "{interface}",
        "Interfaces of the bond whose line is up.",
        _NAMED,
        resource="network",
        alarm="low",
    )

    def probe(self) -> None:
        if not self._bonds():
            raise Unavailable(f"no bond in {self.host.proc}/net/bonding")

    def collect(self) -> Iterator[Sample]:
        for bond in self._bonds():
            file = KernelFile(f"{net_owner(self.host)}/net/bonding/{bond}")
            try:
                slaves, active = lines(file.read(self.host.proc))
            except (Unavailable, OSError):
                continue  # it went since the folder was listed
            finally:
                file.close()
            yield self.slaves(slaves, bond)
            yield self.active(active, bond)

    def _bonds(self) -> list[str]:
        bonds = names(f"{self.host.proc}/{net_owner(self.host)}/net/bonding")
        return [bond for bond in bonds if bond.isprintable()][:BONDS_MAX]


def lines(text: bytes) -> tuple[int, int]:
    """Return how many interfaces a bond has, and how many of them are up."""
    slaves = active = 0
    is_slave = False
    for line in text.split(b"\n"):
        key, _, value = line.partition(b":")
        if key == b"Slave Interface":
            slaves += 1
            is_slave = True
        elif key == b"MII Status" and is_slave:
            active += value.strip() == b"up"
            is_slave = False
    return slaves, active


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Bonding]
