"""Say how a collector is to be run: how often, how long at most, and in which lane it begins."""

from __future__ import annotations

import msgspec

from vedette.api import Collector, Isolation

#: The lanes of many: of collectors that cannot block, and of those that seldom do.
SHARED, UNHURRIED = "shared", "unhurried"


class Assignment(msgspec.Struct, frozen=True):
    """A collector and how it is to be run.

    ``timeout_s`` None: the collector's own, or else half the interval, in the shared lane 100 ms.
    ``name`` is what its frames and status carry (empty: the collector's). With ``isolation``
    ``process`` the instance here only lends its class, configuration and host to the worker that
    is started; ``origin`` is the module, or the path of the file, that the class comes from
    (empty: where Python found it), and ``memory_bytes`` what the worker may occupy.
    """

    collector: Collector
    interval_s: float
    timeout_s: float | None = None
    isolation: Isolation = "lane"
    name: str = ""
    origin: str = ""
    memory_bytes: int = 256 << 20

    @property
    def label(self) -> str:
        """The name of its frames and status."""
        return self.name or self.collector.name

    @property
    def deadline_s(self) -> float | None:
        """The deadline somebody gave it."""
        return self.collector.timeout_s if self.timeout_s is None else self.timeout_s

    @property
    def lane(self) -> str:
        """The lane it begins in."""
        if self.isolation != "lane" or self.collector.may_block is True:
            return self.label
        return UNHURRIED if self.collector.may_block else SHARED
