"""Learn the templates of log lines as they come: bytes in, template id out, one pass, bounded.

The idea: a line is folded (digits to ``0``) and looked up in a cache, which answers nearly every
line. Otherwise it is cut into a key (``miner_masks``, ``miner_words``), words and variable parts.
Keys are templates until words turn out to vary: when enough templates differ at one place only, or
share a looser key, they become one, whose id is the oldest's; the other ids are aliases from then
on. So ids given out stay valid and mean what ``resolve`` says, and no template is ever split.

Related: Drain (He et al. 2017) keeps a tree of tokens and a similarity threshold; here there is
neither: masks decide most, and a word becomes variable by how many others are seen in its place
(``miner_words.needed``), which keeps ``started`` and ``stopped`` apart in otherwise equal lines.

What a miner answers is a function of the lines it was given, in their order, and of nothing else.
The cache of lines is no state, as it only repeats what the rest would say; the rest is saved by
``to_bytes``.

Bounds: at most ``Settings.max_templates``. With little room left a key must be met twice to become
a template, and with none the least used templates are given up; the lines of both count for
``OVERFLOW``. ``tests/bench/logs_miner.py`` measures memory and time for hostile input.

Cost: about 1 µs for a line that is in the cache, 40 to 120 µs for one that is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from heapq import nsmallest

from vedette.logs import miner_text
from vedette.logs.miner_index import Index, Node, root
from vedette.logs.miner_known import Known, pairs
from vedette.logs.miner_masks import ANY, fold_all
from vedette.logs.miner_state import VERSION, MinerState, NodeState, pack, unpack
from vedette.logs.miner_template import Settings, Template
from vedette.logs.miner_tokens import scan
from vedette.logs.miner_words import Key, Near, collapse, key_hash, looser, needed

#: Id of the template that stands for all lines whose own template was given up.
OVERFLOW = 0
#: Lines of different keys from which a template's text is learned, beside the 2nd, 4th, 8th, ...
_LOOKS = 16
#: Bytes of a template's first line that are kept to write its text when somebody asks.
_EXAMPLE = 1024


class Miner:
    """Learns templates. One thread; time and randomness play no part."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.overflowed = 0
        #: New templates that were dropped from ``fresh`` because nobody fetched them.
        self.unfetched = 0
        self._overflow = Node(OVERFLOW, (ANY,), 0, b"")
        self._overflow.face = (ANY,)
        self._next = OVERFLOW + 1
        self._alive: dict[int, Node] = {}
        self._by_id: dict[int, Node] = {}
        self._key_bytes = 0
        self._known = Known(self.settings.known_keys)
        self._aliases: dict[int, Node] = {}
        self._fresh: dict[int, None] = {}
        #: Ids that became part of another template since somebody asked.
        self._merged: dict[int, int] = {}
        #: Counts what changed in what is saved, other than the numbers of lines.
        self.changes = 0
        self._index = Index(self._alive)
        self._cache: dict[bytes, Node] = {}
        self._cache_before: dict[bytes, Node] = {}
        self._cached_bytes = 0

    # ------------------------------------------------------------ lines

    def learn(self, lines: Sequence[bytes]) -> list[int]:
        """Return the template id of each line, and learn from them."""
        cached, found = self._cache.get, []
        for folded, line in zip(fold_all(lines), lines, strict=True):
            node = cached(folded)
            if node is None:
                node = self._miss(folded, line)
                cached = self._cache.get  # there may be a new generation
            elif node.into is not None:
                node = root(node)
            count = node.count = node.count + 1
            if not count & (count - 1):
                self._look(node, line)
            found.append(node.id)
        return found

    def learn_one(self, line: bytes) -> int:
        """Return the template id of a line, and learn from it."""
        return self.learn((line,))[0]

    # ------------------------------------------------------------ templates

    def __len__(self) -> int:
        return len(self._by_id)

    def templates(self) -> list[Template]:
        """Return all templates, oldest first; that for given up ones only if there are any."""
        extra = [self._overflow] if self._overflow.count else []
        return [self._template(node) for node in (*extra, *self._sorted())]

    def template(self, number: int) -> Template:
        """Return the template that an id, old or new, stands for now; KeyError if it never was."""
        return self._template(self._node(number))

    def pattern(self, number: int) -> str:
        """Return the text of a template with ``<*>`` for all that varies, as parsers write it."""
        return miner_text.write(self._face(self._node(number)), typed=False)

    def resolve(self, number: int) -> int:
        """Return the id that an id stands for now; KeyError if it was never given out."""
        return self._node(number).id

    @property
    def aliases(self) -> dict[int, int]:
        """Ids that became part of another template, and its id now."""
        return {number: root(node).id for number, node in self._aliases.items()}

    @property
    def counts(self) -> dict[int, int]:
        """Lines by template id."""
        extra = {OVERFLOW: self._overflow.count} if self._overflow.count else {}
        return extra | {node.id: node.count for node in self._sorted()}

    def fresh(self) -> list[int]:
        """Return the ids of templates that are new since the last call, oldest first."""
        found = [number for number in self._fresh if number in self._by_id]
        self._fresh.clear()
        return found

    def merged(self) -> list[tuple[int, str]]:
        """Return what became part of another template since the last call: its id and its uid."""
        found = [(number, _uid(birth)) for number, birth in self._merged.items()]
        self._merged.clear()
        return found

    def values(self, line: bytes, number: int) -> list[bytes]:
        """Return what a line of a template holds in its slots; empty if it is no line of it."""
        node = self._node(number)
        if node.pieces is None:
            node.pieces = miner_text.pieces(self._face(node))
        found = miner_text.quick_values(line, *node.pieces)
        return miner_text.values(line, node.key, self._face(node)) if found is None else found

    # ------------------------------------------------------------ state

    def to_bytes(self) -> bytes:
        """Return all that was learned. A miner made of it goes on as this one would."""
        nodes = tuple(
            NodeState(node.id, node.birth, node.key, node.count, node.looks, node.version,
                      node.wordy, node.example, node.face)
            for node in self._sorted()
        )  # fmt: skip
        known, known_before, met, met_before = self._known.save()
        return pack(
            MinerState(
                VERSION, self._next, self._overflow.count, self.overflowed, self.unfetched, nodes,
                known, known_before, pairs(self._aliases), met, met_before, tuple(self._fresh),
            )
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, data: bytes, settings: Settings | None = None) -> Miner:
        """Return the miner that ``to_bytes`` was asked of; ``ValueError`` for other bytes."""
        state = unpack(data)
        miner = cls(settings)
        for one in state.nodes:
            node = Node(one.id, one.key, key_hash(one.key), one.example[:_EXAMPLE])
            node.birth, node.count, node.face = one.birth, one.count, one.face
            node.looks, node.version = one.looks, one.version
            miner._by_id[node.id] = miner._alive[node.hash] = node
            miner._key_bytes += _size(node.key)
            miner._index.vary(node, one.wordy)
        by_id = {**miner._by_id, OVERFLOW: miner._overflow}
        miner._known.restore(by_id, state.known, state.known_before, state.met, state.met_before)
        miner._aliases = {number: by_id[into] for number, into in state.aliases}
        miner._fresh = dict.fromkeys(state.fresh)
        miner._next, miner._overflow.count = state.next_id, state.overflow
        miner.overflowed, miner.unfetched = state.overflowed, state.unfetched
        miner._index.rebuild()
        return miner

    # ------------------------------------------------------------ a line that is not in the cache

    def _miss(self, folded: bytes, line: bytes) -> Node:
        node = self._cache_before.get(folded)
        node = root(node) if node is not None else self._place(folded, line)
        settings, size = self.settings, len(folded)
        if size <= settings.cache_line_bytes and node is not self._overflow:
            cache = self._cache
            if len(cache) >= settings.cache_lines or self._cached_bytes >= settings.cache_bytes:
                self._cache_before = cache
                cache = self._cache = {}
                self._cached_bytes = 0
            cache[folded] = node
            self._cached_bytes += size
        return node

    def _place(self, folded: bytes, line: bytes) -> Node:
        """Return the template of a line, a new one if it has none."""
        near = Near(collapse(scan(folded))[0])
        mark = near.hash
        node = self._known.owner(mark) or self._alive.get(mark)
        if node is not None:
            return node
        node = self._index.worded(near)
        if node is None:
            if self._is_full() and not self._known.meet(mark):
                return self._overflow
            node = self._index.match(near)
            if node is None:
                return self._create(near, line)
        self._know(mark, node)
        if node.looks < _LOOKS:
            node.looks += 1
            self._look(node, line)
        return node

    def _is_full(self) -> bool:
        """Say whether there is so little room that a key must be seen twice to be a template."""
        settings = self.settings
        return (
            8 * len(self._alive) >= 7 * settings.max_templates
            or 8 * self._key_bytes >= 7 * settings.max_key_bytes
        )

    def _create(self, near: Near, line: bytes) -> Node:
        node = Node(self._next, near.key, near.hash, line[:_EXAMPLE])
        made = self._settle(node, near)
        if made is not node:
            self._index.tidy()
            return made  # it took others to see that it is nothing new
        self._next += 1
        self._by_id[node.id] = node
        self.changes += 1
        if len(self._fresh) >= self.settings.max_fresh:
            del self._fresh[next(iter(self._fresh))]
            self.unfetched += 1
        self._fresh[node.id] = None
        settings = self.settings
        if len(self._alive) > settings.max_templates or self._key_bytes > settings.max_key_bytes:
            self._evict(node)
        self._index.tidy()
        return node

    # ------------------------------------------------------------ templates become one

    def _settle(self, node: Node, near: Near) -> Node:
        """Make a template findable by its key, and merge what now turns out to be one."""
        alive, index, mark = self._alive, self._index, near.hash
        other = alive.get(mark)
        if other is not None:
            return self._merge([other, node], near.key)
        alive[mark] = node
        self._key_bytes += _size(node.key)
        if near.weight >= 2:
            stricter = [alive[one] for one, _ in index.differing(mark) if one != mark]
            if stricter:
                return self._merge([node, *stricter], near.key)
        weight = near.weight - 1 + 1e-6
        for place, first, last, looser_mark in near.steps():
            like = index.add(looser_mark, mark, near.key[place])
            words = {word for _, word in like}
            if len(words) > 1:
                before = near.key[place - 1] if place else b""
                if len(words) >= needed(weight, place, before, words):
                    key = (*near.key[:first], ANY, *near.key[last:])
                    wordy = (place,) if last - first == 1 else ()
                    return self._merge([alive[one] for one, _ in like], key, wordy)
        for key, least, places in looser(near):
            looser_mark = key_hash(key)
            other = alive.get(looser_mark)
            if other is not None and other is not node:
                return self._merge([other, node], key)
            marks = index.share(looser_mark, mark)
            if len(marks) >= least:
                return self._merge([alive[one] for one in marks], key, places)
        return node

    def _merge(self, nodes: Iterable[Node], key: Key, wordy: Sequence[int] = ()) -> Node:
        """Make one template, the oldest, of several, with a key that is looser than theirs."""
        parts = sorted(set(nodes), key=lambda one: one.id)
        places = set(wordy)
        faces = []
        for node in parts:
            faces.append(miner_text.fit(self._face(node), node.key, key))
            if len(node.key) == len(key):
                places |= set(node.wordy)
            self._retire(node, known=True)
        into = parts[0]
        for node in parts[1:]:
            self._absorb(node, into)
        into.key, into.face, into.example = key, reduce(miner_text.join, faces), b""
        into.pieces = None
        into.version += 1
        near = Near(key)
        into.hash = near.hash
        self._index.vary(into, {place for place in places if key[place] == ANY})
        return self._settle(into, near)

    def _retire(self, node: Node, *, known: bool) -> None:
        """Take a template's key away."""
        if self._alive.get(node.hash) is node:
            del self._alive[node.hash]
            self._key_bytes -= _size(node.key)
        self._index.vary(node, ())
        if known:
            self._know(node.hash, node)

    def _absorb(self, node: Node, into: Node) -> None:
        """Make a template part of another."""
        into.count += node.count
        into.looks = max(into.looks, node.looks)
        node.into, node.key, node.face, node.pieces, node.example = into, (), None, None, b""
        self.changes += 1
        known = self._by_id.pop(node.id, None) is not None
        if known and len(self._merged) < self.settings.max_aliases:
            self._merged[node.id] = node.birth
        if not known or into is self._overflow:
            return  # it never was one, or is unknown from now on, which means the same
        if len(self._aliases) >= self.settings.max_aliases:
            del self._aliases[next(iter(self._aliases))]
        self._aliases[node.id] = node

    def _evict(self, keep: Node) -> None:
        """Give up the least used templates; of those used equally, the oldest."""
        number = 1 + len(self._alive) // 16
        others = (node for node in self._alive.values() if node is not keep)
        for node in nsmallest(number, others, key=lambda one: (one.count, one.id)):
            self._retire(node, known=False)
            self._absorb(node, self._overflow)
            self.overflowed += 1
        self._known.disown(self._overflow)
        self._forget_lines()

    def _know(self, mark: int, node: Node) -> None:
        """Remember that a key which is no template's own belongs to one."""
        if self._known.belongs(mark, node):
            # What was forgotten may be placed anew; the cache must not say otherwise.
            self._forget_lines()

    def _forget_lines(self) -> None:
        self._cache_before.clear()
        self._cache.clear()
        self._cached_bytes = 0

    # ------------------------------------------------------------ what a template looks like

    def _look(self, node: Node, line: bytes) -> None:
        """Learn from one more line how a template is written."""
        if node is self._overflow or (node.face is None and node.count <= 1):
            return
        key, elements, _ = miner_text.read(line)
        spans = miner_text.align(key, node.key)
        if spans is None:
            return
        own = tuple(b"".join(elements[first:last]) for first, last in spans)
        before = self._face(node)
        face = miner_text.join(before, own)
        if face != before:
            node.face, node.pieces = face, None
            node.version += 1
            self.changes += 1

    def _face(self, node: Node) -> miner_text.Face:
        if node.face is None:
            key, elements, _ = miner_text.read(node.example)
            node.face = miner_text.fit(elements, key, node.key)
        return node.face

    def _template(self, node: Node) -> Template:
        face = self._face(node)
        return Template(node.id, _uid(node.birth), miner_text.write(face), node.count,
                        miner_text.slots(face), node.version)  # fmt: skip

    def _node(self, number: int) -> Node:
        node = self._by_id.get(number) or self._aliases.get(number)
        if node is not None:
            return root(node)
        if not OVERFLOW <= number < self._next:
            raise KeyError(number)
        return self._overflow

    def _sorted(self) -> list[Node]:
        return [node for _, node in sorted(self._by_id.items())]


def _uid(birth: int) -> str:
    return f"{birth:016x}"


def _size(key: Key) -> int:
    return sum(map(len, key))
