"""Know what the collectors and the rest of the agent cost, and hold the agent to its CPU budget.

Once every ten seconds, in the tick of the agent's own counters: no thread and no wake-up of its
own. All of it is a few system calls (the kernel keeps the CPU time of each thread) and sums.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from vedette.lanes.budget import Budget, Load
from vedette.lanes.costs import Costs
from vedette.lanes.runner import Runner, S

log = logging.getLogger(__name__)


class AgentCost(msgspec.Struct, frozen=True):
    """What the agent costs: shares of one core over the last minute, None until they are known.

    ``collectors`` is what collecting took, workers included, ``parts`` the CPU time of the threads
    that were named, ``rest`` everything else: schedule, lanes, control socket. ``exhausted`` says
    that ``budget`` (0: none) is not kept although no collector could usefully run less often.
    """

    share: float | None = None
    collectors: float | None = None
    parts: dict[str, float] = {}
    rest: float | None = None
    budget: float = 0.0
    exhausted: bool = False

    @property
    def utilization(self) -> float | None:
        """The part of the budget in use; None without one."""
        return self.share / self.budget if self.budget and self.share is not None else None


class Account:
    """The costs of all runners. ``measure`` is called from one thread at a time."""

    def __init__(
        self,
        runners: Sequence[Runner],
        *,
        budget: Budget | None = None,
        parts: Mapping[str, str] | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        process_ns: Callable[[], int] = time.process_time_ns,
    ) -> None:
        self._runners = tuple(runners)
        self._budget = budget
        self._parts = dict(parts or {})
        self._monotonic_ns, self._process_ns = monotonic_ns, process_ns
        window = {} if budget is None else {"window_s": budget.window_s}
        # After the runners come the whole agent and each part.
        self._costs = Costs(len(self._runners) + 1 + len(self._parts), **window)
        self._exhausted = False
        #: What was found last; replaced as a whole, so any thread may read it.
        self.agent = AgentCost(budget=budget.share if budget else 0.0)

    def measure(self) -> None:
        """Take all totals, tell the runners what they cost, and act when the budget asks for it."""
        now_s = self._monotonic_ns() / S
        totals = [runner.totals() for runner in self._runners]
        workers_ns = sum(runner.worker_ns for runner in self._runners)
        threads = _cpu_by_prefix(self._parts.values())
        self._costs.mark(
            now_s,
            [cpu for cpu, _, _ in totals] + [self._process_ns() + workers_ns, *threads],
            [ticks for _, ticks, _ in totals],
            [samples for _, _, samples in totals],
        )
        costs = self._costs
        for index, (runner, (cpu, _, _)) in enumerate(zip(self._runners, totals, strict=True)):
            if cpu:
                runner.cost = (costs.share(index), costs.tick_s(index), costs.sample_s(index))
        share = costs.share(len(self._runners))
        if share is None:
            return
        if self._budget is not None:
            self._keep(self._budget, now_s, share)
        self.agent = self._summed(share)

    def _summed(self, share: float) -> AgentCost:
        first = len(self._runners) + 1
        collectors = sum(runner.cost[0] or 0.0 for runner in self._runners)
        parts = {
            name: self._costs.share(first + place) or 0.0 for place, name in enumerate(self._parts)
        }
        return AgentCost(
            share=share,
            collectors=collectors,
            parts=parts,
            rest=max(0.0, share - collectors - sum(parts.values())),
            budget=self._budget.share if self._budget else 0.0,
            exhausted=self._exhausted,
        )

    def _keep(self, budget: Budget, now_s: float, used: float) -> None:
        """Stretch intervals, or give them back, as the budget decides; one log line each."""
        for name, stretch in budget.step(now_s, used, self._loads).items():
            runner = next(one for one in self._runners if one.name == name)
            longer = stretch > runner.stretch
            before_s = runner.interval_ns / S
            runner.stretch = stretch
            log.log(
                logging.WARNING if longer else logging.INFO,
                "collector=%s interval_s=%g was_s=%g reason=%r",
                name,
                runner.interval_ns / S,
                before_s,
                f"the agent uses {used:.2%} of one core, its CPU budget is {budget.share:.2%}"
                if longer
                else "there is room in the CPU budget again",
            )
        if budget.exhausted != self._exhausted:
            self._exhausted = budget.exhausted
            if self._exhausted:
                log.warning(
                    "cpu_budget state=exceeded used=%.4f budget=%.4f "
                    "reason='no collector is left that could usefully run less often'",
                    used,
                    budget.share,
                )
            else:
                log.info("cpu_budget state=kept used=%.4f budget=%.4f", used, budget.share)

    def _loads(self) -> dict[str, Load]:
        return {
            runner.name: Load(_running(runner), runner.stretch, runner.most_stretch)
            for runner in self._runners
        }


def _running(runner: Runner) -> float:
    """Return what a collector takes of one core at its interval of now; 0 while it rests.

    Its mean over minutes, not the last minute: one that runs once a minute would come and go.
    """
    share, tick_s, _ = runner.cost
    return tick_s * S / runner.interval_ns if share and tick_s else 0.0


def _cpu_by_prefix(prefixes: Iterable[str]) -> list[int]:
    """Return for each prefix the CPU ns of the live threads whose name begins with it."""
    found = dict.fromkeys(prefixes, 0)
    if not found:
        return []
    for thread in threading.enumerate():
        for prefix in found:
            if thread.name.startswith(prefix):
                found[prefix] += thread_cpu_ns(thread)
    return list(found.values())


def thread_cpu_ns(thread: threading.Thread) -> int:
    """Return the CPU time of a thread, from any other; 0 when it has ended.

    The clock's number is MAKE_THREAD_CPUCLOCK(tid, CPUCLOCK_SCHED) of Linux's posix-timers.h.
    ``pthread_getcpuclockid`` would give the same, but may crash for a thread that has ended.
    """
    if thread.native_id is None:
        return 0
    try:
        return time.clock_gettime_ns(~thread.native_id << 3 | 6)
    except OSError:
        return 0
