"""Read the tables of collectors, detectors and outputs into components."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from vedette.api import Collector, Detector, Output
from vedette.config.files import Tree
from vedette.config.schema import FAILED, Reader, fields, nearest
from vedette.config.settings import CORE_KEYS, Component
from vedette.config.toml_positions import Path as Place
from vedette.config.units import format_duration
from vedette.config.wording import found, label, section

if TYPE_CHECKING:
    from msgspec.structs import FieldInfo

    from vedette.registry import Registry

__all__ = ["options_of", "read_components"]

#: The table of a detector that says what is tried beside it.
SHADOW = "shadow"

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

AnyComponent = Collector | Detector | Output


def read_components(
    tree: Tree, kind: str, registry: Registry, base_interval_s: float
) -> tuple[Component, ...]:
    """Return the components of one kind in the registry's order; problems go into the tree.

    A class without a table of its own is there when it is on by default.
    """
    return _Components(tree, kind, registry, base_interval_s).read()


def options_of(type_: type[msgspec.Struct], values: Mapping[str, Any]) -> Any:
    """Return the options that plain values mean, as in a file; raises ``ValueError``."""
    problems: list[str] = []

    def report(place: Place, text: str) -> None:
        problems.append(text)

    reader = Reader(report)
    options = reader.struct(type_, dict(values), ())
    if problems:
        raise ValueError("; ".join(problems))
    return options


class _Components:
    def __init__(self, tree: Tree, kind: str, registry: Registry, base_interval_s: float) -> None:
        self.tree = tree
        self.kind = kind
        self.registry = registry
        self.base_interval_s = base_interval_s
        self.reader = Reader(tree.report)
        self.classes: Mapping[str, type[AnyComponent]] = getattr(registry, kind)
        self.components: list[Component] = []

    def read(self) -> tuple[Component, ...]:
        tables = self.tree.data.get(self.kind, {})
        if not isinstance(tables, dict):
            place = (self.kind,)
            self.tree.report(
                place, f"{label(place)}: expected a table, found {found(tables, place)}"
            )
            tables = {}
        for name in tables:
            if name not in self.classes:
                self._unknown(name)
        for name, class_ in self.classes.items():
            if name not in tables:
                if getattr(class_, "default", False):
                    self._component(class_, name, {}, (self.kind, name))
            elif isinstance(tables[name], list):
                self._several(class_, tables[name])
            else:
                self._one(class_, tables[name])
        return tuple(self.components)

    def _one(self, class_: type[AnyComponent], table: Any) -> None:
        place = (self.kind, class_.name)
        if isinstance(table, dict) and "id" in table:
            text = f"{label((*place, 'id'))} tells several apart; write [{section(place)}] for that"
            self.tree.report((*place, "id"), text)
            table = {key: value for key, value in table.items() if key != "id"}
        self._component(class_, class_.name, table, place)

    def _several(self, class_: type[AnyComponent], tables: list[Any]) -> None:
        seen: dict[str, Place] = {}
        for index, table in enumerate(tables):
            place = (self.kind, class_.name, index)
            if not isinstance(table, dict):
                text = f"{label(place)}: expected a table, found {found(table, place)}"
                self.tree.report(place, text)
                continue
            id_ = self._id(table, place, seen)
            rest = {key: value for key, value in table.items() if key != "id"}
            self._component(class_, f"{class_.name}.{id_}", rest, place)

    def _id(self, table: dict[str, Any], place: Place, seen: dict[str, Place]) -> str:
        """Return the id of one of several; unusable or used ones are reported."""
        here = (*place, "id")
        id_ = table.get("id")
        if id_ is None:
            self.tree.report(place, f"{section(place)} has no 'id', which tells it from the others")
        elif not isinstance(id_, str) or not _ID.fullmatch(id_):
            text = f"expected a text of letters, digits, - and _, found {found(id_, here)}"
            self.tree.report(here, f"{label(here)}: {text}")
        elif id_ in seen:
            text = f"{id_!r} is used already at {self.tree.where(seen[id_])}"
            self.tree.report(here, f"{label(here)}: {text}")
        else:
            seen[id_] = here
        return str(id_)

    def _component(self, class_: type[AnyComponent], id_: str, table: Any, place: Place) -> None:
        core, own = fields(CORE_KEYS[self.kind]), fields(class_.Config)
        tried = None
        if self.kind == "detectors" and isinstance(table, dict) and SHADOW in table:
            tried = table[SHADOW]
            table = {key: value for key, value in table.items() if key != SHADOW}
        values = self.reader.table({**core, **own}, table, place)
        if any(value is FAILED for value in values.values()):
            return
        options = {key: value for key, value in values.items() if key in own}
        options = self.reader.construct(class_.Config, options, place)
        enabled = values.get("enabled")
        component = {
            "name": class_.name,
            "id": id_,
            "enabled": True if enabled is None else enabled,
            "options": options,
        }
        if issubclass(class_, Collector):
            component |= self._timing(class_, values, place)
        if tried is not None:
            component["shadow"] = self._shadow(class_, own, table, tried, place)
        if options is not FAILED:
            self.components.append(Component(**component))

    def _shadow(
        self,
        class_: type[AnyComponent],
        own: Mapping[str, FieldInfo],
        table: Any,
        tried: Any,
        place: Place,
    ) -> Any:
        """Return the options of the shadow: the detector's, but for those it says itself.

        None for what is wrong, which is reported.
        """
        here = (*place, SHADOW)
        if not isinstance(tried, dict):
            self.tree.report(here, f"{label(here)}: expected a table, found {found(tried, here)}")
            return None
        said = self.reader.table(own, tried, here)
        rest = {key: value for key, value in table.items() if key in own and key not in tried}
        said |= {key: self.reader.value(own[key].type, item, here) for key, item in rest.items()}
        if any(value is FAILED for value in said.values()):
            return None
        options = self.reader.construct(class_.Config, said, here)
        return None if options is FAILED else options

    def _timing(
        self, class_: type[Collector], values: dict[str, Any], place: Place
    ) -> dict[str, Any]:
        """Decide interval and deadline. Only what the file says can be wrong about them."""
        base_ns, given = round(self.base_interval_s * 1e9), values.get("interval")
        interval_ns = round((given or class_.interval_s) * 1e9)
        multiple_ns = max(1, math.ceil(interval_ns / base_ns)) * base_ns
        if given is not None and (given <= 0 or multiple_ns != interval_ns):
            here = (*place, "interval")
            text = f"{format_duration(given)} is no multiple of [agent] interval"
            base = format_duration(self.base_interval_s)
            self.tree.report(here, f"{label(here)}: {text}, which is {base}")
        timeout = values.get("timeout")
        here = (*place, "timeout")
        if timeout is not None and timeout <= 0:
            self.tree.report(here, f"{label(here)}: expected more than 0s")
        elif timeout is not None and round(timeout * 1e9) > multiple_ns:
            text = f"{format_duration(timeout)} is more than the interval: slow ticks cost the next"
            self.tree.report(here, f"{label(here)}: {text}", "warning")
        isolation = values.get("isolation") or class_.isolation
        if class_.open_ended and isolation == "process":
            here = (*place, "isolation")
            text = f"{label(here)}: {class_.name} has the metrics of its source and runs in a lane"
            self.tree.report(here, text)
        return {
            "interval_s": multiple_ns / 1e9,
            "timeout_s": class_.timeout_s if timeout is None else float(timeout),
            "isolation": isolation,
        }

    def _unknown(self, name: str) -> None:
        """Report a table without a class; only a warning when a plugin that is off may own it.

        The other plugins run without a refused one, so its settings must not stop the agent.
        """
        place = (self.kind, name)
        off = [plugin for plugin in self.registry.plugins if plugin.status != "active"]
        owners = [p for p in off if name == p.name or name in getattr(p, self.kind)]
        hint = nearest(name, self.classes, other="")
        unseen = [] if hint else [p for p in off if not (p.collectors or p.detectors or p.outputs)]
        if owners or unseen:
            names = ", ".join(f"{p.name!r} ({p.status})" for p in owners or unseen)
            verb = "belongs" if owners else "may belong"
            self.tree.report(place, f"{section(place)} is ignored: {verb} to {names}", "warning")
            return
        hint = nearest(name, self.classes)
        self.tree.report(place, f"{section(place)}: no {self.kind[:-1]} is called {name!r}{hint}")
