"""Collector memory: states that add up, and what only looks like cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.memory import Memory, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Memory]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Memory, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Memory)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Memory, "recorded", ["proc/meminfo"])


def test_the_states_add_up_to_the_total(stage: Callable[..., Any]) -> None:
    here = stage(Memory)
    here.write(
        "proc/meminfo",
        b"MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 600 kB\n"
        b"Shmem: 200 kB\nSReclaimable: 25 kB\n",
    )
    read = here.values()
    parts = [value for key, value in read.items() if key.startswith("system.memory.usage")]
    assert sum(parts) == 1000 * 1024
    assert read["system.memory.utilization{system.memory.state=used}"] == pytest.approx(0.425)
    assert read["system.memory.utilization{system.memory.state=cached}"] == pytest.approx(0.425)


def test_only_what_is_used_can_raise_a_finding(stage: Callable[..., Any]) -> None:
    here = stage(Memory)
    here.write(
        "proc/meminfo", b"MemTotal: 9 kB\nMemFree: 1 kB\nBuffers: 0 kB\nCached: 1 kB\nDirty: 1 kB\n"
    )
    loud = [s.series.key for s in here.read() if s.series.instrument.alarm != "never"]
    assert loud == ["system.memory.utilization{system.memory.state=used}"]


def test_an_empty_file_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Memory)
    here.write("proc/meminfo", b"")
    with pytest.raises(Unavailable, match="how much RAM"):
        here.read()


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    mine, theirs = read_here(Memory), psutil.virtual_memory()
    assert mine["system.memory.limit"] == theirs.total
    close = theirs.total * 0.02
    assert mine["system.memory.linux.available"] == pytest.approx(theirs.available, abs=close)
    assert mine["system.memory.usage{system.memory.state=free}"] == pytest.approx(
        theirs.free, abs=close
    )
