"""Collector ``softnet``: received packets on their way from the cards to the protocols, all CPUs.

From /proc/net/softnet_stat, a line of hexadecimal counters per CPU that is on. The lines are all of
one width, so the whole file becomes numbers in two calls and the sums are taken of slices: 256 CPUs
take a tenth of a millisecond. A CPU that is switched off takes its counts with it, and brings all
of them back later: then the sums go on from where they were.
"""

from __future__ import annotations

import struct

from vedette.api import Collector, Host, NoConfig, Sample, Unavailable, counter, hookimpl, updown
from vedette_plugins._netfiles import ABSURD, NetFile

#: A number is eight digits and a space or the end of the line.
DIGITS = 9
PROCESSED, DROPPED, SQUEEZED, RPS, FLOW_LIMITED, BACKLOG, CPU = 0, 1, 2, 9, 10, 11, 12
COUNTERS = (PROCESSED, DROPPED, SQUEEZED, RPS, FLOW_LIMITED)


class Softnet(Collector):
    """What the kernel did with received packets, all CPUs together."""

    name = "softnet"
    interval_s = 1.0
    may_block = False
    source = "/proc/net/softnet_stat"

    processed = counter(
        "vedette.softnet.processed",
        "{packet}",
        "Packets, or bundles of packets, taken from the cards and passed on.",
        resource="network",
        alarm="never",
    )
    dropped = counter(
        "vedette.softnet.dropped",
        "{packet}",
        "Packets dropped because a CPU's queue of received packets was full.",
        resource="network",
        alarm="high",
    )
    squeezed = counter(
        "vedette.softnet.time_squeezed",
        "{event}",
        "Times a CPU had to leave packets waiting because its time or its share was used up.",
        resource="network",
        alarm="never",
    )
    rps = counter(
        "vedette.softnet.received_rps",
        "{event}",
        "Times a CPU was woken by another to handle packets.",
        resource="network",
        alarm="never",
    )
    flow_limited = counter(
        "vedette.softnet.flow_limited",
        "{packet}",
        "Packets dropped because one connection filled a CPU's queue by itself.",
        resource="network",
        alarm="never",
    )
    backlog = updown(
        "vedette.softnet.backlog",
        "{packet}",
        "Packets in the CPUs' queues at the moment of reading.",
        resource="network",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._stat = NetFile("softnet_stat")
        self._instruments = {
            PROCESSED: self.processed,
            DROPPED: self.dropped,
            SQUEEZED: self.squeezed,
            RPS: self.rps,
            FLOW_LIMITED: self.flow_limited,
        }
        self._cpus: tuple[int, ...] | None = None
        self._sums: dict[int, int] = {}
        #: What is added to the sums since a CPU was switched on or off.
        self._offsets = dict.fromkeys(COUNTERS, 0)
        self._begun = {PROCESSED, DROPPED, SQUEEZED}
        #: The text read last, and what it gave.
        self._text = b""
        self._samples: list[Sample] = []

    def probe(self) -> None:
        table(self._stat.read(self.host), self.host)

    def collect(self) -> list[Sample]:
        text = self._stat.read(self.host)
        if text and text == self._text:
            return self._samples
        values, columns = table(text, self.host)
        self._text = text
        cpus = values[CPU::columns] if columns > CPU else (len(values) // columns,)
        sums = {at: sum(values[at::columns]) for at in COUNTERS if at < columns}
        if self._cpus is not None and cpus != self._cpus:
            for at, total in sums.items():
                self._offsets[at] += self._sums.get(at, total) - total
        self._cpus, self._sums = cpus, sums
        self._samples = []
        for at, total in sums.items():
            if total:
                self._begun.add(at)
            # A counter of 32 bits that starts anew may take the whole below zero.
            if at in self._begun and total + self._offsets[at] >= 0:
                self._samples.append(self._instruments[at](total + self._offsets[at]))
        if columns > BACKLOG:
            length = sum(values[BACKLOG::columns])
            if length < ABSURD:
                self._samples.append(self.backlog(length))
        return self._samples

    def close(self) -> None:
        self._stat.close()


def table(text: bytes, host: Host) -> tuple[tuple[int, ...], int]:
    """Return what ``parse`` does; raises ``Unavailable`` when the text is no table."""
    values, columns = parse(text)
    if columns <= SQUEEZED:
        raise Unavailable(f"{host.proc}/net/softnet_stat is no table of counters")
    return values, columns


def parse(text: bytes) -> tuple[tuple[int, ...], int]:
    """Return the numbers of all lines, and how many there are on each; none when there are none.

    Lines that are not like the first are left out.
    """
    width = text.find(b"\n") + 1
    columns = width // DIGITS
    if columns < 1 or width % DIGITS:
        return (), 0
    try:
        raw = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        raw = b""
    if len(text) % width or len(raw) * DIGITS != len(text) * 4:
        raw = b"".join(map(_line, (line for line in text.split(b"\n") if len(line) == width - 1)))
    if len(raw) % (columns * 4) or not raw:
        return (), 0
    return struct.unpack(f">{len(raw) // 4}I", raw), columns


def _line(line: bytes) -> bytes:
    """Return the numbers of one line, four bytes each; empty when it is garbled."""
    try:
        raw = bytes.fromhex(line.decode("ascii"))
    except ValueError:
        return b""
    return raw if len(raw) * DIGITS == (len(line) + 1) * 4 else b""


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Softnet]
