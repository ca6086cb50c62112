"""Simulated streams of template counts for ``logs_watch.py``: what is ordinary, and what is not.

Each stream yields, second by second, lines per template; what is ordinary in it includes all that a
source does without a fault: nights, jobs by the minute and the hour, restarts, bunches of any size.
A fault is laid over it at a given time. All of it is a function of the seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vedette.logs.entry import Severity

DAY = 86_400
Counts = dict[int, int]


class Template(NamedTuple):
    """A template of a stream."""

    id: int
    text: str
    severity: Severity


def severities(count: int, rng: np.random.Generator) -> list[Template]:
    """Return templates of which some are warnings and errors."""
    grades = rng.choice([9, 9, 9, 9, 9, 9, 13, 17], size=count)
    return [Template(one, f"message {one}", Severity(int(grades[one]))) for one in range(count)]


class Stream:
    """A source: steady templates, their rates from once in hours to tens a second."""

    name = "poisson"
    templates_count = 120

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.templates = severities(self.templates_count, self.rng)
        self.rates = 10 ** self.rng.uniform(-4.5, 0.7, self.templates_count)
        grave = np.array([one.severity >= Severity.WARN for one in self.templates])
        grave = grave.astype(bool)
        self.rates[grave] = 10 ** self.rng.uniform(-4.5, -1.5, int(grave.sum()))

    def seconds(self, count: int) -> Iterator[Counts]:
        """Yield the lines of so many seconds."""
        for second in range(count):
            yield self.of(second)

    def of(self, second: int) -> Counts:
        """Return the lines of a second."""
        return counts(self.rng.poisson(self.rates))


class Bursty(Stream):
    """Bunches of log-normal sizes (stack traces, batches), each template in its own."""

    name = "bursty"
    templates_count = 60

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.starts = 10 ** self.rng.uniform(-4.3, -1.3, self.templates_count)
        self.size = self.rng.uniform(0, 4, self.templates_count)
        self.left = np.zeros(self.templates_count)

    def of(self, second: int) -> Counts:
        begin = self.rng.random(self.templates_count) < self.starts
        size = np.exp(self.rng.normal(self.size, 1.0))
        self.left += np.where(begin, np.minimum(size, 20_000), 0)
        now = np.ceil(self.left * self.rng.uniform(0.2, 1.0, self.templates_count))
        self.left = np.maximum(self.left - now, 0)
        return counts(now.astype(int))


class Diurnal(Stream):
    """Busy by day, a twentieth at night, with noise that lasts for minutes."""

    name = "diurnal"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.noise = 0.0

    def of(self, second: int) -> Counts:
        self.noise += -self.noise / 300 + self.rng.normal(0, 0.015)
        day = 0.05 + 0.95 * (0.5 - 0.5 * math.cos(2 * math.pi * second / DAY)) ** 2
        return counts(self.rng.poisson(self.rates * day * math.exp(self.noise)))


class Restarts(Stream):
    """A service that restarts every few hours: thirty lines of its start, then warnings."""

    name = "restarts"
    templates_count = 100

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.next, self.since = int(self.rng.exponential(9000)) + 600, -1

    def of(self, second: int) -> Counts:
        if second >= self.next:
            self.since, self.next = second, second + 600 + int(self.rng.exponential(9000))
        rates = self.rates.copy()
        rates[:40] = 0
        found = self.rng.poisson(rates)
        after = second - self.since if self.since >= 0 else 99
        if after < 10:
            found[40:] = 0
            begin = np.arange(30)[(np.arange(30) // 3) == after]
            found[begin] = self.rng.integers(1, 4, len(begin))
        elif after < 40:
            found[30:40] = self.rng.poisson(0.3, 10)
        return counts(found)


class Cron(Stream):
    """Jobs by the minute, the five minutes, the hour and the day, with lines of their own."""

    name = "cron"
    templates_count = 60

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.period = self.rng.choice([60, 60, 300, 600, 3600, 3600, 86_400], self.templates_count)
        self.offset = self.rng.integers(0, self.period)
        self.lines = np.ceil(np.exp(self.rng.normal(1.5, 1.2, self.templates_count)))

    def of(self, second: int) -> Counts:
        late = self.rng.integers(0, 3, self.templates_count)
        due = (second - self.offset - late) % self.period == 0
        lines = self.rng.poisson(self.lines) * due
        return counts(lines)


class Services(Stream):
    """Two hundred templates of all of the above at once: a host's journal."""

    name = "journal"
    templates_count = 0

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.parts = [kind(seed + at) for at, kind in enumerate((Diurnal, Bursty, Restarts, Cron))]
        self.templates = []
        for at, part in enumerate(self.parts):
            for one in part.templates:
                self.templates.append(Template(1000 * at + one.id, one.text, one.severity))

    def of(self, second: int) -> Counts:
        found: Counts = {}
        for at, part in enumerate(self.parts):
            for template, lines in part.of(second).items():
                found[1000 * at + template] = lines
        return found


STREAMS = (Stream, Bursty, Diurnal, Restarts, Cron, Services)


def counts(lines: np.ndarray) -> Counts:
    """Return the templates that have lines."""
    some = np.flatnonzero(lines)
    return dict(zip(some.tolist(), lines[some].tolist(), strict=True))
