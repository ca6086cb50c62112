"""Say of a case who and what is to blame: usage, events and series of one host put together.

Pure; what is remembered is bounded by suspects.py and causes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import tzinfo

from vedette import causes, sentences, suspects
from vedette.api import Finding, Suspect
from vedette.cases import Case
from vedette.entities import family_of, place_of
from vedette.relations import is_traffic
from vedette.tenants import Tenants


class Blame:
    """What is known of this host's processes and events."""

    def __init__(self, *, zone: tzinfo | None, twin: Callable[[str], str]) -> None:
        self.usages = suspects.Usages()
        self.events = causes.Events()
        #: Which model server uses which GPU.
        self.tenants = Tenants()
        self._zone = zone
        self.twin = twin

    def of(self, case: Case, primary: Finding, cases: Sequence[Case]) -> tuple[Suspect, ...]:
        """Return processes, events and series, each sort the likeliest first.

        ``cases`` are all that there are: who is to blame for another one is no suspect of this one
        by mere growth.
        """
        processes = self._processes(case, primary, cases)
        others = [one for one in case.members.values() if one is not primary]
        series = suspects.series(primary, others, self.twin, self._words)
        found = [*processes, *self._causes(case, processes), *series]
        return tuple(found[: suspects.MAX_SUSPECTS])

    def has_news(self, case: Case, cases: Sequence[Case]) -> bool:
        """Say whether the first process or the events are others than those that were told."""
        primary = case.primary()
        if primary is None or case.told is None:
            return False
        told = case.told.suspects
        before = [one for one in told if one.kind == "process"]
        events = {(one.name, one.id) for one in told if one.kind == "event"}
        now = self._processes(case, primary, cases)
        if {(one.name, one.id) for one in self._causes(case, now)} - events:
            return True
        return bool(now) and (not before or now[0].name != before[0].name)

    def _processes(self, case: Case, primary: Finding, cases: Sequence[Case]) -> list[Suspect]:
        resource = family_of(primary.series.instrument)
        told = case.told.suspects if case.told is not None else ()
        same = case.told is not None and bool(
            suspects.wanted([case.told.resource]) & suspects.wanted([resource])
        )
        before = [one for one in told if same and one.kind == "process"]
        others = [other for other in cases if other is not case]
        busy = {self.usages.leader(family) for other in others for family in other.families}
        busy |= {_first_process(other) for other in others}
        if _is_gone(primary):
            return []
        found = self.usages.grown(resource, before, busy, _telling(case, primary))
        if primary.series.instrument.name != sentences.LOG_METRIC:
            return found
        # The text of who writes a log is which: another's may have rung just before.
        return [one for one in found if one.text == place_of(primary.series).entity.name]

    def one_culprit(self, one: Case, other: Case) -> bool:
        """Say whether one program is to blame for two cases."""
        blamed, also = self._leaders(one), self._leaders(other)
        if blamed & also or blamed & _names(other) or also & _names(one):
            return True
        # Who makes the traffic is not known; where only one program grew, it is that one.
        cores = [one.families, other.families]
        if {"network"} not in cores or {"cpu"} not in cores or not self.usages.only("cpu"):
            return False
        return any(is_traffic(place) for case in (one, other) for place in case.places)

    def is_anothers(self, finding: Finding, case: Case) -> bool:
        """Say whether what might be an effect of a case is the work of somebody else.

        One program is to blame for the case, and another one alone for what was found.
        """
        place = place_of(finding.series)
        whose = self._leaders_of({place.family}, [finding], suspects.LEADS_APART)
        blamed = self._leaders(case) if whose else set()
        return bool(blamed) and not whose & blamed

    def is_another_matter(self, case: Case, told: Case) -> bool:
        """Say whether what came late to the resources of a case that was told is none of it.

        One program is to blame for it now that was not before; or, where none is, it leapt.
        """
        now = self._leaders_of(case.families, case.members.values(), suspects.LEADS_APART)
        return not now & _told_processes(told) if now else case.leapt

    def _leaders(self, case: Case) -> set[str]:
        """Return the programs that alone explain what is wrong with a case's resources."""
        return self._leaders_of(case.families, case.members.values())

    def _leaders_of(
        self,
        families: Collection[str],
        findings: Iterable[Finding],
        least: float = suspects.LEADS,
    ) -> set[str]:
        metrics = {one.series.instrument.name for one in findings if not _is_gone(one)}
        uses = {use for metric in metrics for use in suspects.exactly(metric)[:1]}
        # Who writes a log is known of the log that rang last alone.
        return {self.usages.leader(use, least) for use in {*families, *uses} - {"log"}} - {""}

    def _causes(self, case: Case, named: Sequence[Suspect]) -> list[Suspect]:
        onset = case.onset_ns
        things = [place.entity.name for place in case.places if place.entity.name]
        things += [place.endpoint for place in case.places if place.endpoint]
        things += [one.name for one in named]
        found = self.events.before(onset, [place.family for place in case.places], things)
        return [
            causes.suspect(one, onset, self._clock)
            for one in found
            if one.kind != "gpu" or not self.tenants.is_elsewhere(one.entity, case.places)
        ]

    def _words(self, finding: Finding) -> str:
        usual = sentences.expected(finding)
        words = f"{sentences.observed(finding)} since {self._clock(finding.since_ns)}"
        return f"{words}, {usual}" if usual else words

    def _clock(self, time_ns: int) -> str:
        return sentences.clock(time_ns, self._zone)


def _telling(case: Case, primary: Finding) -> str:
    """Return the metric of a case that says best who is to be looked for: the primary one's, or
    one of its family that tells of one use in particular.
    """
    family = family_of(primary.series.instrument)
    alike = [one for one in case.members.values() if family_of(one.series.instrument) == family]
    metrics = [one.series.instrument.name for one in (primary, *alike)]
    return next((one for one in metrics if suspects.is_exact(one)), metrics[0])


def _is_gone(finding: Finding) -> bool:
    """Say whether a model server is silent for another reason than that it was stopped."""
    is_silent = finding.series.instrument.name == sentences.SILENCE_METRIC
    return is_silent and "is stopped" not in finding.text


def _told_processes(case: Case) -> set[str]:
    """Return the programs that were told to be to blame for a case."""
    named = case.told.suspects if case.told is not None else ()
    return {one.name for one in named if one.kind == "process" and one.share >= suspects.LEADS}


def _first_process(case: Case) -> str:
    """Return who was told to be to blame for a case; empty if nobody was."""
    named = case.told.suspects if case.told is not None else ()
    first = next((one for one in named if one.kind == "process"), None)
    return first.name if first is not None and first.share >= suspects.LEADS else ""


def _names(case: Case) -> set[str]:
    """Return the names that a program of a case's things may have."""
    names = {place.entity.name for place in case.places if place.entity.name}
    return names | {name.removesuffix(".service") for name in names}
