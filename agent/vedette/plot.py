"""Draw series with what was found in them as SVG: small multiples over one time axis. Pure.

Per series its line, the band that was expected, and shaded when a finding was open; labels of a
person stand as a strip below the line, incidents as numbered lines through all panels with their
sentences at the foot. Written by hand, without a library; the same input gives the same bytes.

A line has at most the lowest and the highest reading of each pixel, so that no spike is lost and a
million readings are a picture of some kilobytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from xml.sax.saxutils import escape

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette import sentences

__all__ = ["Mark", "Panel", "draw"]

S = 1_000_000_000
WIDTH, LEFT, RIGHT, TOP = 1200, 70, 16, 74
INNER = WIDTH - LEFT - RIGHT
#: Height of a panel when there is one, when there are up to four, and when there are more.
HEIGHTS = ((1, 320), (4, 150), (99, 92))
#: Room above a panel for its name, and in it below the line for the labels.
NAME, STRIP = 22, 6
#: Incidents whose sentence is written out, and the room for each.
SENTENCES, SENTENCE = 12, 18
#: The line is broken where nothing was read for so many of the series' own steps.
BROKEN_AFTER = 3
#: What is shaded is at least this wide, in pixels.
NARROWEST = 3.0
#: Numbers of incidents stand this far apart at least.
APART = 14
#: Seconds between ticks of the time axis, and the most ticks there are.
STEPS_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(86_400 * days for days in (1, 2, 4, 7, 14, 28, 56, 112, 365, 730, 3650, 36_500)),
)
TICKS_MOST = 12

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.t{font-size:15px;font-weight:600}.s{fill:#666}"
    ".v{stroke:#1f4e79;fill:none;stroke-linejoin:round}.b{fill:#bcd5ea;fill-opacity:.7}"
    ".f{fill:#d55e00;fill-opacity:.28}.l{fill:#009e73}.i{stroke:#7a3e9d;stroke-dasharray:4 3}"
    ".n{fill:#7a3e9d;font-weight:600}.g{stroke:#e8e8e8}.a{fill:none;stroke:#999}.e{text-anchor:end}"
    ".m{text-anchor:middle}"
)


class Panel(msgspec.Struct, frozen=True, eq=False):
    """One series: float ``(rows,)`` values, bool ``(rows,)`` whether a finding was open.

    ``low`` and ``high`` are float ``(n,)``, the band at the picture's ``band_rows``.
    """

    name: str
    values: NDArray[np.float64]
    finding: NDArray[np.bool_]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


class Mark(msgspec.Struct, frozen=True):
    """An incident: when it was opened (Unix ns), and its sentence."""

    time_ns: int
    text: str


class Picture(msgspec.Struct, frozen=True, eq=False):
    """What is drawn. ``time`` is int64 ``(rows,)`` Unix ns, rising, at least one row."""

    title: str
    time: NDArray[np.int64]
    panels: tuple[Panel, ...]
    band_rows: NDArray[np.intp]
    labels: NDArray[np.bool_] | None = None
    incidents: tuple[Mark, ...] = ()
    note: str = ""


def draw(picture: Picture) -> str:
    """Return the picture as SVG."""
    axis = _Axis(picture.time)
    height = next(height for most, height in HEIGHTS if len(picture.panels) <= most)
    bottom = TOP + len(picture.panels) * (height + NAME)
    told = min(len(picture.incidents), SENTENCES + 1)
    total = bottom + 40 + told * SENTENCE
    size = f'width="{WIDTH}" height="{total}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" {size}>',
        f"<style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{total}" fill="#fff"/>',
        *_head(picture),
        *_ticks(axis, bottom),
    ]
    for place, panel in enumerate(picture.panels):
        top = TOP + place * (height + NAME) + NAME
        parts += _panel(picture, panel, axis, _Scale(panel.values, top, height - STRIP))
    parts += _marks(picture.incidents, axis, bottom)
    return "\n".join([*parts, "</svg>\n"])


class _Axis:
    """Where times are."""

    def __init__(self, time: NDArray[np.int64]) -> None:
        self.time = time
        steps = np.diff(time)
        self.step = float(np.median(steps)) if len(steps) else float(S)
        self.start = int(time[0])
        self.span = float(time[-1] - time[0]) + self.step

    def x(self, time: NDArray[np.int64]) -> NDArray[np.float64]:
        return LEFT + (time - self.start).astype(np.float64) * (INNER / self.span)

    def at(self, time_ns: int) -> float:
        return LEFT + (time_ns - self.start) * (INNER / self.span)

    def runs(self, marked: NDArray[np.bool_]) -> Iterator[tuple[float, float]]:
        """Yield left and width of each run of rows that are marked; near ones are one."""
        edges = np.diff(np.concatenate(([False], marked, [False])).astype(np.int8))
        lefts = self.x(self.time[np.flatnonzero(edges == 1)])
        rights = self.x(self.time[np.flatnonzero(edges == -1) - 1] + int(self.step))
        left = right = -1.0
        for next_left, next_right in zip(lefts.tolist(), rights.tolist(), strict=True):
            if next_left - right > 0.5:
                if right > 0:
                    yield left, right - left
                left = next_left
            right = max(next_right, left + NARROWEST)
        if right > 0:
            yield left, right - left


class _Scale:
    """Where values are: the range that was read fills the panel."""

    def __init__(self, values: NDArray[np.float64], top: int, height: int) -> None:
        known = values[np.isfinite(values)]
        self.low, self.high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        self.known = len(known) > 0
        self.top, self.height = top, height

    def y(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return where values are; what is beyond the range lies at its edge."""
        inset = 3.0
        span = (self.high - self.low) or 1.0
        middle = 0.5 if self.high == self.low else 0.0
        part = np.clip((np.asarray(values, np.float64) - self.low) / span + middle, -0.05, 1.05)
        y = self.top + inset + (1 - part) * (self.height - 2 * inset)
        return np.clip(y, self.top, self.top + self.height)


def _head(picture: Picture) -> Iterator[str]:
    first, last = (_clock(int(picture.time[i]), "%Y-%m-%d %H:%M:%S") for i in (0, -1))
    about = f"{first} to {last} UTC, {len(picture.time)} rows"
    yield _text(LEFT, 24, picture.title, "t")
    yield _text(LEFT, 42, f"{about}; {picture.note}" if picture.note else about, "s")
    x = WIDTH - RIGHT - 350
    for name, shape in (("read", "v"), ("expected", "b"), ("finding", "f"), ("label", "l")):
        if shape == "v":
            yield f'<path class="v" d="M{x} 20h20"/>'
        else:
            yield f'<rect class="{shape}" x="{x}" y="15" width="20" height="10"/>'
        yield _text(x + 25, 24, name)
        x += 72 if name == "read" else 96


def _panel(picture: Picture, panel: Panel, axis: _Axis, scale: _Scale) -> Iterator[str]:
    top, height = scale.top, scale.height
    yield _text(LEFT, top - 6, panel.name)
    if scale.known:
        yield _text(LEFT - 6, top + 11, sentences.amount(scale.high, ""), "s e")
        yield _text(LEFT - 6, top + height - 1, sentences.amount(scale.low, ""), "s e")
    for path in _bands(panel, axis, scale, picture.band_rows):
        yield f'<path class="b" d="{path}"/>'
    for left, width in axis.runs(panel.finding):
        yield _rectangle("f", left, top, width, height)
    line = _line(panel.values, axis, scale)
    if line:
        yield f'<path class="v" d="{line}"/>'
    if picture.labels is not None:
        for left, width in axis.runs(picture.labels):
            yield _rectangle("l", left, top + height + 1, width, STRIP - 2)
    yield _rectangle("a", LEFT, top, INNER, height)


def _line(values: NDArray[np.float64], axis: _Axis, scale: _Scale) -> str:
    """Return the path through the lowest and the highest reading of each pixel."""
    rows = np.flatnonzero(np.isfinite(values))
    if not len(rows):
        return ""
    x = axis.x(axis.time[rows])
    pixel = np.floor(x).astype(np.intp)
    order = np.lexsort((values[rows], pixel))
    first = np.flatnonzero(np.diff(pixel, prepend=-1))
    last = np.append(first[1:], len(rows)) - 1
    drawn = np.unique(np.concatenate((order[first], order[last])))
    x, y = x[drawn], scale.y(values[rows][drawn])
    step = np.median(np.diff(axis.time[rows])) if len(rows) > 1 else axis.step
    breaks = np.diff(axis.time[rows][drawn]) > BROKEN_AFTER * step
    breaks &= np.diff(x) > 3
    starts = np.append(True, breaks)
    # A reading alone between two gaps is a dot.
    alone = starts & np.append(breaks, True)
    return "".join(
        f"{'M' if start else 'L'}{left:.1f} {down:.1f}{'h2' if dot else ''}"
        for start, left, down, dot in zip(
            starts.tolist(), x.tolist(), y.tolist(), alone.tolist(), strict=True
        )
    )


def _bands(panel: Panel, axis: _Axis, scale: _Scale, rows: NDArray[np.intp]) -> Iterator[str]:
    """Yield an outline for each stretch with a band; a side that is missing reaches to the edge."""
    low = np.where(np.isnan(panel.low), -np.inf, panel.low)
    high = np.where(np.isnan(panel.high), np.inf, panel.high)
    known = np.isfinite(low) | np.isfinite(high)
    x = axis.x(axis.time[rows])
    lower, upper = scale.y(low), scale.y(high)
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(known)) + 1):
        if not len(part) or not known[part[0]]:
            continue
        there = [f"{x[i]:.1f} {upper[i]:.1f}" for i in part]
        back = [f"{x[i]:.1f} {lower[i]:.1f}" for i in part[::-1]]
        yield "M" + "L".join(there + back) + "Z"


def _ticks(axis: _Axis, bottom: int) -> Iterator[str]:
    step_s = next((one for one in STEPS_S if axis.span / S / one <= TICKS_MOST), STEPS_S[-1])
    form = "%Y-%m-%d" if step_s >= 86_400 else "%H:%M" if step_s >= 60 else "%H:%M:%S"
    several_days = form == "%H:%M" and axis.span > 86_400 * S
    for second in range(-(-axis.start // (step_s * S)) * step_s, 1 << 62, step_s):
        if second * S >= axis.start + axis.span:
            return
        x = axis.at(second * S)
        yield f'<path class="g" d="M{x:.1f} {TOP}V{bottom}"/>'
        yield _text(
            x, bottom + 16, _clock(second * S, "%m-%d %H:%M" if several_days else form), "s m"
        )


def _marks(incidents: Sequence[Mark], axis: _Axis, bottom: int) -> Iterator[str]:
    free = 0.0
    for number, mark in enumerate(incidents, 1):
        x = axis.at(mark.time_ns)
        yield f'<path class="i" d="M{x:.1f} {TOP - 4}V{bottom}"/>'
        if x >= free:
            yield _text(x, TOP - 8, str(number), "n m")
            free = x + APART
    y = bottom + 40
    for number, mark in enumerate(incidents[:SENTENCES], 1):
        yield _text(LEFT - 8, y, str(number), "n e")
        yield _text(LEFT, y, f"{_clock(mark.time_ns, '%Y-%m-%d %H:%M:%S')}  {mark.text}")
        y += SENTENCE
    if len(incidents) > SENTENCES:
        yield _text(LEFT, y, f"and {len(incidents) - SENTENCES} more", "s")


def _rectangle(kind: str, x: float, y: float, width: float, height: float) -> str:
    size = f'width="{width:.1f}" height="{height}"'
    return f'<rect class="{kind}" x="{x:.1f}" y="{y}" {size}/>'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    shown = escape("".join(one if one.isprintable() else "?" for one in text))
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y}"{style}>{shown}</text>'


def _clock(time_ns: int, form: str) -> str:
    return datetime.fromtimestamp(time_ns // S, UTC).strftime(form)
