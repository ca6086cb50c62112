"""A process that listens on a port of its own, is called like vLLM and has a recorded page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VLLM = sorted((Path(__file__).parents[1] / "fixtures/serving").glob("vllm-0.32.0/page.*.prom"))

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
page = open(sys.argv[2], "rb").read()
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == "/metrics"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(page) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(page)
    def log_message(self, *_):
        pass
server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def started(page: Path = VLLM[0]) -> tuple[subprocess.Popen[str], int]:
    """Return the process, which the caller has to end, and its port."""
    command = [sys.executable, "-c", SERVER, "vllm-serve", str(page)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, int(child.stdout.readline())
