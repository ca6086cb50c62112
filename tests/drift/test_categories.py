"""Frequent values and how many there are, in bounded room."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.drift.categories import KEPT, NAME_MAX, CategorySketch
from vedette.drift.distinct import REGISTERS, Distinct

SOME = st.lists(st.sampled_from([f"v{at}" for at in range(KEPT)]), max_size=60)


def of(values: list[str]) -> CategorySketch:
    made = CategorySketch()
    made.add(values)
    return made


@given(st.lists(SOME, min_size=1, max_size=4))
def test_few_values_are_counted_exactly_however_they_are_merged(parts: list[list[str]]) -> None:
    merged = CategorySketch()
    for part in parts:
        merged.merge(of(part))
    exact = Counter(value for part in parts for value in part)
    assert merged.counts == exact
    assert merged.is_complete
    assert merged.other == 0


@given(st.lists(st.lists(st.integers(0, 200), max_size=300), min_size=1, max_size=4))
def test_of_many_values_a_count_is_too_small_by_no_more_than_is_told(
    parts: list[list[int]],
) -> None:
    merged = CategorySketch()
    for part in parts:
        merged.merge(of([str(one) for one in part]))
    exact = Counter(str(one) for part in parts for one in part)
    assert len(merged.counts) <= KEPT
    assert merged.total == exact.total()
    assert merged.lost <= exact.total() / (KEPT + 1)
    for name, count in exact.items():
        assert 0 <= count - merged.counts.get(name, 0) <= merged.lost
    assert merged.other == exact.total() - sum(merged.counts.values())


def test_a_frequent_value_is_found_among_thousands_of_others() -> None:
    chance = random.Random(1)
    values = ["often"] * 500 + [f"id-{at}" for at in range(5000)]
    chance.shuffle(values)
    made = CategorySketch()
    for start in range(0, len(values), 100):
        made.add(values[start : start + 100])
    assert max(made.counts, key=made.counts.__getitem__) == "often"
    assert 300 <= made.counts["often"] <= 500


def test_a_long_name_is_kept_as_a_hash() -> None:
    made = of(["a" * 200, "a" * 200, "b" * 200])
    assert sorted(made.counts.values()) == [1, 2]
    assert all(len(name) <= NAME_MAX and name[0] == "#" for name in made.counts)


@pytest.mark.parametrize("exact", [0, 1, 10, 100, 1000, 20_000])
def test_how_many_there_are_is_known_within_three_standard_errors(exact: int) -> None:
    made = Distinct()
    made.add(f"value {at}" for at in range(exact))
    made.add(f"value {at}" for at in range(exact))  # again: none of them is new
    assert made.estimate() == pytest.approx(exact, rel=3 * 1.04 / REGISTERS**0.5, abs=0.5)


def test_two_that_overlap_merge_to_what_both_have() -> None:
    one, other, both = Distinct(), Distinct(), Distinct()
    one.add(str(at) for at in range(3000))
    other.add(str(at) for at in range(2000, 5000))
    both.add(str(at) for at in range(5000))
    one.merge(other)
    assert one.data == both.data
    assert Distinct(bytes(one.data)).estimate() == both.estimate()


def test_state_comes_back_and_one_that_cannot_be_is_refused() -> None:
    made = of(["a", "a", "b"])
    assert CategorySketch.of_state(made.state()).counts == made.counts
    with pytest.raises(ValueError, match="registers"):
        Distinct(b"short")
    broken = type(made.state())(1, {"a": 5}, 0, b"")
    with pytest.raises(ValueError, match="fit together"):
        CategorySketch.of_state(broken)


def test_pinned_names_are_counted_exactly_however_many_others_come() -> None:
    base = of([f"v{at % 20}" for at in range(1000)])
    chance = random.Random(2)
    values = [f"v{at % 20}" for at in range(400)] + [f"new {at}" for at in range(3000)]
    chance.shuffle(values)
    windows = [base.like() for _ in range(4)]
    for at, window in enumerate(windows):
        window.add(values[at::4])
    merged = base.like()
    for window in windows:
        merged.merge(window)
    assert [merged.counts[f"v{at}"] for at in range(20)] == [20] * 20
    assert merged.total == 3400
    assert len(merged.counts) <= KEPT
    again = CategorySketch.of_state(merged.state())
    assert (again.pinned, again.counts) == (merged.pinned, merged.counts)
