"""Ask ``smartctl`` about one disk, without ever waiting for it longer than agreed.

A disk that hangs keeps its ``smartctl`` in the kernel, where nothing can kill it. Such a process is
left alone and remembered; the disk is not asked again before it is gone, so there is never more
than one per disk.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from vedette_plugins._procfs import printable

if TYPE_CHECKING:
    from subprocess import Popen

#: An answer is some 10 KB; what is longer is none.
ANSWER_MAX = 1 << 20
#: Where administrators' programs are, should PATH not say.
PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin", "/usr/local/bin")
#: Exit status asked for when a disk sleeps, which no failure has.
ASLEEP = 3
REASON_MAX = 160


class Answer(NamedTuple):
    """What became of a question: ``data`` when the disk answered, else why not."""

    data: dict[str, Any] | None
    reason: str = ""
    is_asleep: bool = False


def find_program(name: str) -> str | None:
    """Return the path of an executable, looked up when it is a name only."""
    if "/" in name:
        return name if os.access(name, os.X_OK) else None
    places = [*os.environ.get("PATH", "").split(":"), *PLACES]
    paths = (f"{place}/{name}" for place in places if place.startswith("/"))
    return next((path for path in paths if os.access(path, os.X_OK)), None)


class Asker:
    """Runs the program; one question at a time."""

    def __init__(self) -> None:
        self._hung: dict[str, Popen[bytes]] = {}

    def ask(self, argv: list[str], disk: str, timeout_s: float) -> Answer:
        """Ask about a disk; the last argument names its device."""
        hung = self._hung.get(disk)
        if hung is not None and hung.poll() is None:
            return Answer(None, "an earlier smartctl still hangs")
        self._hung.pop(disk, None)
        try:
            status, output = self._run(argv, disk, timeout_s)
        except OSError as error:
            return Answer(None, f"{argv[0]} cannot be run: {error.strerror}")
        if status is None:
            return Answer(None, f"no answer within {timeout_s:g} s")
        if status == ASLEEP:
            return Answer(None, is_asleep=True)
        return parse(output)

    def _run(self, argv: list[str], disk: str, timeout_s: float) -> tuple[int | None, bytes]:
        """Return exit status and output; the status is None when it took too long or too much."""
        import subprocess

        deadline = time.monotonic() + timeout_s
        process = subprocess.Popen(  # noqa: S603 - the operator's program, no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", ":".join(PLACES)), "LC_ALL": "C"},
            # A wrapper's children are ended with it.
            start_new_session=True,
        )
        output = status = None
        try:
            if process.stdout is not None:
                output = read_all(process.stdout.fileno(), deadline)
            if output is not None:
                status = process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process.stdout is not None:
                process.stdout.close()
            if process.poll() is None:
                self._end(process, disk)
        return status, output or b""

    def _end(self, process: Popen[bytes], disk: str) -> None:
        import subprocess

        try:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(0.5)
        except ProcessLookupError:
            process.poll()
        except subprocess.TimeoutExpired:
            self._hung[disk] = process


def read_all(descriptor: int, deadline: float) -> bytes | None:
    """Return all that a process prints; None when it takes too long or prints too much."""
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    parts: list[bytes] = []
    length = 0
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000.0):
            return None
        part = os.read(descriptor, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
        length += len(part)
        if length > ANSWER_MAX:
            return None


def parse(output: bytes) -> Answer:
    """Return what a disk said, or the reason smartctl gives for its silence."""
    try:
        data = msgspec.json.decode(output)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return Answer(None, "the answer is not JSON (smartctl 7.0 or later is needed)")
    if "smart_status" in data or "temperature" in data or "power_on_time" in data:
        return Answer(data)
    head = data.get("smartctl")
    messages = head.get("messages") if isinstance(head, dict) else None
    for message in messages if isinstance(messages, list) else ():
        text = message.get("string") if isinstance(message, dict) else None
        if isinstance(text, str) and text:
            return Answer(None, printable(text.encode("utf-8", "replace"), REASON_MAX))
    return Answer(None, "the disk has no SMART")
