"""Write what the agent reports as OTLP requests: closed windows as metrics, events as log records.

The messages come from ``opentelemetry-proto``; this module decides what goes into them. Layer 0
carries each series under its semantic-convention name (gauge, or cumulative sum), which any engine
understands; layer 1 carries the window's distribution as ``<name>.dist``, a delta exponential
histogram, whose readings are per-second rates where the series is a counter. All points of a
window bear its end as their time, so a resend never counts twice.

The same input gives the same bytes, whatever the order of the series: they are sorted. Sums keep
24 bits of mantissa and the bounds of a distribution 12, rounded outwards: full doubles would be
half of the compressed size. A window that was constant keeps them exact, and shows it.

Cost: about 10 µs per series that moved, 2.5 MiB of RSS for the import.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
import numpy as np

from vedette.api import Series, Severity
from vedette.histograms import Buckets
from vedette.lighter import lighter_messages

with lighter_messages():
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )
    from opentelemetry.proto.metrics.v1.metrics_pb2 import (
        AGGREGATION_TEMPORALITY_CUMULATIVE,
        AGGREGATION_TEMPORALITY_DELTA,
        DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK,
    )

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vedette.distributions import Distribution
    from vedette.summarise import WindowSummary

__all__ = [
    "AttributeValue",
    "Event",
    "digest",
    "encode_distributions",
    "encode_logs",
    "encode_metrics",
    "encode_metrics_parts",
]

AttributeValue: TypeAlias = (
    "str | bool | int | float | Sequence[AttributeValue] | Mapping[str, AttributeValue]"
)

SCOPE = "vedette"
#: Series in one request: some 0.5 MiB as it is, 80 KiB compressed; receivers take 8 to 20 MiB.
PART_SERIES = 2_000
#: Bits of mantissa sent of a sum, and of the smallest and largest reading.
SUM_BITS = 24
BOUND_BITS = 12
#: Nesting of attribute values; protobuf parsers give up at about 100 messages.
DEPTH_MAX = 16
#: OTLP SeverityNumber (INFO, WARN, ERROR).
SEVERITY_NUMBER: Mapping[Severity, int] = {"info": 9, "warning": 13, "critical": 17}


class Event(msgspec.Struct, frozen=True):
    """Something that happened, as it becomes a log record.

    ``name`` is static and of low cardinality; ``uid`` tells a receiver of this host's events that
    two records are one (empty: none).
    """

    name: str
    time_ns: int
    severity: Severity
    body: str
    attributes: Mapping[str, AttributeValue]
    uid: str = ""
    #: OTLP SeverityNumber, where it is not that of ``severity``.
    number: int = 0


# ---------------------------------------------------------------- metrics


def encode_metrics(
    summary: WindowSummary, resource: Mapping[str, str], gone: Sequence[Series] = ()
) -> bytes:
    """Encode a window as one ``ExportMetricsServiceRequest``; empty when there is nothing to say.

    Only series that moved are in it. Those in ``gone`` get one layer-0 point that says so, unless
    they were read in this very window.
    """
    entries = _entries(summary, gone)
    return _encode_part(summary, resource, entries) if entries else b""


def encode_metrics_parts(
    summary: WindowSummary,
    resource: Mapping[str, str],
    gone: Sequence[Series] = (),
    part_series: int = PART_SERIES,
) -> Iterator[bytes]:
    """Yield the requests of a window, at most ``part_series`` series in each; none when empty."""
    entries = _entries(summary, gone)
    for begin in range(0, len(entries), part_series):
        yield _encode_part(summary, resource, entries[begin : begin + part_series])


#: A series and its place in the summary, None for one that went away.
_Entry: TypeAlias = "tuple[Series, int | None]"


def _entries(summary: WindowSummary, gone: Sequence[Series]) -> list[_Entry]:
    entries: list[_Entry] = [
        (summary.series[index], index) for index in np.flatnonzero(summary.moved).tolist()
    ]
    if gone:
        entries += [(series, None) for series in set(gone).difference(summary.series)]
    entries.sort(key=_order)
    return entries


def _order(entry: _Entry) -> tuple[object, ...]:
    series = entry[0]
    instrument = series.instrument
    return instrument.name, instrument.kind, instrument.unit, instrument.attributes, series.values


def _same_metric(entry: _Entry) -> tuple[str, str, str]:
    instrument = entry[0].instrument
    return instrument.name, instrument.kind, instrument.unit


def _encode_part(
    summary: WindowSummary, resource: Mapping[str, str], entries: Sequence[_Entry]
) -> bytes:
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    _write_strings(group.resource.attributes, sorted(resource.items()))
    scope = group.scope_metrics.add()
    scope.scope.name = SCOPE
    writer = _MetricWriter(summary, scope.metrics)
    for (name, kind, unit), some in itertools.groupby(entries, _same_metric):
        writer.write(_text(name), kind, _text(unit), list(some))
    return bytes(request.SerializeToString(deterministic=True))


def encode_distributions(
    counted: Sequence[Distribution],
    start_ns: int,
    end_ns: int,
    resource: Mapping[str, str],
    part_series: int = PART_SERIES,
) -> Iterator[bytes]:
    """Yield requests with what sources counted in a window, as delta histograms with their bounds.

    None when nothing was counted.
    """
    ordered = sorted(counted, key=lambda one: (*_order((one.series, None)), one.bounds))
    for begin in range(0, len(ordered), part_series):
        request = ExportMetricsServiceRequest()
        group = request.resource_metrics.add()
        _write_strings(group.resource.attributes, sorted(resource.items()))
        scope = group.scope_metrics.add()
        scope.scope.name = SCOPE
        some = ordered[begin : begin + part_series]
        for (name, _, unit), alike in itertools.groupby(
            some, lambda one: _same_metric((one.series, None))
        ):
            metric = scope.metrics.add(name=_text(name), unit=_text(unit))
            metric.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
            for one in alike:
                point = metric.histogram.data_points.add(
                    start_time_unix_nano=start_ns,
                    time_unix_nano=end_ns,
                    count=one.count,
                    explicit_bounds=one.bounds,
                    bucket_counts=one.counts,
                )
                if one.sum is not None:
                    point.sum = one.sum
                _write_strings(point.attributes, _attributes(one.series))
        yield bytes(request.SerializeToString(deterministic=True))


class _MetricWriter:
    """Write the two layers of one metric after the other; arrays as lists, made once."""

    def __init__(self, summary: WindowSummary, metrics: Any) -> None:
        self.metrics = metrics
        self.start_ns = summary.start_ns
        self.end_ns = summary.end_ns
        self.last = summary.last.tolist()
        self.total = summary.total.tolist()
        self.total_start_ns = summary.total_start_ns.tolist()
        constant = summary.min == summary.max
        self.sum = np.where(constant, summary.sum, _nearest(summary.sum, SUM_BITS)).tolist()
        self.min = np.where(constant, summary.min, _outward(summary.min, np.floor)).tolist()
        self.max = np.where(constant, summary.max, _outward(summary.max, np.ceil)).tolist()
        histograms = summary.histograms
        self.scale = histograms.scale.tolist()
        self.zero_count = histograms.zero_count.tolist()
        self.counted = histograms.count.tolist()
        self.positive = _Ranges(histograms.positive)
        self.negative = _Ranges(histograms.negative)

    def write(self, name: str, kind: str, unit: str, entries: list[_Entry]) -> None:
        values = self.total if kind == "counter" else self.last
        # A counter whose total is not known has rates to tell and no running total.
        known = [(series, at) for series, at in entries if at is None or not math.isnan(values[at])]
        if known:
            self._level(name, kind, unit, known, values)
        read = [(series, at) for series, at in entries if at is not None]
        if read:
            rate = f"{unit}/s" if kind == "counter" else unit
            self._distribution(f"{name}.dist", rate, read)

    def _level(
        self, name: str, kind: str, unit: str, entries: list[_Entry], values: list[float]
    ) -> None:
        metric = self.metrics.add(name=name, unit=unit)
        if kind == "gauge":
            points = metric.gauge.data_points
        else:
            points = metric.sum.data_points
            metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
            metric.sum.is_monotonic = kind == "counter"
        for series, at in entries:
            point = points.add(time_unix_nano=self.end_ns)
            _write_strings(point.attributes, _attributes(series))
            if at is None:
                point.flags = DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
                continue
            point.as_double = values[at]
            if kind == "counter":
                point.start_time_unix_nano = self.total_start_ns[at]

    def _distribution(self, name: str, unit: str, entries: list[tuple[Series, int]]) -> None:
        metric = self.metrics.add(name=name, unit=unit)
        metric.exponential_histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
        points = metric.exponential_histogram.data_points
        for series, at in entries:
            point = points.add(
                start_time_unix_nano=self.start_ns,
                time_unix_nano=self.end_ns,
                count=self.counted[at],
                scale=self.scale[at],
                zero_count=self.zero_count[at],
                min=self.min[at],
                max=self.max[at],
            )
            # The data model allows a sum only where no reading can lower it.
            if self.min[at] >= 0.0 and math.isfinite(self.sum[at]):
                point.sum = self.sum[at]
            _write_strings(point.attributes, _attributes(series))
            self.positive.write(at, point, "positive")
            self.negative.write(at, point, "negative")


class _Ranges:
    """The bucket counts of one sign, as lists."""

    def __init__(self, buckets: Buckets) -> None:
        self.offset = buckets.offset.tolist()
        self.start = buckets.start.tolist()
        self.counts = buckets.counts

    def write(self, at: int, point: Any, field: Literal["positive", "negative"]) -> None:
        begin, end = self.start[at], self.start[at + 1]
        if begin < end:
            buckets = getattr(point, field)
            buckets.offset = self.offset[at]
            buckets.bucket_counts.extend(self.counts[begin:end].tolist())


def _nearest(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    mantissa, exponent = np.frexp(values)
    with np.errstate(over="ignore"):
        rounded = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return np.where(np.isfinite(rounded), rounded, values)


def _outward(values: NDArray[np.float64], direction: np.ufunc) -> NDArray[np.float64]:
    mantissa, exponent = np.frexp(values)
    with np.errstate(over="ignore"):
        rounded = np.ldexp(direction(np.ldexp(mantissa, BOUND_BITS)), exponent - BOUND_BITS)
    return np.where(np.isfinite(rounded), rounded, values)


# ---------------------------------------------------------------- events


def encode_logs(events: Sequence[Event], resource: Mapping[str, str]) -> bytes:
    """Encode events, in the order given, as ``ExportLogsServiceRequest``; empty without any.

    Each record repeats its name as attribute ``vedette.event``: some engines drop the field.
    Raises ``ValueError`` naming the attribute that OTLP has no value for.
    """
    if not events:
        return b""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    _write_strings(group.resource.attributes, sorted(resource.items()))
    scope = group.scope_logs.add()
    scope.scope.name = SCOPE
    instance = resource.get("service.instance.id", "")
    for event in events:
        record = scope.log_records.add(
            time_unix_nano=event.time_ns,
            observed_time_unix_nano=event.time_ns,
            severity_number=event.number or SEVERITY_NUMBER[event.severity],
            severity_text=event.severity,
            event_name=_text(event.name),
        )
        record.body.string_value = _text(event.body)
        own: dict[str, AttributeValue] = {"vedette.event": event.name}
        if event.uid:
            # Two hosts may well have an incident of the same name in the same second.
            own["log.record.uid"] = digest(instance, event.uid)
        for key, value in {**event.attributes, **own}.items():
            try:
                _write_pair(record.attributes, key, value, 0)
            except (TypeError, ValueError) as error:
                raise ValueError(f"event {event.name}, attribute {key}: {error}") from error
    return bytes(request.SerializeToString(deterministic=True))


def digest(*parts: str) -> str:
    """Return 32 hex digits that stand for these texts together."""
    text = "\0".join(parts).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


# ---------------------------------------------------------------- attributes


def _attributes(series: Series) -> Iterator[tuple[str, str]]:
    return zip(series.instrument.attributes, series.values, strict=True)


def _write_strings(pairs: Any, items: Iterable[tuple[str, str]]) -> None:
    add = pairs.add
    for key, value in items:
        add(key=_text(key)).value.string_value = _text(value)


def _text(text: str) -> str:
    """Return text that UTF-8 can carry: a lone surrogate, as in a file name, is written out."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _write_pair(pairs: Any, key: str, value: AttributeValue, depth: int) -> None:
    if not isinstance(key, str):
        raise TypeError(f"key {key!r} is {type(key).__name__}, expected str")
    _write_value(pairs.add(key=_text(key)).value, value, depth)


def _write_value(target: Any, value: AttributeValue, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise ValueError(f"nested more than {DEPTH_MAX} levels deep")
    if isinstance(value, str):
        target.string_value = _text(value)
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise ValueError(f"integer {value} does not fit 64 bits")
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, (list, tuple)):
        target.array_value.SetInParent()
        add = target.array_value.values.add
        for item in value:
            _write_value(add(), item, depth + 1)
    elif isinstance(value, Mapping):
        target.kvlist_value.SetInParent()
        for key, item in value.items():
            _write_pair(target.kvlist_value.values, key, item, depth + 1)
    else:
        raise TypeError(
            f"{type(value).__name__} is no attribute value (str, bool, int, float, list or mapping)"
        )
