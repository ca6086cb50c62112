"""Keep what agents tell of their logs: each record once, counts by window, old windows as hours.

A record that comes again is known by its number as long as its window is kept as it was told:
until both its end and its arrival are ``FINE_NS`` behind the newest of its host. By then counts are
added up to hours, which are kept for ``KEPT_NS``. What was said around an incident is worked out
before the windows around it are gone (``log_around``).

Cost: some 8 µs per record (to read one out of its request, 40) and 23 bytes per count; a window's
counts are written to a few pages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from vedette.receiver.batch import INTEGER_MAX, LogTemplate, LogWindow
from vedette.receiver.limits import DAY_NS, SECOND_NS
from vedette.receiver.log_around import BEFORE_NS, SPAN_NS, around
from vedette.receiver.log_merges import follow

HOUR_NS = 3600 * SECOND_NS
#: How long windows are kept as told: an hour, what is around an incident, and the hour before it.
FINE_NS = 2 * HOUR_NS
#: Windows of 10 s, for that long and some more; and counts of all of them.
WINDOWS_MAX = 1_000
COUNTS_MAX = 500_000
#: Counts of one window; an agent tells 1,000.
RECORDS_MAX = 5_000
#: How long hours are kept, and how many of them.
KEPT_NS = 7 * DAY_NS
HOURS_MAX = 200
#: Of one host; those that had no line for longest go first.
TEMPLATES_MAX = 5_000
SOURCES_MAX = 1_100

_DROP_WINDOWS = """
DELETE FROM log_window
WHERE received < min(:received, (SELECT max(received) FROM log_window) - :kept)
"""
_DROP_COUNTS = """
DELETE FROM log_count WHERE window IN (SELECT id FROM log_window
  WHERE received < min(:received, (SELECT max(received) FROM log_window) - :kept))
"""
_DROP_TEMPLATES = """
DELETE FROM log_template WHERE newest < coalesce(
  (SELECT min(w.start) FROM log_window w WHERE w.host = log_template.host), :always)
"""
_DROP_SOURCES = """
DELETE FROM log_source WHERE newest < coalesce(
  (SELECT min(w.start) FROM log_window w WHERE w.host = log_source.host), :always)
"""


def take(
    connection: sqlite3.Connection,
    agent: str,
    received_ns: int,
    templates: Sequence[LogTemplate],
    windows: Sequence[LogWindow],
) -> None:
    """Store the records of one request; part of its transaction."""
    host = _host(connection, agent, templates, windows)
    sources = _sources(connection, host, templates, windows)
    by_window: dict[int, list[LogTemplate]] = {one.end_ns: [] for one in windows}
    for one in templates:
        by_window.setdefault(one.end_ns, []).append(one)
    untold = {one.end_ns: one for one in windows}
    for end_ns in sorted(by_window):
        some, own = by_window[end_ns], untold.get(end_ns)
        starts = [one.start_ns for one in some] + ([] if own is None else [own.start_ns])
        start_ns = min(starts)
        window = _window(connection, host, (start_ns, end_ns), received_ns, own)
        _counts(connection, host, window, some, sources)
    follow(connection, host, windows)
    newest = _newest(connection, host)
    _age(connection, agent, host, newest, received_ns)
    _bound(connection, host)


def drop_before(connection: sqlite3.Connection, received_ns: int) -> None:
    """Drop windows that arrived before a time, and what is told in none that is left.

    Those by which a repeated record is known stay.
    """
    values = {"received": received_ns, "kept": FINE_NS, "always": INTEGER_MAX}
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_DROP_COUNTS, values)
    if connection.execute(_DROP_WINDOWS, values).rowcount:
        connection.execute(_DROP_TEMPLATES, values)
        connection.execute(_DROP_SOURCES, values)
    connection.execute("COMMIT")


def _host(
    connection: sqlite3.Connection,
    agent: str,
    templates: Sequence[LogTemplate],
    windows: Sequence[LogWindow],
) -> int:
    """Return the host's number; keep since when it tells, and the newest it says of itself."""
    own = max(windows, key=lambda one: one.end_ns, default=None)
    told = "{}" if own is None else msgspec.json.encode(own.told).decode()
    began = [one.start_ns for one in windows]
    began += [min(one.start_ns, one.since_ns) for one in templates]
    ends = [one.end_ns for one in windows] + [one.end_ns for one in templates]
    (host,) = connection.execute(
        """INSERT INTO log_host (agent, began, newest, told_at, told) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (agent) DO UPDATE SET
          began = min(began, excluded.began), newest = max(newest, excluded.newest),
          told = CASE WHEN excluded.told_at >= told_at THEN excluded.told ELSE told END,
          told_at = max(told_at, excluded.told_at)
        RETURNING id""",
        (
            agent, min(began), max(ends),
            0 if own is None else own.end_ns, told,
        ),
    ).fetchone()  # fmt: skip
    return int(host)


def _newest(connection: sqlite3.Connection, host: int) -> int:
    (newest,) = connection.execute("SELECT newest FROM log_host WHERE id = ?", (host,)).fetchone()
    return int(newest)


def _sources(
    connection: sqlite3.Connection,
    host: int,
    templates: Sequence[LogTemplate],
    windows: Sequence[LogWindow],
) -> dict[str, int]:
    """Return the numbers of the sources that records are of; keep the totals that were told."""
    seen: dict[str, int] = {}
    for template in templates:
        seen[template.source] = max(seen.get(template.source, 0), template.end_ns)
    known = {
        name: int(
            connection.execute(
                """INSERT INTO log_source VALUES (NULL, ?, ?, ?, 0, 0, 0, 0, 0, 0)
                ON CONFLICT (host, name) DO UPDATE SET newest = max(newest, excluded.newest)
                RETURNING id""",
                (host, name, end_ns),
            ).fetchone()[0]
        )
        for name, end_ns in seen.items()
    }
    connection.executemany(
        """INSERT INTO log_source VALUES (NULL, ?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (host, name) DO UPDATE SET
          newest = max(newest, excluded.newest), told_at = excluded.told_at,
          events = excluded.events, lines = excluded.lines, bytes = excluded.bytes,
          warnings = excluded.warnings, errors = excluded.errors
        WHERE excluded.told_at >= told_at""",
        [
            (
                host, one.name, window.end_ns, one.events, one.lines, one.bytes, one.warnings,
                one.errors,
            )
            for window in windows
            for one in window.sources
        ],
    )  # fmt: skip
    return known


def _window(
    connection: sqlite3.Connection,
    host: int,
    span: tuple[int, int],
    received_ns: int,
    own: LogWindow | None,
) -> int:
    (window,) = connection.execute(
        """INSERT INTO log_window VALUES (NULL, ?1, 0, ?2, ?3, ?4, 0, coalesce(?5, 0))
        ON CONFLICT (host, hours, end) DO UPDATE SET
          start = min(start, excluded.start), received = max(received, excluded.received),
          untold = coalesce(?5, untold)
        RETURNING id""",
        (host, *span, received_ns, None if own is None else own.untold),
    ).fetchone()
    return int(window)


def _counts(
    connection: sqlite3.Connection,
    host: int,
    window: int,
    templates: Sequence[LogTemplate],
    sources: dict[str, int],
) -> None:
    """Count the records of one window that were not there yet."""
    if not templates:
        return
    rows = connection.execute("SELECT record FROM log_count WHERE window = ?", (window,)).fetchall()
    known = {row[0] for row in rows}
    fresh = {one.record: one for one in templates if one.record not in known}
    some = list(fresh.values())[: max(RECORDS_MAX - len(known), 0)]
    connection.executemany(
        "INSERT INTO log_count VALUES (?, ?, ?, ?)",
        [
            (window, one.record, _template(connection, host, sources[one.source], one), one.count)
            for one in some
        ],
    )
    connection.execute(
        "UPDATE log_window SET records = ? WHERE id = ?", (len(known) + len(some), window)
    )


def _template(connection: sqlite3.Connection, host: int, source: int, one: LogTemplate) -> int:
    """Return the number of a template; what is told of it is what its newest window said."""
    (template,) = connection.execute(
        """INSERT INTO log_template VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (host, source, uid) DO UPDATE SET
          newest = max(newest, excluded.newest), first = min(first, excluded.first),
          last = max(last, excluded.last),
          since = CASE WHEN excluded.newest >= newest THEN excluded.since ELSE since END,
          total = CASE WHEN excluded.newest >= newest THEN excluded.total ELSE total END,
          severity = CASE WHEN excluded.newest >= newest THEN excluded.severity ELSE severity END,
          body = CASE WHEN excluded.newest >= newest THEN excluded.body ELSE body END,
          exemplar = CASE WHEN excluded.newest >= newest THEN excluded.exemplar ELSE exemplar END,
          slots = CASE WHEN excluded.newest >= newest THEN excluded.slots ELSE slots END
        RETURNING id""",
        (
            host, source, one.uid, one.end_ns, min(one.first_ns, one.since_ns), one.last_ns,
            one.since_ns, one.total, one.severity, one.text, one.exemplar,
            msgspec.json.encode(one.slots).decode(),
        ),
    ).fetchone()  # fmt: skip
    return int(template)


# ---------------------------------------------------------------- what goes


def _age(
    connection: sqlite3.Connection, agent: str, host: int, newest: int, received_ns: int
) -> None:
    """Add up windows that are old, or more than there is room for, to hours; drop old hours."""
    old = _old_windows(connection, host, newest - FINE_NS, received_ns - FINE_NS)
    if not old:
        return
    _keep_said(connection, agent, host, max(end_ns for _, end_ns, _ in old), newest)
    for window, end_ns, received in old:
        hour = (end_ns - 1) // HOUR_NS * HOUR_NS
        if hour + HOUR_NS > newest - KEPT_NS:
            _add_up(connection, host, window, hour, received)
        _drop_window(connection, window)
    for (window,) in connection.execute(
        "SELECT id FROM log_window WHERE host = ?1 AND hours = 1 AND (end <= ?2 OR end <= ("
        " SELECT end FROM log_window WHERE host = ?1 AND hours = 1"
        " ORDER BY end DESC LIMIT 1 OFFSET ?3))",
        (host, newest - KEPT_NS, HOURS_MAX),
    ).fetchall():
        _drop_window(connection, window)


def _old_windows(
    connection: sqlite3.Connection, host: int, end_ns: int, received_ns: int
) -> list[tuple[int, int, int]]:
    """Return (window, end, arrival), oldest first."""
    windows = connection.execute(
        "SELECT id, end, received, records FROM log_window WHERE host = ? AND hours = 0"
        " ORDER BY end DESC",
        (host,),
    ).fetchall()
    old, counts = [], 0
    for place, (window, end, received, records) in enumerate(windows):
        counts += records
        over = place >= WINDOWS_MAX or (place > 0 and counts > COUNTS_MAX)
        if over or (end <= end_ns and received <= received_ns):
            old.append((window, end, received))
    return old[::-1]


def _keep_said(
    connection: sqlite3.Connection, agent: str, host: int, until_ns: int, newest: int
) -> None:
    """Keep what was said around incidents that need windows up to ``until_ns``."""
    incidents = connection.execute(
        "SELECT id, onset FROM incident WHERE agent = ?1 AND onset > ?2 AND onset < ?3"
        " AND NOT EXISTS (SELECT 1 FROM log_incident WHERE log_incident.agent = ?1"
        " AND log_incident.id = incident.id)",
        (agent, until_ns - SPAN_NS, min(until_ns + BEFORE_NS + SPAN_NS, newest - SPAN_NS)),
    ).fetchall()
    for identity, onset in incidents:
        said = around(lambda sql, values: connection.execute(sql, values).fetchall(), host, onset)
        if said is not None:
            connection.execute(
                "INSERT INTO log_incident VALUES (?, ?, ?)",
                (agent, identity, msgspec.json.encode(said).decode()),
            )


def _add_up(
    connection: sqlite3.Connection, host: int, window: int, hour: int, received: int
) -> None:
    (into,) = connection.execute(
        """INSERT INTO log_window SELECT NULL, host, 1, ?2, ?3, ?4, 0, untold FROM log_window
        WHERE id = ?1 ON CONFLICT (host, hours, end) DO UPDATE SET
          received = max(received, excluded.received), untold = untold + excluded.untold
        RETURNING id""",
        (window, hour, hour + HOUR_NS, received),
    ).fetchone()
    connection.execute(
        """INSERT INTO log_count
        SELECT ?1, template, template, sum(count) FROM log_count
        JOIN log_template t ON t.id = template WHERE window = ?2 GROUP BY template
        ON CONFLICT (window, record) DO UPDATE SET count = count + excluded.count""",
        (into, window),
    )


def _drop_window(connection: sqlite3.Connection, window: int) -> None:
    connection.execute("DELETE FROM log_count WHERE window = ?", (window,))
    connection.execute("DELETE FROM log_window WHERE id = ?", (window,))


def _bound(connection: sqlite3.Connection, host: int) -> None:
    """Let go of the templates and sources that are too many."""
    (count,) = connection.execute(
        "SELECT count(*) FROM log_template WHERE host = ?", (host,)
    ).fetchone()
    if count > TEMPLATES_MAX:
        connection.execute(
            "DELETE FROM log_template WHERE id IN (SELECT id FROM log_template WHERE host = ?"
            " ORDER BY newest, last, id LIMIT ?)",
            (host, count - TEMPLATES_MAX),
        )
    (count,) = connection.execute(
        "SELECT count(*) FROM log_source WHERE host = ?", (host,)
    ).fetchone()
    if count > SOURCES_MAX:
        connection.execute(
            "DELETE FROM log_source WHERE id IN (SELECT id FROM log_source WHERE host = ?"
            " ORDER BY newest, id LIMIT ?)",
            (host, count - SOURCES_MAX),
        )
        connection.execute(
            "DELETE FROM log_template WHERE host = ? AND source NOT IN (SELECT id FROM log_source"
            " WHERE host = ?)",
            (host, host),
        )
