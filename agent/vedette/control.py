"""Answer questions about the running agent on a Unix socket, and ask them.

One JSON object per line: a request ``{"verb": ..., ...}``, one answer ``{"ok": true, ...}`` or
``{"ok": false, "error": ...}``, then the connection is closed. The socket lies in the state
directory with mode 0600 and answers root and the agent's own user only. One thread serves every
connection, so no client can make the agent grow, and a slow one delays nobody.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from vedette.paths import CONTROL_SOCKET

__all__ = [
    "ANSWER_MAX",
    "CONNECTIONS_MAX",
    "REQUEST_MAX",
    "ControlError",
    "ControlServer",
    "Handler",
    "NotRunning",
    "call",
]

REQUEST_MAX = 64 * 1024
ANSWER_MAX = 32 * 1024 * 1024
CONNECTIONS_MAX = 8
#: sizeof(sockaddr_un.sun_path) on Linux, with the closing zero.
PATH_MAX = 108

log = logging.getLogger(__name__)

#: Takes the request (with its ``verb``), returns the answer without ``ok``. Runs in the server's
#: thread and returns promptly; what it raises becomes an error answer.
Handler = Callable[[dict[str, Any]], Mapping[str, Any]]


class ControlError(Exception):
    """The question could not be asked or answered; ``remedy`` says what to do, or is empty."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy


class NotRunning(ControlError):  # noqa: N818 - a state of the world, not an error
    """No agent listens in that state directory."""


def call(state_dir: Path, verb: str, timeout_s: float = 5.0, **arguments: Any) -> dict[str, Any]:
    """Ask the agent of a state directory; return its answer without ``ok``.

    Raises ``NotRunning`` when no agent listens there and ``ControlError`` for everything else:
    no permission, no answer in time, an error answer.
    """
    request = msgspec.json.encode({"verb": verb, **arguments}) + b"\n"
    if len(request) > REQUEST_MAX:
        raise ControlError(f"the request {verb!r} is longer than {REQUEST_MAX} bytes")
    deadline = time.monotonic() + timeout_s
    with _connected(state_dir, deadline, timeout_s) as connection:
        try:
            connection.sendall(request)
            line = _read_line(connection, deadline)
        except TimeoutError:
            raise _silent(state_dir, timeout_s) from None
        except OSError as error:
            raise ControlError(
                f"the agent in {state_dir} closed the connection ({error.strerror})",
                "Its log says why.",
            ) from error
    return _understood(line, state_dir)


class ControlServer:
    """Serve the control socket of one state directory; ``handlers`` maps a verb to its answer."""

    def __init__(
        self, state_dir: Path, handlers: Mapping[str, Handler], *, timeout_s: float = 5.0
    ) -> None:
        self.path = state_dir / CONTROL_SOCKET
        self.requests = 0
        self.refused = 0
        self._state_dir = state_dir
        self._handlers = dict(handlers)
        self._timeout_s = timeout_s
        self._selector: selectors.BaseSelector | None = None
        self._listener: socket.socket | None = None
        self._identity: tuple[int, int] | None = None
        self._wake_read = self._wake_write = -1
        self._thread: threading.Thread | None = None
        self._connections: dict[socket.socket, _Connection] = {}

    def start(self) -> None:
        """Listen and return; raises ``ControlError`` when another agent listens there already."""
        self._listener = _listen(self._state_dir)
        found = os.stat(self.path)
        self._identity = (found.st_dev, found.st_ino)
        self._wake_read, self._wake_write = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Close everything and remove the socket; safe twice and without ``start``."""
        if self._thread is None or self._selector is None or self._listener is None:
            return
        os.write(self._wake_write, b"x")
        self._thread.join(timeout_s)
        if self._thread.is_alive():  # a handler hangs; the thread is a daemon and owns its files
            log.warning("control=stuck timeout_s=%s", timeout_s)
        else:
            for connection in list(self._connections):
                self._close(connection)
            self._selector.close()
            self._listener.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
        self._thread = None
        with contextlib.suppress(OSError):  # another agent may have taken the place meanwhile
            found = os.stat(self.path)
            if (found.st_dev, found.st_ino) == self._identity:
                self.path.unlink()

    # ------------------------------------------------------------ the serving thread

    def _serve(self) -> None:
        assert self._selector is not None  # noqa: S101 - start() made it
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fd == self._wake_read:
                    return
                if key.fileobj is self._listener:
                    self._accept(self._listener)
                else:
                    self._advance(key.data)
            self._expire()

    def _patience(self) -> float | None:
        """Return the seconds until the first deadline; None (no wake-ups at all) when idle."""
        if not self._connections:
            return None
        first = min(connection.deadline for connection in self._connections.values())
        return max(0.0, first - time.monotonic())

    def _accept(self, listener: socket.socket) -> None:
        assert self._selector is not None  # noqa: S101
        try:
            peer, _ = listener.accept()
        except OSError as error:
            self.refused += 1
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                time.sleep(0.1)  # it stays acceptable: without a pause this thread would spin
            return
        if _peer_uid(peer) not in (0, os.geteuid()):
            self.refused += 1
            peer.close()
            return
        peer.setblocking(False)
        connection = _Connection(peer, time.monotonic() + self._timeout_s)
        self._connections[peer] = connection
        self._selector.register(peer, selectors.EVENT_READ, connection)
        if len(self._connections) >= CONNECTIONS_MAX:  # the rest wait in the kernel's backlog
            self._selector.unregister(listener)

    def _advance(self, connection: _Connection) -> None:
        assert self._selector is not None  # noqa: S101
        try:
            if connection.answer is None:
                if not connection.receive():
                    return
                connection.answer = memoryview(self._answer(connection.line()))
                connection.deadline = time.monotonic() + self._timeout_s
                self._selector.modify(connection.peer, selectors.EVENT_WRITE, connection)
            if connection.send():
                self._close(connection.peer)
        except BlockingIOError:
            return
        except OSError:  # the client is gone; nobody is left to tell
            self._close(connection.peer)

    def _answer(self, line: bytes) -> bytes:
        self.requests += 1
        try:
            answer = {"ok": True, **self._handle(line)}
            encoded = msgspec.json.encode(answer)
            if len(encoded) > ANSWER_MAX:
                raise ControlError(f"the answer is longer than {ANSWER_MAX} bytes")  # noqa: TRY301
        except ControlError as error:
            encoded = msgspec.json.encode({"ok": False, "error": str(error)})
        except Exception as error:  # the border: no question may end the agent
            log.exception("control=failed error=%s", type(error).__name__)
            text = f"internal error ({type(error).__name__}); the agent's log has the details"
            encoded = msgspec.json.encode({"ok": False, "error": text})
        return encoded + b"\n"

    def _handle(self, line: bytes) -> Mapping[str, Any]:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise ControlError("the request is not one line with a JSON object") from None
        verb = request.get("verb")
        handler = self._handlers.get(verb) if isinstance(verb, str) else None
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            raise ControlError(f"unknown verb {str(verb)[:40]!r}; known are: {known}")
        return handler(request)

    def _expire(self) -> None:
        now = time.monotonic()
        for peer, connection in list(self._connections.items()):
            if connection.deadline <= now:
                self.refused += 1
                self._close(peer)

    def _close(self, peer: socket.socket) -> None:
        assert self._selector is not None  # noqa: S101
        if self._connections.pop(peer, None) is None:
            return
        self._selector.unregister(peer)
        peer.close()
        if len(self._connections) == CONNECTIONS_MAX - 1 and self._listener is not None:
            self._selector.register(self._listener, selectors.EVENT_READ)


class _Connection:
    """One request on its way in, then one answer on its way out."""

    __slots__ = ("answer", "deadline", "peer", "received")

    def __init__(self, peer: socket.socket, deadline: float) -> None:
        self.peer = peer
        self.deadline = deadline
        self.received = bytearray()
        self.answer: memoryview | None = None

    def receive(self) -> bool:
        """Read what is there; return whether the line is complete (or hopeless)."""
        chunk = self.peer.recv(REQUEST_MAX)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "closed before the line ended")
        self.received += chunk
        return b"\n" in chunk or len(self.received) > REQUEST_MAX

    def line(self) -> bytes:
        """Return the request; empty, which no request is, when it is too long."""
        line, newline, _ = self.received.partition(b"\n")
        return bytes(line) if newline and len(line) < REQUEST_MAX else b""

    def send(self) -> bool:
        """Write what fits; return whether all is written."""
        assert self.answer is not None  # noqa: S101 - _advance() made it
        self.answer = self.answer[self.peer.send(self.answer) :]
        return not self.answer


# ---------------------------------------------------------------- the socket's place


@contextlib.contextmanager
def _address(state_dir: Path) -> Iterator[str]:
    """Yield a path of the socket that fits into a ``sockaddr_un``.

    A longer path is reached through an open descriptor of its directory, which names the very
    same file, so that nobody has to know where a substitute might lie.
    """
    path = str(state_dir / CONTROL_SOCKET)
    if len(os.fsencode(path)) < PATH_MAX:
        yield path
        return
    directory = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{CONTROL_SOCKET}"
    finally:
        os.close(directory)


def _listen(state_dir: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _address(state_dir) as address:
            _remove_stale(address, state_dir)
            # On Linux the socket's own mode is what bind() creates, so it is never wider,
            # not even for a moment, and the process's umask stays untouched.
            os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)
            listener.bind(address)
        listener.listen(CONNECTIONS_MAX)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ControlError(
            f"cannot listen on {state_dir / CONTROL_SOCKET}: {error.strerror}",
            "Check the owner and the mode of the state directory.",
        ) from error
    except ControlError:
        listener.close()
        raise
    return listener


def _remove_stale(address: str, state_dir: Path) -> None:
    """Remove the socket of an agent that is gone; raises ``ControlError`` when one listens."""
    try:
        mode = os.lstat(address).st_mode
    except FileNotFoundError:
        return
    place = state_dir / CONTROL_SOCKET
    if not stat.S_ISSOCK(mode):
        raise ControlError(f"{place} is in the way: not a socket", "Move it away.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            Path(address).unlink()
            return
        except BlockingIOError:  # its backlog is full: very much alive
            pass
    raise ControlError(
        f"another agent runs with the state directory {state_dir}",
        "Stop it first, or give this one another --state-dir.",
    )


def _peer_uid(peer: socket.socket) -> int:
    """Return the user id at the other end, as the kernel knows it (``struct ucred``)."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


# ---------------------------------------------------------------- the asking side


@contextlib.contextmanager
def _connected(state_dir: Path, deadline: float, timeout_s: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            with _address(state_dir) as address:
                _connect(connection, address, deadline)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise NotRunning(
                f"no agent is running with the state directory {state_dir}",
                "Start one with `vedette run`, or name its directory with --state-dir.",
            ) from None
        except PermissionError:
            raise ControlError(
                f"no permission to speak to the agent in {state_dir}",
                "Ask as root, or as the user that runs the agent.",
            ) from None
        except TimeoutError:
            raise _silent(state_dir, timeout_s) from None
        except OSError as error:
            raise ControlError(
                f"cannot reach the agent in {state_dir}: {error.strerror}"
            ) from error
        yield connection


def _connect(connection: socket.socket, address: str, deadline: float) -> None:
    """Connect; a full backlog (EAGAIN, which a Unix socket cannot be selected for) is retried."""
    while True:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            connection.connect(address)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError from None
            time.sleep(0.05)
        else:
            return


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = connection.recv(1 << 18)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "no answer")
        received += chunk
        if len(received) > ANSWER_MAX + 1024:
            raise ConnectionResetError(errno.EMSGSIZE, "the answer never ends")
    return bytes(received)


def _understood(line: bytes, state_dir: Path) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ControlError(f"the agent in {state_dir} gave no valid answer ({error})") from error
    if answer.pop("ok", False) is not True:
        raise ControlError(f"the agent refused: {answer.get('error', 'no reason given')}")
    return answer


def _silent(state_dir: Path, timeout_s: float) -> ControlError:
    return ControlError(
        f"the agent in {state_dir} did not answer within {timeout_s:g} s",
        "It may be starting or stuck; its log says more.",
    )
