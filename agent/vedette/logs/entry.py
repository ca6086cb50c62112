"""One log event as the rest of the package sees it, whatever format it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

import msgspec

NO_FIELDS: Mapping[str, bytes] = MappingProxyType({})


class Severity(IntEnum):
    """How grave the writer says it is: the base numbers of OpenTelemetry's log data model."""

    UNKNOWN = 0
    TRACE = 1
    DEBUG = 5
    INFO = 9
    WARN = 13
    ERROR = 17
    FATAL = 21


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One log event.

    ``body`` is the message without its header, with the lines of a stack trace joined by newlines;
    ``time_ns`` Unix nanoseconds as the writer wrote them, None without a usable timestamp;
    ``fields`` what a structured format carried beside the message (bounded by its reader), and
    ``unit`` the program, service or container that wrote it, empty when unknown. ``size`` counts
    the raw bytes it was read from, line ends included, ``lines`` the lines. ``head`` is what stood
    before the message, where somebody asked for it.
    """

    body: bytes
    time_ns: int | None = None
    severity: Severity = Severity.UNKNOWN
    unit: str = ""
    fields: Mapping[str, bytes] = NO_FIELDS
    size: int = 0
    lines: int = 1
    head: bytes = b""
