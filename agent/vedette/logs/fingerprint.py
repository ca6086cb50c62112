"""Know a file again by its bytes, since a name and an inode number can be given to another.

What is remembered of the bytes before a place in a file, never more than about 200 bytes however
large the file is:

    head   a hash of the first bytes, up to 256; it grows with the file until it is full
    tail   a CRC of the (at most) 64 bytes just before the place
    marks  CRCs of the (at most) 64 bytes before 32, 64, 128, 256, ... bytes, one for each doubling

Head and tail together tell that a file was truncated and grew again beyond the place, that an
inode was given to a new file, and which file is the copy of another. The marks tell a file that
was cut to a part of itself (what is left has been read) from one that was emptied and written anew:
more than half of what is left must still be what it was. Two files whose bytes agree at all of
these places are taken for one; only a log without time stamps that repeats itself can do that.

Cost: a hash of 256 bytes and a CRC of 64 for each time that a file which grew is read, about 2 µs.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib

HEAD = 256
TAIL = 64
#: The first mark is at 32 bytes, a time stamp and a little more.
_FIRST_MARK = 32


class Evidence:
    """What is remembered of the bytes before an offset; the offset itself is kept by the caller."""

    __slots__ = ("head", "head_length", "marks", "tail")

    def __init__(
        self, head_length: int = 0, head: int = 0, tail: int = 0, marks: bytes = b""
    ) -> None:
        self.head_length = head_length
        self.head = head
        self.tail = tail
        self.marks = marks

    def copy(self) -> Evidence:
        """Return the same, to be changed on its own."""
        return Evidence(self.head_length, self.head, self.tail, self.marks)

    def extend(self, fd: int, offset: int) -> None:
        """Take in head and marks up to ``offset``; the tail is set by who read the bytes."""
        if self.head_length < HEAD and self.head_length < offset:
            head = os.pread(fd, min(HEAD, offset), 0)
            self.head_length, self.head = len(head), _digest(head)
        while (place := _FIRST_MARK << (len(self.marks) // 4)) <= offset:
            crc = _crc_before(fd, place)
            if crc < 0:  # truncated meanwhile
                break
            self.marks += struct.pack("<I", crc)

    def head_agrees(self, fd: int) -> bool:
        """Whether the file begins as it did."""
        if not self.head_length:
            return True
        head = os.pread(fd, self.head_length, 0)
        return len(head) == self.head_length and _digest(head) == self.head

    def agrees(self, fd: int, offset: int) -> bool:
        """Whether the file holds, as far as is known, the same bytes up to ``offset``."""
        return _crc_before(fd, offset) == self.tail and self.head_agrees(fd)

    def agrees_below(self, fd: int, size: int) -> bool:
        """Whether a file of ``size`` bytes, less than were read, is the beginning of what it was.

        False when less than 32 bytes are left: too little to tell.
        """
        if size < _FIRST_MARK:
            return False
        last = min(size.bit_length() - _FIRST_MARK.bit_length(), len(self.marks) // 4 - 1)
        if last < 0 or _FIRST_MARK << last <= size // 2:
            return False
        (mark,) = struct.unpack_from("<I", self.marks, last * 4)
        if _crc_before(fd, _FIRST_MARK << last) != mark:
            return False
        return size < self.head_length or self.head_agrees(fd)


def evidence_of(fd: int, offset: int) -> Evidence:
    """Read what is to be remembered of the bytes before ``offset``."""
    evidence = Evidence(tail=_crc_before(fd, offset))
    evidence.extend(fd, offset)
    return evidence


def tail_of(data: bytes, end: int) -> int:
    """Return the CRC of the (at most) 64 bytes of ``data`` before ``end``."""
    return zlib.crc32(data[max(0, end - TAIL) : end])


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _crc_before(fd: int, offset: int) -> int:
    """Return the CRC of the bytes before an offset; -1, which no CRC is, without them."""
    length = min(TAIL, offset)
    data = os.pread(fd, length, offset - length)
    return zlib.crc32(data) if len(data) == length else -1
