"""Made-up models of a fleet, in the receiver's own types; some of them hostile."""

from __future__ import annotations

from typing import Any

import msgspec
from made_up import MINUTE

from vedette.receiver.model_views import (
    EventView,
    HappenedAnswer,
    InstanceView,
    ModelAnswer,
    ModelFigures,
    ModelsAnswer,
    ModelView,
    Quantiles,
    ServerFacts,
)
from vedette.receiver.views import Open

Json = dict[str, Any]

HOSTILE_MODEL = '</script><script>window.hacked=8</script>/../"\u202e%2F?x=1#'
HOSTILE_FACT = "<img src=x onerror=window.hacked=9>"
NOTHING = ModelFigures(
    None, False, None, "no", (), {}, None, None, None, None, None, None, None, None, None, None,
    [None] * 30,
)  # fmt: skip
LLAMA = msgspec.structs.replace(
    NOTHING,
    rate=12.4,
    errors=0.062,
    errors_told="yes",
    untold=("timeout",),
    outcomes={"ok": 11.6, "server_error": 0.8},
    ttft=Quantiles(0.1, "at most", 0.42, "about", 0.2, 3700),
    duration=Quantiles(1.4, "about", 5.0, "at least", 1.9, 3700),
    waiting=7.0,
    running=16.0,
    kv=0.91,
    tokens_in=8_200.0,
    tokens_out=1_450.0,
    drift=0.31,
    burn=3.2,
    budget=0.18,
    line=[None] * 8 + [10.0 + i % 4 for i in range(22)],
)
#: Model, version, server, layer, names, hosts, down, figures.
ROWS: tuple[tuple[Any, ...], ...] = (
    ("llama-3.1-8b", "", "vllm", "engine", (), 3, 1, LLAMA),
    ("llama-3.1-8b", "", "litellm", "gateway", (), 1, 0, msgspec.structs.replace(LLAMA, kv=None)),
    (HOSTILE_MODEL, HOSTILE_FACT, HOSTILE_FACT, "engine", (HOSTILE_FACT,), 1, 0, NOTHING),
    ("", "", "litserve", "engine", (HOSTILE_MODEL,), 1, 0, NOTHING),
    *((f"model-{i:02d}", "3", "triton", "engine", (), 1, 0, NOTHING) for i in range(30)),
)
MISSING_LAYER = ("", "", "ollama", "", (), 1, 0, NOTHING)


def _view(now: int, row: tuple[Any, ...]) -> ModelView:
    model, version, server, layer, names, hosts, down, figures = row
    return ModelView(
        model=model,
        version=version,
        server=server,
        layer=layer,
        names=names,
        releases=("0.10.2",) if server == "vllm" else (),
        hosts=hosts,
        endpoints=hosts,
        silent=0,
        up=hosts - down,
        down=down,
        served=True,
        since_ms=now - 31 * MINUTE,
        newest_ms=now,
        open=Open(critical=down),
        figures=figures,
    )


def models_answer(now: int, query: dict[str, str]) -> Json:
    """Return the answer to ``/api/v1/models``."""
    words = query.get("text", "").casefold().split()
    rows = [_view(now, row) for row in (*ROWS, MISSING_LAYER)]
    found = [one for one in rows if all(word in one.model.casefold() for word in words)]
    limit = int(query.get("limit", "300"))
    columns = ("ttft", "kv", "tokens_out", "drift", "burn", "budget")
    answer = ModelsAnswer(now, 300, 60, len(found), columns, (), found[:limit])
    return _json(answer)


def model_answer(now: int, query: dict[str, str], agent: str, incidents: list[Json]) -> Json | None:
    """Return the answer to ``/api/v1/model``."""
    rows = [row for row in ROWS if row[0] == query.get("name", "")]
    if not rows:
        return None
    facts = {
        "vedette.model.names": [query.get("name", "")],
        "vedette.model.version": "0.10.2",
        "vedette.model.unit": HOSTILE_FACT,
        "vedette.model.files": [
            {"path": HOSTILE_FACT, "size": 16_060_522_496, "sha256": "5f" * 32}
        ],
        HOSTILE_FACT: {HOSTILE_FACT: [HOSTILE_FACT] * 40},
        "vedette.model.context.length": 131_072,
        "vedette.model.quantised": True,
    }
    told = ServerFacts(now - MINUTE, HOSTILE_FACT, now - 31 * MINUTE, facts, (HOSTILE_FACT,))
    places = [
        InstanceView(
            agent, "gpu-01", False, "127.0.0.1:8000", row[2], row[3], row[0], row[1], True, True,
            now, Open(), row[7], told,
        )
        for row in rows
    ]  # fmt: skip
    events = [
        EventView(now - at * MINUTE, agent, "gpu-01", "model", "127.0.0.1:8000", text)
        for at, text in ((4, HOSTILE_FACT), (31, "vllm on 127.0.0.1:8000 answers again"))
    ]
    answer = _json(ModelAnswer(now, 300, 60, len(places), places, events, []))
    return {**answer, "incidents": incidents}


def happened_answer(now: int, agent: str, onset: int, other: str) -> Json:
    """Return the answer to ``/api/v1/incidents/AGENT/ID/events``."""
    told = (
        (onset - 40 * MINUTE, "inventory", "", "package openssl is 3.0.15, was 3.0.14"),
        (onset - 70_000, "model", "127.0.0.1:8000", f"vllm on {HOSTILE_FACT} answers again"),
        (onset + 20_000, "incident", other, f"Disk {HOSTILE_FACT} is busy"),
    )
    events = [EventView(at, agent, "db", kind, place, text) for at, kind, place, text in told]
    return _json(HappenedAnswer(now, onset - 60 * MINUTE, onset + 10 * MINUTE, events, 2))


def _json(answer: Any) -> Json:
    found: Json = msgspec.json.decode(msgspec.json.encode(answer))
    return found
