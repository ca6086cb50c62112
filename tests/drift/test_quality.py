"""How right a model is: against the exact measures, and whether it became worse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from vedette.drift.declining import worse
from vedette.drift.quality import Outcome, QualitySketch
from vedette.drift.verdict import Thresholds


def outcomes(
    rng: np.random.Generator, count: int, *, flip: float = 0.0, skew: float = 0.0
) -> list[Outcome]:
    """Make a calibrated model's; ``flip`` labels are wrong, ``skew`` moves what it says."""
    truth = rng.random(count)
    labels = rng.random(count) < truth
    labels ^= rng.random(count) < flip
    said = np.clip(truth + skew, 0, 1)
    return [
        Outcome(bool(score > 0.5), float(score), bool(label))
        for score, label in zip(said, labels, strict=True)
    ]


def of(some: list[Outcome]) -> QualitySketch:
    made = QualitySketch()
    made.add(some)
    return made


def exact_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    up, down = scores[labels], scores[~labels]
    above = (up[:, None] > down[None, :]).sum() + 0.5 * (up[:, None] == down[None, :]).sum()
    return float(above / (len(up) * len(down)))


@pytest.mark.parametrize("scale", ["probabilities", "margins"])
def test_measures_are_the_exact_ones(scale: str) -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(3000) < 0.4
    scores = rng.normal(labels * 1.0, 1.0)
    if scale == "probabilities":
        scores = 1 / (1 + np.exp(-scores))
    made = of([Outcome(s > 0.5, float(s), bool(y)) for s, y in zip(scores, labels, strict=True)])
    assert made.truth.auc == pytest.approx(exact_auc(scores, labels), abs=0.004)
    assert made.accuracy == pytest.approx(float(((scores > 0.5) == labels).mean()))
    if scale == "probabilities":
        assert made.truth.brier_score == pytest.approx(float(((scores - labels) ** 2).mean()))
        bins = np.minimum((scores * 10).astype(int), 9)
        exact = sum(
            abs(scores[bins == at].mean() - labels[bins == at].mean()) * (bins == at).mean()
            for at in range(10)
            if (bins == at).any()
        )
        assert 0 <= exact - made.truth.calibration_error < 0.03  # less what chance makes of it


def test_parts_merge_to_the_whole_and_come_back_from_the_disk() -> None:
    some = outcomes(np.random.default_rng(2), 900)
    whole, merged = of(some), QualitySketch()
    for start in (600, 0, 300):
        merged.merge(QualitySketch.of_state(of(some[start : start + 300]).state()))
    assert merged.truth.auc == whole.truth.auc
    assert merged.accuracy == whole.accuracy
    assert merged.truth.brier_score == pytest.approx(whole.truth.brier_score)
    assert merged.labels == 900


def test_classes_are_right_by_name_and_their_score_is_how_sure_it_was() -> None:
    made = of(
        [Outcome("cat", 0.9, "cat"), Outcome("dog", 0.6, "cat"), Outcome(3, 0.7, 3)],
    )
    assert made.accuracy == pytest.approx(2 / 3)
    assert made.many == 3
    assert made.scores(many=True).auc == 1.0
    assert of([Outcome(1, None, True), Outcome("1", None, 1), Outcome(0, None, "no")]).right == 3


def test_measurements_have_an_error_and_no_accuracy() -> None:
    made = of([Outcome(1.5, None, 1.0), Outcome(2.0, None, 2.25)])
    assert made.mean_error == pytest.approx(0.375)
    assert made.judged == 0
    assert math.isnan(made.accuracy)


def test_a_score_that_is_no_number_is_left_out() -> None:
    made = of([Outcome(True, float("nan"), True), Outcome(None, None, True)])
    assert (made.truth.count, made.judged) == (0, 1)


def named(base: QualitySketch, now: QualitySketch) -> dict[str, float]:
    return {one.measure: one.strength for one in worse(base, now, Thresholds())}


def test_a_model_that_stays_as_good_does_not_ring() -> None:
    rng = np.random.default_rng(3)
    base = of(outcomes(rng, 2000))
    rang = 0
    for _ in range(300):
        rang += any(one >= 1 for one in named(base, of(outcomes(rng, 300))).values())
    assert rang == 0


def test_a_concept_that_changed_shows_in_accuracy_and_auc() -> None:
    rng = np.random.default_rng(4)
    found = named(of(outcomes(rng, 2000)), of(outcomes(rng, 500, flip=0.3)))
    assert found["accuracy"] >= 1
    assert found["auc"] >= 1


def test_probabilities_that_are_off_show_in_calibration_alone() -> None:
    rng = np.random.default_rng(5)
    found = named(of(outcomes(rng, 5000)), of(outcomes(rng, 2000, skew=0.12)))
    assert found["calibration_error"] >= 1
    assert found["auc"] < 1


def test_a_model_that_became_better_does_not_ring() -> None:
    rng = np.random.default_rng(6)
    found = named(of(outcomes(rng, 2000, flip=0.3)), of(outcomes(rng, 500)))
    assert max(found.values()) < 1


def test_an_error_that_grew_rings() -> None:
    rng = np.random.default_rng(7)

    def measured(spread: float) -> QualitySketch:
        return of([Outcome(10.0 + float(rng.normal(0, spread)), None, 10.0) for _ in range(400)])

    assert named(measured(1.0), measured(1.5))["error"] >= 1
    assert named(measured(1.0), measured(1.05))["error"] < 1


def test_few_labels_say_nothing() -> None:
    rng = np.random.default_rng(8)
    few: Any = of(outcomes(rng, 40, flip=1.0))
    assert worse(of(outcomes(rng, 2000)), few, Thresholds()) == ()


def test_of_classes_that_are_numbers_0_and_1_are_no_truth_values() -> None:
    rng = np.random.default_rng(9)

    def three(count: int) -> QualitySketch:
        labels = rng.integers(0, 3, count)
        right = rng.random(count) < 0.9
        said = np.where(right, labels, (labels + 1) % 3)
        return of([Outcome(int(p), 0.9, int(y)) for p, y in zip(said, labels, strict=True)])

    made = three(3000)
    assert made.scores(bool(made.many)).calibration_error < 0.02
    assert max(named(made, three(400)).values()) < 1
    assert max(named(made, of([Outcome(0, 0.9, 1)] * 100)).values()) >= 1


def test_a_baseline_that_was_off_is_no_reason_to_ring() -> None:
    rng = np.random.default_rng(10)
    base = of(outcomes(rng, 2000, skew=0.2))
    rang = [named(base, of(outcomes(rng, 200, skew=0.2))) for _ in range(200)]
    assert max(one for found in rang for one in found.values()) < 1
