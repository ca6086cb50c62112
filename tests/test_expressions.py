"""Judging whether hostile text could make an expression slow (agent/vedette/expressions.py)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.expressions import objection

TEXT = 1024
ONE, TWO = TEXT + 1, 2 * TEXT * TEXT


@pytest.mark.parametrize(
    ("pattern", "one", "two"),
    [
        (rb"user=(\w+)", True, True),
        (rb"(blk_-?[0-9]+)", True, True),
        (rb"(?:\d{4}-){30}\d{4}", True, True),  # a repetition without a choice is none
        (rb"\w+ \S+ \d+", True, True),
        (rb".*=.*", False, True),
        (rb"\d+-?\d+", False, True),
        (rb"(?i)[a-z]+[A-Z]+", False, True),
        (rb"(?i:[a-z]+[A-Z]+)x", False, True),
        (rb"[a-z]+[A-Z]+", True, True),
        (rb"(?=.*a.*b)x", False, True),
        (rb".*.*.*x", False, False),
        (rb"(?=.*a.*b.*c)x", False, False),
        (rb"(a+)+", False, False),
        (rb"(?:a|bc)*d", False, False),
        (rb"(\w+)\1", False, False),
        (rb"(" * 40 + rb"a" + rb"{1,16})" * 40, False, False),
    ],
)
def test_the_allowed_cost_decides(pattern: bytes, one: bool, two: bool) -> None:
    assert (objection(pattern, longest=TEXT, ways=ONE) == "") is one
    assert (objection(pattern, longest=TEXT, ways=TWO) == "") is two


@given(st.binary(max_size=30))
def test_any_expression_is_judged_and_what_is_none_is_said_to_be_none(pattern: bytes) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        assert "not a regular expression" in objection(pattern, longest=TEXT, ways=TWO)
        return
    assert isinstance(objection(pattern, longest=TEXT, ways=TWO), str)
