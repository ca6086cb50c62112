"""Keep on the disk what the logs' collector must not lose: how far, how often, what was learned.

Two values. *Counts*: how far all was read, what was counted, and the records of the last minutes,
as one, at the end of each window: after kill -9 nothing is counted twice or not at all, and records
that may not have reached the spool are told once more, under the same identity. *Learned*:
templates and rhythms, when they changed, and not more than ``LEARNED_BYTES_PER_S``; losing the
newest of it costs nothing that was counted. Templates are kept before the counts that name them.
"""

from __future__ import annotations

import logging

import msgspec

from vedette.api import Record
from vedette.durable import Durable
from vedette.logs.digest import Learned
from vedette.logs.intake import IntakeState
from vedette.logs.ledger import LedgerState

log = logging.getLogger(__name__)

VERSION = 1
#: Records are told again after a restart when their window ended at most so long before.
TOLD_AGAIN_NS = 300_000_000_000
#: Learned state is written at most so fast: what a crash loses of it is soon learned anew.
LEARNED_BYTES_PER_S = 500.0


class Told(msgspec.Struct, frozen=True, array_like=True):
    """The records of one window."""

    end_ns: int
    records: tuple[Record, ...]


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What becomes durable together."""

    version: int = VERSION
    birth: str = ""
    intake: IntakeState = msgspec.field(default_factory=IntakeState)
    counts: LedgerState = msgspec.field(default_factory=LedgerState)
    told: tuple[Told, ...] = ()


class Keeper:
    """The two values of one state directory; without one (an empty path) nothing is kept."""

    def __init__(self, directory: str) -> None:
        self._kept = Durable(directory, "logs", "what was read")
        self._learned_s = float("-inf")
        self._learned_size = 0

    def load(self) -> tuple[Kept, Learned | None]:
        """Return what an earlier run left, as far as it is sound."""
        kept = self._kept.load("counts", Kept)
        if kept is not None and kept.version != VERSION:
            log.warning("logs: counts of version %d are not to be used", kept.version)
            kept = None
        return kept or Kept(), self._kept.load("learned", Learned)

    def save_counts(self, kept: Kept) -> bool:
        """Make counts durable; False when the disk does not take them: the older ones hold."""
        return self._kept.save("counts", kept) is not None

    def may_save_learned(self, now_s: float) -> bool:
        """Whether it is time to write what was learned; ``now_s`` is monotonic."""
        return (now_s - self._learned_s) * LEARNED_BYTES_PER_S >= self._learned_size

    def save_learned(self, learned: Learned, now_s: float) -> bool:
        """Make what was learned durable; False when the disk does not take it."""
        size = self._kept.save("learned", learned)
        self._learned_s = now_s
        self._learned_size = size or self._learned_size
        return size is not None
