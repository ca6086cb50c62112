"""Collector run_queue: three sums over the CPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.run_queue import RunQueue, register_collectors

RUNNING = "vedette.cpu.run_queue.time{vedette.cpu.run_queue.state=running}"
WAITING = "vedette.cpu.run_queue.time{vedette.cpu.run_queue.state=waiting}"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [RunQueue]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(RunQueue, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(RunQueue)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, RunQueue, "newer", ["proc/schedstat"])


def test_a_large_host_is_summed_over_all_its_cpus(stage: Callable[..., Any]) -> None:
    here = stage(RunQueue)
    domains = b"".join(b"domain%d ff %s\n" % (at, b"1 " * 36) for at in range(4))
    cpus = b"".join(
        b"cpu%d 0 0 0 0 0 0 2000000000 1000000000 3\n%s" % (at, domains) for at in range(256)
    )
    here.write("proc/schedstat", b"version 15\ntimestamp 1\n" + cpus)
    assert here.values() == {
        RUNNING: pytest.approx(512.0),
        WAITING: pytest.approx(256.0),
        "vedette.cpu.run_queue.timeslices": 768,
    }


def test_a_kernel_without_the_file_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="schedstat: No such file"):
        stage(RunQueue).collector.probe()


def test_this_host_ran_as_long_as_its_cpus_were_busy(
    read_here: Callable[..., dict[str, float]],
) -> None:
    if not Path("/proc/schedstat").exists():
        pytest.skip("this kernel keeps no scheduler statistics")
    fields = Path("/proc/stat").read_text().split(None, 9)[1:9]
    busy = sum(int(one) for at, one in enumerate(fields) if at not in (3, 4)) / 100
    assert read_here(RunQueue)[RUNNING] == pytest.approx(busy, rel=0.2)
