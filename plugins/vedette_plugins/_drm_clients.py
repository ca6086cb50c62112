"""Read from the kernel's DRM clients how much of a GPU's own memory each process holds.

Each open file of a GPU has a client, and ``/proc/PID/fdinfo`` says what it holds ("DRM client usage
stats" of the kernel's documentation): amdgpu, i915 and xe do, NVIDIA's own driver does not. One
client may be open several times and in several processes; it counts once, for the lowest pid. Of
other users' processes nothing is seen without ``CAP_SYS_PTRACE``.

Which files are of a GPU is looked for once in ``LOOK_EVERY`` readings: that is a few system calls
for each descriptor of the host.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from vedette_plugins._gpu import LOOK_EVERY
from vedette_plugins._procfs import beginning, listed, numbers

PROCESSES_MAX, DESCRIPTORS_MAX, FILES_MAX = 20_000, 1_024, 4_096
#: A card has some ten engines and regions with five keys each.
FDINFO_MAX = 16 * 1024
#: Regions of memory that are the GPU's own: of amdgpu and xe, and of i915.
_OWN = ("vram", "local")
#: Resident is what is in use now; older kernels of amdgpu call it so.
_KEYS = ("drm-resident-", "drm-memory-")
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
#: No GPU has more; what says so is garbled.
_MOST = 1 << 50

Held = dict[str, dict[int, int]]


class Clients:
    """The open files of GPUs on this host. One thread."""

    def __init__(self) -> None:
        self._files: list[tuple[int, str]] = []
        self._readings = 0

    def read(self, proc: str) -> Held:
        """Return the bytes that each process holds, by pid, of each GPU by its PCI address."""
        if self._readings % LOOK_EVERY == 0:
            self._files = list(_files(proc))
        self._readings += 1
        held: Held = {}
        seen: set[tuple[str, str]] = set()
        for pid, descriptor in self._files:
            told = _told(beginning(f"{proc}/{pid}/fdinfo/{descriptor}", FDINFO_MAX))
            gpu, client = told.get("drm-pdev", ""), told.get("drm-client-id", "")
            if not gpu or not client or (gpu, client) in seen:
                continue
            seen.add((gpu, client))
            octets = _octets(told)
            if octets:
                of_gpu = held.setdefault(gpu, {})
                of_gpu[pid] = of_gpu.get(pid, 0) + octets
        return held


def _files(proc: str) -> Iterator[tuple[int, str]]:
    """Yield pid and number of each open file of a GPU, the lowest pid first."""
    found = 0
    pids = sorted(int(name) for name in listed(proc) if name.isdecimal())
    for pid in pids[:PROCESSES_MAX]:
        folder = f"{proc}/{pid}/fd"
        for name in listed(folder)[:DESCRIPTORS_MAX]:
            try:
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - thousands of them
            except OSError:
                continue
            if target.startswith("/dev/dri/"):
                yield pid, name
                found += 1
                if found >= FILES_MAX:
                    return


def _told(said: bytes) -> dict[str, str]:
    lines = said.decode("ascii", "replace").split("\n")
    pairs = (one.partition(":") for one in lines if one.startswith("drm-"))
    return {key: value.strip() for key, _, value in pairs}


def _octets(told: dict[str, str]) -> int:
    """Return the GPU's own memory that a client holds; by the newer keys where there are any."""
    for prefix in _KEYS:
        regions = [key for key in told if key.startswith(prefix)]
        own = [key for key in regions if key.removeprefix(prefix).startswith(_OWN)]
        if own:
            return sum(_amount(told[key]) for key in own)
    return 0


def _amount(said: str) -> int:
    words = said.encode().split()
    found = numbers(words[:1])
    unit = words[1].decode() if len(words) > 1 else ""
    if not found or unit not in _UNITS or found[0] * _UNITS[unit] > _MOST:
        return 0
    return found[0] * _UNITS[unit]
