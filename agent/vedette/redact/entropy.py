"""Say whether a word looks as if a machine had drawn it: what keys are, and names are not.

Entropy alone (Shannon's, of the characters) does not tell ``PacketResponderImpl2`` from a key of
the same length; how often lower case, upper case and digits take turns does: in words and names
they come in runs, in drawn characters they change every second or third place. So both are asked,
where the usual scanners have the one threshold and take the identifiers that logs are full of.
Hexadecimal is judged apart: identifiers of traces, images and commits are drawn too, so who asks
must say whether it counts.
"""

from __future__ import annotations

import math
from collections import Counter

from vedette.redact.rules import expression

#: Shorter words are never called drawn.
SHORTEST = 16
#: Bits per character: of 16 drawn of base 36, 99 of 100 words have more than 3.15.
LEAST_BITS = 3.1
#: Changes of class from one character to the next, per character. Drawn of base 62, 99 of 100 words
#: of 20 have more than .35; of base 36, 97 of 100 words of 24 more than .16, and two numbers.
LEAST_CHANGES = 0.16
MANY_CHANGES = 0.35
HEX = expression(r"(?:0x)?[0-9a-fA-F]+\Z")
UUID = expression(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\Z")
_CLASSES = str.maketrans(
    {
        **{chr(code): "0" for code in range(ord("0"), ord("9") + 1)},
        **{chr(code): "A" for code in range(ord("A"), ord("Z") + 1)},
        **{chr(code): "a" for code in range(ord("a"), ord("z") + 1)},
    }
)
#: Parts of a path, between slashes.
_SEGMENT = expression(
    r"(?<=/)(?:[a-z]{3,}|[A-Z][a-z]{2,})(?=/|\Z)|\A(?:[a-z]{3,}|[A-Z][a-z]{2,})(?=/)"
)
_CHANGES = expression(r"0(?=[aA])|a(?=[0A])|A(?=[0a])")
_NUMBERS = expression(r"0+")


def bits(word: str) -> float:
    """Return the entropy of a word's characters, in bits per character."""
    length = len(word)
    return -sum(n / length * math.log2(n / length) for n in Counter(word).values())


def is_path_like(word: str) -> bool:
    """Say whether a word with slashes is a path: two words or more stand between them."""
    return "/" in word and len(_SEGMENT.findall(word)) > 1


def drawn(word: str, *, hexadecimal: bool = False) -> bool:
    """Say whether a word looks drawn at random; with ``hexadecimal`` hex digits count as well."""
    word = word.strip("=.-_/+~:")
    if len(word) < SHORTEST or UUID.match(word):
        return False
    classes = word.translate(_CLASSES)
    changes = len(_CHANGES.findall(classes)) / len(word)
    numbers = len(_NUMBERS.findall(classes))
    if HEX.match(word):
        return hexadecimal and numbers > 1 and changes > LEAST_CHANGES
    if changes < MANY_CHANGES and (numbers < 2 or changes < LEAST_CHANGES):
        return False
    return bits(word) > LEAST_BITS
