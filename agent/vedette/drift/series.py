"""The series of drift: what is declared of them, and a verdict as samples and as a record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vedette.api import Instrument, Record, Sample, gauge
from vedette.drift.verdict import STRONGEST, FieldVerdict, ModelVerdict

__all__ = ["FEATURE", "INSTRUMENTS", "MODEL", "OF_PAGES", "of_pages", "record", "samples"]

MODEL, FEATURE, MEASURE = (
    "gen_ai.request.model",
    "vedette.model.feature",
    "vedette.model.measure",
)
_OF_FIELD = (MODEL, FEATURE)


def _of_field(name: str, unit: str, help: str) -> Instrument:
    return gauge(name, unit, help, _OF_FIELD, resource="model", alarm="never")


STRENGTH = gauge(
    "vedette.model.drift.strength",
    "1",
    "How far a field of the last window is from the model's baseline: 1 and more where it has "
    "drifted, in multiples of what matters, as far as it is sure; 20 at most.",
    _OF_FIELD,
    resource="model",
    alarm="never",
    limit=STRONGEST,
)
PSI = _of_field(
    "vedette.model.drift.psi",
    "1",
    "Population stability index of a field in the last window, less what chance makes of it.",
)
MOVED = _of_field(
    "vedette.model.drift.wasserstein",
    "1",
    "How far a value of a field has moved on average, in standard deviations of the baseline.",
)
MISSING = _of_field(
    "vedette.model.drift.missing", "1", "Share of records of the last window without the field."
)
UNKNOWN = _of_field(
    "vedette.model.drift.unknown",
    "1",
    "Share of values of the last window that the baseline has never had: new categories, numbers "
    "out of its range.",
)
FIELDS = gauge(
    "vedette.model.drift.fields",
    "{field}",
    "Fields of the model that have drifted, by the last window.",
    (MODEL,),
    resource="model",
    alarm="never",
)
DECLINE = gauge(
    "vedette.model.quality.decline",
    "1",
    "How much worse a measure of quality is than in the baseline: 1 and more where that matters "
    "and is sure.",
    (MODEL, MEASURE),
    resource="model",
    alarm="never",
    limit=STRONGEST,
)
QUALITY = gauge(
    "vedette.model.quality.value",
    "1",
    "Accuracy, AUC, Brier's score, calibration error or mean error by the labels that came last.",
    (MODEL, MEASURE),
    resource="model",
    alarm="never",
)
#: Those that are told of what model servers count in buckets of their own.
OF_PAGES = (STRENGTH, PSI)
INSTRUMENTS = (STRENGTH, PSI, MOVED, MISSING, UNKNOWN, FIELDS, DECLINE, QUALITY)
#: Fields that a record names; those that drifted most.
NAMED_MAX = 32
_WARNING, _INFO = 13, 9


def samples(verdict: ModelVerdict) -> Iterator[Sample]:
    """Yield the series of a verdict."""
    model = verdict.model
    yield FIELDS(len(verdict.drifted), model)
    for one in verdict.fields:
        place = model, one.field
        yield STRENGTH(one.strength, *place)
        for instrument, value in (
            (PSI, one.psi),
            (MOVED, one.wasserstein),
            (MISSING, one.missing),
            (UNKNOWN, one.unknown),
        ):
            if math.isfinite(value):
                yield instrument(value, *place)
    for measure in verdict.quality:
        yield QUALITY(measure.now, model, measure.measure)
        yield DECLINE(measure.strength, model, measure.measure)


def of_pages(model: str, fields: Iterable[FieldVerdict]) -> Iterator[Sample]:
    """Yield the series of what a model's server counts."""
    for one in fields:
        yield STRENGTH(one.strength, model, one.field)
        yield PSI(one.psi if math.isfinite(one.psi) else 0.0, model, one.field)


def record(verdict: ModelVerdict, time_ns: int) -> Record:
    """Return a verdict as a record: numbers and names of fields, no value of a record."""
    drifted, declined = verdict.drifted, verdict.declined
    told = [f"{one.field} ({_how(one)})" for one in drifted[:NAMED_MAX]]
    told += [f"{one.measure} {one.now:.3g}, was {one.base:.3g}" for one in declined]
    body = f"model {verdict.model}: {'; '.join(told) or 'as its baseline again'}"
    attributes: dict[str, Any] = {
        MODEL: verdict.model,
        "vedette.model.drift.records": verdict.records,
        "vedette.model.drift.baseline.records": verdict.base_records,
        "vedette.model.drift.found": [_shown(one) for one in drifted[:NAMED_MAX]],
    }
    if verdict.quality:
        attributes["vedette.model.quality"] = {one.measure: one.now for one in verdict.quality}
    severity = _WARNING if verdict.bad else _INFO
    return Record("vedette.model.drift", time_ns, body, attributes, severity)


def _how(one: FieldVerdict) -> str:
    first = one.differences[0]
    if first.kind in ("distribution", "length"):
        return f"{first.kind}, PSI {one.psi:.2f}"
    return f"{first.kind}, {first.effect * 100:.3g} %"


def _shown(one: FieldVerdict) -> Mapping[str, Any]:
    numbers = {
        "strength": one.strength,
        "psi": one.psi,
        "jensen_shannon": one.jensen_shannon,
        "kolmogorov_smirnov": one.kolmogorov_smirnov,
        "wasserstein": one.wasserstein,
        "missing": one.missing,
        "unknown": one.unknown,
    }
    finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
    kinds = [each.kind for each in one.differences if each.effect >= each.bar]
    return {"field": one.field, "kinds": kinds, **finite}
