"""Collector amd_gpu: which cards count, which sleep, and what an APU's own memory means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Sample, Unavailable
from vedette_plugins.amd_gpu import (
    AmdGpu,
    chosen_level,
    error_counts,
    pcie_generation,
    register_collectors,
)

DEVICE = "sys/class/drm/card0/device/"
UEVENT = b"DRIVER=amdgpu\nPCI_ID=1002:73DF\nPCI_SLOT_NAME=0000:03:00.0\n"
OWN = "hw.id=0000:03:00.0,hw.name=amdgpu 1002:73df"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [AmdGpu]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(AmdGpu, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(AmdGpu)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    files = [
        "uevent",
        "gpu_busy_percent",
        "mem_info_vram_total",
        "mem_info_vram_used",
        "product_name",
        "pp_dpm_mclk",
        "current_link_speed",
        "ras/umc_err_count",
        "hwmon/hwmon5/temp2_label",
        "hwmon/hwmon5/temp2_input",
        "hwmon/hwmon5/temp2_crit",
        "hwmon/hwmon5/power1_average",
    ]
    assert_survives(data, AmdGpu, "constructed", [DEVICE + name for name in files])


def test_a_card_that_sleeps_counts_but_is_not_read(stage: Callable[..., Any]) -> None:
    here = stage(AmdGpu)
    here.write(DEVICE + "uevent", UEVENT)
    here.write(DEVICE + "gpu_busy_percent", b"50\n")
    here.write(DEVICE + "power/runtime_status", b"suspended\n")
    asleep = here.values()
    assert asleep == {"vedette.gpu.count{hw.vendor=AMD}": 1}
    here.write(DEVICE + "power/runtime_status", b"active\n")
    assert here.values()[f"hw.gpu.utilization{{{OWN},hw.gpu.task=general}}"] == 0.5
    here.write(DEVICE + "power/runtime_status", b"suspending\n")
    assert here.values() == asleep


def test_the_full_memory_of_an_apu_raises_no_alarm(stage: Callable[..., Any]) -> None:
    alarms = {}
    for octets in (512 << 20, 8 << 30):
        here = stage(AmdGpu)
        here.write(DEVICE + "uevent", UEVENT)
        here.write(DEVICE + "mem_info_vram_total", b"%d\n" % octets)
        here.write(DEVICE + "mem_info_vram_used", b"%d\n" % octets)
        instruments = [
            one.series.instrument
            for one in here.read()
            if isinstance(one, Sample) and one.value == 1
        ]
        alarms[octets] = [
            one.alarm for one in instruments if one.name == "hw.gpu.memory.utilization"
        ]
    assert alarms == {512 << 20: ["never"], 8 << 30: ["high"]}


def test_a_card_plugged_in_later_is_found_within_a_minute(stage: Callable[..., Any]) -> None:
    here = stage(AmdGpu)
    here.write(DEVICE + "uevent", UEVENT)
    here.read()
    other = UEVENT.replace(b"0000:03", b"0000:04")
    here.write("sys/class/drm/card1/device/uevent", other)
    counts = [here.values()["vedette.gpu.count{hw.vendor=AMD}"] for _ in range(6)]
    assert counts == [1] * 5 + [2]


def test_a_card_that_is_pulled_out_ends_its_series_and_not_the_others(
    stage: Callable[..., Any],
) -> None:
    here = stage(AmdGpu)
    for number in (0, 1):
        folder = f"sys/class/drm/card{number}/device/"
        here.write(folder + "uevent", UEVENT.replace(b"0000:03", b"0000:0%d" % number))
        here.write(folder + "gpu_busy_percent", b"7\n")
    assert len(here.values()) == 3
    for name in ("uevent", "gpu_busy_percent"):
        (here.folder / "sys/class/drm/card1/device" / name).unlink()
    for _ in range(6):
        read = here.values()
    assert read == {
        "vedette.gpu.count{hw.vendor=AMD}": 1,
        "hw.gpu.utilization{hw.id=0000:00:00.0,hw.name=amdgpu 1002:73df,hw.gpu.task=general}": 0.07,
    }


def test_a_host_without_such_a_card_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(AmdGpu)
    for _ in range(2):
        with pytest.raises(Unavailable, match="amdgpu"):
            here.collector.probe()
        here.write(DEVICE + "uevent", b"DRIVER=nouveau\nPCI_SLOT_NAME=0000:65:00.0\n")
    with pytest.raises(Unavailable, match="amdgpu"):
        here.read()


def test_an_excluded_card_is_not_read(stage: Callable[..., Any]) -> None:
    here = stage(AmdGpu, exclude=("0000:03:*",))
    here.write(DEVICE + "uevent", UEVENT)
    with pytest.raises(Unavailable):
        here.collector.probe()


@pytest.mark.parametrize(
    ("raw", "level"),
    [
        (b"0: 852Mhz *\n1: 991Mhz \n", 852),
        (b"0: 852Mhz \n1: 991Mhz *\n", 991),
        (b"0: 500Mhz\nS: 19Mhz *\n", 19),
        (b"0: 852Mhz \n", None),
        (b"0: Mhz *\n", None),
        (b"0: -5Mhz *\n", None),
        (b"", None),
    ],
)
def test_the_level_with_the_star_is_the_clock(raw: bytes, level: int | None) -> None:
    assert chosen_level(raw) == level


@pytest.mark.parametrize(
    ("raw", "generation"),
    [(b"2.5 GT/s PCIe\n", 1), (b"5 GT/s\n", 2), (b"32.0 GT/s PCIe\n", 5), (b"Unknown\n", None)],
)
def test_the_speed_of_a_lane_tells_the_generation(raw: bytes, generation: int | None) -> None:
    assert pcie_generation(raw) == generation


@pytest.mark.parametrize(
    ("raw", "counts"),
    [(b"ue: 1\nce: 20\n", (1, 20)), (b"ue: 0\nce: 3\nde: 4\n", (0, 3)), (b"ce: 3\n", None)],
)
def test_uncorrected_errors_come_before_corrected_ones(
    raw: bytes, counts: tuple[int, int] | None
) -> None:
    assert error_counts(raw) == counts
