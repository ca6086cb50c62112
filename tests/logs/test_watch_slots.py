"""Slots: numbers that shift, values outside of a vocabulary."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs import slot_watch
from vedette.logs.signals import SlotSeen
from vedette.logs.slot_watch import SlotWatch
from vedette.logs.surprise import RINGS

HOUR = 3600


def numbers(
    watch: SlotWatch, begin: int, seconds: int, scale: float = 1.0, seed: int = 1
) -> list[tuple[int, slot_watch.Strange]]:
    rng, found = np.random.default_rng(seed), []
    for second in range(begin, begin + seconds):
        some = scale * np.exp(rng.normal(3, 0.7, 4))
        seen = SlotSeen(1, 0, numbers=tuple(some.tolist()))
        told = watch.observe(float(second), [seen], calm=False)
        found += [(second - begin, one) for one in told if one.score >= RINGS]
    return found


def test_a_latency_times_five_rings_within_a_minute() -> None:
    watch = SlotWatch(0.0)
    assert numbers(watch, 0, HOUR) == []
    found = numbers(watch, HOUR, 120, 5.0, seed=2)
    assert found[0][0] < 70
    assert "above" in found[0][1].text


def test_a_number_that_falls_to_a_fifth_rings() -> None:
    watch = SlotWatch(0.0)
    numbers(watch, 0, HOUR)
    found = numbers(watch, HOUR, 120, 0.2, seed=2)
    assert found
    assert "below" in found[0][1].text


def test_a_constant_that_changes_rings() -> None:
    watch = SlotWatch(0.0)
    for second in range(HOUR):
        assert not watch.observe(float(second), [SlotSeen(1, 0, (5.0, 5.0))], calm=False)
    told = [
        watch.observe(float(second), [SlotSeen(1, 0, (9.0, 9.0))], calm=False)
        for second in range(HOUR, HOUR + 60)
    ]
    assert any(one.score >= RINGS for found in told for one in found)


def test_numbers_that_only_grow_or_are_ids_do_not_ring() -> None:
    rng, watch = np.random.default_rng(3), SlotWatch(0.0)
    for second in range(2 * HOUR):
        ids = tuple(rng.integers(0, 2**31, 3).tolist())
        grows = (1e6 + 100 * second + float(rng.integers(0, 50)),)
        seen = [SlotSeen(1, 0, numbers=ids), SlotSeen(1, 1, numbers=grows)]
        told = watch.observe(float(second), seen, calm=False)
        assert not [one for one in told if one.score >= RINGS], second


def values(watch: SlotWatch, at: int, *some: bytes, calm: bool = False) -> float:
    told = watch.observe(float(at), [SlotSeen(1, 2, values=some)], calm=calm)
    return max((one.score for one in told), default=0.0)


def vocabulary(seconds: int) -> SlotWatch:
    watch = SlotWatch(0.0)
    for second in range(seconds):
        assert values(watch, second, (b"OK", b"IDLE", b"BUSY")[second % 3]) == 0
    return watch


def test_a_state_never_seen_rings() -> None:
    assert values(vocabulary(HOUR), HOUR, b"DEGRADED") >= RINGS


def test_a_word_that_means_no_harm_is_less_strange() -> None:
    assert values(vocabulary(HOUR), HOUR, b"STANDBY") < RINGS


def test_a_value_is_new_once() -> None:
    watch = vocabulary(HOUR)
    values(watch, HOUR, b"DEGRADED")
    assert values(watch, HOUR + 1, b"DEGRADED") == 0


def test_a_slot_seen_seldom_has_no_vocabulary() -> None:
    assert values(vocabulary(150), 150, b"FAILED") == 0


def test_a_slot_of_many_values_has_no_vocabulary() -> None:
    watch = SlotWatch(0.0)
    for second in range(HOUR):
        assert values(watch, second, b"user%d" % (second % 50)) == 0
    assert values(watch, HOUR, b"FAILED") == 0


def test_a_calm_is_learned_and_not_told() -> None:
    watch = vocabulary(HOUR)
    assert values(watch, HOUR, b"DEGRADED", calm=True) == 0
    assert values(watch, HOUR + 1, b"DEGRADED") == 0


def test_the_slots_are_bounded() -> None:
    watch = SlotWatch(0.0)
    for one in range(1000):
        watch.observe(float(one), [SlotSeen(one, 0, numbers=(1.0,))], calm=False)
    assert len(watch.slots) == slot_watch.MAX_SLOTS
    assert "999/0" in watch.slots
    watch.forget(999)
    assert "999/0" not in watch.slots


@given(st.lists(st.lists(st.floats(), max_size=5), max_size=60))
def test_any_numbers_are_taken(many: list[list[float]]) -> None:
    watch = SlotWatch(0.0)
    for second, some in enumerate(many):
        for one in watch.observe(float(second), [SlotSeen(1, 0, tuple(some))], calm=False):
            assert math.isfinite(one.score)
