"""Read the points of one metric out of a stored body, whatever kind of metric it is. Pure.

An agent sends two layers: the level (``name``: gauge or running total) and the distribution of the
window's readings (``name.dist``). Other senders send either, and histograms with bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, Metric

from vedette.histogram import ExponentialHistogram
from vedette.receiver.extract import NO_RECORDED_VALUE, number_of, series_key
from vedette.receiver.limits import ITEMS_MAX, KEY_MAX
from vedette.receiver.structure import find_metrics
from vedette.receiver.untrusted import attributes

SUFFIX = ".dist"
SECOND_NS = 1_000_000_000

Kind = Literal["gauge", "counter", "updown", "distribution"]


class Spread(msgspec.Struct, frozen=True, gc=False):
    """What a window's readings were like; None where the sender does not say."""

    p50: float | None
    min: float | None
    max: float | None
    mean: float | None
    count: int
    #: Of a histogram with bounds: what 95 of 100 were at most.
    p95: float | None = None


class Sample(msgspec.Struct, frozen=True):
    """One point of one series as it was sent.

    ``key`` and ``name`` are those of the level, for its distribution too. ``value`` is the level's
    value or running total, ``spread`` the distribution's; ``rate`` says that ``spread`` or
    ``value`` is already a change per second. ``gone``: the series went away.
    """

    key: str
    name: str
    attributes: dict[str, str]
    unit: str
    kind: Kind
    start_ns: int
    end_ns: int
    value: float | None = None
    spread: Spread | None = None
    rate: bool = False
    running: bool = False
    gone: bool = False


def samples_named(data: bytes, name: str) -> Iterator[Sample]:
    """Yield the samples of one metric and of its distribution; ``data`` is a metrics request."""
    names = frozenset((name.encode(), f"{name}{SUFFIX}".encode()))
    for piece in find_metrics(data, names):
        yield from samples_of(Metric.FromString(piece), name)


def samples_of(metric: Any, name: str = "", medians: bool = True) -> Iterator[Sample]:
    """Yield the samples of a metric; ``name``: what to call it instead of guessing.

    Medians are half of the work, and a list of series needs none where there is a mean.
    """
    data = metric.WhichOneof("data")
    base = name or metric.name
    if not name and data == "exponential_histogram":
        base = metric.name.removesuffix(SUFFIX)
    if data in ("gauge", "sum"):
        yield from _levels(metric, data, base)
    elif data in ("exponential_histogram", "histogram"):
        yield from _distributions(metric, data, base, medians)


def _levels(metric: Any, data: str, name: str) -> Iterator[Sample]:
    kind: Kind = "gauge"
    delta = False
    if data == "sum":
        delta = metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
        kind = "counter" if metric.sum.is_monotonic or delta else "updown"
    for point in getattr(metric, data).data_points:
        texts = _texts(point)
        gone = bool(point.flags & NO_RECORDED_VALUE)
        value = None if gone else _finite(number_of(point))
        if value is None and not gone:
            continue
        if delta and value is not None:
            value = _per_second(value, point)
        yield Sample(
            key=series_key(name, texts),
            name=name,
            attributes=texts,
            unit=metric.unit,
            kind=kind,
            start_ns=point.start_time_unix_nano,
            end_ns=point.time_unix_nano,
            value=value,
            rate=delta,
            running=kind == "counter" and not delta,
            gone=gone,
        )


def _per_second(value: float, point: Any) -> float | None:
    span_ns = point.time_unix_nano - point.start_time_unix_nano
    return value * SECOND_NS / span_ns if point.start_time_unix_nano and span_ns > 0 else None


def _distributions(metric: Any, data: str, name: str, medians: bool) -> Iterator[Sample]:
    body = getattr(metric, data)
    delta = body.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
    for point in body.data_points:
        texts = _texts(point)
        gone = bool(point.flags & NO_RECORDED_VALUE)
        if not point.count and not gone:
            continue
        yield Sample(
            key=series_key(name, texts),
            name=name,
            attributes=texts,
            unit=metric.unit,
            kind="distribution",
            start_ns=point.start_time_unix_nano,
            end_ns=point.time_unix_nano,
            spread=None if gone else _spread(point, data, delta, medians),
            gone=gone,
        )


def _spread(point: Any, data: str, delta: bool, medians: bool) -> Spread:
    """Describe a distribution; of one that accumulates since its start only the mean is told."""
    total = _finite(point.sum) if point.HasField("sum") else None
    mean = None if total is None else total / point.count
    if not delta:
        return Spread(None, None, None, mean, point.count)
    low = _finite(point.min) if point.HasField("min") else None
    high = _finite(point.max) if point.HasField("max") else None
    p50 = p95 = None
    if medians or mean is None:
        if data == "exponential_histogram":
            p50 = median(point, low, high)
        else:
            p50, p95 = _quantile(point, 0.5, low, high), _quantile(point, 0.95, low, high)
    if mean is not None and low is not None and high is not None:
        # The sum is rounded on the wire, and so may be the bounds: keep what a person sees sane.
        mean = min(max(mean, low), high)
    return Spread(p50, low, high, mean, point.count, p95)


def median(point: Any, low: float | None, high: float | None) -> float | None:
    """Return the median of an ExponentialHistogramDataPoint, as near as its bucket tells."""
    if low is not None and low == high:
        return low
    positive, negative = point.positive, point.negative
    histogram = ExponentialHistogram(
        scale=point.scale,
        zero_count=point.zero_count,
        positive_offset=positive.offset,
        positive=tuple(positive.bucket_counts),
        negative_offset=negative.offset,
        negative=tuple(negative.bucket_counts),
        min=low,
        max=high,
    )
    return _finite(histogram.quantile(0.5))


def _quantile(point: Any, share: float, low: float | None, high: float | None) -> float | None:
    """Return a quantile of a histogram with bounds, readings spread evenly within a bucket."""
    rank = point.count * share
    bounds: Sequence[float] = point.explicit_bounds
    for place, count in enumerate(point.bucket_counts):
        if count and rank <= count:
            begin = bounds[place - 1] if 0 < place <= len(bounds) else low
            end = bounds[place] if place < len(bounds) else high
            if begin is None or end is None:
                # An open end without a known bound: the bound it has is the best there is.
                edge = end if begin is None else begin
                return None if edge is None else _finite(edge)
            return _finite(begin + (end - begin) * rank / count)
        rank -= count
    return None


def _texts(point: Any) -> dict[str, str]:
    texts = {}
    for pair in point.attributes:
        text = pair.value.string_value
        if not text or len(text) > KEY_MAX or len(pair.key) > KEY_MAX:
            # Not a plain short text: the careful way, for all of them.
            return {key: _word(value) for key, value in attributes(point.attributes).items()}
        texts[pair.key] = text
        if len(texts) >= ITEMS_MAX:
            break
    return texts


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
