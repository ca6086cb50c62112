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

import msgspec

from vedette import models, otlp, twins
from vedette.api import Detector, Event, Frame, Incident
from vedette.correlate import Correlator, IncidentChange
from vedette.detection import Detection, Judged
from vedette.feedback import Marks
from vedette.happenings import Happenings
from vedette.operator_word import OperatorWord
from vedette.reporter import Reporter, Store
from vedette.settings import Settings
from vedette.table import SeriesTable
from vedette.telling import Telling

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
#: Ticks between looks for series that went away, and for series that say the same.
EXPIRE_EVERY_TICKS = 60
TWINS_EVERY_TICKS = 600
#: While an incident gathers, who uses what is asked for this often; who fills a filesystem more
#: often, as it is known from the second answer on. CPU times tell less of a shorter time.
ASK_EVERY_NS, ASK_SPACE_NS = 2_000_000_000, 1_000_000_000


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
        self.detection = Detection(
            settings,
            detectors,
            table=table,
            correlator=correlator,
            submit=self.submit,
            observe=observe,
            lifecycle=lifecycle,
            wall_ns=wall_ns,
            monotonic=monotonic,
        )
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
        self.telling = Telling(
            correlator,
            table,
            self.detection.word,
            self.reporter,
            directory=settings.state_dir,
            interval_ns=settings.interval_ns,
            notify=notify,
        )
        # Windows are for whoever reads them: without a spool nobody does.
        self._reports = spool is not None
        self.view = View()
        #: Monotonic seconds of the last sign of progress; the watchdog looks at it.
        self.beat = monotonic()
        self._request = request
        self._look_after = look_after
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
        self._happenings = Happenings()
        self._frames_dropped = 0
        self._errors = 0
        self._failing = False
        self._asked: dict[str, int] = {}

    @property
    def word(self) -> OperatorWord:
        """What the operator said."""
        return self.detection.word

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
        if self.settings.state_dir is None:
            return
        now_ns = self._wall_ns()
        self.telling.restore(now_ns)
        self.correlator.note(Event(now_ns, "agent", "", "the agent was started"))
        self.detection.restore(now_ns)
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
        self.detection.finish()
        self.telling.save()
        self._publish(0.0)

    def _take(self, frame: Frame) -> None:
        tick = frame.tick_ns
        # A collector that was held up for as long may be behind as far; the clock is not then.
        back = self._last_tick - STEP_BACK_NS
        if tick < back and self._wall_ns() < back:
            self._clock_was_set_back(tick)
        if self._open_tick is not None and tick > self._open_tick:
            self._close_tick()
        if self._open_tick is None and tick > self._last_tick:
            self._open_tick = tick
            self._open_until = self._monotonic() + GRACE_S
            self._arrived.clear()
        # A late frame, or one asked for off schedule, is of the tick that is open when it comes.
        created = self.table.put(frame)
        if created:
            self.detection.welcome(created)
        if frame.usages:
            self.correlator.observe(frame.usages)
        for event in frame.events:
            self.correlator.note(event)
        if self._reports:
            if frame.records:
                self.reporter.keep(frame.records)
            if frame.histograms:
                self.reporter.add(frame.histograms)
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
        changes = self.detection.step(tick, column)
        newest = self.table.window(1)
        self.correlator.tenants.look(newest)
        for event in self._happenings.of(newest):
            self.correlator.note(event)
        self.telling.tell(self.correlator.step(tick, changes))
        self._ask(tick)
        if self._reports:
            self.reporter.fold(tick, column)
        if self._ticks % EXPIRE_EVERY_TICKS == 0:
            self._expire(tick)
        if self._ticks % TWINS_EVERY_TICKS == 0:
            self.correlator.twin = twins.of(self.table.window())
        self.detection.keep()
        self._publish(time.perf_counter() - began)

    def _ask(self, tick: int) -> None:
        """Ask for fresh readings of who uses what while an incident gathers."""
        wanted = self.correlator.wanted()
        if not wanted:
            self._asked.clear()
        for resource in wanted:
            every_ns = ASK_SPACE_NS if resource == "space" else ASK_EVERY_NS
            if tick - self._asked.get(resource, 0) >= every_ns:
                self._asked[resource] = tick
                self._request(resource)

    def _expire(self, tick: int) -> None:
        expired = self.table.expire()
        if expired is None:
            return
        changes = self.detection.forget(expired, tick)
        self.reporter.forget(expired.rows, expired.series)
        self.telling.tell(self.correlator.step(tick, changes))

    # ------------------------------------------------------------ what others want of it

    def hear(self, marks: Marks, now_ns: int) -> None:
        """Put what the operator said in force; raises ``OSError`` when it cannot be kept."""
        changes = self.detection.hear(marks, now_ns)
        if changes:
            self.telling.spread(changes)
        self._publish(self.view.tick_cost_s)

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
        self.telling.interval_ns = settings.interval_ns
        text = "the configuration was changed"
        self.correlator.note(Event(self._last_tick, "config", "", text))
        dropped = self.detection.adopt(detectors, settings, plan, make, self._last_tick)
        self.telling.tell(self.correlator.step(self._last_tick, dropped))

    def _publish(self, cost_s: float) -> None:
        self.view = View(
            tick_ns=self._last_tick,
            window_start_ns=self.reporter.start_ns,
            window_end_ns=self.reporter.end_ns,
            series=len(self.table),
            learning=self.detection.learning(),
            findings=self.detection.decider.open,
            incidents=self.correlator.incidents,
            frames_dropped=self._frames_dropped,
            samples_refused=self.table.refused.total(),
            findings_dropped=self.correlator.dropped,
            reports_dropped=self.reporter.dropped,
            unsaved=self.reporter.unsaved,
            errors=self._errors,
            tick_cost_s=cost_s,
        )
