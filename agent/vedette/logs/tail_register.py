"""Which files are being read, for which paths, and what is to be done with them next."""

from __future__ import annotations

import logging
import os

from vedette.logs.tail_files import Descriptors, Key, Reader
from vedette.logs.tail_settings import Counters, Source, TailSettings, source_of

log = logging.getLogger(__name__)

_MAX_TOLD = 1_000
#: The device of a file whose inode was given to another.
_NO_DEVICE = -1


class Place:
    """A path that the patterns find, and the files that went through it, the oldest first."""

    __slots__ = (
        "changed",
        "directory",
        "due",
        "encoded",
        "key",
        "losses",
        "missing_since",
        "name",
        "path",
        "queue",
        "source",
        "target",
    )

    def __init__(self, path: str, now: float) -> None:
        self.path = path
        self.directory, self.name = os.path.split(path)
        self.encoded = os.fsencode(path)
        self.source: Source = source_of(path)
        self.queue: list[Reader] = []
        #: The file at the path; None when there is none.
        self.key: Key | None = None
        #: The file's real path, where the path is or goes through a link.
        self.target = path
        #: When it changed last, when it is to be looked at again; monotonic seconds.
        self.changed = now
        self.due = now
        self.missing_since: float | None = None
        #: Times that bytes vanished unread.
        self.losses = 0

    @property
    def stem(self) -> str:
        """Return the beginning of its name, which copies of its files share."""
        return self.name.partition(".")[0]


class Register:
    """All places and all readers; each reader belongs to the queue of one place."""

    def __init__(self, settings: TailSettings, counters: Counters) -> None:
        self.settings = settings
        self.counters = counters
        self.descriptors = Descriptors(settings.descriptors)
        self.places: dict[str, Place] = {}
        self.readers: dict[Key, Reader] = {}
        self.owner: dict[Reader, Place] = {}
        #: Places with something to read; readers no longer at their place; unfinished lines.
        self.work: dict[Place, None] = {}
        self.moved: set[Reader] = set()
        self.waiting: set[Reader] = set()
        #: Copies of files that are read instead.
        self.twins: set[Reader] = set()
        self._stems: dict[tuple[str, str], dict[Place, None]] = {}
        self._told: dict[str, str] = {}
        self._disowned = 0

    def add_place(self, path: str, now: float) -> Place:
        """Take up a path."""
        place = self.places[path] = Place(path, now)
        self._stems.setdefault((place.directory, place.stem), {})[place] = None
        return place

    def drop_place(self, place: Place) -> None:
        """Forget a path that has no files."""
        self.places.pop(place.path, None)
        self.work.pop(place, None)
        stem = (place.directory, place.stem)
        near = self._stems.get(stem, {})
        near.pop(place, None)
        if not near:
            self._stems.pop(stem, None)
        self.unsay(place.path)

    def near(self, directory: str, name: str) -> list[Place]:
        """Return the places in a directory whose names begin as this one does."""
        return list(self._stems.get((directory, name.partition(".")[0]), ()))

    def enqueue(self, place: Place, reader: Reader, at: int | None = None) -> None:
        """Queue a file for a place: as its newest, or before another."""
        if reader.key[0] == _NO_DEVICE:
            self._disowned += 1
            reader.key = (_NO_DEVICE, self._disowned)
        self.readers[reader.key] = reader
        self.owner[reader] = place
        place.queue.insert(len(place.queue) if at is None else at, reader)
        if reader.moved:
            self.moved.add(reader)
        self.work[place] = None

    def leave(self, reader: Reader, now: float) -> None:
        """Mark a file that is no longer at its place; it is looked at by itself from now on."""
        if not reader.moved:
            reader.moved = reader.dirty = True
            reader.changed = reader.due = now
            reader.position = None
            self.moved.add(reader)
            self.work[self.owner[reader]] = None

    def rekey(self, reader: Reader, key: Key) -> None:
        """Go on with the same content in another file."""
        self.descriptors.drop(reader)
        if self.readers.get(reader.key) is reader:
            del self.readers[reader.key]
        reader.key = key
        reader.unlinked = False
        reader.dirty = reader.unchecked = True
        reader.position = None
        self.readers[key] = reader

    def disown(self, reader: Reader, now: float) -> None:
        """Its inode was given to another file: what it held may still be found by its bytes."""
        self._disowned += 1
        self.rekey(reader, (_NO_DEVICE, self._disowned))
        place = self.owner[reader]
        if not reader.moved:
            place.key = None
            place.due = now
        self.leave(reader, now)

    def transfer(self, reader: Reader, place: Place) -> None:
        """A file rotated away and read is at a place of its own: it belongs there from now on."""
        self.owner[reader].queue.remove(reader)
        self.owner[reader] = place
        self.moved.discard(reader)
        reader.moved = False
        reader.position = None
        place.queue.append(reader)

    def finish(self, reader: Reader) -> None:
        """Forget a file; what was not read of it is told as lost."""
        unread = max(reader.size, reader.had) - reader.offset
        for twin in [one for one in self.twins if one.twin_of is reader]:
            twin.take_over(reader)
            self.twins.discard(twin)
            self.work[self.owner[twin]] = None
            unread = 0
        if unread > 0 and not reader.nuls_to and not reader.unproven and not reader.is_twin:
            self.lose(self.owner[reader], unread)
        self.descriptors.drop(reader)
        if self.readers.get(reader.key) is reader:
            del self.readers[reader.key]
        place = self.owner.pop(reader)
        place.queue.remove(reader)
        self.moved.discard(reader)
        self.waiting.discard(reader)
        self.twins.discard(reader)
        for other in place.queue:
            if other.follows is reader:
                other.follows = None

    def lose(self, place: Place, size: int) -> None:
        """Count bytes that vanished unread."""
        self.counters.gaps += 1
        self.counters.lost_bytes += size
        place.losses += 1
        if place.losses & (place.losses - 1) == 0:  # the 1st, 2nd, 4th, 8th, ... time
            log.warning(
                "log bytes vanished unread path=%r bytes=%d times=%d",
                place.source.path,
                size,
                place.losses,
            )

    def say(self, path: str, reason: str) -> None:
        """Say once that a path cannot be read."""
        if self._told.get(path) != reason and (path in self._told or len(self._told) < _MAX_TOLD):
            self._told[path] = reason
            log.warning("log cannot be read path=%r reason=%s", source_of(path).path, reason)

    def unsay(self, path: str) -> None:
        """Say once that it can again."""
        if self._told.pop(path, None) is not None:
            log.info("log can be read again path=%r", source_of(path).path)

    @property
    def troubles(self) -> dict[str, str]:
        """Return the paths that cannot be read now, with the reason."""
        return dict(self._told)
