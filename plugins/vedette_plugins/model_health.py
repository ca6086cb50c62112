"""Detector ``model_health``: what is wrong with a model server at any time, whatever it is used to.

The collector ``model_servers`` reckons times for which something has held (``vedette.model.*``),
and this has bars for them; nothing is learned. It rings for a server that does not answer, one that
is there and gets nothing done, a queue that lasts, a KV cache that is full or soon will be,
requests that fail for no fault of the client, tokens that come far slower than usual, and error
budgets that burn in a long and a short window at once (The Site Reliability Workbook, chapter 5).

The words say what is known of the cause: what waits and how long, what is at work, how full the KV
cache is, whether it is the first token or all of them. They are put together from the other series
of the same server when a finding opens.

Score: 1 from the bar on, 2 where it is critical, 0.95 just below, NaN of everything else.
Cost: a look at the few rows in question; nothing in the nine ticks of ten in which no server is
read. Of ten servers with two SLOs each (400 rows) 64 µs a reading, 3 µs between readings.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vedette.api import Detector, Duration, Evidence, Window, hookimpl
from vedette_plugins._model_words import PREFIX, WORDS, Look

State = Mapping[str, NDArray[np.float32]]
Floats = NDArray[np.float32]

#: Below a bar by this part of it a reading is not calm yet.
NEAR = 0.05
#: A queue rings in half the time where a request has to wait for so long, in a third from there on.
HEAVY_S, HEAVIER_S = 10.0, 30.0
#: A stall is critical after so many times its bar, a silence from here on.
STALL_CRITICAL, SILENT_CRITICAL_S = 4.0, 60.0
#: From this share of failures on, surely, it is critical.
FAILED_CRITICAL = 0.5
#: Failures in bursts of the size of a batch ring from this size on, however seldom they come.
BATCH_LEAST = 4.0
#: An SLO rings only for so many misses in the long window: one of two requests at night is no rate.
MISSES_LEAST = 5.0
#: Long window, short window, burn rate of both, and whether it is critical.
BURNS = (("1h", "5m", 14.4, True), ("6h", "30m", 6.0, False), ("3d", "6h", 1.0, False))


class ModelHealthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bars for what is wrong with a model server; collectors.model_servers has the SLOs."""

    silence: Annotated[
        Duration, Meta(description="Time without a page; critical from a minute on.")
    ] = Duration(15)
    stalled: Annotated[
        Duration,
        Meta(description="Time in which requests are there and none gets on; critical from 4x on."),
    ] = Duration(30)
    queue: Annotated[
        Duration,
        Meta(
            description="Time for which requests wait twice as long as they are worked on; half of "
            "it where they wait for 10 s, a third where for 30 s."
        ),
    ] = Duration(60)
    kv_cache: Annotated[
        Duration,
        Meta(description="Time with a full KV cache while requests wait or are preempted."),
    ] = Duration(60)
    kv_cache_ahead: Annotated[
        Duration, Meta(description="Ring when the KV cache is full within this; 0s: never.")
    ] = Duration(300)
    failures: Annotated[
        float,
        Meta(
            description="Share of the last minute's requests that surely failed for no fault of "
            "the client; critical from one half on."
        ),
    ] = 0.05
    slow: Annotated[
        Duration, Meta(description="Time for which tokens take four times the usual.")
    ] = Duration(120)

    def __post_init__(self) -> None:
        if not 0 < self.failures <= 1:
            raise ValueError(f"failures = {self.failures:g} is not above 0 and at most 1")


#: What is looked at beside.
_BESIDE = frozenset({"queue.wait", "slo.misses"})


class ModelHealth(Detector):
    """What is wrong with a model server."""

    name = "model_health"
    Config = ModelHealthConfig
    scale = "level"
    confirm = 1
    release = 1
    release_s = 10.0

    def __init__(self, config: ModelHealthConfig) -> None:
        super().__init__(config)
        self.config: ModelHealthConfig = config
        self._generation = -1
        self._rows: dict[str, NDArray[np.intp]] = {}
        self._all: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._heavy: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._burns: list[tuple[NDArray[np.intp], float, bool]] = []

    def score(self, window: Window, state: State) -> Floats:
        self._prepare(window)
        scores = np.full(len(window.series), np.nan, dtype=np.float32)
        now = window.values[:, -1]
        if not len(self._all) or not np.isfinite(now[self._all]).any():
            return scores
        bars = self._bars()
        for name, rows in self._rows.items():
            if name in bars:
                scores[rows] = _above(now[rows], *bars[name])
        self._queues(now, scores)
        self._soon_full(now, scores)
        for rows, bar, critical in self._burns:
            long, short, misses = now[rows]
            score = _above(np.minimum(long, short), bar, bar if critical else None)
            few = misses < MISSES_LEAST
            scores[rows[0]] = np.fmax(scores[rows[0]], np.where(few, score * 0, score))
        return scores

    def explain(self, window: Window, state: State, row: int) -> Evidence:
        series = window.series[row]
        words = WORDS.get(series.instrument.name.removeprefix(PREFIX)) if series else None
        if series is None or words is None:
            return Evidence(nan, nan)
        return Evidence(nan, nan, words(Look(window, series), float(window.values[row, -1])))

    def _bars(self) -> dict[str, tuple[float, float | None]]:
        """Return bar and critical bar of what has only those."""
        one = self.config
        return {
            "server.silence": (one.silence, max(one.silence, SILENT_CRITICAL_S)),
            "stalled.time": (one.stalled, STALL_CRITICAL * one.stalled),
            "kv_cache.full.time": (one.kv_cache, None),
            "failures.least": (one.failures, max(one.failures, FAILED_CRITICAL)),
            "failures.burst": (BATCH_LEAST, None),
            "slow.time": (one.slow, None),
        }

    def _queues(self, now: Floats, scores: Floats) -> None:
        rows = self._rows.get("queue.time")
        if rows is None:
            return
        bar = self.config.queue
        with np.errstate(invalid="ignore"):
            wait = now[self._heavy]
            times = 1 + (wait >= HEAVY_S).astype(np.float32) + (wait >= HEAVIER_S)
        scores[rows] = _above(now[rows] * times, bar, None)

    def _soon_full(self, now: Floats, scores: Floats) -> None:
        rows = self._rows.get("kv_cache.full_in")
        if rows is None:
            return
        with np.errstate(invalid="ignore"):
            soon = now[rows] <= self.config.kv_cache_ahead
        scores[rows] = np.where(soon & (self.config.kv_cache_ahead > 0), 1.0, now[rows] * 0)

    def _prepare(self, window: Window) -> None:
        """Find the rows that it is about, once per generation."""
        if window.generation == self._generation:
            return
        self._generation = window.generation
        found: dict[str, list[int]] = {}
        at: dict[tuple[str, tuple[str, ...]], int] = {}
        for row, series in enumerate(window.series):
            name = series.instrument.name.removeprefix(PREFIX) if series is not None else ""
            if series is not None and (name in WORDS or name in _BESIDE):
                found.setdefault(name, []).append(row)
                at[name, series.values] = row
        self._rows = {name: np.array(rows, dtype=np.intp) for name, rows in found.items()}
        self._all = np.array([row for rows in found.values() for row in rows], dtype=np.intp)
        # Where no wait is known, somebody has waited for as long as there has been a queue.
        waits = [
            at.get(("queue.wait", _values(window, row)), row) for row in found.get("queue.time", ())
        ]
        self._heavy = np.array(waits, dtype=np.intp)
        self._burns = []
        for long, short, bar, critical in BURNS:
            triples = []
            for row in found.get("slo.burn_rate", ()):
                *who, span = _values(window, row)
                beside = at.get(("slo.burn_rate", (*who, short)))
                misses = at.get(("slo.misses", (*who, long)))
                if span == long and beside is not None and misses is not None:
                    triples.append((row, beside, misses))
            if triples:
                rows = np.array(triples, dtype=np.intp).T
                self._burns.append((rows, bar, critical))


def _values(window: Window, row: int) -> tuple[str, ...]:
    series = window.series[row]
    return series.values if series is not None else ()


def _above(now: Floats, bar: float, critical: float | None) -> Floats:
    """Score readings by a bar; what was not read stays NaN."""
    with np.errstate(invalid="ignore"):
        scores = np.where(now >= bar * (1 - NEAR), np.float32(0.95), np.float32(0.0))
        scores[now >= bar] = 1.0
        if critical is not None:
            scores[now >= critical] = 2.0
    scores[np.isnan(now)] = np.nan
    return scores


@hookimpl
def register_detectors() -> list[type[Detector]]:
    return [ModelHealth]
