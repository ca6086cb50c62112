"""Make baselines of logs of inferences, show what they say, compare other logs with them."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from vedette.commands.baseline_files import Collected, collected, fields_of
from vedette.commands.json_text import out_json
from vedette.drift.baseline import Baseline, BaselineError, read, write
from vedette.drift.compare import compared
from vedette.drift.declining import measures
from vedette.drift.feature import FeatureSketch
from vedette.drift.sketch import ModelSketch
from vedette.drift.verdict import ModelVerdict, Thresholds
from vedette.terminal import CommandError, clock, number, out, paint, printable, table

__all__ = ["build", "compare", "show"]

#: A baseline of fewer records rings for what it has not seen.
FEW = 500
SHOWN = 20


def build(options: argparse.Namespace) -> int:
    """Write a baseline; 1 when it is of few records."""
    if options.from_agent and options.files:
        raise CommandError("--from-agent and files", "give one of both")
    if options.from_agent:
        from vedette.commands.baseline_live import pieces

        models, source = pieces(options), f"agent, last {options.last}"
    else:
        if not options.files:
            raise CommandError("nothing to build of", "name files, or --from-agent")
        found = collected(options.files, options.format, fields_of(options), options.model)
        _faults(found)
        models, source = found.pieces, ", ".join(options.files)
    models = {name: some for name, some in models.items() if any(one.records for one in some)}
    if options.model:
        models = {name: some for name, some in models.items() if name == options.model}
    if not models:
        raise CommandError("no inferences in it", "see `vedette baseline build --help`")
    baseline = Baseline.of(models, source, time.time_ns())
    try:
        digest = write(options.out, baseline)
    except OSError as error:
        raise CommandError(f"cannot write {options.out}: {error.strerror or error}") from None
    counts = {name: one.records for name, one in baseline.models.items()}
    if options.json:
        out_json({"file": str(options.out), "digest": digest, "records": counts})
    else:
        for name, records in counts.items():
            fields = len(baseline.models[name].features)
            out(f"{printable(name)}: {number(records)} records, {fields} fields")
        out(f"written to {printable(options.out)}")
    few = [name for name, records in counts.items() if records < FEW]
    if few:
        sys.stderr.write(f"{printable(', '.join(few))}: fewer than {FEW} records are few\n")
    return 1 if few else 0


def show(options: argparse.Namespace) -> int:
    """Print what a baseline says."""
    baseline = _read(options.baseline)
    if options.json:
        shown = {name: _as_json(one) for name, one in _wanted(baseline, options.model).items()}
        out_json({"created": baseline.created_ns, "source": baseline.source, "models": shown})
        return 0
    out(f"made {clock(baseline.created_ns)} of {printable(baseline.source)}")
    for name, sketch in _wanted(baseline, options.model).items():
        out()
        out(f"{paint(printable(name), 'bold')}  {number(sketch.records)} records")
        usual = baseline.usual.get(name, {})
        rows = [
            (
                printable(field),
                one.kind,
                f"{sketch.missing(field) * 100:.3g} %",
                printable(_range(one)),
                f"{usual.get(field, 0.0):.3f}",
            )
            for field, one in sketch.features.items()
        ]
        out("\n".join(table(rows, ("field", "type", "missing", "values", "varied (PSI)"))))
        for measure, value in measures(sketch.quality).items():
            out(f"{measure} {value:.4f} of {number(sketch.quality.labels)} labels")
    return 0


def compare(options: argparse.Namespace) -> int:
    """Print how a log differs from a baseline; 1 when something has drifted."""
    baseline = _read(options.baseline)
    wanted = _wanted(baseline, options.model)
    found = collected(
        options.files,
        options.format,
        fields_of(options),
        next(iter(wanted)) if len(wanted) == 1 else "",
        wanted,
    )
    _faults(found)
    thresholds = Thresholds(psi=options.psi)
    verdicts = [
        compared(name, wanted[name], found.whole(name), thresholds, baseline.usual.get(name))
        for name in wanted
        if name in found.pieces
    ]
    if not verdicts:
        told = ", ".join(found.pieces) or "no model"
        raise CommandError(
            f"the log is of {told}, {options.baseline} of {', '.join(wanted)}",
            "name the model with --model",
        )
    if options.json:
        out_json([_verdict_json(one) for one in verdicts])
    else:
        for one in verdicts:
            _tell(one, everything=options.all)
    return 1 if any(one.bad for one in verdicts) else 0


# ---------------------------------------------------------------- in words


def _tell(verdict: ModelVerdict, *, everything: bool) -> None:
    state = paint("drifted", "yellow") if verdict.bad else paint("as its baseline", "green")
    out(
        f"{paint(printable(verdict.model), 'bold')}  {state}  {number(verdict.records)} records, "
        f"baseline {number(verdict.base_records)}"
    )
    for one in verdict.drifted:
        for each in one.differences:
            if each.effect >= each.bar:
                out(f"  {printable(one.field)} {printable(each.text)}")
    for worse in verdict.declined:
        out(f"  {worse.measure} {worse.now:.4f}, was {worse.base:.4f}")
    out()
    shown = verdict.fields if everything else verdict.fields[:SHOWN]
    rows = [
        (
            printable(one.field),
            f"{one.strength:.2f}",
            *(
                "-" if value != value else f"{value:.3f}"
                for value in (one.psi, one.jensen_shannon, one.kolmogorov_smirnov, one.wasserstein)
            ),
            f"{one.missing * 100:.3g} %",
            f"{one.unknown * 100:.3g} %",
        )
        for one in shown
    ]
    out("\n".join(table(rows, ("field", "strength", "PSI", "JS", "KS", "W", "missing", "new"))))
    if len(shown) < len(verdict.fields):
        out(f"and {len(verdict.fields) - len(shown)} more; --all prints them")
    for worse in verdict.quality:
        out(f"{worse.measure} {worse.now:.4f}, was {worse.base:.4f}")


def _range(one: FeatureSketch) -> str:
    if one.numbers is not None and one.numbers.count:
        numbers = one.numbers
        middle = numbers.quantile(0.5)
        return f"{numbers.low:.4g} to {numbers.high:.4g}, median {middle:.4g}"
    if one.categories is not None and one.categories.total:
        named = one.categories
        ranked = sorted(named.counts.items(), key=lambda pair: -pair[1])[:4]
        parts = [f"{name} {count / named.total * 100:.3g} %" for name, count in ranked]
        if named.other:
            parts.append(f"others {named.other / named.total * 100:.3g} %")
        return f"{named.distinct.estimate():.0f} different: {', '.join(parts)}"
    if one.lengths is not None and one.lengths.count:
        lengths = one.lengths
        return f"lengths {lengths.low:.0f} to {lengths.high:.0f}, mean {lengths.mean:.4g}"
    return ""


def _as_json(sketch: ModelSketch) -> Mapping[str, Any]:
    fields = {
        name: {
            "type": one.kind,
            "missing": sketch.missing(name),
            "values": _range(one),
            "mean": one.numbers.mean if one.numbers is not None and one.numbers.count else None,
        }
        for name, one in sketch.features.items()
    }
    return {"records": sketch.records, "fields": fields, "quality": measures(sketch.quality)}


def _verdict_json(verdict: ModelVerdict) -> Mapping[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(verdict)
    return {**shown, "drifted": verdict.bad, "text": verdict.text}


# ---------------------------------------------------------------- files


def _read(path: Path) -> Baseline:
    try:
        return read(path)
    except BaselineError as error:
        raise CommandError(str(error)) from None


def _wanted(baseline: Baseline, model: str) -> Mapping[str, ModelSketch]:
    if not model:
        return baseline.models
    if model not in baseline.models:
        raise CommandError(
            f"the baseline has no model {model!r}", f"it has {', '.join(baseline.models)}"
        )
    return {model: baseline.models[model]}


def _faults(found: Collected) -> None:
    for reason, count in found.malformed.items():
        sys.stderr.write(f"{count} of {found.lines} lines left out: {reason}\n")
    if found.malformed:
        sys.stderr.write(f"the last one: {printable(found.last_reason)}\n")
    for model, sketch in ((name, some[0]) for name, some in found.pieces.items()):
        if sketch.turned_away:
            sys.stderr.write(
                f"{printable(model)}: {sketch.turned_away} fields left out, there are too many\n"
            )
