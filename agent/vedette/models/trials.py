"""Try versions beside the champions: begin, ask as often as can be afforded, decide by rule."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.api import Window
from vedette.models import rules
from vedette.models.ground import Ground, ModelError
from vedette.models.readings import PERIOD_NS
from vedette.models.rules import HOUR_NS, Rang
from vedette.models.shadow import Shadow, count, thinned
from vedette.models.succession import CONFIGURED, wanted_shadow
from vedette.models.tally import Tally
from vedette.models.version import Data, Version

log = logging.getLogger(__name__)

#: A shadow that has not seen enough after so many times the time it was given is given up.
PATIENCE = 4
#: The counts begin once a shadow has opinions on this part of the series that the champion has.
READY = 0.9

#: Promotes a shadow: why, and the figures of the decision.
Promote = Callable[[Shadow, str, Mapping[str, Any]], None]


class Trials:
    """The shadows of all detectors, at most one each. Owned by the pipeline thread."""

    def __init__(
        self,
        ground: Ground,
        promote: Promote,
        *,
        utilization: Callable[[], float | None],
        words: Callable[[], Sequence[rules.Word]],
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self.shadows: dict[str, Shadow] = {}
        self._ground = ground
        self._promote = promote
        self._utilization = utilization
        self._words = words
        self._cpu = cpu
        self._seen_cpu: dict[str, float] = {}

    # ------------------------------------------------------------ begin and end

    def resume(self) -> None:
        """Go on with the shadows of an earlier run."""
        for detector in self._ground.detectors:
            version = self._ground.catalogue.with_status(detector.name, "shadow")
            if version is None:
                continue
            try:
                self._install(self._taken_up(version))
            except ModelError as error:
                self._over(version, "rejected", (str(error),), {})

    def configured(self) -> None:
        """Begin the shadows that agent.toml asks for and that were never tried."""
        ground = self._ground
        for detector in ground.detectors:
            base = ground.base(detector.name)
            if wanted_shadow(ground.catalogue, detector.name, base):
                try:
                    version = ground.candidate(detector, CONFIGURED, base.shadow)
                    self.begin(ground.fresh(version), CONFIGURED)
                except ModelError as error:
                    log.warning("shadow cannot begin detector=%s why=%s", detector.name, error)

    def drop_ended(self) -> None:
        """Let go of shadows that are none any more, by another configuration."""
        for name, shadow in list(self.shadows.items()):
            version = self._ground.catalogue.versions.get(shadow.version.id)
            if version is None or version.status != "shadow" or name not in self._names():
                self._remove(name)

    def begin(
        self, shadow: Shadow, why: str, data: Data | None = None, rang: Sequence[Rang] = ()
    ) -> None:
        """Write down that a version is tried from now on, in place of another; and begin.

        ``data`` is what it was just trained on, ``rang`` what it found on the way.
        """
        name = shadow.detector.name
        if name in self.shadows:
            self.end(name, "another version is tried")
        changes: dict[str, Any] = {"reasons": ()} | ({"data": data} if data else {})
        catalogue = self._ground.catalogue
        tried = catalogue.moved(shadow.version, "shadow", self._ground.now_ns, **changes)
        self._ground.commit("trained" if data else "shadowed", [tried], why)
        shadow.version = tried
        shadow.rang.extend(rang)
        self._install(shadow)

    def end(self, name: str, why: str) -> None:
        """Retire the shadow of a detector; what it learned is kept."""
        shadow = self.shadows[name]
        self._ground.write(shadow)
        self._over(shadow.version, "retired", (), {}, why)

    def take_off(self, name: str) -> None:
        """Let go of a shadow that became champion."""
        self._remove(name)

    def _taken_up(self, version: Version) -> Shadow:
        try:
            return self._ground.standby(version)
        except ModelError:
            # One that began with nothing and was never saved begins with nothing again.
            never = not self._ground.catalogue.path(version.id).exists()
            if version.data.origin == "live" and never:
                return self._ground.fresh(version)
            raise

    def _install(self, shadow: Shadow) -> None:
        mine, its = shadow.decider.budget, self._ground.bound.decider.budget
        mine.restore(its.export())
        mine.per_week, mine.bar = its.per_week, its.bar
        shadow.learned.grow(self._ground.bound.table.capacity)
        self.shadows[shadow.detector.name] = shadow

    def _over(
        self,
        version: Version,
        status: Any,
        reasons: tuple[str, ...],
        figures: Mapping[str, Any],
        why: str = "",
    ) -> None:
        ground = self._ground
        ended = ground.catalogue.moved(version, status, ground.now_ns, reasons=reasons)
        ground.commit(status, [ended], why or "; ".join(reasons), figures)
        self._remove(version.detector)

    def _remove(self, name: str) -> None:
        self.shadows.pop(name, None)
        self._seen_cpu.pop(name, None)

    def _names(self) -> set[str]:
        return {one.name for one in self._ground.detectors}

    # ------------------------------------------------------------ each tick, each minute

    def look(self, name: str, scores: NDArray[np.float32], opened: int, window: Window) -> None:
        """Have the shadow of a detector look at what the champion has just scored."""
        shadow = self.shadows[name]
        tick_ns = int(window.time[-1])
        if shadow.beside is not None:
            shadow.beside.opened(tick_ns, opened)
        if not shadow.due():
            return
        decider = self._ground.bound.decider
        if shadow.beside is not None:
            count(shadow.beside, tick_ns, scores, window, decider, shadow.heads)
        try:
            shadow.step(window, decider.lenience, self._cpu)
        except Exception as error:  # a plugin's: it must not harm the champion
            if not shadow.failed:
                log.exception("shadow failed version=%s", shadow.version.id)
            shadow.failed = f"it failed: {error!r}"

    def minute(self) -> None:
        """Reckon what shadows cost, and decide about those that have seen enough."""
        for name in list(self.shadows):
            self._govern(name, self.shadows[name])
            self._decide(self.shadows[name])

    def _govern(self, name: str, shadow: Shadow) -> None:
        """Have a shadow asked as often as the agent can afford."""
        used = shadow.cpu_s - self._seen_cpu.get(name, 0.0)
        self._seen_cpu[name] = shadow.cpu_s
        shadow.share = used / (PERIOD_NS / 1e9)
        budget = self._ground.plan.budget
        every = thinned(shadow.every, shadow.share / budget if budget else 0.0, self._utilization())
        if every != shadow.every:
            often = f"every {every} ticks" if every else "not at all"
            log.info("shadow version=%s asked=%r cpu=%.5f", shadow.version.id, often, shadow.share)
            shadow.every = every

    def _decide(self, shadow: Shadow) -> None:
        ground = self._ground
        now_ns, long_ns = ground.now_ns, ground.plan.decide_after_ns
        waited = now_ns - shadow.version.since_ns
        if shadow.failed:
            self._over(shadow.version, "rejected", (shadow.failed,), {})
        elif shadow.tally is None:
            if self._ready(shadow) or waited >= long_ns:
                shadow.tally, shadow.beside = Tally(now_ns), Tally(now_ns)
        elif not self.too_early(shadow):
            decision = self.decision(shadow)
            if decision.passed:
                self._promote(shadow, "better by rule", decision.figures)
            else:
                ground.write(shadow)
                self._over(shadow.version, "rejected", decision.reasons, decision.figures)
        elif waited >= PATIENCE * long_ns:
            self._over(shadow.version, "rejected", ("it has not seen enough to be judged",), {})

    def _ready(self, shadow: Shadow) -> bool:
        """Whether a shadow waits for no more series than the champion, or hardly more."""
        bound, detector = self._ground.bound, shadow.detector
        window = bound.table.window(1)
        held = shadow.learned.arrays[detector.name]
        if len(window.time) == 0 or shadow.learned.rows < len(window.series):
            return False
        mask = detector.learning(window, held)
        champion = bound.learned.named(detector.name)
        other = champion.learning(window, bound.learned.arrays[detector.name])
        waiting = 0 if mask is None else int(mask.sum())
        usual = 0 if other is None else int(other.sum())
        return waiting - usual <= (1 - READY) * max(len(bound.table), 1)

    # ------------------------------------------------------------ how it compares

    def too_early(self, shadow: Shadow) -> tuple[str, ...]:
        """Return why a shadow cannot be judged yet; empty when it can."""
        if shadow.tally is None:
            return ("it is still learning",)
        seen = shadow.tally.last_ns - shadow.tally.since_ns
        if seen >= self._ground.plan.decide_after_ns:
            return ()
        return (f"it was compared for {seen / HOUR_NS:.1f} h only",)

    def decision(self, shadow: Shadow) -> rules.Decision:
        """Return how a shadow compares with its champion so far."""
        now_ns = self._ground.now_ns
        tally, beside = shadow.tally or Tally(now_ns), shadow.beside or Tally(now_ns)
        data, since = shadow.version.data, tally.since_ns
        if data.origin == "kept readings":  # but for the first quarter, in which it got warm
            since = data.first_ns + (data.last_ns - data.first_ns) // 4
        words = [one for one in self._words() if one.onset_ns >= since]
        return rules.decide(
            beside.figures(),
            tally.figures(),
            rules.agreement(words, shadow.rung(now_ns), shadow.heads),
            series=len(self._ground.bound.table),
            calibrated=shadow.detector.scale != "level",
        )
