"""Collector zram: disks in use, limits that are none, writes that found no memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.zram import LOOK_EVERY, Zram, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Zram]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Zram, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Zram)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    names = [f"sys/block/zram0/{name}" for name in ("initstate", "mm_stat", "io_stat")]
    assert_survives(data, Zram, "recorded", names)


def disk(here: Any, mm_stat: bytes, name: str = "zram0", size: int = 1) -> None:
    here.write(f"sys/block/{name}/initstate", b"%d\n" % size)
    here.write(f"sys/block/{name}/mm_stat", mm_stat)
    here.write(f"sys/block/{name}/io_stat", b"       0        0 0        0\n")


def test_a_host_where_zram_is_loaded_but_not_used_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Zram)
    with pytest.raises(Unavailable, match="no compressed disk"):
        here.collector.probe()
    disk(here, b"0 0 0 0 0 0 0 0 0\n", size=0)
    with pytest.raises(Unavailable, match="no compressed disk"):
        here.collector.probe()
    disk(here, b"0 0 0 0 0 0 0 0 0\n")
    here.collector.probe()


def test_without_a_limit_there_is_no_share_of_it(stage: Callable[..., Any]) -> None:
    here = stage(Zram)
    disk(here, b"  8192  100 12288   0 0 0 0\n")
    assert here.values() == {
        "vedette.memory.zram.original{system.device=zram0}": 8192,
        "vedette.memory.zram.compressed{system.device=zram0}": 100,
        "vedette.memory.zram.usage{system.device=zram0}": 12288,
        "vedette.memory.zram.errors{system.device=zram0,disk.io.direction=read}": 0,
        "vedette.memory.zram.errors{system.device=zram0,disk.io.direction=write}": 0,
    }


def test_a_disk_that_came_later_is_found_at_the_next_look(stage: Callable[..., Any]) -> None:
    here = stage(Zram)
    disk(here, b"1 1 1 0\n")
    here.read()
    disk(here, b"1 1 1 0\n", "zram1")
    sizes = [len(here.read()) for _ in range(LOOK_EVERY)]
    assert (sizes[0], sizes[-1]) == (5, 10)


def test_a_disk_that_is_gone_is_silent(stage: Callable[..., Any]) -> None:
    here = stage(Zram)
    disk(here, b"1 1 1 0\n")
    here.read()
    for path in (here.folder / "sys/block/zram0").iterdir():
        path.unlink()
    assert here.read() == []


def test_only_failures_and_a_limit_that_is_near_can_raise_a_finding() -> None:
    assert {one.name for one in Zram.instruments() if one.alarm != "never"} == {
        "vedette.memory.zram.errors",
        "vedette.memory.zram.utilization",
    }


def test_this_host_reads_as_its_files_say(read_here: Callable[..., dict[str, float]]) -> None:
    used = [
        path.parent.name
        for path in Path("/sys/block").glob("zram*/initstate")
        if path.read_text().strip() == "1"
    ]
    if not used:
        pytest.skip("no zram disk is in use here")
    mine = read_here(Zram)
    limits = [int(Path(f"/sys/block/{one}/mm_stat").read_text().split()[3]) for one in used]
    assert sum(1 for key in mine if ".original{" in key) == len(used)
    assert sum(value for key, value in mine.items() if ".limit{" in key) == sum(limits)
