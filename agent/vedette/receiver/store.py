"""Keep batches in SQLite: one writer thread, a commit per few milliseconds, an answer after it.

A batch, its ledger row, the host's row and whatever it said of incidents go into one transaction,
so nothing is half there after a crash and a resend is recognised by the same commit that kept the
first. Batches that arrive within ``COMMIT_DELAY_S`` share one fsync.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec

from vedette.receiver import log_store, model_store, retention
from vedette.receiver.batch import (
    FOREIGN,
    Batch,
    IncidentEvent,
    Inventory,
    InventoryChange,
    Outcome,
    Reading,
)
from vedette.receiver.limits import INVENTORY_CHANGES_MAX, SECOND_NS, Limits
from vedette.receiver.schema import open_database

log = logging.getLogger(__name__)

COMMIT_DELAY_S = 0.005
#: Batches of one transaction; also bounds what a failed commit makes senders repeat.
GROUP_MAX = 64
#: Readings of the page's small CPU line.
SPARK_POINTS = 30
#: Changes kept per incident, from the first on.
HISTORY_MAX = 500
#: Headline values kept per host; older than this before the newest they would have been repeated.
GAUGES_MAX = 512
STALE_NS = 65 * 60 * SECOND_NS

_Outcomes = tuple[Outcome, ...]
_Job = tuple[tuple[Batch, ...], "Future[_Outcomes]"]


class StoreError(Exception):
    """The batch is not stored; the sender keeps it and tries again."""


class Store:
    """The database of one receiver. ``submit`` may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        cap_bytes: int = 1 << 30,
        limits: Limits | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        commit_delay_s: float = COMMIT_DELAY_S,
    ) -> None:
        self.path = path
        self.cap_bytes = cap_bytes
        self.limits = limits or Limits()
        self.clock_ns = clock_ns
        self.connection = open_database(path)
        self._agents = {row[0] for row in self.connection.execute("SELECT agent FROM host")}
        self._delay_s = commit_delay_s
        # Bounded by the requests in flight; the margin is for callers that do not count.
        self._jobs: queue.Queue[_Job | None] = queue.Queue(maxsize=self.limits.requests * 2)
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def submit(self, *batches: Batch) -> Future[_Outcomes]:
        """Store the batches of one request, all or none of them.

        The future ends after the commit, with ``StoreError`` when that failed.
        """
        future: Future[_Outcomes] = Future()
        # A caller that gave up must not be able to cancel what the writer is about to answer.
        future.set_running_or_notify_cancel()
        if not self._thread.is_alive():
            future.set_exception(StoreError("the store is closed"))
            return future
        try:
            self._jobs.put_nowait((batches, future))
        except queue.Full:
            future.set_exception(StoreError("too many batches wait for the disk"))
        return future

    def close(self) -> None:
        """Store what was submitted, then close; safe twice."""
        if self._thread.is_alive():
            self._jobs.put(None, timeout=10.0)
            self._thread.join(timeout=10.0)

    @property
    def failing(self) -> bool:
        """Whether the newest commit failed."""
        return self._failing

    # -------------------------------------------------------------- the writer thread

    def _run(self) -> None:
        self._enforce()
        checked_s = time.monotonic()
        closing = False
        while not closing:
            group, closing = self._gather()
            if group:
                self._commit(group)
            if group and time.monotonic() - checked_s > 1.0:
                checked_s = time.monotonic()
                self._enforce()
        # A checkpoint here means that the next start reads one file, not two.
        self.connection.close()

    def _gather(self) -> tuple[list[_Job], bool]:
        first = self._jobs.get()
        if first is None:
            return [], True
        group = [first]
        until = time.monotonic() + self._delay_s
        while len(group) < GROUP_MAX:
            try:
                job = self._jobs.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _commit(self, group: Sequence[_Job]) -> None:
        added: set[str] = set()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._guarded(batches, added) for batches, _ in group]
            self.connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the writer outlives whatever a batch does to it
            self._fail(group, error)
            return
        if self._failing:
            self._failing = False
            log.warning("store=ok path=%s", self.path)
        self._agents |= added
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, tuple):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

    def _fail(self, group: Sequence[_Job], error: Exception) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        if not self._failing:
            self._failing = True
            log.error("store=failing path=%s error=%r", self.path, str(error))
        for _, future in group:
            future.set_exception(StoreError(str(error)))

    def _guarded(self, batches: tuple[Batch, ...], added: set[str]) -> _Outcomes | StoreError:
        """Apply one request; what is wrong with it alone leaves the others of its group alone."""
        self.connection.execute("SAVEPOINT one")
        try:
            return tuple(self._apply(batch, added) for batch in batches)
        except (sqlite3.IntegrityError, sqlite3.DataError, ValueError, OverflowError) as error:
            self.connection.execute("ROLLBACK TO one")
            log.warning("request=failed agent=%r error=%r", batches[0].id.agent, str(error))
            return StoreError(str(error))
        finally:
            if self.connection.in_transaction:
                self.connection.execute("RELEASE one")

    def _apply(self, batch: Batch, added: set[str]) -> Outcome:
        agent, epoch, sequence = batch.id.agent, batch.id.epoch, batch.id.sequence
        if not self._has_room(batch, added):
            return Outcome(full=True)
        duplicate = self._known(agent, epoch, sequence)
        self._host(batch, duplicate)
        if epoch != FOREIGN:
            self._epoch(batch, duplicate)
        added.add(agent)
        if duplicate:
            return Outcome(duplicate=True)
        cursor = self.connection.execute(
            "INSERT INTO batch (agent, epoch, sequence, signal, window_start, window_end, received)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                agent, epoch, sequence, batch.signal, batch.window_start_ns, batch.window_end_ns,
                batch.received_ns,
            ),
        )  # fmt: skip
        self.connection.execute("INSERT INTO body VALUES (?, ?)", (cursor.lastrowid, batch.body))
        for event in batch.incidents:
            self._incident(agent, event)
        if batch.inventory is not None:
            self._inventory(agent, batch.inventory)
        if batch.inventory_changes:
            self._inventory_changes(agent, batch.inventory_changes)
        if batch.log_templates or batch.log_windows:
            log_store.take(
                self.connection, agent, batch.received_ns, batch.log_templates, batch.log_windows
            )
        if batch.readings:
            self._readings(agent, batch.readings)
        if batch.model_servers:
            model_store.take_servers(self.connection, agent, batch.model_servers)
        if batch.signal == "metrics" and batch.window_end_ns is not None:
            self._spark(agent, batch.window_end_ns)
            model_store.take_readings(self.connection, agent, batch.window_end_ns, batch.models)
        return Outcome()

    def _has_room(self, batch: Batch, added: set[str]) -> bool:
        agent, epoch = batch.id.agent, batch.id.epoch
        if agent not in self._agents and agent not in added:
            return len(self._agents) + len(added) < self.limits.agents
        if epoch == FOREIGN:
            return True
        known, here = self.connection.execute(
            "SELECT count(*), coalesce(sum(epoch = ?), 0) FROM epoch WHERE agent = ?",
            (epoch, agent),
        ).fetchone()
        return bool(here) or known < self.limits.epochs_per_agent

    def _known(self, agent: str, epoch: str, sequence: int) -> bool:
        row = self.connection.execute(
            "SELECT EXISTS (SELECT 1 FROM batch WHERE agent = ?1 AND epoch = ?2 AND sequence = ?3)"
            " OR coalesce((SELECT last >= ?3 FROM span WHERE agent = ?1 AND epoch = ?2"
            " AND first <= ?3 ORDER BY first DESC LIMIT 1), 0)",
            (agent, epoch, sequence),
        ).fetchone()
        return bool(row[0])

    def _host(self, batch: Batch, duplicate: bool) -> None:
        offset = None if batch.sent_ns is None else batch.sent_ns - batch.received_ns
        beat = None if duplicate else batch.heartbeat
        self.connection.execute(
            """INSERT INTO host VALUES
            (:agent, :name, :host_id, :labels, :now, :now, :window, :offset, :new, :again,
             :rejected, :beat_time, :beat)
            ON CONFLICT (agent) DO UPDATE SET
              name = coalesce(nullif(excluded.name, ''), name),
              host_id = coalesce(nullif(excluded.host_id, ''), host_id),
              labels = CASE WHEN :again THEN labels ELSE excluded.labels END,
              last_seen = max(last_seen, excluded.last_seen),
              newest_window = nullif(max(coalesce(newest_window, 0),
                                         coalesce(excluded.newest_window, 0)), 0),
              clock_offset = coalesce(excluded.clock_offset, clock_offset),
              received = received + :new, duplicates = duplicates + :again,
              rejected = rejected + excluded.rejected,
              heartbeat = CASE WHEN :beat_time >= coalesce(heartbeat_time, 0)
                          THEN :beat ELSE heartbeat END,
              heartbeat_time = max(coalesce(heartbeat_time, 0), coalesce(:beat_time, 0))""",
            {
                "agent": batch.id.agent,
                "name": batch.facts.name,
                "host_id": batch.facts.host_id,
                "labels": msgspec.json.encode(batch.facts.labels).decode(),
                "now": batch.received_ns,
                "window": batch.window_end_ns,
                "offset": offset,
                "new": int(not duplicate),
                "again": int(duplicate),
                "rejected": 0 if duplicate else batch.rejected,
                "beat_time": None if beat is None else beat.time_ns,
                "beat": None if beat is None else msgspec.json.encode(beat).decode(),
            },
        )

    def _epoch(self, batch: Batch, duplicate: bool) -> None:
        self.connection.execute(
            """INSERT INTO epoch VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (agent, epoch) DO UPDATE SET
              first = min(first, excluded.first), highest = max(highest, excluded.highest),
              received = received + excluded.received,
              duplicates = duplicates + excluded.duplicates""",
            (
                batch.id.agent, batch.id.epoch, batch.received_ns, batch.id.sequence,
                batch.id.sequence, int(not duplicate), int(duplicate),
            ),
        )  # fmt: skip

    def _incident(self, agent: str, event: IncidentEvent) -> None:
        incident = event.incident
        self.connection.execute(
            """INSERT OR IGNORE INTO incident_event SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
            WHERE (SELECT count(*) FROM incident_event WHERE agent = ?1 AND id = ?2) < ?8""",
            (
                agent, incident.id, event.uid, event.time_ns, event.change, incident.severity,
                incident.title, HISTORY_MAX,
            ),
        )  # fmt: skip
        parts = (incident.series, incident.suspects, incident.evidence, incident.detectors)
        verdict = incident.verdict and msgspec.json.encode(incident.verdict).decode()
        self.connection.execute(
            """INSERT INTO incident VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (agent, id) DO UPDATE SET
              state = excluded.state, severity = excluded.severity, resource = excluded.resource,
              title = excluded.title, onset = excluded.onset, opened = excluded.opened,
              updated = excluded.updated, resolved = excluded.resolved, series = excluded.series,
              suspects = excluded.suspects, evidence = excluded.evidence,
              detectors = excluded.detectors, verdict = excluded.verdict
            WHERE (excluded.updated, excluded.state = 'resolved')
               >= (incident.updated, incident.state = 'resolved')""",
            (
                agent, incident.id, incident.state, incident.severity, incident.resource,
                incident.title, incident.onset_ns, incident.opened_ns, incident.updated_ns,
                incident.resolved_ns,
                *(msgspec.json.encode(part).decode() for part in parts), verdict,
            ),
        )  # fmt: skip

    def _inventory(self, agent: str, inventory: Inventory) -> None:
        self.connection.execute(
            """INSERT INTO inventory VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (agent) DO UPDATE SET
              time = excluded.time, digest = excluded.digest, omitted = excluded.omitted,
              items = excluded.items
            WHERE excluded.time >= inventory.time""",
            (
                agent, inventory.time_ns, inventory.digest, inventory.omitted,
                msgspec.json.encode(inventory.items).decode(),
            ),
        )  # fmt: skip

    def _inventory_changes(self, agent: str, changes: Sequence[InventoryChange]) -> None:
        self.connection.executemany(
            "INSERT OR IGNORE INTO inventory_change VALUES (?, ?, ?, ?)",
            [(agent, change.time_ns, change.place, change.text) for change in changes],
        )
        self.connection.execute(
            """DELETE FROM inventory_change WHERE agent = ?1 AND (time, -place) <=
            (SELECT time, -place FROM inventory_change WHERE agent = ?1
             ORDER BY time DESC, place LIMIT 1 OFFSET ?2)""",
            (agent, INVENTORY_CHANGES_MAX),
        )

    def _readings(self, agent: str, readings: Sequence[Reading]) -> None:
        self.connection.executemany(
            """INSERT INTO gauge_latest VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (agent, gauge, key) DO UPDATE SET
              time = excluded.time, value = excluded.value WHERE excluded.time >= time""",
            [(agent, item.gauge, item.key, item.time_ns, item.value) for item in readings],
        )
        self.connection.execute(
            """DELETE FROM gauge_latest WHERE agent = ?1 AND time < coalesce(max(
              (SELECT max(time) FROM gauge_latest WHERE agent = ?1) - ?2,
              (SELECT time FROM gauge_latest WHERE agent = ?1 ORDER BY time DESC
               LIMIT 1 OFFSET ?3)),
              (SELECT max(time) FROM gauge_latest WHERE agent = ?1) - ?2)""",
            (agent, STALE_NS, GAUGES_MAX),
        )

    def _spark(self, agent: str, time_ns: int) -> None:
        """Add a point to the CPU line: the newest value known then, moved in this window or not."""
        self.connection.execute(
            """INSERT OR REPLACE INTO spark SELECT agent, ?2, value FROM gauge_latest
            WHERE agent = ?1 AND gauge = 'cpu' AND time <= ?2 AND value IS NOT NULL LIMIT 1""",
            (agent, time_ns),
        )
        self.connection.execute(
            """DELETE FROM spark WHERE agent = ?1 AND time <=
            (SELECT time FROM spark WHERE agent = ?1 ORDER BY time DESC LIMIT 1 OFFSET ?2)""",
            (agent, SPARK_POINTS),
        )

    def _enforce(self) -> None:
        try:
            retention.enforce(self.connection, self.cap_bytes)
        except sqlite3.Error as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            log.warning("retention=failed error=%r", str(error))
