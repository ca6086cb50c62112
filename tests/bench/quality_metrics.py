"""Measure anomaly scores against labels: areas under precision and recall, and events as alarms.

Two views, because they rank detectors differently (a score may order the rows well and still ring
too often, or the other way round):

- *Areas*, without a threshold, per series: AUC-PR (average precision), and VUS-PR, the volume under
  the range-based precision-recall surface (Paparrizos et al., VLDB 2022) with the definition that
  TheDatumOrg/TSB-AD computes: for each buffer of 0 to ``buffer`` rows the label gets soft flanks of
  half that width, recall is weighted with the share of events that are touched at all, and
  precision is summed over the steps of recall at 250 thresholds spaced evenly in rank.
- *Events*, at one threshold for all series of a set: an alarm is a rising edge above the threshold
  followed by a refractory time; an event is found when an alarm *starts* within its rows or a few
  rows around them. What was ringing already does not count, or a detector that never stops would
  find everything. No point adjustment.

Larger scores are stranger. NaN is no opinion: it leaves the last one as it was, and before the
first opinion the series is as calm as can be. Everything is numpy only and without randomness; a
threshold costs about a millisecond for 225,000 rows, a VUS-PR 20 ms for 16,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

DAY_S = 86_400.0
#: Thresholds of the precision-recall surface, as in TSB-AD.
SURFACE_THRESHOLDS = 250
#: Thresholds that a sweep over events tries, where there are more distinct scores.
SWEEP_THRESHOLDS = 240


class Rules(NamedTuple):
    """What counts as one alarm and as found, in rows of a series."""

    #: Rows after an alarm in which no other one starts.
    refractory: int
    #: Rows before and after an event in which an alarm may start.
    tolerance: int
    #: Widest buffer of VUS-PR.
    buffer: int


def rules_for(step_s: float) -> Rules:
    """Return the rules for series of this sampling step: 30 min, 5 rows, and 1 h at 1 min.

    Hourly series have a refractory time of 6 rows, a tolerance of 2 and a buffer of 12. The buffer
    is never over 60 rows, so that series read each second can be measured at all.
    """
    if not step_s > 0:
        raise ValueError(f"the sampling step must be positive, got {step_s!r} s")
    return Rules(
        refractory=max(6, round(1_800 / step_s)),
        tolerance=5 if step_s < 1_800 else 2,
        buffer=min(60, max(12, round(3_600 / step_s))),
    )


class Scored(NamedTuple):
    """One series with its scores. Arrays ``(rows,)``; only rows from ``first`` on are judged."""

    scores: Floats
    labels: Mask
    step_s: float
    first: int = 0


# ---------------------------------------------------------------- areas


def auc_pr(labels: Mask, scores: Floats) -> float:
    """Return the average precision; NaN when nothing is labelled."""
    labels, scores = _checked(labels, scores)
    positives = int(labels.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last_of_tie = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    found = np.cumsum(labels[order])[last_of_tie]
    precision = found / (last_of_tie + 1)
    return float(np.dot(np.diff(found, prepend=0) / positives, precision))


def vus_pr(
    labels: Mask, scores: Floats, buffer: int, thresholds: int = SURFACE_THRESHOLDS
) -> float:
    """Return the volume under the precision-recall surface; NaN when nothing is labelled.

    The mean over buffers of 0 to ``buffer`` rows of the area under range-based precision and
    recall. Only the rows near events are looked at per buffer: what lies elsewhere has no weight.
    """
    labels, scores = _checked(labels, scores)
    events = events_of(labels)
    if not len(events):
        return float("nan")
    ordered = -np.sort(-scores)
    steps = ordered[np.linspace(0, len(scores) - 1, thresholds).astype(np.intp)]
    predicted = np.searchsorted(-ordered, -steps, side="right")
    # The first threshold at which each row is predicted.
    reached = np.searchsorted(-steps, -scores, side="left")
    inside = np.cumsum(np.bincount(reached[labels], minlength=thresholds + 1)[:thresholds])
    areas = [
        _range_area(labels, scores, events, width, steps, predicted, reached, inside)
        for width in range(buffer + 1)
    ]
    return float(np.mean(areas))


def _range_area(
    labels: Mask,
    scores: Floats,
    events: Rows,
    width: int,
    steps: Floats,
    predicted: Rows,
    reached: Rows,
    inside: Rows,
) -> float:
    """Return the area under range-based precision and recall for one width of the buffer."""
    weights = _flanks(labels, events, width)
    near = np.flatnonzero(weights)
    per_step = np.bincount(reached[near], weights=weights[near], minlength=len(steps) + 1)
    beside = np.cumsum(per_step[: len(steps)])
    strangest = -np.sort(-_maxima(scores, events, width // 2))
    touched = np.searchsorted(-strangest, -steps, side="right") / len(strangest)
    true = inside + beside
    # What is positive grows with the flanks that are predicted: half of them count.
    recall = np.minimum(true / (labels.sum() + beside / 2), 1) * touched
    return float(np.dot(np.diff(recall, prepend=0.0), true / predicted))


def _flanks(labels: Mask, events: Rows, width: int) -> Floats:
    """Return the weight of each row beside an event: falling to sqrt(1/2), 0 inside and far off."""
    weights = np.zeros(len(labels))
    for distance in range(1, width // 2 + 1):
        weight = np.sqrt(1 - distance / width)
        before, after = events[:, 0] - distance, events[:, 1] + distance
        weights[before[before >= 0]] += weight
        weights[after[after < len(labels)]] += weight
    weights[labels] = 0
    return np.minimum(weights, 1)


def _maxima(scores: Floats, events: Rows, reach: int) -> Floats:
    """Return the largest score of each event with its flanks; events that meet are one."""
    starts = np.maximum(events[:, 0] - reach, 0)
    ends = np.minimum(events[:, 1] + reach, len(scores) - 1)
    apart = np.flatnonzero(ends[:-1] < starts[1:])
    starts = starts[np.append(0, apart + 1)]
    ends = ends[np.append(apart, len(ends) - 1)]
    return np.array([scores[a : b + 1].max() for a, b in zip(starts, ends, strict=True)])


# ---------------------------------------------------------------- events


def events_of(labels: Mask) -> Rows:
    """Return the runs of labelled rows, int ``(events, 2)``: first and last row of each."""
    edges = np.diff(np.asarray(labels, dtype=np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1], axis=1)


def thinned(edges: Rows, refractory: Rows) -> Rows:
    """Return the edges that are alarms: none within the refractory rows after the one before.

    ``edges`` is sorted, ``refractory`` has the rows that each one would silence after itself.
    """
    following = np.searchsorted(edges, edges + refractory, side="right").tolist()
    kept, place = [], 0
    while place < len(following):
        kept.append(place)
        place = following[place]
    return edges[kept]


class Outcome(NamedTuple):
    """What one threshold comes to over all series of a set."""

    threshold: float
    #: Alarms within an event's reach, alarms elsewhere.
    true: int
    false: int
    found: int
    events: int
    #: Rows from the start of each event that was found to its first alarm; early ones are 0.
    delays: Rows
    #: Time judged, over all series.
    days: float

    @property
    def precision(self) -> float:
        """Share of events found in what a person is called for: found / (found + false)."""
        called = self.found + self.false
        return self.found / called if called else 0.0

    @property
    def recall(self) -> float:
        """Share of events that were found; NaN without events."""
        return self.found / self.events if self.events else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.found + self.false + self.events
        return 2 * self.found / total if total else 0.0

    @property
    def false_per_day(self) -> float:
        """False alarms per series and day."""
        return self.false / self.days

    def delay(self, quantile: float) -> float:
        """Return a quantile of the delays in rows; NaN when nothing was found."""
        return float(np.quantile(self.delays, quantile)) if len(self.delays) else float("nan")


class SeriesSet:
    """Many scored series laid end to end, judged at one threshold for all.

    An alarm before a series' first judged row is not counted, and neither is one in reach of an
    event that began before it. Between two series there is a gap wider than anything reaches.
    """

    def __init__(self, series: Sequence[Scored]) -> None:
        if not series:
            raise ValueError("a set needs at least one series")
        rules = [rules_for(one.step_s) for one in series]
        gap = max(one.refractory + one.tolerance for one in rules) + 1
        lengths = np.array([len(one.scores) + gap for one in series])
        starts = np.cumsum(lengths) - lengths
        total = int(lengths.sum())
        self.scores = np.full(total, -np.inf)
        self.age_s = np.full(total, np.nan)
        self.step_s = np.zeros(total)
        self.is_judged = np.zeros(total, dtype=bool)
        #: 1 in reach of an event that counts, 0 of one that does not, -1 elsewhere.
        self.reach = np.full(total, -1, dtype=np.int8)
        self.refractory = np.repeat([one.refractory for one in rules], lengths)
        self.days = sum((len(one.scores) - one.first) * one.step_s for one in series) / DAY_S
        spans = []
        for one, rule, start in zip(series, rules, starts.tolist(), strict=True):
            spans.append(self._lay(one, rule, start))
        self.spans = np.concatenate(spans)
        self.before = np.append(-np.inf, self.scores[:-1])

    def _lay(self, one: Scored, rules: Rules, start: int) -> Rows:
        """Put one series at its place; return its events as ``(start, from, until)`` rows."""
        labels, scores = _checked(one.labels, one.scores)
        end = start + len(scores)
        self.scores[start:end] = scores
        self.age_s[start:end] = np.arange(len(scores)) * one.step_s
        self.step_s[start:end] = one.step_s
        self.is_judged[start + one.first : end] = True
        events = events_of(labels)
        counts = events[:, 0] >= one.first
        for (begins, ends), does_count in zip(events.tolist(), counts.tolist(), strict=True):
            reached = slice(
                start + max(begins - rules.tolerance, 0),
                min(start + ends + rules.tolerance + 1, end),
            )
            np.maximum(self.reach[reached], int(does_count), out=self.reach[reached])
        begins, ends = events[counts].T + start
        return np.stack([begins, begins - rules.tolerance, ends + rules.tolerance], axis=1)

    def thresholds(self, most: int = SWEEP_THRESHOLDS) -> Floats:
        """Return thresholds that matter, falling: every score, or ranks spaced evenly in log."""
        known = -np.sort(-self.scores[self.is_judged])
        known = known[np.isfinite(known)]
        distinct = np.unique(known)
        if len(distinct) > most:
            # No step is wasted within the largest score or the least, which many rows may share.
            first, last = (known == distinct[-1]).sum(), (known > distinct[0]).sum()
            distinct = np.unique(known[np.geomspace(first, last, most).astype(np.intp)])
        return distinct[::-1]

    def alarms(self, threshold: float) -> Rows:
        """Return the rows at which alarms start, judged or not."""
        edges = np.flatnonzero((self.scores > threshold) & ~(self.before > threshold))
        return thinned(edges, self.refractory[edges])

    def at(self, threshold: float) -> Outcome:
        """Judge one threshold."""
        alarms = self.alarms(threshold)
        alarms = alarms[self.is_judged[alarms]]
        reach = self.reach[alarms]
        begins, lowest, highest = self.spans.T
        place = np.searchsorted(alarms, lowest)
        first = np.append(alarms, np.iinfo(np.intp).max)[place]
        found = first <= highest
        return Outcome(
            threshold=float(threshold),
            true=int((reach == 1).sum()),
            false=int((reach == -1).sum()),
            found=int(found.sum()),
            events=len(self.spans),
            delays=np.maximum(first - begins, 0)[found],
            days=self.days,
        )

    def sweep(self, most: int = SWEEP_THRESHOLDS) -> list[Outcome]:
        """Judge every threshold of ``thresholds``, the highest first."""
        return [self.at(threshold) for threshold in self.thresholds(most).tolist()]

    def false_by_age(
        self, threshold: float, bounds_s: Sequence[float]
    ) -> Iterator[tuple[int, float]]:
        """Yield false alarms and series-days per span of age, unjudged rows included.

        ``bounds_s`` are the ends of all spans but the last, which has none.
        """
        alarms = self.alarms(threshold)
        ages = self.age_s[alarms[self.reach[alarms] == -1]]
        bounds = [0.0, *bounds_s, np.inf]
        for low, high in pairwise(bounds):
            inside = (self.age_s >= low) & (self.age_s < high)
            days = float(self.step_s[inside].sum()) / DAY_S
            yield int(((ages >= low) & (ages < high)).sum()), days


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome with the largest F1, of equals the one with the highest threshold."""
    return max(outcomes, key=lambda one: one.f1)


def recall_within(outcomes: Sequence[Outcome], false_per_day: float) -> float:
    """Return the largest recall at no more than this many false alarms per series and day."""
    return max((one.recall for one in outcomes if one.false_per_day <= false_per_day), default=0.0)


def tail_shares(p: Floats, levels: Sequence[float]) -> list[float]:
    """Return the share of known probabilities below each level: the level itself at best."""
    known = p[~np.isnan(p)]
    return [float((known < level).mean()) if len(known) else float("nan") for level in levels]


def carried(scores: Floats) -> Floats:
    """Return the scores with the last opinion where there is none, -inf before the first."""
    known = ~np.isnan(scores)
    newest = np.maximum.accumulate(np.where(known, np.arange(len(scores)), -1))
    return np.where(newest >= 0, scores[newest], -np.inf)


def _checked(labels: Mask, scores: Floats) -> tuple[Mask, Floats]:
    """Return both as arrays of one length, scores without NaN."""
    labels = np.asarray(labels).astype(bool)
    scores = np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must be of one length")
    return labels, carried(scores)
