"""Collector ``filesystem``: how full each filesystem is, and whether it answers at all.

Read are the types that the kernel backs by a block device, ZFS, network and FUSE filesystems, and
whatever is mounted at ``/`` (an overlay in a container). Of a filesystem mounted more than once
(bind mounts, subvolumes) the mount with the shortest path is read. Left out are pseudo
filesystems, the overlays of containers, images that are full by design, and tmpfs but for
``/run``, ``/tmp`` and ``/dev/shm``, which every service of a host shares.

What has a server or a daemon behind it, or lies below such a mount, may never answer: a helper
process asks there, and only while there is such a mount. One that does not answer within
``remote_timeout`` counts as not responding, and the others are read all the same. Nothing is ever
mounted by asking, but what an automounter has mounted does not fall idle while it is read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Duration, Sample, Unavailable, gauge, hookimpl, updown
from vedette_plugins import _mount_helper
from vedette_plugins._mount_choice import Chosen, MountChoice
from vedette_plugins._mount_reader import FAULTS, Answer, MountReader, Target
from vedette_plugins._mount_table import MountTable
from vedette_plugins._procfs import Choice

#: A local filesystem that took this long once is asked by the helper from then on.
SLOW_S = 0.5
_PLACE = ["system.device", "system.filesystem.mountpoint", "system.filesystem.type"]


class FilesystemConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which mounts are read."""

    include: Annotated[
        tuple[str, ...],
        Meta(description="Globs of mount points to read whatever their type and `exclude` say."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of mount points that are not read.")
    ] = (
        "/dev/[!s]*",
        "/etc/*",
        "/proc/*",
        "/run/*",
        "/snap/*",
        "/sys/*",
        "/var/lib/containers/*",
        "/var/lib/docker/*",
        "/var/lib/kubelet/*",
    )
    include_types: Annotated[
        tuple[str, ...],
        Meta(description="Globs of types to read that are not by default, `tmpfs` for one."),
    ] = ()
    exclude_types: Annotated[
        tuple[str, ...],
        Meta(description="Globs of types that are not read: images, and FUSE without a store."),
    ] = (
        "cramfs",
        "erofs",
        "fuse.*.AppImage",
        "fuse.fuse-overlayfs",
        "fuse.gvfsd-fuse",
        "fuse.lxcfs",
        "fuse.portal",
        "fuse.snapfuse",
        "fuse.squashfuse*",
        "iso9660",
        "romfs",
        "squashfs",
        "udf",
    )
    max_mounts: Annotated[
        int,
        Meta(ge=1, le=1000, description="Mounts that are read at most, shortest paths first."),
    ] = 100
    remote_timeout: Annotated[
        Duration, Meta(description="Time a network or FUSE filesystem has to answer, at most 4.5s.")
    ] = Duration(2)


class Filesystem(Collector):
    """Space and inodes in use per filesystem, local and remote."""

    name = "filesystem"
    Config = FilesystemConfig
    source = "statvfs(2) for the mounts of /proc/self/mountinfo"
    interval_s = 5.0
    may_block = "seldom"
    timeout_s = 5.0

    usage = updown(
        "system.filesystem.usage",
        "By",
        "Space in this state; the states add up to the size. Reserved is for root alone.",
        [*_PLACE, "system.filesystem.state"],
        resource="filesystem",
        alarm="never",
    )
    limit = updown(
        "system.filesystem.limit",
        "By",
        "Size of the filesystem.",
        _PLACE,
        resource="filesystem",
        alarm="never",
    )
    utilization = gauge(
        "system.filesystem.utilization",
        "1",
        "Share of the space open to every user that is in use, 0 to 1, as df shows it.",
        _PLACE,
        resource="filesystem",
        alarm="high",
        limit=1.0,
    )
    inodes_usage = updown(
        "system.filesystem.inodes.usage",
        "{inode}",
        "Inodes in this state; absent where the filesystem has no fixed number.",
        [*_PLACE, "system.filesystem.state"],
        resource="filesystem",
        alarm="never",
    )
    inodes = gauge(
        "vedette.filesystem.inodes.utilization",
        "1",
        "Share of the inodes in use, 0 to 1; absent where the filesystem has no fixed number.",
        _PLACE,
        resource="filesystem",
        alarm="high",
        limit=1.0,
    )
    growth = gauge(
        "vedette.filesystem.inodes.growth",
        "{inode}/s",
        "Inodes more in use than at the previous reading, per second; 0 when there are fewer.",
        _PLACE,
        resource="filesystem",
        alarm="high",
    )
    read_only = gauge(
        "vedette.filesystem.read_only",
        "1",
        "1 when nothing can be written, by its options or after an error, else 0.",
        _PLACE,
        resource="filesystem",
        alarm="high",
    )
    responding = gauge(
        "vedette.filesystem.responding",
        "1",
        "1 when the filesystem answered, 0 when it did not in time or with an input/output error.",
        _PLACE,
        resource="filesystem",
        alarm="low",
    )
    omitted = updown(
        "vedette.filesystem.omitted",
        "{mount}",
        "Mounts that are not read because there are more than max_mounts.",
        resource="filesystem",
        alarm="never",
        source="/proc/self/mountinfo",
    )

    def __init__(self, config: FilesystemConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self.statvfs: Callable[[bytes], os.statvfs_result] = _mount_helper.statvfs
        self.reader = MountReader(config.remote_timeout)
        self._choice = MountChoice(
            Choice(config.include, config.exclude),
            Choice(config.include_types, config.exclude_types),
            all_kinds=bool(config.include),
        )
        self._table: MountTable | None = None
        self._chosen: tuple[Chosen, ...] = ()
        self._omitted = 0
        self._slow: set[Target] = set()
        #: Inodes in use at the last answer of each mount, and when that was.
        self._inodes: dict[Target, tuple[int, float]] = {}
        #: The last answer of each mount, and what it gave.
        self._told: dict[Target, tuple[os.statvfs_result, list[Sample]]] = {}

    def probe(self) -> None:
        if not self._current():
            raise Unavailable("no filesystem is mounted that is read (see include and exclude)")

    def collect(self) -> list[Sample]:
        others: dict[Target, Chosen] = {}
        chosen = self._current()
        samples = [self.omitted(self._omitted)]
        for one in chosen:
            if one.by_helper or one.target in self._slow:
                others[one.target] = one
            else:
                samples += self._samples(one, self._ask(one.target))
        for target, answer in self.reader.read(others):
            samples += self._samples(others[target], answer)
        return samples

    def close(self) -> None:
        self.reader.close()
        if self._table is not None:
            self._table.close()

    def _ask(self, target: Target) -> Answer:
        began = self.monotonic()
        try:
            return self.statvfs(target[1])
        except OSError as error:
            return error
        finally:
            if self.monotonic() - began > SLOW_S:
                self._slow.add(target)

    def _samples(self, one: Chosen, answer: Answer) -> list[Sample]:
        if isinstance(answer, OSError):
            return [self.responding(0, *one.place)] if answer.errno in FAULTS else []
        told = self._told.get(one.target)
        if told is None or told[0] != answer:
            told = self._told[one.target] = answer, self._figures(one, answer)
        return told[1] + self._growth(one, answer)

    def _growth(self, one: Chosen, answer: os.statvfs_result) -> list[Sample]:
        if not 0 < answer.f_files >= answer.f_ffree:
            return []
        used, now = answer.f_files - answer.f_ffree, self.monotonic()
        before = self._inodes.get(one.target)
        self._inodes[one.target] = used, now
        if before is None or now <= before[1]:
            return []
        more = max(0, used - before[0])
        return [self.growth(more / (now - before[1]), *one.place)]

    def _figures(self, one: Chosen, answer: os.statvfs_result) -> list[Sample]:
        place = one.place
        if not answer.f_namemax and not answer.f_blocks:
            return []  # FUSE keeps its figures from everybody but the user who mounted it
        read_only = one.failed or bool(answer.f_flag & os.ST_RDONLY)
        samples = [self.responding(1, *place), self.read_only(int(read_only), *place)]
        unit, size, free = answer.f_frsize, answer.f_blocks, answer.f_bavail
        used = size - answer.f_bfree
        if unit > 0 and size > 0 and used >= 0 and used + free > 0:
            samples += (
                self.usage(used * unit, *place, "used"),
                self.usage(free * unit, *place, "free"),
                self.usage(max(0, answer.f_bfree - free) * unit, *place, "reserved"),
                self.limit(size * unit, *place),
                self.utilization(used / (used + free), *place),
            )
        if 0 < answer.f_files >= answer.f_ffree:
            samples += (
                self.inodes_usage(answer.f_files - answer.f_ffree, *place, "used"),
                self.inodes_usage(answer.f_ffree, *place, "free"),
                self.inodes(1.0 - answer.f_ffree / answer.f_files, *place),
            )
        return samples

    def _current(self) -> tuple[Chosen, ...]:
        """Return the mounts to read; the table is only parsed when it has changed."""
        if self._table is None:
            # In a container with the host's /proc, "self" would be the container's table.
            self._table = MountTable("self" if self.host.root == "/" else "1")
        found = self._table.changed(self.host.proc)
        if found is not None:
            root = os.fsencode(self.host.root).rstrip(b"/")
            wanted = self._choice.choose(*found, root)
            self._chosen = tuple(wanted[: self.config.max_mounts])
            self._omitted = len(wanted) - len(self._chosen)
            self._slow &= {one.target for one in self._chosen}
            self._told.clear()
            self._inodes.clear()
        return self._chosen


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Filesystem]
