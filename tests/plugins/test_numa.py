"""Collector numa: memory per node, and which nodes there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.numa import Numa, listed, register_collectors

NODES = "sys/devices/system/node"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Numa]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Numa, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Numa)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        Numa,
        "two-sockets",
        [f"{NODES}/online", f"{NODES}/node1/meminfo", f"{NODES}/node0/numastat", "proc/vmstat"],
    )


def test_a_host_with_one_node_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Numa)
    here.write(f"{NODES}/online", b"0\n")
    with pytest.raises(Unavailable, match="one memory node only"):
        here.collector.probe()


def test_a_kernel_without_nodes_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="online: No such file"):
        stage(Numa).collector.probe()


def two_nodes(here: Any) -> None:
    here.write("proc/vmstat", b"numa_pages_migrated 5\nnuma_hint_faults 6\n")
    for node in range(4):
        text = b"Node %d MemTotal: 100 kB\nNode %d MemFree: %d kB\n" % (node, node, 10 + node)
        here.write(f"{NODES}/node{node}/meminfo", text)
        here.write(f"{NODES}/node{node}/numastat", b"numa_hit %d\nnuma_miss 0\n" % node)


def nodes_of(read: dict[str, float]) -> set[str]:
    keys = (key for key in read if "numa.node=" in key)
    return {key.partition("numa.node=")[2].partition(",")[0] for key in keys}


def test_a_node_that_comes_online_is_read(stage: Callable[..., Any]) -> None:
    here = stage(Numa)
    two_nodes(here)
    here.write(f"{NODES}/online", b"0-1\n")
    assert nodes_of(here.values()) == {"0", "1"}
    here.write(f"{NODES}/online", b"0-1,3\n")
    assert nodes_of(here.values()) == {"0", "1", "3"}


def test_no_more_nodes_are_read_than_are_allowed(stage: Callable[..., Any]) -> None:
    here = stage(Numa, max_nodes=2)
    two_nodes(here)
    here.write(f"{NODES}/online", b"0-3\n")
    assert nodes_of(here.values()) == {"0", "1"}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (b"0\n", [0]),
        (b"0-3\n", [0, 1, 2, 3]),
        (b"0-1,8,10-11\n", [0, 1, 8, 10, 11]),
        (b"\n", []),
        (b"3-1,-,a-b,5", [5]),
        (b"1020-9999", [1020, 1021, 1022, 1023]),
        (b"0-99999999999999999999", []),
    ],
)
def test_a_list_of_nodes_is_read(text: bytes, numbers: list[int]) -> None:
    assert listed(text) == numbers


def test_nothing_of_it_raises_a_finding() -> None:
    assert {one.alarm for one in Numa.instruments()} == {"never"}


def test_this_hosts_first_node_reads_as_its_file_says() -> None:
    collector = Numa(Numa.Config(single_node=True))
    try:
        collector.probe()
    except Unavailable as reason:
        pytest.skip(str(reason))
    read = {one.series.key: one.value for one in collector.collect()}
    collector.close()
    lines = Path("/sys/devices/system/node/node0/meminfo").read_text().splitlines()
    total = next(int(line.split()[3]) * 1024 for line in lines if "MemTotal" in line)
    key = "vedette.numa.memory.usage{vedette.numa.node=0,system.memory.state="
    assert read[key + "used}"] + read[key + "free}"] == pytest.approx(total, rel=0.01)
