"""Collector ``load``: the load averages of /proc/loadavg, as evidence only.

They lag behind what ``vedette.cpu.busy`` and ``vedette.process.blocked`` say at once, so they never
raise a finding by themselves.
"""

from __future__ import annotations

from math import isfinite

from vedette.api import Collector, NoConfig, Sample, Unavailable, gauge, hookimpl
from vedette_plugins._procfs import KernelFile

#: No host has more runnable threads than the largest possible pid.
LARGEST = float(1 << 22)


class Load(Collector):
    """Load averages over 1, 5 and 15 minutes."""

    name = "load"
    source = "/proc/loadavg"
    interval_s = 1.0
    may_block = False

    one = gauge(
        "system.cpu.load_average.1m",
        "{thread}",
        "Threads that ran, wanted to run or waited for I/O; mean over 1 minute.",
        resource="cpu",
        alarm="never",
    )
    five = gauge(
        "system.cpu.load_average.5m",
        "{thread}",
        "Threads that ran, wanted to run or waited for I/O; mean over 5 minutes.",
        resource="cpu",
        alarm="never",
    )
    fifteen = gauge(
        "system.cpu.load_average.15m",
        "{thread}",
        "Threads that ran, wanted to run or waited for I/O; mean over 15 minutes.",
        resource="cpu",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._loadavg = KernelFile("loadavg", one_record=True)
        self._series = (self.one.series(), self.five.series(), self.fifteen.series())

    def probe(self) -> None:
        self._loadavg.read(self.host.proc)

    def collect(self) -> list[Sample]:
        averages = load_averages(self._loadavg.read(self.host.proc))
        if averages is None:
            raise Unavailable(f"{self.host.proc}/loadavg does not hold three load averages")
        return list(map(Sample, self._series, averages))

    def close(self) -> None:
        self._loadavg.close()


def load_averages(text: bytes) -> list[float] | None:
    """Return the three load averages; None when the text does not begin with them."""
    fields = text.split(None, 3)[:3]
    try:
        averages = [float(field) for field in fields]
    except ValueError:
        return None
    if len(averages) < 3 or not all(isfinite(one) and 0 <= one <= LARGEST for one in averages):
        return None
    return averages


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Load]
