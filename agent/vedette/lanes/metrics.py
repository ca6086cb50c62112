"""Report how the collectors themselves are doing, as metrics of the agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vedette.api import Collector, NoConfig, Sample, counter, gauge
from vedette.lanes.runner import CollectorStatus

_BY_NAME = ("vedette.collector.name",)


class RunnerMetrics(Collector):
    """Read the runners' own counters; the lanes run it like any collector of the shared lane."""

    name = "vedette"
    interval_s = 10.0
    may_block = False

    duration = gauge(
        "vedette.collector.duration",
        "s",
        "Time the collector's last tick took.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    samples = counter(
        "vedette.collector.samples",
        "{sample}",
        "Readings the collector delivered.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    late = counter(
        "vedette.collector.late",
        "{tick}",
        "Ticks whose result came after the deadline and was dropped, or has not come.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    skipped = counter(
        "vedette.collector.skipped",
        "{tick}",
        "Ticks at which the collector was still busy with an earlier one.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    failures = counter(
        "vedette.collector.failures",
        "{tick}",
        "Ticks that ended in an exception.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    invalid = counter(
        "vedette.collector.invalid",
        "{sample}",
        "Readings dropped because they were undeclared, infinite, duplicate or too many.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    cpu_time = counter(
        "vedette.collector.cpu.time",
        "s",
        "CPU time spent collecting, a worker process included.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )

    def __init__(self, statuses: Callable[[], Sequence[CollectorStatus]]) -> None:
        super().__init__(NoConfig())
        self._statuses = statuses

    def collect(self) -> Iterator[Sample]:
        """Yield seven readings per collector."""
        for status in self._statuses():
            yield self.duration(status.duration_s, status.name)
            yield self.samples(float(status.samples_total), status.name)
            yield self.late(float(status.late), status.name)
            yield self.skipped(float(status.skipped), status.name)
            yield self.failures(float(status.failures), status.name)
            yield self.invalid(float(status.invalid), status.name)
            yield self.cpu_time(status.cpu_s, status.name)
