"""Ask a model server of this host one thing: bounded in time and size, JSON or nothing."""

from __future__ import annotations

import http.client
import socket
import time
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from vedette.exposition.scrape import Answer
from vedette.exposition.wire import NoPage

if TYPE_CHECKING:
    from vedette.serving.recognise import Info

BYTES_MAX = 4 << 20
_PIECE = 1 << 16

Method = Literal["GET", "POST"]


class Reply(msgspec.Struct, frozen=True):
    """What came of a question: the JSON, or ``why`` there is none; ``status`` 0: no answer."""

    status: int
    body: object = None
    why: str = ""


def ask(base: str, path: str, timeout_s: float = 2.0) -> Info | None:
    """Return what a server of this host says at a path; None for no answer, or no JSON."""
    from vedette.serving.recognise import Info

    reply = request(base, path, timeout_s=timeout_s)
    return None if reply.why else Info(path, reply.body)


def request(base: str, path: str, *, method: Method = "GET", timeout_s: float = 2.0) -> Reply:
    """Ask a server of this host; ``base`` is ``http://127.0.0.1:8000``.

    An address that is not this host's is not asked. The limit is for all of it, not for each byte.
    Redirects are not followed. A POST has an empty object for a body.
    """
    parts = urlsplit(base)
    host = parts.hostname or ""
    if not is_local(host):
        return Reply(0, why="not an address of this host")
    deadline = time.monotonic() + timeout_s
    connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    try:
        headers, body_sent = {"Accept": "application/json"}, None
        if method == "POST":
            headers["Content-Type"], body_sent = "application/json", b"{}"
        connection.request(method, path, body_sent, headers)
        response = connection.getresponse()
        if response.status != http.client.OK:
            return Reply(response.status, why=f"{response.status} {response.reason}".strip())
        body = bytearray()
        while piece := response.read1(_PIECE):
            body += piece
            left_s = deadline - time.monotonic()
            if len(body) > BYTES_MAX:
                return Reply(200, why=f"more than {BYTES_MAX >> 20} MiB")
            if left_s <= 0:
                return Reply(0, why=f"no answer within {timeout_s:g} s")
            if connection.sock is not None:
                connection.sock.settimeout(left_s)
        return Reply(200, msgspec.json.decode(bytes(body)))
    except TimeoutError:
        return Reply(0, why=f"no answer within {timeout_s:g} s")
    except OSError as error:
        return Reply(0, why=(error.strerror or "no connection").lower())
    except http.client.HTTPException:
        return Reply(0, why="its answer is no HTTP")
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return Reply(200, why="its answer is no JSON")
    finally:
        connection.close()


def alive(base: str, path: str, *, timeout_s: float = 2.0) -> Answer:
    """Ask a server without a page of metrics whether it is there. Raises ``NoPage``."""
    reply = request(base, path, timeout_s=timeout_s)
    if reply.why:
        raise NoPage("status" if reply.status else "connect", reply.why, reply.status)
    return Answer(b"", False, "application/json", 0, 0.0)


def is_local(host: str) -> bool:
    """Say whether an address is one of this host's: only such a one can be bound."""
    if host == "localhost" or host.startswith("127."):
        return True
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((host, 0))
    except (OSError, UnicodeError):
        return False
    return host not in ("", "0.0.0.0", "::")
