"""Collector ipc: System V objects added up."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.ipc import Ipc, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Ipc]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Ipc, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Ipc)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data, Ipc, "recorded", [f"proc/sysvipc/{name}" for name in ("sem", "shm", "msg")]
    )


def test_a_kernel_without_system_v_ipc_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="no System V IPC"):
        stage(Ipc).collector.probe()


def test_a_table_that_cannot_be_read_leaves_the_others(stage: Callable[..., Any]) -> None:
    here = stage(Ipc)
    here.write("proc/sysvipc/sem", b"heading\n 1 0 600 3 0 0 0 0 0 0\n 2 1 600 4 0 0 0 0 0 0\n")
    assert here.values() == {"vedette.ipc.semaphore.arrays": 2, "vedette.ipc.semaphore.count": 7}


def test_a_segment_made_here_is_counted(read_here: Callable[..., dict[str, float]]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0, ctypes.c_size_t(12345), 0o1600)
    if segment < 0:
        pytest.skip("this host lets no shared memory be made")
    try:
        with_it = read_here(Ipc)
    finally:
        libc.shmctl(segment, 0, None)
    assert with_it["vedette.ipc.shared_memory.segments"] >= 1
    assert with_it["vedette.ipc.shared_memory.size"] >= 12345
    text = Path("/proc/sysvipc/shm").read_text()
    assert f"{segment:11d}" not in text
