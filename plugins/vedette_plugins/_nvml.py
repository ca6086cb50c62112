"""Ask NVIDIA's driver through its library NVML, and tell apart the ways in which it says no.

A GPU that cannot answer a question is not asked it again; one that fell off the bus is ``Lost``;
when the driver itself is gone or was replaced, ``Unavailable`` says so, and the library is to be
shut down. What was not answered for any other reason (busy, out of memory) is asked again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from vedette.api import Sample, Unavailable
from vedette_plugins._gpu import GPUS_MAX, MOST_WATTS, text
from vedette_plugins._procfs import listed, printable

#: Codes of nvml.h, part of its binary interface.
UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION = 1, 2, 3, 4
NOT_FOUND, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND = 6, 9, 12, 13
GPU_IS_LOST, RESET_REQUIRED, VERSION_MISMATCH = 15, 16, 18
ARGUMENT_VERSION, DEPRECATED = 25, 26
#: The answer will be the same at the next reading.
CANNOT = frozenset(
    (
        INVALID_ARGUMENT,
        NOT_SUPPORTED,
        NO_PERMISSION,
        NOT_FOUND,
        FUNCTION_NOT_FOUND,
        ARGUMENT_VERSION,
        DEPRECATED,
    )
)
GONE = {
    UNINITIALIZED: "the NVIDIA driver was unloaded",
    DRIVER_NOT_LOADED: "no NVIDIA driver is loaded",
    LIBRARY_NOT_FOUND: "the driver's library libnvidia-ml.so.1 is not installed",
    VERSION_MISMATCH: "the NVIDIA driver was upgraded: reload it, or restart vedette",
}
#: Sensor, clocks, temperature limits and the event of an error.
DIE, SM, MEMORY, SLOWDOWN, MEMORY_MAX, EVENT_XID = 0, 1, 2, 1, 2, 8
#: Events taken in one reading.
EVENTS_MAX = 256
#: Names of the C types a field's value may have, by their number.
FIELD_TYPES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

#: To this part of what it was a limit must fall to be told: laptops move it all the time.
LOWERED = 0.9

#: Number of a field of NVML, with the number of a link or of all where it has several.
Field = int | tuple[int, int]


class Lost(Exception):  # noqa: N818 - a state of the world, not an error
    """The GPU fell off the bus, or must be reset before it answers."""


class Gpu:
    """One GPU, and what it cannot tell."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.nvml = nvml
        self.handle = handle
        self.id = self.name = ""
        self.lost = False
        self.memory = 0
        self.divided: bool | None = None
        self.health: list[Sample] = []
        self.limits: dict[str, float] = {}
        #: The instances that it is divided into (MIG).
        self.parts: list[Gpu] = []
        #: Bytes that each process holds, by pid, and energy, of the newest reading.
        self.held: dict[int, int] | None = None
        self.energy_j = float("nan")
        #: Whether its power cap holds it down, the limit it was last seen with, and by what that
        #: limit was lowered: from and to.
        self.capped: bool | None = None
        self.limit_w = 0.0
        self.lowered: tuple[float, float] | None = None
        self._cannot: set[tuple[Any, ...]] = set()

    def find(self) -> None:
        """Find out which GPU it is; raises what ``ask`` does."""
        self.id = bus_id(self.ask("nvmlDeviceGetPciInfo"))
        self.name = shown(self.ask("nvmlDeviceGetName") or "NVIDIA GPU")
        for limit, place in ((SLOWDOWN, "die"), (MEMORY_MAX, "memory")):
            degrees = self.ask("nvmlDeviceGetTemperatureThreshold", limit)
            if degrees and 20 <= degrees <= 150:
                self.limits[place] = float(degrees)

    def ask(self, question: str, *details: Any, keep: bool = True) -> Any:
        """Return the answer of this function of NVML; None when there is none.

        ``keep``: when it cannot answer, it is not asked again. Raises ``Lost``, and
        ``Unavailable`` when the driver is gone.
        """
        key = (question, details)
        if key in self._cannot:
            return None
        try:
            return getattr(self.nvml, question)(self.handle, *details)
        except self.nvml.NVMLError as error:
            self._refused(error.value, key if keep else None)
        except (AttributeError, UnicodeDecodeError):
            self._cannot.add(key)
        return None

    def fields(self, wanted: tuple[Field, ...]) -> dict[int, float]:
        """Return the values of those fields that it has, by their number."""
        asked = tuple(one for one in wanted if ("field", one) not in self._cannot)
        values = self.ask("nvmlDeviceGetFieldValues", asked) if asked else None
        found: dict[int, float] = {}
        for field, one in zip(asked, values or (), strict=False):
            if one.nvmlReturn:
                self._refused(one.nvmlReturn, ("field", field))
            elif 0 <= one.valueType < len(FIELD_TYPES):
                value = float(getattr(one.value, FIELD_TYPES[one.valueType]))
                if 0 <= value < 1e19:
                    found[one.fieldId] = value
        return found

    def power_limit_w(self) -> float | None:
        """Return the power it may take, and note that it was lowered."""
        milliwatts = self.ask("nvmlDeviceGetEnforcedPowerLimit")
        if not milliwatts or milliwatts * 1e-3 > MOST_WATTS:
            return None
        watts = float(milliwatts * 1e-3)
        if watts <= LOWERED * self.limit_w:
            self.lowered = self.limit_w, watts
        self.limit_w = watts
        return watts

    def forget(self) -> None:
        """Ask again what it could not tell, as its mode was changed."""
        self._cannot.clear()

    def _refused(self, code: int, key: tuple[Any, ...] | None) -> None:
        if code in (GPU_IS_LOST, RESET_REQUIRED):
            raise Lost
        if code in GONE and code != LIBRARY_NOT_FOUND:
            raise Unavailable(GONE[code])
        if key is not None and code in CANNOT:
            self._cannot.add(key)


class Xids:
    """The errors that GPUs report themselves: queued by the driver, taken here without waiting."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._events: Any = None
        self._watched: dict[int, tuple[str, str]] = {}

    def watch(self, gpu: Gpu) -> None:
        """Have the events of a GPU queued."""
        if not (gpu.ask("nvmlDeviceGetSupportedEventTypes") or 0) & EVENT_XID:
            return
        try:
            if self._events is None:
                self._events = self._nvml.nvmlEventSetCreate()
            self._nvml.nvmlDeviceRegisterEvents(gpu.handle, EVENT_XID, self._events)
        except self._nvml.NVMLError:
            return
        self._watched[address(gpu.handle)] = gpu.id, gpu.name

    def take(self) -> Iterator[tuple[tuple[str, str], int]]:
        """Yield id and name of the GPU and the code of each error since the last time."""
        for _ in range(EVENTS_MAX if self._watched else 0):
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._events, 0)
            except self._nvml.NVMLError:
                return
            gpu = self._watched.get(address(event.device))
            if gpu is not None and event.eventType == EVENT_XID:
                yield gpu, event.eventData

    def close(self) -> None:
        """Let go of the queue."""
        events, self._events = self._events, None
        self._watched.clear()
        if events is not None:
            try:
                self._nvml.nvmlEventSetFree(events)
            except self._nvml.NVMLError:
                return


def load(proc: str, sys: str, root: str) -> Any:
    """Return the module pynvml, initialised; raises ``Unavailable`` and leaves nothing behind.

    The module takes 4 MiB, so it is imported only where there is a driver; and a GPU that sleeps
    to save power is not woken up for it.
    """
    if not os.path.exists(f"{proc}/driver/nvidia/version") and not os.path.exists(
        f"{root}/dev/dxg"
    ):
        raise Unavailable(GONE[DRIVER_NOT_LOADED])
    gpus = listed(f"{proc}/driver/nvidia/gpus")
    states = [text(f"{sys}/bus/pci/devices/{gpu}/power/runtime_status") for gpu in gpus]
    if states and all(state.startswith("suspend") for state in states):
        raise Unavailable("all NVIDIA GPUs sleep to save power")
    try:
        import pynvml as nvml
    except ImportError:
        raise Unavailable("the Python library nvidia-ml-py is not installed") from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise Unavailable(GONE.get(error.value) or f"NVML: {error}") from None
    return nvml


def shut_down(nvml: Any) -> None:
    """End the use of NVML, whatever state the driver is in."""
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return


def count(nvml: Any) -> int:
    """Return how many GPUs the driver has; raises ``Unavailable`` when it does not say."""
    try:
        return min(GPUS_MAX, int(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as error:
        raise Unavailable(GONE.get(error.value) or f"NVML: {error}") from None


def gpus(nvml: Any, number: int) -> Iterator[Gpu]:
    """Yield the GPUs that answer."""
    for index in range(number):
        try:
            gpu = Gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
            gpu.find()
        except (nvml.NVMLError, Lost):
            continue
        if gpu.id:
            yield gpu


def address(handle: Any) -> int:
    """Return what NVML knows a GPU by."""
    from ctypes import c_void_p, cast

    return cast(handle, c_void_p).value or 0


def bus_id(pci: Any) -> str:
    """Return the address of a GPU as the kernel writes it, ``0000:17:00.0``; empty without one."""
    try:
        name = shown(pci.busId).lower() if pci is not None else ""
    except UnicodeDecodeError:
        return ""
    return name[4:] if len(name) == 16 and name.startswith("0000") else name


def shown(name: str | bytes) -> str:
    """Return a name from the driver as it may be shown."""
    return printable(name if isinstance(name, bytes) else name.encode("utf-8", "replace"))
