"""Ask filesystems that may never answer: a helper process waits for them, the agent does not.

A thread that waits for a dead NFS server or FUSE daemon may be beyond the reach of signals, and
then so is its whole process: it can neither end nor be restarted. So a helper asks, one for all
mounts, started when there is a first one and kept. When a mount does not answer in time the helper
is killed, and the next mount is asked by a new one. A helper that cannot be killed is left behind,
never waited for, and reaped when it ends, which is also the sign that its mount is back; there are
never more than a few, and not two for one mount. A mount that hangs is asked ever more seldom.

Whatever hangs, one call of ``read`` takes no longer than its budget: what it did not get to is
first at the next.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from vedette_plugins import _mount_helper

#: What is asked: a number that tells mounts at the same path apart, and the path.
Target = tuple[int, bytes]
#: ``TimeoutError`` where the mount hangs, another ``OSError`` where asking it failed.
Answer = os.statvfs_result | OSError

#: Time for all mounts together; less than the deadline of the collector that asks.
BUDGET_S = 4.5
#: With less time than this left no mount is asked any more.
LEAST_S = 0.1
#: Time for a helper to start; it is given more at the next call.
START_S = 2.0
#: First and longest pause before a mount that hangs is asked again.
PAUSE_S, PAUSE_MAX_S = 30.0, 600.0
#: Helpers that could not be killed and have not ended; no new one is started then.
STUCK_MAX = 4
#: A killed helper has 15 ms to be gone.
GRACE_S = (0.0, 0.001, 0.002, 0.004, 0.008)
#: Errors of a filesystem that is there and does not work; others say that it is gone or not ours.
FAULTS = frozenset(
    {
        errno.EIO,
        errno.ENXIO,
        errno.ENODEV,
        errno.EUCLEAN,
        errno.EREMOTEIO,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
        errno.ETIMEDOUT,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ESTALE,
    }
)
_ASKED_NEVER = float("-inf")


class MountReader:
    """The one helper at work and those left behind; to be used from one thread."""

    def __init__(
        self, timeout_s: float, *, budget_s: float = BUDGET_S, command: tuple[str, ...] = ()
    ) -> None:
        self.monotonic: Callable[[], float] = time.monotonic
        self.kill: Callable[[int], None] = _kill
        self._timeout_s = min(max(timeout_s, LEAST_S), budget_s)
        self._budget_s = budget_s
        self._command = command or (sys.executable, "-I", "-S", _mount_helper.__file__)
        self._helper: _Helper | None = None
        self._states: dict[Target, _State] = {}
        self._stuck: dict[Target, int] = {}

    def read(self, targets: Collection[Target]) -> Iterator[tuple[Target, Answer]]:
        """Yield the answer of each target; what there was no time for is left out."""
        self._reap()
        if not targets:
            self.close()
            return
        self._states = {target: self._states.get(target) or _State() for target in targets}
        deadline = self.monotonic() + self._budget_s
        for target in sorted(targets, key=lambda one: self._states[one].turn):
            answer = self._ask(target, self._states[target], deadline)
            if answer is not None:
                yield target, answer

    def close(self) -> None:
        """End the helper, at once and whatever it waits for; safe twice."""
        helper, self._helper = self._helper, None
        if helper is not None:
            self._end(helper)

    def _ask(self, target: Target, state: _State, deadline: float) -> Answer | None:
        now = self.monotonic()
        if target in self._stuck or now < state.retry_at:
            return TimeoutError(errno.ETIMEDOUT, "has not answered")
        helper = self._ready(deadline - now)
        left_s = deadline - self.monotonic()
        if helper is None or left_s < LEAST_S:
            return None
        line = helper.ask(target[1], min(left_s, self._timeout_s))
        if line:
            state.asked_at, state.pause_s = now, 0.0
            return _parsed(line)
        self._helper = None
        if not self._end(helper):
            self._stuck[target] = helper.pid
        elif line is None or left_s < self._timeout_s:
            return None  # the helper died, or there was too little time to tell
        state.hangs(now, self.monotonic())
        return TimeoutError(errno.ETIMEDOUT, "does not answer")

    def _ready(self, left_s: float) -> _Helper | None:
        """Return a helper that waits for a question; None where there is none in time."""
        if self._helper is None:
            if len(self._stuck) >= STUCK_MAX:
                return None
            try:
                self._helper = _Helper(self._command)
            except OSError:
                return None
        helper = self._helper
        if not helper.greeted:
            line = helper.line(max(0.0, min(left_s - LEAST_S, START_S)))
            if line is None:
                self.close()
            helper.greeted = line == _mount_helper.READY
        return helper if helper.greeted else None

    def _end(self, helper: _Helper) -> bool:
        """Kill a helper and let go of it; returns whether it is gone."""
        helper.close()
        self.kill(helper.pid)
        for pause_s in GRACE_S:
            time.sleep(pause_s)
            if _reaped(helper.pid):
                return True
        return False

    def _reap(self) -> None:
        """Reap the helpers that have ended since; what they hung in is asked again at once."""
        for target, pid in list(self._stuck.items()):
            if _reaped(pid):
                del self._stuck[target]
                if target in self._states:
                    self._states[target].retry_at = 0.0


class _State:
    """When a mount was asked last, and when it is asked again if it hangs."""

    __slots__ = ("asked_at", "pause_s", "retry_at")

    def __init__(self) -> None:
        self.asked_at = _ASKED_NEVER
        self.pause_s = 0.0
        self.retry_at = 0.0

    @property
    def turn(self) -> tuple[bool, float]:
        """Sorts what hung last to the end, and what was not asked for longest to the front."""
        return self.pause_s > 0, self.asked_at

    def hangs(self, asked_at: float, now: float) -> None:
        self.asked_at = asked_at
        self.pause_s = min(max(self.pause_s * 2, PAUSE_S), PAUSE_MAX_S)
        self.retry_at = now + self.pause_s


class _Helper:
    """One helper process and the pipes to and from it."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.greeted = False
        child_input, self._questions = os.pipe()
        self._answers, child_output = os.pipe()
        try:
            self.pid = os.posix_spawn(
                command[0],
                command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, child_input, 0),
                    (os.POSIX_SPAWN_DUP2, child_output, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setpgroup=0,  # Ctrl-C at the agent's terminal is not for it
                setsigmask=(),
            )
        except BaseException:
            self.close()
            raise
        finally:
            os.close(child_input)
            os.close(child_output)
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    def ask(self, path: bytes, patience_s: float) -> bytes | None:
        """Return the helper's line about a path, empty when none came, None when it died."""
        try:
            # The pipe is empty and a path shorter than it: this does not wait.
            os.write(self._questions, path + b"\0")
        except BrokenPipeError:
            return None
        return self.line(patience_s)

    def line(self, patience_s: float) -> bytes | None:
        """Return the next line; empty when none came, None when it died. Lines come whole."""
        if not self._poll.poll(patience_s * 1000):
            return b""
        return os.read(self._answers, 4096).rstrip(b"\n") or None

    def close(self) -> None:
        os.close(self._questions)
        os.close(self._answers)


def _parsed(line: bytes) -> Answer:
    numbers = [int(number) for number in line.split()]
    if len(numbers) == 1:
        return OSError(numbers[0], os.strerror(numbers[0]))
    return os.statvfs_result(numbers)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _reaped(pid: int) -> bool:
    """Reap a child if it has ended; never waits."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True
