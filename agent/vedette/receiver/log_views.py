"""The JSON answers about logs, as types. Times are integer milliseconds since the epoch."""

from __future__ import annotations

import msgspec


class LogLine(msgspec.Struct, frozen=True):
    """A template at one source; its place is (source, uid).

    ``hour`` counts the last hour, ``spark`` the same in ``LogsAnswer.step_ms`` steps, oldest first.
    ``new``: first seen in that hour, on a host that is known for longer. ``total`` counts since
    ``since_ms``.
    """

    source: str
    uid: str
    text: str
    severity: int
    hour: int
    spark: list[int]
    total: int
    since_ms: int
    first_ms: int
    last_ms: int
    new: bool


class LogSourceView(msgspec.Struct, frozen=True):
    """What came from one source: in the last hour by template, and in all as the agent counts."""

    source: str
    templates: int
    hour: int
    hour_warnings: int
    hour_errors: int
    events: int
    lines: int
    bytes: int
    warnings: int
    errors: int
    newest_ms: int


class LogHour(msgspec.Struct, frozen=True):
    """The last hour of a host; ``untold`` events were too many, or of no interest, to be told."""

    events: int = 0
    untold: int = 0
    warnings: int = 0
    errors: int = 0
    templates: int = 0
    new: int = 0


class LogsAnswer(msgspec.Struct, frozen=True):
    """What a host logged; ``newest_ms`` is None for one that never said.

    ``matching`` counts the templates that the filter leaves, ``templates`` are the first of them.
    ``told`` is what the agent says of its reading: texts masked since its start, what was lost.
    """

    now_ms: int
    began_ms: int | None
    newest_ms: int | None
    step_ms: int
    hour: LogHour
    known: int
    matching: int
    templates: list[LogLine]
    sources: list[LogSourceView]
    told: msgspec.Raw


class LogTemplateView(LogLine, frozen=True):
    """A template with an example, what stood in its slots, and its history.

    ``windows`` are (start, end, count), ``hours`` (start, count), oldest first: the hours count the
    windows too. What is in neither was not told of.
    """

    exemplar: str
    slots: msgspec.Raw
    windows: list[tuple[int, int, int]]
    hours: list[tuple[int, int]]


class LogTemplateAnswer(msgspec.Struct, frozen=True):
    now_ms: int
    newest_ms: int
    step_ms: int
    template: LogTemplateView


class SaidView(msgspec.Struct, frozen=True):
    """A template that stood out around an incident; ``reasons`` are new, more, error."""

    source: str
    uid: str
    text: str
    severity: int
    first_ms: int
    count: int
    usual: float | None
    reasons: tuple[str, ...]


class IncidentLogsAnswer(msgspec.Struct, frozen=True):
    """What the logs said around an incident; ``from_ms`` is None where no window is kept of it."""

    now_ms: int
    from_ms: int | None
    to_ms: int | None
    said: list[SaidView]
    omitted: int
