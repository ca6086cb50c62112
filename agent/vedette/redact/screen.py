"""Decide which finders a text is worth, and run them: most texts are worth none.

One look at three forms of a text: its words (what lies between characters that are no letters), its
lower case, and its shape (digits as 0, capitals as A, other letters as a). Words are compared with
those of all rules in one operation on sets, so that rules cost nothing by their number; what has no
word of its own (cards, telephones, numbers of states) is asked for by fragments of its shape. A
fragment is a substring test, 70 ns on 150 characters, where one expression of all anchors took
1.5 µs and more; some are asked only when a shorter one, common to several, is there.
"""

from __future__ import annotations

import msgspec

from vedette.redact import (
    addresses,
    assigned,
    commands,
    credentials,
    mentions,
    personal,
    phrases,
    tokens,
)
from vedette.redact.addresses import Policy
from vedette.redact.rules import Finds, Piece

_DIGIT, _UPPER, _LOWER = range(48, 58), range(65, 91), range(97, 123)
#: Everything but lower-case letters is a space between words.
_LETTERS = bytes(code if code in _LOWER else 32 for code in range(256))
_SHAPES = bytes(
    48 if code in _DIGIT else 65 if code in _UPPER else 97 if code in _LOWER else code
    for code in range(256)
)
#: Everything but what keys are made of is a space between runs.
_RUNS = bytes(
    code if code in _DIGIT or code in _UPPER or code in _LOWER or code in b"_-" else 32
    for code in range(256)
)
_IN_RUNS = bytes(97 if code != 32 else 32 for code in _RUNS)
_RUN = "a" * tokens.LONG_RUN


def _words(*groups: frozenset[str] | str) -> frozenset[bytes]:
    found: set[str] = set()
    for group in groups:
        found.update(group.split() if isinstance(group, str) else group)
    return frozenset(word.encode() for word in found)


_BLOCKS = _words("private putty")
_SCHEMES = _words("bearer basic plain xoauth")
_HASHES = _words("ssha sha smd crypt argon scram")
_ASSIGNED = _words(assigned.WORDS)
_KEYS = _words("key keys cred creds credential credentials")
_CODES = _words(mentions.CODE_WORDS)
_NUMBERS = _words(mentions.NUMBER_WORDS)
_LOGINS = _words(phrases.LOGIN_WORDS)
_BIRTHS = _words(mentions.BIRTH_WORDS)
_LINKS = _words(mentions.LINK_WORDS)
_COMMANDS = _words(commands.WORDS)
_TOKENS = _words(tokens.WORDS)
_CLIENTS = _words(addresses.WORDS)
_WORDS = frozenset().union(
    *(_BLOCKS, _SCHEMES, _HASHES, _ASSIGNED, _KEYS, _CODES, _NUMBERS, _LOGINS, _BIRTHS, _LINKS),
    *(_COMMANDS, _TOKENS, _CLIENTS),
)
#: What is left of the words where a name is written with capitals in the middle (phoneNumber).
_HEADLESS = _ASSIGNED | {word[1:] for word in _ASSIGNED if len(word) > 4 or word == b"key"}
_NO_WORDS: frozenset[bytes] = frozenset()


class Wanted(msgspec.Struct, frozen=True):
    """What is looked for beyond what always is."""

    addresses: Policy = "clients"
    hardware: bool = False
    users: bool = False


def look(text: str, data: bytes, wanted: Wanted) -> Finds:
    """Return what the finders want masked in a text; spans may overlap, and come in no order.

    ``data`` are the bytes of the text.
    """
    found = Finds()
    lower_data = data.lower()
    lower = lower_data.decode("latin-1")
    piece = Piece(text, lower)
    shape = data.translate(_SHAPES).decode("latin-1")
    plain = data
    if "\\" in text or "%" in text or "\x1b" in text:
        plain = piece.plain.encode("latin-1")
        lower_data = plain.lower()
    words = lower_data.translate(_LETTERS).split()
    stems = "pass" in lower or "secret" in lower or "token" in lower or "pwd" in lower
    if not _WORDS.isdisjoint(words):
        _by_words(piece, _WORDS.intersection(words), found, wanted, stems=stems)
    elif (
        stems
        or ("_" in text and ("_name" in lower or "cc_n" in lower))
        or ("aA" in shape and not _HEADLESS.isdisjoint(data.translate(_LETTERS).split()))
    ):
        _by_words(piece, _NO_WORDS, found, wanted, stems=stems, keys=True)
    if _RUN in plain.translate(_IN_RUNS).decode("latin-1"):
        runs = [run for run in plain.translate(_RUNS).split() if len(run) >= tokens.LONG_RUN]
        _by_runs(piece, runs, found)
    if "@" in text or ("%" in text and "%40" in text):
        personal.find_email(piece, found)
        if "://" in text or "%2F%2F" in text:
            credentials.find_urls(piece, found)
        if "@tcp" in text or "@unix(" in text or "thin:" in text:
            credentials.find_dsn(piece, found)
    if "$" in text and text.count("$") > 1:
        credentials.find_hashed(piece, found)
    personal.find_by_shape(piece, shape, found)
    if wanted.addresses in ("truncate", "mask"):
        addresses.find_addresses(piece, wanted.addresses, found)
    if wanted.hardware:
        addresses.find_hardware(piece, found)
    if wanted.users:
        addresses.find_users(piece, found)
    return found


def _by_words(
    piece: Piece,
    known: frozenset[bytes],
    found: Finds,
    wanted: Wanted,
    *,
    stems: bool,
    keys: bool = False,
) -> None:
    """Look for what words tell of.

    ``known`` are words of rules, ``stems`` says whether one of the parts of words is there,
    ``keys`` whether names of keys are looked for without either.
    """
    parts = assigned.NAME_PARTS
    if keys or stems or not known.isdisjoint(_ASSIGNED) or any(p in piece.lower for p in parts):
        assigned.find_assigned(piece, found)
        if "val" in piece.lower or "content" in piece.lower:
            assigned.find_pairs(piece, found)
        if "-" in piece.text:
            assigned.find_flags(piece, found)
    if stems or not known.isdisjoint(_KEYS):
        phrases.find_phrases(piece, found)
        if "time pass" in piece.lower:
            mentions.find_codes(piece, found)
    if "'" in piece.text and (stems or not known.isdisjoint(_COMMANDS)):
        commands.find_sql(piece, found)
    if known:
        _by_known(piece, known, found, wanted)


def _by_known(piece: Piece, known: frozenset[bytes], found: Finds, wanted: Wanted) -> None:
    if not known.isdisjoint(_TOKENS):
        tokens.find_named(piece, sorted(word.decode() for word in known & _TOKENS), found)
    if not known.isdisjoint(_COMMANDS):
        commands.find_commands(piece, sorted(word.decode() for word in known & _COMMANDS), found)
    if wanted.addresses == "clients" and not known.isdisjoint(_CLIENTS):
        addresses.find_clients(piece, found)
    if b"tel" in known:
        personal.find_telephones(piece, found)
    for words, finder in _FINDERS:
        if not known.isdisjoint(words):
            finder(piece, found)


_FINDERS = (
    (_CODES, mentions.find_codes),
    (_NUMBERS, mentions.find_numbers),
    (_LOGINS, phrases.find_logins),
    (_BIRTHS, mentions.find_births),
    (_LINKS, mentions.find_links),
    (_SCHEMES, credentials.find_schemes),
    (_BLOCKS, credentials.find_blocks),
    (_HASHES, credentials.find_hashed),
)


def _by_runs(piece: Piece, runs: list[bytes], found: Finds) -> None:
    """Look for what needs a long run of letters and digits."""
    text = piece.text
    for run in runs:
        if tokens.may_be_glued(run):
            tokens.find_glued(piece, found)
            break
    if ":::" in text:
        credentials.find_hashed(piece, found)
    if "eyJ" in text:
        credentials.find_jwt(piece, found)
    if "Q~" in text or len(max(runs, key=len)) >= tokens.LONGER_RUN:
        for inner in tokens.INNER:
            if inner in text:
                tokens.find_inner(piece, found)
                break
        else:
            if "s." in text and any(
                len(run) == tokens.OLD_VAULT_RUN and run.isalnum() for run in runs
            ):
                tokens.find_inner(piece, found)
        if len(text) >= 60 and " " not in text:
            credentials.find_key_line(piece, found)
