"""Run receiver and agent as children of one command and print incidents as they happen.

For a first look and for development: state and logs lie under one directory, nothing is installed,
and when this process ends, however it ends, both children end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

import msgspec

from vedette.api import Incident
from vedette.control import ControlError, call

__all__ = ["Change", "Child", "Stack", "StackError", "changes", "stopping", "tail"]

PR_SET_PDEATHSIG = 1
#: How long the receiver may take until it accepts connections.
ACCEPT_S = 20.0
#: The agent flushes to the receiver first, then the receiver closes its files: 6 s in all.
AGENT_STOP_S = 3.5
RECEIVER_STOP_S = 2.0
#: A log larger than this at the start becomes ``.old``.
LOG_BYTES = 4 * 1024 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class StackError(Exception):
    """One of the two did not start, or ended; ``log`` has the last lines it wrote."""

    def __init__(self, text: str, remedy: str = "", log: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.remedy = remedy
        self.log = tuple(log)


class Change(msgspec.Struct, frozen=True):
    """An incident that is new, different, or over since the last look."""

    kind: str
    incident: Incident


class Child:
    """A child process with its log file, that dies with this process and is stopped politely."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_name(log.name + ".old"))
        self._parent = os.getpid()
        with open(log, "ab") as file:
            self._start = file.tell()
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "vedette", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
                preexec_fn=self._tie,  # noqa: PLW1509 - this process has one thread
                process_group=0,  # Ctrl-C reaches this process only; it ends both in order
            )

    def _tie(self) -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != self._parent:
            os._exit(1)

    def check(self) -> None:
        """Raise ``StackError`` with the end of its log when it has ended."""
        code = self.process.poll()
        if code is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise StackError(f"the {self.name} {how}", f"Its log is {self.log}.", self.tail())

    def tail(self, lines: int = 20) -> list[str]:
        """Return the last lines it wrote in this run."""
        return tail(self.log, self._start, lines)

    def stop(self, timeout_s: float) -> bool:
        """Ask it to end, and kill it after the timeout; return whether it ended by itself."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            return False
        return True


class Stack:
    """Receiver and agent together; a context manager that leaves neither behind."""

    def __init__(self, directory: Path, listen: str, config: Path) -> None:
        self.directory = directory
        self.agent_dir = directory / "agent"
        self.listen = listen
        self.config = config
        self.agent: Child | None = None
        self.receiver: Child | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raise ``StackError`` when either has ended."""
        for child in (self.receiver, self.agent):
            if child is not None:
                child.check()

    def stop(self) -> list[str]:
        """End both, the agent first so that it can hand over; return which had to be killed."""
        killed = []
        for child, timeout_s in ((self.agent, AGENT_STOP_S), (self.receiver, RECEIVER_STOP_S)):
            if child is not None and not child.stop(timeout_s):
                killed.append(child.name)
        return killed

    def _start(self) -> None:
        host, port = address(self.listen)
        _claim(host, port)
        config = ["--config", str(self.config)]
        state = str(self.directory / "receiver")
        self.receiver = Child(
            "receiver",
            ["receive", *config, "--listen", self.listen, "--state-dir", state],
            self.directory / "receiver.log",
        )
        self._await_receiver(host, port)
        self.agent = Child(
            "agent",
            ["run", *config, "--state-dir", str(self.agent_dir)],
            self.directory / "agent.log",
        )

    def _await_receiver(self, host: str, port: int) -> None:
        assert self.receiver is not None  # noqa: S101 - _start() made it
        deadline = time.monotonic() + ACCEPT_S
        while time.monotonic() < deadline:
            self.receiver.check()
            with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
                return
            time.sleep(0.05)
        raise StackError(
            f"the receiver does not accept connections on {self.listen} after {ACCEPT_S:.0f} s",
            f"Its log is {self.receiver.log}.",
            self.receiver.tail(),
        )


def address(listen: str) -> tuple[str, int]:
    """Split ``HOST:PORT`` (``[::1]:4319`` too); raises ``StackError`` when it is none."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise StackError(f"{listen!r} is no HOST:PORT", "Set [receiver] listen in agent.toml.")
    return host.strip("[]"), int(port)


def _claim(host: str, port: int) -> None:
    """Find out before anything starts whether the port is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise StackError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            "Is another `vedette up` or receiver running? End it, or set [receiver] listen and "
            "the output's endpoint to another port in agent.toml.",
        ) from None


# ---------------------------------------------------------------- what happens meanwhile


def incidents_of(state_dir: Path) -> list[Incident] | None:
    """Return all incidents the agent knows; None while it does not answer (yet)."""
    try:
        answer = call(state_dir, "incidents", timeout_s=3, all=True)
    except ControlError:
        return None
    return msgspec.convert(answer["incidents"], list[Incident])


def changes(known: dict[str, Incident], found: Sequence[Incident]) -> list[Change]:
    """Return what is new since the last look, oldest first, and bring ``known`` up to date.

    An incident changed when a person would read something else: its severity, its sentence, its
    first suspect. ``known`` keeps what the agent still knows, so it cannot grow for ever.
    """
    news = []
    for incident in sorted(found, key=lambda one: one.updated_ns):
        before = known.get(incident.id)
        if before is None:
            news.append(Change("opened", incident))
        if incident.state == "resolved":
            if before is None or before.state == "open":
                news.append(Change("resolved", incident))
        elif before is not None and _meaning(before) != _meaning(incident):
            news.append(Change("changed", incident))
    known.clear()
    known.update((one.id, one) for one in found)
    return news


def _meaning(incident: Incident) -> tuple[str, str, str]:
    first = incident.suspects[0].name if incident.suspects else ""
    return incident.severity, incident.title, first


def tail(path: Path, start: int, lines: int) -> list[str]:
    """Return the last lines of a file, not looking before byte ``start``."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return list(deque(text.splitlines(), maxlen=lines))


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag for the duration; yield what reads it."""
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
