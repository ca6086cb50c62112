"""Hold what an operator promised of a model against what its server counted.

An *objective* is a share of requests that have to be good: answered well (``availability``), within
a time (``latency``), begun within a time (``ttft``). The client's own errors, and requests whose
client left, count for neither side. Time is counted in the server's own buckets: where none ends at
the bound the next one below is taken, so that no request counts as quick that may not have been.

The *burn rate* is the share of bad requests by the share that may be bad: at 1 the budget lasts
exactly the SLO's window. Two windows, a long and a short one, have to burn before anybody is rung
(The Site Reliability Workbook, chapter 5: 14.4 over 1 h and 5 min, 6 over 6 h and 30 min, 1 over
3 d and 6 h). Of a window that is not filled yet what is missing counts as without errors: burn
rates are lower at first, and nothing rings sooner than it would have a week later. Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from vedette.api import Sample
from vedette.exposition.change import HistogramChange
from vedette.serving import health_series as series
from vedette.serving.health_figures import BAD, Figures
from vedette.serving.slo import Kind

#: Length of a slot, and how many: the last hour, three days, and the SLO's own window.
_FINE, _COARSE, _LONG = (60, 60), (300, 864), (3_600, 720)
#: Windows of burn rates: name, the ring they are of, and how many of its slots.
WINDOWS = (("5m", 0, 5), ("30m", 0, 30), ("1h", 0, 60), ("6h", 1, 72), ("3d", 1, 864))
#: Two bounds are the same when they differ by less than this part.
_SAME = 1e-9


class Ring:
    """Requests and misses of the last so many slots of time."""

    def __init__(self, slot_s: int, slots: int) -> None:
        self.slot_s, self.slots = slot_s, slots
        self.totals = array("d", bytes(8 * slots))
        self.misses = array("d", bytes(8 * slots))
        self.newest = 0

    def add(self, wall_s: float, total: float, missed: float) -> None:
        """Count requests at a time; what is older than the ring, or of the future, moves it on."""
        slot = int(wall_s // self.slot_s)
        for gone in range(max(self.newest + 1, slot - self.slots + 1), slot + 1):
            self.totals[gone % self.slots] = self.misses[gone % self.slots] = 0.0
        # A clock that was set back counts to the newest slot until it is there again.
        self.newest = max(self.newest, slot)
        self.totals[self.newest % self.slots] += total
        self.misses[self.newest % self.slots] += missed

    def last(self, slots: int) -> tuple[float, float]:
        """Return requests and misses of the newest slots."""
        slots = min(slots, self.slots)
        end = self.newest % self.slots + 1
        start = end - slots
        if start >= 0:
            return sum(self.totals[start:end]), sum(self.misses[start:end])
        return (
            sum(self.totals[start:]) + sum(self.totals[:end]),
            sum(self.misses[start:]) + sum(self.misses[:end]),
        )


class Budget:
    """One objective of one model, and how much of its budget was used when."""

    def __init__(self, since_s: float, slots: int = _LONG[1]) -> None:
        self.since_s = since_s
        self.rings = (Ring(*_FINE), Ring(*_COARSE), Ring(_LONG[0], slots))
        self.bound = 0.0
        self.counted = False

    def add(self, wall_s: float, total: float, missed: float) -> None:
        """Count requests."""
        self.counted = True
        for ring in self.rings:
            ring.add(wall_s, total, missed)

    def burnt(self, wall_s: float, ring: int, slots: int, allowed: float) -> tuple[float, float]:
        """Return burn rate and misses of a window; ``allowed`` is the share that may miss."""
        kept = self.rings[ring]
        total, missed = kept.last(slots)
        if total <= 0:
            return 0.0, 0.0
        watched = max(0.0, wall_s - self.since_s) / (slots * kept.slot_s)
        return missed / total / allowed * min(1.0, watched), missed

    def samples(
        self, wall_s: float, place: tuple[str, ...], slo: str, kind: Kind, share: float
    ) -> Iterator[Sample]:
        """Yield how fast the budget burns, and what is left of it."""
        allowed = 1.0 - share
        for window, ring, slots in WINDOWS:
            rate, missed = self.burnt(wall_s, ring, slots, allowed)
            yield series.BURN_RATE(rate, *place, slo, kind, window)
            yield series.MISSES(missed, *place, slo, kind, window)
        rate, _ = self.burnt(wall_s, 2, self.rings[2].slots, allowed)
        yield series.BUDGET(1.0 - rate, *place, slo, kind)
        if self.bound > 0:
            yield series.BOUND(self.bound, *place, slo, kind)


def counted(figures: Figures, kind: Kind, bound: float) -> tuple[float, float, float] | None:
    """Return requests, misses and the bound they were counted by; None where nothing tells."""
    if kind == "availability":
        if "ok" not in figures.gains:
            return None
        missed = sum(figures.gains.get(key, 0.0) for key in BAD)
        return figures.gains["ok"] + missed, missed, 0.0
    return within(figures.durations if kind == "latency" else figures.firsts, bound)


def within(changes: Sequence[HistogramChange], bound: float) -> tuple[float, float, float] | None:
    """Return how many were timed, how many took longer than a bound, and the bound they are of.

    The bound is the highest of the buckets' that is not above the one asked for; of several
    histograms the lowest. None where no bucket ends there or below, or nothing is known.
    """
    total = missed = 0.0
    lowest = float("inf")
    for change in changes:
        if not change.counts:
            continue
        fits = [at for at, one in enumerate(change.bounds) if one <= bound * (1 + _SAME)]
        if not fits:
            return None
        quick = sum(change.counts[: fits[-1] + 1])
        count = sum(change.counts)
        total, missed = total + count, missed + count - quick
        lowest = min(lowest, change.bounds[fits[-1]])
    return (total, missed, lowest) if lowest < float("inf") else None
