"""`vedette up`: two children, one address, incidents as they happen, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from vedette.api import Incident, Suspect
from vedette.control import ControlError, call
from vedette.up import StackError, address, changes, tail

S = 1_000_000_000


def incident(
    id: str = "a", *, title: str = "busy", severity: str = "warning", suspect: str = "", at: int = 1
) -> Incident:
    return Incident(
        id=id,
        state="open",
        severity=severity,  # type: ignore[arg-type]
        resource="cpu",
        title=title,
        onset_ns=0,
        opened_ns=S,
        updated_ns=at * S,
        resolved_ns=None,
        series=(),
        suspects=(Suspect("process", suspect, "1", 0.5, "half"),) if suspect else (),
    )


def resolved(one: Incident) -> Incident:
    from msgspec.structs import replace

    return replace(one, state="resolved", resolved_ns=9 * S, updated_ns=9 * S)


def kinds(known: dict[str, Incident], *found: Incident) -> list[tuple[str, str]]:
    return [(change.kind, change.incident.id) for change in changes(known, found)]


def test_an_incident_is_told_when_it_opens_changes_and_ends_and_not_in_between() -> None:
    known: dict[str, Incident] = {}
    assert kinds(known, incident()) == [("opened", "a")]
    assert kinds(known, incident(at=5)) == []
    assert kinds(known, incident(severity="critical")) == [("changed", "a")]
    assert kinds(known, incident(severity="critical", suspect="stress")) == [("changed", "a")]
    assert kinds(known, resolved(incident())) == [("resolved", "a")]
    assert kinds(known, resolved(incident())) == []


def test_an_incident_that_came_and_went_between_two_looks_is_told_whole() -> None:
    assert kinds({}, resolved(incident())) == [("opened", "a"), ("resolved", "a")]


def test_news_are_told_oldest_first_and_what_the_agent_forgot_is_forgotten() -> None:
    known: dict[str, Incident] = {}
    assert kinds(known, incident("new", at=5), incident("old", at=2)) == [
        ("opened", "old"),
        ("opened", "new"),
    ]
    assert kinds(known, incident("new", at=5)) == []
    assert set(known) == {"new"}


def test_a_log_is_shown_from_its_end_and_from_this_run_only(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_bytes(b"of before\n" + b"".join(b"line %d\n" % i for i in range(50)) + b"\xff\n")
    assert tail(log, 10, 2) == ["line 49", "\ufffd"]
    assert "of before" not in tail(log, 10, 100)
    assert tail(tmp_path / "none", 0, 5) == []


@pytest.mark.parametrize("wrong", ["4319", ":4319", "host:", "host:0", "host:70000", "host:x"])
def test_an_address_without_host_or_port_is_refused(wrong: str) -> None:
    with pytest.raises(StackError, match="no HOST:PORT"):
        address(wrong)
    assert address("[::1]:4319") == ("::1", 4319)


# ---------------------------------------------------------------- the whole


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def answers(state_dir: Path) -> bool:
    try:
        return bool(call(state_dir, "status"))
    except ControlError:
        return False


class Up:
    """A running `vedette up` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        config = directory / "agent.toml"
        config.write_text(
            f'[receiver]\nlisten = "127.0.0.1:{self.port}"\n'
            f'[outputs.otlp]\nendpoint = "http://127.0.0.1:{self.port}"\n'
        )
        config.chmod(0o600)
        self.directory = directory
        self.output = directory / "output"
        with open(self.output, "wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vedette", "up"],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.output.read_text("utf-8")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def ready(self) -> list[psutil.Process]:
        """Wait until the agent answers; return the children."""
        assert until(lambda: answers(self.directory / ".run" / "agent"), 30), self.said
        return self.children()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(20)


def gone(processes: list[psutil.Process]) -> bool:
    return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in processes)


@pytest.mark.slow
def test_receiver_and_agent_run_together_and_end_together(up: Up) -> None:
    children = up.ready()
    assert len(children) == 2
    assert f"http://127.0.0.1:{up.port}/" in up.said
    assert "stays empty" not in up.said
    with urllib.request.urlopen(f"http://127.0.0.1:{up.port}/healthz", timeout=5) as answer:
        assert answer.status == 200
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(15) == 0
    assert gone(children)
    assert "Traceback" not in up.said


@pytest.mark.slow
def test_the_death_of_one_ends_the_other_and_shows_the_end_of_its_log(up: Up) -> None:
    children = up.ready()
    agent = next(one for one in children if "run" in one.cmdline())
    agent.kill()
    assert up.process.wait(15) == 2
    assert gone(children)
    assert "the agent was killed by signal 9" in up.said
    assert "  | " in up.said


@pytest.mark.slow
def test_nothing_is_left_when_it_is_killed_itself(up: Up) -> None:
    children = up.ready()
    up.process.kill()
    up.process.wait(10)
    assert until(lambda: gone(children), 15)


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        config = tmp_path / "agent.toml"
        config.write_text(f'[receiver]\nlisten = "{listen}"\n')
        config.chmod(0o600)
        done = subprocess.run(
            [sys.executable, "-m", "vedette", "up", "--config", str(config)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"vedette: cannot listen on {listen}: Address already in use\n")
    assert "[receiver] listen" in done.stderr
    assert not (tmp_path / ".run").exists()
