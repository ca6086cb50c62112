"""What the receiver makes of model servers: reports by the agent's encoder, over real HTTP."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from model_teller import MINUTE, UP, ModelTeller

from vedette.receiver import schema
from vedette.receiver.app import create_app
from vedette.receiver.limits import MODELS_PER_AGENT
from vedette.receiver.model_figures import tellable
from vedette.receiver.store import Store

REQUESTS, TOKENS = "vedette.model.requests", "vedette.model.tokens"
TTFT, DURATION = "gen_ai.server.time_to_first_token", "gen_ai.server.request.duration"
WAITING, KV = "vedette.model.requests.waiting", "vedette.model.kv_cache.utilization"
HOSTILE = '<script>alert(1)</script>"}{,=\u202e%2F../'


class Site:
    """A receiver on a socket of its own."""

    def __init__(self, store: Store, now_ns: int) -> None:
        self.now_ns = now_ns
        config = uvicorn.Config(create_app(store), port=0, log_level="error")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            self._thread.join(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)

    def _run(self) -> None:
        asyncio.run(self._server.serve())

    def end(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(20)

    def teller(self, number: int = 1, agent: str = "") -> ModelTeller:
        def post(path: str, body: bytes, headers: Any) -> tuple[int, str]:
            response = self.http.post(path, content=body, headers=headers)
            return response.status_code, response.text

        own = agent or str(uuid.UUID(int=number))
        return ModelTeller(post, own, self.now_ns, f"gpu-{number}")

    def json(self, path: str, **params: Any) -> Any:
        response = self.http.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    def models(self, **params: Any) -> list[Any]:
        return list(self.json("/api/v1/models", **params)["models"])

    def one(self) -> Any:
        (found,) = self.models()
        return found


@pytest.fixture
def site(store: Store, clock: Any) -> Iterator[Site]:
    made = Site(store, clock.now_ns)
    yield made
    made.end()


# ---------------------------------------------------------------- figures


def test_counts_become_rates_of_the_last_minutes(site: Site) -> None:
    host = site.teller()
    for back in range(9, -1, -1):
        done = 60 * (10 - back)
        host.say(REQUESTS, done, outcome="ok")
        host.say(TOKENS, done * 100, type="output")
        host.say(TOKENS, done * 20, type="input")
        host.report(back)
    row = site.one()
    assert (row["model"], row["server"], row["layer"]) == ("llama", "vllm", "engine")
    assert row["hosts"] == 1
    figures = row["figures"]
    assert figures["rate"] == pytest.approx(1.0)
    assert figures["tokens_out"] == pytest.approx(100.0)
    assert figures["tokens_in"] == pytest.approx(20.0)
    assert figures["line"][-9:] == pytest.approx([1.0] * 9)
    assert figures["line"][0] is None


def test_a_model_that_rests_has_no_rate_though_nothing_is_sent_of_it(site: Site) -> None:
    host = site.teller()
    for back, done in ((9, 60), (8, 120), (7, 120), (6, 120)):
        host.say(REQUESTS, done, outcome="ok")
        host.say("vedette.model.requests.running", back)
        host.report(back)
    for back in range(5, -1, -1):  # the host goes on to report, of something else
        host.say("vedette.model.requests.limit", back)
        host.report(back)
    figures = site.one()["figures"]
    assert figures["rate"] == 0.0
    assert figures["running"] == 6.0
    assert figures["line"][-10:] == pytest.approx([1.0, 1.0, *[0.0] * 8], abs=0.02)


def test_quantiles_come_from_the_servers_own_buckets(site: Site) -> None:
    host = site.teller()
    host.time(TTFT, [90, 8, 1, 1, 0, 0])
    host.time(DURATION, [0, 0, 50, 0, 0, 50])
    host.report()
    figures = site.one()["figures"]
    assert (figures["ttft"]["p50"], figures["ttft"]["p50_sense"]) == (0.1, "at most")
    assert figures["ttft"]["p95"] == pytest.approx(0.1 + 0.15 * 5 / 8)
    assert figures["ttft"]["p95_sense"] == "about"
    assert (figures["duration"]["p95"], figures["duration"]["p95_sense"]) == (2.5, "at least")
    assert figures["duration"]["count"] == 100


def test_buckets_of_two_releases_are_added_at_the_bounds_that_both_have(site: Site) -> None:
    one, two = site.teller(), site.teller(2)
    one.time(TTFT, [10, 0, 0, 0, 0, 0])
    two.time(TTFT, [0, 10, 0], (0.25, 1.0))
    one.report()
    two.report()
    quantiles = site.one()["figures"]["ttft"]
    assert (quantiles["count"], quantiles["p50"], quantiles["p50_sense"]) == (20, 0.25, "at most")
    assert quantiles["p95"] == pytest.approx(0.25 + 0.75 * 0.9)


def test_hosts_are_added_and_layers_are_not(site: Site) -> None:
    for number in range(3):
        host = site.teller(number)
        for back, done in ((1, 0), (0, 300)):
            host.say(REQUESTS, done, outcome="ok")
            host.say(REQUESTS, done, outcome="ok", layer="gateway", server="litellm")
            host.say(WAITING, number)
            host.say(KV, 0.1 * number)
            host.report(back)
    rows = {row["layer"]: row for row in site.models()}
    assert set(rows) == {"gateway", "engine"}
    rates = {layer: row["figures"]["rate"] for layer, row in rows.items()}
    assert rates["engine"] == rates["gateway"] == pytest.approx(900 / 119, rel=0.02)
    assert rows["engine"]["hosts"] == 3
    assert rows["engine"]["figures"]["waiting"] == 3
    assert rows["engine"]["figures"]["kv"] == pytest.approx(0.2)


def test_a_restart_of_the_agent_is_no_spike_and_a_resend_counts_once(site: Site) -> None:
    host = site.teller()
    host.say(REQUESTS, 1_000_000, outcome="ok")
    host.started = dict.fromkeys(host.series, site.now_ns - 3000 * MINUTE)
    host.report(4)
    host.say(REQUESTS, 1_000_030, outcome="ok")
    host.report(3)
    assert site.one()["figures"]["rate"] == pytest.approx(30 / 60)
    host.sequence -= 1
    host.report(3)
    again = site.one()["figures"]
    host.started = dict.fromkeys(host.series, site.now_ns - 2 * MINUTE)
    host.say(REQUESTS, 12, outcome="ok")
    host.report(0)
    gained = [value for value in site.one()["figures"]["line"] if value]
    assert sum(gained) * 60 == pytest.approx(42)
    assert again["rate"] > 0


# ---------------------------------------------------------------- errors and blind spots


def test_the_share_of_errors_is_what_failed_on_the_servers_side(site: Site) -> None:
    host = site.teller()
    for back, done in ((1, 0), (0, 100)):
        host.say(REQUESTS, done, outcome="ok")
        host.say(REQUESTS, done / 10, outcome="server_error")
        host.say(REQUESTS, done / 10, outcome="rejected")
        host.say(REQUESTS, done, outcome="client_error")
        host.report(back)
    figures = site.one()["figures"]
    assert figures["errors_told"] == "yes"
    assert figures["errors"] == pytest.approx(20 / 220)
    assert "timeout" in figures["untold"]  # vLLM counts none


def test_what_a_server_cannot_tell_is_not_told_and_never_nought(site: Site) -> None:
    host = site.teller()
    host.time("vedette.model.request.duration", [300, 0, 0, 0, 0, 0], server="litserve", model="x")
    host.report()
    figures = site.one()["figures"]
    assert (figures["errors"], figures["errors_told"]) == (None, "no")
    assert set(figures["untold"]) == {"server_error", "rejected", "timeout"}
    assert figures["timed"]
    assert figures["rate"] == pytest.approx(1.0, rel=0.01) or figures["rate"] > 1
    assert (figures["waiting"], figures["kv"], figures["ttft"]) == (None, None, None)
    assert tellable("litserve", "engine").blind


def test_a_counted_outcome_that_did_not_happen_is_nought(site: Site) -> None:
    host = site.teller()
    for back, done in ((1, 0), (0, 60)):
        host.say(REQUESTS, done, outcome="ok", server="mosec")
        host.report(back)
    figures = site.one()["figures"]
    assert (figures["errors"], figures["errors_told"], figures["untold"]) == (0.0, "yes", [])


def test_errors_of_a_server_with_many_models_stay_the_servers(site: Site) -> None:
    host = site.teller()
    for back, done in ((1, 0), (0, 60)):
        for model in ("a", "b"):
            host.say(REQUESTS, done, outcome="ok", server="mlserver", model=model)
        host.say(REQUESTS, done, outcome="server_error", server="mlserver", model="")
        host.report(back)
    rows = {row["model"]: row["figures"] for row in site.models()}
    assert (rows["a"]["errors"], rows["a"]["errors_told"]) == (None, "server")
    assert rows[""]["errors"] == 1.0


def test_errors_of_a_server_with_one_model_are_the_models(site: Site) -> None:
    host = site.teller()
    for back, done in ((1, 0), (0, 60)):
        host.say(REQUESTS, done, outcome="ok", server="mlserver")
        host.say(REQUESTS, done, outcome="server_error", server="mlserver", model="")
        host.report(back)
    assert site.one()["figures"]["errors"] == pytest.approx(0.5)


def test_a_server_that_is_down_is_told_without_a_model(site: Site) -> None:
    host = site.teller()
    host.say(UP, 0)
    host.report()
    assert (site.one()["down"], site.one()["up"], site.one()["model"]) == (1, 0, "")
    host.say(WAITING, 2)
    host.report()
    row = site.one()
    assert (row["model"], row["down"]) == ("llama", 1)


def test_objectives_and_drift_show_where_any_host_sends_them(site: Site) -> None:
    host = site.teller()
    host.say(WAITING, 1)
    host.report(1)
    assert site.json("/api/v1/models")["columns"] == []
    from vedette.api import gauge

    places = ["gen_ai.request.model", "vedette.model.slo.window"]
    for name, values in (("slo.burn_rate", (3.0, 14.0)), ("slo.budget.left", (0.2, 0.9))):
        made = gauge(f"vedette.model.{name}", "1", "x", places)
        for window, value in zip(("1h", "5m"), values, strict=True):
            host.series[made.series("llama", window)] = value
    host.series[gauge("vedette.model.drift.strength", "1", "x", places).series("llama", "")] = 0.7
    host.report()
    answer = site.json("/api/v1/models")
    assert answer["columns"] == ["drift", "burn", "budget"]
    figures = answer["models"][0]["figures"]
    assert (figures["burn"], figures["budget"], figures["drift"]) == (14.0, 0.2, 0.7)
    assert len(answer["models"]) == 1


def test_drift_of_a_model_that_no_server_names_is_a_row_of_its_own(site: Site) -> None:
    from vedette.api import gauge

    host = site.teller()
    host.say(WAITING, 1)
    strength = gauge(
        "vedette.model.drift.strength", "1", "x", ["gen_ai.request.model", "vedette.model.feature"]
    )
    host.series[strength.series("fraud", "amount")] = 2.5
    host.series[strength.series("fraud", "country")] = 0.1
    host.report()
    rows = {one["model"]: one for one in site.json("/api/v1/models")["models"]}
    assert rows["fraud"]["figures"]["drift"] == 2.5
    assert (rows["fraud"]["layer"], rows["fraud"]["server"]) == ("", "")
    assert rows["llama"]["figures"]["drift"] is None


def test_an_objective_is_of_all_versions_of_its_model(site: Site) -> None:
    from vedette.api import gauge

    host = site.teller()
    host.say(WAITING, 1, **{"vedette.model.version": "3"})
    host.report(1)
    (before,) = site.json("/api/v1/models")["models"]
    names = ["vedette.model.endpoint", "vedette.model.server", "vedette.model.layer"]
    left = gauge("vedette.model.slo.budget.left", "1", "x", [*names, "gen_ai.request.model"])
    place = site.json("/api/v1/model", name="llama")["instances"][0]
    host.series[left.series(place["endpoint"], before["server"], before["layer"], "llama")] = 0.4
    host.report()
    (row,) = site.json("/api/v1/models")["models"]
    assert (row["version"], row["figures"]["budget"]) == (before["version"], 0.4)


# ---------------------------------------------------------------- who they are


def test_a_silent_host_is_in_no_figure(site: Site, clock: Any) -> None:
    host = site.teller()
    for back, done in ((1, 0), (0, 60)):
        host.say(REQUESTS, done, outcome="ok")
        host.report(back)
    clock.now_ns += 10 * MINUTE
    row = site.one()
    assert (row["hosts"], row["silent"], row["figures"]["rate"]) == (1, 1, None)


def test_what_an_agent_says_changed_is_the_event(site: Site) -> None:
    host = site.teller()
    host.say(WAITING, 1)
    host.report()
    host.record(site.now_ns - 9 * MINUTE, changes=[], inventory={"models": [{"name": "a"}]})
    now = site.now_ns - 4 * MINUTE
    host.record(now, version="0.11.0", changes=["was started again", HOSTILE], inventory={})
    events = site.json("/api/v1/model", name="llama")["events"]
    texts = [one["text"] for one in events if one["time_ms"] == now // 10**6]
    assert sorted(texts) == sorted(
        ["vllm on 127.0.0.1:8000 was started again", f"vllm on 127.0.0.1:8000 {HOSTILE}"]
    )


def test_facts_that_nobody_has_heard_of_are_kept_and_their_change_is_an_event(site: Site) -> None:
    host = site.teller()
    host.say(WAITING, 1)
    host.report()
    odd = {"unit": "vllm.service", "files": [{"path": HOSTILE, "sha256": "00" * 32}], "context": 8}
    host.record(site.now_ns - 9 * MINUTE, **odd)
    odd["files"] = [{"path": HOSTILE, "sha256": "11" * 32}]
    host.record(site.now_ns - 4 * MINUTE, version="0.11.0", since=site.now_ns - 5 * MINUTE, **odd)
    answer = site.json("/api/v1/model", name="llama")
    (place,) = answer["instances"]
    facts = place["facts"]["facts"]
    assert facts["vedette.model.files"] == odd["files"]
    assert facts["vedette.model.context"] == 8
    assert any(one.startswith("timeout: ") for one in place["facts"]["blind"])
    texts = [one["text"] for one in answer["events"]]
    assert "vllm on 127.0.0.1:8000: version is 0.11.0, was 0.10.2" in texts
    assert "vllm on 127.0.0.1:8000 answers again" in texts
    assert any("11111111" in text and text.startswith("vllm on") for text in texts)
    assert site.one()["releases"] == ["0.11.0"]
    assert site.one()["since_ms"] == (site.now_ns - 5 * MINUTE) // 10**6


def test_an_older_record_changes_nothing(site: Site) -> None:
    host = site.teller()
    host.say(WAITING, 1)
    host.report()
    host.record(site.now_ns, version="2")
    host.record(site.now_ns - MINUTE, version="1")
    assert site.one()["releases"] == ["2"]
    assert len(site.json("/api/v1/model", name="llama")["events"]) == 1


def test_a_hostile_name_is_data_and_found_by_it(site: Site) -> None:
    host = site.teller()
    host.say(WAITING, 1, model=HOSTILE)
    host.report()
    assert site.one()["model"] == HOSTILE
    answer = site.json("/api/v1/model", name=HOSTILE)
    assert [one["model"] for one in answer["instances"]] == [HOSTILE]
    assert site.http.get("/api/v1/model", params={"name": "other"}).status_code == 404
    assert site.models(text="SCRIPT alert") != []
    assert site.models(text="nothing of the kind") == []


def test_questions_are_bounded(site: Site) -> None:
    for params in ({"limit": 0}, {"limit": 99_999}, {"text": "x" * 257}):
        assert site.http.get("/api/v1/models", params=params).status_code == 400


def test_models_of_one_host_are_bounded_and_that_is_said(site: Site) -> None:
    host = site.teller()
    for number in range(MODELS_PER_AGENT + 20):
        host.say(WAITING, 1, model=f"m{number}")
    host.report()
    answer = site.json("/api/v1/models", limit=10)
    assert (answer["matching"], len(answer["models"])) == (MODELS_PER_AGENT, 10)
    assert answer["full"] == ["gpu-1"]


def test_a_model_that_is_gone_for_a_day_is_forgotten(site: Site, store: Store) -> None:
    host = site.teller()
    host.say(WAITING, 1, model="old")
    host.report(25 * 60)
    host.series.clear()
    host.say(WAITING, 1, model="new")
    host.report()
    assert [row["model"] for row in site.models()] == ["new"]
    assert store.connection.execute("SELECT count(*) FROM model_state").fetchone() == (1,)


def test_a_database_without_models_goes_on_working(
    make_store: Callable[..., Store], tmp_path: Path
) -> None:
    path = tmp_path / "older.db"
    with sqlite3.connect(path) as connection:
        connection.executescript("".join(schema._STEPS[:4]) + "PRAGMA user_version = 4;")
    connection.close()
    store = make_store(path)
    assert store.connection.execute("SELECT count(*) FROM model").fetchone() == (0,)


# ---------------------------------------------------------------- incidents, order, cost


def test_what_needs_attention_comes_first(site: Site, client: Any, otlp: Any) -> None:
    host = site.teller(agent=otlp.agent)
    for back, done in ((1, 0), (0, 600)):
        for model, endpoint, share in (
            ("busy", "127.0.0.1:1", 0),
            ("calm", "127.0.0.1:2", 0),
            ("failing", "127.0.0.1:3", 0.2),
            ("troubled", "127.0.0.1:4", 0),
        ):
            place = {"model": model, "endpoint": endpoint}
            done_here = done * (10 if model == "busy" else 1)
            host.say(REQUESTS, done_here, outcome="ok", **place)
            host.say(REQUESTS, done_here * share, outcome="server_error", **place)
        host.report(back)
    series = f"{WAITING}{{vedette.model.endpoint=127.0.0.1:4,gen_ai.request.model=troubled}}"
    client.send(otlp.logs(otlp.incident("opened", otlp.now, series=[series])))
    rows = site.models()
    assert [row["model"] for row in rows] == ["troubled", "failing", "busy", "calm"]
    assert rows[0]["open"] == {"info": 0, "warning": 0, "critical": 1}
    assert [one["id"] for one in site.json("/api/v1/model", name="troubled")["incidents"]] == [
        "i-1"
    ]
    assert site.json("/api/v1/model", name="calm")["incidents"] == []


def test_the_number_of_statements_is_that_of_one_host(
    site: Site, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vedette.receiver.query import Reader

    asked: list[str] = []
    rows = Reader.rows

    def counted(self: Reader, sql: str, *values: Any) -> list[Any]:
        asked.append(sql)
        return rows(self, sql, *values)

    monkeypatch.setattr(Reader, "rows", counted)
    for number in range(12):
        host = site.teller(number)
        for model in range(5):
            host.say(WAITING, 1, model=f"m{model}")
        host.report()
        host.record()
    assert len(site.models()) == 5
    assert len(asked) == 4
    site.json("/api/v1/model", name="m1")
    assert len(asked) == 10


def test_charts_have_the_tail_of_what_comes_in_buckets(site: Site) -> None:
    host = site.teller()
    host.time(TTFT, [0, 90, 0, 0, 10, 0])
    host.say(WAITING, 1)
    host.report()
    path = f"/api/v1/hosts/{host.agent}/metrics"
    (line,) = site.json(path, name=TTFT)["series"]
    assert line["points"][0][1] == pytest.approx(0.1 + 0.15 * 50 / 90)
    assert line["tails"] == pytest.approx([1.0 + 1.5 * 0.5])
    (line,) = site.json(path, name=WAITING)["series"]
    assert "tails" not in line


def test_what_happened_around_an_incident_is_told_in_order(
    site: Site, client: Any, otlp: Any
) -> None:
    host = site.teller(agent=otlp.agent)
    onset = otlp.now - 5 * MINUTE
    host.record(onset - 50 * MINUTE, since=onset - 50 * MINUTE)
    host.record(onset - 2 * MINUTE, version="2", since=onset - 50 * MINUTE)
    host.record(onset - 70 * MINUTE, version="0", endpoint="other", since=onset - 70 * MINUTE)
    client.send(otlp.logs(otlp.inventory(onset - MINUTE, [{"kind": "disk"}], ["disk sda came"])))
    client.send(otlp.logs(otlp.incident("opened", otlp.now)))
    client.send(
        otlp.logs(otlp.incident("opened", otlp.now, "i-2", onset=onset + MINUTE, title="GPU hot"))
    )
    path = f"/api/v1/incidents/{otlp.agent}/i-1/events"
    answer = site.json(path)
    assert [
        (one["kind"], (one["time_ms"] * 10**6 - onset) // MINUTE) for one in answer["events"]
    ] == [
        ("model", -50),
        ("model", -2),
        ("inventory", -1),
        ("incident", 1),
    ]
    assert answer["omitted"] == 0
    assert site.http.get(path.replace("i-1", "i-9")).status_code == 404


def test_a_name_that_was_asked_for_and_is_not_served_is_said_to_be_so(site: Site) -> None:
    host = site.teller()
    for back, done in ((1, 0), (0, 60)):
        host.say(REQUESTS, done, outcome="ok", server="mlserver", model="iris")
        host.say(REQUESTS, done, outcome="client_error", server="mlserver", model="irsi")
        host.say(REQUESTS, done, outcome="server_error", server="mlserver", model="")
        host.report(back)
    host.record(server="mlserver", names=["iris"])
    rows = {row["model"]: row for row in site.models()}
    assert list(rows) == ["iris", "irsi"]
    assert (rows["iris"]["served"], rows["irsi"]["served"]) == (True, False)
    assert rows["iris"]["figures"]["errors"] == pytest.approx(0.5)


def test_a_server_without_buckets_has_a_mean_and_no_quantile(site: Site) -> None:
    from vedette.distributions import Distribution

    host = site.teller()
    host.time(DURATION, [30], ())
    host.counted = [Distribution(one.series, one.bounds, one.counts, 6.0) for one in host.counted]
    host.report()
    timed = site.one()["figures"]["duration"]
    assert (timed["p50"], timed["p95"], timed["mean"]) == (None, None, pytest.approx(0.2))


def test_what_another_version_kept_is_begun_anew(site: Site, store: Store) -> None:
    host = site.teller()
    host.say(REQUESTS, 60, outcome="ok")
    host.report(1)
    store.connection.execute("UPDATE model_state SET state = x'00'")
    store.connection.execute("UPDATE model SET told = x'00'")
    assert site.models() == []
    host.say(REQUESTS, 120, outcome="ok")
    host.say(WAITING, 3)
    host.report()
    assert site.one()["figures"]["waiting"] == 3
