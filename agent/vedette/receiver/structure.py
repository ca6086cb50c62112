"""Walk protobuf wire bytes without building messages: count what a parser would build, find one.

A generic walk over (field number, length) pairs guided by the message descriptors. Pure Python:
about 0.4 µs per field, so the scan runs on large bodies only (see ``Limits.scan_above_bytes``).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from vedette.receiver.limits import Limits


class Refused(Exception):  # noqa: N818 - an answer, not a fault of ours
    """A request that is answered with ``status`` and a sentence that says what was wrong."""

    def __init__(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


class _Shape:
    """What the scan needs to know of one message type: which fields hold messages or lists."""

    __slots__ = ("children", "limit", "packed")

    def __init__(self, limit: str) -> None:
        self.limit = limit
        self.children: dict[int, _Shape] = {}
        self.packed: set[int] = set()


_COUNTED = {
    "Metric": "metrics",
    "LogRecord": "records",
    "NumberDataPoint": "points",
    "HistogramDataPoint": "points",
    "ExponentialHistogramDataPoint": "points",
    "SummaryDataPoint": "points",
}


@functools.lru_cache(maxsize=8)
def _shape(kind: Any) -> _Shape:
    known: dict[str, _Shape] = {}

    def build(message: Any) -> _Shape:
        if message.full_name in known:
            return known[message.full_name]
        shape = known[message.full_name] = _Shape(_COUNTED.get(message.name, "messages"))
        for field in message.fields:
            if field.message_type is not None:
                shape.children[field.number] = build(field.message_type)
            elif field.is_repeated and field.type not in (field.TYPE_STRING, field.TYPE_BYTES):
                shape.packed.add(field.number)
        return shape

    return build(kind.DESCRIPTOR)


class _Scan:
    """Count what a parser would build, and stop at the first count over its limit."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        counted = ("messages", "metrics", "records", "points")
        self.left: dict[str, int] = {name: getattr(limits, name) for name in counted}
        self.fields = 0

    def message(self, at: int, end: int, shape: _Shape, depth: int) -> None:
        """Walk one message; raises ``Refused``, or ``IndexError`` when it is cut short."""
        if depth > self.limits.depth:
            raise Refused(413, f"body nests deeper than {self.limits.depth} messages")
        data, children, seen = self.data, shape.children, 0
        while at < end:
            seen += 1
            tag = data[at]
            if tag > 127:
                tag, at = _varint(data, at)
            else:
                at += 1
            wire = tag & 7
            if wire != 2:
                at = _after_number(data, at, wire)
                continue
            size = data[at]
            if size > 127:
                size, at = _varint(data, at)
            else:
                at += 1
            stop = at + size
            if stop > end:
                raise IndexError(at)
            child = children.get(tag >> 3)
            if child is not None:
                self._count(child)
                if size:
                    self.message(at, stop, child, depth + 1)
            elif size > self.limits.packed_bytes and tag >> 3 in shape.packed:
                raise Refused(413, f"a list is longer than {self.limits.packed_bytes} bytes")
            at = stop
        if at > end:
            raise IndexError(at)
        self.fields += seen
        if self.fields > self.limits.fields:
            raise Refused(413, f"body has more than {self.limits.fields} fields")

    def _count(self, shape: _Shape) -> None:
        self._one_more("messages")
        if shape.limit != "messages":
            self._one_more(shape.limit)

    def _one_more(self, name: str) -> None:
        self.left[name] -= 1
        if self.left[name] < 0:
            raise Refused(413, f"body has more than {getattr(self.limits, name)} {name}")


def scan(data: bytes, kind: Any, limits: Limits) -> None:
    """Refuse wire bytes that would parse into more than the limits allow, building nothing.

    ``kind`` is the message class they would be parsed with.
    """
    try:
        _Scan(data, limits).message(0, len(data), _shape(kind), 1)
    except IndexError as error:
        raise Refused(400, f"body is not a valid {kind.DESCRIPTOR.name}") from error


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, start, stop) per field of a message; (number, -1, -1) for plain numbers.

    Raises ``IndexError`` when the message is cut short or holds what protobuf 3 does not.
    """
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 2:
            size, at = _varint(data, at)
            stop = at + size
            if stop > end:
                raise IndexError(at)
            yield tag >> 3, at, stop
            at = stop
            continue
        at = _after_number(data, at, wire)
        yield tag >> 3, -1, -1
    if at > end:
        raise IndexError(at)


def _after_number(data: bytes, at: int, wire: int) -> int:
    """Return where a field that is a plain number ends."""
    if wire == 0:
        while data[at] > 127:
            at += 1
        return at + 1
    if wire == 1:
        return at + 8
    if wire == 5:
        return at + 4
    raise IndexError(at)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value, shift = byte & 127, 7
    while shift < 70:
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
    raise IndexError(at)


def find_metrics(data: bytes, names: frozenset[bytes]) -> Iterator[bytes]:
    """Yield the wire bytes of each metric with one of these names, skipping over all others.

    A chart needs one metric of hundreds: walking past the rest costs less than parsing them.
    """
    size = len(data)
    for number, start, stop in fields(data, 0, size):
        if number != 1 or start < 0:
            continue
        for inner, scope_start, scope_stop in fields(data, start, stop):
            if inner != 2 or scope_start < 0:
                continue
            for field, metric_start, metric_stop in fields(data, scope_start, scope_stop):
                if (
                    field == 2
                    and metric_start >= 0
                    and _name(data, metric_start, metric_stop) in names
                ):
                    yield data[metric_start:metric_stop]


def _name(data: bytes, at: int, end: int) -> bytes:
    for number, start, stop in fields(data, at, end):
        if number == 1 and start >= 0:
            # Every encoder writes fields in order, so the name is the first one met.
            return data[start:stop]
    return b""
