"""Remember what was done on this host, to name it as a possible cause of what comes after it.

A unit restarted, a new version of a program, a changed configuration, a kernel message: an event is
a possible cause of an incident when it was at most ``BEFORE_NS`` before its onset, or ``AFTER_NS``
after it, for a series read every 10 s turns strange later than it is told of. Of those the ones
that name a thing of the incident come first, then the nearest. What was done to something else is
one for ``OTHERS_NS`` only, and what was done to one model server is none of the trouble of another
but for ``SHORTLY_NS``, as of the gateway before it. Pure; at most ``MAX_EVENTS`` events of the
newest ``KEPT_NS``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

import msgspec

from vedette.api import Event, Suspect
from vedette.entities import KERNEL_KINDS, SAME_FAMILY

BEFORE_NS = 600_000_000_000
AFTER_NS = 30_000_000_000
OTHERS_NS = 180_000_000_000
MAX_EVENTS = 200
KEPT_NS = 3_600_000_000_000
MAX_CAUSES = 3
#: So soon after an event is "shortly after" it.
SHORTLY_NS = 60_000_000_000
MAX_TEXT = 200
#: What a log said, or that it fell silent.
_SAID = frozenset({"log", "silence"})
#: What is matched to the families that it can be the cause in.
_FITTED = frozenset({"kernel", "gpu", *_SAID})
#: Of a thing that fell silent.
OUTAGE = "outage"
#: What is told of model servers.
_OF_SERVERS = frozenset({"deploy", OUTAGE})
#: Families in which it shows what was done to a GPU.
_BY_GPU = frozenset({"gpu", "hardware", "model"})
#: What is a cause only for want of a better one: it changes what the agent sees, not the host.
_LAST = "agent"


class Events:
    """The newest events of this host."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        #: Counts what was noted, so that a reader sees whether there is anything new.
        self.noted = 0

    def __len__(self) -> int:
        return len(self._events)

    def note(self, event: Event) -> None:
        """Remember an event; the same thing said again within a second counts once."""
        event = msgspec.structs.replace(event, text=" ".join(event.text.split())[:MAX_TEXT])
        for known in self._events:
            same = (known.kind, known.entity) == (event.kind, event.entity)
            if same and abs(known.time_ns - event.time_ns) < 1_000_000_000:
                return
        self.noted += 1
        self._events.append(event)
        newest = max(one.time_ns for one in self._events)
        old = [one for one in self._events if newest - one.time_ns > KEPT_NS]
        for one in old:
            self._events.remove(one)

    def before(
        self, onset_ns: int, families: Collection[str], names: Collection[str]
    ) -> tuple[Event, ...]:
        """Return the possible causes of what began at ``onset_ns``, the likeliest first.

        ``families`` and ``names`` are those of the incident's things and suspects. Of several
        events of one kind and thing the one nearest to the onset counts.
        """
        near = [
            one
            for one in self._events
            if -AFTER_NS <= onset_ns - one.time_ns <= _long(one, families, names)
            and _may_concern(one, families, names)
        ]
        near.sort(key=lambda one: _rank(one, onset_ns, names))
        found: dict[tuple[str, str], Event] = {}
        for one in near:
            found.setdefault((one.kind, one.entity), one)
        return tuple(found.values())[:MAX_CAUSES]


def suspect(event: Event, onset_ns: int, clock: Callable[[int], str]) -> Suspect:
    """Return an event as what may have caused an incident."""
    return Suspect(
        kind="event",
        name=event.kind,
        id=event.entity,
        share=0.0,
        text=event.text,
        reason=f"at {clock(event.time_ns)}, {_distance(onset_ns - event.time_ns)}",
        time_ns=event.time_ns,
    )


def clause(event: Suspect, onset_ns: int) -> str:
    """Say in an incident's sentence when it began, as seen from an event: "shortly after ..."."""
    past = onset_ns - event.time_ns
    if past < 0:
        return f"about when {event.text}"
    if past <= SHORTLY_NS:
        return f"shortly after {event.text}"
    return f"{round(past / 60e9)} min after {event.text}"


def _long(event: Event, families: Collection[str], names: Collection[str]) -> int:
    """Return for how long an event may be the cause of what begins in some families."""
    if event.kind == _LAST:
        return SHORTLY_NS
    if not event.entity or event.kind in _FITTED or _names(event, names):
        return BEFORE_NS
    return SHORTLY_NS if event.kind in _OF_SERVERS and set(families) == {"model"} else OTHERS_NS


def _rank(event: Event, onset_ns: int, names: Collection[str]) -> tuple[bool, bool, int]:
    return event.kind == _LAST, not _names(event, names), abs(onset_ns - event.time_ns)


def _may_concern(event: Event, families: Collection[str], names: Collection[str]) -> bool:
    """Say whether an event can be the cause of what is wrong in some families.

    What a log says tells of its writer, and of what a finding of that log was joined with.
    """
    if event.kind in _SAID:
        return "log" in families or _names(event, names)
    if event.kind == OUTAGE:  # of the thing itself that is what is told, not why
        return not _names(event, names)
    if event.kind == "gpu":
        return not _BY_GPU.isdisjoint(families)
    if event.kind != "kernel" or event.entity not in KERNEL_KINDS:
        return True
    told = {"kernel", *KERNEL_KINDS[event.entity].split()}
    return any(SAME_FAMILY.get(family, family) in told for family in families)


def _names(event: Event, names: Collection[str]) -> bool:
    """Say whether an event happened to one of the things named."""
    return bool(event.entity) and any(_is_named(event.entity, name) for name in names)


def _is_named(entity: str, name: str) -> bool:
    """Say whether two names are of one thing: ``nginx.service`` and the process ``nginx``."""
    return name in (entity, entity.rpartition(".")[0], entity.rpartition("/")[2])


def _distance(past_ns: int) -> str:
    seconds = abs(past_ns) / 1e9
    words = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{words} {'before' if past_ns >= 0 else 'after'} it began"
