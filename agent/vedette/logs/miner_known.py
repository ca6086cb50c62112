"""Remember keys that are no template's own: whose lines they are, and which were met lately.

Two generations of each: when the newer one is full it becomes the older, and that is forgotten. So
a key that comes now and then stays, and there is a bound.
"""

from __future__ import annotations

from vedette.logs.miner_index import Node, root

#: A key's hash and the id of its template.
Pairs = tuple[tuple[int, int], ...]


class Known:
    """Keys of which ``most`` are remembered per generation."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._owners: dict[int, Node] = {}
        self._owners_before: dict[int, Node] = {}
        self._met: set[int] = set()
        self._met_before: set[int] = set()

    def owner(self, mark: int) -> Node | None:
        """Return the template that a key belongs to, if that is remembered."""
        node = self._owners.get(mark) or self._owners_before.get(mark)
        return None if node is None else root(node)

    def belongs(self, mark: int, node: Node) -> bool:
        """Remember whose a key is; return whether others were forgotten for it."""
        forgets = len(self._owners) >= self._most
        if forgets:
            self._owners_before, self._owners = self._owners, {}
        self._owners[mark] = node
        return forgets

    def meet(self, mark: int) -> bool:
        """Say whether a key was met lately, and remember that it was."""
        if mark in self._met or mark in self._met_before:
            return True
        if len(self._met) >= self._most:
            self._met_before, self._met = self._met, set()
        self._met.add(mark)
        return False

    def disown(self, node: Node) -> None:
        """Forget the keys of a template."""
        for owners in (self._owners, self._owners_before):
            for mark in [one for one, owner in owners.items() if root(owner) is node]:
                del owners[mark]

    def save(self) -> tuple[Pairs, Pairs, tuple[int, ...], tuple[int, ...]]:
        """Return all that is remembered: owners and keys met, each newer generation first."""
        met = tuple(sorted(self._met)), tuple(sorted(self._met_before))
        return pairs(self._owners), pairs(self._owners_before), *met

    def restore(
        self, by_id: dict[int, Node], owners: Pairs, before: Pairs, met: tuple[int, ...],
        met_before: tuple[int, ...],
    ) -> None:  # fmt: skip
        """Take what ``save`` returned."""
        self._owners = {mark: by_id[number] for mark, number in owners}
        self._owners_before = {mark: by_id[number] for mark, number in before}
        self._met, self._met_before = set(met), set(met_before)


def pairs(nodes: dict[int, Node]) -> Pairs:
    """Return nodes as pairs, for the disk."""
    return tuple((number, root(node).id) for number, node in nodes.items())
