"""Run a drill and say whether the agent noticed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vedette.api import Incident
from vedette.commands.locate import ask
from vedette.control import ControlError, NotRunning, call
from vedette.drill import Load, Outcome, Refused, plan, watch
from vedette.terminal import CommandError, age, hanging, out, paint, printable

__all__ = ["drill"]

#: With fewer series than these still learning, a drill is a fair one: what is read rarely takes
#: ten minutes, and some series come later.
LEARNING_SHARE = 0.05


def drill(options: argparse.Namespace) -> int:
    """Run a drill; 0 noticed as one incident, 1 unnoticed or several; ``CommandError``: refused."""
    try:
        state_dir, status = ask(options.state_dir, "status")
    except NotRunning as error:
        raise CommandError(f"nothing to drill: {error}", error.remedy) from None
    learning = float(status.get("learning") or 0.0)
    quiet = options.json
    try:
        planned = plan(options.resource, options.seconds, options.path or state_dir)
        if not quiet:
            _announce(planned.text, options.seconds, state_dir, learning, status)
        outcome = watch(
            Load(planned),
            _asker(state_dir),
            wait=not options.no_wait,
            progress=_progress(options.seconds),
        )
    except Refused as error:
        raise CommandError(f"no drill: {error}") from None
    finally:
        _clear()
    if quiet:
        _json(outcome, learning)
    else:
        _report(outcome, waited=not options.no_wait)
    return 0 if outcome.exactly_one else 1


def _asker(state_dir: Path) -> Callable[[], Sequence[Incident]]:
    def poll() -> Sequence[Incident]:
        try:
            # A busy host is the point: the agent may take its time to answer.
            answer = call(state_dir, "incidents", timeout_s=15, all=True)
            return msgspec.convert(answer["incidents"], list[Incident])
        except ControlError as error:  # it ended while its host was under load: say so, loudly
            raise CommandError(f"the agent went away during the drill: {error}") from None

    return poll


def _announce(
    text: str, seconds: float, state_dir: Path, learning: float, status: dict[str, Any]
) -> None:
    out(hanging(f"{text}, for {age(seconds)}", 10, "load"))
    out(hanging(f"the agent in {printable(state_dir)}", 10, "watching"))
    if learning > LEARNING_SHARE:
        up = age(float(status.get("uptime_s") or 0.0))
        note = (
            f"the agent is up for {up} and {learning:.0%} of its series are still learning what "
            "is normal: this drill may go unnoticed. A series is judged after 60 readings by "
            "default: a minute for what is read each second, ten for what is read every 10 s."
        )
        out(hanging(note, 10, "note"))
    if status.get("incidents_open"):
        note = (
            f"incidents open already: {status['incidents_open']}; what this drill does may be "
            "taken for a part of them, better wait until they are resolved"
        )
        out(hanging(note, 10, "note"))


def _progress(seconds: float) -> Callable[[float, Outcome], None]:
    """Return what keeps one line of progress on a terminal, and is silent elsewhere."""

    def show(elapsed: float, outcome: Outcome) -> None:
        if not sys.stderr.isatty():
            return
        running = elapsed < seconds
        phase = f"load {elapsed:.0f} of {seconds:.0f} s" if running else f"{elapsed:.0f} s"
        if outcome.noticed_s is None:
            state = "not noticed yet"
        else:
            state = f"noticed after {outcome.noticed_s:.1f} s"
            if not running:
                state += ", waiting for it to be resolved"
        sys.stderr.write(f"\r\x1b[K{phase}, {state}")
        sys.stderr.flush()

    return show


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _report(outcome: Outcome, *, waited: bool) -> None:
    out()
    incident = outcome.incident
    if incident is None:
        out(f"{paint('not noticed', 'red')} within {outcome.seconds + 30:.0f} s")
    else:
        after = f"after {outcome.noticed_s:.1f} s" if outcome.noticed_s else "at once"
        out(f"{paint('noticed', 'green')} {after}, as {paint(incident.severity)}")
        out(hanging(printable(incident.title), 10, "incident"))
        for suspect in incident.suspects[:3]:
            name = f"{suspect.label}: {suspect.text}"
            out(hanging(printable(name), 10, "suspect"))
        if outcome.resolved_s is not None:
            out(hanging(f"after {age(outcome.resolved_s)}", 10, "resolved"))
        elif waited:
            out(hanging("not within 2 minutes of the load's end", 10, "resolved"))
    count = len(outcome.incidents)
    if count > 1 or (count == 1 and incident is None):
        out(hanging(f"{count} incidents opened, 1 was expected:", 10, "count"))
        for other in outcome.incidents:
            line = f"{other.id}  {other.severity}  {other.resource}  {other.title}"
            out(hanging(printable(line), 12, "  "))


def _json(outcome: Outcome, learning: float) -> None:
    value = {
        **msgspec.to_builtins(outcome),
        "noticed": outcome.incident is not None,
        "opened": len(outcome.incidents),
        "learning": learning,
    }
    out(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
