"""Collector ``interrupts``: what interrupts the CPUs, by kind, summed over all of them.

Soft interrupts per type, and the rows of /proc/interrupts that are the architecture's own: timers,
calls between cores, machine checks. Devices have hundreds of rows, which only say which queue of
which card; those wanted are named in ``devices``. What never happened is left out until it does,
except the errors, whose first one matters. The kernel writes a number per CPU and row, so on a
host with 256 cores and 1000 interrupts reading is work for it: hence each 10 seconds only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, hookimpl
from vedette_plugins._procfs import Choice, KernelFile, numbers, printable
from vedette_plugins._rows import rows

#: Kinds that are errors: machine check exceptions, and interrupts nobody understood.
ERRORS = frozenset({"MCE", "ERR", "Err"})
#: The kernel has ten types of soft interrupts, an architecture some twenty kinds of its own.
TYPES_MAX, KINDS_MAX = 32, 64
#: Devices that are read, however many the globs match.
DEVICES_MAX = 256
#: Longest name of a row, and where its device's name is found at the latest.
LONGEST_NAME, LONGEST_DEVICE = 16, 160


class InterruptsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices' interrupts are read."""

    devices: Annotated[
        tuple[str, ...],
        Meta(
            description="Globs of devices as the end of a row of /proc/interrupts names them "
            "(`nvme0q*`, `eth0-*`), at most 256; rows of the same name are added up."
        ),
    ] = ()


class Interrupts(Collector):
    """Interrupts by kind, soft interrupts by type."""

    name = "interrupts"
    Config = InterruptsConfig
    source = "/proc/interrupts"
    interval_s = 10.0
    may_block = False

    soft = counter(
        "vedette.interrupts.softirq",
        "{softirq}",
        "Soft interrupts of this type served.",
        ["vedette.softirq.type"],
        resource="cpu",
        alarm="never",
        source="/proc/softirqs",
    )
    kinds = counter(
        "vedette.interrupts.architecture",
        "{interrupt}",
        "Interrupts of the architecture's own served, by kind as /proc/interrupts names it.",
        ["vedette.interrupt.kind"],
        resource="cpu",
        alarm="never",
    )
    # The same metric: machine checks and errors concern a person.
    errors = counter(
        "vedette.interrupts.architecture",
        "{interrupt}",
        "Interrupts of the architecture's own served, by kind as /proc/interrupts names it.",
        ["vedette.interrupt.kind"],
        resource="cpu",
        alarm="high",
    )
    device = counter(
        "vedette.interrupts.device",
        "{interrupt}",
        "Interrupts of a device served; only those named in `devices`.",
        ["system.device"],
        resource="cpu",
        alarm="never",
    )

    def __init__(self, config: InterruptsConfig) -> None:
        super().__init__(config)
        self._softirqs = KernelFile("softirqs", one_record=True)
        self._choice = Choice(config.devices, ())

    def probe(self) -> None:
        table = rows(f"{self.host.proc}/interrupts")
        if not cpus(next(table, b"")):
            raise Unavailable(f"{self.host.proc}/interrupts does not begin with the CPUs")
        table.close()

    def collect(self) -> Iterator[Sample]:
        yield from self._soft()
        table = rows(f"{self.host.proc}/interrupts")
        width = cpus(next(table, b""))
        if not width:
            raise Unavailable(f"{self.host.proc}/interrupts does not begin with the CPUs")
        wanted: dict[str, int] = {}
        seen: set[str] = set()
        for row in table:
            name = name_of(row)
            if name.isdigit():
                if self.config.devices:
                    self._add(wanted, row, width)
            elif name and len(seen) < KINDS_MAX:
                kind = printable(name)
                count = total(row, width)
                if count is None or kind in seen:
                    continue
                seen.add(kind)
                if kind in ERRORS:
                    yield self.errors(count, kind)
                elif count:
                    yield self.kinds(count, kind)
        for device, count in wanted.items():
            yield self.device(count, device)

    def close(self) -> None:
        self._softirqs.close()

    def _soft(self) -> Iterator[Sample]:
        try:
            text = self._softirqs.read(self.host.proc)
        except Unavailable:
            return
        lines = text.split(b"\n")[: TYPES_MAX + 1]
        width = cpus(lines[0])
        seen: set[str] = set()
        for line in lines[1:]:
            name = printable(name_of(line))
            count = total(line, width)
            if name and count and name not in seen:
                seen.add(name)
                yield self.soft(count, name)

    def _add(self, wanted: dict[str, int], row: bytes, width: int) -> None:
        """Add a device's row to its sum if the device is wanted."""
        name = device_of(row)
        if not name or not self._choice.verdict(name):
            return
        count = total(row, width)
        if count is not None and (name in wanted or len(wanted) < DEVICES_MAX):
            wanted[name] = wanted.get(name, 0) + count


def cpus(header: bytes) -> int:
    """Return the number of CPUs that have a column; 0 when this is no header."""
    words = header.split()
    return len(words) if words and all(word.startswith(b"CPU") for word in words) else 0


def name_of(row: bytes) -> bytes:
    """Return what stands before the colon; empty when a row has none near its beginning."""
    name, colon, _ = row[:LONGEST_NAME].partition(b":")
    return name.strip() if colon else b""


def total(row: bytes, width: int) -> int | None:
    """Return the sum over all CPUs, or the only number of a row; None when it is garbled."""
    fields = row.partition(b":")[2].split(None, width)
    if len(fields) < width:
        # Errors are counted for the host as a whole.
        fields = fields[: 1 if len(fields) == 1 else 0]
    counts = numbers(fields[:width])
    return None if counts is None else sum(counts)


def device_of(row: bytes) -> str:
    """Return what follows the last gap, at least two spaces wide; empty if that is a count."""
    _, gap, name = row[-LONGEST_DEVICE:].strip().rpartition(b"  ")
    return printable(name.strip()) if gap and not name.strip().isdigit() else ""


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Interrupts]
