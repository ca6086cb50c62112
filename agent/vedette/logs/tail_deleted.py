"""Let go of deleted files that are not read to their end in time.

A file that was deleted is there as long as somebody has it open, and takes its room on the disk.
To read it to its end is right as long as that comes: for ``TailSettings.deleted_s`` seconds, and of
all such files together ``deleted_files`` and ``deleted_bytes``. Beyond that, whoever deleted them
wants the room more than the lines: the one behind for longest is given up first. What was not read
of it is counted as lost, and told.
"""

from __future__ import annotations

import logging

from vedette.logs.tail_files import Reader
from vedette.logs.tail_register import Register

log = logging.getLogger(__name__)


class Deleted:
    """The deleted files that have something left to read."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._settings = register.settings
        self._since: dict[Reader, float] = {}

    def check(self, now: float) -> None:
        """Give up what is too old, too many or too much."""
        register, settings = self._register, self._settings
        behind = [
            one for one in register.moved
            if one.unlinked and one.fd >= 0 and one.size > one.offset and not one.is_twin
        ]  # fmt: skip
        if not (behind or self._since):
            return
        # A line without its end is no backlog: who has come so far has caught up.
        self._since = {
            one: self._since.get(one, now) for one in behind if one not in register.waiting
        }
        oldest_first = sorted(self._since, key=self._since.__getitem__)
        held = sum(one.size for one in oldest_first)
        for at, reader in enumerate(oldest_first):
            late = now - self._since[reader] >= settings.deleted_s
            many = len(oldest_first) - at > settings.deleted_files
            if not (late or many or held > settings.deleted_bytes):
                break
            held -= reader.size
            self._give_up(reader, now - self._since.pop(reader))

    def _give_up(self, reader: Reader, behind_s: float) -> None:
        register = self._register
        register.counters.given_up += 1
        log.warning(
            "a deleted log is not read to its end path=%r unread=%d behind_s=%.0f",
            register.owner[reader].source.path,
            reader.size - reader.offset,
            behind_s,
        )
        register.finish(reader)
