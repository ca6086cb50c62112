"""Collector network_link: which lines count as up, and when a speed is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.network_link import NetworkLink, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [NetworkLink]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(NetworkLink, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(NetworkLink)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        NetworkLink,
        "server",
        ["sys/class/net/eth0/operstate", "sys/class/net/eth0/speed", "sys/class/net/eth1/mtu"],
    )


UP = "vedette.network.link.up{network.interface.name=eth0}"
SPEED = "vedette.network.link.speed{network.interface.name=eth0}"


def put(here: Any, name: str = "eth0", **files: str) -> None:
    for file, content in files.items():
        here.write(f"sys/class/net/{name}/{file}", f"{content}\n".encode())


def test_a_line_that_never_was_up_is_left_out_until_it_is(stage: Callable[..., Any]) -> None:
    here = stage(NetworkLink)
    seen = []
    for state in ("down", "lowerlayerdown", "up", "down", "dormant"):
        put(here, operstate=state)
        seen.append(here.values().get(UP))
    assert seen == [None, None, 1, 0, 0]


def test_a_running_interface_whose_driver_does_not_tell_is_up(stage: Callable[..., Any]) -> None:
    here = stage(NetworkLink)
    put(here, operstate="unknown")
    assert here.values()[UP] == 1


def test_an_interface_that_goes_is_forgotten(stage: Callable[..., Any]) -> None:
    here = stage(NetworkLink)
    put(here, operstate="up")
    here.read()
    (here.folder / "sys/class/net/eth0/operstate").unlink()
    assert here.values() == {}
    put(here, operstate="down")
    assert here.values() == {}


def test_a_speed_is_asked_for_when_the_line_changed_and_else_rarely(
    stage: Callable[..., Any],
) -> None:
    here = stage(NetworkLink)
    put(here, operstate="up", carrier_changes="1", speed="1000")
    assert here.values()[SPEED] == 125_000_000
    put(here, speed="100")
    assert here.values()[SPEED] == 125_000_000
    put(here, carrier_changes="2")
    assert here.values()[SPEED] == 12_500_000
    put(here, speed="2500")
    seen = [here.values()[SPEED] for _ in range(31)]
    assert seen == [*[12_500_000] * 30, 312_500_000]


def test_a_speed_that_nobody_knows_is_left_out(stage: Callable[..., Any]) -> None:
    for speed in ("-1", "4294967295", "0", ""):
        here = stage(NetworkLink)
        put(here, operstate="up", speed=speed)
        assert SPEED not in here.values()


def test_inner_ends_and_the_loopback_are_left_out_and_include_wins(
    stage: Callable[..., Any],
) -> None:
    here = stage(NetworkLink, include=["veth1"])
    for name in ("lo", "veth0", "veth1", "eth0"):
        put(here, name, operstate="up")
    assert {one.series.values[0] for one in here.read()} == {"veth1", "eth0"}


def test_no_more_interfaces_than_allowed_are_read(stage: Callable[..., Any]) -> None:
    here = stage(NetworkLink, max_interfaces=3)
    for number in range(9):
        put(here, f"eth{number}", operstate="up")
    assert {one.series.values[0] for one in here.read()} == {"eth0", "eth1", "eth2"}


def test_a_host_without_interfaces_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(NetworkLink)
    put(here, "lo", operstate="unknown")
    with pytest.raises(Unavailable, match="no interface"):
        here.collector.probe()


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    theirs = psutil.net_if_stats()
    try:
        mine = read_here(NetworkLink)
    except Unavailable as reason:
        pytest.skip(str(reason))
    for name in {key.partition("name=")[2].rstrip("}") for key in mine}:
        place = f"{{network.interface.name={name}}}"
        assert mine[f"vedette.network.link.mtu{place}"] == theirs[name].mtu
        if theirs[name].speed:
            speed = mine[f"vedette.network.link.speed{place}"]
            assert speed == theirs[name].speed * 1_000_000 / 8
