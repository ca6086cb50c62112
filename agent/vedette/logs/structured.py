"""Read lines that carry more than text: JSON, logfmt, and the wrappers of container engines.

A JSON line's parts go by many names. Which key is the message, the time, the level and the logger
is looked up in lists of the names in use, best first, once per set of keys. The other keys are kept
as fields, bounded in number and size; objects are flattened one level, ``attr.remote``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from vedette.logs.columns import Reading
from vedette.logs.entry import Severity
from vedette.logs.levels import severity_of_number, severity_of_word
from vedette.logs.syslog import text_of
from vedette.logs.timestamps import Clock, epoch_ns

#: Fields kept of a line, and how much of each name and value.
FIELDS_MAX, FIELD_MAX, KEY_MAX = 32, 256, 64
#: A longer line is no logfmt: taking it apart would cost milliseconds.
LOGFMT_MAX = 32_768

MESSAGES = (
    "message", "msg", "@message", "short_message", "log", "text", "event", "body", "_msg", "@m",
    "@mt", "RenderedMessage", "MessageTemplate", "MESSAGE", "Message", "textPayload",
    "fields.message", "jsonPayload.message", "event.original", "full_message", "description",
    "error", "err", "m",
)  # fmt: skip
TIMES = (
    "time", "timestamp", "ts", "@timestamp", "t", "@t", "t.$date", "datetime", "date", "asctime",
    "Timestamp", "Time", "eventTime", "event_time", "created", "_time", "start_time",
)  # fmt: skip
LEVELS = (
    "level", "severity", "lvl", "log.level", "levelname", "loglevel", "log_level", "logLevel",
    "Level", "LogLevel", "@l", "level_name", "severity_text", "severityText", "PRIORITY",
    "priority", "s",
)  # fmt: skip
LOGGERS = (
    "logger", "logger_name", "log.logger", "name", "loggerName", "component", "target", "category",
    "Category", "SourceContext", "module", "channel", "c",
)  # fmt: skip

_CRI = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr)"
    rb" ([FP])(?::\S{0,64})?(?: |$)"
)
_PAIR = re.compile(rb'([A-Za-z_@][\w.@/-]{0,63})=("(?:[^"\\]|\\.)*"|[^\s"]*)([ \t]+|$)', re.DOTALL)
_UNESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_LOGFMT_KEYS = frozenset((*MESSAGES[:4], "event", *TIMES[:5], *LEVELS[:5], "caller"))


class Part(NamedTuple):
    """What a container engine wrote of one write of a program: ``whole`` when its line ended."""

    text: bytes
    stream: str
    stamp: bytes
    whole: bool


class _DockerRecord(msgspec.Struct):
    log: str
    stream: str = ""
    time: str = ""


class _Plan(NamedTuple):
    message: str | None
    time: str | None
    level: str | None
    logger: str | None


class _Places(NamedTuple):
    message: int | None
    time: int | None
    level: int | None
    logger: int | None
    fields: tuple[tuple[int, str], ...]
    leading: int  # pairs of time, level and the like before the others


_docker = msgspec.json.Decoder(_DockerRecord)
_json = msgspec.json.Decoder()


def docker_part(line: bytes) -> Part | None:
    """Return a record of docker's json-file driver, None when the line is none."""
    if not line.startswith(b'{"log":"') or b'"stream":"' not in line:
        return None
    try:
        record = _docker.decode(line)
        text = record.log.encode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    whole = text.endswith(b"\n")
    stamp = record.time.encode("utf-8", "replace")
    return Part(text[:-1] if whole else text, record.stream, stamp, whole)


def cri_part(line: bytes) -> Part | None:
    """Return a line as the Kubernetes runtimes write it, None when it is none."""
    found = _CRI.match(line)
    if found is None:
        return None
    stream = "stdout" if found[2] == b"stdout" else "stderr"
    return Part(line[found.end() :], stream, found[1], found[3] == b"F")


def json_reading(line: bytes, clock: Clock) -> Reading | None:
    """Return what a line that is one JSON object says, None when it is none."""
    try:
        decoded = _json.decode(line)
    except msgspec.DecodeError:
        decoded = _decoded_anyway(line)
    except RecursionError:
        return None
    if not isinstance(decoded, dict):
        return None
    flat = decoded if _is_flat(decoded) else _flattened(decoded)
    plan = _plan(tuple(flat)[:128])
    body = _bytes(flat[plan.message]) if plan.message else line
    fields: dict[str, bytes] = {}
    for key, value in flat.items():
        if key in plan:
            continue
        if len(fields) >= FIELDS_MAX:
            break
        fields[key[:KEY_MAX]] = _bytes(value)[:FIELD_MAX]
    unit = ""
    if plan.logger:
        unit = _bytes(flat[plan.logger])[:KEY_MAX].decode("utf-8", "replace")
    return Reading(
        body.rstrip() or line,
        severity_in(flat[plan.level]) if plan.level else Severity.UNKNOWN,
        time_in(flat[plan.time], clock) if plan.time else None,
        unit,
        fields,
    )


def logfmt_reading(line: bytes, clock: Clock) -> Reading | None:
    """Return what a line of ``key=value`` pairs says, None when it is none.

    It has to consist of pairs to its end, two at least, and one of them has to be a message, a time
    or a level; a text that contains pairs is a text.
    """
    found = _PAIR.findall(line) if len(line) <= LOGFMT_MAX else []
    if sum(map(len, map(b"".join, found))) != len(line) - len(found) or len(found) < 2:
        return None
    keys, values, _ = zip(*found, strict=True)
    plan = _logfmt_plan(keys)
    if plan is None:
        return None
    if plan.message is None:
        body = line[sum(sum(map(len, pair)) + 1 for pair in found[: plan.leading]) :]
    else:
        body = _unquoted(values[plan.message])
        if body.startswith(b"audit("):  # the kernel's audit: the rest is the message
            stamp = body[6:].partition(b":")[0]
            return Reading(line, Severity.UNKNOWN, clock.parse(stamp), "audit")
    return Reading(
        body.rstrip() or line,
        Severity.UNKNOWN if plan.level is None else severity_of_word(_unquoted(values[plan.level])),
        None if plan.time is None else time_in(_unquoted(values[plan.time]), clock),
        "" if plan.logger is None else text_of(_unquoted(values[plan.logger])[:KEY_MAX]),
        {name: _unquoted(values[at])[:FIELD_MAX] for at, name in plan.fields},
    )


def severity_in(value: Any) -> Severity:
    """Return the severity a level field says: a word, a letter, or a number."""
    if isinstance(value, bool):
        return Severity.UNKNOWN
    if isinstance(value, int | float):
        return severity_of_number(value)
    return severity_of_word(_bytes(value))


def time_in(value: Any, clock: Clock) -> int | None:
    """Return the Unix ns a time field says: a stamp in any form, or a count since 1970."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return epoch_ns(value)
    return clock.parse(_bytes(value)[:64])


def _decoded_anyway(line: bytes) -> Any:
    """Decode a line with bytes that are no UTF-8, which JSON does not allow but programs write."""
    try:
        line.decode()
    except UnicodeDecodeError:
        try:
            return _json.decode(line.decode("utf-8", "replace"))
        except (msgspec.MsgspecError, RecursionError):
            return None
    return None


def _is_flat(decoded: dict[str, Any]) -> bool:
    return dict not in map(type, decoded.values())


def _flattened(decoded: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in decoded.items():
        if isinstance(value, dict):
            flat.update((f"{key}.{inner}", deeper) for inner, deeper in value.items())
        else:
            flat[key] = value
    return flat


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) else msgspec.json.encode(value)


def _first(names: tuple[str, ...], keys: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in keys), None)


@lru_cache(maxsize=512)
def _plan(keys: tuple[str, ...]) -> _Plan:
    """Return which keys mean what. One letter does only where its siblings do (MongoDB)."""
    if "msg" in keys and "s" in keys and "c" in keys:
        return _Plan("msg", _first(TIMES, keys), "s", "c")
    levels = tuple(name for name in LEVELS if len(name) > 1)
    loggers = tuple(name for name in LOGGERS if len(name) > 1)
    return _Plan(
        _first(MESSAGES, keys), _first(TIMES, keys), _first(levels, keys), _first(loggers, keys)
    )


@lru_cache(maxsize=512)
def _logfmt_plan(keys: tuple[bytes, ...]) -> _Places | None:
    """Return at which places the parts are, None without a message, a time or a level."""
    names = tuple(map(text_of, keys[: 2 * FIELDS_MAX]))
    message, time, level, logger = (
        next((names.index(name) for name in choice if name in names), None)
        for choice in ((*MESSAGES[:4], "event"), TIMES[:8], LEVELS[:8], LOGGERS[:6])
    )
    if message is None and time is None and level is None:
        return None
    parts = (message, time, level, logger)
    fields = [(at, name) for at, name in enumerate(names) if at not in parts]
    leading = next((at for at, name in enumerate(names) if name not in _LOGFMT_KEYS), len(names))
    return _Places(message, time, level, logger, tuple(fields[:FIELDS_MAX]), leading)


def _unquoted(value: bytes) -> bytes:
    if value[:1] != b'"' or len(value) < 2:
        return value
    value = value[1:-1]
    return _ESCAPE.sub(_unescape, value) if b"\\" in value else value


def _unescape(found: re.Match[bytes]) -> bytes:
    return _UNESCAPED.get(found[1], found[1])
