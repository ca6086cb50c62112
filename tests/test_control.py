"""The control socket: a real server and real clients on real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vedette.api import Suspect
from vedette.control import (
    CONNECTIONS_MAX,
    REQUEST_MAX,
    ControlError,
    ControlServer,
    NotRunning,
    call,
)


def _boom(request: dict[str, Any]) -> dict[str, Any]:
    raise ValueError("secret detail")


def _unknown_incident(request: dict[str, Any]) -> dict[str, Any]:
    raise ControlError(f"no incident {request['id']}")


HANDLERS = {
    "echo": lambda request: {"got": request},
    "struct": lambda request: {"suspect": Suspect("process", "stress", "1", 0.5, "half")},
    "nan": lambda request: {"value": float("nan")},
    "big": lambda request: {"text": "x" * 3_000_000},
    "boom": _boom,
    "incident": _unknown_incident,
}


@contextlib.contextmanager
def serving(state_dir: Path, timeout_s: float = 5.0) -> Iterator[ControlServer]:
    server = ControlServer(state_dir, HANDLERS, timeout_s=timeout_s)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def raw(state_dir: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    connection.connect(str(state_dir / "control.sock"))
    return connection


def test_a_question_is_answered_with_its_arguments(tmp_path: Path) -> None:
    with serving(tmp_path):
        assert call(tmp_path, "echo", all=True) == {"got": {"verb": "echo", "all": True}}


def test_structs_and_missing_numbers_travel_as_plain_json(tmp_path: Path) -> None:
    with serving(tmp_path):
        assert call(tmp_path, "struct")["suspect"]["name"] == "stress"
        assert call(tmp_path, "nan") == {"value": None}


def test_an_answer_larger_than_any_buffer_arrives_whole(tmp_path: Path) -> None:
    with serving(tmp_path):
        assert len(call(tmp_path, "big")["text"]) == 3_000_000


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600


def test_the_socket_is_gone_after_stop_and_stop_is_safe_twice(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        pass
    server.stop()
    assert list(tmp_path.iterdir()) == []
    ControlServer(tmp_path, HANDLERS).stop()


def test_without_an_agent_the_error_says_so_and_what_to_do(tmp_path: Path) -> None:
    for state_dir in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotRunning, match="no agent is running") as caught:
            call(state_dir, "status")
        assert "vedette run" in caught.value.remedy


def test_the_socket_of_a_dead_agent_is_replaced(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "control.sock"))
    dead.close()
    with pytest.raises(NotRunning):
        call(tmp_path, "echo")
    with serving(tmp_path):
        assert call(tmp_path, "echo")["got"]["verb"] == "echo"


def test_a_second_agent_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path):
        with pytest.raises(ControlError, match="another agent runs"):
            ControlServer(tmp_path, HANDLERS).start()
        assert call(tmp_path, "echo")


def test_a_file_in_the_way_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "control.sock").write_text("mine")
    with pytest.raises(ControlError, match="not a socket"):
        ControlServer(tmp_path, HANDLERS).start()
    assert (tmp_path / "control.sock").read_text() == "mine"


def test_a_path_too_long_for_a_socket_address_works_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with serving(deep) as server:
        assert len(str(server.path)) > 200
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600
        assert call(deep, "echo")["got"]["verb"] == "echo"
    assert list(deep.iterdir()) == []


def test_an_error_of_the_handler_reaches_the_client_as_text(tmp_path: Path) -> None:
    with serving(tmp_path), pytest.raises(ControlError, match="no incident x1"):
        call(tmp_path, "incident", id="x1")


def test_a_crash_of_the_handler_is_an_answer_and_the_next_question_works(tmp_path: Path) -> None:
    with serving(tmp_path):
        with pytest.raises(ControlError, match=r"internal error \(ValueError\)") as caught:
            call(tmp_path, "boom")
        assert "secret detail" not in str(caught.value)
        assert call(tmp_path, "echo")


def test_an_unknown_verb_names_the_known_ones(tmp_path: Path) -> None:
    with serving(tmp_path), pytest.raises(ControlError, match=r"unknown verb 'nope'.*boom, echo"):
        call(tmp_path, "nope")


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b"{\n", b"\xff\xfe\n", b'{"verb": 7}\n', b'{"verb": ["echo"]}\n']
)
def test_a_malformed_request_gets_an_error_answer(tmp_path: Path, line: bytes) -> None:
    with serving(tmp_path), raw(tmp_path) as connection:
        connection.sendall(line)
        answer = json.loads(connection.makefile("rb").readline())
        assert answer["ok"] is False
        assert answer["error"]


def test_a_request_longer_than_the_limit_is_refused_not_kept(tmp_path: Path) -> None:
    with serving(tmp_path), raw(tmp_path) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"x" * (REQUEST_MAX + 2))
        assert json.loads(connection.makefile("rb").readline())["ok"] is False
    with pytest.raises(ControlError, match="longer than"):
        call(tmp_path, "echo", text="x" * REQUEST_MAX)


def test_a_silent_client_delays_nobody_and_is_dropped_at_the_deadline(tmp_path: Path) -> None:
    with serving(tmp_path, timeout_s=0.5) as server, raw(tmp_path) as silent:
        assert call(tmp_path, "echo")
        assert silent.recv(1) == b""
        assert server.refused == 1


def test_a_client_that_never_reads_is_dropped_at_the_deadline(tmp_path: Path) -> None:
    with serving(tmp_path, timeout_s=0.5) as server, raw(tmp_path) as deaf:
        deaf.sendall(b'{"verb": "big"}\n')
        deadline = time.monotonic() + 5
        while server.refused == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.refused == 1
        assert call(tmp_path, "echo")


def test_clients_beyond_the_limit_wait_for_their_turn(tmp_path: Path) -> None:
    with serving(tmp_path, timeout_s=5), contextlib.ExitStack() as stack:
        held = [stack.enter_context(raw(tmp_path)) for _ in range(CONNECTIONS_MAX)]
        answers: list[dict[str, Any]] = []
        late = threading.Thread(target=lambda: answers.append(call(tmp_path, "echo")))
        late.start()
        late.join(0.2)
        assert answers == []
        held[0].close()
        late.join(5)
        assert answers == [{"got": {"verb": "echo"}}]


def test_an_agent_that_does_not_answer_is_named_after_the_timeout(tmp_path: Path) -> None:
    mute = socket.socket(socket.AF_UNIX)
    mute.bind(str(tmp_path / "control.sock"))
    mute.listen(1)
    with mute, pytest.raises(ControlError, match=r"did not answer within 0\.2 s"):
        call(tmp_path, "echo", timeout_s=0.2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_gets_no_answer_even_where_the_directory_lets_them_in() -> None:
    with tempfile.TemporaryDirectory() as directory, serving(Path(directory)) as server:
        Path(directory).chmod(0o755)
        server.path.chmod(0o666)
        child = os.fork()
        if child == 0:
            os.setresuid(65534, 65534, 65534)
            code = 1
            try:
                call(Path(directory), "echo", timeout_s=2)
            except ControlError:
                code = 7
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert server.refused == 1
