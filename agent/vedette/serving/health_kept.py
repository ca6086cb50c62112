"""Keep on the disk how much of their error budgets models have used, over restarts of the agent.

One small file, replaced as a whole: a budget of 30 days is of little use when it begins anew with
each upgrade. It is written every ``WRITE_S`` and when the collector closes; what a crash loses is
the last minutes. What cannot be read is left out, with a line in the log: then budgets begin anew.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from vedette import whole_file
from vedette.serving.health_slo import Budget
from vedette.trouble import Trouble

log = logging.getLogger(__name__)

VERSION = 1
WRITE_S = 300.0
#: What is larger is not ours: 64 budgets of 1,644 slots fit well.
_BYTES_MAX = 8 << 20

#: Endpoint, layer, model, name of the SLO, kind of objective.
Key = tuple[str, str, str, str, str]


class KeptRing(msgspec.Struct, frozen=True, array_like=True):
    """The slots of a ring that had requests: which one (counted from 1970), requests, misses."""

    slots: tuple[tuple[int, float, float], ...]


class KeptBudget(msgspec.Struct, frozen=True, array_like=True):
    """One budget."""

    key: Key
    since_s: float
    rings: tuple[KeptRing, ...]


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """All of them."""

    version: int = VERSION
    budgets: tuple[KeptBudget, ...] = ()


class Keeper:
    """The file of one state directory; without one (an empty path) nothing is kept."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory) / "budgets" if directory else None
        self._writing = Trouble(
            log,
            f"error budgets are not kept file={self._path}",
            f"error budgets are kept again file={self._path}",
        )

    def load(self) -> dict[Key, KeptBudget]:
        """Return what an earlier run left."""
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                kept = msgspec.msgpack.decode(file.read(_BYTES_MAX), type=Kept)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("error budgets begin anew file=%s reason=%s", self._path, error)
            return {}
        if kept.version != VERSION:
            log.warning("error budgets begin anew file=%s version=%d", self._path, kept.version)
            return {}
        return {one.key: one for one in kept.budgets}

    def save(self, budgets: dict[Key, Budget], others: dict[Key, KeptBudget]) -> None:
        """Write all budgets, and those of an earlier run whose server did not come back yet."""
        path = self._path
        if path is None or not (budgets or others):
            return
        kept = [KeptBudget(key, one.since_s, _slots(one)) for key, one in budgets.items()]
        kept += [one for key, one in others.items() if key not in budgets]
        body = msgspec.msgpack.encode(Kept(budgets=tuple(kept)))
        self._writing.attempt(lambda: _write(path, body))


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    whole_file.put(path, body, mode=0o600)


def _slots(budget: Budget) -> tuple[KeptRing, ...]:
    made = []
    for ring in budget.rings:
        oldest = ring.newest - ring.slots + 1
        slots = ((slot, slot % ring.slots) for slot in range(max(0, oldest), ring.newest + 1))
        found = ((slot, ring.totals[at], ring.misses[at]) for slot, at in slots if ring.totals[at])
        made.append(KeptRing(tuple(found)))
    return tuple(made)


def revived(kept: KeptBudget, budget: Budget) -> Budget:
    """Fill a new budget with what was kept; rings that were of another length keep what fits."""
    budget.since_s = min(budget.since_s, kept.since_s)
    for ring, slots in zip(budget.rings, kept.rings, strict=False):
        for slot, total, missed in slots.slots:
            ring.add(slot * ring.slot_s, total, missed)
    return budget
