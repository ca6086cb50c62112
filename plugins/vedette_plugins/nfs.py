"""Collector ``nfs``: what this host asks of NFS servers, and what it serves itself.

From /proc/net/rpc/nfs and nfsd, which are there while the kernel's client and server are. Requests
are added up per version of the protocol; a procedure or operation has a series of its own once it
was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vedette.api import (
    Collector,
    Instrument,
    NoConfig,
    Sample,
    Unavailable,
    counter,
    hookimpl,
    updown,
)
from vedette_plugins import _nfs_counters as nfs
from vedette_plugins._netfiles import NetFile

CLIENT, SERVER = "rpc/nfs", "rpc/nfsd"
_SOURCES = {CLIENT: "/proc/net/rpc/nfs", SERVER: "/proc/net/rpc/nfsd"}
_PROCEDURE = ["onc_rpc.version", "onc_rpc.procedure.name"]
_OPERATION = ["onc_rpc.version", "nfs.operation.name"]


def _total(
    file: str, name: str, unit: str, help: str, attributes: Sequence[str] = (), alarm: str = "never"
) -> Instrument:
    return counter(name, unit, help, attributes, resource="nfs", alarm=alarm, source=_SOURCES[file])


class Nfs(Collector):
    """Requests of the NFS client and server."""

    name = "nfs"
    interval_s = 10.0
    may_block = False
    source = "/proc/net/rpc/nfs, /proc/net/rpc/nfsd"

    client_calls = _total(
        CLIENT, "nfs.client.rpc.count", "{request}", "Requests this host sent to NFS servers."
    )
    retransmits = _total(
        CLIENT,
        "nfs.client.rpc.retransmit.count",
        "{retransmit}",
        "Requests sent again because no answer came in time.",
        alarm="high",
    )
    auth_refreshes = _total(
        CLIENT,
        "nfs.client.rpc.authrefresh.count",
        "{authrefresh}",
        "Times the client renewed its credentials for a server.",
    )
    client_requests = _total(
        CLIENT,
        "vedette.nfs.client.requests",
        "{request}",
        "Requests this host sent in a version of the protocol.",
        ["onc_rpc.version"],
    )
    client_procedures = _total(
        CLIENT,
        "nfs.client.procedure.count",
        "{procedure}",
        "Requests this host sent for a procedure of NFS 2 or 3.",
        _PROCEDURE,
    )
    client_operations = _total(
        CLIENT,
        "nfs.client.operation.count",
        "{operation}",
        "Requests this host sent for an operation of NFS 4.",
        _OPERATION,
    )
    client_packets = _total(
        CLIENT,
        "nfs.client.net.count",
        "{record}",
        "Datagrams and segments the client had.",
        ["network.transport"],
    )
    client_connections = _total(
        CLIENT,
        "nfs.client.net.tcp.connection.accepted",
        "{connection}",
        "TCP connections the client accepted.",
    )
    server_calls = _total(
        SERVER,
        "nfs.server.rpc.count",
        "{request}",
        "Requests the server took (no error type) or turned away: bad format, auth or client.",
        ["error.type"],
    )
    server_requests = _total(
        SERVER,
        "vedette.nfs.server.requests",
        "{request}",
        "Requests the server had in a version of the protocol.",
        ["onc_rpc.version"],
    )
    server_procedures = _total(
        SERVER,
        "nfs.server.procedure.count",
        "{procedure}",
        "Requests the server had for a procedure.",
        _PROCEDURE,
    )
    server_operations = _total(
        SERVER,
        "nfs.server.operation.count",
        "{operation}",
        "Operations of NFS 4 within the requests the server had.",
        _OPERATION,
    )
    replies = _total(
        SERVER,
        "nfs.server.repcache.requests",
        "{request}",
        "Requests by what the reply cache did: a hit is one a client sent again.",
        ["nfs.server.repcache.status"],
    )
    stale = _total(
        SERVER,
        "nfs.server.fh.stale.count",
        "{fh}",
        "File handles of clients whose file is no longer there.",
    )
    io = _total(
        SERVER,
        "nfs.server.io",
        "By",
        "Bytes of read requests (receive, as the client sees it) and write requests (transmit).",
        ["network.io.direction"],
    )
    packets = _total(
        SERVER,
        "nfs.server.net.count",
        "{record}",
        "Datagrams and segments the server had.",
        ["network.transport"],
    )
    connections = _total(
        SERVER,
        "nfs.server.net.tcp.connection.accepted",
        "{connection}",
        "TCP connections the server accepted.",
    )
    threads = updown(
        "nfs.server.thread.count",
        "{thread}",
        "Threads the server has; 0 when it is stopped.",
        resource="nfs",
        alarm="low",
        source=_SOURCES[SERVER],
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._open()

    def probe(self) -> None:
        self._read()

    def collect(self) -> Iterator[Sample]:
        client, server = self._read()
        yield from self._of_client(client)
        yield from self._of_server(server)

    def close(self) -> None:
        self._client.close()
        self._server.close()

    def _open(self) -> None:
        self._client = NetFile(CLIENT, one_record=True)
        self._server = NetFile(SERVER, one_record=True)

    def _read(self) -> tuple[nfs.Lines, nfs.Lines]:
        client = nfs.parse_lines(self._client.read_if_there(self.host))
        server = nfs.parse_lines(self._server.read_if_there(self.host))
        if not client and not server:
            self.close()
            self._open()  # looks for both at the next probe, however soon that is
            raise Unavailable("neither NFS client nor server in this kernel")
        return client, server

    def _of_client(self, lines: nfs.Lines) -> Iterator[Sample]:
        network = nfs.exactly(lines, b"net", 4)
        if network and any(network):  # most kernels count nothing there
            yield self.client_packets(network[1], "udp")
            yield self.client_packets(network[2], "tcp")
            yield self.client_connections(network[3])
        if rpc := nfs.exactly(lines, b"rpc", 3):
            yield self.client_calls(rpc[0])
            yield self.retransmits(rpc[1])
            yield self.auth_refreshes(rpc[2])
        requests, procedures = self.client_requests, self.client_procedures
        for word, version, known in nfs.VERSIONS[:2]:
            yield from nfs.moved(lines, word, version, known, procedures, requests)
        known = nfs.client_operations(len(lines.get(b"proc4", ())) - 1)
        yield from nfs.moved(lines, b"proc4", "4", known, self.client_operations, requests)

    def _of_server(self, lines: nfs.Lines) -> Iterator[Sample]:
        if rpc := nfs.exactly(lines, b"rpc", 5):
            for at, kind in ((0, ""), (2, "format"), (3, "auth"), (4, "client")):
                yield self.server_calls(rpc[at], kind)
        if cache := nfs.exactly(lines, b"rc", 3):
            for at, status in enumerate(("hit", "miss", "nocache")):
                yield self.replies(cache[at], status)
        if handles := nfs.exactly(lines, b"fh", 5):
            yield self.stale(handles[0])
        if octets := nfs.exactly(lines, b"io", 2):
            yield self.io(octets[0], "receive")
            yield self.io(octets[1], "transmit")
        if network := nfs.exactly(lines, b"net", 4):
            yield self.packets(network[1], "udp")
            yield self.packets(network[2], "tcp")
            yield self.connections(network[3])
        if threads := nfs.exactly(lines, b"th", 1):
            yield self.threads(threads[0])
        requests, procedures = self.server_requests, self.server_procedures
        for word, version, known in nfs.VERSIONS:
            yield from nfs.moved(lines, word, version, known, procedures, requests)
        known, operations = nfs.SERVER_OPERATIONS, self.server_operations
        yield from nfs.moved(lines, b"proc4ops", "4", known, operations)


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Nfs]
