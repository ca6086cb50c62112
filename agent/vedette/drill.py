"""Put a bounded load on this host and watch whether the running agent notices it.

``plan`` decides how large the load may be, or refuses; ``Load`` runs it in child processes that end
by themselves; ``watch`` follows the agent's incidents meanwhile and afterwards.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

import msgspec

from vedette.api import Incident
from vedette.load import COMM, MIB

__all__ = ["Drill", "Load", "Outcome", "Refused", "Resource", "plan", "watch"]

Resource = Literal["cpu", "memory", "disk", "network"]

GIB = 1024 * MIB
MEMORY_MAX = 4 * GIB
MEMORY_SHARE = 0.25
MEMORY_FLOOR = GIB
DISK_MAX = GIB
DISK_SHARE = 0.05
DISK_FLOOR = 2 * GIB
DISK_FREE_SHARE = 0.15
#: Filesystems that have no disk behind them.
NO_DISK = frozenset({"tmpfs", "ramfs", "devtmpfs"})

POLL_S = 0.5
#: How long after the load an incident may still be opened, and then be resolved.
NOTICE_S = 30.0
RESOLVE_S = 120.0


class Refused(Exception):  # noqa: N818 - a decision, not an error
    """The host has no room for this drill; the text says how much it has."""


class Drill(msgspec.Struct, frozen=True):
    """A load that fits this host: ``amount`` is bytes (processes for ``cpu``), else 0."""

    resource: Resource
    seconds: float
    amount: int
    text: str
    path: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent made of the load. Times are seconds since the load began; None = never.

    ``incidents`` are all that opened meanwhile; ``incident`` is the first that speaks of the load:
    of its resource, or with one of its processes as suspect.
    """

    resource: Resource
    seconds: float
    began_ns: int
    incident: Incident | None
    incidents: tuple[Incident, ...]
    noticed_s: float | None
    onset_s: float | None
    resolved_s: float | None

    @property
    def exactly_one(self) -> bool:
        """The load was noticed, and as one thing."""
        return self.incident is not None and len(self.incidents) == 1


# ---------------------------------------------------------------- how much


def plan(resource: Resource, seconds: float, directory: Path) -> Drill:
    """Size a load for this host; ``directory`` is where a disk drill writes.

    Raises ``Refused`` when the host has too little room to spare.
    """
    if resource == "cpu":
        cores = len(os.sched_getaffinity(0))
        return Drill(resource, seconds, cores, f"{cores} busy processes on {cores} cores")
    if resource == "memory":
        amount = memory_amount(available_memory())
        return Drill(resource, seconds, amount, f"{amount / GIB:.1f} GiB taken and held")
    if resource == "disk":
        amount = _disk_amount(directory)
        text = f"synced writes to a file of {amount / MIB:.0f} MiB in {directory}"
        return Drill(resource, seconds, amount, text, str(directory))
    return Drill(resource, seconds, 0, "TCP traffic between two processes on 127.0.0.1")


def memory_amount(available: int) -> int:
    """Return how many of the available bytes a memory drill takes."""
    if available < MEMORY_FLOOR:
        raise Refused(
            f"only {available / MIB:.0f} MiB of memory are available; a memory drill needs 1 GiB"
        )
    return int(min(available * MEMORY_SHARE, MEMORY_MAX))


def disk_amount(free: int, total: int) -> int:
    """Return how large the file of a disk drill may get."""
    if free < DISK_FLOOR or free < total * DISK_FREE_SHARE:
        raise Refused(
            f"only {free / GIB:.1f} GiB ({free / max(1, total):.0%}) are free; a disk drill needs "
            "2 GiB and 15 %"
        )
    return int(min(free * DISK_SHARE, DISK_MAX))


def _disk_amount(directory: Path) -> int:
    try:
        usage = shutil.disk_usage(directory)
    except OSError as error:
        raise Refused(f"cannot write in {directory}: {error.strerror}") from None
    kind = filesystem(directory, Path("/proc/self/mountinfo").read_text("utf-8", "replace"))
    if kind in NO_DISK:
        raise Refused(f"{directory} lies in memory ({kind}); name a directory on a disk: --path")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise Refused(f"cannot write in {directory}: no permission")
    return disk_amount(usage.free, usage.total)


def filesystem(directory: Path, mountinfo: str) -> str:
    """Return the type of the filesystem a directory lies on, from ``/proc/self/mountinfo``."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2:3] == [wanted]:
            return source.split()[0]
    return ""


def available_memory() -> int:
    """Return the bytes this process may still take: the host's, or its cgroup's if fewer."""
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    host = int(fields["MemAvailable"].split()[0]) * 1024
    return min(host, _cgroup_room(host))


def _cgroup_room(otherwise: int) -> int:
    """Return what the version 2 cgroups above this process leave; ``otherwise`` without limits."""
    room = otherwise
    with contextlib.suppress(OSError, ValueError):
        own = Path("/proc/self/cgroup").read_text("ascii").rpartition("0::")[2].strip()
        group = Path("/sys/fs/cgroup") / own.lstrip("/")
        for level in (group, *group.parents):
            if level == Path("/sys/fs"):
                break
            limit = _first_word(level / "memory.max")
            if limit not in ("", "max"):
                room = min(room, int(limit) - int(_first_word(level / "memory.current") or 0))
    return max(0, room)


def _first_word(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""


# ---------------------------------------------------------------- the load


class Load:
    """The child processes of a drill; a context manager that leaves none behind."""

    def __init__(self, drill: Drill) -> None:
        self.drill = drill
        self.children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def running(self) -> bool:
        """Return whether any child still works."""
        return any(child.poll() is None for child in self.children)

    def failure(self) -> str:
        """Return why a child that ended did not do its work; empty when all is well."""
        for child in self.children:
            if child.poll() not in (None, 0):
                said = child.stderr.read(2000).decode("utf-8", "replace") if child.stderr else ""
                return said.strip() or f"it ended with {child.returncode}"
        return ""

    def stop(self) -> None:
        """Kill what still runs and reap it; safe twice."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait(timeout=10)
            if child.stderr:
                child.stderr.close()

    def _start(self) -> None:
        drill = self.drill
        if drill.resource == "cpu":
            for _ in range(drill.amount):
                self._child("cpu")
        elif drill.resource == "memory":
            self._child("memory", "--bytes", str(drill.amount))
        elif drill.resource == "disk":
            self._child("disk", "--bytes", str(drill.amount), "--path", drill.path)
        else:
            with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
                fd = listener.fileno()
                self._child("receive", "--listener", str(fd), keep=(fd,))
                self._child("send", "--port", str(listener.getsockname()[1]))

    def _child(self, kind: str, *arguments: str, keep: Sequence[int] = ()) -> None:
        command = [sys.executable, "-m", "vedette.load", kind]
        command += ["--seconds", str(self.drill.seconds), "--parent", str(os.getpid())]
        self.children.append(
            subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=keep,
            )
        )


# ---------------------------------------------------------------- the watching


def watch(
    load: Load,
    poll: Callable[[], Sequence[Incident]],
    *,
    wait: bool = True,
    progress: Callable[[float, Outcome], None] = lambda seconds, outcome: None,
    clock_ns: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Follow the agent's incidents while the load runs and after it; return what came of it.

    ``poll`` returns all incidents the agent knows; those it knows now are not the drill's. Watches
    until the load has ended and an incident was opened (at most 30 s longer) and, with ``wait``,
    until all that opened are resolved (at most 120 s longer). ``progress`` hears of every look.
    """
    before = {incident.id for incident in poll()}
    drill = load.drill
    began_ns = clock_ns()
    with load:
        while True:
            sleep(POLL_S)
            outcome = _judged(drill, began_ns, [i for i in poll() if i.id not in before])
            elapsed = (clock_ns() - began_ns) / 1e9
            progress(elapsed, outcome)
            if load.running():
                continue
            if failure := load.failure():
                raise Refused(f"the load ended early: {failure}")
            after = elapsed - drill.seconds
            if outcome.incident is None:
                if after >= NOTICE_S:
                    return outcome
            elif not wait or outcome.resolved_s is not None or after >= RESOLVE_S:
                return outcome


def _judged(drill: Drill, began_ns: int, opened: Sequence[Incident]) -> Outcome:
    """Say what the incidents that opened since mean for the drill."""
    in_order = tuple(sorted(opened, key=lambda incident: incident.opened_ns))
    own = next((one for one in in_order if _speaks_of(one, drill)), None)
    ends = [one.resolved_ns for one in in_order]
    resolved = max((end for end in ends if end is not None), default=None)
    return Outcome(
        resource=drill.resource,
        seconds=drill.seconds,
        began_ns=began_ns,
        incident=own,
        incidents=in_order,
        noticed_s=None if own is None else (own.opened_ns - began_ns) / 1e9,
        onset_s=None if own is None else (own.onset_ns - began_ns) / 1e9,
        resolved_s=None if None in ends or resolved is None else (resolved - began_ns) / 1e9,
    )


def _speaks_of(incident: Incident, drill: Drill) -> bool:
    return (
        incident.resource == drill.resource
        or any(f".{drill.resource}." in series for series in incident.series)
        or any(COMM in suspect.name or COMM in suspect.text for suspect in incident.suspects)
    )
