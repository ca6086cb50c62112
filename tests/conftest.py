"""What tests of several parts share: a host whose seconds pass as fast as the machine can."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from vedette.api import Detector, Frame, Incident, Sample, Series, Signal, Usage
from vedette.correlate import Correlator, IncidentChange
from vedette.pipeline import Pipeline
from vedette.settings import Settings
from vedette.table import SeriesTable

# The same examples each time, so that a failure is a failure of the change at hand;
# HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

S = 1_000_000_000
#: A Tuesday, 14:00:00 UTC, on a minute.
START_S = 1_795_183_200


class MemorySpool:
    """Keeps what a spool was given."""

    def __init__(self) -> None:
        self.entries: list[tuple[Signal, bytes]] = []

    def append(self, entries: Sequence[tuple[Signal, bytes]]) -> tuple[int, ...]:
        first = len(self.entries) + 1
        self.entries += entries
        return tuple(range(first, first + len(entries)))


class SimulatedHost:
    """The real pipeline on simulated readings: ``tick`` is one second of the host."""

    def __init__(self, state_dir: Path, detectors: Sequence[Detector], **times: int) -> None:
        self.now_s = times.pop("start_s", START_S)
        self.spool = MemorySpool()
        self.told: list[IncidentChange] = []
        self.asked: list[tuple[int, str]] = []
        self.series: tuple[Series, ...] = ()
        settings = Settings(
            interval_ns=S,
            window_ns=60 * S,
            settle_ns=times.pop("settle_ns", 0),
            resource={"service.name": "vedette", "host.name": "test"},
            state_dir=state_dir,
        )
        self.pipeline = Pipeline(
            settings,
            detectors,
            table=SeriesTable(ticks=720, expire_ticks=times.pop("expire_ticks", 600)),
            correlator=Correlator(**times),
            spool=self.spool,
            request=lambda resource: self.asked.append((self.now_s, resource)),
            notify=self.told.append,
            wall_ns=lambda: self.now_s * S,
            monotonic=lambda: float(self.now_s),
        )
        self.pipeline.restore()

    def tick(
        self,
        readings: Mapping[Series, float] | Sequence[Sample],
        usages: Sequence[Usage] = (),
        seconds: int = 1,
    ) -> list[IncidentChange]:
        """Let a second pass with these readings; return what became of incidents."""
        if not isinstance(readings, Mapping):
            readings = {sample.series: sample.value for sample in readings}
        self.now_s += seconds
        names = tuple(readings)
        if names != self.series:
            self.series = names
        before = len(self.told)
        frame = Frame(
            collector="test",
            tick_ns=self.now_s * S,
            read_ns=self.now_s * S,
            series=self.series,
            values=array("d", readings.values()),
            usages=tuple(usages),
        )
        self.pipeline.take((frame,))
        return self.told[before:]

    @property
    def incidents(self) -> tuple[Incident, ...]:
        return self.pipeline.view.incidents


@pytest.fixture
def simulated_host(tmp_path: Path) -> type[SimulatedHost]:
    """The class: ``simulated_host(tmp_path, detectors)``."""
    return SimulatedHost
