"""Write what pages of a model server mean, for a person and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

import msgspec

from vedette.exposition.change import HistogramChange, Quantile
from vedette.serving.recognise import Recognition
from vedette.serving.rows import Absent, Mapped, Row, Tally, Value, across, tallies
from vedette.serving.vocabulary import COMMON, MODEL, OUTCOMES, REQUESTS, VERSION, outermost
from vedette.terminal import number, paint, printable, table

__all__ = ["Told", "as_json", "as_text"]

_QUANTILES = (0.5, 0.95)
_SENSES = {"about": "", "at most": "<= ", "at least": ">= "}


class Told(msgspec.Struct, frozen=True):
    """Whose pages they are, and what each of them says; ``every_s`` is 0 when it is not known."""

    who: Recognition
    steps: Sequence[Mapped]
    every_s: float


def as_text(told: Told) -> Iterator[str]:
    """Return the lines for a person."""
    who, steps, every_s = told.who, told.steps, told.every_s
    yield from _heading(who)
    if not steps:
        return
    last = steps[-1]
    span_s = every_s * (len(steps) - 1)
    rows = across(steps)
    gained = len(steps) > 1
    yield ""
    headers = ["METRIC", "UNIT", "VALUE"]
    if gained:
        headers.append("GAINED")
    yield from table(
        [_line(row, gained, span_s) for row in rows if row.signal.name != REQUESTS],
        [*headers, "FROM"],
    )
    yield ""
    yield from _outcomes(rows, last, gained, span_s)
    if last.mixed:
        yield paint("Several workers answer in turn: what counts cannot be followed.", "yellow")
    if any(step.restarted for step in steps):
        yield "The server restarted between the pages."
    yield from _lacking("Missing, and expected of this server:", last.missing)
    yield from _lacking("Not on the page, which has it only with:", last.absent)
    if last.blind:
        yield ""
        yield "What cannot be known:"
        for blind in last.blind:
            yield f"  {blind.about}: {blind.text}"


def as_json(found: Told) -> dict[str, Any]:
    """Return the same for a program."""
    who, steps, every_s = found.who, found.steps, found.every_s
    told: dict[str, Any] = {
        "server": who.server,
        "title": who.adapter.title if who.adapter else "",
        "release": who.release.name if who.release else "",
        "version": who.version,
        "confidence": who.confidence,
        "evidence": list(who.evidence),
        "adapter_evidence": who.adapter.evidence if who.adapter else "",
        "nearest": [
            {"server": n.server, "shared": n.shared, "known": n.known, "why_not": n.why_not}
            for n in who.nearest
        ],
        "pages": len(steps),
        "every_s": every_s or None,
    }
    if not steps:
        return told
    last = steps[-1]
    rows = across(steps)
    told["metrics"] = [_row(row, len(steps) > 1) for row in rows]
    ended = tallies(rows, last.none)
    told["outcomes"] = [
        {
            "layer": one.layer,
            "outcome": one.outcome,
            "value": _finite(one.value),
            "gained": _finite(one.gain) if len(steps) > 1 else None,
        }
        for one in ended
    ]
    told["outcomes_not_told"] = _untold(ended)
    told["missing"] = [_absent(one) for one in last.missing]
    told["absent"] = [_absent(one) for one in last.absent]
    told["blind"] = [{"about": one.about, "text": one.text} for one in last.blind]
    told["restarted"] = any(step.restarted for step in steps)
    told["mixed"] = last.mixed
    return told


# ---------------------------------------------------------------- for a person


def _heading(who: Recognition) -> Iterator[str]:
    if who.adapter is None:
        yield paint("unknown", "yellow") + ": these pages are of no server that Vedette knows."
        for one in who.nearest:
            yield printable(
                f"  nearest: {one.server}, {one.shared} of the {one.known} names it is known by "
                f"({one.why_not})"
            )
        yield "  the collector openmetrics reads such a page under the server's own names"
        yield "  to add a server is one file: docs/model-servers.md, Add a server"
        return
    release = f", release {who.release.name}" if who.release else ""
    version = f" (version {who.version})" if who.version else ""
    yield printable(
        f"{who.adapter.title}{release}{version}, {who.adapter.layer}; confidence "
        f"{who.confidence:.2f}"
    )
    for text in who.evidence:
        yield printable(f"  {text}")
    if who.adapter.releases and who.release is None:
        yield "  a release that its adapter does not know"
    yield printable(f"  what is known of it: {who.adapter.evidence}")


def _line(row: Row, gained: bool, span_s: float) -> list[str]:
    unit = row.signal.instrument.unit
    cells = [_name(row), unit, _value(row.value)]
    if gained:
        cells.append(_gain(row, span_s))
    text = ", ".join(row.metrics)
    if row.approx:
        text += f" (approximately: {row.approx})"
    return [*cells, text]


def _name(row: Row) -> str:
    """Name a series by what tells it from others: layer, model, version, the signal's own."""
    attributes = row.attributes
    shown = [row.layer]
    shown += [attributes[key] for key in (MODEL, VERSION) if key in attributes]
    shown += [f"{key}={text}" for key, text in attributes.items() if key not in COMMON]
    return f"{row.signal.name}{{{', '.join(shown)}}}"


def _value(value: Value) -> str:
    if not isinstance(value, HistogramChange):
        return number(value)
    if not value.count > 0:
        return "none"
    parts = [f"n={number(value.count)}"]
    if isfinite(value.mean):
        parts.append(f"mean={value.mean:.4g}")
    if value.bounds:
        parts += [f"p{round(q * 100)}={_quantile(value.quantile(q))}" for q in _QUANTILES]
    return " ".join(parts)


def _quantile(quantile: Quantile) -> str:
    return f"{_SENSES[quantile.sense]}{quantile.value:.4g}"


def _gain(row: Row, span_s: float) -> str:
    if row.gain is None:
        return ""
    note = f" ({row.note})" if row.note else ""
    if isinstance(row.gain, HistogramChange):
        return ("unknown" if not row.gain.counts else _value(row.gain)) + note
    if not isfinite(row.gain):
        return "unknown" + note
    rate = f" {row.gain / span_s:.4g}/s" if span_s > 0 else ""
    return f"+{number(row.gain)}{rate}{note}"


def _untold(told: Sequence[Tally]) -> list[str]:
    """Return the outcomes that the server does not tell; ``failed`` is only for want of better."""
    names = {one.outcome for one in told}
    return [one for one in OUTCOMES if one not in names and one != "failed"]


def _outcomes(rows: Sequence[Row], last: Mapped, gained: bool, span_s: float) -> Iterator[str]:
    told = tallies(rows, last.none)
    if not told:
        yield "How requests ended: not told."
        return
    yield "How requests ended:"
    lines = []
    for one in told:
        cells = [f"  {one.layer}", one.outcome, number(one.value)]
        if gained:
            known = isfinite(one.gain)
            rate = f" {one.gain / span_s:.4g}/s" if span_s > 0 and known else ""
            cells.append(f"+{number(one.gain)}{rate}" if known else "unknown")
        lines.append(cells)
    yield from table(lines)
    layers = {one.layer for one in told}
    if len(layers) > 1:
        yield (
            f"  One request is in each of these layers once: not to be added. The host's are "
            f"those of the {outermost(layers)}."
        )
    untold = _untold(told)
    if untold:
        yield f"  not told: {', '.join(untold)}"


def _lacking(title: str, absent: Sequence[Absent]) -> Iterator[str]:
    if not absent:
        return
    yield ""
    yield title
    for one in absent:
        fixed = f"{{{', '.join(one.set.values())}}}" if one.set else ""
        names = " or ".join(one.metrics)
        yield printable(f"  {one.signal}{fixed}: {names}" + (f" ({one.when})" if one.when else ""))


# ---------------------------------------------------------------- for a program


def _row(row: Row, gained: bool) -> dict[str, Any]:
    return {
        "name": row.signal.name,
        "kind": row.signal.instrument.kind,
        "unit": row.signal.instrument.unit,
        "attributes": row.attributes,
        "value": _number(row.value),
        "gained": _number(row.gain) if gained and row.gain is not None else None,
        "note": row.note,
        "metrics": list(row.metrics),
        "derived": row.derived,
        "approx": row.approx,
    }


def _number(value: Value) -> float | dict[str, Any] | None:
    """Return a number, or a distribution with its buckets; None for what is not known."""
    if not isinstance(value, HistogramChange):
        return _finite(value)
    if not value.counts:
        return None
    told: dict[str, Any] = {
        "count": _finite(value.count),
        "sum": _finite(value.sum),
        "bounds": list(value.bounds),
        "counts": list(value.counts),
    }
    if value.bounds and value.count > 0:
        told["quantiles"] = {
            f"p{round(q * 100)}": {"value": found.value, "sense": found.sense}
            for q in _QUANTILES
            for found in (value.quantile(q),)
        }
    return told


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _absent(one: Absent) -> dict[str, Any]:
    return {"name": one.signal, "set": one.set, "metrics": list(one.metrics), "when": one.when}
