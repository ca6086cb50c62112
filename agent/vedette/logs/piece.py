"""One piece of a header, and the separators between pieces."""

from __future__ import annotations

import re
from typing import NamedTuple

from vedette.logs.stamp_forms import Form

#: Kinds of pieces. STAMP and LEVEL are anchors: a text hardly begins with them by chance.
STAMP, LEVEL, NUMBER, BRACKET, NAME, FIELD, WORD, DASH = "TLNBMFWD"
#: What wraps a stamp or a level, with what closes it.
OPEN = {b"[": b"]", b"(": b")", b"<": b">", b"{": b"}", b"*": b""}
BLANK = rb"[ \t]+"

#: What may stand between two pieces: blanks, or one sign with blanks about it or none.
_SEPARATOR = re.compile(
    rb"[ \t]*(?:(?:\||--?|::?|,|;|=>|>|\xe2\x80\x94)(?=[ \t\[])[ \t]*|\|[ \t]*|$)|[ \t]+"
)


class Piece(NamedTuple):
    """One piece of a header.

    ``source`` is its expression with the separator; ``sure`` that it is no word of a text: a lone
    number is, a word is not. ``closes`` that a message follows a name, as after ``sshd[12]: ``.
    """

    kind: str
    source: bytes
    end: int
    text: bytes
    sure: bool
    closes: bool = False
    form: Form | None = None
    padded: bool = False


def separated(line: bytes, at: int) -> re.Match[bytes] | None:
    """Return the separator at a place, None when the text goes on there."""
    return _SEPARATOR.match(line, at)


def is_padding(separator: bytes) -> bool:
    """Tell whether blanks fill up a column."""
    return len(separator) > 1 and separator.isspace()


def like(separator: bytes) -> bytes:
    """Return the expression of separators like this one; of none, the empty one."""
    sign = separator.strip()
    if sign:
        tight = not separator.startswith((b" ", b"\t"))
        return (b"" if tight else rb"[ \t]*") + re.escape(sign) + rb"[ \t]*"
    if b"\t" in separator and b" " not in separator:
        return rb"\t"
    return BLANK if separator else b""
