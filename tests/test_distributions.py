"""Distributions that sources count themselves: from a collector to the wire, never rebucketed."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA

from vedette import otlp
from vedette.api import (
    Collector,
    Frame,
    HistogramSample,
    NoConfig,
    Observation,
    Sample,
    Series,
    gauge,
    histogram,
)
from vedette.distributions import DISTRIBUTIONS_MAX, Distributions
from vedette.lanes.isolation import ProcessCollector
from vedette.lanes.reading import BUCKETS_MAX, Reader
from vedette.testing import check_collector

sys.path.insert(0, str(Path(__file__).parent))
from conftest import SimulatedHost

S = 1_000_000_000
BOUNDS = (0.1, 0.5, 2.5)
TOOK = histogram("app.request.duration", "s", "How long requests took.", ("app.route",))
OTHER = histogram("app.other.duration", "s", "Not declared.")


class App(Collector):
    """An application with a histogram."""

    name = "app"
    interval_s = 1.0
    requests = gauge("app.requests", "{request}", "Requests under way.")
    took = TOOK

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self.gives: Iterable[Observation] = (
            self.requests(3.0),
            sample((1, 2, 0, 1), 4.5),
        )

    def collect(self) -> Iterable[Observation]:
        return self.gives


def sample(
    counts: tuple[int, ...],
    total: float | None = None,
    bounds: tuple[float, ...] = BOUNDS,
    route: str = "/",
) -> HistogramSample:
    return HistogramSample(TOOK.series(route), bounds, counts, total)


def read(*items: object) -> tuple[Frame, int]:
    app = App(NoConfig())
    app.gives = items  # type: ignore[assignment]
    reader = Reader(app, App.instruments(), name="app", max_series=9, monotonic_ns=lambda: 0)
    reading = reader.read(1, 1, 10**18)
    return reading.frame, reading.invalid


def test_a_collector_may_yield_them_and_keeps_its_contract() -> None:
    check_collector(App)
    frame, invalid = read(sample((1, 2, 0, 1), 4.5), App.requests(1.0))
    assert invalid == 0
    assert frame.histograms == (sample((1, 2, 0, 1), 4.5),)
    assert list(frame.values) == [1.0]


@pytest.mark.parametrize(
    "wrong",
    [
        sample((1, 2, 0)),
        sample((1, 2, 0, -1)),
        sample((1, 2, 0, 1.0)),  # type: ignore[arg-type]
        sample((1, 2, 0, True)),
        sample((1, 2, 0, 1), math.inf),
        sample((1, 2), bounds=(math.nan,)),
        sample((1, 2, 3), bounds=(2.0, 1.0)),
        sample((0,) * (BUCKETS_MAX + 1), bounds=tuple(map(float, range(BUCKETS_MAX)))),
        HistogramSample(OTHER.series(), BOUNDS, (0, 0, 0, 1)),
        HistogramSample(App.requests.series(), BOUNDS, (0, 0, 0, 1)),
        HistogramSample(Series(TOOK, ("a", "b")), BOUNDS, (0, 0, 0, 1)),
        Sample(TOOK.series("/"), 1.0),
    ],
)
def test_what_is_no_distribution_of_its_own_is_dropped_and_counted(wrong: object) -> None:
    frame, invalid = read(wrong)
    assert invalid == 1
    assert frame.histograms == ()
    assert frame.series == ()


def test_without_buckets_there_is_one() -> None:
    frame, invalid = read(sample((5,), 2.0, bounds=()))
    assert (invalid, frame.histograms[0].counts) == (0, (5,))


def test_a_worker_passes_them_on() -> None:
    isolated = ProcessCollector(
        App(NoConfig()), origin=__file__, memory_bytes=1 << 30, timeout_s=20.0
    )
    isolated.probe()
    try:
        items = list(isolated.collect())
    finally:
        isolated.close()
    assert sample((1, 2, 0, 1), 4.5) in items


def test_a_window_adds_up_and_other_buckets_stay_apart() -> None:
    book = Distributions()
    assert book.add([sample((1, 0, 0, 0), 0.05), sample((0, 0, 0, 0), 0.0, route="/idle")]) == 0
    book.add([sample((0, 2, 0, 1), 4.0), sample((3, 1), None, bounds=(1.0,))])
    first, other = book.close()
    assert (first.counts, first.count, first.sum) == ([1, 2, 0, 1], 4, 4.05)
    assert (other.bounds, other.counts, other.sum) == ((1.0,), [3, 1], None)
    assert book.close() == []


def test_a_sum_that_was_not_known_once_is_not_known() -> None:
    book = Distributions()
    book.add([sample((1, 0, 0, 0), 1.0), sample((1, 0, 0, 0), None), sample((1, 0, 0, 0), 1.0)])
    assert book.close()[0].sum is None


def test_there_is_a_bound_and_what_is_over_it_is_counted() -> None:
    book = Distributions()
    many = [sample((1, 0, 0, 0), route=str(one)) for one in range(DISTRIBUTIONS_MAX + 5)]
    assert book.add(many) == 5
    assert len(book.close()) == DISTRIBUTIONS_MAX


@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), max_size=20))
def test_no_count_is_lost_or_moved(readings: list[list[int]]) -> None:
    book = Distributions()
    for counts in readings:
        book.add([sample(tuple(counts), float(sum(counts)))])
    found = book.close()
    expected = [sum(column) for column in zip(*readings, strict=True)]
    assert [one.counts for one in found] == ([expected] if any(expected) else [])


def test_the_wire_has_the_sources_own_bounds() -> None:
    book = Distributions()
    book.add([sample((1, 2, 0, 1), 4.5), sample((1, 0, 0, 0), None, route="/b")])
    (part,) = otlp.encode_distributions(book.close(), 5, 9, {"host.name": "x"})
    (metric,) = (
        ExportMetricsServiceRequest.FromString(part).resource_metrics[0].scope_metrics[0].metrics
    )
    assert (metric.name, metric.unit) == ("app.request.duration", "s")
    assert metric.histogram.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
    first, second = metric.histogram.data_points
    assert list(first.explicit_bounds) == list(BOUNDS)
    assert (list(first.bucket_counts), first.count, first.sum) == ([1, 2, 0, 1], 4, 4.5)
    assert (first.start_time_unix_nano, first.time_unix_nano) == (5, 9)
    assert not second.HasField("sum")
    assert second.attributes[0].value.string_value == "/b"
    assert list(otlp.encode_distributions([], 5, 9, {})) == []


def test_the_pipeline_tells_them_with_the_window(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path, [])
    for _ in range(61):
        host.tick({App.requests.series(): 1.0})
        now = host.now_s * S
        frame = Frame("app", now, now, (), array("d"), histograms=(sample((1, 0, 0, 2), 9.0),))
        host.pipeline.take((frame,))
    metrics = [
        metric
        for signal, body in host.spool.entries
        if signal == "metrics"
        for metric in ExportMetricsServiceRequest.FromString(body)
        .resource_metrics[0]
        .scope_metrics[0]
        .metrics
        if metric.name == "app.request.duration"
    ]
    points = [point for metric in metrics for point in metric.histogram.data_points]
    assert sum(point.count for point in points) in (180, 183)
    assert all(point.bucket_counts[3] == 2 * point.bucket_counts[0] for point in points)
