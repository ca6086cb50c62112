"""Read the value after a key, and say whether it is one that has to be masked.

Where a value ends depends on who wrote it: at its closing quote, of the same depth of backslashes
as the opening one (JSON within JSON within JSON), or, without quotes, before a space or a delimiter
that something else follows. A value that ends too late costs a word of the log, one that ends too
early leaks half a password, so where both can be meant it ends late.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vedette.redact.entropy import HEX, UUID, drawn
from vedette.redact.keynames import Value
from vedette.redact.rules import BLANK, expression, words

#: A quoted value may be this long; where it is longer, it ends with the line.
LONGEST_QUOTED = 16_384
#: Without quotes, so far is read with care; a longer one goes on to the next gap.
LONGEST_BARE = 256
_OPEN = expression(r"(?:[\[(][ \t]{0,2}){0,2}(?:[brfuBRFUNE](?=[\"']))?(\\{0,7})([\"'`])")
_BRACKET = expression(r"[\[(][ \t]{0,2}")
#: Without quotes: up to white space or a quote; a delimiter belongs to it when letters go on.
_BARE = expression(
    r"(?:<[^<>\s/]{1,60}>)?(?:<(?![/\w])|[^\s\"'`<>,;&|()\[\]{}\\%]|\\(?![\"'nrt])|%(?!26|22"
    r"|7[dD]|2[cC])"
    r"|[,;|)\]}](?![\s,;|)\]}\"'<\\]|\Z|[\"']?[\w.\-]{1,40}+[\"']?[ ]?(?:[=:]|%3[dD]))"
    r"|&(?![\w.\-\[\]%]{1,40}+=|amp;|\Z|\s)"
    r"|[(\[{](?=[^\s\"'<>]))*"
)
_AFTER_NUMBER = expression(r"(?:[ ]{2,}|[ ][A-Za-z]{2,}|[.,)]+(?=\s|\Z)|\s\Z)")
_NEXT_KEY = expression(r" [\w.\-]+[=:]")
_TURNS = expression(r"[A-Za-z]+|[0-9]+")
_REST = expression(r"[^\s\"'<>&;,]*")
_DELIMITED = expression(r"[^\n,;&|\"'<>{}\[\]\t()]{1,120}+")
_NUMERIC = expression(r"[+(]?[A-Za-z]{0,5}[ -]?[0-9Xx*][0-9A-Za-z \-./()]{1,40}")
DATE = expression(
    r"(?:[0-9]{1,4}[-/. ]{1,2}(?:[0-9]{1,2}|[A-Za-z]{3,9})[-/., ]{1,2}[0-9]{2,4}|[0-9]{8}(?![0-9])"
    r"|[A-Za-z]{3,9}\.? [0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4})"
)
_CODE = expression(
    r"[0-9]{3,10}(?![0-9A-Za-z_-])|[0-9]{3}[ -][0-9]{3}(?![0-9])"
    r"|(?=[A-Z]*[0-9])[A-Z0-9]{5,10}(?![\w-])"
)

#: What is said of a value that is not told.
_SAID = words(
    """
    optional required missing invalid incorrect wrong bad expired failed failure failures error
    denied rejected accepted ok success successful successfully unknown changed updated mismatch
    verified valid prompt enabled disabled present absent provided supplied expires for is was
    are has have must should may cannot can will of in on at by to from with the a an user and
    or not too authentication authorization login check auth basic bearer digest negotiate ntlm
    kerberos method publickey keyboard-interactive gssapi trust peer md5 scram-sha-256
    interactive supplier manager provider plugin handler lookup loaded reading using generated
    rotated created deleted revoked refreshed refreshing issued validated validation received
    found secret password passwd token key
    """
)
#: What stands for a value, or says that there is none.
_NONE = words(
    """
    null nil none undefined true false yes no on off empty unset set n/a na not-set notset
    default redacted masked hidden filtered removed omitted suppressed sanitized obfuscated
    protected scrubbed censored encrypted string str int bool bytes object required name value
    """
)
_PLACEHOLDER = expression(
    r"(?:[*.\-_#?~\x80-\xff]+|[xX]{3,}|\$\{.*\}|\$\(.*\)|\$[A-Za-z_]\w*|%[sdvqr]|%\(\w+\)s"
    r"|%[A-Z_]+%"
    r"|\{\{.*\}\}|\{\w*\}|\[[A-Za-z _*-]*\]|\((?:null|none|hidden|empty|redacted|unset|not set)\)"
    r"|<[A-Za-z _*-]*>|<[^<>]*(?:redacted|hidden|masked|secret|password|token|your)[^<>]*>"
    r"|:[a-z_]{2,}|[@?]\w{0,3}|\$[0-9]|\*{2,}\w{0,4}|\w{0,4}\*{3,}\w{0,4}|ENC\[.*|vault:.*|\x00+)",
    any_case=True,
)
_IDENTIFIER = expression(r"[A-Za-z0-9][._:][A-Za-z0-9]|::|->|[(\[$=\\]")
#: A call, an object's text or an attribute: what tracebacks and toString() print.
_PROGRAM = expression(
    r"[A-Za-z_$][\w$]*+(?:\.[A-Za-z_$][\w$]*+)*(?:\(|\[[\"'\w]*\]?|\{|@[0-9a-f]{4,}\b)"
    r"|[A-Za-z_]++(?:\.[A-Za-z_]++)+$|"
    r"(?:[\w$]++\.){2,}[A-Z]\w*|lambda\b|self\.|this\."
)
#: What Java writes for an object that does not say what it is.
_OBJECT = expression(r"[A-Za-z$]@[0-9a-f]{4,8}\Z")
_PATH = expression(
    r"(?:file:)?(?:~|\.{0,2}|[A-Za-z]:)?(?:[/\\]{1,2}[\w.@+-]++){2,}[/\\]?\Z|arn:\w+"
    r"|projects/[\w-]+/|https?://"
)
_VERSION = expression(
    r"v?[0-9]++(?:\.[0-9]++)++\Z|v?[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}[-+._][\w.+-]{1,16}\Z"
    r"|[0-9.]+(?:ms|s|m|h|d|kb|mb|gb|b|%)?\Z",
    any_case=True,
)
_WORD = expression(r"[A-Za-z]+[.!?:]?\Z")


class Found(NamedTuple):
    """A value: where it lies and whether quotes close it in."""

    start: int
    end: int
    quoted: bool


def value_at(text: str, at: int) -> Found | None:
    """Return the value that begins at a place, None when nothing does."""
    quote = _OPEN.match(text, at)
    if quote:
        return Found(quote.end(), _closing(text, quote.end(), quote[1], quote[2]), True)
    bracket = _BRACKET.match(text, at)
    while bracket:
        at = bracket.end()
        bracket = _BRACKET.match(text, at)
    bare = _BARE.match(text, at, at + LONGEST_BARE)
    return Found(at, bare.end(), False) if bare and bare.end() > at else None


def whole(text: str, found: Found) -> int:
    """Return where a value ends of which only the beginning was read."""
    if found.quoted or found.end - found.start < LONGEST_BARE:
        return found.end
    rest = _REST.match(text, found.end)
    return rest.end() if rest else found.end


def _closing(text: str, at: int, depth: str, quote: str) -> int:
    """Return where a quoted value ends: at the quote of its own depth, or with its line."""
    last = min(len(text), at + LONGEST_QUOTED)
    place = text.find(quote, at, last)
    while place >= 0:
        slashes = place - len(text[at:place].rstrip("\\")) - at
        if depth and slashes <= len(depth):  # fewer: the string around it ends
            return place - slashes
        if not depth and slashes % 2 == 0:
            return place
        place = text.find(quote, place + 1, last)
    line = text.find("\n", at)
    return line if line >= 0 else len(text)


def shaped(text: str, at: int, value: Value) -> Found | None:
    """Return the value at a place that has the shape its key asks for."""
    if value in (Value.ANY, Value.DRAWN):
        return value_at(text, at)
    quote = _OPEN.match(text, at)
    start = quote.end() if quote else at
    bracket = None if quote else _BRACKET.match(text, at)
    if bracket and value is not Value.DIGITS:
        start = bracket.end()
    end = _closing(text, start, quote[1], quote[2]) if quote else len(text)
    match = {
        Value.DIGITS: _NUMERIC,
        Value.DATE: DATE,
        Value.CODE: _CODE,
        Value.PROSE: _DELIMITED,
    }[value].match(text, start, end)
    if not match:
        return None
    return Found(start, _ending(text, match, value), quote is not None)


def _ending(text: str, match: re.Match[str], value: Value) -> int:
    """Return where a value of words or groups ends: before the next key, without trailing space."""
    found = match.group()
    if value is Value.DIGITS:
        last = _AFTER_NUMBER.search(found)
        found = found[: last.start()] if last else found
    elif value is Value.PROSE:
        follows = text[match.end() : match.end() + 1]
        if follows in ("=", ":"):  # the last word is the next key
            found = found.rpartition(" ")[0]
        key = _NEXT_KEY.search(found)
        found = found[: key.start()] if key else found
    return match.start() + len(found.rstrip(" .-"))


def accepts(value: Value, text: str, *, quoted: bool, told: bool = False) -> bool:
    """Say whether a value under a key is one to mask; ``told`` is one that is surely a value."""
    bare = text.strip(BLANK)
    if not bare:
        return False
    if value is Value.DIGITS:
        return sum(one.isdigit() for one in text) >= 5
    if value in (Value.DATE, Value.CODE):
        return True
    if value is Value.PROSE:
        return any(one.isalpha() for one in text) and not (
            nothing(text) or _IDENTIFIER.search(text)
        )
    if (absent(text) if told else nothing(text)) or is_program(text, quoted=quoted):
        return False
    return value is not Value.DRAWN or secretive(text)


def nothing(text: str) -> bool:
    """Say whether a word stands for no value, or is what is said of one: "password: incorrect"."""
    return text.lower().strip(".!:,") in _SAID or absent(text)


def absent(text: str) -> bool:
    """Say whether a value stands for none, or for one that was left out."""
    if text.lower().strip(".!:,;)]}") in _NONE or _PLACEHOLDER.fullmatch(text):
        return True
    return len(text) < 3 and not any(one.isalpha() for one in text)


def is_program(text: str, *, quoted: bool) -> bool:
    """Say whether a value is a piece of a program, a path or a reference to where the secret is."""
    if not quoted and _PROGRAM.match(text):
        return True
    return is_path(text)


def is_path(text: str) -> bool:
    """Say whether a value is a path, a URL or the name of a resource in a cloud."""
    return _PATH.match(text) is not None


def secretive(text: str) -> bool:
    """Say whether a value looks like a secret, for a key that does not say so on its own."""
    if text.startswith(("0x", "0X")) or _OBJECT.search(text):
        return False
    if UUID.match(text) or (drawn(text, hexadecimal=True) and not _PATH.match(text)):
        return True
    if len(text) < 8 or _VERSION.match(text) or not text.isascii():
        return False
    letters = sum(one.isalpha() for one in text)
    digits = sum(one.isdigit() for one in text)
    if not letters or not digits or any(one in "/\\:{}[]()@,;|" for one in text):
        return False
    if HEX.match(text):
        return len(text) >= 16
    turns = len(_TURNS.findall(text))
    return turns >= 4 or (turns >= 2 and len(text) >= 10 and "_" not in text and "." not in text)


def phrased(text: str) -> bool:
    """Say whether a word after "password" in a sentence is one, rather than the next word of it."""
    text = text.rstrip(".,;:!?")
    if len(text) < 5 or _WORD.match(text) or _VERSION.match(text) or _PATH.match(text):
        return False
    kinds = (
        any(one.isdigit() for one in text)
        + any(one.isalpha() for one in text)
        + any(one in "!@#$%^&*+=?~-_." for one in text[1:])
    )
    return kinds >= 2 and any(one.isdigit() or one in "!@#$%^&*+=?~" for one in text)
