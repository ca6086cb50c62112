"""Say which process serves: since when, its command with secrets masked, its unit or container."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from vedette.serving.inventory import Holder
from vedette.serving.listening import Process

if TYPE_CHECKING:
    from vedette.redact.redactor import Redactor

COMMAND_MAX = 400
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: Of the path of a control group: a unit of systemd, and the id that runtimes name a container by.
_UNIT = re.compile(r"/([^/]+\.(?:service|scope))(?:/|$)")
_CONTAINER = re.compile(r"[0-9a-f]{64}")
_SHORT = 12

#: Says the unit and the container of a control group; empty where there is none.
Whose = Callable[[str], tuple[str, str]]


def holder(process: Process, wall_ns: int, proc: str, whose: Whose) -> Holder:
    """Return who a process is."""
    unit, container = whose(process.cgroup)
    return Holder(
        process.pid,
        started_ns(process, wall_ns, proc),
        process.name,
        command_of(process.command),
        unit,
        container,
    )


def whose(cgroup: str) -> tuple[str, str]:
    """Return the unit and the container that a control group's path tells by itself."""
    container = _CONTAINER.search(cgroup)
    units = _UNIT.findall(cgroup)
    unit = units[-1] if units and container is None else ""
    return unit, container[0][:_SHORT] if container is not None else ""


def started_ns(process: Process, wall_ns: int, proc: str) -> int:
    """Return when a process was started, Unix ns; 0 where that is not known."""
    up_s = uptime_s(proc)
    if up_s is None:
        return 0
    return wall_ns - int((up_s - process.started / _TICKS_PER_S) * 1e9)


def age_s(process: Process, proc: str) -> float | None:
    """Return for how long a process runs."""
    up_s = uptime_s(proc)
    return None if up_s is None else up_s - process.started / _TICKS_PER_S


def uptime_s(proc: str) -> float | None:
    """Return for how long the host runs."""
    try:
        with open(f"{proc}/uptime", "rb") as file:
            return float(file.read(64).split()[0])
    except (OSError, ValueError, IndexError):
        return None


def group(pid: int, proc: str) -> int:
    """Return the process group of a process; 0 where it is not known."""
    try:
        return int(_stat(pid, proc)[2])
    except (OSError, ValueError, IndexError):
        return 0


def is_stopped(pid: int, proc: str) -> bool:
    """Say whether a process is stopped, by a signal or a debugger."""
    try:
        return _stat(pid, proc)[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _stat(pid: int, proc: str) -> list[bytes]:
    """Return what the kernel says of a process, from its state on."""
    with open(f"{proc}/{pid}/stat", "rb") as file:
        return file.read(4096).rpartition(b")")[2].split()


def command_of(words: tuple[str, ...]) -> str:
    """Return a command line as text, with what looks like a secret masked."""
    shown = [one if one and not re.search(r"\s", one) else repr(one) for one in words]
    text = masked(" ".join(shown)[: 4 * COMMAND_MAX])
    return text if len(text) <= COMMAND_MAX else f"{text[: COMMAND_MAX - 1]}…"


def masked(text: str) -> str:
    """Return a text with what looks like a secret masked."""
    return _redactor().redact_text(text) if text else ""


@cache
def _redactor() -> Redactor:
    # The rules take time to compile: only where there is a server.
    from vedette.redact.redactor import Redactor

    return Redactor()
