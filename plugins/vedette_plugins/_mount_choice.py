"""Choose the mounts worth reading from the table of all, and say how each is asked and shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from vedette_plugins._mount_reader import Target
from vedette_plugins._mount_table import Mount
from vedette_plugins._procfs import Choice, printable

#: Types that keep files on a device of their own although /proc/filesystems does not say so.
OWN_DEVICES = frozenset({"bcachefs", "ubifs", "zfs"})
#: Where a tmpfs is read by default: services break when one of these is full.
SHARED_TMPFS = frozenset({b"/dev/shm", b"/run", b"/tmp"})
LONGEST_PATH = 200
#: The password in a source such as ``curlftpfs#ftp://user:password@host/``.
_PASSWORD = re.compile(rb"(://[^/:@]*):[^/@]*@")


class Chosen(NamedTuple):
    """A mount that is read: how it is asked, how it is shown, and what is known without asking.

    ``place`` is its device, mount point and type; ``by_helper`` says that asking it may take for
    ever; ``failed`` that nothing can be written after an error.
    """

    target: Target
    place: tuple[str, str, str]
    by_helper: bool
    failed: bool


class MountChoice:
    """The operator's globs for mount points and types, applied to a table."""

    def __init__(self, points: Choice, kinds: Choice, *, all_kinds: bool) -> None:
        self._points = points
        self._kinds = kinds
        #: Whether a mount point may be asked for whatever its type.
        self._all_kinds = all_kinds

    def choose(self, mounts: Sequence[Mount], backed: frozenset[str], root: bytes) -> list[Chosen]:
        """Return what to read, named mount points first, then shorter paths first.

        ``backed`` are the types backed by a block device, ``root`` is put before all paths.
        """
        remote = {mount.path for mount in mounts if mount.is_remote}
        chosen = []
        for mount, place in self._distinct(self._wanted(mounts, backed)):
            by_helper = mount.is_remote or is_below(mount.path, remote)
            target = mount.number, root + mount.path
            chosen.append(Chosen(target, place, by_helper, mount.failed))
        return chosen

    def _wanted(
        self, mounts: Iterable[Mount], backed: frozenset[str]
    ) -> Iterator[tuple[bool, Mount, str]]:
        """Yield what is wanted: whether it is by name, the mount, and its point as shown."""
        kinds: dict[str, bool] = {}
        for mount in mounts:
            kind = mount.kind
            wanted = kinds.get(kind)
            if wanted is None:
                by_glob = self._kinds.verdict(kind)
                usual = mount.is_remote or kind in backed or kind in OWN_DEVICES
                wanted = kinds[kind] = usual if by_glob is None else by_glob
            by_place = (
                mount.path == b"/" or (kind == "tmpfs" and mount.path in SHARED_TMPFS)
            ) and self._kinds.verdict(kind) is None
            # Most mounts of a host with containers end here, without a look at their path.
            if kind == "autofs" or not (wanted or by_place or self._all_kinds):
                continue
            point = printable(mount.path, LONGEST_PATH)
            verdict = self._points.verdict(point)
            if verdict or (verdict is None and (wanted or by_place)):
                yield verdict is True, mount, point

    def _distinct(
        self, wanted: Iterable[tuple[bool, Mount, str]]
    ) -> Iterator[tuple[Mount, tuple[str, str, str]]]:
        """Yield one mount per filesystem with its place, best first; no place comes twice."""
        seen: set[object] = set()
        for _, mount, point in sorted(wanted, key=_rank):
            source = _PASSWORD.sub(rb"\1@", mount.source)
            place = printable(source, LONGEST_PATH), point, mount.kind
            if mount.filesystem not in seen and place not in seen:
                seen.update((mount.filesystem, place))
                yield mount, place


def is_below(path: bytes, above: set[bytes]) -> bool:
    """Tell whether one of the paths above leads to a path; the root does not count."""
    end = path.rfind(b"/")
    while end > 0:
        if path[:end] in above:
            return True
        end = path.rfind(b"/", 0, end)
    return False


def _rank(one: tuple[bool, Mount, str]) -> tuple[bool, int, bytes]:
    by_name, mount, _ = one
    return not by_name, len(mount.path), mount.path
