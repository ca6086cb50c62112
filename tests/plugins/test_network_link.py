"""Collector network_link: which lines count as up, and when a speed is asked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.network_link import (
    SPEED_AGE,
    NetworkLink,
    NetworkLinkConfig,
    register_collectors,
)


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


def test_files_are_kept_open_and_opened_anew_with_the_speed(stage: Callable[..., Any]) -> None:
    here = stage(NetworkLink)
    mtu = "vedette.network.link.mtu{network.interface.name=eth0}"
    put(here, operstate="up", mtu="1500", speed="1000")
    assert [here.values()[mtu] for _ in range(2)] == [1500, 1500]
    # Another card under the same name: the files that are open are still those of the old one.
    folder = here.folder / "sys/class/net"
    (folder / "eth0").rename(folder / "away0")
    put(here, operstate="up", mtu="9000", speed="1000")
    seen = [here.values()[mtu] for _ in range(SPEED_AGE + 2)]
    assert seen[0] == 1500
    assert seen[-1] == 9000


@pytest.mark.skipif(os.geteuid() != 0, reason="making an interface needs root")
def test_an_interface_that_comes_back_under_its_name_is_read_at_once() -> None:
    name = f"vt{os.getpid() % 10**6}"
    mtu = f"vedette.network.link.mtu{{network.interface.name={name}}}"
    source = NetworkLink(NetworkLinkConfig(include=(name,), exclude=("*",)))
    seen = []
    for octets in (1400, 1300):
        make = ["ip", "link", "add", name, "mtu", str(octets), "type", "veth", "peer", f"{name}p"]
        if subprocess.run(make, check=False).returncode:
            pytest.skip("this kernel makes no interface")
        subprocess.run(["ip", "link", "set", f"{name}p", "up"], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        seen.append({one.series.key: one.value for one in source.collect()}.get(mtu))
        subprocess.run(["ip", "link", "del", name], check=True)
    source.close()
    assert seen == [1400, 1300]
