"""Hold what a page of a model server says in canonical terms: rows, outcomes, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite, nan

import msgspec

from vedette.api import HistogramSample, Sample
from vedette.exposition.change import HistogramChange, together
from vedette.exposition.model import Key
from vedette.serving.adapter import Blind
from vedette.serving.vocabulary import LAYER, OUTCOME, OUTCOMES, REQUESTS, SIGNALS, Signal

#: What OTLP can carry as a count.
_COUNT_MAX = 2.0**63
#: A number, or a distribution.
Value = float | HistogramChange


class Row(msgspec.Struct, frozen=True):
    """One canonical series as a page has it.

    ``value`` is what stands on the page: of a histogram all that it counted since the start.
    ``gain`` is what came since the page before (NaN, or a distribution without counts: not known,
    and ``note`` says why); None for what does not count. ``total`` is the sum of the gains since
    the first page, which restarts do not touch. ``metrics`` are the names it is from; ``approx``
    says how it is not quite what the signal means.
    """

    signal: Signal
    values: tuple[str, ...]
    value: Value
    gain: Value | None
    total: float
    note: str
    metrics: tuple[str, ...]
    derived: bool
    approx: str
    #: The number of the adapter's rule, which tells a row that changed its source.
    rule: int = -1

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes that have a value."""
        keys = self.signal.instrument.attributes
        return {key: text for key, text in zip(keys, self.values, strict=True) if text}

    def attribute(self, name: str) -> str:
        """Return the value of one attribute; empty when there is none."""
        keys = self.signal.instrument.attributes
        return self.values[keys.index(name)] if name in keys else ""

    @property
    def layer(self) -> str:
        """Who counted it."""
        return self.attribute(LAYER)

    @property
    def place(self) -> tuple[str, tuple[str, ...]]:
        """What tells it from the other rows of a page."""
        return self.signal.name, self.values


class Absent(msgspec.Struct, frozen=True):
    """A signal that the page has not: the names looked for, and when it would have one."""

    signal: str
    set: dict[str, str]
    metrics: tuple[str, ...]
    when: str = ""


class Mapped(msgspec.Struct, frozen=True):
    """A page in canonical terms.

    ``missing`` should be there and is not: the names changed, or the server is another. ``absent``
    comes only with something (a first request, an option). ``none`` are outcomes by layer that
    the server counts and has not had. ``blind`` is what cannot be known.
    """

    rows: tuple[Row, ...]
    missing: tuple[Absent, ...]
    absent: tuple[Absent, ...]
    none: tuple[tuple[str, str], ...]
    blind: tuple[Blind, ...]
    elapsed_s: float
    restarted: bool
    mixed: bool

    def of(self, name: str) -> tuple[Row, ...]:
        """Return the rows of a signal."""
        return tuple(row for row in self.rows if row.signal.name == name)

    @property
    def outcomes(self) -> tuple[Tally, ...]:
        """How requests ended, by layer and outcome. One that the server cannot tell is not here."""
        return tallies(self.rows, self.none)


class Tally(msgspec.Struct, frozen=True):
    """So many requests ended like this: since the start, and since the page before."""

    layer: str
    outcome: str
    value: float
    gain: float


def tallies(rows: Iterable[Row], none: Iterable[tuple[str, str]] = ()) -> tuple[Tally, ...]:
    """Add up how requests ended; ``none`` are layers and outcomes that are 0 without a row."""
    found: dict[tuple[str, str], tuple[float, float]] = dict.fromkeys(none, (0.0, 0.0))
    for row in rows:
        if row.signal.name != REQUESTS or isinstance(row.value, HistogramChange):
            continue
        gain = nan if row.gain is None or isinstance(row.gain, HistogramChange) else row.gain
        place = (row.layer, row.attribute(OUTCOME))
        value, gained = found.get(place, (0.0, 0.0))
        found[place] = (value + row.value, gained + gain)
    order: dict[str, int] = {outcome: at for at, outcome in enumerate(OUTCOMES)}
    return tuple(
        Tally(layer, outcome, *found[layer, outcome])
        for layer, outcome in sorted(found, key=lambda one: (one[0], order[one[1]]))
    )


def samples(rows: Iterable[Row]) -> list[Sample | HistogramSample]:
    """Return the readings that a collector yields: what is, running totals, distributions gained.

    A gap of a counter leaves its total where it was; of a histogram there is nothing to yield.
    """
    made: list[Sample | HistogramSample] = []
    for row in rows:
        instrument = row.signal.instrument
        gain = row.gain
        if isinstance(gain, HistogramChange):
            if gain.counts and gain.count > 0 and max(gain.counts) < _COUNT_MAX:
                counts = tuple(round(count) for count in gain.counts)
                total = gain.sum if isfinite(gain.sum) else None
                series = instrument.series(*row.values)
                made.append(HistogramSample(series, gain.bounds, counts, total))
        elif not isinstance(row.value, HistogramChange):
            value = row.total if row.signal.counts else row.value
            made.append(instrument(value, *row.values))
    return made


def across(steps: Sequence[Mapped]) -> tuple[Row, ...]:
    """Return the newest row of each series, with what it gained from the first page to the last.

    Gaps add nothing and are named in the note; so is that a series is gone from the last page. One
    whose rule has found a better source since is left out. Raises ``ValueError`` for no pages.
    """
    if not steps:
        raise ValueError("no pages")
    newest: dict[tuple[str, tuple[str, ...]], Row] = {}
    gains: dict[tuple[str, tuple[str, ...]], list[Value]] = {}
    notes: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
    for number, step in enumerate(steps):
        for row in step.rows:
            newest[row.place] = row
            if number and row.gain is not None:
                gains.setdefault(row.place, []).append(row.gain)
                if row.note:
                    notes.setdefault(row.place, {})[row.note] = None
    last = {row.place for row in steps[-1].rows}
    sources = {row.rule: row.metrics for row in steps[-1].rows}
    found = []
    for place, row in newest.items():
        if place not in last:
            if sources.get(row.rule, row.metrics) != row.metrics:
                continue
            notes.setdefault(place, {})["gone"] = None
        gain = _added(row, gains.get(place, [])) if row.gain is not None else None
        note = ", ".join(notes.get(place, ()))
        found.append(msgspec.structs.replace(row, gain=gain, note=note))
    order = {name: at for at, name in enumerate(SIGNALS)}
    return tuple(sorted(found, key=lambda row: (order[row.signal.name], row.values)))


def _added(row: Row, gains: Sequence[Value]) -> Value:
    many = [one for one in gains if isinstance(one, HistogramChange)]
    if isinstance(row.value, HistogramChange):
        elapsed_s = sum(one.elapsed_s for one in many if isfinite(one.elapsed_s))
        key = Key(row.signal.name)
        added = together(many, key)
        if added is None:
            return HistogramChange(key, row.value.bounds, (), nan, nan, elapsed_s)
        return msgspec.structs.replace(added, elapsed_s=elapsed_s)
    numbers = [one for one in gains if not isinstance(one, HistogramChange) and isfinite(one)]
    return sum(numbers) if numbers else nan
