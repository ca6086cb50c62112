"""Learn which template always follows another, and say when it does not come.

"Starting" is followed by "ready", "begin backup" by "backup done". Only seldom templates are looked
at, as in a busy stream everything follows everything. When one occurs, a trial of ``TRIAL_S``
seconds opens and notes which others come and how soon; the first trial names the candidates, the
later ones strike those that did not come. A candidate is expected when it came ``TRIALS_LEAST``
times of all, and that is no chance: the other one's own rate has to explain it with less than
``exp(-CHANCE)``.

It is overdue when ``LONGEST_TIMES`` the longest delay has passed. That it came n times of n makes
its absence no more surprising than ``ln(n)``, and there are many pairs: how strange it is depends
on how rare broken expectations are at the source (``surprise.Rarity``), of pairs about as sure, and
a bit on n. At most
``MAX_FIRST`` templates with ``MAX_CANDIDATES`` each, about 100 bytes a pair; a tick costs nothing
but when seldom templates occur or a trial is open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import msgspec

from vedette.logs.surprise import Rarity

#: How long a trial is, in seconds, and how many may be open.
TRIAL_S, MAX_TRIALS = 60.0, 32
TRIALS_LEAST = 8
#: Nats by which chance has to be ruled out.
CHANCE = 12.0
MAX_FIRST, MAX_CANDIDATES = 256, 6
#: Templates that a trial takes note of.
MAX_CAME = 32
#: A delay is at least so long, in seconds, and so many times the longest, to be strange.
LATE_LEAST_S, LONGEST_TIMES = 5.0, 3.0
#: What the number of times adds to the rarity: its logarithm less this, at most so much.
TIMES_ASIDE, TIMES_MOST = 1.7, 4.0
#: A pair is struck when it missed so many of its trials.
MISSES_MOST = 0.02


class Pair(msgspec.Struct):
    """What is known of a template that follows another."""

    hits: int = 0
    misses: int = 0
    longest_s: float = 0.0


class First(msgspec.Struct):
    """A template that others may follow, and its candidates."""

    trials: int = 0
    after: dict[int, Pair] = {}


class Trial(msgspec.Struct):
    """One occurrence of a template: who came how soon, and who is still awaited until when."""

    template_id: int
    began_s: float
    came: dict[int, float] = {}
    awaited: dict[int, float] = {}


class Missing(msgspec.Struct, frozen=True, gc=False):
    """A template that did not come after another, as it always does within ``longest_s``."""

    first_id: int
    template_id: int
    score: float
    began_s: float
    longest_s: float
    times: int


class Followers(msgspec.Struct):
    """Which templates follow which; fed once per tick."""

    firsts: dict[int, First] = {}
    trials: list[Trial] = []
    #: By how sure a pair was: the number of doublings of its hits.
    broken: dict[int, Rarity] = {}

    def observe(
        self, now_s: float, seldom: Collection[int], chance: Callable[[int, float], float]
    ) -> list[Missing]:
        """Take the seldom templates of a tick; return who is overdue.

        ``chance(template, seconds)`` is the probability that a template comes in so long anyway.
        """
        if not seldom and not self.trials:
            return []
        for trial in self.trials:
            self._note(trial, now_s, seldom)
        missing = self._overdue(now_s)
        self._close(now_s)
        running = {one.template_id for one in self.trials}
        for template in seldom:
            if len(self.trials) < MAX_TRIALS and template not in running:
                self._open(template, now_s, seldom, chance)
        return missing

    def forget(self, template_id: int) -> None:
        """Let go of a template."""
        self.firsts.pop(template_id, None)
        for first in self.firsts.values():
            first.after.pop(template_id, None)
        self.trials = [one for one in self.trials if one.template_id != template_id]
        for trial in self.trials:
            trial.awaited.pop(template_id, None)

    @staticmethod
    def _note(trial: Trial, now_s: float, seldom: Collection[int]) -> None:
        delay = now_s - trial.began_s
        came, awaited = trial.came, trial.awaited
        for template in seldom:
            if awaited:
                awaited.pop(template, None)
            if template not in came and len(came) < MAX_CAME:
                came[template] = delay

    def _overdue(self, now_s: float) -> list[Missing]:
        found = []
        for trial in self.trials:
            for template, due_s in list(trial.awaited.items()) if trial.awaited else ():
                if now_s < due_s:
                    continue
                del trial.awaited[template]
                pair = self._pair(trial.template_id, template)
                if pair is not None:
                    found.append(self._missing(trial, template, pair, now_s))
        return found

    def _missing(self, trial: Trial, template: int, pair: Pair, now_s: float) -> Missing:
        worth = min(math.log1p(pair.hits) - TIMES_ASIDE, TIMES_MOST)
        rarity = self.broken.setdefault(pair.hits.bit_length() // 2, Rarity(0.0))
        score = rarity.surprise(now_s) + worth
        rarity.note(now_s)
        times = pair.hits + pair.misses
        return Missing(trial.template_id, template, score, trial.began_s, pair.longest_s, times)

    def _close(self, now_s: float) -> None:
        """Learn from the trials that are over, and keep those that are awaited for longer."""
        over = [one for one in self.trials if now_s - one.began_s >= TRIAL_S and not one.awaited]
        for trial in over:
            first = self.firsts.get(trial.template_id)
            if first is not None:
                _learn(first, trial)
        if over:
            self.trials = [one for one in self.trials if one not in over]

    def _open(
        self,
        template: int,
        now_s: float,
        seldom: Collection[int],
        chance: Callable[[int, float], float],
    ) -> None:
        first = self.firsts.pop(template, None)
        if first is None:
            if len(self.firsts) >= MAX_FIRST:
                del self.firsts[next(iter(self.firsts))]
            first = First()
        # The one used last is at the end.
        self.firsts[template] = first
        trial = Trial(template, now_s, {one: 0.0 for one in seldom if one != template})
        for other, pair in first.after.items():
            if other not in seldom and _is_sure(pair, chance(other, pair.longest_s)):
                trial.awaited[other] = now_s + _patience(pair)
        self.trials.append(trial)

    def _pair(self, first: int, template: int) -> Pair | None:
        found = self.firsts.get(first)
        return found.after.get(template) if found else None


def _learn(first: First, trial: Trial) -> None:
    """Learn who came and who did not."""
    first.trials += 1
    if first.trials == 1:
        soon = sorted(trial.came, key=trial.came.__getitem__)[:MAX_CANDIDATES]
        first.after = {one: Pair(1, 0, trial.came[one]) for one in soon}
        first.after.pop(trial.template_id, None)
        return
    for template, pair in list(first.after.items()):
        delay = trial.came.get(template)
        if delay is not None:
            pair.hits += 1
            pair.longest_s = max(pair.longest_s, delay)
            continue
        pair.misses += 1
        if pair.misses > max(MISSES_MOST * pair.hits, 1 if pair.hits >= TRIALS_LEAST else 0):
            del first.after[template]
    if not first.after and first.trials < TRIALS_LEAST:
        first.trials = 0


def _is_sure(pair: Pair, chance: float) -> bool:
    """Say whether a follower is expected, and not by chance."""
    if pair.hits < TRIALS_LEAST or pair.misses > MISSES_MOST * pair.hits:
        return False
    return chance <= 0 or pair.hits * -math.log(min(chance, 1.0)) >= CHANCE


def _patience(pair: Pair) -> float:
    """Return how long after the first a follower's absence is strange."""
    return max(LATE_LEAST_S, (pair.longest_s + 1) * LONGEST_TIMES)
