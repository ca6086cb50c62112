"""Keep how right a model is, in counts that merge: accuracy, AUC, calibration, errors.

Scores go into ``BINS`` fixed bins, 128 of them even between 0 and 1 and 32 on either side for what
is no probability (by the arc tangent, which keeps the order), apart for labels that are true and
false. AUC is then the share of pairs in order, pairs in one bin counting half (Mann-Whitney): off
by less than 0.004 where scores are spread over the bins. Calibration is over ten even bins of the
probability, as of Naeini et al. 2015 (ECE); Brier's score is a sum.

Accuracy is the share of predictions that equal their label. Of a label that is a measurement (it
and the prediction are numbers, one of them not whole) the
absolute error is kept instead, with its square for the variance of the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["CALIBRATION_BINS", "Outcome", "QualitySketch", "QualityState", "Scores"]

_INSIDE, _OUTSIDE = 128, 32
BINS = _INSIDE + 2 * _OUTSIDE
CALIBRATION_BINS = 10
_TRUE = frozenset({"1", "true", "yes", "positive", "1.0"})
_FALSE = frozenset({"0", "false", "no", "negative", "0.0", "-1"})


class Outcome(msgspec.Struct, frozen=True):
    """What was predicted, how surely, and what proved true; None: not told."""

    prediction: Any
    score: float | None
    label: Any


class ScoreState(msgspec.Struct, frozen=True):
    """Counts of scores as they are kept."""

    positive: tuple[int, ...] = ()
    negative: tuple[int, ...] = ()
    brier: float = 0.0
    brier_squares: float = 0.0
    bin_scores: tuple[float, ...] = ()
    bin_counts: tuple[int, ...] = ()
    bin_true: tuple[int, ...] = ()


class QualityState(msgspec.Struct, frozen=True):
    """A sketch of quality as it is kept."""

    judged: int = 0
    right: int = 0
    many: int = 0
    truth: ScoreState = ScoreState()
    choice: ScoreState = ScoreState()
    measured: int = 0
    error: float = 0.0
    error_squares: float = 0.0


class Scores:
    """How scores lie to what proved true; mutable, not thread-safe."""

    def __init__(self) -> None:
        #: Scores by bin, of what was true and of what was not.
        self.positive: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.negative: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.brier = self.brier_squares = 0.0
        self.bin_scores = np.zeros(CALIBRATION_BINS)
        self.bin_counts: NDArray[np.int64] = np.zeros(CALIBRATION_BINS, np.int64)
        self.bin_true: NDArray[np.int64] = np.zeros(CALIBRATION_BINS, np.int64)

    def add(self, scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> None:
        """Count scores ``(n,)`` with whether they proved true."""
        places = _places(scores)
        self.positive += np.bincount(places[labels], minlength=BINS)
        self.negative += np.bincount(places[~labels], minlength=BINS)
        probable = (scores >= 0) & (scores <= 1)
        scores, labels = scores[probable], labels[probable]
        squares = (scores - labels) ** 2
        self.brier += float(squares.sum())
        self.brier_squares += float((squares * squares).sum())
        tenths = np.minimum((scores * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        self.bin_counts += np.bincount(tenths, minlength=CALIBRATION_BINS)
        self.bin_scores += np.bincount(tenths, scores, minlength=CALIBRATION_BINS)
        self.bin_true += np.bincount(tenths[labels], minlength=CALIBRATION_BINS)

    def merge(self, other: Scores) -> None:
        """Take in what another one counted."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def count(self) -> int:
        """Scores that are counted."""
        return int(self.positive.sum() + self.negative.sum())

    @property
    def auc(self) -> float:
        """The share of pairs of a true and a false one that are in order; NaN without both."""
        up, down = int(self.positive.sum()), int(self.negative.sum())
        if not up or not down:
            return math.nan
        below = np.cumsum(self.negative) - self.negative
        return float((self.positive * (below + self.negative / 2)).sum() / (up * down))

    @property
    def brier_score(self) -> float:
        """The mean square of what probabilities were off by; NaN of none."""
        probable = int(self.bin_counts.sum())
        return self.brier / probable if probable else math.nan

    @property
    def calibration_error(self) -> float:
        """The mean distance of probability and share, less what chance alone would make of it."""
        counts = self.bin_counts[self.bin_counts > 0]
        if not len(counts):
            return math.nan
        said = self.bin_scores[self.bin_counts > 0] / counts
        came = self.bin_true[self.bin_counts > 0] / counts
        # The mean of |x| for a normal x is sqrt(2 / pi) of its deviation.
        chance = np.sqrt(2 / math.pi * np.maximum(said * (1 - said), 0.0) / counts)
        off = float((np.abs(said - came) * counts).sum() - (chance * counts).sum())
        return max(off / float(counts.sum()), 0.0)

    def state(self) -> ScoreState:
        """Return all of it as one value, for the disk."""
        values: dict[str, Any] = {
            name: tuple(value.tolist()) if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }
        return ScoreState(**values) if self.count else ScoreState()

    @classmethod
    def of_state(cls, state: ScoreState) -> Scores:
        """Make it anew of its state; raises ``ValueError`` for one that cannot be."""
        made = cls()
        for name, empty in vars(made).items():
            kept = getattr(state, name)
            if isinstance(empty, np.ndarray):
                if kept and len(kept) != len(empty):
                    raise ValueError(f"{name} has {len(kept)} bins, there are {len(empty)}")
                kept = np.array(kept, dtype=empty.dtype) if kept else empty
            setattr(made, name, kept)
        return made


class QualitySketch:
    """Counts of what was predicted and what proved true; mutable, not thread-safe."""

    def __init__(self) -> None:
        self.judged = self.right = 0
        #: Outcomes of which the label or the prediction is no truth value.
        self.many = 0
        #: Scores against labels that are true or false, and against whether it chose rightly.
        self.truth, self.choice = Scores(), Scores()
        self.measured = 0
        self.error = self.error_squares = 0.0

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes whose label is known."""
        truths: list[tuple[float, bool]] = []
        choices: list[tuple[float, bool]] = []
        for one in outcomes:
            if _is_measure(one.label, one.prediction):
                off = abs(float(one.label) - float(one.prediction))
                self.measured += 1
                self.error += off
                self.error_squares += off * off
                continue
            truth = _truth(one.label)
            chose = None if one.prediction is None else _same(one.prediction, one.label)
            if chose is not None:
                self.judged += 1
                self.right += chose
            self.many += truth is None or (chose is not None and _truth(one.prediction) is None)
            if one.score is not None and math.isfinite(one.score):
                if truth is not None:
                    truths.append((one.score, truth))
                if chose is not None:
                    choices.append((one.score, chose))
        for scores, pairs in ((self.truth, truths), (self.choice, choices)):
            if pairs:
                values, labels = zip(*pairs, strict=True)
                scores.add(np.array(values), np.array(labels))

    def merge(self, other: QualitySketch) -> None:
        """Take in what another one counted."""
        self.judged += other.judged
        self.right += other.right
        self.many += other.many
        self.truth.merge(other.truth)
        self.choice.merge(other.choice)
        self.measured += other.measured
        self.error += other.error
        self.error_squares += other.error_squares

    def scores(self, many: bool) -> Scores:
        """Return scores against what they are about: of many classes, whether it chose rightly.

        Of truth values the score is the probability of true, else that of what was chosen.
        """
        return self.choice if many else self.truth

    @property
    def labels(self) -> int:
        """Outcomes that are counted."""
        return max(self.judged, self.truth.count) + self.measured

    @property
    def accuracy(self) -> float:
        """The share of predictions that were right; NaN of none."""
        return self.right / self.judged if self.judged else math.nan

    @property
    def mean_error(self) -> float:
        """The mean absolute error of what is measured; NaN of none."""
        return self.error / self.measured if self.measured else math.nan

    def state(self) -> QualityState:
        """Return all of it as one value, for the disk."""
        return QualityState(
            self.judged,
            self.right,
            self.many,
            self.truth.state(),
            self.choice.state(),
            self.measured,
            self.error,
            self.error_squares,
        )

    @classmethod
    def of_state(cls, state: QualityState) -> QualitySketch:
        """Make it anew of its state; raises ``ValueError`` for one that cannot be."""
        made = cls()
        made.judged, made.right, made.many = state.judged, state.right, state.many
        made.truth, made.choice = Scores.of_state(state.truth), Scores.of_state(state.choice)
        made.measured = state.measured
        made.error, made.error_squares = state.error, state.error_squares
        return made


def _places(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    inside = np.minimum((np.clip(scores, 0.0, 1.0) * _INSIDE).astype(np.int64), _INSIDE - 1)
    beyond = np.where(scores > 1, scores - 1, np.minimum(scores, 0.0))
    tail = np.floor(np.abs(np.arctan(beyond)) / (math.pi / 2) * _OUTSIDE).astype(np.int64)
    tail = np.minimum(tail, _OUTSIDE - 1)
    places = inside + _OUTSIDE
    places = np.where(scores > 1, _OUTSIDE + _INSIDE + tail, places)
    return np.where(scores < 0, _OUTSIDE - 1 - tail, places)


def _truth(label: Any) -> bool | None:
    """Return a label that is true or false as such; None for another."""
    if isinstance(label, bool):
        return label
    text = str(label).lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _same(prediction: Any, label: Any) -> bool:
    if prediction == label:
        return True
    one, other = _truth(prediction), _truth(label)
    if one is not None and other is not None:
        return one == other
    return str(prediction) == str(label)


def _is_measure(label: Any, prediction: Any) -> bool:
    numbers = isinstance(label, float | int) and isinstance(prediction, float | int)
    if not numbers or isinstance(label, bool):
        return False
    return not (float(label).is_integer() and float(prediction).is_integer())
