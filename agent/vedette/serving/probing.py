"""Send one small request to a model, in bounded time and of bounded size, and judge the answer.

The deadline is for everything after name resolution, so a server that drips is cut like one that
hangs (``exposition.wire``). A request asks for one token. Redirects are not followed. What went
wrong is a word of a fixed set; neither the answer nor the credential is ever in it.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec

from vedette._version import __version__
from vedette.api import Secret, Unavailable
from vedette.exposition.wire import Clock, Connection, NoPage

Kind = Literal["openai-completion", "openai-chat", "v2-infer", "ollama", "http"]

#: The answer to one token is some hundred bytes; embeddings and tensors are larger.
BYTES_MAX = 4 << 20
#: So that operators find these requests in their logs.
AGENT = f"vedette-probe/{__version__} (synthetic request)"
PROMPT = "Hi"
_PIECE = 1 << 16
#: Values of a tensor that are sent at most; a model that wants more needs a ``body``.
VALUES_MAX = 1 << 18
_PATHS: dict[str, str] = {
    "openai-completion": "/v1/completions",
    "openai-chat": "/v1/chat/completions",
    "ollama": "/api/generate",
    "http": "/",
}


class Request(msgspec.Struct, frozen=True):
    """What is asked of which model; empty ``path`` and ``body`` are those of its kind."""

    base: str
    kind: Kind
    model: str = ""
    path: str = ""
    body: str = ""
    expect: str = ""
    timeout_s: float = 10.0
    token: Secret | None = None
    ca_file: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """How it went: ``reason`` is empty when it was answered, ``status`` HTTP's, 0 without one."""

    reason: str
    seconds: float
    status: int = 0


def send(request: Request) -> Outcome:
    """Send it and say how it went."""
    clock = Clock(time.monotonic() + request.timeout_s)
    began = time.monotonic()
    try:
        reason, status = _judged(request, clock)
    except NoPage as error:
        status = error.status
        reason = _of_status(status) if status else error.trouble.replace(" ", "_")
    except TimeoutError:
        reason, status = "timeout", 0
    except NoInputs:
        reason, status = "inputs", 0
    except socket.gaierror:
        reason, status = "dns", 0
    except ssl.SSLError:
        reason, status = "tls", 0
    except Unavailable:
        reason, status = "credentials", 0
    except (http.client.HTTPException, ValueError):
        reason, status = "protocol", 0
    except OSError:
        reason, status = "connect", 0
    return Outcome(reason, time.monotonic() - began, status)


def _judged(request: Request, clock: Clock) -> tuple[str, int]:
    body = request.body.encode() or _body(request, clock)
    path = request.path or _path(request)
    status, answer = _ask(request, path, body, clock)
    if status != 200:
        return _of_status(status), status
    if request.kind != "http" and not _is_answer(request.kind, answer):
        return "answer", status
    if request.expect and not re.search(request.expect, answer.decode("utf-8", "replace")):
        return "expect", status
    return "", status


def _of_status(status: int) -> str:
    return "credentials" if status in (401, 403) else f"{status // 100}xx"


def _path(request: Request) -> str:
    if request.kind == "v2-infer":
        return f"/v2/models/{quote(request.model, safe='')}/infer"
    return _PATHS[request.kind]


def _body(request: Request, clock: Clock) -> bytes:
    match request.kind:
        case "openai-completion":
            asked = {"model": request.model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0}
        case "openai-chat":
            turn = {"role": "user", "content": PROMPT}
            asked = {"model": request.model, "messages": [turn], "max_tokens": 1, "temperature": 0}
        case "ollama":
            limits = {"num_predict": 1, "temperature": 0}
            asked = {"model": request.model, "prompt": PROMPT, "stream": False, "options": limits}
        case "v2-infer":
            asked = _tensors(request, clock)
        case "http":
            return b""
    return msgspec.json.encode(asked)


class NoInputs(Exception):  # noqa: N818 - a state of the model
    """It does not say what its inputs are, or they are too large to be made up."""


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class _Metadata(msgspec.Struct):
    inputs: list[_Tensor]


def _tensors(request: Request, clock: Clock) -> dict[str, Any]:
    """Return inputs of zeros in the shapes that the model asks for; raises as ``_ask``."""
    path = f"/v2/models/{quote(request.model, safe='')}"
    status, answer = _ask(request, path, b"", clock)
    if status != 200:
        raise NoPage("status", "no metadata of the model", status)
    try:
        wanted = msgspec.json.decode(answer, type=_Metadata).inputs
    except msgspec.MsgspecError:
        raise NoInputs from None
    inputs = []
    for one in wanted:
        shape = [1 if size < 0 else size for size in one.shape] or [1]
        count = 1
        for size in shape:
            count *= size
        if count > VALUES_MAX:
            raise NoInputs
        zero: Any = {"BYTES": "", "BOOL": False}.get(one.datatype, 0)
        tensor = {
            "name": one.name,
            "datatype": one.datatype,
            "shape": shape,
            "data": [zero] * count,
        }
        inputs.append(tensor)
    if not inputs:
        raise NoInputs
    return {"inputs": inputs}


def _ask(request: Request, path: str, body: bytes, clock: Clock) -> tuple[int, bytes]:
    """Return status and body of one answer; raises ``OSError``, ``NoPage`` and HTTP's errors."""
    parts = urlsplit(request.base)
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=request.ca_file or None)
    connection = Connection(
        host=parts.hostname or "",
        port=parts.port,
        path="",
        context=context,
        server_name="",
        bytes_max=BYTES_MAX,
        clock=clock,
    )
    try:
        connection.connect()
        target = parts.path.rstrip("/") + path
        connection.request("POST" if body else "GET", target, body or None, _headers(request, body))
        response = connection.getresponse()
        found = bytearray()
        while piece := response.read(_PIECE):
            found += piece
            if len(found) > BYTES_MAX:
                raise NoPage("too large", f"over {BYTES_MAX} bytes")
        return response.status, bytes(found)
    finally:
        connection.cut()


def _headers(request: Request, body: bytes) -> Mapping[str, str]:
    headers = {"User-Agent": AGENT, "Accept": "application/json, */*;q=0.1", "Connection": "close"}
    if body:
        headers["Content-Type"] = "application/json"
    if request.token is not None:
        token = request.token.reveal()
        if not token.isascii() or not token.isprintable():
            raise Unavailable("the token has characters that no header can have")
        headers["Authorization"] = f"Bearer {token}"
    return headers


class _Said(msgspec.Struct):
    """What answers have: choices of OpenAI's, outputs of the v2 protocol, Ollama's ``done``."""

    choices: list[Any] = []
    outputs: list[Any] = []
    done: bool = False


def _is_answer(kind: Kind, answer: bytes) -> bool:
    try:
        said = msgspec.json.decode(answer, type=_Said)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return {"v2-infer": bool(said.outputs), "ollama": said.done}.get(kind, bool(said.choices))
