"""Log events of one source in columns: what ``Entry`` holds, without an object for each line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vedette.logs.entry import NO_FIELDS, Entry, Severity

_OF_ROWS = (
    "bodies", "severities", "times", "units", "headed", "sizes", "lines", "fields", "heads",
)  # fmt: skip


class Reading(NamedTuple):
    """What one line says.

    ``headed``: a stamp or level of the writer stood before the body. ``continues``: what the user's
    patterns say of it belonging to the line before, None when they say nothing. ``head``: what
    stood before the body, where somebody asked for it.
    """

    body: bytes
    severity: Severity = Severity.UNKNOWN
    time_ns: int | None = None
    unit: str = ""
    fields: Mapping[str, bytes] | None = None
    headed: bool = True
    continues: bool | None = None
    head: bytes = b""


def plain(value: object) -> dict[object, object]:
    """Return fields as a dictionary, for the disk."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


class Columns:
    """Events in the order they were read: row ``i`` of every list is event ``i``.

    ``headed`` tells whether the line began with a header of the program that wrote it, which is
    what joining goes by; ``told`` what the user's patterns say of that, only of rows of which they
    say something. ``sizes`` counts raw bytes with line ends, ``lines`` physical lines, so that both
    add up to what was read.
    """

    __slots__ = (
        "bodies", "fields", "headed", "heads", "lines", "severities", "sizes", "times", "told",
        "units",
    )  # fmt: skip

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.severities: list[Severity] = []
        self.times: list[int | None] = []
        self.units: list[str] = []
        self.headed: list[bool] = []
        self.sizes: list[int] = []
        self.lines: list[int] = []
        self.fields: list[Mapping[str, bytes] | None] = []
        self.heads: list[bytes] = []
        self.told: dict[int, bool] = {}

    def __len__(self) -> int:
        return len(self.bodies)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Columns:
        """Return entries as columns; their headers are taken off already, so all count as headed
        by what carried them and none by the program itself.
        """
        columns = cls()
        for entry in entries:
            columns.add(
                Reading(entry.body, entry.severity, entry.time_ns, entry.unit, entry.fields, False),
                entry.size,
                entry.lines,
            )
        return columns

    def add(self, reading: Reading, size: int, lines: int = 1) -> None:
        """Append one event."""
        self.fields.append(reading.fields)
        self.heads.append(reading.head)
        if reading.continues is not None:
            self.told[len(self.bodies)] = reading.continues
        self.bodies.append(reading.body)
        self.severities.append(reading.severity)
        self.times.append(reading.time_ns)
        self.units.append(reading.unit)
        self.headed.append(reading.headed)
        self.sizes.append(size)
        self.lines.append(lines)

    def row(self, index: int) -> Reading:
        """Return one event as a reading, without its size."""
        return Reading(
            self.bodies[index],
            self.severities[index],
            self.times[index],
            self.units[index],
            self.fields[index],
            self.headed[index],
            self.told.get(index),
            self.heads[index],
        )

    def select(self, rows: Sequence[int]) -> Columns:
        """Return some rows, in this order, as columns of their own, which have nothing told."""
        found = Columns()
        for name in _OF_ROWS:
            values = getattr(self, name)
            setattr(found, name, [values[row] for row in rows])
        return found

    def extend(self, other: Columns, start: int, stop: int) -> None:
        """Append some rows of other columns, which have nothing told of them."""
        rows = slice(start, stop)
        self.bodies += other.bodies[rows]
        self.severities += other.severities[rows]
        self.times += other.times[rows]
        self.units += other.units[rows]
        self.headed += other.headed[rows]
        self.sizes += other.sizes[rows]
        self.lines += other.lines[rows]
        self.fields += other.fields[rows]
        self.heads += other.heads[rows]

    def entries(self) -> list[Entry]:
        """Return the events as entries."""
        return [
            Entry(body, time, severity, unit, fields or NO_FIELDS, size, lines)
            for body, time, severity, unit, fields, size, lines in zip(
                self.bodies,
                self.times,
                self.severities,
                self.units,
                self.fields,
                self.sizes,
                self.lines,
                strict=True,
            )
        ]
