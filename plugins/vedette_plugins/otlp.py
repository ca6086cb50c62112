"""Send batches to any OTLP/HTTP endpoint, or to ``vedette receive``.

What becomes of a batch by the answer is decided in ``_otlp_answer``.

The time limit is for the whole attempt: a timer cuts the connection, because a timeout per read
lets a server that drips bytes go on for ever. Only name resolution is outside of it (the resolver
has its own limits). Answers are asked for uncompressed and read up to 4 MiB.

Proxies are taken from the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), except for an endpoint
on this host.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from vedette.api import (
    Duration,
    Output,
    Secret,
    SendResult,
    Shipment,
    Unavailable,
    hookimpl,
)
from vedette_plugins._otlp_answer import Answer, Judge

if TYPE_CHECKING:
    import httpx

ANSWER_MAX = 4 * 1024 * 1024
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    }
)


class OtlpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to send, and how to prove who is sending."""

    endpoint: Annotated[
        str, Meta(description="Base address; /v1/metrics and /v1/logs are appended.")
    ] = "http://127.0.0.1:4319"
    token: Annotated[
        Secret | None,
        Meta(description="Sent as Authorization: Bearer; read anew at each attempt."),
    ] = None
    headers: Annotated[
        dict[str, str], Meta(description="More request headers; not for secrets.")
    ] = {}
    timeout: Annotated[Duration, Meta(description="For the whole attempt, 1 s to 5 min.")] = (
        Duration(10.0)
    )
    ca_file: Annotated[
        str, Meta(description="Certificates to trust (PEM) instead of the system's.")
    ] = ""
    insecure: Annotated[
        bool, Meta(description="Allow http, unencrypted, to another host than this one.")
    ] = False

    def __post_init__(self) -> None:
        parts = _endpoint(self.endpoint)
        if parts.scheme == "http" and not (self.insecure or _is_this_host(parts.hostname or "")):
            raise ValueError(
                f"endpoint {self.endpoint!r} is http and not on this host: what is sent could be "
                "read on the way. Use https, or set insecure = true"
            )
        if self.ca_file and parts.scheme == "http":
            raise ValueError("ca_file is for an https endpoint")
        if not 1 <= self.timeout <= 300:
            raise ValueError(f"timeout must be 1 s to 5 min, got {self.timeout:g} s")
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
                raise ValueError(f"header {name!r} is not a valid header")
            lower = name.lower()
            if lower in _OWN_HEADERS or lower.startswith("vedette-"):
                raise ValueError(f"header {name!r} is set by the output itself")
            if lower == "authorization" and self.token is not None:
                raise ValueError("give either token or an Authorization header, not both")


class Otlp(Output):
    """OTLP over HTTP, protobuf and gzip, one request per batch."""

    name = "otlp"
    Config = OtlpConfig

    def __init__(self, config: OtlpConfig) -> None:
        super().__init__(config)
        self.config: OtlpConfig = config
        self.clock_ns: Callable[[], int] = time.time_ns
        self._client: httpx.Client | None = None
        self._stream: Any = None  # of the newest connection, to be cut at the deadline
        self._judge = Judge()

    @property
    def rejected(self) -> int:
        """Points and records the server said it did not take although it took the request."""
        return self._judge.rejected

    def send(self, shipment: Shipment) -> SendResult:
        """Try once, within ``timeout``."""
        try:
            headers = self._headers(shipment)
            client = self._connected_client()
        except Unavailable as error:
            return self._judge.slowly(str(error))
        except OSError as error:
            return self._judge.slowly(f"ca_file: {error.strerror or 'not certificates'}")
        deadline = _Deadline(self, self.config.timeout)
        try:
            answer = self._post(client, shipment, headers, deadline)
        except Exception as error:
            reason = _no_answer(error)
            if reason is None:
                raise
            if reason.startswith("tls"):
                self.close()  # so that a renewed ca_file is read
            return SendResult("retry", "timeout" if deadline.expired else reason)
        finally:
            deadline.cancel()
        if deadline.expired:  # an answer without a length looks complete when it is cut
            return SendResult("retry", "timeout")
        return self._judge.judge(shipment, answer, self.clock_ns())

    def close(self) -> None:
        """Let go of connections; safe twice."""
        client, self._client, self._stream = self._client, None, None
        if client is not None:
            client.close()

    def use(self, stream: Any) -> None:
        """Remember the connection in use."""
        self._stream = stream

    def cut(self) -> None:
        """Break the connection in use; called by another thread when the time is up."""
        stream = self._stream
        sock = stream.get_extra_info("socket") if stream is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which would take the session from under the reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    # ------------------------------------------------------------ request

    def _headers(self, shipment: Shipment) -> dict[str, str]:
        headers = dict(self.config.headers)
        headers["Content-Type"] = "application/x-protobuf"
        headers["Content-Encoding"] = "gzip"
        headers["Vedette-Batch"] = f"{shipment.agent}/{shipment.epoch}/{shipment.sequence}"
        headers["Vedette-Sent-At"] = str(self.clock_ns())
        if self.config.token is not None:
            token = self.config.token.reveal()
            if not token or not token.isascii() or not token.isprintable():
                raise Unavailable("token is not a line of printable ASCII")
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _connected_client(self) -> httpx.Client:
        if self._client is None:
            httpx = import_httpx()
            parts = urlsplit(self.config.endpoint)
            local = _is_this_host(parts.hostname or "")
            verify: ssl.SSLContext | bool = False  # plain http on this host: no certificates
            if parts.scheme == "https" or not local:
                verify = ssl.create_default_context(cafile=self.config.ca_file or None)
            self._client = httpx.Client(
                verify=verify,
                trust_env=not local,
                follow_redirects=False,
                # Half for connecting, which is tried per address of the host.
                timeout=httpx.Timeout(self.config.timeout, connect=self.config.timeout / 2),
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
                headers={"User-Agent": "vedette", "Accept-Encoding": "identity"},
            )
        return self._client

    def _post(
        self,
        client: httpx.Client,
        shipment: Shipment,
        headers: Mapping[str, str],
        deadline: _Deadline,
    ) -> Answer:
        with client.stream(
            "POST",
            f"{self.config.endpoint.rstrip('/')}/v1/{shipment.signal}",
            content=shipment.body,
            headers=headers,
            extensions={"trace": deadline.trace},
        ) as response:
            body: bytes | None = b""
            if _declared_length(response) > ANSWER_MAX:
                body = None
            else:
                chunks = []
                size = 0
                for chunk in response.iter_raw():
                    size += len(chunk)
                    if size > ANSWER_MAX:
                        break
                    chunks.append(chunk)
                body = None if size > ANSWER_MAX else b"".join(chunks)
            if body and response.headers.get("content-encoding", "").lower() == "gzip":
                body = _gunzip(body)
            return Answer(
                response.status_code,
                response.headers.get("content-type", "").split(";")[0].strip().lower(),
                response.headers.get("retry-after", ""),
                body,
            )


@hookimpl
def register_outputs() -> list[type[Output]]:
    """Register the output."""
    return [Otlp]


def import_httpx() -> Any:
    """Import httpx without its command line, which would load click, rich and pygments."""
    blocked = "httpx._main"
    modules: dict[str, Any] = sys.modules
    if "httpx" not in modules:
        modules[blocked] = None  # makes the import statement in httpx fail, which it expects
    try:
        import httpx
    finally:
        if modules.get(blocked, httpx) is None:
            del modules[blocked]
    return httpx


class _Deadline:
    """Cut the output's connection when the attempt's time is up."""

    def __init__(self, output: Otlp, timeout_s: float) -> None:
        self.expired = False
        self._output = output
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Hear from the HTTP library which connection is in use."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._output.use(info["return_value"])
            if self.expired:
                self._output.cut()

    def cancel(self) -> None:
        """Stop the clock."""
        self._timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        self._output.cut()


def _endpoint(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"endpoint {text!r} is not an address such as https://host:4318")
    if parts.username is not None or parts.password is not None:
        raise ValueError("endpoint carries a user name or password; use token")
    if parts.query or parts.fragment:
        raise ValueError(f"endpoint {text!r} must not have a query or fragment")
    if parts.path.rstrip("/").endswith(("/v1/metrics", "/v1/logs")):
        raise ValueError(f"endpoint {text!r} must not end in /v1/metrics or /v1/logs")
    return parts


def _is_this_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _declared_length(response: httpx.Response) -> int:
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _gunzip(body: bytes) -> bytes | None:
    """Decompress an answer nobody asked to be compressed, within the bound."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        plain = inflate.decompress(body, ANSWER_MAX)
    except zlib.error:
        return body
    return None if inflate.unconsumed_tail else plain


def _no_answer(error: BaseException) -> str | None:
    """Return why a request got no answer, in a few words; None for an error that is a bug."""
    import httpx

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"tls: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"tls: {(cause.reason or 'failed').lower().replace('_', ' ')}"
        if isinstance(cause, socket.gaierror):
            return "dns"
        if isinstance(cause, OSError) and (name := errno.errorcode.get(cause.errno or 0)):
            return f"network {name}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "timeout"
    if isinstance(error, httpx.NetworkError | httpx.ProxyError | OSError):
        return "network"
    if isinstance(error, httpx.HTTPError | httpx.StreamError):
        return "not an HTTP answer"
    return None
