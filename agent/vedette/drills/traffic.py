"""Faults of the network on the loopback interface, as a child process makes them."""

from __future__ import annotations

import resource
import socket
import time

from vedette.drills.task import MIB, Task, pause

__all__ = ["leak", "receive", "send"]

#: Descriptors that are not leaked: what the process itself needs.
OWN_FILES = 32


def receive(task: Task) -> None:
    """Accept one connection on an inherited socket and read it until the deadline."""
    buffer = bytearray(MIB)
    with socket.socket(fileno=task.listener) as listener:
        listener.settimeout(max(0.1, task.left()))
        peer, _ = listener.accept()
    with peer:
        while left := task.left():
            peer.settimeout(left)
            try:
                if not peer.recv_into(buffer):
                    return
            except TimeoutError:
                return


def send(task: Task) -> None:
    """Send ``rate`` bytes a second to a port of 127.0.0.1."""
    payload = bytes(MIB)
    began = time.monotonic()
    sent = 0
    with socket.create_connection(("127.0.0.1", task.port), timeout=5) as peer:
        while left := task.left():
            peer.settimeout(left)
            try:
                sent += peer.send(payload)
            except (TimeoutError, ConnectionError):  # the other side reached its deadline first
                return
            pause(task, began, sent, task.rate)


def leak(task: Task) -> None:
    """Open ``rate`` connections to itself a second, up to ``amount``, and close none."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * task.amount + OWN_FILES, most), most))
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        began = time.monotonic()
        for opened in range(task.amount):
            pause(task, began, opened, task.rate)
            if not task.left():
                break
            held.append(socket.create_connection(listener.getsockname(), timeout=5))
            held.append(listener.accept()[0])
        time.sleep(task.left())
