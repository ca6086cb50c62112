"""Follow what one head says of each series: how strange it is, for how long, and what is open.

A score's *ratio* says how far it is towards a finding, 1 is the threshold: the score by the head's
own threshold where it has one; otherwise log p by that of ``OPEN_P``, with p from the tail of the
series (tails.py). A level rule's score is its ratio. A person is called per host, not per series:
where more than ``MANY`` series are *lively*, do score something now and then, p is smaller in
proportion, and more readings confirm a head that says so. It is smaller as well where strange
readings come in long runs.

Only rows that are strange, were it lately, or have an open finding are looked at one by one; the
arrays are 26 bytes per series, and the tail 37.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vedette.alarm_budget import Repeats
from vedette.api import Finding, Head
from vedette.growth import grown
from vedette.tails import PRIOR_LENGTH, Tails

#: The p of a reading that is strange, where the head has no threshold of its own.
OPEN_P = 2e-4
#: Confirmation by several in a row does the rest only where readings are independent: 40 quiet
#: series that are read each second and remember 20 of them rang twice an hour. Of a series whose
#: runs above its quantile are twice as long as those of independent readings, the p is smaller by
#: 2 to the power of this, but never less than the other.
LONGER, LEAST_OPEN_P = 8, 1e-7
#: So many lively series may ring at the shipped p, and after as many readings as a head says.
MANY = 8
WEEK_S = 7 * 86_400
#: Of a level rule: a reading this near to the threshold is not calm.
LEVEL_CALM = 0.9

_LOG_OPEN, _LOG_LEAST = np.log10(np.array([OPEN_P, LEAST_OPEN_P], dtype=np.float32))
_COUNTED = ("strange_since", "strange_count", "misses", "is_open")
#: Rows of an array.
Rows = NDArray[np.intp] | slice
ALL = slice(None)
_NO_ROWS = np.empty(0, dtype=np.intp)


class OpenFinding:
    """An open finding, and how long its series has been calm."""

    __slots__ = ("calm_count", "calm_since_ns", "finding")

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        self.calm_count = 0
        self.calm_since_ns = 0

    def follow(self, calm: bool, tick: int) -> None:
        """Take one reading."""
        if not calm:
            self.calm_count = 0
        elif self.calm_count == 0 or tick < self.calm_since_ns:
            self.calm_since_ns = tick
        self.calm_count += calm

    def is_over(self, head: Head, tick: int) -> bool:
        """Say whether it has been calm for long enough."""
        lasted = tick - self.calm_since_ns
        return self.calm_count >= head.release and lasted >= head.release_s * 1e9


class Judgement:
    """What is known of each row for one head. Arrays ``(rows,)``."""

    def __init__(self, head: Head, rows: int) -> None:
        self.head = head
        self.level = False
        # Grown when they are needed: a level rule has none.
        self.tails = Tails(0)
        self.repeats = Repeats(rows)
        self.strange_since = np.zeros(rows, dtype=np.int64)
        self.strange_count = np.zeros(rows, dtype=np.int32)
        self.misses = np.zeros(rows, dtype=np.int8)
        self.is_open = np.zeros(rows, dtype=bool)
        self.open: dict[int, OpenFinding] = {}
        self.scores = np.full(rows, np.nan, dtype=np.float32)
        # The rows in which a run of strange readings goes on.
        self._running = _NO_ROWS

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` rows."""
        self.repeats.grow(rows)
        for name in _COUNTED:
            setattr(self, name, grown(getattr(self, name), rows, 0))

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Start rows anew."""
        self.tails.forget(rows[rows < len(self.tails)])
        self.repeats.forget(rows)
        for name in _COUNTED:
            getattr(self, name)[rows] = 0

    @property
    def calm_below(self) -> float:
        """The ratio below which a reading is calm."""
        return LEVEL_CALM if self.level else self.head.calm

    def take(self, scores: NDArray[np.float32], step_s: float) -> NDArray[np.intp]:
        """Take the newest scores, ``step_s`` after those before; return the rows that are strange.

        ``step_s`` is 0 where that is not known.
        """
        self.scores = scores
        threshold = 1.0 if self.level else self.head.threshold
        if not self.level:
            if len(self.tails) < len(scores):
                self.tails.grow(len(scores))
            rows, log_p = self.tails.step(scores, self.is_open)
            if threshold is None:
                return rows[log_p <= self._log_open(rows)]
        strange = np.flatnonzero(scores >= np.float32(threshold))
        if self.level or self.head.weekly is None or not step_s or not len(strange):
            return strange
        usual = self.tails.log_p(scores, strange) > math.log10(self.head.weekly * step_s / WEEK_S)
        return strange[~usual]

    def p(self, rows: Rows = ALL) -> NDArray[np.float32]:
        """Return the tail probability of the newest scores; NaN where there is no opinion."""
        if self.level:
            scores = self.scores[rows]
            p = np.where(scores >= 1, 0, np.where(scores < 1, 1, np.nan))
            return p.astype(np.float32)
        return np.power(np.float32(10), self.tails.log_p(self.scores, rows))

    def ratio(self, rows: Rows = ALL) -> NDArray[np.float32]:
        """Return how far the newest scores are towards a finding; NaN: no opinion."""
        if self.level:
            return self.scores[rows]
        if self.head.threshold is not None:
            return self.scores[rows] / np.float32(self.head.threshold)
        return self.tails.log_p(self.scores, rows) / self._log_open(rows)

    def confirm(self) -> int:
        """Return how many readings have to be strange on a host of so many lively series."""
        return self.head.confirm + round(self.head.oftener * self._tenfolds())

    def _tenfolds(self) -> float:
        """Return by how much more than ``MANY`` series are lively, as log10."""
        return math.log10(max(self.tails.lively / MANY, 1.0))

    def _log_open(self, rows: Rows) -> NDArray[np.float32]:
        """Return log10 of the p from which a reading of rows is strange."""
        longer = np.maximum(self.tails.length[rows] / np.float32(PRIOR_LENGTH), 1)
        log_p: NDArray[np.float32] = _LOG_OPEN - LONGER * np.log10(longer)
        log_p -= np.float32(self._tenfolds())
        np.maximum(log_p, _LOG_LEAST, out=log_p)
        return log_p

    def follow(self, strange: NDArray[np.intp], scores: NDArray[np.float32], tick: int) -> None:
        """Keep count of runs of strange readings: a run survives a single one that is not."""
        if len(self._running):
            running = self._running
            others = np.ones(len(scores), dtype=bool)
            others[strange] = False
            missed = running[others[running] & (scores[running] == scores[running])]
            self.misses[missed] += 1
            self.strange_count[missed[self.misses[missed] >= 2]] = 0
        elif not len(strange):
            return
        # The clock may have been set back since the run began.
        begins = (self.strange_count[strange] == 0) | (self.strange_since[strange] > tick)
        self.strange_since[strange[begins]] = tick
        self.strange_count[strange] += 1
        self.misses[strange] = 0
        self._running = np.flatnonzero(self.strange_count)

    def begin(self, row: int, finding: Finding) -> None:
        """Keep a finding as open."""
        self.open[row] = OpenFinding(finding)
        self.is_open[row] = True
        self._of_a_finding(row)

    def close(self, row: int) -> None:
        """Let go of a finding that is over."""
        del self.open[row]
        self.is_open[row] = False
        self._of_a_finding(row)

    def _of_a_finding(self, row: int) -> None:
        if not self.level:
            self.tails.mark(row)

    def confirmed(self, strange: NDArray[np.intp], tick: int) -> NDArray[np.intp]:
        """Return those of the strange rows that were it for long enough and have no finding."""
        if not len(strange):
            return strange
        enough = (self.strange_count[strange] >= self.confirm()) & ~self.is_open[strange]
        if self.head.confirm_s:
            enough &= tick - self.strange_since[strange] >= self.head.confirm_s * 1e9
        return strange[enough]
