"""The real agent as a reader of the torture: what it sends is taken in and added up.

The agent runs with its default collectors and ships to a small receiver in the bench's process. A
template's record counts once, whatever is sent again; which line was counted is not in a record, so
of lines lost and doubled only the difference is seen, which is why ``logs_torture_reader`` is
measured as well: it counts line by line with the same parts.
"""

from __future__ import annotations

import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

CONFIG = """
[agent]
state_dir = "{state}/agent"
plugins_dir = "{state}/plugins"
window = "10s"
log_level = "warning"

[spool]
cap = "2MiB"
segment = "256KiB"

[collectors.logs]
files = ["{logs}/*.log"]
journal = false
begin = "beginning"
window = "10s"
exemplars = false

[outputs.otlp]
endpoint = "http://127.0.0.1:{port}"
"""


class Taker:
    """Takes in what an agent sends; ``counts`` has the events of each template's record once."""

    def __init__(self) -> None:
        taker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path.endswith("/v1/logs"):
                    taker.take(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.counts: dict[str, int] = {}
        self.windows = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, body: bytes) -> None:
        """Add up the records of one request."""
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    if record.event_name == "vedette.heartbeat":
                        self.windows += 1
                    if record.event_name != "vedette.log.template":
                        continue
                    told = {one.key: one.value for one in record.attributes}
                    uid = told["log.record.uid"].string_value
                    self.counts[uid] = told["vedette.log.count"].int_value

    @property
    def events(self) -> int:
        """The events of all records."""
        return sum(self.counts.values())

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()


def configured(directory: Path, logs: Path, state: Path, port: int) -> list[str]:
    """Write an agent's configuration; return the command that runs it."""
    config = directory / "agent.toml"
    config.write_text(CONFIG.format(state=state, logs=logs, port=port))
    return [sys.executable, "-m", "vedette", "run", "--config", str(config)]
