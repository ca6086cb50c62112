"""Keep the templates of a miner findable: by key, by looser keys, by places that hold words."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from vedette.logs.miner_masks import ANY
from vedette.logs.miner_text import Face
from vedette.logs.miner_words import Key, Near, absorbs, key_hash, looser

#: Ways in which the words of templates vary that are tried on a new key.
_PATTERNS, _PATTERNS_BUT_ONE = 64, 8


class Node:
    """A template in the making."""

    __slots__ = ("birth", "count", "example", "face", "hash", "id", "into", "key", "looks",
                 "pieces", "version", "wordy")  # fmt: skip

    def __init__(self, number: int, key: Key, mark: int, example: bytes) -> None:
        self.id = number
        self.key = key
        self.hash = self.birth = mark
        self.count = 0
        #: The template that this one became part of.
        self.into: Node | None = None
        self.example = example
        self.face: Face | None = None
        #: ``miner_text.pieces`` of the face, once asked for.
        self.pieces: tuple[list[bytes], list[str]] | None = None
        self.version = self.looks = 0
        #: Places of the key that hold words.
        self.wordy: tuple[int, ...] = ()


class Index:
    """Finds keys that differ at one place, or share a looser key, among those of templates.

    All of it follows from the templates alone, so a miner that is restored builds it anew. Entries
    of keys that are no template's any more are dropped when met, and all at once by ``tidy``.
    """

    def __init__(self, alive: dict[int, Node]) -> None:
        self._alive = alive
        self._differing: dict[int, tuple[int, bytes] | dict[int, bytes]] = {}
        self._sharing: dict[int, set[int]] = {}
        self._entries = 0
        self._varying: dict[int, dict[tuple[int, ...], int]] = {}
        self._patterns: dict[int, list[tuple[int, ...]]] = {}

    def differing(self, mark: int) -> list[tuple[int, bytes]]:
        """Return the keys that have a word where this one varies, and their words."""
        found = self._differing.get(mark)
        if found is None:
            return []
        pairs = (found,) if isinstance(found, tuple) else found.items()
        return [(one, word) for one, word in pairs if one in self._alive]

    def add(self, looser_mark: int, mark: int, word: bytes) -> list[tuple[int, bytes]]:
        """Note what a key would be with a word variable; return all that would be the same."""
        like = [pair for pair in self.differing(looser_mark) if pair[0] != mark]
        like.append((mark, word))
        self._differing[looser_mark] = like[0] if len(like) == 1 else dict(like)
        self._entries += 1
        return like

    def share(self, looser_mark: int, mark: int) -> set[int]:
        """Note a looser key of a key; return the keys that share it."""
        found = {one for one in self._sharing.get(looser_mark, ()) if one in self._alive}
        found.add(mark)
        self._sharing[looser_mark] = found
        self._entries += 1
        return found

    def enter(self, near: Near) -> None:
        """Note all that ``add`` and ``share`` would for a key."""
        for step in near.steps():
            self.add(step.hash, near.hash, near.key[step.place])
        for key, _, _ in looser(near):
            self.share(key_hash(key), near.hash)

    def tidy(self) -> None:
        """Drop what is left of keys that are gone, when that may be more than half."""
        if self._entries > 64 * len(self._alive) + 1024:
            self.rebuild()

    def rebuild(self) -> None:
        """Note all anew."""
        self._differing.clear()
        self._sharing.clear()
        self._entries = 0
        for node in self._alive.values():
            self.enter(Near(node.key))

    def worded(self, near: Near) -> Node | None:
        """Return a template of which words are known to vary where this key's words differ."""
        found: Node | None = None
        for places in islice(self.patterns(len(near.key)), _PATTERNS):
            if all(near.marks[place] or near.key[place] == ANY for place in places):
                node = self._alive.get(near.with_all(places))
                if node and node.wordy == places and (found is None or node.id < found.id):
                    found = node
        return found

    def match(self, near: Near) -> Node | None:
        """Return a template whose variable parts take the words that a key has instead."""
        weight = near.weight - 1
        for place, first, last, mark in near.steps():
            node = self._alive.get(mark)
            if node is not None and absorbs(weight, near.marks[place]):
                if last - first == 1:
                    self.vary(node, {*node.wordy, place})
                return node
        for key, _, _ in looser(near):
            node = self._alive.get(key_hash(key))
            if node is not None:
                return node
        return self._worded_but_one(near)

    def _worded_but_one(self, near: Near) -> Node | None:
        """Return a template of whose words one more differs than is known to vary."""
        for places in islice(self.patterns(len(near.key)), _PATTERNS_BUT_ONE):
            weight = near.weight - 1 - len(places)
            if not all(near.marks[place] or near.key[place] == ANY for place in places):
                continue
            for step in near.steps():
                if step.last - step.first > 1 or step.place in places:
                    continue
                node = self._alive.get(near.with_all((*places, step.place)))
                if node and node.wordy == places and absorbs(weight, near.marks[step.place]):
                    self.vary(node, {*places, step.place})
                    return node
        return None

    def patterns(self, length: int) -> list[tuple[int, ...]]:
        """Return which places hold words in templates with a key of this length."""
        return self._patterns.get(length, [])

    def vary(self, node: Node, places: Iterable[int]) -> None:
        """Set which variable parts of a template hold words."""
        wordy, length = tuple(sorted(places)), len(node.key)
        if wordy == node.wordy:
            return
        counts = self._varying.setdefault(length, {})
        if node.wordy:
            counts[node.wordy] -= 1
            if not counts[node.wordy]:
                del counts[node.wordy]
        if wordy:
            counts[wordy] = counts.get(wordy, 0) + 1
        node.wordy = wordy
        self._patterns[length] = sorted(counts)


def root(node: Node) -> Node:
    """Return the template that a node is part of, itself mostly."""
    into = node
    while into.into is not None:
        into = into.into
    if node.into is not None:
        node.into = into
    return into
