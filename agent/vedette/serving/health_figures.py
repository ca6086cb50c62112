"""Gather what the rows of one page say of each model, and of the last minute.

A model's figures are those of all its versions and engines. Where a layer has one model, all that
is told belongs to it; where it has several, rows that name none are told of all of them together,
under no name. Names that clients asked for and that are no models count as no name. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import isfinite, nan

import msgspec

from vedette.exposition.change import HistogramChange
from vedette.serving.rows import Row
from vedette.serving.served import ASKED
from vedette.serving.vocabulary import OUTCOME, OUTCOMES, REQUESTS, STAGE, TOKEN

#: Layer and model.
Group = tuple[str, str]

#: What the "last minute" is, with a little slack for readings that come late.
MINUTE_S = 61.0
#: Readings of it that are kept at most, however often a server is read.
_READINGS_MAX = 64
#: Models of one server whose figures are kept; of more only what is told of all.
GROUPS_MAX = 50
#: ``vocabulary.COMMON``: where layer and model stand among a row's values.
_LAYER, _MODEL = 2, 3

_WAITING, _TOKENS = "vedette.model.requests.waiting", "vedette.model.tokens"
_AMOUNTS = {
    _WAITING: "waiting",
    "vedette.model.requests.running": "running",
    "vedette.model.requests.limit": "limit",
    "vedette.model.kv_cache.block.limit": "blocks",
}
_SHARES = {
    "vedette.model.kv_cache.utilization": "kv",
    "vedette.model.prefix_cache.hit_ratio": "hit_ratio",
}
_COUNTS = {
    "vedette.model.preemptions": "preemptions",
    "vedette.model.prefix_cache.queries": "queries",
    "vedette.model.prefix_cache.hits": "hits",
}
_TIMES = {
    "gen_ai.server.request.duration": "request",
    "vedette.model.request.duration": "request",
    "gen_ai.server.time_to_first_token": "first",
    "vedette.model.inter_token.duration": "gap",
    "vedette.model.queue.duration": "queue",
    "vedette.model.compute.duration": "compute",
    "vedette.model.batch.size": "batch",
    "vedette.model.step.tokens": "step",
    "vedette.model.request.tokens": "length",
}
#: Requests that did not end well and were not the client's fault, or may not have been.
BAD = ("server_error", "rejected", "timeout", "failed")
#: Ends that show that work was done.
WORKED = ("ok", "server_error", "failed")


class Figures(msgspec.Struct):
    """What one page says of one model.

    ``now`` is what is (``waiting``, ``running``, ``limit``, ``kv``, ...), ``gains`` what came since
    the page before: outcomes by name, ``tokens`` made, and ``.sum`` and ``.count`` of times. What
    is not told is not there. ``usual_s`` is the mean time of a request over the server's life,
    ``first_s`` that to its first token; ``whole`` says that those worked on are among those that
    wait.
    """

    now: dict[str, float] = {}
    gains: dict[str, float] = {}
    durations: list[HistogramChange] = []
    firsts: list[HistogramChange] = []
    usual_s: float = nan
    first_s: float = nan
    whole: bool = False

    def take(self, row: Row) -> None:
        """Take a row in."""
        name, value, gain = row.signal.name, row.value, row.gain
        if isinstance(value, HistogramChange):
            if isinstance(gain, HistogramChange):
                self._distribution(row, _TIMES.get(name, ""), value, gain)
        elif name in _AMOUNTS:
            self._add(self.now, _AMOUNTS[name], value)
            if name == _WAITING and "worked on included" in row.approx:
                self.whole = True
        elif name in _SHARES:
            if isfinite(value):
                self.now[_SHARES[name]] = max(value, self.now.get(_SHARES[name], 0.0))
        elif isinstance(gain, float):
            if name == REQUESTS:
                self._add(self.gains, row.attribute(OUTCOME), gain)
            elif name in _COUNTS:
                self._add(self.gains, _COUNTS[name], gain)
            elif name == _TOKENS and row.attribute(TOKEN) == "output":
                self._add(self.gains, "tokens", gain)

    def _distribution(
        self, row: Row, key: str, life: HistogramChange, gain: HistogramChange
    ) -> None:
        if not key:
            return
        if key == "length":
            key = f"{row.attribute(TOKEN)}.length"
        elif key == "compute":
            key = f"compute {row.attribute(STAGE)}"
        elif key == "request":
            self.durations.append(gain)
            # Of several versions the slowest: a stall is not to be seen where there is none.
            if isfinite(life.mean) and not life.mean < self.usual_s:
                self.usual_s = life.mean
        elif key == "first":
            self.firsts.append(gain)
            if isfinite(life.mean) and not life.mean < self.first_s:
                self.first_s = life.mean
        if isfinite(gain.count):
            self._add(self.gains, f"{key}.count", gain.count)
            self._add(self.gains, f"{key}.sum", gain.sum)

    @staticmethod
    def _add(figures: dict[str, float], key: str, value: float) -> None:
        if isfinite(value):
            figures[key] = figures.get(key, 0.0) + value


def figures(rows: Sequence[Row]) -> dict[Group, Figures]:
    """Return the figures of each model that a page tells of, by layer and model."""
    models: dict[str, dict[str, None]] = {}
    nameless: set[str] = set()
    for row in rows:
        layer, model = row.values[_LAYER], row.values[_MODEL]
        there = models.setdefault(layer, {})
        if not model:
            nameless.add(layer)
        elif model not in there and len(there) < GROUPS_MAX and _is_model(row):
            there[model] = None
    models.pop("device", None)
    found: dict[Group, Figures] = {}
    for row in rows:
        layer, model = row.values[_LAYER], row.values[_MODEL]
        if layer in models:
            for group in _groups(layer, model, models[layer], layer in nameless):
                if group not in found:
                    found[group] = Figures()
                found[group].take(row)
    return found


def _is_model(row: Row) -> bool:
    """Say whether a row shows that its name is a model's and not a mistake of a client's."""
    if row.signal.name not in ASKED:
        return True
    return row.attribute(OUTCOME) == "ok" and row.value != 0.0


def _groups(layer: str, model: str, models: dict[str, None], nameless: bool) -> Iterable[Group]:
    if len(models) <= 1:
        return ((layer, next(iter(models), "")),)
    own = [(layer, model)] if model in models else []
    return [*own, (layer, "")] if nameless or not own else own


class Minute:
    """The gains of the last minute."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, float, dict[str, float]]] = deque(maxlen=_READINGS_MAX)

    def add(self, now_s: float, elapsed_s: float, gains: dict[str, float]) -> None:
        """Take what came in the ``elapsed_s`` before ``now_s``."""
        while self._kept and now_s - self._kept[0][0] >= MINUTE_S:
            self._kept.popleft()
        self._kept.append((now_s, elapsed_s, gains))

    @property
    def length_s(self) -> float:
        """The time that it covers."""
        return sum(elapsed_s for _, elapsed_s, _ in self._kept)

    def total(self, *keys: str) -> float:
        """Return what was gained; 0 for what was not told."""
        return sum(gains.get(key, 0.0) for _, _, gains in self._kept for key in keys)

    def rate(self, *keys: str) -> float:
        """Return how many came a second."""
        length_s = self.length_s
        return self.total(*keys) / length_s if length_s > 0 else 0.0

    def pace(self, since_s: float, *keys: str) -> float:
        """Return how many came a second in the readings after a time.

        The newest one counts if it has any: a page may be renewed as seldom as it is read (Ray).
        """
        kept = [
            (elapsed_s, sum(gains.get(key, 0.0) for key in keys))
            for at_s, elapsed_s, gains in self._kept
            if at_s > since_s
        ]
        if kept and not kept[-1][1]:
            kept.pop()
        length_s = sum(elapsed_s for elapsed_s, _ in kept)
        return sum(came for _, came in kept) / length_s if length_s > 0 else 0.0

    def tells(self, key: str) -> bool:
        """Say whether any of its readings told a figure."""
        return any(key in gains for _, _, gains in self._kept)

    def mean(self, key: str) -> float:
        """Return the mean of a time; NaN when nothing was timed."""
        count = self.total(f"{key}.count")
        return self.total(f"{key}.sum") / count if count > 0 else nan

    def compute_s(self) -> float:
        """Return how long a request is worked on: its stages one after the other."""
        keys = {key for _, _, gains in self._kept for key in gains if key.startswith("compute ")}
        stages = {key.rpartition(".")[0] for key in keys}
        means = [self.mean(stage) for stage in stages]
        return sum(one for one in means if isfinite(one)) if any(map(isfinite, means)) else nan

    def outcomes(self) -> dict[str, float]:
        """Return how requests ended, of those outcomes that are told."""
        return {name: self.total(name) for name in OUTCOMES if self.tells(name)}

    def usual_share(self, hits: tuple[str, ...], of: tuple[str, ...]) -> tuple[float, float]:
        """Return hits and what they are of, without the reading that had most hits."""
        each = [
            (sum(gains.get(key, 0.0) for key in hits), sum(gains.get(key, 0.0) for key in of))
            for _, _, gains in self._kept
        ]
        worst = max(each, default=(0.0, 0.0))
        return sum(hit for hit, _ in each) - worst[0], sum(all_ for _, all_ in each) - worst[1]
