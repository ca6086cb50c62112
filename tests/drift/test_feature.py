"""One field: its kinds, its forgetting of texts, its bound of memory."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest

from vedette.drift.feature import FeatureSketch, FeatureState
from vedette.drift.numbers import GridError

ROOM = 8 * 1024


def of(values: list[Any]) -> FeatureSketch:
    made = FeatureSketch()
    made.add(values)
    return made


def test_values_are_counted_by_kind() -> None:
    made = of([1, 2.5, True, "a", [1, 2], {"b": 1}])
    assert made.kinds == {"number": 2, "boolean": 1, "text": 1, "list": 1, "object": 1}
    assert made.present == 6
    assert made.kind == "number"
    assert made.integers == 1
    assert of([]).kind == ""


def test_what_is_no_finite_number_is_counted_and_in_no_histogram() -> None:
    made = of([1.0, float("nan"), float("inf"), -float("inf"), 10**400, -(10**400)])
    made.settle()
    assert (made.nan, made.infinite) == (1, 4)
    assert made.numbers is not None
    assert made.numbers.count == 1
    assert made.kinds["number"] == 6


def test_a_number_in_a_text_is_a_text() -> None:
    assert of(["1.5", "2"]).kind == "text"
    assert of(["1.5", "2"]).numbers is None


def test_long_texts_are_forgotten_but_for_their_lengths() -> None:
    made = of(["my name is Alice and my number is 4711, please call me back"] * 10)
    assert made.is_text
    assert made.categories is None
    assert made.lengths is not None
    assert b"Alice" not in msgspec.json.encode(made.state())


def test_texts_that_are_nearly_all_different_are_no_categories() -> None:
    made = of([f"user-{at}" for at in range(500)])
    assert made.is_text
    assert "user-" not in json.dumps(msgspec.to_builtins(made.state()))
    few = of([f"class-{at % 5}" for at in range(500)])
    assert few.categories is not None
    assert len(few.categories.counts) == 5


def test_a_grid_waits_for_enough_numbers_and_survives_the_disk() -> None:
    rng = np.random.default_rng(1)
    values = (300 + rng.normal(size=200)).tolist()
    made = FeatureSketch()
    for value in values[:100]:
        made.add([value])
    assert made.numbers is None
    made = FeatureSketch.of_state(made.state())
    made.add(values[100:])
    assert made.numbers is not None
    assert made.numbers.count == 200
    assert made.numbers.grid.origin == pytest.approx(300, abs=1)


def test_what_is_made_alike_merges_to_the_whole() -> None:
    rng = np.random.default_rng(2)
    values = [*rng.normal(50, 1, 900).tolist(), *["a", "b"] * 50, *[True] * 10]
    first = of(values[:300])
    parts = [first]
    for start in (300, 600, 900):
        part = first.like()
        part.add(values[start : start + 300])
        parts.append(part)
    whole = first.like()
    whole.add(values)
    merged = first.like()
    for part in reversed(parts):
        merged.merge(part)
    assert merged.kinds == whole.kinds
    assert merged.numbers is not None
    assert whole.numbers is not None
    assert merged.numbers.histogram() == whole.numbers.histogram()
    assert merged.categories is not None
    assert whole.categories is not None
    assert merged.categories.counts == whole.categories.counts


def test_fields_with_other_grids_are_refused() -> None:
    one, other = of([300.0 + at / 100 for at in range(200)]), of([1.0 + at for at in range(200)])
    with pytest.raises(GridError):
        one.merge(other)


@pytest.mark.parametrize("sort", ["wide numbers", "categories", "ids", "texts", "mixed", "pinned"])
def test_a_field_takes_less_than_eight_kibibytes(sort: str) -> None:
    rng = np.random.default_rng(3)
    wide = (rng.choice([-1, 1], 4000) * 10.0 ** rng.uniform(-3, 3, 4000)).tolist()
    values: list[Any] = {
        "wide numbers": wide,
        "categories": [f"a category of {int(at):04d}" for at in rng.integers(0, 40, 6000)],
        "ids": [f"id-{at}" for at in range(6000)],
        "texts": ["x" * int(at) for at in rng.integers(1, 5000, 2000)],
        "pinned": [f"a category of {int(at):04d}" for at in rng.integers(0, 32, 6000)],
        "mixed": [*wide[:3000], *[f"value number {at % 45:010d}" for at in range(3000)]],
    }[sort]
    made = FeatureSketch()
    for start in range(0, len(values), 500):
        made.add(values[start : start + 500])
    data = msgspec.msgpack.encode(made.state())  # from there all that it holds is its own
    kept = [loaded(data)]  # what is imported and cached is no part of it
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept += [loaded(data) for _ in range(10)]
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 500 < (after - before) / 10 < ROOM


def loaded(data: bytes) -> FeatureSketch:
    return FeatureSketch.of_state(msgspec.msgpack.decode(data, type=FeatureState))
