"""Append records durably to segments, under numbers that are never used twice.

The writing half of the spool. A record becomes visible only after the sync that makes it durable;
a write that fails is taken back. The order of effects is: the identity of a new epoch is durable
before anything carries its numbers; a segment's name is durable before its first record counts.

Where the next sequence comes from after a restart: the newest of what is in the segments, what
the cursors say was acknowledged or attempted, and the identity's high-water mark, which is noted
after every append without a sync. After ``kill -9`` the mark is exact, so a record that was durable
and is gone leaves a hole in the numbers; after a power loss it may lag, but every number a
destination has seen is in that destination's synced cursor.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from vedette.api import Signal
from vedette.spool.cursor import Identity, SlotFile, decode_identity
from vedette.spool.disk import FULL, Ballast, Disk, open_regular, read_fully
from vedette.spool.quarantine import Quarantine, slug
from vedette.spool.recovery import COPY_MAX, Recovered, recover
from vedette.spool.segment import (
    HEADER_SIZE,
    RECORD_SIZE,
    Header,
    Position,
    Record,
    Segment,
    encode_header,
    encode_record,
    read_record,
    seed,
    segment_name,
)

log = logging.getLogger(__name__)


class Journal:
    """The segments of one directory, oldest first, and the identity their numbers belong to.

    Not thread-safe: the spool calls it under its lock. Methods raise ``OSError``.
    """

    def __init__(
        self,
        directory: Path,
        agent: str,
        disk: Disk,
        *,
        segment_bytes: int,
        ballast: Ballast,
        quarantine: Quarantine,
        clock_ns: Callable[[], int],
        reached: Position,
    ) -> None:
        """Recover what is there; ``reached`` is the newest position any cursor knows."""
        self._directory = directory
        self._agent = agent
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._ballast = ballast
        self._quarantine = quarantine
        self._clock_ns = clock_ns
        self._writer = -1  # descriptor of the last segment while it may be written on
        self._unsaved = False  # the identity is not durable yet
        self._file = SlotFile(directory / "identity", disk)
        saved = decode_identity(self._file.load())
        if saved is not None and saved.agent != agent:
            saved = None
        found = recover(directory, agent, saved, disk, quarantine)
        self.segments = found.segments
        self.damaged, self.missing, self.torn = found.damaged, found.missing, found.torn
        if found.segments:
            reached = max(reached, found.segments[-1].last)
        self._resume(saved, reached, found)

    def _resume(self, saved: Identity | None, reached: Position, found: Recovered) -> None:
        if saved is None or reached.generation > saved.generation:
            self._renew(reached.generation + 1)
            with contextlib.suppress(OSError):  # a full disk: the first append tries again
                self._save_identity()
            return
        known = reached.sequence if reached.generation == saved.generation else 0
        self.missing += max(0, saved.sequence - known)
        self.identity = saved
        self._next = max(saved.sequence, known) + 1
        last = self.segments[-1] if self.segments else None
        if last is not None and found.appendable and last.generation == saved.generation:
            with contextlib.suppress(OSError):
                self._writer = open_regular(last.path, os.O_RDWR)
        self._note(sync=True)

    @property
    def open_segment(self) -> Segment | None:
        """The segment that is being written on."""
        return self.segments[-1] if self._writer >= 0 else None

    def append(self, bodies: Sequence[tuple[Signal, bytes]]) -> tuple[int, ...]:
        """Write records, wait until they are durable and return their sequences."""
        if self._unsaved:
            self._save_identity()
        needed = sum(RECORD_SIZE + len(body) for _, body in bodies)
        if not self._ballast.refill(needed):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._writer >= 0 and self.segments[-1].size + needed > self._segment_bytes:
            self.seal()
        now_ns = self._clock_ns()
        fresh = self._writer < 0
        segment = self._new_segment() if fresh else self.segments[-1]
        data, records = self._encode(bodies, now_ns, HEADER_SIZE if fresh else segment.size)
        if fresh:
            data = self._header(segment, now_ns) + data
        self._put(segment, data, fresh)
        for record in records:
            segment.add(record)
        segment.size += len(data)
        if fresh:
            self.segments.append(segment)
        self._next += len(records)
        self._note(sync=False)
        return tuple(record.sequence for record in records)

    def load(self, segment: Segment, index: int) -> tuple[Record, bytes] | None:
        """Read a record again; None when it is damaged by now, and then it is forgotten."""
        offset = segment.offsets[index] - RECORD_SIZE
        try:
            fd = open_regular(segment.path)
        except FileNotFoundError:
            self._condemn(segment, index, -1, "file gone")
            return None
        try:
            found = read_record(fd, offset, segment.size, seed(self._agent, segment.epoch))
            if isinstance(found, str):
                self._condemn(segment, index, fd, found)
                return None
            return found
        finally:
            os.close(fd)

    def remove(self, segment: Segment) -> None:
        """Unlink a segment that is not being written on."""
        self._disk.unlink(segment.path)
        self.segments.remove(segment)

    def seal(self) -> None:
        """Write no more on the last segment."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def close(self) -> None:
        """Let go of the files."""
        self.seal()
        if not self._unsaved:
            self._note(sync=True)
        self._file.close()

    # ------------------------------------------------------------ identity

    def _renew(self, generation: int) -> None:
        """Begin a new epoch; it is saved before the first record of it."""
        self.seal()
        self.identity = Identity(self._agent, generation, secrets.token_hex(8), 0)
        self._next = 1
        self._unsaved = True
        log.info("spool_epoch=%s generation=%d", self.identity.epoch, generation)

    def _save_identity(self) -> None:
        try:
            self._file.store(self.identity.encode())
        except OSError as error:
            if error.errno not in FULL or not self._ballast.release():
                raise
            self._file.store(self.identity.encode())
        self._unsaved = False

    def _note(self, *, sync: bool) -> None:
        """Write the high-water mark; it is a hint, so a disk that refuses it harms nothing."""
        self.identity = msgspec.structs.replace(self.identity, sequence=self._next - 1)
        with contextlib.suppress(OSError):
            self._file.store(self.identity.encode(), sync=sync)

    # ------------------------------------------------------------ writing

    def _new_segment(self) -> Segment:
        identity = self.identity
        path = self._directory / segment_name(identity.generation, self._next)
        return Segment(path, identity.generation, identity.epoch, self._next, 0)

    def _header(self, segment: Segment, now_ns: int) -> bytes:
        identity = self.identity
        return encode_header(
            Header(identity.agent, identity.generation, identity.epoch, segment.first, now_ns)
        )

    def _encode(
        self, bodies: Sequence[tuple[Signal, bytes]], now_ns: int, offset: int
    ) -> tuple[bytes, list[Record]]:
        checksum_seed = seed(self._agent, self.identity.epoch)
        chunks, records = [], []
        for sequence, (signal, body) in enumerate(bodies, self._next):
            chunks.append(encode_record(checksum_seed, sequence, now_ns, signal, body))
            records.append(Record(sequence, now_ns, signal, offset + RECORD_SIZE, len(body)))
            offset += len(chunks[-1])
        return b"".join(chunks), records

    def _put(self, segment: Segment, data: bytes, fresh: bool) -> None:
        """Write behind the segment's end and sync; on an error the segment is as it was."""
        if fresh:
            self._writer = self._create(segment.path)
        try:
            self._disk.write(self._writer, data, segment.size)
        except OSError:
            if not self._take_back(segment, fresh):
                self._renew(self.identity.generation + 1)
            raise
        try:
            self._disk.sync(self._writer)
            if fresh:
                self._disk.sync_directory(self._directory)
        except OSError:
            # What a failed sync left on the disk is unknown, and a second one proves nothing: the
            # file is not written on again and its numbers are not used again.
            self._take_back(segment, fresh)
            self._renew(self.identity.generation + 1)
            raise

    def _create(self, path: Path) -> int:
        try:
            return self._disk.create(path)
        except FileExistsError:  # nothing in it passed at the start
            self._quarantine.move(path, "in the way")
            return self._disk.create(path)

    def _take_back(self, segment: Segment, fresh: bool) -> bool:
        try:
            if fresh:
                self.seal()
                self._disk.unlink(segment.path)
            else:
                self._disk.truncate(self._writer, segment.size)
        except OSError:
            return False
        return True

    def _condemn(self, segment: Segment, index: int, fd: int, reason: str) -> None:
        """Forget a record that does not pass any more, and keep its bytes for a person."""
        offset = segment.offsets[index] - RECORD_SIZE
        length = min(RECORD_SIZE + segment.lengths[index], COPY_MAX)
        log.warning(
            "spool_segment=%s damaged_at=%d reason=%s", segment.path.name, offset, slug(reason)
        )
        data = b""
        with contextlib.suppress(OSError):
            data = read_fully(fd, length, offset) if fd >= 0 else b""
        self._quarantine.keep(f"{segment.path.name}-at-{offset}-{length}-{slug(reason)}", data)
        segment.remove(index)
        self.damaged += 1
        self.missing += 1
