"""Find secrets that sentences tell: "password is", "login admin:secret", a key near "API key".

Here nothing but the words before says what a word is, so the word itself must look like a secret,
except in quotes after a word that can only mean one.
"""

from __future__ import annotations

import re

from vedette.redact import rules
from vedette.redact.entropy import HEX, UUID, drawn, is_path_like
from vedette.redact.rules import Finds, Piece, Rule, Span, expression
from vedette.redact.values import is_path, nothing, phrased, secretive

#: Between the word and what it names.
LINK = (
    r"(?P<link>(?:[ ](?:for|of)[ ](?:(?:user|account|tenant|host|service"
    r"|client)[ ])?[^\s:]{1,64}+)?"
    r"(?:[ ](?:is|was|set[ ]to|changed[ ]to|reset[ ]to|now|value|to|used|hash|obscured"
    r"|starting with|equals))*"
    r"(?:[ ]#?[0-9]{1,2}(?=:|[ ]))?[ ]?[:=]?[ ]{1,2}(?:is[ ])?\(?)(?P<quote>\\{0,3}[\"'`]?)"
)
#: By the word that a text must hold: its expression, and what must stand before it, if anything.
_PHRASES: dict[str, tuple[re.Pattern[str], re.Pattern[str] | None]] = {
    word: (expression(form + LINK), expression(rf"(?:{before})[ _-]?\Z") if before else None)
    for word, form, before in (
        ("pass", "pass(?:word|wd|phrase)", ""),
        ("pwd", "pwd", ""),
        ("secret", "secret", ""),
        ("token", "token", ""),
        ("cred", "cred(?:ential)?s?", ""),
        (
            "key",
            "key",
            "api|access|license|secret|private|encryption|signing|master|unseal|recovery",
        ),
    )
}
_CHANGED = expression(
    r"password[^\n]{0,60}?from[ ]([\"'])([^\"'\n]{1,100})\1[ ]to[ ]\1([^\"'\n]{1,100})\1"
)
#: "login admin:secret", "creds bob/secret".
_PAIR = expression(
    r"\b(?:login|log in|logged in|creds?|credentials?|userpass|auth)(?: (?:as|with|using|for|is"
    r"|are))?(?: ?[:=] ?| )"
    r"[\"']?(?:[\w.@-]{1,60}+)[:/](?P<secret>[^\s\"'/:,;]{4,}[^\s\"',;]*)",
    any_case=True,
)
#: What mail and file servers are told.
_TOLD = expression(r"\b(?:LOGIN [\"']?[\w.@-]{1,60}+[\"']?|PASS) [\"']?(?P<secret>[^\s\"']{4,})")
#: Words that send a text to ``find_logins``.
LOGIN_WORDS = frozenset(
    ["login", "logged", "pass", "cred", "creds", "credential", "credentials", "userpass", "auth"]
)
#: How far after such a word a random string still belongs to it.
REACH = 64
_DRAWN = expression(
    r"(?<![\w+/=-])[A-Za-z0-9_+/=~-]{16,}+(?![\w.@])|(?<![\w+/=-])[A-Za-z0-9_+/=~.-]{16,}+"
)


def find_phrases(piece: Piece, found: Finds) -> None:
    """Add what a sentence calls a password, a secret, a token or a key, and what is near it."""
    text, lower = piece.text, piece.lower
    for word, (form, before) in _PHRASES.items():
        if word not in lower:
            continue
        reached = 0
        for match in form.finditer(lower):
            found.look()
            start = match.start()
            if before:
                kind = before.search(lower, max(0, start - 16), start)
                if kind is None:
                    continue
                start = kind.start()
            if start and lower[start - 1] in ".$%/\\":
                continue
            span = _phrase(text, match, word, named=start > 0 and lower[start - 1] in "_-")
            if span:
                found.add(*span)
            if start >= reached:
                reached = match.end() + REACH
                _near(text, match.end(), reached, found)
    if "from '" in lower or 'from "' in lower:
        for match in _CHANGED.finditer(lower):
            found.add(match.start(2), match.end(2), rules.PASSWORD)
            found.add(match.start(3), match.end(3), rules.PASSWORD)


def find_logins(piece: Piece, found: Finds) -> None:
    """Add the passwords of "login admin:secret" and "creds bob/secret"."""
    for form in (_PAIR, _TOLD):
        for match in form.finditer(piece.text):
            if phrased(match["secret"]):
                found.add(match.start("secret"), match.end("secret"), rules.PASSWORD)


def _phrase(text: str, match: re.Match[str], what: str, *, named: bool) -> Span | None:
    at, quote = match.end(), match["quote"]
    if quote:
        end = text.find(quote, at, at + 200)
        linked = bool(match["link"].strip())
        return _quoted(text, at, end, what, linked=linked) if end > at else None
    word = _word(text, at)
    meant = _RULES[what]
    good = phrased(word) if meant is rules.PASSWORD and not named else secretive(word)
    return Span(at, at + len(word), meant) if good and not nothing(word) else None


_RULES: dict[str, Rule] = {
    "pass": rules.PASSWORD,
    "pwd": rules.PASSWORD,
    "token": rules.TOKEN,
    "key": rules.KEY,
    "secret": rules.SECRET,
    "cred": rules.SECRET,
}
_BARE = expression(r"[^\s\"'`,;()<>\[\]{}]+")


#: After a quoted word: it is the name of a secret or key, not its value.
_SAID_OF_IT = expression(
    r"[\\\"'`]{1,4}[ ](?:not|is (?:not|required|missing|invalid|expired)|does|already|missing|has"
    r"|must|was not|in|for|of)\b"
)


def _word(text: str, at: int) -> str:
    word = _BARE.match(text, at)
    return word.group().rstrip(".:!?") if word else ""


def _quoted(text: str, at: int, end: int, what: str, *, linked: bool) -> Span | None:
    value = text[at:end]
    rule = _RULES[what]
    if nothing(value) or "\n" in value or value.startswith((" ", ",", ":", ")")):
        return None
    if _SAID_OF_IT.match(text, end) or is_path(value):
        return None
    if rule is rules.PASSWORD or linked or secretive(value):
        return Span(at, end, rule)
    return None


def _near(text: str, at: int, reached: int, found: Finds) -> None:
    """Add random strings within reach, on the same line."""
    for word in _DRAWN.finditer(text, at):
        if word.start() >= reached or "\n" in text[at : word.start()]:
            return
        if _random(word.group()):
            found.add(word.start(), word.end(), rules.DRAWN)
            reached += len(word.group())  # masked, it will be short


def _random(word: str) -> bool:
    if HEX.match(word) or UUID.match(word[-36:]):
        return False
    return not is_path_like(word) and len(word) >= 20 and drawn(word) and not nothing(word)
