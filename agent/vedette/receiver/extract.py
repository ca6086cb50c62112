"""Read out of parsed OTLP requests what is kept in tables: who, when, heartbeats, incidents.

Everything here came from the network: types are checked, texts cut, lists bounded, times placed in
the span the receiver accepts. What does not fit is counted as rejected, never raised.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast, get_args

import msgspec

from vedette.api import (
    Incident,
    IncidentState,
    Severity,
    Suspect,
    Track,
    Verdict,
    VerdictWord,
)
from vedette.receiver.batch import (
    INTEGER_MAX,
    Change,
    Gauge,
    Heartbeat,
    HostFacts,
    IncidentEvent,
    Inventory,
    InventoryChange,
    InventoryItem,
    Reading,
)
from vedette.receiver.limits import (
    AGENT_MAX,
    DEPTH_MAX,
    FACTS_MAX,
    INVENTORY_BYTES_MAX,
    INVENTORY_CHANGES_MAX,
    INVENTORY_ITEMS_MAX,
    ITEMS_MAX,
    KEY_MAX,
    LABELS_MAX,
    LINE_MAX,
    VALUES_MAX,
    Limits,
    clip,
)

_T = TypeVar("_T")

HEARTBEAT = "vedette.heartbeat"
INCIDENT = "vedette.incident."
INVENTORY = "vedette.inventory"
#: DataPointFlags.NO_RECORDED_VALUE_MASK: the series went away.
NO_RECORDED_VALUE = 1

_INCIDENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_HEADLINE: dict[str, Gauge] = {
    "vedette.cpu.busy": "cpu",
    "vedette.cpu.busy.dist": "cpu",
    "system.memory.utilization": "memory",
    "system.filesystem.utilization": "disk",
}


class MetricFacts:
    """What one metrics request says besides its values."""

    def __init__(self) -> None:
        self.accepted = 0
        self.rejected = 0
        self.window_start_ns: int | None = None
        self.window_end_ns: int | None = None
        self.readings: dict[tuple[str, str], Reading] = {}


class LogFacts:
    """What one logs request says that is kept in tables."""

    def __init__(self) -> None:
        self.accepted = 0
        self.rejected = 0
        self.unreadable = 0
        self.heartbeat: Heartbeat | None = None
        self.incidents: list[IncidentEvent] = []
        self.inventory: Inventory | None = None
        self.inventory_changes: list[InventoryChange] = []


def host_facts(resource: Any) -> tuple[str, HostFacts]:
    """Return (identity of a sender without a batch header, facts) of a resource."""
    values = attributes(resource.attributes)
    instance = _text(values.pop("service.instance.id", ""))
    name = clip(_text(values.pop("host.name", "")), KEY_MAX)
    host_id = clip(_text(values.pop("host.id", "")), KEY_MAX)
    values.pop("service.name", None)
    labels = {
        clip(key, KEY_MAX): clip(_text(value), KEY_MAX)
        for key, value in list(values.items())[:LABELS_MAX]
    }
    return agent_of(instance or name or "unknown"), HostFacts(name, host_id, labels)


def agent_of(text: str) -> str:
    """Return an identity of bounded length; two long ones never become the same."""
    if len(text) <= AGENT_MAX:
        return text
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    return f"{text[: AGENT_MAX - 17]}-{digest}"


# ---------------------------------------------------------------- metrics


def data_points(metric: Any) -> Sequence[Any]:
    """Return the points of a metric of whatever kind."""
    kind = metric.WhichOneof("data")
    return () if kind is None else cast(Sequence[Any], getattr(metric, kind).data_points)


def in_time(time_ns: int, received_ns: int, limits: Limits) -> bool:
    """Tell whether a timestamp is one the receiver takes: not ancient, not in the future."""
    return received_ns - limits.oldest_ns <= time_ns <= received_ns + limits.ahead_ns


def metric_facts(resources: Iterable[Any], received_ns: int, limits: Limits) -> MetricFacts:
    """Read time span, rejected points and headline values."""
    facts = MetricFacts()
    oldest, newest = received_ns - limits.oldest_ns, received_ns + limits.ahead_ns
    first = last = 0
    for resource in resources:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                times = [point.time_unix_nano for point in data_points(metric)]
                if times and not (oldest <= min(times) and max(times) <= newest):
                    taken = [time_ns for time_ns in times if oldest <= time_ns <= newest]
                    facts.rejected += len(times) - len(taken)
                    times = taken
                if times:
                    facts.accepted += len(times)
                    last = max(last, *times)
                    first = min(first or times[0], *times)
                gauge = _HEADLINE.get(metric.name)
                if gauge is not None and len(facts.readings) < ITEMS_MAX:
                    _headline(facts, gauge, metric, oldest, newest)
    if facts.accepted:
        facts.window_start_ns, facts.window_end_ns = first, last
    return facts


def _headline(facts: MetricFacts, gauge: Gauge, metric: Any, oldest: int, newest: int) -> None:
    distribution = metric.WhichOneof("data") == "exponential_histogram"
    for point in data_points(metric):
        if not oldest <= point.time_unix_nano <= newest:
            continue
        values = attributes(point.attributes)
        if gauge == "memory" and "used" not in (
            values.get("system.memory.state"),
            values.get("state"),
        ):
            continue
        key = series_key(gauge, values)
        value: float | None
        if point.flags & NO_RECORDED_VALUE:
            value = None
        elif distribution:
            value = point.sum / point.count if point.HasField("sum") and point.count else None
            if value is None:
                continue
        else:
            value = number_of(point)
        if value is not None and not math.isfinite(value):
            continue
        # The mean of the window says more than the value at its end, whichever came first.
        if distribution or (gauge, key) not in facts.readings:
            reading = Reading(gauge, key, point.time_unix_nano, value)
            facts.readings[gauge, key] = reading


def number_of(point: Any) -> float:
    """Return the value of a NumberDataPoint."""
    return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)


def series_key(name: str, values: dict[str, Any]) -> str:
    """Return a series as text, ``name{attribute=value,...}``, attributes as they came."""
    if not values:
        return name
    pairs = ",".join(f"{key}={_text(value)}" for key, value in values.items())
    return f"{name}{{{pairs}}}"


# ---------------------------------------------------------------- logs


def log_facts(resources: Iterable[Any], received_ns: int, limits: Limits) -> LogFacts:
    """Read heartbeats and incidents out of a logs request."""
    facts = LogFacts()
    for resource in resources:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                _record(facts, record, received_ns, limits)
    return facts


def record_time(record: Any, received_ns: int) -> int:
    """Return when a record happened, else was seen, else arrived."""
    return int(record.time_unix_nano or record.observed_time_unix_nano or received_ns)


def _record(facts: LogFacts, record: Any, received_ns: int, limits: Limits) -> None:
    time_ns = record_time(record, received_ns)
    if not in_time(time_ns, received_ns, limits):
        facts.rejected += 1
        return
    name = record.event_name or _event_name(record)
    if name == HEARTBEAT:
        beat = _heartbeat(time_ns, attributes(record.attributes))
        if facts.heartbeat is None or beat.time_ns >= facts.heartbeat.time_ns:
            facts.heartbeat = beat
    elif name == INVENTORY:
        _take_inventory(facts, time_ns, attributes(record.attributes))
    elif name.startswith(INCIDENT):
        event = _incident(name.removeprefix(INCIDENT), time_ns, record)
        if event is None:
            facts.rejected += 1
            facts.unreadable += 1
            return
        facts.incidents.append(event)
    facts.accepted += 1


def _event_name(record: Any) -> str:
    """Return the name an engine between us and the agent may have kept as an attribute only."""
    for pair in record.attributes:
        if pair.key == "vedette.event":
            return cast(str, pair.value.string_value)
    return ""


def _heartbeat(time_ns: int, values: dict[str, Any]) -> Heartbeat:
    health = _text(values.get("vedette.health", "ok"))
    reasons = tuple(clip(text) for text in _texts(values.get("vedette.health.reasons")))
    return Heartbeat(
        time_ns=time_ns,
        version=_text(values.get("vedette.version", "")),
        health="degraded" if health == "degraded" else "ok",
        reasons=reasons,
        stopping=health == "stopping"
        or "stopping" in reasons
        or values.get("vedette.stopping") is True,
        window_start_ns=_integer(values.get("vedette.window.start")),
        window_end_ns=_integer(values.get("vedette.window.end")),
        series=_integer(values.get("vedette.series")),
        learning=_real(values.get("vedette.learning")),
        collectors=_mapping(values.get("vedette.collectors")),
        backlog_batches=_integer(values.get("vedette.spool.batches")),
        dropped=_integer(values.get("vedette.dropped")),
        os=_text(values.get("os.description", "")),
        cpus=_integer(values.get("host.cpu.count")),
        memory_bytes=_integer(values.get("host.memory.total")),
        interval_s=_real(values.get("vedette.interval")),
        uptime_s=_real(values.get("vedette.uptime")),
        cpu=_real(values.get("vedette.cpu")),
        rss=_integer(values.get("vedette.rss")),
    )


def _take_inventory(facts: LogFacts, time_ns: int, values: dict[str, Any]) -> None:
    """Keep the newest inventory of a request, and the newest changes of all of them."""
    items = values.get(f"{INVENTORY}.items")
    if not isinstance(items, list):
        return
    if facts.inventory is None or time_ns >= facts.inventory.time_ns:
        facts.inventory = _inventory(
            time_ns, clip(_text(values.get(f"{INVENTORY}.digest")), KEY_MAX), items
        )
    told = _texts(values.get(f"{INVENTORY}.changes"))[:INVENTORY_CHANGES_MAX]
    facts.inventory_changes += [
        InventoryChange(time_ns, place, clip(text, LINE_MAX)) for place, text in enumerate(told)
    ]
    if len(facts.inventory_changes) > INVENTORY_CHANGES_MAX:
        facts.inventory_changes.sort(key=lambda change: (-change.time_ns, change.place))
        del facts.inventory_changes[INVENTORY_CHANGES_MAX:]


def _inventory(time_ns: int, digest: str, told: list[Any]) -> Inventory:
    """Read the items; of two of one kind and name the first counts."""
    found: dict[tuple[str, str], InventoryItem] = {}
    omitted = size = 0
    for item in _each(told, _item, VALUES_MAX):
        if (item.kind, item.name) in found:
            continue
        own = len(msgspec.json.encode(item))
        if len(found) >= INVENTORY_ITEMS_MAX or size + own > INVENTORY_BYTES_MAX:
            omitted += 1
            continue
        size += own
        found[item.kind, item.name] = item
    return Inventory(time_ns, digest, tuple(found.values()), omitted)


def _item(values: dict[str, Any]) -> InventoryItem | None:
    kind, name = clip(_text(values.get("kind")), KEY_MAX), clip(_text(values.get("name")), KEY_MAX)
    if not kind:
        return None
    told = values.get("facts")
    facts: dict[str, str | bool | int | float] = {}
    for key, value in told.items() if isinstance(told, dict) else ():
        if isinstance(value, str):
            facts[key] = clip(value, KEY_MAX)
        elif isinstance(value, (bool, int)) or _real(value) is not None:
            facts[key] = value
        if len(facts) >= FACTS_MAX:
            break
    return InventoryItem(kind, name, facts)


def _incident(change: str, time_ns: int, record: Any) -> IncidentEvent | None:
    """Read an incident; None when it has no usable identity or is no change we know."""
    values = attributes(record.attributes)

    def get(key: str) -> Any:
        return values.get(f"{INCIDENT}{key}")

    identity = _text(get("id"))
    if change not in get_args(Change) or not _INCIDENT_ID.fullmatch(identity):
        return None
    state = _text(get("state"))
    if state not in get_args(IncidentState):
        state = "resolved" if change == "resolved" else "open"
    severity = _text(get("severity"))
    if severity not in get_args(Severity):
        severity = _severity(record.severity_number)
    updated_ns = _integer(get("updated")) or time_ns
    incident = Incident(
        id=identity,
        state=cast(IncidentState, state),
        severity=cast(Severity, severity),
        resource=clip(_text(get("resource")), KEY_MAX),
        title=_text(get("title")) or clip(record.body.string_value),
        onset_ns=_integer(get("onset")) or time_ns,
        opened_ns=_integer(get("opened")) or time_ns,
        updated_ns=updated_ns,
        resolved_ns=(_integer(get("resolved")) or updated_ns) if state == "resolved" else None,
        series=_texts(get("series")),
        suspects=_each(get("suspects"), _suspect),
        evidence=_each(get("evidence"), _track),
        detectors=_texts(get("detectors")),
        verdict=_verdict(get),
    )
    uid = clip(_text(values.get("log.record.uid")) or f"{time_ns}:{change}", KEY_MAX)
    return IncidentEvent(uid, cast(Change, change), time_ns, incident)


def _verdict(get: Callable[[str], Any]) -> Verdict | None:
    word = _text(get("verdict.word"))
    if word not in get_args(VerdictWord):
        return None
    by, note = (clip(_text(get(f"verdict.{key}")), KEY_MAX) for key in ("by", "note"))
    return Verdict(cast(VerdictWord, word), by, _integer(get("verdict.time")) or 0, note)


def _severity(number: int) -> str:
    return "critical" if number >= 17 else "warning" if number >= 13 else "info"


def _suspect(values: dict[str, Any]) -> Suspect:
    kind, name, identity, text = (_text(values.get(key)) for key in ("kind", "name", "id", "text"))
    share, time_ns = _real(values.get("share")) or 0.0, _integer(values.get("time_ns")) or 0
    return Suspect(kind, name, identity, share, text, _text(values.get("reason")), time_ns)


def _track(values: dict[str, Any]) -> Track | None:
    start_ns, step_ns = _integer(values.get("start_ns")), _integer(values.get("step_ns"))
    if start_ns is None or not step_ns:
        return None
    points = values.get("values")
    return Track(
        series=_text(values.get("series")),
        unit=_text(values.get("unit")),
        start_ns=start_ns,
        step_ns=step_ns,
        values=tuple(map(_real, points[:VALUES_MAX])) if isinstance(points, list) else (),
        low=_real(values.get("low")),
        high=_real(values.get("high")),
    )


# ---------------------------------------------------------------- untrusted values


def attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return OTLP attributes as plain values, the first 256 of them; a repeated key: the last."""
    return _pairs(pairs, 0)


def _pairs(pairs: Iterable[Any], depth: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        values[clip(pair.key, KEY_MAX)] = _value(pair.value, depth)
        if len(values) >= ITEMS_MAX:
            break
    return values


def _value(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return clip(value.string_value)
    if kind is None or depth > DEPTH_MAX:
        return None
    if kind == "array_value":
        return [_value(item, depth + 1) for item in value.array_value.values[:VALUES_MAX]]
    if kind == "kvlist_value":
        return _pairs(value.kvlist_value.values, depth + 1)
    if kind == "bytes_value":
        return value.bytes_value[:KEY_MAX].hex()
    return getattr(value, kind)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return ""


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value[:ITEMS_MAX] if isinstance(item, str))


def _mapping(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: _text(item) for key, item in value.items()}


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return int(value) if 0 <= value <= INTEGER_MAX else None


def _real(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _each(
    value: Any, build: Callable[[dict[str, Any]], _T | None], most: int = ITEMS_MAX
) -> tuple[_T, ...]:
    """Build one thing per kvlist of an array, leaving out what is none."""
    items = value[:most] if isinstance(value, list) else []
    built = (build(item) for item in items if isinstance(item, dict))
    return tuple(item for item in built if item is not None)
