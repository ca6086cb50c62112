"""Collector load: three numbers, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.load import Load, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Load]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Load, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Load)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Load, "recorded", ["proc/loadavg"])


def test_no_load_average_can_raise_a_finding() -> None:
    assert {one.alarm for one in Load.instruments()} == {"never"}


def test_a_missing_file_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="loadavg: No such file"):
        stage(Load).collector.probe()


def test_this_host_reads_as_psutil_reads_it(read_here: Callable[..., dict[str, float]]) -> None:
    assert list(read_here(Load).values()) == pytest.approx(psutil.getloadavg(), abs=0.5)
