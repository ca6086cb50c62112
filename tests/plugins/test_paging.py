"""Collector paging: swap, faults and out-of-memory kills."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.paging import Paging, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Paging]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Paging, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Paging)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Paging, "swapping", ["proc/vmstat", "proc/meminfo"])


def test_a_host_without_swap_has_no_swap_series(stage: Callable[..., Any]) -> None:
    here = stage(Paging)
    here.write("proc/meminfo", b"MemTotal: 9 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    here.write("proc/vmstat", b"pswpin 0\npswpout 0\npgfault 5\npgmajfault 1\noom_kill 0\n")
    read = here.values()
    assert not [key for key in read if "usage" in key or "utilization" in key]
    assert read["system.paging.faults{system.paging.fault.type=minor}"] == 4


def test_a_table_longer_than_one_read_is_read_whole(stage: Callable[..., Any]) -> None:
    here = stage(Paging)
    here.write("proc/meminfo", b"SwapTotal: 0 kB\n")
    filler = b"".join(b"nr_filler_%d 1\n" % line for line in range(5000))
    here.write("proc/vmstat", filler + b"oom_kill 3\n")
    assert here.values()["vedette.memory.oom_kills"] == 3
    assert here.values()["vedette.memory.oom_kills"] == 3


def test_a_missing_file_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="vmstat: No such file"):
        stage(Paging).collector.probe()


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    mine, theirs = read_here(Paging), psutil.swap_memory()
    key = "system.paging.usage{system.paging.state=used}"
    assert mine.get(key, 0) == pytest.approx(theirs.used, abs=64 * 2**20)
