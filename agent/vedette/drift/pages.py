"""See drift in what model servers count themselves: lengths of prompts and answers, batches, ends.

A page of metrics has these as histograms with bounds of the server's own, and as counters by
outcome. What came since the page before is added up to windows, and a window is compared with a
baseline of the same bounds: PSI and its test, as of logs of inferences, with bins as wide as the
bounds allow. The baseline is learned of the first ``LEARN`` requests after the start, in pieces, so
that it is known how much it varied; bounds that change begin it anew.

Nothing of it is kept: an agent that was restarted learns again. Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from vedette.api import HistogramSample, Sample, Series
from vedette.drift.compare import Found, note_distance, ranked
from vedette.drift.distance import kolmogorov_smirnov, psi, tenths
from vedette.drift.numbers import Counts, Floats, Spread
from vedette.drift.series import MODEL, of_pages
from vedette.drift.verdict import FieldVerdict, Thresholds

__all__ = ["PageField", "Pages"]

#: The signals that tell what a model is asked and answers, not how fast. The last is a counter.
SIZES = ("vedette.model.request.tokens", "vedette.model.batch.size")
ENDS, OUTCOME = "vedette.model.requests", "vedette.model.outcome"
LAYER = "vedette.model.layer"
#: Requests of which a baseline is learned, and in how many pieces.
LEARN, PIECES = 2_000, 8
WINDOW_NS, LEAST = 300_000_000_000, 200
FIELDS_MAX = 256
_PREFIX = "vedette.model."


class PageField:
    """One distribution that a server counts: its baseline, and the window that is open.

    ``bounds`` are the upper bounds of all buckets but the last one; of outcomes, none.
    """

    def __init__(
        self, field: str, bounds: Sequence[float], bins: int, *, usual_by: float = 1.5
    ) -> None:
        self.field = field
        self.bounds = tuple(bounds)
        self.base: Counts | None = None
        self.usual = 0.0
        self._usual_by = usual_by
        self._pieces = [np.zeros(bins, np.int64)]
        self._window = np.zeros(bins, np.int64)
        self._begun_ns = 0

    def take(self, counts: Sequence[int], now_ns: int) -> bool:
        """Add what came since the page before; whether a window has come to its end by it."""
        came = np.asarray(counts, dtype=np.int64)
        if self.base is None:
            self._learn(came)
            return False
        if came.any() and not self._window.any():
            self._begun_ns = now_ns
        self._window += came
        return bool(self._window.sum() >= LEAST and now_ns - self._begun_ns >= WINDOW_NS)

    def close(self, thresholds: Thresholds) -> Found:
        """End the window; return what is found of it, to be judged with others."""
        if self.base is None:
            raise ValueError(f"{self.field}: a window without a baseline")
        found = Found(self.field)
        both = np.stack((self.base, self._window))
        self._window = np.zeros_like(self._window)
        bar = max(thresholds.psi, self._usual_by * self.usual)
        if self.bounds:
            spread = Spread(self._middles(), both)
            base, now = tenths(spread)
            found.ks = kolmogorov_smirnov(spread)
            text = f"mean about {self._mean(both[1]):.4g}, was {self._mean(both[0]):.4g}"
        else:
            base, now = both
            text = "requests end in another way"
        note_distance(found, base, now, "distribution", bar, text)
        return found

    def _learn(self, came: Counts) -> None:
        self._pieces[-1] += came
        if self._pieces[-1].sum() < LEARN // PIECES:
            return
        if len(self._pieces) < PIECES:
            self._pieces.append(np.zeros_like(self._window))
            return
        base = np.sum(self._pieces, axis=0)
        middles = self._middles()
        for piece in self._pieces:
            both = np.stack((base, piece))
            rows = tenths(Spread(middles, both)) if self.bounds else both
            self.usual = max(self.usual, psi(rows[0], rows[1]))
        self.base, self._pieces = base, []

    def _middles(self) -> Floats:
        if not self.bounds:
            return np.arange(len(self._window), dtype=np.float64)
        edges = np.array(self.bounds)
        below = np.concatenate((np.minimum(edges[:1], 0.0), edges[:-1]))
        return np.append((below + edges) / 2, edges[-1])

    def _mean(self, counts: Counts) -> float:
        return float((counts * self._middles()).sum() / max(int(counts.sum()), 1))


class Pages:
    """What all servers count, field by field; one thread."""

    def __init__(self, thresholds: Thresholds = Thresholds()) -> None:  # noqa: B008 - frozen
        self._thresholds = thresholds
        self._fields: dict[tuple[str, str], PageField] = {}
        self._told: dict[tuple[str, str], FieldVerdict] = {}
        self._totals: dict[Series, float] = {}
        #: Fields that there was no room for, each time that they came.
        self.turned_away = 0

    def take(
        self, endpoint: str, samples: Iterable[Sample | HistogramSample], now_ns: int
    ) -> Iterator[Sample]:
        """Take what one page told; yield what is known of its models, until the next window."""
        over: dict[str, dict[str, PageField]] = {}
        seen: set[str] = set()
        for (model, field), bounds, counts in _fields(samples, self._gained):
            place = model or endpoint, f"{field} {endpoint}"
            seen.add(place[0])
            known = self._field(place, bounds, len(counts))
            if known is not None and known.take(counts, now_ns):
                over.setdefault(place[0], {})[known.field] = known
        for model, some in over.items():
            found = [one.close(self._thresholds) for one in some.values()]
            for verdict in ranked(found, self._thresholds):
                self._told[model, verdict.field] = verdict
        for model in seen:
            told = [
                one
                for (of, field), one in self._told.items()
                if of == model and field.endswith(f" {endpoint}")
            ]
            yield from of_pages(model, told)

    def _field(
        self, place: tuple[str, str], bounds: tuple[float, ...], bins: int
    ) -> PageField | None:
        found = self._fields.get(place)
        if found is not None and found.bounds == bounds:
            return found
        if found is None and len(self._fields) >= FIELDS_MAX:
            self.turned_away += 1
            return None
        self._told.pop(place, None)
        found = self._fields[place] = PageField(
            place[1], bounds, bins, usual_by=self._thresholds.usual
        )
        return found

    def _gained(self, sample: Sample) -> int:
        """Return what a counter gained since it was seen last; of the first time, nothing."""
        if len(self._totals) >= FIELDS_MAX * 8:
            self._totals.clear()
        before = self._totals.get(sample.series)
        self._totals[sample.series] = sample.value
        if before is None:
            return 0
        gained = sample.value - before if sample.value >= before else sample.value
        return int(min(gained, 2**53)) if gained == gained else 0


_OUTCOMES = ("ok", "client_error", "server_error", "rejected", "timeout", "aborted", "failed")
_Field = tuple[tuple[str, str], tuple[float, ...], Sequence[int]]


def _fields(
    samples: Iterable[Sample | HistogramSample], gained: Callable[[Sample], int]
) -> Iterator[_Field]:
    """Yield model and field, bounds, and what came: of distributions, and of ends of requests."""
    ends: dict[tuple[str, str], list[int]] = {}
    for one in samples:
        instrument = one.series.instrument
        if isinstance(one, HistogramSample):
            if instrument.name in SIZES and any(one.counts):
                yield _named(one.series), one.bounds, one.counts
        elif instrument.name == ENDS:
            attributes = dict(zip(instrument.attributes, one.series.values, strict=True))
            outcome = attributes.get(OUTCOME, "")
            if outcome in _OUTCOMES:
                counts = ends.setdefault(_named(one.series), [0] * len(_OUTCOMES))
                counts[_OUTCOMES.index(outcome)] += gained(one)
    for place, counts in ends.items():
        yield place, (), counts


def _named(series: Series) -> tuple[str, str]:
    """Return the model of a series, and a name for what it counts."""
    attributes = dict(zip(series.instrument.attributes, series.values, strict=True))
    kind = attributes.get("gen_ai.token.type", "")
    words = (series.instrument.name.removeprefix(_PREFIX), kind, attributes.get(LAYER, ""))
    return attributes.get(MODEL, ""), ".".join(word for word in words if word)
