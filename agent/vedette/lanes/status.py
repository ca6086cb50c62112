"""Say how a collector is doing, as those who ask are told."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["starting", "ok", "resting", "failing", "stuck", "stopped"]


class CollectorStatus(msgspec.Struct, frozen=True):
    """How a collector is doing; counters since the agent's start.

    ``interval_s`` is how often it runs now, ``configured_s`` how often it should: less often while
    the agent's CPU budget asks for it. ``ticks`` counts calls, ``skipped`` ticks at which its lane
    was still busy, ``invalid`` readings that were none, ``cut`` those over ``max_series``.
    ``samples`` and ``duration_s`` are those of the last tick, ``cpu_s`` is all CPU time spent in it
    (its worker included), ``since_ns`` (Unix) when the state began; for a call that hangs, when
    that began.

    ``cpu_share`` is its share of one core over the last minute, ``tick_cpu_s`` and ``sample_cpu_s``
    the CPU time of a tick and per reading, means over the last minutes without the agent's start;
    None until there are some.
    """

    name: str
    state: State
    reason: str
    interval_s: float
    lane: str
    ticks: int
    late: int
    skipped: int
    failures: int
    invalid: int
    samples: int
    duration_s: float
    cpu_s: float
    since_ns: int
    samples_total: int = 0
    configured_s: float = 0.0
    cut: int = 0
    cpu_share: float | None = None
    tick_cpu_s: float | None = None
    sample_cpu_s: float | None = None
