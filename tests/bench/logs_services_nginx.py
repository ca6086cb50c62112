"""nginx in front of a small application, its visitors, and how it breaks."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from logs_services_capture import Change, Job, Service, end, free_port, wait_for

_CONFIG = """
user root;
worker_processes 1;
worker_rlimit_nofile {files};
pid {home}/nginx.pid;
error_log {home}/log/error.log notice;
events {{ worker_connections 256; }}
http {{
  log_format timed '$remote_addr - $remote_user [$time_local] "$request" $status '
    '$body_bytes_sent "$http_referer" "$http_user_agent" rt=$request_time '
    'urt=$upstream_response_time rid=$request_id';
  access_log {home}/log/access.log timed;
  client_body_temp_path {home}/disk/body;
  proxy_temp_path {home}/disk/proxy;
  fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  client_body_buffer_size 8k;
  upstream app {{ server 127.0.0.1:{app} max_fails=0; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    root {home}/www;
    location / {{ try_files $uri =404; }}
    location /wp {{ root {home}/www; }}
    location /api {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Request-ID $request_id;
      proxy_read_timeout 3s;
    }}
    {more}
  }}
}}
"""
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
    "okhttp/4.12.0",
    "python-requests/2.32.3",
)
_WORDS = (
    "boots",
    "lamp",
    "chair",
    "table",
    "mirror",
    "kettle",
    "towel",
    "rope",
    "ladder",
    "hammer",
)


class Nginx(Service):
    """Static files, an application behind it, uploads, a health check and a job."""

    name = "nginx"

    def files(self) -> Mapping[str, Path]:
        logs = self.home / "log"
        return {
            "nginx/access.log": logs / "access.log",
            "nginx/error.log": logs / "error.log",
            "app/app.log": logs / "app.log",
        }

    def start(self) -> None:
        self.port, self.app_port = free_port(), free_port()
        for name in ("log", "www", "www/static"):
            (self.home / name).mkdir()
        self.disk = self.mount("disk", "3m")
        for one in range(8):
            (self.home / f"www/static/{one}.css").write_bytes(b"a" * (500 + 3000 * one))
        self.control = self.home / "control.json"
        self.tell()
        self.begin_app()
        self.configure()
        config = str(self.home / "nginx.conf")
        self.master = self.spawn(["nginx", "-c", config, "-p", str(self.home), "-g", "daemon off;"])
        wait_for(self.port)

    def stop(self) -> None:
        end(self.master, signal.SIGQUIT)

    def configure(self, files: int = 512, more: str = "") -> None:
        config = _CONFIG.format(
            home=self.home, port=self.port, app=self.app_port, files=files, more=more
        )
        (self.home / "nginx.conf").write_text(config)

    def reload(self, files: int = 512, more: str = "") -> None:
        self.configure(files, more)
        self.master.send_signal(signal.SIGHUP)

    def tell(self, **how: float) -> None:
        """Tell the application how to behave."""
        part = self.control.with_suffix(".new")
        part.write_text(json.dumps({"slow": 1.0, "fails": 0.0, "hangs": 0.0, **how}))
        part.rename(self.control)

    def begin_app(self) -> None:
        log = str(self.home / "log/app.log")
        program = str(Path(__file__).with_name("logs_services_app.py"))
        command = [sys.executable, program, str(self.app_port), log, str(self.control)]
        self.app = self.spawn(command)
        wait_for(self.app_port)

    # ------------------------------------------------------------ visitors

    def jobs(self) -> Sequence[Job]:
        return (
            Job("items", 0.25, self._items),
            Job("items", 0.4, self._items),
            Job("search", 0.8, self._search),
            Job("static", 0.4, self._static),
            Job("login", 1.5, self._login),
            Job("upload", 2.5, self._upload),
            Job("missing", 6.0, self._missing),
            Job("aborted", 7.0, self._aborted),
            Job("health", 2.0, self._health, regular=True),
            Job("cleanup", 5.0, self._cleanup, regular=True),
        )

    def ask(self, method: str, path: str, body: bytes | None = None, agent: str = "") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=8)
        try:
            headers = {"User-Agent": agent or _AGENTS[0], "Referer": "-"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def _items(self, rng: random.Random) -> None:
        number = int(rng.paretovariate(0.7)) % 5000
        self.ask("GET", f"/api/items/{number}", agent=rng.choice(_AGENTS))

    def _search(self, rng: random.Random) -> None:
        path = f"/api/search?q={rng.choice(_WORDS)}&page={rng.randrange(1, 5)}"
        self.ask("GET", path, agent=rng.choice(_AGENTS))

    def _static(self, rng: random.Random) -> None:
        self.ask("GET", f"/static/{rng.randrange(8)}.css", agent=rng.choice(_AGENTS))

    def _login(self, rng: random.Random) -> None:
        wrong = rng.random() < 0.15
        self.ask("POST", "/api/login", b"wrong" if wrong else b"right", rng.choice(_AGENTS))

    def _upload(self, rng: random.Random) -> None:
        self.ask("POST", "/api/upload", os.urandom(rng.randrange(4_000, 90_000)))

    def _missing(self, rng: random.Random) -> None:
        self.ask("GET", rng.choice(("/favicon.ico", "/wp/login.php", "/wp/.env", "/robots.txt")))

    def _aborted(self, rng: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 2) as one:
            one.sendall(
                b"GET /api/search?q=slow HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8.5\r\n\r\n"
            )
            time.sleep(0.01)

    def _health(self, rng: random.Random) -> None:
        self.ask("GET", "/api/health", agent="kube-probe/1.29")

    def _cleanup(self, rng: random.Random) -> None:
        self.ask("POST", "/api/cleanup", b"", agent="cron/1.0")

    # ------------------------------------------------------------ what happens

    def benign(self) -> Sequence[Change]:
        return (
            Change("reload", self.reload),
            Change("rotate", self._rotate),
            Change("deploy", self._deploy, note="the application restarts: a second of 502"),
        )

    def _rotate(self) -> None:
        for one in ("access.log", "error.log"):
            path = self.home / "log" / one
            path.rename(path.with_suffix(".log.1"))
        self.master.send_signal(signal.SIGUSR1)

    def _deploy(self) -> None:
        end(self.app)
        self.begin_app()

    def faults(self) -> Sequence[Change]:
        return (
            Change(
                "upstream_killed",
                lambda: end(self.app, signal.SIGKILL),
                self.begin_app,
                r"connect\(\) failed|Connection refused|\b502\b",
            ),
            Change(
                "upstream_slow", lambda: self.tell(slow=10.0), self.tell, r"rt=|above|timed out"
            ),
            Change(
                "upstream_hangs", lambda: self.tell(hangs=1.0), self.tell, r"timed out|\b504\b|110"
            ),
            Change(
                "app_500",
                lambda: self.tell(fails=0.4),
                self.tell,
                r"\b500\b",
                note="only the status in the access log",
            ),
            Change(
                "disk_full",
                lambda: self.fill(self.disk),
                lambda: self.free(self.disk),
                r"No space left|\" 500 ",
            ),
            Change("open_files", self._few_files, self._many_files, r"Too many open files"),
            Change(
                "bad_reload",
                lambda: self.reload(more="prxoy_pass http://app;"),
                self.reload,
                r"unknown directive|emerg",
                lasting=False,
                seconds=8.0,
            ),
            Change("scan_404", self._scan, own=r"No such file|\b404\b", lasting=False),
            Change("job_stops", lambda: self.paused.add("cleanup"), self.paused.clear, "cleanup"),
            Change("stopped", self.stop, self._again, "fell silent"),
        )

    def _few_files(self) -> None:
        self.reload(files=26)
        time.sleep(1)
        self.held = []
        for _ in range(40):
            with contextlib.suppress(OSError):
                self.held.append(socket.create_connection(("127.0.0.1", self.port), 1))

    def _many_files(self) -> None:
        for one in self.held:
            one.close()
        self.reload()

    def _scan(self) -> None:
        until = time.monotonic() + 12
        for at in range(300):
            with contextlib.suppress(OSError):
                self.ask("GET", f"/wp/{_WORDS[at % 10]}{at}.php", agent="Nikto/2.5.0")
            time.sleep(0.03)
            if time.monotonic() > until:
                return

    def _again(self) -> None:
        config = str(self.home / "nginx.conf")
        self.master = self.spawn(["nginx", "-c", config, "-p", str(self.home), "-g", "daemon off;"])
        wait_for(self.port)
