"""What it costs to say how model servers fare: ten servers' tick, with and without.

    PYTHONPATH=agent python tests/bench/health_bench.py [--ticks 60]

Pages are the recorded ones of ten servers in turn, so that there is something to map each time.
Prints JSON: milliseconds of CPU to map ten pages, to reckon their health (with no, and with two
SLOs), microseconds of the detector at a reading and between readings, and the rows that it adds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vedette.api import Duration, Sample, Series, Window
from vedette.exposition.scrape import Answer
from vedette.serving.health import Health
from vedette.serving.served import Said, Served
from vedette.serving.slo import Slo
from vedette_plugins.model_health import ModelHealth, ModelHealthConfig

FIXTURES = Path(__file__).parents[1] / "fixtures" / "serving"
TEN = (
    "vllm-0.32.0", "vllm-0.10.2-hidden-replay", "sglang-0.5.23-names", "triton-2.51.0",
    "torchserve-0.12.0", "mlserver-1.7.1", "bentoml-1.4.40", "mosec-0.9.8", "litellm-1.109.1",
    "dynamo-1.6.1",
)  # fmt: skip
S = 1_000_000_000
START_S = 1_795_183_200


class Ten:
    """Ten servers, each with its pages in turn."""

    def __init__(self) -> None:
        self.tick = 0
        self.served = [self._served(at, name) for at, name in enumerate(TEN)]

    def _served(self, at: int, name: str) -> Served:
        bodies = [path.read_bytes() for path in sorted((FIXTURES / name).glob("page.*.prom"))]

        def fetch() -> Answer:
            body = bodies[min(self.tick, len(bodies) - 1)]
            return Answer(body, False, "text/plain", len(body), 0.0)

        return Served(f"127.0.0.1:{8000 + at}", fetch, lambda _: [], began_s=0.0)

    def read(self, now_s: float, wall_ns: int) -> list[tuple[Served, Said]]:
        return [(one, one.read(now_s, wall_ns)) for one in self.served]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=60)
    ticks = parser.parse_args().ticks
    ten, plain = Ten(), Health(())
    promised = Health([Slo(availability=0.999), Slo(name="quick", latency=Duration(2))])
    spent = {"map": 0.0, "health": 0.0, "health_slo": 0.0}
    told: dict[Series, float] = {}
    base = 0
    for tick in range(ticks):
        ten.tick, now_s = tick, 10.0 * tick
        wall_ns = round((START_S + now_s) * S)
        began = time.process_time()
        said = ten.read(now_s, wall_ns)
        spent["map"] += time.process_time() - began
        base = sum(len(one.samples) for _, one in said)
        for key, health in (("health", plain), ("health_slo", promised)):
            began = time.process_time()
            made = [x for one, its in said for x in health.step(one, its, now_s, wall_ns)]
            spent[key] += time.process_time() - began
        told = {x.series: x.value for x in made if isinstance(x, Sample)}
    figures: dict[str, object] = {f"{k}_ms": round(1e3 * v / ticks, 3) for k, v in spent.items()}
    figures |= {"samples": base, "rows_with_two_slos": len(told)}
    figures["detector_us"] = detector(list(told), list(told.values()))
    figures["detector_between_us"] = detector(list(told), [float("nan")] * len(told))
    print(json.dumps(figures, indent=1))


def detector(rows: list[Series], values: list[float]) -> float:
    """Return the microseconds of one look, among 2,000 rows."""
    kept: list[Series | None] = [*rows, *([None] * (2000 - len(rows)))]
    column = np.full((2000, 1), np.nan, dtype=np.float32)
    column[: len(values), 0] = values
    window = Window(np.array([START_S * S]), column, kept, 1)
    judge = ModelHealth(ModelHealthConfig())
    return timed(lambda: judge.score(window, {}))


def timed(work: Callable[[], object], rounds: int = 500) -> float:
    """Return microseconds of CPU of one round."""
    work()
    began = time.process_time()
    for _ in range(rounds):
        work()
    return round(1e6 * (time.process_time() - began) / rounds, 1)


if __name__ == "__main__":
    main()
