"""Hold the database to its size: drop the oldest bodies, keep the ledger of what was received.

What was logged goes with the bodies of its time.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
from collections.abc import Iterable, Iterator

from vedette.receiver import log_store

log = logging.getLogger(__name__)

#: Dropping stops below this share of the cap, so that it is not done for every batch.
LOW_WATER = 0.95
STEP = 256
#: Incidents kept, newest first, over all hosts.
INCIDENTS_MAX = 20_000


def enforce(connection: sqlite3.Connection, cap_bytes: int) -> int:
    """Drop oldest batches until the pages in use fit the cap; return how many were dropped."""
    _drop_incidents(connection)
    if used_bytes(connection) <= cap_bytes:
        return 0
    dropped = 0
    while used_bytes(connection) > cap_bytes * LOW_WATER:
        step = _drop(connection, STEP)
        dropped += step
        if not step:
            break
    log_store.drop_before(connection, _oldest(connection))
    log.info("retention=dropped batches=%d used_bytes=%d", dropped, used_bytes(connection))
    return dropped


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of pages that hold something; the file itself never shrinks."""
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(size) * (int(pages) - int(free))


def _oldest(connection: sqlite3.Connection) -> int:
    """Return when the oldest body that is left arrived; after all of them when none is."""
    (received,) = connection.execute(
        "SELECT coalesce((SELECT received FROM batch ORDER BY id LIMIT 1),"
        " (SELECT max(last_seen) FROM host), 0)"
    ).fetchone()
    return int(received)


def _drop(connection: sqlite3.Connection, most: int) -> int:
    rows = connection.execute(
        "SELECT id, agent, epoch, sequence FROM batch ORDER BY id LIMIT ?", (most,)
    ).fetchall()
    if not rows:
        return 0
    newest = rows[-1][0]
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM body WHERE batch <= ?", (newest,))
    connection.execute("DELETE FROM batch WHERE id <= ?", (newest,))
    named = sorted((agent, epoch, number) for _, agent, epoch, number in rows if epoch)
    for (agent, epoch), group in itertools.groupby(named, key=lambda row: row[:2]):
        for first, last in _runs(number for _, _, number in group):
            _remember(connection, agent, epoch, first, last)
    connection.execute("COMMIT")
    return len(rows)


def _drop_incidents(connection: sqlite3.Connection) -> None:
    over = connection.execute(
        "SELECT opened FROM incident ORDER BY opened DESC LIMIT 1 OFFSET ?", (INCIDENTS_MAX,)
    ).fetchone()
    if over is None:
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM incident WHERE opened <= ?", over)
    connection.execute(
        "DELETE FROM incident_event WHERE NOT EXISTS (SELECT 1 FROM incident"
        " WHERE incident.agent = incident_event.agent AND incident.id = incident_event.id)"
    )
    connection.execute(
        "DELETE FROM log_incident WHERE NOT EXISTS (SELECT 1 FROM incident"
        " WHERE incident.agent = log_incident.agent AND incident.id = log_incident.id)"
    )
    connection.execute("COMMIT")


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run in ascending numbers."""
    first = last = -1
    for number in numbers:
        if number != last + 1 or first < 0:
            if first >= 0:
                yield first, last
            first = number
        last = number
    if first >= 0:
        yield first, last


def _remember(
    connection: sqlite3.Connection, agent: str, epoch: str, first: int, last: int
) -> None:
    """Add a run to the spans, joined with the ones it touches."""
    touching = connection.execute(
        "SELECT first, last FROM span WHERE agent = ? AND epoch = ? AND (last = ? OR first = ?)",
        (agent, epoch, first - 1, last + 1),
    ).fetchall()
    connection.execute(
        "DELETE FROM span WHERE agent = ? AND epoch = ? AND (last = ? OR first = ?)",
        (agent, epoch, first - 1, last + 1),
    )
    first = min([first, *(row[0] for row in touching)])
    last = max([last, *(row[1] for row in touching)])
    connection.execute("INSERT INTO span VALUES (?, ?, ?, ?)", (agent, epoch, first, last))
