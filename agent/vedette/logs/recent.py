"""Keep the newest raw lines in memory, for a person at this host; they are never sent.

Bounded in bytes, counted with what Python needs for each line. A line that is very long is cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

#: Bytes of a line that are kept, and what each costs beside them.
LINE_MAX, OVERHEAD = 1024, 180
#: Of one batch so many lines are taken: the newest ones.
BATCH_MAX = 500


class RecentLine(msgspec.Struct, frozen=True, gc=False):
    """One event: when it was written (read, if it does not say), where, of which template."""

    time_ns: int
    source: str
    template: int
    severity: int
    body: bytes


class Recent:
    """The newest lines, at most ``bytes_max`` of them."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lines: deque[RecentLine] = deque()
        self._bytes = 0
        #: Counts every line ever taken, so that a reader can go on where it was.
        self.taken = 0

    def __len__(self) -> int:
        return len(self._lines)

    def take(
        self,
        source: str,
        bodies: Sequence[bytes],
        times: Sequence[int | None],
        severities: Sequence[int],
        ids: Sequence[int],
        now_ns: int,
    ) -> None:
        """Keep the newest events of a batch."""
        skipped = max(0, len(ids) - BATCH_MAX)
        self.taken += skipped
        if self._bytes_max <= 0:
            self.taken += len(ids) - skipped
            return
        for row in range(skipped, len(ids)):
            time_ns = times[row]
            line = RecentLine(
                now_ns if time_ns is None else time_ns,
                source,
                ids[row],
                severities[row],
                bodies[row][:LINE_MAX],
            )
            self._lines.append(line)
            self._bytes += len(line.body) + OVERHEAD
            self.taken += 1
        while self._bytes > self._bytes_max and self._lines:
            self._bytes -= len(self._lines.popleft().body) + OVERHEAD

    def newest(
        self, most: int, wanted: Callable[[RecentLine], bool], since: int = 0
    ) -> list[RecentLine]:
        """Return the newest lines that are wanted, oldest first.

        ``since`` is what ``taken`` was when somebody looked before: older ones are left out.
        """
        fresh = self._fresh(since)
        found: list[RecentLine] = []
        for line in fresh:
            if wanted(line):
                found.append(line)
                if len(found) >= most:
                    break
        return found[::-1]

    def _fresh(self, since: int) -> Iterator[RecentLine]:
        lines: Iterable[RecentLine] = reversed(self._lines)
        for line, _ in zip(lines, range(self.taken - since if since else len(self._lines))):  # noqa: B905 - the shorter of both
            yield line
