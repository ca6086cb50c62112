"""Run one collector tick by tick and know how it is doing.

The status machine: ``starting`` until the first result; ``ok``; ``resting`` while its source does
not exist (probed again after 60 s, doubling to an hour); ``failing`` after three exceptions in a
row and ``stuck`` after three late ticks in a row, or when a call has not returned after three
deadlines (both tried again ever more slowly, at most 5 minutes apart); ``stopped`` at the end. One
good tick makes it ``ok`` again. A change is logged once, numbers are counters.

Its interval may be stretched to a power of two times its own, which keeps it a multiple of the base
interval and its ticks on the wall clock; its deadline stays.

``run`` and ``close`` belong to the thread of the collector's lane; ``watch``, ``skip`` and
``status`` to whoever schedules, ``stretch`` and ``cost`` to whoever keeps account. A lock
guards what they share, held for a few assignments and never during a call into the collector.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from vedette.api import Frame, Unavailable
from vedette.lanes.assignment import SHARED, UNHURRIED, Assignment
from vedette.lanes.budget import most_stretch
from vedette.lanes.reading import Late, Reader, Reading, printable, reason_of
from vedette.lanes.status import CollectorStatus, State

if TYPE_CHECKING:
    from vedette.lanes.isolation import ProcessCollector

log = logging.getLogger(__name__)

S = 1_000_000_000
#: Deadline in the shared lane, where one collector makes the others wait.
SHARED_TIMEOUT_S = 0.1
#: In the unhurried lane a reading may take longer, but not often, and nobody waits longer than that
#: for one that hangs.
UNHURRIED_OFTEN_NS, UNHURRIED_MOST_NS = S // 4, S // 2
#: Exceptions, late ticks or missed deadlines in a row before a collector is in trouble.
IN_A_ROW = 3
#: Longest pause of a collector in trouble.
PAUSE_MAX_NS = 300 * S
#: First and longest pause between two probes of a source that is not there.
PROBE_NS, PROBE_MAX_NS = 60 * S, 3600 * S
#: A first look may import a library or connect, which a tick need not.
PROBE_TIMEOUT_NS = 15 * S
#: In the shared lane the others wait for it.
SHARED_PROBE_TIMEOUT_NS = S // 2
#: Good ticks in a row after which earlier overruns in the shared lane are forgiven.
FORGIVEN_AFTER = 60


class _Call(msgspec.Struct):
    """A call into the collector that has not returned."""

    what: str
    started_ns: int
    timeout_ns: int
    late: bool = False


class Runner:
    """One collector, its clockwork and its status."""

    def __init__(
        self,
        assignment: Assignment,
        *,
        max_series: int,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.name = assignment.label
        self.explains = assignment.collector.explains
        #: The interval it was given, and how many times longer the one it runs at is.
        self.configured_ns = round(assignment.interval_s * S)
        self.stretch = 1
        self.most_stretch = most_stretch(self.configured_ns)
        #: Share of one core, CPU seconds of a tick and per reading, as they were found last.
        self.cost: tuple[float | None, float | None, float | None] = (None, None, None)
        self.lane = assignment.lane
        self._overruns = self._good = 0
        self._timeout_s = assignment.deadline_s
        #: The deadline of one tick in the lane it is in now.
        self.timeout_ns = self._deadline_ns()
        self._clock_ns, self._monotonic_ns = clock_ns, monotonic_ns
        self._collector = assignment.collector
        self._remote: ProcessCollector | None = None
        if assignment.isolation == "process":
            from vedette.lanes.isolation import ProcessCollector

            self._collector = self._remote = ProcessCollector(
                assignment.collector,
                origin=assignment.origin,
                memory_bytes=assignment.memory_bytes,
                timeout_s=assignment.deadline_s or assignment.interval_s / 2,
            )
        self._reader = Reader(
            self._collector,
            assignment.collector.instruments(),
            name=self.name,
            max_series=max_series,
            monotonic_ns=monotonic_ns,
        )
        self._max_series = max_series
        self._lock = threading.Lock()
        self._call: _Call | None = None
        self._probed = False
        self._state: State = "starting"
        self._reason = ""
        self._since_ns = clock_ns()
        self._troubles = 0
        self._absences = 0
        #: Until then (monotonic) it pauses: no tick is its.
        self.not_before_ns = 0
        self._read_tick_ns = self._read_ns = 0
        self._ticks = self._late = self._skipped = self._failures = 0
        self._invalid = self._cut = 0
        self._samples = self._samples_total = self._duration_ns = self._cpu_ns = 0

    @property
    def interval_ns(self) -> int:
        """The interval it runs at now."""
        return self.configured_ns * self.stretch

    @property
    def parked(self) -> bool:
        """Whether nothing is open and its next call, a probe, is a while away."""
        return not self._probed and self.not_before_ns > 0

    @property
    def worker_ns(self) -> int:
        """CPU time of its worker processes."""
        return self._remote.cpu_ns if self._remote else 0

    def _deadline_ns(self) -> int:
        if self._timeout_s is not None:
            return round(self._timeout_s * S)
        return round(SHARED_TIMEOUT_S * S) if self.lane == SHARED else self.configured_ns // 2

    # ------------------------------------------------------------ asked by the scheduler

    def wants(self, tick_ns: int, fresh_ns: int) -> bool:
        """Tell whether a reading off schedule makes sense: it is well, idle, its last one older."""
        with self._lock:
            old = self._monotonic_ns() - self._read_ns > fresh_ns
            return (
                self._state == "ok" and self._call is None and old and tick_ns > self._read_tick_ns
            )

    def skip(self) -> None:
        """Count a tick at which its lane was still busy."""
        with self._lock:
            self._skipped += 1

    def watch(self) -> bool:
        """Look at the call in progress; returns True while it takes too long for its lane."""
        call = self._call
        if call is None:
            return False
        with self._lock:
            elapsed_ns = self._monotonic_ns() - call.started_ns
            if self._call is not call:
                return False
            if elapsed_ns <= call.timeout_ns:
                return self.lane == UNHURRIED and elapsed_ns > UNHURRIED_MOST_NS
            if not call.late:
                call.late = True
                self._late += 1
            if elapsed_ns > IN_A_ROW * call.timeout_ns and self._state not in ("stuck", "stopped"):
                since_ns = self._clock_ns() - elapsed_ns
                self._become("stuck", f"{call.what}() has not returned", since_ns=since_ns)
            return True

    @property
    def overstays(self) -> bool:
        """Whether it took too long too often to go on making others wait."""
        return self._overruns >= IN_A_ROW

    def move_to(self, lane: str) -> None:
        """Note that it runs in another lane from now on, where it may try again at once."""
        with self._lock:
            self.lane = lane
            self.timeout_ns = self._deadline_ns()
            self._overruns = self._troubles = self.not_before_ns = 0
            if self._call is not None:
                self._call.timeout_ns = max(self._call.timeout_ns, self.timeout_ns)

    def interrupt(self) -> None:
        """Kill the worker of an isolated collector, so that a call in progress returns."""
        if self._remote is not None:
            self._remote.kill()

    def answer(self, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put a question to the collector; a worker of an isolated one is not asked."""
        if self._remote is not None:
            raise LookupError(f"collector {self.name} is isolated and cannot be asked")
        return self._collector.answer(question, arguments)

    def totals(self) -> tuple[int, int, int]:
        """Return CPU ns (of its worker too), ended ticks and readings since the start."""
        with self._lock:
            underway = self._call is not None and self._call.what == "collect"
            return self._cpu_ns + self.worker_ns, self._ticks - underway, self._samples_total

    def status(self) -> CollectorStatus:
        """Return a snapshot."""
        share, tick_s, sample_s = self.cost
        with self._lock:
            return CollectorStatus(
                name=self.name,
                state=self._state,
                reason=self._reason,
                interval_s=self.interval_ns / S,
                lane=self.lane,
                ticks=self._ticks,
                late=self._late,
                skipped=self._skipped,
                failures=self._failures,
                invalid=self._invalid + (self._remote.invalid if self._remote else 0),
                samples=self._samples,
                duration_s=self._duration_ns / S,
                cpu_s=(self._cpu_ns + self.worker_ns) / S,
                since_ns=self._since_ns,
                samples_total=self._samples_total,
                configured_s=self.configured_ns / S,
                cut=self._cut,
                cpu_share=share,
                tick_cpu_s=tick_s,
                sample_cpu_s=sample_s,
            )

    # ------------------------------------------------------------ called by the lane

    def run(self, tick_ns: int) -> Frame | None:
        """Collect once and return the Frame; None when there is none to deliver."""
        if self._remote is not None and not self._remote.alive:
            self._probed = False
        if not self._probed and not self._probe():
            return None
        frame = self._collect(tick_ns)
        if not self._probed and self._remote is not None:
            self._remote.close()  # its source is gone: no worker waits for it
        return frame

    def _collect(self, tick_ns: int) -> Frame | None:
        call = self._begin("collect", self.timeout_ns)
        cpu_ns = time.thread_time_ns()
        reading: Reading | None = None
        error: BaseException | None = None
        try:
            reading = self._reader.read(tick_ns, call.started_ns, call.started_ns + call.timeout_ns)
        except BaseException as raised:  # noqa: BLE001 - even SystemExit harms only this tick
            error = raised
        return self._end(call, reading, error, time.thread_time_ns() - cpu_ns)

    def close(self) -> None:
        """Close the collector; whatever it raises is logged."""
        try:
            self._collector.close()
        except BaseException as error:  # noqa: BLE001 - stopping goes on
            log.warning("collector=%s close failed reason=%s", self.name, reason_of(error))
        with self._lock:
            self._become("stopped", "")

    def _begin(self, what: str, timeout_ns: int) -> _Call:
        call = _Call(what, self._monotonic_ns(), timeout_ns)
        with self._lock:
            self._call = call
            self._ticks += what == "collect"
        return call

    def _probe(self) -> bool:
        shortest = SHARED_PROBE_TIMEOUT_NS if self.lane == SHARED else PROBE_TIMEOUT_NS
        call = self._begin("probe", max(shortest, self.timeout_ns))
        cpu_ns = time.thread_time_ns()
        error: BaseException | None = None
        try:
            self._collector.probe()
        except BaseException as raised:  # noqa: BLE001 - as in run
            error = raised
        with self._lock:
            self._call = None
            self._cpu_ns += time.thread_time_ns() - cpu_ns
            if error is None:
                self._probed = True
            elif isinstance(error, Unavailable):
                self._rest(error)
            else:
                self._failures += 1
                self._become("failing", f"probe: {reason_of(error)}")
                self._pause_probe()
        if call.late and error is None:
            log.info("collector=%s probe returned late", self.name)
        return error is None

    def _end(
        self, call: _Call, reading: Reading | None, error: BaseException | None, cpu_ns: int
    ) -> Frame | None:
        """Book the outcome of a tick; a Frame that came too late is dropped."""
        with self._lock:
            self._call = None
            self._duration_ns = self._monotonic_ns() - call.started_ns
            self._cpu_ns += cpu_ns
            if self._state == "stopped":
                return None
            on_time = self._duration_ns <= call.timeout_ns
            if reading is not None and on_time:
                self._book_success(call, reading)
                return reading.frame
            if isinstance(error, Late) or not on_time:
                self._book_late(call)
            elif isinstance(error, Unavailable):
                self._rest(error)
            else:
                self._book_failure(error)
            return None

    def _book_success(self, call: _Call, reading: Reading) -> None:
        self._troubles = self._absences = self.not_before_ns = 0
        self._good += 1
        if self.lane == UNHURRIED and self._duration_ns > UNHURRIED_OFTEN_NS:
            self._overruns += 1
            self._good = 0
        if self._good >= FORGIVEN_AFTER:
            self._overruns = 0
        self._invalid += reading.invalid + reading.duplicates
        self._cut += reading.cut
        self._samples = len(reading.frame.series)
        self._samples_total += self._samples
        self._read_ns, self._read_tick_ns = call.started_ns, reading.frame.tick_ns
        cut = f"more than {self._max_series} series: the rest was cut off" if reading.cut else ""
        if self._state != "ok" or self._reason != cut:
            self._become("ok", cut)

    def _book_late(self, call: _Call) -> None:
        self._late += not call.late
        self._overruns += 1
        self._good = 0
        hung = self._duration_ns > IN_A_ROW * call.timeout_ns
        self._trouble("stuck", f"over its deadline of {call.timeout_ns / S:g} s", hung=hung)

    def _book_failure(self, error: BaseException | None) -> None:
        self._failures += 1
        self._trouble("failing", reason_of(error) if error is not None else "no result")

    def _trouble(self, state: State, reason: str, *, hung: bool = False) -> None:
        """Count one more tick without a result; from the third in a row on, slow down."""
        self._samples = 0
        self._troubles = max(self._troubles + 1, IN_A_ROW if hung else 0)
        if self._troubles < IN_A_ROW:
            return
        self._become(state, reason)
        # Doubling from the third on: an interval is skipped, then three, seven, ...
        longest = max(PAUSE_MAX_NS, self.interval_ns)
        pause_ns = min(self.interval_ns << min(self._troubles - IN_A_ROW + 1, 16), longest)
        # Half a tick less, so that a tick which comes a little early is not missed.
        self.not_before_ns = self._monotonic_ns() + pause_ns - self.configured_ns // 2

    def _rest(self, absence: Unavailable) -> None:
        self._samples = 0
        self._become("resting", printable(str(absence)))
        self._pause_probe()

    def _pause_probe(self) -> None:
        self._probed = False
        pause_ns = min(PROBE_NS << min(self._absences, 16), PROBE_MAX_NS)
        self._absences += 1
        self.not_before_ns = self._monotonic_ns() + pause_ns - self.configured_ns // 2

    def _become(self, state: State, reason: str, *, since_ns: int | None = None) -> None:
        """Change the state; one log line each, also when ``ok`` gains or loses a remark."""
        if state == self._state and (reason == self._reason or state != "ok"):
            self._reason = reason
            return
        trouble = state in ("failing", "stuck") or bool(reason and state == "ok")
        level = logging.WARNING if trouble else logging.INFO
        log.log(level, "collector=%s state=%s reason=%r", self.name, state, reason)
        if state != self._state:
            self._since_ns = self._clock_ns() if since_ns is None else since_ns
        self._state, self._reason = state, reason
