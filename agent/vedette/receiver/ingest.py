"""Take OTLP requests over HTTP: check, understand, store, and answer only after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from vedette.api import Signal
from vedette.receiver import wire
from vedette.receiver.assemble import Origin, assemble
from vedette.receiver.batch import Batch
from vedette.receiver.store import Store, StoreError
from vedette.receiver.structure import Refused

_T = TypeVar("_T")

#: Larger bodies are worked on in a thread, so that they delay nobody's answer.
INLINE_BYTES = 64 * 1024


class Ingest:
    """The endpoint of one signal for each of the two paths; runs in the server's event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._limits = store.limits
        self._running = 0

    async def metrics(self, request: Request) -> Response:
        """Answer POST /v1/metrics."""
        return await self._answer(request, "metrics")

    async def logs(self, request: Request) -> Response:
        """Answer POST /v1/logs."""
        return await self._answer(request, "logs")

    async def _answer(self, request: Request, signal: Signal) -> Response:
        media = wire.JSON
        self._running += 1
        try:
            media = wire.media_type(request.headers.get("content-type", ""))
            return await self._accept(request, signal, media)
        except Refused as refused:
            return _refusal(refused, media)
        except StoreError:
            return _refusal(Refused(503, "cannot store this now", retry_after_s=5), media)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            self._running -= 1

    async def _accept(self, request: Request, signal: Signal, media: str) -> Response:
        if self._running > self._limits.requests:
            raise Refused(429, "too many requests at once", retry_after_s=1)
        headers = request.headers
        identity = None
        if "vedette-batch" in headers:
            identity = wire.parse_batch_header(", ".join(headers.getlist("vedette-batch")))
        sent_ns = wire.parse_sent_at(headers.get("vedette-sent-at", ""))
        encoding = ", ".join(headers.getlist("content-encoding"))
        body = await self._read(request)
        data = await _inline_if(
            len(body) <= INLINE_BYTES, wire.decompress, body, encoding, self._limits
        )
        origin = Origin(
            signal=signal,
            identity=identity,
            received_ns=self._store.clock_ns(),
            sent_ns=sent_ns,
            packed=body if data is not body and media == wire.PROTOBUF else None,
        )
        small = len(data) <= INLINE_BYTES * 4 and media == wire.PROTOBUF
        batches = await _inline_if(small, self._understand, origin, media, data)
        stored = [batch for batch in batches if batch.body or identity is not None]
        if stored:
            outcomes = await asyncio.wrap_future(self._store.submit(*stored))
            if any(outcome.full for outcome in outcomes):
                raise Refused(429, "no room for another agent or epoch", retry_after_s=300)
        rejected = sum(batch.rejected for batch in batches)
        reason = "; ".join(batch.reason for batch in batches if batch.reason)[:1000]
        return Response(wire.encode_response(signal, media, rejected, reason), media_type=media)

    def _understand(self, origin: Origin, media: str, data: bytes) -> list[Batch]:
        parsed = wire.decode(origin.signal, media, data, self._limits)
        return assemble(parsed, origin, self._limits)

    async def _read(self, request: Request) -> bytes:
        """Read the body within its size and its deadline."""
        most = self._limits.compressed_bytes
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced[:20]) > most:
            raise Refused(413, f"body is over {most} bytes")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_s):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most:
                        raise Refused(413, f"body is over {most} bytes")
                    chunks.append(chunk)
        except TimeoutError as error:
            raise Refused(408, f"body took longer than {self._limits.body_s:g} s") from error
        return b"".join(chunks)


async def _inline_if(small: bool, work: Callable[..., _T], *arguments: Any) -> _T:
    return work(*arguments) if small else await run_in_threadpool(work, *arguments)


def _refusal(refused: Refused, media: str) -> Response:
    headers = {}
    if refused.retry_after_s is not None:
        headers["retry-after"] = str(refused.retry_after_s)
    if refused.status in (408, 413):
        # The rest of the body is not waited for.
        headers["connection"] = "close"
    body = wire.encode_status(refused.status, refused.message, media)
    return Response(body, refused.status, headers, media_type=media)
