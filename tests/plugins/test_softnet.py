"""Collector softnet: sums over CPUs, which come and go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.softnet import Softnet, parse, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Softnet]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Softnet, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Softnet)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Softnet, "cpu-off", ["proc/self/net/softnet_stat"])


PROCESSED = "vedette.softnet.processed"


def table(*rows: dict[int, int], columns: int = 15) -> bytes:
    lines = [b" ".join(b"%08x" % row.get(at, 0) for at in range(columns)) for row in rows]
    return b"".join(line + b"\n" for line in lines)


def test_a_cpu_that_is_switched_off_and_on_makes_no_leap(stage: Callable[..., Any]) -> None:
    here = stage(Softnet)
    seen = []
    first, second = {0: 100, 12: 0}, {0: 5000, 12: 1}
    for rows in ((first, second), (first,), ({0: 130, 12: 0},), ({0: 140, 12: 0}, second)):
        here.write("proc/self/net/softnet_stat", table(*rows))
        seen.append(here.values()[PROCESSED])
    assert seen == [5100, 5100, 5130, 5130]


def test_another_cpu_in_the_place_of_one_makes_no_leap(stage: Callable[..., Any]) -> None:
    here = stage(Softnet)
    here.write("proc/self/net/softnet_stat", table({0: 100, 12: 0}, {0: 5, 12: 1}))
    assert here.values()[PROCESSED] == 105
    here.write("proc/self/net/softnet_stat", table({0: 100, 12: 0}, {0: 9000, 12: 2}))
    assert here.values()[PROCESSED] == 105
    here.write("proc/self/net/softnet_stat", table({0: 100, 12: 0}, {0: 9001, 12: 2}))
    assert here.values()[PROCESSED] == 106


def test_a_garbled_line_costs_itself_and_no_other() -> None:
    good = table({0: 7}, {0: 8})
    for bad in (b"x" * 134, b"0" * 134, b" " * 134, b"\xff" * 134, b"1 2", b""):
        values, columns = parse(good + bad + b"\n")
        assert (values[::columns], columns) == ((7, 8), 15)


def test_a_line_cut_off_is_left_out() -> None:
    values, columns = parse(table({0: 7}, {0: 8})[:-20])
    assert (values[::columns], columns) == ((7,), 15)


def test_older_kernels_have_fewer_columns(stage: Callable[..., Any]) -> None:
    here = stage(Softnet)
    here.write("proc/self/net/softnet_stat", table({0: 3, 1: 4, 2: 5}, {0: 6}, columns=9))
    assert here.values() == {
        PROCESSED: 9,
        "vedette.softnet.dropped": 4,
        "vedette.softnet.time_squeezed": 5,
    }


def test_what_is_no_table_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Softnet)
    for text in (b"", b"none\n", b"\n", b"00000001\n"):
        here.write("proc/self/net/softnet_stat", text)
        with pytest.raises(Unavailable, match="no table of counters"):
            here.collector.probe()


def test_this_host_reads_as_its_lines_add_up(read_here: Callable[..., dict[str, float]]) -> None:
    mine = read_here(Softnet)
    rows = [line.split() for line in Path("/proc/net/softnet_stat").read_text().splitlines()]
    for at, name in enumerate(("processed", "dropped", "time_squeezed")):
        theirs = sum(int(row[at], 16) for row in rows)
        assert mine[f"vedette.softnet.{name}"] == pytest.approx(theirs, rel=0.05, abs=500)
