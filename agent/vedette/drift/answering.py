"""Answer what a person asks of the running collector: which models, what they came to, a baseline.

A baseline is answered as the states of its pieces, by which ``vedette baseline build --from-agent``
makes the same file as from logs: names of categories are in it, as they are in the file.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from vedette.drift.sketch import ModelSketch, ModelState
from vedette.drift.watching import ModelWatch

__all__ = ["answer", "pieces_of"]

_NS = 1_000_000_000
#: An answer of the control socket has to be smaller.
BYTES_MAX = 32 << 20


def answer(
    watches: Mapping[str, ModelWatch],
    question: str,
    arguments: Mapping[str, Any],
    what: Mapping[str, Any],
    now_ns: int,
) -> Mapping[str, Any]:
    """Return the answer; raises ``LookupError`` for what nobody can answer."""
    if question == "models":
        shown: dict[str, Any] = msgspec.to_builtins(dict(what))
        return {**shown, "models": [_shown(one) for one in watches.values()]}
    if question == "baseline":
        last_s = float(arguments.get("last_s") or 86_400)
        wanted = str(arguments.get("model") or "")
        pieces = {
            model: [one.state() for one in watch.pieces(now_ns - round(last_s * _NS))]
            for model, watch in watches.items()
            if not wanted or model == wanted
        }
        data = zlib.compress(msgspec.msgpack.encode(pieces))
        if len(data) > BYTES_MAX:
            raise LookupError(f"inference_log: {len(data)} bytes are too many; ask for less time")
        return {"pieces": base64.b64encode(data).decode("ascii")}
    raise LookupError(
        f"inference_log: nobody can answer {question!r}; models and baseline can be asked"
    )


def pieces_of(text: str) -> dict[str, list[ModelSketch]]:
    """Return the pieces of an answer; raises ``ValueError`` for what is none."""
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        found = msgspec.msgpack.decode(data, type=dict[str, list[ModelState]])
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"no pieces of a baseline: {error}") from None
    return {model: [ModelSketch.of_state(one) for one in states] for model, states in found.items()}


def _shown(watch: ModelWatch) -> Mapping[str, Any]:
    verdict = watch.verdict
    return {
        "model": watch.model,
        "inferences": watch.total,
        "labels": watch.labels,
        "baseline": watch.base.records if watch.base is not None else 0,
        "learning": watch.learning,
        "hours": len(watch.hours),
        "drifted": [
            {"field": one.field, "strength": one.strength, "text": one.differences[0].text}
            for one in (verdict.drifted if verdict is not None else ())
        ],
        "quality": {one.measure: one.now for one in (verdict.quality if verdict else ())},
        "window": verdict.records if verdict is not None else 0,
    }
