"""Collector ``model_servers``: the model servers on this host, in one vocabulary.

A door to a part of the agent: recognising and mapping are used by ``vedette models`` as well.
"""

from __future__ import annotations

from vedette.api import Collector, hookimpl
from vedette.serving.collector import ModelServers


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [ModelServers]
