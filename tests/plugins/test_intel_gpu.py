"""Collector intel_gpu: the load is the time in which a tile was awake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Sample, Unavailable
from vedette_plugins.intel_gpu import IntelGpu, register_collectors

CARD = "sys/class/drm/card0/"
UEVENT = b"DRIVER=i915\nPCI_ID=8086:9A49\nPCI_SLOT_NAME=0000:00:02.0\n"
BUSY = "hw.gpu.utilization{hw.id=0000:00:02.0,hw.name=i915 8086:9a49,hw.gpu.task=general}"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [IntelGpu]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(IntelGpu, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(IntelGpu)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    device = "sys/class/drm/card1/device/"
    files = [
        "uevent",
        "power/runtime_status",
        "tile0/gt0/gtidle/idle_residency_ms",
        "tile0/gt1/gtidle/idle_residency_ms",
        "tile0/gt0/freq0/act_freq",
        "tile0/gt0/freq0/throttle/reason_thermal",
        "hwmon/hwmon4/energy1_input",
        "hwmon/hwmon4/temp2_label",
        "hwmon/hwmon4/temp2_input",
    ]
    assert_survives(data, IntelGpu, "xe", [device + name for name in files])


def asleep(here: Any, *milliseconds: int, after_s: float = 10.0) -> list[float | None]:
    """Read once for each count of sleep; return the load."""
    seen = []
    for count in milliseconds:
        here.write(CARD + "gt/gt0/rc6_residency_ms", b"%d\n" % count)
        seen.append(here.values(after_s).get(BUSY))
    return seen


@pytest.fixture
def here(stage: Callable[..., Any]) -> Any:
    one = stage(IntelGpu)
    one.write(CARD + "device/uevent", UEVENT)
    return one


def test_the_load_is_the_share_of_the_time_awake(here: Any) -> None:
    assert asleep(here, 1000, 11000, 13500, 13500) == [
        None,
        pytest.approx(0.0),
        pytest.approx(0.75),
        pytest.approx(1.0),
    ]


def test_a_late_tick_is_measured_by_the_time_that_passed(here: Any) -> None:
    asleep(here, 1000)
    assert asleep(here, 11000, after_s=20.0) == [pytest.approx(0.5)]


def test_more_sleep_than_time_passed_is_no_load_below_zero(here: Any) -> None:
    assert asleep(here, 1000, 11200) == [None, 0.0]


def test_a_count_of_sleep_that_falls_gives_no_load_for_that_tick(here: Any) -> None:
    assert asleep(here, 4294967000, 500, 5500) == [None, None, pytest.approx(0.5)]


def test_a_gpu_that_may_not_sleep_tells_no_load(here: Any) -> None:
    assert asleep(here, 0, 0, 0) == [None, None, None]


def test_the_busiest_tile_is_the_load_of_the_gpu(stage: Callable[..., Any]) -> None:
    here = stage(IntelGpu)
    here.write(CARD + "device/uevent", UEVENT.replace(b"i915", b"xe"))
    busy = BUSY.replace("i915", "xe")
    for first, second in ((100, 100), (9100, 2100)):
        for tile, count in ((0, first), (1, second)):
            path = f"device/tile{tile}/gt{tile}/gtidle/idle_residency_ms"
            here.write(CARD + path, b"%d\n" % count)
        read = here.values(10.0)
    assert read[busy] == pytest.approx(0.8)


def test_the_load_goes_on_over_a_new_look_at_the_files(here: Any) -> None:
    seen = asleep(here, *range(1000, 121000, 10000))
    assert seen == [None, *[pytest.approx(0.0)] * 11]


def test_only_a_card_of_its_own_raises_an_alarm_when_it_is_hot(here: Any) -> None:
    here.write(CARD + "gt/gt0/throttle_reason_thermal", b"1\n")
    here.write("sys/class/drm/card1/device/uevent", UEVENT.replace(b"00:02", b"4d:00"))
    here.write("sys/class/drm/card1/gt/gt0/throttle_reason_thermal", b"1\n")
    here.write("sys/class/drm/card1/device/hwmon/hwmon3/energy1_input", b"5\n")
    alarms = {
        one.series.values[0]: one.series.instrument.alarm
        for one in here.read()
        if isinstance(one, Sample) and one.series.instrument.name == "vedette.gpu.throttled"
    }
    assert alarms == {"0000:00:02.0": "never", "0000:4d:00.0": "high"}


def test_a_card_that_sleeps_counts_but_is_not_read(here: Any) -> None:
    here.write(CARD + "gt/gt0/rps_act_freq_mhz", b"350\n")
    here.write(CARD + "device/power/runtime_status", b"suspended\n")
    assert here.values() == {"vedette.gpu.count{hw.vendor=Intel}": 1}
    here.write(CARD + "device/power/runtime_status", b"active\n")
    assert len(here.values()) == 2


def test_a_host_without_such_a_gpu_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(IntelGpu)
    with pytest.raises(Unavailable, match="i915 or xe"):
        here.collector.probe()
    here.write(CARD + "device/uevent", UEVENT.replace(b"i915", b"ast"))
    with pytest.raises(Unavailable, match="i915 or xe"):
        here.read()
