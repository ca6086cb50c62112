"""Measure how well log lines were put into templates, against labels.

``grouping`` gives the two measures of whether lines are together that belong together:

- GA, grouping accuracy (Zhu et al., ICSE-SEIP 2019): the share of lines whose group is right, where
  a group is right if it holds exactly the lines of one template.
- FGA, F1 of grouping (Jiang et al., ISSTA 2024, Loghub-2.0): right groups among those found and
  among the true ones, so that rare templates count as much as frequent ones.

``texts`` gives the same of what the templates read like:

- PA, parsing accuracy (Dai et al., TSE 2020): the share of lines whose template is written as the
  true one is.
- FTA, F1 of templates (Khan et al., ICSE 2022): a template is right if its group is and its text.

Labels do not agree on how a variable part is written (``<*>.<*>`` or ``<*>``, ``blk_<*>``), so
texts are compared twice: ``plain`` takes only white space and the names of placeholders for equal,
``even`` also joins placeholders that are next to each other or have one delimiter between them, and
takes the sign or slash in front of one for part of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence

_PLACEHOLDER = re.compile(r"<(?:[a-z]+|\*|NUM)>")
_BETWEEN = re.compile(r"<\*>(?:[.:/@_#-]{0,2}|, ?)<\*>")
_BEFORE = re.compile(r"(?<![^\s=,;:()\[\]{}\"'|<>])[/+-]<\*>")


def grouping(found: Sequence[Hashable], true: Sequence[Hashable]) -> tuple[float, float]:
    """Return GA and FGA."""
    mine, its = _groups(found), _groups(true)
    right = {frozenset(lines) for lines in its.values()}
    good = [lines for lines in mine.values() if frozenset(lines) in right]
    return sum(map(len, good)) / max(len(true), 1), _f1(len(good), len(mine), len(its))


def texts(
    found: Sequence[Hashable], written: Sequence[str], true: Sequence[str]
) -> tuple[float, float]:
    """Return PA and FTA: ``found`` groups the lines, ``written`` is the template of each."""
    same = sum(a == b for a, b in zip(written, true, strict=True))
    mine, its = _groups(found), _groups(true)
    good = 0
    for lines in mine.values():
        text = written[lines[0]]
        good += its.get(text) == lines
    return same / max(len(true), 1), _f1(good, len(mine), len(its))


def plain(text: str) -> str:
    """Return a template with one kind of placeholder and single spaces."""
    return " ".join(_PLACEHOLDER.sub("<*>", text).split())


def even(text: str) -> str:
    """Return a template with neighbouring placeholders as one, too."""
    text = plain(text)
    before = ""
    while before != text:
        before = text
        text = _BEFORE.sub("<*>", _BETWEEN.sub("<*>", text))
    return text


def new_after(labels: Sequence[Hashable], at: int) -> int:
    """Return how many labels come up at a place or behind it for the first time."""
    return len(set(labels[at:]) - set(labels[:at]))


def _groups(labels: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for line, label in enumerate(labels):
        groups[label].append(line)
    return groups


def _f1(good: int, found: int, true: int) -> float:
    return 2 * good / (found + true) if found + true else 0.0
