"""Mask or shorten addresses of the network, hardware addresses and user names, as the policy says.

On a server most addresses belong to the machines themselves, and who attacks or fails is told by
the address: masking all of them would take the sense from what remains. So by default (``clients``)
only public addresses are shortened that a key calls a client's or a user's (``client_ip=``,
``X-Forwarded-For:``); ``truncate`` shortens all public ones to their network (/24, /48), ``mask``
replaces every address that is not the host's own (loopback), ``keep`` none.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

from vedette.redact import rules
from vedette.redact.rules import Finds, Piece, Rule, expression, words

Policy = Literal["keep", "clients", "truncate", "mask"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Words of which a text must hold one for the policy ``clients``.
WORDS = words(
    """
    client clients clientip clientaddr clientaddress forwarded ip ipaddress ipaddr remote
    remoteaddr remoteaddress remoteip userip real visitor visitorip customer customerip caller
    login
    """
)
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_FOUR = rf"(?:{_BYTE}\.){{3}}{_BYTE}"
_V4 = expression(rf"(?<![\w.+-]){_FOUR}(?![\w-]|\.[0-9])|(?<=[_-]){_FOUR}(?![\w]|\.[0-9])")
_V6 = expression(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9a-fA-F]{1,4}|:)?(?![\w:])")
_CLIENT = expression(
    r"(?:x-forwarded-for|x-real-ip|forwarded|cf-connecting-ip|true-client-ip|remote_?addr(?:ess)?"
    r"|(?:client|user|visitor|customer|caller|login|signup|registration|last)[_\- ]?(?:ip"
    r"|addr)(?:_?address)?)"
    r"\\?[\"']?\]?[ ]{0,3}(?:=>"
    r"|[=:])[ ]{0,3}[\[(]?\\?[\"']?(?:for=)?(?:::ffff:)?(?P<address>[0-9a-f.:]{3,45}"
    r"(?:, ?[0-9a-f.:]{3,45}){0,5})"
)
_ONE = expression(r"[0-9a-fA-F.:]{3,45}")
_MAC = expression(
    r"(?<![\w:-])[0-9a-fA-F]{2}(?P<by>[:-])(?:[0-9a-fA-F]{2}(?P=by)){4}[0-9a-fA-F]{2}(?![\w:-])"
)
_NOBODY = words(
    """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats
    nobody systemd systemd-network systemd-resolve messagebus sshd postgres mysql redis nginx
    apache httpd git docker ntp chrony syslog unknown user from by on invalid for at admin
    administrator none null service www ftp rpc dbus polkitd prometheus grafana elasticsearch
    kafka zookeeper hdfs yarn spark system anonymous nagios zabbix and with the is was has in to
    not of
    """
)
_USER = expression(
    r"(?:\b(?:r?user(?:_?name)?|login|logname|account|uid_name)[\"']?[ ]?[=:][ ]?[\"']?"
    r"|\b(?:invalid|unknown|for|of|by) user[ ]+[\"']?"
    r"|\b(?:accepted|failed) \S+ for |/home/|\buser[ ]+[\"']?)(?P<who>[a-z0-9_][\w.-]{1,40}+)"
)


def find_clients(piece: Piece, found: Finds) -> None:
    """Add public addresses that a key calls a client's."""
    for match in _CLIENT.finditer(piece.lower):
        if piece.lower[match.end() : match.end() + 1].isalnum():
            continue  # the x of an address that is shortened already
        for one in _ONE.finditer(piece.text, match.start("address"), match.end("address")):
            _add(one.start(), one.group(), "truncate", rules.CLIENT, found)


def find_addresses(piece: Piece, policy: Policy, found: Finds) -> None:
    """Add the addresses that a policy masks or shortens."""
    text = piece.text
    for match in _V4.finditer(text):
        _add(match.start(), match.group(), policy, rules.ADDRESS, found)
    if "::" in text or text.count(":") >= 7:
        for match in _V6.finditer(text):
            if (len(match.group()) > 3 and "::" in match.group()) or match.group().count(":") == 7:
                _add(match.start(), match.group(), policy, rules.ADDRESS, found)


def _add(start: int, text: str, policy: Policy, rule: Rule, found: Finds) -> None:
    text = text.rstrip(".:") if not text.endswith("::") else text
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return
    end = start + len(text)
    if policy == "mask":
        if not address.is_loopback and not address.is_unspecified:
            found.add(start, end, rule)
    elif _public(address):
        found.add(start, end, rule, shortened(address))


def _public(address: Address) -> bool:
    """Say whether an address is one of the world's: those of documentation count as such."""
    if (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    ):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address not in _UNIQUE_LOCAL
    return not any(address in network for network in _PRIVATE)


_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")
_PRIVATE = tuple(
    ipaddress.IPv4Network(one)
    for one in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "0.0.0.0/8",
        "240.0.0.0/4",
    )
)


def shortened(address: Address) -> str:
    """Return the network of an address, an x in place of the rest: 203.0.113.x, 2001:db8:1::x."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address).rpartition(".")[0] + ".x"
    network = ipaddress.IPv6Network((int(address), 48), strict=False)
    return f"{network.network_address}x"


def find_hardware(piece: Piece, found: Finds) -> None:
    """Add hardware addresses."""
    for match in _MAC.finditer(piece.text):
        found.add(match.start(), match.end(), rules.HARDWARE)


def find_users(piece: Piece, found: Finds) -> None:
    """Add user names after the words that logs put before them, except those of the system."""
    for match in _USER.finditer(piece.lower):
        who = match["who"].rstrip(".")
        if who not in _NOBODY and not who.isdigit() and not who.startswith("systemd-"):
            start = match.start("who")
            found.add(start, start + len(who), rules.USER)
