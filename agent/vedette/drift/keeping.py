"""Keep on the disk how far logs of inferences were read, and what was counted of them.

Two values, like those of logs: *now* (positions, open windows, baselines), each minute in which
something came and at the end of each window, as one, so that no record is counted twice or not at
all; and the *hours* that ended, when another one did. Sketches alone, no record and no id.
"""

from __future__ import annotations

import logging

import msgspec

from vedette.drift.generic import FieldsConfig
from vedette.drift.watching import Hour, WatchState
from vedette.durable import Durable
from vedette.logs.positions import Positions

__all__ = ["Keeper", "Kept"]

log = logging.getLogger(__name__)

VERSION = 1


class Kept(msgspec.Struct, frozen=True):
    """What becomes durable together."""

    version: int = VERSION
    positions: Positions = msgspec.field(default_factory=Positions)
    fields: FieldsConfig = FieldsConfig()
    watches: dict[str, WatchState] = {}


class Keeper:
    """The two values of one state directory; without one (an empty path) nothing is kept."""

    def __init__(self, directory: str) -> None:
        self._kept = Durable(directory, "inference log", "what was counted")

    def load(self) -> tuple[Kept, dict[str, tuple[Hour, ...]]]:
        """Return what an earlier run left, as far as it is sound."""
        kept = self._kept.load("now", Kept)
        if kept is not None and kept.version != VERSION:
            log.warning("inference log: state of version %d is not to be used", kept.version)
            kept = None
        return kept or Kept(), self._kept.load("hours", dict[str, tuple[Hour, ...]]) or {}

    def save(self, kept: Kept) -> bool:
        """Make it durable; False when the disk does not take it: the older value holds."""
        return self._kept.save("now", kept) is not None

    def save_hours(self, hours: dict[str, tuple[Hour, ...]]) -> bool:
        """Make the hours that ended durable."""
        return self._kept.save("hours", hours) is not None
