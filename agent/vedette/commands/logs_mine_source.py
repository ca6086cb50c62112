"""Read log files of any size as lines, and follow each line into the event it becomes a part of.

Framing puts the parts of a long line together and joining the lines of a trace; lines of several
streams or programs may come between each other. What comes out says how many lines an event has,
not which. They are known all the same: the events of one stream, and of one program, come in the
order of their lines, so each takes the next lines of its own.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import NamedTuple, Protocol

from vedette.logs.columns import Columns
from vedette.logs.framing import STREAMS_MAX, Framer
from vedette.logs.joining import Joiner
from vedette.logs.splitting import sniff, split
from vedette.logs.structured import cri_part, docker_part
from vedette.terminal import CommandError

__all__ = ["BATCH", "STDIN", "Events", "Source", "batches"]

#: What the joiner keeps apart: a program, and a stream of it.
Key = tuple[str, bytes]

STDIN = "-"
#: Lines of a batch, and bytes that are read at a time.
BATCH, BLOCK = 2000, 1 << 19
#: Of a longer line so many bytes are taken, as the agent does.
LINE_MAX = 128 * 1024
#: Zero bytes that end what was read may go on; not beyond this.
HOLE_MAX = 4 * BLOCK


class _Bytes(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes: ...


class Events(NamedTuple):
    """Events, and the numbers of the lines of each, one after the other."""

    columns: Columns
    numbers: Sequence[int]


def batches(name: str) -> Iterator[list[bytes]]:
    """Yield the lines of a file without their ends; raises ``CommandError`` for what is unreadable.

    Every line counts, empty ones too, whatever its length.
    """
    try:
        with _opened(name) as file:
            for lines in _lines(file):
                for start in range(0, len(lines), BATCH):
                    yield lines[start : start + BATCH]
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"cannot read {name}: {reason}") from None


def _opened(name: str) -> AbstractContextManager[_Bytes]:
    if name == STDIN:
        return nullcontext(sys.stdin.buffer)
    if name.endswith(".gz"):
        return gzip.open(name, "rb")
    if name.endswith(".xz"):
        return lzma.open(name, "rb")
    if name.endswith(".bz2"):
        return bz2.open(name, "rb")
    return open(name, "rb")


def _lines(file: _Bytes) -> Iterator[list[bytes]]:
    rest, codec, mid_line = b"", -1, False
    while True:
        block = file.read(BLOCK)
        rest += block
        if codec < 0:
            mark = sniff(rest, final=not block)
            if mark is None:
                continue
            codec, rest = mark[0], rest[mark[1] :]
        done = split(rest, codec=codec, mid_line=mid_line, max_line=LINE_MAX, final=not block)
        yield done.lines
        if not block:
            return
        rest, mid_line = rest[done.used :], done.mid_line
        if len(rest) > HOLE_MAX:
            rest = rest.rstrip(b"\0")


class Source:
    """Frames and joins the lines of one file."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns
        self._framer, self._joiner = Framer(), Joiner()
        self._parts, self._held = _Parts(), _Held()

    def feed(self, lines: Sequence[bytes], start: int) -> Events:
        """Return the events that are complete after lines of which the first has a number."""
        rows = self._framer.columns(lines, self._now_ns)
        return self._join(rows, self._parts.rows(lines, start, rows.lines))

    def end(self) -> Iterator[Events]:
        """Yield the events that waited for more lines."""
        rows = self._framer.flush(self._now_ns, everything=True)
        yield self._join(rows, self._parts.flush())
        events = self._joiner.flush(self._now_ns, everything=True)
        yield Events(events, self._held.take(events))

    def _join(self, rows: Columns, numbers: Sequence[int]) -> Events:
        self._held.add(rows, numbers)
        # The clock stands: an event is held until its program's next one, as in a calm moment.
        events = self._joiner.join(rows, self._now_ns)
        return Events(events, self._held.take(events))


class _Parts:
    """Numbers of the lines that are parts of longer ones, as a container's engine splits them."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[int]] = {}
        self._is_sure = True

    def rows(self, lines: Sequence[bytes], start: int, counts: Sequence[int]) -> Sequence[int]:
        """Return the numbers of the lines of rows, of each of which the number of lines is known.

        Where the framer took a line for something else than it looks like, they are in order.
        """
        if not self._waiting and len(counts) == len(lines):
            return range(start, start + len(lines))
        before = sorted(self.flush())
        if self._is_sure:
            found = self._followed(lines, start)
            if [len(one) for one in found] == counts:
                return [number for one in found for number in one]
            self._is_sure = False
        numbers, count = [*before, *range(start, start + len(lines))], sum(counts)
        self._waiting = {"": numbers[count:]} if count < len(numbers) else {}
        return numbers[:count]

    def flush(self) -> list[int]:
        """Return the numbers that wait, as they come at the end."""
        return [number for numbers in self._waiting.values() for number in numbers]

    def _followed(self, lines: Sequence[bytes], start: int) -> list[list[int]]:
        """Do as the framer does, with numbers instead of texts."""
        found, waiting = [], self._waiting
        for number, line in enumerate(lines, start):
            part = docker_part(line) if line[:1] == b"{" else cri_part(line)
            if part is None:
                found.append([number])
                continue
            if part.stream not in waiting and not part.whole and len(waiting) >= STREAMS_MAX:
                found.append(waiting.pop(next(iter(waiting))))
            waiting.setdefault(part.stream, []).append(number)
            if part.whole:
                found.append(waiting.pop(part.stream))
        return found


class _Held:
    """Numbers of the lines of rows that the joiner has and may join to others."""

    def __init__(self) -> None:
        #: Rows: what keeps them apart, how many lines; and the numbers of all their lines.
        self._keys: list[Key] = []
        self._counts: list[int] = []
        self._numbers: Sequence[int] = []

    def add(self, rows: Columns, numbers: Sequence[int]) -> None:
        """Take rows that the joiner is given."""
        if self._keys or not isinstance(numbers, range):
            numbers = [*self._numbers, *numbers]
        self._keys += _keys(rows)
        self._counts += rows.lines
        self._numbers = numbers

    def take(self, events: Columns) -> Sequence[int]:
        """Return the numbers of the lines of events that the joiner gave back."""
        keys, count = _keys(events), len(events)
        if keys == self._keys[:count] and events.lines == self._counts[:count]:
            lines = sum(events.lines)
            taken = self._numbers[:lines]
            del self._keys[:count], self._counts[:count]
            self._numbers = self._numbers[lines:]
            return taken
        return self._apart(keys, events.lines)

    def _apart(self, keys: Sequence[Key], counts: Sequence[int]) -> list[int]:
        """Return the numbers where rows were joined, or came in another order."""
        queues: dict[Key, deque[int]] = {}
        rows, numbers = list(zip(self._keys, self._counts, strict=True)), iter(self._numbers)
        for key, count in rows:
            queues.setdefault(key, deque()).extend(islice(numbers, count))
        found = []
        for key, count in zip(keys, counts, strict=True):
            queue = queues[key]
            found += [queue.popleft() for _ in range(count)]
        # What is left of each key are its last rows.
        left: list[tuple[Key, int]] = []
        rest = {key: len(queue) for key, queue in queues.items()}
        for key, count in reversed(rows):
            if rest[key] > 0:
                left.append((key, count))
                rest[key] -= count
        left.reverse()
        self._keys, self._counts = [key for key, _ in left], [count for _, count in left]
        self._numbers = [queues[key].popleft() for key, count in left for _ in range(count)]
        return found


def _keys(rows: Columns) -> list[Key]:
    """Return what the joiner keeps apart: programs, and streams."""
    if not any(rows.fields):
        return [(unit, b"") for unit in rows.units]
    return [
        (unit, fields.get("stream", b"") if fields else b"")
        for unit, fields in zip(rows.units, rows.fields, strict=True)
    ]
