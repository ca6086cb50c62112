"""Keep the findings of one fault together, before and after it became an incident.

A finding belongs to a case when its place has a tie to one where the fault itself is
(relations.py), not to where it merely shows: or all of a host would hang together in the end. How
close in time their onsets must be depends on the tie; what this host has shown (together.py)
overrules what is known of hosts in general, but never that one thing is one thing. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from vedette import severity
from vedette.api import Finding, Incident
from vedette.entities import SAME_FAMILY, Entity, Place, place_of
from vedette.leaps import Reach
from vedette.relations import RELATIONS, Tie, core, ran_out, tie
from vedette.tenants import Tenants
from vedette.together import Together

Key = tuple[str, str]

#: For each tie, how far apart onsets may be, and how long after the first one of the case: effects
#: follow within a minute, as a rule; what runs out does so late; siblings fail at one moment.
CLOSE_NS = {
    Tie.STRANGE: (30_000_000_000, 120_000_000_000),
    Tie.SIDE: (30_000_000_000, 120_000_000_000),
    Tie.SIBLING: (10_000_000_000, 60_000_000_000),
    Tie.KIN: (60_000_000_000, 600_000_000_000),
}
#: An effect is not seen earlier than its cause by more than this: some collectors read every 10 s.
LAG_NS = 12_000_000_000
#: So long after it was last strange the same thing is still the same fault; what only showed a
#: fault of something else comes again sooner or is another matter.
LATE_NS, AGAIN_NS = 600_000_000_000, 60_000_000_000
MAX_MEMBERS = 200
#: From this part of its limit a series is no side effect of something else.
LARGE = 0.85
#: From this part of its limit a resource starves what depends on it.
USED_UP = 0.95
#: Families that only tell of what happens elsewhere.
_TELLERS = frozenset({"kernel", "log"})
#: Families that fill up: that is worse than the work of filling them.
_STOCKS = frozenset({"filesystem", "memory"})
_GRADES = {"info": 0, "warning": 1, "critical": 2}


class Case:
    """Findings that belong together. ``kept`` are those that stay though they are large.

    ``beside`` is the case whose matter this one's may be, told already; ``leapt`` says that it
    began because a series of that one became much stranger.
    """

    def __init__(self, created_ns: int) -> None:
        self.created_ns = created_ns
        self.members: dict[Key, Finding] = {}
        self.open: set[Key] = set()
        self.kept: set[Key] = set()
        self.beside: Case | None = None
        self.leapt = False
        self.quiet_since_ns = 0
        self.told: Incident | None = None
        self.told_members = 0
        self.graded_ns = 0
        #: Whether another case has already taught what turned strange together with this one.
        self.taught = False
        self._core: set[str] | None = None
        self._places: list[Place] = []
        self._reached: dict[Key, Reach] = {}
        self._since: dict[Key, int] = {}
        # When members became some: what comes again had begun before.
        self._first_ns: dict[Key, int] = {}

    @property
    def onset_ns(self) -> int:
        """When the first series turned strange."""
        known = [finding.since_ns for finding in self.members.values()]
        if self.told is not None:
            known.append(self.told.onset_ns)
        return min(known)

    @property
    def newest_onset_ns(self) -> int:
        """When the last of those that joined turned strange."""
        known = [finding.since_ns for finding in self.members.values()]
        return max(known) if known else self.onset_ns

    @property
    def families(self) -> set[str]:
        """The families of the fault itself."""
        if self._core is None:
            members = self.members.values()
            self._places = list(dict.fromkeys(place_of(one.series) for one in members))
            if not self._places and self.told is not None:
                self._places = [_remembered(self.told)]
            kinds = {(one.family, one.told): one for one in self._places}
            self._core = core(kinds.values())
        return self._core

    @property
    def places(self) -> list[Place]:
        """Where its findings are, the fault itself and where it shows."""
        _ = self.families
        return self._places

    def put(self, key: Key, finding: Finding) -> None:
        """Take a finding in, or its newer form."""
        if key not in self.members:
            self._core = None
            self._reached[key] = Reach(finding)
            self._first_ns[key] = finding.since_ns
        since_ns = max(finding.since_ns, self._since.get(key, 0))
        if since_ns != finding.since_ns:
            finding = msgspec.structs.replace(finding, since_ns=since_ns)
        self.members[key] = finding

    def put_from(self, key: Key, finding: Finding, since_ns: int) -> None:
        """Take in a finding that is a part of this from a time on only."""
        self._since[key] = since_ns
        self.put(key, finding)

    def since(self, key: Key) -> int:
        """Return from when on a member is a part of this."""
        return max(self.members[key].since_ns, self._since.get(key, 0))

    def remove(self, key: Key) -> Finding:
        """Let a finding go."""
        self._core = None
        self.open.discard(key)
        self._since.pop(key, None)
        del self._reached[key], self._first_ns[key]
        return self.members.pop(key)

    def settle(self, keys: Iterable[Key]) -> None:
        """Take how strange members are now for the level of this case: it is to be told anew."""
        self.told_members = 0
        for key in keys:
            self._reached[key] = Reach(self.members[key])

    def leaps(self, key: Key, finding: Finding) -> bool:
        """Say whether a member's newer form is rather a matter of its own (leaps.py).

        Only where nobody was troubled yet: what is a warning already becomes graver.
        """
        leapt = self._reached[key].follow(finding)
        return leapt and self.told is not None and self.told.severity == "info"

    def is_core(self, finding: Finding) -> bool:
        """Say whether a finding is of the fault itself, not of where it shows."""
        return place_of(finding.series).family in self.families

    def entities(self) -> tuple[str, ...]:
        """Return the things it is about, those of the fault itself first."""
        known = sorted(self.places, key=lambda one: one.family not in self.families)
        return tuple(dict.fromkeys(place.entity.label for place in known))

    def primary(self) -> Finding | None:
        """Return the finding the sentence is about; what has long been over is not."""
        newest = max((one.last_ns for one in self.members.values()), default=0)
        lately = [one for one in self.members.values() if newest - one.last_ns <= LATE_NS]
        return max(lately, key=self.weight, default=None)

    def weight(self, finding: Finding) -> tuple[bool, int, bool, bool, float, float]:
        """Rank findings: gravest, of the fault itself, nearest to a limit, strangest."""
        place = place_of(finding.series)
        own = place.family in self.families
        grade = severity.grade([finding], max(finding.last_ns, finding.since_ns))
        return (
            own or place.family not in _TELLERS,
            _GRADES[grade],
            own,
            place.family in _STOCKS and severity.is_shortage(finding),
            round(severity.impact(finding), 2),
            -math.log10(max(finding.p, 1e-30)),
        )

    def tie_to(self, finding: Finding, together: Together, tenants: Tenants) -> Tie:
        """Say how a new finding belongs to this case: ``NONE`` when it does not."""
        place = place_of(finding.series)
        if self.told is not None and not self.members and place.entity.label in self.told.entities:
            return Tie.SAME  # of an earlier run
        best = Tie.NONE
        goes_on = any(self.is_core(self.members[key]) for key in self.open)
        onset, newest, starving = self.onset_ns, self.newest_onset_ns, self._starving()
        for other in self.places:
            if other.family in self.families:
                found = self._tie(other, place, finding, starving)
                if other.family != place.family:
                    found = _as_learned(found, together.verdict(subject(place), subject(other)))
                if tenants.are_apart(place, other):
                    found = Tie.NONE
            elif other.entity == place.entity and other.told == place.told:
                # An effect that comes again, as long as what it is one of goes on.
                found = Tie.SAME if goes_on and not is_large(finding) else Tie.NONE
            else:
                continue
            if found <= best:
                continue
            if found is Tie.SAME:
                late = LATE_NS if other.family in self.families else AGAIN_NS
                timely = self._was_strange(place, finding.since_ns - late)
            else:
                timely = _is_close(found, finding.since_ns, onset, newest)
            best = found if timely else best
        return best

    def comes_again(self, key: Key, finding: Finding, calm_ns: int) -> bool:
        """Say whether a member of this case, which was told, begins anew after it was over.

        That is when it was calm for ``calm_ns``, whatever else is still open.
        """
        before = self.members.get(key)
        if self.told is None or before is None or not self.is_core(finding):
            return False
        return finding.since_ns - before.last_ns >= calm_ns

    def outgrown(self, key: Key, finding: Finding) -> bool:
        """Say whether a member's newer form has become too large to be a side effect."""
        if key in self.kept or not is_large(finding) or is_large(self.members[key]):
            return False
        if self.is_core(finding):
            return False
        place, starving = place_of(finding.series), self._starving()
        ties = [
            tie(other, place, starving=other.family in starving)
            for other in self.places
            if other.family in self.families
        ]
        return max(ties, default=Tie.NONE) is Tie.SIDE

    def _starving(self) -> set[str]:
        """Return the families that are used up, so that what depends on them suffers."""
        return {place_of(one.series).family for one in self.members.values() if _is_used_up(one)}

    def _tie(self, other: Place, place: Place, finding: Finding, starving: set[str]) -> Tie:
        """Say how a finding is tied to one place of the fault itself, in either direction."""
        if other.family == place.family:
            found = tie(other, place)
            apart = found is Tie.KIN and place.entity.name and self._has_rival(place)
            return Tie.NONE if apart else found
        effect = tie(other, place, starving=other.family in starving)
        if effect is Tie.STRANGE:
            # A plugin's family joins what is known, but is no bridge between what is.
            known = place.family in RELATIONS and bool(self.families & RELATIONS.keys())
            return Tie.NONE if known else effect
        if effect is Tie.SIDE and is_large(finding):
            effect = Tie.NONE
        cause = tie(place, other, starving=_is_used_up(finding))
        if cause is Tie.SIDE and not self._may_follow(other.family, finding.since_ns):
            cause = Tie.NONE
        return max(effect, cause)

    def _has_rival(self, place: Place) -> bool:
        """Say whether another thing of the kind is in this case, and this one is not."""
        of_kind = {
            one.entity.name
            for one in self.places
            if one.family == place.family and one.entity.kind == place.entity.kind
            if not place.endpoint or one.endpoint != place.endpoint
        }
        return bool(of_kind - {""}) and place.entity.name not in of_kind

    def _may_follow(self, family: str, since_ns: int) -> bool:
        """Say whether a family's findings may be a side effect of what began at a time."""
        return not any(
            is_large(one) or self._first_ns[key] < since_ns - LAG_NS
            for key, one in self.members.items()
            if place_of(one.series).family == family
        )

    def _was_strange(self, place: Place, since_ns: int) -> bool:
        """Say whether a thing has been strange since a time, or no finding tells when it was."""
        return not self.members or any(
            one.last_ns >= since_ns
            for one in self.members.values()
            if place_of(one.series).entity == place.entity
        )


def move(case: Case, other: Case, keys: Iterable[Key], tick_ns: int) -> None:
    """Move findings from one case to another."""
    for key in [key for key in keys if key in case.members]:
        is_open, since_ns = key in case.open, case.since(key)
        other.put_from(key, case.remove(key), since_ns)
        if is_open:
            other.open.add(key)
    other.graded_ns = 0
    if not case.open:
        case.quiet_since_ns = tick_ns


def go_on_in(case: Case, other: Case, key: Key, finding: Finding, since_ns: int) -> None:
    """Let an open finding go on in another case, and be over in this one."""
    case.open.discard(key)
    if not case.open:
        case.quiet_since_ns = since_ns
    other.put_from(key, finding, since_ns)
    other.open.add(key)
    other.graded_ns = 0


def _is_close(found: Tie, since_ns: int, onset_ns: int, newest_ns: int) -> bool:
    span, reach = CLOSE_NS[found]
    apart = min(abs(since_ns - newest_ns), abs(since_ns - onset_ns))
    return apart <= span and since_ns - onset_ns <= reach


def is_large(finding: Finding) -> bool:
    """Say whether a finding is a fault in its own right, whatever else goes on."""
    ruled, failed = severity.is_ruled(finding), severity.is_failure(finding)
    return ruled or failed or severity.impact(finding) >= LARGE


def _is_used_up(finding: Finding) -> bool:
    """Say whether a finding tells that its resource has run out."""
    full = severity.is_shortage(finding) and severity.impact(finding) >= USED_UP
    return full or ran_out(place_of(finding.series))


def subject(place: Place) -> str:
    """Return what is learned about a place: its family, and which thing of it."""
    return f"{place.family}/{place.entity.name}" if place.entity.name else place.family


def _as_learned(found: Tie, verdict: str) -> Tie:
    if verdict == "together":
        return max(found, Tie.KIN)
    return Tie.NONE if verdict == "apart" else found


def _remembered(told: Incident) -> Place:
    """Return the place of an incident of an earlier run, as far as it was kept."""
    family = SAME_FAMILY.get(told.resource, told.resource)
    kind, _, name = (told.entities[0] if told.entities else family).partition(" ")
    return Place(family=family, entity=Entity(kind, name), metric="")
