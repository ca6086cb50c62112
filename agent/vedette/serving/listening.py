"""Say which processes of this host listen for TCP connections, on which local addresses.

From the kernel's list of sockets (sock_diag), where it gives none from /proc/net/tcp and tcp6, and
from the descriptors of processes. Whose descriptors this user may not see stays unknown: its socket
is still told, without a process. Sockets within a container that has a network of its own are not
seen, ports that are published from it are.

Cost: to look at the descriptors of all processes takes some 20 ms on a host with 300 of them. It is
done only when there is a socket that nobody is known for, and not for a socket that was looked for
``SEARCHES_MAX`` times: whoever holds it is another user's, or in a container.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from vedette.sock_diag import INET, LISTEN, TCP, Line

#: State of a listening socket in /proc/net/tcp.
_LISTEN = b"0A"
PROCESSES_MAX, DESCRIPTORS_MAX, SOCKETS_MAX = 20_000, 4_096, 4_096
COMMAND_MAX = 4_096
#: A socket without an owner is looked for so often: it may pass from one process to another.
SEARCHES_MAX = 3
TRIE_MAX = 64 * 1024


class Process(msgspec.Struct, frozen=True):
    """A process: its number, when it was started (clock ticks since boot), and what it is."""

    pid: int
    started: int
    name: str
    command: tuple[str, ...]
    cgroup: str = ""
    parent: int = 0


class Listener(msgspec.Struct, frozen=True):
    """A listening socket; ``address`` is one that this host reaches it by."""

    address: str
    port: int
    process: Process | None = None

    @property
    def place(self) -> str:
        """Return it as the authority of a URL."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


class Listening:
    """Who listens; one thread. ``proc`` is where the kernel's files are."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._owners: dict[str, Process] = {}
        self._searches: dict[str, int] = {}
        # The kernel lists those of this process's own network; of another one there are only files.
        self._line = Line() if proc == "/proc" else None
        #: What the newest look found.
        self.newest: tuple[Listener, ...] = ()

    def look(self) -> list[Listener]:
        """Return the listening sockets, by port."""
        sockets = self._sockets()
        known = {inode: one for inode, one in self._owners.items() if inode in sockets}
        self._owners = {inode: one for inode, one in known.items() if self.lives(one)}
        nobodys = sockets.keys() - self._owners.keys()
        self._searches = {inode: self._searches.get(inode, 0) for inode in nobodys}
        wanted = {inode for inode, count in self._searches.items() if count < SEARCHES_MAX}
        if wanted:
            self._owners |= self._find(wanted)
            self._searches |= {inode: self._searches[inode] + 1 for inode in wanted}
        found = {
            (address, port): Listener(address, port, self._owners.get(inode))
            for inode, (address, port) in sockets.items()
        }
        ranked = sorted(found.values(), key=lambda one: (one.port, one.address))
        self.newest = tuple(ranked)
        return ranked

    def close(self) -> None:
        """Hang up; the next look opens it anew."""
        if self._line is not None:
            self._line.close()

    def process(self, pid: int) -> Process | None:
        """Return a process as far as it may be seen; None when there is none."""
        folder = f"{self._proc}/{pid}"
        born = self._born(pid)
        if born is None:
            return None
        command = _whole(f"{folder}/cmdline", COMMAND_MAX).split(b"\0")
        while command and not command[-1]:
            command.pop()
        groups = _whole(f"{folder}/cgroup", COMMAND_MAX).decode("utf-8", "replace").split("\n")
        own = next((one.split(":", 2)[2] for one in groups if one.startswith("0::")), "")
        return Process(
            pid,
            born[1],
            _whole(f"{folder}/comm", 64).decode("utf-8", "replace").rstrip("\n"),
            tuple(word.decode("utf-8", "replace") for word in command),
            own,
            born[0],
        )

    def lives(self, process: Process) -> bool:
        """Say whether it is still there, and not another one with its number."""
        born = self._born(process.pid)
        return born is not None and born[1] == process.started

    # ------------------------------------------------------------ sockets

    def _sockets(self) -> dict[str, tuple[str, int]]:
        """Return address and port of each listening socket by inode."""
        if self._line is None:
            return _listed(f"{self._proc}/1/net")
        found: dict[str, tuple[str, int]] = {}
        try:
            for one in self._line.sockets(TCP, INET, 1 << LISTEN):
                family = socket.AF_INET if one.family == INET else socket.AF_INET6
                packed = one.local_address[: 4 if one.family == INET else 16]
                found[str(one.inode)] = _reached(socket.inet_ntop(family, packed)), one.port
                if len(found) >= SOCKETS_MAX:
                    break
        except OSError:  # a kernel without sock_diag, or one that lets nobody ask
            self._line = None
            return _listed("/proc/self/net")
        return found

    # ------------------------------------------------------------ processes

    def _find(self, wanted: set[str]) -> dict[str, Process]:
        """Return the processes that hold these sockets, as far as they may be seen."""
        found: dict[str, Process] = {}
        for pid in self._pids():
            if not wanted - found.keys():
                break
            for inode in self._held(pid):
                if inode in wanted and inode not in found:
                    process = self.process(pid)
                    if process is not None:
                        found[inode] = process
        return found

    def _pids(self) -> list[int]:
        try:
            names = os.listdir(self._proc)  # noqa: PTH208 - names are all that is needed
        except OSError:
            return []
        # The lowest first: workers inherit a server's socket, and it is the parent that lasts.
        return sorted(int(name) for name in names if name.isdecimal())[:PROCESSES_MAX]

    def _held(self, pid: int) -> Iterator[str]:
        folder = f"{self._proc}/{pid}/fd"
        try:
            descriptors = os.listdir(folder)  # noqa: PTH208 - the same
        except OSError:
            return
        for descriptor in descriptors[:DESCRIPTORS_MAX]:
            try:
                target = os.readlink(f"{folder}/{descriptor}")  # noqa: PTH115 - thousands of them
            except OSError:
                continue
            if target.startswith("socket:["):
                yield target[8:-1]

    def addresses(self, process: Process) -> frozenset[str]:
        """Return the IPv4 addresses of the network that a process is in, the loopback's left out.

        From ``fib_trie``: an address's line is followed by one that calls it local.
        """
        text = _whole(f"{self._proc}/{process.pid}/net/fib_trie", TRIE_MAX).decode(
            "ascii", "replace"
        )
        lines = [one.split() for one in text.split("\n")]
        found = {
            words[1]
            for words, below in pairwise(lines)
            if words[:1] == ["|--"] and len(words) == 2 and below[1:] == ["host", "LOCAL"]
        }
        return frozenset(one for one in found if not one.startswith("127."))

    def _born(self, pid: int) -> tuple[int, int] | None:
        """Return a process's parent and when it was started; that names it for ever."""
        stat = _whole(f"{self._proc}/{pid}/stat", 4096)
        fields = stat[stat.rfind(b")") + 1 :].split()
        if len(fields) <= 19 or not (fields[19].isdigit() and fields[1].isdigit()):
            return None
        return int(fields[1]), int(fields[19])


def _listed(folder: str) -> dict[str, tuple[str, int]]:
    """Return them from the files of a network, for which the kernel walks all connections."""
    found: dict[str, tuple[str, int]] = {}
    for name in ("tcp", "tcp6"):
        for line in _lines(f"{folder}/{name}")[1:]:
            fields = line.split(None, 10)
            if len(fields) < 10 or fields[3] != _LISTEN or len(found) >= SOCKETS_MAX:
                continue
            place = _place(fields[1])
            if place is not None:
                found[fields[9].decode("ascii", "replace")] = place
    return found


def _place(text: bytes) -> tuple[str, int] | None:
    """Return the address a socket can be reached by here, and its port."""
    address, _, port = text.partition(b":")
    try:
        number = int(port, 16)
        groups = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
        packed = b"".join(struct.pack(f"{_ORDER}I", group) for group in groups)
        shown = socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
    except (ValueError, struct.error, OSError):
        return None
    return _reached(shown), number


def _reached(address: str) -> str:
    """Return the address a socket is reached by from here; of one on all of them the loopback's."""
    shown = address.removeprefix("::ffff:") if "." in address else address
    # "::" takes connections of both kinds, unless told otherwise, which cannot be seen from here.
    return {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(shown, shown)


#: Each group of four bytes is written in the machine's own order.
_ORDER = "<" if sys.byteorder == "little" else ">"


def _whole(path: str, most: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(most) or b""
    except OSError:
        return b""


def _lines(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read(8 << 20).split(b"\n")
    except OSError:
        return []
