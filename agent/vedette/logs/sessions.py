"""Judge sessions: the lines that carry one key, such as a block, a request or a job.

A session is strange by what it holds (``profile``: counts that no session of its kind had, a
template missing or never seen), by what followed what (``order``), and by what came first: of two
templates that occur together, one nearly always comes before the other. It is judged against the
sessions before it and then learned, with no labels; how many of the learned ones were broken
decides what can be told, as what is wrong in one session of fifty is ordinary for whoever sees
nothing else.

``SessionModel`` works on whole sessions, offline too; ``OpenSessions`` keeps those that run, at
most ``MAX_OPEN``, closes them when they have been idle, and remembers of each the counts, the line
at which each template came first and last, and the strangest step: some 0.8 KiB.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.logs.order import START, Successors
from vedette.logs.profile import CountProfile, ProfileState, Reason
from vedette.logs.surprise import packed

Rows = NDArray[np.intp]

#: From so many nats on a session is odd; a verdict, not a reason to ring for one. The first where
#: the sessions learned are taken for ordinary, the second where some of them were broken.
ODD_TRUSTED, ODD = 6.0, 4.0
#: Nats taken off the strangest of many pairs of templates.
MANY_PAIRS = 1.5
MAX_OPEN, MAX_DISTINCT, MAX_KEY, MAX_KEYS = 10_000, 64, 128, 256
IDLE_S = 300.0
#: Templates of which is learned what comes first, and how many sessions it takes to say so.
MAX_RANKED, RANKED_LEAST, MAX_WEIGHED = 64, 100, 4096
#: A step is only strange from here on: in interleaved lines nearly any order occurs once.
STEP_FLOOR = 4.0
#: Bits of a count and of a place in a session.
_BITS = 24
_MOST = (1 << _BITS) - 1
_FIRST = _MOST << 2 * _BITS


class Verdict(msgspec.Struct, frozen=True):
    """What is thought of a session: how strange in nats, and why, the strangest first."""

    score: float
    is_odd: bool = False
    reasons: tuple[Reason, ...] = ()


class SessionKey:
    """Finds the sessions' keys in a line: group 1 of a regular expression, or all that it matches.

    A line may name several sessions (blocks to be deleted, requests of a batch) and is one of each.

    Raises ``ValueError`` when the expression is none.
    """

    def __init__(self, pattern: str) -> None:
        try:
            self._pattern = re.compile(pattern.encode())
        except re.error as error:
            raise ValueError(f"no regular expression: {pattern!r}: {error}") from error
        self._group = 1 if self._pattern.groups else 0

    def of(self, line: bytes) -> list[bytes]:
        """Return the keys in a line, each once, at most ``MAX_KEYS`` and ``MAX_KEY`` bytes each."""
        group = self._group
        found = (one[group] for one in islice(self._pattern.finditer(line), MAX_KEYS))
        return list(dict.fromkeys(key[:MAX_KEY] for key in found if key))


class Spans:
    """A session so far: per template the lines, and at which line it came first and last.

    The three are packed into one integer per template, as ten thousand sessions may be open.
    """

    __slots__ = ("_seen", "lines")

    def __init__(self, session: Iterable[int] = ()) -> None:
        self.lines = 0
        self._seen: dict[int, int] = {}
        for template in session:
            self.add(template)

    def add(self, template: int) -> None:
        """Take a line; of more than ``MAX_DISTINCT`` templates, the first ones."""
        if self.lines < _MOST:
            self.lines += 1
        place = self.lines << _BITS
        seen = self._seen.get(template)
        if seen is not None:
            self._seen[template] = seen & _FIRST | place | min((seen & _MOST) + 1, _MOST)
        elif len(self._seen) < MAX_DISTINCT:
            self._seen[template] = place << _BITS | place | 1

    @property
    def counts(self) -> dict[int, int]:
        """Lines per template."""
        return {template: seen & _MOST for template, seen in self._seen.items()}

    @property
    def first(self) -> dict[int, int]:
        """The line at which each template came first, counted from 1."""
        return {template: seen >> 2 * _BITS for template, seen in self._seen.items()}

    @property
    def last(self) -> dict[int, int]:
        """The line at which each template came last."""
        return {template: seen >> _BITS & _MOST for template, seen in self._seen.items()}


class Precedence:
    """Which of two templates comes first, in sessions that hold both, and whether as a whole.

    Of a pair the one begins before the other, and may end before the other begins.
    """

    def __init__(self) -> None:
        self._columns: dict[int, int] = {}
        self._before, self._whole = (
            np.zeros((MAX_RANKED, MAX_RANKED), dtype=np.float32) for _ in range(2)
        )

    def learn(self, spans: Spans) -> None:
        """Learn a session."""
        columns = self._columns
        for template in spans.counts:
            if template not in columns and len(columns) < MAX_RANKED:
                columns[template] = len(columns)
        _, at, first, last = self._known(spans)
        both = np.ix_(at, at)
        self._before[both] += first[:, None] < first
        self._whole[both] += last[:, None] < first

    def judge(self, spans: Spans) -> Reason | None:
        """Return the strangest pair of a session; None when all is as usual."""
        known, at, first, last = self._known(spans)
        if len(known) < 2:
            return None
        before, whole = self._before[np.ix_(at, at)], self._whole[np.ix_(at, at)]
        both = before + before.T
        # Rows are the template that usually comes first, columns the one that comes after it.
        early = np.log((both + 1) / (both - before + 0.5)) * (first[:, None] > first)
        inside = np.log((both + 1) / (both - whole + 0.5)) * (last[:, None] > first)
        score = np.where(both >= RANKED_LEAST, np.maximum(early, inside), 0)
        place = int(score.argmax())
        found = float(score.flat[place])
        if found < STEP_FLOOR:
            return None
        return Reason(found - MANY_PAIRS, known[place % len(known)], "comes too early")

    def save(self) -> tuple[list[int], bytes, bytes]:
        """Return what was learned."""
        return list(self._columns), packed(self._before), packed(self._whole)

    def restore(self, state: tuple[list[int], bytes, bytes]) -> None:
        """Take what was learned; raises ``ValueError`` when it does not fit."""
        ids, before, whole = state
        if len(ids) > MAX_RANKED:
            raise ValueError(f"{len(ids)} templates")
        shape = (MAX_RANKED, MAX_RANKED)
        self._before, self._whole = (
            np.frombuffer(one, dtype="<f4").reshape(shape).astype(np.float32)
            for one in (before, whole)
        )
        self._columns = {one: at for at, one in enumerate(ids)}

    def _known(self, spans: Spans) -> tuple[list[int], Rows, Rows, Rows]:
        firsts, lasts = spans.first, spans.last
        known = [one for one in firsts if one in self._columns]
        at = np.array([self._columns[one] for one in known], dtype=np.intp)
        first = np.array([firsts[one] for one in known], dtype=np.intp)
        last = np.array([lasts[one] for one in known], dtype=np.intp)
        return known, at, first, last


class ModelState(msgspec.Struct, frozen=True, array_like=True):
    """What a ``SessionModel`` knows."""

    profile: ProfileState
    successors: Successors
    precedence: tuple[list[int], bytes, bytes]


class SessionModel:
    """What sessions of one kind look like.

    ``size`` is how many are kept to learn from: more where all of a file can be looked at.
    ``trusted`` says that what is learned is ordinary, so that a verdict can be the surer.
    """

    def __init__(self, size: int = 4096, *, trusted: bool = False) -> None:
        self.trusted = trusted
        self.profile = CountProfile(size, trusted=trusted)
        self.successors = Successors()
        self.precedence = Precedence()

    def fit_stream(self, sessions: Iterable[Sequence[int]]) -> None:
        """Learn whole sessions, each the template ids of its lines in order."""
        for session in sessions:
            self.learn(session)
        self.profile.fit()

    def weigh(self, template: int, nats: float) -> None:
        """Say that a template is worth more when it is in a session and seldom is: it is grave."""
        if len(self.profile.weights) < MAX_WEIGHED:
            self.profile.weights[template] = nats

    def learn(self, session: Sequence[int]) -> None:
        """Learn one whole session."""
        previous = START
        for template in session:
            self.successors.learn(previous, template)
            previous = template
        self.learn_spans(Spans(session))

    def learn_spans(self, spans: Spans) -> None:
        """Learn a session of which the steps were learned."""
        self.profile.learn(spans.counts)
        self.precedence.learn(spans)

    def judge(self, session: Sequence[int]) -> Verdict:
        """Return what is thought of a whole session."""
        strangest, previous = None, START
        for template in session:
            score = self.successors.surprise(previous, template)
            if score > (strangest.score if strangest else STEP_FLOOR):
                strangest = Reason(score, template, "never follows")
            previous = template
        return self.judge_spans(Spans(session), strangest)

    def judge_spans(self, spans: Spans, step: Reason | None) -> Verdict:
        """Return what is thought of a session of which the strangest step is known."""
        score, reasons = self.profile.judge(spans.counts)
        known = self.profile.sessions >= RANKED_LEAST
        order = [one for one in (step, self.precedence.judge(spans)) if one and known]
        best = max((one.score for one in order), default=0.0)
        # What is in an unusual order is the more so for what it holds.
        score = max(score, best) + min(score, best) / 4
        reasons = sorted([*reasons, *order], key=lambda one: -one.score)
        odd = score >= (ODD_TRUSTED if self.trusted else ODD)
        return Verdict(score, odd, tuple(reasons[:5]))

    def save(self) -> ModelState:
        """Return what was learned."""
        return ModelState(self.profile.save(), self.successors, self.precedence.save())

    def restore(self, state: ModelState) -> None:
        """Take what was learned; raises ``ValueError`` when it does not fit together."""
        self.precedence.restore(state.precedence)
        self.profile.restore(state.profile)
        self.successors = state.successors


class Open:
    """A session that runs."""

    __slots__ = ("began_s", "last_s", "previous", "spans", "step")

    def __init__(self, now_s: float) -> None:
        self.began_s = self.last_s = now_s
        self.previous = START
        self.spans = Spans()
        self.step: Reason | None = None


class Closed(msgspec.Struct, frozen=True):
    """A session that has ended, and what is thought of it."""

    key: bytes
    verdict: Verdict
    lines: int
    began_s: float


class OpenSessions:
    """The sessions of a source that run now."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self.model = SessionModel()
        self.idle_s = idle_s
        self.evicted = 0
        #: Sessions that began before may have begun before they were watched: no opinion.
        self.unsure_until_s = idle_s
        self._open: OrderedDict[bytes, Open] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def step(self, now_s: float, key: bytes, template: int) -> tuple[float, Closed | None]:
        """Take a line; return how strange it is after the one before, and who had to go for it."""
        gone = None
        session = self._open.get(key)
        if session is None:
            if len(self._open) >= MAX_OPEN:
                self.evicted += 1
                gone = self.close(next(iter(self._open)))
            session = self._open[key] = Open(now_s)
        else:
            self._open.move_to_end(key)
        successors = self.model.successors
        score = successors.surprise(session.previous, template)
        successors.learn(session.previous, template)
        if score > (session.step.score if session.step else STEP_FLOOR):
            session.step = Reason(score, template, "never follows")
        session.previous, session.last_s = template, now_s
        session.spans.add(template)
        return score if score >= STEP_FLOOR else 0.0, gone

    def close(self, key: bytes) -> Closed | None:
        """End a session; None when there is none, or it may have begun before it was watched."""
        session = self._open.pop(key, None)
        return None if session is None else self._end(key, session)

    def idle(self, now_s: float, most: int = 1000) -> list[Closed]:
        """End the sessions that have been idle for long, at most so many in one go."""
        ended: list[Closed] = []
        while self._open and len(ended) < most:
            key, session = next(iter(self._open.items()))
            if now_s - session.last_s < self.idle_s:
                break
            closed = self.close(key)
            if closed:
                ended.append(closed)
        return ended

    def _end(self, key: bytes, session: Open) -> Closed | None:
        if session.began_s < self.unsure_until_s:
            return None
        verdict = self.model.judge_spans(session.spans, session.step)
        self.model.learn_spans(session.spans)
        return Closed(key, verdict, session.spans.lines, session.began_s)


def explain(reason: Reason, text: str) -> str:
    """Say a reason to a person; ``text`` is its template's."""
    if reason.what == "count":
        return f"{reason.count} times {text!r}"
    if reason.what == "never seen":
        return f"never seen in a session: {text!r}"
    if reason.what == "never follows":
        return f"out of order: {text!r}"
    return f"{text!r} {reason.what}"
