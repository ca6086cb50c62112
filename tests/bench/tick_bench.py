"""What one tick costs: frame to table, all detectors that ship, decider, correlator, summariser.

    python tests/bench/tick_bench.py [--series 300 2000] [--ticks 900] [--seed 1]

Prints JSON: per number of series the milliseconds of CPU of a tick (mean, median, 99th percentile),
the part of it that is detection (scores, learning, decider, correlator; the mean is over all ticks,
those that complete a minute included), of closing a window (in it: statistics, encoding) and what
the state and the tails weigh. The series are a realistic mix: a quarter constant, a fifth mostly
zero, three tenths slow walks, a quarter noisy; a third of them counters; ten collectors. Targets:
1 ms at 300 series, 3 ms at 2,000; of detection 1.5 ms at 2,000, and 4 KiB per series.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from vedette.api import Frame, Instrument
from vedette.correlate import Correlator
from vedette.pipeline import Pipeline
from vedette.registry import discover
from vedette.settings import Settings
from vedette.table import SeriesTable

S = 1_000_000_000
START_S = 1_795_183_200
COLLECTORS = 10


class NoSpool:
    """Counts what would be kept."""

    def __init__(self) -> None:
        self.bytes = 0

    def append(self, entries: list[tuple[str, bytes]]) -> tuple[int, ...]:
        self.bytes += sum(len(body) for _, body in entries)
        return tuple(range(len(entries)))


def values(random: np.random.Generator, series: int, ticks: int) -> np.ndarray:
    """Return float64 (ticks, series) of the mix."""
    made = np.empty((ticks, series))
    made[:] = random.uniform(0, 100, series)
    a, b, c = int(series * 0.25), int(series * 0.45), int(series * 0.75)
    bursts = random.random((ticks, b - a)) < 0.03
    made[:, a:b] = bursts * random.exponential(1e4, (ticks, b - a))
    made[:, b:c] += np.cumsum(random.normal(0, 0.2, (ticks, c - b)), axis=0)
    made[:, c:] *= 1 + 0.1 * random.normal(0, 1, (ticks, series - c))
    made[:, ::3] = np.cumsum(np.abs(made[:, ::3]), axis=0)
    return made


def timed(step: Callable[..., Any], spent_ms: list[float]) -> Callable[..., Any]:
    """Return the function, which notes what each of its calls cost."""

    def noting(*arguments: Any) -> Any:
        began = time.process_time_ns()
        try:
            return step(*arguments)
        finally:
            spent_ms.append((time.process_time_ns() - began) / 1e6)

    return noting


def run(series: int, ticks: int, seed: int, state_dir: Path) -> dict[str, float]:
    random = np.random.default_rng(seed)
    readings = values(random, series, ticks)
    names = [
        Instrument(
            f"bench.metric.{i // 10}.{'total' if i % 3 == 0 else 'level'}",
            "counter" if i % 3 == 0 else "gauge",
            "By",
            "A metric.",
            ("which",),
        ).series(str(i))
        for i in range(series)
    ]
    parts = np.array_split(np.arange(series), COLLECTORS)
    tuples = [tuple(names[i] for i in part) for part in parts]
    now = [START_S]
    spool = NoSpool()
    kinds = discover(plugins_dir=None).detectors.values()
    pipeline = Pipeline(
        Settings(S, 60 * S, 0, {"service.name": "vedette"}, state_dir),
        [kind(kind.Config()) for kind in kinds],
        table=SeriesTable(ticks=720, max_per_collector=20_000),
        correlator=Correlator(),
        spool=spool,
        wall_ns=lambda: now[0] * S,
        monotonic=lambda: float(now[0]),
    )
    costs: list[float] = []
    closes: list[float] = []
    detecting: list[float] = []
    for part in (pipeline.detection, pipeline.correlator):
        part.step = timed(part.step, detecting)  # type: ignore[method-assign]
    for tick in range(ticks):
        now[0] += 1
        frames = tuple(
            Frame(
                f"c{index}", now[0] * S, now[0] * S, tuples[index], array("d", readings[tick, part])
            )
            for index, part in enumerate(parts)
        )
        began = time.process_time_ns()
        pipeline.take(frames)
        cost = (time.process_time_ns() - began) / 1e6
        (closes if now[0] % 60 == 0 else costs).append(cost)
    settled = costs[len(costs) // 4 :]
    learned = [*pipeline.detection.learned.arrays.values()]
    heads = [head.name for one in pipeline.detection.learned.detectors for head in one.all_heads()]
    learned += [pipeline.detection.decider.arrays(name) for name in heads]
    return {
        "series": series,
        "tick_ms_mean": round(float(np.mean(settled)), 3),
        "tick_ms_median": round(float(np.median(settled)), 3),
        "tick_ms_p99": round(float(np.percentile(settled, 99)), 3),
        "detection_ms_mean": round(sum(detecting[len(detecting) // 4 :]) / ticks / 0.75, 3),
        "window_close_ms": round(float(np.median(closes)), 2),
        "report_bytes_raw": spool.bytes // max(1, len(closes)),
        "state_bytes_per_series": sum(array.nbytes for held in learned for array in held.values())
        // pipeline.table.capacity,
        "incidents": len(pipeline.view.incidents),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=[300, 2000])
    parser.add_argument("--ticks", type=int, default=900)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = [
            run(series, options.ticks, options.seed, Path(directory)) for series in options.series
        ]
    json.dump(results, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
