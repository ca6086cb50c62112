"""Keep what rings at a source: told once, active while it lasts, gone on with when it comes again.

A thing is a kind, a template and what else tells it from others. It begins to ring at ``RINGS``
nats, is active until there has been no news of it for ``HOLD_S``, and what rings again within
``AGAIN_S`` after that is the same thing still. ``strangeness`` is what a series is made of: the
score of a kind now, above the threshold or not, and while something rings at least its score.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from vedette.logs.entry import Severity
from vedette.logs.signals import KINDS, NO_TEMPLATE, Kind, LogSignal
from vedette.logs.surprise import OVER_PART, OVER_S, RINGS

#: For how many seconds a signal is active without news of it.
HOLD_S: Mapping[Kind, float] = {
    "new_template": 10.0,
    "burst": OVER_S,
    "silence": 3600.0,
    "missing": 60.0,
    "order": 30.0,
    "session": 60.0,
    "mix": OVER_S,
    "slot": OVER_S,
}
#: What rings again within so many seconds after it was over goes on, and is not told anew.
AGAIN_S = 600.0
#: Signals of one kind that are active at a time.
MAX_ACTIVE = 50
#: Kinds that are about a source as a whole: the template that stands for it may change.
_OF_SOURCE: tuple[Kind, ...] = ("mix", "session")

Thing = tuple[Kind, int, int]


class Active(msgspec.Struct):
    """A signal that rings, and until when it does without news, in seconds of observed time."""

    signal: LogSignal
    until_s: float


class Ringing:
    """What rings at a source. ``began`` holds what began since the last ``turn``."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.began: list[LogSignal] = []
        self._active: dict[Thing, Active] = {}
        self._past: dict[Thing, Active] = {}
        self._scores: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        self._now_s, self._now_ns = 0.0, 0

    def turn(self, now_s: float, now_ns: int) -> None:
        """Begin a tick: end what is over, and forget the scores of the last one."""
        self._now_s, self._now_ns = now_s, now_ns
        self.began = []
        self._scores = dict.fromkeys(KINDS, 0.0)
        for key in [key for key, one in self._active.items() if one.until_s < now_s]:
            self._past[key] = self._active.pop(key)
        while self._past:
            key, one = next(iter(self._past.items()))
            if now_s - one.until_s < AGAIN_S and len(self._past) <= MAX_ACTIVE * len(KINDS):
                break
            del self._past[key]

    def active(self) -> list[LogSignal]:
        """Return what rings now, the strangest first."""
        return sorted((one.signal for one in self._active.values()), key=lambda one: -one.score)

    def strangeness(self, kind: Kind) -> float:
        """Return how strange the source is in one respect, in nats."""
        ringing = [one.signal.score for key, one in self._active.items() if key[0] == kind]
        return max([self._scores[kind], *ringing])

    def score(self, kind: Kind, score: float) -> None:
        """Note how strange something is, which others tell of when it rings."""
        self._scores[kind] = max(self._scores[kind], score)

    def tell(
        self,
        kind: Kind,
        template: int,
        score: float,
        text: str,
        severity: Severity,
        *,
        count: int = 1,
        detail: int = 0,
    ) -> None:
        """Note a score; begin a signal when it rings, or go on with the one that does."""
        self.score(kind, score)
        key = (kind, template if kind not in _OF_SOURCE else NO_TEMPLATE, detail)
        known = self._active.get(key)
        if known is None and score >= RINGS:
            known = self._begin_again(key)
            if known is None:
                since = self._now_ns
                signal = LogSignal(kind, template, score, text, severity, self.source, since, count)
                self._begin(key, signal)
                return
        if known is None:
            return
        if score >= RINGS * OVER_PART:
            known.until_s = self._now_s + HOLD_S[kind]
        if score > known.signal.score:
            known.signal = msgspec.structs.replace(known.signal, score=score, text=text)
        # Lines are added up by ``add_lines``.
        if kind != "burst":
            count = max(count, known.signal.count)
            known.signal = msgspec.structs.replace(known.signal, count=count)

    def tell_silence(self, template: int, score: float, text: str, severity: Severity) -> None:
        """Tell of a silence; while another lasts, it is part of that: the source has stopped."""
        for key, one in self._active.items():
            if key[0] == "silence":
                count = one.signal.count + 1
                one.signal = msgspec.structs.replace(one.signal, count=count)
                return
        self.tell("silence", template, score, text, severity)

    def add_lines(self, counts: Mapping[int, int]) -> None:
        """Add a tick's lines to the bursts that did not begin with it."""
        began = {one.template_id for one in self.began if one.kind == "burst"}
        for key, one in self._active.items():
            lines = counts.get(key[1], 0) if key[0] == "burst" and key[1] not in began else 0
            if lines:
                one.signal = msgspec.structs.replace(one.signal, count=one.signal.count + lines)

    def end_silence(self, template: int) -> None:
        """End the silence of a template."""
        self._active.pop(("silence", template, 0), None)

    def forget(self, template: int) -> None:
        """Let go of what is about a template."""
        for things in (self._active, self._past):
            for key in [one for one in things if one[1] == template]:
                del things[key]

    def clear(self) -> None:
        """Let go of all."""
        self._active.clear()
        self._past.clear()

    def _begin(self, key: Thing, signal: LogSignal) -> None:
        if sum(one[0] == key[0] for one in self._active) < MAX_ACTIVE:
            self._active[key] = Active(signal, self._now_s + HOLD_S[key[0]])
            self.began.append(signal)

    def _begin_again(self, key: Thing) -> Active | None:
        """Return a thing that rang not long ago, active once more."""
        known = self._past.pop(key, None)
        if known is not None:
            self._active[key] = known
        return known
