"""Ways in which the detectors might be changed, to be tried on a capture: no part of the product.

``judge --try NAME`` takes them over before the replay; the figures with and without say what each
is worth. What proved itself belongs into the detectors, and then goes from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from vedette.logs import novelty, rhythm, slot_watch
from vedette.logs.digest import Digest
from vedette.logs.entry import Severity
from vedette.logs.levels import severity_of_body

_TROUBLE = re.compile(
    r"(?i)fail|error|cannot|can't|could not|unable|denied|refused|\blost\b|time[ds]?.?out|attack"
    r"|fatal|crash|abort|exceed|exhaust|too many|not permitted|does not exist|no matching|\bslow\b"
)


def body_severity() -> None:
    """Ask the message how grave it is where the header does not say: ``error: accept: ...``."""
    take = Digest.take
    known: dict[bytes, Severity] = {}

    def taken(self: Digest, batch: Any, now_ns: int) -> None:
        severities = batch.columns.severities
        for row, body in enumerate(batch.columns.bodies):
            if not severities[row]:
                start = body[:40]
                if start not in known:
                    known[start] = severity_of_body(body)
                severities[row] = known[start]
        take(self, batch, now_ns)

    Digest.take = taken  # type: ignore[method-assign]


def trouble_words() -> None:
    """Give lines below error whose words tell of trouble a rarity of their own, and 3 nats."""

    def judge(
        self: novelty.Novelty, now_s: float, text: str, severity: Severity, *, calm: bool
    ) -> float:
        danger = novelty.is_danger(text)
        grade = novelty._grade(severity)
        trouble = severity < Severity.ERROR and _TROUBLE.search(text[:400]) is not None
        own = "danger" if danger else f"{grade}-trouble" if trouble else grade
        rarity = self._rarity(own)
        quiet = calm or self.is_young(now_s)
        others = sum(one.decayed(now_s) for one in self.classes.values() if one is not rarity)
        found = (
            rarity.surprise(now_s, others / (others + novelty.OTHERS))
            + novelty.WEIGHTS[grade]
            + (novelty.DANGER if danger else 3.0 if trouble else 0.0)
        )
        rarity.note(now_s, novelty.CALM_TEACHES if quiet else 1.0)
        return found if danger or not quiet else 0.0

    novelty.Novelty.judge = judge  # type: ignore[method-assign]


def words_only() -> None:
    """Give lines below error whose words tell of trouble 3 nats, of the same rarity."""
    judge = novelty.Novelty.judge

    def judged(
        self: novelty.Novelty, now_s: float, text: str, severity: Severity, *, calm: bool
    ) -> float:
        found = judge(self, now_s, text, severity, calm=calm)
        trouble = severity < Severity.ERROR and _TROUBLE.search(text[:400]) is not None
        return found + 3.0 if found and trouble else found

    novelty.Novelty.judge = judged  # type: ignore[method-assign]


def small_bunches() -> None:
    """Take a warning to have come 30 times at once before, not 100; others 300, not 1000."""
    rhythm.FIRST_BUNCH = (
        (Severity.ERROR, 10.0),
        (Severity.WARN, 30.0),
        (Severity.UNKNOWN, 300.0),
    )


def no_counters() -> None:
    """Do not watch the numbers of slots that nearly always are above the one before."""
    numbers = slot_watch.SlotWatch._numbers
    runs: dict[str, list[float]] = {}

    def watched(self: slot_watch.SlotWatch, slot: Any, seen: Any, now_s: float) -> Any:
        found = numbers(self, slot, seen, now_s)
        run = runs.setdefault(f"{id(self)}/{seen.template_id}/{seen.slot}", [0.0, 0.0, 0.0])
        for one in seen.numbers:
            run[0] += one > run[2]
            run[1] += 1
            run[2] = one
        return [] if run[0] > 0.8 * run[1] else found

    slot_watch.SlotWatch._numbers = watched  # type: ignore[method-assign]


_STATUS = re.compile(rb'(HTTP/\d(?:\.\d)?" )([1-5])\d\d(?= )')
_CLASSES = {b"2": b"successful", b"3": b"redirected", b"4": b"rejected", b"5": b"failed"}


def status_class() -> None:
    """Make the class of a request's status a word of the template, not a number in a slot."""
    takes = Digest.take

    def taken(self: Digest, batch: Any, now_ns: int) -> None:
        bodies = batch.columns.bodies
        for row, body in enumerate(bodies):
            if b"HTTP/" in body:
                bodies[row] = _STATUS.sub(lambda one: one[1] + _CLASSES.get(one[2], b"other"), body)
        takes(self, batch, now_ns)

    Digest.take = taken  # type: ignore[method-assign]


TRIES: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        body_severity,
        trouble_words,
        words_only,
        small_bunches,
        no_counters,
        status_class,
    )
}
