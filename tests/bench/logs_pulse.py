"""How soon the stop of a busy source is told, and how often a source is said to have stopped.

    PYTHONPATH=agent python tests/bench/logs_pulse.py [LOGHUB] [--days 7] [--seeds 1,2,3]

Each source is a week of seconds with and without lines: steady ones, ones that follow the day or
pause at night, jobs by the clock, bunches, writers that flush their buffer when it is full, pauses
of a heavy tail, restarts. With a checkout of Loghub, also the gaps of its logs, in runs of 200 put
together at random until there is a week of them. At the end the source stops; the agent looks at a
source without lines every ``IDLE_TICKS`` seconds. Pauses that are new when they come (the first
night) are counted like all else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from logs_miner import raw_lines
from numpy.typing import NDArray

from vedette.logs.digest import IDLE_TICKS
from vedette.logs.framing import Framer
from vedette.logs.pulse import Pulse

DAY = 86_400
Seconds = NDArray[np.intp]
Make = Callable[[np.random.Generator, int], Seconds]


def poisson(rate: float) -> Make:
    """Lines at random, so many a second."""
    return lambda rng, size: np.flatnonzero(rng.random(size) < -np.expm1(-rate))


def daily(rate: float, night: float) -> Make:
    """Lines at random that follow the day, with noise that lasts for minutes."""

    def make(rng: np.random.Generator, size: int) -> Seconds:
        noise = np.repeat(np.exp(rng.normal(0, 0.5, size // 300 + 1)), 300)[:size]
        wave = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / DAY)
        rates = rate * (night + (1 - night) * wave**2) * noise
        return np.flatnonzero(rng.random(size) < -np.expm1(-rates))

    return make


def office(rng: np.random.Generator, size: int) -> Seconds:
    """Five lines a second by day, none at all from 22:00 to 6:00."""
    hour = np.arange(size) % DAY // 3600
    return np.flatnonzero((rng.random(size) < 0.993) & (hour >= 6) & (hour < 22))


def regular(period: int, jitter: int) -> Make:
    """A job by the clock."""

    def make(rng: np.random.Generator, size: int) -> Seconds:
        at = np.arange(0, size - period, period)
        return np.unique(at + rng.integers(0, jitter + 1, len(at)))

    return make


def bunches(rng: np.random.Generator, size: int) -> Seconds:
    """Bunches of a few minutes, now and then."""
    starts = np.flatnonzero(rng.random(size) < 1 / 900)
    long = np.minimum(np.exp(rng.normal(4, 1.2, len(starts))), 3600)
    has = np.zeros(size, dtype=bool)
    for start, length in zip(starts, long, strict=True):
        has[start : start + int(length)] = True
    return np.flatnonzero(has)


def flushed(rng: np.random.Generator, size: int) -> Seconds:
    """A writer whose lines come in blocks of 4 KiB: thirty lines of a rate that follows the day."""
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / DAY)
    lines = np.cumsum(rng.poisson(2 + 40 * wave))
    return np.flatnonzero(np.diff(lines // 30, prepend=0) > 0)


def hiccups(rng: np.random.Generator, size: int) -> Seconds:
    """Always lines, but for pauses of a heavy tail: collecting garbage, a slow disk."""
    has = rng.random(size) < 0.995
    starts = np.flatnonzero(rng.random(size) < 1 / 1200)
    for start, length in zip(starts, 1 + rng.pareto(1.5, len(starts)), strict=True):
        has[start : start + int(min(length, 60))] = False
    return np.flatnonzero(has)


def restarts(rng: np.random.Generator, size: int) -> Seconds:
    """Always lines, but for restarts of 5 to 40 s, about one a day."""
    has = rng.random(size) < 0.995
    for start in np.flatnonzero(rng.random(size) < 1 / DAY):
        has[start : start + int(rng.integers(5, 40))] = False
    return np.flatnonzero(has)


def loghub(folder: Path) -> Iterator[tuple[str, Make]]:
    """Yield the gaps of each system that has stamps in order."""
    for path in sorted(folder.glob("*/*_2k.log_structured.csv")):
        framer = Framer()
        rows = framer.columns(raw_lines(path), 1_795_183_200 * 10**9)
        times = np.array([time // 10**9 for time in rows.times if time is not None])
        gaps = np.diff(times)
        gaps = gaps[(gaps > 0) & (gaps < 30 * DAY)]
        if len(gaps) > 100:
            yield path.parent.name, repeated(gaps)


def repeated(gaps: NDArray[np.intp]) -> Make:
    """Runs of 200 gaps put together at random."""

    def make(rng: np.random.Generator, size: int) -> Seconds:
        parts, total = [], 0
        while total < size:
            start = int(rng.integers(0, max(len(gaps) - 200, 1)))
            parts.append(gaps[start : start + 200])
            total += int(parts[-1].sum())
        at = np.cumsum(np.concatenate(parts))
        return at[at < size]

    return make


def judged(seconds: Seconds) -> tuple[int, float]:
    """Return how often a source is said to be silent, and after how long when it stops."""
    pulse, alarms, last = Pulse(), 0, 0
    for at in seconds.tolist():
        gap = at - last
        for now in range(last + IDLE_TICKS, at, IDLE_TICKS) if gap > IDLE_TICKS else ():
            alarms += pulse.overdue(float(now)) is not None
        pulse.beat(float(at))
        last = at
    for now in range(last + IDLE_TICKS, last + 4 * DAY, IDLE_TICKS):
        if pulse.overdue(float(now)) is not None:
            return alarms, float(now - last)
    return alarms, float("nan")


SOURCES: dict[str, Make] = {
    **{f"at random, {rate:g} a second": poisson(rate) for rate in (100, 10, 3, 1, 0.5, 0.1)},
    "day and night, 100 to 2 a second": daily(100, 0.02),
    "day and night, 10 to 0.2 a second": daily(10, 0.02),
    "day and night, 2 to 0.1 a second": daily(2, 0.05),
    "none from 22:00 to 6:00": office,
    "each 10 s": regular(10, 2),
    "each minute": regular(60, 5),
    "bunches": bunches,
    "flushed by blocks": flushed,
    "pauses of a heavy tail": hiccups,
    "restarts, one a day": restarts,
}


def main() -> None:
    """Print a row per source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("loghub", nargs="?", type=Path)
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--seeds", default="1,2,3")
    args = parser.parse_args()
    seeds = [int(one) for one in args.seeds.split(",")]
    sources = {**SOURCES, **(dict(loghub(args.loghub)) if args.loghub else {})}
    print(f"{'source':36} false signals a week   told after")
    total = 0
    for name, make in sources.items():
        found = [judged(make(np.random.default_rng(seed), int(args.days * DAY))) for seed in seeds]
        alarms = sum(one for one, _ in found)
        total += alarms
        delays = ", ".join("-" if np.isnan(delay) else f"{delay:.0f} s" for _, delay in found)
        print(f"{name:36} {alarms * 7 / args.days / len(seeds):12.1f}           {delays}")
    print(f"{total} in {len(sources) * len(seeds) * args.days:g} days of sources")


if __name__ == "__main__":
    main()
