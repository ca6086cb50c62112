"""Collector ``intel_gpu``: Intel GPUs as the drivers i915 and xe tell of them in sysfs.

The drivers count how long each graphics tile (GT) was asleep; the rest of the time it was awake,
which is the load as far as it can be told without a performance counter. The GPU is as busy as its
busiest tile. A card that the kernel has put to sleep is not asked, as a reading would wake it up.
Power is told as energy, whose rate it is. A GPU inside a processor is held down whenever the
processor is hot, so only a card of its own raises an alarm for that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from vedette.api import Collector, GpuUse, Sample, Unavailable, hookimpl
from vedette_plugins import _gpu
from vedette_plugins._drm_clients import Clients
from vedette_plugins._gpu import Card, Cards, GpuConfig, Source, existing, sensors
from vedette_plugins._gpu_users import Users
from vedette_plugins._procfs import KernelFile, first_number, listed

#: Tiles of one card that are read; the largest has two with two GTs each.
TILES_MAX = 8
#: What the drivers call the reasons for a lower clock, and what they are called here.
REASONS = {
    "pl1": "power_cap",
    "pl2": "power_burst",
    "pl4": "power_peak",
    "ratl": "running_average_thermal",
    "thermal": "thermal",
    "prochot": "processor_hot",
    "vr_tdc": "regulator_current",
    "vr_thermalert": "regulator_thermal",
}
GRAVE = ("thermal", "vr_thermalert")


class Tile:
    """One GT: the file that counts its sleep in ms, and the reading before."""

    def __init__(self, path: str) -> None:
        self._file = KernelFile(path, one_record=True)
        self._before: tuple[int, float] | None = None

    def busy(self, folder: str, now: float) -> float | None:
        """Return the share of the time it was awake since the reading before; None: unknown."""
        before, self._before = self._before, None
        try:
            asleep = first_number(self._file.read(folder))
        except (OSError, Unavailable):
            return None
        # A GPU that may not sleep has a count that stays at zero; it says nothing of its load.
        if not asleep:
            return None
        self._before = (asleep, now)
        if before is None or asleep < before[0] or now <= before[1]:
            return None
        return max(0.0, 1.0 - (asleep - before[0]) / 1000.0 / (now - before[1]))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class IntelGpu(Collector):
    """Load, clocks, throttling, energy and temperatures of each Intel GPU."""

    name = "intel_gpu"
    Config = GpuConfig
    source = "/sys/class/drm/card*"

    utilization = _gpu.UTILIZATION
    clock = _gpu.CLOCK
    throttled = _gpu.THROTTLED
    slowed = _gpu.SLOWED
    temperature = _gpu.TEMPERATURE
    heat = _gpu.HEAT
    energy = _gpu.ENERGY
    power_limit = _gpu.POWER_LIMIT
    fan = _gpu.FAN
    count = _gpu.COUNT
    process_memory = _gpu.PROCESS_MEMORY

    def __init__(self, config: GpuConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self._clients, self._users = Clients(), Users()
        self._cards = Cards(config, ("i915", "xe"))
        self._tiles: dict[str, dict[str, Tile]] = {}

    def probe(self) -> None:
        self._cards.look(self.host.sys)

    def collect(self) -> Iterator[Sample]:
        cards = self._cards.known(self.host.sys)
        yield self.count(len(cards), "Intel")
        joules: dict[str, float] = {}
        awake = [card for card in cards if not card.sleeps]
        for card in awake:
            if not card.sources:
                self._find(card)
            for one in card.read():
                if one.series.instrument is self.energy:
                    joules[card.id] = one.value
                yield one
            yield from self._busy(card)
        yield from self._processes(awake, joules)

    def close(self) -> None:
        self.gpu_uses.tell(self.name, ())
        self._cards.close()
        for tiles in self._tiles.values():
            for tile in tiles.values():
                tile.close()
        self._tiles.clear()

    def _busy(self, card: Card) -> Iterator[Sample]:
        now = self.monotonic()
        shares = [tile.busy(card.folder, now) for tile in self._tiles[card.id].values()]
        known = [share for share in shares if share is not None]
        if known:
            yield self.utilization(max(known), card.id, card.name, "general")

    def _processes(self, cards: list[Card], joules: dict[str, float]) -> Iterator[Sample]:
        """Yield whose memory it is, of cards that have their own."""
        clients = self._clients.read(self.host.proc)
        held = {(card.id, card.name): clients.get(card.id, {}) for card in cards}
        yield from self._users.samples(self.host, held)
        now, unknown = self.monotonic(), float("nan")
        uses = [GpuUse(key[0], now, of, joules.get(key[0], unknown)) for key, of in held.items()]
        self.gpu_uses.tell(self.name, uses)

    def _find(self, card: Card) -> None:
        """Find the files of a card; tiles that are known go on counting."""
        folders = list(tile_folders(card.folder))
        before = self._tiles.get(card.id, {})
        self._tiles[card.id] = {
            path: before.get(path) or Tile(path)
            for path in (asleep for _, _, asleep, _ in folders)
            if os.path.exists(f"{card.folder}/{path}")
        }
        for tile, clock, _, throttle in folders:
            series = self.clock.series(card.id, card.name, tile)
            path = f"{card.folder}/{clock}"
            card.sources += existing([Source(path, series, _gpu.MHZ, _gpu.MOST_HZ)])
            if tile == "gt0":
                card.sources += self._reasons(card, f"{card.folder}/{throttle}")
        card.sources += self._sensors(card)

    def _reasons(self, card: Card, prefix: str) -> Iterator[Source]:
        for reason, name in REASONS.items():
            is_grave = card.hwmon and reason in GRAVE
            instrument = self.slowed if is_grave else self.throttled
            series = instrument.series(card.id, card.name, name)
            yield from existing([Source(f"{prefix}{reason}", series, most=1.0)])

    def _sensors(self, card: Card) -> Iterator[Source]:
        base, own = card.hwmon, (card.id, card.name)
        if not base:
            return
        yield from _gpu.temperatures(card)
        # The first is the whole card where the driver knows it, else there is only the chip.
        for path, _ in sensors(base, "energy", "_input"):
            yield Source(path, self.energy.series(*own, "gpu"), 1e-6)
            break
        limit = self.power_limit.series(*own)
        files = [f"{base}/power{index}_{what}" for index in (1, 2) for what in ("max", "cap")]
        limits = existing(Source(path, limit, 1e-6, _gpu.MOST_WATTS) for path in files)
        yield from list(limits)[:1]
        fan = self.fan.series(*own)
        yield from existing([Source(f"{base}/fan1_input", fan, most=_gpu.MOST_RPM)])


def tile_folders(folder: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, clock, count of sleep and begin of the throttle reasons of each tile.

    Of xe they are below the device, of i915 below the card, and of old kernels one for all.
    """
    found = []
    for tile in listed(f"{folder}/device"):
        if tile.startswith("tile"):
            gts = [name for name in listed(f"{folder}/device/{tile}") if name.startswith("gt")]
            found += [f"device/{tile}/{name}" for name in gts]
    for index, path in enumerate(found[:TILES_MAX]):
        clock, asleep = f"{path}/freq0/act_freq", f"{path}/gtidle/idle_residency_ms"
        yield f"gt{index}", clock, asleep, f"{path}/freq0/throttle/reason_"
    if found:
        return
    for name in [name for name in listed(f"{folder}/gt") if name.startswith("gt")][:TILES_MAX]:
        path = f"gt/{name}"
        clock, asleep = f"{path}/rps_act_freq_mhz", f"{path}/rc6_residency_ms"
        yield name, clock, asleep, f"{path}/throttle_reason_"
        found.append(path)
    if not found:
        yield "gt0", "gt_act_freq_mhz", "power/rc6_residency_ms", "throttle_reason_"


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [IntelGpu]
