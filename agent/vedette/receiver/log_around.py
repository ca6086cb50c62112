"""Find what the logs said around a moment: new lines, much more of some, and errors. Pure.

The span is ``SPAN_NS`` to both sides, in whole windows. A template is *new* when its first line is
in the span (``LATE_NS`` earlier at most: lines are read after they were written), none was in the
hour before, and the host was known well before. It is *more* when it had ``MORE_LEAST`` lines at
least, and more than three times those that the hour before lets expect, beyond three standard
deviations of a count that is as often as that (Poisson).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from vedette.receiver.limits import SECOND_NS

SPAN_NS = 120 * SECOND_NS
#: What is usual is what was in this time before the span.
BEFORE_NS = 3600 * SECOND_NS
#: Of a host known for less than this, everything is new.
KNOWN_NS = 600 * SECOND_NS
LATE_NS = 60 * SECOND_NS
ERROR = 17
MORE_LEAST, MORE_TIMES, MORE_DEVIATIONS = 5, 3.0, 3.0
SAID_MAX = 60

Rows = Callable[[str, tuple[Any, ...]], list[Any]]

_SPAN = """
SELECT min(start), max(end) FROM log_window WHERE host = ? AND hours = 0 AND end > ? AND start < ?
"""
_COUNTS = """
SELECT template, sum(count) FROM log_window w JOIN log_count c ON c.window = w.id
WHERE host = ? AND hours = 0 AND end > ? AND end <= ? GROUP BY template
"""
_FACTS = """
SELECT t.id, s.name, t.uid, t.body, t.severity, t.first FROM log_template t
JOIN log_source s ON s.id = t.source WHERE t.host = ? AND t.newest > ? AND t.first <= ?
"""


class Said(msgspec.Struct, frozen=True):
    """A template that stood out, and why: ``new``, ``more``, ``error``; times in ns.

    ``usual`` is how many lines the hour before lets expect, None when nothing is known of it.
    """

    source: str
    uid: str
    text: str
    severity: int
    first_ns: int
    count: int
    usual: float | None
    reasons: tuple[str, ...]


class Around(msgspec.Struct, frozen=True):
    """What stood out in the windows from ``from_ns`` to ``to_ns``; ``omitted`` did so too."""

    from_ns: int
    to_ns: int
    said: tuple[Said, ...]
    omitted: int = 0


def around(rows: Rows, host: int, onset_ns: int) -> Around | None:
    """Return what stood out around a moment; None when no window is kept of it."""
    ((from_ns, to_ns),) = rows(_SPAN, (host, onset_ns - SPAN_NS, onset_ns + SPAN_NS))
    if from_ns is None:
        return None
    ((began,),) = rows("SELECT began FROM log_host WHERE id = ?", (host,))
    counts = dict(rows(_COUNTS, (host, from_ns, to_ns)))
    before = dict(rows(_COUNTS, (host, from_ns - BEFORE_NS, from_ns)))
    known_ns = min(from_ns - began, BEFORE_NS)
    share = (to_ns - from_ns) / known_ns if known_ns >= KNOWN_NS else None
    found = []
    for number, source, uid, text, severity, first_ns in rows(_FACTS, (host, from_ns, to_ns)):
        count = counts.get(number, 0)
        usual = None if share is None else before.get(number, 0) * share
        fresh = number not in before and first_ns > from_ns - LATE_NS
        reasons = _reasons(count, usual, severity, fresh)
        if reasons:
            found.append(Said(source, uid, text, severity, first_ns, count, usual, reasons))
    found.sort(key=lambda one: (-one.severity, "new" not in one.reasons, -one.count, one.uid))
    return Around(from_ns, to_ns, tuple(found[:SAID_MAX]), max(len(found) - SAID_MAX, 0))


def _reasons(count: int, usual: float | None, severity: int, fresh: bool) -> tuple[str, ...]:
    if not count:
        return ()
    reasons = []
    if usual is not None:
        if fresh:
            reasons.append("new")
        elif count >= MORE_LEAST and count > MORE_TIMES * usual + MORE_DEVIATIONS * math.sqrt(
            usual
        ):
            reasons.append("more")
    if severity >= ERROR:
        reasons.append("error")
    return tuple(reasons)
