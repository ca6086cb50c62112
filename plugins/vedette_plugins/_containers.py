"""Tell the name of a container from the id that its control group is called by.

Asked once for each container: the runtimes' own records on disk, as far as they may be read, and
Docker's socket. In Kubernetes the name is ``pod/container``; the sandbox that holds a pod together
has none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from vedette_plugins._procfs import printable

#: Of a host's list of containers; a record of one is far smaller.
RECORD_MAX = 8 * 1024 * 1024
#: Looks for a name before the id stands for it: a runtime may write its record after the start.
LOOKS = 3
SOCKET_TIMEOUT_S = 1.0
#: A container that gets no series.
SANDBOX = ""
SHORT_ID = 12
#: Pods have names of 63 characters and containers too, with few exceptions.
LONGEST_NAME = 128

#: Docker's, CRI-O's and containerd's marks of a sandbox, and of what belongs to which pod.
_KIND = (
    "io.kubernetes.cri.container-type",
    "io.kubernetes.cri-o.ContainerType",
    "io.kubernetes.docker.type",
)
_POD = ("io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name")
_CONTAINER = ("io.kubernetes.container.name", "io.kubernetes.cri.container-name")

Labels = dict[str, str]


class _DockerConfig(msgspec.Struct):
    labels: Labels | None = msgspec.field(default=None, name="Labels")


class _DockerContainer(msgspec.Struct):
    name: str = msgspec.field(default="", name="Name")
    config: _DockerConfig = msgspec.field(default_factory=_DockerConfig, name="Config")


class _Bundle(msgspec.Struct):
    """A config.json of the Open Container Initiative."""

    annotations: Labels | None = None


class _Stored(msgspec.Struct):
    """An entry of the list of containers that Podman and CRI-O keep."""

    id: str
    names: tuple[str, ...] | None = None


class Names:
    """The names of the containers of a host, remembered as long as they run."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")
        self._known: dict[str, str] = {}
        self._looks: dict[str, int] = {}
        self._stored: dict[str, tuple[tuple[int, int], Labels]] = {}
        self._socket_failed = False

    def begin(self, running: Iterable[str]) -> None:
        """Begin a round of questions about the containers with these ids; forget all others."""
        self._socket_failed = False
        alive = set(running)
        self._known = {one: name for one, name in self._known.items() if one in alive}
        self._looks = {one: looks for one, looks in self._looks.items() if one in alive}

    def name(self, identity: str, runtime: str) -> str | None:
        """Return a container's name; ``SANDBOX`` when it is a pod's, None while not known yet."""
        known = self._known.get(identity)
        if known is not None:
            return known
        found = next((name for name in self._sources(identity, runtime) if name is not None), None)
        if found is None:
            self._looks[identity] = self._looks.get(identity, 0) + 1
            if self._looks[identity] < LOOKS:
                return None
            found = identity[:SHORT_ID]
        self._known[identity] = found = printable(found.encode(), LONGEST_NAME)
        return found

    def _sources(self, identity: str, runtime: str) -> Iterator[str | None]:
        if runtime in ("docker", ""):
            record = self._read(f"var/lib/docker/containers/{identity}/config.v2.json")
            yield _docker_name(record)
        if runtime in ("containerd", ""):
            yield from self._containerd(identity)
        if runtime in ("cri-o", "podman", ""):
            for file in ("containers.json", "volatile-containers.json"):
                place = f"var/lib/containers/storage/overlay-containers/{file}"
                yield _plain(self._list(place).get(identity, ""))
        if runtime in ("docker", "") and not self._socket_failed:
            yield _docker_name(self._ask_docker(identity))

    def _containerd(self, identity: str) -> Iterator[str | None]:
        tasks = "run/containerd/io.containerd.runtime.v2.task"
        try:
            with os.scandir(f"{self._root}/{tasks}") as entries:
                spaces = sorted(entry.name for entry in entries)
        except OSError:
            return
        for space in spaces:
            bundle = _decoded(self._read(f"{tasks}/{space}/{identity}/config.json"), _Bundle)
            yield _labelled(bundle.annotations) if bundle is not None else None

    def _list(self, place: str) -> Labels:
        """Return the names by id of a list of containers, read again when it was written."""
        try:
            status = os.stat(f"{self._root}/{place}")
        except OSError:
            return {}
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._stored.get(place)
        if known is None or known[0] != stamp:
            stored = _decoded(self._read(place), list[_Stored]) or []
            known = stamp, {one.id: one.names[0] for one in stored if one.names}
            self._stored[place] = known
        return known[1]

    def _read(self, place: str) -> bytes:
        try:
            with open(f"{self._root}/{place}", "rb") as file:
                return file.read(RECORD_MAX)
        except OSError:
            return b""

    def _ask_docker(self, identity: str) -> bytes:
        """Ask the Docker daemon of this host; not again in this round when it fails."""
        path = f"{self._root}/run/docker.sock"
        if not os.access(path, os.W_OK):
            self._socket_failed = True
            return b""
        import http.client
        import socket

        deadline = time.monotonic() + SOCKET_TIMEOUT_S
        connection = http.client.HTTPConnection("localhost")
        body = b""
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(SOCKET_TIMEOUT_S)
            connection.sock.connect(path)
            connection.request("GET", f"/containers/{identity}/json")
            response = connection.getresponse()
            while len(body) < RECORD_MAX and time.monotonic() < deadline:
                part = response.read1(65536)
                if not part:
                    return body if response.status == http.client.OK else b""
                body += part
        except (OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            connection.close()
        self._socket_failed = True
        return b""


def _decoded(text: bytes, kind: Any) -> Any:
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _docker_name(text: bytes) -> str | None:
    record = _decoded(text, _DockerContainer)
    if record is None:
        return None
    labelled = _labelled(record.config.labels)
    return _plain(record.name) if labelled is None else labelled


def _labelled(labels: Labels | None) -> str | None:
    """Return the name that labels or annotations of a container say."""
    if not labels:
        return None

    def first(keys: Iterable[str]) -> str:
        return next((labels[key] for key in keys if key in labels), "")

    pod, container = first(_POD), first(_CONTAINER)
    if first(_KIND) in ("sandbox", "podsandbox") or container == "POD":
        return SANDBOX
    if pod and container:
        return _in_pod(pod, container)
    return labels.get("nerdctl/name") or container or None


def _plain(name: str) -> str | None:
    """Return the name that a runtime gives; Kubernetes has it say pod and container."""
    name = name.removeprefix("/")
    parts = name.split("_")
    if parts[0] == "k8s" and len(parts) >= 5:
        return SANDBOX if parts[1] == "POD" else _in_pod(parts[2], parts[1])
    return name or None


def _in_pod(pod: str, container: str) -> str:
    return f"{pod[-63:]}/{container[:63]}"
