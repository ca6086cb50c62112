"""Take in rules of the operator's own, and refuse those that hostile text could make slow.

Python's expressions backtrack. What makes that explode can be read from the parsed form: a repeat
within a repeat (``(a+)+``), a choice within one (``(a|ab)*``), a reference to a group. So can what
makes it cubic: two open repeats in a row that may take the same characters (``.*=.*``). All these
are refused, some harmless ones with them. One open repeat, quadratic where it fails at each place,
is borne: texts are cut at 8 KiB. The walk is over ``re``'s own parse tree: what is judged is what
runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

# Private by name since Python 3.11; its tree is what ``re`` itself compiles.
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import msgspec

from vedette.redact.rules import Rule

#: Longest text that rules of the operator's own are asked about; what is longer is cut there.
LONGEST_TEXT = 8192
LONGEST_PATTERN = 1000
#: Ways to divide a text among repeats in a row, from one place on: one open repeat, no more.
MOST_STEPS = LONGEST_TEXT
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
#: Stars or crosses, or a word in angle brackets: what no text takes for its own.
_REPLACEMENT = re.compile(r"\*{3,16}|<[A-Za-z][A-Za-z0-9_:. -]{0,39}>")
_REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)


class OwnRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule of the operator's: what matches ``pattern``, or its group ``secret``, is replaced.

    ``replacement`` is a word in angle brackets or three stars and more; without one, ``<name>``.
    """

    name: str
    pattern: str
    replacement: str = ""


class Own(msgspec.Struct, frozen=True):
    """A rule as it runs."""

    rule: Rule
    pattern: re.Pattern[str]
    group: int
    text: str


class BadRulesError(ValueError):
    """Rules that cannot be used: ``problems`` holds a sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def compiled(rules: Iterable[OwnRule], taken: Iterable[str]) -> tuple[Own, ...]:
    """Return rules ready to run. ``taken`` are names that rules have already.

    Raises:
        BadRulesError: with all that is wrong, each problem naming its rule and pattern.
    """
    found: list[Own] = []
    problems: list[str] = []
    names = set(taken)
    for own in rules:
        trouble = _trouble(own, names) or slow(own.pattern)
        if trouble:
            problems.append(f"rule {own.name!r}, pattern {own.pattern[:120]!r}: {trouble}")
            continue
        names.add(own.name)
        pattern = re.compile(_narrow(own.pattern), re.ASCII)
        text = own.replacement or f"<{own.name}>"
        rule = Rule(own.name, text.strip("<>"), "what the operator's rule finds", 0)
        found.append(Own(rule, pattern, pattern.groupindex.get("secret", 0), text))
    if problems:
        raise BadRulesError(problems)
    return tuple(found)


def _narrow(pattern: str) -> str:
    """Return a pattern for text whose characters are the bytes of UTF-8."""
    return pattern.encode().decode("latin-1")


def _trouble(own: OwnRule, names: set[str]) -> str:
    if not _NAME.fullmatch(own.name):
        return "the name must be lower-case letters, digits and dashes, at most 40"
    if own.name in names:
        return "there is a rule of this name already"
    if own.replacement and not _REPLACEMENT.fullmatch(own.replacement):
        return (
            f"the replacement {own.replacement!r} must be a word in angle brackets, such as "
            f"<{own.name}>, or three stars and more"
        )
    if not own.pattern or len(own.pattern) > LONGEST_PATTERN:
        return f"the pattern must have 1 to {LONGEST_PATTERN} characters"
    try:
        pattern = re.compile(_narrow(own.pattern), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}"
    if pattern.match("") and "secret" not in pattern.groupindex:
        return "matches the empty text, so it would match everywhere"
    return ""


def slow(pattern: str) -> str:
    """Return why a pattern could take very long on some text; empty when it cannot."""
    try:
        tree = parser.parse(_narrow(pattern), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}"
    return _walk(tree, repeated=False) or _row(tree)


def _walk(tree: Any, *, repeated: bool) -> str:
    """Return what is wrong with a sequence and all within it."""
    for operation, argument in tree:
        if operation in (codes.GROUPREF, codes.GROUPREF_EXISTS):
            return "refers to a group, which cannot be bounded"
        if operation in _REPEATS and argument[1] > 1:
            if repeated and argument[0] != argument[1]:
                return "a repeat within a repeat can take exponential time"
            wrong = _walk(argument[2], repeated=repeated or argument[0] != argument[1])
        elif operation is codes.BRANCH:
            if repeated:
                return "a choice within a repeat can take exponential time: use a class in brackets"
            wrong = next((bad for one in argument[1] if (bad := _walk(one, repeated=False))), "")
        else:
            inner = _inner(operation, argument)
            wrong = next((bad for one in inner if (bad := _walk(one, repeated=repeated))), "")
        if wrong:
            return wrong
    return ""


def _inner(operation: Any, argument: Any) -> Iterator[Any]:
    """Yield the sequences within an operation."""
    if operation is codes.SUBPATTERN:
        yield argument[3]
    elif operation in (codes.ASSERT, codes.ASSERT_NOT):
        yield argument[1]
    elif operation in _REPEATS or operation is codes.POSSESSIVE_REPEAT:
        yield argument[2]
    elif operation is codes.ATOMIC_GROUP:
        yield argument
    elif operation is codes.BRANCH:
        yield from argument[1]


def _row(tree: Any) -> str:
    """Return what is wrong with parts that follow each other and may take the same characters."""
    steps, taken = 1, _NONE
    for characters, ways, optional in _items(tree):
        apart = not characters & taken
        if ways == 1:
            if apart and not optional:
                steps, taken = 1, _NONE
        elif apart and not optional:
            steps, taken = ways, characters
        else:
            steps, taken = steps * ways, taken | characters
        if steps > MOST_STEPS:
            return (
                "repeats in a row can take the same characters: put something between them that "
                "they cannot take, or bound them"
            )
    return ""


def _items(tree: Any) -> Iterator[tuple[frozenset[int], int, bool]]:
    """Yield, per part of a sequence: what it takes, in how many lengths, whether not at all."""
    for operation, argument in tree:
        if operation is codes.SUBPATTERN:
            yield from _items(argument[3])
        elif operation is codes.ATOMIC_GROUP:
            yield from _items(argument)
        elif operation in _REPEATS:
            least, most, inner = argument
            if least == most > 1:  # the same again: it may overlap with itself
                yield from _items(inner)
                yield from _items(inner)
                continue
            yield _characters(inner), min(most - least + 1, LONGEST_TEXT), least == 0
        elif operation is codes.BRANCH:
            for one in argument[1]:
                yield from _items(one)
        elif operation not in (codes.AT, codes.ASSERT, codes.ASSERT_NOT):
            yield _characters([(operation, argument)]), 1, False


def _characters(tree: Any) -> frozenset[int]:
    """Return the characters with which some match of a sequence may go on."""
    pattern: set[int] = set()
    for operation, argument in tree:
        if operation is codes.LITERAL:
            pattern.add(argument)
        elif operation is codes.NOT_LITERAL:
            pattern |= _ALL - {argument}
        elif operation is codes.IN:
            pattern |= _class(argument)
        elif operation is codes.ANY:
            pattern |= _ALL - {10}
        else:
            for inner in _inner(operation, argument):
                pattern |= _characters(inner)
    return frozenset(pattern)


_ALL = frozenset(range(256))
_NONE: frozenset[int] = frozenset()
_CATEGORIES = {
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}


def _class(items: Any) -> set[int]:
    """Return the characters of a class in brackets."""
    found: set[int] = set()
    turned = False
    for operation, argument in items:
        if operation is codes.NEGATE:
            turned = True
        elif operation is codes.LITERAL:
            found.add(argument)
        elif operation is codes.RANGE:
            found.update(range(argument[0], min(argument[1], 255) + 1))
        elif operation is codes.CATEGORY:
            category = re.compile(_CATEGORIES[argument], re.ASCII)
            found.update(code for code in _ALL if category.match(chr(code)))
    return set(_ALL - found) if turned else found
