"""Read out of parsed OTLP requests what is kept in tables: who, when, heartbeats, incidents, logs.

Everything here came from the network: types are checked, texts cut, lists bounded, times placed in
the span the receiver accepts. What does not fit is counted as rejected, never raised.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from vedette.receiver.batch import (
    Gauge,
    Heartbeat,
    HostFacts,
    IncidentEvent,
    Inventory,
    InventoryChange,
    InventoryItem,
    LogTemplate,
    LogWindow,
    ModelServer,
    Reading,
)
from vedette.receiver.incident_records import INCIDENT, incident_event
from vedette.receiver.limits import (
    AGENT_MAX,
    FACTS_MAX,
    INVENTORY_BYTES_MAX,
    INVENTORY_CHANGES_MAX,
    INVENTORY_ITEMS_MAX,
    ITEMS_MAX,
    KEY_MAX,
    LABELS_MAX,
    LINE_MAX,
    LOG_WINDOWS_MAX,
    MODEL_SERVERS_MAX,
    VALUES_MAX,
    Limits,
    clip,
)
from vedette.receiver.log_records import LOG, log_template, log_window
from vedette.receiver.model_facts import METRICS, RECORD, ModelFacts, model_server
from vedette.receiver.untrusted import (
    attributes,
    distinct,
    each_of,
    integer_of,
    mapping_of,
    real_of,
    text_of,
    texts_of,
)

HEARTBEAT = "vedette.heartbeat"
INVENTORY = "vedette.inventory"
#: DataPointFlags.NO_RECORDED_VALUE_MASK: the series went away.
NO_RECORDED_VALUE = 1

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
        self.models = ModelFacts()


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
        self.log_templates: list[LogTemplate] = []
        self.log_windows: list[LogWindow] = []
        self.model_servers: list[ModelServer] = []
        #: The ends of the windows that these are of.
        self.log_ends: set[int] = set()


def host_facts(resource: Any) -> tuple[str, HostFacts]:
    """Return (identity of a sender without a batch header, facts) of a resource."""
    values = attributes(resource.attributes)
    instance = text_of(values.pop("service.instance.id", ""))
    name = clip(text_of(values.pop("host.name", "")), KEY_MAX)
    host_id = clip(text_of(values.pop("host.id", "")), KEY_MAX)
    values.pop("service.name", None)
    labels = {
        clip(key, KEY_MAX): clip(text_of(value), KEY_MAX)
        for key, value in list(values.items())[:LABELS_MAX]
    }
    return agent_of(instance or name or "unknown"), HostFacts(name, host_id, labels)


def agent_of(text: str) -> str:
    """Return an identity of bounded length; two long ones never become the same."""
    return distinct(text, AGENT_MAX)


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
                if metric.name in METRICS:
                    facts.models.take(metric, data_points(metric), oldest, newest)
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
    pairs = ",".join(f"{key}={text_of(value)}" for key, value in values.items())
    return f"{name}{{{pairs}}}"


# ---------------------------------------------------------------- logs


def log_facts(resources: Iterable[Any], received_ns: int, limits: Limits) -> LogFacts:
    """Read heartbeats, incidents and what was logged out of a logs request."""
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
    elif name == RECORD:
        server = model_server(time_ns, record.body.string_value, attributes(record.attributes))
        if server is not None and len(facts.model_servers) < MODEL_SERVERS_MAX:
            facts.model_servers.append(server)
    elif name.startswith(INCIDENT):
        event = incident_event(name.removeprefix(INCIDENT), time_ns, record)
        if event is None:
            facts.rejected += 1
            facts.unreadable += 1
            return
        facts.incidents.append(event)
    elif name.startswith(LOG) and not _take_log(
        facts, name.removeprefix(LOG), time_ns, record, received_ns, limits
    ):
        facts.rejected += 1
        facts.unreadable += 1
        return
    facts.accepted += 1


def _take_log(
    facts: LogFacts, kind: str, time_ns: int, record: Any, received_ns: int, limits: Limits
) -> bool:
    """Keep a record of what was logged; False when it is not usable, or of too many windows."""
    found: LogTemplate | LogWindow | None
    if kind == "template":
        found = log_template(time_ns, record)
    elif kind == "window":
        found = log_window(time_ns, record)
    else:
        return True
    if found is None or not in_time(found.end_ns, received_ns, limits):
        return False
    if found.end_ns not in facts.log_ends and len(facts.log_ends) >= LOG_WINDOWS_MAX:
        return False
    facts.log_ends.add(found.end_ns)
    if isinstance(found, LogTemplate):
        facts.log_templates.append(found)
    else:
        facts.log_windows.append(found)
    return True


def _event_name(record: Any) -> str:
    """Return the name an engine between us and the agent may have kept as an attribute only."""
    for pair in record.attributes:
        if pair.key == "vedette.event":
            return cast(str, pair.value.string_value)
    return ""


def _heartbeat(time_ns: int, values: dict[str, Any]) -> Heartbeat:
    health = text_of(values.get("vedette.health", "ok"))
    reasons = tuple(clip(text) for text in texts_of(values.get("vedette.health.reasons")))
    return Heartbeat(
        time_ns=time_ns,
        version=text_of(values.get("vedette.version", "")),
        health="degraded" if health == "degraded" else "ok",
        reasons=reasons,
        stopping=health == "stopping"
        or "stopping" in reasons
        or values.get("vedette.stopping") is True,
        window_start_ns=integer_of(values.get("vedette.window.start")),
        window_end_ns=integer_of(values.get("vedette.window.end")),
        series=integer_of(values.get("vedette.series")),
        learning=real_of(values.get("vedette.learning")),
        collectors=mapping_of(values.get("vedette.collectors")),
        backlog_batches=integer_of(values.get("vedette.spool.batches")),
        dropped=integer_of(values.get("vedette.dropped")),
        os=text_of(values.get("os.description", "")),
        cpus=integer_of(values.get("host.cpu.count")),
        memory_bytes=integer_of(values.get("host.memory.total")),
        interval_s=real_of(values.get("vedette.interval")),
        uptime_s=real_of(values.get("vedette.uptime")),
        cpu=real_of(values.get("vedette.cpu")),
        rss=integer_of(values.get("vedette.rss")),
    )


def _take_inventory(facts: LogFacts, time_ns: int, values: dict[str, Any]) -> None:
    """Keep the newest inventory of a request, and the newest changes of all of them."""
    items = values.get(f"{INVENTORY}.items")
    if not isinstance(items, list):
        return
    if facts.inventory is None or time_ns >= facts.inventory.time_ns:
        facts.inventory = _inventory(
            time_ns, clip(text_of(values.get(f"{INVENTORY}.digest")), KEY_MAX), items
        )
    told = texts_of(values.get(f"{INVENTORY}.changes"))[:INVENTORY_CHANGES_MAX]
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
    for item in each_of(told, _item, VALUES_MAX):
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
    kind, name = (clip(text_of(values.get(key)), KEY_MAX) for key in ("kind", "name"))
    if not kind:
        return None
    told = values.get("facts")
    facts: dict[str, str | bool | int | float] = {}
    for key, value in told.items() if isinstance(told, dict) else ():
        if isinstance(value, str):
            facts[key] = clip(value, KEY_MAX)
        elif isinstance(value, (bool, int)) or real_of(value) is not None:
            facts[key] = value
        if len(facts) >= FACTS_MAX:
            break
    return InventoryItem(kind, name, facts)
