"""Collector sockets: what the kernel lists, what follows from its totals, and where it stops."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Host, Unavailable
from vedette.sock_diag import Line, Listed, parse
from vedette_plugins.sockets import LISTED, STATES, WALK_EVERY, Sockets, register_collectors

COUNT = "system.network.connection.count{network.transport=tcp,network.connection.state=%s}"


@pytest.fixture(scope="module", autouse=True)
def _recorded() -> Iterator[None]:
    """Let a collector on a tree of files get the answers recorded there instead of the kernel's."""

    sockets = Sockets.sockets

    def answered(self: Sockets, protocol: int, family: int, states: int) -> Iterator[Listed]:
        if self.host.proc != "/proc" and "ask" not in vars(self.line):
            path = Path(self.host.proc) / "sock_diag" / f"{protocol}-{family}"
            vars(line := Line())["ask"] = lambda *_: iter([path.read_bytes()])
            return line.sockets(protocol, family, states)
        return sockets(self, protocol, family, states)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sockets, "sockets", answered)
        yield


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Sockets]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Sockets, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Sockets)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_answers_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    names = ["proc/sock_diag/6-2", "proc/sock_diag/17-2", "proc/self/net/sockstat"]
    assert_survives(data, Sockets, "recorded", names)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


def listed(state: int, receive: int = 0, send: int = 0, timer: int = 0) -> bytes:
    body = struct.pack("=BBBB48sIIIII", 2, state, timer, 0, b"", 0, receive, send, 0, 0)
    return message(20, body)


DONE = message(3, bytes(4))


def put(here: Any, *messages: bytes, sockstat: bytes = b"TCP: inuse 0 tw 0\n") -> dict[str, float]:
    here.write("proc/sock_diag/6-2", b"".join(messages) + DONE)
    here.write("proc/self/net/sockstat", sockstat)
    return here.values()


def test_established_is_what_is_in_use_and_not_listed(stage: Callable[..., Any]) -> None:
    here = stage(Sockets)
    half_open, closing, listening = listed(3), listed(8), listed(10)
    read = put(here, half_open, closing, listening, sockstat=b"TCP: inuse 102 tw 7\n")
    # One listens and one waits to be closed; a half-open connection is not in use yet.
    assert read[COUNT % "established"] == 100
    assert read[COUNT % "time_wait"] == 7
    assert read[COUNT % "syn_received"] == 1


def test_a_stub_that_waits_for_the_peer_is_not_in_use_and_not_in_time_wait(
    stage: Callable[..., Any],
) -> None:
    here = stage(Sockets)
    stub = listed(5, timer=3)
    read = put(here, stub, stub, listed(5), sockstat=b"TCP: inuse 11 tw 9\n")
    assert read[COUNT % "fin_wait_2"] == 3
    assert read[COUNT % "established"] == 10
    assert read[COUNT % "time_wait"] == 7


def test_without_the_kernels_totals_two_states_are_left_out(stage: Callable[..., Any]) -> None:
    here = stage(Sockets)
    read = put(here, listed(10), sockstat=b"")
    assert not {COUNT % "established", COUNT % "time_wait"} & read.keys()
    assert read[COUNT % "listen"] == 1


def test_the_fullest_accept_queue_counts_and_a_full_one_is_one(stage: Callable[..., Any]) -> None:
    here = stage(Sockets)
    read = put(here, listed(10, 96, 128), listed(10, 64, 4096))
    assert read["vedette.tcp.accept_queue.utilization"] == 0.75
    assert read["vedette.tcp.accept_queue.length"] == 160
    # The kernel lets in one more than the length; a length of zero lets in one.
    for full in (listed(10, 129, 128), listed(10, 1, 0)):
        assert put(here, full)["vedette.tcp.accept_queue.utilization"] == 1


def test_past_the_cap_states_are_left_out_and_it_says_so(stage: Callable[..., Any]) -> None:
    here = stage(Sockets, max_sockets=100)
    assert put(here, *[listed(3)] * 100)["vedette.sockets.truncated"] == 0
    read = put(here, listed(10, 1, 2), *[listed(3)] * 100)
    assert read["vedette.sockets.truncated"] == 1
    assert read["vedette.tcp.accept_queue.utilization"] == 0.5
    assert not [key for key in read if key.startswith("system.network.connection.count")]


def test_an_answer_in_several_parts_is_read_to_its_end_and_no_further(
    stage: Callable[..., Any],
) -> None:
    def parts(*_: int) -> Iterator[bytes]:
        yield from (listed(10) * 3, listed(8), DONE)
        raise AssertionError("asked for more after the end")

    here = stage(Sockets)
    here.collector.line.ask = parts
    read = here.values()
    assert (read[COUNT % "listen"], read[COUNT % "close_wait"]) == (3, 1)


def test_a_refusal_of_the_kernel_is_an_error_with_its_number() -> None:
    with pytest.raises(PermissionError):
        parse(message(2, struct.pack("=i", -1)))


def test_a_kernel_that_refuses_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Sockets)
    here.write("proc/sock_diag/6-2", message(2, struct.pack("=i", -2)))
    with pytest.raises(Unavailable, match="No such file"):
        here.collector.probe()


def test_a_kernel_that_lists_no_udp_sockets_gives_the_rest(stage: Callable[..., Any]) -> None:
    here = stage(Sockets)
    read = put(here, listed(10))
    assert read[COUNT % "listen"] == 1
    assert not [key for key in read if key.startswith("vedette.udp")]


def test_in_a_container_with_a_network_of_its_own_it_is_unavailable(
    stage: Callable[..., Any],
) -> None:
    here = stage(Sockets)
    here.collector.host = Host(proc=here.collector.host.proc, root="/host")
    put(here, listed(10))
    with pytest.raises(Unavailable, match="container's own"):
        here.collector.probe()
    for who in ("self", "1"):
        here.write(f"proc/{who}/ns/net", b"")
    with pytest.raises(Unavailable, match="container's own"):
        here.collector.probe()
    (here.folder / "proc/1/ns/net").unlink()
    os.link(here.folder / "proc/self/ns/net", here.folder / "proc/1/ns/net")
    here.collector.probe()


@pytest.fixture
def connections() -> Iterator[None]:
    """Have 12 open connections, 3 that the client closed and 2 that both closed."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        pairs = []
        for _ in range(17):
            client = stack.enter_context(socket.create_connection(server.getsockname()))
            pairs.append((client, stack.enter_context(server.accept()[0])))
        for client, _ in pairs[:5]:
            client.close()
        for _, accepted in pairs[:5]:
            # The end of the stream has arrived when there is something to read.
            assert select.select([accepted], [], [], 10)[0]
        for _, accepted in pairs[3:5]:
            accepted.close()
        yield


def of_ss() -> Counter[str]:
    names = {"ESTAB": "established", "SYN-RECV": "syn_received"}
    names |= {f"FIN-WAIT-{number}": f"fin_wait_{number}" for number in (1, 2)}
    try:
        done = subprocess.run(["ss", "-Htan"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no ss here: {error}")
    words = [line.split()[0] for line in done.stdout.splitlines()]
    return Counter(names.get(word, word.lower().replace("-", "_")) for word in words)


@pytest.mark.usefixtures("connections")
def test_this_host_counts_as_ss_counts(read_here: Callable[..., dict[str, float]]) -> None:
    for _ in range(50):
        before = of_ss()
        try:
            mine = read_here(Sockets)
        except Unavailable as reason:
            pytest.skip(str(reason))
        if of_ss() == before:
            break
    else:
        pytest.skip("others on this host open and close connections all the time")
    assert {state: mine[COUNT % state] for state in STATES.values()} == {
        state: before[state] for state in STATES.values()
    }
    assert (before["established"], before["close_wait"], before["time_wait"]) >= (24, 3, 2)


SNMP = b"Ip: Forwarding\nIp: 1\nTcp: InSegs OutSegs\nTcp: %d 4\nUdp: InDatagrams\nUdp: %d\n"


class Kernel:
    """Lists the sockets it is told to, of the states it is asked for, and notes those."""

    def __init__(self, here: Any) -> None:
        self.here = here
        self.sockets = [(10, 0), (8, 0)]
        self.asked: list[int] = []
        here.collector.line.ask = self.answer

    def answer(self, protocol: int, family: int, states: int) -> Iterator[bytes]:
        if protocol == 6:
            self.asked.append(states)
            yield b"".join(listed(one, timer=t) for one, t in self.sockets if states >> one & 1)
        yield DONE

    def states_asked_for(self, segments: int = 3, datagrams: int = 0, in_use: int = 9) -> int:
        """Read once; return which states were asked for."""
        self.here.write("proc/self/net/snmp", SNMP % (segments, datagrams))
        self.here.write("proc/self/net/sockstat", b"TCP: inuse %d tw 0\n" % in_use)
        self.read = self.here.values()
        return self.asked[-1]


LISTENING = 1 << 10


def test_while_nothing_of_tcp_moves_only_listening_sockets_are_asked_for(
    stage: Callable[..., Any],
) -> None:
    kernel = Kernel(stage(Sockets))
    assert kernel.states_asked_for() == LISTED
    assert kernel.states_asked_for(datagrams=7) == LISTENING
    kernel.sockets.append((10, 0))
    assert kernel.states_asked_for(datagrams=8) == LISTENING
    assert kernel.read[COUNT % "listen"] == 2
    assert kernel.read[COUNT % "close_wait"] == 1
    assert kernel.read[COUNT % "established"] == 6


@pytest.mark.parametrize("moved", [{"segments": 4}, {"in_use": 8}])
def test_when_something_of_tcp_moved_all_are_asked_for(
    stage: Callable[..., Any], moved: dict[str, int]
) -> None:
    kernel = Kernel(stage(Sockets))
    kernel.states_asked_for()
    kernel.sockets = [(10, 0)]
    assert kernel.states_asked_for(**moved) == LISTED
    assert kernel.read[COUNT % "close_wait"] == 0
    assert kernel.states_asked_for(**moved) == LISTENING


@pytest.mark.parametrize("passing", [(2, 0), (3, 0), (4, 0), (5, 0), (5, 3), (9, 0), (11, 0)])
def test_while_a_connection_is_being_opened_or_closed_all_are_asked_for(
    stage: Callable[..., Any], passing: tuple[int, int]
) -> None:
    kernel = Kernel(stage(Sockets))
    kernel.sockets.append(passing)
    assert [kernel.states_asked_for() for _ in range(3)] == [LISTED] * 3
    kernel.sockets.pop()
    assert [kernel.states_asked_for() for _ in range(2)] == [LISTED, LISTENING]


def test_all_are_asked_for_now_and_then_although_nothing_moves(stage: Callable[..., Any]) -> None:
    kernel = Kernel(stage(Sockets))
    asked = [kernel.states_asked_for() for _ in range(2 * WALK_EVERY + 1)]
    walks = [at for at, one in enumerate(asked) if one == LISTED]
    assert walks == [0, WALK_EVERY, 2 * WALK_EVERY]


def test_without_tcps_own_counters_all_are_always_asked_for(stage: Callable[..., Any]) -> None:
    kernel = Kernel(stage(Sockets))
    kernel.here.write("proc/self/net/sockstat", b"TCP: inuse 9 tw 0\n")
    for _ in range(3):
        kernel.here.values()
    assert kernel.asked == [LISTED] * 3


def test_a_collector_that_goes_on_counts_what_a_new_one_counts(
    read_here: Callable[..., dict[str, float]],
) -> None:
    going = Sockets(Sockets.Config())
    try:
        going.probe()
    except Unavailable as reason:
        pytest.skip(str(reason))

    def agrees() -> bool:
        for _ in range(50):  # others on this host open and close connections too
            mine = {one.series.key: one.value for one in going.collect()}
            fresh = read_here(Sockets)
            if all(mine[COUNT % name] == fresh[COUNT % name] for name in STATES.values()):
                return True
        return False

    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(socket.create_connection(server.getsockname()))
        accepted = stack.enter_context(server.accept()[0])
        stages = [agrees(), agrees()]
        client.close()
        assert select.select([accepted], [], [], 10)[0]
        stages += [agrees(), agrees()]
        accepted.close()
        stages += [agrees(), agrees()]
    going.close()
    assert stages == [True] * 6
