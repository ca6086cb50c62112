"""Collector network: which interfaces count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Host, Unavailable
from vedette_plugins.network import Network, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Network]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Network, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Network)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Network, "docker-host", ["proc/self/net/dev"])


HEAD = b"Inter-| Receive | Transmit\n face |bytes |bytes\n"
ROW = b"%s: %d 5 0 0 0 0 0 0 70 5 0 0 0 0 0 0\n"


def interfaces(reading: list[Any]) -> set[str]:
    return {one.series.values[0] for one in reading}


def test_an_interface_that_never_carried_a_packet_is_left_out(stage: Callable[..., Any]) -> None:
    here = stage(Network)
    idle = b"eth1: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    here.write("proc/self/net/dev", HEAD + ROW % (b"eth0", 9) + idle)
    assert interfaces(here.read()) == {"eth0"}
    here.write("proc/self/net/dev", HEAD + ROW % (b"eth0", 9) + ROW % (b"eth1", 9))
    assert interfaces(here.read()) == {"eth0", "eth1"}
    here.write("proc/self/net/dev", HEAD + ROW % (b"eth0", 9) + idle)
    assert interfaces(here.read()) == {"eth0", "eth1"}


def test_include_wins_over_exclude(stage: Callable[..., Any]) -> None:
    here = stage(Network, include=["veth0"])
    rows = ROW % (b"veth0", 9) + ROW % (b"veth1", 9)
    here.write("proc/self/net/dev", HEAD + rows)
    assert interfaces(here.read()) == {"veth0"}


def test_the_loopback_can_raise_a_finding_once_and_not_twice(stage: Callable[..., Any]) -> None:
    here = stage(Network)
    here.write("proc/self/net/dev", HEAD + ROW % (b"lo", 9))
    loud = [
        one.series.values
        for one in here.read()
        if one.series.instrument.name == "system.network.io"
        and one.series.instrument.alarm != "never"
    ]
    assert loud == [("lo", "receive")]


def test_with_another_root_the_interfaces_are_those_of_its_first_process(
    stage: Callable[..., Any],
) -> None:
    here = stage(Network)
    here.collector.host = Host(proc=here.collector.host.proc, root="/host")
    here.write("proc/1/net/dev", HEAD + ROW % (b"eth9", 9))
    assert interfaces(here.read()) == {"eth9"}


def test_what_is_no_table_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Network)
    here.write("proc/self/net/dev", b"")
    with pytest.raises(Unavailable, match="no table of interfaces"):
        here.collector.probe()


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    mine, theirs = read_here(Network), psutil.net_io_counters(pernic=True)
    for name in {key.partition("name=")[2].partition(",")[0] for key in mine}:
        place = f"network.interface.name={name},network.io.direction=receive"
        packets = mine[f"system.network.packet.count{{{place}}}"]
        assert packets == pytest.approx(theirs[name].packets_recv, rel=0.05, abs=50)
