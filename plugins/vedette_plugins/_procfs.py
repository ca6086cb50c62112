"""Read the kernel's text files: kept open, read whole, parsed without trust.

Collectors of this package read /proc many times a minute, so a file is opened once and read with
``pread`` from its start; and what they read may be garbled (a fixture, a container's own /proc),
so a number is taken only when it is one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import TypeVar

from vedette.api import Unavailable

T = TypeVar("T")

#: First read; /proc/stat of a host with 64 cores fits.
CHUNK = 16 * 1024
#: No kernel file read here is near this; what is larger is refused.
LARGEST = 8 * 1024 * 1024
#: Kernel counters are at most 64 bits wide.
WIDEST = 1 << 64
#: Longest text from the host that becomes an attribute.
LONGEST_TEXT = 64
#: Names whose choice is remembered before all are forgotten.
CHOICES_MAX = 4096


class KernelFile:
    """One text file below /proc or /sys, read whole at each call.

    ``one_record``: the kernel writes it in one piece (``stat``, ``meminfo``), so a read that does
    not fill its buffer reached the end; others come a page at a time until a read is empty.
    """

    def __init__(self, name: str, *, one_record: bool = False) -> None:
        self.name = name
        self._one_record = one_record
        self._size = CHUNK
        self._descriptor = -1

    def read(self, base: str) -> bytes:
        """Return the whole text of ``base/name``.

        Raises ``Unavailable`` when it cannot be opened, ``OSError`` when it cannot be read or is
        absurdly large; the next call opens it anew then.
        """
        if self._descriptor < 0:
            path = f"{base}/{self.name}"
            try:
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise Unavailable(f"cannot read {path}: {error.strerror}") from error
        try:
            data = os.pread(self._descriptor, self._size, 0)
            if self._one_record and len(data) < self._size:
                return data
            return self._whole(self._descriptor, data)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the descriptor; safe twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _whole(self, descriptor: int, data: bytes) -> bytes:
        """Return the whole text, of which this is the beginning."""
        parts = [data]
        length = len(data)
        while data:
            data = os.pread(descriptor, self._size, length)
            parts.append(data)
            length += len(data)
            if length > LARGEST:
                raise OSError(errno.EFBIG, f"{self.name} is larger than {LARGEST} bytes")
        self._size = max(self._size, min(LARGEST, length + CHUNK))
        return parts[0] if len(parts) == 2 else b"".join(parts)


class Choice:
    """Choose names by globs: what ``include`` matches is in, else what ``exclude`` matches is out.

    ``verdict`` is None when no glob speaks. Verdicts are remembered.
    """

    def __init__(self, include: Iterable[str], exclude: Iterable[str]) -> None:
        self._include = tuple(include)
        self._exclude = tuple(exclude)
        self._known: dict[str, bool | None] = {}

    def verdict(self, name: str) -> bool | None:
        """Say whether the globs want the name."""
        try:
            return self._known[name]
        except KeyError:
            pass
        if len(self._known) >= CHOICES_MAX:
            self._known.clear()
        found: bool | None = None
        if any(fnmatchcase(name, glob) for glob in self._include):
            found = True
        elif any(fnmatchcase(name, glob) for glob in self._exclude):
            found = False
        self._known[name] = found
        return found


def numbers(fields: Sequence[bytes]) -> list[int] | None:
    """Return the fields as counters; None when any is not one or there is none."""
    try:
        values = list(map(int, fields))
    except ValueError:
        return None
    if not values or min(values) < 0 or max(values) >= WIDEST:
        return None
    return values


def picker(places: Sequence[int]) -> Callable[[Sequence[T]], tuple[T, ...]]:
    """Return a function that takes what is at these places, in one call and without a loop.

    It raises ``IndexError`` where there is no such place.
    """
    if len(places) > 1:
        return itemgetter(*places)
    if places:
        one = places[0]
        return lambda every: (every[one],)
    return lambda every: ()


def number_after(text: bytes, key: bytes) -> int | None:
    """Return the number that follows ``key`` on its line; ``text`` begins with a line break.

    ``key`` is given with the line break before it and the delimiter behind it, so that no longer
    key matches.
    """
    found = text.find(key)
    if found < 0:
        return None
    begin = found + len(key)
    end = text.find(b"\n", begin)
    words = text[begin : end if end >= 0 else len(text)].split(None, 1)
    values = numbers(words[:1])
    return values[0] if values else None


def printable(raw: bytes, longest: int = LONGEST_TEXT) -> str:
    """Return text from the host as it may be shown: no control characters, bounded length."""
    text = raw.decode("utf-8", "replace")[:longest]
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
