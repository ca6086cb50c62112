"""Collector ``filesystem``: how full each local filesystem is, in bytes and in inodes.

Read are the mounts of types that the kernel backs by a block device, ZFS, and whatever is mounted
at ``/`` (an overlay in a container). Bind mounts are one filesystem: of a device mounted more than
once, the mount with the shortest path is read. Left out are pseudo filesystems, tmpfs, read-only
images (squashfs, iso9660) and everything that can hang with a server or a daemon behind it
(NFS, CIFS, Ceph, cluster filesystems, all of FUSE). Naming such a mount in ``include`` reads it all
the same: should it hang, this collector is stuck until it answers, and no other is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, gauge, hookimpl, updown
from vedette_plugins._procfs import Choice, KernelFile, printable

#: Images that are full by design.
IMAGES = frozenset({"squashfs", "iso9660", "udf", "erofs", "cramfs", "romfs"})
#: Types with a server, a cluster or a daemon behind them; the kernel lists some as block-backed.
MAY_HANG = re.compile(
    r"(nfs|cifs|smb|ceph|fuse|afs|9p|glusterfs|lustre|gfs2|ocfs2|autofs|virtiofs)"
)
LONGEST_PATH = 200
_OCTAL = re.compile(rb"\\([0-7]{3})")
_PLACE = ["system.device", "system.filesystem.mountpoint", "system.filesystem.type"]


class FilesystemConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which mounts are read."""

    include: Annotated[
        tuple[str, ...],
        Meta(
            description="Globs of mount points to read whatever their type; "
            "a network mount that hangs makes this collector hang."
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Globs of mount points that are not read.")
    ] = (
        "/dev/*",
        "/etc/*",
        "/proc/*",
        "/run/*",
        "/snap/*",
        "/sys/*",
        "/var/lib/containers/*",
        "/var/lib/docker/*",
        "/var/lib/kubelet/*",
    )


class Mount(NamedTuple):
    """One line of the mount table; ``path`` is the real one, the rest is fit to be shown."""

    device: str
    point: str
    kind: str
    path: bytes


class Filesystem(Collector):
    """Space and inodes in use per local filesystem."""

    name = "filesystem"
    Config = FilesystemConfig
    interval_s = 10.0

    usage = updown(
        "system.filesystem.usage",
        "By",
        "Space in this state; the states add up to the size. Reserved is for root alone.",
        [*_PLACE, "system.filesystem.state"],
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
    inodes = gauge(
        "vedette.filesystem.inodes.utilization",
        "1",
        "Share of the inodes in use, 0 to 1; absent where the filesystem has no fixed number.",
        _PLACE,
        resource="filesystem",
        alarm="high",
        limit=1.0,
    )

    def __init__(self, config: FilesystemConfig) -> None:
        super().__init__(config)
        self.statvfs: Callable[[bytes], os.statvfs_result] = os.statvfs
        self._choice = Choice(config.include, config.exclude)
        self._table: KernelFile | None = None
        self._types = KernelFile("filesystems")
        self._text: bytes | None = None
        self._mounts: tuple[Mount, ...] = ()

    def probe(self) -> None:
        if not self._current():
            raise Unavailable("no local filesystem is mounted (see include and exclude)")

    def collect(self) -> Iterator[Sample]:
        root = os.fsencode(self.host.root).rstrip(b"/")
        for mount in self._current():
            try:
                space = self.statvfs(root + mount.path)
            except OSError:
                # Unmounted since, or out of reach: there is no reading of it.
                continue
            yield from self._read(mount, space)

    def close(self) -> None:
        self._types.close()
        if self._table is not None:
            self._table.close()

    def _read(self, mount: Mount, space: os.statvfs_result) -> Iterator[Sample]:
        place = mount.device, mount.point, mount.kind
        unit = space.f_frsize
        used = space.f_blocks - space.f_bfree
        if space.f_blocks > 0 and used >= 0 and used + space.f_bavail > 0:
            yield self.usage(used * unit, *place, "used")
            yield self.usage(space.f_bavail * unit, *place, "free")
            yield self.usage(max(0, space.f_bfree - space.f_bavail) * unit, *place, "reserved")
            yield self.utilization(used / (used + space.f_bavail), *place)
        if 0 < space.f_files >= space.f_ffree:
            yield self.inodes(1.0 - space.f_ffree / space.f_files, *place)

    def _current(self) -> tuple[Mount, ...]:
        """Return the mounts to read; the table is only parsed when it has changed."""
        if self._table is None:
            # In a container with the host's /proc, "self" would be the container's table.
            owner = "self" if self.host.root == "/" else "1"
            self._table = KernelFile(f"{owner}/mounts")
        text = self._table.read(self.host.proc)
        if text != self._text:
            backed = block_backed(self._types.read(self.host.proc))
            self._mounts = tuple(distinct(self._wanted(parse_mounts(text), backed)))
            self._text = text
        return self._mounts

    def _wanted(self, mounts: Iterable[Mount], backed: frozenset[str]) -> Iterator[Mount]:
        for mount in mounts:
            verdict = self._choice.verdict(mount.point)
            if verdict is None:
                is_safe = not MAY_HANG.match(mount.kind) and mount.kind not in IMAGES
                verdict = is_safe and (mount.kind in backed or mount.point == "/")
            if verdict:
                yield mount


def parse_mounts(text: bytes) -> list[Mount]:
    """Return the mounts of a mount table, of those at the same place only the topmost."""
    topmost: dict[bytes, Mount] = {}
    for line in text.split(b"\n"):
        fields = line.split(b" ")
        if len(fields) < 4 or not fields[1].startswith(b"/"):
            continue
        device, path, kind = (unescape(field) for field in fields[:3])
        if b"\0" in path:
            continue
        shown = printable(path, LONGEST_PATH)
        topmost[path] = Mount(printable(device, LONGEST_PATH), shown, printable(kind), path)
    return list(topmost.values())


def distinct(mounts: Iterable[Mount]) -> Iterator[Mount]:
    """Yield one mount per block device, the one with the shortest path, in order of path."""
    seen: set[str] = set()
    for mount in sorted(mounts, key=lambda one: (len(one.path), one.path)):
        key = mount.device if mount.device.startswith("/") else mount.point
        if key not in seen:
            seen.add(key)
            yield mount


def block_backed(text: bytes) -> frozenset[str]:
    """Return the types that /proc/filesystems calls block-backed, and zfs, which has own pools."""
    fields = (line.split(b"\t") for line in text.split(b"\n"))
    return frozenset(
        {"zfs"} | {printable(one[1]) for one in fields if len(one) == 2 and one[0] == b""}
    )


def unescape(field: bytes) -> bytes:
    """Undo the octal escapes of a mount table: space, tab, line break, backslash."""
    return _OCTAL.sub(lambda match: bytes((int(match[1], 8) & 0xFF,)), field)


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Filesystem]
