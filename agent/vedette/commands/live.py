"""Show how the running agent is: its health, and what it costs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vedette.commands.json_text import out_json
from vedette.commands.locate import ask_running
from vedette.terminal import (
    age,
    clear,
    clock,
    hanging,
    out,
    paint,
    printable,
    size,
    table,
)

__all__ = ["status", "top"]


def status(options: argparse.Namespace) -> int:
    """Print the running agent's health; 0 healthy, 1 degraded."""
    state_dir, answer = ask_running(options.state_dir, "status")
    if options.json:
        out_json({"state_dir": str(state_dir), **answer})
    else:
        _headline(state_dir, answer)
        _collectors(answer.get("collectors", ()))
        _destinations(answer.get("destinations", ()))
    return 0 if answer.get("health") == "ok" else 1


def top(options: argparse.Namespace) -> int:
    """Show what each collector costs, the most expensive first; again and again on a terminal."""
    try:
        while True:
            state_dir, answer = ask_running(options.state_dir, "status")
            if options.json:
                out_json({"state_dir": str(state_dir), **_by_cost(answer)})
                return 0
            goes_on = clear()
            _top(_by_cost(answer))
            sys.stdout.flush()
            if not goes_on or options.once:
                return 0
            time.sleep(options.every)
    except KeyboardInterrupt:
        return 0


# ---------------------------------------------------------------- health


def _headline(state_dir: Path, answer: Mapping[str, Any]) -> None:
    health = str(answer.get("health", "unknown"))
    uptime = age(float(answer.get("uptime_s", 0.0)))
    out(
        f"vedette {printable(answer.get('version', '?'))}  {paint(health)}  up {uptime}  "
        f"pid {answer.get('pid', '?')}"
    )
    for reason in answer.get("reasons", ()):
        out(hanging(printable(reason), 12, "  because"))
    learning = float(answer.get("learning") or 0.0)
    spool = answer.get("spool") or {}
    lines = [
        ("state", str(state_dir)),
        ("agent", str(answer.get("agent", "?"))),
        ("series", f"{answer.get('series', 0)}" + _learning(learning)),
        ("incidents", f"{answer.get('incidents_open', 0)} open"),
        ("weight", _weight(answer)),
    ]
    if parts := _parts(answer.get("cost") or {}):
        lines.append(("cpu", parts))
    if spool:
        lines.append(("spool", _pairs(spool)))
    if answer.get("page"):
        lines.append(("page", str(answer["page"])))
    for name, text in lines:
        out(hanging(printable(text), 12, f"  {name}"))


def _learning(share: float) -> str:
    return f", {share:.0%} of them still learning what is normal" if share > 0 else ""


def _weight(answer: Mapping[str, Any]) -> str:
    """Return what the agent costs; over the last minute, once that is known."""
    cost = answer.get("cost") or {}
    known = cost.get("share") is not None
    share = float((cost["share"] if known else answer.get("cpu_share")) or 0.0)
    budget = cost.get("budget")
    of = f" (budget {100 * budget:g}%)" if budget else ""
    return f"{share:.2%} of one core{of}, {size(float(answer.get('rss_bytes') or 0))}"


def _parts(cost: Mapping[str, Any]) -> str:
    """Return the agent's CPU time part by part; empty until it is known."""
    if cost.get("share") is None:
        return ""
    parts = {"collectors": cost.get("collectors"), **cost.get("parts", {}), "rest": cost["rest"]}
    return ", ".join(f"{name} {float(share or 0):.2%}" for name, share in parts.items())


def _pairs(values: Mapping[str, Any]) -> str:
    """Return what is not zero with its name, in a line; what is counted in bytes with a unit."""
    shown = []
    for name, value in values.items():
        if not value:
            continue
        text = size(value) if "bytes" in name and isinstance(value, int | float) else str(value)
        shown.append(f"{name.removesuffix('_bytes').replace('_', ' ')} {text}")
    return ", ".join(shown) or "nothing yet"


_HEADERS = ("COLLECTOR", "STATE", "EVERY", "SAMPLES", "MS", "US/TICK", "CORE", "NOTE")


def _collectors(statuses: Any) -> None:
    """Print a row for each that runs, and for those that rest why they do."""
    resting = [one for one in statuses or () if one.get("state") == "resting"]
    rows = [
        (
            str(one.get("name", "?")),
            str(one.get("state", "?")),
            f"{one.get('interval_s', 0):g} s",
            str(one.get("samples", 0)),
            f"{1000 * float(one.get('duration_s') or 0):.1f}",
            _micro(one.get("tick_cpu_s")),
            _core(one.get("cpu_share")),
            _note(one),
        )
        for one in statuses or ()
        if one not in resting
    ]
    if rows:
        out()
        for line in table(rows, _HEADERS, right=(2, 3, 4, 5, 6)):
            out(line)
    if resting:
        out()
        reasons = [(str(one.get("name", "?")), str(one.get("reason", ""))) for one in resting]
        for line in table(reasons, ("RESTING", "BECAUSE")):
            out(line)


def _micro(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e6 * seconds:.0f}"


def _core(share: float | None) -> str:
    return "-" if share is None else f"{share:.3%}"


def _note(one: Mapping[str, Any]) -> str:
    """Return what a person should know of a collector besides its numbers."""
    notes = []
    configured = one.get("configured_s") or one.get("interval_s")
    if configured != one.get("interval_s"):
        notes.append(f"stretched from {configured:g} s: CPU budget")
    if one.get("reason"):
        notes.append(str(one["reason"]))
    counts = {"failures": "failed"}
    keys = ("late", "skipped", "failures", "invalid", "cut")
    notes += [f"{one[key]} {counts.get(key, key)}" for key in keys if one.get(key)]
    return ", ".join(notes)


def _destinations(statuses: Any) -> None:
    for one in statuses or ():
        out()
        name = printable(one.get("name", one.get("destination", "?")))
        out(f"destination {paint(name, 'bold')}")
        for key, value in one.items():
            if key in {"name", "destination"} or value in (None, "", {}):
                continue
            text = _destination_value(key, value)
            out(hanging(printable(text), 22, f"  {key.removesuffix('_ns').replace('_', ' ')}"))


def _destination_value(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return _pairs({name: _destination_value(name, each) for name, each in value.items()})
    if key.endswith("_ns") and isinstance(value, int):
        return clock(value) if value else "never"
    if "bytes" in key and isinstance(value, int | float):
        return size(value)
    return str(value)


# ---------------------------------------------------------------- cost

_TOP_HEADERS = ("COLLECTOR", "CORE", "US/TICK", "US/SAMPLE", "SAMPLES", "EVERY", "NOTE")


def _by_cost(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a status that is about cost, collectors sorted by theirs."""
    kept = ("version", "pid", "uptime_s", "cost", "cpu_share", "rss_bytes", "series", "tick_cost_s")
    statuses = sorted(
        answer.get("collectors", ()),
        key=lambda one: (-(one.get("cpu_share") or 0.0), -float(one.get("cpu_s") or 0.0)),
    )
    return {key: answer[key] for key in kept if key in answer} | {"collectors": statuses}


def _top(answer: Mapping[str, Any]) -> None:
    cost = answer.get("cost") or {}
    uptime = age(float(answer.get("uptime_s", 0.0)))
    out(f"vedette  up {uptime}  pid {answer.get('pid', '?')}  {answer.get('series', 0)} series")
    out(hanging(_weight(answer), 8, "weight"))
    if parts := _parts(cost):
        out(hanging(parts, 8, "cpu"))
    if cost.get("exhausted"):
        out(hanging("exceeded, and no collector could usefully run less often", 8, "budget"))
    running = [one for one in answer["collectors"] if one.get("state") != "resting"]
    rows = [
        (
            str(one.get("name", "?")),
            _core(one.get("cpu_share")),
            _micro(one.get("tick_cpu_s")),
            "-" if one.get("sample_cpu_s") is None else f"{1e6 * one['sample_cpu_s']:.1f}",
            str(one.get("samples", 0)),
            f"{one.get('interval_s', 0):g} s",
            ", ".join(filter(None, (one["state"] if one["state"] != "ok" else "", _note(one)))),
        )
        for one in running
    ]
    out()
    for line in table(rows, _TOP_HEADERS, right=(1, 2, 3, 4, 5)):
        out(line)
    resting = len(answer["collectors"]) - len(running)
    if resting:
        out(f"\n{resting} more rest; `vedette status` says why")
