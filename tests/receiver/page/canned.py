"""A made-up fleet behind the receiver's JSON API, to look at the page and to test it.

Run it as a program to see the page in a browser: ``python canned.py [PORT] [EXTRA_HOSTS]``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from made_up import GIB, HOSTILE_PROCESS, MINUTE, Host, around, from_then_on, furnish, serve_models
from made_up_logs import around_answer, logs_answer, no_logs, template_answer
from made_up_models import happened_answer, model_answer, models_answer

Json = dict[str, Any]

STATIC = Path(__file__).parents[3] / "agent" / "vedette" / "receiver" / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'"
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

WEB = "7f9c2ba4-e88f-4d27-9d3f-3c5e0b1a7d11"
DB = "1d0e7c55-93ab-4c0e-8a52-6a2f1a9be002"
HOSTILE = "c4a1f3d0-5b7e-4f6a-b1c2-90aa77e1f003"
HOSTILE_NAME = (
    'gpu-\u202ereversed\u202c <script>window.hacked=1</script>"><img src=x onerror=alert(1)> Ω水'
)
EPOCH = "9f86d081884c7d65"
#: Series, unit, usual level, strange level, expected low and high.
EVIDENCE = (
    ("vedette.cpu.busy", "1", 0.24, 0.985, 0.12, 0.38),
    ("system.cpu.load_average.1m", "{thread}", 4.1, 20.8, None, 7.0),
    ("system.cpu.utilization{cpu.mode=user}", "1", 0.16, 0.94, 0.07, 0.27),
    ("system.paging.operations{system.paging.direction=in}", "{operation}/s", 3.0, 5.0, None, None),
)
#: Agent, id, severity, resource, sentence, onset in minutes ago, minutes it lasted (None: open),
#: series, suspects (name, pid, share, text).
INCIDENTS: tuple[tuple[Any, ...], ...] = (
    (
        *(DB, "01JD8R3P6Q", "critical", "cpu"),
        "CPU is 98 % busy, usually 12 to 38 %; process `stress-ng` (pid 48213) uses 97 % of it",
        *(12.37, None),
        ["vedette.cpu.busy", "system.cpu.load_average.1m", "system.cpu.utilization{cpu.mode=user}"],
        [
            ("stress-ng", "48213", 0.97, "97 % of 16 CPUs"),
            ("postgres", "1102", 0.021, "2 % of 16 CPUs"),
            (HOSTILE_PROCESS, "666", 0.004, "under 1 % of 16 CPUs"),
        ],
    ),
    (
        *(WEB, "01JD8Q0A11", "warning", "disk"),
        "Disk sda is 84 % busy, usually under 20 %, and writes take 41 ms, usually 3 ms",
        *(7.2, None),
        ["system.disk.io_time{system.device=sda}"],
        [("backup.sh", "9310", 0.62, "62 % of the writes")],
    ),
    (
        *(HOSTILE, "01JD8HOSTILE", "warning", "<b>gpu</b>"),
        "GPU <script>window.hacked=4</script> is hotter than usual: 78 °C, usually 61 to 67 °C",
        *(24.0, None, ["hw.gpu.temperature{hw.id=gpu0}"], []),
    ),
    (
        *(WEB, "01JD8NET01", "info", "network"),
        "Network eth0 receives 14.2 MiB/s, usually 1 to 4 MiB/s",
        *(31.0, 4.5),
        ["system.network.io{network.interface.name=eth0,network.io.direction=receive}"],
        [("rsync", "7777", 0.88, "88 % of the traffic")],
    ),
    (
        *(DB, "01JD8MEM02", "warning", "memory"),
        "Memory in use grows by 1.1 GiB a minute, usually flat",
        *(49.0, 11.0, ["system.memory.usage{system.memory.state=used}"]),
        [("java", "3141", 0.57, "36 GiB resident")],
    ),
    (
        *(DB, "01JD7OLD03", "critical", "filesystem"),
        "Filesystem /var is 99 % full and fills in 4 min",
        *(60.0 * 31, 22.0, ["system.filesystem.utilization"], []),
    ),
)


def _hosts(extra: int) -> Iterator[Host]:
    web = Host(WEB, "web-01.example.net", cpus=4, memory=16 * GIB, os="Debian GNU/Linux 12")
    web.labels = {"env": "production", "region": "eu-west"}
    web.started_ago_ms = 38 * MINUTE
    yield web
    db = Host(DB, "db-primary", cpus=16, memory=64 * GIB, os="Ubuntu 24.04.1 LTS")
    db.health = "degraded"
    db.reasons = [
        "collector nvidia is failing: driver/library version mismatch",
        "detector robust still learns 31 % of the series",
    ]
    db.labels = {"env": "production", "role": "postgres", "team": "storage"}
    db.incident_ago_ms = 12 * MINUTE + 22_000
    db.missing = [[812, 814], [2040, 2040]]
    db.backlog = 3
    yield db
    odd = Host(HOSTILE, HOSTILE_NAME, cpus=64, memory=512 * GIB, os="Fedora Linux 41 <b>bold</b>")
    odd.health = "silent"
    odd.reasons = ["no heartbeat for 17 min"]
    odd.labels = {"<i>key</i>": "<script>window.hacked=3</script>"}
    odd.silent_ms = 17 * MINUTE
    odd.outage = (46, 39)
    serve_models(odd)
    yield odd
    for i in range(extra):
        agent = f"00000000-0000-4000-8000-{i:012d}"
        more = Host(agent, f"node-{i:03d}", cpus=8, memory=32 * GIB, os="Debian GNU/Linux 12")
        more.labels = {"rack": f"r{i % 9}"}
        yield more


#: Kind, name, facts.
ITEMS: tuple[tuple[str, str, Json], ...] = (
    ("cpu", "AMD EPYC 7543", {"logical": 16, "cores": 8, "cache": "512 KB"}),
    ("memory", "ram", {"total": 64 * GIB, "swap_total": 0, "numa_nodes": 2}),
    ("os", "debian", {"version": "12", "description": "Debian GNU/Linux 12 (bookworm)"}),
    *(
        ("disk", f"nvme{i}n1", {"size": 4_000_787_030_016, "rotational": False, "model": "PM9A3"})
        for i in range(15)
    ),
    ("interface", "eth0", {"mtu": 1500, "driver": "ixgbe", "speed_mbit": 10_000}),
    ("service", "postgres", {"ports": "5432", "local_only": True}),
    ("<img src=x onerror=window.hacked=5>", HOSTILE_NAME, {"<b>key</b>": HOSTILE_NAME * 4}),
)


class Fleet:
    """Answers the API's paths at a given time."""

    def __init__(self, now_ms: int, extra: int = 0) -> None:
        self.now = now_ms
        self.hosts = {host.agent: host for host in _hosts(extra)}
        for host in self.hosts.values():
            furnish(host, now_ms)
        self.incidents = [self._incident(*row) for row in INCIDENTS]

    def _incident(
        self,
        agent: str,
        identity: str,
        severity: str,
        resource: str,
        title: str,
        ago: float,
        lasted: float | None,
        series: list[str],
        suspects: list[tuple[str, str, float, str]],
    ) -> Json:
        onset = int(self.now - ago * MINUTE)
        resolved = None if lasted is None else int(onset + lasted * MINUTE)
        return {
            "agent": agent,
            "host": self.hosts[agent].name,
            "id": identity,
            "state": "open" if resolved is None else "resolved",
            "severity": severity,
            "resource": resource,
            "title": title,
            "onset_ms": onset,
            "opened_ms": onset + 9000,
            "updated_ms": resolved or onset + 95_000,
            "resolved_ms": resolved,
            "series": series,
            "suspects": [
                {
                    "kind": "process",
                    "name": name,
                    "id": pid,
                    "share": share,
                    "text": text,
                    "reason": "its share grew",
                    "time_ns": (onset - 2000) * 10**6,
                }
                for name, pid, share, text in suspects
            ],
        }

    def host(self, host: Host) -> Json:
        """Return a host as the list and the host's own answer show it."""
        newest = [t for t, _ in host.windows(self.now, self.now - 60 * MINUTE, self.now)][-1]
        rows = host.points(self.now, "vedette.cpu.busy", self.now - 30 * MINUTE, self.now)
        spark = [[row[0], row[1]] for row in rows]
        used = "system.memory.utilization{system.memory.state=used}"
        opened = [i for i in self.incidents if i["agent"] == host.agent and i["state"] == "open"]
        lost = sum(b - a + 1 for a, b in host.missing)
        return {
            "agent": host.agent,
            "host": host.name,
            "host_id": host.agent.replace("-", ""),
            "labels": host.labels,
            "version": "0.1.0",
            "os": host.os,
            "cpus": host.cpus,
            "memory_bytes": host.memory,
            "health": host.health,
            "reasons": host.reasons,
            "last_seen_ms": self.now - host.silent_ms - 4200,
            "newest_window_ms": newest,
            "lag_s": (self.now - newest) / 1000,
            "clock_offset_s": 0.012,
            "interval_s": 1.0,
            "series": len(host.series) * 4,
            "learning": 0.31 if host.agent == DB else 0.0,
            "collectors": self._collectors(host),
            "backlog_batches": host.backlog,
            "dropped": 0,
            "missing": lost,
            "received": 2913 - lost,
            "duplicates": 2,
            "agent_cpu": 0.0031,
            "agent_rss": 46 * 1024**2,
            "inventory_ms": None if host.agent == HOSTILE else self.now - 3 * 60 * MINUTE,
            "logs_ms": None if host.agent == DB else newest,
            "models": 2 if host.agent == HOSTILE else None,
            "open": {
                severity: sum(one["severity"] == severity for one in opened)
                for severity in ("info", "warning", "critical")
            },
            "headline": {
                "cpu": spark[-1][1],
                "memory": host.points(self.now, used, newest - MINUTE, newest)[-1][1],
                "disk": 0.97 if host.agent == WEB else 0.883,
            },
            "spark": {"cpu": spark[-30:]},
        }

    def _collectors(self, host: Host) -> dict[str, str]:
        names = ("cpu", "memory", "disk", "filesystems", "network", "processes", "openmetrics")
        nvidia = "failing: driver/library version mismatch" if host.agent == DB else ""
        return {**dict.fromkeys(names, "ok"), "nvidia": nvidia or "resting: no NVIDIA driver"}

    def _epochs(self, host: Host) -> list[Json]:
        lost = sum(b - a + 1 for a, b in host.missing)
        return [
            {
                "agent": host.agent,
                "host": host.name,
                "epoch": EPOCH,
                "first": 1,
                "highest": 2913,
                "contiguous": host.missing[0][0] - 1 if host.missing else 2913,
                "missing": host.missing,
                "missing_count": lost,
                "received": 2913 - lost,
                "duplicates": 2,
            }
        ]

    def _evidence(self, incident: Json) -> Iterator[Json]:
        start = incident["onset_ms"] - 120_000
        for name, unit, usual, strange, low, high in EVIDENCE:
            curve = from_then_on(around(name, usual, 0.4), incident["onset_ms"] / 1000, strange)
            values = [curve(start / 1000 + second) for second in range(240)]
            unread = [None if 60 <= i < 64 else value for i, value in enumerate(values)]
            yield {
                "series": name,
                "unit": unit,
                "start_ms": start,
                "step_ms": 1000,
                "values": unread,
                "low": low,
                "high": high,
            }

    def _detail(self, found: Json) -> Json:
        history = [
            (found["opened_ms"], "opened", "warning", "CPU is 91 % busy, usually 12 to 38 %"),
            (found["onset_ms"] + 95_000, "updated", found["severity"], found["title"]),
            (found["resolved_ms"], "resolved", "info", found["title"]),
        ]
        return {
            **found,
            "evidence": list(self._evidence(found)),
            "detectors": ["robust", "level"],
            "history": [
                {"time_ms": at, "event": event, "severity": severity, "title": title}
                for at, event, severity, title in history
                if at is not None
            ],
        }

    def answer(self, path: str, query: dict[str, str]) -> Json | None:
        """Return the body for a path below /api/v1/, None for 404."""
        parts = [unquote(part) for part in path.split("/")]
        match parts:
            case ["hosts"]:
                return {"now_ms": self.now, "hosts": [self.host(h) for h in self.hosts.values()]}
            case ["incidents"]:
                return {"now_ms": self.now, "incidents": self._listed(query)}
            case ["models"]:
                return models_answer(self.now, query)
            case ["model"]:
                mine = [one for one in self.incidents if one["agent"] == HOSTILE]
                return model_answer(self.now, query, HOSTILE, mine)
            case ["incidents", agent, identity, "events"]:
                found = [one for one in self.incidents if one["id"] == identity]
                onset = found[0]["onset_ms"] if found else self.now
                return happened_answer(self.now, agent, onset, "01JD8Q0A11")
            case ["incidents", agent, _, "logs"]:
                return around_answer(self.now) if agent in self.hosts else None
            case ["incidents", agent, identity]:
                wanted = (agent, identity)
                found = [one for one in self.incidents if (one["agent"], one["id"]) == wanted]
                return {"incident": self._detail(found[0])} if found else None
            case ["hosts", agent, *rest] if agent in self.hosts:
                return self._of_host(self.hosts[agent], rest, query)
        return None

    def _listed(self, query: dict[str, str]) -> list[Json]:
        found = [
            one
            for one in self.incidents
            if query.get("agent", one["agent"]) == one["agent"]
            and query.get("state", one["state"]) == one["state"]
        ]
        found.sort(key=lambda one: -one["opened_ms"])
        return found[: int(query.get("limit", "100"))]

    def _of_host(self, host: Host, rest: list[str], query: dict[str, str]) -> Json | None:
        match rest:
            case []:
                return {
                    "now_ms": self.now,
                    "host": self.host(host),
                    "epochs": self._epochs(host),
                }
            case ["logs"]:
                return no_logs(self.now) if host.agent == DB else logs_answer(self.now, query)
            case ["logs", "template"]:
                return template_answer(self.now, query)
            case ["inventory"]:
                return self._inventory(host)
            case ["series"]:
                return {"series": [self._series(host, key) for key in host.series]}
            case ["metrics"]:
                return self._metrics(host, query)
        return None

    def _inventory(self, host: Host) -> Json:
        told = self.now - 3 * 60 * MINUTE
        changes = [
            (told, "disk nvme14n1 appeared"),
            (told, "memory ram: total is 68719476736, was 34359738368"),
            (told - 26 * 60 * MINUTE, f"service {HOSTILE_NAME} went away"),
        ]
        return {
            "now_ms": self.now,
            "time_ms": told,
            "digest": "5f" * 16,
            "items": [{"kind": kind, "name": name, "facts": facts} for kind, name, facts in ITEMS],
            "omitted": 0,
            "changes": [{"time_ms": at, "text": text} for at, text in changes],
        }

    def _series(self, host: Host, key: str) -> Json:
        name, kind, unit, attributes, curve = host.series[key]
        return {
            "key": key,
            "name": name,
            "attributes": attributes,
            "unit": unit,
            "kind": kind,
            "last": curve((self.now - host.silent_ms) / 1000),
            "last_ms": self.now - host.silent_ms,
        }

    def _metrics(self, host: Host, query: dict[str, str]) -> Json:
        start = int(query.get("from_ms", self.now - 60 * MINUTE))
        end = int(query.get("to_ms", self.now))
        mine = {key: one for key, one in host.series.items() if one[0] == query["name"]}
        if query.get("keys"):
            mine = {key: mine[key] for key in query["keys"].split("\n")}
        kind, unit = next(((one[1], one[2]) for one in mine.values()), ("", ""))
        return {
            "name": query["name"],
            "unit": f"{unit}/s" if kind == "counter" else unit,
            "kind": kind,
            "series": [
                {
                    "key": key,
                    "attributes": one[3],
                    "points": host.points(self.now, key, start, end),
                }
                for key, one in mine.items()
            ],
        }


class Server:
    """The static files and a fleet on 127.0.0.1, and what was asked of it.

    ``broken`` makes the API answer 503, ``empty`` makes it know no host.
    """

    def __init__(self, now_ms: int | None = None, extra: int = 0, port: int = 0) -> None:
        self.live = now_ms is None
        self.fleet = Fleet(now_ms or int(time.time() * 1000), extra)
        self.broken = self.empty = False
        self.asked: list[str] = []
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/"
        self._thread = threading.Thread(target=self._http.serve_forever, name="canned", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5)

    def body(self, path: str, query: dict[str, str]) -> Json | None:
        """Return the answer's body, None for 404."""
        if self.live:
            self.fleet.now = int(time.time() * 1000)
        if self.empty:
            return {"now_ms": self.fleet.now, "hosts": [], "incidents": []}
        return self.fleet.answer(path, query)


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer the API or a file."""
        parts = urlsplit(self.path)
        self.owner.asked.append(self.path)
        if parts.path.startswith("/api/v1/"):
            self._api(parts.path.removeprefix("/api/v1/"), parse_qs(parts.query))
            return
        file = STATIC / ("index.html" if parts.path == "/" else Path(parts.path).name)
        if not file.is_file():
            self._send(404, b"", "text/plain")
            return
        kind = TYPES.get(file.suffix, "image/svg+xml")
        self._send(200, file.read_bytes(), f"{kind}; charset=utf-8")

    def _api(self, path: str, query: dict[str, list[str]]) -> None:
        if self.owner.broken:
            self._send(503, b'{"error":"down"}', "application/json")
            return
        one = {key: values[0] for key, values in query.items()}
        body = self.owner.body(path, one | {"keys": "\n".join(query.get("key", []))})
        text = json.dumps({"error": "not found"} if body is None else body)
        self._send(404 if body is None else 200, text.encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)


def _look(port: int, extra: int) -> None:
    with Server(port=port, extra=extra) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    _look(*(int(text) for text in (*sys.argv[1:], *("0", "0")[len(sys.argv) - 1 :])))
