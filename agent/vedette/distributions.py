"""Add up, over a window, what sources count in buckets of their own. Pure.

Buckets are never changed: where a source has others than before (it was upgraded, say), what was
counted in the old ones is told beside the new.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add

import msgspec

from vedette.api import HistogramSample, Series

#: Distributions of one window; what is more is dropped and counted.
DISTRIBUTIONS_MAX = 4_000


class Distribution(msgspec.Struct):
    """The counts of one series in one set of buckets; ``sum`` is None once one was not known."""

    series: Series
    bounds: tuple[float, ...]
    counts: list[int]
    sum: float | None

    @property
    def count(self) -> int:
        """All that was counted."""
        return sum(self.counts)


class Distributions:
    """The open window's."""

    def __init__(self) -> None:
        self._found: dict[tuple[Series, tuple[float, ...]], Distribution] = {}

    def add(self, samples: Sequence[HistogramSample]) -> int:
        """Add what was counted since the last reading; returns how many there was no room for."""
        dropped = 0
        for sample in samples:
            key = sample.series, sample.bounds
            known = self._found.get(key)
            if known is None:
                if len(self._found) >= DISTRIBUTIONS_MAX:
                    dropped += 1
                    continue
                self._found[key] = Distribution(
                    sample.series, sample.bounds, list(sample.counts), sample.sum
                )
                continue
            known.counts = list(map(add, known.counts, sample.counts))
            unknown = known.sum is None or sample.sum is None
            known.sum = None if unknown else (known.sum or 0.0) + (sample.sum or 0.0)
        return dropped

    def close(self) -> list[Distribution]:
        """Return what was counted in the window, without what was not, and begin anew."""
        found, self._found = self._found, {}
        return [one for one in found.values() if any(one.counts)]
