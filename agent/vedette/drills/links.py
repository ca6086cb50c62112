"""A network link that gets slow or lossy, as a child process makes it.

A second process lives in a network namespace of its own, joined to the host's by a pair of virtual
interfaces; data flows to it, and while the fault is on the host's end goes through the kernel's
network emulator (tc netem). The namespace has no name and no other way out, so namespace,
interfaces and emulation are gone with that process, however it ends.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vedette.drills.task import Phase, Task, forked

__all__ = ["INTERFACE", "delay", "lose", "unavailable"]

CLONE_NEWNET = 0x40000000
INTERFACE, INSIDE = "vdrill0", "vdrill1"
#: Of the block for benchmarks of network devices, RFC 2544: routed nowhere.
OUTER, INNER, PREFIX_LENGTH = "198.18.211.1", "198.18.211.2", 30
PORT = 9
#: What flows while all is well: messages a second, and bytes of each.
MESSAGES, MESSAGE_BYTES = 25, 32 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


def delay(task: Task) -> None:
    """Make the link 200 ms slower while the fault is on."""
    _spoil(task, ("delay", "200ms", "50ms"))


def lose(task: Task) -> None:
    """Let the link lose a tenth of what is sent while the fault is on."""
    _spoil(task, ("loss", "10%"))


def unavailable() -> str:
    """Return why links cannot be spoiled here; empty when they can.

    Asks the kernel itself, in a namespace that is gone afterwards.
    """
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            return f"there is no program {tool} (package iproute2)"
    try:
        done = subprocess.run(  # noqa: S603
            _netem("lo", ("delay", "1ms")),
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            preexec_fn=unshare,
        )
    except (OSError, subprocess.SubprocessError):
        return "this process may not make a network namespace"
    if done.returncode != 0:
        said = (done.stderr.strip() or f"tc ended with {done.returncode}").splitlines()[0]
        return f"the kernel has no network emulation (netem): {said}"
    return ""


def unshare() -> None:
    """Put this process into a new network namespace; raises ``OSError`` when it may not."""
    if _libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _spoil(task: Task, how: Sequence[str]) -> None:
    phase, spoilt = Phase(), False
    with _link(task) as peer:
        began = time.monotonic()
        sent = 0
        while task.left():
            peer.settimeout(max(0.1, task.left()))
            try:
                peer.sendall(bytes(MESSAGE_BYTES))
            except TimeoutError:
                return
            sent += 1
            phase.wait(min(began + sent / MESSAGES - time.monotonic(), task.left()))
            if phase.on != spoilt:
                spoilt = phase.on
                _run(_netem(INTERFACE, how) if spoilt else _no_netem(INTERFACE))


def _link(task: Task) -> socket.socket:
    """Return a connection to a process in a namespace of its own that reads what it is sent."""
    read, write = os.pipe()
    pid = forked("drill-far-end")
    if pid == 0:
        _far_end(read, task)
    os.close(read)
    near = ["ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", INSIDE]
    _await_namespace(pid)
    _run([*near, "netns", str(pid)])
    _run(["ip", "address", "add", f"{OUTER}/{PREFIX_LENGTH}", "dev", INTERFACE])
    _run(["ip", "link", "set", INTERFACE, "up"])
    os.write(write, b"x")
    for _ in range(50):
        try:
            return socket.create_connection((INNER, PORT), timeout=5)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise OSError("the far end of the link does not answer")


def _await_namespace(pid: int) -> None:
    own = Path("/proc/self/ns/net").readlink()
    for _ in range(50):
        if Path(f"/proc/{pid}/ns/net").readlink() != own:
            return
        time.sleep(0.1)
    raise OSError("the far end got no network namespace")


def _far_end(told: int, task: Task) -> None:
    try:
        unshare()
        os.read(told, 1)
        _run(["ip", "address", "add", f"{INNER}/{PREFIX_LENGTH}", "dev", INSIDE])
        _run(["ip", "link", "set", INSIDE, "up"])
        with socket.create_server((INNER, PORT), backlog=1) as listener:
            listener.settimeout(max(0.1, task.left()))
            peer, _ = listener.accept()
        peer.settimeout(max(0.1, task.left()))
        while peer.recv(1 << 16):
            pass
    except OSError as error:
        sys.stderr.write(f"far end: {error}\n")
    finally:
        os._exit(0)


def _netem(interface: str, how: Sequence[str]) -> list[str]:
    return ["tc", "qdisc", "replace", "dev", interface, "root", "netem", *how]


def _no_netem(interface: str) -> list[str]:
    return ["tc", "qdisc", "delete", "dev", interface, "root"]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    if done.returncode != 0:
        said = done.stderr.strip() or f"ended with {done.returncode}"
        raise OSError(f"{' '.join(command)}: {said}")
