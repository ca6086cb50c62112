"""Collector disk: which devices count, and busy time that wraps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.disk import Disk, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Disk]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Disk, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Disk)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Disk, "mixed", ["proc/diskstats"])


ROW = b"8 0 sda 1000 0 8000 50 2000 0 16000 90 0 %d 150\n"


def test_a_busy_time_that_wraps_gives_no_utilization_for_that_tick(
    stage: Callable[..., Any],
) -> None:
    here = stage(Disk)
    here.write("sys/block/sda/dev", b"8:0\n")
    seen = []
    for busy_ms in (4294967000, 200, 700):
        here.write("proc/diskstats", ROW % busy_ms)
        seen.append(here.values().get("vedette.disk.utilization{system.device=sda}"))
    assert seen == [None, None, pytest.approx(0.5)]


def test_a_late_tick_is_measured_by_the_time_that_passed(stage: Callable[..., Any]) -> None:
    here = stage(Disk)
    here.write("sys/block/sda/dev", b"8:0\n")
    here.write("proc/diskstats", ROW % 1000)
    here.read()
    here.write("proc/diskstats", ROW % 2000)
    read = here.values(after_s=4.0)
    assert read["vedette.disk.utilization{system.device=sda}"] == pytest.approx(0.25)


def test_a_disk_plugged_in_later_is_found(stage: Callable[..., Any]) -> None:
    here = stage(Disk)
    here.write("sys/block/sda/dev", b"8:0\n")
    here.write("proc/diskstats", ROW % 1 + b"8 1 sda1 5 0 8 5 2 0 6 9 0 1 1\n")
    assert {one.series.values[0] for one in here.read()} == {"sda"}
    here.write("sys/block/sdb/dev", b"8:16\n")
    here.write("proc/diskstats", ROW % 1 + ROW.replace(b"sda", b"sdb") % 1)
    assert {one.series.values[0] for one in here.read()} == {"sda", "sdb"}


def test_partitions_do_not_make_it_list_the_disks_at_each_tick(
    stage: Callable[..., Any],
) -> None:
    here = stage(Disk)
    here.write("sys/block/sda/dev", b"8:0\n")
    part = b"8 %d sda%d 5 0 8 5 2 0 6 9 0 1 1\n"
    here.write("proc/diskstats", ROW % 1 + b"".join(part % (n, n) for n in range(1, 9)))
    here.read()
    (here.folder / "sys" / "block" / "sda" / "dev").unlink()
    (here.folder / "sys" / "block" / "sda").rmdir()
    (here.folder / "sys" / "block").rmdir()
    assert {one.series.values[0] for one in here.read()} == {"sda"}


def test_a_host_without_disks_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Disk)
    here.write("proc/diskstats", b"")
    with pytest.raises(Unavailable, match="no disk in use"):
        here.collector.probe()


def test_a_host_that_does_not_list_its_disks_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Disk)
    here.write("proc/diskstats", ROW % 1)
    with pytest.raises(Unavailable, match="cannot list"):
        here.collector.probe()


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    mine, theirs = read_here(Disk), psutil.disk_io_counters(perdisk=True)
    devices = {key.split("system.device=")[1].split(",")[0].rstrip("}") for key in mine}
    for device in devices:
        key = f"system.disk.io{{system.device={device},disk.io.direction=read}}"
        assert mine[key] == pytest.approx(theirs[device].read_bytes, rel=0.05)
