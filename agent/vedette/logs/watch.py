"""Find what is strange in a stream of templates: the one place that the parts are called from.

A ``Watch`` per source is fed once per tick with what was read: lines per template, templates seen
for the first time, lines of sessions, what slots held. It asks

novelty     a template never seen                                        ``new_template``
rhythm      more lines than ever, or none where they come regularly      ``burst``, ``silence``
pulse       no line at all of a source that always has some              ``silence``
followers   what always follows did not come                             ``missing``
order       a successor never seen within a session                      ``order``
sessions    sessions that hold what no other does, more than usual       ``session``
mix         more errors or warnings among the lines                      ``mix``
slot_watch  numbers that shift, values outside of a vocabulary           ``slot``

and says what began to ring (``surprise.RINGS`` nats, the same for all), once per thing. What still
rings is in ``active``, and ``strangeness`` is the score of a kind now, above the threshold or not.

Time is observed time: seconds in which lines were read, so that neither a stopped agent nor a clock
that is set makes a silence. A tick counts as at most ``TICK_MOST_S``. A caller that reads a backlog
declares a calm until it has caught up, and one that knows of a deploy or a restart for a while
after it: then all is learned, and nothing rings but what never means well (``novelty``), and a line
that does not follow one of the calm's own.

All of it is bounded; nothing raises for what the lines hold. Cost (``tests/bench/logs_watch.py``):
0.25 ms a tick with lines of 100 templates, 0.17 ms with ten, 10 µs without; 8 µs for a line of a
session. Per template 150 bytes on the disk and 290 in memory, half of them Python's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np

from vedette.logs.entry import Severity
from vedette.logs.followers import Followers
from vedette.logs.mix import Mix
from vedette.logs.novelty import CALM_TEACHES, Novelty, Repeats, is_danger
from vedette.logs.pulse import Pulse
from vedette.logs.rhythm import Rhythm, RhythmState
from vedette.logs.ringing import Ringing
from vedette.logs.sessions import ODD, Closed, ModelState, OpenSessions, explain
from vedette.logs.signals import (
    NO_TEMPLATE,
    NOT_GRAVE,
    Fresh,
    Grave,
    Kind,
    LogSignal,
    SlotSeen,
    Step,
)
from vedette.logs.slot_watch import SlotWatch
from vedette.logs.surprise import OVER_PART, RINGS, Rarity, Share, joined

VERSION = 1
#: A tick is at most so many seconds of observed time.
TICK_MOST_S = 5.0
#: Seldom templates that are looked at in a tick.
MAX_SELDOM = 32
#: Nats that the first successor of its kind is worth more than it is rare, from which surprise on.
ORDER_WEIGHT, ORDER_FLOOR = 3.0, 5.0
#: The most that a session's own strangeness adds to the rarity of odd ones.
SESSION_MOST = 4.0
#: Nats that a seldom template is worth more in a session, from which severity on.
WORTH = ((Severity.ERROR, 2.0), (Severity.WARN, 1.0))
TEXT_MOST = 200
_NS = 1e9


class WatchState(msgspec.Struct, frozen=True):
    """What a ``Watch`` knows, for the disk."""

    version: int
    now_s: float
    novelty: Novelty
    rhythm: RhythmState
    followers: Followers
    mix: Mix
    slots: SlotWatch
    orders: Rarity
    odd: Rarity
    odd_share: Share
    sessions: ModelState | None
    pulse: Pulse = msgspec.field(default_factory=Pulse)


def _text_of(template_id: int) -> str:
    return f"template {template_id}"


class Watch:
    """What is ordinary in one source's lines, and what is not.

    ``text_of(template_id)`` says a template to a person; ``idle_s`` is after how many seconds
    without a line a session is over; ``age_s`` for how long the source is known to have been
    silent. Used by one thread.
    """

    def __init__(
        self,
        source: str,
        *,
        text_of: Callable[[int], str] = _text_of,
        idle_s: float = 300.0,
        age_s: float = 0.0,
    ) -> None:
        self.source = source
        self._text_of = text_of
        self._now_s = age_s
        self._tick_ns: int | None = None
        self._calm = False
        self._calm_since_s = 0.0
        self._grave: Mapping[int, Grave] | None = None
        self.ringing = Ringing(source)
        self.novelty, self.repeats = Novelty(0.0), Repeats()
        self.rhythm, self.pulse = Rhythm(), Pulse()
        self.followers = Followers()
        self.mix = Mix()
        self.slots = SlotWatch(0.0)
        self.sessions = OpenSessions(idle_s)
        self._orders, self._odd = Rarity(0.0), Rarity(0.0)
        self._odd_share = _odd_share()

    @property
    def now_s(self) -> float:
        """Observed time, in seconds."""
        return self._now_s

    def observe(
        self,
        tick_ns: int,
        counts: Mapping[int, int],
        fresh: Sequence[Fresh] = (),
        *,
        steps: Sequence[Step] = (),
        slots: Iterable[SlotSeen] = (),
        grave: Mapping[int, Grave] | None = None,
        calm_until_ns: int = 0,
    ) -> list[LogSignal]:
        """Take what was read in one tick; return what began to ring.

        ``counts`` has the lines of each template that had any, also of those in ``fresh``.
        ``grave`` says of templates with some how many lines are errors, and warnings or graver;
        without it, all lines of a template are as grave as the first one was.
        """
        self._pass_time(tick_ns)
        was_calm, self._calm = self._calm, tick_ns < calm_until_ns
        if self._calm and not was_calm:
            self._calm_since_s = self._now_s
        self.ringing.turn(self._now_s, tick_ns)
        self._take_fresh(fresh)
        self._grave = grave
        self._take_counts(counts)
        self._take_followers(counts)
        self._take_steps(steps)
        self._take_slots(slots)
        return self.ringing.began

    def active(self) -> list[LogSignal]:
        """Return what rings now, with its present score and count, the strangest first."""
        return self.ringing.active()

    def strangeness(self, kind: Kind) -> float:
        """Return how strange the source is in one respect since the last tick, in nats."""
        return self.ringing.strangeness(kind)

    def merge(self, old: int, into: int) -> None:
        """Let go of a template that turned out to be another's; ``into`` goes on as it was."""
        severity = max(self.rhythm.severity(old), self.rhythm.severity(into))
        known = old in self.rhythm.rows
        order = self.sessions.model.successors
        for part in (self.rhythm, self.followers, self.slots, order, self.repeats, self.ringing):
            part.forget(old)
        if known:
            self.rhythm.add(into, severity, self._now_s)

    def save(self) -> bytes:
        """Return what was learned; sessions that run are not kept."""
        sessions = self.sessions.model if self.sessions.model.profile.sessions else None
        return msgspec.msgpack.encode(
            WatchState(
                VERSION,
                self._now_s,
                self.novelty,
                self.rhythm.save(),
                self.followers,
                self.mix,
                self.slots,
                self._orders,
                self._odd,
                self._odd_share,
                sessions.save() if sessions else None,
                self.pulse,
            )
        )

    def restore(self, saved: bytes) -> bool:
        """Take what was learned; False when it is damaged or of another version: starts anew."""
        rhythm, sessions = Rhythm(), OpenSessions(self.sessions.idle_s)
        try:
            state = msgspec.msgpack.decode(saved, type=WatchState)
            if state.version != VERSION:
                return False
            rhythm.restore(state.rhythm)
            if state.sessions is not None:
                sessions.model.restore(state.sessions)
        except (msgspec.MsgspecError, ValueError):
            return False
        self._now_s, self._tick_ns, self.pulse = state.now_s, None, state.pulse
        self.novelty, self.rhythm, self.followers = state.novelty, rhythm, state.followers
        self.mix, self.slots, self.sessions = state.mix, state.slots, sessions
        self._orders, self._odd, self._odd_share = state.orders, state.odd, state.odd_share
        sessions.unsure_until_s = self._now_s + sessions.idle_s
        self.ringing.clear()
        return True

    # ------------------------------------------------------------ parts

    def _take_fresh(self, fresh: Sequence[Fresh]) -> None:
        """Judge the templates seen for the first time, the gravest first."""
        found = []
        for one in sorted(fresh, key=lambda one: -one.severity):
            if one.template_id in self.rhythm.rows:
                continue
            self.rhythm.add(one.template_id, one.severity, self._now_s)
            worth = next((nats for least, nats in WORTH if one.severity >= least), 0.0)
            if worth:
                self.sessions.model.weigh(one.template_id, worth)
            score = self.novelty.judge(self._now_s, one.text, one.severity, calm=self._calm)
            found.append((score, one))
        if not found:
            return
        best, first = max(found, key=lambda one: one[0])
        self.repeats.add(self._now_s, first, best)
        others = [score for score, _ in found if score >= RINGS * OVER_PART]
        score = joined([best, *others[1:]]) if best else 0.0
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        text = f"never seen before: {first.text[:TEXT_MOST]}{more}"
        self._tell("new_template", first.template_id, score, text, anyway=is_danger(first.text))

    def _take_counts(self, counts: Mapping[int, int]) -> None:
        bursts, ended = self.rhythm.observe(self._now_s, counts)
        if not self._calm:
            self.ringing.score("burst", self.rhythm.strangest)
        for template, new in self.repeats.observe(self._now_s, counts):
            lines = f"{new.lines} times " if new.lines > 1 else ""
            text = f"never seen before, {lines}now: {new.text[:TEXT_MOST]}"
            self._tell("new_template", template, new.total, text, count=new.lines)
        for burst in bursts:
            before = f"at most {burst.largest:.0f} before"
            text = f"{burst.lines} times in {burst.seconds:.0f} s, {before}"
            text += f": {self._say(burst.template_id)}"
            self._tell("burst", burst.template_id, burst.score, text, count=burst.lines)
        self.ringing.add_lines(counts)
        for template in ended:
            self.ringing.end_silence(template)
        if counts and self.pulse.beat(self._now_s):
            self.ringing.end_silence(NO_TEMPLATE)
        # What is silent during a calm is asked after when it is over.
        if not self._calm:
            self._take_silences()
        if counts:
            self.novelty.lines += sum(counts.values())
            self._take_mix(counts)

    def _take_silences(self) -> None:
        quiet = self.pulse.overdue(self._now_s)
        if quiet is not None:
            text = (
                f"no line at all for {self._now_s - quiet.last_s:.0f} s, never for more than "
                f"{quiet.longest_s:.0f} s before"
            )
            self.ringing.tell_silence(NO_TEMPLATE, quiet.score, text, Severity.UNKNOWN)
        for silence in self.rhythm.overdue(self._now_s):
            text = (
                f"none for {self._now_s - silence.last_s:.0f} s, never for more than "
                f"{silence.longest_s:.0f} s before: {self._say(silence.template_id)}"
            )
            template = silence.template_id
            severity = self.rhythm.severity(template)
            self.ringing.tell_silence(template, silence.score, text, severity)

    def _take_mix(self, counts: Mapping[int, int]) -> None:
        known = [one for one in counts if one in self.rhythm.rows]
        lines = np.array([counts[one] for one in known], dtype=np.int64)
        if self._grave is None:
            severities = self.rhythm.severities(known)
            errors = np.where(severities >= Severity.ERROR, lines, 0)
            warnings = np.where(severities >= Severity.WARN, lines, 0)
        else:
            said = [self._grave.get(one, NOT_GRAVE) for one in known]
            errors = np.array([one.errors for one in said], dtype=np.int64)
            warnings = np.array([one.warnings for one in said], dtype=np.int64)
        shifted = self.mix.observe(self._now_s, lines, errors, warnings)
        if shifted is None:
            return
        # The template with most of them stands for all.
        grave = errors if shifted.severity >= Severity.ERROR else warnings
        template = known[int(grave.argmax())] if len(grave) and grave.max() > 0 else NO_TEMPLATE
        what = "errors" if shifted.severity >= Severity.ERROR else "warnings"
        text = f"{100 * shifted.share:.1f} % {what}, {100 * shifted.usual:.1f} % before"
        self._tell(
            "mix",
            template,
            shifted.score,
            text,
            count=shifted.lines,
            detail=int(shifted.severity),
            severity=Severity.ERROR if 2 * errors.sum() >= warnings.sum() else shifted.severity,
        )

    def _take_followers(self, counts: Mapping[int, int]) -> None:
        known = [one for one in counts if one in self.rhythm.rows]
        seldom = self.rhythm.seldom(known)[:MAX_SELDOM] if known else []
        missing = self.followers.observe(self._now_s, seldom, self.rhythm.chance)
        for one in missing:
            text = (
                f"not within {self._now_s - one.began_s:.0f} s of {self._say(one.first_id)} "
                f"as {one.times} times before, within {one.longest_s + 1:.0f} s: "
                f"{self._say(one.template_id)}"
            )
            # A start that is not followed by "ready" is what a deploy may show.
            anyway = one.began_s >= self._calm_since_s
            self._tell(
                "missing", one.template_id, one.score, text, detail=one.first_id, anyway=anyway
            )

    def _take_steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            score, gone = self.sessions.step(self._now_s, step.key, step.template_id)
            if score >= ORDER_FLOOR:
                rare = self._orders.surprise(self._now_s) + ORDER_WEIGHT
                self._orders.note(self._now_s, CALM_TEACHES if self._calm else 1.0)
                text = f"never in this place of a session before: {self._say(step.template_id)}"
                self._tell("order", step.template_id, rare, text)
            if gone is not None:
                self._take_session(gone)
        for closed in self.sessions.idle(self._now_s):
            self._take_session(closed)

    def _take_session(self, closed: Closed) -> None:
        """Judge a session that ended: by how rare odd ones are, and by how many there are."""
        verdict = closed.verdict
        many = self._odd_share.feed(self._now_s, verdict.is_odd, 1)
        if not verdict.is_odd:
            return
        rare = self._odd.surprise(self._now_s) + min(verdict.score - ODD, SESSION_MOST)
        self._odd.note(self._now_s, CALM_TEACHES if self._calm else 1.0)
        first = verdict.reasons[0]
        why = explain(first, self._say(first.template_id))
        hits, of = int(self._odd_share.hits), int(self._odd_share.lines)
        text = f"{hits} odd sessions of {of}, such as {_shown(closed.key)}: {why}"
        self._tell("session", first.template_id, max(rare, many), text, count=hits)

    def _take_slots(self, slots: Iterable[SlotSeen]) -> None:
        for one in self.slots.observe(self._now_s, slots, calm=self._calm):
            text = f"{one.text}: {self._say(one.template_id)}"
            key = one.slot
            self._tell("slot", one.template_id, one.score, text, count=one.count, detail=key)

    # ------------------------------------------------------------ signals

    def _pass_time(self, tick_ns: int) -> None:
        if self._tick_ns is not None:
            self._now_s += min(max((tick_ns - self._tick_ns) / _NS, 0.0), TICK_MOST_S)
        self._tick_ns = tick_ns

    def _tell(
        self,
        kind: Kind,
        template: int,
        score: float,
        text: str,
        *,
        count: int = 1,
        detail: int = 0,
        anyway: bool = False,
        severity: Severity | None = None,
    ) -> None:
        """Tell of something, but not in a calm, unless ``anyway``."""
        if anyway or not self._calm:
            if severity is None:
                severity = self.rhythm.severity(template)
            self.ringing.tell(kind, template, score, text, severity, count=count, detail=detail)

    def _say(self, template: int) -> str:
        return self._text_of(template)[:TEXT_MOST]


def _odd_share() -> Share:
    return Share(60.0, floor=0.01, least_hits=4.0)


def _shown(key: bytes) -> str:
    return key.decode("utf-8", "replace")
