"""Series that tell the same thing twice count once, and a common fault makes no twins."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedette import twins
from vedette.api import Series, Window, gauge

sys.path.insert(0, str(Path(__file__).parent))
from incident_scenarios import instruments

S = 1_000_000_000
TICKS = 720
RANDOM = np.random.default_rng(3)


def name(place: int, alarm: str = "both") -> Series:
    return gauge(f"test.value{place}", "1", "V.", alarm=alarm).series()


def window(values: NDArray[np.floating], series: list[Series] | None = None) -> Window:
    time = np.arange(values.shape[1], dtype=np.int64) * S
    known = series or [name(place) for place in range(len(values))]
    return Window(time, values.astype(np.float32), known, 1)


def test_one_counter_in_two_files_is_one() -> None:
    moves = RANDOM.normal(size=TICKS)
    other = RANDOM.normal(size=TICKS)
    noisy = moves * 1000 + 5 + RANDOM.normal(size=TICKS) * 50
    twin = twins.of(window(np.array([moves, other, noisy])))
    assert twin("test.value2") == "test.value0"
    assert twin("test.value1") == "test.value1"
    assert twin("test.value0") == "test.value0"
    assert twin("never seen") == "never seen"


def test_a_fault_that_moves_everything_makes_no_twins() -> None:
    values = RANDOM.normal(size=(5, TICKS))
    values[:, 400:] += 50
    assert np.corrcoef(values)[0, 1] > twins.ALIKE  # by their values they would be
    twin = twins.of(window(values))
    assert {twin(f"test.value{place}") for place in range(5)} == {
        f"test.value{place}" for place in range(5)
    }


def test_what_is_read_seldom_or_hardly_moves_is_compared_by_its_changes_or_not() -> None:
    slow = np.full(TICKS, np.nan)
    slow[::10] = RANDOM.normal(size=TICKS // 10)
    rare = np.zeros(TICKS)
    rare[100] = 1
    twin = twins.of(window(np.array([slow, slow * 2, rare, rare])))
    assert [twin(f"test.value{place}") for place in (1, 3)] == ["test.value0", "test.value3"]


def test_series_for_which_nobody_is_woken_are_not_compared() -> None:
    moves = RANDOM.normal(size=TICKS)
    quiet = window(np.array([moves, moves]), [name(0), name(1, "never")])
    assert twins.of(quiet)("test.value1") == "test.value1"
    assert twins.of(window(np.zeros((0, 5)), []))("x") == "x"


def test_known_twins_are_declared_by_collectors() -> None:
    declared = {one.name for one in instruments()}
    for one, other in twins.KNOWN.items():
        assert {one.partition("{")[0], other} <= declared
        assert twins.known(one) == other
