"""Count what was logged, per source and template, exactly: all of it once, over restarts.

A row has the count of the open window and the total since it was begun; both become durable
together with how far was read, so that a kill at any moment neither loses nor doubles a line. Times
are those that the writers gave, of lines without one when they were read.

At most ``ROWS_MAX`` rows: the one without a line for longest goes first, and its total ends with
it (a new row of the same template begins at 0 and says since when). Counting is by whole batches:
some 150 ns per line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from vedette.logs.columns import Columns
from vedette.logs.entry import Severity

ROWS_MAX = 10_000
SOURCES_MAX = 1_000
#: Bytes of a line that are kept as a template's example.
EXAMPLE_MAX = 2048
#: Where lines of sources go that are too many.
OTHERS = "(others)"


class Row(msgspec.Struct, array_like=True, gc=False):
    """Lines of one template at one source; ``count``, times and ``example`` are the window's."""

    total: int
    since_ns: int
    count: int
    first_ns: int
    last_ns: int
    severity: int
    example: bytes


class SourceCounts(msgspec.Struct, array_like=True):
    """What came from one source since its row was begun: events, lines and bytes as read."""

    events: int = 0
    lines: int = 0
    bytes: int = 0
    warnings: int = 0
    errors: int = 0
    last_ns: int = 0
    rows: dict[int, Row] = {}


class LedgerState(msgspec.Struct, frozen=True, array_like=True):
    """All counts, for the disk."""

    begun_ns: int = 0
    sources: dict[str, SourceCounts] = {}


class Ledger:
    """Counts by source and template. ``begun_ns`` is when the open window began, Unix ns."""

    def __init__(self, begun_ns: int) -> None:
        self.begun_ns = begun_ns
        self.sources: dict[str, SourceCounts] = {}
        self._rows = 0

    def take(self, source: str, columns: Columns, ids: Sequence[int], now_ns: int) -> Counter[int]:
        """Count events that a miner gave these ids; return the events of each template."""
        counts = Counter(ids)
        times: Sequence[int | None] = columns.times
        if None in times:
            times = [now_ns if time is None else time for time in times]
        book = self._book(source)
        severities = columns.severities
        book.events += len(ids)
        book.lines += sum(columns.lines)
        book.bytes += sum(columns.sizes)
        if max(severities) >= Severity.WARN:
            errors = sum(one >= Severity.ERROR for one in severities)
            book.errors += errors
            book.warnings += sum(one >= Severity.WARN for one in severities) - errors
        book.last_ns = now_ns
        last = dict(zip(ids, times, strict=True))
        firsts = dict(
            zip(
                reversed(ids),
                zip(reversed(times), reversed(severities), reversed(columns.bodies), strict=True),
                strict=True,
            )
        )
        rows = book.rows
        for number, count in counts.items():
            first_ns, severity, body = firsts[number]
            row = rows.get(number)
            if row is None:
                row = rows[number] = Row(0, now_ns, 0, 0, 0, int(severity), b"")
                self._rows += 1
            elif not row.severity:
                row.severity = int(severity)
            if not row.count:
                row.first_ns, row.example = first_ns or 0, body[:EXAMPLE_MAX]
            row.last_ns = max(last[number] or 0, row.first_ns)
            row.count += count
            row.total += count
        if self._rows > ROWS_MAX:
            self._give_up()
        return counts

    def was_told(self, template: int) -> bool:
        """Say whether a template had lines in a window before the open one."""
        books = self.sources.values()
        rows = (book.rows.get(template) for book in books)
        return any(row is not None and row.total > row.count for row in rows)

    def merge(self, old: int, into: int) -> None:
        """Add the rows of a template that became part of another to that one's."""
        for book in self.sources.values():
            row = book.rows.pop(old, None)
            if row is None:
                continue
            other = book.rows.get(into)
            if other is None:
                book.rows[into] = row
                continue
            self._rows -= 1
            if row.count:
                earlier = not other.count or row.first_ns < other.first_ns
                if earlier:
                    other.first_ns, other.example = row.first_ns, row.example
                other.last_ns = max(other.last_ns, row.last_ns)
            other.since_ns = min(other.since_ns, row.since_ns)
            other.severity = max(other.severity, row.severity)
            other.count += row.count
            other.total += row.total

    def window(self) -> Iterator[tuple[str, int, Row]]:
        """Yield source, template and row of all that had lines in the open window."""
        for source, book in self.sources.items():
            for number, row in book.rows.items():
                if row.count:
                    yield source, number, row

    def turn(self, now_ns: int) -> None:
        """End the open window and begin the next one."""
        self.begun_ns = now_ns
        for _, _, row in self.window():
            row.count, row.example = 0, b""

    def state(self) -> LedgerState:
        """Return the counts as they are; valid until the next ``take``."""
        return LedgerState(self.begun_ns, self.sources)

    def restore(self, state: LedgerState, is_known: Callable[[int], bool]) -> None:
        """Go on with counts of an earlier run; those of templates nobody knows any more end."""
        self.begun_ns = state.begun_ns or self.begun_ns
        self.sources = state.sources
        for book in self.sources.values():
            book.rows = {number: row for number, row in book.rows.items() if is_known(number)}
        self._rows = sum(len(book.rows) for book in self.sources.values())

    def _book(self, source: str) -> SourceCounts:
        book = self.sources.get(source)
        if book is None:
            if len(self.sources) >= SOURCES_MAX:
                source = OTHERS
            book = self.sources.setdefault(source, SourceCounts(rows={}))
        return book

    def _give_up(self) -> None:
        """Let go of the rows without a line for longest; those of the open window stay."""
        idle = sorted(
            (row.last_ns, source, number)
            for source, book in self.sources.items()
            for number, row in book.rows.items()
            if not row.count
        )
        for _, source, number in idle[: max(ROWS_MAX // 16, self._rows - ROWS_MAX)]:
            del self.sources[source].rows[number]
            self._rows -= 1
