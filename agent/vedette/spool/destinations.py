"""Know how far each destination is, and so which segments are still needed.

A destination that is named for the first time begins at the oldest batch that is there; one that is
no longer named holds nothing back, but its cursor stays. What is in doubt (attempted and not
acknowledged) may have arrived already.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path

from vedette.spool.cursor import Cursor, SlotFile
from vedette.spool.disk import FULL, Ballast, Disk
from vedette.spool.segment import Position, Segment

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Destinations:
    """The cursors of one spool; not thread-safe. Opens those that are there."""

    def __init__(self, directory: Path, disk: Disk, ballast: Ballast) -> None:
        self._directory = directory
        self._disk = disk
        self._ballast = ballast
        self._cursors: dict[str, Cursor] = {}
        self._attached: frozenset[str] | None = None  # None: not said yet
        for path in sorted(directory.glob("*.cursor")):
            if _NAME.fullmatch(path.stem):
                self.cursor(path.stem)

    def attach(self, names: Collection[str]) -> None:
        """Keep records for these, and for no others."""
        for name in names:
            self.cursor(name)
        self._attached = frozenset(names)

    @property
    def are_none(self) -> bool:
        """Whether it was said that there are none."""
        return self._attached is not None and not self._attached

    def cursor(self, name: str) -> Cursor:
        """Return how far a destination is; raises ``ValueError`` for a name that can be none."""
        cursor = self._cursors.get(name)
        if cursor is None:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a destination")
            path = self._directory / f"{name}.cursor"
            cursor = self._cursors[name] = Cursor(SlotFile(path, self._disk))
            if cursor.damaged:
                log.warning("spool_cursor=%s damaged=true: resending what is kept", name)
        return cursor

    def store(self, cursor: Cursor, acknowledged: Position, attempted: Position) -> None:
        """Move a cursor durably, on the ballast's room if need be; raises ``OSError``."""
        try:
            cursor.store(acknowledged, attempted)
        except OSError as error:
            if error.errno not in FULL or not self._ballast.release():
                raise
            cursor.store(acknowledged, attempted)

    @property
    def reached(self) -> Position:
        """The furthest that any destination is known to have got."""
        return max(
            (max(each.acknowledged, each.attempted) for each in self._cursors.values()),
            default=Position(0, 0),
        )

    def wanted(self, segment: Segment) -> int:
        """Return how many of its records the destination that lacks most of them lacks."""
        return max(
            (len(segment.sequences) - segment.after(each.acknowledged) for each in self._held()),
            default=len(segment.sequences),
        )

    def have_passed(self, segment: Segment) -> bool:
        """Say whether there are destinations, and all have acknowledged all of it."""
        return bool(self._attached) and all(
            each.acknowledged >= segment.last for each in self._held()
        )

    def in_doubt(self, segment: Segment) -> bool:
        """Say whether a record was attempted and not acknowledged: it may have arrived."""
        return any(
            segment.after(each.acknowledged) < segment.after(each.attempted)
            for each in self._held()
        )

    def close(self) -> None:
        """Close all cursors."""
        for cursor in self._cursors.values():
            cursor.close()

    def _held(self) -> list[Cursor]:
        """Return the cursors of the destinations that records are kept for."""
        if self._attached is None:
            return list(self._cursors.values())
        return [self._cursors[name] for name in self._attached]
