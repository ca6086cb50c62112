"""Count the most frequent values of a category, in bounded room.

The summary of Misra and Gries (1982), which is that of "space saving" less its smallest count
(Agarwal, Cormode, Huang, Phillips, Wei, Yi, "Mergeable Summaries", 2012): when there are too many,
the greatest count that no longer has a place is taken off all. So counts are exact while there are
``KEPT`` values at most; else a count is too small by ``lost`` at most, which is at most the
``KEPT + 1``-th part of all values, merged in whatever order. What is not counted under a name is
``other``, exactly what is missing to all.

Names may be *pinned*: what is to be compared with a baseline has the names of the baseline pinned.
They are counted exactly, however many others come, which share the room that is left; without that
the counts taken off in a small window would look like drift.

Names longer than ``NAME_MAX`` characters stand here as ``#`` and their hash. Cost: 0.1 µs for a
value in a batch and 1 µs for each that is different in it; 7 KiB at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from vedette.drift.distinct import Distinct, hashed

__all__ = ["KEPT", "CategorySketch", "CategoryState"]

#: Names that are counted, and those that have room in any case when others are pinned.
KEPT, FRESH = 32, 8
NAME_MAX = 24


class CategoryState(msgspec.Struct, frozen=True):
    """A sketch of categories as it is kept."""

    total: int
    counts: dict[str, int]
    lost: int
    distinct: bytes
    pinned: tuple[str, ...] = ()


class CategorySketch:
    """How often each of the most frequent values came; mutable, not thread-safe."""

    __slots__ = ("counts", "distinct", "lost", "pinned", "total")

    def __init__(self, pinned: Iterable[str] = ()) -> None:
        self.total = 0
        self.pinned = frozenset(pinned)
        self.counts: dict[str, int] = {}
        #: By how much the count of a name that is not pinned may be too small.
        self.lost = 0
        self.distinct = Distinct()

    def like(self) -> CategorySketch:
        """Return an empty one that counts the names of this one exactly."""
        return CategorySketch(self.names)

    @property
    def names(self) -> list[str]:
        """The names that are counted for sure: those pinned, or else all that have a count."""
        return sorted(self.pinned) if self.pinned and self.lost else list(self.counts)[:KEPT]

    def add(self, values: Iterable[str]) -> None:
        """Count these."""
        batch = Counter(values)
        self.distinct.add(batch)
        counts: Counter[str] = Counter()
        for name, count in batch.items():
            counts[_named(name)] += count
        self._take(counts, counts.total(), 0)

    def merge(self, other: CategorySketch) -> None:
        """Take in what another one counted."""
        self.distinct.merge(other.distinct)
        self._take(other.counts, other.total, other.lost)

    @property
    def other(self) -> int:
        """Values that are not counted under a name."""
        return self.total - sum(self.counts.values())

    @property
    def is_complete(self) -> bool:
        """Whether every value that came is counted, exactly."""
        return not self.lost and len(self.counts) <= KEPT

    def state(self) -> CategoryState:
        """Return all of it as one value, for the disk."""
        return CategoryState(
            self.total,
            dict(self.counts),
            self.lost,
            bytes(self.distinct.data),
            tuple(sorted(self.pinned)),
        )

    @classmethod
    def of_state(cls, state: CategoryState) -> CategorySketch:
        """Make it anew of its state; raises ``ValueError`` for one that cannot be."""
        least = min((state.lost, *state.counts.values()), default=0)
        many = max(len(state.counts) - FRESH, len(state.pinned)) > KEPT
        if least < 0 or many or sum(state.counts.values()) > state.total:
            raise ValueError("counts of categories that do not fit together")
        made = cls(state.pinned)
        made.total, made.counts, made.lost = state.total, dict(state.counts), state.lost
        made.distinct = Distinct(state.distinct)
        return made

    def _take(self, counts: Mapping[str, int], total: int, lost: int) -> None:
        own = self.counts
        for name, count in counts.items():
            own[name] = own.get(name, 0) + count
        self.total += total
        self.lost += lost
        room = max(KEPT - len(self.pinned), FRESH)
        free = [count for name, count in own.items() if name not in self.pinned]
        if len(free) > room:
            free.sort(reverse=True)
            off = free[room]
            self.lost += off
            self.counts = {
                name: count if name in self.pinned else count - off
                for name, count in own.items()
                if name in self.pinned or count > off
            }


def _named(name: str) -> str:
    return name if len(name) <= NAME_MAX else f"#{hashed(name):016x}"
