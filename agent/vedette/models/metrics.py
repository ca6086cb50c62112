"""Report how the models are, as metrics of the agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vedette.api import Collector, NoConfig, Sample, gauge
from vedette.models.overview import Overview


class ModelMetrics(Collector):
    """Drift per family of series, and what shadows cost; the lanes run it like any collector."""

    name = "models"
    interval_s = 60.0
    may_block = False
    source = "the agent's own counters"

    drift = gauge(
        "vedette.model.drift",
        "1",
        "Part of a family's series that are distributed otherwise than when models were trained.",
        ("vedette.resource",),
        resource="agent",
        alarm="never",
    )
    shadow_cpu = gauge(
        "vedette.model.shadow.cpu.utilization",
        "1",
        "CPU time of versions that are tried beside the champions, as a share of a core.",
        resource="agent",
        alarm="never",
    )

    def __init__(self, view: Callable[[], Overview]) -> None:
        super().__init__(NoConfig())
        self._view = view
        self._tried = False

    def collect(self) -> Iterator[Sample]:
        """Yield a reading per family that can be judged, and one once something was tried."""
        view = self._view()
        for family in view.families:
            yield self.drift(family.moved / family.series, family.name)
        self._tried = self._tried or bool(view.trials)
        if self._tried:
            yield self.shadow_cpu(sum(one.share for one in view.trials.values()))
