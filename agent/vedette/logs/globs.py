"""Find files by patterns, again and again, at the price of one ``stat`` per directory.

``*``, ``?`` and ``[...]`` match within one name (a leading dot only when the pattern has it),
``**`` matches any number of directories, without following links to directories and no deeper than
``depth``. A directory is listed again when its time of change is another, or was another less than
two seconds ago: file systems stamp with the resolution of a timer tick, so a file made just after
the listing need not change the stamp.

Nothing is opened here. What is found may still be no log: compressed files, sockets and the like
are told as ``ignored``, with a reason each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: A file already compressed is finished, and was read before it was compressed.
COMPRESSED = (".gz", ".xz", ".zst", ".bz2", ".lz4", ".lzo", ".Z", ".zip", ".br", ".tgz")
#: Beneath these, files are made up by the kernel.
KERNEL_TREES = ("/proc/", "/sys/", "/dev/")
_SETTLE_S = 2.0
_MAX_IGNORED = 1_000
_MAGIC = re.compile(r"[*?[]")
_PIECES = re.compile(r"\*+|\[[!^]?\]?[^\]/]*\]|.", re.DOTALL)
_NOT_HIDDEN = r"(?!\.)"
_NOTHING = re.compile(r"(?!)")


class _Listing:
    """The names in one directory, by kind; ``linked`` are links to directories."""

    __slots__ = (
        "directories",
        "files",
        "inodes",
        "linked",
        "matched",
        "noticed",
        "others",
        "settled",
        "stamp",
    )

    def __init__(self, stamp: tuple[int, int, int], noticed: float, settled: bool) -> None:
        self.stamp = stamp
        self.noticed = noticed
        self.settled = settled
        self.files: list[str] = []
        self.inodes: set[int] = set()
        self.directories: list[str] = []
        self.linked: list[str] = []
        self.others: list[tuple[str, str]] = []
        self.matched: dict[re.Pattern[str], list[str]] = {}

    def add(self, entry: os.DirEntry[str]) -> None:
        """Sort one entry in; a link that leads nowhere is taken for a file to come."""
        if entry.is_file(follow_symlinks=False):
            self.files.append(entry.name)
            self.inodes.add(entry.inode())
        elif entry.is_dir(follow_symlinks=False):
            self.directories.append(entry.name)
        elif entry.is_symlink():
            (self.linked if entry.is_dir() else self.files).append(entry.name)
        else:
            self.others.append((entry.name, "not a regular file"))


class Match(NamedTuple):
    """A path and the pattern that found it first."""

    path: str
    pattern: str


class Finder:
    """What a set of patterns finds now; not thread-safe."""

    def __init__(
        self,
        patterns: Sequence[str],
        exclude: Sequence[str] = (),
        *,
        depth: int = 8,
        entries: int = 50_000,
    ) -> None:
        self.patterns = tuple(dict.fromkeys(patterns))
        self._exclude = _compiled("|".join(map(_excluding, exclude))) if exclude else None
        self._match = {one: _compiled(_whole(one)) for one in self.patterns}
        self._parts = {one: _parts(one) for one in self.patterns}
        self._depth = depth
        self._entries = entries
        self._left = entries
        self._cache: dict[str, _Listing] = {}
        self._before: dict[str, _Listing] = {}
        self._seen: dict[str, _Listing] = {}
        self._names: dict[str, re.Pattern[str]] = {}
        self._now = 0.0
        #: Directories that are not to be read, with the reason.
        self.blocked: dict[str, str] = {}
        #: Directories whose names may have changed since the search before.
        self.changed: set[str] = set()
        #: Paths that match and are no logs, with the reason.
        self.ignored: dict[str, str] = {}
        #: Whether the last search ended at its bound of entries.
        self.full = False

    def find(self, now: float) -> list[Match]:
        """Search once; each path once, in the patterns' order."""
        self._now = now
        self._left = self._entries
        self._seen = {}
        self.blocked, self.changed, self.ignored = {}, set(), {}
        found: dict[str, str] = {}
        for pattern in self.patterns:
            for path in self._walk("/", self._parts[pattern], self._depth):
                if path not in found and self._wanted(path):
                    found[path] = pattern
        self._before, self._cache = self._cache, self._seen
        self.full = self._left <= 0
        return [Match(path, pattern) for path, pattern in found.items()]

    def matches(self, path: str) -> bool:
        """Whether the patterns mean this path, be there a file or not."""
        if self._exclude is not None and self._exclude.fullmatch(path):
            return False
        return any(one.fullmatch(path) for one in self._match.values())

    def was_there(self, directory: str, inode: int) -> bool | None:
        """Whether a file was in a directory at the search before the last; None: not looked."""
        before = self._before.get(directory)
        return None if before is None else inode in before.inodes

    def ignore(self, path: str, reason: str) -> None:
        """Note a path that matches and is no log."""
        if len(self.ignored) < _MAX_IGNORED:
            self.ignored[path] = reason

    def _wanted(self, path: str) -> bool:
        if self._exclude is not None and self._exclude.fullmatch(path):
            return False
        if path.endswith(COMPRESSED):
            self.ignore(path, "compressed")
            return False
        if path.startswith(KERNEL_TREES):
            self.ignore(path, "made up by the kernel")
            return False
        return True

    def _walk(self, base: str, parts: tuple[str, ...], depth: int) -> Iterator[str]:
        part, rest = parts[0], parts[1:]
        if part == "**":
            yield from self._walk(base, rest or ("*",), depth)
            if depth > 0:
                for name in self._list(base).directories:
                    yield from self._walk(os.path.join(base, name), parts, depth - 1)
        elif not _MAGIC.search(part):
            path = os.path.join(base, part)
            if rest:
                yield from self._walk(path, rest, depth)
            elif os.path.lexists(path):
                yield path
        elif rest:
            match = self._pattern(part).fullmatch
            listing = self._list(base)
            for name in (*listing.directories, *listing.linked):
                if match(name):
                    yield from self._walk(os.path.join(base, name), rest, depth)
        else:
            yield from self._files(base, self._pattern(part))

    def _files(self, base: str, pattern: re.Pattern[str]) -> list[str]:
        listing = self._list(base)
        matched = listing.matched.get(pattern)
        if matched is None:
            names = [name for name in listing.files if pattern.fullmatch(name)]
            matched = listing.matched[pattern] = [os.path.join(base, name) for name in names]
        for name, reason in listing.others:
            if pattern.fullmatch(name):
                self.ignore(os.path.join(base, name), reason)
        return matched

    def _list(self, directory: str) -> _Listing:
        """Return what is in a directory, from memory when it did not change."""
        seen = self._seen.get(directory)
        if seen is not None:
            return seen
        try:
            listing = self._looked_at(directory)
        except (FileNotFoundError, NotADirectoryError):
            listing = _Listing((0, 0, 0), self._now, settled=False)
        except OSError as error:
            self.blocked[directory] = error.strerror or type(error).__name__
            listing = _Listing((0, 0, 0), self._now, settled=False)
        self._seen[directory] = listing
        return listing

    def _looked_at(self, directory: str) -> _Listing:
        status = os.stat(directory)
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns)
        known = self._cache.get(directory)
        same = known is not None and known.stamp == stamp
        if known is not None and same and known.settled:
            self._left -= len(known.directories) + 1
            return known
        noticed = known.noticed if known is not None and same else self._now
        listing = _Listing(stamp, noticed, self._now - noticed >= _SETTLE_S)
        with os.scandir(directory) as entries:
            for entry in entries:
                self._left -= 1
                if self._left <= 0:
                    break
                listing.add(entry)
        listing.files.sort()
        self.changed.add(directory)
        return listing

    def _pattern(self, part: str) -> re.Pattern[str]:
        found = self._names.get(part)
        if found is None:
            found = self._names[part] = _compiled(_name(part))
        return found


def _parts(pattern: str) -> tuple[str, ...]:
    parts = tuple(part for part in os.path.normpath(os.path.join("/", pattern)).split("/") if part)
    return parts or ("*",)


def _name(part: str) -> str:
    """Return a regular expression for one name; runs of stars are one star."""
    text = "" if part.startswith(".") else _NOT_HIDDEN
    for piece in _PIECES.findall(part):
        if piece[0] == "*":
            text += "[^/]*"
        elif piece == "?":
            text += "[^/]"
        elif len(piece) > 1:
            negated = piece[1] in "!^"
            inner = piece[1 + negated : -1].replace("\\", r"\\").replace("[", r"\[")
            text += f"[{'^/' if negated else ''}{inner.replace('^', chr(92) + '^')}]"
        else:
            text += re.escape(piece)
    return text


def _compiled(expression: str) -> re.Pattern[str]:
    """Compile; a set that is none (``[z-a]``) matches nothing."""
    try:
        return re.compile(expression, re.DOTALL)
    except re.error:
        return _NOTHING


def _whole(pattern: str) -> str:
    """Return a regular expression for whole paths."""
    parts = _parts(pattern)
    text = "".join(r"(?:/[^/]+)*" if part == "**" else "/" + _name(part) for part in parts)
    return text + "/[^/]+" if parts[-1] == "**" else text


def _excluding(pattern: str) -> str:
    """Return a regular expression for whole paths: a pattern without a slash means names."""
    if "/" in pattern:
        return f"(?:{_whole(pattern)})"
    return f"(?:(?:.*/)?{_name(pattern).removeprefix(_NOT_HIDDEN)})"
