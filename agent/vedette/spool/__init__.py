"""Keep batches durably until every destination has acknowledged them.

The spool is a queue on disk with one writer and a cursor per destination. ``append`` returns when
the batches are durable (one fdatasync however many there are); from then on each is delivered at
least once to each destination, byte for byte the same at every attempt, oldest first. Only two
things take a batch away before that: damage to the disk, and the size cap.

A batch is identified by (agent, epoch, sequence). Within an epoch sequences begin at 1 and none is
ever used twice, so a receiver can ignore what it has and name what it lacks: a batch lost to
damage or to the cap simply stays missing. Where the numbers cannot be continued safely (the spool
is new, its identity is gone or is another agent's, a sync failed) a new epoch begins.

Files, all in one directory: ``*.seg`` (see ``segment``), ``identity`` and ``*.cursor`` (see
``cursor``), ``ballast``, ``lock``, and the quarantines ``damaged/`` and ``dead/``. The order of
effects makes it safe: a batch is visible only after its sync, an attempt is noted before the first
send, and a segment is unlinked only after the cursors that pass it are durable.

Without a destination nothing is kept: there is nobody it is promised to (see ``destinations``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from vedette.api import Shipment, Signal
from vedette.spool.destinations import Destinations
from vedette.spool.disk import FULL, Ballast, Disk, lock
from vedette.spool.journal import Journal
from vedette.spool.quarantine import Quarantine, slug
from vedette.spool.segment import AGENT_MAX, PAYLOAD_MAX, Position, Segment

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_GZIP_LEVEL = 6


class SpoolError(Exception):
    """The spool could not do what was asked; what was durable before still is."""


class SpoolFullError(SpoolError):
    """There is no room for new batches (disk, quota or file-size limit); try again later."""


class SpoolLockedError(SpoolError):
    """Another process has this spool open."""


class Backlog(msgspec.Struct, frozen=True):
    """What one destination has not acknowledged yet; ``oldest_ns`` is None when that is nothing."""

    batches: int
    bytes: int
    oldest_ns: int | None


class SpoolCounters(msgspec.Struct, frozen=True):
    """What happened since the start, in batches unless it says otherwise.

    ``damaged`` counts stretches of bytes that were no record, ``missing`` the records known to have
    been there, ``torn`` the tails cut off after a crash. ``dropped`` fell to the size cap while a
    destination still wanted them, ``unkept`` had no destination, ``dead_letters_lost`` could not be
    kept. The last three say what is there now.
    """

    appended: int
    acknowledged: int
    refused: int
    damaged: int
    missing: int
    torn: int
    dropped: int
    unkept: int
    failed_appends: int
    dead_letters_evicted: int
    dead_letters_lost: int
    batches: int
    bytes: int
    segments: int


class Spool:
    """The queue; every method may be called from any thread.

    Raises ``SpoolLockedError`` when another process has the directory open and ``SpoolError`` when
    the directory cannot be made or listed; otherwise it starts, whatever state the files are in.
    ``ballast_bytes`` is a reserve for a full disk; ``disk`` is what all effects go through.
    """

    def __init__(
        self,
        directory: Path,
        *,
        agent_id: str,
        segment_bytes: int = 4 * _MIB,
        cap_bytes: int = 256 * _MIB,
        ballast_bytes: int = 4 * _MIB,
        clock_ns: Callable[[], int] = time.time_ns,
        disk: Disk | None = None,
    ) -> None:
        if not 0 < len(agent_id.encode()) <= AGENT_MAX:
            raise ValueError(f"agent_id must have 1 to {AGENT_MAX} bytes, got {agent_id!r}")
        self._directory = directory
        self._agent = agent_id
        self._cap_bytes = cap_bytes
        self._clock_ns = clock_ns
        self._disk = disk or Disk()
        self._lock = threading.Lock()
        self._closed = self._full = False
        self._handed: dict[str, Position] = {}  # what each destination was given last
        self._dead = Quarantine(directory / "dead", self._disk, max_files=200, max_bytes=10 * _MIB)
        self._ballast = Ballast(directory / "ballast", ballast_bytes, self._disk)
        self._appended = self._acknowledged = self._refused = self._dropped = 0
        self._unkept = self._failed_appends = self._dead_letters_lost = 0
        try:
            if not directory.is_dir():
                self._disk.make_directory(directory)
                self._disk.sync_directory(directory.parent)
            self._lock_fd = lock(directory / "lock")
        except BlockingIOError:
            raise SpoolLockedError(f"another process has the spool {directory} open") from None
        except OSError as error:
            raise _error("open", error) from error
        try:
            self._destinations = Destinations(directory, self._disk, self._ballast)
            # The cap is kept by dropping whole segments, so there must be several of them.
            self._journal = self._open_journal(max(1, min(segment_bytes, cap_bytes // 4)))
        except OSError as error:
            os.close(self._lock_fd)
            raise _error("open", error) from error
        self._ballast.fill()

    def _open_journal(self, segment_bytes: int) -> Journal:
        return Journal(
            self._directory,
            self._agent,
            self._disk,
            segment_bytes=segment_bytes,
            ballast=self._ballast,
            quarantine=Quarantine(
                self._directory / "damaged", self._disk, max_files=200, max_bytes=16 * _MIB
            ),
            clock_ns=self._clock_ns,
            reached=self._destinations.reached,
        )

    @property
    def epoch(self) -> str:
        """The epoch of the next batch: 16 hexadecimal digits."""
        return self._journal.identity.epoch

    # ------------------------------------------------------------ the writer's side

    def append(self, entries: Sequence[tuple[Signal, bytes]]) -> tuple[int, ...]:
        """Add batches (uncompressed OTLP requests) and return their sequences.

        Durable on return, and then visible to ``peek``. Raises ``SpoolFullError`` or
        ``SpoolError``; then none of them is in the spool and the call can be repeated. Returns an
        empty tuple when there is no destination.
        """
        bodies = [
            (signal, zlib.compress(payload, _GZIP_LEVEL, wbits=31)) for signal, payload in entries
        ]
        for _, body in bodies:
            if len(body) > PAYLOAD_MAX:
                raise ValueError(f"batch of {len(body)} bytes compressed, limit {PAYLOAD_MAX}")
        with self._lock:
            self._require_open()
            if not bodies:
                return ()
            if self._destinations.are_none:
                self._unkept += len(bodies)
                return ()
            try:
                sequences = self._journal.append(bodies)
            except OSError as error:
                self._failed_appends += len(bodies)
                self._append_failed(error)
                raise _error("append to", error) from error
            if self._full:
                self._full = False
                log.info("spool_full=false")
            self._appended += len(bodies)
            self._keep_cap()
            return sequences

    def _append_failed(self, error: OSError) -> None:
        if error.errno not in FULL:
            return
        if not self._full:
            self._full = True
            log.error("spool_full=true reason=%s", os.strerror(error.errno or 0))
        self._ballast.release()
        segment = self._journal.open_segment
        if segment is not None and self._destinations.have_passed(segment):
            self._journal.seal()  # everything in it has arrived: its space can be had back
        self._remove_passed()

    def _keep_cap(self) -> None:
        """Bring the spool under its cap.

        Today the oldest segment goes of which nothing is in doubt at a destination. Merging windows
        that were never attempted belongs here too, before the drop; it must leave alone exactly
        what ``Destinations.in_doubt`` does.
        """
        size = sum(segment.size for segment in self._journal.segments)
        while size > self._cap_bytes:
            segment = next(
                (
                    each
                    for each in self._journal.segments
                    if each is not self._journal.open_segment
                    and not self._destinations.in_doubt(each)
                ),
                None,
            )
            if segment is None:
                return
            wanted = self._destinations.wanted(segment)
            try:
                self._journal.remove(segment)
            except OSError as error:
                log.warning("spool_drop=%s reason=%s", segment.path.name, error.strerror)
                return
            size -= segment.size
            self._dropped += wanted
            log.warning("spool_drop=%s batches=%d reason=cap", segment.path.name, wanted)

    # ------------------------------------------------------------ the destinations' side

    def attach(self, destinations: Collection[str]) -> None:
        """Say which destinations there are; what none of them needs any more is removed.

        Until this is called everything is kept, for whoever may ask.
        """
        with self._lock:
            self._require_open()
            self._destinations.attach(destinations)
            self._remove_passed()

    def peek(self, destination: str) -> Shipment | None:
        """Return the oldest batch this destination has not acknowledged; None when it has all.

        Notes durably that it may be about to arrive; raises ``SpoolError`` when that fails.
        """
        with self._lock:
            self._require_open()
            cursor = self._destinations.cursor(destination)
            while (head := self._head(cursor.acknowledged)) is not None:
                segment, index = head
                try:
                    found = self._journal.load(segment, index)
                    if found is None:
                        continue
                    record, body = found
                    here = Position(segment.generation, record.sequence)
                    if here > cursor.attempted:
                        self._destinations.store(cursor, cursor.acknowledged, here)
                except OSError as error:
                    raise _error("read", error) from error
                self._handed[destination] = here
                return Shipment(self._agent, segment.epoch, record.sequence, record.signal, body)
            return None

    def acknowledge(self, destination: str, sequence: int) -> None:
        """Note durably that the batch ``peek`` returned has arrived; repeating it does nothing.

        Raises ``ValueError`` for another batch than that, ``SpoolError`` when the disk does not let
        it (then the batch is still the oldest).
        """
        with self._lock:
            self._require_open()
            if self._pass(destination, sequence):
                self._acknowledged += 1

    def refuse(self, destination: str, shipment: Shipment, reason: str) -> None:
        """Put a batch the destination will never take to the dead letters and go on behind it."""
        with self._lock:
            self._require_open()
            name = (
                f"{self._clock_ns():020d}-{slug(destination)}-{shipment.epoch}"
                f"-{shipment.sequence}-{shipment.signal}-{slug(reason)}.gz"
            )
            kept = self._dead.keep(name, shipment.body)
            if not kept and self._ballast.release():
                kept = self._dead.keep(name, shipment.body)
            if self._pass(destination, shipment.sequence):
                self._refused += 1
                self._dead_letters_lost += not kept

    def backlog(self, destination: str) -> Backlog:
        """Return how much this destination has not acknowledged."""
        with self._lock:
            self._require_open()
            batches = size = 0
            oldest_ns = None
            for segment, index in self._behind(self._destinations.cursor(destination).acknowledged):
                oldest_ns = segment.times[index] if oldest_ns is None else oldest_ns
                batches += len(segment.sequences) - index
                size += sum(segment.lengths[index:])
            return Backlog(batches, size, oldest_ns)

    def _pass(self, destination: str, sequence: int) -> bool:
        cursor = self._destinations.cursor(destination)
        here = self._handed.get(destination)
        if here is None or here.sequence != sequence:
            if sequence <= cursor.acknowledged.sequence:
                return False
            raise ValueError(f"{sequence} is not what {destination} was handed last")
        if here <= cursor.acknowledged:
            return False
        # The next batch is attempted right after; noting that now saves a sync.
        following = self._head(here)
        ahead = here if following is None else _position(*following)
        try:
            self._destinations.store(cursor, here, max(ahead, cursor.attempted))
        except OSError as error:
            raise _error("acknowledge in", error) from error
        self._remove_passed()
        return True

    # ------------------------------------------------------------ both

    def counters(self) -> SpoolCounters:
        """Return what happened since the start and what is there."""
        with self._lock:
            journal = self._journal
            return SpoolCounters(
                appended=self._appended,
                acknowledged=self._acknowledged,
                refused=self._refused,
                damaged=journal.damaged,
                missing=journal.missing,
                torn=journal.torn,
                dropped=self._dropped,
                unkept=self._unkept,
                failed_appends=self._failed_appends,
                dead_letters_evicted=self._dead.evicted,
                dead_letters_lost=self._dead_letters_lost,
                batches=sum(len(segment.sequences) for segment in journal.segments),
                bytes=sum(segment.size for segment in journal.segments),
                segments=len(journal.segments),
            )

    def close(self) -> None:
        """Let go of the directory; later calls raise ``SpoolError``. Safe twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._journal.close()
            self._destinations.close()
            os.close(self._lock_fd)

    def _require_open(self) -> None:
        if self._closed:
            raise SpoolError("the spool is closed")

    def _behind(self, position: Position) -> Iterator[tuple[Segment, int]]:
        """Yield each segment with records behind a position, and the index of the first."""
        for segment in self._journal.segments:
            index = segment.after(position)
            if index < len(segment.sequences):
                yield segment, index

    def _head(self, position: Position) -> tuple[Segment, int] | None:
        return next(self._behind(position), None)

    def _remove_passed(self) -> None:
        destinations, open_segment = self._destinations, self._journal.open_segment
        for segment in list(self._journal.segments):
            if segment is not open_segment and destinations.have_passed(segment):
                # A file that cannot be unlinked now is passed again at the next acknowledgement.
                with contextlib.suppress(OSError):
                    self._journal.remove(segment)


def _position(segment: Segment, index: int) -> Position:
    return Position(segment.generation, segment.sequences[index])


def _error(doing: str, error: OSError) -> SpoolError:
    kind = SpoolFullError if error.errno in FULL else SpoolError
    return kind(f"cannot {doing} the spool: {error.strerror or error}")
