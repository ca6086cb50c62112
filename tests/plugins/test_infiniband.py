"""Collector infiniband: words become bytes, and ports never used are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.infiniband import Infiniband, octets_per_second, register_collectors

PORT = "sys/class/infiniband/mlx5_0/ports/1"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Infiniband]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Infiniband, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Infiniband)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        Infiniband,
        "line-lost",
        [f"{PORT}/{name}" for name in ("state", "rate", "counters/symbol_error")],
    )


PLACE = "system.device=mlx5_0,vedette.infiniband.port=1"


def test_data_is_counted_in_words_of_four_bytes(stage: Callable[..., Any]) -> None:
    here = stage(Infiniband)
    here.write(f"{PORT}/state", b"4: ACTIVE\n")
    here.write(f"{PORT}/counters/port_rcv_data", b"1000\n")
    read = here.values()
    assert read[f"vedette.infiniband.io{{{PLACE},network.io.direction=receive}}"] == 4000


def test_a_rate_is_told_in_bytes_per_second() -> None:
    assert octets_per_second(b"100 Gb/sec (4X EDR)") == 12.5e9
    assert octets_per_second(b"2.5 Gb/sec (1X SDR)") == 312.5e6


def test_a_rate_that_is_none_is_left_out() -> None:
    for text in (
        b"",
        b"fast",
        b"inf Gb/sec",
        b"nan Gb/sec",
        b"-4 Gb/sec",
        b"4 Mb/s",
        b"1e9 Gb/sec",
    ):
        assert octets_per_second(text) is None


def test_a_port_that_never_was_active_is_left_out_until_it_is(stage: Callable[..., Any]) -> None:
    here = stage(Infiniband)
    seen = []
    for state in (b"1: DOWN", b"2: INIT", b"4: ACTIVE", b"1: DOWN"):
        here.write(f"{PORT}/state", state)
        seen.append(here.values().get(f"vedette.infiniband.up{{{PLACE}}}"))
    assert seen == [None, None, 1, 0]


def test_a_card_that_is_added_is_found_within_some_minutes(stage: Callable[..., Any]) -> None:
    here = stage(Infiniband)
    here.write(f"{PORT}/state", b"4: ACTIVE\n")
    here.read()
    here.write(f"{PORT.replace('mlx5_0', 'mlx5_1')}/state", b"4: ACTIVE\n")
    seen = [len({one.series.values[0] for one in here.read()}) for _ in range(31)]
    assert (seen[0], seen[-1]) == (1, 2)


def test_no_more_ports_than_thirty_two_are_read(stage: Callable[..., Any]) -> None:
    here = stage(Infiniband)
    for number in range(40):
        here.write(f"{PORT.replace('mlx5_0', f'mlx5_{number}')}/state", b"4: ACTIVE\n")
    assert len({one.series.values[0] for one in here.read()}) == 32


def test_a_host_without_a_card_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Infiniband)
    with pytest.raises(Unavailable, match="no InfiniBand"):
        here.collector.probe()
