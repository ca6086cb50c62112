"""Read an incident out of the record that an agent sends at each of its changes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast, get_args

from vedette.api import (
    Incident,
    IncidentState,
    Severity,
    Suspect,
    Track,
    Verdict,
    VerdictWord,
)
from vedette.receiver.batch import Change, IncidentEvent
from vedette.receiver.limits import KEY_MAX, VALUES_MAX, clip
from vedette.receiver.untrusted import (
    attributes,
    each_of,
    integer_of,
    real_of,
    text_of,
    texts_of,
)

INCIDENT = "vedette.incident."

_INCIDENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def incident_event(change: str, time_ns: int, record: Any) -> IncidentEvent | None:
    """Read an incident; None when it has no usable identity or is no change we know."""
    values = attributes(record.attributes)

    def get(key: str) -> Any:
        return values.get(f"{INCIDENT}{key}")

    identity = text_of(get("id"))
    if change not in get_args(Change) or not _INCIDENT_ID.fullmatch(identity):
        return None
    state = text_of(get("state"))
    if state not in get_args(IncidentState):
        state = "resolved" if change == "resolved" else "open"
    severity = text_of(get("severity"))
    if severity not in get_args(Severity):
        severity = _severity(record.severity_number)
    updated_ns = integer_of(get("updated")) or time_ns
    incident = Incident(
        id=identity,
        state=cast(IncidentState, state),
        severity=cast(Severity, severity),
        resource=clip(text_of(get("resource")), KEY_MAX),
        title=text_of(get("title")) or clip(record.body.string_value),
        onset_ns=integer_of(get("onset")) or time_ns,
        opened_ns=integer_of(get("opened")) or time_ns,
        updated_ns=updated_ns,
        resolved_ns=(integer_of(get("resolved")) or updated_ns) if state == "resolved" else None,
        series=texts_of(get("series")),
        suspects=each_of(get("suspects"), _suspect),
        evidence=each_of(get("evidence"), _track),
        detectors=texts_of(get("detectors")),
        verdict=_verdict(get),
    )
    uid = clip(text_of(values.get("log.record.uid")) or f"{time_ns}:{change}", KEY_MAX)
    return IncidentEvent(uid, cast(Change, change), time_ns, incident)


def _verdict(get: Callable[[str], Any]) -> Verdict | None:
    word = text_of(get("verdict.word"))
    if word not in get_args(VerdictWord):
        return None
    by, note = (clip(text_of(get(f"verdict.{key}")), KEY_MAX) for key in ("by", "note"))
    return Verdict(cast(VerdictWord, word), by, integer_of(get("verdict.time")) or 0, note)


def _severity(number: int) -> str:
    return "critical" if number >= 17 else "warning" if number >= 13 else "info"


def _suspect(values: dict[str, Any]) -> Suspect:
    keys = ("kind", "name", "id", "text", "reason")
    kind, name, identity, text, reason = (text_of(values.get(key)) for key in keys)
    share, time_ns = real_of(values.get("share")) or 0.0, integer_of(values.get("time_ns")) or 0
    return Suspect(kind, name, identity, share, text, reason, time_ns)


def _track(values: dict[str, Any]) -> Track | None:
    start_ns, step_ns = integer_of(values.get("start_ns")), integer_of(values.get("step_ns"))
    if start_ns is None or not step_ns:
        return None
    points = values.get("values")
    return Track(
        series=text_of(values.get("series")),
        unit=text_of(values.get("unit")),
        start_ns=start_ns,
        step_ns=step_ns,
        values=tuple(map(real_of, points[:VALUES_MAX])) if isinstance(points, list) else (),
        low=real_of(values.get("low")),
        high=real_of(values.get("high")),
    )
