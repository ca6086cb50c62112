"""Collector ``openmetrics``: any page of metrics in the formats of Prometheus and OpenMetrics.

A door to a part of the agent, like ``logs``: pages of model servers are read by the same code.
"""

from __future__ import annotations

from vedette.api import Collector, hookimpl
from vedette.exposition.collector import OpenMetrics


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [OpenMetrics]
