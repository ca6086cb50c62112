"""Collector sockstat: pages become bytes, and counts below zero are left out."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins import sockstat
from vedette_plugins.sockstat import Sockstat, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Sockstat]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Sockstat, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Sockstat)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        Sockstat,
        "busy",
        ["proc/self/net/sockstat", "proc/self/net/sockstat6", "proc/sys/net/ipv4/tcp_mem"],
    )


TCP = b"TCP: inuse 1 orphan 0 tw 0 alloc 1 mem %d\n"
SHARE = "vedette.tcp.memory.utilization"


@pytest.fixture(autouse=True, scope="module")
def _pages_of_4096_bytes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sockstat, "PAGE", 4096)
        yield


def test_memory_is_told_in_bytes_and_as_a_share_of_its_limit(stage: Callable[..., Any]) -> None:
    here = stage(Sockstat)
    here.write("proc/self/net/sockstat", TCP % 30)
    here.write("proc/sys/net/ipv4/tcp_mem", b"50 80 120\n")
    read = here.values()
    assert read["vedette.tcp.memory.usage"] == 30 * 4096
    assert read["vedette.tcp.memory.limit"] == 120 * 4096
    assert read[SHARE] == 0.25


def test_more_memory_than_the_limit_is_a_share_of_one(stage: Callable[..., Any]) -> None:
    here = stage(Sockstat)
    here.write("proc/self/net/sockstat", TCP % 200)
    here.write("proc/sys/net/ipv4/tcp_mem", b"50 80 120\n")
    assert here.values()[SHARE] == 1


def test_a_limit_that_is_changed_is_noticed_within_a_minute(stage: Callable[..., Any]) -> None:
    here = stage(Sockstat)
    here.write("proc/self/net/sockstat", TCP % 30)
    here.write("proc/sys/net/ipv4/tcp_mem", b"50 80 120\n")
    here.read()
    here.write("proc/sys/net/ipv4/tcp_mem", b"50 80 060\n")
    seen = [here.values()[SHARE] for _ in range(61)]
    assert seen[0] == 0.25
    assert seen[-1] == 0.5


def test_without_a_limit_there_is_no_share(stage: Callable[..., Any]) -> None:
    here = stage(Sockstat)
    here.write("proc/self/net/sockstat", TCP % 30)
    read = here.values()
    assert SHARE not in read
    assert read["vedette.tcp.memory.usage"] == 30 * 4096


def test_what_is_no_count_of_sockets_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Sockstat)
    here.write("proc/self/net/sockstat", b"")
    with pytest.raises(Unavailable, match="no sockets in use"):
        here.collector.probe()


def test_this_host_counts_fifty_sockets_more_when_they_are_opened() -> None:
    collector = Sockstat(Sockstat.Config())
    key = "vedette.sockets.in_use{network.type=ipv4,network.transport=udp}"

    def in_use() -> float:
        read = {one.series.key: one.value for one in collector.collect()}
        return read.get(key, 0)

    before = in_use()
    opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
    for one in opened:
        one.bind(("127.0.0.1", 0))
    grown = in_use()
    for one in opened:
        one.close()
    collector.close()
    assert grown - before == pytest.approx(50, abs=10)
