"""Collector ``clock``: whether this host's clock is right, as the kernel itself knows it.

adjtimex(2) is asked, not the daemon: chrony, systemd-timesyncd and ntpd all steer the clock through
it, so the kernel's answer holds whichever runs. A host without any of them says "not synchronized"
for ever, which is a state, not a finding. Steps are found by comparing the wall clock with the
monotonic one, which is never set.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, gauge, hookimpl

#: Of the kernel's include/uapi/linux/timex.h.
STA_UNSYNC, STA_NANO = 0x0040, 0x2000
#: Fields of struct timex up to ``tai`` where a long has 64 bits; padding is ``x``.
LAYOUT = "I4xqqqqi4xqqqqqqqqi4xqqqqqi"
SIZE = 208
_TIMEX = struct.Struct(LAYOUT)
#: Frequencies come in millionths, with 16 bits behind the point.
FREQUENCY = 1e-6 / 65536
#: A wall clock that moved this much against the monotonic one was set; slewing is slower.
STEP_S = 0.1


class Timex(msgspec.Struct, frozen=True):
    """What adjtimex(2) answers: seconds, except ``frequency``, the share the clock is sped up."""

    offset: float
    frequency: float
    max_error: float
    estimated_error: float
    tai: int
    is_synchronized: bool


class Clock(Collector):
    """Offset, error bounds and synchronisation of the system clock; steps."""

    name = "clock"
    interval_s = 10.0
    may_block = False
    source = "adjtimex(2)"

    synchronized = gauge(
        "vedette.clock.synchronized",
        "1",
        "1 while the kernel takes the clock for synchronized, 0 otherwise.",
        resource="clock",
        alarm="low",
    )
    offset = gauge(
        "vedette.clock.offset",
        "s",
        "What is left to correct of the clock's offset; negative when the clock is ahead.",
        resource="clock",
        alarm="never",
    )
    frequency = gauge(
        "vedette.clock.frequency_adjustment",
        "1",
        "Share by which the clock is sped up, or slowed down when negative.",
        resource="clock",
        alarm="never",
    )
    estimated_error = gauge(
        "vedette.clock.error.estimated",
        "s",
        "Error of the clock as the time daemon estimates it.",
        resource="clock",
        alarm="never",
    )
    max_error = gauge(
        "vedette.clock.error.max",
        "s",
        "Largest error the clock can have; grows while nothing corrects it.",
        resource="clock",
        alarm="never",
    )
    tai = gauge(
        "vedette.clock.tai_offset",
        "s",
        "Seconds that international atomic time is ahead of UTC, as the kernel was told.",
        resource="clock",
        alarm="never",
    )
    steps = counter(
        "vedette.clock.steps",
        "{step}",
        "Times the clock was set by more than a tenth of a second since the agent's start.",
        resource="clock",
        alarm="high",
        source="clock_gettime(2)",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self.ask: Callable[[], Timex | None] = ask_kernel
        self.clocks: Callable[[], tuple[float, float]] = read_clocks
        self._ahead: float | None = None
        self._steps = 0

    def probe(self) -> None:
        if self.ask() is None:
            raise Unavailable("the kernel does not answer adjtimex")

    def collect(self) -> list[Sample]:
        wall, monotonic = self.clocks()
        ahead, self._ahead = self._ahead, wall - monotonic
        if ahead is not None and abs(self._ahead - ahead) > STEP_S:
            self._steps += 1
        samples = [self.steps(self._steps)]
        told = self.ask()
        if told is not None:
            samples += (
                self.synchronized(float(told.is_synchronized)),
                self.offset(told.offset),
                self.frequency(told.frequency),
                self.estimated_error(told.estimated_error),
                self.max_error(told.max_error),
                self.tai(told.tai),
            )
        return samples


def read_clocks() -> tuple[float, float]:
    """Return wall clock and the clock since boot that counts suspended time too, in seconds."""
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)


def ask_kernel() -> Timex | None:
    """Ask adjtimex(2) without changing anything; None where it is not to be had."""
    question = _question()
    if question is None:
        return None
    function, buffer = question
    buffer[:4] = bytes(4)  # the modes of change: none
    return parse_timex(buffer.raw) if function(buffer) >= 0 else None


@cache
def _question() -> tuple[Callable[[Any], int], Any] | None:
    """Return adjtimex(2) and the struct it fills; None where it is not to be had.

    Looked up once: that takes ten times what asking does.
    """
    import ctypes

    function = getattr(ctypes.CDLL(None), "adjtimex", None)
    if function is None or struct.calcsize("l") != 8:
        return None
    return function, ctypes.create_string_buffer(SIZE)


def parse_timex(raw: bytes) -> Timex:
    """Return what the bytes of a struct timex say."""
    fields = _TIMEX.unpack_from(raw)
    _, offset, frequency, max_error, estimated_error, status = fields[:6]
    unit = 1e-9 if status & STA_NANO else 1e-6
    return Timex(
        offset=offset * unit,
        frequency=frequency * FREQUENCY,
        max_error=max_error * 1e-6,
        estimated_error=estimated_error * 1e-6,
        tai=fields[-1],
        is_synchronized=not status & STA_UNSYNC,
    )


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Clock]
