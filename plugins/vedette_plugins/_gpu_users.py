"""Say whose processes hold the memory of a GPU: their name, and the unit or container they are of.

Processes of one name in one unit or container are one user, or workers of one server would each be
a series; of each GPU the ``TOLD_MAX`` with most memory are told and the others together. The files
of a process are read once, when it is first seen on a GPU.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from vedette.api import Host, Sample
from vedette_plugins._cgroup_tree import Group, recognise
from vedette_plugins._containers import SHORT_ID, Names
from vedette_plugins._gpu import PROCESS_MEMORY, line
from vedette_plugins._procfs import beginning, printable

#: Users told of one GPU; the others are added up as one of this name.
TOLD_MAX = 16
OTHERS = "other"


#: A line for each hierarchy of version 1, each as long as a path.
CGROUP_MAX = 16 * 1024
LONGEST_NAME = 128


class User(NamedTuple):
    """Who uses a GPU; ``unit`` and ``container`` are empty where it is of none."""

    name: str
    unit: str = ""
    container: str = ""


class _Seen(NamedTuple):
    name: str
    group: Group | None


class Users:
    """The processes on the GPUs of one collector. One thread."""

    def __init__(self) -> None:
        self._names: Names | None = None
        self._seen: dict[int, _Seen] = {}

    def samples(
        self, host: Host, held: Mapping[tuple[str, str], Mapping[int, int]]
    ) -> Iterator[Sample]:
        """Yield the memory that users hold; ``held`` is bytes by pid of each GPU, id and name."""
        pids = {pid for memory in held.values() for pid in memory}
        self._look(host, pids)
        for gpu, memory in held.items():
            users: dict[User, int] = {}
            for pid, octets in memory.items():
                user = self._user(pid)
                users[user] = users.get(user, 0) + octets
            for user, octets in _largest(users).items():
                if octets:  # else the driver does not say how much
                    yield PROCESS_MEMORY(octets, *gpu, *user)

    def name(self, pid: int) -> str:
        """Return what a process is called that is on a GPU now."""
        return self._seen[pid].name if pid in self._seen else "process"

    def _look(self, host: Host, pids: Collection[int]) -> None:
        if self._names is None:
            self._names = Names(host.root)
        self._seen = {
            pid: self._seen[pid] if pid in self._seen else _seen(host.proc, pid) for pid in pids
        }
        groups = [one.group for one in self._seen.values()]
        self._names.begin(one.name for one in groups if one is not None and one.has_id)

    def _user(self, pid: int) -> User:
        name, group = self._seen[pid]
        if group is None:
            return User(name)
        if group.kind == "service":
            return User(name, unit=printable(group.name.encode(), LONGEST_NAME))
        if not group.has_id or self._names is None:
            return User(name, container=printable(group.name.encode(), LONGEST_NAME))
        called = self._names.name(group.name, group.runtime)
        return User(name, container=called or group.name[:SHORT_ID])


def _seen(proc: str, pid: int) -> _Seen:
    name = line(f"{proc}/{pid}/comm") or "process"
    said = beginning(f"{proc}/{pid}/cgroup", CGROUP_MAX)
    return _Seen(name, group_of(said.decode("utf-8", "replace")))


def group_of(said: str) -> Group | None:
    """Return the service or container that /proc/PID/cgroup names, the innermost; None: neither.

    A container's own processes are in groups below the one that is called by its id.
    """
    paths = [one.split(":", 2)[2] for one in said.split("\n") if one.count(":") >= 2]
    # Version 2 has one line, which is the last of a host that has both.
    for path in sorted(set(paths), key=len, reverse=True):
        steps = path.strip("/").split("/")
        found = [recognise("/".join(steps[:end])) for end in range(1, len(steps) + 1)]
        known = [one for one in found if one is not None and one.path != "user.slice"]
        containers = [one for one in known if one.kind == "container"]
        if known:
            return containers[-1] if containers else known[-1]
    return None


def _largest(users: Mapping[User, int]) -> dict[User, int]:
    ranked = sorted(users, key=lambda one: (-users[one], one))
    told = {one: users[one] for one in ranked[:TOLD_MAX]}
    for one in ranked[TOLD_MAX:]:
        told[User(OTHERS)] = told.get(User(OTHERS), 0) + users[one]
    return told
