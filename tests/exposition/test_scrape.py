"""Fetching pages from real servers on this host, most of which misbehave."""

from __future__ import annotations

import contextlib
import gzip
import resource
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vedette.api import Secret
from vedette.exposition.scrape import NoPage, Scraper, Target

PAGE = b"# TYPE a counter\na 1\n"
CUT_OFF = gzip.compress(PAGE)[:-9]
TYPE = b"Content-Type: text/plain; version=0.0.4\r\n"

Answer = Callable[[socket.socket, bytes], None]


def page(body: bytes = PAGE, head: bytes = TYPE, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, head, len(body), body)


class Server:
    """Answer each request with what it is told to, as bytes or by a function, to the letter."""

    def __init__(self, path: str = "", context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        #: Answers by the order of the requests; the last one is for all further ones.
        self.answers: list[bytes | Answer] = [page()]
        self._context = context
        self._open = True
        if path:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(path)
        else:
            self._socket = socket.socket()
            self._socket.bind(("127.0.0.1", 0))
            self.port = self._socket.getsockname()[1]
        self._socket.listen(8)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def url(self, path: str = "/metrics", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self._open = False
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while self._open:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                while True:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        more = connection.recv(65536)
                        if not more:
                            return
                        request += more
                    answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
                    self.requests.append(request)
                    if callable(answer):
                        answer(connection, request)
                        return
                    connection.sendall(answer)
        except OSError:
            return


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


def fetch(server: Server, **options: object) -> bytes:
    scraper = Scraper(Target(server.url(), **options))  # type: ignore[arg-type]
    try:
        return scraper.fetch().body
    finally:
        scraper.close()


def refusal(server: Server, **options: object) -> NoPage:
    with pytest.raises(NoPage) as caught:
        fetch(server, **{"timeout_s": 3.0, **options})
    assert "\n" not in str(caught.value)
    assert str(caught.value)
    return caught.value


# ---------------------------------------------------------------- pages


def test_a_page_comes_with_its_format_and_size(server: Server) -> None:
    scraper = Scraper(Target(server.url("/m?x=1")))
    answer = scraper.fetch()
    assert (answer.body, answer.openmetrics) == (PAGE, False)
    assert answer.content_type == "text/plain; version=0.0.4"
    assert answer.wire_bytes == len(page())
    assert 0 < answer.seconds < 3
    request = server.requests[0].decode().lower()
    assert request.startswith("get /m?x=1 http/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n" in request
    assert "accept: application/openmetrics-text;version=1.0.0" in request
    assert "accept-encoding: identity" in request
    assert "authorization" not in request
    scraper.close()


@pytest.mark.parametrize(
    ("content_type", "openmetrics"),
    [
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("text/plain; version=1.0.0; charset=utf-8", False),
        ("text/plain; charset=utf-8; charset=utf-8", False),
        ("text/plain", False),
        ("TEXT/PLAIN;version=0.0.4", False),
        ("application/octet-stream", False),
        ("", False),
    ],
)
def test_the_format_is_what_the_answer_says(
    server: Server, content_type: str, openmetrics: bool
) -> None:
    head = f"Content-Type: {content_type}\r\n".encode() if content_type else b""
    server.answers = [page(head=head)]
    scraper = Scraper(Target(server.url()))
    assert scraper.fetch().openmetrics is openmetrics
    scraper.close()


def test_a_page_may_be_chunked_or_end_with_the_connection(server: Server) -> None:
    chunked = b"HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n" % TYPE
    chunked += b"7;x=y\r\n# TYPE \r\ne\r\na counter\na 1\n\r\n0\r\nTrailer: x\r\n\r\n"

    def close_delimited(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n%s\r\n%s" % (TYPE, PAGE))

    server.answers = [chunked, close_delimited]
    scraper = Scraper(Target(server.url()))
    assert scraper.fetch().body == PAGE
    assert scraper.fetch().body == PAGE
    assert scraper.fetch().body == PAGE
    assert server.connections == 2
    scraper.close()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_a_compressed_page_is_read_asked_for_or_not(server: Server, encoding: str) -> None:
    packed = zlib.compress(PAGE) if encoding == "deflate" else gzip.compress(PAGE[:9])
    if encoding != "deflate":
        packed += gzip.compress(PAGE[9:])  # a file of two members, as some servers write
    server.answers = [page(packed, TYPE + f"Content-Encoding: {encoding}\r\n".encode())]
    assert fetch(server) == PAGE


def test_an_empty_page_is_a_page(server: Server) -> None:
    server.answers = [page(b"")]
    assert fetch(server) == b""


def test_a_page_over_a_unix_socket(tmp_path: Path) -> None:
    server = Server(str(tmp_path / "s.sock"))
    scraper = Scraper(Target("http://localhost/metrics", socket=str(tmp_path / "s.sock")))
    assert scraper.fetch().body == PAGE
    assert scraper.fetch().body == PAGE
    assert server.connections == 1
    assert b"Host: localhost\r\n" in server.requests[0]
    scraper.close()
    server.close()
    with pytest.raises(NoPage) as caught:
        scraper.fetch()
    assert caught.value.trouble == "connect"


# ---------------------------------------------------------------- the connection


def test_the_connection_is_kept(server: Server) -> None:
    scraper = Scraper(Target(server.url()))
    for _ in range(3):
        scraper.fetch()
    assert server.connections == 1
    scraper.close()
    scraper.close()
    scraper.fetch()
    assert server.connections == 2
    scraper.close()


def test_a_connection_the_server_closed_is_renewed(server: Server) -> None:
    def once(connection: socket.socket, _: bytes) -> None:
        connection.sendall(page())  # promises to stay, and goes

    server.answers = [once]
    scraper = Scraper(Target(server.url()))
    for _ in range(3):
        assert scraper.fetch().body == PAGE
    assert server.connections == 3
    scraper.close()


def test_a_server_that_closes_on_each_request_is_asked_twice_at_most(server: Server) -> None:
    def hang_up(_: socket.socket, __: bytes) -> None:
        return

    server.answers = [page(), hang_up]
    scraper = Scraper(Target(server.url()))
    scraper.fetch()
    with pytest.raises(NoPage) as caught:
        scraper.fetch()
    assert caught.value.trouble == "protocol"
    assert len(server.requests) == 3
    scraper.close()


def test_what_a_server_says_unasked_is_not_the_next_page(server: Server) -> None:
    def talkative(connection: socket.socket, _: bytes) -> None:
        connection.sendall(page())
        time.sleep(0.05)
        connection.sendall(page(b"stale 1\n"))
        connection.recv(1)

    at_once = page(b"a 3\n") + page(b"stale 3\n")
    server.answers = [talkative, page(b"fresh 2\n"), at_once, page(b"fresh 4\n")]
    scraper = Scraper(Target(server.url()))
    scraper.fetch()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not scraper._connection.stale():  # type: ignore[union-attr]
        time.sleep(0.01)
    assert scraper.fetch().body == b"fresh 2\n"
    assert scraper.fetch().body == b"a 3\n"
    assert scraper.fetch().body == b"fresh 4\n"
    scraper.close()


def test_nobody_listening_is_said() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(NoPage, match="ECONNREFUSED") as caught:
            Scraper(Target(f"http://127.0.0.1:{port}/")).fetch()
    assert caught.value.trouble == "connect"


def test_an_unknown_host_is_said() -> None:
    with pytest.raises(NoPage, match="no such host") as caught:
        Scraper(Target("http://no-such-host.invalid/")).fetch()
    assert caught.value.trouble == "dns"


def test_no_descriptor_is_left_behind(server: Server) -> None:
    def broken(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf")

    server.answers = [broken, page(), b"HTTP/1.1 302 x\r\nLocation: /metrics\r\n\r\n", page()] * 20
    scraper = Scraper(Target(server.url()))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(40):
        with contextlib.suppress(NoPage):
            scraper.fetch()
    scraper.close()
    deadline = time.monotonic() + 3  # the server's side closes in its own time
    while len(list(Path("/proc/self/fd").iterdir())) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


# ---------------------------------------------------------------- time


def drip(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n%sContent-Length: 5000\r\n\r\n" % TYPE)
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def drip_the_head(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X")
        time.sleep(0.02)


def hang(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


def hang_in_the_page(connection: socket.socket, _: bytes) -> None:
    connection.sendall(page()[:-3])
    connection.recv(1)


def continue_for_ever(connection: socket.socket, _: bytes) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)


def chunks_of_one(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1\r\na\r\n")
        time.sleep(0.02)


@pytest.mark.parametrize(
    "answer", [drip, drip_the_head, hang, hang_in_the_page, continue_for_ever, chunks_of_one]
)
def test_the_timeout_is_for_the_whole_page(server: Server, answer: Answer) -> None:
    server.answers = [answer]
    began = time.monotonic()
    found = refusal(server, timeout_s=0.4)
    assert 0.35 < time.monotonic() - began < 2.5
    assert (found.trouble, str(found)) == ("timeout", "no whole page within 0.4 s")


def test_a_server_that_does_not_accept_is_timed_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = []
        for _ in range(3):  # fill the queue of those who wait to be accepted
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(full.getsockname())
            others.append(other)
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        with pytest.raises(NoPage) as caught:
            Scraper(Target(url, timeout_s=0.3)).fetch()
        assert caught.value.trouble == "timeout"
        for other in others:
            other.close()


def test_a_redirect_has_no_time_of_its_own(server: Server) -> None:
    def slow(connection: socket.socket, _: bytes) -> None:
        time.sleep(0.25)
        connection.sendall(b"HTTP/1.1 302 x\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    server.answers = [slow]
    began = time.monotonic()
    assert refusal(server, timeout_s=0.4).trouble == "timeout"
    assert time.monotonic() - began < 2


# ---------------------------------------------------------------- size


def test_a_page_declared_too_large_is_not_read(server: Server) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"]
    found = refusal(server)
    assert found.trouble == "too large"
    assert "1073741824 bytes" in str(found)


def endless(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    block = b"a 1\n" * 65536
    for _ in range(4096):  # 1 GiB
        connection.sendall(block)


def endless_chunks(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b"40000\r\n" + b"a 1\n" * 65536 + b"\r\n"
    for _ in range(4096):
        connection.sendall(block)


def endless_head(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(10_000_000):
        connection.sendall(b"X-%d: y\r\n" % number)


def endless_trailer(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n")
    for _ in range(10_000_000):
        connection.sendall(b"X: %s\r\n" % (b"y" * 60_000))


@pytest.mark.parametrize("answer", [endless, endless_chunks, endless_head, endless_trailer])
def test_a_page_without_end_is_left_in_the_middle(server: Server, answer: Answer) -> None:
    server.answers = [answer]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = refusal(server, bytes_max=2**20, timeout_s=10)
    assert found.trouble in ("too large", "protocol")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_a_page_that_is_small_only_when_packed_is_left_in_the_middle(server: Server) -> None:
    bomb = zlib.compressobj(9, wbits=31)
    packed = b"".join(bomb.compress(b"\0" * 2**20) for _ in range(200)) + bomb.flush()
    assert len(packed) < 250_000
    server.answers = [page(packed, TYPE + b"Content-Encoding: gzip\r\n")]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = refusal(server, bytes_max=2**20)
    assert (found.trouble, str(found)) == ("too large", "over 1048576 bytes when decompressed")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_a_page_of_exactly_the_limit_is_read(server: Server) -> None:
    body = b"a 1\n" * 256
    packed = page(gzip.compress(body), TYPE + b"Content-Encoding: gzip\r\n")
    server.answers = [page(body), packed]
    assert fetch(server, bytes_max=1024) == body
    assert fetch(server, bytes_max=1024) == body
    assert refusal(server, bytes_max=1023).trouble == "too large"


# ---------------------------------------------------------------- what is no page


@pytest.mark.parametrize(
    ("answer", "trouble", "reason"),
    [
        (page(status=b"404 Not Found"), "status", "status 404"),
        (page(status=b"500 x"), "status", "status 500"),
        (page(status=b"204 x"), "status", "status 204"),
        (page(status=b"401 x"), "credentials", "status 401: credentials are needed"),
        (page(status=b"403 x"), "credentials", "status 403: credentials are needed"),
        (page(b"<html>", b"Content-Type: text/html\r\n"), "not metrics", "web page"),
        (page(b" <!doctype html>", TYPE), "not metrics", "markup"),
        (page(b"{}", b"Content-Type: application/json\r\n"), "not metrics", "JSON"),
        (page(b'{"a": 1}', TYPE), "not metrics", "JSON"),
        (page(b"[1]", b""), "not metrics", "JSON"),
        (page(b"x", b"Content-Type: application/problem+json\r\n"), "not metrics", "JSON"),
        (page(b"x", b"Content-Type: image/png\r\n"), "not metrics", "'image/png'"),
        (page(b"x", b"Content-Type: application/vnd.google.protobuf\r\n"), "not metrics", "proto"),
        (page(b"\x1f\x8b\0\0", TYPE), "not metrics", "binary"),
        (page(b"x", TYPE + b"Content-Encoding: br\r\n"), "protocol", "unknown compression 'br'"),
        (page(b"xyzzy", TYPE + b"Content-Encoding: gzip\r\n"), "protocol", "is not gzip"),
        (page(CUT_OFF, TYPE + b"Content-Encoding: gzip\r\n"), "protocol", "breaks off"),
    ],
)  # fmt: skip
def test_what_is_no_page_is_refused_in_a_line(
    server: Server, answer: bytes, trouble: str, reason: str
) -> None:
    server.answers = [answer]
    found = refusal(server)
    assert found.trouble == trouble
    assert reason in str(found)
    assert server.connections == 1


def test_a_page_of_names_in_quotes_is_not_taken_for_json(server: Server) -> None:
    body = b'{"my.name", a="b"} 1\n'
    server.answers = [page(body)]
    assert fetch(server) == body


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\0" * 100_000,
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\na 1\n",
        b"HTTP/1.1 200 OK\r\n\r\na 1\nb 12",
        b"y" * 200_000,
    ],
)
def test_what_is_no_http_or_breaks_off_is_refused_in_a_line(server: Server, rubbish: bytes) -> None:
    def send(connection: socket.socket, _: bytes) -> None:
        connection.sendall(rubbish)

    server.answers = [send]
    assert refusal(server).trouble == "protocol"


# ---------------------------------------------------------------- redirects


def redirect(location: str, status: int = 307) -> bytes:
    return page(b"", f"Location: {location}\r\n".encode(), f"{status} x".encode())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_server_is_followed(server: Server, status: int) -> None:
    server.answers = [redirect("/metrics/", status), page()]
    assert fetch(server, token=Secret(env="HOME")) == PAGE
    assert server.requests[1].startswith(b"GET /metrics/ ")
    assert b"Authorization: Bearer" in server.requests[1]


def test_a_redirect_elsewhere_is_refused(server: Server) -> None:
    other = Server()
    for location in (
        other.url(),
        f"https://127.0.0.1:{server.port}/",
        f"//example.com:{server.port}/metrics",
        f"http://user:pass@localhost:{server.port}/",
        "file:///etc/passwd",
        "http://[bad/",
    ):
        server.answers = [redirect(location)]
        found = refusal(server, token=Secret(env="HOME"))
        assert (found.trouble, found.status) == ("redirect", 307)
        assert "pass" not in str(found).replace("passwd", "")
    assert not other.requests
    other.close()


def test_redirects_in_a_circle_end(server: Server) -> None:
    server.answers = [redirect("/metrics")]
    assert refusal(server).trouble == "redirect"
    assert len(server.requests) == 4
    server.answers = [page(b"", b"", b"302 x")]
    assert refusal(server).trouble == "redirect"


# ---------------------------------------------------------------- credentials and TLS


def test_credentials_are_sent_and_read_anew(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("one\n")
    scraper = Scraper(Target(server.url(), token=Secret(file=str(secret))))
    scraper.fetch()
    secret.write_text("two\n")
    scraper.fetch()
    assert b"Authorization: Bearer one\r\n" in server.requests[0]
    assert b"Authorization: Bearer two\r\n" in server.requests[1]
    secret.write_text("two\nlines")
    with pytest.raises(NoPage, match="printable") as caught:
        scraper.fetch()
    assert caught.value.trouble == "credentials"
    secret.unlink()
    with pytest.raises(NoPage, match="cannot read"):
        scraper.fetch()
    scraper.close()


def test_a_user_name_and_password_are_sent(server: Server, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("open:sesame")
    fetch(server, username="ali", password=Secret(file=str(tmp_path / "p")))
    assert b"Authorization: Basic YWxpOm9wZW46c2VzYW1l\r\n" in server.requests[0]
    server.answers = [page(status=b"401 x")]
    assert "refused" in str(refusal(server, username="ali"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "ftp://x/"}, "is not an address"),
        ({"url": "http:///x"}, "is not an address"),
        ({"url": "http://h:99999/"}, "is not an address"),
        ({"url": "http://h/ö"}, "is not an address"),
        ({"url": "http://u:p@h/"}, "carries a user name"),
        ({"url": "http://h/", "timeout_s": 0.0}, "timeout"),
        ({"url": "http://h/", "token": Secret(env="A"), "username": "u"}, "either"),
        ({"url": "http://h/", "password": Secret(env="A")}, "without a user name"),
        ({"url": "http://h/", "username": "a:b"}, "colon"),
        ({"url": "http://h/", "ca_file": "/x"}, "https"),
        ({"url": "https://h/", "key_file": "/x"}, "without cert_file"),
    ],
)
def test_what_is_wrong_with_a_target_is_said(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Scraper(Target(**options))  # type: ignore[arg-type]
    assert "p@h" not in str(Target("http://h/").problems())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", key, "-out", cert, "-subj", "/CN=metrics"]
    command += ["-addext", "subjectAltName=DNS:metrics.test,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.fixture
def tls_server(certificate: tuple[str, str]) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    found = Server(context=context)
    yield found
    found.close()


def test_tls_knows_whom_it_trusts(tls_server: Server, certificate: tuple[str, str]) -> None:
    url = tls_server.url(scheme="https")
    trusting = Scraper(Target(url, ca_file=certificate[0]))
    assert trusting.fetch().body == PAGE
    assert trusting.fetch().body == PAGE
    assert tls_server.connections == 1
    trusting.close()
    for options, trouble in (
        ({}, "certificate: self-signed certificate"),
        (
            {"ca_file": certificate[0], "server_name": "other.test"},
            "certificate: Hostname mismatch",
        ),
        ({"ca_file": "/no/such/file"}, "No such file"),
        ({"ca_file": certificate[1]}, "not a certificate or key"),
    ):
        with pytest.raises(NoPage, match=trouble) as caught:
            Scraper(Target(url, **options)).fetch()  # type: ignore[arg-type]
        assert caught.value.trouble == "tls"
    for more in (
        {"any_certificate": True},
        {"ca_file": certificate[0], "server_name": "metrics.test"},
    ):
        scraper = Scraper(Target(url, **more))  # type: ignore[arg-type]
        assert scraper.fetch().body == PAGE
        scraper.close()


def test_tls_is_under_the_same_clock(
    tls_server: Server, server: Server, certificate: tuple[str, str]
) -> None:
    tls_server.answers = [drip]
    target = Target(tls_server.url(scheme="https"), ca_file=certificate[0], timeout_s=0.5)
    began = time.monotonic()
    with pytest.raises(NoPage) as caught:
        Scraper(target).fetch()
    assert caught.value.trouble == "timeout"
    assert time.monotonic() - began < 2.5
    # A server that never answers the handshake.
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(1)
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/"
        with pytest.raises(NoPage) as caught:
            Scraper(Target(url, timeout_s=0.4)).fetch()
    assert caught.value.trouble == "timeout"
    # And one that does not speak it.
    with pytest.raises(NoPage) as caught:
        Scraper(Target(server.url(scheme="https"), timeout_s=0.5)).fetch()
    assert caught.value.trouble in ("tls", "protocol", "timeout")
