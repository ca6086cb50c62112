"""Read and write one segment of the spool: a header and records that each prove themselves.

A segment is append-only and named after its generation and its first sequence, so the names in
order are the records in order. A generation is the ordinal of an epoch within one directory.

    segment = header record*
    header  = magic "VEDSPOOL", version, generation, epoch, first sequence, created, agent, CRC-32
    record  = magic, length, sequence, time, signal, CRC-32, payload (a gzip'd OTLP request)

All numbers are little-endian. A record's checksum covers its header and payload and is seeded with
agent and epoch: bytes of another spool, or bytes inside a payload that merely look like a record,
do not pass. After damage the reader searches the next magic that is followed by a record that
passes, so it loses exactly the records that were hit (the length field of a damaged record is not
believed). A segment with a damaged header is still read, because the seed is known from elsewhere.
"""

from __future__ import annotations

import bisect
import re
import struct
import zlib
from array import array
from pathlib import Path
from typing import NamedTuple

import msgspec

from vedette.api import Signal
from vedette.spool.disk import read_fully

VERSION = 1
#: More than any request a receiver accepts; a length beyond it is damage.
PAYLOAD_MAX = 16 * 1024 * 1024
AGENT_MAX = 64

_HEADER_MAGIC = b"VEDSPOOL"
_HEADER = struct.Struct("<8sHHQQQQ64s")
_RECORD_MAGIC = b"\xc5VR\x9e"
_RECORD = struct.Struct("<4sIQqB3x")
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEADER.size + _CRC.size
RECORD_SIZE = _RECORD.size + _CRC.size

_SIGNALS: tuple[Signal, ...] = ("metrics", "logs")
_NAME = re.compile(r"^(\d{8})-(\d{20})\.seg$")
_SEARCH_STEP = 256 * 1024


class Position(NamedTuple):
    """A place in the spool, ordered: the generation of an epoch, and a sequence within it."""

    generation: int
    sequence: int


class Header(msgspec.Struct, frozen=True):
    """What the head of a segment says."""

    agent: str
    generation: int
    epoch: str
    first: int
    created_ns: int


class Record(msgspec.Struct, frozen=True):
    """One record that passed its checksum; ``offset`` and ``length`` are the payload's."""

    sequence: int
    time_ns: int
    signal: Signal
    offset: int
    length: int


class Damage(msgspec.Struct, frozen=True):
    """Bytes of a segment that are no record, and how many sequences are missing there."""

    offset: int
    length: int
    reason: str
    missing: int


class Segment:
    """What the spool remembers of one file: where its records are, 32 bytes each."""

    def __init__(self, path: Path, generation: int, epoch: str, first: int, size: int) -> None:
        self.path = path
        self.generation = generation
        self.epoch = epoch
        self.first = first
        self.size = size
        self.sequences = array("Q")
        self.times = array("q")
        self.offsets = array("Q")
        self.lengths = array("Q")

    @property
    def last(self) -> Position:
        """The position of the newest record, or the one before the first."""
        return Position(self.generation, self.sequences[-1] if self.sequences else self.first - 1)

    def add(self, record: Record) -> None:
        """Remember one more record; sequences only grow."""
        self.sequences.append(record.sequence)
        self.times.append(record.time_ns)
        self.offsets.append(record.offset)
        self.lengths.append(record.length)

    def remove(self, index: int) -> None:
        """Forget a record."""
        for column in (self.sequences, self.times, self.offsets, self.lengths):
            column.pop(index)

    def after(self, position: Position) -> int:
        """Return the index of the first record behind a position; the count when there is none."""
        if position.generation > self.generation:
            return len(self.sequences)
        if position.generation < self.generation:
            return 0
        return bisect.bisect_right(self.sequences, position.sequence)


def segment_name(generation: int, first: int) -> str:
    """Return the file name of the segment that begins with a sequence."""
    return f"{generation:08d}-{first:020d}.seg"


def parse_name(name: str) -> Position | None:
    """Return generation and first sequence of a segment's file name; None for another file."""
    match = _NAME.match(name)
    return Position(int(match[1]), int(match[2])) if match else None


def seed(agent: str, epoch: str) -> int:
    """Return what the checksums of an epoch's records start from."""
    return zlib.crc32(f"{agent}/{epoch}".encode())


def encode_header(header: Header) -> bytes:
    """Return the first bytes of a segment file."""
    agent = header.agent.encode()
    body = _HEADER.pack(
        _HEADER_MAGIC,
        VERSION,
        len(agent),
        header.generation,
        int(header.epoch, 16),
        header.first,
        header.created_ns,
        agent,
    )
    return body + _CRC.pack(zlib.crc32(body))


def decode_header(data: bytes) -> Header | str:
    """Return the header, or why there is none: ``"version"`` or ``"header"`` (damaged)."""
    if len(data) < HEADER_SIZE:
        return "header"
    body = data[: _HEADER.size]
    magic, version, length, generation, epoch, first, created_ns, agent = _HEADER.unpack(body)
    if magic != _HEADER_MAGIC:
        return "header"
    if _CRC.unpack_from(data, _HEADER.size)[0] != zlib.crc32(body):
        # Another version may well put its checksum elsewhere; this one's with a flipped bit in the
        # version field is told apart by the checksum that fits once the field is put right.
        own = body[:8] + VERSION.to_bytes(2, "little") + body[10:]
        fits = _CRC.unpack_from(data, _HEADER.size)[0] == zlib.crc32(own)
        # There never was a version 0: zeros are a block that was lost.
        return "header" if version in (0, VERSION) or fits else "version"
    if version != VERSION:
        return "version"
    try:
        name = agent[:length].decode()
    except UnicodeDecodeError:
        return "header"
    return Header(name, generation, f"{epoch:016x}", first, created_ns)


def encode_record(seed: int, sequence: int, time_ns: int, signal: Signal, payload: bytes) -> bytes:
    """Return one record with its checksum."""
    head = _RECORD.pack(_RECORD_MAGIC, len(payload), sequence, time_ns, _SIGNALS.index(signal))
    return head + _CRC.pack(zlib.crc32(payload, zlib.crc32(head, seed))) + payload


def read_record(fd: int, offset: int, size: int, seed: int) -> tuple[Record, bytes] | str:
    """Read the record that begins at ``offset``; a text says why there is none.

    ``size`` is where the file ends. An error of the device is an answer too: what cannot be read
    is damaged.
    """
    try:
        head = read_fully(fd, RECORD_SIZE, offset)
        if len(head) < RECORD_SIZE:
            return "cut short"
        magic, length, sequence, time_ns, signal = _RECORD.unpack_from(head)
        if magic != _RECORD_MAGIC:
            return "no record"
        if length > PAYLOAD_MAX:
            return "length"
        if offset + RECORD_SIZE + length > size:
            return "cut short"
        payload = read_fully(fd, length, offset + RECORD_SIZE)
    except OSError:
        return "unreadable"
    expected = _CRC.unpack_from(head, _RECORD.size)[0]
    if zlib.crc32(payload, zlib.crc32(head[: _RECORD.size], seed)) != expected:
        return "checksum"
    if signal >= len(_SIGNALS):
        return "signal"
    record = Record(sequence, time_ns, _SIGNALS[signal], offset + RECORD_SIZE, length)
    return record, payload


def scan(fd: int, segment: Segment, seed: int, floor: int) -> list[Damage]:
    """Find the records of a segment's file and remember them; return what lies between them.

    Sequences at or below ``floor`` were seen before, so their bytes count as damage.
    """
    damages: list[Damage] = []
    offset, size, last = HEADER_SIZE, segment.size, floor
    bad_from, reason = -1, ""
    while offset < size:
        found = read_record(fd, offset, size, seed)
        if not isinstance(found, str) and found[0].sequence <= last:
            found = "repeated"
        if isinstance(found, str):
            if bad_from < 0:
                bad_from, reason = offset, found
            offset = _next_magic(fd, offset + 1, size)
            continue
        record = found[0]
        if bad_from >= 0:
            missing = max(0 if reason == "repeated" else 1, record.sequence - last - 1)
            begin = record.offset - RECORD_SIZE
            damages.append(Damage(bad_from, begin - bad_from, reason, missing))
            bad_from = -1
        segment.add(record)
        last = record.sequence
        offset = record.offset + record.length
    if bad_from >= 0:
        damages.append(Damage(bad_from, size - bad_from, reason, 1))
    return damages


def _next_magic(fd: int, offset: int, size: int) -> int:
    """Return where the next record may begin, ``size`` when nowhere."""
    while offset < size:
        try:
            chunk = read_fully(fd, _SEARCH_STEP, offset)
        except OSError:
            chunk = b""  # an unreadable stretch holds no record; look behind it
        found = chunk.find(_RECORD_MAGIC)
        if found >= 0:
            return min(offset + found, size)
        offset += _SEARCH_STEP - len(_RECORD_MAGIC) + 1
    return size
