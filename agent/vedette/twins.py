"""Find series that tell the same thing twice: one counter in two files, two that move as one.

Compared are the changes from tick to tick, not the values: a fault moves everything at once, and by
their values half of a host would look alike after it. Two series are twins when their changes
correlate by more than ``ALIKE``; of each group the first in the table stands for all. Known pairs
that seldom move are listed.

Pure. Cost: one correlation matrix, 30 ms of CPU for 300 series and 720 ticks, so it is meant for
every ten minutes; at most ``MAX_SERIES`` series are compared, those for which somebody is woken.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vedette.api import Window

ALIKE = 0.95
MAX_SERIES = 400
#: Changes that a series needs for a comparison: fewer are alike by chance.
LEAST_CHANGES = 30
#: What two sources tell of one event, and the series that stands for it.
KNOWN = {
    "vedette.kernel.events{vedette.kernel.event.kind=oom_kill}": "vedette.memory.oom_kills",
    "vedette.kernel.events{vedette.kernel.event.kind=hung_task}": "vedette.kernel.hung_tasks",
    "vedette.kernel.events{vedette.kernel.event.kind=conntrack_full}": "vedette.conntrack.drops",
    "vedette.kernel.events{vedette.kernel.event.kind=panic}": "vedette.kernel.oopses",
}


def known(key: str) -> str:
    """Return the key of the series that one repeats as far as that is known of all hosts."""
    return KNOWN.get(key, key)


def of(window: Window) -> Callable[[str], str]:
    """Return a function that maps the key of a series to that of the one it repeats."""
    rows = [
        row
        for row, series in enumerate(window.series)
        if series is not None and series.instrument.alarm != "never"
    ][:MAX_SERIES]
    changes = _changes(window.values[rows])
    moved = np.flatnonzero((changes != 0).sum(axis=1) >= LEAST_CHANGES)
    found: dict[str, str] = dict(KNOWN)
    if len(moved) > 1:
        alike = np.corrcoef(changes[moved]) > ALIKE
        first = alike.argmax(axis=1)  # itself at the latest
        keys = [one.key for row in moved.tolist() if (one := window.series[rows[row]]) is not None]
        for place, other in enumerate(first.tolist()):
            if other != place:
                found[keys[place]] = found.get(keys[other], keys[other])
    return lambda key: found.get(key, key)


def _changes(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the changes between readings, float64 ``(rows, ticks - 1)``; 0 where none is new."""
    read = np.isfinite(values)
    newest = np.maximum.accumulate(np.where(read, np.arange(values.shape[1]), -1), axis=1)
    held = np.take_along_axis(values.astype(np.float64), np.maximum(newest, 0), axis=1)
    held[newest < 0] = np.nan
    return np.nan_to_num(np.diff(held, axis=1), nan=0.0)
