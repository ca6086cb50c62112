"""What the user says of a file whose lines are to be read in a way of their own.

Three regular expressions, all optional, matched at the start of a line:

- ``header`` takes off the header; its groups ``time``, ``level``, ``unit`` and ``body`` are used as
  far as they are there (without ``body``, the body is what follows the match);
- ``start`` begins an event: lines without it belong to the event before;
- ``continue`` goes on with it: lines with it belong to the event before.

An expression of a user must not be able to stop the agent, and Python's engine backtracks. So only
the first ``MATCHED_MAX`` bytes of a line are matched, and expressions whose worst case grows faster
than with the square of that are refused (``vedette.expressions``). The error names the key and the
expression.
"""

from __future__ import annotations

import re

import msgspec

from vedette.expressions import objection
from vedette.logs.columns import Reading
from vedette.logs.entry import Severity
from vedette.logs.levels import severity_of_word
from vedette.logs.timestamps import Clock

#: Bytes of a line that are matched: squared, ten milliseconds of backtracking at most.
MATCHED_MAX = 1024
#: The longest expression.
PATTERN_MAX = 1000
#: Ways of dividing a line's bytes that may have to be tried: two repetitions of any length, for
#: what is matched at the start of a line; one for what is looked for in it.
WAYS_MAX, WAYS_ANYWHERE = MATCHED_MAX * MATCHED_MAX * 2, MATCHED_MAX * 2
GROUPS = frozenset(("time", "level", "unit", "body"))


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


def compile_safe(key: str, pattern: str, *, ways: int = WAYS_MAX) -> re.Pattern[bytes]:
    """Return an expression for bytes. Raises ``PatternError`` when it is not to be used.

    ``ways`` is for ``objection``: fewer for what is looked for at every place of a line.
    """
    if len(pattern) > PATTERN_MAX:
        raise PatternError(key, pattern[:40] + "...", f"longer than {PATTERN_MAX} characters")
    if not pattern:
        raise PatternError(key, pattern, "matches every line")
    try:
        source = pattern.encode()
        compiled = re.compile(source)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(key, pattern, f"no regular expression ({error})") from error
    reason = objection(source, longest=MATCHED_MAX, ways=ways)
    if reason:
        raise PatternError(key, pattern, reason)
    return compiled
