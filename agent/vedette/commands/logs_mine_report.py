"""Write what mining log files found: as CSV, as JSON, and for a person."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TextIO

import msgspec

from vedette.commands.json_text import json_text
from vedette.commands.logs_mine_ledger import Ledger, Mined
from vedette.commands.logs_mine_sessions import Judged
from vedette.logs.entry import Severity
from vedette.logs.miner import OVERFLOW
from vedette.logs.profile import LEAST
from vedette.terminal import age, table

__all__ = ["Report", "in_words", "json_of", "write_assigned", "write_templates", "write_verdicts"]

#: Templates and sessions that are shown, and characters of each.
LISTED, LISTED_SESSIONS, SHOWN = 50, 20, 400


class Report(msgspec.Struct, frozen=True):
    """What came of it; no sessions where none were asked for."""

    ledger: Ledger
    templates: list[Mined]
    judged: list[Judged] | None
    seconds: float


# ---------------------------------------------------------------- files


def write_assigned(file: TextIO, ledger: Ledger) -> None:
    """Write the template of each line."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["file", "line", "template"])
    for name, lines, templates in ledger.assigned():
        rows.writerows(zip(repeat(name), lines, templates))


def write_templates(file: TextIO, templates: Sequence[Mined]) -> None:
    """Write the templates."""
    rows = csv.writer(file, lineterminator="\n")
    head = ["template", "pattern", "text", "count", "level", "first_file", "first_line", "example"]
    rows.writerow(head)
    for one in templates:
        place = (one.first_file, one.first_line, _text(one.example))
        rows.writerow([one.id, one.pattern, one.text, one.count, _level(one.severity), *place])


def write_verdicts(file: TextIO, judged: Iterable[Judged]) -> None:
    """Write what is thought of each session."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["session", "abnormal", "score", "reason", "templates"])
    for one in judged:
        score = "" if one.score is None else f"{one.score:.4f}"
        templates = " ".join(map(str, one.templates))
        rows.writerow([_text(one.key), int(one.abnormal), score, one.reason, templates])


# ---------------------------------------------------------------- JSON


def json_of(report: Report) -> str:
    """Return everything but the lines and the ordinary sessions as JSON."""
    ledger, judged = report.ledger, report.judged
    told: dict[str, object] = {
        "lines": ledger.lines,
        "entries": ledger.entries,
        "seconds": round(report.seconds, 3),
        "given_up": ledger.miner.overflowed,
        "templates": [
            {
                "id": one.id,
                "pattern": one.pattern,
                "text": one.text,
                "count": one.count,
                "level": _level(one.severity),
                "first_file": _name(one.first_file),
                "first_line": one.first_line,
                "example": _text(one.example),
            }
            for one in report.templates
        ],
    }
    if judged is not None:
        told["sessions"] = len(judged)
        told["abnormal"] = [
            {
                "session": _text(one.key),
                "score": one.score,
                "reason": one.reason,
                "templates": one.templates,
            }
            for one in judged
            if one.abnormal
        ]
    return json_text(told)


# ---------------------------------------------------------------- for a person


def in_words(report: Report, *, tables: bool, everything: bool) -> Iterator[str]:
    """Yield what came of it; the tables where it was not written to files."""
    if tables:
        yield from _table(report.templates, everything=everything)
    ledger, lines, seconds = report.ledger, report.ledger.lines, report.seconds
    files = sum(not one.normal for one in ledger.files)
    used = sum(one.count > 0 for one in report.templates)
    yield (
        f"{_count(lines, 'line')} of {_count(files, 'file')}: {_count(ledger.entries, 'entry')}, "
        f"{_count(used, 'template')}, in {f'{seconds:.2f} s' if seconds < 10 else age(seconds)}"
    )
    if ledger.miner.overflowed:
        yield (
            f"{_count(ledger.miner.overflowed, 'template')} given up, as there were too many: "
            f"their lines count for template {OVERFLOW}"
        )
    if report.judged is not None:
        yield from _sessions(report, report.judged, tables=tables)


def _table(templates: Sequence[Mined], *, everything: bool) -> Iterator[str]:
    ranked = sorted((one for one in templates if one.count), key=lambda one: (-one.count, one.id))
    shown = ranked if everything else ranked[:LISTED]
    rows = [
        (str(one.count), str(one.id), _level(one.severity), _short(one.text) or "(empty)")
        for one in shown
    ]
    if rows:
        yield from table(rows, ("count", "id", "level", "template"), right=(0, 1))
    if len(shown) < len(ranked):
        yield f"and {len(ranked) - len(shown)} more (--all shows them)"
    if rows:
        yield ""


def _sessions(report: Report, judged: Sequence[Judged], *, tables: bool) -> Iterator[str]:
    normal = [one for one in report.ledger.files if one.normal]
    odd = [one for one in judged if one.abnormal]
    if not judged:
        yield "no session: no line has a key that --session finds"
        return
    yield f"{_count(len(judged), 'session')}, {len(odd)} abnormal"
    unjudged = sum(one.score is None for one in judged)
    if unjudged:
        what = "in what was given as normal" if normal else "before"
        yield f"{unjudged} not judged: fewer than {LEAST} sessions {what}"
    if odd and tables:
        worst = sorted(odd, key=lambda one: -(one.score or 0.0))[:LISTED_SESSIONS]
        rows = [(_text(one.key), f"{one.score or 0:.1f}", one.reason) for one in worst]
        yield ""
        yield from table(rows, ("session", "score", "why"), right=(1,))
        if len(odd) > len(worst):
            yield f"and {len(odd) - len(worst)} more (--verdicts FILE has them all)"


def _short(text: str) -> str:
    """Return a template's text at a length that can be read."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _level(severity: Severity) -> str:
    """Return a severity as the agent calls it."""
    if severity is Severity.UNKNOWN:
        return ""
    return "warning" if severity is Severity.WARN else severity.name.lower()


def _text(data: bytes) -> str:
    """Return bytes of a log as text; what is no UTF-8 as escapes."""
    return data.decode("utf-8", "backslashreplace")


def _name(name: str) -> str:
    """Return a file's name as text that can be written, whatever bytes it is of."""
    return _text(name.encode("utf-8", "surrogateescape"))


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
