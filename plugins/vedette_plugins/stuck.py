"""Detector ``stuck``: series that stand still or fall silent though they never did before.

*Stuck* is what always moved and now returns the very same value again and again: a frozen sensor,
a source that answers from a cache, a clock that is no longer disciplined. Learned per series are
how often two readings in a row are equal, and the longest time it ever stood still. A run of equal
readings is judged by the bar: ten times that longest time, or twelve hours more than it where that
is less; at least ten minutes and 30 readings. So a series that rests at night rings once at most.

Silence matters more here than catching much. There is no opinion of a series

- that moved for less than a day in all (``settle``), or fewer than ``MOVES`` times;
- of which more than one reading in ten equals the one before: states, counts, rounded values;
- while it is exactly zero, or at its limit: idle, or saturated, and not stuck;
- whose instrument says that nobody is to be woken for it (``alarm = "never"``).

*Silent* is what was read regularly and is not read any more, while others still are: no reading for
ten times the longest gap, two to eight minutes. Only metrics without attributes are judged. One
with attributes belongs to a process, a disk, a container, and what ended is not silent. When more
than half of those that are judged are missing, it is not the sources: nothing is said of any.

Score: the present run (or gap) as a part of its bar; 1 rings. Times are learned as maxima that are
forgotten over a month (gaps: over three days): runs of equal values have no distribution to speak
of, they come from what people and programs do. A run that rang teaches in full.

Measured: on NAB, ASD and the Microsoft cloud monitoring set, 346 series and 14,300 series-days, it
rings once, in the flat stretch of ``art_daily_flatmiddle``, and that is labelled. Of the series 111
are of the kind that always moves; were three in ten readings allowed to be equal and not one, it
would have an opinion of 207, and ring once more.
Nothing here is known sooner than after a minute or two, so it looks every five seconds at most.
Cost: 48 bytes of state per series; for 2,000 series 30 µs to score and 60 µs to learn per look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vedette.api import Detector, Duration, Evidence, StateArray, Window, hookimpl

State = Mapping[str, NDArray[np.float32]]
Floats = NDArray[np.float32]

#: Changes that must have been seen before a series can be stuck.
MOVES = 100.0
#: Share of readings that equal the one before, up to which a series is one that always moves ...
ALIKE_MOST = 0.1
#: ... over so many readings; of a run no more than ``ALIKE_RUN`` count, or a freeze would excuse
#: itself.
ALIKE_SPAN, ALIKE_RUN = 1000.0, 30.0
#: The bar of a run: so many times the longest one, or so much more, and at least this, in seconds
#: and readings.
BEYOND, BEYOND_S = 10.0, 12 * 3600.0
RUN_LEAST_S, RUN_LEAST = 600.0, 30.0
#: The bar of a gap, in seconds: the agent gives a series up after 600.
GAP_LEAST_S, GAP_MOST_S = 120.0, 480.0
#: Four readings must have been missed at the least.
GAP_USUAL_MOST_S = GAP_MOST_S / 4
#: Readings after which a series is one that is read regularly.
READS = 500.0
#: Seconds over which the longest run and the longest gap are forgotten to a third.
RUN_MEMORY_S, GAP_MEMORY_S = 30 * 86_400.0, 3 * 86_400.0
#: Above this part of those judged, silence is not of the sources.
MANY_SILENT = 0.5
#: It looks once per so much time, and the bars follow what was learned once per so much.
LOOK_NS, REFRESH_NS = 5_000_000_000, 60_000_000_000
#: A gap is worth a score from this part of its bar on.
SCORED_FROM = 0.5


class StuckConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a series is watched first."""

    settle: Annotated[
        Duration,
        Meta(description="Time for which a series must have moved before it can be called stuck."),
    ] = Duration(86_400)


class Stuck(Detector):
    """Series that stand still or fall silent."""

    name = "stuck"
    Config = StuckConfig
    threshold = 1.0
    #: A reading more than that of the bar: the run itself is the confirmation.
    confirm = 2
    lookback = 3
    state: ClassVar[Mapping[str, StateArray]] = {
        "last": StateArray(float("nan"), transient=True),
        "still": StateArray(0.0, transient=True),
        "run": StateArray(0.0, transient=True),
        "away": StateArray(0.0, transient=True),
        "reads": StateArray(0.0),
        "watched": StateArray(0.0),
        "moves": StateArray(0.0),
        "alike": StateArray(0.0),
        "longest": StateArray(0.0),
        "gap": StateArray(0.0),
        "run_bar": StateArray(float("nan")),
        "gap_bar": StateArray(float("nan")),
    }

    def __init__(self, config: StuckConfig) -> None:
        super().__init__(config)
        self.settle = config.settle
        self._generation = -1
        self._judged = self._alone = np.empty(0, dtype=bool)
        self._limits = np.empty(0, dtype=np.float32)
        self._looked = -LOOK_NS

    def score(self, window: Window, state: State) -> Floats:
        if not self._is_due(window):
            return np.full(len(window.series), np.nan, dtype=np.float32)
        self._prepare(window)
        now = window.values[:, -1]
        same = now == state["last"]
        passed = state["away"] + self._elapsed(window)
        still = np.where(same, state["still"] + passed, np.float32(0))
        scores: Floats = np.divide(still, state["run_bar"], dtype=np.float32)
        scores[same & (state["run"] < RUN_LEAST - 1)] *= 0  # no opinion stays none
        silence = passed / state["gap_bar"]
        # What is read and watched for its silence is at least not silent.
        scores = np.fmax(scores, silence * np.float32(0))
        scores[np.isnan(now)] = np.nan
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero(np.isnan(now) & (silence >= SCORED_FROM))
        if len(rows) and self._sources(window, state, silence):
            scores[rows] = silence[rows]
        return scores

    def learn(self, window: Window, state: State) -> None:
        if not self._is_due(window):
            return
        self._prepare(window)
        now = window.values[:, -1]
        read = np.isfinite(now)
        passed = state["away"] + self._elapsed(window)
        same = now == state["last"]
        with np.errstate(invalid="ignore"):
            idle = (now == 0) | (now >= self._limits)
        self._count(state, read, same | idle, passed)
        known = np.isfinite(state["last"])
        changed = read & ~same
        ended = np.flatnonzero(changed & (state["run"] > 0))
        state["longest"][ended] = np.maximum(state["longest"][ended], state["still"][ended])
        np.add(state["moves"], changed & known & ~idle, out=state["moves"], casting="unsafe")
        np.add(state["still"], passed, out=state["still"], where=same)
        np.add(state["run"], 1, out=state["run"], where=same)
        state["still"][changed] = 0
        state["run"][changed] = 0
        np.copyto(state["last"], np.where(idle, np.float32(np.nan), now), where=read)
        state["away"][:] = np.where(read, 0, passed)
        self._refresh(window, state)
        self._looked = int(window.time[-1])

    def learning(self, window: Window, state: State) -> NDArray[np.bool_]:
        self._prepare(window)
        return self._judged & (state["watched"] < self.settle)

    def explain(self, window: Window, state: State, row: int) -> Evidence:
        passed = float(state["away"][row]) + self._elapsed(window)
        if np.isnan(window.values[row, -1]):
            text = f"no reading for {_length(passed)}"
            usual = float(state["gap"][row])
            text += f"; never before for longer than {_length(usual)}"
        else:
            text = f"exactly the same for {_length(float(state['still'][row]) + passed)}"
            longest = float(state["longest"][row])
            before = f"for longer than {_length(longest)}" if longest >= 1 else "twice in a row"
            text += f"; never before {before}"
        return Evidence(float("nan"), float("nan"), text)

    def _is_due(self, window: Window) -> bool:
        return int(window.time[-1]) // LOOK_NS != self._looked // LOOK_NS

    def _elapsed(self, window: Window) -> float:
        """Return the seconds since the look before; a longer pause is that of the whole agent."""
        if len(window.time) < 2:
            return 0.0
        step_ns = max(0, int(np.diff(window.time).min()))
        since_ns = int(window.time[-1]) - self._looked
        return min(max(since_ns, step_ns), max(LOOK_NS, step_ns)) / 1e9

    def _prepare(self, window: Window) -> None:
        """Derive what the instruments say about each row, once per generation."""
        if window.generation == self._generation and len(self._judged) == len(window.series):
            return
        declared = [one.instrument if one else None for one in window.series]
        self._judged = np.array([one is not None and one.alarm != "never" for one in declared])
        alone = np.array([one is not None and not one.attributes for one in declared])
        self._judged = self._judged.astype(bool)
        self._alone = self._judged & alone.astype(bool)
        limits = [one.limit if one and one.limit else np.inf for one in declared]
        self._limits = np.array(limits, dtype=np.float32)
        self._generation = window.generation

    @staticmethod
    def _count(
        state: State, read: NDArray[np.bool_], alike: NDArray[np.bool_], passed: Floats
    ) -> None:
        """Count readings, the time it moved, gaps, and how often two in a row are equal."""
        known = read & (state["reads"] > 0)
        fresh = known & (state["run"] < ALIKE_RUN)
        np.add(state["reads"], read, out=state["reads"], casting="unsafe")
        np.add(state["watched"], passed, out=state["watched"], where=fresh)
        np.maximum(state["gap"], passed, out=state["gap"], where=known)
        gain = 1 / np.clip(state["reads"], 1, ALIKE_SPAN)
        step = gain * (alike - state["alike"])
        np.add(state["alike"], step, out=state["alike"], where=fresh, casting="same_kind")

    def _refresh(self, window: Window, state: State) -> None:
        """Forget a little, and set the bars anew: once a minute, they change slowly."""
        if int(window.time[-1]) // REFRESH_NS == self._looked // REFRESH_NS:
            return
        passed = max(60.0, self._elapsed(window))
        longest, gap = state["longest"], state["gap"]
        longest *= np.float32(math.exp(-passed / RUN_MEMORY_S))
        gap *= np.float32(math.exp(-passed / GAP_MEMORY_S))
        moving = (state["moves"] >= MOVES) & (state["alike"] <= ALIKE_MOST)
        moving &= self._judged & (state["watched"] >= self.settle)
        bar = np.maximum(np.minimum(BEYOND * longest, longest + BEYOND_S), RUN_LEAST_S)
        state["run_bar"][:] = np.where(moving, bar, np.nan)
        regular = self._alone & (state["reads"] >= READS) & (gap <= GAP_USUAL_MOST_S)
        bar = np.clip(BEYOND * gap, GAP_LEAST_S, GAP_MOST_S)
        state["gap_bar"][:] = np.where(regular, bar, np.nan)

    @staticmethod
    def _sources(window: Window, state: State, silence: Floats) -> bool:
        """Say whether silence is of the sources: others are read, and it is not that of most."""
        if not np.isfinite(window.values[:, -1]).any():
            return False
        with np.errstate(invalid="ignore"):
            silent = int((silence >= SCORED_FROM).sum())
        return silent <= max(1, MANY_SILENT * int(np.isfinite(silence).sum()))


def _length(seconds: float) -> str:
    """Return a length of time for a person."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@hookimpl
def register_detectors() -> list[type[Detector]]:
    return [Stuck]
