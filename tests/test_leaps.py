"""What had settled and becomes much larger leaps; what grows all the time does not."""

from __future__ import annotations

import math

import pytest

from vedette.api import Finding, gauge
from vedette.leaps import LEAP, SETTLED_NS, Reach, distance

S = 1_000_000_000
FILES = gauge("vedette.kernel.file_handles.usage", "{file}", "Files.")
BUSY = gauge("vedette.cpu.busy", "1", "Busy.", limit=1.0)


def finding(
    second: int, observed: float, low: float = 0.0, high: float = 100.0, *, busy: bool = False
) -> Finding:
    return Finding(
        series=(BUSY if busy else FILES).series(),
        detector="robust",
        since_ns=0,
        last_ns=second * S,
        severity="info",
        p=0.0,
        observed=observed,
        low=low,
        high=high,
        text="",
    )


def leaps(readings: dict[int, float], **more: float) -> list[int]:
    """Return the seconds in which a series leaps."""
    first, *rest = readings.items()
    reach = Reach(finding(*first, **more))
    return [at for at, value in rest if reach.follow(finding(at, value, **more))]


def test_a_step_after_it_had_settled_is_a_leap() -> None:
    settled = SETTLED_NS // S
    assert leaps({0: 200, settled: 200, settled + 1: 100 + LEAP * 100}) == [settled + 1]
    assert leaps({0: 200, settled: 200, settled + 1: 99 + LEAP * 100}) == []
    assert leaps({0: 200, settled - 1: 1e6}) == []


def test_a_ramp_after_it_had_settled_is_a_leap_when_it_is_far_enough() -> None:
    ramp = {60 + at: 200.0 + 50 * at for at in range(60)}
    first, *_ = leaps({0: 200, 30: 210, **ramp})
    assert first == 60 + 4


@pytest.mark.parametrize("factor", [1.001, 1.01, 1.1, 2.0])
def test_what_grows_all_the_time_never_leaps(factor: float) -> None:
    assert leaps({at: 100 + factor**at for at in range(700)}) == []


def test_what_is_narrow_against_its_band_or_its_limit_is_no_leap() -> None:
    assert leaps({0: 101, 30: 101, 31: 350}) == []
    assert leaps({0: 101, 30: 101, 31: 400}) == [31]
    reach = Reach(finding(0, 0.03, high=0.02, busy=True))
    assert not reach.follow(finding(60, 0.11, high=0.02, busy=True))
    assert reach.follow(finding(61, 0.2, high=0.02, busy=True))


def test_a_fall_below_the_band_leaps_as_well_and_without_a_band_nothing_does() -> None:
    assert leaps({0: 90, 60: 10}, low=100, high=110) == [60]
    assert leaps({0: 90, 60: 1e9}, low=math.nan, high=math.nan) == []
    assert distance(finding(0, 5.0, low=math.nan, high=math.nan)) == 0.0
    assert distance(finding(0, 5.0, low=math.nan, high=3.0)) == 2.0
