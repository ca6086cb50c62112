"""Collector raid: what each member counts as, and how far a rebuild is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.raid import Raid, arrays, member_state, register_collectors, share


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Raid]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Raid, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Raid)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    md = "sys/block/md127/md"
    attributes = ("array_state", "degraded", "raid_disks", "sync_action", "sync_completed")
    members = (f"{md}/dev-nvme0n1p3/state", f"{md}/dev-nvme1n1p3/errors")
    names = ["proc/mdstat", *(f"{md}/{name}" for name in attributes), f"{md}/level", *members]
    assert_survives(data, Raid, "failing", [*names, f"{md}/mismatch_cnt", f"{md}/sync_speed"])


def test_a_host_without_arrays_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Raid)
    with pytest.raises(Unavailable, match="cannot read"):
        here.collector.probe()
    here.write("proc/mdstat", b"Personalities : \nunused devices: <none>\n")
    with pytest.raises(Unavailable, match="no software RAID array"):
        here.collector.probe()


def test_the_table_of_a_real_host_names_its_arrays() -> None:
    text = (
        b"Personalities : [raid1] [raid6]\n"
        b"md9 : active raid1 sdc2[2] sdd2[3]\n"
        b"      523968 blocks super 1.2 [4/4] [UUUU]\n\tresync=DELAYED\n\n"
        b"md11 : active (auto-read-only) raid1 sdb2[0] sdc2[1]\n"
        b"md_home : inactive sdb[2](S)\n"
        b"unused devices: <none>\n"
    )
    assert arrays(text) == ["md9", "md11", "md_home"]


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        (b"in_sync", "active"),
        (b"in_sync,write_mostly,failfast", "active"),
        (b"faulty,in_sync", "failed"),
        (b"faulty", "failed"),
        (b"blocked,faulty", "failed"),
        (b"spare", "spare"),
        (b"spare,replacement", "spare"),
        (b"in_sync,journal", ""),
        (b"", ""),
        (b"in_synchrony", ""),
    ],
)
def test_a_member_is_what_its_flags_say(flags: bytes, state: str) -> None:
    assert member_state(flags) == state


@pytest.mark.parametrize(
    ("completed", "done"),
    [
        (b"1569888 / 2093056", 1569888 / 2093056),
        (b"0 / 4", 0.0),
        (b"4 / 4", 1.0),
        (b"none", None),
        (b"delayed", None),
        (b"5 / 4", None),
        (b"0 / 0", None),
        (b"-1 / 4", None),
        (b"1 / 2 / 3", None),
    ],
)
def test_progress_is_the_share_of_sectors_done(completed: bytes, done: float | None) -> None:
    assert share(completed) == done


def test_an_array_that_is_stopped_ends_and_others_go_on(stage: Callable[..., Any]) -> None:
    here = stage(Raid)
    for name in ("md0", "md1"):
        here.write(f"sys/block/{name}/md/raid_disks", b"2\n")
        here.write(f"sys/block/{name}/md/degraded", b"0\n")
    here.write("proc/mdstat", b"md0 : active raid1\nmd1 : active raid1\n")
    assert {one.series.values[0] for one in here.read()} == {"md0", "md1"}
    here.write("proc/mdstat", b"md1 : active raid1\n")
    assert {one.series.values[0] for one in here.read()} == {"md1"}


def test_a_mismatch_concerns_a_person_only_where_there_is_parity(stage: Callable[..., Any]) -> None:
    here = stage(Raid)
    for name, level in (("md0", b"raid1\n"), ("md1", b"raid6\n")):
        here.write(f"sys/block/{name}/md/raid_disks", b"2\n")
        here.write(f"sys/block/{name}/md/level", level)
        here.write(f"sys/block/{name}/md/mismatch_cnt", b"8\n")
    here.write("proc/mdstat", b"md0 : active raid1\nmd1 : active raid6\n")
    found = [one for one in here.read() if one.series.instrument.name == "vedette.raid.mismatch"]
    assert [(one.value, one.series.instrument.alarm) for one in found] == [
        (4096, "never"),
        (4096, "high"),
    ]
