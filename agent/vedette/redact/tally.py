"""Count what was masked, by rule, so that the audit can say what left the host and what did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec


class Counts(msgspec.Struct, frozen=True):
    """What went through the redaction: texts, those touched, bytes, and hits by rule."""

    pieces: int = 0
    touched: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    hits: Mapping[str, int] = {}

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.pieces + other.pieces,
            self.touched + other.touched,
            self.bytes_in + other.bytes_in,
            self.bytes_out + other.bytes_out,
            dict(sorted((Counter(self.hits) + Counter(other.hits)).items())),
        )


class Tally:
    """Add up pieces since the start. One thread writes; ``counts`` is a copy that any may keep."""

    def __init__(self) -> None:
        self._pieces = 0
        self._touched = 0
        self._bytes_in = 0
        self._bytes_out = 0
        self._hits: Counter[str] = Counter()

    def add(self, before: int, after: int, hits: Mapping[str, int]) -> None:
        """Take note of one piece: its bytes before and after, and its hits."""
        self._pieces += 1
        self._bytes_in += before
        self._bytes_out += after
        if hits:
            self._touched += 1
            self._hits.update(hits)

    def counts(self) -> Counts:
        """Return what was counted so far, rules in the order of their names."""
        hits = dict(sorted(self._hits.items()))
        return Counts(self._pieces, self._touched, self._bytes_in, self._bytes_out, hits)
