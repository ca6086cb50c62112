"""Run one collector here and now and print what it reads."""

from __future__ import annotations

import argparse
import difflib
import time
from collections.abc import Iterator, Sequence

import msgspec

from vedette.api import Collector, Event, Observation, Record, Sample, Unavailable, Usage
from vedette.commands.json_text import out_json
from vedette.commands.loading import Loaded, required
from vedette.config import Component, Config
from vedette.terminal import CommandError, clock, number, out, printable, table

__all__ = ["Reading", "Value", "collect", "readings"]

#: Seconds between two readings.
EVERY_S = 1.0


class Value(msgspec.Struct, frozen=True):
    """A reading of one series; for a counter the rate per second since the reading before."""

    series: str
    value: float
    unit: str
    kind: str


class Reading(msgspec.Struct, frozen=True):
    """What the collector yielded at one time (Unix ns), and how long it took (s)."""

    time_ns: int
    took_s: float
    values: tuple[Value, ...]
    usages: tuple[Usage, ...]
    events: tuple[Event, ...] = ()
    records: tuple[Record, ...] = ()


def collect(options: argparse.Namespace) -> int:
    """Print the readings of one collector."""
    loaded, config = required(options.config)
    component = _component(options.name, loaded, config)
    collector = loaded.registry.collectors[component.name](component.options)
    gathered = []
    try:
        for reading in readings(collector, options.count):
            if options.json:
                gathered.append(reading)
            else:
                _print(reading, heading=options.count > 1)
    finally:
        collector.close()
    if options.json:
        value = {"collector": component.id, "readings": gathered}
        out_json(value)
    return 0


def readings(collector: Collector, count: int) -> Iterator[Reading]:
    """Probe, then yield ``count`` readings a second apart; counters cost one more before."""
    try:
        collector.probe()
    except Unavailable as error:
        raise CommandError(f"{collector.name} has nothing to read here: {error}") from None
    except Exception as error:
        raise _failed(collector, "probe", error) from error
    before: tuple[float, dict[str, float]] | None = None
    if any(instrument.kind == "counter" for instrument in collector.instruments()):
        began, _, items = _read(collector)
        before = began, _totals(items)
        time.sleep(EVERY_S)
    for place in range(count):
        if place:
            time.sleep(EVERY_S)
        time_ns = time.time_ns()
        began, took, items = _read(collector)
        values = tuple(_values(items, began, before))
        usages = tuple(item for item in items if isinstance(item, Usage))
        events = tuple(item for item in items if isinstance(item, Event))
        records = tuple(item for item in items if isinstance(item, Record))
        yield Reading(time_ns, took, values, usages, events, records)
        before = began, _totals(items)


def _read(collector: Collector) -> tuple[float, float, list[Observation]]:
    """Return the monotonic time of the reading, its duration, and what came."""
    began = time.monotonic()
    try:
        items = list(collector.collect())
    except Unavailable as error:
        raise CommandError(f"{collector.name} has nothing to read here: {error}") from None
    except Exception as error:
        raise _failed(collector, "collect", error) from error
    return began, time.monotonic() - began, items


def _failed(collector: Collector, step: str, error: Exception) -> CommandError:
    return CommandError(
        f"{collector.name}: {step}() failed with {type(error).__name__}: {error}",
        "This is an error of the plugin, or of what it reads.",
    )


def _totals(items: Sequence[Observation]) -> dict[str, float]:
    return {
        item.series.key: item.value
        for item in items
        if isinstance(item, Sample) and item.series.instrument.kind == "counter"
    }


def _values(
    items: Sequence[Observation], began: float, before: tuple[float, dict[str, float]] | None
) -> Iterator[Value]:
    """Yield the values; a counter that is new, or fell, has no rate yet (NaN)."""
    for item in items:
        if not isinstance(item, Sample):
            continue
        instrument = item.series.instrument
        value, unit = item.value, instrument.unit
        if instrument.kind == "counter":
            unit = f"{unit}/s"
            earlier, totals = before or (began, {})
            change = value - totals.get(item.series.key, float("nan"))
            seconds = began - earlier
            value = change / seconds if change >= 0 and seconds > 0 else float("nan")
        yield Value(item.series.key, value, unit, instrument.kind)


def _print(reading: Reading, *, heading: bool) -> None:
    if heading:
        out(f"{clock(reading.time_ns)}, took {1000 * reading.took_s:.1f} ms")
    for line in table([(v.series, number(v.value), v.unit) for v in reading.values], right=(1,)):
        out(line)
    if reading.usages:
        out("\nwho uses it")
        rows = [
            (u.resource, u.kind, u.name, u.id, f"{u.share:.1%}", u.text) for u in reading.usages
        ]
        for line in table(rows, right=(4,)):
            out(line)
    if reading.events:
        out("\nwhat happened")
        events = [(clock(e.time_ns), e.kind, e.entity, printable(e.text)) for e in reading.events]
        for line in table(events):
            out(line)
    if reading.records:
        out("\nwhat is told of it")
        for one in reading.records:
            out(f"{clock(one.time_ns)}  {one.name}  {printable(one.body)}")
    if heading:
        out()


def _component(name: str, loaded: Loaded, config: Config) -> Component:
    """Return the configured collector of that id, or the first of that name."""
    for component in config.collectors:
        if component.id == name:
            return component
    for component in config.collectors:
        if component.name == name:
            return component
    for plugin in loaded.registry.plugins:
        if plugin.name == name and plugin.status != "active":
            raise CommandError(f"the plugin {name} is {plugin.status}: {printable(plugin.reason)}")
    known = sorted({component.id for component in config.collectors})
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise CommandError(f"there is no collector {name!r}", f"{hint}known: {', '.join(known)}")
