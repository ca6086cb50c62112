"""Say whether the host still is what its models were trained on: population stability per series.

Idea: the reading of a minute, standardised by the location and the deviation that its series had
when the reference was taken, falls into one of ``BINS`` bins. The shares of the bins now, against
those of the reference, give the population stability index, sum((now - then) ln(now / then))
(Siddiqi, Credit Risk Scorecards, 2006: above 0.25 it is another population). A *family* of series
(cpu, disk, ...) has drifted when that holds for a good part of its series: one that moves to
another level is life, half of them is another host.

Deviation: the reference takes six hours for location and deviation (Welford, Technometrics 1962)
and then a day for the bins; "now" is an exponential mean over two days, and there is an index once
it has seen one. It is of the means of minutes, whatever the detector: what they all look at in the
end.
Cost: 80 bytes per series, ten array operations a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.api import Series
from vedette.entities import family_of
from vedette.growth import grown
from vedette.models import sealed

log = logging.getLogger(__name__)

FILE = "drift.state"
MAGIC = b"vedette-drift-1\n"
#: Edges of the bins, in deviations from the location; with heavier tails the outer ones fill up.
EDGES = np.array([-1.5, -0.75, -0.25, 0.25, 0.75, 1.5], dtype=np.float32)
BINS = len(EDGES) + 1
#: Minutes for location and deviation, of the whole reference, and of the memory of "now".
SCALE_MIN, REFERENCE_MIN, MEMORY_MIN = 360.0, 360.0 + 1440.0, 2880.0
#: The weight of "now" after a day, from which on there is an index; in the end it is the memory.
WEIGHT_LEAST = 0.39 * MEMORY_MIN
#: Counts that every bin has from the start, so that an empty one is no infinity.
PRIOR = 5.0
#: Another population (Siddiqi); another family of them, from so many series on.
ANOTHER, FAMILY_PART, FAMILY_LEAST = 0.25, 0.3, 3
#: A deviation is never under this part of the location: rounding is no population.
FLOOR = 1e-4

_ARRAYS = ("seen", "location", "spread", "then", "now")


class Family(msgspec.Struct, frozen=True):
    """How stable a family is: series that are judged, how many are others now, the median index."""

    name: str
    series: int
    moved: int
    index: float

    @property
    def drifted(self) -> bool:
        """Whether it is another family than the one that was learned."""
        return self.series >= FAMILY_LEAST and self.moved > FAMILY_PART * self.series


class Drift:
    """The reference and the present of all series. Arrays are float32 ``(rows,)`` and wider."""

    def __init__(self, rows: int = 0) -> None:
        #: Minutes read of each row.
        self.seen = np.zeros(rows, dtype=np.float32)
        self.location = np.zeros(rows, dtype=np.float32)
        self.spread = np.zeros(rows, dtype=np.float32)
        self.then = np.zeros((rows, BINS), dtype=np.float32)
        self.now = np.zeros((rows, BINS), dtype=np.float32)
        self._kept: tuple[Mapping[str, int], Mapping[str, NDArray[np.float32]]] | None = None

    def fold(self, values: NDArray[np.float32]) -> None:
        """Take the means of a minute, ``(rows,)``."""
        self._grow(len(values))
        rows = np.flatnonzero(np.isfinite(values))
        read = values[rows].astype(np.float64)
        seen = self.seen[rows]
        early = seen < SCALE_MIN
        if early.any():
            mine, some, count = rows[early], read[early], seen[early] + 1
            before = self.location[mine]
            after = before + (some - before) / count
            self.spread[mine] += (some - before) * (some - after)
            self.location[mine] = after
        late = ~early
        mine, some = rows[late], read[late]
        deviation = np.sqrt(self.spread[mine] / (SCALE_MIN - 1))
        location = self.location[mine]
        wide = np.maximum(deviation, FLOOR * np.abs(location)) + np.float32(1e-12)
        with np.errstate(over="ignore"):
            place = np.searchsorted(EDGES, (some - location) / wide)
        reference = seen[late] < REFERENCE_MIN
        self.then[mine[reference], place[reference]] += 1
        mine, place = mine[~reference], place[~reference]
        self.now[mine] *= 1 - 1 / MEMORY_MIN
        self.now[mine, place] += 1
        self.seen[rows] += 1

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Start rows anew."""
        inside = rows[rows < len(self.seen)]
        for name in _ARRAYS:
            getattr(self, name)[inside] = 0

    def rebase(self) -> None:
        """Take what is now for the reference: of what was trained on it."""
        for name in _ARRAYS:
            getattr(self, name)[:] = 0
        self._kept = None

    def index(self) -> NDArray[np.float32]:
        """Return the population stability index of each row; NaN where it is too early to tell."""
        weight = self.now.sum(axis=1)
        then = self.then + PRIOR
        now = self.now + PRIOR
        then /= then.sum(axis=1, keepdims=True)
        now /= now.sum(axis=1, keepdims=True)
        found: NDArray[np.float32] = ((now - then) * np.log(now / then)).sum(axis=1)
        return np.where(weight >= WEIGHT_LEAST, found, np.float32(np.nan))

    def families(self, series: Sequence[Series | None]) -> tuple[Family, ...]:
        """Return how stable each family is; those of which nothing can be told are left out."""
        index = self.index().tolist()
        groups: dict[str, list[float]] = {}
        for one, much in zip(series, index, strict=False):
            if one is not None and much == much:
                groups.setdefault(family_of(one.instrument), []).append(much)
        return tuple(
            Family(name, len(of), sum(one > ANOTHER for one in of), round(float(np.median(of)), 3))
            for name, of in sorted(groups.items())
        )

    # ------------------------------------------------------------ over a restart

    def save(self, path: Path, series: Sequence[Series | None]) -> None:
        """Write it; raises ``OSError``."""
        rows = [row for row, one in enumerate(series[: len(self.seen)]) if one is not None]
        keys = [one.key for one in series[: len(self.seen)] if one is not None]
        parts = {name: getattr(self, name)[rows] for name in _ARRAYS}
        parts["keys"] = np.frombuffer(msgspec.json.encode(keys), dtype=np.uint8)
        sealed.write(path, MAGIC, parts)

    def load(self, path: Path) -> None:
        """Take up what was saved, for series as they come back; unusable files are said."""
        try:
            parts = sealed.read(path, MAGIC)
            keys = msgspec.json.decode(parts.pop("keys").tobytes(), type=list[str])
            shapes = {name: parts[name].shape for name in _ARRAYS}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError) as error:
            log.warning("drift begins anew path=%s reason=%s", path, error)
            return
        wide = (len(keys), BINS)
        wanted = dict.fromkeys(_ARRAYS, wide[:1]) | {"then": wide, "now": wide}
        if shapes != wanted:
            log.warning("drift begins anew path=%s reason=other arrays", path)
            return
        self._kept = {key: row for row, key in enumerate(keys)}, parts

    def welcome(self, rows: Sequence[int], series: Sequence[Series | None]) -> None:
        """Give series that are new to the table what was saved of them."""
        self._grow(len(series))
        if self._kept is None:
            return
        places, parts = self._kept
        for row in rows:
            one = series[row]
            place = places.get(one.key) if one is not None else None
            if place is not None:
                for name in _ARRAYS:
                    getattr(self, name)[row] = parts[name][place]

    def _grow(self, rows: int) -> None:
        if rows > len(self.seen):
            for name in _ARRAYS:
                setattr(self, name, grown(getattr(self, name), rows, 0))
