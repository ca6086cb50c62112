"""Turn the scores of detectors into findings: calibrate, confirm, hold, release.

Calibration. A score means something else for every series: ten scales off is nothing for a disk
that is idle between bursts. So per detector and series the tail of past scores is learned: the 0.99
quantile by stochastic approximation (Robbins and Monro, 1951; step as a part of the excess) and the
mean excess above it; beyond the quantile a generalised Pareto tail with a fixed shape gives the
probability p of such a score on an ordinary day (peaks over threshold: Pickands 1975; used for
streams by Siffer et al., SPOT, KDD 2017). A run of readings above the quantile is one event and
teaches by its peak, once it is over (declustering, as is usual with peaks over threshold): a rising
score cannot drag its own threshold along. Deviations: the shape is fixed at ``SHAPE``, heavier than
exponential, because a host's history is short and an over-confident tail rings for ever; for thin
tails p therefore errs to the safe side. A young series has the tail of a prior, which its own
readings replace as they come; a run that became a finding teaches next to nothing, or the second
occurrence of a fault would pass for ordinary.

Confirmation and hysteresis. A finding opens when readings were strange (p below ``open_p``) for
``confirm_ns`` with at least ``CONFIRM_READINGS`` of them and no two calm ones in a row; it closes
when readings were calm (p above ``close_p``) for ``release_ns``. A level rule is its own
confirmation and is never calibrated.

Vectorised: about 20 array operations per detector and tick; Python touches only rows that open,
are open, or close. 41 bytes per detector and series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.api import Detector, Finding, Series, Severity, Window
from vedette.table import grown

#: The quantile above which the tail is modelled.
QUANTILE = 0.99
#: Shape of the tail: at 0.25 the fifth moment no longer exists, at 0 it would be exponential.
SHAPE = 0.25
#: Tail of a series without a history, in units of a robust scale: Laplace-like with mean
#: absolute deviation 1 has its 0.99 quantile at ln(100) = 4.6 and mean excess 1.
PRIOR_QUANTILE, PRIOR_EXCESS = 4.6, 1.0
#: Readings after which the quantile's steps shrink, and the runs beyond it the prior counts for.
PRIOR_READINGS = 100.0
PRIOR_RUNS = 20.0
#: Readings after which the tail goes on learning at the same pace: three days at one a minute.
SETTLED_READINGS = 20_000.0
#: One run teaches no more than one this many mean excesses beyond the quantile.
TEACHES_MOST = 5.0
#: A mean excess is never under this part of the quantile: tails seen briefly look too thin.
THINNEST = 0.2
#: Weight with which strange readings teach the tail.
STRANGE_TEACHES = 0.02
#: Strange readings that a finding needs at least.
CONFIRM_READINGS = 3


class Policy(msgspec.Struct, frozen=True):
    """When a finding opens and closes."""

    open_p: float = 2e-4
    close_p: float = 1e-2
    confirm_ns: int = 4_000_000_000
    release_ns: int = 10_000_000_000


class FindingChange(msgspec.Struct, frozen=True):
    """A finding that opened, went on being strange, or closed."""

    change: Literal["opened", "continued", "closed"]
    row: int
    finding: Finding


_COUNTED = (
    "seen",
    "peak",
    "strange_since",
    "strange_count",
    "misses",
    "calm_since",
    "is_open",
)


class _Judgement:
    """What is known of each row for one detector. Arrays float32/int64 ``(rows,)``."""

    def __init__(self, rows: int) -> None:
        self.quantile = np.full(rows, PRIOR_QUANTILE, dtype=np.float32)
        self.excess = np.full(rows, PRIOR_EXCESS, dtype=np.float32)
        self.seen = np.zeros(rows, dtype=np.float32)
        self.peak = np.zeros(rows, dtype=np.float32)
        self.strange_since = np.zeros(rows, dtype=np.int64)
        self.strange_count = np.zeros(rows, dtype=np.int32)
        self.misses = np.zeros(rows, dtype=np.int32)
        self.calm_since = np.zeros(rows, dtype=np.int64)
        self.open: dict[int, Finding] = {}
        self.is_open = np.zeros(rows, dtype=bool)

    def grow(self, rows: int) -> None:
        self.quantile = grown(self.quantile, rows, PRIOR_QUANTILE)
        self.excess = grown(self.excess, rows, PRIOR_EXCESS)
        for name in _COUNTED:
            setattr(self, name, grown(getattr(self, name), rows, 0))

    def forget(self, rows: NDArray[np.intp]) -> None:
        self.quantile[rows] = PRIOR_QUANTILE
        self.excess[rows] = PRIOR_EXCESS
        for name in _COUNTED:
            getattr(self, name)[rows] = 0


class Decider:
    """Decide which scores are findings. Owned by the pipeline thread."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        #: Tail probability of the newest scores per detector, ``(rows,)``; NaN without a score.
        self.p: dict[str, NDArray[np.floating]] = {}
        self._judgements: dict[str, _Judgement] = {}

    @property
    def open(self) -> int:
        """Findings that are open now."""
        return sum(len(one.open) for one in self._judgements.values())

    def step(
        self,
        detector: Detector,
        scores: NDArray[np.float32],
        window: Window,
        state: Mapping[str, NDArray[np.float32]],
    ) -> list[FindingChange]:
        """Judge one detector's scores of the newest tick; return what changed.

        Call before ``detector.learn`` so that the band in a finding is the one before it began.
        """
        judgement = self._judgement(detector.name, len(scores))
        tick = int(window.time[-1])
        if detector.scale == "level":
            p = np.where(np.isnan(scores), np.nan, np.where(scores >= 1, 0.0, 1.0))
            strange = scores >= 1
            calm = scores < 0.9
            self._follow(judgement, strange, calm, tick)
            opening = strange & ~judgement.is_open
        else:
            p = self._probability(judgement, scores)
            with np.errstate(invalid="ignore"):
                strange = p < self.policy.open_p
                calm = p > self.policy.close_p
            self._follow(judgement, strange, calm, tick)
            self._learn_tail(judgement, scores)
            lasted = tick - judgement.strange_since >= self.policy.confirm_ns
            enough = judgement.strange_count >= CONFIRM_READINGS
            opening = strange & lasted & enough & ~judgement.is_open
        self.p[detector.name] = p
        changes = self._close(judgement, tick, calm)
        changes += self._continue(judgement, detector, strange, scores, p, window)
        changes += self._open(judgement, detector, opening, scores, p, window, state)
        return changes

    def forget(self, rows: NDArray[np.intp], tick_ns: int) -> list[FindingChange]:
        """Drop what is known of rows that now belong to no or another series."""
        changes = []
        gone = {int(row) for row in rows}
        for judgement in self._judgements.values():
            for row in gone & judgement.open.keys():
                finding = msgspec.structs.replace(judgement.open.pop(row), last_ns=tick_ns)
                changes.append(FindingChange("closed", row, finding))
            inside = rows[rows < len(judgement.seen)]
            judgement.forget(inside)
        return changes

    def drop(self, keep: Sequence[str], tick_ns: int) -> list[FindingChange]:
        """Close the findings of detectors that are not in ``keep`` any more."""
        changes = []
        for name in [name for name in self._judgements if name not in keep]:
            self.p.pop(name, None)
            for row, finding in self._judgements.pop(name).open.items():
                ended = msgspec.structs.replace(finding, last_ns=tick_ns)
                changes.append(FindingChange("closed", row, ended))
        return changes

    def open_rows(self, detector: str) -> NDArray[np.bool_]:
        """Return which rows have an open finding of this detector, bool ``(rows,)``; read only."""
        judgement = self._judgements.get(detector)
        return np.zeros(0, dtype=bool) if judgement is None else judgement.is_open

    def arrays(self, detector: str) -> dict[str, NDArray[np.float32]]:
        """Return the learned tails of a detector, to be saved with its state."""
        judgement = self._judgements.get(detector)
        if judgement is None:
            return {}
        return {name: getattr(judgement, name) for name in ("quantile", "excess", "seen")}

    def restore(
        self, detector: str, row: int, values: Mapping[str, NDArray[np.float32]], rows: int
    ) -> None:
        """Set the learned tail of one row from what was saved."""
        judgement = self._judgement(detector, rows)
        for name in ("quantile", "excess", "seen"):
            if name in values:
                getattr(judgement, name)[row] = values[name]

    def _judgement(self, detector: str, rows: int) -> _Judgement:
        judgement = self._judgements.get(detector)
        if judgement is None:
            judgement = self._judgements[detector] = _Judgement(rows)
        elif len(judgement.seen) < rows:
            judgement.grow(rows)
        return judgement

    @staticmethod
    def _probability(judgement: _Judgement, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the tail probability of each score; 1 below the quantile, NaN without score."""
        with np.errstate(invalid="ignore", over="ignore"):
            excess = np.maximum(judgement.excess, THINNEST * judgement.quantile)
            beyond = np.maximum(scores - judgement.quantile, 0) / excess
            p = (1 - QUANTILE) * (1 + SHAPE * beyond) ** (-1 / SHAPE)
            p = np.where(scores > judgement.quantile, p, np.float32(1))
        p[np.isnan(scores)] = np.nan
        return p

    @staticmethod
    def _learn_tail(judgement: _Judgement, scores: NDArray[np.float32]) -> None:
        """Fold the scores in: from a run above the quantile its peak, when it is over."""
        known = ~np.isnan(scores)
        judgement.seen += known
        with np.errstate(invalid="ignore"):
            beyond = scores > judgement.quantile
        over = known & ~beyond & (judgement.peak > 0)
        np.maximum(judgement.peak, scores, out=judgement.peak, where=beyond)
        step = judgement.excess / np.sqrt(1 + judgement.seen / PRIOR_READINGS)
        # One run above the quantile in a hundred readings balances the readings below it.
        judgement.quantile -= np.where(known & ~beyond & ~over, (1 - QUANTILE) * step, 0)
        rows = np.flatnonzero(over)
        if len(rows):
            weight = np.where(judgement.is_open[rows], STRANGE_TEACHES, 1.0).astype(np.float32)
            excess = judgement.excess[rows]
            surplus = judgement.peak[rows] - judgement.quantile[rows]
            runs = (1 - QUANTILE) * np.minimum(judgement.seen[rows], SETTLED_READINGS)
            gain = weight / (PRIOR_RUNS + runs)
            taught = np.minimum(surplus, TEACHES_MOST * excess)
            judgement.excess[rows] = np.maximum(excess + gain * (taught - excess), 0.05)
            judgement.quantile[rows] += QUANTILE * step[rows] * weight
            judgement.peak[rows] = 0
        np.maximum(judgement.quantile, 1.0, out=judgement.quantile)

    def _follow(
        self,
        judgement: _Judgement,
        strange: NDArray[np.bool_],
        calm: NDArray[np.bool_],
        tick: int,
    ) -> None:
        """Keep count of runs: a run survives a single reading that is not strange."""
        read = strange | calm
        judgement.misses = np.where(strange, 0, judgement.misses + (read & ~strange))
        starts = strange & (judgement.strange_count == 0)
        judgement.strange_since[starts] = tick
        judgement.strange_count += strange
        judgement.strange_count[judgement.misses >= 2] = 0
        begins = calm & (judgement.calm_since == 0)
        judgement.calm_since[begins] = tick
        judgement.calm_since[strange] = 0

    def _close(
        self, judgement: _Judgement, tick: int, calm: NDArray[np.bool_]
    ) -> list[FindingChange]:
        changes = []
        for row in list(judgement.open):
            since = judgement.calm_since[row]
            if calm[row] and since and tick - since >= self.policy.release_ns:
                finding = msgspec.structs.replace(judgement.open.pop(row), last_ns=int(since))
                judgement.is_open[row] = False
                changes.append(FindingChange("closed", row, finding))
        return changes

    @staticmethod
    def _continue(
        judgement: _Judgement,
        detector: Detector,
        strange: NDArray[np.bool_],
        scores: NDArray[np.float32],
        p: NDArray[np.float32],
        window: Window,
    ) -> list[FindingChange]:
        changes = []
        for row, finding in judgement.open.items():
            if not strange[row]:
                continue
            observed = float(window.values[row, -1])
            probability = min(finding.p, float(p[row]))
            lasted = int(window.time[-1]) - finding.since_ns
            graded = _severity(detector, finding.series, float(scores[row]), observed, lasted)
            updated = msgspec.structs.replace(
                finding,
                last_ns=int(window.time[-1]),
                observed=_further(finding, observed),
                p=probability,
                severity=worse(finding.severity, graded),
            )
            judgement.open[row] = updated
            changes.append(FindingChange("continued", row, updated))
        return changes

    @staticmethod
    def _open(
        judgement: _Judgement,
        detector: Detector,
        opening: NDArray[np.bool_],
        scores: NDArray[np.float32],
        p: NDArray[np.float32],
        window: Window,
        state: Mapping[str, NDArray[np.float32]],
    ) -> list[FindingChange]:
        changes = []
        for row in np.flatnonzero(opening).tolist():
            series = window.series[row]
            if series is None:
                continue
            evidence = detector.explain(window, state, row)
            observed = float(window.values[row, -1])
            finding = Finding(
                series=series,
                detector=detector.name,
                since_ns=int(judgement.strange_since[row]),
                last_ns=int(window.time[-1]),
                severity=_severity(detector, series, float(scores[row]), observed, 0),
                p=float(p[row]),
                observed=observed,
                low=evidence.low,
                high=evidence.high,
                text=evidence.text,
            )
            judgement.open[row] = finding
            judgement.is_open[row] = True
            changes.append(FindingChange("opened", row, finding))
        return changes


_ORDER: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}

#: A finding at this part of its series' declared limit ...
NEAR_LIMIT = 0.85
#: ... is a warning once it has lasted this long; only a rule of the operator's own is critical.
IMPACT_AFTER_NS = 20_000_000_000


def _further(finding: Finding, observed: float) -> float:
    """Return what was observed at its worst: the reading furthest out on the finding's side."""
    if finding.observed < finding.low:
        return min(finding.observed, observed)
    return max(finding.observed, observed)


def worse(one: Severity, other: Severity) -> Severity:
    """Return the graver of two severities."""
    return one if _ORDER[one] >= _ORDER[other] else other


def _severity(
    detector: Detector, series: Series, score: float, observed: float, lasted_ns: int
) -> Severity:
    """Grade by impact: how near to its limit the resource is, and for how long."""
    if detector.scale == "level":
        return "critical" if score >= 2 else "warning"
    limit = series.instrument.limit
    near = limit is not None and observed >= NEAR_LIMIT * limit
    return "warning" if near and lasted_ns >= IMPACT_AFTER_NS else "info"
