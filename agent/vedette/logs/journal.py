"""Follow the host's journal from a kept place on: every entry once, all loss counted.

Three ways, the first that works: the host's libsystemd (``journal_lib``), a journalctl child
(``journal_export``), and, only on a host that has no journal at all, the kernel's own log
(``kmsg``). Where there is a journal it has the kernel's lines, and /dev/kmsg is left alone: no line
counts twice. A journal that was there once, and is away for now, is waited for.

The cursor belongs to the caller, who keeps it together with what was counted: then a kill between
two polls loses nothing and repeats nothing. Files that are rotated, vacuumed or deleted while being
read are read to their end first, because a reader has them open, and only then is the journal
opened anew at the cursor. An entry whose place is gone is followed by the next one after it, in the
journal's numbers or in time, and the batch says what is missing.
"""

from __future__ import annotations

import threading
from typing import Literal, Protocol

import msgspec

from vedette.api import Unavailable
from vedette.logs import journal_entry as told
from vedette.logs.entry import Entry
from vedette.logs.journal_export import ExportReader, program
from vedette.logs.journal_lib import JournalError, Library, LibraryReader, Read
from vedette.logs.journal_places import Look, Places
from vedette.logs.kmsg import KernelLog, parse_kernel_cursor

Way = Literal["auto", "library", "journalctl", "kmsg"]
#: Entries of one poll, whatever their size.
ENTRIES_MAX = 10_000
#: After a failure the journal is tried again in 1 s, 2 s, 4 s, .. 60 s.
FIRST_PAUSE_NS, LAST_PAUSE_NS = 1_000_000_000, 60_000_000_000
#: What a reader touches of the files stays mapped and counts as memory of its process: after so
#: many bytes it is opened anew. An entry is its text and, about, ``ENTRY_SIZE`` more.
TOUCHED_MAX, ENTRY_SIZE = 6 << 20, 700
#: A file that is just being created cannot be opened yet, and nothing tells when it can: some time
#: after the journal was opened, it is once more.
SETTLE_NS = 2_000_000_000
#: While the kernel's own log is read, a journal is looked for this often.
SEARCH_NS = 5_000_000_000
#: After so many failures in a row of the first way the second one is tried first.
FAILURES_MAX = 3


class JournalSettings(msgspec.Struct, frozen=True):
    """Which journal is read and from where on.

    ``start``, for the first time: ``"end"``, ``"start"`` or Unix ns. ``cursor`` is where reading
    stopped; with one, ``start`` has no say. ``root`` is where the host's files are, ``directory`` a
    journal of its own instead. Without ``kernel``, a host without a journal has nothing to read.
    ``heads``: entries say what stands before their message, the process among it.
    """

    cursor: str = ""
    start: Literal["end", "start"] | int = "end"
    way: Way = "auto"
    root: str = "/"
    directory: str = ""
    kernel: bool = True
    heads: bool = False


class JournalBatch(msgspec.Struct, frozen=True):
    """What one poll brought; ``cursor`` is to be kept with what is made of it.

    ``lost``: entries that are gone unread, by the journal's own numbering. ``gap``: the place where
    reading had stopped is gone, and how much is missing cannot be told. ``damaged``: entries, or
    parts of files, that could not be read. ``backlog``: there is more now.
    """

    entries: list[Entry]
    cursor: str
    lost: int = 0
    gap: bool = False
    damaged: int = 0
    backlog: bool = False


class _Reader(Protocol):
    cursor: str
    found: bool

    def read(self, entries_max: int, size_max: int) -> Read: ...
    def close(self) -> None: ...


class Journal:
    """The host's journal, or what it has instead. One thread at a time; ``close`` it at the end."""

    def __init__(self, settings: JournalSettings) -> None:
        self._settings = settings
        self._places = Places(settings.root, settings.directory)
        self._alone = threading.Lock()
        self._library: Library | None = None
        self._reader: _Reader | None = None
        self._kernel: KernelLog | None = None
        #: How it is read now: a ``Way``; empty before the first poll and while it cannot be read.
        self.way = ""
        self._cursor = settings.cursor
        self._look = Look((), 0, 0)
        #: The reader was opened at an entry that it has not looked for yet; the place was no place.
        self._unproven = self._gap = False
        #: When to open again what is open, 0 for not at all; that this is being done.
        self._settle_ns = 0
        self._settling = False
        self._search_ns = 0
        self._touched = 0
        self._failures = 0
        self._why = ""
        self._retry_ns = 0

    def poll(self, now_ns: int, budget: int) -> JournalBatch:
        """Return what is new, about ``budget`` bytes of text at most; does not wait for more.

        Raises Unavailable, with the reason, while there is nothing to read or reading fails; later
        calls try again by themselves.
        """
        if not self._alone.acquire(blocking=False):
            raise JournalError("the journal is being read by another thread")
        try:
            if 0 < self._retry_ns - now_ns <= LAST_PAUSE_NS:
                raise Unavailable(self._why)
            try:
                batch = self._poll(now_ns, budget)
            except (JournalError, Unavailable, OSError) as error:
                self._fail(str(error), now_ns)
                raise Unavailable(self._why) from error
            self._failures = self._retry_ns = 0
            return batch
        finally:
            self._alone.release()

    def close(self) -> None:
        """End the child and give back the files; not while a poll is under way."""
        reader, self._reader = self._reader, None
        kernel, self._kernel = self._kernel, None
        self.way = ""
        if reader is not None:
            reader.close()
        if kernel is not None:
            kernel.close()

    def _fail(self, why: str, now_ns: int) -> None:
        self.close()
        self._why = why
        pause_ns = FIRST_PAUSE_NS << min(self._failures, 6)
        self._retry_ns = now_ns + min(pause_ns, LAST_PAUSE_NS)
        self._failures += 1

    def _poll(self, now_ns: int, budget: int) -> JournalBatch:
        if self._kernel is not None:
            if self._settings.way == "kmsg" or not self._has_come(now_ns):
                return self._poll_kernel(self._kernel, budget)
            self.close()  # a journal has come: it has the kernel's lines from now on
        if self._reader is None:
            self._look = self._places.look()
            if self._settings.way == "kmsg" or not self._look.readable:
                self._kernel = self._open_kernel()
                return self._poll_kernel(self._kernel, budget)
            self._reader = self._open(now_ns)
            settled = self._settling or self.way != "library"
            self._settle_ns, self._settling = 0 if settled else now_ns + SETTLE_NS, False
        return self._poll_reader(self._reader, now_ns, budget)

    def _has_come(self, now_ns: int) -> bool:
        """Tell whether there is a journal to be read by now; looks when it is time."""
        if 0 < self._search_ns - now_ns <= SEARCH_NS:
            return False
        self._search_ns = now_ns + SEARCH_NS
        return self._places.look().readable > 0

    def _poll_reader(self, reader: _Reader, now_ns: int, budget: int) -> JournalBatch:
        before = self._cursor
        read = reader.read(ENTRIES_MAX, budget)
        after = self._cursor = read.cursor or before
        lost = 0
        if not self._look.denied:  # else the numbers that are missing are those of others' files
            lost = told.missing_between(before, after, read.seen)
        gap, self._gap = self._gap, False
        if read.seen and self._unproven:
            self._unproven = False
            gap = gap or not (reader.found or told.one_line(before, after))
        moved = read.ended and self._files_moved()
        if not moved and read.ended and self._settle_ns and now_ns >= self._settle_ns:
            moved = self._settling = True
        self._touched += read.seen * ENTRY_SIZE + sum(entry.size for entry in read.entries)
        backlog = moved or not read.ended
        if moved or self._touched > TOUCHED_MAX:
            self.close()
        return JournalBatch(read.entries, after, lost, gap, read.damaged, backlog)

    def _poll_kernel(self, kernel: KernelLog, budget: int) -> JournalBatch:
        read = kernel.read(ENTRIES_MAX, budget)
        self._cursor = read.cursor or self._cursor
        return JournalBatch(
            read.entries, self._cursor, read.lost, False, read.damaged, not read.ended
        )

    def _files_moved(self) -> bool:
        """Tell whether files came or went; a child sees that itself while the directories stay."""
        now, then = self._places.now(), self._look.places
        if self.way == "library":
            return now != then
        return [place.itself() for place in now] != [place.itself() for place in then]

    def _open(self, now_ns: int) -> _Reader:
        """Open the journal where reading stopped, in the first way that works."""
        if parse_kernel_cursor(self._cursor) is not None:
            self._cursor = told.at_time(now_ns // 1000)
        elif self._cursor and told.realtime_of(self._cursor) is None:
            self._cursor, self._gap = "", True
        cursor = self._cursor or self._first_place()
        reasons = []
        for way in self._ways():
            try:
                reader = self._open_by(way, cursor)
            except JournalError as error:
                reasons.append(str(error))
                continue
            self.way = way
            self._unproven = told.parse_cursor(self._cursor) is not None
            # An empty journal has no place: whatever comes from now on is new.
            self._cursor = reader.cursor or told.at_time(now_ns // 1000)
            self._touched = 0
            return reader
        raise JournalError("; ".join(reasons))

    def _open_by(self, way: str, cursor: str) -> _Reader:
        heads = self._settings.heads
        if way == "journalctl":
            return ExportReader(program(), self._places, cursor, heads=heads)
        if self._library is None:
            self._library = Library()
        return LibraryReader(self._library, self._places, cursor, heads=heads)

    def _ways(self) -> tuple[str, ...]:
        if self._settings.way != "auto":
            return (self._settings.way,)
        ways = ("library", "journalctl")
        return ways if self._failures < FAILURES_MAX else ways[::-1]

    def _first_place(self) -> str:
        start = self._settings.start
        if start == "end":
            return ""
        return told.at_time(0 if start == "start" else start // 1000)

    def _open_kernel(self) -> KernelLog:
        """Open the kernel's log where there is no journal; raises Unavailable with the reason."""
        reason = f"there is no journal of this machine in {self._places}"
        if self._look.denied:
            reason = f"the journal in {self._places} may not be read (group systemd-journal may)"
        settings = self._settings
        never_a_journal = not (self._look.denied or settings.directory) and (
            not self._cursor or parse_kernel_cursor(self._cursor) is not None
        )
        if settings.way != "kmsg" and not (
            settings.kernel and settings.way == "auto" and never_a_journal
        ):
            raise Unavailable(reason)
        try:
            kernel = KernelLog(settings.root, self._cursor, from_start=settings.start != "end")
        except Unavailable as error:
            raise Unavailable(f"{reason}; {error}") from error
        self.way = "kmsg"
        return kernel
