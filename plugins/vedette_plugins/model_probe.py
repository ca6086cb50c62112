"""Collector ``model_probe``: one small request to each model that the configuration names.

A door to a part of the agent, like ``model_servers``.
"""

from __future__ import annotations

from vedette.api import Collector, hookimpl
from vedette.serving.probe import ModelProbe


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [ModelProbe]
