"""Logs that nobody should send: hostile, wrong, far too much; all of it bounded."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from vedette.receiver import log_store, retention

UID = "06d44cfbe205f568"


def test_hostile_text_is_data(teller: Any) -> None:
    text = "<script>alert(1)</script>'; DROP TABLE log_template; --\x00\u202e\n\ud800"
    kept = text.encode("utf-8", "backslashreplace").decode()
    slots = [{"slot": 0, "form": text, "top": [{"value": text, "count": 1}]}]
    teller.send(teller.template(5, source=text, text=text, exemplar=text, slots=slots))
    (line,) = teller.logs()["templates"]
    assert (line["source"], line["text"]) == (kept, kept)
    one = teller.one(source=kept)
    assert (one["exemplar"], one["slots"][0]["top"][0]["value"]) == (kept, kept)
    assert teller.logs(text="drop table", source=kept)["matching"] == 1


def test_texts_of_a_megabyte_are_cut(teller: Any) -> None:
    big = "x" * 1_000_000
    values = [{"value": big, "count": 1}, *({"value": "v", "count": 1} for _ in range(99))]
    slots = [{"slot": 0, "form": big, "top": values}]
    teller.send(teller.template(5, text=big, exemplar=big, slots=slots, source=big))
    teller.send(teller.template(5, uid="b", slots=[{"slot": i} for i in range(99)]))
    (line,) = teller.logs(source="", sort="source", reverse=1, limit=1)["templates"]
    assert (len(line["text"]), len(line["source"])) == (1024, 256)
    one = teller.one(source=line["source"])
    assert len(one["exemplar"]) == 1024
    assert (len(one["slots"][0]["form"]), len(one["slots"][0]["top"])) == (200, 12)
    assert len(teller.one("b")["slots"]) == 8


def test_long_sources_that_end_differently_stay_two(teller: Any) -> None:
    names = [f"/var/log/containers/{'p' * 260}-{end}.log" for end in "ab"]
    sums = {"events": 1, "lines": 1, "bytes": 1, "warnings": 0, "errors": 0}
    teller.send(
        *(teller.template(5, source=name) for name in names),
        teller.window(sources=dict.fromkeys(names, sums)),
    )
    answer = teller.logs()
    assert [one["events"] for one in answer["sources"]] == [1, 1]
    assert [one["templates"] for one in answer["sources"]] == [1, 1]


WRONG = [
    pytest.param({"source": ""}, id="no source"),
    pytest.param({"template": "a b"}, id="a uid that is none"),
    pytest.param({"count": 0}, id="no lines"),
    pytest.param({"count": -4}, id="fewer lines than none"),
    pytest.param({"count": "many"}, id="lines in words"),
    pytest.param({"count": float("nan")}, id="lines that are no number"),
]


@pytest.mark.parametrize("more", WRONG)
def test_a_record_that_is_not_usable_is_refused_and_the_others_are_kept(
    teller: Any, more: dict[str, Any]
) -> None:
    bad = teller.template(5, uid="bad")
    bad.attributes.update({f"vedette.log.{key}": value for key, value in more.items()})  # type: ignore[attr-defined]
    response = teller.send(teller.template(5), bad)
    assert teller.counts() == {UID: 5}
    answer = ExportLogsServiceResponse.FromString(response.content)
    assert answer.partial_success.rejected_log_records == 1


def test_attributes_of_wrong_types_and_unknown_ones_harm_nothing(teller: Any) -> None:
    odd = {"total": "x", "since": -1, "first": 1 << 62, "last": [1], "exemplar": {"a": 1}}
    teller.send(
        teller.template(5, **odd, slots=[1, {"form": "num"}, {"slot": 2, "min": float("inf")}]),
        teller.template(6, uid="b", slots="none", unheard_of=[1, {"a": 2}]),
        teller.window(sources=[1], redacted="all", events="x", **{"lost.bytes": float("nan")}),
    )
    assert teller.counts() == {UID: 5, "b": 6}
    assert teller.one()["slots"] == [{"slot": 2, "form": ""}]
    assert teller.one()["last_ms"] == teller.now // 10**6
    assert teller.logs()["told"]["lost"] == {"lost": 0, "lost.bytes": 0}


def test_counts_too_large_to_add_up_are_cut(teller: Any) -> None:
    for at in range(9):
        teller.send(teller.template((1 << 63) - 1, teller.now - at * teller.minute))
    assert teller.counts() == {UID: 9 << 40}
    assert teller.logs()["hour"]["events"] == 9 << 40


def test_a_window_out_of_time_is_refused(teller: Any) -> None:
    record = teller.template(5)
    record.attributes.update(teller.span(teller.now + 10**15))  # type: ignore[attr-defined]
    teller.send(record, teller.template(7, uid="b"))
    assert teller.counts() == {"b": 7}


# ---------------------------------------------------------------- bounds


def rows(teller: Any, table: str) -> int:
    connection = teller.client.store.connection
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_the_templates_unseen_for_longest_go_first(
    teller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_store, "TEMPLATES_MAX", 2_000)
    for at in range(3):
        end = teller.now + at * teller.minute
        records = [teller.template(1, end, uid=f"{at}-{i}") for i in range(1_000)]
        again = [teller.template(9, end, uid="0-0")]
        teller.send(*records[1:] if at else records, *(again if at else []))
    assert rows(teller, "log_template") == 2_000
    counts = teller.counts(limit=5000)
    assert len(counts) == 2_000
    assert counts["0-0"] == 19
    assert sum(name.startswith("0-") for name in counts) == 2


def test_many_windows_are_added_up_to_hours(teller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_store, "WINDOWS_MAX", 30)
    monkeypatch.setattr(log_store, "HOURS_MAX", 5)
    begin = teller.now - teller.now % (60 * teller.minute)
    for at in range(1, 10 * 60 + 1, 50):
        ends = [begin + (at + i) * teller.minute for i in range(50)]
        teller.client.store.clock_ns.now_ns = ends[-1]
        teller.send(*(teller.template(2, end) for end in ends))
    assert rows(teller, "log_window") == 35
    one = teller.one()
    assert len(one["windows"]) == 30
    hours = dict(one["hours"])
    assert [hours[begin // 10**6 + hour * 3_600_000] for hour in (6, 7, 8, 9)] == [120] * 4


def test_counts_of_one_window_are_bounded(teller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_store, "RECORDS_MAX", 10)
    for batch in range(3):
        records = [teller.template(1, name=f"{batch}/{i}") for i in range(7)]
        teller.send(*records)
    assert rows(teller, "log_count") == 10


def test_sources_are_bounded_and_take_their_templates_along(
    teller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_store, "SOURCES_MAX", 10)
    teller.send(*(teller.template(1, source=f"s{i}") for i in range(25)))
    assert (rows(teller, "log_source"), rows(teller, "log_template")) == (10, 10)


def test_a_request_of_very_many_windows_is_taken_in_part(teller: Any) -> None:
    ends = [teller.now - at * teller.second for at in range(400)]
    teller.send(*(teller.template(1, end) for end in ends))
    assert rows(teller, "log_window") == 256


def test_what_was_logged_goes_with_the_bodies_of_its_time(teller: Any) -> None:
    teller.send(teller.template(5, uid="old"), teller.window())
    clock = teller.client.store.clock_ns
    late = clock.now_ns = teller.now + 5 * 60 * teller.minute
    noise = "".join(chr(33 + (i * i) % 90) for i in range(60_000))
    for at in range(20):
        record = teller.template(1, late - at * teller.second, uid=f"n{at}", text=noise[at:])
        teller.send(record)
    connection = teller.client.store.connection
    retention.enforce(connection, retention.used_bytes(connection) - 1)
    assert "old" not in teller.counts()
    assert len(teller.counts()) == 20  # by these a repeat is known
    assert teller.logs()["newest_ms"] == late // 10**6
