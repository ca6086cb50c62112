"""Find secrets by the structure around them: key blocks, JSON web tokens, URLs, schemes, hashes."""

from __future__ import annotations

import base64
import binascii
import re

from vedette.redact import rules
from vedette.redact.entropy import drawn, is_path_like
from vedette.redact.rules import Finds, Piece, expression
from vedette.redact.values import nothing

_KIND = r"[ +](?:[A-Z0-9]{1,12}[ +]){0,4}PRIVATE[ +]KEY(?:[ +]BLOCK)?-----"
_MARK = expression(
    rf"(?P<begin>-----BEGIN{_KIND}|PuTTY-User-Key-File-\d)|-----END{_KIND}|Private-MAC: \w+"
)
#: Without an end: headers, base 64 and what breaks its lines.
_BODY = expression(
    r"(?:(?:Proc-Type|DEK-Info|Comment|Version|Encryption|Public-Lines|Private-Lines):[:, \w().-]*+"
    r"|[A-Za-z0-9+/=%]|\\{1,4}[nrt]|\s)*+"
)
_KEY_LINE = expression(r"\s*[A-Za-z0-9+/]{60,}={0,2}\s*\Z")
_JWT = expression(r"eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,4}")
_URL = expression(
    r"://(?P<user>[^\s/?#\"'<>@:\\]{0,128}+)(?P<colon>:(?P<secret>[^\s\"'<>/?#\\]{1,512}+))?"
)
_DATABASE = expression(
    r"(?:postgres(?:ql)?|mysql|mariadb|mongodb|redis|rediss|amqps?|mssql|ftp|sftp|smb|ldaps?"
    r"|clickhouse)"
    r"(?:\+[a-z0-9]+)?://[^\s/:@\"']{0,128}+:([^\s\"'<>]{1,300}+)"
)
_THIN = expression(r"thin:[^\s/:@]{1,64}+/([^\s@]{1,128}+)@")
_IN_URL = expression(r"%3A%2F%2F[^\s%:/]{0,64}+%3A([^\s\"'&]{1,256}?)%40", any_case=True)
_DSN = expression(r"(?<![\w:/])[\w.-]{1,64}+:([^\s\"'@/:]{1,128}+)@(?:tcp|unix|udp)\d?\(")
_SCHEME = expression(r"bearer[ \t]{1,3}([A-Za-z0-9._~+/=-]{8,})")
_SASL = expression(
    r"\bauth (?:plain|login|xoauth2|cram-md5|external) ([A-Za-z0-9+/]{8,}={0,2})", any_case=True
)
_BASIC = expression(r"basic[ \t]{1,3}([a-z0-9+/]{8,}={0,2})")
_HASHED = expression(
    r"\$(?:2[abxy]?\$\d\d\$[./A-Za-z0-9]{22,53}|argon2(?:id|i|d)\$[\w=,+/$.-]{20,}|(?:scrypt"
    r"|pbkdf2|bcrypt)[\w-]*\$[\w=,+/$.-]{20,}"
    r"|[156]\$(?:rounds=\d+\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{20,86}"
    r"|apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{20,}|y\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9$]{20,}"
    r"|7\$[./A-Za-z0-9$]{30,}|H\$[./A-Za-z0-9]{30,}|P\$[./A-Za-z0-9]{30,})"
    r"|\{(?:S?SHA(?:256|384|512)?|SMD5|CRYPT|PBKDF2[\w-]*|ARGON2)\}[A-Za-z0-9+/=$.,]{16,}"
    r"|(?:pbkdf2_sha(?:1|256)|argon2|bcrypt_sha256|scrypt):?\$[\w=,+/$.-]{20,}"
    r"|pbkdf2:sha\d+:\d+\$[\w$+/=]{20,}|scrypt:\d+:\d:\d\$[\w$+/=]{20,}"
    r"|SCRAM-SHA-(?:1|256)\$\d+:[\w+/=]{8,}\$[\w+/=]{20,}:[\w+/=]{20,}"
    r"|(?<![0-9a-fA-F])[0-9a-fA-F]{32}:[0-9a-fA-F]{32}(?=:::)"
)
#: What makes of a URL's user a token: https://TOKEN@host.
_TOKEN_USER = expression(r"@[\w.-]")
_PORT = expression(r"[0-9]{1,5}(?:[/?#]|\Z)")


def find_blocks(piece: Piece, found: Finds) -> None:
    """Add private keys in PEM: to their end, or as far as base 64 goes when they are cut off."""
    text = piece.text
    begin: re.Match[str] | None = None
    for mark in _MARK.finditer(text):
        if mark["begin"]:
            if begin:
                _add_block(text, begin, mark.start(), found)
            begin = mark
        elif begin:
            found.add(begin.start(), mark.end(), rules.BLOCK)
            begin = None
    if begin:
        _add_block(text, begin, len(text), found)


def _add_block(text: str, begin: re.Match[str], most: int, found: Finds) -> None:
    """Add a block that has no end."""
    body = _BODY.match(text, begin.end(), most)
    found.add(begin.start(), body.end() if body else begin.end(), rules.BLOCK)


def find_key_line(piece: Piece, found: Finds) -> None:
    """Add a text that is one line of base 64: part of a key that was logged line by line."""
    line = _KEY_LINE.match(piece.text)
    if (
        line
        and not is_path_like(piece.text)
        and (drawn(piece.text.strip()) or piece.text.lstrip().startswith("MII"))
    ):
        start = len(piece.text) - len(piece.text.lstrip())
        found.add(start, len(piece.text.rstrip()), rules.KEY_LINE)


def find_jwt(piece: Piece, found: Finds) -> None:
    """Add JSON web tokens: what begins with a header in base 64 that says "alg" or "enc"."""
    for match in _JWT.finditer(piece.plain):
        if _is_jose(match.group().partition(".")[0]):
            found.add(match.start(), match.end(), rules.JWT)


def _is_jose(header: str) -> bool:
    header = header[:400]
    try:
        text = base64.urlsafe_b64decode(header[: len(header) // 4 * 4])
    except (binascii.Error, ValueError):
        return False
    return text.lstrip()[:1] == b"{" and any(
        word in text for word in (b'"alg"', b'"enc"', b'"typ"', b'"kid"')
    )


def find_urls(piece: Piece, found: Finds) -> None:
    """Add the passwords of URLs, and users without one that look like tokens."""
    text = piece.text
    for match in _URL.finditer(text):
        if match["colon"]:
            secret = match["secret"]
            at = secret.rfind("@")
            if at > 0 and not nothing(secret[:at]):
                start = match.start("secret")
                found.add(start, start + at, rules.URL)
        elif _TOKEN_USER.match(text, match.end("user")):
            user = match["user"]
            if drawn(user, hexadecimal=True) or (len(user) >= 32 and user.isalnum()):
                found.add(match.start("user"), match.end("user"), rules.URL)
    for match in _IN_URL.finditer(text):
        found.add(match.start(1), match.end(1), rules.URL)
    for match in _DATABASE.finditer(text):
        secret = match[1]
        at = secret.rfind("@")
        slash = secret[:at].find("/") if at > 0 else -1
        if slash >= 0 and not _PORT.match(secret) and not nothing(secret[:at]):
            found.add(match.start(1), match.start(1) + at, rules.URL)


def find_dsn(piece: Piece, found: Finds) -> None:
    """Add the passwords before ``@tcp(`` and its like."""
    for form in (_DSN, _THIN):
        for match in form.finditer(piece.text):
            if not nothing(match[1]):
                found.add(match.start(1), match.end(1), rules.URL)


def find_schemes(piece: Piece, found: Finds) -> None:
    """Add what follows "Bearer" or "Basic", wherever it stands, and the answers of SASL."""
    text, lower = piece.text, piece.lower
    for match in _SCHEME.finditer(lower):
        word = text[match.start(1) : match.end(1)].rstrip(".")
        digits = sum(one.isdigit() for one in word)
        if len(word) >= 16 and (digits >= 2 or len(word) >= 30) and "/" not in word[:2]:
            found.add(match.start(1), match.start(1) + len(word), rules.AUTHORIZATION)
    if "auth " in lower:
        for match in _SASL.finditer(text):
            found.add(match.start(1), match.end(1), rules.AUTHORIZATION)
    for match in _BASIC.finditer(lower):
        if _is_basic(text[match.start(1) : match.end(1)]):
            found.add(match.start(1), match.end(1), rules.AUTHORIZATION)


def _is_basic(word: str) -> bool:
    try:
        text = base64.b64decode(word[: len(word) // 4 * 4][:200])
    except (binascii.Error, ValueError):
        return False
    return b":" in text and text.isascii() and text.decode("ascii").isprintable()


def find_hashed(piece: Piece, found: Finds) -> None:
    """Add hashes of passwords as crypt(3) and its successors write them."""
    for match in _HASHED.finditer(piece.text):
        found.add(match.start(), match.end(), rules.HASHED)
