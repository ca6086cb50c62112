"""The agent as a process: signals, service manager, second instance, restart, reload."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from vedette.control import ControlError, call

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0


def until(condition: Callable[[], object], what: str) -> object:
    """Wait until a condition holds; fails naming what was waited for."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            found = condition()
        except (ControlError, httpx.HTTPError):
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE_S:.0f} s for {what}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Place:
    """A directory with a configuration, an agent and a receiver that run on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.state = directory / "agent"
        self.config = directory / "agent.toml"
        self.plugins = directory / "plugins.d"
        self.plugins.mkdir(mode=0o755)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.configure()

    def configure(self, more: str = "") -> None:
        self.config.write_text(
            f'[agent]\nplugins_dir = "{self.plugins}"\n{more}\n'
            f'[outputs.otlp]\nendpoint = "http://127.0.0.1:{self.port}"\n'
        )

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        log = open(self.directory / f"{arguments[0]}.log", "ab")  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-m", "vedette", *arguments],
            stdout=log,
            stderr=log,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
        )
        log.close()
        self.processes.append(process)
        return process

    def agent(self, **environment: str) -> subprocess.Popen[bytes]:
        process = self.start(
            "run", "--config", str(self.config), "--state-dir", str(self.state), **environment
        )
        until(lambda: self.status()["pid"] == process.pid, "the agent")
        return process

    def receiver(self) -> subprocess.Popen[bytes]:
        process = self.start(
            "receive",
            "--listen",
            f"127.0.0.1:{self.port}",
            "--state-dir",
            str(self.directory / "receiver"),
        )
        until(lambda: self.get("/healthz"), "the receiver")
        return process

    def status(self) -> dict:
        return call(self.state, "status")

    def get(self, path: str) -> dict:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False).json()

    def log(self, verb: str = "run") -> str:
        return (self.directory / f"{verb}.log").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> float:
    """Send a signal; return how long the process took to end, in seconds."""
    began = time.monotonic()
    process.send_signal(number)
    process.wait(PATIENCE_S)
    return time.monotonic() - began


def test_sigterm_flushes_to_the_receiver_and_ends_within_five_seconds(place: Place) -> None:
    place.receiver()
    agent = place.agent()
    until(lambda: place.status()["series"] > 50, "series")
    assert Path(f"/proc/{agent.pid}/comm").read_text() == "vedette\n"
    assert os.sched_getscheduler(agent.pid) == os.SCHED_BATCH
    assert stop(agent) < 5
    assert agent.returncode == 0
    (host,) = place.get("/api/v1/hosts")["hosts"]
    assert host["missing"] == 0
    assert host["received"] >= 2
    assert host["collectors"]["cpu"] in {"ok", "stopped"}
    assert "agent state=stopped" in place.log()


def test_after_kill_9_of_agent_and_receiver_every_sequence_is_there_once(place: Place) -> None:
    receiver = place.receiver()
    agent = place.agent()
    until(lambda: place.get("/api/v1/hosts")["hosts"], "a first report")
    stop(receiver, signal.SIGKILL)
    before = place.status()["spool"]["appended"]
    until(lambda: place.status()["spool"]["appended"] > before + 1, "reports without a receiver")
    stop(agent, signal.SIGKILL)
    agent = place.agent()
    until(lambda: place.status()["series"] > 50, "series")
    place.receiver()
    assert stop(agent) < 5  # whatever its backoff: the end is one more try
    (epoch,) = place.get("/api/v1/completeness")["epochs"]
    assert epoch["missing"] == []
    assert epoch["first"] == 1
    assert epoch["received"] == epoch["contiguous"] == epoch["highest"]
    assert epoch["highest"] >= before + 2


def test_a_second_agent_on_one_state_directory_is_refused(place: Place) -> None:
    first = place.agent()
    second = subprocess.run(
        [
            sys.executable,
            "-m",
            "vedette",
            "run",
            "--config",
            str(place.config),
            "--state-dir",
            str(place.state),
        ],
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert second.returncode == 2
    assert f"another agent (pid {first.pid}) runs on".encode() in second.stderr
    assert place.status()["pid"] == first.pid


def test_sighup_takes_a_good_configuration_and_refuses_a_bad_one(place: Place) -> None:
    agent = place.agent()
    place.configure('log_level = "loud"\n[collectors.cpu]\nenabled = false')
    agent.send_signal(signal.SIGHUP)
    until(lambda: "reload state=refused" in place.log(), "the refusal")
    assert "cpu" in {one["name"] for one in place.status()["collectors"]}
    assert f"{place.config}:3" in place.log()
    place.configure("[collectors.cpu]\nenabled = false")
    agent.send_signal(signal.SIGHUP)
    until(lambda: "reload state=done" in place.log(), "the reload")
    assert "cpu" not in {one["name"] for one in place.status()["collectors"]}
    assert stop(agent) < 5


def test_the_service_manager_hears_ready_watchdog_and_stopping(place: Place) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = place.directory / "notify"
        manager.bind(str(address))
        manager.settimeout(PATIENCE_S)
        agent = place.agent(NOTIFY_SOCKET=str(address), WATCHDOG_USEC="400000")
        heard = manager.recv(4096).decode()
        assert "READY=1" in heard
        assert "WATCHDOG=1" in manager.recv(4096).decode()
        assert "series" in manager.recv(4096).decode()
        assert stop(agent) < 5
        manager.settimeout(0.2)
        rest = ""
        try:
            while True:
                rest += manager.recv(4096).decode() + "\n"
        except TimeoutError:
            pass
        assert "STOPPING=1" in rest


BROKEN_AND_WELL = """
import time
from vedette.api import Collector, gauge, hookimpl

class Sleeper(Collector):
    name = "sleeper"
    interval_s = 1.0
    level = gauge("test.sleeper", "1", "Never read.")
    def collect(self):
        time.sleep(3600)
        yield self.level(1.0)

class Raiser(Collector):
    name = "raiser"
    interval_s = 1.0
    level = gauge("test.raiser", "1", "Never read.")
    def collect(self):
        raise RuntimeError("out of luck")

class Well(Collector):
    name = "well"
    interval_s = 1.0
    level = gauge("test.well", "1", "Always 42.")
    def collect(self):
        yield self.level(42.0)

@hookimpl
def register_collectors():
    return [Sleeper, Raiser, Well]
"""


def test_a_drop_in_plugin_reaches_the_receiver_and_broken_ones_harm_nobody(place: Place) -> None:
    plugin = place.plugins / "trio.py"
    plugin.write_text(BROKEN_AND_WELL)
    plugin.chmod(0o644)
    place.receiver()
    agent = place.agent()

    def states() -> dict[str, dict]:
        return {one["name"]: one for one in place.status()["collectors"]}

    until(lambda: states()["sleeper"]["state"] == "stuck", "the sleeper to be called stuck")
    until(lambda: states()["raiser"]["state"] == "failing", "the raiser to be called failing")
    assert "out of luck" in states()["raiser"]["reason"]
    healthy = {name: one for name, one in states().items() if name not in ("sleeper", "raiser")}
    assert {one["state"] for one in healthy.values()} <= {"ok", "resting", "starting"}
    assert sum(one["skipped"] for one in healthy.values()) == 0
    assert place.status()["health"] == "degraded"
    (host,) = until(lambda: place.get("/api/v1/hosts")["hosts"], "a report")

    def names() -> set[str]:
        series = place.get(f"/api/v1/hosts/{host['agent']}/series")["series"]
        return {one["name"] for one in series}

    until(lambda: "test.well" in names(), "the series of the well one")
    listed = subprocess.run(
        [sys.executable, "-m", "vedette", "plugins", "--json", "--config", str(place.config)],
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert "trio" in json.dumps(json.loads(listed.stdout))
    collected = subprocess.run(
        [sys.executable, "-m", "vedette", "collect", "well", "--config", str(place.config)],
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert b"test.well" in collected.stdout
    assert b"42" in collected.stdout
    assert stop(agent) < 5
