"""Take the header off a line, whatever program wrote it, and learn the source's layouts.

``pieces.cut`` finds what could be a header. What is one is decided here, by two kinds of reason:

- the line's own: a stamp or a level at the start, a process number between them, a name with dots
  and a colon after them are header in any line;
- the source's: a column that is there in nearly all its lines, at the same distance from the same
  anchors (the stamps and the level), is header, while a word that only some lines have there is
  text. The first ``LEARN`` lines of each kind are counted for it.

A header once found becomes one regular expression, a *layout*; the lines that follow are tried
against the layouts known, which is all an ordinary line costs: longest first, but before all those
that end with a program's name, as they look whether another header follows. Every ``RECHECK``-th
line is cut anew, so that a longer layout that appears later is noticed. All of it depends on the
lines alone: the same lines give the same headers.

Layouts, counts and compilations are bounded; of a line only the first 400 bytes are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vedette.logs.layouts import MATCHED_MAX, Header, Layout, compiled, read, said
from vedette.logs.levels import ALL
from vedette.logs.piece import (
    BRACKET,
    DASH,
    FIELD,
    LEVEL,
    NAME,
    NUMBER,
    STAMP,
    WORD,
    Piece,
)
from vedette.logs.pieces import QUALIFIED, could_have_header, cut, goes_on

#: Lines counted at each place of the tree, and those before a count is believed.
LEARN, BELIEVED = 256, 16
RECHECK = 256
LAYOUTS_MAX, PATHS_MAX = 24, 4096
#: Expressions compiled in all, at first, and one more each so many lines.
COMPILED_FIRST, LINES_PER_COMPILED = 48, 2000
#: First bytes of lines that had no header, times after which they are believed, and how many.
STARTS, ENOUGH, STARTS_MAX = 12, 4, 1024
#: Lines after which what was decided so far is thrown away, and decided anew from more.
_MILESTONES = frozenset((8, 16, 32, 64, 128, 256))
#: Words that a time in a sentence follows.
_BEFORE_TIMES = frozenset(
    b"at on from to since until till before after by of in is was the for between and or".split()
)


NO_HEADER = Header(0)

#: What a message is known by, ``AH00124:``, ``%SYS-5-CONFIG_I:``: a name by its form, but no name.
_CODE = re.compile(rb"%[\w-]+\Z|[A-Z]{2,}[A-Z_-]*\d[\w-]*\Z")
_COLON = (rb":[ \t]*", b":")
_TEXT = re.compile(rb"[A-Za-z]?[a-z]+\Z")


class Stripper:
    """Finds the headers of one source's lines."""

    def __init__(self) -> None:
        self.layouts: list[Layout] = []
        self.seen = 0
        self._counts: dict[tuple[str, ...], int] = {}
        self._by_sources: dict[tuple[bytes, ...], Layout | None] = {}
        self._in_vain: dict[bytes, int] = {}
        self._learned = 0
        self._compiled = 0

    @property
    def is_learning(self) -> bool:
        """Tell whether too few lines were seen to rely on layouts."""
        return self._learned < BELIEVED

    def learn(self, lines: Sequence[bytes]) -> None:
        """Look at lines before any of them is stripped, so that the first ones profit as well."""
        for line in lines[:LEARN]:
            if self._learned >= LEARN:
                break
            if could_have_header(line):
                self._count(cut(line))

    def header(self, line: bytes) -> Header:
        """Return the header of a line, of length 0 when it has none.

        The caller counts the lines in ``seen``.
        """
        if not self.is_learning and self.seen % RECHECK:
            known = self.known(line)
            if known is not None:
                return known
        return self.anew(line)

    def known(self, line: bytes) -> Header | None:
        """Return the header of a line by a layout known, None when none fits."""
        for layout in self.layouts:
            found = layout.match(line, 0, MATCHED_MAX)
            if found is None or (layout.level and found[layout.level] not in ALL):
                continue
            if layout.is_open and goes_on(line, found.end()):
                continue
            layout.hits += 1
            return said(layout, found)
        return None

    def anew(self, line: bytes) -> Header:
        """Cut a line, count it, decide and keep the layout."""
        start = line[:STARTS]
        if self._in_vain.get(start, 0) >= ENOUGH and self.seen % RECHECK and not self.is_learning:
            return NO_HEADER
        pieces = cut(line) if could_have_header(line) else []
        self._count(pieces)
        length = self._length(pieces)
        if not length:
            if start[:1].isalpha():
                self._in_vain[start] = self._in_vain.get(start, 0) + 1
            if len(self._in_vain) > STARTS_MAX:
                self._in_vain.clear()
            return NO_HEADER
        self._in_vain.pop(start, None)
        layout = self._layout(pieces[:length])
        if layout is not None:
            found = layout.match(line, 0, MATCHED_MAX)
            if found is not None:
                layout.hits += 1
                return said(layout, found)
        return read(pieces[:length], line)

    # -- what the source's lines have in common

    def _count(self, pieces: list[Piece]) -> None:
        if not pieces:
            return
        counts = self._counts
        paths = _paths(pieces)
        root = counts.get((), 0)
        if root < LEARN:
            self._learned += 1
            if self._learned in _MILESTONES:
                self.layouts.clear()
                self._by_sources.clear()
                self._in_vain.clear()
        grown: set[tuple[str, ...]] = set()
        for path in [(), *paths]:
            known = counts.get(path, 0)
            if path and path[:-1] not in grown:
                continue  # the place before it has all it needs: their ratio stays
            if known < LEARN and (known or len(counts) < PATHS_MAX):
                counts[path] = known + 1
                grown.add(path)

    def _share(self, node: tuple[str, ...], step: str) -> tuple[float, bool]:
        """Return which share of the lines at a place go on so, and whether that is believed."""
        of = self._counts.get(node, 0)
        count = self._counts.get((*node, step), 0)
        return (count / of if of else 0.0), of >= BELIEVED

    def _length(self, pieces: list[Piece]) -> int:
        """Return how many of the pieces are header."""
        node: tuple[str, ...] = ()
        length = 0
        for index, piece in enumerate(pieces):
            if piece.kind not in (STAMP, LEVEL):
                continue
            step = _anchor(piece, index - length)
            if not self._reached(pieces[:length], pieces[length:index], piece, node, step):
                break
            node = (*node, step)
            length = index + 1
        return length + self._tail(pieces[:length], pieces[length:], node) if length else 0

    def _reached(
        self, before: list[Piece], gap: list[Piece], anchor: Piece, node: tuple[str, ...], step: str
    ) -> bool:
        """Tell whether an anchor belongs to the header although a gap lies before it."""
        share, believed = self._share(node, step)
        usual = believed and share >= 0.6
        if not gap:
            return anchor.sure or usual
        if any(piece.closes for piece in gap):
            return True
        if anchor.kind == STAMP:
            if anchor.form is None or gap[-1].text.lower() in _BEFORE_TIMES:
                return False
            if gap[-1].text.endswith((b":", b"=")):
                return False
            if anchor.source.startswith(rb"\[") and len(gap) <= 3 and gap[0].sure:
                return True
            if all(piece.sure for piece in gap):
                return usual or (anchor.form.weight > 6 and len(gap) <= 3 and not believed)
            return usual and (gap[0].sure or gap[0].text.isupper())
        if all(piece.sure or piece.kind == NAME for piece in gap):
            words = sum(piece.kind in (WORD, NAME) for piece in gap)
            few = words == 0 or (words == 1 and anchor.text.isupper())
            return anchor.sure and (usual or not believed or few)
        return usual and share >= 0.8

    def _tail(self, header: list[Piece], tail: list[Piece], node: tuple[str, ...]) -> int:
        """Return how many pieces after the last anchor are header as well."""
        named = _name_ahead(header, tail)
        if named:
            return named
        length = 0
        for piece in tail:
            if piece.kind in (STAMP, LEVEL):
                break
            step = _sign(piece)
            share, believed = self._share(node, step)
            if not self._belongs(header, piece, share, believed):
                break
            node = (*node, step)
            length += 1
            if piece.kind == NAME:
                break
        return length

    def _belongs(self, header: list[Piece], piece: Piece, share: float, believed: bool) -> bool:
        """Tell whether a piece after the last anchor belongs to the header."""
        leveled = any(before.kind == LEVEL for before in header)
        if _CODE.match(piece.text) or _is_uptime(header[-1]):
            return False
        match piece.kind:
            case "M" if header[-1].kind == LEVEL and header[-1].source.endswith(_COLON):
                return piece.sure  # after "LOG: " a word and a colon are the message
            case "M" if not believed:
                return piece.sure or (leveled and piece.closes)
            case "M":
                return piece.sure or share >= 0.6
            case "B" if not believed:
                return piece.sure
            case "B":
                return share >= (0.3 if piece.sure else 0.9)
            case "F" if not believed:
                return piece.sure and _TEXT.match(piece.text) is None
            case "F":
                return share >= 0.9
            case "N":
                return believed and share >= 0.95
            case "D":
                return True
            case _:
                return (
                    believed
                    and share >= (0.95 if piece.padded else 0.8)
                    and (piece.padded or QUALIFIED.match(piece.text) is not None)
                )

    # -- layouts

    def _layout(self, pieces: list[Piece]) -> Layout | None:
        """Return the layout of these pieces; seen for the second time, it is compiled and kept."""
        sources = tuple(piece.source for piece in pieces)
        if sources not in self._by_sources:
            if len(self._by_sources) > 4 * LAYOUTS_MAX:
                self._by_sources.clear()
            self._by_sources[sources] = None
            return None
        known = self._by_sources[sources]
        if known is not None:
            return known
        if self._compiled > COMPILED_FIRST + self.seen // LINES_PER_COMPILED:
            return None
        self._compiled += 1
        layout = compiled(pieces)
        self._by_sources[sources] = layout
        if len(self.layouts) >= LAYOUTS_MAX:
            self.layouts.remove(min(self.layouts, key=lambda known: known.hits))
        self.layouts.append(layout)
        self.layouts.sort(key=_order)
        return layout


def _order(layout: Layout) -> tuple[bool, int]:
    return not (layout.is_open and layout.is_named), -layout.pieces


def _anchor(piece: Piece, distance: int) -> str:
    form = piece.form.name if piece.form is not None else ""
    return f"{piece.kind}{form}+{distance}"


def _sign(piece: Piece) -> str:
    """Return what a piece counts as: names of a kind and words of a kind are one."""
    if piece.kind == WORD:
        qualified = QUALIFIED.match(piece.text) is not None
        return "Wp" if piece.padded else "Wq" if qualified else "W"
    if piece.kind in (BRACKET, FIELD):
        return f"{piece.kind}{piece.sure}"
    return piece.kind


def _paths(pieces: list[Piece]) -> list[tuple[str, ...]]:
    """Return the places in the tree of counts that a line passes."""
    node: tuple[str, ...] = ()
    inner = node
    paths, last = [], 0
    for index, piece in enumerate(pieces):
        if piece.kind in (STAMP, LEVEL):
            node = (*node, _anchor(piece, index - last))
            last, inner = index + 1, node
            paths.append(node)
        elif last:
            inner = (*inner, _sign(piece))
            paths.append(inner)
    return paths


def _name_ahead(header: list[Piece], tail: list[Piece]) -> int:
    """Return the pieces up to a name that is surely one, with a host or brackets before it."""
    words = 0
    leveled = any(piece.kind == LEVEL for piece in header)
    for index, piece in enumerate(tail[:5]):
        if piece.kind == NAME:
            syslog = not leveled and index == words and _is_syslog(header[-1])
            if _CODE.match(piece.text):
                return index if syslog else 0
            return index + 1 if piece.sure or syslog else 0
        if piece.kind in (BRACKET, NUMBER, DASH):
            continue
        if piece.kind == WORD and not leveled and header[-1].kind == STAMP and not words:
            words += 1
            continue
        return 0
    return 0


def _is_uptime(piece: Piece) -> bool:
    return piece.form is not None and piece.form.kind == "uptime"


def _is_syslog(stamp: Piece) -> bool:
    """Tell whether a stamp is as syslog writes it, with a host and a program to follow."""
    if stamp.form is None:
        return False
    return stamp.form.name == "month" or (stamp.form.name == "iso" and b"T" in stamp.text)
