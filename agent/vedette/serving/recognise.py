"""Tell from a page of metrics, and what info endpoints say beside it, which server it is.

Nothing is asked of the network here. A page is told by its names, never by a version that somebody
says: forks and gateways copy versions. The release is a range that the names present can tell. A
page that fits no adapter is unknown, with those whose names it shares most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import msgspec

from vedette.exposition.choice import Choice
from vedette.exposition.model import Key
from vedette.exposition.page import Page
from vedette.exposition.reading import Reader
from vedette.serving.adapter import (
    Adapter,
    InfoMark,
    Marks,
    Release,
    Rule,
    adapter,
    adapters,
    outlines,
)

UNKNOWN = "unknown"
#: What it is worth that the marks fit; plain names may be another's.
MARKED, PLAIN = 0.7, 0.5
#: What is added: by the share of expected metrics, for a known release, for an endpoint that agrees
#: (the rest to 1, but for this).
EXPECTED, RELEASED, DOUBT = 0.2, 0.1, 0.02
#: An endpoint alone; with a page that has no mark of it.
INFO_ALONE, DISPUTED = 0.9, 0.5
NEAREST_MAX = 3

_TYPE = re.compile(rb"^# ?TYPE[ \t]+(\S+)", re.MULTILINE)


class Info(msgspec.Struct, frozen=True):
    """What an info endpoint answered: its path, or the file it was saved in, and the JSON."""

    endpoint: str
    body: object


class Nearest(msgspec.Struct, frozen=True):
    """A server that a page looks like: how many of its metrics are there, and why it is not it."""

    server: str
    shared: int
    known: int
    why_not: str


class Recognition(msgspec.Struct, frozen=True):
    """Say which server a page is of, and why. ``adapter`` is None for an unknown one.

    ``version`` is what an endpoint said, ``release`` what the names tell; ``confidence`` is 0 to 1.
    ``beside`` are others that have their metrics on the same page: Ray Serve shows those of the
    vLLM engines it runs. They are other layers, mapped each by itself.
    """

    server: str
    adapter: Adapter | None = None
    release: Release | None = None
    version: str = ""
    evidence: tuple[str, ...] = ()
    confidence: float = 0.0
    nearest: tuple[Nearest, ...] = ()
    beside: tuple[Recognition, ...] = ()


def seen(body: bytes, *, openmetrics: bool) -> tuple[Page, frozenset[str]]:
    """Read a page as far as is needed to recognise it; return it, with all names that it has.

    Only series that marks look at are kept: the whole of a large page takes megabytes for a moment,
    which the process does not get rid of again.
    """
    marked = {mark.metric for one in outlines() for mark in one.marks.series}
    reader = Reader(Choice(allow=marked))
    page = reader.read(body, openmetrics=openmetrics)
    return page, declared(body) | reader.names


def declared(body: bytes) -> frozenset[str]:
    """Return the names that a page declares, those without a value yet included."""
    return frozenset(name.decode("utf-8", "replace") for name in _TYPE.findall(body))


def recognise(
    page: Page | None,
    declared: Iterable[str] = (),
    info: Sequence[Info] = (),
    known: Sequence[Adapter] | None = None,
    *,
    near: bool = True,
) -> Recognition:
    """Say which server it is. ``page`` may be None where there is none (Ollama, LitServe).

    Of those that ship with Vedette (``known`` is None) only the files of servers that fit are read
    as a whole; ``near``, what else it looks like, takes all of them.
    """
    names = frozenset(declared).union(page.names if page is not None else ())
    found = []
    for one in outlines() if known is None else known:
        told = [text for mark in one.info if mark.like and (text := _told(mark, info))]
        fits = bool(names) and not _unmet(one.marks, names, page)
        if fits or told:
            whole = adapter(one.name) if known is None else one
            found.append((fits, _judge(whole.spelled(names), names, told, fits, info)))
    others = () if not near else adapters() if known is None else known
    if not found:
        return Recognition(UNKNOWN, nearest=_nearest(others, names, page, ()))
    # One with a prefix of its own goes before one whose names anybody may have.
    found.sort(key=lambda one: (one[0], one[1].confidence), reverse=True)
    best = found[0][1]
    beside = tuple(one for fits, one in found[1:] if fits)
    servers = tuple(one.server for _, one in found)
    return msgspec.structs.replace(
        best, beside=beside, nearest=_nearest(others, names, page, servers)
    )


def release_of(adapter: Adapter, names: Iterable[str]) -> Release | None:
    """Return the range of releases whose names these are."""
    there = frozenset(names)
    for one in adapter.releases:
        if all(_has(there, name) for name in one.has) and not any(
            _has(there, name) for name in one.lacks
        ):
            return one
    return None


def expected(rules: Iterable[Rule], names: Iterable[str]) -> tuple[list[Rule], list[Rule]]:
    """Sort the rules that should always hold into those whose metrics are there, and the others."""
    there = frozenset(names)
    have, miss = [], []
    for rule in rules:
        if rule.when:
            continue
        if any(_has(there, one.first.metric) for one in rule.alternatives):
            have.append(rule)
        else:
            miss.append(rule)
    return have, miss


# ---------------------------------------------------------------- one adapter


def _judge(
    one: Adapter, names: frozenset[str], told: list[str], fits: bool, info: Sequence[Info]
) -> Recognition:
    evidence: list[str] = []
    release = release_of(one, names) if fits else None
    if fits:
        evidence += _why(one, names)
        have, miss = expected(one.rules_of(release), names)
        total = len(have) + len(miss)
        if total:
            evidence.append(f"{len(have)} of {total} expected metrics are there")
        confidence = PLAIN if one.marks.plain else MARKED
        confidence += EXPECTED * (len(have) / total if total else 1.0)
        if release is not None:
            signs = [f"has {name}" for name in release.has]
            signs += [f"lacks {name}" for name in release.lacks]
            evidence.append(f"release {release.name}: {', '.join(signs) or 'no sign of another'}")
        if release is not None or not one.releases:
            confidence += RELEASED
    else:
        confidence = INFO_ALONE if not names else DISPUTED
        if names:
            evidence.append("the page has none of its marks")
    if told:
        evidence += told
        if fits:
            confidence = 1.0 - DOUBT * (1.0 - confidence)
    versions = [said for mark in one.info if mark.version and (said := _version(mark, info))]
    return Recognition(
        one.name,
        one,
        release,
        versions[0] if versions else "",
        tuple(evidence),
        round(min(1.0, confidence), 3),
    )


def _why(one: Adapter, names: frozenset[str]) -> Iterator[str]:
    marks = one.marks
    for pattern in dict.fromkeys((*marks.all, *marks.any)):
        if "*" in pattern:
            count = sum(fnmatchcase(name, pattern) for name in names)
            if count:
                yield f"{count} names {pattern}"
        elif _has(names, pattern):
            yield f"has {pattern}"
    for mark in marks.series:
        yield f"{mark.metric} with {mark.label} like {mark.like!r}"


def _unmet(marks: Marks, names: frozenset[str], page: Page | None) -> str:
    """Return what of the marks the page has not; empty: it fits."""
    if not (marks.all or marks.any or marks.series):
        return "it has no page"
    for pattern in marks.all:
        if not _has(names, pattern):
            return f"lacks {pattern}"
    if marks.any and not any(_has(names, pattern) for pattern in marks.any):
        return f"lacks {' or '.join(marks.any)}"
    for pattern in marks.none:
        if _has(names, pattern):
            return f"has {pattern}"
    if marks.series and not any(
        _series(page, one.metric, one.label, one.like) for one in marks.series
    ):
        one = marks.series[0]
        return f"no {one.metric} with {one.label} like {one.like!r}"
    return ""


def _series(page: Page | None, metric: str, label: str, like: str) -> bool:
    if page is None:
        return False
    keys: Iterator[Key] = (point.key for point in page.points(metric))
    return any(re.fullmatch(like, key.label(label)) for key in keys)


def _has(names: frozenset[str], pattern: str) -> bool:
    if "*" in pattern:
        return any(fnmatchcase(name, pattern) for name in names)
    # What a page declares of a counter may lack the ending that its values have.
    return pattern in names or (pattern.endswith("_total") and pattern[:-6] in names)


def _nearest(
    known: Sequence[Adapter], names: frozenset[str], page: Page | None, but: tuple[str, ...]
) -> tuple[Nearest, ...]:
    near = []
    for one in known:
        spelled = one.spelled(names)
        metrics = spelled.metrics
        shared = sum(_has(names, name) for name in metrics)
        if shared and one.name not in but:
            near.append(
                Nearest(one.name, shared, len(metrics), _unmet(one.marks, names, page) or "fits")
            )
    near.sort(key=lambda one: -one.shared / one.known)
    return tuple(near[:NEAREST_MAX])


# ---------------------------------------------------------------- what endpoints say


def _told(mark: InfoMark, info: Sequence[Info]) -> str:
    for one in info:
        for found in at(one.body, mark.at.split(".")):
            if isinstance(found, str) and re.fullmatch(mark.like, found):
                return f"{one.endpoint}: {mark.at} is {found!r}"
    return ""


def _version(mark: InfoMark, info: Sequence[Info]) -> str:
    """Return the version of an answer that is this mark's; one that tells nothing else counts."""
    for one in info:
        if mark.like and not _told(mark, (one,)):
            continue
        for found in at(one.body, mark.version.split(".")):
            if isinstance(found, str) and found:
                return found
    return ""


def at(body: object, path: Sequence[str]) -> Iterator[object]:
    """Return what is at a path; ``*`` is every member, an empty path the whole."""
    if not path or path == [""]:
        yield body
        return
    first, rest = path[0], path[1:]
    if isinstance(body, dict):
        if first in body:
            yield from at(body[first], rest)
        elif first == "*":
            for one in body.values():
                yield from at(one, rest)
    elif isinstance(body, list):
        if first == "*":
            for one in body:
                yield from at(one, rest)
        elif first.isdigit() and int(first) < len(body):
            yield from at(body[int(first)], rest)
