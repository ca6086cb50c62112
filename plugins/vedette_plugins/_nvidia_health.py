"""What changes seldom on an NVIDIA GPU, or costs more to ask: read once a minute by ``nvidia``.

How the memory repaired itself, the links to the host and to other GPUs, and the instances that a
GPU is divided into (MIG).
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Sample, gauge, updown
from vedette_plugins import _gpu
from vedette_plugins._nvml import Gpu

RETIRED_SINGLE, RETIRED_DOUBLE, RETIRED_PENDING = 29, 30, 31
REMAPPED_CORRECTED, REMAPPED_UNCORRECTED, REMAPPED_PENDING, REMAPPED_FAILED = 142, 143, 144, 145
ECC_MODE, LINK_COUNT = 1, 91
FIELDS = (
    ECC_MODE,
    RETIRED_SINGLE,
    RETIRED_DOUBLE,
    RETIRED_PENDING,
    REMAPPED_CORRECTED,
    REMAPPED_UNCORRECTED,
    REMAPPED_PENDING,
    REMAPPED_FAILED,
    LINK_COUNT,
)
#: More than any GPU has.
LINKS_MAX, INSTANCES_MAX, LANES_MAX, GENERATION_MAX = 36, 16, 64, 16

_CAUSE = [*_gpu.GPU, "vedette.gpu.memory.repair.cause"]
_INSTANCE = [*_gpu.GPU, "vedette.gpu.mig.instance"]


class HealthSeries:
    """The series read once a minute: part of the collector of NVIDIA GPUs."""

    power_limit = _gpu.POWER_LIMIT
    generation = _gpu.GENERATION
    width = _gpu.STEADY_WIDTH
    ecc = gauge(
        "vedette.gpu.memory.ecc",
        "1",
        "1 when the GPU's memory is checked for errors (ECC), 0 otherwise.",
        _gpu.GPU,
        resource="gpu",
        alarm="never",
    )
    retired = updown(
        "vedette.gpu.memory.pages.retired",
        "{page}",
        "Pages of the GPU's memory that are no longer used, because of errors of this sort.",
        _CAUSE,
        resource="gpu",
        alarm="never",
    )
    remapped = updown(
        "vedette.gpu.memory.rows.remapped",
        "{row}",
        "Rows of the GPU's memory replaced by spare ones, because of errors of this sort.",
        _CAUSE,
        resource="gpu",
        alarm="never",
    )
    pending = gauge(
        "vedette.gpu.memory.repair.pending",
        "1",
        "1 when the GPU must be reset for a repair of its memory to take effect, 0 otherwise.",
        _gpu.GPU,
        resource="gpu",
        alarm="high",
    )
    failed = gauge(
        "vedette.gpu.memory.repair.failed",
        "1",
        "1 when a repair of the GPU's memory failed and the card must be replaced, 0 otherwise.",
        _gpu.GPU,
        resource="gpu",
        alarm="high",
    )
    links_up = updown(
        "vedette.gpu.nvlink.up",
        "{link}",
        "NVLink connections that are up.",
        _gpu.GPU,
        resource="gpu",
        alarm="low",
    )
    instances = updown(
        "vedette.gpu.mig.count",
        "{instance}",
        "Instances the GPU is divided into (MIG).",
        _gpu.GPU,
        resource="gpu",
        alarm="never",
    )
    instance_usage = updown(
        "vedette.gpu.mig.memory.usage",
        "By",
        "Memory of an instance of the GPU that is in use.",
        _INSTANCE,
        resource="gpu",
        alarm="never",
    )
    instance_utilization = gauge(
        "vedette.gpu.mig.memory.utilization",
        "1",
        "Share of the memory of an instance of the GPU that is in use, 0 to 1.",
        _INSTANCE,
        resource="gpu",
        alarm="high",
        limit=1.0,
    )

    def health(self, gpu: Gpu) -> Iterator[Sample]:
        """Yield what there is to say of a GPU; raises what ``Gpu.ask`` does."""
        own = (gpu.id, gpu.name)
        limit = gpu.power_limit_w()
        if limit is not None:
            yield self.power_limit(limit, *own)
        generation = gpu.ask("nvmlDeviceGetCurrPcieLinkGeneration")
        if generation and generation <= GENERATION_MAX:
            yield self.generation(generation, *own)
        lanes = gpu.ask("nvmlDeviceGetCurrPcieLinkWidth")
        if lanes and lanes <= LANES_MAX:
            yield self.width(lanes, *own)
        fields = gpu.fields(FIELDS)
        yield from self._memory(fields, own)
        links = min(LINKS_MAX, int(fields.get(LINK_COUNT, 0)))
        states = [gpu.ask("nvmlDeviceGetNvLinkState", link) for link in range(links)]
        if any(state is not None for state in states):
            yield self.links_up(sum(1 for state in states if state), *own)
        mode = gpu.ask("nvmlDeviceGetMigMode")
        if mode is not None:
            divided = mode[0] == 1
            if gpu.divided not in (None, divided):
                gpu.forget()
            gpu.divided = divided
            gpu.parts = []
            if divided:
                yield from self._divided(gpu, own)

    def _memory(self, fields: dict[int, float], own: tuple[str, str]) -> Iterator[Sample]:
        if ECC_MODE in fields:
            yield self.ecc(min(1.0, fields[ECC_MODE]), *own)
        for instrument, field, cause in (
            (self.retired, RETIRED_SINGLE, "corrected"),
            (self.retired, RETIRED_DOUBLE, "uncorrected"),
            (self.remapped, REMAPPED_CORRECTED, "corrected"),
            (self.remapped, REMAPPED_UNCORRECTED, "uncorrected"),
        ):
            if field in fields:
                yield instrument(fields[field], *own, cause)
        pending = [fields[one] for one in (RETIRED_PENDING, REMAPPED_PENDING) if one in fields]
        if pending:
            yield self.pending(1.0 if any(pending) else 0.0, *own)
        if REMAPPED_FAILED in fields:
            yield self.failed(min(1.0, fields[REMAPPED_FAILED]), *own)

    def _divided(self, gpu: Gpu, own: tuple[str, str]) -> Iterator[Sample]:
        """Yield the instances of a GPU that is divided; those of one memory are told once."""
        found: dict[int, Gpu] = {}
        for index in range(min(INSTANCES_MAX, gpu.ask("nvmlDeviceGetMaxMigDeviceCount") or 0)):
            handle = gpu.ask("nvmlDeviceGetMigDeviceHandleByIndex", index, keep=False)
            if handle is not None:
                part = Gpu(gpu.nvml, handle)
                number = part.ask("nvmlDeviceGetGpuInstanceId")
                if number is not None and number < INSTANCES_MAX:
                    found.setdefault(number, part)
        gpu.parts = list(found.values())
        yield self.instances(len(found), *own)
        for number, part in found.items():
            memory = part.ask("nvmlDeviceGetMemoryInfo")
            if memory is not None and 0 < memory.total < 1 << 60 and memory.used <= memory.total:
                yield self.instance_usage(memory.used, *own, str(number))
                yield self.instance_utilization(memory.used / memory.total, *own, str(number))
