"""Find the running agent that a verb without ``--state-dir`` means, and ask it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vedette.config import bootstrap
from vedette.control import ControlError, NotRunning, call
from vedette.paths import DEVELOPMENT_STATE_DIR, SYSTEM, places
from vedette.terminal import CommandError

__all__ = ["ask", "ask_running", "candidates", "default_places_config"]


def candidates(explicit: Path | None) -> list[Path]:
    """Return the state directories to look in: the one named, or else the usual ones, in order.

    The usual ones are what the default agent.toml says or the user's own, what ``vedette up``
    keeps in the current directory (when it belongs to the user), and the system's.
    """
    if explicit is not None:
        return [explicit]
    try:
        own = places().state_dir
        config = default_places_config()
    except LookupError as error:
        raise CommandError(str(error)) from None
    if config is not None:
        section, _ = bootstrap(config)
        if section.state_dir:
            own = Path(section.state_dir)
    found = [own]
    if _owned(DEVELOPMENT_STATE_DIR):
        found.append(DEVELOPMENT_STATE_DIR)
    if SYSTEM.state_dir not in found:
        found.append(SYSTEM.state_dir)
    return found


def default_places_config() -> Path | None:
    """Return the default agent.toml when there is one that may be read."""
    path = places().config
    return path if os.access(path, os.R_OK) else None


def ask(explicit: Path | None, verb: str, **arguments: Any) -> tuple[Path, dict[str, Any]]:
    """Ask the first agent found; return its state directory and the answer.

    Raises ``NotRunning`` when none of the directories has an agent, and ``CommandError`` for
    every other reason not to get an answer.
    """
    tried = candidates(explicit)
    denied: ControlError | None = None
    for state_dir in tried:
        try:
            return state_dir, call(state_dir, verb, **arguments)
        except NotRunning:
            continue
        except ControlError as error:
            denied = denied or error
    if denied is not None:
        raise CommandError(str(denied), denied.remedy)
    listed = ", ".join(map(str, tried))
    raise NotRunning(
        f"no agent is running (looked in {listed})",
        "Start one with `vedette run`, or name its directory with --state-dir.",
    )


def ask_running(explicit: Path | None, verb: str, **arguments: Any) -> tuple[Path, dict[str, Any]]:
    """Ask the first agent found, as ``ask`` does; ``CommandError`` when there is none as well."""
    try:
        return ask(explicit, verb, **arguments)
    except NotRunning as error:
        raise CommandError(str(error), error.remedy) from None


def _owned(directory: Path) -> bool:
    """Return whether a directory is the user's or root's: another's could answer anything."""
    try:
        return directory.stat().st_uid in (0, os.geteuid())
    except OSError:
        return False
