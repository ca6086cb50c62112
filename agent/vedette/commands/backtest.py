"""Replay a CSV through the daemon's detection and tell what it would have said."""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedette import assembly
from vedette.api import Detector
from vedette.backtest import Outcome, assess, openings, replay, series_of
from vedette.commands.json_text import json_text
from vedette.commands.loading import instruments_of, listed, required
from vedette.config import Config, load
from vedette.config.units import format_duration
from vedette.csv_series import CsvError, Readings, read
from vedette.plot import Mark, Panel, Picture, draw
from vedette.registry import Registry, discover
from vedette.terminal import CommandError, age, out, table

__all__ = ["backtest", "chosen", "configured", "incidents_json", "picture", "scores_csv", "summary"]

#: Cells that are formatted at a time, incidents that a summary lists, series that a plot shows.
CHUNK = 100_000
LISTED = 20
PANELS = 12
#: Rows at which a plot knows the expected band: one a pixel.
BANDS = 1_100


def backtest(options: argparse.Namespace) -> int:
    """Replay one file."""
    config, registry = configured(options.config)
    detectors = chosen(config, registry, options.detector)
    for path in (options.out, options.incidents, options.plot):
        if path is not None and not path.parent.is_dir():
            raise CommandError(f"there is no directory {path.parent}")
    readings = _read(options.data)
    series = series_of(readings.columns, instruments_of(registry))
    run = partial(
        replay,
        readings,
        detectors,
        series=series,
        own_score=_head(detectors, options.detector),
        incidents=config.incidents,
    )
    outcome = run(bands=BANDS if options.plot and len(series) <= PANELS else 0)
    if options.plot and outcome.bands is None:
        # Bands cost more than all the rest: only of what is shown.
        outcome = run(bands=BANDS, banded=_strangest(outcome))
    if options.out:
        _write(options.out, scores_csv(readings, outcome))
    if options.incidents:
        _write(options.incidents, incidents_json(outcome))
    if options.plot:
        _write(options.plot, draw(picture(options.data.name, readings, outcome)))
    if not options.out:
        for line in summary(readings, outcome):
            out(line)
    return 0


def configured(path: Path | None) -> tuple[Config, Registry]:
    """Return the configuration in the file; without one the shipped defaults, not the host's."""
    if path is not None:
        found, config = required(path)
        return config, found.registry
    registry = discover(plugins_dir=None)
    defaults, problems = load(None, registry)
    if defaults is None:
        raise CommandError("\n".join(listed(one) for one in problems))
    return defaults, registry


def chosen(config: Config, registry: Registry, name: str | None = None) -> tuple[Detector, ...]:
    """Return the enabled detectors, or the one of that name, enabled or not."""
    if name is None:
        return assembly.detectors(config, registry)
    kind = next(
        (
            one
            for one in registry.detectors.values()
            if name == one.name or name in [head.name for head in one.all_heads()]
        ),
        None,
    )
    if kind is None:
        heads = (head.name for one in registry.detectors.values() for head in one.all_heads())
        known = ", ".join(sorted({*registry.detectors, *heads}))
        raise CommandError(f"there is no detector {name!r}", f"known: {known}")
    options = next(
        (one.options for one in config.detectors if one.name == kind.name), kind.Config()
    )
    return (kind(options),)


def _head(detectors: Sequence[Detector], name: str | None) -> str:
    """Return the head whose own score is told; none when several are asked."""
    if name is None:
        return ""
    heads = [head.name for one in detectors for head in one.all_heads()]
    return name if name in heads else heads[0] if len(heads) == 1 else ""


def scores_csv(readings: Readings, outcome: Outcome) -> str:
    """Return ``timestamp,series,score,p,finding``, a line per row and series in input order."""
    names = [_field(name) for name in readings.columns]
    step = max(1, CHUNK // len(names))
    lines = ["timestamp,series,score,p,finding\n"]
    for start in range(0, len(readings.stamps), step):
        part = slice(start, start + step)
        cells = zip(
            (f"{stamp},{name}" for stamp in readings.stamps[part] for name in names),
            _numbers(outcome.score[part]),
            _numbers(outcome.p[part]),
            outcome.finding[part].ravel().tolist(),
            strict=True,
        )
        lines += [f"{place},{score},{p},{finding:d}\n" for place, score, p, finding in cells]
    return "".join(lines)


def incidents_json(outcome: Outcome) -> str:
    """Return the incidents as they were told last, in the order in which they opened."""
    return json_text({"incidents": outcome.incidents}) + "\n"


def picture(title: str, readings: Readings, outcome: Outcome) -> Picture:
    """Return what a plot shows: the rows that were taken, of the strangest series when many."""
    taken = np.flatnonzero(readings.taken)
    shown = _strangest(outcome)
    left_out = len(readings.columns) - len(shown)
    bands = outcome.bands
    none = np.empty((0, len(readings.columns)), dtype=np.float32)
    panels = tuple(
        Panel(
            readings.columns[column],
            readings.values[taken, column],
            outcome.finding[taken, column],
            (bands.low if bands else none)[:, column],
            (bands.high if bands else none)[:, column],
        )
        for column in shown
    )
    return Picture(
        title=title,
        time=readings.time[taken],
        panels=panels,
        band_rows=np.searchsorted(taken, bands.rows if bands else np.empty(0, np.intp)),
        labels=None if readings.labels is None else readings.labels[taken],
        incidents=tuple(Mark(one.opened_ns, one.title) for one in outcome.incidents),
        note=f"the {PANELS} strangest series, {left_out} left out" if left_out else "",
    )


def summary(readings: Readings, outcome: Outcome) -> Iterator[str]:
    """Yield what came of it, for a person."""
    rows, columns = openings(outcome)
    first, last = _time(readings.time[0]), _time(readings.time[-1])
    step = format_duration(readings.step_ns / 1e9)
    yield (
        f"{_count(len(readings.time), 'row')} of {len(readings.columns)} series, one every {step}, "
        f"from {first} to {last}"
    )
    if readings.skipped:
        yield (
            f"{_count(readings.skipped, 'row')} skipped, not after the one before "
            f"(the first in line {readings.first_skipped})"
        )
    if readings.infinite:
        yield f"{_count(readings.infinite, 'infinite value')} taken for not read"
    yield (
        f"{_count(len(rows), 'finding')} on {len(set(columns.tolist()))} series, "
        f"{_count(len(outcome.incidents), 'incident')}"
    )
    if readings.labels is not None:
        yield from _agreement(readings, outcome)
    if outcome.incidents:
        yield ""
        listed_ = outcome.incidents[:LISTED]
        told = [(_time(one.opened_ns), one.severity, one.title) for one in listed_]
        yield from table(told, ("opened", "severity", "incident"))
        if len(outcome.incidents) > LISTED:
            yield f"and {len(outcome.incidents) - LISTED} more (--incidents FILE has them all)"


def _read(path: Path) -> Readings:
    try:
        return read(path)
    except CsvError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None


def _agreement(readings: Readings, outcome: Outcome) -> Iterator[str]:
    agreed = assess(readings, outcome)
    false = agreed.findings - agreed.right
    yield (
        f"{_count(agreed.events, 'labelled event')}, {agreed.found} found; "
        f"{false} of the findings false, {agreed.false_per_series_day:.3g} per series-day"
    )
    if not agreed.events:
        return
    late = ""
    if agreed.found:
        seconds = abs(agreed.delay_ns) / 1e9
        side = "before" if agreed.delay_ns < 0 else "after"
        late = f", {age(seconds)} ({abs(agreed.delay_rows):g} rows) {side} the onset in the median"
    yield (
        f"precision {_percent(agreed.precision)}, recall {_percent(agreed.recall)}, "
        f"F1 {_percent(agreed.f1)}{late}"
    )


def _strangest(outcome: Outcome) -> list[int]:
    """Return the columns to show: all, or those with the least p and the longest findings."""
    count = outcome.p.shape[1]
    least = np.fmin.reduce(outcome.p, axis=0)
    ranked = np.lexsort((np.arange(count), -outcome.finding.sum(axis=0), least))
    return sorted(ranked[:PANELS].tolist())


def _numbers(values: NDArray[np.float32]) -> list[str]:
    """Return numbers as text that gives back the float32; empty for NaN."""
    return ["" if math.isnan(one) else f"{one:.9g}" for one in values.ravel().tolist()]


def _field(text: str) -> str:
    """Return a text as a field of a CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([text, ""])
    return line.getvalue()[:-1]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(int(time_ns) // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _percent(part: float) -> str:
    return "-" if math.isnan(part) else f"{part:.0%}".replace("%", " %")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
