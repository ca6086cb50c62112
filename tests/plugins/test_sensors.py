"""Collector sensors: chips, zones, RAPL and power supplies from trees of /sys/class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.sensors import LOOK_EVERY, Sensors, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Sensors]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Sensors, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Sensors)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    names = [f"sys/class/hwmon/hwmon0/{name}" for name in ("name", "temp1_input", "temp1_crit")]
    names += ["sys/class/powercap/intel-rapl:0/energy_uj", "sys/class/power_supply/BAT0/capacity"]
    assert_survives(data, Sensors, "server", names)


def chip(here: Any, **files: str) -> None:
    for name, text in files.items():
        here.write(f"sys/class/hwmon/hwmon0/{name}", text.encode() + b"\n")


HEAT = "vedette.hw.temperature.utilization{hw.id=coretemp/hwmon0/temp1,hw.name=Package id 0}"
DEGREES = "hw.temperature{hw.id=coretemp/hwmon0/temp1,hw.name=Package id 0}"


def test_a_temperature_is_judged_by_the_chips_own_critical_limit(stage: Callable[..., Any]) -> None:
    here = stage(Sensors)
    chip(
        here, name="coretemp", temp1_input="55000", temp1_crit="110000", temp1_label="Package id 0"
    )
    assert here.values() == {DEGREES: 55.0, HEAT: 0.5}


def test_a_chip_without_a_sane_limit_has_no_share(stage: Callable[..., Any]) -> None:
    here = stage(Sensors)
    chip(here, name="coretemp", temp1_input="55000", temp1_crit="0", temp1_label="Package id 0")
    assert here.values() == {DEGREES: 55.0}


def test_a_sensor_that_shows_nonsense_has_no_reading(stage: Callable[..., Any]) -> None:
    here = stage(Sensors)
    chip(here, name="nct", temp1_input="-128000000", temp2_input="31000")
    assert here.values() == {"hw.temperature{hw.id=nct/hwmon0/temp2,hw.name=temp2}": 31.0}


def test_frost_is_a_temperature(stage: Callable[..., Any]) -> None:
    here = stage(Sensors)
    chip(here, name="jc42", temp1_input="-5500")
    values = {one.series.key: one.value for one in here.collector.collect()}
    assert values == {"hw.temperature{hw.id=jc42/hwmon0/temp1,hw.name=temp1}": -5.5}


def test_humidity_is_a_share(stage: Callable[..., Any]) -> None:
    here = stage(Sensors)
    # What an SHT40 of a real board said, and one that is broken.
    chip(here, name="sht4x", humidity1_input="53968", humidity2_input="125000")
    key = "vedette.hw.humidity{hw.id=sht4x/hwmon0/humidity1,hw.name=humidity1}"
    assert here.values() == {key: pytest.approx(0.53968)}


def test_alarms_of_a_chip_are_counted(stage: Callable[..., Any]) -> None:
    here = stage(Sensors)
    chip(here, name="nct", fan1_input="0", fan1_alarm="1", temp1_crit_alarm="0", in0_alarm="1")
    assert here.values()["vedette.hw.alarms{hw.id=nct/hwmon0}"] == 2


def test_a_sensor_that_came_later_is_found_at_the_next_look(stage: Callable[..., Any]) -> None:
    here = stage(Sensors)
    chip(here, name="coretemp", temp1_input="40000")
    here.read()
    chip(here, temp2_input="41000")
    sizes = [len(here.read()) for _ in range(LOOK_EVERY)]
    assert (sizes[0], sizes[-1]) == (1, 2)


def test_sensors_are_capped_and_chosen_by_globs(stage: Callable[..., Any]) -> None:
    files = {f"temp{n}_input": "40000" for n in range(1, 30)}
    here = stage(Sensors, max_sensors=5)
    chip(here, name="a", **files)
    assert len(here.read()) == 5
    here = stage(Sensors, exclude=("*/temp1*",))
    chip(here, name="a", **files)
    assert len(here.read()) == 29 - 11


def test_a_host_without_sensors_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="no sensor"):
        stage(Sensors).collector.probe()


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    theirs = [one.current for chip in psutil.sensors_temperatures().values() for one in chip]
    if not theirs:
        pytest.skip("this host has no sensors")
    mine = [v for key, v in read_here(Sensors).items() if key.startswith("hw.temperature{")]
    assert sorted(mine) == pytest.approx(sorted(theirs), abs=5)


def test_a_gpu_is_left_to_its_own_collector_and_not_woken(stage: Callable[..., Any]) -> None:
    here = stage(Sensors)
    chip(here, name="amdgpu", temp1_input="40000", temp1_crit="90000", temp1_crit_alarm="1")
    assert here.read() == []
