"""What the tail is told, what it counts, and what it delivers."""

from __future__ import annotations

import os
import re
from typing import Literal

import msgspec

from vedette.logs.positions import Position

#: Found by patterns like ``/var/log/*`` and no text: records of logins, journals.
NO_TEXT = ("wtmp*", "btmp*", "utmp*", "lastlog*", "faillog*", "*.journal", "*.journal~", "*.swp")


class TailSettings(msgspec.Struct, frozen=True):
    """Which files are read, and within which bounds. Times are seconds."""

    patterns: tuple[str, ...]
    exclude: tuple[str, ...] = NO_TEXT
    #: Where to begin in files that are there when the agent looks for the first time.
    begin: Literal["end", "beginning"] = "end"
    #: Directories files are rotated into, besides their own and those below it.
    rotated_to: tuple[str, ...] = ()
    #: Longest line; what is longer is cut and its rest skipped.
    max_line: int = 128 * 1024
    #: Bytes read per poll, of all files together, and steps taken.
    budget: int = 4 * 1024 * 1024
    steps: int = 4_000
    #: Files held open.
    descriptors: int = 256
    #: An unfinished last line is delivered when it did not grow for so long.
    partial_s: float = 30.0
    #: A file that was rotated away or deleted is read until it did not grow for so long.
    grace_s: float = 5.0
    #: A deleted file is given up when its end was not reached for so long; so many of them, and
    #: so much of their room, may wait to be read.
    deleted_s: float = 3_600.0
    deleted_files: int = 64
    deleted_bytes: int = 1 << 30
    #: Patterns are searched so often; a file long idle is looked at so often.
    discover_s: float = 2.0
    idle_s: float = 10.0
    #: What was read of a file that cannot be found is remembered so long.
    keep_s: float = 86_400.0
    #: Files rotated away that are remembered per place, while they exist.
    generations: int = 8
    depth: int = 8
    entries: int = 50_000
    files: int = 20_000


class Counters:
    """What happened since the start."""

    __slots__ = (
        "bytes",
        "copies",
        "cut_bytes",
        "cut_lines",
        "flushed",
        "gaps",
        "given_up",
        "lines",
        "lost_bytes",
        "rotations",
        "salvaged_bytes",
        "truncations",
    )

    def __init__(self) -> None:
        self.lines = 0
        self.bytes = 0
        #: Lines longer than ``max_line``; bytes skipped because their line was delivered before.
        self.cut_lines = 0
        self.cut_bytes = 0
        #: Unfinished lines delivered.
        self.flushed = 0
        self.rotations = 0
        self.truncations = 0
        #: Copies found of files that were truncated, and bytes read only from such.
        self.copies = 0
        self.salvaged_bytes = 0
        #: Times that bytes vanished unread, and how many as far as that is known.
        self.gaps = 0
        self.lost_bytes = 0
        #: Deleted files that were not read to their end.
        self.given_up = 0


class Container(msgspec.Struct, frozen=True):
    """The Kubernetes container that writes a file, as its path tells."""

    namespace: str
    pod: str
    name: str


class Source(msgspec.Struct, frozen=True):
    """Where lines come from: a path that stays while files are rotated through it.

    ``path`` is fit to be printed and sent: what is not UTF-8 in it is written as ``\\xNN``.
    """

    path: str
    container: Container | None = None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Whole lines of one file, without their ends, in order, and the position after them."""

    source: Source
    lines: list[bytes]
    position: Position
    #: Bytes of the file they were read from, line ends included.
    size: int

    @property
    def identity(self) -> tuple[int, int]:
        """Return the file's device and inode."""
        return self.position.device, self.position.inode


_CONTAINERS = re.compile(r".*/containers/([^/_]+)_([^/_]+)_([^/]+)-[0-9a-f]{64}\.log")
_PODS = re.compile(r".*/pods/([^/_]+)_([^/_]+)_[^/]+/([^/]+)/[^/]+\.log")


def source_of(path: str) -> Source:
    """Return the source a path is; Kubernetes' paths tell pod and container."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    if match := _CONTAINERS.fullmatch(shown):
        return Source(shown, Container(match[2], match[1], match[3]))
    if match := _PODS.fullmatch(shown):
        return Source(shown, Container(match[1], match[2], match[3]))
    return Source(shown)
