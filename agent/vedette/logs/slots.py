"""Keep small statistics of what the variable parts of templates hold.

Per slot: how many values were looked at; the most frequent ones (space-saving, Metwally et al.
2005); how many different there were (HyperLogLog, Flajolet et al. 2007); and, of those that are
numbers, an exponential histogram as ``vedette.histogram`` has it, so it merges with any other.

Exactness: the counts of top values are too high by ``error`` at most, which is 0 until a slot had
more than ``TOP`` values. The estimate of different values has a standard error of 13 % and is exact
to within 1 or 2 for a handful. A quantile is off by 4.4 % where numbers span a factor of 1000, and
by 9 %, 19 %, ... where they span its square, its fourth power, ... (``MAX_BUCKETS``).

Not every line is looked at: ``SlotBook.observe`` takes ``per_template`` lines of a template and
``per_second`` in all for each second, those that come first, so a rare template is seen whole and a
frequent one sampled. ``lines`` against ``looked`` says how much.

Bounds: ``SLOT_BYTES`` per slot at most, ``max_slots`` slots; the template unused for longest goes
first. Cost: 3 to 5 µs per line that is looked at, and 2 µs per slot.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

import msgspec

from vedette.histogram import ExponentialHistogram

#: Values counted one by one, and the bytes of one that are kept.
TOP, MAX_VALUE = 8, 48
#: Registers of the estimate of different values: 1.04 / sqrt(64) = 13 %.
_REGISTERS = 64
#: Buckets per sign, and the scale they begin at: 4.4 %.
MAX_BUCKETS, _SCALE = 80, 3
#: What a slot weighs at most in CPython: 8 values, 64 registers, 160 buckets of 8 bytes and their
#: counts, and their objects.
SLOT_BYTES = 8192

_NUMBER = re.compile(rb"[+-]?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:[eE][+-]?\d{1,3})?")
_HEX = re.compile(rb"0[xX][0-9a-fA-F]{1,16}")


def number(value: bytes) -> float | None:
    """Return the number that a value is, without a unit; None if it is none."""
    if _NUMBER.fullmatch(value):
        found = float(value)
        return found if math.isfinite(found) else None
    return float(int(value, 16)) if _HEX.fullmatch(value) else None


class Top(msgspec.Struct, frozen=True, gc=False):
    """A frequent value: ``count`` is too high by ``error`` at most."""

    value: bytes
    count: int
    error: int = 0


class Frequent(msgspec.Struct):
    """The most frequent of many values (space-saving)."""

    counts: dict[bytes, tuple[int, int]] = {}

    def add(self, value: bytes) -> None:
        """Count a value, in the place of the rarest if there is no room."""
        counts = self.counts
        if value in counts:
            count, error = counts[value]
        elif len(counts) < TOP:
            count = error = 0
        else:
            # Of the rarest, the one that came first: what is decided must not depend on chance.
            rarest = min(counts, key=lambda one: counts[one][0])
            count = error = counts.pop(rarest)[0]
        counts[value] = count + 1, error

    def top(self) -> tuple[Top, ...]:
        """Return the values, most frequent first."""
        ranked = sorted(self.counts.items(), key=lambda pair: (-pair[1][0], pair[0]))
        return tuple(Top(value, count, error) for value, (count, error) in ranked)


class Different(msgspec.Struct):
    """How many different values there were (HyperLogLog with linear counting below)."""

    registers: bytearray = msgspec.field(default_factory=lambda: bytearray(_REGISTERS))

    def add(self, value: bytes) -> None:
        """Note a value."""
        mark = int.from_bytes(blake2b(value, digest_size=8).digest(), "little")
        place, rest = mark % _REGISTERS, mark // _REGISTERS
        rank = 59 - rest.bit_length()
        if rank > self.registers[place]:
            self.registers[place] = rank

    def estimate(self) -> float:
        """Return about how many different values were noted."""
        size = _REGISTERS
        raw = 0.709 * size * size / math.fsum(2.0**-one for one in self.registers)
        empty = self.registers.count(0)
        return size * math.log(size / empty) if raw <= 2.5 * size and empty else raw


class Buckets(msgspec.Struct):
    """The buckets of one sign: counts of ``offset``, ``offset + 1``, ..."""

    offset: int = 0
    counts: list[int] = []

    def add(self, index: int) -> bool:
        """Count in a bucket; False if that would make them too many."""
        if not self.counts:
            self.offset, self.counts = index, [1]
            return True
        first = min(index, self.offset)
        last = max(index, self.offset + len(self.counts) - 1)
        if last - first >= MAX_BUCKETS:
            return False
        if first < self.offset:
            self.counts[:0] = [0] * (self.offset - first)
            self.offset = first
        elif last >= self.offset + len(self.counts):
            self.counts += [0] * (last - self.offset - len(self.counts) + 1)
        self.counts[index - self.offset] += 1
        return True

    def halve(self) -> None:
        """Join neighbours: one scale coarser."""
        if self.counts:
            counts = self.counts
            if self.offset & 1:
                counts = [0, *counts]
            if len(counts) & 1:
                counts = [*counts, 0]
            self.counts = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)]
            self.offset >>= 1


class Numbers(msgspec.Struct):
    """A distribution of numbers in constant space."""

    scale: int = _SCALE
    zero: int = 0
    positive: Buckets = msgspec.field(default_factory=Buckets)
    negative: Buckets = msgspec.field(default_factory=Buckets)
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, value: float) -> None:
        """Take a finite number."""
        self.total += value
        self.least, self.most = min(self.least, value), max(self.most, value)
        if value == 0:
            self.zero += 1
            return
        side = self.positive if value > 0 else self.negative
        while not side.add(_index(abs(value), self.scale)):
            self.positive.halve()
            self.negative.halve()
            self.scale -= 1

    def histogram(self) -> ExponentialHistogram | None:
        """Return the distribution, None if there was no number."""
        if self.least > self.most:
            return None
        return ExponentialHistogram(
            self.scale, self.zero,
            self.positive.offset, tuple(self.positive.counts),
            self.negative.offset, tuple(self.negative.counts),
            self.total if math.isfinite(self.total) else None, self.least, self.most,
        )  # fmt: skip


def _index(magnitude: float, scale: int) -> int:
    """Return the bucket of a number: ``base ** index < magnitude <= base ** (index + 1)``."""
    mantissa, exponent = math.frexp(magnitude)
    # A power of two is the upper bound of its bucket, exactly.
    index = exponent - 2 if mantissa == 0.5 else exponent - 1
    if scale <= 0:
        return index >> -scale
    if mantissa == 0.5:
        return ((exponent - 1) << scale) - 1
    return (index << scale) + math.ceil(math.log2(mantissa * 2) * (1 << scale)) - 1


class SlotSummary(msgspec.Struct, frozen=True):
    """What a slot held: ``form`` as in ``Template.slots``, ``different`` an estimate."""

    form: str
    looked: int
    different: float
    top: tuple[Top, ...]
    numbers: ExponentialHistogram | None


class Slot(msgspec.Struct):
    """What is known of one slot."""

    looked: int = 0
    frequent: Frequent = msgspec.field(default_factory=Frequent)
    different: Different = msgspec.field(default_factory=Different)
    numbers: Numbers | None = None

    def add(self, value: bytes) -> None:
        """Take a value."""
        self.looked += 1
        value = value[:MAX_VALUE]
        self.frequent.add(value)
        self.different.add(value)
        found = number(value)
        if found is not None:
            if self.numbers is None:
                self.numbers = Numbers()
            self.numbers.add(found)

    def summary(self, form: str) -> SlotSummary:
        """Return what it is at present."""
        return SlotSummary(
            form, self.looked, self.different.estimate(), self.frequent.top(),
            self.numbers.histogram() if self.numbers else None,
        )  # fmt: skip


class Templates(Protocol):
    """What knows the slots of lines: a ``Miner``."""

    def values(self, line: bytes, number: int) -> list[bytes]:
        """Return what a line of a template holds in its slots."""


class Held(msgspec.Struct):
    """The slots of one template, and how many of its lines they are of."""

    slots: list[Slot]
    lines: int = 0
    looked: int = 0
    second: int = 0
    used: int = 0


class SlotBook:
    """The slots of many templates since they were last forgotten. One thread."""

    def __init__(self, per_template: int = 8, per_second: int = 200, max_slots: int = 2000) -> None:
        self.per_template, self.per_second, self.max_slots = per_template, per_second, max_slots
        self._held: dict[int, Held] = {}
        self._size = 0
        self._second = 0
        self._used = 0

    def observe(
        self, templates: Templates, lines: Sequence[bytes], ids: Sequence[int], now_s: float
    ) -> list[tuple[int, list[bytes]]]:
        """Look at some of the lines that a miner gave these ids; return their values, by id."""
        looked: list[tuple[int, list[bytes]]] = []
        second = int(now_s)
        if second != self._second:
            self._second, self._used = second, 0
        held_by_id = self._held
        for line, number in zip(lines, ids, strict=True):
            held = held_by_id.get(number)
            if held is None:
                held = held_by_id[number] = Held([])
            held.lines += 1
            if held.second != second:
                held.second, held.used = second, 0
                # Last in order: the one unused for longest is found first.
                held_by_id[number] = held_by_id.pop(number)
            if held.used < self.per_template and self._used < self.per_second:
                held.used += 1
                self._used += 1
                values = templates.values(line, number)
                self._look(held, values)
                looked.append((number, values))
        self._bound()
        return looked

    def summary(self, number: int, forms: Sequence[str]) -> tuple[SlotSummary, ...]:
        """Return the slots of a template, whose forms these are, empty if none was looked at."""
        held = self._held.get(number)
        if held is None or len(held.slots) != len(forms):
            return ()
        return tuple(slot.summary(form) for slot, form in zip(held.slots, forms, strict=True))

    def seen(self, number: int) -> tuple[int, int]:
        """Return how many lines a template had, and how many of them were looked at."""
        held = self._held.get(number)
        return (held.lines, held.looked) if held else (0, 0)

    def forget(self, number: int | None = None) -> None:
        """Begin anew, with one template or with all: at the end of a window, after a merge."""
        if number is None:
            self._held.clear()
            self._size = 0
        elif held := self._held.pop(number, None):
            self._size -= len(held.slots)

    def __len__(self) -> int:
        return self._size

    def _look(self, held: Held, values: Sequence[bytes]) -> None:
        if len(values) != len(held.slots):
            # The template's text changed: its slots are others now.
            self._size += len(values) - len(held.slots)
            held.slots = [Slot() for _ in values]
            held.looked = 0
        held.looked += 1
        for slot, value in zip(held.slots, values, strict=True):
            slot.add(value)

    def _bound(self) -> None:
        while self._size > self.max_slots or len(self._held) > self.max_slots:
            self.forget(next(iter(self._held)))
