"""Let ``vedette backtest`` judge a labelled file, and read what it wrote."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from array import array
from pathlib import Path

import numpy as np
from quality_files import Labelled
from quality_metrics import Floats

from vedette import cli


def backtest(path: Path, out: Path, told: Path, detector: str | None) -> None:
    """Run ``vedette backtest`` on one file, in this process; ``RuntimeError`` when it fails.

    Scores are written to ``out``, incidents to ``told``.
    """
    arguments = ["backtest", str(path), "--out", str(out), "--incidents", str(told)]
    if detector is not None:
        arguments += ["--detector", detector]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main(arguments)
    if code not in (0, 1):
        raise RuntimeError(f"vedette {' '.join(arguments)} ended with {code}: {said.getvalue()}")


def read_scores(path: Path, file: Labelled) -> tuple[Floats, Floats, Floats]:
    """Read ``timestamp,series,score,p,finding``: score, p, finding, each ``(rows, series)``."""
    numbers = array("d")
    with path.open(newline="") as lines:
        rows = csv.reader(lines)
        next(rows, None)
        for row in rows:
            numbers.extend([float(cell) if cell else np.nan for cell in row[2:5]])
    wanted = (len(file.taken), file.values.shape[1], 3)
    if len(numbers) != np.prod(wanted):
        lines_wanted = wanted[0] * wanted[1]
        raise ValueError(f"{path}: has {len(numbers) // 3} scores, {file.path} {lines_wanted}")
    table = np.array(numbers).reshape(wanted)[file.taken]
    return table[:, :, 0], table[:, :, 1], table[:, :, 2]


def opened(path: Path, file: Labelled) -> Floats:
    """Read incidents: 1 at the rows ``(rows,)`` at which one opened, 0 elsewhere."""
    incidents = json.loads(path.read_text())["incidents"]
    begins = np.array([one["opened_ns"] for one in incidents], dtype=np.int64)
    rings = np.zeros(len(file.time))
    rings[np.searchsorted(file.time, begins).clip(max=len(rings) - 1)] = 1
    return rings
