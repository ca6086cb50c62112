"""Make many faults in a random order against a running agent, and keep what it told.

``schedule`` draws the order, ``Series.run`` makes it true. A fault that needs something healthy to
spoil has its process from the beginning of the series to the end, so that its healthy work is part
of what the agent takes for normal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from vedette.api import Incident, Unavailable
from vedette.drills.faults import FAULTS
from vedette.drills.load import Load
from vedette.drills.plan import Drill, Place, Refused, plan
from vedette.drills.score import AFTERMATH_S, Injection

if TYPE_CHECKING:
    from random import Random

__all__ = ["Record", "Series", "Skipped", "Step", "length_s", "schedule"]

POLL_S = 1.0
#: An agent that answers nothing for so long is gone, not busy.
SILENCE_S = 60.0
#: How much longer than planned a step may take: planning, cleaning up, a slow answer.
OVERTIME_S = 30.0


class Step(msgspec.Struct, frozen=True):
    """Wait ``gap_s``, then make these faults at once for ``seconds``."""

    names: tuple[str, ...]
    gap_s: float
    seconds: float


class Skipped(msgspec.Struct, frozen=True):
    """A fault that was not made, and why."""

    name: str
    reason: str


class Record(msgspec.Struct):
    """What was done and what was told. ``incidents`` are as first told, ``last`` as last seen.

    ``ended`` says why it ended before its time; empty when it did not.
    """

    began_ns: int = 0
    ended_ns: int = 0
    injections: list[Injection] = []
    skipped: list[Skipped] = []
    incidents: dict[str, Incident] = {}
    last: dict[str, Incident] = {}
    ended: str = ""


def schedule(
    names: Sequence[str],
    *,
    repeat: int,
    gap_s: tuple[float, float],
    seconds: float,
    chance: Random,
    pairs: bool = False,
) -> tuple[Step, ...]:
    """Draw a series: each fault ``repeat`` times, in rounds, never the same twice in a row.

    The gaps before the faults are drawn evenly from ``gap_s``. With ``pairs`` the faults of a round
    come two at once (of an odd number the last one with the first), needing two names at least.
    """
    if pairs and len(names) < 2:
        raise ValueError("pairs need two different drills")
    steps: list[Step] = []
    for _ in range(repeat):
        round_ = list(names)
        chance.shuffle(round_)
        while len(round_) > 1 and steps and round_[0] in steps[-1].names:
            round_.append(round_.pop(0))
        groups = [(name,) for name in round_] if not pairs else _paired(round_)
        steps += [Step(group, round(chance.uniform(*gap_s), 1), seconds) for group in groups]
    return tuple(steps)


def length_s(steps: Iterable[Step]) -> float:
    """Return how long a series takes, with the time after its last fault."""
    return sum(step.gap_s + step.seconds for step in steps) + AFTERMATH_S


def _paired(names: Sequence[str]) -> list[tuple[str, ...]]:
    pairs = [tuple(names[place : place + 2]) for place in range(0, len(names) - 1, 2)]
    return pairs + ([(names[-1], names[0])] if len(names) % 2 else [])


class Series:
    """A series under way; ``record`` is true at any moment, so a series can be broken off.

    ``poll`` returns the incidents the agent knows, None when it did not answer; ``stopped`` says
    whether somebody wants to end it; ``progress`` hears what happens, in words.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        place: Place,
        poll: Callable[[], Sequence[Incident] | None],
        *,
        stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[str], None] = lambda text: None,
        load: Callable[[Drill, float | None], Load] = Load,
        clock_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.record = Record()
        self._steps, self._place, self._poll = steps, place, poll
        self._stopped, self._progress, self._load = stopped, progress, load
        self._clock_ns, self._sleep = clock_ns, sleep
        self._background: dict[str, Load] = {}
        self._answered_ns = 0

    def run(self) -> Record:
        """Make the faults, one step after the other; return the record, complete or not."""
        record = self.record
        known = {incident.id for incident in self._poll() or ()}
        record.began_ns = self._answered_ns = self._clock_ns()
        with ExitStack() as stack:
            self._start_background(stack)
            try:
                for step in self._steps:
                    self._wait(step.gap_s)
                    self._inject(step)
                self._wait(AFTERMATH_S)
            except _Ended as ended:
                record.ended = str(ended)
            record.ended_ns = self._clock_ns()
        for name in known:  # opened before: not told of anything that was done here
            record.incidents.pop(name, None)
        return record

    def _start_background(self, stack: ExitStack) -> None:
        """Start what works normally until its fault comes."""
        lasts_s = length_s(self._steps) + len(self._steps) * OVERTIME_S
        names = dict.fromkeys(name for step in self._steps for name in step.names)
        for name in names:
            if FAULTS[name].lead_s:
                try:
                    drill = plan(name, max(step.seconds for step in self._steps), self._place)
                    self._background[name] = stack.enter_context(self._load(drill, lasts_s))
                except (Refused, Unavailable) as error:
                    self._skip(name, error)

    def _inject(self, step: Step) -> None:
        loads = list(self._planned(step))
        if not loads:
            return
        began_ns = self._clock_ns()
        self._progress(f"{_named(load.drill.name for load in loads)} begins")
        done: tuple[str, ...] = ()
        try:
            with ExitStack() as stack:
                for load in loads:
                    self._begin(load, stack)
                self._wait(step.seconds)
                done = tuple(load.drill.name for load in loads if self._worked(load))
        finally:  # what was broken off has a name for nobody, but its incidents are its own
            self.record.injections.append(Injection(done, began_ns, self._clock_ns()))
        if done:
            self._progress(f"{_named(done)} ended, {self._told_since(began_ns)}")

    def _planned(self, step: Step) -> Iterator[Load]:
        """Yield the loads of a step that fit the host as it is now."""
        for name in step.names:
            if name in self._background:
                yield self._background[name]
            elif not FAULTS[name].lead_s:  # without a background it was said before
                try:
                    yield self._load(plan(name, step.seconds, self._place), None)
                except (Refused, Unavailable) as error:
                    self._skip(name, error)

    def _begin(self, load: Load, stack: ExitStack) -> None:
        if load.drill.fault.lead_s:
            stack.callback(load.end)
            load.begin()
        else:
            stack.enter_context(load)

    def _worked(self, load: Load) -> bool:
        if failure := load.failure():
            self._skip(load.drill.name, failure)
        return not failure

    def _skip(self, name: str, reason: object) -> None:
        self.record.skipped.append(Skipped(name, str(reason)))
        self._progress(f"{name} left out: {reason}")

    def _wait(self, seconds: float) -> None:
        ends_ns = self._clock_ns() + int(seconds * 1e9)
        while (left := (ends_ns - self._clock_ns()) / 1e9) > 0:
            if self._stopped():
                raise _Ended("interrupted")
            self._sleep(min(POLL_S, left))
            self._look()

    def _look(self) -> None:
        """Take down what the agent tells now."""
        now_ns = self._clock_ns()
        told = self._poll()
        if told is None:
            if now_ns - self._answered_ns > SILENCE_S * 1e9:
                raise _Ended("the agent gave no answer for a minute")
            return
        self._answered_ns = now_ns
        for incident in told:
            self.record.incidents.setdefault(incident.id, incident)
            self.record.last[incident.id] = incident

    def _told_since(self, began_ns: int) -> str:
        opened = [one for one in self.record.last.values() if one.opened_ns >= began_ns]
        if not opened:
            return "nothing told yet"
        first = min(opened, key=lambda one: one.opened_ns)
        more = f" and {len(opened) - 1} more" if len(opened) > 1 else ""
        return f"told after {(first.opened_ns - began_ns) / 1e9:.1f} s{more}: {first.title}"


class _Ended(Exception):  # noqa: N818 - an end, not an error
    """The series ends before its time; the text says why."""


def _named(names: Iterable[str]) -> str:
    return " + ".join(names)
