"""The receiver as a process: real sockets, real signals, real kills."""

from __future__ import annotations

import os
import select
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from vedette.receiver.schema import VERSION
from vedette.receiver.serve import CannotStart, parse_listen

CODE = """
import sys
from pathlib import Path
from vedette.receiver import serve
sys.exit(serve.run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
"""
WAIT_S = 20.0


class Receiver:
    """A receiver in a process of its own, on a free port."""

    def __init__(self, state_dir: Path, listen: str = "127.0.0.1:0", **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, listen, str(state_dir), str(1 << 30)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self.line = ""

    def started(self) -> Receiver:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        assert ready, "no address within the deadline"
        self.line = self.process.stdout.readline()
        assert self.line.startswith("Vedette receiver: http://"), self.end()
        return self

    @property
    def url(self) -> str:
        return self.line.split()[-1].rstrip("/")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def end(self) -> tuple[int, str]:
        """Wait for the end; return (exit status, standard error)."""
        _, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, errors

    def signal(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.end()


def test_the_receiver_loads_no_numpy() -> None:
    # It would add a quarter to the receiver's memory.
    code = "import sys, vedette.receiver.serve; sys.exit('numpy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], timeout=WAIT_S, check=False)
    assert ended.returncode == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    receivers: list[Receiver] = []

    def make(state_dir: Path = tmp_path / "state", **options: Any) -> Receiver:
        receivers.append(Receiver(state_dir, **options))
        return receivers[-1]

    yield make
    for receiver in receivers:
        if receiver.process.poll() is None:
            receiver.process.kill()
        receiver.process.communicate(timeout=WAIT_S)


def send(url: str, otlp: Any, sequence: int) -> httpx.Response:
    request = otlp.metrics(otlp.gauge("a", time.time_ns(), 1.0))
    return httpx.post(
        f"{url}/v1/metrics",
        content=request.SerializeToString(),
        headers={
            "content-type": "application/x-protobuf",
            "vedette-batch": f"{otlp.agent}/{otlp.epoch}/{sequence}",
        },
        timeout=WAIT_S,
    )


def test_it_says_where_it_is_takes_batches_and_ends_cleanly(
    start: Callable[..., Receiver], otlp: Any, tmp_path: Path
) -> None:
    receiver = start().started()
    assert send(receiver.url, otlp, 1).status_code == 200
    answer = httpx.get(f"{receiver.url}/api/v1/hosts", timeout=WAIT_S)
    assert answer.json()["hosts"][0]["host"] == "web-1"
    assert "server" not in answer.headers
    assert "date" in answer.headers
    state = tmp_path / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()} == {0o600}
    before = time.monotonic()
    code, errors = receiver.signal(signal.SIGTERM)
    assert (code, "Traceback" in errors) == (0, False)
    assert time.monotonic() - before < 10.0
    assert "receiver=stopped" in errors


def test_sigint_ends_it_too_while_a_connection_idles(start: Callable[..., Receiver]) -> None:
    receiver = start().started()
    with httpx.Client(base_url=receiver.url, timeout=WAIT_S) as http:
        assert http.get("/healthz").json() == {"ok": True}
        code, errors = receiver.signal(signal.SIGINT)
    assert (code, "Traceback" in errors) == (0, False)


def test_killed_between_commit_and_answer_a_resend_is_one_row(
    start: Callable[..., Receiver], otlp: Any, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    receiver = start().started()
    assert send(receiver.url, otlp, 1).status_code == 200
    # The kill follows the moment the row can be seen, which is before the answer can be: it is the
    # commit that makes the row visible and that the answer waits for.
    outcome: list[Any] = []

    def post() -> None:
        try:
            outcome.append(send(receiver.url, otlp, 2))
        except httpx.HTTPError as error:
            outcome.append(error)

    thread = threading.Thread(target=post)
    with closing(sqlite3.connect(state / "receiver.db", timeout=WAIT_S)) as database:
        thread.start()
        deadline = time.monotonic() + WAIT_S
        while _rows(database) < 2 and time.monotonic() < deadline:
            pass
        receiver.process.kill()
        assert _rows(database) == 2
    thread.join(WAIT_S)
    receiver.end()
    assert outcome
    again = start().started()
    assert send(again.url, otlp, 2).status_code == 200
    assert send(again.url, otlp, 3).status_code == 200
    (epoch,) = httpx.get(f"{again.url}/api/v1/completeness", timeout=WAIT_S).json()["epochs"]
    assert (epoch["received"], epoch["duplicates"], epoch["missing"]) == (3, 1, [])


def _rows(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM batch").fetchone()[0])


@pytest.mark.slow
def test_random_kills_lose_nothing_that_was_answered(
    start: Callable[..., Receiver], otlp: Any
) -> None:
    answered: set[int] = set()
    sequence = 0
    for round_ms in (5, 40, 15, 80):
        receiver = start().started()
        timer = threading.Timer(round_ms / 1000, receiver.process.kill)
        try:
            while True:
                sequence += 1
                if send(receiver.url, otlp, sequence).status_code == 200:
                    answered.add(sequence)
                if timer.ident is None:
                    timer.start()
        except httpx.HTTPError:
            timer.join()
        receiver.end()
    last = start().started()
    (epoch,) = httpx.get(f"{last.url}/api/v1/completeness", timeout=WAIT_S).json()["epochs"]
    missing = {n for first, end in epoch["missing"] for n in range(first, end + 1)}
    assert len(answered) >= 4
    assert not answered & missing


def test_a_second_receiver_on_a_directory_is_refused_with_the_pid(
    start: Callable[..., Receiver],
) -> None:
    first = start().started()
    code, errors = start().end()
    assert code == 2
    assert f"another receiver (pid {first.process.pid})" in errors
    assert "Traceback" not in errors


def test_a_port_in_use_is_said_so(start: Callable[..., Receiver], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, errors = start(listen=f"127.0.0.1:{port}").end()
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in errors


def test_a_newer_database_is_said_so(start: Callable[..., Receiver], tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with closing(sqlite3.connect(state / "receiver.db")) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    code, errors = start().end()
    assert code == 2
    assert "newer version of Vedette" in errors


def test_a_state_directory_that_is_a_file_is_said_so(
    start: Callable[..., Receiver], tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("")
    code, errors = start().end()
    assert code == 2
    assert "cannot use" in errors


def test_other_hosts_are_let_in_only_when_asked_for(start: Callable[..., Receiver]) -> None:
    code, errors = start(listen="0.0.0.0:0").end()
    assert code == 2
    assert "VEDETTE_RECEIVER_ALLOW_REMOTE=1" in errors


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:4319", ("127.0.0.1", 4319)),
        ("127.9.9.9:0", ("127.9.9.9", 0)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:4319", ("::1", 4319)),
    ],
)
def test_loopback_addresses_are_taken(listen: str, expected: tuple[str, int]) -> None:
    assert parse_listen(listen, allow_remote=False) == expected


@pytest.mark.parametrize(
    "listen",
    ["", ":4319", "4319", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "::1:80"],
)
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(CannotStart, match="cannot listen on"):
        parse_listen(listen, allow_remote=True)


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.0.2.7:1", "collector.example:1"])
def test_addresses_others_can_reach_need_permission(listen: str) -> None:
    with pytest.raises(CannotStart, match="refusing to listen"):
        parse_listen(listen, allow_remote=False)
    assert parse_listen(listen, allow_remote=True)[1] == 1


@pytest.mark.slow
def test_a_drip_of_header_bytes_meets_its_deadline(start: Callable[..., Receiver]) -> None:
    receiver = start().started()
    with (
        socket.create_connection(("127.0.0.1", receiver.port), timeout=WAIT_S) as slow,
        socket.create_connection(("127.0.0.1", receiver.port), timeout=WAIT_S) as dumb,
        httpx.Client(base_url=receiver.url, timeout=WAIT_S) as http,
    ):
        slow.sendall(b"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\n")
        # The others are served meanwhile.
        assert http.get("/healthz").status_code == 200
        for connection in (slow, dumb):
            assert connection.recv(1) == b""
        assert http.get("/healthz").status_code == 200


def test_headers_without_end_are_cut_off(start: Callable[..., Receiver]) -> None:
    receiver = start().started()
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=WAIT_S) as wide:
        wide.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000)
        assert wide.recv(12) == b"HTTP/1.1 400"


def test_contradicting_lengths_are_refused(start: Callable[..., Receiver]) -> None:
    receiver = start().started()
    for lengths in (
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=WAIT_S) as liar:
            liar.sendall(
                b"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/x-protobuf\r\n" + lengths + b"\r\n0\r\n\r\n"
            )
            # Chunked with a length too: h11 lets the chunks decide, which leaves no doubt either.
            assert liar.recv(12) in (b"HTTP/1.1 400", b"HTTP/1.1 200")
    assert httpx.get(f"{receiver.url}/healthz", timeout=WAIT_S).json() == {"ok": True}
