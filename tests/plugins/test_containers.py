"""The names of containers: records on disk, and a Docker-like server on a Unix socket."""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette_plugins import _containers
from vedette_plugins._containers import LOOKS, SANDBOX, Names

ID = "0123456789abcdef" * 4
#: Of Docker 24's answer to GET /containers/ID/json, what concerns a name.
INSPECTED = {
    "Id": ID,
    "Created": "2026-11-24T10:00:00.123456789Z",
    "State": {"Status": "running", "Running": True, "Pid": 4711},
    "Name": "/shop_web_1",
    "HostConfig": {"Memory": 268435456},
    "Config": {
        "Hostname": ID[:12],
        "Image": "web:1",
        "Labels": {"com.docker.compose.service": "web"},
    },
}


class Daemon(socketserver.ThreadingUnixStreamServer):
    """Answers like dockerd: ``answer`` is the body, by default the recorded one."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.answer = json.dumps(INSPECTED).encode()
        self.go_on = threading.Event()
        self.go_on.set()
        super().__init__(path, Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        Handler(request, ("local", 0), self)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Daemon

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.go_on.wait(10)
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = self.server.answer
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def root() -> Iterator[Path]:
    # Not tmp_path: the path of a socket is at most 108 bytes long.
    with tempfile.TemporaryDirectory(prefix="vedette-") as folder:
        yield Path(folder)


@pytest.fixture
def daemon(root: Path) -> Iterator[Daemon]:
    (root / "run").mkdir()
    with Daemon(str(root / "run" / "docker.sock")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


def write(root: Path, place: str, content: Any) -> None:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def docker(labels: dict[str, str] | None = None, name: str = "/web") -> Callable[[Path], None]:
    record = {"Name": name, "Config": {"Labels": labels}}
    return lambda root: write(root, f"var/lib/docker/containers/{ID}/config.v2.json", record)


def bundle(annotations: dict[str, str], space: str = "k8s.io") -> Callable[[Path], None]:
    place = f"run/containerd/io.containerd.runtime.v2.task/{space}/{ID}/config.json"
    return lambda root: write(root, place, {"ociVersion": "1.1.0", "annotations": annotations})


def stored(*names: str, file: str = "containers.json") -> Callable[[Path], None]:
    place = f"var/lib/containers/storage/overlay-containers/{file}"
    return lambda root: write(root, place, [{"id": ID, "names": names, "image": "x"}])


CRI = {"io.kubernetes.cri.sandbox-name": "web-1", "io.kubernetes.cri.sandbox-namespace": "shop"}
SHIM = {"io.kubernetes.pod.name": "web-1", "io.kubernetes.container.name": "app"}


@pytest.mark.parametrize(
    ("record", "runtime", "name"),
    [
        (docker(), "docker", "web"),
        (docker(), "", "web"),
        (docker(SHIM, "/k8s_app_web-1_shop_uid_0"), "docker", "web-1/app"),
        (docker({"io.kubernetes.docker.type": "podsandbox"}), "docker", SANDBOX),
        (docker({**SHIM, "io.kubernetes.container.name": "POD"}), "docker", SANDBOX),
        (
            bundle(
                CRI
                | {"io.kubernetes.cri.container-type": "container"}
                | {"io.kubernetes.cri.container-name": "app"}
            ),
            "containerd",
            "web-1/app",
        ),
        (bundle(CRI | {"io.kubernetes.cri.container-type": "sandbox"}), "containerd", SANDBOX),
        (bundle({"nerdctl/name": "registry"}, "default"), "containerd", "registry"),
        (bundle({"nerdctl/name": "registry"}, "default"), "", "registry"),
        (stored("jellyfin"), "podman", "jellyfin"),
        (stored("backup", file="volatile-containers.json"), "podman", "backup"),
        (stored("k8s_app_web-1_shop_uid_0"), "cri-o", "web-1/app"),
        (stored("k8s_POD_web-1_shop_uid_0"), "cri-o", SANDBOX),
        (stored("k8s_own_name"), "podman", "k8s_own_name"),
    ],
)
def test_a_record_names_a_container(
    root: Path, record: Callable[[Path], None], runtime: str, name: str
) -> None:
    record(root)
    assert Names(str(root)).name(ID, runtime) == name


def test_a_name_is_looked_for_so_often_before_the_id_stands_for_it(root: Path) -> None:
    names = Names(str(root))
    seen = []
    for _ in range(LOOKS + 1):
        names.begin([ID])
        seen.append(names.name(ID, "containerd"))
    assert seen == [None] * (LOOKS - 1) + [ID[:12]] * 2


def test_a_record_written_late_is_found(root: Path) -> None:
    names = Names(str(root))
    assert names.name(ID, "docker") is None
    docker()(root)
    names.begin([ID])
    assert names.name(ID, "docker") == "web"


def test_a_container_that_is_gone_is_forgotten(root: Path) -> None:
    names = Names(str(root))
    docker()(root)
    assert names.name(ID, "docker") == "web"
    docker(name="/renamed")(root)
    names.begin([ID])
    assert names.name(ID, "docker") == "web"
    names.begin([])
    assert names.name(ID, "docker") == "renamed"


def test_the_daemon_is_asked_when_its_records_cannot_be_read(root: Path, daemon: Daemon) -> None:
    names = Names(str(root))
    assert names.name(ID, "docker") == "shop_web_1"
    assert names.name(ID, "docker") == "shop_web_1"
    assert daemon.asked == [f"/containers/{ID}/json"]


@pytest.mark.parametrize("answer", [b"", b"[]", b"{", b'{"Name": 1}', b'{"Name": ""}', b"\xff\0"])
def test_a_daemon_that_answers_nonsense_leaves_the_id(
    root: Path, daemon: Daemon, answer: bytes
) -> None:
    daemon.answer = answer
    names = Names(str(root))
    assert [names.name(ID, "docker") for _ in range(LOOKS)] == [None] * (LOOKS - 1) + [ID[:12]]


def test_a_container_the_daemon_does_not_know_keeps_its_id(root: Path, daemon: Daemon) -> None:
    daemon.status, daemon.answer = 404, b'{"message": "No such container", "Name": "/no"}'
    names = Names(str(root))
    assert [names.name(ID, "") for _ in range(LOOKS)][-1] == ID[:12]


def test_a_daemon_that_hangs_is_asked_once_in_a_round(
    root: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_containers, "SOCKET_TIMEOUT_S", 0.1)
    daemon.go_on.clear()
    names = Names(str(root))
    names.begin([])
    for number in range(5):
        assert names.name(f"{number}" * 64, "docker") is None
    assert len(daemon.asked) == 1


def test_an_answer_without_end_is_cut_off(
    root: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_containers, "RECORD_MAX", 1000)
    daemon.answer = b" " * 100_000 + daemon.answer
    assert Names(str(root)).name(ID, "docker") is None


def test_the_list_of_containers_is_read_again_only_when_it_was_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(str(root))
    stored("first")(root)
    assert names.name(ID, "podman") == "first"
    read: list[str] = []
    monkeypatch.setattr(names, "_read", lambda place: read.append(place) or b"")
    assert names.name("f" * 64, "podman") is None
    assert read == []
    stored("second, longer")(root)
    assert names.name("e" * 64, "podman") is None
    assert len(read) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
TEXTS = st.text(max_size=300)


@settings(max_examples=60, deadline=None)
@given(
    record=JSON
    | st.fixed_dictionaries(
        {"Name": TEXTS | JSON, "Config": st.fixed_dictionaries({"Labels": JSON}) | JSON}
    )
    | st.fixed_dictionaries(
        {"Name": TEXTS, "Config": st.just({"Labels": SHIM}), "id": st.just(ID), "names": JSON}
    ),
    as_list=st.booleans(),
)
def test_any_record_yields_a_printable_name(record: Any, as_list: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, f"var/lib/docker/containers/{ID}/config.v2.json", record)
        bundle(record)(root)
        write(
            root,
            "var/lib/containers/storage/overlay-containers/containers.json",
            [record] if as_list else record,
        )
        names = Names(str(root))
        for _ in range(LOOKS):
            name = names.name(ID, "")
        assert name is not None
        assert name.isprintable()
        assert len(name) <= 128
