"""Show what the running agent has of this host's logs: newest lines, templates, one template."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from vedette.commands.json_text import out_json
from vedette.commands.locate import ask_running
from vedette.terminal import age, clock, hanging, number, out, paint, printable, table

__all__ = ["show", "tail", "templates"]

#: Seconds between two looks of ``tail --follow``.
LOOK_S = 0.5
SHOWN, TEXT_MAX = 50, 200
#: The least number of each severity in OpenTelemetry's log data model.
SEVERITIES = {"debug": 5, "info": 9, "warning": 13, "error": 17, "fatal": 21}
_COLOURS = ((17, "red"), (13, "yellow"))


def tail(options: argparse.Namespace) -> int:
    """Print the newest lines the agent has read; with ``--follow`` those that come, too."""
    since = 0
    while True:
        answer = _ask(
            options,
            "tail",
            source=options.source,
            grep=options.grep,
            lines=options.lines if not since else 2000,
            severity=SEVERITIES.get(options.severity, 0),
            since=since,
        )
        for line in answer["lines"]:
            if options.json:
                out(msgspec.json.encode(line).decode())
            else:
                out(_line(line))
        sys.stdout.flush()
        if not options.follow:
            return 0
        since = answer["next"] or 1
        try:
            time.sleep(LOOK_S)
        except KeyboardInterrupt:
            return 0


def templates(options: argparse.Namespace) -> int:
    """Print the templates of this host's logs, the most frequent first."""
    answer = _ask(options, "templates", source=options.source)
    if options.json:
        out_json(answer)
        return 0
    _reading(answer["reading"])
    rows = answer["templates"]
    if not rows:
        out("no lines yet")
        return 0
    now_ns = time.time_ns()
    shown = rows if options.all else rows[:SHOWN]
    out()
    cells = [
        (
            one["id"][:8],
            number(one["total"]),
            _severity(one["severity"]),
            f"{age(max(now_ns - one['last'], 0) / 1e9)} ago",
            printable(one["source"]),
            printable(one["text"][:TEXT_MAX]),
        )
        for one in shown
    ]
    out("\n".join(table(cells, ("id", "lines", "", "last", "source", "template"))))
    if len(rows) > len(shown):
        out(f"and {len(rows) - len(shown)} more; --all prints them")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print what is known of one template."""
    answer = _ask(options, "show", id=options.id)
    if options.json:
        out_json(answer)
        return 0
    out(f"{paint(answer['id'], 'bold')}  {printable(answer['text'])}")
    for one in answer["ringing"]:
        out(hanging(printable(f"{one['source']}: {one['text']}"), 10, "ringing"))
    out()
    for one in answer["sources"]:
        words = f"{number(one['total'])} since {clock(one['since'])}, last {clock(one['last'])}"
        out(hanging(printable(f"{one['source']}: {words}"), 10, "lines"))
    for place, slot in enumerate(answer["slots"]):
        out(hanging(printable(_slot(slot)), 10, f"slot {place}"))
    out()
    for line in answer["lines"]:
        out(_line(line))
    return 0


def _ask(options: argparse.Namespace, question: str, **arguments: Any) -> dict[str, Any]:
    _, answer = ask_running(
        options.state_dir, "collector", collector="logs", question=question, **arguments
    )
    return answer


def _reading(reading: Mapping[str, Any]) -> None:
    files: Sequence[str] = reading.get("files", ())
    out(hanging(printable(str(reading.get("journal", "not read"))), 10, "journal"))
    out(hanging(printable(", ".join(files) or "none"), 10, "files"))
    for path, reason in reading.get("troubles", {}).items():
        out(hanging(printable(f"{path}: {reason}"), 10, "trouble"))


def _line(line: Mapping[str, Any]) -> str:
    severity = _severity(line["severity"])
    text = printable(line["text"])
    return f"{clock(line['time'])}  {line['id'][:8]}  {severity:<7}  {line['source']}  {text}"


def _slot(slot: Mapping[str, Any]) -> str:
    numbers = slot["numbers"]
    words = f"<{slot['form']}>, about {slot['different']} different in {slot['looked']} looked at"
    if numbers is not None:
        spread = "min {min:.4g}, median {p50:.4g}, 95 % {p95:.4g}, max {max:.4g}"
        return f"{words}: {spread.format(**numbers)}"
    top = ", ".join(f"{value} ({count})" for value, count in slot["top"][:5])
    return f"{words}: {top}" if top else words


def _severity(least: int) -> str:
    name = next((name for name, one in reversed(SEVERITIES.items()) if least >= one), "")
    colour = next((colour for one, colour in _COLOURS if least >= one), "")
    return paint(name, colour) if colour else name
