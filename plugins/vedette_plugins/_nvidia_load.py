"""What moves on an NVIDIA GPU: read at each tick by ``nvidia``, in about 15 calls of NVML."""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Sample, counter
from vedette_plugins import _gpu
from vedette_plugins._nvml import DIE, MEMORY, SM, Field, Gpu

#: Fields of NVML by number; ``ALL`` asks for all links together.
ALL = 0xFFFFFFFF
CORRECTED, UNCORRECTED, MEMORY_TEMPERATURE, ENERGY, REPLAYS = 3, 4, 82, 83, 94
LINK_SENT, LINK_RECEIVED, SENT, RECEIVED = 138, 139, 197, 198
LINK_ERRORS = {38: "crc_flit", 45: "crc_data", 52: "replay", 59: "recovery"}
FIELDS: tuple[Field, ...] = (
    CORRECTED,
    UNCORRECTED,
    MEMORY_TEMPERATURE,
    ENERGY,
    REPLAYS,
    SENT,
    RECEIVED,
    (LINK_SENT, ALL),
    (LINK_RECEIVED, ALL),
    *LINK_ERRORS,
)
MOVED = ((SENT, 1, "transmit"), (RECEIVED, 1, "receive"))
LINK_MOVED = ((LINK_SENT, 1024, "transmit"), (LINK_RECEIVED, 1024, "receive"))
#: Why the clock is held down, by bit: what is meant to be so, and what a person should know of.
REASONS = ((1, "idle"), (2, "setting"), (4, "power_cap"), (16, "sync_boost"), (256, "display"))
POWER_CAP = 4
GRAVE = ((8, "hardware"), (32, "thermal"), (64, "hardware_thermal"), (128, "power_brake"))

Own = tuple[str, str]


class LoadSeries:
    """The series read at each tick: part of the collector of NVIDIA GPUs."""

    utilization = _gpu.UTILIZATION
    memory_busy = _gpu.MEMORY_BUSY
    memory_usage = _gpu.MEMORY_USAGE
    memory_limit = _gpu.MEMORY_LIMIT
    memory_utilization = _gpu.MEMORY_UTILIZATION
    temperature = _gpu.TEMPERATURE
    heat = _gpu.HEAT
    power = _gpu.POWER
    energy = _gpu.ENERGY
    clock = _gpu.CLOCK
    fan = _gpu.FAN_RATIO
    throttled = _gpu.THROTTLED
    slowed = _gpu.SLOWED
    errors = _gpu.ERRORS
    fatal_errors = _gpu.FATAL_ERRORS
    replays = _gpu.REPLAYS
    io = counter(
        "hw.gpu.io",
        "By",
        "Bytes the GPU moved over PCI Express.",
        [*_gpu.GPU, "network.io.direction"],
        resource="gpu",
        alarm="never",
    )
    link_io = counter(
        "vedette.gpu.nvlink.io",
        "By",
        "Bytes the GPU moved over NVLink.",
        [*_gpu.GPU, "network.io.direction"],
        resource="gpu",
        alarm="never",
    )
    link_errors = counter(
        "vedette.gpu.nvlink.errors",
        "{error}",
        "Errors of this sort on all NVLink connections of the GPU.",
        [*_gpu.GPU, "vedette.gpu.nvlink.error"],
        resource="gpu",
        alarm="never",
    )

    def load(self, gpu: Gpu) -> Iterator[Sample]:
        """Yield the readings of a GPU; raises what ``Gpu.ask`` does."""
        own = (gpu.id, gpu.name)
        rates = gpu.ask("nvmlDeviceGetUtilizationRates")
        encoder = gpu.ask("nvmlDeviceGetEncoderUtilization")
        decoder = gpu.ask("nvmlDeviceGetDecoderUtilization")
        for percent, task in (
            (rates.gpu if rates else None, "general"),
            (encoder[0] if encoder else None, "encoder"),
            (decoder[0] if decoder else None, "decoder"),
        ):
            if percent is not None and percent <= 100:
                yield self.utilization(percent * 0.01, *own, task)
        if rates and rates.memory <= 100:
            yield self.memory_busy(rates.memory * 0.01, *own)
        gpu.memory = 0
        memory = gpu.ask("nvmlDeviceGetMemoryInfo")
        if memory and 0 < memory.total < 1 << 60 and memory.used <= memory.total:
            gpu.memory = memory.total
            yield self.memory_usage(memory.used, *own)
            yield self.memory_limit(memory.total, *own)
            yield self.memory_utilization(memory.used / memory.total, *own)
        yield from self._electric(gpu, own)
        yield from self._reasons(gpu, own)
        yield from self._fields(gpu.fields(FIELDS), gpu, own)

    def _electric(self, gpu: Gpu, own: Own) -> Iterator[Sample]:
        milliwatts = gpu.ask("nvmlDeviceGetPowerUsage")
        if milliwatts is not None and milliwatts * 1e-3 <= _gpu.MOST_WATTS:
            yield self.power(milliwatts * 1e-3, *own, "gpu")
        for clock, part in ((SM, "core"), (MEMORY, "memory")):
            megahertz = gpu.ask("nvmlDeviceGetClockInfo", clock)
            if megahertz is not None and megahertz * _gpu.MHZ <= _gpu.MOST_HZ:
                yield self.clock(megahertz * _gpu.MHZ, *own, part)
        percent = gpu.ask("nvmlDeviceGetFanSpeed")
        if percent is not None and percent <= 200:
            yield self.fan(min(1.0, percent * 0.01), *own)
        degrees = gpu.ask("nvmlDeviceGetTemperature", DIE)
        if degrees is None:
            degrees = gpu.ask("nvmlDeviceGetTemperatureV", DIE)
        yield from self._warmth(gpu, own, degrees, "die")

    def _warmth(self, gpu: Gpu, own: Own, degrees: float | None, place: str) -> Iterator[Sample]:
        if degrees is None or not 0 <= degrees <= _gpu.HOTTEST_CEL:
            return
        yield self.temperature(degrees, *own, place)
        if place in gpu.limits:
            yield self.heat(min(1.0, degrees / gpu.limits[place]), *own, place)

    def _reasons(self, gpu: Gpu, own: Own) -> Iterator[Sample]:
        reasons = gpu.ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:
            reasons = gpu.ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        if reasons is None:
            return
        capped = bool(reasons & POWER_CAP)
        if capped and gpu.capped is False:
            gpu.power_limit_w()  # not only once a minute: that it was lowered may be why
        gpu.capped = capped
        for instrument, bits in ((self.throttled, REASONS), (self.slowed, GRAVE)):
            for bit, name in bits:
                yield instrument(1.0 if reasons & bit else 0.0, *own, name)

    def _fields(self, fields: dict[int, float], gpu: Gpu, own: Own) -> Iterator[Sample]:
        yield from self._warmth(gpu, own, fields.get(MEMORY_TEMPERATURE), "memory")
        gpu.energy_j = fields[ENERGY] * 1e-3 if ENERGY in fields else float("nan")
        if ENERGY in fields:
            yield self.energy(fields[ENERGY] * 1e-3, *own, "gpu")
        if CORRECTED in fields:
            yield self.errors(fields[CORRECTED], *own, "gpu", "corrected")
        if UNCORRECTED in fields:
            yield self.fatal_errors(fields[UNCORRECTED], *own, "gpu", "uncorrected")
        if REPLAYS in fields:
            yield self.replays(fields[REPLAYS], *own)
        for instrument, moved in ((self.io, MOVED), (self.link_io, LINK_MOVED)):
            for field, unit, direction in moved:
                if field in fields:
                    yield instrument(fields[field] * unit, *own, direction)
        for field, error in LINK_ERRORS.items():
            if field in fields:
                yield self.link_errors(fields[field], *own, error)
