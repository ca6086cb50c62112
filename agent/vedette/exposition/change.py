"""Turn successive pages of one server into what happened between them.

A counter that fell was reset and counts from zero, so what it shows now is what was added. The same
holds for all series of a page whose ``process_start_time_seconds`` moved on, and for one whose
``created`` did, whether they fell or not. A histogram is reset when any of its buckets fell (its
sum may fall without: values can be negative). Bounds are the source's own and never rebucketed.

What cannot be known is a gap (``delta`` NaN), not a guess, because a guess is a spike:

    first     seen for the first time, on a page that cannot show it is new
    bounds    other bounds than before and no other sign of a restart: some sources hide empty
              buckets, and the whole of such a histogram is not what was added
    members   fell while the set of series put together changed (see ``page``)
    unsteady  falls again and again without a restart: workers that answer in turn, each with
              counters of its own
    workers   the same of the whole page, see ``follow``
    no number NaN or infinite now or before

Nothing here keeps anything: ``follow`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, pairwise
from math import inf, isfinite, nan
from operator import lt, sub
from typing import Literal

import msgspec

from vedette.exposition.model import Histogram, Key, Number, Point, Summary

#: A start or creation that moves less is the same one, told by a clock that was set.
START_SLACK_S = 2.0

Note = Literal[
    "",
    "fell",
    "restart",
    "created",
    "wrapped",
    "new",
    "first",
    "bounds",
    "members",
    "unsteady",
    "workers",
    "no number",
]
#: Notes that say a series counts from zero.
RESETS = frozenset({"fell", "restart", "created"})


class CounterChange(msgspec.Struct, frozen=True, gc=False):
    """What a counter gained in ``elapsed_s``, NaN for a gap; ``note`` says what was not plain."""

    key: Key
    delta: float
    elapsed_s: float
    note: Note = ""

    @property
    def rate(self) -> float:
        """The gain per second."""
        return self.delta / self.elapsed_s if self.elapsed_s > 0 else nan


class Quantile(msgspec.Struct, frozen=True):
    """A quantile as far as buckets tell it: about a value, at most one, or at least one."""

    value: float
    sense: Literal["about", "at most", "at least"] = "about"


class HistogramChange(msgspec.Struct, frozen=True):
    """What a histogram gained: ``counts`` per bucket, not cumulative, the last above all bounds.

    A gap has no counts and NaN for ``count`` and ``sum``.
    """

    key: Key
    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float
    count: float
    elapsed_s: float
    note: Note = ""

    @property
    def rate(self) -> float:
        """The gain in count per second."""
        return self.count / self.elapsed_s if self.elapsed_s > 0 else nan

    @property
    def mean(self) -> float:
        """The mean of what was gained; NaN when nothing was."""
        return self.sum / self.count if self.count > 0 else nan

    def quantile(self, q: float) -> Quantile:
        """Return the value below which a share ``q`` of what was gained lies; NaN if nothing was.

        Between two bounds it is interpolated. In the lowest bucket nothing is known but the bound,
        in the highest nothing but the last one.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is 0 to 1, got {q}")
        total = sum(self.counts)
        if not total > 0:
            return Quantile(nan)
        below = 0.0
        at, most, start = 0, 0.0, 0.0
        for index, count in enumerate(self.counts):
            if count > 0:
                at, most, start = index, count, below
                below += count
                if below >= q * total:
                    break
        if at == len(self.bounds):
            return Quantile(self.bounds[-1], "at least") if self.bounds else Quantile(nan)
        upper = self.bounds[at]
        if at == 0:
            return Quantile(upper, "at most")
        lower = self.bounds[at - 1]
        inside = min(1.0, max(0.0, (q * total - start) / most))
        return Quantile(lower + (upper - lower) * inside)

    def share_to(self, bound: float) -> float:
        """Return the share of what was gained that lies at or below one of the bounds.

        Raises ``ValueError`` for another value: nothing is interpolated here.
        """
        total = sum(self.counts)
        return sum(self.counts[: self.bounds.index(bound) + 1]) / total if total > 0 else nan


class SummaryChange(msgspec.Struct, frozen=True, gc=False):
    """What a summary gained in sum and count; its quantiles are the source's and no gain."""

    key: Key
    sum: float
    count: float
    elapsed_s: float
    note: Note = ""

    @property
    def rate(self) -> float:
        """The gain in count per second."""
        return self.count / self.elapsed_s if self.elapsed_s > 0 else nan

    @property
    def mean(self) -> float:
        """The mean of what was gained; NaN when nothing was."""
        return self.sum / self.count if self.count > 0 else nan


Change = CounterChange | HistogramChange | SummaryChange


# ---------------------------------------------------------------- of one series


def counter_change(
    before: Number, after: Number, elapsed_s: float, *, restarted: bool = False, wraps_at: float = 0
) -> CounterChange:
    """Compare two readings of a counter.

    ``wraps_at`` (2**32, 2**64) is for a source known to wrap: a fall from the last to the first
    eighth of that range is then no reset. Without being told it is one.
    """
    old, new = before.value, after.value
    if not (isfinite(old) and isfinite(new)):
        return CounterChange(after.key, nan, elapsed_s, "no number")
    note = _reset(before, after, restarted, new < old)
    if note == "members":
        return CounterChange(after.key, nan, elapsed_s, note)
    if note == "fell" and wraps_at and old >= wraps_at * 0.875 and new < wraps_at * 0.125:
        return CounterChange(after.key, wraps_at - old + new, elapsed_s, "wrapped")
    delta = new if note in RESETS else new - old
    return CounterChange(after.key, delta, elapsed_s, note)


def histogram_change(
    before: Histogram, after: Histogram, elapsed_s: float, *, restarted: bool = False
) -> HistogramChange:
    """Compare two readings of a histogram."""
    figures = (*before.cumulative, *after.cumulative)
    if not all(map(isfinite, figures)):
        return _histogram_gap(after, elapsed_s, "no number")
    same = before.bounds == after.bounds
    fell = after.count < before.count or (
        same and any(map(lt, after.cumulative, before.cumulative))
    )
    note = _reset(before, after, restarted, fell)
    if note == "members" or (not same and note not in RESETS):
        return _histogram_gap(after, elapsed_s, "members" if note == "members" else "bounds")
    if note in RESETS:
        gained, total, count = after.cumulative, after.sum, after.count
    else:
        gained = tuple(map(sub, after.cumulative, before.cumulative))
        total, count = after.sum - before.sum, after.count - before.count
    # Buckets read while they were written may lie below their neighbours for a moment.
    rising = list(accumulate(gained, max))
    counts = (rising[0], *(high - low for low, high in pairwise(rising)))
    return HistogramChange(after.key, after.bounds, counts, total, count, elapsed_s, note)


def summary_change(
    before: Summary, after: Summary, elapsed_s: float, *, restarted: bool = False
) -> SummaryChange:
    """Compare two readings of a summary."""
    if not (isfinite(before.count) and isfinite(after.count)):
        return SummaryChange(after.key, nan, nan, elapsed_s, "no number")
    note = _reset(before, after, restarted, after.count < before.count)
    if note == "members":
        return SummaryChange(after.key, nan, nan, elapsed_s, note)
    if note in RESETS:
        return SummaryChange(after.key, after.sum, after.count, elapsed_s, note)
    return SummaryChange(
        after.key, after.sum - before.sum, after.count - before.count, elapsed_s, note
    )


def together(changes: Iterable[HistogramChange], key: Key) -> HistogramChange | None:
    """Add what several histograms gained in the same time (engines, ranks); None for none.

    Gaps are left out. Where bounds differ those that all have are kept, which is exact.
    """
    known = [one for one in changes if one.counts]
    if not known:
        return None
    shared = set(known[0].bounds).intersection(*(one.bounds for one in known))
    bounds = tuple(bound for bound in known[0].bounds if bound in shared)
    totals = [0.0] * (len(bounds) + 1)
    for one in known:
        at = 0
        for bound, count in zip((*one.bounds, inf), one.counts, strict=True):
            totals[at] += count
            at += bound in shared
    return HistogramChange(
        key,
        bounds,
        tuple(totals),
        sum(one.sum for one in known),
        sum(one.count for one in known),
        max(one.elapsed_s for one in known),
    )


def change(
    before: Point,
    after: Point,
    elapsed_s: float,
    *,
    restarted: bool = False,
    wraps_at: float = 0,
) -> Change:
    """Compare two readings of a series, whatever it is."""
    if isinstance(before, Number) and isinstance(after, Number):
        return counter_change(before, after, elapsed_s, restarted=restarted, wraps_at=wraps_at)
    if isinstance(before, Histogram) and isinstance(after, Histogram):
        return histogram_change(before, after, elapsed_s, restarted=restarted)
    if isinstance(before, Summary) and isinstance(after, Summary):
        return summary_change(before, after, elapsed_s, restarted=restarted)
    return gap(after, elapsed_s, "first")


def newborn(point: Point, elapsed_s: float) -> Change:
    """Return what a series gained that was not there before: all of it."""
    if isinstance(point, Number):
        before: Point = Number(point.key, 0.0)
    elif isinstance(point, Summary):
        before = Summary(point.key, count=0.0)
    else:
        before = Histogram(point.key, point.bounds, (0.0,) * len(point.cumulative))
    found = change(before, point, elapsed_s, restarted=True)
    return msgspec.structs.replace(found, note="new") if found.note == "restart" else found


def gap(point: Point, elapsed_s: float, note: Note) -> Change:
    """Say that what a series gained is not known."""
    if isinstance(point, Number):
        return CounterChange(point.key, nan, elapsed_s, note)
    if isinstance(point, Summary):
        return SummaryChange(point.key, nan, nan, elapsed_s, note)
    return _histogram_gap(point, elapsed_s, note)


def _reset(before: Point, after: Point, restarted: bool, fell: bool) -> Note:
    if restarted:
        return "restart"
    if before.sources != after.sources:
        return "members" if fell else ""
    if after.created > before.created and (fell or after.created - before.created > START_SLACK_S):
        return "created"
    return "fell" if fell else ""


def _histogram_gap(point: Histogram, elapsed_s: float, note: Note) -> HistogramChange:
    return HistogramChange(point.key, point.bounds, (), nan, nan, elapsed_s, note)
