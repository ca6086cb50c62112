"""The collector's inventory: a restart is one event, a first request none, Ollama is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette.api import Event, Record, Sample
from vedette.exposition.scrape import Answer
from vedette.serving import collector
from vedette.serving.candidates import Candidate
from vedette.serving.collector import ModelServers
from vedette.serving.discovery import PAGE_PAUSE_S, Discovery
from vedette.serving.listening import Listener, Listening, Process
from vedette.serving.settings import ModelServersConfig

PAGES = Path(__file__).parents[1] / "fixtures/serving"
ANSWERS = Path(__file__).parents[1] / "fixtures/inventory"

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
folder, port = sys.argv[1], int(sys.argv[2])
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with open(folder + "/asked", "a") as file:
            print(self.path, file=file)
        said = json.load(open(folder + "/answers.json"))
        name = said.get(self.path)
        body = b"" if name is None else (
            open(name, "rb").read() if isinstance(name, str) else json.dumps(name).encode())
        self.send_response(404 if name is None else 200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
HTTPServer.allow_reuse_address = True
server = HTTPServer(("127.0.0.1", port), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Child:
    """A process that serves what a test says; it may be started again on the same port."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.arguments = arguments
        self.port = 0
        self.child: subprocess.Popen[str] | None = None

    def say(self, **answers: Any) -> None:
        (self.folder / "answers.json").write_text(json.dumps(answers))

    def start(self) -> None:
        command = [sys.executable, "-c", SERVER, str(self.folder), str(self.port), *self.arguments]
        self.child = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=self.folder, start_new_session=True
        )
        assert self.child.stdout is not None
        self.port = int(self.child.stdout.readline())

    def end(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.communicate()
        self.child = None

    @property
    def listener(self) -> Listener:
        assert self.child is not None
        stat = Path(f"/proc/{self.child.pid}/stat").read_text()
        started = int(stat.rpartition(")")[2].split()[19])
        process = Process(self.child.pid, started, "python", ("python", *self.arguments))
        return Listener("127.0.0.1", self.port, process)

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    made = Child(tmp_path, "vllm", "serve", "tiny", "--api-key", "sk-live-0123456789abcdefABCDEF")
    yield made
    made.end()


class Run:
    """The collector on a clock of its own, that sees the listeners of one child alone."""

    def __init__(self, child: Child, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
        class Seeing(Listening):
            def look(self) -> list[Listener]:
                self.newest = (child.listener,) if child.child is not None else ()
                return list(self.newest)

        monkeypatch.setattr(collector, "Listening", Seeing)
        self.servers = ModelServers(ModelServersConfig(**config))
        self.servers.state_dir = str(child.folder / "state")
        self.now = 1000.0
        self.servers.monotonic = lambda: self.now
        self.ups: list[float] = []
        self.records: list[Record] = []

    def tick(self, seconds: float = 10.0) -> list[str]:
        """Return the events of a tick."""
        self.now += seconds
        told = list(self.servers.collect())
        self.ups = [
            one.value
            for one in told
            if isinstance(one, Sample) and one.series.instrument.name == "vedette.model.server.up"
        ]
        self.records = [one for one in told if isinstance(one, Record)]
        return [one.text for one in told if isinstance(one, Event)]

    @property
    def server(self) -> dict[str, Any]:
        (one,) = self.servers.answer("list", {})["servers"]
        return dict(one)


def vllm(page: int = 0, model: str = "tiny", context: int = 512, **more: Any) -> dict[str, Any]:
    card = {"id": model, "owned_by": "vllm", "root": model, "max_model_len": context, **more}
    return {
        "/metrics": str(sorted(PAGES.glob("vllm-0.32.0/page.*.prom"))[page]),
        "/version": {"version": "0.32.0"},
        "/v1/models": {"data": [card]},
    }


def test_a_server_is_told_with_its_version_its_model_and_its_files(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    (child.folder / "tiny").mkdir()
    (child.folder / "tiny/model.safetensors").write_bytes(b"weights")
    child.say(**vllm())
    child.start()
    run = Run(child, monkeypatch)
    run.tick()
    run.tick()
    assert run.server["title"] == "vLLM 0.32.0"
    (model,) = run.server["inventory"]["models"]
    assert (model["name"], model["context"]) == ("tiny", 512)
    (file,) = model["files"]
    assert (file["name"], file["size"]) == ("model.safetensors", 7)
    holder = run.server["inventory"]["holder"]
    assert holder["pid"] == child.listener.process.pid  # type: ignore[union-attr]
    assert "sk-live" not in json.dumps(run.server)
    msgspec.json.encode(run.servers.answer("list", {}))
    for _ in range(3):
        run.tick()
    assert run.server["inventory"]["models"][0]["files"][0]["source"] == "content"
    assert "digests.json" in os.listdir(child.folder / "state")  # noqa: PTH208


def test_the_record_has_the_inventory(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    child.say(**vllm())
    child.start()
    run = Run(child, monkeypatch)
    run.tick()
    (record,) = run.records
    told = record.attributes["vedette.model.inventory"]
    assert told["models"][0]["name"] == "tiny"
    assert record.attributes["vedette.model.names"] == ["tiny"]
    child.say(**vllm(context=1024))
    (text,) = run.tick(40)
    assert text.endswith("changed context length of tiny: 512 → 1024")
    assert run.records[0].attributes["vedette.model.changes"] == [
        "changed context length of tiny: 512 → 1024"
    ]


def test_a_quick_restart_is_one_event(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    child.say(**vllm(-1))
    child.start()
    run = Run(child, monkeypatch)
    run.tick()
    run.tick()
    child.end()
    child.say(**vllm(0))  # its counters begin anew
    child.start()
    events = [text for _ in range(8) for text in run.tick()]
    assert events == [f"vLLM 0.32.0 on 127.0.0.1:{child.port} was started again"]
    assert run.ups == [1.0]


def test_a_restart_with_another_model_is_one_event(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.say(**vllm(-1))
    child.start()
    run = Run(child, monkeypatch)
    run.tick()
    child.end()
    child.say(**vllm(0, "other", 1024))
    child.start()
    events = [text for _ in range(8) for text in run.tick()]
    here = f"vLLM 0.32.0 on 127.0.0.1:{child.port}"
    assert events == [f"{here} was started again; serves other; no longer serves tiny"]


@pytest.mark.parametrize("config", [{}, {"discover": "off"}])
def test_a_server_that_was_away_is_told_twice_that_it_went_and_that_it_was_started(
    child: Child, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    child.say(**vllm())
    child.start()
    if config:
        config = {**config, "pages": (f"http://127.0.0.1:{child.port}/metrics",)}
    run = Run(child, monkeypatch, **config)
    run.tick()
    child.end()
    gone = [text for _ in range(5) for text in run.tick()]
    assert len(gone) == 1
    assert "stopped answering" in gone[0]
    child.start()
    back = [text for _ in range(12) for text in run.tick()]
    assert back == [f"vLLM 0.32.0 on 127.0.0.1:{child.port} was started again"]


def test_other_files_under_the_same_name_are_an_event(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = child.folder / "tiny"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    child.say(**vllm())
    child.start()
    run = Run(child, monkeypatch)
    for _ in range(4):
        run.tick()
    (folder / "model.safetensors").write_bytes(b"WEIGHTS")
    events = [text for _ in range(60) for text in run.tick()]
    here = f"vLLM 0.32.0 on 127.0.0.1:{child.port}"
    assert events == [f"{here} changed files of tiny: model.safetensors"]


def test_a_first_request_is_no_event(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    child.arguments = ("mlserver", "start", ".")
    first, later = (PAGES / f"mlserver-1.7.1/page.{number}.prom" for number in (0, 2))
    lines = [x for x in first.read_bytes().splitlines(True) if b'model="' not in x]
    (child.folder / "page").write_bytes(
        b"".join(lines) + b'model_infer_request_success_total{model="old",version="1"} 3\n'
    )
    (child.folder / "later").write_bytes(
        later.read_bytes() + b'model_infer_request_success_total{model="old",version="1"} 3\n'
    )
    said = {"/v2": {"name": "mlserver", "version": "1.7.1"}}
    child.say(**said, **{"/metrics": str(child.folder / "page")})
    child.start()
    run = Run(child, monkeypatch)
    run.tick()
    child.say(**said, **{"/metrics": str(child.folder / "later")},
              **{"/v2/models/iris": {"name": "iris", "versions": []}})  # fmt: skip
    assert [text for _ in range(8) for text in run.tick()] == []
    assert any("iris" in one for one in run.server["models"])


def test_ollama_is_found_and_read_without_a_page(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.arguments = ("/usr/local/bin/ollama", "serve")
    said = json.loads((ANSWERS / "ollama-docs.json").read_text())
    child.say(**said)
    child.start()
    run = Run(child, monkeypatch)
    run.tick()
    run.tick()
    assert run.server["title"] == "Ollama 0.5.1"
    assert "mistral:latest" in run.server["models"]
    assert run.ups == [1.0]
    said["/api/tags"]["models"].pop()
    child.say(**said)
    events = [text for _ in range(12) for text in run.tick()]
    assert events == [f"Ollama 0.5.1 on 127.0.0.1:{child.port} no longer serves llama3.2:latest"]
    child.end()
    assert "stopped answering" in run.tick()[0]
    assert run.ups == [0.0]


def test_an_ollama_without_models_is_found(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    child.arguments = ("/usr/local/bin/ollama", "serve")
    child.say(**{"/api/version": {"version": "0.5.1"}, "/api/ps": {"models": []}})
    child.start()
    run = Run(child, monkeypatch)
    run.tick()
    assert run.server["up"]


class Idle:
    """A Python program with a page that is of nobody yet."""

    listeners = (Listener("127.0.0.1", 8000, Process(7, 1, "python", ("python", "server.py"))),)

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.now = 0.0
        self.told = ""

    def look(self) -> list[Listener]:
        return list(self.listeners)

    def fetch(self, _url: str) -> Answer:
        self.asked.append(self.now)
        return Answer(b"python_gc 1\n", False, "text/plain", 12, 0.0)

    def confirm(self, _candidate: Candidate) -> str:
        return self.told


def test_an_idle_server_with_a_page_is_asked_each_minute() -> None:
    idle = Idle()
    discovery = Discovery(idle, lambda *_: False, idle.fetch, confirm=idle.confirm)  # type: ignore[arg-type]
    for now in range(0, 7_200, 10):
        idle.now = float(now)
        discovery.look(idle.now)
    gaps = [after - before for before, after in zip(idle.asked, idle.asked[1:], strict=False)]
    assert max(gaps) == PAGE_PAUSE_S
    assert len(idle.asked) > 100


def test_an_idle_litserve_is_told_by_its_info() -> None:
    idle = Idle()
    idle.told = "/info"
    discovery = Discovery(idle, lambda *_: False, idle.fetch, confirm=idle.confirm)  # type: ignore[arg-type]
    (found,), _ = discovery.look(0.0)
    assert (found.url, found.has_page) == ("http://127.0.0.1:8000/metrics", True)


def test_without_an_inventory_nothing_but_the_page_is_asked_after_the_first_time(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.say(**vllm())
    child.start()
    run = Run(child, monkeypatch, inventory=False)
    for _ in range(8):
        run.tick()
    assert child.asked.count("/metrics") >= 8
    assert child.asked.count("/v1/models") == 1
    assert run.server["inventory"]["models"] == []


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="digest_rate must be above 0"):
        ModelServersConfig(digest_rate=0)  # type: ignore[arg-type]


def test_what_changed_while_the_agent_was_away_is_told(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.say(**vllm())
    child.start()
    first = Run(child, monkeypatch)
    assert first.tick() == []
    seen_ns = first.server["inventory"]["models"][0]["first_seen_ns"]
    first.servers.close()
    same = Run(child, monkeypatch)
    assert [text for _ in range(4) for text in same.tick()] == []
    assert same.server["inventory"]["models"][0]["first_seen_ns"] == seen_ns
    same.servers.close()
    child.end()
    child.say(**vllm(0, "other"))
    child.start()
    later = Run(child, monkeypatch)
    here = f"vLLM 0.32.0 on 127.0.0.1:{child.port}"
    assert later.tick() == [f"{here} serves other; no longer serves tiny"]


@pytest.mark.parametrize("body", ["", "[]", '{"127.0.0.1:1": {"models": 3}}', "{"])
def test_inventories_that_cannot_be_read_are_begun_anew(
    child: Child, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    (child.folder / "state").mkdir()
    (child.folder / "state/inventories.json").write_text(body)
    child.say(**vllm())
    child.start()
    assert Run(child, monkeypatch).tick() == []


def test_another_process_behind_the_same_page_is_a_start(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.say(**vllm())
    child.start()
    url = f"http://127.0.0.1:{child.port}/metrics"
    run = Run(child, monkeypatch, discover="off", pages=(url,))
    run.tick()
    child.end()
    child.start()  # its counters are as they were
    events = [text for _ in range(8) for text in run.tick()]
    assert events == [f"vLLM 0.32.0 on 127.0.0.1:{child.port} was started again"]
    assert run.server["inventory"]["holder"]["pid"] == child.child.pid  # type: ignore[union-attr]


def test_a_package_that_is_upgraded_is_no_release_before_a_restart(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = child.folder / "env/lib/python3.12/site-packages"
    (site / "litserve-1.0.dist-info").mkdir(parents=True)
    child.arguments = (f"{child.folder}/env/lib/python3.12/site-packages", "litserve")
    page = str(PAGES / "litserve-0.2.19/page.2.prom")
    child.say(**{"/metrics": page, "/info": {"server": {"devices": ["cpu"]}}})
    child.start()
    run = Run(child, monkeypatch)
    run.tick()
    assert run.server["title"] == "LitServe 1.0"
    (site / "litserve-1.0.dist-info").rename(site / "litserve-2.0.dist-info")
    assert [text for _ in range(40) for text in run.tick()] == []
    child.end()
    child.start()
    (event,) = [text for _ in range(8) for text in run.tick()]
    assert event.endswith("was started again; is release 2.0 and was 1.0")
