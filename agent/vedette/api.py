"""Every name a plugin may use: the stable surface of Vedette.

A plugin is a module with functions marked ``@hookimpl`` that return classes written against the
types below. Nothing here does I/O and nothing imports numpy at run time, so importing a plugin
stays cheap; arrays appear in type annotations only.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
from pluggy import HookimplMarker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Alarm",
    "Collector",
    "Detector",
    "Duration",
    "Event",
    "Evidence",
    "Finding",
    "Frame",
    "GpuUse",
    "GpuUses",
    "Head",
    "HistogramSample",
    "Host",
    "Incident",
    "IncidentState",
    "Instrument",
    "Isolation",
    "Item",
    "Kind",
    "NoConfig",
    "Observation",
    "Output",
    "Problem",
    "Record",
    "Sample",
    "Secret",
    "SendResult",
    "Series",
    "Severity",
    "Shipment",
    "Size",
    "Stability",
    "StateArray",
    "Strength",
    "Suspect",
    "Track",
    "Unavailable",
    "Usage",
    "Verdict",
    "VerdictWord",
    "Window",
    "counter",
    "gauge",
    "histogram",
    "hookimpl",
    "updown",
]

hookimpl = HookimplMarker("vedette")

Kind = Literal["gauge", "counter", "updown", "histogram"]
Alarm = Literal["high", "low", "both", "never"]
Severity = Literal["info", "warning", "critical"]
IncidentState = Literal["open", "resolved"]
VerdictWord = Literal["ack", "false-alarm"]
Stability = Literal["stable", "beta", "experimental"]
Isolation = Literal["lane", "process"]
Signal = Literal["metrics", "logs"]

#: Attribute sets one instrument remembers before it forgets them all (bounds a careless plugin).
SERIES_CACHE_MAX = 20_000


class Unavailable(Exception):  # noqa: N818 - a state of the world, not an error
    """Say that what a collector reads does not exist on this host.

    Raised by ``probe()`` or ``collect()``: the collector rests and is probed again slowly. The
    text is shown to a person ("no NVIDIA driver").
    """


class Duration(float):
    """Seconds; a text with unit in agent.toml: ``"250ms"``, ``"10s"``, ``"5m"``, ``"2h"``."""


class Size(int):
    """Bytes; a number, or a text with unit in agent.toml: ``"512KiB"``, ``"64MiB"``."""


class Secret:
    """A credential never printed; in agent.toml ``{ file = "..." }`` or ``{ env = "..." }``.

    The source is read anew by each ``reveal()``, so a rotated credential is picked up.
    """

    __slots__ = ("env", "file")

    def __init__(self, *, file: str = "", env: str = "") -> None:
        self.file = file
        self.env = env

    def reveal(self) -> str:
        """Return the credential; raises ``Unavailable`` naming the source when there is none."""
        if self.env:
            value = os.environ.get(self.env, "")
            if not value:
                raise Unavailable(f"environment variable {self.env} is not set")
            return value
        try:
            with open(self.file, encoding="utf-8") as file:
                return file.read().strip()
        except OSError as error:
            raise Unavailable(f"cannot read {self.file}: {error.strerror}") from error

    def __repr__(self) -> str:
        return "Secret(***)"


class NoConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of a component that has nothing to configure."""


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


# ---------------------------------------------------------------- what is measured


class Instrument:
    """A declared metric; calling it makes a ``Sample``, so an undeclared metric cannot be emitted.

    ``name`` follows OpenTelemetry semantic conventions and ``unit`` is UCUM. ``kind`` is ``gauge``,
    ``counter`` (monotonic, becomes a rate), ``updown`` (a sum that may fall; read like a gauge) or
    ``histogram`` (a distribution that the source keeps: ``HistogramSample``). ``attributes`` are
    the attribute keys; values are given in that order.

    The last three tell detection what the number means: ``resource`` is the family whose findings
    belong together (``cpu``, ``memory``, ``disk``, ...; empty: the collector's name); ``alarm`` is
    the side on which a person cares, ``never`` for detail that only serves as evidence; ``limit``
    is the value at which the resource is used up (1 for a utilisation).

    ``source`` says for the reference where the number comes from, ``/proc/vmstat`` for one (empty:
    the collector's ``source``).
    """

    __slots__ = (
        "_hash",
        "_series",
        "alarm",
        "attributes",
        "help",
        "kind",
        "limit",
        "name",
        "resource",
        "source",
        "unit",
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        unit: str,
        help: str,
        attributes: Sequence[str] = (),
        *,
        resource: str = "",
        alarm: Alarm = "both",
        limit: float | None = None,
        source: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.unit = unit
        self.help = help
        self.attributes = tuple(attributes)
        self.resource = resource
        self.alarm = alarm
        self.limit = limit
        self.source = source
        self._series: dict[tuple[str, ...], Series] = {}
        self._hash = hash((name, kind, unit, self.attributes))

    def series(self, *values: str) -> Series:
        """Return the series with these attribute values (same order as ``attributes``).

        Raises ``ValueError`` when their number is not that of the declared attributes.
        """
        found = self._series.get(values)
        if found is None:
            if len(values) != len(self.attributes):
                raise ValueError(
                    f"{self.name} takes attributes {self.attributes}, got values {values!r}"
                )
            if len(self._series) >= SERIES_CACHE_MAX:
                self._series.clear()
            found = self._series[values] = Series(self, tuple(str(value) for value in values))
        return found

    def forget(self, series: Series) -> None:
        """Let go of a series that is no longer read; it is made anew when it comes again."""
        self._series.pop(series.values, None)

    def __call__(self, value: float, *values: str) -> Sample:
        """Make a reading of this instrument; see ``series`` for the attribute values."""
        return Sample(self._series.get(values) or self.series(*values), value)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Instrument)
            and self.name == other.name
            and self.kind == other.kind
            and self.unit == other.unit
            and self.attributes == other.attributes
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Instrument({self.name!r}, {self.kind!r}, {self.unit!r}, {self.attributes!r})"


def gauge(
    name: str, unit: str, help: str, attributes: Sequence[str] = (), **meaning: Any
) -> Instrument:
    """Declare a gauge: a value that is what it is when read."""
    return Instrument(name, "gauge", unit, help, attributes, **meaning)


def counter(
    name: str, unit: str, help: str, attributes: Sequence[str] = (), **meaning: Any
) -> Instrument:
    """Declare a counter: a total that only grows and starts anew at a reset."""
    return Instrument(name, "counter", unit, help, attributes, **meaning)


def updown(
    name: str, unit: str, help: str, attributes: Sequence[str] = (), **meaning: Any
) -> Instrument:
    """Declare an up-down counter: an additive amount that may fall (bytes in use, processes)."""
    return Instrument(name, "updown", unit, help, attributes, **meaning)


def histogram(
    name: str, unit: str, help: str, attributes: Sequence[str] = (), **meaning: Any
) -> Instrument:
    """Declare a distribution that the source itself counts in buckets."""
    return Instrument(name, "histogram", unit, help, attributes, **meaning)


class Series(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """An instrument with its attribute values: one row of the table."""

    instrument: Instrument
    values: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The series as text, ``name{attribute=value,...}``; unique, stable across restarts."""
        if not self.values:
            return self.instrument.name
        pairs = ",".join(
            f"{key}={value}"
            for key, value in zip(self.instrument.attributes, self.values, strict=True)
        )
        return f"{self.instrument.name}{{{pairs}}}"


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One reading in the instrument's unit; for a counter the running total."""

    series: Series
    value: float


class HistogramSample(msgspec.Struct, frozen=True, gc=False):
    """What a source counted in its own buckets since the reading before.

    ``series`` is of a ``histogram`` instrument. ``bounds`` are the upper bounds of all buckets but
    the last one, finite and increasing, in the instrument's unit; ``counts`` what came in each, one
    more than there are bounds; ``sum`` that of the values (None: not known). It goes to the
    receiver with the window, as it is, never sorted into other buckets. Detectors look at series
    of numbers: yield a rate, a mean or a quantile beside it.
    """

    series: Series
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float | None = None


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


# ---------------------------------------------------------------- what is learned


class Window(msgspec.Struct, frozen=True, eq=False):
    """The newest readings of all series; read only.

    ``time`` is int64 ``(ticks,)``, Unix ns; ``values`` float32 ``(rows, ticks)``, counters as
    rates per second, NaN = not read. ``series[row]`` is None for a row without a series.
    ``generation`` changes whenever a row gets another series, so a detector may keep what it
    derived from ``series`` until then.
    """

    time: NDArray[np.int64]
    values: NDArray[np.float32]
    series: Sequence[Series | None]
    generation: int


class StateArray(msgspec.Struct, frozen=True):
    """One learned array of a detector: its value for a new series, and numbers per series.

    With a ``width`` it is ``(rows, width)`` in Fortran order: ``array[:, k]``, one number of all
    series, is contiguous. What is ``transient`` only remembers the last readings: it is not saved,
    and starts anew with the agent.
    """

    initial: float = 0.0
    width: int = 1
    transient: bool = False


class Head(msgspec.Struct, frozen=True):
    """One score that a detector gives, and when it makes a finding.

    A reading is strange from ``threshold`` on, the same for all series; None: the Decider
    calibrates the score per series to a tail probability and decides by that. A finding needs
    ``confirm`` strange readings with no two others in a row, over at least ``confirm_s`` seconds;
    ``release`` calm ones, over at least ``release_s`` seconds, end it. A reading is calm below
    ``calm`` of the threshold; by default where p is about 0.01 (of a score that wears off by itself
    that is late: the next fault would be part of this finding).
    """

    name: str
    threshold: float | None = None
    confirm: int = 3
    confirm_s: float = 0.0
    release: int = 3
    release_s: float = 0.0
    calm: float = 0.54


class Evidence(msgspec.Struct, frozen=True):
    """What a detector expected of a series: the band, NaN where there is none, and words."""

    low: float
    high: float
    text: str = ""


class Detector(ABC):
    """Score all series at once. Code without memory: the agent owns the learned arrays.

    ``scale`` says what a score means. ``strangeness``: larger is stranger, in any unit; ``heads``
    say from where on it is a finding. ``level``: a rule of the operator's own; 1 and above is a
    violation, 2 and above a critical one, never calibrated.
    Scores of the same tick are asked for first, then ``learn`` folds the newest column in.
    """

    name: ClassVar[str]
    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    default: ClassVar[bool] = True
    stability: ClassVar[Stability] = "stable"
    scale: ClassVar[Literal["strangeness", "level"]] = "strangeness"
    #: The scores it gives, in the order of ``score``'s rows; empty: one, of the detector's name,
    #: with ``threshold``, ``confirm`` and so on as a ``Head`` has them.
    heads: ClassVar[tuple[Head, ...]] = ()
    threshold: ClassVar[float | None] = None
    confirm: ClassVar[int] = 3
    confirm_s: ClassVar[float] = 0.0
    release: ClassVar[int] = 3
    release_s: ClassVar[float] = 0.0
    #: 0: asked each tick. Else once per so many seconds (60 at present), and the window holds the
    #: means over each such time; each tick where the base interval is that long or longer.
    cadence_s: ClassVar[Literal[0, 60]] = 0
    #: Not asked at all where the base interval is longer than this, in seconds.
    coarsest_s: ClassVar[float] = float("inf")
    #: Learned arrays, float32 ``(rows,)`` or ``(rows, width)``.
    state: ClassVar[Mapping[str, StateArray]] = {}
    #: Raised when the meaning of the state changes; ``migrate`` may make something of older ones.
    state_version: ClassVar[int] = 1
    #: Newest columns that ``score`` and ``learn`` look at; of means 128 are kept.
    lookback: ClassVar[int] = 1

    def __init__(self, config: Any) -> None:
        """Keep the configuration (an instance of ``Config``); do no I/O."""
        self.config = config

    @abstractmethod
    def score(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Return float32 ``(rows,)`` for the newest column; NaN = no opinion. Reads only.

        With several heads ``(heads, rows)``.
        """

    def learn(  # noqa: B027
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> None:
        """Fold the newest column into ``state``, in place."""

    def migrate(
        self, version: int, arrays: dict[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]] | None:
        """Return the state that an earlier ``state_version`` saved, as it is now.

        ``arrays`` are copies, a row per series; transient ones are not among them, and what is left
        out of the answer begins at its initial value. None: it is of no use, learn anew.
        """
        return None

    def learning(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.bool_] | None:
        """Return bool ``(rows,)``: series still too new for an opinion. None: never waits."""
        return None

    def explain(
        self, window: Window, state: Mapping[str, NDArray[np.float32]], row: int
    ) -> Evidence:
        """Return what was expected of one row at the newest tick."""
        return Evidence(float("nan"), float("nan"))

    @classmethod
    def all_heads(cls) -> tuple[Head, ...]:
        """Return the heads, the one of a detector that declares none included."""
        return cls.heads or (
            Head(
                cls.name,
                threshold=cls.threshold,
                confirm=cls.confirm,
                confirm_s=cls.confirm_s,
                release=cls.release,
                release_s=cls.release_s,
            ),
        )


# ---------------------------------------------------------------- what is found


class Finding(msgspec.Struct, frozen=True):
    """A series is abnormal since ``since_ns`` (Unix ns, the first strange reading).

    ``p`` is the calibrated tail probability of the strangest reading so far (0 for a violated
    level rule), ``observed`` the reading furthest out so far, ``low`` and ``high`` the band that
    was expected before it began (NaN: no such side).
    """

    series: Series
    detector: str
    since_ns: int
    last_ns: int
    severity: Severity
    p: float
    observed: float
    low: float
    high: float
    text: str = ""


class Suspect(msgspec.Struct, frozen=True):
    """Who or what may have caused an incident: a process, an event, or a series that moved first.

    ``kind`` is ``process`` (or another sort of entity), ``event`` or ``series``. ``text`` is what
    it does or did, ``reason`` why it is suspected. ``time_ns`` is when it happened or turned
    strange, Unix ns; 0 of what has no such time.
    """

    kind: str
    name: str
    id: str
    share: float
    text: str
    reason: str = ""
    time_ns: int = 0

    @property
    def label(self) -> str:
        """Who it is, for a person: ``process stress (4711)``."""
        which = f" ({self.id})" if self.id not in ("", self.name) else ""
        return f"{self.kind} {self.name}{which}"


class Track(msgspec.Struct, frozen=True):
    """Raw values of one series around an incident, evenly spaced; None = not read."""

    series: str
    unit: str
    start_ns: int
    step_ns: int
    values: tuple[float | None, ...]
    low: float | None = None
    high: float | None = None


class Strength(msgspec.Struct, frozen=True):
    """How strong the finding of one series by one head was at its strongest.

    ``ratio`` is in multiples of the threshold; 0: a rule of the operator's own, which is violated
    or not.
    """

    series: str
    head: str
    ratio: float


class Verdict(msgspec.Struct, frozen=True):
    """What the operator said of an incident: seen and real (``ack``), or rung for nothing.

    ``by`` is a user's name, ``time_ns`` when it was said (Unix ns), ``note`` why.
    """

    word: VerdictWord
    by: str
    time_ns: int
    note: str = ""


class Incident(msgspec.Struct, frozen=True):
    """Findings that belong together, as one thing a person can act on.

    Times are Unix ns: ``onset_ns`` when the first series turned strange, ``opened_ns`` when the
    agent was sure. ``title`` is the plain sentence. ``resource`` is the family that is about,
    ``entities`` are the things it is about, the first the one that the sentence names
    (``mount /var``, ``disk sda``, ``memory``). ``strengths`` say how strong its findings were,
    ``verdict`` what the operator said of it.
    """

    id: str
    state: IncidentState
    severity: Severity
    resource: str
    title: str
    onset_ns: int
    opened_ns: int
    updated_ns: int
    resolved_ns: int | None
    series: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    evidence: tuple[Track, ...] = ()
    detectors: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    strengths: tuple[Strength, ...] = ()
    verdict: Verdict | None = None


# ---------------------------------------------------------------- what is sent


class Shipment(msgspec.Struct, frozen=True):
    """One immutable batch of the spool: a gzip'd OTLP request with its identity.

    (``agent``, ``epoch``, ``sequence``) is unique for ever, so a receiver can ignore a resend and
    prove that nothing is missing; ``body`` is byte-identical at every attempt.
    """

    agent: str
    epoch: str
    sequence: int
    signal: Signal
    body: bytes


class SendResult(msgspec.Struct, frozen=True):
    """What became of a shipment.

    ``delivered``: acknowledged. ``retry``: keep it and try again, not before ``retry_after_s``.
    ``refused``: the destination will never take it (poison); it goes to the dead letters.
    ``reason`` is short, from a bounded set of words plus a status code; never a payload.
    """

    outcome: Literal["delivered", "retry", "refused"]
    reason: str = ""
    retry_after_s: float | None = None


class Output(ABC):
    """Send batches somewhere. Called from the shipping thread only, one batch at a time."""

    name: ClassVar[str]
    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    stability: ClassVar[Stability] = "stable"

    def __init__(self, config: Any) -> None:
        """Keep the configuration (an instance of ``Config``); do no I/O."""
        self.config = config

    @abstractmethod
    def send(self, shipment: Shipment) -> SendResult:
        """Try once, within a total deadline of the output's own. Does not raise for refusals."""

    def close(self) -> None:  # noqa: B027
        """Let go of connections; safe twice."""


class Problem(msgspec.Struct, frozen=True):
    """Something ``vedette check`` found, with its place and a remedy in ``text``."""

    severity: Literal["error", "warning"]
    text: str
    file: str = ""
    line: int = 0
