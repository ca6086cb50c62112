"""Detector ``ensemble``: eighteen views of each series and its last windows, read in three ways.

``_channels.py`` looks at a series against its own means, earlier readings, spreads and usual values
of the hour and of the week; ``_evidence.py`` says of each residual how improbable it is and whether
it broke a record; ``_windows.py`` how unlike any before the last eight readings are. Three heads
read that, because no single sum serves both (measured on labelled data, ``docs/quality.md``):

``onset``: something begins, as an operator would mark it. The newest step in its own root mean
square, the distance from the median in median deviations, both capped, and the sum of the
capped evidence of all channels: what is a little strange in many ways counts as much as what is
very strange in one. What the series usually scores counts against it. The score is held and wears
off by a tenth per reading, so it is a severity as well; a finding is over soon after it is below
the threshold, or a second fault would be taken for the end of the first. On top comes how rare the
last window is, as long as it is: no channel sees a level between two usual ones. Against it counts
that the series is young, and the more readings an hour the host has to judge. What the series shows
more often than three times a week is none.

``novelty``: not seen before. The largest multiple of its record that any channel reached, where the
odds are against it; confirmed by a second one within ``WITHIN`` readings (the lesser of the two
counts), or alone when twice as large. A young record has to be beaten by more, and in the first
week of a lone series, or as many weeks as a host has series, it does not ring unless it is an onset
by the channels as well, one for so many. On a host of many it never does: there some view of some
series is always new. For ``SILENCE`` readings after it rang nothing passes, unless what rang had
not beaten its record as far as this.

``together``: the host as a whole. The mean onset, by the channels alone, of the strangest fifth of
its series: many that are a little strange at once. The strangest of them are told by it, one below
the mean by its own onset, or a bystander would count for as much as what it is about. A single
series has to be the stranger, the more of them there are: a person is called per host. A host whose
strangest series are often strange, by heavy tails or bursts, is restless: all of it has to be as
much stranger. It is taken for one until it was seen to be calm.

No opinion before ``WARM`` readings, of a constant series, of what nobody minds (``alarm``), and of
a deviation below ``matters`` of a declared limit. On hosts read faster than once a minute it sees
means of minutes: its constants are in readings, and a day has 1,440 of them whatever the interval.

Cost: 2.2 kB of state per series; 100 to 200 array operations per minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vedette.api import Detector, Evidence, Head, StateArray, Window, hookimpl
from vedette_plugins import _channels, _evidence, _windows
from vedette_plugins._channels import LOGS, Array, Residuals
from vedette_plugins._evidence import Strange
from vedette_plugins._minded import band, least, sides

#: Caps of the step, of the distance, and of the evidence of one channel; weight of the evidence.
STEP_MOST, DISTANCE_MOST, ODDS_MOST, ODDS_WEIGHT = 20.0, 10.0, 5.0, 0.3
#: Gain of the mean square of the steps; a step is never divided by less than this part of the mean.
STEP_GAIN = 1e-3 * 2
LEAST = np.float32(1e-6)
#: The median moves by this part of the median deviation per reading, that by this part of itself,
#: and by more as long as fewer readings were seen than that makes.
MEDIAN_GAIN = 5e-3
#: The median absolute deviation of a normal distribution, to its standard deviation.
MAD = np.float32(1.4826)
#: The least step, in mean deviations: a median deviation of 0 would never move again.
MEDIAN_START = np.float32(0.1)
#: A median deviation counts for no less than this part of the mean deviation: of a series that
#: rests most of the time it is 0.
MEDIAN_LEAST = np.float32(0.5)
#: What a series usually scores counts against it, as far as it is more than a calm one comes to
#: (step and distance about 0.8 each, evidence 0.3) twice over: the mean of 1,000, each at most so
#: much, begun as if this many calm readings had been seen.
USUAL_LEAST, USUAL_GAIN, USUAL_MOST, USUAL_BEGIN = 4.0, 1e-3, 22.0, 20.0
#: A person is called per week and host, not per reading and series: where a host has ten times as
#: many readings an hour as one hourly series, an onset has to score this much more, and a record to
#: be of odds larger by one. That is the slope of its tail: what one reading in 10,000 reaches, less
#: what one in 1,000 does, is 15.8 of made-up quiet series and 16.1 of the Microsoft set away from
#: events.
OFTENER, HOUR_S = np.float32(16), 3_600
#: The same for the host as a whole, from one reading in five minutes on.
OFTENER_TOGETHER = np.float32(10)
#: The score of an onset from which one hourly series rings: for nothing once in seven weeks, so
#: that the other heads have their part of a budget of one a week.
ONSET = 26.0
#: And so often a week an onset may be by the series' own past: of what rings in labelled series
#: two of three are faults, and one false alarm is allowed.
USUALLY = 3.0
#: Weight of the rarity of the last window, and the rarity from which it is told: one reading in
#: ten thousand.
RARITY_WEIGHT, RARE = np.float32(2), 6.0
#: A held score that wears off is calm soon after it is below the threshold.
HELD_CALM = 0.9
#: How much more while less than a whole day was seen, for each halving: a morning is no onset.
YOUNGER, DAY_S = np.float32(10), 86_400
#: A host is restless when the 0.75 quantile of its strangest fifth's mean is more than what it is
#: of independent normal noise; it begins as one that has it so many times, as if seen so often. The
#: quantile moves in steps of a mean's density there over what was seen, at most so many readings.
RESTLESS, RESTLESS_QUANTILE, RESTLESS_POWER = 8.8, 0.75, 2
RESTLESS_BEGIN, RESTLESS_PRIOR, RESTLESS_STEP, RESTLESS_SPAN = 1.5, 50.0, 12.0, 2_000.0
#: The host as a whole: so many of its series, the strangest, at least and at most; from so many on.
FIFTH, FEWEST, PART_OF_MANY, SERIES_LEAST = 0.2, 3, 0.05, 8
TOGETHER = 20.0
#: What is left of a score after a reading.
HOLD = 0.9
#: Odds (-log10 p) from which a record counts, in how many readings it is confirmed, how much larger
#: it must be alone, and the most it counts for.
GATE, WITHIN, ALONE, MOST = 3.5, 9.0, 2.0, 2.0
#: How far a record must be beaten; what beats it by more is no reason to ring again.
BEATEN = 1.14
#: A record of a lone series that is no onset does not ring in its first week, when records are
#: broken often; where a host has a few series, in as many weeks. It counts for just less than one
#: that does.
PROVEN_S, NEARLY = 7 * 86_400, BEATEN - 1e-4
#: A record of so many times five minutes, most of a day, has to be beaten twice as far, one of half
#: as many 65 times, one of twice as many no further than others: 1 + (YOUNG / age) ** YOUNG_POWER.
YOUNG, YOUNG_POWER = 250.0, 6
#: Readings after it rang in which nothing does that is not larger, up to ``BEATEN``.
SILENCE = 30.0
#: Changes of value after which a series is no longer taken for constant.
MOVES = 3.0

_NONE = np.False_


class EnsembleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is too small to matter."""

    matters: Annotated[
        float,
        Meta(
            description="Part of a declared limit below which a deviation is never strange.",
            ge=0,
            le=1,
        ),
    ] = 0.1


class _Seen(msgspec.Struct, frozen=True, eq=False):
    """What ``score`` made of the newest column, for ``learn``."""

    window: Window
    left: Residuals
    found: Strange
    #: As it is; less what is usual, and held; as it is told.
    raw: Array
    held: Array
    onset: Array
    novelty: Array
    together: Array
    candidate: Array


class Ensemble(Detector):
    """Many weak views together: onsets, and what was never seen."""

    name = "ensemble"
    Config = EnsembleConfig
    heads = (
        Head("onset", threshold=ONSET, confirm=1, release=3, calm=HELD_CALM, weekly=USUALLY),
        Head("novelty", threshold=BEATEN, confirm=1, release=3),
        Head("together", threshold=TOGETHER, confirm=1, release=3, calm=HELD_CALM),
    )
    cadence_s = 60
    lookback = _channels.LOOKBACK
    state: ClassVar[Mapping[str, StateArray]] = {
        **_channels.STATE,
        **_evidence.STATE,
        **_windows.STATE,
        "moves": StateArray(0.0),
        "step_square": StateArray(0.0),
        # The median, and that of the deviation from it.
        "median": StateArray(0.0, width=2),
        "onset": StateArray(0.0, transient=True),
        "usual": StateArray(2.0),
        # Of the host, the same in all rows: how strange its strangest fifth is, readings of that.
        "restless": StateArray(0.0, width=2),
        # The largest record ratio not confirmed yet, and how many readings ago it was.
        "pending": StateArray(0.0, width=2, transient=True),
        # What rang last, and how many readings ago.
        "rung": StateArray(0.0, width=2),
    }

    def __init__(self, config: EnsembleConfig) -> None:
        super().__init__(config)
        self._seen: _Seen | None = None
        self._generation = -1
        self._sides = np.empty((2, 0), dtype=np.float32)
        self._minded: NDArray[np.bool_] = np.empty(0, dtype=bool)
        self._least = np.empty(0, dtype=np.float32)

    def score(self, window: Window, state: Mapping[str, Array]) -> Array:
        seen = self._seen = self._look(window, state)
        return np.stack((seen.onset, seen.novelty, seen.together))

    def _look(self, window: Window, state: Mapping[str, Array]) -> _Seen:
        self._prepare(window)
        left = _channels.residuals(window, state)
        found = _evidence.strange(left, state)
        silent = self._silent(left, state)
        with np.errstate(invalid="ignore", over="ignore"):
            raw = np.where(silent, np.float32(np.nan), self._onset(left, found, state))
            usual = np.maximum(state["usual"] - np.float32(USUAL_LEAST), 0)
            held = np.fmax(raw - usual, np.float32(HOLD) * state["onset"])
            judged = max(1, len(silent) - int(np.count_nonzero(silent)))
            candidate = self._records(found, state, left.part, judged)
        youth = _youth(left, state)
        by_channels = held / _restlessness(state, judged) - youth
        onset = by_channels + RARITY_WEIGHT * _windows.rarity(window, state, self._sides)
        begins = by_channels >= ONSET + OFTENER * np.float32(np.log10(judged))
        if judged >= SERIES_LEAST:
            novelty = np.where(begins, _novelty(candidate, state), np.float32(0))
        else:
            young = state["known"][:, 0] < PROVEN_S * judged / left.step_s
            novelty = _novelty(candidate, state, young & ~begins)
        for told in (held, by_channels, onset, novelty):
            told[silent] = np.nan
        finer = np.float32(np.log10(1 / left.part))
        hourly = OFTENER * np.float32(np.log10(max(HOUR_S / left.step_s, 1)))
        together = _together(by_channels - OFTENER_TOGETHER * finer, judged)
        # What is allowed for readings up to one in five minutes is enough for youth as well: with
        # both nothing whatever could ring on the first morning.
        onset += np.minimum(youth, hourly - OFTENER * finer) - hourly
        onset -= OFTENER * np.float32(np.log10(judged))
        return _Seen(window, left, found, raw, held, onset, novelty, together, candidate)

    def learn(self, window: Window, state: Mapping[str, Array]) -> None:
        seen = self._seen
        if seen is None or seen.window is not window:
            seen = self._look(window, state)
        self._seen = None
        left = seen.left
        _remember(seen, state)
        _follow_steps(left, state)
        _follow_median(left, state)
        _evidence.learn(left, seen.found, state)
        _windows.learn(window, state)
        _channels.follow(left, state)

    def learning(self, window: Window, state: Mapping[str, Array]) -> NDArray[np.bool_]:
        self._prepare(window)
        waiting: NDArray[np.bool_] = state["known"][:, 0] < _evidence.WARM
        return waiting & self._minded

    def explain(self, window: Window, state: Mapping[str, Array], row: int) -> Evidence:
        middle = float(state["means"][row, 3])
        wide = 3 * float(state["scale"][row, 2])
        usual = float(state["day"][row, int(window.time[-1]) // 10**9 // 900 % 96])
        if np.isfinite(usual) and state["scale"][row, _channels.DAY] < state["scale"][row, 2]:
            middle, wide = usual, 3 * float(state["scale"][row, _channels.DAY])
        if not np.isfinite(middle) or state["count"][row] < 1:
            return Evidence(float("nan"), float("nan"))
        expected = band(window.series[row], middle, wide)
        if _windows.rarity(window, state, self._sides)[row] < RARE:
            return expected
        text = f"its course is unlike any before, most of all {_windows.rarest(window, state, row)}"
        return msgspec.structs.replace(expected, text=text)

    def _onset(self, left: Residuals, found: Strange, state: Mapping[str, Array]) -> Array:
        """Return step, distance and evidence together."""
        high, low = self._sides
        mean = state["means"].T[5]
        floor = LEAST * np.abs(mean) + _channels.TINY
        step = left.left[5] / np.maximum(np.sqrt(state["step_square"]), floor)
        step = np.maximum(step * high, -step * low)
        median, spread = state["median"].T
        spread = np.maximum(MAD * spread, MEDIAN_LEAST * state["scale"].T[0])
        distance = (left.now - median) / np.maximum(spread, floor)
        distance = np.maximum(distance * high, -distance * low)
        odds = found.dense(np.minimum(found.odds, np.float32(ODDS_MOST)))
        # A spread has no side: it counts where any does.
        evidence = np.maximum(odds[:, 0] * high, odds[:, 1] * low)
        evidence[list(LOGS)] = odds[list(LOGS)].max(axis=1)
        score: Array = np.float32(ODDS_WEIGHT) * evidence.sum(axis=0)
        score += np.fmin(step, np.float32(STEP_MOST))
        score += np.fmin(distance, np.float32(DISTANCE_MOST))
        return score

    def _records(
        self, found: Strange, state: Mapping[str, Array], part: float, judged: int
    ) -> Array:
        """Return the largest record ratio against odds, over the channels that have a side."""
        gate = np.float32(GATE + np.log10(judged / part))
        ratio = found.dense(np.where(found.odds >= gate, found.ratio, np.float32(0)))
        high, low = self._sides
        with_sides = np.maximum(ratio[:, 0] * high, ratio[:, 1] * low)
        with_sides[list(LOGS[:-1])] = 0
        with_sides[LOGS[-1]] = ratio[LOGS[-1]].max(axis=0)
        young = np.float32(YOUNG / part) / np.maximum(state["known"][:, 0], 1)
        largest: Array = with_sides.max(axis=0) / (1 + young**YOUNG_POWER)
        return largest

    def _silent(self, left: Residuals, state: Mapping[str, Array]) -> NDArray[np.bool_]:
        """Return the rows that nothing is said of."""
        mean = state["means"].T[3]
        with np.errstate(invalid="ignore"):
            small = np.abs(left.now - mean) < self._least
        warm = state["known"][:, 0] >= _evidence.WARM
        silent: NDArray[np.bool_] = ~left.read | ~warm | small | (state["moves"] < MOVES)
        return silent | ~self._minded

    def _prepare(self, window: Window) -> None:
        """Derive what the instruments say about each row, once per generation."""
        if window.generation == self._generation and len(self._least) == len(window.series):
            return
        self._sides = sides(window.series)
        self._minded = self._sides.max(axis=0) > 0
        self._least = least(window.series, self.config.matters)
        self._generation = window.generation


def _youth(left: Residuals, state: Mapping[str, Array]) -> Array:
    """Return what is taken off an onset of young series."""
    age = np.maximum(state["known"][:, 0], 1) * np.float32(left.step_s / DAY_S)
    young: Array = YOUNGER * np.maximum(-np.log2(age), 0)
    return young


def _restlessness(state: Mapping[str, Array], judged: int) -> np.float32:
    """Return what scores are divided by on a host whose strangest series are often strange."""
    if judged < SERIES_LEAST:
        return np.float32(1)
    return np.float32(max(_of_host(state)[0] / RESTLESS, 1) ** RESTLESS_POWER)


def _of_host(state: Mapping[str, Array]) -> tuple[float, float]:
    """Return the quantile of the strangest fifth's mean, and of how many readings it is."""
    usual, seen = state["restless"].T
    if not len(seen) or not seen.max() > 0:
        return RESTLESS * RESTLESS_BEGIN, 0.0
    oldest = int(seen.argmax())
    return float(usual[oldest]), float(seen[oldest])


def _rest(held: Array, state: Mapping[str, Array]) -> None:
    """Let the host's quantile take a step towards how strange its strangest fifth is now."""
    told = held[np.isfinite(held)]
    if len(told) < SERIES_LEAST:
        return
    many = max(1, round(FIFTH * len(told)))
    now = float(np.partition(told, -many)[-many:].mean())
    usual, seen = _of_host(state)
    step = RESTLESS_STEP / (min(seen, RESTLESS_SPAN) + RESTLESS_PRIOR)
    usual += step * (RESTLESS_QUANTILE if now > usual else RESTLESS_QUANTILE - 1)
    state["restless"][:] = usual, seen + 1


def _together(onset: Array, judged: int) -> Array:
    """Return the mean onset of the host's strangest series, for those; 0 for the others.

    Of one that is below the mean it is its own.
    """
    if judged < SERIES_LEAST:
        return np.full(len(onset), np.nan, dtype=np.float32)
    many = max(FEWEST, round(min(FIFTH * judged, max(PART_OF_MANY * judged, FIFTH * 100))))
    known = np.where(np.isnan(onset), np.float32(-np.inf), onset)
    strangest = np.partition(known, -many)[-many:]
    among = onset >= strangest[0]
    mean = np.maximum(strangest.mean(), 0)
    own = np.clip(onset, 0, mean)
    return np.where(among, own, np.where(np.isnan(onset), onset, np.float32(0)))


def _novelty(
    candidate: Array, state: Mapping[str, Array], alone: NDArray[np.bool_] | np.bool_ = _NONE
) -> Array:
    """Return what is confirmed of the candidates and passes after what rang before.

    What nothing else speaks for, ``alone``, does not ring.
    """
    pending, ago = state["pending"].T
    rung, since = state["rung"].T
    before = np.where(ago < WITHIN, pending, 0)
    score = np.maximum(np.minimum(candidate, before), candidate / np.float32(ALONE))
    score = np.minimum(score, np.where(alone, np.float32(NEARLY), np.float32(MOST)))
    passes = (since > SILENCE) | (rung == 0) | (np.minimum(score, np.float32(BEATEN)) > rung)
    return np.where(passes & (score >= 1), score, np.float32(0))


def _remember(seen: _Seen, state: Mapping[str, Array]) -> None:
    """Keep what the heads have to know at the next reading."""
    read = seen.left.read
    held = state["onset"]
    np.copyto(held, np.where(np.isnan(seen.held), HOLD * held, seen.held), where=read)
    usual, told = state["usual"], np.isfinite(seen.raw)
    age = np.maximum(state["known"][:, 0] - _evidence.WARM, 0)
    gain = np.maximum(USUAL_GAIN, 1 / (age + USUAL_BEGIN))
    taught = usual + gain * (np.minimum(seen.raw, USUAL_MOST) - usual)
    np.copyto(usual, taught, where=told, casting="same_kind")
    pending, ago = state["pending"].T
    ago += read
    takes = read & ((seen.candidate >= pending) | (ago >= WITHIN))
    pending[takes] = seen.candidate[takes]
    ago[takes] = 0
    rung, since = state["rung"].T
    since += read
    _rest(seen.held, state)
    rang = read & (seen.novelty >= 1)
    rung[rang] = np.minimum(seen.novelty[rang], np.float32(BEATEN))
    since[rang] = 0


def _follow_steps(left: Residuals, state: Mapping[str, Array]) -> None:
    """Fold the newest step in its mean square, and count it when it is one."""
    step = left.left[5]
    fresh = np.isfinite(step)
    step = np.clip(np.where(fresh, step, 0), -_channels.LARGEST, _channels.LARGEST)
    gain = np.maximum(STEP_GAIN, 1 / np.maximum(state["count"] - _channels.FIRST + 1, 1))
    square = state["step_square"]
    np.add(square, gain * (step * step - square), out=square, where=fresh, casting="same_kind")
    state["moves"] += fresh & (step != 0)


def _follow_median(left: Residuals, state: Mapping[str, Array]) -> None:
    """Let median and median deviation take a step towards the newest reading.

    Each goes up as often as down where half of the readings lie beyond it. The first readings, as
    long as there are no residuals, are averaged: a start.
    """
    median, spread = state["median"].T
    count = state["count"]
    early = count < _channels.FIRST
    off = np.where(left.read, left.now - median, 0)
    size = np.where(count > 0, np.abs(off), 0)
    unit = np.maximum(spread, MEDIAN_START * state["scale"].T[0])
    gain = np.where(left.read, np.maximum(np.where(early, 0, MEDIAN_GAIN), 1 / (count + 1)), 0)
    median += gain * np.where(early, off, np.sign(off) * unit)
    change = np.where(early, size - spread, np.sign(size - spread) * unit)
    np.maximum(spread + gain * change, 0, out=spread)


@hookimpl
def register_detectors() -> list[type[Detector]]:
    return [Ensemble]
