"""Make one rule of an adapter ready for pages: which series it takes, and where each goes.

Where a series goes is found once and remembered, so that a page costs a look-up a series.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite, nan

from vedette.exposition.change import (
    Change,
    CounterChange,
    HistogramChange,
    SummaryChange,
    newborn,
    together,
)
from vedette.exposition.model import Key, Number, Point
from vedette.exposition.page import Page
from vedette.serving.adapter import LARGER, UNITS, Adapter, Rule, Source, Term, matches
from vedette.serving.vocabulary import ENDPOINT, LAYER, SERVER, SIGNALS, Signal

#: Label values that say there is none.
_NONE = frozenset({"", "None", "none", "null"})
#: DCGM writes such numbers (2**63 - 14 and others) for what a device does not have.
_NO_VALUE = 2.0**62
#: Series of one rule whose place is remembered.
_PLACES_MAX = 5_000

Attributes = tuple[str, ...]
Gains = Mapping[Key, Change]
#: What was counted, what was gained, and what was not plain about it.
Count = tuple[float, float, str]
Distribution = tuple[HistogramChange, HistogramChange, str]


class Way:
    """One alternative of a rule, with its terms in order and whether each is added or taken off."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.terms = source.terms
        off = len(self.terms) - len(source.minus)
        self.signs = tuple(1.0 if at < off else -1.0 for at in range(len(self.terms)))
        self.metrics = tuple(dict.fromkeys(term.metric for term in self.terms))

    def there(self, page: Page) -> bool:
        """Say whether the page has what this needs."""
        first, *rest = self.terms
        return bool(page.points(first.metric)) and all(
            page.points(term.metric) for term in rest if term.required
        )


class Placing:
    """A rule made ready."""

    def __init__(self, rule: Rule, adapter: Adapter, endpoint: str) -> None:
        self.rule = rule
        self.signal: Signal = SIGNALS[rule.name]
        self.layer = rule.layer or adapter.layer
        self.ways = tuple(Way(source) for source in rule.alternatives)
        self.aliases = tuple(dict.fromkeys(way.terms[0].metric for way in self.ways))
        self._keys = self.signal.instrument.attributes
        self._fixed = {ENDPOINT: endpoint, SERVER: adapter.name, LAYER: self.layer, **rule.set}
        self._labels = adapter.labels
        self._places: dict[tuple[Way, int, Key], Attributes | None] = {}

    def way(self, page: Page) -> Way | None:
        """Return the first alternative that the page has."""
        return next((way for way in self.ways if way.there(page)), None)

    # ------------------------------------------------------------ gauges

    def amounts(self, way: Way, page: Page) -> dict[Attributes, float]:
        """Return what is, by attributes."""
        if way.source.names_in:
            return self._named(way, page)
        found: dict[Attributes, float] = {}
        for at, sign in enumerate(way.signs):
            for values, point in self._series(way, at, page):
                value = _amount(way.source, way.terms[at], point)
                if not isfinite(value):
                    continue
                if self.signal.combine == "largest":
                    found[values] = max(found.get(values, value), value)
                else:
                    found[values] = found.get(values, 0.0) + sign * value
        return found

    def _named(self, way: Way, page: Page) -> dict[Attributes, float]:
        """Return 1 for each name in the list of the newest series, whose value is the largest."""
        series = [
            (point.value, values, point.key)
            for values, point in self._series(way, 0, page)
            if isinstance(point, Number) and isfinite(point.value)
        ]
        if not series:
            return {}
        label = way.source.names_in
        _, values, key = max(series, key=lambda one: one[0])
        at = self._keys.index(way.source.labels[label])
        names = [name.strip() for name in key.label(label).split(",")]
        return {(*values[:at], name, *values[at + 1 :]): 1.0 for name in names if name}

    # ------------------------------------------------------------ counters

    def counts(self, way: Way, page: Page, gains: Gains) -> dict[Attributes, Count]:
        """Return what was counted and gained, by attributes."""
        return self._counts(way, range(len(way.terms)), page, gains)

    def _counts(
        self, way: Way, terms: Iterable[int], page: Page, gains: Gains
    ) -> dict[Attributes, Count]:
        found: dict[Attributes, Count] = {}
        for at in terms:
            sign, term = way.signs[at], way.terms[at]
            for values, point in self._series(way, at, page):
                change = gains.get(point.key)
                gain = nan if change is None else _scaled(_gained(change, term), term.unit)
                note = "" if change is None else change.note
                value, gained, noted = found.get(values, (0.0, 0.0, ""))
                value += sign * _scaled(_part(point, term), term.unit)
                found[values] = (value, gained + sign * gain, noted or note)
        return found

    # ------------------------------------------------------------ histograms

    def distributions(self, way: Way, page: Page, gains: Gains) -> dict[Attributes, Distribution]:
        """Return what was counted since the start and since the page before, by attributes."""
        if way.source.sum is not None:
            return self._means(way, page, gains)
        unit = way.terms[0].unit
        lives: dict[Attributes, list[HistogramChange]] = {}
        gained: dict[Attributes, list[HistogramChange]] = {}
        notes: dict[Attributes, str] = {}
        for values, point in self._series(way, 0, page):
            if isinstance(point, Number):
                continue
            lives.setdefault(values, []).append(_distribution(newborn(point, nan), unit))
            change = gains.get(point.key)
            if change is not None:
                gained.setdefault(values, []).append(_distribution(change, unit))
                notes.setdefault(values, change.note)
        found: dict[Attributes, Distribution] = {}
        key = Key(self.signal.name)  # the page's own may say who asked
        for values, many in lives.items():
            life = together(many, key) or _unknown(HistogramChange(key, (), (), nan, nan, nan))
            gain = together(gained.get(values, ()), key) or _unknown(life)
            found[values] = (life, gain, notes.get(values, ""))
        return found

    def _means(self, way: Way, page: Page, gains: Gains) -> dict[Attributes, Distribution]:
        """Return sums and counts as distributions without bounds."""
        sums = self._counts(way, (0,), page, gains)
        found: dict[Attributes, Distribution] = {}
        for values, (count, gained, note) in self._counts(way, (1,), page, gains).items():
            total, more, noted = sums.get(values, (nan, nan, ""))
            key = Key(self.signal.name)
            found[values] = (_mean(key, total, count), _mean(key, more, gained), note or noted)
        return found

    # ------------------------------------------------------------ series

    def _series(self, way: Way, at: int, page: Page) -> Iterator[tuple[Attributes, Point]]:
        for point in page.points(way.terms[at].metric):
            where = (way, at, point.key)
            if where in self._places:
                values = self._places[where]
            else:
                if len(self._places) >= _PLACES_MAX:
                    self._places.clear()
                values = self._places[where] = self._place(way, at, point.key)
            if values is not None:
                yield values, point

    def _place(self, way: Way, at: int, key: Key) -> Attributes | None:
        """Return the attributes that a series goes to; None when it is not the term's."""
        labels = dict(key.labels)
        if not matches(labels, way.terms[at]):
            return None
        told = dict(self._fixed)
        more = () if way.source.whole else (*way.source.labels.items(), *self._labels.items())
        for label, attribute in more:
            text = labels.get(label, "")
            if text not in _NONE:
                told.setdefault(attribute, text)
        return tuple(told.get(attribute, "") for attribute in self._keys)


# ---------------------------------------------------------------- points


def _scaled(value: float, unit: str) -> float:
    larger = LARGER.get(unit)
    return value * larger if larger is not None else value / UNITS[unit]


def _amount(source: Source, term: Term, point: Point) -> float:
    """Return what a series of a gauge adds."""
    if source.number_in:
        try:
            return _scaled(float(point.key.label(source.number_in)), term.unit)
        except ValueError:
            return nan
    value = _part(point, term)
    if source.equal is not None:
        return float(value == source.equal)
    return nan if abs(value) >= _NO_VALUE else _scaled(value, term.unit)


def _part(point: Point, term: Term) -> float:
    if isinstance(point, Number):
        return point.value
    return point.sum if term.part == "sum" else point.count


def _gained(change: Change, term: Term) -> float:
    if isinstance(change, CounterChange):
        return change.delta
    return change.sum if term.part == "sum" else change.count


def _distribution(change: Change, unit: str) -> HistogramChange:
    """Return what a histogram or summary gained, in the signal's unit."""
    if isinstance(change, HistogramChange):
        bounds = tuple(_scaled(bound, unit) for bound in change.bounds)
        counts, total, count = change.counts, change.sum, change.count
    elif isinstance(change, SummaryChange):
        bounds, total, count = (), change.sum, change.count
        counts = (count,) if isfinite(count) else ()
    else:
        bounds, counts, total, count = (), (), nan, nan
    if counts and not min(counts) >= 0:  # nothing that was counted
        counts, total, count = (), nan, nan
    return HistogramChange(
        change.key, bounds, counts, _scaled(total, unit), count, change.elapsed_s, change.note
    )


def _mean(key: Key, total: float, count: float) -> HistogramChange:
    """Return a sum and a count as a distribution without bounds."""
    if not (isfinite(total) and count >= 0):
        return HistogramChange(key, (), (), nan, nan, nan)
    return HistogramChange(key, (), (count,), total, count, nan)


def _unknown(like: HistogramChange) -> HistogramChange:
    return HistogramChange(like.key, like.bounds, (), nan, nan, nan)
