"""Raise the thresholds of series that rang for nothing, at the operator's word.

A false alarm raises the bar of each of its findings, per series and head, to what the finding
reached and a margin, at most to ``HIGHEST``; what the incident was about gets the wider margin.
The same metric of other entities is raised by a part of that: what is noise on one disk is likely
noise on another. Marks add up, for a series that goes on ringing for nothing, to ``HIGHEST_OF_ALL``
and no further: beyond that strength only a mute is silent. An ``ack`` halves what had been raised
until then. All of it wears off with a half-life of ``HALF_LIFE_NS``.

The marks are replayed in the order they were said; all that happens to a raise is linear, so a
series that was never marked itself shares one number with all others of its metric, and the replay
costs a step per mark and finding, whatever the number of series.

``Lenience`` holds the arrays. They are made anew for rows that got another series, and all of them
when a mute expires, or once an hour for what wears off; else nothing is done. Cost with no marks:
none. With marks 0.2 µs a tick; 5 µs per new series, and 0.8 for each mute; a mark costs that for
all series, once. 16 bytes per series, and 4 for each head that is raised.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vedette.api import Series, Strength
from vedette.feedback import Marks, Ruling
from vedette.growth import grown

#: By how much more than it reached a finding has to be: what it was about, and the others.
MARGIN, MARGIN_OF_OTHERS = 1.25, 1.1
#: One mark raises a threshold to this multiple of the shipped one at most, all of them to this.
HIGHEST, HIGHEST_OF_ALL = 3.0, 8.0
#: The part of a raise that counts for other entities of the metric.
ELSEWHERE = 0.2
#: What is left of a raise after an ``ack``.
LEFT_BY_ACK = 0.5
HALF_LIFE_NS = 60 * 86_400_000_000_000
#: A raise less than this does nothing worth telling.
NOTHING = 0.01
#: What wears off is reckoned anew so often; 0.05 % of it is gone by then.
REFRESH_NS = 3_600_000_000_000

_NEVER = np.iinfo(np.int64).max
_NONE = np.ones(0, dtype=np.float32)


def raise_of(mark: Ruling, place: int) -> float:
    """Return by how much a false alarm raised the bar of one of its findings when it was said."""
    strength = mark.strengths[place]
    if mark.word != "false-alarm" or not strength.ratio:
        return 0.0
    margin = MARGIN if strength.series == mark.strengths[0].series else MARGIN_OF_OTHERS
    return max(0.0, min(strength.ratio * margin, HIGHEST) - 1)


def worn(since_ns: int, now_ns: int) -> float:
    """Return which part is left of a raise."""
    return math.exp2(-max(0, now_ns - since_ns) / HALF_LIFE_NS)


class Raises:
    """By how much thresholds were raised, per series and head, as of ``at_ns``."""

    def __init__(self, marks: Marks, at_ns: int) -> None:
        self.at_ns = at_ns
        #: Of a series, beside what its metric has; may be negative.
        self._own: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._metric: defaultdict[tuple[str, str], float] = defaultdict(float)
        for mark in marks.rulings():
            if mark.word == "ack":
                self._ack(mark.strengths)
            else:
                self._raise(mark, worn(mark.time_ns, at_ns))
        self.heads = frozenset(head for head, _ in (*self._own, *self._metric))

    def of(self, head: str, key: str) -> float:
        """Return by how much the threshold of a series is raised; 0: not at all."""
        raised = self._own.get((head, key), 0.0) + self._metric.get((head, _metric(key)), 0.0)
        return max(0.0, raised)

    def bar(self, head: str, key: str, now_ns: int) -> float:
        """Return the multiple of its own threshold that a series must reach now."""
        return min(1 + self.of(head, key) * worn(self.at_ns, now_ns), HIGHEST_OF_ALL)

    def _raise(self, mark: Ruling, left: float) -> None:
        elsewhere: defaultdict[tuple[str, str], float] = defaultdict(float)
        for place, one in enumerate(mark.strengths):
            amount = raise_of(mark, place) * left
            self._own[one.head, one.series] += amount
            metric = (one.head, _metric(one.series))
            elsewhere[metric] = max(elsewhere[metric], amount * ELSEWHERE)
        for metric, amount in elsewhere.items():
            self._metric[metric] += amount
        for one in mark.strengths:  # its own series have their own raise, not that one besides
            self._own[one.head, one.series] -= elsewhere[one.head, _metric(one.series)]

    def _ack(self, strengths: Iterable[Strength]) -> None:
        for one in strengths:
            raised = self.of(one.head, one.series)
            if raised:
                self._own[one.head, one.series] -= raised * (1 - LEFT_BY_ACK)


class Lenience:
    """The raised thresholds of all rows. Owned by the pipeline thread."""

    def __init__(self, marks: Marks, now_ns: int) -> None:
        self._raises = Raises(marks, now_ns)
        self._mutes = marks.mutes(now_ns)
        self._any = bool(self._mutes or self._raises.heads)
        self._series: list[Series | None] = []
        self._generation = -1
        self._muted_until = np.zeros(0, dtype=np.int64)
        self._raised = {head: np.zeros(0, dtype=np.float32) for head in self._raises.heads}
        self._made: dict[str, NDArray[np.float32]] = {}
        self._from_ns = self._until_ns = 0

    def heed(self, series: Sequence[Series | None], generation: int, now_ns: int) -> bool:
        """Take the series of all rows as they are now; return whether anything was reckoned anew.

        ``generation`` changes whenever a row gets another series.
        """
        if not self._any:
            return False
        fresh = self._from_ns <= now_ns < self._until_ns
        if generation == self._generation and fresh:
            return False
        if generation != self._generation:
            self._generation = generation
            self._take(series)
        ends = self._muted_until[(self._muted_until > now_ns) & (self._muted_until < _NEVER)]
        self._from_ns = now_ns
        self._until_ns = min(now_ns + REFRESH_NS, int(ends.min()) if len(ends) else _NEVER)
        self._made.clear()
        return True

    def lenience_of(self, head: str) -> NDArray[np.float32]:
        """Return by how much thresholds of a head are raised, float32 ``(rows,)``; inf: muted.

        Shorter than the table, or empty, where nothing was said. As of the last ``heed``.
        """
        if not self._any:
            return _NONE
        made = self._made.get(head)
        if made is None:
            raised = self._raised.get(head)
            made = np.ones(len(self._series), dtype=np.float32)
            if raised is not None:
                made += raised * np.float32(worn(self._raises.at_ns, self._from_ns))
                np.minimum(made, np.float32(HIGHEST_OF_ALL), out=made)
            made[self._muted_until > self._from_ns] = np.inf
            self._made[head] = made
        return made

    def _take(self, series: Sequence[Series | None]) -> None:
        """Look at the rows that have another series than the last time."""
        rows = len(series)
        if rows > len(self._series):
            self._series += [None] * (rows - len(self._series))
            self._muted_until = grown(self._muted_until, rows, 0)
            for head, raised in self._raised.items():
                self._raised[head] = grown(raised, rows, 0)
        for row, one in enumerate(series):
            if one is not self._series[row]:
                self._series[row] = one
                self._set(row, one)

    def _set(self, row: int, series: Series | None) -> None:
        self._muted_until[row] = 0
        if series is None:
            for raised in self._raised.values():
                raised[row] = 0
            return
        key = series.key
        ends = [one.expires_ns or _NEVER for one in self._mutes if one.matches(series, key)]
        self._muted_until[row] = min(max(ends, default=0), _NEVER)
        for head, raised in self._raised.items():
            raised[row] = self._raises.of(head, key)


def _metric(key: str) -> str:
    return key.partition("{")[0]
