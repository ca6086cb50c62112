"""Keep what hosts tell of model servers: figures of the last minutes, who they are, what changed.

The figures of a model are worked out when its host reports, so that a page over the whole fleet
reads one small row of each. A model that moved stays in the work for the span of the figures, one
that rests is left alone. All of it runs in the transaction of the batch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from vedette.receiver.batch import ModelKey, ModelReading, ModelServer
from vedette.receiver.limits import (
    DAY_NS,
    LINE_MAX,
    MODEL_EVENTS_MAX,
    MODEL_SERVERS_MAX,
    MODELS_PER_AGENT,
    clip,
)
from vedette.receiver.model_state import MINUTE_NS, SPAN, State, take, told

#: A model that was not told of for this long is forgotten.
FORGET_NS = DAY_NS
CHANGES_MAX = 20
#: Facts whose change is no event: how it was told, and what has an event of its own.
_QUIET = frozenset({"vedette.model.evidence", "vedette.model.since"})

#: What changed, in words that can follow the server's name.
_CHANGES = "vedette.model.changes"

_encode = msgspec.msgpack.Encoder().encode
_state = msgspec.msgpack.Decoder(State).decode

_KNOWN = """
SELECT id, endpoint, server, layer, model, version, newest, computed FROM model WHERE agent = ?
"""


def take_readings(
    connection: sqlite3.Connection, agent: str, end_ns: int, readings: Sequence[ModelReading]
) -> None:
    """Take in what a metrics request told, and bring the figures of the host's models up to it."""
    known = {ModelKey(*row[1:6]): row for row in connection.execute(_KNOWN, (agent,))}
    if not known and not readings:
        return
    touched: dict[ModelKey, list[ModelReading]] = {}
    for reading in readings:
        touched.setdefault(reading.key, []).append(reading)
    now_ns = max([end_ns, *(row[7] for row in known.values())])
    for key, row in known.items():
        if key not in touched and row[7] < now_ns and row[6] > row[7] - SPAN * MINUTE_NS:
            touched[key] = []
    room = MODELS_PER_AGENT - len(known)
    for key, some in touched.items():
        if key in known:
            _update(connection, known[key][0], some, now_ns)
        elif room > 0:
            room -= 1
            _add(connection, agent, key, some, now_ns)
    connection.execute(
        "DELETE FROM model WHERE agent = ? AND newest < ?", (agent, now_ns - FORGET_NS)
    )


def _add(
    connection: sqlite3.Connection,
    agent: str,
    key: ModelKey,
    readings: Sequence[ModelReading],
    now_ns: int,
) -> None:
    first = min(one.end_ns for one in readings)
    state = State(first)
    for one in readings:
        take(state, one)
    newest = max(one.end_ns for one in readings)
    cursor = connection.execute(
        "INSERT INTO model (agent, endpoint, server, layer, model, version, first, newest,"
        " computed, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            agent, key.endpoint, key.server, key.layer, key.model, key.version, first, newest,
            now_ns, _encode(told(state, now_ns)),
        ),
    )  # fmt: skip
    connection.execute("INSERT INTO model_state VALUES (?, ?)", (cursor.lastrowid, _encode(state)))


def _update(
    connection: sqlite3.Connection, number: int, readings: Sequence[ModelReading], now_ns: int
) -> None:
    (packed,) = connection.execute(
        "SELECT state FROM model_state WHERE model = ?", (number,)
    ).fetchone()
    try:
        state = _state(packed)
    except msgspec.DecodeError:
        state = State(now_ns)  # as another version kept it: five minutes, and it is whole again
    for one in readings:
        take(state, one)
    newest = max((one.end_ns for one in readings), default=0)
    connection.execute(
        "UPDATE model SET newest = max(newest, ?), computed = ?, told = ? WHERE id = ?",
        (newest, now_ns, _encode(told(state, now_ns)), number),
    )
    if readings:
        connection.execute(
            "UPDATE model_state SET state = ? WHERE model = ?", (_encode(state), number)
        )


# ---------------------------------------------------------------- who they are


def take_servers(
    connection: sqlite3.Connection, agent: str, servers: Iterable[ModelServer]
) -> None:
    """Keep the newest that is told of each server, and what is another than before."""
    for one in servers:
        row = connection.execute(
            "SELECT time, since, facts FROM model_server WHERE agent = ? AND endpoint = ?",
            (agent, one.endpoint),
        ).fetchone()
        if row is not None and row[0] > one.time_ns:
            continue
        before = None if row is None else msgspec.json.decode(row[2], type=dict[str, Any])
        since = 0 if row is None else row[1]
        connection.execute(
            "INSERT OR REPLACE INTO model_server VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                agent, one.endpoint, one.time_ns, one.server, one.title, one.since_ns,
                msgspec.json.encode(one.facts).decode(),
            ),
        )  # fmt: skip
        said = list(changes(one, before, since))[:CHANGES_MAX]
        connection.executemany(
            "INSERT OR IGNORE INTO model_event VALUES (?, ?, ?, ?)",
            [(agent, at, one.endpoint, clip(text, LINE_MAX)) for at, text in said],
        )
    _bound(connection, agent)


def changes(
    now: ModelServer, before: dict[str, Any] | None, since_ns: int
) -> Iterator[tuple[int, str]]:
    """Yield (Unix ns, sentence) for what is another; ``before`` None: told of for the first time.

    An agent that says itself what changed is believed. Else facts of any name are compared, so
    that one this release has not heard of is told as well.
    """
    who = f"{now.server or 'model server'} on {now.endpoint}"
    if before is None:
        yield now.since_ns or now.time_ns, f"{who} was first read"
        return
    said = now.facts.get(_CHANGES)
    if isinstance(said, list):
        for text in said:
            yield now.time_ns, f"{who} {_text(text)}"
        return
    if now.since_ns > since_ns:
        yield now.since_ns, f"{who} answers again"
    for key in dict.fromkeys((*before, *now.facts)):
        old, new = before.get(key), now.facts.get(key)
        if key in _QUIET or old == new:
            continue
        word = key.rpartition(".")[2].replace("_", " ")
        if isinstance(old or new, list):
            yield now.time_ns, f"{who}: {word}: {_difference(old or [], new or [])}"
        else:
            yield now.time_ns, f"{who}: {word} is {_text(new)}, was {_text(old)}"


def _difference(old: Any, new: Any) -> str:
    if not isinstance(old, list) or not isinstance(new, list):
        return f"{_text(new)}, was {_text(old)}"
    came = [f"+ {_text(one)}" for one in new if one not in old]
    went = [f"− {_text(one)}" for one in old if one not in new]
    return ", ".join((*came, *went)) or "in another order"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "not told" if value is None else clip(msgspec.json.encode(value).decode(), 120)


def _bound(connection: sqlite3.Connection, agent: str) -> None:
    connection.execute(
        "DELETE FROM model_server WHERE agent = ?1 AND time < (SELECT time FROM model_server"
        " WHERE agent = ?1 ORDER BY time DESC LIMIT 1 OFFSET ?2)",
        (agent, MODEL_SERVERS_MAX - 1),
    )
    connection.execute(
        "DELETE FROM model_event WHERE agent = ?1 AND time <= (SELECT time FROM model_event"
        " WHERE agent = ?1 ORDER BY time DESC LIMIT 1 OFFSET ?2)",
        (agent, MODEL_EVENTS_MAX),
    )
