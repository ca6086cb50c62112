"""The JSON answers about models, as types. Times are integer milliseconds since the epoch."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from vedette.receiver.views import IncidentView, Open

#: Whether a share of errors is told: by model, for the whole server only, or not at all.
ErrorsTold = Literal["yes", "server", "no"]


class Quantiles(msgspec.Struct, frozen=True):
    """Median and 95th percentile as far as buckets tell, each ``about``, ``at most``, ``at least``
    its value; None where a server counts without buckets. ``count`` is how many were timed.
    """

    p50: float | None
    p50_sense: str
    p95: float | None
    p95_sense: str
    mean: float | None
    count: float


class ModelFigures(msgspec.Struct, frozen=True):
    """What the last minutes said; None where nothing did.

    ``rate`` is requests per second, of which ``errors`` is the share that failed on the server's
    side. ``untold`` names outcomes that the server cannot tell: they are in no figure, and not 0.
    ``line`` has requests per second of each of the last minutes.
    """

    rate: float | None
    timed: bool
    errors: float | None
    errors_told: ErrorsTold
    untold: tuple[str, ...]
    outcomes: dict[str, float]
    ttft: Quantiles | None
    duration: Quantiles | None
    waiting: float | None
    running: float | None
    kv: float | None
    tokens_in: float | None
    tokens_out: float | None
    drift: float | None
    burn: float | None
    budget: float | None
    line: list[float | None]


class ModelView(msgspec.Struct, frozen=True):
    """One model, version, server and layer over the fleet.

    ``names`` are the models that the servers' records name, where no series does. ``silent`` counts
    hosts whose reports stopped: they are in no figure. ``up`` and ``down`` count servers.
    ``since_ms`` is the newest time that one of them began to answer. ``served`` is False for a name
    that was asked for, and is not among the models that the servers name.
    """

    model: str
    version: str
    server: str
    layer: str
    names: tuple[str, ...]
    releases: tuple[str, ...]
    hosts: int
    endpoints: int
    silent: int
    up: int
    down: int
    served: bool
    since_ms: int | None
    newest_ms: int
    open: Open
    figures: ModelFigures


class ModelsAnswer(msgspec.Struct, frozen=True):
    """The models of the fleet, what needs attention first; ``matching`` of them fit the filter.

    ``columns`` are those optional figures that any of the models has. ``full`` are hosts that tell
    of more models than are kept.
    """

    now_ms: int
    span_s: int
    line_step_s: int
    matching: int
    columns: tuple[str, ...]
    full: tuple[str, ...]
    models: list[ModelView]


class ServerFacts(msgspec.Struct, frozen=True):
    """What the newest record of a server says; ``blind`` is what it cannot tell, by its kind."""

    time_ms: int
    title: str
    since_ms: int | None
    facts: dict[str, Any]
    blind: tuple[str, ...]


class InstanceView(msgspec.Struct, frozen=True):
    """A model at one server of one host."""

    agent: str
    host: str
    silent: bool
    endpoint: str
    server: str
    layer: str
    model: str
    version: str
    up: bool | None
    served: bool
    newest_ms: int
    open: Open
    figures: ModelFigures
    facts: ServerFacts | None


class EventView(msgspec.Struct, frozen=True):
    """Something that happened on a host; ``kind`` is ``model``, ``inventory``, ``agent``,
    ``incident``.
    """

    time_ms: int
    agent: str
    host: str
    kind: str
    place: str
    text: str


class ModelAnswer(msgspec.Struct, frozen=True):
    """One model wherever it runs: each place, what happened there, and incidents about it."""

    now_ms: int
    span_s: int
    line_step_s: int
    matching: int
    instances: list[InstanceView]
    events: list[EventView]
    incidents: list[IncidentView]


class HappenedAnswer(msgspec.Struct, frozen=True):
    """What happened on a host around an incident, oldest first."""

    now_ms: int
    from_ms: int
    to_ms: int
    events: list[EventView]
    omitted: int
