"""A window against its baseline: rings for what matters and is no chance, and says what it is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vedette.drift.compare import compared, usual_of
from vedette.drift.sketch import ModelSketch
from vedette.drift.verdict import ModelVerdict, Thresholds

sys.path.insert(0, str(Path(__file__).parent))
from sketch_cases import records, sketch_of

RNG = np.random.default_rng(1)
BASE = sketch_of(records(RNG, 2000))


def window(count: int = 500, shift: float = 0.0, seed: int = 2) -> list[dict[str, Any]]:
    return records(np.random.default_rng(seed), count, shift=shift)


def verdict(some: list[dict[str, Any]], base: ModelSketch = BASE) -> ModelVerdict:
    return compared("m", base, sketch_of(some, base))


def only(found: ModelVerdict) -> tuple[str, str]:
    """Return the one field that drifted, and in what way mostly."""
    (one,) = found.drifted
    return one.field, one.differences[0].kind


@pytest.mark.parametrize("count", [100, 200, 500, 2000])
def test_windows_without_drift_do_not_ring(count: int) -> None:
    rng = np.random.default_rng(3)
    rang = sum(verdict(records(rng, count)).bad for _ in range(150))
    assert rang == 0


@pytest.mark.parametrize("count", [200, 500, 5000])
def test_a_moved_field_rings_and_is_named_first(count: int) -> None:
    found = verdict(window(count, shift=0.6))
    assert only(found) == ("x0", "distribution")
    assert found.fields[0].field == "x0"
    assert found.fields[0].wasserstein == pytest.approx(0.6, abs=0.2)
    assert "mean 0." in found.text


def test_a_move_too_small_to_matter_does_not_ring_however_sure_it_is() -> None:
    base = sketch_of(records(np.random.default_rng(4), 100_000))
    found = verdict(window(100_000, shift=0.05), base)
    moved = next(one for one in found.fields if one.field == "x0")
    assert moved.differences[0].p < 1e-9
    assert not found.bad


def test_a_large_index_in_a_tiny_window_is_no_proof() -> None:
    found = verdict(window(30, shift=0.5, seed=5))
    assert not found.bad


def test_fields_are_named_in_order_of_effect() -> None:
    some = window(1000, shift=0.5)
    for one in some:
        one["x1"] += 1.5
        one["x2"] += 0.9
    assert [one.field for one in verdict(some).drifted] == ["x1", "x2", "x0"]


def test_a_category_that_gains_rings() -> None:
    some = window(600)
    for one in some[:200]:
        one["colour"] = "blue"
    assert only(verdict(some)) == ("colour", "distribution")


def test_a_value_that_was_never_seen_rings_though_it_is_rare() -> None:
    some = window(1000)
    for one in some[:35]:
        one["colour"] = "mauve"
    found = verdict(some)
    assert only(found) == ("colour", "unknown")
    assert found.fields[0].unknown == pytest.approx(0.035)


def test_rare_values_beyond_the_range_ring() -> None:
    some = window(1000)
    for one in some[:30]:
        one["x3"] = 50.0
    found = verdict(some)
    assert only(found) == ("x3", "unknown")
    assert "outside of" in found.text


def test_values_that_are_often_new_are_expected_to_be_new() -> None:
    rng = np.random.default_rng(6)

    def some(count: int) -> list[dict[str, Any]]:
        return [{"page": f"p{int(at)}"} for at in np.minimum(rng.zipf(2.0, count), 10**6)]

    base = sketch_of(some(300))
    assert not any(compared("m", base, sketch_of(some(300), base)).bad for _ in range(60))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda one, at: one.update(x4=None) if at % 4 == 0 else None, "missing"),
        (lambda one, at: one.pop("x4"), "gone"),
        (lambda one, at: one.update(y=1), "new field"),
        (lambda one, at: one.update(x4=str(one["x4"])), "type"),
        (lambda one, at: one.update(x4=float("nan")) if at % 5 == 0 else None, "type"),
        (lambda one, at: one.update(x4=[1, 2]) if at % 5 == 0 else None, "type"),
    ],
)
def test_what_breaks_in_the_schema_rings_and_is_said(change: Any, kind: str) -> None:
    some = window()
    for at, one in enumerate(some):
        change(one, at)
    field, found = only(verdict(some))
    assert field == ("y" if kind == "new field" else "x4")
    assert found == kind


def test_a_field_that_was_always_missing_now_and_then_does_not_ring() -> None:
    rng = np.random.default_rng(7)

    def some(count: int) -> list[dict[str, Any]]:
        made = records(rng, count)
        for one in made:
            if rng.random() < 0.3:
                one["x1"] = None
        return made

    base = sketch_of(some(2000))
    assert not any(verdict(some(400), base).bad for _ in range(40))


def test_a_text_is_judged_by_its_length() -> None:
    rng = np.random.default_rng(8)

    def some(mean: float) -> list[dict[str, Any]]:
        return [{"prompt": "x" * int(at)} for at in rng.normal(mean, 20, 1000)]

    base = sketch_of(some(200))
    assert not verdict(some(200), base).bad
    assert only(verdict(some(220), base)) == ("prompt", "length")


def test_what_a_good_period_varied_by_itself_is_no_drift() -> None:
    rng = np.random.default_rng(9)
    pieces = [sketch_of(records(rng, 500, shift=0.0))]
    pieces += [sketch_of(records(rng, 500, shift=at), pieces[0]) for at in (0.7, -0.7, 0.6)]
    whole = pieces[0].like()
    for piece in pieces:
        whole.merge(piece)
    usual = usual_of(pieces, whole)
    assert usual["x0"] > 0.1
    assert usual.get("x1", 0.0) < 0.05
    again = sketch_of(records(rng, 500, shift=0.7), whole)
    assert compared("m", whole, again).bad
    assert not compared("m", whole, again, usual=usual).bad
    far = sketch_of(records(rng, 500, shift=2.5), whole)
    assert compared("m", whole, far, usual=usual).bad


def test_an_empty_window_and_an_empty_baseline_say_nothing() -> None:
    assert not compared("m", BASE, BASE.like()).bad
    assert not compared("m", ModelSketch(), sketch_of(window())).bad


def test_thresholds_are_the_operators() -> None:
    some = sketch_of(window(2000, shift=0.3), BASE)
    assert compared("m", BASE, some, Thresholds(psi=0.03)).bad
    assert not compared("m", BASE, some, Thresholds(psi=0.5)).bad


def test_what_is_as_good_as_the_least_of_the_baseline_is_within_its_range() -> None:
    rng = np.random.default_rng(10)

    def some(count: int) -> list[dict[str, Any]]:
        logits = rng.normal(0, 40, count)
        return [{"score": float(one)} for one in 1 / (1 + np.exp(-logits))]

    base = sketch_of(some(2000))
    assert not any(verdict(some(500), base).bad for _ in range(60))
