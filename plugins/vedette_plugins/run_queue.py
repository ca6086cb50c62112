"""Collector ``run_queue``: time threads ran, and time they were ready to and had to wait for a CPU.

From /proc/schedstat, summed over the CPUs. Waiting beside running says how overbooked the CPUs are,
to the nanosecond and however short the waits; ``pressure`` says whether anybody noticed. The file
holds much more for each CPU, so it is read each 10 seconds only, and of it one line per CPU.
"""

from __future__ import annotations

from vedette.api import Collector, Sample, Unavailable, counter, hookimpl
from vedette_plugins._procfs import numbers
from vedette_plugins._rows import rows

NANOSECONDS = 1e9
#: Fields of a CPU's line since Linux 2.6.24; the last three are time run, time waited, time slices.
FIELDS = 9


class RunQueue(Collector):
    """Time spent running and waiting to run."""

    name = "run_queue"
    source = "/proc/schedstat"
    interval_s = 10.0
    may_block = False

    time = counter(
        "vedette.cpu.run_queue.time",
        "s",
        "Time of all threads together in this state: running, or waiting for a CPU.",
        ["vedette.cpu.run_queue.state"],
        resource="cpu",
        alarm="never",
    )
    slices = counter(
        "vedette.cpu.run_queue.timeslices",
        "{timeslice}",
        "Times a thread was given a CPU.",
        resource="cpu",
        alarm="never",
    )

    def probe(self) -> None:
        next(rows(f"{self.host.proc}/schedstat"), None)

    def collect(self) -> list[Sample]:
        run = waited = slices = cpus = 0
        for some in rows(f"{self.host.proc}/schedstat"):
            for row in some:
                values = numbers(row.split()[1:]) if row.startswith(b"cpu") else None
                if values is None or len(values) < FIELDS:
                    continue
                run += values[FIELDS - 3]
                waited += values[FIELDS - 2]
                slices += values[FIELDS - 1]
                cpus += 1
        if not cpus:
            raise Unavailable(f"{self.host.proc}/schedstat has no line of a CPU")
        return [
            self.time(run / NANOSECONDS, "running"),
            self.time(waited / NANOSECONDS, "waiting"),
            self.slices(slices),
        ]


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [RunQueue]
