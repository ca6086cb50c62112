"""Score labelled series with what others use, strictly causal, to compare in the same pass.

Each peer takes all value columns of a file, float64 ``(rows, series)`` with NaN where nothing was
read, and the sampling step, and returns scores of the same shape: larger is stranger, NaN is no
opinion. A row is scored from the rows before it and itself only; settings are the same everywhere.

- ``ewma z``: distance from the exponentially weighted mean in standard deviations, span 500.
- ``z of differences``: the same of the difference to the reading before, span 1000.
- ``robust z``: distance from the median in scaled median absolute deviations, of the last 1,440
  readings; a deviation of 0 is common (mostly zero series), so the scale is never under a tenth of
  the standard deviation.
- ``dspot``: SPOT with drift (Siffer et al., Anomaly Detection in Streams with Extreme Value Theory,
  KDD 2017), depth 20, both sides, level 0.98; the score is -log10 of the tail probability.
  Deviations: the generalised Pareto tail is fitted by moments instead of maximum likelihood, from
  sums that go on instead of all peaks; a tail that would end at a largest value is exponential, or
  all beyond that value would be equally strange; and the initial batch is the first 100 readings,
  so that short series are scored at all.
- ``netdata``: k-means on the last six differences (netdata/netdata, ``src/ml``, as of 2026; those
  of series read each second are means of three): windows of 6 h learned every 3 h from 15 min on,
  up to 18 models that must all agree. The bit is what the product says; the soft score is the
  smallest of the models' unclipped scores, so that there is something to sweep. A window of 6 h has
  too few hourly readings to learn from, so such a series has no score. ``in samples`` is the same
  with 1,440 readings in place of 6 h, and with the means, whatever the step.
  Deviation: a training window of over 1,440 vectors is sampled at random by another generator.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Scale that makes the median absolute deviation of normal noise its standard deviation.
MAD_SCALE = 1.4826
#: A scale is never under this part of the level: what is constant but for rounding has none.
SMALLEST_PART = 1e-9
#: Nor is a median absolute deviation under this part of the standard deviation.
LEAST_OF_DEVIATION = 0.1


class Peer(NamedTuple):
    """A method, how its scores of many series become one of the host, and when it rings itself."""

    name: str
    score: Callable[[Floats, float], Floats]
    #: The mean over the strangest fifth of the series, or over all of them.
    host: Literal["fifth", "mean"] = "fifth"
    #: Its own threshold of a score, where it has one.
    threshold: float | None = None


def peers() -> list[Peer]:
    """Return all peers, in the order in which they are shown."""
    return [
        Peer("ewma z, 500", lambda values, step_s: ewma_z(values, 500)),
        Peer("z of differences, 1000", lambda values, step_s: z_of_differences(values, 1000)),
        Peer("robust z, 1440", lambda values, step_s: robust_z(values, 1440)),
        Peer("dspot, depth 20", lambda values, step_s: dspot(values, 20), threshold=4.0),
        Peer("netdata soft", netdata_soft, host="mean"),
        Peer("netdata bit", netdata_bit, host="mean", threshold=0.5),
        Peer("netdata soft, in samples", netdata_in_samples, host="mean"),
    ]


# ---------------------------------------------------------------- moments and ranks


def ewma_z(values: Floats, span: int, warm_up: int = 20) -> Floats:
    """Score by distance from the exponentially weighted mean, in standard deviations.

    The gain is 2 / (span + 1), and 1/n until that is reached: West, Updating mean and variance
    estimates (CACM 1979).
    """
    gain = 2 / (span + 1)
    count, mean, variance = (np.zeros(values.shape[1]) for _ in range(3))
    scores = np.full_like(values, np.nan)
    for row, now in enumerate(values):
        read = ~np.isnan(now)
        deviation = np.where(read, now - mean, 0.0)
        scale = np.sqrt(variance) + SMALLEST_PART * np.abs(mean) + 1e-12
        judged = read & (count >= warm_up)
        scores[row, judged] = (np.abs(deviation) / scale)[judged]
        count += read
        share = np.maximum(gain, 1 / np.maximum(count, 1)) * read
        mean += share * deviation
        variance = np.where(read, (1 - share) * (variance + share * deviation**2), variance)
    return scores


def z_of_differences(values: Floats, span: int) -> Floats:
    """Score each difference to the reading before as ``ewma_z`` would."""
    return ewma_z(np.diff(values, axis=0, prepend=np.nan), span)


def robust_z(values: Floats, window: int, warm_up: int = 20) -> Floats:
    """Score by distance from the median of the last ``window`` readings, in scaled MADs."""
    return np.stack([_robust_z(one, window, warm_up) for one in values.T], axis=1)


def _robust_z(values: Floats, window: int, warm_up: int) -> Floats:
    ordered: list[float] = []
    newest: deque[float] = deque()
    scores = np.full(len(values), np.nan)
    start = next((one for one in values.tolist() if not math.isnan(one)), 0.0)
    total = squares = 0.0  # around the first reading: large levels do not cancel
    for row, value in enumerate(values.tolist()):
        if math.isnan(value):
            continue
        count = len(ordered)
        if count >= warm_up:
            centre = _median(ordered)
            variance = max(squares / count - (total / count) ** 2, 0.0)
            scale = MAD_SCALE * _median_distance(ordered, centre)
            scale = max(scale, LEAST_OF_DEVIATION * math.sqrt(variance))
            scores[row] = abs(value - centre) / (scale + SMALLEST_PART * abs(centre) + 1e-12)
        insort(ordered, value)
        newest.append(value)
        total, squares = total + (value - start), squares + (value - start) ** 2
        if len(newest) > window:
            gone = newest.popleft()
            del ordered[bisect_left(ordered, gone)]
            total, squares = total - (gone - start), squares - (gone - start) ** 2
    return scores


def _median(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _median_distance(ordered: list[float], centre: float) -> float:
    """Return the upper median of the distances from ``centre``, by bisection over sorted values.

    The nearest ``k`` of sorted values lie side by side: the run that begins at ``low`` is the right
    one when neither the value before it nor the one after it is nearer than its own ends.
    """
    k = len(ordered) // 2 + 1
    low, high = 0, len(ordered) - k
    while low < high:
        middle = (low + high) // 2
        if centre - ordered[middle] > ordered[middle + k] - centre:
            low = middle + 1
        else:
            high = middle
    return max(centre - ordered[low], ordered[low + k - 1] - centre)


# ---------------------------------------------------------------- DSPOT

#: Readings of the initial batch, the quantile above which the tail is fitted, and the risk.
INITIAL = 100
LEVEL = 0.98
RISK = 1e-4


class _Tail:
    """Peaks over a fixed threshold, as a generalised Pareto tail fitted by moments."""

    def __init__(self, initial: Floats) -> None:
        self.threshold = float(np.quantile(initial, LEVEL))
        peaks = initial[initial > self.threshold] - self.threshold
        self.count, self.readings = len(peaks), len(initial)
        self.total, self.squares = float(peaks.sum()), float((peaks**2).sum())
        self._fit()

    def probability(self, value: float) -> float:
        """Return the probability of a reading at least this large; 1 below the threshold."""
        excess = value - self.threshold
        if excess <= 0:
            return 1.0
        share = self.count / self.readings
        if self.scale <= 0:
            return 0.0
        if abs(self.shape) < 1e-6:
            return share * math.exp(-excess / self.scale)
        return float(share * (1 + self.shape * excess / self.scale) ** (-1 / self.shape))

    def learn(self, value: float) -> None:
        """Take in an ordinary reading."""
        self.readings += 1
        excess = value - self.threshold
        if excess > 0:
            self.count += 1
            self.total += excess
            self.squares += excess * excess
            self._fit()

    def _fit(self) -> None:
        mean = self.total / max(self.count, 1)
        variance = self.squares / max(self.count, 1) - mean**2
        ratio = mean**2 / variance if variance > 0 else 1.0
        self.shape, self.scale = (1 - ratio) / 2, mean * (1 + ratio) / 2
        if self.shape < 0:
            self.shape, self.scale = 0.0, mean


def dspot(values: Floats, depth: int) -> Floats:
    """Score by -log10 of the tail probability of the distance from the mean of ``depth`` readings.

    A reading beyond ``RISK`` is an anomaly: neither the mean nor the tail learns from it.
    """
    return np.stack([_dspot(one, depth) for one in values.T], axis=1)


def _dspot(values: Floats, depth: int) -> Floats:
    scores = np.full(len(values), np.nan)
    window: deque[float] = deque(maxlen=depth)
    batch: list[float] = []
    tails: tuple[_Tail, _Tail] | None = None
    for row, value in enumerate(values.tolist()):
        if math.isnan(value):
            continue
        if len(window) == depth:
            drift = value - sum(window) / depth
            if tails is None:
                batch.append(drift)
                if len(batch) == INITIAL:
                    tails = _Tail(np.array(batch)), _Tail(-np.array(batch))
            else:
                p = min(tails[0].probability(drift), tails[1].probability(-drift))
                scores[row] = -math.log10(max(p, 1e-300))
                if p < RISK:
                    continue
                tails[0].learn(drift)
                tails[1].learn(-drift)
        window.append(value)
    return scores


# ---------------------------------------------------------------- Netdata

SMOOTH, LAGS, MODELS = 3, 6, 18
VECTORS = 1440
ITERATIONS = 1000
#: A dimension that rang for half of this many predictions is silent until it is learned again.
SUPPRESSION = 900
ANOMALOUS = 99.0


class Schedule(NamedTuple):
    """When Netdata learns, and from means over how many differences, in readings."""

    window: int
    every: int
    least: int
    smooth: int

    @property
    def needed(self) -> int:
        """Readings that one vector takes: a difference, the mean of some, six of those."""
        return self.smooth + LAGS


def in_time(step_s: float) -> Schedule:
    """Return the product's own schedule: 6 h every 3 h, from 15 min on."""
    smooth = SMOOTH if step_s <= 1 else 1
    return Schedule(
        window=math.ceil(6 * 3600 / step_s),
        every=max(1, math.ceil(3 * 3600 / step_s)),
        least=max(smooth + LAGS, math.ceil(900 / step_s)),
        smooth=smooth,
    )


def netdata_soft(values: Floats, step_s: float) -> Floats:
    """Return the smallest unclipped score of all models, in percent of the learned extremes."""
    return np.stack([_netdata(one, in_time(step_s))[0] for one in values.T], axis=1)


def netdata_bit(values: Floats, step_s: float) -> Floats:
    """Return 1 where every model scores 99 or more and the dimension is not silenced."""
    return np.stack([_netdata(one, in_time(step_s))[1] for one in values.T], axis=1)


def netdata_in_samples(values: Floats, step_s: float) -> Floats:
    """Return the soft score with windows of 1,440 readings whatever the sampling step."""
    schedule = Schedule(window=1440, every=720, least=60, smooth=SMOOTH)
    return np.stack([_netdata(one, schedule)[0] for one in values.T], axis=1)


class _Model(NamedTuple):
    centres: Floats
    nearest: float
    furthest: float

    def score(self, vectors: Floats) -> Floats:
        """Return the score of vectors ``(n, 6)`` in percent, not clipped."""
        if self.furthest == self.nearest:
            return np.zeros(len(vectors))
        distance: Floats = _distances(vectors, self.centres).mean(axis=1)
        return 100 * np.abs((distance - self.nearest) / (self.furthest - self.nearest))


def _netdata(values: Floats, schedule: Schedule) -> tuple[Floats, Floats]:
    """Return the soft score and the bit of one series."""
    soft, bit = np.full(len(values), np.nan), np.zeros(len(values))
    if schedule.window <= schedule.needed:
        return soft, bit
    vectors = _vectors(values, schedule.smooth)
    models: deque[_Model] = deque(maxlen=MODELS)
    random = np.random.default_rng(1)
    read = np.cumsum(~np.isnan(values))
    begin = 0
    while begin < len(values):
        window = slice(max(0, begin - schedule.window), begin)
        due = begin and read[begin - 1] - (read[window.start - 1] if window.start else 0)
        learned = due >= schedule.least and _moved(values[window])
        if learned:
            learning = _vectors(_filled(values[window]), schedule.smooth)
            models.append(_learn(learning[schedule.needed - 1 :], random))
        # Until there is a model, another try follows with each reading.
        end = min(len(values), begin + (schedule.every if models else 1))
        if models:
            chunk = vectors[begin:end]
            soft[begin:end] = np.min([one.score(chunk) for one in models], axis=0)
            bit[begin:end] = _suppressed(soft[begin:end] >= ANOMALOUS, SUPPRESSION)
        begin = end
    return soft, bit


def _vectors(values: Floats, smooth: int) -> Floats:
    """Return a vector per reading, float64 ``(rows, 6)``; NaN where a reading it needs is not."""
    differences = np.diff(values, prepend=np.nan)
    smoothed = np.full(len(values), np.nan)
    if len(values) >= smooth:
        smoothed[smooth - 1 :] = sum(
            differences[shift : len(values) - smooth + 1 + shift] for shift in range(smooth)
        )
    padded = np.append(np.full(LAGS - 1, np.nan), smoothed / smooth)
    return np.lib.stride_tricks.sliding_window_view(padded, LAGS)


def _filled(values: Floats) -> Floats:
    """Return the readings with the one before where there is none, from the first on."""
    known = ~np.isnan(values)
    newest = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return values[newest[newest >= 0]]


def _moved(values: Floats) -> bool:
    known = values[~np.isnan(values)]
    return bool((known != known[0]).any()) if len(known) else False


def _learn(vectors: Floats, random: np.random.Generator) -> _Model:
    """Cluster the vectors of a window in two and keep the extremes of the mean distance."""
    if len(vectors) > VECTORS:
        vectors = vectors[random.random(len(vectors)) < VECTORS / len(vectors)]
    centres = _two_means(vectors)
    distance = _distances(vectors, centres).mean(axis=1)
    return _Model(centres, float(distance.min()), float(distance.max()))


def _two_means(vectors: Floats) -> Floats:
    """Return two centres (Lloyd), begun with the first vector and one of the furthest from it."""
    order = np.argsort(np.linalg.norm(vectors - vectors[0], axis=1), kind="stable")
    centres = vectors[[0, order[max(0, len(order) - len(order) // 100 - 1)]]].copy()
    before = None
    for _ in range(ITERATIONS):
        distances = _distances(vectors, centres)
        is_second = distances[:, 1] < distances[:, 0]
        if before is not None and (is_second == before).all():
            break
        before = is_second
        for which, mine in enumerate((~is_second, is_second)):
            if mine.any():
                centres[which] = vectors[mine].mean(axis=0)
    return centres


def _distances(vectors: Floats, centres: Floats) -> Floats:
    """Return the distance of each vector to both centres, ``(n, 2)``."""
    apart: Floats = vectors[:, np.newaxis] - centres[np.newaxis]
    squares: Floats = (apart**2).sum(axis=2)
    return np.sqrt(squares)


def _suppressed(anomalous: NDArray[np.bool_], window: int) -> NDArray[np.float64]:
    """Return the bits until the dimension is silenced: half of at least ``window`` were 1."""
    rang = np.cumsum(anomalous)
    silent = (rang >= window // 2) & (np.arange(1, len(anomalous) + 1) >= window)
    silenced = np.append(False, np.logical_or.accumulate(silent)[:-1])
    bits: NDArray[np.bool_] = anomalous & ~silenced
    return bits.astype(np.float64)
