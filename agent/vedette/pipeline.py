"""Turn frames into findings, incidents and reports: one thread that owns every mutable thing.

Frames come in over a bounded queue. The first frame of a tick opens it; the tick is closed when all
collectors that were due have delivered (learned from their rhythm), or ``GRACE_S`` later. Closing a
tick is the loop of the architecture: table, detectors (score, decide, learn), correlator,
summariser; at the end of a window its report goes to the spool.

Everything another thread may know of it is the immutable ``view``.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette import evidence, incident_store, models, otlp, twins
from vedette.alarm_budget import AlarmBudget
from vedette.api import Detector, Frame, Head, Incident, Window
from vedette.causes import Event
from vedette.correlate import Correlator, IncidentChange
from vedette.decide import Decider, FindingChange
from vedette.feedback import Marks
from vedette.happenings import Happenings
from vedette.means import Means
from vedette.operator_word import OperatorWord
from vedette.reporter import Reporter, Store
from vedette.table import SeriesTable

log = logging.getLogger(__name__)

#: Seconds a tick waits for collectors that were due and have not delivered.
GRACE_S = 0.4
#: Seconds between looks at whether the collectors are held up, and without frames a wait for them.
LOOK_EVERY_S = 0.5
SILENCE_S = 1.5
#: Batches of frames that may wait; beyond it the oldest are dropped and counted.
QUEUE_MAX = 256
#: A tick this far behind the last one means that the clock was set back.
STEP_BACK_NS = 5_000_000_000
#: Seconds between saves of what was learned, at least; more where it is so much that it would be
#: more bytes a second than this: what is lost with a crash is learned anew sooner than a disk.
SAVE_EVERY_S = 300.0
SAVE_BYTES_PER_S = 200.0
#: Ticks between looks for series that went away, and for series that say the same.
EXPIRE_EVERY_TICKS = 60
TWINS_EVERY_TICKS = 600
#: While an incident gathers, who uses what is asked for this often.
ASK_EVERY_NS = 2_000_000_000
#: What slow detectors look at are means over so long.
MEANS_NS = 60_000_000_000
STATE_FILE = "learned.state"


class Settings(msgspec.Struct, frozen=True):
    """The times the pipeline works by, in ns, and what is constant of its reports.

    Without ``state_dir`` nothing is taken up and nothing is kept.
    """

    interval_ns: int
    window_ns: int
    settle_ns: int
    resource: Mapping[str, str]
    state_dir: Path | None
    #: Digest of the configuration each detector runs under.
    digests: Mapping[str, str] = {}
    #: False incidents a week that are allowed.
    false_alarms: float = 1.0


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


class View(msgspec.Struct, frozen=True):
    """What others may know of the pipeline: newest tick, counts, incidents."""

    tick_ns: int = 0
    window_start_ns: int = 0
    window_end_ns: int = 0
    series: int = 0
    learning: float = 1.0
    findings: int = 0
    incidents: tuple[Incident, ...] = ()
    frames_dropped: int = 0
    samples_refused: int = 0
    findings_dropped: int = 0
    reports_dropped: int = 0
    unsaved: int = 0
    errors: int = 0
    tick_cost_s: float = 0.0

    @property
    def dropped(self) -> int:
        """Everything dropped since the start, whatever it was."""
        return (
            self.frames_dropped + self.samples_refused + self.findings_dropped
        ) + self.reports_dropped


class Pipeline:
    """The loop. ``deliver`` and ``submit`` may be called from any thread, all else from its own."""

    def __init__(
        self,
        settings: Settings,
        detectors: Sequence[Detector],
        *,
        table: SeriesTable,
        correlator: Correlator,
        spool: Store | None,
        shipped: Callable[[], None] = lambda: None,
        request: Callable[[str], None] = lambda resource: None,
        notify: Callable[[IncidentChange], None] = lambda change: None,
        heartbeat: Callable[[View], Mapping[str, otlp.AttributeValue]] = lambda view: {},
        look_after: Callable[[], None] = lambda: None,
        observe: Callable[[Judged], None] | None = None,
        lifecycle: models.Lifecycle | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.table = table
        self.correlator = correlator
        self.decider = Decider(AlarmBudget(settings.false_alarms))
        self.word = OperatorWord(table, correlator, settings.state_dir)
        self.decider.lenience = self.word.lenience
        self.means = Means(MEANS_NS, settings.interval_ns, table.capacity)
        self.learned = models.Learned(detectors, table.capacity)
        self.reporter = Reporter(
            table,
            spool,
            settings.resource,
            interval_ns=settings.interval_ns,
            window_ns=settings.window_ns,
            settle_until_ns=wall_ns() + settings.settle_ns,
            heartbeat=lambda: heartbeat(self.view),
            shipped=shipped,
        )
        # Windows are for whoever reads them: without a spool nobody does.
        self._reports = spool is not None
        self.view = View()
        #: Monotonic seconds of the last sign of progress; the watchdog looks at it.
        self.beat = monotonic()
        self._request = request
        self._notify = notify
        self._look_after = look_after
        self._observe = observe
        self._looked_at = monotonic()
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        # The simple kind wakes its reader once per item; the other's lock makes that twice.
        self._queue: queue.SimpleQueue[tuple[Frame, ...] | Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._stopping = threading.Event()
        self._open_tick: int | None = None
        self._open_until = 0.0
        self._last_tick = 0
        self._rhythm: dict[str, tuple[int, int]] = {}
        self._arrived: set[str] = set()
        self._ticks = 0
        self._saved_at = monotonic()
        self._save_every_s = SAVE_EVERY_S
        self._happenings = Happenings()
        self._frames_dropped = 0
        self._errors = 0
        self._failing = False
        self._asked: dict[str, int] = {}
        self._warm: list[models.Warm] = []
        self.lifecycle = lifecycle
        if lifecycle is not None:
            lifecycle.bind(
                models.Bound(
                    self.learned,
                    self.decider,
                    table,
                    self._warm,
                    settings.interval_ns,
                    self.submit,
                )
            )

    # ------------------------------------------------------------ from any thread

    def start(self) -> None:
        """Take up what an earlier run left, then run until ``stop``."""
        self.restore()
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Close the open window, save everything, end the thread; False when it did not in time."""
        self._stopping.set()
        self.submit(lambda: None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def deliver(self, frames: tuple[Frame, ...]) -> None:
        """Hand over frames of one tick; never blocks, drops the oldest when the queue is full."""
        self._put(frames)

    def submit(self, command: Callable[[], None]) -> None:
        """Run a function on the pipeline's thread, between ticks."""
        self._put(command)

    def _put(self, item: tuple[Frame, ...] | Callable[[], None]) -> None:
        while self._queue.qsize() >= QUEUE_MAX:
            try:
                lost = self._queue.get_nowait()
            except queue.Empty:
                break
            if callable(lost):  # a command is never lost, the frames at hand are
                self._queue.put(lost)
                if callable(item):
                    break
                self._frames_dropped += len(item)
                return
            self._frames_dropped += len(lost)
        self._queue.put(item)

    # ------------------------------------------------------------ the loop

    def _run(self) -> None:
        while not (self._stopping.is_set() and self._queue.empty()):
            self.beat = self._monotonic()
            if self.beat - self._looked_at >= LOOK_EVERY_S:
                self._looked_at = self.beat
                self._guarded(self._look_after)
            timeout = SILENCE_S
            if self._open_tick is not None:
                timeout = max(0.0, self._open_until - self._monotonic())
            try:
                item = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
            except queue.Empty:
                if self._open_tick is not None:
                    self._guarded(self._close_tick)
                continue
            if callable(item):
                self._guarded(item)
            else:
                self._guarded(self.take, item)
        self._guarded(self.finish)

    def _guarded(self, step: Callable[..., None], *arguments: object) -> None:
        """Run one step of the loop; a defect in it is said and counted, and the loop goes on."""
        try:
            step(*arguments)
        except Exception:
            self._errors += 1
            if not self._failing:
                log.exception("pipeline state=failing")
            self._failing = True
        else:
            if self._failing:
                self._failing = False
                log.info("pipeline state=ok")

    def restore(self) -> None:
        """Take up the incidents and the learned state of an earlier run."""
        directory = self.settings.state_dir
        if directory is None:
            return
        self.correlator.restore(incident_store.load(directory), self._wall_ns())
        try:
            self.correlator.together.restore(incident_store.load_learned(directory))
        except ValueError as error:
            log.warning("what turned strange together is not understood reason=%s", error)
        self.correlator.note(Event(self._wall_ns(), "agent", "", "the agent was started"))
        self.word.restore(self._wall_ns())
        if self.lifecycle is not None:
            try:
                self.lifecycle.restore(self._wall_ns())
            except OSError as error:
                log.error("models cannot be governed, they are kept reason=%s", error)
                self.lifecycle = None
        digests, versions = self._versions()
        path = directory / STATE_FILE
        saved = models.load(path, self.learned.detectors, digests, versions)
        found = [] if self.lifecycle is None else self.lifecycle.missing(saved)
        # What is common to all is taken from the newest, the last.
        for one in [*found, *([saved] if saved is not None else [])]:
            self._warm.append(models.Warm(one, self._wall_ns()))
            try:
                self.decider.take_up(one.host, [h for h in self._heads() if h.name in one.tails])
            except (ValueError, KeyError, TypeError) as error:
                log.warning("what was known of this host is not understood reason=%s", error)
        self.decider.budget.excuse(self.word.real)
        self._publish(0.0)

    def take(self, frames: tuple[Frame, ...]) -> None:
        """Take frames as ``deliver`` handed them over; closes the tick when it is complete."""
        for frame in frames:
            self._take(frame)
        if self._open_tick is not None and self._complete(self._open_tick):
            self._close_tick()

    def finish(self) -> None:
        """Close the open tick and window, and save everything."""
        if self._open_tick is not None:
            self._close_tick()
        if self._last_tick:
            self.reporter.close(min(self.reporter.end_ns, self._last_tick))
        self._save_learned()
        if self.lifecycle is not None:
            self.lifecycle.finish()
        self._save_incidents()
        self._publish(0.0)

    def _take(self, frame: Frame) -> None:
        tick = frame.tick_ns
        if tick < self._last_tick - STEP_BACK_NS:
            self._clock_was_set_back(tick)
        if self._open_tick is not None and tick > self._open_tick:
            self._close_tick()
        if self._open_tick is None and tick > self._last_tick:
            self._open_tick = tick
            self._open_until = self._monotonic() + GRACE_S
            self._arrived.clear()
        # A late frame, or one asked for off schedule, is of the tick that is open when it comes.
        created = self.table.put(frame)
        if len(created):
            self._welcome(created.tolist())
        if frame.usages:
            self.correlator.observe(frame.usages)
        if tick == self._open_tick:
            self._arrived.add(frame.collector)
        before = self._rhythm.get(frame.collector)
        if before is None or tick > before[0]:
            self._rhythm[frame.collector] = (tick, tick - before[0] if before else 0)

    def _complete(self, tick: int) -> bool:
        """Whether every collector whose rhythm makes it due at this tick has delivered."""
        return all(
            collector in self._arrived or last + period != tick
            for collector, (last, period) in self._rhythm.items()
        )

    def _clock_was_set_back(self, tick: int) -> None:
        seconds = (self._last_tick - tick) / 1e9
        log.warning("clock was set back seconds=%.0f", seconds)
        text = f"the clock was set back by {seconds:.0f} s"
        self.correlator.note(Event(tick, "clock", "", text))
        if self._open_tick is not None:
            self._close_tick()
        self.reporter.reset(self._last_tick)
        self._last_tick = 0
        self._rhythm.clear()

    def _close_tick(self) -> None:
        tick = self._open_tick
        if tick is None:
            return
        began = time.perf_counter()
        self._open_tick = None
        self._last_tick = tick
        self._ticks += 1
        if self._reports:
            self.reporter.before(tick)
        column = self.table.close_tick(tick)
        changes = self._detect(tick, column)
        for event in self._happenings.of(self.table.window(1)):
            self.correlator.note(event)
        self._tell(self.correlator.step(tick, changes))
        self._ask(tick)
        if self._reports:
            self.reporter.fold(tick, column)
        if self._ticks % EXPIRE_EVERY_TICKS == 0:
            self._expire(tick)
        if self._ticks % TWINS_EVERY_TICKS == 0:
            self.correlator.twin = twins.of(self.table.window())
        changed = self.lifecycle is not None and self.lifecycle.unsaved
        if changed or self._monotonic() - self._saved_at >= self._save_every_s:
            self._save_learned()
        self._publish(time.perf_counter() - began)

    def _detect(self, tick: int, column: NDArray[np.float64]) -> list[FindingChange]:
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

    def _ask(self, tick: int) -> None:
        """Ask for fresh readings of who uses what while an incident gathers."""
        wanted = self.correlator.wanted()
        if not wanted:
            self._asked.clear()
        for resource in wanted:
            if tick - self._asked.get(resource, 0) >= ASK_EVERY_NS:
                self._asked[resource] = tick
                self._request(resource)

    # ------------------------------------------------------------ series that come and go

    def _welcome(self, rows: Sequence[int]) -> None:
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

    def _expire(self, tick: int) -> None:
        expired = self.table.expire()
        if expired is None:
            return
        changes = self.decider.forget(expired.rows, tick)
        self.learned.forget(expired.rows)
        self.means.forget(expired.rows)
        if self.lifecycle is not None:
            self.lifecycle.forget(expired.rows, expired.series, tick)
        self.reporter.forget(expired.rows, expired.series)
        self._tell(self.correlator.step(tick, changes))

    # ------------------------------------------------------------ telling and keeping

    def _tell(self, changes: Sequence[IncidentChange]) -> None:
        """Complete incidents with evidence, make them durable, then tell who listens."""
        if not changes:
            return
        complete = []
        for one in changes:
            change = self.word.completed(one)
            incident = self._with_evidence(change.incident)
            self.correlator.attach(incident)
            complete.append(IncidentChange(change.change, incident, change.previous))
        self._spread(complete)

    def _spread(self, changes: Sequence[IncidentChange]) -> None:
        self.reporter.tell(changes)
        self._save_incidents(learned=any(one.change == "resolved" for one in changes))
        for one in changes:
            self._notify(one)

    def hear(self, marks: Marks, now_ns: int) -> None:
        """Put what the operator said in force; raises ``OSError`` when it cannot be kept."""
        changes = self.word.adopt(marks, now_ns)
        self.decider.budget.excuse(self.word.real)
        if changes:
            self._spread(changes)
        self._publish(self.view.tick_cost_s)

    def _with_evidence(self, incident: Incident) -> Incident:
        tracks = evidence.cut(
            incident,
            self.table.window(),
            self.settings.interval_ns,
            lambda key: self.correlator.band(incident.id, key),
        )
        return msgspec.structs.replace(incident, evidence=tracks)

    def adopt(
        self,
        detectors: Sequence[Detector],
        settings: Settings,
        plan: models.Plan | None = None,
        make: models.Make | None = None,
    ) -> None:
        """Take over the detectors and times of a new configuration (on the pipeline's thread)."""
        self.settings = settings
        self.reporter.window_ns = settings.window_ns
        self.reporter.resource = settings.resource
        self.means.interval_ns = settings.interval_ns
        self.decider.budget.per_week = settings.false_alarms
        self.learned.adopt(detectors)
        text = "the configuration was changed"
        self.correlator.note(Event(self._last_tick, "config", "", text))
        if self.lifecycle is not None and plan is not None and make is not None:
            try:
                self.lifecycle.adopt(plan, make, self._wall_ns())
            except (OSError, models.ModelError) as error:
                log.error("models cannot follow the configuration reason=%s", error)
        dropped = self.decider.drop([head.name for head in self._heads()], self._last_tick)
        self._tell(self.correlator.step(self._last_tick, dropped))

    def _heads(self) -> list[Head]:
        return [head for one in self.learned.detectors for head in one.all_heads()]

    def _save_incidents(self, *, learned: bool = True) -> None:
        if self.settings.state_dir is None:
            return
        try:
            incident_store.save(self.settings.state_dir, self.correlator.incidents)
            if learned:
                together = self.correlator.together.export()
                incident_store.save_learned(self.settings.state_dir, together)
        except OSError as error:
            log.error("incidents cannot be saved reason=%s", error)

    def _save_learned(self) -> None:
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
            log.error("learned state cannot be saved reason=%s", error)

    def _versions(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the digest of the configuration each champion runs under, and its version."""
        if self.lifecycle is None:
            return self.settings.digests, {}
        champions = self.lifecycle.digests()
        return {**self.settings.digests, **champions}, self.lifecycle.champions()

    def _learning(self) -> float:
        """Return the share of series that are still too new for an opinion."""
        if not self._ticks:
            return 1.0
        window = self.table.window(1)
        # What looks at minutes takes hours: that is no reason to call the host unwatched.
        quick = [one for one in self.learned.detectors if not one.cadence_s]
        masks = [one.learning(window, self.learned.arrays[one.name]) for one in quick]
        waiting = max((int(mask.sum()) for mask in masks if mask is not None), default=0)
        return min(1.0, waiting / max(len(self.table), 1))

    def _publish(self, cost_s: float) -> None:
        self.view = View(
            tick_ns=self._last_tick,
            window_start_ns=self.reporter.start_ns,
            window_end_ns=self.reporter.end_ns,
            series=len(self.table),
            learning=self._learning(),
            findings=self.decider.open,
            incidents=self.correlator.incidents,
            frames_dropped=self._frames_dropped,
            samples_refused=self.table.refused.total(),
            findings_dropped=self.correlator.dropped,
            reports_dropped=self.reporter.dropped,
            unsaved=self.reporter.unsaved,
            errors=self._errors,
            tick_cost_s=cost_s,
        )
