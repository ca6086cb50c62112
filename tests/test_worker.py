"""A collector in a process of its own: what it may do to the agent is nothing."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette.api import Collector, Duration, Event, Frame, Host, Record, Secret, Size, Unavailable
from vedette.lanes import Assignment, Lanes
from vedette.lanes.isolation import ProcessCollector, WorkerError
from vedette.lanes.reading import Late
from vedette.lanes.runner import Runner
from vedette.worker import from_options, load_class, to_options

PLUGIN = '''
import os, sys, time
from pathlib import Path
import msgspec
from vedette.api import *

class Options(msgspec.Struct, frozen=True):
    """What to do."""
    mode: str = ""
    wait: Duration = Duration(0.0)
    token: Secret | None = None

class Foreign(Collector):
    """Does what its configuration says."""
    name = "foreign"
    Config = Options
    isolation = "process"
    load = gauge("foreign.load", "1", "A load.", ["cpu"])
    total = counter("foreign.total", "1", "A total.")
    ticks = 0
    hoard = b""

    def probe(self):
        if self.config.mode == "absent":
            raise Unavailable("no such thing")

    def collect(self):
        self.ticks += 1
        mode = self.config.mode
        if mode == "hang" and self.ticks > 1:
            time.sleep(60)
        elif mode == "die":
            print("chatter", file=sys.stderr)
            print("out of cheese", file=sys.stderr)
            os._exit(7)
        elif mode == "leave":
            raise SystemExit(9)
        elif mode == "raise":
            raise ValueError("bad line")
        elif mode == "garbage":
            for fd in range(3, 20):
                try:
                    os.write(fd, b"\\xff\\xff\\xff\\xff garbage")
                except OSError:
                    pass
        elif mode == "leak":
            self.hoard += b"x" * (80 << 20)
        elif mode == "leak and hang":
            self.hoard += b"x" * (80 << 20)
            time.sleep(60)
        elif mode == "print":
            print("to stdout")
            os.system("echo from a child")
            sys.stdin.read()
        elif mode == "read":
            yield self.total(float((Path(self.host.proc) / "total").read_text()))
            return
        elif mode == "stray":
            yield gauge("foreign.stray", "1", "Undeclared.")(1.0)
            yield "no sample"
        yield self.load(0.5, "0")
        yield self.total(float("nan"))
        yield Usage("cpu", "process", "x", str(os.getpid()), 0.5, "half")
        yield Event(7, "deploy", "shop", "v2 came")
        yield Record("foreign.told", 7, "A word.", {"of": ["a", 1, {"b": True}]}, 17, "one")
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "foreign.py"
    path.write_text(textwrap.dedent(PLUGIN))
    return path


@pytest.fixture
def foreign(plugin: Path) -> Iterator[Callable[..., ProcessCollector]]:
    made: list[ProcessCollector] = []

    def make(mode: str = "", **settings: Any) -> ProcessCollector:
        made.append(
            ProcessCollector(
                inner(plugin, mode),
                origin=str(plugin),
                **({"memory_bytes": 256 << 20, "timeout_s": 20.0} | settings),
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


def inner(plugin: Path, mode: str, **options: Any) -> Collector:
    kind = load_class(str(plugin), "Foreign")
    return kind(kind.Config(mode=mode, **options))


def pid_of(one: ProcessCollector) -> int:
    assert one._child is not None
    return one._child.pid


def gone(pid: int) -> bool:
    """Tell whether a process ends within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_readings_and_suspects_cross_the_pipe(foreign: Callable[..., ProcessCollector]) -> None:
    one = foreign()
    one.probe()
    items: list[Any] = list(one.collect())
    assert [item.series.key for item in items[:2]] == ["foreign.load{cpu=0}", "foreign.total"]
    assert items[0].value == 0.5
    assert items[1].value != items[1].value
    assert items[2].id == str(pid_of(one)) != str(os.getpid())
    assert one.cpu_ns > 0


def test_the_worker_gets_options_host_and_a_lower_priority(plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "total").write_text("42")
    source = inner(plugin, "read", token=Secret(env="NO_SUCH"), wait=Duration(1.5))
    source.host = Host(proc=str(tmp_path))
    one = ProcessCollector(source, origin=str(plugin), memory_bytes=256 << 20, timeout_s=20.0)
    one.probe()
    (sample,) = list(one.collect())
    assert sample.value == 42.0  # type: ignore[union-attr]
    assert os.getpriority(os.PRIO_PROCESS, pid_of(one)) > os.getpriority(os.PRIO_PROCESS, 0)
    pid = pid_of(one)
    one.close()
    one.close()
    assert gone(pid)


def test_an_absent_source_is_unavailable_and_leaves_no_worker_waiting(
    foreign: Callable[..., ProcessCollector],
) -> None:
    one = foreign("absent")
    with pytest.raises(Unavailable, match="no such thing"):
        one.probe()
    assert not one.alive


def test_a_worker_that_hangs_is_killed_at_the_deadline(
    foreign: Callable[..., ProcessCollector],
) -> None:
    one = foreign("hang", timeout_s=5.0)
    one.probe()
    list(one.collect())
    pid = pid_of(one)
    one._timeout_s = 0.1
    with pytest.raises(Late):
        list(one.collect())
    assert not one.alive
    assert gone(pid)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("die", "the worker exited with status 7: out of cheese"),
        ("leave", "the worker exited with status 9"),
        ("garbage", "the worker sent garbage"),
    ],
)
def test_a_worker_that_dies_or_babbles_is_a_failure_with_its_reason(
    foreign: Callable[..., ProcessCollector], mode: str, why: str
) -> None:
    one = foreign(mode)
    one.probe()
    with pytest.raises(WorkerError, match=why):
        list(one.collect())
    assert not one.alive
    one.probe()  # a new one
    assert one.starts == 2


def test_an_exception_in_the_worker_is_told_and_the_worker_kept(
    foreign: Callable[..., ProcessCollector],
) -> None:
    one = foreign("raise")
    one.probe()
    for _ in range(2):
        with pytest.raises(WorkerError, match="ValueError: bad line"):
            list(one.collect())
    assert one.starts == 1


@pytest.mark.parametrize("mode", ["leak", "leak and hang"])
def test_a_worker_past_its_memory_limit_is_ended(
    foreign: Callable[..., ProcessCollector], mode: str
) -> None:
    one = foreign(mode, memory_bytes=64 << 20)
    one.probe()
    pid = pid_of(one)
    with pytest.raises(WorkerError, match="MiB, 64 MiB allowed"):
        list(one.collect())
    assert gone(pid)


def test_what_a_plugin_prints_or_reads_does_not_disturb_the_pipe(
    foreign: Callable[..., ProcessCollector],
) -> None:
    one = foreign("print")
    one.probe()
    for _ in range(3):
        assert len(list(one.collect())) == 5


def test_undeclared_readings_are_counted_not_sent(foreign: Callable[..., ProcessCollector]) -> None:
    one = foreign("stray")
    one.probe()
    assert len(list(one.collect())) == 5
    assert one.invalid == 2


def test_a_plugin_that_cannot_be_imported_is_a_failure_with_its_reason(
    foreign: Callable[..., ProcessCollector], plugin: Path
) -> None:
    one = foreign()
    plugin.write_text("import no_such_library")
    with pytest.raises(WorkerError, match="ModuleNotFoundError: No module named 'no_such_library'"):
        one.probe()
    assert not one.alive


def test_a_program_that_is_no_worker_is_refused(plugin: Path) -> None:
    one = ProcessCollector(
        inner(plugin, ""),
        memory_bytes=256 << 20,
        timeout_s=5.0,
        command=(sys.executable, "-c", "import sys; sys.stdout.write('hello, I am no worker')"),
    )
    with pytest.raises(WorkerError, match="sent garbage"):
        one.probe()


def test_kill_from_another_thread_frees_a_call(foreign: Callable[..., ProcessCollector]) -> None:
    one = foreign("hang", timeout_s=30.0)
    one.probe()
    list(one.collect())
    timer = threading.Timer(0.05, one.kill)
    timer.start()
    with pytest.raises(WorkerError, match="killed by signal 9"):
        list(one.collect())
    timer.join()


def test_a_worker_ends_with_the_thread_that_started_it(
    foreign: Callable[..., ProcessCollector],
) -> None:
    one = foreign("hang")
    thread = threading.Thread(target=one.probe)
    thread.start()
    pid = pid_of_started(one)
    thread.join(20)
    assert gone(pid)


def pid_of_started(one: ProcessCollector) -> int:
    until = time.monotonic() + 10
    while one._child is None:
        assert time.monotonic() < until
        time.sleep(0.001)
    return one._child.pid


def test_the_runner_starts_a_new_worker_after_a_death_and_counts(plugin: Path) -> None:
    source = inner(plugin, "")
    runner = Runner(
        Assignment(source, 1.0, timeout_s=20.0, isolation="process", origin=str(plugin)),
        max_series=10,
    )
    try:
        first = runner.run(1_000_000_000)
        assert isinstance(first, Frame)
        assert first.collector == "foreign"
        assert first.events == (Event(7, "deploy", "shop", "v2 came"),)
        told = Record("foreign.told", 7, "A word.", {"of": ["a", 1, {"b": True}]}, 17, "one")
        assert first.records == (told,)
        os.kill(int(first.usages[0].id), signal.SIGKILL)
        assert runner.run(2_000_000_000) is None
        second = runner.run(3_000_000_000)
        assert second is not None
        assert second.series is first.series
        assert second.usages[0].id != first.usages[0].id
        status = runner.status()
        assert (status.failures, status.state, status.lane) == (1, "ok", "foreign")
        assert status.cpu_s > 0.01  # the interpreters' start, seen from here
    finally:
        runner.close()


def test_stopping_frees_a_lane_that_waits_for_a_worker_and_leaves_no_process(plugin: Path) -> None:
    assignment = Assignment(
        inner(plugin, "hang"), 1.0, timeout_s=60.0, isolation="process", origin=str(plugin)
    )
    frames: list[Frame] = []
    got = threading.Event()

    def deliver(batch: tuple[Frame, ...]) -> None:
        frames.extend(batch)
        got.set()

    lanes = Lanes([assignment], deliver, base_interval_s=1.0, max_series=10)
    lane = lanes._own["foreign"]
    lanes.tick(1_000_000_000, 1_000_000_000)
    assert got.wait(20)
    while not lane.idle:
        time.sleep(0.001)
    lanes.tick(1_000_000_000, 2_000_000_000)
    lanes.stop(2.0)
    assert lanes.status()[0].state == "stopped"
    assert gone(int(frames[0].usages[0].id))


def test_options_survive_the_way_there_secrets_only_by_reference() -> None:
    class Options(msgspec.Struct, frozen=True):
        wait: Duration = Duration(1.5)
        cap: Size = Size(3)
        token: Secret | None = None
        names: tuple[str, ...] = ("a",)

    there = msgspec.msgpack.decode(
        msgspec.msgpack.encode(to_options(Options(token=Secret(file="/etc/token"))))
    )
    back = from_options(there, Options)
    assert isinstance(back, Options)
    assert (back.wait, back.cap, back.names) == (1.5, 3, ("a",))
    assert isinstance(back.wait, Duration)
    assert back.token is not None
    assert back.token.file == "/etc/token"


def test_a_class_is_found_by_module_or_file_and_must_be_a_collector(plugin: Path) -> None:
    assert load_class(str(plugin), "Foreign").name == "foreign"
    assert load_class("vedette.lanes.metrics", "RunnerMetrics").name == "vedette"
    with pytest.raises(TypeError, match="is no collector"):
        load_class("vedette.api", "Host")
