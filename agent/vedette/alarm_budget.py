"""Keep to the false alarms that the operator allows: raise the bar where it rings too often.

What a host rings at the shipped thresholds says how it is: each *cluster* of candidate findings
(whatever is strange within ``CLUSTER_NS`` is one) has a peak, in multiples of the threshold. If
there were far more clusters in the last seven days than the budget allows, the bar rises to where
an exponential tail through those peaks has no more than that: peaks over threshold (Pickands 1975),
with the median as the estimator, so that a few true faults among them do not set the scale. Where
the tail is of another kind, the rule of adaptive conformal inference (Gibbs and Candes, 2021) puts
it right: each cluster that rang stretches the distance by ``STEP``, each week shrinks it by as much
as the allowed ones would, so that in the long run as many ring as are allowed.

The bar never goes below the shipped one, moves only once a day of data is there, and never beyond
``HIGHEST``: a budget is no reason to sleep through a fire.

A series that rings again and again gets a higher bar of its own, which wears off, so that it does
not use up the budget of all. Pure: time is an argument.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.growth import grown

WEEK_NS = 7 * 86_400_000_000_000
DAY_NS = 86_400_000_000_000
#: What turns strange within this time of the last candidate is of its cluster.
CLUSTER_NS = 300_000_000_000
#: Clusters that are remembered.
KEPT = 1_000
#: The bar is never raised beyond this multiple of the shipped threshold.
HIGHEST = 1.8
#: Nobody knows which of what rang was false: the bar stays where it is until there is surely this
#: many times as much as is allowed. On labelled hosts two of three are faults.
TOLERATED = 3.0
#: Standard deviations of such a count that make it sure. It is looked at for a week on end: with
#: one, a host with two or three faults a week has its bar raised because of them every other week.
SURELY = 2.0
#: A peak counts for no more than this.
PEAK_MOST = 4.0
#: By how much, in its logarithm, a cluster that rang stretches the bar's distance; and how far.
STEP = 0.15
REACH = (0.3, 4.0)
#: Time between two looks that counts for no more than this: the agent did not run.
LOOK_NS = 3_600_000_000_000
#: Findings of one series, halved every ``WEARS_OFF_NS``, that its bar is not raised for, by how
#: much each one more raises it, and how far.
FREE, EACH, MOST = 2.0, 0.25, 2.0
WEARS_OFF_NS = 3 * DAY_NS


class Cluster(msgspec.Struct, array_like=True):
    """Candidates that came together: when, how strange the strangest was, whether it rang."""

    since_ns: int
    last_ns: int
    peak: float
    rang: bool = False
    real: bool = False


class _Kept(msgspec.Struct):
    """What is worth keeping of an ``AlarmBudget``."""

    since_ns: int
    looked_ns: int
    bar: float
    stretch: float
    clusters: list[Cluster]


class AlarmBudget:
    """The bar of one host. ``per_week`` are the false incidents a week that are allowed.

    0: the bar is never raised.
    """

    def __init__(self, per_week: float = 1.0) -> None:
        self.per_week = per_week
        #: By how much thresholds are raised, for all series.
        self.bar = 1.0
        self.clusters: deque[Cluster] = deque(maxlen=KEPT)
        self._stretch = 1.0
        self._since_ns = 0
        self._looked_ns = 0

    def note(self, tick_ns: int, peak: float, *, rang: bool) -> None:
        """Take candidates at a tick; ``peak`` is the strangest, in multiples of its threshold.

        ``rang``: one of them is a finding.
        """
        peak = min(peak, PEAK_MOST)
        last = self.clusters[-1] if self.clusters else None
        if last is None or not -CLUSTER_NS <= tick_ns - last.last_ns <= CLUSTER_NS:
            last = Cluster(tick_ns, tick_ns, peak)
            self.clusters.append(last)
        last.last_ns = tick_ns
        last.peak = max(last.peak, peak)
        if rang and not last.rang:
            last.rang = True
            if self._since_ns and tick_ns - self._since_ns >= DAY_NS:
                self._move(STEP)

    def step(self, tick_ns: int) -> bool:
        """Move the bar; return whether it moved. Call now and then."""
        if not self._since_ns or tick_ns < self._looked_ns:
            self._set_back(tick_ns)
        elapsed = min(tick_ns - self._looked_ns, LOOK_NS)
        self._looked_ns = tick_ns
        while self.clusters and tick_ns - self.clusters[0].last_ns > WEEK_NS:
            self.clusters.popleft()
        known_ns = min(tick_ns - self._since_ns, WEEK_NS)
        false = [one for one in self.clusters if not one.real]
        a_week = len(false) * WEEK_NS / max(known_ns, DAY_NS)
        bar = 1.0
        surely = a_week - SURELY * math.sqrt(len(false)) * WEEK_NS / max(known_ns, DAY_NS)
        if known_ns >= DAY_NS and surely > TOLERATED * self.per_week > 0:
            self._move(-STEP * self.per_week * elapsed / WEEK_NS)
            beyond = statistics.median(max(one.peak - 1, 0.0) for one in false)
            distance = beyond / math.log(2) * math.log(a_week / self.per_week)
            bar += self._stretch * distance
        before, self.bar = self.bar, min(bar, HIGHEST)
        return self.bar != before

    def excuse(self, spans: Sequence[tuple[int, int]]) -> None:
        """Take from when to when incidents were real (Unix ns): all clusters elsewhere are not."""
        for one in self.clusters:
            real = any(one.since_ns <= end and start <= one.last_ns for start, end in spans)
            if real != one.real:
                one.real = real
                if one.rang and one.since_ns - self._since_ns >= DAY_NS:
                    self._move(-STEP if real else STEP)

    def export(self) -> dict[str, object]:
        """Return what is known, as plain data for ``restore``."""
        clusters = list(self.clusters)
        kept = _Kept(self._since_ns, self._looked_ns, self.bar, self._stretch, clusters)
        known: dict[str, object] = msgspec.to_builtins(kept)
        return known

    def restore(self, known: Mapping[str, object]) -> None:
        """Take up what an earlier run knew; raises ``ValueError`` if it is something else."""
        kept = msgspec.convert(known, _Kept)
        self._since_ns, self._looked_ns = kept.since_ns, kept.looked_ns
        self.bar = min(max(kept.bar, 1.0), HIGHEST)
        self._stretch = min(max(kept.stretch, REACH[0]), REACH[1])
        self.clusters = deque(kept.clusters, maxlen=KEPT)

    def _move(self, by: float) -> None:
        self._stretch = min(max(self._stretch * math.exp(by), REACH[0]), REACH[1])

    def _set_back(self, tick_ns: int) -> None:
        """Begin, or go on after the clock was set back: what is yet to come is not known."""
        if not self._since_ns or tick_ns < self._since_ns:
            self._since_ns = tick_ns
        self._looked_ns = tick_ns
        while self.clusters and self.clusters[-1].last_ns > tick_ns:
            self.clusters.pop()


class Repeats:
    """How often each series rang lately. Arrays are ``(rows,)``."""

    def __init__(self, rows: int) -> None:
        self._rung = np.zeros(rows, dtype=np.float32)
        self._at_ns = np.zeros(rows, dtype=np.int64)

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` rows."""
        self._rung = grown(self._rung, rows, 0)
        self._at_ns = grown(self._at_ns, rows, 0)

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Start rows anew."""
        self._rung[rows] = 0
        self._at_ns[rows] = 0

    def bar(self, row: int, tick_ns: int) -> float:
        """Return by how much the threshold of a row is raised now."""
        return 1.0 + min(max(self._now(row, tick_ns) - FREE, 0.0) * EACH, MOST - 1.0)

    def note(self, row: int, tick_ns: int) -> None:
        """Take a finding that opened."""
        self._rung[row] = self._now(row, tick_ns) + 1
        self._at_ns[row] = tick_ns

    def _now(self, row: int, tick_ns: int) -> float:
        if not self._rung[row]:
            return 0.0
        if tick_ns < self._at_ns[row]:  # the clock was set back
            self._at_ns[row] = tick_ns
        return float(self._rung[row]) * math.exp2(-(tick_ns - int(self._at_ns[row])) / WEARS_OFF_NS)
