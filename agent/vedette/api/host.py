"""What is told of a host beside readings: what it is made of, who uses it, what happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class Host(msgspec.Struct, frozen=True):
    """Where this host's kernel interfaces are found (other places in a container or a test)."""

    proc: str = "/proc"
    sys: str = "/sys"
    root: str = "/"


class Item(msgspec.Struct, frozen=True):
    """One thing this host is made of, for its inventory.

    ``kind`` is the sort of thing (``machine``, ``cpu``, ``memory``, ``disk``, ``gpu``,
    ``interface``, ``os``, ``kernel``, ``virtualization``, ``cloud``, ``service``, your own),
    ``name`` which one (``sda``; unique within its kind), ``facts`` what is to be known of it. A
    fact changes seldom: no readings, and nothing secret or personal (serial numbers, addresses).
    """

    kind: str
    name: str
    facts: Mapping[str, str | int | float | bool] = {}


class Usage(msgspec.Struct, frozen=True):
    """How much of a resource one entity uses now: what an incident may name as suspect.

    ``resource`` is the family (``cpu``, ``memory``, ``disk``, ``network``), ``kind`` the sort of
    entity (``process``), ``name`` and ``id`` which one (``stress``, ``4711``), ``share`` the part
    of the whole host's resource, 0 to 1, and ``text`` the amount for a person ("97 % of 2 cores").
    """

    resource: str
    kind: str
    name: str
    id: str
    share: float
    text: str


class Event(msgspec.Struct, frozen=True):
    """Something that happened. ``text`` says it in a few words that can follow "after": "unit
    nginx.service restarted", "the clock was set back by 3 s".

    ``kind`` is a word (``restart``, ``reboot``, ``deploy``, ``outage``, ``config``, ``kernel``,
    ``clock``, ``agent``, your own), ``entity`` the name of the thing it happened to
    (``nginx.service``; of a kernel message its kind, ``io_error``; empty: the host). ``time_ns`` is
    Unix ns.
    """

    time_ns: int
    kind: str
    entity: str
    text: str


class Record(msgspec.Struct, frozen=True):
    """Something to be told to whoever receives this host's reports, as one log record.

    ``name`` says of what kind it is: static, dotted, of low cardinality (``vedette.log.template``).
    ``body`` is for a person, ``attributes`` are text, numbers, truth values, bytes, and lists and
    mappings of such. ``severity`` is a number of OpenTelemetry's log data model, 1 to 24.
    ``uid`` is the same for two records of this host that tell the same thing twice (empty: none
    does). It is made durable with the report of the window, not at once.
    """

    name: str
    time_ns: int
    body: str
    attributes: Mapping[str, Any] = {}
    severity: int = 9
    uid: str = ""


class GpuUse(msgspec.Struct, frozen=True):
    """Who uses a GPU: ``memory`` is what each process holds of it in bytes, by pid.

    ``gpu`` is its ``hw.id``, ``read_s`` the monotonic clock of the reading, ``energy_j`` what it
    took since some start (NaN: not known).
    """

    gpu: str
    read_s: float
    memory: Mapping[int, int]
    energy_j: float = float("nan")


class GpuUses:
    """Who uses the GPUs of this host: told by the collectors of GPUs, for whoever asks.

    From any thread. Nobody waits for anybody: what a collector told last stands until it tells
    anew, and a reader looks at how old it is.
    """

    def __init__(self) -> None:
        self._told: dict[str, tuple[GpuUse, ...]] = {}

    def tell(self, collector: str, uses: Iterable[GpuUse]) -> None:
        """Replace all that this collector has told; nothing when there is nothing any more."""
        self._told[collector] = tuple(uses)

    def known(self, since_s: float = 0.0) -> tuple[GpuUse, ...]:
        """Return what was read since a time of the monotonic clock, by GPU."""
        told = [use for uses in list(self._told.values()) for use in uses]
        return tuple(
            sorted((one for one in told if one.read_s >= since_s), key=lambda one: one.gpu)
        )
