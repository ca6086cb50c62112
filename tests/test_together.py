"""What turns strange together on a host is learned, bounded, saved and taken back."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.together import (
    FADE,
    LEAST,
    MAX_LESSONS,
    MAX_OF_A_FAULT,
    MAX_PAIRS,
    MAX_SUBJECTS,
    OFTEN,
    SELDOM,
    SURE,
    Together,
)


def test_three_faults_together_are_enough_and_two_are_not() -> None:
    together = Together()
    for number in range(3):
        assert together.verdict("cpu", "log") == "unknown"
        together.learn(str(number), ["cpu", "log"])
    assert together.verdict("cpu", "log") == together.verdict("log", "cpu") == "together"


def test_what_is_seen_alone_too_often_is_not_together() -> None:
    together = Together()
    for number in range(3):
        together.learn(f"both {number}", ["cpu", "log"])
    for number in range(2):
        together.learn(f"cpu {number}", ["cpu"])
        together.learn(f"log {number}", ["log"])
    assert together.verdict("cpu", "log") == "unknown"


def test_what_is_never_together_is_apart_once_both_are_well_known() -> None:
    together = Together()
    for number in range(10):
        together.learn(f"cpu {number}", ["cpu"])
        together.learn(f"log {number}", ["log"])
    assert together.verdict("cpu", "log") == "apart"
    assert together.verdict("cpu", "disk") == "unknown"
    assert together.verdict("cpu", "cpu") == "unknown"


def test_a_lesson_can_be_taken_back_and_a_pair_forgotten() -> None:
    together = Together()
    for number in range(4):
        together.learn(str(number), ["cpu", "log"])
    assert together.undo("1")
    assert together.undo("2")
    assert not together.undo("2")
    assert together.verdict("cpu", "log") == "unknown"
    together.learn("4", ["cpu", "log"])
    assert together.verdict("cpu", "log") == "together"
    together.forget("log", "cpu")
    assert together.verdict("cpu", "log") != "together"


def test_a_fault_that_is_told_again_counts_once() -> None:
    together = Together()
    for _ in range(5):
        together.learn("one", ["cpu", "log"])
    assert together.verdict("cpu", "log") == "unknown"


def test_what_is_no_longer_seen_together_fades() -> None:
    together = Together()
    for number in range(4):
        together.learn(str(number), ["cpu", "log"])
    for number in range(200):
        together.learn(f"other {number}", ["disk"])
    assert together.verdict("cpu", "log") == "unknown"


def test_the_bounds_hold() -> None:
    together = Together()
    for number in range(3_000):
        together.learn(str(number), [f"{number}/{part}" for part in range(30)])
    saved = together.export()
    assert len(together) <= MAX_PAIRS
    assert len(saved["alone"]) <= MAX_SUBJECTS  # type: ignore[arg-type]
    assert len(saved["lessons"]) == MAX_LESSONS  # type: ignore[arg-type]
    assert len(json.dumps(saved)) < 250_000


def test_what_is_saved_is_plain_json_and_comes_back_the_same() -> None:
    together = Together()
    for number in range(5):
        together.learn(str(number), ["cpu", "log", "disk/sda"])
    again = Together()
    again.restore(json.loads(json.dumps(together.export())))
    assert again.export() == together.export()
    assert again.verdict("cpu", "log") == "together"
    assert again.undo("4")
    again.restore({})
    assert again.verdict("cpu", "log") == "unknown"


@pytest.mark.parametrize(
    "damaged",
    [
        {"version": 99},
        {"alone": {"cpu": -1.0}},
        {"pairs": [["a", "b"]]},
        {"lessons": "none"},
        {"pairs": [["a", "b", float("inf")]]},
    ],
)
def test_what_is_damaged_is_refused_and_changes_nothing(damaged: dict[str, object]) -> None:
    together = Together()
    for number in range(3):
        together.learn(str(number), ["cpu", "log"])
    before = together.export()
    with pytest.raises(ValueError, match=r"learned relations|Expected"):
        together.restore(damaged)
    assert together.export() == before


subjects = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=MAX_OF_A_FAULT, unique=True)


@given(st.lists(subjects, max_size=40), st.sets(st.integers(0, 39), max_size=5))
def test_counts_are_those_of_an_independent_tally(
    faults: list[list[str]], undone: set[int]
) -> None:
    """The oracle keeps every fault and weighs it by how many came after it."""
    together = Together()
    for number, names in enumerate(faults):
        together.learn(str(number), names)
    for number in undone:
        together.undo(str(number))
    alone: Counter[str] = Counter()
    pairs: Counter[tuple[str, ...]] = Counter()
    for number, names in enumerate(faults):
        if number in undone:
            continue
        weight = FADE ** (len(faults) - 1 - number)
        for name in names:
            alone[name] += weight  # type: ignore[assignment]
        for pair in itertools.combinations(sorted(names), 2):
            pairs[pair] += weight  # type: ignore[assignment]
    for one, other in itertools.combinations("abcdefgh", 2):
        rarer, both = min(alone[one], alone[other]), pairs[one, other]
        expected = "unknown"
        if both >= LEAST and both >= OFTEN * rarer:
            expected = "together"
        elif rarer >= SURE and both < SELDOM * rarer:
            expected = "apart"
        margins = (both - LEAST, both - OFTEN * rarer, rarer - SURE, both - SELDOM * rarer)
        if all(abs(margin) > 0.02 for margin in margins):
            assert together.verdict(one, other) == expected
