"""The database: retention, versions, corruption, a disk that refuses."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vedette.receiver.batch import Batch, BatchId
from vedette.receiver.query import Reader
from vedette.receiver.retention import enforce, used_bytes
from vedette.receiver.schema import VERSION, CannotOpen
from vedette.receiver.store import Store, StoreError

AGENT = "0b6f3c1e-5a52-4c9e-9f6e-0d8a2b7c4d10"
EPOCH = "00112233445566ff"
WAIT_S = 20.0


def batch(sequence: int, body: bytes = b"", agent: str = AGENT, **more: Any) -> Batch:
    return Batch(BatchId(agent, EPOCH, sequence), "metrics", 1_000 + sequence, body, **more)


def put(store: Store, *sequences: int, body: bytes = b"") -> None:
    for begin in range(0, len(sequences), 100):
        some = sequences[begin : begin + 100]
        for future in [store.submit(batch(number, body)) for number in some]:
            future.result(WAIT_S)


def count(store: Store, table: str) -> int:
    return int(store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_one_transaction_serves_many_requests(make_store: Callable[..., Store]) -> None:
    store = make_store(commit_delay_s=0.2)
    commits: list[str] = []
    store.connection.set_trace_callback(
        lambda sql: commits.append(sql) if sql == "COMMIT" else None
    )
    put(store, *range(1, 41))
    assert count(store, "batch") == 40
    assert len(commits) <= 2


def test_a_duplicate_within_one_group_is_recognised(make_store: Callable[..., Store]) -> None:
    store = make_store(commit_delay_s=0.1)
    futures = [store.submit(batch(1)) for _ in range(3)]
    assert [future.result(WAIT_S)[0].duplicate for future in futures] == [False, True, True]


def test_a_batch_that_cannot_be_stored_harms_no_other(make_store: Callable[..., Store]) -> None:
    store = make_store(commit_delay_s=0.1)
    good, bad, after = (
        store.submit(batch(1)),
        store.submit(batch(2**63)),
        store.submit(batch(2)),
    )
    assert good.result(WAIT_S)
    with pytest.raises(StoreError):
        bad.result(WAIT_S)
    assert after.result(WAIT_S)
    assert count(store, "batch") == 2


def test_bodies_are_dropped_oldest_first_and_the_ledger_stays(
    make_store: Callable[..., Store], tmp_path: Path
) -> None:
    store = make_store()
    put(store, *(n for n in range(1, 601) if n not in (7, 300)), body=bytes(4_000))
    before = used_bytes(store.connection)
    dropped = enforce(store.connection, before // 2)
    assert 256 <= dropped < 598
    assert used_bytes(store.connection) <= before // 2
    assert count(store, "batch") == count(store, "body") == 598 - dropped
    (oldest,) = store.connection.execute("SELECT min(sequence) FROM batch").fetchone()
    assert oldest > 256
    reader = Reader(store.path)
    (epoch,) = reader.epochs()
    assert epoch.missing == [(7, 7), (300, 300)]
    assert (epoch.received, epoch.highest, epoch.contiguous) == (598, 600, 6)
    assert count(store, "span") <= 3
    reader.close()


def test_a_resend_of_a_dropped_batch_is_still_a_duplicate(
    make_store: Callable[..., Store],
) -> None:
    store = make_store()
    put(store, 1, 2, 3, 5, body=bytes(1000))
    enforce(store.connection, 1)
    assert count(store, "batch") == 0
    outcomes = [store.submit(batch(n)).result(WAIT_S)[0].duplicate for n in (1, 3, 4, 5, 6)]
    assert outcomes == [True, True, False, True, False]
    enforce(store.connection, 1)
    spans = store.connection.execute("SELECT first, last FROM span").fetchall()
    assert spans == [(1, 6)]


def test_spans_join_whatever_the_order_of_dropping(make_store: Callable[..., Store]) -> None:
    store = make_store()
    for number in (5, 1, 3, 2, 9, 4):
        put(store, number)
        enforce(store.connection, 1)
    spans = store.connection.execute("SELECT first, last FROM span ORDER BY first").fetchall()
    assert spans == [(1, 5), (9, 9)]


def test_the_cap_holds_while_batches_arrive(
    make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    cap = 400_000
    # Before the store's thread starts: it must not have read the other clock.
    monkeypatch.setattr("vedette.receiver.store.time.monotonic", _leaping())
    store = make_store(cap_bytes=cap)
    for first in range(1, 401, 20):
        put(store, *range(first, first + 20), body=bytes(5_000))
    put(store, 401)
    store.close()
    size = (store.path).stat().st_size
    assert size < cap * 1.5
    with sqlite3.connect(store.path) as connection:
        assert used_bytes(connection) <= cap
    connection.close()


def _leaping() -> Callable[[], float]:
    now = [0.0]
    lock = threading.Lock()

    def monotonic() -> float:
        with lock:
            now[0] += 0.5
            return now[0]

    return monotonic


def test_a_database_survives_a_restart(make_store: Callable[..., Store]) -> None:
    store = make_store()
    put(store, 1, 2)
    store.close()
    again = make_store()
    assert again.submit(batch(2)).result(WAIT_S)[0].duplicate
    assert count(again, "batch") == 2


def test_a_closed_store_takes_nothing(make_store: Callable[..., Store]) -> None:
    store = make_store()
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.submit(batch(1)).result(WAIT_S)


def test_a_newer_database_is_refused_and_left_alone(
    make_store: Callable[..., Store], tmp_path: Path
) -> None:
    store = make_store()
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(CannotOpen, match="newer version of Vedette"):
        make_store()
    assert [path.name for path in tmp_path.glob("*corrupt*")] == []


@pytest.mark.parametrize("damage", ["garbage", "truncated", "zeroed"])
def test_a_corrupt_database_is_moved_aside_and_reported(
    make_store: Callable[..., Store],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    store = make_store()
    put(store, *range(1, 200), body=bytes(3_000))
    store.close()
    data = bytearray(store.path.read_bytes())
    if damage == "garbage":
        data = bytearray(b"this is not a database" * 1000)
    elif damage == "truncated":
        data = data[: len(data) // 3]
    else:
        data[4096 : 4096 * 12] = bytes(4096 * 11)
    store.path.write_bytes(data)
    with caplog.at_level(logging.ERROR):
        fresh = make_store()
    assert count(fresh, "batch") == 0
    (aside,) = tmp_path.glob("receiver.db.corrupt-*")
    assert aside.read_bytes() == data
    assert aside.name in caplog.text
    put(fresh, 1)


def test_a_full_disk_is_an_error_and_ends_when_there_is_room(
    make_store: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    store = make_store()
    put(store, 1)
    (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
    store.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    for _ in range(2):
        with pytest.raises(StoreError, match="full"):
            store.submit(batch(2, bytes(100_000))).result(WAIT_S)
    assert store.failing
    store.connection.execute("PRAGMA max_page_count = 100000")
    put(store, 2, body=bytes(100_000))
    assert not store.failing
    assert caplog.text.count("store=failing") == 1
    assert caplog.text.count("store=ok") == 1


def test_a_full_disk_is_a_503_for_the_sender(client: Any, otlp: Any) -> None:
    (pages,) = client.store.connection.execute("PRAGMA page_count").fetchone()
    client.store.connection.execute(f"PRAGMA max_page_count = {pages}")
    noise = bytes(range(256)).hex() * 200
    request = otlp.metrics(*(otlp.gauge(f"{i}{noise}", otlp.now, 1.0) for i in range(20)))
    response = client.post("/v1/metrics", request.SerializeToString(), 1, encoding="")
    if response.status_code == 200:
        pytest.skip("the body compressed into the free pages")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert client.get("/healthz").status_code == 503


def test_incidents_are_bounded(client: Any, otlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette.receiver.retention.INCIDENTS_MAX", 3)
    for number in range(6):
        event = otlp.incident("opened", otlp.now, f"i-{number}", opened=otlp.now + number)
        client.send(otlp.logs(event), number + 1)
    enforce(client.store.connection, 1 << 30)
    ids = [i["id"] for i in client.json("/api/v1/incidents")["incidents"]]
    assert ids == ["i-5", "i-4", "i-3"]
    assert count(client.store, "incident_event") == 3
