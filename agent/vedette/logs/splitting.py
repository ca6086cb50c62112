"""Cut the bytes of a log into lines; pure, and fast where the bytes are plain.

A line ends with ``\\n`` or ``\\r\\n``; a lone ``\\r`` (progress bars) is part of its line. Empty
lines are lines. The bytes pass through as they are, valid UTF-8 or not, with these exceptions:

- a byte order mark at the start of a file is taken off, and UTF-16 (known by it) becomes UTF-8;
- NUL bytes at both ends of a line are taken off: a writer without ``O_APPEND`` leaves a hole when
  its file is truncated, a crash of the host leaves a run of them. NULs at the end of a file are not
  consumed: a file allocated in advance gets its text there later;
- a line longer than ``max_line`` is delivered as its first ``max_line`` bytes, and the rest of it
  is skipped: one line stays one line, whatever its length. So does a line delivered before its end
  came (``final``): what is written of it later is skipped, not counted as a second line.
"""

from __future__ import annotations

from typing import NamedTuple

#: What a file may be written in besides bytes that contain ASCII; the index is what positions keep.
CODECS = ("", "utf-16-le", "utf-16-be")
_MARKS = ((b"\xef\xbb\xbf", 0), (b"\xff\xfe", 1), (b"\xfe\xff", 2))
_NEWLINES = (b"\n", b"\n\0", b"\0\n")


class Split(NamedTuple):
    """What a block of bytes became."""

    lines: list[bytes]
    #: Bytes of the block that are dealt with; the rest is a line whose end has not come.
    used: int
    #: Whether what follows is the rest of a line that was delivered.
    mid_line: bool
    #: Lines cut, and bytes skipped that belonged to lines which were delivered.
    cut_lines: int
    cut_bytes: int


def sniff(data: bytes, *, final: bool) -> tuple[int, int] | None:
    """Return codec and length of the byte order mark that begins a file; None: not yet known."""
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return codec, len(mark)
        if not final and mark.startswith(data):
            return None
    return 0, 0


def split(
    data: bytes, *, codec: int = 0, mid_line: bool = False, max_line: int, final: bool = False
) -> Split:
    """Cut a block that begins at a line's start (or within one, ``mid_line``) into lines.

    ``final`` delivers an unfinished last line too.
    """
    begin = 0
    if mid_line:
        end = _find_end(data, codec)
        if end < 0:
            used = len(data) & ~1 if codec else len(data.rstrip(b"\0"))
            return Split([], used, True, 0, used)
        begin = end
    cut = _last_end(data, codec, begin)
    lines: list[bytes] = []
    cut_lines = 0
    skipped = max(0, begin - len(_NEWLINES[codec]))
    if cut > begin:
        lines, cut_lines, over = _whole_lines(data[begin:cut], codec, max_line)
        skipped += over
    rest = data[cut:]
    if not codec:
        rest = rest.rstrip(b"\0")
        solid = rest.lstrip(b"\0")
        cut += len(rest) - len(solid)
        rest = solid
    else:
        rest, max_line = rest[: len(rest) & ~1], max_line & ~1
    if len(rest) > max_line or (final and rest):
        lines.append(_text(rest[:max_line], codec).rstrip(b"\r"))
        over = max(0, len(rest) - max_line)
        return Split(lines, cut + len(rest), True, cut_lines + bool(over), skipped + over)
    return Split(lines, cut, False, cut_lines, skipped)


def _whole_lines(data: bytes, codec: int, max_line: int) -> tuple[list[bytes], int, int]:
    """Return the lines of bytes that end with a line's end, how many were cut, and the bytes."""
    text = _text(data, codec)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    lines = text[:-1].split(b"\n")
    if b"\0" in text:
        lines = [line.strip(b"\0") for line in lines]
    if len(text) <= max_line:
        return lines, 0, 0
    long = [len(line) - max_line for line in lines if len(line) > max_line]
    if long:
        lines = [line[:max_line] for line in lines]
    return lines, len(long), sum(long)


def _text(data: bytes, codec: int) -> bytes:
    if not codec:
        return data
    return data.decode(CODECS[codec], "replace").encode("utf-8", "replace")


def _find_end(data: bytes, codec: int) -> int:
    """Return where the first line's end ends; -1 without one."""
    newline = _NEWLINES[codec]
    at = data.find(newline)
    while codec and at % 2 and at >= 0:
        at = data.find(newline, at + 1)
    return at + len(newline) if at >= 0 else -1


def _last_end(data: bytes, codec: int, begin: int) -> int:
    """Return where the last line's end ends, ``begin`` without one."""
    newline = _NEWLINES[codec]
    at = data.rfind(newline, begin)
    while codec and at % 2 and at >= 0:
        at = data.rfind(newline, begin, at + len(newline) - 1)
    return at + len(newline) if at >= 0 else begin
