"""The configuration as typed values: what the sections hold and what ``load`` returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vedette.api import Duration, Isolation, Size
from vedette.config.units import Share

__all__ = [
    "CORE_KEYS",
    "CORE_SECTIONS",
    "AgentSection",
    "CollectorKeys",
    "Component",
    "ComponentKeys",
    "Config",
    "IncidentsSection",
    "ModelsSection",
    "ReceiverSection",
    "SpoolSection",
]

LogLevel = Literal["debug", "info", "warning", "error"]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]


class AgentSection(msgspec.Struct, frozen=True):
    """The daemon itself."""

    interval: Annotated[
        Duration,
        Meta(description="The base tick. Collectors run at multiples of it."),
    ] = Duration(1)
    window: Annotated[
        Duration,
        Meta(description="What one report summarises; a multiple of interval."),
    ] = Duration(60)
    settle: Annotated[
        Duration,
        Meta(description="How long after a start reports come every 10 seconds."),
    ] = Duration(120)
    state_dir: Annotated[
        str,
        Meta(
            description="Where learned models and unsent reports are kept. "
            "Empty: the usual place, /var/lib/vedette for root."
        ),
    ] = ""
    plugins_dir: Annotated[
        str,
        Meta(
            description="Folder of drop-in plugins, *.py, which only root or the agent's user may "
            "write. Empty: the usual place, /etc/vedette/plugins.d for root."
        ),
    ] = ""
    disable: Annotated[
        tuple[str, ...], Meta(description="Plugins that are not even imported, by name.")
    ] = ()
    labels: Annotated[
        dict[str, str],
        Meta(description="Sent with everything this host reports, such as { site = 'rack 7' }."),
    ] = {}
    log_level: Annotated[LogLevel, Meta(description="What is logged to standard error.")] = "info"
    max_series_per_collector: Annotated[
        Count, Meta(description="Series of one collector beyond these are dropped and counted.")
    ] = 2_000
    max_series: Annotated[
        Count, Meta(description="Series of the whole host beyond these are dropped and counted.")
    ] = 20_000

    cpu_budget: Annotated[
        Share,
        Meta(
            description="CPU time the agent may use, as a share of one core. When it would use "
            "more, its most expensive collectors run less often until there is room again. "
            "'off': no budget."
        ),
    ] = Share(0.02)


class IncidentsSection(msgspec.Struct, frozen=True):
    """How findings become incidents."""

    gather: Annotated[
        Duration,
        Meta(description="How long findings are gathered before an incident is opened."),
    ] = Duration(3)
    resolve_after: Annotated[
        Duration, Meta(description="How long all must be normal before it is resolved.")
    ] = Duration(60)
    keep: Annotated[Count, Meta(description="Incidents kept on this host, newest first.")] = 200
    false_alarms: Annotated[
        float,
        Meta(
            description="False incidents a week that are allowed on this host; 0: thresholds stay "
            "as shipped.",
            ge=0,
        ),
    ] = 1.0


class ModelsSection(msgspec.Struct, frozen=True):
    """How detectors are trained anew, tried beside the one in charge, and kept."""

    train: Annotated[
        str,
        Meta(
            description="When to train, as cron says it: '30 2 * * *'. Empty: nightly, at a minute "
            "of the host's own. 'off': only when asked to."
        ),
    ] = ""
    decide_after: Annotated[
        Duration,
        Meta(
            description="How long a trained detector is compared before it takes over or is "
            "rejected."
        ),
    ] = Duration(6 * 3600)
    keep: Annotated[
        int,
        Meta(
            description="Versions kept of each detector; never less than the one in charge, the "
            "one before it and what is being tried.",
            ge=3,
            le=100,
        ),
    ] = 5
    readings: Annotated[
        Size,
        Meta(description="What the readings of the last 14 days may take, to train on."),
    ] = Size(64 << 20)


class SpoolSection(msgspec.Struct, frozen=True):
    """The queue on disk that keeps reports until they are delivered."""

    cap: Annotated[Size, Meta(description="The most it may take from the disk.")] = Size(256 << 20)
    segment: Annotated[
        Size, Meta(description="The size of one of its files; at most half of cap.")
    ] = Size(4 << 20)


class ReceiverSection(msgspec.Struct, frozen=True):
    """The receiver that comes with Vedette, `vedette receive`; an agent does not need it."""

    listen: Annotated[
        str,
        Meta(
            description="Address and port. Whoever reaches it may read and write: it asks nobody."
        ),
    ] = "127.0.0.1:4319"
    state_dir: Annotated[
        str,
        Meta(
            description="Where received data is kept. "
            "Empty: the usual place, /var/lib/vedette-receiver for root."
        ),
    ] = ""
    cap: Annotated[
        Size, Meta(description="The most it may take from the disk; the oldest goes first.")
    ] = Size(1 << 30)


class ComponentKeys(msgspec.Struct, frozen=True):
    """What the core reads from the table of any component."""

    enabled: bool | None = None


class CollectorKeys(ComponentKeys, frozen=True):
    """What the core reads from the table of a collector."""

    interval: Duration | None = None
    timeout: Duration | None = None
    isolation: Isolation | None = None


class Component(msgspec.Struct, frozen=True, eq=False):
    """One configured instance of a registered class.

    ``id`` is the name, or ``name.id`` where the file has several. ``enabled`` is decided: a table
    of its own or the class's default, unless the file says ``enabled``. For collectors
    ``interval_s`` is decided too, a multiple of the base interval, as is ``isolation``;
    ``timeout_s`` None stands for half the interval. ``options`` is an instance of the class's
    ``Config``; of a detector so is ``shadow``, what is to be tried beside it.
    """

    name: str
    id: str
    enabled: bool
    options: Any
    interval_s: float | None = None
    timeout_s: float | None = None
    isolation: Isolation | None = None
    shadow: Any = None


class Config(msgspec.Struct, frozen=True, eq=False):
    """A configuration without errors. ``path`` is empty when no file was read.

    ``digest`` names the effective settings, whatever file they came from; secrets do not count.
    """

    agent: AgentSection = AgentSection()
    incidents: IncidentsSection = IncidentsSection()
    models: ModelsSection = ModelsSection()
    spool: SpoolSection = SpoolSection()
    receiver: ReceiverSection = ReceiverSection()
    collectors: tuple[Component, ...] = ()
    detectors: tuple[Component, ...] = ()
    outputs: tuple[Component, ...] = ()
    path: str = ""
    digest: str = ""


CORE_SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "agent": AgentSection,
    "incidents": IncidentsSection,
    "models": ModelsSection,
    "spool": SpoolSection,
    "receiver": ReceiverSection,
}
CORE_KEYS: Mapping[str, type[ComponentKeys]] = {
    "collectors": CollectorKeys,
    "detectors": ComponentKeys,
    "outputs": ComponentKeys,
}
