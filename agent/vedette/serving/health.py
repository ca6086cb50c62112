"""Say how each model server fares, from the rows of each of its pages.

Beside what its models do (``health_watch``) and how they keep what was promised (``health_slo``):
why a server does not answer, how long it did not, and how long it took to start.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from math import isfinite, nan

from vedette.api import Event, Sample
from vedette.serving import health_series as series
from vedette.serving.health_figures import Figures, Group, figures
from vedette.serving.health_kept import WRITE_S, Keeper, Key, revived
from vedette.serving.health_slo import Budget, counted
from vedette.serving.health_watch import Watch
from vedette.serving.rows import Row
from vedette.serving.served import Said, Served
from vedette.serving.slo import Kind, Slo
from vedette.serving.vocabulary import outermost

log = logging.getLogger(__name__)

#: Objectives of models that are counted; each takes some 26 KiB.
BUDGETS_MAX = 64
#: A start that moved less is the same, told by a clock that was set.
_SAME_START_S = 2.0
#: Bounds that differ by less are the same.
_SAME_BOUND = 1e-6
#: Readings after which what is known of a model that is no longer told of is let go.
_GONE = 30


class _Server:
    """What is known of one server."""

    def __init__(self, served: Served, now_s: float) -> None:
        self.served = served
        self.read_s = now_s
        self.down_s = nan
        self.start_s = nan
        self.watches: dict[Group, Watch] = {}
        self.missed: dict[Group, int] = {}


class Health:
    """All servers that are read. One thread."""

    def __init__(self, slos: Sequence[Slo], state_dir: str = "") -> None:
        self._slos = tuple(slos)
        self._keeper = Keeper(state_dir if slos else "")
        self._servers: dict[str, _Server] = {}
        self._budgets: dict[Key, Budget] = {}
        self._kept = self._keeper.load()
        self._began_s = nan
        self._saved_s = nan
        self._told: set[Key] = set()

    def step(self, one: Served, said: Said, now_s: float, wall_ns: int) -> Iterator[Sample | Event]:
        """Yield how a server fares after it was read; ``now_s`` is monotonic."""
        wall_s = wall_ns / 1e9
        if not isfinite(self._began_s):
            self._began_s = wall_s
        if not isfinite(self._saved_s):
            self._saved_s = wall_s
        server = self._servers.get(one.endpoint)
        if server is None:
            server = self._servers[one.endpoint] = _Server(one, now_s)
        if not one.up:
            server.down_s = server.down_s if isfinite(server.down_s) else one.page_s
            if one.trouble:
                yield series.DOWN(1.0, one.endpoint, one.server, one.trouble)
            return
        yield from self._answers(one, server, now_s, wall_s)
        if said.restarted or server.served is not one:
            server.served = one
            for watch in server.watches.values():
                watch.restart(now_s)
        elapsed_s, server.read_s = now_s - server.read_s, now_s
        yield from self._models(one, server, said.rows, (now_s, elapsed_s, wall_s))
        if wall_s - self._saved_s >= WRITE_S:
            self.save()

    def forget(self, endpoint: str) -> None:
        """Let go of a server that is no longer read; its budgets are kept."""
        self._servers.pop(endpoint, None)

    def save(self) -> None:
        """Make what was used of error budgets durable."""
        self._saved_s = nan
        self._keeper.save(self._budgets, self._kept)

    # ------------------------------------------------------------ the server

    def _answers(
        self, one: Served, server: _Server, now_s: float, wall_s: float
    ) -> Iterator[Sample]:
        place = one.endpoint, one.server
        if isfinite(server.down_s):
            yield series.OUTAGE(now_s - server.down_s, *place)
            server.down_s = nan
        start_s = one.started_s
        if isfinite(start_s) and not abs(start_s - server.start_s) <= _SAME_START_S:
            server.start_s = start_s
            if self._began_s < start_s <= wall_s:
                yield series.START(wall_s - start_s, *place)

    # ------------------------------------------------------------ its models

    def _models(
        self,
        one: Served,
        server: _Server,
        rows: Sequence[Row],
        times: tuple[float, float, float],
    ) -> Iterator[Sample | Event]:
        now_s, elapsed_s, wall_s = times
        found = figures(rows)
        outer = outermost(layer for layer, _ in found)
        for group, its in found.items():
            place = (one.endpoint, one.server, *group)
            alone = sum(layer == group[0] for layer, _ in found) == 1
            watch = self._watch(server, group, now_s, alone=alone)
            swapped = watch.step(now_s, elapsed_s, its, self._engine_s(server, group))
            promised = self._slos and group[0] == outer
            quick = (yield from self._objectives(its, place, wall_s)) if promised else 1.0
            yield from watch.samples(place, quick)
            if swapped:
                what = group[1] or "its model"
                text = f"{one.title} on {one.endpoint} answers like another model as {what}"
                yield Event(round(wall_s * 1e9), "deploy", one.endpoint, f"{text}: {swapped}")
        for group in [group for group in server.watches if group not in found]:
            server.missed[group] = server.missed.get(group, 0) + 1
            if server.missed[group] > _GONE:
                del server.watches[group], server.missed[group]

    @staticmethod
    def _watch(server: _Server, group: Group, now_s: float, *, alone: bool) -> Watch:
        """Return what is known of a model; an only one takes over what had no name before."""
        server.missed.pop(group, None)
        watch = server.watches.get(group)
        if watch is None:
            unnamed = server.watches.pop((group[0], ""), None) if alone else None
            watch = server.watches[group] = unnamed or Watch(now_s)
        return watch

    @staticmethod
    def _engine_s(server: _Server, group: Group) -> float:
        """Return how long the engine takes for a request of a model, as a layer before it sees."""
        layer, model = group
        if layer == "engine":
            return nan
        engine = server.watches.get(("engine", model)) or server.watches.get(("engine", ""))
        return engine.minute.mean("request") if engine is not None else nan

    def _objectives(
        self, its: Figures, place: tuple[str, ...], wall_s: float
    ) -> Generator[Sample, None, float]:
        """Count requests by what was promised; return the share of them that was quick enough."""
        endpoint, _, layer, model = place
        quick = 1.0
        for slo in self._slos:
            if not slo.covers(model, endpoint):
                continue
            for kind, share, bound in slo.objectives():
                key = endpoint, layer, model, slo.title, kind
                budget = self._budget(key, slo, wall_s)
                if budget is None:
                    continue
                told = counted(its, kind, bound)
                if told is not None:
                    total, missed, used = told
                    budget.add(wall_s, total, missed)
                    self._note_bound(budget, key, bound, used)
                    if kind == "latency" and total > 0:
                        quick = min(quick, 1.0 - missed / total)
                elif kind != "availability" and bound > 0:
                    self._note_untimed(its, key, kind, bound)
                if budget.counted:
                    yield from budget.samples(wall_s, place, slo.title, kind, share)
        return quick

    def _budget(self, key: Key, slo: Slo, wall_s: float) -> Budget | None:
        budget = self._budgets.get(key)
        if budget is None:
            if len(self._budgets) >= BUDGETS_MAX:
                if key not in self._told and len(self._told) < 2 * BUDGETS_MAX:
                    self._told.add(key)
                    log.warning("SLO is not counted, there are too many slo=%s model=%s", *key[2:4])
                return None
            budget = Budget(wall_s, max(1, round(slo.window / 3600)))
            kept = self._kept.pop(key, None)
            if kept is not None:
                budget = revived(kept, budget)
            self._budgets[key] = budget
        return budget

    def _note_bound(self, budget: Budget, key: Key, bound: float, used: float) -> None:
        """Say once when requests are counted by another bound than the SLO's."""
        if used == budget.bound:
            return
        budget.bound = used
        if abs(used - bound) > _SAME_BOUND * bound:
            log.warning(
                "SLO %s of %s on %s: no bucket ends at %g s, requests count by %g s %s",
                key[3],
                key[2] or "all models",
                key[0],
                bound,
                used,
                "as quick: the next bound below",
            )

    def _note_untimed(self, its: Figures, key: Key, kind: Kind, bound: float) -> None:
        """Say once why a time that was promised cannot be counted."""
        timed = [one for one in (its.durations if kind == "latency" else its.firsts) if one.counts]
        if key in self._told or len(self._told) >= 2 * BUDGETS_MAX:
            return
        lowest = min((one.bounds[0] for one in timed if one.bounds), default=nan)
        if isfinite(lowest):
            why = f"the lowest bucket ends at {lowest:g} s, above {bound:g} s"
        elif timed or its.gains.get("ok", 0.0) > 0:
            why = "the server tells a mean alone" if timed else "the server tells no such time"
        else:
            return
        self._told.add(key)
        where = key[2] or "all models"
        log.warning(
            "SLO %s of %s on %s: %s cannot be counted, %s", key[3], where, key[0], kind, why
        )
