"""Collector ``nvme``: whether the controller of each NVMe disk answers the kernel.

A controller that is reset again and again, or given up, is a disk about to go; over a network it
is a path that is lost. The kernel tells the state that it has in mind and asks no hardware for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, Unavailable, gauge, hookimpl
from vedette_plugins._attributes import attribute, names

#: Controllers read at most, and readings after which they are looked for again.
CONTROLLERS_MAX, LOOK_EVERY = 64, 6
FOLDER = "class/nvme"
#: What the kernel calls the states in which a controller serves nothing.
NOT_LIVE = frozenset(
    (b"new", b"resetting", b"connecting", b"deleting", b"deleting (no IO)", b"dead")
)


class Nvme(Collector):
    """State of each NVMe controller."""

    name = "nvme"
    source = "/sys/class/nvme/nvme*/state"
    interval_s = 10.0
    may_block = False

    live = gauge(
        "vedette.nvme.live",
        "1",
        "1 while the controller serves requests, 0 while it starts, is reset or is given up.",
        ["system.device"],
        resource="disk",
        alarm="low",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._controllers: list[str] = []
        self._readings = 0

    def probe(self) -> None:
        self._look()
        if not self._controllers:
            raise Unavailable("no NVMe controller")

    def collect(self) -> Iterator[Sample]:
        if self._readings % LOOK_EVERY == 0:
            self._look()
        self._readings += 1
        for controller in self._controllers:
            state = attribute(f"{self.host.sys}/{FOLDER}/{controller}/state")
            if state == b"live":
                yield self.live(1, controller)
            elif state in NOT_LIVE:
                yield self.live(0, controller)

    def _look(self) -> None:
        self._controllers = names(f"{self.host.sys}/{FOLDER}", "nvme")[:CONTROLLERS_MAX]


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Nvme]
