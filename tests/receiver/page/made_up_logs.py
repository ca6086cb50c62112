"""Made-up logs of a host, in the shape of the receiver's answers; some of them hostile."""

from __future__ import annotations

from typing import Any

from made_up import HOSTILE_PROCESS, MINUTE

Json = dict[str, Any]

APP = "/var/log/app.log"
HOSTILE_SOURCE = '/var/log/\u202e<img src=x onerror="window.hacked=6">.log'
HOSTILE_LINE = '<script>window.hacked=7</script> & "quoted" \u202e reversed \x07 <num>'
#: uid, source, severity, text, count in the last hour, first seen in minutes ago, new.
LINES: tuple[tuple[str, str, int, str, int, int, bool], ...] = (
    ("0a", APP, 21, "out of memory: killed process <num>", 1, 4, True),
    ("0b", APP, 17, "cannot reach <ip>: connection refused", 1204, 900, False),
    ("0c", HOSTILE_SOURCE, 17, HOSTILE_LINE, 3, 9000, False),
    ("0d", "/var/log/db.log", 13, "slow query took <num> ms by <email>", 88, 4000, False),
    ("0e", APP, 9, "GET <path> took <num> ms from <ip>", 52_310, 90_000, False),
    ("0f", "kernel", 5, "usb <*>: " + "a very long name " * 60, 0, 90_000, False),
    *((f"f{i:02d}", APP, 9, f"module {i} has done <num>", 10 * i, 5000, False) for i in range(40)),
)


def _grade(severity: int) -> str:
    if severity >= 17:
        return "error"
    return "warning" if severity >= 13 else "info" if severity >= 9 else "debug"


def _line(now: int, row: tuple[str, str, int, str, int, int, bool]) -> Json:
    uid, source, severity, text, count, first, new = row
    spark = [count // 30 + (count % 7) * (i % 3) for i in range(30)] if count else []
    return {
        "source": source,
        "uid": uid,
        "text": text,
        "severity": severity,
        "hour": count,
        "spark": spark,
        "total": count * 20 + 5,
        "since_ms": now - max(first, 5000) * MINUTE,
        "first_ms": now - first * MINUTE,
        "last_ms": now - 20_000,
        "new": new,
    }


def _source(now: int, name: str, lines: list[Json]) -> Json:
    count = sum(one["hour"] for one in lines)
    errors = sum(one["hour"] for one in lines if one["severity"] >= 17)
    return {
        "source": name,
        "templates": len(lines),
        "hour": count,
        "hour_warnings": 0,
        "hour_errors": errors,
        "events": count * 21,
        "lines": count * 22,
        "bytes": count * 3000,
        "warnings": 12,
        "errors": errors * 20,
        "newest_ms": now - 20_000,
    }


def logs_answer(now: int, query: dict[str, str]) -> Json:
    """Return the list of templates, filtered the way the receiver does."""
    lines = [_line(now, row) for row in LINES]
    words = query.get("text", "").lower().split()
    found = [
        one
        for one in lines
        if all(word in one["text"].lower() for word in words)
        and query.get("severity", "") in ("", _grade(one["severity"]))
        and query.get("source", "") in ("", one["source"])
        and (query.get("new") != "1" or one["new"])
    ]
    if query.get("sort") == "count":
        found.sort(key=lambda one: -one["hour"])
    names = sorted({one["source"] for one in lines})
    return {
        "now_ms": now,
        "began_ms": now - 90_000 * MINUTE,
        "newest_ms": now - 20_000,
        "step_ms": 2 * MINUTE,
        "hour": {
            "events": 61_000,
            "untold": 1406,
            "warnings": 88,
            "errors": 1208,
            "templates": 44,
            "new": 1,
        },
        "known": len(lines),
        "matching": len(found),
        "templates": found[: int(query.get("limit", "200"))],
        "sources": [
            _source(now, name, [one for one in lines if one["source"] == name]) for name in names
        ],
        "told": {
            "texts": 512,
            "touched": 88,
            "hits": {"email": 80, "<b>own rule</b>": 9},
            "lost": {"lost": 4096, "lost.bytes": 4096, "lost.gaps": 1, "lost.entries": 0},
        },
    }


def no_logs(now: int) -> Json:
    """Return what is answered of a host that told of no logs."""
    return {"now_ms": now, "newest_ms": None, "templates": [], "sources": [], "told": {}}


def template_answer(now: int, query: dict[str, str]) -> Json | None:
    """Return one template with a history that has a quiet quarter of an hour."""
    wanted = (query.get("source"), query.get("uid"))
    rows = [row for row in LINES if (row[1], row[0]) == wanted]
    if not rows:
        return None
    windows = [
        [now - (i + 1) * MINUTE, now - i * MINUTE, 3 + i % 11]
        for i in range(119, -1, -1)
        if not 40 <= i < 55
    ]
    hour = 60 * MINUTE
    newest = now // hour * hour
    slots = [
        {"slot": 0, "form": "num", "looked": 57, "count": 57, "min": 0, "max": 56, "p50": 28.0},
        {
            "slot": 1,
            "form": "*",
            "looked": 57,
            "different": 2.0,
            "top": [{"value": HOSTILE_PROCESS, "count": 29}, {"value": "", "count": 28}],
        },
        {"slot": 2, "form": "ip", "looked": 57, "different": 55.2},
    ]
    view = _line(now, rows[0]) | {
        "exemplar": f"first line of {HOSTILE_LINE}\n\tindented second one\r\nthird one",
        "slots": slots,
        "windows": windows,
        "hours": [[newest - i * hour, 100 + i] for i in range(160, -1, -1)],
    }
    return {"now_ms": now, "newest_ms": now - 20_000, "step_ms": 2 * MINUTE, "template": view}


def around_answer(now: int) -> Json:
    """Return what was said around an incident."""
    found = [("0a", ["new", "error"], 0.0), ("0c", ["error"], 2.5), ("0e", ["more"], 410.0)]
    lines = {row[0]: _line(now, row) for row in LINES}
    return {
        "now_ms": now,
        "from_ms": now - 15 * MINUTE,
        "to_ms": now - 10 * MINUTE,
        "omitted": 2,
        "said": [
            {
                **{key: lines[uid][key] for key in ("source", "uid", "text", "severity")},
                "first_ms": lines[uid]["first_ms"],
                "count": lines[uid]["hour"],
                "usual": usual,
                "reasons": reasons,
            }
            for uid, reasons, usual in found
        ],
    }
