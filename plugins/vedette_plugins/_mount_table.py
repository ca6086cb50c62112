"""The kernel's table of mounts: read when it has changed, and parsed without trust.

A host with containers has thousands of mounts, so the table is not read at each tick: the kernel
tells of a change through ``poll``. What it does not tell of is a filesystem that goes out of use
by itself after an error, so the table is read now and then all the same.
"""

from __future__ import annotations

import os
import re
import select
from typing import NamedTuple

from vedette.api import Unavailable
from vedette_plugins._procfs import KernelFile, printable

#: The table is read at every so many looks although the kernel tells of no change, and the more
#: seldom the larger it is: 64 KiB are about 400 mounts.
LOOKS, LARGE = 6, 64 * 1024
#: Types with a server, a cluster or a daemon behind them, which may never answer.
REMOTE = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse",
        "fuseblk",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "prl_fs",
        "pvfs2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
        "wekafs",
    }
)
#: Options by which ext4 tells that it went out of use after an error.
FAILED = frozenset({b"emergency_ro", b"shutdown"})
_OCTAL = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of the table, its fields as the kernel has them, without their escapes.

    ``number`` tells apart what is mounted at the same place one after the other, ``filesystem``
    what is mounted at several.
    """

    number: int
    filesystem: bytes
    path: bytes
    kind: str
    source: bytes
    options: bytes

    @property
    def is_remote(self) -> bool:
        """Whether asking it may take for ever."""
        return self.kind in REMOTE or self.kind.startswith("fuse.")

    @property
    def failed(self) -> bool:
        """Whether it refuses to be written after an error."""
        return not FAILED.isdisjoint(self.options.split(b","))


class MountTable:
    """``mountinfo`` of one process, and whether it has changed."""

    def __init__(self, owner: str) -> None:
        self._file = KernelFile(f"{owner}/mountinfo")
        self._types = KernelFile("filesystems")
        self._watch = -1
        self._poll: select.poll | None = None
        self._looks = 0
        self._seen: int | None = None

    def changed(self, proc: str) -> tuple[list[Mount], frozenset[str]] | None:
        """Return the mounts if they are not what was returned last; None when they are.

        With them come the types that are backed by a block device. Raises ``Unavailable`` when a
        file cannot be opened, ``OSError`` when it cannot be read.
        """
        self._looks -= 1
        if not self._told(proc) and self._looks > 0:
            return None
        self._looks = 0  # should a file not be readable now, there is another look soon
        found = None
        text = self._file.read(proc)
        seen = hash(text)
        if seen != self._seen:
            found = parse_mounts(text), block_backed(self._types.read(proc))
        self._seen = seen
        self._looks = LOOKS * (1 + len(text) // LARGE)
        return found

    def close(self) -> None:
        """Let go of the descriptors, so that the next look returns the mounts; safe twice."""
        self._seen = None
        self._looks = 0
        self._file.close()
        self._types.close()
        watch, self._watch = self._watch, -1
        self._poll = None
        if watch >= 0:
            os.close(watch)

    def _told(self, proc: str) -> bool:
        """Return whether the kernel tells of a change, or never does."""
        if self._poll is None:
            path = f"{proc}/{self._file.name}"
            try:
                self._watch = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise Unavailable(f"cannot read {path}: {error.strerror}") from error
            self._poll = select.poll()
            # Ready for output is what every file is that knows nothing of poll, and no table.
            self._poll.register(self._watch, select.POLLPRI | select.POLLOUT)
            self._poll.poll(0)
            return True
        return bool(self._poll.poll(0))


def parse_mounts(text: bytes) -> list[Mount]:
    """Return the mounts of a text of ``mountinfo``, of those at the same place the topmost."""
    topmost: dict[bytes, Mount] = {}
    kinds: dict[bytes, str] = {}
    for line in text.split(b"\n"):
        place, _, rest = line.partition(b" - ")
        fields = place.split(b" ", 5)
        kind, _, rest = rest.partition(b" ")
        source, _, options = rest.partition(b" ")
        if len(fields) < 6 or not kind or not fields[0].isdigit() or len(fields[0]) > 18:
            continue
        path = unescape(fields[4])
        if not path.startswith(b"/") or b"\0" in path:
            continue
        name = kinds.get(kind)
        if name is None:
            name = kinds[kind] = printable(unescape(kind))
        topmost[path] = Mount(int(fields[0]), fields[2], path, name, unescape(source), options)
    return list(topmost.values())


def block_backed(text: bytes) -> frozenset[str]:
    """Return the types that a text of /proc/filesystems calls backed by a block device."""
    fields = (line.split(b"\t") for line in text.split(b"\n"))
    return frozenset(printable(one[1]) for one in fields if len(one) == 2 and one[0] == b"")


def unescape(field: bytes) -> bytes:
    """Undo the octal escapes of a mount table: space, tab, line break, backslash."""
    if b"\\" not in field:
        return field
    return _OCTAL.sub(lambda match: bytes((int(match[1], 8) & 0xFF,)), field)
