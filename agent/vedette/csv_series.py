"""Read a CSV of series, one row per time: ``timestamp,<value columns...>[,label]``.

A timestamp is Unix seconds or an ISO date-time (UTC unless it says otherwise), a value a number,
empty or ``nan`` when it was not read, a label 0 or 1.

What a file says wrongly is an error with its line: a row of another length, a value that is no
number, a time that is none. What measured data has by its nature is passed over and counted: a row
whose time is not after the one before it (a clock set back, an hour told twice), an infinite value.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["CsvError", "Readings", "read"]

#: What the time of a row, and what a person said about it, are called in the header.
TIME, LABEL = "timestamp", "label"
#: Unix seconds from here on (the year 2255) are milliseconds, or nonsense; ns fill an int64 soon.
LATEST_S = 9_000_000_000
#: With more than this part of the rows out of order it is not the clock: the file is not sorted.
UNORDERED = 0.5

_NAN = math.nan
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


class CsvError(ValueError):
    """What is wrong with a file, with its place: ``FILE:LINE: text``."""


class Readings(msgspec.Struct, frozen=True, eq=False):
    """What a file holds.

    ``stamps`` are the timestamps as written, ``time`` is int64 ``(rows,)`` Unix ns, ``values``
    float64 ``(rows, columns)`` with NaN = not read, ``labels`` bool ``(rows,)`` or None. ``taken``
    is False for the rows whose time is not after the one before, ``step_ns`` the median step of the
    others. ``first_skipped`` is the line of the first that is not taken (0: none), ``infinite`` how
    many values were infinite and are NaN here.
    """

    columns: tuple[str, ...]
    stamps: tuple[str, ...]
    time: NDArray[np.int64]
    values: NDArray[np.float64]
    labels: NDArray[np.bool_] | None
    taken: NDArray[np.bool_]
    step_ns: int
    first_skipped: int = 0
    infinite: int = 0

    @property
    def skipped(self) -> int:
        """Rows that are not taken."""
        return len(self.taken) - int(self.taken.sum())


def read(path: Path) -> Readings:
    """Read a whole file; raises ``CsvError`` for what is wrong in it, and ``OSError``."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = _Reader(path, file)
        try:
            return reader.read()
        except csv.Error as error:
            raise reader.wrong(str(error)) from None
        except UnicodeDecodeError as error:
            raise CsvError(f"{path}: is no UTF-8 text: {error.reason}") from None


class _Reader:
    """One pass over a file."""

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self.path = path
        self.rows = csv.reader(lines, strict=True)
        self.columns: tuple[str, ...] = ()
        self.has_labels = False
        self.stamps: list[str] = []
        self.time = array("q")
        self.values = array("d")
        self.labels = array("b")
        self.lines = array("q")

    def read(self) -> Readings:
        self._header(next(self.rows, []))
        width = 1 + len(self.columns) + self.has_labels
        for row in self.rows:
            if len(row) == width:
                self._row(row)
            elif row:  # an empty line is none
                fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
                raise self.wrong(f"has {fields}, the header has {width}")
        if not self.time:
            raise CsvError(f"{self.path}: has no rows")
        return self._readings()

    def wrong(self, text: str) -> CsvError:
        """Return an error at the line that was read last."""
        return CsvError(f"{self.path}:{self.rows.line_num}: {text}")

    def _header(self, names: list[str]) -> None:
        names = [name.strip() for name in names]
        if not names or names[0] != TIME:
            first = repr(names[0]) if names else "nothing"
            raise CsvError(f"{self.path}:1: the header begins with {first}, not {TIME!r}")
        self.has_labels = names[-1] == LABEL
        self.columns = tuple(names[1:-1] if self.has_labels else names[1:])
        if not self.columns:
            raise CsvError(f"{self.path}:1: the header names no value column")
        for place, name in enumerate(self.columns, 2):
            if not name:
                raise CsvError(f"{self.path}:1: column {place} has no name")
            if name == LABEL:
                raise CsvError(f"{self.path}:1: {LABEL!r} is column {place}, it must be the last")
        if len(set(self.columns)) < len(self.columns):
            twice = next(name for name in self.columns if self.columns.count(name) > 1)
            raise CsvError(f"{self.path}:1: there are two columns {twice!r}")

    def _row(self, row: list[str]) -> None:
        stamp = row[0].strip()
        self.time.append(self._nanoseconds(stamp))
        self.stamps.append(stamp)
        self.lines.append(self.rows.line_num)
        cells = row[1:]
        if self.has_labels:
            label = _LABELS.get(cells.pop().strip())
            if label is None:
                raise self.wrong(f"{LABEL} is {row[-1]!r}, not 0 or 1")
            self.labels.append(label)
        try:
            self.values.extend([float(cell) if cell else _NAN for cell in cells])
        except ValueError:
            self.values.extend([self._number(*pair) for pair in enumerate(cells)])

    def _number(self, column: int, cell: str) -> float:
        try:
            return float(cell) if cell.strip() else _NAN
        except ValueError:
            raise self.wrong(f"{self.columns[column]} is {cell!r}, which is no number") from None

    def _nanoseconds(self, stamp: str) -> int:
        try:
            if stamp[4:5] == "-":
                then = datetime.fromisoformat(stamp)
                then = then if then.tzinfo else then.replace(tzinfo=UTC)
                nanoseconds = (then - _EPOCH) // _MICROSECOND * 1_000
            elif stamp.isdecimal():
                nanoseconds = int(stamp) * 1_000_000_000
            else:
                nanoseconds = round(float(stamp) * 1e9)
        except (ValueError, OverflowError):
            what = "neither Unix seconds nor an ISO date-time"
            raise self.wrong(f"{TIME} is {stamp!r}, {what}") from None
        if 0 <= nanoseconds < LATEST_S * 1_000_000_000:
            return nanoseconds
        if nanoseconds < 0:
            raise self.wrong(f"{TIME} is {stamp!r}, before 1970")
        raise self.wrong(f"{TIME} is {stamp!r}, too large for seconds: are these milliseconds?")

    def _readings(self) -> Readings:
        time = np.frombuffer(self.time, dtype=np.int64)
        values = np.array(self.values, dtype=np.float64).reshape(len(time), len(self.columns))
        infinite = np.isinf(values)
        values[infinite] = np.nan
        newest = np.maximum.accumulate(time)
        taken = np.append(True, time[1:] > newest[:-1])
        skipped = np.flatnonzero(~taken)
        if len(skipped) > UNORDERED * len(time):
            text = f"{len(skipped)} of {len(time)} rows are not after the one before: sort the file"
            raise CsvError(f"{self.path}:{self.lines[skipped[0]]}: {text}")
        steps = np.diff(time[taken])
        return Readings(
            columns=self.columns,
            stamps=tuple(self.stamps),
            time=time,
            values=values,
            labels=np.frombuffer(self.labels, dtype=bool) if self.has_labels else None,
            taken=taken,
            step_ns=int(np.median(steps)) if len(steps) else 1_000_000_000,
            first_skipped=self.lines[skipped[0]] if len(skipped) else 0,
            infinite=int(infinite.sum()),
        )
