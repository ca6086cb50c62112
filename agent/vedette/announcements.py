"""Make what is told as log records: incidents, the inventory, a collector's records, heartbeats.

Pure; ``otlp`` encodes what is made here. Names and attributes are those of docs/wire.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from vedette.api import Incident, Item, Record, Severity, Track
from vedette.otlp import SEVERITY_NUMBER, AttributeValue, Event, digest

Change = Literal["opened", "updated", "resolved"]


def incident_event(incident: Incident, change: Change) -> Event:
    """Tell that an incident opened, changed or was resolved, with all that is known of it."""
    times = {"opened": incident.opened_ns, "updated": incident.updated_ns}
    attributes: dict[str, AttributeValue] = {
        "id": incident.id,
        "state": incident.state,
        "severity": incident.severity,
        "resource": incident.resource,
        "title": incident.title,
        "onset": incident.onset_ns,
        "opened": incident.opened_ns,
        "updated": incident.updated_ns,
    }
    if incident.resolved_ns is not None:
        attributes["resolved"] = incident.resolved_ns
    attributes |= {
        "series": incident.series,
        "entities": incident.entities,
        "detectors": incident.detectors,
        "suspects": [
            {
                "kind": suspect.kind,
                "name": suspect.name,
                "id": suspect.id,
                "share": float(suspect.share),
                "text": suspect.text,
                "reason": suspect.reason,
                "time_ns": suspect.time_ns,
            }
            for suspect in incident.suspects
        ],
        "evidence": [_track(track) for track in incident.evidence],
    }
    if incident.verdict is not None:
        verdict = incident.verdict
        attributes |= {
            "verdict.word": verdict.word,
            "verdict.by": verdict.by,
            "verdict.time": verdict.time_ns,
            "verdict.note": verdict.note,
        }
    return Event(
        name=f"vedette.incident.{change}",
        time_ns=times.get(change, incident.resolved_ns or incident.updated_ns),
        severity="info" if incident.state == "resolved" else incident.severity,
        body=incident.title,
        attributes={f"vedette.incident.{key}": value for key, value in attributes.items()},
        uid=digest(incident.id, str(incident.updated_ns), change),
    )


def inventory_event(
    time_ns: int, items: Sequence[Item], digest: str, changes: Sequence[str]
) -> Event:
    """Tell what the host is made of, whole, and what changed since it was told last."""
    told: list[AttributeValue] = [
        {"kind": one.kind, "name": one.name, "facts": dict(one.facts)} for one in items
    ]
    return Event(
        name="vedette.inventory",
        time_ns=time_ns,
        severity="info",
        body="; ".join(changes) or f"{len(items)} items",
        attributes={
            "vedette.inventory.digest": digest,
            "vedette.inventory.changes": list(changes),
            "vedette.inventory.items": told,
        },
    )


def record_event(record: Record) -> Event:
    """Tell what a collector has to tell."""
    grade: Severity = "info"
    if record.severity >= SEVERITY_NUMBER["warning"]:
        grade = "warning" if record.severity < SEVERITY_NUMBER["critical"] else "critical"
    return Event(
        name=record.name,
        time_ns=record.time_ns,
        severity=grade,
        body=record.body,
        attributes=record.attributes,
        uid=record.uid,
        number=min(max(record.severity, 1), 24),
    )


def heartbeat_event(time_ns: int, attributes: Mapping[str, AttributeValue]) -> Event:
    """Tell that the agent lives, and how; ``attributes`` as they go onto the wire."""
    health = str(attributes.get("vedette.health", "ok"))
    reasons = attributes.get("vedette.health.reasons", ())
    words = [str(reason) for reason in reasons] if isinstance(reasons, (list, tuple)) else []
    return Event(
        name="vedette.heartbeat",
        time_ns=time_ns,
        severity="warning" if health == "degraded" else "info",
        body=f"{health}: {'; '.join(words)}" if words else health,
        attributes=attributes,
    )


def _track(track: Track) -> dict[str, AttributeValue]:
    made: dict[str, AttributeValue] = {
        "series": track.series,
        "unit": track.unit,
        "start_ns": track.start_ns,
        "step_ns": track.step_ns,
        "values": [math.nan if value is None else float(value) for value in track.values],
    }
    if track.low is not None:
        made["low"] = float(track.low)
    if track.high is not None:
        made["high"] = float(track.high)
    return made
