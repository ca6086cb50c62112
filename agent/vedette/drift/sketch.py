"""Keep what one model was asked and answered in one stretch of time: its fields, and how right.

Of a field no more is kept than ``feature`` says. Fields beyond ``FEATURES_MAX`` are not looked at
and counted; ``prediction``, ``score`` and ``label`` are fields like others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from vedette.drift.feature import FeatureSketch, FeatureState
from vedette.drift.numbers import GridError
from vedette.drift.quality import QualitySketch, QualityState

__all__ = ["FEATURES_MAX", "ModelSketch", "ModelState"]

FEATURES_MAX = 128
#: Fields that are turned away are remembered by name, so as to be counted once.
_TURNED_AWAY_MAX = 1_000
NAME_MAX = 100


class ModelState(msgspec.Struct, frozen=True):
    """A sketch of a model as it is kept; times are Unix ns, 0: none came."""

    records: int
    begun_ns: int
    ended_ns: int
    features: dict[str, FeatureState]
    quality: QualityState
    turned_away: int = 0


class ModelSketch:
    """What came of one model; mutable, not thread-safe."""

    __slots__ = ("_turned_away", "begun_ns", "ended_ns", "features", "most", "quality", "records")

    def __init__(self, most: int = FEATURES_MAX) -> None:
        self.most = most
        self.records = 0
        self.begun_ns = self.ended_ns = 0
        self.features: dict[str, FeatureSketch] = {}
        self.quality = QualitySketch()
        self._turned_away: set[str] = set()

    def like(self) -> ModelSketch:
        """Return an empty one that can be compared with this one."""
        made = ModelSketch(self.most)
        made.features = {name: one.like() for name, one in self.features.items()}
        return made

    @property
    def turned_away(self) -> int:
        """Fields that there was no room for."""
        return len(self._turned_away)

    def add(self, records: Sequence[Mapping[str, Any]], now_ns: int) -> None:
        """Count records, each a mapping of fields to values of JSON; null is missing."""
        if not records:
            return
        self.records += len(records)
        self.begun_ns = self.begun_ns or now_ns
        self.ended_ns = max(self.ended_ns, now_ns)
        self._meet(records)
        for name, sketch in self.features.items():
            values = _column(records, name)
            if values:
                sketch.add(values)

    def merge(self, other: ModelSketch, *, is_lenient: bool = False) -> None:
        """Take in what another one counted; raises ``GridError`` where grids differ.

        With ``is_lenient`` a field of which they do is turned away instead.
        """
        self.records += other.records
        begun = [one for one in (self.begun_ns, other.begun_ns) if one]
        self.begun_ns = min(begun, default=0)
        self.ended_ns = max(self.ended_ns, other.ended_ns)
        self.quality.merge(other.quality)
        for name, sketch in other.features.items():
            own = self._feature(name)
            if own is None:
                continue
            try:
                own.merge(sketch)
            except GridError:
                if not is_lenient:
                    raise
                del self.features[name]
                self._turned_away.add(name)

    def missing(self, name: str) -> float:
        """Return the share of records without a field, 0 to 1."""
        if not self.records:
            return 0.0
        sketch = self.features.get(name)
        return 1.0 - (sketch.present if sketch is not None else 0) / self.records

    def state(self) -> ModelState:
        """Return all of it as one value, for the disk."""
        return ModelState(
            self.records,
            self.begun_ns,
            self.ended_ns,
            {name: one.state() for name, one in self.features.items()},
            self.quality.state(),
            self.turned_away,
        )

    @classmethod
    def of_state(cls, state: ModelState, most: int = FEATURES_MAX) -> ModelSketch:
        """Make it anew of its state; raises ``ValueError`` for one that cannot be."""
        made = cls(most)
        if state.records < 0:
            raise ValueError(f"{state.records} records")
        made.records, made.begun_ns, made.ended_ns = state.records, state.begun_ns, state.ended_ns
        for name, one in state.features.items():
            try:
                made.features[name] = FeatureSketch.of_state(one)
            except ValueError as error:
                raise ValueError(f"field {name}: {error}") from None
        made.quality = QualitySketch.of_state(state.quality)
        return made

    def _meet(self, records: Sequence[Mapping[str, Any]]) -> None:
        known = self.features.keys()
        for record in records:
            if record.keys() - known:
                for name, value in record.items():  # in their order, for whoever is shown them
                    if name not in known and value is not None:
                        self._feature(name)

    def _feature(self, name: str) -> FeatureSketch | None:
        found = self.features.get(name)
        if found is None:
            if len(self.features) >= self.most or len(name) > NAME_MAX:
                if len(self._turned_away) < _TURNED_AWAY_MAX:
                    self._turned_away.add(name[:NAME_MAX])
                return None
            found = self.features[name] = FeatureSketch()
        return found


def _column(records: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    try:
        values = list(map(itemgetter(name), records))
    except KeyError:
        values = [record.get(name) for record in records]
    return [one for one in values if one is not None] if None in values else values
