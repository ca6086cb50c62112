"""Start what stays: the agent, the receiver, or both."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vedette.terminal import CommandError, age, clock, hanging, out, paint, printable

if TYPE_CHECKING:
    from vedette.api import Incident
    from vedette.up import Change, Stack

__all__ = ["receive", "run", "up"]

_NO_RECEIVER = CommandError(
    "the receiver is not installed", "Install it with: pip install 'vedette[receiver]'"
)
#: prctl(2): the name of this thread, which is the process's in ps, top and our own suspects.
PR_SET_NAME = 15


def run(options: argparse.Namespace) -> int:
    """Run the agent until SIGTERM or SIGINT."""
    from vedette.lean import run_lean

    run_lean()
    _named("vedette")
    # An idle BLAS thread per core costs more at start than everything else; the arrays here are
    # small. It is read when numpy is loaded, which has not happened yet.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from vedette.agent import run as run_agent

    return run_agent(options.config, options.state_dir)


def receive(options: argparse.Namespace) -> int:
    """Run the reference receiver until SIGTERM or SIGINT."""
    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        raise _NO_RECEIVER
    _named("vedette-receive")
    from vedette.commands.loading import required
    from vedette.paths import places
    from vedette.receiver.serve import run as run_receiver

    _, config = required(options.config)
    section = config.receiver
    state_dir = options.state_dir or Path(section.state_dir or places().receiver_state_dir)
    return run_receiver(options.listen or section.listen, state_dir, int(section.cap))


def up(options: argparse.Namespace) -> int:
    """Run receiver and agent as children and print incidents until Ctrl-C."""
    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        raise _NO_RECEIVER
    from vedette.commands.loading import config_path, destination, required
    from vedette.up import Stack, StackError, stopping

    directory = options.state_dir or Path(".run")
    here = Path("agent.toml")
    path = config_path(options.config or (here if here.is_file() else None))
    if path is None:
        path = _written_default(directory)
    _, config = required(path)
    listen = config.receiver.listen
    reached = any(destination(one.options) == listen for one in config.outputs)
    with stopping() as asked:
        try:
            with Stack(directory, listen, path) as stack:
                _welcome(stack.directory, listen, path, reached=reached)
                _follow(stack, asked)
        except StackError as error:
            for line in error.log:
                sys.stderr.write(f"  | {printable(line)}\n")
            raise CommandError(str(error), error.remedy) from None
    return 0


def _named(name: str) -> None:
    """Be called by what this is, also when it was started as ``python -m vedette``."""
    with contextlib.suppress(AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def _written_default(directory: Path) -> Path:
    """Write the default agent.toml, whose output is the receiver, unless it is there."""
    from vedette.config import default_toml
    from vedette.registry import discover

    path = directory / "agent.toml"
    if not path.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(default_toml(discover(plugins_dir=None)), "utf-8")
    return path


def _welcome(directory: Path, listen: str, config: Path, *, reached: bool) -> None:
    out(f"{paint('Vedette is up.', 'bold')}  {paint(f'http://{listen}/', 'cyan')}")
    out(hanging(str(config), 10, "config"))
    out(hanging(f"{directory}/agent.log, {directory}/receiver.log", 10, "logs"))
    out(hanging(f"vedette drill cpu --state-dir {directory}/agent", 10, "try"))
    out(hanging("Ctrl-C ends both", 10, "end"))
    if not reached:
        text = (
            f"no output of this configuration sends to {listen}, so the page stays empty; "
            "incidents are printed here all the same"
        )
        out(hanging(text, 10, "note"))
    out()
    sys.stdout.flush()


def _follow(stack: Stack, asked: Callable[[], bool]) -> None:
    """Print what changes, looking once a second, until asked to stop."""
    from vedette.up import changes, incidents_of

    known: dict[str, Incident] = {}
    look = time.monotonic()
    while not asked():
        if time.monotonic() >= look:
            look += 1
            stack.check()
            found = incidents_of(stack.agent_dir)
            for change in [] if found is None else changes(known, found):
                _print(change)
        time.sleep(0.1)


def _print(change: Change) -> None:
    incident = change.incident
    time_ns = {
        "opened": incident.opened_ns,
        "resolved": incident.resolved_ns or incident.updated_ns,
    }.get(change.kind, incident.updated_ns)
    severity = "resolved" if change.kind == "resolved" else incident.severity
    word = paint(f"{severity:<8}")
    if change.kind == "resolved":
        lasted = age((time_ns - incident.onset_ns) / 1e9)
        text = f"after {lasted}: {incident.title}"
    else:
        text = incident.title if change.kind == "opened" else f"now: {incident.title}"
    lead = f"{clock(time_ns)}  "
    out(lead + word + "  " + hanging(printable(text), len(lead) + 10)[len(lead) + 10 :])
    if change.kind != "resolved":
        others = [one for one in incident.suspects if one.name not in incident.title]
        for suspect in others[:3]:
            name = f"{suspect.label}: {suspect.text}"
            out(hanging(printable(name), len(lead) + 10))
    sys.stdout.flush()
