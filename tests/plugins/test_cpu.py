"""Collector cpu: shares of time, and counters that misbehave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.cpu import MODES, Cpu, register_collectors


def stat(*ticks: int) -> bytes:
    line = " ".join(map(str, ticks))
    return f"cpu  {line}\ncpu0 {line}\n".encode()


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Cpu]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Cpu, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Cpu)


def test_the_first_reading_has_no_utilization(stage: Callable[..., Any]) -> None:
    here = stage(Cpu)
    here.write("proc/stat", stat(10, 0, 5, 100, 1, 0, 0, 0))
    assert not [key for key in here.values() if "utilization" in key or "busy" in key]


def test_time_that_did_not_pass_has_no_shares(stage: Callable[..., Any]) -> None:
    here = stage(Cpu)
    here.write("proc/stat", stat(10, 0, 5, 100, 1, 0, 0, 0))
    here.read()
    assert "vedette.cpu.busy" not in here.values()


def test_iowait_that_slips_back_is_held_and_negative_nowhere(stage: Callable[..., Any]) -> None:
    here = stage(Cpu)
    here.write("proc/stat", stat(10, 0, 5, 100, 50, 0, 0, 0))
    here.read()
    here.write("proc/stat", stat(60, 0, 5, 150, 40, 0, 0, 0))
    second = here.values()
    assert second["system.cpu.time{cpu.mode=iowait}"] == pytest.approx(0.50)
    assert second["system.cpu.utilization{cpu.mode=iowait}"] == 0
    assert second["vedette.cpu.busy"] == pytest.approx(0.5)
    here.write("proc/stat", stat(60, 0, 5, 240, 60, 0, 0, 0))
    third = here.values()
    assert third["system.cpu.utilization{cpu.mode=iowait}"] == pytest.approx(0.1)


def test_counters_that_start_anew_give_no_shares_and_the_new_totals(
    stage: Callable[..., Any],
) -> None:
    here = stage(Cpu)
    here.write("proc/stat", stat(90000, 0, 50000, 1000000, 5000, 0, 0, 0))
    here.read()
    here.write("proc/stat", stat(10, 0, 5, 100, 1, 0, 0, 0))
    after = here.values()
    assert "vedette.cpu.busy" not in after
    assert after["system.cpu.time{cpu.mode=user}"] == pytest.approx(0.10)


def test_a_core_that_comes_back_has_no_share_of_the_time_it_was_gone(
    stage: Callable[..., Any],
) -> None:
    here = stage(Cpu)
    both = stat(10, 0, 0, 100) + b"cpu1 5 0 0 5\n"
    for text in (both, stat(20, 0, 0, 200), both.replace(b"5 0 0 5", b"900 0 0 5")):
        here.write("proc/stat", text)
        reading = here.values()
    assert "vedette.cpu.core.busy{cpu.logical_number=1}" not in reading


def test_cores_are_left_out_when_not_wanted(stage: Callable[..., Any]) -> None:
    here = stage(Cpu, per_core="off")
    here.write("proc/stat", stat(10, 0, 5, 100))
    here.read()
    here.write("proc/stat", stat(20, 0, 5, 200))
    assert not [key for key in here.values() if ".core." in key]


def test_a_host_with_many_cores_is_read_whole(stage: Callable[..., Any]) -> None:
    here = stage(Cpu)
    cores = b"".join(b"cpu%d 10 0 5 100 1 0 0 0 0 0\n" % core for core in range(1024))
    here.write("proc/stat", b"cpu  10 0 5 100 1 0 0 0\n" + cores + b"ctxt 77\n")
    for _ in range(2):
        reading = here.values()
        assert reading["system.cpu.logical.count"] == 1024
        assert reading["vedette.cpu.context_switches"] == 77


def test_guests_are_part_of_their_modes_and_have_a_metric_of_their_own(
    stage: Callable[..., Any],
) -> None:
    here = stage(Cpu)
    here.write("proc/stat", stat(100, 50, 5, 100, 1, 0, 0, 0, 0, 0))
    assert not [key for key in here.values() if "guest" in key]
    here.write("proc/stat", stat(150, 60, 5, 140, 1, 0, 0, 0, 30, 10))
    read = here.values()
    assert read["vedette.cpu.guest.time{cpu.mode=user}"] == pytest.approx(0.3)
    assert read["vedette.cpu.guest.time{cpu.mode=nice}"] == pytest.approx(0.1)
    parts = [read[f"system.cpu.utilization{{cpu.mode={mode}}}"] for mode in MODES]
    assert sum(parts) == pytest.approx(1.0)
    assert parts[0] == pytest.approx(0.5)
    here.write("proc/stat", stat(160, 60, 5, 150, 1, 0, 0, 0, 0, 0))
    assert here.values()["vedette.cpu.guest.time{cpu.mode=user}"] == 0


TICKS = st.lists(st.integers(0, 5000), min_size=8, max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(begin=st.lists(TICKS, min_size=1, max_size=4), more=st.lists(TICKS, min_size=4, max_size=4))
def test_a_core_is_busy_for_what_it_neither_idled_nor_waited(
    stage: Callable[..., Any], begin: list[list[int]], more: list[list[int]]
) -> None:
    here = stage(Cpu)
    after = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(begin, more, strict=False)]
    for cores in (begin, after):
        lines = [f"cpu{at} {' '.join(map(str, ticks))} 0 0\n" for at, ticks in enumerate(cores)]
        host = " ".join(str(sum(column)) for column in zip(*cores, strict=True))
        here.write("proc/stat", f"cpu  {host} 0 0\n{''.join(lines)}intr 1 0 0\n".encode())
        read = here.values()
    for at, ticks in enumerate(more[: len(begin)]):
        busy = read.get(f"vedette.cpu.core.busy{{cpu.logical_number={at}}}")
        worked, passed = sum(ticks) - ticks[3] - ticks[4], sum(ticks)
        assert busy == (pytest.approx(worked / passed) if passed else None)


def test_a_name_or_number_no_cpu_has_is_left_out(stage: Callable[..., Any]) -> None:
    here = stage(Cpu)
    wide = b"9" * 40
    good = b"cpu  1 0 0 1\ncpu0 1 0 0 1\n"
    here.write("proc/stat", good + b"cpu99999 1 0 0 1\ncpu1 1 -1 0 1\ncpux 1 0 0 1\n")
    assert here.values()["system.cpu.logical.count"] == 1
    here.write("proc/stat", b"cpu  1 0 0 %s\ncpu0 1 0 0 1\n" % wide)
    with pytest.raises(Unavailable, match="no line for all CPUs"):
        here.read()
    here.write("proc/stat", good.replace(b"0 1\n", b"0 5\n") + b"cpu2 1 0 0 %s\n" % wide)
    assert here.values()["system.cpu.logical.count"] == 2


def test_a_missing_file_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        stage(Cpu).collector.probe()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Cpu, "recorded", ["proc/stat"])


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    mine = read_here(Cpu)
    theirs = psutil.cpu_times()
    assert mine["system.cpu.logical.count"] == psutil.cpu_count()
    for mode in ("user", "system", "idle", "iowait", "steal"):
        key = f"system.cpu.time{{cpu.mode={mode}}}"
        assert mine[key] == pytest.approx(getattr(theirs, mode), abs=2.0)
