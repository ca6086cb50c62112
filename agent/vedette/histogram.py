"""Keep distributions as exponential histograms: one value, or a batch over all series.

The idea: bucket ``index`` holds the readings in ``(base**index, base**(index + 1)]`` with
``base = 2**(2**-scale)``, so every bucket is equally wide in relative terms and no range has to be
known beforehand. Halving the scale joins neighbours exactly, therefore histograms of any scale
merge without error beyond that of the coarser one. A quantile answered by the geometric middle of
its bucket is off by ``sqrt(base) - 1`` at most: 1.1 % at scale 5, 4.4 % at scale 3.

Source: OpenTelemetry metrics data model, "ExponentialHistogram" (stable). Where this differs:

- A batch takes all readings of a window at once. Each series gets the largest scale, not above the
  wanted one, at which its readings need ``max_buckets`` buckets per sign; an SDK that sees one
  reading at a time arrives at the same scale.
- The exponent comes from ``frexp`` and only the mantissa goes through a logarithm, so powers of two
  are exact at every scale, and subnormal numbers keep their own buckets (the data model allows
  rounding them up to the smallest normal number).
- A histogram without buckets (empty, or zeros only) does not limit the scale of a merge.
- Not a number means "not read"; an infinite reading is left out and counted.

Cost for a window of 60 readings: about 2 µs per series at close, nothing per reading. A batch
holds 36 bytes per series and 4 per bucket: some 450 bytes for a noisy series at scale 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MAX_BUCKETS",
    "Buckets",
    "ExponentialHistogram",
    "Histograms",
    "bucket_indexes",
    "bucket_middle",
    "upper_bound",
]

#: Buckets per sign; the default of the OpenTelemetry SDK specification (MaxSize).
MAX_BUCKETS = 160
#: Scales at which an index fits 32 bits for every float64 (SDK specification: MaxScale 20).
MAX_SCALE = 20
MIN_SCALE = -10
#: Readings worked on at once: bounds the temporary arrays to a few MiB, whatever the series.
CHUNK = 32_768


def bucket_indexes(magnitudes: NDArray[np.float64], scale: int) -> NDArray[np.int32]:
    """Return the bucket index of each magnitude, all finite and above zero (any shape)."""
    mantissa, exponent = np.frexp(magnitudes)
    indexes: NDArray[np.int32] = exponent.astype(np.int32) - 1
    if scale <= 0:
        indexes -= mantissa == 0.5
        indexes >>= -scale
    else:
        # The mantissa is doubled first: close to 1 its logarithm is exact, close to 0.5 it is not.
        indexes <<= scale
        indexes += np.ceil(np.log2(mantissa * 2.0) * (1 << scale)).astype(np.int32) - 1
    return indexes


def upper_bound(index: int, scale: int) -> float:
    """Return the upper, inclusive bound of a bucket; 0 or infinity outside of float64."""
    return _power(index + 1, scale)


def bucket_middle(index: int, scale: int) -> float:
    """Return the geometric middle of a bucket; 0 or infinity outside of float64."""
    return _power(index + 0.5, scale)


def _power(index: float, scale: int) -> float:
    # A foreign sender may name any 32-bit scale and index, so neither step may raise.
    try:
        return math.exp2(math.ldexp(index, -scale))
    except OverflowError:
        return math.inf if index > 0 else 0.0


# ---------------------------------------------------------------- one histogram


class ExponentialHistogram(msgspec.Struct, frozen=True):
    """One distribution: dense bucket counts from ``*_offset`` up, per sign.

    ``sum``, ``min`` and ``max`` are None when unknown. ``zero_count`` counts the readings whose
    magnitude is ``zero_threshold`` at most (0: true zeros only).
    """

    scale: int
    zero_count: int = 0
    positive_offset: int = 0
    positive: tuple[int, ...] = ()
    negative_offset: int = 0
    negative: tuple[int, ...] = ()
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    zero_threshold: float = 0.0

    @classmethod
    def of(
        cls, values: NDArray[np.float64], scale: int = 5, max_buckets: int = MAX_BUCKETS
    ) -> ExponentialHistogram:
        """Build from readings ``(k,)``; NaN and infinite ones are left out."""
        values = np.asarray(values, dtype=np.float64)
        made = Histograms.of(values[np.newaxis], scale, max_buckets).at(0)
        finite = values[np.isfinite(values)]
        if not finite.size:
            return made
        with np.errstate(over="ignore"):
            total = float(finite.sum())
        return msgspec.structs.replace(
            made, sum=total, min=float(finite.min()) + 0.0, max=float(finite.max()) + 0.0
        )

    @property
    def count(self) -> int:
        """Readings in all buckets together, the zero bucket included."""
        return self.zero_count + sum(self.positive) + sum(self.negative)

    @property
    def mean(self) -> float:
        """The mean reading; NaN when empty or when the sum is unknown."""
        count = self.count
        return self.sum / count if count and self.sum is not None else math.nan

    def downscale(self, scale: int) -> ExponentialHistogram:
        """Return the same readings at a scale not above the present one, or ``ValueError``."""
        by = self.scale - scale
        if by < 0:
            raise ValueError(f"cannot refine a histogram of scale {self.scale} to scale {scale}")
        if by == 0:
            return self
        positive_offset, positive = _join(self.positive_offset, self.positive, by)
        negative_offset, negative = _join(self.negative_offset, self.negative, by)
        return msgspec.structs.replace(
            self,
            scale=scale,
            positive_offset=positive_offset,
            positive=positive,
            negative_offset=negative_offset,
            negative=negative,
        )

    def merge(
        self, other: ExponentialHistogram, max_buckets: int = MAX_BUCKETS
    ) -> ExponentialHistogram:
        """Return the histogram of both sets of readings, with at most ``max_buckets`` per sign.

        Exact for counts, ``min`` and ``max``; associative and commutative. What one side does not
        know (``sum``, ``min``, ``max``) the result does not know either, unless that side is empty.
        """
        if max_buckets < 2:
            raise ValueError(f"a histogram needs at least 2 buckets per sign, got {max_buckets}")
        bucketed = [part.scale for part in (self, other) if part.positive or part.negative]
        scale = min(bucketed or (self.scale, other.scale))
        a, b = _rescaled(self, scale), _rescaled(other, scale)
        # Nothing of the joint width is allocated before it fits: a foreign index may be anything.
        while _joint_width(a, b) > max_buckets:
            scale -= 1
            a, b = a.downscale(scale), b.downscale(scale)
        if a.zero_threshold != b.zero_threshold:
            a, b = _same_zero(a, b)
        positive_offset, positive = _add(
            a.positive_offset, a.positive, b.positive_offset, b.positive
        )
        negative_offset, negative = _add(
            a.negative_offset, a.negative, b.negative_offset, b.negative
        )
        known = [part for part in (self, other) if part.count]
        sums = [part.sum for part in known]
        lows = [part.min for part in known]
        highs = [part.max for part in known]
        return ExponentialHistogram(
            scale=scale,
            zero_count=a.zero_count + b.zero_count,
            positive_offset=positive_offset,
            positive=positive,
            negative_offset=negative_offset,
            negative=negative,
            sum=_total(sums),
            min=None if None in lows else min(lows, default=None),  # type: ignore[type-var]
            max=None if None in highs else max(highs, default=None),  # type: ignore[type-var]
            zero_threshold=a.zero_threshold,
        )

    def quantile(self, q: float) -> float:
        """Return the reading with rank ``ceil(q * count)``, as near as its bucket tells.

        The geometric middle of the bucket, kept within ``min`` and ``max``, which are themselves
        the first and the last rank where known; NaN when empty. Raises ``ValueError`` for ``q``
        outside of 0 to 1.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile lies between 0 and 1, got {q}")
        count = self.count
        # Rounded, since 0.7 * 10 is a little more than 7 in binary.
        rank = min(max(math.ceil(round(q * count, 9)), 1), count)
        if count and rank == 1 and self.min is not None:
            return self.min
        if count and rank == count and self.max is not None:
            return self.max
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        for value, size in self._ascending():
            rank -= size
            if rank <= 0:
                return min(max(value, low), high)
        return math.nan

    def _ascending(self) -> Iterator[tuple[float, int]]:
        last = self.negative_offset + len(self.negative) - 1
        for back, size in enumerate(reversed(self.negative)):
            if size:
                yield -bucket_middle(last - back, self.scale), size
        if self.zero_count:
            yield 0.0, self.zero_count
        for index, size in enumerate(self.positive, self.positive_offset):
            if size:
                yield bucket_middle(index, self.scale), size


def _total(sums: list[float | None]) -> float | None:
    if not sums or None in sums:
        return None
    return sum(value for value in sums if value is not None)


def _joint_width(a: ExponentialHistogram, b: ExponentialHistogram) -> int:
    positive = [(p.positive_offset, len(p.positive)) for p in (a, b) if p.positive]
    negative = [(p.negative_offset, len(p.negative)) for p in (a, b) if p.negative]
    return max(
        max(first + length for first, length in used) - min(first for first, _ in used)
        for used in (positive or [(0, 0)], negative or [(0, 0)])
    )


def _rescaled(part: ExponentialHistogram, scale: int) -> ExponentialHistogram:
    if part.positive or part.negative:
        return part.downscale(scale)
    return msgspec.structs.replace(part, scale=scale, positive_offset=0, negative_offset=0)


def _join(offset: int, counts: tuple[int, ...], by: int) -> tuple[int, tuple[int, ...]]:
    if not counts:
        return 0, ()
    first = offset >> by
    joined = [0] * (((offset + len(counts) - 1) >> by) - first + 1)
    for index, count in enumerate(counts, offset):
        joined[(index >> by) - first] += count
    return first, tuple(joined)


def _add(
    a_offset: int, a: tuple[int, ...], b_offset: int, b: tuple[int, ...]
) -> tuple[int, tuple[int, ...]]:
    if not a or not b:
        return (a_offset, a) if a else (b_offset if b else 0, b)
    first = min(a_offset, b_offset)
    added = [0] * (max(a_offset + len(a), b_offset + len(b)) - first)
    for offset, counts in ((a_offset, a), (b_offset, b)):
        for index, count in enumerate(counts, offset - first):
            added[index] += count
    return first, tuple(added)


def _same_zero(
    a: ExponentialHistogram, b: ExponentialHistogram
) -> tuple[ExponentialHistogram, ExponentialHistogram]:
    """Widen both zero buckets to the larger threshold (data model, "Zero Count and Threshold").

    A threshold inside a populated bucket rises to that bucket's upper bound, on both sides.
    """
    threshold = max(a.zero_threshold, b.zero_threshold)
    while True:
        a = _widen_zero(a, threshold)
        b = _widen_zero(b, a.zero_threshold)
        if b.zero_threshold == a.zero_threshold:
            return a, b
        threshold = b.zero_threshold


def _widen_zero(part: ExponentialHistogram, threshold: float) -> ExponentialHistogram:
    positive, positive_bound = _swallow(part.positive_offset, part.positive, part.scale, threshold)
    negative, negative_bound = _swallow(part.negative_offset, part.negative, part.scale, threshold)
    return msgspec.structs.replace(
        part,
        zero_count=part.zero_count + sum(part.positive[:positive]) + sum(part.negative[:negative]),
        positive_offset=part.positive_offset + positive,
        positive=part.positive[positive:],
        negative_offset=part.negative_offset + negative,
        negative=part.negative[negative:],
        zero_threshold=max(threshold, positive_bound, negative_bound),
    )


def _swallow(
    offset: int, counts: tuple[int, ...], scale: int, threshold: float
) -> tuple[int, float]:
    """Return how many leading buckets begin below the threshold, and the bound they reach."""
    taken, bound = 0, 0.0
    for place, count in enumerate(counts):
        if upper_bound(offset + place - 1, scale) >= threshold:
            break
        taken = place + 1
        if count:
            bound = upper_bound(offset + place, scale)
    return taken, bound


# ---------------------------------------------------------------- all series at once


class Buckets(msgspec.Struct, frozen=True, eq=False):
    """The bucket counts of one sign, over ``n`` series, in one flat array.

    Series ``i`` has ``counts[start[i]:start[i + 1]]`` (uint32), the first of them at bucket index
    ``offset[i]`` (int32 ``(n,)``); ``start`` is int64 ``(n + 1,)``.
    """

    offset: NDArray[np.int32]
    start: NDArray[np.int64]
    counts: NDArray[np.uint32]


class Histograms(msgspec.Struct, frozen=True, eq=False):
    """A batch of exponential histograms, one per series; read only.

    ``scale`` is int32 ``(n,)``, ``zero_count`` int64 ``(n,)``; ``infinite`` the number of infinite
    readings that were left out.
    """

    scale: NDArray[np.int32]
    zero_count: NDArray[np.int64]
    positive: Buckets
    negative: Buckets
    infinite: int = 0

    @classmethod
    def of(
        cls,
        values: NDArray[np.float64],
        scale: int = 5,
        max_buckets: int = MAX_BUCKETS,
        wanted: NDArray[np.bool_] | None = None,
    ) -> Histograms:
        """Build from readings ``(n, k)``, NaN = not read; any strides.

        ``wanted`` bool ``(n,)``: the other series get an empty histogram, at no cost. Raises
        ``ValueError`` for a scale outside of -10 to 20 or less than 2 buckets.
        """
        if not MIN_SCALE <= scale <= MAX_SCALE:
            raise ValueError(f"scale must be {MIN_SCALE} to {MAX_SCALE}, got {scale}")
        if max_buckets < 2:
            raise ValueError(f"a histogram needs at least 2 buckets per sign, got {max_buckets}")
        step = max(1, CHUNK // max(1, values.shape[1]))
        parts = [
            _chunk(
                values[begin : begin + step],
                None if wanted is None else wanted[begin : begin + step],
                scale,
                max_buckets,
            )
            for begin in range(0, len(values), step)
        ]
        return _concatenated(parts or [_chunk(values, wanted, scale, max_buckets)])

    def __len__(self) -> int:
        return len(self.scale)

    @property
    def count(self) -> NDArray[np.int64]:
        """Readings in each histogram, int64 ``(n,)``."""
        return self.zero_count + _sizes(self.positive) + _sizes(self.negative)

    def at(self, index: int) -> ExponentialHistogram:
        """Return one series' histogram as a value, without ``sum``, ``min`` and ``max``."""
        positive, negative = self.positive, self.negative
        return ExponentialHistogram(
            scale=int(self.scale[index]),
            zero_count=int(self.zero_count[index]),
            positive_offset=int(positive.offset[index]),
            positive=tuple(
                positive.counts[positive.start[index] : positive.start[index + 1]].tolist()
            ),
            negative_offset=int(negative.offset[index]),
            negative=tuple(
                negative.counts[negative.start[index] : negative.start[index + 1]].tolist()
            ),
        )


class _Side:
    """The readings of one sign in a chunk: rows (ascending) with their bucket indexes."""

    def __init__(
        self, rows: NDArray[np.intp], magnitudes: NDArray[np.float64], scale: int, n: int
    ) -> None:
        self.rows = rows
        self.indexes = bucket_indexes(magnitudes, scale).astype(np.int64)
        # An empty range has no width at any scale: its last index lies before its first.
        self.first = np.zeros(n, np.int64)
        self.last = np.full(n, -1, np.int64)
        if len(rows):
            begins = np.flatnonzero(np.diff(rows, prepend=-1))
            self.first[rows[begins]] = np.minimum.reduceat(self.indexes, begins)
            self.last[rows[begins]] = np.maximum.reduceat(self.indexes, begins)

    def width(self, shift: NDArray[np.int64]) -> NDArray[np.int64]:
        return (self.last >> shift) - (self.first >> shift) + 1

    def buckets(self, shift: NDArray[np.int64]) -> Buckets:
        width = self.width(shift)
        first = self.first >> shift
        start = np.zeros(len(width) + 1, np.int64)
        np.cumsum(width, out=start[1:])
        place = (self.indexes >> shift[self.rows]) + (start[:-1] - first)[self.rows]
        counts = np.bincount(place, minlength=int(start[-1]))
        return Buckets(first.astype(np.int32), start, counts.astype(np.uint32))


def _chunk(
    values: NDArray[np.float64],
    wanted: NDArray[np.bool_] | None,
    scale: int,
    max_buckets: int,
) -> Histograms:
    values = np.ascontiguousarray(values, dtype=np.float64)
    n = len(values)
    finite = np.isfinite(values)
    infinite = np.isinf(values)
    if wanted is not None:
        finite &= wanted[:, np.newaxis]
        infinite &= wanted[:, np.newaxis]
    rows = np.nonzero(finite)[0]
    taken = values[finite]
    up, down = taken > 0.0, taken < 0.0
    positive = _Side(rows[up], taken[up], scale, n)
    negative = _Side(rows[down], -taken[down], scale, n)
    shift = np.zeros(n, np.int64)
    while True:
        over = np.maximum(positive.width(shift), negative.width(shift)) > max_buckets
        if not over.any():
            break
        shift += over
    return Histograms(
        scale=(scale - shift).astype(np.int32),
        zero_count=np.bincount(rows[taken == 0.0], minlength=n).astype(np.int64),
        positive=positive.buckets(shift),
        negative=negative.buckets(shift),
        infinite=int(infinite.sum()),
    )


def _concatenated(parts: list[Histograms]) -> Histograms:
    if len(parts) == 1:
        return parts[0]
    return Histograms(
        scale=np.concatenate([part.scale for part in parts]),
        zero_count=np.concatenate([part.zero_count for part in parts]),
        positive=_concatenated_buckets([part.positive for part in parts]),
        negative=_concatenated_buckets([part.negative for part in parts]),
        infinite=sum(part.infinite for part in parts),
    )


def _concatenated_buckets(parts: list[Buckets]) -> Buckets:
    widths = np.concatenate([np.diff(part.start) for part in parts])
    start = np.zeros(len(widths) + 1, np.int64)
    np.cumsum(widths, out=start[1:])
    return Buckets(
        np.concatenate([part.offset for part in parts]),
        start,
        np.concatenate([part.counts for part in parts]),
    )


def _sizes(buckets: Buckets) -> NDArray[np.int64]:
    running = np.zeros(len(buckets.counts) + 1, np.int64)
    np.cumsum(buckets.counts, out=running[1:])
    return np.diff(running[buckets.start])
