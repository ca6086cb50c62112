"""Make something happen on this host, bounded: files, loopback traffic, forks, memory, CPU.

``Worker`` starts this module as a process of its own, which does its work once per line on standard
input and says ``ready`` when it waits for one. All of it takes about a second. From begin to end it
holds a few things that a host at rest may lack, so that they are not compared at 0 only: sockets of
either family in several states, datagrams nobody reads, a process that is stopped and one defunct.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

NAME = "agreement-work"
FILE_BYTES, BLOCK_BYTES, READ_BYTES = 20 << 20, 1 << 20, 1 << 17
CONNECTIONS, DATAGRAMS, UNREAD, FORKS = 20, 200, 7, 60
MEMORY_BYTES = 32 << 20
BUSY_S = 0.3
PATIENCE_S = 10


class Worker:
    """The process that makes something happen on this host."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self._listen()

    def work(self, until: float) -> None:
        """Let it work, and wait until then (on the monotonic clock) or until it is done."""
        self._say("work")
        self._listen()
        time.sleep(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """Let it end, which takes away what it holds."""
        try:
            self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _say(self, word: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the worker ended")


@contextmanager
def still_life() -> Iterator[None]:
    """Hold sockets and processes in states that seldom occur."""
    with ExitStack() as held:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with suppress(OSError):  # no IPv6
                hold_sockets(held, family, address)
        os.posix_spawnp("true", ["true"], os.environ)  # nobody asks how it ended
        stopped = held.enter_context(subprocess.Popen(["sleep", "600"]))
        held.callback(stopped.kill)
        stopped.send_signal(signal.SIGSTOP)
        yield


def hold_sockets(held: ExitStack, family: socket.AddressFamily, address: str) -> None:
    """Hold a listener, connections open, half closed and not accepted, and unread datagrams."""
    server = held.enter_context(socket.create_server((address, 0), family=family))
    clients = [socket.create_connection(server.getsockname()[:2]) for _ in range(4)]
    for client in clients[:3]:
        held.enter_context(client)
        held.enter_context(server.accept()[0])
    clients[0].shutdown(socket.SHUT_WR)
    clients[3].close()  # accepted by nobody
    one, two = (held.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2))
    one.bind((address, 0))
    for _ in range(UNREAD):
        two.sendto(bytes(512), one.getsockname())
    with suppress(OSError):
        two.sendto(b"", (address, 9))  # nobody listens there


def write_and_read() -> None:
    """Write a file through to the disk, forget it in RAM, read it back."""
    with tempfile.NamedTemporaryFile() as file:
        block = os.urandom(BLOCK_BYTES)
        for _ in range(FILE_BYTES // BLOCK_BYTES):
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # in no larger pieces
        for at in range(0, FILE_BYTES, READ_BYTES):
            os.pread(file.fileno(), READ_BYTES, at)


def talk() -> None:
    """Send over TCP and UDP from and to this host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        for _ in range(CONNECTIONS):
            with socket.create_connection(server.getsockname()) as client:
                client.sendall(bytes(BLOCK_BYTES // 4))
        thread.join()
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        for _ in range(DATAGRAMS):
            two.sendto(bytes(512), one.getsockname())
            one.recv(1024)


def answer(server: socket.socket) -> None:
    for _ in range(CONNECTIONS):
        connection, _ = server.accept()
        with connection:
            while connection.recv(BLOCK_BYTES):
                pass


def fork() -> None:
    """Start and reap processes that do nothing."""
    for _ in range(FORKS):
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)


def touch() -> None:
    """Take memory page by page and give it back."""
    with mmap.mmap(-1, MEMORY_BYTES) as memory:
        for at in range(0, MEMORY_BYTES, mmap.PAGESIZE):
            memory[at] = 1


def compute() -> None:
    until = time.monotonic() + BUSY_S
    while time.monotonic() < until:
        pass


def main() -> None:
    with open("/proc/self/comm", "w") as file:
        file.write(NAME)
    with still_life():
        print("ready", flush=True)
        for _ in sys.stdin:
            for work in (write_and_read, talk, fork, touch, compute):
                work()
            print("ready", flush=True)


if __name__ == "__main__":
    main()
