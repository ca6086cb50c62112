"""Collector ``cpu_frequency``: how fast the cores are clocked, and when heat slows them down.

Lowest, mean and highest of all cores by default, so that a large host needs three series and not
one per core. Of more than ``SAMPLED`` cores each tick reads a part, evenly spread and another one
each time: an older kernel interrupts a core, or waits 10 ms, for each frequency that is read, so
this has a thread of its own. Throttle counts are those of all cores, one thread of each and once
per package; they never fall, whatever goes offline. Virtual machines have neither: it rests there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, gauge, hookimpl
from vedette_plugins._attributes import number
from vedette_plugins._procfs import beginning

#: Frequencies read at one tick for the mean.
SAMPLED = 64
#: CPUs looked at, at most; the kernel knows no more, so ``cpu8191`` has the longest name.
CPUS_MAX, LONGEST_NAME = 8192, 7
#: Ticks after which the CPUs are listed anew even if the same ones are online.
LIST_EVERY = 360
#: In kHz, as the kernel says it; nothing is clocked as fast.
FASTEST = 100_000_000
KHZ = 1000.0
FOLDER = "devices/system/cpu"
CURRENT = "cpufreq/scaling_cur_freq"
SCOPES = ("core", "package")

_THROTTLE_SOURCE = f"/sys/{FOLDER}/cpu*/thermal_throttle/{{core,package}}_throttle_count"


class CpuFrequencyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much detail per core."""

    per_core: Annotated[
        bool,
        Meta(description="Also the frequency of each core; all of them are read each time then."),
    ] = False


class CpuFrequency(Collector):
    """Clock frequency of the cores, and thermal throttling."""

    name = "cpu_frequency"
    Config = CpuFrequencyConfig
    source = f"/sys/{FOLDER}/cpu*/{CURRENT}"
    interval_s = 10.0
    may_block = "seldom"

    lowest = gauge(
        "vedette.cpu.frequency.min",
        "Hz",
        "Lowest frequency of the cores read at this tick: at most 64, others the next time.",
        resource="cpu",
        alarm="never",
    )
    mean = gauge(
        "vedette.cpu.frequency.mean",
        "Hz",
        "Mean frequency of the cores read at this tick: at most 64, others the next time.",
        resource="cpu",
        alarm="never",
    )
    highest = gauge(
        "vedette.cpu.frequency.max",
        "Hz",
        "Highest frequency of the cores read at this tick: at most 64, others the next time.",
        resource="cpu",
        alarm="never",
    )
    per_core = gauge(
        "system.cpu.frequency",
        "Hz",
        "Frequency of one core; only with `per_core`.",
        ["cpu.logical_number"],
        resource="cpu",
        alarm="never",
    )
    throttles = counter(
        "vedette.cpu.throttles",
        "{event}",
        "Times a core, or a whole package, was slowed down because it was too hot.",
        ["vedette.cpu.throttle.scope"],
        resource="cpu",
        alarm="high",
        source=_THROTTLE_SOURCE,
    )

    def __init__(self, config: CpuFrequencyConfig) -> None:
        super().__init__(config)
        self._online = b""
        self._until_listed = 0
        self._turn = 0
        self._clocked: list[int] = []
        self._heated: dict[str, list[int]] = {}
        self._counts: dict[tuple[str, int], int] = {}
        self._totals: dict[str, int] = {}

    def probe(self) -> None:
        self._list()
        if not self._clocked and not any(self._heated.values()):
            raise Unavailable(f"{self._base} has neither frequencies nor throttle counts")

    def collect(self) -> Iterator[Sample]:
        self._until_listed -= 1
        if self._until_listed <= 0 or beginning(f"{self._base}/online") != self._online:
            self.probe()
        yield from self._frequencies()
        for scope in SCOPES:
            total = self._throttled(scope)
            if total is not None:
                yield self.throttles(total, scope)

    @property
    def _base(self) -> str:
        return f"{self.host.sys}/{FOLDER}"

    def _frequencies(self) -> Iterator[Sample]:
        chosen = self._clocked
        if not self.config.per_core and len(chosen) > SAMPLED:
            parts = -(-len(chosen) // SAMPLED)
            chosen = chosen[self._turn % parts :: parts]
            self._turn += 1
        found: list[float] = []
        for cpu in chosen:
            value = number(f"{self._base}/cpu{cpu}/{CURRENT}")
            if value is None or not 0 < value <= FASTEST:
                continue
            found.append(value * KHZ)
            if self.config.per_core:
                yield self.per_core(found[-1], str(cpu))
        if found:
            yield self.lowest(min(found))
            yield self.mean(sum(found) / len(found))
            yield self.highest(max(found))

    def _throttled(self, scope: str) -> int | None:
        """Return the events of all cores or packages, counting on when one was away for a while.

        What a CPU counted before it was first seen belongs to the total only at the first reading.
        """
        total = self._totals.get(scope)
        first = total is None
        for cpu in self._heated.get(scope, ()):
            count = number(f"{self._base}/cpu{cpu}/thermal_throttle/{scope}_throttle_count")
            if count is None:
                continue
            before = self._counts.get((scope, cpu), 0 if first else count)
            self._counts[scope, cpu] = count
            total = (total or 0) + max(0, count - before)
        if total is not None:
            self._totals[scope] = total
        return total

    def _list(self) -> None:
        """Find out which CPUs have a frequency, and which stand for a core or a package."""
        try:
            with os.scandir(self._base) as entries:
                names = [entry.name for entry in entries if entry.name.startswith("cpu")]
        except OSError as error:
            raise Unavailable(f"cannot list {self._base}: {error.strerror}") from error
        names = [name for name in names if name[3:].isdecimal() and len(name) <= LONGEST_NAME]
        cpus = sorted({int(name[3:]) for name in names})[:CPUS_MAX]
        self._clocked = [cpu for cpu in cpus if os.path.exists(f"{self._base}/cpu{cpu}/{CURRENT}")]
        owners: dict[str, dict[tuple[int | None, ...], int]] = {scope: {} for scope in SCOPES}
        for cpu in cpus:
            folder = f"{self._base}/cpu{cpu}"
            if not os.path.exists(f"{folder}/thermal_throttle"):
                continue
            package = number(f"{folder}/topology/physical_package_id")
            core = number(f"{folder}/topology/core_id")
            owners["package"].setdefault((package,), cpu)
            owners["core"].setdefault((package, core), cpu)
        self._heated = {scope: sorted(found.values()) for scope, found in owners.items()}
        self._online = beginning(f"{self._base}/online")
        self._until_listed = LIST_EVERY


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [CpuFrequency]
