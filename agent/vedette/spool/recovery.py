"""Find out what a spool's directory still holds, whatever happened to it.

The start of the spool always succeeds. A torn tail of the newest segment is what a crash in
mid-write leaves: it is cut off. Any other bytes that are no record are stepped over. Files that
are not this agent's, not this version's or not files at all are moved out of the way. What is cut
off, stepped over or moved is kept in the quarantine, and counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import msgspec

from vedette.spool.cursor import Identity
from vedette.spool.disk import Disk, open_regular, read_fully
from vedette.spool.quarantine import Quarantine, slug
from vedette.spool.segment import (
    HEADER_SIZE,
    Damage,
    Header,
    Position,
    Segment,
    decode_header,
    parse_name,
    scan,
    seed,
    segment_name,
)

log = logging.getLogger(__name__)

#: Of one damaged stretch no more than this is copied.
COPY_MAX = 1024 * 1024


class Recovered(msgspec.Struct):
    """What was found: segments with records in order, and what is wrong with the rest.

    ``damaged`` counts stretches and files, ``missing`` the records that were known to be there and
    are gone, ``torn`` the tails cut off after a crash. ``appendable`` says whether the last segment
    may be written on.
    """

    segments: list[Segment]
    damaged: int = 0
    missing: int = 0
    torn: int = 0
    appendable: bool = False


def recover(
    directory: Path, agent: str, identity: Identity | None, disk: Disk, quarantine: Quarantine
) -> Recovered:
    """Read every segment in ``directory``. Raises ``OSError`` only if it cannot be listed."""
    return _Recovery(directory, agent, disk, quarantine).run(identity)


class _Recovery:
    def __init__(self, directory: Path, agent: str, disk: Disk, quarantine: Quarantine) -> None:
        self._directory = directory
        self._agent = agent
        self._disk = disk
        self._quarantine = quarantine
        self._found = Recovered([])

    def run(self, identity: Identity | None) -> Recovered:
        headers = self._headers()
        epochs = {each.generation: each.epoch for each in headers.values() if each is not None}
        if identity is not None:
            epochs.setdefault(identity.generation, identity.epoch)
        newest = max(headers, default=Position(0, 0))
        floor = Position(0, 0)
        for name in sorted(headers):
            path = self._directory / segment_name(*name)
            epoch = epochs.get(name.generation)
            if epoch is None:  # nothing says what its checksums start from
                self._move(path, "header")
                continue
            segment = Segment(path, name.generation, epoch, name.sequence, _size(path))
            below = floor.sequence if floor.generation == name.generation else 0
            whole = self._read(segment, headers[name], below, name == newest)
            if not segment.sequences:
                with contextlib.suppress(OSError):
                    self._disk.unlink(path)
                continue
            floor = segment.last
            self._found.segments.append(segment)
            self._found.appendable = whole and name == newest
        return self._found

    def _headers(self) -> dict[Position, Header | None]:
        """Return the segments that may hold records of this agent; None for a damaged header."""
        headers: dict[Position, Header | None] = {}
        for path in sorted(self._directory.iterdir()):
            name = parse_name(path.name)
            if name is None:
                continue
            header = _header(path)
            if header == "header":
                headers[name] = None
            elif isinstance(header, str):
                self._move(path, header)
            elif header.agent != self._agent:
                self._move(path, "foreign agent")
            elif name != (header.generation, header.first):
                self._move(path, "misnamed")
            else:
                headers[name] = header
        return headers

    def _move(self, path: Path, reason: str) -> None:
        log.warning("spool_segment=%s moved=true reason=%s", path.name, slug(reason))
        self._found.damaged += 1
        self._quarantine.move(path, reason)

    def _read(self, segment: Segment, header: Header | None, below: int, newest: bool) -> bool:
        """Fill a segment's index and deal with what is damaged; True if it may be written on."""
        try:
            fd = open_regular(segment.path)
        except OSError:
            self._found.damaged += 1
            return False
        try:
            floor = max(below, segment.first - 1)
            damages = scan(fd, segment, seed(self._agent, segment.epoch), floor)
            if header is None:
                damages.insert(0, Damage(0, min(HEADER_SIZE, segment.size), "header", 0))
            whole = header is not None
            for damage in damages:
                if newest and damage.offset + damage.length == segment.size:
                    whole = self._cut(fd, segment, damage) and whole
                else:
                    self._step_over(fd, segment, damage)
        finally:
            os.close(fd)
        return whole

    def _cut(self, fd: int, segment: Segment, damage: Damage) -> bool:
        """Cut a torn tail off, once it is copied; False if the file had to stay as it is."""
        self._found.torn += damage.length > 0
        if not self._copy(fd, segment, damage):
            return False
        try:
            writable = open_regular(segment.path, os.O_RDWR)
            try:
                self._disk.truncate(writable, damage.offset)
            finally:
                os.close(writable)
        except OSError:
            return False
        segment.size = damage.offset
        return True

    def _step_over(self, fd: int, segment: Segment, damage: Damage) -> None:
        if not self._quarantine.holds(_copy_name(segment, damage)):  # not seen at an earlier start
            self._found.damaged += 1
            self._found.missing += damage.missing
            self._copy(fd, segment, damage)

    def _copy(self, fd: int, segment: Segment, damage: Damage) -> bool:
        if not damage.length:
            return True
        log.warning(
            "spool_segment=%s damaged_at=%d bytes=%d reason=%s",
            segment.path.name,
            damage.offset,
            damage.length,
            slug(damage.reason),
        )
        try:
            data = read_fully(fd, min(damage.length, COPY_MAX), damage.offset)
        except OSError:
            data = b""
        return self._quarantine.keep(_copy_name(segment, damage), data)


def _header(path: Path) -> Header | str:
    try:
        fd = open_regular(path)
    except OSError:
        return "not a file"
    try:
        return decode_header(read_fully(fd, HEADER_SIZE, 0))
    except OSError:
        return "header"
    finally:
        os.close(fd)


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _copy_name(segment: Segment, damage: Damage) -> str:
    return f"{segment.path.name}-at-{damage.offset}-{damage.length}-{slug(damage.reason)}"
