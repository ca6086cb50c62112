"""Speak HTTP over a connection whose every wait ends with the fetch it belongs to.

``http.client`` reads and writes through something like a socket; this one sets what is left of the
fetch's time before each wait, and counts what came. TLS and its handshake are under the same clock.
Name resolution is not: the resolver has limits of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Literal

_BUFFER = 64 * 1024
_HEAD_MAX = 256 * 1024  # of status and header lines, chunk sizes, trailers

#: Why there is no page, from a fixed set.
Trouble = Literal[
    "dns",
    "connect",
    "timeout",
    "tls",
    "credentials",
    "status",
    "redirect",
    "too large",
    "not metrics",
    "protocol",
]


class NoPage(Exception):  # noqa: N818 - a state of the server, not an error here
    """Say in one line why there is no page; ``trouble`` is of a fixed set, ``status`` HTTP's."""

    def __init__(self, trouble: Trouble, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.status = status


class Clock:
    """The time left of one fetch, and the bytes it took."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.bytes = 0

    def left(self) -> float:
        """Return the seconds left; raises ``TimeoutError`` when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Stream(io.RawIOBase):
    """Read from a socket, each time within what is left of the fetch, and up to a limit in all."""

    def __init__(
        self, connection: Connection, sock: socket.socket, done: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._sock = sock
        self._done = done

    def close(self) -> None:
        """Let the socket know; safe twice."""
        if not self.closed:
            super().close()
            self._done()

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there; raises ``TimeoutError`` and ``NoPage``."""
        clock = self._connection.clock
        self._sock.settimeout(clock.left())
        count = self._sock.recv_into(buffer)
        clock.bytes += count
        if clock.bytes > self._connection.wire_max:
            raise NoPage("too large", f"over {self._connection.bytes_max} bytes")
        return count


class _Socket:
    """What ``http.client`` needs of a socket."""

    def __init__(self, connection: Connection, sock: socket.socket) -> None:
        self._connection = connection
        self._sock = sock
        self._reading = 0
        self._closed = False

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the reader of an answer."""
        self._reading += 1
        stream = _Stream(self._connection, self._sock, self.read_to_the_end)
        return io.BufferedReader(stream, _BUFFER)

    def sendall(self, data: Any) -> None:
        """Send within what is left of the fetch."""
        self._sock.settimeout(self._connection.clock.left())
        self._sock.sendall(data)

    def close(self) -> None:
        """Close when the answer that is being read is: ``http.client`` calls this before."""
        self._closed = True
        if not self._reading:
            self._sock.close()

    def read_to_the_end(self) -> None:
        """Hear that an answer is read."""
        self._reading -= 1
        if self._closed and not self._reading:
            self._sock.close()


class Connection(http.client.HTTPConnection):
    """A connection whose every wait ends with the fetch."""

    def __init__(
        self,
        *,
        host: str,
        port: int | None,
        path: str,
        context: ssl.SSLContext | None,
        server_name: str,
        bytes_max: int,
        clock: Clock,
    ) -> None:
        """``path`` is that of a unix socket, or empty; without a ``context`` it is plain HTTP."""
        default = 443 if context is not None else 80
        super().__init__(host, port or default)
        self.default_port = default  # so that Host names the port where it must
        self.auto_open = 0
        self.clock = clock
        self.bytes_max = bytes_max
        self.wire_max = bytes_max + bytes_max // 8 + _HEAD_MAX
        self._path = path
        self._context = context
        self._server_name = server_name or host
        self._raw: socket.socket | None = None

    def connect(self) -> None:
        """Connect; raises ``OSError`` and ``TimeoutError``."""
        sock = self._open()
        try:
            if self._context is not None:
                sock.settimeout(self.clock.left())
                sock = self._context.wrap_socket(sock, server_hostname=self._server_name)
        except BaseException:
            sock.close()
            raise
        self._raw = sock
        self.sock = _Socket(self, sock)

    def stale(self) -> bool:
        """Say whether the other side closed, or said something unasked, since the last answer."""
        if self._raw is None or self.sock is None:
            return True
        poll = select.poll()
        poll.register(self._raw, select.POLLIN)
        return bool(poll.poll(0))

    def cut(self) -> None:
        """Close at once, whatever is still to be read."""
        self.close()
        if self._raw is not None:
            with contextlib.suppress(OSError):
                self._raw.close()

    def _open(self) -> socket.socket:
        if self._path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            return self._reach(sock, self._path)
        last: OSError = OSError("no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM
        ):
            try:
                sock = self._reach(socket.socket(family, kind, protocol), address)
            except TimeoutError:
                raise
            except OSError as error:
                last = error
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        raise last

    def _reach(self, sock: socket.socket, address: Any) -> socket.socket:
        try:
            sock.settimeout(self.clock.left())
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock
