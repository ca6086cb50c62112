"""Judge every tick: let the detectors score it, decide on what they say, and have them learn.

What is learned lives here: means over minutes for detectors that look slowly, the arrays of each
detector, what the decider knows of the tails, and the operator's word, which raises thresholds. All
of it is taken up from an earlier run and kept while this one goes on.

Owned by the pipeline's thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette import models
from vedette.alarm_budget import AlarmBudget
from vedette.api import Detector, Head, Window
from vedette.correlate import Correlator, IncidentChange
from vedette.decide import Decider, FindingChange
from vedette.feedback import Marks
from vedette.means import Means
from vedette.operator_word import OperatorWord
from vedette.settings import Settings
from vedette.table import Expired, SeriesTable
from vedette.trouble import Trouble

log = logging.getLogger(__name__)

#: Seconds between saves of what was learned, at least; more where it is so much that it would be
#: more bytes a second than this: what is lost with a crash is learned anew sooner than a disk.
SAVE_EVERY_S = 300.0
SAVE_BYTES_PER_S = 200.0
#: What slow detectors look at are means over so long.
MEANS_NS = 60_000_000_000
STATE_FILE = "learned.state"
#: Ticks after which the share of series that are still learning is reckoned anew.
LEARNING_EVERY = 10


class Judged(msgspec.Struct, frozen=True, eq=False):
    """What one head said of the newest tick, and what was made of it; valid during the call.

    ``scores``, ``p`` and ``ratio`` (to the threshold) are float ``(rows,)``, NaN = no opinion;
    ``open`` is bool ``(rows,)``: which have an open finding of this head. ``window`` and ``state``
    are what the detector scored by.
    """

    detector: Detector
    head: Head
    scores: NDArray[np.float32]
    p: NDArray[np.float32]
    ratio: NDArray[np.float32]
    open: NDArray[np.bool_]
    window: Window
    state: Mapping[str, NDArray[np.float32]]


class Detection:
    """The detectors, what they learned and what became of their scores."""

    def __init__(
        self,
        settings: Settings,
        detectors: Sequence[Detector],
        *,
        table: SeriesTable,
        correlator: Correlator,
        submit: Callable[[Callable[[], None]], None],
        observe: Callable[[Judged], None] | None = None,
        lifecycle: models.Lifecycle | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.table = table
        self.decider = Decider(AlarmBudget(settings.false_alarms))
        self.word = OperatorWord(table, correlator, settings.state_dir)
        self.decider.lenience = self.word.lenience
        self.means = Means(MEANS_NS, settings.interval_ns, table.capacity)
        self.learned = models.Learned(detectors, table.capacity)
        self.lifecycle = lifecycle
        self._observe = observe
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._ticks = 0
        self._learning = 1.0
        self._saved_at = monotonic()
        self._save_every_s = SAVE_EVERY_S
        self._saving = Trouble(
            log,
            "learned state cannot be saved",
            "learned state is saved again",
            level=logging.ERROR,
        )
        self._warm: list[models.Warm] = []
        if lifecycle is not None:
            lifecycle.bind(
                models.Bound(
                    self.learned, self.decider, table, self._warm, settings.interval_ns, submit
                )
            )

    # ------------------------------------------------------------ a tick

    def step(self, tick: int, column: NDArray[np.float64]) -> list[FindingChange]:
        """Judge the tick that was closed; ``column`` is float64 ``(capacity,)``."""
        self._ticks += 1
        self.word.heed(tick)
        self.learned.grow(self.table.capacity)
        interval_ns = self.settings.interval_ns
        slow = interval_ns < MEANS_NS
        complete = slow and self.means.fold(tick, column)
        changes: list[FindingChange] = []
        for detector in self.learned.detectors:
            if interval_ns > detector.coarsest_s * 1e9:
                continue
            if detector.cadence_s and slow:
                if complete:
                    table = self.table
                    window = self.means.window(detector.lookback, table.series, table.generation)
                    changes += self._judge(detector, window)
            else:
                changes += self._judge(detector, self.table.window(detector.lookback))
        if self.lifecycle is not None:
            self._govern(self.lifecycle, tick, None if slow else column, complete=complete)
            changes += self.lifecycle.take_changes(tick)
        return changes

    def _govern(
        self,
        lifecycle: models.Lifecycle,
        tick: int,
        column: NDArray[np.float64] | None,
        *,
        complete: bool,
    ) -> None:
        """Hand over the minute that is complete; ``column`` is one where ticks are as long."""
        if column is not None:
            with np.errstate(over="ignore"):
                lifecycle.minute(tick, column.astype(np.float32), tick)
        elif complete:
            window = self.means.window(1, self.table.series, self.table.generation)
            lifecycle.minute(tick, window.values[:, -1], int(window.time[-1]))

    def _judge(self, detector: Detector, window: Window) -> list[FindingChange]:
        state = self.learned.arrays[detector.name]
        scores = detector.score(window, state)
        changes = self.decider.step(detector, scores, window, state)
        if changes:
            self.word.saw(changes, detector.scale == "level", self.decider.ratio)
        if self._observe is not None:
            self._observed(self._observe, detector, scores, window)
        detector.learn(window, state)
        if self.lifecycle is not None:
            self.lifecycle.judged(detector, scores, changes, window)
        return changes

    def _observed(
        self,
        observe: Callable[[Judged], None],
        detector: Detector,
        scores: NDArray[np.float32],
        window: Window,
    ) -> None:
        decider = self.decider
        by_head = scores if scores.ndim == 2 else scores[None]
        for head, of_head in zip(detector.all_heads(), by_head, strict=True):
            name = head.name
            p, ratio, is_open = decider.p(name), decider.ratio(name), decider.open_rows(name)
            state = self.learned.arrays[detector.name]
            observe(Judged(detector, head, of_head, p, ratio, is_open, window, state))

    def welcome(self, rows: Sequence[int]) -> None:
        """Give series that are new to the table what an earlier run learned of them."""
        self.learned.grow(self.table.capacity)
        for row in rows:
            series = self.table.series[row]
            for warm in self._warm:
                tails = warm.give(series, row, self.learned) if series is not None else {}
                for head in self._heads():
                    if head.name in tails:
                        self.decider.restore(head, row, tails[head.name], self.table.capacity)
        if self.lifecycle is not None:
            self.lifecycle.welcome(rows)

    def forget(self, expired: Expired, tick: int) -> list[FindingChange]:
        """Let go of series that went away; return what became of their findings."""
        changes = self.decider.forget(expired.rows, tick)
        self.learned.forget(expired.rows)
        self.means.forget(expired.rows)
        if self.lifecycle is not None:
            self.lifecycle.forget(expired.rows, expired.series, tick)
        return changes

    def learning(self) -> float:
        """Return the share of series that are still too new for any detector's opinion.

        One that some detector has had an opinion of is watched, however long others take: what
        looks at minutes takes hours. Reckoned every ``LEARNING_EVERY`` ticks.
        """
        if self._ticks % LEARNING_EVERY == 1:
            self._learning = self._share_learning()
        return self._learning

    def _share_learning(self) -> float:
        window = self.table.window(1)
        quick = [one for one in self.learned.detectors if not one.cadence_s]
        masks = [one.learning(window, self.learned.arrays[one.name]) for one in quick]
        waiting = np.zeros(len(window.series), dtype=bool)
        for mask in masks:
            if mask is not None:
                waiting |= mask
        waiting &= ~self.decider.judged(len(waiting))
        return min(1.0, int(waiting.sum()) / max(len(self.table), 1))

    # ------------------------------------------------------------ what others want of it

    def hear(self, marks: Marks, now_ns: int) -> list[IncidentChange]:
        """Put what the operator said in force; raises ``OSError`` when it cannot be kept."""
        changes = self.word.adopt(marks, now_ns)
        self.decider.budget.excuse(self.word.real)
        return changes

    def adopt(
        self,
        detectors: Sequence[Detector],
        settings: Settings,
        plan: models.Plan | None,
        make: models.Make | None,
        tick: int,
    ) -> list[FindingChange]:
        """Take over the detectors of a new configuration; return what became of findings."""
        self.settings = settings
        self.means.interval_ns = settings.interval_ns
        self.decider.budget.per_week = settings.false_alarms
        self.learned.adopt(detectors)
        if self.lifecycle is not None and plan is not None and make is not None:
            try:
                self.lifecycle.adopt(plan, make, self._wall_ns())
            except (OSError, models.ModelError) as error:
                log.error("models cannot follow the configuration reason=%s", error)
        return self.decider.drop([head.name for head in self._heads()], tick)

    # ------------------------------------------------------------ taking up and keeping

    def restore(self, now_ns: int) -> None:
        """Take up what earlier runs learned and were told."""
        directory = self.settings.state_dir
        if directory is None:
            return
        self.word.restore(now_ns)
        if self.lifecycle is not None:
            try:
                self.lifecycle.restore(now_ns)
            except OSError as error:
                log.error("models cannot be governed, they are kept reason=%s", error)
                self.lifecycle = None
        digests, versions = self._versions()
        path = directory / STATE_FILE
        saved = models.load(path, self.learned.detectors, digests, versions)
        found = [] if self.lifecycle is None else self.lifecycle.missing(saved)
        # What is common to all is taken from the newest, the last.
        for one in [*found, *([saved] if saved is not None else [])]:
            self._warm.append(models.Warm(one, now_ns))
            try:
                self.decider.take_up(one.host, [h for h in self._heads() if h.name in one.tails])
            except (ValueError, KeyError, TypeError) as error:
                log.warning("what was known of this host is not understood reason=%s", error)
        self.decider.budget.excuse(self.word.real)

    def keep(self) -> None:
        """Save what was learned when it is time."""
        changed = self.lifecycle is not None and self.lifecycle.unsaved
        if changed or self._monotonic() - self._saved_at >= self._save_every_s:
            self.save()

    def finish(self) -> None:
        """Save everything."""
        self.save()
        if self.lifecycle is not None:
            self.lifecycle.finish()

    def save(self) -> None:
        """Save what was learned; what cannot be is said, and tried again later."""
        self._saved_at = self._monotonic()
        if self.settings.state_dir is None:
            return
        tails = {head.name: self.decider.arrays(head.name) for head in self._heads()}
        path = self.settings.state_dir / STATE_FILE
        digests, versions = self._versions()
        try:
            size = models.save(
                path,
                self.learned,
                tails,
                self.table.series,
                digests,
                self._wall_ns(),
                self.decider.export(),
                versions,
                self._warm,
            )
            self._save_every_s = max(SAVE_EVERY_S, size / SAVE_BYTES_PER_S)
            if self.lifecycle is not None:
                self.lifecycle.save(self._wall_ns())
        except (OSError, models.ModelError) as error:
            self._saving.met(error)
        else:
            self._saving.over()

    def _versions(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the digest of the configuration each champion runs under, and its version."""
        if self.lifecycle is None:
            return self.settings.digests, {}
        champions = self.lifecycle.digests()
        return {**self.settings.digests, **champions}, self.lifecycle.champions()

    def _heads(self) -> list[Head]:
        return [head for one in self.learned.detectors for head in one.all_heads()]
