"""Close windows into reports and make everything that is sent durable.

Windows end on multiples of their length of the wall clock, so that the same end time means the same
window everywhere and a resend can be told from new data. Right after the start they are short, so
that something is seen soon. What the disk cannot take waits in memory, bounded and counted.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vedette import announcements, otlp
from vedette.api import HistogramSample, Record, Series, Signal
from vedette.correlate import IncidentChange
from vedette.distributions import Distributions
from vedette.spool import SpoolError
from vedette.summarise import Summariser
from vedette.table import SeriesTable
from vedette.trouble import Trouble

log = logging.getLogger(__name__)

#: Payloads that wait in memory while the spool cannot take them (a full disk).
UNSAVED_MAX = 30
#: Records of collectors that wait for the end of the window, and how many go into one request.
RECORDS_MAX, RECORDS_TOGETHER = 10_000, 500
#: Length of the very first window, and of those right after it.
FIRST_WINDOW_NS = 2_000_000_000
SETTLE_WINDOW_NS = 10_000_000_000

Entry = tuple[Signal, bytes]


class Store(Protocol):
    """What the reporter needs of the spool; raises ``SpoolError`` when it cannot keep entries."""

    def append(self, entries: Sequence[Entry]) -> tuple[int, ...]:
        """Make the entries durable, all or none."""


class Reporter:
    """The open window and the way to the spool. Owned by the pipeline thread."""

    def __init__(
        self,
        table: SeriesTable,
        spool: Store | None,
        resource: Mapping[str, str],
        *,
        interval_ns: int,
        window_ns: int,
        settle_until_ns: int,
        heartbeat: Callable[[], Mapping[str, otlp.AttributeValue]],
        shipped: Callable[[], None],
    ) -> None:
        self.table = table
        self.resource = resource
        self.interval_ns = interval_ns
        self.window_ns = window_ns
        self.start_ns = 0
        self.end_ns = 0
        #: Payloads lost because neither disk nor memory could hold them, and records that were too
        #: many for one window, or that OTLP has no form for.
        self.dropped = 0
        self._spool = spool
        self._settle_until_ns = settle_until_ns
        self._is_first = True
        self._heartbeat = heartbeat
        self._shipped = shipped
        self._summariser = Summariser()
        self._distributions = Distributions()
        self._folded = 0
        self._gone: list[Series] = []
        self._records: list[Record] = []
        self._unsaved: deque[Entry] = deque(maxlen=UNSAVED_MAX)
        self._appending = Trouble(
            log,
            "spool state=failing, reports wait in memory",
            "spool state=ok",
            level=logging.ERROR,
        )

    @property
    def unsaved(self) -> int:
        """Payloads that wait in memory for the disk."""
        return len(self._unsaved)

    def before(self, tick_ns: int) -> None:
        """Make sure that the tick lies in the open window: end one that the clock jumped over."""
        if self.end_ns and tick_ns > self.end_ns:
            self.close(self.end_ns)
        if not self.end_ns or tick_ns > self.end_ns:
            self._begin(tick_ns - self.interval_ns)

    def fold(self, tick_ns: int, column: NDArray[np.float64]) -> None:
        """Take one tick's column; ends the window when the tick is its last."""
        self._summariser.fold(column)
        self._folded += 1
        if tick_ns >= self.end_ns:
            self.close(self.end_ns)

    def forget(self, rows: NDArray[np.intp], series: Sequence[Series]) -> None:
        """Say with the next report that these series went away."""
        self._summariser.forget(rows)
        self._gone += series

    def close(self, end_ns: int) -> None:
        """Report the open window as ended at ``end_ns`` (Unix ns) and begin the next one."""
        start = self.start_ns
        if self._folded and end_ns > start:
            self._folded = 0
            self._is_first = False
            table = self.table
            summary = self._summariser.close(
                start, end_ns, table.series, table.totals, table.total_start_ns
            )
            beat = dict(self._heartbeat())
            beat |= {"vedette.window.start": start, "vedette.window.end": end_ns}
            event = announcements.heartbeat_event(end_ns, beat)
            parts = otlp.encode_metrics_parts(summary, self.resource, self._gone)
            entries: list[Entry] = [("metrics", part) for part in parts]
            counted = self._distributions.close()
            entries += [
                ("metrics", part)
                for part in otlp.encode_distributions(counted, start, end_ns, self.resource)
            ]
            entries.append(("logs", otlp.encode_logs([event], self.resource)))
            self._append(entries + self._kept())
            self._gone = []
        self._begin(end_ns)

    def keep(self, records: Sequence[Record]) -> None:
        """Take what a collector has to tell; it is made durable with the open window."""
        room = RECORDS_MAX - len(self._records)
        self._records += records[:room]
        self.dropped += max(0, len(records) - room)

    def add(self, histograms: Sequence[HistogramSample]) -> None:
        """Take what sources counted in buckets of their own; it is told with the open window."""
        self.dropped += self._distributions.add(histograms)

    def _kept(self) -> list[Entry]:
        """Return the records that wait, and forget them."""
        events = [announcements.record_event(record) for record in self._records]
        self._records = []
        entries: list[Entry] = []
        for start in range(0, len(events), RECORDS_TOGETHER):
            some = events[start : start + RECORDS_TOGETHER]
            try:
                entries.append(("logs", otlp.encode_logs(some, self.resource)))
            except ValueError:
                sound = [one for one in some if self._is_sound(one)]
                self.dropped += len(some) - len(sound)
                if sound:
                    entries.append(("logs", otlp.encode_logs(sound, self.resource)))
        return entries

    def _is_sound(self, event: otlp.Event) -> bool:
        try:
            otlp.encode_logs([event], self.resource)
        except ValueError as error:
            log.warning("a record cannot be told reason=%s", error)
            return False
        return True

    def reset(self, last_ns: int) -> None:
        """Close the window at the last tick that was folded: the clock was set back."""
        self.close(last_ns)
        self.start_ns = self.end_ns = 0

    def tell(self, changes: Sequence[IncidentChange]) -> None:
        """Make incidents durable at once."""
        self.say([announcements.incident_event(one.incident, one.change) for one in changes])

    def say(self, events: Sequence[otlp.Event]) -> None:
        """Make events durable at once."""
        self._append([("logs", otlp.encode_logs(events, self.resource))])

    def _begin(self, start_ns: int) -> None:
        length = self.window_ns
        if start_ns < self._settle_until_ns:
            length = min(FIRST_WINDOW_NS if self._is_first else SETTLE_WINDOW_NS, length)
        self.start_ns = start_ns
        self.end_ns = (start_ns // length + 1) * length

    def _append(self, entries: list[Entry]) -> None:
        if self._spool is None:
            return
        waiting = [*self._unsaved, *entries]
        self._unsaved.clear()
        try:
            self._spool.append(waiting)
        except SpoolError as error:
            self._appending.met(error)
            if len(waiting) > UNSAVED_MAX:
                self.dropped += len(waiting) - UNSAVED_MAX
                self._summariser.resend()
            self._unsaved.extend(waiting)
            return
        self._appending.over()
        self._shipped()
