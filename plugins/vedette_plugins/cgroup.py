"""Collector ``cgroup``: CPU, memory, tasks and I/O of each service and container.

From the kernel's control groups, version 2 or 1. A service gets four series, a container all there
are; what is limited also gets the share of its limit in use. A thread of its own: on a host with
thousands of groups the kernel takes long to add up what they used, and the names of containers come
from files of their runtimes and Docker's socket.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import (
    Collector,
    Duration,
    Sample,
    Unavailable,
    hookimpl,
    updown,
)
from vedette_plugins._cgroup_files import layout
from vedette_plugins._cgroup_series import ContainerSeries, ServiceSeries
from vedette_plugins._cgroup_tree import Tree
from vedette_plugins._cgroup_watch import Watch
from vedette_plugins._containers import Names
from vedette_plugins._procfs import Choice

#: The tree is walked this often, a little less than the usual interval: then at each reading.
LOOK_S = 9.5


class CgroupConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which services and containers are read."""

    include: Annotated[
        tuple[str, ...],
        Meta(description="Globs of names to read at once, idle or young or in `exclude`."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Meta(description="Globs of names of services and containers that are not read."),
    ] = (
        "dbus-:*",
        "run-*.service",
        "ssh@*",
        "sshd@*",
        "systemd-coredump@*",
        "user-runtime-dir@*",
    )
    groups: Annotated[
        tuple[str, ...],
        Meta(
            description="Globs of paths of other groups to read like containers: `slurm/*/job_*`."
        ),
    ] = ()
    max_groups: Annotated[
        int, Meta(ge=1, le=1000, description="Services and containers read, the largest.")
    ] = 80
    min_age: Annotated[
        Duration, Meta(description="How long something must run before it gets series.")
    ] = Duration(60)
    pressure: Annotated[
        bool, Meta(description="Read how long each container's tasks waited (version 2).")
    ] = True


class Cgroup(ContainerSeries, ServiceSeries, Collector):
    """What services and containers use, and how near their limits they are."""

    name = "cgroup"
    Config = CgroupConfig
    source = "/sys/fs/cgroup"
    interval_s = 10.0
    may_block = "seldom"

    count = updown(
        "vedette.container.count",
        "{container}",
        "Containers that run.",
        resource="container",
        alarm="never",
    )
    omitted = updown(
        "vedette.cgroup.omitted",
        "{cgroup}",
        "Services and containers without series: beyond `max_groups`, or with another's name.",
        resource="container",
        alarm="never",
    )

    def __init__(self, config: CgroupConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self._choice = Choice(config.include, config.exclude)
        self._watch: Watch | None = None
        self._look_at = 0.0
        self._vanished = False

    def probe(self) -> None:
        tree = Tree(layout(self._root).tree, self._is_wanted)
        if not tree.groups():
            raise Unavailable("no service or container has a control group here")

    def collect(self) -> Iterator[Sample]:
        now = self.monotonic()
        watch = self._watch
        if watch is None:
            watch = self._watch = self._begin()
        if self._vanished or now >= self._look_at:
            watch.look(now, anew=self._vanished)
            self._look_at, self._vanished = now + LOOK_S, False
        for one in watch.shown:
            is_container = one.group.kind == "container"
            reading = watch.read(one, now, pressure=is_container and self.config.pressure)
            if reading.cpu_s is None and reading.memory is None and reading.tasks is None:
                self._vanished = True
                one.files.close()
                one.files.retry()
            elif is_container:
                yield from self.of_container(one, reading)
            else:
                yield from self.of_service(one, reading)
        yield self.count(watch.containers)
        yield self.omitted(watch.omitted)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    @property
    def _root(self) -> str:
        return f"{self.host.sys}/fs/cgroup"

    def _begin(self) -> Watch:
        how = layout(self._root)
        self._look_at = 0.0
        return Watch(
            how,
            Tree(how.tree, self._is_wanted),
            Names(self.host.root),
            self._choice.verdict,
            most=self.config.max_groups,
            min_age_s=float(self.config.min_age),
        )

    def _is_wanted(self, path: str) -> bool:
        return any(fnmatchcase(path, glob) for glob in self.config.groups)


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Cgroup]
