"""Judge and learn counts of lines in blocks of seconds, and gaps between lines: arithmetic only.

Functions over arrays with one row per template; ``rhythm`` says what they are for and owns the
arrays. Columns of a block's row (``BLOCK``): the lines so far, the mean that follows the day and
the spread about it, sums of lines and of their squares, how many blocks, the largest, how many had
lines. Columns of a gap's row (``GAP``): sums of gaps, of their squares and cubes, the longest.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vedette.logs.surprise import (
    COUNT_SLOPE,
    GAP_SLOPE,
    MEMORY_S,
    RECORD_S,
    REGULAR_SLOPE,
    RINGS,
    SPREAD_LEAST,
    WILD,
    Floats,
    beyond,
    excess,
)

#: Seconds of a block; the second scale sees floods that are slow.
BLOCKS_S = (10.0, 180.0)
#: Memory in seconds of the mean that follows the day, per scale.
FAST_S = (1200.0, 3600.0)
#: Fewer lines than this in a block are no burst.
LEAST_LINES = 10.0
#: Blocks whose weight the first guess of the spread has, and that guess.
PRIOR_BLOCKS, PRIOR_SPREAD = 5.0, 1.0
#: Gaps are awaited when there were as many, over so many seconds, and they vary so little.
GAPS_LEAST, SPAN_LEAST_S, IRREGULAR = 20.0, 1200.0, 0.35
#: A silence is at least so long, and so many times the longest gap; twice as many where it varies.
SILENT_LEAST_S, LONGEST_TIMES = 120.0, 3.0
#: No moment at all.
NEVER = -1.0

BLOCK = ("lines", "fast", "apart", "total", "squares", "blocks", "record", "times")
GAP = ("gaps", "gap_squares", "gap_cubes", "longest")


def may_be_strange(lines: Floats, record: Floats, times: Floats, bunch: Floats) -> Floats:
    """Return the largest that counts have to exceed to be looked at; ``bunch`` is a first guess."""
    most = np.maximum(record, bunch / (1 + times))
    return np.where(lines > np.maximum(most, LEAST_LINES), most, np.float32(np.inf))


def score_blocks(part: Floats, most: Floats, scale: int) -> Floats:
    """Return how strange running blocks are, in nats: the least of three views."""
    lines, fast, apart, total, squares, blocks, _, times = part.T
    mean = (total + np.float32(0.5)) / (blocks + 1)
    found = np.maximum((squares - total) / (blocks + 1) / mean**2 - 1, SPREAD_LEAST)
    spread = (blocks * found + PRIOR_BLOCKS * PRIOR_SPREAD) / (blocks + PRIOR_BLOCKS)
    slow = excess(lines, mean, spread)
    age = -np.expm1(-np.maximum(blocks, 1) * np.float32(BLOCKS_S[scale] / FAST_S[scale]))
    near = excess(lines, fast / age, np.maximum(apart / age, SPREAD_LEAST))
    # Few blocks with lines tell little of how they spread.
    spread = (times * found + PRIOR_BLOCKS * PRIOR_SPREAD) / (times + PRIOR_BLOCKS)
    slope = np.maximum(REGULAR_SLOPE / (1 + WILD * spread), COUNT_SLOPE)
    past = beyond(lines, np.maximum(most, LEAST_LINES / 2), times, slope)
    return np.minimum(np.minimum(slow, near), past)


def learn_blocks(part: Floats, lines: Floats, passed: Floats, scale: int) -> None:
    """Learn blocks that were closed, ``passed`` of them, all empty but the first; in place."""
    _, fast, apart, total, squares, blocks, record, times = part.T
    seconds = BLOCKS_S[scale]
    one = np.float32(math.exp(-seconds / FAST_S[scale]))
    age = np.maximum(-np.expm1(-blocks * np.float32(seconds / FAST_S[scale])), 1e-6)
    mean = np.maximum(fast / age, 1)
    off = np.minimum(((lines - mean) ** 2 - mean) / mean**2, 10)
    part[:, 2] = np.where(blocks >= PRIOR_BLOCKS, one * apart + (1 - one) * off, apart)
    part[:, 1] = (one * fast + (1 - one) * lines) * one ** (passed - 1)
    kept = np.exp(-passed * np.float32(seconds / MEMORY_S))
    part[:, 3] = kept * total + lines
    part[:, 4] = kept * squares + lines**2
    part[:, 5] = kept * blocks + passed
    fades = np.exp(-passed * np.float32(seconds / RECORD_S))
    part[:, 6] = np.maximum(record * fades, lines)
    part[:, 7] = kept * times + (lines > 0)


def moved(record: Floats, held: Floats, part: Floats) -> Floats:
    """Return the largest block after a burst: a part of the way there, in logarithms."""
    record = np.maximum(record, np.float32(LEAST_LINES / 2))
    return np.where(held > record, record * (held / record) ** part, record)


def learn_gaps(part: Floats, gap: Floats) -> None:
    """Learn gaps that ended; in place."""
    kept = np.exp(-gap * np.float32(1 / MEMORY_S))
    part[:, 0] = kept * part[:, 0] + gap
    part[:, 1] = kept * part[:, 1] + gap**2
    part[:, 2] = kept * part[:, 2] + gap**3
    part[:, 3] = np.maximum(part[:, 3] * np.exp(-gap * np.float32(1 / RECORD_S)), gap)


def due(part: Floats, now_s: float) -> NDArray[np.float64]:
    """Return when templates are overdue if no line comes; NEVER when they are not awaited."""
    total, squares, cubes, longest = part.astype(np.float64).T
    times = total**2 / np.maximum(squares, 1e-6)
    varies = cubes * total / np.maximum(squares, 1e-6) ** 2 - 1
    awaited = (times >= GAPS_LEAST) & (total >= SPAN_LEAST_S) & (varies <= IRREGULAR)
    more = np.exp((RINGS - np.log1p(times)) / GAP_SLOPE)
    least = LONGEST_TIMES * (1 + np.maximum(varies, 0) / IRREGULAR)
    length = np.maximum(longest * np.maximum(more, least), SILENT_LEAST_S)
    return np.where(awaited, now_s + length, NEVER)


def silence(part: Floats, gap_s: float) -> float:
    """Return how strange a gap that has not ended is, in nats; ``part`` is one row."""
    total, squares, _, longest = (float(one) for one in part)
    times = total**2 / max(squares, 1e-6)
    return math.log1p(times) + GAP_SLOPE * math.log(max(gap_s / max(longest, 1e-6), 1.0))
