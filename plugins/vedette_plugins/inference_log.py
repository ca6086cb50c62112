"""Collector ``inference_log``: what served models are asked and answer, and how far from before.

A door to a part of the agent: sketches and verdicts are used by ``vedette baseline`` as well.
"""

from __future__ import annotations

from vedette.api import Collector, hookimpl
from vedette.drift.collector import InferenceLog


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [InferenceLog]
