"""Collector wireless: what is a power and what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.wireless import Wireless, cards, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Wireless]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Wireless, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Wireless)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Wireless, "cards", ["proc/self/net/wireless"])


ROW = b" wlan0: 0000 %b 0 0 0 0 0 0\n"
SIGNAL = "vedette.network.wireless.signal{network.interface.name=wlan0}"
NOISE = "vedette.network.wireless.noise{network.interface.name=wlan0}"


def test_a_level_is_a_power_only_when_it_is_below_zero(stage: Callable[..., Any]) -> None:
    here = stage(Wireless)
    seen = []
    for level in (b"-56.", b"-56", b"200.", b"0", b"-256"):
        here.write("proc/self/net/wireless", ROW % (b"54. " + level + b" -95."))
        read = here.values()
        seen.append((read.get(SIGNAL), read.get(NOISE)))
    assert seen == [(-56, -95), (-56, -95), (None, -95), (None, -95), (None, -95)]


def test_a_driver_that_does_not_know_the_noise_gives_none(stage: Callable[..., Any]) -> None:
    here = stage(Wireless)
    here.write("proc/self/net/wireless", ROW % b"54. -56. -256")
    read = here.values()
    assert NOISE not in read
    assert read[SIGNAL] == -56


def test_no_more_cards_than_sixteen_are_read() -> None:
    rows = b"".join(b"wlan%d: 0 1 -1 -1 0 0 0 0 0 0\n" % number for number in range(40))
    assert len(cards(rows)) == 16


def test_a_host_without_a_card_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Wireless)
    with pytest.raises(Unavailable, match="no wireless interface"):
        here.collector.probe()
    here.write("proc/self/net/wireless", b"Inter-| sta-|\n face | tus | 22\n")
    with pytest.raises(Unavailable, match="no wireless interface"):
        here.collector.probe()
