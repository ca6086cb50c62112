"""What servers of recorded answers serve, where they are asked, and how seldom."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vedette.serving.asking import Method, Reply, is_local, request
from vedette.serving.candidates import HINTS
from vedette.serving.inventory import Inventory, Model, changes
from vedette.serving.inventory_asking import (
    FIRST_PAUSE_S,
    LAST_PAUSE_S,
    Answers,
    Questions,
    siblings,
)
from vedette.serving.inventory_table import ASKS
from vedette.serving.listening import Listener, Process

ANSWERS = Path(__file__).parents[1] / "fixtures/inventory"
SERVERS = {"llamacpp": "llama.cpp", "rayserve": "ray-serve"}


class Site:
    """Answers that a test changes, and what was asked for."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = answers
        self.status: dict[str, int] = {}
        self.asked: list[str] = []

    def fetch(self, base: str, path: str, method: Method) -> Reply:
        asked = path if method == "GET" else f"{method} {path}"
        self.asked.append(f"{base.removeprefix('http://')}{path}")
        status = self.status.get(asked, 200 if asked in self.answers else 404)
        return Reply(200, self.answers[asked]) if status == 200 else Reply(status, why=str(status))


def recorded(name: str) -> Any:
    (path,) = ANSWERS.glob(f"{name}-*.json")
    return json.loads(path.read_text())


def answers(name: str, *, index: bool = True, names: tuple[str, ...] = ()) -> Answers:
    site = Site(**recorded(name))
    questions = Questions("127.0.0.1:8002", site.fetch, index=index)
    return questions.round(SERVERS.get(name, name), names, 0.0)


def models(found: Answers) -> list[tuple[str, str]]:
    return [one.key for one in found.models]


# ---------------------------------------------------------------- what is read of answers


@pytest.mark.parametrize(
    ("name", "version", "served", "complete"),
    [
        ("vllm", "0.32.0", [("tiny-llama", ""), ("tiny-alias", "")], True),
        ("mlserver", "1.7.1", [("slow", "7"), ("iris", "v1.2.0")], True),
        ("kserve", "0.21.0", [("iris", "")], True),
        ("torchserve", "", [("tiny", "1.0"), ("tiny", "2.0")], True),
        ("llamacpp", "b1-0c1e570", [("tiny", "")], True),
        ("rayserve", "2.60.0", [("iris", ""), ("batch", "")], True),
        ("bentoml", "1.4.39", [("iris_clf", "")], False),
        ("infinity", "", [("tiny-embed", "")], True),
        ("litellm", "", [("mock-gpt", ""), ("broken", ""), ("limited", "")], True),
        ("mosec", "0.9.8", [], False),
        ("litserve", "", [], False),
        ("dynamo", "", [("tiny-llama", "")], True),
        ("sglang-router", "", [("tiny", "")], False),
    ],
)
def test_recorded_answers_tell_version_and_models(
    name: str, version: str, served: list[tuple[str, str]], complete: bool
) -> None:
    found = answers(name)
    assert (found.version, models(found), found.complete) == (version, served, complete)


def test_vllm_tells_path_context_and_adapters() -> None:
    body = recorded("vllm")
    lora = {"id": "sql", "root": "/srv/lora/sql", "parent": "tiny-llama", "max_model_len": None}
    body["/v1/models"]["data"].append(lora)
    questions = Questions("127.0.0.1:8000", Site(**body).fetch, index=False)
    base, _, adapter = questions.round("vllm", (), 0.0).models
    assert (base.root, base.context, base.kind) == ("/srv/models/tinylm", 512, "model")
    assert (adapter.kind, adapter.base, adapter.root) == ("adapter", "tiny-llama", "/srv/lora/sql")


def test_torchserve_tells_since_when_on_what_and_how_it_is() -> None:
    first, second = answers("torchserve").models
    assert first.since_ns // 10**9 == 1795419366
    assert (second.devices, second.state, second.root) == ("cpu", "ready", "tiny-2.0.mar")
    assert second.since_by == "server"


def test_triton_tells_why_a_model_could_not_be_loaded() -> None:
    found = answers("triton")
    assert models(found)[:2] == [("lin", "1"), ("lin", "2")]
    assert found.models[0].state == "unavailable"
    assert found.models[0].reason.startswith("Not found: triton_python_backend_stub")


def test_a_model_of_a_repository_that_is_loaded_later_is_told() -> None:
    body: dict[str, Any] = {"POST /v2/repository/index": [{"name": "m"}]}
    questions = Questions("h:8002", Site(**body).fetch, index=True)
    before = Inventory(models=questions.round("triton", (), 0.0).models)
    assert before.models[0].state == "unloaded"
    body["POST /v2/repository/index"][0].update(version="1", state="READY")
    after = Inventory(models=questions.round("triton", (), 30.0).models)
    assert changes(before, after) == ["has m 1 ready, which was unloaded"]


def test_ollama_tells_digests_and_what_is_loaded() -> None:
    stored = {one.name: one for one in answers("ollama").models}
    assert stored["llama3.2:latest"].state == "stored"
    assert stored["llama3.2:latest"].quantisation == "Q4_K_M"
    assert stored["mistral:latest"].state == "loaded"
    assert stored["mistral:latest"].digest.startswith("2ae6f6dd7a3d")


def test_llama_cpp_tells_quantisation_and_context() -> None:
    (model,) = answers("llamacpp").models
    assert (model.quantisation, model.context, model.parameters) == ("Q8_0", 512, "4.18M")
    assert model.root == "tiny-q8_0.gguf"


def test_no_key_of_a_gateway_is_kept() -> None:
    body = recorded("litellm")
    assert "sk-live" in json.dumps(body)
    found = answers("litellm")
    assert "sk-live" not in repr(found)
    assert found.models[0] == Model("mock-gpt", kind="route", root="openai/mock-gpt")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://user:pa55@host/m.mar?sig=0123", "https://host/m.mar"),
        ("s3://bucket/m.mar#token", "s3://bucket/m.mar"),
        ("/srv/models/m?.mar", "/srv/models/m?.mar"),
    ],
)
def test_credentials_of_an_address_are_not_kept(url: str, told: str) -> None:
    body = {"/models": {"models": [{"modelName": "m", "modelUrl": url}]}}
    found = Questions("h:8081", Site(**body).fetch, index=False).round("torchserve", (), 0.0)
    assert found.models[0].root == told


def test_a_secret_in_a_reason_is_masked() -> None:
    secret = "hf_abcdefghijklmnopqrstuvwxyz0123"
    body = recorded("mlserver")
    body["POST /v2/repository/index"][0]["reason"] = f"401 for token={secret}"
    found = Questions("h:8080", Site(**body).fetch, index=True).round("mlserver", (), 0.0)
    assert found.models[0].reason.startswith("401")
    assert secret not in found.models[0].reason


def test_a_list_is_asked_for_only_where_that_is_allowed() -> None:
    site = Site(**recorded("mlserver"))
    questions = Questions("127.0.0.1:8082", site.fetch, index=False)
    found = questions.round("mlserver", ("iris",), 0.0)
    assert not any("index" in one for one in site.asked)
    assert not found.complete
    (model,) = found.models
    assert (model.name, model.told_by) == ("iris", "name")


def test_only_the_index_is_no_get() -> None:
    others = [one for asks in ASKS.values() for one in asks if one.method != "GET"]
    assert {one.path for one in others} == {"/v2/repository/index"}
    known = {hint.server for hint in HINTS} | {"nim"}
    assert ASKS.keys() <= known


@pytest.mark.parametrize("body", [None, [], {}, 1, "x", {"data": 3}, {"data": [1, None, {}]}])
def test_answers_of_any_shape_harm_nothing(body: object) -> None:
    paths = {ask.path if ask.method == "GET" else f"POST {ask.path}" for ask in ASKS["vllm"]}
    site = Site(**dict.fromkeys(paths, body))
    found = Questions("127.0.0.1:1", site.fetch, index=True).round("vllm", (), 0.0)
    assert found.models == ()


def test_a_host_of_endless_models_is_cut() -> None:
    body = {"data": [{"id": f"m{number}" * 100, "max_model_len": 1e400} for number in range(500)]}
    found = Questions("h:1", Site(**{"/v1/models": body}).fetch, index=False).round("vllm", (), 0.0)
    assert len(found.models) == 50
    assert all(len(one.name) <= 200 for one in found.models)


# ---------------------------------------------------------------- where, and how often


def test_the_api_is_found_on_another_port_of_the_same_process() -> None:
    site = Site(**recorded("torchserve"))
    questions = Questions("127.0.0.1:8092", site.fetch, index=False)
    questions.siblings = ["127.0.0.1:7070", "127.0.0.1:8090", "127.0.0.1:8091", "127.0.0.1:8092"]
    questions.others = frozenset({"127.0.0.1:8081"})
    questions.round("torchserve", (), 0.0)
    assert site.asked[0] == "127.0.0.1:8091/models"
    assert not any("8081" in one for one in site.asked)


def test_where_an_answer_came_from_is_remembered() -> None:
    class Elsewhere(Site):
        def fetch(self, base: str, path: str, method: Method) -> Reply:
            reply = super().fetch(base, path, method)
            return reply if base.endswith(":8000") else Reply(0, why="connection refused")

    site = Elsewhere(**recorded("triton"))
    questions = Questions("127.0.0.1:8002", site.fetch, index=False)
    for now in (0.0, 30.0, 60.0):
        assert questions.round("triton", (), now).version == "2.51.0"
    assert site.asked.count("127.0.0.1:8000/v2") == 3
    assert not any(one.startswith("127.0.0.1:8002") for one in site.asked)


def test_an_answer_of_another_server_is_none() -> None:
    site = Site(**{"/v2": {"name": "mlserver", "version": "1.7.1"}})
    found = Questions("127.0.0.1:8002", site.fetch, index=False).round("triton", (), 0.0)
    assert found.version == ""
    assert dict(found.asked)["/v2"] == "its answer is not of this server"


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_forbidden_is_not_asked_again_before_a_restart(status: int) -> None:
    site = Site()
    site.status["/version"] = status
    questions = Questions("127.0.0.1:8000", site.fetch, index=False)
    for now in range(0, 100_000, 1_000):
        questions.round("vllm", (), float(now))
    assert site.asked.count("127.0.0.1:8000/version") == 1
    questions.renew()
    questions.round("vllm", (), 1e6)
    assert site.asked.count("127.0.0.1:8000/version") == 2


def test_what_is_not_there_is_asked_ever_more_seldom() -> None:
    site = Site()
    questions = Questions("127.0.0.1:8000", site.fetch, index=False)
    at = []
    for now in range(0, 40_000, 10):
        before = len(site.asked)
        questions.round("mosec", (), float(now))
        at += [now] if len(site.asked) > before else []
    gaps = [after - one for one, after in pairwise(at)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (FIRST_PAUSE_S, LAST_PAUSE_S)


def test_what_a_server_counts_is_asked_once() -> None:
    site = Site(**recorded("bentoml"))
    questions = Questions("127.0.0.1:3000", site.fetch, index=False)
    for now in range(0, 10_000, 30):
        assert questions.round("bentoml", (), float(now)).version == "1.4.39"
    assert len(site.asked) == 1


def test_sockets_of_a_process_group_are_told_from_those_of_others() -> None:
    java, worker, other = (Process(pid, 1, "x", ()) for pid in (10, 11, 20))
    listeners = [
        Listener("127.0.0.1", port, process)
        for port, process in ((8082, java), (8081, worker), (9000, other), (9001, None))
    ]
    mine, others = siblings(listeners, java, {10: 10, 11: 10, 20: 20}.__getitem__)
    assert mine == ["127.0.0.1:8082", "127.0.0.1:8081"]
    assert others == {"127.0.0.1:9000"}


# ---------------------------------------------------------------- on a real connection


class Behaviour:
    """What a real server does next."""

    body = b"{}"
    pause_s = 0.0
    status = 200
    location = ""
    asked: list[tuple[str, str, bytes]]


@pytest.fixture
def real() -> Iterator[tuple[Behaviour, str]]:
    behaviour = Behaviour()
    behaviour.asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            behaviour.asked.append((self.command, self.path, self.rfile.read(length)))
            time.sleep(behaviour.pause_s)
            self.send_response(behaviour.status)
            if behaviour.location:
                self.send_header("Location", behaviour.location)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # an answer may be cut off
                self.wfile.write(behaviour.body)

        do_POST = do_GET  # noqa: N815 - as http.server has it

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield behaviour, f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


def test_an_index_is_asked_for_with_an_empty_object(real: tuple[Behaviour, str]) -> None:
    behaviour, base = real
    behaviour.body = b"[]"
    assert request(base, "/v2/repository/index", method="POST") == Reply(200, [])
    assert behaviour.asked == [("POST", "/v2/repository/index", b"{}")]


def test_a_redirect_is_not_followed(real: tuple[Behaviour, str]) -> None:
    behaviour, base = real
    behaviour.status, behaviour.location = 302, "http://example.org/"
    assert request(base, "/v2").status == 302
    assert len(behaviour.asked) == 1


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "its answer is no JSON"),
        (b"[" * 100_000, "its answer is no JSON"),
        (b" " * (5 << 20), "more than 4 MiB"),
    ],
)
def test_an_answer_that_is_none_is_said(real: tuple[Behaviour, str], body: bytes, why: str) -> None:
    behaviour, base = real
    behaviour.body = body
    assert request(base, "/v2").why == why


def test_one_that_hangs_is_left_after_its_time(real: tuple[Behaviour, str]) -> None:
    behaviour, base = real
    behaviour.pause_s = 1.0
    assert request(base, "/v2", timeout_s=0.2).why == "no answer within 0.2 s"


def test_only_this_host_is_asked() -> None:
    assert is_local("127.0.0.1")
    assert is_local("localhost")
    assert is_local("::1") or not socket.has_ipv6
    assert not is_local("192.0.2.1")
    assert not is_local("example.org")
    assert not is_local("0.0.0.0")
    assert request("http://192.0.2.1:80", "/v2").why == "not an address of this host"
