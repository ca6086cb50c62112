"""Make a few incidents of many findings: what belongs to one fault is one, what does not is two.

A finding starts a *case*, or joins the one it has the closest tie to (cases.py). Until
``gather_ns`` have passed the case is not told to anyone: findings that come in meanwhile join it,
and a fresh reading of who uses the resource is asked for, so that the incident opens once,
complete, and names its suspect. Before it is told it may still prove to be part of another case:
because what came in later explains it, or because one program is to blame for both. A side effect
that grows until its resource is used up becomes a case of its own.

A case is resolved when none of its findings has been open for ``resolve_after_ns``; until then a
finding of the same thing re-enters it, so that what flaps is one incident.

Pure: time is an argument; owned by the pipeline thread. Bounded: ``MAX_CASES`` cases,
``MAX_MEMBERS`` findings a case, ``keep`` resolved incidents remembered, the newest
``evidence.KEPT_WHOLE`` of them with all their evidence.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from typing import Literal

import msgspec

from vedette import evidence, suspects, twins, wording
from vedette.api import Event, Finding, Incident, Severity, Usage
from vedette.blame import Blame
from vedette.cases import (
    CLOSE_NS,
    LAG_NS,
    MAX_MEMBERS,
    Case,
    Key,
    go_on_in,
    is_large,
    move,
    subject,
)
from vedette.decide import FindingChange, worse
from vedette.entities import place_of
from vedette.relations import Tie, tie
from vedette.severity import grade
from vedette.together import Together

#: An open incident is told anew at most this often, unless it became graver.
UPDATE_NS = 15_000_000_000
#: How often severity and suspects are looked at while nothing opens or closes.
GRADE_NS = 5_000_000_000
MAX_CASES = 50
#: Onsets of cases for which one program can be to blame lie this close together.
BLAME_SPAN_NS = CLOSE_NS[Tie.SIDE][0]


class IncidentChange(msgspec.Struct, frozen=True):
    """An incident that opened, changed or was resolved, and what it was before."""

    change: Literal["opened", "updated", "resolved"]
    incident: Incident
    previous: Incident | None


#: How a small effect belongs to a case: for the first time, and when it comes again.
_SMALL = (Tie.SIDE, Tie.SAME)


class Correlator:
    """Keep the incidents of this host.

    ``twin`` maps the key of a series to that of the one it repeats (the same counter in another
    file, two that always move as one): what is told twice counts once. It may be set at any time.
    """

    def __init__(
        self,
        *,
        gather_ns: int = 3_000_000_000,
        resolve_after_ns: int = 60_000_000_000,
        keep: int = 200,
        zone: tzinfo | None = None,
        twin: Callable[[str], str] = twins.known,
    ) -> None:
        self.gather_ns = gather_ns
        self.resolve_after_ns = resolve_after_ns
        self.zone = zone
        #: What this host has shown to turn strange together; saved and undone by its owner.
        self.together = Together()
        #: Findings that could not be kept because of the bounds.
        self.dropped = 0
        self._cases: list[Case] = []
        self._resolved: deque[Incident] = deque(maxlen=keep)
        self._blame = Blame(zone=zone, twin=twin)
        #: Which model server uses which GPU; its owner has it look at the series there are.
        self.tenants = self._blame.tenants

    @property
    def twin(self) -> Callable[[str], str]:
        """What maps a series to the one it repeats."""
        return self._blame.twin

    @twin.setter
    def twin(self, twin: Callable[[str], str]) -> None:
        self._blame.twin = twin

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Open incidents and the newest resolved ones, newest first."""
        open_ = [case.told for case in self._cases if case.told is not None]
        known = [*open_, *self._resolved]
        return tuple(sorted(known, key=lambda one: one.opened_ns, reverse=True))

    @property
    def active(self) -> bool:
        """Whether anything is going on: cases, told or not."""
        return bool(self._cases)

    def restore(self, incidents: Iterable[Incident], now_ns: int) -> None:
        """Take over incidents of an earlier run; open ones stay open until they prove quiet."""
        for incident in sorted(incidents, key=lambda one: one.opened_ns):
            if incident.state == "resolved":
                self._remember(incident)
                continue
            case = Case(incident.opened_ns)
            case.told = incident
            case.quiet_since_ns = now_ns
            self._cases.append(case)

    def observe(self, usages: Sequence[Usage]) -> None:
        """Take one scan of who uses what."""
        told = [case.told.suspects for case in self._cases if case.told is not None]
        blamed = {one.name for named in told for one in named if one.kind == "process"}
        self._blame.usages.observe(usages, quiet=not self._cases, blamed=blamed)

    def note(self, event: Event) -> None:
        """Take an event that may be the cause of an incident before or after it."""
        self._blame.events.note(event)

    def wanted(self) -> set[str]:
        """Return the resources for which a fresh reading of usage would help now."""
        waiting = [case for case in self._cases if case.told is None]
        places = [place for case in waiting for place in case.places]
        return suspects.wanted([one.family for one in places], [one.metric for one in places])

    def step(self, tick_ns: int, changes: Sequence[FindingChange]) -> list[IncidentChange]:
        """Take the changes of findings at one tick; return what became of incidents."""
        for change in changes:
            self._take(change, tick_ns)
        told: list[IncidentChange] = []
        for case in list(self._cases):
            told += self._advance(case, tick_ns)
        return told

    def attach(self, incident: Incident) -> None:
        """Keep an incident that was told with its evidence added."""
        for case in self._cases:
            if case.told is not None and case.told.id == incident.id:
                case.told = incident
                return
        for index, known in enumerate(self._resolved):
            if known.id == incident.id:
                self._resolved[index] = incident
                return

    def band(self, incident_id: str, series: str) -> tuple[float, float]:
        """Return the band that was expected of a series of an incident; NaN where unknown."""
        for case in self._cases:
            if case.told is not None and case.told.id == incident_id:
                for finding in case.members.values():
                    if finding.series.key == series:
                        return finding.low, finding.high
        return math.nan, math.nan

    # ------------------------------------------------------------ which case a finding belongs to

    def _take(self, change: FindingChange, tick_ns: int) -> None:
        finding = change.finding
        key = (finding.detector, finding.series.key)
        for case in self._cases:
            if key in case.open:
                self._continue(case, key, change, tick_ns)
                return
        if change.change == "closed":
            return
        home = self._home(finding)
        again = home is not None and home.comes_again(key, finding, self.resolve_after_ns)
        beside = home if again else None
        if home is None or beside is not None:
            home = self._new_case(finding, tick_ns)
            if home is not None:
                home.beside = beside
        if home is None or (len(home.members) >= MAX_MEMBERS and key not in home.members):
            self.dropped += 1
            return
        home.put(key, finding)
        home.open.add(key)
        home.graded_ns = 0

    def _continue(self, case: Case, key: Key, change: FindingChange, tick_ns: int) -> None:
        finding = change.finding
        if case.members[key].severity != finding.severity or change.change == "closed":
            case.graded_ns = 0
        outgrown = change.change != "closed" and case.outgrown(key, finding)
        leapt = case.leaps(key, finding)
        if leapt and change.change != "closed" and self._leap(case, key, finding, tick_ns):
            return
        case.put(key, finding)
        if change.change == "closed":
            case.open.discard(key)
            if not case.open:
                case.quiet_since_ns = tick_ns
        elif outgrown:
            home = self._new_case(finding, tick_ns)
            if home is not None:
                move(case, home, [key], tick_ns)

    def _leap(self, case: Case, key: Key, finding: Finding, tick_ns: int) -> bool:
        """Let a finding that became much larger go on in a case of its own, beside its old one."""
        began = msgspec.structs.replace(finding, since_ns=tick_ns)
        alike = [one for one in self._cases if one.beside is case]
        home = next((one for one in alike if self._tie(one, began) is not Tie.NONE), None)
        if home is None:
            home = self._new_case(began, tick_ns)
            if home is None:
                return False
            home.beside = case
        home.leapt = True
        go_on_in(case, home, key, finding, tick_ns)
        return True

    def _home(self, finding: Finding) -> Case | None:
        """Return the case a new finding has the closest tie to."""
        ties = [(self._tie(case, finding), case) for case in self._cases]
        near = [pair for pair in ties if pair[0] is not Tie.NONE]
        if not near:
            return None
        return max(near, key=lambda pair: (pair[0], -_apart(pair[1], finding)))[1]

    def _tie(self, case: Case, finding: Finding) -> Tie:
        """Return how a finding belongs to a case; what is the work of somebody else does not."""
        found = case.tie_to(finding, self.together, self.tenants)
        is_effect = place_of(finding.series).family not in case.families
        if found in _SMALL and is_effect and self._blame.is_anothers(finding, case):
            return Tie.NONE
        return found

    def _new_case(self, finding: Finding, tick_ns: int) -> Case | None:
        """Start a case; what other cases took for a side effect of theirs is rather of this one."""
        if len(self._cases) >= MAX_CASES:
            return None
        started = Case(tick_ns)
        place = place_of(finding.series)
        for case in self._cases:
            if place.family in case.families or not is_large(finding):
                continue
            span = CLOSE_NS[Tie.KIN][0]
            keys = [
                key
                for key, one in case.members.items()
                if place_of(one.series).family == place.family
                and tie(place, place_of(one.series)) is not Tie.NONE
                and abs(one.since_ns - finding.since_ns) <= span
            ]
            move(case, started, keys, tick_ns)
        self._cases.append(started)
        return started

    def _relative(self, case: Case) -> Case | None:
        """Return the case that one about to be told is rather a part of."""
        for other in self._cases:
            if other is case or not other.members:
                continue
            own = [one for one in case.members.values() if case.is_core(one)]
            if other is case.beside and self._blame.is_another_matter(case, other):
                continue
            if all(self._tie(other, one) > Tie.STRANGE for one in own):
                return other
            near = abs(other.onset_ns - case.onset_ns) <= BLAME_SPAN_NS
            if near and self._blame.one_culprit(case, other):
                return other
        return None

    # ------------------------------------------------------------ what becomes of a case

    def _advance(self, case: Case, tick_ns: int) -> list[IncidentChange]:
        if case.told is None:
            return self._open(case, tick_ns)
        previous = case.told
        if not case.open:
            if tick_ns - case.quiet_since_ns < self.resolve_after_ns:
                return []
            last = [finding.last_ns for finding in case.members.values()]
            incident = self._tell(case, tick_ns, max(last, default=case.quiet_since_ns))
            self._teach(case, incident.id)
            self._cases.remove(case)
            self._remember(incident)
            return [IncidentChange("resolved", incident, previous)]
        look = tick_ns - case.graded_ns >= GRADE_NS
        if look:
            case.graded_ns = tick_ns
        graver = look and self._severity(case, tick_ns) != previous.severity
        due = tick_ns - previous.updated_ns >= UPDATE_NS
        if graver or (due and self._has_news(case, tick_ns, look=look)):
            incident = self._tell(case, tick_ns, None)
            return [IncidentChange("updated", incident, previous)]
        return []

    def _open(self, case: Case, tick_ns: int) -> list[IncidentChange]:
        if tick_ns - case.created_ns < self.gather_ns:
            return []
        if not case.open:
            self._cases.remove(case)  # over before it was told: nothing for a person
            return []
        relative = self._relative(case)
        if relative is not None:
            room = MAX_MEMBERS - len(relative.members)
            keys = list(case.members)
            self.dropped += max(0, len(keys) - room)
            move(case, relative, keys[:room], tick_ns)
            relative.kept.update(keys[:room])
            if case.leapt:
                relative.settle(keys[:room])
            self._cases.remove(case)
            return []
        if case.beside is not None:
            self._take_along(case.beside, case)
            case.beside = None  # it is told apart, and the other may be forgotten
        return [IncidentChange("opened", self._tell(case, tick_ns, None), None)]

    def _take_along(self, old: Case, case: Case) -> None:
        """Let go on in a case what is open of the fault itself in the one beside it.

        All of it where it leapt, otherwise what began with it.
        """
        since = case.onset_ns - LAG_NS
        for key in [key for key in old.open if old.is_core(old.members[key])]:
            finding = old.members[key]
            if not case.leapt and finding.since_ns < since:
                continue
            began = msgspec.structs.replace(finding, since_ns=case.onset_ns)
            if self._tie(case, began) is not Tie.NONE and key not in case.members:
                go_on_in(old, case, key, finding, case.onset_ns)

    def _has_news(self, case: Case, tick_ns: int, *, look: bool) -> bool:
        """Whether there is more to tell: findings, events, another suspect, the evidence's end."""
        if case.told is None or not case.members:
            return False
        complete = case.onset_ns + evidence.AFTER_NS
        if len(case.members) > case.told_members or case.told.updated_ns < complete <= tick_ns:
            return True
        return look and self._blame.has_news(case, self._cases)

    def _teach(self, case: Case, identity: str) -> None:
        """Learn what turned strange together, in this case and in those beside it."""
        if case.taught or not case.members:
            return
        onset, found = case.onset_ns, list(case.members.values())
        for other in self._cases:
            if other is case or other.told is None:
                continue
            near = [one for one in other.members.values() if _close(one.since_ns, onset)]
            other.taught = other.taught or bool(near)
            found += near
        found.sort(key=lambda one: one.since_ns)
        self.together.learn(identity, [subject(place_of(one.series)) for one in found])

    def _remember(self, incident: Incident) -> None:
        """Keep a resolved incident; of an older one less of the evidence."""
        self._resolved.append(incident)
        oldest_whole = len(self._resolved) - evidence.KEPT_WHOLE - 1
        if oldest_whole >= 0:
            self._resolved[oldest_whole] = evidence.thinned(self._resolved[oldest_whole])

    # ------------------------------------------------------------ how it is told

    def _tell(self, case: Case, tick_ns: int, ended_ns: int | None) -> Incident:
        """Word the incident as it is now."""
        before = case.told
        primary = case.primary()
        if primary is None:
            if before is None:
                raise ValueError("a case without findings cannot be told")
            incident = wording.ended(before, tick_ns, ended_ns, self.zone)
        else:
            over = before is not None and ended_ns is not None
            incident = wording.worded(
                case,
                primary,
                tick_ns=tick_ns,
                ended_ns=ended_ns,
                severity=self._severity(case, tick_ns if ended_ns is None else ended_ns),
                suspects=before.suspects
                if before and over
                else self._blame.of(case, primary, self._cases),
                taken={incident.id for incident in self.incidents},
                zone=self.zone,
            )
        case.told = incident
        case.told_members = len(case.members)
        return incident

    def _severity(self, case: Case, now_ns: int) -> Severity:
        before: Severity = case.told.severity if case.told is not None else "info"
        return worse(before, grade(list(case.members.values()), now_ns, self.twin))


def _apart(case: Case, finding: Finding) -> int:
    return abs(case.onset_ns - finding.since_ns)


def _close(one_ns: int, other_ns: int) -> bool:
    return abs(one_ns - other_ns) <= CLOSE_NS[Tie.SIDE][0]
