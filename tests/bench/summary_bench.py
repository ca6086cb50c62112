"""Measure what report windows cost: per tick, per close, per request, and in bytes on the wire.

A synthetic host of 60-tick windows, 1 s apart: 25 % of the series constant, 20 % mostly zero, 30 %
slow walks, 25 % noisy; a third of them counters, ten attribute sets per name. Prints JSON; times
are CPU time of this process, the median over the windows. Each window goes on where the one
before ended; the first, in which everything is sent, is reported apart.

    python tests/bench/summary_bench.py --series 300 2000 --windows 20 --seed 1
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.api import Series, counter, gauge
from vedette.otlp import encode_metrics
from vedette.summarise import Summariser

SECOND = 1_000_000_000
TICKS = 60
BEGIN = 1_700_000_040 * SECOND
RESOURCE = {
    "service.name": "vedette",
    "service.instance.id": "5ecd5827-3a2a-4c1b-9a8f-5d2f4c8e7a10",
    "host.name": "db-7.example.net",
    "host.id": "0f9f1b5f4b3a4d3f9d8f0a6d5c4b3a29",
}
SHARES = {"constant": 0.25, "mostly zero": 0.20, "slow walk": 0.30, "noisy": 0.25}


def make_series(n: int) -> list[Series]:
    """Return ``n`` series, ten attribute sets per name, every third name a counter."""
    made: list[Series] = []
    for number in range(-(-n // 10)):
        keys = (f"system.part{number % 7}.device", "direction")
        kind = counter if number % 3 == 0 else gauge
        instrument = kind(f"system.part{number % 7}.measure{number}", "By", "x", keys)
        made += [
            instrument.series(f"device{place // 2}", ("read", "write")[place % 2])
            for place in range(10)
        ]
    return made[:n]


def make_values(n: int, windows: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield float64 ``(TICKS, n)`` per window: the mix of the module's first sentence."""
    random = np.random.default_rng(seed)
    level = random.lognormal(3.0, 3.0, n)
    kind = random.choice(4, n, p=list(SHARES.values()))
    for _ in range(windows):
        values = np.repeat(level[np.newaxis], TICKS, axis=0)
        zero, walk, noisy = kind == 1, kind == 2, kind == 3
        values[:, zero] *= random.random((TICKS, zero.sum())) < 0.01
        values[:, walk] *= np.exp(np.cumsum(random.normal(0, 0.003, (TICKS, walk.sum())), axis=0))
        values[:, noisy] *= random.lognormal(0.0, 0.5, (TICKS, noisy.sum()))
        level[walk] = values[-1, walk]
        yield values


class Host:
    """A host of ``n`` series that goes on from window to window."""

    def __init__(self, n: int) -> None:
        self.series = make_series(n)
        is_counter = [one.instrument.kind == "counter" for one in self.series]
        self.totals = np.where(is_counter, 0.0, np.nan)
        self.began = np.full(n, BEGIN)
        self.end = BEGIN
        self.summariser = Summariser()

    def window(self, values: NDArray[np.float64]) -> dict[str, float]:
        """Take one window through to the compressed request; return what each step cost."""
        self.end += TICKS * SECOND
        self.totals += values.sum(axis=0)
        marks = [time.process_time()]
        for tick in values:
            self.summariser.fold(tick)
        marks.append(time.process_time())
        summary = self.summariser.close(
            self.end - TICKS * SECOND, self.end, self.series, self.totals, self.began
        )
        marks.append(time.process_time())
        body = encode_metrics(summary, RESOURCE)
        marks.append(time.process_time())
        packed = gzip.compress(body, 6, mtime=0)
        marks.append(time.process_time())
        fold_s, close_s, encode_s, gzip_s = np.diff(marks).tolist()
        return {
            "fold_us_per_tick": fold_s / TICKS * 1e6,
            "close_ms": close_s * 1e3,
            "encode_ms": encode_s * 1e3,
            "gzip_ms": gzip_s * 1e3,
            "core_share_percent": sum((fold_s, close_s, encode_s, gzip_s)) / TICKS * 100,
            "moved": int(summary.moved.sum()),
            "bytes": len(body),
            "gzip_bytes": len(packed),
        }


def measure(n: int, windows: int, seed: int) -> dict[str, Any]:
    """Return the figures of a host of ``n`` series."""
    host = Host(n)
    first, *rest = [host.window(values) for values in make_values(n, windows, seed)]
    middle = {name: round(statistics.median(one[name] for one in rest), 4) for name in first}
    day = statistics.mean(one["gzip_bytes"] for one in rest) * 86_400 / TICKS / 1e6
    return {
        "series": n,
        "first_window": {name: first[name] for name in ("bytes", "gzip_bytes")},
        "windows": middle,
        "gzip_mb_per_day": round(day, 2),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--series", type=int, nargs="+", default=[300, 2_000])
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    hosts = [measure(n, chosen.windows, chosen.seed) for n in chosen.series]
    print(json.dumps({"mix": SHARES, "seed": chosen.seed, "hosts": hosts}, indent=2))


if __name__ == "__main__":
    main()
