"""Collector ``sockets``: TCP connections by state, accept queues and UDP queues, from sock_diag.

The kernel lists sockets over netlink (sock_diag.py), for less than half of what /proc/net/tcp
costs. The two states that can be many are not even listed: ``established`` and ``time_wait`` follow
from the kernel's own counts of sockets, so a host with a hundred thousand open connections lists
some hundreds. 10,000 open connections take 2.4 ms, with /proc/net/tcp 31. What is listed is capped
all the same; past the cap connections are not counted by state, and ``vedette.sockets.truncated``
says so.

To list connections the kernel walks its whole table of them, which is larger the more memory a host
has: 262,144 places take 0.2 to 0.4 ms, more than all the rest of a reading. So while no connection
is being opened or closed, no segment of TCP has come or gone, and the kernel's own totals are as
they were, only listening sockets are asked for: then nothing else can have changed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Sample, Unavailable, gauge, hookimpl, updown
from vedette.sock_diag import INET, INET6, LISTEN, TCP, UDP, Line, Listed
from vedette_plugins._netfiles import ABSURD, NetFile
from vedette_plugins._procfs import numbers

#: The kernel's numbers of the states (enum in include/net/tcp_states.h), by OpenTelemetry's names.
STATES = {
    1: "established",
    2: "syn_sent",
    3: "syn_received",
    4: "fin_wait_1",
    5: "fin_wait_2",
    6: "time_wait",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
}
ESTABLISHED, SYN_RECEIVED, TIME_WAIT, CLOSE_WAIT = 1, 3, 6, 8
#: The kernel keeps most of those in ``syn_received`` under a number of its own.
NEW_SYN_RECEIVED = 12
#: What is listed: all states of the table but the two that can be many.
LISTED = sum(1 << one for one in (*STATES, NEW_SYN_RECEIVED)) & ~(1 << ESTABLISHED | 1 << TIME_WAIT)
#: A connection that nobody is opening or closing stays in one of these until a segment is sent or
#: received, or the totals change.
AT_REST = frozenset({ESTABLISHED, TIME_WAIT, CLOSE_WAIT, LISTEN})
#: All are asked for at every so many readings whatever the counters say.
WALK_EVERY = 60
#: Timer of a closed connection of which only a stub is left (its state may be ``fin_wait_2``).
STUB = 3

_DIRECTED = ["network.type", "network.io.direction"]


class SocketsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much is listed."""

    max_sockets: Annotated[
        int,
        Meta(
            ge=100,
            description="Sockets listed per reading at most; open connections do not count.",
        ),
    ] = 20_000


class Sockets(Collector):
    """TCP connections by state, and the queues of sockets."""

    name = "sockets"
    Config = SocketsConfig
    interval_s = 10.0
    may_block = "seldom"
    source = "sock_diag netlink, /proc/net/sockstat, /proc/net/sockstat6"

    count = updown(
        "system.network.connection.count",
        "{connection}",
        "TCP connections in this state, listening sockets included.",
        ["network.transport", "network.connection.state"],
        resource="network",
        alarm="never",
    )
    # The same metric: connections the peer closed and a program here forgets to close pile up.
    close_wait = updown(
        "system.network.connection.count",
        "{connection}",
        "TCP connections in this state, listening sockets included.",
        ["network.transport", "network.connection.state"],
        resource="network",
        alarm="high",
    )
    accept_queue = updown(
        "vedette.tcp.accept_queue.length",
        "{connection}",
        "Connections that wait to be accepted, of all listening sockets.",
        resource="network",
        alarm="never",
        source="sock_diag netlink",
    )
    accept_queue_utilization = gauge(
        "vedette.tcp.accept_queue.utilization",
        "1",
        "Share of its accept queue that is taken, of the listening socket where it is largest.",
        resource="network",
        alarm="high",
        limit=1.0,
        source="sock_diag netlink",
    )
    udp_queue = updown(
        "vedette.udp.queue.usage",
        "By",
        "Memory of the datagrams that wait in UDP sockets, to be read or to be sent.",
        _DIRECTED,
        resource="network",
        alarm="never",
        source="sock_diag netlink",
    )
    udp_queue_max = gauge(
        "vedette.udp.queue.max",
        "By",
        "Memory of the datagrams that wait to be read, of the UDP socket where most do.",
        ["network.type"],
        resource="network",
        alarm="never",
        source="sock_diag netlink",
    )
    truncated = gauge(
        "vedette.sockets.truncated",
        "1",
        "Whether more sockets than `max_sockets` were found, so that states are left out, 1 or 0.",
        resource="network",
        alarm="never",
        source="sock_diag netlink",
    )

    def __init__(self, config: SocketsConfig) -> None:
        super().__init__(config)
        self._sockstat = NetFile("sockstat", one_record=True)
        self._sockstat6 = NetFile("sockstat6", one_record=True)
        self._snmp = NetFile("snmp", one_record=True)
        self.line = Line()
        #: The signs of the last reading if all was at rest, what waited to be closed then, and the
        #: readings until all are asked for all the same.
        self._seen: tuple[bytes, bytes] | None = None
        self._closing = 0
        self._walk_in = 0
        self._states = {
            state: (self.close_wait if state == CLOSE_WAIT else self.count).series("tcp", name)
            for state, name in STATES.items()
        }

    def probe(self) -> None:
        if not self._is_own_network():
            raise Unavailable("the kernel lists only the container's own sockets here")
        try:
            for _ in self.sockets(TCP, INET, 1 << LISTEN):
                break
        except OSError as error:
            raise Unavailable(f"the kernel lists no sockets: {error}") from error

    def collect(self) -> list[Sample]:
        signs = self._signs()
        is_still = signs[0] != b"" and signs == self._seen and self._walk_in > 0
        # What comes or goes while the kernel lists is seen in the signs of the next reading.
        self._seen, self._walk_in = None, (self._walk_in if is_still else WALK_EVERY) - 1
        states = Counter({CLOSE_WAIT: self._closing}) if is_still else Counter[int]()
        waiting, fullest, stubs = 0, 0.0, 0
        left = self.config.max_sockets - states.total()
        for one in self.sockets(TCP, INET, 1 << LISTEN if is_still else LISTED):
            left -= 1
            if left < 0:
                break
            states[one.state] += 1
            stubs += one.timer == STUB
            if one.state == LISTEN:
                waiting += one.receive_queue
                fullest = max(fullest, one.receive_queue / max(1, one.send_queue))
        samples = [
            self.truncated(int(left < 0)),
            self.accept_queue(waiting),
            # The kernel lets in one more than the queue's length.
            self.accept_queue_utilization(min(1.0, fullest)),
        ]
        if left >= 0:
            if not stubs and AT_REST.issuperset(states):
                self._seen, self._closing = signs, states[CLOSE_WAIT]
            samples += self._by_state(states, stubs, signs[1])
        samples += self._udp("ipv4", INET)
        samples += self._udp("ipv6", INET6)
        return samples

    def close(self) -> None:
        for file in (self._snmp, self._sockstat, self._sockstat6):
            file.close()
        self.line.close()

    def sockets(self, protocol: int, family: int, states: int) -> Iterator[Listed]:
        """List the sockets in some states; raises ``OSError`` when the kernel refuses."""
        return self.line.sockets(protocol, family, states)

    def _signs(self) -> tuple[bytes, bytes]:
        """Return what TCP has counted, and the kernel's totals of sockets: one moves with TCP."""
        text = self._snmp.read_if_there(self.host)
        begin = text.find(b"\nTcp:")
        totals = self._sockstat.read_if_there(self.host) + self._sockstat6.read_if_there(self.host)
        return text[begin : text.find(b"\nUdp", begin)] if begin >= 0 else b"", totals

    def _by_state(self, states: Counter[int], stubs: int, text: bytes) -> list[Sample]:
        in_use, kept = counted(text, b"TCP:", b"inuse"), counted(text, b"TCP:", b"tw")
        known = [*STATES]
        if in_use is not None and kept is not None:
            in_use += counted(text, b"TCP6:", b"inuse") or 0
            # The kernel does not count half-open connections and stubs among the sockets in use.
            listed = states.total() - states[SYN_RECEIVED] - stubs
            states[ESTABLISHED] = max(0, in_use - listed)
            states[TIME_WAIT] = max(0, kept - stubs)
        else:
            known = [one for one in known if one not in (ESTABLISHED, TIME_WAIT)]
        return [Sample(self._states[state], states[state]) for state in known]

    def _udp(self, version: str, family: int) -> list[Sample]:
        receive = send = most = 0
        left = self.config.max_sockets
        try:
            for one in self.sockets(UDP, family, 0xFFFFFFFF):
                left -= 1
                if left < 0:
                    break
                receive += one.receive_queue
                send += one.send_queue
                most = max(most, one.receive_queue)
        except OSError:
            return []  # a kernel without udp_diag
        return [
            self.udp_queue(receive, version, "receive"),
            self.udp_queue(send, version, "transmit"),
            self.udp_queue_max(most, version),
        ]

    def _is_own_network(self) -> bool:
        """Say whether the network this process lives in is the host's."""
        if self.host.root == "/":
            return True
        try:
            mine, hosts = (os.stat(f"{self.host.proc}/{who}/ns/net") for who in ("self", "1"))
        except OSError:
            return False
        return (mine.st_dev, mine.st_ino) == (hosts.st_dev, hosts.st_ino)


def counted(text: bytes, table: bytes, name: bytes) -> int | None:
    """Return a number from the line of a table of /proc/net/sockstat; None without it."""
    for line in text.split(b"\n"):
        fields = line.split()
        if fields[:1] == [table] and name in fields:
            at = fields.index(name) + 1
            values = numbers(fields[at : at + 1])
            return values[0] if values and values[0] < ABSURD else None
    return None


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Sockets]
