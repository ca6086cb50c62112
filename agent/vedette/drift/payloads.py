"""Read inferences from what KServe's and Seldon's loggers write: requests and responses.

CloudEvents in JSON, of the types ``org.kubeflow.serving.inference.request`` and ``.response``
(Seldon: ``io.seldon.serving.inference.*``), with attributes as members or, as an HTTP header would
have them, with ``ce-`` before their names. ``data`` is a payload of the protocol V1 (``instances``,
``predictions``), V2 (tensors in ``inputs`` and ``outputs``, row by row) or Seldon's own
(``ndarray`` or ``tensor``); as a member, as text, or as base64. A payload without its event, or
both of them under ``request`` and ``response`` of one line, are read as well. Sources: KServe's
documentation of the inference logger, Open Inference Protocol V2, Seldon Core's of its payload
logger.

A request of many instances is as many rows, with the id and their number.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from vedette.drift.generic import answer_of, as_score
from vedette.drift.rows import SCALARS, Row, flat, into

__all__ = ["PayloadError", "event_rows", "is_event", "is_payload", "payload_rows"]

#: Rows of one request that are read.
ROWS_MAX = 4_096
_TYPES = ("inference.request", "inference.response")
#: Where an event names its model, the surest first.
_MODEL = ("inferenceservicename", "modelid", "model", "endpoint", "sdepname")


class PayloadError(ValueError):
    """A payload cannot be read; the text is of a few fixed ones."""


def is_event(line: Mapping[str, Any]) -> bool:
    """Say whether a line is a CloudEvent."""
    return "specversion" in line or "ce-type" in line or "ce-specversion" in line


def is_payload(value: Any) -> bool:
    """Say whether this is a request or a response of a protocol of inference."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("instances"), list) or isinstance(value.get("predictions"), list):
        return True
    tensors = value.get("inputs") or value.get("outputs")
    if isinstance(tensors, list) and tensors:
        return isinstance(tensors[0], dict) and "shape" in tensors[0]
    data = value.get("data")
    return isinstance(data, dict) and ("ndarray" in data or "tensor" in data)


def event_rows(line: Mapping[str, Any]) -> list[Row]:
    """Return the rows of an event; none of one that is about something else."""
    facts = {str(key).lower().removeprefix("ce-"): value for key, value in line.items()}
    kind = str(facts.get("type", ""))
    if not kind.endswith(_TYPES):
        return []
    model = next((str(facts[name]) for name in _MODEL if facts.get(name)), "")
    part = "request" if kind.endswith("request") else "response"
    return payload_rows(_data(facts), model, str(facts.get("id", "")), part)


def payload_rows(payload: Any, model: str, id_: str, part: str) -> list[Row]:
    """Return a row for each instance; raises ``PayloadError`` for what is no payload."""
    if not isinstance(payload, dict):
        raise PayloadError("no payload")
    model = model or str(payload.get("model_name") or "")
    id_ = id_ or str(payload.get("id") or "")
    if "instances" in payload or ("inputs" in payload and not is_payload(payload)):
        asked = [_instance(one) for one in _listed(payload.get("instances", payload.get("inputs")))]
    elif "inputs" in payload:
        asked = _tensors(payload["inputs"])
    elif "predictions" in payload:
        return _answers(_listed(payload["predictions"]), model, id_, part)
    elif "outputs" in payload:
        return _outputs(_tensors(payload["outputs"]), model, id_, part)
    elif isinstance(payload.get("data"), dict):
        rows = _seldon(payload["data"])
        if part == "response":
            return _answers([list(one.values()) for one in rows], model, id_, part)
        asked = rows
    else:
        raise PayloadError("no payload")
    many = len(asked) > 1
    return [
        Row(model, f"{id_}/{at}" if many and id_ else id_, one, part=part)
        for at, one in enumerate(asked)
    ]


def _data(facts: Mapping[str, Any]) -> Any:
    data = facts.get("data", facts.get("body"))
    encoded = facts.get("data_base64")
    try:
        if data is None and isinstance(encoded, str):
            return msgspec.json.decode(base64.b64decode(encoded, validate=True))
        return msgspec.json.decode(data) if isinstance(data, str) else data
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PayloadError("data is no JSON") from None


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise PayloadError("no list of instances")
    return value[:ROWS_MAX]


def _instance(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return flat(value)
    found: dict[str, Any] = {}
    into(found, "x", value)
    return found


def _answers(predictions: list[Any], model: str, id_: str, part: str) -> list[Row]:
    many = len(predictions) > 1
    rows = []
    for at, one in enumerate(predictions):
        score = None
        if isinstance(one, list | dict):
            one, score = answer_of(one)
        own = f"{id_}/{at}" if many and id_ else id_
        rows.append(Row(model, own, prediction=one, score=as_score(score), part=part))
    return rows


def _outputs(outputs: list[dict[str, Any]], model: str, id_: str, part: str) -> list[Row]:
    """Return what tensors say was answered: a class, a number, or probabilities of classes."""
    many = len(outputs) > 1
    rows = []
    for at, one in enumerate(outputs):
        values = list(one.values())
        prediction, score = (values[0], None) if len(values) == 1 else answer_of(one)
        if prediction is None and len(values) > 1:
            prediction, score = answer_of(values)
        own = f"{id_}/{at}" if many and id_ else id_
        rows.append(Row(model, own, prediction=prediction, score=as_score(score), part=part))
    return rows


def _tensors(tensors: Any) -> list[dict[str, Any]]:
    """Return tensors row by row; those that are of one row for all are left out."""
    rows: list[dict[str, Any]] = []
    for tensor in _listed(tensors):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("data"), list):
            raise PayloadError("a tensor without data")
        name, shape = str(tensor.get("name", "x")), tensor.get("shape")
        if not isinstance(shape, list) or not all(type(one) is int and one >= 0 for one in shape):
            raise PayloadError("a tensor without a shape")
        count = shape[0] if shape else 1
        if not 0 < count <= ROWS_MAX:
            raise PayloadError("a tensor with too many rows")
        data = tensor["data"]
        if len(data) != count or SCALARS.issuperset(map(type, data)):
            wide, rest = divmod(len(data), count)
            if rest:
                raise PayloadError("a tensor whose data does not fit its shape")
            data = (
                data if wide == 1 else [data[at * wide : at * wide + wide] for at in range(count)]
            )
        rows = rows or [{} for _ in range(count)]
        if len(rows) == count:
            for row, value in zip(rows, data, strict=True):
                single = isinstance(value, list) and len(value) == 1
                into(row, name, value[0] if single else value)
    return rows


def _seldon(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = data.get("names") or []
    values = data.get("ndarray")
    tensor = data.get("tensor")
    if isinstance(tensor, dict):
        rows = _tensors([{"name": "x", "shape": tensor.get("shape"), "data": tensor.get("values")}])
        values = [list(one.values()) for one in rows]
    found = []
    for one in _listed(values):
        if isinstance(one, list) and isinstance(names, list) and len(names) == len(one):
            row: dict[str, Any] = {}
            for name, value in zip(names, one, strict=True):
                into(row, str(name), value)
            found.append(row)
        else:
            found.append(_instance(one))
    return found
