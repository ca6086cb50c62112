"""Collector memory_errors: controllers and modules, and how many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.memory_errors import MemoryErrors, register_collectors

MC = "sys/devices/system/edac/mc"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [MemoryErrors]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(MemoryErrors, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(MemoryErrors)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        MemoryErrors,
        "server",
        [f"{MC}/mc0/ce_count", f"{MC}/mc0/dimm3/dimm_ce_count", f"{MC}/mc0/dimm3/dimm_label"],
    )


def test_a_host_without_such_controllers_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="no memory controller"):
        stage(MemoryErrors).collector.probe()


def test_only_the_count_of_a_controller_can_raise_a_finding(stage: Callable[..., Any]) -> None:
    here = stage(MemoryErrors)
    here.write(f"{MC}/mc0/ce_count", b"7\n")
    here.write(f"{MC}/mc0/ce_noinfo_count", b"4\n")
    here.write(f"{MC}/mc0/dimm1/dimm_ce_count", b"3\n")
    here.write(f"{MC}/mc0/dimm1/dimm_label", b"A1\n")
    read = {s.series.key: (s.value, s.series.instrument.alarm) for s in here.read()}
    module = "vedette.memory.module.errors{hw.id=mc0"
    assert read == {
        "hw.errors{hw.type=memory,hw.id=mc0,error.type=corrected}": (7, "high"),
        f"{module}/unknown,hw.name=unknown,error.type=corrected}}": (4, "never"),
        f"{module}/dimm1,hw.name=A1,error.type=corrected}}": (3, "never"),
    }


def test_a_module_put_in_later_is_found(stage: Callable[..., Any]) -> None:
    here = stage(MemoryErrors)
    here.write(f"{MC}/mc0/ce_count", b"0\n")
    assert len(here.values()) == 1
    here.write(f"{MC}/mc0/dimm9/dimm_ue_count", b"1\n")
    assert len(here.values()) == 2


def test_modules_are_counted_over_all_controllers(stage: Callable[..., Any]) -> None:
    here = stage(MemoryErrors, max_modules=3)
    for controller in range(2):
        for module in range(2):
            here.write(f"{MC}/mc{controller}/dimm{module}/dimm_ce_count", b"1\n")
    assert len(here.values()) == 3


def test_this_hosts_controllers_read_as_their_files_say(
    read_here: Callable[..., dict[str, float]],
) -> None:
    try:
        mine = read_here(MemoryErrors)
    except Unavailable as reason:
        pytest.skip(str(reason))
    for path in Path("/sys/devices/system/edac/mc").glob("mc*/ce_count"):
        key = f"hw.errors{{hw.type=memory,hw.id={path.parent.name},error.type=corrected}}"
        assert mine[key] <= int(path.read_text())
