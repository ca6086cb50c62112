"""Collector neighbours: how full the tables of hardware addresses are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.neighbours import Neighbours, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Neighbours]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Neighbours, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Neighbours)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        Neighbours,
        "full",
        ["proc/self/net/stat/arp_cache", "proc/sys/net/ipv4/neigh/default/gc_thresh3"],
    )


TABLE, LIMIT = "proc/self/net/stat/arp_cache", "proc/sys/net/ipv4/neigh/default/gc_thresh3"
STAT = b"entries  res_failed table_fulls\n%08x 00000001 00000002\n%08x 00000003 0000000f\n"
SHARE = "vedette.neighbours.utilization{network.type=ipv4}"


def test_the_entries_are_of_the_whole_table_on_every_line(stage: Callable[..., Any]) -> None:
    here = stage(Neighbours)
    here.write(TABLE, STAT % (16, 16))
    here.write(LIMIT, b"64\n")
    assert here.values() == {
        "vedette.neighbours.entries{network.type=ipv4}": 16,
        "vedette.neighbours.limit{network.type=ipv4}": 64,
        SHARE: 0.25,
        "vedette.neighbours.overflows{network.type=ipv4}": 17,
        "vedette.neighbours.failures{network.type=ipv4}": 4,
    }


def test_more_entries_than_the_limit_are_a_share_of_one(stage: Callable[..., Any]) -> None:
    here = stage(Neighbours)
    here.write(TABLE, STAT % (65, 65))
    here.write(LIMIT, b"64\n")
    assert here.values()[SHARE] == 1


def test_a_limit_that_is_raised_is_noticed(stage: Callable[..., Any]) -> None:
    here = stage(Neighbours)
    here.write(TABLE, STAT % (32, 32))
    here.write(LIMIT, b"64\n")
    here.read()
    here.write(LIMIT, b"128\n")
    seen = [here.values()[SHARE] for _ in range(61)]
    assert (seen[0], seen[-1]) == (0.5, 0.25)


def test_what_is_no_table_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Neighbours)
    with pytest.raises(Unavailable, match="arp_cache"):
        here.collector.probe()
    here.write(TABLE, b"")
    with pytest.raises(Unavailable, match="no table of counters"):
        here.collector.probe()


def test_this_host_knows_at_least_the_neighbours_it_lists(
    read_here: Callable[..., dict[str, float]],
) -> None:
    if not Path("/proc/net/stat/arp_cache").exists():
        pytest.skip("this kernel has no such table")
    listed = len(Path("/proc/net/arp").read_text().splitlines()) - 1
    assert read_here(Neighbours)["vedette.neighbours.entries{network.type=ipv4}"] >= listed
