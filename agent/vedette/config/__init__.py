"""Read agent.toml into typed structs, telling every problem with its file and line.

The core owns the sections ``agent``, ``incidents``, ``models``, ``spool`` and ``receiver``; each
registered component class owns one table under ``collectors``, ``detectors`` or ``outputs``, whose
keys are the fields of its ``Config`` and a few that the core keeps for itself. No file at all is a
complete configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vedette.api import Problem
from vedette.config.components import read_components
from vedette.config.effective import digest, effective_json, effective_toml
from vedette.config.files import Tree, find, read
from vedette.config.rules import check
from vedette.config.sample import default_toml
from vedette.config.schema import FAILED, Reader, fields, nearest
from vedette.config.settings import (
    CORE_KEYS,
    CORE_SECTIONS,
    AgentSection,
    Component,
    Config,
    IncidentsSection,
    ModelsSection,
    ReceiverSection,
    SpoolSection,
)

if TYPE_CHECKING:
    from vedette.registry import Registry

__all__ = [
    "AgentSection",
    "Component",
    "Config",
    "IncidentsSection",
    "ModelsSection",
    "ReceiverSection",
    "SpoolSection",
    "bootstrap",
    "default_toml",
    "effective_json",
    "effective_toml",
    "load",
]


def load(
    path: Path | None, registry: Registry, *, places: Iterable[Path] = ()
) -> tuple[Config | None, list[Problem]]:
    """Read the configuration; None in its place when one of the problems is an error.

    ``path`` must exist when it is given; otherwise the first of ``places`` that exists is read, and
    with none of them everything is at its default.
    """
    path = find(path, places)
    tree = read(path)
    _check_names(tree)
    sections = {name: _section(tree, name, type_) for name, type_ in CORE_SECTIONS.items()}
    check(tree, sections, registry)
    components = {
        kind: read_components(tree, kind, registry, sections["agent"].interval)
        for kind in CORE_KEYS
    }
    problems = tree.in_order()
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    config = Config(
        sections["agent"],
        sections["incidents"],
        sections["models"],
        sections["spool"],
        sections["receiver"],
        components["collectors"],
        components["detectors"],
        components["outputs"],
        path=str(path or ""),
    )
    return msgspec.structs.replace(config, digest=digest(config)), problems


def bootstrap(
    path: Path | None, *, places: Iterable[Path] = ()
) -> tuple[AgentSection, list[Problem]]:
    """Read ``[agent]`` alone: it says where plugins are, and ``load`` needs those.

    What is wrong is at its default; ``load`` reports the same problems again.
    """
    tree = read(find(path, places))
    section: AgentSection = _section(tree, "agent", AgentSection)
    return section, tree.in_order()


def _check_names(tree: Tree) -> None:
    """Report what stands at the top and belongs to no section."""
    known = [*CORE_SECTIONS, *CORE_KEYS]
    for name, value in tree.data.items():
        if name in known:
            continue
        if isinstance(value, dict | list):
            text = f"unknown section [{name}]{nearest(name, known)}"
        else:
            text = f"{name!r} stands in no section; put it below one, such as [agent]"
        tree.report((name,), text)


def _section(tree: Tree, name: str, type_: type[msgspec.Struct]) -> Any:
    """Read a section of the core; what is wrong is reported and at its default."""
    values = Reader(tree.report).table(fields(type_), tree.data.get(name, {}), (name,))
    return type_(**{key: value for key, value in values.items() if value is not FAILED})
