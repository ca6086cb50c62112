"""Read all logs of this host as batches of events, and know how far they were read.

Files by ``Tail``, the journal by ``Journal``; each file is framed and joined by itself, the journal
per program. What is read and not given out yet (the newest event of a program, which may go on; a
line in parts) is part of the state, so that positions and what was made of the lines fit together
at any moment: whoever keeps both in one value counts each line once, whatever is killed when.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from vedette.api import Unavailable
from vedette.logs import names
from vedette.logs.columns import Columns
from vedette.logs.framing import Framer
from vedette.logs.globs import Finder
from vedette.logs.joining import Joiner
from vedette.logs.journal import Journal, JournalSettings
from vedette.logs.journal_places import Places
from vedette.logs.options import LogsConfig
from vedette.logs.positions import Positions
from vedette.logs.tail import Tail
from vedette.logs.tail_settings import Chunk, Source, TailSettings, source_of

log = logging.getLogger(__name__)

#: Files whose framing is remembered; the one that was silent longest is forgotten.
STREAMS_MAX = 256
#: Bytes read in one go of files, and of the journal.
FILES_BUDGET, JOURNAL_BUDGET = 2 << 20, 1 << 20
#: The stream of the journal among those of files, whose names are paths.
JOURNAL = "journal:"
#: Where the kernel's lines are as well: then its own log is not read beside them.
_KERNEL_COPIES = ("var/log/syslog", "var/log/messages", "var/log/kern.log")


class Batch(NamedTuple):
    """Events of one source, in order."""

    source: str
    columns: Columns


class IntakeState(msgspec.Struct, frozen=True, array_like=True):
    """How far all was read; ``held`` is what is read and was not given out, by stream."""

    positions: Positions = msgspec.field(default_factory=Positions)
    cursor: str = ""
    held: dict[str, tuple[bytes, bytes]] = {}


class Lost(msgspec.Struct):
    """What is known to be gone unread, or could not be read, since the start."""

    #: Bytes of files, and times that some vanished without it being known how many.
    bytes: int = 0
    gaps: int = 0
    #: Deleted files that were not read to their end.
    given_up: int = 0
    #: Entries of the journal: gone, and damaged.
    entries: int = 0
    damaged: int = 0


class _Stream:
    """One file, or the journal: what takes its lines apart and joins them."""

    __slots__ = ("framer", "joiner", "source")

    def __init__(self, source: str, framer: Framer) -> None:
        self.source = source
        self.framer = framer
        self.joiner = Joiner()

    def flush(self, now_ns: int, *, everything: bool = False) -> Columns:
        parts = self.framer.flush(now_ns, everything=everything)
        columns = self.joiner.join(parts, now_ns) if len(parts) else Columns()
        rest = self.joiner.flush(now_ns, everything=everything)
        columns.extend(rest, 0, len(rest))
        return columns


class Intake:
    """Files and journal. ``root`` is where the host's files are. One thread."""

    def __init__(self, config: LogsConfig, root: str = "/") -> None:
        self._config = config
        self._root = root
        self._redact = config.redact.redactor().redact_text
        places = Places(root)
        self.reads_journal = config.journal and bool(places.look().readable)
        patterns, exclude = config.patterns(without_copies=self.reads_journal)
        self._patterns = tuple(_below(root, one) for one in patterns)
        excluded = tuple(_below(root, one) if "/" in one else one for one in exclude)
        budget = FILES_BUDGET
        self.tail = Tail(
            TailSettings(self._patterns, exclude=excluded, begin=config.begin, budget=budget)
        )
        self._journal: Journal | None = None
        self._ignored = [re.compile(fnmatch.translate(one)) for one in config.ignore]
        self._formats = [
            (Finder((_below(root, glob),)), form) for glob, form in config.formats.items()
        ]
        self._sessions = [pattern for pattern, _ in session_patterns(config)]
        self._zone = _local_zone(root)
        self._boot_ns = _boot_ns(root)
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._holding: set[str] = set()
        self._given_up: list[Batch] = []
        self._now_ns = 0
        self._cursor = ""
        self._lost = Lost()
        self._journal_gaps = 0
        #: Why the journal is not read now; empty when it is, or is not wanted.
        self.journal_trouble = ""
        self.journal_behind = False

    def probe(self) -> None:
        """Raise ``Unavailable`` when there is no log to read, nor a place where one may appear."""
        if self.reads_journal or (self._config.journal and self._reads_kernel()):
            return
        places = {_fixed(one) for one in self._patterns}
        if any(os.access(one, os.R_OK | os.X_OK) for one in places):
            return
        where = ", ".join(sorted(places)[:5])
        raise Unavailable(
            f"there is no journal, and no directory of logs that may be read: {where}"
        )

    def restore(self, state: IntakeState, now_s: float) -> None:
        """Go on where an earlier run stopped."""
        self.tail.restore(state.positions, now_s)
        self._cursor = state.cursor
        for key, (framer, joiner) in state.held.items():
            stream = self._stream(key, key if key == JOURNAL else self._named(source_of(key)))
            try:
                stream.framer.restore(framer)
                stream.joiner.restore(joiner)
                self._holding.add(key)
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("logs: lines held back are lost path=%s reason=%s", key, error)

    def state(self, now_s: float) -> IntakeState:
        """Return how far all was read, what is held back included."""
        held = {}
        for key in self._holding:
            stream = self._streams.get(key)
            if stream is not None:
                saved = stream.framer.save(), stream.joiner.save()
                if any(saved):
                    held[key] = saved
        return IntakeState(self.tail.positions(now_s), self._cursor, held)

    def read(self, now_ns: int, now_s: float) -> list[Batch]:
        """Return what is complete by now of what was logged; about 3 MiB at most."""
        self._now_ns = now_ns
        batches = [self._take(chunk, now_ns) for chunk in self.tail.poll(now_s)]
        for key in list(self._holding):
            batches += self._flush(key, now_ns)
        if self._config.journal:
            batches += self._read_journal(now_ns)
        given_up, self._given_up = self._given_up, []
        return [one for one in (*given_up, *batches) if len(one.columns)]

    def lost(self) -> Lost:
        """Return what was lost since the start."""
        counters = self.tail.counters
        self._lost.bytes = counters.lost_bytes
        self._lost.gaps = counters.gaps + self._journal_gaps
        self._lost.given_up = counters.given_up
        return self._lost

    @property
    def behind(self) -> bool:
        """Whether there is more to be read now."""
        return self.journal_behind or self.tail.backlog > 0

    def sources(self) -> set[str]:
        """Return the sources of the files that are followed, the silent ones included."""
        return {self._named(source_of(path)) for path in self.tail.paths}

    def close(self) -> None:
        """Close all files."""
        self.tail.close()
        if self._journal is not None:
            self._journal.close()

    # ------------------------------------------------------------ files

    def _take(self, chunk: Chunk, now_ns: int) -> Batch:
        path = chunk.source.path
        stream = self._streams.get(path)
        if stream is None:
            stream = self._stream(path, self._named(chunk.source))
        else:
            self._streams.move_to_end(path)
        columns = stream.framer.columns(chunk.lines, now_ns)
        self._holding.add(path)
        return Batch(stream.source, stream.joiner.join(columns, now_ns))

    def _named(self, source: Source) -> str:
        return self._redact(names.of_file(source))

    def _stream(self, key: str, source: str) -> _Stream:
        form = next((one for finder, one in self._formats if finder.matches(key)), None)
        zone: tzinfo | str = form.zone if form is not None and form.zone else self._zone
        patterns = form.patterns() if form is not None else None
        # A session's key may stand in the header: a process, a thread, a request.
        heads = any(one.match(source) for one in self._sessions)
        if key == JOURNAL:
            heads = bool(self._sessions)
        framer = Framer(zone, self._boot_ns, patterns, keeps_heads=heads)
        stream = self._streams[key] = _Stream(source, framer)
        if len(self._streams) > STREAMS_MAX:
            self._forget_stream()
        return stream

    def _forget_stream(self) -> None:
        """Forget the stream that was silent longest; what it holds back is given out."""
        key, stream = next(iter(self._streams.items()))
        silent = next((one for one in self._streams if one not in self._holding), key)
        if silent != next(reversed(self._streams)):  # the newest is being read
            key, stream = silent, self._streams[silent]
        del self._streams[key]
        if key in self._holding:
            self._holding.discard(key)
            columns = stream.flush(self._now_ns, everything=True)
            self._given_up += (
                self._by_unit(columns) if key == JOURNAL else [Batch(stream.source, columns)]
            )

    def _flush(self, key: str, now_ns: int) -> list[Batch]:
        """Give out what has waited long enough for more of it."""
        stream = self._streams.get(key)
        if stream is None:
            self._holding.discard(key)
            return []
        columns = stream.flush(now_ns)
        if not (stream.framer.waits or stream.joiner.holds):
            self._holding.discard(key)
        if key == JOURNAL:
            return self._by_unit(columns)
        return [Batch(stream.source, columns)]

    # ------------------------------------------------------------ journal

    def _read_journal(self, now_ns: int) -> list[Batch]:
        if self._journal is None:
            self._journal = Journal(
                JournalSettings(
                    cursor=self._cursor,
                    start="end" if self._config.begin == "end" else "start",
                    root=self._root,
                    kernel=self._reads_kernel(),
                    heads=bool(self._sessions),
                )
            )
        try:
            batch = self._journal.poll(now_ns, JOURNAL_BUDGET)
        except Unavailable as error:
            self.journal_trouble, self.journal_behind = str(error), False
            return []
        self.journal_trouble, self.journal_behind = "", batch.backlog
        self._cursor = batch.cursor
        self._lost.entries += batch.lost
        self._journal_gaps += batch.gap
        self._lost.damaged += batch.damaged
        if not batch.entries:
            return []
        stream = self._streams.get(JOURNAL) or self._stream(JOURNAL, JOURNAL)
        self._streams.move_to_end(JOURNAL)
        self._holding.add(JOURNAL)
        columns = stream.framer.refine(batch.entries, now_ns)
        return self._by_unit(stream.joiner.join(columns, now_ns))

    def _reads_kernel(self) -> bool:
        """Whether nothing else has the kernel's lines, which may be read then."""
        if self.reads_journal:
            return True  # the journal has them; it decides
        copies = [os.path.join(self._root, one) for one in _KERNEL_COPIES]
        device = os.path.join(self._root, "dev/kmsg")
        return not any(map(os.path.exists, copies)) and os.access(device, os.R_OK)

    def _by_unit(self, columns: Columns) -> list[Batch]:
        """Return events as batches of the programs that wrote them."""
        rows: dict[str, list[int]] = {}
        for row, unit in enumerate(columns.units):
            rows.setdefault(unit, []).append(row)
        return [
            Batch(self._redact(names.of_unit(unit)), columns.select(of_unit))
            for unit, of_unit in rows.items()
            if not self._is_ignored(unit)
        ]

    def _is_ignored(self, unit: str) -> bool:
        return any(one.match(unit) for one in self._ignored)


def session_patterns(config: LogsConfig) -> Sequence[tuple[re.Pattern[str], str]]:
    """Return which sources have sessions, and how their keys are found."""
    return [(re.compile(fnmatch.translate(glob)), key) for glob, key in config.sessions.items()]


def reading(intake: Intake) -> Mapping[str, object]:
    """Return what is read and what is not, for a person."""
    return {
        "files": sorted(intake.tail.paths),
        "troubles": dict(sorted(intake.tail.troubles.items())),
        "ignored": dict(sorted(intake.tail.ignored.items())),
        "journal": intake.journal_trouble or ("read" if intake.reads_journal else "not read"),
        "backlog_bytes": intake.tail.backlog,
    }


def _below(root: str, pattern: str) -> str:
    return pattern if root == "/" else os.path.join(root, pattern.lstrip("/"))


def _fixed(pattern: str) -> str:
    """Return the directory that a pattern begins in."""
    parts = pattern.split("/")[:-1]
    fixed = next((at for at, one in enumerate(parts) if set(one) & set("*?[")), len(parts))
    return "/".join(parts[:fixed]) or "/"


def _local_zone(root: str) -> tzinfo:
    """Return the host's time zone, with its changes of clocks."""
    try:
        with open(os.path.join(root, "etc/localtime"), "rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC


def _boot_ns(root: str) -> int | None:
    """Return when this host was started, Unix ns."""
    try:
        with open(os.path.join(root, "proc/stat"), "rb") as file:
            for line in file:
                if line.startswith(b"btime "):
                    return int(line.split()[1]) * 1_000_000_000
    except (OSError, ValueError):
        pass
    return None
