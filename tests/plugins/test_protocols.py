"""Collector protocols: columns found by name, and counters that begin when they count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Host, Unavailable
from vedette_plugins.protocols import Protocols, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Protocols]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Protocols, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Protocols)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        Protocols,
        "busy",
        ["proc/self/net/snmp", "proc/self/net/netstat", "proc/self/net/snmp6"],
    )


SNMP = b"Tcp: InSegs RetransSegs MaxConn\nTcp: %d %d -1\n"
RECEIVED = "vedette.tcp.segments{network.io.direction=receive}"
AGAIN = "vedette.tcp.retransmits"


def test_columns_are_found_by_name_whatever_their_order(stage: Callable[..., Any]) -> None:
    here = stage(Protocols)
    here.write("proc/self/net/snmp", SNMP % (5, 7))
    assert here.values() == {RECEIVED: 5, AGAIN: 7}
    here.write("proc/self/net/snmp", b"Tcp: RetransSegs New InSegs\nTcp: 8 1 6\n")
    assert here.values() == {RECEIVED: 6, AGAIN: 8}


def test_detail_begins_when_it_is_not_zero_and_stays(stage: Callable[..., Any]) -> None:
    here = stage(Protocols)
    seen = []
    for received in (0, 3, 0):
        here.write("proc/self/net/snmp", SNMP % (received, 0))
        seen.append(here.values())
    assert seen == [{AGAIN: 0}, {AGAIN: 0, RECEIVED: 3}, {AGAIN: 0, RECEIVED: 0}]


def test_a_count_of_connections_below_zero_is_not_shown_as_a_huge_one(
    stage: Callable[..., Any],
) -> None:
    here = stage(Protocols)
    for text in (b"18446744073709551615", b"4294967295"):
        here.write("proc/self/net/snmp", b"Tcp: CurrEstab InSegs\nTcp: " + text + b" 4\n")
        assert here.values() == {RECEIVED: 4}


def test_a_line_that_appears_in_snmp6_does_not_shift_the_others(
    stage: Callable[..., Any],
) -> None:
    here = stage(Protocols)
    here.write("proc/self/net/snmp", SNMP % (0, 0))
    here.write("proc/self/net/snmp6", b"Icmp6InMsgs 3\nUdp6NoPorts 4\n")
    before = here.values()
    here.write("proc/self/net/snmp6", b"Icmp6InMsgs 3\nIcmp6InType1 9\nUdp6NoPorts 4\n")
    assert here.values() == before
    assert before["vedette.udp.no_ports{network.type=ipv6}"] == 4


def test_without_ipv6_it_reads_the_rest_and_looks_again_later(stage: Callable[..., Any]) -> None:
    here = stage(Protocols)
    here.write("proc/self/net/snmp", SNMP % (1, 0))
    here.read()
    here.write("proc/self/net/snmp6", b"Ip6InReceives 3\n")
    key = "vedette.ip.packets{network.type=ipv6,network.io.direction=receive}"
    seen = [here.values().get(key) for _ in range(61)]
    assert seen == [*[None] * 60, 3]


def test_with_another_root_the_counters_are_those_of_its_first_process(
    stage: Callable[..., Any],
) -> None:
    here = stage(Protocols)
    here.collector.host = Host(proc=here.collector.host.proc, root="/host")
    here.write("proc/1/net/snmp", SNMP % (1, 2))
    assert here.values() == {RECEIVED: 1, AGAIN: 2}


def test_what_is_no_table_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Protocols)
    here.write("proc/self/net/snmp", b"")
    with pytest.raises(Unavailable, match="no table of TCP"):
        here.collector.probe()


def test_this_host_reads_as_its_own_tables_say(
    read_here: Callable[..., dict[str, float]],
) -> None:
    mine = read_here(Protocols)
    lines = Path("/proc/net/snmp").read_text().splitlines()
    names, numbers = (line.split()[1:] for line in lines if line.startswith("Tcp:"))
    theirs = dict(zip(names, map(int, numbers), strict=True))
    for key, name in (
        ("vedette.tcp.retransmits", "RetransSegs"),
        ("vedette.tcp.active_opens", "ActiveOpens"),
        ("vedette.tcp.segments{network.io.direction=transmit}", "OutSegs"),
    ):
        assert mine.get(key, 0) == pytest.approx(theirs[name], rel=0.05, abs=200)


def test_a_table_whose_numbers_are_another_tables_is_left_out_until_they_are_its_own(
    stage: Callable[..., Any],
) -> None:
    here = stage(Protocols)
    seen = []
    for numbers in (b"Udp: 3 0", b"Tcp: 4 0", b"Udp: 5 0", b"", b"Tcp: 6 0"):
        here.write("proc/self/net/snmp", b"Tcp: InSegs RetransSegs\n" + numbers + b"\n")
        seen.append(here.values().get(RECEIVED))
    assert seen == [None, 4, None, None, 6]
