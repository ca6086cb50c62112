"""Collector clock: what adjtimex says, and clocks that are set."""

from __future__ import annotations

import struct
import time

import pytest

from vedette.api import Unavailable
from vedette.testing import check_collector, readings
from vedette_plugins.clock import (
    LAYOUT,
    SIZE,
    STA_NANO,
    STA_UNSYNC,
    Clock,
    Timex,
    ask_kernel,
    parse_timex,
    read_clocks,
    register_collectors,
)


def raw(offset: int, frequency: int, status: int) -> bytes:
    fields = [0, offset, frequency, 5000, 250, status, *[0] * 14, 37]
    return struct.pack(LAYOUT, *fields).ljust(SIZE, b"\0")


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Clock]


def test_it_keeps_the_contract_on_this_host() -> None:
    if ask_kernel() is None:
        pytest.skip("this kernel does not answer adjtimex")
    check_collector(Clock)


def test_microseconds_and_nanoseconds_are_told_apart() -> None:
    assert parse_timex(raw(1500, 0, 0)).offset == pytest.approx(1500e-6)
    assert parse_timex(raw(-1500, 0, STA_NANO)).offset == pytest.approx(-1500e-9)


def test_all_fields_are_in_seconds_or_shares() -> None:
    assert parse_timex(raw(0, 65536 * 100, STA_UNSYNC)) == Timex(
        offset=0.0,
        frequency=pytest.approx(100e-6),
        max_error=pytest.approx(5e-3),
        estimated_error=pytest.approx(250e-6),
        tai=37,
        is_synchronized=False,
    )


def test_the_layout_is_the_kernels() -> None:
    if ask_kernel() is None:
        pytest.skip("this kernel does not answer adjtimex")
    import ctypes

    buffer = ctypes.create_string_buffer(SIZE)
    ctypes.CDLL(None).adjtimex(buffer)
    fields = struct.unpack_from(LAYOUT, buffer.raw)
    assert fields[9] == pytest.approx(time.time(), abs=5)  # time.tv_sec
    assert 9000 <= fields[11] <= 11000  # tick: microseconds per tick of 100 Hz


def collector(told: Timex | None = None) -> Clock:
    made = Clock(Clock.Config())
    made.ask = lambda: told
    return made


def test_a_kernel_without_adjtimex_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="adjtimex"):
        collector().probe()


def test_a_clock_that_is_set_is_a_step_and_one_that_is_slewed_is_none() -> None:
    clock = collector()
    seen = []
    for wall in (100.0, 110.0, 120.05, 1000.0, 1010.0, 500.0):
        clock.clocks = lambda wall=wall: (wall, len(seen) * 10.0)  # type: ignore[misc]
        seen.append(readings(clock.collect())["vedette.clock.steps"])
    assert seen == [0, 0, 0, 1, 1, 2]


def test_a_suspended_host_has_not_stepped() -> None:
    clock = collector()
    for wall, boot in ((100.0, 10.0), (4100.0, 4010.0)):
        clock.clocks = lambda both=(wall, boot): both  # type: ignore[misc]
        assert readings(clock.collect())["vedette.clock.steps"] == 0


def test_synchronisation_is_a_state() -> None:
    for state in (True, False):
        told = Timex(-0.5, -1e-6, 0.1, 0.01, 0, state)
        read = readings(collector(told).collect())
        assert read["vedette.clock.synchronized"] == float(state)
        assert read["vedette.clock.offset"] == -0.5


def test_both_clocks_go_at_the_same_pace() -> None:
    one, other = read_clocks(), read_clocks()
    assert other[0] - one[0] == pytest.approx(other[1] - one[1], abs=0.05)
