"""Detector ``forecast``: when a resource that fills up steadily will be full.

Idea: a straight line through the last minutes of a share that has a limit, and where it meets the
limit. The line is an exponentially weighted least squares fit over three spans, 10 min, 20 min and
a sixth of the horizon (an hour), and readings are weighted by Huber's function, so that single ones
far from it count little. The slope's error is the larger of two: that of the line, where residuals
may hang together (lag-1 correlation, as in Newey and West, Econometrica 1987, with one lag), and
that of the mean step of a random walk with the steps of the last two hours, or else every wandering
level would be on its way somewhere. From slope and error come the time to the limit and an interval
meant to hold it in 80 of 100 cases (it did in 73 to 90 of 100 made-up fills).

It rings when the *late* end of the interval is within the horizon and

- the rise is sure (slope over its error) and the resource more than half full;
- it rose for most of the span, and not in one step: of six parts of the span at least four are
  above the one before, and no two neighbouring steps make up most of the rise;
- it does not look further ahead than six times as far back: a burst of ten minutes is not carried
  on for hours;
- it is not what this series does anyway. Learned are, with a memory of about a week, the highest
  level that it falls back from (page cache, log rotation, temporary files), and how far its rises
  usually go before they come to rest (a nightly job). What stays within either is quiet, from the
  third time on; a usual rise that would end beyond the limit is not.

Score: 1 at the horizon, 2 at the critical time, in between by the logarithm of the time; 0 when one
of the conditions fails; NaN without a reading and until ten minutes are known. Judged are gauges
with a declared limit and an alarm for high values, but for those that say how *busy* something is
(``ignore``): a busy CPU is not on its way to being full.

Measured on made-up fills from 60 % of the limit, with noise of 0.05 % a minute (30 seeds, medians):
a fill that takes 40 min rings after 10 min, and the time told then is off by 0.4 % of what is left;
one that takes 4 h rings after 38 min, off by 18 %: the time before it began is still in the line.
Halfway both are off by 0.2 %. A level that wanders about 80 % by 0.2 % a minute rings once in 80
series-days, one that wanders by 0.5 % once in 11. A sawtooth rings in its first two teeth, and a
fill from below its usual crest only when it is past it.
Cost: 32 bytes of state per series; for 2,000 series, 50 of them with a limit, 0.06 ms a minute when
none is rising, and 1.6 ms when all 50 rise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vedette.api import Detector, Duration, Evidence, Series, StateArray, Window, hookimpl
from vedette_plugins._trend import READINGS_LEAST, Floats, Trend, fit, steady, wandering

State = Mapping[str, NDArray[np.float32]]

#: Spans of the line in minutes; a third one is the horizon by ``REACH``, up to ``LONGEST``.
SHORT, MIDDLE, LONGEST = 10.0, 20.0, 120.0
#: A trend is carried on for no more than this many times its span.
REACH = 6.0
#: Slope over its standard error from which a rise is sure; for ten readings p is 0.001.
SURE = 4.0
#: 80 of 100 normal deviates are within this many standard deviations.
INTERVAL = 1.2816
#: Nothing is said of what is less full than this.
FULL_LEAST = 0.5
#: What is learned of a series' own ways, as parts of the limit: what counts as a new top, as a
#: rise, as a fall (or half of the rise, when that is more) and as still within the usual.
NEWS, RISE_LEAST, FALL_LEAST, NEAR = 0.002, 0.02, 0.03, 0.02
#: A rise without a new top for so many minutes has come to rest.
REST_MIN = 60.0
#: A usual rise may be exceeded by this part of it.
SWELL_MORE = 0.1
#: Of the rises and falls counted this many are needed; each is forgotten over a week.
OFTEN, MEMORY_MIN = 1.5, 7 * 1440.0
#: A smaller rise lowers the usual one by this part of the difference.
LOWERED = 0.3
#: Scores end here; with the shipped times that is 17 s before it is full.
SCORE_MOST = 5.0


class ForecastConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far ahead to look."""

    horizon: Annotated[
        Duration,
        Meta(description="Ring when it will be full within this time, 1 to 24 hours."),
    ] = Duration(6 * 3600)
    critical: Annotated[Duration, Meta(description="From here on the incident is critical.")] = (
        Duration(3600)
    )
    ignore: Annotated[
        tuple[str, ...],
        Meta(description="Metrics that say how busy something is; `*` stands for any text."),
    ] = (
        "*cpu*",
        "vedette.disk.utilization",
        "*temperature*",
        "vedette.tcp.accept_queue.utilization",
        "vedette.smart.wear",
    )

    def __post_init__(self) -> None:
        if not 3600 <= self.horizon <= 86_400:
            raise ValueError(f"horizon = {self.horizon:g}s is not between 1h and 24h")
        if not 0 < self.critical < self.horizon:
            raise ValueError(f"critical = {self.critical:g}s is not between 0s and the horizon")


class Forecast(Detector):
    """When what has a limit will be full."""

    name = "forecast"
    Config = ForecastConfig
    scale = "level"
    confirm = 3
    release = 10
    cadence_s = 60
    coarsest_s = 300.0
    lookback = int(LONGEST) + 2
    state: ClassVar[Mapping[str, StateArray]] = {
        "start": StateArray(float("nan")),
        "top": StateArray(float("nan")),
        "rest": StateArray(0.0),
        "climbed": StateArray(0.0),
        "swell": StateArray(0.0),
        "rises": StateArray(0.0),
        "crest": StateArray(0.0),
        "falls": StateArray(0.0),
    }

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__(config)
        self.ignore = config.ignore
        self.horizon, self.critical = config.horizon / 60, config.critical / 60
        long = min(self.horizon / REACH, LONGEST)
        #: Each span with how far ahead it may look, in minutes, the longest first.
        self.spans = [(long, self.horizon), (MIDDLE, MIDDLE * REACH), (SHORT, SHORT * REACH)]
        self._generation = -1
        self._rows: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._limits = np.empty(0)

    def score(self, window: Window, state: State) -> NDArray[np.float32]:
        self._prepare(window)
        scores = np.full(len(window.series), np.nan, dtype=np.float32)
        if not len(self._rows) or not window.values.shape[1]:
            return scores
        time = _minutes(window)
        known = self._rows[np.isfinite(window.values[self._rows, -1])]
        begin = np.searchsorted(time, -SHORT)
        if time[0] > -0.8 * SHORT or not len(known):
            return scores
        limits = self._limits[known]
        recent = window.values[known, begin:] / limits[:, None]
        with np.errstate(invalid="ignore"):
            covered = np.isfinite(recent[:, : max(1, recent.shape[1] // 2)]).any(axis=1)
            rising = (recent[:, -1] > FULL_LEAST) & (recent[:, -1] > _first(recent))
        scores[known[covered]] = 0.0
        rows = known[covered & rising]
        for span, reach in self.spans:
            if len(rows):
                scores[rows] = np.fmax(
                    scores[rows], self._of_span(window, state, rows, span, reach)
                )
        return scores

    def learn(self, window: Window, state: State) -> None:
        """Follow each rise to where it ends."""
        self._prepare(window)
        if not len(self._rows) or not window.values.shape[1]:
            return
        time = _minutes(window)
        passed = min(-time[-2], REST_MIN) if len(time) > 1 else 0.0
        rows = self._rows[np.isfinite(window.values[self._rows, -1])]
        if len(rows):
            _follow(state, rows, window.values[rows, -1] / self._limits[rows], passed)

    def learning(self, window: Window, state: State) -> NDArray[np.bool_]:
        self._prepare(window)
        young = np.zeros(len(window.series), dtype=bool)
        young[self._rows] = np.isnan(state["start"][self._rows])
        return young

    def explain(self, window: Window, state: State, row: int) -> Evidence:
        self._prepare(window)
        none = Evidence(float("nan"), float("nan"))
        if row not in self._rows or not window.values.shape[1]:
            return none
        rows = np.array([row])
        found = [
            (float(self._of_span(window, state, rows, span, reach)[0]), span)
            for span, reach in self.spans
        ]
        score, span = max(found, key=lambda one: one[0])
        if not score > 0:
            return none
        return Evidence(none.low, none.high, _words(self._trend(window, rows, span), span))

    def _prepare(self, window: Window) -> None:
        """Find the rows that can be full, once per generation."""
        if window.generation == self._generation and len(self._limits) == len(window.series):
            return
        limits = [_limit(one, self.ignore) if one else None for one in window.series]
        self._limits = np.array([limit or np.nan for limit in limits])
        self._rows = np.flatnonzero(np.isfinite(self._limits))
        self._generation = window.generation

    def _trend(self, window: Window, rows: NDArray[np.intp], span: float) -> Trend:
        time = _minutes(window)
        first, begin = np.searchsorted(time, (-LONGEST, -span)).tolist()
        shares = window.values[rows, first:] / self._limits[rows, None]
        begin -= first
        trend = fit(time[first + begin :], shares[:, begin:], span)
        minute = -time[first] / max(1, len(time) - first - 1)
        wander = wandering(shares, begin) / max(minute, 1e-3)
        return trend._replace(error=np.maximum(trend.error, wander))

    def _of_span(
        self, window: Window, state: State, rows: NDArray[np.intp], span: float, reach: float
    ) -> Floats:
        """Score rows by the line over one span; 0 where a condition fails."""
        time = _minutes(window)
        begin = int(np.searchsorted(time, -span))
        if len(time) - begin < READINGS_LEAST or time[begin] > -0.8 * span:
            return np.zeros(len(rows))
        scores = np.zeros(len(rows))
        shares = window.values[rows, begin:] / self._limits[rows, None]
        # What costs little comes first: most rows end here.
        some = np.flatnonzero(steady(time[begin:], shares, span))
        if len(some):
            scores[some] = self._of_trend(self._trend(window, rows[some], span), reach)
            scores[some] *= ~_usual(state, rows[some], shares[some, -1])
        return scores

    def _of_trend(self, trend: Trend, reach: float) -> Floats:
        late = trend.minutes(-INTERVAL)
        with np.errstate(invalid="ignore"):
            rings = (trend.slope >= SURE * trend.error) & (late <= reach)
        ratio = np.log(self.horizon) - np.log(np.clip(late, 1e-3, 1e9))
        score = 1.0 + ratio / math.log(self.horizon / self.critical)
        return np.where(rings, np.clip(score, 0.0, SCORE_MOST), 0.0)


def _usual(state: State, rows: NDArray[np.intp], level: Floats) -> NDArray[np.bool_]:
    """Say of which rows the level is one from which it falls back or comes to rest as ever."""
    falls_back = (state["falls"][rows] >= OFTEN) & (level <= state["crest"][rows] + NEAR)
    end = state["start"][rows] + (1 + SWELL_MORE) * state["swell"][rows]
    rests = (state["rises"][rows] >= OFTEN) & (level <= end) & (end < 1.0)
    usual: NDArray[np.bool_] = falls_back | rests
    return usual


def _follow(state: State, rows: NDArray[np.intp], share: Floats, passed: float) -> None:
    """Fold the newest share of each row into what is known of its rises."""
    start, top, rest = state["start"][rows], state["top"][rows], state["rest"][rows]
    kept = math.exp(-passed / MEMORY_MIN)
    rises, falls = state["rises"][rows] * kept, state["falls"][rows] * kept
    first = np.isnan(start)
    start, top = np.where(first, share, start), np.where(first, share, top)
    news = share > top + NEWS
    rest = np.where(news, 0.0, rest + passed)
    top = np.where(news, share, top)
    rise, climbed = top - start, state["climbed"][rows]
    fell = share < top - np.maximum(FALL_LEAST, 0.5 * np.maximum(rise, climbed))
    ended = (fell | (rest >= REST_MIN)) & (rise >= RISE_LEAST)
    back = fell & (np.maximum(rise, climbed) >= RISE_LEAST)
    state["swell"][rows] = _highest(state["swell"][rows], rise, ended)
    state["crest"][rows] = _highest(state["crest"][rows], top, back)
    state["rises"][rows] = rises + ended
    state["falls"][rows] = falls + back
    # What came to rest at its top may still fall back from it; what only sinks never rose.
    climbed = np.where(fell, 0.0, np.where(ended, np.maximum(rise, climbed), climbed))
    anew = fell | ((share < start) & (climbed == 0))
    state["climbed"][rows] = climbed
    state["start"][rows] = np.where(anew | (rest >= REST_MIN), share, start)
    state["top"][rows] = np.where(anew, share, top)
    state["rest"][rows] = np.where(anew | (rest >= REST_MIN), 0.0, rest)


def _highest(held: NDArray[np.floating], value: Floats, now: NDArray[np.bool_]) -> Floats:
    """Return the highest value so far, which smaller ones lower by and by."""
    return np.where(now, np.maximum(value, held + LOWERED * (value - held)), held)


def _limit(series: Series, ignore: tuple[str, ...]) -> float | None:
    """Return the limit towards which a series can fill; None when it cannot."""
    one = series.instrument
    fills = one.limit and one.kind != "counter" and one.alarm in ("high", "both")
    return one.limit if fills and not _is_ignored(one.name, ignore) else None


@lru_cache(maxsize=4096)
def _is_ignored(metric: str, ignore: tuple[str, ...]) -> bool:
    return any(fnmatchcase(metric, pattern) for pattern in ignore)


def _minutes(window: Window) -> Floats:
    """Return the time of each column in minutes from the newest, 0 and below."""
    minutes: Floats = (window.time - window.time[-1]) / 60e9
    return minutes


def _first(values: NDArray[np.floating]) -> Floats:
    """Return the first reading of each row."""
    at = np.isfinite(values).argmax(axis=1)
    return np.asarray(values[np.arange(len(values)), at], dtype=np.float64)


def _words(trend: Trend, span: float) -> str:
    early, middle, late = (
        _length(float(trend.minutes(off)[0])) for off in (INTERVAL, 0.0, -INTERVAL)
    )
    between = f" ({early} to {late})" if early != late else ""
    back = "hour" if span == 60 else _length(span)
    return f"full in {middle}{between} at the rate of the last {back}"


def _length(minutes: float) -> str:
    """Return a length of time for a person, about two digits of it: ``5 h 10 min``."""
    if minutes < 1:
        return "less than a minute"
    step = 10 if minutes >= 120 else 5 if minutes >= 30 else 1
    hours, rest = divmod(round(minutes / step) * step, 60)
    return " ".join(_parts(hours, rest))


def _parts(hours: int, minutes: int) -> Iterator[str]:
    if hours:
        yield f"{hours} h"
    if minutes:
        yield f"{minutes} min"


@hookimpl
def register_detectors() -> list[type[Detector]]:
    return [Forecast]
