"""Whether p keeps its word on quiet data, and what judging costs.

``python tests/bench/calibration.py [TICKS ...]`` prints, per kind of quiet scores, number of series
and number of readings (3,000 and 10,000 unless given), the shares of p below 0.01, 0.001 and 0.0001
as parts of what they should be, and the time that a step of the tails takes. Shares of which fewer
than 30 scores are expected are in brackets: they tell nothing. All of it goes through the Decider,
so findings open and close as they would.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedette.api import Detector, Window, gauge
from vedette.decide import Decider

sys.path.insert(0, str(Path(__file__).parent.parent))
from quiet_scores import KINDS, quiet

S = 1_000_000_000
LEVEL = gauge("bench.level", "1", "A level.", ("which",))
POOLS = (1, 19, 400)
LEVELS = (1e-2, 1e-3, 1e-4)


class Given(Detector):
    """Its scores are handed in."""

    name = "given"
    confirm_s = 4.0
    release_s = 10.0

    def score(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        raise AssertionError("the scores are handed in")


def measure(kind: str, rows: int, ticks: int) -> tuple[NDArray[np.floating], int, float]:
    """Return the shares in parts of what they should be, the findings, and the µs of a step."""
    decider, detector = Decider(), Given(None)
    series = [LEVEL.series(str(row)) for row in range(rows)]
    values = np.zeros((rows, 1), dtype=np.float32)
    below, opened, spent = np.zeros(3), 0, 0.0
    for tick, scores in enumerate(quiet(kind, rows, ticks)):
        window = Window(np.array([(tick + 1) * S]), values, series, 1)
        began = time.perf_counter()
        changes = decider.step(detector, scores, window, {})
        spent += time.perf_counter() - began
        opened += sum(one.change == "opened" for one in changes)
        p = decider.p("given")
        below += [np.count_nonzero(p < level) for level in LEVELS]
    return below / (rows * ticks) / LEVELS, opened, spent / ticks * 1e6


def main() -> None:
    horizons = [int(one) for one in sys.argv[1:]] or [3_000, 10_000]
    print(
        f"{'kind':16} {'series':>6} {'readings':>8} {'0.01':>7} {'0.001':>7} {'0.0001':>7}", end=""
    )
    print(f" {'findings':>8} {'µs':>5}")
    for kind in KINDS:
        for ticks in horizons:
            for rows in POOLS:
                shares, opened, spent = measure(kind, rows, ticks)
                cells = [
                    f"{share:.2f}" if level * rows * ticks >= 30 else f"({share:.2f})"
                    for share, level in zip(shares, LEVELS, strict=True)
                ]
                print(f"{kind:16} {rows:6} {ticks:8}", *(f"{cell:>7}" for cell in cells), end="")
                print(f" {opened:8} {spent:5.0f}", flush=True)


if __name__ == "__main__":
    main()
