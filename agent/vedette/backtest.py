"""Stream readings of the past through the daemon's own pipeline, in the time they are of.

Table, detectors, Decider and Correlator are those of the daemon, and so is the loop around them: a
row of the file is a frame of one collector, the base interval is the data's own step, a gap is
ticks that never came. Nothing is saved and nothing sent, so what comes out depends on the file, the
detectors and the settings alone: not on the clock, nor on what this host has learned.

A column is a gauge on both sides of which a person may care (``backtest.value``), unless its name
is the key of a series that a collector declares, as ``vedette record`` writes them: then it keeps
that one's resource, alarm and limit. Counters were made rates before they were written.

Cost: that of a tick of the pipeline per row, 10 µs beside it, and 17 bytes per row and column with
the readings themselves.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.api import Alarm, Detector, Frame, Incident, Instrument, Series, gauge
from vedette.config import IncidentsSection
from vedette.correlate import Correlator, IncidentChange
from vedette.csv_series import Readings
from vedette.detection import MEANS_NS, Judged
from vedette.pipeline import Pipeline
from vedette.settings import Settings
from vedette.table import SeriesTable

__all__ = [
    "VALUE",
    "Assessment",
    "Bands",
    "Outcome",
    "assess",
    "columns_of",
    "openings",
    "replay",
    "series_of",
]

#: What a column is whose name says nothing else.
VALUE = gauge("backtest.value", "", "A column of a file.", ("series",), resource="backtest")

#: Ticks kept in the ring, as the daemon keeps them.
RING_TICKS = 720
#: Between a key and what a person minds of it, in the name of a column.
MINDED = " @"
ALARMS = frozenset(get_args(Alarm))
#: A finding this many rows before an event is of it.
BEFORE = 5
DAY_NS = 86_400_000_000_000
#: Resolved incidents that the correlator looks at for a new one's identity.
KEEP = 10


class Bands(msgspec.Struct, frozen=True, eq=False):
    """What was expected, at each of ``rows`` int64 ``(n,)`` before it was read.

    ``low`` and ``high`` are float32 ``(n, columns)``, NaN where no detector expected anything.
    """

    rows: NDArray[np.intp]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """What was made of each reading, and the incidents in the order in which they opened.

    All arrays are ``(rows, columns)`` of the readings: ``score`` float32 says how far the strangest
    of all scores is towards a finding, 1 is its threshold, or is the own score of one head; ``p``
    float32 the smallest tail probability; NaN = no opinion, as for rows that were not taken.
    ``finding`` bool tells whether a finding is open. What is asked once a minute holds until it is
    asked again.
    """

    score: NDArray[np.float32]
    p: NDArray[np.float32]
    finding: NDArray[np.bool_]
    incidents: tuple[Incident, ...]
    bands: Bands | None = None


class Assessment(msgspec.Struct, frozen=True):
    """How the findings agree with the labels.

    An event is a run of labelled rows; it is found when a finding opens within it or up to
    ``BEFORE`` rows before, and such a finding is right. ``delay_rows`` and ``delay_ns`` are medians
    from the event's first row to the first finding that opened (negative: before it), NaN when no
    event was found; ``series_days`` is how long the series were read, all together.
    """

    events: int
    found: int
    findings: int
    right: int
    delay_rows: float
    delay_ns: float
    series_days: float

    @property
    def precision(self) -> float:
        """Part of the findings that are right; NaN without findings."""
        return self.right / self.findings if self.findings else math.nan

    @property
    def recall(self) -> float:
        """Part of the events that were found; NaN without events."""
        return self.found / self.events if self.events else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when nothing is right, NaN without events."""
        if not self.events or not self.right:
            return 0.0 if self.events else math.nan
        return 2 * self.precision * self.recall / (self.precision + self.recall)

    @property
    def false_per_series_day(self) -> float:
        """Findings that are not right per series and day."""
        return (self.findings - self.right) / self.series_days


def replay(
    readings: Readings,
    detectors: Sequence[Detector],
    *,
    series: Sequence[Series] = (),
    own_score: str = "",
    incidents: IncidentsSection | None = None,
    bands: int = 0,
    banded: Sequence[int] | None = None,
) -> Outcome:
    """Run the readings through the pipeline; the same input gives the same outcome.

    ``series`` are what the columns are (empty: all ``backtest.value``). With ``own_score``, the
    name of a head, only this one is listened to, and the score is its own, in its own unit. With
    ``bands`` the expected bands of the columns ``banded`` (None: all) are noted at up to that many
    rows, evenly spaced. Raises ``ValueError`` for a head that none of the detectors has.
    """
    heads = [head.name for one in detectors for head in one.all_heads()]
    if own_score and own_score not in heads:
        raise ValueError(f"no detector has the head {own_score!r}, there are {heads}")
    series = tuple(series) or series_of(readings.columns)
    run = _Run(readings, detectors, series, incidents or IncidentsSection())
    run.own_score = own_score
    if bands:
        run.note_bands(bands, range(len(series)) if banded is None else banded)
    return run.outcome()


def series_of(columns: Sequence[str], known: Iterable[Instrument] = ()) -> tuple[Series, ...]:
    """Return what each column is; ``known`` are the instruments whose series are recognised."""
    declared: dict[str, Instrument] = {}
    for instrument in known:
        declared[instrument.name] = declared[instrument.name + MINDED + instrument.alarm] = (
            instrument
        )
    recorded: dict[str, Instrument] = {}
    return tuple(
        _recognised(column, declared, recorded) or VALUE.series(column) for column in columns
    )


def columns_of(series: Sequence[Series], known: Iterable[Instrument]) -> list[str]:
    """Return names of columns from which ``series_of`` knows the series again.

    That is the key; where instruments of one name differ in what a person minds of them, that too.
    """
    alarms: dict[str, set[str]] = {}
    for instrument in known:
        alarms.setdefault(instrument.name, set()).add(instrument.alarm)
    return [
        one.key
        + (MINDED + one.instrument.alarm if len(alarms.get(one.instrument.name, ())) > 1 else "")
        for one in series
    ]


def openings(outcome: Outcome) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return row and column of each finding that opened, in input order."""
    before = np.zeros_like(outcome.finding)
    before[1:] = outcome.finding[:-1]
    rows, columns = np.nonzero(outcome.finding & ~before)
    return rows, columns


def assess(readings: Readings, outcome: Outcome) -> Assessment:
    """Compare the findings with the labels; raises ``ValueError`` when there are none."""
    if readings.labels is None:
        raise ValueError("the readings have no labels")
    edges = np.diff(np.concatenate(([False], readings.labels, [False])).astype(np.int8))
    opened, _ = openings(outcome)
    right = np.zeros(len(opened), dtype=bool)
    delays: list[tuple[int, int]] = []
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        inside = (opened >= start - BEFORE) & (opened < end)
        right |= inside
        if inside.any():
            first = int(opened[inside][0])
            delays.append((first - start, int(readings.time[first] - readings.time[start])))
    return Assessment(
        events=len(starts),
        found=len(delays),
        findings=len(opened),
        right=int(right.sum()),
        delay_rows=float(np.median([rows for rows, _ in delays])) if delays else math.nan,
        delay_ns=float(np.median([time for _, time in delays])) if delays else math.nan,
        series_days=int(np.isfinite(readings.values).sum()) * readings.step_ns / DAY_NS,
    )


class _Run:
    """One pass of the readings through a pipeline of their own."""

    def __init__(
        self,
        readings: Readings,
        detectors: Sequence[Detector],
        series: tuple[Series, ...],
        incidents: IncidentsSection,
    ) -> None:
        self.readings = readings
        self.series = series
        self.own_score = ""
        self.table = SeriesTable(
            ticks=RING_TICKS,
            max_series=len(series),
            max_per_collector=len(series),
            capacity=len(series),
        )
        self.pipeline = Pipeline(
            Settings(
                interval_ns=readings.step_ns,
                window_ns=readings.step_ns,
                settle_ns=0,
                resource={},
                state_dir=None,
                false_alarms=incidents.false_alarms,
            ),
            detectors,
            table=self.table,
            correlator=Correlator(
                gather_ns=round(incidents.gather * 1e9),
                resolve_after_ns=round(incidents.resolve_after * 1e9),
                keep=KEEP,
                zone=UTC,
            ),
            spool=None,
            notify=self._told,
            observe=self._judged,
            wall_ns=lambda: 0,
            monotonic=lambda: 0.0,
        )
        shape = readings.values.shape
        self.score = np.full(shape, np.nan, dtype=np.float32)
        self.p = np.full(shape, np.nan, dtype=np.float32)
        self.finding = np.zeros(shape, dtype=bool)
        self.incidents: dict[str, Incident] = {}
        self.row = 0
        self.held: dict[str, tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]] = {}
        self.rows: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self.bands: Bands | None = None
        self.banded: Sequence[int] = ()
        self.band = 0

    def note_bands(self, count: int, columns: Sequence[int]) -> None:
        """Have the bands of the columns noted at up to ``count`` of the rows that are taken."""
        taken = np.flatnonzero(self.readings.taken)
        rows = taken[:: -(-len(taken) // count)]
        low = np.full((len(rows), len(self.series)), np.nan, dtype=np.float32)
        self.bands, self.banded = Bands(rows, low, low.copy()), columns

    def outcome(self) -> Outcome:
        """Run it."""
        width = 8 * len(self.series)
        raw = self.readings.values.tobytes()
        take = self.pipeline.take
        taken = self.readings.taken.tolist()
        for row, time in enumerate(self.readings.time.tolist()):
            self.row = row
            if not taken[row]:
                self.finding[row] = self.finding[row - 1]
                continue
            # Zero is no time to the pipeline.
            tick = max(time, 1)
            values = array("d", raw[row * width : (row + 1) * width])
            take((Frame("backtest", tick, tick, self.series, values),))
            for said in self.held.values():
                self._note(*said)
        return Outcome(
            score=self.score,
            p=self.p,
            finding=self.finding,
            incidents=tuple(self.incidents.values()),
            bands=self.bands,
        )

    def _judged(self, judged: Judged) -> None:
        """Note what one head said of the row at hand."""
        if self.own_score and judged.head.name != self.own_score:
            return
        if not len(self.rows):
            self.rows = np.array([self.table.row(one) for one in self.series], dtype=np.intp)
        rows = self.rows
        scores = judged.scores if self.own_score else judged.ratio
        said = scores[rows], judged.p[rows], judged.open[rows]
        if judged.detector.cadence_s and self.readings.step_ns < MEANS_NS:
            self.held[judged.head.name] = said
        else:
            self._note(*said)
        if self.bands is not None:
            self._note_band(judged, self.bands)

    def _note(
        self,
        scores: NDArray[np.float32],
        p: NDArray[np.float32],
        is_open: NDArray[np.bool_],
    ) -> None:
        row, told = self.row, self.score[self.row]
        # Many heads say 0 of what is nothing to them, others less of what is less than usual.
        stranger = ((told == 0) & (scores < 0)) | ((scores > told) & (scores != 0))
        np.copyto(told, scores, where=np.isnan(told) | stranger)
        np.fmin(self.p[row], p, out=self.p[row], casting="same_kind")
        self.finding[row] |= is_open

    def _note_band(self, judged: Judged, bands: Bands) -> None:
        while self.band < len(bands.rows) and bands.rows[self.band] < self.row:
            self.band += 1
        if self.band == len(bands.rows) or bands.rows[self.band] != self.row:
            return
        low, high = bands.low[self.band], bands.high[self.band]
        for column in self.banded:
            if np.isnan(low[column]) and np.isnan(high[column]):
                row = int(self.rows[column])
                evidence = judged.detector.explain(judged.window, judged.state, row)
                low[column], high[column] = evidence.low, evidence.high

    def _told(self, change: IncidentChange) -> None:
        self.incidents[change.incident.id] = change.incident


def _recognised(
    column: str, declared: Mapping[str, Instrument], recorded: dict[str, Instrument]
) -> Series | None:
    """Return the series whose key the column is called by, as a gauge; None when it is none."""
    key, minded, alarm = column.rpartition(MINDED)
    if not minded or alarm not in ALARMS:
        key, minded, alarm = column, "", ""
    name, _, rest = key.partition("{")
    instrument = declared.get(name + minded + alarm)
    if instrument is None:
        return None
    pattern = ",".join(f"{re.escape(key)}=(.*)" for key in instrument.attributes)
    found = re.fullmatch(rf"{pattern}\}}" if pattern else "", rest, re.DOTALL)
    if found is None:
        return None
    made = recorded.get(name + alarm)
    if made is None:
        made = recorded[name + alarm] = _as_written(instrument)
    return made.series(*found.groups())


def _as_written(instrument: Instrument) -> Instrument:
    """Return the gauge that a recorded series of the instrument is: a counter's rate is one."""
    unit = instrument.unit
    if instrument.kind == "counter":
        unit = "1" if unit == "s" else f"{unit}/s"
    return gauge(
        instrument.name,
        unit,
        instrument.help,
        instrument.attributes,
        resource=instrument.resource,
        alarm=instrument.alarm,
        limit=instrument.limit,
    )
