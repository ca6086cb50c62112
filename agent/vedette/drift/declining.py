"""Say whether a model became worse: measures of quality, each with the test that fits it.

Accuracy by the chi-square test of two shares; AUC by Hanley and McNeil's standard error (1982);
calibration by the shares that proved true in each tenth of the probability, now and before, as one
chi-square (a baseline that was off is no reason to ring); means of squares and of errors by the
normal test of two means. Nothing is said of fewer than ``LEAST`` labels.
"""

from __future__ import annotations

import math

from vedette.drift.quality import QualitySketch, Scores
from vedette.drift.significance import chi_square, cut_of, normal, shares
from vedette.drift.verdict import STRONGEST, Thresholds, Worse

__all__ = ["measures", "worse"]

LEAST = 50
#: Outcomes expected of each sort in a bin, below which the tail of a chi-square is not trusted.
EXPECTED = 3.0


def measures(quality: QualitySketch, many: bool | None = None) -> dict[str, float]:
    """Return the measures of quality that there are.

    ``many`` says that there are other classes than true and false; None: as the labels say.
    """
    scores = quality.scores(bool(quality.many) if many is None else many)
    found = {
        "accuracy": quality.accuracy,
        "auc": scores.auc,
        "brier": scores.brier_score,
        "calibration_error": scores.calibration_error,
        "error": quality.mean_error,
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def worse(base: QualitySketch, now: QualitySketch, thresholds: Thresholds) -> tuple[Worse, ...]:
    """Compare two sketches; the measures that both have, the worst first."""
    if base.labels < LEAST or now.labels < LEAST:
        return ()
    many = bool(base.many or now.many)
    before, after = measures(base, many), measures(now, many)
    one, other = base.scores(many), now.scores(many)
    tests = {
        "accuracy": lambda: shares(base.right, base.judged, now.right, now.judged),
        "auc": lambda: _auc(one, other),
        "brier": lambda: _means(_brier(one), _brier(other)),
        "calibration_error": lambda: _calibration(one, other),
        "error": lambda: _means(_error(base), _error(now)),
    }
    effects = {
        name: _effect(name, before[name], after[name], thresholds)
        for name in before
        if name in after
    }
    found = {name: tests[name]() for name in effects}
    cut = cut_of(list(found.values()), thresholds.rate)
    told = [
        Worse(name, before[name], after[name], _strength(effects[name], p, cut), p)
        for name, p in found.items()
    ]
    return tuple(sorted(told, key=lambda each: (-each.strength, each.measure)))


def _effect(name: str, before: float, after: float, thresholds: Thresholds) -> float:
    """Return by how much a measure became worse, in multiples of what matters."""
    if name in ("accuracy", "auc"):
        return max(before - after, 0.0) / thresholds.decline
    if name == "calibration_error":
        return max(after - before, 0.0) / thresholds.decline
    grown = after / before - 1 if before > 0 else math.inf if after > 0 else 0.0
    return max(grown, 0.0) / thresholds.error


def _strength(effect: float, p: float, cut: float) -> float:
    return min(effect, STRONGEST) if p <= cut else min(effect, 0.99)


def _auc(base: Scores, now: Scores) -> float:
    error = math.hypot(_auc_error(base), _auc_error(now))
    return normal((base.auc - now.auc) / error) if error > 0 else 1.0


def _auc_error(scores: Scores) -> float:
    auc = scores.auc
    up, down = int(scores.positive.sum()), int(scores.negative.sum())
    if not up or not down:
        return math.nan
    one, two = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = (auc * (1 - auc) + (up - 1) * (one - auc * auc) + (down - 1) * (two - auc * auc)) / (
        up * down
    )
    # An area of 1 has no error by this formula; it is not known better than one that has a few
    # pairs of the rarer sort in disorder.
    return math.sqrt(max(spread, 1 / min(up, down) ** 2))


def _calibration(base: Scores, now: Scores) -> float:
    value, bins = 0.0, 0
    for true, count, true_now, count_now in zip(
        base.bin_true.tolist(),
        base.bin_counts.tolist(),
        now.bin_true.tolist(),
        now.bin_counts.tolist(),
        strict=True,
    ):
        share = (true + true_now) / max(count + count_now, 1)
        if min(count, count_now) * min(share, 1 - share) < EXPECTED:
            continue
        apart = true / count - true_now / count_now
        value += apart * apart / (share * (1 - share) * (1 / count + 1 / count_now))
        bins += 1
    return chi_square(value, bins)


def _brier(scores: Scores) -> tuple[int, float, float]:
    return int(scores.bin_counts.sum()), scores.brier, scores.brier_squares


def _error(quality: QualitySketch) -> tuple[int, float, float]:
    return quality.measured, quality.error, quality.error_squares


def _means(base: tuple[int, float, float], now: tuple[int, float, float]) -> float:
    """Return the probability that a mean is so much greater by chance: count, sum, squares."""
    if min(base[0], now[0]) < LEAST:
        return 1.0
    means = [total / count for count, total, _ in (base, now)]
    errors = [
        max(squares / count - mean * mean, 0.0) / count
        for (count, _, squares), mean in zip((base, now), means, strict=True)
    ]
    error = math.sqrt(sum(errors))
    return normal((means[1] - means[0]) / error) if error > 0 else 1.0
