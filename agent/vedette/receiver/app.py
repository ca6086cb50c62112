"""Put the receiver's application together: ingest, API and page behind one guard."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vedette.receiver.ingest import Ingest
from vedette.receiver.pages import STATIC, Pages, error
from vedette.receiver.store import Store

log = logging.getLogger(__name__)

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: Threads that read the database and decode bodies; each answer is short, and memory is not free.
THREADS = 4

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def create_app(
    store: Store,
    *,
    hosts: Collection[str] = (),
    any_address: bool = False,
    static: Path = STATIC,
) -> Starlette:
    """Make the application over a store, which stays its caller's to close.

    Requests must name the loopback host or one of ``hosts``; with ``any_address`` any IP address
    will do, for a receiver that listens on all of them.
    """
    ingest = Ingest(store)
    pages = Pages(store, static)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        pages.close()

    return Starlette(
        routes=[
            Route("/v1/metrics", ingest.metrics, methods=["POST"]),
            Route("/v1/logs", ingest.logs, methods=["POST"]),
            *pages.routes(),
        ],
        middleware=[
            Middleware(
                Guard,
                hosts=LOOPBACK | {name.lower() for name in hosts},
                any_address=any_address,
                deadline_s=store.limits.request_s,
            ),
            # A chart's JSON shrinks to a tenth, the page's files to a quarter.
            Middleware(GZipMiddleware, minimum_size=2048, compresslevel=4),
        ],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )


async def _http_error(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)  # noqa: S101 - registered for nothing else
    response = error(problem.detail, problem.status_code)
    response.headers.update(problem.headers or {})
    return response


class Guard:
    """Refuse foreign Host headers, add the security headers, bound the time, contain failures.

    A page of another site can make a browser send requests here under a name that was rebound to
    this address; such a request names that site in its Host header.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str], any_address: bool, deadline_s: float
    ) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._any_address = any_address
        self._deadline_s = deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                cache = "no-cache" if _is_file(scope["path"]) else "no-store"
                headers.setdefault("cache-control", cache)
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if not self._allowed(host):
            refusal = error(f"host {host[:80]!r} is not served here", 403)
            await refusal(scope, receive, guarded_send)
            return
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._app(scope, receive, guarded_send)
        except Exception:
            log.exception("request=failed path=%r", scope["path"][:200])
            if started:
                raise
            await error("internal error", 500)(scope, receive, guarded_send)

    def _allowed(self, header: str) -> bool:
        name, _, port = header.rpartition(":")
        if not port.isdigit() or header.endswith("]"):
            name = header
        name = name.strip("[]").lower()
        if name in self._hosts:
            return True
        return self._any_address and _is_address(name)


def _is_file(path: str) -> bool:
    return path == "/" or path.startswith("/static/")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
