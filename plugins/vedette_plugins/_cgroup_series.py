"""The series of containers and of services, and which of them a reading gives.

What has no limit has no share of one. A service gets few series, as a host has many services.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Alarm, Instrument, Kind, Sample
from vedette_plugins._cgroup_files import Reading
from vedette_plugins._cgroup_watch import Watched

#: Of the CPU "full" says little that throttled time does not.
STALLS = frozenset(
    (("cpu", "some"), ("memory", "some"), ("memory", "full"), ("io", "some"), ("io", "full"))
)


def _of_container(
    name: str,
    kind: Kind,
    unit: str,
    help: str,
    *keys: str,
    alarm: Alarm = "never",
    limit: float | None = None,
) -> Instrument:
    keys = ("container.name", *keys)
    return Instrument(name, kind, unit, help, keys, resource="container", alarm=alarm, limit=limit)


def _of_service(
    name: str, kind: Kind, unit: str, help: str, alarm: Alarm = "never", limit: float | None = None
) -> Instrument:
    keys = ("systemd.unit.name",)
    return Instrument(name, kind, unit, help, keys, resource="service", alarm=alarm, limit=limit)


class ContainerSeries:
    """Up to 23 series of a container."""

    cpu = _of_container(
        "container.cpu.time",
        "counter",
        "s",
        "CPU time the container used in this mode.",
        "cpu.mode",
    )
    cpu_limit = _of_container(
        "vedette.container.cpu.limit",
        "gauge",
        "{cpu}",
        "CPUs the container may use; left out without limit.",
    )
    cpu_utilization = _of_container(
        "vedette.container.cpu.utilization",
        "gauge",
        "1",
        "Share of its CPU limit the container used since the previous reading, 0 to 1.",
        limit=1.0,
    )
    throttled_time = _of_container(
        "vedette.container.cpu.throttled.time",
        "counter",
        "s",
        "Time the container's tasks were held back by its CPU limit.",
        alarm="high",
    )
    throttled_periods = _of_container(
        "vedette.container.cpu.throttled.periods",
        "counter",
        "{period}",
        "Periods in which the container used up its CPU limit.",
    )
    memory = _of_container(
        "container.memory.usage",
        "updown",
        "By",
        "Memory charged to the container, the page cache of its files included.",
    )
    working_set = _of_container(
        "container.memory.working_set",
        "updown",
        "By",
        "Memory of the container without the page cache that is not in use, as kubelet counts it.",
    )
    memory_limit = _of_container(
        "vedette.container.memory.limit",
        "updown",
        "By",
        "Memory the container may use; left out without limit.",
    )
    memory_utilization = _of_container(
        "vedette.container.memory.utilization",
        "gauge",
        "1",
        "Share of its memory limit that the container's working set takes, 0 to 1.",
        alarm="high",
        limit=1.0,
    )
    swap = _of_container(
        "vedette.container.memory.swap",
        "updown",
        "By",
        "Memory of the container that is swapped out.",
    )
    oom_kills = _of_container(
        "vedette.container.memory.oom_kills",
        "counter",
        "{process}",
        "Processes of the container killed because memory ran out.",
        alarm="high",
    )
    limit_hits = _of_container(
        "vedette.container.memory.limit_hits",
        "counter",
        "{event}",
        "Times the container's memory reached its limit (max) or the mark to slow it down (high).",
        "vedette.container.memory.limit_kind",
    )
    tasks = _of_container(
        "vedette.container.pids.count",
        "updown",
        "{thread}",
        "Processes and threads of the container.",
    )
    tasks_limit = _of_container(
        "vedette.container.pids.limit",
        "updown",
        "{thread}",
        "Processes and threads the container may have; left out without limit.",
    )
    tasks_utilization = _of_container(
        "vedette.container.pids.utilization",
        "gauge",
        "1",
        "Share of the processes and threads the container may have that there are, 0 to 1.",
        alarm="high",
        limit=1.0,
    )
    io = _of_container(
        "container.disk.io",
        "counter",
        "By",
        "Bytes the container read from or wrote to all devices; stacked ones count again.",
        "disk.io.direction",
    )
    stall = _of_container(
        "vedette.container.pressure.time",
        "counter",
        "s",
        "Time in which some tasks of the container, or all (full), waited for this resource.",
        "vedette.pressure.resource",
        "vedette.pressure.kind",
    )

    def of_container(self, one: Watched, reading: Reading) -> Iterator[Sample]:
        """Yield what a reading says about a container."""
        name, limits = one.name or "", one.limits
        if reading.user_s is not None and reading.system_s is not None:
            yield self.cpu(reading.user_s, name, "user")
            yield self.cpu(reading.system_s, name, "system")
        if limits.cpus is not None:
            yield self.cpu_limit(limits.cpus, name)
            if one.cores is not None:
                yield self.cpu_utilization(min(1.0, one.cores / limits.cpus), name)
            if reading.throttled_s is not None and reading.throttled is not None:
                yield self.throttled_time(reading.throttled_s, name)
                yield self.throttled_periods(reading.throttled, name)
        yield from self._container_memory(name, limits.memory, reading)
        if reading.tasks is not None:
            yield self.tasks(reading.tasks, name)
            if limits.tasks:
                yield self.tasks_limit(limits.tasks, name)
                yield self.tasks_utilization(min(1.0, reading.tasks / limits.tasks), name)
        if reading.read is not None and reading.written is not None:
            yield self.io(reading.read, name, "read")
            yield self.io(reading.written, name, "write")
        for resource, kind, stalled_s in reading.pressure:
            if (resource, kind) in STALLS:
                yield self.stall(stalled_s, name, resource, kind)

    def _container_memory(self, name: str, limit: int | None, reading: Reading) -> Iterator[Sample]:
        if reading.memory is not None:
            yield self.memory(reading.memory, name)
        if reading.working_set is not None:
            yield self.working_set(reading.working_set, name)
        if limit:
            yield self.memory_limit(limit, name)
            if reading.working_set is not None:
                yield self.memory_utilization(min(1.0, reading.working_set / limit), name)
            if reading.limit_hits is not None:
                yield self.limit_hits(reading.limit_hits, name, "max")
        if reading.high_hits:
            yield self.limit_hits(reading.high_hits, name, "high")
        if reading.swap is not None:
            yield self.swap(reading.swap, name)
        if reading.oom_kills is not None:
            yield self.oom_kills(reading.oom_kills, name)


class ServiceSeries:
    """Four series of a service, and two more when it is limited."""

    service_cpu = _of_service(
        "vedette.service.cpu.time", "counter", "s", "CPU time the service used."
    )
    service_throttled = _of_service(
        "vedette.service.cpu.throttled.time",
        "counter",
        "s",
        "Time the service's tasks were held back by its CPU limit; left out without limit.",
        alarm="high",
    )
    service_memory = _of_service(
        "vedette.service.memory.usage",
        "updown",
        "By",
        "Memory charged to the service, the page cache of its files included.",
    )
    service_memory_utilization = _of_service(
        "vedette.service.memory.utilization",
        "gauge",
        "1",
        "Share of its memory limit that the service's working set takes, 0 to 1.",
        alarm="high",
        limit=1.0,
    )
    service_oom_kills = _of_service(
        "vedette.service.memory.oom_kills",
        "counter",
        "{process}",
        "Processes of the service killed because memory ran out.",
        alarm="high",
    )
    service_tasks = _of_service(
        "vedette.service.pids.count", "updown", "{thread}", "Processes and threads of the service."
    )

    def of_service(self, one: Watched, reading: Reading) -> Iterator[Sample]:
        """Yield what a reading says about a service."""
        name, limits = one.name or "", one.limits
        if reading.cpu_s is not None:
            yield self.service_cpu(reading.cpu_s, name)
        if limits.cpus is not None and reading.throttled_s is not None:
            yield self.service_throttled(reading.throttled_s, name)
        if reading.memory is not None:
            yield self.service_memory(reading.memory, name)
        if limits.memory and reading.working_set is not None:
            share = min(1.0, reading.working_set / limits.memory)
            yield self.service_memory_utilization(share, name)
        if reading.oom_kills is not None:
            yield self.service_oom_kills(reading.oom_kills, name)
        if reading.tasks is not None:
            yield self.service_tasks(reading.tasks, name)
