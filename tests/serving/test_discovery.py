"""Which processes listen, which of them are asked for a page, and how seldom."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from vedette.exposition.scrape import Answer
from vedette.exposition.wire import NoPage
from vedette.serving.candidates import HINTS, Candidate, candidate
from vedette.serving.discovery import (
    FIRST_PAUSE_S,
    LAST_PAUSE_S,
    REQUESTING_S,
    REQUESTS_MAX,
    Discovery,
    Found,
)
from vedette.serving.listening import SEARCHES_MAX, Listener, Listening, Process

PAGE = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1.0\n"


def process(*command: str, name: str = "", pid: int = 7, started: int = 1) -> Process:
    return Process(pid, started, name or command[0].rpartition("/")[2], command)


def listener(*command: str, port: int = 8000, pid: int = 7, started: int = 1) -> Listener:
    return Listener("127.0.0.1", port, process(*command, pid=pid, started=started))


# ---------------------------------------------------------------- who listens


@contextmanager
def listening_at(address: str) -> Iterator[int]:
    """Listen there, on a port that is yielded."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as server:
        try:
            server.bind((address, 0))
        except OSError:
            pytest.skip("no such address here")
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.5", "127.0.0.5"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "::1"),
    ],
)
def test_a_socket_is_found_with_its_process(address: str, reached: str) -> None:
    with listening_at(address) as port:
        (found,) = [one for one in Listening().look() if one.port == port]
    assert found.address == reached
    assert found.process is not None
    assert found.process.pid == os.getpid()
    assert "pytest" in " ".join(found.process.command) or found.process.command


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.7"])
def test_where_the_kernel_lists_no_sockets_its_files_say_the_same(
    address: str, tmp_path: Path
) -> None:
    (tmp_path / "1").symlink_to("/proc/self")
    with listening_at(address) as port:
        told, read = Listening().look(), Listening(str(tmp_path)).look()
    (asked,) = [one.address for one in told if one.port == port]
    assert [one.address for one in read if one.port == port] == [asked]


def test_a_process_that_ended_is_forgotten() -> None:
    listening = Listening()
    child = subprocess.Popen(
        [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        (found,) = [one for one in listening.look() if one.process and one.process.pid == child.pid]
        assert "http.server" in found.process.command  # type: ignore[union-attr]
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()
    assert [one for one in listening.look() if one.port == found.port] == []


def test_what_the_kernel_never_writes_harms_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "1/net"
    folder.mkdir(parents=True)
    lines = [
        "  sl  local_address rem_address   st",
        "   0: 0100007F:1F40 00000000:0000 0A 0:0 0:0 0 0 0 4711 1",
        "   1: XX00007F:1F41 00000000:0000 0A 0:0 0:0 0 0 0 4712 1",
        "   2: 0100007F 00000000:0000 0A 0:0 0:0 0 0 0 4713 1",
        "   3: 0100007F:1F42 00000000:0000 01 0:0 0:0 0 0 0 4714 1",
        "   4: 0100007F:",
        "",
    ]
    (folder / "tcp").write_text("\n".join(lines))
    (folder / "tcp6").write_bytes(b"\xff" * 5000)
    assert Listening(str(tmp_path)).look() == [Listener("127.0.0.1", 8000)]
    assert Listening(str(tmp_path / "absent")).look() == []


def test_a_socket_that_nobody_is_found_for_is_not_looked_for_for_ever(tmp_path: Path) -> None:
    def listens(*sockets: int) -> None:
        lines = [f" 0: 0100007F:{one:04X} 0:0 0A 0:0 0:0 0 0 0 {one} 1" for one in sockets]
        (tmp_path / "1/net/tcp").write_text("\n".join(["  sl", *lines, ""]))

    def appears(pid: int, *sockets: int) -> None:
        folder = tmp_path / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} (server) S " + " ".join(["1"] * 40))
        for number, one in enumerate(sockets):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{one}]")

    (tmp_path / "1/net").mkdir(parents=True)
    listening = Listening(str(tmp_path))
    listens(8000)
    for _ in range(SEARCHES_MAX):
        assert [one.process for one in listening.look()] == [None]
    appears(20, 8000, 8001)
    assert [one.process for one in listening.look()] == [None]
    listens(8000, 8001)
    assert [one.process and one.process.pid for one in listening.look()] == [None, 20]


def test_an_address_of_the_other_kind_has_brackets() -> None:
    assert Listener("::1", 8000).place == "[::1]:8000"
    assert Listener("127.0.0.1", 8000).place == "127.0.0.1:8000"


# ---------------------------------------------------------------- who is asked


@pytest.mark.parametrize(
    ("command", "port", "server"),
    [
        (("/usr/bin/python3", "-m", "vllm.entrypoints.openai.api_server"), 9999, "vllm"),
        (("python3", "/opt/bin/vllm", "serve", "m"), 8000, "vllm"),
        (("python3", "-m", "sglang.launch_server"), 30000, "sglang"),
        (("python3", "-m", "sglang_router.launch_router"), 30000, "sglang-router"),
        (("/opt/llama-server", "-m", "x.gguf"), 8080, "llama.cpp"),
        (("python3", "-m", "llama_cpp.server"), 8080, "llama.cpp"),
        (("tritonserver", "--model-repository=/m"), 8002, "triton"),
        (("java", "-cp", "x.jar", "org.pytorch.serve.ModelServer"), 8082, "torchserve"),
        (("/usr/local/bin/ollama", "serve"), 11434, "ollama"),
        (("python3", "/usr/bin/mlserver", "start", "."), 8082, "mlserver"),
        (("ray::DashboardAgent",), 39665, "ray-serve"),
        (("python3", "-u", "/opt/ray/dashboard/agent.py"), 39665, "ray-serve"),
        # The parts of an engine listen for each other, on a dozen ports, and have no page.
        (("VLLM::EngineCore",), 8000, None),
        (("VLLM::Worker_TP0",), 33747, None),
        (("VLLM::APIServer_1",), 8000, "vllm"),
        (("sglang::scheduler_TP1",), 30000, None),
        # Its proxy counts what it is asked as requests of clients, and has no page.
        (("ray::ProxyActor",), 8000, None),
        (("python3", "app.py"), 8000, ""),
        (("python3", "app.py"), 4321, None),
        (("nginx: master process",), 8080, None),
        (("/usr/sbin/sshd",), 8000, None),
        (("grafana", "server"), 3000, None),
    ],
)
def test_only_what_may_be_a_model_server_is_asked(
    command: tuple[str, ...], port: int, server: str | None
) -> None:
    found = candidate(listener(*command, port=port))
    assert (None if found is None else found.server) == server
    if found is not None:
        assert found.why


def test_an_unknown_process_is_asked_on_a_usual_port_alone() -> None:
    assert candidate(Listener("127.0.0.1", 8000)) is not None
    assert candidate(Listener("127.0.0.1", 22)) is None


def test_every_hint_can_be_asked_for_something() -> None:
    assert all(one.ports and (one.paths or one.info) for one in HINTS)
    assert len({one.server for one in HINTS}) == len(HINTS)


# ---------------------------------------------------------------- how it is asked


class Host:
    """Listeners that come and go, and what they answer."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.pages: dict[str, bytes | NoPage] = {}
        self.requests: list[str] = []
        self.discovery = Discovery(self, self.is_wanted, self.fetch)  # type: ignore[arg-type]

    def look(self) -> list[Listener]:
        return self.listeners

    @staticmethod
    def is_wanted(answer: Answer, _candidate: Candidate) -> bool:
        return b"vllm:" in answer.body

    def fetch(self, url: str) -> Answer:
        self.requests.append(url)
        page = self.pages.get(url, NoPage("connect", "connection refused"))
        if isinstance(page, NoPage):
            raise page
        return Answer(page, False, "text/plain", len(page), 0.001)


VLLM = ("python3", "/opt/vllm", "serve")
URL = "http://127.0.0.1:8000/metrics"


def test_a_server_is_found_once_and_missed_when_it_went() -> None:
    host = Host()
    host.listeners, host.pages[URL] = [listener(*VLLM)], PAGE
    (found,), gone = host.discovery.look(0.0)
    assert isinstance(found, Found)
    assert (found.url, found.candidate.server, gone) == (URL, "vllm", [])
    assert host.discovery.look(1.0) == ([], [])
    assert len(host.requests) == 1
    host.listeners = []
    assert host.discovery.look(2.0) == ([], [found])
    assert host.discovery.found == {}


def test_a_restart_is_another_server() -> None:
    host = Host()
    host.listeners, host.pages[URL] = [listener(*VLLM)], PAGE
    (before,), _ = host.discovery.look(0.0)
    host.listeners = [listener(*VLLM, pid=8, started=99)]
    (after,), gone = host.discovery.look(1.0)
    assert (gone, after.listener.process.pid) == ([before], 8)  # type: ignore[union-attr]


def test_one_that_has_nothing_yet_is_asked_ever_more_seldom() -> None:
    host = Host()
    host.listeners = [listener(*VLLM)]
    asked_at = []
    for now in range(0, 20_000, 5):
        before = len(host.requests)
        host.discovery.look(float(now))
        if len(host.requests) > before:
            asked_at.append(now)
    gaps = [after - before for before, after in pairwise(asked_at)]
    assert gaps[0] == FIRST_PAUSE_S
    assert gaps == sorted(gaps)
    assert gaps[-1] >= LAST_PAUSE_S
    assert host.discovery.refused == {"127.0.0.1:8000": "connection refused"}
    host.pages[URL] = PAGE
    assert host.discovery.look(1e9)[0]
    assert host.discovery.refused == {}


def test_one_that_forbids_it_is_never_asked_again() -> None:
    host = Host()
    host.listeners = [listener(*VLLM)]
    host.pages[URL] = NoPage("credentials", "401 Unauthorized", 401)
    for now in range(0, 100_000, 1000):
        host.discovery.look(float(now))
    assert len(host.requests) == 1


def test_a_page_of_something_else_is_none() -> None:
    host = Host()
    host.listeners, host.pages[URL] = [listener("python3", "app.py")], b"other 1\n"
    assert host.discovery.look(0.0) == ([], [])
    assert "none of a model server" in host.discovery.refused["127.0.0.1:8000"]


def test_a_host_full_of_listeners_is_asked_over_several_looks() -> None:
    host = Host()
    host.listeners = [listener(*VLLM, port=port, pid=port) for port in range(9000, 9030)]
    host.discovery.look(0.0)
    assert len(host.requests) == REQUESTS_MAX
    assert host.discovery.is_unfinished
    for now in range(1, 10):
        host.discovery.look(float(now))
    assert len(set(host.requests)) == 30
    assert not host.discovery.is_unfinished


def test_those_that_never_were_asked_go_before_those_that_had_nothing() -> None:
    host = Host()
    ports = range(9000, 9000 + 3 * REQUESTS_MAX)
    host.listeners = [listener(*VLLM, port=port, pid=port) for port in ports]
    for look in range(3):
        host.discovery.look(30.0 * look)
    assert len(set(host.requests)) == 3 * REQUESTS_MAX


def test_a_usual_port_goes_first_and_a_process_with_a_page_is_left_alone() -> None:
    host = Host()
    host.listeners, host.pages[URL] = [listener(*VLLM, port=7001), listener(*VLLM)], PAGE
    for look in range(3):
        host.discovery.look(30.0 * look)
    assert host.requests == [URL]
    host.listeners += [listener(*VLLM, port=7002), listener(*VLLM, port=7003, pid=8)]
    host.discovery.look(100.0)
    assert host.requests[1:] == ["http://127.0.0.1:7003/metrics"]


def test_those_that_keep_silent_do_not_make_a_look_long() -> None:
    host = Host()
    now = [0.0]
    asked: list[str] = []

    def hangs(url: str) -> Answer:
        asked.append(url)
        now[0] += 2.0
        raise NoPage("timeout", "no page within 2 s")

    discovery = Discovery(host, Host.is_wanted, hangs, clock=lambda: now[0])  # type: ignore[arg-type]
    host.listeners = [listener(*VLLM, port=port, pid=port) for port in range(9000, 9030)]
    discovery.look(0.0)
    assert len(asked) == REQUESTING_S / 2


@pytest.fixture
def server() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield http.server_address[1]
    http.shutdown()
    http.server_close()


def test_a_real_page_is_fetched(server: int) -> None:
    class One:
        def look(self) -> list[Listener]:
            return [listener(*VLLM, port=server)]

    discovery = Discovery(One(), Host.is_wanted)  # type: ignore[arg-type]
    (found,), _ = discovery.look(0.0)
    assert found.url == f"http://127.0.0.1:{server}/metrics"
