"""How far each file was read.

``Positions`` is what the tail has delivered; whoever counts the lines keeps it in one value with
the counts (``vedette.durable``): positions and counts become durable together or not at all, so
that after kill -9 what was not counted is read again and what was counted is not.
"""

from __future__ import annotations

import msgspec


class Position(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far one file was read, and what is needed to know it again (``fingerprint``)."""

    #: The path it was first read under, which is its source; the file system's bytes.
    path: bytes
    device: int
    inode: int
    #: Bytes delivered.
    offset: int
    #: Size and time of change when last looked at.
    size: int
    mtime_ns: int
    head_length: int
    head: int
    tail: int
    marks: bytes
    #: Whether the bytes at ``offset`` belong to a line that was delivered.
    mid_line: bool = False
    codec: int = 0
    #: Whether it is no longer at ``path``: rotated away, or the copy of a file that was truncated.
    moved: bool = False
    is_copy: bool = False
    #: Whether reading is to begin at ``offset`` and no byte before it has been seen.
    unproven: bool = False
    #: Where it was last found, if not at ``path``.
    found_at: bytes = b""
    #: How long it could not be found, in seconds.
    missing_s: float = 0.0


class Positions(msgspec.Struct, frozen=True, array_like=True):
    """How far all files were read; of one path the oldest file first."""

    #: The patterns that have been looked for: what they find later has appeared since.
    patterns: tuple[str, ...] = ()
    files: tuple[Position, ...] = ()

    def encode(self) -> bytes:
        """Return it as msgpack."""
        return msgspec.msgpack.encode(self)


def decode_positions(data: bytes) -> Positions | None:
    """Return the positions ``encode`` wrote; None when these are none."""
    try:
        return msgspec.msgpack.decode(data, type=Positions)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
