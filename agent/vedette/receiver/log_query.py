"""Answer questions about what hosts logged: lists, one template's history, what an incident had."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import msgspec

from vedette.receiver.limits import SECOND_NS
from vedette.receiver.log_around import ERROR, Around, Said, around
from vedette.receiver.log_views import (
    IncidentLogsAnswer,
    LogHour,
    LogLine,
    LogsAnswer,
    LogSourceView,
    LogTemplateAnswer,
    LogTemplateView,
    SaidView,
)
from vedette.receiver.query import MS_NS, Reader

HOUR_NS = 3600 * SECOND_NS
#: Steps of the small line of the last hour.
STEPS = 30
STEP_NS = HOUR_NS // STEPS

Grade = Literal["error", "warning", "info", "debug"]
Order = Literal["severity", "count", "last", "first", "total", "source", "text"]

_HOST = "SELECT id, began, newest, told FROM log_host WHERE agent = ?"
_TEMPLATES = """
SELECT t.id, s.name, t.uid, t.body, t.severity, t.first, t.last, t.since, t.total
FROM log_template t JOIN log_source s ON s.id = t.source WHERE t.host = ?
"""
_HOUR = """
SELECT template, max(w.end - ?2 - 1, 0) / ?3, sum(count)
FROM log_window w JOIN log_count c ON c.window = w.id
WHERE host = ?1 AND hours = 0 AND end > ?2 GROUP BY 1, 2
"""
_UNTOLD = "SELECT coalesce(sum(untold), 0) FROM log_window WHERE host = ? AND hours = 0 AND end > ?"
_SOURCES = """
SELECT name, newest, events, lines, bytes, warnings, errors FROM log_source WHERE host = ?
"""
_HISTORY = """
SELECT w.hours, w.start, w.end, coalesce(sum(c.count), 0) FROM log_window w
LEFT JOIN log_count c ON c.window = w.id AND c.template = ?2
WHERE w.host = ?1 GROUP BY w.id ORDER BY w.end
"""

_ORDERS: dict[Order, Callable[[LogLine], Any]] = {
    "severity": lambda one: (-GRADES.index(grade_of(one.severity)), one.hour, one.last_ms),
    "count": lambda one: one.hour,
    "last": lambda one: one.last_ms,
    "first": lambda one: one.first_ms,
    "total": lambda one: one.total,
    "source": lambda one: one.source,
    "text": lambda one: one.text,
}
#: Orders that a person reads from the start of the alphabet.
_RISING = ("source", "text")
GRADES: tuple[Grade, ...] = get_args(Grade)
ORDERS: tuple[Order, ...] = get_args(Order)


class LogFilter(msgspec.Struct, frozen=True):
    """Which templates are asked for: all words in their text, a source, a grade, new ones only."""

    text: str = ""
    source: str = ""
    grade: Grade | None = None
    new: bool = False

    def takes(self, one: LogLine, words: Sequence[str]) -> bool:
        """Tell whether a template is asked for; ``words`` are those of the text."""
        if self.new and not one.new:
            return False
        if self.source and one.source != self.source:
            return False
        if self.grade is not None and grade_of(one.severity) != self.grade:
            return False
        text = f"{one.text}\n{one.source}\n{one.uid}".casefold() if words else ""
        return all(word in text for word in words)


class LogReader:
    """Reads the tables of logs; any thread."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def logs(
        self, agent: str, wanted: LogFilter, order: Order, down: bool, limit: int
    ) -> LogsAnswer:
        """Return what a host logged; ``down``: against the usual direction of the order."""
        rows = self._reader.rows(_HOST, (agent,))
        if not rows:
            return self._nothing()
        host, began, newest, told = rows[0]
        lines = self._lines(host, began, newest)
        words = wanted.text.casefold().split()
        found = [one for one in lines.values() if wanted.takes(one, words)]
        found.sort(key=lambda one: (one.source, one.uid))
        found.sort(key=_ORDERS[order], reverse=(order not in _RISING) != down)
        ((untold,),) = self._reader.rows(_UNTOLD, (host, newest - HOUR_NS))
        return LogsAnswer(
            now_ms=self._now_ms(),
            began_ms=began // MS_NS,
            newest_ms=newest // MS_NS,
            step_ms=STEP_NS // MS_NS,
            hour=_hour(lines.values(), untold),
            known=len(lines),
            matching=len(found),
            templates=found[:limit],
            sources=self._sources(host, lines),
            told=msgspec.Raw(told.encode()),
        )

    def template(self, agent: str, source: str, uid: str) -> LogTemplateAnswer | None:
        """Return one template with its history, None when it is not known."""
        rows = self._reader.rows(_HOST, (agent,))
        if not rows:
            return None
        host, began, newest, _ = rows[0]
        own = self._reader.rows(
            "SELECT t.id, exemplar, slots FROM log_template t JOIN log_source s ON s.id = t.source"
            " WHERE t.host = ? AND s.name = ? AND uid = ?",
            (host, source, uid),
        )
        if not own:
            return None
        number, exemplar, slots = own[0]
        line = self._lines(host, began, newest, number)[number]
        windows, hours = self._history(host, number)
        view = LogTemplateView(
            **msgspec.structs.asdict(line),
            exemplar=exemplar,
            slots=msgspec.Raw(slots.encode()),
            windows=windows,
            hours=hours,
        )
        return LogTemplateAnswer(self._now_ms(), newest // MS_NS, STEP_NS // MS_NS, view)

    def incident(self, agent: str, identity: str) -> IncidentLogsAnswer | None:
        """Return what the logs said around an incident, None when there is no such incident."""
        rows = self._reader.rows(
            "SELECT onset, (SELECT id FROM log_host h WHERE h.agent = i.agent),"
            " (SELECT said FROM log_incident l WHERE l.agent = i.agent AND l.id = i.id)"
            " FROM incident i WHERE agent = ? AND id = ?",
            (agent, identity),
        )
        if not rows:
            return None
        onset, host, kept = rows[0]
        found: Around | None = None
        if kept is not None:
            found = msgspec.json.decode(kept, type=Around)
        elif host is not None:
            found = around(self._reader.rows, host, onset)
        if found is None:
            return IncidentLogsAnswer(self._now_ms(), None, None, [], 0)
        return IncidentLogsAnswer(
            now_ms=self._now_ms(),
            from_ms=found.from_ns // MS_NS,
            to_ms=found.to_ns // MS_NS,
            said=[_said_view(one) for one in found.said],
            omitted=found.omitted,
        )

    def _lines(
        self, host: int, began: int, newest: int, only: int | None = None
    ) -> dict[int, LogLine]:
        """Return the templates of a host by number, or the one."""
        since = newest - HOUR_NS
        sparks: dict[int, list[int]] = {}
        for number, step, count in self._reader.rows(_HOUR, (host, since, STEP_NS)):
            if only is None or number == only:
                spark = sparks.setdefault(number, [0] * STEPS)
                spark[min(step, STEPS - 1)] += count
        sql, values = _TEMPLATES, (host,)
        if only is not None:
            sql, values = f"{sql} AND t.id = ?", (host, only)  # type: ignore[assignment]
        found = {}
        for (
            number,
            source,
            uid,
            text,
            severity,
            first,
            last,
            total_since,
            total,
        ) in self._reader.rows(sql, values):
            spark = sparks.get(number, [])
            found[number] = LogLine(
                source=source,
                uid=uid,
                text=text,
                severity=severity,
                hour=sum(spark),
                spark=spark,
                total=total,
                since_ms=total_since // MS_NS,
                first_ms=first // MS_NS,
                last_ms=last // MS_NS,
                new=first > since >= began,
            )
        return found

    def _sources(self, host: int, lines: dict[int, LogLine]) -> list[LogSourceView]:
        by_source: dict[str, list[LogLine]] = defaultdict(list)
        for line in lines.values():
            by_source[line.source].append(line)
        found = []
        for name, newest, events, lines_read, octets, warnings, errors in self._reader.rows(
            _SOURCES, (host,)
        ):
            some = by_source.get(name, [])
            hour = _by_grade(some)
            found.append(
                LogSourceView(
                    source=name,
                    templates=len(some),
                    hour=hour.total(),
                    hour_warnings=hour["warning"],
                    hour_errors=hour["error"],
                    events=events,
                    lines=lines_read,
                    bytes=octets,
                    warnings=warnings,
                    errors=errors,
                    newest_ms=newest // MS_NS,
                )
            )
        found.sort(key=lambda one: (-one.hour, -one.events, one.source))
        return found

    def _history(
        self, host: int, number: int
    ) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
        """Return the windows as they were told, and hours: those of old and of these windows."""
        windows: list[tuple[int, int, int]] = []
        hours: Counter[int] = Counter()
        for coarse, start, end, count in self._reader.rows(_HISTORY, (host, number)):
            if not coarse:
                windows.append((start // MS_NS, end // MS_NS, count))
            hours[(end - 1) // HOUR_NS * HOUR_NS // MS_NS] += count
        return windows, sorted(hours.items())

    def _nothing(self) -> LogsAnswer:
        return LogsAnswer(
            self._now_ms(),
            None,
            None,
            STEP_NS // MS_NS,
            LogHour(),
            0,
            0,
            [],
            [],
            msgspec.Raw(b"{}"),
        )

    def _now_ms(self) -> int:
        return self._reader.clock_ns() // MS_NS


def grade_of(severity: int) -> Grade:
    """Return the grade of an OpenTelemetry severity number; unknown ones are information."""
    if severity >= ERROR:
        return "error"
    if severity >= 13:
        return "warning"
    return "debug" if 1 <= severity < 9 else "info"


def _by_grade(lines: Sequence[LogLine]) -> Counter[Grade]:
    counts: Counter[Grade] = Counter()
    for one in lines:
        counts[grade_of(one.severity)] += one.hour
    return counts


def _hour(lines: Any, untold: int) -> LogHour:
    lines = list(lines)
    grades = _by_grade(lines)
    return LogHour(
        events=grades.total() + untold,
        untold=untold,
        warnings=grades["warning"],
        errors=grades["error"],
        templates=sum(one.hour > 0 for one in lines),
        new=sum(one.new for one in lines),
    )


def _said_view(one: Said) -> SaidView:
    usual = None if one.usual is None else round(one.usual, 1)
    return SaidView(
        one.source, one.uid, one.text, one.severity, one.first_ns // MS_NS, one.count, usual,
        one.reasons,
    )  # fmt: skip
