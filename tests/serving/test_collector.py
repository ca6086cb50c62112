"""The collector of model servers, on real local servers that answer with recorded pages."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vedette.api import Event, HistogramSample, Observation, Record, Sample, Unavailable
from vedette.serving.collector import ModelServers, ModelServersConfig
from vedette.serving.roster import MISSED_S, SETTLED_S, Roster
from vedette.serving.vocabulary import INSTRUMENTS
from vedette.testing import check_collector

sys.path.insert(0, str(Path(__file__).parent))
from local_server import VLLM, started

OWN = {"vedette.model.server.up", "vedette.model.server.silence", "vedette.model.server.missing"}


class Site:
    """A server whose page a test changes; ``hangs`` and ``answers`` say how it behaves."""

    def __init__(self) -> None:
        self.page = b""
        self.status = 200
        self.hangs = False
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                if site.hangs:
                    time.sleep(3)
                found = self.path == "/metrics"
                self.send_response(site.status if found else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(site.page) if found else 0))
                self.end_headers()
                if found:
                    self.wfile.write(site.page)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/metrics"
        self.endpoint = self.url.split("/")[2]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


class Run:
    """The collector on a clock of its own."""

    def __init__(self, **config: Any) -> None:
        self.servers = ModelServers(ModelServersConfig(**{"discover": "off", **config}))
        self.now = 1000.0
        self.servers.monotonic = lambda: self.now
        self.told: list[Observation] = []

    def tick(self, seconds: float = 10.0) -> list[Observation]:
        self.now += seconds
        self.told = list(self.servers.collect())
        return self.told

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        return {
            one.series.values: one.value
            for one in self.told
            if isinstance(one, Sample) and one.series.instrument.name == name
        }

    def value(self, name: str) -> float:
        (value,) = self.values(name).values()
        return value

    def events(self) -> list[str]:
        return [one.text for one in self.told if isinstance(one, Event)]


def page(number: int) -> bytes:
    return VLLM[number].read_bytes()


def test_its_contract_holds(site: Site) -> None:
    site.page = page(0)
    rare = {one.name for one in ModelServers.instruments()} - OWN
    seen = check_collector(
        ModelServers, ModelServersConfig(discover="off", pages=(site.url,)), may_omit=rare
    )
    names = {one.series.instrument.name for one in seen[-1] if isinstance(one, Sample)}
    assert "vedette.model.requests.running" in names
    assert len(list(ModelServers.instruments())) > len(INSTRUMENTS) + 10


def test_what_came_between_two_pages_is_told_in_canonical_terms(site: Site) -> None:
    run = Run(pages=(site.url,))
    site.page = page(0)
    run.tick()
    before = run.values("vedette.model.requests")
    site.page = page(-1)
    run.tick()
    after = run.values("vedette.model.requests")
    assert sum(after.values()) > sum(before.values())
    assert all(values[1] == "vllm" for values in after)
    histograms = [one for one in run.told if isinstance(one, HistogramSample)]
    first = [
        one
        for one in histograms
        if one.series.instrument.name == "gen_ai.server.time_to_first_token"
    ]
    assert first
    assert sum(first[0].counts) > 0
    assert run.value("gen_ai.server.time_to_first_token.p95") > 0
    assert run.value("gen_ai.server.time_to_first_token.mean") > 0
    assert run.value("vedette.model.server.up") == 1
    assert run.value("vedette.model.server.missing") == 0


def test_a_server_is_told_of_once_with_its_models(site: Site) -> None:
    run = Run(pages=(site.url,))
    site.page = page(-1)
    run.tick()
    (record,) = [one for one in run.told if isinstance(one, Record)]
    assert record.name == "vedette.model.server"
    assert record.attributes["vedette.model.server"] == "vllm"
    assert record.attributes["vedette.model.names"]
    run.tick()
    assert not [one for one in run.told if isinstance(one, Record)]


def test_a_server_that_stops_answering_is_a_reading_and_is_asked_again(site: Site) -> None:
    run = Run(pages=(site.url,))
    site.page = page(0)
    run.tick()
    site.status = 503
    run.tick()
    assert run.value("vedette.model.server.up") == 0
    assert "stopped answering" in run.events()[0]
    assert [one.kind for one in run.told if isinstance(one, Event)] == ["outage"]
    run.tick()
    assert run.value("vedette.model.server.silence") >= 20
    assert run.events() == []
    site.status = 200
    for _ in range(4):
        run.tick()
        if run.value("vedette.model.server.up"):
            break
    assert run.value("vedette.model.server.up") == 1
    assert run.value("vedette.model.server.silence") == 0
    assert "answers again" in run.events()[0]


def test_another_model_is_an_event(site: Site) -> None:
    run = Run(pages=(site.url,))
    site.page = page(-1)
    run.tick()
    (name,) = run.servers.answer("list", {})["servers"][0]["models"]
    site.page = page(-1).replace(name.encode(), b"other/model")
    run.tick()
    assert any("serves other/model" in one for one in run.events())
    assert any(f"no longer serves {name}" in one for one in run.events())


def test_a_wrong_name_that_a_client_asked_for_is_no_model(site: Site) -> None:
    run = Run(pages=(site.url,))
    pages = [VLLM[0].parents[1] / f"mlserver-1.7.1/page.{number}.prom" for number in (1, 2)]
    site.page = b"".join(x for x in pages[0].open("rb") if b'model="nope"' not in x)
    run.tick()
    site.page = pages[1].read_bytes()
    assert b'model="nope"' in site.page
    run.tick()
    (shown,) = run.servers.answer("list", {})["servers"]
    assert "nope" not in " ".join(shown["models"])
    assert not any("nope" in one for one in run.events())


def test_a_page_of_nobody_known_is_said_to_be_that(site: Site) -> None:
    run = Run(pages=(site.url,))
    site.page = b"# TYPE something gauge\nsomething 1\n"
    run.tick()
    (shown,) = run.servers.answer("list", {})["servers"]
    assert (shown["server"], shown["up"]) == ("unknown", True)
    site.page = page(0)
    run.tick(70)
    run.tick()
    (shown,) = run.servers.answer("list", {})["servers"]
    assert shown["server"] == "vllm"


def test_one_that_hangs_does_not_keep_the_others_from_their_ticks(site: Site) -> None:
    other = Site()
    try:
        site.hangs, other.page = True, page(0)
        run = Run(pages=(site.url, other.url))
        began = time.monotonic()
        for _ in range(6):
            run.tick()
            assert run.values("vedette.model.server.up")[(other.endpoint, "vllm")] == 1
        # Three times its limit, then at each third tick.
        assert time.monotonic() - began < 10
    finally:
        other.close()


def test_one_that_does_not_answer_because_it_is_stopped_is_told_so() -> None:
    child, port = started()
    place = f"127.0.0.1:{port}"
    run = Run(pages=(f"http://{place}/metrics",))
    try:
        run.tick()
        run.servers.teller.know_processes(run.servers.listening.look())
        child.send_signal(signal.SIGSTOP)
        run.tick()
        assert run.values("vedette.model.server.down") == {(place, "vllm", "stopped"): 1}
        child.send_signal(signal.SIGCONT)
        run.tick()
        assert run.values("vedette.model.server.up") == {(place, "vllm"): 1}
    finally:
        end(child, run)


@pytest.mark.slow
def test_a_server_is_found_by_itself_and_missed_when_it_is_killed() -> None:
    child, port = started()
    run = Run(discover="on")
    place = (f"127.0.0.1:{port}", "vllm")
    try:
        assert until(run, lambda: run.values("vedette.model.server.up").get(place) == 1)
        run.tick(SETTLED_S)
        child.kill()
        child.wait()
        run.tick(31)
        assert run.values("vedette.model.server.up")[place] == 0
        assert "stopped answering" in run.events()[0]
        run.tick(30)
        assert run.values("vedette.model.server.silence")[place] >= 60
        run.tick(MISSED_S)
        run.tick(31)
        assert place not in run.values("vedette.model.server.up")
    finally:
        end(child, run)


@pytest.mark.slow
def test_a_server_that_was_there_for_a_moment_is_not_missed() -> None:
    child, port = started()
    run = Run(discover="on")
    place = (f"127.0.0.1:{port}", "vllm")
    try:
        assert until(run, lambda: run.values("vedette.model.server.up").get(place) == 1)
        run.tick(SETTLED_S / 2)
        child.kill()
        child.wait()
        run.tick(10)
        assert place not in run.values("vedette.model.server.up")
        assert place not in run.values("vedette.model.server.silence")
    finally:
        end(child, run)


@pytest.mark.slow
def test_a_server_that_ended_as_soon_as_it_was_found_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child, port = started()
    place = (f"127.0.0.1:{port}", "unknown")
    look = Roster.look

    def look_then_end(roster: Roster, now_s: float) -> None:
        look(roster, now_s)
        if any(one.endpoint == place[0] for one in roster.servers) and child.poll() is None:
            child.kill()
            child.wait()

    monkeypatch.setattr(Roster, "look", look_then_end)
    run = Run(discover="on")
    try:
        assert until(run, lambda: child.poll() is not None)
        run.tick(10)
        assert place not in run.values("vedette.model.server.silence")
    finally:
        end(child, run)


def end(child: subprocess.Popen[str], run: Run) -> None:
    child.kill()
    child.wait()
    if child.stdout:
        child.stdout.close()
    run.servers.close()


def until(run: Run, holds: Callable[[], bool]) -> bool:
    """Let time pass until something holds; other listeners of this host are asked as well."""
    for _ in range(40):
        run.tick(31)
        if holds():
            return True
    return False


def test_only_proposed_servers_are_not_read() -> None:
    child, port = started()
    try:
        url = f"http://127.0.0.1:{port}/metrics"
        run = Run(discover="propose")
        assert until(run, lambda: url in run.servers.answer("list", {})["proposed"])
        assert run.values("vedette.model.server.up") == {}
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def test_without_anything_to_do_it_rests() -> None:
    with pytest.raises(Unavailable, match="nothing is looked for"):
        ModelServers(ModelServersConfig(discover="off")).probe()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="pages: url 'ftp://x' is not an address"):
        ModelServersConfig(pages=("ftp://x",))


def test_questions_nobody_can_answer_are_said() -> None:
    with pytest.raises(LookupError, match="answers 'list', nothing else"):
        ModelServers(ModelServersConfig()).answer("nonsense", {})
