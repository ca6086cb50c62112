"""Build the running parts out of a configuration and the registered classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from vedette.api import Collector, Detector, Host, Output
from vedette.config.effective import plain
from vedette.lanes import Assignment

if TYPE_CHECKING:
    from vedette.config import Component, Config
    from vedette.registry import Registry


def assignments(config: Config, registry: Registry, host: Host) -> tuple[Assignment, ...]:
    """Return the enabled collectors and how each is to be run."""
    made = []
    for component in config.collectors:
        if not component.enabled:
            continue
        cls: type[Collector] = registry.collectors[component.name]
        collector = cls(component.options)
        collector.host = host
        made.append(
            Assignment(
                collector=collector,
                interval_s=component.interval_s or cls.interval_s,
                timeout_s=component.timeout_s,
                isolation=component.isolation or cls.isolation,
                name=component.id,
            )
        )
    return tuple(made)


def detectors(config: Config, registry: Registry) -> tuple[Detector, ...]:
    """Return the enabled detectors."""
    return tuple(
        registry.detectors[component.name](component.options)
        for component in config.detectors
        if component.enabled
    )


def outputs(config: Config, registry: Registry) -> dict[str, Output]:
    """Return the enabled outputs by their id."""
    return {
        component.id: registry.outputs[component.name](component.options)
        for component in config.outputs
        if component.enabled
    }


def digests(components: Sequence[Component]) -> Mapping[str, str]:
    """Return a digest of each component's options: what was learned under others is not used."""
    return {
        component.name: hashlib.sha256(
            msgspec.json.encode(plain(component.options), order="deterministic")
        ).hexdigest()[:16]
        for component in components
    }
