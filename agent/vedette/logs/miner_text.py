"""Write a template as people read it, and take the variable values out of a line.

A *face* has one element for each token of a template's key: the text from the end of the token
before to its own end, with a code (``miner_masks.FORM``) where something varies. It begins as its
first line and loses what other lines have otherwise: ``wl0`` stays as it is until a ``wl1`` is
seen and then reads ``wl<num>``; a word that varies reads ``<*>``. A face tells and never decides:
which lines are one template is the key's business alone.

Each code of a face is a slot. ``values`` answers what a line holds in the slots; ``quick_values``
does so for a tenth of the cost where the text around them is enough to tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from vedette.logs.miner_masks import ANY, CODE, FORM, GLUE, REST, clean
from vedette.logs.miner_tokens import scan_spans
from vedette.logs.miner_words import Key, collapse

Face = tuple[bytes, ...]
Spans = list[tuple[int, int]]

#: Names with more digits are shown with a code at once, without waiting for other digits.
_DIGITS_SHOWN = 2
#: A beginning that words share is kept if it is longer than that, up to a separator.
_PREFIX_LEAST = 3
_PREFIX = re.compile(rb"[A-Za-z][A-Za-z_.-]*[_.-]").match
#: Steps of a search that aligns two keys of different lengths.
_MAX_STEPS = 4096

_CODES = re.compile(b"[" + b"".join(re.escape(code) for code in FORM) + b"]")
_NUMBERS = re.compile(rb"(?:(?<![A-Za-z0-9])-)?[0-9]+((?:[_.-]*[A-Za-z]?[_.-]*[0-9]+)*)")
_WRITTEN = {code: f"<{name}>" for code, name in FORM.items()}


def read(line: bytes) -> tuple[Key, list[bytes], list[bytes]]:
    """Return the key of a line, its elements as a face has them, and the same with the values."""
    text, tokens = scan_spans(line)
    key, starts = collapse([token.key for token in tokens])
    elements, raw = [], []
    end = 0
    for first, last in pairwise([*starts, len(tokens)]):
        begin, pieces = end, []
        for token in tokens[first:last]:
            piece = text[token.start : token.end]
            if token.key == ANY:
                piece = token.code
            elif token.key == REST:
                piece = ANY
            elif b"0" in token.key and sum(48 <= byte <= 57 for byte in piece) > _DIGITS_SHOWN:
                piece = _coded(piece)
            gap = text[end : token.start]
            pieces.append((b" " if gap.strip() else gap) + piece)
            end = token.end
        elements.append(b"".join(pieces))
        raw.append(text[begin:end])
    return key, elements, raw


def align(key: Key, target: Key) -> Spans | None:
    """Return which tokens of a key stand for each of a looser key's; None if it is not looser."""
    if len(key) == len(target):
        same = all(a == b or b == ANY for a, b in zip(key, target, strict=True))
        return [(place, place + 1) for place in range(len(key))] if same else None
    ends: list[int] = []
    dead: set[tuple[int, int]] = set()
    at, least = 0, 1
    while len(dead) < _MAX_STEPS:
        place = len(ends)
        if place == len(target):
            if at == len(key):
                return list(zip([0, *ends], ends, strict=False))
            fits = False
        else:
            stop = at + least
            fits = (
                stop <= len(key)
                and (stop, place) not in dead
                and (target[place] == ANY or (least == 1 and key[at] == target[place]))
            )
        if fits:
            ends.append(stop)
            at, least = stop, 1
            continue
        if place < len(target) and target[place] == ANY and at + least < len(key):
            least += 1
            continue
        # Back to the last variable part, which may take one token more.
        while ends:
            end = ends.pop()
            dead.add((end, len(ends)))
            begin = ends[-1] if ends else 0
            if target[len(ends)] == ANY and end < len(key):
                at, least = begin, end - begin + 1
                break
        else:
            return None
    return None


def fit(elements: Sequence[bytes], key: Key, target: Key) -> Face:
    """Return the face of a key as that of a looser one."""
    spans = align(key, target)
    if spans is None:
        return bare(target)
    return tuple(b"".join(elements[first:last]) for first, last in spans)


def bare(key: Key) -> Face:
    """Return a face made of nothing but a key."""
    return tuple(b" " + (b":" if t == GLUE else ANY if t == REST else t) for t in key)


def join(one: Face, other: Face) -> Face:
    """Return the face of what both say; they have equally many elements."""
    if one == other:
        return one
    return tuple(a if a == b else _join(a, b) for a, b in zip(one, other, strict=True))


def _join(one: bytes, other: bytes) -> bytes:
    mine, its = one.lstrip(), other.lstrip()
    lead = one[: len(one) - len(mine)]
    if mine == its:
        return one
    mine, its = _coded(mine), _coded(its)
    if mine == its:
        return lead + mine
    if len(mine) > 1 and _CODES.sub(ANY, mine) == _CODES.sub(ANY, its):
        return lead + _CODES.sub(ANY, mine)
    # ``CONTAINER_REMOTE_<*>`` tells more than ``<*>``.
    least = min(len(mine), len(its))
    shared = next((at for at in range(least) if mine[at] != its[at]), least)
    prefix = _PREFIX(mine[:shared])
    return lead + (prefix[0] if prefix and len(prefix[0]) > _PREFIX_LEAST else b"") + ANY


def _coded(text: bytes) -> bytes:
    """Return text with its numbers as codes, several with little between them as one."""
    return _NUMBERS.sub(lambda match: CODE["id" if match[1] else "num"], text)


def write(face: Face, *, typed: bool = True) -> str:
    """Return a face as text, its codes as ``<num>``, ``<ip>``, ``<*>``; untyped all as ``<*>``."""
    text = b"".join(face).strip(b" ").decode("utf-8", "replace")
    return _CODES_TEXT.sub(lambda match: _WRITTEN[match[0].encode()] if typed else "<*>", text)


_CODES_TEXT = re.compile(_CODES.pattern.decode("ascii"))


def slots(face: Face) -> tuple[str, ...]:
    """Return the forms of a face's slots in the order of the text."""
    return tuple(FORM[code] for element in face for code in _CODES.findall(element))


def pieces(face: Face) -> tuple[list[bytes], list[str]]:
    """Return what stands between the slots of a face, one more than slots, and their forms."""
    text = b"".join(face).strip()
    return _CODES.split(text), [FORM[code] for code in _CODES.findall(text)]


def quick_values(line: bytes, between: Sequence[bytes], forms: Sequence[str]) -> list[bytes] | None:
    """Return what a line of a template holds in the slots, by its literal text only.

    None where that is not certain: the line is spaced otherwise, or a value is not of its form.
    """
    text = clean(line).strip()
    if not text.startswith(between[0]) or not text.endswith(between[-1]):
        return None
    at, end = len(between[0]), len(text) - len(between[-1])
    found: list[bytes] = []
    for form, behind in zip(forms, between[1:], strict=True):
        # Behind the last slot the search is over: what is there was compared above.
        last = len(found) == len(forms) - 1
        stop = end if last else text.find(behind, at, end) if behind else -1
        if stop < at:
            return None
        value = text[at:stop]
        if form != "*" and (b" " in value or not value) and form not in _SPACED:
            return None
        found.append(value)
        at = stop + len(behind)
    return found


#: Forms whose values may hold a space.
_SPACED = frozenset(("time", "duration", "path"))


def values(line: bytes, key: Key, face: Face) -> list[bytes]:
    """Return what a line holds in the slots of a template; empty if it is not a line of it."""
    own, _, raw = read(line)
    spans = align(own, key)
    if spans is None:
        return []
    found: list[bytes] = []
    for element, (first, last) in zip(face, spans, strict=True):
        codes = len(_CODES.findall(element))
        if codes:
            found += _take(element.lstrip(), b"".join(raw[first:last]).lstrip(), codes)
    return found


def _take(element: bytes, raw: bytes, codes: int) -> list[bytes]:
    """Return what stands for the codes of an element: all between its literal pieces."""
    pieces = _CODES.split(element)
    if not raw.startswith(pieces[0]) or not raw.endswith(pieces[-1]):
        return [raw] + [b""] * (codes - 1)
    at, end = len(pieces[0]), len(raw) - len(pieces[-1])
    found = []
    for piece in pieces[1:-1]:
        stop = raw.find(piece, at, end) if piece else at
        if stop < 0:
            return [raw] + [b""] * (codes - 1)
        found.append(raw[at:stop])
        at = stop + len(piece)
    return [*found, raw[at : max(at, end)]]
