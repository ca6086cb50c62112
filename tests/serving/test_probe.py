"""One small request to a model: real local servers that answer, hang, drip and talk nonsense."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette.api import Observation, Sample, Secret, Unavailable
from vedette.config import load
from vedette.registry import discover
from vedette.serving.collector import ModelServers
from vedette.serving.probe import ModelProbe, ModelProbeConfig, Probe
from vedette.serving.probing import AGENT, BYTES_MAX, Outcome, Request, send
from vedette.testing import check_collector

sys.path.insert(0, str(Path(__file__).parents[1]))
from incident_scenarios import Drive, Scenario, Symptom

CHAT = b'{"id": "x", "choices": [{"message": {"content": "Hello"}}]}'


class Server:
    """A TCP server whose every connection a test scripts: it reads a request, then acts."""

    def __init__(self, act: Callable[[socket.socket, bytes], None]) -> None:
        self.act = act
        self.asked: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ),
                0,
            )
            while len(body) < length:
                body += connection.recv(65536)
            self.asked.append(head + b"\r\n\r\n" + body)
            try:
                self.act(connection, head)
            except OSError:
                return

    def close(self) -> None:
        self.over.set()
        self.socket.close()


def answer(body: bytes = CHAT, status: str = "200 OK", more: str = "") -> Callable[..., None]:
    def act(connection: socket.socket, head: bytes) -> None:
        lines = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        connection.sendall(lines.encode() + body)

    return act


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[..., None]], Server]]:
    made: list[Server] = []

    def start(act: Callable[..., None]) -> Server:
        made.append(Server(act))
        return made[-1]

    yield start
    for one in made:
        one.close()


def hang(connection: socket.socket, head: bytes) -> None:
    while connection.recv(1):
        pass  # until the other side has had enough


def drip(connection: socket.socket, head: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" ")
        time.sleep(0.05)


def drip_headers(connection: socket.socket, head: bytes) -> None:
    for letter in b"HTTP/1.1 200 OK\r\n" * 50:
        connection.sendall(bytes([letter]))
        time.sleep(0.05)


def flood(connection: socket.socket, head: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(BYTES_MAX // 65536 + 40):
        connection.sendall(b" " * 65536)


def garbage(connection: socket.socket, head: bytes) -> None:
    connection.sendall(b"\x00\xff\x00SSH-2.0-nonsense\r\n\r\n")


def ask(server: Server, **more: Any) -> Outcome:
    given = {"kind": "openai-chat", "model": "m", "timeout_s": 2.0, **more}
    return send(Request(server.base, **given))


@pytest.mark.parametrize(
    ("kind", "path", "said", "sent"),
    [
        (
            "openai-completion",
            b"POST /v1/completions ",
            {"choices": [{"text": "a"}]},
            {"model": "m", "prompt": "Hi", "max_tokens": 1, "temperature": 0},
        ),
        (
            "openai-chat",
            b"POST /v1/chat/completions ",
            {"choices": [{}]},
            {
                "model": "m",
                "messages": [{"role": "user", "content": "Hi"}],
                "max_tokens": 1,
                "temperature": 0,
            },
        ),
        (
            "ollama",
            b"POST /api/generate ",
            {"done": True},
            {
                "model": "m",
                "prompt": "Hi",
                "stream": False,
                "options": {"num_predict": 1, "temperature": 0},
            },
        ),
    ],
)
def test_one_token_is_asked_for_in_the_words_of_the_server(
    serve: Callable[..., Server], kind: str, path: bytes, said: object, sent: object
) -> None:
    server = serve(answer(json.dumps(said).encode()))
    outcome = ask(server, kind=kind)
    assert (outcome.reason, outcome.status) == ("", 200)
    assert outcome.seconds > 0
    (asked,) = server.asked
    assert asked.startswith(path)
    assert f"User-Agent: {AGENT}".encode() in asked
    assert b"Authorization" not in asked
    assert json.loads(asked.partition(b"\r\n\r\n")[2]) == sent


def test_inputs_of_the_v2_protocol_are_zeros_as_the_model_wants_them(
    serve: Callable[..., Server],
) -> None:
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "words", "datatype": "BYTES", "shape": [-1]},
    ]

    def act(connection: socket.socket, head: bytes) -> None:
        is_infer = b"/infer " in head
        said = {"outputs": [{"name": "y"}]} if is_infer else {"name": "m", "inputs": inputs}
        answer(json.dumps(said).encode())(connection, head)

    server = serve(act)
    assert ask(server, kind="v2-infer", model="a b/c").reason == ""
    first, second = server.asked
    assert first.startswith(b"GET /v2/models/a%20b%2Fc ")
    assert second.startswith(b"POST /v2/models/a%20b%2Fc/infer ")
    assert json.loads(second.partition(b"\r\n\r\n")[2]) == {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [0, 0, 0]},
            {"name": "words", "datatype": "BYTES", "shape": [1], "data": [""]},
        ]
    }


@pytest.mark.parametrize(
    "metadata",
    [
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [4096, 4096]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1e99]}]}',
        b'{"inputs": []}',
        b'{"name": "m"}',
        b"<html>",
    ],
)
def test_a_model_whose_inputs_cannot_be_made_up_needs_a_body(
    serve: Callable[..., Server], metadata: bytes
) -> None:
    server = serve(answer(metadata))
    assert ask(server, kind="v2-infer").reason == "inputs"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("act", "reason", "status"),
    [
        (answer(status="500 Oops"), "5xx", 500),
        (answer(status="503 Busy"), "5xx", 503),
        (answer(status="404 Not Found"), "4xx", 404),
        (answer(status="302 Found", more="Location: http://127.0.0.1:1/\r\n"), "3xx", 302),
        (answer(status="401 Who"), "credentials", 401),
        (answer(b"<html>it works</html>"), "answer", 200),
        (answer(b'{"error": "no"}'), "answer", 200),
        (answer(b'{"choices": []}'), "answer", 200),
        (answer(b'{"choices": 5}'), "answer", 200),
        (answer(b"[" * 100_000), "answer", 200),
        (answer(b"\xff\xfe"), "answer", 200),
        (answer(b""), "answer", 200),
        (garbage, "protocol", 0),
        (flood, "too_large", 0),
        (lambda connection, head: None, "protocol", 0),
    ],
)
def test_what_is_no_answer_has_a_reason_of_a_fixed_set(
    serve: Callable[..., Server], act: Callable[..., None], reason: str, status: int
) -> None:
    outcome = ask(serve(act))
    assert (outcome.reason, outcome.status) == (reason, status)


@pytest.mark.parametrize("act", [hang, drip, drip_headers])
def test_a_server_that_hangs_or_drips_is_cut_at_the_deadline(
    serve: Callable[..., Server], act: Callable[..., None]
) -> None:
    outcome = ask(serve(act), timeout_s=0.4)
    assert outcome.reason == "timeout"
    assert outcome.seconds >= 0.4


def test_nobody_there_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert send(Request(f"http://127.0.0.1:{port}", "http")).reason == "connect"


def test_a_host_that_has_no_address_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert send(Request("http://models.example.org", "http")).reason == "dns"


def test_plain_http_is_no_tls(serve: Callable[..., Server]) -> None:
    server = serve(answer())
    outcome = send(Request(server.base.replace("http", "https"), "http", timeout_s=1))
    assert outcome.reason in ("tls", "timeout")


def test_any_page_can_be_asked_for_what_it_must_say(serve: Callable[..., Server]) -> None:
    server = serve(answer(b"status: ready, 2 models"))
    assert ask(server, kind="http", path="/ready", expect=r"\d+ models").reason == ""
    assert server.asked[-1].startswith(b"GET /ready ")
    assert ask(server, kind="http", expect="3 models").reason == "expect"
    assert ask(server, kind="http", path="/ask", body='{"q": 1}').reason == ""
    assert server.asked[-1].startswith(b"POST /ask ")
    assert server.asked[-1].endswith(b'\r\n\r\n{"q": 1}')


def test_the_key_is_read_at_each_request_and_never_told(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answer())
    path = tmp_path / "key"
    for key in ("sk-one", "sk-two"):
        path.write_text(key + "\n")
        assert ask(server, token=Secret(file=str(path))).reason == ""
        assert f"Authorization: Bearer {key}\r\n".encode() in server.asked[-1]
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    assert ask(server, token=Secret(env="NO_SUCH_KEY")).reason == "credentials"
    path.write_text("a\r\nX-Injected: 1")
    assert ask(server, token=Secret(file=str(path))).reason == "credentials"
    assert len(server.asked) == 2


# ---------------------------------------------------------------- the collector


class Run:
    """The collector on a clock of its own; requests are waited for."""

    def __init__(self, *probes: Probe) -> None:
        self.collector = ModelProbe(ModelProbeConfig(probes))
        self.now = 1000.0
        self.collector.monotonic = lambda: self.now
        self.told: list[Observation] = []

    def tick(self, seconds: float = 5.0) -> dict[str, float]:
        self.now += seconds
        list(self.collector.collect())
        for one in self.collector._asked:
            one.wait(5.0)
        self.told = list(self.collector.collect())
        return {
            one.series.instrument.name.rpartition(".")[2]: one.value
            for one in self.told
            if isinstance(one, Sample)
        }


def probe(server: Server, **more: Any) -> Probe:
    return Probe(**{"endpoint": server.base, "kind": "openai-chat", "model": "m", **more})


def test_its_contract_holds(serve: Callable[..., Server]) -> None:
    server = serve(answer(status="500 No"))
    config = ModelProbeConfig((probe(server),))

    class Prompt(ModelProbe):
        def collect(self) -> Iterator[Sample]:
            yield from super().collect()
            for one in self._asked:
                one.wait(5.0)

    check_collector(Prompt, config, may_omit={"vedette.model.probe.duration"})


def test_without_configuration_nothing_is_sent() -> None:
    with pytest.raises(Unavailable, match="nothing is sent"):
        ModelProbe(ModelProbeConfig()).probe()


def test_a_request_is_sent_when_it_is_due_and_no_sooner(serve: Callable[..., Server]) -> None:
    server = serve(answer())
    run = Run(probe(server, every=60))
    first = run.tick()
    assert (first["success"], first["silence"]) == (1, 0)
    assert first["duration"] > 0
    for _ in range(11):
        assert "duration" not in run.tick()
    assert len(server.asked) == 1
    assert "duration" in run.tick()
    assert len(server.asked) == 2


def test_a_model_that_fails_is_asked_sooner_and_its_silence_grows(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(answer())
    run = Run(probe(server, every=60))
    run.tick()
    server.act = answer(status="500 Oops")
    read = run.tick(60)
    assert (read["success"], read["silence"], read["failures"]) == (0, 0, 1)
    read = run.tick(15)
    assert (read["silence"], read["failures"]) == (15, 2)
    read = run.tick(15)
    assert (read["silence"], read["failures"]) == (30, 3)
    server.act = answer()
    read = run.tick(15)
    assert (read["success"], read["silence"], read["failures"]) == (1, 0, 3)
    states = [one.message.split(" ")[2] for one in caplog.records if "probe" in one.message]
    assert states == ["state=failing", "state=ok"]


def test_one_that_hangs_holds_up_neither_the_collector_nor_the_others(
    serve: Callable[..., Server],
) -> None:
    stuck, well = serve(hang), serve(answer())
    collector = ModelProbe(ModelProbeConfig((probe(stuck, timeout=30), probe(well))))
    now = 1000.0
    collector.monotonic = lambda: now
    for _ in range(5):
        now += 100
        list(collector.collect())
        collector._asked[1].wait(5.0)
    first, second = collector._asked
    assert second.answer is not None
    assert second.answer.reason == ""
    assert first.answer is None, "it has been waited for"
    assert len(stuck.asked) == 1, "a second request while the first is under way"
    assert len(well.asked) == 4, "the second is asked a moment after the first"


def test_what_it_knows_can_be_asked_for_without_the_key(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_text("sk-very-secret")
    run = Run(probe(serve(answer()), token=Secret(file=str(path))))
    run.tick()
    said = run.collector.answer("list", {})
    assert said["probes"][0]["reason"] == ""
    assert "sk-very-secret" not in str(said) + repr(run.collector.config)
    with pytest.raises(LookupError):
        run.collector.answer("secrets", {})


# ---------------------------------------------------------------- the configuration


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"endpoint": "ftp://127.0.0.1"}, "not an address"),
        ({"endpoint": "127.0.0.1:8000"}, "not an address"),
        ({"endpoint": "http://127.0.0.1:x"}, "not an address"),
        ({"endpoint": "http://127.0.0.1:8000/a b"}, "not an address"),
        ({"endpoint": "http://u:p@127.0.0.1:8000"}, "by token"),
        ({"endpoint": "http://example.org"}, "remote = true"),
        ({"endpoint": "http://10.0.0.7:8000"}, "remote = true"),
        ({"model": ""}, "needs a model"),
        ({"every": 1}, "every = 1s"),
        ({"timeout": 0}, "timeout = 0s"),
        ({"path": "v1"}, "does not begin with /"),
        ({"path": "/a\r\nX: 1"}, "does not begin with /"),
        ({"ca_file": "/x.pem"}, "https"),
        ({"expect": "("}, "not a regular expression"),
    ],
)
def test_a_wrong_probe_is_refused_by_name(wrong: dict[str, Any], words: str) -> None:
    sound: dict[str, Any] = {
        "endpoint": "http://127.0.0.1:8000",
        "kind": "openai-chat",
        "model": "m",
    }
    Probe(**sound)
    with pytest.raises(ValueError, match=words):
        Probe(**{**sound, **wrong})


def test_another_host_may_be_asked_when_it_is_said() -> None:
    Probe(endpoint="https://models.example.org", kind="http", remote=True)
    for here in ("http://localhost:1", "http://127.9.9.9:1", "http://[::1]:1"):
        Probe(endpoint=here, kind="http")


def test_probes_are_bounded_and_distinct() -> None:
    one = Probe(endpoint="http://127.0.0.1:8000", kind="http")
    with pytest.raises(ValueError, match=r"two probes of 127\.0\.0\.1:8000"):
        ModelProbeConfig((one, msgspec.structs.replace(one, every=90)))
    many = tuple(Probe(endpoint=f"http://127.0.0.1:{port}", kind="http") for port in range(1, 34))
    with pytest.raises(ValueError, match="33 probes"):
        ModelProbeConfig(many)


def test_the_configuration_file_says_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        "[collectors.model_probe]\nprobes = [\n"
        '  { endpoint = "http://127.0.0.1:8000", kind = "openai-chat", model = "m", '
        'every = "30s", token = { env = "KEY" } },\n'
        '  { endpoint = "http://127.0.0.1:8001", kind = "http", expect = "ok" },\n]\n'
    )
    config, problems = load(path, discover(plugins_dir=tmp_path / "none"))
    assert not problems
    assert config is not None
    (found,) = (one for one in config.collectors if one.name == "model_probe")
    path.write_text(path.read_text().replace("127.0.0.1:8001", "example.org"))
    _, problems = load(path, discover(plugins_dir=tmp_path / "none"))
    assert any("remote = true" in one.text for one in problems)
    assert found.enabled


# ---------------------------------------------------------------- the incident


def test_a_server_that_is_read_and_serves_nobody_is_said_in_a_sentence() -> None:
    drive = Drive()
    failing = Symptom(ModelProbe.silence.series("127.0.0.1:8000", "llama", "openai-chat"), 0, 15.0)
    drive.run(Scenario("probe", (failing,), (), "model"), seconds=30)
    (incident,) = drive.correlator.incidents
    assert incident.title.startswith(
        "Model llama on 127.0.0.1:8000 does not answer requests (15 s) since "
    )


def test_a_server_that_neither_answers_nor_serves_is_one_incident() -> None:
    def silent(port: int, after: int) -> Symptom:
        silence = ModelServers.silence.series(f"127.0.0.1:{port}", "vllm")
        return Symptom(silence, after, 60.0, p=0.0, severity="warning")

    place = ("127.0.0.1:8000", "llama", "openai-chat")
    failing = Symptom(ModelProbe.silence.series(*place), 20, 15.0, p=0.0, severity="warning")
    for port, number in ((8000, 1), (8001, 2)):
        drive = Drive()
        drive.run(Scenario("down", (silent(port, 0), failing), (), "model"), seconds=60)
        assert len(drive.correlator.incidents) == number
