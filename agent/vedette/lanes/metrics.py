"""Report how the collectors themselves are doing, as metrics of the agent.

What hardly ever moves is left out until there is something to say, and from then on is there for
good: of a collector without troubles there are two series, of one that rests none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vedette.api import Collector, NoConfig, Sample, counter, gauge
from vedette.lanes.account import AgentCost
from vedette.lanes.status import CollectorStatus

#: The most series there can be for one collector, and for the agent.
PER_COLLECTOR, OF_THE_AGENT = 8, 1

_BY_NAME = ("vedette.collector.name",)


class RunnerMetrics(Collector):
    """Read the runners' own counters; the lanes run it like any collector of the shared lane."""

    name = "vedette"
    interval_s = 10.0
    may_block = False
    source = "the agent's own counters"

    cpu_time = counter(
        "vedette.collector.cpu.time",
        "s",
        "CPU time spent collecting, a worker process included.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    duration = gauge(
        "vedette.collector.duration",
        "s",
        "Time the collector's last tick took.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    interval = gauge(
        "vedette.collector.interval",
        "s",
        "How often the collector runs, since the CPU budget stretched it for the first time.",
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
        "Readings dropped because they were undeclared, infinite or duplicate.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    cut = counter(
        "vedette.collector.cut",
        "{sample}",
        "Readings cut off because the collector had more series than it may.",
        _BY_NAME,
        resource="agent",
        alarm="never",
    )
    budget = gauge(
        "vedette.agent.cpu.budget.utilization",
        "1",
        "CPU time of the agent over the last minute, workers included, as a part of its budget.",
        resource="agent",
        alarm="never",
        limit=1.0,
    )

    def __init__(
        self,
        statuses: Callable[[], Sequence[CollectorStatus]],
        cost: Callable[[], AgentCost] = AgentCost,
    ) -> None:
        """``cost`` takes stock of the agent when it is called: once a tick."""
        super().__init__(NoConfig())
        self._statuses, self._cost = statuses, cost
        #: Those that were stretched once.
        self._stretched: set[str] = set()

    def collect(self) -> Iterator[Sample]:
        """Yield two readings per collector that runs, more for what was in trouble."""
        utilization = self._cost().utilization
        if utilization is not None:
            yield self.budget(utilization)
        for status in self._statuses():
            if status.state != "resting" and status.ticks:
                yield from self._of(status)

    def _of(self, status: CollectorStatus) -> Iterator[Sample]:
        name = status.name
        yield self.cpu_time(status.cpu_s, name)
        yield self.duration(status.duration_s, name)
        if status.interval_s != status.configured_s:
            self._stretched.add(name)
        if name in self._stretched:
            yield self.interval(status.interval_s, name)
        for instrument, total in (
            (self.late, status.late),
            (self.skipped, status.skipped),
            (self.failures, status.failures),
            (self.invalid, status.invalid),
            (self.cut, status.cut),
        ):
            if total:
                yield instrument(float(total), name)
