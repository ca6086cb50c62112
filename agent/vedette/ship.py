"""Bring batches from the spool to the outputs: one thread per output, oldest batch first.

A destination that is slow, dead or broken delays no other. Each has one batch in flight. After a
failure it waits: what the destination asked for (Retry-After, held between 1 s and 1 h, plus up to
a tenth), else a random time below a ceiling that doubles from 1 s to 60 s (full jitter, so that a
fleet does not come back in step). New data does not shorten that wait. A backlog is drained at a
bounded rate of requests. A thread with nothing to do sleeps until ``wake``.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Literal

import msgspec

from vedette.api import Output, SendResult, Shipment
from vedette.spool import Spool, SpoolError

log = logging.getLogger(__name__)

BACKOFF_FIRST_S = 1.0
#: A receiver that came back is noticed within a minute, and a fleet spreads over one.
BACKOFF_MAX_S = 60.0
RETRY_AFTER_MIN_S = 1.0
RETRY_AFTER_MAX_S = 3600.0
#: A thread with nothing to do looks once a minute, should a wake have been missed.
_IDLE_S = 60.0


class DestinationStatus(msgspec.Struct, frozen=True):
    """How one destination is.

    ``idle``: nothing was tried since the start. ``backlog`` is in batches, -1 if the spool cannot
    say; ``last_success_ns`` is Unix time; ``next_attempt_in_s`` is None while none is planned.
    """

    name: str
    state: Literal["ok", "failing", "idle"]
    reason: str
    backlog: int
    delivered: int
    retries: int
    refused: int
    last_success_ns: int | None
    next_attempt_in_s: float | None


class Shipper:
    """The threads that empty the spool.

    ``random`` and ``monotonic`` are the sources of jitter and time; ``rate_per_s`` bounds the
    requests to one destination. The outputs belong to the shipper: each is closed by its thread.
    """

    def __init__(
        self,
        spool: Spool,
        outputs: Mapping[str, Output],
        *,
        random: Random,
        monotonic: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
        rate_per_s: float = 20.0,
    ) -> None:
        spool.attach(outputs.keys())
        self._lanes = [
            Lane(
                name,
                spool,
                output,
                random=Random(random.getrandbits(64)),  # noqa: S311 - jitter, not a secret
                monotonic=monotonic,
                clock_ns=clock_ns,
                spacing_s=1.0 / rate_per_s,
            )
            for name, output in outputs.items()
        ]
        self._monotonic = monotonic

    def start(self) -> None:
        """Start a thread per output."""
        for lane in self._lanes:
            lane.start()

    def wake(self) -> None:
        """Say that something was appended."""
        for lane in self._lanes:
            lane.wake()

    def stop(self, drain_s: float) -> None:
        """Deliver what can be delivered within ``drain_s``, then return; the rest stays spooled.

        A request that is still in flight then is left to its own deadline.
        """
        deadline = self._monotonic() + max(0.0, drain_s)
        for lane in self._lanes:
            lane.stop(deadline)
        for lane in self._lanes:
            lane.join(max(0.0, deadline - self._monotonic()))

    def status(self) -> tuple[DestinationStatus, ...]:
        """Return how each destination is."""
        return tuple(lane.status() for lane in self._lanes)


class Lane:
    """One destination: ``step`` does one thing and says when to come back; the thread waits."""

    def __init__(
        self,
        name: str,
        spool: Spool,
        output: Output,
        *,
        random: Random,
        monotonic: Callable[[], float],
        clock_ns: Callable[[], int],
        spacing_s: float,
    ) -> None:
        self._name = name
        self._spool = spool
        self._output = output
        self._random = random
        self._monotonic = monotonic
        self._clock_ns = clock_ns
        self._spacing_s = spacing_s
        self._failures = 0
        self._settle: Callable[[], None] | None = None  # an answer the spool has not noted yet
        self._condition = threading.Condition()
        self._woken = self._idle = self._told_to_wait = False
        self._deadline: float | None = None  # set by stop
        self._next_attempt: float | None = None
        self._state: Literal["ok", "failing", "idle"] = "idle"
        self._reason = ""
        self._delivered = self._retries = self._refused = 0
        self._last_success_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"ship-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """End an idle wait; a wait after a failure goes on."""
        with self._condition:
            self._woken = True
            if self._idle:
                self._condition.notify_all()

    def stop(self, deadline: float) -> None:
        """Let the thread end when nothing is left or could be done before the deadline."""
        with self._condition:
            self._deadline = deadline
            self._woken = True  # one more look
            self._condition.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end, if it was started."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def status(self) -> DestinationStatus:
        """Return how the destination is."""
        try:
            backlog = self._spool.backlog(self._name).batches
        except SpoolError:
            backlog = -1
        with self._condition:
            planned = self._next_attempt
            return DestinationStatus(
                self._name,
                self._state,
                self._reason,
                backlog,
                self._delivered,
                self._retries,
                self._refused,
                self._last_success_ns,
                None if planned is None else max(0.0, planned - self._monotonic()),
            )

    def step(self) -> float | None:
        """Try one batch; return the seconds until the next try, None when there is nothing."""
        begun = self._monotonic()
        try:
            if self._settle is None:
                shipment = self._spool.peek(self._name)
                if shipment is None:
                    return None
                result = self._send(shipment)
                if result.outcome == "retry":
                    return self._failed(result.reason, result.retry_after_s)
                self._settle = self._answered(shipment, result)
            # Until the spool has noted an answer nothing else is sent, and this is not sent again.
            self._settle()
            self._settle = None
        except SpoolError as error:
            return self._failed(f"spool: {error}", None)
        return max(0.0, begun + self._spacing_s - self._monotonic())

    def _send(self, shipment: Shipment) -> SendResult:
        try:
            return self._output.send(shipment)
        except Exception as error:  # the border to somebody else's code
            log.debug("destination=%s raised", self._name, exc_info=True)
            return SendResult("retry", f"raised {type(error).__name__}")

    def _answered(self, shipment: Shipment, result: SendResult) -> Callable[[], None]:
        """Count a final answer; return how the spool is told."""
        refused = result.outcome == "refused"
        with self._condition:
            self._failures = 0
            if refused:
                self._refused += 1
            else:
                self._delivered += 1
                self._last_success_ns = self._clock_ns()
        if refused:
            log.warning(
                "destination=%s refused=%d reason=%r", self._name, shipment.sequence, result.reason
            )
            self._turn("failing", f"refused: {result.reason}")
            return lambda: self._spool.refuse(self._name, shipment, result.reason)
        self._turn("ok", "")
        return lambda: self._spool.acknowledge(self._name, shipment.sequence)

    def _failed(self, reason: str, retry_after_s: float | None) -> float:
        """Note a failure and return how long to wait."""
        ceiling = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self._failures, 30))
        if retry_after_s is not None and math.isfinite(retry_after_s):
            wait = min(max(retry_after_s, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)
            wait += self._random.uniform(0.0, wait / 10)
        else:
            wait = self._random.uniform(0.0, ceiling)
        with self._condition:
            self._failures += 1
            self._retries += 1
            self._told_to_wait = retry_after_s is not None
        self._turn("failing", reason)
        return wait

    def _turn(self, state: Literal["ok", "failing"], reason: str) -> None:
        with self._condition:
            before, self._state, self._reason = self._state, state, reason
        if state == "failing" and before != "failing":
            log.warning("destination=%s state=failing reason=%r", self._name, reason)
        elif state == "ok" and before == "failing":
            log.info("destination=%s state=ok", self._name)

    def _run(self) -> None:
        try:
            while self._wait(self._step_guarded()):
                pass
        finally:
            try:
                self._output.close()
            except Exception:  # the border to somebody else's code
                log.exception("destination=%s close failed", self._name)

    def _step_guarded(self) -> float | None:
        try:
            return self.step()
        except Exception as error:  # a thread that ended would never ship again
            log.exception("destination=%s ship step failed", self._name)
            return self._failed(f"raised {type(error).__name__}", None)

    def _wait(self, delay: float | None) -> bool:
        """Wait for the next try; False when the thread is to end."""
        with self._condition:
            self._next_attempt = None if delay is None else self._monotonic() + delay
            if self._next_attempt is None:
                return self._wait_for_work()
            return self._wait_until(self._next_attempt)

    def _wait_for_work(self) -> bool:
        if not self._woken and self._deadline is None:
            self._idle = True
            self._condition.wait(_IDLE_S)
            self._idle = False
        if self._deadline is None:
            self._woken = False
            return True
        woken, self._woken = self._woken, False
        return woken and self._monotonic() < self._deadline

    def _wait_until(self, until: float) -> bool:
        while self._deadline is None or until <= self._deadline:
            remaining = until - self._monotonic()
            if remaining <= 0:
                return True
            self._condition.wait(remaining)
        # The end comes before the next try. Where the wait was ours, not asked for by the
        # destination, it gets one more: it may have come back meanwhile.
        woken, self._woken = self._woken, False
        return woken and not self._told_to_wait and self._monotonic() < self._deadline
