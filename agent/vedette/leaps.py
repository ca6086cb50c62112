"""See when what was a small matter all at once becomes a large one.

A host that does nothing has small findings, and they stay open for minutes: fifty open files more
than ever, a tenth of the CPU. What then happens to the same series is another matter, though their
findings go on: a *leap*, from a level that had settled for ``SETTLED_NS`` to ``LEAP`` times as far
from the band. What grows all the time, fast or slowly, never settles and so never leaps. Pure.
"""

from __future__ import annotations

from vedette.api import Finding

#: How far is much further, in distances from the band and in widths of it.
LEAP = 3.0
#: Of what has a limit, the part of it that a leap is at least.
LEAST_PART = 0.1
#: What has not grown by this factor for so long has settled.
GROWTH, SETTLED_NS = 1.2, 20_000_000_000


class Reach:
    """How far one series has been from its band since it turned strange."""

    __slots__ = ("_at_ns", "_far", "_settled")

    def __init__(self, finding: Finding) -> None:
        self._settled: float | None = None
        self._far, self._at_ns = distance(finding), finding.last_ns

    def follow(self, finding: Finding) -> bool:
        """Take the newer form of a finding; say whether the series leapt."""
        far = distance(finding)
        if far > GROWTH * self._far:
            if finding.last_ns - self._at_ns >= SETTLED_NS:
                self._settled = self._far
            self._far, self._at_ns = far, finding.last_ns
        if self._settled is None:
            return False
        limit = finding.series.instrument.limit
        if limit and far - self._settled < LEAST_PART * limit:
            return False
        return far >= LEAP * max(self._settled, finding.high - finding.low)


def distance(finding: Finding) -> float:
    """Return how far outside of its band a finding's series was at its worst; 0 without a band."""
    return max(0.0, finding.observed - finding.high, finding.low - finding.observed)
