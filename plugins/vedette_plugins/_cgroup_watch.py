"""Choose which control groups get series, so that these are few and stay the same.

A service is left out while it does nothing, a container or service that has just started until it
has lived for some time (jobs of seconds would leave a new series each). When there are more than
may be, the largest are in, and one that is in stays unless another is half as large again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from vedette_plugins._cgroup_files import Files, Layout, Limits, Reading
from vedette_plugins._cgroup_tree import Group, Tree
from vedette_plugins._containers import SANDBOX, Names
from vedette_plugins._procfs import printable

#: What a service that has done nothing since it was first seen may hold and be left out still.
IDLE_MEMORY = 16 << 20
#: One core in use weighs as much as this much memory.
CORE_WEIGHT = float(1 << 30)
#: How much heavier a group must be to take another's place.
HYSTERESIS = 1.5
#: Looks after which limits are read again, and every folder is listed again.
REFRESH_LOOKS = 6
#: Files kept open, and how many a group of a kind has.
DESCRIPTORS_MAX = 300
DESCRIPTORS = {"container": 10, "service": 6}
#: Names remembered, so that what starts anew is in at once.
NAMES_MAX = 1000
LONGEST_NAME = 128


class Watched:
    """A group that is there; ``name`` is None while it is not known."""

    def __init__(self, group: Group, root: str, since: float) -> None:
        self.group = group
        self.name: str | None = None
        if not group.has_id:
            self.name = printable(os.fsencode(group.name), LONGEST_NAME)
        self.files = Files(root, group.path, keep=False)
        self.limits = Limits()
        self.since = since
        self.is_shown = False
        self.is_active = False
        self.memory = 0
        self.cores: float | None = None
        self._cpu_s: float | None = None
        self._first_cpu_s: float | None = None
        self._at = 0.0

    def take(self, reading: Reading, now: float) -> None:
        """Learn size and activity from a reading; ``cores`` is what it used since the last."""
        cpu_s, before = reading.cpu_s, self._cpu_s
        if now > self._at:  # a group that was just chosen is read twice
            self.cores = None
            if cpu_s is not None and before is not None and cpu_s >= before:
                self.cores = (cpu_s - before) / (now - self._at)
            self._cpu_s, self._at = cpu_s, now
        if cpu_s is not None:
            if self._first_cpu_s is None:
                self._first_cpu_s = cpu_s
            self.is_active = self.is_active or cpu_s > self._first_cpu_s
        self.memory = reading.memory or 0
        self.is_active = self.is_active or self.memory >= IDLE_MEMORY

    @property
    def weight(self) -> float:
        """How much it uses, in bytes, more when it is shown already."""
        used = self.memory + (self.cores or 0.0) * CORE_WEIGHT
        return used * HYSTERESIS if self.is_shown else used


class Watch:
    """All groups of a host, and those of them that are shown."""

    def __init__(
        self,
        layout: Layout,
        tree: Tree,
        names: Names,
        verdict: Callable[[str], bool | None],
        *,
        most: int,
        min_age_s: float,
    ) -> None:
        self.shown: list[Watched] = []
        #: Running containers, and groups that would be shown if there were not too many.
        self.containers = 0
        self.omitted = 0
        self._layout = layout
        self._tree = tree
        self._names = names
        self._verdict = verdict
        self._most = most
        self._min_age_s = min_age_s
        self._watched: dict[str, Watched] = {}
        self._seen: dict[str, None] = {}
        self._looks = 0

    def look(self, now: float, *, anew: bool = False) -> None:
        """Find what came and went, and choose; ``anew`` when a group vanished unexpectedly."""
        refresh = self._looks % REFRESH_LOOKS == 0
        self._walk(now, anew=anew or refresh)
        self._name()
        candidates, hidden = self._candidates(now)
        if len(candidates) > self._most:
            candidates.sort(key=lambda one: (-one.weight, one.group.path))
        self._show(candidates[: self._most], refresh=refresh)
        self.omitted = hidden + max(0, len(candidates) - self._most)
        self._looks += 1

    def read(self, one: Watched, now: float, *, pressure: bool) -> Reading:
        """Read a group that is shown: a container in full, a service what it has series of."""
        full = one.group.kind == "container"
        reading = self._layout.read(
            one.files,
            full=full,
            working_set=full or one.limits.memory is not None,
            pressure=pressure,
        )
        one.take(reading, now)
        return reading

    def close(self) -> None:
        """Let go of all files."""
        for one in self._watched.values():
            one.files.close()

    def _walk(self, now: float, *, anew: bool) -> None:
        first = self._looks == 0
        present: dict[str, Watched] = {}
        for group in self._tree.groups(anew=anew):
            known = self._watched.pop(group.path, None)
            since = now - self._min_age_s if first else now
            present[group.path] = known or Watched(group, self._layout.root, since)
        self.close()  # of those that are gone
        self._watched = present

    def _name(self) -> None:
        unnamed = [one for one in self._watched.values() if one.group.has_id]
        self._names.begin(one.group.name for one in unnamed)
        for one in unnamed:
            if one.name is None:
                one.name = self._names.name(one.group.name, one.group.runtime)
        self.containers = sum(
            one.group.kind == "container" and one.name != SANDBOX for one in self._watched.values()
        )

    def _candidates(self, now: float) -> tuple[list[Watched], int]:
        """Return what deserves a series, and how many have a name that another has."""
        named: dict[tuple[str, str], Watched] = {}
        hidden = 0
        # What is shown comes first, so that it keeps its name.
        for one in sorted(self._watched.values(), key=lambda one: not one.is_shown):
            if not one.name or self._verdict(one.name) is False:
                continue
            if not one.is_shown:
                one.take(self._layout.size(one.files), now)
                if not self._is_due(one, now):
                    continue
            key = one.group.kind, one.name
            if named.setdefault(key, one) is not one:
                hidden += 1
        return list(named.values()), hidden

    def _is_due(self, one: Watched, now: float) -> bool:
        if one.name is None or self._verdict(one.name):
            return one.name is not None
        if one.group.kind == "service" and not one.is_active:
            return False
        return one.name in self._seen or now - one.since >= self._min_age_s

    def _show(self, chosen: Iterable[Watched], *, refresh: bool) -> None:
        self.shown = sorted(chosen, key=lambda one: one.group.path)
        paths = {one.group.path for one in self.shown}
        descriptors = DESCRIPTORS_MAX
        for one in self._watched.values():
            is_shown = one.group.path in paths
            if is_shown:
                descriptors -= DESCRIPTORS[one.group.kind]
                self._seen[one.name or ""] = None
                if refresh or not one.is_shown:
                    one.files.retry()
                    one.limits = self._layout.limits(one.files)
            one.files.keep = is_shown and descriptors >= 0
            if not one.files.keep:
                one.files.close()
            one.is_shown = is_shown
        while len(self._seen) > NAMES_MAX:
            del self._seen[next(iter(self._seen))]
