"""Say whether a fault in one place shows in another: what joins findings to one incident.

Relations have a direction, from where a fault is to where it shows, and a strength. *Effects* come
with the fault, however large. *Side effects* are small: network traffic costs some CPU, but a CPU
that is used up is a fault of its own. *Starved* is what suffers, at any size, once the resource
itself is used up: a host without memory swaps until its disks are saturated.

Things of one kind are apart: a full ``/var`` has nothing to do with a full ``/data``, unless the
same metric turns strange on both within seconds; then they have a cause in common. A thing and the
host-wide series of its family belong together. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from vedette.entities import Place


class Tie(IntEnum):
    """How two places belong together, the loosest first."""

    NONE = 0
    #: A plugin's own family, of which nothing is known: joined by time alone.
    STRANGE = 1
    #: A small effect; what is at its limit does not belong.
    SIDE = 2
    #: The same metric of another thing of the kind.
    SIBLING = 3
    #: An effect, or the same family.
    KIN = 4
    #: The same thing.
    SAME = 5


class Relation(msgspec.Struct, frozen=True):
    """Where a fault of a family shows."""

    effects: frozenset[str] = frozenset()
    side_effects: frozenset[str] = frozenset()
    starved: frozenset[str] = frozenset()


def _relation(effects: str = "", *, side: str = "", starved: str = "") -> Relation:
    return Relation(*(frozenset(text.split()) for text in (effects, side, starved)))


#: Every family has its place here; one without relations stands alone on purpose.
RELATIONS: dict[str, Relation] = {
    "agent": _relation(),
    "clock": _relation(),
    "container": _relation("process systemd log", side="cpu memory disk network"),
    "cpu": _relation("process hardware", side="service container"),
    "disk": _relation("filesystem raid zfs kernel process", side="cpu service container"),
    "filesystem": _relation("disk systemd log kernel", side="cpu", starved="service container"),
    "gpu": _relation("model hardware kernel", side="cpu process"),
    "hardware": _relation("kernel"),
    "host": _relation("kernel"),
    "ipc": _relation(),
    "kernel": _relation("process"),
    "log": _relation(),
    "memory": _relation(
        "zfs",
        side="cpu",
        starved="process kernel service container systemd disk cpu network model",
    ),
    "model": _relation("log", side="gpu"),
    "network": _relation("nfs kernel", side="cpu"),
    "nfs": _relation("filesystem process", side="cpu network"),
    "pci": _relation("gpu disk network hardware kernel"),
    "process": _relation("kernel ipc", side="cpu service systemd"),
    "raid": _relation("disk filesystem kernel"),
    "service": _relation("systemd process log", side="cpu memory disk network"),
    "systemd": _relation("service process log"),
    "users": _relation(side="cpu process"),
    "zfs": _relation("filesystem disk kernel", side="memory cpu"),
}
_NO_RELATION = Relation()
#: Words in the name of a metric that tells that memory ran out, not only that there is less of it.
_RAN_OUT = ("paging.operations", "paging.io", "oom_kills", "allocation.stalls")
_TRAFFIC = (".io", "packet.count", "datagrams", "segments", "softnet.dropped")
_CONNECTIONS = ("tcp.established", "tcp.allocated", "sockets.used")
#: What of a network cannot come from the host's talk with itself.
_ON_THE_WAY = ("link", "carrier", "errors", "bonding", "neighbours")


def tie(cause: Place, effect: Place, *, starving: bool = False) -> Tie:
    """Say how what is strange at ``effect`` belongs to a fault at ``cause``.

    ``starving`` says that the resource at ``cause`` is used up.
    """
    if cause.family == effect.family:
        return _within_family(cause, effect)
    if not _tells(cause, effect.family) or not _tells(effect, cause.family):
        return Tie.NONE
    if not _same_matter(cause, effect):
        return Tie.NONE
    relation, back = RELATIONS.get(cause.family), RELATIONS.get(effect.family)
    if relation is None or back is None:
        return Tie.STRANGE
    starved = starving and effect.family in relation.starved
    if starved or effect.family in relation.effects or _names(effect, cause.family):
        return Tie.KIN
    return Tie.SIDE if effect.family in relation.side_effects else Tie.NONE


def core(places: Iterable[Place]) -> set[str]:
    """Return the families of the fault itself: those that are no effect of another one here."""
    known = list(places)
    families = {place.family for place in known}
    effects = {
        effect.family
        for effect in known
        for cause in known
        if cause.family != effect.family and _shows(cause, effect) > _shows(effect, cause)
    }
    return families - effects or families  # a circle: all of them


def ran_out(place: Place) -> bool:
    """Say whether a series that is strange here tells by itself that the resource is used up."""
    return place.family == "memory" and any(word in place.metric for word in _RAN_OUT)


def is_traffic(place: Place) -> bool:
    """Say whether a series of a network is traffic that a program makes: that costs CPU."""
    return place.metric.endswith(_TRAFFIC)


def _shows(cause: Place, effect: Place) -> int:
    """Return how clearly a fault at ``cause`` shows at ``effect``: 0 not, 1 a little, 2 surely."""
    if not _tells(cause, effect.family) or not _tells(effect, cause.family):
        return 0
    if not _same_matter(cause, effect):
        return 0
    relation = RELATIONS.get(cause.family, _NO_RELATION)
    if effect.family in relation.effects or _names(effect, cause.family):
        return 2
    return 1 if effect.family in relation.side_effects | relation.starved else 0


def _within_family(one: Place, other: Place) -> Tie:
    if one.told is not None and other.told is not None and one.told != other.told:
        return Tie.KIN if one.told & other.told else Tie.NONE
    nameless = not one.entity.name and not other.entity.name
    if nameless and frozenset() in (one.told, other.told) and one.metric != other.metric:
        return Tie.NONE  # it tells of nothing but itself
    if one.family == "network" and _is_connections(one) != _is_connections(other):
        return Tie.SIBLING  # many clients bring traffic, at once; a leak of connections brings none
    if one.endpoint and other.endpoint and one.endpoint != other.endpoint:
        # Two servers, of one kind or not, are two things.
        return Tie.SIBLING if one.metric == other.metric else Tie.NONE
    if one.entity == other.entity:
        return Tie.SAME
    loop = "lo" in (one.entity.name, other.entity.name)
    if loop and any(word in place.metric for place in (one, other) for word in _ON_THE_WAY):
        return Tie.NONE
    if one.endpoint and one.endpoint == other.endpoint:
        return Tie.KIN  # a server and a model that it serves
    if one.entity.name and other.entity.name and one.entity.kind == other.entity.kind:
        if one.metric.startswith("vedette.model.drift."):
            return Tie.NONE  # what one model is asked is no matter of another
        return Tie.SIBLING if one.metric == other.metric else Tie.NONE
    return Tie.KIN


def _is_connections(place: Place) -> bool:
    return place.metric.endswith(_CONNECTIONS)


def _tells(place: Place, family: str) -> bool:
    """Say whether a series may speak of a family: one that names what it tells of does not."""
    return place.told is None or family in place.told


def _names(place: Place, family: str) -> bool:
    return place.told is not None and family in place.told


def _is_written_by(source: str, writer: Place) -> bool:
    """Say whether a log bears the name of who wrote it; the mount that it lies on is not meant."""
    name = writer.entity.name
    if not name or writer.family in ("filesystem", "disk"):
        return False
    before, found, after = source.partition(name)
    return bool(found) and not before[-1:].isalnum() and not after[:1].isalnum()


def _same_matter(one: Place, other: Place) -> bool:
    """Say whether two places of related families can be about one matter; in doubt they can."""
    by_family = {one.family: one, other.family: other}
    match sorted(by_family):
        case ["disk", "filesystem"]:
            disk, mount = by_family["disk"], by_family["filesystem"]
            if ":" in mount.device or mount.device.startswith("//"):
                return False  # it lies on a server
            return not (disk.entity.name and mount.device) or disk.entity.name == mount.device
        case ["cpu", "network"]:
            return is_traffic(by_family["network"])
        case ["cpu" | "disk", "process"]:
            # Load makes processes wait; that a watched one is gone is not its doing.
            return not by_family["process"].metric.startswith("vedette.watch.")
        case ["kernel", "network"]:
            # An open connection is an open file; what is wrong with traffic is none.
            files = "file_handles" in by_family["kernel"].metric
            return not files or by_family["network"].metric.endswith(_CONNECTIONS)
        case ["kernel", "process"]:
            files = "file_handles" in by_family["kernel"].metric
            return not files or "file_descriptor" in by_family["process"].metric
        case [*families] if "log" in families:
            writer = one if other.family == "log" else other
            if by_family["log"].told is not None:
                return True  # whoever wrote it: its words tell of that family (``_tells``)
            return _is_written_by(by_family["log"].entity.name, writer)
    return True
