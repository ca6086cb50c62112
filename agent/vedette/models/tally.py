"""Count what a detector's scores come to: calibration, findings, opinions. Pure.

Kept for a champion and the shadow beside it while there is one, and for a champion on probation.
Cost: four array operations per head and tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

MINUTE_NS = 60_000_000_000
#: Findings whose times are remembered, per detector.
FINDINGS_MAX = 1_000


class Figures(msgspec.Struct, frozen=True):
    """What was counted since ``since_ns``.

    ``scored`` are the scores with a p that were not part of an open finding; ``below2`` and
    ``below3`` how many of them had p below 0.01 and 0.001. ``findings`` opened in all and ``storm``
    of them within a minute; ``infinite`` scores there were; ``coverage`` is the mean share of the
    series read of which there was an opinion.
    """

    since_ns: int = 0
    last_ns: int = 0
    ticks: int = 0
    scored: int = 0
    below2: int = 0
    below3: int = 0
    findings: int = 0
    storm: int = 0
    infinite: int = 0
    coverage: float = 0.0


class Tally:
    """The counts of one detector. Owned by the pipeline thread."""

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.last_ns = since_ns
        self.ticks = self.scored = self.below2 = self.below3 = self.infinite = 0
        self.findings = self.storm = 0
        self._covered = 0.0
        self._newest: deque[int] = deque(maxlen=FINDINGS_MAX)

    def scores(
        self,
        tick_ns: int,
        scores: NDArray[np.float32],
        newest: NDArray[np.float32],
        judged: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]],
    ) -> None:
        """Take the scores of a tick; ``judged`` is p and which are open, per head."""
        self.last_ns = tick_ns
        self.ticks += 1
        by_head = scores if scores.ndim == 2 else scores[None]
        read = int(np.count_nonzero(np.isfinite(newest)))
        said = int(np.count_nonzero((by_head == by_head).any(axis=0)))
        self._covered += said / read if read else 1.0
        self.infinite += int(np.isinf(by_head).sum())
        for p, is_open in judged:
            free = p[~is_open] if is_open.any() else p
            self.scored += int(np.count_nonzero(free == free))
            with np.errstate(invalid="ignore"):
                self.below2 += int(np.count_nonzero(free < 0.01))
                self.below3 += int(np.count_nonzero(free < 0.001))

    def opened(self, tick_ns: int, count: int) -> None:
        """Take findings that opened at a tick."""
        self.findings += count
        self._newest.extend([tick_ns] * count)
        while self._newest and tick_ns - self._newest[0] >= MINUTE_NS:
            self._newest.popleft()
        self.storm = max(self.storm, len(self._newest))

    @property
    def coverage(self) -> float:
        """Mean share of the series read of which there was an opinion."""
        return self._covered / self.ticks if self.ticks else 0.0

    def figures(self) -> Figures:
        """Return the counts."""
        return Figures(
            self.since_ns,
            self.last_ns,
            self.ticks,
            self.scored,
            self.below2,
            self.below3,
            self.findings,
            self.storm,
            self.infinite,
            round(self.coverage, 4),
        )
