"""What the receiver makes of the logs that agents tell of: counted once, kept, found again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from vedette.receiver import schema

APP, UID = "/var/log/app.log", "06d44cfbe205f568"
SLOTS = [
    {
        "slot": 0,
        "form": "path",
        "looked": 9,
        "different": 2.0,
        "top": [{"value": "/a", "count": 5}],
    },
    {"slot": 1, "form": "num", "looked": 9, "count": 9, "min": 1, "max": 8, "sum": 40, "p50": 4.5},
]


# ---------------------------------------------------------------- what is kept


def test_what_an_agent_tells_is_what_is_kept(teller: Any) -> None:
    more = {"exemplar": "job 7 is done", "slots": SLOTS, "total": 40}
    sources = {APP: {"events": 40, "lines": 44, "bytes": 900, "warnings": 1, "errors": 2}}
    teller.send(
        teller.template(5, severity=17, **more), teller.window(sources=sources, **{"lost.bytes": 7})
    )
    answer = teller.logs()
    (line,) = answer["templates"]
    ms = teller.now // 10**6
    assert line == {
        "source": APP,
        "uid": UID,
        "text": "job <num> is done",
        "severity": 17,
        "hour": 5,
        "spark": [0] * 29 + [5],
        "total": 40,
        "since_ms": ms - 60_000,
        "first_ms": ms - 60_000,
        "last_ms": ms - 1000,
        "new": False,
    }
    (source,) = answer["sources"]
    assert (source["events"], source["lines"], source["bytes"]) == (40, 44, 900)
    assert (source["warnings"], source["errors"], source["hour_errors"]) == (1, 2, 5)
    assert answer["told"] == {
        "texts": 9,
        "touched": 2,
        "hits": {"email": 3},
        "lost": {"lost": 0, "lost.bytes": 7},
    }
    one = teller.one()
    assert one["exemplar"] == "job 7 is done"
    assert one["slots"] == SLOTS
    assert one["windows"] == [[ms - 60_000, ms, 5]]
    assert teller.client.json("/api/v1/hosts")["hosts"][0]["logs_ms"] == ms


def test_a_record_that_comes_again_counts_once(teller: Any) -> None:
    records = [teller.template(5, teller.now - at * teller.minute) for at in range(5, -1, -1)]
    teller.send(*records)
    teller.send(*records)  # another batch: the agent was killed and tells again
    teller.client.send(teller.request(*records), 1)  # the same batch: only the answer was lost
    assert teller.counts() == {UID: 30}
    assert [count for _, _, count in teller.one()["windows"]] == [5] * 6


def test_a_repeat_is_known_an_hour_and_more_of_windows_later(teller: Any) -> None:
    first = teller.template(5)
    teller.send(first)
    for at in range(1, 100):
        teller.client.store.clock_ns.now_ns += teller.minute
        teller.send(teller.template(1, teller.now + at * teller.minute))
    teller.send(first)
    assert sum(count for _, _, count in teller.one()["windows"]) == 104


def test_a_repeat_is_known_however_long_it_was_on_its_way(teller: Any) -> None:
    first = teller.template(5)
    teller.send(first)
    teller.client.store.clock_ns.now_ns += 9 * 60 * teller.minute
    teller.send(first)
    assert teller.one()["windows"][0][2] == 5


def test_two_records_of_one_template_and_window_are_two_when_their_uids_are(
    teller: Any,
) -> None:
    teller.send(teller.template(5), teller.template(7, name="log/after-the-state-was-lost"))
    assert teller.counts() == {UID: 12}


def test_windows_out_of_order_give_the_same(teller: Any) -> None:
    ends = [teller.now - at * teller.minute for at in (3, 0, 2, 1)]
    for place, end in enumerate(ends):
        count = (teller.now - end) // teller.minute + 1
        teller.send(teller.template(count, end, text=f"text {place}", total=100 - count))
    one = teller.one()
    assert [count for _, _, count in one["windows"]] == [4, 3, 2, 1]
    assert (one["text"], one["total"], one["hour"]) == ("text 1", 99, 10)
    assert one["first_ms"] == (ends[0] - teller.minute) // 10**6


def test_sources_and_hosts_are_kept_apart(teller: Any, otlp: Any) -> None:
    teller.send(teller.template(5), teller.template(7, source="/var/log/db.log"))
    other = otlp.logs(resource={"host.name": "other"})
    other.resource_logs[0].scope_logs[0].CopyFrom(
        teller.request(teller.template(3)).resource_logs[0].scope_logs[0]
    )
    teller.client.send(other)
    assert [(one["source"], one["hour"]) for one in teller.logs(sort="source")["templates"]] == [
        (APP, 5),
        ("/var/log/db.log", 7),
    ]
    (one,) = teller.client.json("/api/v1/hosts/other/logs")["templates"]
    assert one["hour"] == 3


def test_a_restart_of_the_receiver_forgets_nothing(
    limited: Callable[..., Any], make_teller: Callable[..., Any]
) -> None:
    teller = make_teller(limited())
    record = teller.template(5, slots=SLOTS)
    teller.send(record, teller.window())
    before = teller.logs()
    teller.client.store.close()
    teller.client = limited()
    assert teller.logs() == before
    teller.send(record)
    assert teller.counts() == {UID: 5}


def test_a_database_of_an_earlier_version_is_brought_up(
    limited: Callable[..., Any], make_teller: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / schema.NAME
    with sqlite3.connect(path) as connection:
        connection.executescript("".join(schema._STEPS[:3]) + "PRAGMA user_version = 3;")
    connection.close()
    teller = make_teller(limited())
    teller.send(teller.template(5))
    assert teller.counts() == {UID: 5}


# ---------------------------------------------------------------- what is new, filters


def test_a_template_is_new_for_an_hour_on_a_host_that_is_known_for_longer(teller: Any) -> None:
    teller.send(teller.template(5), teller.template(1, uid="b"))
    assert not any(one["new"] for one in teller.logs()["templates"])
    late = teller.now + 70 * teller.minute
    teller.client.store.clock_ns.now_ns = late
    teller.send(teller.template(5, late), teller.template(1, late, uid="c"))
    assert [one["uid"] for one in teller.logs(new=1)["templates"]] == ["c"]
    assert teller.logs()["hour"]["new"] == 1
    teller.client.store.clock_ns.now_ns += 60 * teller.minute
    teller.send(teller.template(5, late + 60 * teller.minute))
    assert teller.logs(new=1)["templates"] == []


def test_an_old_line_of_a_file_just_found_is_not_new(teller: Any) -> None:
    teller.send(teller.template(5))
    late = teller.now + 70 * teller.minute
    teller.client.store.clock_ns.now_ns = late
    teller.send(teller.template(5, late, uid="b", first=teller.now - 10**15))
    assert teller.logs(new=1)["templates"] == []


def test_templates_are_filtered_and_sorted(teller: Any) -> None:
    teller.send(
        teller.template(9, uid="a", text="Disk <path> is full", severity=21),
        teller.template(2, uid="b", text="request <num> failed", severity=17),
        teller.template(500, uid="c", text="request <num> done", source="web"),
        teller.template(70, uid="d", text="cache <num>", severity=5),
        teller.template(3, uid="e", text="request <num> slow", severity=13),
        teller.template(4, uid="f", text="no idea", severity=1),
    )
    assert list(teller.counts()) == ["a", "b", "e", "c", "d", "f"]
    assert list(teller.counts(sort="count")) == ["c", "d", "a", "f", "e", "b"]
    assert list(teller.counts(sort="count", reverse=1, limit=2)) == ["b", "e"]
    assert list(teller.counts(sort="text")) == ["a", "d", "f", "c", "b", "e"]
    assert list(teller.counts(text="REQUEST num", severity="error")) == ["b"]
    assert list(teller.counts(source="web")) == ["c"]
    assert set(teller.counts(severity="info")) == {"c"}
    assert set(teller.counts(severity="debug")) == {"d", "f"}
    answer = teller.logs(limit=1, severity="warning")
    assert (answer["known"], answer["matching"], answer["hour"]["events"]) == (6, 1, 588)
    assert (answer["hour"]["errors"], answer["hour"]["warnings"]) == (11, 3)


@pytest.mark.parametrize(
    "query", [{"severity": "x"}, {"sort": "x'"}, {"limit": 0}, {"text": "x" * 257}]
)
def test_a_query_that_makes_no_sense_is_told_so(teller: Any, query: Mapping[str, Any]) -> None:
    teller.send(teller.template(5))
    response = teller.client.get(f"/api/v1/hosts/{teller.agent}/logs", params=query)
    assert response.status_code == 400
    assert next(iter(query)) in response.json()["error"]


def test_what_nobody_told_of_is_empty_or_unknown(teller: Any, otlp: Any) -> None:
    teller.client.send(otlp.logs(otlp.heartbeat(otlp.now), otlp.incident("opened", otlp.now)), 1)
    answer = teller.logs()
    assert (answer["newest_ms"], answer["templates"], answer["sources"]) == (None, [], [])
    base = f"/api/v1/hosts/{otlp.agent}/logs"
    for path in (f"{base}/template?source=a&uid=b", "/api/v1/hosts/nobody/logs"):
        assert teller.client.get(path).status_code == 404
    assert teller.client.get("/api/v1/incidents/nobody/i-1/logs").status_code == 404
    said = teller.client.json(f"/api/v1/incidents/{otlp.agent}/i-1/logs")
    assert (said["from_ms"], said["said"]) == (None, [])


OTHER = "0123456789abcdef"


def test_a_template_that_became_part_of_another_gives_it_its_counts(teller: Any) -> None:
    before = teller.now - teller.minute
    teller.send(teller.template(3, before), teller.template(4, before, uid=OTHER, text="job a"))
    assert teller.counts() == {UID: 3, OTHER: 4}
    merged = teller.window(merged={OTHER: UID})
    teller.send(teller.template(2, total=9), merged)
    assert teller.counts() == {UID: 9}
    one = teller.one()
    assert (one["total"], one["hour"]) == (9, 9)
    teller.send(merged)  # told again
    assert teller.counts() == {UID: 9}


def test_a_merge_at_a_source_without_a_line_since_moves_the_total_and_the_name(
    teller: Any,
) -> None:
    before = teller.now - teller.minute
    teller.send(
        teller.template(3, before, source="a"),
        teller.template(4, before, uid=OTHER, source="a"),
        teller.template(5, before, uid=OTHER, source="b"),
    )
    teller.send(teller.window(merged={OTHER: UID, "<no uid>": UID, UID: UID}))
    assert teller.one(source="a")["total"] == 7
    assert teller.one(source="b")["total"] == 5
    assert {one["uid"] for one in teller.logs()["templates"]} == {UID}
