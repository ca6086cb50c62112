"""What the instruments say of each row: on which side a person cares, and what is too small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vedette.api import Evidence, Series

Rows = Sequence[Series | None]


def sides(series: Rows) -> NDArray[np.float32]:
    """Return 1 where a person cares, else 0: too high, too low, float32 ``(2, rows)``."""
    alarms = [one.instrument.alarm if one else "never" for one in series]
    minded = [[alarm in (side, "both") for alarm in alarms] for side in ("high", "low")]
    return np.array(minded, dtype=np.float32).reshape(2, len(alarms))


def least(series: Rows, matters: float) -> NDArray[np.float32]:
    """Return that part of each declared limit, 0 without one, float32 ``(rows,)``."""
    limits = [one.instrument.limit or 0.0 if one else 0.0 for one in series]
    return np.array([matters * limit for limit in limits], dtype=np.float32)


def band(series: Series | None, middle: float, wide: float) -> Evidence:
    """Return what was expected; what was never negative is not expected to become so."""
    low = middle - wide
    if series is not None and series.instrument.unit != "Cel" and middle >= 0:
        low = max(0.0, low)
    return Evidence(low, middle + wide)
