"""Who uses an NVIDIA GPU: part of the collector ``nvidia``, read at each tick.

Of a GPU that is divided (MIG) the driver tells the processes of the whole only to root; to others
each instance tells its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nlargest
from typing import Any

from vedette.api import GpuUse, Host, Sample, Usage, updown
from vedette_plugins import _gpu
from vedette_plugins._gpu_users import Users
from vedette_plugins._nvml import Gpu
from vedette_plugins._suspects import LEAST_SHARE, SUSPECTS, amount

#: Processes of one GPU that are looked at.
PROCESSES_MAX = 4096
_QUESTIONS = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")


class ProcessSeries:
    """Processes on the GPUs: how many, whose memory, and who may be to blame."""

    process_memory = _gpu.PROCESS_MEMORY
    processes = updown(
        "vedette.gpu.process.count",
        "{process}",
        "Processes that use the GPU.",
        _gpu.GPU,
        resource="gpu",
        alarm="never",
    )

    def count_processes(self, gpu: Gpu) -> Iterator[Sample]:
        """Note what each process holds of a GPU (``gpu.held``); yield how many there are."""
        gpu.held = None
        gpu.held = held_of(gpu)
        if gpu.held is not None:
            yield self.processes(len(gpu.held), gpu.id, gpu.name)

    def users(self, gpus: Iterable[Gpu], users: Users, host: Host) -> Iterator[Sample | Usage]:
        """Yield whose memory it is, and the processes that hold most of all GPUs' memory."""
        known = [gpu for gpu in gpus if gpu.held is not None]
        held = {(gpu.id, gpu.name): gpu.held or {} for gpu in known}
        yield from users.samples(host, held)
        added: dict[int, int] = {}
        for memory in held.values():
            for pid, octets in memory.items():
                added[pid] = added.get(pid, 0) + octets
        whole = sum(gpu.memory for gpu in gpus)
        for pid in nlargest(SUSPECTS, added, key=lambda pid: added[pid]):
            share = min(1.0, added[pid] / whole) if whole else 0.0
            if share >= LEAST_SHARE:
                said = f"{amount(added[pid])} of {amount(whole)} of GPU memory"
                yield Usage("gpu", "process", users.name(pid), str(pid), share, said)


def uses(gpus: Iterable[Gpu], now_s: float) -> list[GpuUse]:
    """Return who uses these GPUs, for other collectors."""
    return [GpuUse(gpu.id, now_s, gpu.held, gpu.energy_j) for gpu in gpus if gpu.held is not None]


def held_of(gpu: Gpu) -> dict[int, int] | None:
    """Return the bytes that each process holds, by pid; None where the driver does not tell."""
    answers = [gpu.ask(question) for question in _QUESTIONS]
    if answers == [None, None] and gpu.parts:
        answers = [part.ask(question) for part in gpu.parts for question in _QUESTIONS]
    if all(one is None for one in answers):
        return None
    # One that computes and draws is in both lists, with the same memory.
    held: dict[int, int] = {}
    listed: list[Any] = [one for answer in answers for one in answer or ()]
    for one in listed[:PROCESSES_MAX]:
        octets = one.usedGpuMemory or 0
        held[one.pid] = max(held.get(one.pid, 0), octets if octets <= gpu.memory else 0)
    return held
