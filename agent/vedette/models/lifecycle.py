"""Govern the models of all detectors: who is champion, who is tried beside it, who takes over.

One object on the pipeline's thread. The pipeline tells it what it does anyway (scores, minutes,
series that come and go) and gets back the findings that a change of champions opens and closes. A
change is written down first (catalogue.py) and made second, so that a crash leaves one or the
other. Where nothing is tried or on probation, all of this costs a look into two dictionaries per
detector and tick, and once a minute what readings.py and drift.py say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.api import Detector, Series, Window
from vedette.decide import FindingChange
from vedette.models import drift, rules, state
from vedette.models.champions import Champions
from vedette.models.ground import Bound, Ground, ModelError, Plan
from vedette.models.lessons import Lessons
from vedette.models.overview import Overview, overview
from vedette.models.readings import KeptReadings
from vedette.models.shadow import Shadow
from vedette.models.state import Saved
from vedette.models.trials import Trials
from vedette.models.version import Data
from vedette.models.workshop import Make

__all__ = ["Bound", "Lifecycle", "ModelError", "Plan"]

log = logging.getLogger(__name__)

#: How often what shadows learned is saved at most, and bytes an hour that this may take: a crash
#: costs no more than what a shadow learned since. How often what drift knows is saved, and how
#: often the champions get a file of their own.
SHADOWS_EVERY_NS, SHADOW_BYTES_PER_H = rules.HOUR_NS // 2, 256 << 10
DRIFT_EVERY_NS = rules.HOUR_NS
CHAMPIONS_EVERY_NS = 24 * rules.HOUR_NS


class Lifecycle:
    """The models of one agent. ``view`` may be read by any thread; all else is the pipeline's."""

    def __init__(
        self,
        state_dir: Path,
        plan: Plan,
        make: Make,
        *,
        utilization: Callable[[], float | None] = lambda: None,
        words: Callable[[], Sequence[rules.Word]] = lambda: (),
        cpu: Callable[[], float] = time.thread_time,
        run: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """``utilization`` is what of the agent's budget is in use, ``words`` the operator's.

        ``run`` runs a training (default: in a thread of its own).
        """
        self.view = Overview()
        self.readings = KeptReadings(state_dir, plan.kept_bytes)
        self._ground = Ground(state_dir, plan, make)
        self._champions = Champions(self._ground)
        self._trials = Trials(
            self._ground, self._take_over, utilization=utilization, words=words, cpu=cpu
        )
        self._lessons = Lessons(self._ground, self._trials, self.readings, self._publish, run)
        self._failing = ""
        self._shadows_due_ns = self._kept_ns = self._drift_ns = 0
        self._drift_path = self._ground.catalogue.directory / drift.FILE

    def bind(self, bound: Bound) -> None:
        """Take the parts of the pipeline."""
        self._ground.bound = bound

    @property
    def unsaved(self) -> bool:
        """Whether what was learned has to be saved before long: a champion changed."""
        return self._ground.unsaved

    @property
    def shadows(self) -> Mapping[str, Shadow]:
        """The versions that are tried now, per detector."""
        return self._trials.shadows

    # ------------------------------------------------------------ start, reload, end

    def restore(self, now_ns: int) -> None:
        """Take up the versions of earlier runs; the pipeline loads what the champions learned.

        Raises ``OSError`` when they can be neither read nor written.
        """
        self._ground.now_ns = self._kept_ns = self._drift_ns = now_ns
        self._shadows_due_ns = now_ns + SHADOWS_EVERY_NS
        self._ground.catalogue.open(now_ns)
        self._lessons.drift.load(self._drift_path)
        self._champions.settle(())
        self._trials.resume()
        self._trials.configured()
        self._lessons.schedule()
        self._publish()

    def adopt(self, plan: Plan, make: Make, now_ns: int) -> None:
        """Take over a new configuration; the pipeline's detectors are of it already."""
        ground = self._ground
        ground.plan, ground.make, ground.now_ns = plan, make, now_ns
        ground.catalogue.keep = plan.keep
        self.readings.cap_bytes = plan.kept_bytes
        try:
            self._champions.keep_reconfigured()
        except ModelError as error:  # the operator's word counts, whatever the disk says
            log.error("what a champion learned is not kept reason=%s", error)
        self._champions.settle(self._lessons.workshop.working)
        self._trials.drop_ended()
        self._trials.configured()
        self._lessons.schedule()
        ground.unsaved = True
        self._publish()

    def missing(self, saved: Saved | None) -> list[Saved]:
        """Return what champions learned by their own files, where it is not among ``saved``."""
        return self._champions.missing(saved)

    def digests(self) -> dict[str, str]:
        """Return the digest of the options that each champion runs under."""
        return {one.detector: one.config for one in self._champions.all()}

    def champions(self) -> dict[str, str]:
        """Return the id of each detector's champion."""
        return {one.detector: one.id for one in self._champions.all()}

    def save(self, now_ns: int, *, everything: bool = False) -> None:
        """Keep what shadows have learned and what drift knows, when it is time to.

        Call whenever what the champions learned is saved. Once a day that goes to a file of its own
        per champion too. Raises ``OSError`` or ``ModelError``.
        """
        self._ground.unsaved = False
        series = self._ground.bound.table.series
        if everything or now_ns >= self._shadows_due_ns:
            written = sum(self._ground.write(one) for one in self.shadows.values())
            spread_ns = written * rules.HOUR_NS // SHADOW_BYTES_PER_H
            self._shadows_due_ns = now_ns + max(SHADOWS_EVERY_NS, spread_ns)
        if everything or now_ns - self._drift_ns >= DRIFT_EVERY_NS:
            self._drift_ns = now_ns
            self._lessons.drift.save(self._drift_path, series)
        if now_ns - self._kept_ns >= CHAMPIONS_EVERY_NS:
            self._kept_ns = now_ns
            for champion in self._champions.all():
                self._ground.write_champion(champion)

    def finish(self) -> None:
        """End what runs in the background, and keep everything."""
        self._lessons.workshop.stop()
        self.readings.flush()
        try:
            self.save(self._ground.now_ns, everything=True)
        except (OSError, ModelError) as error:
            log.error("models cannot be saved reason=%s", error)

    # ------------------------------------------------------------ what the pipeline tells

    def judged(
        self,
        detector: Detector,
        scores: NDArray[np.float32],
        changes: Sequence[FindingChange],
        window: Window,
    ) -> None:
        """Hear what the champion made of a tick, and have its shadow look at the same."""
        name = detector.name
        opened = sum(one.change == "opened" for one in changes) if changes else 0
        if opened:
            self._champions.rang(name, int(window.time[-1]), opened)
        if name in self._champions.probations:
            self._champions.look(name, scores, opened, window)
        if name in self._trials.shadows:
            self._trials.look(name, scores, opened, window)

    def minute(self, tick_ns: int, values: NDArray[np.float32], time_ns: int) -> None:
        """Take the means of the minute that began at ``time_ns``, ``(rows,)``; do what is due."""
        self._ground.now_ns = tick_ns
        self.readings.fold(time_ns, values, self._ground.bound.table.series)
        self._lessons.drift.fold(values)
        failed = ""
        for step in (self._champions.minute, self._trials.minute, self._lessons.minute):
            try:
                step()
            except ModelError as error:
                failed = failed or str(error)
            except Exception as error:  # a plugin's, or a defect: the champions go on
                if not self._failing:
                    log.exception("models state=failing")
                failed = failed or repr(error)
        if bool(failed) != bool(self._failing):
            log.warning("models state=%s reason=%r", "failing" if failed else "ok", failed)
        self._failing = failed
        self._publish()

    def take_changes(self, tick_ns: int) -> list[FindingChange]:
        """Return the findings that changes of champions opened and closed; once a tick."""
        self._ground.now_ns = tick_ns
        changes, self._ground.changes = self._ground.changes, []
        return changes

    def welcome(self, rows: Sequence[int]) -> None:
        """Hear of rows that got a series."""
        series = self._ground.bound.table.series
        self._lessons.drift.welcome(rows, series)
        for shadow in self.shadows.values():
            shadow.welcome(rows, series)

    def forget(self, rows: NDArray[np.intp], series: Sequence[Series], tick_ns: int) -> None:
        """Hear of rows that lost theirs."""
        self.readings.forget(rows, series)
        self._lessons.drift.forget(rows)
        for shadow in self.shadows.values():
            shadow.forget(rows, tick_ns)

    # ------------------------------------------------------------ what the operator asks

    def train(
        self, name: str, options: Mapping[str, Any] | None = None, *, hurry: bool = False
    ) -> str:
        """Begin to train a new version of a detector; return its id. Raises ``ModelError``."""
        id_ = self._lessons.train(name, options, hurry=hurry)
        self._publish()
        return id_

    def take_in(self, name: str, options: Mapping[str, Any], file: str, data: Data) -> str:
        """Take a state that was trained elsewhere for a new version, and try it; return its id.

        ``file`` lies in the directory of the models. Raises ``ModelError``.
        """
        ground = self._ground
        detector = ground.detector(name)
        source = ground.catalogue.directory / Path(file).name
        instance, digest = ground.instance(name, options)
        saved = state.load(source, [instance], {name: digest})
        if saved is None or name not in saved.arrays:
            raise ModelError(f"{source.name} holds nothing that {name} learned, or is damaged")
        version = ground.candidate(detector, "trained on a file", options)
        shadow = ground.standby(version, saved)
        ground.write(shadow)
        source.unlink(missing_ok=True)
        self._trials.begin(shadow, version.why, data)
        self._publish()
        return version.id

    def shadow(self, id_: str) -> None:
        """Try a version beside the champion. Raises ``ModelError``."""
        version = self._ground.version(id_)
        if version.status in ("champion", "shadow"):
            raise ModelError(f"{id_} is {version.status} already")
        self._trials.begin(self._ground.standby(version), "asked for")
        self._publish()

    def stop_shadow(self, id_: str) -> None:
        """End the trial of a version. Raises ``ModelError``."""
        version = self._ground.version(id_)
        if version.status != "shadow":
            raise ModelError(f"{id_} is {version.status}, no shadow")
        self._trials.end(version.detector, "asked for")
        self._publish()

    def promote(self, id_: str, *, force: bool = False) -> None:
        """Make a version the champion now, by rule, or by force. Raises ``ModelError``."""
        version = self._ground.version(id_)
        if version.status == "champion":
            raise ModelError(f"{id_} is the champion already")
        shadow = self.shadows.get(version.detector)
        if shadow is None or shadow.version.id != id_:
            if not force:
                raise ModelError(
                    f"{id_} is {version.status}: nothing is known of how it compares",
                    f"`vedette model shadow {id_}` tries it; --force promotes it unseen.",
                )
            self._take_over(self._ground.standby(version), "forced", {})
        else:
            decision = self._trials.decision(shadow)
            against = [*self._trials.too_early(shadow), *decision.reasons]
            if against and not force:
                raise ModelError(f"{id_} is not better: {'; '.join(against)}", "--force overrides.")
            why = f"forced although {'; '.join(against)}" if against else "asked for"
            self._take_over(shadow, why, decision.figures)
        self._publish()

    def roll_back(self, name: str) -> str:
        """Put the champion before this one back; return its id. Raises ``ModelError``."""
        id_ = self._champions.roll_back(name, "asked for")
        self._publish()
        return id_

    def _take_over(self, shadow: Shadow, why: str, figures: Mapping[str, Any]) -> None:
        name = shadow.detector.name
        tried = self.shadows.get(name)
        if tried is not None and tried is not shadow:
            self._trials.end(name, "another version was promoted")
        self._champions.promote(shadow, why, figures)
        self._trials.take_off(name)
        if shadow.version.data.origin == "kept readings":
            self._lessons.drift.rebase()

    def _publish(self) -> None:
        self.view = overview(
            self._ground,
            self._trials,
            self._champions,
            self._lessons,
            kept_since_ns=self.readings.stock.first_ns,
            kept_bytes=self.readings.stock.bytes,
        )
