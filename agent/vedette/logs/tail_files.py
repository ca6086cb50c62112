"""One file of the tail: how far it is read, and the descriptors of all, of which few are open."""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections import OrderedDict

from vedette.logs.fingerprint import HEAD, TAIL, Evidence, evidence_of, tail_of
from vedette.logs.positions import Position
from vedette.logs.splitting import Split, sniff, split

#: Device and inode.
Key = tuple[int, int]

#: Bytes asked for at once; the same again is the longest line.
BLOCK = 256 * 1024
#: Room for what a file has grown by since its size was seen.
_SPARE = 4096
#: Of a run of NULs that is no hole, as much is looked through at once.
_NUL_BLOCKS = 64


class Reader:
    """A file being read. Everything it has delivered is before ``offset``; nothing else is kept.

    A line whose end has not come stays in the file and is read again when the file has changed.
    """

    __slots__ = (
        "at_end",
        "changed",
        "codec",
        "dirty",
        "due",
        "evidence",
        "fd",
        "flush",
        "follows",
        "fresh",
        "had",
        "is_copy",
        "key",
        "mid_line",
        "missing_since",
        "moved",
        "mtime_ns",
        "nuls_to",
        "offset",
        "partial",
        "partial_since",
        "path",
        "position",
        "proven",
        "seen_ns",
        "size",
        "stuck",
        "twin_of",
        "unchecked",
        "unlinked",
        "unproven",
    )

    def __init__(self, key: Key, path: str, *, offset: int = 0) -> None:
        self.key = key
        #: Where it can be opened.
        self.path = path
        self.fd = -1
        self.offset = offset
        #: Size and time of change when last looked at.
        self.size = 0
        self.mtime_ns = 0
        #: The time of change up to which it is read.
        self.seen_ns = 0
        #: How many bytes of this content there have been.
        self.had = 0
        self.evidence = Evidence()
        #: Begun at its end, and nothing is known yet of the bytes before.
        self.unproven = offset > 0
        self.mid_line = False
        self.codec = 0
        #: No longer at its place.
        self.moved = False
        #: Unlinked: gone with its descriptor.
        self.unlinked = False
        #: A copy made by rotation: nobody writes to it.
        self.is_copy = False
        #: To be read; ``unchecked``: and whether it is still the same file is to be seen first.
        self.dirty = True
        self.unchecked = True
        self.at_end = False
        #: Cannot be read until it is looked at again.
        self.stuck = False
        #: When it changed last, and when a moved one is to be looked at again; monotonic seconds.
        self.changed = 0.0
        self.due = 0.0
        self.missing_since: float | None = None
        #: Size and age of the unfinished last line.
        self.partial = 0
        self.partial_since = 0.0
        self.flush = False
        #: New, and maybe a copy of another.
        self.fresh = False
        #: The unlinked file it may be an edited copy of.
        self.follows: Reader | None = None
        #: The file it is a copy of, as long as that is read instead.
        self.twin_of: Reader | None = None
        self.nuls_to = 0
        self.position: Position | None = None
        #: Read by the descriptor it has: the inode cannot have been given away.
        self.proven = False

    @property
    def is_twin(self) -> bool:
        """Return whether another file with the same bytes is read instead."""
        return self.twin_of is not None

    @property
    def wanted(self) -> bool:
        """Return whether it is to be read now."""
        return (self.dirty or self.flush) and not self.stuck

    @property
    def was_seen(self) -> bool:
        """Return whether anything of its content is known."""
        return bool(self.offset or self.evidence.head_length)

    def was_empty(self, status: os.stat_result) -> bool:
        """Return whether nothing was ever seen in it, and something has been done to it since."""
        untouched = not self.was_seen and (self.at_end or not self.size)
        return untouched and 0 < self.mtime_ns != status.st_mtime_ns

    def note(self, status: os.stat_result, now: float) -> None:
        """Take notice of size and time of change."""
        self.stuck = False
        if self.missing_since is not None:
            self.missing_since = self.position = None
        if status.st_size < self.size:
            self.had = max(self.had, self.size)
        if status.st_size != self.size or status.st_mtime_ns != self.mtime_ns:
            self.size = status.st_size
            self.mtime_ns = status.st_mtime_ns
            self.seen_ns = self.seen_ns or self.mtime_ns
            self.changed = now
            self.dirty = self.unchecked = True
            self.position = None

    def introduce(self, fd: int) -> None:
        """Take in how a new file begins, so that it is known again before its turn comes."""
        if not self.offset:
            self.evidence.extend(fd, len(os.pread(fd, HEAD, 0).rstrip(b"\0")))

    def read(self, fd: int, *, max_line: int, final: bool) -> Split | None:
        """Read one block of lines and move on; None when the bytes before it have changed."""
        if self.unchecked and not self.evidence.head_agrees(fd):
            return None
        overlap = min(TAIL, self.offset)
        wanted = min(BLOCK, max(0, self.size - self.offset) + _SPARE)
        block = os.pread(fd, overlap + wanted, self.offset - overlap)
        if len(block) < overlap or zlib.crc32(block[:overlap]) != self.evidence.tail:
            return None
        self.unchecked = False
        self.proven = True
        length = len(block) - overlap
        self.had = self.offset + length
        known = self.had if self.codec else self.offset + len(block.rstrip(b"\0")) - overlap
        self.at_end = length < wanted
        self.size = max(self.size, self.had)  # it may have grown: the next block is larger then
        if length == 0:
            return Split([], 0, self.mid_line, 0, 0)
        begin = overlap + self._begin(block, final=final and self.at_end)
        if begin < overlap:
            return Split([], 0, False, 0, 0)
        result = split(
            block[begin:],
            codec=self.codec,
            mid_line=self.mid_line,
            max_line=min(max_line, BLOCK // 2),
            final=final and self.at_end,
        )
        end = begin + result.used
        if end > overlap:
            self._move(self.offset + end - overlap, tail_of(block, end), result.mid_line)
        elif not self.at_end:
            self._skip_nuls(fd)
        self.evidence.extend(fd, known)
        return result

    def _begin(self, block: bytes, *, final: bool) -> int:
        """Return the length of the byte order mark, -1 when it cannot be told yet."""
        if self.offset:
            return 0
        mark = sniff(block, final=final)
        if mark is None:
            return -1
        self.codec, length = mark
        return length

    def _move(self, offset: int, tail: int, mid_line: bool) -> None:
        self.offset = offset
        self.mid_line = mid_line
        self.evidence.tail = tail
        self.nuls_to = 0
        self.position = None

    def _skip_nuls(self, fd: int) -> None:
        """Move to the first byte that is not NUL, when there is one; else stay."""
        at = max(self.offset, self.nuls_to)
        for _ in range(_NUL_BLOCKS):
            with contextlib.suppress(OSError):  # no data beyond, or not known here: read on
                at = os.lseek(fd, at, os.SEEK_DATA)
            block = os.pread(fd, BLOCK, at)
            solid = block.lstrip(b"\0")
            if solid:
                self.settle(fd, at + len(block) - len(solid), mid_line=self.mid_line)
                return
            if not block:
                self.at_end = True
                return
            at += len(block)
            self.nuls_to = at

    def settle(self, fd: int, offset: int, *, mid_line: bool) -> None:
        """Go to an offset that was not reached by reading."""
        self.evidence = evidence_of(fd, offset)
        self.offset = offset
        self.mid_line = mid_line
        self.unproven = False
        self.nuls_to = self.had = 0
        self.position = None

    def begin_at_end(self, fd: int) -> bool:
        """Take in what is before the place to begin; False when the file is shorter by now."""
        if os.fstat(fd).st_size < self.offset:
            return False
        last = os.pread(fd, 1, self.offset - 1)
        mark = sniff(os.pread(fd, 3, 0), final=True)
        self.codec = mark[0] if mark else 0
        mid_line = last != b"\n" if not self.codec else False
        self.settle(fd, self.offset & ~1 if self.codec else self.offset, mid_line=mid_line)
        return True

    def restart(self) -> None:
        """Begin at the first byte: the content is another."""
        self.offset = 0
        self.evidence = Evidence()
        self.mid_line = self.unproven = False
        self.codec = self.nuls_to = self.had = 0
        self.follows = None
        self.dirty = self.unchecked = True
        self.position = None

    def continues(self, fd: int, other: Reader) -> bool:
        """Go on where another file was left, when this one holds what was read of that."""
        if other.unproven or not other.evidence.agrees(fd, other.offset):
            return False
        self.take_over(other)
        return True

    def take_over(self, other: Reader) -> None:
        """Go on where another file with the same bytes was left."""
        self.offset = other.offset
        self.evidence = other.evidence.copy()
        self.mid_line = other.mid_line
        self.codec = other.codec
        self.unproven = other.unproven
        self.twin_of = self.position = None
        self.dirty = self.unchecked = True

    def told(self, place: bytes, now: float) -> Position:
        """Return the position, for the place it belongs to."""
        if self.position is None or self.missing_since is not None:
            missing = 0.0 if self.missing_since is None else now - self.missing_since
            evidence = self.evidence
            self.position = Position(
                path=place,
                device=self.key[0],
                inode=self.key[1],
                offset=self.offset,
                size=self.size,
                mtime_ns=self.seen_ns,
                head_length=evidence.head_length,
                head=evidence.head,
                tail=evidence.tail,
                marks=evidence.marks,
                mid_line=self.mid_line,
                codec=self.codec,
                moved=self.moved,
                is_copy=self.is_copy or self.is_twin,
                unproven=self.unproven,
                found_at=os.fsencode(self.path) if self.moved else b"",
                missing_s=missing,
            )
        return self.position


def reader_at(position: Position, now: float) -> Reader:
    """Return a reader that goes on at a position."""
    path = position.found_at or position.path
    reader = Reader((position.device, position.inode), os.fsdecode(path), offset=position.offset)
    reader.evidence = Evidence(position.head_length, position.head, position.tail, position.marks)
    reader.size = position.size
    reader.mtime_ns = reader.seen_ns = position.mtime_ns
    reader.had = position.size
    reader.mid_line = position.mid_line
    reader.codec = position.codec
    reader.moved = position.moved
    reader.is_copy = position.is_copy
    reader.unproven = position.unproven
    reader.fresh = not (position.offset or position.moved)
    reader.changed = now
    if position.missing_s:
        reader.missing_since = now - position.missing_s
    return reader


class ElsewhereError(Exception):
    """The file is not where it was last found."""


class Descriptors:
    """Open files, the least lately used closed when there are too many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: OrderedDict[Reader, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def get(self, reader: Reader) -> int:
        """Return its descriptor; raises ``OSError``, ``ElsewhereError``."""
        if reader.fd < 0:
            reader.fd = _open(reader)
            self._open[reader] = None
            if len(self._open) > self._limit:
                self._close_one(reader)
        else:
            self._open.move_to_end(reader)
        return reader.fd

    def drop(self, reader: Reader) -> None:
        """Close its descriptor, if there is one."""
        if reader.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(reader.fd)
            reader.fd = -1
            reader.proven = False
            self._open.pop(reader, None)

    def close(self) -> None:
        """Close all."""
        for reader in tuple(self._open):
            self.drop(reader)

    def _close_one(self, wanted: Reader) -> None:
        """Close the one least lately used, one that has been read and still has a name if any."""
        oldest = None
        for reader in self._open:
            if reader is wanted:
                continue
            if not reader.dirty and not reader.unlinked and not reader.moved:
                self.drop(reader)
                return
            if oldest is None and not reader.unlinked:
                oldest = reader
        if oldest is None:
            oldest = next(iter(self._open))
        self.drop(oldest)


def _open(reader: Reader) -> int:
    """Open without waiting, without becoming a terminal's owner, without leaving a trace."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(reader.path, flags | os.O_NOATIME)
    except PermissionError:  # only an owner may leave the time of access alone
        fd = os.open(reader.path, flags)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ElsewhereError from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) != reader.key:
        os.close(fd)
        raise ElsewhereError
    return fd
