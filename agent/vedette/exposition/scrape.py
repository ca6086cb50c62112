"""Fetch a metrics page over HTTP, in bounded time, of bounded size, or say in a line why not.

The time limit is for everything after name resolution: each wait on the socket gets what is left of
it, so a server that drips a byte a second is cut like one that hangs. That is why this stands on
``http.client``, whose socket it can wrap: httpx limits single reads only (``otlp`` has to cut it
from another thread), and takes three times the CPU for a page of 1,000 lines
(``tests/bench/exposition_bench.py``).

Size is limited twice, on the wire and after decompression. What is not a metrics page (a login
form, JSON, an archive) is refused by its Content-Type and its first bytes. Which format it is, the
answer's Content-Type says: of sixteen model servers asked for OpenMetrics all answered text format
0.0.4, some of them as ``text/plain; version=1.0.0``.

Redirects are followed on the same scheme, host and port only, at most three. There is no proxy:
what is scraped is on this host or near it. Compression is asked for from other hosts only, since it
costs the server, often the process that serves a model, more than loopback saves.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
import time
import zlib
from base64 import b64encode
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

from vedette.api import Secret, Unavailable
from vedette.exposition.wire import Clock, Connection, NoPage

ACCEPT = (
    "application/openmetrics-text;version=1.0.0;q=0.9,"
    "text/plain;version=0.0.4;q=0.8,text/plain;q=0.5,*/*;q=0.1"
)
REDIRECTS_MAX = 3
_CHUNK = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_JSON = re.compile(rb"\s*(?:\[|\{\s*(?:\"(?:[^\"\\]|\\.){0,200}\"\s*:|\}))")
_MARKUP = re.compile(rb"\s*<")


class Target(msgspec.Struct, frozen=True):
    """Where a page is, and how to ask for it. ``problems`` says what is wrong with it."""

    url: str
    #: Path of a unix socket to connect to; the URL then gives host name and path only.
    socket: str = ""
    timeout_s: float = 5.0
    bytes_max: int = 16 * 1024 * 1024
    token: Secret | None = None
    username: str = ""
    password: Secret | None = None
    #: PEM files: who to trust instead of the system's list, and who we are.
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    #: The name the certificate must have, when it is not the host's.
    server_name: str = ""
    #: Encrypt without knowing with whom.
    any_certificate: bool = False

    def problems(self) -> list[str]:
        """Return all that is wrong, for a person; an empty list when it can be tried."""
        found = []
        try:
            parts = urlsplit(self.url)
            valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            return [f"url {self.url!r} is not an address"]
        if not valid or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            found.append(
                f"url {self.url!r} is not an address such as http://127.0.0.1:8000/metrics"
            )
        if parts.username is not None or parts.password is not None:
            found.append("url carries a user name or password; use username, password or token")
        if not 0.1 <= self.timeout_s <= 300:
            found.append(f"timeout must be 100 ms to 5 min, got {self.timeout_s:g} s")
        if self.token is not None and (self.username or self.password is not None):
            found.append("give either a token or a user name and password")
        if self.password is not None and not self.username:
            found.append("a password without a user name")
        if ":" in self.username or not (self.username.isprintable()):
            found.append("a user name has no colon and no control characters")
        tls = (self.ca_file, self.cert_file, self.key_file, self.server_name)
        if parts.scheme == "http" and (any(tls) or self.any_certificate):
            found.append("TLS settings are for an https url")
        if self.key_file and not self.cert_file:
            found.append("key_file without cert_file")
        return found


class Answer(msgspec.Struct, frozen=True):
    """A page as it came, decompressed. ``openmetrics`` is what its Content-Type says."""

    body: bytes
    openmetrics: bool
    content_type: str
    #: On the wire, with headers.
    wire_bytes: int
    seconds: float


class Scraper:
    """Fetch one target again and again over one connection. Not for several threads at once."""

    def __init__(self, target: Target) -> None:
        """Raises ``ValueError`` naming what is wrong with the target."""
        if problems := target.problems():
            raise ValueError("; ".join(problems))
        self.target = target
        self._parts = urlsplit(target.url)
        self._context: ssl.SSLContext | None = None
        self._connection: Connection | None = None

    def fetch(self) -> Answer:
        """Return the page; raises ``NoPage`` when there is none to be had within the timeout."""
        began = time.monotonic()
        clock = Clock(began + self.target.timeout_s)
        keep = False
        try:
            answer = self._follow(clock)
            keep = True
        except NoPage:
            raise
        except TimeoutError:
            raise NoPage("timeout", f"no whole page within {self.target.timeout_s:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _no_answer(error) from None
        finally:
            if not keep:
                self.close()
        seconds = time.monotonic() - began
        return Answer(answer.body, answer.openmetrics, answer.content_type, clock.bytes, seconds)

    def close(self) -> None:
        """Let go of the connection; safe twice."""
        connection, self._connection = self._connection, None
        self._context = None  # so that renewed certificates are read
        if connection is not None:
            connection.cut()

    def _follow(self, clock: Clock) -> _Body:
        """Ask, and go where a redirect on the same server leads."""
        url = self.target.url
        for _ in range(REDIRECTS_MAX + 1):
            parts = urlsplit(url)
            response = self._ask(parts, clock)
            if response.status not in _REDIRECTS:
                return self._judge(response)
            location = response.headers.get("Location", "")
            url = _joined(url, location)
            if not location or _origin(url) != _origin(self.target.url):
                reason = f"redirected elsewhere, to {_origin(url)}" if location else "no Location"
                raise NoPage("redirect", reason, response.status)
            self._drop()  # rather than read a body nobody wants
        raise NoPage("redirect", f"over {REDIRECTS_MAX} redirects")

    def _ask(self, parts: SplitResult, clock: Clock) -> http.client.HTTPResponse:
        """Send a request and read the answer's head; a connection that went stale is renewed."""
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = self._headers()
        connection = self._connection
        if connection is not None and not connection.stale():
            connection.clock = clock
            try:
                connection.request("GET", path, headers=headers)
                return connection.getresponse()
            except (ConnectionError, http.client.RemoteDisconnected):
                pass  # the server let go of it just now
        self._drop()
        connection = self._connection = self._connected(clock)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def _connected(self, clock: Clock) -> Connection:
        target = self.target
        if self._parts.scheme == "https" and self._context is None:
            self._context = _context(target)
        connection = Connection(
            host=self._parts.hostname or "",
            port=self._parts.port,
            path=target.socket,
            context=self._context,
            server_name=target.server_name,
            bytes_max=target.bytes_max,
            clock=clock,
        )
        try:
            connection.connect()
        except BaseException:
            connection.cut()
            raise
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.cut()

    def _headers(self) -> dict[str, str]:
        target = self.target
        near = bool(target.socket) or (self._parts.hostname or "") in _THIS_HOST
        headers = {
            "Accept": ACCEPT,
            "Accept-Encoding": "identity" if near else "gzip",
            "User-Agent": "vedette",
        }
        try:
            if target.token is not None:
                headers["Authorization"] = f"Bearer {_printable(target.token, 'token')}"
            elif target.username:
                password = "" if target.password is None else target.password.reveal()
                pair = b64encode(f"{target.username}:{password}".encode())
                headers["Authorization"] = f"Basic {pair.decode()}"
        except Unavailable as error:
            raise NoPage("credentials", str(error)) from None
        return headers

    def _judge(self, response: http.client.HTTPResponse) -> _Body:
        """Read the body of a page, or refuse what is none."""
        status = response.status
        if status in (401, 403, 407):
            given = self.target.token is not None or self.target.username
            why = "our credentials are refused" if given else "credentials are needed"
            raise NoPage("credentials", f"status {status}: {why}", status)
        if status != 200:
            raise NoPage("status", f"status {status}", status)
        content_type = response.headers.get("Content-Type", "")
        media = content_type.split(";")[0].strip().lower()
        _refuse_media(media)
        limit = self.target.bytes_max
        declared = response.length
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding in ("", "identity"):
            if declared is not None and declared > limit:
                raise NoPage("too large", f"{declared} bytes are over the limit of {limit}")
            body = _read_plain(response, limit)
        elif encoding in ("gzip", "x-gzip", "deflate"):
            body = _read_packed(response, limit, encoding)
        else:
            raise NoPage("protocol", f"unknown compression {encoding[:40]!r}")
        ends = declared is not None or response.chunked
        if not ends and body and not body.endswith(b"\n"):
            raise NoPage("protocol", "the page breaks off in the middle of a line")
        if response.will_close:
            self._drop()
        _refuse_body(body)
        return _Body(body, media == "application/openmetrics-text", content_type[:200])


_THIS_HOST = ("127.0.0.1", "::1", "localhost")


class _Body(msgspec.Struct, frozen=True):
    body: bytes
    openmetrics: bool
    content_type: str


def _context(target: Target) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=target.ca_file or None)
        if target.any_certificate:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if target.cert_file:
            context.load_cert_chain(target.cert_file, target.key_file or None)
    except OSError as error:
        reason = "not a certificate or key"
        if not isinstance(error, ssl.SSLError):
            reason = error.strerror or "unreadable"
        raise NoPage("tls", f"ca_file, cert_file or key_file: {reason}") from None
    return context


# ---------------------------------------------------------------- the body


def _read_plain(response: http.client.HTTPResponse, limit: int) -> bytes:
    parts = []
    size = 0
    step = _CHUNK if response.length is None else response.length  # one piece, uncopied
    while chunk := response.read(min(step, limit + 1 - size)):
        size += len(chunk)
        if size > limit:
            raise NoPage("too large", f"over {limit} bytes")
        parts.append(chunk)
    if response.length:
        raise NoPage("protocol", f"the page breaks off, {response.length} bytes are missing")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_packed(response: http.client.HTTPResponse, limit: int, encoding: str) -> bytes:
    """Decompress while reading, never more than the limit."""
    window = zlib.MAX_WBITS if encoding == "deflate" else zlib.MAX_WBITS + 32
    packed = zlib.decompressobj(window)
    parts: list[bytes] = []
    size = 0
    while chunk := response.read(_CHUNK):
        while chunk:
            try:
                plain = packed.decompress(chunk, limit + 1 - size)
            except zlib.error:
                raise NoPage("protocol", f"the page is not {encoding}") from None
            size += len(plain)
            if size > limit or packed.unconsumed_tail:
                raise NoPage("too large", f"over {limit} bytes when decompressed")
            parts.append(plain)
            chunk = packed.unused_data
            if chunk:
                packed = zlib.decompressobj(window)
    if not packed.eof or response.length:
        raise NoPage("protocol", "the compressed page breaks off")
    return b"".join(parts)


def _refuse_media(media: str) -> None:
    if media in ("", "text/plain", "application/openmetrics-text", "application/octet-stream"):
        return
    if media in ("text/html", "application/xhtml+xml"):
        raise NoPage("not metrics", "answered a web page, not metrics: a wrong path, or a login")
    if media.endswith("json"):
        raise NoPage("not metrics", "answered JSON, not a metrics page")
    if "protobuf" in media:
        raise NoPage("not metrics", "answered protobuf, which was not asked for")
    raise NoPage("not metrics", f"answered {media[:60]!r}, not a metrics page")


def _refuse_body(body: bytes) -> None:
    head = body[:1024]
    if _MARKUP.match(head):
        raise NoPage("not metrics", "answered markup, not metrics: a wrong path, or a login")
    if _JSON.match(head):
        raise NoPage("not metrics", "answered JSON, not a metrics page")
    if b"\0" in head:
        raise NoPage("not metrics", "answered binary data, not a metrics page")


def _joined(url: str, location: str) -> str:
    """Return where a redirect leads; nowhere for what is no address."""
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL, and nothing else of it."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "a bad address"
    origin = f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"
    return origin[:200] if origin.isprintable() else "a bad address"


def _printable(secret: Secret, what: str) -> str:
    text = secret.reveal()
    if not text or not text.isascii() or not text.isprintable():
        raise Unavailable(f"{what} is not a line of printable ASCII")
    return text


def _no_answer(error: Exception) -> NoPage:
    """Say in a line why there was no answer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoPage("tls", f"certificate: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return NoPage("tls", (error.reason or "failed").lower().replace("_", " "))
    if isinstance(error, socket.gaierror):
        return NoPage("dns", f"no such host: {error.strerror}")
    if isinstance(error, http.client.IncompleteRead):
        return NoPage("protocol", "the page breaks off")
    if isinstance(error, http.client.RemoteDisconnected):
        return NoPage("protocol", "closed without an answer")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return NoPage("protocol", "the connection broke")
    if isinstance(error, OSError):
        return NoPage("connect", errno.errorcode.get(error.errno or 0, "no connection"))
    return NoPage("protocol", "not an HTTP answer")
