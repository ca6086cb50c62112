"""What became of a file: rotated away, copied and truncated, replaced, cut; nothing read twice.

what is seen                                    what is done
another inode at the path                       the old file is read on by its descriptor, or found
                                                by inode or bytes; files that came between are
                                                queued; the new one is read from its beginning
bytes before the place are others, or are gone  truncated, or the inode was given away: a copy of
                                                the old content is looked for and its rest is read;
                                                then the file from its beginning
what is left is the beginning of what was read  cut in place: goes on at the end of it
the old file is unlinked, the new begins with   saved by an editor, restored: goes on where the old
all that was read of it                         one was left
a new file is a copy of one that is read        not read again; when the other is truncated, the
                                                rest of the copy is; when it grows by itself, it
                                                is a log of its own from there on
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from vedette.logs.fingerprint import evidence_of
from vedette.logs.rotation import Found, Surroundings, age, between
from vedette.logs.tail_files import ElsewhereError, Key, Reader
from vedette.logs.tail_register import Place, Register

#: Content that goes on under another inode must be known by a whole head.
SURE_BYTES = 256


class Lineage:
    """Finds what preceded a file at its place, and what is left of it."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._settings = register.settings
        self._counters = register.counters
        self._recent: dict[str, Surroundings] = {}
        self._searched = float("-inf")

    def succeed(self, place: Place, old: Reader, new: Reader, now: float) -> bool:
        """A file took the place of another: find the old one, and what came between them.

        False when the new file is the old one, restored under another inode.
        """
        register = self._register
        self._counters.rotations += 1
        self.see_links(old)
        around = self._around(place)
        anchor = self._again(place, old, around)
        if anchor is None and not old.unlinked:
            around = self._around(place, deep=True)
            anchor = self._again(place, old, around)
        since_ns = old.seen_ns
        if anchor is None and old.fd < 0:
            if self._goes_on(old, new):
                register.rekey(old, new.key)
                old.path = place.path
                return False
            anchor = self._go_on_in_copy(place, old, around, new, now)
            if anchor is None:
                register.finish(old)
            else:
                since_ns = anchor.mtime_ns
        self._learn_paths(place, around)
        mark = anchor if old.was_seen else None
        queued = self._queue_between(place, around, mark, since_ns, now, new)
        self.let_follow(old, anchor, (*queued, new))
        return True

    def depart(self, place: Place, old: Reader, now: float) -> None:
        """A file left its place, and there is none there now: others may have come and gone."""
        self.see_links(old)
        around = self._around(place)
        anchor = self._again(place, old, around)
        since_ns = old.seen_ns
        if anchor is None and old.fd < 0:
            anchor = self._go_on_in_copy(place, old, around, None, now)
            since_ns = anchor.mtime_ns if anchor is not None else since_ns
        mark = anchor if old.was_seen else None
        queued = self._queue_between(place, around, mark, since_ns, now, None)
        self.let_follow(old, anchor, queued)

    def queue_new(
        self,
        place: Place,
        status: os.stat_result,
        is_new: Callable[[Found], bool],
        now: float,
    ) -> None:
        """A path is new: queue what has been rotated through it already since the last search."""
        around = self._around(place)
        target = os.path.realpath(place.path)
        missed = [*around.generations(place.name), *around.stepped(None, target)]
        known = [one.key for one in missed if not is_new(one)]
        newest = Reader((status.st_dev, status.st_ino), place.path)
        self._queue_between(place, around, None, -1, now, newest, known)

    def queue_missed(self, place: Place, reader: Reader, now: float) -> None:
        """An empty file changed: it may have been filled, copied and truncated in between."""
        self._queue_between(place, self._around(place), None, reader.mtime_ns, now, reader)

    def changed(self, reader: Reader, fd: int, now: float) -> None:
        """The bytes before the offset are not those that were delivered: find out, and go on."""
        register = self._register
        place = register.owner[reader]
        status = os.fstat(fd)
        register.work[place] = None
        self._counters.truncations += 1
        unread = max(0, reader.had - reader.offset)
        reader.size, reader.mtime_ns = status.st_size, status.st_mtime_ns
        if reader.unproven:
            reader.restart()
            return
        stranger = reader.moved and not (reader.proven or self._is_generation(reader, place))
        if reader.is_copy or stranger:
            register.finish(reader)
            return
        evidence = reader.evidence
        if status.st_size < reader.offset and evidence.agrees_below(fd, status.st_size):
            if unread:
                register.lose(place, unread)
            reader.settle(fd, status.st_size, mid_line=False)
            return
        around = self._around(place, deep=True)
        copy = around.copy_of(reader, place.name, lambda one: self._is_free(one, now))
        if copy is not None:
            self._salvage(place, reader, copy, now)
        elif unread:
            register.lose(place, unread)
        since_ns = copy.mtime_ns if copy is not None else reader.seen_ns
        self._queue_between(place, around, copy, since_ns, now, reader)
        reader.restart()
        self.introduce(reader)

    def _is_generation(self, reader: Reader, place: Place) -> bool:
        return age(os.path.basename(reader.path), place.name) is not None

    def find_moved(self, place: Place, now: float) -> None:
        """Learn where older files of a place are now."""
        if self._searched != now:
            self._searched = now
            self._recent.clear()
        around = self._recent.get(place.directory)
        if around is None:  # one search for all that is missing in a directory
            around = self._recent[place.directory] = self._around(place, deep=True)
        self._learn_paths(place, around)

    def _learn_paths(self, place: Place, around: Surroundings) -> None:
        for reader in place.queue:
            if reader.moved and self._again(place, reader, around) is not None:
                reader.missing_since = None

    def introduce(self, reader: Reader) -> None:
        """Take in how a file begins, in case it is truncated before its turn comes."""
        with contextlib.suppress(OSError, ElsewhereError):  # told when it is to be read
            reader.introduce(self._register.descriptors.get(reader))

    def see_links(self, reader: Reader) -> None:
        """See whether an open file has been unlinked, and when it was last written."""
        if reader.fd >= 0:
            status = os.fstat(reader.fd)
            reader.unlinked = status.st_nlink == 0

    def is_still(self, reader: Reader, path: str) -> bool:
        """Whether a known inode at a path that is not known is the known file, not a new one."""
        if reader.fd >= 0:
            return True
        owner = self._register.owner[reader]
        before, reader.path = reader.path, path
        try:
            fd = self._register.descriptors.get(reader)
            if reader.was_seen and not reader.unproven:
                same = reader.evidence.agrees(fd, reader.offset)
            else:  # nothing of it has been seen: any file is read from where it would be
                same = reader.unproven or before == path
                same = same or (reader.moved and self._is_generation(reader, owner))
        except (OSError, ElsewhereError):
            same = True  # renamed again, or not to be opened: nothing speaks against it
        if not same:
            self._register.descriptors.drop(reader)
            reader.path = before
        return same

    # ------------------------------------------------------------ copies

    def _salvage(self, place: Place, reader: Reader, copy: Found, now: float) -> None:
        """Queue the rest of a copy before the file it was made of."""
        self._claim(copy, reader)
        ghost = Reader(copy.key, copy.path)
        ghost.evidence = reader.evidence.copy()
        ghost.offset = min(reader.offset, copy.size)
        ghost.unproven = ghost.offset < reader.offset
        ghost.mid_line, ghost.codec = reader.mid_line, reader.codec
        ghost.moved = ghost.is_copy = True
        ghost.follows = reader.follows
        ghost.size, ghost.mtime_ns = copy.size, copy.mtime_ns
        ghost.changed = now
        self._register.enqueue(place, ghost, place.queue.index(reader))
        self._counters.copies += 1
        self._counters.salvaged_bytes += copy.size - ghost.offset

    def _go_on_in_copy(
        self, place: Place, old: Reader, around: Surroundings, new: Reader | None, now: float
    ) -> Found | None:
        """Find a file that is gone by its bytes, and go on with it there."""
        taken = new.key if new is not None else None
        copy = around.copy_of(
            old, place.name, lambda one: one.key != taken and self._is_free(one, now)
        )
        if copy is not None:
            self._claim(copy, old)
            self._register.rekey(old, copy.key)
            old.path, old.is_copy = copy.path, True
            old.offset = min(old.offset, copy.size)
            self._counters.copies += 1
        return copy

    def _is_free(self, found: Found, now: float) -> bool:
        """Whether nothing was read from a file as from a log of its own."""
        known = self._register.readers.get(found.key)
        if known is None or known.is_twin or known.is_copy or not known.offset:
            return True
        if self.is_still(known, found.path):
            return False
        self._register.disown(known, now)
        return True

    def _claim(self, copy: Found, reader: Reader) -> None:
        """Take a copy that was taken for a log of its own."""
        known = self._register.readers.get(copy.key)
        if known is not None:
            known.twin_of = reader
            self._register.finish(known)

    # ------------------------------------------------------------ what is around

    def _around(self, place: Place, *, deep: bool = False) -> Surroundings:
        real = os.path.dirname(place.target)
        directories = (place.directory, real, *self._settings.rotated_to)
        return Surroundings(directories, deep=deep)

    def _again(self, place: Place, old: Reader, around: Surroundings) -> Found | None:
        """Find a file by its inode; without a descriptor its bytes must agree too."""
        found = around.at(old.key)
        if found is None:
            return None
        untouched = not old.was_seen and age(os.path.basename(found.path), place.name) is not None
        if not untouched and not self.is_still(old, found.path):
            return None
        old.path = found.path
        return found

    def _goes_on(self, old: Reader, new: Reader) -> bool:
        """Whether a new file begins with all that was read of the old one, which is gone."""
        sure = old.offset >= SURE_BYTES or (old.offset > 0 and old.key[1] == new.key[1])
        if not sure or old.unproven:
            return False
        descriptors = self._register.descriptors
        try:
            return old.evidence.agrees(descriptors.get(new), old.offset)
        except (OSError, ElsewhereError):
            return False
        finally:
            descriptors.drop(new)

    def let_follow(self, old: Reader, anchor: Found | None, readers: Iterable[Reader]) -> None:
        """A file without a name may have been replaced by an edited copy of it."""
        if anchor is None and old.unlinked and old.offset >= SURE_BYTES:
            for reader in readers:
                reader.follows = old
                if old.size <= old.offset:
                    self.follow(reader)

    def follow(self, reader: Reader) -> None:
        """Go on where the unlinked file was left, when this one is an edited copy of it."""
        old, reader.follows = reader.follows, None
        if old is None or reader.offset:
            return
        with contextlib.suppress(OSError, ElsewhereError):
            if reader.continues(self._register.descriptors.get(reader), old):
                reader.fresh = False

    def _queue_between(
        self,
        place: Place,
        around: Surroundings,
        anchor: Found | None,
        since_ns: int,
        now: float,
        newest: Reader | None,
        known: Iterable[Key] = (),
    ) -> list[Reader]:
        """Queue the files that were at the place between two looks."""
        generations = around.generations(place.name)
        if anchor is not None:  # where it is by now
            anchor = next((one for one in generations if one.key == anchor.key), anchor)
        for found in generations:
            reader = self._register.readers.get(found.key)
            if reader is not None and not self.is_still(reader, found.path):
                self._register.disown(reader, now)
        taken = {*self._register.readers, *known}
        if newest is not None:
            taken.add(newest.key)
        missed = between(generations, place.name, anchor, since_ns, taken)
        target = os.path.realpath(place.path)
        if newest is not None and os.path.basename(target) != place.name:
            first = place.target if place.target != place.path else None
            missed += [one for one in around.stepped(first, target) if one.key not in taken]
        queued: list[Reader] = []
        for found in missed:
            if newest is not None and _is_copy_of(found.path, newest.path):
                continue  # a copy in the making
            reader = Reader(found.key, found.path)
            reader.moved = True
            reader.changed = now
            reader.size, reader.mtime_ns = found.size, found.mtime_ns
            before = newest is not None and newest in self._register.owner
            at = place.queue.index(newest) if before and newest is not None else None
            self._register.enqueue(place, reader, at)
            self.introduce(reader)
            self._counters.rotations += 1
            queued.append(reader)
        return queued


def _is_copy_of(path: str, other: str) -> bool:
    """Whether a file holds nothing but what another begins with."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    opened: list[int] = []
    try:
        opened.append(os.open(path, flags))
        opened.append(os.open(other, flags))
        size, of_other = (os.fstat(fd).st_size for fd in opened)
        return 0 < size <= of_other and evidence_of(opened[0], size).agrees(opened[1], size)
    except OSError:
        return False
    finally:
        for fd in opened:
            os.close(fd)
