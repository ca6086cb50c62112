"""Score an agent on a series of faults: what was found, how soon, as how much, and who was named.

Pure: injections and incidents in, a report out.

An injection is *found* when an incident opens in it or up to 15 s after its end. Every incident
that opens from its beginning to 60 s after its end is its own (of two injections, the later one's)
and counts to *incidents per fault*; any other is a *false incident*, and their rate is over the
time that belongs to no injection. *Family* and *suspect* are judged on the incident that found it,
as it was first told: right at 1 when the incident's own family is one that the fault may show in
(its first suspected process is the fault's), right at 3 when one of the first three is. Families
are the incident's own and then those of its series, in the incident's order. Where the fault is no
process's, the incident's sentence has to name what is to blame.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from vedette.api import Incident
from vedette.drills.faults import Fault, family_of

__all__ = ["AFTERMATH_S", "FOUND_S", "Injection", "Judged", "Report", "Tally", "families", "score"]

#: Seconds after an injection's end in which an incident still finds it, and is still its own.
FOUND_S, AFTERMATH_S = 15.0, 60.0
S = 1_000_000_000


class Injection(msgspec.Struct, frozen=True):
    """One fault, or several at once, from ``start_ns`` to ``end_ns`` (Unix ns).

    Without a name it is one that failed or was broken off: what it caused counts for nothing.
    """

    names: tuple[str, ...]
    start_ns: int
    end_ns: int


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one fault of an injection.

    ``delay_s`` is from the injection's beginning; None: not found. ``family`` and ``suspect`` are
    the ranks (1 to 3) of the first right one; None: none of three, or nothing to be right about.
    """

    name: str
    start_ns: int
    end_ns: int
    found: bool
    delay_s: float | None
    incidents: tuple[str, ...]
    family: int | None
    suspect: int | None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The injections of one kind together: numbers, and seconds of delay.

    ``family_1`` to ``family_3`` count among the found ones, ``suspect_1`` and ``suspect_3`` among
    ``suspects``, the found ones whose process is to blame. None: nothing was found.
    """

    name: str
    injections: int
    found: int
    incidents: int
    delay_median_s: float | None
    delay_p90_s: float | None
    family_1: int
    family_3: int
    suspects: int
    suspect_1: int
    suspect_3: int

    @property
    def incidents_per_fault(self) -> float:
        """Incidents that opened for each injection; the aim is 1."""
        return self.incidents / self.injections if self.injections else math.nan


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a series says of the agent.

    ``faults`` and ``total`` are of single faults, ``pairs`` of those that came two at once, each
    pair an injection: found by any incident, ``both`` when each of its faults was named by family
    or suspect. ``outside_s`` is the time that belonged to no injection; the rate is None without.
    """

    faults: tuple[Tally, ...]
    total: Tally
    pairs: Tally | None
    both: int
    false_incidents: tuple[str, ...]
    outside_s: float
    false_per_hour: float | None
    judged: tuple[Judged, ...]


def score(
    injections: Iterable[Injection],
    incidents: Iterable[Incident],
    faults: Mapping[str, Fault],
    observed_ns: tuple[int, int],
) -> Report:
    """Compare what was done with what was told.

    ``incidents`` as they were first told, in any order; those that opened outside ``observed_ns``
    (Unix ns, beginning and end) do not count. Raises ``KeyError`` for a fault nobody knows.
    """
    in_order = sorted(injections, key=lambda one: one.start_ns)
    told = sorted(
        (one for one in incidents if observed_ns[0] <= one.opened_ns <= observed_ns[1]),
        key=lambda one: (one.opened_ns, one.id),
    )
    owned, false = _shared_out(in_order, told)
    single: list[Judged] = []
    paired: list[tuple[Judged, ...]] = []
    for injection, own in zip(in_order, owned, strict=True):
        each = tuple(_judge(faults[name], injection, own) for name in injection.names)
        if len(each) == 1:
            single += each
        elif each:
            paired.append(each)
    outside_s = _outside_s(in_order, observed_ns)
    names = [name for name in faults if any(one.name == name for one in single)]
    return Report(
        faults=tuple(
            _tally(name, [[one] for one in single if one.name == name], faults) for name in names
        ),
        total=_tally("all", [[one] for one in single], faults),
        pairs=_tally("pairs", paired, faults) if paired else None,
        both=sum(all(one.family or one.suspect for one in each) for each in paired),
        false_incidents=tuple(one.id for one in false),
        outside_s=outside_s,
        false_per_hour=len(false) * 3600 / outside_s if outside_s > 0 else None,
        judged=(*single, *(one for each in paired for one in each)),
    )


def families(incident: Incident) -> list[str]:
    """Return the families an incident speaks of, its own first, then in the order of its series."""
    return list(dict.fromkeys([incident.resource, *map(family_of, incident.series)]))


# ---------------------------------------------------------------- one injection


def _shared_out(
    injections: Sequence[Injection], incidents: Sequence[Incident]
) -> tuple[list[list[Incident]], list[Incident]]:
    """Return the incidents of each injection, and those of none."""
    owned: list[list[Incident]] = [[] for _ in injections]
    false = []
    for incident in incidents:
        begun = [i for i, one in enumerate(injections) if one.start_ns <= incident.opened_ns]
        if begun and incident.opened_ns <= injections[begun[-1]].end_ns + AFTERMATH_S * S:
            owned[begun[-1]].append(incident)
        else:
            false.append(incident)
    return owned, false


def _judge(fault: Fault, injection: Injection, own: Sequence[Incident]) -> Judged:
    """Judge one fault by the incidents of its injection, of which there may be several faults."""
    in_time = [one for one in own if one.opened_ns <= injection.end_ns + FOUND_S * S]
    # Alone, the first incident has to be right; of two faults, each may have its own.
    deciding = in_time if len(injection.names) > 1 else in_time[:1]
    family = min((r for one in deciding if (r := _family_rank(one, fault))), default=None)
    suspect = min((r for one in deciding if (r := _suspect_rank(one, fault))), default=None)
    return Judged(
        name=fault.name,
        start_ns=injection.start_ns,
        end_ns=injection.end_ns,
        found=bool(in_time),
        delay_s=(in_time[0].opened_ns - injection.start_ns) / S if in_time else None,
        incidents=tuple(one.id for one in own),
        family=family,
        suspect=suspect,
    )


def _family_rank(incident: Incident, fault: Fault) -> int | None:
    return _rank([name in fault.families for name in families(incident)])


def _suspect_rank(incident: Incident, fault: Fault) -> int | None:
    if not fault.suspected:
        return None
    if fault.named:
        return 1 if fault.named in incident.title else None
    named = [one for one in incident.suspects if one.kind == "process"]
    return _rank([one.name == fault.comm for one in named])


def _rank(right: Sequence[bool]) -> int | None:
    """Return the place, from 1, of the first right one of three."""
    return next((place for place, one in enumerate(right[:3], 1) if one), None)


# ---------------------------------------------------------------- all together


def _tally(name: str, injections: Sequence[Sequence[Judged]], faults: Mapping[str, Fault]) -> Tally:
    """Add up injections, each the faults that came at once; ranks count fault by fault."""
    delays = sorted(each[0].delay_s for each in injections if each[0].delay_s is not None)
    found = [one for each in injections for one in each if one.found]
    return Tally(
        name=name,
        injections=len(injections),
        found=len(delays),
        incidents=sum(len(each[0].incidents) for each in injections),
        delay_median_s=statistics.median(delays) if delays else None,
        delay_p90_s=delays[math.ceil(0.9 * len(delays)) - 1] if delays else None,
        family_1=sum(one.family == 1 for one in found),
        family_3=sum(one.family is not None for one in found),
        suspects=sum(faults[one.name].suspected for one in found),
        suspect_1=sum(one.suspect == 1 for one in found),
        suspect_3=sum(one.suspect is not None for one in found),
    )


def _outside_s(injections: Sequence[Injection], observed_ns: tuple[int, int]) -> float:
    """Return the seconds of the time observed that belong to no injection."""
    begin, end = observed_ns
    free, reached = 0, begin
    for one in injections:
        free += max(0, min(one.start_ns, end) - reached)
        reached = max(reached, min(one.end_ns + int(AFTERMATH_S * S), end))
    return (free + max(0, end - reached)) / S
