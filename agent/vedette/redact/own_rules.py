"""Take in rules of the operator's own, and refuse those that hostile text could make slow.

``vedette.expressions`` says which those are. One open repeat, quadratic where it fails at each
place, is borne: texts are cut at 8 KiB. Two in a row that may take the same characters (``.*=.*``)
would be cubic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from vedette.expressions import objection
from vedette.redact.rules import Rule

#: Longest text that rules of the operator's own are asked about; what is longer is cut there.
LONGEST_TEXT = 8192
LONGEST_PATTERN = 1000
#: Ways to divide a text from one place on: one open repeat, no more.
MOST_WAYS = LONGEST_TEXT + 1
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
#: Stars or crosses, or a word in angle brackets: what no text takes for its own.
_REPLACEMENT = re.compile(r"\*{3,16}|<[A-Za-z][A-Za-z0-9_:. -]{0,39}>")


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
        trouble = _trouble(own, names) or objection(
            own.pattern.encode(), longest=LONGEST_TEXT, ways=MOST_WAYS
        )
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
