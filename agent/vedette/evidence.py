"""Cut the raw values around an incident out of the ring: what a person looks at first. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vedette.api import Incident, Track, Window
from vedette.table import align

#: From so long before the onset, so many ticks, of so many series.
BEFORE_NS = 120_000_000_000
TICKS = 600
SERIES = 4


def cut(
    incident: Incident,
    window: Window,
    step_ns: int,
    band: Callable[[str], tuple[float, float]],
) -> tuple[Track, ...]:
    """Return the incident's tracks with what the window has now; a shorter one replaces none.

    ``band`` gives the expected low and high of a series key, NaN where there is none.
    """
    tracks = {track.series: track for track in incident.evidence}
    start = incident.onset_ns - BEFORE_NS
    inside = np.flatnonzero((window.time >= start) & (window.time < start + TICKS * step_ns))
    if not len(inside):
        return incident.evidence
    wanted = incident.series[:SERIES]
    keys = align(wanted, window.series)
    for row in sorted(np.flatnonzero(keys >= 0).tolist(), key=lambda row: int(keys[row])):
        key = wanted[int(keys[row])]
        before = tracks.get(key)
        if before is None and len(tracks) >= SERIES:
            continue
        track = _track(window, inside, row, step_ns, band(key), before)
        if track is not None:
            tracks[key] = track
    return tuple(tracks.values())


def _track(
    window: Window,
    inside: np.ndarray[tuple[int], np.dtype[np.intp]],
    row: int,
    step_ns: int,
    band: tuple[float, float],
    before: Track | None,
) -> Track | None:
    series = window.series[row]
    if series is None:
        return before
    first, last = int(window.time[inside[0]]), int(window.time[inside[-1]])
    values: list[float | None] = [None] * ((last - first) // step_ns + 1)
    if before is not None and len(before.values) >= len(values):
        return before
    for time, value in zip(
        window.time[inside].tolist(), window.values[row, inside].tolist(), strict=True
    ):
        if math.isfinite(value):
            values[(time - first) // step_ns] = float(f"{value:.6g}")
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
