"""The OTLP output against real servers on this host: every answer, and servers that misbehave."""

from __future__ import annotations

import gzip
import http.server
import logging
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)

from vedette.api import Duration, Secret, SendResult, Shipment
from vedette_plugins import otlp
from vedette_plugins.otlp import Otlp, OtlpConfig

BODY = gzip.compress(b"an OTLP request", mtime=0)
SHIPMENT = Shipment("agent-1", "00ff00ff00ff00ff", 7, "metrics", BODY)
NOW = datetime(2025, 1, 1, tzinfo=UTC)

Answer = tuple[int, dict[str, str], bytes]


class Server(http.server.ThreadingHTTPServer):
    """Answer what it is told to; keep the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: Answer = (200, {}, b"")
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join(10)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        status, headers, answer = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def outputs() -> Iterator[Callable[..., Otlp]]:
    made: list[Otlp] = []

    def make(endpoint: str, **options: Any) -> Otlp:
        output = Otlp(OtlpConfig(endpoint=endpoint, **options))
        output.clock_ns = lambda: int(NOW.timestamp()) * 10**9
        made.append(output)
        return output

    yield make
    for output in made:
        output.close()
        output.close()


@pytest.fixture
def output(server: Server, outputs: Callable[..., Otlp]) -> Otlp:
    return outputs(server.url)


PROTOBUF = {"Content-Type": "application/x-protobuf"}


def test_a_request_carries_the_batch_and_its_identity(server: Server, output: Otlp) -> None:
    assert output.send(SHIPMENT) == SendResult("delivered", "status 200")
    output.send(msgspec.structs.replace(SHIPMENT, signal="logs", sequence=8))
    (path, headers, body), (second, *_) = server.requests
    assert (path, second) == ("/v1/metrics", "/v1/logs")
    assert body == BODY
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Vedette-Batch"] == "agent-1/00ff00ff00ff00ff/7"
    assert headers["Vedette-Sent-At"] == str(int(NOW.timestamp()) * 10**9)
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"] == "vedette"
    assert "Authorization" not in headers
    assert server.connections == 1


def test_a_base_path_is_kept(server: Server, outputs: Callable[..., Otlp]) -> None:
    outputs(f"{server.url}/api/otlp/").send(SHIPMENT)
    assert server.requests[0][0] == "/api/otlp/v1/metrics"


def test_the_token_is_read_anew_at_each_attempt(
    server: Server, outputs: Callable[..., Otlp], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    output = outputs(server.url, token=Secret(file=str(file)), headers={"X-Tenant": "blue"})
    missing = output.send(SHIPMENT)
    assert (missing.outcome, missing.retry_after_s) == ("retry", 60)
    assert missing.reason.startswith("cannot read")
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert output.send(SHIPMENT).outcome == "delivered"
    file.write_text("two\nlines")
    assert output.send(SHIPMENT).outcome == "retry"
    assert [headers["Authorization"] for _, headers, _ in server.requests] == [
        "Bearer first",
        "Bearer second",
    ]
    assert server.requests[0][1]["X-Tenant"] == "blue"


ACCEPTED = [
    (200, {}, b""),
    (200, PROTOBUF, b""),
    (200, PROTOBUF, ExportMetricsServiceResponse().SerializeToString()),
    (200, {"Content-Type": "application/json; charset=utf-8"}, b"{}"),
    (200, {"Content-Type": "application/json"}, b'{"partialSuccess":null}'),
    (200, PROTOBUF, b"\xff\xff not protobuf"),
    (202, {"Content-Type": "text/plain"}, b""),
    (204, {}, b""),
]


@pytest.mark.parametrize("answer", ACCEPTED)
def test_an_empty_or_an_otlp_answer_is_a_delivery(
    server: Server, output: Otlp, answer: Answer
) -> None:
    server.answer = answer
    assert output.send(SHIPMENT).outcome == "delivered"
    assert output.rejected == 0


@pytest.mark.parametrize("content_type", ["text/html", "TEXT/HTML; charset=utf-8", "text/plain"])
def test_a_web_page_is_not_a_delivery(server: Server, output: Otlp, content_type: str) -> None:
    server.answer = (200, {"Content-Type": content_type}, b"<html>please log in</html>")
    waits = []
    for _ in range(5):
        result = output.send(SHIPMENT)
        assert result.outcome == "retry"
        waits.append(result.retry_after_s)
    assert waits == [60, 120, 240, 300, 300]


def test_partial_success_is_a_delivery_counted_and_logged_once(
    server: Server, output: Otlp, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = ExportMetricsServiceResponse()
    metrics.partial_success.rejected_data_points = 3
    metrics.partial_success.error_message = "too old\nfake log line"
    logs = ExportLogsServiceResponse()
    logs.partial_success.rejected_log_records = 2
    for signal, body, kind in (
        ("metrics", metrics.SerializeToString(), "application/x-protobuf"),
        ("logs", logs.SerializeToString(), "application/x-protobuf"),
        ("metrics", b'{"partialSuccess":{"rejectedDataPoints":"5"}}', "application/json"),
        ("metrics", b'{"partialSuccess":{"errorMessage":"a warning"}}', "application/json"),
    ):
        server.answer = (200, {"Content-Type": kind}, body)
        result = output.send(msgspec.structs.replace(SHIPMENT, signal=signal))
        assert result.outcome == "delivered"
    assert output.rejected == 10
    (record,) = caplog.records
    assert record.message == "otlp_rejected=3 message='too old\\nfake log line'"


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 405, 407, 410, 415, 511])
def test_a_wrong_configuration_keeps_the_batch_and_waits_longer_each_time(
    server: Server, output: Otlp, status: int
) -> None:
    server.answer = (status, {"Location": f"{server.url}/elsewhere"}, b"no")
    assert output.send(SHIPMENT) == SendResult("retry", f"status {status}", 60)
    assert output.send(SHIPMENT).retry_after_s == 120
    assert all(path == "/v1/metrics" for path, _, _ in server.requests)
    server.answer = (200, {}, b"")
    output.send(SHIPMENT)
    server.answer = (status, {}, b"")
    assert output.send(SHIPMENT).retry_after_s == 60


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
def test_a_server_that_cannot_now_is_tried_again(server: Server, output: Otlp, status: int) -> None:
    server.answer = (status, {}, b"")
    for _ in range(10):
        assert output.send(SHIPMENT) == SendResult("retry", f"status {status}", None)


def in_seconds(seconds: int) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("-1", 0.0),
        ("1000000000", 1e9),
        ("9" * 400, 999_999_999_999.0),
        (in_seconds(90), 90.0),
        (in_seconds(-90), 0.0),
        ("Wed, 01 Jan 2025 00:01:00 -0000", 60.0),
        ("Fri, 99 Foo 99999", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_as_seconds_as_date_and_as_garbage(
    server: Server, output: Otlp, header: str, expected: float | None
) -> None:
    server.answer = (429, {"Retry-After": header}, b"")
    assert output.send(SHIPMENT) == SendResult("retry", "status 429", expected)


@pytest.mark.parametrize(
    ("status", "waits"),
    [(400, (5, 10)), (413, (5, 10)), (422, (5, 10)), (500, (60, 120, 300, 300)), (501, (60,))],
)
def test_a_batch_called_bad_several_times_is_refused(
    server: Server, output: Otlp, status: int, waits: tuple[int, ...]
) -> None:
    server.answer = (status, PROTOBUF, b"bad")
    for wait in waits:
        assert output.send(SHIPMENT) == SendResult("retry", f"status {status}", wait)
    if len(waits) > 1:
        assert output.send(SHIPMENT) == SendResult("refused", f"status {status}")
    # The next batch has its own tries.
    following = msgspec.structs.replace(SHIPMENT, sequence=8)
    assert output.send(following).outcome == "retry"


def test_an_answer_over_4_mib_is_not_read(server: Server, output: Otlp) -> None:
    server.answer = (200, PROTOBUF, bytes(5 * 1024 * 1024))
    assert output.send(SHIPMENT) == SendResult("retry", "answer over 4 MiB", 60)
    server.answer = (200, PROTOBUF | {"Content-Length": "9" * 15}, b"")
    assert output.send(SHIPMENT).reason == "answer over 4 MiB"


def test_a_compressed_bomb_is_not_unpacked(server: Server, output: Otlp) -> None:
    headers = PROTOBUF | {"Content-Encoding": "gzip"}
    server.answer = (200, headers, gzip.compress(bytes(50 * 1024 * 1024)))
    assert output.send(SHIPMENT).reason == "answer over 4 MiB"
    partial = ExportMetricsServiceResponse()
    partial.partial_success.rejected_data_points = 4
    server.answer = (200, headers, gzip.compress(partial.SerializeToString()))
    assert output.send(SHIPMENT).outcome == "delivered"
    assert output.rejected == 4


# ---------------------------------------------------------------- servers that misbehave


@pytest.fixture
def raw_server() -> Iterator[Callable[..., str]]:
    """Serve connections with a function of the socket; returns the address."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []
    ended = threading.Event()

    def start(
        talk: Callable[[socket.socket, threading.Event], None],
        context: ssl.SSLContext | None = None,
    ) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    if context is not None:
                        connection = context.wrap_socket(connection, server_side=True)
                    talk(connection, ended)
                except OSError:
                    pass
                finally:
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        threads.append(thread)
        return f"{'https' if context else 'http'}://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    ended.set()
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)


def drip(prefix: bytes, pause_s: float = 0.05) -> Callable[[socket.socket, threading.Event], None]:
    def talk(connection: socket.socket, ended: threading.Event) -> None:
        read_request(connection)
        connection.sendall(prefix)
        while not ended.wait(pause_s):
            connection.sendall(b"x")

    return talk


def read_request(connection: socket.socket) -> None:
    """Read all of a request: closing with a part of it unread would reset the connection."""
    data = b""
    while b"\r\n\r\n" not in data or not data.endswith(BODY):
        more = connection.recv(65536)
        if not more:
            return
        data += more


def silent(connection: socket.socket, ended: threading.Event) -> None:
    ended.wait(30)


def sends(data: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def talk(connection: socket.socket, ended: threading.Event) -> None:
        read_request(connection)
        connection.sendall(data)

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\n\r\n"),
        silent,
    ],
    ids=["headers", "body", "body-without-length", "nothing"],
)
def test_the_time_limit_holds_for_the_whole_attempt(
    raw_server: Callable[..., str],
    outputs: Callable[..., Otlp],
    talk: Callable[[socket.socket, threading.Event], None],
) -> None:
    output = outputs(raw_server(talk), timeout=Duration(1))
    assert output.send(SHIPMENT) == SendResult("retry", "timeout")  # else the drip goes on


def test_a_server_that_does_not_read_is_cut_off(
    raw_server: Callable[..., str], outputs: Callable[..., Otlp]
) -> None:
    output = outputs(raw_server(silent), timeout=Duration(1))
    large = msgspec.structs.replace(SHIPMENT, body=bytes(16 * 1024 * 1024))
    assert output.send(large) == SendResult("retry", "timeout")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not an HTTP answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Many: header\r\n" * 20_000, "not an HTTP answer"),
    ],
    ids=["nothing", "too-short", "chunks", "ssh", "header-flood"],
)
def test_what_is_not_a_whole_http_answer_is_tried_again(
    raw_server: Callable[..., str], outputs: Callable[..., Otlp], answer: bytes, reason: str
) -> None:
    output = outputs(raw_server(sends(answer)))
    result = output.send(SHIPMENT)
    assert result.outcome == "retry"
    assert result.reason in (reason, "network ECONNRESET")


def test_a_refused_connection_is_tried_again_and_works_later(
    outputs: Callable[..., Otlp], server: Server
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    output = outputs(f"http://127.0.0.1:{port}")
    assert output.send(SHIPMENT) == SendResult("retry", "network ECONNREFUSED")


def test_an_unknown_name_is_tried_again(outputs: Callable[..., Otlp]) -> None:
    output = outputs("https://no-such-host.invalid")
    assert output.send(SHIPMENT) == SendResult("retry", "dns")


def test_a_connection_the_server_closed_is_opened_again(
    raw_server: Callable[..., str], outputs: Callable[..., Otlp]
) -> None:
    output = outputs(raw_server(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
    results = [output.send(SHIPMENT).outcome for _ in range(3)]
    assert results.count("delivered") >= 2  # one may meet the close in mid-flight
    assert set(results) <= {"delivered", "retry"}


def test_proxies_of_the_environment_are_not_used_for_this_host(
    server: Server, outputs: Callable[..., Otlp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert outputs(server.url).send(SHIPMENT).outcome == "delivered"


def test_proxies_of_the_environment_are_used_for_others(
    server: Server, outputs: Callable[..., Otlp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    output = outputs("http://receiver.example:4318", insecure=True)
    assert output.send(SHIPMENT).outcome == "delivered"
    assert server.requests[0][0] == "http://receiver.example:4318/v1/metrics"


# ---------------------------------------------------------------- TLS


def certificate(directory: Path, name: str, *options: str) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, crt = directory / f"{name}.key", directory / f"{name}.crt"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-nodes", "-keyout", str(key), "-out", str(crt), "-subj", f"/CN={name}", *options),
        ],
        check=True,
        capture_output=True,
    )
    return key, crt


def tls(directory: Path, name: str, *options: str) -> tuple[ssl.SSLContext, str]:
    key, crt = certificate(directory, name, *options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    return context, str(crt)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FOR_THIS_HOST = ("-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")


def test_a_server_is_believed_only_with_a_certificate_of_the_ca_file(
    raw_server: Callable[..., str], outputs: Callable[..., Otlp], tmp_path: Path
) -> None:
    context, ca_file = tls(tmp_path, "good", *FOR_THIS_HOST)
    url = raw_server(sends(OK), context)
    assert outputs(url, ca_file=ca_file).send(SHIPMENT).outcome == "delivered"
    unknown = outputs(url).send(SHIPMENT)
    assert unknown == SendResult("retry", "tls: self-signed certificate")


def test_a_certificate_for_another_host_is_refused(
    raw_server: Callable[..., str], outputs: Callable[..., Otlp], tmp_path: Path
) -> None:
    context, ca_file = tls(tmp_path, "other", "-addext", "subjectAltName=DNS:other.example")
    result = outputs(raw_server(sends(OK), context), ca_file=ca_file).send(SHIPMENT)
    assert result.outcome == "retry"
    assert result.reason.startswith("tls: IP address mismatch")


def test_a_renewed_ca_file_is_read_without_a_restart(
    raw_server: Callable[..., str], outputs: Callable[..., Otlp], tmp_path: Path
) -> None:
    context, good = tls(tmp_path, "good", *FOR_THIS_HOST)
    _, old = tls(tmp_path, "old", *FOR_THIS_HOST)
    ca_file = tmp_path / "ca.crt"
    output = outputs(raw_server(sends(OK), context), ca_file=str(ca_file))
    assert output.send(SHIPMENT).reason == "ca_file: No such file or directory"
    ca_file.write_text("no certificate")
    assert output.send(SHIPMENT).reason.startswith("ca_file: ")
    shutil.copy(old, ca_file)
    assert output.send(SHIPMENT).reason == "tls: self-signed certificate"
    shutil.copy(good, ca_file)
    assert output.send(SHIPMENT).outcome == "delivered"


def test_the_time_limit_holds_for_tls_too(
    raw_server: Callable[..., str], outputs: Callable[..., Otlp], tmp_path: Path
) -> None:
    context, ca_file = tls(tmp_path, "good", *FOR_THIS_HOST)
    url = raw_server(drip(b"HTTP/1.1 200 OK\r\nX-Slow: "), context)
    output = outputs(url, ca_file=ca_file, timeout=Duration(1))
    assert output.send(SHIPMENT) == SendResult("retry", "timeout")
    handshake = raw_server(silent).replace("http:", "https:")
    output = outputs(handshake, ca_file=ca_file, timeout=Duration(1))
    assert output.send(SHIPMENT) == SendResult("retry", "timeout")


def test_https_to_a_plain_server_is_tried_again(
    server: Server, outputs: Callable[..., Otlp]
) -> None:
    result = outputs(server.url.replace("http:", "https:")).send(SHIPMENT)
    assert result.outcome == "retry"
    assert result.reason.startswith("tls: ")


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"endpoint": "http://receiver.example:4318"}, "Use https, or set insecure = true"),
        ({"endpoint": "http://127.0.0.1.example"}, "insecure"),
        ({"endpoint": "receiver:4318"}, "not an address"),
        ({"endpoint": "ftp://receiver"}, "not an address"),
        ({"endpoint": "https://"}, "not an address"),
        ({"endpoint": "https://host:99999"}, "not an address"),
        ({"endpoint": "https://host\n"}, "not an address"),
        ({"endpoint": "https://user:secret@host"}, "use token"),
        ({"endpoint": "https://host?x=1"}, "query"),
        ({"endpoint": "https://host/v1/metrics"}, "must not end in"),
        ({"timeout": Duration(0)}, "1 s to 5 min"),
        ({"timeout": Duration(1e9)}, "1 s to 5 min"),
        ({"ca_file": "/etc/ca.pem"}, "https"),
        ({"headers": {"X Y": "z"}}, "not a valid header"),
        ({"headers": {"X": "a\r\nY: b"}}, "not a valid header"),
        ({"headers": {"Content-Length": "1"}}, "set by the output"),
        ({"headers": {"Vedette-Batch": "1"}}, "set by the output"),
        ({"headers": {"Authorization": "x"}, "token": Secret(env="T")}, "not both"),
    ],
)
def test_a_wrong_configuration_is_refused_with_a_clear_text(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        OtlpConfig(**options)


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:4319", "http://localhost", "http://[::1]:4318", "https://a.b/c"]
)
def test_this_host_and_https_need_no_flag(endpoint: str) -> None:
    assert OtlpConfig(endpoint=endpoint).endpoint == endpoint


def test_a_wrong_value_is_found_when_the_configuration_is_decoded() -> None:
    with pytest.raises(msgspec.ValidationError, match="insecure = true"):
        msgspec.convert({"endpoint": "http://receiver.example"}, OtlpConfig)


def test_a_secret_is_never_printed() -> None:
    config = OtlpConfig(token=Secret(env="TOKEN"))
    assert "***" in repr(config)
    assert "TOKEN" not in repr(config)


def test_httpx_is_imported_late_and_without_its_command_line() -> None:
    program = (
        "import sys\n"
        "from vedette_plugins import otlp\n"
        "assert 'httpx' not in sys.modules\n"
        "httpx = otlp.import_httpx()\n"
        "assert httpx.Client\n"
        "print([name for name in ('click', 'rich', 'pygments', 'httpx._main')"
        " if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_module_registers_its_output() -> None:
    assert otlp.register_outputs() == [Otlp]
    assert Otlp.name == "otlp"


def test_nothing_is_logged_per_batch(
    server: Server, output: Otlp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vedette_plugins")
    for _ in range(3):
        output.send(SHIPMENT)
    assert [record for record in caplog.records if record.name.startswith("vedette")] == []
