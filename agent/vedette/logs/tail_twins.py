"""Copies of files that are read: not read again, unless they become logs of their own.

A copy that rotation makes matches the patterns as often as not. A new file that holds nothing but
what another, which is read, begins with is the twin of that and is not read. When the other is
truncated, the rest of the copy is read for it (``tail_lineage``); when the other is gone, its twin
goes on where it was left; and when the copy grows beyond the other, it is a log of its own.
"""

from __future__ import annotations

import os

from vedette.logs.fingerprint import evidence_of
from vedette.logs.tail_files import ElsewhereError, Reader
from vedette.logs.tail_lineage import SURE_BYTES, Lineage
from vedette.logs.tail_register import Register

#: A new file is compared with so many others for being a copy.
_MAX_COMPARED = 32


class Twins:
    """Finds copies among new files."""

    def __init__(self, register: Register, lineage: Lineage) -> None:
        self._register = register
        self._lineage = lineage

    def compare(self, new: Reader, now: float) -> None:
        """See whether a new file is a copy of one that is read; it is not read then for now.

        A file that was truncated since takes the copy for itself.
        """
        for reader in self._near(new):
            if new not in self._register.owner:
                return
            if self._is_twin(new, reader, now):
                new.twin_of = reader
                self._register.twins.add(new)
                new.dirty = False
                return

    def see_twin(self, twin: Reader) -> None:
        """Let a copy be a log of its own when it grows by itself."""
        original = twin.twin_of
        if original is None:
            return
        twin.dirty = False
        descriptors = self._register.descriptors
        try:
            if not twin.evidence.agrees(descriptors.get(twin), twin.offset):
                self._let_go(twin, 0)
                twin.restart()
                return
            twin.settle(descriptors.get(twin), twin.size, mid_line=False)
        except (OSError, ElsewhereError):
            return
        try:
            fd = descriptors.get(original)
            size = os.fstat(fd).st_size
            if size < original.offset or not original.evidence.agrees(fd, original.offset):
                return  # just truncated: the rest of the copy will be read for it
        except (OSError, ElsewhereError):
            return
        if twin.size > size:
            self._let_go(twin, original.offset)

    def _is_twin(self, new: Reader, reader: Reader, now: float) -> bool:
        descriptors = self._register.descriptors
        if reader.fresh and len(reader.path) > len(new.path):
            return False  # it may be a copy of this one
        if reader.unlinked:
            self._lineage.let_follow(reader, None, [new])
            return False
        try:
            fd = descriptors.get(reader)
            if not reader.unproven and not reader.evidence.agrees(fd, reader.offset):
                self._lineage.changed(reader, fd, now)
                if new not in self._register.owner or reader not in self._register.owner:
                    return False
                fd = descriptors.get(reader)
            if not 0 < new.size <= os.fstat(fd).st_size:
                return False
            evidence = evidence_of(descriptors.get(new), new.size)
            if not evidence.agrees(descriptors.get(reader), new.size):
                return False
            new.settle(descriptors.get(new), new.size, mid_line=False)
            return True
        except ElsewhereError:  # gone: this may be what is left of it
            if reader.offset >= SURE_BYTES:
                new.follows = reader
            return False
        except OSError:
            return False

    def _near(self, new: Reader) -> list[Reader]:
        """Return the files a new one may be a copy of, by their names."""
        places = self._register.near(*os.path.split(new.path))[:_MAX_COMPARED]
        readers = [reader for place in places for reader in place.queue]
        return [one for one in readers if one is not new and not one.is_twin][:_MAX_COMPARED]

    def _let_go(self, twin: Reader, offset: int) -> None:
        if offset < SURE_BYTES:  # alike by chance
            offset = 0
        twin.twin_of = None
        self._register.twins.discard(twin)
        twin.offset, twin.unproven = offset, offset > 0
        twin.dirty = True
        twin.position = None
