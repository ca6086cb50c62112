"""Build the running parts out of a configuration and the registered classes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from vedette import models
from vedette.api import Collector, Detector, GpuUses, Host, Output
from vedette.config.components import options_of
from vedette.config.effective import plain
from vedette.lanes import Assignment, Budget

log = logging.getLogger(__name__)

_Made = TypeVar("_Made", Collector, Detector, Output)

if TYPE_CHECKING:
    from vedette.config import Component, Config
    from vedette.registry import Registry


def assignments(
    config: Config,
    registry: Registry,
    host: Host,
    gpu_uses: GpuUses,
    state_dir: Path | None = None,
) -> tuple[Assignment, ...]:
    """Return the enabled collectors, and how each is to be run.

    They tell each other through ``gpu_uses``, the same for a new configuration: its collectors have
    to know what those tell that go on. They may keep things below ``state_dir``.
    """
    made = []
    for component in config.collectors:
        if not component.enabled:
            continue
        cls: type[Collector] = registry.collectors[component.name]
        collector = _made(cls, component)
        if collector is None:
            continue
        collector.host = host
        collector.gpu_uses = gpu_uses
        if state_dir is not None:
            collector.state_dir = str(state_dir / "collectors" / component.id)
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


def budget(config: Config) -> Budget | None:
    """Return the CPU budget; None when it is off."""
    share = float(config.agent.cpu_budget)
    return Budget(share) if share else None


def detectors(config: Config, registry: Registry) -> tuple[Detector, ...]:
    """Return the enabled detectors."""
    made = [_made(registry.detectors[one.name], one) for one in config.detectors if one.enabled]
    return tuple(one for one in made if one is not None)


def outputs(config: Config, registry: Registry) -> dict[str, Output]:
    """Return the enabled outputs by their id."""
    made = {one.id: _made(registry.outputs[one.name], one) for one in config.outputs if one.enabled}
    return {identity: one for identity, one in made.items() if one is not None}


def _made(cls: type[_Made], component: Component) -> _Made | None:
    """Make one component; one whose constructor raises is said and left out."""
    try:
        return cls(component.options)
    except Exception:
        log.exception("component=%s cannot be made, it is left out", component.id)
        return None


def digests(components: Sequence[Component]) -> Mapping[str, str]:
    """Return a digest of each component's options: what was learned under others is not used."""
    return {component.name: _digest(component.options) for component in components}


def models_plan(config: Config, host: str) -> models.Plan:
    """Return how the models of this configuration are governed; ``host`` is any name of its own."""
    section = config.models
    cron = {"": models.nightly(host), "off": ""}.get(section.train, section.train)
    return models.Plan(
        bases={
            one.name: models.Base(
                digest=_digest(one.options),
                options=plain(one.options),
                shadow=plain(one.shadow) if one.shadow is not None else {},
                shadow_digest=_digest(one.shadow) if one.shadow is not None else "",
            )
            for one in config.detectors
            if one.enabled
        },
        cron=cron,
        decide_after_ns=round(section.decide_after * 1e9),
        keep=section.keep,
        kept_bytes=int(section.readings),
        budget=float(config.agent.cpu_budget),
    )


def maker(registry: Registry) -> models.Make:
    """Return what makes a detector from plain options, and their digest."""

    def make(name: str, options: Mapping[str, Any]) -> tuple[Detector, str]:
        cls = registry.detectors.get(name)
        if cls is None:
            raise ValueError(f"there is no detector {name!r} any more")
        typed = options_of(cls.Config, options)
        return cls(typed), _digest(typed)

    return make


def _digest(options: Any) -> str:
    encoded = msgspec.json.encode(plain(options), order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:16]
