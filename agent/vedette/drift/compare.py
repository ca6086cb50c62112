"""Compare a window with its baseline, field by field, so that it rings for what matters and is so.

Two things have to hold for drift. The *effect* matters: PSI of 0.1 less what chance makes of it,
1.5 times what the good period itself varied by, a twentieth more records without the field, ...
(``Thresholds``). And it is *no chance*: each difference has a probability of its own test, valid at
the numbers of records there are, and those of all fields of a window pass Benjamini and Hochberg's
bar together. With the effect alone small windows ring all the time, with the test alone large ones
do (both measured in docs/drift.md).

What is not told by a sketch: that fields moved together in another way than before while each of
them stayed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from vedette.drift.categories import CategorySketch
from vedette.drift.declining import worse
from vedette.drift.distance import (
    jensen_shannon,
    kolmogorov_smirnov,
    psi,
    tenths,
    wasserstein,
)
from vedette.drift.feature import FeatureSketch
from vedette.drift.numbers import Counts, NumberSketch, spread
from vedette.drift.significance import cut_of, homogeneity, poisson, shares
from vedette.drift.sketch import ModelSketch
from vedette.drift.verdict import (
    STRONGEST,
    Difference,
    FieldVerdict,
    Kind,
    ModelVerdict,
    Thresholds,
)

__all__ = ["Found", "compared", "note_distance", "ranked", "usual_of"]

_EMPTY = FeatureSketch()
#: Records of the baseline with a category that is rare in it.
RARE = 5


class Found:
    """What is found of one field, until all of a window are judged together."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.psi = self.js = self.ks = self.moved = math.nan
        self.missing = self.unknown = 0.0
        self.differences: list[Difference] = []

    def note(self, kind: Kind, effect: float, bar: float, p: float, text: str) -> None:
        """Note a difference with its effect and its probability by chance."""
        self.differences.append(Difference(kind, effect, bar, p, text))


def compared(
    model: str,
    base: ModelSketch,
    now: ModelSketch,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
    usual: Mapping[str, float] | None = None,
) -> ModelVerdict:
    """Compare two sketches; ``usual`` is by how much fields varied in the baseline (PSI).

    Raises ``GridError`` for a window that was not made ``like`` its baseline.
    """
    found = [
        _field(name, base, now, thresholds, (usual or {}).get(name, 0.0))
        for name in dict.fromkeys((*base.features, *now.features))
    ]
    return ModelVerdict(
        model,
        base.records,
        now.records,
        ranked(found, thresholds),
        worse(base.quality, now.quality, thresholds),
        base.quality.labels,
        now.quality.labels,
    )


def usual_of(pieces: list[ModelSketch], whole: ModelSketch) -> dict[str, float]:
    """Return how far the pieces of a good period were from the whole of it, the worst of each."""
    worst: dict[str, float] = {}
    for piece in pieces if len(pieces) > 1 else ():
        for field in compared("", whole, piece).fields:
            if field.psi > worst.get(field.field, 0.0):
                worst[field.field] = field.psi
    return worst


def ranked(found: Sequence[Found], thresholds: Thresholds) -> tuple[FieldVerdict, ...]:
    """Judge the differences of one window together; return its fields, the strongest first."""
    cut = cut_of([one.p for field in found for one in field.differences], thresholds.rate)
    count = sum(len(field.differences) for field in found)
    sure = thresholds.rate / max(count, 1)
    fields = [_verdict(one, cut, sure) for one in found]
    return tuple(sorted(fields, key=lambda one: (-one.strength, -_first(one.psi))))


def _strength(effect: float, bar: float, p: float, cut: float, sure: float) -> float:
    """Return how strong a difference is: 1 and more where it matters and is no chance.

    ``cut`` is the p at which one of this family is taken for real, ``sure`` that for the smallest.
    """
    certain = math.log(max(p, 5e-324)) / math.log(sure) if p < 1 else 0.0
    certain = max(certain, 1.0) if p <= cut else min(certain, 0.99)
    return min(max(effect / bar, 0.0), certain, STRONGEST)


def _verdict(found: Found, cut: float, sure: float) -> FieldVerdict:
    ranked = sorted(
        ((_strength(one.effect, one.bar, one.p, cut, sure), one) for one in found.differences),
        key=lambda pair: -pair[0],
    )
    return FieldVerdict(
        found.field,
        ranked[0][0] if ranked else 0.0,
        found.psi,
        found.js,
        found.ks,
        found.moved,
        found.missing,
        found.unknown,
        tuple(one for _, one in ranked),
    )


def _field(
    name: str, base: ModelSketch, now: ModelSketch, thresholds: Thresholds, usual: float
) -> Found:
    found = Found(name)
    one, other = base.features.get(name, _EMPTY), now.features.get(name, _EMPTY)
    found.missing = now.missing(name)
    _presence(found, one, other, base.records, now.records, thresholds)
    if not one.present or not other.present:
        return found
    _kinds(found, one, other, thresholds)
    bar = max(thresholds.psi, thresholds.usual * usual)
    if one.numbers is not None and other.numbers is not None:
        _numbers(found, one.numbers, other.numbers, bar, thresholds)
    elif one.categories is not None and other.categories is not None:
        _categories(found, one.categories, other.categories, bar, thresholds)
    elif one.lengths is not None and other.lengths is not None:
        _lengths(found, one.lengths, other.lengths, bar)
    return found


def _presence(
    found: Found,
    one: FeatureSketch,
    other: FeatureSketch,
    records: int,
    records_now: int,
    thresholds: Thresholds,
) -> None:
    """Judge whether a field is there as often as it was."""
    if not records or not records_now:
        return
    before, after = one.present / records, other.present / records_now
    p = shares(one.present, records, other.present, records_now)
    if not one.present:
        text = f"is new, in {_percent(after)} of records"
        found.note("new field", after, thresholds.missing, p, text)
    elif not other.present:
        text = f"is gone, was in {_percent(before)} of records"
        found.note("gone", before, thresholds.missing, p, text)
    else:
        text = f"missing in {_percent(1 - after)} of records, was {_percent(1 - before)}"
        found.note("missing", abs(before - after), thresholds.missing, p, text)


def _kinds(found: Found, one: FeatureSketch, other: FeatureSketch, thresholds: Thresholds) -> None:
    """Judge whether values are of the type they were."""
    kind = one.kind
    before, after = one.present - one.kinds[kind], other.present - other.kinds[kind]
    p = shares(before, one.present, after, other.present)
    share = after / other.present
    effect = share - before / one.present
    text = f"is a {other.kind if share > 0.5 else 'value of another type'} in {_percent(share)}"
    found.note("type", effect, thresholds.kind, p, f"{text} of records, was a {kind}")
    odd, odd_now = one.nan + one.infinite, other.nan + other.infinite
    if odd or odd_now:
        share = odd_now / other.present
        p = shares(odd, one.present, odd_now, other.present)
        text = f"is no finite number in {_percent(share)} of records"
        found.note("type", share - odd / one.present, thresholds.kind, p, text)


def _numbers(
    found: Found, one: NumberSketch, other: NumberSketch, bar: float, thresholds: Thresholds
) -> None:
    if not one.count or not other.count:
        return
    both = spread(one, other)
    base, now = tenths(both)
    note_distance(
        found, base, now, "distribution", bar, f"mean {other.mean:.4g}, was {one.mean:.4g}"
    )
    found.ks = kolmogorov_smirnov(both)
    found.moved = wasserstein(both, one.deviation)
    _outside(found, one, other, both.counts, thresholds)


def _outside(
    found: Found,
    one: NumberSketch,
    other: NumberSketch,
    counts: Counts,
    thresholds: Thresholds,
) -> None:
    """Judge how much lies beyond all of the baseline, in buckets where it has nothing."""
    if other.low >= one.low and other.high <= one.high:
        return
    used = np.flatnonzero(counts[0])
    beyond = int(counts[1][: used[0]].sum() + counts[1][used[-1] + 1 :].sum())
    found.unknown = beyond / other.count
    p = _all_of_one(beyond, one.count, other.count)
    text = f"outside of {one.low:.4g} to {one.high:.4g} in {_percent(found.unknown)} of records"
    found.note("unknown", found.unknown, thresholds.unknown, p, text)


def _categories(
    found: Found, one: CategorySketch, other: CategorySketch, bar: float, thresholds: Thresholds
) -> None:
    if not one.total or not other.total:
        return
    names = one.names
    base = np.array([one.counts.get(name, 0) for name in names], dtype=np.int64)
    now = np.array([other.counts.get(name, 0) for name in names], dtype=np.int64)
    new = other.total - int(now.sum())
    base, now = np.append(base, one.total - base.sum()), np.append(now, new)
    gained = now / other.total - base / one.total
    at = int(np.argmax(np.abs(gained)))
    called = repr(names[at]) if at < len(names) else "all others"
    text = f"{called} {_percent(now[at] / other.total)}, was {_percent(base[at] / one.total)}"
    # What was never seen is one with what was hardly ever: of a bin that is chosen because the
    # baseline has nothing in it, no test holds.
    rare = base <= RARE
    bins = [np.append(row[~rare], row[rare].sum()) for row in (base, now)]
    note_distance(found, bins[0], bins[1], "distribution", bar, text)
    if not one.is_complete:
        return  # what it has never had is not known
    found.unknown = new / other.total
    if not new:
        return
    # What was seen once says how much was never seen (Good 1953), give or take four deviations.
    once = 1 + sum(count == 1 for count in one.counts.values())
    p = poisson(new, other.total * (once + 4 * math.sqrt(once)) / one.total)
    text = f"values that were never seen in {_percent(found.unknown)} of records"
    found.note("unknown", found.unknown, thresholds.unknown, p, text)


def _lengths(found: Found, one: NumberSketch, other: NumberSketch, bar: float) -> None:
    both = spread(one, other)
    base, now = tenths(both)
    text = f"length {other.mean:.4g} on average, was {one.mean:.4g}"
    note_distance(found, base, now, "length", bar, text)
    found.ks = kolmogorov_smirnov(both)
    found.moved = wasserstein(both, one.deviation)


def note_distance(
    found: Found,
    base: Counts,
    now: Counts,
    kind: Kind,
    bar: float,
    text: str,
) -> None:
    """Note how far two rows of counts in the same bins are from each other."""
    found.psi = psi(base, now)
    found.js = jensen_shannon(base, now)
    p = homogeneity(base, now)
    found.note(kind, found.psi, bar, p, f"PSI {found.psi:.2f}: {text}")


def _all_of_one(count: int, records: int, records_now: int) -> float:
    """Return the probability that the ``count`` outermost of both are all of the second.

    Whatever the distribution: each order of the records is as likely. Of two ends, each of the
    ``count + 1`` ways to share them between both is one that would have been told.
    """
    total = records + records_now
    log = math.log(count + 1) + sum(
        math.log((records_now - step) / (total - step)) for step in range(min(count, 200))
    )
    return min(math.exp(log), 1.0) if count else 1.0


def _first(value: float) -> float:
    return value if value == value else 0.0


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"
