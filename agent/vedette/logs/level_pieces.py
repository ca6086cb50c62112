"""Find the level in a header: ``INFO``, ``[warn]``, ``<info>``, ``I/``, ``[core:error]``, ``*``.

A level's word is often a word of the message as well ("error while loading"). So a bare one is sure
only when it is written as levels are: in upper case, wrapped, or with a sign or padding behind it.
"""

from __future__ import annotations

import re

from vedette.logs.levels import LETTERS, WORDS, is_plain
from vedette.logs.piece import (
    BLANK,
    DASH,
    LEVEL,
    NUMBER,
    OPEN,
    STAMP,
    Piece,
    is_padding,
    like,
    separated,
)
from vedette.logs.timestamps import match_stamp

#: A word, with the module or facility it is given for: ``core:error``, ``daemon.info``.
_LEVEL = re.compile(rb"(?:([a-z][a-z0-9_]{1,15})[.:])?([A-Za-z]{1,13}\d?)(?![\w.'-])")
_PREFIX = rb"[a-z][a-z0-9_]{1,15}[.:]"
_FACILITIES = frozenset(
    b"kern user mail daemon auth syslog lpr news uucp cron authpriv ftp local0 local1 local2 "
    b"local3 local4 local5 local6 local7".split()
)
_CLOSERS = {
    opening: re.compile(rb" *" + re.escape(closing))
    for opening, closing in ((b"[", b"]"), (b"(", b")"), (b"<", b">"), (b"|", b"|"))
}
_TIGHT = re.compile(rb"\](?: |$)|:(?=[\w.]+:|$)|/(?=\w)")
_AFTER_LETTER = re.compile(rb"[ \t]+|/(?=\w)|, (?=\[)|! ")
_TAG = re.compile(rb"[\w.$-]+ *:|\[")
_BRIEF_TAG = re.compile(rb"[\w.$-]+ *\( *\d+\): ")
_SIGN = re.compile(rb"[*#](?= )")
_ROLE = re.compile(rb"\d+:[A-Z]\Z")
#: ``[Server thread/INFO]: ``
_BEHIND_SOURCE = rb"\[[^\[\]/]{1,60}/([A-Z]{3,11})\]:? "
_BEHIND = re.compile(_BEHIND_SOURCE)
_WRAPPED = re.compile(rb"[\[<(]([A-Za-z]{3,11}) *[\])>] ")
#: Words .NET's console writes in lower case at the start of a line.
_CONSOLE = frozenset((b"info", b"warn", b"fail", b"dbug", b"trce", b"crit"))


def is_wrapped_level(line: bytes, at: int) -> bool:
    """Tell whether a level in brackets of any sort stands at a place."""
    found = _WRAPPED.match(line, at)
    return found is not None and found[1] in WORDS


def level_piece(line: bytes, at: int, before: list[Piece]) -> Piece | None:
    """Return the level at a place of a line, given the pieces before it."""
    opening = line[at : at + 1]
    if opening in _CLOSERS:
        return _wrapped(line, at, opening)
    if before and before[-1].kind == STAMP and _ROLE.match(before[0].text):
        sign = _SIGN.match(line, at)
        if sign is not None:
            return Piece(LEVEL, rb"([*#.-])[ ]+", at + 2, sign[0], True)
    found = _LEVEL.match(line, at)
    if found is None:
        return None
    prefix, word = found[1], found[2]
    if word in LETTERS:
        return None if prefix else _letter(line, at, found.end(), word, before)
    if word not in WORDS:
        return None
    upper = word.isupper()
    if prefix and not (before and (upper or prefix in _FACILITIES)):
        return None
    source = (_PREFIX if prefix else b"") + _like_word(word)
    tight = _TIGHT.match(line, found.end())
    if tight is not None:
        source += re.escape(tight[0].strip()) + (b" ?" if tight[0].endswith(b" ") else b"")
        return Piece(LEVEL, source, tight.end(), word, upper or is_plain(word))
    separator = separated(line, found.end())
    if separator is None:
        return None
    end, blank = separator.end(), separator[0]
    sign_or_padding = bool(blank.strip()) or len(blank) > 1
    if before:
        sure = upper or bool(prefix) or (is_plain(word) and sign_or_padding)
    elif upper:
        sure = sign_or_padding or match_stamp(line, end) is not None
    elif blank.strip() == b":" and word in _CONSOLE:
        sure = True
    else:
        return None
    return Piece(LEVEL, source + like(blank), end, word, sure, padded=is_padding(blank))


def _wrapped(line: bytes, at: int, opening: bytes) -> Piece | None:
    if opening == b"[":
        behind = _BEHIND.match(line, at)
        if behind is not None and behind[1] in WORDS:
            return Piece(LEVEL, _BEHIND_SOURCE, behind.end(), behind[1], True)
    found = _LEVEL.match(line, at + 1)
    if found is None or found[2] not in WORDS:
        return None
    word, end = found[2], found.end()
    source = re.escape(opening) + (_PREFIX if found[1] else b"") + _like_word(word)
    closed = _CLOSERS[opening].match(line, end)
    if closed is None:
        # [INFO module] and [INFO 2024-...]: the bracket stays open
        if opening != b"[" or line[end : end + 1] != b" ":
            return None
        return Piece(LEVEL, source + b" +", end + 1, word, is_plain(word))
    separator = separated(line, closed.end())
    blank = separator[0] if separator else b""
    source += b" *" + re.escape(OPEN.get(opening, opening)) + like(blank)
    return Piece(LEVEL, source, closed.end() + len(blank), word, True)


def _letter(line: bytes, at: int, end: int, letter: bytes, before: list[Piece]) -> Piece | None:
    """Return a level of one letter, which counts after a stamp or a number, or before a stamp."""
    found = _AFTER_LETTER.match(line, end)
    if found is None or (before and before[-1].kind not in (STAMP, NUMBER, DASH)):
        return None
    brief = found[0] == b"/" and _BRIEF_TAG.match(line, found.end()) is not None
    if not before and not brief and match_stamp(line, found.end()) is None and found[0] != b", ":
        return None
    alone = letter in b"AI" and before and before[-1].kind == STAMP and found[0] == b" "
    if alone and _TAG.match(line, found.end()) is None:
        return None  # "A new one", "I am": only with a tag behind it
    separator = re.escape(found[0]) if found[0].strip() else BLANK
    return Piece(LEVEL, b"([A-Z])" + separator, found.end(), letter, True)


def _like_word(word: bytes) -> bytes:
    """Return the expression of level words spelled in the same case."""
    if word.isupper():
        return rb"([A-Z]{1,13}\d?)"
    return rb"([a-z]{1,13}\d?)" if word.islower() else rb"([A-Z][a-z]{1,12}\d?)"
