"""The measures of the miner's bench (tests/bench/logs_miner_metrics.py), by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from logs_miner_metrics import even, grouping, new_after, plain, texts


def test_the_same_groups_under_other_names_are_all_right():
    assert grouping([7, 7, 3], ["a", "a", "b"]) == (1.0, 1.0)


def test_a_split_group_and_a_merged_one_are_wrong_as_a_whole():
    # a: right. b is split in two. c and d are one: of 4 groups found and 4 true ones, 1 is right.
    found = [1, 1, 2, 3, 4, 4]
    true = ["a", "a", "b", "b", "c", "d"]
    assert grouping(found, true) == (2 / 6, pytest.approx(2 * 1 / (4 + 4)))


def test_accuracy_weighs_lines_and_f1_weighs_templates():
    found = [1] * 98 + [2, 2]
    true = ["a"] * 98 + ["b", "c"]
    accuracy, f1 = grouping(found, true)
    assert accuracy == 0.98
    assert f1 == pytest.approx(2 * 1 / (2 + 3))


def test_a_line_that_reads_right_in_a_wrong_group_counts_for_pa_only():
    found = [1, 1, 2]
    written = ["x <*>", "x <*>", "x <*>"]
    true = ["x <*>", "x <*>", "x <*>"]
    assert texts(found, written, true) == (1.0, 0.0)
    assert texts([1, 1, 1], written, true) == (1.0, 1.0)
    assert texts([1, 1, 2], ["x", "x", "y <*>"], ["x <*>", "x <*>", "y <*>"]) == (
        pytest.approx(1 / 3),
        pytest.approx(1 / 2),
    )


def test_nothing_measured_is_nothing_right():
    assert grouping([], []) == (0.0, 0.0)
    assert texts([], [], []) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("took <num>  ms", "took <*> ms"),
        ("at <path> of <id>", "at <*> of <*>"),
        ("< ok > <b1>", "< ok > <b1>"),
    ],
)
def test_plain_takes_names_of_placeholders_and_spaces_for_equal(text, same):
    assert plain(text) == same


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("to <*>:<*>", "to <*>"),
        ("to /<ip>:<num> now", "to <*> now"),
        ("<*>.<*>.<*>", "<*>"),
        ("a <*>, <*> b", "a <*> b"),
        ("blk_<num>", "blk_<*>"),
        ("<*> <*>", "<*> <*>"),
    ],
)
def test_even_joins_neighbouring_placeholders(text, same):
    assert even(text) == same


def test_new_labels_are_counted_once_and_only_if_they_were_not_there_before():
    assert new_after(["a", "b", "a", "c", "c", "b"], 3) == 1
