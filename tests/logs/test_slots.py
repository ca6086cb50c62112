"""Statistics of what the variable parts of templates hold (agent/vedette/logs/slots.py)."""

from __future__ import annotations

import math
import sys
from collections import Counter
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.miner import Miner
from vedette.logs.slots import (
    MAX_BUCKETS,
    MAX_VALUE,
    SLOT_BYTES,
    TOP,
    Different,
    Frequent,
    Numbers,
    Slot,
    SlotBook,
    number,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"12", 12.0),
        (b"-3.5", -3.5),
        (b"+.25", 0.25),
        (b"1e-3", 0.001),
        (b"0x1F", 31.0),
        (b"", None),
        (b"12ms", None),
        (b"nan", None),
        (b"inf", None),
        (b"1_000", None),
        (b"1.2.3", None),
        (b"9" * 40, None),
        (b"1e999", None),
        (b"\xd9\xa1", None),
    ],
)
def test_a_number_is_what_is_written_as_one_and_finite(value, found):
    assert number(value) == found


@given(st.binary(max_size=60))
def test_no_bytes_make_a_number_that_is_not_finite(value):
    found = number(value)
    assert found is None or math.isfinite(found)


@given(st.lists(FINITE, min_size=1, max_size=80))
def test_a_histogram_counts_every_number_within_its_bounds(values):
    numbers = Numbers()
    for value in values:
        numbers.add(value)
    found = numbers.histogram()
    assert found is not None
    assert found.count == len(values)
    assert (found.min, found.max) == (min(values), max(values))
    assert len(found.positive) <= MAX_BUCKETS
    assert len(found.negative) <= MAX_BUCKETS
    assert found.zero_count == sum(value == 0 for value in values)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60), st.integers(-4, 3))
def test_buckets_are_those_of_the_other_histograms_of_this_agent(values, scale):
    numbers = Numbers(scale=scale)
    for value in values:
        numbers.add(value)
    ours = numbers.histogram()
    assert ours is not None
    array = np.array(values)
    mantissa, exponent = np.frexp(array)
    exact = np.where(mantissa == 0.5, exponent - 2, exponent - 1)
    if ours.scale > 0:
        exact = np.ceil(np.log2(array) * 2**ours.scale - 1e-9).astype(int) - 1
    else:
        exact = exact >> -ours.scale
    expected = Counter(exact.tolist())
    got = {ours.positive_offset + at: count for at, count in enumerate(ours.positive) if count}
    assert got == expected


def test_quantiles_are_as_near_as_the_scale_says():
    rng = Random(1)
    values = [rng.lognormvariate(3, 0.5) for _ in range(4000)]
    numbers = Numbers()
    for value in values:
        numbers.add(value)
    found = numbers.histogram()
    assert found is not None
    assert found.scale == 3
    ranked = sorted(values)
    for q in (0.1, 0.5, 0.9, 0.99):
        true = ranked[math.ceil(q * len(values)) - 1]
        assert found.quantile(q) == pytest.approx(true, rel=0.045)


def test_powers_of_two_are_the_upper_bound_of_their_bucket():
    for scale in (-2, 0, 3):
        for power in (-40, -1, 0, 1, 12):
            numbers = Numbers(scale=scale)
            numbers.add(2.0**power)
            found = numbers.histogram()
            assert found is not None
            assert (found.positive_offset + 1) * 2.0**-scale >= power
            assert found.positive_offset * 2.0**-scale < power


# ---------------------------------------------------------------- values


@given(st.lists(st.sampled_from([bytes([65 + at]) for at in range(20)]), max_size=200))
def test_a_frequent_value_is_never_missed_and_its_count_off_by_its_error_at_most(values):
    frequent = Frequent()
    for value in values:
        frequent.add(value)
    true = Counter(values)
    top = frequent.top()
    assert len(top) <= TOP
    assert sum(one.count for one in top) == len(values)
    for one in top:
        assert one.count - one.error <= true[one.value] <= one.count
    kept = {one.value for one in top}
    # Space-saving's promise: whatever is more than an eighth of all is there.
    assert {value for value, count in true.items() if count > len(values) / TOP} <= kept
    if len(true) <= TOP:
        assert {one.value: (one.count, one.error) for one in top} == {
            value: (count, 0) for value, count in true.items()
        }


@pytest.mark.parametrize("size", [0, 1, 2, 10, 50, 200, 1000, 20_000])
def test_the_estimate_of_different_values_is_within_three_standard_errors(size):
    different = Different()
    for _ in range(2):
        for at in range(size):
            different.add(b"value %d" % at)
    assert abs(different.estimate() - size) <= max(1.0, 3 * 0.13 * size)


def test_the_estimate_is_right_on_average():
    errors = []
    for seed in range(40):
        different = Different()
        for at in range(500):
            different.add(b"%d/%d" % (seed, at))
        errors.append(different.estimate() / 500 - 1)
    assert abs(sum(errors) / len(errors)) < 0.05
    assert (sum(error**2 for error in errors) / len(errors)) ** 0.5 < 0.2


@given(st.lists(st.binary(max_size=100), max_size=60))
def test_no_values_make_a_slot_raise_and_a_summary_is_bounded(values):
    slot = Slot()
    for value in values:
        slot.add(value)
    found = slot.summary("*")
    assert found.looked == len(values)
    assert all(len(one.value) <= MAX_VALUE for one in found.top)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(slot), type=Slot) == slot


def test_a_slot_is_no_heavier_than_it_says():
    rng = Random(2)
    slot = Slot()
    for _ in range(5000):
        slot.add(rng.randbytes(60))
        slot.add(b"%.9e" % (rng.choice((-1, 1)) * 10.0 ** rng.uniform(-200, 200)))
    assert _weight(slot) < SLOT_BYTES


def _weight(value: object) -> int:
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(_weight(key) + _weight(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return size + sum(map(_weight, value))
    if isinstance(value, msgspec.Struct):
        return size + sum(_weight(getattr(value, name)) for name in value.__struct_fields__)
    return size


# ---------------------------------------------------------------- many slots


def test_a_template_that_is_rare_is_seen_whole_and_its_latency_is_a_distribution():
    miner, book = Miner(), SlotBook(per_template=100)
    lines = [b"took %d ms for GET" % at for at in range(1, 101)]
    ids = miner.learn(lines)
    looked = book.observe(miner, lines, ids, now_s=5.0)
    assert looked[6] == (ids[6], [b"7"])
    (number,) = set(ids)
    template = miner.template(number)
    (slot,) = book.summary(number, template.slots)
    assert slot.form == "num"
    assert slot.numbers is not None
    assert slot.numbers.count == 100
    assert slot.numbers.quantile(0.5) == pytest.approx(50, rel=0.05)
    assert slot.different == pytest.approx(100, rel=0.4)
    assert book.seen(number) == (100, 100)


def test_a_frequent_template_is_sampled_and_what_was_left_out_is_known():
    miner, book = Miner(), SlotBook(per_template=4, per_second=6)
    lines = [b"a %d x" % at for at in range(50)] + [b"quite another %d" % at for at in range(50)]
    ids = miner.learn(lines)
    for second in range(3):
        book.observe(miner, lines, ids, now_s=second + 0.5)
    first, other = ids[0], ids[-1]
    assert book.seen(first) == (150, 12)
    assert book.seen(other) == (150, 6)


def test_forgetting_begins_a_new_window():
    miner, book = Miner(), SlotBook()
    lines = [b"took 5 ms"]
    ids = miner.learn(lines)
    book.observe(miner, lines, ids, now_s=0.0)
    book.forget(ids[0])
    assert book.summary(ids[0], ("num",)) == ()
    assert len(book) == 0
    book.observe(miner, lines, ids, now_s=1.0)
    book.forget()
    assert book.seen(ids[0]) == (0, 0)


def test_when_the_text_of_a_template_changes_its_slots_begin_anew():
    miner, book = Miner(), SlotBook()
    lines = [b"wl0 is up after 3 s", b"wl0 is up after 4 s"]
    ids = miner.learn(lines)
    book.observe(miner, lines, ids, now_s=0.0)
    lines = [b"wl1 is up after 5 s"]
    assert miner.learn(lines) == [ids[0]]
    book.observe(miner, lines, ids[:1], now_s=0.0)
    miner.learn([b"wl2 is up after 5 s"] * 8)
    template = miner.template(ids[0])
    assert template.text == "wl<num> is up after <num> s"
    book.observe(miner, lines, ids[:1], now_s=0.0)
    name, seconds = book.summary(ids[0], template.slots)
    assert [one.value for one in name.top] == [b"1"]
    assert seconds.looked == 1


def test_the_number_of_slots_is_bounded_and_the_one_unused_for_longest_goes():
    miner, book = Miner(), SlotBook(max_slots=10, per_second=10_000)
    names = [
        b"%s %s happens" % (b"abcdefghij"[at : at + 1] * 3, b"xyz" * (at + 1)) for at in range(10)
    ]
    for at, name in enumerate(names):
        line = name + b" at 1.2.3.4 for 5 s"
        book.observe(miner, [line], miner.learn([line]), now_s=float(at))
        assert len(book) <= 10
    last = miner.learn([names[-1] + b" at 1.2.3.4 for 5 s"])[0]
    first = miner.learn([names[0] + b" at 1.2.3.4 for 5 s"])[0]
    assert book.seen(last) == (1, 1)
    assert book.seen(first) == (0, 0)
