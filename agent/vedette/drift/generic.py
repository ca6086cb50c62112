"""Read inferences from lines of JSON of one's own making: by paths, or by what fields are called.

Paths are dotted (``output.class``). Where none are given they are learned from the first lines: a
field that is called like a prediction is one, the mapping or list under ``features``, ``inputs`` or
the like is what was asked; where there is none, all that is left is, but for what any log has
(times, levels, hosts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from vedette.drift.rows import Row, flat, into

__all__ = ["FieldsConfig", "Generic", "learned"]

#: What fields are called, the surest name first.
NAMES: dict[str, list[str]] = {
    "prediction": [
        "prediction",
        "predicted",
        "predicted_class",
        "predicted_label",
        "predicted_value",
        "pred",
        "y_pred",
        "y_hat",
        "output",
        "result",
        "decision",
    ],
    "score": [
        "score",
        "probability",
        "proba",
        "prob",
        "confidence",
        "predicted_probability",
        "prediction_score",
        "y_score",
    ],
    "label": ["label", "y_true", "ground_truth", "target", "actual", "truth", "outcome"],
    "id": [
        "id",
        "request_id",
        "inference_id",
        "prediction_id",
        "event_id",
        "correlation_id",
        "transaction_id",
        "uuid",
        "trace_id",
    ],
    "model": ["model", "model_name", "model_id"],
    "features": [
        "features",
        "feature_values",
        "inputs",
        "input",
        "instance",
        "request",
        "x",
        "data",
        "payload",
    ],
}
#: What any log has, and is nothing that a model was asked.
ANY_LOG = frozenset(
    [
        "time",
        "timestamp",
        "ts",
        "@timestamp",
        "datetime",
        "date",
        "level",
        "severity",
        "logger",
        "logger_name",
        "msg",
        "message",
        "event",
        "host",
        "hostname",
        "pid",
        "thread",
        "service",
        "env",
        "environment",
        "version",
        "model_version",
        "latency",
        "latency_ms",
        "latency_s",
        "duration",
        "duration_ms",
        "duration_s",
        "elapsed",
        "span_id",
        "user_agent",
        "client",
        "ip",
        "status",
        "status_code",
    ]
)
#: Where a name may lie: at the top, or in one of these.
_WITHIN = ("", "response", "output", "outputs", "request", "data", "result", "metadata", "meta")


class FieldsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things are in a line."""

    features: Annotated[
        tuple[str, ...],
        Meta(description="What the model was asked: one path of a mapping or list, or one each."),
    ] = ()
    prediction: Annotated[str, Meta(description="What it answered: a class or a number.")] = ""
    score: Annotated[
        str, Meta(description="How sure it was: the probability of true, or of what it chose.")
    ] = ""
    label: Annotated[str, Meta(description="What proved true, here or in a later line.")] = ""
    id: Annotated[
        str, Meta(description="Which inference it is; by it later labels are joined.")
    ] = ""
    model: Annotated[str, Meta(description="Which model it was.")] = ""

    @property
    def given(self) -> bool:
        """Whether anything is."""
        return any(getattr(self, name) for name in self.__struct_fields__)


class Generic:
    """Take rows out of objects, all the same way."""

    def __init__(self, fields: FieldsConfig) -> None:
        self.fields = fields
        self._prediction = _getter(fields.prediction)
        self._score = _getter(fields.score)
        self._label = _getter(fields.label)
        self._id = _getter(fields.id)
        self._model = _getter(fields.model)
        self._own = {
            path.partition(".")[0]
            for path in (fields.prediction, fields.score, fields.label, fields.id, fields.model)
            if path
        }
        one = len(fields.features) == 1
        self._whole = _getter(fields.features[0]) if one else None
        self._name = fields.features[0].rpartition(".")[2] if one else ""
        self._each = [] if one else [(path, _getter(path)) for path in fields.features]

    def row(self, line: dict[str, Any]) -> Row | None:
        """Return what a line tells; None when nothing of it is an inference."""
        asked = self._asked(line)
        prediction, score, label = self._prediction(line), self._score(line), self._label(line)
        if not asked and prediction is None and score is None and label is None:
            return None
        id_, model = self._id(line), self._model(line)
        if isinstance(prediction, list | dict):
            prediction, score = answer_of(prediction, score)
        return Row(
            model=model if isinstance(model, str) else "" if model is None else str(model),
            id="" if id_ is None else str(id_),
            fields=asked,
            prediction=prediction,
            score=as_score(score),
            label=None if isinstance(label, list | dict) else label,
            part="label" if label is not None and not asked and prediction is None else "",
        )

    def _asked(self, line: dict[str, Any]) -> dict[str, Any]:
        if self._whole is not None:
            value = self._whole(line)
            if isinstance(value, dict):
                return flat(value)
            found: dict[str, Any] = {}
            if value is not None:
                into(found, self._name, value)
            return found
        if self._each:
            found = {}
            for path, get in self._each:
                value = get(line)
                if value is not None:
                    into(found, path, value)
            return found
        return flat(
            {
                name: value
                for name, value in line.items()
                if name not in self._own and name not in ANY_LOG
            }
        )


def learned(lines: Sequence[Mapping[str, Any]]) -> FieldsConfig:
    """Return where things seem to be, by the names in some lines."""
    tops = [one for one in lines if isinstance(one, dict)]
    found = {
        role: next(_paths(tops, names), "") for role, names in NAMES.items() if role != "features"
    }
    features = next(
        (
            path
            for path in _paths(tops, NAMES["features"], within=("", "request"))
            if any(isinstance(_at(one, path.split(".")), dict | list) for one in tops)
        ),
        "",
    )
    return FieldsConfig((features,) if features else (), **found)


def answer_of(prediction: Any, score: Any = None) -> tuple[Any, Any]:
    """Return what was chosen and how surely, of probabilities of classes or an answer in parts."""
    if isinstance(prediction, dict):
        names = {name.lower(): value for name, value in prediction.items()}
        chosen = next((names[one] for one in NAMES["prediction"] if one in names), None)
        if chosen is None:
            chosen = next((names[one] for one in ("class", "label", "value") if one in names), None)
        if score is None:
            score = next((names[one] for one in NAMES["score"] if one in names), None)
        if isinstance(chosen, list | dict):
            return None, score
        return chosen, score
    numbers = [one for one in prediction if isinstance(one, float | int)]
    if len(numbers) != len(prediction) or not numbers:
        return None, score
    if len(numbers) == 1:
        return numbers[0], score
    at = max(range(len(numbers)), key=numbers.__getitem__)
    if len(numbers) > 1024 or min(numbers) < 0 or abs(sum(numbers) - 1) > 0.01:
        return at, score  # logits: which is told, not how surely
    # Of two classes the score is that the second is true, so that it can be judged as one.
    return at, numbers[1] if len(numbers) == 2 else numbers[at]


def as_score(value: Any) -> float | None:
    """Return a score that is a number; None for another."""
    if type(value) is float:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53:
        return float(value)
    if isinstance(value, list):
        return as_score(answer_of(value)[1])
    return None


def _paths(
    lines: Iterable[Mapping[str, Any]], names: Sequence[str], within: Sequence[str] = _WITHIN
) -> Iterator[str]:
    """Yield the paths under which something has one of these names."""
    some = list(lines)
    for outer in within:
        for name in names:
            path = f"{outer}.{name}" if outer else name
            if any(_at(one, path.split(".")) is not None for one in some):
                yield path


def _at(line: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if not isinstance(line, dict):
            return None
        line = line.get(part)
    return line


def _getter(path: str) -> Callable[[dict[str, Any]], Any]:
    if not path:
        return lambda line: None
    if "." not in path:
        return lambda line: line.get(path)
    parts = path.split(".")
    return lambda line: line[path] if path in line else _at(line, parts)
