"""Cut the beginning of a line into the pieces that headers are made of.

A header is a run of stamps, levels, process numbers, bracketed things, names and plain columns, in
any order and with any separators. ``cut`` finds the longest run that could be one; which part of it
is the header is for ``headers`` to decide, from what the source's other lines look like.
Each piece brings the regular expression that matches it and its like, with the separator that
followed it, so that a header found once becomes one expression.
"""

from __future__ import annotations

import re

from vedette.logs.level_pieces import is_wrapped_level, level_piece
from vedette.logs.levels import LETTERS, WORDS
from vedette.logs.piece import (
    BLANK,
    BRACKET,
    DASH,
    FIELD,
    LEVEL,
    NAME,
    NUMBER,
    OPEN,
    STAMP,
    WORD,
    Piece,
    is_padding,
    like,
    separated,
)
from vedette.logs.stamp_forms import source_like
from vedette.logs.timestamps import Stamp, match_stamp

#: Of a line only its beginning can be header.
HEADER_MAX = 400
PIECES_MAX = 16
#: So many columns that are no anchor may stand in a row before the next anchor.
COLUMNS_MAX = 6

_AFTER_TIME = re.compile(rb"[ \t]*(?:\||[-:,;]+(?=[ \t\[(A-Z]))[ \t]*|[ \t]+|(?=[\[(])|$")
_NUMBER_SOURCE = rb"(?:[Pp][Ii][Dd][:=]?[ ]?)?#?(?:0x[0-9a-f]{1,16}|-?\d{1,10})(?:[#:.-]\d{1,10})?"
_NUMBER = re.compile(_NUMBER_SOURCE + rb"(?=[\s|:,\]#]|$)")
_NUMBER_SHUT = re.compile(rb"\][ \t]+")
_SQUARE_SOURCE = rb"\[[^\[\]]{0,200}(?:\[[^\[\]]{0,100}\][^\[\]]{0,200}){0,4}\]"
_ROUND_SOURCE = rb"\([^()]{1,120}\)"
_ANGLE_SOURCE = rb"<\d[\d.]{0,20}>"
_BRACKET = re.compile(b"|".join((_SQUARE_SOURCE, _ROUND_SOURCE + rb"(?=[ :])", _ANGLE_SOURCE)))
_BRACKET_SOURCES = {b"[": _SQUARE_SOURCE, b"(": _ROUND_SOURCE, b"<": _ANGLE_SOURCE}
_AFTER_BRACKET = re.compile(rb"[ \t]*(?::|--?|\|)[ \t]+|[ \t]+|(?=\[)|$|:(?=\w)")
#: A bracket that says where in the program a line comes from, rather than something of the message.
_PLACE = re.compile(
    rb"\[ *(?:[^ ]*|(?:pid|tid|thread|req|request|process)[ :=#-].*?) *\]\Z", re.IGNORECASE
)
_NAME_TEXT = rb"[\w$@%/.+*<>~-][\w$@%/.+*<>#()~-]*(?:::?[\w$<][\w$@%/.+*<>#()~-]*)*"
_ASIDE = rb"(?:\[[^\]\s]{0,40}\](?: \([\w.+\[\]-]{1,120}\))?|\( *\d+\))?"
#: A colon and a blank, or two as some write; more of them are an indented text.
_COLON = rb" *:(?:  (?! )|[ \t]|\Z)"
#: ``sshd[12]:``, ``kernel:``, ``org.foo.Bar$1:``, ``main.go:23:``, ``launchd[1] (com.x[2]):``
_NAME_SOURCE = b"(" + _NAME_TEXT + b")" + _ASIDE + _COLON
_NAME = re.compile(b"(" + _NAME_TEXT + b")(" + _ASIDE + b")" + _COLON)
#: ``Google Chrome[12]:``, which takes a host before it not to be one more word.
_SPACED_TEXT = _NAME_TEXT + rb"(?: [\w.+-]{1,30}){1,3}"
_SPACED_SOURCE = b"(" + _SPACED_TEXT + rb")\[\d{1,10}\]" + _COLON
_SPACED = re.compile(_SPACED_SOURCE)
_DASHED = re.compile(b"(" + _NAME_TEXT + rb"(?: [\w*]{1,12})?) - ")
_DASHED_SOURCE = b"(" + _NAME_TEXT + rb"(?: [\w*]{1,12})?) - "
#: ``main.go:23] `` of glog, ``crate::part] `` of env_logger, where a bracket was opened before.
_BRACED = re.compile(rb"([\w$./:<>-]{1,120})\](?: |$)")
_BRACED_SOURCE = rb"([\w$./:<>-]{1,120})\](?: |\Z)"
#: ``WARNING:root:``, as Python's logging writes without being told how.
_TIGHT = re.compile(rb"([\w.]{1,120}):(?! )")
_TIGHT_SOURCE = rb"([\w.]{1,120}):"
_FIELD = re.compile(rb"([^|\t]{0,80})([|\t])")
_WORD_SOURCE = rb"[^\s|\[]\S*"
_WORD = re.compile(b"(" + _WORD_SOURCE + rb")[ \t]+")
#: Words as they stand in texts, and those in upper case, which may be either.
_TEXT_WORD = re.compile(rb"[A-Za-z]?[a-z]+[,.:;]?\Z|[A-Z]+[,.:;]?\Z|\W*\Z")
_DASH = re.compile(rb"(---?|-|\*|#|:|\|)[ \t]+")
_HEADER_STARTS = frozenset(bytes((byte,)) for byte in b"0123456789[(<")
_INDENT = re.compile(rb"[ \t]+(?=[\d\[])")
#: Names a program gives to a place in itself: with dots, paths, ``::``, ``$`` or a line number.
QUALIFIED = re.compile(rb"[A-Za-z_][\w$-]*(?:(?:\.|::|/|\$)[\w$<>-]+)+(?::\d+|@\d+)?\Z")
#: What a line with a stamp of any form has: a time of day, a date, or many digits.
_COULD = re.compile(
    rb"\d\d?:\d\d?:\d|(?:19|20)\d\d[-/.]\d\d[-/. T]|[12]\d{9}|\d{6} \d{6}|\d\.\d{6}\]"
    rb"|-\d\d\.\d\d\.\d\d"
)
_STARTS_WITH_LEVEL = re.compile(rb"[\[<(]?([A-Za-z]{1,9})(?:[\])>][ :]|: |:\w| |\||\t|/)")


def could_have_header(line: bytes) -> bool:
    """Tell cheaply whether a line could begin with a header; most plain texts cannot."""
    found = _COULD.search(line, 0, 120)
    if found is not None:
        # behind more words than columns can stand before it, it is one of a text
        return line.count(b" ", 0, found.start()) <= 2 * COLUMNS_MAX
    start = _STARTS_WITH_LEVEL.match(line)
    return start is not None and (start[1] in WORDS or start[1] in LETTERS)


def cut(line: bytes) -> list[Piece]:
    """Return the longest run of pieces at the start of a line that could be its header.

    Nothing is returned when there is no anchor among them.
    """
    pieces: list[Piece] = []
    at = columns = 0
    anchored = False
    end = min(len(line), HEADER_MAX)
    while at < end and len(pieces) < PIECES_MAX and columns <= COLUMNS_MAX:
        piece = _next(line, at, pieces)
        if piece is None:
            break
        pieces.append(piece)
        at = piece.end
        if piece.kind in (STAMP, LEVEL):
            anchored, columns = True, 0
        else:
            columns += 1
        if piece.closes and not goes_on(line, at):
            break
    return pieces if anchored else []


def goes_on(line: bytes, at: int) -> bool:
    """Tell whether after a name and its colon a header of its own follows."""
    if line[at : at + 1] not in _HEADER_STARTS:
        return False
    if _COULD.search(line, at, at + 36) is None:
        return is_wrapped_level(line, at)
    stamp = match_stamp(line, at + (line[at : at + 1] in (b"[", b"(")))
    return (stamp is not None and stamp.form.weight > 3) or is_wrapped_level(line, at)


def _next(line: bytes, at: int, before: list[Piece]) -> Piece | None:
    if not at:
        indent = _INDENT.match(line)
        if indent is not None:
            if match_stamp(line, indent.end()) is None:
                return None
            return Piece(DASH, BLANK, indent.end(), b"", True)
    stamp = _stamp(line, at, before)
    if stamp is not None:
        return stamp
    levels = [piece.text for piece in before if piece.kind == LEVEL]
    if not levels or (len(levels) == 1 and levels[0] in LETTERS):
        level = level_piece(line, at, before)
        if level is not None:
            return level
    if levels or any(piece.kind == STAMP for piece in before):
        if before[-1].source.endswith((rb"\|[ \t]*", rb"\t")):
            field = _field(line, at)
            if field is not None:
                return field
        name = _name(line, at, before)
        if name is not None:
            return name
    return _bracket(line, at) or _number(line, at) or _dash(line, at) or _word(line, at)


def _stamp(line: bytes, at: int, before: list[Piece]) -> Piece | None:
    opening = line[at : at + 1]
    if not before and opening in LETTERS:  # klog: the level's letter, then the stamp
        stamp = match_stamp(line, at + 1)
        if stamp is not None and stamp.form.name == "klog":
            return Piece(LEVEL, rb"([A-Z])(?=\d{4} )", at + 1, opening, True)
    closing = OPEN.get(opening)
    stamp = match_stamp(line, at + (closing is not None))
    if stamp is None or not _is_in_place(stamp, line, at, before):
        return None
    suffix, end = b"", stamp.end
    if closing and line[end : end + 1] == closing:
        suffix, end = re.escape(closing), end + 1
    elif closing is not None and opening not in (b"[", b"*"):
        return None
    separator = _AFTER_TIME.match(line, end)
    if separator is None or (closing and not suffix and not separator[0]):
        return None
    prefix = re.escape(opening) if closing is not None else b""
    return Piece(
        STAMP,
        prefix + _source(line, stamp) + suffix + like(separator[0]),
        separator.end(),
        stamp.head,
        True,
        form=stamp.form,
    )


def _source(line: bytes, stamp: Stamp) -> bytes:
    at = stamp.end - len(stamp.tail) - len(stamp.fraction)
    sign = line[at - 1 : at]
    if stamp.fraction and line[at : at + len(stamp.fraction)] != stamp.fraction:
        return stamp.form.source  # more digits than count
    return source_like(stamp.form, stamp.head, sign, stamp.fraction, stamp.tail)


def _is_in_place(stamp: Stamp, line: bytes, at: int, before: list[Piece]) -> bool:
    """Tell whether a stamp's form may stand where it does."""
    match stamp.form.name:
        case "klog":
            return at > 0 and line[at - 1 : at] in LETTERS
        case "uptime":
            return line[at : at + 1] in (b"[", b"<")
        case "dateless":
            wrapped = line[at : at + 1] in OPEN
            return wrapped or not any(piece.kind == STAMP for piece in before)
        case _:
            return True


def _field(line: bytes, at: int) -> Piece | None:
    found = _FIELD.match(line, at)
    if found is None:
        return None
    end, sign = found.end(), rb"\t"
    if found[2] == b"|":
        sign = rb"\|[ \t]*"
        end += len(line[end:]) - len(line[end:].lstrip(b" \t"))
    text = found[1].strip()
    return Piece(FIELD, rb"[^|\t]{0,80}" + sign, end, text, b" " not in text)


def _name(line: bytes, at: int, before: list[Piece]) -> Piece | None:
    found = _NAME.match(line, at, at + 200)
    if found is not None:
        sure = bool(found[2]) or QUALIFIED.match(found[1]) is not None
        return Piece(NAME, _NAME_SOURCE, found.end(), found[1], sure, closes=True)
    if before[-1].kind == WORD:
        found = _SPACED.match(line, at, at + 200)
        if found is not None:
            return Piece(NAME, _SPACED_SOURCE, found.end(), found[1], True, closes=True)
    found = _BRACED.match(line, at, at + 200)
    if found is not None:
        return Piece(NAME, _BRACED_SOURCE, found.end(), found[1], True, closes=True)
    if before[-1].kind == LEVEL and before[-1].source.endswith(b":"):
        found = _TIGHT.match(line, at, at + 200)
        if found is not None:
            return Piece(NAME, _TIGHT_SOURCE, found.end(), found[1], True, closes=True)
    found = _DASHED.match(line, at, at + 200)
    if found is not None and found[1] not in (b"-", b"--", b"---"):
        sure = QUALIFIED.match(found[1]) is not None
        return Piece(NAME, _DASHED_SOURCE, found.end(), found[1], sure)
    return None


def _bracket(line: bytes, at: int) -> Piece | None:
    found = _BRACKET.match(line, at)
    separator = _AFTER_BRACKET.match(line, found.end()) if found is not None else None
    if found is None or separator is None:
        return None
    opening, sign = line[at : at + 1], separator[0].strip()
    sure = opening == b"<" or (
        opening == b"[" and (bool(sign) or _PLACE.match(found[0]) is not None)
    )
    return Piece(
        BRACKET,
        _BRACKET_SOURCES[opening] + like(separator[0]),
        separator.end(),
        found[0],
        sure,
        closes=sign in (b":", b"-") and separator[0][-1:] == b" ",
    )


def _number(line: bytes, at: int) -> Piece | None:
    found = _NUMBER.match(line, at)
    if found is None:
        return None
    shut = _NUMBER_SHUT.match(line, found.end())
    if shut is not None:
        return Piece(NUMBER, _NUMBER_SOURCE + rb"\][ \t]+", shut.end(), found[0], True)
    separator = separated(line, found.end())
    if separator is None:
        return None
    source = _NUMBER_SOURCE + like(separator[0])
    padded = is_padding(separator[0])
    return Piece(NUMBER, source, separator.end(), found[0], True, padded=padded)


def _dash(line: bytes, at: int) -> Piece | None:
    found = _DASH.match(line, at)
    if found is None:
        return None
    return Piece(DASH, re.escape(found[1]) + BLANK, found.end(), found[1], True)


def _word(line: bytes, at: int) -> Piece | None:
    found = _WORD.match(line, at)
    if found is None:
        return None
    sure = _TEXT_WORD.match(found[1]) is None
    padded = found.end() - found.end(1) > 1
    return Piece(WORD, _WORD_SOURCE + BLANK, found.end(), found[1], sure, padded=padded)
