"""Say who of a lane is to run at a tick.

Asked for every lane at every tick, so runners of one interval are looked at together: a division
per interval, and two comparisons per runner whose time it is.
"""

from __future__ import annotations

from vedette.lanes.runner import Runner


class Rota:
    """The runners of one lane by their intervals. ``due`` is called by one thread at a time."""

    def __init__(self, runners: tuple[Runner, ...]) -> None:
        self.runners = runners
        self.members = frozenset(runners)
        groups: dict[int, list[Runner]] = {}
        for runner in runners:
            groups.setdefault(runner.configured_ns, []).append(runner)
        self._groups = tuple(groups.items())
        self._before_ns: int | None = None

    def of(self, runners: tuple[Runner, ...]) -> Rota:
        """Return one for some of them that remembers the same tick as the last."""
        other = Rota(runners)
        other._before_ns = self._before_ns
        return other

    def due(self, tick_ns: int, now_ns: int) -> tuple[Runner, ...]:
        """Return whose interval this tick is a multiple of, without those that pause until later.

        A tick that comes late is one, too, when a multiple lies between it and the one before.
        ``now_ns`` is monotonic.
        """
        before_ns, self._before_ns = self._before_ns, tick_ns
        return tuple(
            [
                runner
                for configured_ns, group in self._groups
                if _falls(configured_ns, before_ns, tick_ns)
                for runner in group
                # A stretched interval is a multiple of the configured one.
                if now_ns >= runner.not_before_ns
                and (runner.stretch == 1 or _falls(runner.interval_ns, before_ns, tick_ns))
            ]
        )


def _falls(interval_ns: int, before_ns: int | None, tick_ns: int) -> bool:
    """Tell whether a multiple of the interval has come since the tick before."""
    if tick_ns % interval_ns == 0:
        return True
    return before_ns is not None and tick_ns // interval_ns > before_ns // interval_ns
