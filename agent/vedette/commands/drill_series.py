"""Run a series of drills against the running agent and score what it told."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from vedette._version import __version__
from vedette.api import Incident, Unavailable
from vedette.commands.drill import announce_agent, announce_end, named, place, seconds_of
from vedette.commands.json_text import json_text
from vedette.commands.locate import ask
from vedette.config.units import parse_duration
from vedette.control import ControlError, NotRunning, call
from vedette.drills.faults import FAULTS
from vedette.drills.plan import Place, Refused, plan
from vedette.drills.score import Report, Tally, score
from vedette.drills.series import Record, Series, Skipped, Step, length_s, schedule
from vedette.terminal import CommandError, age, clock, hanging, number, out, printable, table
from vedette.up import stopping

__all__ = ["series"]

_HEADERS = (
    "fault",
    "made",
    "found",
    "delay",
    "p90",
    "incidents",
    "family 1",
    "of 3",
    "suspect 1",
    "of 3",
)


def series(options: argparse.Namespace) -> int:
    """Run it; 0 all found and nothing false, 1 anything else, 130 broken off (and reported)."""
    names = named(options) or list(FAULTS)
    seconds, gap_s = seconds_of(options), _gap(options)
    try:
        state_dir, status = ask(options.state_dir, "status")
    except NotRunning as error:
        raise CommandError(f"nothing to drill: {error}", error.remedy) from None
    where = place(options, state_dir)
    ready, refused = _ready(names, seconds, where)
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    steps = _steps(options, ready, refused, seconds, gap_s, seed)
    if not options.json:
        out(hanging(f"{len(steps)} injections, seed {seed}, {age(length_s(steps))}", 10, "series"))
        _announce(ready, refused, seconds, where)
        announce_agent(state_dir, status)
    with stopping() as stopped:
        progress = _keep_quiet if options.json else _say
        poll = _asker(state_dir)
        record = Series(steps, where, poll, stopped=stopped, progress=progress).run()
    record.skipped[:0] = refused
    _complete(record, state_dir)
    report = score(
        record.injections, record.incidents.values(), FAULTS, (record.began_ns, record.ended_ns)
    )
    _write(options, seed, status, record, report)
    if not options.json:
        _show(record, report)
        announce_end(ready)
    if record.ended == "interrupted":
        return 130
    return 0 if _perfect(report) and not record.ended else 1


def _steps(
    options: argparse.Namespace,
    ready: Sequence[str],
    refused: Sequence[Skipped],
    seconds: float,
    gap_s: tuple[float, float],
    seed: int,
) -> tuple[Step, ...]:
    if not ready:
        raise CommandError(f"no drill: {'; '.join(f'{one.name}: {one.reason}' for one in refused)}")
    try:
        return schedule(
            ready,
            repeat=options.repeat,
            gap_s=gap_s,
            seconds=seconds,
            chance=Random(seed),  # noqa: S311 - an order, not a secret
            pairs=options.pairs,
        )
    except ValueError as error:
        raise CommandError(f"no drill: {error}") from None


def _perfect(report: Report) -> bool:
    """Return whether every fault was found and nothing else was told."""
    tallies = [report.total, *([report.pairs] if report.pairs else [])]
    return not report.false_incidents and all(one.found == one.injections for one in tallies)


def _gap(options: argparse.Namespace) -> tuple[float, float]:
    low, dots, high = options.gap.partition("..")
    try:
        first = float(parse_duration(low))
        last = float(parse_duration(high)) if dots else first
    except ValueError as error:
        options.usage_error(f"--gap: {error}")
    if not 1 <= first <= last <= 3600:
        options.usage_error(f"--gap: {options.gap} is no span between 1s and 1h, such as 60s..110s")
    return first, last


def _ready(names: Sequence[str], seconds: float, where: Place) -> tuple[list[str], list[Skipped]]:
    """Return the drills that this host has room for, and the others."""
    ready, refused = [], []
    for name in dict.fromkeys(names):
        try:
            plan(name, seconds, where)
            ready.append(name)
        except (Refused, Unavailable) as error:
            refused.append(Skipped(name, str(error)))
    return ready, refused


def _announce(
    ready: Sequence[str], refused: Sequence[Skipped], seconds: float, where: Place
) -> None:
    for name in ready:
        text = f"{plan(name, seconds, where).text}, for {age(seconds)}"
        out(hanging(printable(text), 12, f"  {name}"))
    for one in refused:
        out(hanging(printable(f"left out: {one.reason}"), 12, f"  {one.name}"))


def _keep_quiet(_text: str) -> None:
    """Say nothing: the output is JSON."""


def _say(text: str) -> None:
    out(f"{clock(time.time_ns())}  {printable(text)}")
    sys.stdout.flush()  # into a file, too: a series takes hours


def _asker(state_dir: Path) -> Callable[[], Sequence[Incident] | None]:
    def poll() -> Sequence[Incident] | None:
        try:
            return _incidents(state_dir, everything=False)
        except ControlError:  # the host is under load: it may answer the next time
            return None

    return poll


def _incidents(state_dir: Path, *, everything: bool) -> list[Incident]:
    answer = call(state_dir, "incidents", timeout_s=3, all=everything)
    return msgspec.convert(answer["incidents"], list[Incident])


def _complete(record: Record, state_dir: Path) -> None:
    """Take down how the incidents ended, where the agent still says so."""
    try:
        known = _incidents(state_dir, everything=True)
    except ControlError:
        return
    for incident in known:
        if incident.id in record.incidents:
            record.last[incident.id] = incident


def _write(
    options: argparse.Namespace, seed: int, status: dict[str, Any], record: Record, report: Report
) -> None:
    """Write everything as JSON: to the file that was named, and with --json to the output."""
    agent = ("version", "uptime_s", "series", "learning", "cpu_share", "rss_bytes")
    value = {
        "version": __version__,
        "seed": seed,
        "repeat": options.repeat,
        "for": options.duration,
        "gap": options.gap,
        "pairs": options.pairs,
        "agent": {key: status.get(key) for key in agent},
        "report": report,
        "record": record,
    }
    text = json_text(value)
    if options.out:
        try:
            options.out.write_text(text + "\n", "utf-8")
        except OSError as error:  # two hours of work must not be lost to a full disk
            out(text)
            raise CommandError(f"cannot write {options.out}: {error.strerror}") from None
    if options.json:
        out(text)


def _show(record: Record, report: Report) -> None:
    tallies = [*report.faults, *([report.total] if len(report.faults) > 1 else [])]
    tallies += [report.pairs] if report.pairs else []
    out()
    right = range(1, len(_HEADERS))
    if tallies:
        out("\n".join(table([_row(one) for one in tallies], _HEADERS, right=right)))
    out()
    rate = "" if report.false_per_hour is None else f", {report.false_per_hour:.2g} an hour"
    outside = age(report.outside_s)
    out(f"false incidents: {len(report.false_incidents)} in {outside} outside of faults{rate}")
    if report.pairs:
        out(f"both faults of a pair named: {report.both} of {report.pairs.injections}")
    for one in record.skipped:
        out(printable(f"left out: {one.name}: {one.reason}"))
    if record.ended:
        out(printable(f"ended before its time: {record.ended}"))


def _row(tally: Tally) -> tuple[str, ...]:
    def seconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f} s"

    def suspects(right: int) -> str:
        return f"{right}/{tally.suspects}" if tally.suspects else "-"

    return (
        tally.name,
        number(tally.injections),
        number(tally.found),
        seconds(tally.delay_median_s),
        seconds(tally.delay_p90_s),
        f"{tally.incidents_per_fault:.2f}",
        number(tally.family_1),
        number(tally.family_3),
        suspects(tally.suspect_1),
        suspects(tally.suspect_3),
    )
