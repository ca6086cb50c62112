"""Read a source: what a collector is, and what becomes of what it yields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import msgspec

from vedette.api.host import Event, GpuUses, Host, Record, Usage
from vedette.api.options import NoConfig, Stability
from vedette.api.readings import HistogramSample, Instrument, Sample, Series

Isolation = Literal["lane", "process"]

#: What ``Collector.collect`` yields.
Observation = Sample | HistogramSample | Usage | Event | Record


class Frame(msgspec.Struct, frozen=True):
    """What one collector read at one tick.

    ``tick_ns`` is the scheduled wall-clock time (Unix ns, a multiple of the base interval);
    ``read_ns`` the monotonic clock when reading began, for rates. ``values`` is an ``array('d')``
    of the same length as ``series``; NaN = not read.
    """

    collector: str
    tick_ns: int
    read_ns: int
    series: tuple[Series, ...]
    values: array[float]
    usages: tuple[Usage, ...] = ()
    events: tuple[Event, ...] = ()
    records: tuple[Record, ...] = ()
    histograms: tuple[HistogramSample, ...] = ()


class Collector(ABC):
    """Read one source. Subclass it, declare instruments as class attributes, yield samples.

    Called from one thread at a time (after a rest it may be another), never concurrently with
    itself. The runner records duration, success and lateness of each tick; a collector does not
    measure itself.
    """

    #: Lower-case noun, unique; the section ``[collectors.NAME]`` of agent.toml.
    name: ClassVar[str]
    #: A frozen msgspec struct; every field has a default and a ``Meta(description=...)``.
    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    #: On without configuration when ``probe()`` succeeds.
    default: ClassVar[bool] = True
    stability: ClassVar[Stability] = "stable"
    #: What it reads, for the reference; an instrument may name a source of its own.
    source: ClassVar[str] = ""
    interval_s: ClassVar[float] = 10.0
    #: Deadline of one ``collect()``; None: half the interval.
    timeout_s: ClassVar[float | None] = None
    #: False only for what cannot wait on anything but the kernel (/proc, /sys): shares one thread.
    #: ``seldom`` for what can, but hardly ever takes 250 ms: shares another. True: a thread alone.
    may_block: ClassVar[bool | Literal["seldom"]] = True
    #: ``process`` runs it in a child that is killed at the deadline.
    isolation: ClassVar[Isolation] = "lane"
    #: Resources for which its usages can name a suspect: it is asked for a fresh reading then.
    explains: ClassVar[tuple[str, ...]] = ()
    #: Its metrics are those that its source has: instruments are made while it reads, and kept.
    open_ended: ClassVar[bool] = False

    host: Host = Host()
    #: Who uses the GPUs: shared by all collectors of an agent but those in a process of their own.
    gpu_uses: GpuUses
    #: A directory of its own, for what has to outlive the agent; empty where nothing is kept. It
    #: may not be there yet.
    state_dir: str = ""

    def __init__(self, config: Any) -> None:
        """Keep the configuration (an instance of ``Config``); do no I/O."""
        self.config = config
        self.gpu_uses = GpuUses()

    def probe(self) -> None:  # noqa: B027
        """Check cheaply that the source exists; raise ``Unavailable`` when not. May open files."""

    @abstractmethod
    def collect(self) -> Iterable[Observation]:
        """Yield one tick's readings; a missing value is left out or NaN."""

    def answer(self, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer somebody at the agent's control socket, with what JSON can hold.

        Called from another thread, at any time. Raises ``LookupError``, with a text for a person,
        for what it has no answer to.
        """
        raise LookupError(f"collector {self.name} answers no questions")

    def close(self) -> None:  # noqa: B027
        """Let go of files and connections; safe twice and without ``probe()``."""

    @classmethod
    def instruments(cls) -> Iterator[Instrument]:
        """Yield the declared instruments, in order of definition, inherited ones first."""
        for base in reversed(cls.__mro__):
            for value in vars(base).values():
                if isinstance(value, Instrument):
                    yield value
