"""Collector network: which interfaces count."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
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


def test_a_counter_that_seldom_counts_begins_at_its_first_and_stays_until_the_interface_goes(
    stage: Callable[..., Any],
) -> None:
    here = stage(Network)
    row = b"eth0: 9 5 0 0 %d 0 0 0 70 5 0 0 0 0 %d 0\n"
    fifo = "vedette.network.fifo_errors{network.interface.name=eth0,network.io.direction=receive}"
    carrier = "vedette.network.carrier_errors{network.interface.name=eth0}"
    seen = []
    for rows in (row % (0, 0), row % (3, 0), row % (0, 1), b"", row % (0, 1)):
        here.write("proc/self/net/dev", HEAD + rows)
        read = here.values()
        seen.append((read.get(fifo), read.get(carrier)))
    assert seen == [(None, None), (3, None), (0, 1), (None, None), (None, 1)]


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


class Net:
    """A network of its own, held by a shell that lives in it."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["unshare", "--net", "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._shell.pid

    def run(self, command: str) -> str | None:
        """Run a command in the network; returns what it said when it failed."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        said = []
        try:
            print(f"{command}\necho end $?", file=self._shell.stdin, flush=True)
        except BrokenPipeError:
            return self._shell.stdout.read()
        for line in self._shell.stdout:
            if line.startswith("end "):
                return None if line == "end 0\n" else "".join(said)
            said.append(line)
        return "".join(said) or "the shell ended"

    def lay(self, number: int) -> None:
        """Lay a line from lanN to farN and send a datagram over it."""
        near, far = f"198.51.{number}.1", f"198.51.{number}.2"
        send = f"import socket; socket.socket(2, 2).sendto(b'x', ('{far}', 9))"
        for command in (
            f"ip link add lan{number} type veth peer name far{number}",
            f"ip link set far{number} up",
            f"ip link set lan{number} up",
            f"ip address add {near}/24 dev lan{number}",
            f"ip neighbour add {far} lladdr 02:00:00:00:00:02 dev lan{number}",
            f'{sys.executable} -c "{send}"',
        ):
            assert self.run(command) is None

    def close(self) -> None:
        """End the shell, and with it the network and all that is in it."""
        self._shell.kill()
        self._shell.communicate()


@pytest.fixture
def net(stage: Callable[..., Any]) -> Iterator[tuple[Net, Any]]:
    """Make a network and a collector that reads it."""
    try:
        one = Net()
    except FileNotFoundError as error:
        pytest.skip(f"no network of one's own here: {error}")
    try:
        refusal = one.run("ip link add probe0 type veth peer name probe1")
        if refusal is not None:
            pytest.skip(f"no network of one's own here: {refusal.strip()}")
        here = stage(Network)
        (here.folder / "proc" / "self").symlink_to(f"/proc/{one.pid}")
        yield one, here
    finally:
        one.close()


SENT = "system.network.packet.count{network.interface.name=%s,network.io.direction=transmit}"


def test_an_interface_that_is_renamed_ends_under_its_old_name_and_begins_under_its_new(
    net: tuple[Net, Any],
) -> None:
    network, here = net
    network.lay(1)
    before = here.values()
    assert before[SENT % "lan1"] >= 1
    assert network.run("ip link set lan1 down && ip link set lan1 name wan0") is None
    after = here.values()
    assert SENT % "lan1" not in after
    assert after[SENT % "wan0"] >= before[SENT % "lan1"]


def test_an_interface_that_is_deleted_ends_and_leaves_the_others_as_they_are(
    net: tuple[Net, Any],
) -> None:
    network, here = net
    network.lay(1)
    network.lay(2)
    before = here.values()
    assert {SENT % "lan1", SENT % "lan2"} <= before.keys()
    assert network.run("ip link delete lan1") is None
    after = here.values()
    assert not [key for key in after if "lan1" in key or "far1" in key]
    assert after[SENT % "lan2"] >= before[SENT % "lan2"]


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    mine, theirs = read_here(Network), psutil.net_io_counters(pernic=True)
    for name in {key.partition("name=")[2].partition(",")[0] for key in mine}:
        place = f"network.interface.name={name},network.io.direction=receive"
        packets = mine[f"system.network.packet.count{{{place}}}"]
        assert packets == pytest.approx(theirs[name].packets_recv, rel=0.05, abs=50)


def test_a_line_that_stays_as_it_was_counts_as_before(stage: Callable[..., Any]) -> None:
    here = stage(Network)
    key = "system.network.io{network.interface.name=%s,network.io.direction=receive}"
    seen = []
    for octets in (9, 10, 10):
        rows = ROW % (b"eth0", 9) + ROW % (b"eth1", octets)
        here.write("proc/self/net/dev", HEAD + rows)
        read = here.values()
        seen.append((read[key % "eth0"], read[key % "eth1"]))
    assert seen == [(9, 9), (9, 10), (9, 10)]
