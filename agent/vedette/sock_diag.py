"""List sockets as the kernel knows them, over netlink (sock_diag(7), as ``ss`` does).

For open connections the kernel walks its whole table of them, which is larger the more memory a
host has: 262,144 places take 0.2 to 0.4 ms through netlink, and several times that as
/proc/net/tcp. Listening sockets are in another, small table: asking for these alone takes 30 µs.

A socket is told of the network namespace that this process is in.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Generator, Iterator
from functools import cache

import msgspec

#: The kernel's number of the state of a listening socket (enum in include/net/tcp_states.h).
LISTEN = 10
INET, INET6, TCP, UDP = 2, 10, 6, 17
NETLINK_SOCK_DIAG = 4
#: Requests: the older one lists IPv4 and IPv6 in one walk over the connections, but only TCP's.
TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY = 18, 20
DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
NLMSG_ERROR, NLMSG_DONE = 2, 3
HEAD = struct.Struct("=IHHII")
#: Of struct inet_diag_msg: family, state, timer, local port and address, the two lengths of queues
#: after the peer's address and expiry, and the inode after the owner.
BODY = struct.Struct("=BBBx2s2x16s32xII4xI")
BUFFER = 64 * 1024
#: Seconds to wait for the kernel's answer.
PATIENCE_S = 2.0


class Listed(msgspec.Struct, frozen=True, gc=False):
    """One socket that the kernel listed; for a listener the queues count connections, else bytes.

    ``local_port`` and ``local_address`` are in network order; only the first four bytes of the
    latter count for IPv4.
    """

    family: int
    state: int
    timer: int
    local_port: bytes
    local_address: bytes
    receive_queue: int
    send_queue: int
    inode: int

    @property
    def port(self) -> int:
        """The local port as a number."""
        return int.from_bytes(self.local_port, "big")


class Line:
    """A line to the part of the kernel that lists sockets; opened by the first question."""

    def __init__(self) -> None:
        self._link: socket.socket | None = None

    def sockets(self, protocol: int, family: int, states: int) -> Iterator[Listed]:
        """List the sockets in some states (a bit each).

        Of TCP those of both families are listed, whichever is asked for. Raises ``OSError`` when
        the kernel refuses.
        """
        is_last = False
        try:
            for answer in self.ask(protocol, family, states):
                found, is_last = parse(answer)
                yield from found
                if is_last:
                    return
        finally:
            if not is_last:
                # What the kernel has still to say would be taken for the next question's answer.
                self.close()

    def ask(self, protocol: int, family: int, states: int) -> Generator[bytes, None, None]:
        """Ask for the sockets in some states; yield answers until the caller has seen the last."""
        if self._link is None:
            self._link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
            self._link.settimeout(PATIENCE_S)
        self._link.send(request(protocol, family, states))
        while True:
            yield self._link.recv(BUFFER)

    def close(self) -> None:
        """Hang up; the next question opens it anew."""
        link, self._link = self._link, None
        if link is not None:
            link.close()


@cache
def request(protocol: int, family: int, states: int) -> bytes:
    """Return the request for a list of sockets: struct inet_diag_req for TCP, else _v2."""
    if protocol == TCP:
        body = struct.pack("=BBBB48sII", family, 0, 0, 0, b"", states, 0)
        return HEAD.pack(HEAD.size + len(body), TCPDIAG_GETSOCK, DUMP, 1, 0) + body
    body = struct.pack("=BBBBI48s", family, protocol, 0, 0, states, b"")
    return HEAD.pack(HEAD.size + len(body), SOCK_DIAG_BY_FAMILY, DUMP, 1, 0) + body


def parse(answer: bytes) -> tuple[list[Listed], bool]:
    """Return the sockets in one answer of the kernel, and whether it is the last.

    Raises ``OSError`` when the kernel refuses.
    """
    found: list[Listed] = []
    at = 0
    while at + HEAD.size <= len(answer):
        length, kind, _, _, _ = HEAD.unpack_from(answer, at)
        body = at + HEAD.size
        if kind == NLMSG_DONE or length < HEAD.size:
            return found, True
        if kind == NLMSG_ERROR:
            number = -int.from_bytes(answer[body : body + 4], sys.byteorder, signed=True) & 0xFFFF
            raise OSError(number, os.strerror(number))
        if kind in (TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY) and body + BODY.size <= len(answer):
            found.append(Listed(*BODY.unpack_from(answer, body)))
        at += (length + 3) & ~3
    return found, False
