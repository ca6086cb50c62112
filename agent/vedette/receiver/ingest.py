"""Take OTLP requests over HTTP: check, understand, store, and answer only after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec
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
LARGE_AT_ONCE = 2


class Ingest:
    """The endpoint of one signal for each of the two paths; runs in the server's event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._limits = store.limits
        self._running = 0
        #: Large bodies are unpacked few at a time: 8 MiB each and what they parse into.
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

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
        origin = Origin(signal, identity, self._store.clock_ns(), sent_ns)
        attempt = partial(_attempt, self._understand, body, encoding, media, origin)
        if media == wire.PROTOBUF and self._is_small(body, encoding):
            batches = _value(attempt())
        else:
            async with self._large:
                batches = _value(await run_in_threadpool(attempt))
        stored = [batch for batch in batches if batch.body or identity is not None]
        if stored:
            outcomes = await asyncio.wrap_future(self._store.submit(*stored))
            if any(outcome.full for outcome in outcomes):
                raise Refused(429, "no room for another agent or epoch", retry_after_s=300)
        rejected = sum(batch.rejected for batch in batches)
        reason = "; ".join(batch.reason for batch in batches if batch.reason)[:1000]
        return Response(wire.encode_response(signal, media, rejected, reason), media_type=media)

    def _is_small(self, body: bytes, encoding: str) -> bool:
        """Tell whether a body is quickly worked on; one that lies about that is refused later."""
        announced = wire.announced_size(body, encoding)
        return len(body) <= INLINE_BYTES and announced <= self._limits.scan_above_bytes

    def _understand(self, body: bytes, encoding: str, media: str, origin: Origin) -> list[Batch]:
        data = wire.decompress(body, encoding, self._limits)
        if data is not body and media == wire.PROTOBUF:
            origin = msgspec.structs.replace(origin, packed=body)
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


def _value(result: _T | Refused) -> _T:
    """Return the result of an attempt, or raise its refusal."""
    if not isinstance(result, Refused):
        return result
    try:
        raise result
    finally:
        del result  # else the frame and the exception keep each other, and the request's body


def _attempt(work: Callable[..., _T], *arguments: Any) -> _T | Refused:
    """Return a refusal instead of raising it.

    A traceback keeps its frames' variables, and a thread's future the traceback: 64 refused
    requests once held 1.2 GiB of parsed messages until the next garbage collection.
    """
    try:
        return work(*arguments)
    except Refused as refused:
        return Refused(refused.status, refused.message, refused.retry_after_s)


def _refusal(refused: Refused, media: str) -> Response:
    headers = {}
    if refused.retry_after_s is not None:
        headers["retry-after"] = str(refused.retry_after_s)
    if refused.status in (408, 413):
        # The rest of the body is not waited for.
        headers["connection"] = "close"
    body = wire.encode_status(refused.status, refused.message, media)
    return Response(body, refused.status, headers, media_type=media)
