"""Answer what a person at this host asks of its logs: the newest lines, the templates, one of them.

Raw lines are in the answers: they go through the agent's control socket, which only root and the
agent's own user may use, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vedette.logs.digest import Digest
from vedette.logs.ledger import Row
from vedette.logs.recent import RecentLine

LINES_MAX, TEMPLATES_MAX = 2_000, 2_000
_SHOWN_LINES = 10


def answer(
    digest: Digest, question: str, arguments: Mapping[str, Any], what: Mapping[str, object]
) -> Mapping[str, Any]:
    """Return the answer; raises ``LookupError`` for what nobody can answer.

    ``what`` is what is read and what is not.
    """
    if question == "tail":
        return _tail(digest, arguments)
    if question == "templates":
        return {"templates": _templates(digest, arguments), "reading": dict(what)}
    if question == "show":
        return _show(digest, str(arguments.get("id", "")))
    raise LookupError(
        f"logs: nobody can answer {question!r}; tail, templates and show can be asked"
    )


def _tail(digest: Digest, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    source = str(arguments.get("source") or "")
    least = int(arguments.get("severity") or 0)
    try:
        words = re.compile(str(arguments.get("grep") or "").encode())
    except re.error as error:
        raise LookupError(f"no regular expression: {arguments.get('grep')!r}: {error}") from None

    def wanted(line: RecentLine) -> bool:
        if source and source not in line.source:
            return False
        return line.severity >= least and words.search(line.body) is not None

    most = min(int(arguments.get("lines") or 20), LINES_MAX)
    since = int(arguments.get("since") or 0)
    found = digest.recent.newest(most, wanted, since)
    return {"lines": [_line(digest, one) for one in found], "next": digest.recent.taken}


def _templates(digest: Digest, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    source = str(arguments.get("source") or "")
    rows = [
        _row(digest, name, number, row)
        for name, book in digest.ledger.sources.items()
        if not source or source in name
        for number, row in book.rows.items()
    ]
    rows.sort(key=lambda one: -one["total"])
    return rows[:TEMPLATES_MAX]


def _show(digest: Digest, wanted: str) -> Mapping[str, Any]:
    found = (
        [one for one in digest.miner.templates() if one.uid.startswith(wanted)] if wanted else []
    )
    if not found:
        raise LookupError(f"no template has an id that begins with {wanted!r}")
    if len(found) > 1:
        raise LookupError(f"{len(found)} templates have an id that begins with {wanted!r}")
    template = found[0]
    looked = digest.slots.summary(template.id, template.slots)
    return {
        "id": template.uid,
        "text": template.text,
        "count": template.count,
        "sources": [
            _row(digest, name, template.id, book.rows[template.id])
            for name, book in digest.ledger.sources.items()
            if template.id in book.rows
        ],
        "slots": [
            {
                "form": slot.form,
                "looked": slot.looked,
                "different": round(slot.different),
                "top": [[_text(top.value), top.count] for top in slot.top],
                "numbers": None
                if slot.numbers is None
                else {
                    "min": slot.numbers.min,
                    "max": slot.numbers.max,
                    "p50": slot.numbers.quantile(0.5),
                    "p95": slot.numbers.quantile(0.95),
                },
            }
            for slot in looked
        ],
        "lines": [
            _line(digest, one)
            for one in digest.recent.newest(
                _SHOWN_LINES, lambda line: digest.now(line.template) == template.id
            )
        ],
        "ringing": [
            {"kind": one.kind, "source": one.source, "text": one.text, "score": one.score}
            for one in digest.active()
            if one.template_id == template.id
        ],
    }


def _row(digest: Digest, source: str, number: int, row: Row) -> dict[str, Any]:
    template = digest.miner.template(number)
    return {
        "id": template.uid,
        "source": source,
        "text": template.text,
        "total": row.total,
        "count": row.count,
        "severity": row.severity,
        "since": row.since_ns,
        "last": row.last_ns,
    }


def _line(digest: Digest, line: RecentLine) -> Mapping[str, Any]:
    return {
        "time": line.time_ns,
        "source": line.source,
        "id": digest.uid(line.template),
        "severity": line.severity,
        "text": _text(line.body),
    }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
