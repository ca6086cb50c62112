"""Say incidents in the agent's own log: one line when one opens, changes or is resolved."""

from __future__ import annotations

import logging

from vedette.api import Incident, hookimpl

log = logging.getLogger("vedette.incident")


@hookimpl
def incident_changed(incident: Incident, previous: Incident | None) -> None:
    change = "opened" if previous is None else "updated"
    if incident.state == "resolved":
        change = "resolved"
    log.info(
        "incident change=%s id=%s severity=%s title=%r",
        change,
        incident.id,
        incident.severity,
        incident.title,
    )
