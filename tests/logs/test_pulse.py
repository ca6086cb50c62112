"""A busy source that stops is told within seconds, one that pauses is not (logs/pulse.py)."""

from __future__ import annotations

import numpy as np
import pytest

from vedette.logs.entry import Severity
from vedette.logs.pulse import LEAST_S, Pulse
from vedette.logs.signals import NO_TEMPLATE, Fresh, LogSignal
from vedette.logs.watch import Watch

S = 1_000_000_000
HOUR = 3600


def fed(seconds: list[int]) -> tuple[Pulse, list[float]]:
    """Return a pulse that was asked each second, and when it said that the source is silent."""
    pulse, silent, lines = Pulse(), [], set(seconds)
    for now in range(seconds[-1] + 1):
        if now in lines:
            pulse.beat(float(now))
        elif pulse.overdue(float(now)) is not None:
            silent.append(float(now))
    return pulse, silent


def delay(pulse: Pulse, most: int = 4 * HOUR) -> float | None:
    """Return after how many seconds without a line the source is silent."""
    last = pulse.last_s
    found = (now for now in range(1, most) if pulse.overdue(last + now) is not None)
    return next(found, None)


def test_a_source_with_lines_each_second_is_missed_within_fifteen_seconds() -> None:
    pulse, silent = fed(list(range(3 * HOUR)))
    assert silent == []
    assert LEAST_S <= (delay(pulse) or 999) <= 15


def test_nothing_is_missed_before_an_hour_has_passed() -> None:
    pulse, _ = fed(list(range(HOUR - 60)))
    assert delay(pulse) is None


def test_each_silence_is_told_once_and_what_was_longest_moves_half_of_the_way() -> None:
    pulse, _ = fed(list(range(3 * HOUR)))
    first = delay(pulse)
    assert first is not None
    assert delay(pulse) is None
    assert pulse.beat(pulse.last_s + 100)
    assert pulse.longest == pytest.approx(10, rel=0.02)  # of 1 and 100, in logarithms
    assert not pulse.beat(pulse.last_s + 1)
    assert (delay(pulse) or 0) > 2 * first


@pytest.mark.parametrize("period", [10, 60, 90])
def test_a_job_by_the_clock_is_waited_for_several_times_as_long(period: int) -> None:
    pulse, silent = fed(list(range(0, 700 * period, period)))
    assert silent == []
    assert 5 * period <= (delay(pulse, 20 * period) or 0) <= 12 * period


def test_bunches_and_lines_at_random_with_long_gaps_are_not_awaited() -> None:
    rng = np.random.default_rng(3)
    for seconds in (
        np.flatnonzero(rng.random(12 * HOUR) < 0.1),
        np.flatnonzero(np.arange(12 * HOUR) % 1800 < 300),
    ):
        pulse, silent = fed(seconds.tolist())
        assert silent == []
        assert delay(pulse) is None


def test_a_night_without_lines_rings_once_and_the_next_ones_do_not() -> None:
    day = [at for at in range(3 * 24 * HOUR) if at // HOUR % 24 < 16]
    _, silent = fed(day)
    assert [int(one) // (24 * HOUR) for one in silent] == [0]


class Busy:
    """A source with ten templates, all of which have lines each second."""

    def __init__(self) -> None:
        self.watch, self.at = Watch("app"), 0

    def run(self, seconds: int, *, lines: bool, calm: bool = False) -> list[LogSignal]:
        found: list[LogSignal] = []
        for _ in range(seconds):
            self.at += 1
            counts = dict.fromkeys(range(10), 3) if lines else {}
            fresh = [Fresh(one, f"t{one}", Severity.INFO) for one in counts if self.at == 1]
            until = (self.at + 1) * S if calm else 0
            found += self.watch.observe(self.at * S, counts, fresh, calm_until_ns=until)
        return found


@pytest.fixture(scope="module")
def busy() -> Busy:
    one = Busy()
    one.run(2 * HOUR, lines=True)
    return one


def test_the_watch_tells_one_silence_for_the_source_and_all_its_templates(busy: Busy) -> None:
    watch = Watch("app")
    assert watch.restore(busy.watch.save())
    again = Busy()
    again.watch, again.at = watch, busy.at
    (signal,) = again.run(600, lines=False)
    assert (signal.kind, signal.template_id) == ("silence", NO_TEMPLATE)
    assert signal.since_ns - busy.at * S <= 16 * S
    assert "no line at all for 1" in signal.text
    (active,) = again.watch.active()
    assert active.count > signal.count  # the silent templates are part of it
    again.run(1, lines=True)
    assert again.watch.active() == []


def test_in_a_calm_no_silence_is_told(busy: Busy) -> None:
    watch = Watch("app")
    assert watch.restore(busy.watch.save())
    again = Busy()
    again.watch, again.at = watch, busy.at
    assert again.run(40, lines=False, calm=True) == []
    assert [one.kind for one in again.run(1, lines=False)] == ["silence"]
