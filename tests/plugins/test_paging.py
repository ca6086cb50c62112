"""Collector paging: swap, faults and out-of-memory kills."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.paging import Paging, register_collectors

CASES = Path(__file__).parent.parent / "fixtures" / "paging"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Paging]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Paging, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Paging)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Paging, "swapping", ["proc/vmstat", "proc/meminfo"])


def test_a_host_without_swap_has_no_swap_series(stage: Callable[..., Any]) -> None:
    here = stage(Paging)
    here.write("proc/meminfo", b"MemTotal: 9 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    here.write("proc/vmstat", b"pswpin 0\npswpout 0\npgfault 5\npgmajfault 1\noom_kill 0\n")
    read = here.values()
    assert not [key for key in read if "usage" in key or "utilization" in key]
    assert read["system.paging.faults{system.paging.fault.type=minor}"] == 4


def test_swap_added_to_a_host_without_is_found_within_ten_readings(
    stage: Callable[..., Any],
) -> None:
    here = stage(Paging)
    here.write("proc/vmstat", b"pswpin 0\n")
    here.write("proc/meminfo", b"SwapTotal: 0 kB\nSwapFree: 0 kB\n")
    here.read()
    here.write("proc/meminfo", b"SwapTotal: 8 kB\nSwapFree: 6 kB\n")
    key = "system.paging.usage{system.paging.state=used}"
    seen = [here.values().get(key) for _ in range(12)]
    assert seen == [None] * 9 + [2048] * 3


def test_a_table_longer_than_one_read_is_read_whole(stage: Callable[..., Any]) -> None:
    here = stage(Paging)
    here.write("proc/meminfo", b"SwapTotal: 0 kB\n")
    filler = b"".join(b"nr_filler_%d 1\n" % line for line in range(5000))
    here.write("proc/vmstat", filler + b"oom_kill 3\n")
    assert here.values()["vedette.memory.oom_kills"] == 3
    assert here.values()["vedette.memory.oom_kills"] == 3


def test_stalls_and_kills_and_swapping_are_what_can_raise_a_finding(
    stage: Callable[..., Any],
) -> None:
    here = stage(Paging)
    here.write("proc/meminfo", b"SwapTotal: 4 kB\nSwapFree: 4 kB\n")
    here.write("proc/vmstat", (CASES / "pressure" / "1" / "proc" / "vmstat").read_bytes())
    loud = {s.series.instrument.name for s in here.read() if s.series.instrument.alarm != "never"}
    assert loud == {
        "system.paging.operations",
        "vedette.memory.oom_kills",
        "vedette.memory.allocation.stalls",
    }


def test_counts_per_zone_are_added_up(stage: Callable[..., Any]) -> None:
    here = stage(Paging)
    here.write("proc/meminfo", b"")
    here.write("proc/vmstat", b"allocstall_dma32 4\nallocstall_normal 30\nallocstall_movable 200\n")
    assert here.values() == {"vedette.memory.allocation.stalls": 234}


def test_direct_reclaim_that_was_throttled_is_no_page_scanned(stage: Callable[..., Any]) -> None:
    here = stage(Paging)
    here.write("proc/meminfo", b"")
    here.write("proc/vmstat", b"pgscan_direct 7\npgscan_direct_throttle 100\n")
    key = "vedette.memory.reclaim.scanned{vedette.memory.reclaim.by=direct}"
    assert here.values() == {key: 7}


def test_a_balloon_that_never_moved_has_no_series(stage: Callable[..., Any]) -> None:
    here = stage(Paging)
    here.write("proc/meminfo", b"")
    here.write("proc/vmstat", b"balloon_inflate 0\nballoon_deflate 0\nzswpin 0\nzswpout 0\n")
    assert here.values() == {}
    here.write("proc/vmstat", b"balloon_inflate 8\nballoon_deflate 0\nzswpin 0\nzswpout 0\n")
    key = "vedette.memory.balloon.pages{vedette.memory.balloon.direction=inflate}"
    assert here.values() == {key: 8}


def test_a_kernel_that_counts_more_from_now_on_is_read_anew(stage: Callable[..., Any]) -> None:
    here = stage(Paging)
    here.write("proc/meminfo", b"")
    here.write("proc/vmstat", b"oom_kill 1\ncompact_stall 2\n")
    assert len(here.values()) == 2
    here.write("proc/vmstat", b"oom_kill 1\ncompact_stall 2\nthp_split_page 3\n")
    assert here.values()["vedette.memory.transparent_hugepages.splits"] == 3


def test_a_missing_file_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="vmstat: No such file"):
        stage(Paging).collector.probe()


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    mine, theirs = read_here(Paging), psutil.swap_memory()
    key = "system.paging.usage{system.paging.state=used}"
    assert mine.get(key, 0) == pytest.approx(theirs.used, abs=64 * 2**20)


def test_this_hosts_numbers_are_those_of_its_lines(
    read_here: Callable[..., dict[str, float]],
) -> None:
    lines = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    mine = read_here(Paging)
    after = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    for key, name, factor in (
        ("vedette.paging.io{system.paging.direction=out}", "pgpgout", 1024),
        ("vedette.memory.compaction.stalls", "compact_stall", 1),
        ("vedette.memory.cache_drops", "drop_pagecache", 1),
    ):
        if name in lines:
            assert int(lines[name]) * factor <= mine[key] <= int(after[name]) * factor, key
