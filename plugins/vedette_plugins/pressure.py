"""Collector ``pressure``: how long work stood still for want of CPU, memory or I/O (PSI).

The kernel adds up the time in which ``some`` tasks, or all of them at once (``full``), waited for a
resource, so the rate of a total is the share of time lost: 1 is all of it. Each second's rate says
more, and sooner, than the kernel's own averages over 10, 60 and 300 seconds; those are there for
who compares. Nobody acts on a few waiting tasks, except where CPU is what they wait for.
"""

from __future__ import annotations

import errno
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Series, Unavailable, counter, gauge, hookimpl
from vedette_plugins._procfs import KernelFile, numbers

#: What is read. All tasks can wait for CPU in a cgroup only, of the whole host the kernel says 0;
#: interrupts (since Linux 6.1) hold up all tasks or none.
LINES = (
    ("cpu", "some"),
    ("memory", "some"),
    ("memory", "full"),
    ("io", "some"),
    ("io", "full"),
    ("irq", "full"),
)
RESOURCES = ("cpu", "memory", "io", "irq")
WINDOWS = ("10s", "60s", "300s")
MICROSECONDS = 1e6
#: Three averages and a 64-bit total are shorter.
LONGEST_LINE = 128

_NAME = "vedette.pressure.time"
_HELP = "Time in which some tasks, or all that wanted to run (full), waited for this resource."
_AVERAGE = "vedette.pressure.average"
_AVERAGE_HELP = "Share of time lost as the kernel averages it, 0 to 1; only with `averages`."
_KEYS = ["vedette.pressure.resource", "vedette.pressure.kind"]
_WINDOW_KEYS = [*_KEYS, "vedette.pressure.window"]


class PressureConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is read beside the totals."""

    averages: Annotated[
        bool, Meta(description="Also the kernel's averages over 10, 60 and 300 seconds.")
    ] = False


class Line(NamedTuple):
    """A line of a file: how it begins, and the series it fills."""

    begin: bytes
    total: Series
    averages: list[Series]


class Pressure(Collector):
    """Time lost by waiting for CPU, memory and I/O."""

    name = "pressure"
    Config = PressureConfig
    source = "/proc/pressure/{cpu,memory,io,irq}"
    interval_s = 1.0
    may_block = False

    # One metric in several parts: what a person acts on, and the family it belongs to.
    cpu = counter(_NAME, "s", _HELP, _KEYS, resource="cpu", alarm="high", limit=1.0)
    memory = counter(_NAME, "s", _HELP, _KEYS, resource="memory", alarm="high", limit=1.0)
    disk = counter(_NAME, "s", _HELP, _KEYS, resource="disk", alarm="high", limit=1.0)
    irq = counter(_NAME, "s", _HELP, _KEYS, resource="cpu", alarm="never", limit=1.0)
    some_memory = counter(_NAME, "s", _HELP, _KEYS, resource="memory", alarm="never", limit=1.0)
    some_disk = counter(_NAME, "s", _HELP, _KEYS, resource="disk", alarm="never", limit=1.0)
    cpu_average = gauge(
        _AVERAGE, "1", _AVERAGE_HELP, _WINDOW_KEYS, resource="cpu", alarm="never", limit=1.0
    )
    memory_average = gauge(
        _AVERAGE, "1", _AVERAGE_HELP, _WINDOW_KEYS, resource="memory", alarm="never", limit=1.0
    )
    disk_average = gauge(
        _AVERAGE, "1", _AVERAGE_HELP, _WINDOW_KEYS, resource="disk", alarm="never", limit=1.0
    )

    def __init__(self, config: PressureConfig) -> None:
        super().__init__(config)
        totals = (self.cpu, self.some_memory, self.memory, self.some_disk, self.disk, self.irq)
        averages = {"memory": self.memory_average, "io": self.disk_average}
        self._lines: dict[str, list[Line]] = {resource: [] for resource in RESOURCES}
        for (resource, kind), total in zip(LINES, totals, strict=True):
            average = averages.get(resource, self.cpu_average)
            line = Line(
                begin=f"\n{kind} ".encode(),
                total=total.series(resource, kind),
                averages=[average.series(resource, kind, window) for window in WINDOWS],
            )
            self._lines[resource].append(line)
        self._files = {one: KernelFile(f"pressure/{one}", one_record=True) for one in RESOURCES}
        self._present = list(RESOURCES)
        #: What each file held last, and what it gave.
        self._texts: dict[str, bytes] = {}
        self._told: dict[str, list[Sample]] = {}

    def probe(self) -> None:
        self._present = list(RESOURCES)
        if not self.collect():
            raise Unavailable(f"{self.host.proc}/pressure holds no totals")

    def collect(self) -> list[Sample]:
        samples: list[Sample] = []
        for resource in tuple(self._present):
            text = self._read(resource)
            if text != self._texts.get(resource):
                self._texts[resource], self._told[resource] = text, self._parse(resource, text)
            samples += self._told[resource]
        return samples

    def _parse(self, resource: str, text: bytes) -> list[Sample]:
        samples = []
        text = b"\n" + text
        for line in self._lines[resource]:
            begin = text.find(line.begin)
            if begin < 0:
                continue
            words = text[begin + 1 : begin + LONGEST_LINE].partition(b"\n")[0].split()
            total = total_of(words)
            if total is None:
                continue
            samples.append(Sample(line.total, total / MICROSECONDS))
            if self.config.averages:
                samples += map(Sample, line.averages, shares(words))
        return samples

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _read(self, resource: str) -> bytes:
        """Return one file's text, nothing from then on if it is not there.

        Raises ``Unavailable`` when none is, or when the kernel does not measure.
        """
        try:
            return self._files[resource].read(self.host.proc)
        except Unavailable:
            self._present.remove(resource)
            if not self._present:
                self._present = list(RESOURCES)
                raise
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Unavailable(
                    "the kernel does not measure pressure (boot it with psi=1)"
                ) from error
            raise
        return b""


def total_of(words: list[bytes]) -> int | None:
    """Return the total of a line in µs; None when it has none."""
    key, _, number = words[-1].partition(b"=")
    values = numbers([number]) if key == b"total" else None
    return values[0] if values else None


def shares(words: list[bytes]) -> list[float]:
    """Return the averages of a line, in percent there, as shares; none when one is garbled."""
    try:
        found = [float(word.partition(b"=")[2]) / 100.0 for word in words[1 : 1 + len(WINDOWS)]]
    except ValueError:
        return []
    return found if all(0.0 <= share <= 1.0 for share in found) else []


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Pressure]
