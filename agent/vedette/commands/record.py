"""Record what this host's collectors read as a CSV that ``vedette backtest`` replays.

The collectors run here, in this process and in the agent's own lanes, whether or not an agent runs
beside it. A row is a tick, a column a series by its key, a counter is its rate, and what was not
read at a tick is empty: the table makes the rows, so that a replay gets what detectors would have
got. The header needs the columns, so they are those of the first seconds; series that come later
are counted.

Rows are told apart by a clock that nobody sets: a clock step leaves no hole and no row twice.
"""

from __future__ import annotations

import argparse
import csv
import math
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import TextIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette import assembly
from vedette.api import Frame, GpuUses, Host, Instrument
from vedette.backtest import columns_of
from vedette.commands.loading import instruments_of, required
from vedette.config import Config
from vedette.config.units import format_duration, parse_duration
from vedette.lanes import Assignment, Lanes
from vedette.registry import Registry
from vedette.table import SeriesTable
from vedette.terminal import CommandError, out, printable, size

__all__ = ["record"]

S = 1_000_000_000
#: The columns are the series that were read in so many seconds.
SETTLE_S = 15.0
#: How long after a tick its row is closed: seconds, and the most of the interval.
GRACE_S, GRACE_PART = 0.4, 0.5
#: The shortest interval, in seconds.
SHORTEST_S = 0.1
#: Batches of frames that may wait; more are dropped and counted.
QUEUE_MAX = 256
STOP_S = 2.0


def record(options: argparse.Namespace) -> int:
    """Record until the time is over, or until SIGINT or SIGTERM."""
    every_s = _seconds("--every", options.every, SHORTEST_S)
    duration_s = _seconds("--for", options.duration, every_s)
    loaded, config = required(options.config)
    assignments = _assignments(config, loaded.registry, options.collector, every_s)
    try:
        with open(options.out, "w", encoding="utf-8", newline="") as file:
            rows = _Rows(file, options.series, config, instruments_of(loaded.registry))
            names = {one.label for one in assignments} if options.collector else None
            recorder = _Recorder(rows, assignments, round(every_s * S), names)
            out(
                f"recording {len(assignments)} collectors every {format_duration(every_s)} for "
                f"{format_duration(duration_s)} into {printable(options.out)}; Ctrl-C ends it"
            )
            sys.stdout.flush()
            with _stopping(recorder):
                recorder.run(round(duration_s * S))
    except OSError as error:
        raise CommandError(f"cannot write {options.out}: {error.strerror}") from None
    for line in recorder.told(options.out):
        out(line)
    return 0


class _Rows:
    """The file: its rows wait until the columns are known."""

    def __init__(
        self,
        file: TextIO,
        globs: Sequence[str] | None,
        config: Config,
        known: Iterable[Instrument] = (),
    ) -> None:
        self.table = SeriesTable(
            ticks=1,
            max_series=config.agent.max_series,
            max_per_collector=config.agent.max_series_per_collector,
        )
        self.globs = globs
        self.known = tuple(known)
        self.count = 0
        self.columns: tuple[str, ...] | None = None
        self._file = file
        self._rows: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._waiting: list[tuple[int, NDArray[np.float64]]] = []

    def close(self, tick_ns: int) -> None:
        """End a tick and write its row."""
        column = self.table.close_tick(tick_ns)
        self._waiting.append((tick_ns, column))
        if self.columns is not None:
            self._write()

    def settle(self) -> None:
        """Fix the columns to what is there now, and write the rows that waited for them.

        Raises ``CommandError`` when there is nothing.
        """
        found = self._matching()
        if not found:
            globs = f" matches {' '.join(self.globs)}" if self.globs else " was read"
            raise CommandError(f"no series{printable(globs)}", "`vedette collect NAME` shows some.")
        keys = sorted(found)
        self._rows = np.array([found[key] for key in keys], dtype=np.intp)
        series = [one for key in keys if (one := self.table.series[found[key]])]
        self.columns = tuple(columns_of(series, self.known))
        csv.writer(self._file, lineterminator="\n").writerow(["timestamp", *self.columns])
        self._write()

    @property
    def late(self) -> int:
        """Series that came after the columns were fixed."""
        return len(self._matching()) - len(self.columns or ())

    def _matching(self) -> dict[str, int]:
        keys = {one.key: row for row, one in enumerate(self.table.series) if one is not None}
        if self.globs is None:
            return keys
        return {
            key: row
            for key, row in keys.items()
            if any(fnmatchcase(key, glob) for glob in self.globs)
        }

    def _write(self) -> None:
        for tick_ns, column in self._waiting:
            there = self._rows < len(column)
            values = np.full(len(self._rows), np.nan)
            values[there] = column[self._rows[there]]
            cells = ["" if math.isnan(value) else f"{value:.9g}" for value in values.tolist()]
            self._file.write(",".join([_stamp(tick_ns), *cells]) + "\n")
            self.count += 1
        self._waiting.clear()
        self._file.flush()


class _Recorder:
    """Lanes in, rows out. ``stop`` may be called from a signal handler."""

    def __init__(
        self,
        rows: _Rows,
        assignments: Sequence[Assignment],
        every_ns: int,
        names: set[str] | None,
    ) -> None:
        self.rows = rows
        self.names = names
        self.every_ns = every_ns
        self.lost = 0
        # The simple kind may be put into from a signal handler while its reader waits.
        self._queue: queue.SimpleQueue[tuple[Frame, ...]] = queue.SimpleQueue()
        self._stopping = False
        self._lanes = Lanes(
            assignments,
            self._deliver,
            base_interval_s=every_ns / S,
            max_series=rows.table.max_per_collector,
        )

    def run(self, duration_ns: int) -> None:
        """Record; raises ``CommandError`` when there is no series to record."""
        ahead_ns = time.time_ns() - _ticking_ns()
        tick = (_ticking_ns() + ahead_ns) // self.every_ns * self.every_ns
        settled, end = tick + round(SETTLE_S * S), tick + duration_ns
        grace_ns = min(round(GRACE_S * S), round(GRACE_PART * self.every_ns))
        self._lanes.start()
        try:
            while tick < end and not self._stopping:
                tick += self.every_ns
                self._gather(tick + grace_ns - ahead_ns)
                if _ticking_ns() + ahead_ns < tick:  # stopped before it
                    break
                self.rows.close(tick)
                if self.rows.columns is None and tick >= min(settled, end):
                    self.rows.settle()
                self._lanes.look_after()
                # After a suspend the ticks in between are missing, as they are to the agent.
                tick = max(tick, (_ticking_ns() + ahead_ns) // self.every_ns * self.every_ns)
        finally:
            self._lanes.stop(STOP_S)
        if self.rows.columns is None:
            self.rows.settle()

    def stop(self, number: int, frame: FrameType | None) -> None:
        """End with the last tick that there was."""
        self._stopping = True
        self._queue.put(())

    def told(self, path: Path) -> Iterator[str]:
        """Yield what came of it."""
        rows = self.rows
        written = size(path.stat().st_size)
        yield f"{rows.count} rows of {len(rows.columns or ())} series, {written}"
        if rows.late:
            yield f"{rows.late} series came later than the first {SETTLE_S:g} s: they are not in it"
        refused = rows.table.refused.total()
        if refused or self.lost:
            yield f"{refused} readings over the caps and {self.lost} frames were dropped"
        for one in self._lanes.status():
            if one.reason and (one.failures or one.late):
                yield f"collector {one.name} had trouble: {printable(one.reason)}"

    def _gather(self, until_ns: int) -> None:
        """Take frames until the ticking clock says so, or a stop."""
        while not self._stopping:
            rest_s = (until_ns - _ticking_ns()) / S
            try:
                frames = self._queue.get(timeout=rest_s) if rest_s > 0 else self._queue.get_nowait()
            except queue.Empty:
                if rest_s <= 0:
                    return
                continue
            for frame in frames:
                self.rows.table.put(frame)

    def _deliver(self, frames: tuple[Frame, ...]) -> None:
        if self._queue.qsize() >= QUEUE_MAX:
            self.lost += len(frames)
            return
        if self.names is not None:
            frames = tuple(one for one in frames if one.collector in self.names)
        self._queue.put(frames)


@contextmanager
def _stopping(recorder: _Recorder) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the recording, as far as signals come to this thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.signal(one, recorder.stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _assignments(
    config: Config, registry: Registry, names: Sequence[str] | None, every_s: float
) -> list[Assignment]:
    """Return the enabled collectors, or the named ones, at multiples of the interval."""
    if names:
        known = {one.id for one in config.collectors} | {one.name for one in config.collectors}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise CommandError(
                f"there is no collector {unknown[0]!r}", f"known: {', '.join(sorted(known))}"
            )
        chosen = [
            msgspec.structs.replace(one, enabled=True)
            for one in config.collectors
            if one.id in names or one.name in names
        ]
        config = msgspec.structs.replace(config, collectors=tuple(chosen))
    return [
        msgspec.structs.replace(
            one, interval_s=max(1, math.ceil(round(one.interval_s / every_s, 6))) * every_s
        )
        for one in assembly.assignments(config, registry, Host(), GpuUses())
    ]


def _seconds(option: str, text: str, least: float) -> float:
    try:
        seconds = float(parse_duration(text))
    except ValueError as error:
        raise CommandError(f"{option}: {error}") from None
    if seconds < least:
        raise CommandError(f"{option} {text} is less than {format_duration(least)}")
    return seconds


def _ticking_ns() -> int:
    """Return the time since the host's start, suspends included: nobody sets it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _stamp(tick_ns: int) -> str:
    whole, rest = divmod(tick_ns, S)
    return f"{whole}.{rest:09d}".rstrip("0") if rest else str(whole)
