"""What the JSON API says of hosts, completeness and incidents."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest


def missing(client: Any) -> Any:
    (epoch,) = client.json("/api/v1/completeness")["epochs"]
    return epoch["missing"]


def test_a_host_is_shown_with_what_its_heartbeat_said(client: Any, otlp: Any, clock: Any) -> None:
    client.send(
        otlp.logs(otlp.heartbeat(otlp.now - 2 * otlp.second)),
        1,
        vedette_sent_at=str(otlp.now + 3 * otlp.second),
    )
    answer = client.json("/api/v1/hosts")
    assert answer["now_ms"] == otlp.now // 10**6
    (host,) = answer["hosts"]
    expected = {
        "agent": otlp.agent,
        "host": "web-1",
        "host_id": "abc",
        "labels": {"rack": "r7"},
        "version": "0.1.0",
        "os": "Debian 12",
        "cpus": 8,
        "memory_bytes": 1 << 34,
        "health": "ok",
        "reasons": [],
        "last_seen_ms": otlp.now // 10**6,
        "newest_window_ms": otlp.now // 10**6 - 2000,
        "lag_s": 2.0,
        "clock_offset_s": 3.0,
        "interval_s": 1.0,
        "series": 400,
        "learning": 0.25,
        "collectors": {"cpu": "ok", "gpu": "resting: no NVIDIA driver"},
        "backlog_batches": 2,
        "dropped": 3,
        "missing": 0,
        "received": 1,
        "duplicates": 0,
        "agent_cpu": 0.004,
        "agent_rss": 50_000_000,
        "inventory_ms": None,
        "logs_ms": None,
        "models": None,
        "open": {"info": 0, "warning": 0, "critical": 0},
        "headline": {"cpu": None, "memory": None, "disk": None},
        "spark": {"cpu": []},
    }
    assert host == expected


def test_a_host_is_silent_after_three_windows(client: Any, otlp: Any, clock: Any) -> None:
    client.send(otlp.logs(otlp.heartbeat(otlp.now)), 1)
    clock.now_ns += 180 * otlp.second
    assert client.json("/api/v1/hosts")["hosts"][0]["health"] == "ok"
    clock.now_ns += otlp.second
    (host,) = client.json("/api/v1/hosts")["hosts"]
    assert host["health"] == "silent"
    assert host["reasons"] == ["no batch for 181 s"]


def test_a_host_with_short_windows_gets_thirty_seconds(client: Any, otlp: Any, clock: Any) -> None:
    beat = otlp.heartbeat(otlp.now, **{"vedette.window.start": otlp.now - otlp.second})
    client.send(otlp.logs(beat), 1)
    clock.now_ns += 30 * otlp.second
    assert client.json("/api/v1/hosts")["hosts"][0]["health"] == "ok"
    clock.now_ns += otlp.second
    assert client.json("/api/v1/hosts")["hosts"][0]["health"] == "silent"


def test_a_young_host_is_not_silent_while_its_windows_grow(
    client: Any, otlp: Any, clock: Any
) -> None:
    more = {"vedette.window.start": otlp.now - 10 * otlp.second, "vedette.uptime": 300.0}
    client.send(otlp.logs(otlp.heartbeat(otlp.now, **more)), 1)
    clock.now_ns += 90 * otlp.second
    assert client.json("/api/v1/hosts")["hosts"][0]["health"] == "ok"
    clock.now_ns += otlp.second
    assert client.json("/api/v1/hosts")["hosts"][0]["health"] == "silent"


def test_a_host_that_said_it_stops_is_not_silent(client: Any, otlp: Any, clock: Any) -> None:
    beat = otlp.heartbeat(otlp.now, **{"vedette.health.reasons": ["stopping"]})
    client.send(otlp.logs(beat), 1)
    clock.now_ns += 3600 * otlp.second
    (host,) = client.json("/api/v1/hosts")["hosts"]
    assert (host["health"], host["reasons"]) == ("ok", ["stopped"])


def test_an_older_heartbeat_does_not_replace_a_newer_one(client: Any, otlp: Any) -> None:
    client.send(otlp.logs(otlp.heartbeat(otlp.now, **{"vedette.series": 2})), 2)
    client.send(otlp.logs(otlp.heartbeat(otlp.now - otlp.minute, **{"vedette.series": 1})), 1)
    assert client.json("/api/v1/hosts")["hosts"][0]["series"] == 2


def test_a_heartbeat_of_wrong_types_says_nothing(client: Any, otlp: Any) -> None:
    wrong = {
        "vedette.health": 7,
        "vedette.health.reasons": "degraded",
        "vedette.series": "many",
        "vedette.learning": float("nan"),
        "vedette.collectors": ["cpu"],
        "vedette.window.start": -5,
        "vedette.window.end": 1e300,
        "host.cpu.count": True,
        "vedette.cpu": float("inf"),
    }
    assert client.send(otlp.logs(otlp.heartbeat(otlp.now, **wrong)), 1).status_code == 200
    (host,) = client.json("/api/v1/hosts")["hosts"]
    for key in ("series", "learning", "cpus", "agent_cpu", "newest_window_ms"):
        assert host[key] is None
    assert host["collectors"] == {}
    assert host["health"] == "ok"


def test_a_gap_is_a_missing_range_until_it_is_filled(client: Any, otlp: Any) -> None:
    request = otlp.metrics(otlp.gauge("a", otlp.now, 1.0))
    for number in (3, 4, 9, 8, 20):
        client.send(request, number)
    (epoch,) = client.json("/api/v1/completeness", agent=otlp.agent)["epochs"]
    assert epoch["missing"] == [[1, 2], [5, 7], [10, 19]]
    assert (epoch["first"], epoch["highest"], epoch["contiguous"]) == (3, 20, 0)
    assert epoch["missing_count"] == 15
    assert client.json("/api/v1/hosts")["hosts"][0]["missing"] == 15
    for number in (2, 1, 6, 5, 7):
        client.send(request, number)
    (epoch,) = client.json(f"/api/v1/hosts/{otlp.agent}")["epochs"]
    assert (epoch["missing"], epoch["contiguous"]) == ([[10, 19]], 9)


def test_any_order_ends_complete(client: Any, otlp: Any) -> None:
    numbers = list(range(1, 41)) * 2
    random.Random(7).shuffle(numbers)
    request = otlp.metrics(otlp.gauge("a", otlp.now, 1.0))
    for number in numbers:
        assert client.send(request, number).status_code == 200
    (epoch,) = client.json("/api/v1/completeness")["epochs"]
    assert epoch["missing"] == []
    assert (epoch["contiguous"], epoch["received"], epoch["duplicates"]) == (40, 40, 40)


def test_the_proof_needs_one_query_over_the_ledger(client: Any, otlp: Any) -> None:
    request = otlp.metrics(otlp.gauge("a", otlp.now, 1.0))
    for number in (2, 5):
        client.send(request, number)
    rows = client.store.connection.execute("SELECT first, last FROM missing").fetchall()
    assert rows == [(1, 1), (3, 4)]


def test_a_new_epoch_is_counted_apart(client: Any, otlp: Any, clock: Any) -> None:
    request = otlp.metrics(otlp.gauge("a", otlp.now, 1.0))
    client.send(request, 2)
    clock.now_ns += 1
    client.send(request, f"{otlp.agent}/{1:016x}/1")
    epochs = client.json("/api/v1/completeness")["epochs"]
    assert [(e["epoch"], e["missing"]) for e in epochs] == [
        (otlp.epoch, [[1, 1]]),
        (f"{1:016x}", []),
    ]


def test_an_incident_is_shown_with_evidence_and_history(client: Any, otlp: Any) -> None:
    ms = 10**6
    client.send(otlp.logs(otlp.incident("opened", otlp.now - 4 * otlp.minute)), 1)
    client.send(otlp.logs(otlp.incident("updated", otlp.now - 3 * otlp.minute, title="Worse")), 2)
    answer = client.json("/api/v1/incidents")
    (incident,) = answer["incidents"]
    assert incident == {
        "agent": otlp.agent,
        "host": "web-1",
        "id": "i-1",
        "state": "open",
        "severity": "critical",
        "resource": "cpu",
        "title": "Worse",
        "onset_ms": (otlp.now - 5 * otlp.minute) // ms,
        "opened_ms": (otlp.now - 4 * otlp.minute) // ms,
        "updated_ms": (otlp.now - 3 * otlp.minute) // ms,
        "resolved_ms": None,
        "series": ["vedette.cpu.busy"],
        "suspects": [
            {
                "kind": "process",
                "name": "stress",
                "id": "4711",
                "share": 0.97,
                "text": "97 %",
                "reason": "",
                "time_ns": 0,
            }
        ],
        "verdict": None,
    }
    assert client.json("/api/v1/hosts")["hosts"][0]["open"]["critical"] == 1
    client.send(otlp.logs(otlp.incident("resolved", otlp.now)), 3)
    detail = client.json(f"/api/v1/incidents/{otlp.agent}/i-1")["incident"]
    assert (detail["state"], detail["resolved_ms"]) == ("resolved", otlp.now // ms)
    assert detail["detectors"] == ["robust"]
    (track,) = detail["evidence"]
    assert track["values"] == [0.1, None, 0.9]
    assert (track["low"], track["high"], track["step_ms"]) == (None, 0.4, 1000)
    assert [change["event"] for change in detail["history"]] == ["opened", "updated", "resolved"]
    assert client.json("/api/v1/hosts")["hosts"][0]["open"]["critical"] == 0


def test_what_the_operator_said_is_shown_until_it_is_taken_back(client: Any, otlp: Any) -> None:
    said = {
        "state": "resolved",
        "verdict.word": "false-alarm",
        "verdict.by": "alice",
        "verdict.time": otlp.now - otlp.minute,
        "verdict.note": "backup",
    }
    place = f"/api/v1/incidents/{otlp.agent}/i-1"
    client.send(otlp.logs(otlp.incident("resolved", otlp.now - 3 * otlp.minute)), 1)
    assert client.json(place)["incident"]["verdict"] is None
    client.send(otlp.logs(otlp.incident("updated", otlp.now - otlp.minute, **said)), 2)
    incident = client.json(place)["incident"]
    assert incident["state"] == "resolved"
    assert incident["verdict"] == {
        "word": "false-alarm",
        "by": "alice",
        "time_ms": (otlp.now - otlp.minute) // 1_000_000,
        "note": "backup",
    }
    strange = said | {"verdict.word": "hm"}
    client.send(otlp.logs(otlp.incident("updated", otlp.now, **strange)), 3)
    assert client.json(place)["incident"]["verdict"] is None


def test_incident_changes_out_of_order_end_in_the_newest_state(client: Any, otlp: Any) -> None:
    client.send(otlp.logs(otlp.incident("resolved", otlp.now)), 2)
    client.send(otlp.logs(otlp.incident("opened", otlp.now - otlp.minute)), 1)
    client.send(otlp.logs(otlp.incident("updated", otlp.now)), 3)
    (incident,) = client.json("/api/v1/incidents")["incidents"]
    assert incident["state"] == "resolved"
    detail = client.json(f"/api/v1/incidents/{otlp.agent}/i-1")["incident"]
    assert len(detail["history"]) == 3


def test_incidents_are_filtered_and_newest_first(client: Any, otlp: Any) -> None:
    for number in range(5):
        event = otlp.incident("opened", otlp.now, f"i-{number}", opened=otlp.now + number)
        client.send(otlp.logs(event), number + 1)
    client.send(otlp.logs(otlp.incident("resolved", otlp.now + 9, "i-3", opened=otlp.now + 3)), 9)
    ids = [i["id"] for i in client.json("/api/v1/incidents", limit=2)["incidents"]]
    assert ids == ["i-4", "i-3"]
    opened = client.json("/api/v1/incidents", state="open")["incidents"]
    assert [i["id"] for i in opened] == ["i-4", "i-2", "i-1", "i-0"]
    assert client.json("/api/v1/incidents", agent="other")["incidents"] == []


HOSTILE = [
    "<script>alert(1)</script>",
    "'; DROP TABLE host; --",
    "line\nbreak\r\n\x00\x1b[31m",
    "../../../etc/passwd",
    "%s%n{0}${x}",
    "\u202egnp.exe",
    "a" * 5_000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_data_everywhere(client: Any, otlp: Any, text: str) -> None:
    resource = {"service.instance.id": text, "host.name": text, text[:200]: text}
    request = otlp.metrics(otlp.gauge(text, otlp.now, 1.0, k=text), resource=resource)
    assert client.send(request).status_code == 200
    event = otlp.incident("opened", otlp.now, title=text, resource=text, series=[text])
    assert client.send(otlp.logs(event, otlp.heartbeat(otlp.now), resource=resource)).is_success
    (host,) = client.json("/api/v1/hosts")["hosts"]
    assert host["host"][:200] == text[:200]
    response = client.get("/api/v1/incidents")
    assert response.headers["content-type"] == "application/json"
    (incident,) = response.json()["incidents"]
    assert incident["title"][:200] == text[:200]
    assert incident["agent"] == host["agent"]
    assert client.json("/api/v1/incidents", agent=host["agent"])["incidents"] == [incident]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/incidents?limit=0",
        "/api/v1/incidents?limit=1e3",
        "/api/v1/incidents?limit=-1",
        "/api/v1/incidents?limit=99999999999999999999999",
        "/api/v1/incidents?state=broken",
        "/api/v1/hosts/AGENT/metrics",
        "/api/v1/hosts/AGENT/metrics?name=",
        "/api/v1/hosts/AGENT/metrics?name=a&from_ms=abc",
        "/api/v1/hosts/AGENT/metrics?name=a&from_ms=5&to_ms=5",
        "/api/v1/hosts/AGENT/metrics?name=a&from_ms=0",
        "/api/v1/hosts/AGENT/metrics?name=a&limit=0",
        "/api/v1/hosts/AGENT/metrics?name=a&from_ms=9007199254740000&to_ms=9007199254740991",
        "/api/v1/hosts/AGENT/metrics?name=a" + "&key=k" * 300,
    ],
)
def test_bad_query_parameters_are_named(client: Any, otlp: Any, path: str) -> None:
    client.send(otlp.logs(otlp.heartbeat(otlp.now)), 1)
    response = client.get(path.replace("AGENT", otlp.agent))
    assert response.status_code == 400
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/hosts/nobody",
        "/api/v1/hosts/nobody/series",
        "/api/v1/hosts/nobody/metrics?name=a",
        "/api/v1/incidents/nobody/i-1",
        "/api/v1/nothing",
        "/static/nothing.js",
        "/static/..%2f..%2fserve.py",
        "/static/%2e%2e/serve.py",
        "/static//etc/passwd",
    ],
)
def test_what_is_not_there_is_a_json_404(client: Any, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize(
    "path", ["/", "/static/a.js", "/api/v1/hosts", "/api/v1/nothing", "/healthz", "/v1/metrics"]
)
def test_every_answer_has_the_security_headers(client: Any, tmp_path: Path, path: str) -> None:
    static = tmp_path / "static"
    static.mkdir()
    (static / "index.html").write_text("<!doctype html>")
    (static / "a.js").write_text("export {}")
    client = type(client)(client.store, static=static)
    headers = client.get(path, headers={"origin": "http://evil.example"}).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", 200),
        ("localhost:4319", 200),
        ("127.0.0.1:4319", 200),
        ("[::1]:4319", 200),
        ("[::1]", 200),
        ("LOCALHOST", 200),
        ("evil.example", 403),
        ("localhost.evil.example:4319", 403),
        ("127.0.0.1.nip.io", 403),
        ("192.0.2.1", 403),
        ("", 403),
    ],
)
def test_a_foreign_host_header_is_refused(client: Any, host: str, code: int) -> None:
    response = client.get("/api/v1/hosts", headers={"host": host})
    assert response.status_code == code


def test_a_failure_inside_is_a_json_500_with_headers(client: Any) -> None:
    client.app.router.routes.insert(0, _broken_route())
    response = client.get("/broken")
    assert response.status_code == 500
    assert response.json() == {"error": "internal error"}
    assert "content-security-policy" in response.headers


def _broken_route() -> Any:
    from starlette.routing import Route

    def broken(request: Any) -> Any:
        raise RuntimeError("broken")

    return Route("/broken", broken)


def test_healthz_says_whether_batches_can_be_stored(client: Any) -> None:
    assert client.json("/healthz") == {"ok": True}


def test_the_page_is_served(client: Any) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["cache-control"] == "no-cache"
