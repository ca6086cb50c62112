"""Answer questions about hosts, completeness and incidents: one SQL each, over small tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from vedette.api import Track, Verdict
from vedette.receiver.batch import Heartbeat
from vedette.receiver.schema import open_reader
from vedette.receiver.views import (
    ChangeView,
    EpochView,
    Headline,
    HostView,
    IncidentDetail,
    IncidentView,
    InventoryAnswer,
    InventoryChangeView,
    Open,
    Spark,
    TrackView,
    VerdictView,
)

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
#: A host is silent after three windows, and never before this.
SILENT_NS = 30 * SECOND_NS
#: An agent's first windows are short and become usual ones within this uptime: a host so young is
#: given the length of a usual window and a half, or it would fall silent in the first of them.
SETTLED_S = 900.0
SETTLING_NS = 90 * SECOND_NS
#: The window of a sender that does not say how long its windows are.
USUAL_WINDOW_NS = 60 * SECOND_NS
#: Ranges listed per epoch; ``missing_count`` counts all of them.
RANGES_MAX = 1_000

_HOSTS = """
SELECT agent, name, host_id, labels, last_seen, newest_window, clock_offset, received, duplicates,
  heartbeat FROM host WHERE %agent% ORDER BY name, agent
"""
_OPEN = """
SELECT agent, severity, count(*) FROM incident WHERE %agent% AND state = 'open'
GROUP BY agent, severity
"""
_GAUGES = """
SELECT agent, gauge, max(value) FROM gauge_latest WHERE %agent% GROUP BY agent, gauge
"""
_SPARK = "SELECT agent, time, cpu FROM spark WHERE %agent% ORDER BY agent, time"
_INVENTORIES = "SELECT agent, time FROM inventory WHERE %agent%"
_LOGS = "SELECT agent, newest FROM log_host WHERE %agent%"
_MODELS = "SELECT agent, count(DISTINCT nullif(model, '')) FROM model WHERE %agent% GROUP BY agent"
_MISSING_COUNT = "SELECT agent, sum(highest - received) FROM epoch WHERE %agent% GROUP BY agent"
_MISSING = """
SELECT agent, epoch, first, last FROM missing WHERE %agent% ORDER BY agent, epoch, first
"""
_EPOCHS = """
SELECT agent, host.name, epoch, first, highest, epoch.received, epoch.duplicates
FROM epoch JOIN host USING (agent) WHERE %agent% ORDER BY agent, began
"""
#: A query of incidents; its rows are for ``incident_view``.
INCIDENT = """
SELECT i.agent, h.name, i.id, i.state, i.severity, i.resource, i.title, i.onset, i.opened,
  i.updated, i.resolved, i.series, i.suspects, i.evidence, i.detectors, i.verdict
FROM incident i JOIN host h USING (agent)
"""


class Reader:
    """Read the database beside the writer; any thread, one statement at a time."""

    def __init__(self, path: Path, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.clock_ns = clock_ns
        self._connection = open_reader(path)
        self._lock = threading.Lock()

    def rows(self, sql: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> list[Any]:
        """Return all rows of one statement."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Let go of the database; safe twice."""
        with self._lock:
            self._connection.close()

    def hosts(self, agent: str | None = None) -> list[HostView]:
        """Return the hosts, by name; only the one when ``agent`` is given."""
        opened = _pivot(self._of(_OPEN, agent))
        gauges = _pivot(self._of(_GAUGES, agent))
        missing = dict(self._of(_MISSING_COUNT, agent))
        inventories = dict(self._of(_INVENTORIES, agent))
        logs = dict(self._of(_LOGS, agent))
        models = dict(self._of(_MODELS, agent))
        sparks: dict[str, list[tuple[int, float]]] = {}
        for name, at, value in self._of(_SPARK, agent):
            sparks.setdefault(name, []).append((at // MS_NS, value))
        now_ns = self.clock_ns()
        return [
            _host_view(
                row,
                now_ns,
                missing.get(row[0], 0),
                inventories.get(row[0]),
                logs.get(row[0]),
                models.get(row[0]),
                Open(**opened.get(row[0], {})),
                Headline(**gauges.get(row[0], {})),
                Spark(sparks.get(row[0], [])),
            )
            for row in self._of(_HOSTS, agent)
        ]

    def epochs(self, agent: str | None = None) -> list[EpochView]:
        """Return what arrived of each numbering, the missing runs proven by one query."""
        ranges: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for name, epoch, first, last in self._of(_MISSING, agent):
            ranges.setdefault((name, epoch), []).append((first, last))
        return [
            _epoch_view(row, ranges.get((row[0], row[2]), [])) for row in self._of(_EPOCHS, agent)
        ]

    def _of(self, sql: str, agent: str | None) -> list[Any]:
        """Run a statement for one agent, or for all of them without a test per row."""
        if agent is None:
            return self.rows(sql.replace("%agent%", "1"))
        return self.rows(sql.replace("%agent%", "agent = ?"), (agent,))

    def inventory(self, agent: str) -> InventoryAnswer:
        """Return what a host is made of, empty when it never said, and what changed."""
        rows = self.rows(
            "SELECT time, digest, items, omitted FROM inventory WHERE agent = ?", (agent,)
        )
        time_ns, digest, items, omitted = rows[0] if rows else (None, "", "[]", 0)
        changes = self.rows(
            "SELECT time, text FROM inventory_change WHERE agent = ? ORDER BY time DESC, place",
            (agent,),
        )
        return InventoryAnswer(
            now_ms=self.clock_ns() // MS_NS,
            time_ms=None if time_ns is None else time_ns // MS_NS,
            digest=digest,
            items=_raw(items),
            omitted=omitted,
            changes=[InventoryChangeView(at // MS_NS, text) for at, text in changes],
        )

    def incidents(self, agent: str | None, state: str | None, limit: int) -> list[IncidentView]:
        """Return incidents, newest first."""
        rows = self.rows(
            f"{INCIDENT} WHERE (?1 IS NULL OR i.agent = ?1) AND (?2 IS NULL OR i.state = ?2)"
            " ORDER BY i.opened DESC, i.id LIMIT ?3",
            (agent, state, limit),
        )
        return [incident_view(row) for row in rows]

    def incident(self, agent: str, identity: str) -> IncidentDetail | None:
        """Return one incident with evidence and history, or None."""
        rows = self.rows(f"{INCIDENT} WHERE i.agent = ? AND i.id = ?", (agent, identity))
        if not rows:
            return None
        history = self.rows(
            "SELECT time, change, severity, title FROM incident_event"
            " WHERE agent = ? AND id = ? ORDER BY time, change",
            (agent, identity),
        )
        evidence = msgspec.json.decode(rows[0][13], type=list[Track])
        return IncidentDetail(
            **_incident_fields(rows[0]),
            evidence=[_track_view(track) for track in evidence],
            detectors=_raw(rows[0][14]),
            history=[ChangeView(row[0] // MS_NS, *row[1:]) for row in history],
        )


def _pivot(rows: list[Any]) -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for agent, column, value in rows:
        table.setdefault(agent, {})[column] = value
    return table


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _host_view(
    row: Any,
    now_ns: int,
    missing: int,
    inventory: int | None,
    logs: int | None,
    models: int | None,
    opened: Open,
    headline: Headline,
    spark: Spark,
) -> HostView:
    agent, name, host_id, labels, last_seen, newest, offset, received, duplicates, text = row
    beat = msgspec.json.decode(text, type=Heartbeat) if text else Heartbeat(0)
    health, reasons = health_of(beat, last_seen, now_ns)
    return HostView(
        agent=agent,
        host=name or agent,
        host_id=host_id,
        labels=_raw(labels),
        version=beat.version,
        os=beat.os,
        cpus=beat.cpus,
        memory_bytes=beat.memory_bytes,
        health=health,
        reasons=reasons,
        last_seen_ms=last_seen // MS_NS,
        newest_window_ms=None if newest is None else newest // MS_NS,
        lag_s=None if newest is None else round((now_ns - newest) / SECOND_NS, 3),
        clock_offset_s=None if offset is None else round(offset / SECOND_NS, 3),
        interval_s=beat.interval_s,
        series=beat.series,
        learning=beat.learning,
        collectors=beat.collectors,
        backlog_batches=beat.backlog_batches,
        dropped=beat.dropped,
        missing=missing,
        received=received,
        duplicates=duplicates,
        agent_cpu=beat.cpu,
        agent_rss=beat.rss,
        inventory_ms=None if inventory is None else inventory // MS_NS,
        logs_ms=None if logs is None else logs // MS_NS,
        models=models,
        open=opened,
        headline=headline,
        spark=spark,
    )


def health_of(beat: Heartbeat, last_seen_ns: int, now_ns: int) -> tuple[str, tuple[str, ...]]:
    """Return (health, reasons): what the host said of itself, unless it stopped saying anything."""
    if beat.stopping:
        return beat.health, (*(r for r in beat.reasons if r != "stopping"), "stopped")
    window_ns = USUAL_WINDOW_NS
    if beat.window_start_ns is not None and beat.window_end_ns is not None:
        window_ns = max(beat.window_end_ns - beat.window_start_ns, 0)
    age_ns = now_ns - last_seen_ns
    young = beat.uptime_s is not None and beat.uptime_s < SETTLED_S
    if age_ns > max(3 * window_ns, SETTLING_NS if young else SILENT_NS):
        return "silent", (f"no batch for {age_ns // SECOND_NS} s", *beat.reasons)
    return beat.health, beat.reasons


def _epoch_view(row: Any, ranges: list[tuple[int, int]]) -> EpochView:
    agent, name, epoch, first, highest, received, duplicates = row
    return EpochView(
        agent=agent,
        host=name or agent,
        epoch=epoch,
        first=first,
        highest=highest,
        contiguous=ranges[0][0] - 1 if ranges else highest,
        missing=ranges[:RANGES_MAX],
        missing_count=sum(last - start + 1 for start, last in ranges),
        received=received,
        duplicates=duplicates,
    )


def incident_view(row: Any) -> IncidentView:
    """Return the incident of a row of ``INCIDENT``."""
    return IncidentView(**_incident_fields(row))


def _incident_fields(row: Any) -> dict[str, Any]:
    agent, name, identity, state, severity, resource, title = row[:7]
    onset, opened, updated, resolved, series, suspects = row[7:13]
    return {
        "agent": agent,
        "host": name or agent,
        "id": identity,
        "state": state,
        "severity": severity,
        "resource": resource,
        "title": title,
        "onset_ms": onset // MS_NS,
        "opened_ms": opened // MS_NS,
        "updated_ms": updated // MS_NS,
        "resolved_ms": None if resolved is None else resolved // MS_NS,
        "series": _raw(series),
        "suspects": _raw(suspects),
        "verdict": _verdict_view(row[15]),
    }


def _verdict_view(text: str | None) -> VerdictView | None:
    if text is None:
        return None
    said = msgspec.json.decode(text, type=Verdict)
    return VerdictView(said.word, said.by, said.time_ns // MS_NS, said.note)


def _track_view(track: Track) -> TrackView:
    return TrackView(
        series=track.series,
        unit=track.unit,
        start_ms=track.start_ns // MS_NS,
        step_ms=track.step_ns // MS_NS,
        values=track.values,
        low=track.low,
        high=track.high,
    )
