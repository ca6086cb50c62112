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

SLAB = "system.memory.linux.slab.usage{system.memory.linux.slab.state="


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


def test_faulty_memory_can_raise_a_finding(stage: Callable[..., Any]) -> None:
    here = stage(Memory)
    here.write("proc/meminfo", b"MemTotal: 9 kB\nHardwareCorrupted: 4 kB\n")
    loud = {s.series.key: s.value for s in here.read() if s.series.instrument.alarm != "never"}
    assert loud == {"vedette.memory.hardware_corrupted": 4096}


def test_a_host_without_hugepages_or_swap_has_no_series_of_them(stage: Callable[..., Any]) -> None:
    here = stage(Memory)
    here.write(
        "proc/meminfo",
        b"MemTotal: 9 kB\nSwapTotal: 0 kB\nSwapCached: 0 kB\nZswap: 0 kB\nZswapped: 0 kB\n"
        b"HugePages_Total: 0\nHugePages_Free: 0\nHugePages_Rsvd: 0\nHugepagesize: 2048 kB\n",
    )
    assert list(here.values()) == ["system.memory.limit"]


def test_zswap_appears_when_it_is_used_and_stays(stage: Callable[..., Any]) -> None:
    here = stage(Memory)
    seen = []
    for stored in (0, 12, 0):
        text = b"MemTotal: 9 kB\nSwapTotal: 9 kB\nZswap: 4 kB\nZswapped: %d kB\n" % stored
        here.write("proc/meminfo", text)
        seen.append(here.values().get("vedette.memory.zswap.stored"))
    assert seen == [None, 12 * 1024, 0]


def test_an_amount_beyond_what_64_bits_can_say_is_left_out(stage: Callable[..., Any]) -> None:
    here = stage(Memory)
    here.write("proc/meminfo", b"MemTotal: 9 kB\nCommitLimit: 737869762947802600 kB\n")
    assert list(here.values()) == ["system.memory.limit"]


def test_a_line_that_comes_back_is_read_again(stage: Callable[..., Any]) -> None:
    here = stage(Memory)
    seen = []
    for dirty in (b"7", b"", b"-7", b"9"):
        here.write("proc/meminfo", b"MemTotal: 9 kB\nDirty: %b kB\nWriteback: 2 kB\n" % dirty)
        read = here.values()
        assert read["vedette.memory.writeback"] == 2048
        seen.append(read.get("vedette.memory.dirty"))
    assert seen == [7 * 1024, None, None, 9 * 1024]


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
    slab = sum(mine[f"{SLAB}{state}}}"] for state in ("reclaimable", "unreclaimable"))
    assert slab == pytest.approx(theirs.slab, abs=close)
    assert mine["system.memory.linux.shared"] == pytest.approx(theirs.shared, abs=close)


def test_this_hosts_numbers_are_those_of_its_lines(
    read_here: Callable[..., dict[str, float]],
) -> None:
    mine = read_here(Memory)
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    for key, name in {
        "vedette.memory.commit.limit": "CommitLimit",
        "vedette.memory.locked": "Mlocked",
        "vedette.memory.unevictable": "Unevictable",
        "vedette.memory.kernel.usage{vedette.memory.kernel.use=percpu}": "Percpu",
    }.items():
        assert mine[key] == pytest.approx(int(lines[name].split()[0]) * 1024, rel=0.1), key
