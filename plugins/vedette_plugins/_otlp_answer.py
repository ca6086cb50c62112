"""Judge what servers answer to batches: arrived, to be tried again, or never to be taken.

Each answer is judged by one question: could the same bytes be taken later? What points to the
configuration or the network is kept and tried again; only what a server has called bad several
times is given up. The specification forbids repeating most 4xx and 5xx answers, which loses data on
an expired token; here that data waits.

    2xx, empty or an OTLP answer            delivered (what the server rejected of it is counted)
    2xx with a web page, or over 4 MiB      retry slowly: a captive portal or the wrong address
    3xx, 401, 403, 404, 405, 407, 415, ...  retry slowly: configuration; redirects are not followed
    408, 425, 429, 502, 503, 504, no answer retry, not before what Retry-After says
    400, 413, 422                           three tries, then refused
    500 and other 5xx                       five tries over a quarter of an hour, then refused
"""

from __future__ import annotations

import logging
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from vedette.api import SendResult, Shipment, Signal

log = logging.getLogger(__name__)

#: Waits of the slow retries, by how many came in a row.
SLOW_S = (60.0, 120.0, 240.0, 300.0)
#: Waits between the tries of a batch the server calls bad, by status; then it is refused.
BAD_REQUEST_S = (5.0, 10.0)
SERVER_ERROR_S = (60.0, 120.0, 300.0, 300.0)

_LATER = frozenset({408, 425, 429, 502, 503, 504})
_BAD_REQUEST = frozenset({400, 413, 422})
_NETWORK_LOGIN = 511


class Answer(msgspec.Struct, frozen=True):
    """A server's answer; ``body`` is None when it was too long to read."""

    status: int
    content_type: str
    retry_after: str
    body: bytes | None


class Judge:
    """What becomes of batches; it remembers how often in a row something went wrong."""

    def __init__(self) -> None:
        #: Points and records the server said it did not take although it took the request.
        self.rejected = 0
        self._bad: tuple[tuple[str, int], int] = (("", 0), 0)
        self._slow = 0
        self._partial_logged = False

    def judge(self, shipment: Shipment, answer: Answer, now_ns: int) -> SendResult:
        """Say what becomes of a batch by the answer it got; ``now_ns`` is Unix ns."""
        status = answer.status
        if 200 <= status < 300:
            return self._accepted(shipment.signal, answer)
        if status in _LATER:
            wait = _retry_after(answer.retry_after, now_ns)
            return SendResult("retry", f"status {status}", wait)
        if status in _BAD_REQUEST:
            return self._bad_batch(shipment, status, BAD_REQUEST_S)
        if status >= 500 and status != _NETWORK_LOGIN:
            return self._bad_batch(shipment, status, SERVER_ERROR_S)
        return self.slowly(f"status {status}")

    def slowly(self, reason: str) -> SendResult:
        """Say that it is to be tried again, later each time in a row."""
        wait = SLOW_S[min(self._slow, len(SLOW_S) - 1)]
        self._slow += 1
        return SendResult("retry", reason, wait)

    def _accepted(self, signal: Signal, answer: Answer) -> SendResult:
        if answer.body is None:
            return self.slowly("answer over 4 MiB")
        if answer.content_type == "text/html":
            return self.slowly("a web page")
        if answer.body:
            if answer.content_type not in ("", "application/x-protobuf", "application/json"):
                return self.slowly("not an OTLP answer")
            rejected, message = _partial_success(signal, answer)
            if rejected or message:
                self.rejected += rejected
                if not self._partial_logged:
                    self._partial_logged = True
                    log.warning("otlp_rejected=%d message=%.200r", rejected, message)
        self._slow = 0
        return SendResult("delivered", f"status {answer.status}")

    def _bad_batch(self, shipment: Shipment, status: int, waits: tuple[float, ...]) -> SendResult:
        batch = (shipment.epoch, shipment.sequence)
        tries = self._bad[1] + 1 if self._bad[0] == batch else 1
        self._bad = (batch, tries)
        if tries > len(waits):
            return SendResult("refused", f"status {status}")
        return SendResult("retry", f"status {status}", waits[tries - 1])


def _partial_success(signal: Signal, answer: Answer) -> tuple[int, str]:
    """Return how much was rejected, and why; an answer that cannot be read rejects nothing."""
    body = answer.body or b""
    try:
        if answer.content_type == "application/json":
            return _partial_json(signal, body)
        if signal == "metrics":
            from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

            metrics = metrics_service_pb2.ExportMetricsServiceResponse.FromString(body)
            return (
                metrics.partial_success.rejected_data_points,
                metrics.partial_success.error_message,
            )
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

        logs = logs_service_pb2.ExportLogsServiceResponse.FromString(body)
        return logs.partial_success.rejected_log_records, logs.partial_success.error_message
    except Exception as error:  # noqa: BLE001 - the protobuf library's error has no stable place
        log.debug("otlp_answer=unreadable reason=%s", type(error).__name__)
        return 0, ""


def _partial_json(signal: Signal, body: bytes) -> tuple[int, str]:
    answer = msgspec.json.decode(body)
    partial = answer.get("partialSuccess") or {}
    field = "rejectedDataPoints" if signal == "metrics" else "rejectedLogRecords"
    return int(partial.get(field, 0)), str(partial.get("errorMessage", ""))


def _retry_after(text: str, now_ns: int) -> float | None:
    """Return the seconds a Retry-After header asks for; None when it says nothing usable."""
    text = text.strip()
    if not text:
        return None
    try:
        return max(0.0, float(int(text[:12])))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now_ns / 1e9)
    except (ValueError, TypeError, OverflowError):
        return None
