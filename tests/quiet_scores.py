"""Scores of hosts on which nothing is wrong, of every kind that a tail has to hold for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Random = np.random.Generator

#: Ticks made at a time.
CHUNK = 1_000
DAY_S = 86_400


def quiet(kind: str, rows: int, ticks: int, seed: int = 1) -> Iterator[Scores]:
    """Yield float32 ``(rows,)`` for each tick."""
    random = np.random.default_rng(seed)
    made = KINDS[kind](random, rows)
    for start in range(0, ticks, CHUNK):
        yield from made(start, min(CHUNK, ticks - start)).astype(np.float32)


Chunks = Callable[[int, int], NDArray[np.floating]]


def _independent(draw: Callable[[Random, tuple[int, int]], NDArray[np.floating]]):
    def kind(random: Random, rows: int) -> Chunks:
        return lambda start, ticks: draw(random, (ticks, rows))

    return kind


def _time(start: int, ticks: int) -> NDArray[np.floating]:
    return np.arange(start, start + ticks, dtype=float)[:, None]


def _recursive(random: Random, rows: int, memory: float) -> Chunks:
    """An AR(1) process of variance 1."""
    last = random.standard_normal(rows)

    def chunk(start: int, ticks: int) -> NDArray[np.floating]:
        nonlocal last
        steps = random.standard_normal((ticks, rows)) * np.sqrt(1 - memory**2)
        values = np.empty((ticks, rows))
        for tick in range(ticks):
            values[tick] = last = memory * last + steps[tick]
        return values

    return chunk


def _autocorrelated(random: Random, rows: int) -> Chunks:
    values = _recursive(random, rows, 0.95)
    return lambda start, ticks: 1.25 * np.abs(values(start, ticks))


def _heteroscedastic(random: Random, rows: int) -> Chunks:
    volatility = _recursive(random, rows, 0.99)

    def chunk(start: int, ticks: int) -> NDArray[np.floating]:
        noise = random.standard_normal((ticks, rows))
        return np.abs(noise) * np.exp(0.7 * volatility(start, ticks))

    return chunk


def _bursts(random: Random, rows: int) -> Chunks:
    """Noise that every 500 ticks or so is some times as large for 20 ticks or so."""
    left, factor = np.zeros(rows, dtype=int), np.ones(rows)

    def chunk(start: int, ticks: int) -> NDArray[np.floating]:
        nonlocal left, factor
        values = 1.25 * np.abs(random.standard_normal((ticks, rows)))
        begins = random.random((ticks, rows)) < 1 / 500
        lengths = random.geometric(1 / 20, (ticks, rows))
        factors = 1 + random.exponential(4, (ticks, rows))
        for tick in range(ticks):
            new = (left <= 0) & begins[tick]
            left = np.where(new, lengths[tick], left - 1)
            factor = np.where(new, factors[tick], factor)
            values[tick] *= np.where(left > 0, factor, 1)
        return values

    return chunk


def _daily(random: Random, rows: int) -> Chunks:
    """A level read each second that goes up and down with the day."""

    def chunk(start: int, ticks: int) -> NDArray[np.floating]:
        cycle = 3 * np.sin(2 * np.pi * _time(start, ticks) / DAY_S)
        return np.abs(random.standard_normal((ticks, rows)) + cycle)

    return chunk


def _drift(random: Random, rows: int) -> Chunks:
    def chunk(start: int, ticks: int) -> NDArray[np.floating]:
        noise = 1.25 * np.abs(random.standard_normal((ticks, rows)))
        return noise + _time(start, ticks) / 10_000

    return chunk


#: Per kind what makes its chunks, from a generator and a number of rows.
KINDS: dict[str, Callable[[Random, int], Chunks]] = {
    "normal": _independent(lambda random, shape: 1.25 * np.abs(random.standard_normal(shape))),
    "exponential": _independent(lambda random, shape: random.exponential(1, shape)),
    "student": _independent(lambda random, shape: 0.9 * np.abs(random.standard_t(3, shape))),
    "lognormal": _independent(lambda random, shape: random.lognormal(0, 1, shape)),
    "autocorrelated": _autocorrelated,
    "bursts": _bursts,
    "heteroscedastic": _heteroscedastic,
    "daily": _daily,
    "integers": _independent(lambda random, shape: random.poisson(0.3, shape).astype(float)),
    "zeros": _independent(
        lambda random, shape: random.exponential(3, shape) * (random.random(shape) < 0.05)
    ),
    "drift": _drift,
}
