"""What the user says of a file whose lines are to be read in a way of their own.

Three regular expressions, all optional, matched at the start of a line:

- ``header`` takes off the header; its groups ``time``, ``level``, ``unit`` and ``body`` are used as
  far as they are there (without ``body``, the body is what follows the match);
- ``start`` begins an event: lines without it belong to the event before;
- ``continue`` goes on with it: lines with it belong to the event before.

An expression of a user must not be able to stop the agent, and Python's engine backtracks. So only
the first ``MATCHED_MAX`` bytes of a line are matched, and expressions whose worst case grows faster
than with the square of that are refused: repetitions within long repetitions, more than two in a
row that can take the same bytes from each other, references back. The error names the key and the
expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import msgspec

from vedette.logs.columns import Reading
from vedette.logs.entry import Severity
from vedette.logs.levels import severity_of_word
from vedette.logs.timestamps import Clock

#: Bytes of a line that are matched: squared, ten milliseconds of backtracking at most.
MATCHED_MAX = 1024
#: The longest expression, and the most that a repetition may repeat and count as bounded.
PATTERN_MAX, BOUNDED_MAX = 1000, 16
#: Ways of dividing a line's bytes that may have to be tried: two repetitions of any length.
WAYS_MAX = MATCHED_MAX * MATCHED_MAX * 2
GROUPS = frozenset(("time", "level", "unit", "body"))
_ALL = frozenset(range(256))
_CATEGORIES = {
    op.CATEGORY_DIGIT: rb"\d", op.CATEGORY_NOT_DIGIT: rb"\D", op.CATEGORY_SPACE: rb"\s",
    op.CATEGORY_NOT_SPACE: rb"\S", op.CATEGORY_WORD: rb"\w", op.CATEGORY_NOT_WORD: rb"\W",
}  # fmt: skip
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


class PatternError(ValueError):
    """An expression that cannot be used: which key, which expression, why."""

    def __init__(self, key: str, pattern: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}: {pattern!r}")
        self.key, self.pattern, self.reason = key, pattern, reason


class FilePatterns(msgspec.Struct, frozen=True):
    """The compiled expressions of one file."""

    header: re.Pattern[bytes] | None = None
    start: re.Pattern[bytes] | None = None
    continued: re.Pattern[bytes] | None = None

    def read(self, line: bytes, clock: Clock) -> Reading | None:
        """Return what the header expression takes a line for; None without one or a match."""
        found = self.header.match(line[:MATCHED_MAX]) if self.header is not None else None
        if found is None:
            return None
        said = found.groupdict()
        at = found.start("body") if said.get("body") is not None else found.end()
        stop = found.end("body") if said.get("body") is not None else len(line)
        if stop == min(len(line), MATCHED_MAX):
            stop = len(line)
        level, time = said.get("level"), said.get("time")
        return Reading(
            line[at:stop],
            severity_of_word(level) if level else Severity.UNKNOWN,
            clock.parse(time) if time else None,
            (said.get("unit") or b"")[:64].decode("utf-8", "backslashreplace"),
        )

    def continues(self, line: bytes) -> bool | None:
        """Tell whether a line belongs to the event before; None when nothing is said of that."""
        text = line[:MATCHED_MAX]
        if self.continued is not None and self.continued.match(text) is not None:
            return True
        if self.start is not None:
            return self.start.match(text) is None
        return None if self.continued is None else False


def compile_patterns(
    header: str | None = None, start: str | None = None, continued: str | None = None
) -> FilePatterns:
    """Return the expressions of a file. Raises ``PatternError`` for the first that is at fault."""
    compiled = FilePatterns(
        compile_safe("header", header) if header is not None else None,
        compile_safe("start", start) if start is not None else None,
        compile_safe("continue", continued) if continued is not None else None,
    )
    if compiled.header is not None and header is not None:
        strange = set(compiled.header.groupindex) - GROUPS
        if strange:
            names = ", ".join(sorted(strange))
            raise PatternError("header", header, f"no such group: {names}")
    return compiled


def compile_safe(key: str, pattern: str) -> re.Pattern[bytes]:
    """Return an expression for bytes. Raises ``PatternError`` when it is not to be used."""
    if len(pattern) > PATTERN_MAX:
        raise PatternError(key, pattern[:40] + "...", f"longer than {PATTERN_MAX} characters")
    if not pattern:
        raise PatternError(key, pattern, "matches every line")
    try:
        source = pattern.encode()
        compiled = re.compile(source)
        tree = _parser.parse(source)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(key, pattern, f"no regular expression ({error})") from error
    reason = _objection(tree)
    if reason:
        raise PatternError(key, pattern, reason)
    return compiled


def _objection(tree: Any) -> str:
    """Return why an expression may take too long, empty when it cannot."""
    for code, argument in _walk(tree):
        if code in (op.GROUPREF, op.GROUPREF_EXISTS):
            return "refers back to a group"
        if code in _REPEATS and argument[1] > BOUNDED_MAX:
            inner = list(_walk(argument[2]))
            if any(c in _REPEATS and a[1] > 1 for c, a in inner):
                return "repeats a repetition, which can take forever"
            if any(c is op.BRANCH or c in _REPEATS for c, _ in inner):
                return "repeats alternatives, which can take forever"
    if _ways(tree) > WAYS_MAX:
        return "its repetitions compete for the same bytes, which can take too long"
    return ""


def _walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    for code, argument in tree:
        yield code, argument
        for inner in _inner(code, argument):
            yield from _walk(inner)


def _inner(code: Any, argument: Any) -> list[Any]:
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


def _ways(tree: Any) -> int:
    """Return in how many ways repetitions in a row can divide the same bytes among themselves.

    A piece between two of them that neither can match keeps them apart, because it fixes where the
    first ends.
    """
    most, ways, held = 1, 1, frozenset[int]()
    for choices, is_needed, taken in _flat(tree):
        if choices > 1:
            if held & taken:
                ways = min(ways, WAYS_MAX + 1) * choices
            else:
                ways = choices if is_needed else max(ways, choices)
                held = frozenset() if is_needed else held
            held |= taken
            most = max(most, ways)
        elif is_needed and not held & taken:
            ways, held = 1, frozenset()
    return most


def _flat(tree: Any) -> Iterator[tuple[int, bool, frozenset[int]]]:
    """Yield what an expression consists of, in order.

    Of each piece: the choices it has, whether it is needed, and the bytes it can take.
    """
    for code, argument in tree:
        if code in _REPEATS:
            least, most, inner = argument
            if any(c in _REPEATS or c is op.BRANCH for c, _ in _walk(inner)):
                for _ in range(min(most, BOUNDED_MAX)):
                    yield from _flat(inner)
            choices = min(most, MATCHED_MAX) - min(least, MATCHED_MAX) + 1
            yield choices, least > 0, _taken(inner)
        elif code in (op.SUBPATTERN, op.ATOMIC_GROUP):
            yield from _flat(_inner(code, argument)[0])
        elif code is op.BRANCH:
            choices = len(argument[1])
            for branch in argument[1]:
                choices *= min(_ways(branch), WAYS_MAX)
            yield choices, False, _taken([(code, argument)])
        elif code not in (op.AT, op.ASSERT, op.ASSERT_NOT):
            yield 1, True, _taken([(code, argument)])


def _taken(tree: Any) -> frozenset[int]:
    """Return the bytes that an expression can consist of."""
    taken: frozenset[int] = frozenset()
    for code, argument in tree:
        if code is op.LITERAL:
            taken |= {argument}
        elif code is op.NOT_LITERAL:
            taken |= _ALL - {argument}
        elif code is op.IN:
            taken |= _set(argument)
        elif inner := _inner(code, argument):
            if code not in (op.ASSERT, op.ASSERT_NOT):
                taken = taken.union(*(_taken(part) for part in inner))
        elif code is not op.AT:
            taken |= _ALL
    return taken


def _set(members: Any) -> frozenset[int]:
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
    return _ALL - taken if negated else frozenset(taken)
