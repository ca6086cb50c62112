"""vedette models list and discover, against a real agent's socket and real listeners."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vedette.cli import main
from vedette.control import ControlServer

sys.path.insert(0, str(Path(__file__).parent / "serving"))
from local_server import started

ANSWER = {
    "discover": "on",
    "servers": [
        {
            "endpoint": "127.0.0.1:8000",
            "server": "vllm",
            "title": "vLLM 0.15 and later",
            "up": True,
            "reason": "",
            "since": 1,
            "models": ["m"],
            "missing": ["vedette.model.tokens"],
        },
        {
            "endpoint": "127.0.0.1:8002",
            "server": "triton",
            "title": "Triton",
            "up": False,
            "reason": "connection refused",
            "since": 1,
            "models": [],
            "missing": [],
        },
    ],
    "proposed": {},
    "refused": {"127.0.0.1:8080": "404 Not Found"},
}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    asked: list[Mapping[str, Any]] = []

    def collector(request: dict[str, Any]) -> Mapping[str, Any]:
        asked.append(request)
        return ANSWER

    server = ControlServer(tmp_path, {"collector": collector})
    server.start()
    yield tmp_path
    server.stop()
    assert all((one["collector"], one["question"]) == ("model_servers", "list") for one in asked)


def test_the_servers_that_are_read_are_listed(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--state-dir", str(agent)]) == 0
    shown = capsys.readouterr().out
    assert "127.0.0.1:8000  vLLM 0.15 and later  up" in shown
    assert "connection refused" in shown
    assert "127.0.0.1:8000: vedette.model.tokens" in shown
    assert "127.0.0.1:8080: 404 Not Found" in shown
    assert main(["models", "list", "--state-dir", str(agent), "--json"]) == 0
    assert '"server": "triton"' in capsys.readouterr().out


def test_without_an_agent_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--state-dir", str(tmp_path)]) == 2
    assert "no agent is running" in capsys.readouterr().err


def test_a_server_is_discovered_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    child, port = started()
    try:
        assert main(["models", "discover"]) == 0
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()
    shown = capsys.readouterr().out
    assert f"http://127.0.0.1:{port}/metrics  vllm" in shown
    assert f"process {child.pid} is called 'vllm'" in shown
