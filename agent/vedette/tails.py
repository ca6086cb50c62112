"""Say how improbable a score is: a tail per series, held to its word over all of them.

A score means something else for every series: ten scales off is nothing for a disk that is idle
between bursts. So per series the 0.99 quantile of past scores is followed by stochastic
approximation (Robbins and Monro, 1951), and the mean excess above it; beyond, the tail is
exponential in ``log(1 + score)``, so of Pareto's kind in the score itself (peaks over threshold:
Pickands 1975; on streams Siffer et al., SPOT, KDD 2017). How far beyond the quantile the levels
0.001 and 0.0001 lie, in mean excesses, no single series lives long enough to tell: two numbers
common to all series are moved so that, over all of them, the share of scores beyond equals the
level. That is the rule of adaptive conformal inference (Gibbs and Candes, NeurIPS 2021), and it
holds in the long run whatever the distribution.

Deviations. A run of scores above the quantile teaches when it is over, all its scores at once: a
rising score cannot drag its own threshold along while it rises. Only what has lasted for
``LASTING`` readings is taken for a new state of the series and learned while it lasts. A run that
became a finding teaches a tenth, or the second occurrence of a fault would pass for ordinary; the
common levels take note of it, but slowly and of one no more than ``OWED_MOST``. A series that has
never been calm, with more scores below the quantile than in the run above it, has nothing to be
compared with: no opinion.

How long such runs are in the mean is learned as well: where they are long, several strange scores
in a row are worth little more than one.

Learning is done every ``LEARN_EVERY`` steps, of what was counted meanwhile, so a usual step is five
array operations, and more only for the hundredth of the rows above their quantile. 37 bytes per
series; what comes out does not depend on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vedette.growth import grown

#: The quantile that is followed per series, as a part above it.
ALPHA = 0.01
#: The levels that are common to all series.
LEVELS = (1e-3, 1e-4)
#: Tail of a series without a history, of log(1 + score): Laplace-like scores in mean absolute
#: deviations have their 0.99 quantile at 4.6.
PRIOR_QUANTILE, PRIOR_EXCESS = 1.72, 0.25
#: And the readings of a run above it, of which one counts for so many at most: those of
#: independent ones, where a short mean of them is scored. The runs that the prior counts for.
PRIOR_LENGTH, LONG_RUN, PRIOR_RUNS_LONG = 1.5, 6, 40.0
#: Readings after which the quantile's steps shrink, the runs that the prior counts for, the runs
#: after which the mean excess goes on learning at the same pace.
PRIOR_READINGS = 100.0
PRIOR_RUNS = 20.0
SETTLED_RUNS = 200.0
#: The quantile's steps never shrink below this part of the mean excess.
LEAST_STEP = 0.05
#: A run counts for no more readings than this, and teaches no more than so many mean excesses.
LONGEST_RUN = 60
TEACHES_MOST = 5.0
#: For the common levels it counts for no more than so many times what the runs of its series are
#: long: a minute that nobody found strange enough is no reason to be deaf to the next fault.
LIKE_OTHERS = 4.0
#: A run that goes on for longer than half the life of its series, but not less than the one and
#: not more than the other number of readings, is the series' new state.
LASTING = (30, 1_000)
#: A mean excess is never under this: a score that hardly varies is no licence to ring.
LEAST_EXCESS = 0.02
#: A series whose quantile, of log(1 + score), came down to this rests: it does not score.
LIVELY = np.float32(0.05)
#: Weight with which a run that became a finding teaches.
FINDING_TEACHES = 0.1
#: Readings before a series has a say in the common levels, and learns from scores beyond them.
MATURE = 100.0
#: Steps of the common levels per score beyond: 1 / (this + the scores that were expected so far),
#: which for an exponential tail is about the pace of Newton's method, but never less than that.
EXPECTED, STEP_LEAST = 3.0, 0.005
#: The logarithm of a common level never moves further than this at once.
MOVES_MOST = 1.0
#: What findings add to a common level is paid at this multiple of the scores that should be beyond,
#: and more than this, in steps, is never owed.
PAID, OWED_MOST = 2.0, 0.6
#: Between these the common levels are kept, as a multiple of an exponential tail's.
REACH = (0.1, 20.0)
#: Steps between learning.
LEARN_EVERY = 16
#: A series does not become older than this: float32 cannot count further than 2**24.
OLDEST = np.float32(1e7)
#: log10 p is never below this.
LEAST_LOG_P = np.float32(-30)

_LN10 = float(np.log(10.0))
_KEPT = {
    "quantile": PRIOR_QUANTILE,
    "excess": PRIOR_EXCESS,
    "length": PRIOR_LENGTH,
    "seen": 0.0,
}
_RUN = ("_peak", "_above", "_third", "_fourth")
_PASSING = ("_calm", "_high", "_mark", "_found", "_tried")

Rows = NDArray[np.intp]
Floats = NDArray[np.float32]


class Tails:
    """The tails of one score of all series. Arrays are ``(rows,)``."""

    def __init__(self, rows: int) -> None:
        self.quantile = np.full(rows, PRIOR_QUANTILE, dtype=np.float32)
        self.excess = np.full(rows, PRIOR_EXCESS, dtype=np.float32)
        #: Readings of a run above the quantile, in the mean.
        self.length = np.full(rows, PRIOR_LENGTH, dtype=np.float32)
        self.seen = np.zeros(rows, dtype=np.float32)
        # Of the run above the quantile that goes on: its highest score, its readings, and those
        # of them beyond each level.
        self._peak = np.zeros(rows, dtype=np.float32)
        self._above = np.zeros(rows, dtype=np.int16)
        self._third = np.zeros(rows, dtype=np.int16)
        self._fourth = np.zeros(rows, dtype=np.int16)
        # Readings below and above the quantile since the last learning, and how many were below
        # when one was above for the last time: if there were more since, the run is over.
        self._calm = np.zeros(rows, dtype=np.uint8)
        self._high = np.zeros(rows, dtype=np.uint8)
        self._mark = np.zeros(rows, dtype=np.uint8)
        self._found = np.zeros(rows, dtype=bool)
        self._tried = np.zeros(rows, dtype=bool)
        # The scores at which the quantile and the first common level lie.
        self._at_quantile = np.zeros(rows, dtype=np.float32)
        self._at_third = np.zeros(rows, dtype=np.float32)
        #: Where the levels lie, as a multiple of an exponential tail's distance; the readings that
        #: had a say in it; and what is owed to each for findings.
        self.stretch = [1.0, 1.0]
        self.readings = 0.0
        self._owed = [0.0, 0.0]
        #: How many series are lively: have been beyond their quantile, and it is not all but 0.
        self.lively = 0
        self._steps = 0
        self._place()

    def __len__(self) -> int:
        return len(self.seen)

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` rows."""
        for name, initial in _KEPT.items():
            setattr(self, name, grown(getattr(self, name), rows, initial))
        for name in (*_RUN, *_PASSING, "_at_quantile", "_at_third"):
            setattr(self, name, grown(getattr(self, name), rows, 0))
        self._place()

    def forget(self, rows: Rows) -> None:
        """Start rows anew."""
        for name, initial in _KEPT.items():
            getattr(self, name)[rows] = initial
        for name in (*_RUN, *_PASSING):
            getattr(self, name)[rows] = 0
        self._place()

    def arrays(self) -> dict[str, Floats]:
        """Return what is worth keeping of each row."""
        return {name: getattr(self, name) for name in _KEPT}

    def restore(self, row: int, values: Mapping[str, Floats]) -> None:
        """Set one row to what ``arrays`` had of it; what makes no sense is left as it is."""
        kept = {name: float(values[name]) for name in _KEPT if name in values}
        # An earlier version kept no lengths.
        sound = kept.keys() >= _KEPT.keys() - {"length"}
        if not sound or not all(0 <= one < 2 * OLDEST for one in kept.values()) or not kept["seen"]:
            return
        self.forget(np.array([row]))
        for name, value in kept.items():
            getattr(self, name)[row] = value
        self._tried[row] = kept["seen"] > 0
        self._place()

    def mark(self, row: int) -> None:
        """Note that the run of a row is of a finding."""
        self._found[row] = True

    def step(self, scores: Floats, is_open: NDArray[np.bool_]) -> tuple[Rows, Floats]:
        """Take the newest scores; return the rows whose p is below 0.001, and log10 p of them.

        ``is_open`` are the rows that have an open finding. NaN is no score; a negative one is 0.
        """
        if self._steps == LEARN_EVERY:
            self._learn(is_open)
            self._steps = 0
        self._steps += 1
        self._calm += scores <= self._at_quantile
        rows = np.flatnonzero(scores > self._at_quantile)
        if not len(rows):
            return rows, np.empty(0, dtype=np.float32)
        score = scores[rows]
        self._peak[rows] = np.maximum(self._peak[rows], score)
        self._above[rows] += 1
        self._high[rows] += 1
        self._mark[rows] = self._calm[rows]
        strange = score > self._at_third[rows]
        rows = rows[strange]
        if not len(rows):
            return rows, np.empty(0, dtype=np.float32)
        self._third[rows] += 1
        log_p = self._beyond_third(rows, score[strange])
        self._fourth[rows] += log_p < -4
        known = self._tried[rows] | (self._calm[rows] > self._above[rows])
        return rows[known], log_p[known]

    def log_p(self, scores: Floats, rows: Rows | slice = slice(None)) -> Floats:
        """Return log10 p, for some rows, of the scores that ``step`` has just taken.

        NaN where there is no opinion.
        """
        scores = scores[rows]
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.log1p(np.maximum(scores, 0))
            beyond = size - self.quantile[rows]
            third = self._distance(rows, 0)
            rest = beyond - third
            result: Floats = np.where(beyond > 0, -2 - beyond / third, -2 * size)
            np.divide(result, self.quantile[rows], out=result, where=~(beyond > 0))
            np.copyto(result, -3 - rest / self._distance(rows, 1), where=rest > 0)
        result[~(self._tried[rows] | (self._calm[rows] > self._above[rows]))] = np.nan
        np.maximum(result, LEAST_LOG_P, out=result)
        return result

    def _beyond_third(self, rows: Rows, scores: Floats) -> Floats:
        """Return log10 p of scores beyond the first common level."""
        start = self.quantile[rows] + self._distance(rows, 0)
        rest = (np.log1p(scores) - start) / self._distance(rows, 1)
        log_p: Floats = np.maximum(-3 - np.maximum(rest, 0), LEAST_LOG_P)
        return log_p

    def _distance(self, rows: Rows | slice, level: int) -> Floats:
        """Return how far a level lies beyond the one before, in log(1 + score)."""
        distance: Floats = np.maximum(self.excess[rows], np.float32(LEAST_EXCESS))
        distance *= np.float32(_LN10 * self.stretch[level])
        return distance

    def _place(self) -> None:
        """Work out the scores at which the levels lie, and how many series are lively."""
        taught = self.excess != np.float32(PRIOR_EXCESS)
        self.lively = int(np.count_nonzero(taught & (self.quantile > LIVELY)))
        with np.errstate(over="ignore"):
            np.expm1(self.quantile, out=self._at_quantile)
            np.expm1(self.quantile + self._distance(slice(None), 0), out=self._at_third)

    def _learn(self, is_open: NDArray[np.bool_]) -> None:
        """Learn from what was counted since the last time."""
        calm, above = self._calm, self._above
        step = self._lower()
        read = calm + self._high
        self.seen += read
        np.minimum(self.seen, OLDEST, out=self.seen)
        mature = self.seen > MATURE
        readings = int(np.add.reduce(read, dtype=np.int64, where=mature))
        self._found |= is_open
        running = np.flatnonzero(above)
        over = calm[running] > self._mark[running]
        ended = running[over]
        counts = self._counts(ended, mature)
        # What is so strange while little but the prior is known may as well be a fault.
        known = mature[ended] | (self.quantile[ended] > np.float32(PRIOR_QUANTILE))
        taught = ended[known | (self._fourth[ended] == 0)]
        self._teach(taught, step, above[taught])
        for name in _RUN:
            getattr(self, name)[ended] = 0
        self._last(running[~over], step)
        for level, (found, other) in enumerate(counts):
            self._move(level, readings, found, other)
        self.readings += readings
        self._tried |= calm > above
        for counter in (calm, self._high, self._mark):
            counter[:] = 0
        self._found &= above > 0
        self._place()

    def _lower(self) -> Floats:
        """Lower the quantile by the readings below it; return the step of one reading."""
        pace = np.maximum(1 / np.sqrt(1 + self.seen * (1 / PRIOR_READINGS)), LEAST_STEP)
        step: Floats = (np.maximum(self.excess, LEAST_EXCESS) * pace).astype(np.float32)
        self.quantile -= np.float32(ALPHA) * step * self._calm
        np.maximum(self.quantile, np.float32(LEAST_EXCESS), out=self.quantile)
        return step

    def _counts(self, rows: Rows, mature: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Return per level the readings beyond it in runs of findings, and in other ones.

        Whole numbers: their sum is the same in any order.
        """
        found, counted = self._found[rows], mature[rows]
        most = np.minimum(np.ceil(LIKE_OTHERS * self.length[rows]), LONGEST_RUN)
        counts = []
        for beyond in (self._third[rows], self._fourth[rows]):
            beyond = np.where(counted, np.minimum(beyond, most), 0)
            of_findings = int(beyond[found].sum())
            counts.append((of_findings, int(beyond.sum()) - of_findings))
        return counts

    def _last(self, rows: Rows, step: Floats) -> None:
        """Learn from the runs among these that have lasted so long that they are ordinary."""
        enough = np.clip(self.seen[rows] / 2, *LASTING)
        rows = rows[self._above[rows] > enough]
        self._teach(rows, step, self._high[rows])
        for counter in (self._above, self._third, self._fourth):  # or they would overflow one day
            counter[rows] = np.minimum(counter[rows], LASTING[1])

    def _teach(self, rows: Rows, step: Floats, length: NDArray[np.integer]) -> None:
        """Move quantile and mean excess by runs of so many readings."""
        if not len(rows):
            return
        weight = np.where(self._found[rows], np.float32(FINDING_TEACHES), np.float32(1))
        quantile = self.quantile[rows]
        with np.errstate(over="ignore"):
            peak = np.log1p(self._peak[rows])
        one = np.float32(1 - ALPHA) * step[rows]
        raised = quantile + one * weight * np.minimum(length, LONGEST_RUN)
        # Above its peak a run lifts the quantile by no more than one reading would: among scores
        # with ties the quantile must come to lie above them part of the time.
        self.quantile[rows] = np.minimum(raised, np.maximum(peak, quantile) + one)
        excess = self.excess[rows]
        runs = np.minimum(ALPHA * self.seen[rows], SETTLED_RUNS)
        most = TEACHES_MOST * np.maximum(excess, LEAST_EXCESS)
        taught = np.clip(peak - quantile, 0, most)
        self.excess[rows] = excess + weight / (PRIOR_RUNS + runs) * (taught - excess)
        longer = np.minimum(length, LONG_RUN) - self.length[rows]
        self.length[rows] += weight / (PRIOR_RUNS_LONG + runs) * longer

    def _move(self, level: int, readings: int, found: int, other: int) -> None:
        """Move a common level by the scores beyond it, less those that there should be."""
        share = LEVELS[level]
        step = max(STEP_LEAST, 1 / (EXPECTED + share * self.readings))
        owed = min(self._owed[level] + found, max(self._owed[level], OWED_MOST / step))
        paid = min(owed, PAID * share * readings)
        self._owed[level] = owed - paid
        moved = step * (other + paid - share * readings)
        stretch = self.stretch[level] * float(np.exp(np.clip(moved, -MOVES_MOST, MOVES_MOST)))
        self.stretch[level] = min(max(stretch, REACH[0]), REACH[1])

    def common(self) -> Sequence[float]:
        """Return the common levels for ``take_up``."""
        return (*self.stretch, self.readings)

    def take_up(self, third: float, fourth: float, readings: float) -> None:
        """Take up common levels; raises ``ValueError`` when they cannot be."""
        if not all(REACH[0] <= one <= REACH[1] for one in (third, fourth)):
            raise ValueError(f"levels of a tail are {third!r} and {fourth!r}")
        if not 0 <= readings < float("inf"):
            raise ValueError(f"readings of a tail are {readings!r}")
        self.stretch, self.readings = [third, fourth], readings
        self._place()
