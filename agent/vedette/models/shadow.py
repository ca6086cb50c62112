"""Score a second instance of a detector on the same ticks as the champion, telling nobody.

A shadow has a detector, arrays and a Decider of its own; what it finds is counted and forgotten.
Its CPU time is measured. Where it takes more than ``SHARE_MOST`` of the agent's budget, or the
agent is short of it, it is asked at every second tick only, every fourth, every eighth, and then
rests until there is room. What it has not seen it has not learned: nothing else differs.

Memory per series: what the detector and the Decider take for the champion (28 bytes for ``robust``,
66 per head for the Decider). Without a shadow nothing of this exists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedette.api import Detector, Series, Window
from vedette.decide import Decider, FindingChange
from vedette.models import state
from vedette.models.rules import Rang
from vedette.models.state import Learned, Saved, Warm
from vedette.models.tally import Tally
from vedette.models.version import Version

#: Findings that are remembered, to be compared with what the operator says.
RANG_MAX = 1_000
#: Every so many ticks at the most sparing; beyond, it rests.
SPARING = 8
#: Part of the agent's budget that a shadow may take, and that of the budget in use from which it
#: is asked less often, and below which more often: those at which collectors are stretched.
SHARE_MOST, TIGHT, ROOM = 0.1, 0.9, 0.75


class Shadow:
    """One version that is not the champion, ready to be asked. Owned by the pipeline thread."""

    def __init__(self, version: Version, detector: Detector, rows: int) -> None:
        self.version = version
        self.detector = detector
        self.learned = Learned([detector], rows)
        self.decider = Decider()
        self.warm: Warm | None = None
        #: Counts of it and of the champion on the same ticks; none until it has an opinion.
        self.tally: Tally | None = None
        self.beside: Tally | None = None
        self.rang: deque[Rang] = deque(maxlen=RANG_MAX)
        #: Asked at every so many ticks; 0: resting.
        self.every = 1
        #: CPU time it took in all, and its share of a core over the last minute.
        self.cpu_s = 0.0
        self.share = 0.0
        self.failed = ""
        self._ticks = 0

    @property
    def heads(self) -> list[str]:
        """The names of the scores it gives."""
        return [head.name for head in self.detector.all_heads()]

    @property
    def bytes_per_series(self) -> int:
        """Memory that it takes for each series: the detector's arrays and the Decider's."""
        width = sum(4 * one.width for one in self.detector.state.values())
        return width + 66 * len(self.heads)

    def take_up(self, saved: Saved, series: Sequence[Series | None], now_ns: int) -> None:
        """Take what its version learned, for the series that are there and those that come."""
        self.decider.take_up(saved.host, self.detector.all_heads())
        self.warm = Warm(saved, now_ns)
        self.welcome([row for row, one in enumerate(series) if one is not None], series)

    def welcome(self, rows: Sequence[int], series: Sequence[Series | None]) -> None:
        """Give series that are new to the table what the version learned of them."""
        self.learned.grow(len(series))
        if self.warm is None:
            return
        for row in rows:
            one = series[row]
            tails = self.warm.give(one, row, self.learned) if one is not None else {}
            for head in self.detector.all_heads():
                if head.name in tails:
                    self.decider.restore(head, row, tails[head.name], len(series))

    def forget(self, rows: NDArray[np.intp], tick_ns: int) -> None:
        """Drop what is known of rows that are no longer of their series."""
        self.learned.forget(rows[rows < self.learned.rows])
        self._note(self.decider.forget(rows, tick_ns), tick_ns)

    def due(self) -> bool:
        """Whether it is asked at this tick; call once a tick."""
        self._ticks += 1
        return bool(self.every) and self._ticks % self.every == 0

    def step(
        self,
        window: Window,
        lenience: Callable[[str], NDArray[np.float32]],
        clock: Callable[[], float],
    ) -> NDArray[np.float32]:
        """Score, decide and learn the newest column; return the scores."""
        began = clock()
        self.learned.grow(len(window.series))
        held = self.learned.arrays[self.detector.name]
        self.decider.lenience = lenience
        scores = self.detector.score(window, held)
        changes = self.decider.step(self.detector, scores, window, held)
        self.detector.learn(window, held)
        tick_ns = int(window.time[-1])
        opened = self._note(changes, tick_ns)
        if self.tally is not None:
            self.tally.opened(tick_ns, opened)
            count(self.tally, tick_ns, scores, window, self.decider, self.heads)
        self.cpu_s += clock() - began
        return scores

    def write(self, path: Path, series: Sequence[Series | None], now_ns: int) -> int:
        """Save what it has learned."""
        name = self.detector.name
        return state.save(
            path,
            self.learned,
            {head: self.decider.arrays(head) for head in self.heads},
            series,
            {name: self.version.config},
            now_ns,
            self.decider.export(),
            {name: self.version.id},
            [self.warm] if self.warm is not None else [],
        )

    def _note(self, changes: Sequence[FindingChange], tick_ns: int) -> int:
        opened = 0
        for change in changes:
            finding = change.finding
            if change.change == "opened":
                opened += 1
            elif change.change == "continued":
                continue
            said = Rang(finding.detector, finding.series.key, finding.since_ns, tick_ns)
            self.rang.append(said)
        return opened

    def rung(self, now_ns: int) -> list[Rang]:
        """Return what it found; what is open still is until now."""
        return [*self.rang, *open_findings(self.decider, self.heads, now_ns)]


def count(
    tally: Tally,
    tick_ns: int,
    scores: NDArray[np.float32],
    window: Window,
    decider: Decider,
    heads: Sequence[str],
) -> None:
    """Count one tick of a detector."""
    judged = [(decider.p(head), decider.open_rows(head)) for head in heads]
    tally.scores(tick_ns, scores, window.values[:, -1], judged)


def open_findings(decider: Decider, heads: Sequence[str], now_ns: int) -> list[Rang]:
    """Return the findings that are open now."""
    return [
        Rang(one.detector, one.series.key, one.since_ns, now_ns)
        for head in heads
        for one in decider.findings(head)
    ]


def thinned(every: int, own: float, utilization: float | None) -> int:
    """Return how often a shadow is asked from now on.

    ``own`` is the part of the agent's budget that it took, ``utilization`` what of it is in use;
    None: there is no budget.
    """
    if utilization is None:
        return 1
    if every and (own > SHARE_MOST or utilization > TIGHT):
        return every * 2 if every < SPARING else 0
    if utilization >= ROOM:
        return every
    if every == 0:
        return SPARING
    return every // 2 if every > 1 and 2 * own <= SHARE_MOST else every
