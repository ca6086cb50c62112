"""See to it that versions are trained: by schedule, because the host changed, or when asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from vedette.api import Detector
from vedette.models import drift, schedule
from vedette.models.drift import Drift
from vedette.models.ground import Ground, ModelError
from vedette.models.readings import PERIOD_NS, KeptReadings
from vedette.models.rules import HOUR_NS
from vedette.models.trials import Trials
from vedette.models.version import Version
from vedette.models.workshop import SHARE_NOW, Job, Result, Workshop

log = logging.getLogger(__name__)

#: By itself training begins with so many ns of kept readings, and for drift once in so many.
LEAST_NS, DRIFT_EVERY_NS = 12 * HOUR_NS, 24 * HOUR_NS
#: Training in the background takes half of the agent's budget; without one this share of a core.
OF_BUDGET, SHARE = 0.5, 0.01


class Lessons:
    """Trainings, and what asks for them. Owned by the pipeline thread."""

    def __init__(
        self,
        ground: Ground,
        trials: Trials,
        readings: KeptReadings,
        changed: Callable[[], None],
        run: Callable[[Callable[[], None]], None] | None,
    ) -> None:
        """``changed`` is told when a training is over; ``run`` runs one."""
        self.drift = Drift()
        #: How stable the families of series were at the last look.
        self.families: tuple[drift.Family, ...] = ()
        #: When training begins by itself, Unix ns; 0: never.
        self.next_ns = 0
        self.workshop = Workshop(
            self._make,
            readings,
            self._handed_back,
            run=run,
        )
        self._ground = ground
        self._trials = trials
        self._readings = readings
        self._changed = changed
        self._drift_asked_ns = 0

    def _make(self, name: str, options: Mapping[str, Any]) -> tuple[Detector, str]:
        """Make it as the configuration of now does: a reload may have brought another one."""
        return self._ground.make(name, options)

    def schedule(self) -> None:
        """Find out when to train next."""
        cron = self._ground.plan.cron
        self.next_ns = schedule.following(cron, self._ground.now_ns) if cron else 0

    def minute(self) -> None:
        """Train when it is time to, and look once an hour whether the host has changed."""
        now_ns = self._ground.now_ns
        if now_ns // PERIOD_NS % 60 == 0:
            self._look_for_drift(now_ns)
        if self.next_ns and now_ns >= self.next_ns:
            self.schedule()
            self._train_all("scheduled")

    def train(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        why: str = "asked for",
        hurry: bool = False,
    ) -> str:
        """Begin to train a new version; return its id. Raises ``ModelError``.

        ``options`` are those that are to be other than in agent.toml.
        """
        ground = self._ground
        detector = ground.detector(name)
        if not detector.state:
            raise ModelError(f"{name} learns nothing: there is nothing to train")
        if name in [one.rpartition("-")[0] for one in self.workshop.working]:
            raise ModelError(f"a version of {name} is being trained already")
        if self._from_kept(detector) and not self._readings.stock.first_ns:
            raise ModelError(
                "no minutes are kept yet to train on", "They are written once an hour."
            )
        version = ground.candidate(detector, why, {**ground.base(name).options, **(options or {})})
        self.workshop.add(self._job(detector, version, hurry=hurry))
        return version.id

    def _job(self, detector: Detector, version: Version, *, hurry: bool) -> Job:
        budget = self._ground.plan.budget
        share = SHARE_NOW if hurry else (OF_BUDGET * budget if budget else SHARE)
        table = self._ground.bound.table
        rows = [row for row, one in enumerate(table.series) if one is not None]
        series = tuple(one for one in table.series if one is not None)
        path = self._ground.catalogue.path(version.id)
        if self._from_kept(detector):
            return Job(version, series, path, share, max(PERIOD_NS, self._step_ns()))
        window = table.window()
        return Job(
            version, series, path, share, self._step_ns(), window.time.copy(), window.values[rows]
        )

    def _from_kept(self, detector: Detector) -> bool:
        """Whether what a detector looks at is what is kept: means of minutes."""
        return bool(detector.cadence_s) or self._step_ns() >= PERIOD_NS

    def _step_ns(self) -> int:
        return self._ground.bound.interval_ns

    def _handed_back(self, result: Result) -> None:
        """Called by the working thread."""

        def take() -> None:
            self._trained(result)
            self._changed()

        self._ground.bound.submit(take)

    def _trained(self, result: Result) -> None:
        ground = self._ground
        version = ground.catalogue.versions.get(result.version.id)
        if version is None or version.status != "candidate":
            return
        base = ground.plan.bases.get(version.detector)
        failed = result.failed
        if base is None or base.digest != version.base:
            failed = failed or "the configuration changed while it was trained"
        if result.saved is None or failed:
            ended = ground.catalogue.moved(version, "rejected", ground.now_ns, reasons=(failed,))
            ground.commit("rejected", [ended], failed)
            return
        log.info("training state=done version=%s cpu_s=%.1f", version.id, result.cpu_s)
        shadow = ground.standby(version, result.saved)
        self._trials.begin(shadow, version.why, result.data, result.rang)

    def _train_all(self, why: str) -> None:
        """Train whatever is worth it: what looks at minutes, with enough of them, and no shadow."""
        stock = self._readings.stock
        if stock.last_ns - stock.first_ns < LEAST_NS:
            return
        for detector in self._ground.detectors:
            idle = detector.name not in self._trials.shadows and bool(detector.state)
            asked = self._step_ns() <= detector.coarsest_s * 1e9
            if idle and asked and self._from_kept(detector):
                try:
                    self.train(detector.name, why=why)
                except ModelError as error:
                    log.warning("training cannot begin detector=%s why=%s", detector.name, error)

    def _look_for_drift(self, now_ns: int) -> None:
        self.families = self.drift.families(self._ground.bound.table.series)
        drifted = [one.name for one in self.families if one.drifted]
        if drifted and now_ns - self._drift_asked_ns >= DRIFT_EVERY_NS:
            self._drift_asked_ns = now_ns
            self._train_all(f"drift of {', '.join(drifted)}")
