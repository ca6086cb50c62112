"""Small requests that would become large: refused before memory is spent on them."""

from __future__ import annotations

import gc
import gzip
import resource
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from vedette.otlp import PART_SERIES
from vedette.receiver import wire
from vedette.receiver.limits import MIB, Limits
from vedette.receiver.structure import Refused, scan


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def bomb(unit: bytes, size: int, head: bytes = b"") -> bytes:
    """Compress ``size`` bytes of repeated units without ever holding them."""
    deflater = zlib.compressobj(9, wbits=31)
    chunk = unit * (64 * 1024 // len(unit))
    parts = [deflater.compress(head)]
    parts += [deflater.compress(chunk) for _ in range(size // len(chunk))]
    return b"".join([*parts, deflater.flush()])


def in_scope(data: bytes) -> bytes:
    """Wrap what a scope holds into a request; the same numbers for metrics and logs."""
    return field(1, field(2, data))


EMPTY_RECORD = b"\x12\x00"


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs"])
def test_a_gzip_bomb_stops_at_the_cap(client: Any, path: str) -> None:
    body = bomb(b"\0", 512 * MIB)
    assert len(body) < MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    response = client.post(path, body, 1)
    assert response.status_code == 413
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024


def test_61_mib_of_empty_records_in_62_kb_are_refused(client: Any) -> None:
    size = 61 * MIB
    head = b"\x0a" + varint(size + 5) + b"\x12" + varint(size)
    body = bomb(EMPTY_RECORD, size, head)
    assert len(body) < 64_000
    assert client.post("/v1/logs", body, 1).status_code == 413


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs"])
def test_empty_messages_under_the_byte_cap_are_refused_unparsed(client: Any, path: str) -> None:
    body = gzip.compress(in_scope(EMPTY_RECORD * (7 * MIB // 2)), 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    response = client.post(path, body, 1)
    assert response.status_code == 413
    assert b"more than 10000" in response.content
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_body_too_small_to_scan_is_counted_after_parsing(client: Any) -> None:
    body = gzip.compress(in_scope(EMPTY_RECORD * 20_000), 9)
    for path in ("/v1/metrics", "/v1/logs"):
        assert client.post(path, body, 1).status_code == 413


def test_empty_resources_and_scopes_are_counted_too(client: Any) -> None:
    for body in (field(1, b"") * 20_000, field(1, field(2, b"") * 20_000)):
        assert client.post("/v1/logs", body, 1, encoding="").status_code == 413


def test_a_large_body_of_empty_points_is_refused(client: Any) -> None:
    metric = field(1, b"a") + field(5, field(1, b"") * 400_000)
    response = client.post("/v1/metrics", in_scope(field(2, metric)), 1, encoding="")
    assert response.status_code == 413
    assert b"points" in response.content


def test_a_list_of_millions_of_buckets_is_refused(client: Any) -> None:
    buckets = field(8, field(2, b"\x00" * (2 * MIB)))
    metric = field(1, b"a") + field(10, field(1, buckets))
    body = gzip.compress(in_scope(field(2, metric)), 9)
    response = client.post("/v1/metrics", body, 1)
    assert response.status_code == 413
    assert b"a list is longer" in response.content


def test_unknown_fields_cost_nothing_but_their_bytes(client: Any) -> None:
    body = gzip.compress(field(4095, bytes(7 * MIB)), 9)
    assert client.post("/v1/metrics", body, 1).status_code == 200


def test_numbers_without_end_are_refused() -> None:
    with pytest.raises(Refused, match="more than 2000000 fields"):
        scan(b"\x08\x00" * 2_100_000, wire.REQUESTS["logs"], Limits())


def nested(levels: int, padding: int = 0) -> bytes:
    value = b"\x0a\x01x"
    for _ in range(levels):
        value = field(5, field(1, value))
    record = field(6, field(1, b"k") + field(2, value))
    return in_scope(field(2, record)) + field(4095, bytes(padding))


@pytest.mark.parametrize("padding", [0, MIB])
def test_nesting_without_end_is_refused(client: Any, padding: int) -> None:
    for levels in (60, 10_000):
        body = gzip.compress(nested(levels, padding))
        assert client.post("/v1/logs", body, 1).status_code in (400, 413)
    assert client.post("/v1/logs", gzip.compress(nested(8, padding)), 1).status_code == 200


@pytest.mark.parametrize("size", [250_000, 500_000])
def test_a_refused_request_leaves_nothing_behind(client: Any, size: int) -> None:
    body = gzip.compress(in_scope(EMPTY_RECORD * (size // 2)), 9)
    client.post("/v1/logs", body, 1)
    gc.collect()
    gc.disable()
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(30):
            assert client.post("/v1/logs", body, 1).status_code == 413
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    finally:
        gc.enable()
    assert grown < 48 * 1024


def test_a_body_that_lies_about_its_size_is_refused(client: Any) -> None:
    body = gzip.compress(in_scope(EMPTY_RECORD * (7 * MIB // 2)), 9)
    assert client.post("/v1/logs", body[:-4] + b"\x10\0\0\0", 1).status_code == 400


def test_gzip_within_gzip_is_not_unpacked_twice(client: Any, otlp: Any) -> None:
    body = otlp.metrics(otlp.gauge("a", otlp.now, 1.0)).SerializeToString()
    response = client.post("/v1/metrics", gzip.compress(gzip.compress(body)), 1)
    assert response.status_code == 400


def test_a_body_over_the_limit_is_refused_before_it_is_read(client: Any) -> None:
    response = client.post("/v1/metrics", bytes(3 * MIB), 1, encoding="")
    assert response.status_code == 413
    assert response.headers["connection"] == "close"


def test_a_body_that_hides_its_length_is_cut_off(client: Any) -> None:
    async def drip() -> Any:
        for _ in range(64):
            yield bytes(64 * 1024)

    response = client.request(
        "POST",
        "/v1/metrics",
        content=drip(),
        headers={"content-type": "application/x-protobuf"},
    )
    assert response.status_code == 413


def test_a_body_that_never_ends_meets_its_deadline(limited: Callable[..., Any]) -> None:
    import asyncio

    async def stalls() -> Any:
        yield b"\x0a"
        await asyncio.Event().wait()

    response = limited(body_s=0.05).request(
        "POST",
        "/v1/logs",
        content=stalls(),
        headers={"content-type": "application/x-protobuf"},
    )
    # ASGITransport hands the body over chunk by chunk, so only the receiver ends this.
    assert response.status_code == 408


def test_the_scan_agrees_with_the_parser_on_real_requests(otlp: Any) -> None:
    request = otlp.metrics(
        *(otlp.gauge(f"g{i}", otlp.now, 1.0, a="x") for i in range(50)),
        *(otlp.distribution(f"d{i}", otlp.now, [1.0, 5.0, -2.0]) for i in range(50)),
        *(otlp.counter(f"c{i}", otlp.now, 9.0) for i in range(50)),
    )
    data = request.SerializeToString()
    scan(data, type(request), Limits(metrics=150, points=150))
    with pytest.raises(Refused, match="more than 149 metrics"):
        scan(data, type(request), Limits(metrics=149))
    with pytest.raises(Refused, match="more than 149 points"):
        scan(data, type(request), Limits(points=149))
    for cut in range(1, len(data) - 1, 97):
        with pytest.raises(Refused, match="not a valid"):
            scan(data[:cut], type(request), Limits())


def test_the_largest_request_an_agent_makes_is_within_all_limits(client: Any, otlp: Any) -> None:
    values = [1.5**n for n in range(60)]
    fills = []
    for number in range(PART_SERIES):
        name = f"plugin.metric.{number}"
        fills.append(otlp.gauge(name, otlp.now, 1.0, some__device=f"device-{number}"))
        fills.append(otlp.distribution(name, otlp.now, values, some__device=f"device-{number}"))
    request = otlp.metrics(*fills)
    assert request.ByteSize() > Limits().scan_above_bytes
    assert client.send(request, 1).status_code == 200


def test_decompression_holds_no_more_than_the_cap() -> None:
    body = bomb(b"\0", 256 * MIB)
    tracemalloc.start()
    with pytest.raises(Refused):
        wire.decompress(body, "gzip", Limits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * MIB
