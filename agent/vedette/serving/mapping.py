"""Turn the pages of one server into canonical values, and what they gained between pages.

Every rule of the server's adapter takes the first of its alternatives that is on the page. Series
that end up with the same attributes become one: amounts are added, of a share the largest is taken,
histograms are added at the bounds that all have and never sorted into others. What a label says of
who asked has no attribute to go to, so it never leaves the page.

Gains come from ``exposition.follow``, which tells restarts from other falls; what cannot be known
is NaN with a note. A difference of counters that are not read at one instant may fall by a little:
what it fell is taken off the next gain, so that nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan

from vedette.exposition.follow import START, Changes
from vedette.exposition.page import Page
from vedette.serving.adapter import Adapter, Blind, Release
from vedette.serving.placing import Attributes, Gains, Placing, Way
from vedette.serving.recognise import Recognition
from vedette.serving.rows import Absent, Mapped, Row
from vedette.serving.vocabulary import OUTCOME

#: Series whose totals are kept; more are told without.
_TOTALS_MAX = 20_000

_Place = tuple[int, Attributes]


class Mapper:
    """Map the pages of one server. Not for several threads at once."""

    def __init__(
        self, adapter: Adapter, release: Release | None = None, *, endpoint: str = ""
    ) -> None:
        """Take adapter and release as ``recognise`` gave them (spelled as the page spells it)."""
        self.adapter = adapter
        self.release = release
        #: The families of a page that are looked at: ``Reader(Choice(allow=families))``.
        self.families = adapter.metrics | {START}
        self._names = sorted(adapter.metrics)
        self._rules = [Placing(rule, adapter, endpoint) for rule in adapter.rules_of(release)]
        self._changes = Changes(counters=adapter.counting)
        self._totals: dict[_Place, float] = {}
        self._owed: dict[_Place, float] = {}
        self._at_s = nan

    def read(self, page: Page, now_s: float, *, wall_s: float = nan) -> Mapped:
        """Map a page that was read at ``now_s``, of a clock that never goes back.

        ``wall_s`` is Unix time. The first page has values and no gains.
        """
        changes = self._changes.advance(page, now_s, wall_s=wall_s, names=self._names)
        gains = {one.key: one for one in changes}
        rows: list[Row] = []
        none: list[tuple[str, str]] = []
        missing: list[Absent] = []
        absent: list[Absent] = []
        for number, placing in enumerate(self._rules):
            rule = placing.rule
            way = placing.way(page)
            if way is None:
                gone = Absent(rule.name, rule.set, placing.aliases, rule.when)
                (absent if rule.when else missing).append(gone)
                continue
            made = list(self._rows(number, placing, way, page, gains))
            rows += made
            if not made and OUTCOME in rule.set:
                none.append((placing.layer, rule.set[OUTCOME]))
        elapsed_s, self._at_s = now_s - self._at_s, now_s
        return Mapped(
            tuple(rows),
            tuple(missing),
            tuple(absent),
            tuple(none),
            tuple(one for one in self.adapter.blind if _applies(one, page)),
            elapsed_s,
            self._changes.restarted,
            self._changes.mixed,
        )

    def _rows(
        self, number: int, placing: Placing, way: Way, page: Page, gains: Gains
    ) -> Iterator[Row]:
        signal = placing.signal
        last = (way.metrics, way.source.derived, way.source.approx, number)
        if signal.instrument.kind == "histogram":
            for values, (life, gained, note) in placing.distributions(way, page, gains).items():
                yield Row(signal, values, life, gained, nan, note, *last)
        elif not signal.counts:
            for values, value in placing.amounts(way, page).items():
                yield Row(signal, values, value, None, nan, "", *last)
        else:
            difference = len(way.terms) > 1
            for values, (value, gain, note) in placing.counts(way, page, gains).items():
                place = (number, values)
                if difference:
                    value, gain = max(0.0, value), self._settled(place, gain)
                elif gain < 0:  # a counter that went below zero is none
                    gain, note = nan, "negative"
                total = self._total(place, gain)
                yield Row(signal, values, value, gain, total, note, *last)

    def _total(self, place: _Place, gain: float) -> float:
        """Return the gains of a series since the first page."""
        if place not in self._totals and len(self._totals) >= _TOTALS_MAX:
            return nan
        before = self._totals.get(place, 0.0)
        total = before + (gain if isfinite(gain) else 0.0)
        self._totals[place] = total if isfinite(total) else before
        return self._totals[place]

    def _settled(self, place: _Place, gain: float) -> float:
        """Return a gain less what the difference fell before; keep what it fell now."""
        owed = self._owed.pop(place, 0.0)
        if not isfinite(gain):
            return gain
        gain += owed
        if gain < 0:
            self._owed[place] = gain
            return 0.0
        return gain


def mappers(who: Recognition, *, endpoint: str = "") -> tuple[Mapper, ...]:
    """Return a mapper for each server that has its metrics on a page; none for an unknown one."""
    return tuple(
        Mapper(one.adapter, one.release, endpoint=endpoint)
        for one in (who, *who.beside)
        if one.adapter is not None
    )


def _applies(blind: Blind, page: Page) -> bool:
    if blind.present and not page.points(blind.present):
        return False
    return not (blind.missing and page.points(blind.missing))
