"""Detector ``level``: rules of the operator's own, "above this for so long".

A rule names a metric, optionally some attributes, a threshold and how long it must hold without a
break. Its score is 1 where the rule is violated, 2 where its critical threshold is, and 0.95 while
a reading is just below (within 2 % of the threshold), so that a value that hovers does not ring
twice. No opinion (NaN) on series that no rule names. Cost: only the rows of matching series.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vedette.api import Detector, Duration, Evidence, Series, Window, hookimpl

#: Below the threshold by this part of it, a violated rule is over.
RELEASE = 0.02
#: The longest time a rule can ask for; the ring must hold it.
LONGEST_S = 600.0


#: Metrics of which is remembered which rules speak of them, before all are forgotten.
METRICS_MAX = 4096


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule: a series of `metric` whose attributes are `where` is above `above` for `for`."""

    metric: Annotated[str, Meta(description="Name of the metric; `*` stands for any text.")]
    above: Annotated[float, Meta(description="The threshold; a counter's is a rate per second.")]
    text: Annotated[str, Meta(description="What it means, for a person.")] = ""
    critical: Annotated[
        float | None, Meta(description="The threshold from which it is critical.")
    ] = None
    hold: Annotated[
        Duration, Meta(description="How long every reading must be above it, up to 10 minutes.")
    ] = Duration(30)
    where: Annotated[dict[str, str], Meta(description="Attributes that the series must have.")] = {}

    def __post_init__(self) -> None:
        if not 0 <= self.hold <= LONGEST_S:
            raise ValueError(f"hold = {self.hold:g}s is not between 0s and {LONGEST_S:g}s")
        if self.critical is not None and self.critical < self.above:
            raise ValueError(f"critical = {self.critical:g} is below above = {self.above:g}")

    def speaks_of(self, metric: str) -> bool:
        """Say whether this rule may be about series of a metric."""
        head, star, tail = self.metric.partition("*")
        if not star:
            return metric == self.metric
        long_enough = len(metric) >= len(head) + len(tail)
        return long_enough and metric.startswith(head) and metric.endswith(tail)

    def matches(self, series: Series) -> bool:
        """Say whether this rule, which speaks of its metric, is about the series."""
        attributes = dict(zip(series.instrument.attributes, series.values, strict=True))
        return all(attributes.get(key) == value for key, value in self.where.items())


DEFAULT_RULES = (
    Rule(
        metric="system.filesystem.utilization",
        above=0.90,
        critical=0.97,
        hold=Duration(60),
        text="the filesystem is nearly full",
    ),
    Rule(
        metric="system.memory.utilization",
        where={"system.memory.state": "used"},
        above=0.95,
        critical=0.98,
        hold=Duration(30),
        text="memory is exhausted",
    ),
    Rule(
        metric="system.paging.operations",
        where={"system.paging.direction": "in"},
        above=1000.0,
        critical=20000.0,
        hold=Duration(30),
        text="the host reads memory back from swap: it is short of memory",
    ),
    Rule(
        metric="vedette.target.silence",
        above=15.0,
        hold=Duration(0),
        text="its page of metrics cannot be had",
    ),
    Rule(
        metric="vedette.model.probe.silence",
        above=10.0,
        critical=120.0,
        hold=Duration(0),
        text="the model does not answer a small request",
    ),
    *(
        Rule(
            metric="vedette.gpu.throttled",
            where={"vedette.gpu.throttle.reason": reason},
            above=1.0,
            hold=Duration(15),
            text=f"the GPU is held down by {why}",
        )
        for reason, why in (
            ("hardware_thermal", "heat"),
            ("thermal", "heat"),
            ("power_brake", "a power brake"),
        )
    ),
    Rule(
        metric="vedette.model.drift.strength",
        above=1.0,
        hold=Duration(0),
        text="it is not what it is in the model's baseline",
    ),
    Rule(
        metric="vedette.model.quality.decline",
        above=1.0,
        critical=2.0,
        hold=Duration(0),
        text="the model is worse than in its baseline",
    ),
    Rule(
        metric="vedette.process.stopped",
        above=1.0,
        hold=Duration(5),
        text="a process was stopped by a signal and does nothing",
    ),
)


class LevelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Thresholds that are wrong at any time, whatever this host is used to."""

    rules: Annotated[
        tuple[Rule, ...],
        Meta(description="The rules; a list given here replaces the shipped one."),
    ] = DEFAULT_RULES


class Level(Detector):
    """Thresholds with a time to hold."""

    name = "level"
    Config = LevelConfig
    scale = "level"
    lookback = int(LONGEST_S) + 1
    confirm = 1
    release = 1
    release_s = 10.0

    def __init__(self, config: LevelConfig) -> None:
        super().__init__(config)
        self.rules = config.rules
        self._generation = -1
        self._by_metric: dict[str, list[int]] = {}
        self._rows: list[NDArray[np.intp]] = []
        # The rows of all rules and from where each is looked at closely: mostly none is.
        self._watched = np.empty(0, np.intp)
        self._near = np.empty(0, np.float32)

    def score(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        self._prepare(window)
        scores = np.full(len(window.series), np.nan, dtype=np.float32)
        now = window.values[self._watched, -1]
        with np.errstate(invalid="ignore"):
            if not (now >= self._near).any():  # as nearly always: no need to look back
                scores[self._watched] = np.where(
                    np.isfinite(now), np.float32(0), np.float32(np.nan)
                )
                return scores
        for rule, rows in zip(self.rules, self._rows, strict=True):
            if len(rows):
                scores[rows] = np.fmax(scores[rows], _judge(rule, window, rows))
        return scores

    def explain(
        self, window: Window, state: Mapping[str, NDArray[np.float32]], row: int
    ) -> Evidence:
        series = window.series[row]
        for rule, rows in zip(self.rules, self._rows, strict=True):
            if row in rows and series is not None:
                return Evidence(float("nan"), rule.above, rule.text)
        return Evidence(float("nan"), float("nan"))

    def _prepare(self, window: Window) -> None:
        if window.generation == self._generation:
            return
        rows: list[list[int]] = [[] for _ in self.rules]
        for row, series in enumerate(window.series):
            if series is not None:
                for rule in self._spoken_of(series.instrument.name):
                    if self.rules[rule].matches(series):
                        rows[rule].append(row)
        self._rows = [np.array(some, dtype=np.intp) for some in rows]
        self._watched = np.concatenate([np.empty(0, np.intp), *self._rows])
        near = [_near(rule) for rule in self.rules]
        self._near = np.repeat(np.array(near, np.float32), [len(rows) for rows in self._rows])
        self._generation = window.generation

    def _spoken_of(self, metric: str) -> list[int]:
        """Return the places of the rules that may be about a metric."""
        known = self._by_metric.get(metric)
        if known is None:
            if len(self._by_metric) >= METRICS_MAX:
                self._by_metric.clear()
            known = [place for place, rule in enumerate(self.rules) if rule.speaks_of(metric)]
            self._by_metric[metric] = known
        return known


def _near(rule: Rule) -> float:
    """Return the reading from which a rule may be violated, or nearly so."""
    return rule.above - RELEASE * abs(rule.above)


def _judge(rule: Rule, window: Window, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Score the rows of one rule: NaN where the newest tick has no reading."""
    now = window.values[rows, -1]
    read = np.isfinite(now)
    near = _near(rule)
    with np.errstate(invalid="ignore"):
        if not (now >= near).any():
            return np.where(read, np.float32(0.0), np.float32(np.nan))
    since = window.time[-1] - int(rule.hold * 1e9)
    start = int(np.searchsorted(window.time, since))
    held = window.values[rows, start:]
    with np.errstate(invalid="ignore"):
        lowest = np.fmin.reduce(held, axis=1)
        seldom = np.isfinite(held).sum(axis=1) == 1
        if rule.hold > 0 and seldom.any():
            lowest[seldom] = np.fmin(lowest[seldom], _newest(window, rows[seldom], start))
        # The time counts only once readings cover it: the first one must be that old.
        covered = _first_reading(window, rows) <= since if rule.hold > 0 else read
        scores = np.zeros(len(rows), dtype=np.float32)
        scores[now >= near] = 0.95
        scores[covered & (lowest >= rule.above)] = 1.0
        if rule.critical is not None:
            scores[covered & (lowest >= rule.critical)] = 2.0
    scores[~read] = np.nan
    return scores


def _first_reading(window: Window, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the time of each row's first reading in the window."""
    read = np.isfinite(window.values[rows])
    first: NDArray[np.int64] = window.time[read.argmax(axis=1)]
    return np.where(read.any(axis=1), first, np.iinfo(np.int64).max)


def _newest(window: Window, rows: NDArray[np.intp], end: int) -> NDArray[np.float32]:
    """Return each row's newest reading before column ``end``; NaN where there is none.

    It still holds then: of a series read less often than the time to hold, one reading is no proof.
    """
    values = window.values[rows, :end]
    newest = np.full(len(rows), np.nan, dtype=np.float32)
    read = np.isfinite(values)
    some = read.any(axis=1)
    if some.any():
        at = values.shape[1] - 1 - read[:, ::-1].argmax(axis=1)
        newest[some] = values[np.flatnonzero(some), at[some]]
    return newest


@hookimpl
def register_detectors() -> list[type[Detector]]:
    return [Level]
