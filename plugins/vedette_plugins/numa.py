"""Collector ``numa``: memory and the origin of allocations per memory node (socket).

A node may run out of memory while the host has plenty; a miss is an allocation that a node had to
serve for another one that had none left (there it is foreign). Hosts with one node have nothing to
tell apart, so there the collector rests unless ``single_node`` is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, hookimpl, updown
from vedette_plugins._keyed import KeyedNumbers
from vedette_plugins._procfs import WIDEST, KernelFile

FOLDER = "devices/system/node"
KIB = 1024
#: Nodes a kernel can be built for, the largest number it uses.
NUMBERS_MAX = 1024
_NODE = "vedette.numa.node"
_ORIGINS = (
    (b"numa_hit", "hit"),
    (b"numa_miss", "miss"),
    (b"numa_foreign", "foreign"),
    (b"local_node", "local"),
    (b"other_node", "other"),
)


class NumaConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which nodes are read."""

    single_node: Annotated[
        bool, Meta(description="Read the node of a host that has only one, too.")
    ] = False
    max_nodes: Annotated[
        int, Meta(ge=1, le=NUMBERS_MAX, description="Nodes read, those with the lowest numbers.")
    ] = 16


class Node(NamedTuple):
    """The files of one node and how they are read."""

    name: str
    meminfo: KernelFile
    amounts: KeyedNumbers
    numastat: KernelFile
    counts: KeyedNumbers


class Numa(Collector):
    """Memory and allocations per memory node."""

    name = "numa"
    source = "/sys/devices/system/node"
    Config = NumaConfig
    interval_s = 10.0
    may_block = False

    usage = updown(
        "vedette.numa.memory.usage",
        "By",
        "Memory of the node in this state.",
        [_NODE, "system.memory.state"],
        resource="memory",
        alarm="never",
    )
    allocations = counter(
        "vedette.numa.allocations",
        "{page}",
        "Pages by whether the node wanted gave them (hit), it gave them for another (miss) or "
        "another for it (foreign), and by where the program ran (local, other).",
        [_NODE, "vedette.numa.allocation.origin"],
        resource="memory",
        alarm="never",
    )
    migrated = counter(
        "vedette.numa.pages_migrated",
        "{page}",
        "Pages the kernel moved to the node that uses them.",
        resource="memory",
        alarm="never",
        source="/proc/vmstat",
    )
    hints = counter(
        "vedette.numa.hint_faults",
        "{fault}",
        "Page faults the kernel caused to learn which node uses a page.",
        resource="memory",
        alarm="never",
        source="/proc/vmstat",
    )

    def __init__(self, config: NumaConfig) -> None:
        super().__init__(config)
        self._online = KernelFile(f"{FOLDER}/online", one_record=True)
        self._vmstat = KernelFile("vmstat")
        self._balancing = KeyedNumbers((b"numa_pages_migrated", b"numa_hint_faults"))
        self._text = b""
        self._nodes: tuple[Node, ...] = ()

    def probe(self) -> None:
        self._current()

    def collect(self) -> Iterator[Sample]:
        for node in self._current():
            try:
                amounts = node.amounts.read(node.meminfo.read(self.host.sys))
                counts = node.counts.read(node.numastat.read(self.host.sys))
            except (Unavailable, OSError):
                # Taken offline since: there is no reading of it.
                continue
            total, free = amounts.get(b"MemTotal:", 0), amounts.get(b"MemFree:", -1)
            # A node of CPUs alone has no memory.
            if 0 <= free <= total > 0:
                yield self.usage((total - free) * KIB, node.name, "used")
                yield self.usage(free * KIB, node.name, "free")
            for key, origin in _ORIGINS:
                if key in counts:
                    yield self.allocations(counts[key], node.name, origin)
        balancing = self._balancing.read(self._vmstat.read(self.host.proc))
        for instrument, key in (
            (self.migrated, b"numa_pages_migrated"),
            (self.hints, b"numa_hint_faults"),
        ):
            if key in balancing:
                yield instrument(balancing[key])

    def close(self) -> None:
        self._online.close()
        self._vmstat.close()
        self._let_go()

    def _current(self) -> tuple[Node, ...]:
        """Return the nodes to read; their files are only set up when the list has changed."""
        text = self._online.read(self.host.sys)
        if text != self._text or not self._nodes:
            found = listed(text)
            if not found:
                raise Unavailable(f"{self.host.sys}/{FOLDER}/online names no memory node")
            if len(found) == 1 and not self.config.single_node:
                raise Unavailable("one memory node only")
            self._let_go()
            self._nodes = tuple(node_of(number) for number in found[: self.config.max_nodes])
            self._text = text
        return self._nodes

    def _let_go(self) -> None:
        for node in self._nodes:
            node.meminfo.close()
            node.numastat.close()
        self._nodes = ()


def listed(text: bytes) -> list[int]:
    """Return the numbers of a kernel's list such as ``0-1,4``; what is garbled is left out."""
    found: set[int] = set()
    for part in text.split(b","):
        first, _, last = part.strip().partition(b"-")
        last = last or first
        if first.isdigit() and last.isdigit() and len(last) <= 4:
            found.update(range(int(first), min(int(last) + 1, NUMBERS_MAX)))
    return sorted(found)


def node_of(number: int) -> Node:
    """Return the files of one node."""
    return Node(
        str(number),
        KernelFile(f"{FOLDER}/node{number}/meminfo", one_record=True),
        KeyedNumbers((b"MemTotal:", b"MemFree:"), column=2, below=WIDEST // KIB),
        KernelFile(f"{FOLDER}/node{number}/numastat", one_record=True),
        KeyedNumbers(key for key, _ in _ORIGINS),
    )


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Numa]
