"""Collector ``protocols``: what TCP, UDP, IP and ICMP did, from three small tables of the kernel.

/proc/net/snmp and netstat have a line of names above a line of numbers, snmp6 a name and a number
per line. Most of these counters stay zero for ever: what only serves as evidence begins when it
first is not zero, what may alarm is read from the start. IPv4 and IPv6 are told apart where the
kernel does so; TCP is counted once for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

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
from vedette_plugins._netfiles import Columns, NetFile, Tables, Wanted

_TYPED = ["network.type"]
_BOTH_WAYS = ["network.type", "network.io.direction"]


def _total(
    name: str, unit: str, help: str, attributes: Iterable[str] = (), alarm: str = "never"
) -> Instrument:
    return counter(name, unit, help, [*attributes], resource="network", alarm=alarm)


class Protocols(Collector):
    """Counters of TCP, UDP, IP and ICMP."""

    name = "protocols"
    interval_s = 1.0
    may_block = False
    source = "/proc/net/snmp, /proc/net/netstat, /proc/net/snmp6"

    active_opens = _total(
        "vedette.tcp.active_opens", "{connection}", "Connections this host began to open."
    )
    passive_opens = _total(
        "vedette.tcp.passive_opens", "{connection}", "Connections others began to open here."
    )
    attempt_fails = _total(
        "vedette.tcp.attempt_fails", "{connection}", "Connections that failed while being opened."
    )
    established_resets = _total(
        "vedette.tcp.established_resets", "{connection}", "Open connections that ended in a reset."
    )
    established = updown(
        "vedette.tcp.established",
        "{connection}",
        "Connections open at the moment of reading; newer kernels include those the peer closed.",
        resource="network",
        alarm="high",
    )
    segments = _total(
        "vedette.tcp.segments",
        "{segment}",
        "Segments received or sent.",
        ["network.io.direction"],
    )
    retransmits = _total(
        "vedette.tcp.retransmits", "{segment}", "Segments that were sent again.", alarm="high"
    )
    syn_retransmits = _total(
        "vedette.tcp.syn_retransmits", "{segment}", "Openings of a connection sent again."
    )
    timeouts = _total(
        "vedette.tcp.timeouts", "{timeout}", "Times an acknowledgement did not come in time."
    )
    in_errors = _total(
        "vedette.tcp.in_errors", "{segment}", "Segments that arrived damaged or malformed."
    )
    resets_sent = _total("vedette.tcp.resets_sent", "{segment}", "Segments sent with a reset.")
    listen_overflows = _total(
        "vedette.tcp.listen.overflows",
        "{connection}",
        "Connections refused because the queue of those to be accepted was full.",
        alarm="high",
    )
    listen_drops = _total(
        "vedette.tcp.listen.drops",
        "{connection}",
        "Connections to a listening socket dropped for any reason, overflows included.",
        alarm="high",
    )
    syn_queue_drops = _total(
        "vedette.tcp.syn_queue.drops",
        "{connection}",
        "Openings dropped because the queue of half-open connections was full.",
    )
    syn_queue_cookies = _total(
        "vedette.tcp.syn_queue.cookies",
        "{connection}",
        "Openings answered with a SYN cookie because the queue of half-open connections was full.",
    )
    syncookies = _total(
        "vedette.tcp.syncookies",
        "{packet}",
        "SYN cookies sent, or received back and found good.",
        ["network.io.direction"],
    )
    syncookies_failed = _total(
        "vedette.tcp.syncookie_fails", "{packet}", "SYN cookies received that were not good."
    )
    out_of_order = _total(
        "vedette.tcp.out_of_order.queued",
        "{segment}",
        "Segments queued because an earlier one is missing.",
    )
    out_of_order_drops = _total(
        "vedette.tcp.out_of_order.dropped",
        "{segment}",
        "Segments out of order dropped for want of memory.",
    )
    backlog_drops = _total(
        "vedette.tcp.backlog_drops",
        "{segment}",
        "Segments dropped because too many waited for a busy socket.",
    )
    zero_windows = _total(
        "vedette.tcp.zero_windows",
        "{event}",
        "Times a full receive buffer here made the peer stop sending.",
    )
    aborts = _total(
        "vedette.tcp.aborts",
        "{connection}",
        "Connections given up by this host, by reason.",
        ["vedette.tcp.abort.reason"],
    )
    memory_pressures = _total(
        "vedette.tcp.memory_pressure.events",
        "{event}",
        "Times TCP as a whole came under memory pressure.",
    )
    memory_pressure_time = _total(
        "vedette.tcp.memory_pressure.time", "s", "Time TCP as a whole was under memory pressure."
    )
    prunes = _total(
        "vedette.tcp.prunes",
        "{event}",
        "Times a socket's receive queue was squeezed because its buffer was full.",
    )
    pruned = _total(
        "vedette.tcp.pruned",
        "{segment}",
        "Segments thrown away while a socket's queue was squeezed.",
        ["vedette.tcp.queue"],
    )
    time_wait_overflows = _total(
        "vedette.tcp.time_wait_overflows",
        "{connection}",
        "Connections not kept in time-wait because there were too many.",
    )

    datagrams = _total(
        "vedette.udp.datagrams", "{datagram}", "UDP datagrams received or sent.", _BOTH_WAYS
    )
    no_ports = _total(
        "vedette.udp.no_ports", "{datagram}", "UDP datagrams for a port nobody listens on.", _TYPED
    )
    udp_errors = _total(
        "vedette.udp.in_errors",
        "{datagram}",
        "UDP datagrams received that could not be delivered, for any reason but the port.",
        _TYPED,
    )
    buffer_errors = _total(
        "vedette.udp.buffer_errors",
        "{datagram}",
        "UDP datagrams dropped because a socket's buffer was full.",
        _BOTH_WAYS,
        alarm="high",
    )
    checksum_errors = _total(
        "vedette.udp.checksum_errors", "{datagram}", "UDP datagrams with a wrong checksum.", _TYPED
    )

    packets = _total(
        "vedette.ip.packets", "{packet}", "IP packets received, or sent by this host.", _BOTH_WAYS
    )
    io = _total("vedette.ip.io", "By", "Bytes in IP packets received or sent.", _BOTH_WAYS)
    delivered = _total(
        "vedette.ip.delivered", "{packet}", "IP packets received for this host itself.", _TYPED
    )
    forwarded = _total(
        "vedette.ip.forwarded", "{packet}", "IP packets forwarded for others.", _TYPED
    )
    discards = _total(
        "vedette.ip.discards",
        "{packet}",
        "IP packets dropped although nothing was wrong with them.",
        _BOTH_WAYS,
    )
    no_routes = _total(
        "vedette.ip.no_routes", "{packet}", "IP packets not sent for want of a route.", _TYPED
    )
    ip_errors = _total(
        "vedette.ip.in_errors",
        "{packet}",
        "IP packets received with a wrong header or address.",
        ["network.type", "error.type"],
    )
    reassembly_fails = _total(
        "vedette.ip.reassembly.fails",
        "{event}",
        "Times fragments could not be put together.",
        _TYPED,
    )
    fragmentation_fails = _total(
        "vedette.ip.fragmentation.fails",
        "{packet}",
        "IP packets that had to be fragmented and could not be.",
        _TYPED,
    )
    multicast = _total(
        "vedette.ip.multicast", "{packet}", "Multicast packets received or sent.", _BOTH_WAYS
    )
    broadcast = _total(
        "vedette.ip.broadcast", "{packet}", "Broadcast packets received or sent.", _BOTH_WAYS
    )

    messages = _total(
        "vedette.icmp.messages", "{message}", "ICMP messages received or sent.", _BOTH_WAYS
    )
    icmp_errors = _total(
        "vedette.icmp.errors",
        "{message}",
        "ICMP messages received damaged, or not sent because of a fault.",
        _BOTH_WAYS,
    )
    unreachables = _total(
        "vedette.icmp.unreachables",
        "{message}",
        "ICMP messages received or sent that say a destination cannot be reached.",
        _BOTH_WAYS,
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._snmp = NetFile("snmp", one_record=True)
        self._netstat = NetFile("netstat", one_record=True)
        self._snmp6 = NetFile("snmp6", one_record=True)
        ipv4, ipv6 = self._layers("ipv4"), self._layers("ipv6")
        extension = {b"IpExt": ipv4.pop(b"IpExt"), b"TcpExt": self._tcp_extension()}
        plain = ipv4 | {b"Tcp": self._tcp()}
        self._plain = Tables(plain)
        self._extension = Tables(extension)
        self._text6 = b""
        self._samples6: Sequence[Sample] = ()
        self._columns6 = Columns(
            {
                table.removesuffix(b"Ext") + b"6" + name: one
                for table, wanted in ipv6.items()
                for name, one in wanted.items()
            }
        )

    def probe(self) -> None:
        if b"\nTcp: " not in self._snmp.read(self.host):
            raise Unavailable(f"{self.host.proc}/net/snmp has no table of TCP")

    def collect(self) -> list[Sample]:
        samples = self._plain.samples(self._snmp.read(self.host))
        samples += self._extension.samples(self._netstat.read_if_there(self.host))
        text = self._snmp6.read_if_there(self.host)
        if text != self._text6:
            fields = text.split()
            self._text6, self._samples6 = text, self._columns6.samples(fields[::2], fields[1::2])
        samples += self._samples6
        return samples

    def close(self) -> None:
        for file in (self._snmp, self._netstat, self._snmp6):
            file.close()

    def _layers(self, version: str) -> dict[bytes, Wanted]:
        """Return the columns of the layers that exist once per version of IP, by table."""
        into, out = (version, "receive"), (version, "transmit")
        forwarded = b"ForwDatagrams" if version == "ipv4" else b"OutForwDatagrams"
        return {
            b"Ip": _wanted(
                (b"InReceives", self.packets, *into),
                (b"OutRequests", self.packets, *out),
                (b"InDelivers", self.delivered, version),
                (forwarded, self.forwarded, version),
                (b"InDiscards", self.discards, *into),
                (b"OutDiscards", self.discards, *out),
                (b"OutNoRoutes", self.no_routes, version),
                (b"InHdrErrors", self.ip_errors, version, "header"),
                (b"InAddrErrors", self.ip_errors, version, "address"),
                (b"ReasmFails", self.reassembly_fails, version),
                (b"FragFails", self.fragmentation_fails, version),
            ),
            b"IpExt": _wanted(
                (b"InOctets", self.io, *into),
                (b"OutOctets", self.io, *out),
                (b"InMcastPkts", self.multicast, *into),
                (b"OutMcastPkts", self.multicast, *out),
                (b"InBcastPkts", self.broadcast, *into),
                (b"OutBcastPkts", self.broadcast, *out),
            ),
            b"Icmp": _wanted(
                (b"InMsgs", self.messages, *into),
                (b"OutMsgs", self.messages, *out),
                (b"InErrors", self.icmp_errors, *into),
                (b"OutErrors", self.icmp_errors, *out),
                (b"InDestUnreachs", self.unreachables, *into),
                (b"OutDestUnreachs", self.unreachables, *out),
            ),
            b"Udp": _wanted(
                (b"InDatagrams", self.datagrams, *into),
                (b"OutDatagrams", self.datagrams, *out),
                (b"NoPorts", self.no_ports, version),
                (b"InErrors", self.udp_errors, version),
                (b"RcvbufErrors", self.buffer_errors, *into),
                (b"SndbufErrors", self.buffer_errors, *out),
                (b"InCsumErrors", self.checksum_errors, version),
            ),
        }

    def _tcp(self) -> Wanted:
        return _wanted(
            (b"ActiveOpens", self.active_opens),
            (b"PassiveOpens", self.passive_opens),
            (b"AttemptFails", self.attempt_fails),
            (b"EstabResets", self.established_resets),
            (b"CurrEstab", self.established),
            (b"InSegs", self.segments, "receive"),
            (b"OutSegs", self.segments, "transmit"),
            (b"RetransSegs", self.retransmits),
            (b"InErrs", self.in_errors),
            (b"OutRsts", self.resets_sent),
        )

    def _tcp_extension(self) -> Wanted:
        wanted = _wanted(
            (b"TCPSynRetrans", self.syn_retransmits),
            (b"TCPTimeouts", self.timeouts),
            (b"ListenOverflows", self.listen_overflows),
            (b"ListenDrops", self.listen_drops),
            (b"TCPReqQFullDrop", self.syn_queue_drops),
            (b"TCPReqQFullDoCookies", self.syn_queue_cookies),
            (b"SyncookiesSent", self.syncookies, "transmit"),
            (b"SyncookiesRecv", self.syncookies, "receive"),
            (b"SyncookiesFailed", self.syncookies_failed),
            (b"TCPOFOQueue", self.out_of_order),
            (b"TCPOFODrop", self.out_of_order_drops),
            (b"TCPBacklogDrop", self.backlog_drops),
            (b"TCPToZeroWindowAdv", self.zero_windows),
            (b"TCPAbortOnData", self.aborts, "data"),
            (b"TCPAbortOnClose", self.aborts, "close"),
            (b"TCPAbortOnLinger", self.aborts, "linger"),
            (b"TCPAbortOnMemory", self.aborts, "memory"),
            (b"TCPAbortOnTimeout", self.aborts, "timeout"),
            (b"TCPAbortFailed", self.aborts, "failed"),
            (b"TCPMemoryPressures", self.memory_pressures),
            (b"PruneCalled", self.prunes),
            (b"RcvPruned", self.pruned, "receive"),
            (b"OfoPruned", self.pruned, "out_of_order"),
            (b"TCPTimeWaitOverflow", self.time_wait_overflows),
        )
        # The one that is a time, in milliseconds.
        wanted[b"TCPMemoryPressuresChrono"] = (self.memory_pressure_time.series(), 0.001)
        return wanted


def _wanted(*columns: tuple[Any, ...]) -> Wanted:
    """Return columns given as name, instrument and attribute values, in the kernel's unit."""
    return {name: (instrument.series(*values), 1) for name, instrument, *values in columns}


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Protocols]
