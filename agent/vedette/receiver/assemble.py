"""Turn a parsed OTLP request into the batches to store: one, or one per foreign host in it. Pure.

A body is stored as it came, byte for byte. Only what the receiver refused to take (points and
records out of time), foreign hosts that shared a request, and JSON are written anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from vedette.api import Signal
from vedette.receiver import wire
from vedette.receiver.batch import FOREIGN, INTEGER_MAX, Batch, BatchId
from vedette.receiver.extract import (
    LogFacts,
    MetricFacts,
    data_points,
    host_facts,
    in_time,
    log_facts,
    metric_facts,
    record_time,
)
from vedette.receiver.limits import Limits
from vedette.receiver.structure import Refused


class Origin(msgspec.Struct, frozen=True):
    """What is known of a request besides its content.

    ``identity`` is None for senders that number nothing. ``packed`` is the body as it came, when
    that is the form it is stored in (gzip'd protobuf).
    """

    signal: Signal
    identity: BatchId | None
    received_ns: int
    sent_ns: int | None = None
    packed: bytes | None = None


def assemble(parsed: Any, origin: Origin, limits: Limits) -> list[Batch]:
    """Return the batches of a request; raises ``Refused`` when it holds too much.

    A foreign batch with nothing in it, or nothing that was taken, has an empty body.
    """
    metrics = origin.signal == "metrics"
    resources = parsed.resource_metrics if metrics else parsed.resource_logs
    _count(resources, metrics, limits)
    if origin.identity is not None:
        return [_batch(origin, origin.identity, list(resources), True, limits)]
    groups: dict[str, list[Any]] = {}
    for resource in resources:
        groups.setdefault(host_facts(resource.resource)[0], []).append(resource)
    return [
        _batch(
            origin,
            BatchId(agent, FOREIGN, _digest(origin.signal, members)),
            members,
            len(groups) == 1,
            limits,
        )
        for agent, members in groups.items()
    ]


def _count(resources: Sequence[Any], metrics: bool, limits: Limits) -> None:
    """Refuse what the scan of a small body let pass: its cost is time here, not memory."""
    if metrics:
        scopes = [scope.metrics for resource in resources for scope in resource.scope_metrics]
        most, name = limits.metrics, "metrics"
    else:
        scopes = [scope.log_records for resource in resources for scope in resource.scope_logs]
        most, name = limits.records, "records"
    if sum(map(len, scopes)) > most or len(resources) > most or len(scopes) > most:
        raise Refused(413, f"body has more than {most} {name}")


def _batch(
    origin: Origin, identity: BatchId, members: list[Any], alone: bool, limits: Limits
) -> Batch:
    received_ns = origin.received_ns
    facts: MetricFacts | LogFacts
    if origin.signal == "metrics":
        facts = metric_facts(members, received_ns, limits)
    else:
        facts = log_facts(members, received_ns, limits)
    body = origin.packed if alone else None
    if not facts.accepted:
        body = b""
    elif facts.rejected or body is None:
        body = _write(origin, members, limits)
    host = host_facts(members[0].resource)[1] if members else None
    batch = Batch(
        id=identity,
        signal=origin.signal,
        received_ns=received_ns,
        body=body,
        sent_ns=origin.sent_ns,
        rejected=facts.rejected,
        reason=_reason(facts, limits),
    )
    if host is not None:
        batch = msgspec.structs.replace(batch, facts=host)
    return _with_facts(batch, facts)


def _with_facts(batch: Batch, facts: MetricFacts | LogFacts) -> Batch:
    if isinstance(facts, MetricFacts):
        return msgspec.structs.replace(
            batch,
            window_start_ns=facts.window_start_ns,
            window_end_ns=facts.window_end_ns,
            readings=tuple(facts.readings.values()),
            models=tuple(facts.models.readings.values()),
        )
    beat = facts.heartbeat
    return msgspec.structs.replace(
        batch,
        window_start_ns=beat.window_start_ns if beat is not None else None,
        window_end_ns=beat.window_end_ns if beat is not None else None,
        heartbeat=beat,
        incidents=tuple(facts.incidents),
        inventory=facts.inventory,
        inventory_changes=tuple(facts.inventory_changes),
        log_templates=tuple(facts.log_templates),
        log_windows=tuple(facts.log_windows),
        model_servers=tuple(facts.model_servers),
    )


def _reason(facts: MetricFacts | LogFacts, limits: Limits) -> str:
    if not facts.rejected:
        return ""
    unreadable = facts.unreadable if isinstance(facts, LogFacts) else 0
    days, minutes = limits.oldest_ns // (86_400 * 10**9), limits.ahead_ns // (60 * 10**9)
    late = facts.rejected - unreadable
    reasons = []
    if late:
        reasons.append(f"{late} older than {days} days or more than {minutes} minutes ahead")
    if unreadable:
        reasons.append(f"{unreadable} incident or log records that are not usable")
    return "; ".join(reasons)


def _write(origin: Origin, members: list[Any], limits: Limits) -> bytes:
    """Write the members as a body of their own, without what was rejected; changes them."""
    request: Any = wire.REQUESTS[origin.signal]()
    for member in members:
        if origin.signal == "metrics":
            _drop_points(member, origin.received_ns, limits)
            request.resource_metrics.append(member)
        else:
            _drop_records(member, origin.received_ns, limits)
            request.resource_logs.append(member)
    return wire.pack(request.SerializeToString())


def _drop_points(resource: Any, received_ns: int, limits: Limits) -> None:
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            points: Any = data_points(metric)
            late = [
                place
                for place, point in enumerate(points)
                if not in_time(point.time_unix_nano, received_ns, limits)
            ]
            for place in reversed(late):
                del points[place]


def _drop_records(resource: Any, received_ns: int, limits: Limits) -> None:
    for scope in resource.scope_logs:
        records = scope.log_records
        late = [
            place
            for place, record in enumerate(records)
            if not in_time(record_time(record, received_ns), received_ns, limits)
        ]
        for place in reversed(late):
            del records[place]


def _digest(signal: str, members: list[Any]) -> int:
    """Return a number that the same content always has, so that a resend is recognised."""
    digest = hashlib.sha256(signal.encode())
    for member in members:
        digest.update(member.SerializeToString(deterministic=True))
    return int.from_bytes(digest.digest()[:8]) & INTEGER_MAX
