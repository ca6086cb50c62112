"""Turn the scores of detectors into findings: calibrate, confirm, hold, release.

Each head of a detector gives one score per series. Its *ratio* says how far it is towards a
finding, 1 is the threshold: the score by the head's own threshold where it has one, common to all
series; otherwise log p by that of ``OPEN_P``, with p from the tail of the series (tails.py), so
that a detector may score in any unit. Every score gets a p, whatever decides.

A finding opens when readings were strange (ratio 1 and above) for ``Head.confirm`` of them and
``Head.confirm_s``, with no two others in a row; it closes when they were calm (below ``Head.calm``)
for ``Head.release`` readings and ``Head.release_s``. A bar above 1 is asked for where this host, or
this series, rings more often than the operator allows (alarm_budget.py), and where the operator
said that a series rang for nothing (``lenience``). A level rule is its own confirmation, is never
calibrated, and knows no bar but a mute.

Vectorised: a usual tick is a dozen array operations per head; Python touches only rows that open,
are open, or close. 63 bytes per head and series (judgement.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.alarm_budget import HIGHEST, AlarmBudget
from vedette.api import Detector, Evidence, Finding, Head, Severity, Window
from vedette.judgement import ALL, Judgement, Rows

_NOT_RAISED = np.ones(0, dtype=np.float32)

#: Readings between looks at the budget.
BUDGET_EVERY = 60
#: What is told of a finding may be up to so many readings old: one that is confirmed later, or of a
#: score that is held, may open when the series is back where it usually is.
FURTHEST = 10


class FindingChange(msgspec.Struct, frozen=True):
    """A finding that opened, went on being strange, or closed."""

    change: Literal["opened", "continued", "closed"]
    row: int
    finding: Finding


class Decider:
    """Decide which scores are findings. Owned by the pipeline thread."""

    def __init__(self, budget: AlarmBudget | None = None) -> None:
        self.budget = budget or AlarmBudget()
        #: By how much thresholds of a head are raised at the operator's word, ``(rows,)``;
        #: infinite: muted. Longer or shorter than the table: what is missing is 1.
        self.lenience: Callable[[str], NDArray[np.float32]] = lambda head: _NOT_RAISED
        self._judgements: dict[str, Judgement] = {}
        self._steps = 0

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
        by_head = scores if scores.ndim == 2 else scores[None]
        changes: list[FindingChange] = []
        for head, of_head in zip(detector.all_heads(), by_head, strict=True):
            judgement = self._judgement(head, len(of_head))
            judgement.level = detector.scale == "level"
            changes += self._judge(judgement, detector, of_head, window, state)
        self._steps += 1
        if self._steps % BUDGET_EVERY == 0:
            self.budget.step(int(window.time[-1]))
        return changes

    def _judge(
        self,
        judgement: Judgement,
        detector: Detector,
        scores: NDArray[np.float32],
        window: Window,
        state: Mapping[str, NDArray[np.float32]],
    ) -> list[FindingChange]:
        tick = int(window.time[-1])
        strange = judgement.take(scores, _step_s(window))
        judgement.follow(strange, scores, tick)
        opening = judgement.confirmed(strange, tick)
        changes = self._go_on(judgement, detector, window) if judgement.open else []
        if len(opening):
            rows = self._allowed(judgement, opening, tick)
            changes += self._open(judgement, detector, rows, window, state)
        return changes

    def _allowed(self, judgement: Judgement, rows: NDArray[np.intp], tick: int) -> list[int]:
        """Return which of the candidates are over the bar that stands for them."""
        ratio = judgement.ratio(rows)
        raised = self.lenience(judgement.head.name)
        known = len(raised)
        lenience = [float(raised[row]) if row < known else 1.0 for row in rows.tolist()]
        if judgement.level:
            return [row for row, one in zip(rows.tolist(), lenience, strict=True) if one < math.inf]
        peak, allowed = 0.0, []
        for row, one, much in zip(rows.tolist(), lenience, ratio.tolist(), strict=True):
            own = one * judgement.repeats.bar(row, tick)
            # What a series' own bar holds back is no reason to raise that of all.
            peak = max(peak, much / own)
            if much >= own * self.budget.bar or much >= one * HIGHEST:
                judgement.repeats.note(row, tick)
                allowed.append(row)
        if peak >= 1:
            self.budget.note(tick, peak, rang=bool(allowed))
        return allowed

    def forget(self, rows: NDArray[np.intp], tick_ns: int) -> list[FindingChange]:
        """Drop what is known of rows that now belong to no or another series."""
        changes = []
        gone = {int(row) for row in rows}
        for judgement in self._judgements.values():
            for row in sorted(gone & judgement.open.keys()):
                ended = msgspec.structs.replace(judgement.open.pop(row).finding, last_ns=tick_ns)
                changes.append(FindingChange("closed", row, ended))
            judgement.forget(rows[rows < len(judgement.is_open)])
        return changes

    def drop(self, keep: Sequence[str], tick_ns: int) -> list[FindingChange]:
        """Close the findings of heads that are not in ``keep`` any more."""
        changes = []
        for name in [name for name in self._judgements if name not in keep]:
            for row, one in self._judgements.pop(name).open.items():
                ended = msgspec.structs.replace(one.finding, last_ns=tick_ns)
                changes.append(FindingChange("closed", row, ended))
        return changes

    def exchange(self, heads: Sequence[str], other: Decider, tick_ns: int) -> list[FindingChange]:
        """Swap with another Decider all that is known for these heads; return what that changes.

        A finding that both have open goes on.
        """
        changes: list[FindingChange] = []
        for head in heads:
            mine, its = self._judgements.pop(head, None), other._judgements.pop(head, None)
            before, after = mine.open if mine else {}, its.open if its else {}
            for row in sorted(before.keys() - after.keys()):
                ended = msgspec.structs.replace(before[row].finding, last_ns=tick_ns)
                changes.append(FindingChange("closed", row, ended))
            changes += [
                FindingChange("opened", row, after[row].finding)
                for row in sorted(after.keys() - before.keys())
            ]
            if mine is not None:
                other._judgements[head] = mine
            if its is not None:
                self._judgements[head] = its
        return changes

    def findings(self, head: str) -> list[Finding]:
        """Return the open findings of a head."""
        judgement = self._judgements.get(head)
        return [] if judgement is None else [one.finding for one in judgement.open.values()]

    def p(self, head: str) -> NDArray[np.float32]:
        """Return the tail probability of the newest scores, ``(rows,)``; NaN without a score."""
        return self._judgements[head].p()

    def ratio(self, head: str, rows: Rows = ALL) -> NDArray[np.float32]:
        """Return how far the newest scores of rows are towards a finding; 1: one."""
        return self._judgements[head].ratio(rows)

    def open_rows(self, head: str) -> NDArray[np.bool_]:
        """Return which rows have an open finding of this head, bool ``(rows,)``; read only."""
        judgement = self._judgements.get(head)
        return np.zeros(0, dtype=bool) if judgement is None else judgement.is_open

    def judged(self, rows: int) -> NDArray[np.bool_]:
        """Return bool ``(rows,)``: the series of which any head has ever had an opinion."""
        found = np.zeros(rows, dtype=bool)
        for one in self._judgements.values():
            known = one.tails.seen[:rows] > 0
            found[: len(known)] |= known
        return found

    def arrays(self, head: str) -> dict[str, NDArray[np.float32]]:
        """Return the learned tails of a head, to be saved with its detector's state."""
        judgement = self._judgements.get(head)
        return judgement.tails.arrays() if judgement is not None and len(judgement.tails) else {}

    def restore(
        self, head: Head, row: int, values: Mapping[str, NDArray[np.float32]], rows: int
    ) -> None:
        """Set the learned tail of one row from what was saved."""
        tails = self._judgement(head, rows).tails
        if len(tails) < rows:
            tails.grow(rows)
        tails.restore(row, values)

    def export(self) -> dict[str, object]:
        """Return what is known of the host as a whole, as plain data for ``take_up``."""
        tails = {name: list(one.tails.common()) for name, one in self._judgements.items()}
        return {"budget": self.budget.export(), "tails": tails}

    def take_up(self, known: Mapping[str, object], heads: Sequence[Head]) -> None:
        """Take up what an earlier run exported.

        Raises ``ValueError``, ``KeyError`` or ``TypeError`` when it is something else.
        """
        tails = msgspec.convert(known["tails"], dict[str, tuple[float, float, float]])
        self.budget.restore(msgspec.convert(known["budget"], dict[str, object]))
        for head in heads:
            if head.name in tails:
                self._judgement(head, 0).tails.take_up(*tails[head.name])

    def _judgement(self, head: Head, rows: int) -> Judgement:
        judgement = self._judgements.get(head.name)
        if judgement is None:
            judgement = self._judgements[head.name] = Judgement(head, rows)
        elif len(judgement.is_open) < rows:
            judgement.grow(rows)
        return judgement

    def _go_on(
        self, judgement: Judgement, detector: Detector, window: Window
    ) -> list[FindingChange]:
        """Follow the findings that are open: close those that are over, tell those that go on."""
        tick = int(window.time[-1])
        rows = np.fromiter(judgement.open, dtype=np.intp)
        ratio, p = judgement.ratio(rows), judgement.p(rows)
        calm = ratio < judgement.calm_below
        if not judgement.level and (ratio >= 1).any():
            self.budget.note(tick, float(np.fmax.reduce(ratio)), rang=True)
        closed, continued = [], []
        told = zip(rows.tolist(), ratio.tolist(), p.tolist(), calm.tolist(), strict=True)
        for row, much, probability, is_calm in told:
            one = judgement.open[row]
            if much == much:
                one.follow(is_calm, tick)
            if is_calm and one.is_over(judgement.head, tick):
                finding = msgspec.structs.replace(one.finding, last_ns=one.calm_since_ns)
                judgement.close(row)
                closed.append(FindingChange("closed", row, finding))
            elif much >= 1:
                score = float(judgement.scores[row])
                one.finding = _continued(one.finding, detector, score, probability, row, window)
                continued.append(FindingChange("continued", row, one.finding))
        return closed + continued

    @staticmethod
    def _open(
        judgement: Judgement,
        detector: Detector,
        rows: Sequence[int],
        window: Window,
        state: Mapping[str, NDArray[np.float32]],
    ) -> list[FindingChange]:
        changes = []
        for row in rows:
            series = window.series[row]
            if series is None:
                continue
            evidence = detector.explain(window, state, row)
            observed, at = _observed(window, row, evidence)
            score = float(judgement.scores[row])
            finding = Finding(
                series=series,
                detector=judgement.head.name,
                since_ns=min(int(judgement.strange_since[row]), at),
                last_ns=int(window.time[-1]),
                severity=_severity(detector, score),
                p=float(judgement.p(np.array([row]))[0]),
                observed=observed,
                low=evidence.low,
                high=evidence.high,
                text=evidence.text,
            )
            judgement.begin(row, finding)
            changes.append(FindingChange("opened", row, finding))
        return changes


def _step_s(window: Window) -> float:
    """Return the seconds between the newest two readings; 0 before there are two."""
    if len(window.time) < 2:
        return 0.0
    return max(int(window.time[-1]) - int(window.time[-2]), 0) / 1e9


_ORDER: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}


def _continued(
    finding: Finding,
    detector: Detector,
    score: float,
    p: float,
    row: int,
    window: Window,
) -> Finding:
    """Return a finding with one more strange reading."""
    tick = int(window.time[-1])
    observed = float(window.values[row, -1])
    return msgspec.structs.replace(
        finding,
        last_ns=tick,
        observed=_further(finding, observed),
        p=min(finding.p, p),
        severity=worse(finding.severity, _severity(detector, score)),
    )


def _observed(window: Window, row: int, expected: Evidence) -> tuple[float, int]:
    """Return the reading that a new finding is about, and when it was (Unix ns).

    The newest; if that is within the band, the one furthest outside of the last few.
    """
    newest, now = float(window.values[row, -1]), int(window.time[-1])
    if not expected.low <= newest <= expected.high:
        return newest, now
    values = window.values[row, -FURTHEST:].astype(np.float64)
    beyond = np.fmax(values - expected.high, expected.low - values)
    if not np.fmax.reduce(beyond) > 0:
        return newest, now
    furthest = int(np.nanargmax(beyond))
    return float(values[furthest]), int(window.time[-FURTHEST:][furthest])


def _further(finding: Finding, observed: float) -> float:
    """Return what was observed at its worst: the reading furthest out on the finding's side."""
    if finding.observed < finding.low:
        return min(finding.observed, observed)
    return max(finding.observed, observed)


def worse(one: Severity, other: Severity) -> Severity:
    """Return the graver of two severities."""
    return one if _ORDER[one] >= _ORDER[other] else other


def _severity(detector: Detector, score: float) -> Severity:
    """Return the grade of a rule; of all else the incident has one (severity.py), not a finding."""
    if detector.scale != "level":
        return "info"
    return "critical" if score >= 2 else "warning"
