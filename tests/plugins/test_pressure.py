"""Collector pressure: totals that become shares, and a kernel that does not measure."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.pressure import Pressure, register_collectors

LINE = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=%d\n"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Pressure]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Pressure, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Pressure)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    names = [f"proc/pressure/{one}" for one in ("cpu", "memory", "io", "irq")]
    assert_survives(data, Pressure, "averages", names)


def test_a_person_is_bothered_when_all_stood_still_or_cpu_was_short(
    stage: Callable[..., Any],
) -> None:
    here = stage(Pressure)
    both = LINE % 1 + LINE.replace(b"some", b"full") % 1
    for resource in ("cpu", "memory", "io", "irq"):
        here.write(f"proc/pressure/{resource}", both)
    alarming = {
        (*one.series.values, one.series.instrument.resource)
        for one in here.read()
        if one.series.instrument.alarm != "never"
    }
    assert alarming == {
        ("cpu", "some", "cpu"),
        ("memory", "full", "memory"),
        ("io", "full", "disk"),
    }


def test_all_tasks_of_the_host_waiting_for_cpu_is_nothing_the_kernel_knows(
    stage: Callable[..., Any],
) -> None:
    here = stage(Pressure)
    here.write("proc/pressure/cpu", LINE % 5 + LINE.replace(b"some", b"full") % 0)
    key = "vedette.pressure.time{vedette.pressure.resource=cpu,vedette.pressure.kind=some}"
    assert here.values() == {key: pytest.approx(5e-6)}


def test_a_file_that_older_kernels_lack_is_looked_for_once(stage: Callable[..., Any]) -> None:
    here = stage(Pressure)
    here.write("proc/pressure/cpu", LINE % 1)
    assert len(here.values()) == 1
    here.write("proc/pressure/irq", LINE.replace(b"some", b"full") % 1)
    assert len(here.values()) == 1
    here.collector.probe()
    assert len(here.values()) == 2


def test_a_kernel_without_pressure_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Pressure)
    for _ in range(2):
        with pytest.raises(Unavailable, match="No such file"):
            here.collector.probe()


def test_a_kernel_told_not_to_measure_is_unavailable(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = stage(Pressure)
    here.write("proc/pressure/cpu", LINE % 1)

    def refuse(*_: object) -> bytes:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("vedette_plugins._procfs.os.pread", refuse)
    with pytest.raises(Unavailable, match="psi=1"):
        here.collector.probe()


def test_files_without_totals_are_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Pressure)
    here.write("proc/pressure/cpu", b"nothing\n")
    with pytest.raises(Unavailable, match="no totals"):
        here.collector.probe()


def test_this_host_reads_as_its_files_say(read_here: Callable[..., dict[str, float]]) -> None:
    folder = Path("/proc/pressure")
    if not folder.is_dir():
        pytest.skip("this kernel does not measure pressure")
    before = {one.name: one.read_text().splitlines() for one in folder.iterdir()}
    mine = read_here(Pressure)
    after = {one.name: one.read_text().splitlines() for one in folder.iterdir()}
    for key, value in mine.items():
        resource, kind = (part.split("=")[1].rstrip("}") for part in key.split(","))
        low, high = (
            next(int(line.split("total=")[1]) for line in lines[resource] if line.startswith(kind))
            for lines in (before, after)
        )
        assert low / 1e6 <= value <= high / 1e6
    assert len(mine) >= 5
