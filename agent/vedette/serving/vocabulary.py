"""Name what model servers tell, once for all of them.

OpenTelemetry's GenAI names where there are any (three, all of Development status), what the model
server protocol of the Gateway API Inference Extension means under names of ours (it fixes meanings,
not names), and names of ours in the same style for the rest. A rename upstream is one line here.

**Layers.** A request that passes a gateway and a router to an engine is counted by each of them.
Every value says in ``vedette.model.layer`` who counted it. Counts may be added within a layer and
never across; how much a host serves is told by the outermost layer seen (``outermost``), how the
engine fares by the engine's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from vedette.api import Instrument, counter, gauge, histogram, updown

Layer = Literal["gateway", "router", "engine", "device"]
Origin = Literal["otel", "gie", "vedette"]
#: How series with the same attributes become one value.
Combine = Literal["add", "largest"]
Outcome = Literal["ok", "client_error", "server_error", "rejected", "timeout", "aborted", "failed"]

#: From the outside in.
LAYERS: tuple[Layer, ...] = ("gateway", "router", "engine", "device")
#: ``failed`` is an error of which the server does not say whose it is.
OUTCOMES: tuple[Outcome, ...] = (
    "ok",
    "client_error",
    "server_error",
    "rejected",
    "timeout",
    "aborted",
    "failed",
)

#: The signal of which outcomes are made.
REQUESTS = "vedette.model.requests"

MODEL = "gen_ai.request.model"
VERSION = "vedette.model.version"
SERVER = "vedette.model.server"
LAYER = "vedette.model.layer"
#: Where the page came from (``127.0.0.1:8000``); tells two servers of one kind apart.
ENDPOINT = "vedette.model.endpoint"
OUTCOME = "vedette.model.outcome"
ERROR = "error.type"
TOKEN = "gen_ai.token.type"  # noqa: S105 - the name of an attribute
TOKEN_SOURCE = "vedette.token.source"  # noqa: S105
STAGE = "vedette.model.stage"
STATE = "vedette.model.state"
ADAPTER = "vedette.adapter.name"
RESULT = "vedette.model.cache.result"
REASON = "vedette.model.reason"
DEVICE = "hw.id"

#: What every value says of itself, in this order, before what is the signal's own.
COMMON = (ENDPOINT, SERVER, LAYER, MODEL, VERSION)

_ALL: frozenset[Layer] = frozenset({"gateway", "router", "engine"})
_ENGINE: frozenset[Layer] = frozenset({"engine"})
_DEVICE: frozenset[Layer] = frozenset({"device"})


class Signal(msgspec.Struct, frozen=True):
    """One thing that model servers tell: its instrument, and where the name is from.

    ``gie`` is what the Gateway API Inference Extension's protocol calls it. ``layers`` are those in
    which it means something: a gateway has no KV cache.
    """

    instrument: Instrument
    origin: Origin = "vedette"
    gie: str = ""
    combine: Combine = "add"
    layers: frozenset[Layer] = _ALL

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.instrument.name

    @property
    def counts(self) -> bool:
        """It only grows, so what it gained between two pages is what it tells."""
        return self.instrument.kind in ("counter", "histogram")


def outermost(layers: Iterable[str]) -> str:
    """Return the layer whose requests are those of the host; empty for none."""
    there = set(layers)
    return next((layer for layer in LAYERS if layer in there), "")


def _duration(
    name: str, help: str, *more: str, origin: Origin = "vedette", engine: bool = False
) -> Signal:
    made = histogram(name, "s", help, (*COMMON, *more), resource="model", alarm="high")
    return Signal(made, origin, layers=_ENGINE if engine else _ALL)


def _sizes(name: str, unit: str, help: str, *more: str) -> Signal:
    return Signal(histogram(name, unit, help, (*COMMON, *more), resource="model"))


def _count(
    name: str, unit: str, help: str, *more: str, engine: bool = False, alarmed: bool = False
) -> Signal:
    made = counter(
        name, unit, help, (*COMMON, *more), resource="model", alarm="high" if alarmed else "both"
    )
    return Signal(made, layers=_ENGINE if engine else _ALL)


def _amount(name: str, unit: str, help: str, *more: str, gie: str = "") -> Signal:
    made = updown(name, unit, help, (*COMMON, *more), resource="model")
    return Signal(made, "gie" if gie else "vedette", gie)


def _state(
    name: str, unit: str, help: str, *more: str, gie: str = "", limit: float | None = None
) -> Signal:
    made = gauge(name, unit, help, (*COMMON, *more), resource="model", limit=limit)
    return Signal(made, "gie" if gie else "vedette", gie, "largest", _ENGINE)


def _device(name: str, unit: str, help: str, limit: float | None = None) -> Signal:
    made = gauge(name, unit, help, (*COMMON, DEVICE), resource="gpu", limit=limit)
    return Signal(made, "otel", "", "largest", _DEVICE)


_SIGNALS = (
    # ------------------------------------------------------------ time
    _duration(
        "gen_ai.server.request.duration",
        "Time from a request to the end of its answer, of a generative model.",
        origin="otel",
    ),
    _duration(
        "gen_ai.server.time_to_first_token",
        "Time from a request to the first token of its answer.",
        origin="otel",
    ),
    _duration(
        "gen_ai.server.time_per_output_token",
        "Mean time per token after the first, one value per request.",
        origin="otel",
    ),
    _duration(
        "vedette.model.inter_token.duration",
        "Gap between two tokens, one value per token: long answers weigh more.",
    ),
    _duration(
        "vedette.model.request.duration",
        "Time a request took, of a model that does not generate.",
    ),
    _duration("vedette.model.queue.duration", "Time a request waited before work on it began."),
    _duration(
        "vedette.model.prefill.duration", "Time the input of a request took to read.", engine=True
    ),
    _duration(
        "vedette.model.decode.duration", "Time a request's tokens took to make.", engine=True
    ),
    _duration(
        "vedette.model.compute.duration",
        "Time the model itself worked, without waiting; by stage where there are several.",
        STAGE,
    ),
    _duration("vedette.model.upstream.duration", "Time a gateway waited for who serves the model."),
    _duration("vedette.model.load.duration", "Time a model took to load."),
    # ------------------------------------------------------------ requests
    _count(
        "vedette.model.requests",
        "{request}",
        "Requests that ended, by how.",
        OUTCOME,
        ERROR,
    ),
    _amount(
        "vedette.model.requests.waiting",
        "{request}",
        "Requests that wait for work on them to begin.",
        gie="TotalQueuedRequests",
    ),
    _amount(
        "vedette.model.requests.running",
        "{request}",
        "Requests that are worked on.",
        gie="TotalRunningRequests",
    ),
    _amount(
        "vedette.model.requests.limit", "{request}", "Requests that are worked on at most at once."
    ),
    _count("vedette.model.retries", "{retry}", "Requests tried again elsewhere.", alarmed=True),
    # ------------------------------------------------------------ tokens and batches
    _count(
        "vedette.model.tokens",
        "{token}",
        "Tokens read and made. Where it is told apart, input by whether it was in a cache.",
        TOKEN,
        TOKEN_SOURCE,
    ),
    _sizes("vedette.model.request.tokens", "{token}", "Tokens of one request.", TOKEN),
    _sizes("vedette.model.step.tokens", "{token}", "Tokens of one step of the engine."),
    _sizes("vedette.model.batch.size", "{request}", "Requests (or inputs) worked on as one."),
    # ------------------------------------------------------------ caches and memory
    _state(
        "vedette.model.kv_cache.utilization",
        "1",
        "Share of the KV cache in use; the fullest of several engines.",
        gie="KVCacheUtilization",
        limit=1.0,
    ),
    _state(
        "vedette.model.kv_cache.block.size",
        "{token}",
        "Tokens in a block of the KV cache.",
        gie="BlockSize",
    ),
    _state(
        "vedette.model.kv_cache.block.limit",
        "{block}",
        "Blocks that the KV cache has.",
        gie="NumGPUBlocks",
    ),
    _count(
        "vedette.model.prefix_cache.queries",
        "{token}",
        "Input tokens looked up in the cache of prefixes.",
        engine=True,
    ),
    _count(
        "vedette.model.prefix_cache.hits",
        "{token}",
        "Input tokens that were in the cache of prefixes.",
        engine=True,
    ),
    _state(
        "vedette.model.prefix_cache.hit_ratio",
        "1",
        "Share of hits, of servers that tell no counts; over a time they chose.",
    ),
    _count(
        "vedette.model.cache.lookups",
        "{lookup}",
        "Whole answers looked up in a cache, by result.",
        RESULT,
    ),
    _count(
        "vedette.model.preemptions",
        "{preemption}",
        "Requests pushed out by others, to be done again.",
        engine=True,
        alarmed=True,
    ),
    _count(
        "vedette.model.spec.drafted",
        "{token}",
        "Tokens proposed by speculative decoding.",
        engine=True,
    ),
    _count(
        "vedette.model.spec.accepted",
        "{token}",
        "Proposed tokens that were kept.",
        engine=True,
    ),
    # ------------------------------------------------------------ models and replicas
    _count("vedette.model.loads", "{load}", "Models loaded, by result.", RESULT),
    _count("vedette.model.unloads", "{load}", "Models unloaded."),
    _amount("vedette.model.status", "1", "1 for the state a model or engine is in.", STATE),
    _amount("vedette.model.replicas", "{replica}", "Replicas or workers, by state.", STATE),
    _state(
        "vedette.model.adapter.status",
        "1",
        "1 for an adapter that requests use or wait for.",
        ADAPTER,
        STATE,
        gie="LoRA",
    ),
    # ------------------------------------------------------------ devices
    _device("hw.gpu.utilization", "1", "Share of time the GPU was busy.", 1.0),
    _device("hw.gpu.memory.usage", "By", "Memory of the GPU in use."),
    _device("hw.gpu.clock", "Hz", "Clock of the GPU's processors."),
    _device("hw.temperature", "Cel", "Temperature."),
    _device("hw.power", "W", "Power drawn."),
)

SIGNALS: dict[str, Signal] = {signal.name: signal for signal in _SIGNALS}
INSTRUMENTS: tuple[Instrument, ...] = tuple(signal.instrument for signal in _SIGNALS)
