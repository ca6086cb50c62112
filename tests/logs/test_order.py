"""Successors within a session."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.order import MAX_PAIRS, MAX_SUCCESSORS, Successors


def learned(pairs: list[tuple[int, int]]) -> Successors:
    successors = Successors()
    for previous, template in pairs:
        successors.learn(previous, template)
    return successors


def test_a_successor_never_seen_after_a_thousand_that_were_the_same() -> None:
    successors = learned([(1, 2)] * 1000)
    assert successors.surprise(1, 3) == math.log(1001 / 0.5)
    assert successors.surprise(1, 2) == 0


def test_after_what_anything_follows_a_new_one_says_little() -> None:
    successors = learned([(1, other) for other in range(50)])
    assert successors.surprise(1, 99) < 1


def test_what_was_seen_is_ordinary_however_seldom() -> None:
    successors = learned([(1, 2)] * 1000 + [(1, 3)])
    assert successors.surprise(1, 3) == 0
    assert successors.surprise(1, 4) < math.log(1001 / 0.5)


def test_there_is_no_opinion_about_what_was_never_a_predecessor() -> None:
    assert learned([(1, 2)]).surprise(7, 8) == 0


def test_a_template_with_too_many_successors_is_followed_by_anything() -> None:
    successors = learned([(1, other) for other in range(MAX_SUCCESSORS + 5)])
    assert successors.surprise(1, 10_000) == 0
    assert len(successors.after[1].counts) == MAX_SUCCESSORS


def test_the_pairs_are_bounded() -> None:
    successors = learned([(one // 50, one % 50) for one in range(MAX_PAIRS + 5000)])
    assert successors.pairs == sum(len(one.counts) for one in successors.after.values())
    assert successors.pairs <= MAX_PAIRS


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_the_counts_are_those_of_a_counter(pairs: list[tuple[int, int]]) -> None:
    successors, exact = learned(pairs), Counter(pairs)
    for previous, after in successors.after.items():
        of = {template: n for (first, template), n in exact.items() if first == previous}
        assert after.counts == of
        assert after.once == sum(n == 1 for n in of.values())
        assert after.total == sum(of.values())
    successors.forget(3)
    assert successors.pairs == len([one for one in exact if 3 not in one])
