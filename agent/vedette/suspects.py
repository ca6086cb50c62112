"""Rank who and what may have caused an incident, each with a reason.

First the processes whose share of the resource grew most over what it was before (an exponentially
weighted mean of the scans of quiet times): that is who. Processes of one name count together, or a
program with many workers would hide. Then events that happened shortly before, then the series that
turned strange before the one the sentence names or with it, those first in which its faults show
(a cause turns strange before its effect or with it), then what came after: the symptoms.

Pure; at most ``MAX_BASELINES`` remembered shares, ``MAX_SUSPECTS`` suspects an incident.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest

from vedette.api import Finding, Suspect, Usage
from vedette.entities import SAME_FAMILY, place_of
from vedette.relations import Tie, tie

MAX_SUSPECTS = 6
MAX_PROCESSES = 3
#: A process whose share grew by less than this is no suspect.
LEAST_GROWTH = 0.01
#: The same of what only few processes do at all: nobody makes files in much of a host's time.
LEAST_USE_GROWTH = 0.005
#: The same where its use of the resource itself is not known, only its use of another one.
LEAST_FOREIGN_GROWTH = 0.05
#: Of the number of processes, which goes up and down by itself.
LEAST_CROWD = 0.1
#: From this growth on a process explains what is wrong with a resource, alone.
LEADS = 0.1
#: And from this on what it does to a resource is no side effect of another's doing.
LEADS_APART = 0.3
#: Gain of the mean share of a process in quiet times: about five minutes of scans every 5 s, so
#: that what grew for a minute before anyone noticed is not yet usual.
BASELINE_GAIN = 0.015
#: A mean share below this is forgotten: of a process that ended, after three quarters of an hour.
LEAST_USUAL = 1e-5
MAX_BASELINES = 500
#: What is there in the first scans is taken for usual; rates need two of them.
FIRST_SCANS = 4
#: Onsets so close together are one moment: collectors read at different times.
SAME_MOMENT_NS = 2_000_000_000
#: Whose usage explains a fault in a family, best first; of a family not listed the CPU's.
EXPLAINED_BY: dict[str, tuple[str, ...]] = {
    "agent": (),
    "clock": (),
    "cpu": ("cpu",),
    "disk": ("disk", "cpu"),
    "filesystem": ("space", "disk"),
    "gpu": ("gpu",),
    "hardware": ("gpu", "cpu"),
    "host": (),
    "kernel": ("process", "cpu"),
    "log": ("disk", "cpu"),
    "memory": ("memory",),
    "model": ("gpu", "cpu"),
    "network": ("network", "system", "cpu"),
    "nfs": ("disk", "cpu"),
    "pci": (),
    "process": ("process", "cpu"),
    "raid": ("disk",),
    "users": (),
    "zfs": ("disk", "memory"),
}
#: The same for series that tell of one use in particular, by the end of the metric's name.
EXPLAINED_EXACTLY: dict[str, tuple[str, ...]] = {
    "file_handles.usage": ("files", "cpu"),
    "file_handles.utilization": ("files", "cpu"),
    "inodes.growth": ("system", "cpu"),
    "log.strangeness": ("log",),
    "model.failures.burst": (),
    "model.failures.least": (),
    "model.kv_cache.full.time": (),
    "model.kv_cache.full_in": (),
    "model.kv_cache.utilization": (),
    "model.queue.time": (),
    "model.probe.silence": (),
    "model.drift.strength": (),
    "model.quality.decline": (),
    "model.server.silence": ("stopped",),
    "model.slo.burn_rate": (),
    "process.created": ("forks", "process", "cpu"),
    "process.stopped": ("stopped",),
    "sockets.used": ("files", "cpu"),
    "target.silence": (),
    "tcp.established": ("files", "cpu"),
}
#: Resources of which usage is known that are no family of series.
_USES = frozenset({"files", "forks", "space", "stopped", "system"})


class Usages:
    """Who uses what now, and what was usual."""

    def __init__(self) -> None:
        self._now: dict[str, tuple[Suspect, ...]] = {}
        self._usual: dict[tuple[str, str], float] = {}
        self._scans = 0

    def observe(
        self, usages: Sequence[Usage], *, quiet: bool, blamed: Collection[str] = ()
    ) -> None:
        """Take one scan; in quiet times it teaches what is usual, and so do the first ones always.

        ``blamed`` are names that are to blame for what goes on: in times that are not quiet they
        do nothing usual. An agent that begins amid an incident has to know the others all the same.
        """
        folded = _fold(usages)
        if folded.keys() & _USES:
            # Of these nobody may be left; of the others somebody always is.
            for resource in _USES - folded.keys():
                self._now.pop(resource, None)
        self._now.update(folded)
        first, self._scans = self._scans < FIRST_SCANS, self._scans + 1
        if not quiet and not first:
            return
        shares = {
            (resource, one.name): one.share
            for resource in folded
            for one in folded[resource]
            if quiet or one.name not in blamed
        }
        gone = [key for key in self._usual if key[0] in folded and key not in shares]
        for key, share in [*shares.items(), *((key, 0.0) for key in gone)]:
            before = self._usual.get(key, share if first else 0.0)
            mean = before + BASELINE_GAIN * (share - before)
            full = key not in self._usual and len(self._usual) >= MAX_BASELINES
            if mean < LEAST_USUAL or full:
                self._usual.pop(key, None)
            else:
                self._usual[key] = mean

    def grown(
        self,
        family: str,
        told: Sequence[Suspect] = (),
        busy: Collection[str] = (),
        metric: str = "",
    ) -> list[Suspect]:
        """Return the processes whose share grew most, at most three.

        Those that were told count with the share they had then: who ended meanwhile was it still.
        ``busy`` are names of which is known that they are to blame for something else: that they
        grew says nothing where who uses the resource itself is not known. ``metric`` is the one
        that is to be explained, where it is known.
        """
        family = SAME_FAMILY.get(family, family)
        for resource in explained_by(family, metric):
            own = resource == family or resource in _USES
            least = LEAST_GROWTH if own else LEAST_FOREIGN_GROWTH
            least = LEAST_USE_GROWTH if resource in _USES else least
            found = self._grown(resource, told, LEAST_CROWD if resource == "process" else least)
            named = [one for _, one in found if own or one.name not in busy]
            if resource == "system":  # the work of the network, of disks and of filesystems alike
                named = [one for one in named if one.name not in busy] or named
            if named:
                return named[:MAX_PROCESSES]
        return []

    def leader(self, family: str, least: float = LEADS) -> str:
        """Return the process that alone explains what is wrong with a resource; empty if none.

        ``least`` is the growth of its share from which on it does.
        """
        found = self._grown(SAME_FAMILY.get(family, family), (), least)
        return found[0][1].name if found else ""

    def only(self, resource: str) -> str:
        """Return the process that grew when it is the only one that did; empty otherwise."""
        found = self._grown(resource, (), LEAST_FOREIGN_GROWTH)
        return found[0][1].name if len(found) == 1 else ""

    def _grown(
        self, resource: str, told: Sequence[Suspect], least: float
    ) -> list[tuple[float, Suspect]]:
        known = {one.name: one for one in told}
        for one in self._now.get(resource, ()):
            if one.name not in known or one.share >= known[one.name].share:
                known[one.name] = one
        grown = []
        for one in known.values():
            usual = self._usual.get((resource, one.name), 0.0)
            if one.share - usual >= least:
                grown.append((one.share - usual, _with_reason(one, resource, usual)))
        grown.sort(key=lambda pair: pair[0], reverse=True)
        return grown


def explained_by(family: str, metric: str = "") -> tuple[str, ...]:
    """Return the resources whose usage explains a series of a family, best first."""
    if is_exact(metric):
        return exactly(metric)
    return EXPLAINED_BY.get(SAME_FAMILY.get(family, family), ("cpu",))


def exactly(metric: str) -> tuple[str, ...]:
    """Return the resources of which a metric tells in particular; empty where it tells of none."""
    found = (uses for end, uses in EXPLAINED_EXACTLY.items() if metric.endswith(end))
    return next(found, ())


def is_exact(metric: str) -> bool:
    """Say whether a metric tells of one use in particular."""
    return metric.endswith(tuple(EXPLAINED_EXACTLY))


def wanted(families: Sequence[str], metrics: Sequence[str] = ()) -> set[str]:
    """Return the resources of which a fresh reading of usage would explain these families.

    ``metrics`` are the series' names, one for each family, where they are known.
    """
    found: set[str] = set()
    for family, metric in zip_longest(families, metrics, fillvalue=""):
        found.update(explained_by(family, metric))
    return found


def series(
    primary: Finding,
    others: Sequence[Finding],
    twin: Callable[[str], str],
    words: Callable[[Finding], str],
) -> list[Suspect]:
    """Return the series that may be the cause of the primary one, the likeliest first.

    ``words`` says a finding for a person; of series that ``twin`` maps to the same one the first
    counts.
    """
    found: dict[str, Suspect] = {twin(primary.series.key): _NOBODY}
    for one in sorted(others, key=lambda other: _rank(primary, other)):
        found.setdefault(
            twin(one.series.key),
            Suspect(
                kind="series",
                name=one.series.key,
                id=one.series.key,
                share=0.0,
                text=words(one),
                reason=_reason(primary, one),
                time_ns=one.since_ns,
            ),
        )
    return [suspect for suspect in found.values() if suspect is not _NOBODY]


_NOBODY = Suspect("", "", "", 0.0, "")


def _rank(primary: Finding, other: Finding) -> tuple[bool, int, int, float]:
    late = other.since_ns > primary.since_ns + SAME_MOMENT_NS
    bond = tie(place_of(other.series), place_of(primary.series), starving=True)
    return late, -bond if bond is not Tie.SAME else 0, other.since_ns, other.p


def _reason(primary: Finding, other: Finding) -> str:
    apart = (primary.since_ns - other.since_ns) / 1e9
    moment = SAME_MOMENT_NS / 1e9
    if apart > moment:
        when = f"turned strange {apart:.0f} s before"
    elif apart < -moment:
        when = f"turned strange {-apart:.0f} s after"
    else:
        when = "turned strange at the same time"
    one, about = place_of(other.series), place_of(primary.series)
    is_cause = tie(one, about, starving=True) >= max(tie(about, one, starving=True), Tie.STRANGE)
    if apart >= -moment and one.family != about.family and is_cause:
        return f"{when}; what is wrong with {one.entity.label} shows in {about.entity.label}"
    return when


def _with_reason(one: Suspect, resource: str, usual: float) -> Suspect:
    share = f"{min(one.share, 1.0):.0%}".replace("%", " %")
    before = f"{usual:.0%}".replace("%", " %")
    if resource == "log":
        return Suspect(one.kind, one.name, one.id, one.share, one.text, "it has the log open")
    reason = f"its share of {_RESOURCES.get(resource, resource)} grew from {before} to {share}"
    return Suspect(one.kind, one.name, one.id, one.share, one.text, reason)


_RESOURCES = {
    "cpu": "the CPU",
    "disk": "the disk traffic",
    "files": "all open files",
    "forks": "all new processes",
    "gpu": "the GPU",
    "network": "the network traffic",
    "process": "all processes",
    "space": "what open files grew by",
    "stopped": "all stopped processes",
    "system": "the CPU's time in the kernel",
}


#: Uses that are counted in things, for a sentence.
_COUNTED = {
    "files": "open files",
    "forks": "new processes",
    "stopped": "stopped processes",
    "system": "cpu in the kernel",
}


def _fold(usages: Sequence[Usage]) -> dict[str, tuple[Suspect, ...]]:
    """Add up the entities of one name; the largest gives its id."""
    groups: dict[tuple[str, str, str], list[Usage]] = {}
    for usage in usages:
        groups.setdefault((usage.resource, usage.kind, usage.name), []).append(usage)
    folded: dict[str, list[Suspect]] = {}
    for (resource, kind, name), members in groups.items():
        members.sort(key=lambda one: one.share, reverse=True)
        share = sum(one.share for one in members)
        first = members[0]
        text = first.text
        if len(members) > 1:
            of = _COUNTED.get(resource, resource)
            text = f"{share:.0%} of this host's {of} with {len(members)} processes"
            text = text.replace("%", " %", 1)
        folded.setdefault(resource, []).append(
            Suspect(kind=kind, name=name, id=first.id, share=min(share, 1.0), text=text)
        )
    return {
        resource: tuple(sorted(found, key=lambda one: one.share, reverse=True))
        for resource, found in folded.items()
    }
