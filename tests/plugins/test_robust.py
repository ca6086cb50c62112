"""What lasts, beside what is strange now: second after second, one series each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vedette.api import Instrument, counter, gauge, updown
from vedette.testing import check_detector, new_state, window
from vedette_plugins.robust import (
    BLOCK_READINGS,
    BLOCK_S,
    LASTING,
    RATES_MATTER,
    Robust,
    RobustConfig,
)

S = 1_000_000_000
START_NS = 1_800_000_000 * S
BYTES = counter("test.disk.io", "By", "Traffic.", alarm="high")
LEVEL = gauge("test.level", "Cel", "A level.", alarm="high")
THINGS = updown("test.things", "{thing}", "Things.", alarm="high")
EVENTS = counter("test.events", "{event}", "Events.", alarm="high")

Floats = NDArray[np.float64]
_GENERATIONS = itertools.count(1)


class Seconds:
    """A detector asked once a second, or so many; keeps what it scored: quick and lasting."""

    def __init__(self, instrument: Instrument, every_s: int = 1) -> None:
        self.every_s = every_s
        self.detector = Robust(RobustConfig())
        self.series = (instrument.series(),)
        self.state = new_state(self.detector, 1)
        self.values: list[float] = []
        self.second = 0
        self.generation = next(_GENERATIONS)

    def run(self, values: Sequence[float] | Floats) -> tuple[Floats, Floats]:
        """Go through readings; return both scores of each."""
        scores = []
        for value in values:
            self.values.append(float(value))
            del self.values[: -self.detector.lookback]
            self.second += self.every_s
            end = START_NS + self.second * S
            view = window(
                np.array([self.values]),
                self.series,
                step_s=self.every_s,
                end_ns=end,
                generation=self.generation,
            )
            scores.append(self.detector.score(view, self.state)[:, 0])
            self.detector.learn(view, self.state)
        quick, lasting = np.array(scores, dtype=np.float64).T
        return quick, lasting


def noise(seconds: int, seed: int = 1) -> Floats:
    return 40 + np.random.default_rng(seed).normal(0, 0.5, seconds)


def test_it_is_a_detector_as_the_agent_expects_one() -> None:
    check_detector(Robust(RobustConfig()))


def test_what_lasts_is_the_least_of_the_newest_readings_a_whole_block_among_them() -> None:
    made = Seconds(LEVEL)
    made.run(noise(300))
    quick, lasting = made.run(100 + noise(40, seed=2))
    block = int(BLOCK_S)
    for place in range(2 * block, 40):
        begin = (place - 1) // block * block - block + 1
        assert lasting[place] == np.float32(quick[begin : place + 1].min())
    assert (lasting[:block] < LASTING).all()
    assert (lasting[2 * block :] > LASTING).all()


def test_of_what_is_read_seldom_two_readings_are_enough_to_last() -> None:
    made = Seconds(LEVEL)
    every_ten = np.full(1000, np.nan)
    every_ten[::10] = noise(100)
    made.run(every_ten)
    every_ten[::10] += 60
    _, lasting = made.run(every_ten[:50])
    assert list(np.flatnonzero(lasting > LASTING)) == [10, 20, 30, 40]


def test_where_ticks_are_far_apart_more_than_two_readings_have_to_be_strange() -> None:
    made = Seconds(LEVEL, every_s=10)
    made.run(noise(120))
    _, lasting = made.run(100 + noise(20, seed=2))
    first = int(np.flatnonzero(lasting > LASTING)[0])
    assert BLOCK_READINGS <= first + 1 <= 2 * BLOCK_READINGS


def test_bursts_do_not_last_however_many_there_are() -> None:
    made = Seconds(LEVEL)
    made.run(noise(300))
    bursts = noise(2000, seed=3)
    bursts[::40] = bursts[1::40] = bursts[2::40] = 400
    quick, lasting = made.run(bursts)
    assert quick.max() > LASTING
    assert lasting.max() < LASTING / 3


def test_a_fault_lasts_as_visibly_the_fifth_time_as_the_first() -> None:
    made = Seconds(LEVEL)
    made.run(noise(900))
    for turn in range(5):
        _, lasting = made.run(100 + noise(40, seed=turn))
        assert lasting[12] > LASTING
        made.run(noise(200, seed=9 + turn))


def test_what_lasts_for_an_hour_is_a_habit_by_the_next_time() -> None:
    made = Seconds(LEVEL)
    made.run(noise(900))
    _, first = made.run(100 + noise(3600, seed=2))
    made.run(noise(3600, seed=3))
    _, next_time = made.run(100 + noise(600, seed=4))
    assert first.max() > LASTING > next_time.max()


def test_some_kilobytes_a_second_on_an_idle_interface_are_not_strange() -> None:
    made = Seconds(BYTES)
    made.run([0.0, 10.0] * 60)
    quick, lasting = made.run([RATES_MATTER["By"] / 4] * 30)
    assert quick.max() == lasting.max() == 0
    assert made.run([RATES_MATTER["By"] * 4] * 30)[1].max() > LASTING


def test_of_things_a_few_more_are_chance_where_there_are_none_as_a_rule() -> None:
    made = Seconds(THINGS)
    made.run([0.0, 0.0, 0.0, 1.0] * 30)
    assert made.run([2.0] * 20)[0].max() < 4
    assert made.run([40.0] * 20)[1].max() > LASTING


def test_a_counter_of_events_that_never_come_is_not_taken_for_one_that_varies_by_chance() -> None:
    made = Seconds(EVENTS)
    made.run([0.0] * 100 + [1.0, 0.0] * 2 + [0.0] * 100)
    assert made.run([3.0] * 20)[1].max() > LASTING
