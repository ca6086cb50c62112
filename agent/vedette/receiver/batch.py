"""What the receiver understands of one accepted request: immutable values from HTTP to SQLite."""

from __future__ import annotations

from math import inf
from operator import add
from typing import Any, Literal

import msgspec

from vedette.api import Incident, Signal

#: The epoch of batches from senders that number nothing: they prove no completeness.
FOREIGN = ""

#: The largest integer SQLite keeps as it is.
INTEGER_MAX = (1 << 63) - 1

Gauge = Literal["cpu", "memory", "disk"]
Change = Literal["opened", "updated", "resolved"]


class BatchId(msgspec.Struct, frozen=True):
    """The identity of a batch: unique for ever, so a resend is recognised."""

    agent: str
    epoch: str
    sequence: int


class HostFacts(msgspec.Struct, frozen=True):
    """Who sent a batch, from its resource attributes."""

    name: str = ""
    host_id: str = ""
    labels: dict[str, str] = {}


class Heartbeat(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent said of itself at the end of a window; None: it did not say."""

    time_ns: int
    version: str = ""
    health: str = "ok"
    reasons: tuple[str, ...] = ()
    stopping: bool = False
    window_start_ns: int | None = None
    window_end_ns: int | None = None
    series: int | None = None
    learning: float | None = None
    collectors: dict[str, str] = {}
    backlog_batches: int | None = None
    dropped: int | None = None
    os: str = ""
    cpus: int | None = None
    memory_bytes: int | None = None
    interval_s: float | None = None
    uptime_s: float | None = None
    cpu: float | None = None
    rss: int | None = None


class IncidentEvent(msgspec.Struct, frozen=True):
    """One change of an incident, carrying the incident as it was then."""

    uid: str
    change: Change
    time_ns: int
    incident: Incident


class InventoryItem(msgspec.Struct, frozen=True):
    """One thing a host is made of."""

    kind: str
    name: str
    facts: dict[str, str | bool | int | float] = {}


class Inventory(msgspec.Struct, frozen=True):
    """What a host is made of, whole; ``omitted`` counts items that were too many or too large."""

    time_ns: int
    digest: str
    items: tuple[InventoryItem, ...]
    omitted: int = 0


class InventoryChange(msgspec.Struct, frozen=True):
    """A sentence about what came, went or is another; ``place`` is its place in its record."""

    time_ns: int
    place: int
    text: str


class Reading(msgspec.Struct, frozen=True):
    """A value the fleet page paints without decoding a body; None: its series went away."""

    gauge: Gauge
    key: str
    time_ns: int
    value: float | None


class ModelKey(msgspec.Struct, frozen=True, array_like=True):
    """Who a figure of a model server is of; empty: of all there are."""

    endpoint: str = ""
    server: str = ""
    layer: str = ""
    model: str = ""
    version: str = ""


class Buckets(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a source counted in buckets of its own: ``counts`` has one more than ``bounds``.

    ``sum`` is of all that was counted, None where it is not told.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float | None = None

    def plus(self, other: Buckets) -> Buckets:
        """Add another; where bounds differ those that both have are kept, which is exact."""
        total = None if self.sum is None or other.sum is None else self.sum + other.sum
        if self.bounds == other.bounds:
            return Buckets(self.bounds, tuple(map(add, self.counts, other.counts)), total)
        shared = set(self.bounds).intersection(other.bounds)
        bounds = tuple(bound for bound in self.bounds if bound in shared)
        counts = [0.0] * (len(bounds) + 1)
        for one in (self, other):
            at = 0
            for bound, count in zip((*one.bounds, inf), one.counts, strict=True):
                counts[at] += count
                at += bound in shared
        return Buckets(bounds, tuple(counts), total)


class Count(msgspec.Struct, frozen=True, array_like=True):
    """A running total of requests of one outcome, or of tokens of one type."""

    what: str
    start_ns: int
    total: float


class ModelReading(msgspec.Struct, frozen=True):
    """What a window tells of one model at one server; a gauge of None went away."""

    key: ModelKey
    end_ns: int
    counts: dict[str, Count] = {}
    gauges: dict[str, float | None] = {}
    buckets: dict[str, Buckets] = {}


class ModelServer(msgspec.Struct, frozen=True):
    """What an agent knows of one model server; ``facts`` are the record's own words."""

    time_ns: int
    endpoint: str
    server: str
    title: str
    since_ns: int
    facts: dict[str, Any]


class SlotValue(msgspec.Struct, frozen=True):
    """A value that often stood in a slot of a template."""

    value: str
    count: int


class Slot(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stood in one slot of a template: a distribution of numbers, or values."""

    slot: int
    form: str
    looked: int = 0
    different: float | None = None
    top: tuple[SlotValue, ...] = ()
    count: int | None = None
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class LogTemplate(msgspec.Struct, frozen=True):
    """The lines of one template at one source in one window.

    ``record`` is a number made of the record's uid, by which a repeated one is recognised.
    ``first_ns`` and ``last_ns`` are times of lines in this window as their writers gave them;
    ``total`` counts since ``since_ns``.
    """

    record: int
    source: str
    uid: str
    start_ns: int
    end_ns: int
    count: int
    total: int
    since_ns: int
    first_ns: int
    last_ns: int
    severity: int
    text: str
    exemplar: str = ""
    slots: tuple[Slot, ...] = ()


class LogSource(msgspec.Struct, frozen=True):
    """What came from one source since it is known to the agent."""

    name: str
    events: int
    lines: int
    bytes: int
    warnings: int
    errors: int


class LogTold(msgspec.Struct, frozen=True):
    """What an agent says of its reading of logs: what was masked since its start, what was lost."""

    texts: int = 0
    touched: int = 0
    hits: dict[str, int] = {}
    lost: dict[str, int] = {}


class LogWindow(msgspec.Struct, frozen=True):
    """All that was logged in one window; ``untold`` events are in no template's record.

    ``merged`` has pairs of uids: of a template that is no more, and of the one it is part of.
    """

    start_ns: int
    end_ns: int
    events: int
    untold: int
    templates: int
    sources: tuple[LogSource, ...]
    told: LogTold
    merged: tuple[tuple[str, str], ...] = ()


class Batch(msgspec.Struct, frozen=True):
    """One accepted request of one agent, ready to be stored; ``body`` is gzip'd OTLP protobuf."""

    id: BatchId
    signal: Signal
    received_ns: int
    body: bytes
    facts: HostFacts = HostFacts()
    sent_ns: int | None = None
    window_start_ns: int | None = None
    window_end_ns: int | None = None
    heartbeat: Heartbeat | None = None
    incidents: tuple[IncidentEvent, ...] = ()
    inventory: Inventory | None = None
    inventory_changes: tuple[InventoryChange, ...] = ()
    log_templates: tuple[LogTemplate, ...] = ()
    log_windows: tuple[LogWindow, ...] = ()
    readings: tuple[Reading, ...] = ()
    models: tuple[ModelReading, ...] = ()
    model_servers: tuple[ModelServer, ...] = ()
    rejected: int = 0
    reason: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What became of a batch: durable when this exists. ``full``: no room for another agent."""

    duplicate: bool = False
    full: bool = False
