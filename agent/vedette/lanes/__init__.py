"""Run every collector on time, whatever the others do.

Collectors that only read the kernel share one lane and one wake-up; those that may block, but
seldom do, share another, which is unhurried; each that often blocks has a lane of its own. A
collector that makes others wait too long three times, or hangs, is moved into a lane of its own for
good: when it hangs, it keeps the thread it hangs in, and the others go on in a new one, with what
that tick still owes them. So there is at most one thread per lane, and none is ever started for a
collector that has not come back. A lane in which all rest has no thread until a source is looked
for again.

Cost: one wake-up per tick for each lane with something due; the shared lane, in which something
always is, takes the schedule's turns. A thread that is woken by one that still holds the
interpreter's lock wakes twice, so lanes hand over last of all they do. There is one scheduled job
per interval, not per collector: a job costs more than most ticks do.

The agent's own counters are read in the shared lane every 10 s; then the costs are reckoned, and
intervals are stretched when the CPU budget asks for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vedette.api import Frame
from vedette.lanes.account import Account, AgentCost
from vedette.lanes.assignment import SHARED, UNHURRIED, Assignment
from vedette.lanes.budget import Budget
from vedette.lanes.lane import Deliver, Lane, Work
from vedette.lanes.metrics import OF_THE_AGENT, PER_COLLECTOR, RunnerMetrics
from vedette.lanes.rota import Rota
from vedette.lanes.runner import Runner
from vedette.lanes.schedule import TickScheduler
from vedette.lanes.status import CollectorStatus

__all__ = ["AgentCost", "Assignment", "Budget", "CollectorStatus", "Lanes", "RunnerMetrics"]

log = logging.getLogger(__name__)

S = 1_000_000_000
#: A reading younger than this answers a request already.
FRESH_NS = S * 7 // 10
#: The agent's counters about its collectors are read this often.
METRICS_S = 10.0


class Lanes:
    """All lanes and the schedule that wakes them.

    ``deliver`` is called from lane threads, once per tick of the shared lane with all its frames
    and once per tick of any other; it must not block. When the clock is set back ticks come
    again that were delivered before.

    ``budget`` stretches intervals (None: never). ``parts`` are the other parts of the agent whose
    CPU time is told, each with what the names of its threads begin with.
    """

    def __init__(
        self,
        collectors: Sequence[Assignment],
        deliver: Callable[[tuple[Frame, ...]], None],
        *,
        base_interval_s: float,
        max_series: int,
        budget: Budget | None = None,
        parts: Mapping[str, str] | None = None,
        metrics_s: float = METRICS_S,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._deliver: Deliver = deliver
        self._base_ns = round(base_interval_s * S)
        self._clock_ns, self._monotonic_ns = clock_ns, monotonic_ns
        self._runners = tuple(
            Runner(one, max_series=max_series, clock_ns=clock_ns, monotonic_ns=monotonic_ns)
            for one in collectors
        )
        self._check()
        self._account = Account(
            self._runners, budget=budget, parts=parts, monotonic_ns=monotonic_ns
        )
        metrics = Runner(
            Assignment(
                RunnerMetrics(self.status, self._take_stock),
                max(metrics_s // base_interval_s, 1) * base_interval_s,
            ),
            max_series=PER_COLLECTOR * len(self._runners) + OF_THE_AGENT,
            clock_ns=clock_ns,
            monotonic_ns=monotonic_ns,
        )
        # Guards which lane a collector is in; held while ticks and requests are handed out.
        self._lock = threading.RLock()
        self._scheduler = TickScheduler(self._plan, self._wake)
        runners = (*self._runners, metrics)
        self._shared = {
            SHARED: self._shared_lane(Rota(tuple(one for one in runners if one.lane == SHARED))),
            UNHURRIED: Lane(
                UNHURRIED, Rota(tuple(one for one in runners if one.lane == UNHURRIED)), deliver
            ),
        }
        self._own: dict[str, Lane] = {}
        # Ticks for the other lanes, while the shared lane is still at its own.
        self._later: list[tuple[Lane, int]] = []
        # When the schedule's next turn is due, and whether one was asked for before that.
        self._turn_at = 0.0
        self._asked = False
        self._intervals: dict[int, list[Lane]] = {self._base_ns: []}
        for runner in self._runners:
            if runner.lane not in self._shared:
                self._add(Lane(runner.name, Rota((runner,)), deliver), runner)

    def start(self) -> None:
        """Start all lanes and the schedule.

        Everything is read once at once, whatever its interval: there is something to see within a
        second, and counters have a reading to reckon their first rate from.
        """
        tick_ns = self._clock_ns() // self._base_ns * self._base_ns
        for lane in (*self._shared.values(), *self._own.values()):
            if lane.runners:
                lane.submit(Work(tick_ns, lane.runners, scheduled=False))
        for interval_ns in self._intervals:
            self._scheduler.every(interval_ns)
        self._scheduler.start()

    def stop(self, timeout_s: float) -> None:
        """End within the timeout; collectors are closed in their lanes, a hung one is left."""
        deadline = time.monotonic() + timeout_s
        if self._scheduler.running:
            self._scheduler.shutdown()
        with self._lock:
            lanes = (*self._shared.values(), *self._own.values())
        for lane in lanes:
            lane.stop()
        # Whoever waits for a worker process is freed after half the time, to be closed still.
        left = [
            lane for lane in lanes if not lane.join(deadline - timeout_s / 2 - time.monotonic())
        ]
        for lane in left:
            for runner in lane.runners:
                runner.interrupt()
        left = [lane for lane in left if not lane.join(deadline - time.monotonic())]
        if left:
            log.warning("lanes=%s not ended, left behind", ",".join(lane.name for lane in left))

    def request(self, resource: str) -> None:
        """Ask the collectors that explain a resource for a reading now, off schedule.

        Their frames come soon, at the newest base tick. One that is busy, in trouble or has read
        just now is not asked.
        """
        tick_ns = self._clock_ns() // self._base_ns * self._base_ns
        fresh_ns = max(FRESH_NS, self._base_ns * 7 // 10)
        with self._lock:
            for runner in self._runners:
                if resource in runner.explains and runner.wants(tick_ns, fresh_ns):
                    lane = self._own.get(runner.name) or self._shared[runner.lane]
                    lane.submit(Work(tick_ns, (runner,), scheduled=False))

    def status(self) -> tuple[CollectorStatus, ...]:
        """Return how each collector is doing, in the order they were given."""
        return tuple(runner.status() for runner in self._runners)

    def answer(self, name: str, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put a question to a collector; ``LookupError`` when there is none, or no answer."""
        for runner in self._runners:
            if runner.name == name:
                return runner.answer(question, arguments)
        raise LookupError(f"no collector {name!r} is on")

    def cost(self) -> AgentCost:
        """Return what the agent costs, as it was found last."""
        return self._account.agent

    def look_after(self) -> None:
        """Notice calls that do not return, and keep them from holding up others.

        To be called every second or so, from a thread that is no lane's.
        """
        with self._lock:
            overdue = [runner for runner in self._runners if runner.watch()]
            if self._scheduler.running and not self._shared[SHARED].alive:
                self._shared[SHARED].wake()  # the system had no thread for it
            for lane in tuple(self._shared.values()):
                current = lane.current
                if current is not None and current in overdue:
                    self._split(lane, current)
                elif lane.idle:
                    for runner in lane.runners:
                        if runner.overstays:
                            self._move(lane, runner)

    # ------------------------------------------------------------ called in the shared lane

    def tick(self, interval_ns: int, tick_ns: int) -> None:
        """Hand a tick to the lanes it is meant for; count it as skipped where one is busy."""
        self._plan(interval_ns, tick_ns)
        self._hand_out()

    def _turn(self) -> float:
        """Take the schedule's turn; return the seconds until the next.

        The shared lane comes first: others that were woken before it is done would only wait for
        the interpreter's lock, and take it away at every system call. When it hangs, whoever goes
        on with it hands out what waits.
        """
        if not self._later and (self._asked or time.monotonic() >= self._turn_at):
            self._asked = False
            pause_s = self._scheduler.turn()
            self._turn_at = time.monotonic() + pause_s
        if self._later and self._shared[SHARED].idle:
            self._hand_out()
        return self._turn_at - time.monotonic()

    def _plan(self, interval_ns: int, tick_ns: int) -> None:
        with self._lock:
            if interval_ns == self._base_ns:
                shared = self._shared[SHARED]
                if due := shared.rota.due(tick_ns, self._monotonic_ns()):
                    self._submit(shared, Work(tick_ns, due))
                self._later.append((self._shared[UNHURRIED], tick_ns))
            self._later += [(lane, tick_ns) for lane in self._intervals[interval_ns]]

    def _pass_on(self, frames: tuple[Frame, ...]) -> None:
        """Deliver what the shared lane has read; by way of the unhurried lane where that is due.

        So a tick arrives as one and wakes the receiver once. It waits a few ms for that, and 2 s,
        once, when somebody hangs there.
        """
        if not self._hand_out(frames) and frames:
            self._deliver(frames)

    def _hand_out(self, frames: tuple[Frame, ...] = ()) -> bool:
        """Give the other lanes their tick; tell whether the unhurried one took the frames along."""
        taken = False
        with self._lock:
            later = [(self._relieved(lane), tick_ns) for lane, tick_ns in self._later]
            self._later = []
            now_ns = self._monotonic_ns()
            # First all is made ready, then everybody is woken.
            ready = [
                (lane, Work(tick_ns, due))
                for lane, tick_ns in later
                if (due := lane.rota.due(tick_ns, now_ns))
            ]
            for lane, work in ready:
                takes = bool(frames) and not taken and lane is self._shared[UNHURRIED]
                if takes:
                    work.frames = list(frames)
                taken = (self._submit(lane, work) and takes) or taken
        return taken

    def _relieved(self, lane: Lane) -> Lane:
        """Return who takes a lane's tick: where somebody hangs in the unhurried one, a new one.

        Whoever looks after the lanes may come only after this tick, which the others would miss.
        """
        current = lane.current
        if lane is self._shared[UNHURRIED] and current is not None and current.watch():
            self._split(lane, current)
            return self._shared[UNHURRIED]
        return lane

    def _wake(self) -> None:
        """Let the schedule have a turn now; its lane may be another by then."""
        self._asked = True
        self._shared[SHARED].wake()

    def _take_stock(self) -> AgentCost:
        """Reckon all costs anew, in the tick of the agent's own counters."""
        self._account.measure()
        return self._account.agent

    @staticmethod
    def _submit(lane: Lane, work: Work) -> bool:
        if lane.submit(work):
            return True
        for runner in work.runners:
            runner.skip()
        return False

    def _shared_lane(self, rota: Rota) -> Lane:
        return Lane(SHARED, rota, self._pass_on, self._turn)

    def _split(self, hung: Lane, runner: Runner) -> None:
        """Let a collector that hangs in a shared lane keep that thread; go on in a new one."""
        name = hung.name
        others = hung.rota.of(tuple(other for other in hung.runners if other is not runner))
        work = hung.cut_off(runner, self._deliver)
        if work is None:  # it came back just now
            return
        log.warning("collector=%s hangs in the %s lane: it keeps it to itself", runner.name, name)
        fresh = self._shared_lane(others) if name == SHARED else Lane(name, others, self._deliver)
        self._shared[name] = fresh
        self._adopt(runner, hung)
        if work.frames:
            self._deliver(tuple(work.frames))
        waiting = work.runners[work.runners.index(runner) + 1 :]
        # Beside the next tick, not in its place.
        if waiting and not fresh.submit(Work(work.tick_ns, waiting, scheduled=False)):
            for other in waiting:
                other.skip()
        if name == SHARED:
            fresh.wake()

    def _move(self, lane: Lane, runner: Runner) -> None:
        """Give a collector that took too long too often a lane of its own."""
        name = runner.name
        log.warning("collector=%s too slow for the %s lane: moved to its own", name, lane.name)
        own = Lane(name, lane.rota.of((runner,)), self._deliver)
        lane.rota = lane.rota.of(tuple(other for other in lane.runners if other is not runner))
        self._adopt(runner, own)

    def _adopt(self, runner: Runner, lane: Lane) -> None:
        """Take up a lane that became one collector's own while the schedule was running."""
        runner.move_to(runner.name)
        if runner.configured_ns not in self._intervals:
            self._scheduler.every(runner.configured_ns)
        self._add(lane, runner)

    def _add(self, lane: Lane, runner: Runner) -> None:
        self._own[runner.name] = lane
        self._intervals.setdefault(runner.configured_ns, []).append(lane)

    def _check(self) -> None:
        """Refuse what could not be scheduled; the configuration has been checked before."""
        names = [runner.name for runner in self._runners]
        taken = (SHARED, UNHURRIED, RunnerMetrics.name)
        for runner in self._runners:
            if names.count(runner.name) > 1 or runner.name in taken:
                raise ValueError(f"the collector name {runner.name!r} is taken")
            if runner.interval_ns <= 0 or runner.interval_ns % self._base_ns:
                raise ValueError(
                    f"the interval of {runner.name}, {runner.interval_ns / S:g} s, is no multiple "
                    f"of the base interval, {self._base_ns / S:g} s"
                )
