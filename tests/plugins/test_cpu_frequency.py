"""Collector cpu_frequency: a part of many cores, and throttle counts that never fall."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.cpu_frequency import LIST_EVERY, SAMPLED, CpuFrequency, register_collectors

FOLDER = "sys/devices/system/cpu"
MEAN = "vedette.cpu.frequency.mean"
CORES = "vedette.cpu.throttles{vedette.cpu.throttle.scope=core}"
PACKAGES = "vedette.cpu.throttles{vedette.cpu.throttle.scope=package}"


def put(here: Any, cpu: int, khz: int) -> None:
    here.write(f"{FOLDER}/cpu{cpu}/cpufreq/scaling_cur_freq", b"%d\n" % khz)


def heat(here: Any, cpu: int, core: int, events: int, package_events: int) -> None:
    folder = f"{FOLDER}/cpu{cpu}"
    here.write(f"{folder}/topology/physical_package_id", b"0\n")
    here.write(f"{folder}/topology/core_id", b"%d\n" % core)
    here.write(f"{folder}/thermal_throttle/core_throttle_count", b"%d\n" % events)
    here.write(f"{folder}/thermal_throttle/package_throttle_count", b"%d\n" % package_events)


def remove(here: Any, cpu: int) -> None:
    for path in sorted((here.folder / FOLDER / f"cpu{cpu}").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [CpuFrequency]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(CpuFrequency, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(CpuFrequency)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    names = [f"{FOLDER}/online"]
    for cpu in range(4):
        names.append(f"{FOLDER}/cpu{cpu}/cpufreq/scaling_cur_freq")
        names.append(f"{FOLDER}/cpu{cpu}/thermal_throttle/core_throttle_count")
        names.append(f"{FOLDER}/cpu{cpu}/topology/core_id")
    assert_survives(data, CpuFrequency, "threads", names)


def test_of_many_cores_a_part_is_read_and_all_of_them_in_turn(stage: Callable[..., Any]) -> None:
    here = stage(CpuFrequency)
    cores = 3 * SAMPLED
    for cpu in range(cores):
        put(here, cpu, 1000 * (cpu + 1))
    means = [here.values()[MEAN] for _ in range(3)]
    assert len(set(means)) == 3
    assert sum(means) / 3 == pytest.approx(1e6 * (cores + 1) / 2)


def test_with_per_core_all_of_many_are_read(stage: Callable[..., Any]) -> None:
    here = stage(CpuFrequency, per_core=True)
    for cpu in range(3 * SAMPLED):
        put(here, cpu, 2000)
    assert len(here.values()) == 3 * SAMPLED + 3


def test_threads_of_one_core_count_its_events_once(stage: Callable[..., Any]) -> None:
    here = stage(CpuFrequency)
    for cpu, core in ((0, 0), (1, 1), (2, 0), (3, 1)):
        heat(here, cpu, core, 5, 7)
    assert here.values() == {CORES: 10, PACKAGES: 7}


def test_a_core_that_goes_and_comes_back_brings_no_events_along(
    stage: Callable[..., Any],
) -> None:
    here = stage(CpuFrequency)
    here.write(f"{FOLDER}/online", b"0-1\n")
    heat(here, 0, 0, 100, 7)
    heat(here, 1, 1, 50, 7)
    assert here.values()[CORES] == 150
    remove(here, 1)
    here.write(f"{FOLDER}/online", b"0\n")
    assert here.values()[CORES] == 150
    heat(here, 1, 1, 52, 7)
    here.write(f"{FOLDER}/online", b"0-1\n")
    assert here.values()[CORES] == 152


def test_a_core_that_appears_later_brings_no_events_along(stage: Callable[..., Any]) -> None:
    here = stage(CpuFrequency)
    here.write(f"{FOLDER}/online", b"0\n")
    heat(here, 0, 0, 1, 1)
    here.values()
    heat(here, 1, 1, 9999, 1)
    here.write(f"{FOLDER}/online", b"0-1\n")
    assert here.values()[CORES] == 1


def test_a_count_that_cannot_be_read_once_is_caught_up_with(stage: Callable[..., Any]) -> None:
    here = stage(CpuFrequency)
    heat(here, 0, 0, 10, 1)
    heat(here, 1, 1, 20, 1)
    seen = [here.values()[CORES]]
    for text in (b"", b"23\n"):
        here.write(f"{FOLDER}/cpu1/thermal_throttle/core_throttle_count", text)
        seen.append(here.values()[CORES])
    assert seen == [30, 30, 33]


def test_the_cpus_are_listed_again_only_when_others_are_online_or_after_long(
    stage: Callable[..., Any],
) -> None:
    here = stage(CpuFrequency, per_core=True)
    here.write(f"{FOLDER}/online", b"0\n")
    put(here, 0, 1000)
    assert len(here.values()) == 4
    put(here, 1, 1000)
    assert len(here.values()) == 4
    here.write(f"{FOLDER}/online", b"0-1\n")
    assert len(here.values()) == 5
    put(here, 2, 1000)
    for _ in range(LIST_EVERY):
        read = here.values()
    assert len(read) == 6


def test_a_virtual_machine_has_neither_and_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(CpuFrequency)
    with pytest.raises(Unavailable, match="cannot list"):
        here.collector.probe()
    here.write(f"{FOLDER}/cpu0/topology/core_id", b"0\n")
    with pytest.raises(Unavailable, match="neither frequencies nor throttle counts"):
        here.collector.probe()


def test_this_host_is_clocked_within_what_its_cores_can(
    read_here: Callable[..., dict[str, float]],
) -> None:
    folder = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    if not (folder / "scaling_cur_freq").exists():
        pytest.skip("this host does not tell its frequency")
    read = read_here(CpuFrequency)
    assert read["vedette.cpu.frequency.min"] <= read[MEAN] <= read["vedette.cpu.frequency.max"]
    highest = int((folder / "cpuinfo_max_freq").read_text()) * 1000
    assert read["vedette.cpu.frequency.max"] <= highest * 1.5
