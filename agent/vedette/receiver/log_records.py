"""Read what an agent tells of its logs: a record per template and source, and one per window. Pure.

Each says which window it is of. A record can come twice, word for word: an agent that was killed
repeats what may not have arrived. Its ``log.record.uid`` says which ones are the same.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from vedette.receiver.batch import LogSource, LogTemplate, LogTold, LogWindow, Slot, SlotValue
from vedette.receiver.limits import (
    KEY_MAX,
    LOG_COUNT_MAX,
    LOG_MERGED_MAX,
    LOG_SOURCES_MAX,
    LOG_TEXT_MAX,
    RULES_MAX,
    SECOND_NS,
    SLOT_TEXT_MAX,
    SLOT_VALUES_MAX,
    SLOTS_MAX,
    clip,
)
from vedette.receiver.untrusted import (
    attributes,
    distinct,
    each_of,
    integer_of,
    real_of,
    text_of,
)

LOG = "vedette.log."
START, END = "vedette.window.start", "vedette.window.end"
#: The window of a record that does not say how long it is, and the longest one.
USUAL_NS, LONGEST_NS = 60 * SECOND_NS, 86_400 * SECOND_NS

_UID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)


def log_template(time_ns: int, record: Any) -> LogTemplate | None:
    """Read the record of one template; None when it does not say which, or how often."""
    values = attributes(record.attributes)
    source = distinct(text_of(values.get(f"{LOG}source")), KEY_MAX)
    uid = text_of(values.get(f"{LOG}template"))
    count = integer_of(values.get(f"{LOG}count"))
    if not source or not _UID.fullmatch(uid) or not count:
        return None
    count = min(count, LOG_COUNT_MAX)
    start_ns, end_ns = _window(time_ns, values)
    last_ns = min(integer_of(values.get(f"{LOG}last")) or end_ns, end_ns)
    first_ns = min(integer_of(values.get(f"{LOG}first")) or start_ns, last_ns)
    return LogTemplate(
        record=_number(text_of(values.get("log.record.uid")) or f"{source}\0{uid}\0{end_ns}"),
        source=source,
        uid=uid,
        start_ns=start_ns,
        end_ns=end_ns,
        count=count,
        total=max(integer_of(values.get(f"{LOG}total")) or 0, count),
        since_ns=min(integer_of(values.get(f"{LOG}since")) or start_ns, end_ns),
        first_ns=first_ns,
        last_ns=last_ns,
        severity=record.severity_number if 1 <= record.severity_number <= 24 else 0,
        text=clip(record.body.string_value, LOG_TEXT_MAX),
        exemplar=clip(text_of(values.get(f"{LOG}exemplar")), LOG_TEXT_MAX),
        slots=each_of(values.get(f"{LOG}slots"), _slot, SLOTS_MAX),
    )


def log_window(time_ns: int, record: Any) -> LogWindow:
    """Read the record of a whole window."""
    values = attributes(record.attributes)
    start_ns, end_ns = _window(time_ns, values)
    return LogWindow(
        start_ns=start_ns,
        end_ns=end_ns,
        events=_count(values.get(f"{LOG}events")),
        untold=_count(values.get(f"{LOG}events.untold")),
        templates=_count(values.get(f"{LOG}templates")),
        sources=_sources(record),
        told=_told(values),
        merged=_merged(record),
    )


def _window(time_ns: int, values: dict[str, Any]) -> tuple[int, int]:
    end_ns = integer_of(values.get(END)) or time_ns
    start_ns = integer_of(values.get(START)) or 0
    if not 0 < end_ns - start_ns <= LONGEST_NS:
        start_ns = max(end_ns - USUAL_NS, 0)
    return start_ns, end_ns


def _number(uid: str) -> int:
    """Return a uid as a number that SQLite can keep; two that collide would have to be sought."""
    digest = hashlib.blake2b(uid.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _slot(values: dict[str, Any]) -> Slot | None:
    place = integer_of(values.get("slot"))
    if place is None:
        return None
    numbers = {
        name: real_of(values.get(name))
        for name in ("different", "sum", "min", "max", "p50", "p95", "p99")
    }
    return Slot(
        slot=place,
        form=clip(text_of(values.get("form")), SLOT_TEXT_MAX),
        looked=_count(values.get("looked")),
        top=each_of(values.get("top"), _slot_value, SLOT_VALUES_MAX),
        count=integer_of(values.get("count")),
        **numbers,
    )


def _slot_value(values: dict[str, Any]) -> SlotValue | None:
    value = values.get("value")
    if not isinstance(value, str):
        return None
    return SlotValue(clip(value, SLOT_TEXT_MAX), _count(values.get("count")))


def _sources(record: Any) -> tuple[LogSource, ...]:
    """Read the totals by source: more of them than attributes usually have of anything."""
    found: dict[str, LogSource] = {}
    for pair in record.attributes:
        if pair.key != f"{LOG}sources":
            continue
        for one in pair.value.kvlist_value.values[:LOG_SOURCES_MAX]:
            name = distinct(one.key, KEY_MAX)
            values = attributes(one.value.kvlist_value.values)
            if name and values:
                counts = ("events", "lines", "bytes", "warnings", "errors")
                found[name] = LogSource(name, *(_count(values.get(key)) for key in counts))
    return tuple(found.values())


def _merged(record: Any) -> tuple[tuple[str, str], ...]:
    """Read which templates are part of which; of those that are said twice, the last."""
    found: dict[str, str] = {}
    for pair in record.attributes:
        if pair.key != f"{LOG}merged":
            continue
        for one in pair.value.kvlist_value.values[:LOG_MERGED_MAX]:
            into = one.value.string_value
            if _UID.fullmatch(one.key) and _UID.fullmatch(into) and into != one.key:
                found[one.key] = into
    return tuple(found.items())


def _told(values: dict[str, Any]) -> LogTold:
    redacted = values.get(f"{LOG}redacted")
    redacted = redacted if isinstance(redacted, dict) else {}
    hits = redacted.get("hits")
    lost = {
        key.removeprefix(f"{LOG}"): value
        for key, value in values.items()
        if key == f"{LOG}lost" or key.startswith(f"{LOG}lost.")
    }
    return LogTold(
        texts=_count(redacted.get("texts")),
        touched=_count(redacted.get("touched")),
        hits=_counts(hits if isinstance(hits, dict) else {}),
        lost=_counts(lost),
    )


def _counts(values: dict[str, Any]) -> dict[str, int]:
    return {key: _count(value) for key, value in list(values.items())[:RULES_MAX]}


def _count(value: Any) -> int:
    return min(integer_of(value) or 0, (1 << 53) - 1)
