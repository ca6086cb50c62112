"""What the collectors of GPUs share: names of metrics, and files of a card below /sys/class/drm.

A metric means the same whoever made the GPU, so it is declared once here and taken over by the
collectors that can read it. ``hw.id`` is the address on the PCI bus (``0000:17:00.0``), which a
card keeps for as long as it stays in its slot, ``hw.name`` the model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from vedette.api import Instrument, Sample, Series, Unavailable, counter, gauge, updown
from vedette_plugins._procfs import Choice, KernelFile, beginning, first_number, listed, printable

MHZ = 1e6
#: Bounds of what a working GPU can report; beyond them the driver had no value, or a wrong one.
HOTTEST_CEL, MOST_WATTS, MOST_HZ, MOST_RPM = 200.0, 20_000.0, 1e11, 1e5
#: GPUs of one host that are read.
GPUS_MAX = 64
#: Readings of sysfs between two looks at which GPUs there are, and which files they have.
LOOK_EVERY = 6
#: Sensors of one kind that a card has; its files are numbered from 1.
SENSORS_MAX = 16
#: Temperatures told per card (newer ones have one for each memory channel), and other names for
#: the same place.
PLACES_MAX = 4
PLACES = {"mem": "memory", "vram": "memory", "pkg": "die"}

GPU = ["hw.id", "hw.name"]
TYPED = [*GPU, "hw.type"]


def _declared(make: Callable[..., Instrument], *described: Any, **meaning: Any) -> Instrument:
    meaning.setdefault("alarm", "never")
    return make(*described, resource="gpu", **meaning)


_THROTTLED = (
    "vedette.gpu.throttled",
    "1",
    "1 while the clock is held down for this reason, 0 otherwise.",
    [*GPU, "vedette.gpu.throttle.reason"],
)
_ERRORS = ("hw.errors", "{error}", "Errors of the GPU.", [*TYPED, "error.type"])
_WIDTH = ("vedette.gpu.pcie.width", "{lane}", "Lanes of the PCI Express link in use.", GPU)
_MEMORY = ("hw.gpu.memory.utilization", "1", "Share of the GPU's memory in use, 0 to 1.", GPU)

UTILIZATION = _declared(
    gauge,
    "hw.gpu.utilization",
    "1",
    "Share of the time in which the GPU did this task, 0 to 1.",
    [*GPU, "hw.gpu.task"],
    limit=1.0,
)
MEMORY_BUSY = _declared(
    gauge,
    "vedette.gpu.memory.busy",
    "1",
    "Share of the time in which the GPU's memory was read or written, 0 to 1.",
    GPU,
    limit=1.0,
)
MEMORY_USAGE = _declared(
    updown, "hw.gpu.memory.usage", "By", "Memory of the GPU that is in use.", GPU
)
MEMORY_LIMIT = _declared(updown, "hw.gpu.memory.limit", "By", "Memory that the GPU has.", GPU)
MEMORY_UTILIZATION = _declared(gauge, *_MEMORY, alarm="high", limit=1.0)
CARVED_UTILIZATION = _declared(gauge, *_MEMORY, limit=1.0)
TEMPERATURE = _declared(
    gauge,
    "hw.temperature",
    "Cel",
    "Temperature of the GPU at this place.",
    [*GPU, "hw.sensor_location"],
)
HEAT = _declared(
    gauge,
    "vedette.gpu.temperature.utilization",
    "1",
    "Temperature as a share of the one at which the GPU slows down to protect itself, 0 to 1.",
    [*GPU, "hw.sensor_location"],
    alarm="high",
    limit=1.0,
)
POWER = _declared(gauge, "hw.power", "W", "Power the GPU takes.", TYPED)
POWER_LIMIT = _declared(
    gauge, "vedette.gpu.power.limit", "W", "Power the GPU is allowed to take.", GPU
)
ENERGY = _declared(counter, "hw.energy", "J", "Energy the GPU took.", TYPED)
CLOCK = _declared(
    gauge,
    "vedette.gpu.clock.frequency",
    "Hz",
    "Clock of this part of the GPU: its cores, its memory, or an Intel graphics tile.",
    [*GPU, "vedette.gpu.clock"],
)
FAN = _declared(gauge, "hw.fan.speed", "rpm", "Speed of the GPU's fan.", GPU)
FAN_RATIO = _declared(
    gauge, "hw.fan.speed_ratio", "1", "Speed of the GPU's fan as a share of its highest.", GPU
)
THROTTLED = _declared(gauge, *_THROTTLED)
SLOWED = _declared(gauge, *_THROTTLED, alarm="high")
ERRORS = _declared(counter, *_ERRORS)
FATAL_ERRORS = _declared(counter, *_ERRORS, alarm="high")
REPLAYS = _declared(
    counter,
    "vedette.gpu.pcie.replays",
    "{packet}",
    "Packets sent again over PCI Express as they arrived damaged.",
    GPU,
)
GENERATION = _declared(
    gauge,
    "vedette.gpu.pcie.generation",
    "{generation}",
    "Generation of PCI Express that the link runs at; an idle GPU goes down to 1 to save power.",
    GPU,
)
WIDTH = _declared(gauge, *_WIDTH)
STEADY_WIDTH = _declared(gauge, *_WIDTH, alarm="low")
PROCESS_MEMORY = _declared(
    updown,
    "vedette.gpu.process.memory",
    "By",
    "Memory of the GPU that processes of this name hold, and the unit or container they are of.",
    [*GPU, "process.executable.name", "systemd.unit.name", "container.name"],
)
COUNT = _declared(
    updown,
    "vedette.gpu.count",
    "{gpu}",
    "GPUs of this maker that answer; one that fell off the bus does not.",
    ["hw.vendor"],
    alarm="low",
)


class GpuConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which GPUs are read."""

    include: Annotated[
        tuple[str, ...],
        Meta(description="Globs of PCI addresses (0000:17:00.0) to read whatever `exclude` says."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of PCI addresses of GPUs that are not read.")
    ] = ()


class Card:
    """A GPU below /sys/class/drm: who drives it, what is read of it, and whether it sleeps."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        lines = text(f"{folder}/device/uevent").split("\n")
        facts = dict(one.split("=", 1) for one in lines if "=" in one)
        self.driver = facts.get("DRIVER", "")
        self.id = facts.get("PCI_SLOT_NAME", "") or os.path.basename(folder)
        made = line(f"{folder}/device/product_name")
        self.name = made or f"{self.driver} {facts.get('PCI_ID', 'GPU').lower()}"
        self.hwmon = _hwmon(f"{folder}/device/hwmon")
        self.sources: list[Source] = []
        self._status = KernelFile("device/power/runtime_status", one_record=True)

    @property
    def sleeps(self) -> bool:
        """Whether the kernel has put it to sleep: a reading would wake it up."""
        try:
            return self._status.read(self.folder).startswith(b"suspend")
        except (OSError, Unavailable):
            return False

    def read(self) -> Iterator[Sample]:
        """Yield what its files say."""
        for source in self.sources:
            yield from source.read()

    def close(self) -> None:
        """Let go of its files."""
        self._status.close()
        for source in self.sources:
            source.file.close()


class Cards:
    """The GPUs of some drivers that the configuration wants, looked for anew once a minute."""

    def __init__(self, config: GpuConfig, drivers: tuple[str, ...]) -> None:
        self._choice = Choice(config.include, config.exclude)
        self._drivers = drivers
        self._cards: list[Card] = []
        self._readings = 0

    def look(self, sys: str) -> None:
        """Find the cards there are now; raises ``Unavailable`` when there is none."""
        self.close()
        base = f"{sys}/class/drm"
        names = [name for name in listed(base) if name[:4] == "card" and name[4:].isdecimal()]
        names.sort(key=lambda name: (len(name), name))
        found: dict[str, Card] = {}
        for card in (Card(f"{base}/{name}") for name in names[:GPUS_MAX]):
            if card.driver in self._drivers and self._choice.verdict(card.id) is not False:
                found.setdefault(card.id, card)
        self._cards = list(found.values())
        self._require()

    def known(self, sys: str) -> list[Card]:
        """Return the cards to read now; those just found have no sources yet.

        Raises ``Unavailable`` when there is none.
        """
        is_due = self._readings % LOOK_EVERY == 0
        self._readings += 1
        if is_due:
            self.look(sys)
        self._require()
        return self._cards

    def close(self) -> None:
        """Let go of all files."""
        for card in self._cards:
            card.close()
        self._cards = []

    def _require(self) -> None:
        if not self._cards:
            raise Unavailable(f"no GPU with the driver {' or '.join(self._drivers)} on this host")


class Source:
    """A file with one number and the series it is told as: ``value * scale``, if at most ``most``.

    ``parse`` makes the number where the text is more than one; ``share`` is another series, and
    the whole that its value is the share of.
    """

    def __init__(
        self,
        path: str,
        series: Series,
        scale: float = 1.0,
        most: float = 1e18,
        *,
        parse: Callable[[bytes], float | None] | None = None,
        share: tuple[Series, float] | None = None,
    ) -> None:
        self.file = KernelFile(os.path.basename(path), one_record=True)
        self.folder = os.path.dirname(path)
        self.series = series
        self.scale = scale
        self.most = most
        self.parse = parse or first_number
        self.share = share

    def read(self) -> Iterator[Sample]:
        """Yield what the file says; nothing when it cannot be read, or says nothing sound."""
        try:
            raw = self.parse(self.file.read(self.folder))
        except (OSError, Unavailable):
            return
        if raw is None or not 0 <= raw * self.scale <= self.most:
            return
        value = raw * self.scale
        yield Sample(self.series, value)
        if self.share is not None:
            series, whole = self.share
            yield Sample(series, min(1.0, value / whole))


def temperatures(card: Card) -> Iterator[Source]:
    """Yield a card's temperatures, each with its share of the critical one where it names that."""
    seen: set[str] = set()
    for path, label in sensors(card.hwmon, "temp", "_input"):
        label = PLACES.get(label, label)
        if label in seen or len(seen) == PLACES_MAX:
            continue
        seen.add(label)
        critical = first_number(text(path.replace("_input", "_crit")).encode()) or 0
        share = None
        if 20_000 <= critical <= 150_000:
            share = (HEAT.series(card.id, card.name, label), critical * 1e-3)
        series = TEMPERATURE.series(card.id, card.name, label)
        yield Source(path, series, 1e-3, HOTTEST_CEL, share=share)


def existing(sources: Iterable[Source]) -> Iterator[Source]:
    """Yield the sources whose file is there."""
    return (one for one in sources if os.path.exists(f"{one.folder}/{one.file.name}"))


def sensors(hwmon: str, kind: str, what: str) -> Iterator[tuple[str, str]]:
    """Yield the path and label of a card's sensors of a kind (``temp``), numbered from 1."""
    for index in range(1, SENSORS_MAX + 1):
        path = f"{hwmon}/{kind}{index}{what}"
        if os.path.exists(path):
            yield path, line(f"{hwmon}/{kind}{index}_label") or f"{kind}{index}"


def text(path: str) -> str:
    """Return the text of a small file as it may be shown, lines kept; empty without one."""
    return "\n".join(printable(one) for one in beginning(path).split(b"\n"))


def line(path: str) -> str:
    """Return the first line of a small file as it may be shown; empty without one."""
    return text(path).split("\n", 1)[0].strip()


def _hwmon(base: str) -> str:
    found = [name for name in listed(base) if name.startswith("hwmon")]
    return f"{base}/{found[0]}" if found else ""
