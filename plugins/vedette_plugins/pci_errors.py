"""Collector ``pci_errors``: errors on the PCI Express links, as the devices report them (AER).

The kernel counts what a device reports; reading the counts touches no hardware. Sums over all
devices are there from the start, so that the first error already is a rise, and they raise the
findings: an error that is not corrected loses data or the device. A device has series of its own
from its first error on, which say where to look. A sum goes on when a device goes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, hookimpl
from vedette_plugins._attributes import attribute, names
from vedette_plugins._procfs import number_after

FOLDER = "bus/pci/devices"
#: Devices read at most, in order of address, and readings after which they are looked for again.
DEVICES_MAX, LOOK_EVERY = 512, 10
#: Kind of error as told here, its file, and the line of it that sums up the others.
KINDS = (
    ("correctable", "aer_dev_correctable", b"\nTOTAL_ERR_COR "),
    ("nonfatal", "aer_dev_nonfatal", b"\nTOTAL_ERR_NONFATAL "),
    ("fatal", "aer_dev_fatal", b"\nTOTAL_ERR_FATAL "),
)


class PciErrorsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much detail per device."""

    max_devices: Annotated[
        int, Meta(ge=0, le=512, description="Devices with errors that have series of their own.")
    ] = 64


class PciErrors(Collector):
    """Errors on PCI Express links, of the host and per device that had any."""

    name = "pci_errors"
    source = "/sys/bus/pci/devices/*/aer_dev_*"
    Config = PciErrorsConfig
    interval_s = 60.0
    may_block = False

    correctable = counter(
        "vedette.pci.errors.correctable",
        "{error}",
        "Errors that the hardware put right by itself, such as a packet sent anew.",
        resource="pci",
        alarm="never",
    )
    nonfatal = counter(
        "vedette.pci.errors.nonfatal",
        "{error}",
        "Errors that lost a transfer while the link kept working.",
        resource="pci",
        alarm="high",
    )
    fatal = counter(
        "vedette.pci.errors.fatal",
        "{error}",
        "Errors after which a link cannot be trusted and has to be reset.",
        resource="pci",
        alarm="high",
    )
    device_errors = counter(
        "vedette.pci.device.errors",
        "{error}",
        "Errors of one kind that one device reported; absent before the first.",
        ["vedette.pci.device", "error.type"],
        resource="pci",
        alarm="never",
    )

    def __init__(self, config: PciErrorsConfig) -> None:
        super().__init__(config)
        self._devices: list[str] = []
        self._readings = 0
        self._totals = [0] * len(KINDS)
        #: What each device's counts were, by its name and the kind of error.
        self._before: dict[tuple[str, str], int] = {}

    def probe(self) -> None:
        self._look()
        if not self._devices:
            raise Unavailable("no PCI device that reports errors (AER)")

    def collect(self) -> Iterator[Sample]:
        if self._readings % LOOK_EVERY == 0:
            self._look()
        self._readings += 1
        left = self.config.max_devices
        for device in self._devices:
            samples = list(self._device(device))
            if samples and left > 0:
                left -= 1
                yield from samples
        for total, instrument in zip(
            self._totals, (self.correctable, self.nonfatal, self.fatal), strict=True
        ):
            yield instrument(total)

    def _device(self, device: str) -> Iterator[Sample]:
        """Add what a device counted since the previous reading to the sums; yield its own."""
        for at, (kind, file, key) in enumerate(KINDS):
            text = attribute(f"{self.host.sys}/{FOLDER}/{device}/{file}")
            count = number_after(b"\n" + text, key) if text else None
            if count is None:
                continue
            before = self._before.get((device, kind), 0)
            # A lower count than before is that of another device in the same slot.
            self._totals[at] += count - before if count >= before else count
            self._before[device, kind] = count
            if count:
                yield self.device_errors(count, device, kind)

    def _look(self) -> None:
        """Find the devices that report errors, and forget those that are gone."""
        base = f"{self.host.sys}/{FOLDER}"
        self._devices = [
            device for device in names(base) if os.path.exists(f"{base}/{device}/aer_dev_fatal")
        ][:DEVICES_MAX]
        here = set(self._devices)
        self._before = {key: count for key, count in self._before.items() if key[0] in here}


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [PciErrors]
