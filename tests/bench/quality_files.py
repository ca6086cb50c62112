"""Read a folder of labelled CSVs: the series, from which row on they count, what events were about.

What the folder may hold beside the CSVs is told in quality.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from quality_metrics import Floats

from vedette.csv_series import read


class Segment(NamedTuple):
    """An event and the columns it was about, rows of the file."""

    first: int
    last: int
    columns: frozenset[int]


class Labelled(NamedTuple):
    """A file: its values ``(rows, series)``, its labels, and from which row on it is judged."""

    path: Path
    #: Its path within the folder.
    name: str
    step_s: float
    #: Time of each row, Unix ns.
    time: NDArray[np.int64]
    values: Floats
    labels: NDArray[np.bool_]
    #: Rows of the file whose time is after the one before: the others are left out of everything.
    taken: NDArray[np.bool_]
    first: int
    segments: tuple[Segment, ...]


def labelled_files(folder: Path, unscored: float) -> list[Labelled]:
    """Read every CSV with labels under the folder, sorted by name.

    Raises ``CsvError`` for a file that is wrong, ``ValueError`` for a wrong ``meta.json`` or
    interpretation, ``OSError`` when something cannot be read.
    """
    meta_file = folder / "meta.json"
    meta = json.loads(meta_file.read_text()) if meta_file.exists() else {}
    files = []
    for path in sorted(folder.rglob("*.csv")):
        with path.open(encoding="utf-8-sig") as lines:
            if not lines.readline().strip().endswith(",label"):
                print(f"left out, has no label column: {path}", file=sys.stderr)
                continue
        files.append(_labelled(path, folder, meta, unscored))
    if not files:
        raise ValueError(f"{folder}: there is no CSV with a label column in it")
    return files


def _labelled(path: Path, folder: Path, meta: dict[str, Any], unscored: float) -> Labelled:
    readings = read(path)
    taken = readings.taken
    rows = int(taken.sum())
    first = meta.get(path.stem, int(unscored * rows))
    if not isinstance(first, int) or not 0 <= first < rows:
        raise ValueError(f"meta.json: {path.stem} is {first!r}, the file has {rows} rows")
    assert readings.labels is not None
    return Labelled(
        path,
        str(path.relative_to(folder)),
        readings.step_ns / 1e9,
        readings.time[taken],
        readings.values[taken],
        readings.labels[taken],
        taken,
        first,
        _segments(path, first, readings.values[taken].shape),
    )


def _segments(path: Path, first: int, shape: tuple[int, ...]) -> tuple[Segment, ...]:
    """Read which columns each event was about; nothing where that is not told."""
    told = path.parent / "interpretation" / f"{path.stem}.txt"
    if not told.exists():
        return ()
    segments = []
    for number, line in enumerate(told.read_text().split(), 1):
        try:
            rows, _, columns = line.partition(":")
            begins, _, ends = rows.partition("-")
            about = frozenset(int(one) - 1 for one in columns.split(","))
            segment = Segment(first + int(begins), first + int(ends or begins), about)
        except ValueError:
            raise ValueError(f"{told}:{number}: {line!r} is not FIRST-LAST:COLUMN,...") from None
        inside = first <= segment.first <= segment.last < shape[0]
        if not inside or not about <= set(range(shape[1])):
            raise ValueError(f"{told}:{number}: {line!r} is not within {path.name}, {shape}")
        segments.append(segment)
    return tuple(segments)
