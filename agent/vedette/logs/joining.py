"""Join the lines of one event: stack traces of any language, and what is indented below a line.

Nothing is configured. A line belongs to the one before when

- a trace is open and the line's grammar goes on with it (``traces``), with or without a header of
  its own, because docker and the journal put one before each line;
- it has no header, is indented, and this source's lines normally have headers;
- it has no header, begins a trace, and the line before reported trouble (a warning or worse, or did
  not say): ``logger.exception`` writes so. A trace after an "all is well" is an event of its own.

Lines of different programs or streams are kept apart, so that they may interleave. Frames below an
"all is well" are not its own, and become an event themselves. What the user's patterns say of a
line goes before all that.

The newest event of each program is held back, as more of it may come, for ``WAIT_S`` at most by the
clock that the caller passes. Of an event ``LINES_MAX`` lines and ``BYTES_MAX`` bytes are kept, the
rest is counted; after ``COUNTED_MAX`` lines it ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from vedette.logs.columns import Columns, Reading, plain
from vedette.logs.entry import Severity
from vedette.logs.traces import TRACES, Mode, follows, is_frame, opened_by

NS = 1_000_000_000
WAIT_S = 2.0
LINES_MAX, BYTES_MAX, COUNTED_MAX = 512, 65_536, 10_000
#: Programs and streams whose newest event is held.
HELD_MAX = 32
#: Lines by which it is judged whether a source's lines have headers, and their share.
JUDGED, USUAL = 256, 0.5

#: How lines begin or end that join others or that others join: all else is quiet.
_LOUD_STARTS = (
    b" ", b"\t", b"#", b"Caused by: ", b"Suppressed: ", b"Wrapped by: ", b"Causing: ", b"--- ",
    b"... ", b"}", b"]", b")", b"Traceback", b"During ", b"The above ", b"goroutine ", b"panic: ",
    b"created by ", b"fatal error: ", b"[signal ", b"exit status", b"stack backtrace", b"note: ",
    b"thread '", b"/", b"file:", b"node:", b"Node.js", b"throw ", b"Stack trace", b"Next ", b"PHP ",
    b"Uncaught", b"Exception", b"Unhandled", b"Call Trace", b"|", b"+",
)  # fmt: skip
_LOUD_ENDS = (b":", b"{", b"[", b"(")
_CLOSING = re.compile(rb"[\]})]+[;,.]?\Z")
#: The first of the two lines of java.util.logging: class and method.
_PLACE = re.compile(rb"[\w.$]+(?: [\w$<>]+)?\Z")


class _Event(msgspec.Struct):
    """An event that more lines may join."""

    reading: Reading
    size: int
    lines: int
    touched_ns: int
    mode: Mode
    texts: list[bytes]
    kept: int
    last: bytes

    @property
    def is_quiet(self) -> bool:
        """Tell whether it is over as soon as another line comes."""
        trouble = self.reading.severity >= Severity.WARN
        return self.mode is Mode.NONE and len(self.texts) == 1 and not trouble


class Joiner:
    """Joins the lines of one source. Not for several threads at once."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, bytes], _Event] = {}
        self._judged = 0
        self._headed = 0

    def join(self, columns: Columns, now_ns: int) -> Columns:
        """Return the events that are complete by now; the newest are held back."""
        out = Columns()
        quiet = _quiet(columns)
        index, count = 0, len(columns)
        while index < count:
            loud = quiet.find(0, index)
            last = (loud if loud >= 0 else count) - 1
            # a quiet line behind a quiet line ends it, unless a trace is open that it may end
            if last > index and all(held.mode is Mode.NONE for held in self._held.values()):
                self._pass(columns, index, last, out)
                index = last
            row = columns.row(index)
            self._take(row, columns.sizes[index], columns.lines[index], now_ns, out)
            index += 1
        self._release(now_ns - int(WAIT_S * NS), out)
        return out

    def _pass(self, columns: Columns, start: int, stop: int, out: Columns) -> None:
        """Let events through that nothing will join, after those held that they end."""
        for key in [key for key, held in self._held.items() if held.is_quiet]:
            _finish(self._held.pop(key), out)
        if self._held:
            units, fields = columns.units[start:stop], columns.fields[start:stop]
            for key in {*map(_key, units, fields)} & self._held.keys():
                _finish(self._held.pop(key), out)
        self._count(stop - start, sum(columns.headed[start:stop]))
        out.extend(columns, start, stop)

    @property
    def holds(self) -> bool:
        """Whether any event is held back."""
        return bool(self._held)

    def save(self) -> bytes:
        """Return the events that are held back; empty when none is."""
        held = [(unit, stream, event) for (unit, stream), event in self._held.items()]
        return msgspec.msgpack.encode(held, enc_hook=plain) if held else b""

    def restore(self, saved: bytes) -> None:
        """Hold back again what another one held; ``ValueError`` for what ``save`` did not write."""
        if saved:
            held = msgspec.msgpack.decode(saved, type=list[tuple[str, bytes, _Event]])
            self._held = {(unit, stream): event for unit, stream, event in held}

    def flush(self, now_ns: int, *, everything: bool = False) -> Columns:
        """Return what has waited long enough for more lines, or all of it when no more can come."""
        out = Columns()
        self._release(now_ns if everything else now_ns - int(WAIT_S * NS), out)
        return out

    def _release(self, until_ns: int, out: Columns) -> None:
        for key in [key for key, held in self._held.items() if held.touched_ns <= until_ns]:
            _finish(self._held.pop(key), out)

    def _take(self, reading: Reading, size: int, lines: int, now_ns: int, out: Columns) -> None:
        key = _key(reading.unit, reading.fields)
        held = self._held.get(key)
        mode = self._joins(held, reading) if held is not None else None
        if held is not None and mode is not None:
            _grow(held, reading, mode, size, lines, now_ns)
            return
        self._judge(reading)
        self._hold(key, reading, size, lines, now_ns, out)

    def _hold(
        self,
        key: tuple[str, bytes],
        reading: Reading,
        size: int,
        lines: int,
        now_ns: int,
        out: Columns,
    ) -> None:
        """Hold an event that begins."""
        before = self._held.pop(key, None)
        if before is not None:
            _finish(before, out)
        if len(self._held) >= HELD_MAX:
            _finish(self._held.pop(next(iter(self._held))), out)
        body = reading.body
        self._held[key] = _Event(
            reading, size, lines, now_ns, opened_by(body), [body], len(body), body
        )

    def _judge(self, reading: Reading) -> None:
        """Count whether lines that begin an event have a header; the newest weigh most."""
        if reading.body[:1] not in (b" ", b"\t", b""):
            self._count(1, int(reading.headed))

    def _count(self, lines: int, headed: int) -> None:
        if self._judged >= JUDGED:
            self._judged //= 2
            self._headed //= 2
        self._judged += lines
        self._headed += headed

    def _joins(self, held: _Event, reading: Reading) -> Mode | None:
        """Return the mode of an event after a line that belongs to it, None when it does not."""
        if reading.continues is not None:
            return Mode.TOLD if reading.continues else None
        if held.mode is Mode.TOLD or held.lines >= COUNTED_MAX:
            return None
        body = reading.body
        if held.mode is Mode.NONE and reading.headed and body[:1] not in (b" ", b"\t", b"#"):
            return self._names_level(held, reading)
        if is_frame(body) and _is_well(held):
            return None
        mode = follows(held.mode, body, held.last)
        if mode is not None:
            return mode
        if reading.headed or not held.reading.headed:
            return None
        return self._below(held, body)

    def _below(self, held: _Event, body: bytes) -> Mode | None:
        """Return the mode after a line without a header below one that has one."""
        if not body:
            return held.mode
        if self._headed < USUAL * self._judged:
            return None
        if body[:1] in (b" ", b"\t"):
            return Mode.INDENTED if held.mode is Mode.NONE else held.mode
        if held.mode is Mode.INDENTED and _CLOSING.match(body) is not None:
            return held.mode
        if held.reading.severity in (Severity.INFO, Severity.TRACE) or len(held.texts) > 1:
            return None
        opened = opened_by(body)
        return opened if opened in TRACES or opened is Mode.RUST_MESSAGE else None

    def _names_level(self, held: _Event, reading: Reading) -> Mode | None:
        """Return the mode after the second line of java.util.logging, ``SEVERE: message``."""
        first = held.reading
        if reading.time_ns is not None or reading.severity is Severity.UNKNOWN:
            return None
        if first.time_ns is None or first.severity is not Severity.UNKNOWN:
            return None
        if len(held.texts) > 1 or _PLACE.match(first.body) is None:
            return None
        held.reading = first._replace(severity=reading.severity)
        held.texts, held.kept = [], 0
        return opened_by(reading.body)


def _key(unit: str, fields: Mapping[str, bytes] | None) -> tuple[str, bytes]:
    return unit, (fields.get("stream", b"") if fields else b"")


def _quiet(columns: Columns) -> bytearray:
    """Return for each line whether it neither joins the one before nor will be joined, by its look.

    That holds when the line after it is quiet as well. A line that is not quiet is looked at.
    """
    if columns.told:
        return bytearray(len(columns))
    usual = any(columns.headed)
    timed = any(time is not None for time in columns.times)
    apart = _are_several(columns)
    return bytearray(
        body != b""
        and (headed or not usual)
        and not body.startswith(_LOUD_STARTS)
        and not body.endswith(_LOUD_ENDS)
        and not (apart and _is_trouble(body, severity))
        and (time is not None or severity == 0 or not timed)
        for body, severity, headed, time in zip(
            columns.bodies, columns.severities, columns.headed, columns.times, strict=True
        )
    )


def _are_several(columns: Columns) -> bool:
    """Tell whether lines of several programs or streams may come between each other."""
    first = columns.fields[0] if columns.fields else None
    return bool(first and "stream" in first) or len(set(columns.units)) > 1


def _is_trouble(body: bytes, severity: Severity) -> bool:
    """Tell whether a trace may belong to a line although another program's line follows it."""
    if severity is Severity.UNKNOWN:
        return b"rror" in body or b"xception" in body
    return severity >= Severity.WARN


def _is_well(held: _Event) -> bool:
    """Tell whether an event says that all is well, so that frames are not its own."""
    if held.mode is not Mode.NONE:
        return False
    return held.reading.severity in (Severity.INFO, Severity.TRACE)


def _grow(event: _Event, reading: Reading, mode: Mode, size: int, lines: int, now_ns: int) -> None:
    """Add a line to an event; beyond its bounds the line is only counted."""
    body = reading.body
    if len(event.texts) < LINES_MAX and event.kept + len(body) < BYTES_MAX:
        event.texts.append(body)
        event.kept += len(body) + 1
    event.size += size
    event.lines += lines
    event.mode, event.last, event.touched_ns = mode, body, now_ns


def _finish(event: _Event, out: Columns) -> None:
    reading = event.reading
    if len(event.texts) > 1 or event.texts[:1] != [reading.body]:
        body = b"\n".join(event.texts).rstrip() if event.texts else reading.body
        reading = reading._replace(body=body)
    out.add(reading, event.size, event.lines)
