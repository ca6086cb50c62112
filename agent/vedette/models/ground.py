"""What the parts of the lifecycle share: the plan, the pipeline's parts, the catalogue, the time.

Owned by the pipeline thread, as everything it holds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vedette.api import Detector
from vedette.decide import Decider, FindingChange
from vedette.models import state, succession
from vedette.models.catalogue import Catalogue
from vedette.models.history import Event
from vedette.models.rules import HOUR_NS
from vedette.models.shadow import Shadow
from vedette.models.state import Learned, Saved, Warm
from vedette.models.succession import Base
from vedette.models.version import Version
from vedette.models.workshop import Make
from vedette.table import SeriesTable

log = logging.getLogger(__name__)


class ModelError(Exception):
    """Something asked for cannot be done; ``remedy`` says what can, or is empty."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy


class Plan(msgspec.Struct, frozen=True):
    """What the operator wants: when to train (cron, empty: never), how long to try, what to keep.

    ``budget`` is the agent's share of a core (0: none), ``bases`` what is configured per detector.
    """

    bases: Mapping[str, Base]
    cron: str = ""
    decide_after_ns: int = 6 * HOUR_NS
    keep: int = 5
    kept_bytes: int = 64 << 20
    budget: float = 0.0


class Bound(msgspec.Struct, frozen=True, eq=False):
    """The parts of the pipeline; ``submit`` runs a function on its thread.

    ``warm`` is what series that come back are given.
    """

    learned: Learned
    decider: Decider
    table: SeriesTable
    warm: list[Warm]
    interval_ns: int
    submit: Callable[[Callable[[], None]], None]


class Ground:
    """See the module. ``bound`` is there once the pipeline is."""

    bound: Bound

    def __init__(self, state_dir: Path, plan: Plan, make: Make) -> None:
        self.plan = plan
        self.make = make
        self.catalogue = Catalogue(state_dir, plan.keep)
        self.now_ns = 0
        #: Findings that changes of champions opened and closed, to be told.
        self.changes: list[FindingChange] = []
        #: Whether what was learned has to be saved before long: a champion changed.
        self.unsaved = False

    @property
    def detectors(self) -> list[Detector]:
        """The detectors that run and are configured."""
        return [one for one in self.bound.learned.detectors if one.name in self.plan.bases]

    def detector(self, name: str) -> Detector:
        """Return the detector of that name; raises ``ModelError``."""
        for one in self.detectors:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.detectors)
        raise ModelError(f"no detector {name!r} runs", f"There are: {known}.")

    def version(self, id_: str) -> Version:
        """Return the version with that id; raises ``ModelError``."""
        found = self.catalogue.versions.get(id_)
        if found is None:
            raise ModelError(f"there is no version {id_!r}", "`vedette model list` shows them.")
        self.detector(found.detector)
        return found

    def base(self, name: str) -> Base:
        """Return what is configured of a detector."""
        return self.plan.bases[name]

    def commit(
        self,
        event: Event,
        changed: Sequence[Version],
        why: str,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down a change; raises ``ModelError`` when that cannot be done."""
        try:
            self.catalogue.commit(self.now_ns, event, changed, why=why, figures=figures)
        except OSError as error:
            raise ModelError(f"the history cannot be written: {error.strerror}") from error

    def candidate(self, detector: Detector, why: str, options: Mapping[str, Any]) -> Version:
        """Make a new version and write it down; raises ``ModelError`` for wrong options."""
        base = self.base(detector.name)
        digest = self.instance(detector.name, options)[1]
        version = succession.made(
            self.catalogue, detector, base, self.now_ns, why, config=digest, options=options
        )
        self.commit("training", [version], why)
        return version

    def instance(self, name: str, options: Mapping[str, Any]) -> tuple[Detector, str]:
        """Return a detector with these options and their digest; raises ``ModelError``."""
        try:
            return self.make(name, options)
        except ValueError as error:
            raise ModelError(f"{name} cannot be made with these options: {error}") from error

    def load(self, version: Version, detector: Detector) -> Saved | None:
        """Return what a version learned, by its own file; None when that is not usable."""
        name = version.detector
        path = self.catalogue.path(version.id)
        saved = state.load(path, [detector], {name: version.config}, {name: version.id})
        return saved if saved is not None and name in saved.arrays else None

    def fresh(self, version: Version) -> Shadow:
        """Return a version that has learned nothing, ready to be asked."""
        detector = self.instance(version.detector, version.options)[0]
        return Shadow(version, detector, self.bound.table.capacity)

    def standby(self, version: Version, saved: Saved | None = None) -> Shadow:
        """Return a version with what it has learned, ready to be asked; raises ``ModelError``."""
        shadow = self.fresh(version)
        found = saved or self.load(version, shadow.detector)
        if found is None:
            raise ModelError(f"what {version.id} learned is not there any more, or damaged")
        try:
            shadow.take_up(found, self.bound.table.series, self.now_ns)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"what {version.id} learned is not understood: {error}") from error
        return shadow

    def write(self, shadow: Shadow) -> int:
        """Save what a shadow has learned; return the bytes. Raises ``ModelError``."""
        path = self.catalogue.path(shadow.version.id)
        try:
            return shadow.write(path, self.bound.table.series, self.now_ns)
        except OSError as error:
            raise ModelError(f"{path} cannot be written: {error.strerror}") from error

    def write_champion(self, champion: Version) -> None:
        """Save what a champion has learned in a file of its own; raises ``ModelError``."""
        b, name = self.bound, champion.detector
        only = Learned([b.learned.named(name)], 0)
        only.arrays[name], only.rows = b.learned.arrays[name], b.learned.rows
        tails = {one.name: b.decider.arrays(one.name) for one in only.detectors[0].all_heads()}
        path = self.catalogue.path(champion.id)
        try:
            state.save(
                path,
                only,
                tails,
                b.table.series,
                {name: champion.config},
                self.now_ns,
                b.decider.export(),
                {name: champion.id},
                b.warm,
            )
        except OSError as error:
            raise ModelError(f"{path} cannot be written: {error.strerror}") from error
