"""Collector btrfs: when metadata is really full, names of filesystems, devices that are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.btrfs import Btrfs, register_collectors

UUID = "cd172d31-a272-4f00-8db0-e7b4f13c66fb"
GIB = 1 << 30


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Btrfs]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Btrfs, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Btrfs)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    space = [f"allocation/{kind}/bytes_used" for kind in ("data", "metadata")]
    space += [f"allocation/metadata/{name}" for name in ("total_bytes", "disk_total")]
    devices = ("devinfo/1/missing", "devinfo/2/error_stats", "devices/loop0/size")
    names = ["label", "commit_stats", "allocation/global_rsv_size", *space, *devices]
    assert_survives(data, Btrfs, "recorded", [f"sys/fs/btrfs/{UUID}/{name}" for name in names])


def test_a_host_without_btrfs_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Btrfs)
    here.write("sys/fs/btrfs/features/raid1c34", b"0\n")
    with pytest.raises(Unavailable, match="no Btrfs is mounted"):
        here.collector.probe()


def lay(here: Any, used: int, total: int, on_disks: int, device: int, reserve: int) -> None:
    folder = f"sys/fs/btrfs/{UUID}"
    here.write(f"{folder}/label", b"root\n")
    here.write(f"{folder}/allocation/metadata/bytes_used", b"%d\n" % used)
    here.write(f"{folder}/allocation/metadata/total_bytes", b"%d\n" % total)
    here.write(f"{folder}/allocation/metadata/disk_total", b"%d\n" % on_disks)
    here.write(f"{folder}/allocation/global_rsv_size", b"%d\n" % reserve)
    here.write(f"{folder}/devices/sda/size", b"%d\n" % (device // 512))


@pytest.mark.parametrize(
    ("used", "total", "on_disks", "device", "reserve", "share"),
    [
        # All is allocated, and what is left is the reserve: full.
        (3 * GIB, 4 * GIB, 4 * GIB, 4 * GIB, GIB, 1.0),
        (2 * GIB, 4 * GIB, 4 * GIB, 4 * GIB, 0, 0.5),
        # The chunk is full, but there are four more on the device.
        (GIB, GIB, GIB, 5 * GIB, 0, 0.2),
        # Kept twice, six unallocated are three.
        (GIB, GIB, 2 * GIB, 8 * GIB, 0, 0.25),
    ],
)
def test_metadata_is_full_when_it_can_get_no_more(
    stage: Callable[..., Any],
    used: int,
    total: int,
    on_disks: int,
    device: int,
    reserve: int,
    share: float,
) -> None:
    here = stage(Btrfs)
    lay(here, used, total, on_disks, device, reserve)
    key = "vedette.btrfs.metadata.utilization{vedette.btrfs.filesystem=root}"
    assert here.values()[key] == pytest.approx(share)


def test_what_is_unallocated_is_not_told_while_a_device_is_missing(
    stage: Callable[..., Any],
) -> None:
    here = stage(Btrfs)
    lay(here, GIB, GIB, GIB, 5 * GIB, 0)
    key = "vedette.btrfs.unallocated{vedette.btrfs.filesystem=root}"
    seen = []
    for missing in (b"0\n", b"1\n", b"0\n"):
        here.write(f"sys/fs/btrfs/{UUID}/devinfo/1/missing", missing)
        seen.append(here.values().get(key))
    assert seen == [4 * GIB, None, 4 * GIB]


def test_filesystems_that_share_a_label_go_by_their_uuid(stage: Callable[..., Any]) -> None:
    here = stage(Btrfs)
    uuids = [UUID[:-1] + digit for digit in "abcd"]
    for uuid, label in zip(uuids, (b"one", b"two", b"two", b""), strict=True):
        here.write(f"sys/fs/btrfs/{uuid}/label", label + b"\n")
        here.write(f"sys/fs/btrfs/{uuid}/commit_stats", b"commits 1\n")
    assert [one.series.values[0] for one in here.read()] == ["one", *uuids[1:]]


def run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return done.stdout.strip()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A Btrfs of two mirrored loop devices."""
    if os.geteuid() != 0 or not shutil.which("mkfs.btrfs") or not shutil.which("losetup"):
        pytest.skip("needs root, mkfs.btrfs and losetup")
    point, loops, is_mounted = tmp_path / "mount", [], False
    point.mkdir()
    try:
        try:
            for name in ("one", "two"):
                with (tmp_path / name).open("wb") as file:
                    file.truncate(256 << 20)
                loops.append(run("losetup", "-f", "--show", str(tmp_path / name)))
            run("mkfs.btrfs", "-q", "-L", f"oracle{os.getpid()}", "-m", "raid1", *loops)
            run("mount", "-t", "btrfs", loops[0], str(point))
            is_mounted = True
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"cannot mount a Btrfs here: {error}")
        yield point
    finally:
        if is_mounted:
            run("umount", str(point))
        for loop in loops:
            run("losetup", "-d", loop)


def test_a_real_filesystem_reads_as_its_own_tool_reads_it(
    mounted: Path, read_here: Callable[..., dict[str, float]]
) -> None:
    (mounted / "file").write_bytes(os.urandom(8 << 20))
    run("btrfs", "filesystem", "sync", str(mounted))
    mine = read_here(Btrfs)
    theirs = {}
    for line in run("btrfs", "filesystem", "usage", "-b", str(mounted)).splitlines():
        key, _, rest = line.strip().partition(":")
        theirs[key] = rest.split()
    where = f"vedette.btrfs.filesystem=oracle{os.getpid()}"
    assert mine[f"vedette.btrfs.unallocated{{{where}}}"] == int(theirs["Device unallocated"][0])
    data = f"vedette.btrfs.usage{{{where},vedette.btrfs.kind=data,system.filesystem.state=used}}"
    assert mine[data] >= 8 << 20
    assert mine[f"vedette.btrfs.devices.missing{{{where}}}"] == 0
    assert sum(key.startswith("vedette.btrfs.device.errors") and where in key for key in mine) == 10
    assert mine[f"vedette.btrfs.commits{{{where}}}"] >= 1
