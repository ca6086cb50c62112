"""vedette models list and show, of an inventory that a real agent's socket hands out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vedette.cli import main
from vedette.control import ControlServer
from vedette.serving.inventory import Holder, Inventory, Model, ModelFile, shown

FILE = ModelFile("model.safetensors", 3 << 30, 1, "ab" * 32, "name", "cd" * 32, "", "/h/x", 7)


def told() -> Mapping[str, Any]:
    """Return a server as the collector tells of it, with ages that are right now."""
    now = time.time_ns()
    models = (
        Model(
            "tiny", "2", revision="0123456789" * 4, quantisation="awq 4 bit", context=8192,
            license="mit", since_ns=now - 7_200_000_000_000, since_by="seen", files=(FILE,),
            path="/h", omitted=2, notes=("a: a link that leads elsewhere, not followed",),
        ),
        Model("sql", kind="adapter", base="tiny", state="unavailable", reason="out of memory"),
        Model("seen", told_by="page"),
    )  # fmt: skip
    inventory = Inventory(
        "vllm",
        "0.32.0",
        models,
        True,
        kv_tokens=65536,
        holder=Holder(7, now - 60_000_000_000, "vllm", "vllm serve tiny\x1b[2J", "vllm.service"),
        asked={"/version": "answered", "/v1/models": "401 Unauthorized"},
    )
    return {
        "endpoint": "127.0.0.1:8000", "server": "vllm", "title": "vLLM 0.32.0", "up": True,
        "reason": "", "since": now, "models": ["tiny 2", "sql"], "missing": [],
        "inventory": shown(inventory),
    }  # fmt: skip


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    def collector(_request: dict[str, Any]) -> Mapping[str, Any]:
        return {"servers": [told()], "proposed": {}, "refused": {}, "digests_left": 5 << 30}

    server = ControlServer(tmp_path, {"collector": collector})
    server.start()
    yield tmp_path
    server.stop()


def test_the_list_has_the_main_facts(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--state-dir", str(agent)]) == 0
    text = " ".join(capsys.readouterr().out.split())  # a narrow terminal breaks the line
    assert "tiny 2 (awq 4 bit, context 8192, 3 GiB, 012345678901)" in text
    assert "adapter sql (unavailable)" in text
    assert "seen" not in text


def test_all_that_is_known_is_shown(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "--state-dir", str(agent)]) == 0
    text = capsys.readouterr().out
    for words in (
        "127.0.0.1:8000  vLLM 0.32.0  up",
        "vllm (7), unit vllm.service, since 1 min",
        "65536 tokens",
        "/v1/models: 401 Unauthorized",
        "model tiny 2",
        "since 2 h (as was seen)",
        "awq 4 bit",
        f"model.safetensors  3.0 GiB  sha256:{'ab' * 32} (as its store calls it)",
        "2 more files",
        "a link that leads elsewhere",
        "adapter sql",
        "out of memory",
        "named by the page of metrics alone",
        "5.0 GiB still to be read",
    ):
        assert words in text
    assert "\x1b[2J" not in text


@pytest.mark.parametrize("what", ["127.0.0.1:8000", "tiny", "tiny 2"])
def test_one_is_shown_by_its_endpoint_or_its_model(
    agent: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    assert main(["models", "show", what, "--state-dir", str(agent)]) == 0
    text = capsys.readouterr().out
    assert "model tiny 2" in text
    assert ("adapter sql" in text) is (what == "127.0.0.1:8000")


def test_a_program_gets_all_of_it(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "tiny", "--state-dir", str(agent), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (server,) = told["servers"]
    assert server["inventory"]["models"][0]["files"][0]["sha256"] == "ab" * 32
    assert told["digests_left"] == 5 << 30


def test_a_name_that_nobody_has_is_said(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "nope", "--state-dir", str(agent)]) == 2
    assert "no model server or model is called 'nope'" in capsys.readouterr().err


def test_without_an_agent_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "--state-dir", str(tmp_path)]) == 2
    assert "no agent is running" in capsys.readouterr().err
