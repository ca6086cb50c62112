"""JSON lines, logfmt, docker's json-file and CRI: message, time, level and fields of each."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.entry import Severity
from vedette.logs.structured import (
    FIELD_MAX,
    FIELDS_MAX,
    cri_part,
    docker_part,
    json_reading,
    logfmt_reading,
)
from vedette.logs.timestamps import NS, Clock

CLOCK = Clock()
CLOCK.set_now(1_718_452_800 * NS)
T = 1_704_164_645 * NS  # 2024-01-02T03:04:05Z

JSON_LINES = [
    # zap, zerolog, logrus
    (
        '{"level":"info","ts":1704164645.25,"caller":"a.go:1","msg":"up"}',
        ("up", "INFO", T + NS // 4),
    ),
    ('{"level":"warn","time":"2024-01-02T03:04:05Z","message":"slow"}', ("slow", "WARN", T)),
    # pino, bunyan
    ('{"level":50,"time":1704164645123,"pid":1,"msg":"bad"}', ("bad", "ERROR", T + 123_000_000)),
    ('{"name":"app","level":30,"time":"2024-01-02T03:04:05.000Z","msg":"m"}', ("m", "INFO", T)),
    # ECS, logstash, GELF
    (
        '{"@timestamp":"2024-01-02T03:04:05.000Z","log.level":"ERROR","message":"x"}',
        ("x", "ERROR", T),
    ),
    (
        '{"@timestamp":"2024-01-02T03:04:05Z","log":{"level":"debug"},"message":"y"}',
        ("y", "DEBUG", T),
    ),
    ('{"version":"1.1","short_message":"g","timestamp":1704164645,"level":3}', ("g", "ERROR", T)),
    # MongoDB, Serilog, tracing, structlog, Python's json logger
    (
        (
            '{"t":{"$date":"2024-01-02T03:04:05.000+00:00"},"s":"W","c":"NETWORK","id":5,'
            '"ctx":"conn1","msg":"Slow query","attr":{"remote":"10.0.0.5:1"}}'
        ),
        ("Slow query", "WARN", T),
    ),
    (
        '{"@t":"2024-01-02T03:04:05Z","@mt":"Hello {Name}","@l":"Warning"}',
        ("Hello {Name}", "WARN", T),
    ),
    (
        (
            '{"timestamp":"2024-01-02T03:04:05Z","level":"INFO","fields":{"message":"served"},'
            '"target":"app"}'
        ),
        ("served", "INFO", T),
    ),
    (
        '{"event":"started","level":"info","timestamp":"2024-01-02T03:04:05Z"}',
        ("started", "INFO", T),
    ),
    (
        '{"asctime":"2024-01-02 03:04:05,000","levelname":"CRITICAL","message":"z"}',
        ("z", "FATAL", T),
    ),
    ('{"msg":"no more"}', ("no more", "UNKNOWN", None)),
]


@pytest.mark.parametrize(("line", "expected"), JSON_LINES, ids=[line for line, _ in JSON_LINES])
def test_a_json_line_says_message_level_and_time(
    line: str, expected: tuple[str, str, int | None]
) -> None:
    reading = json_reading(line.encode(), CLOCK)
    assert reading is not None
    found = (reading.body.decode(), reading.severity.name, reading.time_ns)
    assert found == expected


def test_other_keys_are_fields_and_the_logger_is_the_unit() -> None:
    line = b'{"msg":"m","logger":"db.pool","user":7,"ok":true,"tags":["a"],"http":{"status":500}}'
    reading = json_reading(line, CLOCK)
    assert reading is not None
    assert reading.unit == "db.pool"
    assert reading.fields == {
        "user": b"7",
        "ok": b"true",
        "tags": b'["a"]',
        "http.status": b"500",
    }


def test_fields_are_bounded_in_number_and_size() -> None:
    line = msgspec.json.encode({"msg": "m"} | {f"key{n}" * 50: "v" * 9999 for n in range(500)})
    reading = json_reading(line, CLOCK)
    assert reading is not None
    assert reading.fields is not None
    assert len(reading.fields) == FIELDS_MAX
    assert max(map(len, reading.fields.values())) <= FIELD_MAX
    assert max(map(len, reading.fields)) <= 64


def test_json_without_a_message_is_its_own_body() -> None:
    line = b'{"method":"GET","status":200}'
    reading = json_reading(line, CLOCK)
    assert reading is not None
    assert reading.body == line


def test_bytes_that_are_no_utf8_are_read_all_the_same() -> None:
    reading = json_reading(b'{"msg":"caf\xe9 open","level":"error"}', CLOCK)
    assert reading is not None
    assert (reading.body.decode(), reading.severity) == ("caf\ufffd open", Severity.ERROR)


@pytest.mark.parametrize(
    "line", [b"{", b"{}x", b"[1]", b'"text"', b"{" * 100_000, b'{"a":' * 5000, b"{not json}", b""]
)
def test_what_is_no_json_object_is_none(line: bytes) -> None:
    assert json_reading(line, CLOCK) is None


LOGFMT_LINES = [
    (
        'time="2024-01-02T03:04:05Z" level=warning msg="disk \\"sda\\" full" free=1',
        ('disk "sda" full', "WARN", T),
    ),
    ("ts=2024-01-02T03:04:05Z caller=main.go:12 level=info msg=hello", ("hello", "INFO", T)),
    (
        "level=error ts=2024-01-02T03:04:05Z component=db err=timeout",
        ("component=db err=timeout", "ERROR", T),
    ),
    ('t=2024-01-02T03:04:05+0000 lvl=dbug msg="x" logger=http', ("x", "DEBUG", T)),
]


@pytest.mark.parametrize(("line", "expected"), LOGFMT_LINES)
def test_a_logfmt_line_says_message_level_and_time(
    line: str, expected: tuple[str, str, int | None]
) -> None:
    reading = logfmt_reading(line.encode(), CLOCK)
    assert reading is not None
    assert (reading.body.decode(), reading.severity.name, reading.time_ns) == expected


@pytest.mark.parametrize(
    "line",
    ["started with level=info and more", "a=b", "a=b c=d", "level=info trailing words here",
     'msg="never closed', "key = value level = info"],
)  # fmt: skip
def test_a_text_with_pairs_in_it_is_no_logfmt(line: str) -> None:
    assert logfmt_reading(line.encode(), CLOCK) is None


def test_a_docker_record_is_what_python_says_it_is() -> None:
    record = {"log": 'a "b"\tü\n', "stream": "stderr", "time": "2024-01-02T03:04:05.5Z"}
    part = docker_part(json.dumps(record, separators=(",", ":")).encode())
    assert part is not None
    assert part == ('a "b"\tü'.encode(), "stderr", b"2024-01-02T03:04:05.5Z", True)
    cut = docker_part(b'{"log":"first half","stream":"stdout","time":"2024-01-02T03:04:05Z"}')
    assert cut is not None
    assert not cut.whole
    assert docker_part(b'{"log":"application json","level":"info"}') is None


def test_a_cri_line_is_whole_or_a_part() -> None:
    line = b"2016-10-06T00:17:09.669794202Z stdout F the message"
    whole = cri_part(line)
    assert whole == (b"the message", "stdout", b"2016-10-06T00:17:09.669794202Z", True)
    part = cri_part(b"2016-10-06T00:17:09.669794202+02:00 stderr P   half")
    assert part is not None
    assert (part.text, part.stream, part.whole) == (b"  half", "stderr", False)
    tagged = cri_part(b"2016-10-06T00:17:09Z stdout F:tag x")
    assert tagged is not None
    assert tagged.text == b"x"
    empty = cri_part(b"2016-10-06T00:17:09Z stdout F")
    assert empty is not None
    assert empty.text == b""
    assert cri_part(b"2016-10-06T00:17:09Z stdout full") is None


@given(st.dictionaries(st.text(max_size=8), st.text() | st.integers() | st.floats() | st.none()))
def test_any_object_is_read(decoded: dict[str, object]) -> None:
    line = json.dumps({"msg": "m", **decoded}).encode()
    reading = json_reading(line, CLOCK)
    if reading is not None:
        assert reading.body


@given(st.binary(max_size=120))
def test_no_bytes_raise(line: bytes) -> None:
    for whole in (line, b'{"log":"' + line, b'{"msg":"' + line + b'"}', b"level=info msg=" + line):
        json_reading(whole, CLOCK)
        logfmt_reading(whole, CLOCK)
        docker_part(whole)
        cri_part(whole)
