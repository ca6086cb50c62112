"""Which file is at which path: what appears, leaves, comes back, cannot be opened.

A path stays while files go through it, and holds them as a queue of readers, the oldest first: a
file rotated away is read to its end before the next one is begun. A file found at two places
(links, two patterns) is read once, for the place that had it first. Files that change are looked at
in each poll, files long idle ever more seldom, but at once when their directory changed.

Where to begin: in files that are there when a pattern is looked for the first time as the settings
say; in files that appear later at the beginning; in files that are known where they were left.
"""

from __future__ import annotations

import contextlib
import os
import stat

from vedette.logs.globs import Finder
from vedette.logs.positions import Positions
from vedette.logs.rotation import Found
from vedette.logs.tail_files import Reader, reader_at
from vedette.logs.tail_lineage import Lineage
from vedette.logs.tail_register import Place, Register

#: A path that was left and not taken again is forgotten after so long, found again by its pattern.
_FORGET_S = 60.0
#: A file rotated away and idle for so long needs no descriptor.
_CLOSE_S = 60.0
#: A file that is gone from a directory that is there may still come back.
_AWAY_S = 300.0
#: Idle files are looked at so many a second, together.
_LOOKS_PER_S = 500


class Places:
    """Keeps the register in step with the file system; not thread-safe."""

    def __init__(self, register: Register, lineage: Lineage) -> None:
        self._register = register
        self._lineage = lineage
        self._settings = settings = register.settings
        self.finder = Finder(
            settings.patterns, settings.exclude, depth=settings.depth, entries=settings.entries
        )
        self._patterns: set[str] = set()
        self._blocked: set[str] = set()
        self._next_search = float("-inf")
        #: The newest change known of from before: what is older in a new directory is history.
        self._alive_ns = 0

    def refresh(self, now: float) -> None:
        """Look at what is due: patterns, paths, files that moved, unfinished lines."""
        register = self._register
        if now >= self._next_search:
            self._next_search = now + self._settings.discover_s
            self._search(now)
        for place in [one for one in register.places.values() if one.due <= now]:
            self.look(place, now)
        for reader in [one for one in register.moved if one.due <= now]:
            if reader in register.owner:
                self._look_at_moved(reader, now)
        for reader in register.waiting:
            if now - reader.partial_since >= self._settings.partial_s:
                reader.flush = True
                register.work[register.owner[reader]] = None

    def positions(self, now: float) -> Positions:
        """Return how far all files are delivered."""
        files = [
            reader.told(place.encoded, now)
            for place in self._register.places.values()
            for reader in place.queue
        ]
        return Positions(tuple(sorted(self._patterns)), tuple(files))

    def restore(self, positions: Positions, now: float) -> None:
        """Go on where the positions say; before the first ``refresh``."""
        register = self._register
        self._patterns = set(positions.patterns)
        self._alive_ns = max((one.mtime_ns for one in positions.files), default=0)
        for position in positions.files[: self._settings.files]:
            path = os.fsdecode(position.path)
            reader = reader_at(position, now)
            if (reader.key in register.readers and reader.key[0] >= 0) or not self.finder.matches(
                path
            ):
                continue
            place = register.places.get(path) or register.add_place(path, now)
            register.enqueue(place, reader)
            if not reader.moved:
                place.key = reader.key

    # ------------------------------------------------------------ paths

    def _search(self, now: float) -> None:
        """Find paths that are new."""
        register, finder = self._register, self.finder
        begun = not self._patterns
        for path, pattern in finder.find(now):
            if path not in register.places and len(register.places) < self._settings.files:
                first = pattern not in self._patterns or os.path.dirname(path) in self._blocked
                self._appear(path, now, first=first)
        if begun:
            readers = register.readers.values()
            self._alive_ns = max((one.mtime_ns for one in readers), default=0)
        self._patterns.update(finder.patterns)
        for directory, reason in finder.blocked.items():
            register.say(directory, reason)
        for directory in self._blocked - finder.blocked.keys():
            register.unsay(directory)
        self._blocked = set(finder.blocked)
        if finder.changed:
            for place in register.places.values():
                target = os.path.dirname(place.target)
                if place.directory in finder.changed or target in finder.changed:
                    place.due = now
                    if place.missing_since is not None and place.queue:
                        self._lineage.depart(place, place.queue[-1], now)

    def _appear(self, path: str, now: float, *, first: bool) -> None:
        """Take up a path that was not known."""
        status = self._status(path)
        if status is not None:
            place = self._register.add_place(path, now)
            if not first:
                self._lineage.queue_new(place, status, self._is_new, now)
            at_end = first and self._settings.begin == "end"
            self._arrive(place, status, now, offset=status.st_size if at_end else 0)

    def _is_new(self, found: Found) -> bool:
        """Whether a file has come since the search before this one, or since the agent's end."""
        known = self.finder.was_there(os.path.dirname(found.path), found.key[1])
        return found.mtime_ns > self._alive_ns if known is None else not known

    def _status(self, path: str) -> os.stat_result | None:
        """Return what is at a path when that is a file; else say why not, once."""
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._register.say(path, error.strerror or type(error).__name__)
            return None
        if stat.S_ISREG(status.st_mode):
            return status
        if not stat.S_ISDIR(status.st_mode):
            self.finder.ignore(path, "not a regular file")
        return None

    def look(self, place: Place, now: float) -> None:
        """See what is at a path now."""
        status = self._status(place.path)
        if status is None:
            self._vanish(place, now)
            return
        place.missing_since = None
        key = (status.st_dev, status.st_ino)
        reader = self._register.readers.get(key) if place.key == key else None
        if reader is None:
            self._arrive(place, status, now, offset=0)
        else:
            reader.path = place.path
            self._note(place, reader, status, now)
            if reader.dirty:
                self._register.work[self._register.owner[reader]] = None
            elif reader.moved and now - reader.changed >= self._settings.grace_s:
                self._register.transfer(reader, place)
            place.changed = max(place.changed, reader.changed)
        place.due = now + self._pause(now - place.changed)

    def _note(self, place: Place, reader: Reader, status: os.stat_result, now: float) -> None:
        if reader.was_empty(status) and place.queue and place.queue[-1] is reader:
            self._lineage.queue_missed(place, reader, now)
        reader.note(status, now)
        if status.st_size and not (reader.offset or reader.evidence.head_length):
            self._lineage.introduce(reader)

    def _pause(self, idle_s: float) -> float:
        """Return how long not to look at what did not change for a while: few files never wait."""
        if idle_s < 2.0:
            return 0.0
        return min(self._settings.idle_s, idle_s / 8, len(self._register.places) / _LOOKS_PER_S)

    def _vanish(self, place: Place, now: float) -> None:
        """There is no file at a path now."""
        register = self._register
        reader = register.readers.get(place.key) if place.key is not None else None
        place.key = None
        if reader is not None and register.owner[reader] is place:
            register.leave(reader, now)
        if place.missing_since is None:
            place.missing_since = now
            if place.queue:
                self._lineage.depart(place, place.queue[-1], now)
        missing_s = now - place.missing_since
        place.due = now + self._pause(missing_s)
        if missing_s > _FORGET_S and not place.queue:
            register.drop_place(place)

    def _arrive(self, place: Place, status: os.stat_result, now: float, *, offset: int) -> None:
        """A file is at a place and was not there before."""
        register = self._register
        key = (status.st_dev, status.st_ino)
        place.changed = now
        old = self._predecessor(place, now)
        known = register.readers.get(key)
        if known is not None and known is not old and not self._lineage.is_still(known, place.path):
            register.disown(known, now)
            known = None
        if known is not None:
            self._take(place, known)
            if old is not None and old is not known:
                register.leave(old, now)
            self._note(place, known, status, now)
            return
        reader = Reader(key, place.path, offset=offset)
        if old is not None:
            register.leave(old, now)
            if not self._lineage.succeed(place, old, reader, now):
                self._take(place, old)
                return
        place.key = key
        place.target = os.path.realpath(place.path)
        reader.note(status, now)
        reader.fresh = not offset
        register.enqueue(place, reader)
        self._lineage.introduce(reader)

    def _predecessor(self, place: Place, now: float) -> Reader | None:
        """Return the file that was last at the place, if it is read for it."""
        register = self._register
        old = register.readers.get(place.key) if place.key is not None else None
        if old is None:
            return place.queue[-1] if place.queue else None
        owner = register.owner[old]
        if owner is place:
            return old
        if owner.key == old.key:  # seen there first, it is also followed there
            place.key = None
            self.look(owner, now)
        return place.queue[-1] if place.queue else None

    def _take(self, place: Place, reader: Reader) -> None:
        """A file that is known is at the place: back, under another name, or here too."""
        register = self._register
        place.key = reader.key
        place.target = os.path.realpath(place.path)
        reader.path = place.path
        reader.missing_since = None
        reader.dirty = reader.unchecked = True
        reader.position = None
        owner = register.owner[reader]
        register.work[owner] = None
        if owner is place and reader.moved:
            reader.moved = False
            register.moved.discard(reader)
            place.queue.remove(reader)
            place.queue.append(reader)

    # ------------------------------------------------------------ files that moved

    def _look_at_moved(self, reader: Reader, now: float) -> None:
        """See whether a file that left its place still grows, and whether to let go of it."""
        status = self._status_of_moved(reader)
        if status is None:
            self._seek(reader, now)
            return
        reader.unlinked = status.st_nlink == 0
        reader.note(status, now)
        register = self._register
        if reader.dirty:
            register.work[register.owner[reader]] = None
        idle_s = now - reader.changed
        reader.due = now + self._pause(idle_s)
        if reader.dirty or idle_s < self._settings.grace_s:
            return
        if reader.unlinked:
            self._end(reader)
        elif idle_s >= _CLOSE_S and reader.fd >= 0:
            register.descriptors.drop(reader)
        self._limit_generations(register.owner.get(reader))

    def _status_of_moved(self, reader: Reader) -> os.stat_result | None:
        with contextlib.suppress(OSError):
            if reader.fd >= 0:
                return os.fstat(reader.fd)
            status = os.stat(reader.path)
            if (status.st_dev, status.st_ino) == reader.key:
                return status
        return None

    def _seek(self, reader: Reader, now: float) -> None:
        """A file without a descriptor is not where it was: find it, or remember it for a time."""
        register = self._register
        place = register.owner[reader]
        path = reader.path
        self._lineage.find_moved(place, now)
        if reader.path != path:
            reader.due = now
            return
        if reader.missing_since is None:
            reader.missing_since = now
        reader.position = None
        reader.stuck = True
        missing_s = now - reader.missing_since
        reader.due = now + self._pause(missing_s)
        if missing_s >= self._patience(place, reader):
            register.finish(reader)

    def _patience(self, place: Place, reader: Reader) -> float:
        """Return how long to remember a file that cannot be found.

        Long when its directory is gone, as that may be mounted again.
        """
        if place.key is not None:
            return self._settings.grace_s
        with contextlib.suppress(OSError):
            if os.stat(place.directory).st_dev == reader.key[0]:
                return min(_AWAY_S, self._settings.keep_s)
        return self._settings.keep_s

    def _end(self, reader: Reader) -> None:
        """Let go of a file that has no name any more; its unfinished line is delivered first."""
        register = self._register
        if reader.size > reader.offset and not reader.flush and reader in register.waiting:
            reader.flush = True
            register.work[register.owner[reader]] = None
        else:
            register.finish(reader)

    def _limit_generations(self, place: Place | None) -> None:
        """Forget the oldest of many files that were rotated away and read."""
        if place is None:
            return
        moved = [one for one in place.queue if one.moved]
        for reader in moved[: max(0, len(moved) - self._settings.generations)]:
            if not reader.dirty and not self.finder.matches(reader.path):
                self._register.finish(reader)
