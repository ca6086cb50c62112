"""Keep the record of what became of which version: append-only, each entry chained to the last.

A line is a JSON object; its last key is the SHA-256 of all before it, in which ``before`` is the
hash of the entry before. So nothing can be changed, taken out or put in without the chain breaking
from there on, and ``verify`` names the first entry that is not what was written.

An entry is durable when ``append`` returns. What a crash tore off, a last line without its end, is
cut away at the next start, and an entry says so. At ``ROTATE_BYTES`` a new file goes on with the
chain; the newest ``KEPT_FILES`` old ones are kept.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from vedette import whole_file
from vedette.models.version import Version

FILE = "history.jsonl"
ROTATE_BYTES = 1 << 20
KEPT_FILES = 4
#: What the first entry of all has before it.
NOTHING = "0" * 64
#: An entry is a few kilobytes at most; a longer line is none.
LINE_MAX = 256 << 10

Event = Literal[
    "started",
    "reconfigured",
    "upgraded",
    "training",
    "trained",
    "shadowed",
    "promoted",
    "rejected",
    "retired",
    "rolled back",
    "forgotten",
    "mended",
    "continued",
]

_HASH = b',"hash":"'


class Entry(msgspec.Struct, frozen=True):
    """One entry. ``versions`` are those that it changed, as they are after it."""

    seq: int
    at_ns: int
    event: Event
    before: str
    detector: str = ""
    version: str = ""
    why: str = ""
    figures: Mapping[str, Any] = {}
    versions: tuple[Version, ...] = ()


class Proof(msgspec.Struct, frozen=True):
    """What ``verify`` found: how many entries from which on, and what is wrong with which one."""

    entries: int
    first: int
    last: int
    broken: int | None = None
    text: str = ""


class Anchor(msgspec.Struct, frozen=True):
    """An entry that is known to have been written, and its hash."""

    seq: int = 0
    hash: str = NOTHING


class History:
    """The record of one directory. Owned by one thread; ``open`` first."""

    def __init__(self, directory: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.directory = directory
        self.rotate_bytes = rotate_bytes
        self.last = Anchor()

    def open(self, now_ns: int, anchor: Anchor) -> list[Entry]:
        """Take up the record and mend a torn end; return the entries after ``anchor``.

        Where the record ends before the anchor it goes on after it: the gap stays to be seen.
        """
        path = self.directory / FILE
        torn = _cut_torn_end(path)
        found: list[Entry] = []
        for line in _lines(self.directory):
            entry, self.last = _taken(line, self.last)
            if entry is not None and entry.seq > anchor.seq:
                found.append(entry)
        if self.last.seq < anchor.seq:
            self.last = anchor
        if torn:
            why = f"{torn} bytes of an entry that was never finished were cut off"
            found.append(self.append(now_ns, "mended", why=why))
        return found

    def append(
        self,
        now_ns: int,
        event: Event,
        *,
        detector: str = "",
        version: str = "",
        why: str = "",
        figures: Mapping[str, Any] | None = None,
        versions: Sequence[Version] = (),
    ) -> Entry:
        """Write one entry and wait until it is on the disk; raises ``OSError``."""
        if event != "continued":
            self._rotate(now_ns)
        entry = Entry(
            seq=self.last.seq + 1,
            at_ns=now_ns,
            event=event,
            before=self.last.hash,
            detector=detector,
            version=version,
            why=why,
            figures=figures or {},
            versions=tuple(versions),
        )
        body = msgspec.json.encode(entry)
        digest = hashlib.sha256(body).hexdigest()
        self._write(body[:-1] + _HASH + digest.encode() + b'"}\n')
        self.last = Anchor(entry.seq, digest)
        return entry

    def _write(self, line: bytes) -> None:
        path = self.directory / FILE
        is_new = not path.exists()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            try:
                written = os.write(descriptor, line)
                if written == len(line):
                    os.fdatasync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before)
                raise
            if written != len(line):
                os.ftruncate(descriptor, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            os.close(descriptor)
        if is_new:
            whole_file.sync(self.directory)

    def _rotate(self, now_ns: int) -> None:
        path = self.directory / FILE
        try:
            if path.stat().st_size < self.rotate_bytes:
                return
        except FileNotFoundError:
            return
        old = self.directory / f"history-{self.last.seq:08d}.jsonl"
        path.replace(old)
        for surplus in _old_files(self.directory)[:-KEPT_FILES]:
            surplus.unlink(missing_ok=True)
        whole_file.sync(self.directory)
        self.append(now_ns, "continued", why=f"goes on from {old.name}")


def entries(directory: Path) -> list[Entry]:
    """Return all entries that are kept and can be read, oldest first; writes nothing."""
    found = (_parsed(line)[0] for line in _lines(directory))
    return [entry for entry in found if entry is not None]


def verify(directory: Path, anchor: Anchor | None = None) -> Proof:
    """Prove the chain of all entries that are kept, up to and with ``anchor``; writes nothing."""
    last: Anchor | None = None
    first = count = 0
    for line in _lines(directory):
        entry, digest = _parsed(line)
        expected = (last.seq + 1) if last else (entry.seq if entry else 1)
        if entry is None or digest is None:
            torn = not line.endswith(b"\n")
            what = "ends in the middle: a crash tore it" if torn else "is not what was written"
            return Proof(count, first, expected - 1, expected, f"entry {expected} {what}")
        if last is None:
            first = entry.seq
            # Only a file that goes on from another may be the oldest that is left.
            if entry.seq > 1 and entry.event != "continued":
                return Proof(0, first, 0, 1, f"entries 1 to {entry.seq - 1} are missing")
            last = Anchor(entry.seq - 1, entry.before if entry.seq > 1 else NOTHING)
        if entry.seq != last.seq + 1 or entry.before != last.hash:
            text = f"entry {entry.seq} does not follow entry {last.seq}"
            return Proof(count, first, last.seq, expected, text)
        last = Anchor(entry.seq, digest)
        count += 1
        if anchor is not None and entry.seq == anchor.seq and digest != anchor.hash:
            text = f"entry {entry.seq} is another than the versions were made by"
            return Proof(count, first, entry.seq, entry.seq, text)
    end = last.seq if last else 0
    if anchor is not None and anchor.seq > end:
        return Proof(count, first, end, end + 1, f"entries {end + 1} to {anchor.seq} are missing")
    return Proof(count, first, end)


def _old_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("history-*.jsonl"))


def _lines(directory: Path) -> Iterator[bytes]:
    for path in (*_old_files(directory), directory / FILE):
        try:
            with open(path, "rb") as file:
                yield from iter(lambda: file.readline(LINE_MAX), b"")
        except FileNotFoundError:
            continue


def _parsed(line: bytes) -> tuple[Entry | None, str | None]:
    """Return the entry and its hash; None for what is not as it was written."""
    head, _, tail = line.rpartition(_HASH)
    body = head + b"}"
    digest = hashlib.sha256(body).hexdigest()
    if tail != digest.encode() + b'"}\n':
        return None, None
    try:
        return msgspec.json.decode(body, type=Entry), digest
    except msgspec.DecodeError:
        return None, None


def _taken(line: bytes, last: Anchor) -> tuple[Entry | None, Anchor]:
    """Return the entry and where the chain is after it; a broken entry keeps its place."""
    entry, digest = _parsed(line)
    if entry is None or digest is None:
        return None, Anchor(last.seq + 1, hashlib.sha256(line).hexdigest())
    return entry, Anchor(entry.seq, digest)


def _cut_torn_end(path: Path) -> int:
    """Cut off a last line without its end; return its bytes."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        size = os.fstat(descriptor).st_size
        start = max(0, size - LINE_MAX)
        whole = os.pread(descriptor, size - start, start)
        torn = len(whole) - (whole.rfind(b"\n") + 1)
        if torn:
            os.ftruncate(descriptor, size - torn)
            os.fdatasync(descriptor)
        return torn
    finally:
        os.close(descriptor)
