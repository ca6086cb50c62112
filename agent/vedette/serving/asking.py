"""Ask an info endpoint of a model server: one GET, bounded in time and size, JSON or nothing."""

from __future__ import annotations

import http.client
import time
from urllib.parse import urlsplit

import msgspec

from vedette.serving.recognise import Info

BYTES_MAX = 2 << 20
_PIECE = 1 << 16


def ask(base: str, path: str, timeout_s: float = 2.0) -> Info | None:
    """Return what a server of this host says at a path; None for no answer, or no JSON.

    ``base`` is ``http://127.0.0.1:8000``. The limit is for all of it, not for each byte.
    """
    parts = urlsplit(base)
    deadline = time.monotonic() + timeout_s
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            return None
        body = bytearray()
        while piece := response.read1(_PIECE):
            body += piece
            left_s = deadline - time.monotonic()
            if len(body) > BYTES_MAX or left_s <= 0:
                return None
            if connection.sock is not None:
                connection.sock.settimeout(left_s)
        return Info(path, msgspec.json.decode(bytes(body)))
    except (OSError, http.client.HTTPException, msgspec.MsgspecError, UnicodeError, ValueError):
        return None
    finally:
        connection.close()
