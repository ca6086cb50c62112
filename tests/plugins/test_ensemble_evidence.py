"""How strange a residual is, against a slow account of one series in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.api import StateArray
from vedette_plugins import _evidence
from vedette_plugins._channels import COUNT, DAY, LOGS, WEEK, Residuals
from vedette_plugins._evidence import (
    ABOVE,
    EXCESS_GAIN,
    EXCESS_LEAST,
    EXCESS_MOST,
    FORGET,
    MOST,
    RECORD_LEAST,
    SHAPE_MOST,
    STEP,
    WARM,
    WARM_PROFILES,
    Strange,
)

Floats = NDArray[np.floating]
State = dict[str, NDArray[np.float32]]
STEP1 = 5


def fresh(rows: int) -> State:
    def array(declared: StateArray) -> NDArray[np.float32]:
        shape = (rows,) if declared.width == 1 else (rows, declared.width)
        return np.full(shape, declared.initial, dtype=np.float32, order="F")

    return {name: array(declared) for name, declared in _evidence.STATE.items()}


def residuals(left: Floats) -> Residuals:
    """Return what is left of a reading, from ``(COUNT, rows)``."""
    left = left.astype(np.float32)
    rows = left.shape[1]
    nothing = np.zeros((2, rows), dtype=np.float32)
    return Residuals(left, left[0], np.isfinite(left[0]), nothing, nothing, 0, 0, 300.0)


def go(left: Floats, state: State) -> list[Strange]:
    """Judge and learn ``(ticks, COUNT, rows)``."""
    found = []
    for one in left:
        seen = residuals(one)
        found.append(_evidence.strange(seen, state))
        _evidence.learn(seen, found[-1], state)
    return found


def heavy(ticks: int, rows: int, seed: int = 1) -> Floats:
    random = np.random.default_rng(seed)
    return random.standard_t(4, (ticks, COUNT, rows)).astype(np.float32)


def odds_of(excess: float, mean: float, square: float) -> float:
    """Return -log10 of the probability beyond the 0.99 quantile of a generalised Pareto tail."""
    variance = max(square - mean**2, 1e-6 * mean**2)
    shape = min(max(0.5 * (1 - mean**2 / variance), 0.01), SHAPE_MOST)
    size = mean * (1 - shape)
    return min(-math.log10(ABOVE * (1 + shape * excess / size) ** (-1 / shape)), MOST)


class OneSide:
    """One side of one channel, told its residuals one by one."""

    def __init__(self, warm: float) -> None:
        self.warm = warm
        self.first: list[float] = []
        self.judged = False

    def see(self, residual: float, scale: float) -> tuple[float, float]:
        """Return odds and record ratio, 0 when there is nothing to say; ``scale`` of before."""
        excess = residual - self.quantile if self.judged else -1.0
        if excess <= 0:
            return 0.0, 0.0
        mean = max(self.mean, EXCESS_LEAST * scale)
        return odds_of(excess, mean, self.square), excess / max(self.record, RECORD_LEAST * scale)

    def learn(self, residual: float, scale: float) -> None:
        """Take it up; ``scale`` is the one with it."""
        if not self.judged:
            self.first.append(residual)
            if len(self.first) >= self.warm:
                self._begin(scale)
            return
        excess = residual - self.quantile
        self.quantile -= STEP * scale
        self.record *= 1 - FORGET
        if excess > 0:
            self.quantile += STEP * scale / ABOVE
            taught = min(excess, EXCESS_MOST * self.mean)
            self.mean += EXCESS_GAIN * (taught - self.mean)
            self.square += EXCESS_GAIN * (taught**2 - self.square)
            self.record = max(self.record, excess)

    def _begin(self, scale: float) -> None:
        third, second, first = sorted(self.first)[-3:]
        self.judged = True
        self.quantile = (second + third) / 2
        self.record = max(first - self.quantile, scale / 10)
        self.mean = 0.7 * self.record
        self.square = 2 * self.mean**2


@pytest.mark.parametrize(
    ("channel", "side"), [(0, 0), (STEP1, 0), (STEP1, 1), (LOGS[0], 1), (DAY, 0), (WEEK, 1)]
)
def test_evidence_is_that_of_a_slow_account(channel: int, side: int) -> None:
    left, state = heavy(1_500, 1), fresh(1)
    left[40:60] = np.nan  # nothing read
    left[700:, STEP1] *= 3
    warm = WARM_PROFILES if channel in (DAY, WEEK) else WARM
    account = OneSide(warm)
    told = 0
    for one in left:
        seen = residuals(one)
        scale = float(state["scale"][0, channel])
        found = _evidence.strange(seen, state)
        odds = found.dense(found.odds)[channel, side, 0]
        ratio = found.dense(found.ratio)[channel, side, 0]
        _evidence.learn(seen, found, state)
        if not np.isfinite(one[channel, 0]):
            assert odds == ratio == 0
            continue
        residual = float(one[channel, 0]) * (1 - 2 * side)
        expected = account.see(residual, scale)
        assert (odds, ratio) == pytest.approx(expected, rel=2e-3, abs=1e-3)
        told += odds > 0
        account.learn(residual, float(state["scale"][0, channel]))
    assert told > 5


def test_odds_are_those_of_a_generalised_pareto_tail() -> None:
    excess = np.array([0.1, 1, 3, 10, 100, 1e6], dtype=np.float32)
    for shape_of_moments in (0.02, 0.2, 0.4, 0.49):
        mean = np.float32(2.5)
        # Moments of a tail with this shape: variance = mean**2 / (1 - 2 shape).
        square = mean**2 * np.float32(1 + 1 / (1 - 2 * shape_of_moments))
        found = _evidence._odds(excess, np.full(6, mean), np.full(6, square))
        expected = [odds_of(float(one), float(mean), float(square)) for one in excess]
        np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_of_exponential_excesses_odds_are_proportional_to_the_excess() -> None:
    mean = np.full(3, 4, dtype=np.float32)
    found = _evidence._odds(np.float32([4, 8, 16]), mean, 2 * mean * mean)
    # Shape 0 is taken as 0.01: the tail is a little heavier than exponential.
    np.testing.assert_allclose(found, 2 + np.array([1, 2, 4]) / math.log(10), rtol=0.02)


def test_about_one_residual_in_a_hundred_exceeds_its_quantile() -> None:
    left, state = heavy(3_000, 40), fresh(40)
    found = go(left, state)[1_000:]
    share = np.mean([len(one.places) for one in found]) / (2 * COUNT * 40)
    # Half way between the second and the third largest of 138 lie 1.1 in 100 of all.
    assert 0.008 < share < 0.025


def test_a_record_is_forgotten_slowly() -> None:
    left, state = heavy(400, 2), fresh(2)
    left[300, STEP1] = 100
    go(left, state)
    quiet = np.zeros((1_000, COUNT, 2))
    before = state["record"][:, 2 * STEP1].copy()
    go(quiet, state)
    np.testing.assert_allclose(
        state["record"][:, 2 * STEP1], before * (1 - FORGET) ** 1_000, rtol=1e-3
    )


def test_a_record_is_never_less_than_half_a_scale() -> None:
    left, state = heavy(400, 1), fresh(1)
    go(left, state)
    state["record"][:] = 0
    one = np.zeros((COUNT, 1))
    one[STEP1] = state["quantile"][0, 2 * STEP1] + state["scale"][0, STEP1]
    found = _evidence.strange(residuals(one), state)
    assert found.ratio.tolist() == pytest.approx([1 / RECORD_LEAST])


@pytest.mark.parametrize("missing", [[1], [5], [5, 6, 7], list(range(COUNT))])
def test_a_gap_when_a_channel_becomes_warm_only_delays_it(missing: Sequence[int]) -> None:
    left, state = heavy(200, 1), fresh(1)
    left[int(WARM) - 1, missing] = np.nan
    found = go(left, state)
    assert all(np.isfinite(one.odds).all() and np.isfinite(one.ratio).all() for one in found)
    for channel in missing:
        assert np.isfinite(state["quantile"][0, 2 * channel])


def test_a_channel_without_residuals_is_never_judged() -> None:
    left, state = heavy(600, 1), fresh(1)
    left[:, STEP1] = np.nan
    found = go(left, state)
    assert state["square"][0, 2 * STEP1] < 0
    assert not any(np.isin(one.places, [2 * STEP1, 2 * STEP1 + 1]).any() for one in found)


def test_before_it_is_warm_nothing_is_strange() -> None:
    left, state = heavy(int(WARM), 3), fresh(3)
    left[50] = 1e6
    assert not any(len(one.places) for one in go(left, state))


def test_what_is_not_read_teaches_nothing() -> None:
    left, state = heavy(300, 2), fresh(2)
    go(left, state)
    before = {name: array.copy() for name, array in state.items()}
    one = heavy(1, 2, seed=7)[0]
    one[:, 0] = np.nan
    go(one[None], state)
    for name, array in state.items():
        np.testing.assert_array_equal(array[0], before[name][0], err_msg=name)
        assert not np.array_equal(array[1], before[name][1]) or name in ("mean", "square")


def test_a_fault_cannot_carry_the_scale_off() -> None:
    left, state = heavy(1_000, 1), fresh(1)
    go(left, state)
    before = float(state["scale"][0, STEP1])
    go(np.full((60, COUNT, 1), 1e4), state)
    # At most 5 scales count, 60 times with a gain of 1 in 500.
    assert before < state["scale"][0, STEP1] < 1.7 * before


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**50])
def test_the_unit_does_not_matter(factor: float) -> None:
    left = heavy(500, 2)
    one = go(left, fresh(2))
    other = go(left * factor, fresh(2))
    for of_one, of_other in zip(one, other, strict=True):
        np.testing.assert_array_equal(of_one.places, of_other.places)
        np.testing.assert_allclose(of_one.odds, of_other.odds, rtol=1e-4)
        np.testing.assert_allclose(of_one.ratio, of_other.ratio, rtol=1e-4)
