"""What a collector yields becomes a Frame, or is dropped and counted."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import (
    Collector,
    Event,
    Instrument,
    NoConfig,
    Record,
    Sample,
    Series,
    Usage,
    counter,
    gauge,
)
from vedette.lanes.reading import BESIDE_MAX, Late, Reader, printable, reason_of

TICK = 1_700_000_000_000_000_000
STRAY = gauge("test.stray", "1", "Never declared.")


class Scripted(Collector):
    """Yields whatever the test says."""

    name = "scripted"
    load = gauge("test.load", "1", "A load.", ["cpu"])
    total = counter("test.total", "1", "A total.")

    def __init__(self, script: Callable[[], Iterable[Any]]) -> None:
        super().__init__(NoConfig())
        self.script = script

    def collect(self) -> Iterable[Any]:
        return self.script()


def reader(
    script: Callable[[], Iterable[Any]],
    *,
    max_series: int = 100,
    now: Callable[[], int] = lambda: 0,
) -> Reader:
    source = Scripted(script)
    return Reader(
        source, source.instruments(), name="scripted", max_series=max_series, monotonic_ns=now
    )


def read(one: Reader) -> Any:
    return one.read(TICK, 5, 10)


def test_a_tick_becomes_a_frame() -> None:
    usage = Usage("cpu", "process", "stress", "1", 0.9, "90 %")
    got = read(reader(lambda: [Scripted.load(1, "0"), usage, Scripted.total(math.nan)]))
    assert got.frame.collector == "scripted"
    assert (got.frame.tick_ns, got.frame.read_ns) == (TICK, 5)
    assert got.frame.series == (Scripted.load.series("0"), Scripted.total.series())
    assert isinstance(got.frame.values, array)
    assert got.frame.values[0] == 1.0
    assert math.isnan(got.frame.values[1])
    assert got.frame.usages == (usage,)
    assert (got.invalid, got.duplicates, got.cut) == (0, 0, 0)


@pytest.mark.parametrize(
    "junk",
    [
        None,
        ("test.load", 1.0),
        STRAY(1.0),
        Scripted.load(math.inf, "0"),
        Scripted.load(-math.inf, "0"),
        Scripted.load(True, "0"),
        Scripted.load("7", "0"),  # type: ignore[arg-type]
        Scripted.load(10**400, "0"),
        Sample(Series(Scripted.load, ()), 1.0),
        Sample(None, 1.0),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_what_is_no_valid_sample_is_dropped_and_counted(junk: object) -> None:
    got = read(reader(lambda: [Scripted.total(3.0), junk]))
    assert got.frame.series == (Scripted.total.series(),)
    assert got.invalid == 1


def test_the_series_are_the_same_object_while_their_set_stays() -> None:
    order = ["0", "1", "2"]
    one = reader(lambda: [Scripted.load(float(cpu), cpu) for cpu in order])
    first = read(one).frame
    assert read(one).frame.series is first.series
    order.reverse()
    turned = read(one).frame
    assert turned.series is first.series
    assert list(turned.values) == [0.0, 1.0, 2.0]
    order.remove("1")
    fewer = read(one).frame
    assert [series.values for series in fewer.series] == [("2",), ("0",)]
    assert list(fewer.values) == [2.0, 0.0]


def test_an_equal_series_made_anew_is_the_same_series() -> None:
    one = reader(lambda: [Sample(Series(Scripted.load, ("0",)), 2.0)])
    assert read(one).frame.series is read(one).frame.series


def test_of_a_series_read_twice_the_last_value_wins_and_it_is_counted() -> None:
    one = reader(lambda: [Scripted.load(1.0, "0"), Scripted.total(5.0), Scripted.load(2.0, "0")])
    for _ in range(2):
        got = read(one)
        assert list(got.frame.values) == [2.0, 5.0]
        assert got.duplicates == 1


def test_what_is_over_the_most_series_is_cut_off_and_counted() -> None:
    got = read(reader(lambda: (Scripted.load(0.0, str(n)) for n in range(17)), max_series=10))
    assert len(got.frame.series) == 10
    assert (got.cut, got.invalid, got.duplicates) == (7, 0, 0)


def test_behind_what_is_cut_off_known_series_and_suspects_are_still_taken() -> None:
    suspect = Usage("cpu", "process", "x", "1", 0.1, "")
    rows = [*(Scripted.load(0.0, str(n)) for n in range(12)), Scripted.load(2.0, "3"), suspect]
    got = read(reader(lambda: rows, max_series=10))
    assert got.frame.values[3] == 2.0
    assert got.frame.usages == (suspect,)
    assert (got.cut, got.duplicates) == (2, 1)


def test_a_generator_without_an_end_is_cut_at_the_cap() -> None:
    closed = []

    def endless() -> Iterator[Sample]:
        try:
            for n in range(10**9):
                yield Scripted.load(0.0, str(n))
        finally:
            closed.append(True)

    got = read(reader(endless, max_series=10))
    assert got.cut == 10  # as many again, then it is not asked for more
    assert closed == [True]


def test_a_generator_that_repeats_itself_for_ever_is_cut_at_the_deadline() -> None:
    clock = iter(range(10**9))

    def endless() -> Iterator[Sample]:
        while True:
            yield Scripted.total(1.0)

    with pytest.raises(Late):
        read(reader(endless, now=lambda: next(clock)))


def test_suspects_are_bounded() -> None:
    usage = Usage("cpu", "process", "x", "1", 0.1, "")
    got = read(reader(lambda: [usage] * (BESIDE_MAX[Usage] + 5)))
    assert len(got.frame.usages) == BESIDE_MAX[Usage]
    assert got.invalid == 5


def test_an_exception_in_the_middle_loses_the_tick_but_not_the_series() -> None:
    broken = False

    def script() -> Iterator[Sample]:
        yield Scripted.total(1.0)
        if broken:
            raise OSError("gone")
        yield Scripted.load(1.0, "0")

    one = reader(script)
    first = read(one).frame
    broken = True
    with pytest.raises(OSError, match="gone"):
        read(one)
    broken = False
    assert read(one).frame.series is first.series


def test_an_instrument_of_the_same_meaning_counts_as_declared() -> None:
    twin = Instrument("test.total", "counter", "1", "Other words.")
    assert read(reader(lambda: [twin(1.0)])).invalid == 0


def test_a_reason_is_one_printable_line() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert reason_of(ValueError("bad\x1b[31m value\nsecond line")) == "ValueError: bad?[31m value"
    assert reason_of(KeyError()) == "KeyError"
    assert reason_of(MuteError()) == "MuteError"
    assert len(printable("x" * 1000)) == 200


def test_series_that_are_no_longer_read_are_not_kept() -> None:
    passing = gauge("test.passing", "1", "A value.", ["n"])

    class Passing(Collector):
        name = "passing"
        value = passing
        at = 0

        def collect(self) -> Iterable[Sample]:
            self.at += 1
            return [passing(1.0, f"{self.at // 3}-{n}") for n in range(10)]

    one = Reader(
        Passing(NoConfig()), [passing], name="passing", max_series=100, monotonic_ns=lambda: 0
    )
    for _ in range(300):
        read(one)
    assert len(passing._series) == 10


ITEMS = st.one_of(
    st.builds(
        Scripted.load,
        st.one_of(st.floats(), st.integers(-3, 3), st.sampled_from([10**400, True, "7", 1 << 63])),
        st.sampled_from("0123"),
    ),
    st.builds(Scripted.total, st.floats(0, 10)),
    st.sampled_from([None, STRAY(1.0), Usage("cpu", "process", "stress", "1", 0.9, "90 %")]),
    st.sampled_from(
        [Event(TICK, "deploy", "shop", "v2 came"), Record("test.told", TICK, "A word.")]
    ),
)


@given(st.lists(st.lists(ITEMS, max_size=8), max_size=4), st.lists(ITEMS, max_size=8))
def test_what_came_before_changes_only_the_order(before: list[list[Any]], last: list[Any]) -> None:
    ticks = iter([*before, last])
    seasoned = reader(lambda: next(ticks), max_series=3)
    for _ in before:
        read(seasoned)
    got, fresh = read(seasoned), read(reader(lambda: last, max_series=3))

    def told(reading: Any) -> Any:
        values = map(repr, reading.frame.values)
        series = dict(zip(reading.frame.series, values, strict=True))
        frame = reading.frame
        beside = frame.usages, frame.events, frame.records
        return series, beside, reading.invalid, reading.duplicates, reading.cut

    assert told(got) == told(fresh)


def test_readings_that_come_as_before_are_held_to_the_deadline() -> None:
    numbers = [str(number) for number in range(300)]
    clock = iter([0, 99])
    source = reader(
        lambda: [Scripted.load(1, one) for one in numbers],
        max_series=300,
        now=lambda: next(clock),
    )
    read(source)
    with pytest.raises(Late):
        read(source)


def test_what_happened_and_what_is_told_of_it_come_with_the_readings() -> None:
    event, record = Event(TICK, "deploy", "shop", "v2 came"), Record("test.told", TICK, "A word.")
    got = read(reader(lambda: [event, Scripted.load(1, "0"), record, event]))
    assert got.frame.events == (event, event)
    assert got.frame.records == (record,)
    assert list(got.frame.values) == [1.0]
    assert got.invalid == 0
    many = read(reader(lambda: [event] * (BESIDE_MAX[Event] + 3)))
    assert len(many.frame.events) == BESIDE_MAX[Event]
    assert many.invalid == 3
