"""Keep values on the disk through anything: kill -9, damage, a full disk.

A ``Store`` has two slots, each a file of its own, written in turn and in place: the newest sound
value is never touched while the next is written. A slot is allocated a quarter larger than needed,
so values that grow slowly can still be written when the disk is full. A write that fails leaves the
older value in force. A slot that does not pass its checksum is set aside as ``NAME.damaged``.

``Durable`` keeps typed values so, by name, in one directory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from vedette import whole_file
from vedette.trouble import Trouble

log = logging.getLogger(__name__)

_MAGIC = b"VEDLOGS1"
_HEAD = struct.Struct("<8sQQ")  # magic, counter, length of the value
_CRC = struct.Struct("<I")
#: A value larger than this is not believed: positions of 10,000 files are 2 MB.
_MAX_BYTES = 256 << 20
_BLOCK = 4096

_Value = TypeVar("_Value")


class Durable:
    """Values of one directory; without one (an empty path) nothing is kept. Not thread-safe.

    ``owner`` begins each line in the log, ``what`` says there what is kept.
    """

    def __init__(self, directory: str, owner: str, what: str) -> None:
        self._directory = Path(directory) if directory else None
        self._owner = owner
        self._writing = Trouble(
            log,
            f"{owner}: {what} cannot be kept",
            f"{owner}: {what} is kept again",
            level=logging.ERROR,
        )
        self._stores: dict[str, Store] = {}

    def load(self, name: str, type_: type[_Value]) -> _Value | None:
        """Return what an earlier run left under a name, if that is sound.

        Raises ``OSError`` when the directory cannot be made.
        """
        if self._directory is None:
            return None
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = self._store(self._directory, name).load()
        if data is None:
            return None
        try:
            return msgspec.msgpack.decode(zlib.decompress(data), type=type_)
        except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("%s: what was kept is not to be used reason=%s", self._owner, error)
            return None

    def save(self, name: str, value: Any) -> int | None:
        """Make a value durable and return its size on the disk, in bytes.

        None when the disk does not take it: the older value holds.
        """
        if self._directory is None:
            return 0
        store = self._store(self._directory, name)
        data = zlib.compress(msgspec.msgpack.encode(value), 1)
        return len(data) if self._writing.attempt(lambda: store.save(data)) else None

    def _store(self, directory: Path, name: str) -> Store:
        if name not in self._stores:
            self._stores[name] = Store(directory / name)
        return self._stores[name]


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
            whole_file.sync(slot.parent)
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
        log.warning("kept state cannot be read path=%s reason=%s", slot, error.strerror)
        return b""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > 2 * _MAX_BYTES:
            return b""
        with open(fd, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        log.warning("kept state cannot be read path=%s reason=%s", slot, error.strerror)
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
    log.warning("kept state was damaged or half written, set aside as=%s", aside)
