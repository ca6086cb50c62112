"""Redis with a replica, saved and appended to, and how it breaks."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from logs_services_capture import Change, Job, Service, end, free_port, wait_for

_CONFIG = """
bind 127.0.0.1
port {port}
dir {dir}
logfile {log}
save 8 20
appendonly yes
auto-aof-rewrite-percentage 50
auto-aof-rewrite-min-size 40kb
maxmemory 60mb
enable-debug-command yes
enable-protected-configs yes
repl-timeout 6
repl-ping-replica-period 2
repl-diskless-sync-delay 0
busy-reply-threshold 500
{more}
"""


class Redis(Service):
    """A cache that is written all the time, and its replica."""

    name = "redis"

    def files(self) -> Mapping[str, Path]:
        return {
            "redis/redis-server.log": self.home / "redis.log",
            "redis/redis-replica.log": self.home / "replica.log",
        }

    def start(self) -> None:
        self.port, self.replica_port = free_port(), free_port()
        self.disk = self.mount("disk", "6m")
        (self.home / "replica").mkdir()
        self.begin()
        self.begin_replica()

    def begin(self) -> None:
        self.server = self._run("redis", self.port, self.disk)

    def begin_replica(self) -> None:
        more = f"replicaof 127.0.0.1 {self.port}"
        self.replica = self._run("replica", self.replica_port, self.home / "replica", more)

    def _run(self, name: str, port: int, where: Path, more: str = "") -> subprocess.Popen[bytes]:
        config = self.home / f"{name}.conf"
        log = self.home / f"{name}.log"
        config.write_text(_CONFIG.format(port=port, dir=where, log=log, more=more))
        child = self.spawn(["redis-server", str(config)])
        wait_for(port)
        return child

    def stop(self) -> None:
        end(self.server)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            end(self.replica)
        super().close()

    def ask(self, *words: str | int, port: int = 0, wait: float = 3.0) -> str:
        """Send a command; return the first line of the answer."""
        with socket.create_connection(("127.0.0.1", port or self.port), wait) as one:
            text = f"*{len(words)}\r\n"
            text += "".join(f"${len(str(word))}\r\n{word}\r\n" for word in words)
            one.sendall(text.encode())
            return one.recv(4096).split(b"\r\n")[0].decode("utf-8", "replace")

    # ------------------------------------------------------------ what is done with it

    def jobs(self) -> Sequence[Job]:
        return (
            Job("set", 0.05, self._set),
            Job("get", 0.1, self._get),
            Job("flush", 9.0, self._expire, regular=True),
            Job("rewrite", 20.0, self._rewrite, regular=True),
        )

    def _set(self, rng: random.Random) -> None:
        self.ask("SET", f"key:{rng.randrange(300)}", "v" * rng.randrange(100, 900))

    def _get(self, rng: random.Random) -> None:
        self.ask("GET", f"key:{rng.randrange(300)}")

    def _expire(self, rng: random.Random) -> None:
        self.ask("EXPIRE", f"key:{rng.randrange(300)}", "5")

    def _rewrite(self, rng: random.Random) -> None:
        self.ask("BGREWRITEAOF")

    # ------------------------------------------------------------ what happens

    def benign(self) -> Sequence[Change]:
        return (
            Change("restart", self._restart),
            Change("replica_restart", self._restart_replica),
            Change("backup", lambda: self._ask_twice("BGSAVE")),
        )

    def _ask_twice(self, word: str) -> None:
        self.ask(word)
        time.sleep(1)
        self.ask("CONFIG", "REWRITE")

    def _restart(self) -> None:
        self.stop()
        self.begin()

    def _restart_replica(self) -> None:
        end(self.replica)
        self.begin_replica()

    def faults(self) -> Sequence[Change]:
        return (
            Change(
                "maxmemory",
                lambda: self._limit("500kb"),
                lambda: self._limit("60mb"),
                "memory",
                note="redis says nothing in its log",
            ),
            Change("save_fails", self._dir_gone, self._dir_back, "Failed opening|saving error"),
            Change(
                "disk_full",
                lambda: self.fill(self.disk),
                self._disk_free,
                "No space left|Write error|saving error|short write",
            ),
            Change(
                "replica_killed",
                lambda: end(self.replica, signal.SIGKILL),
                self.begin_replica,
                "with replica .* lost|fell silent",
            ),
            Change("master_killed", self._kill_master, self.begin, "MASTER|master|refused|silent"),
            Change(
                "crash",
                lambda: self._try("DEBUG", "SEGFAULT"),
                self.begin,
                "crashed|BUG REPORT|signal: 11|silent|STACK TRACE",
            ),
            Change("slow_script", self._script, own="low script", lasting=False, seconds=8.0),
            Change("http_probe", self._probe, own="SECURITY ATTACK", lasting=False, seconds=8.0),
            Change(
                "replica_hangs",
                lambda: self.replica.send_signal(signal.SIGSTOP),
                lambda: self.replica.send_signal(signal.SIGCONT),
                "timedout|timeout|replica|silent",
            ),
            Change(
                "writes_stop",
                lambda: self.paused.update(("set", "flush")),
                self.paused.clear,
                "fell silent",
            ),
            Change("stopped", self.stop, self.begin, "fell silent|exit"),
        )

    def _limit(self, size: str) -> None:
        self.ask("CONFIG", "SET", "maxmemory", size)

    def _dir_gone(self) -> None:
        gone = self.home / "nowhere"
        gone.mkdir(exist_ok=True)
        self.ask("CONFIG", "SET", "dir", str(gone))
        gone.rmdir()

    def _dir_back(self) -> None:
        self._try("CONFIG", "SET", "dir", str(self.disk))

    def _disk_free(self) -> None:
        self.free(self.disk)
        time.sleep(2)

    def _kill_master(self) -> None:
        end(self.server, signal.SIGKILL)

    def _script(self) -> None:
        text = "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 4 do end"
        self._try("EVAL", text, "0", wait=8.0)

    def _probe(self) -> None:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", self.port), 2) as one:
                one.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                one.recv(100)

    def _try(self, *words: str, wait: float = 3.0) -> None:
        with contextlib.suppress(OSError):
            self.ask(*words, wait=wait)
