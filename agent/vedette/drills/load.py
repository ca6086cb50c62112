"""Run a planned fault in child processes that leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Self

from vedette.drills.plan import Drill

__all__ = ["Load"]

#: How long children may take to end when asked, and their cleaners to clean up.
STOP_S, CLEAN_S = 5.0, 20.0


class Load:
    """The child processes of a drill; a context manager that leaves none behind.

    A fault with a lead works normally until ``begin``, and again after ``end``; any other begins
    with the block. All end by themselves after ``lasts_s``, by default lead and drill together.
    """

    def __init__(self, drill: Drill, lasts_s: float | None = None) -> None:
        self.drill = drill
        lead_s = drill.fault.lead_s
        self.lasts_s = lasts_s if lasts_s is not None else lead_s + drill.seconds
        self.children: list[subprocess.Popen[bytes]] = []
        self._phased = lead_s > 0
        self._failure = ""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def begin(self) -> None:
        """Turn the fault on, where it needed a lead."""
        self._tell(b"on\n")

    def end(self) -> None:
        """Turn the fault off, where it needed a lead."""
        self._tell(b"off\n")

    def running(self) -> bool:
        """Return whether any child still works."""
        return any(child.poll() is None for child in self.children)

    def failure(self) -> str:
        """Return why a child that ended did not do its work; empty when all is well."""
        for child in self.children:
            if not self._failure and child.poll() not in (None, 0):
                said = child.stderr.read(2000).decode("utf-8", "replace") if child.stderr else ""
                self._failure = said.strip() or f"it ended with {child.returncode}"
        return self._failure

    def stop(self) -> None:
        """End what still runs, reap it, wait until it is cleaned up; safe twice."""
        for child in self.children:
            if child.poll() is None:
                child.terminate()
        for child in self.children:
            try:
                child.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(timeout=10)
            if child.stdin:
                with contextlib.suppress(OSError):
                    child.stdin.close()
            if child.stderr and not child.stderr.closed:
                _await_end(child.stderr.fileno(), CLEAN_S)
                child.stderr.close()

    def _tell(self, word: bytes) -> None:
        for child in self.children:
            if child.stdin:
                with contextlib.suppress(OSError):  # it has ended: running() and failure() say so
                    child.stdin.write(word)
                    child.stdin.flush()

    def _start(self) -> None:
        drill = self.drill
        if drill.name == "network":
            with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
                fd = listener.fileno()
                self._child("network-receive", "--listener", str(fd), keep=(fd,))
                self._child("network", "--port", str(listener.getsockname()[1]))
        else:
            for _ in range(drill.amount if drill.name == "cpu" else 1):
                like = ("--like", "vllm") if drill.name == "model" else ()
                self._child(drill.name, "--port", str(drill.port), *like)

    def _child(self, kind: str, *arguments: str, keep: Sequence[int] = ()) -> None:
        drill = self.drill
        command = [sys.executable, "-m", "vedette.drills.child", kind, "--name", drill.fault.comm]
        command += ["--seconds", str(self.lasts_s), "--parent", str(os.getpid())]
        command += ["--amount", str(drill.amount), "--rate", str(drill.rate), "--path", drill.path]
        self.children.append(
            subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, *arguments],
                stdin=subprocess.PIPE if self._phased else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=keep,
                # Without a terminal: who is stopped at one was stopped by somebody there.
                start_new_session=True,
            )
        )


def _await_end(pipe: int, seconds: float) -> None:
    """Read a pipe until nobody holds its other end: a cleaner does until it is done."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([pipe], [], [], left)
        if ready and not os.read(pipe, 4096):
            return
