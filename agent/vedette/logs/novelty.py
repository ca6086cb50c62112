"""Say how strange a template is that was never seen before.

The rate of new templates is that of their class (``surprise.Rarity``): information, warnings,
errors, and texts that never mean well; words of trouble in what is called neither make classes of
their own. So a source that invents an information each minute can still surprise with its first
error, and one that invents errors cannot. (Of many inventions without an error one might have been
one: that much, and no more, is taken over from the other classes.) What a person cares about enters
as weights in nats, the logarithm of how much likelier such a line is to be worth a look.

A warning or an error that is new and comes again and again in its first minute is a bit the
stranger: by ``ln(n) / 2`` for n lines, at most ``REPEATED_MOST``, as many come in bunches anyway.

Quiet while the source is young and during a calm that the caller declares (a deploy, a restart),
but for the texts that never mean well: out of memory after a deploy is what one wants to know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from vedette.logs.entry import Severity
from vedette.logs.signals import Fresh
from vedette.logs.surprise import RINGS, Rarity

#: A source this young, in seconds and lines, invents by nature; one that says little, an error log,
#: is known after a time all the same: that it was silent is what is known of it.
YOUNG_S, YOUNG_LINES, KNOWN_S = 600.0, 200, 3600.0
#: What a first time teaches while the source is young or calm was declared.
CALM_TEACHES = 0.1
#: So many inventions of other classes make half of one of this.
OTHERS = 50.0
#: Nats by which a class is worth more or less than its rate says.
WEIGHTS = {"detail": -3.0, "plain": -1.0, "warning": 1.0, "error": 4.0, "fatal": 6.0}
#: The same for a text that never means well, on top.
DANGER = 8.0
_DANGER = re.compile(
    r"out of memory|\boom\b|oom-kill|cannot allocate memory|segfault|segmentation fault"
    r"|kernel panic|core dumped|no space left|disk full|input/output error|\bi/o error"
    r"|corrupt|deadlock|stack overflow|heap space|too many open files|read-only file system"
    r"|hung task|blocked for more than|soft lockup|hard lockup|nvrm: xid|uncorrectable"
    r"|(?:terminated|killed|crashed) by signal|bug report start"
    r"|code=(?:killed|dumped)|not properly shut down"
    r"|split.?brain|data loss|checksum mismatch|assertion failed|illegal memory access",
    re.IGNORECASE,
)
#: Nats for words of trouble in a line that its writer does not call an error: many programs call
#: nothing so. Such lines have a rarity of their own, or the banners of a start would use it up.
TROUBLE = 3.0
_TROUBLE = re.compile(
    r"fail|error|cannot|can't|could not|unable|denied|refused|\blost\b|time[ds]?.?out|attack"
    r"|fatal|crash|abort|exceed|exhaust|too many|not permitted|does not exist|no matching|\bslow\b",
    re.IGNORECASE,
)
#: Texts are looked through up to here.
_LOOK = 2000
_TROUBLE_LOOK = 400


def is_danger(text: str) -> bool:
    """Say whether a text is of those that never mean well."""
    return _DANGER.search(text, 0, _LOOK) is not None


#: For how many seconds the lines of a new template add to its surprise, and of how many templates.
REPEATS_S, MAX_REPEATED = 60.0, 32
REPEATED_MOST = 1.5
#: Less surprising ones are let go of.
REPEATED_LEAST = RINGS / 2


class Repeated(msgspec.Struct):
    """A template that is new: since when, how strange, and how many lines it has had."""

    since_s: float
    score: float
    text: str
    lines: int = 0

    @property
    def total(self) -> float:
        """How strange it is by now, in nats."""
        return self.score + min(math.log(max(self.lines, 1)) / 2, REPEATED_MOST)


class Repeats:
    """The new templates of the last minute that are grave."""

    def __init__(self) -> None:
        self._new: dict[int, Repeated] = {}

    def add(self, now_s: float, fresh: Fresh, score: float) -> None:
        """Take note of a new template."""
        grave = fresh.severity >= Severity.WARN and score >= REPEATED_LEAST
        if grave and len(self._new) < MAX_REPEATED:
            self._new[fresh.template_id] = Repeated(now_s, score, fresh.text)

    def observe(self, now_s: float, counts: Mapping[int, int]) -> list[tuple[int, Repeated]]:
        """Count the lines of a tick; return the new templates that had some."""
        if not self._new:
            return []
        for template in [one for one, new in self._new.items() if now_s - new.since_s > REPEATS_S]:
            del self._new[template]
        found = [(one, new) for one, new in self._new.items() if one in counts]
        for template, new in found:
            new.lines += counts[template]
        return found

    def forget(self, template: int) -> None:
        """Let go of a template."""
        self._new.pop(template, None)


class Novelty(msgspec.Struct):
    """How often a source invents templates, by class."""

    born_s: float
    lines: int = 0
    classes: dict[str, Rarity] = {}

    def judge(self, now_s: float, text: str, severity: Severity, *, calm: bool) -> float:
        """Return the surprise of a new template in nats, and learn that there was one."""
        danger = is_danger(text)
        grade = _grade(severity)
        trouble = severity < Severity.ERROR and _TROUBLE.search(text, 0, _TROUBLE_LOOK) is not None
        own = f"{grade}-trouble" if trouble else grade
        rarity = self._rarity("danger" if danger else own)
        quiet = calm or self.is_young(now_s)
        others = sum(one.decayed(now_s) for one in self.classes.values() if one is not rarity)
        found = (
            rarity.surprise(now_s, others / (others + OTHERS))
            + WEIGHTS[grade]
            + (DANGER if danger else TROUBLE if trouble else 0.0)
        )
        rarity.note(now_s, CALM_TEACHES if quiet else 1.0)
        return found if danger or not quiet else 0.0

    def is_young(self, now_s: float) -> bool:
        """Say whether the source is too young to be surprised by what it shows first."""
        age_s = now_s - self.born_s
        return age_s < YOUNG_S or (self.lines < YOUNG_LINES and age_s < KNOWN_S)

    def _rarity(self, grade: str) -> Rarity:
        found = self.classes.get(grade)
        if found is None:
            found = self.classes[grade] = Rarity(self.born_s)
        return found


def _grade(severity: Severity) -> str:
    if severity >= Severity.FATAL:
        return "fatal"
    if severity >= Severity.ERROR:
        return "error"
    if severity >= Severity.WARN:
        return "warning"
    return "detail" if Severity.UNKNOWN < severity < Severity.INFO else "plain"
