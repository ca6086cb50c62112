"""What a sender gets back, and what is stored before it does."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)


def status(body: bytes) -> tuple[int, str]:
    """Read a google.rpc.Status with less than 128 bytes of text, or more."""
    assert body[:1] == b"\x08"
    assert body[2:3] == b"\x12"
    at = 4 if body[3] < 128 else 5
    return body[1], body[at:].decode()


def count(client: Any, table: str) -> int:
    return int(client.store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_batch_is_stored_byte_for_byte(client: Any, otlp: Any) -> None:
    request = otlp.metrics(otlp.gauge("a", otlp.now, 1.0))
    body = gzip.compress(request.SerializeToString())
    response = client.post("/v1/metrics", body, 1)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-protobuf"
    answer = ExportMetricsServiceResponse.FromString(response.content)
    assert not answer.HasField("partial_success")
    (row,) = client.store.connection.execute(
        "SELECT agent, epoch, sequence, signal, window_end, received, data"
        " FROM batch JOIN body ON body.batch = batch.id"
    ).fetchall()
    assert row == (otlp.agent, otlp.epoch, 1, "metrics", otlp.now, otlp.now, body)


def test_a_duplicate_is_answered_like_the_first_and_counted(client: Any, otlp: Any) -> None:
    request = otlp.logs(otlp.incident("opened", otlp.now))
    for _ in range(3):
        assert client.send(request, 7).status_code == 200
    assert count(client, "batch") == 1
    assert count(client, "incident_event") == 1
    (epoch,) = client.json("/api/v1/completeness")["epochs"]
    assert (epoch["received"], epoch["duplicates"]) == (1, 2)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        "a/b/1",
        "0b6f3c1e-5a52-4c9e-9f6e-0d8a2b7c4d10/00112233445566ff",
        "0b6f3c1e-5a52-4c9e-9f6e-0d8a2b7c4d10/00112233445566ff/0",
        "0b6f3c1e-5a52-4c9e-9f6e-0d8a2b7c4d10/00112233445566ff/-1",
        "0b6f3c1e-5a52-4c9e-9f6e-0d8a2b7c4d10/00112233445566ff/01",
        "0b6f3c1e-5a52-4c9e-9f6e-0d8a2b7c4d10/00112233445566ff/9223372036854775808",
        "0b6f3c1e-5a52-4c9e-9f6e-0d8a2b7c4d10/00112233445566fg/1",
        "0b6f3c1e-5a52-4c9e-9f6e-0d8a2b7c4d10/00112233445566ff/1/2",
        "<script>alert(1)</script>/00112233445566ff/1",
    ],
)
def test_a_malformed_batch_header_is_named(client: Any, otlp: Any, header: str) -> None:
    response = client.send(otlp.metrics(otlp.gauge("a", otlp.now, 1.0)), header)
    assert response.status_code == 400
    code, text = status(response.content)
    assert code == 3
    assert "Vedette-Batch" in text
    assert count(client, "batch") == 0


def test_a_malformed_sent_at_header_is_named(client: Any, otlp: Any) -> None:
    request = otlp.metrics(otlp.gauge("a", otlp.now, 1.0))
    for text in ("soon", "-1", "9" * 30, "1.5", "٣"):
        response = client.send(request, 1, vedette_sent_at=text.encode())
        assert response.status_code == 400
        assert "Vedette-Sent-At" in status(response.content)[1]


def test_json_with_hex_ids_and_numbers_as_text_is_understood(client: Any, otlp: Any) -> None:
    body = {
        "resourceLogs": [
            {
                "resource": {
                    "attributes": [{"key": "host.name", "value": {"stringValue": "foreign-1"}}]
                },
                "scopeLogs": [
                    {
                        "logRecords": [
                            {
                                "timeUnixNano": str(otlp.now),
                                "severityNumber": 9,
                                "traceId": "5b8efff798038103d269b633813fc60c",
                                "spanId": "EEE19B7EC3C1B174",
                                "futureField": {"x": [1]},
                                "body": {"stringValue": "hello"},
                            }
                        ]
                    }
                ],
            }
        ]
    }
    response = client.post(
        "/v1/logs", json.dumps(body).encode(), encoding="", media="application/json; charset=utf-8"
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {}
    ((data,),) = client.store.connection.execute("SELECT data FROM body").fetchall()
    stored = ExportLogsServiceRequest.FromString(gzip.decompress(data))
    record = stored.resource_logs[0].scope_logs[0].log_records[0]
    assert record.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert record.span_id.hex() == "eee19b7ec3c1b174"
    assert record.time_unix_nano == otlp.now


def test_json_of_the_protobuf_library_gives_the_same_points(client: Any, otlp: Any) -> None:
    request = otlp.metrics(
        otlp.gauge("a", otlp.now, 1.5), otlp.distribution("a", otlp.now, [1.0, 2.0, 2.0])
    )
    body = json_format.MessageToJson(request, use_integers_for_enums=True).encode()
    response = client.post("/v1/metrics", gzip.compress(body), 1, media="application/json")
    assert response.status_code == 200
    ((data,),) = client.store.connection.execute("SELECT data FROM body").fetchall()
    assert ExportMetricsServiceRequest.FromString(gzip.decompress(data)) == request


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"resourceMetrics": 5}',
        b'{"resourceMetrics": [{"resource": {"attributes": [{"key": "a", "value": 3}]}}]}',
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "\xff"}]}]}]}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "\\ud800"}]}]}]}',
        b'{"resourceLogs": "x", "resourceMetrics": "traceId", "traceId": "zz"}',
    ],
)
def test_bad_json_is_refused_in_json(client: Any, body: bytes) -> None:
    response = client.post("/v1/metrics", body, encoding="", media="application/json")
    assert response.status_code == 400
    assert response.json()["code"] == 3
    assert response.json()["message"]


def test_json_of_too_many_elements_is_refused_before_it_is_parsed(client: Any) -> None:
    body = b'{"resourceMetrics": [' + b"{}," * 250_000 + b"{}]}"
    response = client.post("/v1/metrics", gzip.compress(body), media="application/json")
    assert response.status_code == 413
    assert response.json()["code"] == 8


@pytest.mark.parametrize(
    ("media", "encoding", "code"),
    [
        ("text/plain", "", 415),
        ("", "", 415),
        ("text/html", "gzip", 415),
        ("application/x-protobuf", "zstd", 415),
        ("application/x-protobuf", "gzip, gzip", 415),
        ("application/x-protobuf", "deflate", 415),
    ],
)
def test_other_content_is_not_guessed_at(
    client: Any, otlp: Any, media: str, encoding: str, code: int
) -> None:
    body = otlp.metrics(otlp.gauge("a", otlp.now, 1.0)).SerializeToString()
    response = client.post("/v1/metrics", body, 1, media=media, encoding=encoding)
    assert response.status_code == code
    assert count(client, "batch") == 0


@pytest.mark.parametrize(
    "body",
    [
        b"\x00garbage",
        b"\xff" * 1000,
        b"\x0a\x05ab",
        b"\x0b",
        b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    ],
)
def test_garbage_is_refused(client: Any, body: bytes) -> None:
    for path in ("/v1/metrics", "/v1/logs"):
        response = client.post(path, body, 1, encoding="")
        assert response.status_code == 400
        assert "not a valid Export" in status(response.content)[1]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda b: b[:-3], "cut short"),
        (lambda b: b + b"x", "followed by other bytes"),
        (lambda b: b + b, "followed by other bytes"),
        (lambda b: b[:-8] + b"\x00" * 8, "not valid gzip"),
        (lambda b: b"plain", "not valid gzip"),
        (lambda b: b"", "cut short"),
    ],
)
def test_damaged_gzip_is_refused(
    client: Any, otlp: Any, spoil: Callable[[bytes], bytes], text: str
) -> None:
    body = gzip.compress(otlp.metrics(otlp.gauge("a", otlp.now, 1.0)).SerializeToString())
    response = client.post("/v1/metrics", spoil(body), 1)
    assert response.status_code == 400
    assert text in status(response.content)[1]


def test_points_out_of_time_are_rejected_and_the_rest_kept(client: Any, otlp: Any) -> None:
    day = 86_400 * otlp.second
    request = otlp.metrics(
        otlp.gauge("old", otlp.now - 31 * day, 1.0),
        otlp.gauge("never", 0, 1.0),
        otlp.gauge("ahead", otlp.now + 11 * otlp.minute, 1.0),
        otlp.gauge("good", otlp.now + 9 * otlp.minute, 1.0),
        otlp.gauge("end", 2**64 - 1, 1.0),
    )
    response = client.send(request, 1)
    assert response.status_code == 200
    partial = ExportMetricsServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_data_points == 4
    assert "older than 30 days" in partial.error_message
    ((data, end),) = client.store.connection.execute(
        "SELECT data, window_end FROM body JOIN batch ON batch.id = batch"
    ).fetchall()
    stored = ExportMetricsServiceRequest.FromString(gzip.decompress(data))
    kept = stored.resource_metrics[0].scope_metrics[0].metrics
    assert [metric.name for metric in kept if metric.gauge.data_points] == ["good"]
    assert end == otlp.now + 9 * otlp.minute


def test_a_batch_of_which_nothing_was_taken_still_counts_as_received(
    client: Any, otlp: Any
) -> None:
    response = client.send(otlp.metrics(otlp.gauge("a", 5, 1.0)), 1)
    answer = ExportMetricsServiceResponse.FromString(response.content)
    assert answer.partial_success.rejected_data_points == 1
    (epoch,) = client.json("/api/v1/completeness")["epochs"]
    assert (epoch["contiguous"], epoch["missing"]) == (1, [])


def test_an_incident_without_usable_id_is_rejected_not_stored(client: Any, otlp: Any) -> None:
    request = otlp.logs(
        otlp.incident("opened", otlp.now, "../../etc/passwd"),
        otlp.incident("exploded", otlp.now, "i-2"),
        otlp.incident("opened", otlp.now, "i-3"),
    )
    response = client.send(request, 1)
    answer = ExportLogsServiceResponse.FromString(response.content)
    assert answer.partial_success.rejected_log_records == 2
    assert [i["id"] for i in client.json("/api/v1/incidents")["incidents"]] == ["i-3"]


def test_partial_success_is_told_in_json_too(client: Any, otlp: Any) -> None:
    body = json_format.MessageToJson(otlp.metrics(otlp.gauge("a", 5, 1.0))).encode()
    response = client.post("/v1/metrics", body, 1, encoding="", media="application/json")
    assert response.json()["partialSuccess"]["rejectedDataPoints"] == "1"


def test_a_foreign_sender_is_known_by_its_instance_or_name(client: Any, otlp: Any) -> None:
    fill = otlp.gauge("a", otlp.now, 1.0)
    client.send(otlp.metrics(fill, resource={"service.instance.id": "svc/1", "host.name": "h"}))
    client.send(otlp.metrics(fill, resource={"host.name": "only-name"}))
    client.send(otlp.metrics(fill, resource={}))
    hosts = client.json("/api/v1/hosts")["hosts"]
    assert {(h["agent"], h["host"]) for h in hosts} == {
        ("svc/1", "h"),
        ("only-name", "only-name"),
        ("unknown", "unknown"),
    }
    assert client.json("/api/v1/completeness") == {"epochs": []}
    assert client.json("/api/v1/hosts/svc%2F1")["host"]["received"] == 1
    series = client.json("/api/v1/hosts/svc%2F1/series")["series"]
    assert [one["key"] for one in series] == ["a"]


def test_a_foreign_resend_is_recognised_by_its_content(client: Any, otlp: Any) -> None:
    request = otlp.metrics(otlp.gauge("a", otlp.now, 1.0), resource={"host.name": "f"})
    client.send(request)
    client.post("/v1/metrics", request.SerializeToString(), encoding="")
    assert count(client, "batch") == 1
    (host,) = client.json("/api/v1/hosts")["hosts"]
    assert (host["received"], host["duplicates"]) == (1, 1)


def test_hosts_that_share_a_foreign_request_are_kept_apart(client: Any, otlp: Any) -> None:
    request = otlp.metrics(otlp.gauge("a", otlp.now, 1.0), resource={"host.name": "one"})
    other = otlp.metrics(otlp.gauge("a", otlp.now, 2.0), resource={"host.name": "two"})
    request.MergeFrom(other)
    assert client.send(request).status_code == 200
    for name, value in (("one", 1.0), ("two", 2.0)):
        answer = client.json(f"/api/v1/hosts/{name}/metrics", name="a")
        assert [point[1] for point in answer["series"][0]["points"]] == [value]


def test_an_empty_request_is_accepted(client: Any) -> None:
    assert client.post("/v1/metrics", b"", encoding="").status_code == 200
    assert count(client, "host") == 0
    assert client.post("/v1/logs", b"", 1, encoding="").status_code == 200
    assert client.json("/api/v1/completeness")["epochs"][0]["contiguous"] == 1


def test_an_agent_more_than_fit_is_asked_to_wait(limited: Callable[..., Any], otlp: Any) -> None:
    client = limited(agents=2)
    fill = otlp.gauge("a", otlp.now, 1.0)
    codes = [
        client.send(otlp.metrics(fill, resource={"host.name": name})).status_code
        for name in ("a", "b", "c", "a")
    ]
    assert codes == [200, 200, 429, 200]
    response = client.send(otlp.metrics(fill, resource={"host.name": "c"}))
    assert response.headers["retry-after"] == "300"


def test_epochs_of_one_agent_are_bounded(limited: Callable[..., Any], otlp: Any) -> None:
    client = limited(epochs_per_agent=2)
    request = otlp.metrics(otlp.gauge("a", otlp.now, 1.0))
    codes = [
        client.send(request, f"{otlp.agent}/{epoch:016x}/1").status_code for epoch in (1, 2, 3, 1)
    ]
    assert codes == [200, 200, 429, 200]


def test_wrong_methods_and_paths_are_json_errors(client: Any) -> None:
    assert client.get("/v1/metrics").status_code == 405
    response = client.get("/v1/traces")
    assert response.status_code == 404
    assert response.json() == {"error": "Not Found"}
