"""The schedule: aligned to the wall clock, no bursts, no stall when the clock is set."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette import lighter
from vedette.lanes.schedule import AlignedTrigger, LaneExecutor, TickScheduler, unix_ns

S = 1_000_000_000
NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def every(seconds: float) -> AlignedTrigger:
    return AlignedTrigger(timedelta(seconds=seconds))


def test_the_first_tick_is_the_next_multiple_of_the_interval() -> None:
    assert every(1).get_next_fire_time(None, at(0.3)) == at(1)
    assert every(10).get_next_fire_time(None, at(3)) == at(10)
    assert every(60).get_next_fire_time(None, at(61)) == at(120)


def test_ticks_follow_each_other_without_drift() -> None:
    trigger, moment = every(0.25), at(0)
    for step in range(1, 1000):
        moment = trigger.get_next_fire_time(moment, moment + timedelta(milliseconds=7))
        assert moment == at(step * 0.25)


def test_a_suspend_of_a_night_costs_one_tick_not_a_burst() -> None:
    scheduler = TickScheduler(lambda _i, _t: None)
    scheduler.every(S)
    job = scheduler.get_jobs()[0]
    scheduler.start(paused=True)
    try:
        job.modify(next_run_time=at(0))
        morning = at(8 * 3600 + 0.4)
        started = time.perf_counter()
        due = job._get_run_times(morning)
        assert due == [at(0), at(8 * 3600)]
        assert time.perf_counter() - started < 1.0  # not 28,800 computed run times
        assert job.trigger.get_next_fire_time(due[-1], morning) == at(8 * 3600 + 1)
    finally:
        scheduler.shutdown()


def test_a_clock_set_back_an_hour_does_not_stall_the_schedule() -> None:
    scheduler = TickScheduler(lambda _i, _t: None)
    scheduler.every(S)
    scheduler.every(10 * S)
    scheduler.start(paused=True)
    try:
        for job in scheduler.get_jobs():
            job.modify(next_run_time=at(3600))
        scheduler.realign(at(0.3))
        assert sorted(job.next_run_time for job in scheduler.get_jobs()) == [at(1), at(10)]
    finally:
        scheduler.shutdown()


def test_a_clock_set_back_a_little_does_not_repeat_a_tick() -> None:
    scheduler = TickScheduler(lambda _i, _t: None)
    scheduler.every(S)
    scheduler.start(paused=True)
    try:
        (job,) = scheduler.get_jobs()
        job.modify(next_run_time=at(11))
        scheduler.realign(at(9.8))  # 10 has been done
        assert job.next_run_time == at(11)
    finally:
        scheduler.shutdown()


@given(
    interval_ms=st.sampled_from([100, 250, 500, 1000, 5000, 60_000]),
    now_us=st.integers(0, 4_000_000_000_000_000),
    ago_us=st.none() | st.integers(0, 10**12),
)
def test_every_fire_time_is_a_multiple_after_the_previous_and_never_two_behind(
    interval_ms: int, now_us: int, ago_us: int | None
) -> None:
    interval = timedelta(milliseconds=interval_ms)
    trigger = AlignedTrigger(interval)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    now = epoch + timedelta(microseconds=now_us)
    previous = None
    if ago_us is not None:
        earlier = epoch + timedelta(microseconds=max(0, now_us - ago_us))
        previous = trigger.get_next_fire_time(None, earlier) - interval
    fire = trigger.get_next_fire_time(previous, now)
    assert unix_ns(fire) % (interval_ms * 1_000_000) == 0
    assert previous is None or fire > previous
    assert now - interval < fire <= now + interval


def test_the_executor_passes_on_the_newest_of_several_run_times() -> None:
    got: list[tuple[int, int]] = []
    executor = LaneExecutor(lambda interval_ns, tick_ns: got.append((interval_ns, tick_ns)))

    class Due:
        id = str(S)

    executor.submit_job(Due(), [at(1), at(2)])  # type: ignore[arg-type]
    assert got == [(S, unix_ns(at(2)))]


def test_a_running_schedule_submits_exact_multiples_and_is_silent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got: list[tuple[int, int]] = []
    scheduler = TickScheduler(lambda interval_ns, tick_ns: got.append((interval_ns, tick_ns)))
    scheduler.every(S // 20)
    scheduler.every(S // 10)
    with caplog.at_level(logging.INFO):
        scheduler.start()
        until = time.monotonic() + 10
        while len(got) < 12 and time.monotonic() < until:
            time.sleep(scheduler.turn())
        scheduler.shutdown()
    assert len(got) >= 12
    assert all(tick_ns % interval_ns == 0 for interval_ns, tick_ns in got)
    assert len(set(got)) == len(got)
    assert caplog.records == []


def test_it_asks_for_a_turn_when_a_job_comes_that_may_be_due_sooner() -> None:
    asked: list[bool] = []
    scheduler = TickScheduler(lambda _i, _t: None, lambda: asked.append(True))
    scheduler.every(10 * S)
    scheduler.start()
    assert len(asked) == 1
    assert 0 < scheduler.turn() <= 10
    scheduler.every(S)
    assert len(asked) == 2
    assert 0 < scheduler.turn() <= 1
    scheduler.shutdown()
    assert scheduler.turn() > 100


def test_the_agent_loads_neither_asyncio_nor_multiprocessing_and_others_may() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"  # a coverage tool may have loaded them
        "import vedette.agent; new = sys.modules.keys() - before\n"
        "print('asyncio' in new, 'multiprocessing' in new)\n"
        "import asyncio, apscheduler.executors.pool\n"
        "asyncio.run, apscheduler.executors.pool.ProcessPoolExecutor"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_an_apscheduler_that_needs_more_of_asyncio_gets_the_real_one(tmp_path: Path) -> None:
    package = tmp_path / "apscheduler"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "util.py").write_text("from asyncio import iscoroutinefunction, get_event_loop\n")
    (package / "schedulers").mkdir()
    (package / "schedulers" / "base.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from vedette.lighter import lighter\n"
        "with lighter():\n    from apscheduler.util import get_event_loop\n"
        "print(sys.modules['asyncio'].run.__module__)"
    )
    # The package vedette.lanes itself imports APScheduler: the module is loaded alone.
    code = code.replace(
        "from vedette.lighter import lighter",
        f"import runpy; lighter = runpy.run_path({lighter.__file__!r})['lighter']",
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "asyncio.runners\n"
