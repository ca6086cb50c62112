"""What is measured: instruments, their series, and readings of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

Kind = Literal["gauge", "counter", "updown", "histogram"]
Alarm = Literal["high", "low", "both", "never"]

#: Attribute sets one instrument remembers before it forgets them all (bounds a careless plugin).
SERIES_CACHE_MAX = 20_000


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
