"""What goes onto the wire, read back with the OpenTelemetry messages and held against its rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK,
)

from vedette.announcements import heartbeat_event, incident_event, record_event
from vedette.api import Incident, Record, Series, Suspect, Track, counter, gauge, updown
from vedette.histogram import ExponentialHistogram
from vedette.otlp import (
    AttributeValue,
    Event,
    encode_logs,
    encode_metrics,
    encode_metrics_parts,
)
from vedette.summarise import Summariser, WindowSummary

NAN, INF = math.nan, math.inf
SECOND = 1_000_000_000
BEGIN = 1_700_002_860 * SECOND
END = BEGIN + 60 * SECOND
BOOT = BEGIN - 86_400 * SECOND

CPU = gauge("system.cpu.utilization", "1", "Busy.", ("cpu.mode",))
IO = counter("system.disk.io", "By", "Bytes.", ("system.device", "disk.io.direction"))
MEMORY = updown("system.memory.usage", "By", "In use.", ("system.memory.state",))
UPTIME = gauge("system.uptime", "s", "Since boot.")

AGENT = "5ecd5827-3a2a-4c1b-9a8f-5d2f4c8e7a10"
RESOURCE = {"service.name": "vedette", "service.instance.id": AGENT, "host.name": "db-7"}


def window(
    readings: Mapping[Series, Sequence[float]], totals: Mapping[Series, float] | None = None
) -> WindowSummary:
    """Close a first window: everything in it is sent."""
    series = list(readings)
    known = totals or {}
    summariser = Summariser()
    ticks = max((len(some) for some in readings.values()), default=0)
    for tick in range(ticks):
        column = [some[tick] if tick < len(some) else NAN for some in readings.values()]
        summariser.fold(np.array(column))
    total = np.array([known.get(one, NAN) for one in series])
    began = np.array([BOOT if one in known else 0 for one in series], np.int64)
    return summariser.close(BEGIN, END, series, total, began)


def read_back(body: bytes) -> Any:
    request = ExportMetricsServiceRequest.FromString(body)
    (group,) = request.resource_metrics
    (scope,) = group.scope_metrics
    assert scope.scope.name == "vedette"
    return scope.metrics


def only(body: bytes, name: str) -> Any:
    (metric,) = [metric for metric in read_back(body) if metric.name == name]
    return metric


def points_of(metric: Any) -> Any:
    return getattr(metric, metric.WhichOneof("data")).data_points


def plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: value_of(pair.value) for pair in pairs}


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return plain(value.kvlist_value.values)
    return getattr(value, kind)


def histogram_of(point: Any) -> ExponentialHistogram:
    return ExponentialHistogram(
        point.scale,
        point.zero_count,
        point.positive.offset,
        tuple(point.positive.bucket_counts),
        point.negative.offset,
        tuple(point.negative.bucket_counts),
        point.sum if point.HasField("sum") else None,
        point.min,
        point.max,
    )


# ---------------------------------------------------------------- layer 0


def test_the_resource_says_who_and_nothing_more() -> None:
    request = ExportMetricsServiceRequest.FromString(
        encode_metrics(window({UPTIME.series(): [1.0]}), RESOURCE)
    )
    (group,) = request.resource_metrics
    assert plain(group.resource.attributes) == RESOURCE
    assert not group.scope_metrics[0].scope.version


def test_a_gauge_is_sent_with_its_last_value_at_the_end_of_the_window() -> None:
    metric = only(encode_metrics(window({CPU.series("user"): [0.1, 0.3, 0.2]}), RESOURCE), CPU.name)
    (point,) = metric.gauge.data_points
    assert (metric.unit, metric.description) == ("1", "")
    assert (point.as_double, point.time_unix_nano, point.flags) == (0.2, END, 0)
    assert plain(point.attributes) == {"cpu.mode": "user"}


def test_a_counter_is_a_cumulative_monotonic_sum_of_its_raw_total() -> None:
    series = IO.series("sda", "read")
    metric = only(
        encode_metrics(window({series: [5.0, 7.0]}, {series: 4_711.0}), RESOURCE), IO.name
    )
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    (point,) = metric.sum.data_points
    assert (point.as_double, point.start_time_unix_nano, point.time_unix_nano) == (4711, BOOT, END)
    assert [pair.key for pair in point.attributes] == ["system.device", "disk.io.direction"]


def test_an_updown_is_a_cumulative_sum_that_may_fall() -> None:
    metric = only(
        encode_metrics(window({MEMORY.series("used"): [9.0, 4.0]}), RESOURCE), MEMORY.name
    )
    assert not metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    assert metric.sum.data_points[0].as_double == 4.0


def test_a_counter_without_a_known_total_sends_its_rates_only() -> None:
    body = encode_metrics(window({IO.series("sda", "read"): [5.0]}), RESOURCE)
    assert [metric.name for metric in read_back(body)] == ["system.disk.io.dist"]


def test_a_series_that_went_away_gets_one_point_without_a_value() -> None:
    gone = CPU.series("steal")
    body = encode_metrics(window({CPU.series("user"): [0.1]}), RESOURCE, [gone, gone])
    first, second = only(body, CPU.name).gauge.data_points
    assert plain(first.attributes) == {"cpu.mode": "steal"}
    assert first.flags == DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    assert first.WhichOneof("value") is None
    assert first.time_unix_nano == END
    assert second.as_double == 0.1
    assert len(only(body, f"{CPU.name}.dist").exponential_histogram.data_points) == 1


def test_a_counter_that_went_away_is_still_a_sum() -> None:
    body = encode_metrics(window({}), RESOURCE, [IO.series("sdb", "read")])
    metric = only(body, IO.name)
    assert metric.sum.is_monotonic
    assert metric.sum.data_points[0].flags == DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    assert len(read_back(body)) == 1


def test_a_series_read_in_this_very_window_did_not_go_away() -> None:
    series = CPU.series("user")
    body = encode_metrics(window({series: [0.5]}), RESOURCE, [series])
    (point,) = points_of(only(body, CPU.name))
    assert (point.as_double, point.flags) == (0.5, 0)


def test_only_series_that_moved_are_sent() -> None:
    series = [CPU.series("user"), CPU.series("idle")]
    summariser = Summariser()
    nothing = np.full(2, NAN), np.zeros(2, np.int64)
    summariser.fold(np.array([0.5, 0.5]))
    summariser.close(BEGIN, END, series, *nothing)
    summariser.fold(np.array([0.5, 0.7]))
    later = summariser.close(END, END + 60 * SECOND, series, *nothing)
    body = encode_metrics(later, RESOURCE)
    assert [plain(p.attributes) for p in points_of(only(body, CPU.name))] == [{"cpu.mode": "idle"}]


def test_a_window_with_nothing_to_say_is_no_request() -> None:
    assert encode_metrics(window({}), RESOURCE) == b""
    assert list(encode_metrics_parts(window({}), RESOURCE)) == []


# ---------------------------------------------------------------- layer 1


def test_a_distribution_is_a_delta_over_the_window_beside_its_series() -> None:
    body = encode_metrics(window({MEMORY.series("used"): [8.0, 0.0, 2.0]}), RESOURCE)
    metric = only(body, "system.memory.usage.dist")
    data = metric.exponential_histogram
    assert metric.unit == "By"
    assert data.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
    (point,) = data.data_points
    assert (point.start_time_unix_nano, point.time_unix_nano) == (BEGIN, END)
    assert (point.count, point.sum, point.min, point.max) == (3, 10.0, 0.0, 8.0)
    assert (point.zero_count, point.zero_threshold, point.scale) == (1, 0.0, 5)
    assert plain(point.attributes) == {"system.memory.state": "used"}


def test_the_distribution_of_a_counter_is_of_rates_per_second() -> None:
    series = IO.series("sda", "read")
    body = encode_metrics(window({series: [100.0, 50.0]}, {series: 4_711.0}), RESOURCE)
    metric = only(body, "system.disk.io.dist")
    assert metric.unit == "By/s"
    assert metric.exponential_histogram.data_points[0].sum == 150.0


def test_readings_below_zero_leave_the_sum_unset() -> None:
    body = encode_metrics(window({CPU.series("x"): [-3.0, 2.0]}), RESOURCE)
    (point,) = points_of(only(body, f"{CPU.name}.dist"))
    assert not point.HasField("sum")
    assert (point.min, point.max) == (-3.0, 2.0)
    assert sum(point.negative.bucket_counts) == 1


def test_a_sum_past_float64_is_left_unset() -> None:
    body = encode_metrics(window({CPU.series("x"): [1.7e308, 1.6e308, 1.7e308]}), RESOURCE)
    (point,) = points_of(only(body, f"{CPU.name}.dist"))
    assert not point.HasField("sum")
    assert math.isfinite(point.max)


def test_a_sign_without_readings_has_no_buckets_on_the_wire() -> None:
    body = encode_metrics(window({CPU.series("x"): [0.0, 0.0]}), RESOURCE)
    (point,) = points_of(only(body, f"{CPU.name}.dist"))
    assert not point.HasField("positive")
    assert not point.HasField("negative")
    assert (point.count, point.zero_count) == (2, 2)


def test_a_constant_window_keeps_its_value_exact() -> None:
    body = encode_metrics(window({CPU.series("x"): [0.1] * 60}), RESOURCE)
    (point,) = points_of(only(body, f"{CPU.name}.dist"))
    assert (point.min, point.max, point.sum) == (0.1, 0.1, pytest.approx(6.0, rel=1e-15))


def test_rounding_outwards_does_not_leave_float64() -> None:
    largest = float(np.finfo(np.float64).max)
    body = encode_metrics(window({CPU.series("x"): [-largest, largest]}), RESOURCE)
    (point,) = points_of(only(body, f"{CPU.name}.dist"))
    assert (point.min, point.max) == (-largest, largest)


@given(
    values=st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e3, 1e3), st.just(0.0)
        ),
        min_size=1,
        max_size=60,
    )
)
def test_every_distribution_keeps_the_rules_of_the_data_model(values: list[float]) -> None:
    body = encode_metrics(window({CPU.series("x"): values}), RESOURCE)
    (point,) = points_of(only(body, f"{CPU.name}.dist"))
    made = histogram_of(point)
    assert point.count == made.count == len(values)
    for buckets in (point.positive, point.negative):
        assert len(buckets.bucket_counts) <= 160
        if buckets.bucket_counts:
            assert buckets.bucket_counts[0]
            assert buckets.bucket_counts[-1]
    low, high = min(values), max(values)
    assert point.min <= low <= high <= point.max
    assert point.min >= low - abs(low) * 2.0**-11 - 5e-324
    assert point.max <= high + abs(high) * 2.0**-11 + 5e-324
    assert point.min <= made.quantile(0.5) <= point.max
    assert point.HasField("sum") == (low >= 0.0 and math.isfinite(sum(values)))
    if point.HasField("sum"):
        assert point.sum == pytest.approx(math.fsum(values), rel=2.0**-22, abs=1e-300)
    (level,) = points_of(only(body, CPU.name))
    assert level.as_double == values[-1]


# ---------------------------------------------------------------- order and size


def test_points_are_grouped_by_metric_and_sorted() -> None:
    readings: dict[Series, list[float]] = {
        IO.series("sdb", "write"): [1.0],
        CPU.series("user"): [1.0],
        IO.series("sda", "write"): [1.0],
        IO.series("sda", "read"): [1.0],
        CPU.series("idle"): [1.0],
    }
    totals = {series: 1.0 for series in readings if series.instrument is IO}
    metrics = read_back(encode_metrics(window(readings, totals), RESOURCE))
    assert [metric.name for metric in metrics] == [
        "system.cpu.utilization",
        "system.cpu.utilization.dist",
        "system.disk.io",
        "system.disk.io.dist",
    ]
    disk = [tuple(plain(point.attributes).values()) for point in points_of(metrics[2])]
    assert disk == [("sda", "read"), ("sda", "write"), ("sdb", "write")]


def test_one_name_with_two_units_is_two_metrics() -> None:
    other = gauge(CPU.name, "%", "Busy.", ("cpu.mode",))
    body = encode_metrics(window({CPU.series("a"): [1.0], other.series("a"): [2.0]}), RESOURCE)
    assert [(m.name, m.unit) for m in read_back(body) if not m.name.endswith(".dist")] == [
        (CPU.name, "%"),
        (CPU.name, "1"),
    ]


@given(order=st.permutations(range(12)), seed=st.integers(0, 99))
def test_the_bytes_do_not_depend_on_the_order_of_rows(order: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    series = [IO.series(f"sd{n // 2}", ("read", "write")[n % 2]) for n in range(6)]
    series += [CPU.series(f"mode{n}") for n in range(6)]
    readings = {one: random.lognormal(0, 2, 60).tolist() for one in series}
    totals = {one: float(n) for n, one in enumerate(series[:6])}
    gone = [CPU.series("z"), IO.series("sdz", "read")]
    straight = encode_metrics(window(readings, totals), dict(RESOURCE), gone)
    shuffled = {series[place]: readings[series[place]] for place in order}
    resource = dict(reversed(RESOURCE.items()))
    assert encode_metrics(window(shuffled, totals), resource, gone[::-1]) == straight


def test_parts_hold_together_what_one_request_holds() -> None:
    readings = {CPU.series(f"mode{n:03}"): [float(n), n + 1.0] for n in range(250)}
    closed = window(readings)
    whole = read_back(encode_metrics(closed, RESOURCE))
    parts = [read_back(part) for part in encode_metrics_parts(closed, RESOURCE, (), 100)]
    assert len(parts) == 3
    for place in (0, 1):
        together = [point for part in parts for point in points_of(part[place])]
        assert together == list(points_of(whole[place]))


def test_an_attribute_that_utf8_cannot_carry_is_written_out() -> None:
    series = CPU.series("bad\udce9name"), CPU.series("naïve")
    body = encode_metrics(window({one: [1.0] for one in series}), RESOURCE)
    names = {plain(point.attributes)["cpu.mode"] for point in points_of(only(body, CPU.name))}
    assert names == {"bad\\udce9name", "naïve"}


# ---------------------------------------------------------------- events


def records(*events: Event, resource: Mapping[str, str] = RESOURCE) -> Any:
    request = ExportLogsServiceRequest.FromString(encode_logs(events, resource))
    (group,) = request.resource_logs
    assert plain(group.resource.attributes) == resource
    (scope,) = group.scope_logs
    assert scope.scope.name == "vedette"
    return scope.log_records


def event(attributes: Mapping[str, AttributeValue] | None = None, **fields: Any) -> Event:
    return Event("vedette.test", BEGIN, "info", "Body.", attributes or {}, **fields)


def sent(value: Any) -> Any:
    (record,) = records(event({"key": value}))
    return plain(record.attributes)["key"]


def test_an_event_becomes_a_log_record_that_repeats_its_name() -> None:
    (record,) = records(event())
    assert (record.event_name, record.body.string_value) == ("vedette.test", "Body.")
    assert (record.time_unix_nano, record.observed_time_unix_nano) == (BEGIN, BEGIN)
    assert (record.severity_number, record.severity_text) == (9, "info")
    assert plain(record.attributes) == {"vedette.event": "vedette.test"}


def test_events_keep_their_order_and_no_events_are_no_request() -> None:
    first, second = (Event(f"e{n}", n, "critical", "", {}) for n in (2, 1))
    assert [record.event_name for record in records(first, second)] == ["e2", "e1"]
    assert records(first)[0].severity_number == 17
    assert encode_logs([], RESOURCE) == b""


def test_the_same_events_are_the_same_bytes() -> None:
    assert encode_logs([event({"a": [1, {"b": 2.0}]})], RESOURCE) == encode_logs(
        [event({"a": [1, {"b": 2.0}]})], RESOURCE
    )


@pytest.mark.parametrize(
    "value",
    [
        "text",
        "",
        True,
        False,
        0,
        -(2**63),
        2**63 - 1,
        1.5,
        -INF,
        [],
        {},
        [1, "two", 3.0, True, [4], {"five": 5}],
        {"a": {"b": {"c": [{"d": ""}]}}},
    ],
)
def test_attribute_values_come_back_as_they_went(value: AttributeValue) -> None:
    back = sent(value)
    assert back == value
    assert type(back) is type(value)


def test_not_a_number_survives_in_an_array() -> None:
    first, second = sent([NAN, 1.0])
    assert math.isnan(first)
    assert second == 1.0


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, [1, 10**30], {"a": 2**64}])
def test_an_integer_past_64_bits_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"vedette.test, attribute key: integer .* 64 bits"):
        sent(value)


@pytest.mark.parametrize("value", [None, b"bytes", {1, 2}, np.int64(3), [object()], {1: "key"}])
def test_what_otlp_has_no_value_for_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match="attribute key: "):
        sent(value)


def test_endless_nesting_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested more than 16 levels"):
        sent(endless)


def test_text_that_utf8_cannot_carry_is_written_out_wherever_it_stands() -> None:
    (record,) = records(
        Event("e", 1, "info", "body \ud800", {"key \udc80": ["\udfff", {"in\ud800": "ok"}]})
    )
    assert record.body.string_value == "body \\ud800"
    assert plain(record.attributes)["key \\udc80"] == ["\\udfff", {"in\\ud800": "ok"}]


def test_the_uid_of_a_record_differs_between_hosts_and_not_between_attempts() -> None:
    def uid(agent: str) -> Any:
        (record,) = records(event(uid="one"), resource={"service.instance.id": agent})
        return plain(record.attributes)["log.record.uid"]

    assert uid("a") == uid("a")
    assert uid("a") != uid("b")


INCIDENT = Incident(
    id="20231114T2301Z-cpu",
    state="open",
    severity="critical",
    resource="cpu",
    title="CPU busy at 97 %, usually 5 to 20 %",
    onset_ns=BEGIN,
    opened_ns=BEGIN + 3 * SECOND,
    updated_ns=BEGIN + 9 * SECOND,
    resolved_ns=None,
    series=("vedette.cpu.busy", "system.load"),
    suspects=(
        Suspect("process", "stress", "4711", 0.97, "97 % of 2 cores", "it grew by 90 %"),
        Suspect(
            "series",
            "system.disk.io{d=sda}",
            "system.disk.io{d=sda}",
            0,
            "moved 2 s before",
            time_ns=BEGIN,
        ),
    ),
    evidence=(
        Track("vedette.cpu.busy", "1", BEGIN, SECOND, (0.1, None, 0.97), 0.05, 0.2),
        Track("system.load", "1", BEGIN, SECOND, (), None, 3.0),
    ),
    detectors=("robust", "level"),
    entities=("host",),
)


def test_an_incident_is_sent_with_all_that_is_known_of_it() -> None:
    (record,) = records(incident_event(INCIDENT, "opened"))
    assert record.event_name == "vedette.incident.opened"
    assert record.body.string_value == INCIDENT.title
    assert (record.severity_number, record.time_unix_nano) == (17, INCIDENT.opened_ns)
    values = plain(record.attributes)
    assert len(values.pop("log.record.uid")) == 32
    first, second = values.pop("vedette.incident.evidence")
    assert values == {
        "vedette.event": "vedette.incident.opened",
        "vedette.incident.id": INCIDENT.id,
        "vedette.incident.state": "open",
        "vedette.incident.severity": "critical",
        "vedette.incident.resource": "cpu",
        "vedette.incident.title": INCIDENT.title,
        "vedette.incident.onset": BEGIN,
        "vedette.incident.opened": BEGIN + 3 * SECOND,
        "vedette.incident.updated": BEGIN + 9 * SECOND,
        "vedette.incident.series": ["vedette.cpu.busy", "system.load"],
        "vedette.incident.entities": ["host"],
        "vedette.incident.detectors": ["robust", "level"],
        "vedette.incident.suspects": [
            {
                "kind": "process",
                "name": "stress",
                "id": "4711",
                "share": 0.97,
                "text": "97 % of 2 cores",
                "reason": "it grew by 90 %",
                "time_ns": 0,
            },
            {
                "kind": "series",
                "name": "system.disk.io{d=sda}",
                "id": "system.disk.io{d=sda}",
                "share": 0.0,
                "text": "moved 2 s before",
                "reason": "",
                "time_ns": BEGIN,
            },
        ],
    }
    assert math.isnan(first["values"].pop(1))
    assert first == {
        "series": "vedette.cpu.busy",
        "unit": "1",
        "start_ns": BEGIN,
        "step_ns": SECOND,
        "values": [0.1, 0.97],
        "low": 0.05,
        "high": 0.2,
    }
    assert second == {
        "series": "system.load",
        "unit": "1",
        "start_ns": BEGIN,
        "step_ns": SECOND,
        "values": [],
        "high": 3.0,
    }


def test_a_resolved_incident_is_only_information_and_says_when() -> None:
    resolved = replace(INCIDENT, state="resolved", resolved_ns=BEGIN + 99 * SECOND)
    (record,) = records(incident_event(resolved, "resolved"))
    values = plain(record.attributes)
    assert (record.severity_number, record.severity_text) == (9, "info")
    assert record.time_unix_nano == BEGIN + 99 * SECOND
    assert values["vedette.incident.resolved"] == BEGIN + 99 * SECOND
    assert values["vedette.incident.severity"] == "critical"
    assert values["vedette.incident.state"] == "resolved"


def test_an_update_bears_the_time_of_the_update() -> None:
    assert incident_event(INCIDENT, "updated").time_ns == INCIDENT.updated_ns


def test_the_uid_of_an_incident_event_tells_its_changes_apart_and_is_stable() -> None:
    events = [
        incident_event(INCIDENT, "opened"),
        incident_event(INCIDENT, "updated"),
        incident_event(replace(INCIDENT, updated_ns=END), "updated"),
        incident_event(replace(INCIDENT, id="other"), "opened"),
    ]
    assert len({one.uid for one in events}) == 4
    assert incident_event(INCIDENT, "opened").uid == events[0].uid


@pytest.mark.parametrize(
    ("severity", "number", "text"),
    [
        (1, 1, "info"),
        (9, 9, "info"),
        (14, 14, "warning"),
        (21, 21, "critical"),
        (99, 24, "critical"),
    ],
)
def test_a_record_of_a_collector_is_told_as_it_is(severity: int, number: int, text: str) -> None:
    made = Record("test.told", END, "A word.", {"of": ["a", 1]}, severity, "one")
    (record,) = records(record_event(made))
    assert (record.event_name, record.body.string_value) == ("test.told", "A word.")
    assert (record.severity_number, record.severity_text) == (number, text)
    told = plain(record.attributes)
    assert told.pop("log.record.uid")
    assert told == {"vedette.event": "test.told", "of": ["a", 1]}


def test_a_heartbeat_carries_its_attributes_and_warns_when_degraded() -> None:
    attributes: dict[str, AttributeValue] = {
        "vedette.health": "degraded",
        "vedette.health.reasons": ["spool over half full", "collector disk is stuck"],
        "vedette.collectors": {"cpu": "ok", "disk": "stuck"},
        "vedette.learning": 0.25,
        "vedette.dropped": 0,
    }
    (record,) = records(heartbeat_event(END, attributes))
    assert (record.event_name, record.severity_number) == ("vedette.heartbeat", 13)
    assert record.body.string_value == "degraded: spool over half full; collector disk is stuck"
    assert plain(record.attributes) == {"vedette.event": "vedette.heartbeat", **attributes}
    calm = heartbeat_event(END, {"vedette.health": "ok", "vedette.health.reasons": []})
    assert (calm.severity, calm.body, calm.uid) == ("info", "ok", "")
