"""Decide how large a fault may be on this host, or refuse it with the reason.

Every bound is a share of what the host has to spare and an amount that no host needs more of; both
are said before anything starts. What is left afterwards is checked, too: a drill is never the last
straw.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from vedette.api import Unavailable
from vedette.drills import links
from vedette.drills.faults import FAULTS, Fault
from vedette.drills.task import MIB

__all__ = ["Drill", "Place", "Refused", "plan"]

GIB = 1024 * MIB
MB = 1_000_000
MEMORY_MAX, MEMORY_SHARE, MEMORY_FLOOR = 4 * GIB, 0.25, GIB
#: Bytes a second that a leak takes, at least and at most.
LEAK_SLOWEST, LEAK_FASTEST = 20 * MB, 50 * MB
DISK_MAX, DISK_SHARE = GIB, 0.05
FILL_MAX, FILL_SHARE = 8 * GIB, 0.2
DISK_FLOOR, DISK_FREE_SHARE = 2 * GIB, 0.15
INODES_MAX, INODES_SHARE, INODES_FLOOR = 20_000, 0.05, 20_000
FILES_MAX, FILES_SHARE, FILES_FLOOR = 5_000, 0.9, 500
#: No drill takes more than a part of what the whole host may open.
HOST_FILES_SHARE = 0.1
SOCKETS_MAX, SOCKETS_SHARE, SOCKETS_FLOOR = 1_000, 0.1, 200
LOG_BYTES = 16 * MIB
#: The longest line that the log fault writes, generously.
LOG_LINE = 160
#: A second: bytes, enough to be seen on any disk or network counter; files; processes; lines.
DISK_RATE, NETWORK_RATE = 200 * MIB, 256 * MIB
INODE_RATE, FILE_RATE, SOCKET_RATE, FORK_RATE, LOG_RATE = 1_000, 100, 20, 75, 40
#: Filesystems that have no disk behind them.
NO_DISK = frozenset({"tmpfs", "ramfs", "devtmpfs"})


class Refused(Exception):  # noqa: N818 - a decision, not an error
    """The host has no room for this drill; the text says how much it has."""


class Place(msgspec.Struct, frozen=True):
    """Where faults may leave their mark: a directory for files, a log, a model server's port."""

    directory: Path
    log: Path | None = None
    port: int = 0


class Drill(msgspec.Struct, frozen=True):
    """A fault that fits this host.

    ``amount`` is what it takes in all (bytes, files, connections, processes), ``rate`` how much of
    that in a second, ``text`` the same in words.
    """

    name: str
    seconds: float
    amount: int
    text: str
    rate: int = 0
    path: str = ""
    port: int = 0

    @property
    def fault(self) -> Fault:
        """What the drill stands for."""
        return FAULTS[self.name]


def plan(name: str, seconds: float, place: Place) -> Drill:
    """Size a fault for this host.

    Raises ``Refused`` when the host has too little room to spare, ``Unavailable`` when it cannot be
    made here at all.
    """
    if name not in _PLANS:
        raise ValueError(f"no drill {name!r}; there are {', '.join(_PLANS)}")
    return _PLANS[name](name, seconds, place)


# ---------------------------------------------------------------- how much


def memory_amount(available: int) -> int:
    """Return how many of the available bytes a memory drill takes."""
    if available < MEMORY_FLOOR:
        raise Refused(
            f"only {available / MIB:.0f} MiB of memory are available; a memory drill needs 1 GiB"
        )
    return int(min(available * MEMORY_SHARE, MEMORY_MAX))


def leak(most: int, seconds: float) -> tuple[int, int]:
    """Return the bytes that leak in all and in a second, for at most so many bytes."""
    rate = int(min(max(most / seconds, LEAK_SLOWEST), LEAK_FASTEST))
    return min(most, int(rate * seconds)), rate


def disk_amount(free: int, total: int) -> int:
    """Return how large the file may get that a disk drill writes over and over."""
    return int(min(_spare(free, total, "disk") * DISK_SHARE, DISK_MAX))


def fill_amount(free: int, total: int) -> int:
    """Return how much of the free space may be taken: what must stay free stays free."""
    spare = _spare(free, total, "disk-fill")
    left = min(free - DISK_FLOOR, free - int(total * DISK_FREE_SHARE))
    amount = int(min(spare * FILL_SHARE, FILL_MAX, left))
    if amount < 256 * MIB:
        raise Refused(f"only {free / GIB:.1f} GiB are free, and 2 GiB and 15 % must stay free")
    return amount


def share_of(room: int, share: float, most: int, floor: int, what: str) -> int:
    """Return a share of what there is room for; refuse where that is less than ``floor``."""
    if room < floor:
        raise Refused(f"only {room} {what} are left; this drill needs {floor}")
    return int(min(room * share, most))


def _spare(free: int, total: int, name: str) -> int:
    if free < DISK_FLOOR or free < total * DISK_FREE_SHARE:
        raise Refused(
            f"only {free / GIB:.1f} GiB ({free / max(1, total):.0%}) are free; a {name} drill "
            "needs 2 GiB and 15 %"
        )
    return free


# ---------------------------------------------------------------- fault by fault


def _cpu(name: str, seconds: float, place: Place) -> Drill:
    cores = len(os.sched_getaffinity(0))
    return Drill(name, seconds, cores, f"{cores} busy processes on {cores} cores")


def _cpu_one(name: str, seconds: float, place: Place) -> Drill:
    cores = len(os.sched_getaffinity(0))
    return Drill(name, seconds, 1, f"one busy process, of {cores} cores")


def _memory(name: str, seconds: float, place: Place) -> Drill:
    amount, rate = leak(memory_amount(available_memory()), seconds)
    text = f"{amount / GIB:.1f} GiB of memory taken, {rate / MB:.0f} MB a second, and held"
    return Drill(name, seconds, amount, text, rate)


def _disk(name: str, seconds: float, place: Place) -> Drill:
    usage = _usage(place.directory)
    amount = disk_amount(usage.free, usage.total)
    text = f"synced writes to a file of {amount / MIB:.0f} MiB in {place.directory}"
    return Drill(name, seconds, amount, text, DISK_RATE, str(place.directory))


def _disk_fill(name: str, seconds: float, place: Place) -> Drill:
    usage = _usage(place.directory)
    amount = fill_amount(usage.free, usage.total)
    text = f"{amount / GIB:.1f} of {usage.free / GIB:.0f} GiB free taken in {place.directory}"
    return Drill(name, seconds, amount, text, path=str(place.directory))


def _inodes(name: str, seconds: float, place: Place) -> Drill:
    _usage(place.directory)
    found = os.statvfs(place.directory)
    room = found.f_favail if found.f_files else 10 * INODES_MAX  # some filesystems have no bound
    amount = share_of(room, INODES_SHARE, INODES_MAX, INODES_FLOOR, "inodes")
    text = f"{INODE_RATE} empty files a second in {place.directory}, {amount} of them at a time"
    return Drill(name, seconds, amount, text, INODE_RATE, str(place.directory))


def _files(name: str, seconds: float, place: Place) -> Drill:
    amount = share_of(free_files(), FILES_SHARE, FILES_MAX, FILES_FLOOR, "open files")
    text = f"{FILE_RATE} files a second opened and not closed, {amount} at most"
    return Drill(name, seconds, amount, text, FILE_RATE)


def _sockets(name: str, seconds: float, place: Place) -> Drill:
    room = min(ports(), free_files() // 2)
    amount = share_of(room, SOCKETS_SHARE, SOCKETS_MAX, SOCKETS_FLOOR, "ports or open files")
    text = f"{SOCKET_RATE} connections a second on 127.0.0.1, not closed, {amount} at most"
    return Drill(name, seconds, amount, text, SOCKET_RATE)


def _forks(name: str, seconds: float, place: Place) -> Drill:
    text = f"{FORK_RATE} processes a second that end at once, one at a time"
    return Drill(name, seconds, 1, text, FORK_RATE)


def _network(name: str, seconds: float, place: Place) -> Drill:
    text = f"TCP traffic on 127.0.0.1, {NETWORK_RATE / MIB:.0f} MiB a second at most"
    return Drill(name, seconds, 0, text, NETWORK_RATE)


def _link(name: str, seconds: float, place: Place) -> Drill:
    if reason := links.unavailable():
        raise Unavailable(reason)
    if Path("/sys/class/net", links.INTERFACE).exists():
        raise Refused(f"there is an interface {links.INTERFACE} already")
    fault = FAULTS[name].text.removeprefix("a link to a network namespace ")
    text = f"the interface {links.INTERFACE} to a namespace made for it {fault}"
    return Drill(name, seconds, 0, text)


def _log(name: str, seconds: float, place: Place) -> Drill:
    path = place.log
    if path is None:
        raise Refused("no log file was named: --log FILE")
    there = path.exists()
    if there and not path.is_file():
        raise Refused(f"{path} is not a file")
    if not os.access(path if there else path.parent, os.W_OK):
        raise Refused(f"cannot write {path}: no permission, or no such directory")
    lines = min(int(LOG_RATE * seconds), LOG_BYTES // LOG_LINE)
    size = path.stat().st_size if there else 0
    stays = "which stay there" if there else "and removed afterwards"
    text = f"{LOG_RATE} lines of errors a second written to {path}, {stays}"
    return Drill(name, seconds, size + lines * LOG_LINE, text, LOG_RATE, str(path.absolute()))


def _stuck(name: str, seconds: float, place: Place) -> Drill:
    return Drill(name, seconds, 1, "a process that works now and then is stopped (SIGSTOP)")


def _model(name: str, seconds: float, place: Place) -> Drill:
    if place.port and not _bindable(place.port):
        raise Refused(f"port {place.port} of 127.0.0.1 is taken; name another: --port")
    where = f"127.0.0.1:{place.port}" if place.port else "a free port of 127.0.0.1"
    text = f"the model server at {where} (/metrics) serves a twelfth of what it did"
    return Drill(name, seconds, 0, text, port=place.port)


_PLANS: dict[str, Callable[[str, float, Place], Drill]] = {
    "cpu": _cpu,
    "cpu-one": _cpu_one,
    "memory": _memory,
    "disk": _disk,
    "disk-fill": _disk_fill,
    "inodes": _inodes,
    "files": _files,
    "sockets": _sockets,
    "forks": _forks,
    "network": _network,
    "net-delay": _link,
    "net-loss": _link,
    "log": _log,
    "stuck": _stuck,
    "model": _model,
}


# ---------------------------------------------------------------- what the host has


class _Usage(msgspec.Struct, frozen=True):
    free: int
    total: int


def _usage(directory: Path) -> _Usage:
    """Return the bytes free and in all of a filesystem that may be written to."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError as error:
        raise Refused(f"cannot write in {directory}: {error.strerror}") from None
    kind = filesystem(directory, Path("/proc/self/mountinfo").read_text("utf-8", "replace"))
    if kind in NO_DISK:
        raise Refused(f"{directory} lies in memory ({kind}); name a directory on a disk: --path")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise Refused(f"cannot write in {directory}: no permission")
    return _Usage(usage.free, usage.total)


def filesystem(directory: Path, mountinfo: str) -> str:
    """Return the type of the filesystem a directory lies on, from ``/proc/self/mountinfo``."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2:3] == [wanted]:
            return source.split()[0]
    return ""


def free_files() -> int:
    """Return how many files one process may open, and not more than a tenth of the host's."""
    taken, _, most = _words("/proc/sys/fs/file-nr")
    _, own = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(int((int(most) - int(taken)) * HOST_FILES_SHARE), own)


def ports() -> int:
    """Return how many ports there are for connections that name none."""
    low, high = _words("/proc/sys/net/ipv4/ip_local_port_range")
    return int(high) - int(low)


def _words(path: str) -> list[str]:
    return Path(path).read_text("ascii").split()


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def available_memory() -> int:
    """Return the bytes this process may still take: the host's, or its cgroup's if fewer."""
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    host = int(fields["MemAvailable"].split()[0]) * 1024
    return min(host, _cgroup_room(host))


def _cgroup_room(otherwise: int) -> int:
    """Return what the cgroups above this process leave; ``otherwise`` without limits."""
    room = otherwise
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text("ascii").splitlines():
            number, controllers, own = line.split(":", 2)
            if number == "0":
                top, most, taken = "/sys/fs/cgroup", "memory.max", "memory.current"
            elif "memory" in controllers.split(","):
                top = "/sys/fs/cgroup/memory"
                most, taken = "memory.limit_in_bytes", "memory.usage_in_bytes"
            else:
                continue
            group = Path(top) / own.lstrip("/")
            for level in (group, *group.parents):
                if level == Path(top).parent:
                    break
                limit = _first_word(level / most)
                if limit not in ("", "max"):
                    room = min(room, int(limit) - int(_first_word(level / taken) or 0))
    return max(0, room)


def _first_word(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""
