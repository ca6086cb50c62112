"""Tell of incidents: complete them with evidence, make them durable, then tell who listens.

In this order, so that nobody hears of an incident that a crash could take back. Owned by the
pipeline's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from vedette import evidence, incident_store
from vedette.api import Incident
from vedette.correlate import Correlator, IncidentChange
from vedette.operator_word import OperatorWord
from vedette.reporter import Reporter
from vedette.table import SeriesTable
from vedette.trouble import Trouble

log = logging.getLogger(__name__)


class Telling:
    """Where incidents go. Without a directory they are not kept."""

    def __init__(
        self,
        correlator: Correlator,
        table: SeriesTable,
        word: OperatorWord,
        reporter: Reporter,
        *,
        directory: Path | None,
        interval_ns: int,
        notify: Callable[[IncidentChange], None],
    ) -> None:
        self.interval_ns = interval_ns
        self._correlator = correlator
        self._table = table
        self._word = word
        self._reporter = reporter
        self._directory = directory
        self._notify = notify
        self._saving = Trouble(
            log, "incidents cannot be saved", "incidents are saved again", level=logging.ERROR
        )

    def restore(self, now_ns: int) -> None:
        """Take up the incidents of an earlier run."""
        if self._directory is None:
            return
        self._correlator.restore(incident_store.load(self._directory), now_ns)
        try:
            self._correlator.together.restore(incident_store.load_learned(self._directory))
        except ValueError as error:
            log.warning("what turned strange together is not understood reason=%s", error)

    def tell(self, changes: Sequence[IncidentChange]) -> None:
        """Complete incidents with evidence, make them durable, then tell who listens."""
        if not changes:
            return
        complete = []
        for one in changes:
            change = self._word.completed(one)
            incident = self._with_evidence(change.incident)
            self._correlator.attach(incident)
            complete.append(IncidentChange(change.change, incident, change.previous))
        self.spread(complete)

    def spread(self, changes: Sequence[IncidentChange]) -> None:
        """Make incidents durable that say all they have to say, then tell."""
        self._reporter.tell(changes)
        self.save(learned=any(one.change == "resolved" for one in changes))
        for one in changes:
            self._notify(one)

    def _with_evidence(self, incident: Incident) -> Incident:
        tracks = evidence.cut(
            incident,
            self._table.window(),
            self.interval_ns,
            lambda key: self._correlator.band(incident.id, key),
        )
        return msgspec.structs.replace(incident, evidence=tracks)

    def save(self, *, learned: bool = True) -> None:
        """Save the incidents, and what turned strange together."""
        directory = self._directory
        if directory is not None:
            self._saving.attempt(lambda: self._write(directory, learned=learned))

    def _write(self, directory: Path, *, learned: bool) -> None:
        incident_store.save(directory, self._correlator.incidents)
        if learned:
            incident_store.save_learned(directory, self._correlator.together.export())
