"""Decide by rule whether a shadow takes over, and whether a new champion is taken back. Pure.

A shadow is promoted when all of these hold, and rejected with the reasons otherwise.

- *Calibration.* The share of p below 0.01 and below 0.001 is within a factor of 2 of that, or
  nearer to it than the champion's.
- *Stability.* No more findings than ``MORE`` times the champion's and one; no storm of them; every
  score finite; opinions on as many series.
- *Feedback.* Of the incidents that were acknowledged it missed none that it could see. At how many
  that were called false alarms it rang as well is among the figures: the champion did at all.

A champion is taken back when, within a day of its promotion, it rang more than three times as often
as there was ringing before, and three times more, counted over an hour at least; or when for an
hour the share of p below 0.001 was more than five times that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from vedette.models.tally import Figures

#: Calibration: off by no more than this factor. A level is judged from so many expected on.
FACTOR, EXPECTED_LEAST = 2.0, 10.0
#: Findings, as a multiple of the champion's, and how many more.
MORE, ONE_MORE = 1.2, 1.0
#: So many findings within a minute are a storm, or this part of the series where that is more.
STORM_LEAST, STORM_PART = 20, 0.05
#: Opinions on no fewer series than this part of the champion's.
COVERAGE_PART = 0.95
#: After a promotion: this many times the rate before, and so many more, over at least this long.
EXPLODES, EXPLODES_MORE, LEAST_H = 3.0, 3.0, 1.0
#: Share of p below 0.001, as a multiple of it, that is no calibration any more.
BROKEN = 5.0
HOUR_NS = 3_600_000_000_000
PROBATION_NS = 24 * HOUR_NS
#: A finding so long before or after an incident is of it.
NEAR_NS = 120_000_000_000

Verdict = Literal["false alarm", "acknowledged"]


class Word(msgspec.Struct, frozen=True):
    """What the operator said of an incident: its series, detectors (heads), and when it was."""

    verdict: Verdict
    series: tuple[str, ...]
    detectors: tuple[str, ...]
    onset_ns: int
    ended_ns: int


class Rang(msgspec.Struct, frozen=True):
    """A finding that nobody was told of: head, series, when."""

    detector: str
    series: str
    since_ns: int
    last_ns: int


class Agreement(msgspec.Struct, frozen=True):
    """How findings agree with the operator's words: incidents that the shadow could see, rang at.

    The champion rang at all of them.
    """

    false_alarms: int = 0
    rang_falsely: int = 0
    acknowledged: int = 0
    rang_rightly: int = 0


class Decision(msgspec.Struct, frozen=True):
    """Whether a shadow takes over: the reasons against it, and the figures."""

    reasons: tuple[str, ...]
    figures: Mapping[str, float | int | None]

    @property
    def passed(self) -> bool:
        """Whether nothing is against it."""
        return not self.reasons


def decide(
    champion: Figures, shadow: Figures, agreement: Agreement, *, series: int, calibrated: bool
) -> Decision:
    """Compare a shadow with the champion over the same ticks.

    ``calibrated`` is False for what has no tail probabilities: rules of the operator's own.
    """
    reasons: list[str] = []
    if calibrated:
        reasons += _calibration(champion, shadow)
    reasons += _stability(champion, shadow, series)
    reasons += _feedback(agreement)
    return Decision(tuple(reasons), _listed(champion, shadow, agreement))


def agreement(words: Iterable[Word], rang: Sequence[Rang], heads: Iterable[str]) -> Agreement:
    """Count at which incidents of a detector a shadow rang; ``words`` are those it could see."""
    counts = dict.fromkeys(("false", "rang falsely", "right", "rang rightly"), 0)
    mine = set(heads)
    for word in words:
        if not mine & set(word.detectors):
            continue
        kind = "false" if word.verdict == "false alarm" else "right"
        counts[kind] += 1
        found = any(
            one.series in word.series
            and one.since_ns <= word.ended_ns + NEAR_NS
            and one.last_ns >= word.onset_ns - NEAR_NS
            for one in rang
        )
        counts["rang falsely" if kind == "false" else "rang rightly"] += found
    return Agreement(*counts.values())


def explodes(before_per_h: float, findings: int, since_ns: int, now_ns: int) -> str:
    """Return why the rate of findings since a promotion is too high; empty when it is not."""
    hours = max((now_ns - since_ns) / HOUR_NS, LEAST_H)
    allowed = EXPLODES * before_per_h * hours + EXPLODES_MORE
    if findings <= allowed:
        return ""
    return (
        f"{findings} findings in {hours:.1f} h since its promotion; "
        f"{before_per_h * hours:.1f} would have been usual"
    )


def miscalibrated(figures: Figures) -> str:
    """Return why the p of an hour mean nothing any more; empty when they do."""
    expected = 0.001 * figures.scored
    if expected < EXPECTED_LEAST or figures.below3 <= BROKEN * expected:
        return ""
    times = figures.below3 / expected
    return f"p was below 0.001 {times:.1f} times as often as it should be, for an hour"


def _calibration(champion: Figures, shadow: Figures) -> list[str]:
    reasons = []
    for level, mine, its in (
        (0.01, shadow.below2, champion.below2),
        (0.001, shadow.below3, champion.below3),
    ):
        if shadow.scored * level < EXPECTED_LEAST:
            continue
        off = _off(mine, shadow.scored, level)
        if off > math.log(FACTOR) and off >= _off(its, champion.scored, level):
            share = mine / shadow.scored
            reasons.append(
                f"p is below {level:g} in {share:.2%} of its scores, the champion's in "
                f"{its / max(champion.scored, 1):.2%}"
            )
    return reasons


def _off(count: int, scored: int, level: float) -> float:
    """Return how far a share is from its level: the logarithm of the factor."""
    if not scored:
        return math.inf
    return abs(math.log(max(count, 0.5) / scored / level))


def _stability(champion: Figures, shadow: Figures, series: int) -> list[str]:
    reasons = []
    if shadow.infinite:
        reasons.append(f"{shadow.infinite} of its scores are infinite")
    if shadow.findings > MORE * champion.findings + ONE_MORE:
        reasons.append(f"{shadow.findings} findings, the champion had {champion.findings}")
    storm = max(STORM_LEAST, STORM_PART * series)
    if shadow.storm > storm and shadow.storm > champion.storm:
        reasons.append(f"{shadow.storm} findings within a minute")
    if shadow.coverage < COVERAGE_PART * champion.coverage:
        reasons.append(
            f"it has an opinion on {shadow.coverage:.0%} of the series, "
            f"the champion on {champion.coverage:.0%}"
        )
    return reasons


def _feedback(said: Agreement) -> list[str]:
    missed = said.acknowledged - said.rang_rightly
    if missed:
        return [f"it missed {missed} of {said.acknowledged} incidents that were acknowledged"]
    return []


def _listed(champion: Figures, shadow: Figures, said: Agreement) -> dict[str, float | int | None]:
    listed: dict[str, float | int | None] = {
        "seconds": round((shadow.last_ns - shadow.since_ns) / 1e9),
        "ticks": shadow.ticks,
        "scored": shadow.scored,
    }
    for name, one in (("", shadow), ("champion_", champion)):
        listed[name + "p_below_0.01"] = _share(one.below2, one.scored)
        listed[name + "p_below_0.001"] = _share(one.below3, one.scored)
        listed[name + "findings"] = one.findings
        listed[name + "storm"] = one.storm
        listed[name + "infinite"] = one.infinite
        listed[name + "coverage"] = one.coverage
    listed |= msgspec.to_builtins(said)
    return listed


def _share(count: int, scored: int) -> float | None:
    return round(count / scored, 6) if scored else None
