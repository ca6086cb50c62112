"""Follow the pages of one server, and tell restarts from other reasons to fall.

``process_start_time_seconds``, where the page has exactly one, tells a restart of everything. When
it goes back to a value seen before, or shows a process that ran already while another one answered,
there are several workers behind one address, each with counters of its own: then nothing that
counts is told until that stops. Without a start time the same shows in a series that falls again
and again.

A series that left and came back is compared with what it was when it left. One never seen before is
told in full when it must be new: the page before was whole and had it not, and its ``created``,
where there is one, is no older.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from math import isfinite, nan

import msgspec

from vedette.exposition.change import START_SLACK_S, Change, change, gap, newborn
from vedette.exposition.model import Key, Point
from vedette.exposition.page import Page

START = "process_start_time_seconds"
#: So many falls within so many pages make a series unsteady.
FALLS_MAX = 3
FALLS_PAGES = 10
#: Starts remembered to tell workers in turn from restarts.
_STARTS_MAX = 8


class _Last(msgspec.Struct):
    """What was last known of a series."""

    point: Point
    at_s: float
    page: int
    falls: tuple[int, ...] = ()


class Changes:
    """Follow the pages of one server. Memory is bounded by what the pages' reader remembers."""

    def __init__(
        self,
        *,
        counters: Collection[str] = (),
        wraps_at: float = 0,
        forget_after: int = 10,
    ) -> None:
        """``counters`` names gauges that count nevertheless (``lmdeploy:num_requests_failed``)."""
        self._counters = frozenset(counters)
        self._wraps_at = wraps_at
        self._forget_after = forget_after
        self._last: dict[Key, _Last] = {}
        self._pages = 0
        self._at_s = nan
        self._wall_s = nan
        self._complete = False
        self._starts: deque[float] = deque(maxlen=_STARTS_MAX)
        self._mixed_page = -FALLS_PAGES
        self._restart_page = 0
        #: The page before last showed another start of the process.
        self.restarted = False

    @property
    def mixed(self) -> bool:
        """Several workers answer in turn, so nothing that counts can be followed."""
        return self._pages - self._mixed_page < FALLS_PAGES

    @property
    def remembered(self) -> int:
        """How many series are remembered."""
        return len(self._last)

    def advance(
        self,
        page: Page,
        now_s: float,
        *,
        wall_s: float = nan,
        names: Iterable[str] | None = None,
    ) -> list[Change]:
        """Return what happened since the page before, by counter, histogram and summary.

        ``now_s`` is a clock that never goes back (a page that is not later gives nothing),
        ``wall_s`` Unix seconds, to see by its ``created`` whether a series is new. ``names`` are
        the families asked for, None for all; ask for the same ones each time.
        """
        if self._pages and not now_s > self._at_s:
            return []
        self._pages += 1
        self.restarted = self._start_moved(page)
        if self.restarted:
            self._restart_page = self._pages
        changes = []
        for name in page.names if names is None else names:
            family = page.family(name)
            if family is None:
                continue
            counts = family.type == "counter" or name in self._counters
            if counts or family.type in ("histogram", "summary"):
                changes += [self._change(point, now_s) for point in page.points(name)]
        self._forget()
        self._at_s, self._wall_s, self._complete = now_s, wall_s, page.complete
        return changes

    def _change(self, point: Point, now_s: float) -> Change:
        last = self._last.get(point.key)
        if last is None or type(last.point) is not type(point):
            self._last[point.key] = _Last(point, now_s, self._pages)
            return self._newcomer(point, now_s - self._at_s)
        found = change(
            last.point,
            point,
            now_s - last.at_s,
            restarted=self._restart_page > last.page,
            wraps_at=self._wraps_at,
        )
        if found.note == "fell":
            since = self._pages - FALLS_PAGES
            last.falls = (*(page for page in last.falls if page > since), self._pages)
        last.point, last.at_s, last.page = point, now_s, self._pages
        if self.mixed:
            return gap(point, found.elapsed_s, "workers")
        if len(last.falls) >= FALLS_MAX:
            if self._pages - last.falls[-1] < FALLS_PAGES:
                return gap(point, found.elapsed_s, "unsteady")
            last.falls = ()
        return found

    def _newcomer(self, point: Point, elapsed_s: float) -> Change:
        """Count a series from zero if it must have begun after the page before."""
        begun = self._complete and not self.mixed
        if begun and point.created == point.created and self._wall_s == self._wall_s:
            begun = point.created > self._wall_s - START_SLACK_S
        if not begun:
            return gap(point, elapsed_s, "first")
        return newborn(point, elapsed_s)

    def _start_moved(self, page: Page) -> bool:
        """Say whether the process started anew; note when workers answer in turn."""
        found = page.numbers(START)
        if len(found) != 1 or not isfinite(found[0].value):
            return False
        start = found[0].value
        if not self._starts:
            self._starts.append(start)
            return False
        if abs(start - self._starts[-1]) <= START_SLACK_S:
            return False
        if any(abs(start - one) <= START_SLACK_S for one in self._starts):
            self._mixed_page = self._pages
        elif start < self._wall_s - START_SLACK_S:
            # It ran already when another one answered: no restart, at least a change of hands.
            self._mixed_page = max(self._mixed_page, self._pages - FALLS_PAGES + 1)
        later = start > self._starts[-1]
        self._starts.append(start)
        return later

    def _forget(self) -> None:
        old = self._pages - self._forget_after
        for key in [key for key, last in self._last.items() if last.page <= old]:
            del self._last[key]
