"""Run a drill and say whether the agent noticed; list the drills there are."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from vedette.api import Incident, Unavailable
from vedette.commands.json_text import out_json
from vedette.commands.locate import ask, candidates
from vedette.config.units import parse_duration
from vedette.control import ControlError, NotRunning, call
from vedette.drills.faults import FAULTS
from vedette.drills.load import Load
from vedette.drills.plan import Drill, Place, Refused, plan
from vedette.drills.watch import Outcome, watch
from vedette.terminal import CommandError, age, hanging, out, paint, printable, table

__all__ = ["announce_agent", "announce_end", "drill", "named", "place", "seconds_of"]

#: With fewer series than these still learning, a drill is a fair one: what is read rarely takes
#: ten minutes, and some series come later.
LEARNING_SHARE = 0.05
SHORTEST_S, LONGEST_S = 5.0, 600.0


def drill(options: argparse.Namespace) -> int:
    """Run a drill; 0 noticed as one incident, 1 unnoticed or several; ``CommandError``: refused."""
    if options.list:
        return _list(options)
    if options.series:
        from vedette.commands.drill_series import series

        return series(options)
    if len(options.names) != 1:
        options.usage_error("name one drill, or say --list or --series")
    (name,) = named(options)
    seconds = seconds_of(options)
    try:
        state_dir, status = ask(options.state_dir, "status")
    except NotRunning as error:
        raise CommandError(f"nothing to drill: {error}", error.remedy) from None
    try:
        planned = plan(name, seconds, place(options, state_dir))
        if not options.json:
            _announce(planned, state_dir, status)
        with _terminating():
            outcome = watch(
                Load(planned),
                _asker(state_dir),
                wait=not options.no_wait,
                progress=_progress(seconds),
            )
    except (Refused, Unavailable) as error:
        raise CommandError(f"no drill: {error}") from None
    finally:
        _clear()
    if options.json:
        _json(outcome, float(status.get("learning") or 0.0))
    else:
        _report(outcome, waited=not options.no_wait)
        announce_end([name])
    return 0 if outcome.exactly_one else 1


def named(options: argparse.Namespace) -> list[str]:
    """Return the names of drills that were given; ends with the usage for one nobody knows."""
    for name in options.names:
        if name not in FAULTS:
            options.usage_error(f"there is no drill {name!r}; there are {', '.join(FAULTS)}")
    return list(options.names)


def seconds_of(options: argparse.Namespace) -> float:
    """Return how long a fault shall last; ends with the usage when that cannot be."""
    try:
        seconds = float(parse_duration(options.duration))
    except ValueError as error:
        options.usage_error(f"--for: {error}")
    if not SHORTEST_S <= seconds <= LONGEST_S:
        options.usage_error(f"--for: {options.duration} is not between 5s and 10m")
    return seconds


def place(options: argparse.Namespace, state_dir: Path) -> Place:
    """Return where faults may leave their mark."""
    return Place(options.path or state_dir, options.log, options.port)


def announce_agent(state_dir: Path, status: dict[str, Any]) -> None:
    """Say which agent is watched, and what may keep it from noticing."""
    out(hanging(f"the agent in {printable(state_dir)}", 10, "watching"))
    learning = float(status.get("learning") or 0.0)
    if learning > LEARNING_SHARE:
        up = age(float(status.get("uptime_s") or 0.0))
        note = (
            f"the agent is up for {up} and {learning:.0%} of its series are still learning what "
            "is normal: a drill may go unnoticed. A series is judged after 60 readings by "
            "default: a minute for what is read each second, ten for what is read every 10 s."
        )
        out(hanging(note, 10, "note"))
    if status.get("incidents_open"):
        note = (
            f"incidents open already: {status['incidents_open']}; what a drill does may be "
            "taken for a part of them, better wait until they are resolved"
        )
        out(hanging(note, 10, "note"))


def announce_end(names: Collection[str]) -> None:
    """Say what the agent may go on to tell of, now that the drill is over."""
    if "model" in names:
        note = (
            "the drill's model server ended with it: an agent that had got used to it says that it "
            "is gone, for half an hour"
        )
        out(hanging(note, 10, "note"))


def _list(options: argparse.Namespace) -> int:
    """Show every drill, and whether this host has the room for it now."""
    directory = options.path or next(
        (one for one in candidates(options.state_dir) if one.is_dir()), Path.cwd()
    )
    seconds = seconds_of(options)
    rows, found = [], []
    for name, fault in FAULTS.items():
        try:
            state, text = "ready", plan(name, seconds, place(options, directory)).text
        except Refused as error:
            state, text = "refused", str(error)
        except Unavailable as error:
            state, text = "unavailable", str(error)
        rows.append((name, state, text))
        found.append({"name": name, "about": fault.text, "state": state, "text": text})
    if options.json:
        out_json({"drills": found})
    else:
        out("\n".join(table(rows, ("drill", "state", "what"))))
    return 0


@contextmanager
def _terminating() -> Iterator[None]:
    """Let SIGTERM end a drill as Ctrl-C does, so that its load is ended and cleaned up."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _asker(state_dir: Path) -> Callable[[], Sequence[Incident]]:
    def poll() -> Sequence[Incident]:
        try:
            # A busy host is the point: the agent may take its time to answer.
            answer = call(state_dir, "incidents", timeout_s=15, all=True)
            return msgspec.convert(answer["incidents"], list[Incident])
        except ControlError as error:  # it ended while its host was under load: say so, loudly
            raise CommandError(f"the agent went away during the drill: {error}") from None

    return poll


def _announce(planned: Drill, state_dir: Path, status: dict[str, Any]) -> None:
    out(hanging(f"{printable(planned.text)}, for {age(planned.seconds)}", 10, "load"))
    if planned.fault.lead_s:
        lead = f"{age(planned.fault.lead_s)} of normal work first, so that there is one to spoil"
        out(hanging(lead, 10, "before"))
    out(hanging(f"{planned.fault.comm}, ends with this command", 10, "process"))
    announce_agent(state_dir, status)


def _progress(seconds: float) -> Callable[[float, Outcome | None], None]:
    """Return what keeps one line of progress on a terminal, and is silent elsewhere."""

    def show(elapsed: float, outcome: Outcome | None) -> None:
        if not sys.stderr.isatty():
            return
        running = elapsed < seconds
        phase = f"load {elapsed:.0f} of {seconds:.0f} s" if running else f"{elapsed:.0f} s"
        if outcome is None:
            phase, state = f"in {-elapsed:.0f} s", "normal work first"
        elif outcome.noticed_s is None:
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
    out_json(value)
