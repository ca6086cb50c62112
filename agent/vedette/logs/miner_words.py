"""Judge the words of a key: which of them may vary, and how much must be seen before they do.

A *key* is the tuple of tokens by which lines are one template: words, delimiters and ``ANY``.
Masks made most of it (``miner_masks``); what is left are words that vary although nothing in their
form says so (users, hosts, services). A place turns variable when several templates differ there
only, and ``needed`` says how many: few where the words look like names and much else is constant,
many where they look like what happened (``RUNNING``, ``started``) or where little else tells the
lines apart, never for opposites (``true`` and ``false``).

The thresholds were chosen on sixteen public systems at once; they are the same for every source.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import NamedTuple

from vedette.logs.miner_masks import ANY, GLUE

Key = tuple[bytes, ...]

#: Between variable parts these make a list of them.
_JOINS = frozenset((b",", b"|", GLUE))
_VARIABLE = _JOINS | {ANY}
#: Longest unit that is seen to repeat, and the shortest key in which it is looked for.
_MAX_UNIT, _UNIT_LEAST = 8, 6
#: What a variable part counts for, where a constant word counts 1.
ANY_COUNTS = 0.34
#: Positions of one key at which others may differ from it.
MAX_POSITIONS = 24
#: More than any number of different words.
NEVER = 1 << 30

# What a word is like, as bits.
WORDY, NAME, STATE, CAPITALS, OPPOSITE, NUMBERED, ABSENT = 1, 2, 4, 8, 16, 32, 64

_is_wordy = re.compile(rb"[A-Za-z\x80-\xff]{2}").search
_is_name = re.compile(rb"[/\\@0]|[a-z0-9]\.[a-z]").search
_is_state = re.compile(
    rb"[A-Z]+_[A-Z_]*|[A-Z]+(?:ED|ING)|[A-Za-z][a-z]+(?:ed|ing)|.*[.][A-Z]+_?[A-Z_]*"
).fullmatch
_is_capitals = re.compile(rb"[A-Z]+").fullmatch
_OPPOSITES = frozenset(
    b"true false yes no on off null none nil ok enabled disabled enable disable start stop begin"
    b" end enter exit started stopped success failure succeeded failed up down open close opened"
    b" closed add remove added removed".split()
)
_LONGEST_OPPOSITE = max(map(len, _OPPOSITES))
_ABSENT = frozenset((b"null", b"none", b"nil"))
#: What is in front of a name.
_NAMING = frozenset(
    b"= user users host from to for by as at in on named name service module device file domain"
    b" unit interface job task process program client server node pod container volume queue topic"
    b" table database index key path class group role schema bucket cluster namespace channel image"
    b" package thread worker plugin".split()
)

_TRAITS: dict[bytes, int] = {}
_HASHES: dict[bytes, int] = {}
_MAX_MEMORY = 8192
#: A Mersenne prime and a base of the polynomial by which keys are told apart.
_PRIME, _BASE = (1 << 61) - 1, 0x1E3779B97F4A7C15
_POWERS = [1]
for _ in range(256):
    _POWERS.append(_POWERS[-1] * _BASE % _PRIME)


def traits(word: bytes) -> int:
    """Return what a word is like, as bits; 0 for delimiters and variable parts."""
    found = _TRAITS.get(word)
    if found is None:
        found = 0
        if _is_wordy(word):
            found = WORDY | (STATE if _is_state(word) else NAME if _is_name(word) else 0)
            found |= CAPITALS if _is_capitals(word) else 0
            found |= NUMBERED if b"0" in word else 0
            if len(word) <= _LONGEST_OPPOSITE:
                lower = word.lower()
                found |= OPPOSITE if lower in _OPPOSITES else 0
                found |= ABSENT if lower in _ABSENT else 0
        if len(_TRAITS) >= _MAX_MEMORY:
            _TRAITS.clear()
        _TRAITS[word] = found
    return found


def collapse(tokens: Sequence[bytes]) -> tuple[Key, list[int]]:
    """Return the key of scanned tokens, and where in them each token of the key begins.

    A list of variable parts counts as one, however long it is, and so does a sequence of tokens
    with a variable part among them that repeats: ``node-1 0x1f <ok> node-2 0x3f <ok>``.
    """
    key: list[bytes] = []
    starts: list[int] = []
    for place, token in enumerate(tokens):
        if key:
            last = key[-1]
            if token == ANY:
                if last == ANY:
                    continue
                if last in _JOINS and len(key) > 1 and key[-2] == ANY:
                    key.pop()
                    starts.pop()
                    continue
            elif token == last and b"0" in token:
                continue
        key.append(token)
        starts.append(place)
    if len(key) >= _UNIT_LEAST and key.count(ANY) > 1:
        key, starts = _once(key, starts)
    return tuple(key), starts


def _once(key: list[bytes], starts: list[int]) -> tuple[list[bytes], list[int]]:
    """Keep the first of units that repeat."""
    kept: list[bytes] = []
    places: list[int] = []
    at, size = 0, len(key)
    while at < size:
        length = 0
        if key[at] in key[at + 2 : at + _MAX_UNIT + 1]:
            length = _repeats(key, at)
        if not length:
            kept.append(key[at])
            places.append(starts[at])
            at += 1
            continue
        unit = key[at : at + length]
        kept += unit
        places += starts[at : at + length]
        at += length
        while key[at : at + length] == unit:
            at += length
    return kept, places


def _repeats(key: list[bytes], at: int) -> int:
    """Return the length of the shortest unit that begins here and is there twice; 0 for none."""
    for length in range(2, min(_MAX_UNIT, (len(key) - at) // 2) + 1):
        # Comparing the ends first spares most slices.
        if (
            key[at] == key[at + length]
            and key[at + length - 1] == key[at + 2 * length - 1]
            and key[at : at + length] == key[at + length : at + 2 * length]
            and ANY in key[at : at + length]
        ):
            return length
    return 0


def runs(tokens: Sequence[bytes]) -> Key:
    """Return tokens with each list of variable parts as one."""
    key: list[bytes] = []
    for token in tokens:
        if token == ANY and key:
            if key[-1] == ANY:
                continue
            if key[-1] in _JOINS and len(key) > 1 and key[-2] == ANY:
                key.pop()
                continue
        key.append(token)
    return tuple(key)


def word_hash(word: bytes) -> int:
    """Return 61 bits that stand for a token, the same in every process."""
    found = _HASHES.get(word)
    if found is None:
        found = int.from_bytes(blake2b(word, digest_size=8).digest(), "little") % _PRIME
        if len(_HASHES) >= _MAX_MEMORY:
            _HASHES.clear()
        _HASHES[word] = found
    return found


def key_hash(key: Sequence[bytes]) -> int:
    """Return 61 bits that stand for a key."""
    total = 0
    for token in key:
        total = (total * _BASE + word_hash(token)) % _PRIME
    return total


_ANY_HASH = word_hash(ANY)


def _next(total: int, one: int) -> int:
    return (total * _BASE + one) % _PRIME


class Step(NamedTuple):
    """A key with the word at ``place`` variable, and with it the tokens ``first`` to ``last``."""

    place: int
    first: int
    last: int
    hash: int


class Near:
    """A key, and those that differ from it at one word, which they have variable."""

    __slots__ = ("_hashes", "_marks", "_steps", "hash", "key")

    def __init__(self, key: Key) -> None:
        self.key = key
        hashes = list(map(_HASHES.get, key))
        if None in hashes:
            hashes = [word_hash(token) for token in key]
        total = 0
        for one in hashes:
            total = (total * _BASE + one) % _PRIME  # type: ignore[operator]
        self._hashes: list[int] = hashes  # type: ignore[assignment]
        #: ``key_hash`` of the key.
        self.hash = total
        self._marks: list[int] | None = None
        self._steps: list[Step] | None = None

    @property
    def marks(self) -> list[int]:
        """``traits`` of each token."""
        if self._marks is None:
            self._marks = [traits(token) for token in self.key]
        return self._marks

    @property
    def weight(self) -> float:
        """How much of the key is known: constant words, and a little for each variable part."""
        return len(self.key) - self.marks.count(0) + ANY_COUNTS * self.key.count(ANY)

    def steps(self) -> list[Step]:
        """Return the keys with one word more variable."""
        if self._steps is None:
            self._steps = list(self._make_steps())
        return self._steps

    def _make_steps(self) -> Iterator[Step]:
        if self.weight < 2 - 1e-6:
            return  # what is left would say nothing
        key, hashes, total, left = self.key, self._hashes, self.hash, MAX_POSITIONS
        end = len(key) - 1
        prefix: list[int] = []
        for place, mark in enumerate(self.marks):
            if not mark or mark & OPPOSITE:
                continue
            if (place and key[place - 1] in _VARIABLE) or (
                place < end and key[place + 1] in _VARIABLE
            ):
                if not prefix:
                    prefix = list(accumulate(hashes, _next, initial=0))
                first, last = self._cut(place)
                power = _POWERS[end + 1 - last]
                front = (prefix[first] * _BASE + _ANY_HASH) * power
                step = Step(place, first, last, (front + total - prefix[last] * power) % _PRIME)
            else:
                change = (_ANY_HASH - hashes[place]) * _POWERS[end - place]
                step = Step(place, place, place + 1, (total + change) % _PRIME)
            yield step
            left -= 1
            if not left:
                return

    def with_all(self, places: Sequence[int]) -> int:
        """Return the hash of the key with variable parts at these places."""
        total, end = self.hash, len(self.key) - 1
        for place in places:
            total += (_ANY_HASH - self._hashes[place]) * _POWERS[end - place]
        return total % _PRIME

    def _cut(self, place: int) -> tuple[int, int]:
        """Return which tokens become one variable part when the word at ``place`` does."""
        key, size = self.key, len(self.key)
        first, last = place, place + 1
        if first > 0 and key[first - 1] == ANY:
            first -= 1
        elif first > 1 and key[first - 2] == ANY and key[first - 1] in _JOINS:
            first -= 2
        if last < size and key[last] == ANY:
            last += 1
        elif last + 1 < size and key[last + 1] == ANY and key[last] in _JOINS:
            last += 2
        return first, last


def needed(weight: float, place: int, before: bytes, words: Collection[bytes]) -> int:
    """Return how many different words at a place make it variable.

    ``weight`` is what else of the key is known, ``before`` the token in front of the place.
    """
    marks = [traits(word) for word in words]
    if weight < 1 or any(mark & OPPOSITE for mark in marks):
        return NEVER
    if all(mark & NAME for mark in marks):
        if place == 0:
            return 3 if weight >= 4 else 4 if weight >= 3 else 8
        if all(mark & NUMBERED for mark in marks):
            return 3 if weight >= 2 else 5
        return 2 if weight >= 2 else 4
    if any(mark & STATE for mark in marks):
        least = 7 if weight >= 4 else 12
    elif place and before in _NAMING and weight >= 2.6:
        least = 3
    else:
        least = 4 if weight >= 4 else 5 if weight >= 3 else 7 if weight >= 2 else 10
    if any(mark & CAPITALS for mark in marks):
        least = max(least, 5)
    return least if place else 2 * least


def absorbs(weight: float, mark: int) -> bool:
    """Say whether a variable part takes a word, of these traits, that it never held."""
    return bool(weight >= 2 or mark & NAME)


def looser(near: Near) -> Iterator[tuple[Key, int, tuple[int, ...]]]:
    """Yield looser keys: with all names variable, then with all values variable.

    With each, how many keys must share it before it is a template, and which places it loosened
    (none where places moved).
    """
    key, marks = near.key, near.marks
    places = [place for place, mark in enumerate(marks) if mark & NAME and place]
    if places:
        words = len(key) - marks.count(0) - len(places)
        loose = _loosen(key, places)
        if words + ANY_COUNTS * (loose.count(ANY) - len(places)) >= 2 - 1e-6:
            yield loose, 2, tuple(places) if len(loose) == len(key) else ()
    places = _values(key, marks)
    if places:
        words = len(key) - marks.count(0) - len(places)
        loose = _loosen(key, places)
        if words + ANY_COUNTS * loose.count(ANY) >= 3:
            yield loose, 3, tuple(places) if len(loose) == len(key) else ()


def _loosen(key: Key, places: Sequence[int]) -> Key:
    tokens = list(key)
    for place in places:
        tokens[place] = ANY
    return runs(tokens)


def _values(key: Key, marks: Sequence[int]) -> list[int]:
    """Return the places of words behind ``=`` and of words that are all between quotes."""
    found = []
    if b"=" in key:
        for place in range(1, len(key)):
            mark = marks[place]
            if mark and key[place - 1] == b"=" and (not mark & OPPOSITE or mark & ABSENT):
                found.append(place)
    for quote in (b'"', b"'"):
        if quote not in key:
            continue
        quotes = [place for place, token in enumerate(key) if token == quote]
        for first, last in zip(quotes[::2], quotes[1::2], strict=False):
            inner = marks[first + 1 : last]
            if inner and all(inner) and not inner[0] & CAPITALS:
                found += range(first + 1, last)
    return sorted(set(found)) if found else found
