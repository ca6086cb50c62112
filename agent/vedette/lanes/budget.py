"""Decide which collectors run less often so that the agent keeps to its CPU budget. Pure.

A control loop with two thresholds and slow steps. When the agent has used more than ``TARGET`` of
the budget for ``hold_s``, the most expensive collector's interval is doubled, then that of the one
that is the most expensive now, until the forecast is below the target or no step would save
``WORTH`` of the budget any more. When there has been room for ``patience_s``, room enough for one
of them to run twice as often and still stay below ``ROOM``, the cheapest is given one step back.

Why it cannot flap: every step was taken at more than ``TARGET``, the last one saved least, and
undoing any step costs at least that, so with constant costs no step fits below ``ROOM``. What the
forecast does not know, that more readings cost more in the pipeline too, may still bring it back
above: each time it has to stretch soon after giving back, patience doubles.

Why a burst does nothing: ``used`` is a mean over a window no longer than ``hold_s``, so whatever
lasts a few seconds has left it before the hold is over. After each change nothing is judged until
a whole window lies behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from vedette.lanes.costs import WINDOW_S

#: An interval is stretched up to so many times, and to so many ns.
STRETCH_MAX = 16
INTERVAL_MAX_NS = 60_000_000_000
#: Above this part of the budget collectors are slowed down, to just below it.
TARGET = 0.9
#: A step is given back when with it the agent would stay below this part of the budget.
ROOM = 0.75
#: A step that saves less than this part of the budget is not worth a lost resolution.
WORTH = 0.01
#: Stretching again this soon after giving back doubles the patience, up to so many seconds.
AGAIN_S = 1800.0
PATIENCE_MAX_S = 4 * 3600.0


class Load(msgspec.Struct, frozen=True):
    """What a collector costs as it runs now: share of one core, how far stretched, how far at most.

    ``stretch`` and ``most`` are powers of two; at 1 it runs at its own interval.
    """

    share: float
    stretch: int
    most: int


class Budget:
    """The budget and what it remembers; ``step`` is called whenever there are new costs."""

    def __init__(
        self,
        share: float,
        *,
        settle_s: float = 60.0,
        window_s: float = WINDOW_S,
        hold_s: float = 60.0,
        patience_s: float = 300.0,
    ) -> None:
        #: Share of one core that the agent may use.
        self.share = share
        #: Whether the agent is over its budget and no step is left that is worth taking.
        self.exhausted = False
        self.window_s = window_s
        self._settle_s = settle_s
        self._hold_s = hold_s
        self._patience_s = self._patient_s = patience_s
        self._judged_from_s: float | None = None
        self._over_since_s: float | None = None
        self._room_since_s: float | None = None
        self._gave_back_s: float | None = None
        self._has_stretched = False

    def step(
        self, now_s: float, used: float, loads: Callable[[], Mapping[str, Load]]
    ) -> dict[str, int]:
        """Return the new stretch of each collector that gets another one.

        ``used`` is the agent's share of one core over the last window, all of it; ``now_s`` is
        monotonic. ``loads`` is asked only when there may be something to do.
        """
        if self._judged_from_s is None:
            self._judged_from_s = now_s + self._settle_s + self.window_s
        if now_s < self._judged_from_s:
            return {}
        if used > TARGET * self.share:
            self._room_since_s = None
            if self._over_since_s is None:
                self._over_since_s = now_s
            if now_s - self._over_since_s <= self._hold_s:
                return {}
            changes = self._stretched(used, loads())
            self._stretching(now_s, changes)
        else:
            self._over_since_s = None
            self.exhausted = False
            changes = self._given_back(now_s, used, loads()) if self._has_stretched else {}
        if changes:
            self._judged_from_s = now_s + self.window_s
            self._over_since_s = self._room_since_s = None
        return changes

    def _stretched(self, used: float, loads: Mapping[str, Load]) -> dict[str, int]:
        """Double intervals, the most expensive first, until the forecast fits."""
        changes: dict[str, int] = {}
        shares = {name: load.share for name, load in loads.items() if load.stretch < load.most}
        while used > TARGET * self.share and shares:
            name = max(shares, key=lambda one: shares[one])
            saved = shares[name] / 2
            if saved < WORTH * self.share:
                break
            used -= saved
            shares[name] -= saved
            changes[name] = 2 * changes.get(name, loads[name].stretch)
            if changes[name] >= loads[name].most:
                del shares[name]
        self.exhausted = not changes and used > self.share
        return changes

    def _stretching(self, now_s: float, changes: Mapping[str, int]) -> None:
        """Grow more patient when it has to stretch what it gave back a short time ago."""
        self._has_stretched = self._has_stretched or bool(changes)
        if not changes or self._gave_back_s is None:
            return
        if now_s - self._gave_back_s <= max(AGAIN_S, self._patient_s):
            self._patient_s = min(2 * self._patient_s, max(PATIENCE_MAX_S, self._patience_s))
        else:
            self._patient_s = self._patience_s
        self._gave_back_s = None

    def _given_back(self, now_s: float, used: float, loads: Mapping[str, Load]) -> dict[str, int]:
        """Let the cheapest of the stretched run twice as often, once there was room long enough."""
        stretched = [name for name, load in loads.items() if load.stretch > 1]
        if not stretched:
            self._room_since_s = None
            self._has_stretched = False
            return {}
        name = min(stretched, key=lambda one: loads[one].share)
        if used + loads[name].share > ROOM * self.share:
            self._room_since_s = None
            return {}
        if self._room_since_s is None:
            self._room_since_s = now_s
        if now_s - self._room_since_s < self._patient_s:
            return {}
        self._gave_back_s = now_s
        return {name: loads[name].stretch // 2}


def most_stretch(interval_ns: int) -> int:
    """Return how far an interval may be stretched: a power of two, 1 for not at all."""
    most = 1
    while most < STRETCH_MAX and 2 * most * interval_ns <= INTERVAL_MAX_NS:
        most *= 2
    return most
