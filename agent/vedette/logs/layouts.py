"""Make one regular expression of the pieces of a header, and read headers by it."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from vedette.logs.piece import BLANK, LEVEL, NAME, STAMP, Piece
from vedette.logs.stamp_forms import Form

#: Of a line so much is matched, so that a long one costs no more than another.
MATCHED_MAX = 600
_EMPTY = re.compile(b"").match


class Layout(msgspec.Struct):
    """The expression of one header, and which of its groups is what (0 for none).

    ``is_open``: what follows may be a header of its own, or a request in an access log;
    ``is_named``: it ends with a name.
    """

    match: Callable[[bytes, int, int], re.Match[bytes] | None]
    pieces: int
    level: int
    form: Form | None
    stamp: int
    program: int
    logger: int
    is_open: bool = False
    is_named: bool = False
    hits: int = 0


class Header(msgspec.Struct, frozen=True):
    """What a header says: where it ends, level, the parts of its stamp, who wrote.

    ``program`` is a name as syslog has it, ``logger`` one that follows a level.
    """

    end: int
    level: bytes = b""
    form: Form | None = None
    stamp: tuple[bytes, bytes, bytes] = (b"", b"", b"")
    program: bytes = b""
    logger: bytes = b""


def _chosen(pieces: list[Piece]) -> Piece | None:
    """Return the stamp that tells most."""
    stamps = [piece for piece in pieces if piece.form is not None]
    return max(stamps, key=lambda piece: piece.form.weight if piece.form else 0, default=None)


def compiled(pieces: list[Piece]) -> Layout:
    chosen = _chosen(pieces)
    layout = Layout(_EMPTY, len(pieces), 0, None, 0, 0, 0)
    source, groups = b"", 0
    for index, piece in enumerate(pieces):
        own = piece.source
        if index == len(pieces) - 1 and own.endswith(BLANK):
            own = own.removesuffix(BLANK) + b"(?:" + BLANK + rb"|\Z)"
        if piece is chosen:
            layout.form, layout.stamp = piece.form, groups + 1
            groups += 3
        elif piece.kind == STAMP:
            own = _ungrouped(own)
        elif piece.kind == LEVEL:
            groups += 1
            layout.level = groups
        elif piece.kind == NAME:
            groups += 1
            if is_number(piece.text):
                pass
            elif layout.level:
                layout.logger = groups
            else:
                layout.program = groups
        source += own
    layout.match = re.compile(source).match
    layout.is_named = pieces[-1].kind == NAME
    wrapped = pieces[-1].kind == STAMP and pieces[-1].source.startswith(rb"\[")
    layout.is_open = not layout.level and (layout.is_named or wrapped)
    return layout


def is_number(name: bytes) -> bool:
    """Tell whether what stands where a name does is a process and a thread: ``1234#5678: ``."""
    return name.replace(b"#", b"").isdigit()


def _ungrouped(source: bytes) -> bytes:
    return re.sub(rb"(?<!\\)\((?!\?)", b"(?:", source)


def said(layout: Layout, found: re.Match[bytes]) -> Header:
    at = layout.stamp
    return Header(
        found.end(),
        found[layout.level] if layout.level else b"",
        layout.form,
        (found[at], found[at + 1] or b"", found[at + 2] or b"") if at else (b"", b"", b""),
        found[layout.program] if layout.program else b"",
        found[layout.logger] if layout.logger else b"",
    )


def read(pieces: list[Piece], line: bytes) -> Header:
    """Return what the pieces of a line say that has no layout yet."""
    chosen = _chosen(pieces)
    parts = (b"", b"", b"")
    if chosen is not None and chosen.form is not None:
        found = chosen.form.pattern.match(line, line.find(chosen.text))
        if found is not None:
            parts = (found[1], found[2] or b"", found[3] or b"")
    level = program = logger = b""
    for piece in pieces:
        if piece.kind == LEVEL:
            level = piece.text
        elif piece.kind != NAME or is_number(piece.text):
            continue
        elif level:
            logger = piece.text
        else:
            program = piece.text
    form = chosen.form if chosen is not None else None
    return Header(pieces[-1].end, level, form, parts, program, logger)
