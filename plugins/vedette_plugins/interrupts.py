"""Collector ``interrupts``: what interrupts the CPUs, by kind, summed over all of them.

Soft interrupts per type, and the rows of /proc/interrupts that are the architecture's own: timers,
calls between cores, machine checks. Devices have hundreds of rows, which only say which queue of
which card; those wanted are named in ``devices``. What never happened is left out until it does,
except the errors, whose first one matters. The kernel writes a number per CPU and row, so on a
host with 256 cores and 1000 interrupts reading is work for it: hence each 10 seconds only.
"""

from __future__ import annotations

from itertools import chain
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Instrument, Sample, Unavailable, counter, hookimpl
from vedette_plugins._procfs import Choice, KernelFile, numbers, printable
from vedette_plugins._rows import rows

#: Kinds that are errors: machine check exceptions, and interrupts nobody understood.
ERRORS = frozenset({"MCE", "ERR", "Err"})
#: The kernel has ten types of soft interrupts, an architecture some twenty kinds of its own.
TYPES_MAX, KINDS_MAX = 32, 64
#: Devices that are read, however many the globs match.
DEVICES_MAX = 256
#: Longer rows, those of more than 300 CPUs, are not kept to be compared.
LONGEST_KEPT = 4096
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
        self._soft_rows = Kinds(self.soft)
        self._kind_rows = Kinds(self.kinds, self.errors)

    def probe(self) -> None:
        table = rows(f"{self.host.proc}/interrupts")
        self._width(next(table, [b""]))
        table.close()

    def collect(self) -> list[Sample]:
        samples = self._soft()
        table = rows(f"{self.host.proc}/interrupts")
        first = next(table, [b""])
        width = self._width(first)
        self._kind_rows.begin(width)
        wanted: dict[str, int] = {}
        for some in chain((first[1:],), table):
            for row in some:
                name = name_of(row)
                if name.isdigit():
                    if self.config.devices:
                        self._add(wanted, row, width)
                elif name:
                    self._kind_rows.add(name, row)
        samples += self._kind_rows.samples
        samples += [self.device(count, device) for device, count in wanted.items()]
        return samples

    def close(self) -> None:
        self._softirqs.close()

    def _width(self, first: list[bytes]) -> int:
        """Return the number of CPUs that the first row names."""
        width = cpus(first[0])
        if not width:
            raise Unavailable(f"{self.host.proc}/interrupts does not begin with the CPUs")
        return width

    def _soft(self) -> list[Sample]:
        try:
            text = self._softirqs.read(self.host.proc)
        except Unavailable:
            return []
        header, *lines = text.split(b"\n")[: TYPES_MAX + 1]
        self._soft_rows.begin(cpus(header))
        for line in lines:
            name = name_of(line)
            if name:
                self._soft_rows.add(name, line)
        return self._soft_rows.samples

    def _add(self, wanted: dict[str, int], row: bytes, width: int) -> None:
        """Add a device's row to its sum if the device is wanted."""
        name = device_of(row)
        if not name or not self._choice.verdict(name):
            return
        count = total(row, width)
        if count is not None and (name in wanted or len(wanted) < DEVICES_MAX):
            wanted[name] = wanted.get(name, 0) + count


class Kinds:
    """The rows of one table that stand for a kind: what each said, once per kind.

    Most of them stay as they are from one reading to the next, and are not read again then.
    ``errors`` are told even when there are none.
    """

    def __init__(self, instrument: Instrument, errors: Instrument | None = None) -> None:
        self._instrument = instrument
        self._errors = errors
        self._width = 0
        self._before: dict[bytes, tuple[str, Sample | None]] = {}
        self._now: dict[bytes, tuple[str, Sample | None]] = {}
        self._seen: set[str] = set()
        #: What this reading gave so far.
        self.samples: list[Sample] = []

    def begin(self, width: int) -> None:
        """Begin a reading of a table with so many CPUs."""
        self._before = self._now if width == self._width else {}
        self._width = width
        self._now, self._seen, self.samples = {}, set(), []

    def add(self, name: bytes, row: bytes) -> None:
        """Take a row; one that is garbled, or whose kind there was, is left out."""
        if len(self._seen) >= KINDS_MAX:
            return
        known = self._before.get(row) or self._read(name, row)
        if known is None or known[0] in self._seen:
            return
        kind, sample = known
        self._seen.add(kind)
        if len(row) <= LONGEST_KEPT:
            self._now[row] = known
        if sample is not None:
            self.samples.append(sample)

    def _read(self, name: bytes, row: bytes) -> tuple[str, Sample | None] | None:
        count = total(row, self._width)
        if count is None:
            return None
        kind = printable(name)
        if self._errors is not None and kind in ERRORS:
            return kind, self._errors(count, kind)
        return kind, self._instrument(count, kind) if count else None


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
