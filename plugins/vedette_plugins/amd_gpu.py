"""Collector ``amd_gpu``: AMD GPUs as the kernel's own driver, amdgpu, tells of them in sysfs.

Neither ROCm nor a library is needed. A card that sleeps is not asked, as a reading would wake it;
it counts as present. Which files a card has depends on its generation: they are looked for once a
minute, and the counts of repaired memory errors, which the card itself is asked for, are read then
too. An APU sets a little of the host's memory aside and always fills it, so no alarm is raised on
that; what it uses beyond is host memory (``vedette.gpu.memory.host.usage``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from vedette.api import Collector, GpuUse, Sample, hookimpl, updown
from vedette_plugins import _gpu, _kfd
from vedette_plugins._drm_clients import Clients
from vedette_plugins._gpu import (
    Card,
    Cards,
    GpuConfig,
    Source,
    existing,
    sensors,
    text,
)
from vedette_plugins._gpu_users import Users
from vedette_plugins._procfs import first_number, listed, number_after, numbers

#: A GPU with less memory of its own is an APU.
LEAST_MEMORY = 2 << 30
#: Speed of a lane by generation of PCI Express.
GENERATIONS = {b"2.5": 1, b"5.0": 2, b"5": 2, b"8.0": 3, b"16.0": 4, b"32.0": 5, b"64.0": 6}


class AmdGpu(Collector):
    """Load, memory, clocks, temperatures, power and errors of each AMD GPU."""

    name = "amd_gpu"
    Config = GpuConfig
    source = "/sys/class/drm/card*/device"

    utilization = _gpu.UTILIZATION
    memory_busy = _gpu.MEMORY_BUSY
    memory_usage = _gpu.MEMORY_USAGE
    memory_limit = _gpu.MEMORY_LIMIT
    memory_utilization = _gpu.MEMORY_UTILIZATION
    carved_utilization = _gpu.CARVED_UTILIZATION
    host_usage = updown(
        "vedette.gpu.memory.host.usage",
        "By",
        "Memory of the host that the GPU uses (GTT).",
        _gpu.GPU,
        resource="gpu",
        alarm="never",
    )
    host_limit = updown(
        "vedette.gpu.memory.host.limit",
        "By",
        "Memory of the host that the GPU may use (GTT).",
        _gpu.GPU,
        resource="gpu",
        alarm="never",
    )
    temperature = _gpu.TEMPERATURE
    heat = _gpu.HEAT
    power = _gpu.POWER
    power_limit = _gpu.POWER_LIMIT
    clock = _gpu.CLOCK
    fan = _gpu.FAN
    errors = _gpu.ERRORS
    fatal_errors = _gpu.FATAL_ERRORS
    replays = _gpu.REPLAYS
    generation = _gpu.GENERATION
    width = _gpu.WIDTH
    count = _gpu.COUNT
    process_memory = _gpu.PROCESS_MEMORY

    def __init__(self, config: GpuConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self._clients, self._users = Clients(), Users()
        self._cards = Cards(config, ("amdgpu",))
        self._counts: dict[str, list[Sample]] = {}

    def probe(self) -> None:
        self._cards.look(self.host.sys)

    def collect(self) -> Iterator[Sample]:
        cards = self._cards.known(self.host.sys)
        yield self.count(len(cards), "AMD")
        for card in cards:
            if card.sleeps:
                continue
            if not card.sources:
                card.sources = [*self._device(card), *self._clocks(card), *self._sensors(card)]
                self._counts[card.id] = list(self._counted(card))
            yield from card.read()
            yield from self._counts[card.id]
        yield from self._processes([card for card in cards if not card.sleeps])

    def close(self) -> None:
        self.gpu_uses.tell(self.name, ())
        self._cards.close()
        self._counts.clear()

    def _device(self, card: Card) -> Iterator[Source]:
        base, own = f"{card.folder}/device", (card.id, card.name)
        total = first_number(text(f"{base}/mem_info_vram_total").encode()) or 0
        full = self.memory_utilization if total >= LEAST_MEMORY else self.carved_utilization
        share = (full.series(*own), float(total)) if total else None
        general = self.utilization.series(*own, "general")
        return existing(
            (
                Source(f"{base}/gpu_busy_percent", general, 0.01, most=1.0),
                Source(f"{base}/mem_busy_percent", self.memory_busy.series(*own), 0.01, most=1.0),
                Source(f"{base}/mem_info_vram_used", self.memory_usage.series(*own), share=share),
                Source(f"{base}/mem_info_vram_total", self.memory_limit.series(*own)),
                Source(f"{base}/mem_info_gtt_used", self.host_usage.series(*own)),
                Source(f"{base}/mem_info_gtt_total", self.host_limit.series(*own)),
                Source(f"{base}/pcie_replay_count", self.replays.series(*own)),
                Source(f"{base}/current_link_width", self.width.series(*own), most=64),
                Source(
                    f"{base}/current_link_speed",
                    self.generation.series(*own),
                    parse=pcie_generation,
                ),
            )
        )

    def _clocks(self, card: Card) -> Iterator[Source]:
        paths = {label: path for path, label in sensors(card.hwmon, "freq", "_input")}
        for label, part in (("sclk", "core"), ("mclk", "memory")):
            series = self.clock.series(card.id, card.name, part)
            levels = f"{card.folder}/device/pp_dpm_{label}"
            if label in paths:
                yield Source(paths[label], series, most=_gpu.MOST_HZ)
            elif os.path.exists(levels):
                yield Source(levels, series, _gpu.MHZ, _gpu.MOST_HZ, parse=chosen_level)

    def _sensors(self, card: Card) -> Iterator[Source]:
        base, own = card.hwmon, (card.id, card.name)
        yield from _gpu.temperatures(card)
        power = self.power.series(*own, "gpu")
        average = Source(f"{base}/power1_average", power, 1e-6, _gpu.MOST_WATTS)
        momentary = Source(f"{base}/power1_input", power, 1e-6, _gpu.MOST_WATTS)
        yield from list(existing((average, momentary)))[:1]
        limit = self.power_limit.series(*own)
        yield from existing(
            (
                Source(f"{base}/power1_cap", limit, 1e-6, _gpu.MOST_WATTS),
                Source(f"{base}/fan1_input", self.fan.series(*own), most=_gpu.MOST_RPM),
            )
        )

    def _processes(self, cards: list[Card]) -> Iterator[Sample]:
        """Yield whose memory it is; what ROCm allots is told by both sources, or by one."""
        computing, drawing = _kfd.held(self.host.sys), self._clients.read(self.host.proc)
        held: dict[tuple[str, str], dict[int, int]] = {}
        for card in cards:
            one, other = computing.get(card.id, {}), drawing.get(card.id, {})
            held[card.id, card.name] = {
                pid: max(one.get(pid, 0), other.get(pid, 0)) for pid in one.keys() | other.keys()
            }
        yield from self._users.samples(self.host, held)
        now = self.monotonic()
        self.gpu_uses.tell(self.name, [GpuUse(key[0], now, of) for key, of in held.items()])

    def _counted(self, card: Card) -> Iterator[Sample]:
        """Yield the memory errors of all blocks of the card together."""
        base = f"{card.folder}/device/ras"
        blocks = [name for name in listed(base) if name.endswith("_err_count")][:32]
        counts = [error_counts(text(f"{base}/{name}").encode()) for name in blocks]
        known = [count for count in counts if count is not None]
        if known:
            typed = (card.id, card.name, "gpu")
            yield self.fatal_errors(sum(one[0] for one in known), *typed, "uncorrected")
            yield self.errors(sum(one[1] for one in known), *typed, "corrected")


def chosen_level(raw: bytes) -> float | None:
    """Return the MHz of the level marked with a star, as in ``1: 991Mhz *``."""
    for line in raw.split(b"\n"):
        words = line.split()
        if len(words) == 3 and words[2] == b"*" and words[1][-3:].lower() == b"mhz":
            found = numbers([words[1][:-3]])
            return found[0] if found else None
    return None


def pcie_generation(raw: bytes) -> float | None:
    """Return the generation of a link from its speed, as in ``16.0 GT/s PCIe``."""
    return GENERATIONS.get(raw.split(b" ", 1)[0])


def error_counts(raw: bytes) -> tuple[int, int] | None:
    """Return uncorrected and corrected errors of one block, as in ``ue: 0``, ``ce: 3``."""
    uncorrected = number_after(b"\n" + raw, b"\nue: ")
    corrected = number_after(b"\n" + raw, b"\nce: ")
    if uncorrected is None or corrected is None:
        return None
    return uncorrected, corrected


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [AmdGpu]
