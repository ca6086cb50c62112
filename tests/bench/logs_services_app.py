"""The small application behind nginx: answers after a while, and logs what it does.

    python logs_services_app.py PORT LOG CONTROL

``CONTROL`` is a file of JSON that says how slow it is, and how often it fails or hangs.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class App(BaseHTTPRequestHandler):
    """Answers after a while, and logs what it does for each request."""

    protocol_version = "HTTP/1.1"
    control = Path()
    lock = threading.Lock()
    log = sys.stderr

    def say(self, level: str, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        rid = self.headers.get("X-Request-ID", "-")
        with self.lock:
            self.log.write(f"{stamp},{int(time.time() * 1000) % 1000:03} {level} [{rid}] {text}\n")
            self.log.flush()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(body)

    def _answer(self, body: bytes = b"") -> None:
        how = json.loads(self.control.read_text())
        self.say("INFO", f"begin {self.command} {self.path.partition('?')[0]}")
        if random.random() < how["hangs"]:
            self.say("INFO", "acquire connection from pool")
            time.sleep(5)
            self.say("ERROR", "pool exhausted, giving up after 5.0 s")
            self._done(503)
            return
        status = self._work(body, how["slow"])
        if random.random() < how["fails"]:
            self.say("ERROR", "unhandled exception KeyError: 'currency'")
            status = 500
        self._done(status)

    def _work(self, body: bytes, slow: float) -> int:
        nap = slow * 0.008 * random.lognormvariate(0, 0.5)
        if "search" in self.path:
            self.say("INFO", "parse query")
            nap *= 5
            self.say("INFO", f"index answered with {random.randrange(40)} hits")
        elif "items" in self.path:
            hit = random.random() < 0.7
            self.say("INFO", "cache hit" if hit else "cache miss")
            if not hit:
                self.say("INFO", f"select item took {random.lognormvariate(1, 0.6):.1f} ms")
        elif "login" in self.path:
            self.say("INFO", "check password")
            if body == b"wrong":
                self.say("WARNING", "login failed")
                return 401
            self.say("INFO", "session created")
        elif "upload" in self.path:
            self.say("INFO", f"stored {len(body)} bytes")
        time.sleep(nap)
        return 200

    def _done(self, status: int) -> None:
        self.say("INFO", f"done {status}")
        text = b"x" * random.randrange(100, 3000)
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    """Be the application."""
    App.log = Path(sys.argv[2]).open("a", encoding="utf-8")  # noqa: SIM115 - as long as it runs
    App.control = Path(sys.argv[3])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), App)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
