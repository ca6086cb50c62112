"""Find what says who somebody is: mail, cards, accounts, telephones, numbers of states.

What has a checksum is masked wherever it stands, what has none only in a form of its own. Numbers
that a key names (``phone=``, ``"passport_no":``) are found in ``vedette.redact.assigned``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vedette.redact import checks, rules
from vedette.redact.rules import Finds, Piece, expression, words

_AT = expression(r"(?:@|%40)(?=[A-Za-z0-9\x80-\xff][A-Za-z0-9\x80-\xff-]{0,62}+\.)")
_LOCAL = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.!#$&*+-/?^_`{|}~"
    + "".join(map(chr, range(0x80, 0x100)))
)
#: Written before an address, though the standard lets them be a part of it.
_BEFORE = "/|{`*&?!#$^-.+"
_LONGEST_LOCAL, _LONGEST_DOMAIN = 64, 253
_DOMAIN = expression(
    r"(?:[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]{0,61}+)\.)+?(?P<top>[A-Za-z\x80-\xff]{2,24}"
    r"|xn--[a-z0-9]{2,30})(?![A-Za-z0-9_\x80-\xff-]|\.[A-Za-z0-9])"
)
#: Last parts that are kinds of files and of units, not of hosts.
_NO_HOSTS = words(
    """
    service socket target timer mount automount slice scope device swap path js mjs ts tsx css
    html json xml yml yaml py pyc so dll exe jar war png jpg jpeg gif svg ico webp txt md log
    conf cfg rb go rs java class map gz tgz zip whl rpm deb
    """
)
#: Names of algorithms and remote ends that are written like addresses.
_NO_PEOPLE = expression(
    r"(?:[\w.+-]+@(?:openssh\.com|libssh\.org|lysator\.liu\.se|putty\.projects\.tartarus\.org)|"
    r"git@[\w.-]+(?=[:/])|[\w.+-]+@(?:example\.invalid|localhost\.localdomain))",
    any_case=True,
)
_MESSAGE_ID = expression(
    r"(?:message-?id|msgid|in-reply-to|references|resent-message-id)[\"']?[=:][ ]*[\"']?<?\Z"
)
_CARD = expression(
    r"(?:[3-6][0-9]{12,15}|2[2-7][0-9]{14}"
    r"|[2-6][0-9]{3}(?P<by>[ -])[0-9]{4}(?P=by)[0-9]{4}(?P=by)[0-9]{1,7}"
    r"|3[47][0-9]{2}(?P<amex>[ -])[0-9]{6}(?P=amex)[0-9]{5}"
    r"|3[0689][0-9]{2}(?P<diners>[ -])[0-9]{6}(?P=diners)[0-9]{4})"
    r"(?![A-Za-z0-9_]|[.-][0-9])"
)
_BEFORE_CARD = expression(r"[A-Za-z0-9_.](?<!%B)\Z|[^A-Za-z\s]-\Z")
_IBAN = expression(
    r"[A-Z]{2}[0-9]{2}(?:[A-Z0-9]{11,30}"
    r"|(?:[ -][A-Z0-9]{4}){2,7}(?:[ -][A-Z0-9]{1,3})?)(?![A-Za-z0-9])"
)
_SSN = expression(r"[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w-]|\.[0-9])")
_WORLD = expression(r"(?:\+|%2[bB])\(?[1-9](?:[ .\-/]?\(?(?:0\))?[0-9]\)?){7,14}(?!\w|[.:-][0-9])")
_US = expression(
    r"\([2-9][0-9]{2}\)[ ]?[0-9]{3}[-. ][0-9]{4}(?!\w)"
    r"|[2-9][0-9]{2}(?P<by>[-.])[0-9]{3}(?P=by)[0-9]{4}(?![\w-]|\.[0-9])"
)
_TELEPHONE = expression(r"tel:\+?[0-9][0-9().\-]{5,20}")
#: Shapes (digits as 0, capitals as A) of which a text must show one, see ``vedette.redact.screen``.
CARD_SHAPES = ("0000 0000 0000", "0000-0000-0000", "0000 000000 0000", "0000-000000-0000")
PHONE_SHAPES = ("+0", "+(0", "%2B0", "%2b0")
_WORDLIKE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-")
_AFTER = r"(?![\w-]|\.[0-9])"


class _Form(NamedTuple):
    """A number of states: shapes that a text must show, its form, the test of its digits."""

    shapes: tuple[str, ...]
    form: re.Pattern[str]
    check: Callable[[str], bool] | None


def _form(shapes: str, form: str, check: Callable[[str], bool] | None) -> _Form:
    return _Form(tuple(shapes.split("|")), expression(form + _AFTER), check)


_HOLDING_LETTERS = (
    _form(
        "AA000000A|AA 00 00 00 A",
        r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PQR-TW-Z][A-CEGHJ-NPQR-TW-Z](?P<s>[ ]?)[0-9]{2}"
        r"(?P=s)[0-9]{2}(?P=s)[0-9]{2}(?P=s)[A-D]",
        None,
    ),
    _form("0000000A|0000000-A", r"[XYZ0-9][0-9]{7}-?[A-HJ-NP-TV-Z]", checks.dni),
    _form(
        "AAAAAA00A00A000A",
        r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]",
        checks.fiscal_code,
    ),
    _form("AAAA000000AAAAAA", r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HM][A-Z]{5}[A-Z0-9][0-9]", None),
    _form("AAAAA0000A", r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", None),
)
_LONG = (
    _form("0" * 17, r"[1-8][0-9]{16}[0-9Xx]", checks.chinese_identity),
    _form("0" * 15, r"[1-478][0-9]{14}", checks.french_identity),
)
_DASHED = (
    _form(".000-00", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", checks.cpf),
    _form("000000-000", r"(?:19|20)?[0-9]{6}[-+A-F][0-9]{3}[0-9A-Y]", checks.nordic_identity),
    _form("000000-0000000", r"[0-9]{6}-[0-9]{7}", checks.korean_identity),
    _form(
        "0000-0000-0000", r"(?<![0-9]-)[2-9][0-9]{3}-[0-9]{4}-[0-9]{4}(?!-[0-9])", checks.aadhaar
    ),
    _form(
        "00.00.00-000.00",
        r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}",
        checks.belgian_identity,
    ),
)
_SPACED = (
    _form(
        "0000 0000 0000", r"(?<![0-9][ ])[2-9][0-9]{3} [0-9]{4} [0-9]{4}(?! [0-9])", checks.aadhaar
    ),
    _form("000 000 0000", r"(?<![0-9][ ])[0-9]{3} [0-9]{3} [0-9]{4}(?! [0-9])", checks.nhs),
    _form(
        "00 000 000 00",
        r"[1-478] [0-9]{2} [0-9]{2} [0-9]{2} [0-9]{3} [0-9]{3} [0-9]{2}",
        checks.french_identity,
    ),
)
_BARE = str.maketrans("", "", " .-+/()")


def find_email(piece: Piece, found: Finds) -> None:
    """Add e-mail addresses, also with the @ as a URL writes it."""
    text = piece.text
    for at in _AT.finditer(text):
        if at.start() and text[at.start() - 1] == "@":
            continue
        found.look()
        window = text[max(0, at.start() - _LONGEST_LOCAL) : at.start()]
        local = window[len(window.rstrip(_LOCAL)) :]
        local = local[local.rfind("/") + 1 :] if "://" in local or local.startswith("/") else local
        local = local.lstrip(_BEFORE)
        domain = _DOMAIN.match(text, at.end(), at.end() + _LONGEST_DOMAIN)
        if not local or local[-1] == "." or domain is None or domain["top"].lower() in _NO_HOSTS:
            continue
        start = at.start() - len(local)
        if at.group() == "@" and not _is_person(text, start):
            continue
        found.add(start, domain.end(), rules.EMAIL)


def _is_person(text: str, start: int) -> bool:
    if _NO_PEOPLE.match(text, start):
        return False
    before = text[max(0, start - 80) : start]
    if before.endswith("%"):  # the end of an address in a URL, as its user
        return False
    tail = before.lower()
    if _MESSAGE_ID.search(tail):
        return False
    if before.endswith(("/", ":")) and "://" in before:
        scheme = before.rpartition("://")[2]
        return any(one in scheme for one in "/? \t\"'")  # else user and password of a URL
    return True


def find_cards(piece: Piece, found: Finds) -> None:
    """Add numbers of payment cards."""
    text = piece.text
    for match in _CARD.finditer(text):
        start = match.start()
        if _BEFORE_CARD.search(text, max(0, start - 2), start):
            continue
        if checks.card(match.group().translate(_BARE)):
            found.add(start, match.end(), rules.CARD)


def find_iban(piece: Piece, found: Finds) -> None:
    """Add numbers of bank accounts; of groups of four, as many as make one with right digits."""
    text = piece.text
    for match in _IBAN.finditer(text):
        bare = match.group() if _apart(text, match.start()) else ""
        while bare and not checks.iban(bare.translate(_BARE)):
            bare = bare.rpartition(" ")[0]
        if bare:
            found.add(match.start(), match.start() + len(bare), rules.IBAN)


def find_ssn(piece: Piece, found: Finds) -> None:
    """Add social security numbers in the form with dashes."""
    text = piece.text
    for match in _SSN.finditer(text):
        if _apart(text, match.start()) and checks.social_security(match.group().translate(_BARE)):
            found.add(match.start(), match.end(), rules.SSN)


def _apart(text: str, start: int) -> bool:
    """Say whether what begins here is not the end of a longer word or number."""
    return not start or text[start - 1] not in _WORDLIKE


def find_world_phones(piece: Piece, found: Finds) -> None:
    """Add telephone numbers with a plus and eight to fifteen digits."""
    text = piece.text
    for match in _WORLD.finditer(text):
        start = match.start()
        if text[start] == "+" and not _apart(text, start):
            continue
        number = match.group().replace("%2B", "+").replace("%2b", "+")
        digits = sum(one.isdigit() for one in number)
        if 9 <= digits <= 15 or (digits == 8 and len(number) > 9):
            found.add(start, match.end(), rules.PHONE)


def find_us_phones(piece: Piece, found: Finds) -> None:
    """Add telephone numbers in the form of the USA."""
    text = piece.text
    for match in _US.finditer(text):
        start = match.start()
        before = text[max(0, start - 3) : start]
        if before.endswith(("1-", "1.", "1 ")):
            start -= 2
        if _apart(text, start) and text[start - 1 : start] not in ("/", ":"):
            found.add(start, match.end(), rules.PHONE)


def find_telephones(piece: Piece, found: Finds) -> None:
    """Add the numbers of tel: addresses."""
    for match in _TELEPHONE.finditer(piece.lower):
        found.add(match.start() + 4, match.end(), rules.PHONE)


def find_national(piece: Piece, shape: str, forms: Sequence[_Form], found: Finds) -> None:
    """Add numbers of states whose check digits are right, and those of an unmistakable form."""
    text = piece.text
    for shapes, form, check in forms:
        for one in shapes:
            if one in shape:
                break
        else:
            continue
        for match in form.finditer(text):
            if not _apart(text, match.start()):
                continue
            if check is None or check(match.group().translate(_BARE)):
                found.add(match.start(), match.end(), rules.NATIONAL)


def _has_long(shape: str) -> bool:
    """Say whether 13 digits and more stand somewhere for themselves."""
    at = shape.find(_LONGEST)
    while at >= 0:
        before = shape[max(0, at - 2) : at]
        if before == "%A" or not before.endswith(("0", "a", "A", "_", ".", "_-")):
            return True
        at = shape.find(_LONGEST, at + len(_LONGEST))
    return False


_LONGEST = "0" * 13


def find_by_shape(piece: Piece, shape: str, found: Finds) -> None:
    """Add what is found by the shape of its digits: ``0`` for each, ``A`` for capitals."""
    long, spaced, dashed = _has_long(shape), "000 000" in shape, "0-000" in shape
    if long or ((spaced or dashed) and any(one in shape for one in CARD_SHAPES)):
        find_cards(piece, found)
        if long:
            find_national(piece, shape, _LONG, found)
    numbers = "0000000" in shape and ("0000000A" in shape or "0000000-A" in shape)
    if numbers or "AA00" in shape or "AA 00 0" in shape:
        find_iban(piece, found)
        find_national(piece, shape, _HOLDING_LETTERS, found)
    if dashed:
        if "000-00-0000" in shape:
            find_ssn(piece, found)
        find_national(piece, shape, _DASHED, found)
    elif ".000-00" in shape:
        find_national(piece, shape, _DASHED, found)
    if spaced:
        find_national(piece, shape, _SPACED, found)
    if (dashed and "000-0000" in shape) or "000.0000" in shape:
        find_us_phones(piece, found)
    if ("+" in shape or "%2" in shape) and any(one in shape for one in PHONE_SHAPES):
        find_world_phones(piece, found)
