"""One thread in which collectors run, one after the other; there is none while all of them rest."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

import msgspec

from vedette.api import Frame
from vedette.lanes.rota import Rota
from vedette.lanes.runner import Runner

log = logging.getLogger(__name__)

Deliver = Callable[[tuple[Frame, ...]], None]

#: An idle lane looks up this often; only so that no wait in the agent is without an end.
IDLE_S = 3600.0


class Work(msgspec.Struct):
    """What a lane has to do for one tick; belongs to its thread, except as ``cut_off`` says."""

    tick_ns: int
    runners: tuple[Runner, ...]
    scheduled: bool = True
    frames: list[Frame] = []
    current: Runner | None = None
    cut_off: bool = False


class Lane:
    """A daemon thread with an inbox of at most one tick and one request.

    The thread is started by the first work and ends when all that it runs are parked, to be started
    anew by the next: a collector whose source is not there costs no thread, and a probe that hangs
    has one to itself.

    A thread that hangs in a collector cannot be ended. ``cut_off`` therefore makes the lane, its
    thread included, that collector's own, and gives back what the others had to say.

    With ``turn`` the lane keeps the schedule beside its work: its thread calls it, first at once,
    then after the seconds that it returned, or when it is woken. Such a lane always has a thread,
    and tells the end of its work by a delivery even when there is nothing to deliver.

    A delivery wakes whoever receives it, who then wants the interpreter's lock. So it comes last,
    and from there to the next wait, where the lock is let go, the way is kept short.
    """

    def __init__(
        self,
        name: str,
        rota: Rota,
        deliver: Deliver,
        turn: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self.rota = rota
        self.deliver = deliver
        self.turn = turn
        self._turn_at = 0.0
        self._inbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._work: Work | None = None
        self._ticks = self._requests = 0
        self._stopping = False
        self._began = self._refused = False
        self._thread: threading.Thread | None = None

    @property
    def runners(self) -> tuple[Runner, ...]:
        """Those that run in it."""
        return self.rota.runners

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._ticks and not self._requests

    @property
    def alive(self) -> bool:
        """Whether it has a thread."""
        return self._thread is not None

    @property
    def current(self) -> Runner | None:
        """The collector that is running now."""
        work = self._work
        return None if work is None else work.current

    def submit(self, work: Work) -> bool:
        """Queue a tick, or a request when idle; False when there is no room or no thread for it."""
        with self._lock:
            if self._stopping or self._ticks or (self._requests and not work.scheduled):
                return False
            if not self._have_thread():
                return False
            if work.scheduled:
                self._ticks += 1
            else:
                self._requests += 1
            self._inbox.put(work)
        return True

    def wake(self) -> None:
        """Take a turn of the schedule now; starts the thread if need be."""
        with self._lock:
            if not self._stopping and self._have_thread():
                self._inbox.put(None)

    def _have_thread(self) -> bool:
        """Start the thread unless there is one; False when the system gives none."""
        if self._thread is None:
            thread = threading.Thread(target=self._loop, name=f"vedette-{self.name}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                if not self._refused:
                    log.warning("lane=%s has no thread reason=%s", self.name, error)
                self._refused = True
                return False
            self._thread = thread
            self._began, self._refused = True, False
        return True

    def cut_off(self, runner: Runner, deliver: Deliver) -> Work | None:
        """Leave the lane to the collector that hangs in it; returns the work it interrupted.

        What it has to say from then on goes to ``deliver``. None when the collector has come back
        in the meantime.
        """
        with self._lock:
            work = self._work
            if work is None or work.current is not runner or work.cut_off:
                return None
            work.cut_off = True
            self.turn = None
            self.deliver = deliver
            self.name = runner.name
            self.rota = self.rota.of((runner,))
            return work

    def stop(self) -> None:
        """Let the thread finish its tick, close its collectors and end; it delivers no more."""
        with self._lock:
            self._stopping = True
            if self._began:
                self._have_thread()
            self._inbox.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; False when it has not come."""
        thread = self._thread
        if thread is None:
            return True
        thread.join(max(timeout_s, 0.0))
        return not thread.is_alive()

    def _loop(self) -> None:
        while not self._stopping:
            work = self._next()
            if work is not None and not self._perform(work) and self._ended():
                return
        for runner in self.runners:
            runner.close()

    def _next(self) -> Work | None:
        """Wait for work, a turn of the schedule, or a sign to look again."""
        turn, patience_s = self.turn, IDLE_S
        if turn is not None:
            patience_s = max(0.0, self._turn_at - time.monotonic())
        try:
            work = self._inbox.get(patience_s > 0, patience_s)
        except queue.Empty:
            work = None
        if work is None and turn is not None and not self._stopping:
            pause_s = turn()
            self._turn_at = time.monotonic() + pause_s
        return work

    def _ended(self) -> bool:
        """Let go of the thread when nothing is to do before a probe, which is a while away."""
        with self._lock:
            if self._stopping or self.turn is not None or not self.idle:
                return False
            if not all(one.parked for one in self.runners):
                return False
            self._thread = None
            return True

    def _perform(self, work: Work) -> bool:
        """Do it; tell whether a reading came of it."""
        self._work = work
        found = False
        try:
            found = self._run(work)
        except Exception:  # the lane outlives a fault of the agent's own
            log.exception("lane=%s tick lost", self.name)
        with self._lock:
            self._work = None
            if work.scheduled:
                self._ticks -= 1
            else:
                self._requests -= 1
        return found

    def _run(self, work: Work) -> bool:
        frames = list(work.frames)
        brought = len(frames)
        for runner in work.runners:
            # Work that waited behind a hang may name others, who run in another lane by now.
            if runner not in self.rota.members:
                continue
            work.current = runner
            frame = runner.run(work.tick_ns)
            with self._lock:
                work.current = None
                if work.cut_off:
                    # The others' frames are on their way; only what made them wait is left.
                    frames = [frame] if frame is not None else []
                    break
                if frame is not None:
                    frames.append(frame)
                    work.frames = frames
            if self._stopping:
                return False
        if self._stopping or not (frames or self.turn):
            return False
        found = len(frames) > brought
        self.deliver(tuple(frames))
        return found
