"""Collector filesystem: which mounts count, and what df would say."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Host, Unavailable
from vedette_plugins.filesystem import Filesystem, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Filesystem]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Filesystem, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Filesystem)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Filesystem, "server", ["proc/self/mounts", "proc/filesystems"])


TYPES = b"nodev\ttmpfs\n\text4\n\tsquashfs\n\tfuseblk\n"


def points(reading: list[Any]) -> set[str]:
    return {one.series.values[1] for one in reading}


def full(path: bytes) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 100, 5, 0, 10, 1, 1, 0, 255))


def test_a_mount_that_may_hang_is_never_asked(stage: Callable[..., Any]) -> None:
    here = stage(Filesystem)
    asked = []
    here.collector.statvfs = lambda path: (asked.append(path), full(path))[1]
    here.write("proc/filesystems", TYPES + b"\tgfs2\n")
    here.write(
        "proc/self/mounts",
        b"".join(
            b"/dev/x%d /m/%s %s rw 0 0\n" % (at, kind, kind)
            for at, kind in enumerate(
                (b"nfs", b"nfs4", b"cifs", b"smb3", b"fuse.sshfs", b"fuseblk", b"ceph", b"gfs2")
            )
        )
        + b"/dev/sda1 / ext4 rw 0 0\n",
    )
    here.read()
    assert asked == [b"/"]


def test_an_asked_for_mount_is_read_whatever_its_type(stage: Callable[..., Any]) -> None:
    here = stage(Filesystem, include=["/mnt/*"], exclude=["/"])
    here.collector.statvfs = full
    here.write("proc/filesystems", TYPES)
    here.write("proc/self/mounts", b"/dev/sda1 / ext4 rw 0 0\nnas:/x /mnt/x nfs4 rw 0 0\n")
    assert points(here.read()) == {"/mnt/x"}


def test_what_root_alone_may_use_counts_as_full(stage: Callable[..., Any]) -> None:
    here = stage(Filesystem)
    here.collector.statvfs = full
    here.write("proc/filesystems", TYPES)
    here.write("proc/self/mounts", b"/dev/sda1 / ext4 rw 0 0\n")
    read = here.values()
    place = "system.device=/dev/sda1,system.filesystem.mountpoint=/,system.filesystem.type=ext4"
    assert read[f"system.filesystem.utilization{{{place}}}"] == 1.0
    assert read[f"vedette.filesystem.inodes.utilization{{{place}}}"] == pytest.approx(0.9)


def test_a_mount_that_fails_leaves_the_others(stage: Callable[..., Any]) -> None:
    here = stage(Filesystem)

    def statvfs(path: bytes) -> os.statvfs_result:
        if path == b"/broken":
            raise OSError(errno.EIO, "Input/output error")
        return full(path)

    here.collector.statvfs = statvfs
    here.write("proc/filesystems", TYPES)
    rows = b"/dev/a / ext4 rw 0 0\n/dev/b /broken ext4 rw 0 0\n/dev/c /z ext4 rw 0 0\n"
    here.write("proc/self/mounts", rows)
    assert points(here.read()) == {"/", "/z"}


def test_mounting_and_unmounting_is_noticed(stage: Callable[..., Any]) -> None:
    here = stage(Filesystem)
    here.collector.statvfs = full
    here.write("proc/filesystems", TYPES)
    root = b"/dev/a / ext4 rw 0 0\n"
    seen = []
    for rows in (root, root + b"/dev/b /b ext4 rw 0 0\n", root):
        here.write("proc/self/mounts", rows)
        seen.append(points(here.read()))
    assert seen == [{"/"}, {"/", "/b"}, {"/"}]


def test_paths_are_looked_up_below_the_root_of_the_host(stage: Callable[..., Any]) -> None:
    here = stage(Filesystem)
    (here.folder / "root" / "data").mkdir(parents=True)
    here.collector.host = Host(proc=here.collector.host.proc, root=str(here.folder / "root") + "/")
    here.write("proc/filesystems", TYPES)
    here.write("proc/1/mounts", b"/dev/a /data ext4 rw 0 0\n/dev/b /gone ext4 rw 0 0\n")
    assert points(here.read()) == {"/data"}


def test_nothing_to_read_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Filesystem)
    here.write("proc/filesystems", TYPES)
    here.write("proc/self/mounts", b"tmpfs /run tmpfs rw 0 0\n")
    with pytest.raises(Unavailable, match="no local filesystem"):
        here.collector.probe()


def test_the_root_of_this_host_reads_as_psutil_reads_it(
    read_here: Callable[..., dict[str, float]],
) -> None:
    theirs = psutil.disk_usage("/")
    mine = {
        key: value
        for key, value in read_here(Filesystem).items()
        if key.startswith("system.filesystem.utilization") and "mountpoint=/," in key
    }
    assert list(mine.values()) == [pytest.approx(theirs.percent / 100, abs=0.01)]
