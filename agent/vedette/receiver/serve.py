"""Run the receiver as a process: address, lock, signals, deadlines on connections."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vedette.receiver.app import LOOPBACK, create_app
from vedette.receiver.limits import Limits
from vedette.receiver.schema import NAME, CannotOpen
from vedette.receiver.store import Store

log = logging.getLogger(__name__)

ALLOW_REMOTE = "VEDETTE_RECEIVER_ALLOW_REMOTE"
LOCK = "receiver.lock"
CANNOT_START = 2
#: What a request's line and headers may take together.
HEADER_BYTES = 16 * 1024
#: Requests under way get this long to end when the receiver is told to stop.
GRACE_S = 1


class CannotStart(Exception):  # noqa: N818 - told to a person as it is
    """The receiver cannot run; the text says why and what to do."""


def run(listen: str, state_dir: Path, cap_bytes: int) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    0 after a clean end, 2 with a sentence on standard error when it could not start. Prints one
    line with the page's address once it accepts connections. For a process's main thread only:
    it takes the signals and the umask.
    """
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=logging.INFO, format="time=%(asctime)s level=%(levelname)s %(message)s"
        )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    umask = os.umask(0o077)
    try:
        host, port = parse_listen(listen, allow_remote=os.environ.get(ALLOW_REMOTE) == "1")
        with contextlib.ExitStack() as stack:
            stack.enter_context(_locked(state_dir))
            sock = stack.enter_context(_bound(host, port))
            store = Store(state_dir / NAME, cap_bytes=cap_bytes)
            stack.callback(store.close)
            _serve(store, sock, host)
    except (CannotStart, CannotOpen) as problem:
        sys.stderr.write(f"vedette receive: {problem}\n")
        return CANNOT_START
    finally:
        os.umask(umask)
    log.info("receiver=stopped")
    return 0


def parse_listen(listen: str, *, allow_remote: bool) -> tuple[str, int]:
    """Return (host, port) of ``host:port`` or ``[v6]:port``; raises ``CannotStart``."""
    host, colon, port = listen.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or (":" in host) != bracketed:
        raise CannotStart(f"cannot listen on {listen!r}: expected an address like 127.0.0.1:4319")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise CannotStart(f"cannot listen on {listen!r}: {port!r} is not a port (0 to 65535)")
    if not allow_remote and not _is_loopback(host):
        raise CannotStart(
            f"refusing to listen on {host}: other hosts could reach it, and the receiver asks "
            f"nobody for credentials yet. Use 127.0.0.1, or set {ALLOW_REMOTE}=1 where the network "
            "itself keeps strangers out"
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK


@contextlib.contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Hold the state directory, made when missing, for this process alone."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise CannotStart(f"cannot use {state_dir}: {problem.strerror}") from problem
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            pid = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            raise CannotStart(
                f"another receiver (pid {pid}) uses {state_dir}: stop it, or give another directory"
            ) from problem
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.create_server(address[:2], family=family, backlog=512)
    except OSError as problem:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise CannotStart(
            f"cannot listen on {where}: {problem.strerror or problem}. Another program may use the "
            "port: see ss -ltnp, or give another one"
        ) from problem
    with sock:
        yield sock


def _serve(store: Store, sock: socket.socket, host: str) -> None:
    limits = store.limits
    config = uvicorn.Config(
        create_app(store, hosts=[host], any_address=not _is_loopback(host)),
        http=_protocol(limits),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=limits.idle_s,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )
    port = sock.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    server = Server(config, f"http://{shown}:{port}/")
    log.info(
        "receiver=starting listen=%s:%d database=%s cap_bytes=%d",
        shown,
        port,
        store.path,
        store.cap_bytes,
    )
    server.run(sockets=[sock])


class Server(uvicorn.Server):
    """A uvicorn server that says where it is, and ends without repeating the signal it got."""

    def __init__(self, config: uvicorn.Config, page: str) -> None:
        super().__init__(config)
        self._page = page

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then print the address."""
        await super().startup(sockets=sockets)
        sys.stdout.write(f"Vedette receiver: {self._page}\n")
        sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT while serving."""
        before = {
            number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.should_exit = True


def _protocol(limits: Limits) -> type[H11Protocol]:
    return type("Deadlined", (DeadlineProtocol,), {"header_s": limits.header_s})


class DeadlineProtocol(H11Protocol):
    """HTTP/1.1 that gives a sender ``header_s`` seconds from first byte to the end of its headers.

    uvicorn bounds only the pause between requests, so a drip of header bytes would hold a
    connection for ever.
    """

    header_s = 5.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock with the connection: one that says nothing goes too."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Start the clock at the first byte of a request, stop it at the end of its headers."""
        if self._timer is None and self._between_requests():
            self._start()
        super().data_received(data)
        if not self._between_requests():
            self._cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._cancel()
        super().connection_lost(exc)

    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _start(self) -> None:
        self._timer = self.loop.call_later(self.header_s, self._expired)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self._timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
