"""Say how the models are, as plain values that any thread and any client may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vedette.models.champions import Champions
from vedette.models.drift import Family
from vedette.models.ground import Ground
from vedette.models.lessons import Lessons
from vedette.models.shadow import Shadow
from vedette.models.trials import Trials
from vedette.models.version import Version


class Trial(msgspec.Struct, frozen=True):
    """How a shadow does: why it cannot be judged yet, what is against it, its cost, the figures.

    ``every`` says at which ticks it is asked (0: it rests), ``share`` is its part of a core.
    """

    waiting: tuple[str, ...]
    against: tuple[str, ...]
    figures: dict[str, float | int | None]
    every: int
    share: float
    bytes_per_series: int


class Overview(msgspec.Struct, frozen=True):
    """The models of one agent at the last minute."""

    at_ns: int = 0
    versions: tuple[Version, ...] = ()
    trials: dict[str, Trial] = {}
    #: Until when champions are on probation, Unix ns, per version.
    probations: dict[str, int] = {}
    training: tuple[str, ...] = ()
    next_training_ns: int = 0
    families: tuple[Family, ...] = ()
    kept_since_ns: int = 0
    kept_bytes: int = 0
    #: What agent.toml says of each detector, and the agent's base interval.
    options: dict[str, Mapping[str, Any]] = {}
    interval_ns: int = 0


def overview(
    ground: Ground, trials: Trials, champions: Champions, lessons: Lessons, **more: Any
) -> Overview:
    """Look at all of it."""
    known = ground.catalogue.versions.values()
    return Overview(
        at_ns=ground.now_ns,
        versions=tuple(sorted(known, key=lambda one: (one.detector, -one.number))),
        trials={one.version.id: _trial(trials, one) for one in trials.shadows.values()},
        probations={one.version: one.ends_ns for one in champions.probations.values()},
        training=lessons.workshop.working,
        next_training_ns=lessons.next_ns,
        families=lessons.families,
        options={name: one.options for name, one in ground.plan.bases.items()},
        interval_ns=ground.bound.interval_ns,
        **more,
    )


def _trial(trials: Trials, shadow: Shadow) -> Trial:
    decision = trials.decision(shadow)
    return Trial(
        waiting=trials.too_early(shadow),
        against=decision.reasons if shadow.tally is not None else (),
        figures=dict(decision.figures),
        every=shadow.every,
        share=shadow.share,
        bytes_per_series=shadow.bytes_per_series,
    )
