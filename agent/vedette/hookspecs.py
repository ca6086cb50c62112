"""What a plugin can answer. Hooks register classes at start and announce rare events.

A hook call costs microseconds where a method call costs a fraction of one, so nothing on the hot
path is a hook. An implementation names only the arguments it wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pluggy import HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vedette.api import Collector, Detector, Host, Incident, Item, Output

hookspec = HookspecMarker("vedette")


@hookspec
def register_collectors() -> list[type[Collector]]:  # type: ignore[empty-body]
    """Return collector classes. Called once, before the configuration is read."""


@hookspec
def register_detectors() -> list[type[Detector]]:  # type: ignore[empty-body]
    """Return detector classes. Called once, before the configuration is read."""


@hookspec
def register_outputs() -> list[type[Output]]:  # type: ignore[empty-body]
    """Return output classes. Called once, before the configuration is read."""


@hookspec
def describe_host(host: Host) -> Iterable[Item]:  # type: ignore[empty-body]
    """Return what the host is made of, as far as this plugin knows.

    Called some time after the start and every ten minutes, in a thread of its own; it may take a
    second. Nothing leaves the host when nothing changed.
    """


@hookspec
def incident_changed(incident: Incident, previous: Incident | None) -> None:
    """Hear that an incident opened, changed or was resolved.

    Called from the pipeline's thread, after the incident was spooled; ``previous`` is None when it
    opened. Must return quickly; an exception is logged and harms nobody else.
    """
