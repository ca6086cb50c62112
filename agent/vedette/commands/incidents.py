"""List the incidents of this host, or show one with its evidence."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from vedette.api import Incident, Track
from vedette.commands.json_text import out_json
from vedette.commands.locate import ask, candidates
from vedette.control import NotRunning
from vedette.paths import INCIDENTS_FILE
from vedette.terminal import (
    CommandError,
    age,
    bar,
    clock,
    hanging,
    number,
    out,
    paint,
    printable,
    table,
)

__all__ = ["incidents"]


def incidents(options: argparse.Namespace) -> int:
    """List incidents, or show one with its evidence."""
    if options.action == "show" and not options.id:
        raise CommandError("which incident?", "vedette incidents show ID; `list` names them.")
    everything = options.all or options.action == "show"
    source, found, mutes = _known(options.state_dir, everything)
    if options.action == "list":
        if options.json:
            out_json({"source": source, "incidents": found, "mutes": mutes})
        else:
            _list(source, found, everything)
            _muted(mutes)
        return 0
    incident = _chosen(found, options.id)
    if options.json:
        out_json({"source": source, "incident": incident})
    else:
        _show(incident)
    return 0


def _known(explicit: Path | None, everything: bool) -> tuple[str, list[dict[str, Any]], int]:
    """Return where the incidents come from, they as JSON, newest first, and how many mutes are on.

    Nothing is muted by an agent that does not run.
    """
    try:
        state_dir, answer = ask(explicit, "incidents", all=everything)
        mutes = int(answer.get("mutes", 0))
        return f"the agent in {state_dir}", list(answer["incidents"]), mutes
    except NotRunning as error:
        refusal = error
    for state_dir in candidates(explicit):
        path = state_dir / INCIDENTS_FILE
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])["incidents"]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CommandError(f"cannot read {path}: {error.strerror}") from None
        except (msgspec.MsgspecError, KeyError) as error:
            raise CommandError(f"{path} is damaged ({error})", "Start the agent anew.") from None
        found = [one for one in kept if everything or one.get("state") == "open"]
        return f"{path} (no agent is running)", found, 0
    raise CommandError(str(refusal), refusal.remedy)


def _list(source: str, found: list[dict[str, Any]], everything: bool) -> None:
    if not found:
        out("no incidents" if everything else "no open incidents (`--all` lists resolved ones)")
        return
    incidents = [_typed(data) for data in found]
    heads = table(
        (one.id, one.severity, one.state, clock(one.onset_ns), _verdict(one)) for one in incidents
    )
    for head, incident in zip(heads, incidents, strict=True):
        out(head)
        out(hanging(printable(incident.title), 4, "    "))
    if "no agent" in source:
        sys.stderr.write(f"vedette: from {printable(source)}\n")


def _muted(mutes: int) -> None:
    """Say that some series are not to be heard of: a forgotten mute is worse than an alarm."""
    if mutes:
        what = "1 mute is" if mutes == 1 else f"{mutes} mutes are"
        out(hanging(f"{what} in force; `vedette incidents feedback` lists them", 0))


def _verdict(incident: Incident) -> str:
    """Return what was said of an incident and by whom; empty when nothing was."""
    said = incident.verdict
    return f"{said.word} by {said.by}" if said is not None else ""


def _chosen(found: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    if wanted == "last" and found:
        return found[0]
    exact = [one for one in found if one.get("id") == wanted]
    matching = exact or [one for one in found if str(one.get("id", "")).startswith(wanted)]
    if not matching:
        raise CommandError(f"no incident {wanted!r} is known", "`vedette incidents list --all`")
    if len(matching) > 1:
        names = ", ".join(str(one["id"]) for one in matching[:5])
        raise CommandError(f"{wanted!r} is the beginning of several incidents: {names}")
    return matching[0]


def _show(data: Mapping[str, Any]) -> None:
    incident = _typed(data)
    out(hanging(printable(incident.title), 0))
    out()
    end = incident.resolved_ns or time.time_ns()
    lasted = age((end - incident.onset_ns) / 1e9)
    lines = [
        ("severity", incident.severity),
        ("state", incident.state),
        ("resource", incident.resource),
        ("began", f"{clock(incident.onset_ns)}, noticed {clock(incident.opened_ns)}"),
        ("lasts" if incident.resolved_ns is None else "lasted", lasted),
        ("id", incident.id),
        ("found by", ", ".join(incident.detectors)),
        ("said", _said(incident)),
    ]
    for name, text in lines:
        if text:
            out(f"  {name:<10}{paint(printable(text))}")
    if incident.suspects:
        out("\nsuspects")
        rows = [
            (s.kind, s.name, s.id, f"{s.share:.0%}" if s.share else "", s.text, s.reason)
            for s in incident.suspects
        ]
        for line in table(rows, right=(3,)):
            out("  " + line)
    out("\nseries")
    for key in incident.series:
        out("  " + printable(key))
    for track in incident.evidence:
        _track(track)


def _said(incident: Incident) -> str:
    verdict = incident.verdict
    if verdict is None:
        return ""
    note = f': "{verdict.note}"' if verdict.note else ""
    return f"{_verdict(incident)}, {clock(verdict.time_ns)}{note}"


def _track(track: Track) -> None:
    known = [value for value in track.values if value is not None]
    out(f"\n{printable(track.series)} [{printable(track.unit)}]")
    out("  " + bar(track.values))
    if not known:
        return
    band = ""
    if track.low is not None or track.high is not None:
        low = "-" if track.low is None else number(track.low)
        high = "-" if track.high is None else number(track.high)
        band = f"; usual {low} to {high}"
    end = track.start_ns + track.step_ns * max(0, len(track.values) - 1)
    spread = f"from {number(min(known))} to {number(max(known))}, last {number(known[-1])}"
    out(hanging(f"{clock(track.start_ns)} to {clock(end)}: {spread}{band}", 2, "  "))


def _typed(data: Mapping[str, Any]) -> Incident:
    try:
        return msgspec.convert(data, Incident)
    except msgspec.ValidationError as error:
        raise CommandError(
            f"the agent describes an incident in a way this version does not know ({error})",
            "Use the same version of vedette as the running agent.",
        ) from None
