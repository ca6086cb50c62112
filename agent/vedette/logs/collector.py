"""Collector ``logs``: what this host's logs say, as templates with counts, and what is strange.

Each second what was logged is read, taken apart, counted by template and judged. Of it leave the
host: counts per source (metrics), what rings (a series for the detectors, an event for incidents),
and at the end of each window records of the templates that had lines. Raw lines stay.

Windows end on multiples of their length of the wall clock. At their end, and before anything is
told of them, how far was read and what was counted become durable as one value (``keeping``).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from vedette.api import Collector, Event, Observation, Record, Usage, counter, gauge, updown
from vedette.logs.digest import Digest
from vedette.logs.entry import Severity
from vedette.logs.intake import Intake, reading, session_patterns
from vedette.logs.keeping import TOLD_AGAIN_NS, Keeper, Kept, Told
from vedette.logs.ledger import SourceCounts
from vedette.logs.options import LogsConfig
from vedette.logs.questions import answer
from vedette.logs.sessions import SessionKey
from vedette.logs.telling import Teller, strangest

#: Time that one tick may read, in seconds of the wall clock: after a stop there may be gigabytes.
READ_FOR_S = 0.3
#: Sources with series of their own: those with most lines lately.
SOURCES_MAX = 32
#: A source's series end when it was silent for so long.
SILENT_NS = 3_600_000_000_000
#: A signal's series goes on, at 0, for so many ticks after it.
CALM_TICKS = 30
_LEAST = {"all": Severity.UNKNOWN, "warnings": Severity.WARN, "none": Severity.FATAL}
_NS = 1_000_000_000


class Logs(Collector):
    """Log files, the journal and the kernel's log of this host."""

    name = "logs"
    Config = LogsConfig
    stability = "beta"
    source = "log files, systemd's journal, /dev/kmsg"
    interval_s = 1.0
    timeout_s = 20.0
    # Files and the journal are local as a rule; where they are not, it gets a lane of its own.
    may_block = "seldom"
    explains = ("log",)

    strangeness = gauge(
        "vedette.log.strangeness",
        "{nat}",
        "How improbable what a source logs is, in nats (14: once in a million seconds), while it "
        "rings; 0 for a while after that.",
        ["vedette.log.source", "vedette.log.signal", "vedette.log.severity", "vedette.log.topic"],
        resource="log",
        alarm="never",
    )
    events = counter(
        "vedette.log.events",
        "{event}",
        "Events read from this source: lines, with the lines of a stack trace as one.",
        ["vedette.log.source"],
        resource="log",
        alarm="never",
    )
    troubles = counter(
        "vedette.log.troubles",
        "{event}",
        "Events of this source that its writer calls a warning, or an error and worse.",
        ["vedette.log.source", "vedette.log.severity"],
        resource="log",
        alarm="never",
    )
    octets = counter(
        "vedette.log.io",
        "By",
        "Bytes of log read, line ends included.",
        resource="log",
        alarm="never",
    )
    lines = counter(
        "vedette.log.lines",
        "{line}",
        "Lines of log read, those that were joined counted one by one.",
        resource="log",
        alarm="never",
    )
    templates = updown(
        "vedette.log.templates",
        "{template}",
        "Templates that all lines were folded into.",
        resource="log",
        alarm="never",
    )
    behind = updown(
        "vedette.log.backlog",
        "By",
        "Bytes of log files that are known and not read yet.",
        resource="log",
        alarm="never",
    )
    lost = counter(
        "vedette.log.lost",
        "By",
        "Bytes of log files that vanished before they could be read, as far as is known.",
        resource="log",
        alarm="never",
    )
    given_up = counter(
        "vedette.log.given_up",
        "{file}",
        "Deleted log files that were let go of with lines unread, because they were not read to "
        "their end for an hour or took too much of the disk.",
        resource="log",
        alarm="never",
    )
    lost_entries = counter(
        "vedette.log.journal.lost",
        "{entry}",
        "Entries of the journal that were gone, or damaged, before they could be read.",
        resource="log",
        alarm="never",
    )
    redacted = counter(
        "vedette.log.redacted",
        "{text}",
        "Texts in which something was masked before they were sent.",
        resource="log",
        alarm="never",
    )

    def __init__(self, config: LogsConfig) -> None:
        super().__init__(config)
        self.wall_ns = time.time_ns
        self.monotonic = time.monotonic
        self._lock = threading.Lock()
        self._intake: Intake | None = None
        self._keeper = Keeper("")
        self._digest = Digest(0, 0, {})
        self._teller = self._make_teller()
        self._sessions: dict[str, SessionKey] = {}
        self._session_patterns = session_patterns(config)
        self._told: deque[Told] = deque()
        self._again: list[Record] = []
        self._calm: dict[tuple[str, str, str, str], int] = {}
        self._changes = -1
        self._is_first = True
        self._window_ns = round(config.window * _NS)

    def probe(self) -> None:
        if self._intake is None:
            intake = Intake(self.config, self.host.root)
            try:
                intake.probe()
            except Exception:
                intake.close()
                raise
            intake.close()

    def collect(self) -> Iterator[Observation]:
        with self._lock:
            intake = self._intake or self._begin()
            now_ns = self.wall_ns()
            self._read(intake, now_ns)
            if self._is_first:
                self._digest.expect(intake.sources())
                self._is_first = not self._save(intake, now_ns)  # where reading began
            began = self._digest.tick(now_ns, behind=intake.behind)
            events = [self._teller.event(one) for one in began]
            records, self._again = self._again, []
            if now_ns >= self._window_end():
                records += self._turn(intake, now_ns)
            samples = list(self._samples(intake, now_ns))
        yield from samples
        yield from self._as_observations(events, records)

    def answer(self, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            intake = self._intake
            what = reading(intake) if intake is not None else {}
            return answer(self._digest, question, arguments, what)

    def close(self) -> None:
        with self._lock:
            intake, self._intake = self._intake, None
            if intake is None:
                return
            self._save(intake, now_ns=self.wall_ns(), everything=True)
            intake.close()

    @staticmethod
    def _as_observations(events: list[Event], records: list[Record]) -> Iterator[Observation]:
        yield from events
        yield from records

    # ------------------------------------------------------------ reading

    def _begin(self) -> Intake:
        """Take up what an earlier run left, and open everything."""
        config: LogsConfig = self.config
        now_ns, now_s = self.wall_ns(), self.monotonic()
        intake = Intake(config, self.host.root)
        self._keeper = Keeper(self.state_dir)
        kept, learned = self._keeper.load()
        self._digest = Digest(now_ns, config.recent, self._sessions)
        self._digest.restore(learned, kept.birth, kept.counts)
        self._teller = self._make_teller()
        intake.restore(kept.intake, now_s)
        self._told = deque(one for one in kept.told if now_ns - one.end_ns <= TOLD_AGAIN_NS)
        self._again = [record for told in self._told for record in told.records]
        self._changes = self._digest.miner.changes if learned is not None else -1
        self._intake, self._is_first = intake, True
        return intake

    def _make_teller(self) -> Teller:
        config: LogsConfig = self.config
        return Teller(
            self._digest,
            config.redact.redactor(),
            exemplars=config.exemplars,
            least=_LEAST[config.records],
        )

    def _read(self, intake: Intake, now_ns: int) -> None:
        until = self.monotonic() + READ_FOR_S
        while True:
            now_s = self.monotonic()
            for batch in intake.read(now_ns, now_s):
                if self._session_patterns and batch.source not in self._sessions:
                    self._note_sessions(batch.source)
                self._digest.take(batch, now_ns)
            if not intake.behind or self.monotonic() >= until:
                return

    def _note_sessions(self, source: str) -> None:
        for pattern, key in self._session_patterns:
            if pattern.match(source):
                self._sessions[source] = SessionKey(key)
                return

    # ------------------------------------------------------------ the end of a window

    def _window_end(self) -> int:
        length = self._window_ns
        return (self._digest.ledger.begun_ns // length + 1) * length

    def _turn(self, intake: Intake, now_ns: int) -> list[Record]:
        """End the window: make its counts durable, then return its records.

        Where the disk does not take them nothing is told, and the window goes on: what was told
        and is not kept would be told twice after a crash.
        """
        ledger, begun_ns = self._digest.ledger, self._digest.ledger.begun_ns
        end_ns = now_ns // self._window_ns * self._window_ns
        lost = intake.lost()
        facts = {
            "lost": lost.bytes + lost.entries,
            "lost.bytes": lost.bytes,
            "lost.entries": lost.entries,
            "lost.gaps": lost.gaps,
            "lost.damaged": lost.damaged,
        }
        records = self._teller.window(begun_ns, end_ns, facts)
        while self._told and now_ns - self._told[0].end_ns > TOLD_AGAIN_NS:
            self._told.popleft()
        if records:
            self._told.append(Told(end_ns, tuple(records)))
        counts = [(row, row.count, row.example) for _, _, row in ledger.window()]
        ledger.turn(end_ns)
        if not self._save(intake, now_ns):
            for row, count, example in counts:
                row.count, row.example = count, example
            ledger.begun_ns = begun_ns
            if records:
                self._told.pop()
            return []
        self._digest.slots.forget()
        if records:  # else they are told with the next window that has any
            self._digest.merges.clear()
        self._digest.expect(intake.sources())
        return records if self.config.records != "none" else []

    def _save(self, intake: Intake, now_ns: int, *, everything: bool = False) -> bool:
        digest, now_s = self._digest, self.monotonic()
        changed = digest.miner.changes != self._changes
        if everything or (changed and self._keeper.may_save_learned(now_s)):
            changes = digest.miner.changes
            if self._keeper.save_learned(digest.learned(), now_s):
                self._changes = changes
        return self._keeper.save_counts(
            Kept(
                birth=digest.birth,
                intake=intake.state(now_s),
                counts=digest.ledger.state(),
                told=tuple(self._told),
            )
        )

    # ------------------------------------------------------------ series

    def _samples(self, intake: Intake, now_ns: int) -> Iterator[Observation]:
        digest, lost = self._digest, intake.lost()
        books = digest.ledger.sources
        lately = [
            (source, book) for source, book in books.items() if now_ns - book.last_ns < SILENT_NS
        ]
        if len(lately) > SOURCES_MAX:
            lately = sorted(lately, key=lambda one: -one[1].events)[:SOURCES_MAX]
        yield self.lines(sum(book.lines for book in books.values()))
        yield self.octets(sum(book.bytes for book in books.values()))
        yield self.templates(len(digest.miner))
        yield self.behind(intake.tail.backlog)
        yield self.lost(lost.bytes)
        yield self.given_up(lost.given_up)
        yield self.lost_entries(lost.entries + lost.damaged)
        yield self.redacted(self._teller.tally.counts().touched)
        for source, book in lately:
            yield from self._of_source(source, book)
        yield from self._signals()

    def _of_source(self, source: str, book: SourceCounts) -> Iterator[Observation]:
        yield self.events(book.events, source)
        if book.warnings:
            yield self.troubles(book.warnings, source, "warning")
        if book.errors:
            yield self.troubles(book.errors, source, "error")

    def _signals(self) -> Iterator[Observation]:
        ringing = strangest(self._digest.active())
        for source in {source for source, *_ in ringing.keys() - self._calm.keys()}:
            yield from self._written_by(source)
        for key, score in ringing.items():
            self._calm[key] = 0
            yield self.strangeness(score, *key)
        for key in [one for one in self._calm if one not in ringing]:
            self._calm[key] += 1
            if self._calm[key] > CALM_TICKS:
                del self._calm[key]
            else:
                yield self.strangeness(0.0, *key)

    def _written_by(self, source: str) -> Iterator[Usage]:
        """Yield who writes a log file, as who is to be suspected of what it says."""
        if not source.startswith("/"):
            return
        from vedette.logs.writers import writers

        found = writers(source, self.host.proc)
        for one in found:
            yield Usage("log", "process", one.name, str(one.pid), 1 / len(found), source)
