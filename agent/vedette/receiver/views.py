"""The JSON answers of the receiver, as types. Times are integer milliseconds since the epoch."""

from __future__ import annotations

import msgspec


class Headline(msgspec.Struct, frozen=True):
    """Shares 0 to 1 for a row of the fleet page; ``disk`` is the fullest filesystem."""

    cpu: float | None = None
    memory: float | None = None
    disk: float | None = None


class Open(msgspec.Struct, frozen=True):
    """Open incidents by severity."""

    info: int = 0
    warning: int = 0
    critical: int = 0


class Spark(msgspec.Struct, frozen=True):
    """The newest values of a small line: (time, value)."""

    cpu: list[tuple[int, float]]


class HostView(msgspec.Struct, frozen=True):
    """One host; None where it did not say.

    ``lag_s`` is the age of its newest window, ``clock_offset_s`` above 0 means that its clock is
    ahead, ``missing`` counts the sequences from 1 to the highest that never arrived,
    ``inventory_ms`` is the time of the newest inventory, ``logs_ms`` the end of the newest window
    of logs; both have answers of their own, as have the ``models`` that its servers tell of.
    """

    agent: str
    host: str
    host_id: str
    labels: msgspec.Raw
    version: str
    os: str
    cpus: int | None
    memory_bytes: int | None
    health: str
    reasons: tuple[str, ...]
    last_seen_ms: int
    newest_window_ms: int | None
    lag_s: float | None
    clock_offset_s: float | None
    interval_s: float | None
    series: int | None
    learning: float | None
    collectors: dict[str, str]
    backlog_batches: int | None
    dropped: int | None
    missing: int
    received: int
    duplicates: int
    agent_cpu: float | None
    agent_rss: int | None
    inventory_ms: int | None
    logs_ms: int | None
    models: int | None
    open: Open
    headline: Headline
    spark: Spark


class EpochView(msgspec.Struct, frozen=True):
    """What arrived of one numbering; ``missing`` are the runs between 1 and ``highest``."""

    agent: str
    host: str
    epoch: str
    first: int
    highest: int
    contiguous: int
    missing: list[tuple[int, int]]
    missing_count: int
    received: int
    duplicates: int


class HostsAnswer(msgspec.Struct, frozen=True):
    now_ms: int
    hosts: list[HostView]


class HostAnswer(msgspec.Struct, frozen=True):
    now_ms: int
    host: HostView
    epochs: list[EpochView]


class InventoryChangeView(msgspec.Struct, frozen=True):
    """What came, went or is another, in words."""

    time_ms: int
    text: str


class InventoryAnswer(msgspec.Struct, frozen=True):
    """What a host is made of: ``items`` are ``{kind, name, facts}``, ``changes`` newest first.

    ``time_ms`` is None for a host that never said. ``omitted`` counts items beyond what is kept.
    """

    now_ms: int
    time_ms: int | None
    digest: str
    items: msgspec.Raw
    omitted: int
    changes: list[InventoryChangeView]


class CompletenessAnswer(msgspec.Struct, frozen=True):
    epochs: list[EpochView]


class VerdictView(msgspec.Struct, frozen=True):
    """What the operator said of an incident: ``ack`` or ``false-alarm``."""

    word: str
    by: str
    time_ms: int
    note: str


class IncidentView(msgspec.Struct, frozen=True):
    """One incident in its newest state."""

    agent: str
    host: str
    id: str
    state: str
    severity: str
    resource: str
    title: str
    onset_ms: int
    opened_ms: int
    updated_ms: int
    resolved_ms: int | None
    series: msgspec.Raw
    suspects: msgspec.Raw
    verdict: VerdictView | None


class TrackView(msgspec.Struct, frozen=True):
    """Raw values of a series around an incident, evenly spaced; null = not read."""

    series: str
    unit: str
    start_ms: int
    step_ms: int
    values: tuple[float | None, ...]
    low: float | None
    high: float | None


class ChangeView(msgspec.Struct, frozen=True):
    """One change of an incident."""

    time_ms: int
    event: str
    severity: str
    title: str


class IncidentDetail(IncidentView, frozen=True):
    """One incident with its evidence and history."""

    evidence: list[TrackView]
    detectors: msgspec.Raw
    history: list[ChangeView]


class IncidentsAnswer(msgspec.Struct, frozen=True):
    now_ms: int
    incidents: list[IncidentView]


class IncidentAnswer(msgspec.Struct, frozen=True):
    incident: IncidentDetail


class SeriesView(msgspec.Struct, frozen=True):
    """A series of a host and its newest value."""

    key: str
    name: str
    attributes: dict[str, str]
    unit: str
    kind: str
    last: float | None
    last_ms: int


class SeriesAnswer(msgspec.Struct, frozen=True):
    series: list[SeriesView]


class LineView(msgspec.Struct, frozen=True, omit_defaults=True):
    """The points of one series: (end_ms, p50, min, max, mean, count), oldest first.

    A count of 0 marks a value carried over a window in which the series did not change. ``tails``
    are the 95th percentiles of the points, of a metric that comes in buckets with bounds.
    """

    key: str
    attributes: dict[str, str]
    points: list[tuple[int, float | None, float | None, float | None, float | None, int]]
    tails: list[float | None] = []


class MetricsAnswer(msgspec.Struct, frozen=True):
    name: str
    unit: str
    kind: str
    series: list[LineView]


class ErrorAnswer(msgspec.Struct, frozen=True):
    error: str
