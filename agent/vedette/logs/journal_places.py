"""Know where a host keeps its journal, which of its files matter, and notice that they change.

An open file costs a descriptor and half a MiB of mapped memory, and a host may have a hundred. What
is read to its end and will not be written any more need not be opened: the headers of the files
tell, whose first 208 bytes are the same in all versions (systemd, "Journal File Format").
"""

from __future__ import annotations

import os
import re
import stat
import struct

import msgspec

from vedette.logs.journal_entry import CLOCKS_APART_MAX_US, Position, parse_cursor, realtime_of

#: Below a root: what lasts, and what is gone with the next boot.
PERSISTENT, VOLATILE = "var/log/journal", "run/log/journal"
MACHINE_ID = "/etc/machine-id"
#: More directories and files than these are not looked at.
DIRECTORIES_MAX, FILES_MAX = 64, 4096

_MACHINE = re.compile(r"[0-9a-f]{32}\Z")
_FILE = re.compile(r".+\.journal~?\Z")
#: What is not written any more is renamed: ``system@....journal``, ``system@....journal~``.
_ARCHIVED = re.compile(r".*@.*\.journal\Z|.*~\Z")
#: Signature, the line's id, number and Unix µs of the last entry.
_HEADER = struct.Struct("<8s64x16s72xQ24xQ8x")
_SIGNATURE = b"LPKSHHRH"


class Place(msgspec.Struct, frozen=True):
    """One directory: where it is, and the names and inodes of the journal's files in it."""

    path: str
    device: int
    inode: int
    files: tuple[tuple[str, int], ...]

    def itself(self) -> tuple[str, int, int]:
        return self.path, self.device, self.inode


class Look(msgspec.Struct, frozen=True):
    """What was found: the directories, how many files may be read and how many may not."""

    places: tuple[Place, ...]
    readable: int
    denied: int


class Places:
    """The directories of one journal: a given one, or the host's two."""

    def __init__(self, root: str = "/", directory: str = "") -> None:
        self.root = root
        self.directory = directory
        self._machine = _Machine()

    def __str__(self) -> str:
        return " or ".join(self._tops())

    def now(self) -> tuple[Place, ...]:
        """Return what is there: unequal whenever a file or directory came, went or was renamed.

        The times of directories would tell with less work, but not two changes in one tick.
        """
        found = []
        for path in self._directories():
            try:
                status = os.stat(path)
                files = _journal_files(path)
            except OSError:
                continue
            found.append(Place(path, status.st_dev, status.st_ino, files))
        return tuple(found)

    def look(self) -> Look:
        """List the journal's files and try to open each of them."""
        places = self.now()
        opened = [_opens(f"{place.path}/{name}") for place in places for name, _ in place.files]
        return Look(places, sum(opened), len(opened) - sum(opened))

    def files_from(self, cursor: str) -> list[str]:
        """Return the files that may have entries after a cursor, or the one it names.

        Without a cursor those that are being written. What is no journal is left out.
        """
        position, realtime = parse_cursor(cursor), realtime_of(cursor)
        return [
            f"{place.path}/{name}"
            for place in self.now()
            for name, _ in place.files
            if _matters(f"{place.path}/{name}", position, realtime)
        ]

    def _tops(self) -> list[str]:
        if self.directory:
            return [self.directory]
        return [os.path.join(self.root, place) for place in (PERSISTENT, VOLATILE)]

    def _directories(self) -> list[str]:
        """Return the directories that the library will look into: the tops, and one per machine."""
        found = []
        ours = not self.directory and self.root == "/"
        machine = self._machine.id() if ours else ""
        for top in self._tops():
            found.append(top)
            names = [machine] if ours else _names(top)
            found += [f"{top}/{name}" for name in names if _MACHINE.match(name)]
        return found[:DIRECTORIES_MAX]


class _Machine:
    """This machine's id, read again when its file is another: it is asked for at each poll."""

    def __init__(self) -> None:
        self._file: tuple[int, int, int] | None = None
        self._id = ""

    def id(self) -> str:
        try:
            status = os.stat(MACHINE_ID)
            file = status.st_dev, status.st_ino, status.st_mtime_ns
            if file != self._file:
                with open(MACHINE_ID) as opened:
                    self._id, self._file = opened.read(64).strip(), file
        except (OSError, ValueError):
            self._id, self._file = "", None
        return self._id


def _names(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:
        return []


def _journal_files(path: str) -> tuple[tuple[str, int], ...]:
    with os.scandir(path) as entries:
        found = [(entry.name, entry.inode()) for entry in entries if _FILE.match(entry.name)]
    return tuple(sorted(found)[:FILES_MAX])


def _opens(path: str) -> bool:
    """Tell whether a file may be read; what is no file is left out by the library as well."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _matters(path: str, position: Position | None, realtime_us: int | None) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            head = os.read(descriptor, _HEADER.size)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    if len(head) < _HEADER.size or not head.startswith(_SIGNATURE):
        return False
    if not _ARCHIVED.match(path):
        return True
    if realtime_us is None:
        return False
    _, line, number, last_us = _HEADER.unpack(head)
    if position is not None and line.hex() == position.line:
        return bool(number >= position.number)
    return bool(last_us + CLOCKS_APART_MAX_US >= realtime_us)
