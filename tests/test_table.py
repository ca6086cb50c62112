"""The table of all series: rates, gaps, caps, expiry, the ring."""

from __future__ import annotations

import math
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.api import Frame, Instrument, Series, counter, gauge
from vedette.table import SeriesTable

S = 1_000_000_000
LEVEL = gauge("test.level", "1", "A level.", ("which",))
TOTAL = counter("test.total", "By", "A total.", ("which",))


def frame(
    tick: int, readings: dict[Series, float], collector: str = "test", read_ns: int | None = None
) -> Frame:
    return Frame(
        collector=collector,
        tick_ns=tick * S,
        read_ns=tick * S if read_ns is None else read_ns,
        series=tuple(readings),
        values=array("d", readings.values()),
    )


def column(table: SeriesTable, tick: int, readings: dict[Series, float]) -> dict[str, float]:
    table.put(frame(tick, readings))
    values = table.close_tick(tick * S)
    return {
        series.key: float(values[row])
        for series in readings
        if (row := table.row(series)) is not None
    }


def test_a_gauge_is_what_was_read_and_nan_where_it_was_not() -> None:
    table = SeriesTable()
    a, b = LEVEL.series("a"), LEVEL.series("b")
    assert column(table, 1, {a: 0.5, b: 2.0}) == {
        "test.level{which=a}": 0.5,
        "test.level{which=b}": 2.0,
    }
    table.put(frame(2, {a: 0.75}))
    values = table.close_tick(2 * S)
    assert values[table.row(a)] == 0.75
    assert math.isnan(values[table.row(b)])


def test_a_counter_becomes_a_rate_by_the_time_between_its_readings() -> None:
    table = SeriesTable()
    total = TOTAL.series("a")
    table.put(frame(1, {total: 100.0}, read_ns=1_000_000_000))
    first = table.close_tick(1 * S)
    table.put(frame(2, {total: 400.0}, read_ns=2_500_000_000))
    second = table.close_tick(2 * S)
    assert math.isnan(first[table.row(total)])
    assert second[table.row(total)] == 200.0
    assert table.totals[table.row(total)] == 400.0


@pytest.mark.parametrize(("before", "after"), [(1e6, 0.0), (2**32 - 10, 5.0), (2**64 - 1, 3.0)])
def test_a_counter_reset_or_wrap_is_a_gap_not_a_spike(before: float, after: float) -> None:
    table = SeriesTable()
    total = TOTAL.series("a")
    column(table, 1, {total: before})
    started = table.total_start_ns[table.row(total)]
    assert math.isnan(column(table, 2, {total: after})[total.key])
    assert column(table, 3, {total: after + 7})[total.key] == 7.0
    assert table.resets["test"] == 1
    assert started == 1 * S
    assert table.total_start_ns[table.row(total)] == 2 * S


def test_a_counter_not_read_for_minutes_has_no_rate_for_them() -> None:
    table = SeriesTable()
    total = TOTAL.series("a")
    column(table, 1, {total: 10.0})
    assert math.isnan(column(table, 200, {total: 5000.0})[total.key])
    assert column(table, 201, {total: 5003.0})[total.key] == 3.0


def test_a_counter_that_was_nan_once_goes_on_from_its_last_reading() -> None:
    table = SeriesTable()
    total = TOTAL.series("a")
    column(table, 1, {total: 10.0})
    assert math.isnan(column(table, 2, {total: math.nan})[total.key])
    assert column(table, 3, {total: 30.0})[total.key] == 10.0


def test_series_over_the_cap_are_refused_and_counted_and_the_others_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = SeriesTable(max_per_collector=3)
    readings = {LEVEL.series(str(i)): float(i) for i in range(5)}
    for tick in (1, 2):
        seen = column(table, tick, readings)
        assert seen == {f"test.level{{which={i}}}": float(i) for i in range(3)}
    assert len(table) == 3
    assert table.refused["test"] == 4
    assert [record.message for record in caplog.records].count(
        "too many series, new ones are refused collector=test has=3 cap=3"
    ) == 1
    table.put(frame(3, {LEVEL.series("x"): 1.0}, collector="other"))
    assert table.row(LEVEL.series("x")) is not None


def test_a_series_that_went_away_expires_and_its_row_is_used_again() -> None:
    table = SeriesTable(expire_ticks=5, capacity=2)
    a, b = LEVEL.series("a"), LEVEL.series("b")
    column(table, 1, {a: 1.0, b: 1.0})
    row = table.row(b)
    for tick in range(2, 10):
        column(table, tick, {a: 1.0})
    before = table.generation
    expired = table.expire()
    assert expired is not None
    assert expired.series == (b,)
    assert expired.rows.tolist() == [row]
    assert table.generation != before
    assert table.row(b) is None
    assert np.isnan(table.window().values[row]).all()
    c = LEVEL.series("c")
    column(table, 10, {a: 1.0, c: 3.0})
    assert table.row(c) == row
    assert table.expire() is None


def test_growing_keeps_what_was_there() -> None:
    table = SeriesTable(capacity=2)
    few = {LEVEL.series(str(i)): float(i) for i in range(2)}
    column(table, 1, few)
    many = {LEVEL.series(str(i)): float(i) for i in range(50)}
    column(table, 2, many)
    window = table.window()
    assert window.values.shape == (table.capacity, 2)
    assert window.values[table.row(LEVEL.series("1"))].tolist() == [1.0, 1.0]
    assert math.isnan(window.values[table.row(LEVEL.series("40")), 0])


def test_the_window_cannot_be_written() -> None:
    table = SeriesTable()
    column(table, 1, {LEVEL.series("a"): 1.0})
    with pytest.raises(ValueError, match="read-only"):
        table.window().values[0, 0] = 1.0


def test_a_value_beyond_float32_does_not_stop_the_tick() -> None:
    table = SeriesTable()
    assert column(table, 1, {LEVEL.series("a"): 1e308})["test.level{which=a}"] == 1e308


class Model:
    """The plainest table there is: dictionaries."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self.ticks: list[dict[Series, float]] = []
        self.last: dict[Series, tuple[int, float]] = {}

    def tick(self, tick: int, readings: dict[Series, float]) -> None:
        seen = {}
        for series, value in readings.items():
            if series.instrument.kind == "counter":
                if series in self.last:
                    then, before = self.last[series]
                    if value >= before and tick - then <= 120:
                        seen[series] = (value - before) / (tick - then)
                self.last[series] = (tick, value)
            else:
                seen[series] = value
        self.ticks = [*self.ticks, seen][-self.kept :]


SERIES = [Series(one, (str(i),)) for i in range(4) for one in (LEVEL, TOTAL)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(SERIES), st.integers(0, 1000).map(float), max_size=8),
        min_size=1,
        max_size=60,
    )
)
def test_the_ring_holds_what_a_plain_model_holds(ticks: list[dict[Series, float]]) -> None:
    table, model = SeriesTable(ticks=20, capacity=2), Model(20)
    for tick, readings in enumerate(ticks, start=1):
        table.put(frame(tick, readings))
        table.close_tick(tick * S)
        model.tick(tick, readings)
    window = table.window()
    assert window.time.tolist() == [
        (len(ticks) - len(model.ticks) + i + 1) * S for i in range(len(model.ticks))
    ]
    for series in SERIES:
        row = table.row(series)
        for index, expected in enumerate(model.ticks):
            value = math.nan if row is None else float(window.values[row, index])
            wanted = expected.get(series, math.nan)
            assert value == pytest.approx(wanted, nan_ok=True)


def test_a_frame_with_the_same_tuple_of_series_costs_no_lookup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = SeriesTable()
    first = frame(1, {LEVEL.series("a"): 1.0})
    table.put(first)

    def fail(self: Instrument) -> int:
        raise AssertionError("a series was looked up")

    monkeypatch.setattr(Instrument, "__hash__", fail)
    table.put(Frame("test", 2 * S, 2 * S, first.series, array("d", [2.0])))
    assert np.nanmax(table.close_tick(2 * S)) == 2.0
