"""Watch one model: learn what is normal, close windows, compare them, remember the good hours.

A window ends when it is ``window_s`` old and has ``least`` records, or when it has ``most`` of
them: a busy model is judged by the clock, a quiet one by what came. Without a baseline the first
``learn`` records are one, in ``LEARN_PIECES`` pieces so that it is known how much it varied by
itself. Each hour is kept as one piece, ``HOURS`` of them, compressed; of these a baseline can be
made later. Pieces and windows are made ``like`` the baseline, so that all of them fit together.

Pure: the time is an argument.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from vedette.drift.compare import compared, usual_of
from vedette.drift.quality import Outcome
from vedette.drift.rows import Row
from vedette.drift.sketch import ModelSketch, ModelState
from vedette.drift.verdict import ModelVerdict, Thresholds

__all__ = ["Hour", "Lengths", "ModelWatch", "Reached", "WatchState", "record_of"]

LEARN_PIECES = 8
HOURS, HOUR_NS = 48, 3_600_000_000_000
_NS = 1_000_000_000
#: Labels of a window that quality is judged by; until then they are kept from window to window.
LABELS_LEAST, LABEL_WINDOWS_MAX = 200, 1_000


#: When an hour began, Unix ns, and its compressed piece.
Hour = tuple[int, bytes]


class Lengths(msgspec.Struct, frozen=True):
    """How long windows are, and of how many records a baseline is learned."""

    window_s: float = 300.0
    least: int = 500
    most: int = 100_000
    learn: int = 2_000
    features: int = 128


class Reached(msgspec.Struct, frozen=True):
    """What a window came to: its verdict, or that a baseline is learned now."""

    verdict: ModelVerdict | None
    learned: int = 0


class WatchState(msgspec.Struct, frozen=True):
    """A watch as it is kept, but for the hours that have ended."""

    base: ModelState | None
    usual: dict[str, float]
    learning: tuple[ModelState, ...]
    now: ModelState | None
    hour: ModelState | None
    total: int = 0
    labels: int = 0
    #: Quality is looked at over more windows than one.
    late: ModelState | None = None
    hour_ns: int = 0


class ModelWatch:
    """One model; one thread."""

    def __init__(
        self,
        model: str,
        lengths: Lengths,
        thresholds: Thresholds,
        base: ModelSketch | None = None,
        usual: Mapping[str, float] | None = None,
    ) -> None:
        self.model = model
        self.base = base
        self.usual = dict(usual or {})
        self.verdict: ModelVerdict | None = None
        #: Records and labels since the start.
        self.total = self.labels = 0
        self._lengths = lengths
        self._thresholds = thresholds
        self._learning: list[ModelSketch] = []
        self._now: ModelSketch | None = None
        #: Empty: what pieces and windows are made like. It learns of fields that come later.
        self._shape = ModelSketch(lengths.features) if base is None else base.like()
        self._shape.most = lengths.features
        self._late = ModelSketch(lengths.features)
        self._hour: ModelSketch | None = None
        self._hour_ns = 0
        self._hours: deque[Hour] = deque(maxlen=HOURS)

    @property
    def learning(self) -> int:
        """Records of which a baseline is being learned."""
        return sum(one.records for one in self._learning)

    @property
    def turned_away(self) -> int:
        """Fields that there was no room for."""
        held = (self.base, self._now, self._hour, *self._learning)
        return max((one.turned_away for one in held if one is not None), default=0)

    def take(self, rows: Sequence[Row], outcomes: Sequence[Outcome], now_ns: int) -> list[Reached]:
        """Take what came at one tick; return what came to its end by it."""
        records = [record_of(row) for row in rows]
        self.total += len(records)
        self.labels += len(outcomes)
        reached: list[Reached] = []
        while records and self.base is None:
            records = self._learn(records, now_ns, reached)
        if self.base is None:
            if outcomes and self._learning:
                self._learning[-1].quality.add(outcomes)
            return reached
        if records:
            self._count(records, now_ns)
        if outcomes:
            self._late.quality.add(outcomes)
            self._late.records += len(outcomes)
            if self._hour is not None:
                self._hour.quality.add(outcomes)
        if self._now is not None and self._is_over(self._now, now_ns):
            reached.append(Reached(self._judge(self.base, self._now)))
            self._now = None
        return reached

    def pieces(self, since_ns: int) -> list[ModelSketch]:
        """Return what is kept of the time since then, hour by hour."""
        found = [
            ModelSketch.of_state(_unpacked(data), self._lengths.features)
            for begun_ns, data in self._hours
            if begun_ns + HOUR_NS > since_ns
        ]
        if self._hour is not None and self._hour.records and self._hour.ended_ns >= since_ns:
            found.append(self._hour)
        return found

    def state(self) -> WatchState:
        """Return all of it as one value, for the disk."""
        return WatchState(
            None if self.base is None else self.base.state(),
            dict(self.usual),
            tuple(one.state() for one in self._learning),
            None if self._now is None else self._now.state(),
            None if self._hour is None else self._hour.state(),
            self.total,
            self.labels,
            self._late.state(),
            self._hour_ns,
        )

    @property
    def hours(self) -> tuple[Hour, ...]:
        """The hours that have ended: when each began, and its compressed piece."""
        return tuple(self._hours)

    def restore(self, state: WatchState, hours: Sequence[Hour] = ()) -> None:
        """Go on where an earlier run stopped; a baseline that was given stays in force.

        Raises ``ValueError`` for a state that cannot be.
        """
        most = self._lengths.features
        self.total, self.labels = state.total, state.labels
        given = self.base is not None
        if not given and state.base is not None:
            self.base, self.usual = ModelSketch.of_state(state.base, most), dict(state.usual)
        if self.base is None:
            self._learning = [ModelSketch.of_state(one, most) for one in state.learning]
            for one in self._learning[:-1]:
                self._note_shape(one)
            return
        if given and not _same_grids(self.base, state):
            return  # what was counted before does not fit it
        self._now = None if state.now is None else ModelSketch.of_state(state.now, most)
        self._hour = None if state.hour is None else ModelSketch.of_state(state.hour, most)
        self._late = self._late if state.late is None else ModelSketch.of_state(state.late, most)
        self._hours.extend(hours)
        self._hour_ns = state.hour_ns
        if any(at == self._hour_ns for at, _ in hours):
            self._hour = None  # it was kept just before the end
        for sketch in (self.base, self._hour, self._now):
            if sketch is not None:
                self._note_shape(sketch)

    # ------------------------------------------------------------ learning

    def _learn(
        self, records: list[dict[str, Any]], now_ns: int, reached: list[Reached]
    ) -> list[dict[str, Any]]:
        """Learn by what there is room for in a piece; return the records that are left."""
        size = max(self._lengths.learn // LEARN_PIECES, 1)
        if not self._learning:
            self._learning = [ModelSketch(self._lengths.features)]
        piece = self._learning[-1]
        room = size - piece.records
        piece.add(records[:room], now_ns)
        if piece.records >= size:
            if len(self._learning) >= LEARN_PIECES:
                self._settle(reached)
            else:
                self._note_shape(piece)
                self._learning.append(self._shape.like())
        return records[room:]

    def _settle(self, reached: list[Reached]) -> None:
        pieces, self._learning = self._learning, []
        self._note_shape(pieces[-1])
        whole = self._shape.like()
        for piece in pieces:
            whole.merge(piece)
        self.base, self.usual = whole, usual_of(pieces, whole)
        reached.append(Reached(None, whole.records))

    # ------------------------------------------------------------ windows

    def _note_shape(self, sketch: ModelSketch) -> None:
        """Note the grids of fields that were not there before, so that the next ones fit."""
        known = self._shape.features
        for name, one in sketch.features.items():
            if name not in known and len(known) < self._shape.most:
                known[name] = one.like()

    def _count(self, records: list[dict[str, Any]], now_ns: int) -> None:
        if self._now is None:
            self._now = self._shape.like()
        # An hour is made of windows, so that nothing is counted twice.
        self._now.add(records, now_ns)
        hour_ns = now_ns // HOUR_NS * HOUR_NS
        if self._hour is None or self._hour_ns != hour_ns:
            self._keep_hour()
            self._hour, self._hour_ns = self._shape.like(), hour_ns

    def _is_over(self, window: ModelSketch, now_ns: int) -> bool:
        lengths = self._lengths
        old = now_ns - window.begun_ns >= lengths.window_s * _NS
        return window.records >= lengths.most or (old and window.records >= lengths.least)

    def _judge(self, base: ModelSketch, window: ModelSketch) -> ModelVerdict:
        self._note_shape(window)
        if self._hour is not None:
            self._hour.merge(window, is_lenient=True)
        if self._late.quality.labels >= LABELS_LEAST:
            window.quality, self._late = self._late.quality, ModelSketch(self._lengths.features)
        found = compared(self.model, base, window, self._thresholds, self.usual)
        if not window.quality.labels and self.verdict is not None:
            # What was last known of its quality stands until there are labels enough.
            found = msgspec.structs.replace(
                found, quality=self.verdict.quality, labels=self.verdict.labels
            )
        if not base.quality.labels and window.quality.labels:
            base.quality.merge(window.quality)  # labels came later than what it was learned of
        self.verdict = found
        return found

    def _keep_hour(self) -> None:
        if self._hour is not None and self._hour.records:
            data = zlib.compress(msgspec.msgpack.encode(self._hour.state()), 6)
            self._hours.append((self._hour_ns, data))
        self._hour = None


def record_of(row: Row) -> dict[str, Any]:
    """Return a row as fields alone, its answer and its label among them."""
    record = row.fields
    for name, value in (
        ("prediction", row.prediction),
        ("score", row.score),
        ("label", row.label),
    ):
        if value is not None:
            if name in record:
                record[f"features.{name}"] = record[name]
            record[name] = value
    return record


def _unpacked(data: bytes) -> ModelState:
    return msgspec.msgpack.decode(zlib.decompress(data), type=ModelState)


def _same_grids(base: ModelSketch, state: WatchState) -> bool:
    if state.base is None:
        return False
    grids = {
        name: one.numbers.grid
        for name, one in state.base.features.items()
        if one.numbers is not None
    }
    own = {name: one.numbers.grid for name, one in base.features.items() if one.numbers is not None}
    return grids == own
