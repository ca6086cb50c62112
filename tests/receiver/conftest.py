"""A real store in a temporary directory, the application over it, and makers of OTLP requests."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
)

from vedette import announcements
from vedette import otlp as agent_side
from vedette.api import Record
from vedette.histograms import histogram_of
from vedette.receiver.app import create_app
from vedette.receiver.limits import Limits
from vedette.receiver.store import Store

# The modules beside this one.
sys.path.insert(0, str(Path(__file__).parent))

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
NOW = 1_800_000_000 * SECOND
AGENT = "0b6f3c1e-5a52-4c9e-9f6e-0d8a2b7c4d10"
EPOCH = "00112233445566ff"
LOG_SOURCE, LOG_UID = "/var/log/app.log", "06d44cfbe205f568"


class Clock:
    """A clock that stands still until told."""

    def __init__(self, now_ns: int = NOW) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def any_value(value: Any) -> AnyValue:
    made = AnyValue()
    if isinstance(value, bool):
        made.bool_value = value
    elif isinstance(value, str):
        made.string_value = value
    elif isinstance(value, int):
        made.int_value = value
    elif isinstance(value, float):
        made.double_value = value
    elif isinstance(value, Mapping):
        made.kvlist_value.SetInParent()
        made.kvlist_value.values.extend(pairs(value))
    else:
        made.array_value.SetInParent()
        made.array_value.values.extend(any_value(item) for item in value)
    return made


def pairs(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


class Otlp:
    """Builds requests the way an agent does."""

    agent, epoch, now, minute, second = AGENT, EPOCH, NOW, MINUTE, SECOND
    resource: Mapping[str, Any] = {
        "service.name": "vedette",
        "service.instance.id": AGENT,
        "host.name": "web-1",
        "host.id": "abc",
        "rack": "r7",
    }
    pairs = staticmethod(pairs)

    def metrics(self, *fill: Callable[[Any], None], resource: Any = None) -> Any:
        """Return a request; each ``fill`` gets the scope's metrics."""
        request = ExportMetricsServiceRequest()
        group = request.resource_metrics.add()
        group.resource.attributes.extend(pairs(self.resource if resource is None else resource))
        scope = group.scope_metrics.add()
        for one in fill:
            one(scope.metrics)
        return request

    def gauge(
        self, name: str, end_ns: int, value: float | None, unit: str = "1", **attributes: str
    ) -> Callable[[Any], None]:
        def fill(metrics: Any) -> None:
            metric = metrics.add(name=name, unit=unit)
            point = metric.gauge.data_points.add(time_unix_nano=end_ns)
            point.attributes.extend(pairs(_dotted(attributes)))
            if value is None:
                point.flags = 1
            else:
                point.as_double = value

        return fill

    def counter(
        self, name: str, end_ns: int, total: float, start_ns: int = 1, **attributes: str
    ) -> Callable[[Any], None]:
        def fill(metrics: Any) -> None:
            metric = metrics.add(name=name, unit="By")
            metric.sum.is_monotonic = True
            metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
            point = metric.sum.data_points.add(
                time_unix_nano=end_ns, start_time_unix_nano=start_ns, as_double=total
            )
            point.attributes.extend(pairs(_dotted(attributes)))

        return fill

    def distribution(
        self, name: str, end_ns: int, values: Sequence[float], unit: str = "1", **attributes: str
    ) -> Callable[[Any], None]:
        import numpy as np

        histogram = histogram_of(np.array(values, dtype=np.float64))

        def fill(metrics: Any) -> None:
            metric = metrics.add(name=f"{name}.dist", unit=unit)
            metric.exponential_histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
            point = metric.exponential_histogram.data_points.add(
                start_time_unix_nano=end_ns - MINUTE,
                time_unix_nano=end_ns,
                count=histogram.count,
                scale=histogram.scale,
                zero_count=histogram.zero_count,
                min=histogram.min,
                max=histogram.max,
            )
            if min(values) >= 0:
                point.sum = float(sum(values))
            point.positive.offset = histogram.positive_offset
            point.positive.bucket_counts.extend(histogram.positive)
            point.negative.offset = histogram.negative_offset
            point.negative.bucket_counts.extend(histogram.negative)
            point.attributes.extend(pairs(_dotted(attributes)))

        return fill

    def logs(self, *fill: Callable[[Any], None], resource: Any = None) -> Any:
        """Return a request; each ``fill`` gets the scope's log records."""
        request = ExportLogsServiceRequest()
        group = request.resource_logs.add()
        group.resource.attributes.extend(pairs(self.resource if resource is None else resource))
        scope = group.scope_logs.add()
        for one in fill:
            one(scope.log_records)
        return request

    def heartbeat(self, end_ns: int, **more: Any) -> Callable[[Any], None]:
        values = {
            "vedette.event": "vedette.heartbeat",
            "vedette.version": "0.1.0",
            "vedette.health": "ok",
            "vedette.health.reasons": [],
            "vedette.window.start": end_ns - MINUTE,
            "vedette.window.end": end_ns,
            "vedette.series": 400,
            "vedette.learning": 0.25,
            "vedette.collectors": {"cpu": "ok", "gpu": "resting: no NVIDIA driver"},
            "vedette.spool.batches": 2,
            "vedette.dropped": 3,
            "os.description": "Debian 12",
            "host.cpu.count": 8,
            "host.memory.total": 1 << 34,
            "vedette.interval": 1.0,
            "vedette.cpu": 0.004,
            "vedette.rss": 50_000_000,
        } | more

        def fill(records: Any) -> None:
            record = records.add(time_unix_nano=end_ns, event_name="vedette.heartbeat")
            record.attributes.extend(pairs(values))

        return fill

    def inventory(
        self, time_ns: int, items: Any, changes: Any = (), digest: Any = "d"
    ) -> Callable[[Any], None]:
        values = {
            "vedette.event": "vedette.inventory",
            "vedette.inventory.digest": digest,
            "vedette.inventory.changes": changes,
            "vedette.inventory.items": items,
        }

        def fill(records: Any) -> None:
            record = records.add(time_unix_nano=time_ns, event_name="vedette.inventory")
            record.attributes.extend(pairs(values))

        return fill

    def incident(
        self, change: str, time_ns: int, identity: str = "i-1", **more: Any
    ) -> Callable[[Any], None]:
        prefix = "vedette.incident."
        values: dict[str, Any] = {
            "id": identity,
            "state": "resolved" if change == "resolved" else "open",
            "severity": "critical",
            "resource": "cpu",
            "title": "CPU is busy on web-1",
            "onset": NOW - 5 * MINUTE,
            "opened": NOW - 4 * MINUTE,
            "updated": time_ns,
            "series": ["vedette.cpu.busy"],
            "detectors": ["robust"],
            "suspects": [
                {"kind": "process", "name": "stress", "id": "4711", "share": 0.97, "text": "97 %"}
            ],
            "evidence": [
                {
                    "series": "vedette.cpu.busy",
                    "unit": "1",
                    "start_ns": NOW - 5 * MINUTE,
                    "step_ns": SECOND,
                    "values": [0.1, float("nan"), 0.9],
                    "high": 0.4,
                }
            ],
        }
        if change == "resolved":
            values["resolved"] = time_ns
        values |= more

        def fill(records: Any) -> None:
            record = records.add(time_unix_nano=time_ns, event_name=f"{prefix}{change}")
            record.body.string_value = str(values["title"])
            record.severity_number = 17
            record.attributes.extend(
                pairs(
                    {f"{prefix}{key}": value for key, value in values.items()}
                    | {"vedette.event": f"{prefix}{change}", "log.record.uid": f"{change}{time_ns}"}
                )
            )

        return fill


def _dotted(attributes: Mapping[str, str]) -> dict[str, str]:
    return {key.replace("__", "."): value for key, value in attributes.items()}


class Client:
    """Speaks to the application without a socket; synchronous."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.app = create_app(store, **options)
        self.store = store

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await http.request(method, path, **options)

        return asyncio.run(once())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def json(self, path: str, **params: Any) -> Any:
        response = self.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    def post(
        self,
        path: str,
        body: bytes,
        batch: str | int | None = None,
        *,
        encoding: str = "gzip",
        media: str = "application/x-protobuf",
        **headers: str,
    ) -> httpx.Response:
        """Post a body; an integer ``batch`` is a sequence of the usual agent and epoch."""
        sent = {"content-type": media}
        if encoding:
            sent["content-encoding"] = encoding
        if batch is not None:
            name = f"{AGENT}/{EPOCH}/{batch}" if isinstance(batch, int) else batch
            sent["vedette-batch"] = name
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        return self.request("POST", path, content=body, headers=sent)

    def send(self, request: Any, batch: str | int | None = None, **options: Any) -> httpx.Response:
        """Post a request message the way an agent does."""
        path = "/v1/metrics" if isinstance(request, ExportMetricsServiceRequest) else "/v1/logs"
        return self.post(path, gzip.compress(request.SerializeToString()), batch, **options)


class Teller:
    """Sends windows of logs the way an agent does, and asks for them."""

    resource: Mapping[str, str] = {"service.instance.id": AGENT, "host.name": "web-1"}

    now, minute, second, agent = NOW, MINUTE, SECOND, AGENT

    def __init__(self, client: Client) -> None:
        self.client = client
        self.sequence = 0

    def template(
        self,
        count: int,
        end_ns: int | None = None,
        *,
        uid: str = LOG_UID,
        source: str = LOG_SOURCE,
        **more: Any,
    ) -> Record:
        """Return the record of one template; ``more`` are attributes, body and severity."""
        end = self.now if end_ns is None else end_ns
        text, severity = more.pop("text", "job <num> is done"), more.pop("severity", 9)
        name = more.pop("name", f"log/birth/{source}/{uid}/{end}")
        values = {
            "source": source,
            "template": uid,
            "count": count,
            "total": count,
            "since": end - self.minute,
            "first": end - 50 * self.second,
            "last": end - self.second,
        }
        attributes = {f"vedette.log.{key}": value for key, value in {**values, **more}.items()}
        attributes |= self.span(end)
        return Record("vedette.log.template", end, text, attributes, severity=severity, uid=name)

    def window(self, end_ns: int | None = None, **more: Any) -> Record:
        """Return a window's own record."""
        end = self.now if end_ns is None else end_ns
        values = {
            "events": 5,
            "events.untold": 0,
            "templates": 1,
            "sources": {},
            "redacted": {"texts": 9, "touched": 2, "hits": {"email": 3}},
            "lost": 0,
        }
        attributes = {f"vedette.log.{key}": value for key, value in {**values, **more}.items()}
        attributes |= self.span(end)
        return Record("vedette.log.window", end, "5 events", attributes, uid=f"logs/birth/{end}")

    def span(self, end_ns: int) -> dict[str, Any]:
        return {"vedette.window.start": end_ns - self.minute, "vedette.window.end": end_ns}

    def request(self, *records: Record) -> Any:
        events = [announcements.record_event(one) for one in records]
        return ExportLogsServiceRequest.FromString(agent_side.encode_logs(events, self.resource))

    def send(self, *records: Record) -> Any:
        """Send records as the next batch."""
        self.sequence += 1
        response = self.client.send(self.request(*records), self.sequence)
        assert response.status_code == 200, response.text
        return response

    def logs(self, **query: Any) -> Any:
        return self.client.json(f"/api/v1/hosts/{self.agent}/logs", **query)

    def one(self, uid: str = LOG_UID, source: str = LOG_SOURCE) -> Any:
        query = {"source": source, "uid": uid}
        return self.client.json(f"/api/v1/hosts/{self.agent}/logs/template", **query)["template"]

    def counts(self, **query: Any) -> dict[str, int]:
        return {one["uid"]: one["hour"] for one in self.logs(**query)["templates"]}


@pytest.fixture
def otlp() -> Otlp:
    return Otlp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_store(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Store]]:
    stores: list[Store] = []

    def make(path: Path = tmp_path / "receiver.db", **options: Any) -> Store:
        store = Store(path, **{"clock_ns": clock, "commit_delay_s": 0.0} | options)
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store()


@pytest.fixture
def client(store: Store) -> Client:
    return Client(store)


@pytest.fixture
def limited(make_store: Callable[..., Store]) -> Callable[..., Client]:
    """Make a client of a receiver with other limits."""
    return lambda **limits: Client(make_store(limits=Limits(**limits)))


@pytest.fixture
def teller(client: Client) -> Teller:
    return Teller(client)


@pytest.fixture
def make_teller() -> type[Teller]:
    return Teller
