"""Verify that a page keeps to the letter of text format 0.0.4 or of OpenMetrics 1.0.

For tests and for those who write a server; ``reading`` reads what servers really write. Also
checked is what a page has to keep as a whole: order, endings, one line a series, rising buckets.
"""

from __future__ import annotations

from math import inf

from vedette.exposition.layout import Place, place, role_of
from vedette.exposition.model import Family, Labels, Malformed
from vedette.exposition.strict import SampleLine, read_comment, read_sample

TYPES = {
    False: frozenset({"counter", "gauge", "histogram", "summary", "untyped"}),
    True: frozenset(
        {
            "counter",
            "gauge",
            "histogram",
            "gaugehistogram",
            "summary",
            "info",
            "stateset",
            "unknown",
        }
    ),
}


def verify(body: bytes, *, openmetrics: bool = False) -> None:
    """Raise ``Malformed`` with line number, reason and text at the first line that is wrong."""
    lines = body.split(b"\n")
    if lines.pop():
        raise Malformed(f"line {len(lines) + 1}: the last line does not end")
    page = _Letter(openmetrics)
    for number, line in enumerate(lines, 1):
        try:
            page.line(line)
        except Malformed as error:
            text = line[:120].decode("utf-8", "backslashreplace")
            raise Malformed(f"line {number}: {error}: {text!r}") from None
    page.close()


class _Letter:
    """Follow a page line by line."""

    def __init__(self, openmetrics: bool) -> None:
        self._openmetrics = openmetrics
        self._declared: dict[str, Family] = {}
        self._said: set[tuple[str, str]] = set()
        self._series: set[tuple[str, Labels]] = set()
        self._group = ""
        self._closed: set[str] = set()
        self._buckets: dict[tuple[str, Labels], dict[float, float]] = {}
        self._ended = False

    def line(self, line: bytes) -> None:
        """Take the next line; raises ``Malformed``."""
        if self._ended:
            raise Malformed("a line after # EOF")
        if line.lstrip(b" \t")[:1] == b"#":
            self._comment(line)
        elif line.strip(b" \t"):
            self._sample(read_sample(line, openmetrics=self._openmetrics, pedantic=True))
        elif self._openmetrics:
            raise Malformed("an empty line, which OpenMetrics has not")

    def close(self) -> None:
        """See what only the end of the page shows."""
        if self._openmetrics and not self._ended:
            raise Malformed("no # EOF at the end")
        for (name, labels), counts in self._buckets.items():
            series = f"{name}{dict(labels)}" if labels else name
            if inf not in counts:
                raise Malformed(f"{series} has no +Inf bucket")
            rising = [counts[bound] for bound in sorted(counts)]
            if rising != sorted(rising):
                raise Malformed(f"{series} has a bucket below the one before")

    def _comment(self, line: bytes) -> None:
        found = read_comment(line, openmetrics=self._openmetrics, pedantic=True)
        if found is None:
            return
        if found.word == "EOF":
            self._ended = self._openmetrics
            return
        if (found.word, found.name) in self._said:
            raise Malformed(f"a second {found.word} of {found.name}")
        self._said.add((found.word, found.name))
        if found.name in self._closed:
            raise Malformed(f"{found.name} is declared after its lines")
        before = self._declared.get(found.name, Family(found.name))
        if found.word == "TYPE":
            if found.text not in TYPES[self._openmetrics]:
                raise Malformed(f"{found.text!r} is not a type")
            kind = "unknown" if found.text == "untyped" else found.text
            before = Family(found.name, kind, before.unit)  # type: ignore[arg-type]
        elif found.word == "UNIT":
            if found.text and not found.name.endswith(f"_{found.text}"):
                raise Malformed(f"{found.name} does not end in its unit {found.text}")
            before = Family(found.name, before.type, found.text)
        if self._openmetrics:
            self._enter(found.name)
        self._declared[found.name] = before

    def _sample(self, found: SampleLine) -> None:
        series = (found.name, found.labels)
        if series in self._series:
            raise Malformed("a series that was there before")
        self._series.add(series)
        where = place(found.name, self._declared)
        role, labels = role_of(where, found.labels)
        self._enter(where.family)
        self._closed.add(where.family)
        if self._openmetrics:
            _letter_of_type(where, found)
        if where.part == "bucket" and isinstance(role, float):
            counts = self._buckets.setdefault((where.family, labels), {})
            if role in counts:
                raise Malformed("a bucket that was there before")
            counts[role] = found.value

    def _enter(self, family: str) -> None:
        """Go on to a family's lines, which must stand together."""
        if family == self._group:
            return
        if family in self._closed:
            raise Malformed(f"the lines of {family} do not stand together")
        if self._group:
            self._closed.add(self._group)
        self._group = family


def _letter_of_type(where: Place, found: SampleLine) -> None:
    """Refuse values and names OpenMetrics has not for a type."""
    if where.type == "counter":
        if where.part == "value" and not found.name.endswith("_total"):
            raise Malformed("a counter without _total")
        if not found.value >= 0:
            raise Malformed("a counter is a number from 0")
    elif where.part in ("bucket", "count") and not found.value >= 0:
        raise Malformed("a count is a number from 0")
    elif where.type == "info" and (found.value != 1 or not found.name.endswith("_info")):
        raise Malformed("an info ends in _info and is 1")
    elif where.type == "stateset" and (
        found.value not in (0, 1) or where.family not in dict(found.labels)
    ):
        raise Malformed("a state is 0 or 1 and has a label of the family's name")
    if found.exemplar and where.part != "bucket" and where.type != "counter":
        raise Malformed("an exemplar at what has none")
