"""Watch how one model fares: whether it stalls, queues, runs full, fails, or is slow.

Nothing of it is learned but what the pace is compared with (``health_usual``). Every trouble is a
time for which it has held at each reading, so that a burst between two readings is none.

*Stalled* needs proof that nothing gets on. Servers that count tokens while they make them have to
make some while a request is there, but for the time to a first token; that they do so is seen once,
before it is relied on (llama.cpp counts them when a request ends). Of others one long request is no
stall: three have to be there, for longer than five requests usually take.

*Queued* is what waits twice as long as it is worked on, and a second at the least. How long a
request waits follows from how many wait and how many finish (Little, Operations Research 9, 1961),
which is known sooner than the mean that a server tells of those that are through. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from math import isfinite, nan

from vedette.api import Sample
from vedette.serving import health_series as series
from vedette.serving.health_figures import BAD, MINUTE_S, WORKED, Figures, Minute
from vedette.serving.health_usual import Pace

#: So many usual requests long nothing may finish; so long before any has.
STALL_REQUESTS, FIRST_S = 5.0, 120.0
#: Requests that are there at the least, where one may just take long.
STALL_LEAST = 3.0
#: A wait is none below this, and below so many times the work. Where servers count those worked on
#: among those that wait, one time more; where the work is not known, from ``WAIT_LONG_S``.
WAIT_LEAST_S, WAIT_FACTOR, WAIT_LONG_S = 1.0, 2.0, 10.0
#: From here on a KV cache is full; from there on it is looked when it will be.
KV_FULL, KV_HIGH = 0.95, 0.8
#: Or as many of those that end had to make room once.
PREEMPTED_PART = 0.1
#: The line through so much of the past, of so many readings, of whose steps so many rise and none
#: falls by more than that.
KV_SPAN_S, KV_READINGS, KV_RISING, KV_FALL = 300.0, 15, 0.8, 0.01
NEVER_S = 3_600.0
#: Ends that make room for the next request.
ENDED = (*WORKED, "timeout", "aborted")
#: Requests that failed at the least, those of the worst reading left out.
BAD_LEAST = 3.0
#: The standard normal deviate of a 95 % interval.
Z = 1.96
#: Bursts of failures are looked for in so long; batches smaller than this tell nothing.
BURST_S, BURSTS_LEAST, BATCH_LEAST = 600.0, 3, 4.0
SLOW_FACTOR, FIRST_LEAST_S, GAP_LEAST_S = 4.0, 1.0, 0.05


class Watch:
    """One model of one server."""

    def __init__(self, now_s: float) -> None:
        self.pace = Pace()
        self._begin(now_s)

    def _begin(self, now_s: float) -> None:
        self.minute = Minute()
        self._moved_s = now_s
        self._worked = False
        self._live = False
        self._queued_s = self._full_s = self._slow_s = nan
        #: When nobody waited last.
        self._quiet_s = now_s
        self._stalled: float | None = None
        self._wait, self._queue_told = nan, False
        self._now: dict[str, float] = {}
        #: How many were worked on at each reading since nobody waited.
        self._running: deque[tuple[float, float]] = deque(maxlen=64)
        self._kv: deque[tuple[float, float]] = deque(maxlen=64)
        self._bursts: deque[tuple[float, float]] = deque(maxlen=64)
        self._now_s = now_s

    def restart(self, now_s: float) -> None:
        """Forget what was of the process before; its pace is still what it is compared with."""
        self.pace.restart()
        self._begin(now_s)

    def step(self, now_s: float, elapsed_s: float, figures: Figures, engine_s: float = nan) -> str:
        """Take one page's figures; return in what way it is another model now, or nothing.

        ``engine_s`` is how long the model's engine takes for a request, of a layer before it.
        """
        if not elapsed_s > 0 or not isfinite(elapsed_s):
            elapsed_s = 0.0
        self._now_s, self._now = now_s, figures.now
        if elapsed_s:
            self.minute.add(now_s, elapsed_s, figures.gains)
        self._step_stall(figures)
        self._step_queue(figures, engine_s)
        self._step_kv(figures)
        self._step_bursts(figures)
        swapped = self.pace.step(elapsed_s, self.minute, figures.now)
        self._step_slow()
        return swapped

    # ------------------------------------------------------------ what is looked at

    def _step_stall(self, figures: Figures) -> None:
        gains, now = figures.gains, figures.now
        ended = sum(gains.get(key, 0.0) for key in WORKED)
        tokens = max(gains.get("tokens", 0.0), gains.get("step.count", 0.0))
        if tokens > 0 and ended == 0 and "ok" in gains:
            self._live = True
        moved = ended > 0 or tokens > 0
        self._worked = self._worked or moved
        there = now.get("waiting", 0.0) + now.get("running", 0.0)
        if moved or there < (1.0 if self._live else STALL_LEAST):
            self._moved_s = self._now_s
        self._stalled = None
        if ("waiting" in now or "running" in now) and ("ok" in gains or "tokens" in gains):
            still = self._now_s - self._moved_s
            usual = figures.first_s if self._live else figures.usual_s
            patience = STALL_REQUESTS * usual if isfinite(usual) and self._worked else FIRST_S
            self._stalled = still if still >= patience else 0.0

    def _step_queue(self, figures: Figures, engine_s: float) -> None:
        now = figures.now
        self._running.append((self._now_s, now.get("running", 0.0)))
        self._wait, is_long = nan, False
        if not any(map(self.minute.tells, (*ENDED, "queue.count"))):
            # How long a request waits is not known then, but what part of its time.
            waiting, running = now.get("waiting", 0.0), now.get("running", 0.0)
            is_long = waiting >= 2 and waiting >= WAIT_FACTOR * running and not figures.whole
        elif "waiting" in now or self.minute.tells("queue.count"):
            # After a pause only what came since there is a queue tells how fast they finish.
            # A router may tell no end of a request, but that it was taken on (Ray).
            ends = ENDED if any(map(self.minute.tells, ENDED)) else ("queue.count",)
            rate = max(self.minute.rate(*ends), self.minute.pace(self._quiet_s, *ends))
            self._wait = self._waits(now.get("waiting"), rate)
            is_long = self._is_long(self._wait, rate, figures, engine_s)
        if not now.get("waiting", 0.0) > 0:
            self._quiet_s = self._now_s
            self._running.clear()
        self._queue_told = "waiting" in now or isfinite(self._wait)
        self._queued_s = self._since(self._queued_s, is_long)

    def _waits(self, waiting: float | None, rate: float) -> float:
        """Return how long a request has to wait."""
        told = self.minute.mean("queue")
        if waiting == 0:
            return 0.0
        wait = told if isfinite(told) else 0.0
        if waiting is None:
            return wait
        return max(wait, waiting / rate if rate > 0 else self._now_s - self._moved_s)

    def _is_long(self, wait: float, rate: float, figures: Figures, engine_s: float) -> bool:
        """Say whether a wait is long beside the work that it is for."""
        running = self._at_work()
        work = self.minute.compute_s()
        if running > 0 and rate > 0 and not figures.whole:
            work = running / rate
        elif not isfinite(work) and self.minute.tells("queue.count"):
            work = self.minute.mean("request") - self.minute.mean("queue")
            work = work if isfinite(work) else engine_s
        if not isfinite(work):
            return wait >= WAIT_LONG_S and figures.now.get("waiting", 2.0) >= 2
        factor = WAIT_FACTOR + (1.0 if figures.whole else 0.0)
        return wait >= max(WAIT_LEAST_S, factor * work)

    def _at_work(self) -> float:
        """Return how many are worked on, as the readings of the last minute have it.

        Where requests begin and end together, one reading is far from what is usual.
        """
        found = [many for at_s, many in self._running if self._now_s - at_s < MINUTE_S]
        return sum(found) / len(found) if found else 0.0

    def _step_kv(self, figures: Figures) -> None:
        kv = figures.now.get("kv")
        if kv is None:
            return
        while self._kv and self._now_s - self._kv[0][0] > KV_SPAN_S:
            self._kv.popleft()
        self._kv.append((self._now_s, kv))
        # Requests that end leave room for a moment, and readings may hit such moments: that others
        # had to make room since the one before is what shows it then.
        preempted = figures.gains.get("preemptions", 0.0)
        pressed = figures.now.get("waiting", 0.0) > 0 or preempted > 0
        ended = sum(figures.gains.get(key, 0.0) for key in WORKED)
        often = kv >= KV_HIGH or preempted >= PREEMPTED_PART * ended
        is_full = (kv >= KV_FULL and pressed) or (preempted > 0 and often)
        self._full_s = self._since(self._full_s, is_full)

    def _step_bursts(self, figures: Figures) -> None:
        while self._bursts and self._now_s - self._bursts[0][0] > BURST_S:
            self._bursts.popleft()
        failed = sum(figures.gains.get(key, 0.0) for key in ("server_error", "failed"))
        if failed > 0:
            self._bursts.append((self._now_s, failed))

    def _step_slow(self) -> None:
        ratios, minute = self.pace.ratios, self.minute
        first = ratios.get("first", nan) >= SLOW_FACTOR and minute.mean("first") >= FIRST_LEAST_S
        gap = ratios.get("gap", nan) >= SLOW_FACTOR and minute.mean("gap") >= GAP_LEAST_S
        self._slow_s = self._since(self._slow_s, first or gap)

    def _since(self, since_s: float, holds: bool) -> float:
        if not holds:
            return nan
        return since_s if isfinite(since_s) else self._now_s

    # ------------------------------------------------------------ what is told

    def samples(self, place: tuple[str, ...], good_share: float = 1.0) -> Iterator[Sample]:
        """Yield the readings; ``good_share`` of what was answered well was quick enough."""
        now, minute = self._now, self.minute
        if self._stalled is not None:
            yield series.STALLED(self._stalled, *place)
        if isfinite(self._wait):
            yield series.QUEUE_WAIT(self._wait, *place)
        if self._queue_told:
            yield series.QUEUE_TIME(self._length(self._queued_s), *place)
        if "kv" in now:
            yield series.FULL_TIME(self._length(self._full_s), *place)
            yield series.FULL_IN(self._full_in(), *place)
        limit = now.get("limit", 0.0)
        if limit > 0 and "running" in now:
            yield series.SLOTS(now["running"] / limit, *place)
        if minute.tells("tokens"):
            yield series.TOKENS_RATE(minute.rate("tokens"), *place)
        if minute.tells("ok"):
            yield series.GOODPUT(good_share * minute.rate("ok"), *place)
        yield from self._failures(place)
        yield from self._paces(place)

    def _failures(self, place: tuple[str, ...]) -> Iterator[Sample]:
        outcomes = self.minute.outcomes()
        for outcome, count in outcomes.items():
            yield series.ENDED(count, *place, outcome)
        if not outcomes.keys() & set(BAD):
            return
        bad = sum(outcomes.get(key, 0.0) for key in BAD)
        ended = bad + outcomes.get("ok", 0.0)
        yield series.FAILED(bad / ended if ended > 0 else 0.0, *place)
        yield series.FAILED_LEAST(self._sure(outcomes.get("failed", 0.0)), *place)
        if self.minute.tells("batch.count"):
            yield series.BURST(self._burst(), *place)

    def _sure(self, unknown: float) -> float:
        """Return the share that failed as far as it is sure.

        The worst reading of the minute is left out: one bad moment is not what goes on. Where a
        server does not say whose errors they are they may be one client's: then it takes half of
        all requests.
        """
        bad, ended = self.minute.usual_share(BAD, ("ok", *BAD))
        if bad < BAD_LEAST:
            return 0.0
        least = wilson(bad, ended)
        return least if unknown <= self.minute.total(*BAD) / 2 or least >= 0.5 else 0.0

    def _burst(self) -> float:
        """Return the size of bursts of failures that are batches; 0 where they are none."""
        batch, sizes = self.minute.mean("batch"), [size for _, size in self._bursts]
        if not batch >= BATCH_LEAST or len(sizes) < BURSTS_LEAST:
            return 0.0
        off = [abs(size / batch - max(1, round(size / batch))) for size in sizes]
        return sum(sizes) / len(sizes) if max(off) <= 0.25 else 0.0

    def _paces(self, place: tuple[str, ...]) -> Iterator[Sample]:
        pace = self.pace
        first, gap = pace.ratios.get("first", nan), pace.ratios.get("gap", nan)
        if isfinite(first):
            yield series.FIRST_RATIO(first, *place)
        if isfinite(gap):
            yield series.GAP_RATIO(gap, *place)
        if isfinite(first) or isfinite(gap):
            yield series.SLOW_TIME(self._length(self._slow_s), *place)
        if isfinite(pace.prefix_share):
            yield series.PREFIX_SHARE(pace.prefix_share, *place)
        if isfinite(pace.prefix_ratio):
            yield series.PREFIX_RATIO(pace.prefix_ratio, *place)

    def _length(self, since_s: float) -> float:
        return self._now_s - since_s if isfinite(since_s) else 0.0

    def _full_in(self) -> float:
        """Return when the KV cache will be full, as a straight line through its readings has it."""
        kept = self._kv
        if len(kept) < KV_READINGS or kept[-1][1] < KV_HIGH:
            return NEVER_S
        steps = [after - before for (_, before), (_, after) in pairwise(kept)]
        if min(steps) < -KV_FALL or sum(one > 0 for one in steps) < KV_RISING * len(steps):
            return NEVER_S
        middle_s = sum(at for at, _ in kept) / len(kept)
        spread = sum((at - middle_s) ** 2 for at, _ in kept)
        slope = sum((at - middle_s) * value for at, value in kept) / spread if spread > 0 else 0.0
        if slope <= 0:
            return NEVER_S
        return min(NEVER_S, max(0.0, 1.0 - kept[-1][1]) / slope)


def wilson(hits: float, count: float) -> float:
    """Return the lower end of the 95 % interval of a share (Wilson, JASA 22, 1927)."""
    if count <= 0:
        return 0.0
    share, square = hits / count, Z * Z / count
    spread = Z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, (share + square / 2 - spread) / (1 + square))
