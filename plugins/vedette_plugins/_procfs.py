"""Read the kernel's text files: kept open, read whole, parsed without trust.

Collectors of this package read /proc many times a minute, so a file is opened once and read with
``pread`` from its start (what is read seldom, with ``beginning``); and what they read may be
garbled (a fixture, a container's own /proc), so a number is taken only when it is one.
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

#: sysfs hands out a page at most.
PAGE = 4096
#: What is read whole without knowing its size: in such pieces, and so many of them.
PIECE, PIECES_MAX = 64 * 1024, 64
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


def beginning(path: str, most: int = PAGE) -> bytes:
    """Return what a file begins with, opened and closed again; empty when it cannot be read."""
    return beginning_if_any(path, most) or b""


def beginning_if_any(path: str, most: int = PAGE) -> bytes | None:
    """Return what a file begins with, opened and closed again; None when it cannot be read."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(descriptor, most)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def whole(path: str) -> bytes:
    """Return the content of a file, as far as it is no larger than expected; empty without one."""
    parts: list[bytes] = []
    try:
        with open(path, "rb", buffering=0) as file:
            # In pieces: the kernel allocates what a sysctl is asked for.
            while len(parts) < PIECES_MAX and (part := file.read(PIECE)):
                parts.append(part)
    except OSError:
        return b""
    return b"".join(parts)


def listed(folder: str) -> list[str]:
    """Return the names in a folder, in order; none when it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:
        return []


def numbers(fields: Sequence[bytes]) -> list[int] | None:
    """Return the fields as counters; None when any is not one or there is none."""
    try:
        values = list(map(int, fields))
    except ValueError:
        return None
    if not values or min(values) < 0 or max(values) >= WIDEST:
        return None
    return values


def first_number(text: bytes) -> int | None:
    """Return the number that a text's first word is; None when it is none."""
    values = numbers(text.split(None, 1)[:1])
    return values[0] if values else None


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
    return first_number(text[begin : end if end >= 0 else len(text)])


def printable(raw: bytes, longest: int = LONGEST_TEXT) -> str:
    """Return text from the host as it may be shown: no control characters, bounded length."""
    text = raw.decode("utf-8", "replace")[:longest]
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
