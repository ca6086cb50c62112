"""Put a case into words: the incident as it is told, kept and sent. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from datetime import UTC, datetime, tzinfo

import msgspec

from vedette import sentences
from vedette.api import Finding, Incident, Severity, Suspect
from vedette.cases import MAX_MEMBERS, Case
from vedette.entities import family_of, place_of

#: The fields of an incident that are worded anew each time it is told.
_OURS = (
    "state",
    "severity",
    "resource",
    "title",
    "onset_ns",
    "updated_ns",
    "resolved_ns",
    "series",
    "suspects",
    "detectors",
    "entities",
)


def worded(
    case: Case,
    primary: Finding,
    *,
    tick_ns: int,
    ended_ns: int | None,
    severity: Severity,
    suspects: tuple[Suspect, ...],
    taken: Collection[str],
    zone: tzinfo | None,
) -> Incident:
    """Return a case as an incident; ``primary`` is what the sentence is about.

    ``taken`` are the identities that other incidents have.
    """
    before, onset = case.told, case.onset_ns
    resource = family_of(primary.series.instrument)
    ranked = sorted(case.members.values(), key=case.weight, reverse=True)
    series, entities = (before.series, before.entities) if before else ((), ())
    entity = place_of(primary.series).entity.label
    told = Incident(
        id=before.id if before else _identity(onset, resource, taken),
        state="open" if ended_ns is None else "resolved",
        severity=severity,
        resource=resource,
        title=sentences.sentence(
            primary, suspects, resource, onset, ended_ns, zone, shown=_shown(case, primary)
        )
        + sentences.beside(primary, ranked),
        onset_ns=onset,
        opened_ns=before.opened_ns if before else tick_ns,
        updated_ns=tick_ns,
        resolved_ns=ended_ns,
        series=_first([*(one.series.key for one in ranked), *series]),
        suspects=suspects,
        detectors=tuple(sorted({one.detector for one in case.members.values()})),
        entities=_first([entity, *case.entities(), *entities]),
    )
    if before is None:
        return told
    # What others have added to it stays: its evidence, what the operator said.
    ours = {name: getattr(told, name) for name in _OURS}
    return msgspec.structs.replace(before, **ours)


def _shown(case: Case, primary: Finding) -> Finding | None:
    """Return where the fault of a GPU shows for a person: how long a model's requests take."""
    if place_of(primary.series).family != "gpu":
        return None
    waits = [
        one
        for one in case.members.values()
        if place_of(one.series).family == "model" and one.series.instrument.unit == "s"
    ]
    return max(waits, key=case.weight, default=None)


def ended(incident: Incident, tick_ns: int, ended_ns: int | None, zone: tzinfo | None) -> Incident:
    """Resolve an incident of an earlier run of which no finding came back."""
    when = ended_ns if ended_ns is not None else tick_ns
    over = f"(over by {sentences.clock(when, zone)}, after a restart of the agent)"
    return msgspec.structs.replace(
        incident,
        state="resolved",
        updated_ns=tick_ns,
        resolved_ns=when,
        title=f"{incident.title} {over}",
    )


def _first(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))[:MAX_MEMBERS]


def _identity(onset_ns: int, resource: str, taken: Collection[str]) -> str:
    onset = datetime.fromtimestamp(onset_ns // 1_000_000_000, UTC)
    identity = f"{onset:%Y%m%dT%H%M%SZ}-{resource}"
    names = (f"{identity}-{count}" if count > 1 else identity for count in itertools.count(1))
    return next(name for name in names if name not in taken)
