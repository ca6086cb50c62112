"""Load configuration and plugins the way the agent does, for the verbs that look at them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from vedette.api import Collector, Instrument, Problem
from vedette.config import AgentSection, Config, bootstrap, load
from vedette.paths import places
from vedette.registry import Registry, discover
from vedette.terminal import CommandError, printable

__all__ = ["Loaded", "config_path", "destination", "instruments_of", "listed", "loaded", "required"]


class Loaded(NamedTuple):
    """What was found: ``config`` is None when a problem is an error."""

    path: Path | None
    plugins_dir: Path | None
    agent: AgentSection
    registry: Registry
    config: Config | None
    problems: list[Problem]


def config_path(explicit: Path | None) -> Path | None:
    """Return the agent.toml to read: the one named (which must exist), the default one, or None.

    None means that there is no file, and every default holds.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise CommandError(f"there is no file {explicit}", "Check --config.")
        return explicit
    try:
        path = places().config
    except LookupError as error:
        raise CommandError(str(error)) from None
    if not os.path.lexists(path):
        return None
    if not os.access(path, os.R_OK):
        raise CommandError(f"no permission to read {path}", "Ask as root, or use --config.")
    return path


def loaded(explicit: Path | None) -> Loaded:
    """Read everything, collecting every problem instead of stopping at the first."""
    # What a plugin is refused for is part of the answer, not a line of a log nobody set up.
    logging.getLogger("vedette").addHandler(logging.NullHandler())
    path = config_path(explicit)
    agent, problems = bootstrap(path)
    plugins_dir = Path(agent.plugins_dir) if agent.plugins_dir else places().plugins_dir
    registry = discover(plugins_dir=plugins_dir, disable=agent.disable)
    config, found = load(path, registry)
    seen = {(one.text, one.line) for one in found}
    problems = [one for one in problems if (one.text, one.line) not in seen] + found
    return Loaded(path, plugins_dir, agent, registry, config, problems)


def required(explicit: Path | None) -> tuple[Loaded, Config]:
    """Read everything; raise ``CommandError`` with all problems when there is an error."""
    found = loaded(explicit)
    if found.config is None:
        raise CommandError(
            "the configuration has errors:\n" + "\n".join(f"  {listed(p)}" for p in found.problems),
            "`vedette check` explains what is accepted.",
        )
    return found, found.config


def listed(problem: Problem) -> str:
    """Return a problem as ``file:line: text``."""
    place = f"{problem.file}:{problem.line}: " if problem.line else ""
    place = place or (f"{problem.file}: " if problem.file else "")
    return printable(place + problem.text)


def destination(options: Any) -> str:
    """Return ``host:port`` of an output's options, from whichever of its texts is a URL.

    Empty when there is none; raises ``ValueError`` for a URL that names no host or a wrong port.
    """
    for name in getattr(options, "__struct_fields__", ()):
        value = getattr(options, name)
        if isinstance(value, str) and "://" in value:
            parts = urlsplit(value)
            if not parts.hostname:
                raise ValueError(f"{name} = {value!r} names no host")
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return f"{host}:{port}"
    return ""


def instruments_of(registry: Registry) -> list[Instrument]:
    """Return what all collectors declare, and what the agent counts of them."""
    from vedette.lanes import RunnerMetrics

    kinds: list[type[Collector]] = [*registry.collectors.values(), RunnerMetrics]
    return [instrument for kind in kinds for instrument in kind.instruments()]
