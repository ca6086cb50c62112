"""Check what a start would meet, without starting anything: every problem at once."""

from __future__ import annotations

import argparse
import os
import shutil
import stat
from pathlib import Path

from vedette.api import Problem
from vedette.commands.configuration import Part, parts
from vedette.commands.json_text import out_json
from vedette.commands.loading import Loaded, destination, listed, loaded
from vedette.config import Config
from vedette.paths import places
from vedette.terminal import hanging, out, paint, size

__all__ = ["check", "check_outputs", "check_plugins", "check_state_dir"]

EXIT = {"error": 2, "warning": 1}


def check(options: argparse.Namespace) -> int:
    """Print every problem; 0 none, 1 warnings, 2 errors."""
    found = loaded(options.config)
    problems = [*found.problems, *check_plugins(found)]
    config = found.config
    state_dir = options.state_dir or Path(found.agent.state_dir or places().state_dir)
    problems += check_state_dir(state_dir, config)
    known: list[Part] = []
    if config is not None:
        known = parts(found)
        problems += _failing(known)
        problems += check_outputs(config)
    code = max((EXIT[problem.severity] for problem in problems), default=0)
    if options.json:
        _json(found, state_dir, known, problems, code)
    else:
        _print(found, state_dir, known, problems)
    return code


def check_plugins(found: Loaded) -> list[Problem]:
    """A refused plugin is a warning: the rest runs."""
    return [
        Problem("warning", f"the plugin {one.name} is refused: {one.reason}", one.source)
        for one in found.registry.plugins
        if one.status == "refused"
    ]


def check_state_dir(directory: Path, config: Config | None) -> list[Problem]:
    """Check that the state can be kept there, that nobody else reads it, and that it fits."""
    place = str(directory)
    try:
        status = directory.stat()
    except FileNotFoundError:
        return _check_parent(directory)
    except OSError as error:
        return [Problem("error", f"cannot be looked at: {error.strerror}", place)]
    if not stat.S_ISDIR(status.st_mode):
        return [Problem("error", "is no directory; name another as [agent] state_dir", place)]
    problems = []
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        text = f"others may write here (mode {mode:04o}); chmod 0700 {directory}"
        problems.append(Problem("error", text, place))
    elif status.st_mode & stat.S_IROTH:
        mode = stat.S_IMODE(status.st_mode)
        text = f"anybody may read what was collected (mode {mode:04o}); chmod 0700 {directory}"
        problems.append(Problem("warning", text, place))
    if not os.access(directory, os.W_OK | os.X_OK):
        text = "not writable for this user; run as its owner, or change the owner"
        problems.append(Problem("error", text, place))
    return problems + _check_room(directory, config)


def _check_parent(directory: Path) -> list[Problem]:
    """A state directory that does not exist yet must be possible to make."""
    parent = next(one for one in directory.absolute().parents if one.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return []
    text = f"does not exist, and this user may not make it in {parent}"
    return [Problem("error", text, str(directory))]


def _check_room(directory: Path, config: Config | None) -> list[Problem]:
    free = shutil.disk_usage(directory).free
    if config is None or free >= config.spool.cap:
        return []
    text = (
        f"{size(free)} are free, less than [spool] cap = {size(config.spool.cap)}: reports that "
        "cannot be delivered may be lost; make room or lower cap"
    )
    return [Problem("warning", text, str(directory))]


def check_outputs(config: Config) -> list[Problem]:
    """A destination must at least name a host; whether it answers is not asked."""
    problems = []
    for component in config.outputs:
        if not component.enabled:
            continue
        try:
            destination(component.options)
        except ValueError as error:
            text = f"[outputs.{component.id}] {error}"
            problems.append(Problem("error", text, config.path))
    return problems


def _failing(known: list[Part]) -> list[Problem]:
    return [
        Problem("warning", f"the collector {part.name} fails at its first look: {part.note}")
        for part in known
        if part.state == "failing"
    ]


def _print(found: Loaded, state_dir: Path, known: list[Part], problems: list[Problem]) -> None:
    out(hanging(str(found.path or "no file: every default holds"), 12, "config"))
    out(hanging(str(state_dir), 12, "state"))
    for state in ("ok", "resting", "off"):
        named = [p for p in known if p.kind == "collector" and p.state == state]
        if named:
            names = ", ".join(f"{p.name} ({p.note})" if p.note else p.name for p in named)
            label = {"ok": "collectors"}.get(state, state)
            out(hanging(names, 12, label))
    for kind in ("detector", "output"):
        names = ", ".join(p.name for p in known if p.kind == kind and p.state == "ok")
        out(hanging(names or "none", 12, f"{kind}s"))
    if problems:
        out()
    for problem in problems:
        out(f"{paint(problem.severity)}: {listed(problem)}")
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    out()
    out(f"{errors} errors, {warnings} warnings" if problems else paint("ok"))


def _json(
    found: Loaded, state_dir: Path, known: list[Part], problems: list[Problem], code: int
) -> None:
    value = {
        "config": str(found.path or ""),
        "state_dir": str(state_dir),
        "result": {0: "ok", 1: "warnings", 2: "errors"}[code],
        "problems": problems,
        "parts": known,
    }
    out_json(value)
