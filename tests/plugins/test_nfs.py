"""Collector nfs: the counters of client and server, by procedure where one was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins import _nfs_counters as counters
from vedette_plugins.nfs import Nfs, register_collectors

FILES = ["proc/self/net/rpc/nfs", "proc/self/net/rpc/nfsd"]


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Nfs]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Nfs, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Nfs)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Nfs, "modern", FILES)


@pytest.fixture
def here(stage: Callable[..., Any]) -> Callable[..., Any]:
    """Put a collector on the texts of the client's and the server's file."""

    def put(client: bytes = b"", server: bytes = b"") -> Any:
        staged = stage(Nfs)
        for name, text in zip(FILES, (client, server), strict=True):
            if text:
                staged.write(name, text)
        return staged

    return put


def test_the_names_are_as_many_as_the_protocols_have() -> None:
    many = [len(known) for _, _, known in counters.VERSIONS]
    assert many == [18, 22, 2]
    assert len(counters.SERVER_OPERATIONS) == 76
    assert len(counters.client_operations(69)) == 69
    for known in (*(one[2] for one in counters.VERSIONS), counters.SERVER_OPERATIONS):
        assert len(set(known)) == len(known)


def test_numbers_of_operations_are_those_of_the_standards() -> None:
    server, client = counters.SERVER_OPERATIONS, counters.client_operations(69)
    numbers = {"ACCESS": 3, "GETATTR": 9, "READ": 25, "WRITE": 38, "SEQUENCE": 53, "CLONE": 71}
    assert {name: server.index(name) for name in numbers} == numbers
    ours = {"READ": 1, "WRITE": 2, "FSID_PRESENT": 37, "SEQUENCE": 41, "SEEK": 54, "READ_PLUS": 68}
    assert {name: client.index(name) for name in ours} == ours


def test_an_older_kernels_later_operations_have_no_name_and_count_in_the_sum(
    here: Callable[..., Any],
) -> None:
    line = b"proc4 48 0 5 " + b"0 " * 38 + b"7 " + b"0 " * 7
    read = here(client=b"rpc 12 0 12\n" + line).values()
    assert read["vedette.nfs.client.requests{onc_rpc.version=4}"] == 12
    assert [key for key in read if "operation" in key] == [
        "nfs.client.operation.count{onc_rpc.version=4,nfs.operation.name=READ}"
    ]


def test_a_procedure_nobody_asked_for_has_no_series(here: Callable[..., Any]) -> None:
    read = here(client=b"rpc 4 0 0\nproc3 22 0 4" + b" 0" * 20 + b"\n").values()
    assert [key for key in read if "procedure" in key] == [
        "nfs.client.procedure.count{onc_rpc.version=3,onc_rpc.procedure.name=GETATTR}"
    ]


def test_a_server_that_starts_later_is_found(here: Callable[..., Any]) -> None:
    now = here(client=b"rpc 4 0 0\n")
    assert not any(key.startswith("nfs.server") for key in now.values())
    now.write(FILES[1], b"th 8 0\n")
    for _ in range(100):
        read = now.values()
        if "nfs.server.thread.count" in read:
            break
    assert read["nfs.server.thread.count"] == 8


def test_a_host_without_nfs_has_nothing_to_read_until_it_has(here: Callable[..., Any]) -> None:
    now = here()
    for _ in range(2):
        with pytest.raises(Unavailable, match="neither NFS client nor server"):
            now.collector.probe()
    now.write(FILES[0], b"rpc 4 0 0\n")
    now.collector.probe()


def test_files_without_a_counter_leave_no_descriptor_behind(here: Callable[..., Any]) -> None:
    now = here(client=b"\n", server=b"x\n")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(Unavailable):
            now.collector.probe()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(not os.path.exists("/proc/net/rpc/nfs"), reason="no NFS client here")
def test_this_hosts_client_is_read(read_here: Callable[..., dict[str, float]]) -> None:
    for line in Path("/proc/net/rpc/nfs").read_text().splitlines():
        if line.startswith("rpc "):
            assert read_here(Nfs)["nfs.client.rpc.count"] >= int(line.split()[1])
