"""Keep what came in one field: of what kinds it was, its numbers, its categories, its lengths.

Whatever comes is counted by kind, so a field that was a number and becomes a text is seen as such.
Numbers go into a histogram whose grid is chosen by the first ``FIRST`` of them. Texts are counted
as categories until they prove to be free text (long, or nearly all different: names, ids, prompts);
from then on only their lengths are, and what was counted by name is forgotten.

At most 8 KiB for each field, which a test holds it to.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from vedette.drift.categories import CategorySketch, CategoryState
from vedette.drift.numbers import Floats, Grid, NumberSketch, NumberState, grid_of

__all__ = ["KINDS", "FeatureSketch", "FeatureState"]

#: Numbers that are waited for until the grid of their histogram is chosen.
FIRST = 128
#: A text is free text when texts are longer than this on average, or when of so many seen more than
#: this share are different.
LONG, MANY, SHARE = 40.0, 200, 0.5
#: Beyond so many nothing is free text any more for being different each time.
DECIDED = 5_000
KINDS = ("number", "boolean", "text", "list", "object")
_LENGTHS = Grid()


class FeatureState(msgspec.Struct, frozen=True):
    """What came in a field as it is kept; ``first`` are numbers that have no grid yet."""

    kinds: dict[str, int]
    integers: int = 0
    nan: int = 0
    infinite: int = 0
    is_text: bool = False
    first: tuple[float, ...] = ()
    numbers: NumberState | None = None
    categories: CategoryState | None = None
    lengths: NumberState | None = None


class FeatureSketch:
    """What came in one field; mutable, not thread-safe."""

    __slots__ = (
        "_first",
        "categories",
        "infinite",
        "integers",
        "is_text",
        "kinds",
        "lengths",
        "nan",
        "numbers",
    )

    def __init__(self) -> None:
        self.kinds = dict.fromkeys(KINDS, 0)
        self.integers = self.nan = self.infinite = 0
        self.is_text = False
        self.numbers: NumberSketch | None = None
        self.categories: CategorySketch | None = None
        self.lengths: NumberSketch | None = None
        self._first = array("d")

    def like(self) -> FeatureSketch:
        """Return an empty one that can be compared with this one."""
        self.settle()
        made = FeatureSketch()
        made.is_text = self.is_text
        made.numbers = None if self.numbers is None else NumberSketch(self.numbers.grid)
        made.categories = None if self.categories is None else self.categories.like()
        return made

    @property
    def present(self) -> int:
        """Records in which the field had a value."""
        return sum(self.kinds.values())

    @property
    def kind(self) -> str:
        """What the field mostly is; empty when nothing came."""
        kind = max(self.kinds, key=self.kinds.__getitem__)
        return kind if self.kinds[kind] else ""

    def add(self, values: Sequence[Any]) -> None:
        """Count values of JSON, none of them null."""
        types = set(map(type, values))
        if types <= {float, int}:
            self._add_numbers(values, int in types)
            return
        by_type: dict[type, list[Any]] = {}
        for value in values:
            by_type.setdefault(type(value), []).append(value)
        numbers = by_type.pop(float, []) + by_type.pop(int, [])
        if numbers:
            self._add_numbers(numbers, has_integers=True)
        if flags := by_type.pop(bool, []):
            self.kinds["boolean"] += len(flags)
            self._named().add(["true" if flag else "false" for flag in flags])
        if texts := by_type.pop(str, []):
            self.kinds["text"] += len(texts)
            self._add_texts(texts)
        for type_, others in by_type.items():
            self.kinds["list" if type_ is list else "object"] += len(others)
            self._add_lengths([len(one) for one in others])

    def merge(self, other: FeatureSketch) -> None:
        """Take in what another one counted; raises ``GridError`` where grids differ."""
        for kind, count in other.kinds.items():
            self.kinds[kind] += count
        self.integers += other.integers
        self.nan += other.nan
        self.infinite += other.infinite
        if other.numbers is not None:
            if self.numbers is None:
                self.numbers = NumberSketch(other.numbers.grid)
                self.settle()
            self.numbers.merge(other.numbers)
        if other._first:
            self._take_numbers(np.array(other._first))
        if other.lengths is not None:
            self.lengths = self.lengths or NumberSketch(_LENGTHS)
            self.lengths.merge(other.lengths)
        self.is_text = self.is_text or other.is_text
        if other.categories is not None and not self.is_text:
            self._named().merge(other.categories)
        self._judge_text()

    def settle(self) -> None:
        """Choose the grid by what has come, however little it is."""
        if self._first:
            first = np.array(self._first)
            self._first = array("d")
            if self.numbers is None:
                self.numbers = NumberSketch(grid_of(first))
            self.numbers.add(first)

    def state(self) -> FeatureState:
        """Return all of it as one value, for the disk."""
        return FeatureState(
            {kind: count for kind, count in self.kinds.items() if count},
            self.integers,
            self.nan,
            self.infinite,
            self.is_text,
            tuple(self._first),
            None if self.numbers is None else self.numbers.state(),
            None if self.categories is None else self.categories.state(),
            None if self.lengths is None else self.lengths.state(),
        )

    @classmethod
    def of_state(cls, state: FeatureState) -> FeatureSketch:
        """Make it anew of its state; raises ``ValueError`` for one that cannot be."""
        strange = state.kinds.keys() - set(KINDS)
        if strange or min(state.kinds.values(), default=0) < 0:
            raise ValueError(f"values of kinds that there are not: {sorted(strange)}")
        made = cls()
        made.kinds.update(state.kinds)
        made.integers, made.nan, made.infinite = state.integers, state.nan, state.infinite
        made.is_text = state.is_text
        made._first = array("d", state.first)
        if state.numbers is not None:
            made.numbers = NumberSketch.of_state(state.numbers)
        if state.categories is not None:
            made.categories = CategorySketch.of_state(state.categories)
        if state.lengths is not None:
            made.lengths = NumberSketch.of_state(state.lengths)
        return made

    # ------------------------------------------------------------ numbers

    def _add_numbers(self, values: Sequence[float], has_integers: bool) -> None:
        self.kinds["number"] += len(values)
        try:
            numbers = np.array(values, dtype=np.float64)
        except OverflowError:  # an integer that is no float
            numbers = np.array([_as_float(one) for one in values])
        finite = np.isfinite(numbers)
        if not finite.all():
            self.nan += int(np.isnan(numbers).sum())
            self.infinite += int(np.isinf(numbers).sum())
            numbers = numbers[finite]
        if has_integers or len(numbers):
            self.integers += int((numbers == np.floor(numbers)).sum())
        self._take_numbers(numbers)

    def _take_numbers(self, numbers: Floats) -> None:
        if self.numbers is not None:
            self.numbers.add(numbers)
            return
        if len(self._first) + len(numbers) < FIRST:
            self._first.extend(numbers.tolist())
            return
        held = np.concatenate((np.array(self._first), numbers))
        self._first = array("d")
        self.numbers = NumberSketch(grid_of(held))
        self.numbers.add(held)

    # ------------------------------------------------------------ texts

    def _named(self) -> CategorySketch:
        if self.categories is None:
            self.categories = CategorySketch()
        return self.categories

    def _add_texts(self, texts: list[str]) -> None:
        self._add_lengths([len(text) for text in texts])
        if not self.is_text:
            self._named().add(texts)
            self._judge_text()

    def _add_lengths(self, lengths: list[int]) -> None:
        self.lengths = self.lengths or NumberSketch(_LENGTHS)
        self.lengths.add(np.array(lengths, dtype=np.float64))

    def _judge_text(self) -> None:
        """Forget names that prove to be free text."""
        named = self.categories
        if named is None or self.is_text or self.lengths is None or named.total > DECIDED:
            self.categories = None if self.is_text else named
            return
        long = self.lengths.mean > LONG
        if not long and named.lost and named.total >= MANY:
            long = named.distinct.estimate() > SHARE * named.total
        if long:
            self.is_text, self.categories = True, None


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
