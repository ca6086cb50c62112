"""Keep a few numbers durably in a file that never needs new space: two slots, written in turn.

The file is allocated once and then overwritten in place, which works at 0 bytes free, where the
usual temporary file and rename does not. Each slot carries a counter and a checksum; the newest
slot that passes counts, and a write never touches the slot that was last made durable, so an
interrupted write leaves the older value.

Two things are kept so: a destination's place in the spool (``Cursor``) and which epoch the spool
is in (``Identity``).
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import msgspec

from vedette.spool.disk import Disk, open_regular, read_fully
from vedette.spool.segment import Position

_MAGIC = b"VEDSLOT1"
#: A slot each in a block of its own: a torn block can only cost one of them.
_SLOT_SIZE = 4096
_HEAD = struct.Struct("<8sQI")
_CRC = struct.Struct("<I")
_CURSOR = struct.Struct("<QQQQ")
_IDENTITY = struct.Struct("<QQQH64s")


class SlotFile:
    """The newest durable value of a small record; created with the first ``store``.

    Not thread-safe. ``damaged`` says that a file was there and held no value that passes.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self.damaged = False
        self._disk = disk
        self._fd = -1
        self._counter = 0
        self._durable = 0  # the slot that must stay as it is until another is durable

    def load(self) -> bytes | None:
        """Return the newest value that passes its checksum; None when there is none."""
        if not os.path.lexists(self.path):
            return None
        try:
            self._fd = open_regular(self.path, os.O_RDWR)
            slots = [
                _decode_slot(read_fully(self._fd, _SLOT_SIZE, slot * _SLOT_SIZE)) for slot in (0, 1)
            ]
        except OSError:
            slots = [None, None]
        found = [(value, slot) for slot, value in enumerate(slots) if value is not None]
        if not found:
            self.damaged = True
            self.close()
            return None
        (self._counter, payload), self._durable = max(found)
        return payload

    def store(self, payload: bytes, *, sync: bool = True) -> None:
        """Write a value; durable on return if ``sync``. Raises ``OSError``, then the old holds."""
        if self._fd < 0:
            self._create()
        slot = 1 - self._durable
        head = _HEAD.pack(_MAGIC, self._counter + 1, len(payload))
        body = head + payload
        data = body + _CRC.pack(zlib.crc32(body))
        self._disk.write(self._fd, data, slot * _SLOT_SIZE)
        if sync:
            self._disk.sync(self._fd)
            self._durable = slot
        self._counter += 1

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _create(self) -> None:
        if os.path.lexists(self.path):  # damaged, or no file at all: out of the way, for a person
            self._disk.rename(self.path, self.path.with_name(f"{self.path.name}.damaged"))
        fd = self._disk.create(self.path)
        try:
            self._disk.write(fd, bytes(2 * _SLOT_SIZE), 0)
            self._disk.sync(fd)
            self._disk.sync_directory(self.path.parent)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd


class Cursor:
    """How far one destination is: what it acknowledged, and what may have reached it."""

    def __init__(self, file: SlotFile) -> None:
        self._file = file
        self.acknowledged = Position(0, 0)
        self.attempted = Position(0, 0)
        payload = file.load()
        if payload is not None and len(payload) == _CURSOR.size:
            values = _CURSOR.unpack(payload)
            self.acknowledged = Position(*values[:2])
            self.attempted = Position(*values[2:])

    @property
    def damaged(self) -> bool:
        """Whether a place was kept but could not be read."""
        return self._file.damaged

    def store(self, acknowledged: Position, attempted: Position) -> None:
        """Move on, durably; raises ``OSError`` and stays where it was."""
        attempted = max(attempted, acknowledged)
        self._file.store(_CURSOR.pack(*acknowledged, *attempted))
        self.acknowledged, self.attempted = acknowledged, attempted

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Identity(msgspec.Struct, frozen=True):
    """Which agent and epoch the spool writes for, and the newest sequence known to be durable."""

    agent: str
    generation: int
    epoch: str
    sequence: int

    def encode(self) -> bytes:
        """Return the identity as a slot's value."""
        agent = self.agent.encode()
        return _IDENTITY.pack(
            self.generation, int(self.epoch, 16), self.sequence, len(agent), agent
        )


def decode_identity(payload: bytes | None) -> Identity | None:
    """Return the identity a slot held; None when it held none."""
    if payload is None or len(payload) != _IDENTITY.size:
        return None
    generation, epoch, sequence, length, agent = _IDENTITY.unpack(payload)
    return Identity(agent[:length].decode(errors="replace"), generation, f"{epoch:016x}", sequence)


def _decode_slot(data: bytes) -> tuple[int, bytes] | None:
    if len(data) < _HEAD.size:
        return None
    magic, counter, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    if magic != _MAGIC or end + _CRC.size > len(data):
        return None
    if _CRC.unpack_from(data, end)[0] != zlib.crc32(data[:end]):
        return None
    return counter, data[_HEAD.size : end]
