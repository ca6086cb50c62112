"""Take an OTLP request apart with bounded memory: headers, gzip, structure, protobuf, JSON.

The order is the defence: sizes first, then a walk over the wire bytes that counts messages
without building any, then upb. Nothing here does I/O.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from typing import Any

import msgspec
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from vedette.api import Signal
from vedette.receiver.batch import INTEGER_MAX, BatchId
from vedette.receiver.limits import Limits
from vedette.receiver.structure import Refused, scan

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

REQUESTS: dict[Signal, type[Message]] = {
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
RESPONSES: dict[Signal, type[Message]] = {
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
}

#: google.rpc.Code for the HTTP statuses this receiver answers with.
_RPC_CODES = {400: 3, 408: 4, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14}

_AGENT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_EPOCH = re.compile(r"[0-9a-f]{16}", re.ASCII)
_SEQUENCE = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_HEX_IDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id"})


def parse_batch_header(value: str) -> BatchId:
    """Parse ``<agent>/<epoch>/<sequence>``; raises ``Refused`` naming the header."""
    agent, _, rest = value.strip().lower().partition("/")
    epoch, _, sequence = rest.partition("/")
    if (
        not _AGENT.fullmatch(agent)
        or not _EPOCH.fullmatch(epoch)
        or not _SEQUENCE.fullmatch(sequence)
        or int(sequence) > INTEGER_MAX
    ):
        raise Refused(
            400,
            f"header Vedette-Batch is {value[:80]!r}, expected <agent UUID>/<epoch, 16 hexadecimal "
            "digits>/<sequence from 1>",
        )
    return BatchId(agent, epoch, int(sequence))


def parse_sent_at(value: str) -> int | None:
    """Parse Vedette-Sent-At, Unix ns; None when absent, ``Refused`` when no time."""
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or int(value[:20]) > INTEGER_MAX:
        raise Refused(400, f"header Vedette-Sent-At is {value[:40]!r}, expected Unix nanoseconds")
    return int(value)


def media_type(content_type: str) -> str:
    """Return the one of the two encodings a Content-Type names; ``Refused`` for others."""
    name = content_type.partition(";")[0].strip().lower()
    if name in (PROTOBUF, JSON):
        return name
    raise Refused(415, f"content type is {name[:80]!r}, expected {PROTOBUF} or {JSON}")


def decompress(body: bytes, encoding: str, limits: Limits) -> bytes:
    """Undo Content-Encoding: nothing, or one layer of gzip and not a byte behind it."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Refused(415, f"content encoding is {encoding[:80]!r}, expected gzip or none")
    return _gunzip(body, limits.body_bytes)


def announced_size(body: bytes, encoding: str) -> int:
    """Return the decompressed size a body claims: gzip ends in it (RFC 1952, ISIZE), and the
    decompressor refuses a wrong one.
    """
    return int.from_bytes(body[-4:], "little") if encoding.strip().lower() == "gzip" else len(body)


def _gunzip(body: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        data = inflater.decompress(body, most + 1)
    except zlib.error as error:
        raise Refused(400, "body is not valid gzip") from error
    if len(data) > most:
        raise Refused(413, f"body is over {most} bytes when decompressed")
    if not inflater.eof:
        raise Refused(400, "gzip body is cut short")
    if inflater.unused_data:
        raise Refused(400, "gzip body is followed by other bytes")
    return data


def unpack(stored: bytes) -> bytes:
    """Return a stored body decompressed; raises ``zlib.error``, ``OSError`` or ``EOFError``."""
    return gzip.decompress(stored)


def pack(data: bytes) -> bytes:
    """Compress a body the way it is stored; the same bytes for the same body."""
    return gzip.compress(data, 6, mtime=0)


def decode(signal: Signal, media: str, data: bytes, limits: Limits) -> Any:
    """Parse a decompressed body into the signal's export request; raises ``Refused``."""
    kind = REQUESTS[signal]
    if media == JSON:
        return _decode_json(kind, data, limits)
    if len(data) > limits.scan_above_bytes:
        scan(data, kind, limits)
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Refused(400, f"body is not a valid {kind.DESCRIPTOR.name}") from error


def _decode_json(kind: type[Message], data: bytes, limits: Limits) -> Message:
    if (
        data.count(b"{") + data.count(b"[") > limits.json_brackets
        or data.count(b",") > limits.json_commas
    ):
        raise Refused(413, "JSON body has too many elements")
    # Imported here: 2 MiB that no Vedette agent ever needs.
    from google.protobuf import json_format

    try:
        tree = json.loads(data)
        if not isinstance(tree, dict):
            raise Refused(400, "JSON body is not an object")
        _hex_to_base64(tree)
        return json_format.ParseDict(
            tree, kind(), ignore_unknown_fields=True, max_recursion_depth=limits.depth * 2
        )
    except (ValueError, RecursionError, json_format.ParseError, TypeError) as error:
        detail = " ".join(str(error).split())[:160]
        raise Refused(400, f"body is not OTLP JSON: {detail}") from error


def _hex_to_base64(tree: Any) -> None:
    """Rewrite trace and span ids: OTLP JSON has them in hexadecimal, protobuf JSON in base64."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
            continue
        if not isinstance(node, dict):
            continue
        for key, value in node.items():
            if key in _HEX_IDS and isinstance(value, str):
                try:
                    node[key] = base64.b64encode(bytes.fromhex(value)).decode()
                except ValueError as error:
                    raise Refused(400, f"{key} is not hexadecimal") from error
            elif isinstance(value, (dict, list)):
                pending.append(value)


# ---------------------------------------------------------------- answers


class _JsonStatus(msgspec.Struct):
    code: int
    message: str


def encode_status(status: int, message: str, media: str) -> bytes:
    """Encode a google.rpc.Status, the body of every OTLP refusal."""
    code = _RPC_CODES.get(status, 2)
    if media == JSON:
        return msgspec.json.encode(_JsonStatus(code, message))
    text = message.encode()[:4096]
    return b"\x08" + bytes([code]) + b"\x12" + _encode_varint(len(text)) + text


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_response(signal: Signal, media: str, rejected: int, reason: str) -> bytes:
    """Encode the answer to an accepted request; partial success only when something was not."""
    if media == JSON:
        return _json_response(signal, rejected, reason)
    response: Any = RESPONSES[signal]()
    if rejected:
        partial = response.partial_success
        if signal == "metrics":
            partial.rejected_data_points = rejected
        else:
            partial.rejected_log_records = rejected
        partial.error_message = reason
    encoded: bytes = response.SerializeToString()
    return encoded


def _json_response(signal: Signal, rejected: int, reason: str) -> bytes:
    if not rejected:
        return b"{}"
    key = "rejectedDataPoints" if signal == "metrics" else "rejectedLogRecords"
    return msgspec.json.encode(
        {"partialSuccess": {key: str(rejected), "errorMessage": reason}},
    )
