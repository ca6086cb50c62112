"""Keep which template each line has while templates still become one: eight bytes a line at most.

A miner's ids stay valid, but it remembers a bounded number of those that became part of another.
So what each id means now is looked up as lines come, often enough that none is forgotten.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.logs.entry import Severity
from vedette.logs.miner import Miner
from vedette.logs.sessions import SessionKey

__all__ = ["File", "Ledger", "Mined"]

#: New ids after which all are looked up: with a batch and what is alive they are fewer than the
#: aliases a miner remembers.
LOOKED_UP = 1000
#: Bytes kept of a template's first message.
EXAMPLE = 1000
#: Bits of a severity, and lines of which the templates are looked up at a time.
_GRADE, _PIECE = 5, 65_536
#: A line of no template yet, and one of no session.
_NOT_YET, _NONE = 0xFFFFFFFF, -1


class File(msgspec.Struct):
    """A file that was read: the number of its first line, how many it has, whether it is normal."""

    name: str
    start: int
    normal: bool
    lines: int = 0
    entries: int = 0


class Mined(msgspec.Struct, frozen=True):
    """A template as it is at the end; ``count`` of what was not given as normal."""

    id: int
    pattern: str
    text: str
    count: int
    severity: Severity
    first_file: str
    first_line: int
    example: bytes


class _Seen(msgspec.Struct):
    """What is known of an id: its first line, the message there, and entries by severity."""

    first: int
    example: bytes
    grades: dict[int, int]


class Ledger:
    """Mines entries and keeps what came of it."""

    def __init__(self, *, lines: bool, key: SessionKey | None = None) -> None:
        self.miner = Miner()
        self.files: list[File] = []
        self.keys: dict[bytes, int] = {}
        self._keeps, self._key = lines or key is not None, key
        self._count = 0
        self._ids = array("I")
        # Which line is in which session, by line; a line may be in several.
        self._places, self._sessions = array("I"), array("i")
        self._final: NDArray[np.uint32] = np.zeros(1, dtype=np.uint32)
        self._highest = 0
        self._seen: dict[int, _Seen] = {}

    # ------------------------------------------------------------ lines come

    def begin(self, name: str, *, normal: bool) -> None:
        """Begin with a file."""
        if not normal and self.files and self.files[-1].normal:
            self._end_normal()
        self.files.append(File(name, self._count, normal))

    def read(self, lines: Sequence[bytes]) -> int:
        """Take raw lines; return the number of the first of them."""
        start = self._count
        self._count += len(lines)
        self.files[-1].lines += len(lines)
        if self._keeps:
            self._ids.extend([_NOT_YET] * len(lines))
        if self._key is not None:
            of, numbers = self._key.of, self.keys
            for place, line in enumerate(lines, start):
                for key in of(line):
                    self._places.append(place)
                    self._sessions.append(numbers.setdefault(key, len(numbers)))
        return start

    def take(
        self,
        bodies: Sequence[bytes],
        counts: Sequence[int],
        numbers: Sequence[int],
        severities: Sequence[Severity] = (),
    ) -> None:
        """Mine the bodies of entries, of which the counts and numbers of lines are known."""
        if not bodies:
            return
        self.files[-1].entries += len(bodies)
        ids = np.array(self.miner.learn(bodies), dtype=np.int64)
        lines = (
            np.arange(numbers.start, numbers.stop)
            if isinstance(numbers, range)
            else np.array(numbers, dtype=np.int64)
        )
        several = len(lines) != len(bodies)
        many = np.asarray(counts) if several else None
        firsts = lines[np.cumsum(many) - many] if many is not None else lines
        self._note(ids, bodies, firsts, severities)
        if self._keeps:
            np.frombuffer(self._ids, dtype=np.uint32)[lines] = (
                ids if many is None else np.repeat(ids, many)
            )
        if self._key is not None and several:
            self._unite(counts, numbers)
        self._highest = max(self._highest, int(ids.max()))
        if self._highest - len(self._final) >= LOOKED_UP:
            self._look_up()

    def _note(
        self,
        ids: NDArray[np.int64],
        bodies: Sequence[bytes],
        firsts: NDArray[np.int64],
        severities: Sequence[Severity],
    ) -> None:
        """Count entries by template and severity, and note where each template came first."""
        kinds = ids << _GRADE
        if severities:
            kinds |= np.fromiter(severities, dtype=np.int64, count=len(severities))
        order = np.argsort(firsts, kind="stable")
        each, places, times = np.unique(kinds[order], return_index=True, return_counts=True)
        for kind, place, count in zip(each.tolist(), order[places].tolist(), times, strict=True):
            number, first = kind >> _GRADE, int(firsts[place])
            seen = self._seen.get(number)
            if seen is None:
                seen = self._seen[number] = _Seen(first, bodies[place][:EXAMPLE], {})
            elif first < seen.first:
                seen.first, seen.example = first, bodies[place][:EXAMPLE]
            grade = kind & (1 << _GRADE) - 1
            seen.grades[grade] = seen.grades.get(grade, 0) + int(count)

    def _unite(self, counts: Sequence[int], numbers: Sequence[int]) -> None:
        """Let an entry of several lines be in each of its sessions once."""
        at = 0
        for count in counts:
            if count > 1:
                known: set[int] = set()
                for number in numbers[at : at + count]:
                    place = bisect_left(self._places, number)
                    while place < len(self._places) and self._places[place] == number:
                        session = self._sessions[place]
                        if session in known:
                            self._sessions[place] = _NONE
                        known.add(session)
                        place += 1
            at += count

    def _end_normal(self) -> None:
        """Begin to count anew: what was normal is only learned from."""
        for seen in self._seen.values():
            seen.grades.clear()
        self.keys = {}

    # ------------------------------------------------------------ what ids mean

    def _look_up(self) -> None:
        """Look up what each id given out so far means now."""
        new = np.arange(len(self._final), self._highest + 1, dtype=np.uint32)
        means = np.concatenate([self._final, new])
        asked = np.unique(means)
        answers = np.array([self.miner.resolve(one) for one in asked.tolist()], dtype=np.uint32)
        self._final = answers[np.searchsorted(asked, means)]
        seen: dict[int, _Seen] = {}
        for number, one in self._seen.items():
            into = seen.setdefault(int(self._final[number]), one)
            if into is one:
                continue
            if one.first < into.first:
                into.first, into.example = one.first, one.example
            for grade, count in one.grades.items():
                into.grades[grade] = into.grades.get(grade, 0) + count
        self._seen = seen

    def templates(self) -> list[Mined]:
        """Return the templates, oldest first."""
        self._look_up()
        found = []
        for one in self.miner.templates():
            seen = self._seen[one.id]
            file, line = self._place(seen.first)
            found.append(
                Mined(
                    one.id,
                    self.miner.pattern(one.id),
                    one.text,
                    sum(seen.grades.values()),
                    _severity(seen.grades),
                    file.name,
                    line,
                    seen.example,
                )
            )
        return found

    def assigned(self) -> Iterator[tuple[str, Sequence[int], Sequence[int]]]:
        """Yield a file's name, numbers of lines in it and their templates; nothing of normal ones.

        Lines are in order, those of a file in several pieces.
        """
        self._look_up()
        for file in self.files:
            for start in range(0, 0 if file.normal else file.lines, _PIECE):
                stop = min(start + _PIECE, file.lines)
                ids = np.frombuffer(self._ids[file.start + start : file.start + stop], np.uint32)
                yield file.name, range(start + 1, stop + 1), self._final[ids].tolist()

    def sessions(self, *, normal: bool) -> Iterator[tuple[int, list[int]]]:
        """Yield the sessions in the order in which they ended: number and templates in order."""
        self._look_up()
        border = next((one.start for one in self.files if not one.normal), self._count)
        first = bisect_left(self._places, border)
        part = slice(0, first) if normal else slice(first, len(self._places))
        numbers = np.frombuffer(self._sessions[part], dtype=np.int32)
        rows = np.flatnonzero(numbers != _NONE)
        rows = rows[np.argsort(numbers[rows], kind="stable")]
        lines = np.frombuffer(self._places[part], dtype=np.uint32)[rows]
        ids = np.frombuffer(self._ids, dtype=np.uint32)[lines]
        each, starts = np.unique(numbers[rows], return_index=True)
        ends = np.append(starts[1:], len(rows))
        for at in np.argsort(lines[ends - 1], kind="stable").tolist() if len(each) else ():
            yield int(each[at]), self._final[ids[starts[at] : ends[at]]].tolist()

    @property
    def lines(self) -> int:
        """Lines that are not given as normal."""
        return sum(one.lines for one in self.files if not one.normal)

    @property
    def entries(self) -> int:
        """Entries that are not given as normal."""
        return sum(one.entries for one in self.files if not one.normal)

    def _place(self, number: int) -> tuple[File, int]:
        file = self.files[bisect_right(self.files, number, key=lambda one: one.start) - 1]
        return file, number - file.start + 1


def _severity(grades: dict[int, int]) -> Severity:
    """Return the severity of most entries that have one, the gravest of several."""
    known = {grade: count for grade, count in grades.items() if grade}
    return Severity(max(known, key=lambda one: (known[one], one), default=0))
