"""Measure how strange a number of log lines is, in nats, and say from where on it rings.

A surprise is minus the natural logarithm of the probability that a learned model gives to what was
seen or to something stranger: 0 is ordinary, 14 happens once in a million seconds. Four measures
cover everything that the detectors of logs look at, and all can be compared with ``RINGS``.

excess   A count above its mean, under the negative binomial: Chernoff's bound of its upper tail,
         ``k ln(k/m) - (k+r) ln((k+r)/(m+r))`` with the mean m and ``1/r`` the variance beyond
         Poisson's, relative to the squared mean. It needs no special functions and claims at most
         as much as is true. With r without limit it is Poisson's.
beyond   A value above the largest of n: a next one is the largest with probability 1/(n+1) for
         values in any order, and beyond that the tail is taken for Pareto's, the steeper the less
         the values spread. What comes in bunches is bounded by this, whatever its distribution.
Rarity   The first of its kind (a template, a successor, a value never seen): the decayed rate of
         such first times, so that a source which keeps inventing rings no more.
Share    Some lines of all lines (those at ERROR, the sessions that are odd, the values above a
         quantile): ``excess`` over the learned share with the learned spread, and ``beyond``.

All values are pure functions of what was fed; seconds are of observed time (see ``watch``).
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: From so many nats on a signal rings, whatever its kind.
RINGS = 14.0
#: What rang goes on until it has been below this part of it for ``OVER_S``.
OVER_PART, OVER_S = 0.5, 30.0
#: What rings for so long is the new state of the source and is learned.
LASTING_S = 600.0
#: Slope of the tail beyond the largest: of a regular gap in time, of a regular count, and the least
#: of a count and of a share that come in bunches.
GAP_SLOPE, REGULAR_SLOPE, COUNT_SLOPE, SHARE_SLOPE = 6.0, 12.0, 4.0, 2.0
#: How fast the slope falls with the spread.
WILD = 4.0
#: Memories in seconds: of rates, shares and gaps; of the largest seen; of first times.
MEMORY_S, RECORD_S, RARITY_S = 3 * 86_400.0, 14 * 86_400.0, 86_400.0
#: Variance of a busy counter that no history is long enough to rule out, relative to mean squared.
SPREAD_LEAST = 0.05


def excess(count: Floats, mean: Floats, spread: Floats) -> Floats:
    """Return the surprise of counts above their means; 0 where they are not above.

    ``spread`` is the variance beyond Poisson's, relative to the squared mean.
    """
    mean = np.maximum(mean, np.float32(1e-6))
    room = 1 / np.maximum(spread, np.float32(1e-6))
    above = np.maximum(count, mean)
    found = above * np.log(above / mean) - (above + room) * np.log1p((above - mean) / (mean + room))
    return np.maximum(found, 0).astype(np.float32)


def excess_one(count: float, mean: float, spread: float) -> float:
    """Return ``excess`` of one count."""
    mean, room = max(mean, 1e-6), 1 / max(spread, 1e-6)
    if count <= mean:
        return 0.0
    found = count * math.log(count / mean)
    return max(found - (count + room) * math.log1p((count - mean) / (mean + room)), 0.0)


def beyond(value: Floats, largest: Floats, times: Floats, slope: Floats) -> Floats:
    """Return the surprise of values above the largest of ``times`` values; 0 where not above."""
    ratio = np.maximum(value / np.maximum(largest, np.float32(1e-6)), np.float32(1e-6))
    found = np.log1p(times) + slope * np.log(ratio)
    return np.where(ratio > 1, found, 0).astype(np.float32)


def beyond_one(value: float, largest: float, times: float, slope: float) -> float:
    """Return ``beyond`` of one value."""
    if value <= largest:
        return 0.0
    return math.log1p(times) + slope * math.log(value / max(largest, 1e-6))


def slope_one(spread: float, least: float) -> float:
    """Return the slope of the tail beyond the largest of counts with a spread: less for bunches."""
    return max(REGULAR_SLOPE / (1 + WILD * spread), least)


class Rarity(msgspec.Struct):
    """How rare first times are at a source.

    Their rate is that of the last ``RARITY_S``; the first times of a young source teach little, as
    it has everything still to show, and a source is trusted (``PRIOR``) to have nothing to show.
    """

    born_s: float
    events: float = 0.0
    at_s: float = 0.0

    def surprise(self, now_s: float, more: float = 0.0) -> float:
        """Return the surprise of a first time in this very second; ``more`` might have been."""
        age = max(now_s - self.born_s, 1.0)
        seen = RARITY_S * -math.expm1(-age / RARITY_S)
        return max(math.log(seen / (PRIOR + more + self.decayed(now_s))), 0.0)

    def note(self, now_s: float, events: float = 1.0) -> None:
        """Remember that there were first times."""
        age = now_s - self.born_s
        self.events = self.decayed(now_s) + events * age / (age + YOUNG_S)
        self.at_s = now_s

    def decayed(self, now_s: float) -> float:
        """Return how many first times there were, the old ones counting less."""
        return self.events * math.exp(-max(now_s - self.at_s, 0.0) / RARITY_S)


#: First times that a source is taken to have had before it was watched.
PRIOR = 0.1
#: The age in seconds at which a first time teaches half of what it teaches at an old source.
YOUNG_S = 10_800.0


class Share(msgspec.Struct):
    """A share of what is counted (hits of lines), its spread, and how strange its present is.

    Counted in blocks of ``block_s``; the block that runs is judged as it fills, against as many
    lines as a block usually has at least: its first lines may all be of one job. Blocks
    that ring are learned when they have done so for ``LASTING_S``; of those that end before, one is
    learned half of the way there in logarithms, so what comes again and again becomes ordinary.
    """

    block_s: float
    #: Shares below this are not told apart, nor are fewer hits in a block than ``least_hits``.
    floor: float = 0.002
    least_hits: float = 8.0
    block: int = -1
    hits: float = 0.0
    lines: float = 0.0
    #: Decayed sums over closed blocks: hits, lines, and of the spread its two moments.
    all_hits: float = 0.0
    all_lines: float = 0.0
    beyond_poisson: float = 0.0
    squares: float = 0.0
    #: Largest ratio of hits to their mean, of how many blocks.
    record: float = 0.0
    blocks: float = 0.0
    rings_since_s: float = -1.0
    #: The largest ratio of the blocks that ring.
    held: float = 0.0

    def feed(self, now_s: float, hits: float, lines: float) -> float:
        """Count hits among lines and return how strange the block has become, in nats."""
        block = int(now_s // self.block_s)
        if block != self.block:
            self._close(now_s)
            self.block, self.hits, self.lines = block, 0.0, 0.0
        self.hits += hits
        self.lines += lines
        return self.score()

    def score(self) -> float:
        """Return how strange the running block is, in nats."""
        if self.hits < self.least_hits or self.blocks < WARM_BLOCKS:
            return 0.0
        mean = self._mean()
        found = excess_one(self.hits, mean, self.spread())
        if not found:
            return 0.0
        record = max(self.record, FIRST_RECORD / (1 + self.blocks))
        slope = slope_one(self.spread(), SHARE_SLOPE)
        return min(found, beyond_one(self._ratio(self.hits, mean), record, self.blocks, slope))

    def share(self) -> float:
        """Return the learned share."""
        return min(max((self.all_hits + 0.5) / (self.all_lines + 1), self.floor), 1.0)

    def spread(self) -> float:
        """Return the learned variance beyond Poisson's, relative to the squared mean.

        Below zero for shares near one, whose variance is binomial: taken for Poisson's.
        """
        found = (self.beyond_poisson + PRIOR_SPREAD) / (self.squares + 1)
        return max(found, SPREAD_LEAST)

    def _close(self, now_s: float) -> None:
        if not self.lines:
            return
        rings = self.score() >= RINGS
        if rings and self.rings_since_s < 0:
            self.rings_since_s = now_s
        if rings and now_s - self.rings_since_s < LASTING_S:
            self.held = max(self.held, self._ratio(self.hits, self._mean()))
            return
        if not rings:
            self._let_go()
        self.rings_since_s, self.held = -1.0, 0.0
        self._learn(self.hits, self.lines)

    def _let_go(self) -> None:
        """End what rang: learn a block half of the way there, in logarithms."""
        if not self.held:
            return
        half = math.sqrt(self.held * max(self.record, FIRST_RECORD / (1 + self.blocks)))
        lines = self.all_lines / max(self.blocks, 1.0)
        self._learn(half * (lines * self.share() + 1), lines)

    def _learn(self, hits: float, lines: float) -> None:
        kept = math.exp(-self.block_s / MEMORY_S)
        mean = max(lines, self.all_lines / max(self.blocks, 1.0)) * self.share()
        self.all_hits = kept * self.all_hits + hits
        self.all_lines = kept * self.all_lines + lines
        if self.blocks >= WARM_BLOCKS / 2:
            apart = (hits - mean) ** 2 - mean
            self.beyond_poisson = kept * self.beyond_poisson + apart
            self.squares = kept * self.squares + mean**2
        self.blocks = kept * self.blocks + 1
        self.record *= math.exp(-self.block_s / RECORD_S)
        self.record = max(self.record, self._ratio(hits, mean))

    def _mean(self) -> float:
        """Return the hits that are expected in a block."""
        return max(self.lines, self.all_lines / max(self.blocks, 1.0)) * self.share()

    @staticmethod
    def _ratio(hits: float, mean: float) -> float:
        return (hits + 1) / (mean + 1)


#: Blocks before a share is judged, and what stands for the largest ratio before there are many.
WARM_BLOCKS, FIRST_RECORD = 10.0, 10.0
#: Relative spread of a share that is taken for known, with the weight of one line squared.
PRIOR_SPREAD = 0.5


def joined(surprises: list[float]) -> float:
    """Return the surprise of several first times in one second: the largest, and a bit for each."""
    return max(surprises) + math.log(len(surprises)) if surprises else 0.0


def packed(array: NDArray[Any]) -> bytes:
    """Return an array's bytes, little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
