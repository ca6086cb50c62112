"""Say whose a process on a GPU is: which model server's, by its ancestors or its container.

The process on a GPU is seldom the one that listens: vLLM's engine is a child of its API server, the
shards of TGI are children of the launcher that its router is a child of, Ray's replicas are
children of a raylet. So the ancestors of a process on a GPU are followed up to the first one that
is a listener, or one of *its* ancestors that is called like the same server. Where ancestry says
nothing, one service or container does, if a single server listens in it. In doubt it is nobody's.

Where a port is published from a container, the listener on this host is Docker's proxy; the server
is in the container whose network has the address that the proxy is told to pass connections to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from vedette.serving.candidates import candidate, is_called
from vedette.serving.listening import Listener, Process

ANCESTORS_MAX = 32
#: Processes that start others for people; what else they started is not the server's.
_STARTERS = frozenset(
    {
        *("bash", "dash", "fish", "sh", "zsh", "screen", "tmux"),
        *("login", "sshd", "su", "sudo"),
        *("init", "runc", "supervisord", "systemd", "tini"),
    }
)
#: A service, or a container by the id in its group's name.
_OWN_GROUP = re.compile(r"(?:\.service|[0-9a-f]{64}(?:\.scope)?)(?:/|$)")


def ancestry(pid: int, process: Callable[[int], Process | None]) -> Iterator[Process]:
    """Yield a process and its ancestors, the nearest first, up to what starts all sorts of them."""
    for step in range(ANCESTORS_MAX):
        found = process(pid) if pid > 1 else None
        if found is None or (step and found.name in _STARTERS):
            return
        yield found
        pid = found.parent


class Owners:
    """Model servers by their processes, and by the service or container they are alone in."""

    def __init__(
        self,
        listeners: Mapping[str, Listener],
        endpoints: Sequence[str],
        above: Callable[[int], Sequence[Process]],
        inside: Callable[[Process], frozenset[str]],
    ) -> None:
        """``listeners`` are by ``address:port``; ``above`` returns a process and its ancestors,
        ``inside`` the addresses of the network that a process is in.
        """
        self._by_pid: dict[int, list[str]] = {}
        self._by_group: dict[str, list[str]] = {}
        self._by_address: dict[str, list[str]] = {}
        self._inside = inside
        for endpoint in endpoints:
            listener = listeners.get(endpoint.replace("localhost", "127.0.0.1"))
            if listener is None or listener.process is None:
                continue
            behind = _passed_to(listener.process)
            if behind:
                self._by_address.setdefault(behind, []).append(endpoint)
                continue
            for pid in _own(listener, above(listener.process.pid)):
                self._by_pid.setdefault(pid, []).append(endpoint)
            if _OWN_GROUP.search(listener.process.cgroup):
                self._by_group.setdefault(listener.process.cgroup, []).append(endpoint)

    def of(self, processes: Sequence[Process]) -> Sequence[str]:
        """Return the endpoints of the server that a process, given with its ancestors, is of."""
        for one in processes:
            if one.pid in self._by_pid:
                return self._by_pid[one.pid]
        group = processes[0].cgroup if processes else ""
        servers = self._by_group.get(group, [])
        if not servers and self._by_address and _OWN_GROUP.search(group):
            addresses = self._inside(processes[0])
            found = [self._by_address.get(one, []) for one in sorted(addresses)]
            servers = [endpoint for endpoints in found for endpoint in endpoints]
        return servers if len(servers) == 1 else ()


def _passed_to(process: Process) -> str:
    """Return the container's address that Docker's proxy passes to; empty of anything else."""
    program = process.command[0].rpartition("/")[2] if process.command else ""
    if program != "docker-proxy" or "-container-ip" not in process.command[:-1]:
        return ""
    return process.command[process.command.index("-container-ip") + 1]


def _own(listener: Listener, processes: Sequence[Process]) -> Iterator[int]:
    """Yield the pids of a server: who listens, and its ancestors up to the last called like it."""
    said = candidate(listener)
    server = said.server if said is not None else ""
    alike = [at for at, one in enumerate(processes) if server and is_called(one, server)]
    for one in processes[: max(alike, default=0) + 1]:
        yield one.pid
