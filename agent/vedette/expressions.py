"""Say whether hostile text could make a regular expression slow, before it is used.

Python's engine backtracks, and an expression of the operator's must not be able to stop the agent.
What makes backtracking explode can be read from the parsed form, so the walk is over ``re``'s own
parse tree: what is judged is what runs. Refused are references back, repetitions within long
repetitions, alternatives within such, and repetitions in a row that can take the same bytes from
each other in more ways than the caller allows: some harmless expressions are among them.

Of an expression that is matched at one place the worst case is as many steps as there are ways;
of one that is looked for, that many at each place of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Private by name since Python 3.11; its tree is what ``re`` itself compiles.
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

#: The most that a repetition may repeat and count as bounded.
BOUNDED_MAX = 16
#: Pieces of an expression that are looked at, those that are repeated counted again.
_PIECES_MAX = 20_000
_ALL = frozenset(range(256))
_CATEGORIES = {
    op.CATEGORY_DIGIT: rb"\d", op.CATEGORY_NOT_DIGIT: rb"\D", op.CATEGORY_SPACE: rb"\s",
    op.CATEGORY_NOT_SPACE: rb"\S", op.CATEGORY_WORD: rb"\w", op.CATEGORY_NOT_WORD: rb"\W",
}  # fmt: skip
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


def objection(pattern: bytes, *, longest: int, ways: int) -> str:
    """Return why an expression is not to be used; empty when it may be.

    ``longest`` is how many bytes of a text it is asked about, ``ways`` in how many ways it may
    divide them at one place: ``longest + 1`` for one repetition without a bound.
    """
    try:
        tree = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}"
    for code, argument in _walk(tree):
        if code in (op.GROUPREF, op.GROUPREF_EXISTS):
            return "refers back to a group"
        if code in _REPEATS and argument[1] > BOUNDED_MAX:
            inner = [c for c, a in _walk(argument[2]) if c is op.BRANCH or _varies(c, a)]
            if op.BRANCH in inner:
                return "repeats alternatives, which can take forever"
            if inner:
                return "repeats a repetition, which can take forever"
    cased = tree.state.flags & re.IGNORECASE or any(
        code is op.SUBPATTERN and argument[1] & re.IGNORECASE for code, argument in _walk(tree)
    )
    if _Ways(longest, ways, anycase=bool(cased)).of(tree) > ways:
        return (
            "its repetitions compete for the same bytes, which can take too long: put something "
            "between them that they cannot take, or bound them"
        )
    return ""


def _varies(code: Any, argument: Any) -> bool:
    """Say whether something is a repetition that has a choice."""
    return code in _REPEATS and argument[0] != argument[1]


def _walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    for code, argument in tree:
        yield code, argument
        for inner in _inner(code, argument):
            yield from _walk(inner)


def _inner(code: Any, argument: Any) -> list[Any]:
    """Return the sequences within an operation."""
    if code in _REPEATS:
        return [argument[2]]
    if code is op.SUBPATTERN:
        return [argument[3]]
    if code is op.BRANCH:
        return list(argument[1])
    if code in (op.ASSERT, op.ASSERT_NOT):
        return [argument[1]]
    if code is op.ATOMIC_GROUP:
        return [argument]
    return []


class _Ways:
    """Counts the ways in which an expression can divide a text, up to more than are allowed."""

    def __init__(self, longest: int, most: int, *, anycase: bool) -> None:
        self._longest, self._most, self._anycase = longest, most, anycase
        self._pieces = 0

    def of(self, tree: Any) -> int:
        """Return in how many ways repetitions in a row can divide the same bytes among themselves.

        A piece between two of them that neither can match keeps them apart, because it fixes where
        the first ends. What is looked ahead or behind for is asked at one place, for itself.
        """
        most, ways, held = 1, 1, frozenset[int]()
        for choices, is_needed, taken in self._flat(tree):
            self._pieces += 1
            if most > self._most or self._pieces > _PIECES_MAX:
                return self._most + 1
            if choices > 1:
                if held & taken:
                    ways = min(ways, self._most + 1) * choices
                else:
                    ways = choices if is_needed else max(ways, choices)
                    held = frozenset() if is_needed else held
                held |= taken
                most = max(most, ways)
            elif is_needed and not held & taken:
                ways, held = 1, frozenset()
        if most > self._most:
            return most
        for code, argument in _walk(tree):
            if code in (op.ASSERT, op.ASSERT_NOT):
                most = max(most, self.of(argument[1]))
        return most

    def _flat(self, tree: Any) -> Iterator[tuple[int, bool, frozenset[int]]]:
        """Yield what an expression consists of, in order.

        Of each piece: the choices it has, whether it is needed, and the bytes it can take.
        """
        for code, argument in tree:
            if code in _REPEATS:
                least, most, inner = argument
                if any(c in _REPEATS or c is op.BRANCH for c, _ in _walk(inner)):
                    for _ in range(min(most, BOUNDED_MAX)):
                        yield from self._flat(inner)
                choices = min(most, self._longest) - min(least, self._longest) + 1
                yield choices, least > 0, self._taken(inner)
            elif code in (op.SUBPATTERN, op.ATOMIC_GROUP):
                yield from self._flat(_inner(code, argument)[0])
            elif code is op.BRANCH:
                choices = len(argument[1])
                for branch in argument[1]:
                    choices *= min(self.of(branch), self._most)
                yield choices, False, self._taken([(code, argument)])
            elif code not in (op.AT, op.ASSERT, op.ASSERT_NOT):
                yield 1, True, self._taken([(code, argument)])

    def _taken(self, tree: Any) -> frozenset[int]:
        """Return the bytes that an expression can consist of."""
        taken: frozenset[int] = frozenset()
        for code, argument in tree:
            if code is op.LITERAL:
                taken |= self._cased({argument})
            elif code is op.NOT_LITERAL:
                taken |= _ALL - {argument}
            elif code is op.IN:
                taken |= self._set(argument)
            elif inner := _inner(code, argument):
                if code not in (op.ASSERT, op.ASSERT_NOT):
                    taken = taken.union(*map(self._taken, inner))
            elif code is not op.AT:
                taken |= _ALL
        return taken

    def _set(self, members: Any) -> frozenset[int]:
        """Return the bytes of a class in brackets."""
        taken: set[int] = set()
        negated = False
        for code, argument in members:
            if code is op.NEGATE:
                negated = True
            elif code is op.LITERAL:
                taken.add(argument)
            elif code is op.RANGE:
                taken.update(range(argument[0], argument[1] + 1))
            elif code is op.CATEGORY and argument in _CATEGORIES:
                category = re.compile(_CATEGORIES[argument])
                taken.update(byte for byte in _ALL if category.match(bytes((byte,))))
            else:
                return _ALL
        return _ALL - taken if negated else self._cased(taken)

    def _cased(self, taken: set[int]) -> frozenset[int]:
        if not self._anycase:
            return frozenset(taken)
        text = bytes(taken)
        return frozenset(text + text.swapcase())
