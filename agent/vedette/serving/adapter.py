"""Hold what is known of each model server as data: one TOML file a server, beside this module.

A file says how the server is told by its page and its info endpoints, where each canonical signal
comes from, how its outcomes are put together, and what it cannot tell. Nothing in it is code:
adding a server is adding a file.

A rule has alternatives, of which the first one present counts. They are never added up: vLLM
0.10.2 shows ``gpu_cache_usage_perc`` and ``kv_cache_usage_perc`` at once, and they are one thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import tomli

from vedette.serving.vocabulary import OUTCOME, OUTCOMES, REQUESTS, SIGNALS, Layer

Part = Literal["value", "sum", "count"]
#: What one of the signal's unit is in the source's.
UNITS: dict[str, float] = {"": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "%": 100.0}
#: The same the other way round, for what is larger at the source.
LARGER: dict[str, float] = {"MiBy": 1024.0**2, "MHz": 1e6}


class AdapterError(ValueError):
    """Say what is wrong with an adapter's file; the text begins with the file."""


class _Read(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is read from a file."""


class Term(_Read, frozen=True):
    """A metric of the page, or a part of it: series whose labels match ``where``.

    ``where`` and ``unless`` are regular expressions that match the whole value of a label (empty
    for one that is not there). ``part`` takes the sum or count of a histogram or summary. A term of
    a difference is 0 while its metric is not on the page, unless it is ``required``.
    """

    metric: str
    where: dict[str, str] = {}
    unless: dict[str, str] = {}
    part: Part = "value"
    unit: str = ""
    required: bool = False


class Source(_Read, frozen=True):
    """One way to get a signal. Either ``metric``, or ``sum`` and ``count`` for a mean alone.

    ``plus`` and ``minus`` are added and taken off, within the same attributes. ``labels`` map
    labels to attributes, beside the adapter's own. ``number_in`` takes a label's value for the
    number, ``names_in`` makes a series of each name in a label's list (of the series with the
    largest value: vLLM puts the time there), ``equal`` counts the series that have this value.
    ``whole`` maps no label: terms of a difference do not have the same ones.
    ``approx`` says how the value is not quite what the signal means.
    """

    metric: str = ""
    where: dict[str, str] = {}
    unless: dict[str, str] = {}
    part: Part = "value"
    unit: str = ""
    sum: Term | None = None
    count: Term | None = None
    plus: tuple[Term, ...] = ()
    minus: tuple[Term, ...] = ()
    labels: dict[str, str] = {}
    number_in: str = ""
    names_in: str = ""
    equal: float | None = None
    whole: bool = False
    approx: str = ""

    @property
    def first(self) -> Term:
        """The term without which there is nothing."""
        if self.sum is not None:
            return self.sum
        return Term(self.metric, self.where, self.unless, self.part, self.unit, True)

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms, the first one first."""
        more = (self.count,) if self.count is not None else ()
        return (self.first, *more, *self.plus, *self.minus)

    @property
    def derived(self) -> bool:
        """The page does not have it as it is: it is reckoned, or not quite the same."""
        return bool(
            self.sum is not None
            or self.plus
            or self.minus
            or self.part != "value"
            or self.number_in
            or self.names_in
            or self.equal is not None
            or self.approx
        )


class Rule(_Read, frozen=True):
    """Say where a signal comes from. ``when`` is the condition under which the page has it.

    ``since`` and ``until`` are names of releases, both inclusive.
    """

    name: str
    sources: tuple[str | Source, ...] = msgspec.field(name="from")
    set: dict[str, str] = {}
    layer: Layer | None = None
    when: str = ""
    since: str = ""
    until: str = ""

    @property
    def alternatives(self) -> Iterator[Source]:
        """The sources, in order."""
        for one in self.sources:
            yield Source(one) if isinstance(one, str) else one


class SeriesMark(_Read, frozen=True):
    """A series that must be on the page: a metric with a label whose value matches."""

    metric: str
    label: str
    like: str


class Marks(_Read, frozen=True):
    """How a page is told; names may have ``*``.

    ``all`` must be there, of ``any`` and of ``series`` one, of ``none`` nothing. ``plain`` names
    have no prefix of the server's own, so a page that has them may be another's.
    """

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    series: tuple[SeriesMark, ...] = ()
    plain: bool = False


class InfoMark(_Read, frozen=True):
    """What an endpoint's JSON says: ``at`` is a path (``data.0.owned_by``) that matches ``like``.

    Without ``like`` it tells nothing by itself. ``version`` is the path of the version.
    """

    endpoint: str
    at: str = ""
    like: str = ""
    version: str = ""


class Release(_Read, frozen=True):
    """A range of releases that one can tell from the page. The first that fits is it."""

    name: str
    evidence: str
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class Blind(_Read, frozen=True):
    """Something that cannot be known, and only while a metric is there or is not."""

    about: str
    text: str
    present: str = ""
    missing: str = ""


class Adapter(_Read, frozen=True):
    """What is known of one server."""

    name: str
    title: str
    layer: Layer
    evidence: str
    marks: Marks = Marks()
    info: tuple[InfoMark, ...] = ()
    prefixes: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    releases: tuple[Release, ...] = ()
    rules: tuple[Rule, ...] = msgspec.field(name="signal", default=())
    blind: tuple[Blind, ...] = ()

    @property
    def metrics(self) -> frozenset[str]:
        """The names on the page that any rule looks at."""
        return frozenset(
            term.metric
            for rule in self.rules
            for source in rule.alternatives
            for term in source.terms
        )

    @property
    def counting(self) -> frozenset[str]:
        """Those whose gain is asked for, whatever type the page declares."""
        return frozenset(
            term.metric
            for rule in self.rules
            if SIGNALS[rule.name].counts
            for source in rule.alternatives
            for term in source.terms
        )

    def rules_of(self, release: Release | None) -> tuple[Rule, ...]:
        """Return the rules for a release; one that is not known counts as the newest."""
        names = [one.name for one in self.releases]
        at = 0 if release is None else names.index(release.name)
        return tuple(
            rule
            for rule in self.rules
            if (not rule.since or names.index(rule.since) >= at)
            and (not rule.until or names.index(rule.until) <= at)
        )

    def spelled(self, names: Iterable[str]) -> Adapter:
        """Return the adapter with the prefix that the page uses (``ray_vllm_`` for ``vllm:``)."""
        if len(self.prefixes) < 2:
            return self
        there = list(names)
        best = max(self.prefixes, key=lambda one: sum(name.startswith(one) for name in there))
        if best == self.prefixes[0]:
            return self
        return respell(self, self.prefixes[0], best)


def respell(adapter: Adapter, old: str, new: str) -> Adapter:
    """Return the adapter with another prefix wherever a name begins with the old one."""
    text = msgspec.json.encode(adapter).decode()
    return msgspec.json.decode(text.replace(f'"{old}', f'"{new}'), type=Adapter)


def matches(labels: Mapping[str, str], term: Term) -> bool:
    """Say whether a series is one of a term's."""
    return all(
        _pattern(want).fullmatch(labels.get(label, "")) for label, want in term.where.items()
    ) and not any(
        _pattern(want).fullmatch(labels.get(label, "")) for label, want in term.unless.items()
    )


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


# ---------------------------------------------------------------- files

#: What begins the rules in a file; how a server is told stands before them.
_RULES = b"\n[[signal]]"
#: Not by ``importlib.resources``, which loads what reads archives.
_FOLDER = Path(__file__).parent / "adapters"


@cache
def outlines() -> tuple[Adapter, ...]:
    """Read how all servers are told, in the order of their names: adapters without their rules.

    A host has one or two kinds of servers; the rules of all of them are most of what is known.
    """
    return tuple(
        parse(one.read_bytes().partition(_RULES)[0], one.name)
        for one in sorted(_FOLDER.glob("*.toml"))
    )


@cache
def adapter(name: str) -> Adapter:
    """Read the adapter of a server. Raises ``KeyError`` for one that is not known."""
    if all(one.name != name for one in outlines()):
        raise KeyError(name)
    file = f"{name}.toml"
    return parse((_FOLDER / file).read_bytes(), file)


def adapters() -> tuple[Adapter, ...]:
    """Read all adapters that ship with Vedette, in the order of their names."""
    return tuple(adapter(one.name) for one in outlines())


def parse(body: bytes, file: str) -> Adapter:
    """Read an adapter's file. Raises ``AdapterError`` with the file, the place and the reason."""
    try:
        found = msgspec.convert(tomli.loads(body.decode()), Adapter)
    except tomli.TOMLDecodeError as error:
        raise AdapterError(f"{file}:{error.lineno}: {error.msg}") from None
    except (UnicodeDecodeError, msgspec.ValidationError) as error:
        raise AdapterError(f"{file}: {error}") from None
    problems = list(_problems(found))
    if problems:
        raise AdapterError("\n".join(f"{file}: {problem}" for problem in problems))
    return found


def _problems(adapter: Adapter) -> Iterator[str]:
    """Name what types cannot: signals, attributes, units, patterns and releases that are not."""
    releases = {one.name for one in adapter.releases}
    for rule in adapter.rules:
        signal = SIGNALS.get(rule.name)
        if signal is None:
            yield f"signal {rule.name!r} is not in the vocabulary"
            continue
        if (rule.layer or adapter.layer) not in signal.layers:
            yield f"signal {rule.name!r} means nothing in layer {rule.layer or adapter.layer!r}"
        if rule.name == REQUESTS and rule.set.get(OUTCOME) not in OUTCOMES:
            yield f"outcome {rule.set.get(OUTCOME)!r} is not one of {', '.join(OUTCOMES)}"
        known = signal.instrument.attributes
        for attribute in (*rule.set, *(a for s in rule.alternatives for a in s.labels.values())):
            if attribute not in known:
                yield f"signal {rule.name!r} has no attribute {attribute!r}"
        for release in (rule.since, rule.until):
            if release and release not in releases:
                yield f"signal {rule.name!r}: release {release!r} is not one of {sorted(releases)}"
        for source in rule.alternatives:
            yield from _source_problems(rule, source, signal.instrument.kind)


def _source_problems(rule: Rule, source: Source, kind: str) -> Iterator[str]:
    if bool(source.metric) == (source.sum is not None):
        yield f"signal {rule.name!r}: a source has a metric, or a sum and a count"
    if (source.sum is None) != (source.count is None):
        yield f"signal {rule.name!r}: a sum and a count go together"
    if source.sum is not None and kind != "histogram":
        yield f"signal {rule.name!r}: a sum and a count make a histogram, it is a {kind}"
    if kind == "histogram" and (source.plus or source.minus or source.part != "value"):
        yield f"signal {rule.name!r}: histograms are not added or taken off in parts"
    for term in source.terms:
        if term.unit not in UNITS and term.unit not in LARGER:
            yield f"signal {rule.name!r}: unit {term.unit!r} is not one of {[*UNITS, *LARGER]}"
        for pattern in (*term.where.values(), *term.unless.values()):
            try:
                re.compile(pattern)
            except re.error as error:
                yield f"signal {rule.name!r}: pattern {pattern!r}: {error}"
