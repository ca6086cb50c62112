"""Mask what varies in a log line: addresses, times, paths and what else has a form of its own.

Two steps, both pure functions of the line:

1. ``fold`` maps control bytes to spaces and every run of digits to a single ``0``. Lines that
   differ in numbers only become equal bytes, which makes the cheap key of the miner's cache, and
   all that follows looks at the folded line only.
2. ``mask`` replaces what has a recognisable form by a code, one byte below 0x20. The rest is for
   ``miner_tokens``, which cuts it into words.

Bounds: the first ``MAX_BYTES`` of a line. No expression here can need more than linear time: every
repetition is either of a class that cannot match what follows or has an upper limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

MAX_BYTES = 8192

#: A variable part of any form; what a template's key holds for all forms.
ANY = b"\x01"
#: A colon with a neighbour on both sides (``host:port``), unlike the one that ends a phrase.
GLUE = b"\x1c"
#: Stands for all that is not looked at any more.
REST = b"\x1d"

_CODES = b"\x02\x03\x04\x05\x06\x07\x08\x0e\x0f\x10\x11\x12\x13"
_NAMES = ("time", "uuid", "url", "email", "mac", "ip", "host", "hex", "path", "duration", "num",
          "id", "word")  # fmt: skip
#: Code of each form, and the form of each code.
CODE = {name: _CODES[i : i + 1] for i, name in enumerate(_NAMES)}
FORM = {code: name for name, code in CODE.items()} | {ANY: "*"}

_CLEAN = bytes(0x20 if b < 0x20 or b == 0x7F else b for b in range(256))
_FOLD = bytes(0x30 if 0x30 <= b <= 0x39 else _CLEAN[b] for b in range(256))

# In what follows 0 is any run of digits. _L and _R: no part of a word before, behind.
_L = rb"(?<![A-Za-z0-9_\x80-\xff])"
_R = rb"(?![A-Za-z0-9_\x80-\xff])"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_ZONE = (
    rb"(?: ?(?:Z|UTC|GMT|[A-Z]{1,2}[DS]T)(?![A-Za-z0-9])| ?[+-]0(?::0)?(?![0-9.:]))?"
    rb"(?: 0(?![.:0-9A-Za-z]))?"
)
_NO_CODE_FILE = (
    rb"(?!(?:c|cc|cpp|cxx|h|hpp|java|py|go|rs|js|ts|rb|php|cs|m|mm|scala|kt|lua|pl|swift):)"
)
_SEGMENT = rb"[^\s\"'<>|,;:()\[\]{}=?/]"
# All but the last begin where no word goes on; ``None``, or bytes without which it cannot match.
_MASKS: tuple[tuple[bytes, bytes | None, bytes], ...] = (
    (
        CODE["uuid"],
        None,
        rb"(?:[0-9a-f]{1,8}(?:-[0-9a-f]{1,4}){3}-[0-9a-f]{1,12}"
        rb"|[0-9A-F]{1,8}(?:-[0-9A-F]{1,4}){3}-[0-9A-F]{1,12})" + _R,
    ),
    (
        CODE["url"],
        b"://",
        rb"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s\"'<>\\)\]},;|]{0,2000}[^\s\"'<>\\)\]},;|.:?!]",
    ),
    (
        CODE["email"],
        b"@",
        rb"(?<![.+-])[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9][A-Za-z0-9-]{0,62}"
        rb"(?:\.[A-Za-z0-9-]{1,63}){1,8}" + _R,
    ),
    (
        CODE["time"],
        b":",
        rb"(?:(?:" + _DAY + rb",? {1,2})?"
        rb"(?:" + _MONTH + rb" {1,2}0 0:0:0(?: 0(?![.:0-9A-Za-z]))?"
        rb"|0[ /-]" + _MONTH + rb"[ /-]0[ :]0:0:0)|0[-/.]0[-/.]0[T :_@-]{1,2}0[:.]0(?:[:.]0)?)"
        rb"(?:[.,]0)?" + _ZONE,
    ),
    (CODE["mac"], None, rb"[0-9a-fA-F]{1,2}(?:[:-][0-9a-fA-F]{1,2}){5,7}" + _R),
    (CODE["ip"], None, rb"0\.0\.0\.0(?:/0)?(?::0)?(?![0-9.:]?[0-9A-Za-z])"),
    (
        CODE["ip"],
        b":",
        rb"(?:(?:[0-9a-fA-F]{1,4}:){3,7}(?::|[0-9a-fA-F]{1,4}" + _R + rb")"
        rb"|[0-9a-fA-F]{1,4}::(?:[0-9a-fA-F]{1,4}:?){1,6}" + _R + rb")",
    ),
    (CODE["time"], b":", rb"0:0(?::0)?(?:[.,:]0)?(?: ?[AP]M\b)?(?![0-9:])"),
    (CODE["hex"], None, rb"(?:0x[0-9a-fA-F]+|[0a-f]{8,})" + _R),
    (
        CODE["host"],
        b":",
        rb"(?<![.-])(?:[a-z0][a-z0_-]{0,62}\.){1,8}" + _NO_CODE_FILE
        + rb"[a-z][a-z0-9-]{0,62}:0(?![.:0-9A-Za-z])",
    ),
    (CODE["duration"], None, rb"(?<=[ =(])<0(?: ?(?:ms|us|ns|s|sec|min))?(?![A-Za-z0-9>])"),
    (
        CODE["path"],
        None,
        rb"(?<![.<>)/\\-])(?:[A-Za-z]:\\|\\\\)[^\s\"'<>|,;:]+",
    ),
    (
        CODE["path"],
        b"/",
        rb"(?<![.<>)/\\-])\.{0,2}/(?:" + _SEGMENT + rb"*/)*" + _SEGMENT + rb"+(?:\?[^\s\"'<>]*)?",
    ),
)  # fmt: skip
#: The size in units behind the size in bytes: said twice, and left out by some when small.
_DROP = rb"(?<=0 bytes) \(0(?:\.0)? [KMGTP]?i?B\)"
_NEEDS = (b":", b"/", b"://", b"@")
#: What any of them begins with, and what a number is followed by that is none of them: said first,
#: as it spares trying all of them where none can be.
_BEGINS = rb"(?=[A-Za-z0./\\\\<])(?!0[,;)\]}\"'|=])"


#: Where something was, and its code.
Spans = list[tuple[int, int, bytes]]

#: A long word without a form, which stays as it is: spares trying the masks within it.
_PLAIN = rb"[A-Za-z0_\x80-\xff]{16,}"


class _Masks(NamedTuple):
    """The masks that a line can need, as one expression; ``code`` answers what a match becomes."""

    pattern: re.Pattern[bytes]
    code: Callable[[re.Match[bytes]], bytes]
    #: What no mask without a bound has in it.
    stop: re.Pattern[bytes]


def _masks_for(present: int) -> _Masks:
    """Return the masks for lines with these of ``_NEEDS``, as bits; the others cost time only."""
    has = {None, *(need for place, need in enumerate(_NEEDS) if present >> place & 1)}
    masks = [(code, pattern) for code, need, pattern in _MASKS if need in has]
    # A group of each, so that the number of the last one tells which it was.
    either = b"|".join(b"(%s)" % pattern for _, pattern in masks)
    codes = (*(code for code, _ in masks), b"")

    def code(match: re.Match[bytes]) -> bytes:
        number = match.lastindex
        return codes[number - 1] if number else match.group()

    pattern = re.compile(
        _L + b"(?:" + _BEGINS + b"(?:" + either + b")|" + _PLAIN + b")|(" + _DROP + b")"
    )
    return _Masks(pattern, code, _STOP if present >> 4 & 1 else _STOP_SIMPLE)


#: No path with a question behind it, address or file of Windows goes on over the first; over the
#: second does no other path.
_STOP = re.compile(rb"[ \"'<>]")
_STOP_SIMPLE = re.compile(rb"[ \"'<>,;|()\[\]{}=]")
_MASKS_BY_NEED: dict[int, _Masks] = {}


def _masks(folded: bytes) -> _Masks:
    colon, slash, address = b":" in folded, b"/" in folded, b"://" in folded
    present = colon + 2 * slash + 4 * address + 8 * (b"@" in folded)
    present += 16 * (address or b"?" in folded or b"\\" in folded)
    found = _MASKS_BY_NEED.get(present)
    if found is None:
        found = _MASKS_BY_NEED[present] = _masks_for(present)
    return found


def mask(folded: bytes) -> Iterator[tuple[bytes, Spans, int]]:
    """Yield a folded line, piece by piece, with a code for all that has a form.

    With each, where in the folded line stood what became which code, and where it ends. That is
    where no mask without a bound goes on, and those with one see as much behind it as they could
    need: what a line becomes does not depend on the pieces, and who has enough need not ask for
    more.
    """
    masks = _masks(folded)
    at, end, window = 0, len(folded), WINDOW
    while at < end:
        found = masks.stop.search(folded, at + window) if at + window < end else None
        cut = found.start() if found else end
        pieces: list[bytes] = []
        spans: Spans = []
        for match in masks.pattern.finditer(folded, at, min(cut + _MARGIN, end)):
            if not match.lastindex:
                continue
            start, stop = match.span()
            if start >= cut:
                break
            code = masks.code(match)
            pieces += (folded[at:start], code)
            spans.append((start, stop, code))
            at = stop
        pieces.append(folded[at:cut])
        at = max(cut, at)
        yield b"".join(pieces), spans, at
        window = 4 * WINDOW


def mask_short(folded: bytes) -> bytes:
    """Return what the pieces of ``mask`` are together; for lines no longer than ``WINDOW``."""
    masks = _masks(folded)
    return masks.pattern.sub(masks.code, folded)


#: Bytes of a line that are masked at once, at first; longer than most lines.
WINDOW = 256
#: More than the longest of the masks with a bound that may have a space or a comma in it.
_MARGIN = 128


def head(line: bytes) -> bytes:
    """Return what is looked at: the first bytes, of the first line and the last of several.

    The last line says what happened where a trace comes first; an indented one belongs to a trace.
    """
    if b"\n" in line:
        first, _, rest = line.partition(b"\n")
        last = rest.rstrip(b"\n").rpartition(b"\n")[2]
        line = first[:MAX_BYTES]
        if last and not last[:1].isspace():
            line += b" ... " + last
    return line[:MAX_BYTES]


def clean(line: bytes) -> bytes:
    """Return the head of a line with control bytes as spaces: what spans point into."""
    return head(line).translate(_CLEAN)


def fold(line: bytes) -> bytes:
    """Return the head of a line with control bytes as spaces and each run of digits as ``0``."""
    key = head(line).translate(_FOLD)
    while b"00" in key:
        key = key.replace(b"00", b"0")
    return key


def fold_all(lines: Sequence[bytes]) -> list[bytes]:
    """Return ``[fold(line) for line in lines]``, at a third of the cost for ordinary lines."""
    if not lines:
        return []
    joined = b"\n".join(lines)
    # A table that keeps the newline; the pieces are only right when no line holds one of its own.
    if joined.count(b"\n") != len(lines) - 1 or max(map(len, lines)) > MAX_BYTES:
        return [fold(line) for line in lines]
    joined = joined.translate(_FOLD_LINES)
    while b"00" in joined:
        joined = joined.replace(b"00", b"0")
    return joined.split(b"\n")


_FOLD_LINES = bytes(0x0A if b == 0x0A else _FOLD[b] for b in range(256))
