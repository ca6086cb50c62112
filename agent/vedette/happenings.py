"""Read from the newest readings what happened: a unit restarted, the kernel complained, a reboot.

Some counters count events of which a person wants to know when something else turns strange. Where
one of them has grown since the tick before, that is an event. Pure; rows are looked up once per
generation of the table, a tick costs one look at some dozen values.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vedette.api import Event, Series, Window

#: Counters of events: the kind of event, and what to say; ``{0}`` is the first attribute's value.
COUNTED = {
    "vedette.systemd.unit.restarts": ("restart", "unit {0} was restarted after a failure"),
    "vedette.watch.restarts": ("restart", "process {0} was started anew"),
    "vedette.clock.steps": ("clock", "the clock was set"),
    "vedette.kernel.events": ("kernel", "the kernel reported {0}"),
    "vedette.service.memory.oom_kills": ("oom", "the kernel killed a process of {0}"),
    "vedette.container.memory.oom_kills": ("oom", "the kernel killed a process of {0}"),
    "vedette.network.link.carrier_changes": ("link", "the link of {0} went up or down"),
}
#: Of kernel messages: what they are called for a person.
MESSAGES = {
    "oom_kill": "that it killed a process for lack of memory",
    "machine_check": "a hardware error",
    "memory_error": "a memory error",
    "hung_task": "a task that hangs",
    "lockup": "a core that is locked up",
    "panic": "an error of its own",
    "filesystem_error": "an error of a filesystem",
    "io_error": "an I/O error",
    "raid": "a failed disk of an array",
    "gpu": "an error of a GPU",
    "nfs": "a file server that does not answer",
    "thermal": "that the machine is too hot",
    "link_down": "a network link that went down",
    "link_up": "a network link that came up",
    "conntrack_full": "a full table of connections",
    "segfault": "a program that crashed",
    "warning": "a warning about itself",
}
BOOTED = "vedette.host.boot_time"


class Happenings:
    """Remember which rows of the table count events."""

    def __init__(self) -> None:
        self._generation = -1
        self._rows: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._boot_row = -1
        self._booted_ns = 0

    def of(self, window: Window) -> list[Event]:
        """Return what happened at the newest tick of a window."""
        if window.generation != self._generation:
            self._look(window)
        found = self._boot(window)
        if len(self._rows):
            newest = window.values[self._rows, -1]
            with np.errstate(invalid="ignore"):
                grown = self._rows[newest > 0]
            tick = int(window.time[-1])
            series = [window.series[row] for row in grown.tolist()]
            found += [_event(one, tick) for one in series if one is not None]
        return found

    def _look(self, window: Window) -> None:
        self._generation = window.generation
        names = ["" if one is None else one.instrument.name for one in window.series]
        counted = [row for row, name in enumerate(names) if name in COUNTED]
        self._rows = np.array(counted, dtype=np.intp)
        self._boot_row = names.index(BOOTED) if BOOTED in names else -1

    def _boot(self, window: Window) -> list[Event]:
        """Return the start of the host, once."""
        value = float(window.values[self._boot_row, -1]) if self._boot_row >= 0 else math.nan
        if self._booted_ns or not math.isfinite(value):
            return []
        # float32 holds seconds since 1970 to two minutes: as near as it can be told.
        self._booted_ns = round(value) * 1_000_000_000
        return [Event(self._booted_ns, "reboot", "", "the host was started")]


def _event(series: Series, tick_ns: int) -> Event:
    kind, text = COUNTED[series.instrument.name]
    entity = series.values[0] if series.values else ""
    return Event(tick_ns, kind, entity, text.format(MESSAGES.get(entity, entity)))
