"""Put figures of models together: places of one kind, what an outcome means, quantiles. Pure.

Counts and buckets are added within one layer and never across. What a server cannot tell is known
from its adapter, the same that the agent reads its page with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import msgspec

from vedette.exposition.change import HistogramChange
from vedette.exposition.model import Key
from vedette.receiver.batch import Buckets, ModelKey
from vedette.receiver.model_facts import LARGEST
from vedette.receiver.model_state import LINE, Told, requests
from vedette.receiver.model_views import ErrorsTold, ModelFigures, Quantiles
from vedette.serving.adapter import adapter
from vedette.serving.vocabulary import OUTCOME, OUTCOMES, REQUESTS

#: Outcomes that are the server's own doing; ``failed`` may be anybody's and is counted as such.
ERRORS = ("server_error", "rejected", "timeout", "failed")
#: Gauges that add up over places; of others the worst counts.
_ADDED = frozenset({"waiting", "running"})
_KEY = Key("")


class Place(msgspec.Struct):
    """A model at one server of one host.

    ``wide`` are outcomes told for the whole server only. ``served`` is False for a name that was
    asked for and is none of the models that the server's record names.
    """

    agent: str
    key: ModelKey
    newest_ns: int
    told: Told
    wide: tuple[str, ...] = ()
    served: bool = True


class Tellable(msgspec.Struct, frozen=True):
    """What a kind of server can tell: outcomes in a layer, and in words what it cannot."""

    known: bool
    outcomes: frozenset[str]
    blind: tuple[str, ...]


@cache
def tellable(server: str, layer: str) -> Tellable:
    """Return what a kind of server can tell; of one that is not known, nothing is."""
    try:
        found = adapter(server)
    except KeyError:
        return Tellable(False, frozenset(), ())
    # Blind while a metric is not there: only a series that came proves that it is.
    doubtful = {one.about for one in found.blind if one.missing or one.present}
    outcomes = {
        rule.set[OUTCOME]
        for rule in found.rules
        if rule.name == REQUESTS and (rule.layer or found.layer) == layer
    }
    words = tuple(f"{one.about}: {one.text}" for one in found.blind)
    return Tellable(True, frozenset(outcomes - doubtful), words)


def merged(places: Sequence[Place]) -> list[Place]:
    """Give what is told of a whole server or of a model anywhere to the places that it is of.

    A value without a layer, or without the version that others have, is of all places that have the
    rest of its words. Outcomes of a server that names no model in them are its only model's; where
    there are several they stay apart. A model of which nothing but its drift is told has a place
    of its own.
    """
    by_agent: dict[str, list[Place]] = {}
    for one in places:
        by_agent.setdefault(one.agent, []).append(one)
    return [one for some in by_agent.values() for one in _merged(some)]


def _merged(places: list[Place]) -> list[Place]:
    parts = _parts(places)
    if not parts and all(one.key.model for one in places):
        return places
    of_others = {id(one) for one in parts}
    whole = [one for one in places if id(one) not in of_others]
    found = list(whole)
    there: dict[str, list[Place]] = {}
    for one in whole:
        there.setdefault(one.key.endpoint, []).append(one)
    for part in parts:
        near = there.get(part.key.endpoint, []) if part.key.endpoint else whole
        fits = [one for one in near if _is_of(part.key, one.key)]
        for one in fits:
            one.told = msgspec.structs.replace(one.told, gauges=part.told.gauges | one.told.gauges)
        if not fits and (part.key.endpoint or part.key.model):
            found.append(part)
    return _named(found)


def _parts(places: list[Place]) -> list[Place]:
    """Return what is told of others: without a layer, or levels without the version others have."""
    versioned = {_unversioned(one.key) for one in places if one.key.version}
    return [
        one
        for one in places
        if not one.key.layer
        or (
            not one.key.version
            and not (one.told.seen or one.told.buckets)
            and _unversioned(one.key) in versioned
        )
    ]


def _unversioned(key: ModelKey) -> ModelKey:
    return msgspec.structs.replace(key, version="")


def _is_of(part: ModelKey, whole: ModelKey) -> bool:
    pairs = zip(msgspec.structs.astuple(part), msgspec.structs.astuple(whole), strict=True)
    return all(not mine or mine == theirs for mine, theirs in pairs)


def _named(places: list[Place]) -> list[Place]:
    """Put what a server tells without a model to its model."""
    models: dict[tuple[str, str, str], list[Place]] = {}
    for one in places:
        if one.key.model and one.served:
            spot = one.key.endpoint, one.key.server, one.key.layer
            models.setdefault(spot, []).append(one)
    kept = []
    for one in places:
        siblings = models.get((one.key.endpoint, one.key.server, one.key.layer), [])
        if one.key.model or not siblings:
            kept.append(one)
            continue
        if len(siblings) == 1:
            siblings[0].told = _added([siblings[0].told, one.told])
            continue
        for sibling in siblings:
            sibling.wide = tuple(what for what in one.told.seen if what in OUTCOMES)
        kept.append(one)
    return kept


def _added(some: Sequence[Told]) -> Told:
    """Add what several places told."""
    first = some[0]
    if len(some) == 1:
        return first
    gains: dict[str, float] = {}
    gauges: dict[str, float] = {}
    buckets: dict[str, Buckets] = {}
    seen: set[str] = set()
    line: list[float | None] = [None] * LINE
    for one in some:
        seen.update(one.seen)
        for what, gain in one.gains.items():
            gains[what] = gains.get(what, 0.0) + gain
        for word, own in one.buckets.items():
            buckets[word] = own if word not in buckets else buckets[word].plus(own)
        for word, value in one.gauges.items():
            gauges[word] = value if word not in gauges else _worse(word, gauges[word], value)
        for at, ended in enumerate(one.line):
            if ended is not None:
                line[at] = ended + (line[at] or 0.0)
    covered_s = max(one.covered_s for one in some)
    return Told(
        max(one.end_ns for one in some), covered_s, gains, tuple(sorted(seen)), gauges, buckets,
        tuple(line),
    )  # fmt: skip


def _worse(word: str, a: float, b: float) -> float:
    if word in _ADDED:
        return a + b
    return max(a, b) if word in LARGEST.values() else min(a, b)


def figures(places: Sequence[Place]) -> ModelFigures:
    """Return what places of one model, server and layer told together; none may be."""
    if not places:
        return _NOTHING
    key = places[0].key
    told = _added([one.told for one in places])
    can = tellable(key.server, key.layer)
    seen = {what for what in told.seen if what in OUTCOMES}
    wide = set().union(*(one.wide for one in places)) - seen
    timed = not seen and "duration" in told.buckets
    # Requests that were timed and not counted ended in ways that nobody knows.
    told_of = seen if timed else seen | (can.outcomes - wide)
    gained: dict[str, float] = {
        what: told.gains.get(what, 0.0) for what in OUTCOMES if what in seen
    }
    all_gained = sum(gained.values())
    asked = requests(told.gains)
    errors, errors_told = _errors(gained, all_gained, told_of, wide)
    gauges = told.gauges
    return ModelFigures(
        rate=asked / told.covered_s if seen or timed or can.outcomes else None,
        timed=timed,
        errors=errors,
        errors_told=errors_told,
        untold=tuple(what for what in ERRORS[:3] if what not in told_of)
        if "failed" not in seen
        else (),
        outcomes={what: gain / told.covered_s for what, gain in gained.items()},
        ttft=_quantiles(told.buckets.get("ttft")),
        duration=_quantiles(told.buckets.get("duration")),
        waiting=gauges.get("waiting"),
        running=gauges.get("running"),
        kv=gauges.get("kv"),
        tokens_in=_per_second(told, "input"),
        tokens_out=_per_second(told, "output"),
        drift=gauges.get("drift"),
        burn=gauges.get("burn"),
        budget=gauges.get("budget"),
        line=[None if value is None else round(value / 60, 4) for value in told.line],
    )


def _errors(
    gained: dict[str, float], total: float, told_of: Iterable[str], wide: set[str]
) -> tuple[float | None, ErrorsTold]:
    if not any(what in ERRORS for what in told_of):
        return None, "server" if wide.intersection(ERRORS) else "no"
    if not total:
        return None, "yes"
    return sum(gained.get(what, 0.0) for what in ERRORS) / total, "yes"


def _per_second(told: Told, what: str) -> float | None:
    return told.gains.get(what, 0.0) / told.covered_s if what in told.seen else None


def _quantiles(buckets: Buckets | None) -> Quantiles | None:
    if buckets is None:
        return None
    count = sum(buckets.counts)
    mean = buckets.sum / count if count and buckets.sum is not None else None
    if not count or not buckets.bounds:
        return None if mean is None else Quantiles(None, "", None, "", mean, count)
    change = HistogramChange(_KEY, buckets.bounds, buckets.counts, 0.0, count, 0.0)
    p50, p95 = change.quantile(0.5), change.quantile(0.95)
    return Quantiles(p50.value, p50.sense, p95.value, p95.sense, mean, count)


_NOTHING = ModelFigures(
    None, False, None, "no", (), {}, None, None, None, None, None, None, None, None, None, None,
    [None] * LINE,
)  # fmt: skip
