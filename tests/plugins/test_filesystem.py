"""Collector filesystem: which mounts count, whom the helper asks, and what df would say."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Host, Unavailable
from vedette_plugins._mount_table import LOOKS, MountTable, parse_mounts
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
    assert_survives(data, Filesystem, "server", ["proc/self/mountinfo", "proc/filesystems"])


TYPES = b"nodev\ttmpfs\n\text4\n\tsquashfs\n\tfuseblk\n"
PLACE = "system.device=/dev/sda1,system.filesystem.mountpoint=/,system.filesystem.type=ext4"


def table(*mounts: tuple[str, str, str], options: str = "rw") -> bytes:
    """Return a mountinfo text of sources, mount points and types, each a filesystem of its own."""
    return "".join(
        f"{30 + at} 1 8:{at} / {point} {options} shared:{at} - {kind} {source} {options}\n"
        for at, (source, point, kind) in enumerate(mounts)
    ).encode()


ROOT = ("/dev/sda1", "/", "ext4")


def points(reading: list[Any]) -> set[str]:
    return {one.series.values[1] for one in reading if one.series.values}


def full(path: bytes) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 100, 5, 0, 10, 1, 1, 0, 255))


class Asked:
    """Stands in for the helper; remembers what it was asked and says that all is full."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    def read(self, targets: Any) -> Iterator[Any]:
        for target in targets:
            self.paths.append(target[1])
            yield target, full(target[1])

    def close(self) -> None:
        pass


@pytest.fixture
def here(stage: Callable[..., Any]) -> Callable[..., Any]:
    """Put a collector on a mount table, where every filesystem is full."""

    def put(*mounts: tuple[str, str, str], options: str = "rw", **config: Any) -> Any:
        staged = stage(Filesystem, **config)
        staged.collector.statvfs = full
        staged.collector.reader = Asked()
        staged.write("proc/filesystems", TYPES)
        staged.write("proc/self/mountinfo", table(*mounts, options=options))
        return staged

    return put


REMOTE_KINDS = (
    *("nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "9p", "virtiofs", "gfs2", "fuseblk"),
    *("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs"),
)


def test_a_mount_that_may_hang_is_only_asked_by_the_helper(here: Callable[..., Any]) -> None:
    now = here(ROOT, *((f"s{kind}", f"/m/{kind}", kind) for kind in REMOTE_KINDS))
    asked = []
    now.collector.statvfs = lambda path: (asked.append(path), full(path))[1]
    read = now.read()
    assert asked == [b"/"]
    assert sorted(now.collector.reader.paths) == sorted(
        f"/m/{one}".encode() for one in REMOTE_KINDS
    )
    assert points(read) == {"/", *(f"/m/{kind}" for kind in REMOTE_KINDS)}


def test_a_local_mount_below_a_remote_one_is_asked_by_the_helper(
    here: Callable[..., Any],
) -> None:
    now = here(ROOT, ("nas:/x", "/mnt/nas", "nfs"), ("/dev/b", "/mnt/nas/a/b", "ext4"))
    now.read()
    assert set(now.collector.reader.paths) == {b"/mnt/nas", b"/mnt/nas/a/b"}


def test_a_local_mount_below_a_remote_one_that_is_not_read_is_asked_by_the_helper_too(
    here: Callable[..., Any],
) -> None:
    now = here(ROOT, ("nas:/x", "/n", "nfs"), ("/dev/b", "/n/b", "ext4"), exclude=["/n"])
    assert points(now.read()) == {"/", "/n/b"}
    assert now.collector.reader.paths == [b"/n/b"]


def test_a_local_mount_that_was_slow_once_is_asked_by_the_helper_from_then_on(
    here: Callable[..., Any],
) -> None:
    now = here(ROOT, ("/dev/b", "/slow", "ext4"))

    def statvfs(path: bytes) -> os.statvfs_result:
        now.now += 5.0 * (path == b"/slow")
        return full(path)

    now.collector.statvfs = statvfs
    now.read()
    assert now.collector.reader.paths == []
    now.read()
    assert now.collector.reader.paths == [b"/slow"]


def test_an_automount_that_has_not_been_used_is_never_asked(here: Callable[..., Any]) -> None:
    now = here(ROOT, ("auto.home", "/home", "autofs"), include=["*"])
    assert points(now.read()) == {"/"}


def test_what_automount_has_mounted_is_read(here: Callable[..., Any]) -> None:
    now = here(ROOT, ("auto.home", "/home", "autofs"), ("nas:/home", "/home", "nfs4"))
    assert points(now.read()) == {"/", "/home"}


def test_kernel_filesystems_with_names_like_remote_ones_are_none(
    here: Callable[..., Any],
) -> None:
    kinds = ("nfsd", "fusectl", "rpc_pipefs")
    now = here(ROOT, *((kind, f"/m/{kind}", kind) for kind in kinds))
    assert points(now.read()) == {"/"}


def test_an_asked_for_mount_is_read_whatever_its_type(here: Callable[..., Any]) -> None:
    now = here(ROOT, ("tmpfs", "/mnt/x", "tmpfs"), include=["/mnt/*"], exclude=["/"])
    assert points(now.read()) == {"/mnt/x"}


def test_types_are_chosen_by_globs_too(here: Callable[..., Any]) -> None:
    mounts = ROOT, ("t", "/x", "tmpfs"), ("n", "/n", "nfs4"), ("t", "/run/user/0", "tmpfs")
    now = here(*mounts, include_types=["tmp*"], exclude_types=["nfs*"])
    assert points(now.read()) == {"/", "/x"}


SHARED = [("tmpfs", point, "tmpfs") for point in ("/run", "/tmp", "/dev/shm")]


def test_the_tmpfs_that_services_share_are_read_and_no_other(here: Callable[..., Any]) -> None:
    points_of_others = ("/run/lock", "/run/user/0", "/sys/fs/cgroup", "/dev", "/dev/shm/x", "/t")
    others = [("tmpfs", point, "tmpfs") for point in points_of_others]
    now = here(ROOT, *SHARED, *others, ("ram", "/mnt/ram", "ramfs"))
    assert points(now.read()) == {"/", "/run", "/tmp", "/dev/shm"}


def test_what_is_no_tmpfs_at_such_a_place_is_read_like_anywhere(here: Callable[..., Any]) -> None:
    now = here(ROOT, ("/dev/b", "/tmp", "ext4"), ("o", "/run", "overlay"))
    assert points(now.read()) == {"/", "/tmp"}


@pytest.mark.parametrize("config", [{"exclude_types": ["tmpfs"]}, {"exclude": ["/[rt]*", "/dev*"]}])
def test_a_shared_tmpfs_can_be_left_out(here: Callable[..., Any], config: Any) -> None:
    assert points(here(ROOT, *SHARED, **config).read()) == {"/"}


def test_a_file_of_the_host_that_a_container_has_in_dev_is_not_read(
    here: Callable[..., Any],
) -> None:
    now = here(("o", "/", "overlay"), ("/dev/b", "/dev/termination-log", "ext4"))
    assert points(now.read()) == {"/"}


def test_of_a_filesystem_mounted_twice_the_shorter_path_is_read(
    here: Callable[..., Any],
) -> None:
    now = here()
    now.write(
        "proc/self/mountinfo",
        b"31 1 8:1 /a /srv/long rw - ext4 /dev/a rw\n32 1 8:1 / /a rw - ext4 /dev/a rw\n",
    )
    assert points(now.read()) == {"/a"}


def test_buckets_with_the_same_source_are_two_filesystems(here: Callable[..., Any]) -> None:
    now = here(("s3fs", "/a", "fuse.s3fs"), ("s3fs", "/b", "fuse.s3fs"))
    assert points(now.read()) == {"/a", "/b"}


def test_a_password_in_a_source_is_not_shown(here: Callable[..., Any]) -> None:
    now = here(("curlftpfs#ftp://user:secret@host:21/", "/f", "fuse"))
    assert {one.series.values[0] for one in now.read() if one.series.values} == {
        "curlftpfs#ftp://user@host:21/"
    }


def test_what_root_alone_may_use_counts_as_full(here: Callable[..., Any]) -> None:
    read = here(ROOT).values()
    assert read[f"system.filesystem.utilization{{{PLACE}}}"] == 1.0
    assert read[f"vedette.filesystem.inodes.utilization{{{PLACE}}}"] == pytest.approx(0.9)


def test_what_the_operator_mounted_read_only_is(here: Callable[..., Any]) -> None:
    now = here(ROOT)
    seen = []
    for flags in (0, os.ST_RDONLY | os.ST_NOSUID, os.ST_NOSUID):
        figures = (4096, 4096, 100, 5, 0, 10, 1, 1, flags, 255)
        now.collector.statvfs = lambda path, figures=figures: os.statvfs_result(figures)
        seen.append(now.values()[f"vedette.filesystem.read_only{{{PLACE}}}"])
    assert seen == [0, 1, 0]


@pytest.mark.parametrize("option", ["emergency_ro", "shutdown"])
def test_what_ext4_gave_up_after_an_error_is_read_only(
    here: Callable[..., Any], option: str
) -> None:
    now = here(ROOT, options=f"rw,{option}")
    assert now.values()[f"vedette.filesystem.read_only{{{PLACE}}}"] == 1


@pytest.mark.parametrize("fault", ["EIO", "ESTALE", "ENOTCONN"])
def test_a_mount_that_fails_does_not_respond_and_the_others_do(
    here: Callable[..., Any], fault: str
) -> None:
    def statvfs(path: bytes) -> os.statvfs_result:
        if path == b"/broken":
            raise OSError(getattr(errno, fault), "broken")
        return full(path)

    now = here(ROOT, ("/dev/b", "/broken", "ext4"), ("/dev/c", "/z", "ext4"))
    now.collector.statvfs = statvfs
    responding = {
        one.series.values[1]: one.value
        for one in now.read()
        if one.series.instrument.name == "vedette.filesystem.responding"
    }
    assert responding == {"/": 1, "/broken": 0, "/z": 1}


@pytest.mark.parametrize("fault", ["ENOENT", "EACCES", "ENFILE"])
def test_a_mount_that_is_gone_or_not_ours_is_silent(here: Callable[..., Any], fault: str) -> None:
    def statvfs(path: bytes) -> os.statvfs_result:
        raise OSError(getattr(errno, fault), "no")

    now = here(ROOT)
    now.collector.statvfs = statvfs
    assert points(now.read()) == set()


def test_what_fuse_keeps_from_other_users_is_not_a_reading(here: Callable[..., Any]) -> None:
    now = here(ROOT)
    now.collector.statvfs = lambda path: os.statvfs_result((0,) * 10)
    assert points(now.read()) == set()


def test_mounting_and_unmounting_is_noticed(here: Callable[..., Any]) -> None:
    now = here(ROOT)
    seen = []
    for mounts in ((ROOT,), (ROOT, ("/dev/b", "/b", "ext4")), (ROOT,)):
        now.write("proc/self/mountinfo", table(*mounts))
        seen.append(points(now.read()))
    assert seen == [{"/"}, {"/", "/b"}, {"/"}]


def test_what_is_beyond_max_mounts_is_counted(here: Callable[..., Any]) -> None:
    now = here(ROOT, ("b", "/b", "nfs"), ("c", "/c", "ext4"), ("d", "/d", "tmpfs"), max_mounts=1)
    read = now.values()
    assert read["vedette.filesystem.omitted"] == 2
    assert f"vedette.filesystem.responding{{{PLACE}}}" in read
    assert now.collector.reader.paths == []


def test_a_list_of_types_that_cannot_be_read_is_read_later(here: Callable[..., Any]) -> None:
    now = here(ROOT)
    types = now.folder / "proc/filesystems"
    types.unlink()
    with pytest.raises(Unavailable):
        now.read()
    types.write_bytes(TYPES)
    assert points(now.read()) == {"/"}


def test_paths_are_looked_up_below_the_root_of_the_host(stage: Callable[..., Any]) -> None:
    now = stage(Filesystem)
    (now.folder / "root" / "data").mkdir(parents=True)
    now.collector.host = Host(proc=now.collector.host.proc, root=str(now.folder / "root") + "/")
    now.write("proc/filesystems", TYPES)
    mounts = ("/dev/a", "/data", "ext4"), ("/dev/b", "/gone", "ext4")
    now.write("proc/1/mountinfo", table(*mounts))
    assert points(now.read()) == {"/data"}


def test_nothing_to_read_is_unavailable(here: Callable[..., Any]) -> None:
    now = here(("tmpfs", "/run/lock", "tmpfs"))
    with pytest.raises(Unavailable, match="no filesystem"):
        now.collector.probe()


def test_no_helper_is_started_where_all_is_local(stage: Callable[..., Any]) -> None:
    now = stage(Filesystem)
    now.write("proc/filesystems", TYPES)
    now.write("proc/self/mountinfo", table(ROOT))
    children = len(psutil.Process().children())
    assert points(now.read()) == {"/"}
    assert len(psutil.Process().children()) == children


def test_the_kernels_table_is_read_when_it_tells_of_a_change_and_now_and_then() -> None:
    mounts = MountTable("self")
    try:
        if mounts.changed("/proc") is None or mounts._told("/proc"):
            pytest.skip("mounts come and go here")
        reads = []
        read = mounts._file.read
        mounts._file.read = lambda base: (reads.append(base), read(base))[1]  # type: ignore[method-assign]
        assert [mounts.changed("/proc") for _ in range(2 * LOOKS)] == [None] * 2 * LOOKS
        assert len(reads) == 2
    finally:
        mounts.close()


@settings(deadline=None, max_examples=200)
@given(text=st.binary(max_size=200))
def test_any_text_is_a_table(text: bytes) -> None:
    for mount in parse_mounts(text):
        assert mount.path.startswith(b"/")


def test_the_root_of_this_host_reads_as_psutil_reads_it(
    read_here: Callable[..., dict[str, float]],
) -> None:
    read = read_here(Filesystem)
    mine = {
        key.partition("{")[0]: value
        for key, value in read.items()
        if "mountpoint=/," in key and ("state" not in key or "state=used" in key)
    }
    theirs = psutil.disk_usage("/")
    figures = os.statvfs("/")
    assert mine["system.filesystem.utilization"] == pytest.approx(theirs.percent / 100, abs=0.01)
    assert mine["system.filesystem.limit"] == theirs.total
    assert mine["system.filesystem.usage"] == pytest.approx(theirs.used, rel=0.01)
    if figures.f_files:
        used = figures.f_files - figures.f_ffree
        assert mine["system.filesystem.inodes.usage"] == pytest.approx(used, rel=0.01)


def test_files_made_are_told_per_second_from_the_second_reading_on(
    here: Callable[..., Any],
) -> None:
    now, key = here(ROOT), f"vedette.filesystem.inodes.growth{{{PLACE}}}"
    seen = []
    for free, after_s in ((900, 5.0), (400, 5.0), (400, 5.0), (450, 2.0)):
        figures = (4096, 4096, 100, 50, 50, 1000, free, free, 0, 255)
        now.collector.statvfs = lambda path, figures=figures: os.statvfs_result(figures)
        seen.append(now.values(after_s).get(key))
    assert seen == [None, 100.0, 0.0, 0.0]
