"""Where a file went, and which files came between: what a rotation leaves behind in directories.

A file that is no longer at its path is looked for by its inode, then by its bytes (a copy, maybe on
another file system), in the directory it was in, in that of the file a link led to, in the
directories named for rotated files, and in their subdirectories (a few). Files that were rotated
into and out of the path between two looks are recognised by their names,

    app.log.1  app.1.log  app.log.old  app.log-20260801-1700000000  app-2026-08-01.log

and read when they were last written after the file that was read last, in the order of their
numbers or dates, else of their times of change. Of a number the smaller is the newer, of a date the
larger.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from vedette.logs.fingerprint import Evidence
from vedette.logs.globs import COMPRESSED
from vedette.logs.tail_files import Key, Reader

_MAX_ENTRIES = 50_000
_MAX_DIRECTORIES = 16
#: A rotation takes a millisecond; one that comes with each reading is not waited for.
_TRIES = 8
_MAX_CANDIDATES = 64
_GENERATION = re.compile(r"[.\-_]?(?:(\d[\d.\-_T:Z+]*)|old|prev|bak|last)")
#: So many digits and more are a date, or a time in seconds.
_DATE_DIGITS = 6
_DIGITS = re.compile(r"\d+")


class Found(NamedTuple):
    """A file found near a path."""

    path: str
    key: Key
    size: int
    mtime_ns: int


class Surroundings:
    """The regular files in some directories, as they are now; compressed ones left out.

    Files may be renamed while their names are read, one seen twice and another not at all:
    directories are read until they are twice the same, and again when a file is not what it was.
    """

    def __init__(self, directories: Iterable[str], *, deep: bool = False) -> None:
        self._directories = tuple(dict.fromkeys(directories))
        self._deep = deep
        self._names: list[tuple[str, str, int]] = []
        self._left = _MAX_ENTRIES
        self._read()

    def at(self, key: Key) -> Found | None:
        """Return where a file is now."""
        for _ in range(_TRIES):
            paths = [path for _, path, inode in self._names if inode == key[1]]
            for path in paths:
                if (found := _stat(path)) is not None and found.key == key:
                    return found
            if not paths:
                return None
            self._read()
        return None

    def generations(self, base: str) -> list[Found]:
        """Return the files whose names are those of older generations of ``base``."""
        found: list[Found] = []
        for _ in range(_TRIES):
            names = [one for one in self._names if age(one[0], base) is not None]
            found = [one for _, path, _ in names if (one := _stat(path)) is not None]
            if [one.key[1] for one in found] == [inode for _, _, inode in names]:
                break
            self._read()
        return found

    def stepped(self, first: str | None, last: str) -> list[Found]:
        """Return the files a link stepped over: numbered between the two it led to, or below."""
        low, high = _numbers(first or ""), _numbers(last)
        shape = _DIGITS.sub("0", last)
        if (first and shape != _DIGITS.sub("0", first)) or low >= high:
            return []
        between = sorted(
            (_numbers(path), path)
            for _, path, _ in self._names
            if _DIGITS.sub("0", path) == shape and low < _numbers(path) < high
        )
        return [found for _, path in between if (found := _stat(path)) is not None]

    def copy_of(self, reader: Reader, base: str, is_free: Callable[[Found], bool]) -> Found | None:
        """Return the file that holds what was read of another; of several the newest."""
        stem = base.partition(".")[0]
        near = [path for name, path, _ in self._names if name.startswith(stem)]
        found = [one for path in near if (one := _stat(path)) is not None]
        # Older ones may begin with the same header, a copy is no older than what was read.
        found = [one for one in found if one.mtime_ns >= reader.seen_ns]
        found.sort(key=lambda one: one.mtime_ns, reverse=True)
        for one in found[:_MAX_CANDIDATES]:
            if one.key != reader.key and is_copy(one, reader) and is_free(one):
                return one
        return None

    def _read(self) -> None:
        before: list[tuple[str, str, int]] | None = None
        for _ in range(_TRIES):
            self._names = []
            self._left = _MAX_ENTRIES
            below = [one for directory in self._directories for one in self._scan(directory)]
            if self._deep:
                for directory in below[:_MAX_DIRECTORIES]:
                    self._scan(directory)
            self._names.sort()
            if self._names == before:
                return
            before = self._names

    def _scan(self, directory: str) -> list[str]:
        """Take in a directory's files; return its subdirectories."""
        below: list[str] = []
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    break
                if entry.is_file(follow_symlinks=False):
                    if not entry.name.endswith(COMPRESSED):
                        self._names.append((entry.name, entry.path, entry.inode()))
                elif entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
        return below


class Age(NamedTuple):
    """How old a generation is by its name: of one kind, the larger value is the newer."""

    kind: str
    value: tuple[int, ...]


def age(name: str, base: str) -> Age | None:
    """Return the age of a generation of ``base``; None when the name is not that of one."""
    stem, extension = os.path.splitext(base)
    if name == base:
        return None
    for prefix, suffix in ((base, ""), (stem, extension)):
        if name.startswith(prefix) and name.endswith(suffix):
            middle = name[len(prefix) : len(name) - len(suffix)]
            match = _GENERATION.fullmatch(middle)
            if match is not None:
                return _age(match[1])
    return None


def _age(digits: str | None) -> Age:
    if digits is None:
        return Age("word", ())
    numbers = _numbers(digits)
    if len(re.sub(r"\D", "", digits)) >= _DATE_DIGITS:
        return Age("date", numbers)
    return Age("number", tuple(-one for one in numbers))


def between(
    generations: Sequence[Found],
    base: str,
    anchor: Found | None,
    since_ns: int,
    taken: Collection[Key],
) -> list[Found]:
    """Return the generations newer than the file that was read last, the oldest first.

    ``anchor`` is where that file is now, ``since_ns`` when it was last written.
    """
    mark = age(os.path.basename(anchor.path), base) if anchor is not None else None
    chosen: list[tuple[Age, Found]] = []
    for one in generations:
        own = age(os.path.basename(one.path), base)
        if own is None or one.key in taken or not one.size or one.mtime_ns < since_ns:
            continue
        if mark is not None and mark.kind == own.kind and mark.value:
            if own.value <= mark.value:
                continue
        elif one.mtime_ns == since_ns:
            continue
        chosen.append((own, one))
    kinds = {own.kind for own, _ in chosen}
    if len(kinds) == 1 and kinds != {"word"}:
        chosen.sort(key=lambda pair: pair[0].value)
    else:
        chosen.sort(key=lambda pair: pair[1].mtime_ns)
    return [one for _, one in chosen]


def is_copy(found: Found, reader: Reader) -> bool:
    """Whether a file begins as another did, as far as that was read."""
    evidence: Evidence = reader.evidence
    if not evidence.head_length or reader.unproven:
        return False
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(found.path, flags)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != found.key:
            return False
        if found.size >= reader.offset:
            return evidence.agrees(fd, reader.offset)
        return evidence.agrees_below(fd, found.size)
    except OSError:
        return False
    finally:
        os.close(fd)


def _numbers(path: str) -> tuple[int, ...]:
    return tuple(int(one) for one in _DIGITS.findall(path))


def _stat(path: str) -> Found | None:
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return Found(path, (status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns)
