"""Follow templates that became part of another: what was told of the one is the other's.

An agent tells so in a window's record. Counts move, and the template that is no more goes; without
that its lines would stand twice, in its own total and in the other's. Told again it changes
nothing. One pass over the host's counts per window that tells of merges.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from vedette.receiver.batch import LogWindow

_PAIRS = """
SELECT o.id, n.id FROM log_template o
LEFT JOIN log_template n ON n.host = o.host AND n.source = o.source AND n.uid = ?3
WHERE o.host = ?1 AND o.uid = ?2 AND o.newest <= ?4
"""
#: A total that was told since the merge has the other's lines in it.
_JOIN = """
UPDATE log_template AS n SET
  total = n.total + CASE WHEN n.newest >= ?3 THEN 0 ELSE o.total END,
  first = min(n.first, o.first), last = max(n.last, o.last), since = min(n.since, o.since),
  severity = max(n.severity, o.severity), newest = max(n.newest, o.newest)
FROM (SELECT total, first, last, since, severity, newest FROM log_template WHERE id = ?1) AS o
WHERE n.id = ?2
"""
_MOVE = """
UPDATE log_count SET template = (SELECT now FROM log_merge WHERE old = template)
WHERE template IN (SELECT old FROM log_merge)
  AND window IN (SELECT id FROM log_window WHERE host = ?)
"""


def follow(connection: sqlite3.Connection, host: int, windows: Sequence[LogWindow]) -> None:
    """Give the other template what was told of each that is merged; part of a transaction."""
    for window in sorted(windows, key=lambda one: one.end_ns):
        moved: list[tuple[int, int]] = []
        for old, into in window.merged:
            values = (host, old, into, window.end_ns)
            for template, other in connection.execute(_PAIRS, values).fetchall():
                if other is None:
                    connection.execute(
                        "UPDATE log_template SET uid = ? WHERE id = ?", (into, template)
                    )
                    continue
                connection.execute(_JOIN, (template, other, window.end_ns))
                moved.append((template, other))
        if moved:
            _move(connection, host, moved)


def _move(connection: sqlite3.Connection, host: int, moved: Sequence[tuple[int, int]]) -> None:
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS log_merge (old INTEGER PRIMARY KEY, now INTEGER NOT NULL)"
    )
    connection.execute("DELETE FROM log_merge")
    connection.executemany("INSERT OR REPLACE INTO log_merge VALUES (?, ?)", moved)
    connection.execute(_MOVE, (host,))
    connection.executemany("DELETE FROM log_template WHERE id = ?", [(old,) for old, _ in moved])
