"""Change the file system through one small class, so that a test can fail or stop at every effect.

Names are never followed through a symbolic link, and files are the agent's alone (mode 0600).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path

#: What the kernel says when there is no room: disk, quota, or the process's own file-size limit.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Disk:
    """The effects a durable queue needs; each either happens or raises ``OSError``.

    ``before`` is called ahead of each one with its name and its file, and does nothing here: a
    subclass counts the effects there, raises an error, or ends the process.
    """

    def before(self, effect: str, target: str) -> None:
        """Hear what is about to happen (``create``, ``write``, ``sync``, ...)."""

    def make_directory(self, path: Path) -> None:
        """Make a directory with its parents; one that exists is fine."""
        self.before("make_directory", str(path))
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, path: Path) -> int:
        """Create a file that must not exist and return its descriptor, for reading and writing."""
        self.before("create", str(path))
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o600)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of ``data`` at ``offset``; on an error part of it may have been written."""
        self.before("write", str(fd))
        view = memoryview(data)
        while view:
            written = os.pwrite(fd, view, offset)
            if written == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            view = view[written:]
            offset += written

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file to ``size`` bytes."""
        self.before("truncate", str(fd))
        os.ftruncate(fd, size)

    def allocate(self, fd: int, size: int) -> None:
        """Reserve ``size`` bytes for a file."""
        self.before("allocate", str(fd))
        os.posix_fallocate(fd, 0, size)

    def sync(self, fd: int) -> None:
        """Wait until the file's data and size are durable."""
        self.before("sync", str(fd))
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Wait until the directory's names are durable."""
        self.before("sync_directory", str(path))
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name; replaces what has that name."""
        self.before("rename", str(source))
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a file; one that is not there is fine."""
        self.before("unlink", str(path))
        path.unlink(missing_ok=True)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file; a link, a pipe, a device or a directory counts as not found."""
    if not stat.S_ISREG(os.lstat(path).st_mode):  # before the open: opening a pipe would wait
        raise FileNotFoundError(errno.ENOENT, "not a regular file", str(path))
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)


def lock(path: Path) -> int:
    """Take a lock that goes with the process, however it ends; ``BlockingIOError``: it is taken."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def read_fully(fd: int, length: int, offset: int) -> bytes:
    """Read ``length`` bytes at ``offset``; fewer only at the end of the file."""
    data = os.pread(fd, length, offset)
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


class Ballast:
    """Hold some disk space in reserve, to be let go when the disk is full.

    Where an overwrite in place needs fresh blocks (copy-on-write file systems) a full disk would
    stop the acknowledgements that free space; the ballast's space gets them through. While it is
    released, ``refill`` says whether there is room for new data again.
    """

    def __init__(self, path: Path, size: int, disk: Disk) -> None:
        self._path = path
        self._size = size
        self._disk = disk
        self._held = False
        self.released = False

    def fill(self) -> bool:
        """Make the file if it is not there; False when there is no room for it."""
        if self._held or not self._size:
            return True
        try:
            if self._path.is_file() and self._path.stat().st_size >= self._size:
                self._held = True
                return True
            self._disk.unlink(self._path)
            fd = self._disk.create(self._path)
            try:
                self._disk.allocate(fd, self._size)
            finally:
                os.close(fd)
        except OSError:
            with contextlib.suppress(OSError):
                self._disk.unlink(self._path)
            return False
        self._held = True
        return True

    def release(self) -> bool:
        """Give the space back; False when there was none to give."""
        if not self._held:
            return False
        try:
            self._disk.unlink(self._path)
        except OSError:
            return False
        self._held = False
        self.released = True
        return True

    def refill(self, needed: int) -> bool:
        """Take the reserve back when it and ``needed`` bytes fit; False while they do not."""
        if not self.released:
            return True
        room = os.statvfs(self._path.parent)
        if room.f_bavail * room.f_frsize < 2 * self._size + needed or not self.fill():
            return False
        self.released = False
        return True
