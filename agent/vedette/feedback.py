"""Keep what the operator said of incidents: real, rung for nothing, or not to be heard of.

A *ruling* is about an incident that was: ``ack`` (seen, it was real) or ``false-alarm``. It
carries how strong each finding was, so what follows from it does not depend on the incident being
remembered. A *mute* is about what may come: the series of an incident, a pattern, a family, until
it expires. What both do to thresholds is in lenience.py.

Marks never change each other: of several rulings of one incident the newest holds, and taking it
back makes the one before it hold again. So undoing a mark is leaving it out, exactly.

Values without behaviour in time: every change returns new ``Marks``. Pure; bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import lru_cache

import msgspec

from vedette.api import Incident, Series, Strength, Verdict, VerdictWord
from vedette.entities import family_of

#: Marks that are kept; what does nothing any more makes room first.
MARKS_MAX = 1_000
#: Characters of a note, of a name, and of a pattern.
NOTE_MAX, NAME_MAX, PATTERN_MAX = 500, 64, 256
#: The longest time of a mute that ends: ten years.
LONGEST_NS = 3_653 * 86_400_000_000_000
#: What is taken for the strength of findings whose own nobody kept.
UNKNOWN_RATIO = 1.5
#: How long a true incident matters to the budget of alarms, which looks back a week.
WEEK_NS = 7 * 86_400_000_000_000
#: A word with one of these is a pattern, not the id of an incident.
_OF_PATTERNS = frozenset("*?[{.")


class FeedbackError(ValueError):
    """The operator said something that cannot be done; the text says why and what can."""


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Something that was said: by whom, when (Unix ns), why; ``host``: where, empty for here."""

    number: int
    by: str
    time_ns: int
    note: str = ""
    host: str = ""


class Ruling(Mark, frozen=True, kw_only=True, omit_defaults=True, tag="ruling"):
    """What was said of an incident; the first of the ``strengths`` is what it was about."""

    word: VerdictWord
    incident: str
    title: str
    onset_ns: int
    ended_ns: int
    strengths: tuple[Strength, ...] = ()


class Mute(Mark, frozen=True, kw_only=True, omit_defaults=True, tag="mute"):
    """What is not to be heard of until ``expires_ns`` (0: for ever).

    A series is meant when all that is given holds for it: its key is one of ``series``, its key or
    its metric's name is like ``pattern``, it is of the family ``resource``.
    """

    expires_ns: int = 0
    incident: str = ""
    title: str = ""
    series: tuple[str, ...] = ()
    pattern: str = ""
    resource: str = ""

    def live(self, now_ns: int) -> bool:
        """Whether it has not expired."""
        return not self.expires_ns or now_ns < self.expires_ns

    @property
    def meant(self) -> str:
        """What it is about, for a person: ``series system.disk.*, resource disk``."""
        parts = [f"incident {self.incident}"] if self.incident else []
        parts += [f"series {self.pattern}"] if self.pattern else []
        parts += [f"resource {self.resource}"] if self.resource else []
        return ", ".join(parts)

    def matches(self, series: Series, key: str) -> bool:
        """Whether a series, and its key, is meant."""
        if self.series and key not in self.series:
            return False
        if self.resource and family_of(series.instrument) != self.resource:
            return False
        if not self.pattern:
            return True
        like = _compiled(self.pattern)
        return bool(like.match(key) or like.match(series.instrument.name))


AnyMark = Ruling | Mute


class Marks(msgspec.Struct, frozen=True):
    """All that was said and not taken back, oldest first, and the number of the next mark."""

    next_number: int = 1
    marks: tuple[AnyMark, ...] = ()

    # ------------------------------------------------------------ what holds

    def rulings(self) -> list[Ruling]:
        """Return the rulings that hold, oldest first: of an incident the newest."""
        newest: dict[tuple[str, str], Ruling] = {}
        for mark in self.marks:
            if isinstance(mark, Ruling):
                newest.pop((mark.host, mark.incident), None)
                newest[mark.host, mark.incident] = mark
        return sorted(newest.values(), key=lambda one: one.time_ns)

    def holds(self, mark: Ruling) -> bool:
        """Whether no newer ruling took the place of this one."""
        return self.of_incident(mark.incident, mark.host) == mark

    def of_incident(self, incident: str, host: str = "") -> Ruling | None:
        """Return the ruling that holds of an incident."""
        for mark in reversed(self.marks):
            if isinstance(mark, Ruling) and (mark.incident, mark.host) == (incident, host):
                return mark
        return None

    def verdict(self, incident: str) -> Verdict | None:
        """Return what was said of an incident of this host."""
        mark = self.of_incident(incident)
        return None if mark is None else Verdict(mark.word, mark.by, mark.time_ns, mark.note)

    def mutes(self, now_ns: int) -> list[Mute]:
        """Return the mutes that have not expired, oldest first."""
        return [one for one in self.marks if isinstance(one, Mute) and one.live(now_ns)]

    def real(self, now_ns: int) -> tuple[tuple[int, int], ...]:
        """Return from when to when incidents of the last week were that are known to be real."""
        return tuple(
            (one.onset_ns, one.ended_ns)
            for one in self.rulings()
            if one.word == "ack" and not one.host and now_ns - one.ended_ns <= WEEK_NS
        )

    # ------------------------------------------------------------ what is said

    def judge(
        self, word: VerdictWord, incident: Incident, by: str, now_ns: int, note: str = ""
    ) -> tuple[Marks, Ruling]:
        """Return the marks with a ruling of an incident added, and it."""
        mark = Ruling(
            number=self.next_number,
            by=_short(by, NAME_MAX, "name"),
            time_ns=now_ns,
            note=_short(note, NOTE_MAX, "note"),
            word=word,
            incident=incident.id,
            title=incident.title,
            onset_ns=incident.onset_ns,
            ended_ns=now_ns if incident.resolved_ns is None else incident.resolved_ns,
            strengths=incident.strengths or _unknown(incident),
        )
        return self._with(mark, now_ns), mark

    def mute(
        self,
        by: str,
        now_ns: int,
        for_ns: int | None,
        *,
        incident: Incident | None = None,
        pattern: str = "",
        resource: str = "",
        note: str = "",
    ) -> tuple[Marks, Mute]:
        """Return the marks with a mute added, and it; ``for_ns`` None: for ever."""
        if incident is None and not pattern and not resource:
            raise FeedbackError("mute what? An incident, a pattern of series, or a resource.")
        if for_ns is not None and not 0 < for_ns <= LONGEST_NS:
            raise FeedbackError("a mute lasts up to ten years, or for ever")
        mark = Mute(
            number=self.next_number,
            by=_short(by, NAME_MAX, "name"),
            time_ns=now_ns,
            note=_short(note, NOTE_MAX, "note"),
            expires_ns=0 if for_ns is None else now_ns + for_ns,
            incident=incident.id if incident else "",
            title=incident.title if incident else "",
            series=incident.series if incident else (),
            pattern=_short(pattern, PATTERN_MAX, "pattern"),
            resource=_short(resource, NAME_MAX, "resource"),
        )
        return self._with(mark, now_ns), mark

    def undo(self, number: int) -> tuple[Marks, AnyMark]:
        """Return the marks without one of them, and that one."""
        for mark in self.marks:
            if mark.number == number:
                return self._without([mark]), mark
        raise FeedbackError(f"there is no mark {number}; `vedette incidents feedback` lists them")

    def unmute(self, wanted: str, now_ns: int) -> tuple[Marks, list[Mute]]:
        """Return the marks without the mutes meant: by number, pattern, resource or incident."""
        live = self.mutes(now_ns)
        found = [one for one in live if wanted == str(one.number)] or [
            one
            for one in live
            if wanted in (one.pattern, one.resource) or (one.incident.startswith(wanted) and wanted)
        ]
        if not found:
            told = "; ".join(f"{one.number}: {one.meant}" for one in live[-5:])
            raise FeedbackError(
                f"no mute is called {wanted!r}; " + (f"muted now: {told}" if told else "none is")
            )
        return self._without(found), found

    def merge(self, others: Iterable[AnyMark], now_ns: int) -> tuple[Marks, list[AnyMark]]:
        """Return the marks with those of elsewhere that are not known yet, and these."""
        known = {_identity(mark) for mark in self.marks}
        merged, added = self, list[AnyMark]()
        for mark in others:
            if _identity(mark) not in known:
                known.add(_identity(mark))
                own = msgspec.structs.replace(mark, number=merged.next_number)
                merged = merged._with(own, now_ns)
                added.append(own)
        return merged, added

    def update(self, mark: AnyMark) -> Marks:
        """Return the marks with one of them, known by its number, in another form."""
        marks = tuple(mark if one.number == mark.number else one for one in self.marks)
        return msgspec.structs.replace(self, marks=marks)

    def _with(self, mark: AnyMark, now_ns: int) -> Marks:
        marks = list(self.marks)
        if len(marks) >= MARKS_MAX:
            marks.remove(self._least(now_ns))
        # By time, not by number: what comes from elsewhere was said before.
        marks.append(mark)
        marks.sort(key=lambda one: one.time_ns)
        return Marks(self.next_number + 1, tuple(marks))

    def _without(self, gone: Sequence[AnyMark]) -> Marks:
        return msgspec.structs.replace(
            self, marks=tuple(one for one in self.marks if one not in gone)
        )

    def _least(self, now_ns: int) -> AnyMark:
        """Return the mark that makes room: one that does nothing, or else the oldest ruling."""
        holding = {one.number for one in self.rulings()}
        idle = (
            mark
            for mark in self.marks
            if (not mark.live(now_ns) if isinstance(mark, Mute) else mark.number not in holding)
        )
        oldest = (mark for mark in self.marks if isinstance(mark, Ruling))
        found = next(idle, None) or next(oldest, None)
        if found is None:
            raise FeedbackError(f"{MARKS_MAX} mutes are in force, no more are kept; take some back")
        return found


def is_pattern(target: str) -> bool:
    """Whether a word means series rather than an incident."""
    return bool(_OF_PATTERNS & set(target))


def chosen(incidents: Sequence[Incident], wanted: str) -> Incident:
    """Return the incident meant by its id, by the beginning of it, or by ``last``."""
    if wanted == "last":
        if not incidents:
            raise FeedbackError("there is no incident yet")
        return max(incidents, key=lambda one: one.opened_ns)
    exact = [one for one in incidents if one.id == wanted]
    found = exact or [one for one in incidents if wanted and one.id.startswith(wanted)]
    if not found:
        raise FeedbackError(
            f"no incident {wanted!r} is known; `vedette incidents list --all` names them"
        )
    if len(found) > 1:
        names = ", ".join(one.id for one in found[:5])
        raise FeedbackError(f"{wanted!r} is the beginning of several incidents: {names}")
    return found[0]


def _unknown(incident: Incident) -> tuple[Strength, ...]:
    return tuple(
        Strength(key, head, UNKNOWN_RATIO) for key in incident.series for head in incident.detectors
    )


def _identity(mark: AnyMark) -> tuple[str, ...]:
    """Return what two copies of one mark have in common, whatever number and host they bear."""
    about = (mark.word, "") if isinstance(mark, Ruling) else ("mute", mark.pattern)
    return (str(mark.time_ns), mark.by, *about, mark.incident, getattr(mark, "resource", ""))


def _short(text: str, most: int, what: str) -> str:
    if len(text) > most:
        raise FeedbackError(f"the {what} is longer than {most} characters")
    return text


@lru_cache(maxsize=MARKS_MAX)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
