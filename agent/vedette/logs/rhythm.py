"""Learn the rhythm of every template: how many lines in how long, and how long there are none.

**Burst.** Lines are counted in blocks of 10 and of 180 s, and the block that runs is judged as it
fills. It has to be strange in three views, so the score is the least of their surprises
(``surprise``): ``excess`` over the mean of the last 20 minutes with the spread about it (what
follows the day is no burst), ``excess`` over the mean of days with its variance, zeros included
(what comes in bunches is no burst), and ``beyond`` the largest block of the last weeks (nor is what
came before, whatever its distribution). A template with few blocks is taken to have shown an
ordinary bunch before, larger for information than for errors.

**Silence.** Of the gaps between ticks with lines three sums are kept, weighted by time: seen from a
random moment, how long is the gap, and how regular (that weight makes a thousand short gaps inside
bunches count little). A template is overdue when the surprise of its gap, ``beyond`` the longest of
as many gaps, reaches ``RINGS``; only regular ones are awaited, those whose gaps vary less than
Poisson's. The moment is solved for when a line comes, so a tick costs one comparison of arrays.

While a burst or a silence lasts it is not learned, but for one of ``LASTING_S``; when it is over,
the largest moves half of the way there in logarithms, a quarter for errors: the second occurrence
still rings, the fifth does not.

A row per template, ``MAX_TEMPLATES`` of them, the one unseen for longest goes first; 141 bytes a
row. A tick costs some sixty array operations on the templates that it has lines of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.growth import grown
from vedette.logs import blocks
from vedette.logs.blocks import BLOCKS_S, NEVER
from vedette.logs.entry import Severity
from vedette.logs.surprise import LASTING_S, OVER_PART, OVER_S, RINGS, Floats, packed

Rows = NDArray[np.intp]

#: The largest bunch a template is taken to have shown already, by severity.
FIRST_BUNCH = ((Severity.ERROR, 10.0), (Severity.WARN, 100.0), (Severity.UNKNOWN, 1000.0))
#: Rows at most, and at the start.
MAX_TEMPLATES, FIRST_ROWS = 4096, 64
#: Seldom is what has fewer lines than this in a short block, on the average of days.
SELDOM = 0.5
#: The part of the way, in logarithms, that the largest block moves for a burst that is over.
TEACHES, ERROR_TEACHES = np.float32(0.5), np.float32(0.25)
#: More lines of a template in a tick than this are as many.
MOST_LINES = 1e9

#: Columns of float32 per row: of each scale, with the largest block that is held back; the largest
#: bunch it is taken to have shown; the gaps.
_PER_SCALE = (*blocks.BLOCK, "held")
_SCALES = range(len(BLOCKS_S))
_FLOATS = [*(f"{name}{scale}" for scale in _SCALES for name in _PER_SCALE), "bunch", *blocks.GAP]
_COLUMN = {name: at for at, name in enumerate(_FLOATS)}
_GAPS = slice(_COLUMN["gaps"], _COLUMN["longest"] + 1)
#: Columns of float64 per row: seconds of observed time.
_LAST, _DUE, _RINGS_SINCE, _STRONG = range(4)


class Burst(msgspec.Struct, frozen=True, gc=False):
    """More lines of a template than are usual: how many in how long, the largest before."""

    template_id: int
    score: float
    lines: int
    seconds: float
    largest: float


class Silence(msgspec.Struct, frozen=True, gc=False):
    """No lines of a template that has them regularly, since when, and the longest gap before."""

    template_id: int
    score: float
    last_s: float
    longest_s: float


class RhythmState(msgspec.Struct, frozen=True, array_like=True):
    """What a ``Rhythm`` knows."""

    ids: list[int]
    floats: bytes
    times: bytes
    blocks: bytes
    severity: bytes


class Rhythm:
    """The rhythms of all templates of a source."""

    def __init__(self) -> None:
        self.rows: dict[int, int] = {}
        self._ids = np.full(FIRST_ROWS, -1, dtype=np.int64)
        self._floats = np.zeros((FIRST_ROWS, len(_FLOATS)), dtype=np.float32)
        self._times = np.full((FIRST_ROWS, 4), NEVER)
        self._blocks = np.zeros((FIRST_ROWS, len(BLOCKS_S)), dtype=np.int32)
        self._severity = np.zeros(FIRST_ROWS, dtype=np.uint8)
        self._silent: set[int] = set()
        #: The strangest count of the last tick, in nats.
        self.strangest = 0.0

    def add(self, template_id: int, severity: Severity, now_s: float) -> None:
        """Take note of a template and of how grave it is."""
        row = self.rows.get(template_id)
        if row is None:
            row = self._row(template_id, now_s)
        self._severity[row] = int(severity)
        self._floats[row, _COLUMN["bunch"]] = _first_bunch(severity)

    def severity(self, template_id: int) -> Severity:
        """Return how grave a template is."""
        row = self.rows.get(template_id)
        return Severity.UNKNOWN if row is None else Severity(int(self._severity[row]))

    def severities(self, template_ids: Sequence[int]) -> NDArray[np.uint8]:
        """Return how grave templates are that were all observed."""
        return self._severity[[self.rows[one] for one in template_ids]]

    def observe(self, now_s: float, counts: Mapping[int, int]) -> tuple[list[Burst], list[int]]:
        """Count the lines of a tick; return the bursts, and what ended its silence.

        A burst is returned for every tick that adds to it.
        """
        self.strangest = 0.0
        if not counts:
            return [], []
        rows, lines = self._rows_of(counts, now_s)
        score, scale = self._count(rows, lines, now_s)
        ended = self._gaps(rows, now_s)
        self.strangest = float(score.max())
        some = np.flatnonzero(score >= RINGS * OVER_PART)
        bursts = [self._burst(int(rows[at]), float(score[at]), int(scale[at])) for at in some]
        rings = rows[score >= RINGS]
        since = self._times[rings, _RINGS_SINCE]
        self._times[rings, _RINGS_SINCE] = np.where(since < 0, now_s, since)
        self._times[rows[some], _STRONG] = now_s
        return [one for one in bursts if one.score >= RINGS], ended

    def overdue(self, now_s: float) -> list[Silence]:
        """Return the templates that have just been silent for too long, each once."""
        due = self._times[: len(self.rows), _DUE]
        found = []
        for row in np.flatnonzero((due > 0) & (due <= now_s)):
            last, longest = float(self._times[row, _LAST]), float(self._column("longest")[row])
            score = blocks.silence(self._floats[row, _GAPS], now_s - last)
            template = int(self._ids[row])
            found.append(Silence(template, score, last, longest))
            self._silent.add(template)
            self._times[row, _DUE] = NEVER
        return found

    def seldom(self, template_ids: Sequence[int]) -> list[int]:
        """Return those of some observed templates that have few lines."""
        rows = np.array([self.rows[one] for one in template_ids], dtype=np.intp)
        lines, total, of = (self._column(one)[rows] for one in ("lines0", "total0", "blocks0"))
        few = np.flatnonzero(total + lines < SELDOM * (of + 1) + 2)
        return [template_ids[at] for at in few.tolist()]

    def chance(self, template_id: int, seconds: float) -> float:
        """Return the probability that a template has lines in so many seconds anyway."""
        row = self.rows.get(template_id)
        if row is None:
            return 0.0
        active = (self._column("times0")[row] + 1) / (self._column("blocks0")[row] + 1)
        return float(min(active * (seconds / BLOCKS_S[0] + 1), 1.0))

    def forget(self, template_id: int) -> None:
        """Let go of a template (it was merged into another)."""
        row = self.rows.pop(template_id, None)
        if row is None:
            return
        self._silent.discard(template_id)
        last = len(self.rows)
        if row != last:
            for array in (self._ids, self._floats, self._times, self._blocks, self._severity):
                array[row] = array[last]
            self.rows[int(self._ids[row])] = row
        self._clear(last)

    def save(self) -> RhythmState:
        """Return what was learned."""
        rows = len(self.rows)
        return RhythmState(
            self._ids[:rows].tolist(),
            packed(self._floats[:rows]),
            packed(self._times[:rows]),
            packed(self._blocks[:rows]),
            packed(self._severity[:rows]),
        )

    def restore(self, state: RhythmState) -> None:
        """Take what was learned; raises ``ValueError`` when its parts do not fit together."""
        rows = len(state.ids)
        if rows > MAX_TEMPLATES or len(set(state.ids)) != rows:
            raise ValueError(f"{rows} rows of {len(set(state.ids))} templates")
        floats = np.frombuffer(state.floats, dtype="<f4").reshape(rows, len(_FLOATS))
        times = np.frombuffer(state.times, dtype="<f8").reshape(rows, 4)
        begun = np.frombuffer(state.blocks, dtype="<i4").reshape(rows, len(BLOCKS_S))
        severity = np.frombuffer(state.severity, dtype=np.uint8).reshape(rows)
        if not (np.isfinite(floats).all() and np.isfinite(times).all()):
            raise ValueError("a number that is none")
        self._reserve(rows)
        self._ids[:rows] = state.ids
        self._floats[:rows], self._times[:rows] = floats, times
        self._blocks[:rows] = begun
        known = [int(one) for one in Severity]
        self._severity[:rows] = np.where(np.isin(severity, known), severity, 0)
        self.rows = {one: row for row, one in enumerate(state.ids)}

    # ------------------------------------------------------------ counts

    def _count(self, rows: Rows, lines: Floats, now_s: float) -> tuple[Floats, Rows]:
        """Add lines to the blocks; return the largest score and its scale."""
        scores = []
        for scale in _SCALES:
            self._roll(scale, rows, now_s)
            self._floats[rows, _COLUMN[f"lines{scale}"]] += lines
            scores.append(self._score(scale, rows))
        both = np.stack(scores)
        return both.max(axis=0), both.argmax(axis=0)

    def _score(self, scale: int, rows: Rows) -> Floats:
        """Return how strange the running blocks are."""
        score = np.zeros(len(rows), dtype=np.float32)
        first = scale * len(_PER_SCALE)
        lines, record, times, bunch = (
            self._floats[rows, column] for column in (first, first + 6, first + 7, _COLUMN["bunch"])
        )
        most = blocks.may_be_strange(lines, record, times, bunch)
        some = np.flatnonzero(most < np.inf)
        if len(some):
            part = self._floats[rows[some], first : first + len(blocks.BLOCK)]
            score[some] = blocks.score_blocks(part, most[some], scale)
        return score

    def _roll(self, scale: int, rows: Rows, now_s: float) -> None:
        """Close the blocks that are over, and learn them."""
        block = int(now_s // BLOCKS_S[scale])
        over = rows[self._blocks[rows, scale] < block]
        if not len(over):
            return
        passed = (block - self._blocks[over, scale]).astype(np.float32)
        self._blocks[over, scale] = block
        column = _COLUMN[f"lines{scale}"]
        lines = self._floats[over, column]
        self._floats[over, column] = 0
        since = self._times[over, _RINGS_SINCE]
        rings = since >= 0
        gone = rings & (now_s - self._times[over, _STRONG] > OVER_S)
        lasts = rings & ~gone & (now_s - since >= LASTING_S)
        record = self._floats[over, _COLUMN[f"record{scale}"]]
        strange = rings & ~lasts & (lines > record)
        self._hold(scale, over[strange], lines[strange])
        self._hold_running(over[gone])
        grave = self._severity[over] >= Severity.ERROR
        part = np.where(grave & ~lasts, ERROR_TEACHES, TEACHES)
        ends = gone | lasts
        self._let_go(over[ends], part[ends])
        self._learn(scale, over, np.where(strange, record, lines), passed)

    def _hold(self, scale: int, rows: Rows, lines: Floats) -> None:
        """Keep in mind how large a block was that is learned as no larger than the others."""
        if len(rows):
            column = _COLUMN[f"held{scale}"]
            self._floats[rows, column] = np.maximum(self._floats[rows, column], lines)

    def _hold_running(self, rows: Rows) -> None:
        """Do the same with blocks of which the burst that is over filled a part."""
        if not len(rows):
            return
        for scale in _SCALES:
            lines, record = (
                self._floats[rows, _COLUMN[f"{one}{scale}"]] for one in ("lines", "record")
            )
            larger = lines > record
            self._hold(scale, rows[larger], lines[larger])
            self._floats[rows, _COLUMN[f"lines{scale}"]] = np.minimum(lines, record)

    def _let_go(self, rows: Rows, part: Floats) -> None:
        """End bursts: the largest block moves a part of the way to what was held."""
        if not len(rows):
            return
        self._times[rows, _RINGS_SINCE] = NEVER
        for scale in _SCALES:
            record, held = (_COLUMN[f"{name}{scale}"] for name in ("record", "held"))
            moved = blocks.moved(self._floats[rows, record], self._floats[rows, held], part)
            self._floats[rows, record] = moved
            self._floats[rows, held] = 0

    def _learn(self, scale: int, rows: Rows, lines: Floats, passed: Floats) -> None:
        """Learn closed blocks and the empty ones after them."""
        first = scale * len(_PER_SCALE)
        columns = slice(first, first + len(blocks.BLOCK))
        part = self._floats[rows, columns]
        blocks.learn_blocks(part, lines, passed, scale)
        self._floats[rows, columns] = part

    # ------------------------------------------------------------ gaps

    def _gaps(self, rows: Rows, now_s: float) -> list[int]:
        """Learn the gaps that ended; say by when the next line is due; return who was silent."""
        last = self._times[rows, _LAST]
        gap = np.where(last >= 0, now_s - last, 0).astype(np.float32)
        part = self._floats[rows, _GAPS]
        ended = self._end_silences(rows, gap, part)
        blocks.learn_gaps(part, gap)
        self._floats[rows, _GAPS] = part
        self._times[rows, _LAST] = now_s
        self._times[rows, _DUE] = blocks.due(part, now_s)
        return ended

    def _end_silences(self, rows: Rows, gap: Floats, part: Floats) -> list[int]:
        """Say whose silence ended; of its gap, half is learned in logarithms."""
        if not self._silent:
            return []
        ended = []
        for at, row in enumerate(rows):
            template = int(self._ids[row])
            if template in self._silent:
                self._silent.discard(template)
                ended.append(template)
                gap[at] = math.sqrt(gap[at] * max(part[at, 3], 1e-6))
        return ended

    # ------------------------------------------------------------ rows

    def _burst(self, row: int, score: float, scale: int) -> Burst:
        lines = int(self._column(f"lines{scale}")[row])
        record = float(self._column(f"record{scale}")[row])
        return Burst(int(self._ids[row]), score, lines, BLOCKS_S[scale], record)

    def _column(self, name: str) -> Floats:
        return self._floats[:, _COLUMN[name]]

    def _rows_of(self, counts: Mapping[int, int], now_s: float) -> tuple[Rows, Floats]:
        """Return the rows and lines of a tick; of more templates than there is room for, some."""
        some = list(counts)[:MAX_TEMPLATES]
        for one in some:
            if one not in self.rows:
                self._row(one, now_s)
        known = [one for one in some if one in self.rows]
        rows = np.array([self.rows[one] for one in known], dtype=np.intp)
        return rows, np.array([min(counts[one], MOST_LINES) for one in known], dtype=np.float32)

    def _row(self, template_id: int, now_s: float) -> int:
        if len(self.rows) >= MAX_TEMPLATES:
            last = self._times[: len(self.rows), _LAST]
            oldest = int(np.where(last < 0, np.inf, last).argmin())
            self.forget(int(self._ids[oldest]))
        row = len(self.rows)
        self._reserve(row + 1)
        self.rows[template_id] = row
        self._ids[row] = template_id
        self._floats[row, _COLUMN["bunch"]] = _first_bunch(Severity.UNKNOWN)
        self._blocks[row] = [int(now_s // seconds) for seconds in BLOCKS_S]
        return row

    def _clear(self, row: int) -> None:
        self._floats[row], self._times[row], self._severity[row] = 0, NEVER, 0

    def _reserve(self, rows: int) -> None:
        if rows <= len(self._ids):
            return
        size = min(max(2 * len(self._ids), rows), MAX_TEMPLATES)
        self._ids, self._blocks = grown(self._ids, size, -1), grown(self._blocks, size, 0)
        self._floats, self._times = grown(self._floats, size, 0), grown(self._times, size, NEVER)
        self._severity = grown(self._severity, size, 0)


def _first_bunch(severity: Severity) -> float:
    return next(lines for least, lines in FIRST_BUNCH if severity >= least)
