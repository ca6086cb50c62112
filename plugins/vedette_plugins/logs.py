"""Collector ``logs``: log files, the journal and the kernel's log, as templates.

The only plugin that is a door to a part of the agent: what reads logs is too much for one module,
and is used by ``vedette logs mine`` as well.
"""

from __future__ import annotations

from vedette.api import Collector, hookimpl
from vedette.logs.collector import Logs


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Logs]
