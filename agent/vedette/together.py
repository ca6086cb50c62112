"""Learn what turns strange together on this host: joins what the known relations do not know.

For each fault of which an incident was made the subjects that turned strange around its onset are
counted: each by itself, and each pair of them. Whether they were told as one incident or as two
makes no difference, so what was kept apart once can still be learned to belong together. A pair was
seen *together often* in at least ``LEAST`` faults and ``OFTEN`` of the rarer one's; it is *never*
together when both were seen ``SURE`` times and less than ``SELDOM`` of them at once.

Counts fade by ``FADE`` with each fault learned, so that a host that changed is learned anew after
some hundred. At most ``MAX_PAIRS`` pairs; the faintest goes first. Every lesson can be taken back
while it is among the newest ``MAX_LESSONS``. Pure; a lesson costs at most 66 pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

import msgspec

MAX_PAIRS = 2_000
MAX_SUBJECTS = 1_000
MAX_LESSONS = 64
#: Subjects of one fault that count, the earliest first.
MAX_OF_A_FAULT = 12
FADE = 0.995
#: Three faults, of which the older ones have faded a little.
LEAST, OFTEN = 2.9, 0.7
SURE, SELDOM = 9.0, 0.1
VERSION = 1

Key = TypeVar("Key", str, tuple[str, str])
Verdict = Literal["together", "apart", "unknown"]


class Learned(msgspec.Struct):
    """What is saved, as plain numbers and texts. ``lessons`` are the newest, to be undone."""

    version: int = VERSION
    alone: dict[str, float] = {}
    pairs: list[tuple[str, str, float]] = []
    lessons: list[tuple[str, float, list[str]]] = []


class Together:
    """Counts of what turned strange together."""

    def __init__(self) -> None:
        self._alone: dict[str, float] = {}
        self._pairs: dict[tuple[str, str], float] = {}
        #: By the identity of the fault: what it still counts for, and its subjects.
        self._lessons: dict[str, tuple[float, tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def learn(self, identity: str, subjects: Iterable[str]) -> None:
        """Count the subjects of one fault, the earliest first; one known already is replaced."""
        self.undo(identity)
        chosen = tuple(dict.fromkeys(subjects))[:MAX_OF_A_FAULT]
        if not chosen:
            return
        self._fade()
        self._lessons[identity] = (1.0, chosen)
        while len(self._lessons) > MAX_LESSONS:
            self._lessons.pop(next(iter(self._lessons)))
        self._add(chosen, 1.0)
        self._bound()

    def undo(self, identity: str) -> bool:
        """Take back what a fault taught; False when it taught nothing or is too long ago."""
        lesson = self._lessons.pop(identity, None)
        if lesson is None:
            return False
        weight, subjects = lesson
        self._add(subjects, -weight)
        return True

    def forget(self, one: str, other: str) -> None:
        """Take back all that was learned of a pair."""
        self._pairs.pop(_pair(one, other), None)

    def verdict(self, one: str, other: str) -> Verdict:
        """Say whether two subjects belong together, as far as this host has shown."""
        if one == other:
            return "unknown"
        rarer = min(self._alone.get(one, 0.0), self._alone.get(other, 0.0))
        both = self._pairs.get(_pair(one, other), 0.0)
        if both >= LEAST and both >= OFTEN * rarer:
            return "together"
        if rarer >= SURE and both < SELDOM * rarer:
            return "apart"
        return "unknown"

    def export(self) -> dict[str, object]:
        """Return everything as plain data for JSON."""
        saved = Learned(
            alone={name: round(count, 4) for name, count in self._alone.items()},
            pairs=[(*pair, round(count, 4)) for pair, count in self._pairs.items()],
            lessons=[(name, round(w, 4), list(of)) for name, (w, of) in self._lessons.items()],
        )
        plain: dict[str, object] = msgspec.to_builtins(saved)
        return plain

    def restore(self, saved: Mapping[str, object]) -> None:
        """Take over what ``export`` returned; nothing saved leaves nothing known.

        Raises ``ValueError`` and changes nothing when it is something else.
        """
        learned = msgspec.convert(dict(saved), Learned)
        if learned.version != VERSION:
            raise ValueError(f"learned relations have version {learned.version}, not {VERSION}")
        counts = [*learned.alone.values(), *(count for _, _, count in learned.pairs)]
        if not all(math.isfinite(count) and count >= 0 for count in counts):
            raise ValueError("learned relations hold a count that is no count")
        self._alone = dict(learned.alone)
        self._pairs = {_pair(one, other): count for one, other, count in learned.pairs}
        self._lessons = {name: (weight, tuple(of)) for name, weight, of in learned.lessons}
        while len(self._lessons) > MAX_LESSONS:
            self._lessons.pop(next(iter(self._lessons)))
        self._bound()

    def _fade(self) -> None:
        self._alone = {name: count * FADE for name, count in self._alone.items()}
        self._pairs = {pair: count * FADE for pair, count in self._pairs.items()}
        self._lessons = {name: (w * FADE, of) for name, (w, of) in self._lessons.items()}

    def _add(self, subjects: tuple[str, ...], weight: float) -> None:
        for name in subjects:
            _change(self._alone, name, weight)
        for one, other in itertools.combinations(subjects, 2):
            _change(self._pairs, _pair(one, other), weight)

    def _bound(self) -> None:
        """Drop the faintest pairs and subjects beyond the bounds."""
        if len(self._pairs) > MAX_PAIRS:
            kept = sorted(self._pairs.items(), key=lambda item: item[1], reverse=True)
            self._pairs = dict(kept[:MAX_PAIRS])
        if len(self._alone) > MAX_SUBJECTS:
            known = sorted(self._alone.items(), key=lambda item: item[1], reverse=True)
            self._alone = dict(known[:MAX_SUBJECTS])
            pairs = self._pairs.items()
            self._pairs = {
                pair: count
                for pair, count in pairs
                if pair[0] in self._alone and pair[1] in self._alone
            }


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one <= other else (other, one)


def _change(counts: dict[Key, float], key: Key, by: float) -> None:
    """Add to a count; what falls to nothing is forgotten."""
    now = counts.get(key, 0.0) + by
    if now > 0.01:
        counts[key] = now
    else:
        counts.pop(key, None)
