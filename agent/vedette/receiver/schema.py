"""The receiver's database: its tables, opening it, and what happens to one that cannot be used.

``batch`` has one row per stored request and ``span`` one row per run of sequences whose bodies were
dropped for space; together (view ``received``) they are the ledger from which completeness is
proven. ``body`` is apart so that dropping bodies leaves the ledger alone. All times are Unix ns.

``_STEPS`` is the schema as it grew: a new database takes all steps, an older one those it lacks.
"""

from __future__ import annotations

import datetime as dt
import logging
import sqlite3
from pathlib import Path

log = logging.getLogger(__name__)

NAME = "receiver.db"

_FIRST = """
CREATE TABLE host (
  agent TEXT PRIMARY KEY, name TEXT NOT NULL, host_id TEXT NOT NULL, labels TEXT NOT NULL,
  first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, newest_window INTEGER,
  clock_offset INTEGER, received INTEGER NOT NULL, duplicates INTEGER NOT NULL,
  rejected INTEGER NOT NULL, heartbeat_time INTEGER, heartbeat TEXT
) WITHOUT ROWID;
CREATE TABLE epoch (
  agent TEXT NOT NULL, epoch TEXT NOT NULL, began INTEGER NOT NULL, first INTEGER NOT NULL,
  highest INTEGER NOT NULL, received INTEGER NOT NULL, duplicates INTEGER NOT NULL,
  PRIMARY KEY (agent, epoch)
) WITHOUT ROWID;
CREATE TABLE batch (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  agent TEXT NOT NULL, epoch TEXT NOT NULL, sequence INTEGER NOT NULL, signal TEXT NOT NULL,
  window_start INTEGER, window_end INTEGER, received INTEGER NOT NULL,
  UNIQUE (agent, epoch, sequence)
);
CREATE INDEX batch_window ON batch (agent, window_end);
CREATE TABLE body (batch INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE span (
  agent TEXT NOT NULL, epoch TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (agent, epoch, first)
) WITHOUT ROWID;
CREATE TABLE gauge_latest (
  agent TEXT NOT NULL, gauge TEXT NOT NULL, key TEXT NOT NULL, time INTEGER NOT NULL, value REAL,
  PRIMARY KEY (agent, gauge, key)
) WITHOUT ROWID;
CREATE TABLE spark (
  agent TEXT NOT NULL, time INTEGER NOT NULL, cpu REAL NOT NULL, PRIMARY KEY (agent, time)
) WITHOUT ROWID;
CREATE TABLE incident (
  agent TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, severity TEXT NOT NULL,
  resource TEXT NOT NULL, title TEXT NOT NULL, onset INTEGER NOT NULL, opened INTEGER NOT NULL,
  updated INTEGER NOT NULL, resolved INTEGER, series TEXT NOT NULL, suspects TEXT NOT NULL,
  evidence TEXT NOT NULL, detectors TEXT NOT NULL, PRIMARY KEY (agent, id)
);
CREATE INDEX incident_opened ON incident (opened);
CREATE INDEX incident_open ON incident (agent, severity) WHERE state = 'open';
CREATE TABLE incident_event (
  agent TEXT NOT NULL, id TEXT NOT NULL, uid TEXT NOT NULL, time INTEGER NOT NULL,
  change TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL,
  PRIMARY KEY (agent, id, uid)
) WITHOUT ROWID;
CREATE VIEW received (agent, epoch, first, last) AS
  SELECT agent, epoch, sequence, sequence FROM batch WHERE epoch <> ''
  UNION ALL SELECT agent, epoch, first, last FROM span;
CREATE VIEW missing (agent, epoch, first, last) AS
  WITH edge AS (
    SELECT agent, epoch, first, coalesce(max(last) OVER (
      PARTITION BY agent, epoch ORDER BY first ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 0) AS reached FROM received
  )
  SELECT agent, epoch, reached + 1, first - 1 FROM edge WHERE first > reached + 1;
"""
_INVENTORY = """
CREATE TABLE inventory (
  agent TEXT PRIMARY KEY, time INTEGER NOT NULL, digest TEXT NOT NULL, omitted INTEGER NOT NULL,
  items TEXT NOT NULL
);
CREATE TABLE inventory_change (
  agent TEXT NOT NULL, time INTEGER NOT NULL, place INTEGER NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (agent, time, place)
) WITHOUT ROWID;
"""
#: What the operator said of an incident, as JSON; null: nothing.
_VERDICT = "ALTER TABLE incident ADD COLUMN verdict TEXT;"
#: What was logged. Counts are clustered by window, so that a new one is written to few pages; a
#: window is one that was told, or (``hours``) an hour into which old ones were added up.
_LOGS = """
CREATE TABLE log_host (
  id INTEGER PRIMARY KEY, agent TEXT NOT NULL UNIQUE, began INTEGER NOT NULL,
  newest INTEGER NOT NULL, told_at INTEGER NOT NULL, told TEXT NOT NULL
);
CREATE TABLE log_window (
  id INTEGER PRIMARY KEY AUTOINCREMENT, host INTEGER NOT NULL, hours INTEGER NOT NULL,
  start INTEGER NOT NULL, end INTEGER NOT NULL, received INTEGER NOT NULL,
  records INTEGER NOT NULL, untold INTEGER NOT NULL, UNIQUE (host, hours, end)
);
CREATE TABLE log_count (
  window INTEGER NOT NULL, record INTEGER NOT NULL, template INTEGER NOT NULL,
  count INTEGER NOT NULL, PRIMARY KEY (window, record)
) WITHOUT ROWID;
CREATE TABLE log_source (
  id INTEGER PRIMARY KEY AUTOINCREMENT, host INTEGER NOT NULL, name TEXT NOT NULL,
  newest INTEGER NOT NULL, told_at INTEGER NOT NULL, events INTEGER NOT NULL,
  lines INTEGER NOT NULL, bytes INTEGER NOT NULL, warnings INTEGER NOT NULL,
  errors INTEGER NOT NULL, UNIQUE (host, name)
);
CREATE TABLE log_template (
  id INTEGER PRIMARY KEY AUTOINCREMENT, host INTEGER NOT NULL, source INTEGER NOT NULL,
  uid TEXT NOT NULL, newest INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  since INTEGER NOT NULL, total INTEGER NOT NULL, severity INTEGER NOT NULL, body TEXT NOT NULL,
  exemplar TEXT NOT NULL, slots TEXT NOT NULL, UNIQUE (host, source, uid)
);
CREATE TABLE log_incident (
  agent TEXT NOT NULL, id TEXT NOT NULL, said TEXT NOT NULL, PRIMARY KEY (agent, id)
);
"""
#: What model servers tell. ``told`` is what a page over the fleet shows, ``state`` what the next
#: report is added to; they are apart so that the page reads small rows.
_MODELS = """
CREATE TABLE model (
  id INTEGER PRIMARY KEY AUTOINCREMENT, agent TEXT NOT NULL, endpoint TEXT NOT NULL,
  server TEXT NOT NULL, layer TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL,
  first INTEGER NOT NULL, newest INTEGER NOT NULL, computed INTEGER NOT NULL, told BLOB NOT NULL,
  UNIQUE (agent, endpoint, server, layer, model, version)
);
CREATE TABLE model_state (model INTEGER PRIMARY KEY, state BLOB NOT NULL);
CREATE TRIGGER model_gone AFTER DELETE ON model BEGIN
  DELETE FROM model_state WHERE model = old.id;
END;
CREATE TABLE model_server (
  agent TEXT NOT NULL, endpoint TEXT NOT NULL, time INTEGER NOT NULL, server TEXT NOT NULL,
  title TEXT NOT NULL, since INTEGER NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (agent, endpoint)
) WITHOUT ROWID;
CREATE TABLE model_event (
  agent TEXT NOT NULL, time INTEGER NOT NULL, endpoint TEXT NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (agent, time, endpoint, text)
) WITHOUT ROWID;
"""
_STEPS = (_FIRST, _INVENTORY, _VERDICT, _LOGS, _MODELS)
VERSION = len(_STEPS)
#: What is looked at when a database is opened: all but the bodies.
_CHECKED = (
    "host", "epoch", "batch", "span", "incident", "incident_event", "gauge_latest", "inventory",
    "inventory_change", "log_host", "log_window", "log_source", "log_template", "log_incident",
    "model", "model_state", "model_server", "model_event",
)  # fmt: skip


class CannotOpen(Exception):  # noqa: N818 - told to a person as it is
    """The database cannot be used; the text says why and what to do."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the writer's connection, creating the database or moving a corrupt one aside.

    Raises ``CannotOpen`` for a database of a newer version and for one that cannot be opened at
    all. The connection is in autocommit mode, may be handed to another thread, and makes every
    commit durable.
    """
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise CannotOpen(f"cannot open {path}: {error}") from error
        aside = _move_aside(path)
        log.error(
            "database=corrupt path=%s moved_to=%s error=%r action=started_with_an_empty_one",
            path,
            aside,
            str(error),
        )
        return _open(path)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write; guarded by its user's lock."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5.0,
        check_same_thread=False,
    )  # fmt: skip
    connection.execute("PRAGMA query_only = on")
    return connection


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = full")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise CannotOpen(
            f"{path} was written by a newer version of Vedette (schema {version}, this one "
            f"reads up to {VERSION}): run that version, or give another state directory"
        )
    if version < VERSION:
        steps = "".join(_STEPS[version:])
        connection.executescript(f"BEGIN;{steps}PRAGMA user_version = {VERSION};COMMIT;")
    if version:
        _check(connection)


def _check(connection: sqlite3.Connection) -> None:
    """Raise ``sqlite3.DatabaseError`` when a table is damaged; bodies have a checksum of their own.

    The ledger and the small tables take milliseconds; the bodies, nearly all of the file, do not.
    """
    for table in _CHECKED:
        (answer,) = connection.execute(f"PRAGMA quick_check({table})").fetchone()
        if answer != "ok":
            raise sqlite3.DatabaseError(f"table {table}: {answer}")


def _move_aside(path: Path) -> Path:
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
