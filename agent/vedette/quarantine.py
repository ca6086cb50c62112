"""Keep what could not be used, for a person to look at, in a directory of bounded size.

Serves the dead letters (batches a destination refused) and the damaged bytes of the spool. The
oldest files go when a new one would exceed the bounds, and are counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path

from vedette.disk import Disk

log = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")


class Quarantine:
    """A directory of at most ``max_files`` files and ``max_bytes`` bytes.

    Not thread-safe: the spool calls it under its lock. No method raises ``OSError``; one that could
    not keep something answers False, so that trouble here never stops the queue.
    """

    def __init__(self, directory: Path, disk: Disk, *, max_files: int, max_bytes: int) -> None:
        self._directory = directory
        self._disk = disk
        self._max_files = max_files
        self._max_bytes = max_bytes
        self.evicted = 0

    def holds(self, name: str) -> bool:
        """Say whether something is kept under this name."""
        return os.path.lexists(self._directory / name)

    def keep(self, name: str, data: bytes) -> bool:
        """Write a file, durably; True also when one of that name is kept already."""
        if self.holds(name):
            return True
        try:
            path = self._make_room(name, len(data))
            fd = self._disk.create(path)
            try:
                self._disk.write(fd, data, 0)
                self._disk.sync(fd)
            except OSError:
                self._disk.unlink(path)
                raise
            finally:
                os.close(fd)
            self._disk.sync_directory(self._directory)
        except OSError as error:
            log.warning("quarantine=%s kept=false reason=%s", self._directory.name, error.strerror)
            return False
        return True

    def move(self, path: Path, reason: str) -> bool:
        """Take a file (or link, or whatever has that name) out of the way, into the directory."""
        try:
            info = os.lstat(path)
            name = f"{path.name}-{info.st_mtime_ns}-{slug(reason)}"
            self._disk.rename(path, self._make_room(name, info.st_size))
        except OSError as error:
            log.warning("quarantine=%s kept=false reason=%s", self._directory.name, error.strerror)
            return False
        return True

    def _make_room(self, name: str, size: int) -> Path:
        """Put the oldest files out until one more of ``size`` bytes fits; return its path."""
        self._disk.make_directory(self._directory)
        kept = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                kept.append((info.st_mtime_ns, entry.name, info.st_size))
        kept.sort(reverse=True)
        total = sum(entry[2] for entry in kept)
        while kept and (len(kept) >= self._max_files or total + size > self._max_bytes):
            _, oldest, freed = kept.pop()
            total -= freed
            with contextlib.suppress(OSError):
                self._disk.unlink(self._directory / oldest)
                self.evicted += 1
        return self._directory / name


def slug(text: str) -> str:
    """Reduce a text to what is harmless in a file name: letters, digits, points, at most 60."""
    return _UNSAFE.sub("-", text).strip("-.")[:60] or "none"
