"""Collector openmetrics as a plugin: found, off by default, its section checked with places."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from vedette.config import load
from vedette.control import ControlError, call
from vedette.exposition.collector import OpenMetrics
from vedette.registry import discover
from vedette_plugins.openmetrics import register_collectors

PATIENCE_S = 40.0

TWO = """
[[collectors.openmetrics]]
id = "app"
url = "http://127.0.0.1:8000/metrics"
interval = "5s"
allow = ["http_*", "/process_.*/"]
deny_series = { path = ["/health*", "/ready*"] }
watch = ["http_request_duration_seconds.p95"]
token = { file = "/etc/vedette/app.token" }

[[collectors.openmetrics]]
id = "far"
url = "https://node.example:9100/metrics"
ca_file = "/etc/ssl/own.pem"
username = "vedette"
password = { env = "FAR_PASSWORD" }
series = 500
page_max = "4MiB"
fetch_timeout = "2s"
"""


def problems_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    _, problems = load(path, discover(plugins_dir=None))
    return [f"{one.line}: {one.text}" for one in problems]


def test_it_is_found_and_off_by_default() -> None:
    assert register_collectors() == [OpenMetrics]
    assert discover(plugins_dir=None).collectors["openmetrics"] is OpenMetrics
    assert not OpenMetrics.default


def test_each_table_is_a_target_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(TWO)
    config, problems = load(path, discover(plugins_dir=None))
    assert not problems
    assert config is not None
    found = {one.id: one for one in config.collectors if one.name == "openmetrics"}
    assert list(found) == ["openmetrics.app", "openmetrics.far"]
    assert found["openmetrics.app"].interval_s == 5.0
    assert found["openmetrics.far"].options.series == 500


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('url = "127.0.0.1:8000"', "is not an address such as http://127.0.0.1:8000/metrics"),
        ('url = "http://me:secret@127.0.0.1/"', "url carries a user name or password"),
        ('url = "http://far.example/"\ntoken = { env = "T" }', "is http and not on this host"),
        (
            'url = "http://far.example/"\nusername = "a"\npassword = { env = "T" }',
            "Use https, or set insecure = true",
        ),
        ('token = "abc"', "a secret is not written here"),
        ('token = { env = "T" }\nusername = "a"', "either a token or a user name"),
        ('ca_file = "/x.pem"', "TLS settings are for an https url"),
        ('allow = ["/(/"]', "allow: pattern '/(/'"),
        ('deny_series = { path = [""] }', "deny_series.path: an empty pattern"),
        ('watch = ["/[/"]', "watch: pattern '/[/'"),
        ('fetch_timeout = "10m"', "timeout must be 100 ms to 5 min"),
        ('socket = "app.sock"', "is no absolute path"),
        ("series = 3", "expected a whole number from 10 to 20000"),
        ('page_max = "0"', "page_max"),
        ('resource = "a b"', "is no word"),
        ('isolation = "process"', "runs in a lane"),
        ("ulr = 1", "unknown key 'ulr', did you mean 'url'?"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, lines: str, words: str) -> None:
    text = f'[collectors.cpu]\n[[collectors.openmetrics]]\nid = "app"\n{lines}\n'
    found = problems_of(tmp_path, text)
    assert len(found) == 1, found
    assert words in found[0]
    assert int(found[0].partition(":")[0]) >= 2
    assert "secret@" not in found[0]


def test_credentials_may_go_to_this_host_by_a_socket_or_where_it_is_allowed(
    tmp_path: Path,
) -> None:
    for lines in (
        'url = "http://localhost:1/"\ntoken = { env = "T" }',
        'url = "http://[::1]:1/"\ntoken = { env = "T" }',
        'url = "http://app/"\nsocket = "/run/app.sock"\ntoken = { env = "T" }',
        'url = "http://far.example/"\ntoken = { env = "T" }\ninsecure = true',
        'url = "http://far.example:9100/metrics"',
    ):
        assert problems_of(tmp_path, f"[collectors.openmetrics]\n{lines}\n") == []


# ---------------------------------------------------------------- with a real agent


class App:
    """A program with a page whose counter goes on, and which can be started again."""

    def __init__(self, port: int = 0) -> None:
        app = self
        self.begun_s = time.time()
        self.asked = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                app.asked += 1
                body = (
                    "# TYPE app_jobs_total counter\n"
                    f'app_jobs_total{{user_id="4711",queue="a"}} {app.asked * 10}\n'
                    "# TYPE app_wait_seconds histogram\n"
                    f'app_wait_seconds_bucket{{le="0.5"}} {app.asked}\n'
                    f'app_wait_seconds_bucket{{le="+Inf"}} {app.asked * 2}\n'
                    f"app_wait_seconds_sum {app.asked}\napp_wait_seconds_count {app.asked * 2}\n"
                    "# TYPE process_start_time_seconds gauge\n"
                    f"process_start_time_seconds {app.begun_s}\n"
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


def until(condition: Callable[[], object], what: str) -> object:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            found = condition()
        except (ControlError, httpx.HTTPError):
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE_S:.0f} s for {what}")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    processes = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        with open(tmp_path / f"{arguments[0]}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "vedette", *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@pytest.mark.slow
def test_a_target_reaches_the_receiver_and_its_restart_is_seen_within_ticks(
    tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]]
) -> None:
    app = App()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    config, state = tmp_path / "agent.toml", tmp_path / "agent"
    config.write_text(
        f'[agent]\nplugins_dir = "{tmp_path}/none"\n'
        f'[outputs.otlp]\nendpoint = "http://127.0.0.1:{port}"\n'
        f'[[collectors.openmetrics]]\nid = "app"\nurl = "http://127.0.0.1:{app.port}/metrics"\n'
        'interval = "1s"\nwatch = ["app_*"]\n'
    )

    def get(path: str) -> dict:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).json()

    started("receive", "--listen", f"127.0.0.1:{port}", "--state-dir", str(tmp_path / "receiver"))
    until(lambda: get("/healthz"), "the receiver")
    agent = started("run", "--config", str(config), "--state-dir", str(state))
    until(lambda: call(state, "status")["pid"] == agent.pid, "the agent")

    def series() -> dict[str, dict]:
        found = {}
        for host in get("/api/v1/hosts")["hosts"]:
            for one in get(f"/api/v1/hosts/{host['agent']}/series")["series"]:
                found[one["name"]] = one
        return found

    wanted = {"app_jobs_total", "app_wait_seconds.count", "app_wait_seconds.mean"}
    until(lambda: wanted | {"vedette.target.up"} <= series().keys(), "its series at the receiver")
    assert "4711" not in str(series()["app_jobs_total"])

    def status() -> dict:
        (found,) = [
            one for one in call(state, "status")["collectors"] if one["name"] == "openmetrics.app"
        ]
        return found

    log = tmp_path / "run.log"
    app.stop()
    until(lambda: "target=app state=down reason='ECONNREFUSED'" in log.read_text(), "the end")
    assert status()["state"] == "ok"
    began = time.monotonic()
    app = App(app.port)
    try:
        until(lambda: log.read_text().count("target=app state=up") == 2, "its return")
        assert time.monotonic() - began < PATIENCE_S / 2
        assert status()["failures"] == status()["invalid"] == 0
    finally:
        app.stop()
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 0
