"""Learn how often each template occurs in a session, and say how strange a count vector is.

Idea: a tree of dependences between counts (Chow and Liu 1968). Per session a row of counts, each in
one of ``BINS`` bins; the tree links every template to the one that tells most about it (the maximum
spanning tree of mutual information), so that "three received, three stored" is learned as two
counts that agree, and a session with ten replicas is strange once, not for each template. Given its
parent's count, a template's count is as strange as all counts that are at most as likely are
together: a tail, so that what varies freely (lines served) says nothing.

What is not in the tree: templates beyond the ``MAX_COLUMNS`` most prevalent, which are as strange
as seldom, and those never seen, which are as strange as sessions with a first time are rare (Good
and Turing). A signature (the exact multiset of templates) that is common is ordinary, whatever the
tree makes of it; so is any that was seen thrice, where all that is learned is known to be ordinary
(``trusted``). The score is the strangest count, and half of what others have above ``ASIDE``.

Learned from a reservoir of sessions, with a deterministic generator; the tree is fitted anew when
there are twice as many and later once per reservoir. Cost: 5 to 10 µs to learn a session, some
30 µs to judge one, a fit of 4,096 sessions some 50 ms; at most ``size`` times 0.2 KiB.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Lower ends of the bins of counts: one each up to 6, then wider.
EDGES = (0, 1, 2, 3, 4, 5, 6, 7, 10, 16, 32, 100)
BINS = len(EDGES)
MAX_COLUMNS = 48
#: Templates whose prevalence is kept, and signatures.
MAX_TEMPLATES, MAX_SIGNATURES = 4096, 4096
#: Sessions to learn from before there is an opinion.
LEAST = 50
#: Signatures seen no more often say nothing.
SEEN_TWICE = 2
#: Distinct sessions that the tree is fitted to at most; more are thinned out.
FIT_MOST = 8192
#: Weight, in sessions, of the counts' own distribution in a table given the parent.
PRIOR = 0.5
#: Part of a table's entropy that is taken off: what varies freely has to be the stranger.
FREE = 1.5
#: Nats that are no news in a second count.
ASIDE = 3.0
#: What is in fewer sessions than this is seldom.
SELDOM = 0.2
#: Least mutual information in nats that makes a link.
LINK = 0.002
_SHIFT, _BIN = np.uint64(4), np.uint64(15)


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a session is strange: so many nats, of which template, what, how often it occurred."""

    score: float
    template_id: int
    what: str
    count: int = 0


class ProfileState(msgspec.Struct, frozen=True, array_like=True):
    """What a ``CountProfile`` knows."""

    sessions: int
    sample: list[bytes]
    prevalence: dict[int, int]
    signatures: dict[int, int]
    chance: int


class CountProfile:
    """The count vectors of one kind of session."""

    def __init__(self, size: int = 4096, *, trusted: bool = False) -> None:
        self.size, self.trusted = size, trusted
        self.sessions = 0
        self._sample: list[bytes] = []
        self._prevalence: dict[int, int] = {}
        self._signatures: dict[int, int] = {}
        self._chance = 1
        self._columns: dict[int, int] = {}
        self._ids: list[int] = []
        self._parents = np.zeros(0, dtype=np.intp)
        self._tables = np.zeros((0, BINS, BINS), dtype=np.float32)
        self._next_fit = LEAST
        #: Nats that a template is worth more when it is there and seldom is.
        self.weights: dict[int, float] = {}
        self._once = 0

    def learn(self, counts: Mapping[int, int]) -> None:
        """Learn a session that has ended."""
        self.sessions += 1
        for template in counts:
            if template not in self._prevalence and len(self._prevalence) >= MAX_TEMPLATES:
                continue
            self._prevalence[template] = self._prevalence.get(template, 0) + 1
        self._count_signature(signature(counts))
        self._keep(_packed(counts))
        if self.sessions >= self._next_fit:
            self.fit()

    def judge(self, counts: Mapping[int, int]) -> tuple[float, list[Reason]]:
        """Return how strange a session's counts are, in nats, and why, the strangest first."""
        if self.sessions < LEAST:
            return 0.0, []
        if not len(self._parents):
            self.fit()
        reasons = self._from_tree(counts)
        for template, count in counts.items():
            if template not in self._columns:
                reasons.append(self._from_prevalence(template, count))
        reasons.sort(key=lambda one: -one.score)
        if not reasons:
            return 0.0, []
        score = reasons[0].score
        score += sum(max(one.score - ASIDE, 0) for one in reasons[1:]) / 2
        return min(score, self.commonness(counts)), reasons

    def commonness(self, counts: Mapping[int, int]) -> float:
        """Return the surprise of a session's exact signature: of all that are at most as common."""
        seen = self._signatures.get(signature(counts), 0)
        # A signature seen twice may be what is wrong, twice.
        if seen <= SEEN_TWICE:
            return math.inf
        return ASIDE if self.trusted else math.log(self.sessions / seen)

    def fit(self) -> None:
        """Fit the tree to the sessions kept."""
        self._next_fit = 2 * self.sessions
        if self.sessions >= self.size:
            self._next_fit = self.sessions + self.size
        prevalent = sorted(self._prevalence, key=lambda one: (-self._prevalence[one], one))
        self._ids = prevalent[:MAX_COLUMNS]
        self._columns = {one: at for at, one in enumerate(self._ids)}
        self._once = sum(1 for one in self._prevalence.values() if one == 1)
        rows, weights = self._matrix()
        joint = _joint(rows, weights)
        self._parents = _tree(joint)
        self._tables = _surprises(joint, self._parents)

    def save(self) -> ProfileState:
        """Return what was learned."""
        return ProfileState(
            self.sessions, self._sample, self._prevalence, self._signatures, self._chance
        )

    def restore(self, state: ProfileState) -> None:
        """Take what was learned."""
        self.sessions, self._chance = state.sessions, state.chance
        self._sample = list(state.sample[: self.size])
        self._prevalence = dict(state.prevalence)
        self._signatures = dict(state.signatures)
        if self.sessions >= LEAST:
            self.fit()

    # ------------------------------------------------------------ judging

    def _from_tree(self, counts: Mapping[int, int]) -> list[Reason]:
        bins = np.zeros(len(self._ids), dtype=np.intp)
        for template, count in counts.items():
            column = self._columns.get(template)
            if column is not None:
                bins[column] = bisect_right(EDGES, count) - 1
        above = np.where(self._parents >= 0, bins[self._parents], 0)
        scores = self._tables[np.arange(len(bins)), above, bins]
        reasons = []
        for column in np.flatnonzero(scores > 1.0).tolist():
            template = self._ids[column]
            count = counts.get(template, 0)
            what = "is missing" if not count else "is there"
            if count > 1 or (count and self._prevalence[template] > self.sessions / 2):
                what = "count"
            score = float(scores[column]) + self._weight(template, count)
            reasons.append(Reason(score, template, what, count))
        return reasons

    def _from_prevalence(self, template: int, count: int) -> Reason:
        seen = self._prevalence.get(template, 0)
        score = math.log((self.sessions + 1) / ((seen or self._once) + 0.5))
        score += self._weight(template, count)
        return Reason(score, template, "is there" if seen else "never seen", count)

    def _weight(self, template: int, count: int) -> float:
        seldom = self._prevalence.get(template, 0) < SELDOM * self.sessions
        return self.weights.get(template, 0.0) if count and seldom else 0.0

    # ------------------------------------------------------------ learning

    def _count_signature(self, key: int) -> None:
        signatures = self._signatures
        signatures[key] = signatures.get(key, 0) + 1
        if len(signatures) > MAX_SIGNATURES:
            self._signatures = {one: seen for one, seen in signatures.items() if seen > 1}
            if len(self._signatures) > MAX_SIGNATURES * 3 // 4:
                self._signatures = {one: n // 2 for one, n in self._signatures.items() if n > 3}

    def _keep(self, row: bytes) -> None:
        """Put a session into the reservoir; when it is full, in place of another, or not."""
        if len(self._sample) < self.size:
            self._sample.append(row)
            return
        self._chance = (self._chance * 6364136223846793005 + 1442695040888963407) % 2**64
        place = (self._chance >> 33) % max(min(self.sessions, 4 * self.size), 1)
        if place < self.size:
            self._sample[place] = row

    def _matrix(self) -> tuple[NDArray[np.uint8], Floats]:
        """Return the distinct rows of bins, and how often each occurred."""
        distinct = Counter(self._sample)
        kept = list(distinct)[:: max(len(distinct) // FIT_MOST, 1)]
        pairs = np.frombuffer(b"".join(kept), dtype=np.uint64)
        at = np.repeat(np.arange(len(kept)), [len(one) // 8 for one in kept])
        ids = np.array(self._ids, dtype=np.uint64)
        order = np.argsort(ids)
        place = np.searchsorted(ids[order], pairs >> _SHIFT).clip(max=len(ids) - 1)
        column = order[place]
        inside = ids[column] == pairs >> _SHIFT
        rows = np.zeros((len(kept), len(ids)), dtype=np.uint8)
        rows[at[inside], column[inside]] = (pairs & _BIN)[inside]
        return rows, np.array([distinct[one] for one in kept], dtype=np.float32)


def _packed(counts: Mapping[int, int]) -> bytes:
    """Return a row of the sample: template and bin in eight bytes, in the order of templates."""
    pairs = [(one << 4) + bisect_right(EDGES, counts[one]) - 1 for one in sorted(counts)]
    return array("Q", pairs).tobytes()


def signature(counts: Mapping[int, int]) -> int:
    """Return a number for the exact multiset of templates; the same in every process."""
    return hash(tuple(sorted(counts.items())))


def _joint(rows: NDArray[np.uint8], weights: Floats) -> Floats:
    """Return how often two templates' counts occur together: (columns, BINS, columns, BINS)."""
    columns = rows.shape[1]
    joint = np.zeros((columns * BINS, columns * BINS), dtype=np.float32)
    for start in range(0, len(rows), 512):
        some = rows[start : start + 512, :, None].astype(np.intp)
        hot = np.zeros((len(some), columns, BINS), dtype=np.float32)
        np.put_along_axis(hot, some, 1, axis=2)
        flat = hot.reshape(len(some), columns * BINS)
        joint += (flat * weights[start : start + 512, None]).T @ flat
    return joint.reshape(columns, BINS, columns, BINS)


def _tree(joint: Floats) -> NDArray[np.intp]:
    """Return each column's parent in the maximum spanning tree of mutual information; -1: none."""
    columns = len(joint)
    parents = np.full(columns, -1, dtype=np.intp)
    if not columns:
        return parents
    information = _information(joint)
    best, source = information[0].copy(), np.zeros(columns, dtype=np.intp)
    inside = np.zeros(columns, dtype=bool)
    inside[0] = True
    for _ in range(columns - 1):
        at = int(np.where(inside, -1, best).argmax())
        inside[at] = True
        if best[at] > LINK:
            parents[at] = source[at]
        better = information[at] > best
        best, source = np.where(better, information[at], best), np.where(better, at, source)
    return parents


def _information(joint: Floats) -> Floats:
    """Return the mutual information of all pairs of columns, in nats."""
    columns = len(joint)
    own = joint[np.arange(columns), :, np.arange(columns), :].diagonal(axis1=1, axis2=2)
    total = max(float(own[0].sum()), 1.0)
    found = np.zeros((columns, columns), dtype=np.float32)
    for column in range(columns):
        both = joint[column].transpose(1, 0, 2)
        apart = own[column][None, :, None] * own[:, None, :] / total
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(both > 0, both * np.log(both / apart), 0)
        found[column] = terms.sum(axis=(1, 2)) / total
    return found


def _surprises(joint: Floats, parents: NDArray[np.intp]) -> Floats:
    """Return the surprise of each count given the parent's: (columns, BINS, BINS)."""
    columns = len(parents)
    tables = np.zeros((columns, BINS, BINS), dtype=np.float32)
    for column in range(columns):
        own = joint[column, np.arange(BINS), column, np.arange(BINS)]
        alone = (own + PRIOR / BINS) / (own.sum() + PRIOR)
        if parents[column] < 0:
            given = np.broadcast_to(alone, (BINS, BINS))
        else:
            both = joint[parents[column], :, column, :]
            given = (both + PRIOR * alone) / (both.sum(axis=1, keepdims=True) + PRIOR)
        entropy = -(given * np.log(np.maximum(given, 1e-12))).sum(axis=1, keepdims=True)
        tables[column] = -np.log(_tails(given)) - np.float32(FREE) * entropy
    return np.maximum(tables, np.float32(0))


def _tails(given: Floats) -> Floats:
    """Return for each probability of a row the sum of those that are at most as large."""
    order = np.argsort(given, axis=1, kind="stable")
    ordered = np.take_along_axis(given, order, axis=1)
    sums = np.cumsum(ordered, axis=1)
    # Equal probabilities share the sum up to the last of them.
    for at in range(given.shape[1] - 2, -1, -1):
        same = ordered[:, at] >= ordered[:, at + 1] * (1 - 1e-5)
        sums[:, at] = np.where(same, sums[:, at + 1], sums[:, at])
    tails = np.empty_like(given)
    np.put_along_axis(tails, order, sums, axis=1)
    return np.clip(tails, 1e-12, 1.0).astype(np.float32)
