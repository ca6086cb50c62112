"""Cut a log line into tokens: words that tell what happened, and parts that vary by nature.

``miner_masks`` put codes for what has a form of its own; the rest is split into words and
delimiters here. A word with a digit is variable, unless it is a name with numbers behind it
(``eth0``, ``blk_-15``, ``node-246``): such a word stays, with its numbers folded, because the name
is what tells lines apart.

``scan`` answers with tokens only; ``scan_spans`` also says which bytes of the line each token was.

Bounds: ``MAX_TOKENS`` tokens of ``MAX_TEXT`` bytes together, then ``REST``. What is behind them is
not even masked, so a long line costs hardly more than one of a kilobyte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from vedette.logs.miner_masks import (
    ANY,
    CODE,
    FORM,
    GLUE,
    REST,
    WINDOW,
    Spans,
    clean,
    fold,
    mask,
    mask_short,
)

MAX_TOKENS = 128
#: Bytes of the masked line. What says what happened stands in the first thousand.
MAX_TEXT = 1024
#: Longer words are variable: no writer has words of this length.
MAX_WORD = 96
#: A name with numbers behind it is not longer.
MAX_NUMBERED = 64

_W = rb"[^\s=,;:()\[\]{}\"'|<>.\x1c]"
_TOKEN_TEXT = _W + rb"+(?:\." + _W + rb"+)*(?:\([+-]?0\)|\[[+-]?0\])?|\.+|[=,;:()\[\]{}\"'|<>\x1c]"
_TOKEN = re.compile(_TOKEN_TEXT)
#: A value that is not there, where other lines have one: ``user= host=x``, ``from x ()``.
_EMPTY = re.compile(rb"=(?= +(?:" + _TOKEN_TEXT + rb")=)|=(?= *\Z)|(?<= )\((?=\))")
_GLUED = re.compile(rb"(?<! ):(?=[^ ])")
_VARIES = re.compile(rb"[0\x01-\x1f]").search
_NUMBER = re.compile(rb"[+-]?0(?:\.0)*(?:[eE][+-]?0)?((?!x)[A-Za-z%]{0,4})").fullmatch
_CALL = re.compile(rb"(.+)([(\[])[^()\[\]]*[)\]]").fullmatch
_NUMBERED = re.compile(rb"(?![a-f]+0$)(?!.*0[A-Za-z])(?!.*\..*\.)_*[A-Za-z][A-Za-z0_.-]*").fullmatch
_NUMBERS = re.compile(rb"[_.-]*0(?:[_.-]*[A-Za-z]?[_.-]*0)*")
_UNITS = dict.fromkeys(b"B KB MB GB TB PB kB Kb Mb KiB MiB GiB TiB".split(), b"B") | dict.fromkeys(
    b"sec secs ms us ns s min mins msec usec msecs usecs".split(), b"sec"
)


class Token(NamedTuple):
    """A token: what it is in a key, how it is written (empty: as it is), its place in the line."""

    key: bytes
    code: bytes
    start: int
    end: int


def scan(folded: bytes) -> list[bytes]:
    """Return the tokens of a folded line as they stand in a key: constants, or ``ANY``."""
    if len(folded) <= WINDOW:
        masked, is_whole = mask_short(folded), True
    else:
        masked, is_whole, _ = _first(folded)
    words = _TOKEN.findall(_prepared(masked, is_whole=is_whole))
    if len(words) > MAX_TOKENS:
        return [*_keys(words[:MAX_TOKENS]), REST]
    return _keys(words) if is_whole else [*_keys(words), REST]


def scan_spans(line: bytes) -> tuple[bytes, list[Token]]:
    """Return the line cleaned, and its tokens with their forms and places in it."""
    text, folded = clean(line), fold(line)
    masked, is_whole, spans = _first(folded)
    prepared = _prepared(masked, is_whole=is_whole)
    found = list(_TOKEN.finditer(prepared))
    words = [match.group() for match in found[:MAX_TOKENS]]
    places = _Places(spans, _unfold(text))
    tokens = []
    shift = 0  # empty values are in no line
    for word, key, match in zip(words, _keys(words), found, strict=False):
        start, end = match.start() - shift, match.end() - shift
        if word == ANY:
            shift += 1
            end -= 1
        first, last = places.at(start), places.at(end)
        tokens.append(Token(key, _form(word, key), first, max(first, last)))
    if len(found) > MAX_TOKENS:
        tokens.append(Token(REST, b"", places.at(found[MAX_TOKENS].start() - shift), len(text)))
    elif not is_whole:
        tokens.append(Token(REST, b"", places.at(len(masked)), len(text)))
    return text, tokens


def _first(folded: bytes) -> tuple[bytes, bool, Spans]:
    """Return as much of a line, masked, as is looked at; whether it is all; what was masked."""
    masked, spans, tokens, reached = b"", Spans(), 0, 0
    for piece, more, end in mask(folded):
        reached = end
        masked += piece
        spans += more
        tokens += len(_TOKEN.findall(piece))
        # Where a piece ends a token may be cut, and be two here: there are few pieces.
        if len(masked) > MAX_TEXT or tokens > MAX_TOKENS + MAX_TOKENS // 4:
            break
    is_whole = reached == len(folded)
    if len(masked) > MAX_TEXT:
        cut = max(masked.rfind(b" ", 0, MAX_TEXT), masked.rfind(b",", 0, MAX_TEXT))
        masked, is_whole = masked[: cut if cut > 0 else MAX_TEXT], False
    return masked, is_whole, spans


def _prepared(masked: bytes, *, is_whole: bool) -> bytes:
    """Return a masked line with ``ANY`` where a value is not there, and glue for some colons."""
    if b"=" in masked or b" ()" in masked:
        # Behind the end of what is looked at there may be a value.
        masked = _EMPTY.sub(rb"\g<0>" + ANY, masked if is_whole else masked + b" .")
        masked = masked if is_whole else masked[:-2]
    return _GLUED.sub(GLUE, masked) if b":" in masked else masked


def _keys(words: list[bytes]) -> list[bytes]:
    """Return what words are in a key."""
    try:
        keys = [_KEYS[word] for word in words]
    except KeyError:
        known = _KEYS.get
        keys = [known(word) or _key(word) for word in words]
    if not _UNITS.keys().isdisjoint(words):
        for place, word in enumerate(words):
            if place and keys[place - 1] == ANY and word in _UNITS:
                keys[place] = _UNITS[word]
    return keys


#: What words are in a key: a memory of ``_key``, a pure function, so it is no state.
_KEYS: dict[bytes, bytes] = {}
_MAX_KEYS, _MAX_KEPT = 8192, 48


def _key(word: bytes) -> bytes:
    """Return what a word is in a key."""
    if len(word) > MAX_WORD:
        return ANY
    key = word
    if word != GLUE and _VARIES(word):
        call = _CALL(word)
        name, tail = (call[1], call[2] + b"0") if call else (word, b"")
        if tail and not _VARIES(name):
            key = name + tail
        elif len(name) <= MAX_NUMBERED and _NUMBERED(name):
            key = _NUMBERS.sub(b"0", name) + tail
        else:
            key = ANY
    if len(word) <= _MAX_KEPT:
        if len(_KEYS) >= _MAX_KEYS:
            _KEYS.clear()
        _KEYS[word] = key
    return key


def _form(word: bytes, key: bytes) -> bytes:
    """Return how a masked word is written, with a code; empty where its key is no ``ANY``."""
    if key != ANY or word == ANY:
        return b""
    if len(word) == 1 and word in FORM:
        return word
    number = _NUMBER(word)
    if number:
        # A unit stays in the text: ``12ms`` is ``<num>ms``.
        return CODE["num"] + number[1]
    return CODE["id"]


class _Places:
    """Leads from places in a masked line, which come in order, back to the line."""

    def __init__(self, spans: Spans, back: list[int]) -> None:
        self._spans: Iterator[tuple[int, int, bytes]] = iter(spans)
        self._next = next(self._spans, None)
        self._shift = 0
        self._back = back

    def at(self, place: int) -> int:
        """Return where in the line a place of the masked line is."""
        # A code stands at the start of what it replaces; the byte behind it, at the end.
        while self._next is not None and self._next[0] < place + self._shift:
            start, end, code = self._next
            self._shift += end - start - len(code)
            self._next = next(self._spans, None)
        return self._back[place + self._shift]


def _unfold(text: bytes) -> list[int]:
    """Return for each position of the folded line, and its end, the position in the cleaned one."""
    back: list[int] = []
    place = 0
    for match in _RUN.finditer(text):
        start, end = match.span()
        back.extend(range(place, start + 1))
        place = end
    back.extend(range(place, len(text) + 1))
    return back


_RUN = re.compile(rb"[0-9]+")
