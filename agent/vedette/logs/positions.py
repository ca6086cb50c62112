"""How far each file was read, and a file that keeps one value through anything.

``Positions`` is what the tail has delivered; whoever counts the lines puts it into one value with
the counts and gives that to a ``Store``: positions and counts become durable together or not at
all, so that after kill -9 what was not counted is read again and what was counted is not.

``Store`` has two slots, each a file of its own, written in turn and in place: the newest sound
value is never touched while the next is written. A slot is allocated a quarter larger than needed,
so values that grow slowly can still be written when the disk is full. A write that fails leaves the
older value in force. A slot that does not pass its checksum is set aside as ``NAME.damaged``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import struct
import zlib
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

_MAGIC = b"VEDLOGS1"
_HEAD = struct.Struct("<8sQQ")  # magic, counter, length of the value
_CRC = struct.Struct("<I")
#: A value larger than this is not believed: positions of 10,000 files are 2 MB.
_MAX_BYTES = 256 << 20
_BLOCK = 4096


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


class Store:
    """One value, durable; not thread-safe."""

    def __init__(self, path: Path) -> None:
        self._slots = (path.with_name(path.name + ".0"), path.with_name(path.name + ".1"))
        self._counter = 0
        self._durable = 1  # the slot that must stay until the other is durable
        #: Slots that held no sound value when they were read.
        self.damaged = 0

    def load(self) -> bytes | None:
        """Return the newest sound value; None when there is none. Never raises."""
        found: list[tuple[int, int, bytes]] = []
        for index, slot in enumerate(self._slots):
            data = _read(slot)
            if data is None:
                continue
            decoded = _decode(data)
            if decoded is None:
                self.damaged += 1
                _set_aside(slot)
            else:
                found.append((decoded[0], index, decoded[1]))
        if not found:
            return None
        self._counter, self._durable, value = max(found)
        return value

    def save(self, value: bytes) -> None:
        """Make a value durable. Raises ``OSError``, the older value is in force then."""
        slot = self._slots[1 - self._durable]
        head = _HEAD.pack(_MAGIC, self._counter + 1, len(value))
        crc = zlib.crc32(value, zlib.crc32(head))
        created = not slot.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(slot, flags, 0o600)
        try:
            _reserve(fd, len(head) + len(value) + _CRC.size)
            _write(fd, (head, value, _CRC.pack(crc)))
            os.fdatasync(fd)
        finally:
            os.close(fd)
        if created:
            _sync_directory(slot.parent)
        self._counter += 1
        self._durable = 1 - self._durable


def _reserve(fd: int, length: int) -> None:
    """Allocate room for a value and for its growth; what cannot be had is not missed yet."""
    status = os.fstat(fd)
    if status.st_size >= length and status.st_blocks * 512 >= length:
        return
    roomy = (length + length // 4 + _BLOCK) // _BLOCK * _BLOCK
    with contextlib.suppress(OSError):
        os.posix_fallocate(fd, 0, roomy)


def _write(fd: int, parts: tuple[bytes, ...]) -> None:
    at = 0
    for part in parts:
        view = memoryview(part)
        while view:
            written = os.pwrite(fd, view, at)
            at += written
            view = view[written:]


def _read(slot: Path) -> bytes | None:
    """Return a slot's bytes; None when there is no slot, nothing when it cannot be read."""
    try:
        fd = os.open(slot, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("state of the logs cannot be read path=%s reason=%s", slot, error.strerror)
        return b""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > 2 * _MAX_BYTES:
            return b""
        with open(fd, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        log.warning("state of the logs cannot be read path=%s reason=%s", slot, error.strerror)
        return b""
    finally:
        os.close(fd)


def _decode(data: bytes) -> tuple[int, bytes] | None:
    if len(data) < _HEAD.size:
        return None
    magic, counter, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    if magic != _MAGIC or length > _MAX_BYTES or end + _CRC.size > len(data):
        return None
    if _CRC.unpack_from(data, end)[0] != zlib.crc32(memoryview(data)[:end]):
        return None
    return counter, data[_HEAD.size : end]


def _set_aside(slot: Path) -> None:
    aside = slot.with_name(slot.name + ".damaged")
    try:
        slot.replace(aside)
    except OSError as error:
        log.warning("damaged state cannot be set aside path=%s reason=%s", slot, error.strerror)
        return
    log.warning("state of the logs was damaged or half written, set aside as=%s", aside)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
