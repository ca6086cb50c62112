"""What a rule is, what it finds, and the rules that are not about one service's keys.

A finder reads a ``Piece`` and adds ``Span``s; a rule is the name under which a span is counted,
switched off and told to the reader. Text is Latin-1 here: a character per byte, whatever the bytes
are, so places in it are places in the data, and substring tests cost half of those on bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

#: Put in the place of what is masked already, so that no finder reads it: length stays.
BLANK = "\0"
#: Finds in one text, and places looked at closely, at most: a text with more is withheld.
MOST_SPANS = 1000
#: What hides the beginning of a word: escapes of JSON and of URLs, colours of terminals.
_ESCAPES = re.compile(r"\\[nrtfbv\"'/]|\\u00[0-7][0-9a-fA-F]|%[2-7][0-9a-fA-F]|\x1b\[[0-9;]{0,9}m")


class Rule(msgspec.Struct, frozen=True, gc=False):
    """One kind of thing that is masked.

    ``label`` stands in angle brackets in its place. Of rules that overlap, the one with the lower
    ``rank`` gives the label.
    """

    name: str
    label: str
    finds: str
    rank: int = 2


class Span(NamedTuple):
    """A part of a piece that a rule wants masked; ``text`` stands there instead of the label."""

    start: int
    end: int
    rule: Rule
    text: str = ""


class Piece:
    """One text in the forms that finders look at; places are the same in all of them."""

    __slots__ = ("_plain", "lower", "text")

    def __init__(self, text: str, lower: str) -> None:
        self.text = text
        self.lower = lower
        self._plain: str | None = None

    @property
    def plain(self) -> str:
        """The text with escapes blanked: words begin where a reader sees them begin."""
        if self._plain is None:
            text = self.text
            hidden = "\\" in text or "%" in text or "\x1b" in text
            self._plain = _ESCAPES.sub(_blank, text) if hidden else text
        return self._plain


class TooMuchError(Exception):
    """A text holds more to mask, or to look at closely, than one text may."""


class Finds:
    """What finders want masked in one text; raises ``TooMuchError`` beyond ``MOST_SPANS``."""

    __slots__ = ("_looks", "spans")

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._looks = 0

    def add(self, start: int, end: int, rule: Rule, text: str = "") -> None:
        """Add a span."""
        self.spans.append(Span(start, end, rule, text))
        if len(self.spans) > MOST_SPANS:
            raise TooMuchError

    def look(self) -> None:
        """Count a place that costs a close look: what bounds the cost of hostile text."""
        self._looks += 1
        if self._looks > MOST_SPANS:
            raise TooMuchError


def _blank(match: re.Match[str]) -> str:
    return " " * (match.end() - match.start())


BLOCK = Rule("private-key", "private-key", "PEM, PGP and PuTTY private keys, whole or cut off", 0)
KEY_LINE = Rule("key-line", "base64", "a line that is nothing but 60 or more of base64", 1)
JWT = Rule("jwt", "token:jwt", "JSON web tokens, known by their decoded header", 1)
URL = Rule("url-password", "password", "passwords and tokens before the host of a URL", 1)
AUTHORIZATION = Rule("authorization", "authorization", "values of HTTP authorization headers", 2)
COOKIE = Rule("cookie", "cookie", "values of Cookie and Set-Cookie", 2)
PASSWORD = Rule("password", "password", "values that a key, a flag or a phrase calls a password", 2)
HASHED = Rule("password-hash", "password-hash", "crypt, bcrypt, argon2, scrypt and LDAP hashes", 1)
SECRET = Rule("secret", "secret", "values that a key, a flag or a phrase calls a secret", 2)
TOKEN = Rule("token", "token", "values that a key, a flag or a phrase calls a token", 2)
KEY = Rule("key", "key", "values that a key, a flag or a phrase calls a secret key", 2)
SESSION = Rule("session", "session", "identifiers of sessions that would let a reader in", 2)
SIGNATURE = Rule("signature", "signature", "signatures of requests and of URLs", 2)
CODE = Rule("code", "code", "one-time codes, PINs and card verification values", 2)
DRAWN = Rule("random", "secret", "random strings shortly after words such as key or token", 4)

EMAIL = Rule("email", "email", "e-mail addresses", 1)
CARD = Rule("card", "card", "payment cards: prefix, length and Luhn's digit are right", 1)
IBAN = Rule("iban", "iban", "bank accounts: country, length and check digits are right", 1)
ACCOUNT = Rule("account", "account", "bank accounts and routing numbers that a key names", 2)
SSN = Rule("ssn", "ssn", "social security and taxpayer's numbers of the USA", 1)
PHONE = Rule("phone", "phone", "telephone numbers, international, in US form or named by a key", 1)
NATIONAL = Rule("national-id", "national-id", "numbers of states, by check digits or by key", 1)
BIRTH = Rule("birth", "birth-date", "dates of birth that a key names", 2)
NAME = Rule("name", "name", "names of people that a key such as full_name names", 2)
STREET = Rule("street", "street", "postal addresses that a key names", 2)
CLIENT = Rule("client-address", "ip", "public addresses that a key calls a client's or a user's", 2)
ADDRESS = Rule("address", "ip", "IP addresses, as the policy for addresses says", 3)
HARDWARE = Rule("hardware", "mac", "hardware addresses", 3)
USER = Rule("user", "user", "user names, except those of the system", 3)

GENERAL = (
    *(BLOCK, KEY_LINE, JWT, URL, AUTHORIZATION, COOKIE, PASSWORD, HASHED, SECRET, TOKEN, KEY),
    *(SESSION, SIGNATURE, CODE, DRAWN, EMAIL, CARD, IBAN, ACCOUNT, SSN, PHONE, NATIONAL, BIRTH),
    *(NAME, STREET, CLIENT, ADDRESS, HARDWARE, USER),
)


def expression(form: str, *, any_case: bool = False) -> re.Pattern[str]:
    """Return an expression that knows letters, digits and spaces of ASCII alone.

    Half of a letter in UTF-8 is a no-break space in Latin-1: a value must not end there.
    """
    return re.compile(form, re.ASCII | (re.IGNORECASE if any_case else 0))


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


def by_name(*groups: tuple[Rule, ...]) -> Mapping[str, Rule]:
    """Return rules by their names."""
    return {rule.name: rule for group in groups for rule in group}
