"""Hold what a page of Prometheus or OpenMetrics text says, as values.

A page has families (a name, a type, what it means) and points: one per series of a counter or
gauge, one whole histogram or summary per set of labels. Names are never changed: a point bears the
name its value has on the page, so ``nv_inference_count`` stays without ``_total``, and a counter is
called the same whether the server wrote text format 0.0.4 or OpenMetrics.
"""

from __future__ import annotations

from math import nan
from typing import Literal

import msgspec

FamilyType = Literal[
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
    "unknown",
]

#: Pairs of name and value, sorted by name.
Labels = tuple[tuple[str, str], ...]


class Malformed(ValueError):  # noqa: N818 - the state of a line
    """Say why a line is not of the format; the text follows "line 7: "."""


class Family(msgspec.Struct, frozen=True):
    """Declare what the points of one name are. Help and unit are the page's, often empty."""

    name: str
    type: FamilyType = "unknown"
    unit: str = ""
    help: str = ""


class Key(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """Identify a series: its name and its sorted labels, without ``le`` and ``quantile``."""

    name: str
    labels: Labels = ()

    def label(self, name: str, default: str = "") -> str:
        """Return the value of a label."""
        for key, value in self.labels:
            if key == name:
                return value
        return default

    def __str__(self) -> str:
        if not self.labels:
            return self.name
        pairs = ",".join(f'{name}="{escape(value)}"' for name, value in self.labels)
        return f"{self.name}{{{pairs}}}"


class Number(msgspec.Struct, frozen=True, gc=False):
    """A counter, gauge, info, state or value of unknown type.

    ``created`` and ``time_s`` are Unix seconds, NaN when the page does not say. ``sources`` is 0
    for a series that stands on the page like this, and names the set of those that were put
    together (see ``choice``) otherwise: it changes when the set does.
    """

    key: Key
    value: float
    created: float = nan
    time_s: float = nan
    sources: int = 0


class Native(msgspec.Struct, frozen=True):
    """The exponential buckets of a native histogram: bucket i ends at ``2 ** (i / 2**schema)``.

    Text cannot carry them; this is where a reader of the protobuf format puts them.
    """

    schema: int
    zero_threshold: float
    zero_count: float
    positive: tuple[tuple[int, float], ...] = ()
    negative: tuple[tuple[int, float], ...] = ()


class Histogram(msgspec.Struct, frozen=True):
    """A whole histogram with the source's own bounds.

    ``bounds`` are the finite upper bounds, rising; ``cumulative`` has one count more, the last for
    +Inf. ``sum`` and ``count`` are NaN when the page lacks them.
    """

    key: Key
    bounds: tuple[float, ...]
    cumulative: tuple[float, ...]
    sum: float = nan
    count: float = nan
    created: float = nan
    time_s: float = nan
    sources: int = 0
    native: Native | None = None


class Summary(msgspec.Struct, frozen=True):
    """A whole summary. ``values`` belong to ``quantiles``; servers often give sum and count only.

    Quantiles are over a time the source chose, and cannot be added.
    """

    key: Key
    quantiles: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    sum: float = nan
    count: float = nan
    created: float = nan
    time_s: float = nan
    sources: int = 0


Point = Number | Histogram | Summary


class Fault(msgspec.Struct, frozen=True):
    """A line that could not be read: its number (0: the page), its start, and the reason."""

    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        if not self.line:
            return self.reason
        return f"line {self.line}: {self.reason}: {self.text!r}"


class Caps(msgspec.Struct, frozen=True):
    """Bound what one page may cost. What goes over is left out, counted and said."""

    bytes: int = 16 * 1024 * 1024
    lines: int = 100_000
    #: Series remembered, which bounds the memory.
    series: int = 20_000
    line_bytes: int = 16 * 1024
    labels: int = 64
    #: Characters of a label's name or value.
    label_chars: int = 2048
    #: Lines of unknown text that may turn out bad before the rest of such lines is left unread.
    bad_lines: int = 1000
    #: Faults named; all are counted.
    faults_named: int = 5
    #: Pages after which a series that left is forgotten.
    forget_after: int = 10


def escape(value: str) -> str:
    """Write a label's value as it stands between quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
