"""Make one fault and follow the agent's incidents meanwhile and afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from vedette.api import Incident
from vedette.drills.faults import Fault, family_of
from vedette.drills.load import Load
from vedette.drills.plan import Refused

__all__ = ["Outcome", "watch"]

POLL_S = 0.5
#: How long after the load an incident may still be opened, and then be resolved.
NOTICE_S = 30.0
RESOLVE_S = 120.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent made of a fault. Times are seconds since the fault began; None = never.

    ``incidents`` are all that opened meanwhile; ``incident`` is the first that speaks of the fault:
    of its family, or with its process as suspect.
    """

    drill: str
    seconds: float
    began_ns: int
    incident: Incident | None
    incidents: tuple[Incident, ...]
    noticed_s: float | None
    onset_s: float | None
    resolved_s: float | None

    @property
    def exactly_one(self) -> bool:
        """The fault was noticed, and as one thing."""
        return self.incident is not None and len(self.incidents) == 1


def watch(
    load: Load,
    poll: Callable[[], Sequence[Incident]],
    *,
    wait: bool = True,
    progress: Callable[[float, Outcome | None], None] = lambda seconds, outcome: None,
    clock_ns: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Follow the agent's incidents while the fault lasts and after it; return what came of it.

    ``poll`` returns all incidents the agent knows; those it knows when the fault begins are not the
    drill's. Watches until the load has ended and an incident was opened (at most 30 s longer) and,
    with ``wait``, until all that opened are resolved (at most 120 s longer). ``progress`` hears of
    every look: the seconds since the fault began, negative and without an outcome before it did.
    """
    drill = load.drill
    if not drill.fault.lead_s:
        before, began_ns = {incident.id for incident in poll()}, clock_ns()
    with load:
        if drill.fault.lead_s:
            _lead(load, progress, clock_ns, sleep)
            before, began_ns = {incident.id for incident in poll()}, clock_ns()
            load.begin()
        while True:
            sleep(POLL_S)
            outcome = _judged(load, began_ns, [i for i in poll() if i.id not in before])
            elapsed = (clock_ns() - began_ns) / 1e9
            progress(elapsed, outcome)
            if load.running():
                continue
            if failure := load.failure():
                raise Refused(f"the load ended early: {failure}")
            after = elapsed - drill.seconds
            if outcome.incident is None:
                if after >= NOTICE_S:
                    return outcome
            elif not wait or outcome.resolved_s is not None or after >= RESOLVE_S:
                return outcome


def _lead(
    load: Load,
    progress: Callable[[float, Outcome | None], None],
    clock_ns: Callable[[], int],
    sleep: Callable[[float], None],
) -> None:
    """Wait while the load does its normal work, so that there is something to spoil."""
    ends_ns = clock_ns() + int(load.drill.fault.lead_s * 1e9)
    while (left := (ends_ns - clock_ns()) / 1e9) > 0:
        progress(-left, None)
        sleep(min(POLL_S, left))
        if not load.running():
            raise Refused(f"the load ended early: {load.failure() or 'without a reason'}")


def _judged(load: Load, began_ns: int, opened: Sequence[Incident]) -> Outcome:
    """Say what the incidents that opened since mean for the drill."""
    in_order = tuple(sorted(opened, key=lambda incident: incident.opened_ns))
    fault = load.drill.fault
    own = next((one for one in in_order if _speaks_of(one, fault)), None)
    ends = [one.resolved_ns for one in in_order]
    resolved = max((end for end in ends if end is not None), default=None)
    return Outcome(
        drill=load.drill.name,
        seconds=load.drill.seconds,
        began_ns=began_ns,
        incident=own,
        incidents=in_order,
        noticed_s=None if own is None else (own.opened_ns - began_ns) / 1e9,
        onset_s=None if own is None else (own.onset_ns - began_ns) / 1e9,
        resolved_s=None if None in ends or resolved is None else (resolved - began_ns) / 1e9,
    )


def _speaks_of(incident: Incident, fault: Fault) -> bool:
    return (
        incident.resource in fault.families
        or any(family_of(series) in fault.families for series in incident.series)
        or any(fault.comm in (suspect.name, suspect.id) for suspect in incident.suspects)
    )
