"""Find out which programs listen for TCP connections, and where, from /proc alone."""

from __future__ import annotations

import os
from collections.abc import Collection

from vedette.api import Host
from vedette_plugins._attributes import word
from vedette_plugins._netfiles import net_owner
from vedette_plugins._procfs import listed, printable, whole

#: Processes looked through for who listens.
PROCESSES_MAX = 5000
FILES_MAX = 2000
#: State of a listening socket in /proc/net/tcp.
LISTEN = b"0A"


def sockets(host: Host) -> dict[str, tuple[int, bool]]:
    """Return port, and whether only this host reaches it, of each listening socket by inode.

    Ports from which the kernel takes those of outgoing connections are left out: who listens there
    did not choose the port, and it is another one after each start.
    """
    low = whole(f"{host.proc}/sys/net/ipv4/ip_local_port_range").split()[:1]
    first_passing = int(low[0]) if low and low[0].isdigit() else 1 << 16
    owner = net_owner(host)
    found: dict[str, tuple[int, bool]] = {}
    for name in ("tcp", "tcp6"):
        for line in whole(f"{host.proc}/{owner}/net/{name}").split(b"\n")[1:]:
            fields = line.split(None, 10)
            if len(fields) < 10 or fields[3] != LISTEN:
                continue
            address, _, port = fields[1].partition(b":")
            try:
                number = int(port, 16)
            except ValueError:
                continue
            if number < first_passing:
                found[printable(fields[9])] = (number, is_loopback(address))
    return found


def is_loopback(address: bytes) -> bool:
    """Say whether an address of /proc/net/tcp is one of 127.0.0.0/8, ::1 or ::ffff:127.*.

    Each group of four bytes is written in the machine's own order.
    """
    if len(address) == 8:
        return address.endswith(b"7F")
    is_one = address == b"0" * 24 + b"01000000"
    return is_one or (address[16:24] == b"FFFF0000" and address.endswith(b"7F"))


def programs(host: Host, wanted: Collection[str]) -> dict[str, str]:
    """Return the name of the program that holds each socket, as far as this user may see it."""
    found: dict[str, str] = {}
    pids = [name for name in listed(host.proc) if name.isdecimal()]
    for pid in pids[:PROCESSES_MAX]:
        if len(found) == len(wanted):
            break
        folder = f"{host.proc}/{pid}/fd"
        for descriptor in listed(folder)[:FILES_MAX]:
            try:
                target = os.readlink(f"{folder}/{descriptor}")  # noqa: PTH115 - thousands of them
            except OSError:
                continue
            inode = target[8:-1] if target.startswith("socket:[") else ""
            if inode in wanted and inode not in found:
                found[inode] = word(f"{host.proc}/{pid}/comm") or "unknown"
    return found
