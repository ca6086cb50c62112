"""Bursts, silences, and followers that do not come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs import rhythm as rhythm_module
from vedette.logs.blocks import score_blocks
from vedette.logs.entry import Severity
from vedette.logs.followers import TRIALS_LEAST, Followers, Missing
from vedette.logs.rhythm import Burst, Rhythm, Silence
from vedette.logs.surprise import RINGS

HOUR = 3600


def fed(rhythm: Rhythm, seconds: range, lines: dict[int, int]) -> list[Burst]:
    """Feed the lines (second: lines) of template 1; return the bursts."""
    found = []
    for second in seconds:
        counts = {1: lines[second]} if second in lines else {}
        found += rhythm.observe(float(second), counts)[0]
    return found


def known(severity: Severity, lines: dict[int, int], seconds: int) -> Rhythm:
    """Return a rhythm that has learned template 1."""
    rhythm = Rhythm()
    rhythm.add(1, severity, 0.0)
    assert fed(rhythm, range(seconds), lines) == []
    return rhythm


# ---------------------------------------------------------------- bursts


def test_214_errors_in_three_seconds_ring_at_once() -> None:
    rhythm = known(Severity.ERROR, dict.fromkeys(range(0, 6 * HOUR, 1000), 1), 6 * HOUR)
    found = fed(
        rhythm, range(6 * HOUR, 6 * HOUR + 3), dict.fromkeys(range(6 * HOUR, 6 * HOUR + 3), 71)
    )
    assert found[0].lines <= 2 * 72
    assert found[0].score >= RINGS
    assert found[-1].lines == 213


def test_what_comes_in_bunches_is_no_burst() -> None:
    rng = np.random.default_rng(3)
    bunches = {int(at): int(rng.integers(40, 150)) for at in rng.integers(0, 12 * HOUR, 60)}
    assert known(Severity.ERROR, bunches, 12 * HOUR)


def test_a_steady_rate_is_no_burst_and_ten_times_as_much_is() -> None:
    rng = np.random.default_rng(4)
    lines = {at: int(rng.poisson(5)) for at in range(2 * HOUR)}
    rhythm = known(Severity.INFO, {at: count for at, count in lines.items() if count}, 2 * HOUR)
    more = {at: int(rng.poisson(50)) for at in range(2 * HOUR, 2 * HOUR + 20)}
    assert fed(rhythm, range(2 * HOUR, 2 * HOUR + 20), more)


def test_a_rate_that_follows_the_day_is_no_burst() -> None:
    rng = np.random.default_rng(5)
    day = {}
    for at in range(0, 24 * HOUR, 5):
        rate = 0.2 + 10 * np.sin(np.pi * at / (24 * HOUR)) ** 2
        day[at] = int(rng.poisson(rate))
    known(Severity.INFO, {at: count for at, count in day.items() if count}, 24 * HOUR)


def test_a_flood_that_is_slow_is_seen_in_the_longer_block() -> None:
    rhythm = known(Severity.ERROR, dict.fromkeys(range(0, 6 * HOUR, 900), 1), 6 * HOUR)
    slow = dict.fromkeys(range(6 * HOUR, 6 * HOUR + 180, 2), 1)
    found = fed(rhythm, range(6 * HOUR, 6 * HOUR + 180), slow)
    assert found
    assert {one.seconds for one in found} == {180.0}


def test_the_first_bunch_of_an_information_is_no_burst_that_of_an_error_is() -> None:
    for severity, rings in ((Severity.INFO, False), (Severity.ERROR, True)):
        rhythm = Rhythm()
        rhythm.add(1, severity, 0.0)
        fed(rhythm, range(HOUR), {0: 1})
        assert bool(fed(rhythm, range(HOUR, HOUR + 3), {HOUR: 400, HOUR + 1: 400})) == rings


def test_the_second_burst_still_rings_the_fifth_does_not() -> None:
    rhythm = known(Severity.ERROR, dict.fromkeys(range(0, 6 * HOUR, 600), 1), 6 * HOUR)
    told = []
    for time in range(5):
        begin = (7 + time) * HOUR
        found = fed(rhythm, range(begin, begin + HOUR), {begin: 200, begin + 1000: 1})
        told.append(bool(found))
    assert told[:2] == [True, True]
    assert told[-1] is False


@pytest.mark.parametrize(
    ("severity", "lines", "apart_s", "rings"),
    [
        (Severity.ERROR, 13, 1240, [True, True, False]),
        (Severity.ERROR, 40, 1240, [True, True, True]),
        # Nothing comes after it until the next one: no part of it is learned whole.
        (Severity.WARN, 100, 86_400, [True, True, False]),
    ],
)
def test_of_a_new_template_the_second_burst_still_rings(
    severity: Severity, lines: int, apart_s: int, rings: list[bool]
) -> None:
    rhythm = Rhythm()
    rhythm.add(1, severity, 600.0)
    begins = [600 + time * apart_s for time in range(3)]
    told = [
        fed(rhythm, range(begin, begin + 50), dict.fromkeys(range(begin, begin + 50), lines))
        for begin in begins
    ]
    assert [bool(found) for found in told] == rings


def test_a_burst_that_lasts_is_the_new_state() -> None:
    rhythm = known(Severity.ERROR, dict.fromkeys(range(0, 3 * HOUR, 60), 1), 3 * HOUR)
    begin = 3 * HOUR
    found = [
        (second, rhythm.observe(float(second), {1: 30})[0]) for second in range(begin, begin + HOUR)
    ]
    told = [second - begin for second, bursts in found if bursts]
    assert told[0] <= 10
    assert 300 < told[-1] < 1500


def test_a_bit_more_than_the_largest_of_very_many_is_what_chance_does() -> None:
    blocks = 100_000.0
    row = [25, 8, 0.0, 8 * blocks, 72 * blocks, blocks, 16, blocks]
    part = np.array([row, [80, *row[1:]]], dtype=np.float32)
    less, more = score_blocks(part, np.array([16, 16], dtype=np.float32), 0)
    assert 4 < less < RINGS - 4
    assert more > RINGS


# ---------------------------------------------------------------- silences


def silences(rhythm: Rhythm, seconds: range, lines: dict[int, int]) -> list[tuple[int, Silence]]:
    found = []
    for second in seconds:
        rhythm.observe(float(second), {1: lines[second]} if second in lines else {})
        found += [(second, one) for one in rhythm.overdue(float(second))]
    return found


def test_a_heartbeat_that_stops_rings_once() -> None:
    rng = np.random.default_rng(6)
    beats = {30 * beat + int(rng.integers(0, 3)): 1 for beat in range(240)}
    rhythm = Rhythm()
    assert silences(rhythm, range(2 * HOUR), beats) == []
    found = silences(rhythm, range(2 * HOUR, 5 * HOUR), {})
    assert len(found) == 1
    second, silence = found[0]
    assert 3 * 30 <= second - 2 * HOUR <= 180
    assert 28 <= silence.longest_s <= 34
    assert silence.score > 5


def test_a_heartbeat_that_comes_again_ends_its_silence() -> None:
    beats = dict.fromkeys(range(0, 2 * HOUR, 30), 1)
    rhythm = Rhythm()
    silences(rhythm, range(3 * HOUR), beats)
    assert rhythm.observe(3.0 * HOUR, {1: 1})[1] == [1]
    assert rhythm.observe(3.0 * HOUR + 30, {1: 1})[1] == []


def test_what_comes_at_random_is_not_awaited() -> None:
    rng = np.random.default_rng(7)
    seldom = dict.fromkeys(rng.integers(0, 6 * HOUR, 300).tolist(), 1)
    assert silences(Rhythm(), range(24 * HOUR), seldom) == []


def test_what_comes_in_bunches_is_not_awaited() -> None:
    rng = np.random.default_rng(8)
    starts = rng.integers(0, 6 * HOUR, 60).tolist()
    bunches = {start + second: 5 for start in starts for second in range(20)}
    assert silences(Rhythm(), range(12 * HOUR), bunches) == []


def test_a_busy_template_that_stops_rings_after_minutes_not_seconds() -> None:
    rng = np.random.default_rng(9)
    busy = {at: int(rng.poisson(3)) for at in range(HOUR)}
    rhythm = Rhythm()
    assert silences(rhythm, range(HOUR), {at: one for at, one in busy.items() if one}) == []
    found = silences(rhythm, range(HOUR, 2 * HOUR), {})
    assert [second - HOUR for second, _ in found] == [pytest.approx(120, abs=3)]


# ---------------------------------------------------------------- followers

START, READY, OTHER = 1, 2, 3


def run(
    followers: Followers, begins: range, *, ready: bool = True, delay: int = 4, chance: float = 0.01
) -> list[Missing]:
    """Let START come at some seconds, and READY after it."""
    found = []
    for begin in begins:
        for second in range(begin, begin + 100):
            seldom = [START] if second == begin else []
            if ready and second == begin + delay + begin % 3:
                seldom.append(READY)
            found += followers.observe(float(second), seldom, lambda *_: chance)
    return found


def test_what_always_follows_is_missed() -> None:
    followers = Followers()
    assert run(followers, range(0, 100_000, 1000)) == []
    missing = run(followers, range(100_000, 100_100, 1000), ready=False)
    assert [(one.first_id, one.template_id) for one in missing] == [(START, READY)]
    assert missing[0].score > RINGS - 2
    assert missing[0].longest_s == 6
    assert missing[0].times == 100


def test_what_followed_a_few_times_is_not_expected() -> None:
    followers = Followers()
    run(followers, range(0, 1000 * (TRIALS_LEAST - 1), 1000))
    assert run(followers, range(50_000, 50_100, 1000), ready=False) == []


def test_what_follows_most_of_the_time_is_not_expected() -> None:
    followers, missing = Followers(), []
    for at in range(60):
        missing += run(followers, range(1000 * at, 1000 * at + 100, 1000), ready=at % 5 > 0)
    assert missing == []


def test_what_would_have_come_anyway_is_not_expected() -> None:
    followers = Followers()
    run(followers, range(0, 40_000, 1000), chance=0.9)
    assert run(followers, range(40_000, 40_100, 1000), ready=False, chance=0.9) == []


def test_a_follower_that_is_gone_for_good_is_told_a_few_times() -> None:
    followers = Followers()
    run(followers, range(0, 100_000, 1000))
    missing = run(followers, range(100_000, 200_000, 1000), ready=False)
    assert 1 <= len(missing) <= 4


@given(st.lists(st.lists(st.integers(0, 400), max_size=6), max_size=60))
def test_followers_are_bounded(ticks: list[list[int]]) -> None:
    followers = Followers()
    for second, seldom in enumerate(ticks):
        followers.observe(7.0 * second, seldom, lambda *_: 0.0)
    assert len(followers.trials) <= 64
    assert len(followers.firsts) <= 256


# ---------------------------------------------------------------- rows


def test_the_template_unseen_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rhythm_module, "MAX_TEMPLATES", 100)
    rhythm = Rhythm()
    for second in range(300):
        rhythm.observe(float(second), {second: 1, 7: 1})
    assert len(rhythm.rows) == 100
    assert {7, 299, 298}.issubset(rhythm.rows)
    assert 100 not in rhythm.rows
    assert sorted(rhythm.rows.values()) == list(range(100))


def test_more_templates_in_a_tick_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rhythm_module, "MAX_TEMPLATES", 50)
    rhythm = Rhythm()
    rhythm.observe(1.0, dict.fromkeys(range(80), 1))
    rhythm.observe(2.0, dict.fromkeys(range(40, 120), 1))
    assert len(rhythm.rows) == 50


def test_a_template_that_is_forgotten_leaves_the_others_alone() -> None:
    rhythm = Rhythm()
    for one in range(5):
        rhythm.add(one, Severity.ERROR if one == 4 else Severity.INFO, 0.0)
    rhythm.forget(1)
    rhythm.forget(99)
    assert rhythm.severity(4) == Severity.ERROR
    assert rhythm.severity(1) == Severity.UNKNOWN
    assert sorted(rhythm.rows) == [0, 2, 3, 4]


@given(
    st.lists(st.dictionaries(st.integers(0, 20), st.integers(0, 2**40), max_size=5), max_size=30)
)
def test_any_counts_are_taken(ticks: list[dict[int, int]]) -> None:
    rhythm = Rhythm()
    for second, counts in enumerate(ticks):
        rhythm.observe(17.0 * second, counts)
        rhythm.overdue(17.0 * second)
    again = Rhythm()
    again.restore(rhythm.save())
    assert again.rows == rhythm.rows
