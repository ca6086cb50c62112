"""Collector ``model_servers``: the model servers on this host, in one vocabulary.

A door to a part of the agent: recognising and mapping are used by ``vedette models`` as well. Units
and containers are named here as the collector of control groups names them.
"""

from __future__ import annotations

from itertools import accumulate

from vedette.api import Collector, hookimpl
from vedette.serving.collector import ModelServers
from vedette_plugins._cgroup_tree import Group, recognise
from vedette_plugins._containers import SANDBOX, Names


class HostModelServers(ModelServers):
    """vLLM, SGLang, Triton, TorchServe, Ray Serve and others on this host."""

    def whose(self, cgroup: str) -> tuple[str, str]:
        """Return the unit and the container of a control group; empty where there is none."""
        group = _group(cgroup)
        if group is None:
            return super().whose(cgroup)
        if group.kind == "service":
            return group.name, ""
        if not group.has_id:
            return "", group.name
        name = Names(self.host.root).name(group.name, group.runtime)
        return "", name if name not in (None, SANDBOX) else super().whose(cgroup)[1]


def _group(cgroup: str) -> Group | None:
    """Return the innermost service or container that a group is, or is within."""
    parts = [part for part in cgroup.split("/") if part]
    paths = accumulate(parts, lambda above, part: f"{above}/{part}")
    return next((one for path in reversed(list(paths)) if (one := recognise(path))), None)


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [HostModelServers]
