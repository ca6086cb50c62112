"""Collector ``nvidia``: NVIDIA GPUs, asked through the driver's library NVML.

What a card cannot tell is asked once. A GPU that falls off the bus ends only its own series; what
it reported of itself (Xid) goes on being told, as that says why. A driver that is unloaded or
replaced makes the collector let go and wait for the next one. While it runs it keeps the driver in
use and its GPUs awake, so it must be turned off to reset a GPU or to unload the driver.

Left out: NVML measures PCI Express traffic for 20 ms at each call; only cards that count the bytes
themselves tell it (``hw.gpu.io``). Whose memory it is, processes in other namespaces included, is
told by name, unit and container, as the suspects of resource ``gpu``, and to other collectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from vedette.api import Collector, Event, Sample, Unavailable, Usage, counter, hookimpl
from vedette_plugins import _gpu, _nvml
from vedette_plugins._gpu import GpuConfig
from vedette_plugins._gpu_users import Users
from vedette_plugins._nvidia_health import HealthSeries
from vedette_plugins._nvidia_load import LoadSeries
from vedette_plugins._nvidia_processes import ProcessSeries, uses
from vedette_plugins._nvml import Gpu, Lost, Xids
from vedette_plugins._procfs import Choice

#: Readings between two looks at what changes seldom.
LOOK_EVERY = 12
#: Xids that a faulty program causes on a GPU that is well; they are told apart, but no error of it.
PROGRAM_XIDS = frozenset((13, 31, 43, 45, 68, 69))
#: Codes told apart per GPU; those that come later, or are none, are ``other``.
XIDS_MAX, XID_LARGEST = 32, 999


class Nvidia(LoadSeries, HealthSeries, ProcessSeries, Collector):
    """Load, memory, clocks, power, temperatures, errors and processes of each NVIDIA GPU."""

    name = "nvidia"
    Config = GpuConfig
    source = "NVML (libnvidia-ml.so.1)"
    interval_s = 5.0
    explains = ("gpu",)

    count = _gpu.COUNT
    xids = counter(
        "vedette.gpu.xids",
        "{event}",
        "Errors with this code that the GPU reported (Xid) since the agent began.",
        [*_gpu.GPU, "vedette.gpu.xid"],
        resource="gpu",
        alarm="never",
    )

    def __init__(self, config: GpuConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self.wall_ns: Callable[[], int] = time.time_ns
        self._users = Users()
        self._choice = Choice(config.include, config.exclude)
        self._nvml: Any = None
        self._events: Xids | None = None
        self._number = 0
        self._gpus: list[Gpu] = []
        #: What each GPU reported since the agent began: by code, and how many are errors of its.
        self._reported: dict[tuple[str, str], dict[str, int]] = {}
        self._faults: dict[tuple[str, str], int] = {}
        self._readings = 0

    def probe(self) -> None:
        if self._nvml is not None:
            return
        self._nvml = _nvml.load(self.host.proc, self.host.sys, self.host.root)
        try:
            self._attach()
        except Unavailable:
            self.close()
            raise

    def collect(self) -> Iterable[Sample | Usage | Event]:
        self.probe()
        try:
            return self._read()
        except Unavailable:
            self.close()
            raise

    def close(self) -> None:
        nvml, self._nvml = self._nvml, None
        events, self._events = self._events, None
        self._gpus = []
        self.gpu_uses.tell(self.name, ())
        if events is not None:
            events.close()
        if nvml is not None:
            _nvml.shut_down(nvml)

    def _attach(self) -> None:
        """Find the GPUs there are, and have what they report queued."""
        if self._events is not None:
            self._events.close()
        self._events = Xids(self._nvml)
        self._number = _nvml.count(self._nvml)
        found = {gpu.id: gpu for gpu in _nvml.gpus(self._nvml, self._number)}
        self._gpus = [gpu for gpu in found.values() if self._choice.verdict(gpu.id) is not False]
        if not self._gpus:
            raise Unavailable("no NVIDIA GPU that answers on this host")
        for gpu in self._gpus:
            self._faults.setdefault((gpu.id, gpu.name), 0)
            with suppress(Lost):
                self._events.watch(gpu)

    def _read(self) -> list[Sample | Usage | Event]:
        looks = self._readings % LOOK_EVERY == 0
        self._readings += 1
        if looks and _nvml.count(self._nvml) != self._number:
            self._attach()
        found: list[Sample | Usage | Event] = []
        for gpu in self._gpus:
            if gpu.lost and not looks:
                continue
            try:
                if looks or not gpu.health:
                    gpu.health = list(self.health(gpu))
                samples = [*self.load(gpu), *gpu.health, *self.count_processes(gpu)]
            except Lost:
                gpu.lost = True
                continue
            gpu.lost = False
            found += samples
        answering = [gpu for gpu in self._gpus if not gpu.lost]
        found.append(self.count(len(answering), "NVIDIA"))
        found += self._events_told()
        found += self._limits_told(answering)
        found += self.users(answering, self._users, self.host)
        self.gpu_uses.tell(self.name, uses(answering, self.monotonic()))
        return found

    def _limits_told(self, gpus: Iterable[Gpu]) -> Iterator[Event]:
        """Yield whose power limit was lowered: what makes models on it slow."""
        for gpu in gpus:
            if gpu.lowered is not None:
                (before, now), gpu.lowered = gpu.lowered, None
                text = (
                    f"the power limit of GPU {gpu.id} was lowered from {before:.0f} to {now:.0f} W"
                )
                yield Event(self.wall_ns(), "gpu", gpu.id, text)

    def _events_told(self) -> Iterator[Sample]:
        """Yield what the GPUs reported, those that are lost included."""
        for own, code in self._events.take() if self._events is not None else ():
            known = self._reported.setdefault(own, {})
            name = str(code) if code <= XID_LARGEST else "other"
            if name not in known and len(known) >= XIDS_MAX:
                name = "other"
            known[name] = known.get(name, 0) + 1
            if code not in PROGRAM_XIDS:
                self._faults[own] = self._faults.get(own, 0) + 1
        for own, number in self._faults.items():
            yield self.fatal_errors(number, *own, "gpu", "xid")
        for own, known in self._reported.items():
            for name, number in known.items():
                yield self.xids(number, *own, name)


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Nvidia]
