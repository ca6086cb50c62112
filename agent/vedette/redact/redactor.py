"""Mask secrets and personal data in one text, so that the text still says what it said.

What is found is replaced by what it was: ``<email>``, ``<token:github>``. With a key of the host's
own (``hash_key``), by that and six digits of an HMAC (``<email:3f2a91>``): who reads the summaries
can tell equal from different and nothing else. Without a key, which is the default, there are no
digits: they would make two lines of one, and whoever has the key can try out short values.

Rounds. Masking changes what stands beside what, so the result is looked at again until nothing is
found. What is masked already is blanked for the finders, and each span holds a character that is
not, so rounds end; six are allowed, and a text that is not still by then is withheld whole. So
redacting twice is redacting once, whatever the bytes.

Bounds. Of a text longer than ``MOST_BYTES`` the rest is withheld, from a gap on; one with more than
``MOST_SPANS`` finds, or places that need a close look, is withheld whole. Finders are linear in the
text; rules of the operator's own are asked about the first 8 KiB, and what is longer is cut there.

Cost, on one core of a virtual machine (``python tests/bench/redact_bench.py --logs LOGHUB``):
2.6 µs for a line without a candidate, 10 µs for one of Loghub-2k (3 to 23 by system), 40 µs for one
in which something is masked, at most 33 ms for a line of a megabyte made to be slow.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from vedette.redact.addresses import Policy
from vedette.redact.own_rules import LONGEST_TEXT, BadRulesError, Own, OwnRule, compiled
from vedette.redact.rules import BLANK, GENERAL, Rule, Span, TooMuchError, by_name
from vedette.redact.screen import Wanted, look
from vedette.redact.tokens import TOKENS

#: Every rule that ships, by name.
RULES: Mapping[str, Rule] = by_name(GENERAL, TOKENS)
MOST_BYTES = 131_072
MOST_ROUNDS = 6
#: How far before its end a long text is cut rather than in the middle of a word.
LAST_WORD = 4096
WITHHELD = "<withheld>"
#: Under this name what was withheld is counted.
WITHHOLDING = "withheld"
_NO_HITS: Mapping[str, int] = MappingProxyType({})
#: Bytes of UTF-8 that go on with a letter.
_REST_OF_LETTER = "".join(map(chr, range(0x80, 0xC0)))
_REST_OF_LETTER_BYTES = bytes(range(0x80, 0xC0))
#: Punctuation in which people write the same number differently.
_SEPARATORS = re.compile(r"[ .\-()]")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is masked on this host.

    ``off`` switches rules off by name. ``allow`` are values that are never masked, such as the
    numbers of test cards, ``allow_matching`` expressions that match such values whole. Names of
    users are kept by default: on a server they are mostly accounts, and what happened to whom is
    the meaning of the line; so are hardware addresses.
    """

    off: tuple[str, ...] = ()
    addresses: Policy = "clients"
    mask_hardware: bool = False
    mask_users: bool = False
    rules: tuple[OwnRule, ...] = ()
    allow: tuple[str, ...] = ()
    allow_matching: tuple[str, ...] = ()
    hash_key: bytes = b""


class Redacted(msgspec.Struct, frozen=True):
    """A text with nothing to hide, and what was masked in it by rule."""

    data: bytes
    hits: Mapping[str, int] = _NO_HITS


class Redactor:
    """Masks texts by one policy. Holds no state: any thread may use it.

    Raises:
        BadRulesError: when something in the settings cannot be used; says all that is wrong.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self._own, self._allowed_forms = _checked(settings)
        self._off = frozenset(settings.off)
        self._allowed = frozenset(one.encode().decode("latin-1") for one in settings.allow)
        self._key = settings.hash_key
        self._wanted = Wanted(settings.addresses, settings.mask_hardware, settings.mask_users)
        labels = sorted({re.escape(rule.label) for rule in RULES.values()}, key=len, reverse=True)
        texts = [re.escape(own.text) for own in self._own]
        hashed = [f"<{re.escape(own.rule.label)}:[0-9a-f]{{6}}>" for own in self._own]
        # An element of XML may have the name of a label: <password>x</password>.
        label = rf"(?P<label>{'|'.join(labels)})(?::[0-9a-f]{{6}})?"
        masked = rf"<{label}>(?![^<>]{{1,400}}</(?P=label)>)|{WITHHELD}"
        self._masked = re.compile("|".join((masked, *texts, *hashed)))
        self._may_be_masked = "*" if any(text.startswith("\\*") for text in texts) else "<"

    def redact(self, data: bytes) -> Redacted:
        """Return a text without what is to be hidden. Never raises, whatever the bytes."""
        if len(data) > MOST_BYTES:
            return self._redact_long(data, MOST_BYTES)
        if self._own and len(data) > LONGEST_TEXT:
            return self._redact_long(data, LONGEST_TEXT)
        text = data.decode("latin-1")
        hits: Counter[str] | None = None
        for _ in range(MOST_ROUNDS):
            try:
                spans = self._spans(text, data if hits is None else text.encode("latin-1"))
            except TooMuchError:
                break
            if not spans:
                return Redacted(data) if hits is None else Redacted(text.encode("latin-1"), hits)
            if hits is None:
                hits = Counter()
            text = self._replaced(text, spans, hits)
        return Redacted(WITHHELD.encode(), {**(hits or {}), WITHHOLDING: 1})

    def redact_text(self, text: str) -> str:
        """Return a text without what is to be hidden."""
        data = text.encode("utf-8", "surrogatepass")
        redacted = self.redact(data)
        return redacted.data.decode("utf-8", "surrogatepass") if redacted.hits else text

    def _redact_long(self, data: bytes, most: int) -> Redacted:
        """Redact the beginning and withhold the rest; again, should labels make it too long."""
        end = WITHHELD.encode()
        hits = Counter({WITHHOLDING: 1})
        for _ in range(MOST_ROUNDS):
            first = self.redact(_cut(data.removesuffix(end), most - len(end)) + end)
            hits.update(first.hits)
            data = first.data
            if len(data) <= most:
                return Redacted(data, hits)
        return Redacted(end, hits)

    def _spans(self, text: str, data: bytes) -> list[Span]:
        """Return what is to be masked in a text, in order, without overlaps."""
        shown = text
        if "<" in text or self._may_be_masked in text:
            shown = self._masked.sub(_blank, text)
            data = shown.encode("latin-1")
        found = look(shown, data, self._wanted)
        for own in self._own:
            for match in own.pattern.finditer(shown):
                start, end = match.span(own.group)
                if start < end:
                    found.add(start, end, own.rule, own.text)
        if not found.spans:
            return found.spans
        spans = [span for span in found.spans if self._hides(shown, span)]
        if not shown.isascii():
            spans = [_of_whole_letters(shown, span) for span in spans]
        return _settled(spans)

    def _hides(self, shown: str, span: Span) -> bool:
        if span.rule.name in self._off:
            return False
        value = shown[span.start : span.end]
        if value in self._allowed or not value.strip(BLANK):
            return False
        return not any(form.fullmatch(value) for form in self._allowed_forms)

    def _replaced(self, text: str, spans: list[Span], hits: Counter[str]) -> str:
        parts: list[str] = []
        at = 0
        for start, end, rule, instead in spans:
            parts.append(text[at:start])
            parts.append(self._instead(text[start:end], rule, instead))
            hits[rule.name] += 1
            at = end
        parts.append(text[at:])
        return "".join(parts)

    def _instead(self, value: str, rule: Rule, instead: str) -> str:
        if not self._key or (instead and not instead.startswith("<")):
            return instead or f"<{rule.label}>"
        if instead and rule.name in RULES:
            return instead  # a shortened address
        same = _SEPARATORS.sub("", value).lower().encode("latin-1") if rule.rank == 1 else b""
        digest = hmac.digest(self._key, same or value.encode("latin-1"), "sha256")
        return f"<{rule.label}:{digest[:3].hex()}>"


def _cut(data: bytes, most: int) -> bytes:
    """Return the beginning of a text, cut between words where there is a place near the end."""
    if len(data) <= most:
        return data
    near = max(data.rfind(one, most - LAST_WORD, most) for one in (b" ", b"\n", b",", b";", b'"'))
    if near >= 0:
        return data[: near + 1]
    end = most
    while most - end < 3 and data[end] in _REST_OF_LETTER_BYTES:
        end -= 1
    return data[:end]


def _blank(match: re.Match[str]) -> str:
    return BLANK * (match.end() - match.start())


def _of_whole_letters(text: str, span: Span) -> Span:
    """Return a span that begins and ends with letters of UTF-8, so that none is left in half."""
    start, end = span.start, span.end
    while span.start - start < 3 and start and text[start] in _REST_OF_LETTER:
        start -= 1
    while end - span.end < 3 and end < len(text) and text[end] in _REST_OF_LETTER:
        end += 1
    return Span(start, end, span.rule, span.text)


def _settled(spans: list[Span]) -> list[Span]:
    """Return spans in order; those that overlap as one, with the label of the most telling."""
    spans.sort(key=lambda span: (span.start, -span.end, span.rule.rank, span.rule.name))
    settled: list[Span] = []
    for span in spans:
        if not settled or span.start >= settled[-1].end:
            settled.append(span)
            continue
        last = settled[-1]
        better = span if span.rule.rank < last.rule.rank else last
        end = max(last.end, span.end)
        whole = (better.start, better.end) == (last.start, end)
        settled[-1] = Span(last.start, end, better.rule, better.text if whole else "")
    return settled


def _checked(settings: Settings) -> tuple[tuple[Own, ...], tuple[re.Pattern[str], ...]]:
    """Return the operator's rules and what they allow, ready to run; raises with all problems."""
    problems: list[str] = []
    own: tuple[Own, ...] = ()
    try:
        own = compiled(settings.rules, (*RULES, WITHHOLDING))
    except BadRulesError as bad:
        problems.extend(bad.problems)
    named = {*RULES, *(one.name for one in settings.rules)}
    problems.extend(f"off: there is no rule {name!r}" for name in settings.off if name not in named)
    forms: list[OwnRule] = [
        OwnRule(f"allow-{place}", form) for place, form in enumerate(settings.allow_matching)
    ]
    try:
        allowed = compiled(forms, ())
    except BadRulesError as bad:
        allowed = ()
        problems.extend(
            problem.replace("rule 'allow-", "allow_matching '") for problem in bad.problems
        )
    if problems:
        raise BadRulesError(problems)
    return own, tuple(one.pattern for one in allowed)
