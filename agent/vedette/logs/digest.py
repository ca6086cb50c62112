"""Make of events what they mean: templates, counts, slots, and what is strange in them.

One miner for the host, so that its bounds are the host's; a watch for each source, as each has a
rhythm of its own; of more than ``WATCHES_MAX`` sources the quietest share one. A source without
lines is looked at every ``IDLE_TICKS`` ticks: only silences can begin there.

While a backlog is read, and for a minute after a unit was started or stopped, all is learned and
next to nothing rings (``watch``).
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from vedette.logs.columns import Columns
from vedette.logs.entry import Severity
from vedette.logs.intake import Batch
from vedette.logs.ledger import Ledger, LedgerState
from vedette.logs.levels import severity_of_body
from vedette.logs.miner import OVERFLOW, Miner
from vedette.logs.novelty import is_danger
from vedette.logs.recent import Recent
from vedette.logs.sessions import SessionKey
from vedette.logs.signals import Fresh, Grave, LogSignal, SlotSeen, Step
from vedette.logs.slots import SlotBook, number
from vedette.logs.watch import TICK_MOST_S, Watch

log = logging.getLogger(__name__)

WATCHES_MAX, KNOWN_MAX = 64, 4_000
#: The watch of the sources that are too many.
OTHERS = "(others)"
IDLE_TICKS = 5
#: How long after a start or stop of a unit, and after a backlog, nothing much rings.
CALM_NS = 60_000_000_000
BACKLOG_CALM_NS = 5_000_000_000
#: Lines that were written so long ago are learned and counted, and tell of nothing that is new.
OLD_NS = 600_000_000_000
#: What systemd says of a unit that it starts, has started, stops, has stopped (its catalogue).
_UNIT_TURNS = frozenset(
    {
        b"7d4958e842da4a758f6c1cdc7b36dcc5",
        b"39f53479d3a045ac8e11786248231fbf",
        b"de5b426a63be47a7b6ac3eaac82e2f6f",
        b"9d1aaa27d60140bd96365438aad20286",
    }
)
#: The same in a program's own words.
_WHO = (
    r"(?:server|service|daemon|system|instance|application|master process|postgres\w*|nginx|redis"
    r"|apache\S*|mysqld?|mariadbd?|mongod|haproxy|dockerd|containerd)"
)
_IS = r"(?:is |was |has been )?(?:now )?"
_TURN = re.compile(
    rf"(?i)\b{_WHO} {_IS}(?:start(?:ing|ed)|ready|running|listening|up\b|shut(?:ting)? ?down)"
    rf"|\bis starting\b|^(?:re)?starting (?:up\b|{_WHO}\b)|ready to accept connections"
    r"|^listening on|^shutting down|\bbye bye\b|received (?:fast|smart|immediate) shutdown"
)
#: A program that says so more often than this is not one that was started by somebody.
TURN_APART_NS = 600_000_000_000
TURN_TEXT = 200
GRADES_MAX = 4_000
#: Merged templates of one window that are told.
MERGES_MAX = 1_000
#: A session's key is looked for so far: the expression is the operator's, the line anybody's.
KEY_LOOK = 1_024
#: Steps of sessions that a source has in one tick, at most.
STEPS_MAX = 20_000


class Learned(msgspec.Struct, frozen=True, array_like=True):
    """What was learned, for the disk: the miner's and, of the same templates, the watches'."""

    birth: str
    miner: bytes
    watches: dict[str, bytes] = {}
    #: Seconds for which sources without a line have been known.
    silent: dict[str, float] = {}


class _Tick:
    """What one source had since the last tick."""

    __slots__ = ("counts", "errors", "fresh", "slots", "steps", "warnings")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.errors: Counter[int] = Counter()
        self.warnings: Counter[int] = Counter()
        self.fresh: dict[int, Fresh] = {}
        self.slots: list[SlotSeen] = []
        self.steps: list[Step] = []


class Digest:
    """What is known of this host's logs. One thread.

    ``sessions`` finds the key of a session in a line, its header included, by source.
    """

    def __init__(self, now_ns: int, recent_bytes: int, sessions: Mapping[str, SessionKey]) -> None:
        #: Tells what was learned with this miner from what was learned with another.
        self.birth = os.urandom(8).hex()
        self.miner = Miner()
        self.slots = SlotBook()
        self.ledger = Ledger(now_ns)
        self.recent = Recent(recent_bytes)
        self.watches: dict[str, Watch] = {}
        self._sessions = sessions
        #: Templates, by their uid, that were told of and became another's in the open window.
        self.merges: dict[str, int] = {}
        self._ticks: dict[str, _Tick] = {}
        self._turn = 0
        #: Observed seconds, and when each source that may be silent came to be known.
        self._now_s, self._tick_ns = 0.0, now_ns
        self._known_s: dict[str, float] = {}
        self._calm_all_ns = 0
        self._calm_ns: dict[str, int] = {}
        #: How grave templates are by their words, which say that a program starts or ends, and
        #: until when what a source says is part of that.
        self._grades: dict[int, Severity] = {}
        self._turns: dict[int, bool] = {}
        self._said_ns: dict[tuple[str, int], int] = {}
        self._turned_ns: dict[str, int] = {}

    # ------------------------------------------------------------ lines

    def take(self, batch: Batch, now_ns: int) -> None:
        """Learn from events of one source, and count them."""
        source, columns = batch
        bodies = columns.bodies
        ids = self.miner.learn(bodies)
        self._grade(columns, ids)
        counts = self.ledger.take(source, columns, ids, now_ns)
        self.recent.take(source, bodies, columns.times, columns.severities, ids, now_ns)
        watch = self._watch(source)
        tick = self._ticks.setdefault(watch.source, _Tick())
        tick.counts.update(counts)
        _count_grave(tick, columns.severities, ids)
        self._note_turns(source, counts, now_ns)
        self._take_fresh(watch, tick, columns, ids, counts, now_ns)
        looked = self.slots.observe(self.miner, bodies, ids, now_ns / 1e9)
        tick.slots += _seen(looked)
        key = self._sessions.get(source)
        if key is not None and len(tick.steps) < STEPS_MAX:
            for head, body, template in zip(columns.heads, bodies, ids, strict=True):
                text = head + body[:KEY_LOOK]
                tick.steps += [Step(session, template) for session in key.of(text[:KEY_LOOK])]
        self._note_units(columns, now_ns)

    def expect(self, sources: Iterable[str]) -> None:
        """Take note of sources that may be silent: their first line is not that of a newborn."""
        for source in sources:
            if source not in self._known_s and len(self._known_s) < KNOWN_MAX:
                self._known_s[source] = self._now_s

    def tick(self, tick_ns: int, *, behind: bool) -> list[LogSignal]:
        """Close a tick; return what began to ring. ``behind``: a backlog is being read."""
        self._follow_merges()
        self._now_s += min(max((tick_ns - self._tick_ns) / 1e9, 0.0), TICK_MOST_S)
        self._tick_ns = tick_ns
        if behind:
            self._calm_all_ns = tick_ns + BACKLOG_CALM_NS
        self._turn += 1
        idle = self._turn % IDLE_TICKS == 0
        ticks, self._ticks = self._ticks, {}
        found: list[LogSignal] = []
        for source, watch in self.watches.items():
            tick = ticks.get(source)
            if tick is None:
                if idle or watch.active():
                    found += watch.observe(tick_ns, {}, calm_until_ns=self._calm(source))
                continue
            found += watch.observe(
                tick_ns,
                tick.counts,
                list(tick.fresh.values()),
                steps=tick.steps,
                slots=tick.slots,
                grave={
                    template: Grave(tick.errors[template], lines)
                    for template, lines in tick.warnings.items()
                },
                calm_until_ns=self._calm(source),
            )
        return found

    def active(self) -> list[LogSignal]:
        """Return what rings now, at all sources."""
        return [signal for watch in self.watches.values() for signal in watch.active()]

    def text_of(self, template: int) -> str:
        """Return a template for a person, as it is now."""
        try:
            return self.miner.template(template).text
        except KeyError:
            return f"template {template}"

    def now(self, template: int) -> int:
        """Return the id that stands for a template now; 0, that of what was given up, for none."""
        try:
            return self.miner.resolve(template)
        except KeyError:
            return OVERFLOW

    def uid(self, template: int) -> str:
        """Return a template's identity for others."""
        return self.miner.template(self.now(template)).uid

    # ------------------------------------------------------------ what outlives the agent

    def learned(self) -> Learned:
        """Return what was learned, but for the counts."""
        self._follow_merges()
        watches = {source: watch.save() for source, watch in self.watches.items()}
        silent = {
            source: self._now_s - since
            for source, since in self._known_s.items()
            if source not in self.watches
        }
        return Learned(self.birth, self.miner.to_bytes(), watches, silent)

    def restore(self, learned: Learned | None, birth: str, counts: LedgerState) -> None:
        """Take up what an earlier run learned and counted; what does not fit is learned anew.

        ``birth`` is that of the miner that the counts belong to.
        """
        if learned is not None:
            try:
                self.miner = Miner.from_bytes(learned.miner)
                self.birth = learned.birth
            except ValueError as error:
                log.warning("logs: what was learned is not to be used reason=%s", error)
                learned = None
        if learned is not None:
            self._known_s = {source: -age_s for source, age_s in learned.silent.items()}
        for source, saved in (learned.watches if learned is not None else {}).items():
            if not self._watch(source).restore(saved):
                log.warning(
                    "logs: what was learned of a source is not to be used source=%s", source
                )
        fits = birth == self.birth
        self.ledger.restore(counts, self._is_known if fits else lambda _: False)
        if fits:
            for book in list(self.ledger.sources.values()):
                for template in list(book.rows):
                    now = self.miner.resolve(template)
                    if now != template:
                        self.ledger.merge(template, now)
        self.miner.fresh()

    # ------------------------------------------------------------ parts

    def _watch(self, source: str) -> Watch:
        watch = self.watches.get(source)
        if watch is None:
            if len(self.watches) >= WATCHES_MAX:
                source = OTHERS
                watch = self.watches.get(source)
                if watch is not None:
                    return watch
            age_s = self._now_s - self._known_s.get(source, self._now_s)
            watch = self.watches[source] = Watch(source, text_of=self.text_of, age_s=age_s)
        return watch

    def _take_fresh(
        self,
        watch: Watch,
        tick: _Tick,
        columns: Columns,
        ids: Sequence[int],
        counts: Mapping[int, int],
        now_ns: int,
    ) -> None:
        """Note the templates that are new to a source; what was written long ago is no news."""
        known = watch.rhythm.rows
        new = [one for one in counts if one not in known and one not in tick.fresh]
        for template in new:
            row = ids.index(template)
            severity, time_ns = Severity(columns.severities[row]), columns.times[row]
            text = self.text_of(template)
            is_old = time_ns is not None and now_ns - time_ns > OLD_NS
            banner = now_ns < self._turned_ns.get(watch.source, 0) and severity < Severity.ERROR
            if is_old or (banner and not is_danger(text)):
                watch.rhythm.add(template, severity, watch.now_s)  # it is no news
                continue
            tick.fresh[template] = Fresh(template, text, severity)

    def _grade(self, columns: Columns, ids: Sequence[int]) -> None:
        """Ask the message how grave it is where its header does not say, once per template."""
        severities = columns.severities
        if all(severities):
            return
        known = self._grades
        if len(known) > GRADES_MAX:
            known.clear()
        for row, template in enumerate(ids):
            if not severities[row]:
                grade = known.get(template)
                if grade is None:
                    grade = known[template] = severity_of_body(columns.bodies[row])
                severities[row] = grade

    def _note_turns(self, source: str, counts: Mapping[int, int], now_ns: int) -> None:
        """Note when a program says that it starts or ends: what it says then is no news."""
        turns = self._turns
        if max(len(turns), len(self._said_ns)) > GRADES_MAX:
            turns.clear()
            self._said_ns.clear()
        for template in counts:
            turn = turns.get(template)
            if turn is None:
                text = self.text_of(template)[:TURN_TEXT]
                turn = turns[template] = _TURN.search(text) is not None
            if turn:
                said = (source, template)
                before_ns, self._said_ns[said] = self._said_ns.get(said, 0), now_ns
                if now_ns - before_ns > TURN_APART_NS:
                    self._turned_ns[source] = now_ns + CALM_NS

    def _follow_merges(self) -> None:
        """Let counts and watches know of templates that became part of others."""
        for old, uid in self.miner.merged():
            into = self.miner.resolve(old)
            if into != OVERFLOW and self.ledger.was_told(old) and len(self.merges) < MERGES_MAX:
                self.merges[uid] = into
            self.ledger.merge(old, into)
            self.slots.forget(old)
            for watch in self.watches.values():
                watch.merge(old, into)
            for tick in self._ticks.values():
                for counter in (tick.counts, tick.errors, tick.warnings):
                    if old in counter:
                        counter[into] += counter.pop(old)
                if old in tick.fresh:
                    fresh = tick.fresh.pop(old)
                    tick.fresh.setdefault(into, Fresh(into, self.text_of(into), fresh.severity))

    def _note_units(self, columns: Columns, now_ns: int) -> None:
        """Be calm with a unit that is started or stopped."""
        for fields in columns.fields:
            if fields and fields.get("MESSAGE_ID") in _UNIT_TURNS:
                unit = fields.get("UNIT", b"").decode("utf-8", "replace")
                over = [one for one, until in self._calm_ns.items() if until < now_ns]
                for one in over:
                    del self._calm_ns[one]
                self._calm_ns[unit] = now_ns + CALM_NS

    def _calm(self, source: str) -> int:
        """Return until when a source is to be calm; a file, with the unit of its program."""
        found = [until for unit, until in self._calm_ns.items() if _is_of(source, unit)]
        return max([self._calm_all_ns, *found])

    def _is_known(self, template: int) -> bool:
        try:
            self.miner.resolve(template)
        except KeyError:
            return False
        return True


def _is_of(source: str, unit: str) -> bool:
    """Say whether a source is a unit's: its own, or a file with its name in the path."""
    stem = unit.partition(".")[0].partition("@")[0]
    return source == unit or (len(stem) > 2 and source.startswith("/") and f"/{stem}" in source)


def _count_grave(tick: _Tick, severities: Sequence[int], ids: Sequence[int]) -> None:
    """Count the lines of a batch that are warnings, or graver, by template."""
    if max(severities) < Severity.WARN:
        return
    for severity, template in zip(severities, ids, strict=True):
        if severity >= Severity.WARN:
            tick.warnings[template] += 1
            tick.errors[template] += severity >= Severity.ERROR


def _seen(looked: Sequence[tuple[int, list[bytes]]]) -> list[SlotSeen]:
    """Return what was in the slots of the lines that were looked at, by template and slot."""
    numbers: dict[tuple[int, int], list[float]] = {}
    texts: dict[tuple[int, int], list[bytes]] = {}
    for template, values in looked:
        for slot, value in enumerate(values):
            found = number(value)
            if found is not None:
                numbers.setdefault((template, slot), []).append(found)
            else:
                texts.setdefault((template, slot), []).append(value)
    return [
        SlotSeen(template, slot, tuple(numbers.get((template, slot), ())), tuple(values))
        for (template, slot), values in (
            {key: texts.get(key, []) for key in {**numbers, **texts}}
        ).items()
    ]
