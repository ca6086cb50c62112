"""Collector ``memory_errors``: errors the ECC memory corrected or could not, from EDAC in /sys.

The kernel's memory-controller drivers count them; reading the counts touches no hardware. A
controller's count is all its errors and the one that raises findings. A module's says which one to
replace; errors that no module could be blamed for stand under the module ``unknown``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, counter, hookimpl
from vedette_plugins._attributes import number, word

FOLDER = "devices/system/edac/mc"
#: Controllers read; the largest machines have some dozens.
CONTROLLERS_MAX = 128
_TYPES = (("ce", "corrected"), ("ue", "uncorrected"))


class MemoryErrorsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much detail per memory module."""

    max_modules: Annotated[
        int, Meta(ge=0, le=4096, description="Memory modules (DIMMs) read; 0 for controllers only.")
    ] = 64


class MemoryErrors(Collector):
    """Errors of ECC memory per controller and module."""

    name = "memory_errors"
    source = "/sys/devices/system/edac/mc"
    Config = MemoryErrorsConfig
    interval_s = 60.0
    may_block = False

    errors = counter(
        "hw.errors",
        "{error}",
        "Memory errors of a controller since its driver was loaded, corrected or not.",
        ["hw.type", "hw.id", "error.type"],
        resource="memory",
        alarm="high",
    )
    module_errors = counter(
        "vedette.memory.module.errors",
        "{error}",
        "Memory errors of one module, by its place and the label on the board.",
        ["hw.id", "hw.name", "error.type"],
        resource="memory",
        alarm="never",
    )

    def probe(self) -> None:
        if not self._controllers():
            raise Unavailable("no memory controller that reports errors (EDAC)")

    def collect(self) -> Iterator[Sample]:
        left = self.config.max_modules
        base = f"{self.host.sys}/{FOLDER}"
        for controller in self._controllers():
            folder = f"{base}/{controller}"
            for prefix, kind in _TYPES:
                count = number(f"{folder}/{prefix}_count")
                if count is not None:
                    yield self.errors(count, "memory", controller, kind)
            if self.config.max_modules:
                yield from self._unknown(folder, controller)
            for module in numbered(folder, ("dimm", "rank"))[:left]:
                left -= 1
                yield from self._module(folder, controller, module)

    def _controllers(self) -> list[str]:
        return numbered(f"{self.host.sys}/{FOLDER}", ("mc",))[:CONTROLLERS_MAX]

    def _unknown(self, folder: str, controller: str) -> Iterator[Sample]:
        for prefix, kind in _TYPES:
            count = number(f"{folder}/{prefix}_noinfo_count")
            if count is not None:
                yield self.module_errors(count, f"{controller}/unknown", "unknown", kind)

    def _module(self, folder: str, controller: str, module: str) -> Iterator[Sample]:
        label = word(f"{folder}/{module}/dimm_label")
        for prefix, kind in _TYPES:
            count = number(f"{folder}/{module}/dimm_{prefix}_count")
            if count is not None:
                yield self.module_errors(count, f"{controller}/{module}", label, kind)


def numbered(folder: str, stems: tuple[str, ...]) -> list[str]:
    """Return the entries of a folder that are one of the stems and a number, in order of number."""
    found: list[tuple[str, int, str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                for stem in stems:
                    digits = entry.name.removeprefix(stem)
                    if digits != entry.name and re.fullmatch("[0-9]{1,4}", digits):
                        found.append((stem, int(digits), entry.name))
    except OSError:
        return []
    return [name for _, _, name in sorted(found)]


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [MemoryErrors]
