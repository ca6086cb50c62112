"""Collector ``sensors``: temperatures, fans, voltages, power, energy, humidity and batteries.

What the kernel offers below /sys/class/hwmon, thermal, powercap (RAPL) and power_supply. Sensors
are named by chip and device, not by the number of the hwmon folder, which differs from boot to
boot. Reading one may go over a slow bus, so this collector has a thread of its own; which sensors
there are is looked up again every five minutes. A temperature is judged by its share of the chip's
own critical limit, and by the chip's own alarms; a value alone says nothing to a person.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from vedette.api import (
    Collector,
    Instrument,
    Sample,
    Unavailable,
    counter,
    gauge,
    hookimpl,
)
from vedette_plugins._attributes import names, word
from vedette_plugins._procfs import Choice

#: Ticks between two looks at which sensors there are.
LOOK_EVERY = 30
#: Readings beyond these are a broken sensor (in the unit of the metric).
SANE = {"Cel": (-100.0, 400.0), "rpm": (0.0, 1e6), "V": (-1e4, 1e4), "A": (-1e5, 1e5)}
_SENSOR = ["hw.id", "hw.name"]


class SensorsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which sensors are read."""

    include: Annotated[
        tuple[str, ...], Meta(description="Globs of sensor ids to read whatever `exclude` says.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Meta(
            description="Globs of sensor ids that are not read; by default those of the GPUs, "
            "which have collectors of their own."
        ),
    ] = ("amdgpu/*", "i915/*", "xe/*")
    max_sensors: Annotated[
        int, Meta(description="The most sensors that are read, in order of id.", ge=1, le=1000)
    ] = 100


class Sensor(NamedTuple):
    """One file to read: ``value * scale`` in the instrument's unit; ``critical`` likewise or 0."""

    instrument: Instrument
    path: str
    id: str
    name: str
    scale: float
    critical: float = 0.0


class Sensors(Collector):
    """Temperatures, fans, power and batteries of the hardware."""

    name = "sensors"
    Config = SensorsConfig
    interval_s = 10.0
    may_block = "seldom"
    source = "/sys/class/hwmon"

    temperature = gauge(
        "hw.temperature", "Cel", "Temperature.", _SENSOR, resource="hardware", alarm="never"
    )
    heat = gauge(
        "vedette.hw.temperature.utilization",
        "1",
        "Temperature as a share of the critical one that the chip itself names, 0 to 1.",
        _SENSOR,
        resource="hardware",
        alarm="high",
        limit=1.0,
    )
    fan = gauge(
        "hw.fan.speed", "rpm", "Speed of a fan.", _SENSOR, resource="hardware", alarm="never"
    )
    voltage = gauge("hw.voltage", "V", "Voltage.", _SENSOR, resource="hardware", alarm="never")
    current = gauge(
        "vedette.hw.current", "A", "Electric current.", _SENSOR, resource="hardware", alarm="never"
    )
    power = gauge(
        "hw.power", "W", "Power taken at this sensor.", _SENSOR, resource="hardware", alarm="never"
    )
    energy = counter(
        "hw.energy",
        "J",
        "Energy taken at this sensor.",
        _SENSOR,
        resource="hardware",
        alarm="never",
        source="/sys/class/powercap, /sys/class/hwmon",
    )
    humidity = gauge(
        "vedette.hw.humidity",
        "1",
        "Relative humidity of the air, 0 to 1.",
        _SENSOR,
        resource="hardware",
        alarm="never",
    )
    alarms = gauge(
        "vedette.hw.alarms",
        "{alarm}",
        "Alarms that the chip itself raises (limits passed, fans failed).",
        ["hw.id"],
        resource="hardware",
        alarm="high",
    )
    charge = gauge(
        "hw.battery.charge",
        "1",
        "Charge of a battery, 0 to 1.",
        _SENSOR,
        resource="hardware",
        alarm="low",
        source="/sys/class/power_supply",
    )
    online = gauge(
        "vedette.hw.power_supply.online",
        "1",
        "1 while this external power supply feeds the host, 0 otherwise.",
        _SENSOR,
        resource="hardware",
        alarm="low",
        source="/sys/class/power_supply",
    )

    def __init__(self, config: SensorsConfig) -> None:
        super().__init__(config)
        self._choice = Choice(config.include, config.exclude)
        self._sensors: list[Sensor] = []
        self._alarms: dict[str, list[str]] = {}
        self._ticks = 0

    def probe(self) -> None:
        self._look()
        if not self._sensors:
            raise Unavailable("no sensor is to be found below /sys/class")

    def collect(self) -> Iterator[Sample]:
        if self._ticks % LOOK_EVERY == 0:
            self._look()
        self._ticks += 1
        for sensor in self._sensors:
            raw = signed(sensor.path)
            if raw is None:
                continue
            yield from self._samples(sensor, raw * sensor.scale)
        for chip, paths in self._alarms.items():
            states = [state for state in map(signed, paths) if state is not None]
            if states:
                yield self.alarms(sum(1 for state in states if state > 0), chip)

    def _samples(self, sensor: Sensor, value: float) -> Iterator[Sample]:
        low, high = SANE.get(sensor.instrument.unit, (0.0, 1e15))
        if sensor.instrument.unit == "1":
            high = 1.0
        if not low <= value <= high:
            return
        yield sensor.instrument(value, sensor.id, sensor.name)
        if sensor.critical > 0:
            share = min(1.0, max(0.0, value / sensor.critical))
            yield self.heat(share, sensor.id, sensor.name)

    def _look(self) -> None:
        """Find the sensors there are."""
        base = f"{self.host.sys}/class"
        found: list[Sensor] = []
        self._alarms = {}
        for folder in folders(f"{base}/hwmon"):
            found += self._chip(folder)
        if not any(one.instrument is self.temperature for one in found):
            found += self._zones(f"{base}/thermal")
        found += self._rapl(f"{base}/powercap")
        found += self._supplies(f"{base}/power_supply")
        chosen = {
            (one.instrument.name, one.id): one
            for one in sorted(found, key=lambda one: (one.id, one.path))
            if self._choice.verdict(one.id) is not False
        }
        self._sensors = list(chosen.values())[: self.config.max_sensors]

    def _chip(self, folder: str) -> Iterator[Sensor]:
        chip = word(f"{folder}/name") or "chip"
        # The limits and alarms of an excluded chip are not read either: it would wake up.
        if self._choice.verdict(f"{chip}/") is False:
            return
        device = os.path.basename(os.path.realpath(f"{folder}/device"))
        if not os.path.exists(f"{folder}/device"):
            device = os.path.basename(folder)
        alarms = []
        kinds = self._kinds()
        for name in names(folder):
            path = f"{folder}/{name}"
            if name.endswith("_alarm"):
                alarms.append(path)
                continue
            channel, _, what = name.rpartition("_")
            kind = channel.rstrip("0123456789")
            known = kinds.get(kind)
            if known is None or what not in ("input", "average"):
                continue
            instrument, scale = known
            label = word(f"{folder}/{channel}_label") or channel
            critical = 0.0
            if kind == "temp":
                critical = (signed(f"{folder}/{channel}_crit") or 0.0) * scale
            yield Sensor(
                instrument,
                path,
                f"{chip}/{device}/{channel}",
                label,
                scale,
                critical if 20.0 <= critical <= 150.0 else 0.0,
            )
        if alarms:
            self._alarms[f"{chip}/{device}"] = alarms

    def _kinds(self) -> dict[str, tuple[Instrument, float]]:
        return {
            "temp": (self.temperature, 1e-3),
            "fan": (self.fan, 1.0),
            "in": (self.voltage, 1e-3),
            "curr": (self.current, 1e-3),
            "power": (self.power, 1e-6),
            "energy": (self.energy, 1e-6),
            "humidity": (self.humidity, 1e-5),
        }

    def _zones(self, base: str) -> Iterator[Sensor]:
        """Thermal zones repeat what hwmon has, so they are read only where that has nothing."""
        for folder in folders(base):
            zone = os.path.basename(folder)
            if zone.startswith("thermal_zone"):
                kind = word(f"{folder}/type") or zone
                yield Sensor(self.temperature, f"{folder}/temp", zone, kind, 1e-3)

    def _rapl(self, base: str) -> Iterator[Sensor]:
        for folder in folders(base):
            if os.access(f"{folder}/energy_uj", os.R_OK):
                zone = os.path.basename(folder)
                label = word(f"{folder}/name") or zone
                yield Sensor(self.energy, f"{folder}/energy_uj", zone, label, 1e-6)

    def _supplies(self, base: str) -> Iterator[Sensor]:
        for folder in folders(base):
            name = os.path.basename(folder)
            kind = word(f"{folder}/type")
            if kind == "Battery" and word(f"{folder}/scope") != "Device":
                yield Sensor(self.charge, f"{folder}/capacity", name, kind, 0.01)
            elif kind in ("Mains", "USB"):
                yield Sensor(self.online, f"{folder}/online", name, kind, 1.0)


def folders(base: str) -> list[str]:
    """Return the folders (or links to such) below one, in order; none when there is none."""
    return [f"{base}/{name}" for name in names(base)]


def signed(path: str) -> float | None:
    """Return the whole number in a small file, which may be negative; None when there is none."""
    text = word(path)
    digits = text.removeprefix("-")
    return float(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Sensors]
