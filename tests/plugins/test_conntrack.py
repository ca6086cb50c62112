"""Collector conntrack: how full the table is, and columns found by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.conntrack import Conntrack, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Conntrack]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Conntrack, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Conntrack)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        Conntrack,
        "full",
        ["proc/self/net/stat/nf_conntrack", "proc/sys/net/netfilter/nf_conntrack_count"],
    )


COUNT, LIMIT = (f"proc/sys/net/netfilter/nf_conntrack_{name}" for name in ("count", "max"))


def test_more_connections_than_the_limit_are_a_share_of_one(stage: Callable[..., Any]) -> None:
    here = stage(Conntrack)
    here.write(COUNT, b"90\n")
    here.write(LIMIT, b"60\n")
    assert here.values()["vedette.conntrack.utilization"] == 1


def test_a_kernel_without_the_table_of_counters_still_tells_how_full_it_is(
    stage: Callable[..., Any],
) -> None:
    here = stage(Conntrack)
    here.write(COUNT, b"15\n")
    here.write(LIMIT, b"60\n")
    assert here.values() == {
        "vedette.conntrack.count": 15,
        "vedette.conntrack.limit": 60,
        "vedette.conntrack.utilization": 0.25,
    }


def test_counters_are_added_up_in_hexadecimal_by_the_name_of_their_column(
    stage: Callable[..., Any],
) -> None:
    here = stage(Conntrack)
    here.write(COUNT, b"1\n")
    here.write(
        "proc/self/net/stat/nf_conntrack",
        b"new early_drop  entries drop\n01 0a  05 10\n01 0b  05 ff\n01 0c 05\n",
    )
    read = here.values()
    assert read["vedette.conntrack.drops"] == 0x10 + 0xFF
    assert read["vedette.conntrack.early_drops"] == 0x0A + 0x0B
    assert "vedette.conntrack.invalid" not in read


def test_a_host_that_tracks_nothing_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Conntrack)
    with pytest.raises(Unavailable, match="not tracked"):
        here.collector.probe()
    here.write(COUNT, b"1\n")
    here.collector.probe()


def test_this_host_reads_as_its_files_say(read_here: Callable[..., dict[str, float]]) -> None:
    limit = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    if not limit.exists():
        pytest.skip("this kernel does not track connections")
    assert read_here(Conntrack)["vedette.conntrack.limit"] == int(limit.read_text())
