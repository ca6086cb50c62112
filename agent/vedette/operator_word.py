"""Hear what the operator said, and have it tell on thresholds, incidents and the disk.

Owned by the pipeline's thread, as the Decider and the Correlator are: others hand their wishes over
as commands (feedback_desk.py). Remembers how strong the findings of each incident were, because a
ruling comes long after them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette import feedback_store
from vedette.api import Incident, Strength
from vedette.correlate import Correlator, IncidentChange
from vedette.decide import FindingChange
from vedette.feedback import Marks
from vedette.lenience import Lenience
from vedette.table import SeriesTable

log = logging.getLogger(__name__)

#: Gives the newest ratios of some rows for a head, in multiples of the threshold.
Ratios = Callable[[str, NDArray[np.intp]], NDArray[np.float32]]

#: Findings whose strength is remembered, and of how many an incident says it.
PEAKS_MAX = 2_000
STRENGTHS_MAX = 64


class _Peak:
    """How strong the finding of one series by one head was since it opened."""

    __slots__ = ("last_ns", "ratio")

    def __init__(self) -> None:
        self.last_ns = 0
        self.ratio = 0.0


class OperatorWord:
    """The marks in force and what follows from them. Without a directory nothing is kept."""

    def __init__(
        self, table: SeriesTable, correlator: Correlator, directory: Path | None = None
    ) -> None:
        self.marks = Marks()
        self._table = table
        self._correlator = correlator
        self._directory = directory
        self._lenience = Lenience(self.marks, 0)
        self._real: tuple[tuple[int, int], ...] = ()
        self._peaks: dict[tuple[str, str], _Peak] = {}

    def restore(self, now_ns: int) -> None:
        """Take up what was said in earlier runs."""
        if self._directory is not None:
            self._take(feedback_store.load(self._directory), now_ns)

    def adopt(self, marks: Marks, now_ns: int) -> list[IncidentChange]:
        """Keep other marks; return the incidents of which something else is said now.

        Raises ``OSError`` when they cannot be kept; everything stays as it was then.
        """
        if self._directory is not None:
            feedback_store.save(self._directory, marks)
        self._take(marks, now_ns)
        changes = []
        for incident in self._correlator.incidents:
            verdict = marks.verdict(incident.id)
            if verdict != incident.verdict:
                # Who receives it goes by the time of the last change.
                updated = max(now_ns, incident.updated_ns + 1)
                told = msgspec.structs.replace(incident, verdict=verdict, updated_ns=updated)
                self._correlator.attach(told)
                changes.append(IncidentChange("updated", told, incident))
        return changes

    def _take(self, marks: Marks, now_ns: int) -> None:
        self.marks = marks
        self._lenience = Lenience(marks, now_ns)
        self._real = marks.real(now_ns)

    # ------------------------------------------------------------ for the Decider

    def heed(self, now_ns: int) -> None:
        """Follow the table and the time. Once a tick, before its scores are judged."""
        self._lenience.heed(self._table.series, self._table.generation, now_ns)

    def lenience(self, head: str) -> NDArray[np.float32]:
        """Return by how much the thresholds of a head are raised, ``(rows,)``; infinite: muted.

        Shorter than the table, or empty, where nothing was said. As of the last ``heed``.
        """
        return self._lenience.lenience_of(head)

    @property
    def real(self) -> tuple[tuple[int, int], ...]:
        """From when to when incidents of the last week were that are known to be real, Unix ns."""
        return self._real

    # ------------------------------------------------------------ what happens

    def saw(self, changes: Sequence[FindingChange], rule: bool, ratio: Ratios) -> None:
        """Remember how strong findings are that opened or went on at this tick.

        ``rule``: they are of the operator's own rules, which know no strength.
        """
        strange: dict[str, dict[int, _Peak]] = {}
        for change in changes:
            peak = self._peak(change)
            if change.change != "closed" and not rule:
                strange.setdefault(change.finding.detector, {})[change.row] = peak
        for head, peaks in strange.items():
            newest = ratio(head, np.fromiter(peaks, dtype=np.intp)).tolist()
            for peak, now in zip(peaks.values(), newest, strict=True):
                peak.ratio = max(peak.ratio, now)
        while len(self._peaks) > PEAKS_MAX:
            del self._peaks[next(iter(self._peaks))]

    def _peak(self, change: FindingChange) -> _Peak:
        """Return what is remembered of a finding's strength, anew for another incident."""
        finding = change.finding
        key = (finding.series.key, finding.detector)
        peak = self._peaks.pop(key) if key in self._peaks else _Peak()
        calm_ns = finding.since_ns - peak.last_ns
        if change.change == "opened" and calm_ns > self._correlator.resolve_after_ns:
            peak.ratio = 0.0
        peak.last_ns = finding.last_ns
        # At the end: the front is what was not heard of for longest.
        self._peaks[key] = peak
        return peak

    def completed(self, change: IncidentChange) -> IncidentChange:
        """Return a change with the strengths of the incident's findings, and what was said."""
        incident = change.incident
        before = change.previous.strengths if change.previous else ()
        told = msgspec.structs.replace(
            incident,
            strengths=self._strengths(incident, before),
            verdict=self.marks.verdict(incident.id),
        )
        if told.state == "resolved":
            self._renew(told)
        return IncidentChange(change.change, told, change.previous)

    def _strengths(self, incident: Incident, before: Sequence[Strength]) -> tuple[Strength, ...]:
        known = {(one.series, one.head): one.ratio for one in before}
        found = []
        for key in incident.series:
            for head in incident.detectors:
                peak = self._peaks.get((key, head))
                current = peak is not None and peak.last_ns >= incident.onset_ns
                ratio = max(peak.ratio if peak and current else 0.0, known.get((key, head), 0.0))
                if current or (key, head) in known:
                    found.append(Strength(key, head, round(ratio, 3)))
        return tuple(found[:STRENGTHS_MAX])

    def _renew(self, incident: Incident) -> None:
        """Have the ruling of an incident that went on after it know the whole of it."""
        mark = self.marks.of_incident(incident.id)
        if mark is None or mark.time_ns >= incident.updated_ns:
            return
        whole = msgspec.structs.replace(
            mark,
            strengths=incident.strengths or mark.strengths,
            ended_ns=incident.resolved_ns or mark.ended_ns,
        )
        marks = self.marks.update(whole)
        self._take(marks, incident.updated_ns)
        try:
            if self._directory is not None:
                feedback_store.save(self._directory, marks)
        except OSError as error:
            log.error("feedback cannot be saved mark=%d reason=%s", mark.number, error.strerror)
