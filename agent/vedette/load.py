"""Make one bounded load and end: the child processes of a drill.

Run as ``python -m vedette.load``. Every child names itself ``vedette-drill``, dies with its parent,
ends at its own deadline even when nobody stops it, and carries limits the kernel enforces. Only
the standard library is imported: the load should be the load, not a program that starts.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import time

__all__ = ["COMM", "main"]

#: The name that process lists, and so suspects, show (the kernel keeps 15 characters).
COMM = "vedette-drill"
#: prctl options, from linux/prctl.h.
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
#: Seconds after the deadline at which the alarm ends a child that is stuck in a system call.
GRACE_S = 5
MIB = 1024 * 1024
PAGE = mmap.PAGESIZE
#: Bytes a second: enough to be seen on any disk or network counter, no more.
DISK_RATE = 200 * MIB
NETWORK_RATE = 256 * MIB
#: Written between two syncs: little, so that even a fast disk is busy all the time.
SYNC_BYTES = 64 * 1024


def main() -> int:
    """Make the load that the arguments describe."""
    parser = argparse.ArgumentParser(prog="vedette.load")
    parser.add_argument("kind", choices=("cpu", "memory", "disk", "receive", "send"))
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--bytes", type=int, default=0)
    parser.add_argument("--path", default="")
    parser.add_argument("--listener", type=int, default=-1, help="an inherited descriptor")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    _confine(options.kind, options.seconds, options.parent, options.bytes)
    deadline = time.monotonic() + options.seconds
    try:
        if options.kind == "cpu":
            _spin(deadline)
        elif options.kind == "memory":
            _occupy(options.bytes, options.seconds / 3, deadline)
        elif options.kind == "disk":
            _write(options.path, options.bytes, deadline)
        elif options.kind == "receive":
            _receive(options.listener, deadline)
        else:
            _send(options.port, deadline)
    except (OSError, MemoryError) as error:
        sys.stderr.write(f"{options.kind}: {error}\n")
        return 1
    return 0


def _confine(kind: str, seconds: float, parent: int, amount: int) -> None:
    """Take the name, tie the life to the parent's, set the limits."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NAME, COMM.encode(), 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the tie was made
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S)  # the default action is to end
    whole = int(seconds) + GRACE_S
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (amount if kind == "disk" else 0,) * 2)
    if kind == "memory":
        room = _address_space() + amount + 64 * MIB
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # whoever runs out of memory, this process goes first


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * PAGE


def _spin(deadline: float) -> None:
    while time.monotonic() < deadline:
        for _ in range(20_000):
            pass


def _occupy(amount: int, ramp_s: float, deadline: float) -> None:
    """Touch ``amount`` bytes page by page, evenly over ``ramp_s`` seconds, and hold them."""
    block = 16 * MIB
    began = time.monotonic()
    held: list[mmap.mmap] = []
    for taken in range(0, amount, block):
        due = began + ramp_s * taken / amount
        time.sleep(max(0.0, min(due, deadline) - time.monotonic()))
        if time.monotonic() >= deadline:
            return
        memory = mmap.mmap(-1, min(block, amount - taken))
        for offset in range(0, len(memory), PAGE):
            memory[offset] = 1
        held.append(memory)
    time.sleep(max(0.0, deadline - time.monotonic()))


def _write(directory: str, amount: int, deadline: float) -> None:
    """Write and sync a file of at most ``amount`` bytes, over and over.

    The file has no name from the start, so it is gone with this process, however that ends.
    """
    chunk = os.urandom(SYNC_BYTES)
    with tempfile.TemporaryFile(dir=directory, prefix=".vedette-drill-", buffering=0) as file:
        began = time.monotonic()
        written = 0
        while time.monotonic() < deadline:
            os.pwrite(file.fileno(), chunk, written % (amount - amount % SYNC_BYTES))
            os.fdatasync(file.fileno())
            written += SYNC_BYTES
            _pace(began, written, DISK_RATE, deadline)


def _receive(listener_fd: int, deadline: float) -> None:
    buffer = bytearray(MIB)
    with socket.socket(fileno=listener_fd) as listener:
        listener.settimeout(max(0.1, deadline - time.monotonic()))
        peer, _ = listener.accept()
    with peer:
        while (left := deadline - time.monotonic()) > 0:
            peer.settimeout(left)
            try:
                if not peer.recv_into(buffer):
                    return
            except TimeoutError:
                return


def _send(port: int, deadline: float) -> None:
    payload = bytes(MIB)
    began = time.monotonic()
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        while (left := deadline - time.monotonic()) > 0:
            peer.settimeout(left)
            try:
                sent += peer.send(payload)
            except (TimeoutError, ConnectionError):  # the other side reached its deadline first
                return
            _pace(began, sent, NETWORK_RATE, deadline)


def _pace(began: float, done: int, rate: int, deadline: float) -> None:
    """Sleep when more was done since ``began`` than the rate (bytes a second) allows."""
    ahead = min(began + done / rate, deadline) - time.monotonic()
    if ahead > 0.002:
        time.sleep(ahead)


if __name__ == "__main__":
    sys.exit(main())
