"""Make a few incidents of many findings: what belongs together in time and kind is one.

A finding starts a *case*. Until ``gather_ns`` have passed the case is not told to anyone: findings
that come in meanwhile join it, and a fresh reading of who uses the resource is asked for, so that
the incident opens once, complete, and names its suspect. Later findings join an open case when they
are of the same resource, or of a related one and began within ``SPAN_NS`` of its newest finding's
onset. A case is resolved when none of its findings has been open for ``resolve_after_ns``; until
then a finding of the same kind re-enters it, so that what flaps is one incident.

Suspects: processes by how much their share of the resource grew over what it was before (an
exponentially weighted mean of the scans of quiet times), then series by when they turned strange.
Processes of one name count together, or a program with many workers would hide.

Pure: time is an argument; owned by the pipeline thread. Bounded: ``MAX_CASES`` cases,
``MAX_MEMBERS`` findings a case, ``keep`` resolved incidents remembered.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Literal

import msgspec

from vedette import sentences
from vedette.api import Finding, Incident, Severity, Suspect, Usage
from vedette.decide import FindingChange, worse

#: Onsets of one fault's findings lie this close together.
SPAN_NS = 30_000_000_000
#: No finding joins by closeness in time that began later than this after the incident.
REACH_NS = 120_000_000_000
#: An open incident is told anew at most this often, unless it became graver.
UPDATE_NS = 15_000_000_000
MAX_CASES = 50
MAX_MEMBERS = 200
MAX_SUSPECTS = 6
#: A process whose share grew by less than this is no suspect.
LEAST_GROWTH = 0.01
#: Gain of the mean share of a process in quiet times; scans come every 10 s.
BASELINE_GAIN = 0.2
MAX_BASELINES = 500
#: Which resources a fault in one shows in, too.
RELATED: dict[str, frozenset[str]] = {
    "cpu": frozenset({"process", "memory", "disk", "network"}),
    "memory": frozenset({"cpu", "paging", "process", "disk"}),
    "paging": frozenset({"memory", "disk", "cpu"}),
    "disk": frozenset({"cpu", "filesystem", "paging", "memory"}),
    "filesystem": frozenset({"disk"}),
    "network": frozenset({"cpu", "process"}),
    "process": frozenset({"cpu", "memory"}),
}
#: Whose usage explains a fault in a resource, best first.
EXPLAINED_BY: dict[str, tuple[str, ...]] = {
    "memory": ("memory",),
    "paging": ("memory",),
    "disk": ("disk", "cpu"),
    "filesystem": ("disk",),
    "network": ("network", "cpu"),
}


class IncidentChange(msgspec.Struct, frozen=True):
    """An incident that opened, changed or was resolved, and what it was before."""

    change: Literal["opened", "updated", "resolved"]
    incident: Incident
    previous: Incident | None


class _Case:
    """Findings that belong together, before and after they became an incident."""

    def __init__(self, created_ns: int) -> None:
        self.created_ns = created_ns
        self.members: dict[tuple[str, str], Finding] = {}
        self.open: set[tuple[str, str]] = set()
        self.quiet_since_ns = 0
        self.told: Incident | None = None
        self.told_members = 0

    @property
    def onset_ns(self) -> int:
        known = [finding.since_ns for finding in self.members.values()]
        if self.told is not None:
            known.append(self.told.onset_ns)
        return min(known)

    @property
    def newest_onset_ns(self) -> int:
        known = [finding.since_ns for finding in self.members.values()]
        return max(known) if known else self.onset_ns

    @property
    def resources(self) -> set[str]:
        found = {resource_of(finding) for finding in self.members.values()}
        if self.told is not None:
            found.add(self.told.resource)
        return found

    @property
    def severity(self) -> Severity:
        grave: Severity = self.told.severity if self.told is not None else "info"
        for finding in self.members.values():
            grave = worse(grave, finding.severity)
        return grave

    def primary(self) -> Finding | None:
        """Return the finding the sentence is about: gravest, nearest its limit, strangest."""
        return max(self.members.values(), key=_weight, default=None)


class Correlator:
    """Keep the incidents of this host."""

    def __init__(
        self,
        *,
        gather_ns: int = 3_000_000_000,
        resolve_after_ns: int = 60_000_000_000,
        keep: int = 200,
        zone: tzinfo | None = None,
    ) -> None:
        self.gather_ns = gather_ns
        self.resolve_after_ns = resolve_after_ns
        self.zone = zone
        #: Findings that could not be kept because of the bounds.
        self.dropped = 0
        self._cases: list[_Case] = []
        self._resolved: deque[Incident] = deque(maxlen=keep)
        self._usages: dict[str, tuple[Suspect, ...]] = {}
        self._baseline: dict[tuple[str, str], float] = {}

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
                self._resolved.append(incident)
                continue
            case = _Case(incident.opened_ns)
            case.told = incident
            case.quiet_since_ns = now_ns
            self._cases.append(case)

    def observe(self, usages: Sequence[Usage]) -> None:
        """Take one scan of who uses what."""
        folded = _fold(usages)
        for resource, suspects in folded.items():
            self._usages[resource] = suspects
        if self._cases:
            return
        present = {
            (resource, one.name): one.share for resource in folded for one in folded[resource]
        }
        for key in list(self._baseline):
            if key[0] in folded and key not in present:
                present[key] = 0.0
        for key, share in present.items():
            before = self._baseline.get(key, share if not self._baseline else 0.0)
            mean = before + BASELINE_GAIN * (share - before)
            if mean < 1e-3 or (key not in self._baseline and len(self._baseline) >= MAX_BASELINES):
                self._baseline.pop(key, None)
            else:
                self._baseline[key] = mean

    def wanted(self) -> set[str]:
        """Return the resources for which a fresh reading of usage would help now."""
        wanted: set[str] = set()
        for case in self._cases:
            if case.told is None:
                for resource in case.resources:
                    wanted.update(EXPLAINED_BY.get(resource, ("cpu",)))
        return wanted

    def step(self, tick_ns: int, changes: Sequence[FindingChange]) -> list[IncidentChange]:
        """Take the changes of findings at one tick; return what became of incidents."""
        for change in changes:
            self._take(change, tick_ns)
        told: list[IncidentChange] = []
        for case in list(self._cases):
            told += self._advance(case, tick_ns)
        return told

    def _take(self, change: FindingChange, tick_ns: int) -> None:
        finding = change.finding
        key = (finding.detector, finding.series.key)
        for case in self._cases:
            if key in case.open:
                case.members[key] = finding
                if change.change == "closed":
                    case.open.discard(key)
                    if not case.open:
                        case.quiet_since_ns = tick_ns
                return
        if change.change == "closed":
            return
        home = self._home(finding)
        if home is None:
            if len(self._cases) >= MAX_CASES:
                self.dropped += 1
                return
            home = _Case(tick_ns)
            self._cases.append(home)
        if len(home.members) >= MAX_MEMBERS and key not in home.members:
            self.dropped += 1
            return
        home.members[key] = finding
        home.open.add(key)

    def _home(self, finding: Finding) -> _Case | None:
        """Return the case a new finding belongs to."""
        resource = resource_of(finding)
        near: _Case | None = None
        for case in self._cases:
            if resource in case.resources:
                return case
            related = RELATED.get(resource, frozenset()) & case.resources
            close = abs(finding.since_ns - case.newest_onset_ns) <= SPAN_NS
            young = finding.since_ns - case.onset_ns <= REACH_NS
            # What has no known relations is joined by time alone.
            stranger = resource not in RELATED or not case.resources & RELATED.keys()
            if close and young and (related or stranger):
                near = near or case
        return near

    def _advance(self, case: _Case, tick_ns: int) -> list[IncidentChange]:
        if case.told is None:
            if not case.open and tick_ns - case.created_ns >= self.gather_ns:
                self._cases.remove(case)  # over before it was told: nothing for a person
                return []
            if tick_ns - case.created_ns < self.gather_ns:
                return []
            incident = self._tell(case, tick_ns, None)
            return [IncidentChange("opened", incident, None)]
        previous = case.told
        if not case.open and tick_ns - case.quiet_since_ns >= self.resolve_after_ns:
            self._cases.remove(case)
            last = [finding.last_ns for finding in case.members.values()]
            incident = self._tell(case, tick_ns, max(last, default=case.quiet_since_ns))
            self._resolved.append(incident)
            return [IncidentChange("resolved", incident, previous)]
        if not case.open:
            return []
        graver = case.severity != previous.severity
        more = len(case.members) > case.told_members
        due = tick_ns - previous.updated_ns >= UPDATE_NS
        if graver or (due and (more or self._other_suspect(case))):
            incident = self._tell(case, tick_ns, None)
            return [IncidentChange("updated", incident, previous)]
        return []

    def _other_suspect(self, case: _Case) -> bool:
        """Whether the first suspect is another than the one that was told."""
        primary = case.primary()
        if primary is None or case.told is None:
            return False
        before = [one for one in case.told.suspects if one.kind == "process"]
        now = self._processes(resource_of(primary), before)
        return bool(now) and (not before or now[0].name != before[0].name)

    def _tell(self, case: _Case, tick_ns: int, ended_ns: int | None) -> Incident:
        """Word the incident as it is now."""
        before = case.told
        primary = case.primary()
        if primary is None:
            if before is None:
                raise ValueError("a case without findings cannot be told")
            incident = _end(before, tick_ns, ended_ns, self.zone)
        else:
            resource = resource_of(primary)
            over = before is not None and ended_ns is not None
            suspects = before.suspects if before and over else self._suspects(case, primary)
            title = sentences.sentence(
                primary, suspects, resource, case.onset_ns, ended_ns, self.zone
            )
            ranked = sorted(case.members.values(), key=_weight, reverse=True)
            members = dict.fromkeys(finding.series.key for finding in ranked)
            known = before.series if before else ()
            incident = Incident(
                id=before.id if before else self._identity(case, resource),
                state="open" if ended_ns is None else "resolved",
                severity=case.severity,
                resource=resource,
                title=title,
                onset_ns=case.onset_ns,
                opened_ns=before.opened_ns if before else tick_ns,
                updated_ns=tick_ns,
                resolved_ns=ended_ns,
                series=tuple(dict.fromkeys([*members, *known]))[:MAX_MEMBERS],
                suspects=suspects,
                evidence=before.evidence if before else (),
                detectors=tuple(sorted({one.detector for one in case.members.values()})),
            )
        case.told = incident
        case.told_members = len(case.members)
        return incident

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

    def _identity(self, case: _Case, resource: str) -> str:
        onset = datetime.fromtimestamp(case.onset_ns // 1_000_000_000, UTC)
        identity = f"{onset:%Y%m%dT%H%M%SZ}-{resource}"
        taken = {incident.id for incident in self.incidents}
        names = (f"{identity}-{count}" if count > 1 else identity for count in itertools.count(1))
        return next(name for name in names if name not in taken)

    def _suspects(self, case: _Case, primary: Finding) -> tuple[Suspect, ...]:
        told = case.told.suspects if case.told is not None else ()
        same = case.told is not None and case.told.resource == resource_of(primary)
        before = [one for one in told if same and one.kind == "process"]
        processes = self._processes(resource_of(primary), before)
        others = sorted(
            (one for one in case.members.values() if one is not primary),
            key=lambda one: (one.since_ns, -_weight(one)[2]),
        )
        series = [
            Suspect(
                kind="series",
                name=finding.series.key,
                id=finding.series.key,
                share=0.0,
                text=f"{sentences.observed(finding)} since "
                f"{sentences.clock(finding.since_ns, self.zone)}"
                + (f", {sentences.expected(finding)}" if sentences.expected(finding) else ""),
            )
            for finding in others
        ]
        return tuple([*processes, *series][:MAX_SUSPECTS])

    def _processes(self, resource: str, told: Sequence[Suspect] = ()) -> list[Suspect]:
        """Return the processes whose share grew most, at most three.

        Those that were told count with the share they had then: who ended meanwhile was it still.
        """
        for explaining in EXPLAINED_BY.get(resource, ("cpu",)):
            known = {one.name: one for one in told}
            for one in self._usages.get(explaining, ()):
                if one.name not in known or one.share >= known[one.name].share:
                    known[one.name] = one
            grown = [
                (one.share - self._baseline.get((explaining, one.name), 0.0), one)
                for one in known.values()
            ]
            grown = [pair for pair in grown if pair[0] >= LEAST_GROWTH]
            if grown:
                grown.sort(key=lambda pair: pair[0], reverse=True)
                return [one for _, one in grown[:3]]
        return []


def resource_of(finding: Finding) -> str:
    """Return the family a finding belongs to."""
    instrument = finding.series.instrument
    return instrument.resource or instrument.name.split(".")[0]


def _weight(finding: Finding) -> tuple[int, float, float]:
    """Rank findings: gravest first, then nearest to a limit, then strangest."""
    grade = {"info": 0, "warning": 1, "critical": 2}[finding.severity]
    limit = finding.series.instrument.limit
    impact = min(finding.observed / limit, 1.0) if limit else 0.0
    return grade, round(impact, 2), -math.log10(max(finding.p, 1e-30))


def _fold(usages: Sequence[Usage]) -> dict[str, tuple[Suspect, ...]]:
    """Add up the entities of one name; the largest gives its id."""
    groups: dict[tuple[str, str, str], list[Usage]] = {}
    for usage in usages:
        groups.setdefault((usage.resource, usage.kind, usage.name), []).append(usage)
    folded: dict[str, list[Suspect]] = {}
    for (resource, kind, name), members in groups.items():
        members.sort(key=lambda one: one.share, reverse=True)
        share = sum(one.share for one in members)
        first = members[0]
        text = first.text
        if len(members) > 1:
            text = f"{share:.0%} of this host's {resource} with {len(members)} processes"
            text = text.replace("%", " %", 1)
        folded.setdefault(resource, []).append(
            Suspect(kind=kind, name=name, id=first.id, share=min(share, 1.0), text=text)
        )
    return {
        resource: tuple(sorted(found, key=lambda one: one.share, reverse=True))
        for resource, found in folded.items()
    }


def _end(incident: Incident, tick_ns: int, ended_ns: int | None, zone: tzinfo | None) -> Incident:
    """Resolve an incident of an earlier run of which no finding came back."""
    ended = ended_ns if ended_ns is not None else tick_ns
    title = (
        f"{incident.title} (over by {sentences.clock(ended, zone)}, after a restart of the agent)"
    )
    return msgspec.structs.replace(
        incident, state="resolved", updated_ns=tick_ns, resolved_ns=ended, title=title
    )
