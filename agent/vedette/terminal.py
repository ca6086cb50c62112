"""Write for a person: escaped, aligned, coloured only where a terminal wants colour."""

from __future__ import annotations

import math
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence

__all__ = [
    "CommandError",
    "age",
    "bar",
    "clear",
    "clock",
    "hanging",
    "number",
    "out",
    "paint",
    "printable",
    "size",
    "table",
]

_COLOURS = {
    "bold": "1",
    "dim": "2",
    "red": "1;31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}
#: What severities, states and outcomes look like; every other word stays plain.
_MEANINGS = {
    "critical": "red",
    "error": "red",
    "failing": "red",
    "stuck": "red",
    "refused": "red",
    "warning": "yellow",
    "degraded": "yellow",
    "open": "yellow",
    "info": "cyan",
    "ok": "green",
    "active": "green",
    "resolved": "green",
    "resting": "dim",
    "disabled": "dim",
    "off": "dim",
}
_BLOCKS = "▁▂▃▄▅▆▇█"


class CommandError(Exception):
    """A verb cannot do its work: what and where, then a remedy; ends with the exit code."""

    def __init__(self, text: str, remedy: str = "", code: int = 2) -> None:
        super().__init__(text)
        self.remedy = remedy
        self.code = code


def out(text: str = "") -> None:
    """Write a line to standard output."""
    sys.stdout.write(text + "\n")


def clear() -> bool:
    """Begin a screen anew; False, and nothing done, where the output is no terminal."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return False
    sys.stdout.write("\x1b[H\x1b[2J")
    return True


def printable(text: object) -> str:
    """Return a text of the host's with control and invisible characters escaped.

    A process may call itself ``\\x1b[2J`` or hide in bidirectional marks; neither reaches the
    terminal.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def paint(text: str, colour: str = "", *, stream: object = None) -> str:
    """Colour a text (default: by its meaning) when the stream is a terminal and may have colour."""
    colour = colour or _MEANINGS.get(text.strip().lower(), "")
    stream = sys.stdout if stream is None else stream
    if not colour or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    if not getattr(stream, "isatty", bool)():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def width() -> int:
    """Return the columns to write in; 0 (do not wrap) when the output is no terminal."""
    return shutil.get_terminal_size((0, 0)).columns


def hanging(text: str, indent: int, first: str = "") -> str:
    """Wrap a text to the terminal, every line but the first indented; ``first`` leads it."""
    columns = width()
    lead = f"{first:<{indent}}"
    if not columns:
        return lead + text
    lines = textwrap.wrap(text, max(20, columns - indent), break_on_hyphens=False) or [""]
    return lead + ("\n" + " " * indent).join(lines)


def table(
    rows: Iterable[Sequence[str]], headers: Sequence[str] = (), *, right: Sequence[int] = ()
) -> list[str]:
    """Return aligned lines; columns named in ``right`` are set flush right, the last one wraps."""
    texts = [[printable(cell) for cell in row] for row in rows]
    if headers:
        texts.insert(0, list(headers))
    if not texts:
        return []
    widths = [max(len(row[i]) for row in texts) for i in range(len(texts[0]))]
    lines = []
    for place, row in enumerate(texts):
        lead = ""
        for i, cell in enumerate(row[:-1]):
            padded = f"{cell:>{widths[i]}}" if i in right else f"{cell:<{widths[i]}}"
            lead += (padded if headers and place == 0 else paint(padded)) + "  "
        indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
        last = f"{row[-1]:>{widths[-1]}}" if len(row) - 1 in right else row[-1]
        line = (lead + hanging(last, indent)[indent:]).rstrip() if indent else hanging(last, 0)
        lines.append(paint(line, "dim") if headers and place == 0 else line)
    return lines


def size(amount: float) -> str:
    """Return bytes in the largest fitting binary unit: ``12.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def age(seconds: float) -> str:
    """Return a span with at most two units: ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    for unit, name, smaller, smaller_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole} s"


def clock(time_ns: int) -> str:
    """Return a Unix time in local time, with the date unless it is today's."""
    then = time.localtime(time_ns / 1e9)
    today = time.localtime()
    same_day = then[:3] == today[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", then)


def number(value: float) -> str:
    """Return a reading with the digits a person can use; whole numbers stay whole."""
    if math.isnan(value):
        return "-"
    if value == int(value) if math.isfinite(value) else False:
        return str(int(value))
    return f"{value:.6g}"


def bar(values: Sequence[float | None], columns: int = 60) -> str:
    """Draw readings as a line of blocks, oldest first; a reading that is missing is a dot.

    More readings than columns are folded to the highest of each group.
    """
    groups = _grouped(values, columns)
    known = [value for value in groups if value is not None]
    if not known:
        return "·" * len(groups)
    low, high = min(known), max(known)
    span = high - low or 1.0
    return "".join(
        "·" if value is None else _BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))]
        for value in groups
    )


def _grouped(values: Sequence[float | None], columns: int) -> list[float | None]:
    finite = [None if v is None or not math.isfinite(v) else v for v in values]
    step = math.ceil(len(finite) / columns) or 1
    groups: list[float | None] = []
    for start in range(0, len(finite), step):
        known = [value for value in finite[start : start + step] if value is not None]
        groups.append(max(known) if known else None)
    return groups
