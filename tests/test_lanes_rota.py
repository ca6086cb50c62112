"""Who of a lane is due: at multiples of each interval, none twice, none lost to a late tick."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from vedette.api import Collector, NoConfig, Sample, gauge
from vedette.lanes.assignment import Assignment
from vedette.lanes.rota import Rota
from vedette.lanes.runner import Runner

S = 1_000_000_000
T0 = 1_700_000_000 * S - 1_700_000_000 * S % (3600 * S)


class Reads(Collector):
    """Yields one reading."""

    name = "reads"
    interval_s = 1.0
    may_block = False
    value = gauge("test.value", "1", "A value.")

    def collect(self) -> Iterator[Sample]:
        yield self.value(1.0)


def runner(interval_s: float, name: str = "reads", stretch: int = 1) -> Runner:
    one = Runner(Assignment(Reads(NoConfig()), interval_s, name=name), max_series=1)
    one.stretch = stretch
    return one


def names(rota: Rota, second: int, now_ns: int = 0) -> list[str]:
    return [one.name for one in rota.due(T0 + second * S, now_ns)]


def test_each_runner_is_due_at_the_multiples_of_its_own_interval() -> None:
    rota = Rota((runner(1, "a"), runner(10, "b"), runner(1, "c"), runner(5, "d")))
    assert sorted(names(rota, 1)) == ["a", "c"]
    assert sorted(names(rota, 5)) == ["a", "c", "d"]
    assert sorted(names(rota, 10)) == ["a", "b", "c", "d"]


def test_one_that_pauses_is_left_out_until_its_pause_is_over() -> None:
    paused = runner(1, "paused")
    paused.not_before_ns = 5 * S
    rota = Rota((runner(1, "well"), paused))
    assert names(rota, 1, now_ns=5 * S - 1) == ["well"]
    assert names(rota, 2, now_ns=5 * S) == ["well", "paused"]


def test_a_stretch_takes_effect_at_the_next_tick_and_so_does_its_end() -> None:
    one = runner(5)
    rota = Rota((one,))
    assert names(rota, 5)
    one.stretch = 4
    assert [second for second in range(6, 41) if names(rota, second)] == [20, 40]
    one.stretch = 1
    assert [second for second in range(41, 51) if names(rota, second)] == [45, 50]


def test_a_lane_that_goes_on_with_some_of_them_loses_no_multiple_in_between() -> None:
    kept, lost = runner(10, "kept"), runner(10, "lost")
    rota = Rota((kept, lost))
    assert names(rota, 9) == []
    rest = rota.of((kept,))
    assert names(rest, 11) == ["kept"]  # the tick at 10 never came
    assert names(rest, 12) == []
    assert rest.members == {kept}


@given(
    intervals=st.lists(
        st.tuples(st.sampled_from([1, 2, 5, 10, 60]), st.sampled_from([1, 2, 4, 16])), max_size=6
    ),
    steps=st.lists(st.integers(1, 70), min_size=1, max_size=30),
)
def test_it_agrees_with_counting_every_second(
    intervals: list[tuple[int, int]], steps: list[int]
) -> None:
    runners = [runner(each, str(n), stretch) for n, (each, stretch) in enumerate(intervals)]
    rota = Rota(tuple(runners))
    rota.due(T0, 0)
    second = 0
    for step in steps:
        passed = range(second + 1, second + step + 1)
        second += step
        expected = {
            str(n)
            for n, (each, stretch) in enumerate(intervals)
            if any((T0 // S + moment) % (each * stretch) == 0 for moment in passed)
        }
        assert set(names(rota, second)) == expected
