"""Reckon what each part of the agent costs from running totals of its CPU time. Pure.

Parts are told apart by their index. A share is the mean over the last window (about a minute), so
that it is what a person would call "now" and one burst is forgotten soon; the cost of a tick is a
mean whose memory fades over minutes, so that collectors that run once a minute have one as well.
What came before the first mark, imports and first looks, is never counted.

Cost: one array of 8 bytes per part and mark, and three floats per part.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Sequence

#: Seconds over which shares are reckoned, and after which a tick's cost has faded to a third.
WINDOW_S, MEMORY_S = 60.0, 180.0
#: Marks that are kept at most, however close together they come.
MARKS_MAX = 64
#: Of fewer ticks or readings than this in memory there is no mean.
FAINT = 1e-3


class Costs:
    """CPU totals of ``parts`` parts at marks in time; shares and means reckoned from them."""

    def __init__(self, parts: int, *, window_s: float = WINDOW_S, memory_s: float = MEMORY_S):
        self._window_s, self._memory_s = window_s, memory_s
        self._marks: deque[tuple[float, array[int]]] = deque(maxlen=MARKS_MAX)
        self._last: tuple[Sequence[int], Sequence[int]] = ((), ())
        self._cpu_s = [0.0] * parts
        self._ticks = [0.0] * parts
        self._samples = [0.0] * parts

    @property
    def covered_s(self) -> float:
        """How much time the shares are the mean of; 0 before the second mark."""
        return self._marks[-1][0] - self._marks[0][0] if self._marks else 0.0

    def mark(
        self, now_s: float, cpu_ns: Sequence[int], ticks: Sequence[int], samples: Sequence[int]
    ) -> None:
        """Note all totals. ``ticks`` and ``samples`` may be shorter: the rest has none.

        A total that fell (a thread that ended) counts as unchanged.
        """
        if self._marks:
            since_s, before = self._marks[-1]
            fade = math.exp(-max(0.0, now_s - since_s) / self._memory_s)
            ticks_before, samples_before = self._last
            for part, total in enumerate(ticks):
                if not total:
                    continue
                cpu = max(0, cpu_ns[part] - before[part]) / 1e9
                self._cpu_s[part] = fade * self._cpu_s[part] + cpu
                self._ticks[part] = fade * self._ticks[part] + total - ticks_before[part]
                grown = samples[part] - samples_before[part]
                self._samples[part] = fade * self._samples[part] + grown
        self._last = (tuple(ticks), tuple(samples))
        self._marks.append((now_s, array("q", cpu_ns)))
        # The oldest mark that is kept is the newest one at least a window old.
        while len(self._marks) > 2 and now_s - self._marks[1][0] >= self._window_s:
            self._marks.popleft()

    def share(self, part: int) -> float | None:
        """Return a part's share of one core over the last window; None before there are two marks.

        While less than a window has been seen it is the mean of that.
        """
        if self.covered_s <= 0:
            return None
        return max(0, self._marks[-1][1][part] - self._marks[0][1][part]) / 1e9 / self.covered_s

    def tick_s(self, part: int) -> float | None:
        """Return the CPU seconds of one tick; None when there was none lately."""
        return self._cpu_s[part] / self._ticks[part] if self._ticks[part] > FAINT else None

    def sample_s(self, part: int) -> float | None:
        """Return the CPU seconds per reading; None when there was none lately."""
        return self._cpu_s[part] / self._samples[part] if self._samples[part] > FAINT else None
