"""Collector disk: which devices count, waits that are worth telling, and counts that wrap."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins import disk
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


def test_the_wait_is_the_time_of_the_tick_over_its_operations(stage: Callable[..., Any]) -> None:
    here = stage(Disk)
    here.write("sys/block/sda/dev", b"8:0\n")
    here.write("proc/diskstats", b"8 0 sda 100 0 800 50 200 0 1600 90 0 10 140\n")
    here.read()
    here.write("proc/diskstats", b"8 0 sda 120 0 960 150 210 0 1680 240 7 500 640\n")
    read = here.values(after_s=2.0)
    # 100 ms for 20 reads, 150 ms for 10 writes, 500 ms of waiting in 2 s.
    wait = "vedette.disk.operation.wait{system.device=sda,disk.io.direction=%s}"
    assert read[wait % "read"] == pytest.approx(0.005)
    assert read[wait % "write"] == pytest.approx(0.015)
    assert read["vedette.disk.queue.length{system.device=sda}"] == pytest.approx(0.25)
    assert read["vedette.disk.pending{system.device=sda}"] == 7


def test_a_few_operations_tell_no_wait(stage: Callable[..., Any]) -> None:
    here = stage(Disk)
    here.write("sys/block/sda/dev", b"8:0\n")
    here.write("proc/diskstats", b"8 0 sda 100 0 800 50 200 0 1600 90 0 10 140\n")
    here.read()
    # One read that woke the disk and took eight seconds; nine writes.
    here.write("proc/diskstats", b"8 0 sda 101 0 808 8050 209 0 1672 99 0 8010 8149\n")
    assert not [key for key in here.values() if ".wait" in key]


@pytest.mark.parametrize(
    ("before", "now", "absent"),
    [
        (b"100 0 800 4294967290 200 0 1600 90", b"120 0 960 10 220 0 1760 190", "read"),
        (b"100 0 800 50 4294967290 0 1600 90", b"120 0 960 60 20 0 1760 190", "write"),
        (b"100 0 800 50 200 0 1600 4294967290", b"120 0 960 60 220 0 1760 5", "write"),
    ],
)
def test_a_count_that_wraps_gives_no_wait_for_that_tick(
    stage: Callable[..., Any], before: bytes, now: bytes, absent: str
) -> None:
    here = stage(Disk)
    here.write("sys/block/sda/dev", b"8:0\n")
    here.write("proc/diskstats", b"8 0 sda %s 0 10 4294967290\n" % before)
    here.read()
    here.write("proc/diskstats", b"8 0 sda %s 0 20 5\n" % now)
    read = here.values()
    waits = [key for key in read if ".wait" in key]
    assert len(waits) == 1
    assert f"direction={absent}" not in waits[0]
    assert "vedette.disk.queue.length{system.device=sda}" not in read
    assert read["vedette.disk.utilization{system.device=sda}"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("extra", "series"),
    [
        (b"", 0),
        (b" 0 0 0 0", 0),
        (b" 5 0 80 7", 3),
        (b" 5 0 80 7 0 0", 3),
        (b" 0 0 0 0 2 9", 2),
        (b" 5 0 80 7 2 9", 5),
        (b" 5 0 80 x 2 9", 0),
        (b" 5 0 80", 0),
        (b" 5 0 80 7 2", 3),
        (b" 5 0 80 7 -2 9", 3),
    ],
)
def test_discards_and_flushes_are_absent_until_there_are_some(
    stage: Callable[..., Any], extra: bytes, series: int
) -> None:
    here = stage(Disk)
    here.write("sys/block/sda/dev", b"8:0\n")
    here.write("proc/diskstats", b"8 0 sda 100 0 800 50 200 0 1600 90 0 10 140%s\n" % extra)
    read = here.values()
    found = {key: value for key, value in read.items() if "discard" in key or "flush" in key}
    assert len(found) == series
    if "vedette.disk.discard.io{system.device=sda}" in found:
        assert found["vedette.disk.discard.io{system.device=sda}"] == 80 * 512
        assert found["vedette.disk.discard.operations{system.device=sda}"] == 5
        assert found["vedette.disk.discard.time{system.device=sda}"] == pytest.approx(0.007)
    if "vedette.disk.flush.time{system.device=sda}" in found:
        assert found["vedette.disk.flush.time{system.device=sda}"] == pytest.approx(0.009)


def test_only_lines_that_changed_are_parsed(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    parse = disk.parse_counts

    def parse_counts(fields: list[bytes]) -> list[int] | None:
        parsed.append(fields[2])
        return parse(fields)

    here = stage(Disk)
    for name in ("sda", "sdb"):
        here.write(f"sys/block/{name}/dev", b"8:0\n")
    other = ROW.replace(b"sda", b"sdb")
    here.write("proc/diskstats", ROW % 1000 + other % 1000)
    first = here.values()
    monkeypatch.setattr(disk, "parse_counts", parse_counts)
    here.write("proc/diskstats", ROW % 1000 + other % 1200)
    second = here.values()
    assert parsed == [b"sdb"]
    assert second["vedette.disk.utilization{system.device=sda}"] == 0
    assert second["vedette.disk.queue.length{system.device=sda}"] == 0
    assert second["vedette.disk.utilization{system.device=sdb}"] == pytest.approx(0.2)
    assert {key: second[key] for key in first if "sda" in key} == {
        key: value for key, value in first.items() if "sda" in key
    }


def test_a_disk_that_is_pulled_and_put_back_begins_anew(stage: Callable[..., Any]) -> None:
    here = stage(Disk)
    for name in ("sda", "sdb"):
        here.write(f"sys/block/{name}/dev", b"8:0\n")
    both = ROW % 1000 + ROW.replace(b"sda", b"sdb") % 1000
    seen = []
    for text in (both, ROW % 1100, both, both):
        here.write("proc/diskstats", text)
        seen.append(
            {key for key in here.values() if "utilization" in key or "system.disk.io_" in key}
        )
    time, share = (
        "system.disk.io_time{system.device=%s}",
        "vedette.disk.utilization{system.device=%s}",
    )
    assert seen[0] == {time % "sda", time % "sdb"}
    assert seen[1] == {time % "sda", share % "sda"}
    assert seen[2] == {time % "sda", time % "sdb"}
    assert seen[3] == {time % "sda", time % "sdb", share % "sda", share % "sdb"}


LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A new loop device on a file, that has been read from; and what pulls it out."""
    file = tmp_path / "disk"
    file.write_bytes(bytes(1 << 20))
    try:
        control = os.open("/dev/loop-control", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no loop devices here: {error}")
    number = next((n for n in range(200, 256) if not Path(f"/sys/block/loop{n}").exists()), None)
    device = f"/dev/loop{number}"
    added = attached = False

    def pull() -> None:
        nonlocal added, attached
        if attached:
            subprocess.run(["losetup", "-d", device], check=True)
            attached = False
        if added:
            fcntl.ioctl(control, LOOP_CTL_REMOVE, number)
            added = False

    try:
        try:
            fcntl.ioctl(control, LOOP_CTL_ADD, number)
            added = True
            subprocess.run(["losetup", device, str(file)], check=True, capture_output=True)
            attached = True
            Path(device).read_bytes()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"cannot make a loop device: {error}")
        yield f"loop{number}", pull
    finally:
        pull()
        os.close(control)


def test_the_series_of_a_disk_that_is_pulled_out_end_and_others_go_on(
    plugged: tuple[str, Callable[[], None]],
) -> None:
    name, pull = plugged
    collector = Disk(Disk.Config(include=("loop*",)))

    def read() -> dict[str, float]:
        return {one.series.key: one.value for one in collector.collect()}

    try:
        before = read()
        pull()
        after = read()
    finally:
        collector.close()
    mine = f"system.device={name}"
    assert before[f"system.disk.io{{{mine},disk.io.direction=read}}"] == 1 << 20
    assert not [key for key in after if mine in key]
    assert {key for key in before if mine not in key} <= set(after)
