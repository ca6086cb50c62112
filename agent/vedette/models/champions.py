"""Seat champions: at the start, by promotion, and back again when a new one does harm."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.api import Window
from vedette.models import succession
from vedette.models.ground import Ground, ModelError
from vedette.models.probation import Probation
from vedette.models.rules import HOUR_NS
from vedette.models.shadow import Shadow
from vedette.models.state import Saved
from vedette.models.version import Version

#: Findings whose times are remembered per detector: the rate before a promotion.
FINDINGS_MAX = 1_000
DAY_NS = 24 * HOUR_NS


class Champions:
    """The versions whose findings are told, and those on probation. The pipeline thread's."""

    def __init__(self, ground: Ground) -> None:
        self.probations: dict[str, Probation] = {}
        self._ground = ground
        self._rang: dict[str, deque[int]] = {}
        self._since_ns = 0

    def settle(self, working: Sequence[str]) -> None:
        """Make sure that each detector has a champion of the configuration.

        ``working`` are the versions that are being trained. Raises ``OSError`` when it cannot be
        written down.
        """
        ground = self._ground
        self._since_ns = self._since_ns or ground.now_ns
        for detector in ground.detectors:
            base = ground.base(detector.name)
            instance = succession.settle(
                ground.catalogue, detector, base, ground.make, ground.now_ns
            )
            ground.bound.learned.replace(instance)
            succession.clear(ground.catalogue, detector.name, base, ground.now_ns, working)
            champion = ground.catalogue.champion(detector.name)
            if champion is not None and champion.promoted and champion.id not in self._ids():
                self._put_on_probation(champion)
        names = {one.name for one in ground.detectors}
        self.probations = {name: one for name, one in self.probations.items() if name in names}

    def keep_reconfigured(self) -> None:
        """Save what champions learned that are about to be replaced by another configuration."""
        ground = self._ground
        for detector in ground.detectors:
            champion = ground.catalogue.champion(detector.name)
            if champion and not succession.stays(champion, ground.base(detector.name)):
                ground.write_champion(champion)

    def all(self) -> list[Version]:
        """Return the champions of the detectors that run."""
        found = [self._ground.catalogue.champion(one.name) for one in self._ground.detectors]
        return [one for one in found if one is not None]

    def missing(self, saved: Saved | None) -> list[Saved]:
        """Return what champions learned by their own files, where it is not among ``saved``."""
        found = []
        for champion in self.all():
            if saved is None or champion.detector not in saved.arrays:
                detector = self._ground.bound.learned.named(champion.detector)
                own = self._ground.load(champion, detector)
                if own is not None:
                    found.append(own)
        return found

    # ------------------------------------------------------------ change

    def promote(self, shadow: Shadow, why: str, figures: Mapping[str, Any]) -> None:
        """Make a version the champion, and watch it for a day; raises ``ModelError``."""
        ground, name = self._ground, shadow.detector.name
        champion = ground.catalogue.champion(name)
        if champion is None:
            raise ModelError(f"{name} has no champion")
        ground.write_champion(champion)
        ground.write(shadow)
        up = ground.catalogue.moved(
            shadow.version,
            "champion",
            ground.now_ns,
            parent=champion.id,
            base=ground.base(name).digest,
            usual_per_h=round(self._rate(name), 4),
            promoted=True,
            reasons=(),
        )
        down = ground.catalogue.moved(champion, "retired", ground.now_ns)
        ground.commit("promoted", [up, down], why, figures)
        self._swap(shadow, up)
        self._put_on_probation(up)

    def roll_back(self, name: str, why: str, figures: Mapping[str, Any] | None = None) -> str:
        """Put the champion before this one in its place; return its id. Raises ``ModelError``."""
        ground = self._ground
        ground.detector(name)
        champion = ground.catalogue.champion(name)
        parent = ground.catalogue.versions.get(champion.parent) if champion else None
        if champion is None or parent is None or parent.status != "retired":
            raise ModelError(f"{name} has no earlier champion to go back to")
        standby = ground.standby(parent)
        ground.write_champion(champion)
        base = ground.base(name).digest
        up = ground.catalogue.moved(parent, "champion", ground.now_ns, base=base)
        down = ground.catalogue.moved(champion, "rejected", ground.now_ns, reasons=(why,))
        ground.commit("rolled back", [down, up], why, figures)
        self._swap(standby, up)
        self.probations.pop(name, None)
        return up.id

    def _swap(self, standby: Shadow, version: Version) -> None:
        """Put a version in the champion's place, in memory."""
        ground, bound, name = self._ground, self._ground.bound, version.detector
        rows = max(bound.learned.rows, bound.table.capacity, standby.learned.rows)
        bound.learned.grow(rows)
        standby.learned.grow(rows)
        bound.learned.replace(standby.detector, standby.learned.arrays[name])
        ground.changes += bound.decider.exchange(standby.heads, standby.decider, ground.now_ns)
        bound.warm[:] = [one.without(standby.detector) for one in bound.warm]
        if standby.warm is not None:
            bound.warm.append(standby.warm)
        ground.unsaved = True

    # ------------------------------------------------------------ probation

    def rang(self, name: str, tick_ns: int, count: int) -> None:
        """Hear of findings that a champion opened."""
        self._rang.setdefault(name, deque(maxlen=FINDINGS_MAX)).extend([tick_ns] * count)

    def look(self, name: str, scores: NDArray[np.float32], opened: int, window: Window) -> None:
        """Count a tick of a champion on probation."""
        self.probations[name].note(scores, opened, window, self._ground.bound.decider)

    def minute(self) -> None:
        """Take back champions that do harm; end the probation of those that did not."""
        now_ns = self._ground.now_ns
        for name, probation in list(self.probations.items()):
            if now_ns >= probation.ends_ns:
                del self.probations[name]
                continue
            calibrated = self._ground.detector(name).scale != "level"
            reason = probation.verdict(now_ns, calibrated=calibrated)
            if reason:
                figures = {"findings": probation.findings, "usual_per_h": probation.usual_per_h}
                del self.probations[name]  # once, also where there is nothing to go back to
                self.roll_back(name, reason, figures)

    def _put_on_probation(self, champion: Version) -> None:
        heads = [one.name for one in self._ground.detector(champion.detector).all_heads()]
        begun = Probation.of(
            champion.id, heads, champion.usual_per_h, champion.since_ns, self._ground.now_ns
        )
        if begun is not None:
            self.probations[champion.detector] = begun

    def _ids(self) -> set[str]:
        return {one.version for one in self.probations.values()}

    def _rate(self, name: str) -> float:
        """Return the findings an hour of a detector, over the last day as far as it was seen."""
        now_ns = self._ground.now_ns
        hours = min(max((now_ns - self._since_ns) / HOUR_NS, 1.0), 24.0)
        lately = [one for one in self._rang.get(name, ()) if one > now_ns - DAY_NS]
        return len(lately) / hours
