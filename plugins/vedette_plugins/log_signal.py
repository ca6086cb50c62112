"""Detector ``log_signal``: what the collector ``logs`` finds strange becomes a finding.

The watching is done where the lines are (``vedette.logs.watch``), on templates, which are too many
and come and go too quickly to be series. What rings there is a series here, in nats, and a finding
from 14 nats on: the threshold at which it began to ring, so feedback, shadows and the budget of
false alarms treat it like any other. Cost: a look at the rows of one metric.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vedette.api import Detector, NoConfig, Window, hookimpl

METRIC = "vedette.log.strangeness"
RINGS_NATS = 14.0


class LogSignal(Detector):
    """Strange logs: new errors, bursts, silences, odd sessions."""

    name = "log_signal"
    Config = NoConfig
    threshold = RINGS_NATS
    confirm = 1
    release = 3
    release_s = 20.0

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._generation = -1
        self._rows: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def score(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        if window.generation != self._generation:
            self._generation = window.generation
            self._rows = np.array(
                [
                    row
                    for row, series in enumerate(window.series)
                    if series is not None and series.instrument.name == METRIC
                ],
                dtype=np.intp,
            )
        scores = np.full(len(window.values), np.nan, dtype=np.float32)
        if len(self._rows):
            scores[self._rows] = window.values[self._rows, -1]
        return scores


@hookimpl
def register_detectors() -> list[type[Detector]]:
    return [LogSignal]
