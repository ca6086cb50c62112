"""Learn which template follows which within one session, and say how strange a successor is.

Bigrams with counts. A successor that was never seen after its predecessor has, by Good and Turing
(Good 1953), the probability of those seen once: ``(f1 + 1/2) / (n + 1)`` with n successors of which
f1 were seen a single time. So after a template that anything can follow, anything new says little.
What was seen before is ordinary, however seldom: 0. At most ``MAX_PAIRS`` pairs, and
``MAX_SUCCESSORS`` of one template; what has more is taken to be followed by anything.
"""

from __future__ import annotations

import math

import msgspec

MAX_PAIRS, MAX_SUCCESSORS = 20_000, 64
#: Before the first template of a session.
START = -1


class After(msgspec.Struct):
    """What followed one template, how often, and whether there is no counting it."""

    total: int = 0
    once: int = 0
    counts: dict[int, int] = {}
    anything: bool = False


class Successors(msgspec.Struct):
    """The bigrams of one source."""

    after: dict[int, After] = {}
    pairs: int = 0

    def surprise(self, previous: int, template: int) -> float:
        """Return how strange it is that a template follows another, in nats; 0 if it did before."""
        known = self.after.get(previous)
        if known is None or known.anything or template in known.counts:
            return 0.0
        return math.log((known.total + 1) / (known.once + 0.5)) if known.total else 0.0

    def learn(self, previous: int, template: int) -> None:
        """Count that a template followed another."""
        known = self.after.get(previous)
        if known is None:
            if self.pairs >= MAX_PAIRS:
                return
            known = self.after[previous] = After()
        known.total += 1
        seen = known.counts.get(template, 0)
        if seen:
            known.counts[template] = seen + 1
            known.once -= seen == 1
        elif len(known.counts) >= MAX_SUCCESSORS or self.pairs >= MAX_PAIRS:
            known.anything = True
        else:
            known.counts[template] = 1
            known.once += 1
            self.pairs += 1

    def forget(self, template: int) -> None:
        """Let go of a template."""
        gone = self.after.pop(template, None)
        self.pairs -= len(gone.counts) if gone else 0
        for known in self.after.values():
            if known.counts.pop(template, None) is not None:
                self.pairs -= 1
