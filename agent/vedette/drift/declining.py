"""Say whether a model became worse: measures of quality, each with the test that fits it.

Accuracy by the chi-square test of two shares; AUC by Hanley and McNeil's standard error (1982);
calibration by Hosmer and Lemeshow's statistic of the window; means of squares and of errors by the
normal test of two means. Nothing is said of fewer than ``LEAST`` labels.
"""

from __future__ import annotations

import math

from vedette.drift.quality import QualitySketch
from vedette.drift.significance import chi_square, cut_of, normal, shares
from vedette.drift.verdict import STRONGEST, Thresholds, Worse

__all__ = ["measures", "worse"]

LEAST = 50


def measures(quality: QualitySketch) -> dict[str, float]:
    """Return the measures of quality that there are."""
    found = {
        "accuracy": quality.accuracy,
        "auc": quality.auc,
        "brier": quality.brier_score,
        "calibration_error": quality.calibration_error,
        "error": quality.mean_error,
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def worse(base: QualitySketch, now: QualitySketch, thresholds: Thresholds) -> tuple[Worse, ...]:
    """Compare two sketches; the measures that both have, the worst first."""
    if base.labels < LEAST or now.labels < LEAST:
        return ()
    before, after = measures(base), measures(now)
    tests = {
        "accuracy": lambda: shares(base.right, base.judged, now.right, now.judged),
        "auc": lambda: _auc(base, now),
        "brier": lambda: _means(base, now, "brier"),
        "calibration_error": lambda: _calibration(now),
        "error": lambda: _means(base, now, "error"),
    }
    found = []
    for name in before.keys() & after.keys():
        one, other = before[name], after[name]
        if name in ("brier", "error"):
            effect = (other / one - 1 if one > 0 else math.inf if other > 0 else 0.0) / (
                thresholds.error
            )
        else:
            effect = abs(other - one) / thresholds.decline
        fell = other < one if name in ("accuracy", "auc") else other > one
        found.append((name, one, other, effect if fell else 0.0, tests[name]()))
    cut = cut_of([p for *_, p in found], thresholds.rate)
    told = [
        Worse(name, one, other, _strength(effect, p, cut), p)
        for name, one, other, effect, p in found
    ]
    return tuple(sorted(told, key=lambda each: (-each.strength, each.measure)))


def _strength(effect: float, p: float, cut: float) -> float:
    return min(effect, STRONGEST) if p <= cut else min(effect, 0.99)


def _auc(base: QualitySketch, now: QualitySketch) -> float:
    error = math.hypot(_auc_error(base), _auc_error(now))
    return normal((base.auc - now.auc) / error) if error > 0 else 1.0


def _auc_error(quality: QualitySketch) -> float:
    auc = quality.auc
    up, down = int(quality.positive.sum()), int(quality.negative.sum())
    if not up or not down:
        return math.nan
    one, two = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = (auc * (1 - auc) + (up - 1) * (one - auc * auc) + (down - 1) * (two - auc * auc)) / (
        up * down
    )
    # An area of 1 has no error by this formula; a pair in disorder is the least there can be.
    return math.sqrt(max(spread, 1 / (up * down)))


def _calibration(now: QualitySketch) -> float:
    value, bins = 0.0, 0
    for said, came, count in zip(
        now.bin_scores.tolist(), now.bin_true.tolist(), now.bin_counts.tolist(), strict=True
    ):
        varies = said * (1 - said / count) if count else 0.0
        if varies >= 1:  # below that the tail of a chi-square is not to be trusted
            value += (said - came) ** 2 / varies
            bins += 1
    return chi_square(value, bins)


def _means(base: QualitySketch, now: QualitySketch, name: str) -> float:
    def mean_and_error(quality: QualitySketch) -> tuple[float, float]:
        count = quality.measured if name == "error" else int(quality.bin_counts.sum())
        if count < LEAST:
            return math.nan, math.nan
        mean = getattr(quality, name) / count
        variance = max(getattr(quality, f"{name}_squares") / count - mean * mean, 0.0)
        return mean, variance / count

    one, one_error = mean_and_error(base)
    other, other_error = mean_and_error(now)
    error = math.sqrt(one_error + other_error) if one_error + other_error > 0 else math.nan
    return normal((other - one) / error) if error > 0 else 1.0
