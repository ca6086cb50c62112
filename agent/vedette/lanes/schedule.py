"""Wake lanes on the wall clock's multiples of their intervals.

APScheduler keeps the schedule; three things are made our own here. Its interval trigger adds the
interval to the previous time, so a start between two multiples stays between them for ever, and
after a suspend it counts through every tick that was missed before the scheduler throws all but
the last away: ``AlignedTrigger`` computes. Its scheduler sleeps until the next run time as it saw
it, so a clock set back by an hour would stop everything for that hour: ``TickScheduler`` notices.
Its executors run each job on a thread of a pool and log it: ``LaneExecutor`` only says which
interval is due; lanes do the rest. And it has no thread: the shared lane, which something is due in
at every tick, takes its turns, so that a tick wakes one thread and not two. What APScheduler
imports and never needs here is kept out: see ``vedette.lighter``.

All times are UTC. One wake-up serves every job that is due at the same moment.
"""

# APScheduler carries no types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from vedette.lighter import lighter

with lighter():
    from apscheduler.executors.base import BaseExecutor
    from apscheduler.job import Job
    from apscheduler.schedulers.base import BaseScheduler
    from apscheduler.triggers.base import BaseTrigger

log = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
#: Without anything planned, a turn comes this often.
IDLE_S = 3600.0


def unix_ns(moment: datetime) -> int:
    """Return a moment as Unix ns, without the rounding of a float."""
    return (moment - EPOCH) // MICROSECOND * 1000


class AlignedTrigger(BaseTrigger):
    """Fire on Unix times that are multiples of the interval (a whole number of microseconds).

    Ticks that have passed without a run are not made up for: the newest of them is next.
    """

    __slots__ = ("interval",)

    def __init__(self, interval: timedelta) -> None:
        self.interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the multiple to fire at next, in the past when it is the newest one missed."""
        newest = EPOCH + (now - EPOCH) // self.interval * self.interval
        if previous_fire_time is not None and newest > previous_fire_time:
            return newest
        return newest + self.interval

    def __str__(self) -> str:
        return f"aligned[{self.interval}]"


class LaneExecutor(BaseExecutor):
    """Hand (interval, tick), both in ns, to the lanes instead of running the job's function."""

    def __init__(self, submit: Callable[[int, int], None]) -> None:
        super().__init__()
        self._submit = submit

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """Pass a tick on; a lane that is still busy counts it as skipped itself."""
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._submit(int(job.id), unix_ns(run_times[-1]))


class TickScheduler(BaseScheduler):
    """A scheduler for aligned jobs without a thread: somebody calls ``turn`` when it says so.

    ``submit`` gets interval and tick of each job that is due, ``wake`` is called when the next
    turn has to come earlier than the last one said.
    """

    def __init__(
        self, submit: Callable[[int, int], None], wake: Callable[[], None] = lambda: None
    ) -> None:
        # It talks per run at INFO.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._submit = submit
        self._wake = wake
        self._due: list[tuple[int, int]] = []
        self._last = EPOCH
        super().__init__(
            timezone=UTC,
            executors={"default": LaneExecutor(lambda *tick: self._due.append(tick))},
            job_defaults={"coalesce": True, "max_instances": 1},
        )

    def every(self, interval_ns: int) -> None:
        """Submit a tick at each multiple of an interval (whole microseconds)."""
        trigger = AlignedTrigger(timedelta(microseconds=interval_ns // 1000))
        self.add_job(_nothing, trigger, id=str(interval_ns))

    def realign(self, now: datetime) -> None:
        """Bring jobs forward that a clock set back has left further away than their interval.

        Up to half an interval of that is left alone: the same tick would come twice.
        """
        for job in self.get_jobs():
            trigger = job.trigger
            if job.next_run_time - now > 1.5 * trigger.interval:
                at = trigger.get_next_fire_time(None, now)
                log.warning("job=%s clock was set back: next run moved to %s", job.id, at)
                self.modify_job(job.id, next_run_time=at)

    def start(self, paused: bool = False) -> None:
        """Submit ticks from the next turn on."""
        super().start(paused)

    def shutdown(self, wait: bool = True) -> None:
        """Submit no more ticks."""
        super().shutdown(wait=False)

    def wakeup(self) -> None:
        """Ask for a turn."""
        self._wake()

    def turn(self) -> float:
        """Submit what is due; return the seconds until the next turn."""
        now = datetime.now(UTC)
        # A smaller step than the last sleep only makes that much longer a pause.
        if now < self._last:
            self.realign(now)
        self._last = now
        seconds: float | None = self._process_jobs() if self.running else None
        # Last of all: a lane that is woken while this thread still holds the interpreter's lock
        # only wakes to wait for it.
        due, self._due = self._due, []
        for interval_ns, tick_ns in due:
            try:
                self._submit(interval_ns, tick_ns)
            except Exception:
                log.exception("a tick was not handed out")
        return IDLE_S if seconds is None else seconds


def _nothing() -> None:
    """Be the function of a job, of which only the id, its interval in ns, matters."""
