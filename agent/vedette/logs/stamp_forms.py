"""The forms timestamps are written in, as one table of regular expressions.

Each form is three pieces: head (down to the second), fraction, tail. Its ``source`` has just those
as groups, for use within a header's expression; ``parts`` names what is in head and tail.
The order of the table decides where two forms fit: the more telling one stands first.
"""

from __future__ import annotations

import re

import msgspec


class Form(msgspec.Struct, frozen=True):
    """One way to write a time.

    ``kind`` says what is missing: dated, yearless, pair and triple (numbers in unknown order),
    dateless, epoch, uptime, or date (a day only, which gives no time). ``weight`` is how much it
    tells: of several stamps in a line the heaviest is the line's time.
    """

    name: str
    kind: str
    weight: int
    source: bytes
    tail: bytes
    pattern: re.Pattern[bytes]
    parts: re.Pattern[bytes]
    first: bytes


MONTHS = {
    name: number
    for number, name in enumerate(
        b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1
    )
}  # fmt: skip
_NAMES = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
#: Zone names that mean one offset where logs are written, in seconds; others are the source's own.
OFFSETS = {
    name: int(hours * 3600)
    for name, hours in (
        (b"UTC", 0), (b"GMT", 0), (b"WET", 0), (b"WEST", 1), (b"CET", 1), (b"CEST", 2), (b"EET", 2),
        (b"EEST", 3), (b"MSK", 3), (b"JST", 9), (b"KST", 9), (b"EST", -5), (b"EDT", -4),
        (b"CDT", -5), (b"MST", -7), (b"MDT", -6), (b"PST", -8), (b"PDT", -7), (b"AEST", 10),
        (b"AEDT", 11),
    )
}  # fmt: skip
#: Ambiguous ones (Chinese or American central, Indian, Irish or Israeli): read past, zone unknown.
_AMBIGUOUS = (b"CST", b"IST", b"BST", b"SGT", b"HKT", b"NZST", b"NZDT", b"SAST", b"BRT")

_MON = b"(?P<b>" + _NAMES.replace(b" ", b"|") + b"|" + _NAMES.upper().replace(b" ", b"|") + b")"
_DAY_NAME = rb"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? )"
_TOD = rb"(?P<H>\d\d?):(?P<M>\d\d?):(?P<S>\d\d?)"
_ZONES = b"|".join((*OFFSETS, *_AMBIGUOUS))
_ZONE = (
    rb"(?P<z>Z(?![\w])| ?[+-](?:0\d|1[0-4]):?[0-5]\d(?!\d)|[+-](?:0\d|1[0-4])(?![\d:])"
    rb"|[ ](?:" + _ZONES + rb")(?![\w]))"
)
_HALF = rb"(?P<p>[ ]?[AaPp]\.?[Mm]\b\.?)"
_TAIL = b"(?:" + _HALF + b"?" + _ZONE + b"?)"
_FRACTION = rb"(?:[.,:](\d{1,9})\d{0,3}(?![\d]))?"
_Y4 = rb"(?P<Y>(?:19|20)\d\d)"
_LETTERS = b"JFMASONDTW"
_DIGITS = b"0123456789"


def _form(
    name: str,
    kind: str,
    weight: int,
    head: bytes,
    fraction: bytes = _FRACTION,
    tail: bytes = _TAIL,
    first: bytes = _DIGITS,
) -> Form:
    source = (
        b"(" + _unnamed(head) + b")" + (fraction or b"()") + b"(" + (_unnamed(tail) + b")" or b")")
    )
    return Form(
        name,
        kind,
        weight,
        source,
        _unnamed(tail),
        re.compile(source),
        re.compile(head.split(b"(?=")[0] + rb"\|" + tail + rb"\Z"),
        first,
    )


def source_like(form: Form, head: bytes, separator: bytes, fraction: bytes, tail: bytes) -> bytes:
    """Return the expression of stamps written just like one: quicker than that of the whole form.

    It has the same three groups. ``separator`` is the sign before the fraction.
    """
    if form.kind in ("uptime", "date"):
        return form.source
    source = b"(" + _SHAPES.sub(_shape, head) + b")"
    source += re.escape(separator) + rb"(\d{1,9})\d{0,3}(?!\d)" if fraction else b"()"
    if not tail:
        return source + b"()"
    for exact, pattern in _TAILS:
        if exact.fullmatch(tail) is not None:
            return source + b"(" + pattern + b")"
    return source + b"(" + form.tail + b")"


def _shape(found: re.Match[bytes]) -> bytes:
    text = found[0]
    if text.isdigit():
        return rb"\d\d?" if len(text) < 3 else rb"\d{%d}" % len(text)
    if text.isalpha():
        return rb"[A-Z][a-z]{%d}" % (len(text) - 1) if text.istitle() else rb"[A-Z]{%d}" % len(text)
    return b" +" if text.isspace() else re.escape(text)


_SHAPES = re.compile(rb"\d+|[A-Za-z]{3,}| +|[^\d ]")
_TAILS = tuple(
    (re.compile(pattern), pattern) for pattern in (b"Z", rb" [+-]\d\d:?\d\d", rb"[+-]\d\d:?\d\d")
)


def _unnamed(source: bytes) -> bytes:
    return re.sub(rb"\(\?P<\w+>", b"(?:", source)


FORMS: tuple[Form, ...] = (
    _form("iso", "dated", 9, _Y4 + rb"[-/.](?P<m>\d\d?)[-/.](?P<d>\d\d?)(?:[T_]|,? +)" + _TOD),
    _form(
        "dotted", "dated", 9,
        _Y4 + rb"-(?P<m>\d\d)-(?P<d>\d\d)[-.](?P<H>\d\d)[.-](?P<M>\d\d)[.-](?P<S>\d\d)",
    ),
    _form(
        "compact", "dated", 9,
        _Y4 + rb"(?P<m>[01]\d)(?P<d>[0-3]\d)(?:[-T_]| +)" + _TOD,
    ),
    _form(
        "digits", "dated", 8,
        _Y4 + rb"(?P<m>[01]\d)(?P<d>[0-3]\d)[-T_ ]?(?P<H>[0-2]\d)(?P<M>[0-5]\d)(?P<S>[0-5]\d)"
        rb"(?!\d)",
    ),
    _form(
        "short", "dated", 8,
        rb"(?P<Y>\d\d)(?P<m>[01]\d)(?P<d>[0-3]\d) (?P<H>[0-2]\d)(?P<M>[0-5]\d)(?P<S>[0-5]\d)"
        rb"(?!\d)",
    ),
    _form("short_colons", "dated", 8, rb"(?P<Y>\d\d)(?P<m>[01]\d)(?P<d>[0-3]\d) +" + _TOD),
    _form(
        "triple", "triple", 8,
        rb"(?P<a>\d\d?)[/.-](?P<b>\d\d?)[/.-](?P<c>(?:20)?\d\d)(?:,? +|T|-|:)" + _TOD,
    ),
    _form("klog", "yearless", 7, rb"(?P<m>[01]\d)(?P<d>[0-3]\d) +" + _TOD, tail=b""),
    _form("pair", "pair", 7, rb"(?P<a>\d\d?)[-/.](?P<b>\d\d?)(?:[T_]| +)" + _TOD),
    _form(
        "day_first", "dated", 9,
        _DAY_NAME + rb"?(?P<d>\d\d?)[ /-]" + _MON + rb"[a-z]*[ /-]" + _Y4
        + rb"(?:[:T]|,? +)" + _TOD,
        first=_DIGITS + b"MTWFS",
    ),
    _form(
        "day_iso", "dated", 9,
        _DAY_NAME + _Y4 + rb"-(?P<m>\d\d?)-(?P<d>\d\d?) +" + _TOD,
        first=b"MTWFS",
    ),
    _form(
        "year_month", "dated", 9,
        _Y4 + rb"[ -]" + _MON + rb"[ -]+(?P<d>\d\d?)(?:,? +|:)" + _TOD,
    ),
    _form(
        "ctime", "dated", 9,
        _DAY_NAME + _MON + rb" +(?P<d>\d\d?) " + _TOD,
        tail=b"(?:" + _HALF + b"?" + _ZONE + b"?" + rb" (?P<Y>(?:19|20)\d\d)(?!\d))",
        first=b"MTWFS",
    ),
    _form(
        "month_year", "dated", 9,
        _DAY_NAME + b"?" + _MON + rb"[a-z]*[ -]+(?P<d>\d\d?),?[ -]+" + _Y4 + rb",? +" + _TOD,
        first=_LETTERS + b"S",
    ),
    _form(
        "month", "yearless", 8,
        b"(?:" + _DAY_NAME + b")?" + _MON + rb"[ -]+(?P<d>\d\d?),? +" + _TOD,
        first=_LETTERS + b"S",
    ),
    _form(
        "minute", "dated", 6,
        _Y4 + rb"[-/.](?P<m>\d\d)[-/.](?P<d>\d\d)[T ](?P<H>\d\d):(?P<M>\d\d)",
        fraction=b"()",
    ),
    _form("dateless", "dateless", 3, rb"(?P<H>[012]?\d):(?P<M>[0-5]\d):(?P<S>[0-5]\d)"),
    _form("nanoseconds", "epoch", 6, rb"(?P<e>[12]\d{18})(?!\d)", b"()", b""),
    _form("microseconds", "epoch", 6, rb"(?P<e>[12]\d{15})(?!\d)", b"()", b""),
    _form("milliseconds", "epoch", 6, rb"(?P<e>[12]\d{12})(?!\d)", b"()", b""),
    _form("seconds", "epoch", 5, rb"(?P<e>[12]\d{9})(?!\d)", rb"(?:\.(\d{1,9})(?!\d))?", b""),
    _form("uptime", "uptime", 4, rb" *(?P<u>\d{1,9})(?=\.\d{6}\])", rb"\.(\d{6})", b"",
          first=b" " + _DIGITS),
    _form("date", "date", 1, _Y4 + rb"[-/.](?P<m>\d\d)[-/.](?P<d>\d\d)(?![\w:.-])", b"()", b""),
)  # fmt: skip
#: The words a stamp may begin with, cut to three letters.
NAMES = frozenset(
    name
    for word in (*_NAMES.split(), *b"Mon Tue Wed Thu Fri Sat Sun".split())
    for name in (word, word.upper())
)
BY_NAME = {form.name: form for form in FORMS}
