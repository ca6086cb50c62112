"""Write files that are whole or not there at all.

A file is written beside its place, synced, and renamed over it: whoever looks finds the old one or
the new one, after a crash as well.
"""

from __future__ import annotations

import os
from pathlib import Path

#: What files that are being written end in: a crash may leave one.
UNFINISHED = ".new"


def put(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file atomically; raises ``OSError``, the old one stays then."""
    temporary = path.with_name(path.name + UNFINISHED)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with open(os.open(temporary, flags, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fdatasync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def sync(directory: Path) -> None:
    """Make what was renamed, made or removed in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
