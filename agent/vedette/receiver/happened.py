"""Tell what happened on a host around an incident, beside what its own record says.

Agents send no events; what they were is told by records that came: of what the host is made of, of
its model servers, of an agent that began anew, and of other incidents.
"""

from __future__ import annotations

from vedette.receiver.limits import SECOND_NS
from vedette.receiver.model_views import EventView, HappenedAnswer
from vedette.receiver.query import MS_NS, Reader

BEFORE_NS, AFTER_NS = 3600 * SECOND_NS, 600 * SECOND_NS
EVENTS_MAX = 60

_HAPPENED = """
SELECT time, 'model', endpoint, text FROM model_event
  WHERE agent = :agent AND time BETWEEN :from AND :to
UNION ALL SELECT time, 'inventory', '', text FROM inventory_change
  WHERE agent = :agent AND time BETWEEN :from AND :to
UNION ALL SELECT began, 'agent', '', 'the agent began anew' FROM epoch
  WHERE agent = :agent AND began BETWEEN :from AND :to
    AND began > (SELECT min(began) FROM epoch WHERE agent = :agent)
UNION ALL SELECT onset, 'incident', id, title FROM incident
  WHERE agent = :agent AND id <> :id AND onset BETWEEN :from AND :to
ORDER BY 1 DESC, 2, 4 LIMIT :most
"""


def happened(reader: Reader, agent: str, identity: str) -> HappenedAnswer | None:
    """Return what happened from an hour before the onset until after it; None: no such incident."""
    rows = reader.rows(
        "SELECT onset, h.name FROM incident i JOIN host h USING (agent) WHERE agent = ? AND id = ?",
        (agent, identity),
    )
    if not rows:
        return None
    onset_ns, name = rows[0]
    span = {"from": max(onset_ns - BEFORE_NS, 0), "to": onset_ns + AFTER_NS}
    # More than are shown, so that what is left out can be counted.
    values = {"agent": agent, "id": identity, "most": EVENTS_MAX * 10, **span}
    found = [
        EventView(at // MS_NS, agent, name or agent, kind, place, text)
        for at, kind, place, text in reader.rows(_HAPPENED, values)
    ]
    found.sort(key=lambda one: abs(one.time_ms * MS_NS - onset_ns))
    shown = sorted(found[:EVENTS_MAX], key=lambda one: one.time_ms)
    return HappenedAnswer(
        now_ms=reader.clock_ns() // MS_NS,
        from_ms=span["from"] // MS_NS,
        to_ms=span["to"] // MS_NS,
        events=shown,
        omitted=len(found) - len(shown),
    )
