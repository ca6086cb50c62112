"""Cut a log line into tokens: words that tell what happened, and parts that vary by nature.

Two steps, both pure functions of the line:

1. ``fold`` maps control bytes to spaces and every run of digits to a single ``0``. Lines that
   differ in numbers only become equal bytes, which makes the cheap key of the miner's cache, and
   all that follows looks at the folded line only.
2. ``scan`` replaces what has a recognisable form (addresses, times, paths, ...) by a code, one
   byte below 0x20, and splits the rest into words and delimiters. A word with a digit is variable,
   unless it is a name with numbers behind it (``eth0``, ``blk_-15``, ``node-246``): such a word
   stays, with its numbers folded, because the name is what tells lines apart.

``scan`` answers with tokens only; ``scan_spans`` also says which bytes of the line each token was.

Bounds: the first ``MAX_BYTES`` of a line, ``MAX_TOKENS`` tokens, then ``REST``. No expression here
can need more than linear time: every repetition is either of a class that cannot match what follows
or has an upper limit.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

MAX_BYTES = 8192
MAX_TOKENS = 128
#: Longer words are variable: no writer has words of this length.
MAX_WORD = 96
#: A name with numbers behind it is not longer.
MAX_NUMBERED = 64

#: A variable part of any form; what a template's key holds for all forms.
ANY = b"\x01"
#: A colon with a neighbour on both sides (``host:port``), unlike the one that ends a phrase.
GLUE = b"\x1c"
#: Stands for all tokens beyond ``MAX_TOKENS``.
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


def _mask_for(present: int) -> re.Pattern[bytes]:
    """Return the expression for lines with these of ``_NEEDS``, as bits; others cost time only."""
    has = [need for place, need in enumerate(_NEEDS) if present >> place & 1]
    parts = [
        # A group of each, so that the number of the last one tells which it was.
        b"(%s)" % pattern if need is None or need in has else b"(\\x00\\x00)"
        for _, need, pattern in _MASKS
    ]
    return re.compile(_L + b"(?:" + b"|".join(parts) + b")|(" + _DROP + b")")


_MASK_CODE = (b"", *(code for code, _, _ in _MASKS), b"")
_MASK_BY_NEED: dict[int, re.Pattern[bytes]] = {}


def _masks(folded: bytes) -> re.Pattern[bytes]:
    colon, slash = b":" in folded, b"/" in folded
    present = colon + 2 * slash + (4 * (b"://" in folded) if colon and slash else 0)
    present += 8 * (b"@" in folded)
    found = _MASK_BY_NEED.get(present)
    if found is None:
        found = _MASK_BY_NEED[present] = _mask_for(present)
    return found


_W = rb"[^\s=,;:()\[\]{}\"'|<>.]"
_TOKEN = re.compile(
    _W + rb"+(?:\." + _W + rb"+)*(?:\([+-]?0\)|\[[+-]?0\])?|\.+|[=,;:()\[\]{}\"'|<>]"
)
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


def _mask(match: re.Match[bytes]) -> bytes:
    return _MASK_CODE[match.lastindex or 0]


def scan(folded: bytes) -> list[bytes]:
    """Return the tokens of a folded line as they stand in a key: constants, or ``ANY``."""
    return _split(_masks(folded).sub(_mask, folded))[0]


def scan_spans(line: bytes) -> tuple[bytes, list[Token]]:
    """Return the line cleaned, and its tokens with their forms and places in it."""
    text, folded = clean(line), fold(line)
    back = _unfold(text)
    # Where the masked line stands behind the folded one, by masked position.
    places, shifts, shift = [0], [0], 0
    for match in _masks(folded).finditer(folded):
        start, end = match.span()
        length = len(_mask(match))
        # A code stands at the start of what it replaces; the byte behind it, at the end.
        places.append(start - shift + 1)
        shift += end - start - length
        shifts.append(shift)
    masked = _masks(folded).sub(_mask, folded)
    keys, starts, ends = _split(masked)
    tokens = []
    for key, start, end in zip(keys, starts, ends, strict=True):
        code = _form(masked[start:end], key) if key != REST else b""
        first = back[start + shifts[bisect_right(places, start) - 1]]
        last = back[end + shifts[bisect_right(places, end) - 1]]
        tokens.append(Token(key, code, first, max(first, last)))
    return text, tokens


def _split(masked: bytes) -> tuple[list[bytes], list[int], list[int]]:
    """Cut a masked line into keys, and where each begins and ends in it."""
    keys: list[bytes] = []
    starts: list[int] = []
    ends: list[int] = []
    known = _KEYS.get
    last, end, size = b"", 0, len(masked)
    for match in _TOKEN.finditer(masked):
        word = match.group()
        start = match.start()
        if (last == b"=" and start > end and masked[match.end() : match.end() + 1] == b"=") or (
            last == b"(" and word == b")" and start == end and masked[end - 2 : end - 1] == b" "
        ):
            keys.append(ANY)  # an empty value, where other lines have one
            starts.append(end)
            ends.append(end)
        if len(keys) >= MAX_TOKENS:
            keys.append(REST)
            starts.append(start)
            ends.append(size)
            return keys, starts, ends
        key = known(word)
        if key is None:
            key = _key(word)
        stop = match.end()
        if key == b":":
            if start == end and stop < size and masked[stop] != 32:
                key = GLUE
        elif last == ANY and word in _UNITS:
            key = _UNITS[word]
        keys.append(key)
        starts.append(start)
        ends.append(stop)
        last, end = key, stop
    if last == b"=":
        keys.append(ANY)
        starts.append(end)
        ends.append(end)
    return keys, starts, ends


#: What words are in a key: a memory of ``_key``, a pure function, so it is no state.
_KEYS: dict[bytes, bytes] = {}
_MAX_KEYS, _MAX_KEPT = 8192, 48


def _key(word: bytes) -> bytes:
    """Return what a word is in a key."""
    if len(word) > MAX_WORD:
        return ANY
    key = word
    if _VARIES(word):
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
    if key != ANY:
        return b""
    if len(word) == 1 and word in FORM:
        return word
    if not word:
        return b""
    number = _NUMBER(word)
    if number:
        # A unit stays in the text: ``12ms`` is ``<num>ms``.
        return CODE["num"] + number[1]
    return CODE["id"]


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
