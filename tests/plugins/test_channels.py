"""The eighteen views of a series, against direct computation."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.api import StateArray
from vedette.testing import window
from vedette_plugins import _channels
from vedette_plugins._channels import FIRST, LAGS, NAMES, WINDOWS, Residuals

S = 1_000_000_000
#: Thursday, 1970-01-08 00:00 UTC: a day and a week begin.
MIDNIGHT_S = 7 * 86_400
CHANNEL = {name: place for place, name in enumerate(NAMES)}

Floats = NDArray[np.floating]
State = dict[str, NDArray[np.float32]]


def fresh(rows: int) -> State:
    def array(declared: StateArray) -> NDArray[np.float32]:
        shape = (rows,) if declared.width == 1 else (rows, declared.width)
        return np.full(shape, declared.initial, dtype=np.float32, order="F")

    return {name: array(declared) for name, declared in _channels.STATE.items()}


def go(
    values: Floats, state: State | None = None, *, step_s: int = 300, begin_s: int = 0
) -> list[Residuals]:
    """Go through ``values`` ``(rows, ticks)``; return what was left at each tick."""
    state = fresh(len(values)) if state is None else state
    found = []
    for tick in range(values.shape[1]):
        view = window(
            values[:, max(0, tick + 1 - _channels.LOOKBACK) : tick + 1],
            step_s=step_s,
            end_ns=(begin_s + tick * step_s) * S,
        )
        with np.errstate(all="ignore"):
            found.append(_channels.residuals(view, state))
            _channels.follow(found[-1], state)
    return found


def left(found: list[Residuals], channel: str) -> Floats:
    """Return the residuals of one channel, ``(rows, ticks)``."""
    return np.stack([one.left[CHANNEL[channel]] for one in found], axis=1)


@pytest.fixture(scope="module")
def noise() -> Floats:
    random = np.random.default_rng(20260301)
    return 20 + random.standard_t(4, (3, 400)).astype(np.float32)


@pytest.fixture(scope="module")
def seen(noise: Floats) -> list[Residuals]:
    return go(noise)


def slow_mean(values: Floats, span: int) -> Floats:
    """Return the mean after each reading, in float64."""
    out = np.empty(values.shape)
    for tick in range(values.shape[1]):
        gain = max(2 / (span + 1), 1 / (tick + 1))
        before = out[:, tick - 1] if tick else 0
        out[:, tick] = before + gain * (values[:, tick].astype(float) - before)
    return out


@pytest.mark.parametrize("span", [100, 300, 1000, 3000])
def test_a_reading_is_seen_against_the_slow_means_before_it(
    noise: Floats, seen: list[Residuals], span: int
) -> None:
    expected = noise[:, 1:] - slow_mean(noise, span)[:, :-1]
    begin = int(FIRST)
    found = left(seen, f"mean{span}")[:, begin:]
    np.testing.assert_allclose(found, expected[:, begin - 1 :], atol=2e-4)


@pytest.mark.parametrize("lag", LAGS)
def test_a_reading_is_seen_against_earlier_ones(
    noise: Floats, seen: list[Residuals], lag: int
) -> None:
    begin = int(FIRST)
    found = left(seen, f"step{lag}")[:, begin:]
    np.testing.assert_array_equal(found, (noise[:, lag:] - noise[:, :-lag])[:, begin - lag :])


@pytest.mark.parametrize(("fast", "slow", "name"), [(5, 100, 5), (12, 300, 12), (30, 300, 30)])
def test_a_trend_is_a_fast_mean_with_the_reading_against_a_slow_one_without(
    noise: Floats, seen: list[Residuals], fast: int, slow: int, name: int
) -> None:
    expected = slow_mean(noise, fast)[:, 1:] - slow_mean(noise, slow)[:, :-1]
    begin = int(FIRST)
    found = left(seen, f"trend{name}")[:, begin:]
    np.testing.assert_allclose(found, expected[:, begin - 1 :], atol=2e-4)


@pytest.mark.parametrize("width", WINDOWS)
def test_a_spread_is_the_logarithm_of_a_rolling_standard_deviation(
    noise: Floats, seen: list[Residuals], width: int
) -> None:
    found = left(seen, f"spread{width}")
    for tick in range(150, 400, 25):
        part = noise[:, tick + 1 - width : tick + 1].astype(np.float64)
        np.testing.assert_allclose(found[:, tick], np.log(part.std(axis=1)), atol=2e-4)


def test_a_spread_leaves_out_what_was_not_read() -> None:
    values = np.random.default_rng(5).normal(0, 1, (1, 200)).astype(np.float32)
    values[0, [180, 190, 191]] = np.nan
    found = left(go(values), "spread30")[0, -1]
    assert found == pytest.approx(np.log(np.nanstd(values[0, -30:].astype(np.float64))), abs=1e-4)


def test_a_spread_is_not_told_of_less_than_half_a_window() -> None:
    values = np.random.default_rng(5).normal(0, 1, (1, 200)).astype(np.float32)
    values[0, 100:180] = np.nan
    found = go(values)
    told = {name: np.isfinite(left(found, name)[0]) for name in ("spread6", "spread12", "spread30")}
    assert [int(np.flatnonzero(one[180:])[0]) for one in told.values()] == [2, 5, 14]
    # At most 65 of 100 are there.
    assert not np.isfinite(left(found, "spread100")[0, 151:]).any()


def test_roughness_is_short_steps_over_short_deviations(
    noise: Floats, seen: list[Residuals]
) -> None:
    # After the first reading, from which on both are followed.
    deviation = np.abs(noise[:, 1:] - slow_mean(noise, 12)[:, :-1])
    steps = np.abs(np.diff(noise.astype(float), axis=1))
    gain, both = 2 / 13, np.zeros((2, 3))
    for tick in range(399):
        both += gain * (np.stack([steps[:, tick], deviation[:, tick]]) - both)
    np.testing.assert_allclose(left(seen, "roughness")[:, -1], np.log(both[0] / both[1]), atol=5e-3)


def test_the_first_readings_leave_nothing(seen: list[Residuals]) -> None:
    begin = int(FIRST)
    assert all(np.isnan(one.left).all() for one in seen[:begin])
    never_yet = [CHANNEL[name] for name in ("day", "week", "spread30", "spread100")]
    assert np.isfinite(np.delete(seen[begin].left, never_yet, axis=0)).all()


def test_a_reading_that_is_missing_changes_nothing() -> None:
    values = np.random.default_rng(6).normal(0, 1, (2, 160)).astype(np.float32)
    values[1, -1] = np.nan
    state = fresh(2)
    go(values[:, :-1], state)
    before = {name: array.copy() for name, array in state.items()}
    view = window(values[:, -100:], step_s=300, end_ns=159 * 300 * S)
    found = _channels.residuals(view, state)
    _channels.follow(found, state)
    assert np.isnan(found.left[:, 1]).all()
    for name, array in state.items():
        np.testing.assert_array_equal(array[1], before[name][1], err_msg=name)


@pytest.mark.parametrize(("profile", "bins", "length_s"), [("day", 96, 900), ("week", 168, 3_600)])
def test_a_profile_turns_over_at_midnight(profile: str, bins: int, length_s: int) -> None:
    state = fresh(1)
    values = np.arange(20, 24, dtype=np.float32)[None]
    begin_s = MIDNIGHT_S - 2 * length_s
    go(values, state, step_s=length_s, begin_s=begin_s)
    first_day = 0 if profile == "day" else begin_s // 86_400 % 7
    assert first_day in (0, 6)
    known = np.flatnonzero(np.isfinite(state[profile][0])).tolist()
    places = [(begin_s // length_s + tick) % bins for tick in range(4)]
    assert known == sorted(places)
    assert [state[profile][0, place] for place in places] == [20, 21, 22, 23]
    assert places[1] == (bins - 1 if profile == "day" else places[0] + 1)


def test_the_week_begins_anew_after_seven_days() -> None:
    at = []
    for day in (0, 1, 6, 7):
        found = go(np.ones((1, 1), dtype=np.float32), begin_s=day * 86_400 + 3 * 3_600)
        at.append((found[0].day, found[0].week))
    assert at == [(12, 3), (12, 27), (12, 147), (12, 3)]


def test_a_profile_learns_as_much_of_an_hour_whatever_the_step() -> None:
    ends = []
    for step_s in (60, 300):
        state = fresh(1)
        go(np.zeros((1, 900 // step_s), dtype=np.float32), state, step_s=step_s)
        hour = np.ones((1, 900 // step_s), dtype=np.float32)
        go(hour, state, step_s=step_s, begin_s=86_400)
        ends.append(float(state["day"][0, 0]))
    # The first reading has no step before it and counts for five minutes.
    assert ends[0] == pytest.approx(1 - (1 - 0.3) ** (1 + 14 / 5), abs=1e-4)
    assert ends[1] == pytest.approx(1 - (1 - 0.3) ** 3, abs=1e-4)


def test_a_large_offset_does_not_drown_the_spreads() -> None:
    random = np.random.default_rng(9)
    values = (1e6 + 8 * random.normal(0, 1, (1, 300))).astype(np.float32)
    expected = np.log(values[0, -12:].astype(np.float64).std())
    assert left(go(values), "spread12")[0, -1] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("seconds", "step_s"),
    [((0, 10, 20), 10), ((0, 10, 10, 20), 10), ((20, 10), 300), ((9, 9), 300)],
)
def test_a_step_is_none_that_goes_back_or_nowhere(seconds: tuple[int, ...], step_s: float) -> None:
    view = window(np.zeros((1, len(seconds)), np.float32), end_ns=S)
    view = msgspec.structs.replace(view, time=np.array(seconds, np.int64) * S)
    found = _channels.residuals(view, fresh(1))
    assert found.step_s == pytest.approx(step_s)
    assert 0 < found.part <= 1
