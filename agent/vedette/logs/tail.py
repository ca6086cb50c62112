"""Read log files losslessly: by patterns, through every rotation, each line once.

    tail = Tail(TailSettings(("/var/log/*.log",)))
    tail.restore(positions, now)              # what was kept with the counts
    for chunk in tail.poll(now): ...          # count the lines
    kept.save(encode(tail.positions(now), counts))

The caller drives it and owns durability: the tail writes nothing. ``positions`` are those after
everything that ``poll`` returned; kept together with what was made of the lines, a kill at any
moment costs no line and counts none twice. One thread; no watcher, only ``stat``.

Files are read in turn, a block of 256 KiB each, until nothing is left or the poll's budget is
spent: a file that floods takes its share and waits, the others are read. What waits is told as
``backlog``. What is done with a file that moved or changed is told in ``tail_lineage``, with paths
in ``tail_places``, with bytes in ``splitting``.
"""

from __future__ import annotations

from vedette.logs.positions import Positions
from vedette.logs.splitting import Split
from vedette.logs.tail_deleted import Deleted
from vedette.logs.tail_files import ElsewhereError, Reader
from vedette.logs.tail_lineage import Lineage
from vedette.logs.tail_places import Places
from vedette.logs.tail_register import Place, Register
from vedette.logs.tail_settings import Chunk, Counters, TailSettings
from vedette.logs.tail_twins import Twins


class Tail:
    """The files of some patterns, read as they grow; not thread-safe."""

    def __init__(self, settings: TailSettings) -> None:
        self.settings = settings
        self.counters = Counters()
        self._register = Register(settings, self.counters)
        self._lineage = Lineage(self._register)
        self._twins = Twins(self._register, self._lineage)
        self._places = Places(self._register, self._lineage)
        self._deleted = Deleted(self._register)

    def restore(self, positions: Positions, now: float) -> None:
        """Go on at positions kept from an earlier run; before the first ``poll``."""
        self._places.restore(positions, now)

    def poll(self, now: float) -> list[Chunk]:
        """Return the lines that have come, of each file in order; ``now`` is monotonic seconds."""
        self._places.refresh(now)
        chunks: list[Chunk] = []
        work = self._register.work
        left = self.settings.budget
        steps = self.settings.steps
        while work and left > 0 and steps > 0:
            for place in tuple(work):
                del work[place]
                size, more = self._step(place, now, chunks)
                if more:
                    work[place] = None  # at the end: the others come first
                left -= size
                steps -= 1
                if left <= 0 or steps <= 0:
                    break
        self._deleted.check(now)
        return chunks

    def positions(self, now: float) -> Positions:
        """Return the positions after all lines that ``poll`` has returned."""
        return self._places.positions(now)

    def close(self) -> None:
        """Close all files."""
        self._register.descriptors.close()

    @property
    def backlog(self) -> int:
        """Return the bytes known to be unread when the last poll ended."""
        return sum(
            max(0, reader.size - reader.offset)
            for place in self._register.work
            for reader in place.queue
            if reader.dirty
        )

    @property
    def paths(self) -> list[str]:
        """Return the paths that are read."""
        return [place.source.path for place in self._register.places.values()]

    @property
    def descriptors(self) -> int:
        """Return how many files are open."""
        return len(self._register.descriptors)

    @property
    def troubles(self) -> dict[str, str]:
        """Return what cannot be read now, with the reason."""
        return self._register.troubles

    @property
    def ignored(self) -> dict[str, str]:
        """Return what the patterns find and is not read, with the reason."""
        return dict(self._places.finder.ignored)

    def _step(self, place: Place, now: float, chunks: list[Chunk]) -> tuple[int, bool]:
        """Read a block of a place's oldest unread file; return its size, and whether to go on."""
        for reader in tuple(place.queue):
            if reader not in self._register.owner:
                continue
            self._lineage.follow(reader)
            if reader.fresh:
                reader.fresh = False
                self._twins.compare(reader, now)
                if reader not in self._register.owner:
                    return 0, True
                self._lineage.follow(reader)
            if reader.is_twin and reader.dirty:
                self._twins.see_twin(reader)
            if reader.wanted:
                size = self._read(place, reader, now, chunks)
                return size, any(one.wanted for one in place.queue)
        return 0, False

    def _read(self, place: Place, reader: Reader, now: float, chunks: list[Chunk]) -> int:
        """Read a block of a file; return how many bytes were gone through."""
        try:
            fd = self._register.descriptors.get(reader)
            if reader.unproven and not reader.begin_at_end(fd):
                reader.restart()
            before = reader.offset
            result = reader.read(
                fd, max_line=self.settings.max_line, final=reader.flush or reader.is_copy
            )
            if result is None:
                self._lineage.changed(reader, fd, now)
                return 0
        except ElsewhereError:
            reader.stuck = True  # look at its place, or seek it, with the next poll
            reader.due = place.due = now
            return 0
        except OSError as error:
            self._register.say(reader.path, error.strerror or type(error).__name__)
            reader.stuck = True
            return 0
        self._register.unsay(reader.path)
        if reader.flush and result.lines and reader.mid_line:
            self.counters.flushed += 1
        self._settle(reader, now)
        return self._deliver(place, reader, result, reader.offset - before, now, chunks)

    def _settle(self, reader: Reader, now: float) -> None:
        """Note what is left to do with a file after a block was read."""
        waiting = self._register.waiting
        if not reader.at_end:
            reader.dirty = True
            return
        if reader.seen_ns != reader.mtime_ns:
            reader.seen_ns = reader.mtime_ns
            reader.position = None
        flushed = reader.flush
        reader.dirty = reader.flush = False
        rest = reader.size - reader.offset
        if rest <= 0 or reader.mid_line:
            waiting.discard(reader)
            reader.partial = 0
        elif rest != reader.partial or reader not in waiting or flushed:
            waiting.add(reader)
            reader.partial = rest
            reader.partial_since = now

    def _deliver(
        self,
        place: Place,
        reader: Reader,
        result: Split,
        size: int,
        now: float,
        chunks: list[Chunk],
    ) -> int:
        counters = self.counters
        counters.bytes += size
        counters.cut_lines += result.cut_lines
        counters.cut_bytes += result.cut_bytes
        if result.lines:
            counters.lines += len(result.lines)
            position = reader.told(place.encoded, now)
            chunks.append(Chunk(place.source, result.lines, position, size))
        return size
