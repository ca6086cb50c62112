"""Watch what the variable parts of templates hold: numbers that shift, values never seen.

**Numbers.** Per slot two quantiles, 0.1 and 0.9, are followed by stochastic approximation (Robbins
and Monro 1951) on a logarithmic scale (``asinh``), slowly; the share of a minute's numbers beyond
each is watched like any share (``surprise.Share``). Numbers that only grow, or are ids, are beyond
them always or at random, have a wide spread and so do not ring; a latency times five does.

**Values.** A slot with at most ``FEW`` different values in ``SEEN_LEAST`` observations has a
vocabulary. A value outside of it is as strange as such first times are rare at the source
(``surprise.Rarity``), with a weight for words that mean no good. A slot with more values is given
up for good.

At most ``MAX_SLOTS`` slots of a source, the one unused for longest goes first; 1.4 KiB each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import msgspec

from vedette.logs.signals import SlotSeen
from vedette.logs.surprise import Rarity, Share

FEW, SEEN_LEAST = 8, 200
MAX_SLOTS = 256
BLOCK_S = 60.0
#: Parts of the numbers beyond the quantiles that are followed.
TAIL = 0.1
#: Numbers before the quantiles are used, and the steps by which they follow at least.
NUMBERS_LEAST, STEP_LEAST = 100, 1.0 / 500
#: So near, on the logarithmic scale, is not beyond.
NEAR = 0.01
#: Numbers of one slot and tick that are looked at.
MAX_NUMBERS = 200
MAX_VALUE = 64
#: Nats that a new value is worth more when it is a word that means no good, and otherwise.
BAD_WORD, OTHER_WORD = 4.0, 0.0
_BAD = re.compile(
    rb"(?i)degraded|fail|error|down|dead|lost|offline|crit|fault|unhealthy|expired|refused|reject"
    rb"|abort|panic|unknown|invalid|denied|timeout|unreachable|stale|missing"
)


class Strange(msgspec.Struct, frozen=True, gc=False):
    """What is strange in a slot, in words."""

    template_id: int
    slot: int
    score: float
    text: str
    count: int


class Side(msgspec.Struct):
    """One quantile of a slot's numbers, and how many are beyond it."""

    level: float = 0.0
    beyond: Share = msgspec.field(default_factory=lambda: Share(BLOCK_S, floor=0.02))


class Slot(msgspec.Struct):
    """What one variable part of a template held so far."""

    used_s: float
    numbers: int = 0
    spread: float = 0.5
    low: Side = msgspec.field(default_factory=Side)
    high: Side = msgspec.field(default_factory=Side)
    seen: int = 0
    values: dict[bytes, int] | None = msgspec.field(default_factory=dict)


class SlotWatch(msgspec.Struct):
    """The slots of a source; keys are ``"template/slot"``."""

    born_s: float
    slots: dict[str, Slot] = {}
    rarity: Rarity | None = None

    def observe(self, now_s: float, seen: Iterable[SlotSeen], *, calm: bool) -> list[Strange]:
        """Take what slots held in a tick; return what is strange, above 0."""
        found = []
        for one in seen:
            slot = self._slot(one, now_s)
            if one.numbers:
                found += self._numbers(slot, one, now_s)
            if one.values:
                found += self._values(slot, one, now_s, calm=calm)
        return found

    def forget(self, template_id: int) -> None:
        """Let go of a template."""
        start = f"{template_id}/"
        for key in [one for one in self.slots if one.startswith(start)]:
            del self.slots[key]

    def _slot(self, seen: SlotSeen, now_s: float) -> Slot:
        key = f"{seen.template_id}/{seen.slot}"
        slot = self.slots.get(key)
        if slot is None:
            if len(self.slots) >= MAX_SLOTS:
                del self.slots[min(self.slots, key=lambda one: self.slots[one].used_s)]
            slot = self.slots[key] = Slot(now_s)
        slot.used_s = now_s
        return slot

    # ------------------------------------------------------------ numbers

    def _numbers(self, slot: Slot, seen: SlotSeen, now_s: float) -> list[Strange]:
        numbers = [math.asinh(one) for one in seen.numbers[:MAX_NUMBERS] if math.isfinite(one)]
        if not numbers:
            return []
        known = slot.numbers >= NUMBERS_LEAST
        found = []
        for side, above in ((slot.high, True), (slot.low, False)):
            sign = 1 if above else -1
            beyond = [one for one in numbers if sign * (one - side.level) > NEAR]
            if known:
                score = side.beyond.feed(now_s, len(beyond), len(numbers))
                if score and beyond:
                    found.append(_shifted(seen, side, beyond, score, above=above))
        self._follow(slot, numbers)
        return found

    def _follow(self, slot: Slot, numbers: Sequence[float]) -> None:
        """Move the quantiles: at first by large steps, later by small ones."""
        for one in numbers:
            if not slot.numbers:
                slot.low.level = slot.high.level = one
            slot.numbers += 1
            step = max(1.0 / slot.numbers**0.7, STEP_LEAST)
            middle = (slot.low.level + slot.high.level) / 2
            slot.spread += step * (abs(one - middle) - slot.spread)
            stride = 2 * step * max(slot.spread, 0.01)
            slot.high.level += stride * ((one > slot.high.level) - TAIL)
            slot.low.level -= stride * ((one < slot.low.level) - TAIL)

    # ------------------------------------------------------------ values

    def _values(self, slot: Slot, seen: SlotSeen, now_s: float, *, calm: bool) -> list[Strange]:
        found: list[Strange] = []
        if slot.values is None:
            return found
        for value in seen.values[:MAX_NUMBERS]:
            value = value[:MAX_VALUE]
            slot.seen += 1
            if value in slot.values:
                slot.values[value] += 1
                continue
            if len(slot.values) >= FEW:
                slot.values = None
                return []
            if slot.seen > SEEN_LEAST:
                found += self._first(seen, value, slot, now_s, calm=calm)
            slot.values[value] = 1
        return found

    def _first(
        self, seen: SlotSeen, value: bytes, slot: Slot, now_s: float, *, calm: bool
    ) -> list[Strange]:
        """Judge a value outside of a vocabulary, and learn that there was one."""
        rarity = self.rarity = self.rarity or Rarity(self.born_s)
        bad = _BAD.search(value) is not None
        score = rarity.surprise(now_s) + (BAD_WORD if bad else OTHER_WORD)
        rarity.note(now_s, 0.1 if calm else 1.0)
        if calm:
            return []
        shown = value.decode("utf-8", "replace")
        known = len(slot.values or ())
        text = f"{shown!r} for the first time in {slot.seen} lines, which had {known} values"
        return [Strange(seen.template_id, seen.slot, score, text, 1)]


def _shifted(
    seen: SlotSeen, side: Side, beyond: Sequence[float], score: float, *, above: bool
) -> Strange:
    share = side.beyond
    middle = math.sinh(sorted(beyond)[len(beyond) // 2])
    level = math.sinh(side.level)
    text = (
        f"{middle:.4g}, {'above' if above else 'below'} {level:.4g} in "
        f"{100 * share.hits / max(share.lines, 1):.0f} % of lines instead of "
        f"{100 * share.share():.0f} %"
    )
    return Strange(seen.template_id, seen.slot, score, text, int(share.hits))
