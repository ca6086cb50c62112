"""Cut the raw values around an incident out of the ring: what a person looks at first. Pure.

From ``BEFORE_NS`` before the onset to ``AFTER_NS`` after it, each reading, of ``SERIES`` series,
the one that the sentence is about first. The ring need not hold all of that at once: a cut at the
opening has what came before, later cuts complete the end. Bounded: at most ``VALUES`` values a
series at whatever interval, with six digits, so at most about 60 KB of JSON an incident (12 B a
value and its comma). Of incidents that are long over only one reading in ``THIN`` is kept, the one
furthest out, so that all the incidents of a host stay within a few MB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.api import Incident, Series, Track, Window
from vedette.table import align

BEFORE_NS = 600_000_000_000
AFTER_NS = 300_000_000_000
SERIES = 6
VALUES = 900
#: The newest resolved incidents that keep each reading, and how many become one of the others.
KEPT_WHOLE = 20
THIN = 10


def cut(
    incident: Incident,
    window: Window,
    step_ns: int,
    band: Callable[[str], tuple[float, float]],
) -> tuple[Track, ...]:
    """Return the incident's tracks, completed with what the window has now.

    ``band`` gives the expected low and high of a series key, NaN where there is none. A series
    that an earlier cut has keeps its place unless ``SERIES`` others have become more telling.
    """
    start, end = incident.onset_ns - BEFORE_NS, incident.onset_ns + AFTER_NS
    inside = np.flatnonzero((window.time >= start) & (window.time < end))
    known = {track.series: track for track in incident.evidence}
    wanted = _wanted(incident, window.series, known)
    keys = align(wanted, window.series)
    rows = {wanted[int(key)]: row for row, key in enumerate(keys.tolist()) if key >= 0}
    found: list[Track] = []
    for key in wanted:
        track = known.get(key)
        if key in rows and len(inside):
            track = _track(window, inside, rows[key], step_ns, band(key), track)
        if track is not None:
            found.append(track)
    return tuple(found)


def thinned(incident: Incident) -> Incident:
    """Return an incident with one value in ``THIN`` of its evidence, each the furthest out."""
    long = VALUES // THIN
    tracks = tuple(
        _thin(track) if len(track.values) > long else track for track in incident.evidence
    )
    return msgspec.structs.replace(incident, evidence=tracks)


def _wanted(
    incident: Incident, series: Sequence[Series | None], known: dict[str, Track]
) -> list[str]:
    """Return the keys of the series to show: known ones and ones that are read, by weight."""
    read = {one.key for one in series if one is not None}
    able = [key for key in incident.series if key in known or key in read]
    gone = [key for key in known if key not in able]
    return [*able, *gone][:SERIES]


def _track(
    window: Window,
    inside: NDArray[np.intp],
    row: int,
    step_ns: int,
    band: tuple[float, float],
    before: Track | None,
) -> Track:
    """Return the values of one row on a grid, joined to what an earlier cut had."""
    series = window.series[row]
    assert series is not None  # noqa: S101 - only rows of series are asked for
    if before is not None and before.step_ns != step_ns:
        return before  # the interval was changed meanwhile: one grid, or none
    readings = {
        int(time): float(f"{value:.6g}")
        for time, value in zip(
            window.time[inside].tolist(), window.values[row, inside].tolist(), strict=True
        )
        if math.isfinite(value)
    }
    first = int(window.time[inside[0]]) if before is None else before.start_ns
    values: list[float | None] = [] if before is None else list(before.values)
    last = (int(window.time[inside[-1]]) - first) // step_ns
    values += [None] * (min(last + 1, VALUES) - len(values))
    for time, value in readings.items():
        place = (time - first) // step_ns
        if 0 <= place < len(values) and values[place] is None:
            values[place] = value
    unit = series.instrument.unit
    low, high = band
    return Track(
        series=series.key,
        unit=f"{unit}/s" if series.instrument.kind == "counter" else unit,
        start_ns=first,
        step_ns=step_ns,
        values=tuple(values),
        low=low if math.isfinite(low) else (before.low if before else None),
        high=high if math.isfinite(high) else (before.high if before else None),
    )


def _thin(track: Track) -> Track:
    read = [value for value in track.values if value is not None]
    middle = median(read) if read else 0.0
    kept: list[float | None] = []
    for start in range(0, len(track.values), THIN):
        block = [value for value in track.values[start : start + THIN] if value is not None]
        kept.append(max(block, key=lambda value: abs(value - middle)) if block else None)
    return msgspec.structs.replace(track, step_ns=track.step_ns * THIN, values=tuple(kept))
