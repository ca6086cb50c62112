"""Chart points decoded from bodies: what was sent, what carries, what is a gap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

from vedette.api import counter, gauge, updown
from vedette.histograms import histogram_of
from vedette.otlp import encode_metrics
from vedette.receiver.charts import CARRY_NS, _SampleCache
from vedette.receiver.points import Sample, median
from vedette.summarise import Summariser

MS = 10**6


class Sender:
    """Sends one metrics or heartbeat request per window, ``back`` windows before now."""

    def __init__(self, client: Any, otlp: Any) -> None:
        self.client, self.otlp, self.sequence = client, otlp, 0

    def end(self, back: int) -> int:
        return int(self.otlp.now - back * self.otlp.minute)

    def metrics(self, *fill: Callable[[Any], None]) -> None:
        self.sequence += 1
        assert self.client.send(self.otlp.metrics(*fill), self.sequence).is_success

    def quiet(self, back: int) -> None:
        self.sequence += 1
        beat = self.otlp.heartbeat(self.end(back))
        assert self.client.send(self.otlp.logs(beat), self.sequence).is_success

    def points(self, name: str, **params: Any) -> list[list[Any]]:
        """Return the only line's points, times as windows before now."""
        answer = self.client.json(f"/api/v1/hosts/{self.otlp.agent}/metrics", name=name, **params)
        if not answer["series"]:
            return []
        (line,) = answer["series"]
        return [[(self.otlp.now // MS - point[0]) / 60_000, *point[1:]] for point in line["points"]]


@pytest.fixture
def sender(client: Any, otlp: Any) -> Sender:
    return Sender(client, otlp)


def test_a_window_shows_its_distribution(sender: Sender, otlp: Any) -> None:
    values = [0.1] * 10 + [0.5] * 20 + [0.9] * 5
    sender.metrics(
        otlp.gauge("g", sender.end(1), 0.5), otlp.distribution("g", sender.end(1), values)
    )
    ((back, p50, low, high, mean, count),) = sender.points("g")
    assert (back, low, high, count) == (1, 0.1, 0.9, 35)
    assert p50 == pytest.approx(0.5, rel=0.011)
    assert mean == pytest.approx(np.mean(values))


def test_an_unchanged_series_carries_and_a_missing_window_is_a_gap(
    sender: Sender, otlp: Any
) -> None:
    sender.metrics(otlp.gauge("g", sender.end(5), 7.0))
    sender.quiet(4)
    sender.quiet(2)
    sender.metrics(otlp.gauge("other", sender.end(1), 1.0))
    assert sender.points("g") == [
        [5, 7.0, 7.0, 7.0, 7.0, 1],
        [4, 7.0, 7.0, 7.0, 7.0, 0],
        [2, 7.0, 7.0, 7.0, 7.0, 0],
        [1, 7.0, 7.0, 7.0, 7.0, 0],
    ]


def test_a_value_from_before_the_range_carries_into_it(sender: Sender, otlp: Any) -> None:
    sender.metrics(otlp.gauge("g", sender.end(30), 7.0))
    for back in (29, 2, 1):
        sender.quiet(back)
    since = sender.end(10) // MS
    assert [point[0] for point in sender.points("g", from_ms=since)] == [2, 1]


def test_a_value_carries_for_65_minutes_and_no_longer(sender: Sender, otlp: Any) -> None:
    assert 65 * otlp.minute == CARRY_NS
    sender.metrics(otlp.gauge("g", sender.end(70), 7.0))
    for back in (6, 5, 4):
        sender.quiet(back)
    since = sender.end(20) // MS
    assert [point[0] for point in sender.points("g", from_ms=since)] == [6, 5]


def test_a_series_that_went_away_stops_carrying(sender: Sender, otlp: Any) -> None:
    sender.metrics(otlp.gauge("g", sender.end(5), 7.0))
    sender.metrics(otlp.gauge("g", sender.end(4), None))
    sender.quiet(3)
    sender.metrics(otlp.gauge("g", sender.end(2), 8.0))
    assert [point[:2] for point in sender.points("g")] == [[5, 7.0], [2, 8.0]]


def test_a_counter_is_shown_as_a_rate(sender: Sender, otlp: Any) -> None:
    for back, total in ((4, 0.0), (3, 600.0), (2, 600.0), (1, 1200.0)):
        sender.metrics(otlp.counter("c", sender.end(back), total))
    assert [point[:2] for point in sender.points("c")] == [[3, 10.0], [2, 0.0], [1, 10.0]]
    answer = sender.client.json(f"/api/v1/hosts/{otlp.agent}/metrics", name="c")
    assert (answer["kind"], answer["unit"]) == ("counter", "By/s")


def test_a_counter_reset_is_no_point_instead_of_a_negative_rate(sender: Sender, otlp: Any) -> None:
    sender.metrics(otlp.counter("c", sender.end(4), 6000.0))
    sender.metrics(otlp.counter("c", sender.end(3), 60.0))
    sender.metrics(otlp.counter("c", sender.end(2), 120.0, start_ns=2))
    sender.metrics(otlp.counter("c", sender.end(1), 180.0, start_ns=2))
    assert [point[:2] for point in sender.points("c")] == [[1, 1.0]]


def test_batches_out_of_order_give_points_in_order(sender: Sender, otlp: Any) -> None:
    for back in (2, 5, 1, 4, 3):
        sender.metrics(otlp.gauge("g", sender.end(back), float(back)))
    assert [point[:2] for point in sender.points("g")] == [[b, float(b)] for b in (5, 4, 3, 2, 1)]
    assert [point[0] for point in sender.points("g", limit=2)] == [2, 1]


def test_series_are_chosen_by_key(client: Any, sender: Sender, otlp: Any) -> None:
    end = sender.end(1)
    sender.metrics(
        otlp.gauge("g", end, 1.0, system__device="sda"),
        otlp.gauge("g", end, 2.0, system__device="sdb"),
    )
    path = f"/api/v1/hosts/{otlp.agent}/metrics"
    both = client.json(path, name="g")["series"]
    assert [line["attributes"] for line in both] == [
        {"system.device": "sda"},
        {"system.device": "sdb"},
    ]
    (one,) = client.json(path, name="g", key="g{system.device=sdb}")["series"]
    assert one["points"][0][1] == 2.0
    unknown = client.json(path, name="nothing")
    assert unknown == {"name": "nothing", "unit": "", "kind": "", "series": []}


def test_what_the_agent_encodes_is_what_the_chart_shows(
    client: Any, otlp: Any, sender: Sender
) -> None:
    """The agent's own summariser and encoder against the receiver, window by window."""
    busy = gauge("vedette.cpu.busy", "1", "busy").series()
    io = counter("system.disk.io", "By", "io", ("system.device",)).series("sda")
    temperature = updown("t", "Cel", "below zero").series()
    series = [busy, io, temperature]
    summariser = Summariser()
    rng = np.random.default_rng(3)
    total, shown = 0.0, {}
    for back in (4, 3, 2, 1):
        rates = rng.uniform(0, 1e6, 60) if back != 2 else np.zeros(60)
        values = rng.uniform(0, 1, 60) if back > 2 else np.full(60, 0.25)
        cold = rng.uniform(-10, -1, 60)
        for column in zip(values, rates, cold, strict=True):
            summariser.fold(np.array(column))
        total += float(rates.sum())
        summary = summariser.close(
            sender.end(back + 1),
            sender.end(back),
            series,
            np.array([np.nan, total, np.nan]),
            np.array([0, 1, 0]),
        )
        body = encode_metrics(summary, dict(otlp.resource))
        sender.sequence += 1
        sender.quiet(back)
        answer = client.post("/v1/metrics", body, sender.sequence + 100, encoding="")
        assert answer.is_success
        shown[back] = (values, rates, cold)
    for name, place in (("vedette.cpu.busy", 0), ("system.disk.io", 1), ("t", 2)):
        points = sender.points(name)
        assert [point[0] for point in points] == [4, 3, 2, 1]
        for back, p50, low, high, mean, _ in points:
            truth = shown[back][place]
            middle = np.sort(truth)[29]
            # Scale 5 has 1.1 %; what spans more than 160 of its buckets was halved to scale 4.
            assert p50 == pytest.approx(middle, rel=0.023)
            assert low == pytest.approx(truth.min(), rel=1e-3)
            assert high == pytest.approx(truth.max(), rel=1e-3)
            if place == 2:
                assert mean is None
            else:
                assert mean == pytest.approx(truth.mean(), rel=1e-6)


@given(
    values=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=200),
    scale=st.integers(-5, 8),
    bounded=st.booleans(),
)
def test_the_median_of_a_point_is_that_of_its_histogram(
    values: list[float], scale: int, bounded: bool
) -> None:
    histogram = histogram_of(np.array(values), scale)
    point = ExponentialHistogramDataPoint(
        scale=histogram.scale, zero_count=histogram.zero_count, count=histogram.count
    )
    point.positive.offset = histogram.positive_offset
    point.positive.bucket_counts.extend(histogram.positive)
    point.negative.offset = histogram.negative_offset
    point.negative.bucket_counts.extend(histogram.negative)
    if not bounded:
        histogram = msgspec.structs.replace(histogram, min=None, max=None)
    expected = histogram.quantile(0.5)
    found = median(point, histogram.min, histogram.max)
    assert found == (pytest.approx(expected) if math.isfinite(expected) else None)


def test_a_foreign_histogram_with_bounds_has_a_median(client: Any, otlp: Any) -> None:
    def fill(metrics: Any) -> None:
        metric = metrics.add(name="latency", unit="s")
        metric.histogram.aggregation_temporality = 1
        point = metric.histogram.data_points.add(time_unix_nano=otlp.now - otlp.minute)
        point.count, point.sum = 10, 12.0
        point.explicit_bounds.extend([1.0, 2.0])
        point.bucket_counts.extend([4, 4, 2])

    client.send(otlp.metrics(fill, resource={"host.name": "f"}))
    answer = client.json("/api/v1/hosts/f/metrics", name="latency")
    assert answer["kind"] == "distribution"
    assert answer["series"][0]["points"][0][1:] == [1.25, None, None, 1.2, 10]


def test_lying_histograms_do_not_break_the_chart(client: Any, sender: Sender, otlp: Any) -> None:
    def fill(metrics: Any) -> None:
        metric = metrics.add(name="g.dist")
        metric.exponential_histogram.aggregation_temporality = 1
        for scale, offset in ((20, 2**31 - 1), (-1000, -(2**31)), (2**31 - 1, 5), (0, 0)):
            point = metric.exponential_histogram.data_points.add(
                time_unix_nano=sender.end(1), count=2**63, scale=scale, zero_threshold=-1.0
            )
            point.positive.offset = offset
            point.positive.bucket_counts.extend([2**64 - 1, 3])
            point.min, point.max, point.sum = float("nan"), float("-inf"), float("inf")
            point.attributes.extend(otlp.pairs({"n": str(scale)}))

    sender.metrics(fill)
    answer = client.json(f"/api/v1/hosts/{otlp.agent}/metrics", name="g")
    assert len(answer["series"]) == 4
    assert client.json(f"/api/v1/hosts/{otlp.agent}/series")["series"]


def test_values_that_are_no_numbers_are_no_points(sender: Sender, otlp: Any) -> None:
    for back, value in ((3, float("nan")), (2, float("inf")), (1, 1.0)):
        sender.metrics(otlp.gauge("g", sender.end(back), value))
    assert [point[0] for point in sender.points("g")] == [1]


def test_series_list_has_the_newest_value_of_each(client: Any, sender: Sender, otlp: Any) -> None:
    path = f"/api/v1/hosts/{otlp.agent}/series"
    sender.metrics(otlp.gauge("g", sender.end(3), 1.0), otlp.counter("c", sender.end(3), 0.0))
    sender.metrics(
        otlp.counter("c", sender.end(2), 60.0),
        otlp.distribution("c", sender.end(2), [1.0, 1.0], "By/s"),
        otlp.gauge("short", sender.end(2), 1.0),
    )
    first = client.json(path)["series"]
    assert [(s["key"], s["kind"], s["unit"], s["last"]) for s in first] == [
        ("c", "counter", "By", 1.0),
        ("g", "gauge", "1", 1.0),
        ("short", "gauge", "1", 1.0),
    ]
    sender.metrics(otlp.gauge("g", sender.end(1), 2.0), otlp.gauge("short", sender.end(1), None))
    sender.metrics(otlp.gauge("g", sender.end(2), 9.0))
    second = client.json(path)["series"]
    assert [(s["key"], s["last"], s["last_ms"]) for s in second] == [
        ("c", 1.0, sender.end(2) // MS),
        ("g", 2.0, sender.end(1) // MS),
    ]


def test_the_headline_is_the_window_mean_and_the_fullest_filesystem(
    client: Any, sender: Sender, otlp: Any
) -> None:
    end = sender.end(1)
    sender.metrics(
        otlp.gauge("vedette.cpu.busy", end, 0.9),
        otlp.distribution("vedette.cpu.busy", end, [0.25, 0.75]),
        otlp.gauge("system.memory.utilization", end, 0.4, system__memory__state="used"),
        otlp.gauge("system.memory.utilization", end, 0.6, system__memory__state="free"),
        otlp.gauge("system.filesystem.utilization", end, 0.3, system__filesystem__mountpoint="/"),
        otlp.gauge("system.filesystem.utilization", end, 0.8, system__filesystem__mountpoint="/d"),
    )
    (host,) = client.json("/api/v1/hosts")["hosts"]
    assert host["headline"] == {"cpu": 0.5, "memory": 0.4, "disk": 0.8}
    assert host["spark"] == {"cpu": [[end // MS, 0.5]]}
    sender.metrics(
        otlp.gauge("system.filesystem.utilization", end, None, system__filesystem__mountpoint="/d")
    )
    assert client.json("/api/v1/hosts")["hosts"][0]["headline"]["disk"] == 0.3


def test_the_small_line_keeps_thirty_points(client: Any, sender: Sender, otlp: Any) -> None:
    for back in range(40, 0, -1):
        sender.metrics(otlp.gauge("vedette.cpu.busy", sender.end(back), back / 100))
    (host,) = client.json("/api/v1/hosts")["hosts"]
    line = host["spark"]["cpu"]
    assert len(line) == 30
    assert line[-1] == [sender.end(1) // MS, 0.01]
    assert line[0] == [sender.end(30) // MS, 0.3]


def test_too_wide_a_range_is_said_so(
    client: Any, sender: Sender, otlp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette.receiver.charts.BODIES_MAX", 3)
    for back in (4, 3, 2, 1):
        sender.metrics(otlp.gauge("g", sender.end(back), 1.0))
    response = client.get(f"/api/v1/hosts/{otlp.agent}/metrics", params={"name": "g"})
    assert response.status_code == 400
    assert "shorter" in response.json()["error"]


def test_a_damaged_body_costs_only_its_own_points(client: Any, sender: Sender, otlp: Any) -> None:
    for back in (3, 2, 1):
        sender.metrics(otlp.gauge("g", sender.end(back), float(back)))
    client.store.connection.execute("UPDATE body SET data = zeroblob(length(data)) WHERE batch = 2")
    assert [point[:2] for point in sender.points("g")] == [[3, 3.0], [2, 3.0], [1, 1.0]]


def test_the_cache_forgets_the_least_used_samples_first() -> None:
    cache = _SampleCache(10)
    sample = Sample("k", "k", {}, "1", "gauge", 0, 1, value=1.0)
    for identity in range(4):
        cache.put(identity, "k", (sample,) * 2)
        assert cache.get(0, "k") is not None
    assert cache.get(1, "k") is None
    assert cache.get(3, "k") is not None


def test_a_polled_chart_decodes_only_new_bodies(
    client: Any, sender: Sender, otlp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vedette.receiver import charts

    decoded: list[int] = []
    real = charts.unpack

    def counting(stored: bytes) -> bytes:
        decoded.append(1)
        return real(stored)

    monkeypatch.setattr(charts, "unpack", counting)
    for back in (3, 2):
        sender.metrics(otlp.gauge("g", sender.end(back), 1.0))
    assert len(sender.points("g")) == 2
    sender.metrics(otlp.gauge("g", sender.end(1), 1.0))
    assert len(sender.points("g")) == 3
    assert len(decoded) == 3


def test_attributes_of_any_type_become_text(client: Any, sender: Sender, otlp: Any) -> None:
    def fill(metrics: Any) -> None:
        point = metrics.add(name="g").gauge.data_points.add(time_unix_nano=sender.end(1))
        point.as_int = 5
        values = {"a": "x", "b": True, "c": 3, "d": "", "e": 1.5, "f": ["y"], "g" * 300: "z" * 5000}
        point.attributes.extend(otlp.pairs(values))

    sender.metrics(fill)
    (line,) = client.json(f"/api/v1/hosts/{otlp.agent}/metrics", name="g")["series"]
    texts = list(line["attributes"].values())
    assert texts[:6] == ["x", "true", "3", "", "1.5", ""]
    assert max(map(len, line["attributes"])) == 256
    (one,) = client.json(f"/api/v1/hosts/{otlp.agent}/series")["series"]
    assert (one["key"], one["last"]) == (line["key"], 5.0)
