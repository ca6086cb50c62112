"""Turn the raw lines of one source into log events, whatever format they are in.

Nothing is configured: each line is recognised by itself, most of them by what the source's lines
before looked like. A line may be wrapped (docker's json-file, CRI, syslog) and what is inside be in
any format again, once. Formats may change and mix within a source.

An ordinary line costs one regular expression (``headers``), a dictionary look-up for its level and
one for its second. ``Framer.columns`` takes and gives whole batches for that reason.

Of the parts of a long line that an engine split, ``PARTIAL_MAX`` bytes are kept and the rest only
counted; parts that are never finished come out after ``PARTIAL_WAIT_S``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo

import msgspec

from vedette.logs.columns import Columns, Reading
from vedette.logs.entry import Entry, Severity
from vedette.logs.headers import RECHECK, Stripper
from vedette.logs.layouts import MATCHED_MAX
from vedette.logs.levels import ALL, severity_of_priority
from vedette.logs.patterns import FilePatterns
from vedette.logs.pieces import goes_on
from vedette.logs.structured import (
    Part,
    cri_part,
    docker_part,
    json_reading,
    logfmt_reading,
)
from vedette.logs.syslog import parse_5424, priority_of, text_of
from vedette.logs.timestamps import SCALES, Clock

NS = 1_000_000_000
#: Kept of a line that an engine split into parts, and how long its end is awaited.
PARTIAL_MAX, PARTIAL_WAIT_S = 262_144, 5.0
#: Bytes of what stood before a message that are kept, where it is asked for.
HEAD_MAX = 512
#: Names remembered as text, and as fields.
NAMES_MAX = 4096
#: What a wrapped message begins with when it is structured itself.
_STRUCTURED = (b"{", b"time=", b"ts=", b"level=", b"lvl=", b"t=")
_STREAMS: dict[str, Mapping[str, bytes]] = {
    "stdout": {"stream": b"stdout"},
    "stderr": {"stream": b"stderr"},
}
#: Streams of which parts are waited for at a time.
STREAMS_MAX = 8
_REQUEST = re.compile(rb'"[^"]{0,2048}" ([1-5]\d\d)(?: |\Z)')


class _Partial(msgspec.Struct):
    """A line of which not all parts are there yet."""

    texts: list[bytes]
    stamp: bytes
    since_ns: int
    kept: int = 0
    size: int = 0
    lines: int = 0


class Framer:
    """Reads the lines of one source. Not for several threads at once.

    ``zone`` is that of stamps without one, ``boot_ns`` when the host started (for the kernel's
    stamps), ``patterns`` what the user said of the file, ``is_inner`` that what it reads was
    wrapped by an engine already. With ``keeps_heads`` events say what stood before their message.
    """

    def __init__(
        self,
        zone: tzinfo | str = UTC,
        boot_ns: int | None = None,
        patterns: FilePatterns | None = None,
        *,
        is_inner: bool = False,
        keeps_heads: bool = False,
    ) -> None:
        self.clock = Clock(zone, boot_ns)
        self.patterns = patterns
        self.stripper = Stripper()
        self._inner: Framer | None = None
        self._is_inner, self._keeps_heads = is_inner, keeps_heads
        self._in_parts = False
        self._partials: dict[str, _Partial] = {}
        self._units: dict[bytes, str] = {}
        self._loggers: dict[bytes, Mapping[str, bytes]] = {}

    def frame(self, lines: Sequence[bytes], now_ns: int) -> list[Entry]:
        """Return the events in whole lines (without their ends), as entries."""
        return self.columns(lines, now_ns).entries()

    def columns(self, lines: Sequence[bytes], now_ns: int) -> Columns:
        """Return the events in whole lines, in columns.

        Never raises for anything in a line. A line of which more parts are to come gives no event
        yet: its size and number are in the event it becomes.
        """
        self.clock.set_now(now_ns)
        self._learn(lines)
        columns = Columns()
        self._read_all(lines, columns, now_ns)
        return columns

    def flush(self, now_ns: int, *, everything: bool = False) -> Columns:
        """Return lines whose end has not come for too long, or all of them at the end of a file."""
        columns = Columns()
        for stream, partial in list(self._partials.items()):
            if everything or now_ns - partial.since_ns >= PARTIAL_WAIT_S * NS:
                self._finish(stream, columns)
        return columns

    @property
    def waits(self) -> bool:
        """Whether there are lines of which not all parts have come."""
        return bool(self._partials)

    def save(self) -> bytes:
        """Return the lines whose parts are not all there yet; empty when there are none."""
        return msgspec.msgpack.encode(self._partials) if self._partials else b""

    def restore(self, saved: bytes) -> None:
        """Wait again for what another one waited for; ``ValueError`` for what is none of that."""
        if saved:
            self._partials = msgspec.msgpack.decode(saved, type=dict[str, _Partial])
            self._in_parts = True

    def refine(self, entries: Sequence[Entry], now_ns: int) -> Columns:
        """Return entries whose bodies may begin with headers of their own (the journal's), read.

        What the body says of time, severity and fields goes before what carried it.
        """
        self.clock.set_now(now_ns)
        columns, inside = Columns(), self._inside()
        for entry in entries:
            outer = Reading(entry.body, entry.severity, entry.time_ns, entry.unit, entry.fields)
            said = _within(outer, inside.line(entry.body))
            if self._keeps_heads:
                said = self._with_head(said, entry.head + entry.body)
            columns.add(said, entry.size, entry.lines)
        return columns

    def _learn(self, lines: Sequence[bytes]) -> None:
        if self.stripper.is_learning and self.patterns is None:
            plain = [line for line in lines[:512] if line[:1] != b"{" and cri_part(line) is None]
            self.stripper.learn([_after_priority(line) for line in plain])

    def _read_all(self, lines: Sequence[bytes], columns: Columns, now_ns: int) -> None:
        """Read lines by the layouts known, which most fit; the others by looking closer.

        This is the loop of the ordinary line, so it is written out rather than in functions.
        """
        stripper, heads, level_of = self.stripper, self.clock.known(), ALL.get
        layouts, unknown = stripper.layouts, Severity.UNKNOWN
        bodies, severities, times = columns.bodies, columns.severities, columns.times
        units, headed, sizes, counts = columns.units, columns.headed, columns.sizes, columns.lines
        fields, plain = columns.fields, self.patterns is None
        heads_of, keeps_heads = columns.heads, self._keeps_heads
        learning = stripper.is_learning
        for raw in lines:
            line = raw.rstrip()
            stripper.seen += 1
            known, severity = None, unknown
            if plain and not learning and stripper.seen % RECHECK:
                for layout in layouts:
                    found = layout.match(line, 0, MATCHED_MAX)
                    if found is None:
                        continue
                    if layout.level:
                        graded = level_of(found[layout.level])
                        if graded is None:
                            continue
                        severity = graded
                    known = layout
                    break
            if known is None or found is None or self._in_parts:
                self._other(raw, columns, now_ns)
                learning = stripper.is_learning
                continue
            body = line[found.end() :]
            if known.is_open and (body.startswith(_STRUCTURED) or goes_on(line, found.end())):
                self._other(raw, columns, now_ns)
                continue
            if known.is_open and body[:1] == b'"':
                severity = _severity_of_request(body)
            time = None
            if known.form is not None:
                head, fraction, tail = found.group(known.stamp, known.stamp + 1, known.stamp + 2)
                time = heads.get(head + b"|" + tail if tail else head)
                if time is None:
                    time = self.clock.read(known.form, head, fraction or b"", tail or b"")
                elif fraction:
                    time += int(fraction) * SCALES[len(fraction)]
            units.append(self._unit(found[known.program]) if known.program else "")
            fields.append(self._logger(found[known.logger]) if known.logger else None)
            heads_of.append(line[: found.end()][:HEAD_MAX] if keeps_heads else b"")
            known.hits += 1
            bodies.append(body)
            severities.append(severity)
            times.append(time)
            headed.append(True)
            sizes.append(len(raw) + 1)
            counts.append(1)

    def _unit(self, name: bytes) -> str:
        unit = self._units.get(name)
        if unit is None:
            if len(self._units) >= NAMES_MAX:
                self._units.clear()
            unit = self._units[name] = text_of(name)
        return unit

    def _logger(self, name: bytes) -> Mapping[str, bytes]:
        fields = self._loggers.get(name)
        if fields is None:
            if len(self._loggers) >= NAMES_MAX:
                self._loggers.clear()
            fields = self._loggers[name] = {"logger": name}
        return fields

    # -- lines that need a closer look

    def _other(self, line: bytes, columns: Columns, now_ns: int) -> None:
        part, size = None, len(line) + 1
        if not self._is_inner:
            part = docker_part(line) if line[:1] == b"{" else cri_part(line)
        if part is None:
            text = line.rstrip()
            said = self._reading(text)
            columns.add(self._with_head(said, text) if self._keeps_heads else said, size)
        else:
            self._in_parts = True
            self._part(part, size, columns, now_ns)

    def _part(self, part: Part, size: int, columns: Columns, now_ns: int) -> None:
        """Take one part of a line; with its last one the line becomes an event."""
        waiting = self._partials.get(part.stream)
        if waiting is None:
            if part.whole:
                columns.add(self._contained(part.text, part.stamp, part.stream), size)
                return
            if len(self._partials) >= STREAMS_MAX:
                self._finish(next(iter(self._partials)), columns)
            waiting = self._partials[part.stream] = _Partial([], part.stamp, now_ns)
        if waiting.kept < PARTIAL_MAX:
            waiting.texts.append(part.text[: PARTIAL_MAX - waiting.kept])
            waiting.kept += len(part.text)
        waiting.size += size
        waiting.lines += 1
        if part.whole:
            self._finish(part.stream, columns)

    def _finish(self, stream: str, columns: Columns) -> None:
        partial = self._partials.pop(stream)
        reading = self._contained(b"".join(partial.texts), partial.stamp, stream)
        columns.add(reading, partial.size, partial.lines)

    def _contained(self, text: bytes, stamp: bytes, stream: str) -> Reading:
        """Return what a container wrote, read as any line, with the engine's stamp and stream."""
        inner = self._inside().line(text)
        if self._keeps_heads:
            inner = self._with_head(inner, text)
        fields = _STREAMS.get(stream) or {"stream": stream.encode("utf-8", "replace")[:64]}
        return inner._replace(
            time_ns=self.clock.rfc3339(stamp) if inner.time_ns is None else inner.time_ns,
            fields={**inner.fields, **fields} if inner.fields else fields,
        )

    def _inside(self) -> Framer:
        """Return the framer of what is wrapped: it learns layouts of its own."""
        if self._inner is None:
            clock = self.clock
            self._inner = Framer(clock.zone, clock.boot_ns, self.patterns, is_inner=True)
        self._inner.clock.set_now(self.clock.now_ns)
        return self._inner

    def _with_head(self, reading: Reading, line: bytes) -> Reading:
        """Return what a line says, with what stood before it: all of the line where it is in it."""
        body = reading.body
        head = line[: len(line) - len(body)] if line.endswith(body) else line + b" "
        return reading._replace(head=head[:HEAD_MAX])

    def line(self, text: bytes) -> Reading:
        """Return what one whole line says, by itself."""
        self.stripper.seen += 1
        line = text.rstrip()
        return self._reading(line)

    def _reading(self, line: bytes) -> Reading:
        if self.patterns is not None:
            said = self.patterns.read(line, self.clock)
            continues = self.patterns.continues(line)
            if said is None:
                said = Reading(line, headed=False) if continues else self._recognised(line)
            return said._replace(continues=continues)
        return self._recognised(line)

    def _recognised(self, line: bytes) -> Reading:
        first = line[:1]
        if first == b"{":
            said = json_reading(line, self.clock)
            if said is not None:
                return said
        elif first == b"<":
            return self._prioritised(line)
        elif b"=" in line[:24] and (said := logfmt_reading(line, self.clock)) is not None:
            return said
        return self._stripped(line)

    def _prioritised(self, line: bytes) -> Reading:
        modern = parse_5424(line)
        if modern is not None:
            outer = Reading(
                modern.body.rstrip(),
                severity_of_priority(modern.priority),
                self.clock.rfc3339(modern.stamp) if modern.stamp else None,
                text_of(modern.program),
                modern.fields,
            )
            return self._wrapped(outer)
        priority = priority_of(line)
        if priority is None:
            return self._stripped(line)
        reading = self._stripped(line[priority[1] :])
        if reading.severity is not Severity.UNKNOWN:
            return reading._replace(headed=True)
        return reading._replace(severity=severity_of_priority(priority[0]), headed=True)

    def _stripped(self, line: bytes) -> Reading:
        """Return a line without its header."""
        header = self.stripper.header(line)
        if not header.end:
            return Reading(line, headed=False)
        body = line[header.end :]
        time = None
        if header.form is not None:
            time = self.clock.read(header.form, *header.stamp)
        severity = ALL.get(header.level, Severity.UNKNOWN)
        unit = self._unit(header.program) if header.program else ""
        fields = self._logger(header.logger) if header.logger else None
        reading = Reading(body, severity, time, unit, fields)
        if body[:1] == b'"' and not header.level:
            return reading._replace(severity=_severity_of_request(body))
        return self._wrapped(reading) if header.program else reading

    def _wrapped(self, outer: Reading) -> Reading:
        """Return a message that is structured itself as what it says, within what carried it."""
        body = outer.body
        if not body.startswith(_STRUCTURED):
            return outer
        read = json_reading if body[:1] == b"{" else logfmt_reading
        inner = read(body, self.clock)
        return outer if inner is None else _within(outer, inner)


def _within(outer: Reading, inner: Reading) -> Reading:
    """Return what a message says itself, completed by what carried it."""
    return Reading(
        inner.body,
        inner.severity if inner.severity is not Severity.UNKNOWN else outer.severity,
        inner.time_ns if inner.time_ns is not None else outer.time_ns,
        outer.unit or inner.unit,
        {**(outer.fields or {}), **inner.fields} if inner.fields else outer.fields,
        inner.headed,
    )


def _severity_of_request(body: bytes) -> Severity:
    """Return the severity of a request in an access log: the server failed, or it did not."""
    found = _REQUEST.match(body)
    if found is None:
        return Severity.UNKNOWN
    return Severity.ERROR if found[1] >= b"500" else Severity.INFO


def _after_priority(line: bytes) -> bytes:
    priority = priority_of(line) if line[:1] == b"<" else None
    return line if priority is None else line[priority[1] :]
