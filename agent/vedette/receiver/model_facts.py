"""Read what a request tells of model servers: figures of the models table, and who they are. Pure.

An agent names each value by where the server's page is, the server, who counted it (the layer),
model and version; a value that lacks some of these is of all that have the rest. What is kept is
what the models page shows of the last minutes; the charts read the stored bodies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from vedette.receiver.batch import Buckets, Count, ModelKey, ModelReading, ModelServer
from vedette.receiver.limits import (
    BOUNDS_MAX,
    KEY_MAX,
    MODEL_COUNTS_MAX,
    MODEL_FACTS_BYTES_MAX,
    MODEL_FACTS_MAX,
    MODELS_MAX,
    clip,
)
from vedette.receiver.untrusted import attributes, distinct, integer_of, text_of
from vedette.serving.vocabulary import (
    ENDPOINT,
    LAYER,
    MODEL,
    OUTCOME,
    OUTCOMES,
    SERVER,
    TOKEN,
    VERSION,
)

RECORD = "vedette.model.server"
REQUESTS = "vedette.model.requests"
TOKENS = "vedette.model.tokens"
#: What a value is kept as, by its metric. Of several values with one name the ``largest`` or the
#: ``least`` counts: engines, windows of an objective.
LARGEST = {
    "vedette.model.requests.waiting": "waiting",
    "vedette.model.requests.running": "running",
    "vedette.model.kv_cache.utilization": "kv",
    "vedette.model.slo.burn_rate": "burn",
    "vedette.model.drift.strength": "drift",
}
LEAST = {"vedette.model.slo.budget.left": "budget", "vedette.model.server.up": "up"}
DISTRIBUTIONS = {
    "gen_ai.server.time_to_first_token": "ttft",
    "gen_ai.server.request.duration": "duration",
    "vedette.model.request.duration": "duration",
}
#: The metrics that are looked at.
METRICS = frozenset({REQUESTS, TOKENS, *LARGEST, *LEAST, *DISTRIBUTIONS})
_PLACE = (ENDPOINT, SERVER, LAYER, MODEL, VERSION)
_NO_RECORDED_VALUE = 1


class ModelFacts:
    """The readings of one request, by (model, window end)."""

    def __init__(self) -> None:
        self.readings: dict[tuple[ModelKey, int], ModelReading] = {}

    def take(self, metric: Any, points: Sequence[Any], oldest_ns: int, newest_ns: int) -> None:
        """Take in the points of one metric of ``METRICS`` that are in time."""
        kind = metric.WhichOneof("data")
        for point in points:
            if not oldest_ns <= point.time_unix_nano <= newest_ns:
                continue
            values = {key: text_of(value) for key, value in attributes(point.attributes).items()}
            reading = self._reading(values, point.time_unix_nano)
            if reading is None:
                return
            if metric.name in DISTRIBUTIONS:
                if kind == "histogram":
                    _take_buckets(reading, DISTRIBUTIONS[metric.name], point)
            elif kind in ("gauge", "sum"):
                _take_number(reading, metric.name, values, point)

    def _reading(self, values: dict[str, str], end_ns: int) -> ModelReading | None:
        key = ModelKey(*(distinct(values.pop(name, ""), KEY_MAX) for name in _PLACE))
        found = self.readings.get((key, end_ns))
        if found is None and len(self.readings) < MODELS_MAX:
            found = self.readings[key, end_ns] = ModelReading(key, end_ns)
        return found


def _take_number(reading: ModelReading, name: str, values: dict[str, str], point: Any) -> None:
    gone = bool(point.flags & _NO_RECORDED_VALUE)
    value = float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)
    if not gone and not math.isfinite(value):
        return
    if name in (REQUESTS, TOKENS):
        what = _counted(name, values)
        if what and not gone and len(reading.counts) < MODEL_COUNTS_MAX:
            series = distinct(f"{what}\0" + "\0".join(sorted(values.values())), KEY_MAX)
            reading.counts[series] = Count(what, point.start_time_unix_nano, value)
        return
    word = LARGEST.get(name) or LEAST[name]
    before = reading.gauges.get(word)
    if gone:
        reading.gauges.setdefault(word, None)
    elif before is None:
        reading.gauges[word] = value
    else:
        reading.gauges[word] = max(before, value) if name in LARGEST else min(before, value)


def _counted(name: str, values: dict[str, str]) -> str:
    if name == TOKENS:
        kind = values.get(TOKEN, "")
        return kind if kind in ("input", "output") else ""
    outcome = values.get(OUTCOME, "")
    return outcome if outcome in OUTCOMES else ""


def _take_buckets(reading: ModelReading, word: str, point: Any) -> None:
    bounds, counts = tuple(point.explicit_bounds), tuple(map(float, point.bucket_counts))
    if len(bounds) > BOUNDS_MAX or len(counts) != len(bounds) + 1:
        return
    rising = all(a < b for a, b in pairwise(bounds))
    if not rising or not all(map(math.isfinite, bounds)):
        return
    total = float(point.sum) if point.HasField("sum") else math.nan
    own = Buckets(bounds, counts, total if math.isfinite(total) else None)
    before = reading.buckets.get(word)
    reading.buckets[word] = own if before is None else before.plus(own)


def model_server(time_ns: int, body: str, values: dict[str, Any]) -> ModelServer | None:
    """Read the record of one model server; None when it does not say where it is.

    All that it says is kept, also what this release has never heard of, within bounds.
    """
    endpoint = distinct(text_of(values.get(ENDPOINT)), KEY_MAX)
    if not endpoint:
        return None
    facts: dict[str, Any] = {}
    size = 0
    for key, value in values.items():
        if key in (ENDPOINT, "vedette.event", "log.record.uid") or not key:
            continue
        kept = _plain(value)
        size += len(key) + len(repr(kept))
        if kept in ("", [], {}, None):
            continue
        if len(facts) >= MODEL_FACTS_MAX or size > MODEL_FACTS_BYTES_MAX:
            break
        facts[clip(key, KEY_MAX)] = kept
    return ModelServer(
        time_ns,
        endpoint,
        distinct(text_of(values.get(SERVER)), KEY_MAX),
        clip(body, KEY_MAX),
        integer_of(values.get("vedette.model.since")) or 0,
        facts,
    )


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value as it can be kept as JSON: texts cut, lists and mappings bounded."""
    if isinstance(value, str):
        return clip(value, KEY_MAX)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= 4:
        return None
    if isinstance(value, dict):
        some = list(value.items())[:MODEL_FACTS_MAX]
        return {clip(key, KEY_MAX): _plain(item, depth + 1) for key, item in some}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value[:MODEL_FACTS_MAX]]
    return None
